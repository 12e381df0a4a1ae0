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

#include "common/hashfn.h"
#include "utils/datetime.h"
#include "utils/memutils.h"

#include "fact/fact.h"
#include "member/standing.h"

typedef struct MoveKey
{
	int32		source_id;
	const char *key;
	int32		root_source_id;
	const char *root_key;
} MoveKey;

typedef struct MoveSlot
{
	MoveKey		id;
	LoyaltyMove *move;
	uint32		hash;
	char		status;
} MoveSlot;

#define SH_PREFIX moves
#define SH_ELEMENT_TYPE MoveSlot
#define SH_KEY_TYPE MoveKey
#define SH_KEY id
#define SH_HASH_KEY(tb, k) \
	hash_combine(hash_bytes((const unsigned char *) (k).key, strlen((k).key)), \
				 hash_combine((uint32) (k).source_id, (uint32) (k).root_source_id))
#define SH_EQUAL(tb, a, b) ((a).source_id == (b).source_id && (a).root_source_id == (b).root_source_id && \
							strcmp((a).key, (b).key) == 0 && strcmp((a).root_key, (b).root_key) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, e) (e)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct Purchase
{
	DateADT		date;
	bool		is_sale;
	Numeric		net[LOYALTY_NMETRICS];	/* what is left of it */
	Numeric		sum[LOYALTY_NMETRICS];	/* of all up to and including it */
	LoyaltyStanding before;		/* on its day, without it */
} Purchase;

struct LoyaltyRecord
{
	MemoryContext context;
	LoyaltyProgram *program;
	LoyaltyTierPolicy *policy;
	DateADT		joined_on;
	int			nmoves;
	int			moves_size;
	LoyaltyMove **moves;		/* in order */
	struct moves_hash *index;
	List	   *overrides;		/* of LoyaltyOverride * */

	/* the replay, in a context of its own */
	MemoryContext replay;
	int			cursor;			/* moves that are taken in */
	int			n;				/* purchases that can be seen */
	int			size;
	Purchase   *purchases;
	LoyaltyStanding now;
	List	   *changes;		/* of LoyaltyTierChange *: of what is earned */
	bool		silent;			/* it starts again: what changes is no news */
};

/* ----------------------------------------------------------------
 *		days and windows
 * ----------------------------------------------------------------
 */

/*
 * So many months later, or earlier; the last day of the month where that day
 * is not there.
 */
DateADT
loyalty_add_months(DateADT date, int months)
{
	int			year,
				month,
				day;

	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	months += year * 12 + month - 1;
	year = months / 12;
	month = months % 12 + 1;
	day = Min(day, day_tab[isleap(year)][month - 1]);
	return date2j(year, month, day) - POSTGRES_EPOCH_JDATE;
}

static DateADT
first_of_year(DateADT date)
{
	return loyalty_start_of_period(PERIOD_YEAR, date);
}

/* first day of the year of membership that a day is in */
static DateADT
first_of_membership(LoyaltyRecord *r, DateADT date)
{
	int			year,
				joined,
				month,
				day;
	DateADT		first;

	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	j2date(r->joined_on + POSTGRES_EPOCH_JDATE, &joined, &month, &day);
	first = loyalty_add_months(r->joined_on, 12 * (year - joined));
	return first > date ? loyalty_add_months(r->joined_on, 12 * (year - joined - 1)) : first;
}

