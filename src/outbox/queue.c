/*
 * queue.c
 *	  Consumers: fetch_messages(), acknowledge_all(), fail_message() and what keeps
 *	  the outbox in order.
 *
 * A message goes to one consumer at a time.  Fetching moves its visible_at
 * into the future; a consumer that dies gives it back by letting that instant
 * pass.  Rows that somebody else has locked are skipped, so consumers never
 * wait for each other.  What waits is in two partial indexes, and leaves them
 * when it is done.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "config.h"
#include "errors.h"
#include "outbox/outbox.h"
#include "redeem/redeem.h"

PG_FUNCTION_INFO_V1(loyalty_tells_kind);
PG_FUNCTION_INFO_V1(loyalty_tell_sql);
PG_FUNCTION_INFO_V1(loyalty_announce_sql);
PG_FUNCTION_INFO_V1(loyalty_fetch_messages);
PG_FUNCTION_INFO_V1(loyalty_acknowledge_all);
PG_FUNCTION_INFO_V1(loyalty_fail_message);
PG_FUNCTION_INFO_V1(loyalty_close_dead);
PG_FUNCTION_INFO_V1(loyalty_prune_messages);

/* messages that one call may take */
#define MAX_FETCH 10000

/* seconds until a message that failed is tried again; doubled each time */
#define FIRST_DELAY 60
#define LONGEST_DELAY (24 * 60 * 60)

#define FETCH_COLUMNS 9

