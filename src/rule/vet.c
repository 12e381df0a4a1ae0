/*
 * vet.c
 *	  What may stand in a condition: checks against what is allowed, not
 *	  against what is forbidden.
 *
 * Three looks are taken.  At the raw tree, before the parser looks up anything
 * that is named in it; at the typed tree, before any of it is evaluated; and
 * at the tree with its constants folded, for what must be a constant.  The
 * functions and operators are listed in allowed.c.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_node.h"
#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "rule/condition.h"

/* how large an expression may be */
#define MAX_DEPTH 100
#define MAX_NODES 2000
/* multiplications and divisions, whose cost grows with the square of digits */
#define MAX_PRODUCTS 32
/* digits of a number that is written into a condition */
#define MAX_DIGITS 60
/* bytes of a LIKE pattern, or of the characters to trim; length of char(n) */
#define MAX_PATTERN 200

#define AGGREGATE_HINT "document.amount and document.lines, member.year_amount and the like are sums already."

typedef struct Vetting
{
	ParseState *pstate;
	List	   *literals;		/* A_Consts of strings, as written */
	int			location;		/* of the innermost node that has one */
	int			depth;
	int			nodes;
	int			products;
} Vetting;

/* one level down in a tree, with its limits */
static void
enter(Vetting *v, Node *node)
{
	int			location = exprLocation(node);

	if (location >= 0)
		v->location = location;
	if (++v->nodes > MAX_NODES || ++v->depth > MAX_DEPTH)
		ereport(ERROR,
				(errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
				 errmsg("the condition is too complex"),
				 errdetail("It may have %d parts, nested %d deep.", MAX_NODES, MAX_DEPTH),
				 errhint("Make several rules of it."),
				 parser_errposition(v->pstate, v->location)));
}

static void
refuse(Vetting *v, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s cannot be used in a condition", what),
			 errhint("%s", hint),
			 parser_errposition(v->pstate, v->location)));
}

static void
vet_type(Vetting *v, Oid type)
{
	if (type != UNKNOWNOID && !loyalty_usable_type(type))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("type %s cannot be used in a condition", format_type_be(type)),
				 errhint("Conditions use numbers, text, dates, times, boolean, uuid, json, enums, and arrays of them."),
				 parser_errposition(v->pstate, v->location)));
}

/*
 * A type that is named is looked at before the parser makes values of it: the
 * input function of a composite type or of an array calls what its parts call.
 */
static void
vet_type_name(Vetting *v, TypeName *name)
{
	Type		type;

	if (name->setof || name->pct_type)
		refuse(v, "such a type", "Write the name of a built-in type.");
	type = LookupTypeName(v->pstate, name, NULL, true);
	if (type != NULL)
	{
		Oid			oid = typeTypeId(type);

		ReleaseSysCache(type);
		vet_type(v, oid);
	}
}

/* PostgreSQL's own, by its name? */
static void
vet_schema(Vetting *v, List *names, const char *what)
{
	if (list_length(names) > 1 && strcmp(strVal(linitial(names)), "pg_catalog") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s %s cannot be used in a condition", what, NameListToString(names)),
				 errdetail("It is not one of PostgreSQL's own."),
				 errhint("Map what it computes to a column of the source."),
				 parser_errposition(v->pstate, v->location)));
}

static void
refuse_function(Vetting *v, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("function %s cannot be used in a condition", name),
			 errhint("Among the functions that can are lower, upper, btrim, length, left, right, substring, starts_with, abs, round, floor, ceil, mod, extract and coalesce."),
			 parser_errposition(v->pstate, v->location)));
}

static void
refuse_moving(Vetting *v, const char *what, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s %s cannot be used in a condition", what, name),
			 errdetail("Its result depends on the current time or on settings of the session."),
			 errhint("Use document.date, document.hour, member.days_since_last_purchase and the like; AT TIME ZONE makes an instant a local time."),
			 parser_errposition(v->pstate, v->location)));
}

/*
 * A call is looked at by the name of its function first: the parser would make
 * its literals values of whatever types the function wants.
 */
