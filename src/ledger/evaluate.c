/*
 * evaluate.c
 *	  Documents are evaluated, and what becomes of failures.
 *
 * They are evaluated in batches, each in a subtransaction.  A batch that
 * fails is halved until the document at fault stands alone; that one is parked
 * with its error, and the ERP's transaction goes on.  Only what the user asked
 * for gets through: a cancel request, and errors of sources that are attached
 * with on_error = 'raise'.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "config.h"
#include "ledger/ledger.h"
#include "rule/match.h"

/*
 * Documents per batch; one statement reads the facts of so many.  The smaller
 * number is what stays in the processor's caches, the larger one makes fewer
 * subtransactions: of more than 64 that wrote something, other sessions must
 * look up whose they are.
 */
#define BATCH_DOCUMENTS 500
#define BATCH_MOST 2000
#define SUBTRANSACTIONS 60

/* the same, if they were known before: their entries and lots are in hand, too */
#define BATCH_KNOWN 250

/* after so many documents failed one by one, the rest is parked unread */
#define MAX_FAILURES 200

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
ErrorData *
loyalty_attempt_evaluation(void (*work) (void *), void *arg)
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

/*
 * May documents that wait be looked for on the way?  Under SERIALIZABLE who
 * has looked is in conflict with all who park after that, and what cannot even
 * be parked is lost: there, a document may wait once more than it need.
 */
static bool
may_look(void)
{
	return !IsolationIsSerializable() && loyalty_anything_waits();
}

static void
process(void *arg)
{
	Batch	   *b = arg;

	if (may_look())
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
	error = may_look() ? loyalty_attempt_evaluation(park_instead, &b) : loyalty_attempt_evaluation(park, &b);
	if (error != NULL)
		error = loyalty_attempt_evaluation(park, &b);
	if (error != NULL)
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("could not park document \"%s\" of source \"%s\": %s",
						docs[0]->key, docs[0]->source->name, error->message),
				 errhint("loyalty.verify() finds documents without a booking.")));
}

/*
 * One document could not be evaluated, with this error: it waits.
 */
void
loyalty_park_document(LoyaltyDocument *doc, ErrorData *error, LoyaltyOutcome *outcome)
{
	Failures	failures = {0, NULL, NULL};

	park_documents(&doc, 1, error, outcome, &failures);
}

/*
 * Evaluate a batch; halve it on failure.
 */
static void
run(LoyaltyDocument **docs, int n, LoyaltyOutcome *outcome, Failures *failures)
{
	Batch		b = {docs, n, outcome, NULL};
	ErrorData  *error;

	error = loyalty_attempt_evaluation(process, &b);
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

	loyalty_probe_documents(b->docs, b->n);
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

/* where there must be many subtransactions anyway, they may as well be small */
static int
batch_size(int n)
{
	int			size = Max(BATCH_DOCUMENTS, n / SUBTRANSACTIONS);

	return size > BATCH_MOST ? BATCH_DOCUMENTS : size;
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
	ErrorData  *error = loyalty_attempt_evaluation(probe, &all);
	int			size = batch_size(n);

	if (error != NULL)
		FreeErrorData(error);
	for (int from = 0; from < n; from += size)
	{
		Batch		b = {docs + from, Min(size, n - from), outcome, NULL};
		error = loyalty_attempt_evaluation(read_customers, &b);

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

		for (to = from; to < n && to - from < size && known < BATCH_KNOWN; to++)
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
