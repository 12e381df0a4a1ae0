/*
 * batch.c
 *	  One batch of documents, from keys to booked differences.
 *
 * Members are locked before anything is read that a decision rests on, and in
 * ascending order of their numbers.  Which members these are is known from
 * the documents' customers and from what is booked; if reading under the lock
 * shows that a further one is concerned, it is locked too, without waiting
 * where that would be out of order.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ledger/ledger.h"

static void
split_all(LoyaltyBatch *batch)
{
	for (int i = 0; i < batch->ndocs; i++)
	{
		LoyaltyDocument *doc = batch->docs[i];

		doc->claims = doc->facts != NULL ? loyalty_split_document(doc) : NIL;
	}
}

/*
 * Lock, read, and lock more until everything concerned is locked.
 */
static void
lock_and_load(LoyaltyBatch *batch)
{
	bool		fixed_snapshot = IsolationUsesXactSnapshot();

	loyalty_read_headers(batch->docs, batch->ndocs, false);

	/* lock first those with whom changed or deleted documents are booked */
	{
		LoyaltyDocument **all = batch->docs;
		int			nall = batch->ndocs;
		int64	   *ids;
		int			n;
		bool		changed = false;

		batch->docs = palloc(sizeof(LoyaltyDocument *) * nall);
		batch->ndocs = 0;
		for (int i = 0; i < nall; i++)
			if (!all[i]->fresh)
				batch->docs[batch->ndocs++] = all[i];
		if (batch->ndocs > 0)
		{
			for (int i = 0; i < batch->ndocs; i++)
				batch->docs[i]->claims = NIL;
			loyalty_load_books(batch);
			n = loyalty_concerned_members(batch, &ids);
			for (int i = 0; i < batch->ndocs; i++)
				changed |= batch->docs[i]->old_member != 0;
			if (n > 0 || changed)
			{
				/* together with the customers, in one ascending pass */
				int64	   *both = palloc(sizeof(int64) * (n + 2 * nall));

				memcpy(both, ids, sizeof(int64) * n);
				for (int i = 0; i < nall; i++)
					if (all[i]->old_member != 0)
						both[n++] = all[i]->old_member;
				for (int i = 0; i < nall; i++)
					if (all[i]->facts != NULL && all[i]->facts->customer != NULL)
						both[n++] = loyalty_member_number(all[i]->source->program, all[i]->facts->customer, 0);
				n = loyalty_sort_members(both, n);
				batch->docs = all;
				batch->ndocs = nall;
				loyalty_enrol_and_lock(batch, both, n);
				for (int i = 0; i < nall; i++)
					loyalty_meet_at_enrolment(batch, all[i]);
			}
		}
		batch->docs = all;
		batch->ndocs = nall;
	}

	for (int attempt = 0; attempt < 8; attempt++)
	{
		int64	   *ids;
		int			n;

		(void) loyalty_lock_customers(batch);
		if (!fixed_snapshot)
		{
			loyalty_read_headers(batch->docs, batch->ndocs, true);
			if (loyalty_lock_customers(batch))
				loyalty_read_headers(batch->docs, batch->ndocs, true);
		}
		loyalty_read_lines(batch->docs, batch->ndocs);
		split_all(batch);
		loyalty_load_books(batch);
		if (loyalty_add_dependants(batch))
		{
			attempt--;			/* each is added once */
			continue;
		}
		n = loyalty_concerned_members(batch, &ids);
		if (loyalty_all_locked(batch, ids, n))
			return;
		loyalty_lock_batch(batch, ids, NULL, n);
	}
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("the members concerned by a document keep changing")));
}

