/*
 * award.c
 *	  What rules give for the amounts of a document.
 *
 * A rule gives points per per_amount of money; the tier's rate multiplies
 * them.  Everything is multiplied first and divided last, as a fraction, and
 * rounded once: per document or per line, as the programme says.  With scope
 * carry nothing is rounded here; the ledger rounds the member's running total.
 */
#include "postgres.h"

#include "rule/rule.h"

/*
 * points * rate * amount / per_amount; for step only whole multiples count.
 */
static LoyaltyRational
rule_points(LoyaltyRule *rule, Numeric rate, LoyaltyRational amount)
{
	LoyaltyRational multiples = loyalty_rational(amount.num, loyalty_num_mul(amount.den, rule->per_amount));

	if (rule->step)
		multiples = loyalty_rational_trunc(multiples);
	return loyalty_rational(loyalty_num_mul(multiples.num, loyalty_num_mul(rule->points, rate)), multiples.den);
}

static void
add_step(List **steps, LoyaltyRule *rule, Numeric rate, LoyaltyBasis *basis, LoyaltyRational amount,
		 LoyaltyRational points)
{
	LoyaltyStep *step;
	StringInfoData text;

	if (steps == NULL)
		return;
	initStringInfo(&text);
	appendStringInfo(&text, "%s x %s", loyalty_num_text(loyalty_rational_numeric(amount, 6)),
					 loyalty_num_text(loyalty_num_trim(rule->points)));
	appendStringInfo(&text, " per %s%s", rule->step ? "full " : "",
					 loyalty_num_text(loyalty_num_trim(rule->per_amount)));
	if (loyalty_num_cmp(rate, loyalty_num_int(1)) != 0)
		appendStringInfo(&text, " x tier rate %s", loyalty_num_text(loyalty_num_trim(rate)));
	step = palloc0(sizeof(LoyaltyStep));
	step->rule = rule->name;
	step->line = basis != NULL ? basis->line : NULL;
	step->calculation = text.data;
	step->points = loyalty_rational_numeric(points, 6);
	*steps = lappend(*steps, step);
}

/*
 * Award points for the amounts of one document.
 *
 * rate is the collection factor of the tier.  With steps, each rule's part is
 * appended as a row of explanation.
 */
LoyaltyAward
loyalty_award(LoyaltyProgram *program, List *rules, Numeric rate,
			  LoyaltyBasis *bases, int nbases, List **steps)
{
	LoyaltyAward award;
	LoyaltyRational total = loyalty_rational_int(0);
	bool		by_line = program->scope == SCOPE_LINE;
	ListCell   *lc;

	award.raw = loyalty_rational_int(0);
	award.points = 0;

	if (!by_line)
		for (int i = 0; i < nbases; i++)
			total = i == 0 ? bases[0].amount : loyalty_rational_add(total, bases[i].amount);

	if (by_line)
	{
		/* every rule sees the line, and the line is rounded once */
		for (int i = 0; i < nbases; i++)
		{
			LoyaltyRational line = loyalty_rational_int(0);

			foreach(lc, rules)
			{
				LoyaltyRule *rule = lfirst(lc);
				LoyaltyRational points = rule_points(rule, rate, bases[i].amount);

				add_step(steps, rule, rate, &bases[i], bases[i].amount, points);
				line = loyalty_rational_add(line, points);
			}
			award.raw = loyalty_rational_add(award.raw, line);
			award.points += loyalty_points_round(line, program->unit, program->rounding, false);
		}
		return award;
	}

	foreach(lc, rules)
	{
		LoyaltyRule *rule = lfirst(lc);

		if (rule->per_line)
		{
			for (int i = 0; i < nbases; i++)
			{
				LoyaltyRational points = rule_points(rule, rate, bases[i].amount);

				add_step(steps, rule, rate, &bases[i], bases[i].amount, points);
				award.raw = loyalty_rational_add(award.raw, points);
			}
		}
		else
		{
			LoyaltyRational points = rule_points(rule, rate, total);

			add_step(steps, rule, rate, NULL, total, points);
			award.raw = lc == list_head(rules) ? points : loyalty_rational_add(award.raw, points);
		}
	}
	if (program->scope == SCOPE_DOCUMENT)
		award.points = loyalty_points_round(award.raw, program->unit, program->rounding, false);
	return award;
}
