/*
 * rows.c
 *	  A document, or an event, as conditions see it.
 *
 * Of each name space only the columns that some condition looks at are filled,
 * in the scratch rows of the rule book.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "rule/condition.h"
#include "rule/match.h"

static LoyaltyPlan plan_campaigns = {
	.sql = "SELECT ARRAY(SELECT c.name FROM loyalty.campaign_member t"
	" CROSS JOIN LATERAL (SELECT * FROM loyalty.campaign x WHERE x.campaign_id = t.campaign_id OFFSET 0) c"
	" WHERE t.member_id = $1 AND t.assigned = 'target' AND $2 BETWEEN t.counts_from AND c.ends_on ORDER BY c.name)",
	.nparams = 2, .types = {INT8OID, DATEOID}
};

#define WANTED(book, space, column) bms_is_member(column, (book)->uses[space])

static void
put(LoyaltyRow *row, int column, Datum value)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

static void
put_text(LoyaltyRow *row, int column, const char *text)
{
	row->nulls[column] = text == NULL;
	if (text != NULL)
		row->values[column] = CStringGetTextDatum(text);
}

static void
put_numeric(LoyaltyRow *row, int column, Numeric number)
{
	row->nulls[column] = number == NULL;
	row->values[column] = NumericGetDatum(number);
}

static void
put_date(LoyaltyRow *row, int column, DateADT date, bool there)
{
	row->nulls[column] = !there;
	row->values[column] = DateADTGetDatum(date);
}

/*
 * What the engine knows of the document.
 */
static void
fill_document(LoyaltyRuleBook *book, LoyaltyQuestion *q)
{
	LoyaltyRow *row = &book->rows[SPACE_DOCUMENT];
	struct pg_tm tm;
	fsec_t		fsec;
	int			tz;

	if (book->uses[SPACE_DOCUMENT] == NULL)
		return;
	if (timestamp2tm(q->facts->at, &tz, &tm, &fsec, NULL, book->program->tz) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_FACT),
				 errmsg("date of the document is out of range"),
				 errhint("Correct the date, or what \"doc_date\" is mapped to.")));
	if (WANTED(book, SPACE_DOCUMENT, IN_DOCUMENT_KEY))
		put_text(row, IN_DOCUMENT_KEY, q->key);
	if (WANTED(book, SPACE_DOCUMENT, IN_DOCUMENT_SOURCE))
		put_text(row, IN_DOCUMENT_SOURCE, q->source != NULL ? q->source->name : NULL);
	if (WANTED(book, SPACE_DOCUMENT, IN_DOCUMENT_COMPANY))
		put_text(row, IN_DOCUMENT_COMPANY, q->facts->company);
	if (WANTED(book, SPACE_DOCUMENT, IN_DOCUMENT_CHANNEL))
		put_text(row, IN_DOCUMENT_CHANNEL, q->facts->channel);
	put_numeric(row, IN_DOCUMENT_AMOUNT, q->claim->gross);
	put_numeric(row, IN_DOCUMENT_PAID_BY_POINTS, q->claim->paid);
	put(row, IN_DOCUMENT_DATE, DateADTGetDatum(q->facts->date));
	put(row, IN_DOCUMENT_OCCURRED_AT, TimestampTzGetDatum(q->facts->at));
	put(row, IN_DOCUMENT_HOUR, Int32GetDatum(tm.tm_hour));
	put(row, IN_DOCUMENT_WEEKDAY, Int32GetDatum(1 + j2day(q->facts->date + POSTGRES_EPOCH_JDATE - 1)));
	put(row, IN_DOCUMENT_DAY, Int32GetDatum(tm.tm_mday));
	put(row, IN_DOCUMENT_MONTH, Int32GetDatum(tm.tm_mon));
	put(row, IN_DOCUMENT_QUARTER, Int32GetDatum((tm.tm_mon - 1) / 3 + 1));
	put(row, IN_DOCUMENT_YEAR, Int32GetDatum(tm.tm_year));
	put(row, IN_DOCUMENT_LINES, Int32GetDatum(q->claim->nlines));
	put(row, IN_DOCUMENT_IS_RETURN, BoolGetDatum(loyalty_num_sign(q->claim->gross) < 0));
}

