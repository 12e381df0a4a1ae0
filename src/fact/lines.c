/*
 * lines.c
 *	  Lines of a document as they are frozen in loyalty.document.lines: an
 *	  array of objects with the keys key, product, category, qty, amount, cost,
 *	  list_price, earns (only where false) and of; what is NULL is left out.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "fact/fact.h"

static void
put_key(JsonbParseState **state, const char *name)
{
	JsonbValue	v;

	v.type = jbvString;
	v.val.string.val = unconstify(char *, name);
	v.val.string.len = strlen(name);
	(void) pushJsonbValue(state, WJB_KEY, &v);
}

static void
put_text(JsonbParseState **state, const char *name, char *text)
{
	JsonbValue	v;

	if (text == NULL)
		return;
	put_key(state, name);
	v.type = jbvString;
	v.val.string.val = text;
	v.val.string.len = strlen(text);
	(void) pushJsonbValue(state, WJB_VALUE, &v);
}

static void
put_numeric(JsonbParseState **state, const char *name, Numeric number)
{
	JsonbValue	v;

	if (number == NULL)
		return;
	put_key(state, name);
	v.type = jbvNumeric;
	v.val.numeric = loyalty_num_trim(number);
	(void) pushJsonbValue(state, WJB_VALUE, &v);
}

static void
put_jsonb(JsonbParseState **state, const char *name, Jsonb *jsonb)
{
	JsonbValue	v;

	if (jsonb == NULL)
		return;
	put_key(state, name);
	if (JB_ROOT_IS_SCALAR(jsonb))
	{
		(void) JsonbExtractScalar(&jsonb->root, &v);
		(void) pushJsonbValue(state, WJB_VALUE, &v);
	}
	else
	{
		v.type = jbvBinary;
		v.val.binary.data = &jsonb->root;
		v.val.binary.len = VARSIZE(jsonb) - VARHDRSZ;
		(void) pushJsonbValue(state, WJB_VALUE, &v);
	}
}

/*
 * NULL for a document without lines.
 */
Jsonb *
loyalty_lines_to_jsonb(LoyaltyLine *lines, int n)
{
	JsonbParseState *state = NULL;

	if (n == 0)
		return NULL;
	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
	{
		(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		put_text(&state, "key", lines[i].key);
		put_text(&state, "product", lines[i].product);
		put_jsonb(&state, "category", lines[i].category);
		put_numeric(&state, "qty", lines[i].qty);
		put_numeric(&state, "amount", lines[i].amount);
		put_numeric(&state, "cost", lines[i].cost);
		put_numeric(&state, "list_price", lines[i].list_price);
		if (!lines[i].earns)
		{
			JsonbValue	v;

			put_key(&state, "earns");
			v.type = jbvBool;
			v.val.boolean = false;
			(void) pushJsonbValue(&state, WJB_VALUE, &v);
		}
		put_text(&state, "of", lines[i].of);
		(void) pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

static JsonbValue *
get(JsonbValue *object, const char *name)
{
	if (object->type != jbvBinary)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lines must be an array of objects")));
	return getKeyJsonValueFromContainer(object->val.binary.data, name, strlen(name), NULL);
}

static char *
get_text(JsonbValue *object, const char *name)
{
	JsonbValue *v = get(object, name);

	if (v == NULL || v->type == jbvNull)
		return NULL;
	if (v->type == jbvString)
		return pnstrdup(v->val.string.val, v->val.string.len);
	if (v->type == jbvNumeric)
		return loyalty_num_text(v->val.numeric);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" of a line must be a string", name)));
	return NULL;				/* keep compiler quiet */
}

static Numeric
get_numeric(JsonbValue *object, const char *name)
{
	JsonbValue *v = get(object, name);

	if (v == NULL || v->type == jbvNull)
		return NULL;
	if (v->type != jbvNumeric)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" of a line must be a number", name)));
	return loyalty_num_copy(v->val.numeric);
}

/*
 * The other way round; also reads the lines of a basket for quote_earn().
 */
LoyaltyLine *
loyalty_lines_from_jsonb(Jsonb *jsonb, int *n)
{
	LoyaltyLine *lines;

	*n = 0;
	if (jsonb == NULL)
		return NULL;
	if (!JB_ROOT_IS_ARRAY(jsonb) || JB_ROOT_IS_SCALAR(jsonb))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lines must be an array of objects")));
	*n = JB_ROOT_COUNT(jsonb);
	lines = palloc0(sizeof(LoyaltyLine) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		JsonbValue *object = getIthJsonbValueFromContainer(&jsonb->root, i);
		JsonbValue *v;

		lines[i].key = get_text(object, "key");
		lines[i].product = get_text(object, "product");
		v = get(object, "category");
		lines[i].category = v == NULL || v->type == jbvNull ? NULL : JsonbValueToJsonb(v);
		lines[i].qty = get_numeric(object, "qty");
		lines[i].amount = get_numeric(object, "amount");
		lines[i].cost = get_numeric(object, "cost");
		lines[i].list_price = get_numeric(object, "list_price");
		v = get(object, "earns");
		lines[i].earns = v == NULL || v->type != jbvBool || v->val.boolean;
		lines[i].of = get_text(object, "of");
	}
	return lines;
}

static int
compare_lines(const void *a, const void *b)
{
	const char *x = ((const LoyaltyLine *) a)->key;
	const char *y = ((const LoyaltyLine *) b)->key;

	if (x == NULL || y == NULL)
		return (x != NULL) - (y != NULL);
	return loyalty_compare_keys(x, y);
}

void
loyalty_sort_lines(LoyaltyLine *lines, int n)
{
	qsort(lines, n, sizeof(LoyaltyLine), compare_lines);
}
