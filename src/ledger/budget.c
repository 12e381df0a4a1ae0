/*
 * budget.c
 *	  What a rule may give to all members together.
 *
 * A budget is one row that every document of such a rule has to take.  It is
 * taken after the members, and all of a programme's budgets at once in the
 * order of their names, so nobody waits in a circle: who holds one locks no
 * further member but those that are free.  What is booked first comes first;
 * what a document was allowed stays with it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "ledger/ledger.h"

typedef struct Budget
{
	int32		program_id;
	char	   *rule;
	Points		used;
	bool		dirty;
} Budget;

static LoyaltyPlan plan_take = {
	.sql = "SELECT b.rule, b.used FROM loyalty.budget b WHERE b.program_id = $1 ORDER BY b.rule FOR UPDATE",
	.nparams = 1, .types = {INT4OID}
};

/* a second programme's: whoever waits for us may hold them */
static LoyaltyPlan plan_take_nowait = {
	.sql = "SELECT b.rule, b.used FROM loyalty.budget b WHERE b.program_id = $1 ORDER BY b.rule FOR UPDATE NOWAIT",
	.nparams = 1, .types = {INT4OID}
};

static LoyaltyPlan plan_write = {
	.sql = "UPDATE loyalty.budget SET used = $3 WHERE program_id = $1 AND rule = $2",
	.nparams = 3, .types = {INT4OID, TEXTOID, NUMERICOID}
};

static LoyaltyPlan plan_look = {
	.sql = "SELECT b.used FROM loyalty.budget b WHERE b.program_id = $1 AND b.rule = $2",
	.nparams = 2, .types = {INT4OID, TEXTOID}
};

/*
 * What is left of a rule's budget, as far as one can see without taking it.
 */
Points
loyalty_budget_left(LoyaltyProgram *program, LoyaltyRule *rule)
{
	Datum		values[2];
	bool		isnull;

	values[0] = Int32GetDatum(program->id);
	values[1] = CStringGetTextDatum(rule->name);
	if (loyalty_run(&plan_look, values, NULL) == 0)
		return rule->budget;
	return Max(rule->budget - loyalty_points_from_datum(loyalty_spi_datum(0, 1, &isnull)), 0);
}

/*
 * The budget of a rule, taken.
 */
static Budget *
take(LoyaltyBatch *batch, LoyaltyProgram *program, LoyaltyRule *rule)
{
	ListCell   *lc;

	for (int pass = 0; pass < 2; pass++)
	{
		MemoryContext old;
		Datum		id = Int32GetDatum(program->id);
		uint64		rows;
		bool		isnull;

		foreach(lc, batch->budgets)
		{
			Budget	   *b = lfirst(lc);

			if (b->program_id == program->id && strcmp(b->rule, rule->name) == 0)
				return b;
		}
		if (pass > 0)
			break;
		rows = loyalty_run(batch->budgets == NIL ? &plan_take : &plan_take_nowait, &id, NULL);
		(void) loyalty_lock_no_further_members();
		old = MemoryContextSwitchTo(batch->context);
		for (uint64 i = 0; i < rows; i++)
		{
			Budget	   *b = palloc0(sizeof(Budget));

			b->program_id = program->id;
			b->rule = loyalty_spi_text(i, 1);
			b->used = loyalty_points_from_datum(loyalty_spi_datum(i, 2, &isnull));
			batch->budgets = lappend(batch->budgets, b);
		}
		SPI_freetuptable(SPI_tuptable);
		MemoryContextSwitchTo(old);
	}
	elog(ERROR, "rule \"%s\" of programme \"%s\" has no budget", rule->name, program->name);
	return NULL;				/* keep compiler quiet */
}

/*
 * What is left of a rule's budget, for a document that holds some of it.
 */
Points
loyalty_budget_allowance(LoyaltyBatch *batch, LoyaltyProgram *program, LoyaltyRule *rule, Points held)
{
	return Max(rule->budget - (take(batch, program, rule)->used - held), 0);
}

/*
 * A document takes from the budget, or gives back.
 */
void
loyalty_budget_moved(LoyaltyBatch *batch, LoyaltyProgram *program, LoyaltyRule *rule, Points delta)
{
	Budget	   *b;

	if (delta == 0)
		return;
	b = take(batch, program, rule);
	b->used += delta;
	b->dirty = true;
}

/*
 * Write what the batch has taken.
 */
void
loyalty_write_budgets(LoyaltyBatch *batch)
{
	ListCell   *lc;

	foreach(lc, batch->budgets)
	{
		Budget	   *b = lfirst(lc);
		Datum		values[3];

		if (!b->dirty)
			continue;
		values[0] = Int32GetDatum(b->program_id);
		values[1] = CStringGetTextDatum(b->rule);
		values[2] = PointsGetDatum(b->used);
		(void) loyalty_write(&plan_write, values, NULL);
	}
}