/*
 * Days from a date to the nearest birthday, or (later) to the nearest
 * anniversary, the first of which is a year later: 0 on the day, negative after
 * it.  What began on 29 February has it on the 28th in other years.
 */
static int
days_to(DateADT first, DateADT date, bool later)
{
	int			year,
				month,
				day,
				first_year,
				first_month,
				first_day;
	int			best = PG_INT32_MAX;

	j2date(first + POSTGRES_EPOCH_JDATE, &first_year, &first_month, &first_day);
	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	if (later)
		year = Max(year, first_year);
	for (int y = year - 1; y <= year + 1; y++)
	{
		int			last = day_tab[isleap(y)][first_month - 1];
		int			distance = date2j(y, first_month, Min(first_day, last)) - POSTGRES_EPOCH_JDATE - date;

		if ((!later || y > first_year) && abs(distance) < abs(best))
			best = distance;
	}
	return best;
}

/*
 * Campaigns that address the member on the document's day.  Who is chosen later
 * counts from a later day, so the answer is the same whenever it is asked for.
 */
static Datum
campaigns_of(LoyaltyQuestion *q)
{
	Datum		values[2];
	Datum		campaigns;
	bool		isnull;

	if (q->member_id == 0)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	values[0] = Int64GetDatum(q->member_id);
	values[1] = DateADTGetDatum(q->facts->date);
	(void) loyalty_run(&plan_campaigns, values, NULL);
	campaigns = PointerGetDatum(DatumGetArrayTypePCopy(loyalty_spi_datum(0, 1, &isnull)));
	SPI_freetuptable(SPI_tuptable);
	return campaigns;
}

/*
 * What the engine knows of the member, and what he has bought before.
 */
static void
fill_member(LoyaltyRuleBook *book, LoyaltyQuestion *q)
{
	LoyaltyRow *row = &book->rows[SPACE_MEMBER];
	DateADT		date = q->facts->date;
	LoyaltyFigures *f = q->figures;
	int			rank = 0;

	if (book->uses[SPACE_MEMBER] == NULL)
		return;
	for (int i = 0; q->tier != NULL && i < list_length(book->program->tiers); i++)
		if (list_nth(book->program->tiers, i) == q->tier)
			rank = i + 1;
	put_text(row, IN_MEMBER_CUSTOMER, q->customer);
	put_text(row, IN_MEMBER_TIER, q->tier != NULL ? q->tier->name : NULL);
	put(row, IN_MEMBER_TIER_RANK, Int32GetDatum(rank));
	put_date(row, IN_MEMBER_JOINED_ON, q->joined_on, true);
	put(row, IN_MEMBER_DAYS_SINCE_JOINED, Int32GetDatum(date - q->joined_on));
	if (WANTED(book, SPACE_MEMBER, IN_MEMBER_DAYS_TO_ANNIVERSARY))
		put(row, IN_MEMBER_DAYS_TO_ANNIVERSARY, Int32GetDatum(days_to(q->joined_on, date, true)));
	put_date(row, IN_MEMBER_BIRTHDAY, q->facts->birthday, q->facts->has_birthday);
	row->nulls[IN_MEMBER_DAYS_TO_BIRTHDAY] = !q->facts->has_birthday;
	if (q->facts->has_birthday)
		row->values[IN_MEMBER_DAYS_TO_BIRTHDAY] = Int32GetDatum(days_to(q->facts->birthday, date, false));
	row->nulls[IN_MEMBER_ATTRIBUTES] = q->facts->attributes == NULL;
	row->values[IN_MEMBER_ATTRIBUTES] = JsonbPGetDatum(q->facts->attributes);
	if (WANTED(book, SPACE_MEMBER, IN_MEMBER_CAMPAIGNS))
		put(row, IN_MEMBER_CAMPAIGNS, campaigns_of(q));
	put_text(row, IN_MEMBER_SEGMENT, q->segment);

	for (int i = IN_MEMBER_PURCHASE_COUNT; i <= IN_MEMBER_CYCLE_DAYS; i++)
		row->nulls[i] = true;
	if (f == NULL)
		return;
	put(row, IN_MEMBER_PURCHASE_COUNT, Int32GetDatum(f->purchases));
	put_numeric(row, IN_MEMBER_LIFETIME_AMOUNT, f->amount);
	put_numeric(row, IN_MEMBER_YEAR_AMOUNT, f->year_amount);
	put(row, IN_MEMBER_YEAR_COUNT, Int32GetDatum(f->year_purchases));
	put_numeric(row, IN_MEMBER_MONTH_AMOUNT, f->month_amount);
	put(row, IN_MEMBER_MONTH_COUNT, Int32GetDatum(f->month_purchases));
	if (f->purchases > 0)
	{
		put(row, IN_MEMBER_FIRST_PURCHASE_ON, DateADTGetDatum(f->first_on));
		put(row, IN_MEMBER_LAST_PURCHASE_ON, DateADTGetDatum(f->last_on));
		put(row, IN_MEMBER_DAYS_SINCE_LAST_PURCHASE, Int32GetDatum(date - f->last_on));
	}
	if (f->days >= 3)
		put_numeric(row, IN_MEMBER_CYCLE_DAYS,
					loyalty_rational_numeric(loyalty_rational(loyalty_num_int(f->last_on - f->first_on),
															  loyalty_num_int(f->days - 1)), 6));
}

