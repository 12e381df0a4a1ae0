/*
 * reward.c
 *	  Conditions of rewards: part of the configuration, compiled when somebody
 *	  asks for the first time.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/memutils.h"

#include "config.h"
#include "rule/condition.h"
#include "rule/rule.h"

static LoyaltyPlan plan_rewards = {
	.sql = "SELECT program_id, reward_id, name, condition FROM loyalty.reward"
	" WHERE condition IS NOT NULL ORDER BY reward_id"
};

/*
 * Read the rewards with a condition of these programmes (of LoyaltyProgram *),
 * in the current memory context; SPI is connected.
 */
void
loyalty_load_rewards(List *programs)
{
	uint64		n = loyalty_run(&plan_rewards, NULL, NULL);
	ListCell   *lc;
	bool		isnull;

	for (uint64 i = 0; i < n; i++)
		foreach(lc, programs)
		{
			LoyaltyProgram *program = lfirst(lc);
			LoyaltyReward *r;

			if (program->id != DatumGetInt32(loyalty_spi_datum(i, 1, &isnull)))
				continue;
			r = palloc0(sizeof(LoyaltyReward));
			r->id = DatumGetInt32(loyalty_spi_datum(i, 2, &isnull));
			r->name = loyalty_spi_text(i, 3);
			r->condition = loyalty_spi_text(i, 4);
			program->rewards = lappend(program->rewards, r);
		}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * The compiled condition of a reward, which lives as long as the configuration
 * that is pinned; an error if it does not compile any more.
 */
LoyaltyCondition *
loyalty_reward_condition(LoyaltyProgram *program, LoyaltyReward *reward)
{
	MemoryContext context;
	MemoryContext old;

	if (reward->code != NULL)
		return reward->code;
	context = AllocSetContextCreate(CurrentMemoryContext, "loyalty reward", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	reward->code = loyalty_condition_compile(reward->condition, loyalty_member_spaces(program->time_zone),
											 BOOLOID, psprintf("reward \"%s\"", reward->name));
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, loyalty_config()->context);
	return reward->code;
}
