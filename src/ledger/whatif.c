/*
 * whatif.c
 *	  Rules that are only proposed: what they would have given.
 *
 * Proposed rules are put into force in a subtransaction, documents or a basket
 * are evaluated by the code that books, and everything is undone.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"

#include "config.h"
#include "errors.h"
#include "ledger/ledger.h"

PG_FUNCTION_INFO_V1(loyalty_replay);

/* documents that are evaluated together, and whose members are locked so long */
#define REPLAY_BATCH 1000

static LoyaltyPlan plan_propose = {
	.sql = "SELECT loyalty.propose_rules($1, $2)",
	.nparams = 2, .types = {TEXTOID, JSONBOID}
};

/* a member's documents side by side */
static LoyaltyPlan plan_documents = {
	.sql = "SELECT DISTINCT ON (d.member_id, d.source_id, d.doc_key) d.source_id, d.doc_key, d.member_id"
	" FROM loyalty.document d JOIN loyalty.source s ON s.source_id = d.source_id AND s.attached"
	" WHERE s.program_id = $1 AND d.doc_date BETWEEN $2 AND $3 AND d.state <> 'withdrawn' AND d.member_id <> 0"
	" ORDER BY d.member_id, d.source_id, d.doc_key",
	.nparams = 3, .types = {INT4OID, DATEOID, DATEOID}
};

/*
 * Put proposed rules into force; whoever calls undoes it.
 */
void
loyalty_propose_rules(const char *program, Jsonb *rules)
{
	LoyaltyIdentity save;
	Datum		values[2];

	values[0] = CStringGetTextDatum(program);
	values[1] = JsonbPGetDatum(rules);
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	(void) loyalty_run(&plan_propose, values, NULL);
	SPI_finish();
	loyalty_resume(&save);
	CommandCounterIncrement();
}

typedef struct Replay
{
	char	   *program;
	Jsonb	   *rules;
	DateADT		since;
	DateADT		until;
	ReturnSetInfo *rsinfo;
	MemoryContext context;
} Replay;

static void
write_differences(Replay *r, List *differences)
{
	ListCell   *lc;

	foreach(lc, differences)
	{
		LoyaltyDifference *d = lfirst(lc);
		Datum		values[6];
		bool		nulls[6] = {false};

		if (d->unknown || d->of_growth)
			continue;
		values[0] = CStringGetTextDatum(d->source->name);
		values[1] = CStringGetTextDatum(d->key);
		nulls[2] = d->customer == NULL;
		values[2] = d->customer == NULL ? (Datum) 0 : CStringGetTextDatum(d->customer);
		values[3] = PointsGetDatum(d->booked);
		values[4] = PointsGetDatum(d->due);
		values[5] = PointsGetDatum(d->due - d->booked);
		tuplestore_putvalues(r->rsinfo->setResult, r->rsinfo->setDesc, values, nulls);
	}
}

/* a budget is one for all members: then they are evaluated in one piece */
static bool
has_budget(LoyaltyProgram *program)
{
	ListCell   *lc;

	foreach(lc, program->rules)
		if (((LoyaltyRule *) lfirst(lc))->current && ((LoyaltyRule *) lfirst(lc))->has_budget)
			return true;
	return false;
}

static void
replay(void *arg)
{
	Replay	   *r = arg;
	LoyaltyProgram *program;
	LoyaltyIdentity save;
	LoyaltyDocument **docs;
	int64	   *members;
	Datum		values[3];
	bool		isnull;
	bool		in_one_piece;
	int			n;

	loyalty_propose_rules(r->program, r->rules);
	loyalty_config_pin();
	program = loyalty_program_by_name(r->program);
	in_one_piece = has_budget(program);

	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	values[0] = Int32GetDatum(program->id);
	values[1] = DateADTGetDatum(r->since);
	values[2] = DateADTGetDatum(r->until);
	n = loyalty_run(&plan_documents, values, NULL);
	docs = palloc(sizeof(LoyaltyDocument *) * (n + 1));
	members = palloc(sizeof(int64) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		LoyaltySource *source = loyalty_source_by_id(DatumGetInt32(loyalty_spi_datum(i, 1, &isnull)));

		docs[i] = loyalty_new_document(source, loyalty_spi_text(i, 2));
		docs[i]->force = true;
		members[i] = DatumGetInt64(loyalty_spi_datum(i, 3, &isnull));
	}
	SPI_finish();
	loyalty_resume(&save);

	for (int from = 0; from < n;)
	{
		LoyaltyOutcome outcome = {0};
		List	   *batch = NIL;
		int			to = from;

		while (to < n && (in_one_piece || to - from < REPLAY_BATCH || members[to] == members[to - 1]))
			batch = lappend(batch, docs[to++]);
		outcome.context = r->context;
		outcome.collect = true;
		loyalty_evaluate_dry(batch, &outcome);
		write_differences(r, outcome.differences);
		from = to;
		CHECK_FOR_INTERRUPTS();
	}
	loyalty_config_unpin();
}

/*
 * replay(program text, since date, until date, rules jsonb)
 *	-> setof (source, doc_key, customer, booked, due, difference)
 *
 * Documents of these days that would get other points.  Everything is undone.
 */
Datum
loyalty_replay(PG_FUNCTION_ARGS)
{
	Replay		r;
	ErrorData  *error;

	for (int i = 0; i < 4; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("program, since, until and rules cannot be NULL")));
	loyalty_refuse_on_standby("replay");
	InitMaterializedSRF(fcinfo, 0);
	r.program = text_to_cstring(PG_GETARG_TEXT_PP(0));
	r.since = PG_GETARG_DATEADT(1);
	r.until = PG_GETARG_DATEADT(2);
	r.rules = PG_GETARG_JSONB_P_COPY(3);
	r.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	r.context = CurrentMemoryContext;
	(void) loyalty_program_by_name(r.program);
	error = loyalty_attempt(replay, &r, NULL, true);
	if (error != NULL)
		ReThrowError(error);
	return (Datum) 0;
}
