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
#include "common/hashfn.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

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

typedef struct FamilyKey
{
	int32		source_id;
	const char *key;
} FamilyKey;

typedef struct FamilySlot
{
	FamilyKey	id;
	LoyaltyFamily *family;
	uint32		hash;
	char		status;
} FamilySlot;

#define SH_PREFIX family
#define SH_ELEMENT_TYPE FamilySlot
#define SH_KEY_TYPE FamilyKey
#define SH_KEY id
#define SH_HASH_KEY(tb, k) \
	hash_combine(hash_bytes((const unsigned char *) (k).key, strlen((k).key)), (uint32) (k).source_id)
#define SH_EQUAL(tb, a, b) ((a).source_id == (b).source_id && strcmp((a).key, (b).key) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, e) (e)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* the highest number this transaction has locked */
static int64 highest_locked = 0;

void
loyalty_forget_locks(void)
{
	highest_locked = 0;
}

/*
 * Something that others may wait for while they hold a member was locked:
 * from now on members are locked only where they are free.
 */
void
loyalty_lock_no_further_members(void)
{
	highest_locked = PG_INT64_MAX;
}

/*
 * What the books know of a document, in this batch.
 */
LoyaltyFamily *
loyalty_family(LoyaltyBatch *batch, int32 source_id, const char *key)
{
	FamilyKey	id;
	FamilySlot *slot;
	bool		found;

	id.source_id = source_id;
	id.key = key;
	slot = family_insert(batch->families, id, &found);
	if (!found)
	{
		slot->family = MemoryContextAllocZero(batch->context, sizeof(LoyaltyFamily));
		slot->family->source_id = source_id;
		slot->family->key = MemoryContextStrdup(batch->context, key);
		slot->id.key = slot->family->key;
	}
	return slot->family;
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

static int
compare_int8(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

static int
sort_unique(int64 *ids, int n)
{
	int			m = 0;

	qsort(ids, n, sizeof(int64), compare_int8);
	for (int i = 0; i < n; i++)
		if (i == 0 || ids[i] != ids[m - 1])
			ids[m++] = ids[i];
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
		if (bsearch(&ids[n], missing, nmissing, sizeof(int64), compare_int8) == NULL)
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
static void
lock(LoyaltyBatch *batch, int64 *ids, ItemPointerData *tids, int n)
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
static void
enrol_and_lock(LoyaltyBatch *batch, int64 *ids, int n)
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
	lock(batch, ids, tids, n);
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
			int64		id = loyalty_member_number(program, doc->facts->customer, salt);
			MemberEntry *entry = member_lookup(batch->members, id);

			if (entry == NULL)
			{
				ids[n++] = id;
				/* a number with salt belongs to a collision: make its row here */
				if (salt > 0 && may_enrol(doc))
					loyalty_enrol_members(&program, &id, &doc->facts->customer, &doc->facts->date, 1);
				break;
			}
			if (entry->member == NULL)
				break;			/* no member */
			if (entry->member->program->id == program->id &&
				strcmp(entry->member->customer, doc->facts->customer) == 0)
			{
				if (!program->explicit_enrolment || doc->facts->date >= entry->member->joined_on)
					doc->member_id = id;
				break;
			}
		}
	}
	return n;
}

/* put a loaded part where it belongs, once */
static void
intern(LoyaltyBatch *batch, LoyaltyPart *part)
{
	LoyaltyFamily *own = loyalty_family(batch, part->source_id, part->key);
	LoyaltyPart *known = NULL;
	ListCell   *lc;

	foreach(lc, own->parts)
	{
		LoyaltyPart *p = lfirst(lc);

		if (p->member_id == part->member_id && p->root_source_id == part->root_source_id &&
			strcmp(p->root_key, part->root_key) == 0)
			known = p;
	}
	if (known == NULL)
	{
		known = part;
		own->parts = lappend(own->parts, part);
	}
	if (known->root_source_id != 0)
	{
		LoyaltyFamily *root = loyalty_family(batch, known->root_source_id, known->root_key);

		root->returns = list_append_unique_ptr(root->returns, known);
	}
}

typedef List *(*PartLoader) (int32 source_id, char **keys, int n);

/* load for families of one list, a statement per source */
static void
load_for(LoyaltyBatch *batch, List *families, PartLoader loader)
{
	while (families != NIL)
	{
		int32		source_id = ((LoyaltyFamily *) linitial(families))->source_id;
		char	  **keys = palloc(sizeof(char *) * list_length(families));
		List	   *rest = NIL;
		int			n = 0;
		ListCell   *lc;

		foreach(lc, families)
		{
			LoyaltyFamily *f = lfirst(lc);

			if (f->source_id == source_id)
				keys[n++] = f->key;
			else
				rest = lappend(rest, f);
		}
		foreach(lc, loader(source_id, keys, n))
			intern(batch, lfirst(lc));
		families = rest;
	}
}

