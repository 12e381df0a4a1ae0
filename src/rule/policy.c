/*
 * policy.c
 *	  How a programme's points can be spent: loyalty.redemption_policy.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "errors.h"
#include "rule/rule.h"

static LoyaltyPlan plan_policies = {
	.sql = "SELECT program_id, point_value, value_scale, redeem_min, redeem_max, redeem_multiple, min_order, max_percent,"
	" excluded_categories, limit_points, limit_period, pay_exact_rest, draw_paid, restore_grace_days, hold_minutes,"
	" clerk_limit FROM loyalty.redemption_policy"
};

/* a column of points; 0 for NULL */
static Points
points_column(uint64 row, int column)
{
	bool		isnull;
	Datum		value = loyalty_spi_datum(row, column, &isnull);

	return isnull ? 0 : loyalty_points_from_datum(value);
}

static bool
bool_column(uint64 row, int column)
{
	bool		isnull;

	return DatumGetBool(loyalty_spi_datum(row, column, &isnull));
}

/*
 * Read the policies of these programmes (of LoyaltyProgram *), in the current
 * memory context; SPI is connected.
 */
void
loyalty_load_policies(List *programs)
{
	uint64		n = loyalty_run(&plan_policies, NULL, NULL);
	ListCell   *lc;

	for (uint64 i = 0; i < n; i++)
		foreach(lc, programs)
		{
			LoyaltyProgram *program = lfirst(lc);
			LoyaltyPolicy *p;
			Datum		categories;
			bool		isnull;

			if (program->id != loyalty_spi_int32(i, 1))
				continue;
			p = palloc0(sizeof(LoyaltyPolicy));
			p->point_value = loyalty_spi_numeric(i, 2);
			p->value_scale = loyalty_spi_int32(i, 3);
			p->min = points_column(i, 4);
			p->max = points_column(i, 5);
			p->multiple = points_column(i, 6);
			if (p->multiple == 0)
				p->multiple = program->unit;
			p->min_order = loyalty_spi_numeric(i, 7);
			p->max_percent = loyalty_spi_numeric(i, 8);
			categories = loyalty_spi_datum(i, 9, &isnull);
			if (!isnull)
			{
				Datum	   *elements;
				bool	   *nulls;
				int			nelements;

				deconstruct_array(DatumGetArrayTypeP(categories), TEXTOID, -1, false, TYPALIGN_INT,
								  &elements, &nulls, &nelements);
				for (int e = 0; e < nelements; e++)
					if (!nulls[e])
						p->excluded = lappend(p->excluded, TextDatumGetCString(elements[e]));
			}
			p->limit = points_column(i, 10);
			p->period = loyalty_spi_text(i, 11);
			p->exact_rest = bool_column(i, 12);
			p->draw_paid = bool_column(i, 13);
			p->grace_days = loyalty_spi_int32(i, 14);
			p->hold_minutes = loyalty_spi_int32(i, 15);
			p->clerk_limit = points_column(i, 16);
			program->policy = p;
		}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * The policy of a programme; an error if its points cannot be spent.
 */
LoyaltyPolicy *
loyalty_policy(LoyaltyProgram *program)
{
	if (program->policy == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_STATE),
				 errmsg("points of programme \"%s\" cannot be redeemed", program->name),
				 errdetail("The programme has no redemption policy."),
				 errhint("Call loyalty.set_redemption().")));
	return program->policy;
}
