/*
 * probe.c
 *	  Which documents do the books know nothing of?
 *
 * Most documents are new.  To find that out by one walk along the primary key
 * saves all that is asked about documents that are known.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "ledger/ledger.h"

/* a walk along the primary key of loyalty.document */
typedef struct Probe
{
	IndexScanDesc scan;
	LoyaltySource *source;
	bool		ranged;			/* walking upwards, not looking for one key */
	text	   *at;				/* the key it stands at, NULL behind the last */
} Probe;

static int
compare_at(Probe *p, const char *key)
{
	int			length = strlen(key);
	int			at_length;
	int			c;

	if (p->at == NULL)
		return 1;
	at_length = VARSIZE_ANY_EXHDR(p->at);
	c = memcmp(VARDATA_ANY(p->at), key, Min(at_length, length));
	return c != 0 ? c : at_length - length;
}

static void
step(Probe *p)
{
	bool		isnull;

	p->at = NULL;
	if (index_getnext_tid(p->scan, ForwardScanDirection) != NULL)
		p->at = DatumGetTextPP(index_getattr(p->scan->xs_itup, 2, p->scan->xs_itupdesc, &isnull));
}

/* stand at a key, or (ranged) at the first one that is not below it */
static void
seek(Probe *p, LoyaltyDocument *doc, bool ranged)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(doc->source->id));
	ScanKeyInit(&keys[1], 2, ranged ? BTGreaterEqualStrategyNumber : BTEqualStrategyNumber,
				ranged ? F_TEXT_GE : F_TEXTEQ, CStringGetTextDatum(doc->key));
	index_rescan(p->scan, keys, 2, NULL, 0);
	p->source = doc->source;
	p->ranged = ranged;
	step(p);
}

/*
 * Which of these documents, all just inserted, do the books know nothing of?
 * Sets doc->unknown; looking at the primary key is a good deal cheaper than
 * asking by SQL, which is what happens where nothing is set.  What is dead in
 * the index counts as known: then SQL will tell.
 *
 * Documents in the order of their keys are best.  The keys of new documents
 * mostly lie side by side with none that is known between them; one step of
 * the walk then serves many.  Where it does not, each is looked for by itself.
 */
void
loyalty_probe_documents(LoyaltyDocument **docs, int n)
{
	enum
	{
		STEPS = 16,				/* walk on so far rather than descend again */
		WORTH = 8,				/* documents that a range should have served */
		SINGLES = 64			/* looked for singly before the next range */
	};
	Relation	rel = table_open(loyalty_relation("document"), AccessShareLock);
	Relation	index;
	Snapshot	snapshot;
	Probe		p = {0};
	LoyaltyDocument *previous = NULL;
	int			singles = n < WORTH ? n : 0;
	int			served = 0;

	(void) RelationGetIndexList(rel);
	if (!loyalty_is_plain(rel, LOYALTY_DOCUMENT_NATTS) || !OidIsValid(rel->rd_pkindex))
	{
		table_close(rel, NoLock);
		return;
	}
	index = index_open(rel->rd_pkindex, AccessShareLock);
	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	p.scan = loyalty_index_beginscan(rel, index, snapshot, 2);
	p.scan->xs_want_itup = true;
	for (int i = 0; i < n; i++)
	{
		LoyaltyDocument *doc = docs[i];

		if (!doc->fresh || doc->probed)
			continue;
		if (p.ranged && (p.source != doc->source || strcmp(previous->key, doc->key) > 0))
			p.ranged = false;
		if (p.ranged)
		{
			for (int s = 0; s < STEPS && compare_at(&p, doc->key) < 0; s++)
				step(&p);
			if (compare_at(&p, doc->key) < 0)
			{
				p.ranged = false;
				singles = served < WORTH ? SINGLES : 0;
			}
		}
		if (!p.ranged)
		{
			seek(&p, doc, singles <= 0);
			singles--;
			served = 0;
		}
		served++;
		doc->unknown = compare_at(&p, doc->key) != 0;
		doc->probed = true;
		previous = doc;
	}
	index_endscan(p.scan);
	UnregisterSnapshot(snapshot);
	index_close(index, NoLock);
	table_close(rel, NoLock);
}
