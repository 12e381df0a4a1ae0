/*
 * settle.c
 *	  When evaluation happens: what this transaction touched, and what waits.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "config.h"
#include "ledger/ledger.h"

/* a transaction that keeps touching documents while they are evaluated */
#define MAX_ROUNDS 100

static LoyaltyPlan plan_stored = {
	.sql = "SELECT DISTINCT d.doc_key FROM loyalty.document d WHERE d.source_id = $1 AND d.state <> 'withdrawn'",
	.nparams = 1, .types = {INT4OID}
};

static int
compare_keys(const ListCell *a, const ListCell *b)
{
	return strcmp(((LoyaltyDocument *) lfirst(a))->key, ((LoyaltyDocument *) lfirst(b))->key);
}

/*
 * Every document of a source, each once: those in scope, and those that are
 * booked.  SPI is connected, the role is the books' owner's.
 */
List *
loyalty_all_documents(LoyaltySource *source)
{
	List	   *all = NIL;
	List	   *docs = NIL;
	Datum		id = Int32GetDatum(source->id);
	uint64		n = loyalty_run(&plan_stored, &id, NULL);
	ListCell   *lc;

	for (uint64 i = 0; i < n; i++)
		all = lappend(all, loyalty_new_document(source, loyalty_spi_text(i, 1)));
	SPI_freetuptable(SPI_tuptable);
	foreach(lc, loyalty_scan_documents(source, 0, DT_NOBEGIN))
		all = lappend(all, loyalty_new_document(source, ((LoyaltyFound *) lfirst(lc))->key));
	list_sort(all, compare_keys);
	foreach(lc, all)
	{
		LoyaltyDocument *doc = lfirst(lc);

		if (docs == NIL || strcmp(((LoyaltyDocument *) llast(docs))->key, doc->key) != 0)
			docs = lappend(docs, doc);
	}
	return docs;
}

typedef struct Expansion
{
	LoyaltySource *source;
	MemoryContext context;
	List	   *docs;
} Expansion;

static void
expand(void *arg)
{
	Expansion  *e = arg;

	MemoryContextSwitchTo(e->context);
	e->docs = loyalty_all_documents(e->source);
}

/*
 * A source that was touched as a whole (TRUNCATE, or keys that could not be
 * told): every document of it is due.
 */
static List *
expand_source(LoyaltySource *source, int attempts, LoyaltyOutcome *outcome)
{
	Expansion	e = {source, CurrentMemoryContext, NIL};
	LoyaltyIdentity save;
	ErrorData  *error;
	bool		pushed = !ActiveSnapshotSet();

	if (pushed)
		PushActiveSnapshot(GetTransactionSnapshot());
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	error = loyalty_attempt_evaluation(expand, &e);
	if (error != NULL)
	{
		LoyaltyDocument *doc = loyalty_new_document(source, "");

		doc->attempts = attempts;
		loyalty_park_document(doc, error, outcome);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("loyalty could not tell which documents of source \"%s\" were changed", source->name),
				 errdetail("%s", error->message),
				 errhint("The whole source waits in loyalty.parked until its mapping works again.")));
		e.docs = NIL;
	}
	SPI_finish();
	loyalty_resume(&save);
	if (pushed)
		PopActiveSnapshot();
	return e.docs;
}

static void
enqueue(LoyaltySource *source, const char *key)
{
	LoyaltyIdentity save;
	bool		pushed = !ActiveSnapshotSet();

	if (pushed)
		PushActiveSnapshot(GetTransactionSnapshot());
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	loyalty_enqueue(source->id, key, 0, "queue", NULL, 0);
	SPI_finish();
	loyalty_resume(&save);
	if (pushed)
		PopActiveSnapshot();
}

typedef struct Waiting
{
	int32		source_id;
	int			limit;
	TimestampTz before;
	bool		unattended;
	int64	   *members;
	int			nmembers;
	MemoryContext context;
	List	   *claimed;
} Waiting;

static void
claim(void *arg)
{
	Waiting    *w = arg;
	MemoryContext old = MemoryContextSwitchTo(w->context);

	w->claimed = w->nmembers > 0 ? loyalty_claim_of_members(w->members, w->nmembers) :
		loyalty_claim(w->source_id, w->limit, w->before);
	MemoryContextSwitchTo(old);
}

/*
 * Take documents that wait and evaluate them.  Returns how many were taken.
 */
static int64
settle_claimed(Waiting *w)
{
	LoyaltyOutcome outcome = {0};
	LoyaltyIdentity save;
	ErrorData  *error;
	List	   *docs = NIL;
	ListCell   *lc;
	bool		pushed = !ActiveSnapshotSet();

	outcome.unattended = w->unattended;
	if (pushed)
		PushActiveSnapshot(GetTransactionSnapshot());
	w->context = CurrentMemoryContext;
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	error = loyalty_attempt_evaluation(claim, w);
	MemoryContextSwitchTo(w->context);
	SPI_finish();
	loyalty_resume(&save);
	if (pushed)
		PopActiveSnapshot();
	/* somebody else is at it: they stay where they are */
	if (error != NULL)
	{
		FreeErrorData(error);
		return 0;
	}
	foreach(lc, w->claimed)
	{
		LoyaltyClaimed *c = lfirst(lc);
		LoyaltySource *source = loyalty_source_by_id(c->source_id);
		LoyaltyDocument *doc;

		if (source == NULL)
			continue;
		if (c->key[0] == '\0')
		{
			docs = list_concat(docs, expand_source(source, c->attempts, &outcome));
			continue;
		}
		doc = loyalty_new_document(source, c->key);
		doc->attempts = c->attempts;
		docs = lappend(docs, doc);
	}
	loyalty_evaluate(docs, &outcome);
	return list_length(w->claimed);
}

