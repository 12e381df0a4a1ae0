/*
 * remaining.c
 *	  What is left of a sale after its returns, and what that earns.
 *
 * Returns are summed up as they come, by line where they name one and by value
 * where they do not, also beyond what was sold: so one that is reversed later
 * leaves no trace.  Only what is left is held between nothing and everything.
 * What remains of lines does not depend on the order of the returns.
 */
#include "postgres.h"

#include "ledger/ledger.h"
#include "rule/match.h"

Numeric
loyalty_signed_by(int sign, Numeric value)
{
	return sign < 0 ? loyalty_num_neg(value) : value;
}

void
loyalty_start_remaining(LoyaltyRemaining *r, LoyaltyPart *sale)
{
	LoyaltyLine *lines;
	int			n;
	bool		amounts = false;
	Numeric		paid;

	memset(r, 0, sizeof(LoyaltyRemaining));
	r->is_event = sale->is_event;
	r->sign = loyalty_num_sign(sale->gross) < 0 ? -1 : 1;
	r->gross = loyalty_signed_by(r->sign, sale->gross);
	paid = loyalty_signed_by(r->sign, sale->paid);
	if (loyalty_num_sign(paid) < 0)
		paid = loyalty_num_int(0);
	if (loyalty_num_cmp(paid, r->gross) > 0)
		paid = r->gross;
	r->earning = loyalty_num_sub(r->gross, paid);

	lines = loyalty_lines_from_jsonb(sale->lines, &n);
	for (int i = 0; i < n; i++)
		if (lines[i].amount != NULL)
			amounts = true;
	r->nlines = amounts ? n : 1;
	r->keys = palloc0(sizeof(char *) * r->nlines);
	r->earns = palloc(sizeof(bool) * r->nlines);
	r->qty = palloc0(sizeof(Numeric) * r->nlines);
	r->whole = true;
	r->sold = palloc(sizeof(Numeric) * r->nlines);
	r->returned = palloc(sizeof(Numeric) * r->nlines);
	r->by_value = r->over = loyalty_rational_int(0);
	r->left = palloc(sizeof(LoyaltyRational) * r->nlines);
	r->total = loyalty_num_int(0);
	for (int i = 0; i < r->nlines; i++)
	{
		Numeric		amount = !amounts ? r->gross :
			lines[i].amount == NULL ? loyalty_num_int(0) : loyalty_signed_by(r->sign, lines[i].amount);

		r->keys[i] = amounts ? lines[i].key : NULL;
		r->qty[i] = amounts && lines[i].qty != NULL ? loyalty_num_abs(lines[i].qty) : NULL;
		r->earns[i] = !amounts || lines[i].earns;
		r->sold[i] = amount;
		r->returned[i] = loyalty_num_int(0);
		r->left[i] = loyalty_rational(amount, loyalty_num_int(1));
		r->total = i == 0 ? amount : loyalty_num_add(r->total, amount);
	}
}

/* the quantity that is left of a line: the share that is left of its amount */
static LoyaltyRational
qty_left(LoyaltyRemaining *r, int i)
{
	if (r->qty[i] == NULL || loyalty_num_sign(r->sold[i]) <= 0)
		return loyalty_rational_int(0);	/* what is given away earns nothing */
	if (r->whole)
		return loyalty_rational(r->qty[i], loyalty_num_int(1));
	return loyalty_rational(loyalty_num_mul(r->qty[i], r->left[i].num),
							loyalty_num_mul(r->left[i].den, r->sold[i]));
}

/*
 * Amounts that earn, of the goods that are left: each line's share of what
 * was really paid.
 */
static LoyaltyBasket
basket_of(LoyaltyRemaining *r)
{
	LoyaltyBasis *bases = palloc(sizeof(LoyaltyBasis) * r->nlines);
	LoyaltyBasket basket = {r->whole, {NULL, NULL}, 0, bases};
	int			n = 0;
	int			total_sign = loyalty_num_sign(r->total);

	if (r->is_event)
	{
		bases[0].number = 0;
		bases[0].line = NULL;
		bases[0].amount = bases[0].qty = loyalty_rational_int(0);
		bases[0].value = loyalty_rational_int(1);
		n = 1;
	}
	for (int i = 0; i < r->nlines && total_sign > 0; i++)
	{
		if (!r->earns[i])
			continue;
		bases[n].number = i;
		bases[n].line = r->keys[i];
		bases[n].value = r->left[i];
		bases[n].qty = qty_left(r, i);
		if (loyalty_num_cmp(r->total, r->earning) == 0)
			bases[n].amount = r->left[i];
		else
			bases[n].amount = loyalty_rational(loyalty_num_mul(r->left[i].num, r->earning),
											   loyalty_num_mul(r->left[i].den, r->total));
		n++;
	}
	basket.n = n;
	if (!r->whole)
		basket.gross = loyalty_in_gross(r, loyalty_left_total(r));
	return basket;
}