/*
 * What happened, where that is no document of the ERP's.
 */
static void
fill_event(LoyaltyRuleBook *book, LoyaltyQuestion *q)
{
	LoyaltyRow *row = &book->rows[SPACE_EVENT];
	LoyaltyEvent *event = q->facts->event;
	struct pg_tm tm;
	fsec_t		fsec;
	int			tz;

	if (event == NULL || book->uses[SPACE_EVENT] == NULL)
		return;
	if (timestamp2tm(q->facts->at, &tz, &tm, &fsec, NULL, book->program->tz) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_FACT),
				 errmsg("date of the event is out of range"),
				 errhint("Record the event with a date that there is.")));
	put_text(row, IN_EVENT_KIND, event->kind);
	put_text(row, IN_EVENT_REFERENCE, event->reference);
	put(row, IN_EVENT_OCCURRED_AT, TimestampTzGetDatum(q->facts->at));
	put(row, IN_EVENT_DATE, DateADTGetDatum(q->facts->date));
	put(row, IN_EVENT_HOUR, Int32GetDatum(tm.tm_hour));
	put(row, IN_EVENT_WEEKDAY, Int32GetDatum(1 + j2day(q->facts->date + POSTGRES_EPOCH_JDATE - 1)));
	put(row, IN_EVENT_MONTH, Int32GetDatum(tm.tm_mon));
	put(row, IN_EVENT_YEAR, Int32GetDatum(tm.tm_year));
	put(row, IN_EVENT_ATTRIBUTES, JsonbPGetDatum(event->attributes));
	put(row, IN_EVENT_COUNT, Int32GetDatum(event->count));
}

static void
fill_invoice(LoyaltyRuleBook *book, LoyaltyFacts *facts)
{
	LoyaltyRow *row = &book->rows[SPACE_INVOICE];

	for (int i = 0; i < book->ninvoice; i++)
	{
		row->nulls[book->invoice[i]] = facts->invoice == NULL || facts->invoice_nulls[i];
		if (!row->nulls[book->invoice[i]])
			row->values[book->invoice[i]] = facts->invoice[i];
	}
}

/*
 * The category of a line, and with it all categories above.
 */
