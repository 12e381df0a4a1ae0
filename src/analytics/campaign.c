/*
 * campaign.c
 *	  What the rules of a campaign have given: the points of a sale, less those
 *	  it would have by all other rules that hold for it.
 *
 * No rule's points can be read off a document: multipliers give none of their
 * own, limits are common, and points are rounded once.  So the sale is awarded
 * twice, with what is left of it after its returns.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "config.h"
#include "ledger/ledger.h"
#include "source/source.h"

PG_FUNCTION_INFO_V1(loyalty_rule_points);

/*
 * The part that is a priced sale (or an event), NULL if there is none.
 */
static LoyaltyPart *
find_sale(List *parts)
{
	ListCell   *lc;

	foreach(lc, parts)
	{
		LoyaltyPart *p = lfirst(lc);

		if (p->state == STATE_BOOKED && p->root_source_id == 0 && !p->is_return && p->rate != NULL)
			return p;
	}
	return NULL;
}

/*
 * The returns of a sale that are dated up to a day, in their order.
 */
static List *
returns_until(LoyaltySource *source, char *key, DateADT as_of)
{
	List	   *returns = NIL;
	ListCell   *lc;

	foreach(lc, loyalty_load_returns(source->id, &key, 1))
		if (((LoyaltyPart *) lfirst(lc))->date <= as_of)
			returns = lappend(returns, lfirst(lc));
	return loyalty_sorted_returns(returns);
}

/*
 * Points of an award; where a remainder is carried forward, what the document
 * adds to it.
 */
static Points
award_points(LoyaltyProgram *program, LoyaltyAward award)
{
	return program->scope == SCOPE_CARRY ? loyalty_points_round(award.raw, 1, ROUND_DOWN, false) : award.points;
}

/*
 * rule_points(source_id, doc_key, rules integer[], as_of date) -> numeric
 */
Datum
loyalty_rule_points(PG_FUNCTION_ARGS)
{
	char	   *key = text_to_cstring(PG_GETARG_TEXT_PP(1));
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "loyalty rule points", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	LoyaltySource *source;
	LoyaltyIdentity save;
	LoyaltyPart *sale;
	Points		points = 0;
	Datum	   *ids;
	int			nids;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), INT4OID, 4, true, TYPALIGN_INT, &ids, NULL, &nids);
	loyalty_config_pin();
	source = loyalty_source_by_id(PG_GETARG_INT32(0));
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	sale = source == NULL ? NULL : find_sale(loyalty_load_parts(source->id, &key, 1));
	if (sale != NULL)
	{
		List	   *returns = returns_until(source, key, PG_GETARG_DATEADT(3));
		List	   *others = NIL;
		ListCell   *lc;

		points = award_points(source->program, loyalty_part_award(source->program, sale, returns,
																  list_length(returns), NULL));
		foreach(lc, sale->match_list)
		{
			LoyaltyMatch *match = lfirst(lc);
			bool		asked = false;

			for (int i = 0; i < nids; i++)
				asked |= DatumGetInt32(ids[i]) == match->rule->id;
			if (!asked)
				others = lappend(others, match);
		}
		sale->match_list = others;
		points -= award_points(source->program, loyalty_part_award(source->program, sale, returns,
																   list_length(returns), NULL));
	}
	SPI_finish();
	loyalty_resume(&save);
	loyalty_config_unpin();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	PG_RETURN_DATUM(PointsGetDatum(points));
}
