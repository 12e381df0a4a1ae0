/*
 * post.c
 *	  Entries, lots and allocations: how points move.
 *
 * An entry's points are the lot it makes plus its allocations; a member's
 * balance is what remains in his lots.  Points that must be taken back but
 * are gone make a lot below zero, a debt, which the next points repay.
 *
 * The usual case, points earned by a member without debt, needs to read
 * nothing and goes through the store in batches: its entry is its lot, until
 * somebody needs the lot's row.  Everything else has the member's lots stored,
 * loads those it needs, moves points among them, and writes them back at once.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/date.h"

#include "ledger/ledger.h"

/* a lot in hand */
typedef struct Lot
{
	int64		seq;
	DateADT		expires_on;
	Points		points;
	Points		remaining;
	Points		moved;			/* by the entry in hand */
	bool		is_new;
} Lot;

typedef struct Posting
{
	LoyaltyMember *member;
	int64		seq;			/* of the entry in hand */
	List	   *lots;			/* of Lot * */
} Posting;

static LoyaltyPlan plan_chain = {
	.sql = "WITH RECURSIVE chain (seq, prev_seq) AS ("
	"SELECT e.seq, e.prev_seq FROM pg_catalog.unnest($2) AS k (seq) CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.entry x WHERE x.member_id = $1 AND x.seq = k.seq OFFSET 0) e"
	" UNION SELECT e.seq, e.prev_seq FROM chain c CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.entry x WHERE x.member_id = $1 AND x.seq = c.prev_seq OFFSET 0) e)"
	" SELECT seq FROM chain ORDER BY seq",
	.nparams = 2, .types = {INT8OID, INT8ARRAYOID}
};

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

static LoyaltyPlan plan_drawn = {
	.sql = "SELECT a.lot_seq, pg_catalog.sum(a.points) FROM pg_catalog.unnest($2) AS k (seq) CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.allocation x WHERE x.member_id = $1 AND x.entry_seq = k.seq OFFSET 0) a"
	" GROUP BY a.lot_seq HAVING pg_catalog.sum(a.points) < 0 ORDER BY a.lot_seq",
	.nparams = 2, .types = {INT8OID, INT8ARRAYOID}
};

/* lots whose own entry repaid one of these debts */
static LoyaltyPlan plan_repayers = {
	.sql = "SELECT b.lot_seq, -pg_catalog.sum(b.points) FROM loyalty.allocation a"
	" JOIN loyalty.allocation b ON b.member_id = a.member_id AND b.entry_seq = a.entry_seq AND b.points < 0"
	" WHERE a.member_id = $1 AND a.lot_seq = ANY ($2) AND a.points > 0 GROUP BY b.lot_seq ORDER BY b.lot_seq",
	.nparams = 2, .types = {INT8OID, INT8ARRAYOID}
};

