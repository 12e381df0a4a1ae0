/*
 * spent.c
 *	  What becomes of the points that paid a sale when its goods come back.
 *
 * Points come back in proportion to the value that is returned, counted over
 * all returns together, so that the last return brings what the others left.
 * A sale that does not count any more gives back all.  As with what is earned,
 * only the present facts decide, and the difference is booked.
 *
 * The engine draws points itself for a document that says it was paid with
 * some (paid_by_points), if the programme's policy wants that and as far as
 * no redemption has been booked for them.
 */
#include "postgres.h"

#include "ledger/ledger.h"

/*
 * The money that redemptions pay, those that were cancelled left out.
 */
Numeric
loyalty_redeemed_value(List *redemptions)
{
	Numeric		sum = loyalty_num_int(0);
	ListCell   *lc;

	if (redemptions == NIL)
		return sum;
	foreach(lc, redemptions)
	{
		LoyaltyRedemption *r = lfirst(lc);

		if (!r->is_cancelled && r->kind != REDEMPTION_PAID)
			sum = loyalty_num_add(sum, r->value);
	}
	return loyalty_num_trim(sum);
}

static void
decide(LoyaltyBatch *batch, LoyaltyRedemption *r, Points points, Points restored)
{
	r->due_points = points;
	r->due_restored = restored;
	r->is_decided = true;
	batch->redeemed = list_append_unique_ptr(batch->redeemed, r);
}

/*
 * How many of the points that paid a sale come back, of which so much is left:
 * rounded down to the programme's unit until all is returned.
 */
static Points
give_back(LoyaltyProgram *program, Points points, LoyaltyRemaining *left)
{
	LoyaltyRational gone = loyalty_rational_sub(loyalty_rational(left->total, loyalty_num_int(1)),
												loyalty_left_total(left));

	if (left->sign < 0 || loyalty_num_sign(left->total) <= 0 || loyalty_rational_sign(gone) <= 0)
		return 0;
	if (loyalty_rational_sign(loyalty_left_total(left)) <= 0)
		return points;
	gone.num = loyalty_num_mul(gone.num, loyalty_points_numeric(points));
	gone.den = loyalty_num_mul(gone.den, left->total);
	return loyalty_points_round(gone, program->unit, ROUND_DOWN, false);
}

/*
 * How many points a sum of money takes, rounded up.
 */
static Points
points_for(LoyaltyProgram *program, Numeric money)
{
	LoyaltyPolicy *policy = program->policy;

	return loyalty_points_round(loyalty_rational(money, policy->point_value),
								policy->exact_rest ? 1 : program->unit, ROUND_UP, false);
}

/*
 * The redemption that the engine makes for a sale's paid_by_points: there may
 * be one already, of this member or of one who had the sale before.
 */
static void
decide_paid(LoyaltyBatch *batch, LoyaltyFamily *family, LoyaltyPart *sale, LoyaltyRemaining *left)
{
	LoyaltyProgram *program = loyalty_batch_member(batch, sale->member_id)->program;
	LoyaltySource *source = loyalty_source_by_id(family->source_id);
	Numeric		need = loyalty_num_sub(sale->paid, loyalty_redeemed_value(family->redemptions));
	LoyaltyRedemption *mine = NULL;
	Points		points;
	ListCell   *lc;

	if (loyalty_num_sign(need) < 0 || left->sign < 0)
		need = loyalty_num_int(0);
	foreach(lc, family->redemptions)
	{
		LoyaltyRedemption *r = lfirst(lc);

		if (r->kind != REDEMPTION_PAID)
			continue;
		if (r->member_id == sale->member_id)
			mine = r;
		else
			decide(batch, r, r->points, r->points);
	}
	if (mine == NULL)
	{
		if (!sale->draws || sale->state != STATE_BOOKED || loyalty_num_sign(need) == 0 ||
			program->policy == NULL || !program->policy->draw_paid || source == NULL || source->items[ITEM_PAID] == NULL)
			return;
		mine = loyalty_new_redemption(sale->member_id, loyalty_paid_key(family->source_id, family->key),
									  REDEMPTION_PAID, loyalty_num_int(0), family->source_id, family->key, sale->at);
		family->redemptions = lappend(family->redemptions, mine);
	}
	/* what was drawn stays drawn at the value a point had then */
	points = mine->points;
	if (loyalty_num_cmp(need, mine->value) != 0 && program->policy != NULL)
	{
		points = points_for(program, need);
		mine->value = need;
		mine->dirty = true;
	}
	decide(batch, mine, points, give_back(program, points, left));
}

/*
 * Decide what is due for the redemptions of a family.  sale is NULL if the
 * document does not count (any more); left is what its returns leave.
 */
void
loyalty_decide_redemptions(LoyaltyBatch *batch, LoyaltyFamily *family, LoyaltyPart *sale, LoyaltyRemaining *left)
{
	bool		was_sold = false;
	ListCell   *lc;

	foreach(lc, family->parts)
		if (((LoyaltyPart *) lfirst(lc))->root_source_id == 0)
			was_sold = true;
	foreach(lc, family->redemptions)
	{
		LoyaltyRedemption *r = lfirst(lc);

		if (r->is_cancelled)
			decide(batch, r, r->points, r->points);
		else if (sale == NULL && was_sold)
			decide(batch, r, r->points, r->points);
		else if (sale != NULL && r->kind != REDEMPTION_PAID)
			decide(batch, r, r->points,
				   give_back(loyalty_batch_member(batch, r->member_id)->program, r->points, left));
	}
	if (sale != NULL && (family->redemptions != NIL || loyalty_num_sign(sale->paid) != 0))
		decide_paid(batch, family, sale, left);
}

/*
 * Book what was decided: what comes back, or (losses) what is drawn.
 */
void
loyalty_post_redemptions(LoyaltyBatch *batch, LoyaltyDocument *doc, bool losses)
{
	LoyaltyFamily *own = loyalty_family(batch, doc->source->id, doc->key);
	LoyaltyEntry cause = {0};
	ListCell   *lc;

	cause.source_id = doc->source->id;
	cause.doc_key = doc->key;
	cause.at = doc->facts != NULL ? doc->facts->at :
		own->parts != NIL ? ((LoyaltyPart *) linitial(own->parts))->at : batch->now;
	foreach(lc, batch->redeemed)
	{
		LoyaltyRedemption *r = lfirst(lc);
		Points		delta = (r->due_points - r->due_restored) - (r->points - r->restored);

		if (!r->is_decided || (delta > 0) != losses)
			continue;
		r->is_decided = false;
		if (delta != 0 || r->due_points != r->points || r->dirty)
			loyalty_book_redemption(loyalty_batch_member(batch, r->member_id), r, r->due_points, r->due_restored,
									&cause, batch->now, batch->now);
	}
}
