/*
 * book.c
 *	  The rules of a programme, compiled for the documents of one source.
 *
 * A condition is compiled against the source's own tables.  One that does not
 * compile any more (a column was dropped) keeps its error: its rule is skipped
 * or parks documents, as the programme says, but never fails an ERP.  One that
 * was written for all sources and names a column of another source's table is
 * not for this one.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "config.h"
#include "rule/condition.h"
#include "rule/rule.h"
#include "source/source.h"

typedef struct Compilation
{
	LoyaltyRule *rule;
	LoyaltySpaces *spaces;
	LoyaltyCondition *condition;
} Compilation;

static void
compile_it(void *arg)
{
	Compilation *c = arg;

	c->condition = loyalty_condition_compile(c->rule->condition, c->spaces, BOOLOID,
											 psprintf("rule \"%s\"", c->rule->name));
}

/*
 * Compile a condition, in the current memory context.  NULL if it does not
 * compile: then *error says why.
 */
static LoyaltyCondition *
compile(LoyaltyRule *rule, LoyaltySpaces *spaces, ErrorData **error)
{
	Compilation c = {rule, spaces, NULL};

	*error = loyalty_attempt(compile_it, &c, NULL, false);
	return *error == NULL ? c.condition : NULL;
}

/*
 * A rule for all sources names a column that this one does not have: does
 * another source of the programme have it?
 */
static bool
is_for_another(LoyaltyRule *rule, LoyaltyProgram *program, const char *source)
{
	ErrorData  *error;
	ListCell   *lc;

	foreach(lc, loyalty_config()->sources)
	{
		LoyaltySource *s = lfirst(lc);

		if (s->program == program && s->attached && (source == NULL || strcmp(s->name, source) != 0) &&
			compile(rule, loyalty_spaces(program->time_zone, s->header, s->lines, false), &error) != NULL)
			return true;
	}
	return false;
}

/*
 * Is a rule compiled?  Those that are in force, and of those the versions
 * before that ask for earlier purchases: when such a purchase changes, what
 * was priced by them is asked by them again.
 */
bool
loyalty_rule_is_in_book(LoyaltyRule *rule)
{
	return rule->current || (rule->replaced && rule->asks_history);
}

/* a limit on everything, which is for events, too */
static bool
is_for_all(LoyaltyRule *rule)
{
	return rule->kind == RULE_CAP && rule->condition == NULL && rule->source == NULL;
}

/* the same condition, compiled already: versions mostly differ in points */
static LoyaltyRuleCode *
same_condition(LoyaltyRuleBook *book, LoyaltyRule *rule)
{
	for (int i = 0; i < book->ncodes; i++)
		if (book->codes[i].rule->condition != NULL && strcmp(book->codes[i].rule->condition, rule->condition) == 0)
			return &book->codes[i];
	return NULL;
}

static int
compare_priority(const ListCell *a, const ListCell *b)
{
	const LoyaltyRule *x = lfirst(a);
	const LoyaltyRule *y = lfirst(b);

	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

/* the ERP's columns among those that conditions look at */
static int *
foreign_columns(Bitmapset *uses, int nfields, int *n)
{
	int		   *columns = palloc(sizeof(int) * (bms_num_members(uses) + 1));
	int			x = nfields - 1;

	*n = 0;
	while ((x = bms_next_member(uses, x)) >= 0)
		columns[(*n)++] = x;
	return columns;
}

static LoyaltyRuleBook *
compile_rules(LoyaltyProgram *program, const char *source, Oid header, Oid lines, bool events)
{
	LoyaltyRuleBook *book = palloc0(sizeof(LoyaltyRuleBook));
	List	   *rules = NIL;
	ListCell   *lc;

	StaticAssertStmt(LOYALTY_NSPACES <= LOYALTY_MAX_SPACES, "too many name spaces");
	book->program = program;
	foreach(lc, program->rules)
	{
		LoyaltyRule *rule = lfirst(lc);

		if (loyalty_rule_is_in_book(rule) && ((rule->event != NULL) == events || is_for_all(rule)) &&
			(rule->source == NULL || (source != NULL && strcmp(rule->source, source) == 0)))
			rules = lappend(rules, rule);
	}
	list_sort(rules, compare_priority);
	book->codes = palloc0(sizeof(LoyaltyRuleCode) * (list_length(rules) + 1));
	foreach(lc, rules)
	{
		LoyaltyRuleCode *code = &book->codes[book->ncodes];
		LoyaltyRuleCode *same;

		code->rule = lfirst(lc);
		same = code->rule->current || code->rule->condition == NULL ? NULL : same_condition(book, code->rule);
		book->ncodes++;
		if (same != NULL)
			code->condition = same->condition;
		if (code->rule->condition == NULL || code->condition != NULL)
			continue;
		if (book->spaces == NULL)
			book->spaces = loyalty_spaces(program->time_zone, header, lines, events);
		code->condition = compile(code->rule, book->spaces, &code->error);
		if (code->error != NULL && code->rule->source == NULL && !events)
			code->elsewhere = is_for_another(code->rule, program, source);
		for (int space = 0; code->condition != NULL && space < LOYALTY_NSPACES; space++)
			book->uses[space] = bms_add_members(book->uses[space], code->condition->uses[space]);
	}
	if (book->spaces == NULL)
		return book;

	book->rows = palloc0(sizeof(LoyaltyRow) * LOYALTY_NSPACES);
	for (int space = 0; space < LOYALTY_NSPACES; space++)
	{
		int			n = book->spaces->ncolumns[space];

		book->rows[space].values = palloc0(sizeof(Datum) * (n + 1));
		book->rows[space].nulls = palloc(sizeof(bool) * (n + 1));
		memset(book->rows[space].nulls, true, sizeof(bool) * (n + 1));
	}
	book->invoice = foreign_columns(book->uses[SPACE_INVOICE], 0, &book->ninvoice);
	book->line = foreign_columns(book->uses[SPACE_LINE], IN_LINE_NFIELDS, &book->nline);
	return book;
}

/*
 * Compile the rules that are in force for a source, in the current memory
 * context.  header and lines may be InvalidOid: then there is no invoice.
 */
LoyaltyRuleBook *
loyalty_compile_rules(LoyaltyProgram *program, const char *source, Oid header, Oid lines)
{
	return compile_rules(program, source, header, lines, false);
}

/*
 * The same for events, of whatever kind.
 */
LoyaltyRuleBook *
loyalty_compile_event_rules(LoyaltyProgram *program)
{
	return compile_rules(program, NULL, InvalidOid, InvalidOid, true);
}
