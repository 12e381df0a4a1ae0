/*
 * family.c
 *	  What is due for a sale and for the returns that point at it.
 *
 * The sale is due what its facts earn.  A return is due the difference between
 * what the remaining goods earn after it and before it, at the sale's own
 * rules and rate, the returns taken in order of date and key.  So what is due
 * follows from the present facts of the family alone, never from the order in
 * which they were learned; only differences to what is booked are posted.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/date.h"

#include "errors.h"
#include "ledger/ledger.h"
#include "rule/match.h"

/* ----------------------------------------------------------------
 *		posting
 * ----------------------------------------------------------------
 */

/*
 * Decide what is due for a part.  Its points move when the whole document is
 * decided, see post_decided(); its qualifying amount and growth count at once.
 */
static void
settle_part(LoyaltyBatch *batch, LoyaltyPart *part, LoyaltyPart *sale, Points due, Numeric qualifying, Points growth)
{
	LoyaltyMember *member;
	Numeric		delta;

	batch->decided = list_append_unique_ptr(batch->decided, part);
	part->due = due;
	part->sale = sale;
	part->is_decided = true;
	if (part->member_id == 0)
		return;
	member = loyalty_batch_member(batch, part->member_id);
	delta = loyalty_num_sub(qualifying, part->qualifying);
	if (loyalty_num_sign(delta) != 0)
	{
		loyalty_member_qualify(loyalty_batch_account(batch, part->member_id), delta, part->at);
		if (member->program->keeps_history)
			loyalty_history_moved(batch, member, part, delta);
		part->qualifying = loyalty_num_trim(qualifying);
		part->dirty = true;
	}
	if (part->growth != growth)
	{
		loyalty_batch_account(batch, part->member_id)->dirty = true;
		part->growth = growth;
		part->dirty = true;
	}
}

/*
 * Post what was decided: gains before losses, so that nothing is owed, or
 * written off, that the same document brings.
 */
static void
post_decided(LoyaltyBatch *batch, LoyaltyDocument *doc)
{
	List	   *decided = batch->decided;
	ListCell   *lc;

	batch->decided = NIL;
	for (int losses = 0; losses < 2; losses++)
	{
		foreach(lc, decided)
		{
			LoyaltyPart *part = lfirst(lc);
			bool		loses = part->due < part->points - part->written_off;

			if (!part->is_decided || loses != (losses == 1))
				continue;
			part->is_decided = false;
			if (part->member_id != 0)
				loyalty_post(batch, loyalty_batch_member(batch, part->member_id), part, part->sale, part->due);
			if (part->dirty)
			{
				int64		whose = part->member_id != 0 ? part->member_id : doc->member_id;

				/* who does not see it, with an older snapshot, must not think that nothing happened */
				if (whose != 0)
					loyalty_batch_account(batch, whose)->dirty = true;
				loyalty_save_part(part, batch->now);
			}
			if (part->member_id != 0)
				loyalty_standing_moved(loyalty_batch_account(batch, part->member_id), part);
		}
		loyalty_post_redemptions(batch, doc, losses == 1);
	}
	batch->redeemed = NIL;
}

/*
 * Due of a part under scope carry: the member's running total is what is
 * rounded, so the part gets what the total moves by.
 */
static Points
carry_due(LoyaltyBatch *batch, LoyaltyPart *part, LoyaltyRational raw)
{
	LoyaltyMember *member = loyalty_batch_member(batch, part->member_id);
	LoyaltyProgram *program = member->program;
	LoyaltyRational moved = loyalty_rational_sub(raw, part->raw);
	Points		booked = part->is_decided ? part->due : part->points - part->written_off;
	Points		delta;

	if (loyalty_rational_sign(moved) == 0)
		return booked;
	member->carry = loyalty_rational_add(member->carry, moved);
	delta = loyalty_points_round(member->carry, program->unit, program->rounding, true);
	member->carry = loyalty_rational_sub(member->carry,
										 loyalty_rational(loyalty_num_int(delta), loyalty_num_int(100)));
	/* in lowest terms, or the fractions grow with every document */
	member->carry = loyalty_rational_from_datum(loyalty_rational_datum(member->carry));
	member->dirty = true;
	part->raw = raw;
	part->has_raw = true;
	part->dirty = true;
	return booked + delta;
}

static Points
due_of(LoyaltyBatch *batch, LoyaltyProgram *program, LoyaltyPart *part, LoyaltyAward award)
{
	if (program->scope == SCOPE_CARRY && part->member_id != 0)
		return carry_due(batch, part, award.raw);
	return award.points;
}

