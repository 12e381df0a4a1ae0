/*
 * condition.c
 *	  From the text of a condition to something that runs, and running it.
 *
 * PostgreSQL's own parser reads the text; names are looked up by us, in the
 * name spaces that the expression may see, everything else in pg_catalog.
 * What comes out is vetted (vet.c) before any of it is evaluated, its
 * constants are folded, and its columns are renumbered to those of a slot that
 * holds just the values it looks at.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/ruleutils.h"
#include "utils/varlena.h"

#include "config.h"
#include "rule/condition.h"
#include "source/source.h"

PG_FUNCTION_INFO_V1(loyalty_check_condition);
PG_FUNCTION_INFO_V1(loyalty_check_reward_condition);

/* longest expression, in bytes */
#define MAX_TEXT 4000

typedef struct Place
{
	const char *text;
	const char *what;
} Place;

/*
 * Error context: point into the user's text.
 */
static void
point_into_condition(void *arg)
{
	Place	   *place = arg;
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(place->text);
	}
	errcontext("%s", place->what);
}

/* names of the spaces there are, for hints: "line, document and member" */
static char *
space_names(LoyaltySpaces *spaces)
{
	StringInfoData buf;
	int			left = 0;

	initStringInfo(&buf);
	for (int i = 0; i < LOYALTY_NSPACES; i++)
		left += spaces->present[i];
	for (int i = 0; i < LOYALTY_NSPACES; i++)
		if (spaces->present[i])
		{
			left--;
			appendStringInfo(&buf, "%s%s", loyalty_space_name(i),
							 left > 1 ? ", " : left == 1 ? " and " : "");
		}
	return buf.data;
}

/* the column whose name is most like this one, or NULL */
static const char *
similar_column(LoyaltySpaces *spaces, LoyaltySpace space, const char *name)
{
	const char *found = NULL;
	int			best = Min(3, (int) strlen(name) / 2) + 1;

	for (int i = 0; i < spaces->ncolumns[space]; i++)
	{
		const char *other = spaces->columns[space][i].name;
		int			distance = varstr_levenshtein_less_equal(name, strlen(name), other, strlen(other),
															 1, 1, 1, best, true);

		if (distance < best)
		{
			best = distance;
			found = other;
		}
	}
	return found;
}

/* a name without a space before it: what could have been meant? */
static void
refuse_bare_name(ParseState *pstate, LoyaltySpaces *spaces, const char *name, int location)
{
	int			known = -1;

	for (int i = 0; i < LOYALTY_NSPACES; i++)
	{
		if (!spaces->present[i])
			continue;
		if (strcmp(name, loyalty_space_name(i)) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("\"%s\" as a whole cannot be used in a condition", name),
					 errhint("Name one of its columns: %s.%s.", name, spaces->columns[i][0].name),
					 parser_errposition(pstate, location)));
		if (known < 0 && loyalty_space_column(spaces, i, name) >= 0)
			known = i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" does not exist", name),
			 known >= 0 ? errhint("Write %s.%s.", loyalty_space_name(known), quote_identifier(name)) :
			 errhint("Columns are written with what they belong to (%s), text in single quotes: '%s'.",
					 space_names(spaces), name),
			 parser_errposition(pstate, location)));
}

static LoyaltySpace
find_space(ParseState *pstate, LoyaltySpaces *spaces, const char *name, int location)
{
	for (int i = 0; i < LOYALTY_NSPACES; i++)
	{
		if (strcmp(name, loyalty_space_name(i)) != 0)
			continue;
		if (spaces->present[i])
			return i;
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("there is no \"%s\" here", name),
				 i == SPACE_EVENT ? errhint("Only rules on events see one.") :
				 spaces->present[SPACE_EVENT] ? errhint("A rule on events sees %s.", space_names(spaces)) :
				 !spaces->present[SPACE_DOCUMENT] ? errhint("The condition of a reward sees %s.", space_names(spaces)) :
				 errhint("Its columns are those of a source's table: make the rule one for that source. Every rule sees %s.",
						 space_names(spaces)),
				 parser_errposition(pstate, location)));
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("there is no \"%s\" in a condition", name),
			 errhint("A condition sees %s.", space_names(spaces)),
			 parser_errposition(pstate, location)));
}