static LoyaltyPlan plan_insert = {
	.sql = "INSERT INTO loyalty.message (member_id, kind, cause, program_id, payload, occurred_at, recorded_at, state,"
	" visible_at, attempts)"
	" SELECT m.member_id, $2, $3, m.program_id, $4, $5, $6, 'new', $6, 0 FROM loyalty.member m WHERE m.member_id = $1"
	" ON CONFLICT (member_id, kind, cause) DO NOTHING",
	.nparams = 6, .types = {INT8OID, TEXTOID, TEXTOID, JSONBOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/*
 * Plans must be good whether nothing waits or millions do.  So each statement
 * is written in a way that leaves one index to choose: comparing rows asks for
 * the index on both columns, and FETCHED does not imply that of what waits.
 */
#define WAITING(from) \
	"SELECT m.member_id, m.kind, m.cause, m.program_id, m.attempts, m.visible_at FROM loyalty.message m" \
	" WHERE m.state IN ('new', 'fetched') AND " from
#define OF_KIND(kind, since, until) \
	"(m.kind, m.visible_at) >= (" kind ", " since ") AND (m.kind, m.visible_at) <= (" kind ", " until ")" \
	" ORDER BY m.kind, m.visible_at"
#define FETCHED \
	"m.state NOT IN ('new', 'done', 'dead')"

static LoyaltyPlan plan_oldest = {
	.sql = WAITING("m.visible_at BETWEEN $3 AND $1 ORDER BY m.visible_at LIMIT $2 FOR UPDATE SKIP LOCKED"),
	.nparams = 3, .types = {TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID}
};

static LoyaltyPlan plan_oldest_of_kind = {
	.sql = WAITING(OF_KIND("$4", "$3", "$1") " LIMIT $2 FOR UPDATE SKIP LOCKED"),
	.nparams = 4, .types = {TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID, TEXTOID}
};

/* kinds that have something, the one that has waited longest first */
static LoyaltyPlan plan_kinds = {
	.sql = "SELECT k.kind FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS k (kind, since) CROSS JOIN LATERAL"
	" (SELECT m.visible_at FROM loyalty.message m WHERE m.state IN ('new', 'fetched') AND " OF_KIND("k.kind", "k.since", "$3")
	" LIMIT 1) o ORDER BY o.visible_at",
	.nparams = 3, .types = {TEXTARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZOID}
};

#define THESE \
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS k (member_id, kind, cause)" \
	" WHERE m.member_id = k.member_id AND m.kind = k.kind AND m.cause = k.cause"

static LoyaltyPlan plan_take = {
	.sql = "UPDATE loyalty.message m SET state = 'fetched', consumer = $4, fetched_at = $5, visible_at = $6,"
	" attempts = m.attempts + 1" THESE,
	.nparams = 6, .types = {INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

static LoyaltyPlan plan_read = {
	.sql = "SELECT m.member_id, m.kind, m.cause, p.name, c.customer, m.payload, m.occurred_at, m.recorded_at, m.attempts"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) WITH ORDINALITY"
	" AS k (member_id, kind, cause, n)"
	" JOIN loyalty.message m ON m.member_id = k.member_id AND m.kind = k.kind AND m.cause = k.cause"
	" JOIN loyalty.program p ON p.program_id = m.program_id"
	" LEFT JOIN loyalty.member c ON c.member_id = m.member_id ORDER BY k.n",
	.nparams = 3, .types = {INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID}
};

static LoyaltyPlan plan_bury = {
	.sql = "UPDATE loyalty.message m SET state = 'dead', closed_at = $4, last_error ="
	" pg_catalog.format('fetched %s times and never acknowledged', m.attempts)" THESE,
	.nparams = 4, .types = {INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID}
};

static LoyaltyPlan plan_done = {
	.sql = "UPDATE loyalty.message m SET state = 'done', closed_at = $5" THESE
	" AND " FETCHED " AND m.consumer = $4",
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
	" AND " FETCHED " AND m.consumer = $4 FOR UPDATE",
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
 * Where this session found the oldest message that waited, of each kind and of
 * all.  While somebody keeps an old snapshot, what was fetched since then stays
 * in the index before that point, and has to be passed at each look.  If that takes
 * long, most looks begin at that point; what was committed late, with an earlier
 * instant, is found by the others.
 */
typedef struct Front
{
	TimestampTz since;
	TimestampTz look_again;		/* before it, from the very beginning */
} Front;

#define ALL_KINDS LOYALTY_NMESSAGES

static Front fronts[LOYALTY_NMESSAGES + 1];

/* a look that takes so many microseconds is slow; then it gets this part of the time */
#define SLOW_LOOK 10000
#define LOOK_SHARE 50

/* a call: the role is the books' owner's, SPI is connected, plans are pinned */
typedef struct Call
{
	LoyaltyIdentity save;
	int			nest;
	bool		planner;
	TimestampTz at;
} Call;

static void
begin(Call *c, const char *function, FunctionCallInfo fcinfo, int at)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("loyalty.%s() cannot run on a standby", function),
				 errhint("Run it on the primary.")));
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

static void
end(Call *c)
{
	loyalty_unpin_settings(c->nest);
	(void) loyalty_planner_scope(c->planner);
	SPI_finish();
	loyalty_resume(&c->save);
	loyalty_config_unpin();
}

static char *
consumer_argument(FunctionCallInfo fcinfo)
{
	char	   *consumer = loyalty_required_text(fcinfo, 0, "consumer");

	if (consumer[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a consumer needs a name")));
	return consumer;
}

static void
unknown_kind(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("there are no messages of kind \"%s\"", name),
			 errhint("loyalty.message_fields() lists the kinds.")));
}

static int
kind_argument(FunctionCallInfo fcinfo, int n)
{
	char	   *name = loyalty_required_text(fcinfo, n, "kind");
	int			kind = loyalty_message_kind(name);

	if (kind < 0)
		unknown_kind(name);
	return kind;
}

/* a length of time from now, which must lie ahead */
static TimestampTz
later(TimestampTz at, Datum interval, const char *name)
{
	TimestampTz result = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(at), interval));

	if (TIMESTAMP_NOT_FINITE(result) || result <= at)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be above 0", name)));
	return result;
}

/*
 * tells(program_id, kind) -> boolean
 */
Datum
loyalty_tells_kind(PG_FUNCTION_ARGS)
{
	int			kind = kind_argument(fcinfo, 1);
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
	int			kind = kind_argument(fcinfo, 1);
	char	   *cause = loyalty_required_text(fcinfo, 2, "cause");
	bool		written = false;
	LoyaltyMember *member;
	Call		c;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s cannot be NULL", PG_ARGISNULL(0) ? "member_id" : "payload")));
	begin(&c, "tell", fcinfo, 4);
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
	end(&c);
	PG_RETURN_BOOL(written);
}

/*
 * announce(program_id, kind): messages were written by SQL
 */