static void
want(LoyaltyBatch *batch, List **todo, int32 source_id, const char *key)
{
	LoyaltyFamily *f = loyalty_family(batch, source_id, key);

	if (!f->wanted)
	{
		f->wanted = true;
		*todo = lappend(*todo, f);
	}
}

/*
 * Load the redemptions that paid these documents, a statement per source.
 */
static void
load_redemptions(LoyaltyBatch *batch)
{
	List	   *families = NIL;
	family_iterator it;
	FamilySlot *slot;
	ListCell   *lc;

	family_start_iterate(batch->families, &it);
	while ((slot = family_iterate(batch->families, &it)) != NULL)
		if (slot->family->wanted)
			families = lappend(families, slot->family);
	while (families != NIL)
	{
		int32		source_id = ((LoyaltyFamily *) linitial(families))->source_id;
		char	  **keys = palloc(sizeof(char *) * list_length(families));
		List	   *rest = NIL;
		int			n = 0;

		foreach(lc, families)
		{
			LoyaltyFamily *f = lfirst(lc);

			if (f->source_id == source_id)
				keys[n++] = f->key;
			else
				rest = lappend(rest, f);
		}
		foreach(lc, loyalty_load_redemptions(source_id, keys, n))
		{
			LoyaltyRedemption *r = lfirst(lc);
			LoyaltyFamily *f = loyalty_family(batch, source_id, r->doc_key);

			f->redemptions = lappend(f->redemptions, r);
		}
		families = rest;
	}
}

/*
 * Load what is booked for the documents, for the sales they return, and for
 * the other returns of those.
 */
static void
load_books(LoyaltyBatch *batch)
{
	List	   *todo = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	batch->families = family_create(batch->context, Max(batch->ndocs, 8), NULL);
	loyalty_store_probe(batch->docs, batch->ndocs);
	for (int i = 0; i < batch->ndocs; i++)
	{
		LoyaltyDocument *doc = batch->docs[i];

		want(batch, &todo, doc->source->id, doc->key);
		loyalty_family(batch, doc->source->id, doc->key)->doc = doc;
		if (doc->facts == NULL)
			continue;
		foreach(lc, doc->claims)
		{
			LoyaltyClaim *claim = lfirst(lc);

			if (claim->root_source != NULL)
				want(batch, &todo, loyalty_claim_source(claim), claim->root_key);
		}
	}
	while (todo != NIL)
	{
		List	   *now = todo;
		List	   *returned = NIL;

		List	   *known = NIL;

		todo = NIL;
		foreach(lc, now)
		{
			LoyaltyFamily *f = lfirst(lc);

			if (f->doc == NULL || !f->doc->unknown)
				known = lappend(known, f);
		}
		load_for(batch, known, loyalty_load_parts);
		foreach(lc, now)
		{
			LoyaltyFamily *f = lfirst(lc);
			LoyaltySource *source = loyalty_source_by_id(f->source_id);

			if (source == NULL || source->has_returns)
				returned = lappend(returned, f);
			foreach(lc2, f->parts)
			{
				LoyaltyPart *p = lfirst(lc2);

				if (p->root_source_id != 0)
					want(batch, &todo, p->root_source_id, p->root_key);
			}
		}
		if (returned != NIL)
			load_for(batch, returned, loyalty_load_returns);
	}
	if (loyalty_any_redemptions())
		load_redemptions(batch);
}

/*
 * Every member that the loaded families concern.
 */
static int
concerned_members(LoyaltyBatch *batch, int64 **ids)
{
	family_iterator it;
	FamilySlot *slot;
	int			size = 64;
	int			n = 0;
	ListCell   *lc;

	*ids = palloc(sizeof(int64) * size);
#define ADD(x) \
	do { \
		if (n == size) \
			*ids = repalloc(*ids, sizeof(int64) * (size *= 2)); \
		(*ids)[n++] = (x); \
	} while (0)
	for (int i = 0; i < batch->ndocs; i++)
		if (batch->docs[i]->member_id != 0)
			ADD(batch->docs[i]->member_id);
	family_start_iterate(batch->families, &it);
	while ((slot = family_iterate(batch->families, &it)) != NULL)
	{
		foreach(lc, slot->family->parts)
			if (((LoyaltyPart *) lfirst(lc))->member_id != 0)
				ADD(((LoyaltyPart *) lfirst(lc))->member_id);
		foreach(lc, slot->family->returns)
			if (((LoyaltyPart *) lfirst(lc))->member_id != 0)
				ADD(((LoyaltyPart *) lfirst(lc))->member_id);
		foreach(lc, slot->family->redemptions)
			ADD(((LoyaltyRedemption *) lfirst(lc))->member_id);
	}
	/* who has the points of members that were merged */
	{
		member_iterator mi;
		MemberEntry *entry;

		member_start_iterate(batch->members, &mi);
		while ((entry = member_iterate(batch->members, &mi)) != NULL)
			if (entry->member != NULL && entry->member->merged_into != 0)
				ADD(entry->member->merged_into);
	}
#undef ADD
	return sort_unique(*ids, n);
}