/*
 * Parser hook: what a name means.  Column c (from 0) of space s (from 0)
 * becomes the Var (s + 1, c + 1).
 */
static Node *
resolve_column(ParseState *pstate, ColumnRef *cref)
{
	LoyaltySpaces *spaces = pstate->p_ref_hook_state;
	LoyaltySpace space;
	const char *name;
	LoyaltySpaceColumn *column;
	int			number;
	Var		   *var;

	if (list_length(cref->fields) == 1)
		refuse_bare_name(pstate, spaces, strVal(linitial(cref->fields)), cref->location);
	space = find_space(pstate, spaces, strVal(linitial(cref->fields)), cref->location);
	name = strVal(lsecond(cref->fields));
	number = list_length(cref->fields) == 2 ? loyalty_space_column(spaces, space, name) : -1;
	if (number < 0)
	{
		const char *similar = similar_column(spaces, space, name);

		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column %s does not exist", NameListToString(cref->fields)),
				 similar && list_length(cref->fields) == 2 ?
				 errhint("Perhaps you meant %s.%s.", loyalty_space_name(space), quote_identifier(similar)) :
				 errhint("loyalty.condition_columns() lists the columns."),
				 parser_errposition(pstate, cref->location)));
	}

	column = &spaces->columns[space][number];
	if (column->generated)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column %s is generated when it is read", NameListToString(cref->fields)),
				 errhint("Write the expression it is generated from, or make it STORED."),
				 parser_errposition(pstate, cref->location)));
	if (column->of_document)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column %s is known only while a document is read", NameListToString(cref->fields)),
				 spaces->present[SPACE_EVENT] ?
				 errhint("What a rule must know can be recorded with the event: event.attributes.") :
				 errhint("The condition of a reward sees the member's tier, segment, enrolment and purchases."),
				 parser_errposition(pstate, cref->location)));
	if (column->of_reward)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column %s can be used for rewards only", NameListToString(cref->fields)),
				 errdetail("It changes whenever scores are refreshed, but a document must earn the same whenever it is evaluated."),
				 errhint("Compare figures of the day instead, such as member.purchase_count or member.days_since_last_purchase."),
				 parser_errposition(pstate, cref->location)));
	if (!loyalty_usable_type(column->type))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column %s is of type %s, which conditions cannot use",
						NameListToString(cref->fields), format_type_be(column->type)),
				 errhint("Conditions use numbers, text, dates, times, boolean, uuid, json, enums, and arrays of them."),
				 parser_errposition(pstate, cref->location)));
	var = makeVar(space + 1, number + 1, column->type, column->typmod, column->collation, 0);
	var->location = cref->location;
	return (Node *) var;
}

/*
 * The raw tree of the text, which must be one expression and nothing else.
 */
static Node *
parse(ParseState *pstate, const char *text)
{
	SelectStmt *select;
	SelectStmt *bare = makeNode(SelectStmt);

	if (strlen(text) > MAX_TEXT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a condition can have at most %d bytes", MAX_TEXT),
				 errdetail("This one has %zu.", strlen(text)),
				 errhint("Compare with a category instead of listing its products.")));
	select = (SelectStmt *) linitial_node(RawStmt, raw_parser(text, RAW_PARSE_PLPGSQL_EXPR))->stmt;
	if (select->targetList == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("the condition is empty"),
				 errhint("Leave it out (NULL) for one that always holds.")));
	/* no FROM, no WHERE, no DISTINCT, no alias, whatever else there may be */
	bare->targetList = list_make1(makeNode(ResTarget));
	linitial_node(ResTarget, bare->targetList)->val = linitial_node(ResTarget, select->targetList)->val;
	if (!equal(select, bare))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("a condition must be a single SQL expression"),
				 errhint("Combine conditions with AND and OR."),
				 parser_errposition(pstate, 0)));
	return linitial_node(ResTarget, select->targetList)->val;
}

