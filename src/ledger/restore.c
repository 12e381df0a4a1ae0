/*
 * restore.c
 *	  Points go back to where they came from, and are drawn again.
 *
 * What an entry did to lots is known by its allocations, and the entries on
 * one document or redemption by the chain of prev_seq.  So undoing is exact,
 * whatever else happened to the lots meanwhile.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "ledger/ledger.h"

/* a lot, and how much of it something else concerns */
typedef struct Share
{
	LoyaltyLot *lot;
	Points		points;
} Share;

static LoyaltyPlan plan_chain = {
	.sql = "WITH RECURSIVE chain (seq, prev_seq) AS ("
	"SELECT e.seq, e.prev_seq FROM pg_catalog.unnest($2) AS k (seq) CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.entry x WHERE x.member_id = $1 AND x.seq = k.seq OFFSET 0) e"
	" UNION SELECT e.seq, e.prev_seq FROM chain c CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.entry x WHERE x.member_id = $1 AND x.seq = c.prev_seq OFFSET 0) e)"
	" SELECT seq FROM chain ORDER BY seq",
	.nparams = 2, .types = {INT8OID, INT8ARRAYOID}
};

static LoyaltyPlan plan_drawn = {
	.sql = "SELECT a.lot_seq, -pg_catalog.sum(a.points) FROM pg_catalog.unnest($2) AS k (seq) CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.allocation x WHERE x.member_id = $1 AND x.entry_seq = k.seq OFFSET 0) a"
	" GROUP BY a.lot_seq HAVING pg_catalog.sum(a.points) < 0 ORDER BY a.lot_seq",
	.nparams = 2, .types = {INT8OID, INT8ARRAYOID}
};

/* what these entries gave back to lots */
static LoyaltyPlan plan_given_back = {
	.sql = "SELECT a.lot_seq, pg_catalog.sum(a.points) FROM pg_catalog.unnest($2) AS k (seq) CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.allocation x WHERE x.member_id = $1 AND x.entry_seq = k.seq AND x.points > 0 OFFSET 0) a"
	" GROUP BY a.lot_seq ORDER BY a.lot_seq",
	.nparams = 2, .types = {INT8OID, INT8ARRAYOID}
};

/* lots whose own entry repaid one of these debts */
static LoyaltyPlan plan_repayers = {
	.sql = "SELECT b.lot_seq, -pg_catalog.sum(b.points) FROM loyalty.allocation a"
	" JOIN loyalty.allocation b ON b.member_id = a.member_id AND b.entry_seq = a.entry_seq AND b.points < 0"
	" WHERE a.member_id = $1 AND a.lot_seq = ANY ($2) AND a.points > 0 GROUP BY b.lot_seq ORDER BY b.lot_seq",
	.nparams = 2, .types = {INT8OID, INT8ARRAYOID}
};

/*
 * Every entry that the chains of prev_seq from these heads lead to; heads of
 * 0 lead nowhere.
 */
int64 *
loyalty_chain(LoyaltyPosting *p, const int64 *heads, int nheads, int *n)
{
	int64		starts[2];
	int			nstarts = 0;
	Datum		values[2];
	int64	   *seqs;

	*n = 0;
	for (int i = 0; i < nheads; i++)
		if (heads[i] != 0)
			starts[nstarts++] = heads[i];
	if (nstarts == 0)
		return NULL;
	values[0] = Int64GetDatum(p->member->id);
	values[1] = loyalty_int8_array(starts, nstarts);
	*n = loyalty_spi_int8s(loyalty_run(&plan_chain, values, NULL), &seqs);
	return seqs;
}

