/*
 * queue.c
 *	  Consumers: fetch_messages().
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
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "config.h"
#include "outbox/queue.h"
#include "redeem/redeem.h"

PG_FUNCTION_INFO_V1(loyalty_fetch_messages);

/* messages that one call may take */
#define MAX_FETCH 10000

#define FETCH_COLUMNS 9

/*
 * Plans must be good whether nothing waits or millions do.  So each statement
 * is written in a way that leaves one index to choose: comparing rows asks for
 * the index on both columns.
 */
#define WAITING(from) \
	"SELECT m.member_id, m.kind, m.cause, m.program_id, m.attempts, m.visible_at FROM loyalty.message m" \
	" WHERE m.state IN ('new', 'fetched') AND " from
#define OF_KIND(kind, since, until) \
	"(m.kind, m.visible_at) >= (" kind ", " since ") AND (m.kind, m.visible_at) <= (" kind ", " until ")" \
	" ORDER BY m.kind, m.visible_at"

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

static LoyaltyPlan plan_take = {
	.sql = "UPDATE loyalty.message m SET state = 'fetched', consumer = $4, fetched_at = $5, visible_at = $6,"
	" attempts = m.attempts + 1" LOYALTY_THESE_MESSAGES,
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
	" pg_catalog.format('fetched %s times and never acknowledged', m.attempts)" LOYALTY_THESE_MESSAGES,
	.nparams = 4, .types = {INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID}
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
look(LoyaltyQueueCall *c, int kind, int limit)
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
 * Take messages that wait, of one kind or all, as many as are still wanted.
 * Those that were fetched often enough already, by consumers who
 * always died of them, are buried instead.
 */
static void
take(LoyaltyQueueCall *c, Keys *wanted, int limit, int kind, const char *consumer, TimestampTz until)
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
			bool		tired = attempts >= loyalty_attempts_allowed(program_id, loyalty_message_kind(its_kind));

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
order_kinds(LoyaltyQueueCall *c, ArrayType *array, int *kinds)
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
			loyalty_unknown_kind(nulls[i] ? "NULL" : TextDatumGetCString(elements[i]));
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
	char	   *consumer = loyalty_consumer_argument(fcinfo);
	int			limit = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);
	TimestampTz until;
	Keys		wanted;
	Datum		values[3];
	uint64		n;
	LoyaltyQueueCall c;

	if (limit < 1 || limit > MAX_FETCH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("n must be between 1 and %d", MAX_FETCH)));
	if (PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("visible_for cannot be NULL")));
	InitMaterializedSRF(fcinfo, 0);
	loyalty_queue_begin(&c, "fetch_messages", fcinfo, 4);
	until = loyalty_later(c.at, PG_GETARG_DATUM(3), "visible_for");
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
	loyalty_queue_end(&c);
	return (Datum) 0;
}