/*
 * Make it the wanted type; no text that looks like a number.
 */
static Node *
coerce(ParseState *pstate, Node *expr, Oid wanted)
{
	Oid			type = exprType(expr);
	Node	   *result = NULL;

	if (type == UNKNOWNOID || type == wanted ||
		(wanted == NUMERICOID && TypeCategory(type) == TYPCATEGORY_NUMERIC))
		result = coerce_to_target_type(pstate, expr, type, wanted, -1,
									   COERCION_ASSIGNMENT, COERCE_IMPLICIT_CAST, -1);
	if (result == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 wanted == BOOLOID ? errmsg("a condition must be true or false, not %s", format_type_be(type)) :
				 errmsg("an amount must be a number, not %s", format_type_be(type)),
				 wanted == BOOLOID ? errhint("Compare it with something: line.qty > 0.") :
				 errhint("Write the conversion into the expression."),
				 parser_errposition(pstate, exprLocation(expr))));
	return result;
}

/*
 * The expression as PostgreSQL writes it: spaces stand where a plan has tables.
 */
static char *
deparse(LoyaltySpaces *spaces, Node *expr)
{
	PlannedStmt *stmt = makeNode(PlannedStmt);
	List	   *names = NIL;

	for (int i = 0; i < LOYALTY_NSPACES; i++)
	{
		RangeTblEntry *rte = makeNode(RangeTblEntry);
		List	   *columns = NIL;

		for (int c = 0; c < spaces->ncolumns[i]; c++)
			columns = lappend(columns, makeString(pstrdup(spaces->columns[i][c].name)));
		rte->rtekind = RTE_NAMEDTUPLESTORE;
		rte->eref = makeAlias(loyalty_space_name(i), columns);
		stmt->rtable = lappend(stmt->rtable, rte);
		names = lappend(names, pstrdup(loyalty_space_name(i)));
	}
	return deparse_expression(expr, deparse_context_for_plan_tree(stmt, names), true, false);
}

/* renumber columns to those of the slot; notes which there are */
static Node *
place_columns(Node *node, LoyaltyCondition *condition)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		int			i;

		for (i = 0; i < condition->nused; i++)
			if (condition->used[i].space == var->varno - 1 && condition->used[i].column == var->varattno - 1)
				break;
		if (i == condition->nused)
		{
			condition->used = condition->nused == 0 ? palloc(sizeof(*condition->used)) :
				repalloc(condition->used, sizeof(*condition->used) * (i + 1));
			condition->used[i].space = var->varno - 1;
			condition->used[i].column = var->varattno - 1;
			condition->nused++;
		}
		var = copyObject(var);
		var->varno = 1;
		var->varattno = i + 1;
		return (Node *) var;
	}
	return expression_tree_mutator(node, place_columns, condition);
}

/* make it ready to run, in the current memory context */
static void
prepare(LoyaltyCondition *condition)
{
	Node	   *tree = place_columns((Node *) condition->tree, condition);
	TupleDesc	desc = CreateTemplateTupleDesc(condition->nused);

	for (int i = 0; i < condition->nused; i++)
	{
		LoyaltySpace space = condition->used[i].space;
		int			number = condition->used[i].column;
		LoyaltySpaceColumn *column = &condition->spaces->columns[space][number];

		TupleDescInitEntry(desc, i + 1, NULL, column->type, column->typmod, 0);
		condition->uses[space] = bms_add_member(condition->uses[space], number);
		if (space == SPACE_LINE)
			condition->uses_line = true;
		if (space == SPACE_MEMBER && number >= IN_MEMBER_PURCHASE_COUNT && number <= IN_MEMBER_CYCLE_DAYS)
			condition->uses_history = true;
	}
	condition->slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	condition->state = ExecInitExpr((Expr *) tree, NULL);
}

/*
 * Compile an expression of marketing's: a condition (BOOLOID) or an amount
 * (NUMERICOID).  "what" names it in error messages, such as: rule "double".
 * The result is made in the current memory context and needs its spaces.
 * Settings that were pinned meanwhile are put back by whoever ends the
 * transaction that an error aborts.
 */
