/*
 * match.c
 *	  Which rules hold for a document.
 *
 * Conditions see the document as it was read.  What holds is frozen with the
 * document: the rule versions, the lines they hold for, and where a condition
 * looks at amounts or quantities, what of it must go on being true of the
 * goods that are left: its proviso.  So a bonus for a sale of 1,000 is taken
 * back when less is left, and nothing else that changes later matters.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datum.h"
#include "utils/datetime.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "rule/condition.h"
#include "rule/match.h"

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
				 errmsg("date of the document is out of range")));
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
 * Days from a date to the nearest birthday: 0 on the day, negative after it.
 * Who is born on 29 February has it on the 28th in other years.
 */
static int
days_to_birthday(DateADT birthday, DateADT date)
{
	int			year,
				month,
				day,
				bmonth,
				bday;
	int			best = 0;

	j2date(birthday + POSTGRES_EPOCH_JDATE, &year, &bmonth, &bday);
	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	for (int y = year - 1; y <= year + 1; y++)
	{
		int			last = day_tab[isleap(y)][bmonth - 1];
		int			distance = date2j(y, bmonth, Min(bday, last)) - POSTGRES_EPOCH_JDATE - date;

		if (y == year - 1 || abs(distance) < abs(best))
			best = distance;
	}
	return best;
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
	put_date(row, IN_MEMBER_BIRTHDAY, q->facts->birthday, q->facts->has_birthday);
	row->nulls[IN_MEMBER_DAYS_TO_BIRTHDAY] = !q->facts->has_birthday;
	if (q->facts->has_birthday)
		row->values[IN_MEMBER_DAYS_TO_BIRTHDAY] = Int32GetDatum(days_to_birthday(q->facts->birthday, date));
	row->nulls[IN_MEMBER_ATTRIBUTES] = q->facts->attributes == NULL;
	row->values[IN_MEMBER_ATTRIBUTES] = JsonbPGetDatum(q->facts->attributes);

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
fill_category(LoyaltyRuleBook *book, LoyaltyLine *line)
{
	LoyaltyRow *row = &book->rows[SPACE_LINE];
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
fill_line(LoyaltyRuleBook *book, LoyaltyQuestion *q, LoyaltyLine *line)
{
	LoyaltyRow *row = &book->rows[SPACE_LINE];

	if (WANTED(book, SPACE_LINE, IN_LINE_KEY))
		put_text(row, IN_LINE_KEY, line != NULL ? line->key : NULL);
	if (WANTED(book, SPACE_LINE, IN_LINE_PRODUCT))
		put_text(row, IN_LINE_PRODUCT, line != NULL ? line->product : NULL);
	if (WANTED(book, SPACE_LINE, IN_LINE_CATEGORY) || WANTED(book, SPACE_LINE, IN_LINE_CATEGORIES))
		fill_category(book, line);
	put_numeric(row, IN_LINE_QTY, line != NULL ? line->qty : NULL);
	put_numeric(row, IN_LINE_AMOUNT, line != NULL ? line->amount : q->claim->gross);
	put_numeric(row, IN_LINE_COST, line != NULL ? line->cost : NULL);
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

/* does the condition look at what returns change? */
static bool
needs_proviso(LoyaltyCondition *condition)
{
	return bms_is_member(IN_DOCUMENT_AMOUNT, condition->uses[SPACE_DOCUMENT]) ||
		bms_is_member(IN_LINE_AMOUNT, condition->uses[SPACE_LINE]) ||
		bms_is_member(IN_LINE_QTY, condition->uses[SPACE_LINE]);
}

/*
 * What is left of the condition once everything is filled in that cannot
 * change any more; NULL if that is nothing.
 */
static char *
proviso_of(LoyaltyRuleBook *book, LoyaltyCondition *condition)
{
	Bitmapset  *open[LOYALTY_NSPACES] = {NULL};

	if (!needs_proviso(condition))
		return NULL;
	open[SPACE_DOCUMENT] = bms_make_singleton(IN_DOCUMENT_AMOUNT);
	open[SPACE_LINE] = bms_add_member(bms_make_singleton(IN_LINE_AMOUNT), IN_LINE_QTY);
	return loyalty_condition_residual(condition, book->rows, open);
}

static void
rule_context(void *arg)
{
	errcontext("condition of rule \"%s\"", (char *) arg);
}

static bool
holds(LoyaltyRuleCode *code, LoyaltyRuleBook *book)
{
	ErrorContextCallback callback;
	bool		result;

	callback.callback = rule_context;
	callback.arg = code->rule->name;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	result = loyalty_condition_true(code->condition, book->rows);
	error_context_stack = callback.previous;
	return result;
}

/* a rule of the same exclusive group that came before it and holds for a line */
static bool
taken(List *matches, LoyaltyRule *rule, int line)
{
	ListCell   *lc;

	if (rule->exclusive_group == NULL)
		return false;
	foreach(lc, matches)
	{
		LoyaltyMatch *match = lfirst(lc);

		if (match->rule->exclusive_group == NULL ||
			strcmp(match->rule->exclusive_group, rule->exclusive_group) != 0)
			continue;
		/* one for the document takes it all, and is not taken by single lines */
		if (match->nlines < 0)
			return true;
		for (int i = 0; line >= 0 && i < match->nlines; i++)
			if (match->lines[i] == line)
				return true;
	}
	return false;
}

/* where no line has an amount, what holds for one holds for the document */
static bool
lines_count(LoyaltyClaim *claim)
{
	for (int i = 0; i < claim->nlines; i++)
		if (claim->lines[i].amount != NULL)
			return true;
	return false;
}

/*
 * Find the lines that a rule which looks at lines holds for.
 */
static void
match_lines(LoyaltyRuleBook *book, LoyaltyQuestion *q, LoyaltyRuleCode *code, List *matches, LoyaltyMatch *match)
{
	int			n = Max(q->claim->nlines, 1);
	bool		provisos = needs_proviso(code->condition);

	match->lines = palloc(sizeof(int) * n);
	if (provisos)
		match->provisos = palloc0(sizeof(char *) * n);
	for (int i = 0; i < n; i++)
	{
		if (taken(matches, code->rule, i))
			continue;
		fill_line(book, q, q->claim->nlines == 0 ? NULL : &q->claim->lines[i]);
		if (!holds(code, book))
			continue;
		if (provisos)
			match->provisos[match->nlines] = proviso_of(book, code->condition);
		match->lines[match->nlines++] = i;
	}
}

static int
int_of(JsonbValue *v)
{
	return DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(v->val.numeric)));
}

static LoyaltyMatch *
match_of(List *matches, LoyaltyRule *rule)
{
	ListCell   *lc;

	foreach(lc, matches)
		if (((LoyaltyMatch *) lfirst(lc))->rule == rule)
			return lfirst(lc);
	return NULL;
}

static bool
asks_history(LoyaltyRuleCode *code)
{
	return code->condition != NULL && code->condition->uses_history;
}

/*
 * The rules that hold for a document (of LoyaltyMatch *), highest priority
 * first.  A return that is linked to no sale takes what goods would have
 * earned: no bonus is asked for.
 *
 * With as_of, only rules that ask for earlier purchases, and were in force
 * then, are asked again; of all others what was found then is kept.
 */
List *
loyalty_match_rules(LoyaltyRuleBook *book, LoyaltyQuestion *q, List *kept, TimestampTz as_of)
{
	List	   *matches = NIL;
	ListCell   *lc;
	bool		filled = false;
	bool		is_return = loyalty_num_sign(q->claim->gross) < 0;

	for (int i = 0; i < book->ncodes; i++)
	{
		LoyaltyRuleCode *code = &book->codes[i];
		LoyaltyRule *rule = code->rule;
		LoyaltyMatch *match;

		if (as_of != 0 && !(asks_history(code) && rule->changed_at <= as_of))
		{
			match = match_of(kept, rule);
			if (match != NULL)
				matches = lappend(matches, match);
			continue;
		}
		if (q->facts->date < rule->valid_from || q->facts->date > rule->valid_to || code->elsewhere ||
			(is_return && (rule->kind == RULE_BONUS || rule->kind == RULE_CAP)))
			continue;
		if (code->error != NULL)
		{
			if (!book->program->park_broken)
				continue;
			ereport(ERROR,
					(errcode(code->error->sqlerrcode),
					 errmsg("rule \"%s\" does not compile: %s", rule->name, code->error->message),
					 errhint("Correct it with loyalty.set_rule(), or end it with loyalty.end_rule().")));
		}
		if (code->condition != NULL && !filled)
		{
			fill_document(book, q);
			fill_member(book, q);
			fill_invoice(book, q->facts);
			filled = true;
		}
		match = palloc0(sizeof(LoyaltyMatch));
		match->rule = rule;
		if (code->condition != NULL && code->condition->uses_line)
		{
			match_lines(book, q, code, matches, match);
			if (match->nlines == 0)
				continue;
			if (!lines_count(q->claim))
				match->nlines = -1;
		}
		else
		{
			char	   *proviso;

			match->nlines = -1;
			if (taken(matches, rule, -1) || (code->condition != NULL && !holds(code, book)))
				continue;
			proviso = code->condition != NULL ? proviso_of(book, code->condition) : NULL;
			if (proviso != NULL)
			{
				match->provisos = palloc(sizeof(char *));
				match->provisos[0] = proviso;
			}
		}
		matches = lappend(matches, match);
	}
	/* and what held of rules that are not in force any more */
	foreach(lc, kept)
		if (as_of != 0 && !((LoyaltyMatch *) lfirst(lc))->rule->current)
			matches = lappend(matches, lfirst(lc));
	return matches;
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

/* ----------------------------------------------------------------
 *		what rules with caps gave
 * ----------------------------------------------------------------
 */

List *
loyalty_given(List *matches)
{
	List	   *list = NIL;
	ListCell   *lc;

	foreach(lc, matches)
	{
		LoyaltyMatch *match = lfirst(lc);
		LoyaltyGiven *given;

		if (!match->rule->capped || match->given == 0)
			continue;
		given = palloc(sizeof(LoyaltyGiven));
		given->rule = match->rule->name;
		given->points = match->given;
		list = lappend(list, given);
	}
	return list;
}

List *
loyalty_given_of_matches(LoyaltyProgram *program, Jsonb *frozen)
{
	List	   *list = NIL;

	for (int i = 0; i < (int) JB_ROOT_COUNT(frozen); i++)
	{
		JsonbValue *object = getIthJsonbValueFromContainer(&frozen->root, i);
		JsonbValue *v = getKeyJsonValueFromContainer(object->val.binary.data, "given", 5, NULL);
		LoyaltyGiven *given;

		if (v == NULL)
			continue;
		given = palloc(sizeof(LoyaltyGiven));
		given->points = loyalty_points_from_numeric(v->val.numeric);
		given->rule = loyalty_rule_by_id(program, int_of(getKeyJsonValueFromContainer(object->val.binary.data, "rule", 4, NULL)))->name;
		list = lappend(list, given);
	}
	return list;
}

List *
loyalty_copy_given(List *given)
{
	List	   *copy = NIL;
	ListCell   *lc;

	foreach(lc, given)
	{
		LoyaltyGiven *g = palloc(sizeof(LoyaltyGiven));

		*g = *(LoyaltyGiven *) lfirst(lc);
		copy = lappend(copy, g);
	}
	return copy;
}

bool
loyalty_same_given(List *a, List *b)
{
	ListCell   *x;
	ListCell   *y;

	if (list_length(a) != list_length(b))
		return false;
	forboth(x, a, y, b)
	{
		LoyaltyGiven *g = lfirst(x);
		LoyaltyGiven *h = lfirst(y);

		if (g->points != h->points || strcmp(g->rule, h->rule) != 0)
			return false;
	}
	return true;
}

/* ----------------------------------------------------------------
 *		frozen: document.rules, and where that does not say it all
 *		document.matches, an array of {rule, lines, while, allowed, given}
 * ----------------------------------------------------------------
 */

static void
push_key(JsonbParseState **state, const char *name)
{
	JsonbValue	v;

	v.type = jbvString;
	v.val.string.val = unconstify(char *, name);
	v.val.string.len = strlen(name);
	(void) pushJsonbValue(state, WJB_KEY, &v);
}

static void
push_int(JsonbParseState **state, JsonbIteratorToken token, int value)
{
	JsonbValue	v;

	v.type = jbvNumeric;
	v.val.numeric = loyalty_num_int(value);
	(void) pushJsonbValue(state, token, &v);
}

static void
push_text(JsonbParseState **state, const char *text)
{
	JsonbValue	v;

	if (text == NULL)
		v.type = jbvNull;
	else
	{
		v.type = jbvString;
		v.val.string.val = unconstify(char *, text);
		v.val.string.len = strlen(text);
	}
	(void) pushJsonbValue(state, WJB_ELEM, &v);
}

static void
push_points(JsonbParseState **state, const char *name, Points points)
{
	JsonbValue	v;

	push_key(state, name);
	v.type = jbvNumeric;
	v.val.numeric = loyalty_num_trim(loyalty_points_numeric(points));
	(void) pushJsonbValue(state, WJB_VALUE, &v);
}

/*
 * NULL if all hold for the whole document whatever is left of it: then the
 * rules say it all.
 */
Jsonb *
loyalty_freeze_matches(List *matches)
{
	JsonbParseState *state = NULL;
	bool		any = false;
	ListCell   *lc;

	foreach(lc, matches)
	{
		LoyaltyMatch *match = lfirst(lc);
		int			n = Max(match->nlines, 1);

		if (match->nlines < 0 && match->provisos == NULL && !match->limited)
			continue;
		if (!any)
			(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
		any = true;
		(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		push_key(&state, "rule");
		push_int(&state, WJB_VALUE, match->rule->id);
		if (match->nlines >= 0)
		{
			push_key(&state, "lines");
			(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
			for (int i = 0; i < match->nlines; i++)
				push_int(&state, WJB_ELEM, match->lines[i]);
			(void) pushJsonbValue(&state, WJB_END_ARRAY, NULL);
		}
		if (match->provisos != NULL)
		{
			push_key(&state, "while");
			(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
			for (int i = 0; i < n; i++)
				push_text(&state, match->provisos[i]);
			(void) pushJsonbValue(&state, WJB_END_ARRAY, NULL);
		}
		if (match->limited)
		{
			push_points(&state, "allowed", match->allowed);
			push_points(&state, "given", match->given);
		}
		(void) pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	return any ? JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL)) : NULL;
}

static JsonbContainer *
array_of(JsonbValue *object, const char *name, int *n)
{
	JsonbValue *v = getKeyJsonValueFromContainer(object->val.binary.data, name, strlen(name), NULL);

	*n = -1;
	if (v == NULL || v->type != jbvBinary)
		return NULL;
	*n = JsonContainerSize(v->val.binary.data);
	return v->val.binary.data;
}

/*
 * The other way round.
 */
List *
loyalty_matches_of_rules(LoyaltyProgram *program, int32 *rules, int nrules, Jsonb *frozen)
{
	List	   *matches = NIL;
	ListCell   *lc;

	for (int i = 0; i < nrules; i++)
	{
		LoyaltyMatch *match = palloc0(sizeof(LoyaltyMatch));

		match->rule = loyalty_rule_by_id(program, rules[i]);
		match->nlines = -1;
		matches = lappend(matches, match);
	}
	for (int i = 0; frozen != NULL && i < (int) JB_ROOT_COUNT(frozen); i++)
	{
		JsonbValue *object = getIthJsonbValueFromContainer(&frozen->root, i);
		int			id = int_of(getKeyJsonValueFromContainer(object->val.binary.data, "rule", 4, NULL));
		JsonbContainer *array;
		JsonbValue *limit;
		int			n;

		foreach(lc, matches)
		{
			LoyaltyMatch *match = lfirst(lc);

			if (match->rule->id != id)
				continue;
			array = array_of(object, "lines", &n);
			if (array != NULL)
			{
				match->nlines = n;
				match->lines = palloc(sizeof(int) * Max(n, 1));
				for (int l = 0; l < n; l++)
					match->lines[l] = int_of(getIthJsonbValueFromContainer(array, l));
			}
			limit = getKeyJsonValueFromContainer(object->val.binary.data, "allowed", 7, NULL);
			if (limit != NULL)
			{
				match->limited = true;
				match->allowed = loyalty_points_from_numeric(limit->val.numeric);
				limit = getKeyJsonValueFromContainer(object->val.binary.data, "given", 5, NULL);
				match->given = loyalty_points_from_numeric(limit->val.numeric);
			}
			array = array_of(object, "while", &n);
			if (array != NULL)
			{
				match->provisos = palloc0(sizeof(char *) * Max(n, 1));
				for (int l = 0; l < n; l++)
				{
					JsonbValue *v = getIthJsonbValueFromContainer(array, l);

					if (v->type == jbvString)
						match->provisos[l] = pnstrdup(v->val.string.val, v->val.string.len);
				}
			}
		}
	}
	return matches;
}

/*
 * Is a proviso true of what is left?  NULL is no proviso.
 */
bool
loyalty_proviso_holds(LoyaltyProgram *program, const char *proviso, LoyaltyRational gross, LoyaltyBasis *basis)
{
	LoyaltySpaces *spaces;
	LoyaltyCondition *condition;
	LoyaltyRow	rows[LOYALTY_NSPACES] = {{NULL, NULL}};
	Datum		document[IN_DOCUMENT_NFIELDS] = {0};
	bool		document_nulls[IN_DOCUMENT_NFIELDS];
	Datum		line[IN_LINE_NFIELDS] = {0};
	bool		line_nulls[IN_LINE_NFIELDS];

	if (proviso == NULL)
		return true;
	memset(document_nulls, true, sizeof(document_nulls));
	memset(line_nulls, true, sizeof(line_nulls));
	rows[SPACE_DOCUMENT].values = document;
	rows[SPACE_DOCUMENT].nulls = document_nulls;
	rows[SPACE_LINE].values = line;
	rows[SPACE_LINE].nulls = line_nulls;
	put_numeric(&rows[SPACE_DOCUMENT], IN_DOCUMENT_AMOUNT, loyalty_rational_numeric(gross, 6));
	put_numeric(&rows[SPACE_LINE], IN_LINE_AMOUNT, loyalty_rational_numeric(basis->value, 6));
	put_numeric(&rows[SPACE_LINE], IN_LINE_QTY,
				basis->qty.num == NULL ? NULL : loyalty_rational_numeric(basis->qty, 6));
	spaces = loyalty_spaces(program->time_zone, InvalidOid, InvalidOid, false);
	condition = loyalty_condition_compile(proviso, spaces, BOOLOID, "proviso");
	return loyalty_condition_true(condition, rows);
}