static LoyaltyAward
no_award(void)
{
	LoyaltyAward award;

	award.raw = loyalty_rational_int(0);
	award.points = 0;
	return award;
}

static LoyaltyAward
minus(LoyaltyAward a, LoyaltyAward b)
{
	LoyaltyAward d;

	d.raw = loyalty_rational_sub(a.raw, b.raw);
	d.points = a.points - b.points;
	return d;
}

/* a document's part in a family, with a member: the one there is, or a new one */
static LoyaltyPart *
part_for(LoyaltyBatch *batch, LoyaltyFamily *own, LoyaltyFamily *root, int64 member_id)
{
	int32		root_source_id = root != NULL ? root->source_id : 0;
	const char *root_key = root != NULL ? root->key : "";
	LoyaltyPart *part;
	ListCell   *lc;

	foreach(lc, own->parts)
	{
		part = lfirst(lc);
		if (part->member_id == member_id && part->root_source_id == root_source_id &&
			strcmp(part->root_key, root_key) == 0)
			return part;
	}
	part = loyalty_new_part(own->source_id, own->key, member_id, root_source_id, root_key);
	own->parts = lappend(own->parts, part);
	if (root != NULL)
		root->returns = lappend(root->returns, part);
	return part;
}

/*
 * Let a return stand in the family of root, with a member: withdraw it where
 * it is and put it there.
 */
static void
move_return(LoyaltyBatch *batch, LoyaltyPart *ret, LoyaltyFamily *root, int64 member_id)
{
	LoyaltyPart *here = part_for(batch, loyalty_family(batch, ret->source_id, ret->key), root, member_id);

	if (here == ret)
		return;
	here->state = ret->state;
	here->is_opening = ret->is_opening;
	here->is_return = true;
	here->at = ret->at;
	here->date = ret->date;
	here->company = ret->company;
	here->channel = ret->channel;
	here->gross = ret->gross;
	here->paid = ret->paid;
	here->lines = ret->lines;
	here->keep = ret->keep;
	here->dirty = true;
	ret->keep = false;
	ret->state = STATE_WITHDRAWN;
	ret->dirty = true;
}

/*
 * Settle a whole family: the sale, and every return that points at it.
 */
