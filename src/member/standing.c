/*
 * standing.c
 *	  The tier of a member as it follows from what he bought.
 *
 * Nothing here is stored: the tier at any moment is what a replay of the
 * member's movements up to that moment gives, reviews included, each on its
 * day.  So a review that is late, or never runs, changes nothing, and the
 * order in which documents were learned does not matter.
 *
 * Movements come in the order of their instants.  A sale is a purchase of its
 * day.  A return lessens the purchase it returns, where that is, so that what
 * leaves a window leaves it together; one that is linked to nothing lessens
 * the latest purchases.  If returns recompute, the replay starts again before
 * that purchase with what is left of it: from then on it is as if it had never
 * been more.  What was true before the return stays true of the time before.
 *
 * Without a retention period the tier is at any moment the one whose figure is
 * reached.  With one it is kept through a last day; the day after, the figure
 * of that period renews it, or grace begins, or it is lost.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "member/record.h"

/* ----------------------------------------------------------------
 *		reached, kept, lost
 * ----------------------------------------------------------------
 */

/*
 * Where does the tier simply follow the figure?
 */
bool
loyalty_record_follows(LoyaltyRecord *r)
{
	return r->policy->retention == 0 && r->policy->demotion == DEMOTION_TO_EARNED;
}

static bool
enough(Numeric figure, Numeric more, Numeric threshold)
{
	if (more != NULL && loyalty_num_sign(more) != 0)
		figure = loyalty_num_add(figure, more);
	return loyalty_num_cmp(figure, threshold) >= 0;
}

/* is one of a tier's other paths walked to its end? */
static bool
path_reached(LoyaltyRecord *r, LoyaltyTier *tier, DateADT day, Numeric *more)
{
	ListCell   *lc;

	foreach(lc, tier->paths)
	{
		LoyaltyTierPath *path = lfirst(lc);

		if (enough(loyalty_record_figure(r, &path->measure, day),
				   more == NULL ? NULL : more[path->measure.metric], path->threshold))
			return true;
	}
	return false;
}

/*
 * The highest tier that is reached in the windows of a day, with so much more
 * (NULL: no more).  A tier that a review took away because too little was
 * bought lately is not reached by what was bought long ago.
 */
int
loyalty_record_reached(LoyaltyRecord *r, DateADT day, Numeric *more)
{
	LoyaltyMeasure *own = &r->policy->measure;
	Numeric		figure = loyalty_record_figure(r, own, day);
	Numeric		extra = more == NULL ? NULL : more[own->metric];
	int			rank = list_length(r->program->tiers);

	for (; rank > 0; rank--)
	{
		LoyaltyTier *t = list_nth(r->program->tiers, rank - 1);
		bool		regained = rank <= r->now.lost && t->keep_threshold != NULL;

		if (regained && own->window == WINDOW_LIFETIME)
		{
			if (enough(loyalty_record_figure_after(r, own->metric, r->now.base), extra, t->keep_threshold))
				break;
		}
		else if (enough(figure, extra, t->threshold) &&
				 (!regained || enough(figure, extra, t->keep_threshold)))
			break;
		if (t->paths != NIL && path_reached(r, t, day, more))
			break;
	}
	return rank;
}

/*
 * What the review of the present tier counts so far.
 */
Numeric
loyalty_record_kept_figure(LoyaltyRecord *r)
{
	LoyaltyMeasure *own = &r->policy->measure;
	LoyaltyTier *t = loyalty_tier_at_rank(r->program, r->now.rank);

	if (own->window == WINDOW_LIFETIME && t != NULL && t->keep_threshold != NULL)
		return loyalty_record_figure_after(r, own->metric, r->now.base);
	return loyalty_record_figure(r, own, r->now.until);
}

/* does what was bought in the period renew the tier? */
static bool
kept(LoyaltyRecord *r)
{
	LoyaltyTier *t = loyalty_tier_at_rank(r->program, r->now.rank);

	if (enough(loyalty_record_kept_figure(r), NULL, t->keep_threshold != NULL ? t->keep_threshold : t->threshold))
		return true;
	for (int rank = list_length(r->program->tiers); rank >= r->now.rank; rank--)
		if (path_reached(r, list_nth(r->program->tiers, rank - 1), r->now.until, NULL))
			return true;
	return false;
}

/*
 * Through which day a tier is kept that counts from after base.
 */
DateADT
loyalty_record_kept_until(LoyaltyRecord *r, int rank, DateADT base)
{
	LoyaltyTier *t = loyalty_tier_at_rank(r->program, rank);
	DateADT		until;

	if (t == NULL || r->policy->retention == 0 || r->policy->demotion == DEMOTION_NONE ||
		(loyalty_num_sign(t->threshold) == 0 && (t->keep_threshold == NULL || loyalty_num_sign(t->keep_threshold) == 0)))
		return DATEVAL_NOEND;
	until = loyalty_add_months(base, r->policy->retention);
	if (r->policy->measure.window == WINDOW_CALENDAR_YEAR || r->policy->measure.window == WINDOW_MEMBERSHIP_YEAR)
		until = loyalty_next_year(r, r->policy->measure.window, until) - 1;
	return until;
}

