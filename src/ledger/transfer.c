/*
 * transfer.c
 *	  Points that go from one member to another and keep their expiry.
 *
 * The giver has one entry, the receiver one for each day on which some of
 * the points expire or can be spent, because an entry makes one lot.  Both members are locked,
 * so it is both or nothing.
 */
#include "postgres.h"

#include "utils/date.h"

#include "ledger/ledger.h"

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

/* the receiver's part: points that expire together */
static void
receive(LoyaltyMember *to, DateADT expires_on, DateADT usable_from, Points points, const char *key, TimestampTz at, TimestampTz now)
{
	LoyaltyPosting p;

	loyalty_posting_open(&p, to, at);
	(void) loyalty_new_lot(&p, expires_on, usable_from, points);
	loyalty_repay(&p);
	post(&p, points, key, at, now);
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
			receive(to, expires_on, usable_from, together, key, at, now);
			together = 0;
		}
		expires_on = lot->expires_on;
		usable_from = lot->usable_from;
		together -= lot->moved;
	}
	receive(to, expires_on, usable_from, together, key, at, now);
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
 * Let another member have all that a merged one has: points, expired or not,
 * and debts.
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
 * The key of the entries that a merge makes, at once and later.
 */
char *
loyalty_merge_key(int64 member_id)
{
	return psprintf("merge:" INT64_FORMAT, member_id);
}
