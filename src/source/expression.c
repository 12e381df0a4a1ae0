/*
 * expression.c
 *	  From the text of a mapped expression to what the engine knows of it.
 *
 * The text is parsed by PostgreSQL's own parser, as the one column of a
 * SELECT over the row r (and l), and nothing else.  What comes out is checked
 * and described: its type, the columns it looks at, whether it could be
 * evaluated on the row alone, whether it could fail.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/keywords.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "parser/scanner.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "source/source.h"

/* where an error in what we parse belongs in what the user wrote */
typedef struct ErrorPlace
{
	const char *text;			/* the user's expression */
	const char *item;
	const char *source;
	int			prefix;			/* what we put before it, in characters */
} ErrorPlace;

/*
 * Error context: point into the user's text, not into ours.
 */
static void
point_into_expression(void *arg)
{
	ErrorPlace *place = arg;
	int			position = geterrposition();

	if (position > 0)
	{
		int			length = pg_mbstrlen(place->text);

		position = Max(1, Min(position - place->prefix, length + 1));
		errposition(0);
		internalerrposition(position);
		internalerrquery(place->text);
	}
	errcontext("expression \"%s\" of source \"%s\"", place->item, place->source);
}

/*
 * Parse sql, which holds the user's text after prefix characters, as one
 * expression over r (a row of header) and l (a row of lines), where given.
 */
Expr *
loyalty_parse_sql(LoyaltySource *source, LoyaltyItem item, const char *sql, int prefix,
				  Oid header, Oid lines)
{
	char	   *query = psprintf("SELECT %s", sql);
	ErrorContextCallback callback;
	ErrorPlace	place;
	ParseState *pstate;
	List	   *raw;
	SelectStmt *select;
	ResTarget  *target;
	Relation	rels[2] = {NULL, NULL};
	Node	   *expr;

	place.text = source->items[item];
	place.item = loyalty_item_name(item);
	place.source = source->name;
	place.prefix = prefix + strlen("SELECT ");
	callback.callback = point_into_expression;
	callback.arg = &place;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	/* anything might be in there: demand a SELECT of one column, and no more */
	raw = raw_parser(query, RAW_PARSE_DEFAULT);
	select = list_length(raw) == 1 ? (SelectStmt *) linitial_node(RawStmt, raw)->stmt : NULL;
	if (select == NULL || !IsA(select, SelectStmt) ||
		list_length(select->targetList) != 1 ||
		select->distinctClause != NIL || select->intoClause != NULL || select->fromClause != NIL ||
		select->whereClause != NULL || select->groupClause != NIL || select->havingClause != NULL ||
		select->windowClause != NIL || select->valuesLists != NIL || select->sortClause != NIL ||
		select->limitOffset != NULL || select->limitCount != NULL || select->lockingClause != NIL ||
		select->withClause != NULL || select->op != SETOP_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"%s\" is not a single SQL expression", source->items[item])));
	target = linitial_node(ResTarget, select->targetList);
	if (IsA(target->val, ColumnRef) && IsA(llast(((ColumnRef *) target->val)->fields), A_Star))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"%s\" is not a single SQL expression", source->items[item]),
				 errposition(strlen("SELECT ") + prefix + 1)));
	if (target->name != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("an expression cannot have an alias")));

	pstate = make_parsestate(NULL);
	pstate->p_sourcetext = query;
	if (OidIsValid(lines))
	{
		rels[0] = table_open(lines, AccessShareLock);
		addNSItemToQuery(pstate,
						 addRangeTableEntryForRelation(pstate, rels[0], AccessShareLock,
													   makeAlias("l", NIL), false, true),
						 false, true, false);
	}
	if (OidIsValid(header))
	{
		rels[1] = table_open(header, AccessShareLock);
		addNSItemToQuery(pstate,
						 addRangeTableEntryForRelation(pstate, rels[1], AccessShareLock,
													   makeAlias("r", NIL), false, true),
						 false, true, false);
	}

	expr = transformExpr(pstate, target->val, EXPR_KIND_SELECT_TARGET);
	if (pstate->p_hasAggs || pstate->p_hasWindowFuncs || pstate->p_hasTargetSRFs)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("aggregate, window and set-returning functions are not allowed in a mapping"),
				 errhint("Use a sub-select: (SELECT sum(x.amount) FROM ... x WHERE ...)."),
				 errposition(strlen("SELECT ") + prefix + 1)));
	assign_expr_collations(pstate, expr);
	/* an unknown literal is text, as everywhere */
	if (exprType(expr) == UNKNOWNOID)
		expr = coerce_to_common_type(pstate, expr, TEXTOID, "mapping");

	for (int i = 0; i < 2; i++)
	{
		if (rels[i] == NULL)
			continue;
		expr = loyalty_expand_generated(expr, rels[i], rels[0] != NULL ? i + 1 : 1);
		table_close(rels[i], NoLock);
	}
	free_parsestate(pstate);
	error_context_stack = callback.previous;
	return (Expr *) expr;
}

