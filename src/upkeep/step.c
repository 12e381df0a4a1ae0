/*
 * step.c
 *	  What the steps of upkeep() have in common: arguments, rights, answer.
 *
 * A step is a function (as_of, after, batch) -> (last, done): it handles up to
 * batch members with a number above after, in ascending order, and answers
 * with the last of them, NULL if there are no more, and how much it did.  When
 * it fails with a batch of one, upkeep() leaves out the member it was at.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "config.h"
#include "upkeep/upkeep.h"

PG_FUNCTION_INFO_V1(loyalty_upkeep_at);
PG_FUNCTION_INFO_V1(loyalty_upkeep_member);

/* whom the running step says that it handles */
static int64 handled = 0;

/*
 * The arguments, with their defaults where they are NULL.
 */
LoyaltyUpkeepStep
loyalty_step_begin(FunctionCallInfo fcinfo, const char *function)
{
	LoyaltyUpkeepStep step;

	loyalty_refuse_on_standby(function);
	step.as_of = PG_ARGISNULL(0) ? GetCurrentTimestamp() : PG_GETARG_TIMESTAMPTZ(0);
	step.after = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);
	step.batch = PG_ARGISNULL(2) ? 1000 : PG_GETARG_INT32(2);
	if (TIMESTAMP_NOT_FINITE(step.as_of))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("as_of must be a finite instant")));
	if (step.batch < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch must be at least 1")));
	return step;
}

/*
 * Begin to write what time has made true: as the owner, with the planner's
 * settings pinned, because a plan that is made while statistics are stale, or
 * a table is empty, is kept.
 */
void
loyalty_work_begin(LoyaltyWork *work)
{
	work->context = CurrentMemoryContext;
	loyalty_config_pin();
	loyalty_become(loyalty_owner(), &work->save);
	loyalty_connect();
	work->nest = NewGUCNestLevel();
	work->planner = loyalty_planner_scope(false);
	loyalty_pin_planner();
	loyalty_store_reset();
}

void
loyalty_work_end(LoyaltyWork *work)
{
	loyalty_store_reset();
	loyalty_unpin_settings(work->nest);
	(void) loyalty_planner_scope(work->planner);
	SPI_finish();
	MemoryContextSwitchTo(work->context);
	loyalty_resume(&work->save);
	loyalty_config_unpin();
}

/*
 * The answer; last is 0 if there are no more.
 */
Datum
loyalty_step_result(FunctionCallInfo fcinfo, int64 last, int64 done)
{
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum(last);
	nulls[0] = last == 0;
	values[1] = Int64GetDatum(done);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/*
 * upkeep_at(member_id)
 */
Datum
loyalty_upkeep_at(PG_FUNCTION_ARGS)
{
	handled = PG_GETARG_INT64(0);
	PG_RETURN_VOID();
}

/*
 * upkeep_member() -> bigint.  Neither what it looks at is undone when a
 * subtransaction is.
 */
Datum
loyalty_upkeep_member(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(Max(handled, loyalty_last_locked()));
}
