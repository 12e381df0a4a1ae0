/*
 * review.c
 *	  SQL functions that write tiers down: reviews, and what changes of
 *	  settings and overrides do.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "config.h"
#include "ledger/ledger.h"
#include "upkeep/upkeep.h"

PG_FUNCTION_INFO_V1(loyalty_apply_tiers);
PG_FUNCTION_INFO_V1(loyalty_review_tiers);
PG_FUNCTION_INFO_V1(loyalty_write_tier);
PG_FUNCTION_INFO_V1(loyalty_end_tier_override);

/* members whose rows are in memory at a time when settings change */
#define APPLY_BATCH 1000

#define REACHED \
	"(SELECT t.tier_id FROM loyalty.tier t WHERE t.program_id = $1 AND t.threshold <= m.qualifying" \
	" ORDER BY t.threshold DESC LIMIT 1)"

#define FOLLOWS "m.program_id = $1 AND m.tier_at IS NULL AND m.tier_id IS DISTINCT FROM " REACHED

/* in the order in which everybody locks members */
static LoyaltyPlan plan_lock_changed = {
	.sql = "SELECT m.member_id FROM loyalty.member m WHERE " FOLLOWS " ORDER BY m.member_id FOR NO KEY UPDATE",
	.nparams = 1, .types = {INT4OID}
};

static LoyaltyPlan plan_note_changed = {
	.sql = "INSERT INTO loyalty.tier_change (member_id, n, at, from_tier, to_tier, reason, recorded_at)"
	" SELECT m.member_id, 1 + COALESCE((SELECT pg_catalog.max(c.n) FROM loyalty.tier_change c"
	" WHERE c.member_id = m.member_id), 0), $2, m.tier_id, " REACHED ", 'settings', $2"
	" FROM loyalty.member m WHERE " FOLLOWS,
	.nparams = 2, .types = {INT4OID, TIMESTAMPTZOID}
};

static LoyaltyPlan plan_apply = {
	.sql = "UPDATE loyalty.member m SET tier_id = " REACHED " WHERE " FOLLOWS,
	.nparams = 1, .types = {INT4OID}
};

static LoyaltyPlan plan_of_program = {
	.sql = "SELECT m.member_id FROM loyalty.member m WHERE m.program_id = $1 AND (m.tier_at IS NOT NULL OR $2)"
	" AND m.member_id > $3 ORDER BY m.member_id LIMIT $4",
	.nparams = 4, .types = {INT4OID, BOOLOID, INT8OID, INT8OID}
};

/* the day is over everywhere: who is not due in his programme's zone yet is reviewed in vain */
static LoyaltyPlan plan_due = {
	.sql = "SELECT m.member_id FROM loyalty.member m WHERE m.tier_review <= $1 AND m.member_id > $2"
	" AND m.tier_at <= $3 ORDER BY m.member_id LIMIT $4",
	.nparams = 4, .types = {DATEOID, INT8OID, TIMESTAMPTZOID, INT4OID}
};

static LoyaltyPlan plan_end_override = {
	.sql = "UPDATE loyalty.tier_override SET ended_at = GREATEST($3, starts_at)"
	" WHERE member_id = $1 AND ($2 IS NULL OR key = $2) AND ended_at IS NULL",
	.nparams = 3, .types = {INT8OID, TEXTOID, TIMESTAMPTZOID}
};

/*
 * Write down the tiers of members, all of them locked.  changed (not NULL)
 * counts those who are in another tier; returns how many rows the history got.
 */
static int64
settle(LoyaltyMember *members, int n, TimestampTz at, TimestampTz now, int64 *changed)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "loyalty tiers", ALLOCSET_DEFAULT_SIZES);
	int64		added = 0;

	for (int i = 0; i < n; i++)
	{
		LoyaltyMember *m = &members[i];
		MemoryContext old = MemoryContextSwitchTo(work);
		int32		before = m->tier_id;

		CHECK_FOR_INTERRUPTS();
		loyalty_store_reset();
		added += loyalty_settle_tier(m, at, now);
		loyalty_store_flush();
		if (m->dirty)
			loyalty_store_members(&m, 1);
		if (changed != NULL && m->tier_id != before)
			(*changed)++;
		m->record = NULL;
		loyalty_store_reset();
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
	}
	MemoryContextDelete(work);
	return added;
}

/*
 * apply_tiers(program text) -> bigint: members whose tier changed
 */
