/*
 * history.c
 *	  What a member bought before a document.
 *
 * Rules may ask for it (the first purchase, the tenth, a year's spend), and
 * caps count what a rule gave before within a period.  The purchases of a
 * member are read once per batch, in the order of date and key, and kept up to
 * date while the batch is decided.  When one of them changes, what later ones
 * were given may change as well: they are touched, and decided again by what
 * is then the truth.  A purchase is a sale of which something is left; a return
 * that is linked to nothing only lessens the amount.
 */
#include "postgres.h"

#include "utils/datetime.h"

#include "ledger/ledger.h"
#include "rule/match.h"
#include "source/source.h"

typedef struct Purchase
{
	int32		source_id;
	char	   *key;
	TimestampTz at;
	DateADT		date;
	Numeric		net;			/* what is left of it */
	bool		is_event;		/* no purchase, but what it was given counts */
	List	   *given;			/* of LoyaltyGiven *: by rules with caps */
	int			seen;			/* changes that were known when it was decided */
} Purchase;

/* a place in the order of purchases from which on something changed */
typedef struct Change
{
	TimestampTz at;
	char	   *key;
	int32		source_id;
} Change;

struct LoyaltyHistory
{
	MemoryContext context;
	int			n;
	int			size;
	Purchase  **purchases;		/* in order */
	int			nchanges;
	int			changes_size;
	Change	   *changes;

	/* figures of the purchases before the one at this place */
	int			cursor;
	LoyaltyFigures figures;
	int			year;			/* that the year's figures are of */
	int			month;			/* that the month's are of, with its year */
};

static LoyaltyPlan plan_purchases = {
	.sql = "SELECT s.source_id, s.doc_key, s.occurred_at, s.doc_date, s.qualifying + COALESCE((SELECT pg_catalog.sum(r.qualifying)"
	" FROM loyalty.document r WHERE r.root_source_id = s.source_id AND r.root_source_id <> 0"
	" AND r.root_key = s.doc_key AND r.member_id = s.member_id), 0), s.matches, s.kind = 'event'"
	" FROM loyalty.document s WHERE s.member_id = $1 AND s.root_source_id = 0 AND s.state <> 'withdrawn'",
	.nparams = 1, .types = {INT8OID}
};

static int
compare_places(TimestampTz at, const char *key, int32 source_id, TimestampTz at2, const char *key2, int32 source_id2)
{
	int			c;

	if (at != at2)
		return at < at2 ? -1 : 1;
	c = loyalty_compare_keys(key, key2);
	return c != 0 ? c : (source_id > source_id2) - (source_id < source_id2);
}

static int
compare_purchases(const void *a, const void *b)
{
	const Purchase *x = *(Purchase *const *) a;
	const Purchase *y = *(Purchase *const *) b;

	return compare_places(x->at, x->key, x->source_id, y->at, y->key, y->source_id);
}