/* first day of the year after the one that a day is in, of the window's kind */
static DateADT
next_year(LoyaltyRecord *r, LoyaltyWindow window, DateADT date)
{
	int			year,
				joined,
				month,
				day;

	if (window == WINDOW_CALENDAR_YEAR)
		return loyalty_add_months(first_of_year(date), 12);
	/* from the day of enrolment, or 29 February would be lost */
	j2date(first_of_membership(r, date) + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	j2date(r->joined_on + POSTGRES_EPOCH_JDATE, &joined, &month, &day);
	return loyalty_add_months(r->joined_on, 12 * (year - joined + 1));
}

/*
 * The last day before the window in which a day is.
 */
DateADT
loyalty_window_before(LoyaltyRecord *r, LoyaltyMeasure *measure, DateADT day)
{
	if (day == DATEVAL_NOBEGIN)
		return day;
	switch (measure->window)
	{
		case WINDOW_ROLLING:
			return loyalty_add_months(day, -measure->months);
		case WINDOW_CALENDAR_YEAR:
			return first_of_year(day) - 1;
		case WINDOW_MEMBERSHIP_YEAR:
			return first_of_membership(r, day) - 1;
		default:
			return DATEVAL_NOBEGIN;
	}
}

/* number of purchases up to and including a day */
static int
purchases_through(LoyaltyRecord *r, DateADT day)
{
	int			low = 0;
	int			high = r->n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (r->purchases[middle].date <= day)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* what was bought after that day */
Numeric
loyalty_record_figure_after(LoyaltyRecord *r, LoyaltyMetric metric, DateADT before)
{
	int			low = purchases_through(r, before);

	if (r->n == low)
		return loyalty_num_int(0);
	if (low == 0)
		return r->purchases[r->n - 1].sum[metric];
	return loyalty_num_sub(r->purchases[r->n - 1].sum[metric], r->purchases[low - 1].sum[metric]);
}

/*
 * The figure of a window as of a day, of what is known.
 */
Numeric
loyalty_record_figure(LoyaltyRecord *r, LoyaltyMeasure *measure, DateADT day)
{
	return loyalty_record_figure_after(r, measure->metric, loyalty_window_before(r, measure, day));
}

/* ----------------------------------------------------------------
 *		reached, kept, lost
 * ----------------------------------------------------------------
 */

/* where does the tier simply follow the figure? */
static bool
follows(LoyaltyRecord *r)
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
static int
reached(LoyaltyRecord *r, DateADT day, Numeric *more)
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

/* through which day a tier is kept that counts from after base */
static DateADT
kept_until(LoyaltyRecord *r, int rank, DateADT base)
{
	LoyaltyTier *t = loyalty_tier_at_rank(r->program, rank);
	DateADT		until;

	if (t == NULL || r->policy->retention == 0 || r->policy->demotion == DEMOTION_NONE ||
		(loyalty_num_sign(t->threshold) == 0 && (t->keep_threshold == NULL || loyalty_num_sign(t->keep_threshold) == 0)))
		return DATEVAL_NOEND;
	until = loyalty_add_months(base, r->policy->retention);
	if (r->policy->measure.window == WINDOW_CALENDAR_YEAR || r->policy->measure.window == WINDOW_MEMBERSHIP_YEAR)
		until = next_year(r, r->policy->measure.window, until) - 1;
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
	r->now.until = kept_until(r, rank, base);
	r->now.in_grace = false;
	if (rank >= r->now.lost)
		r->now.lost = 0;
}

static void
renew(LoyaltyRecord *r, TimestampTz at)
{
	r->now.base = r->now.until;
	r->now.until = kept_until(r, r->now.rank, r->now.base);
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
		first = purchases_through(r, loyalty_window_before(r, m, day));
		if (first == r->n)
			continue;
		if (m->window == WINDOW_ROLLING)
		{
			leaves = loyalty_add_months(r->purchases[first].date, m->months);
			while (loyalty_window_before(r, m, leaves) < r->purchases[first].date)
				leaves++;
		}
		else
			leaves = next_year(r, m->window, day);
		next = Min(next, leaves);
	}
	return next;
}

/*
 * The next day at whose start time alone changes the standing; NOEND for none.
 */
DateADT
loyalty_record_due(LoyaltyRecord *r)
{
	DateADT		day = r->now.day;

	if (r->now.until != DATEVAL_NOEND)
		return r->now.until + 1 + (r->now.in_grace ? r->policy->grace_days : 0);
	if (!follows(r))
		return DATEVAL_NOEND;
	while ((day = next_leaving(r, day)) != DATEVAL_NOEND)
		if (reached(r, day, NULL) != r->now.rank)
			return day;
	return DATEVAL_NOEND;
}

/* what that day brings */
static void
review(LoyaltyRecord *r, DateADT day)
{
	TimestampTz at = loyalty_program_instant(r->program, day);
	int			before = r->now.rank;
	int			rank;

	r->now.day = day;
	if (follows(r))
	{
		enter(r, reached(r, day, NULL), day, day);
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
		rank = Min(rank, reached(r, r->now.until, NULL));
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
	while ((due = loyalty_record_due(r)) <= day)
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
		Purchase   *p = &r->purchases[i];

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
	int			rank = reached(r, day, NULL);

	if (follows(r) ? rank != before : rank > before)
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
	Purchase   *p;

	if (r->n == r->size)
	{
		r->size = Max(64, r->size * 2);
		r->purchases = r->purchases == NULL ? palloc_extended(sizeof(Purchase) * r->size, MCXT_ALLOC_HUGE) :
			repalloc_huge(r->purchases, sizeof(Purchase) * r->size);
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
		Purchase   *p = &r->purchases[r->n];

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
			Purchase   *p = &r->purchases[i];
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

static LoyaltyMove *
find_move(LoyaltyRecord *r, int32 source_id, const char *key, int32 root_source_id, const char *root_key)
{
	MoveKey		id = {source_id, key, root_source_id, root_key};
	MoveSlot   *slot = moves_lookup(r->index, id);

	return slot == NULL ? NULL : slot->move;
}

/* the purchase that a movement lessens; NULL if it is none that is known */
static LoyaltyMove *
root_of(LoyaltyRecord *r, LoyaltyMove *move)
{
	return move->root_source_id == 0 ? NULL : find_move(r, move->root_source_id, move->root_key, 0, "");
}

static void
take_in(LoyaltyRecord *r, LoyaltyMove *move)
{
	LoyaltyMove *root = root_of(r, move);
	Numeric		rest[LOYALTY_NMETRICS];
	int			from;

	loyalty_record_pass(r, move->date);
	if (root != NULL && root->purchase >= 0)
	{
		Purchase   *p = &r->purchases[root->purchase];
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

/* ----------------------------------------------------------------
 *		the record: movements in order, and the replay over them
 * ----------------------------------------------------------------
 */

static void
restart(LoyaltyRecord *r)
{
	MemoryContextReset(r->replay);
	r->cursor = r->n = r->size = 0;
	r->purchases = NULL;
	r->changes = NIL;
	r->silent = false;
	for (int i = 0; i < r->nmoves; i++)
		r->moves[i]->purchase = -1;
	memset(&r->now, 0, sizeof(LoyaltyStanding));
	r->now.since = r->now.base = r->joined_on;
	r->now.day = DATEVAL_NOBEGIN;
	r->now.rank = reached(r, DATEVAL_NOBEGIN, NULL);
	r->now.until = kept_until(r, r->now.rank, r->now.base);
}

LoyaltyRecord *
loyalty_record_new(MemoryContext context, LoyaltyProgram *program, DateADT joined_on)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	LoyaltyRecord *r = palloc0(sizeof(LoyaltyRecord));

	r->context = context;
	r->program = program;
	r->policy = &program->tiering;
	r->joined_on = joined_on;
	r->index = moves_create(context, 64, NULL);
	r->replay = AllocSetContextCreate(context, "loyalty tier replay", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(old);
	restart(r);
	return r;
}

LoyaltyProgram *
loyalty_record_program(LoyaltyRecord *r)
{
	return r->program;
}

/* a return becomes known after what it returns */
static int
compare_moves(LoyaltyMove *a, LoyaltyMove *b)
{
	int			c;

	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	if ((a->root_source_id != 0) != (b->root_source_id != 0))
		return a->root_source_id != 0 ? 1 : -1;
	c = loyalty_compare_keys(a->key, b->key);
	if (c != 0)
		return c;
	if (a->source_id != b->source_id)
		return a->source_id < b->source_id ? -1 : 1;
	c = strcmp(a->root_key, b->root_key);
	return c != 0 ? c : (a->root_source_id > b->root_source_id) - (a->root_source_id < b->root_source_id);
}

/* number of moves before one */
static int
place_of(LoyaltyRecord *r, LoyaltyMove *move)
{
	int			low = 0;
	int			high = r->nmoves;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (compare_moves(r->moves[middle], move) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
remove_move(LoyaltyRecord *r, LoyaltyMove *move)
{
	int			i = place_of(r, move);

	Assert(r->moves[i] == move);
	if (i < r->cursor)
		r->cursor = -1;
	memmove(&r->moves[i], &r->moves[i + 1], sizeof(LoyaltyMove *) * (r->nmoves - i - 1));
	r->nmoves--;
}

static void
insert_move(LoyaltyRecord *r, LoyaltyMove *move)
{
	int			i = place_of(r, move);

	if (r->nmoves == r->moves_size)
	{
		r->moves_size = Max(64, r->moves_size * 2);
		r->moves = r->moves == NULL ?
			MemoryContextAllocHuge(r->context, sizeof(LoyaltyMove *) * r->moves_size) :
			repalloc_huge(r->moves, sizeof(LoyaltyMove *) * r->moves_size);
	}
	memmove(&r->moves[i + 1], &r->moves[i], sizeof(LoyaltyMove *) * (r->nmoves - i));
	r->moves[i] = move;
	r->nmoves++;
	if (i < r->cursor)
		r->cursor = -1;
}

static bool
same_move(LoyaltyMove *a, LoyaltyMove *b)
{
	if (a->at != b->at || a->date != b->date || a->is_sale != b->is_sale || a->takes_back != b->takes_back)
		return false;
	for (int m = 0; m < LOYALTY_NMETRICS; m++)
		if (loyalty_num_cmp(a->value[m], b->value[m]) != 0)
			return false;
	return true;
}

static bool
is_nothing(LoyaltyMove *move)
{
	for (int m = 0; m < LOYALTY_NMETRICS; m++)
		if (loyalty_num_sign(move->value[m]) != 0)
			return false;
	return true;
}

/*
 * A movement is there, or has other values than it had.  A return that is
 * dated before what it returns counts from that on.
 */
void
loyalty_record_put(LoyaltyRecord *r, LoyaltyMove *move)
{
	LoyaltyMove *known = find_move(r, move->source_id, move->key, move->root_source_id, move->root_key);
	MoveKey		id;
	MoveSlot   *slot;
	bool		found;
	MemoryContext old;

	if (known != NULL ? same_move(known, move) : is_nothing(move))
		return;
	old = MemoryContextSwitchTo(r->context);
	if (known != NULL)
		remove_move(r, known);
	else
	{
		known = palloc0(sizeof(LoyaltyMove));
		known->source_id = move->source_id;
		known->key = pstrdup(move->key);
		known->root_source_id = move->root_source_id;
		known->root_key = pstrdup(move->root_key);
		id.source_id = known->source_id;
		id.key = known->key;
		id.root_source_id = known->root_source_id;
		id.root_key = known->root_key;
		slot = moves_insert(r->index, id, &found);
		slot->move = known;
	}
	known->at = move->at;
	known->date = move->date;
	known->is_sale = move->is_sale;
	known->takes_back = move->takes_back;
	known->purchase = -1;
	for (int m = 0; m < LOYALTY_NMETRICS; m++)
		known->value[m] = loyalty_num_copy(move->value[m]);
	insert_move(r, known);
	MemoryContextSwitchTo(old);
}

void
loyalty_record_override(LoyaltyRecord *r, LoyaltyOverride *override)
{
	MemoryContext old = MemoryContextSwitchTo(r->context);
	LoyaltyOverride *o = palloc(sizeof(LoyaltyOverride));

	*o = *override;
	r->overrides = lappend(r->overrides, o);
	MemoryContextSwitchTo(old);
}

/*
 * A return that is dated before the sale it returns: let the sale be first.
 * Few are, so they are looked for when the replay meets them.
 */
static bool
too_early(LoyaltyRecord *r, LoyaltyMove *move)
{
	LoyaltyMove *root = root_of(r, move);

	if (root == NULL || root->purchase >= 0 || compare_moves(root, move) <= 0)
		return false;
	remove_move(r, move);
	move->at = root->at;
	move->date = root->date;
	insert_move(r, move);
	return true;
}

/*
 * Replay what was known by an instant, and let time pass to its day.
 */
void
loyalty_record_run(LoyaltyRecord *r, TimestampTz to)
{
	if (r->cursor < 0 || (r->cursor > 0 && r->moves[r->cursor - 1]->at > to) ||
		(r->now.day != DATEVAL_NOBEGIN && r->now.day > loyalty_program_date(r->program, to)))
		restart(r);
	while (r->cursor < r->nmoves && r->moves[r->cursor]->at <= to)
	{
		LoyaltyMove *move = r->moves[r->cursor];

		if (too_early(r, move))
			continue;
		r->cursor++;
		take_in(r, move);
	}
	loyalty_record_pass(r, loyalty_program_date(r->program, to));
}

/*
 * Replay what was known just before a movement of that instant and key.
 */
void
loyalty_record_run_before(LoyaltyRecord *r, LoyaltyMove *move)
{
	int			place;

	if (r->cursor > place_of(r, move) || (r->now.day != DATEVAL_NOBEGIN && r->now.day > move->date))
		r->cursor = -1;
	if (r->cursor < 0)
		restart(r);
	while (r->cursor < (place = place_of(r, move)))
	{
		LoyaltyMove *next = r->moves[r->cursor];

		if (too_early(r, next))
			continue;
		r->cursor++;
		take_in(r, next);
	}
	loyalty_record_pass(r, move->date);
}

LoyaltyStanding *
loyalty_record_standing(LoyaltyRecord *r)
{
	return &r->now;
}

/* ----------------------------------------------------------------
 *		overrides
 * ----------------------------------------------------------------
 */

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
		int			with = reached(r, r->now.day, move->value);

		rank = follows(r) ? with : Max(rank, with);
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
	earned.until = kept_until(r, earned.to, r->joined_on);
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
