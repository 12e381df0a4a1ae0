/*
 * member.c
 *	  Members: identity, enrolment, locking.
 *
 * A member's number is a hash of programme and customer.  So the primary key
 * is all that is needed to find a member and to keep two sessions from making
 * the same one twice; there is no counter to share and no second index.  The
 * numbers stay below 2^53, which every BI tool can represent; should two
 * customers collide, the later one gets the hash with the next salt.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "config.h"
#include "errors.h"
#include "member/member.h"

#define MEMBER_BITS 53
#define MEMBER_COLUMNS \
	"m.member_id, m.program_id, m.customer, m.joined_on, m.tier_id, m.balance, m.debt," \
	" m.qualifying, m.carry, m.last_seq, m.lots_through, m.held, m.merged_into," \
	" m.next_expiry, m.expired_through, m.usable_from, m.lapses_on," \
	" m.tier_since, m.tier_until, m.tier_review, m.tier_at, m.left_at, m.ctid"

static LoyaltyPlan plan_lock = {
	.sql = "SELECT " MEMBER_COLUMNS " FROM loyalty.member m WHERE m.member_id = ANY ($1)"
	" ORDER BY m.member_id FOR NO KEY UPDATE",
	.nparams = 1, .types = {INT8ARRAYOID}
};

static LoyaltyPlan plan_lock_nowait = {
	.sql = "SELECT " MEMBER_COLUMNS " FROM loyalty.member m WHERE m.member_id = ANY ($1)"
	" ORDER BY m.member_id FOR NO KEY UPDATE NOWAIT",
	.nparams = 1, .types = {INT8ARRAYOID}
};

static LoyaltyPlan plan_read = {
	.sql = "SELECT " MEMBER_COLUMNS " FROM loyalty.member m WHERE m.member_id = $1",
	.nparams = 1, .types = {INT8OID}
};

static LoyaltyPlan plan_customer = {
	.sql = "SELECT m.program_id, m.customer, m.left_at FROM loyalty.member m WHERE m.member_id = $1",
	.nparams = 1, .types = {INT8OID}
};

static LoyaltyPlan plan_account = {
	.sql = "SELECT m.merged_into FROM loyalty.member m WHERE m.member_id = $1",
	.nparams = 1, .types = {INT8OID}
};

static LoyaltyPlan plan_existing = {
	.sql = "SELECT m.member_id, m.ctid FROM loyalty.member m WHERE m.member_id = ANY ($1) ORDER BY m.member_id",
	.nparams = 1, .types = {INT8ARRAYOID}
};

static LoyaltyPlan plan_enrol = {
	.sql = "INSERT INTO loyalty.member (member_id, program_id, customer, joined_on, tier_id)"
	" SELECT u.m, u.p, u.c, u.j, u.t"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
	" pg_catalog.unnest($4), pg_catalog.unnest($5)) AS u (m, p, c, j, t)"
	" ORDER BY u.m, u.j ON CONFLICT (member_id) DO NOTHING",
	.nparams = 5, .types = {INT8ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, DATEARRAYOID, INT4ARRAYOID}
};

/*
 * FNV-1a over programme and customer (in UTF-8, so that a dump restored into
 * another encoding or machine finds its members), mixed by splitmix64.
 */
