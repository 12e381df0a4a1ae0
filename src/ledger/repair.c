/*
 * repair.c
 *	  SQL functions that evaluate documents on request.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "config.h"
#include "errors.h"
#include "ledger/ledger.h"
#include "upkeep/upkeep.h"

PG_FUNCTION_INFO_V1(loyalty_settle);
PG_FUNCTION_INFO_V1(loyalty_retry_parked);
PG_FUNCTION_INFO_V1(loyalty_settle_waiting_batch);
PG_FUNCTION_INFO_V1(loyalty_reevaluate);
PG_FUNCTION_INFO_V1(loyalty_verify);
PG_FUNCTION_INFO_V1(loyalty_documents_of);
PG_FUNCTION_INFO_V1(loyalty_book);

/* documents that verify() holds locks for at a time */
#define VERIFY_BATCH 1000

/* documents of others that settle() takes along */
#define SETTLE_WAITING 100

/*
 * settle() -> bigint: evaluate what this transaction touched, and some of what
 * waits.  Returns the number of documents.
 */
Datum
loyalty_settle(PG_FUNCTION_ARGS)
{
	int64		n = loyalty_touched_count();

	loyalty_refuse_on_standby("settle");
	/* what could not be booked just now will not be booked a moment later */
	if (loyalty_flush_touched(0) == 0 && !IsolationUsesXactSnapshot())
		n += loyalty_settle_waiting(NULL, SETTLE_WAITING, DT_NOEND, false);
	PG_RETURN_INT64(n);
}

/*
 * retry_parked(source text, max_documents integer) -> bigint
 */
Datum
loyalty_retry_parked(PG_FUNCTION_ARGS)
{
	LoyaltySource *source = NULL;
	int			limit = PG_ARGISNULL(1) ? PG_INT32_MAX : PG_GETARG_INT32(1);

	loyalty_refuse_on_standby("retry_parked");
	if (!PG_ARGISNULL(0))
		source = loyalty_source_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (limit < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_documents must be at least 1")));
	PG_RETURN_INT64(loyalty_settle_waiting(source, limit, DT_NOEND, false));
}

/*
 * settle_waiting(as_of, after, batch) -> (last, done)
 *
 * What fails waits again, with a newer date.  The first call takes the time,
 * which the following ones get back as the last "member", so that each
 * document is tried once.
 */
Datum
loyalty_settle_waiting_batch(PG_FUNCTION_ARGS)
{
	LoyaltyUpkeepStep step = loyalty_step_begin(fcinfo, "settle_waiting");
	const int64 epoch = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	TimestampTz before = step.after == 0 ? GetCurrentTimestamp() : step.after - epoch;
	int64		done = loyalty_settle_waiting(NULL, step.batch, before, true);

	PG_RETURN_DATUM(loyalty_step_result(fcinfo, done < step.batch ? 0 : before + epoch, done));
}

/* documents of a text[] of keys */
static List *
documents_from_array(LoyaltySource *source, ArrayType *keys, bool force, bool opening)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	List	   *docs = NIL;

	deconstruct_array(keys, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		LoyaltyDocument *doc;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("a document key cannot be NULL")));
		doc = loyalty_new_document(source, loyalty_canonical_key(source, TextDatumGetCString(elements[i])));
		doc->force = force;
		doc->opening = opening;
		docs = lappend(docs, doc);
	}
	return docs;
}

/*
 * reevaluate(source text, VARIADIC keys text[]) -> numeric: points booked
 */
Datum
loyalty_reevaluate(PG_FUNCTION_ARGS)
{
	LoyaltySource *source;
	LoyaltyOutcome outcome = {0};

	loyalty_refuse_on_standby("reevaluate");
	loyalty_config_pin();
	source = loyalty_source_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	loyalty_evaluate(documents_from_array(source, PG_GETARG_ARRAYTYPE_P(1), true, false), &outcome);
	loyalty_config_unpin();
	PG_RETURN_DATUM(PointsGetDatum(outcome.points));
}

/*
 * book(source text, keys text[], mode text) -> (documents, points, parked)
 */
