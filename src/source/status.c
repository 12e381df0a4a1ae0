/*
 * status.c
 *	  Is a source well?  status() looks at its triggers and its mapping,
 *	  check_source() reads recent documents through it.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "config.h"
#include "errors.h"
#include "fact/fact.h"
#include "source/source.h"

PG_FUNCTION_INFO_V1(loyalty_status);
PG_FUNCTION_INFO_V1(loyalty_check_source);

static LoyaltyPlan plan_waiting = {
	.sql = "SELECT pg_catalog.count(*) FILTER (WHERE reason = 'queue'),"
	" pg_catalog.count(*) FILTER (WHERE reason = 'parked')"
	" FROM loyalty.pending WHERE source_id = $1",
	.nparams = 1, .types = {INT4OID}
};

static void
compile(void *arg)
{
	LoyaltySource *source = arg;
	LoyaltyIdentity save;
	int			nest;

	loyalty_become_reader(loyalty_source_owner(source), &save);
	nest = loyalty_pin_settings(source->search_path, source->program->time_zone);
	loyalty_compile_source(source);
	loyalty_unpin_settings(nest);
	loyalty_resume(&save);
}

/*
 * Compile a source's mapping; NULL, or what is wrong with it.
 */
static char *
mapping_problem(LoyaltySource *source)
{
	ErrorData  *error = loyalty_attempt(compile, source, NULL, false);

	return error == NULL ? NULL : error->message;
}

/*
 * Does the table have the source's triggers, enabled?
 */
static bool
has_trigger(Oid relid, const char *source)
{
	Relation	rel = try_table_open(relid, AccessShareLock);
	bool		row = false;
	bool		truncate = false;

	if (rel == NULL)
		return false;
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *t = &rel->trigdesc->triggers[i];

		if (t->tgnargs != 2 || strcmp(t->tgargs[0], source) != 0 ||
			(t->tgenabled != TRIGGER_FIRES_ON_ORIGIN && t->tgenabled != TRIGGER_FIRES_ALWAYS))
			continue;
		if (TRIGGER_FOR_ROW(t->tgtype))
			row = true;
		else if (TRIGGER_FOR_TRUNCATE(t->tgtype))
			truncate = true;
	}
	table_close(rel, AccessShareLock);
	return row && truncate;
}

static char *
relation_text(Oid relid)
{
	char	   *name = OidIsValid(relid) ? get_rel_name(relid) : NULL;

	if (name == NULL)
		return NULL;
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name);
}

/*
 * Rules in force whose condition does not compile (any more), NULL if all do.
 */
static char *
rule_problem(LoyaltySource *source)
{
	LoyaltyRuleBook *book = loyalty_source_book(source);
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < book->ncodes; i++)
		if (book->codes[i].error != NULL && !book->codes[i].elsewhere && book->codes[i].rule->current)
			appendStringInfo(&text, "%srule \"%s\" %s: %s", text.len > 0 ? "; " : "", book->codes[i].rule->name,
							 book->program->park_broken ? "parks documents" : "is skipped",
							 book->codes[i].error->message);
	return text.len > 0 ? text.data : NULL;
}

/*
 * status() -> setof (source, header, lines, attached, capturing, mapping_ok,
 * queued, parked, problem)
 */