LoyaltyCondition *
loyalty_condition_compile(const char *text, LoyaltySpaces *spaces, Oid result_type, const char *what)
{
	LoyaltyCondition *condition = palloc0(sizeof(LoyaltyCondition));
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "loyalty condition",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext context;
	ErrorContextCallback callback;
	Place		place;
	ParseState *pstate;
	List	   *literals;
	Node	   *expr;
	char	   *normal;
	int			nest;

	condition->text = pstrdup(text);
	condition->type = result_type;
	condition->spaces = spaces;

	place.text = condition->text;
	place.what = what;
	callback.callback = point_into_condition;
	callback.arg = &place;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	nest = loyalty_pin_settings("pg_catalog", spaces->time_zone);
	loyalty_pin_parser();
	context = MemoryContextSwitchTo(work);

	pstate = make_parsestate(NULL);
	pstate->p_sourcetext = condition->text;
	pstate->p_pre_columnref_hook = resolve_column;
	pstate->p_ref_hook_state = spaces;
	expr = parse(pstate, condition->text);
	literals = loyalty_vet_raw(pstate, expr);
	expr = transformExpr(pstate, expr, EXPR_KIND_OTHER);
	expr = coerce(pstate, expr, result_type);
	assign_expr_collations(pstate, expr);
	loyalty_vet_tree(pstate, expr, literals);
	normal = deparse(spaces, expr);
	expr = (Node *) expression_planner((Expr *) expr);
	loyalty_vet_folded(pstate, expr);

	MemoryContextSwitchTo(context);
	condition->normal = pstrdup(normal);
	condition->tree = copyObject((Expr *) expr);
	prepare(condition);
	free_parsestate(pstate);
	MemoryContextDelete(work);
	loyalty_unpin_settings(nest);
	error_context_stack = callback.previous;
	return condition;
}

/*
 * Evaluate it against a row of each space it uses.  The result lives until
 * the next evaluation of anything that was compiled for the same spaces.
 */
Datum
loyalty_condition_value(LoyaltyCondition *condition, LoyaltyRow *rows, bool *isnull)
{
	ExprContext *econtext = condition->spaces->econtext;
	TupleTableSlot *slot = condition->slot;

	ExecClearTuple(slot);
	for (int i = 0; i < condition->nused; i++)
	{
		LoyaltyRow *row = &rows[condition->used[i].space];

		slot->tts_values[i] = row->values[condition->used[i].column];
		slot->tts_isnull[i] = row->nulls[condition->used[i].column];
	}
	ExecStoreVirtualTuple(slot);
	ResetExprContext(econtext);
	econtext->ecxt_scantuple = slot;
	return ExecEvalExprSwitchContext(condition->state, econtext, isnull);
}

/*
 * Does the condition hold?  NULL is no.
 */
bool
loyalty_condition_true(LoyaltyCondition *condition, LoyaltyRow *rows)
{
	bool		isnull;
	Datum		value = loyalty_condition_value(condition, rows, &isnull);

	Assert(condition->type == BOOLOID);
	return !isnull && DatumGetBool(value);
}

/* what is known already, and what is still open */
typedef struct Known
{
	LoyaltyCondition *condition;
	LoyaltyRow *rows;
	Bitmapset **open;
} Known;

static Node *
fill_in(Node *node, Known *known)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		int			space = var->varno - 1;
		int			column = var->varattno - 1;
		int16		length;
		bool		by_value;

		if (bms_is_member(column, known->open[space]))
			return copyObject(node);
		get_typlenbyval(var->vartype, &length, &by_value);
		return (Node *) makeConst(var->vartype, var->vartypmod, var->varcollid, length,
								  known->rows[space].values[column], known->rows[space].nulls[column], by_value);
	}
	return expression_tree_mutator(node, fill_in, known);
}

/*
 * What is left of a condition that holds for these rows once all columns but
 * the open ones (sets of column numbers, one per space) are filled in: text
 * that can be compiled again, NULL if it holds whatever they become.
 */