Datum
loyalty_apply_tiers(PG_FUNCTION_ARGS)
{
	LoyaltyWork work;
	LoyaltyProgram *program;
	LoyaltyMember *members;
	TimestampTz now = GetCurrentTimestamp();
	Datum		values[4];
	int64	   *ids;
	int			n;
	int			nfound;
	int64		last = 0;
	int64		changed = 0;
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "loyalty members", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;

	loyalty_work_begin(&work);
	program = loyalty_program_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	values[0] = Int32GetDatum(program->id);
	if (program->tiering.is_plain)
	{
		(void) loyalty_run(&plan_lock_changed, values, NULL);
		SPI_freetuptable(SPI_tuptable);
		values[1] = TimestampTzGetDatum(now);
		(void) loyalty_write(&plan_note_changed, values, NULL);
		changed = loyalty_write(&plan_apply, values, NULL);
	}
	values[1] = BoolGetDatum(!program->tiering.is_plain);
	old = MemoryContextSwitchTo(batch);
	do
	{
		values[2] = Int64GetDatum(last);
		values[3] = Int64GetDatum(APPLY_BATCH);
		n = loyalty_spi_int8s(loyalty_run(&plan_of_program, values, NULL), &ids);
		if (n == 0)
			break;
		last = ids[n - 1];
		members = loyalty_lock_members(ids, NULL, n, false, &nfound);
		(void) settle(members, nfound, now, now, &changed);
		MemoryContextReset(batch);
	} while (n == APPLY_BATCH);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(batch);
	loyalty_work_end(&work);
	PG_RETURN_INT64(changed);
}

/*
 * review_tiers(as_of, after, batch) -> (last bigint, done bigint)
 *
 * Members whose tier may have changed by time alone: it is written down.
 */
Datum
loyalty_review_tiers(PG_FUNCTION_ARGS)
{
	LoyaltyUpkeepStep step = loyalty_step_begin(fcinfo, "review_tiers");
	LoyaltyWork work;
	LoyaltyMember *members;
	Datum		values[4];
	int64	   *ids;
	int			n;
	int64		last = 0;
	int64		done = 0;

	loyalty_work_begin(&work);
	values[0] = DateADTGetDatum((DateADT) (step.as_of / USECS_PER_DAY) + 1);
	values[1] = Int64GetDatum(step.after);
	values[2] = TimestampTzGetDatum(step.as_of);
	values[3] = Int32GetDatum(step.batch);
	n = loyalty_spi_int8s(loyalty_run(&plan_due, values, NULL), &ids);
	if (n > 0)
	{
		last = ids[n - 1];
		members = loyalty_lock_in_order(ids, NULL, n, &n);
		done = settle(members, n, step.as_of, GetCurrentTimestamp(), NULL);
	}
	loyalty_work_end(&work);
	PG_RETURN_DATUM(loyalty_step_result(fcinfo, last, done));
}

/* one member, who is locked already: his tier as of now */
static void
settle_one(int64 id)
{
	LoyaltyMember *members;
	TimestampTz now = GetCurrentTimestamp();
	int			n;

	members = loyalty_lock_in_order(&id, NULL, 1, &n);
	/* from now on it does not simply follow the amount */
	for (int i = 0; i < n; i++)
		if (members[i].tier_at == 0)
			members[i].tier_at = DT_NOBEGIN;
	(void) settle(members, n, now, now, NULL);
}

/*
 * write_tier(member_id bigint) -> void: what staff recorded takes effect
 */
Datum
loyalty_write_tier(PG_FUNCTION_ARGS)
{
	LoyaltyWork work;

	loyalty_work_begin(&work);
	settle_one(PG_GETARG_INT64(0));
	loyalty_work_end(&work);
	PG_RETURN_VOID();
}

/*
 * end_tier_override(member_id bigint, key text, at timestamptz) -> integer:
 * overrides that were ended, all (key NULL) or one
 */
Datum
loyalty_end_tier_override(PG_FUNCTION_ARGS)
{
	LoyaltyWork work;
	Datum		values[3];
	char		nulls[4] = "   ";
	int			n;

	loyalty_work_begin(&work);
	values[0] = PG_GETARG_DATUM(0);
	values[1] = PG_GETARG_DATUM(1);
	nulls[1] = PG_ARGISNULL(1) ? 'n' : ' ';
	values[2] = PG_GETARG_DATUM(2);
	n = loyalty_write(&plan_end_override, values, nulls);
	if (n > 0)
		settle_one(PG_GETARG_INT64(0));
	loyalty_work_end(&work);
	PG_RETURN_INT32(n);
}