static LoyaltyPlan plan_open_lots = {
	.sql = "SELECT l.seq, l.expires_on, l.points, l.remaining FROM loyalty.stored_lot l"
	" WHERE l.member_id = $1 AND l.is_open AND (l.expires_on, l.seq) > ($2, $3)"
	" ORDER BY l.expires_on, l.seq LIMIT 64",
	.nparams = 3, .types = {INT8OID, DATEOID, INT8OID}
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

static void
store_entry(LoyaltyMember *member, LoyaltyPart *part, int64 seq, const char *kind, Points points,
			const DateADT *expires_on, TimestampTz now)
{
	Datum		values[10];
	bool		nulls[10] = {false};

	values[0] = Int64GetDatum(member->id);
	values[1] = Int64GetDatum(seq);
	values[2] = CStringGetTextDatum(kind);
	values[3] = PointsGetDatum(points);
	values[4] = TimestampTzGetDatum(part->at);
	values[5] = TimestampTzGetDatum(now);
	nulls[6] = expires_on == NULL;
	values[6] = DateADTGetDatum(expires_on == NULL ? 0 : *expires_on);
	values[7] = Int32GetDatum(part->source_id);
	values[8] = CStringGetTextDatum(part->key);
	nulls[9] = part->last_seq == 0;
	values[9] = Int64GetDatum(part->last_seq);
	loyalty_store_row(TABLE_ENTRY, values, nulls);
}

static void
store_lot(LoyaltyMember *member, int64 seq, DateADT expires_on, Points points, Points remaining)
{
	Datum		values[6];
	bool		nulls[6] = {false};

	values[0] = Int64GetDatum(member->id);
	values[1] = BoolGetDatum(remaining != 0);
	values[2] = DateADTGetDatum(expires_on);
	values[3] = Int64GetDatum(seq);
	values[4] = PointsGetDatum(points);
	values[5] = PointsGetDatum(remaining);
	loyalty_store_row(TABLE_LOT, values, nulls);
}

/* the lot in hand with that seq, NULL if it is not */
static Lot *
find_lot(Posting *p, int64 seq)
{
	ListCell   *lc;

	foreach(lc, p->lots)
		if (((Lot *) lfirst(lc))->seq == seq)
			return lfirst(lc);
	return NULL;
}

/* take the rows of SPI_tuptable in hand, those that are not yet */
static List *
take_lots(Posting *p, uint64 rows)
{
	List	   *taken = NIL;
	bool		isnull;

	for (uint64 i = 0; i < rows; i++)
	{
		int64		seq = DatumGetInt64(loyalty_spi_datum(i, 1, &isnull));
		Lot		   *lot = find_lot(p, seq);

		if (lot == NULL)
		{
			lot = palloc0(sizeof(Lot));
			lot->seq = seq;
			lot->expires_on = DatumGetDateADT(loyalty_spi_datum(i, 2, &isnull));
			lot->points = loyalty_points_from_datum(loyalty_spi_datum(i, 3, &isnull));
			lot->remaining = loyalty_points_from_datum(loyalty_spi_datum(i, 4, &isnull));
			p->lots = lappend(p->lots, lot);
		}
		taken = lappend(taken, lot);
	}
	SPI_freetuptable(SPI_tuptable);
	return taken;
}

static List *
lots_of(Posting *p, int64 *seqs, int n)
{
	Datum		values[2];

	if (n == 0)
		return NIL;
	values[0] = Int64GetDatum(p->member->id);
	values[1] = loyalty_int8_array(seqs, n);
	return take_lots(p, loyalty_run(&plan_lots, values, NULL));
}

static Lot *
new_lot(Posting *p, DateADT expires_on, Points points)
{
	Lot		   *lot = palloc0(sizeof(Lot));

	lot->seq = p->seq;
	lot->expires_on = expires_on;
	lot->points = lot->remaining = points;
	lot->is_new = true;
	p->lots = lappend(p->lots, lot);
	return lot;
}

static void
move(Posting *p, Lot *lot, Points points)
{
	if (lot->points < 0)
		p->member->debt -= points;
	lot->remaining += points;
	lot->moved += points;
}

/* every entry booked for a part, by the chain of prev_seq */
static int64 *
chain_of(Posting *p, LoyaltyPart *part, LoyaltyPart *root, int *n)
{
	int64		heads[2];
	int			nheads = 0;
	Datum		values[2];
	int64	   *seqs;
	bool		isnull;

	*n = 0;
	if (part->last_seq != 0)
		heads[nheads++] = part->last_seq;
	if (root != NULL && root->last_seq != 0 && root->member_id == p->member->id)
		heads[nheads++] = root->last_seq;
	if (nheads == 0)
		return NULL;
	values[0] = Int64GetDatum(p->member->id);
	values[1] = loyalty_int8_array(heads, nheads);
	*n = loyalty_run(&plan_chain, values, NULL);
	seqs = palloc(sizeof(int64) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		seqs[i] = DatumGetInt64(loyalty_spi_datum(i, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return seqs;
}

/* rows of (lot seq, points), as parallel arrays */
static int
seq_points(LoyaltyPlan *plan, int64 member_id, int64 *keys, int nkeys, int64 **seqs, Points **points)
{
	Datum		values[2];
	int			n;
	bool		isnull;

	values[0] = Int64GetDatum(member_id);
	values[1] = loyalty_int8_array(keys, nkeys);
	n = loyalty_run(plan, values, NULL);
	*seqs = palloc(sizeof(int64) * Max(n, 1));
	*points = palloc(sizeof(Points) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		(*seqs)[i] = DatumGetInt64(loyalty_spi_datum(i, 1, &isnull));
		(*points)[i] = loyalty_points_from_datum(loyalty_spi_datum(i, 2, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/*
 * Give points back to where this part's earlier entries took them from: first
 * its own debts, then the lots it drew from, then the lots that repaid its
 * debts meanwhile.  Returns what found no place.
 */
static Points
restore(Posting *p, LoyaltyPart *part, Points points)
{
	int			nchain;
	int64	   *chain = chain_of(p, part, NULL, &nchain);
	int64	   *debts;
	int			ndebts = 0;
	int64	   *seqs;
	Points	   *amounts;
	int			n;
	ListCell   *lc;

	if (nchain == 0)
		return points;
	debts = palloc(sizeof(int64) * nchain);
	foreach(lc, lots_of(p, chain, nchain))
	{
		Lot		   *lot = lfirst(lc);

		if (lot->points < 0)
		{
			Points		part_of = Min(points, -lot->remaining);

			debts[ndebts++] = lot->seq;
			if (part_of > 0)
			{
				move(p, lot, part_of);
				points -= part_of;
			}
		}
	}
	for (int pass = 0; pass < 2 && points > 0; pass++)
	{
		if (pass == 0)
			n = seq_points(&plan_drawn, p->member->id, chain, nchain, &seqs, &amounts);
		else if (ndebts > 0)
			n = seq_points(&plan_repayers, p->member->id, debts, ndebts, &seqs, &amounts);
		else
			break;
		for (int i = 0; i < n; i++)
			if (pass == 0)
				amounts[i] = -amounts[i];
		(void) lots_of(p, seqs, n);
		for (int i = 0; i < n && points > 0; i++)
		{
			Lot		   *lot = find_lot(p, seqs[i]);
			Points		room;
			Points		part_of;

			if (lot == NULL || lot->points < 0)
				continue;
			room = lot->points - lot->remaining;
			part_of = Min(points, Min(amounts[i], room));
			if (part_of > 0)
			{
				move(p, lot, part_of);
				points -= part_of;
			}
		}
	}
	return points;
}

/* what came in repays what is owed */
static void
repay(Posting *p)
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
		Lot		   *debt = lfirst(lc);

		foreach(lc2, p->lots)
		{
			Lot		   *lot = lfirst(lc2);
			Points		part_of = Min(-debt->remaining, lot->remaining);

			if (lot->points > 0 && part_of > 0)
			{
				move(p, debt, part_of);
				move(p, lot, -part_of);
			}
		}
	}
}

/* draw from a lot; returns what is still needed */
static Points
draw(Posting *p, Lot *lot, Points need)
{
	Points		part_of = Min(need, lot->remaining);

	if (part_of <= 0)
		return need;
	move(p, lot, -part_of);
	return need - part_of;
}

/*
 * Take points: first from what the document itself (and the sale it returns)
 * earned, then as spending does.  Returns what is not there.
 */
static Points
take(Posting *p, LoyaltyPart *part, LoyaltyPart *root, Points need)
{
	int			nchain;
	int64	   *chain = chain_of(p, part, root, &nchain);
	DateADT		expires_on = DATEVAL_NOBEGIN;
	int64		seq = 0;
	ListCell   *lc;

	foreach(lc, lots_of(p, chain, nchain))
		need = draw(p, lfirst(lc), need);

	while (need > 0)
	{
		Datum		values[3];
		List	   *open;

		values[0] = Int64GetDatum(p->member->id);
		values[1] = DateADTGetDatum(expires_on);
		values[2] = Int64GetDatum(seq);
		open = take_lots(p, loyalty_run(&plan_open_lots, values, NULL));
		if (open == NIL)
			break;
		foreach(lc, open)
		{
			Lot		   *lot = lfirst(lc);

			need = draw(p, lot, need);
			expires_on = lot->expires_on;
			seq = lot->seq;
		}
	}
	return need;
}

/* write the lots in hand that the entry moved */
static void
write_lots(Posting *p)
{
	ListCell   *lc;

	foreach(lc, p->lots)
	{
		Lot		   *lot = lfirst(lc);

		if (lot->is_new)
			store_lot(p->member, lot->seq, lot->expires_on, lot->points, lot->remaining);
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

/*
 * Book the difference between what is due for a part and what is booked.
 * root is the sale that a return returns, NULL for a sale.
 */
void
loyalty_post(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part, LoyaltyPart *root, Points due)
{
	Points		delta = due - (part->points - part->written_off);
	const char *first = part->is_event ? "event" : "earn";
	const char *kind = part->is_return ? "return" : part->last_seq == 0 && delta > 0 ? first : "correction";
	Posting		p;
	static const DateADT never = DATEVAL_NOEND;
	const DateADT *expires_on = NULL;

	if (delta > 0 && part->written_off > 0)
	{
		/* what was never taken need not be given back */
		Points		forgiven = Min(delta, part->written_off);

		part->written_off -= forgiven;
		part->dirty = true;
		delta -= forgiven;
	}
	if (delta == 0)
		return;

	memset(&p, 0, sizeof(p));
	p.member = member;
	p.seq = member->last_seq + 1;

	if (delta > 0 && part->last_seq == 0 && member->debt == 0)
		expires_on = &never;	/* the entry is its own lot */
	else
	{
		/* the lots are read from the table: it must know what we know */
		loyalty_store_flush();
		if (member->lots_through < member->last_seq)
			loyalty_store_lots(&member, 1);
		if (delta > 0)
		{
			Points		rest = restore(&p, part, delta);

			if (rest > 0)
				(void) new_lot(&p, DATEVAL_NOEND, rest);
			repay(&p);
		}
		else
		{
			Points		missing = take(&p, part, root, -delta);

			if (missing > 0 && (member->program->write_off || part->forgiving))
			{
				part->written_off += missing;
				part->dirty = true;
				delta += missing;
				if (delta == 0)
					return;
			}
			else if (missing > 0)
			{
				(void) new_lot(&p, DATEVAL_NOEND, -missing);
				member->debt += missing;
			}
		}
		write_lots(&p);
		member->lots_through = p.seq;
	}
	if (find_lot(&p, p.seq) != NULL)
		expires_on = &find_lot(&p, p.seq)->expires_on;
	store_entry(member, part, p.seq, kind, delta, expires_on, batch->now);
	member->last_seq = p.seq;
	member->balance += delta;
	member->dirty = true;
	part->points += delta;
	part->last_seq = p.seq;
	part->dirty = true;
}