static void
vet_call(Vetting *v, FuncCall *call)
{
	const char *name = strVal(llast(call->funcname));
	FuncCandidateList found;

	if (call->over != NULL)
		refuse(v, "a window function", "member.purchase_count and the like tell what came before.");
	if (call->agg_star || call->agg_distinct || call->agg_order != NIL || call->agg_filter != NULL || call->agg_within_group)
		refuse(v, "an aggregate function", AGGREGATE_HINT);
	if (call->func_variadic)
		refuse(v, "VARIADIC", "Write the arguments one by one.");
	vet_schema(v, call->funcname, "function");
	if (loyalty_allowed_function_name(name))
		return;

	found = FuncnameGetCandidates(list_make2(makeString("pg_catalog"), makeString(pstrdup(name))),
								  -1, NIL, false, false, false, true);
	if (found == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %s does not exist", name),
				 errhint("loyalty's README lists the functions that conditions can use."),
				 parser_errposition(v->pstate, v->location)));
	if (get_func_prokind(found->oid) == PROKIND_AGGREGATE)
		refuse(v, "an aggregate function", AGGREGATE_HINT);
	if (get_func_prokind(found->oid) == PROKIND_WINDOW)
		refuse(v, "a window function", "member.purchase_count and the like tell what came before.");
	if (get_func_retset(found->oid))
		refuse(v, "a set-returning function", "A condition is one value.");
	if (func_volatile(found->oid) != PROVOLATILE_IMMUTABLE)
		refuse_moving(v, "function", name);
	refuse_function(v, name);
}

static bool
vet_raw_walker(Node *node, Vetting *v)
{
	bool		result = false;
	int			location = v->location;

	if (node == NULL)
		return false;
	enter(v, node);
	switch (nodeTag(node))
	{
		case T_A_Const:
			if (!((A_Const *) node)->isnull && IsA(&((A_Const *) node)->val, String))
				v->literals = lappend(v->literals, node);
			break;
		case T_BoolExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_A_ArrayExpr:
		case T_A_Indices:
		case T_CollateClause:
		case T_List:
		case T_String:
		case T_Integer:
			break;
		case T_TypeCast:
			break;
		case T_TypeName:
			vet_type_name(v, (TypeName *) node);
			break;
		case T_A_Expr:
			if (((A_Expr *) node)->kind == AEXPR_SIMILAR)
				refuse(v, "SIMILAR TO", "Use LIKE, or several of them with OR.");
			if (list_length(((A_Expr *) node)->name) > 1)
				v->location = ((A_Expr *) node)->location;
			vet_schema(v, ((A_Expr *) node)->name, "operator");
			break;
		case T_ColumnRef:
			/* "*" is no name, and nothing is looked up here */
			if (IsA(llast(((ColumnRef *) node)->fields), A_Star))
				refuse(v, "\"*\"", "Name the columns.");
			v->depth--;
			v->location = location;
			return false;
		case T_A_Indirection:
			{
				ListCell   *lc;

				foreach(lc, ((A_Indirection *) node)->indirection)
					if (!IsA(lfirst(lc), A_Indices))
						refuse(v, "a part of a composite value", "Compare whole columns.");
			}
			break;
		case T_FuncCall:
			vet_call(v, (FuncCall *) node);
			break;
		case T_SubLink:
			refuse(v, "a sub-select", "Use the columns of line, document and member; a figure of another table can be mapped to one of them.");
			break;
		case T_ParamRef:
			refuse(v, "a parameter", "Write the value itself.");
			break;
		case T_SQLValueFunction:
			refuse(v, "what depends on the current time or user",
				   "A rule gives the same points whenever it is evaluated: use document.date, document.hour, member.days_since_last_purchase and the like.");
			break;
		case T_RowExpr:
			refuse(v, "a row", "Compare column by column, with AND.");
			break;
		default:
			refuse(v, "this kind of expression", "Use columns, values, comparisons, AND, OR, NOT, CASE and simple functions.");
			break;
	}
	result = raw_expression_tree_walker(node, vet_raw_walker, v);
	v->depth--;
	v->location = location;
	return result;
}

/*
 * First look: at the raw tree.  Gives the string literals in it, which the
 * second look wants to see.
 */
List *
loyalty_vet_raw(ParseState *pstate, Node *raw)
{
	Vetting		v = {.pstate = pstate,.location = -1};

	(void) vet_raw_walker(raw, &v);
	return v.literals;
}

static void
vet_collation(Vetting *v, Oid collation)
{
	if (collation >= FirstNormalObjectId)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("collation \"%s\" cannot be used in a condition", get_collation_name(collation)),
				 errhint("Only PostgreSQL's own collations can: add COLLATE \"C\" to the column."),
				 parser_errposition(v->pstate, v->location)));
}

/* built in, and giving the same result whatever the time and the settings? */
static void
vet_immutable(Vetting *v, Oid funcid, const char *what, const char *name)
{
	if (funcid >= FirstGenbkiObjectId)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s %s cannot be used in a condition", what, name),
				 errdetail("It is not one of PostgreSQL's own."),
				 errhint("Map what it computes to a column of the source."),
				 parser_errposition(v->pstate, v->location)));
	if (func_volatile(funcid) != PROVOLATILE_IMMUTABLE)
		refuse_moving(v, what, name);
}

/* one more operation that takes long if the ERP's numbers have many digits */
static void
count_product(Vetting *v)
{
	if (++v->products > MAX_PRODUCTS)
		ereport(ERROR,
				(errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
				 errmsg("the condition is too complex"),
				 errdetail("It may multiply, divide, and make numbers of text %d times.", MAX_PRODUCTS),
				 errhint("Make several rules of it."),
				 parser_errposition(v->pstate, v->location)));
}

