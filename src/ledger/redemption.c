/*
 * redemption.c
 *	  Points that were spent: rows of loyalty.redemption, and the entries that
 *	  draw them and give them back.
 *
 * A redemption says how many points it is meant to spend and how many of them
 * are to be given back; booked is the difference to what its entries say so
 * far.  What it is linked to, a document, decides with that document's family.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "ledger/ledger.h"

/* columns of loyalty.redemption */
#define NATTS 13
#define ATT_SOURCE 9
#define ATT_DOCUMENT 10

/* validity of what comes back to an expired lot, where no policy says */
#define GRACE_DAYS 14

#define REDEMPTION_COLUMNS \
	"d.member_id, d.key, d.kind, d.points, d.value, d.restored, d.written_off, d.is_cancelled," \
	" d.source_id, d.doc_key, d.occurred_at, d.last_seq"

static const char *const kind_names[] = {"points", "reward", "paid"};

static LoyaltyPlan plan_of_documents = {
	.sql = "SELECT " REDEMPTION_COLUMNS " FROM pg_catalog.unnest($2) AS k (key) CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.redemption x WHERE x.source_id = $1 AND x.doc_key = k.key OFFSET 0) d"
	" ORDER BY d.doc_key, d.occurred_at, d.member_id, d.key",
	.nparams = 2, .types = {INT4OID, TEXTARRAYOID}
};

static LoyaltyPlan plan_by_key = {
	.sql = "SELECT " REDEMPTION_COLUMNS " FROM loyalty.redemption d WHERE d.member_id = ANY ($1) AND d.key = $2",
	.nparams = 2, .types = {INT8ARRAYOID, TEXTOID}
};

static LoyaltyPlan plan_insert = {
	.sql = "INSERT INTO loyalty.redemption (member_id, key, kind, points, value, restored, written_off, is_cancelled,"
	" source_id, doc_key, occurred_at, last_seq, recorded_at)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
	.nparams = 13, .types = {INT8OID, TEXTOID, TEXTOID, NUMERICOID, NUMERICOID, NUMERICOID, NUMERICOID, BOOLOID,
	INT4OID, TEXTOID, TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID}
};

static LoyaltyPlan plan_update = {
	.sql = "UPDATE loyalty.redemption SET kind = $3, points = $4, value = $5, restored = $6, written_off = $7,"
	" is_cancelled = $8, source_id = $9, doc_key = $10, occurred_at = $11, last_seq = $12, recorded_at = $13"
	" WHERE member_id = $1 AND key = $2",
	.nparams = 13, .types = {INT8OID, TEXTOID, TEXTOID, NUMERICOID, NUMERICOID, NUMERICOID, NUMERICOID, BOOLOID,
	INT4OID, TEXTOID, TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID}
};

static List *
fill(uint64 rows)
{
	List	   *list = NIL;

	for (uint64 i = 0; i < rows; i++)
	{
		LoyaltyRedemption *r = palloc0(sizeof(LoyaltyRedemption));
		char	   *word;
		Datum		value;
		bool		isnull;

#define COLUMN(c) loyalty_spi_datum(i, c, &isnull)
		r->stored = true;
		r->member_id = DatumGetInt64(COLUMN(1));
		r->key = loyalty_spi_text(i, 2);
		word = loyalty_spi_text(i, 3);
		for (int k = 0; k < (int) lengthof(kind_names); k++)
			if (strcmp(word, kind_names[k]) == 0)
				r->kind = k;
		r->points = loyalty_points_from_datum(COLUMN(4));
		r->value = loyalty_spi_numeric(i, 5);
		r->restored = loyalty_points_from_datum(COLUMN(6));
		r->written_off = loyalty_points_from_datum(COLUMN(7));
		r->is_cancelled = DatumGetBool(COLUMN(8));
		value = COLUMN(9);
		r->source_id = isnull ? 0 : DatumGetInt32(value);
		r->doc_key = loyalty_spi_text(i, 10);
		r->at = DatumGetTimestampTz(COLUMN(11));
		value = COLUMN(12);
		r->last_seq = isnull ? 0 : DatumGetInt64(value);
#undef COLUMN
		list = lappend(list, r);
	}
	SPI_freetuptable(SPI_tuptable);
	return list;
}

