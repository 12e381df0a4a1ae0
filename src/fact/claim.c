/*
 * claim.c
 *	  A document's parts: what it sells, and what it returns of which sale.
 *
 * Mostly there is one part.  A credit note may return goods of several sales
 * (linked line by line), and a till may take something back and sell something
 * else on one ticket.
 */
#include "postgres.h"

#include "fact/fact.h"

static LoyaltyClaim *
find_claim(List **claims, LoyaltySource *root_source, char *root_key, bool of_line)
{
	LoyaltyClaim *claim;
	ListCell   *lc;

	foreach(lc, *claims)
	{
		claim = lfirst(lc);
		if (claim->root_source == root_source && claim->of_line == of_line &&
			(root_source == NULL || strcmp(claim->root_key, root_key) == 0))
			return claim;
	}
	claim = palloc0(sizeof(LoyaltyClaim));
	claim->root_source = root_source;
	claim->root_key = root_key;
	claim->of_line = of_line;
	claim->gross = claim->paid = loyalty_num_int(0);
	*claims = lappend(*claims, claim);
	return claim;
}

static int
line_sign(LoyaltyLine *line)
{
	return line->amount == NULL ? 0 : loyalty_num_sign(line->amount);
}

/*
 * The number by which the books know what a claim returns goods of: of a
 * source for its documents, below 0 for its lines, 0 for nothing.
 */
int32
loyalty_claim_source(LoyaltyClaim *claim)
{
	if (claim->root_source == NULL)
		return 0;
	return claim->of_line ? -claim->root_source->id : claim->root_source->id;
}

/*
 * The sale that each line returns goods of: roots[i] is a document's key.
 */
static char **
line_roots(LoyaltyDocument *doc, LoyaltySource *root_source)
{
	LoyaltyFacts *facts = doc->facts;
	char	  **keys = palloc(sizeof(char *) * (facts->nlines + 1));
	char	  **found;
	char	  **roots = palloc0(sizeof(char *) * (facts->nlines + 1));
	int			n = 0;

	for (int i = 0; i < facts->nlines; i++)
		if (facts->lines[i].of != NULL)
			keys[n++] = facts->lines[i].of;
	if (n == 0)
		return roots;
	found = loyalty_documents_of_lines(root_source, keys, n);
	n = 0;
	for (int i = 0; i < facts->nlines; i++)
		if (facts->lines[i].of != NULL)
			roots[i] = found[n++];
	return roots;
}

/*
 * Split a document in scope into its parts (of LoyaltyClaim *).
 */
List *
loyalty_split_document(LoyaltyDocument *doc)
{
	LoyaltyFacts *facts = doc->facts;
	LoyaltySource *root_source = NULL;
	List	   *claims = NIL;
	ListCell   *lc;
	Numeric		total = loyalty_num_int(0);
	bool		negative_line = false;

	if (doc->source->items[ITEM_RETURN_OF] != NULL || doc->source->items[ITEM_LINE_RETURN_OF] != NULL)
		root_source = loyalty_return_source(doc->source);

	if (facts->nlines == 0 || root_source == NULL)
	{
		LoyaltyClaim *whole = find_claim(&claims, facts->return_of != NULL ? root_source : NULL,
										 facts->return_of, false);

		whole->gross = facts->gross;
		whole->paid = facts->paid;
		whole->lines = facts->lines;
		whole->nlines = facts->nlines;
		return claims;
	}

	for (int i = 0; i < facts->nlines; i++)
	{
		if (facts->lines[i].amount != NULL)
			total = loyalty_num_add(total, facts->lines[i].amount);
		if (line_sign(&facts->lines[i]) < 0)
			negative_line = true;
	}

	{
		char	  **roots = NULL;

		if (facts->return_of == NULL)
			roots = line_roots(doc, root_source);
		for (int i = 0; i < facts->nlines; i++)
		{
			LoyaltyLine *line = &facts->lines[i];
			char	   *root = facts->return_of != NULL ? facts->return_of : roots[i];
			bool		of_line = root == NULL && line->of != NULL;
			LoyaltyClaim *claim;

			/* linked, but what it is linked to is not there */
			if (of_line)
				root = line->of;

			/* what is bought in exchange is a sale of its own */
			if (facts->return_of != NULL && line->of == NULL && negative_line && line_sign(line) > 0)
				root = NULL;
			claim = find_claim(&claims, root != NULL ? root_source : NULL, root, of_line);
			if (claim->lines == NULL)
				claim->lines = palloc(sizeof(LoyaltyLine) * facts->nlines);
			claim->lines[claim->nlines++] = *line;
			if (line->amount != NULL)
				claim->gross = loyalty_num_add(claim->gross, line->amount);
		}
	}

	/* what the header says beyond the lines (tax, discount) is shared out */
	if (list_length(claims) == 1)
	{
		LoyaltyClaim *only = linitial(claims);

		only->gross = facts->gross;
		only->paid = facts->paid;
		return claims;
	}
	if (facts->amount_given && loyalty_num_sign(total) != 0 && loyalty_num_cmp(total, facts->gross) != 0)
	{
		Numeric		rest = facts->gross;

		foreach(lc, claims)
		{
			LoyaltyClaim *claim = lfirst(lc);
			LoyaltyRational share;

			share = loyalty_rational(loyalty_num_mul(loyalty_num_mul(claim->gross, facts->gross),
													 loyalty_num_int(loyalty_num_sign(total))),
									 loyalty_num_abs(total));
			claim->gross = lnext(claims, lc) == NULL ? rest : loyalty_rational_numeric(share, 6);
			rest = loyalty_num_sub(rest, claim->gross);
		}
	}
	foreach(lc, claims)
	{
		LoyaltyClaim *claim = lfirst(lc);

		if (claim->root_source == NULL)
			claim->paid = facts->paid;
		claim->gross = loyalty_num_trim(claim->gross);
	}
	return claims;
}