static bool
all_locked(LoyaltyBatch *batch, int64 *ids, int n)
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
static bool
lock_customers(LoyaltyBatch *batch)
{
	int64	   *ids = palloc(sizeof(int64) * (batch->ndocs + 1));
	bool		locked = false;
	int			n;

	while ((n = assign_members(batch, ids)) > 0)
	{
		n = sort_unique(ids, n);
		if (n > 1)
			enrol_and_lock(batch, ids, n);
		else
		{
			/* mostly there is one, and he exists */
			lock(batch, ids, NULL, 1);
			if (member_lookup(batch->members, ids[0]) == NULL)
				enrol_and_lock(batch, ids, 1);
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
static void
meet_at_enrolment(LoyaltyBatch *batch, LoyaltyDocument *doc)
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
	lock(batch, &doc->old_member, NULL, 1);
	entry = member_lookup(batch->members, doc->old_member);
	doc->unmet = entry == NULL || entry->member == NULL;
}

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
			load_books(batch);
			n = concerned_members(batch, &ids);
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
				n = sort_unique(both, n);
				batch->docs = all;
				batch->ndocs = nall;
				enrol_and_lock(batch, both, n);
				for (int i = 0; i < nall; i++)
					meet_at_enrolment(batch, all[i]);
			}
		}
		batch->docs = all;
		batch->ndocs = nall;
	}

	for (int attempt = 0; attempt < 8; attempt++)
	{
		int64	   *ids;
		int			n;

		(void) lock_customers(batch);
		if (!fixed_snapshot)
		{
			loyalty_read_headers(batch->docs, batch->ndocs, true);
			if (lock_customers(batch))
				loyalty_read_headers(batch->docs, batch->ndocs, true);
		}
		loyalty_read_lines(batch->docs, batch->ndocs);
		split_all(batch);
		load_books(batch);
		if (loyalty_add_dependants(batch))
		{
			attempt--;			/* each is added once */
			continue;
		}
		n = concerned_members(batch, &ids);
		if (all_locked(batch, ids, n))
			return;
		lock(batch, ids, NULL, n);
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

static int
compare_members(const void *a, const void *b)
{
	return compare_int8(&(*(LoyaltyMember *const *) a)->id, &(*(LoyaltyMember *const *) b)->id);
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
	Points		redeemed;
} Before;

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
	if (before->redeemed != redeemed(family))
		add_difference(batch, doc, "redeemed otherwise", -before->redeemed, -redeemed(family), outcome);
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

/* what was booked for members that were merged goes to who has their points */
static void
sweep_merged(LoyaltyBatch *batch)
{
	member_iterator it;
	MemberEntry *entry;

	member_start_iterate(batch->members, &it);
	while ((entry = member_iterate(batch->members, &it)) != NULL)
		if (entry->member != NULL && entry->member->merged_into != 0 && entry->member->dirty)
			loyalty_sweep(entry->member, loyalty_batch_account(batch, entry->id), batch->now, batch->now);
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
	LoyaltyMember **dirty;
	int			ndirty = 0;
	member_iterator it;
	MemberEntry *entry;
	Before	   *before = NULL;

	memset(&batch, 0, sizeof(batch));
	batch.context = CurrentMemoryContext;
	batch.docs = palloc(sizeof(LoyaltyDocument *) * Max(n, 1));
	memcpy(batch.docs, docs, sizeof(LoyaltyDocument *) * n);
	batch.ndocs = n;
	batch.members = member_create(batch.context, Max(n, 8), NULL);
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
			before[i].redeemed = redeemed(f);
		}
	}

	for (int i = 0; i < batch.ndocs; i++)
		loyalty_evaluate_document(&batch, batch.docs[i]);
	sweep_merged(&batch);

	loyalty_store_flush();
	loyalty_write_budgets(&batch);
	dirty = palloc(sizeof(LoyaltyMember *) * (batch.members->members + 1));
	member_start_iterate(batch.members, &it);
	while ((entry = member_iterate(batch.members, &it)) != NULL)
		if (entry->member != NULL && entry->member->last_seq - entry->member->lots_through > LOYALTY_LOTS_TAIL)
			dirty[ndirty++] = entry->member;
	loyalty_store_lots(dirty, ndirty);
	ndirty = 0;
	member_start_iterate(batch.members, &it);
	while ((entry = member_iterate(batch.members, &it)) != NULL)
		if (entry->member != NULL)
			loyalty_history_touch_later(entry->member);
	member_start_iterate(batch.members, &it);
	while ((entry = member_iterate(batch.members, &it)) != NULL)
		if (entry->member != NULL && entry->member->dirty)
		{
			dirty[ndirty++] = entry->member;
			outcome->points += entry->member->balance - entry->member->balance_before;
		}
	qsort(dirty, ndirty, sizeof(LoyaltyMember *), compare_members);
	loyalty_store_members(dirty, ndirty);
	outcome->documents += n;

	if (outcome->collect)
		for (int i = 0; i < n; i++)
			collect_differences(&batch, docs[i], &before[i], outcome);

	loyalty_store_reset();
}
