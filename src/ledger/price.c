/*
 * price.c
 *	  At which tier, rate and rules a sale earns.
 *
 * A sale is priced when it is first booked or changes itself, and what was
 * found is frozen with it: its returns are worth what the sale was, whatever
 * became of the rules since.  Caps and budgets limit it by what is given for
 * what is left of the member's earlier sales, and of all others of the rule.
 */
#include "postgres.h"

#include "ledger/ledger.h"
#include "rule/match.h"

/* are two stored values the same?  NULL is the same as NULL alone */
bool
loyalty_same_jsonb(Jsonb *a, Jsonb *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE(a) == VARSIZE(b) && compareJsonbContainers(&a->root, &b->root) == 0;
}

/* points that a match held of its rule's budget: take them, or give them back */
static void
move_budget(LoyaltyBatch *batch, LoyaltyProgram *program, LoyaltyMatch *match, int sign)
{
	if (match->rule->has_budget)
		loyalty_budget_moved(batch, program, match->rule, sign * match->given);
}

/*
 * What caps leave for a sale; what budgets leave, see loyalty_take_budgets().
 */
static void
limit_matches(LoyaltyBatch *batch, LoyaltyPart *part, List *matches)
{
	ListCell   *lc;

	foreach(lc, matches)
	{
		LoyaltyMatch *match = lfirst(lc);
		LoyaltyRule *rule = match->rule;

		if (!rule->capped)
			continue;
		match->limited = true;
		match->allowed = loyalty_history_allowance(batch, loyalty_batch_member(batch, part->member_id), part, rule);
		if (rule->has_budget)
			match->allowed = Min(match->allowed, rule->budget);
	}
}

/* points that a sale holds of a rule's budget */
static Points
budget_held(List *matches, LoyaltyRule *rule)
{
	Points		held = 0;
	ListCell   *lc;

	foreach(lc, matches)
	{
		LoyaltyMatch *match = lfirst(lc);

		if (match->rule->has_budget && strcmp(match->rule->name, rule->name) == 0)
			held += match->given;
	}
	return held;
}

static bool
wants_budget(List *matches)
{
	ListCell   *lc;

	foreach(lc, matches)
		if (((LoyaltyMatch *) lfirst(lc))->rule->has_budget)
			return true;
	return false;
}

/*
 * A budget is used by what its rule gives for what is left of sales.  So a sale
 * whose goods come back gives its share back, and one whose return is undone
 * takes again what is there.  matches are those of the sale, returns all that
 * count.
 */
void
loyalty_take_budgets(LoyaltyBatch *batch, LoyaltyProgram *program, LoyaltyPart *part, List *matches, List *returns)
{
	List	   *before;
	bool		cut = wants_budget(matches);
	ListCell   *lc;

	if (!cut)
		return;
	before = loyalty_matches_of_rules(program, part->rules, part->nrules, part->matches);
	/* what is cut off one may, by a unit, be rounded into another */
	while (cut)
	{
		cut = false;
		(void) loyalty_part_award(program, part, returns, list_length(returns), NULL);
		(void) loyalty_part_growth(program, part, returns, list_length(returns), NULL);
		foreach(lc, matches)
		{
			LoyaltyMatch *match = lfirst(lc);
			Points		held;
			Points		there;

			if (!match->rule->has_budget)
				continue;
			held = budget_held(before, match->rule);
			if (match->given <= held)
				continue;
			there = loyalty_budget_allowance(batch, program, match->rule, held);
			if (match->given > there)
			{
				match->allowed = there;
				cut = true;
			}
		}
	}
}

/*
 * The rules that hold for a sale.  With as_of, see loyalty_match_rules().
 */
static List *
ask_rules(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part, LoyaltyDocument *doc,
		  LoyaltyClaim *claim, List *kept, TimestampTz as_of)
{
	LoyaltyProgram *program = member->program;
	LoyaltyTier *tier = loyalty_tier_by_id(program, part->tier_id);
	LoyaltyQuestion q = {doc->source, doc->key, doc->facts, claim, member->customer, tier, member->joined_on, NULL, member->id, NULL};
	LoyaltyFigures figures;
	List	   *matches;

	if (program->keeps_history && loyalty_num_sign(claim->gross) >= 0)
	{
		figures = loyalty_history_figures(batch, loyalty_batch_member(batch, part->member_id), part);
		q.figures = &figures;
	}
	matches = loyalty_match_rules(loyalty_source_book(doc->source), &q, kept, as_of);
	if (program->keeps_history && loyalty_num_sign(claim->gross) >= 0)
		limit_matches(batch, part, matches);
	return matches;
}

/* the sale earns at this tier (NULL: below the first) */
static void
put_tier(LoyaltyPart *part, LoyaltyTier *tier)
{
	Numeric		rate = tier == NULL ? loyalty_num_int(1) : tier->rate;
	int32		id = tier == NULL ? 0 : tier->id;

	if (part->rate == NULL || part->tier_id != id || loyalty_num_cmp(part->rate, rate) != 0)
		part->dirty = true;
	part->tier_id = id;
	part->rate = rate;
}

