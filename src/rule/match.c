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

#include "rule/condition.h"
#include "rule/match.h"

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
proviso_of(LoyaltyCondition *condition, LoyaltyRow *rows)
{
	Bitmapset  *open[LOYALTY_NSPACES] = {NULL};

	if (!needs_proviso(condition))
		return NULL;
	open[SPACE_DOCUMENT] = bms_make_singleton(IN_DOCUMENT_AMOUNT);
	open[SPACE_LINE] = bms_add_member(bms_make_singleton(IN_LINE_AMOUNT), IN_LINE_QTY);
	return loyalty_condition_residual(condition, rows, open);
}

static void
rule_context(void *arg)
{
	errcontext(LOYALTY_RULE_CONTEXT " \"%s\"", (char *) arg);
}

static bool
holds(LoyaltyRuleCode *code, LoyaltyRow *rows)
{
	ErrorContextCallback callback;
	bool		result;

	callback.callback = rule_context;
	callback.arg = code->rule->name;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	result = loyalty_condition_true(code->condition, rows);
	error_context_stack = callback.previous;
	return result;
}

/*
 * Does a rule of the same exclusive group that came before it hold for a line,
 * or (-1) the document, for good?  One that depends on what is left, or on what
 * was bought before, may give way later: the award decides between those.
 */
static bool
taken(List *matches, LoyaltyRule *rule, int line)
{
	ListCell   *lc;

	if (rule->exclusive_group == NULL)
		return false;
	foreach(lc, matches)
	{
		LoyaltyMatch *match = lfirst(lc);

		if (match->rule->exclusive_group == NULL || match->rule->asks_history ||
			strcmp(match->rule->exclusive_group, rule->exclusive_group) != 0)
			continue;
		/* one for the document takes it all, and is not taken by single lines */
		if (match->nlines < 0 && match->provisos == NULL)
			return true;
		for (int i = 0; line >= 0 && i < match->nlines; i++)
			if (match->lines[i] == line && (match->provisos == NULL || match->provisos[i] == NULL))
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
 * A rule that looks at lines: the match of those it holds for, NULL if none.
 */
static LoyaltyMatch *
match_lines(LoyaltyRuleBook *book, LoyaltyQuestion *q, LoyaltyRuleCode *code, List *matches, LoyaltyRow *lines)
{
	int			n = Max(q->claim->nlines, 1);
	LoyaltyMatch *match = NULL;
	LoyaltyRow	rows[LOYALTY_NSPACES];

	memcpy(rows, book->rows, sizeof(rows));
	for (int i = 0; i < n; i++)
	{
		rows[SPACE_LINE] = lines[i];
		if (taken(matches, code->rule, i) || !holds(code, rows))
			continue;
		if (match == NULL)
		{
			match = palloc0(sizeof(LoyaltyMatch));
			match->rule = code->rule;
			match->lines = palloc(sizeof(int) * n);
			if (needs_proviso(code->condition))
				match->provisos = palloc0(sizeof(char *) * n);
		}
		if (match->provisos != NULL)
			match->provisos[match->nlines] = proviso_of(code->condition, rows);
		match->lines[match->nlines++] = i;
	}
	if (match != NULL && !lines_count(q->claim))
		match->nlines = -1;
	return match;
}

/*
 * A rule for the document; NULL if it does not hold.
 */
static LoyaltyMatch *
match_document(LoyaltyRuleBook *book, LoyaltyRuleCode *code, List *matches)
{
	LoyaltyMatch *match;
	char	   *proviso;

	if (taken(matches, code->rule, -1) || (code->condition != NULL && !holds(code, book->rows)))
		return NULL;
	match = palloc0(sizeof(LoyaltyMatch));
	match->rule = code->rule;
	match->nlines = -1;
	proviso = code->condition != NULL ? proviso_of(code->condition, book->rows) : NULL;
	if (proviso != NULL)
	{
		match->provisos = palloc(sizeof(char *));
		match->provisos[0] = proviso;
	}
	return match;
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
 * With as_of, only rules that ask for earlier purchases are asked again, in the
 * versions that were in force then, unless the rule has ended since; of all
 * others what was found then is kept.
 */
List *
loyalty_match_rules(LoyaltyRuleBook *book, LoyaltyQuestion *q, List *kept, TimestampTz as_of)
{
	List	   *matches = NIL;
	ListCell   *lc;
	bool		filled = false;
	LoyaltyRow *lines = NULL;
	bool		is_return = loyalty_num_sign(q->claim->gross) < 0;

	for (int i = 0; i < book->ncodes; i++)
	{
		LoyaltyRuleCode *code = &book->codes[i];
		LoyaltyRule *rule = code->rule;
		LoyaltyMatch *match;

		if (as_of == 0 ? !rule->current : !asks_history(code))
		{
			match = match_of(kept, rule);
			if (match != NULL)
				matches = lappend(matches, match);
			continue;
		}
		if (as_of == 0 ? q->facts->date < rule->valid_from || q->facts->date > rule->valid_to :
			!loyalty_rule_was_in_force(book->program, rule, q->facts->date, as_of))
			continue;
		if (code->elsewhere ||
			(is_return && (rule->kind == RULE_BONUS || rule->kind == RULE_CAP)) ||
			(rule->event != NULL && strcmp(rule->event, q->facts->event->kind) != 0))
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
			loyalty_fill_rows(book, q);
			filled = true;
		}
		if (code->condition != NULL && code->condition->uses_line)
		{
			if (lines == NULL)
				lines = loyalty_fill_lines(book, q);
			match = match_lines(book, q, code, matches, lines);
		}
		else
			match = match_document(book, code, matches);
		if (match != NULL)
			matches = lappend(matches, match);
	}
	/* and what held of rules that are in the book no more */
	foreach(lc, kept)
		if (as_of != 0 && !loyalty_rule_is_in_book(((LoyaltyMatch *) lfirst(lc))->rule))
			matches = lappend(matches, lfirst(lc));
	return matches;
}

/* fill in one column of a row; a number that is NULL is NULL there too */
static void
give(LoyaltyRow *row, int column, Numeric number)
{
	row->nulls[column] = number == NULL;
	row->values[column] = NumericGetDatum(number);
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
	give(&rows[SPACE_DOCUMENT], IN_DOCUMENT_AMOUNT, loyalty_rational_numeric(gross, 6));
	give(&rows[SPACE_LINE], IN_LINE_AMOUNT, loyalty_rational_numeric(basis->value, 6));
	give(&rows[SPACE_LINE], IN_LINE_QTY,
		 basis->qty.num == NULL ? NULL : loyalty_rational_numeric(basis->qty, 6));
	spaces = loyalty_spaces(program->time_zone, InvalidOid, InvalidOid, false);
	condition = loyalty_condition_compile(proviso, spaces, BOOLOID, "proviso");
	return loyalty_condition_true(condition, rows);
}
