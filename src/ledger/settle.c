/*
 * settle.c
 *	  When evaluation happens, and what becomes of its failures.
 *
 * Documents are evaluated in batches, each in a subtransaction.  A batch that
 * fails is halved until the document at fault stands alone; that one is parked
 * with its error, and the ERP's transaction goes on.  Only what the user asked
 * for gets through: a cancel request, and errors of sources that are attached
 * with on_error = 'raise'.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "config.h"
#include "ledger/ledger.h"
#include "rule/match.h"

/* documents per batch; one statement reads the facts of so many */
#define BATCH_DOCUMENTS 2000

/* the same, if they were known before: their entries and lots are in hand, too */
#define BATCH_KNOWN 250

/* after so many documents failed one by one, the rest is parked unread */
#define MAX_FAILURES 200

/* a transaction that keeps touching documents while they are evaluated */
#define MAX_ROUNDS 100

static LoyaltyPlan plan_stored = {
	.sql = "SELECT DISTINCT d.doc_key FROM loyalty.document d WHERE d.source_id = $1 AND d.state <> 'withdrawn'",
	.nparams = 1, .types = {INT4OID}
};

/* the failures of one evaluation */
typedef struct Failures
{
	int			count;
	ErrorData  *first;
	LoyaltyDocument *document;
} Failures;

LoyaltyDocument *
loyalty_new_document(LoyaltySource *source, const char *key)
{
	LoyaltyDocument *doc = palloc0(sizeof(LoyaltyDocument));

	doc->source = source;
	doc->key = pstrdup(key);
	return doc;
}

/*
 * Run work in a subtransaction and in a memory context of its own.  Returns
 * NULL, or the error that undid it, in the caller's context.
 */
static ErrorData *
attempt(void (*work) (void *), void *arg)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "loyalty evaluation", ALLOCSET_DEFAULT_SIZES);
	ErrorData  *error = loyalty_attempt(work, arg, context, false);

	if (error != NULL)
		loyalty_store_reset();
	/* that a number was divided by zero does not help unless one knows by which rule */
	if (error != NULL && error->context != NULL &&
		strncmp(error->context, LOYALTY_RULE_CONTEXT, strlen(LOYALTY_RULE_CONTEXT)) == 0)
		error->message = psprintf("%.*s: %s", (int) strcspn(error->context, "\n"), error->context, error->message);
	MemoryContextDelete(context);
	return error;
}

typedef struct Batch
{
	LoyaltyDocument **docs;
	int			n;
	LoyaltyOutcome *outcome;
	ErrorData  *error;
} Batch;

/*
 * Documents of this batch that waited are evaluated now; how often they failed
 * before is kept, should they fail again.
 */
static void
take_waiting(LoyaltyDocument **docs, int n)
{
	char	  **keys = palloc(sizeof(char *) * n);

	for (int from = 0; from < n;)
	{
		int			to = from;
		ListCell   *lc;

		while (to < n && docs[to]->source == docs[from]->source)
		{
			keys[to] = docs[to]->key;
			to++;
		}
		foreach(lc, loyalty_claim_documents(docs[from]->source->id, keys + from, to - from))
		{
			LoyaltyClaimed *c = lfirst(lc);

			for (int i = from; i < to; i++)
				if (strcmp(docs[i]->key, c->key) == 0)
					docs[i]->attempts = Max(docs[i]->attempts, c->attempts);
		}
		from = to;
	}
}

static void
process(void *arg)
{
	Batch	   *b = arg;

	if (loyalty_anything_waits())
		take_waiting(b->docs, b->n);
	loyalty_process_batch(b->docs, b->n, b->outcome);
}

static void
park(void *arg)
{
	Batch	   *b = arg;

	for (int i = 0; i < b->n; i++)
		loyalty_enqueue(b->docs[i]->source->id, b->docs[i]->key, b->docs[i]->member_hint,
						"parked", b->error, b->docs[i]->attempts + 1);
}

/*
 * What waits already, of documents that are parked once more, makes room:
 * each waits once, however often it is written meanwhile.
 */
static void
park_instead(void *arg)
{
	Batch	   *b = arg;

	take_waiting(b->docs, b->n);
	park(b);
}

/*
 * What is only tried out parks nothing; who compares wants to know.
 */
