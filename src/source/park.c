/*
 * park.c
 *	  Documents that wait in loyalty.pending: queued by choice, or parked by an
 *	  error.
 *
 * Rows are only ever added and taken away.  There is no unique key: under
 * REPEATABLE READ a conflict with somebody else's row could not be seen in
 * time, and parking must not fail.  A document that waits twice is evaluated
 * once, and a second evaluation finds nothing to do.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/elog.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "source/source.h"

static LoyaltyPlan plan_enqueue = {
	.sql = "INSERT INTO loyalty.pending (member_id, source_id, doc_key, reason, sqlstate, message, attempts)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7)",
	.nparams = 7, .types = {INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID}
};

/*
 * A row is deleted before its document is read: a touch that comes later
 * leaves a row of its own.
 */
static LoyaltyPlan plan_claim = {
	.sql = "DELETE FROM loyalty.pending p WHERE p.ctid = ANY (ARRAY("
	"SELECT q.ctid FROM loyalty.pending q WHERE ($1 = 0 OR q.source_id = $1) AND q.recorded_at < $3"
	" ORDER BY q.attempts, q.recorded_at LIMIT $2 FOR UPDATE SKIP LOCKED))"
	" RETURNING p.source_id, p.doc_key, p.attempts",
	.nparams = 3, .types = {INT4OID, INT4OID, TIMESTAMPTZOID}
};

static LoyaltyPlan plan_claim_members = {
	.sql = "DELETE FROM loyalty.pending p WHERE p.ctid = ANY (ARRAY("
	"SELECT q.ctid FROM loyalty.pending q WHERE q.member_id = ANY ($1) AND q.reason = 'parked'"
	" ORDER BY q.recorded_at LIMIT 100 FOR UPDATE SKIP LOCKED))"
	" RETURNING p.source_id, p.doc_key, p.attempts",
	.nparams = 1, .types = {INT8ARRAYOID}
};

/* a document that is evaluated now need not wait any more */
static LoyaltyPlan plan_claim_documents = {
	.sql = "DELETE FROM loyalty.pending p WHERE p.ctid = ANY (ARRAY("
	"SELECT q.ctid FROM pg_catalog.unnest($2) AS k (key) CROSS JOIN LATERAL"
	" (SELECT x.ctid FROM loyalty.pending x WHERE x.source_id = $1 AND x.doc_key = k.key"
	" FOR UPDATE SKIP LOCKED OFFSET 0) q))"
	" RETURNING p.source_id, p.doc_key, p.attempts",
	.nparams = 2, .types = {INT4OID, TEXTARRAYOID}
};

/*
 * Cheap enough to ask on every evaluation: an empty table that was vacuumed,
 * or never used, has no blocks.
 */
bool
loyalty_anything_waits(void)
{
	Relation	rel = table_open(loyalty_relation("pending"), AccessShareLock);
	bool		result = RelationGetNumberOfBlocks(rel) > 0;

	table_close(rel, NoLock);
	return result;
}

/*
 * Let a document wait; error is what parked it, NULL for the queue.
 */
void
loyalty_enqueue(int32 source_id, const char *key, int64 member_id,
				const char *reason, ErrorData *error, int attempts)
{
	Datum		values[7];
	char		nulls[8] = "       ";

	values[0] = Int64GetDatum(member_id);
	values[1] = Int32GetDatum(source_id);
	values[2] = CStringGetTextDatum(key);
	values[3] = CStringGetTextDatum(reason);
	if (error == NULL)
	{
		nulls[4] = nulls[5] = 'n';
		values[4] = values[5] = (Datum) 0;
	}
	else
	{
		values[4] = CStringGetTextDatum(unpack_sql_state(error->sqlerrcode));
		values[5] = CStringGetTextDatum(error->message ? error->message : "");
	}
	values[6] = Int32GetDatum(attempts);
	(void) loyalty_write(&plan_enqueue, values, nulls);
}

static List *
claimed(uint64 n)
{
	List	   *result = NIL;

	for (uint64 i = 0; i < n; i++)
	{
		LoyaltyClaimed *c = palloc(sizeof(LoyaltyClaimed));
		bool		isnull;

		c->source_id = DatumGetInt32(loyalty_spi_datum(i, 1, &isnull));
		c->key = loyalty_spi_text(i, 2);
		c->attempts = DatumGetInt32(loyalty_spi_datum(i, 3, &isnull));
		result = lappend(result, c);
	}
	return result;
}

/*
 * Take up to limit documents that wait since before an instant, of one source
 * or (0) of all.
 */
List *
loyalty_claim(int32 source_id, int limit, TimestampTz before)
{
	Datum		values[3];

	values[0] = Int32GetDatum(source_id);
	values[1] = Int32GetDatum(limit);
	values[2] = TimestampTzGetDatum(before);
	return claimed(loyalty_write(&plan_claim, values, NULL));
}

/*
 * Take these documents of a source, if they wait.
 */
List *
loyalty_claim_documents(int32 source_id, char **keys, int n)
{
	Datum		values[2];

	values[0] = Int32GetDatum(source_id);
	values[1] = loyalty_text_array(keys, n);
	return claimed(loyalty_write(&plan_claim_documents, values, NULL));
}

/*
 * Take parked documents of members that are about to be locked anyway.
 */
List *
loyalty_claim_of_members(int64 *members, int nmembers)
{
	Datum		values[1];

	values[0] = loyalty_int8_array(members, nmembers);
	return claimed(loyalty_write(&plan_claim_members, values, NULL));
}