Datum
loyalty_book(PG_FUNCTION_ARGS)
{
	char	   *mode = text_to_cstring(PG_GETARG_TEXT_PP(2));
	bool		opening = strcmp(mode, "opening") == 0;
	bool		dry = strcmp(mode, "dry_run") == 0;
	LoyaltySource *source;
	LoyaltyOutcome outcome = {0};
	List	   *docs;
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false};

	loyalty_refuse_on_standby("book");
	if (!opening && !dry && strcmp(mode, "earn") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for mode: \"%s\"", mode),
				 errhint("It can be earn, opening, dry_run.")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	loyalty_config_pin();
	source = loyalty_source_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	docs = documents_from_array(source, PG_GETARG_ARRAYTYPE_P(1), false, opening);
	if (dry)
		loyalty_evaluate_dry(docs, &outcome);
	else
		loyalty_evaluate(docs, &outcome);
	loyalty_config_unpin();

	values[0] = Int64GetDatum(outcome.documents);
	values[1] = PointsGetDatum(outcome.points);
	values[2] = Int64GetDatum(outcome.parked);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/*
 * verify(source text) -> setof (doc_key, customer, booked, due, problem)
 *
 * Evaluates every document in batches and undoes each, so that no member is
 * locked for longer than a batch takes.
 */
Datum
loyalty_verify(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext context = CurrentMemoryContext;
	LoyaltySource *source;
	LoyaltyIdentity save;
	List	   *docs;
	ListCell   *lc;
	int			done = 0;

	loyalty_refuse_on_standby("verify");
	InitMaterializedSRF(fcinfo, 0);
	loyalty_config_pin();
	source = loyalty_source_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	docs = loyalty_all_documents(source);
	SPI_finish();
	loyalty_resume(&save);

	while (done < list_length(docs))
	{
		LoyaltyOutcome outcome = {0};
		List	   *batch = NIL;

		outcome.context = context;
		outcome.collect = true;
		for (int i = 0; i < VERIFY_BATCH && done < list_length(docs); i++)
		{
			LoyaltyDocument *doc = list_nth(docs, done++);

			doc->force = true;
			batch = lappend(batch, doc);
		}
		loyalty_evaluate_dry(batch, &outcome);
		foreach(lc, outcome.differences)
		{
			LoyaltyDifference *d = lfirst(lc);
			Datum		values[5];
			bool		nulls[5] = {false};

			values[0] = CStringGetTextDatum(d->key);
			nulls[1] = d->customer == NULL;
			values[1] = d->customer == NULL ? (Datum) 0 : CStringGetTextDatum(d->customer);
			nulls[2] = nulls[3] = d->unknown;
			values[2] = PointsGetDatum(d->booked);
			values[3] = PointsGetDatum(d->due);
			values[4] = CStringGetTextDatum(d->problem);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
		CHECK_FOR_INTERRUPTS();
	}
	loyalty_config_unpin();
	return (Datum) 0;
}

static int
compare_found(const ListCell *a, const ListCell *b)
{
	LoyaltyFound *x = lfirst(a);
	LoyaltyFound *y = lfirst(b);

	if (x->is_return != y->is_return)
		return x->is_return ? 1 : -1;
	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return loyalty_compare_keys(x->key, y->key);
}

/*
 * documents_of(source text) -> setof (doc_key, occurred_at, is_return)
 */
Datum
loyalty_documents_of(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	LoyaltySource *source;
	List	   *found;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	loyalty_config_pin();
	source = loyalty_source_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	loyalty_connect();
	found = loyalty_scan_documents(source, 0, DT_NOBEGIN);
	SPI_finish();
	loyalty_config_unpin();
	list_sort(found, compare_found);
	foreach(lc, found)
	{
		LoyaltyFound *f = lfirst(lc);
		Datum		values[3];
		bool		nulls[3] = {false};

		values[0] = CStringGetTextDatum(f->key);
		values[1] = TimestampTzGetDatum(f->at);
		values[2] = BoolGetDatum(f->is_return);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