char *
loyalty_condition_residual(LoyaltyCondition *condition, LoyaltyRow *rows, Bitmapset **open)
{
	Known		known = {condition, rows, open};
	Node	   *rest = eval_const_expressions(NULL, fill_in((Node *) condition->tree, &known));

	if (IsA(rest, Const))
		return NULL;
	return deparse(condition->spaces, rest);
}

/* the errors of the parser itself that say no hint */
static const char *
hint_of(int sqlerrcode)
{
	switch (sqlerrcode)
	{
		case ERRCODE_SYNTAX_ERROR:
			return "A condition is one SQL expression, such as line.category = 'new' AND document.amount > 500.";
		case ERRCODE_INVALID_TEXT_REPRESENTATION:
		case ERRCODE_INVALID_DATETIME_FORMAT:
		case ERRCODE_DATETIME_FIELD_OVERFLOW:
		case ERRCODE_DATATYPE_MISMATCH:
			return "Compare a column with what has its type: 5, 'text', '2024-12-31'. loyalty.condition_columns() lists them.";
		default:
			return "loyalty.condition_columns() lists what a condition can name.";
	}
}

/*
 * Compile a condition for somebody who is writing it: no error is without a hint.
 */
static LoyaltyCondition *
compile_with_hint(const char *text, LoyaltySpaces *spaces)
{
	MemoryContext context = CurrentMemoryContext;
	LoyaltyCondition *volatile condition = NULL;

	PG_TRY();
	{
		condition = loyalty_condition_compile(text, spaces, BOOLOID, "condition");
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		if (error->hint == NULL)
			error->hint = pstrdup(hint_of(error->sqlerrcode));
		ReThrowError(error);
	}
	PG_END_TRY();
	return condition;
}

/*
 * Rules on events can ask for birthdays where somebody has said where they are.
 */
static void
check_birthdays(LoyaltyProgram *program)
{
	LoyaltyIdentity save;
	bool		known;

	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	known = loyalty_knows_birthdays(program);
	SPI_finish();
	loyalty_resume(&save);
	if (!known)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("rules on events do not know the birthdays of members of programme \"%s\"", program->name),
				 errhint("loyalty.set_birthday() says where they are.")));
}

/*
 * check_condition(program, condition, source, event) -> text: compiles it as
 * the engine would; gives it back in normal form.
 */
Datum
loyalty_check_condition(PG_FUNCTION_ARGS)
{
	LoyaltyProgram *program;
	LoyaltySource *source = NULL;
	bool		event = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);
	LoyaltySpaces *spaces;
	LoyaltyCondition *condition;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"program\" must be given")));
	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	loyalty_config_pin();
	program = loyalty_program_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (!PG_ARGISNULL(2))
		source = loyalty_source_by_name(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	if (source != NULL && event)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a rule on events has no source"),
				 errhint("Leave out either the source or event => true.")));
	spaces = loyalty_spaces(program->time_zone, source ? source->header : InvalidOid,
							source ? source->lines : InvalidOid, event);
	condition = compile_with_hint(text_to_cstring(PG_GETARG_TEXT_PP(1)), spaces);
	if (event && (bms_is_member(IN_MEMBER_BIRTHDAY, condition->uses[SPACE_MEMBER]) ||
				  bms_is_member(IN_MEMBER_DAYS_TO_BIRTHDAY, condition->uses[SPACE_MEMBER])))
		check_birthdays(program);
	loyalty_config_unpin();
	PG_RETURN_TEXT_P(cstring_to_text(condition->normal));
}

/*
 * check_reward_condition(program, condition) -> text: the same for the
 * condition of a reward, which sees only the member.
 */
Datum
loyalty_check_reward_condition(PG_FUNCTION_ARGS)
{
	LoyaltyProgram *program = loyalty_program_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	char	   *condition = text_to_cstring(PG_GETARG_TEXT_PP(1));

	PG_RETURN_TEXT_P(cstring_to_text(loyalty_condition_compile(condition, loyalty_member_spaces(program->time_zone),
															   BOOLOID, "condition")->normal));
}