/* rows of (lot seq, points); the lots are taken in hand */
static int
shares(LoyaltyPosting *p, LoyaltyPlan *plan, int64 *keys, int nkeys, Share **result)
{
	Datum		values[2];
	int64	   *seqs;
	int			n;
	bool		isnull;

	values[0] = Int64GetDatum(p->member->id);
	values[1] = loyalty_int8_array(keys, nkeys);
	n = loyalty_run(plan, values, NULL);
	seqs = palloc(sizeof(int64) * Max(n, 1));
	*result = palloc(sizeof(Share) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		seqs[i] = DatumGetInt64(loyalty_spi_datum(i, 1, &isnull));
		(*result)[i].points = loyalty_points_from_datum(loyalty_spi_datum(i, 2, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	(void) loyalty_lots_of(p, seqs, n);
	for (int i = 0; i < n; i++)
	{
		(*result)[i].lot = loyalty_find_lot(p, seqs[i]);
		if ((*result)[i].lot == NULL)
			elog(ERROR, "lot " INT64_FORMAT " of member " INT64_FORMAT " is missing", seqs[i], p->member->id);
	}
	return n;
}

/* give points back to a lot, no more than its share and its room, of which what expired is not; returns the rest */
static Points
refill(LoyaltyPosting *p, Share *share, Points points)
{
	Points		part_of = Min(points, Min(share->points, share->lot->points - share->lot->remaining - share->lot->expired));

	if (share->lot->points < 0 || part_of <= 0)
		return points;
	loyalty_move(p, share->lot, part_of);
	return points - part_of;
}

/* pay back the debts among these lots; their numbers go to debts */
static Points
pay_own_debts(LoyaltyPosting *p, List *lots, Points points, int64 *debts, int *ndebts)
{
	ListCell   *lc;

	*ndebts = 0;
	foreach(lc, lots)
	{
		LoyaltyLot *lot = lfirst(lc);
		Points		part_of = Min(points, -lot->remaining);

		if (lot->points >= 0)
			continue;
		debts[(*ndebts)++] = lot->seq;
		if (part_of > 0)
		{
			loyalty_move(p, lot, part_of);
			points -= part_of;
		}
	}
	return points;
}

/* the order of spending */
static int
compare_shares(const void *a, const void *b)
{
	const LoyaltyLot *x = ((const Share *) a)->lot;
	const LoyaltyLot *y = ((const Share *) b)->lot;

	if (x->expires_on != y->expires_on)
		return x->expires_on < y->expires_on ? -1 : 1;
	return (x->seq > y->seq) - (x->seq < y->seq);
}

/*
 * Give points back to where earlier entries took them from: first to their
 * own debts, then to the lots they drew from, then to the lots that repaid
 * those debts meanwhile.  With spent, what was drawn last is undone first, as
 * if less had been spent, and a lot that has expired gets nothing.  Returns
 * what found no place.
 */
Points
loyalty_restore(LoyaltyPosting *p, int64 *chain, int nchain, Points points, bool spent)
{
	int64	   *debts = palloc(sizeof(int64) * Max(nchain, 1));
	int			ndebts;
	Share	   *drawn;
	Points		expired = 0;
	int			n;

	if (nchain == 0)
		return points;
	points = pay_own_debts(p, loyalty_lots_of(p, chain, nchain), points, debts, &ndebts);
	n = points == 0 ? 0 : shares(p, &plan_drawn, chain, nchain, &drawn);
	if (spent && n > 0)
		qsort(drawn, n, sizeof(Share), compare_shares);
	for (int i = 0; i < n && points > 0; i++)
	{
		Share	   *share = spent ? &drawn[n - 1 - i] : &drawn[i];

		if (spent && share->lot->points > 0 && share->lot->expires_on < p->today)
		{
			Points		part_of = Min(points, share->points);

			expired += part_of;
			points -= part_of;
			p->has_expired = true;
		}
		else
			points = refill(p, share, points);
	}
	if (points > 0 && ndebts > 0)
	{
		n = shares(p, &plan_repayers, debts, ndebts, &drawn);
		for (int i = 0; i < n && points > 0; i++)
			points = refill(p, &drawn[i], points);
	}
	return points + expired;
}

/*
 * Draw from the lots that these entries made.  Returns what is still needed.
 */
Points
loyalty_draw_own(LoyaltyPosting *p, int64 *chain, int nchain, Points need)
{
	ListCell   *lc;

	foreach(lc, loyalty_lots_of(p, chain, nchain))
		need = loyalty_draw(p, lfirst(lc), need);
	return need;
}

/*
 * Draw again what these entries drew before and gave back: from the same
 * lots, as far as it is still there.  Returns what is still needed.
 */
Points
loyalty_draw_again(LoyaltyPosting *p, int64 *chain, int nchain, Points need)
{
	Share	   *given;
	int			n = shares(p, &plan_given_back, chain, nchain, &given);
	ListCell   *lc;

	if (n > 0)
		qsort(given, n, sizeof(Share), compare_shares);
	for (int i = 0; i < n && need > 0; i++)
		if (loyalty_usable(given[i].lot, p->today))
		{
			Points		want = Min(need, given[i].points);

			need -= want - loyalty_draw(p, given[i].lot, want);
		}
	foreach(lc, loyalty_lots_of(p, chain, nchain))
		if (loyalty_usable(lfirst(lc), p->today))
			need = loyalty_draw(p, lfirst(lc), need);
	return need;
}