static void
vet_operator(Vetting *v, Oid opno, Oid funcid, int location)
{
	char	   *name = get_opname(opno);
	Oid			left;
	Oid			right;

	/* point at the operator, as the parser does */
	if (location >= 0)
		v->location = location;
	op_input_types(opno, &left, &right);
	vet_immutable(v, funcid, "operator", format_operator(opno));
	if (!loyalty_allowed_operator(name) || opno >= FirstGenbkiObjectId)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("operator %s cannot be used in a condition", format_operator(opno)),
				 errhint("Use comparisons, arithmetic, LIKE, ||, -> and ->>, @> and &&."),
				 parser_errposition(v->pstate, v->location)));
	if ((left == NUMERICOID || right == NUMERICOID) && strchr("*/%", name[0]) != NULL)
		count_product(v);
}

/* name(type,type) of a function, without the quotes that keywords would get */
static char *
signature(Oid funcid)
{
	StringInfoData buf;
	Oid		   *types;
	int			ntypes;

	(void) get_func_signature(funcid, &types, &ntypes);
	initStringInfo(&buf);
	appendStringInfo(&buf, "%s(", get_func_name(funcid));
	for (int i = 0; i < ntypes; i++)
		appendStringInfo(&buf, "%s%s", i > 0 ? "," : "", format_type_be(types[i]));
	appendStringInfoChar(&buf, ')');
	return buf.data;
}

/* a cast between types that conditions know, or a function from the list? */
static void
vet_function(Vetting *v, FuncExpr *func)
{
	char	   *name = signature(func->funcid);

	vet_immutable(v, func->funcid, "function", name);
	if (func->funcretset)
		refuse(v, "a set-returning function", "A condition is one value.");
	if (func->funcformat == COERCE_EXPLICIT_CAST || func->funcformat == COERCE_IMPLICIT_CAST)
	{
		/* char(n) pads: not to any length */
		if (func->funcresulttype == BPCHAROID && list_length(func->args) == 3)
		{
			Const	   *typmod = lsecond(func->args);

			if (!IsA(typmod, Const) || DatumGetInt32(typmod->constvalue) > MAX_PATTERN)
				refuse(v, "character(n) of that length", "Use text.");
		}
	}
	else if (loyalty_allowed_function(name))
	{
		if (strcmp(name, "mod(numeric,numeric)") == 0 || strcmp(name, "div(numeric,numeric)") == 0)
			count_product(v);
	}
	else
		refuse_function(v, name);
}

/*
 * A cast by way of text: its functions must not read settings.  An enum's
 * words may be renamed, which is no more than the ERP's own doing.
 */
static void
vet_via_text(Vetting *v, CoerceViaIO *cast)
{
	Oid			from = getBaseType(exprType((Node *) cast->arg));
	Oid			func;
	Oid			param;
	bool		varlena;

	if (!type_is_enum(from))
	{
		getTypeOutputInfo(from, &func, &varlena);
		if (from == FLOAT4OID || from == FLOAT8OID)
			refuse(v, "a floating-point number as text", "Make it numeric first.");
		vet_immutable(v, func, "cast from", format_type_be(from));
	}
	if (type_is_enum(cast->resulttype))
		refuse(v, "a cast to an enum", "Compare the enum with a word in quotes, or enum::text with text.");
	getTypeInputInfo(cast->resulttype, &func, &param);
	vet_immutable(v, func, "cast from text to", format_type_be(cast->resulttype));
	if (cast->resulttype == NUMERICOID)
		count_product(v);
}

/*
 * Would the date be another one tomorrow?  'now' and the like are words of
 * their own wherever they stand in a literal.
 */
static bool
is_moving_date(Vetting *v, Const *value)
{
	static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};
	ListCell   *lc;

	foreach(lc, v->literals)
	{
		A_Const    *literal = lfirst(lc);
		const char *text = strVal(&literal->val);

		if (literal->location != value->location)
			continue;
		while (*text != '\0')
		{
			int			length = 0;

			while (isalpha((unsigned char) text[length]))
				length++;
			for (int i = 0; i < lengthof(words); i++)
				if (length == strlen(words[i]) && pg_strncasecmp(text, words[i], length) == 0)
					return true;
			text += Max(length, 1);
		}
		return false;
	}
	/* not from a literal of ours: do not trust it */
	return true;
}

