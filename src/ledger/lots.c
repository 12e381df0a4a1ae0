/*
 * lots.c
 *	  Lots in hand: how an entry moves points.
 *
 * An entry's points are the lot it makes plus its allocations; a member's
 * balance is what remains in his lots.  Whoever books an entry takes the lots
 * it needs in hand, moves points among them, and has them written together
 * with the entry.  The member is locked all the time.
 *
 * Points can be spent while their lot is usable: through the last day of its
 * validity.  loyalty_usable() and the start of the scan in draw_from() are the
 * two places that say so.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/date.h"

#include "ledger/ledger.h"
#include "outbox/outbox.h"

typedef struct LotSlot
{
	int64		seq;
	LoyaltyLot *lot;
	char		status;
} LotSlot;

/* with more lots than this in hand, they are found by a hash of their seq */
#define FEW_LOTS 16

#define SH_PREFIX lot
#define SH_ELEMENT_TYPE LotSlot
#define SH_KEY_TYPE int64
#define SH_KEY seq
#define SH_HASH_KEY(tb, key) murmurhash32((uint32) (key) ^ (uint32) ((key) >> 32))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* lots read at a time: most spending needs one or two */
#define FIRST_LOTS 4
#define MORE_LOTS 256

/* an entry knows the day its lot expires, so the lot is found by its whole key */
static LoyaltyPlan plan_lots = {
	.sql = "SELECT l.seq, l.expires_on, l.points, l.remaining FROM pg_catalog.unnest($2) AS k (seq) CROSS JOIN LATERAL"
	" (SELECT x.expires_on FROM loyalty.entry x WHERE x.member_id = $1 AND x.seq = k.seq OFFSET 0) e CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.stored_lot x WHERE x.member_id = $1 AND x.is_open AND x.expires_on = e.expires_on AND x.seq = k.seq"
	" UNION ALL"
	" SELECT * FROM loyalty.stored_lot x WHERE x.member_id = $1 AND NOT x.is_open AND x.expires_on = e.expires_on AND x.seq = k.seq) l"
	" ORDER BY l.seq",
	.nparams = 2, .types = {INT8OID, INT8ARRAYOID}
};

static LoyaltyPlan plan_open_lots = {
	.sql = "SELECT l.seq, l.expires_on, l.points, l.remaining FROM loyalty.stored_lot l"
	" WHERE l.member_id = $1 AND l.is_open AND (l.expires_on, l.seq) > ($2, $3)"
	" ORDER BY l.expires_on, l.seq LIMIT $4",
	.nparams = 4, .types = {INT8OID, DATEOID, INT8OID, INT8OID}
};

static LoyaltyPlan plan_debts = {
	.sql = "SELECT l.seq, l.expires_on, l.points, l.remaining FROM loyalty.stored_lot l"
	" WHERE l.member_id = $1 AND l.is_open AND l.remaining < 0 ORDER BY l.seq",
	.nparams = 1, .types = {INT8OID}
};

static LoyaltyPlan plan_update_lot = {
	.sql = "UPDATE loyalty.stored_lot SET remaining = $5, is_open = $5 <> 0"
	" WHERE member_id = $1 AND is_open = $2 AND expires_on = $3 AND seq = $4",
	.nparams = 5, .types = {INT8OID, BOOLOID, DATEOID, INT8OID, NUMERICOID}
};

static LoyaltyPlan plan_store_lots = {
	.sql = "INSERT INTO loyalty.stored_lot (member_id, is_open, expires_on, seq, points, remaining)"
	" SELECT e.member_id, true, e.expires_on, e.seq, e.points, e.points"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS k (member_id, through) CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.entry x WHERE x.member_id = k.member_id AND x.seq > k.through"
	" AND x.expires_on IS NOT NULL OFFSET 0) e",
	.nparams = 2, .types = {INT8ARRAYOID, INT8ARRAYOID}
};

/*
 * Store the lots of members' entries that have none yet.  Their entries have
 * been flushed.
 */