LoyaltyAward
loyalty_award_remaining(LoyaltyRemaining *r, LoyaltyProgram *program, List *matches, Numeric rate, List **steps)
{
	LoyaltyBasket basket = basket_of(r);

	return loyalty_award(program, matches, rate, &basket, steps);
}

/*
 * The growth that it gives.
 */
Points
loyalty_growth_remaining(LoyaltyRemaining *r, LoyaltyProgram *program, List *matches, List **steps)
{
	LoyaltyBasket basket;

	if (!program->gives_growth)
		return 0;
	basket = basket_of(r);
	return loyalty_growth(program, matches, &basket, steps);
}

LoyaltyRational
loyalty_left_total(LoyaltyRemaining *r)
{
	LoyaltyRational sum = r->left[0];

	for (int i = 1; i < r->nlines; i++)
		sum = loyalty_rational_add(sum, r->left[i]);
	return sum;
}

/* a sum of lines, as a part of the document's gross */
LoyaltyRational
loyalty_in_gross(LoyaltyRemaining *r, LoyaltyRational lines)
{
	if (loyalty_num_sign(r->total) <= 0 || loyalty_num_cmp(r->total, r->gross) == 0)
		return lines;
	return loyalty_rational(loyalty_num_mul(lines.num, r->gross), loyalty_num_mul(lines.den, r->total));
}

/*
 * Work out what is left: of each line what returns of it leave, and of that
 * the share that returns by value leave.
 */
static void
work_out(LoyaltyRemaining *r)
{
	Numeric		lines = loyalty_num_int(0);
	LoyaltyRational kept;
	LoyaltyRational zero = loyalty_rational_int(0);

	r->over = zero;
	for (int i = 0; i < r->nlines; i++)
	{
		Numeric		left = loyalty_num_sub(r->sold[i], r->returned[i]);
		bool		discount = loyalty_num_sign(r->sold[i]) < 0;
		int			sign = loyalty_num_sign(left);

		if (discount ? sign > 0 : sign < 0)
		{
			if (!discount)
				r->over = loyalty_rational_add(r->over, loyalty_rational(loyalty_num_neg(left), loyalty_num_int(1)));
			left = loyalty_num_int(0);
		}
		else if (discount ? loyalty_num_cmp(left, r->sold[i]) < 0 : loyalty_num_cmp(left, r->sold[i]) > 0)
			left = r->sold[i];
		r->left[i] = loyalty_rational(left, loyalty_num_int(1));
		lines = loyalty_num_add(lines, left);
	}

	kept = loyalty_rational_sub(loyalty_rational(lines, loyalty_num_int(1)), r->by_value);
	if (loyalty_rational_sign(kept) < 0)
	{
		if (loyalty_num_sign(lines) > 0)
			r->over = loyalty_rational_sub(r->over, kept);
		else
			r->over = loyalty_rational_add(r->over, r->by_value);
		kept = zero;
	}
	if (loyalty_num_sign(lines) > 0 && loyalty_rational_sign(r->by_value) <= 0)
		return;
	/* left * kept / lines; nothing is left of a discount whose goods are gone */
	for (int i = 0; i < r->nlines; i++)
		r->left[i] = loyalty_num_sign(lines) <= 0 ? zero :
			loyalty_rational(loyalty_num_mul(r->left[i].num, kept.num), loyalty_num_mul(kept.den, lines));
}

/*
 * Apply one return; its overcredited amount is set.
 */
