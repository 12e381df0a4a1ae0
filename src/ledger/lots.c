/*
 * lots.c
 *	  Lots in hand: how an entry moves points.
 *
 * An entry's points are the lot it makes plus its allocations; a member's
 * balance is what remains in his lots.  Whoever books an entry takes the lots
 * it needs in hand, moves points among them, and has them written together
 * with the entry.  The member is locked all the time.
 *
 * Points can be spent while their lot is usable: from the day it says through
 * the last day of its validity, as seen from the day of the entry, which may
 * be long past when it is booked.  loyalty_usable() and the scans in
 * draw_from() say so; what is taken back may come from later ones, too, and
 * debts are repaid by all that is valid.
 *
 * What is left of a lot when it expires is gone, whether or not upkeep has
 * written that down.  An entry that concerns those points all the same (it
 * happened before, or takes back what the lot's own document earned) recalls
 * them: an entry of kind expire, above 0, undoes what was written down, so that
 * the result is the same as if it had not been.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/date.h"

#include "ledger/ledger.h"

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

#define LOT_COLUMNS "l.seq, l.expires_on, l.points, l.remaining, l.usable_from, l.expired"

/* an entry, or the last change, knows the day the lot expires: it is found by its whole key */
static LoyaltyPlan plan_lots = {
	.sql = "SELECT " LOT_COLUMNS " FROM pg_catalog.unnest($2) AS k (seq) CROSS JOIN LATERAL"
	" (SELECT COALESCE((SELECT c.expires_on FROM loyalty.lot_change c WHERE c.member_id = $1 AND c.lot_seq = k.seq"
	" ORDER BY c.n DESC LIMIT 1), x.expires_on) AS expires_on"
	" FROM loyalty.entry x WHERE x.member_id = $1 AND x.seq = k.seq OFFSET 0) e CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.stored_lot x WHERE x.member_id = $1 AND x.is_open AND x.expires_on = e.expires_on AND x.seq = k.seq"
	" UNION ALL"
	" SELECT * FROM loyalty.stored_lot x WHERE x.member_id = $1 AND NOT x.is_open AND x.expires_on = e.expires_on AND x.seq = k.seq) l"
	" ORDER BY l.seq",
	.nparams = 2, .types = {INT8OID, INT8ARRAYOID}
};

static LoyaltyPlan plan_open_lots = {
	.sql = "SELECT " LOT_COLUMNS " FROM loyalty.stored_lot l"
	" WHERE l.member_id = $1 AND l.is_open AND (l.expires_on, l.seq) > ($2, $3)"
	" ORDER BY l.expires_on, l.seq LIMIT $4",
	.nparams = 4, .types = {INT8OID, DATEOID, INT8OID, INT8OID}
};

/* the same, and those whose expiry is written down: for entries that happened before */
static LoyaltyPlan plan_past_lots = {
	.sql = "SELECT " LOT_COLUMNS " FROM loyalty.stored_lot l"
	" WHERE l.member_id = $1 AND (l.is_open OR l.expired > 0) AND (l.expires_on, l.seq) > ($2, $3)"
	" ORDER BY l.expires_on, l.seq LIMIT $4",
	.nparams = 4, .types = {INT8OID, DATEOID, INT8OID, INT8OID}
};

/* what can be spent later only, the latest first */
static LoyaltyPlan plan_later_lots = {
	.sql = "SELECT " LOT_COLUMNS " FROM loyalty.stored_lot l"
	" WHERE l.member_id = $1 AND (l.is_open OR l.expired > 0) AND l.usable_from > $2 AND l.expires_on >= $2"
	" ORDER BY l.usable_from DESC, l.expires_on DESC, l.seq DESC",
	.nparams = 2, .types = {INT8OID, DATEOID}
};

static LoyaltyPlan plan_debts = {
	.sql = "SELECT " LOT_COLUMNS " FROM loyalty.stored_lot l"
	" WHERE l.member_id = $1 AND l.is_open AND l.remaining < 0 ORDER BY l.seq",
	.nparams = 1, .types = {INT8OID}
};

/*
 * Can what is left in the lot be spent on that day?
 */