static void
settle_family(LoyaltyBatch *batch, LoyaltyFamily *family)
{
	LoyaltySource *source = loyalty_source_by_id(family->source_id);
	LoyaltyPart *sale = NULL;
	LoyaltyMember *member;
	LoyaltyProgram *program;
	bool		priced;
	Numeric		zero = loyalty_num_int(0);
	LoyaltyAward before;
	Numeric		gross_before;
	Points		growth_before;
	LoyaltyRemaining left;
	List	   *matches;
	List	   *returns;
	Points		due;
	bool		unlinked;
	ListCell   *lc;

	foreach(lc, family->parts)
	{
		LoyaltyPart *p = lfirst(lc);

		if (p->root_source_id == 0 && p->state != STATE_WITHDRAWN)
			sale = p;
	}

	/* nothing is left with members who do not have the sale (any more) */
	foreach(lc, family->parts)
	{
		LoyaltyPart *p = lfirst(lc);

		if (p->root_source_id == 0 && p->state == STATE_WITHDRAWN && p->member_id != 0)
		{
			LoyaltyMember *m = loyalty_batch_member(batch, p->member_id);

			loyalty_give_up_budgets(batch, m->program, p);
			if (p->is_event && m->program->keeps_history)
				loyalty_history_given(batch, m, p, NIL);
			settle_part(batch, p, p, due_of(batch, m->program, p, no_award()), zero, 0);
		}
	}
	if (sale != NULL)
	{
		returns = list_copy(family->returns);
		foreach(lc, returns)
		{
			LoyaltyPart *p = lfirst(lc);

			if (p->state != STATE_WITHDRAWN && p->member_id != sale->member_id)
				move_return(batch, p, family, sale->member_id);
		}
	}
	foreach(lc, family->returns)
	{
		LoyaltyPart *p = lfirst(lc);

		if (p->state == STATE_WITHDRAWN || sale == NULL)
		{
			LoyaltyMember *m = p->member_id == 0 ? NULL : loyalty_batch_member(batch, p->member_id);

			if (loyalty_num_sign(p->overcredited) != 0)
			{
				p->overcredited = zero;
				p->dirty = true;
			}
			settle_part(batch, p, sale, m == NULL ? 0 : due_of(batch, m->program, p, no_award()), zero, 0);
		}
	}
	if (sale == NULL || source == NULL)
	{
		loyalty_decide_redemptions(batch, family, NULL, NULL);
		return;
	}

	member = loyalty_batch_account(batch, sale->member_id);
	program = member->program;
	priced = sale->stale || sale->rate == NULL || (program->keeps_history && family->doc != NULL);
	if (sale->stale || sale->rate == NULL)
		loyalty_price_sale(batch, member, sale, family->doc);
	else if (priced)
		loyalty_price_again(batch, member, sale, family->doc);
	matches = loyalty_part_matches(program, sale);
	returns = loyalty_sorted_returns(family->returns);
	loyalty_start_remaining(&left, sale);
	unlinked = left.sign < 0;

	if (sale->state == STATE_OPENING || (unlinked && source->unlinked == UNLINKED_IGNORE))
		matches = NIL;
	loyalty_take_budgets(batch, program, sale, matches, returns);
	before = sale->is_event ? loyalty_award_event(batch, program, sale, family->doc, &left, matches) :
		loyalty_award_remaining(&left, program, matches, sale->rate, NULL);
	growth_before = loyalty_growth_remaining(&left, program, matches, NULL);
	if (sale->is_event && family->doc->facts->event->state != EVENT_COUNTED)
		growth_before = 0;
	if (unlinked)
	{
		LoyaltyAward negative = minus(no_award(), before);

		/* what is not there is written off at the first booking, for good */
		sale->forgiving = source->unlinked == UNLINKED_CLAMP;
		due = due_of(batch, program, sale, negative);
	}
	else
		due = due_of(batch, program, sale, before);
	settle_part(batch, sale, NULL, due,
				unlinked && source->unlinked == UNLINKED_IGNORE ? zero : sale->gross,
				unlinked ? -growth_before : growth_before);

	gross_before = left.gross;
	foreach(lc, returns)
	{
		LoyaltyPart *ret = lfirst(lc);
		Numeric		over = ret->overcredited;
		Numeric		gross_after;
		LoyaltyAward after;
		LoyaltyAward step;
		Points		growth_after;

		loyalty_take_return(&left, ret);
		if (loyalty_num_cmp(over, ret->overcredited) != 0)
			ret->dirty = true;
		after = loyalty_award_remaining(&left, program, matches, sale->rate, NULL);
		growth_after = loyalty_growth_remaining(&left, program, matches, NULL);
		/* rounded sums telescope: the family's total is exact */
		gross_after = loyalty_rational_numeric(loyalty_in_gross(&left, loyalty_left_total(&left)), 6);
		step = unlinked ? minus(before, after) : minus(after, before);
		settle_part(batch, ret, sale, due_of(batch, program, ret, step),
					loyalty_signed_by(left.sign, loyalty_num_sub(gross_after, gross_before)),
					unlinked ? growth_before - growth_after : growth_after - growth_before);
		before = after;
		growth_before = growth_after;
		gross_before = gross_after;
	}

	/* what rules give counts against caps and budgets as far as something is left of it */
	if (priced || sale->is_event || loyalty_is_limited(matches))
		loyalty_freeze_price(batch, member, sale);
	/* who does not see that an event has its place within a limit must not count on the member */
	if (sale->is_event && sale->dirty)
		member->dirty = true;
	loyalty_decide_redemptions(batch, family, sale, &left);
}

/* ----------------------------------------------------------------
 *		from the facts of a document to its parts
 * ----------------------------------------------------------------
 */

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/*
 * Put the facts of a claim into its part; if they changed, it is stale.
 */
