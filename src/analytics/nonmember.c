/*
 * nonmember.c
 *	  Documents of customers who are no members (yet), read from the ERP.
 *
 * The books keep nothing of them, so that they cost the posting path nothing.
 * Who wants their figures has them read when analytics is refreshed, through
 * the mapping, as the owner of the ERP's table.  The customer's key does not
 * get out: its place is taken by the number he would have as a member.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/memutils.h"

#include "config.h"
#include "fact/fact.h"
#include "member/member.h"
#include "source/source.h"

PG_FUNCTION_INFO_V1(loyalty_non_member_documents);

/* documents that are read by one statement */
#define READ_BATCH 1000

static LoyaltyPlan plan_booked = {
	.sql = "SELECT k.n::pg_catalog.int4 FROM pg_catalog.unnest($2) WITH ORDINALITY AS k (key, n)"
	" WHERE NOT EXISTS (SELECT FROM loyalty.document d WHERE d.source_id = $1 AND d.doc_key = k.key"
	" AND d.member_id <> 0 AND d.state <> 'withdrawn') ORDER BY k.n",
	.nparams = 2, .types = {INT4OID, TEXTARRAYOID}
};

typedef struct ReadWork
{
	ReturnSetInfo *rsinfo;
	LoyaltySource *source;
	char	  **keys;
	int			n;
	DateADT		since;
	DateADT		until;
} ReadWork;

/*
 * The number under which a document counts: 0 for a guest; -1 if it is not for
 * us because its customer was a member by then and it only waits to be booked.
 */
static int64
customer_number(LoyaltySource *source, LoyaltyFacts *facts)
{
	int64		id;

	if (facts->customer == NULL)
		return 0;
	id = loyalty_find_member(source->program, facts->customer);
	if (id == 0)
		return loyalty_member_number(source->program, facts->customer, 0);
	return facts->date >= loyalty_read_member(id)->joined_on ? -1 : id;
}

static void
write_document(ReadWork *w, LoyaltyDocument *doc)
{
	int64		number = customer_number(w->source, doc->facts);
	ListCell   *lc;

	if (number < 0)
		return;
	foreach(lc, doc->claims)
	{
		LoyaltyClaim *claim = lfirst(lc);
		Datum		values[6];
		bool		nulls[6] = {false};

		values[0] = CStringGetTextDatum(doc->key);
		values[1] = Int64GetDatum(number);
		values[2] = DateADTGetDatum(doc->facts->date);
		values[3] = BoolGetDatum(loyalty_num_sign(claim->gross) < 0);
		values[4] = NumericGetDatum(claim->gross);
		nulls[5] = claim->root_source != w->source || claim->of_line;
		values[5] = nulls[5] ? (Datum) 0 : CStringGetTextDatum(claim->root_key);
		tuplestore_putvalues(w->rsinfo->setResult, w->rsinfo->setDesc, values, nulls);
	}
}

static void
read_documents(void *arg)
{
	ReadWork   *w = arg;
	LoyaltyDocument **docs = palloc(sizeof(LoyaltyDocument *) * w->n);
	int			n = 0;

	for (int i = 0; i < w->n; i++)
	{
		docs[i] = palloc0(sizeof(LoyaltyDocument));
		docs[i]->source = w->source;
		docs[i]->key = w->keys[i];
	}
	loyalty_read_headers(docs, w->n, false);
	for (int i = 0; i < w->n; i++)
		if (docs[i]->facts != NULL && docs[i]->facts->date >= w->since && docs[i]->facts->date <= w->until)
			docs[n++] = docs[i];
	loyalty_read_lines(docs, n);
	/* nothing is written before everything is read: an error leaves no rows */
	for (int i = 0; i < n; i++)
		docs[i]->claims = loyalty_split_document(docs[i]);
	for (int i = 0; i < n; i++)
		write_document(w, docs[i]);
}

/*
 * Of these keys, those of which the books know nothing.
 */
static int
unbooked(LoyaltySource *source, char **keys, int n)
{
	Datum		values[2];
	uint64		rows;

	values[0] = Int32GetDatum(source->id);
	values[1] = loyalty_text_array(keys, n);
	rows = loyalty_run(&plan_booked, values, NULL);
	for (uint64 i = 0; i < rows; i++)
	{
		bool		isnull;

		keys[i] = keys[DatumGetInt32(loyalty_spi_datum(i, 1, &isnull)) - 1];
	}
	SPI_freetuptable(SPI_tuptable);
	return rows;
}

/*
 * non_member_documents(source text, since date, until date)
 *	-> setof (doc_key, member_id, day, is_return, gross, root_key)
 */
Datum
loyalty_non_member_documents(PG_FUNCTION_ARGS)
{
	ReadWork	w = {.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "loyalty documents", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	LoyaltyIdentity save;
	List	   *found;
	int			done = 0;
	int			failed = 0;
	char	   *problem = NULL;

	w.since = PG_GETARG_DATEADT(1);
	w.until = PG_GETARG_DATEADT(2);
	InitMaterializedSRF(fcinfo, 0);
	loyalty_config_pin();
	w.source = loyalty_source_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	/* a day of any time zone begins at most a day from that of another */
	found = w.source->of_events || w.since > TIMESTAMP_END_JULIAN - POSTGRES_EPOCH_JDATE ? NIL :
		loyalty_scan_documents(w.source, 0, DATE_NOT_FINITE(w.since) ? DT_NOBEGIN :
							   (w.since - 1) * USECS_PER_DAY);
	w.keys = palloc(sizeof(char *) * READ_BATCH);
	while (done < list_length(found))
	{
		ErrorData  *error;
		int			n = 0;

		CHECK_FOR_INTERRUPTS();
		while (n < READ_BATCH && done < list_length(found))
			w.keys[n++] = ((LoyaltyFound *) list_nth(found, done++))->key;
		old = MemoryContextSwitchTo(context);
		w.n = unbooked(w.source, w.keys, n);
		/* whatever reading does, it is undone; what it raises costs one document */
		error = w.n == 0 ? NULL : loyalty_attempt(read_documents, &w, NULL, true);
		if (error != NULL)
		{
			char	  **keys = w.keys;

			n = w.n;
			w.n = 1;
			for (int i = 0; i < n; i++)
			{
				w.keys = keys + i;
				error = loyalty_attempt(read_documents, &w, NULL, true);
				if (error != NULL && failed++ == 0)
					problem = MemoryContextStrdup(old, psprintf("document \"%s\": %s", keys[i], error->message));
			}
			w.keys = keys;
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	SPI_finish();
	loyalty_resume(&save);
	if (failed > 0)
		ereport(WARNING,
				(errmsg("%d documents of source \"%s\" cannot be read and are left out", failed, w.source->name),
				 errdetail("The first is %s", problem)));
	loyalty_config_unpin();
	return (Datum) 0;
}