/*
 * The tier where it simply follows the qualifying amount, which is frozen at
 * the sale's first booking.
 */
static void
follow_amount(LoyaltyMember *member, LoyaltyPart *part)
{
	LoyaltyProgram *program = member->program;
	Numeric		reach;

	/* a document that was empty so far counts from now */
	if (part->tier_before == NULL ||
		(part->last_seq == 0 && loyalty_num_sign(part->qualifying) == 0))
	{
		part->tier_before = member->qualifying;
		part->dirty = true;
	}
	reach = part->tier_before;
	if (program->crossing_new && loyalty_num_sign(part->gross) > 0)
		reach = loyalty_num_add(reach, part->gross);
	put_tier(part, loyalty_program_tier(program, reach));
}

/*
 * Does what a sale earns itself count for the tier at which it earns?
 */
bool
loyalty_counts_own_award(LoyaltyProgram *program)
{
	return loyalty_program_measures(program, METRIC_POINTS) ||
		(program->gives_growth && loyalty_program_measures(program, METRIC_GROWTH));
}

/*
 * Decide at which rules and rate a sale earns.  What the member was before it
 * decides; a later change of the sale finds its tier from that, never from
 * what the member became since.
 */
void
loyalty_price_sale(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part, LoyaltyDocument *doc)
{
	LoyaltyProgram *program = member->program;
	LoyaltyClaim *claim = doc != NULL ? part->claim : NULL;
	bool		is_plain = loyalty_member_is_plain(member);

	part->stale = false;
	part->priced_at = batch->now;
	part->match_list = NIL;
	part->matched = true;
	if (is_plain)
		follow_amount(member, part);
	else
		put_tier(part, loyalty_standing_before(batch->context, member, program, part));
	if (!is_plain && program->crossing_new && loyalty_num_sign(part->gross) > 0)
	{
		Points		points = 0;
		Points		growth = 0;

		/* where points or growth count, those that it would earn so far */
		if (claim != NULL && loyalty_counts_own_award(program))
		{
			part->match_list = ask_rules(batch, member, part, doc, claim, NIL, 0);
			loyalty_take_budgets(batch, program, part, part->match_list, NIL);
			points = loyalty_part_award(program, part, NIL, 0, NULL).points;
			growth = loyalty_part_growth(program, part, NIL, 0, NULL);
		}
		put_tier(part, loyalty_standing_with(member->record, part, points, growth));
	}
	if (claim != NULL)
		part->match_list = ask_rules(batch, member, part, doc, claim, NIL, 0);
}

/*
 * Of a sale that did not change itself, ask those rules again that look at
 * earlier purchases.
 */
void
loyalty_price_again(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part, LoyaltyDocument *doc)
{
	LoyaltyClaim *claim = doc != NULL ? part->claim : NULL;

	if (claim != NULL && part->priced_at != 0)
		part->match_list = ask_rules(batch, member, part, doc, claim,
									 loyalty_part_matches(member->program, part), part->priced_at);
}

/*
 * Freeze what was found, after the points of the whole sale were worked out.
 */
void
loyalty_freeze_price(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part)
{
	LoyaltyProgram *program = member->program;
	Jsonb	   *frozen = loyalty_freeze_matches(part->match_list);
	List	   *before = loyalty_matches_of_rules(program, part->rules, part->nrules, part->matches);
	int32	   *ids = palloc(sizeof(int32) * Max(list_length(part->match_list), 1));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, before)
		move_budget(batch, program, lfirst(lc), -1);
	foreach(lc, part->match_list)
	{
		LoyaltyMatch *match = lfirst(lc);

		move_budget(batch, program, match, 1);
		ids[n++] = match->rule->id;
	}
	if (program->keeps_history)
		loyalty_history_given(batch, loyalty_batch_member(batch, part->member_id), part, loyalty_given(part->match_list));
	if (part->nrules != n || (n > 0 && memcmp(part->rules, ids, sizeof(int32) * n) != 0) ||
		!loyalty_same_jsonb(part->matches, frozen))
		part->dirty = true;
	part->rules = ids;
	part->nrules = n;
	part->matches = frozen;
}

/*
 * A sale does not count any more: its share of budgets is free again, and if
 * it comes back it is priced anew.
 */
void
loyalty_give_up_budgets(LoyaltyBatch *batch, LoyaltyProgram *program, LoyaltyPart *part)
{
	bool		any = false;
	ListCell   *lc;

	foreach(lc, loyalty_part_matches(program, part))
	{
		LoyaltyMatch *match = lfirst(lc);

		if (!match->rule->has_budget)
			continue;
		move_budget(batch, program, match, -1);
		any = true;
	}
	if (!any)
		return;
	part->rate = NULL;
	part->nrules = 0;
	part->matches = NULL;
	part->match_list = NIL;
	part->dirty = true;
}
