/*
 * gift.c
 *	  What a member is given when he reaches a tier, once per period.
 *
 * A gift leaves a call under a key of its own, which names the tier and the
 * period, so that nothing is given twice whatever becomes of the tier.  The
 * period is that of the programme's window: for ever, the year, or so many
 * months before and after the day the tier was reached.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "ledger/ledger.h"
#include "member/standing.h"

/* days for which a voucher is valid that is given with a tier */
#define VOUCHER_DAYS 365

static LoyaltyPlan plan_given = {
	.sql = "SELECT 1 FROM loyalty.operation o WHERE o.member_id = $1 AND o.key >= $2 AND o.key <= $3 LIMIT 1",
	.nparams = 3, .types = {INT8OID, TEXTOID, TEXTOID}
};

static LoyaltyPlan plan_record = {
	.sql = "INSERT INTO loyalty.operation (member_id, key, kind, arguments, points, value, balance, available,"
	" occurred_at, recorded_at, recorded_by)"
	" VALUES ($1, $2, 'tier_gift', pg_catalog.jsonb_build_object('tier', $3), $4, $5, $6, $7, $8, $9, $10)",
	.nparams = 10, .types = {INT8OID, TEXTOID, TEXTOID, NUMERICOID, NUMERICOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID,
	TIMESTAMPTZOID, TEXTOID}
};

static LoyaltyPlan plan_voucher = {
	.sql = "SELECT loyalty.write_voucher($1, $2, $3, 'value', $4, NULL, 0, NULL, true, 'tier', $5, $6)",
	.nparams = 6, .types = {INT8OID, INT4OID, TEXTOID, NUMERICOID, TIMESTAMPTZOID, INT4OID}
};

/* sorts as the days do */
static char *
gift_key(LoyaltyTier *tier, DateADT day)
{
	int			year,
				month,
				mday;

	j2date(day + POSTGRES_EPOCH_JDATE, &year, &month, &mday);
	return psprintf("gift:%d:%04d-%02d-%02d", tier->id, year, month, mday);
}

/*
 * The period of a gift for a tier that was reached on that day: what its key
 * says, and between which days there may be no other.  False if the period is
 * over at an instant.
 */
static bool
gift_period(LoyaltyMember *m, DateADT reached, DateADT today, DateADT *day, DateADT *from, DateADT *to)
{
	LoyaltyMeasure *own = &m->program->tiering.measure;

	switch (own->window)
	{
		case WINDOW_ROLLING:
			*day = reached;
			*from = loyalty_add_months(reached, -own->months) + 1;
			*to = loyalty_add_months(reached, own->months) - 1;
			return today <= *to;
		case WINDOW_LIFETIME:
			*day = *from = *to = m->joined_on;
			return true;
		default:
			*day = *from = *to = loyalty_window_before(m->record, own, reached) + 1;
			return loyalty_window_before(m->record, own, today) + 1 == *day;
	}
}

static void
give_points(LoyaltyMember *m, LoyaltyTier *tier, const char *key, TimestampTz at, TimestampTz now)
{
	LoyaltyPosting p;
	LoyaltyEntry entry = {.kind = "adjust", .points = tier->gift_points, .at = at, .key = key};

	loyalty_posting_open(&p, m, at);
	(void) loyalty_new_lot(&p, loyalty_points_expire(m->program, tier, NULL, loyalty_program_date(m->program, at)),
						   DATEVAL_NOBEGIN, tier->gift_points);
	loyalty_repay(&p);
	loyalty_posting_end(&p, &entry, now);
}

/*
 * A member reached a tier on a day: give him what comes with it, unless it was
 * given already or that period is over.  He is locked.
 */
void
loyalty_give_gift(LoyaltyMember *m, LoyaltyTier *tier, DateADT reached, TimestampTz at, TimestampTz now)
{
	DateADT		day,
				from,
				to;
	Datum		values[10];
	char		nulls[11] = "          ";
	char	   *key;
	bool		given;

	if (!gift_period(m, reached, loyalty_program_date(m->program, at), &day, &from, &to))
		return;
	key = gift_key(tier, day);
	values[0] = Int64GetDatum(m->id);
	values[1] = CStringGetTextDatum(gift_key(tier, from));
	values[2] = CStringGetTextDatum(gift_key(tier, to));
	given = loyalty_run(&plan_given, values, NULL) > 0;
	SPI_freetuptable(SPI_tuptable);
	if (given)
		return;
	if (tier->gift_points > 0)
		give_points(m, tier, key, at, now);
	if (tier->gift_voucher != NULL)
	{
		values[1] = Int32GetDatum(m->program->id);
		values[2] = CStringGetTextDatum(key);
		values[3] = NumericGetDatum(tier->gift_voucher);
		values[4] = TimestampTzGetDatum(at);
		values[5] = Int32GetDatum(VOUCHER_DAYS);
		(void) loyalty_write(&plan_voucher, values, NULL);
		SPI_freetuptable(SPI_tuptable);
	}
	loyalty_store_flush();
	values[1] = CStringGetTextDatum(key);
	values[2] = CStringGetTextDatum(tier->name);
	values[3] = PointsGetDatum(tier->gift_points);
	values[4] = NumericGetDatum(tier->gift_voucher);
	nulls[4] = tier->gift_voucher == NULL ? 'n' : ' ';
	values[5] = PointsGetDatum(loyalty_balance_at(m, at));
	values[6] = PointsGetDatum(loyalty_available(m, at));
	values[7] = TimestampTzGetDatum(at);
	values[8] = TimestampTzGetDatum(now);
	values[9] = CStringGetTextDatum(GetUserNameFromId(GetOuterUserId(), false));
	(void) loyalty_write(&plan_record, values, nulls);
}
