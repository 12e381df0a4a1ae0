/*
 * tier.c
 *	  Tiers of programmes, and how they are reached and kept: loading and
 *	  looking up.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "rule/rule.h"

static LoyaltyPlan plan_tiers = {
	.sql = "SELECT program_id, tier_id, name, threshold, rate, keep_threshold, gift_points, gift_voucher, expires, extends"
	" FROM loyalty.tier ORDER BY program_id, threshold"
};

static LoyaltyPlan plan_policies = {
	.sql = "SELECT program_id, metric, time_window, COALESCE(months, 0), COALESCE(retention, 0), grace_days,"
	" demotion, returns, changed_at FROM loyalty.tier_policy"
};

static LoyaltyPlan plan_paths = {
	.sql = "SELECT t.program_id, p.tier_id, p.metric, p.time_window, p.months, p.threshold FROM loyalty.tier_path p"
	" JOIN loyalty.tier t ON t.tier_id = p.tier_id ORDER BY p.tier_id, p.metric, p.time_window, p.months"
};

static const char *const metrics[] = {"amount", "points", "documents", "growth"};
static const char *const windows[] = {"lifetime", "rolling", "calendar_year", "membership_year"};
static const char *const demotions[] = {"none", "one_level", "to_earned"};

static int
choice(const char *word, const char *const *words, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	elog(ERROR, "unknown setting of tiers: %s", word);
	return 0;					/* keep compiler quiet */
}

static LoyaltyMeasure
measure_columns(uint64 row, int column)
{
	LoyaltyMeasure m;

	m.metric = choice(loyalty_spi_text(row, column), metrics, lengthof(metrics));
	m.window = choice(loyalty_spi_text(row, column + 1), windows, lengthof(windows));
	m.months = loyalty_spi_int32(row, column + 2);
	return m;
}

/*
 * What a metric is called in settings.
 */
const char *
loyalty_metric_name(LoyaltyMetric metric)
{
	return metrics[metric];
}

/*
 * What a window is called in settings.
 */
const char *
loyalty_window_name(LoyaltyWindow window)
{
	return windows[window];
}

static LoyaltyProgram *
program_of(List *programs, int32 id)
{
	ListCell   *lc;

	foreach(lc, programs)
		if (((LoyaltyProgram *) lfirst(lc))->id == id)
			return lfirst(lc);
	return NULL;
}

static void
use_measure(LoyaltyTierPolicy *policy, LoyaltyMeasure *measure)
{
	ListCell   *lc;

	foreach(lc, policy->measures)
		if (memcmp(lfirst(lc), measure, sizeof(LoyaltyMeasure)) == 0)
			return;
	policy->measures = lappend(policy->measures, measure);
}

/*
 * Read the tiers of these programmes (of LoyaltyProgram *), in the current
 * memory context; SPI is connected.
 */