/* members together, each one's documents by date and key */
static int
compare_documents(const void *a, const void *b)
{
	LoyaltyDocument *x = *(LoyaltyDocument *const *) a;
	LoyaltyDocument *y = *(LoyaltyDocument *const *) b;

	if (x->member_id != y->member_id)
		return x->member_id < y->member_id ? -1 : 1;
	if (x->facts == NULL || y->facts == NULL)
		return (x->facts != NULL) - (y->facts != NULL);
	if (x->facts->at != y->facts->at)
		return x->facts->at < y->facts->at ? -1 : 1;
	return loyalty_compare_keys(x->key, y->key);
}

static Points
booked(LoyaltyFamily *family)
{
	Points		sum = 0;
	ListCell   *lc;

	foreach(lc, family->parts)
		sum += ((LoyaltyPart *) lfirst(lc))->points;
	return sum;
}

static Points
growth(LoyaltyFamily *family)
{
	Points		sum = 0;
	ListCell   *lc;

	foreach(lc, family->parts)
		sum += ((LoyaltyPart *) lfirst(lc))->growth;
	return sum;
}

/* points that redemptions for a document took, without what came back */
static Points
redeemed(LoyaltyFamily *family)
{
	Points		sum = 0;
	ListCell   *lc;

	foreach(lc, family->redemptions)
		sum += ((LoyaltyRedemption *) lfirst(lc))->points - ((LoyaltyRedemption *) lfirst(lc))->restored;
	return sum;
}

/* a document as it was booked before the batch */
typedef struct Before
{
	bool		was_booked;
	Points		points;
	Points		growth;
	Points		redeemed;
} Before;

static const char other_growth[] = "other growth";

static void
add_difference(LoyaltyBatch *batch, LoyaltyDocument *doc, const char *problem, Points before, Points after,
			   LoyaltyOutcome *outcome)
{
	MemoryContext old = MemoryContextSwitchTo(outcome->context);
	LoyaltyDifference *d = palloc0(sizeof(LoyaltyDifference));
	ListCell   *lc;

	d->source = doc->source;
	d->key = pstrdup(doc->key);
	d->booked = before;
	d->due = after;
	d->problem = problem;
	if (doc->facts != NULL && doc->facts->customer != NULL)
		d->customer = pstrdup(doc->facts->customer);
	else
		foreach(lc, loyalty_family(batch, doc->source->id, doc->key)->parts)
			if (((LoyaltyPart *) lfirst(lc))->member_id != 0)
				d->customer = pstrdup(loyalty_batch_member(batch, ((LoyaltyPart *) lfirst(lc))->member_id)->customer);
	d->of_growth = problem == other_growth;
	outcome->differences = lappend(outcome->differences, d);
	MemoryContextSwitchTo(old);
}

/* what an evaluated document has otherwise than before; points that were redeemed count below 0 */
static void
collect_differences(LoyaltyBatch *batch, LoyaltyDocument *doc, Before *before, LoyaltyOutcome *outcome)
{
	LoyaltyFamily *family = loyalty_family(batch, doc->source->id, doc->key);
	LoyaltyPart *live = loyalty_live_part(family->parts);
	Points		points = booked(family);
	const char *problem = NULL;

	if (live != NULL && !before->was_booked)
		problem = "not booked";
	else if (live == NULL && before->was_booked)
		problem = "booked, but not in scope";
	else if (before->points != points)
		problem = "booked otherwise";
	if (problem != NULL)
		add_difference(batch, doc, problem, before->points, points, outcome);
	if (before->growth != growth(family) && before->was_booked && live != NULL)
		add_difference(batch, doc, other_growth, before->growth, growth(family), outcome);
	if (before->redeemed != redeemed(family))
		add_difference(batch, doc, "redeemed otherwise", -before->redeemed, -redeemed(family), outcome);
}

/*
 * A friend who was referred may have bought for the first time, or not any more.
 */
static void
follow_referrals(LoyaltyBatch *batch)
{
	int			nmembers;
	LoyaltyMember **members = loyalty_batch_members(batch, &nmembers);
	int64	   *ids = palloc(sizeof(int64) * (nmembers + 1));
	int			n = 0;

	for (int i = 0; i < nmembers; i++)
		if (members[i]->program->refers)
			ids[n++] = members[i]->id;
	if (n > 0)
		loyalty_follow_referrals(ids, n);
}

