/*
 * dependant.c
 *	  Documents whose place follows from that of another one.
 *
 * A return is booked in the family of the sale that its link leads to: through
 * other returns, or by way of a line.  When what the link leads through
 * changes, the returns behind it have not been touched, but belong elsewhere;
 * so they are evaluated along with it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "ledger/ledger.h"

/* does anything wait for a line of this source? */
static LoyaltyPlan plan_any_waits = {
	.sql = "SELECT 1 FROM loyalty.document x WHERE x.root_source_id = $1 AND x.root_source_id <> 0"
	" AND x.state <> 'withdrawn' LIMIT 1",
	.nparams = 1, .types = {INT4OID}
};

static LoyaltyPlan plan_waiting = {
	.sql = "SELECT w.source_id, w.doc_key FROM pg_catalog.unnest($2) AS k (key) CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.document x WHERE x.root_source_id = $1 AND x.root_source_id <> 0"
	" AND x.root_key = k.key AND x.state <> 'withdrawn' OFFSET 0) w",
	.nparams = 2, .types = {INT4OID, TEXTARRAYOID}
};

/* evaluate that document as well, unless it is evaluated already */
static void
add(LoyaltyBatch *batch, List **added, int32 source_id, const char *key)
{
	LoyaltyFamily *family = loyalty_family(batch, source_id, key);
	LoyaltySource *source = loyalty_source_by_id(source_id);

	if (family->doc != NULL || source == NULL || !source->attached)
		return;
	family->doc = loyalty_new_document(source, key);
	*added = lappend(*added, family->doc);
}

/*
 * Does this document still return goods of that sale, by a link of its own?
 */
static bool
still_returns(LoyaltyDocument *doc, LoyaltyPart *part)
{
	ListCell   *lc;

	if (doc->facts == NULL)
		return false;
	foreach(lc, doc->claims)
	{
		LoyaltyClaim *claim = lfirst(lc);

		if (loyalty_claim_source(claim) == part->root_source_id &&
			strcmp(claim->root_key, part->root_key) == 0 &&
			(loyalty_num_sign(part->gross) == 0 ||
			 loyalty_num_sign(claim->gross) == loyalty_num_sign(part->gross)))
			return true;
	}
	return false;
}

static bool
has_line(LoyaltyLine *lines, int n, const char *key)
{
	for (int i = 0; i < n; i++)
		if (lines[i].key != NULL && strcmp(lines[i].key, key) == 0)
			return true;
	return false;
}

/*
 * Returns that name a line which the sale had and has no more.
 */
static void
add_returns_of_lost_lines(LoyaltyBatch *batch, List **added, LoyaltyDocument *doc, LoyaltyFamily *own)
{
	LoyaltyPart *sale = loyalty_live_part(own->parts);
	LoyaltyLine *had;
	int			nhad;
	ListCell   *lc;

	if (sale == NULL || sale->lines == NULL)
		return;
	had = loyalty_lines_from_jsonb(sale->lines, &nhad);
	foreach(lc, own->returns)
	{
		LoyaltyPart *ret = lfirst(lc);
		LoyaltyLine *lines;
		int			n;

		if (ret->state == STATE_WITHDRAWN)
			continue;
		lines = loyalty_lines_from_jsonb(ret->lines, &n);
		for (int i = 0; i < n; i++)
			if (lines[i].of != NULL && has_line(had, nhad, lines[i].of) &&
				(doc->facts == NULL || !has_line(doc->facts->lines, doc->facts->nlines, lines[i].of)))
			{
				add(batch, added, ret->source_id, ret->key);
				break;
			}
	}
}

/*
 * Returns that were there before the line they name.
 */
static void
add_waiting_for_lines(LoyaltyBatch *batch, List **added, LoyaltySource *source)
{
	Datum		values[2];
	char	  **keys;
	int			n = 0;
	int			size = 0;
	uint64		rows;

	for (int i = 0; i < batch->ndocs; i++)
		if (batch->docs[i]->source == source && batch->docs[i]->facts != NULL)
			size += batch->docs[i]->facts->nlines;
	if (size == 0)
		return;
	values[0] = Int32GetDatum(-source->id);
	rows = loyalty_run(&plan_any_waits, values, NULL);
	SPI_freetuptable(SPI_tuptable);
	if (rows == 0)
		return;
	keys = palloc(sizeof(char *) * size);
	for (int i = 0; i < batch->ndocs; i++)
		if (batch->docs[i]->source == source && batch->docs[i]->facts != NULL)
			for (int l = 0; l < batch->docs[i]->facts->nlines; l++)
				if (batch->docs[i]->facts->lines[l].key != NULL)
					keys[n++] = batch->docs[i]->facts->lines[l].key;
	values[1] = loyalty_text_array(keys, n);
	rows = loyalty_run(&plan_waiting, values, NULL);
	for (uint64 i = 0; i < rows; i++)
	{
		bool		isnull;

		add(batch, added, DatumGetInt32(loyalty_spi_datum(i, 1, &isnull)), loyalty_spi_text(i, 2));
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Add the documents that hang on those of the batch, as far as these have
 * changed their place, and read their headers.  Returns whether there are
 * any: then the batch has to be locked and loaded anew.
 */
bool
loyalty_add_dependants(LoyaltyBatch *batch)
{
	List	   *added = NIL;
	List	   *sources = NIL;
	int			n = batch->ndocs;
	ListCell   *lc;
	ListCell   *lc2;

	for (int i = 0; i < batch->ndocs; i++)
	{
		LoyaltyDocument *doc = batch->docs[i];
		LoyaltyFamily *own;

		if (!doc->source->has_returns)
			continue;
		if (doc->source->has_line_returns)
			sources = list_append_unique_ptr(sources, doc->source);
		own = loyalty_family(batch, doc->source->id, doc->key);

		/* it was a return on the way to a sale */
		foreach(lc, own->parts)
		{
			LoyaltyPart *part = lfirst(lc);

			if (part->root_source_id == 0 || part->state == STATE_WITHDRAWN || still_returns(doc, part))
				continue;
			foreach(lc2, loyalty_family(batch, part->root_source_id, part->root_key)->returns)
			{
				LoyaltyPart *other = lfirst(lc2);

				if (other->state != STATE_WITHDRAWN)
					add(batch, &added, other->source_id, other->key);
			}
		}
		/* what is charged beyond it is a sale if this is one, else given back */
		foreach(lc, own->returns)
		{
			LoyaltyPart *other = lfirst(lc);

			if (other->state != STATE_WITHDRAWN && loyalty_num_sign(other->gross) >= 0)
				add(batch, &added, other->source_id, other->key);
		}
		if (own->returns != NIL && doc->source->has_line_returns)
			add_returns_of_lost_lines(batch, &added, doc, own);
	}
	foreach(lc, sources)
		add_waiting_for_lines(batch, &added, lfirst(lc));
	if (added == NIL)
		return false;

	batch->docs = repalloc(batch->docs, sizeof(LoyaltyDocument *) * (n + list_length(added)));
	foreach(lc, added)
		batch->docs[batch->ndocs++] = lfirst(lc);
	loyalty_read_headers(batch->docs + n, batch->ndocs - n, false);
	return true;
}