Datum
loyalty_status(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	LoyaltyIdentity save;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	loyalty_config_pin();
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	foreach(lc, loyalty_config()->sources)
	{
		LoyaltySource *source = lfirst(lc);
		char	   *header = relation_text(source->header);
		char	   *lines = relation_text(source->lines);
		char	   *problem = NULL;
		bool		capturing = false;
		Datum		values[9];
		bool		nulls[9] = {false};
		Datum		id = Int32GetDatum(source->id);
		bool		isnull;

		if (source->attached)
		{
			/* events come by record_event() */
			capturing = source->of_events ||
				(header != NULL && has_trigger(source->header, source->name) &&
				 (!OidIsValid(source->lines) || (lines != NULL && has_trigger(source->lines, source->name))));
			problem = mapping_problem(source);
		}
		values[0] = CStringGetTextDatum(source->name);
		nulls[1] = header == NULL;
		values[1] = header == NULL ? (Datum) 0 : CStringGetTextDatum(header);
		nulls[2] = lines == NULL;
		values[2] = lines == NULL ? (Datum) 0 : CStringGetTextDatum(lines);
		values[3] = BoolGetDatum(source->attached);
		values[4] = BoolGetDatum(capturing);
		nulls[5] = !source->attached;
		values[5] = BoolGetDatum(problem == NULL);
		(void) loyalty_run(&plan_waiting, &id, NULL);
		values[6] = loyalty_spi_datum(0, 1, &isnull);
		values[7] = loyalty_spi_datum(0, 2, &isnull);
		if (problem == NULL && source->attached && !capturing)
			problem = "a trigger is missing or disabled";
		if (problem == NULL && source->attached)
			problem = rule_problem(source);
		nulls[8] = problem == NULL;
		values[8] = problem == NULL ? (Datum) 0 : CStringGetTextDatum(problem);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	SPI_finish();
	loyalty_resume(&save);
	loyalty_config_unpin();
	return (Datum) 0;
}

static void
report(ReturnSetInfo *rsinfo, const char *check, bool ok, const char *detail)
{
	Datum		values[3];
	bool		nulls[3] = {false};

	values[0] = CStringGetTextDatum(check);
	values[1] = BoolGetDatum(ok);
	values[2] = CStringGetTextDatum(detail);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * Would finding rows by key scan the whole table?
 */
static void
report_plan(ReturnSetInfo *rsinfo, const char *check, LoyaltySource *source, const char *sql,
			LoyaltyExpression *key, Oid table)
{
	StringInfoData execute;
	bool		scans = false;
	char	   *scan = psprintf("Seq Scan on %s", quote_identifier(get_rel_name(table)));

	initStringInfo(&execute);
	appendStringInfoString(&execute, sql);
	/* a plan for one key, small tables not preferred whole */
	for (int i = key->nparts; i >= 1; i--)
	{
		char	   *parameter = psprintf("$%d", i);
		char	   *at;

		while ((at = strstr(execute.data, parameter)) != NULL)
		{
			char	   *rest = pstrdup(at + strlen(parameter));

			execute.len = at - execute.data;
			execute.data[execute.len] = '\0';
			appendStringInfo(&execute, "(ARRAY[NULL]::pg_catalog.text[])%s", rest);
		}
	}
	(void) loyalty_execute("SET LOCAL enable_seqscan = off");
	if (loyalty_execute(psprintf("EXPLAIN (COSTS OFF) %s", execute.data)) < 0)
		elog(ERROR, "could not explain \"%s\"", execute.data);
	for (uint64 i = 0; i < SPI_processed; i++)
		if (strstr(loyalty_spi_text(i, 1), scan) != NULL)
			scans = true;
	report(rsinfo, check, !scans, scans ?
		   psprintf("no index serves the key: every evaluation would scan %s", get_rel_name(table)) :
		   psprintf("%s is read by an index", get_rel_name(table)));
}

typedef struct ReadWork
{
	ReturnSetInfo *rsinfo;
	LoyaltySource *source;
	int			limit;
} ReadWork;

/*
 * Read recent documents through the mapping and report what came of it.
 */
static void
read_recent(void *arg)
{
	ReturnSetInfo *rsinfo = ((ReadWork *) arg)->rsinfo;
	LoyaltySource *source = ((ReadWork *) arg)->source;
	List	   *found = loyalty_scan_documents(source, ((ReadWork *) arg)->limit, DT_NOBEGIN);
	LoyaltyDocument **docs = palloc(sizeof(LoyaltyDocument *) * (list_length(found) + 1));
	ListCell   *lc;
	int			guests = 0;
	int			no_amount = 0;
	int			empty = 0;
	int			n = 0;

	foreach(lc, found)
	{
		docs[n] = palloc0(sizeof(LoyaltyDocument));
		docs[n]->source = source;
		docs[n++]->key = ((LoyaltyFound *) lfirst(lc))->key;
	}
	loyalty_read_headers(docs, n, false);
	loyalty_read_lines(docs, n);
	for (int i = 0; i < n; i++)
	{
		if (docs[i]->facts == NULL)
			continue;
		if (docs[i]->facts->customer == NULL)
			guests++;
		if (loyalty_num_sign(docs[i]->facts->gross) == 0)
			no_amount++;
		if (OidIsValid(source->lines) && docs[i]->facts->nlines == 0)
			empty++;
	}
	report(rsinfo, "documents", true,
		   psprintf("%d read: %d without a customer, %d without an amount, %d without lines",
					n, guests, no_amount, empty));
	report_plan(rsinfo, "header by key", source, source->header_sql,
				source->expr[ITEM_KEY], source->header);
	if (OidIsValid(source->lines))
		report_plan(rsinfo, "lines by document", source, source->lines_sql,
					source->expr[ITEM_LINE_PARENT], source->lines);
}

/*
 * check_source(source text, n integer) -> setof (check_name, ok, detail)
 */
Datum
loyalty_check_source(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	LoyaltySource *source;
	char	   *problem;
	int			limit = PG_GETARG_INT32(1);
	LoyaltyIdentity save;

	if (limit < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("n must be at least 1")));
	InitMaterializedSRF(fcinfo, 0);
	loyalty_config_pin();
	source = loyalty_source_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();

	report(rsinfo, "triggers", has_trigger(source->header, source->name) &&
		   (!OidIsValid(source->lines) || has_trigger(source->lines, source->name)),
		   "triggers on the attached tables");
	problem = mapping_problem(source);
	report(rsinfo, "mapping", problem == NULL, problem == NULL ? "every expression compiles" : problem);
	if (problem == NULL)
	{
		ReadWork	w = {rsinfo, source, limit};
		ErrorData  *error;

		/* whatever reading does or raises, it is undone */
		error = loyalty_attempt(read_recent, &w, NULL, true);
		if (error != NULL)
			report(rsinfo, "documents", false, error->message);
	}
	SPI_finish();
	loyalty_resume(&save);
	loyalty_config_unpin();
	return (Datum) 0;
}