void
loyalty_take_return(LoyaltyRemaining *r, LoyaltyPart *ret)
{
	LoyaltyRational over_before = r->over;
	LoyaltyRational over;
	int			n;
	LoyaltyLine *lines = loyalty_lines_from_jsonb(ret->lines, &n);
	Numeric		value = loyalty_num_neg(loyalty_signed_by(r->sign, ret->gross));
	Numeric		linked = loyalty_num_int(0);
	Numeric		lines_total = loyalty_num_int(0);

	for (int i = 0; i < n; i++)
	{
		Numeric		amount;

		if (lines[i].amount == NULL)
			continue;
		amount = loyalty_num_neg(loyalty_signed_by(r->sign, lines[i].amount));
		lines_total = loyalty_num_add(lines_total, amount);
		for (int j = 0; lines[i].of != NULL && j < r->nlines; j++)
			if (r->keys[j] != NULL && strcmp(r->keys[j], lines[i].of) == 0)
			{
				r->returned[j] = loyalty_num_add(r->returned[j], amount);
				linked = loyalty_num_add(linked, amount);
				break;
			}
	}

	/* what is not linked to a line is taken by value, of the document's gross */
	if (loyalty_num_sign(lines_total) == 0 || loyalty_num_cmp(linked, lines_total) != 0)
	{
		LoyaltyRational rest = loyalty_rational(value, loyalty_num_int(1));
		int			sign = loyalty_num_sign(lines_total);

		if (sign != 0)
			rest = loyalty_rational(loyalty_num_mul(loyalty_num_mul(value, loyalty_num_sub(lines_total, linked)),
													loyalty_num_int(sign)),
									loyalty_num_abs(lines_total));
		/* from the scale of the gross to the scale of the lines */
		if (loyalty_num_sign(r->gross) > 0 && loyalty_num_cmp(r->gross, r->total) != 0)
			rest = loyalty_rational(loyalty_num_mul(rest.num, r->total), loyalty_num_mul(rest.den, r->gross));
		r->by_value = loyalty_rational_add(r->by_value, rest);
	}
	r->whole = false;
	work_out(r);
	over = loyalty_rational_sub(r->over, over_before);
	if (loyalty_rational_sign(over) < 0)
		over = loyalty_rational_int(0);
	ret->overcredited = loyalty_rational_numeric(loyalty_in_gross(r, over), 6);
}

/*
 * The rules that hold for a priced sale (of LoyaltyMatch *).
 */
List *
loyalty_part_matches(LoyaltyProgram *program, LoyaltyPart *part)
{
	if (!part->matched)
		part->match_list = loyalty_matches_of_rules(program, part->rules, part->nrules, part->matches);
	part->matched = true;
	return part->match_list;
}

/* what is left of a sale after the first nreturns of its returns */
static void
remaining_after(LoyaltyRemaining *r, LoyaltyPart *part, List *returns, int nreturns)
{
	loyalty_start_remaining(r, part);
	for (int i = 0; i < nreturns; i++)
		loyalty_take_return(r, list_nth(returns, i));
}

/*
 * What a priced sale earns after the first nreturns of its returns; also the
 * way explain() and quote_earn() ask.
 */
LoyaltyAward
loyalty_part_award(LoyaltyProgram *program, LoyaltyPart *part, List *returns, int nreturns, List **steps)
{
	LoyaltyRemaining r;

	remaining_after(&r, part, returns, nreturns);
	return loyalty_award_remaining(&r, program, loyalty_part_matches(program, part), part->rate, steps);
}

/*
 * The same for its growth.
 */
Points
loyalty_part_growth(LoyaltyProgram *program, LoyaltyPart *part, List *returns, int nreturns, List **steps)
{
	LoyaltyRemaining r;

	if (!program->gives_growth)
		return 0;
	remaining_after(&r, part, returns, nreturns);
	return loyalty_growth_remaining(&r, program, loyalty_part_matches(program, part), steps);
}

static int
compare_returns(const ListCell *a, const ListCell *b)
{
	LoyaltyPart *x = lfirst(a);
	LoyaltyPart *y = lfirst(b);
	int			c;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	c = loyalty_compare_keys(x->key, y->key);
	return c != 0 ? c : (x->source_id > y->source_id) - (x->source_id < y->source_id);
}

/*
 * The returns that count, in the order in which they count.
 */
List *
loyalty_sorted_returns(List *returns)
{
	List	   *live = NIL;
	ListCell   *lc;

	foreach(lc, returns)
		if (((LoyaltyPart *) lfirst(lc))->state != STATE_WITHDRAWN)
			live = lappend(live, lfirst(lc));
	list_sort(live, compare_returns);
	return live;
}