/*
 * Evaluate up to limit documents that wait since before an instant, of one
 * source or (NULL) of all.  Returns how many were taken.
 */
int64
loyalty_settle_waiting(LoyaltySource *source, int limit, TimestampTz before, bool unattended)
{
	Waiting		w = {0};
	int64		n;

	if (!loyalty_anything_waits())
		return 0;
	w.source_id = source != NULL ? source->id : 0;
	w.limit = limit;
	w.before = before;
	w.unattended = unattended;
	loyalty_config_pin();
	n = settle_claimed(&w);
	loyalty_config_unpin();
	return n;
}

/*
 * One round: what was touched since the last.  Returns how many were parked;
 * more is set if documents were touched by it.
 */
static int64
flush_round(int32 source_id, bool *more)
{
	LoyaltyOutcome outcome = {0};
	int			n;
	LoyaltyTouched *touched = loyalty_take_touched(source_id, &n);
	int			others = loyalty_touched_count();
	LoyaltyDocument *block = MemoryContextAllocExtended(CurrentMemoryContext,
														Max(n, 1) * sizeof(LoyaltyDocument),
														MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	List	   *docs = NIL;
	ListCell   *lc;

	for (int i = 0; i < n; i++)
	{
		LoyaltySource *source = loyalty_source_by_id(touched[i].source_id);
		LoyaltyDocument *doc;

		if (source == NULL)
			continue;			/* detached in this transaction */
		/* what a document was called is only known now */
		if (source->evaluate == EVALUATE_QUEUE && touched[i].was == NULL && !touched[i].moved)
		{
			enqueue(source, touched[i].key);
			continue;
		}
		if (touched[i].key[0] == '\0')
		{
			docs = list_concat(docs, expand_source(source, 0, &outcome));
			continue;
		}
		doc = &block[i];
		doc->source = source;
		doc->key = touched[i].key;
		doc->row = touched[i].row;
		doc->old = touched[i].old;
		doc->map_id = touched[i].map_id;
		doc->fresh = touched[i].fresh;
		doc->was = touched[i].was;
		doc->line_only = touched[i].line_only;
		docs = lappend(docs, doc);
	}
	if (touched != NULL)
		pfree(touched);
	loyalty_evaluate(docs, &outcome);

	/*
	 * A line was written, but not its header: a snapshot that is older than a
	 * change of the header cannot see it, and nobody who changed it saw the
	 * line.  Somebody else has to look again.
	 */
	if (IsolationUsesXactSnapshot())
		foreach(lc, docs)
		{
			LoyaltyDocument *doc = lfirst(lc);

			if (doc->line_only && doc->old_member != 0)
				enqueue(doc->source, doc->key);
		}

	/* those whose lock is not there to meet at are looked at again at the end */
	foreach(lc, docs)
	{
		LoyaltyDocument *doc = lfirst(lc);

		if (doc->unmet || (doc->line_only && doc->member_id == 0))
			loyalty_touch_again(doc->source->id, doc->key, doc->row, doc->old, doc->map_id, doc->line_only);
	}

	/* parked documents of the members we hold anyway get another chance */
	if (list_length(docs) <= 100 && !IsolationUsesXactSnapshot() && loyalty_anything_waits())
	{
		Waiting		w = {0};

		w.members = palloc(sizeof(int64) * (list_length(docs) + 1));
		foreach(lc, docs)
			if (((LoyaltyDocument *) lfirst(lc))->member_id != 0)
				w.members[w.nmembers++] = ((LoyaltyDocument *) lfirst(lc))->member_id;
		if (w.nmembers > 0 && outcome.parked == 0)
			(void) settle_claimed(&w);
	}
	*more = loyalty_touched_count() > others;
	return outcome.parked;
}

/* has this very transaction dropped the extension? */
static bool
is_dropped(void)
{
	return !loyalty_config_is_current() && !loyalty_installed();
}

/*
 * Evaluate what the transaction has touched, of one source or (0) of all;
 * called at commit, by settle(), and after each statement for sources that
 * are attached that way.  Returns how many documents were parked.
 */
int64
loyalty_flush_touched(int32 source_id)
{
	MemoryContext context;
	MemoryContext old;
	int64		parked = 0;
	bool		more = true;

	if (loyalty_touched_count() == 0 || is_dropped())
		return 0;
	context = AllocSetContextCreate(TopTransactionContext, "loyalty flush", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	loyalty_config_pin();
	/* purchases that come after what a statement changed are decided with it */
	for (int round = 0; more && loyalty_touched_count() > 0; round++)
	{
		if (round == MAX_ROUNDS)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("evaluating documents keeps changing documents"),
					 errhint("A mapping must not write to attached tables.")));
		parked += flush_round(source_id, &more);
	}
	loyalty_config_unpin();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return parked;
}

/*
 * A transaction is prepared: what it could only look at once more at its end
 * has to be looked at by somebody else, after that end.
 */
void
loyalty_queue_unmet(void)
{
	LoyaltyTouched *touched;
	int			n;

	loyalty_recall_touched();
	if (loyalty_touched_count() == 0 || is_dropped())
		return;
	loyalty_config_pin();
	touched = loyalty_take_touched(0, &n);
	for (int i = 0; i < n; i++)
	{
		LoyaltySource *source = loyalty_source_by_id(touched[i].source_id);

		if (source != NULL)
			enqueue(source, touched[i].key);
	}
	loyalty_config_unpin();
}