Datum
loyalty_announce_sql(PG_FUNCTION_ARGS)
{
	int			kind = kind_argument(fcinfo, 1);

	loyalty_config_pin();
	loyalty_announce(loyalty_program_by_id(PG_GETARG_INT32(0)), kind);
	loyalty_config_unpin();
	PG_RETURN_VOID();
}

/* keys of messages, as arrays for SQL */
typedef struct Keys
{
	int			n;
	int64	   *members;
	char	  **kinds;
	char	  **causes;
} Keys;

static void
make_keys(Keys *k, int size)
{
	k->n = 0;
	k->members = palloc(sizeof(int64) * Max(size, 1));
	k->kinds = palloc(sizeof(char *) * Max(size, 1));
	k->causes = palloc(sizeof(char *) * Max(size, 1));
}

static void
add_key(Keys *k, int64 member, char *kind, char *cause)
{
	k->members[k->n] = member;
	k->kinds[k->n] = kind;
	k->causes[k->n++] = cause;
}

static void
key_values(Keys *k, Datum *values)
{
	values[0] = loyalty_int8_array(k->members, k->n);
	values[1] = loyalty_text_array(k->kinds, k->n);
	values[2] = loyalty_text_array(k->causes, k->n);
}

static int
attempts_allowed(int32 program_id, int kind)
{
	LoyaltyTelling *t = loyalty_program_by_id(program_id)->telling;

	return t == NULL || kind < 0 ? LOYALTY_MAX_ATTEMPTS : t->max_attempts[kind];
}

/*
 * Where a look for messages begins.
 */
static TimestampTz
begin_look(Front *front)
{
	return GetCurrentTimestamp() < front->look_again ? front->since : DT_NOBEGIN;
}

/*
 * Look for messages that wait, of one kind or all, and lock them.  Returns how
 * many there are.
 */
static uint64
look(Call *c, int kind, int limit)
{
	Front	   *front = &fronts[kind];
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz since = begin_look(front);
	Datum		values[4];
	uint64		n;
	bool		isnull;

	values[0] = TimestampTzGetDatum(c->at);
	values[1] = Int64GetDatum(limit);
	values[2] = TimestampTzGetDatum(since);
	values[3] = kind == ALL_KINDS ? (Datum) 0 : CStringGetTextDatum(loyalty_message_name(kind));
	n = loyalty_run(kind == ALL_KINDS ? &plan_oldest : &plan_oldest_of_kind, values, NULL);
	if (TIMESTAMP_IS_NOBEGIN(since))
	{
		TimestampTz took = GetCurrentTimestamp() - now;

		front->look_again = took < SLOW_LOOK ? 0 : now + took * LOOK_SHARE;
	}
	if (n > 0)
		front->since = DatumGetTimestampTz(loyalty_spi_datum(0, 6, &isnull));
	else if (TIMESTAMP_IS_NOBEGIN(since))
		front->since = now;
	return n;
}

/*
 * Take messages that wait, of one kind or all, as many as are still wanted.  Those that were fetched often enough already, by consumers who
 * always died of them, are buried instead.
 */
static void
take(Call *c, Keys *wanted, int limit, int kind, const char *consumer, TimestampTz until)
{
	Datum		values[6];

	while (wanted->n < limit)
	{
		Keys		alive;
		Keys		dead;
		uint64		n = look(c, kind, limit - wanted->n);

		if (n == 0)
			break;
		make_keys(&alive, n);
		make_keys(&dead, n);
		for (uint64 i = 0; i < n; i++)
		{
			bool		isnull;
			int64		member = DatumGetInt64(loyalty_spi_datum(i, 1, &isnull));
			char	   *its_kind = loyalty_spi_text(i, 2);
			int32		program_id = DatumGetInt32(loyalty_spi_datum(i, 4, &isnull));
			int			attempts = DatumGetInt32(loyalty_spi_datum(i, 5, &isnull));
			bool		tired = attempts >= attempts_allowed(program_id, loyalty_message_kind(its_kind));

			add_key(tired ? &dead : &alive, member, its_kind, loyalty_spi_text(i, 3));
		}
		SPI_freetuptable(SPI_tuptable);
		if (dead.n > 0)
		{
			key_values(&dead, values);
			values[3] = TimestampTzGetDatum(c->at);
			(void) loyalty_write(&plan_bury, values, NULL);
		}
		key_values(&alive, values);
		values[3] = CStringGetTextDatum(consumer);
		values[4] = TimestampTzGetDatum(c->at);
		values[5] = TimestampTzGetDatum(until);
		(void) loyalty_write(&plan_take, values, NULL);
		for (int i = 0; i < alive.n; i++)
			add_key(wanted, alive.members[i], alive.kinds[i], alive.causes[i]);
	}
}