static void
note_failures(LoyaltyDocument **docs, int n, ErrorData *error, LoyaltyOutcome *outcome)
{
	MemoryContext old = MemoryContextSwitchTo(outcome->context);

	for (int i = 0; i < n; i++)
	{
		LoyaltyDifference *d = palloc0(sizeof(LoyaltyDifference));

		d->source = docs[i]->source;
		d->key = pstrdup(docs[i]->key);
		d->unknown = true;
		d->problem = psprintf("cannot be evaluated: %s", error->message);
		outcome->differences = lappend(outcome->differences, d);
	}
	MemoryContextSwitchTo(old);
}

static void
park_documents(LoyaltyDocument **docs, int n, ErrorData *error, LoyaltyOutcome *outcome, Failures *failures)
{
	Batch		b = {docs, n, outcome, error};

	for (int i = 0; i < n; i++)
		if (docs[i]->source->raise && !outcome->unattended && !outcome->dry)
			ReThrowError(error);
	if (failures->first == NULL)
	{
		failures->first = error;
		failures->document = docs[0];
	}
	failures->count += n;
	outcome->parked += n;
	if (outcome->collect)
		note_failures(docs, n, error, outcome);
	if (outcome->dry)
		return;
	/* under REPEATABLE READ somebody may have taken what waits: then it is left */
	error = loyalty_anything_waits() ? attempt(park_instead, &b) : attempt(park, &b);
	if (error != NULL)
		error = attempt(park, &b);
	if (error != NULL)
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("could not park document \"%s\" of source \"%s\": %s",
						docs[0]->key, docs[0]->source->name, error->message),
				 errhint("loyalty.verify() finds documents without a booking.")));
}

/*
 * Evaluate a batch; halve it on failure.
 */
static void
run(LoyaltyDocument **docs, int n, LoyaltyOutcome *outcome, Failures *failures)
{
	Batch		b = {docs, n, outcome, NULL};
	ErrorData  *error;

	error = attempt(process, &b);
	for (int i = 0; i < n; i++)
	{
		docs[i]->facts = NULL;
		docs[i]->claims = NIL;
		docs[i]->probed = false;
	}
	if (error == NULL)
		return;
	if (n == 1 || failures->count >= MAX_FAILURES)
	{
		park_documents(docs, n, error, outcome, failures);
		return;
	}
	FreeErrorData(error);
	run(docs, n / 2, outcome, failures);
	run(docs + n / 2, n - n / 2, outcome, failures);
}

static void
read_customers(void *arg)
{
	Batch	   *b = arg;

	loyalty_peek_headers(b->docs, b->n);
}

static void
probe(void *arg)
{
	Batch	   *b = arg;

	loyalty_store_probe(b->docs, b->n);
}

static int
compare_hints(const void *a, const void *b)
{
	const LoyaltyDocument *x = *(LoyaltyDocument *const *) a;
	const LoyaltyDocument *y = *(LoyaltyDocument *const *) b;

	if (x->member_hint != y->member_hint)
		return x->member_hint < y->member_hint ? -1 : 1;
	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return loyalty_compare_keys(x->key, y->key);
}

/*
 * More than one batch: members in ascending order, which is the order of
 * locking, and each one's documents in the order in which they count.  Before
 * that, while they are still in the order of their keys, the books are asked
 * which of them are new; nobody else can book what only we can see.
 */
static void
run_many(LoyaltyDocument **docs, int n, LoyaltyOutcome *outcome, Failures *failures)
{
	Batch		all = {docs, n, outcome, NULL};
	ErrorData  *error = attempt(probe, &all);

	if (error != NULL)
		FreeErrorData(error);
	for (int from = 0; from < n; from += BATCH_DOCUMENTS)
	{
		Batch		b = {docs + from, Min(BATCH_DOCUMENTS, n - from), outcome, NULL};
		error = attempt(read_customers, &b);

		/* what is wrong will be wrong again, and parked then */
		if (error != NULL)
			FreeErrorData(error);
		for (int i = 0; i < b.n; i++)
			b.docs[i]->facts = NULL;
		CHECK_FOR_INTERRUPTS();
	}
	qsort(docs, n, sizeof(LoyaltyDocument *), compare_hints);
	for (int from = 0, to; from < n; from = to)
	{
		int			known = 0;

		for (to = from; to < n && to - from < BATCH_DOCUMENTS && known < BATCH_KNOWN; to++)
			known += (int) !docs[to]->unknown;
		run(docs + from, to - from, outcome, failures);
		CHECK_FOR_INTERRUPTS();
	}
}

