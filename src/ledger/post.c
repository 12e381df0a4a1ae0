/*
 * post.c
 *	  The entries of documents: the difference between what is due for a part
 *	  and what is booked.
 *
 * The usual case, points earned by a member without debt, needs to read
 * nothing and goes through the store in batches: its entry is its lot, until
 * somebody needs the lot's row.  Everything else takes the lots it needs in
 * hand.  Points that must be taken back but are gone make a lot below zero, a
 * debt, which the next points repay.
 */
#include "postgres.h"

#include "utils/date.h"

#include "ledger/ledger.h"

/*
 * Take points: first from what the document itself (and the sale it returns)
 * earned, expired or not, then what cannot be spent yet, then as spending
 * does.  Returns what is not there.
 */
static Points
take(LoyaltyPosting *p, LoyaltyPart *part, LoyaltyPart *root, List *fetched, Points need)
{
	int64		heads[2];
	int			nchain;
	int64	   *chain;
	ListCell   *lc;

	heads[0] = part->last_seq;
	heads[1] = root != NULL && root->member_id == p->member->id ? root->last_seq : 0;
	chain = loyalty_chain(p, heads, 2, &nchain);
	need = loyalty_draw_own(p, chain, nchain, need);
	foreach(lc, fetched)
		need = loyalty_draw_own(p, lfirst(lc), 1, need);
	return loyalty_take(p, need);
}

static const char *
kind_of(LoyaltyPart *part, bool earns)
{
	if (part->is_return)
		return "return";
	return !earns || part->last_seq != 0 ? "correction" : part->is_event ? "event" : "earn";
}

/* the entry in hand moves so many points of the part */
static void
post_entry(LoyaltyBatch *batch, LoyaltyPosting *p, LoyaltyPart *part, const char *kind, Points points)
{
	LoyaltyEntry entry = {0};

	entry.kind = kind;
	entry.points = points;
	entry.at = part->at;
	entry.source_id = part->source_id;
	entry.doc_key = part->key;
	entry.prev_seq = part->last_seq;
	loyalty_posting_end(p, &entry, batch->now);
	part->points += points;
	part->last_seq = p->seq;
	part->dirty = true;
}

/*
 * Points come in.  They go back to where this part's earlier entries took them
 * from; the rest makes lots, one for each day on which some of it expires, and
 * each lot needs an entry.
 */
static void
gain(LoyaltyBatch *batch, LoyaltyPosting *p, LoyaltyPart *part, Points points)
{
	LoyaltyTerm *terms;
	int			n = loyalty_part_terms(p->member->program, part, &terms);
	const char *kind = kind_of(part, true);
	Points		rest = points;
	int64	   *chain;
	int			nchain = 0;
	ListCell   *lc;

	if (part->last_seq != 0)
	{
		chain = loyalty_chain(p, &part->last_seq, 1, &nchain);
		rest = loyalty_restore(p, chain, nchain, points, false);
		foreach(lc, loyalty_lots_of(p, chain, nchain))
			for (int i = 0; n > 1 && i < n; i++)
				if (terms[i].expires_on == ((LoyaltyLot *) lfirst(lc))->expires_on)
					terms[i].points -= Max(((LoyaltyLot *) lfirst(lc))->points, 0);
	}
	for (int i = 0; i < n && rest > 0; i++)
	{
		Points		share = i == n - 1 ? rest : Min(rest, terms[i].points);

		if (share <= 0)
			continue;
		if (p->own != NULL)
		{
			loyalty_repay(p);
			post_entry(batch, p, part, kind, points - rest);
			points = rest;
			loyalty_posting_open(p, p->member, part->at);
		}
		(void) loyalty_new_lot(p, terms[i].expires_on, part->is_return ? DATEVAL_NOBEGIN : part->usable_from, share);
		rest -= share;
	}
	loyalty_repay(p);
	post_entry(batch, p, part, kind, points);
}

/*
 * Points are taken back, first those that were fetched for it.
 */
static void
lose(LoyaltyBatch *batch, LoyaltyPosting *p, LoyaltyPart *part, LoyaltyPart *root, List *fetched, Points points)
{
	Points		missing = take(p, part, root, fetched, points);

	if (missing > 0 && (p->member->program->write_off || part->forgiving))
	{
		part->written_off += missing;
		part->dirty = true;
		points -= missing;
	}
	else if (missing > 0)
		loyalty_new_debt(p, missing);
	if (points > 0)
		post_entry(batch, p, part, kind_of(part, false), -points);
}

/*
 * Book the difference between what is due for a part and what is booked.
 * root is the sale that a return returns, NULL for a sale.
 */
void
loyalty_post(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part, LoyaltyPart *root, Points due)
{
	Points		delta = due - (part->points - part->written_off);
	List	   *fetched;
	LoyaltyPosting p;

	if (part->rescheduled)
		loyalty_reschedule(batch, member, part);
	if (delta > 0 && part->written_off > 0)
	{
		/* what was never taken need not be given back */
		Points		forgiven = Min(delta, part->written_off);

		part->written_off -= forgiven;
		part->dirty = true;
		delta -= forgiven;
	}
	if (delta == 0)
		return;
	fetched = loyalty_fetch_swept(batch, member, part, root, -delta, NULL);
	loyalty_posting_begin(&p, member, part->at);
	if (delta < 0 || part->last_seq != 0 || member->debt != 0)
		loyalty_posting_lots(&p);
	if (delta > 0)
		gain(batch, &p, part, delta);
	else
		lose(batch, &p, part, root, fetched, -delta);
}