/*
 * Was anything ever redeemed?  Asked on every evaluation, so it must cost
 * nothing where nobody redeems.
 */
bool
loyalty_any_redemptions(void)
{
	Relation	rel = table_open(loyalty_relation("redemption"), AccessShareLock);
	bool		result = rel->rd_rel->relkind != RELKIND_RELATION || RelationGetNumberOfBlocks(rel) > 0;

	table_close(rel, NoLock);
	return result;
}

/* the index on (source_id, doc_key), opened; NULL if it is not there */
static Relation
open_document_index(Relation rel)
{
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (index->rd_index->indnkeyatts == 2 && index->rd_index->indisvalid &&
			index->rd_index->indkey.values[0] == ATT_SOURCE && index->rd_index->indkey.values[1] == ATT_DOCUMENT)
			return index;
		index_close(index, AccessShareLock);
	}
	return NULL;
}

/*
 * Most documents were not paid with points: the index says so for much less
 * than a statement costs.  Moves the keys of those that were to the front,
 * and returns their number; where nothing can be told it is all of them.
 */
static int
sift(int32 source_id, char **keys, int n)
{
	Relation	rel = table_open(loyalty_relation("redemption"), AccessShareLock);
	Relation	index = loyalty_is_plain(rel, NATTS) ? open_document_index(rel) : NULL;
	TupleTableSlot *slot;
	IndexScanDesc scan;
	Snapshot	snapshot;
	ScanKeyData scankeys[2];
	int			found = 0;

	if (index == NULL)
	{
		table_close(rel, NoLock);
		return n;
	}
	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	slot = table_slot_create(rel, NULL);
	scan = loyalty_index_beginscan(rel, index, snapshot, 2);
	for (int i = 0; i < n; i++)
	{
		ScanKeyInit(&scankeys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(source_id));
		ScanKeyInit(&scankeys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(keys[i]));
		index_rescan(scan, scankeys, 2, NULL, 0);
		if (index_getnext_slot(scan, ForwardScanDirection, slot))
			keys[found++] = keys[i];
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	index_close(index, NoLock);
	table_close(rel, NoLock);
	return found;
}

/*
 * Redemptions (of LoyaltyRedemption *) that are linked to documents; the keys
 * may change their places.
 */
List *
loyalty_load_redemptions(int32 source_id, char **keys, int n)
{
	Datum		values[2];

	n = sift(source_id, keys, n);
	if (n == 0)
		return NIL;
	values[0] = Int32GetDatum(source_id);
	values[1] = loyalty_text_array(keys, n);
	return fill(loyalty_run(&plan_of_documents, values, NULL));
}

/*
 * The redemption that one of these members made with that key; NULL for none.
 */
LoyaltyRedemption *
loyalty_find_redemption(int64 *members, int n, const char *key)
{
	Datum		values[2];
	List	   *found;

	values[0] = loyalty_int8_array(members, n);
	values[1] = CStringGetTextDatum(key);
	found = fill(loyalty_run(&plan_by_key, values, NULL));
	return found == NIL ? NULL : linitial(found);
}

LoyaltyRedemption *
loyalty_new_redemption(int64 member_id, const char *key, LoyaltyRedemptionKind kind, Numeric value,
					   int32 source_id, const char *doc_key, TimestampTz at)
{
	LoyaltyRedemption *r = palloc0(sizeof(LoyaltyRedemption));

	r->member_id = member_id;
	r->key = pstrdup(key);
	r->kind = kind;
	r->value = value;
	r->source_id = source_id;
	r->doc_key = doc_key == NULL ? NULL : pstrdup(doc_key);
	r->at = at;
	return r;
}

/*
 * The key of the redemption that the engine itself makes for a document.
 */
char *
loyalty_paid_key(int32 source_id, const char *doc_key)
{
	return psprintf(LOYALTY_PAID_PREFIX "%d:%s", source_id, doc_key);
}

static void
save(LoyaltyRedemption *r, TimestampTz now)
{
	Datum		values[13];
	char		nulls[14] = "             ";

	values[0] = Int64GetDatum(r->member_id);
	values[1] = CStringGetTextDatum(r->key);
	values[2] = CStringGetTextDatum(kind_names[r->kind]);
	values[3] = PointsGetDatum(r->points);
	values[4] = NumericGetDatum(r->value);
	values[5] = PointsGetDatum(r->restored);
	values[6] = PointsGetDatum(r->written_off);
	values[7] = BoolGetDatum(r->is_cancelled);
	values[8] = Int32GetDatum(r->source_id);
	nulls[8] = r->source_id == 0 ? 'n' : ' ';
	values[9] = r->doc_key == NULL ? (Datum) 0 : CStringGetTextDatum(r->doc_key);
	nulls[9] = r->doc_key == NULL ? 'n' : ' ';
	values[10] = TimestampTzGetDatum(r->at);
	values[11] = Int64GetDatum(r->last_seq);
	nulls[11] = r->last_seq == 0 ? 'n' : ' ';
	values[12] = TimestampTzGetDatum(now);
	if (loyalty_write(r->stored ? &plan_update : &plan_insert, values, nulls) != 1)
		elog(ERROR, "redemption \"%s\" of member " INT64_FORMAT " vanished", r->key, r->member_id);
	r->stored = true;
	r->dirty = false;
}

/*
 * Draw points, again from where they were drawn before if they came back.
 * Returns what is not there.
 */
static Points
draw(LoyaltyPosting *p, LoyaltyRedemption *r, Points need)
{
	int			nchain;
	int64	   *chain = loyalty_chain(p, &r->last_seq, 1, &nchain);

	if (nchain > 0)
		need = loyalty_draw_again(p, chain, nchain, need);
	need = loyalty_spend(p, need);
	/* who may owe points need not owe them beside some that he cannot spend yet */
	return loyalty_take(p, need);
}

/*
 * Give points back to the lots they came from.  What came from a lot that has
 * expired makes a new one, valid for the policy's days of grace.
 */
static void
give_back(LoyaltyPosting *p, LoyaltyRedemption *r, Points points, TimestampTz now)
{
	LoyaltyPolicy *policy = p->member->program->policy;
	int			nchain;
	int64	   *chain = loyalty_chain(p, &r->last_seq, 1, &nchain);
	Points		rest = loyalty_restore(p, chain, nchain, points, true);

	if (rest > 0)
		(void) loyalty_new_lot(p, p->has_expired ?
							   Max(p->today, loyalty_program_date(p->member->program, now)) +
							   (policy != NULL ? policy->grace_days : GRACE_DAYS) :
							   loyalty_points_expire(p->member->program, NULL, NULL, p->today), DATEVAL_NOBEGIN, rest);
	loyalty_repay(p);
}

/*
 * Book a redemption as it is meant to be: points spent, and restored of them.
 * cause has the time and, if a document caused it, that document; at decides
 * which lots are valid.  The member is locked; whether points may be spent that are not there is up to the
 * caller, who has asked before where they may not.
 */
void
loyalty_book_redemption(LoyaltyMember *member, LoyaltyRedemption *r, Points points, Points restored,
						LoyaltyEntry *cause, TimestampTz at, TimestampTz now)
{
	Points		delta = (r->points - r->restored) - (points - restored);
	LoyaltyPosting p;
	LoyaltyEntry entry = *cause;

	r->points = points;
	r->restored = restored;
	if (delta > 0)
	{
		/* what was never taken need not be given back */
		Points		forgiven = Min(delta, r->written_off);

		r->written_off -= forgiven;
		delta -= forgiven;
	}
	loyalty_posting_open(&p, member, at);
	if (delta > 0)
		give_back(&p, r, delta, now);
	else if (delta < 0)
	{
		Points		missing = draw(&p, r, -delta);

		if (missing > 0 && r->kind != REDEMPTION_PAID && r->last_seq == 0)
			elog(ERROR, "points of member " INT64_FORMAT " vanished", member->id);
		if (missing > 0 && member->program->write_off)
		{
			r->written_off += missing;
			delta += missing;
		}
		else if (missing > 0)
			loyalty_new_debt(&p, missing);
	}
	if (delta != 0)
	{
		entry.kind = delta < 0 ? "redeem" : "redeem_cancel";
		entry.points = delta;
		entry.prev_seq = r->last_seq;
		entry.key = r->key;
		loyalty_posting_end(&p, &entry, now);
		r->last_seq = p.seq;
	}
	save(r, now);
}
