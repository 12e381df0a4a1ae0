/*
 * override.c
 *	  What a member has: what is earned, raised to what staff has given.
 */
#include "postgres.h"

#include "member/record.h"

/* the highest override in force at an instant, NULL for none */
static LoyaltyOverride *
override_at(LoyaltyRecord *r, TimestampTz at)
{
	LoyaltyOverride *highest = NULL;
	ListCell   *lc;

	foreach(lc, r->overrides)
	{
		LoyaltyOverride *o = lfirst(lc);

		if (o->starts_at <= at && at < o->ends_at &&
			(highest == NULL || o->rank > highest->rank || (o->rank == highest->rank && o->until > highest->until)))
			highest = o;
	}
	return highest;
}

/* what is earned, raised to what staff has given */
static LoyaltyTierView
raise_to(LoyaltyRecord *r, TimestampTz at, int rank, DateADT since, DateADT until)
{
	LoyaltyOverride *o = override_at(r, at);
	LoyaltyTierView v = {rank, since, until, DATEVAL_NOEND};

	if (o != NULL && o->rank > rank)
	{
		v.rank = o->rank;
		v.since = loyalty_program_date(r->program, o->starts_at);
		v.until = o->until;
	}
	else if (o != NULL && o->rank == rank && until != DATEVAL_NOEND && o->until > until)
		v.until = o->until;
	return v;
}

/*
 * What the member has at an instant to which the replay has run, and the day
 * on which to look again.
 */
LoyaltyTierView
loyalty_record_view(LoyaltyRecord *r, TimestampTz at)
{
	LoyaltyTierView v = raise_to(r, at, r->now.rank, r->now.since, r->now.until);
	ListCell   *lc;

	v.review = loyalty_record_due(r);
	foreach(lc, r->overrides)
	{
		LoyaltyOverride *o = lfirst(lc);

		if (o->starts_at > at && o->starts_at < o->ends_at)
			v.review = Min(v.review, loyalty_program_date(r->program, o->starts_at));
		else if (o->ends_at > at)
			v.review = Min(v.review, loyalty_program_date(r->program, o->ends_at));
	}
	/* what is dated later than that instant */
	if (r->cursor < r->nmoves)
		v.review = Min(v.review, r->moves[r->cursor]->date);
	return v;
}

/*
 * The tier with a movement more than is known, at that movement's instant.
 */
int
loyalty_record_rank_with(LoyaltyRecord *r, TimestampTz at, LoyaltyMove *move)
{
	int			rank = r->now.rank;

	if (move != NULL)
	{
		int			with = loyalty_record_reached(r, r->now.day, move->value);

		rank = loyalty_record_follows(r) ? with : Max(rank, with);
	}
	return raise_to(r, at, rank, 0, DATEVAL_NOEND).rank;
}

static int
compare_instants(const void *a, const void *b)
{
	TimestampTz x = *(const TimestampTz *) a;
	TimestampTz y = *(const TimestampTz *) b;

	return (x > y) - (x < y);
}

/*
 * Every change up to an instant, overrides included: of LoyaltyTierChange *.
 */
List *
loyalty_record_changes(LoyaltyRecord *r, TimestampTz to)
{
	int			n = 2 * list_length(r->overrides);
	TimestampTz *edges = palloc(sizeof(TimestampTz) * (n + 1));
	List	   *result = NIL;
	LoyaltyTierView last;
	LoyaltyTierChange earned;
	ListCell   *lc;
	ListCell   *next;
	int			i = 0;

	loyalty_record_run(r, to);
	if (n == 0)
		return list_copy(r->changes);
	n = 0;
	foreach(lc, r->overrides)
	{
		LoyaltyOverride *o = lfirst(lc);

		edges[n++] = o->starts_at;
		edges[n++] = Max(o->ends_at, o->starts_at);
	}
	qsort(edges, n, sizeof(TimestampTz), compare_instants);
	memset(&earned, 0, sizeof(earned));
	earned.to = r->changes == NIL ? r->now.rank : ((LoyaltyTierChange *) linitial(r->changes))->from;
	earned.since = r->joined_on;
	earned.until = loyalty_record_kept_until(r, earned.to, r->joined_on);
	last = raise_to(r, DT_NOBEGIN, earned.to, earned.since, earned.until);
	next = list_head(r->changes);
	while (next != NULL || (i < n && edges[i] <= to))
	{
		LoyaltyTierChange *c = next == NULL ? NULL : lfirst(next);
		bool		is_edge = c == NULL || (i < n && edges[i] < c->at);
		TimestampTz at = is_edge ? edges[i++] : c->at;
		LoyaltyTierView v;

		if (!is_edge)
		{
			earned = *c;
			next = lnext(r->changes, next);
		}
		v = raise_to(r, at, earned.to, earned.since, earned.until);
		if (v.rank != last.rank || (!is_edge && earned.from == earned.to && v.rank == earned.to))
		{
			LoyaltyTierChange *change = palloc(sizeof(LoyaltyTierChange));

			change->at = at;
			change->from = last.rank;
			change->to = v.rank;
			change->since = v.since;
			change->until = v.until;
			change->reason = is_edge ? TIER_OVERRIDE : earned.reason;
			result = lappend(result, change);
		}
		last = v;
	}
	return result;
}
