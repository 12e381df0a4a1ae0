/*
 * award.c
 *	  What rules give for what is left of a document.
 *
 * A rule gives points per amount of money, per unit, or once; the tier's rate
 * and multipliers are factors on them.  Everything is multiplied first and
 * divided last, as a fraction, and rounded once: per document or per line, as
 * the programme says.  With scope carry nothing is rounded here; the ledger
 * rounds the member's running total.
 *
 * What rules on growth give is worked out by itself: no rate, multiplier,
 * exclusion or limit on points touches it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "rule/condition.h"
#include "rule/match.h"
#include "rule/rule.h"

/* one award in the making */
typedef struct Work
{
	LoyaltyProgram *program;
	List	   *matches;
	LoyaltyBasket *basket;
	Numeric		rate;			/* of the tier */
	List	  **steps;
	bool		growth;			/* it is growth that is awarded */
	bool		by_line;		/* rounded line by line */
	bool	   *excluded;		/* of each basis; NULL for none */
	Numeric    *factors;		/* of each basis */
	LoyaltyRational *line_points;	/* of each basis, for by_line */
	LoyaltyRational points;		/* of the document */
} Work;

/*
 * points * amount / per_amount; for step only whole multiples count.
 */
static LoyaltyRational
rule_points(LoyaltyRule *rule, LoyaltyRational amount)
{
	LoyaltyRational multiples = loyalty_rational(amount.num, loyalty_num_mul(amount.den, rule->per_amount));

	if (rule->step)
		multiples = loyalty_rational_trunc(multiples);
	return loyalty_rational(loyalty_num_mul(multiples.num, rule->points), multiples.den);
}

static LoyaltyRational
points_rational(Points points)
{
	return loyalty_rational(loyalty_points_numeric(points), loyalty_num_int(1));
}

static LoyaltyRational
times(LoyaltyRational a, Numeric factor)
{
	return loyalty_rational(loyalty_num_mul(a.num, factor), a.den);
}

/*
 * Append a row to the explanation, if one is wanted.  Growth is no points: the
 * text says how much it is.
 */
static void
explain_text(Work *w, LoyaltyRule *rule, const char *line, char *text, Numeric given)
{
	LoyaltyStep *step;

	if (w->steps == NULL)
		return;
	step = palloc0(sizeof(LoyaltyStep));
	step->rule = rule->name;
	step->line = line;
	step->calculation = !w->growth ? text :
		psprintf("%s: growth %s", text, loyalty_num_text(loyalty_num_trim(given)));
	step->points = w->growth ? loyalty_num_int(0) : given;
	*w->steps = lappend(*w->steps, step);
}

/*
 * The same for a calculation; amount and factor may be NULL.
 */
static void
explain_rule(Work *w, LoyaltyRule *rule, const char *line, const LoyaltyRational *amount,
			 Numeric factor, LoyaltyRational points)
{
	StringInfoData text;

	if (w->steps == NULL)
		return;
	initStringInfo(&text);
	if (amount != NULL)
		appendStringInfo(&text, "%s%s x %s per %s%s", loyalty_num_text(loyalty_rational_numeric(*amount, 6)),
						 rule->kind == RULE_UNIT ? " units" : "",
						 loyalty_num_text(loyalty_num_trim(rule->points)), rule->step ? "full " : "",
						 loyalty_num_text(loyalty_num_trim(rule->per_amount)));
	else
		appendStringInfo(&text, "%s once", loyalty_num_text(loyalty_num_trim(rule->points)));
	if (factor == NULL)
		appendStringInfoString(&text, " x factors of its lines");
	else if (loyalty_num_cmp(factor, loyalty_num_int(1)) != 0)
		appendStringInfo(&text, " x %s %s",
						 loyalty_num_cmp(factor, w->rate) == 0 ? "tier rate" : "factor",
						 loyalty_num_text(loyalty_num_trim(factor)));
	explain_text(w, rule, line, text.data, loyalty_rational_numeric(points, 6));
}

/*
 * Does a match hold for what is left of a basis?
 */
