/*
 * balance.c
 *	  What of a member's points counts at an instant: what is valid, what can be
 *	  spent, what is reserved.
 *
 * The sum is not made over the lots that are there, of which there may be
 * very many, but over those that do not count, which are few; and the member's
 * row says whether there are any.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#include "ledger/ledger.h"

/* a sum over some of a member's lots, given a day */
#define LOT_SUM(what, which) { \
	.sql = "SELECT COALESCE(pg_catalog.sum(" what "), 0) FROM loyalty.lot l WHERE l.member_id = $1 AND " which, \
	.nparams = 2, .types = {INT8OID, DATEOID} \
}

/* in the order of the lots' key: reads those that have expired and no others */
static LoyaltyPlan plan_expired = LOT_SUM("l.remaining", "l.is_open AND l.expires_on < $2");

/* expired by now, and written down as that, but not on that day */
static LoyaltyPlan plan_not_expired = LOT_SUM("l.expired", "l.expires_on >= $2");

static LoyaltyPlan plan_pending = LOT_SUM("l.remaining", "l.is_open AND l.usable_from > $2 AND l.expires_on >= $2");

/* the same, where some has expired since */
static LoyaltyPlan plan_was_pending = LOT_SUM("l.remaining + l.expired",
											  "(l.is_open OR l.expired > 0) AND l.usable_from > $2 AND l.expires_on >= $2");

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

/* what he owed then, and what of his points could not be spent yet */
static LoyaltyPlan plan_past = {
	.sql = "SELECT COALESCE(- pg_catalog.sum(x.points) FILTER (WHERE x.points < 0), 0),"
	" COALESCE(pg_catalog.sum(x.points) FILTER (WHERE x.points > 0 AND x.usable_from > $3 AND LEAST(x.expires_on, $4) >= $3), 0)"
	" FROM (SELECT l.usable_from, l.expires_on,"
	" CASE WHEN e.occurred_at <= $2 THEN l.points ELSE 0 END + COALESCE(a.points, 0) AS points"
	" FROM loyalty.lot l JOIN loyalty.entry e ON e.member_id = l.member_id AND e.seq = l.seq"
	" LEFT JOIN (SELECT a.lot_seq, pg_catalog.sum(a.points) AS points FROM loyalty.allocation a"
	" JOIN loyalty.entry x ON x.member_id = a.member_id AND x.seq = a.entry_seq AND x.occurred_at <= $2 AND x.kind <> 'expire'"
	" WHERE a.member_id = $1 GROUP BY a.lot_seq) a ON a.lot_seq = l.seq"
	" WHERE l.member_id = $1) x",
	.nparams = 4, .types = {INT8OID, TIMESTAMPTZOID, DATEOID, DATEOID}
};

static LoyaltyPlan plan_since = {
	.sql = "SELECT FROM loyalty.entry e WHERE e.member_id = $1 AND e.occurred_at > $2 AND e.kind <> 'expire' LIMIT 1",
	.nparams = 2, .types = {INT8OID, TIMESTAMPTZOID}
};

/* holds that were there then, whatever became of them */
static LoyaltyPlan plan_was_held = {
	.sql = "SELECT COALESCE(pg_catalog.sum(h.points), 0) FROM loyalty.hold h"
	" WHERE h.member_id = $1 AND h.created_at <= $2 AND h.expires_at > $2 AND (h.state = 'open' OR h.closed_at > $2)",
	.nparams = 2, .types = {INT8OID, TIMESTAMPTZOID}
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
 * What is valid at that instant, of all that is booked by now.
 */
Points
loyalty_balance_at(LoyaltyMember *member, TimestampTz at)
{
	return member->balance - loyalty_expired(member, at);
}

/*
 * What a member can spend at that instant, never below 0.
 */
Points
loyalty_available(LoyaltyMember *member, TimestampTz at)
{
	return Max(loyalty_balance_at(member, at) - loyalty_pending_points(member, at) - loyalty_held(member, at), 0);
}

/*
 * The balance as it was at that instant: what had been moved by then, without
 * what had expired.
 */
Points
loyalty_balance_as_of(LoyaltyMember *member, TimestampTz at)
{
	Datum		values[4];

	values[0] = Int64GetDatum(member->id);
	values[1] = TimestampTzGetDatum(at);
	values[2] = DateADTGetDatum(day_of(member, at));
	values[3] = DateADTGetDatum(loyalty_lapse_day(member));
	return sum_of(&plan_balance, values);
}

/*
 * All figures of a member now, or (is_past) as they were at that instant.  What
 * is stored says that, too, unless something has happened since.
 */
LoyaltyAvailability
loyalty_availability(LoyaltyMember *member, TimestampTz at, bool is_past)
{
	LoyaltyAvailability f;
	Datum		values[4];
	bool		isnull;

	values[0] = Int64GetDatum(member->id);
	values[1] = TimestampTzGetDatum(at);
	if (is_past && loyalty_run(&plan_since, values, NULL) > 0)
	{
		values[2] = DateADTGetDatum(day_of(member, at));
		values[3] = DateADTGetDatum(loyalty_lapse_day(member));
		(void) loyalty_run(&plan_past, values, NULL);
		f.debt = loyalty_points_from_datum(loyalty_spi_datum(0, 1, &isnull));
		f.pending = loyalty_points_from_datum(loyalty_spi_datum(0, 2, &isnull));
		SPI_freetuptable(SPI_tuptable);
		f.balance = loyalty_balance_as_of(member, at);
	}
	else
	{
		f.debt = member->debt;
		f.pending = loyalty_pending_points(member, at);
		f.balance = loyalty_balance_at(member, at);
	}
	f.held = is_past ? sum_of(&plan_was_held, values) : loyalty_held(member, at);
	f.available = Max(f.balance - f.pending - f.held, 0);
	return f;
}