int64
loyalty_member_number(LoyaltyProgram *program, const char *customer, int salt)
{
	const char *utf8 = pg_server_to_any(customer, strlen(customer), PG_UTF8);
	uint64		h = UINT64CONST(14695981039346656037);
	uint32		words[2];
	int64		number;

	words[0] = (uint32) program->id;
	words[1] = (uint32) salt;
	for (int i = 0; i < 8; i++)
		h = (h ^ ((words[i / 4] >> (8 * (i % 4))) & 0xff)) * UINT64CONST(1099511628211);
	for (const char *c = utf8; *c; c++)
		h = (h ^ (unsigned char) *c) * UINT64CONST(1099511628211);
	h = (h ^ (h >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	h = (h ^ (h >> 27)) * UINT64CONST(0x94d049bb133111eb);
	h ^= h >> 31;
	number = (int64) (h >> (64 - MEMBER_BITS));
	return number == 0 ? 1 : number;	/* 0 stands for nobody */
}

/*
 * The number a customer has, or would get: *exists says which.  A member that
 * he was before he left a household is passed over.
 */
static int64
probe(LoyaltyProgram *program, const char *customer, bool *exists)
{
	for (int salt = 0;; salt++)
	{
		int64		number = loyalty_member_number(program, customer, salt);
		Datum		value = Int64GetDatum(number);
		bool		isnull;

		*exists = loyalty_run(&plan_customer, &value, NULL) > 0;
		if (!*exists)
			return number;
		(void) loyalty_spi_datum(0, 3, &isnull);
		if (isnull && DatumGetInt32(loyalty_spi_datum(0, 1, &isnull)) == program->id &&
			strcmp(loyalty_spi_text(0, 2), customer) == 0)
			return number;
	}
}

/*
 * Number of the member that a customer is; 0 for none.  SPI is connected.
 */
int64
loyalty_find_member(LoyaltyProgram *program, const char *customer)
{
	bool		exists;
	int64		number = probe(program, customer, &exists);

	return exists ? number : 0;
}

/*
 * Who has a member's points: he himself, or with whom he was merged.
 */
int64
loyalty_account_of(int64 member_id)
{
	while (member_id != 0)
	{
		Datum		value = Int64GetDatum(member_id);
		bool		isnull = true;

		if (loyalty_run(&plan_account, &value, NULL) == 1)
			value = loyalty_spi_datum(0, 1, &isnull);
		if (isnull)
			break;
		member_id = DatumGetInt64(value);
	}
	return member_id;
}

/*
 * Make members of customers; those that are members already stay as they are.
 */
void
loyalty_enrol_members(LoyaltyProgram **programs, int64 *ids, char **customers, DateADT *joined, int n)
{
	Datum	   *p = palloc(sizeof(Datum) * n);
	Datum	   *j = palloc(sizeof(Datum) * n);
	Datum	   *t = palloc(sizeof(Datum) * n);
	bool	   *no_tier = palloc(sizeof(bool) * n);
	Datum		values[5];
	int			dims = n;
	int			lower = 1;

	for (int i = 0; i < n; i++)
	{
		LoyaltyTier *tier = loyalty_program_tier(programs[i], loyalty_num_int(0));

		p[i] = Int32GetDatum(programs[i]->id);
		j[i] = DateADTGetDatum(joined[i]);
		no_tier[i] = tier == NULL;
		t[i] = Int32GetDatum(tier == NULL ? 0 : tier->id);
	}
	values[0] = loyalty_int8_array(ids, n);
	values[1] = PointerGetDatum(construct_array(p, n, INT4OID, 4, true, TYPALIGN_INT));
	values[2] = loyalty_text_array(customers, n);
	values[3] = PointerGetDatum(construct_array(j, n, DATEOID, 4, true, TYPALIGN_INT));
	values[4] = PointerGetDatum(construct_md_array(t, no_tier, 1, &dims, &lower, INT4OID, 4, true, TYPALIGN_INT));
	(void) loyalty_write(&plan_enrol, values, NULL);
}

/* from the columns of loyalty.member, in order */
static void
fill(LoyaltyMember *m, Datum *values, bool *nulls, ItemPointer tid)
{
	memset(m, 0, sizeof(LoyaltyMember));
	m->id = DatumGetInt64(values[0]);
	m->program = loyalty_program_by_id(DatumGetInt32(values[1]));
	m->customer = TextDatumGetCString(values[2]);
	m->joined_on = DatumGetDateADT(values[3]);
	m->tier_id = m->tier_before = nulls[4] ? 0 : DatumGetInt32(values[4]);
	m->balance = m->balance_before = loyalty_points_from_datum(values[5]);
	m->debt = loyalty_points_from_datum(values[6]);
	m->qualifying = DatumGetNumericCopy(values[7]);
	m->carry = nulls[8] ? loyalty_rational_int(0) : loyalty_rational_from_datum(values[8]);
	m->last_seq = DatumGetInt64(values[9]);
	m->lots_through = DatumGetInt64(values[10]);
	m->held = loyalty_points_from_datum(values[11]);
	m->merged_into = nulls[12] ? 0 : DatumGetInt64(values[12]);
	m->next_expiry = nulls[13] ? DATEVAL_NOEND : DatumGetDateADT(values[13]);
	m->expired_through = nulls[14] ? DATEVAL_NOBEGIN : DatumGetDateADT(values[14]);
	m->usable_from = nulls[15] ? DATEVAL_NOBEGIN : DatumGetDateADT(values[15]);
	m->lapses_on = nulls[16] ? DATEVAL_NOEND : DatumGetDateADT(values[16]);
	m->tier_since = nulls[17] ? DATEVAL_NOBEGIN : DatumGetDateADT(values[17]);
	m->tier_until = nulls[18] ? DATEVAL_NOEND : DatumGetDateADT(values[18]);
	m->tier_review = nulls[19] ? DATEVAL_NOEND : DatumGetDateADT(values[19]);
	m->tier_at = nulls[20] ? 0 : DatumGetTimestampTz(values[20]);
	m->left_at = nulls[21] ? 0 : DatumGetTimestampTz(values[21]);
	m->tier_was = m->tier_id;
	m->tid = *tid;
}

static void
fill_from_spi(LoyaltyMember *m, uint64 row)
{
	Datum		values[LOYALTY_MEMBER_NATTS + 1];
	bool		nulls[LOYALTY_MEMBER_NATTS + 1];

	for (int i = 0; i <= LOYALTY_MEMBER_NATTS; i++)
		values[i] = loyalty_spi_datum(row, i + 1, &nulls[i]);
	fill(m, values, nulls, (ItemPointer) DatumGetPointer(values[LOYALTY_MEMBER_NATTS]));
}

/*
 * A walk along the primary key, which finds the visible version of a row.
 *
 * An index scan would prune a page of the heap whenever less of it is free
 * than the fillfactor leaves free, which is true from the first update of a
 * row on: every document would pay for a look at every row of the page.  A
 * walk for a single member waits until it is worth it.
 */
typedef struct KeyWalk
{
	Relation	rel;
	Relation	index;
	Snapshot	snapshot;
	TupleTableSlot *slot;
	IndexScanDesc scan;
	bool		prune;			/* as an index scan does */
} KeyWalk;

static void
begin_walk(KeyWalk *w, Relation rel, bool prune)
{
	w->rel = rel;
	w->index = index_open(rel->rd_pkindex, AccessShareLock);
	w->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	w->slot = table_slot_create(rel, NULL);
	w->scan = loyalty_index_beginscan(rel, w->index, w->snapshot, 1);
	w->prune = prune;
}

/* room for some more versions of a row: pages are pruned when there is less */
#define ROOM (BLCKSZ / 10)

static bool
find_row(KeyWalk *w, int64 id, ItemPointer tid)
{
	ScanKeyData key;
	ItemPointer next;
	bool		found = false;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	index_rescan(w->scan, &key, 1, NULL, 0);
	while (!found && (next = index_getnext_tid(w->scan, ForwardScanDirection)) != NULL)
	{
		Buffer		buffer = ReadBuffer(w->rel, ItemPointerGetBlockNumber(next));
		Page		page = BufferGetPage(buffer);
		HeapTupleData tuple;
		bool		all_dead = false;

		*tid = *next;
		if (w->prune || PageIsFull(page) || PageGetHeapFreeSpace(page) < ROOM)
			heap_page_prune_opt(w->rel, buffer);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		found = heap_hot_search_buffer(tid, w->rel, buffer, w->snapshot, &tuple, &all_dead, true);
		UnlockReleaseBuffer(buffer);
		/* the index is told, as by an index scan: nobody need come here again */
		w->scan->kill_prior_tuple = all_dead && !w->scan->xactStartedInRecovery;
	}
	return found;
}

static void
end_walk(KeyWalk *w)
{
	index_endscan(w->scan);
	ExecDropSingleTupleTableSlot(w->slot);
	UnregisterSnapshot(w->snapshot);
	index_close(w->index, NoLock);
}

/* may the table be walked along its key, or only be asked by SQL? */
static bool
can_walk(Relation rel)
{
	(void) RelationGetIndexList(rel);
	return loyalty_is_plain(rel, LOYALTY_MEMBER_NATTS) && OidIsValid(rel->rd_pkindex);
}

/*
 * Where are the rows of these members (sorted)?  tids gets their places,
 * invalid for those that do not exist; nothing is locked.  Returns how many
 * there are.
 */
int
loyalty_locate_members(int64 *ids, ItemPointerData *tids, int n)
{
	Relation	rel = table_open(loyalty_relation("member"), AccessShareLock);
	int			nfound = 0;

	for (int i = 0; i < n; i++)
		ItemPointerSetInvalid(&tids[i]);
	if (can_walk(rel))
	{
		KeyWalk		w;

		begin_walk(&w, rel, true);
		for (int i = 0; i < n; i++)
			if (find_row(&w, ids[i], &tids[i]))
				nfound++;
			else
				ItemPointerSetInvalid(&tids[i]);
		end_walk(&w);
	}
	else
	{
		Datum		value = loyalty_int8_array(ids, n);
		int			rows = loyalty_run(&plan_existing, &value, NULL);
		bool		isnull;

		for (int i = 0; i < n && nfound < rows; i++)
			if (DatumGetInt64(loyalty_spi_datum(nfound, 1, &isnull)) == ids[i])
				tids[i] = *(ItemPointer) DatumGetPointer(loyalty_spi_datum(nfound++, 2, &isnull));
		SPI_freetuptable(SPI_tuptable);
	}
	table_close(rel, NoLock);
	return nfound;
}

/*
 * Lock a row as SELECT FOR NO KEY UPDATE would, given the place of a version
 * that is visible; the walk's slot gets the locked one.  False if it is gone.
 */
static bool
lock_row(KeyWalk *w, ItemPointerData tid, bool nowait)
{
	TM_FailureData failure;
	int			flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;

	if (!IsolationUsesXactSnapshot())
		flags |= TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
	switch (table_tuple_lock(w->rel, &tid, w->snapshot, w->slot, GetCurrentCommandId(false),
							 LockTupleNoKeyExclusive, nowait ? LockWaitSkip : LockWaitBlock,
							 flags, &failure))
	{
		case TM_Ok:
			return true;
		case TM_Updated:
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				ereport(ERROR,
						(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						 errmsg("could not serialize access due to concurrent update")));
			return false;
		case TM_WouldBlock:
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("a member is locked by another transaction"),
					 errdetail("This transaction has locked others before, and waiting out of order could deadlock."),
					 errhint("Try again; calls for several customers are best made in transactions of their own.")));
			return false;
		default:
			elog(ERROR, "could not lock a row of \"%s\"", RelationGetRelationName(w->rel));
			return false;
	}
}