void
loyalty_store_lots(LoyaltyMember **members, int n)
{
	int64	   *ids = palloc(sizeof(int64) * Max(n, 1));
	int64	   *through = palloc(sizeof(int64) * Max(n, 1));
	Datum		values[2];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		ids[i] = members[i]->id;
		through[i] = members[i]->lots_through;
		members[i]->lots_through = members[i]->last_seq;
		members[i]->dirty = true;
	}
	values[0] = loyalty_int8_array(ids, n);
	values[1] = loyalty_int8_array(through, n);
	(void) loyalty_write(&plan_store_lots, values, NULL);
}

/*
 * Begin an entry of a member: nothing is in hand yet.  now decides which lots
 * are still valid.  As it is, the entry can only make a lot; for all else see
 * loyalty_posting_lots().
 */
void
loyalty_posting_begin(LoyaltyPosting *p, LoyaltyMember *member, TimestampTz now)
{
	memset(p, 0, sizeof(LoyaltyPosting));
	p->member = member;
	p->seq = member->last_seq + 1;
	p->today = loyalty_program_date(member->program, now);
}

/*
 * Lots are read from their table: it must know what we know.
 */
void
loyalty_posting_lots(LoyaltyPosting *p)
{
	loyalty_store_flush();
	if (p->member->lots_through < p->member->last_seq)
		loyalty_store_lots(&p->member, 1);
	p->stored = true;
}

/*
 * Begin an entry that moves points among lots.
 */
void
loyalty_posting_open(LoyaltyPosting *p, LoyaltyMember *member, TimestampTz now)
{
	loyalty_posting_begin(p, member, now);
	loyalty_posting_lots(p);
}

/*
 * Can what is left in the lot be spent on that day?
 */
bool
loyalty_usable(LoyaltyLot *lot, DateADT today)
{
	return lot->remaining > 0 && lot->expires_on >= today;
}

/*
 * The lot in hand with that seq, NULL if it is not.
 */
LoyaltyLot *
loyalty_find_lot(LoyaltyPosting *p, int64 seq)
{
	ListCell   *lc;

	if (p->index != NULL)
	{
		LotSlot    *slot = lot_lookup(p->index, seq);

		return slot == NULL ? NULL : slot->lot;
	}
	foreach(lc, p->lots)
		if (((LoyaltyLot *) lfirst(lc))->seq == seq)
			return lfirst(lc);
	return NULL;
}

static void
add_lot(LoyaltyPosting *p, LoyaltyLot *lot)
{
	bool		found;
	ListCell   *lc;

	p->lots = lappend(p->lots, lot);
	if (p->index != NULL)
		lot_insert(p->index, lot->seq, &found)->lot = lot;
	else if (list_length(p->lots) > FEW_LOTS)
	{
		p->index = lot_create(CurrentMemoryContext, 4 * FEW_LOTS, NULL);
		foreach(lc, p->lots)
			lot_insert(p->index, ((LoyaltyLot *) lfirst(lc))->seq, &found)->lot = lfirst(lc);
	}
}

/* take the rows of SPI_tuptable in hand, those that are not yet */
static List *
take_lots(LoyaltyPosting *p, uint64 rows)
{
	List	   *taken = NIL;
	bool		isnull;

	for (uint64 i = 0; i < rows; i++)
	{
		int64		seq = DatumGetInt64(loyalty_spi_datum(i, 1, &isnull));
		LoyaltyLot *lot = loyalty_find_lot(p, seq);

		if (lot == NULL)
		{
			lot = palloc0(sizeof(LoyaltyLot));
			lot->seq = seq;
			lot->expires_on = DatumGetDateADT(loyalty_spi_datum(i, 2, &isnull));
			lot->points = loyalty_points_from_datum(loyalty_spi_datum(i, 3, &isnull));
			lot->remaining = loyalty_points_from_datum(loyalty_spi_datum(i, 4, &isnull));
			add_lot(p, lot);
		}
		taken = lappend(taken, lot);
	}
	SPI_freetuptable(SPI_tuptable);
	return taken;
}

/*
 * The lots that these entries made, in hand.
 */