bool
loyalty_usable(LoyaltyLot *lot, DateADT today)
{
	return lot->remaining + lot->expired > 0 && lot->expires_on >= today && lot->usable_from <= today;
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
			lot->usable_from = DatumGetDateADT(loyalty_spi_datum(i, 5, &isnull));
			if (isnull)
				lot->usable_from = DATEVAL_NOBEGIN;
			lot->expired = loyalty_points_from_datum(loyalty_spi_datum(i, 6, &isnull));
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

/* what the member's row says of all lots says so of this one, too */
static void
bound(LoyaltyMember *member, LoyaltyLot *lot)
{
	if (lot->points < 0)
		return;
	member->next_expiry = Min(member->next_expiry, lot->expires_on);
	member->usable_from = Max(member->usable_from, lot->usable_from);
}

/*
 * The lot that the entry makes; points below zero are a debt.
 */
LoyaltyLot *
loyalty_new_lot(LoyaltyPosting *p, DateADT expires_on, DateADT usable_from, Points points)
{
	LoyaltyLot *lot = palloc0(sizeof(LoyaltyLot));

	lot->seq = p->seq;
	lot->expires_on = expires_on;
	lot->usable_from = usable_from;
	lot->points = lot->remaining = points;
	lot->is_new = true;
	add_lot(p, lot);
	p->own = lot;
	bound(p->member, lot);
	if (points < 0)
		p->member->debt -= points;
	return lot;
}

/*
 * The entry takes points that are not there.
 */
void
loyalty_new_debt(LoyaltyPosting *p, Points points)
{
	(void) loyalty_new_lot(p, DATEVAL_NOEND, DATEVAL_NOBEGIN, -points);
}

void
loyalty_move(LoyaltyPosting *p, LoyaltyLot *lot, Points points)
{
	if (lot->points < 0)
		p->member->debt -= points;
	lot->remaining += points;
	lot->moved += points;
	if (points > 0)
		bound(p->member, lot);
}

/*
 * Draw from a lot what is there, or was when it expired.  Returns what is
 * still needed.
 */
Points
loyalty_draw(LoyaltyPosting *p, LoyaltyLot *lot, Points need)
{
	Points		part_of = Min(need, lot->remaining + lot->expired);

	if (part_of <= 0)
		return need;
	if (part_of > lot->remaining)
	{
		Points		recalled = part_of - lot->remaining;

		lot->expired -= recalled;
		lot->recalled += recalled;
		lot->remaining += recalled;
	}
	loyalty_move(p, lot, -part_of);
	return need - part_of;
}

/*
 * What came in repays what is owed, whether or not it can be spent yet.
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
			Points		part_of = Min(-debt->remaining, lot->remaining + lot->expired);

			if (part_of > 0 && lot->expires_on >= p->today)
			{
				loyalty_move(p, debt, part_of);
				(void) loyalty_draw(p, lot, part_of);
			}
		}
	}
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
	LoyaltyPlan *plan = day > p->member->expired_through ? &plan_open_lots : &plan_past_lots;
	ListCell   *lc;

	while (need > 0)
	{
		Datum		values[4];
		List	   *open;

		values[0] = Int64GetDatum(p->member->id);
		values[1] = DateADTGetDatum(expires_on);
		values[2] = Int64GetDatum(seq);
		values[3] = Int64GetDatum(limit);
		open = take_lots(p, loyalty_run(plan, values, NULL));
		foreach(lc, open)
		{
			LoyaltyLot *lot = lfirst(lc);

			if (need > 0 && (DATE_IS_NOBEGIN(day) || loyalty_usable(lot, day)))
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
 * Draw as taking back does: first what cannot be spent yet.  Returns what is
 * not there.
 */
Points
loyalty_take(LoyaltyPosting *p, Points need)
{
	ListCell   *lc;

	if (need > 0 && p->member->usable_from > p->today)
	{
		Datum		values[2];

		values[0] = Int64GetDatum(p->member->id);
		values[1] = DateADTGetDatum(p->today);
		foreach(lc, take_lots(p, loyalty_run(&plan_later_lots, values, NULL)))
			need = loyalty_draw(p, lfirst(lc), need);
	}
	return loyalty_spend(p, need);
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