/*
 * The kinds that were asked for and have something, the one that has waited
 * longest first.
 */
static int
order_kinds(Call *c, ArrayType *array, int *kinds)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	char	   *names[LOYALTY_NMESSAGES];
	Datum		since[LOYALTY_NMESSAGES];
	bool		seen[LOYALTY_NMESSAGES] = {false};
	int			nkinds = 0;
	Datum		values[3];

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		int			kind = nulls[i] ? -1 : loyalty_message_kind(TextDatumGetCString(elements[i]));

		if (kind < 0)
			unknown_kind(nulls[i] ? "NULL" : TextDatumGetCString(elements[i]));
		if (seen[kind])
			continue;
		seen[kind] = true;
		names[nkinds] = unconstify(char *, loyalty_message_name(kind));
		since[nkinds++] = TimestampTzGetDatum(begin_look(&fronts[kind]));
	}
	values[0] = loyalty_text_array(names, nkinds);
	values[1] = PointerGetDatum(construct_array(since, nkinds, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	values[2] = TimestampTzGetDatum(c->at);
	nkinds = loyalty_run(&plan_kinds, values, NULL);
	for (int i = 0; i < nkinds; i++)
		kinds[i] = loyalty_message_kind(loyalty_spi_text(i, 1));
	SPI_freetuptable(SPI_tuptable);
	return nkinds;
}

/*
 * fetch_messages(consumer, n, kinds, visible_for, at)
 *	-> rows (member_id, kind, cause, program, customer, payload, occurred_at, recorded_at, attempts)
 */
Datum
loyalty_fetch_messages(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *consumer = consumer_argument(fcinfo);
	int			limit = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);
	TimestampTz until;
	Keys		wanted;
	Datum		values[3];
	uint64		n;
	Call		c;

	if (limit < 1 || limit > MAX_FETCH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("n must be between 1 and %d", MAX_FETCH)));
	if (PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("visible_for cannot be NULL")));
	InitMaterializedSRF(fcinfo, 0);
	begin(&c, "fetch_messages", fcinfo, 4);
	until = later(c.at, PG_GETARG_DATUM(3), "visible_for");
	make_keys(&wanted, limit);
	if (PG_ARGISNULL(2))
		take(&c, &wanted, limit, ALL_KINDS, consumer, until);
	else
	{
		int			kinds[LOYALTY_NMESSAGES];
		int			nkinds = order_kinds(&c, PG_GETARG_ARRAYTYPE_P(2), kinds);

		for (int i = 0; i < nkinds; i++)
			take(&c, &wanted, limit, kinds[i], consumer, until);
	}
	key_values(&wanted, values);
	n = loyalty_run(&plan_read, values, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		Datum		row[FETCH_COLUMNS];
		bool		nulls[FETCH_COLUMNS];

		for (int col = 0; col < FETCH_COLUMNS; col++)
			row[col] = loyalty_spi_datum(i, col + 1, &nulls[col]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row, nulls);
	}
	SPI_freetuptable(SPI_tuptable);
	end(&c);
	return (Datum) 0;
}

/*
 * acknowledge_all(consumer, member_ids, kinds, causes, at) -> bigint: how many of
 * them are done, now or since an earlier call
 */
