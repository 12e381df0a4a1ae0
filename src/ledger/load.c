/*
 * load.c
 *	  What the books know of a batch's documents: their parts, the sales they
 *	  return, the other returns of those, and what was redeemed for them.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "ledger/ledger.h"

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
void
loyalty_load_books(LoyaltyBatch *batch)
{
	List	   *todo = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	batch->families = family_create(batch->context, Max(batch->ndocs, 8), NULL);
	loyalty_probe_documents(batch->docs, batch->ndocs);
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
int
loyalty_concerned_members(LoyaltyBatch *batch, int64 **ids)
{
	family_iterator it;
	FamilySlot *slot;
	LoyaltyMember **members;
	int			nmembers;
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
	members = loyalty_batch_members(batch, &nmembers);
	for (int i = 0; i < nmembers; i++)
		if (members[i]->merged_into != 0)
			ADD(members[i]->merged_into);
#undef ADD
	return loyalty_sort_members(*ids, n);
}
