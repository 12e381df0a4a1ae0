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
 * earned, then as spending does.  Returns what is not there.
 */
static Points
take(LoyaltyPosting *p, LoyaltyPart *part, LoyaltyPart *root, Points need)
{
	int64		heads[2];
	int			nchain;
	int64	   *chain;

	heads[0] = part->last_seq;
	heads[1] = root != NULL && root->member_id == p->member->id ? root->last_seq : 0;
	chain = loyalty_chain(p, heads, 2, &nchain);
	need = loyalty_draw_own(p, chain, nchain, need);
	return loyalty_spend(p, need);
}

/*
 * Give points back to where this part's earlier entries took them from.
 * Returns what found no place.
 */
static Points
give_back(LoyaltyPosting *p, LoyaltyPart *part, Points points)
{
	int			nchain;
	int64	   *chain = loyalty_chain(p, &part->last_seq, 1, &nchain);

	return loyalty_restore(p, chain, nchain, points, false);
}

/*
 * Book the difference between what is due for a part and what is booked.
 * root is the sale that a return returns, NULL for a sale.
 */
void
loyalty_post(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part, LoyaltyPart *root, Points due)
{
	Points		delta = due - (part->points - part->written_off);
	LoyaltyPosting p;
	LoyaltyEntry entry = {0};

	entry.kind = part->is_return ? "return" : part->last_seq == 0 && delta > 0 ? "earn" : "correction";
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

	loyalty_posting_begin(&p, member, batch->now);
	if (delta > 0 && part->last_seq == 0 && member->debt == 0)
		(void) loyalty_new_lot(&p, DATEVAL_NOEND, delta);
	else
	{
		loyalty_posting_lots(&p);
		if (delta > 0)
		{
			Points		rest = give_back(&p, part, delta);

			if (rest > 0)
				(void) loyalty_new_lot(&p, DATEVAL_NOEND, rest);
			loyalty_repay(&p);
		}
		else
		{
			Points		missing = take(&p, part, root, -delta);

			if (missing > 0 && (member->program->write_off || part->forgiving))
			{
				part->written_off += missing;
				part->dirty = true;
				delta += missing;
				if (delta == 0)
					return;
			}
			else if (missing > 0)
				(void) loyalty_new_lot(&p, DATEVAL_NOEND, -missing);
		}
	}
	entry.points = delta;
	entry.at = part->at;
	entry.source_id = part->source_id;
	entry.doc_key = part->key;
	entry.prev_seq = part->last_seq;
	loyalty_posting_end(&p, &entry, batch->now);
	part->points += delta;
	part->last_seq = p.seq;
	part->dirty = true;
}
