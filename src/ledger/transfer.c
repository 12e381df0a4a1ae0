/*
 * transfer.c
 *	  Points that go from one member to another and keep their expiry.
 *
 * The giver has one entry, the receiver one for each day on which some of
 * the points expire or can be spent, because an entry makes one lot.  Both members are locked,
 * so it is both or nothing.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/date.h"

#include "ledger/ledger.h"

/* what was swept to a member, expires on one of these days, and is not drawn */
static LoyaltyPlan plan_swept = {
	.sql = "SELECT l.seq FROM loyalty.stored_lot l JOIN loyalty.entry e ON e.member_id = l.member_id AND e.seq = l.seq"
	" WHERE l.member_id = $1 AND (l.is_open OR l.expired > 0) AND l.points > 0 AND l.expires_on = ANY ($2)"
	" AND e.kind = 'transfer' AND e.key >= 'merge:' AND e.key < 'merge;' ORDER BY l.expires_on, l.seq",
	.nparams = 2, .types = {INT8OID, DATEARRAYOID}
};

static LoyaltyPlan plan_merged_at = {
	.sql = "SELECT o.occurred_at FROM loyalty.operation o WHERE o.member_id = $1 AND o.key = $2",
	.nparams = 2, .types = {INT8OID, TEXTOID}
};

static void
post(LoyaltyPosting *p, Points points, const char *key, TimestampTz at, TimestampTz now)
{
	LoyaltyEntry entry = {0};

	entry.kind = "transfer";
	entry.points = points;
	entry.at = at;
	entry.key = key;
	loyalty_posting_end(p, &entry, now);
}

/* the receiver's part: points that expire together; returns their lot */
static int64
receive(LoyaltyMember *to, DateADT expires_on, DateADT usable_from, Points points, const char *key,
		TimestampTz at, TimestampTz now)
{
	LoyaltyPosting p;

	loyalty_posting_open(&p, to, at);
	(void) loyalty_new_lot(&p, expires_on, usable_from, points);
	loyalty_repay(&p);
	post(&p, points, key, at, now);
	return p.seq;
}

/* what was drawn from the lots in hand, to the other member */
static void
hand_over(LoyaltyPosting *p, LoyaltyMember *to, const char *key, TimestampTz at, TimestampTz now)
{
	Points		sum = 0;
	List	   *lots = p->lots;
	ListCell   *lc;
	Points		together = 0;
	DateADT		expires_on = 0;
	DateADT		usable_from = 0;

	foreach(lc, lots)
		sum -= ((LoyaltyLot *) lfirst(lc))->moved;
	if (sum == 0)
		return;
	post(p, -sum, key, at, now);
	/* they are in the order of expiry */
	foreach(lc, lots)
	{
		LoyaltyLot *lot = lfirst(lc);

		if (lot->moved == 0)
			continue;
		if (together > 0 && (lot->expires_on != expires_on || lot->usable_from != usable_from))
		{
			(void) receive(to, expires_on, usable_from, together, key, at, now);
			together = 0;
		}
		expires_on = lot->expires_on;
		usable_from = lot->usable_from;
		together -= lot->moved;
	}
	(void) receive(to, expires_on, usable_from, together, key, at, now);
}

/*
 * Transfer points that are there and can be spent.
 */
void
loyalty_transfer(LoyaltyMember *from, LoyaltyMember *to, Points points, const char *key,
				 TimestampTz at, TimestampTz now)
{
	LoyaltyPosting p;

	loyalty_posting_open(&p, from, at);
	if (loyalty_spend(&p, points) > 0)
		elog(ERROR, "points of member " INT64_FORMAT " vanished", from->id);
	hand_over(&p, to, key, at, now);
}

/*
 * What a merged member's document earned is where it was swept to.  So many of
 * the points there that expire on these days, over or not, come back to him,
 * because the document concerns them: they are alike, so it does not matter
 * which.  usable_from, if not NULL, is the day they get.  Returns the lots that
 * he has now.
 */