static bool
holds_for(Work *w, LoyaltyMatch *match, int i)
{
	LoyaltyBasis *basis = &w->basket->bases[i];
	int			line = -1;

	if (match->nlines >= 0)
	{
		for (line = 0; line < match->nlines; line++)
			if (match->lines[line] == basis->number)
				break;
		if (line == match->nlines)
			return false;
	}
	return match->provisos == NULL || w->basket->whole ||
		loyalty_proviso_holds(w->program, match->provisos[Max(line, 0)], w->basket->gross, basis);
}

/*
 * Does a rule of the same exclusive group with a higher priority hold for what
 * is left of a basis?  One for the document is not outranked by one for lines.
 */
static bool
outranked(Work *w, LoyaltyMatch *match, int i)
{
	bool		before = true;
	ListCell   *lc;

	foreach(lc, w->matches)
	{
		LoyaltyMatch *other = lfirst(lc);

		if (other == match)
			before = false;
		else if (other->rule->exclusive_group != NULL &&
				 strcmp(other->rule->exclusive_group, match->rule->exclusive_group) == 0 &&
				 (other->rule->priority > match->rule->priority ||
				  (other->rule->priority == match->rule->priority && before)) &&
				 (other->nlines < 0 || match->nlines >= 0) && holds_for(w, other, i))
			return true;
	}
	return false;
}

/*
 * Does a match count for a basis?
 */
static bool
covers(Work *w, LoyaltyMatch *match, int i)
{
	return (w->excluded == NULL || !w->excluded[i]) && holds_for(w, match, i) &&
		(match->rule->exclusive_group == NULL || !outranked(w, match, i));
}

/*
 * How the tier's rate and the multipliers that hold combine, for each basis.
 */
static void
combine_factors(Work *w, List *matches)
{
	Numeric		one = loyalty_num_int(1);

	w->factors = palloc(sizeof(Numeric) * (w->basket->n + 1));
	for (int i = 0; i < w->basket->n; i++)
	{
		ListCell   *lc;

		w->factors[i] = w->rate;
		foreach(lc, matches)
		{
			LoyaltyMatch *match = lfirst(lc);
			Numeric		factor = match->rule->factor;

			if (match->rule->kind != RULE_MULTIPLIER || !covers(w, match, i))
				continue;
			switch (w->program->stacking)
			{
				case STACKING_MULTIPLY:
					w->factors[i] = loyalty_num_mul(w->factors[i], factor);
					break;
				case STACKING_MAX:
					if (loyalty_num_cmp(factor, w->factors[i]) > 0)
						w->factors[i] = factor;
					break;
				case STACKING_ADD:
					w->factors[i] = loyalty_num_add(w->factors[i], loyalty_num_sub(factor, one));
					break;
			}
			explain_text(w, match->rule, w->basket->bases[i].line,
						 psprintf("factor %s", loyalty_num_text(loyalty_num_trim(factor))), loyalty_num_int(0));
		}
		/* factors below 1 that are added up do not turn a sale into a loss */
		if (loyalty_num_sign(w->factors[i]) < 0)
			w->factors[i] = loyalty_num_int(0);
	}
}

/* points of one line: where they are rounded line by line they are kept apart */
static void
give(Work *w, int i, LoyaltyRational points, LoyaltyRational *total)
{
	*total = loyalty_rational_add(*total, points);
	if (w->by_line && i >= 0)
		w->line_points[i] = loyalty_rational_add(w->line_points[i], points);
}

/*
 * Points of an amount or unit rule: on each line, or on the sum of those that
 * it covers, which then bear their factors in proportion.
 */