void
loyalty_load_tiers(List *programs)
{
	uint64		n;
	ListCell   *lc;
	ListCell   *lc2;
	ListCell   *lc3;

	foreach(lc, programs)
	{
		LoyaltyProgram *p = lfirst(lc);

		memset(&p->tiering, 0, sizeof(LoyaltyTierPolicy));
		p->tiering.demotion = DEMOTION_TO_EARNED;
		p->tiering.changed_at = DT_NOBEGIN;
	}
	n = loyalty_run(&plan_tiers, NULL, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		LoyaltyProgram *p = program_of(programs, loyalty_spi_int32(i, 1));
		LoyaltyTier *t = palloc0(sizeof(LoyaltyTier));
		bool		isnull;
		Datum		points = loyalty_spi_datum(i, 7, &isnull);

		if (p == NULL)
			continue;
		t->id = loyalty_spi_int32(i, 2);
		t->name = loyalty_spi_text(i, 3);
		t->threshold = loyalty_spi_numeric(i, 4);
		t->rate = loyalty_spi_numeric(i, 5);
		t->keep_threshold = loyalty_spi_numeric(i, 6);
		t->gift_points = isnull ? 0 : loyalty_points_from_datum(points);
		t->gift_voucher = loyalty_spi_numeric(i, 8);
		loyalty_set_expiry(&t->expires, &t->expiry, loyalty_spi_text(i, 9));
		t->extends = DatumGetBool(loyalty_spi_datum(i, 10, &isnull));
		p->tiers = lappend(p->tiers, t);
	}
	n = loyalty_run(&plan_policies, NULL, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		LoyaltyProgram *p = program_of(programs, loyalty_spi_int32(i, 1));
		bool		isnull;

		if (p == NULL)
			continue;
		p->tiering.measure = measure_columns(i, 2);
		p->tiering.retention = loyalty_spi_int32(i, 5);
		p->tiering.grace_days = loyalty_spi_int32(i, 6);
		p->tiering.demotion = choice(loyalty_spi_text(i, 7), demotions, lengthof(demotions));
		p->tiering.keeps_returned = strcmp(loyalty_spi_text(i, 8), "keep") == 0;
		p->tiering.changed_at = DatumGetTimestampTz(loyalty_spi_datum(i, 9, &isnull));
	}
	n = loyalty_run(&plan_paths, NULL, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		LoyaltyProgram *p = program_of(programs, loyalty_spi_int32(i, 1));
		LoyaltyTier *t = p == NULL ? NULL : loyalty_tier_by_id(p, loyalty_spi_int32(i, 2));
		LoyaltyTierPath *path = palloc(sizeof(LoyaltyTierPath));

		if (t == NULL)
			continue;
		path->measure = measure_columns(i, 3);
		path->threshold = loyalty_spi_numeric(i, 6);
		t->paths = lappend(t->paths, path);
	}

	foreach(lc, programs)
	{
		LoyaltyProgram *p = lfirst(lc);
		LoyaltyTierPolicy *policy = &p->tiering;

		policy->is_plain = policy->measure.metric == METRIC_AMOUNT && policy->measure.window == WINDOW_LIFETIME &&
			policy->retention == 0 && policy->demotion == DEMOTION_TO_EARNED;
		use_measure(policy, &policy->measure);
		foreach(lc2, p->tiers)
		{
			LoyaltyTier *t = lfirst(lc2);

			if (t->keep_threshold != NULL || t->gift_points > 0 || t->gift_voucher != NULL || t->paths != NIL)
				policy->is_plain = false;
			foreach(lc3, t->paths)
				use_measure(policy, &((LoyaltyTierPath *) lfirst(lc3))->measure);
		}
	}
}

/*
 * The highest tier whose threshold is reached (>=); NULL below the first.
 */
LoyaltyTier *
loyalty_program_tier(LoyaltyProgram *program, Numeric qualifying)
{
	LoyaltyTier *reached = NULL;
	ListCell   *lc;

	foreach(lc, program->tiers)
	{
		LoyaltyTier *t = lfirst(lc);

		if (loyalty_num_cmp(qualifying, t->threshold) < 0)
			break;
		reached = t;
	}
	return reached;
}

/*
 * The tier of a programme with that number, NULL if it has none.
 */
LoyaltyTier *
loyalty_tier_by_id(LoyaltyProgram *program, int32 id)
{
	ListCell   *lc;

	foreach(lc, program->tiers)
	{
		LoyaltyTier *t = lfirst(lc);

		if (t->id == id)
			return t;
	}
	return NULL;
}

/*
 * A tier's place on the ladder, counted from 1; 0 below the first.
 */
int
loyalty_tier_rank(LoyaltyProgram *program, int32 id)
{
	ListCell   *lc;
	int			rank = 0;

	foreach(lc, program->tiers)
	{
		rank++;
		if (((LoyaltyTier *) lfirst(lc))->id == id)
			return rank;
	}
	return 0;
}

/*
 * The tier at a place; NULL for 0.
 */
LoyaltyTier *
loyalty_tier_at_rank(LoyaltyProgram *program, int rank)
{
	return rank == 0 ? NULL : list_nth(program->tiers, rank - 1);
}
