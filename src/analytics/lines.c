/*
 * lines.c
 *	  Frozen lines of documents as rows.
 *
 * jsonb_to_recordset() would do, but it takes each number through its text,
 * and the planner believes that every document has a hundred lines.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "analytics/analytics.h"

PG_FUNCTION_INFO_V1(loyalty_line_facts);

/* columns of the answer, and keys of a line, in the same order */
enum
{
	FACT_PRODUCT, FACT_CATEGORY, FACT_QTY, FACT_AMOUNT, FACT_COST, FACT_LIST_PRICE, NFACTS
};

static const char *const fact_names[NFACTS] = {"product", "category", "qty", "amount", "cost", "list_price"};

/*
 * One fact of a line; what is absent is NULL.
 */
static Datum
fact_of(JsonbContainer *line, int fact, bool *isnull)
{
	JsonbValue	buffer;
	JsonbValue *v = getKeyJsonValueFromContainer(line, fact_names[fact], strlen(fact_names[fact]), &buffer);

	*isnull = v == NULL || v->type == jbvNull;
	if (*isnull)
		return (Datum) 0;
	if (fact == FACT_CATEGORY)
		return JsonbPGetDatum(JsonbValueToJsonb(v));
	if (fact == FACT_PRODUCT && v->type == jbvString)
		return PointerGetDatum(cstring_to_text_with_len(v->val.string.val, v->val.string.len));
	if (fact != FACT_PRODUCT && v->type == jbvNumeric)
		return NumericGetDatum(v->val.numeric);
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("\"%s\" of a frozen line is not what it should be", fact_names[fact])));
}

/*
 * line_facts(lines jsonb) -> setof (product, category, qty, amount, cost, list_price)
 */
Datum
loyalty_line_facts(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Jsonb	   *lines = PG_GETARG_JSONB_P(0);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (rsinfo->setDesc->natts != NFACTS || !JB_ROOT_IS_ARRAY(lines))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("frozen lines are not an array of objects")));
	for (uint32 i = 0; i < JB_ROOT_COUNT(lines); i++)
	{
		JsonbValue *line = getIthJsonbValueFromContainer(&lines->root, i);
		Datum		values[NFACTS];
		bool		nulls[NFACTS];

		if (line->type != jbvBinary || !JsonContainerIsObject(line->val.binary.data))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("frozen lines are not an array of objects")));
		for (int k = 0; k < NFACTS; k++)
			values[k] = fact_of(line->val.binary.data, k, &nulls[k]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