static void
fill_category(LoyaltyRuleBook *book, LoyaltyRow *row, LoyaltyLine *line)
{
	const char *own[16];
	Datum		all[64];
	int			nown = 0;
	int			n = 0;
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;

	row->nulls[IN_LINE_CATEGORY] = row->nulls[IN_LINE_CATEGORIES] = true;
	if (line == NULL || line->category == NULL)
		return;
	it = JsonbIteratorInit(&line->category->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE && nown < (int) lengthof(own))
		if (token == WJB_ELEM && v.type == jbvString)
			own[nown++] = pnstrdup(v.val.string.val, v.val.string.len);
	if (nown == 0)
		return;
	put_text(row, IN_LINE_CATEGORY, own[0]);
	for (int i = 0; i < nown; i++)
		for (const char *c = own[i]; c != NULL && n < (int) lengthof(all);
			 c = loyalty_category_parent(book->program, c))
			all[n++] = CStringGetTextDatum(c);
	put(row, IN_LINE_CATEGORIES, PointerGetDatum(construct_array(all, n, TEXTOID, -1, false, TYPALIGN_INT)));
}

/*
 * A line; or a document without lines, which is one of its whole amount.
 */
static void
fill_line(LoyaltyRuleBook *book, LoyaltyQuestion *q, LoyaltyRow *row, LoyaltyLine *line)
{
	if (WANTED(book, SPACE_LINE, IN_LINE_KEY))
		put_text(row, IN_LINE_KEY, line != NULL ? line->key : NULL);
	if (WANTED(book, SPACE_LINE, IN_LINE_PRODUCT))
		put_text(row, IN_LINE_PRODUCT, line != NULL ? line->product : NULL);
	if (WANTED(book, SPACE_LINE, IN_LINE_CATEGORY) || WANTED(book, SPACE_LINE, IN_LINE_CATEGORIES))
		fill_category(book, row, line);
	put_numeric(row, IN_LINE_QTY, line != NULL ? line->qty : NULL);
	put_numeric(row, IN_LINE_AMOUNT, line != NULL ? line->amount : q->claim->gross);
	put_numeric(row, IN_LINE_COST, line != NULL ? line->cost : NULL);
	put_numeric(row, IN_LINE_LIST_PRICE, line != NULL ? line->list_price : NULL);
	put_date(row, IN_LINE_LAUNCHED_ON, line != NULL ? line->launched_on : 0, line != NULL && line->has_launched_on);
	put_numeric(row, IN_LINE_STOCK, line != NULL ? line->stock : NULL);
	row->nulls[IN_LINE_ATTRIBUTES] = line == NULL || line->attributes == NULL;
	if (!row->nulls[IN_LINE_ATTRIBUTES])
		row->values[IN_LINE_ATTRIBUTES] = JsonbPGetDatum(line->attributes);
	for (int i = 0; i < book->nline; i++)
	{
		row->nulls[book->line[i]] = line == NULL || line->extra == NULL || line->extra_nulls[i];
		if (!row->nulls[book->line[i]])
			row->values[book->line[i]] = line->extra[i];
	}
}

/*
 * All of it but the lines.
 */
void
loyalty_fill_rows(LoyaltyRuleBook *book, LoyaltyQuestion *q)
{
	fill_document(book, q);
	fill_member(book, q);
	fill_invoice(book, q->facts);
	fill_event(book, q);
}

/*
 * All lines, once for all rules that look at them; one where there is none.
 */
LoyaltyRow *
loyalty_fill_lines(LoyaltyRuleBook *book, LoyaltyQuestion *q)
{
	int			n = Max(q->claim->nlines, 1);
	int			ncolumns = book->spaces->ncolumns[SPACE_LINE];
	LoyaltyRow *lines = palloc(sizeof(LoyaltyRow) * n);

	for (int i = 0; i < n; i++)
	{
		lines[i].values = palloc0(sizeof(Datum) * ncolumns);
		lines[i].nulls = palloc(sizeof(bool) * ncolumns);
		memset(lines[i].nulls, true, sizeof(bool) * ncolumns);
		fill_line(book, q, &lines[i], q->claim->nlines == 0 ? NULL : &q->claim->lines[i]);
	}
	return lines;
}