static void
note(LoyaltyRecord *r, TimestampTz at, int from, LoyaltyTierReason reason)
{
	MemoryContext old;
	LoyaltyTierChange *c;

	if (r->silent)
		return;
	old = MemoryContextSwitchTo(r->replay);
	c = palloc(sizeof(LoyaltyTierChange));
	c->at = at;
	c->from = from;
	c->to = r->now.rank;
	c->since = r->now.since;
	c->until = r->now.until;
	c->reason = reason;
	r->changes = lappend(r->changes, c);
	MemoryContextSwitchTo(old);
}

/* from a day on the tier is another one, whose period counts from after base */
static void
enter(LoyaltyRecord *r, int rank, DateADT day, DateADT base)
{
	r->now.rank = rank;
	r->now.since = day;
	r->now.base = base;
	r->now.until = loyalty_record_kept_until(r, rank, base);
	r->now.in_grace = false;
	if (rank >= r->now.lost)
		r->now.lost = 0;
}

static void
renew(LoyaltyRecord *r, TimestampTz at)
{
	r->now.base = r->now.until;
	r->now.until = loyalty_record_kept_until(r, r->now.rank, r->now.base);
	r->now.in_grace = false;
	note(r, at, r->now.rank, TIER_REVIEW);
}

/* the first day after one on which something leaves a window */
static DateADT
next_leaving(LoyaltyRecord *r, DateADT day)
{
	DateADT		next = DATEVAL_NOEND;
	ListCell   *lc;

	foreach(lc, r->policy->measures)
	{
		LoyaltyMeasure *m = lfirst(lc);
		int			first;
		DateADT		leaves;

		if (m->window == WINDOW_LIFETIME || r->n == 0)
			continue;
		first = loyalty_purchases_through(r, loyalty_window_before(r, m, day));
		if (first == r->n)
			continue;
		if (m->window == WINDOW_ROLLING)
		{
			leaves = loyalty_add_months(r->purchases[first].date, m->months);
			while (loyalty_window_before(r, m, leaves) < r->purchases[first].date)
				leaves++;
		}
		else
			leaves = loyalty_next_year(r, m->window, day);
		next = Min(next, leaves);
	}
	return next;
}

/*
 * The next day, up to a limit, at whose start time alone changes the standing;
 * NOEND for none.
 */
static DateADT
due_by(LoyaltyRecord *r, DateADT limit)
{
	DateADT		day = r->now.day;

	if (r->now.until != DATEVAL_NOEND)
		return r->now.until + 1 + (r->now.in_grace ? r->policy->grace_days : 0);
	if (!loyalty_record_follows(r))
		return DATEVAL_NOEND;
	while ((day = next_leaving(r, day)) != DATEVAL_NOEND && day <= limit)
	{
		CHECK_FOR_INTERRUPTS();
		if (loyalty_record_reached(r, day, NULL) != r->now.rank)
			return day;
	}
	return DATEVAL_NOEND;
}

/*
 * The next day at whose start time alone changes the standing; NOEND for none.
 */
DateADT
loyalty_record_due(LoyaltyRecord *r)
{
	return due_by(r, DATEVAL_NOEND);
}

/* what that day brings */
static void
review(LoyaltyRecord *r, DateADT day)
{
	TimestampTz at = loyalty_program_instant(r->program, day);
	int			before = r->now.rank;
	int			rank;

	r->now.day = day;
	if (loyalty_record_follows(r))
	{
		enter(r, loyalty_record_reached(r, day, NULL), day, day);
		note(r, at, before, TIER_REVIEW);
		return;
	}
	if (!r->now.in_grace)
	{
		if (kept(r))
		{
			renew(r, at);
			return;
		}
		r->now.in_grace = true;
		if (r->policy->grace_days > 0)
			return;
	}
	r->now.lost = Max(r->now.lost, before);
	rank = before - 1;
	if (r->policy->demotion == DEMOTION_TO_EARNED)
		rank = Min(rank, loyalty_record_reached(r, r->now.until, NULL));
	enter(r, rank, day, day - 1);
	note(r, at, before, TIER_REVIEW);
}

/*
 * Let time pass, to the start of a day.
 */
void
loyalty_record_pass(LoyaltyRecord *r, DateADT day)
{
	DateADT		due;

	if (r->now.day >= day)
		return;
	while ((due = due_by(r, day)) <= day)
		review(r, due);
	r->now.day = day;
}

/* ----------------------------------------------------------------
 *		movements
 * ----------------------------------------------------------------
 */

/* sums from a purchase on */
static void
add_up(LoyaltyRecord *r, int from, int to)
{
	MemoryContext old = MemoryContextSwitchTo(r->replay);

	for (int i = from; i < to; i++)
	{
		LoyaltyPurchase *p = &r->purchases[i];

		p->net[METRIC_DOCUMENTS] = loyalty_num_int(p->is_sale && loyalty_num_sign(p->net[METRIC_AMOUNT]) > 0 ? 1 : 0);
		for (int m = 0; m < LOYALTY_NMETRICS; m++)
			p->sum[m] = i == 0 ? p->net[m] : loyalty_num_add(p[-1].sum[m], p->net[m]);
	}
	MemoryContextSwitchTo(old);
}