List *
loyalty_lots_of(LoyaltyPosting *p, int64 *seqs, int n)
{
	Datum		values[2];

	if (n == 0)
		return NIL;
	values[0] = Int64GetDatum(p->member->id);
	values[1] = loyalty_int8_array(seqs, n);
	return take_lots(p, loyalty_run(&plan_lots, values, NULL));
}

/*
 * The lot that the entry makes; points below zero are a debt.
 */
LoyaltyLot *
loyalty_new_lot(LoyaltyPosting *p, DateADT expires_on, Points points)
{
	LoyaltyLot *lot = palloc0(sizeof(LoyaltyLot));

	lot->seq = p->seq;
	lot->expires_on = expires_on;
	lot->points = lot->remaining = points;
	lot->is_new = true;
	add_lot(p, lot);
	if (points < 0)
		p->member->debt -= points;
	return lot;
}

void
loyalty_move(LoyaltyPosting *p, LoyaltyLot *lot, Points points)
{
	if (lot->points < 0)
		p->member->debt -= points;
	lot->remaining += points;
	lot->moved += points;
}

/*
 * What came in repays what is owed.
 */
void
loyalty_repay(LoyaltyPosting *p)
{
	Datum		value = Int64GetDatum(p->member->id);
	List	   *debts;
	ListCell   *lc;
	ListCell   *lc2;

	if (p->member->debt == 0)
		return;
	debts = take_lots(p, loyalty_run(&plan_debts, &value, NULL));
	foreach(lc, debts)
	{
		LoyaltyLot *debt = lfirst(lc);

		foreach(lc2, p->lots)
		{
			LoyaltyLot *lot = lfirst(lc2);
			Points		part_of = Min(-debt->remaining, lot->remaining);

			if (part_of > 0 && loyalty_usable(lot, p->today))
			{
				loyalty_move(p, debt, part_of);
				loyalty_move(p, lot, -part_of);
			}
		}
	}
}

/*
 * Draw from a lot what is there.  Returns what is still needed.
 */
Points
loyalty_draw(LoyaltyPosting *p, LoyaltyLot *lot, Points need)
{
	Points		part_of = Min(need, lot->remaining);

	if (part_of <= 0)
		return need;
	loyalty_move(p, lot, -part_of);
	return need - part_of;
}

/*
 * Draw from open lots in the order of spending, from those that expire on a
 * day or later.  Returns what is not there.
 */
static Points
draw_from(LoyaltyPosting *p, DateADT day, Points need)
{
	/* the scan starts behind all lots that expire earlier */
	DateADT		expires_on = DATE_IS_NOBEGIN(day) ? day : day - 1;
	int64		seq = PG_INT64_MAX;
	int64		limit = FIRST_LOTS;
	ListCell   *lc;

	while (need > 0)
	{
		Datum		values[4];
		List	   *open;

		values[0] = Int64GetDatum(p->member->id);
		values[1] = DateADTGetDatum(expires_on);
		values[2] = Int64GetDatum(seq);
		values[3] = Int64GetDatum(limit);
		open = take_lots(p, loyalty_run(&plan_open_lots, values, NULL));
		foreach(lc, open)
		{
			LoyaltyLot *lot = lfirst(lc);

			if (need > 0 && loyalty_usable(lot, day))
				need = loyalty_draw(p, lot, need);
			expires_on = lot->expires_on;
			seq = lot->seq;
		}
		if (list_length(open) < limit)
			break;
		limit = MORE_LOTS;
	}
	return need;
}

/*
 * Draw as spending does: soonest expiring first, then oldest, never-expiring
 * last, from lots that are valid today.  Returns what is not there.
 */
Points
loyalty_spend(LoyaltyPosting *p, Points need)
{
	return draw_from(p, p->today, need);
}

/*
 * Draw all there is, expired or not.
 */
void
loyalty_draw_all(LoyaltyPosting *p)
{
	(void) draw_from(p, DATEVAL_NOBEGIN, PG_INT64_MAX);
}

/*
 * Pay all the member's debts, from nothing.  Returns how much that is.
 */