/*
 * Lock and read members by their primary key, without the executor.
 */
static LoyaltyMember *
lock_directly(Relation rel, int64 *ids, ItemPointerData *tids, int n, bool nowait, int *nfound)
{
	LoyaltyMember *members = palloc(sizeof(LoyaltyMember) * n);
	KeyWalk		w;

	*nfound = 0;
	begin_walk(&w, rel, n > 1);
	for (int i = 0; i < n; i++)
	{
		ItemPointerData tid;

		if (tids != NULL && ItemPointerIsValid(&tids[i]))
			tid = tids[i];
		else if (!find_row(&w, ids[i], &tid))
			continue;
		if (!lock_row(&w, tid, nowait))
			continue;
		slot_getallattrs(w.slot);
		fill(&members[(*nfound)++], w.slot->tts_values, w.slot->tts_isnull, &w.slot->tts_tid);
	}
	end_walk(&w);
	return members;
}

/*
 * Lock members in ascending order of their numbers and read them.  Those that
 * do not exist are left out; the array is in ascending order.  tids, if given,
 * says where loyalty_locate_members() has found them in this statement.
 *
 * Everybody who locks members does it in this order; who cannot (because he
 * holds higher ones already) must not wait: nowait.
 */
LoyaltyMember *
loyalty_lock_members(int64 *ids, ItemPointerData *tids, int n, bool nowait, int *nfound)
{
	Relation	rel = table_open(loyalty_relation("member"), RowShareLock);
	LoyaltyMember *members;

	if (can_walk(rel))
		members = lock_directly(rel, ids, tids, n, nowait, nfound);
	else
	{
		Datum		value = loyalty_int8_array(ids, n);

		*nfound = loyalty_run(nowait ? &plan_lock_nowait : &plan_lock, &value, NULL);
		members = palloc(sizeof(LoyaltyMember) * Max(*nfound, 1));
		for (int i = 0; i < *nfound; i++)
			fill_from_spi(&members[i], i);
		SPI_freetuptable(SPI_tuptable);
	}
	table_close(rel, NoLock);
	return members;
}