static LoyaltyRational
amount_points(Work *w, LoyaltyMatch *match)
{
	LoyaltyRule *rule = match->rule;
	Numeric		one = loyalty_num_int(1);
	LoyaltyRational given = loyalty_rational_int(0);
	LoyaltyRational sum = given;
	LoyaltyRational weighted = given;
	Numeric		factor = NULL;
	bool		even = true;

	for (int i = 0; i < w->basket->n; i++)
	{
		LoyaltyBasis *basis = &w->basket->bases[i];
		LoyaltyRational amount = rule->kind == RULE_UNIT ? basis->qty : basis->amount;
		Numeric		f = rule->multiplied ? w->factors[i] : one;

		if (!covers(w, match, i))
			continue;
		if (rule->per_line || w->by_line)
		{
			LoyaltyRational points = times(rule_points(rule, amount), f);

			explain_rule(w, rule, basis->line, &amount, f, points);
			give(w, i, points, &given);
			continue;
		}
		if (factor == NULL)
			factor = f;
		else if (loyalty_num_cmp(f, factor) != 0)
			even = false;
		sum = loyalty_rational_add(sum, amount);
		weighted = loyalty_rational_add(weighted, times(amount, f));
	}
	if (factor != NULL)
	{
		LoyaltyRational points = rule_points(rule, sum);

		if (even)
			points = times(points, factor);
		else if (loyalty_rational_sign(sum) == 0)
			points = loyalty_rational_int(0);
		else if (loyalty_rational_sign(sum) > 0)
			points = loyalty_rational(loyalty_num_mul(loyalty_num_mul(points.num, weighted.num), sum.den),
									  loyalty_num_mul(loyalty_num_mul(points.den, weighted.den), sum.num));
		else
			points = loyalty_rational(loyalty_num_neg(loyalty_num_mul(loyalty_num_mul(points.num, weighted.num), sum.den)),
									  loyalty_num_abs(loyalty_num_mul(loyalty_num_mul(points.den, weighted.den), sum.num)));
		explain_rule(w, rule, NULL, &sum, even ? factor : NULL, points);
		give(w, -1, points, &given);
	}
	return given;
}

/*
 * Points of a bonus: once, or for each line it covers, as long as something
 * of it is left.
 */
static LoyaltyRational
bonus_points(Work *w, LoyaltyMatch *match)
{
	LoyaltyRule *rule = match->rule;
	LoyaltyRational given = loyalty_rational_int(0);

	for (int i = 0; i < w->basket->n; i++)
	{
		LoyaltyBasis *basis = &w->basket->bases[i];
		Numeric		factor = rule->multiplied ? w->factors[i] : loyalty_num_int(1);
		LoyaltyRational points;

		if (loyalty_rational_sign(basis->value) <= 0 || !covers(w, match, i))
			continue;
		points = times(loyalty_rational(rule->points, loyalty_num_int(1)), factor);
		explain_rule(w, rule, rule->per_line || match->nlines >= 0 ? basis->line : NULL, NULL, factor, points);
		give(w, rule->per_line ? i : -1, points, &given);
		if (!rule->per_line)
			break;
	}
	return given;
}

/*
 * Points as they will be rounded: of lines line by line, then of what is no
 * line's.  With scope carry it is the member's total that is rounded.
 */
static Points
rounded(Work *w, LoyaltyRational points)
{
	LoyaltyProgram *program = w->program;
	Points		sum = 0;

	if (w->growth || program->scope == SCOPE_CARRY)
		return loyalty_points_round(points, 1, ROUND_DOWN, false);
	for (int i = 0; w->by_line && i < w->basket->n; i++)
	{
		sum += loyalty_points_round(w->line_points[i], program->unit, program->rounding, false);
		points = loyalty_rational_sub(points, w->line_points[i]);
	}
	return sum + loyalty_points_round(points, program->unit, program->rounding, false);
}

/*
 * No more than a cap: of what was given on top of before, what is beyond it is
 * cut off, and said.  What counts, and what the cap is on, are points as they
 * are booked: by how much the document's rounded points grow.
 */
