/*
 * available.c
 *	  What a member has and can spend: available(), points(), balance().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#include "config.h"
#include "redeem/redeem.h"

PG_FUNCTION_INFO_V1(loyalty_available_points);
PG_FUNCTION_INFO_V1(loyalty_points_of);
PG_FUNCTION_INFO_V1(loyalty_balance);

/* (program, customer, at): the member who has the customer's points, or NULL */
static LoyaltyMember *
member_argument(FunctionCallInfo fcinfo, LoyaltyIdentity *save, TimestampTz *at)
{
	char	   *name = loyalty_required_text(fcinfo, 0, "program");
	char	   *customer = loyalty_required_text(fcinfo, 1, "customer");
	LoyaltyProgram *program;
	int64		id;

	*at = PG_ARGISNULL(2) ? GetCurrentTimestamp() : PG_GETARG_TIMESTAMPTZ(2);
	loyalty_config_pin();
	program = loyalty_program_by_name(name);
	loyalty_become(loyalty_owner(), save);
	loyalty_connect();
	id = loyalty_find_member(program, customer);
	return id == 0 ? NULL : loyalty_read_member(loyalty_account_of(id));
}

/*
 * available(program text, customer text, at timestamptz) -> numeric(18,2)
 */
Datum
loyalty_available_points(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	LoyaltyIdentity save;
	TimestampTz at;
	LoyaltyMember *m = member_argument(fcinfo, &save, &at);
	Points		points = m == NULL ? 0 : loyalty_availability(m, at, !PG_ARGISNULL(2)).available;

	SPI_finish();
	MemoryContextSwitchTo(context);
	loyalty_resume(&save);
	loyalty_config_unpin();
	PG_RETURN_DATUM(PointsGetDatum(points));
}

/*
 * points(program text, customer text, at timestamptz)
 *	-> (balance, debt, pending, held, available)
 */
Datum
loyalty_points_of(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	LoyaltyIdentity save;
	TimestampTz at;
	LoyaltyMember *m = member_argument(fcinfo, &save, &at);
	TupleDesc	desc;
	LoyaltyAvailability f = {0};
	Datum		values[5];
	bool		nulls[5] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (m != NULL)
		f = loyalty_availability(m, at, !PG_ARGISNULL(2));
	SPI_finish();
	MemoryContextSwitchTo(context);
	loyalty_resume(&save);
	loyalty_config_unpin();
	values[0] = PointsGetDatum(f.balance);
	values[1] = PointsGetDatum(f.debt);
	values[2] = PointsGetDatum(f.pending);
	values[3] = PointsGetDatum(f.held);
	values[4] = PointsGetDatum(f.available);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/*
 * balance(program text, customer text, as_of timestamptz) -> numeric(18,2)
 */
Datum
loyalty_balance(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	LoyaltyIdentity save;
	TimestampTz at;
	LoyaltyMember *m = member_argument(fcinfo, &save, &at);
	Points		points = 0;

	if (m != NULL)
		points = PG_ARGISNULL(2) ? loyalty_balance_at(m, at) : loyalty_balance_as_of(m, at);
	SPI_finish();
	MemoryContextSwitchTo(context);
	loyalty_resume(&save);
	loyalty_config_unpin();
	PG_RETURN_DATUM(PointsGetDatum(points));
}
