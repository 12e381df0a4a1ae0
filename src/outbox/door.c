/*
 * door.c
 *	  Messages written by SQL, and what the calls of consumers have in common.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "config.h"
#include "outbox/queue.h"
#include "redeem/redeem.h"

PG_FUNCTION_INFO_V1(loyalty_tells_kind);
PG_FUNCTION_INFO_V1(loyalty_tell_sql);
PG_FUNCTION_INFO_V1(loyalty_announce_sql);

static LoyaltyPlan plan_insert = {
	.sql = "INSERT INTO loyalty.message (member_id, kind, cause, program_id, payload, occurred_at, recorded_at, state,"
	" visible_at, attempts)"
	" SELECT m.member_id, $2, $3, m.program_id, $4, $5, $6, 'new', $6, 0 FROM loyalty.member m WHERE m.member_id = $1"
	" ON CONFLICT (member_id, kind, cause) DO NOTHING",
	.nparams = 6, .types = {INT8OID, TEXTOID, TEXTOID, JSONBOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/*
 * Begin a call; at is the number of the argument that says the instant, -1 for
 * none.
 */
void
loyalty_queue_begin(LoyaltyQueueCall *c, const char *function, FunctionCallInfo fcinfo, int at)
{
	loyalty_refuse_on_standby(function);
	c->at = at < 0 || PG_ARGISNULL(at) ? GetCurrentTimestamp() : PG_GETARG_TIMESTAMPTZ(at);
	if (TIMESTAMP_NOT_FINITE(c->at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at must be a finite instant")));
	loyalty_config_pin();
	loyalty_become(loyalty_owner(), &c->save);
	loyalty_connect();
	c->nest = NewGUCNestLevel();
	c->planner = loyalty_planner_scope(false);
	loyalty_pin_queue_planner();
}

/*
 * The call is over: rights and settings are the caller's again.
 */
void
loyalty_queue_end(LoyaltyQueueCall *c)
{
	loyalty_unpin_settings(c->nest);
	(void) loyalty_planner_scope(c->planner);
	SPI_finish();
	loyalty_resume(&c->save);
	loyalty_config_unpin();
}

/*
 * The first argument: who fetches.
 */
char *
loyalty_consumer_argument(FunctionCallInfo fcinfo)
{
	char	   *consumer = loyalty_required_text(fcinfo, 0, "consumer");

	if (consumer[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a consumer needs a name")));
	return consumer;
}

/*
 * An error for a kind of message that does not exist.
 */
void
loyalty_unknown_kind(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("there are no messages of kind \"%s\"", name),
			 errhint("loyalty.message_fields() lists the kinds.")));
}

/*
 * An argument that names a kind of message.
 */
int
loyalty_kind_argument(FunctionCallInfo fcinfo, int n)
{
	char	   *name = loyalty_required_text(fcinfo, n, "kind");
	int			kind = loyalty_message_kind(name);

	if (kind < 0)
		loyalty_unknown_kind(name);
	return kind;
}

/*
 * The end of a length of time from an instant; it must lie ahead.
 */
TimestampTz
loyalty_later(TimestampTz at, Datum interval, const char *name)
{
	TimestampTz result = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(at), interval));

	if (TIMESTAMP_NOT_FINITE(result) || result <= at)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be above 0", name)));
	return result;
}

/*
 * Deliveries of a message before it is given up.
 */
int
loyalty_attempts_allowed(int32 program_id, int kind)
{
	LoyaltyTelling *t = loyalty_program_by_id(program_id)->telling;

	return t == NULL || kind < 0 ? LOYALTY_MAX_ATTEMPTS : t->max_attempts[kind];
}

/*
 * tells(program_id, kind) -> boolean
 */
Datum
loyalty_tells_kind(PG_FUNCTION_ARGS)
{
	int			kind = loyalty_kind_argument(fcinfo, 1);
	bool		result;

	loyalty_config_pin();
	result = loyalty_tells(loyalty_program_by_id(PG_GETARG_INT32(0)), kind);
	loyalty_config_unpin();
	PG_RETURN_BOOL(result);
}

/*
 * tell(member_id, kind, cause, payload, at) -> boolean: was it written?
 */
Datum
loyalty_tell_sql(PG_FUNCTION_ARGS)
{
	int			kind = loyalty_kind_argument(fcinfo, 1);
	char	   *cause = loyalty_required_text(fcinfo, 2, "cause");
	bool		written = false;
	LoyaltyMember *member;
	LoyaltyQueueCall c;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s cannot be NULL", PG_ARGISNULL(0) ? "member_id" : "payload")));
	loyalty_queue_begin(&c, "tell", fcinfo, 4);
	member = loyalty_read_member(PG_GETARG_INT64(0));
	if (member != NULL && loyalty_tells(member->program, kind))
	{
		Datum		values[6];

		values[0] = PG_GETARG_DATUM(0);
		values[1] = PG_GETARG_DATUM(1);
		values[2] = CStringGetTextDatum(cause);
		values[3] = PG_GETARG_DATUM(3);
		values[4] = TimestampTzGetDatum(c.at);
		values[5] = TimestampTzGetDatum(GetCurrentTimestamp());
		written = loyalty_write(&plan_insert, values, NULL) == 1;
		if (written)
			loyalty_announce(member->program, kind);
	}
	loyalty_queue_end(&c);
	PG_RETURN_BOOL(written);
}

/*
 * announce(program_id, kind): messages were written by SQL
 */
Datum
loyalty_announce_sql(PG_FUNCTION_ARGS)
{
	int			kind = loyalty_kind_argument(fcinfo, 1);

	loyalty_config_pin();
	loyalty_announce(loyalty_program_by_id(PG_GETARG_INT32(0)), kind);
	loyalty_config_unpin();
	PG_RETURN_VOID();
}