static LoyaltyRational
capped(Work *w, LoyaltyMatch *match, LoyaltyRational before, LoyaltyRational given)
{
	LoyaltyRule *rule = match->rule;
	LoyaltyRational uncut = given;
	bool		exact = w->growth || w->program->scope == SCOPE_CARRY;
	bool		alone = exact || loyalty_rational_sign(before) == 0;
	Points		booked = 0;
	Points		limit;
	Points		share;

	if (!rule->has_cap_document && !match->limited)
		return given;
	limit = match->limited ? match->allowed : rule->cap_document;
	if (rule->has_cap_document)
		limit = Min(limit, rule->cap_document);
	if (!exact)
		limit -= limit % w->program->unit;
	if (alone)
		share = rounded(w, given);
	else
	{
		booked = rounded(w, before);
		share = rounded(w, loyalty_rational_add(before, given)) - booked;
	}
	if (share > limit || loyalty_rational_sign(loyalty_rational_sub(given, points_rational(limit))) > 0)
	{
		given = points_rational(limit);
		share = alone ? limit : rounded(w, loyalty_rational_add(before, given)) - booked;
		/* halves that go to the even one can be a unit too much */
		if (share > limit)
		{
			given = loyalty_rational_int(0);
			share = 0;
		}
		explain_text(w, rule, NULL,
					 psprintf("no more than %s %s", loyalty_num_text(loyalty_num_trim(loyalty_points_numeric(limit))),
							  rule->has_cap_document && (!match->limited || rule->cap_document <= match->allowed) ?
							  "for one document" : "left by its caps"),
					 loyalty_num_neg(loyalty_rational_numeric(loyalty_rational_sub(uncut, given), 6)));
	}
	/* what counts against caps is what is given for what is left */
	if (match->limited)
		match->given = share;
	return given;
}

static char *
limit_text(LoyaltyRule *rule)
{
	static const char *const words[] = {"a day", "a week", "a month", "a year", "in all"};

	return psprintf("gives nothing: no more than %d %s", rule->limit_count, words[rule->limit_period]);
}

static bool
is_simple(List *matches)
{
	ListCell   *lc;

	foreach(lc, matches)
	{
		LoyaltyMatch *match = lfirst(lc);

		if (match->rule->kind != RULE_AMOUNT || match->nlines >= 0 || match->provisos != NULL ||
			match->rule->has_cap_document || match->limited || !match->rule->multiplied ||
			match->rule->exclusive_group != NULL)
			return false;
	}
	return true;
}

/*
 * Points of amount rules that hold for the whole document: most documents
 * need no more.
 */
static void
award_simply(Work *w, List *matches)
{
	LoyaltyRational total = loyalty_rational_int(0);
	ListCell   *lc;

	for (int i = 0; !w->by_line && i < w->basket->n; i++)
		total = loyalty_rational_add(total, w->basket->bases[i].amount);
	foreach(lc, matches)
	{
		LoyaltyRule *rule = ((LoyaltyMatch *) lfirst(lc))->rule;

		for (int i = 0; (rule->per_line || w->by_line) && i < w->basket->n; i++)
		{
			LoyaltyBasis *basis = &w->basket->bases[i];
			LoyaltyRational points = times(rule_points(rule, basis->amount), w->rate);

			explain_rule(w, rule, basis->line, &basis->amount, w->rate, points);
			give(w, i, points, &w->points);
		}
		if (!rule->per_line && !w->by_line)
		{
			LoyaltyRational points = times(rule_points(rule, total), w->rate);

			explain_rule(w, rule, NULL, &total, w->rate, points);
			give(w, -1, points, &w->points);
		}
	}
}

/*
 * The whole of it: exclusions, then factors, then what each rule gives.
 */
