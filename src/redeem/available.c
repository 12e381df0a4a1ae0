/*
 * available.c
 *	  What a member can spend: his balance, without what has expired and
 *	  nobody has written down yet, and without what is reserved.
 *
 * The sum is not made over the lots that are there, of which there may be
 * very many, but over those that do not count, which are few.
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

/* in the order of the lots' key: reads those that have expired and no others */
static LoyaltyPlan plan_expired = {
	.sql = "SELECT COALESCE(pg_catalog.sum(l.remaining), 0) FROM loyalty.lot l"
	" WHERE l.member_id = $1 AND l.is_open AND l.expires_on < $2",
	.nparams = 2, .types = {INT8OID, DATEOID}
};

static LoyaltyPlan plan_held = {
	.sql = "SELECT COALESCE(pg_catalog.sum(h.points), 0) FROM loyalty.hold h"
	" WHERE h.member_id = $1 AND h.state = 'open' AND h.expires_at > $2",
	.nparams = 2, .types = {INT8OID, TIMESTAMPTZOID}
};

static Points
sum_of(LoyaltyPlan *plan, Datum *values)
{
	Points		sum;
	bool		isnull;

	(void) loyalty_run(plan, values, NULL);
	sum = loyalty_points_from_datum(loyalty_spi_datum(0, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return sum;
}

/*
 * Points in lots that have expired by then and are still counted in the
 * balance.
 */
static Points
expired(LoyaltyMember *member, TimestampTz at)
{
	Datum		values[2];

	values[0] = Int64GetDatum(member->id);
	values[1] = DateADTGetDatum(loyalty_program_date(member->program, at));
	return sum_of(&plan_expired, values);
}

/*
 * Points that holds reserve at that instant.
 */
Points
loyalty_held(LoyaltyMember *member, TimestampTz at)
{
	Datum		values[2];

	if (member->held == 0)
		return 0;
	values[0] = Int64GetDatum(member->id);
	values[1] = TimestampTzGetDatum(at);
	return sum_of(&plan_held, values);
}

/*
 * What a member can spend at that instant, never below 0.
 */
Points
loyalty_available(LoyaltyMember *member, TimestampTz at)
{
	return Max(member->balance - expired(member, at) - loyalty_held(member, at), 0);
}

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
	Points		points = m == NULL ? 0 : loyalty_available(m, at);

	SPI_finish();
	MemoryContextSwitchTo(context);
	loyalty_resume(&save);
	loyalty_config_unpin();
	PG_RETURN_DATUM(PointsGetDatum(points));
}

/*
 * points(program text, customer text, at timestamptz)
 *	-> (balance, debt, expired, held, available)
 */
Datum
loyalty_points_of(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	LoyaltyIdentity save;
	TimestampTz at;
	LoyaltyMember *m = member_argument(fcinfo, &save, &at);
	TupleDesc	desc;
	Points		figures[5] = {0};
	Datum		values[5];
	bool		nulls[5] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (m != NULL)
	{
		figures[0] = m->balance;
		figures[1] = m->debt;
		figures[2] = expired(m, at);
		figures[3] = loyalty_held(m, at);
		figures[4] = loyalty_available(m, at);
	}
	SPI_finish();
	MemoryContextSwitchTo(context);
	loyalty_resume(&save);
	loyalty_config_unpin();
	for (int i = 0; i < 5; i++)
		values[i] = PointsGetDatum(figures[i]);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