/* a purchase can be seen: is a tier reached, or kept within its grace? */
static void
climb(LoyaltyRecord *r, TimestampTz at, DateADT day)
{
	int			before = r->now.rank;
	int			rank = loyalty_record_reached(r, day, NULL);

	if (loyalty_record_follows(r) ? rank != before : rank > before)
	{
		enter(r, rank, day, day);
		note(r, at, before, rank > before ? TIER_REACHED : TIER_RETURN);
	}
	else if (r->now.in_grace && kept(r))
		renew(r, at);
}

/* a new purchase, the last one so far */
static void
append_purchase(LoyaltyRecord *r, LoyaltyMove *move, Numeric *net)
{
	MemoryContext old = MemoryContextSwitchTo(r->replay);
	LoyaltyPurchase *p;

	if (r->n == r->size)
	{
		r->size = Max(64, r->size * 2);
		r->purchases = r->purchases == NULL ? palloc_extended(sizeof(LoyaltyPurchase) * r->size, MCXT_ALLOC_HUGE) :
			repalloc_huge(r->purchases, sizeof(LoyaltyPurchase) * r->size);
	}
	p = &r->purchases[r->n];
	p->date = move->date;
	p->is_sale = move->is_sale;
	for (int m = 0; m < LOYALTY_NMETRICS; m++)
		p->net[m] = loyalty_num_copy(net[m]);
	MemoryContextSwitchTo(old);
	p->before = r->now;
	move->purchase = r->n++;
	add_up(r, r->n - 1, r->n);
	climb(r, move->at, move->date);
}

/*
 * Purchases from this one on have other values than they had: as it would be
 * if they had always been so, or (returns keep) from now on.
 */
static void
recompute(LoyaltyRecord *r, int from, TimestampTz at, DateADT day)
{
	int			n = r->n;
	int			before = r->now.rank;

	add_up(r, from, n);
	if (r->policy->keeps_returned)
		return;
	r->silent = true;
	r->now = r->purchases[from].before;
	for (r->n = from; r->n < n;)
	{
		LoyaltyPurchase *p = &r->purchases[r->n];

		CHECK_FOR_INTERRUPTS();
		loyalty_record_pass(r, p->date);
		p->before = r->now;
		r->n++;
		climb(r, at, p->date);
	}
	loyalty_record_pass(r, day);
	r->silent = false;
	if (r->now.rank != before)
		note(r, at, before, r->now.rank > before ? TIER_REACHED : TIER_RETURN);
}

/*
 * A return that is linked to nothing: of the latest purchases.  Returns the
 * first of them that is lessened; what finds none stays in rest.
 */
static int
take_from_latest(LoyaltyRecord *r, LoyaltyMove *move, Numeric *rest)
{
	int			from = r->n;
	MemoryContext old = MemoryContextSwitchTo(r->replay);

	for (int m = 0; m < LOYALTY_NMETRICS; m++)
	{
		rest[m] = move->value[m];
		for (int i = r->n - 1; i >= 0 && loyalty_num_sign(rest[m]) < 0; i--)
		{
			LoyaltyPurchase *p = &r->purchases[i];
			Numeric		left;

			if (m == METRIC_DOCUMENTS || loyalty_num_sign(p->net[m]) <= 0)
				continue;
			left = loyalty_num_add(p->net[m], rest[m]);
			from = Min(from, i);
			if (loyalty_num_sign(left) >= 0)
			{
				p->net[m] = left;
				rest[m] = loyalty_num_int(0);
			}
			else
			{
				p->net[m] = loyalty_num_int(0);
				rest[m] = left;
			}
		}
	}
	MemoryContextSwitchTo(old);
	return from;
}

/*
 * A movement becomes known: time passes to its day, and it is a purchase, or
 * lessens one.
 */
void
loyalty_record_take_in(LoyaltyRecord *r, LoyaltyMove *move)
{
	LoyaltyMove *root = loyalty_record_root(r, move);
	Numeric		rest[LOYALTY_NMETRICS];
	int			from;

	loyalty_record_pass(r, move->date);
	if (root != NULL && root->purchase >= 0)
	{
		LoyaltyPurchase *p = &r->purchases[root->purchase];
		MemoryContext old = MemoryContextSwitchTo(r->replay);

		for (int m = 0; m < LOYALTY_NMETRICS; m++)
			p->net[m] = loyalty_num_add(p->net[m], move->value[m]);
		MemoryContextSwitchTo(old);
		recompute(r, root->purchase, move->at, move->date);
		return;
	}
	if (!move->takes_back)
	{
		append_purchase(r, move, move->value);
		return;
	}
	from = take_from_latest(r, move, rest);
	if (from < r->n)
		recompute(r, from, move->at, move->date);
	for (int m = 0; m < LOYALTY_NMETRICS; m++)
		if (loyalty_num_sign(rest[m]) != 0)
		{
			append_purchase(r, move, rest);
			break;
		}
}
