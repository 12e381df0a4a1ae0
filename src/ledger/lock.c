/*
 * lock.c
 *	  The members of a batch: found, made, and locked.
 *
 * Members are locked in ascending order of their numbers, so that nobody waits
 * in a circle.  Who must lock out of order, because he holds a higher one
 * already, does not wait.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "ledger/ledger.h"

typedef struct MemberEntry
{
	int64		id;
	LoyaltyMember *member;		/* NULL: looked for, does not exist */
	char		status;
} MemberEntry;

#define SH_PREFIX member
#define SH_ELEMENT_TYPE MemberEntry
#define SH_KEY_TYPE int64
#define SH_KEY id
#define SH_HASH_KEY(tb, key) murmurhash32((uint32) (key) ^ (uint32) ((key) >> 32))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* the highest number this transaction has locked */
static int64 highest_locked = 0;

/*
 * Lock a member before anything else is done about him, if that may wait for
 * whoever has him: otherwise he is locked when his document is evaluated.
 */
void
loyalty_lock_if_in_order(int64 member_id)
{
	int			n;

	if (member_id >= highest_locked && !IsolationUsesXactSnapshot())
		(void) loyalty_lock_in_order(&member_id, NULL, 1, &n);
}

/*
 * The last member that was locked in the order of locking; 0 for none.
 */
int64
loyalty_last_locked(void)
{
	return highest_locked == PG_INT64_MAX ? 0 : highest_locked;
}

void
loyalty_forget_locks(void)
{
	highest_locked = 0;
}

/*
 * Something is locked that others may wait for while they hold a member: from
 * now on members are locked only where they are free.  Returns whether this is
 * the first such thing, so that it can be waited for.
 */
bool
loyalty_lock_no_further_members(void)
{
	bool		first = highest_locked != PG_INT64_MAX;

	highest_locked = PG_INT64_MAX;
	return first;
}