static void
award_fully(Work *w, List *matches)
{
	bool	   *excluded = palloc0(sizeof(bool) * (w->basket->n + 1));
	LoyaltyRational given;
	ListCell   *lc;

	foreach(lc, matches)
	{
		LoyaltyMatch *match = lfirst(lc);

		for (int i = 0; match->rule->kind == RULE_EXCLUSION && i < w->basket->n; i++)
			if (!excluded[i] && covers(w, match, i))
			{
				excluded[i] = true;
				explain_text(w, match->rule, w->basket->bases[i].line, "earns nothing", loyalty_num_int(0));
			}
	}
	w->excluded = excluded;
	combine_factors(w, matches);
	foreach(lc, matches)
	{
		LoyaltyMatch *match = lfirst(lc);
		LoyaltyRational *line_points = w->line_points;

		if (match->cut)
		{
			match->given = 0;
			explain_text(w, match->rule, NULL, limit_text(match->rule), loyalty_num_int(0));
			continue;
		}
		/* what is capped is one sum, which cannot be told apart by lines */
		if ((match->rule->has_cap_document || match->limited) && w->by_line)
		{
			w->line_points = palloc(sizeof(LoyaltyRational) * (w->basket->n + 1));
			memcpy(w->line_points, line_points, sizeof(LoyaltyRational) * w->basket->n);
		}
		if (match->rule->kind == RULE_AMOUNT || match->rule->kind == RULE_UNIT)
			given = amount_points(w, match);
		else if (match->rule->kind == RULE_BONUS)
			given = bonus_points(w, match);
		else
			continue;
		w->line_points = line_points;
		w->points = loyalty_rational_add(w->points, capped(w, match, w->points, given));
	}
	/* limits on everything come last; what they leave is no line's */
	foreach(lc, matches)
	{
		LoyaltyMatch *match = lfirst(lc);
		bool		holds = false;

		if (match->rule->kind != RULE_CAP)
			continue;
		for (int i = 0; i < w->basket->n && !holds; i++)
			holds = covers(w, match, i);
		if (!holds)
			continue;
		given = capped(w, match, loyalty_rational_int(0), w->points);
		for (int i = 0; w->by_line && given.num != w->points.num && i < w->basket->n; i++)
			w->line_points[i] = loyalty_rational_int(0);
		w->points = given;
	}
}

/*
 * Of the rules that hold, those that give growth, or all others.
 */
static List *
matches_of(LoyaltyProgram *program, List *matches, bool growth)
{
	List	   *result = NIL;
	ListCell   *lc;

	if (!program->gives_growth)
		return growth ? NIL : matches;
	foreach(lc, matches)
		if (((LoyaltyMatch *) lfirst(lc))->rule->growth == growth)
			result = lappend(result, lfirst(lc));
	return result;
}

/*
 * Award points for what is left of one document.
 *
 * matches are the rules that hold for it (of LoyaltyMatch *), rate is the
 * collection factor of the tier.  With steps, each rule's part is appended as
 * a row of explanation.
 */
LoyaltyAward
loyalty_award(LoyaltyProgram *program, List *matches, Numeric rate, LoyaltyBasket *basket, List **steps)
{
	LoyaltyAward award;
	Work		w = {0};
	List	   *giving = matches_of(program, matches, false);

	w.program = program;
	w.matches = matches;
	w.basket = basket;
	w.rate = rate;
	w.steps = steps;
	w.by_line = program->scope == SCOPE_LINE;
	w.points = loyalty_rational_int(0);
	if (w.by_line)
	{
		w.line_points = palloc(sizeof(LoyaltyRational) * (basket->n + 1));
		for (int i = 0; i < basket->n; i++)
			w.line_points[i] = loyalty_rational_int(0);
	}
	if (is_simple(giving))
		award_simply(&w, giving);
	else
		award_fully(&w, giving);

	award.raw = w.points;
	award.points = 0;
	if (program->scope == SCOPE_DOCUMENT)
		award.points = loyalty_points_round(w.points, program->unit, program->rounding, false);
	else if (w.by_line)
	{
		/* each line is rounded, and then what no line has earned */
		LoyaltyRational rest = w.points;

		for (int i = 0; i < basket->n; i++)
		{
			award.points += loyalty_points_round(w.line_points[i], program->unit, program->rounding, false);
			rest = loyalty_rational_sub(rest, w.line_points[i]);
		}
		award.points += loyalty_points_round(rest, program->unit, program->rounding, false);
	}
	return award;
}

/*
 * The growth that rules give for it: exact, cut off to hundredths.
 */
Points
loyalty_growth(LoyaltyProgram *program, List *matches, LoyaltyBasket *basket, List **steps)
{
	Work		w = {0};
	List	   *giving = matches_of(program, matches, true);

	if (giving == NIL)
		return 0;
	w.program = program;
	w.matches = matches;
	w.basket = basket;
	w.rate = loyalty_num_int(1);
	w.steps = steps;
	w.growth = true;
	w.points = loyalty_rational_int(0);
	award_fully(&w, giving);
	return loyalty_points_round(w.points, 1, ROUND_DOWN, false);
}