/* what was booked for members that were merged goes to who has their points */
static void
sweep_merged(LoyaltyBatch *batch)
{
	int			n;
	LoyaltyMember **members = loyalty_batch_members(batch, &n);

	for (int i = 0; i < n; i++)
		if (members[i]->merged_into != 0 && members[i]->dirty)
			loyalty_sweep(members[i], loyalty_batch_account(batch, members[i]->id), loyalty_sweep_time(members[i]), batch->now);
}

/* members with many entries whose lots are not stored: it is time */
static void
store_many_lots(LoyaltyMember **members, int n)
{
	LoyaltyMember **due = palloc(sizeof(LoyaltyMember *) * (n + 1));
	int			ndue = 0;

	for (int i = 0; i < n; i++)
		if (members[i]->last_seq - members[i]->lots_through > LOYALTY_LOTS_TAIL)
			due[ndue++] = members[i];
	loyalty_store_lots(due, ndue);
}

/*
 * Evaluate documents and book what differs.  SPI is connected, the role is
 * that of the books' owner, and an error undoes the batch as a whole.  Facts
 * and all else are allocated in the current context, which the caller drops.
 */
void
loyalty_process_batch(LoyaltyDocument **docs, int n, LoyaltyOutcome *outcome)
{
	LoyaltyBatch batch;
	LoyaltyMember **members;
	int			nmembers;
	int			ndirty = 0;
	LoyaltyMember **dirty;
	Before	   *before = NULL;

	memset(&batch, 0, sizeof(batch));
	batch.context = CurrentMemoryContext;
	batch.docs = palloc(sizeof(LoyaltyDocument *) * Max(n, 1));
	memcpy(batch.docs, docs, sizeof(LoyaltyDocument *) * n);
	batch.ndocs = n;
	loyalty_start_members(&batch);
	loyalty_store_reset();
	for (int i = 0; i < n; i++)
		docs[i]->done = false;

	lock_and_load(&batch);
	batch.now = GetCurrentTimestamp();
	qsort(batch.docs, batch.ndocs, sizeof(LoyaltyDocument *), compare_documents);

	if (outcome->collect)
	{
		before = palloc(sizeof(Before) * n);
		for (int i = 0; i < n; i++)
		{
			LoyaltyFamily *f = loyalty_family(&batch, docs[i]->source->id, docs[i]->key);

			before[i].was_booked = loyalty_live_part(f->parts) != NULL;
			before[i].points = booked(f);
			before[i].growth = growth(f);
			before[i].redeemed = redeemed(f);
		}
	}

	for (int i = 0; i < batch.ndocs; i++)
		loyalty_evaluate_document(&batch, batch.docs[i]);
	sweep_merged(&batch);

	loyalty_store_flush();
	loyalty_write_budgets(&batch);
	members = loyalty_batch_members(&batch, &nmembers);
	dirty = palloc(sizeof(LoyaltyMember *) * (nmembers + 1));
	for (int i = 0; i < nmembers; i++)
		if (members[i]->dirty)
			(void) loyalty_settle_tier(members[i], batch.now, batch.now);
	loyalty_store_flush();
	store_many_lots(members, nmembers);
	for (int i = 0; i < nmembers; i++)
	{
		loyalty_history_touch_later(members[i]);
		if (!members[i]->dirty)
			continue;
		outcome->points += members[i]->balance - members[i]->balance_before;
		dirty[ndirty++] = members[i];
	}
	loyalty_store_members(dirty, ndirty);
	outcome->documents += n;
	follow_referrals(&batch);

	if (outcome->collect)
		for (int i = 0; i < n; i++)
			collect_differences(&batch, docs[i], &before[i], outcome);

	loyalty_store_reset();
}