List *
loyalty_fetch_back(LoyaltyMember *from, LoyaltyMember *to, DateADT *days, int n, Points need, DateADT *usable_from,
				   TimestampTz at, TimestampTz now)
{
	char	   *key = loyalty_merge_key(to->id);
	Datum	   *d = palloc(sizeof(Datum) * Max(n, 1));
	Datum		values[2];
	LoyaltyPosting p;
	int64	   *seqs;
	int			nlots;
	Points		wanted = need;
	List	   *fetched = NIL;
	List	   *lots;
	ListCell   *lc;

	for (int i = 0; i < n; i++)
		d[i] = DateADTGetDatum(days[i]);
	loyalty_posting_open(&p, from, at);
	values[0] = Int64GetDatum(from->id);
	values[1] = PointerGetDatum(construct_array(d, n, DATEOID, 4, true, TYPALIGN_INT));
	nlots = loyalty_spi_int8s(loyalty_run(&plan_swept, values, NULL), &seqs);
	lots = loyalty_lots_of(&p, seqs, nlots);
	foreach(lc, lots)
	{
		LoyaltyLot *lot = lfirst(lc);

		if (usable_from == NULL || lot->usable_from != *usable_from)
			need = loyalty_draw(&p, lot, need);
	}
	if (need == wanted)
		return NIL;
	post(&p, need - wanted, key, at, now);
	foreach(lc, lots)
	{
		LoyaltyLot *lot = lfirst(lc);
		int64	   *seq = palloc(sizeof(int64));

		if (lot->moved == 0)
			continue;
		*seq = receive(to, lot->expires_on, usable_from == NULL ? lot->usable_from : *usable_from, -lot->moved, key, at, now);
		fetched = lappend(fetched, seq);
	}
	return fetched;
}

/*
 * Let another member have all that a merged one has: points, expired or not,
 * and debts.  That happens when they were merged, or when what he has came to
 * him since.
 */
void
loyalty_sweep(LoyaltyMember *from, LoyaltyMember *to, TimestampTz at, TimestampTz now)
{
	char	   *key = loyalty_merge_key(from->id);
	LoyaltyPosting p;
	Points		debt;

	loyalty_posting_open(&p, from, at);
	loyalty_draw_all(&p);
	hand_over(&p, to, key, at, now);

	loyalty_posting_open(&p, from, at);
	debt = loyalty_forgive(&p);
	if (debt > 0)
	{
		Points		missing;

		post(&p, debt, key, at, now);
		loyalty_posting_open(&p, to, at);
		missing = loyalty_take(&p, debt);
		if (missing > 0)
			loyalty_new_debt(&p, missing);
		post(&p, -debt, key, at, now);
	}
	if (loyalty_num_sign(from->qualifying) != 0)
	{
		Numeric		qualifying = from->qualifying;

		loyalty_member_qualify(from, loyalty_num_neg(qualifying), at);
		loyalty_member_qualify(to, qualifying, at);
	}
}

/*
 * The instant at which what a merged member has goes to the other one.
 */
TimestampTz
loyalty_sweep_time(LoyaltyMember *merged)
{
	Datum		values[2];
	bool		isnull = true;
	Datum		merged_at = (Datum) 0;

	values[0] = Int64GetDatum(merged->id);
	values[1] = CStringGetTextDatum(loyalty_merge_key(merged->id));
	if (loyalty_run(&plan_merged_at, values, NULL) == 1)
		merged_at = loyalty_spi_datum(0, 1, &isnull);
	if (isnull)
		elog(ERROR, "member " INT64_FORMAT " was merged by nobody", merged->id);
	return Max(DatumGetTimestampTz(merged_at), merged->latest);
}

/*
 * The key of the entries that a merge makes, at once and later.
 */
char *
loyalty_merge_key(int64 member_id)
{
	return psprintf("merge:" INT64_FORMAT, member_id);
}
