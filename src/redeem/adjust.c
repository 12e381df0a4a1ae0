/*
 * adjust.c
 *	  Points moved by hand: adjustments and transfers.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"

#include "errors.h"
#include "redeem/redeem.h"

PG_FUNCTION_INFO_V1(loyalty_adjust);
PG_FUNCTION_INFO_V1(loyalty_transfer_points);

/* whoever may adjust as much as he likes */
#define APPROVER "loyalty_manager"

static char *
text_of(Points points)
{
	return loyalty_num_text(loyalty_num_trim(loyalty_points_numeric(points)));
}

/*
 * What staff does by hand needs a reason.
 */
void
loyalty_check_reason(const char *reason)
{
	if (reason[strspn(reason, " \t\n")] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an adjustment needs a reason")));
}

/*
 * May who calls move so many points by hand?
 */
void
loyalty_check_clerk(LoyaltyCall *c, Points points)
{
	Points		limit = c->program->policy == NULL ? 0 : c->program->policy->clerk_limit;

	if ((points > limit || points < -limit) && !loyalty_call_may(c, APPROVER))
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_LIMIT),
				 errmsg("role \"%s\" may not adjust by so many points", GetUserNameFromId(c->caller, false)),
				 errdetail("%s points were asked for, the most is %s.", text_of(points), text_of(limit)),
				 errhint("The limit is redemption_policy.clerk_limit; members of role \"%s\" have none.", APPROVER)));
}

/*
 * adjust(program, customer, points, reason, key, expires_on, at)
 *	-> (points, value, balance, available)
 */
Datum
loyalty_adjust(PG_FUNCTION_ARGS)
{
	char	   *customer = loyalty_required_text(fcinfo, 1, "customer");
	Points		points = loyalty_points_argument(fcinfo, 2, "points");
	char	   *reason = loyalty_required_text(fcinfo, 3, "reason");
	DateADT		expires_on = PG_ARGISNULL(5) ? 0 : PG_GETARG_DATEADT(5);	/* 0: as the programme says */
	LoyaltyCall c;
	Datum		result;

	loyalty_call_begin(&c, "adjust", fcinfo, 6);
	c.key = loyalty_key_argument(fcinfo, 4);
	if (points == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("points cannot be 0")));
	loyalty_check_reason(reason);
	if (!PG_ARGISNULL(5) && (points < 0 || expires_on < loyalty_program_date(c.program, c.at)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 points < 0 ? errmsg("points that are taken do not expire") :
				 errmsg("expires_on has passed already")));
	loyalty_check_clerk(&c, points);
	loyalty_call_numeric(&c, "points", fcinfo, 2);
	loyalty_call_argument(&c, "reason", reason, true);
	if (!PG_ARGISNULL(5))
		loyalty_call_argument(&c, "expires_on", loyalty_date_text(expires_on), true);
	loyalty_call_lock(&c, customer, NULL);
	if (!loyalty_call_answered(&c))
	{
		LoyaltyPosting p;
		LoyaltyEntry entry = {0};

		if (points < 0)
			loyalty_check_available(&c, -points);
		loyalty_posting_open(&p, c.member, c.at);
		if (points > 0)
		{
			(void) loyalty_new_lot(&p, PG_ARGISNULL(5) ?
								   loyalty_points_expire(c.program, loyalty_tier_now(c.member, c.at), NULL,
														 loyalty_program_date(c.program, c.at)) : expires_on,
								   DATEVAL_NOBEGIN, points);
			loyalty_repay(&p);
		}
		else if (loyalty_spend(&p, -points) > 0)
			elog(ERROR, "points of member " INT64_FORMAT " vanished", c.member->id);
		entry.kind = "adjust";
		entry.points = points;
		entry.at = c.at;
		entry.key = c.key;
		loyalty_posting_end(&p, &entry, c.now);
		c.answer.points = points;
		loyalty_call_store(&c);
	}
	result = loyalty_call_result(&c, fcinfo);
	loyalty_call_end(&c);
	PG_RETURN_DATUM(result);
}

/*
 * The other side of a call: its figures, and the answer under the same key.
 */
void
loyalty_call_record_other(LoyaltyCall *c, Points points)
{
	if (c->other->dirty)
		loyalty_store_members(&c->other, 1);
	loyalty_call_record(c, c->other->id, points, loyalty_balance_at(c->other, c->at), loyalty_available(c->other, c->at), c->member->id);
}

/*
 * transfer(program, from_customer, to_customer, points, key, at)
 *	-> (points, value, balance, available) of the giver
 */
Datum
loyalty_transfer_points(PG_FUNCTION_ARGS)
{
	char	   *from = loyalty_required_text(fcinfo, 1, "from_customer");
	char	   *to = loyalty_required_text(fcinfo, 2, "to_customer");
	Points		points = loyalty_points_argument(fcinfo, 3, "points");
	LoyaltyCall c;
	Datum		result;

	loyalty_call_begin(&c, "transfer", fcinfo, 5);
	c.key = loyalty_key_argument(fcinfo, 4);
	if (points <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("points must be above 0")));
	loyalty_call_argument(&c, "from", from, true);
	loyalty_call_argument(&c, "to", to, true);
	loyalty_call_numeric(&c, "points", fcinfo, 3);
	loyalty_call_lock(&c, from, to);
	if (!loyalty_call_answered(&c))
	{
		if (c.other == c.member)
			ereport(ERROR,
					(errcode(ERRCODE_LOYALTY_STATE),
					 errmsg("customers \"%s\" and \"%s\" have one balance", from, to),
					 errhint("Points can be transferred between different members only.")));
		loyalty_check_available(&c, points);
		loyalty_transfer(c.member, c.other, points, c.key, c.at, c.now);
		c.answer.points = points;
		c.other_id = c.other->id;
		loyalty_call_store(&c);
		loyalty_call_record_other(&c, points);
	}
	result = loyalty_call_result(&c, fcinfo);
	loyalty_call_end(&c);
	PG_RETURN_DATUM(result);
}