int
loyalty_compare_int8(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/*
 * Sort numbers of members, each once; returns how many there are.
 */
int
loyalty_sort_members(int64 *ids, int n)
{
	int			m = 0;

	qsort(ids, n, sizeof(int64), loyalty_compare_int8);
	for (int i = 0; i < n; i++)
		if (i == 0 || ids[i] != ids[m - 1])
			ids[m++] = ids[i];
	return m;
}

/*
 * Begin: nobody is locked by the batch yet.
 */
void
loyalty_start_members(LoyaltyBatch *batch)
{
	batch->members = member_create(batch->context, Max(batch->ndocs, 8), NULL);
}

static int
compare_members(const void *a, const void *b)
{
	return loyalty_compare_int8(&(*(LoyaltyMember *const *) a)->id, &(*(LoyaltyMember *const *) b)->id);
}

/*
 * The members that the batch has locked, in ascending order; not to be changed.
 */
LoyaltyMember **
loyalty_batch_members(LoyaltyBatch *batch, int *n)
{
	if (batch->sorted == NULL)
	{
		member_iterator it;
		MemberEntry *entry;

		batch->sorted = palloc(sizeof(LoyaltyMember *) * (batch->members->members + 1));
		batch->nsorted = 0;
		member_start_iterate(batch->members, &it);
		while ((entry = member_iterate(batch->members, &it)) != NULL)
			if (entry->member != NULL)
				batch->sorted[batch->nsorted++] = entry->member;
		qsort(batch->sorted, batch->nsorted, sizeof(LoyaltyMember *), compare_members);
	}
	*n = batch->nsorted;
	return batch->sorted;
}

/*
 * A member of this batch, locked; an error if he is not.
 */
LoyaltyMember *
loyalty_batch_member(LoyaltyBatch *batch, int64 id)
{
	MemberEntry *entry = member_lookup(batch->members, id);

	if (entry == NULL || entry->member == NULL)
		elog(ERROR, "member " INT64_FORMAT " is not locked", id);
	return entry->member;
}

/*
 * The member who has another's points, since they were merged or from the
 * beginning.
 */
LoyaltyMember *
loyalty_batch_account(LoyaltyBatch *batch, int64 id)
{
	LoyaltyMember *m = loyalty_batch_member(batch, id);

	while (m->merged_into != 0)
		m = loyalty_batch_member(batch, m->merged_into);
	return m;
}

/*
 * May this document make its customer a member?
 */
static bool
may_enrol(LoyaltyDocument *doc)
{
	return !doc->source->program->explicit_enrolment && doc->facts->enrol &&
		doc->facts->return_of == NULL;
}

/*
 * Make members of the documents' customers whose numbers (sorted) are missing.
 */
static void
enrol(LoyaltyBatch *batch, int64 *missing, int nmissing)
{
	LoyaltyProgram **programs = palloc(sizeof(LoyaltyProgram *) * batch->ndocs);
	int64	   *ids = palloc(sizeof(int64) * batch->ndocs);
	char	  **customers = palloc(sizeof(char *) * batch->ndocs);
	DateADT    *joined = palloc(sizeof(DateADT) * batch->ndocs);
	int			n = 0;

	for (int i = 0; i < batch->ndocs; i++)
	{
		LoyaltyDocument *doc = batch->docs[i];

		if (doc->facts == NULL || doc->facts->customer == NULL || !may_enrol(doc))
			continue;
		ids[n] = loyalty_member_number(doc->source->program, doc->facts->customer, 0);
		if (bsearch(&ids[n], missing, nmissing, sizeof(int64), loyalty_compare_int8) == NULL)
			continue;
		programs[n] = doc->source->program;
		customers[n] = doc->facts->customer;
		joined[n++] = doc->facts->date;
	}
	if (n > 0)
		loyalty_enrol_members(programs, ids, customers, joined, n);
}

/*
 * Lock members, whose ids are sorted, as the order of locking allows; tids, if
 * given, says where they are.
 */
LoyaltyMember *
loyalty_lock_in_order(int64 *ids, ItemPointerData *tids, int n, int *nfound)
{
	bool		nowait = false;
	LoyaltyMember *members;

	/* out of order: who waits for us may hold what we want */
	for (int i = 0; i < n; i++)
		if (ids[i] < highest_locked)
			nowait = true;
	members = loyalty_lock_members(ids, tids, n, nowait, nfound);
	for (int i = 0; i < *nfound; i++)
		highest_locked = Max(highest_locked, members[i].id);
	return members;
}

/*
 * Lock members (sorted) that are not locked yet; tids may say where they are.
 */
void
loyalty_lock_batch(LoyaltyBatch *batch, int64 *ids, ItemPointerData *tids, int n)
{
	int			m = 0;
	int			nfound;
	LoyaltyMember *members;
	MemberEntry *entry;
	bool		found;

	for (int i = 0; i < n; i++)
	{
		entry = member_lookup(batch->members, ids[i]);
		if (entry != NULL && entry->member != NULL)
			continue;
		if (tids != NULL)
			tids[m] = tids[i];
		ids[m++] = ids[i];
	}
	if (m == 0)
		return;
	members = loyalty_lock_in_order(ids, tids, m, &nfound);
	batch->sorted = NULL;
	for (int i = 0; i < nfound; i++)
	{
		entry = member_insert(batch->members, members[i].id, &found);
		entry->member = &members[i];
	}
}

/*
 * Lock members (sorted), and make those of the documents' customers that have
 * no row yet.  Rows are made before any is locked: two sessions cannot cross.
 */
void
loyalty_enrol_and_lock(LoyaltyBatch *batch, int64 *ids, int n)
{
	ItemPointerData *tids = palloc(sizeof(ItemPointerData) * n);
	int64	   *missing;
	int			nmissing = 0;

	if (loyalty_locate_members(ids, tids, n) < n)
	{
		missing = palloc(sizeof(int64) * n);
		for (int i = 0; i < n; i++)
			if (!ItemPointerIsValid(&tids[i]))
				missing[nmissing++] = ids[i];
		enrol(batch, missing, nmissing);
	}
	loyalty_lock_batch(batch, ids, tids, n);
}

/*
 * Find the member of each document in scope; number those to be locked into
 * ids.  Documents whose member is not locked yet keep member_id 0.
 */
static int
assign_members(LoyaltyBatch *batch, int64 *ids)
{
	int			n = 0;

	for (int i = 0; i < batch->ndocs; i++)
	{
		LoyaltyDocument *doc = batch->docs[i];
		LoyaltyProgram *program = doc->source->program;

		doc->member_id = 0;
		doc->member_hint = 0;
		if (doc->facts == NULL || doc->facts->customer == NULL)
			continue;
		doc->member_hint = loyalty_member_number(program, doc->facts->customer, 0);
		for (int salt = 0;; salt++)
		{
			int64		id = salt == 0 ? doc->member_hint : loyalty_member_number(program, doc->facts->customer, salt);
			MemberEntry *entry = member_lookup(batch->members, id);

			if (entry == NULL)
			{
				ids[n++] = id;
				/* a number with salt belongs to a collision, or to who left a household: make its row here */
				if (salt > 0 && may_enrol(doc))
					loyalty_enrol_members(&program, &id, &doc->facts->customer, &doc->facts->date, 1);
				break;
			}
			if (entry->member == NULL)
				break;			/* no member */
			if (entry->member->program->id == program->id &&
				strcmp(entry->member->customer, doc->facts->customer) == 0 &&
				(entry->member->left_at == 0 || doc->facts->at < entry->member->left_at))
			{
				if (!program->explicit_enrolment || doc->facts->date >= entry->member->joined_on)
					doc->member_id = id;
				break;
			}
		}
	}
	return n;
}

/*
 * Are these members all locked by the batch?
 */
bool
loyalty_all_locked(LoyaltyBatch *batch, int64 *ids, int n)
{
	for (int i = 0; i < n; i++)
	{
		MemberEntry *entry = member_lookup(batch->members, ids[i]);

		if (entry == NULL || entry->member == NULL)
			return false;
	}
	return true;
}

/*
 * Lock the members of the documents' customers, new ones included.  Returns
 * whether anything was locked.
 */
bool
loyalty_lock_customers(LoyaltyBatch *batch)
{
	int64	   *ids = palloc(sizeof(int64) * (batch->ndocs + 1));
	bool		locked = false;
	int			n;

	while ((n = assign_members(batch, ids)) > 0)
	{
		n = loyalty_sort_members(ids, n);
		if (n > 1)
			loyalty_enrol_and_lock(batch, ids, n);
		else
		{
			/* mostly there is one, and he exists */
			loyalty_lock_batch(batch, ids, NULL, 1);
			if (member_lookup(batch->members, ids[0]) == NULL)
				loyalty_enrol_and_lock(batch, ids, 1);
		}
		locked = true;
		for (int i = 0; i < n; i++)
		{
			bool		found;
			MemberEntry *entry = member_insert(batch->members, ids[i], &found);

			if (!found)
				entry->member = NULL;
		}
	}
	return locked;
}

/*
 * A document changes whose customer was no member yet.  Somebody may be making
 * him one this very moment, to book the version that is gone: the attempt to
 * do the same waits for him.  If nobody is, the attempt is undone.
 */
void
loyalty_meet_at_enrolment(LoyaltyBatch *batch, LoyaltyDocument *doc)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	DateADT		date = 0;
	char	   *customer = "";
	MemberEntry *entry = doc->old_member != 0 ? member_lookup(batch->members, doc->old_member) : NULL;

	if (doc->old_member == 0 || (entry != NULL && entry->member != NULL))
		return;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	loyalty_enrol_members(&doc->source->program, &doc->old_member, &customer, &date, 1);
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	loyalty_lock_batch(batch, &doc->old_member, NULL, 1);
	entry = member_lookup(batch->members, doc->old_member);
	doc->unmet = entry == NULL || entry->member == NULL;
}