static void
put_facts(LoyaltyPart *part, LoyaltyDocument *doc, LoyaltyClaim *claim, List *redemptions)
{
	LoyaltyFacts *facts = doc->facts;
	Jsonb	   *lines = loyalty_lines_to_jsonb(claim->lines, claim->nlines);
	bool		is_return = part->root_source_id != 0 || loyalty_num_sign(claim->gross) < 0;
	LoyaltyState state = doc->opening ? STATE_OPENING : STATE_BOOKED;
	int64	   *seen = NULL;
	int			nseen = loyalty_seen_columns(loyalty_source_book(doc->source), facts, claim, &seen);
	bool		seen_otherwise = loyalty_seen_otherwise(part->seen, part->nseen, seen, nseen);
	Numeric		paid = claim->paid;
	DateADT		usable_from;
	bool		same;

	/* a sale that says nothing of points was paid with what was redeemed for it */
	if (!is_return && loyalty_num_sign(paid) == 0)
		paid = loyalty_redeemed_value(redemptions);
	usable_from = is_return ? DATEVAL_NOBEGIN : loyalty_usable_from(doc->source, facts);
	same = part->stored && part->state == state && part->is_return == is_return &&
		part->at == facts->at && same_text(part->company, facts->company) &&
		same_text(part->channel, facts->channel) &&
		loyalty_num_cmp(part->gross, claim->gross) == 0 &&
		loyalty_num_cmp(part->paid, paid) == 0 && loyalty_same_jsonb(part->lines, lines);
	part->keep = true;
	part->claim = claim;
	part->draws = doc->force || !part->stored || loyalty_num_cmp(part->paid, paid) != 0;
	if (doc->force || seen_otherwise)
		part->stale = true;
	if (part->stale || !same)
	{
		part->seen = seen;
		part->nseen = nseen;
		part->dirty |= seen_otherwise;
	}
	/* the days a programme lets points wait are those it had when they were booked */
	if (part->usable_from != usable_from && (!same || doc->source->items[ITEM_USABLE_FROM] != NULL))
	{
		part->rescheduled = part->stored;
		part->usable_from = usable_from;
		part->dirty = true;
	}
	if (same)
		return;

	/*
	 * A withdrawn document that comes back unchanged is booked at the rules it
	 * was booked with; one that changed is priced again.
	 */
	if (!(part->stored && part->state == STATE_WITHDRAWN && part->rate != NULL &&
		  part->at == facts->at && part->is_return == is_return &&
		  same_text(part->company, facts->company) && same_text(part->channel, facts->channel) &&
		  loyalty_num_cmp(part->gross, claim->gross) == 0 &&
		  loyalty_num_cmp(part->paid, paid) == 0 && loyalty_same_jsonb(part->lines, lines)))
		part->stale = true;
	part->state = state;
	part->is_opening = doc->opening;
	part->is_return = is_return;
	part->is_event = facts->event != NULL;
	part->at = facts->at;
	part->date = facts->date;
	part->company = facts->company;
	part->channel = facts->channel;
	part->gross = claim->gross;
	part->paid = paid;
	part->lines = lines;
	part->dirty = true;
}

/*
 * The family a link leads to: through returns of returns to the sale.
 */
static LoyaltyFamily *
root_family(LoyaltyBatch *batch, LoyaltyDocument *doc, LoyaltyClaim *claim)
{
	LoyaltyFamily *family = loyalty_family(batch, loyalty_claim_source(claim), claim->root_key);

	for (int depth = 0; depth < 32; depth++)
	{
		LoyaltyPart *live = loyalty_live_part(family->parts);
		LoyaltyFamily *next;

		if (live == NULL || live->root_source_id == 0)
			return family;
		next = loyalty_family(batch, live->root_source_id, live->root_key);
		if (next == family)
			return family;
		family = next;
	}
	ereport(ERROR,
			(errcode(ERRCODE_LOYALTY_FACT),
			 errmsg("returns of document \"%s\" of source \"%s\" go round in a circle",
					doc->key, doc->source->name),
			 errhint("Correct what one of them is a return of.")));
	return NULL;				/* keep compiler quiet */
}

/*
 * With whom a document is booked: what is known of a customer who was merged
 * stays with him, what is new is the other one's.
 */
static int64
member_of(LoyaltyBatch *batch, LoyaltyDocument *doc, LoyaltyFamily *own)
{
	ListCell   *lc;

	if (doc->member_id == 0 || loyalty_batch_member(batch, doc->member_id)->merged_into == 0)
		return doc->member_id;
	foreach(lc, own->parts)
		if (((LoyaltyPart *) lfirst(lc))->member_id == doc->member_id)
			return doc->member_id;
	return loyalty_batch_account(batch, doc->member_id)->id;
}

static LoyaltyPlan plan_was_opening = {
	.sql = "SELECT 1 FROM loyalty.document d WHERE d.source_id = $1 AND d.doc_key = $2 AND d.is_opening LIMIT 1",
	.nparams = 2, .types = {INT4OID, TEXTOID}
};