Datum
loyalty_acknowledge_all(PG_FUNCTION_ARGS)
{
	char	   *consumer = consumer_argument(fcinfo);
	Datum		values[5];
	int64		n;
	int			lengths[3];
	bool		isnull;
	Call		c;

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
	begin(&c, "acknowledge_all", fcinfo, 4);
	values[3] = CStringGetTextDatum(consumer);
	values[4] = TimestampTzGetDatum(c.at);
	(void) loyalty_write(&plan_done, values, NULL);
	(void) loyalty_run(&plan_count_done, values, NULL);
	n = DatumGetInt64(loyalty_spi_datum(0, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	end(&c);
	PG_RETURN_INT64(n);
}

/*
 * fail_message(consumer, member_id, kind, cause, error, retry_after, at) -> text
 */
Datum
loyalty_fail_message(PG_FUNCTION_ARGS)
{
	char	   *consumer = consumer_argument(fcinfo);
	int			kind = kind_argument(fcinfo, 2);
	char	   *cause = loyalty_required_text(fcinfo, 3, "cause");
	const char *state = NULL;
	Datum		values[7];
	char		nulls[8] = "       ";
	Call		c;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("member_id cannot be NULL")));
	begin(&c, "fail_message", fcinfo, 6);
	values[0] = PG_GETARG_DATUM(1);
	values[1] = PG_GETARG_DATUM(2);
	values[2] = CStringGetTextDatum(cause);
	values[3] = CStringGetTextDatum(consumer);
	if (loyalty_run(&plan_fetched, values, NULL) == 1)
	{
		bool		isnull;
		int32		program_id = DatumGetInt32(loyalty_spi_datum(0, 1, &isnull));
		int			attempts = DatumGetInt32(loyalty_spi_datum(0, 2, &isnull));
		bool		dead = attempts >= attempts_allowed(program_id, kind);
		int64		delay = FIRST_DELAY;

		for (int i = 1; i < attempts && delay < LONGEST_DELAY; i++)
			delay *= 2;
		state = dead ? "dead" : "new";
		values[3] = CStringGetTextDatum(state);
		values[4] = TimestampTzGetDatum(dead ? c.at :
										!PG_ARGISNULL(5) ? later(c.at, PG_GETARG_DATUM(5), "retry_after") :
										c.at + Min(delay, LONGEST_DELAY) * USECS_PER_SEC);
		values[5] = TimestampTzGetDatum(c.at);
		nulls[5] = dead ? ' ' : 'n';
		values[6] = PG_ARGISNULL(4) ? (Datum) 0 : PG_GETARG_DATUM(4);
		nulls[6] = PG_ARGISNULL(4) ? 'n' : ' ';
		(void) loyalty_write(&plan_fail, values, nulls);
	}
	end(&c);
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
	Call		c;

	if (!PG_ARGISNULL(1))
		(void) kind_argument(fcinfo, 1);
	begin(&c, strcmp(state, "new") == 0 ? "retry_dead" : "discard_dead", fcinfo, -1);
	values[0] = Int32GetDatum(loyalty_program_by_name(program)->id);
	for (int i = 1; i <= 2; i++)
	{
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
		values[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
	}
	values[3] = CStringGetTextDatum(state);
	values[4] = TimestampTzGetDatum(c.at);
	n = loyalty_write(&plan_close_dead, values, nulls);
	end(&c);
	PG_RETURN_INT64(n);
}

/*
 * prune_messages(as_of, after, batch) -> (last, done)
 */
Datum
loyalty_prune_messages(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[3];
	Datum		result[2];
	bool		nulls[2] = {true, false};
	uint64		n;
	int64		done = 0;
	bool		isnull;
	Call		c;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_GETARG_INT32(2) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("after cannot be NULL, and batch must be at least 1")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	begin(&c, "prune_messages", fcinfo, 0);
	values[0] = PG_GETARG_DATUM(1);
	values[1] = TimestampTzGetDatum(c.at);
	values[2] = Int64GetDatum(PG_GETARG_INT32(2));
	n = loyalty_run(&plan_old, values, NULL);
	if (n > 0)
	{
		int64	   *members = palloc(sizeof(int64) * n);

		for (uint64 i = 0; i < n; i++)
			members[i] = DatumGetInt64(loyalty_spi_datum(i, 1, &isnull));
		SPI_freetuptable(SPI_tuptable);
		result[0] = Int64GetDatum(members[n - 1]);
		nulls[0] = false;
		values[0] = loyalty_int8_array(members, n);
		done = loyalty_write(&plan_prune, values, NULL);
	}
	result[1] = Int64GetDatum(done);
	end(&c);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), result, nulls)));
}