typedef struct Inspection
{
	int			own;			/* range table index of the expression's own table */
	int			header;			/* ... of the header, when that is another */
	int			depth;
	LoyaltyExpression *result;
	bool		fallible;
	bool		foreign_code;
	bool		sublink;
} Inspection;

/* built-in functions that raise no error, whatever they are given */
static bool
is_infallible_function(Oid funcid)
{
	switch (funcid)
	{
		case F_NUMERIC_EQ:
		case F_NUMERIC_NE:
		case F_NUMERIC_LT:
		case F_NUMERIC_LE:
		case F_NUMERIC_GT:
		case F_NUMERIC_GE:
		case F_TRIM_SCALE:
		case F_BPCHAREQ:
		case F_BPCHARNE:
			return true;
		default:
			return get_func_leakproof(funcid);
	}
}

static bool
check_function(Oid funcid, void *context)
{
	Inspection *in = context;

	if (funcid >= FirstNormalObjectId || func_volatile(funcid) != PROVOLATILE_IMMUTABLE)
		in->foreign_code = true;
	if (!is_infallible_function(funcid))
		in->fallible = true;
	return false;
}

static bool
inspect(Node *node, Inspection *in)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		if (var->varlevelsup == in->depth)
		{
			if (var->varno == in->header && in->header != in->own)
				in->result->uses_header = true;
			else if (var->varno == in->own)
			{
				if (var->varattno <= 0)
					in->result->whole_row = true;
				else
					in->result->columns = bms_add_member(in->result->columns, var->varattno);
			}
		}
		return false;
	}
	if (IsA(node, Query))
	{
		bool		result;

		in->sublink = true;
		in->depth++;
		result = query_tree_walker((Query *) node, inspect, in, 0);
		in->depth--;
		return result;
	}
	switch (nodeTag(node))
	{
		case T_CoerceViaIO:
			/* to text it cannot fail, from text it can */
			if (((CoerceViaIO *) node)->resulttype != TEXTOID)
				in->fallible = true;
			if (getBaseType(exprType((Node *) ((CoerceViaIO *) node)->arg)) >= FirstNormalObjectId)
			{
				Oid			type = exprType((Node *) ((CoerceViaIO *) node)->arg);

				if (!type_is_enum(type))
					in->foreign_code = in->fallible = true;
			}
			break;
		case T_Const:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_RelabelType:
		case T_FuncExpr:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CoalesceExpr:
		case T_ArrayExpr:
		case T_List:
			break;
		case T_SubLink:
			in->sublink = true;
			break;
		case T_MinMaxExpr:
			/* compares by a function of the type's */
			if (getBaseType(exprType(node)) >= FirstNormalObjectId && !type_is_enum(exprType(node)))
				in->foreign_code = true;
			in->fallible = true;
			break;
		case T_CoerceToDomain:	/* checks what anybody may have written, and change later */
		case T_SQLValueFunction:
		case T_NextValueExpr:
		case T_XmlExpr:
			in->foreign_code = true;
			in->fallible = true;
			break;
		default:
			in->fallible = true;
			break;
	}
	if (IsA(node, CoerceViaIO) && ((CoerceViaIO *) node)->resulttype == TEXTOID)
	{
		/* output functions of dates and the like depend on settings */
		Oid			func;
		bool		varlena;

		getTypeOutputInfo(exprType((Node *) ((CoerceViaIO *) node)->arg), &func, &varlena);
		if (func_volatile(func) != PROVOLATILE_IMMUTABLE && !type_is_enum(exprType((Node *) ((CoerceViaIO *) node)->arg)))
			in->foreign_code = true;
	}
	else
		(void) check_functions_in_node(node, check_function, in);
	return expression_tree_walker(node, inspect, in);
}