/* is the document that had this key one of those that were there before? */
static bool
was_opening(LoyaltySource *source, const char *key)
{
	Datum		values[2] = {Int32GetDatum(source->id), CStringGetTextDatum(key)};
	bool		found = loyalty_run(&plan_was_opening, values, NULL) > 0;

	SPI_freetuptable(SPI_tuptable);
	return found;
}

/*
 * Is a document one of those that were there before the programme?  Once it
 * is, it stays so, as a draft, with another customer or key too; what has been
 * booked already, by live traffic, is none.
 */
static bool
is_opening(LoyaltyDocument *doc, LoyaltyFamily *own)
{
	bool		opening = doc->opening;
	ListCell   *lc;

	foreach(lc, own->parts)
	{
		LoyaltyPart *part = lfirst(lc);

		if (part->state == STATE_BOOKED && part->stored)
			return false;
		opening |= part->is_opening;
	}
	return opening || (doc->was != NULL && was_opening(doc->source, doc->was));
}

/*
 * Evaluate one document: find its parts, and settle every family that it
 * belongs to or belonged to.
 */
void
loyalty_evaluate_document(LoyaltyBatch *batch, LoyaltyDocument *doc)
{
	LoyaltyFamily *own = loyalty_family(batch, doc->source->id, doc->key);
	List	   *families = NIL;
	bool		own_sale = false;
	ListCell   *lc;

	if (doc->done)
		return;
	doc->done = true;
	doc->opening = is_opening(doc, own);

	foreach(lc, own->parts)
		((LoyaltyPart *) lfirst(lc))->keep = false;

	if (doc->facts != NULL)
	{
		foreach(lc, doc->claims)
		{
			LoyaltyClaim *claim = lfirst(lc);
			LoyaltyFamily *root = NULL;
			int64		member_id = member_of(batch, doc, own);
			LoyaltyFamily *charged = NULL;

			if (claim->root_source != NULL)
			{
				LoyaltyFamily *target = loyalty_family(batch, loyalty_claim_source(claim), claim->root_key);
				LoyaltyPart *sale;

				/* what is returned comes before its return */
				if (target->doc != NULL && target != own)
					loyalty_evaluate_document(batch, target->doc);
				root = root_family(batch, doc, claim);
				if (root == own)
					root = NULL;
				else
				{
					sale = loyalty_live_part(root->parts);
					/* a further charge on a sale is a sale */
					if (root == target && sale != NULL && loyalty_num_sign(sale->gross) >= 0 &&
						loyalty_num_sign(claim->gross) > 0)
					{
						charged = root;
						root = NULL;
					}
					/* with nobody's sale known, it waits with nobody */
					else
						member_id = sale != NULL && sale->root_source_id == 0 ? sale->member_id : 0;
				}
			}
			if (root == NULL && member_id == 0)
				continue;		/* a guest, or no member */
			if (charged != NULL)
			{
				/* that it hangs there is noted, for the day that is no sale */
				LoyaltyClaim nothing = {.gross = loyalty_num_int(0), .paid = loyalty_num_int(0)};
				LoyaltyPart *sale = loyalty_live_part(charged->parts);

				put_facts(part_for(batch, own, charged, sale->member_id), doc, &nothing, NIL);
				families = list_append_unique_ptr(families, charged);
			}
			put_facts(part_for(batch, own, root, member_id), doc, claim, own->redemptions);
			if (root == NULL)
				own_sale = true;
			else
				families = list_append_unique_ptr(families, root);
		}
	}

	/* parts that the facts do not speak of any more */
	foreach(lc, own->parts)
	{
		LoyaltyPart *part = lfirst(lc);

		if (part->keep)
			continue;
		if (part->state != STATE_WITHDRAWN)
		{
			part->state = STATE_WITHDRAWN;
			part->dirty = true;
		}
		if (part->root_source_id == 0)
			own_sale = true;
		else
			families = list_append_unique_ptr(families,
											  loyalty_family(batch, part->root_source_id, part->root_key));
	}
	/* what pointed here before this was known for a return belongs to its sale */
	foreach(lc, list_copy(own->returns))
	{
		LoyaltyPart *live = loyalty_live_part(own->parts);
		LoyaltyPart *ret = lfirst(lc);

		if (live != NULL && live->root_source_id != 0 && ret->state != STATE_WITHDRAWN)
			move_return(batch, ret, loyalty_family(batch, live->root_source_id, live->root_key), live->member_id);
	}
	if (own_sale || own->returns != NIL)
		settle_family(batch, own);
	foreach(lc, families)
		settle_family(batch, lfirst(lc));
	post_decided(batch, doc);
}