Points
loyalty_forgive(LoyaltyPosting *p)
{
	Datum		value = Int64GetDatum(p->member->id);
	Points		sum = p->member->debt;
	ListCell   *lc;

	if (sum == 0)
		return 0;
	foreach(lc, take_lots(p, loyalty_run(&plan_debts, &value, NULL)))
	{
		LoyaltyLot *debt = lfirst(lc);

		loyalty_move(p, debt, -debt->remaining);
	}
	return sum;
}

static void
store_lot(LoyaltyMember *member, LoyaltyLot *lot)
{
	Datum		values[6];
	bool		nulls[6] = {false};

	values[0] = Int64GetDatum(member->id);
	values[1] = BoolGetDatum(lot->remaining != 0);
	values[2] = DateADTGetDatum(lot->expires_on);
	values[3] = Int64GetDatum(lot->seq);
	values[4] = PointsGetDatum(lot->points);
	values[5] = PointsGetDatum(lot->remaining);
	loyalty_store_row(TABLE_LOT, values, nulls);
}

/*
 * Write the lots in hand that the entry moved.  A new one is the entry itself
 * where nothing needs its row yet.
 */
static void
write_lots(LoyaltyPosting *p)
{
	ListCell   *lc;

	foreach(lc, p->lots)
	{
		LoyaltyLot *lot = lfirst(lc);

		if (lot->is_new && p->stored)
			store_lot(p->member, lot);
		else if (lot->moved != 0)
		{
			Datum		values[5];

			values[0] = Int64GetDatum(p->member->id);
			values[1] = BoolGetDatum(lot->remaining - lot->moved != 0);
			values[2] = DateADTGetDatum(lot->expires_on);
			values[3] = Int64GetDatum(lot->seq);
			values[4] = PointsGetDatum(lot->remaining);
			if (loyalty_write(&plan_update_lot, values, NULL) != 1)
				elog(ERROR, "lot " INT64_FORMAT " of member " INT64_FORMAT " vanished", lot->seq, p->member->id);
		}
		if (lot->moved != 0)
		{
			Datum		values[4];
			bool		nulls[4] = {false};

			values[0] = Int64GetDatum(p->member->id);
			values[1] = Int64GetDatum(p->seq);
			values[2] = Int64GetDatum(lot->seq);
			values[3] = PointsGetDatum(lot->moved);
			loyalty_store_row(TABLE_ALLOCATION, values, nulls);
		}
	}
}

static void
store_entry(LoyaltyPosting *p, LoyaltyEntry *entry, TimestampTz now)
{
	Datum		values[LOYALTY_ENTRY_NATTS];
	bool		nulls[LOYALTY_ENTRY_NATTS] = {false};
	LoyaltyLot *own = loyalty_find_lot(p, p->seq);

	values[0] = Int64GetDatum(p->member->id);
	values[1] = Int64GetDatum(p->seq);
	values[2] = CStringGetTextDatum(entry->kind);
	values[3] = PointsGetDatum(entry->points);
	values[4] = TimestampTzGetDatum(entry->at);
	values[5] = TimestampTzGetDatum(now);
	nulls[6] = own == NULL;
	values[6] = DateADTGetDatum(own == NULL ? 0 : own->expires_on);
	nulls[7] = entry->source_id == 0;
	values[7] = Int32GetDatum(entry->source_id);
	nulls[8] = entry->doc_key == NULL;
	values[8] = entry->doc_key == NULL ? (Datum) 0 : CStringGetTextDatum(entry->doc_key);
	nulls[9] = entry->prev_seq == 0;
	values[9] = Int64GetDatum(entry->prev_seq);
	nulls[10] = entry->key == NULL;
	values[10] = entry->key == NULL ? (Datum) 0 : CStringGetTextDatum(entry->key);
	loyalty_store_row(TABLE_ENTRY, values, nulls);
}

/*
 * The entry is complete: collect its rows, count it for the member.
 */
void
loyalty_posting_end(LoyaltyPosting *p, LoyaltyEntry *entry, TimestampTz now)
{
	write_lots(p);
	store_entry(p, entry, now);
	p->member->last_seq = p->seq;
	if (p->stored)
		p->member->lots_through = p->seq;
	p->member->balance += entry->points;
	p->member->dirty = true;
	loyalty_tell(p, entry, now);
}