/* number of purchases before a place */
static int
place_of(LoyaltyHistory *h, TimestampTz at, const char *key, int32 source_id)
{
	int			low = 0;
	int			high = h->n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		Purchase   *p = h->purchases[middle];

		if (compare_places(p->at, p->key, p->source_id, at, key, source_id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
start_cursor(LoyaltyHistory *h)
{
	h->cursor = 0;
	memset(&h->figures, 0, sizeof(h->figures));
	h->figures.amount = h->figures.year_amount = h->figures.month_amount = loyalty_num_int(0);
	h->year = h->month = 0;
}

/*
 * The purchases of a member; the batch's rows are written before they are read.
 */
static LoyaltyHistory *
history_of(LoyaltyBatch *batch, LoyaltyMember *member)
{
	MemoryContext old;
	LoyaltyHistory *h = member->history;
	Datum		id = Int64GetDatum(member->id);
	bool		isnull;

	if (h != NULL)
		return h;
	loyalty_store_flush();
	old = MemoryContextSwitchTo(batch->context);
	h = member->history = palloc0(sizeof(LoyaltyHistory));
	h->context = batch->context;
	h->n = loyalty_run(&plan_purchases, &id, NULL);
	h->size = h->n + 16;
	h->purchases = palloc(sizeof(Purchase *) * h->size);
	for (int i = 0; i < h->n; i++)
	{
		Purchase   *p = h->purchases[i] = palloc0(sizeof(Purchase));
		Datum		matches;

		p->source_id = DatumGetInt32(loyalty_spi_datum(i, 1, &isnull));
		p->key = loyalty_spi_text(i, 2);
		p->at = DatumGetTimestampTz(loyalty_spi_datum(i, 3, &isnull));
		p->date = DatumGetDateADT(loyalty_spi_datum(i, 4, &isnull));
		p->net = loyalty_spi_numeric(i, 5);
		p->is_event = DatumGetBool(loyalty_spi_datum(i, 7, &isnull));
		matches = loyalty_spi_datum(i, 6, &isnull);
		if (!isnull)
			p->given = loyalty_given_of_matches(member->program, DatumGetJsonbPCopy(matches));
	}
	SPI_freetuptable(SPI_tuptable);
	qsort(h->purchases, h->n, sizeof(Purchase *), compare_purchases);
	start_cursor(h);
	MemoryContextSwitchTo(old);
	return h;
}

static Purchase *
find_purchase(LoyaltyHistory *h, int32 source_id, const char *key)
{
	for (int i = h->n - 1; i >= 0; i--)
		if (h->purchases[i]->source_id == source_id && strcmp(h->purchases[i]->key, key) == 0)
			return h->purchases[i];
	return NULL;
}

static void
note_change(LoyaltyHistory *h, TimestampTz at, char *key, int32 source_id)
{
	if (h->nchanges == h->changes_size)
	{
		h->changes_size = Max(16, h->changes_size * 2);
		h->changes = h->changes == NULL ? MemoryContextAlloc(h->context, sizeof(Change) * h->changes_size) :
			repalloc(h->changes, sizeof(Change) * h->changes_size);
	}
	h->changes[h->nchanges].at = at;
	h->changes[h->nchanges].key = key;
	h->changes[h->nchanges++].source_id = source_id;
	if (place_of(h, at, key, source_id) < h->cursor)
		start_cursor(h);
}

static void
remove_purchase(LoyaltyHistory *h, Purchase *p)
{
	int			i = place_of(h, p->at, p->key, p->source_id);

	memmove(&h->purchases[i], &h->purchases[i + 1], sizeof(Purchase *) * (h->n - i - 1));
	h->n--;
	start_cursor(h);
}

static void
insert_purchase(LoyaltyHistory *h, Purchase *p)
{
	int			i = place_of(h, p->at, p->key, p->source_id);

	if (h->n == h->size)
		h->purchases = repalloc(h->purchases, sizeof(Purchase *) * (h->size *= 2));
	memmove(&h->purchases[i + 1], &h->purchases[i], sizeof(Purchase *) * (h->n - i));
	h->purchases[i] = p;
	h->n++;
	if (i < h->cursor)
		start_cursor(h);
}

/* the purchase that a sale is, where its date says; a new one if there is none */
static Purchase *
purchase_of(LoyaltyHistory *h, LoyaltyPart *sale)
{
	Purchase   *p = find_purchase(h, sale->source_id, sale->key);

	if (p == NULL)
	{
		p = MemoryContextAllocZero(h->context, sizeof(Purchase));
		p->source_id = sale->source_id;
		p->key = MemoryContextStrdup(h->context, sale->key);
		p->at = sale->at;
		p->date = sale->date;
		p->is_event = sale->is_event;
		p->net = loyalty_num_int(0);
		p->seen = h->nchanges;
		insert_purchase(h, p);
	}
	else if (p->at != sale->at || p->date != sale->date)
	{
		note_change(h, p->at, p->key, p->source_id);
		remove_purchase(h, p);
		p->at = sale->at;
		p->date = sale->date;
		insert_purchase(h, p);
		note_change(h, p->at, p->key, p->source_id);
	}
	return p;
}

static void
split_date(DateADT date, int *year, int *month)
{
	int			day;

	j2date(date + POSTGRES_EPOCH_JDATE, year, month, &day);
}

/* take the next purchase into the figures */
static void
advance(LoyaltyHistory *h)
{
	Purchase   *p = h->purchases[h->cursor++];
	LoyaltyFigures *f = &h->figures;
	MemoryContext old = MemoryContextSwitchTo(h->context);
	int			counts = loyalty_num_sign(p->net) > 0 ? 1 : 0;
	int			year,
				month;

	split_date(p->date, &year, &month);
	if (year != h->year)
	{
		f->year_purchases = 0;
		f->year_amount = loyalty_num_int(0);
	}
	if (year != h->year || month != h->month)
	{
		f->month_purchases = 0;
		f->month_amount = loyalty_num_int(0);
	}
	h->year = year;
	h->month = month;
	f->amount = loyalty_num_add(f->amount, p->net);
	f->year_amount = loyalty_num_add(f->year_amount, p->net);
	f->month_amount = loyalty_num_add(f->month_amount, p->net);
	f->purchases += counts;
	f->year_purchases += counts;
	f->month_purchases += counts;
	if (counts > 0)
	{
		if (f->purchases == 1)
			f->first_on = p->date;
		if (f->purchases == 1 || f->last_on != p->date)
			f->days++;
		f->last_on = p->date;
	}
	MemoryContextSwitchTo(old);
}

/*
 * Figures of what the member bought before this sale.
 */
LoyaltyFigures
loyalty_history_figures(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *sale)
{
	LoyaltyHistory *h = history_of(batch, member);
	Purchase   *p = purchase_of(h, sale);
	int			place = place_of(h, p->at, p->key, p->source_id);
	LoyaltyFigures figures;
	int			year,
				month;

	p->seen = h->nchanges;
	if (place < h->cursor)
		start_cursor(h);
	while (h->cursor < place)
		advance(h);
	figures = h->figures;
	split_date(sale->date, &year, &month);
	if (year != h->year)
	{
		figures.year_purchases = 0;
		figures.year_amount = loyalty_num_int(0);
	}
	if (year != h->year || month != h->month)
	{
		figures.month_purchases = 0;
		figures.month_amount = loyalty_num_int(0);
	}
	return figures;
}

/*
 * What a rule may give to somebody who has bought nothing yet.
 */
Points
loyalty_least_cap(LoyaltyRule *rule)
{
	Points		least = PG_INT64_MAX;

	for (int period = 0; period < LOYALTY_NPERIODS; period++)
		if (rule->has_cap[period])
			least = Min(least, rule->cap[period]);
	return least;
}

/*
 * What a rule may still give for this sale: the least that its caps leave of
 * what it gave before, within the day, week, month and year of the sale.
 */
Points
loyalty_history_allowance(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *sale, LoyaltyRule *rule)
{
	LoyaltyHistory *h = history_of(batch, member);
	Purchase   *p = purchase_of(h, sale);
	int			place = place_of(h, p->at, p->key, p->source_id);
	Points		allowed = PG_INT64_MAX;
	ListCell   *lc;

	p->seen = h->nchanges;
	for (int period = 0; period < LOYALTY_NPERIODS; period++)
	{
		DateADT		from = loyalty_start_of_period(period, sale->date);
		Points		used = 0;

		if (!rule->has_cap[period])
			continue;
		for (int i = place - 1; i >= 0 && h->purchases[i]->date >= from; i--)
			if (loyalty_num_sign(h->purchases[i]->net) > 0 || h->purchases[i]->is_event)
				foreach(lc, h->purchases[i]->given)
				{
					LoyaltyGiven *given = lfirst(lc);

					if (strcmp(given->rule, rule->name) == 0)
						used += given->points;
				}
		allowed = Min(allowed, Max(rule->cap[period] - used, 0));
	}
	return allowed;
}

/*
 * A sale was priced: what its rules gave counts against their caps.
 */
void
loyalty_history_given(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *sale, List *given)
{
	LoyaltyHistory *h = history_of(batch, member);
	Purchase   *p = purchase_of(h, sale);
	MemoryContext old;

	if (loyalty_same_given(p->given, given))
		return;
	old = MemoryContextSwitchTo(h->context);
	p->given = loyalty_copy_given(given);
	MemoryContextSwitchTo(old);
	note_change(h, p->at, p->key, p->source_id);
}

/*
 * The qualifying amount of a part moves: so does what is left of its purchase.
 */
void
loyalty_history_moved(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part, Numeric delta)
{
	LoyaltyHistory *h = history_of(batch, member);
	Purchase   *p;
	MemoryContext old;

	p = part->root_source_id == 0 ? purchase_of(h, part) :
		find_purchase(h, part->root_source_id, part->root_key);
	if (p == NULL)
		return;					/* what it returns is not booked */
	old = MemoryContextSwitchTo(h->context);
	p->net = loyalty_num_add(p->net, delta);
	MemoryContextSwitchTo(old);
	note_change(h, p->at, p->key, p->source_id);
}

/*
 * The batch is decided: purchases that come after one that changed, and were
 * decided before that was known, are touched to be decided again.
 */
void
loyalty_history_touch_later(LoyaltyMember *member)
{
	LoyaltyHistory *h = member->history;
	Change	  **least;

	if (h == NULL || h->nchanges == 0)
		return;
	/* the foremost of the changes from each one on */
	least = palloc(sizeof(Change *) * (h->nchanges + 1));
	least[h->nchanges] = NULL;
	for (int i = h->nchanges - 1; i >= 0; i--)
	{
		Change	   *c = &h->changes[i];
		Change	   *l = least[i + 1];

		least[i] = l == NULL || compare_places(c->at, c->key, c->source_id, l->at, l->key, l->source_id) < 0 ? c : l;
	}
	for (int i = 0; i < h->n; i++)
	{
		Purchase   *p = h->purchases[i];
		Change	   *c = least[p->seen];

		if (c != NULL && compare_places(c->at, c->key, c->source_id, p->at, p->key, p->source_id) < 0)
			loyalty_touch(p->source_id, p->key, TOUCH_LINE, NULL, NULL, 0);
	}
}