static void
vet_constant(Vetting *v, Const *value)
{
	Oid			element = get_element_type(value->consttype);

	switch (OidIsValid(element) ? element : value->consttype)
	{
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			if (!value->constisnull && is_moving_date(v, value))
				refuse(v, "a date that moves",
					   "It would be that of the day the rule is read; use document.date, member.days_since_last_purchase and the like.");
			break;
		case NUMERICOID:
			if (!value->constisnull && !OidIsValid(element) &&
				strlen(DatumGetCString(DirectFunctionCall1(numeric_out, value->constvalue))) > MAX_DIGITS)
				refuse(v, "a number of so many digits", "Amounts and points have at most 18 digits.");
			break;
		default:
			break;
	}
}

static bool
vet_tree_walker(Node *node, Vetting *v)
{
	bool		result = false;
	int			location = v->location;

	if (node == NULL)
		return false;
	enter(v, node);
	switch (nodeTag(node))
	{
		case T_Var:
		case T_BoolExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CaseTestExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_ArrayExpr:
		case T_ArrayCoerceExpr:
		case T_RelabelType:
		case T_CollateExpr:
		case T_List:
			break;
		case T_Const:
			vet_constant(v, (Const *) node);
			break;
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			set_opfuncid((OpExpr *) node);
			vet_operator(v, ((OpExpr *) node)->opno, ((OpExpr *) node)->opfuncid, ((OpExpr *) node)->location);
			break;
		case T_ScalarArrayOpExpr:
			set_sa_opfuncid((ScalarArrayOpExpr *) node);
			vet_operator(v, ((ScalarArrayOpExpr *) node)->opno, ((ScalarArrayOpExpr *) node)->opfuncid,
						 ((ScalarArrayOpExpr *) node)->location);
			break;
		case T_FuncExpr:
			vet_function(v, (FuncExpr *) node);
			break;
		case T_CoerceViaIO:
			vet_via_text(v, (CoerceViaIO *) node);
			break;
		case T_SubscriptingRef:
			if (((SubscriptingRef *) node)->refassgnexpr != NULL)
				refuse(v, "an assignment", "Compare with =.");
			break;
		case T_Aggref:
			refuse(v, "an aggregate function", AGGREGATE_HINT);
			break;
		default:
			refuse(v, "this kind of expression", "Use columns, values, comparisons, AND, OR, NOT, CASE and simple functions.");
			break;
	}
	if (!IsA(node, List) && !IsA(node, CaseWhen))
	{
		vet_type(v, exprType(node));
		vet_collation(v, exprInputCollation(node));
	}
	result = expression_tree_walker(node, vet_tree_walker, v);
	v->depth--;
	v->location = location;
	return result;
}

/*
 * Second look: at the typed tree, before anything in it is evaluated.
 */
void
loyalty_vet_tree(ParseState *pstate, Node *tree, List *literals)
{
	Vetting		v = {.pstate = pstate,.literals = literals,.location = -1};

	(void) vet_tree_walker(tree, &v);
}

/* patterns and characters to trim are searched for again and again */
static void
vet_pattern(Vetting *v, List *args)
{
	Const	   *pattern = lsecond(args);

	while (IsA(pattern, RelabelType))
		pattern = (Const *) ((RelabelType *) pattern)->arg;
	if (!IsA(pattern, Const) ||
		(!pattern->constisnull && VARSIZE_ANY_EXHDR(DatumGetPointer(pattern->constvalue)) > MAX_PATTERN))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a pattern must be a constant of at most %d bytes", MAX_PATTERN),
				 errhint("Write it in quotes: line.product LIKE 'A-%%'."),
				 parser_errposition(v->pstate, v->location)));
}

static bool
vet_folded_walker(Node *node, Vetting *v)
{
	int			location = v->location;
	bool		result;

	if (node == NULL)
		return false;
	enter(v, node);
	if (IsA(node, OpExpr) && ((OpExpr *) node)->location >= 0)
		v->location = ((OpExpr *) node)->location;
	if (IsA(node, OpExpr) && strstr(get_opname(((OpExpr *) node)->opno), "~~") != NULL)
		vet_pattern(v, ((OpExpr *) node)->args);
	if (IsA(node, FuncExpr) && list_length(((FuncExpr *) node)->args) == 2 &&
		strstr(get_func_name(((FuncExpr *) node)->funcid), "trim") != NULL)
		vet_pattern(v, ((FuncExpr *) node)->args);
	result = expression_tree_walker(node, vet_folded_walker, v);
	v->depth--;
	v->location = location;
	return result;
}

/*
 * Third look: at the tree with its constants folded.
 */
void
loyalty_vet_folded(ParseState *pstate, Node *tree)
{
	Vetting		v = {.pstate = pstate,.location = -1};

	(void) vet_folded_walker(tree, &v);
	if (IsA(tree, Const) && ((Const *) tree)->constisnull)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the expression is always NULL"),
				 errdetail("A comparison with NULL is neither true nor false."),
				 errhint("Use IS NULL or IS NOT NULL.")));
}