static void
add_seen(int64 *seen, int *n, LoyaltySpaceColumn *column, uint32 hash)
{
	uint32		name = hash_bytes((const unsigned char *) column->name, strlen(column->name));

	seen[(*n)++] = ((int64) name << 32) | hash;
}

static uint32
hash_value(LoyaltySpaceColumn *column, Datum value, bool isnull)
{
	int16		length;
	bool		by_value;

	if (isnull)
		return 0;
	get_typlenbyval(column->type, &length, &by_value);
	return datum_image_hash(value, by_value, length);
}

/*
 * What conditions look at in the ERP's rows: for each column a hash of its
 * name and one of its values.  Returns how many there are.
 */
int
loyalty_seen_columns(LoyaltyRuleBook *book, LoyaltyFacts *facts, LoyaltyClaim *claim, int64 **seen)
{
	int			n = 0;

	if (facts->event != NULL && facts->event->count >= 0)
	{
		*seen = palloc(sizeof(int64));
		add_seen(*seen, &n, &book->spaces->columns[SPACE_EVENT][IN_EVENT_COUNT], facts->event->count);
		return n;
	}
	if (book->ninvoice + book->nline == 0)
		return 0;
	*seen = palloc(sizeof(int64) * (book->ninvoice + book->nline));
	for (int i = 0; i < book->ninvoice && facts->invoice != NULL; i++)
	{
		LoyaltySpaceColumn *column = &book->spaces->columns[SPACE_INVOICE][book->invoice[i]];

		add_seen(*seen, &n, column, hash_value(column, facts->invoice[i], facts->invoice_nulls[i]));
	}
	for (int i = 0; i < book->nline; i++)
	{
		LoyaltySpaceColumn *column = &book->spaces->columns[SPACE_LINE][book->line[i]];
		uint32		hash = 1;	/* a header's column may have the same name */

		for (int l = 0; l < claim->nlines; l++)
			if (claim->lines[l].extra != NULL)
				hash = hash_combine(hash, hash_value(column, claim->lines[l].extra[i], claim->lines[l].extra_nulls[i]));
		add_seen(*seen, &n, column, ~hash);
	}
	return n;
}

/*
 * Has a column another value than before?  One that only today's rules look
 * at is no change of the document.
 */
bool
loyalty_seen_otherwise(int64 *before, int nbefore, int64 *now, int nnow)
{
	for (int i = 0; i < nbefore; i++)
	{
		bool		there = false;
		bool		same = false;

		/* a header's and a line's column may share their name */
		for (int j = 0; j < nnow; j++)
			if (before[i] >> 32 == now[j] >> 32)
			{
				there = true;
				same |= before[i] == now[j];
			}
		if (there && !same)
			return true;
	}
	return false;
}

/*
 * Does a condition that speaks only of the member hold?  Of the facts, the
 * question needs the date.
 */
bool
loyalty_member_meets(LoyaltyProgram *program, LoyaltyCondition *condition, LoyaltyQuestion *question)
{
	LoyaltyRow	rows[LOYALTY_NSPACES] = {{NULL, NULL}};
	Datum		values[IN_MEMBER_NFIELDS] = {0};
	bool		nulls[IN_MEMBER_NFIELDS];
	LoyaltyRuleBook book = {.program = program, .rows = rows};

	memset(nulls, true, sizeof(nulls));
	rows[SPACE_MEMBER].values = values;
	rows[SPACE_MEMBER].nulls = nulls;
	book.uses[SPACE_MEMBER] = condition->uses[SPACE_MEMBER];
	fill_member(&book, question);
	return loyalty_condition_true(condition, rows);
}