/*
 * Cut "(a, b)" or "ROW(a, b)" into the texts of its parts, with PostgreSQL's
 * own scanner; NIL if the text is not a row expression of that form.
 */
static List *
row_parts(const char *text)
{
	core_yyscan_t scanner;
	core_yy_extra_type extra;
	core_YYSTYPE value;
	YYLTYPE		location;
	int			token;
	int			depth = 0;
	int			start = -1;
	bool		opened = false;
	bool		closed = false;
	bool		first = true;
	List	   *parts = NIL;

	scanner = scanner_init(text, &extra, &ScanKeywords, ScanKeywordTokens);
	while ((token = core_yylex(&value, &location, scanner)) != 0)
	{
		if (closed)
		{
			/* something follows the closing parenthesis: not a row */
			parts = NIL;
			break;
		}
		if (!opened)
		{
			if (token == '(')
			{
				opened = true;
				depth = 1;
				start = location + 1;
			}
			else if (!(first && pg_strncasecmp(text + location, "row", 3) == 0))
				break;
			first = false;
			continue;
		}
		if (token == '(' || token == '[')
			depth++;
		else if (token == ')' || token == ']')
		{
			depth--;
			if (depth == 0)
			{
				parts = lappend(parts, pnstrdup(text + start, location - start));
				closed = true;
			}
		}
		else if (token == ',' && depth == 1)
		{
			parts = lappend(parts, pnstrdup(text + start, location - start));
			start = location + 1;
		}
	}
	scanner_finish(scanner);
	return closed && list_length(parts) > 1 ? parts : NIL;
}

/*
 * The SQL that makes of the user's expression the type the engine works with.
 * Sets *prefix to the number of characters before the user's text.
 */
static char *
wanted_sql(LoyaltySource *source, LoyaltyItem item, const char *text, Oid type, int *prefix)
{
	const char *before = "(";
	char	   *after;

	switch (item)
	{
		case ITEM_KEY:
		case ITEM_CUSTOMER:
		case ITEM_RETURN_OF:
		case ITEM_LINE_PARENT:
		case ITEM_LINE_KEY:
		case ITEM_LINE_RETURN_OF:
			/* 7 and 7.0 are one key */
			if (getBaseType(type) == NUMERICOID)
			{
				before = "pg_catalog.trim_scale((";
				after = ")::pg_catalog.numeric)::pg_catalog.text";
			}
			else
				after = ")::pg_catalog.text";
			break;
		case ITEM_COMPANY:
		case ITEM_CURRENCY:
		case ITEM_CHANNEL:
		case ITEM_LINE_PRODUCT:
			after = ")::pg_catalog.text";
			break;
		case ITEM_POSTED:
		case ITEM_FILTER:
		case ITEM_VOID:
		case ITEM_ENROL:
		case ITEM_LINE_FILTER:
			after = ")::pg_catalog.bool";
			break;
		case ITEM_BIRTHDAY:
		case ITEM_USABLE_FROM:
		case ITEM_LINE_LAUNCHED_ON:
			after = ")::pg_catalog.date";
			break;
		case ITEM_MEMBER_ATTRIBUTES:
		case ITEM_LINE_ATTRIBUTES:
			after = ")::pg_catalog.jsonb";
			break;
		case ITEM_LINE_CATEGORY:
			before = "pg_catalog.to_jsonb((";
			after = type == TEXTOID ? ")::pg_catalog.text)" : "))";
			break;
		case ITEM_DOC_DATE:
			if (getBaseType(type) == TIMESTAMPTZOID)
				after = ")::pg_catalog.timestamptz";
			else
			{
				before = psprintf("pg_catalog.timezone(%s, (", quote_literal_cstr(source->program->time_zone));
				after = ")::pg_catalog.timestamp)";
			}
			break;
		default:
			after = ")::pg_catalog.numeric";
			break;
	}
	*prefix = strlen(before);
	/* the line break ends a comment in the user's text */
	return psprintf("%s%s\n%s", before, text, after);
}

/*
 * Text that looks like a number is not one: what a mapping means must not
 * depend on what the rows happen to hold.
 */
