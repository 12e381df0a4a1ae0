/*
 * close.c
 *	  What becomes of messages that were fetched: acknowledge_all(),
 *	  fail_message(), dead letters, and pruning what is done.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "config.h"
#include "outbox/queue.h"
#include "redeem/redeem.h"
#include "upkeep/upkeep.h"

PG_FUNCTION_INFO_V1(loyalty_acknowledge_all);
PG_FUNCTION_INFO_V1(loyalty_fail_message);
PG_FUNCTION_INFO_V1(loyalty_close_dead);
PG_FUNCTION_INFO_V1(loyalty_prune_messages);

/* seconds until a message that failed is tried again; doubled each time */
#define FIRST_DELAY 60
#define LONGEST_DELAY (24 * 60 * 60)

static LoyaltyPlan plan_done = {
	.sql = "UPDATE loyalty.message m SET state = 'done', closed_at = $5" LOYALTY_THESE_MESSAGES
	" AND " LOYALTY_MESSAGE_FETCHED " AND m.consumer = $4",
	.nparams = 5, .types = {INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID, TIMESTAMPTZOID}
};

static LoyaltyPlan plan_count_done = {
	.sql = "SELECT pg_catalog.count(*) FROM (SELECT DISTINCT m.member_id, m.kind, m.cause FROM loyalty.message m,"
	" ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS k (member_id, kind, cause)"
	" WHERE m.member_id = k.member_id AND m.kind = k.kind AND m.cause = k.cause"
	" AND m.state = 'done' AND m.consumer = $4) d",
	.nparams = 4, .types = {INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID}
};

static LoyaltyPlan plan_fetched = {
	.sql = "SELECT m.program_id, m.attempts FROM loyalty.message m WHERE m.member_id = $1 AND m.kind = $2 AND m.cause = $3"
	" AND " LOYALTY_MESSAGE_FETCHED " AND m.consumer = $4 FOR UPDATE",
	.nparams = 4, .types = {INT8OID, TEXTOID, TEXTOID, TEXTOID}
};

static LoyaltyPlan plan_fail = {
	.sql = "UPDATE loyalty.message m SET state = $4, visible_at = $5, closed_at = $6, last_error = $7"
	" WHERE m.member_id = $1 AND m.kind = $2 AND m.cause = $3",
	.nparams = 7, .types = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID}
};

static LoyaltyPlan plan_close_dead = {
	.sql = "UPDATE loyalty.message m SET state = $4, attempts = CASE WHEN $4 = 'new' THEN 0 ELSE m.attempts END,"
	" visible_at = CASE WHEN $4 = 'new' THEN $5 ELSE m.visible_at END,"
	" closed_at = CASE WHEN $4 = 'new' THEN NULL ELSE $5 END"
	" WHERE m.state = 'dead' AND m.program_id = $1 AND ($2 IS NULL OR m.kind = $2) AND ($3 IS NULL OR m.cause = $3)",
	.nparams = 5, .types = {INT4OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID}
};

/* a walk along the primary key: from day to day most of what is kept is young */
static LoyaltyPlan plan_old = {
	.sql = "SELECT DISTINCT m.member_id FROM loyalty.message m"
	" LEFT JOIN loyalty.message_setting s ON s.program_id = m.program_id AND s.kind = m.kind"
	" WHERE m.member_id > $1 AND m.state = 'done' AND m.closed_at < $2 - COALESCE(s.keep_days, 30) * interval '1 day'"
	" ORDER BY m.member_id LIMIT $3",
	.nparams = 3, .types = {INT8OID, TIMESTAMPTZOID, INT8OID}
};

static LoyaltyPlan plan_prune = {
	.sql = "DELETE FROM loyalty.message m USING (SELECT x.member_id, x.kind, x.cause FROM loyalty.message x"
	" LEFT JOIN loyalty.message_setting s ON s.program_id = x.program_id AND s.kind = x.kind"
	" WHERE x.member_id = ANY ($1) AND x.state = 'done'"
	" AND x.closed_at < $2 - COALESCE(s.keep_days, 30) * interval '1 day'"
	" ORDER BY x.member_id, x.kind, x.cause FOR UPDATE OF x SKIP LOCKED) k"
	" WHERE m.member_id = k.member_id AND m.kind = k.kind AND m.cause = k.cause",
	.nparams = 2, .types = {INT8ARRAYOID, TIMESTAMPTZOID}
};

/*
 * acknowledge_all(consumer, member_ids, kinds, causes, at) -> bigint: how many of
 * them are done, now or since an earlier call
 */
