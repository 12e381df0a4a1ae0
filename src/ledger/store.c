/*
 * store.c
 *	  Writing rows of the books.
 *
 * Rows are collected and written together.  Where a table is plain and local
 * they go straight into the heap and its indexes; where it is partitioned, has
 * got triggers of somebody's or other columns, they go through SQL, which
 * knows about all that.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "ledger/ledger.h"
#include "outbox/outbox.h"

#define BATCH_ROWS 512

typedef struct Row
{
	Datum	   *values;
	bool	   *nulls;
	uint64		prefix;			/* of a document's key, to sort by */
} Row;

typedef struct RowBuffer
{
	const char *name;
	int			natts;
	LoyaltyPlan insert;
	int			nrows;
	int			size;
	Row		   *rows;
} RowBuffer;

static RowBuffer buffers[LOYALTY_NTABLES] = {
	[TABLE_DOCUMENT] = {.name = "document", .natts = LOYALTY_DOCUMENT_NATTS, .insert = {
		.sql = "INSERT INTO loyalty.document (source_id, doc_key, member_id, root_source_id, root_key, state, kind,"
		" occurred_at, doc_date, company, channel, gross, paid, lines, tier_before, tier_id, rate, rules,"
		" matches, seen, priced_at, qualifying, overcredited, points, written_off, raw, last_seq, booked_at, usable_from,"
		" growth, is_opening) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,"
		" $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31)",
		.nparams = LOYALTY_DOCUMENT_NATTS,
		.types = {INT4OID, TEXTOID, INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID,
			TIMESTAMPTZOID, DATEOID, TEXTOID, TEXTOID, NUMERICOID, NUMERICOID, JSONBOID,
			NUMERICOID, INT4OID, NUMERICOID, INT4ARRAYOID, JSONBOID, INT8ARRAYOID, TIMESTAMPTZOID, NUMERICOID, NUMERICOID,
		NUMERICOID, NUMERICOID, NUMERICARRAYOID, INT8OID, TIMESTAMPTZOID, DATEOID, NUMERICOID, BOOLOID}
	}},
	[TABLE_ENTRY] = {.name = "entry", .natts = LOYALTY_ENTRY_NATTS, .insert = {
		.sql = "INSERT INTO loyalty.entry (member_id, seq, kind, points, occurred_at, recorded_at, expires_on,"
		" source_id, doc_key, prev_seq, key, usable_from) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
		.nparams = LOYALTY_ENTRY_NATTS,
		.types = {INT8OID, INT8OID, TEXTOID, NUMERICOID, TIMESTAMPTZOID, TIMESTAMPTZOID, DATEOID, INT4OID, TEXTOID, INT8OID,
		TEXTOID, DATEOID}
	}},
	[TABLE_LOT] = {.name = "stored_lot", .natts = 8, .insert = {
		.sql = "INSERT INTO loyalty.stored_lot (member_id, is_open, expires_on, seq, points, remaining, usable_from, expired)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		.nparams = 8,
		.types = {INT8OID, BOOLOID, DATEOID, INT8OID, NUMERICOID, NUMERICOID, DATEOID, NUMERICOID}
	}},
	[TABLE_ALLOCATION] = {.name = "allocation", .natts = 4, .insert = {
		.sql = "INSERT INTO loyalty.allocation (member_id, entry_seq, lot_seq, points) VALUES ($1, $2, $3, $4)",
		.nparams = 4,
		.types = {INT8OID, INT8OID, INT8OID, NUMERICOID}
	}},
	[TABLE_TIER_CHANGE] = {.name = "tier_change", .natts = 9, .insert = {
		.sql = "INSERT INTO loyalty.tier_change (member_id, n, at, from_tier, to_tier, reason, until, recorded_at, superseded_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		.nparams = 9,
		.types = {INT8OID, INT4OID, TIMESTAMPTZOID, INT4OID, INT4OID, TEXTOID, DATEOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	}},
	[TABLE_MESSAGE] = {.name = "message", .natts = LOYALTY_MESSAGE_NATTS, .insert = {
		.sql = "INSERT INTO loyalty.message (member_id, kind, cause, program_id, payload, occurred_at, recorded_at,"
		" state, visible_at, attempts, consumer, fetched_at, closed_at, last_error)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
		.nparams = LOYALTY_MESSAGE_NATTS,
		.types = {INT8OID, TEXTOID, TEXTOID, INT4OID, JSONBOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID,
		INT4OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID}
	}},
	[TABLE_MEMBER_DAY] = {.name = "member_day", .natts = 8, .insert = {
		.sql = "INSERT INTO loyalty.member_day (member_id, day, program_id, sales, reversed, returns, gross, returned)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		.nparams = 8,
		.types = {INT8OID, DATEOID, INT4OID, INT4OID, INT4OID, INT4OID, NUMERICOID, NUMERICOID}
	}},
	[TABLE_MEMBER_SUMMARY] = {.name = "member_summary", .natts = 11, .insert = {
		.sql = "INSERT INTO loyalty.member_summary (member_id, program_id, sales, reversed, returns, gross, returned,"
		" purchase_days, first_sale_on, last_sale_on, last_return_on) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
		.nparams = 11,
		.types = {INT8OID, INT4OID, INT8OID, INT8OID, INT8OID, NUMERICOID, NUMERICOID, INT8OID, DATEOID, DATEOID, DATEOID}
	}},
};

/* a member's columns without programme, customer and day of enrolment, which stay */
#define IDENTITY 3
#define WRITTEN (LOYALTY_MEMBER_NATTS - IDENTITY)

static LoyaltyPlan update_member = {
	.sql = "UPDATE loyalty.member SET tier_id = $2, balance = $3, debt = $4, qualifying = $5, carry = $6, last_seq = $7,"
	" lots_through = $8, held = $9, merged_into = $10, next_expiry = $11, expired_through = $12, usable_from = $13,"
	" lapses_on = $14, tier_since = $15, tier_until = $16, tier_review = $17, tier_at = $18,"
	" left_at = $19 WHERE member_id = $1",
	.nparams = WRITTEN, .types = {INT8OID, INT4OID, NUMERICOID, NUMERICOID, NUMERICOID, NUMERICARRAYOID, INT8OID,
	INT8OID, NUMERICOID, INT8OID, DATEOID, DATEOID, DATEOID, DATEOID, DATEOID, DATEOID, DATEOID, TIMESTAMPTZOID,
	TIMESTAMPTZOID}
};

/*
 * Forget what was collected: the batch is new, or failed.
 */
void
loyalty_store_reset(void)
{
	for (int t = 0; t < LOYALTY_NTABLES; t++)
	{
		buffers[t].nrows = buffers[t].size = 0;
		buffers[t].rows = NULL;
	}
	loyalty_forget_steps();
}

/*
 * Collect a row, in the current (the batch's) memory context.
 */
void
loyalty_store_row(LoyaltyTable table, Datum *values, bool *nulls)
{
	RowBuffer  *b = &buffers[table];
	Row		   *row;

	if (b->nrows == b->size)
	{
		b->size = Max(8, b->size * 2);
		b->rows = b->rows == NULL ? palloc(sizeof(Row) * b->size) : repalloc(b->rows, sizeof(Row) * b->size);
	}
	row = &b->rows[b->nrows++];
	row->values = palloc(sizeof(Datum) * b->natts);
	row->nulls = palloc(sizeof(bool) * b->natts);
	memcpy(row->values, values, sizeof(Datum) * b->natts);
	memcpy(row->nulls, nulls, sizeof(bool) * b->natts);
}

typedef struct DirectWrite
{
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *rri;
	Oid			needless;		/* index that none of the rows belongs in */
	bool		indexes_open;
} DirectWrite;

static void
open_direct(DirectWrite *w, Relation rel)
{
	w->rel = rel;
	w->estate = CreateExecutorState();
	w->rri = makeNode(ResultRelInfo);
	InitResultRelInfo(w->rri, rel, 1, NULL, 0);
	w->estate->es_output_cid = GetCurrentCommandId(true);
	w->needless = InvalidOid;
	w->indexes_open = false;
}

/* as ExecOpenIndices() does, without the needless one */
static void
open_indexes(DirectWrite *w)
{
	List	   *oids = RelationGetIndexList(w->rel);
	ListCell   *lc;
	int			n = 0;

	w->rri->ri_IndexRelationDescs = palloc(sizeof(Relation) * (list_length(oids) + 1));
	w->rri->ri_IndexRelationInfo = palloc(sizeof(IndexInfo *) * (list_length(oids) + 1));
	foreach(lc, oids)
	{
		Relation	index;

		if (lfirst_oid(lc) == w->needless)
			continue;
		index = index_open(lfirst_oid(lc), RowExclusiveLock);
		w->rri->ri_IndexRelationDescs[n] = index;
		w->rri->ri_IndexRelationInfo[n++] = BuildIndexInfo(index);
	}
	w->rri->ri_NumIndices = n;
	w->indexes_open = true;
	list_free(oids);
}

/* their locks stay until the transaction ends, as the table's does */
static void
close_direct(DirectWrite *w)
{
	for (int i = 0; i < w->rri->ri_NumIndices; i++)
	{
		loyalty_index_insert_cleanup(w->rri->ri_IndexRelationDescs[i], w->rri->ri_IndexRelationInfo[i]);
		index_close(w->rri->ri_IndexRelationDescs[i], NoLock);
	}
	FreeExecutorState(w->estate);
}

static void
index_row(DirectWrite *w, TupleTableSlot *slot, LOYALTY_UPDATE_INDEXES_TYPE indexes)
{
	if (!w->indexes_open)
		open_indexes(w);
	if (w->rri->ri_NumIndices > 0)
		(void) loyalty_insert_index_tuples(w->rri, slot, w->estate, indexes);
	ResetPerTupleExprContext(w->estate);
}

static void
fill_slot(TupleTableSlot *slot, Row *row, int natts)
{
	ExecClearTuple(slot);
	memcpy(slot->tts_values, row->values, sizeof(Datum) * natts);
	memcpy(slot->tts_isnull, row->nulls, sizeof(bool) * natts);
	ExecStoreVirtualTuple(slot);
}

static text *
key_of_row(const Row *row)
{
	return (text *) DatumGetPointer(row->values[1]);	/* as we made it: plain */
}

/* documents in the order of their keys: neighbours share index pages */
static int
compare_document_rows(const void *a, const void *b)
{
	const Row  *x = a;
	const Row  *y = b;
	int			lx;
	int			ly;
	int			c;

	if (x->prefix != y->prefix)
		return x->prefix < y->prefix ? -1 : 1;
	lx = VARSIZE(key_of_row(x)) - VARHDRSZ;
	ly = VARSIZE(key_of_row(y)) - VARHDRSZ;
	c = memcmp(VARDATA(key_of_row(x)), VARDATA(key_of_row(y)), Min(lx, ly));
	return c != 0 ? c : lx - ly;
}

static void
sort_document_rows(RowBuffer *b)
{
	for (int i = 0; i < b->nrows; i++)
	{
		text	   *key = key_of_row(&b->rows[i]);
		uint64		prefix = 0;

		memcpy(&prefix, VARDATA(key), Min(VARSIZE(key) - VARHDRSZ, sizeof(prefix)));
		b->rows[i].prefix = pg_ntoh64(prefix);
	}
	qsort(b->rows, b->nrows, sizeof(Row), compare_document_rows);
}

#define ROOT_SOURCE 4			/* number of document.root_source_id */

/* is this the index of documents WHERE root_source_id <> 0? */
static bool
is_of_returns(Oid relid, Relation documents)
{
	Relation	index;
	List	   *predicate;
	OpExpr	   *e;
	bool		result = false;

	if (get_rel_relkind(relid) != RELKIND_INDEX)
		return false;
	index = index_open(relid, AccessShareLock);
	predicate = RelationGetIndexPredicate(index);
	e = list_length(predicate) == 1 ? linitial(predicate) : NULL;
	if (index->rd_index->indrelid == RelationGetRelid(documents) && e != NULL && IsA(e, OpExpr) &&
		e->opfuncid == F_INT4NE && IsA(linitial(e->args), Var) && IsA(lsecond(e->args), Const))
	{
		Const	   *c = lsecond_node(Const, e->args);

		result = linitial_node(Var, e->args)->varattno == ROOT_SOURCE && !c->constisnull &&
			DatumGetInt32(c->constvalue) == 0;
	}
	index_close(index, AccessShareLock);
	return result;
}

/*
 * The index of returns has nothing to do with documents that return nothing;
 * that it is still what its name says is looked up once, because somebody may
 * have made it anew.
 */
static Oid
needless_index(RowBuffer *b, Relation rel)
{
	static Oid	known = InvalidOid;
	Oid			relid;

	if (b != &buffers[TABLE_DOCUMENT])
		return InvalidOid;
	for (int i = 0; i < b->nrows; i++)
		if (DatumGetInt32(b->rows[i].values[ROOT_SOURCE - 1]) != 0)
			return InvalidOid;
	relid = get_relname_relid("document_root", RelationGetNamespace(rel));
	if (relid == known || !OidIsValid(relid))
		return relid;
	if (!is_of_returns(relid, rel))
		return InvalidOid;
	known = relid;
	return relid;
}

static void
write_direct(RowBuffer *b, Relation rel)
{
	DirectWrite w;
	CommandId	cid = GetCurrentCommandId(true);
	int			nslots = Min(b->nrows, BATCH_ROWS);
	TupleTableSlot **slots = palloc(sizeof(TupleTableSlot *) * nslots);
	TupleDesc	desc = RelationGetDescr(rel);

	if (nslots > 1)
		desc = CreateTupleDescCopy(desc);	/* not counted by every slot */
	if (b == &buffers[TABLE_DOCUMENT])
		sort_document_rows(b);
	open_direct(&w, rel);
	w.needless = needless_index(b, rel);
	for (int i = 0; i < nslots; i++)
		slots[i] = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	for (int from = 0; from < b->nrows; from += nslots)
	{
		int			n = Min(nslots, b->nrows - from);

		for (int i = 0; i < n; i++)
			fill_slot(slots[i], &b->rows[from + i], b->natts);
		if (n == 1)
			table_tuple_insert(rel, slots[0], cid, 0, NULL);
		else
			table_multi_insert(rel, slots, n, cid, 0, NULL);
		for (int i = 0; i < n; i++)
			index_row(&w, slots[i], LOYALTY_ALL_INDEXES);
	}
	for (int i = 0; i < nslots; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	close_direct(&w);
}

/*
 * Write every row collected so far; statements that follow see them.
 */
void
loyalty_store_flush(void)
{
	bool		wrote = false;

	for (int t = 0; t < LOYALTY_NTABLES; t++)
	{
		RowBuffer  *b = &buffers[t];
		Relation	rel;

		if (b->nrows == 0)
			continue;
		rel = table_open(loyalty_relation(b->name), RowExclusiveLock);
		if (loyalty_is_plain(rel, b->natts))
			write_direct(b, rel);
		else
		{
			for (int i = 0; i < b->nrows; i++)
			{
				char		nulls[LOYALTY_MAX_PARAMS];

				for (int a = 0; a < b->natts; a++)
					nulls[a] = b->rows[i].nulls[a] ? 'n' : ' ';
				(void) loyalty_write(&b->insert, b->rows[i].values, nulls);
			}
		}
		table_close(rel, NoLock);
		for (int i = 0; i < b->nrows; i++)
		{
			pfree(b->rows[i].values);
			pfree(b->rows[i].nulls);
		}
		b->nrows = 0;
		wrote = true;
	}
	if (wrote)
		CommandCounterIncrement();
}

static void
member_values(LoyaltyMember *m, Datum *values, bool *nulls)
{
	bool		carries = loyalty_rational_sign(m->carry) != 0;

	memset(nulls, false, sizeof(bool) * WRITTEN);
	values[0] = Int64GetDatum(m->id);
	values[1] = Int32GetDatum(m->tier_id);
	nulls[1] = m->tier_id == 0;
	values[2] = PointsGetDatum(m->balance);
	values[3] = PointsGetDatum(m->debt);
	values[4] = NumericGetDatum(m->qualifying);
	values[5] = carries ? loyalty_rational_datum(m->carry) : (Datum) 0;
	nulls[5] = !carries;
	values[6] = Int64GetDatum(m->last_seq);
	values[7] = Int64GetDatum(m->lots_through);
	values[8] = PointsGetDatum(m->held);
	values[9] = Int64GetDatum(m->merged_into);
	nulls[9] = m->merged_into == 0;
	values[10] = DateADTGetDatum(m->next_expiry);
	nulls[10] = DATE_IS_NOEND(m->next_expiry);
	values[11] = DateADTGetDatum(m->expired_through);
	nulls[11] = DATE_IS_NOBEGIN(m->expired_through);
	values[12] = DateADTGetDatum(m->usable_from);
	nulls[12] = DATE_IS_NOBEGIN(m->usable_from);
	values[13] = DateADTGetDatum(m->lapses_on);
	nulls[13] = DATE_IS_NOEND(m->lapses_on);
	values[14] = DateADTGetDatum(m->tier_since);
	nulls[14] = m->tier_since == DATEVAL_NOBEGIN;
	values[15] = DateADTGetDatum(m->tier_until);
	nulls[15] = m->tier_until == DATEVAL_NOEND;
	values[16] = DateADTGetDatum(m->tier_review);
	nulls[16] = m->tier_review == DATEVAL_NOEND;
	values[17] = TimestampTzGetDatum(m->tier_at);
	nulls[17] = m->tier_at == 0;
	values[18] = TimestampTzGetDatum(m->left_at);
	nulls[18] = m->left_at == 0;
}

/*
 * Write the figures of members, all of them locked by us, and what that tells
 * them.
 */
void
loyalty_store_members(LoyaltyMember **members, int n)
{
	Relation	rel;
	Datum		values[WRITTEN];
	bool		nulls[WRITTEN];

	if (n == 0)
		return;
	loyalty_tell_tiers(members, n);
	rel = table_open(loyalty_relation("member"), RowExclusiveLock);
	if (loyalty_is_plain(rel, LOYALTY_MEMBER_NATTS))
	{
		DirectWrite w;
		TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
		Snapshot	snapshot = GetActiveSnapshot();
		CommandId	cid = GetCurrentCommandId(true);

		open_direct(&w, rel);
		for (int i = 0; i < n; i++)
		{
			LoyaltyMember *m = members[i];
			TM_FailureData failure;
			LockTupleMode mode;
			LOYALTY_UPDATE_INDEXES_TYPE indexes;
			TM_Result	result;

			member_values(m, values, nulls);
			ExecClearTuple(slot);
			memset(slot->tts_isnull, false, sizeof(bool) * LOYALTY_MEMBER_NATTS);
			slot->tts_values[0] = values[0];
			slot->tts_values[1] = Int32GetDatum(m->program->id);
			slot->tts_values[2] = CStringGetTextDatum(m->customer);
			slot->tts_values[3] = DateADTGetDatum(m->joined_on);
			for (int a = 1; a < WRITTEN; a++)
			{
				slot->tts_values[IDENTITY + a] = values[a];
				slot->tts_isnull[IDENTITY + a] = nulls[a];
			}
			ExecStoreVirtualTuple(slot);
			result = table_tuple_update(rel, &m->tid, slot, cid, snapshot, InvalidSnapshot, true,
										&failure, &mode, &indexes);
			if (result != TM_Ok)
				elog(ERROR, "could not update member " INT64_FORMAT ": %d", m->id, (int) result);
			if (loyalty_update_touched_indexes(indexes))
				index_row(&w, slot, indexes);
			m->tid = slot->tts_tid;
		}
		close_direct(&w);
		ExecDropSingleTupleTableSlot(slot);
	}
	else
	{
		for (int i = 0; i < n; i++)
		{
			char		marks[WRITTEN];

			member_values(members[i], values, nulls);
			for (int a = 0; a < WRITTEN; a++)
				marks[a] = nulls[a] ? 'n' : ' ';
			if (loyalty_write(&update_member, values, marks) != 1)
				elog(ERROR, "member " INT64_FORMAT " vanished", members[i]->id);
		}
	}
	table_close(rel, NoLock);
	for (int i = 0; i < n; i++)
		members[i]->dirty = false;
	CommandCounterIncrement();
	loyalty_tell_steps();
	loyalty_store_flush();
}