static int
compare_identity(const void *a, const void *b)
{
	const LoyaltyDocument *x = *(LoyaltyDocument *const *) a;
	const LoyaltyDocument *y = *(LoyaltyDocument *const *) b;

	if (x->source->id != y->source->id)
		return x->source->id < y->source->id ? -1 : 1;
	return strcmp(x->key, y->key);
}

/*
 * Evaluate documents (of LoyaltyDocument *), each once, and book what differs.
 */
void
loyalty_evaluate(List *list, LoyaltyOutcome *outcome)
{
	int			n = 0;
	LoyaltyDocument **docs;
	LoyaltyIdentity save;
	Failures	failures = {0, NULL, NULL};
	bool		pushed = !ActiveSnapshotSet();
	ListCell   *lc;

	if (list == NIL)
		return;
	docs = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(LoyaltyDocument *) * list_length(list));
	foreach(lc, list)
		docs[n++] = lfirst(lc);
	if (n > 1)
	{
		int			m = 0;

		qsort(docs, n, sizeof(LoyaltyDocument *), compare_identity);
		for (int i = 0; i < n; i++)
			if (i == 0 || compare_identity(&docs[i], &docs[m - 1]) != 0)
				docs[m++] = docs[i];
		n = m;
	}

	if (pushed)
		PushActiveSnapshot(GetTransactionSnapshot());
	loyalty_config_pin();
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	if (n <= BATCH_DOCUMENTS)
		run(docs, n, outcome, &failures);
	else
		run_many(docs, n, outcome, &failures);
	SPI_finish();
	loyalty_resume(&save);
	loyalty_config_unpin();
	if (pushed)
		PopActiveSnapshot();

	if (failures.count > 0 && outcome->dry)
		ereport(WARNING,
				(errcode(failures.first->sqlerrcode),
				 errmsg_plural("loyalty could not evaluate %d document",
							   "loyalty could not evaluate %d documents",
							   failures.count, failures.count),
				 errdetail("Document \"%s\" of source \"%s\": %s", failures.document->key,
						   failures.document->source->name, failures.first->message)));
	else if (failures.count > 0)
		ereport(WARNING,
				(errcode(failures.first->sqlerrcode),
				 errmsg_plural("loyalty parked %d document that could not be evaluated",
							   "loyalty parked %d documents that could not be evaluated",
							   failures.count, failures.count),
				 errdetail("Document \"%s\" of source \"%s\": %s", failures.document->key,
						   failures.document->source->name, failures.first->message),
				 errhint("loyalty.parked lists them; they are tried again by settle(), retry_parked() and upkeep().")));
}

/*
 * The same, and undo it: only the outcome remains.
 */
void
loyalty_evaluate_dry(List *docs, LoyaltyOutcome *outcome)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	outcome->dry = true;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	loyalty_evaluate(docs, outcome);
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
}

/*
 * Every document of a source: those in scope, and those that are booked.
 * SPI is connected, the role is the books' owner's.
 */
List *
loyalty_all_documents(LoyaltySource *source)
{
	List	   *docs = NIL;
	Datum		id = Int32GetDatum(source->id);
	uint64		n = loyalty_run(&plan_stored, &id, NULL);
	ListCell   *lc;

	for (uint64 i = 0; i < n; i++)
		docs = lappend(docs, loyalty_new_document(source, loyalty_spi_text(i, 1)));
	SPI_freetuptable(SPI_tuptable);
	foreach(lc, loyalty_scan_documents(source, 0, DT_NOBEGIN))
		docs = lappend(docs, loyalty_new_document(source, ((LoyaltyFound *) lfirst(lc))->key));
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
	error = attempt(expand, &e);
	if (error != NULL)
	{
		LoyaltyDocument *doc = loyalty_new_document(source, "");
		Failures	failures = {0, NULL, NULL};

		doc->attempts = attempts;
		park_documents(&doc, 1, error, outcome, &failures);
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
	error = attempt(claim, w);
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
		if (source->evaluate == EVALUATE_QUEUE)
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

	if (loyalty_touched_count() == 0)
		return 0;
	if (!loyalty_installed())
		return 0;				/* dropped by this very transaction */
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
	if (loyalty_touched_count() == 0)
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