Datum
loyalty_acknowledge_all(PG_FUNCTION_ARGS)
{
	char	   *consumer = loyalty_consumer_argument(fcinfo);
	Datum		values[5];
	int64		n;
	int			lengths[3];
	bool		isnull;
	LoyaltyQueueCall c;

	for (int i = 0; i < 3; i++)
	{
		ArrayType  *array;

		if (PG_ARGISNULL(i + 1))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("the keys of messages cannot be NULL")));
		array = PG_GETARG_ARRAYTYPE_P(i + 1);
		lengths[i] = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
		values[i] = PG_GETARG_DATUM(i + 1);
	}
	if (lengths[0] != lengths[1] || lengths[0] != lengths[2])
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("member_ids, kinds and causes must have the same number of elements")));
	loyalty_queue_begin(&c, "acknowledge_all", fcinfo, 4);
	values[3] = CStringGetTextDatum(consumer);
	values[4] = TimestampTzGetDatum(c.at);
	(void) loyalty_write(&plan_done, values, NULL);
	(void) loyalty_run(&plan_count_done, values, NULL);
	n = DatumGetInt64(loyalty_spi_datum(0, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	loyalty_queue_end(&c);
	PG_RETURN_INT64(n);
}

/*
 * fail_message(consumer, member_id, kind, cause, error, retry_after, at) -> text
 */
Datum
loyalty_fail_message(PG_FUNCTION_ARGS)
{
	char	   *consumer = loyalty_consumer_argument(fcinfo);
	int			kind = loyalty_kind_argument(fcinfo, 2);
	char	   *cause = loyalty_required_text(fcinfo, 3, "cause");
	const char *state = NULL;
	Datum		values[7];
	char		nulls[8] = "       ";
	LoyaltyQueueCall c;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("member_id cannot be NULL")));
	loyalty_queue_begin(&c, "fail_message", fcinfo, 6);
	values[0] = PG_GETARG_DATUM(1);
	values[1] = PG_GETARG_DATUM(2);
	values[2] = CStringGetTextDatum(cause);
	values[3] = CStringGetTextDatum(consumer);
	if (loyalty_run(&plan_fetched, values, NULL) == 1)
	{
		bool		isnull;
		int32		program_id = DatumGetInt32(loyalty_spi_datum(0, 1, &isnull));
		int			attempts = DatumGetInt32(loyalty_spi_datum(0, 2, &isnull));
		bool		dead = attempts >= loyalty_attempts_allowed(program_id, kind);
		int64		delay = FIRST_DELAY;

		for (int i = 1; i < attempts && delay < LONGEST_DELAY; i++)
			delay *= 2;
		state = dead ? "dead" : "new";
		values[3] = CStringGetTextDatum(state);
		values[4] = TimestampTzGetDatum(dead ? c.at :
										!PG_ARGISNULL(5) ? loyalty_later(c.at, PG_GETARG_DATUM(5), "retry_after") :
										c.at + Min(delay, LONGEST_DELAY) * USECS_PER_SEC);
		values[5] = TimestampTzGetDatum(c.at);
		nulls[5] = dead ? ' ' : 'n';
		values[6] = PG_ARGISNULL(4) ? (Datum) 0 : PG_GETARG_DATUM(4);
		nulls[6] = PG_ARGISNULL(4) ? 'n' : ' ';
		(void) loyalty_write(&plan_fail, values, nulls);
	}
	loyalty_queue_end(&c);
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(state));
}

/*
 * close_dead(program, kind, cause, state) -> bigint: how many there were
 */
Datum
loyalty_close_dead(PG_FUNCTION_ARGS)
{
	char	   *program = loyalty_required_text(fcinfo, 0, "program");
	char	   *state = loyalty_required_text(fcinfo, 3, "state");
	Datum		values[5];
	char		nulls[6] = "     ";
	int64		n;
	LoyaltyQueueCall c;

	if (!PG_ARGISNULL(1))
		(void) loyalty_kind_argument(fcinfo, 1);
	loyalty_queue_begin(&c, strcmp(state, "new") == 0 ? "retry_dead" : "discard_dead", fcinfo, -1);
	values[0] = Int32GetDatum(loyalty_program_by_name(program)->id);
	for (int i = 1; i <= 2; i++)
	{
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
		values[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
	}
	values[3] = CStringGetTextDatum(state);
	values[4] = TimestampTzGetDatum(c.at);
	n = loyalty_write(&plan_close_dead, values, nulls);
	loyalty_queue_end(&c);
	PG_RETURN_INT64(n);
}

/*
 * prune_messages(as_of, after, batch) -> (last, done)
 */
Datum
loyalty_prune_messages(PG_FUNCTION_ARGS)
{
	LoyaltyUpkeepStep step = loyalty_step_begin(fcinfo, "prune_messages");
	Datum		values[3];
	int64	   *members;
	int64		last = 0;
	int64		done = 0;
	int			n;
	LoyaltyQueueCall c;

	loyalty_queue_begin(&c, "prune_messages", fcinfo, -1);
	values[0] = Int64GetDatum(step.after);
	values[1] = TimestampTzGetDatum(step.as_of);
	values[2] = Int64GetDatum(step.batch);
	n = loyalty_spi_int8s(loyalty_run(&plan_old, values, NULL), &members);
	if (n > 0)
	{
		last = members[n - 1];
		values[0] = loyalty_int8_array(members, n);
		done = loyalty_write(&plan_prune, values, NULL);
	}
	loyalty_queue_end(&c);
	PG_RETURN_DATUM(loyalty_step_result(fcinfo, last, done));
}
