/*
 * frozen.c
 *	  What holds for a document, as it is kept with it: document.rules, and
 *	  where that does not say it all document.matches, an array of objects with
 *	  the fields rule, lines, while, cut, allowed, given.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "rule/match.h"

static int
int_of(JsonbValue *v)
{
	return DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(v->val.numeric)));
}

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

/*
 * Do caps or budgets limit any of them?
 */
bool
loyalty_is_limited(List *matches)
{
	ListCell   *lc;

	foreach(lc, matches)
		if (((LoyaltyMatch *) lfirst(lc))->limited)
			return true;
	return false;
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

		if (match->nlines < 0 && match->provisos == NULL && !match->cut && !match->limited)
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
		if (match->cut)
		{
			JsonbValue	v;

			v.type = jbvBool;
			v.val.boolean = true;
			push_key(&state, "cut");
			(void) pushJsonbValue(&state, WJB_VALUE, &v);
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
			match->cut = getKeyJsonValueFromContainer(object->val.binary.data, "cut", 3, NULL) != NULL;
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