static void
check_type(LoyaltyItem item, Oid type, const char *text)
{
	const char *wanted = NULL;

	switch (item)
	{
		case ITEM_DOC_DATE:
			if (type != DATEOID && type != TIMESTAMPOID && type != TIMESTAMPTZOID)
				wanted = "a date or a timestamp";
			break;
		case ITEM_BIRTHDAY:
		case ITEM_USABLE_FROM:
		case ITEM_LINE_LAUNCHED_ON:
			if (type != DATEOID)
				wanted = "a date";
			break;
		case ITEM_MEMBER_ATTRIBUTES:
		case ITEM_LINE_ATTRIBUTES:
			if (type != JSONOID && type != JSONBOID)
				wanted = "json";
			break;
		case ITEM_POSTED:
		case ITEM_FILTER:
		case ITEM_VOID:
		case ITEM_ENROL:
		case ITEM_LINE_FILTER:
			if (type != BOOLOID)
				wanted = "boolean";
			break;
		case ITEM_AMOUNT:
		case ITEM_SIGN:
		case ITEM_RATE:
		case ITEM_PAID:
		case ITEM_LINE_QTY:
		case ITEM_LINE_AMOUNT:
		case ITEM_LINE_COST:
		case ITEM_LINE_LIST_PRICE:
		case ITEM_LINE_STOCK:
			if (TypeCategory(type) != TYPCATEGORY_NUMERIC || type == OIDOID)
				wanted = "a number";
			break;
		default:
			break;
	}
	if (wanted != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("expression \"%s\" must be %s, not %s",
						loyalty_item_name(item), wanted, format_type_be(type)),
				 errhint("Write the conversion into the expression."),
				 internalerrposition(1), internalerrquery(text)));
}

/*
 * Compile one item of a mapping: check it, and find out what it is.
 */
LoyaltyExpression *
loyalty_analyze_expression(LoyaltySource *source, LoyaltyItem item)
{
	LoyaltyExpression *result = palloc0(sizeof(LoyaltyExpression));
	bool		of_lines = item >= ITEM_FIRST_LINE;
	bool		keylike = item == ITEM_KEY || item == ITEM_CUSTOMER || item == ITEM_RETURN_OF ||
		item == ITEM_LINE_PARENT || item == ITEM_LINE_KEY || item == ITEM_LINE_RETURN_OF;
	Oid			lines = of_lines ? source->lines : InvalidOid;
	List	   *texts;
	ListCell   *lc;
	Inspection	in;
	Expr	   *expr;

	result->item = item;
	result->text = pstrdup(source->items[item]);

	/* first as it was written, so that errors point into it */
	expr = loyalty_parse_sql(source, item, result->text, 0, source->header, lines);
	texts = keylike ? row_parts(result->text) : NIL;
	if (texts == NIL)
		texts = list_make1(result->text);
	if (list_length(texts) > LOYALTY_MAX_KEY)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("a key can have at most %d columns", LOYALTY_MAX_KEY)));

	memset(&in, 0, sizeof(in));
	in.result = result;
	in.own = 1;
	in.header = of_lines ? 2 : 1;

	foreach(lc, texts)
	{
		char	   *text = lfirst(lc);
		int			prefix;
		int			i = result->nparts++;
		int32		typmod = -1;

		if (list_length(texts) > 1)
			expr = loyalty_parse_sql(source, item, text, 0, source->header, lines);
		result->types[i] = exprType((Node *) expr);
		result->types[i] = getBaseTypeAndTypmod(result->types[i], &typmod);
		check_type(item, result->types[i], result->text);
		result->bare[i] = psprintf("(%s\n)", text);
		result->parts[i] = wanted_sql(source, item, text, result->types[i], &prefix);
		expr = loyalty_parse_sql(source, item, result->parts[i], prefix, source->header, lines);
		/* the text of a key is ours to make: it is the column that must be immutable */
		if (keylike && loyalty_key_is_dated(result->types[i]))
		{
			result->dated = true;
			expr = loyalty_parse_sql(source, item, result->bare[i], 1, source->header, lines);
		}
		inspect((Node *) expr, &in);
	}
	result->plain = !in.sublink && !in.foreign_code;
	result->infallible = result->plain && !in.fallible;
	return result;
}
