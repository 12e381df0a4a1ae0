/*
 * reward.c
 *	  What the SQL functions on rewards and vouchers need of the engine: the
 *	  member's lock, the points a reward costs, and whom it is for.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "config.h"
#include "errors.h"
#include "redeem/redeem.h"
#include "rule/condition.h"
#include "rule/match.h"

PG_FUNCTION_INFO_V1(loyalty_lock_account);
PG_FUNCTION_INFO_V1(loyalty_may_wait);
PG_FUNCTION_INFO_V1(loyalty_draw_reward);
PG_FUNCTION_INFO_V1(loyalty_cancel_reward_points);
PG_FUNCTION_INFO_V1(loyalty_unmet_rewards);

/*
 * lock_account(program, customer, at) -> bigint: locks the member who has the
 * customer's points until the end of the transaction
 */
Datum
loyalty_lock_account(PG_FUNCTION_ARGS)
{
	char	   *customer = loyalty_required_text(fcinfo, 1, "customer");
	LoyaltyCall c;
	int64		id;

	loyalty_call_begin(&c, "lock_account", fcinfo, 2);
	loyalty_call_lock(&c, customer, NULL);
	id = c.member->id;
	loyalty_call_end(&c);
	PG_RETURN_INT64(id);
}

/*
 * may_wait() -> boolean: whether nothing that all members share is locked yet;
 * from now on it is
 */
Datum
loyalty_may_wait(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(loyalty_lock_no_further_members());
}

/*
 * draw_reward(program, customer, points, key, reward, units, value, source, doc_key, at)
 *	-> (points, value, balance, available)
 *
 * The points that units of a reward cost; value is the money it pays.
 */
Datum
loyalty_draw_reward(PG_FUNCTION_ARGS)
{
	char	   *customer = loyalty_required_text(fcinfo, 1, "customer");
	Points		points = loyalty_points_argument(fcinfo, 2, "points");
	LoyaltyCall c;
	LoyaltySource *source;
	char	   *doc_key;
	Datum		result;

	loyalty_call_begin(&c, "redeem_reward", fcinfo, 9);
	c.key = loyalty_key_argument(fcinfo, 3);
	loyalty_call_text(&c, "reward", fcinfo, 4);
	loyalty_call_argument(&c, "units", psprintf("%d", PG_GETARG_INT32(5)), false);
	source = loyalty_document_argument(&c, fcinfo, 7, 8, &doc_key);
	loyalty_call_lock(&c, customer, NULL);
	if (!loyalty_call_answered(&c))
	{
		loyalty_check_available(&c, points);
		loyalty_redeem_points(&c, c.key, REDEMPTION_REWARD, points,
							  loyalty_num_checked(PG_GETARG_NUMERIC(6), "value"), source, doc_key);
	}
	result = loyalty_call_result(&c, fcinfo);
	loyalty_call_end(&c);
	PG_RETURN_DATUM(result);
}

/*
 * cancel_reward_points(program, customer, key, at) -> (points, value, balance, available)
 */
Datum
loyalty_cancel_reward_points(PG_FUNCTION_ARGS)
{
	return loyalty_cancel(fcinfo, REDEMPTION_REWARD);
}

static LoyaltyPlan plan_segment = {
	.sql = "SELECT segment FROM loyalty.member_score WHERE member_id = $1",
	.nparams = 1, .types = {INT8OID}
};

/* the RFM segment that analytics keeps of a member, NULL for none */
static char *
segment_of(LoyaltyMember *member)
{
	Datum		id = Int64GetDatum(member->id);

	return loyalty_run(&plan_segment, &id, NULL) == 0 ? NULL : loyalty_spi_text(0, 1);
}

static void
reward_context(void *arg)
{
	errcontext("condition of reward \"%s\"", (char *) arg);
}

/*
 * unmet_rewards(program, customer, at, reward_id) -> integer[]: the rewards
 * whose condition does not hold for a customer, among all, or one (not NULL).
 * It sees his tier, his segment as of the last refresh, and the purchases up to
 * and including that instant; who is no member yet is taken for a new one.
 */
Datum
loyalty_unmet_rewards(PG_FUNCTION_ARGS)
{
	char	   *name = loyalty_required_text(fcinfo, 0, "program");
	char	   *customer = loyalty_required_text(fcinfo, 1, "customer");
	TimestampTz at = PG_ARGISNULL(2) ? GetCurrentTimestamp() : PG_GETARG_TIMESTAMPTZ(2);
	LoyaltyIdentity save;
	LoyaltyProgram *program;
	LoyaltyMember *member;
	LoyaltyBatch batch = {0};
	LoyaltyFacts facts = {0};
	LoyaltyFigures figures = {0};
	LoyaltyQuestion question = {.facts = &facts, .customer = customer, .figures = &figures};
	bool		has_figures = false;
	bool		has_segment = false;
	Datum	   *unmet;
	int			n = 0;
	ListCell   *lc;

	loyalty_config_pin();
	program = loyalty_program_by_name(name);
	unmet = palloc(sizeof(Datum) * (list_length(program->rewards) + 1));
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	member = program->rewards == NIL ? NULL :
		loyalty_read_member(loyalty_account_of(loyalty_find_member(program, customer)));
	batch.context = CurrentMemoryContext;
	figures.amount = figures.year_amount = figures.month_amount = loyalty_num_int(0);
	facts.at = at;
	facts.date = loyalty_program_date(program, at);
	question.joined_on = member != NULL ? member->joined_on : facts.date;
	question.member_id = member != NULL ? member->id : 0;
	question.tier = member != NULL ? loyalty_tier_now(member, at) : NULL;
	foreach(lc, program->rewards)
	{
		LoyaltyReward *reward = lfirst(lc);
		LoyaltyCondition *condition;
		ErrorContextCallback callback;

		if (!PG_ARGISNULL(3) && reward->id != PG_GETARG_INT32(3))
			continue;
		condition = loyalty_reward_condition(program, reward);
		if (condition->uses_history && !has_figures && member != NULL)
		{
			LoyaltyPart *now = loyalty_new_part(0, "", 0, 0, "");

			/* as if he bought something right after */
			now->at = at + 1;
			now->date = facts.date;
			figures = loyalty_history_figures(&batch, member, now);
			has_figures = true;
		}
		if (bms_is_member(IN_MEMBER_SEGMENT, condition->uses[SPACE_MEMBER]) && !has_segment && member != NULL)
		{
			question.segment = segment_of(member);
			has_segment = true;
		}
		callback.callback = reward_context;
		callback.arg = reward->name;
		callback.previous = error_context_stack;
		error_context_stack = &callback;
		if (!loyalty_member_meets(program, condition, &question))
			unmet[n++] = Int32GetDatum(reward->id);
		error_context_stack = callback.previous;
	}
	SPI_finish();
	loyalty_resume(&save);
	loyalty_config_unpin();
	PG_RETURN_ARRAYTYPE_P(construct_array(unmet, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}