/*
 * Read a member without a lock; NULL if there is none.
 */
LoyaltyMember *
loyalty_read_member(int64 id)
{
	Datum		value = Int64GetDatum(id);
	LoyaltyMember *m;

	if (id == 0 || loyalty_run(&plan_read, &value, NULL) == 0)
		return NULL;
	m = palloc(sizeof(LoyaltyMember));
	fill_from_spi(m, 0);
	return m;
}

/*
 * Does the tier simply follow the qualifying amount?  Otherwise it is worked
 * out from what was bought when, see standing.c.
 */
bool
loyalty_member_is_plain(LoyaltyMember *member)
{
	return member->program->tiering.is_plain && member->tier_at == 0;
}

/*
 * The qualifying amount moves, by a document of that instant, and the tier
 * with it: up and down, at once.
 */
void
loyalty_member_qualify(LoyaltyMember *member, Numeric delta, TimestampTz at)
{
	if (loyalty_num_sign(delta) == 0)
		return;
	member->qualifying = loyalty_num_trim(loyalty_num_add(member->qualifying, delta));
	member->dirty = true;
	if (loyalty_member_is_plain(member))
	{
		LoyaltyTier *tier = loyalty_program_tier(member->program, member->qualifying);

		member->tier_id = tier == NULL ? 0 : tier->id;
		member->tier_moved_at = at;
	}
}
