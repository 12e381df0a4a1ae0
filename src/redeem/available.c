/*
 * available.c
 *	  What a member can spend: his balance, without what has expired, what
 *	  cannot be spent yet, and what is reserved.
 *
 * The sum is not made over the lots that are there, of which there may be
 * very many, but over those that do not count, which are few; and the member's
 * row says whether there are any.
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

/* in the order of the lots' key: reads those that have expired and no others */
static LoyaltyPlan plan_expired = {
	.sql = "SELECT COALESCE(pg_catalog.sum(l.remaining), 0) FROM loyalty.lot l"
	" WHERE l.member_id = $1 AND l.is_open AND l.expires_on < $2",
	.nparams = 2, .types = {INT8OID, DATEOID}
};

/* expired by now, and written down as that, but not on that day */
static LoyaltyPlan plan_not_expired = {
	.sql = "SELECT COALESCE(pg_catalog.sum(l.expired), 0) FROM loyalty.lot l"
	" WHERE l.member_id = $1 AND l.expires_on >= $2",
	.nparams = 2, .types = {INT8OID, DATEOID}
};

static LoyaltyPlan plan_pending = {
	.sql = "SELECT COALESCE(pg_catalog.sum(l.remaining), 0) FROM loyalty.lot l"
	" WHERE l.member_id = $1 AND l.is_open AND l.usable_from > $2 AND l.expires_on >= $2",
	.nparams = 2, .types = {INT8OID, DATEOID}
};

/* the same, where some has expired since */
static LoyaltyPlan plan_was_pending = {
	.sql = "SELECT COALESCE(pg_catalog.sum(l.remaining + l.expired), 0) FROM loyalty.lot l"
	" WHERE l.member_id = $1 AND (l.is_open OR l.expired > 0) AND l.usable_from > $2 AND l.expires_on >= $2",
	.nparams = 2, .types = {INT8OID, DATEOID}
};

/*
 * The balance at an instant: what entries moved by then, without what had
 * expired.  That is worked out from what was left of each lot, as if nobody
 * had ever written it down.
 */
static LoyaltyPlan plan_balance = {
	.sql = "SELECT COALESCE((SELECT pg_catalog.sum(e.points) FROM loyalty.entry e"
	" WHERE e.member_id = $1 AND e.occurred_at <= $2 AND e.kind <> 'expire'), 0)"
	" - COALESCE((SELECT pg_catalog.sum(GREATEST(CASE WHEN e.occurred_at <= $2 THEN l.points ELSE 0 END + COALESCE(a.points, 0), 0))"
	" FROM loyalty.lot l JOIN loyalty.entry e ON e.member_id = l.member_id AND e.seq = l.seq"
	" LEFT JOIN (SELECT a.lot_seq, pg_catalog.sum(a.points) AS points FROM loyalty.allocation a"
	" JOIN loyalty.entry x ON x.member_id = a.member_id AND x.seq = a.entry_seq AND x.occurred_at <= $2 AND x.kind <> 'expire'"
	" WHERE a.member_id = $1 GROUP BY a.lot_seq) a ON a.lot_seq = l.seq"
	" WHERE l.member_id = $1 AND l.points > 0 AND LEAST(l.expires_on, $4) < $3), 0)",
	.nparams = 4, .types = {INT8OID, TIMESTAMPTZOID, DATEOID, DATEOID}
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

/* the programme's day; before and after all days there is one, too */
static DateADT
day_of(LoyaltyMember *member, TimestampTz at)
{
	return TIMESTAMP_IS_NOEND(at) ? DATEVAL_NOEND : TIMESTAMP_IS_NOBEGIN(at) ? DATEVAL_NOBEGIN :
		loyalty_program_date(member->program, at);
}

/*
 * Points of the booked balance that have expired by then; below 0 if expiry is
 * written down of points that are valid then.
 */
Points
loyalty_expired(LoyaltyMember *member, TimestampTz at)
{
	DateADT		day = day_of(member, at);
	Points		points = 0;
	Datum		values[2];

	values[0] = Int64GetDatum(member->id);
	values[1] = DateADTGetDatum(day);
	if (loyalty_has_lapsed(member, day))
		return member->balance + member->debt;
	if (member->next_expiry < day)
		points = sum_of(&plan_expired, values);
	if (member->expired_through >= day)
		points -= sum_of(&plan_not_expired, values);
	return points;
}

/*
 * Points that are valid then but cannot be spent yet.
 */
Points
loyalty_pending_points(LoyaltyMember *member, TimestampTz at)
{
	DateADT		day = day_of(member, at);
	Datum		values[2];

	if (member->usable_from <= day || loyalty_has_lapsed(member, day))
		return 0;
	values[0] = Int64GetDatum(member->id);
	values[1] = DateADTGetDatum(day);
	return sum_of(day > member->expired_through ? &plan_pending : &plan_was_pending, values);
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
	return Max(member->balance - loyalty_expired(member, at) - loyalty_pending_points(member, at) - loyalty_held(member, at), 0);
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
	Points		figures[5] = {0};
	Datum		values[5];
	bool		nulls[5] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (m != NULL)
	{
		figures[0] = m->balance - loyalty_expired(m, at);
		figures[1] = m->debt;
		figures[2] = loyalty_pending_points(m, at);
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

	if (m != NULL && PG_ARGISNULL(2))
		points = m->balance - loyalty_expired(m, at);
	else if (m != NULL)
	{
		Datum		values[4];

		values[0] = Int64GetDatum(m->id);
		values[1] = TimestampTzGetDatum(at);
		values[2] = DateADTGetDatum(day_of(m, at));
		values[3] = DateADTGetDatum(Min(m->lapses_on, m->program->points_until));
		points = sum_of(&plan_balance, values);
	}
	SPI_finish();
	MemoryContextSwitchTo(context);
	loyalty_resume(&save);
	loyalty_config_unpin();
	PG_RETURN_DATUM(PointsGetDatum(points));
}
