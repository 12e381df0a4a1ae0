/*
 * hold.c
 *	  Points reserved for an open basket: reserve(), capture(), release().
 *
 * A hold that is open counts until its expires_at, so it expires without
 * anybody doing anything.  The member's row keeps the sum of those that
 * nobody has closed; every reservation changes it, so that two transactions
 * with old snapshots cannot both reserve the same points.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "config.h"
#include "errors.h"
#include "outbox/outbox.h"
#include "redeem/redeem.h"
#include "upkeep/upkeep.h"

PG_FUNCTION_INFO_V1(loyalty_reserve);
PG_FUNCTION_INFO_V1(loyalty_capture_hold);
PG_FUNCTION_INFO_V1(loyalty_release_hold);
PG_FUNCTION_INFO_V1(loyalty_close_holds);

static LoyaltyPlan plan_insert = {
	.sql = "INSERT INTO loyalty.hold (member_id, key, points, value, state, created_at, expires_at)"
	" VALUES ($1, $2, $3, $4, 'open', $5, $6)",
	.nparams = 6, .types = {INT8OID, TEXTOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

static LoyaltyPlan plan_find = {
	.sql = "SELECT h.member_id, h.points, h.value, h.state, h.captured, h.expires_at FROM loyalty.hold h"
	" WHERE h.member_id = ANY ($1) AND h.key = $2 ORDER BY h.state <> 'open'",
	.nparams = 2, .types = {INT8ARRAYOID, TEXTOID}
};

static LoyaltyPlan plan_close = {
	.sql = "UPDATE loyalty.hold SET state = $3, captured = $4, closed_at = $5 WHERE member_id = $1 AND key = $2",
	.nparams = 5, .types = {INT8OID, TEXTOID, TEXTOID, NUMERICOID, TIMESTAMPTZOID}
};

static LoyaltyPlan plan_expire = {
	.sql = "UPDATE loyalty.hold h SET state = 'expired', closed_at = $2"
	" WHERE h.member_id = $1 AND h.state = 'open' AND h.expires_at <= $2 RETURNING h.points, h.key, h.value, h.expires_at",
	.nparams = 2, .types = {INT8OID, TIMESTAMPTZOID}
};

/* members who have holds that expired */
static LoyaltyPlan plan_late = {
	.sql = "SELECT DISTINCT h.member_id FROM loyalty.hold h WHERE h.state = 'open' AND h.expires_at <= $1"
	" AND h.member_id > $2 ORDER BY h.member_id LIMIT $3",
	.nparams = 3, .types = {TIMESTAMPTZOID, INT8OID, INT8OID}
};

/* a hold as stored */
typedef struct Hold
{
	int64		member_id;
	Points		points;
	Numeric		value;
	char	   *state;
	TimestampTz expires_at;
} Hold;

static Hold *
find(LoyaltyCall *c, const char *customer, const char *key)
{
	Datum		values[2];
	Hold	   *h = palloc(sizeof(Hold));
	bool		isnull;

	values[0] = loyalty_int8_array(c->ids, c->nids);
	values[1] = CStringGetTextDatum(key);
	if (loyalty_run(&plan_find, values, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_UNKNOWN),
				 errmsg("customer \"%s\" has no hold \"%s\"", customer, key),
				 errhint("loyalty.hold lists what was reserved.")));
	h->member_id = DatumGetInt64(loyalty_spi_datum(0, 1, &isnull));
	h->points = loyalty_points_from_datum(loyalty_spi_datum(0, 2, &isnull));
	h->value = loyalty_spi_numeric(0, 3);
	h->state = loyalty_spi_text(0, 4);
	h->expires_at = DatumGetTimestampTz(loyalty_spi_datum(0, 6, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return h;
}

/* tell the member that reserved points are free again */
static void
tell_released(LoyaltyMember *member, const char *key, Points points, Numeric value, const char *reason,
			  TimestampTz at, TimestampTz now)
{
	StringInfoData payload;

	if (!loyalty_tells(member->program, MESSAGE_HOLD_RELEASED))
		return;
	initStringInfo(&payload);
	appendStringInfoChar(&payload, '{');
	loyalty_payload_points(&payload, "points", points);
	loyalty_payload(&payload, "value", loyalty_num_text(value), false);
	loyalty_payload(&payload, "reason", reason, true);
	loyalty_payload(&payload, "key", key, true);
	loyalty_tell_message(member, MESSAGE_HOLD_RELEASED, psprintf("hold:%s", key), &payload, at, now);
}

/* note that holds of a locked member have expired; returns how many had */
static uint64
expire(LoyaltyMember *member, TimestampTz now)
{
	Datum		values[2];
	uint64		n;
	bool		isnull;

	if (member->held == 0)
		return 0;
	values[0] = Int64GetDatum(member->id);
	values[1] = TimestampTzGetDatum(now);
	n = loyalty_write(&plan_expire, values, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		Points		points = loyalty_points_from_datum(loyalty_spi_datum(i, 1, &isnull));

		member->held -= points;
		tell_released(member, loyalty_spi_text(i, 2), points, loyalty_spi_numeric(i, 3), "expired",
					  DatumGetTimestampTz(loyalty_spi_datum(i, 4, &isnull)), now);
	}
	SPI_freetuptable(SPI_tuptable);
	member->dirty |= n > 0;
	return n;
}

/* close a hold that is open */
static void
close_hold(LoyaltyCall *c, Hold *h, const char *key, const char *state, Points captured)
{
	Datum		values[5];

	values[0] = Int64GetDatum(h->member_id);
	values[1] = CStringGetTextDatum(key);
	values[2] = CStringGetTextDatum(state);
	values[3] = PointsGetDatum(captured);
	values[4] = TimestampTzGetDatum(c->now);
	if (loyalty_write(&plan_close, values, NULL) != 1)
		elog(ERROR, "hold \"%s\" of member " INT64_FORMAT " vanished", key, h->member_id);
	c->member->held -= h->points;
	c->member->dirty = true;
}

/*
 * reserve(program, customer, points, key, minutes, amount, lines, at)
 *	-> (points, value, balance, available)
 */
Datum
loyalty_reserve(PG_FUNCTION_ARGS)
{
	char	   *customer = loyalty_required_text(fcinfo, 1, "customer");
	Points		points = loyalty_points_argument(fcinfo, 2, "points");
	LoyaltyCall c;
	LoyaltyPolicy *policy;
	LoyaltyOrder order;
	Datum		result;

	loyalty_call_begin(&c, "reserve", fcinfo, 7);
	c.key = loyalty_key_argument(fcinfo, 3);
	policy = loyalty_policy(c.program);
	if (points <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("points must be above 0")));
	if (!PG_ARGISNULL(4) && (PG_GETARG_INT32(4) < 1 || PG_GETARG_INT32(4) > 527040))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("minutes must be between 1 and 527040")));
	loyalty_call_numeric(&c, "points", fcinfo, 2);
	if (!PG_ARGISNULL(4))
		loyalty_call_argument(&c, "minutes", psprintf("%d", PG_GETARG_INT32(4)), false);
	loyalty_call_numeric(&c, "amount", fcinfo, 5);
	if (!PG_ARGISNULL(6))
		loyalty_call_argument(&c, "lines", JsonbToCString(NULL, &PG_GETARG_JSONB_P(6)->root, 0), false);
	order = loyalty_order(fcinfo, 5, 6, c.program);

	loyalty_call_lock(&c, customer, NULL);
	if (!loyalty_call_answered(&c))
	{
		Datum		values[6];
		int			minutes = PG_ARGISNULL(4) ? policy->hold_minutes : PG_GETARG_INT32(4);

		(void) expire(c.member, c.now);
		c.answer.points = points;
		c.answer.value = loyalty_check_limits(&c, points, &order);
		values[0] = Int64GetDatum(c.member->id);
		values[1] = CStringGetTextDatum(c.key);
		values[2] = PointsGetDatum(points);
		values[3] = NumericGetDatum(c.answer.value);
		values[4] = TimestampTzGetDatum(c.at);
		values[5] = TimestampTzGetDatum(c.at + minutes * INT64CONST(60000000));
		(void) loyalty_write(&plan_insert, values, NULL);
		c.member->held += points;
		c.member->dirty = true;
		loyalty_call_store(&c);
	}
	result = loyalty_call_result(&c, fcinfo);
	loyalty_call_end(&c);
	PG_RETURN_DATUM(result);
}

/*
 * capture_hold(program, customer, key, points, source, doc_key, at)
 *	-> (points, value, balance, available)
 *
 * Redeems what a hold reserved, or less; the rest is free again.  What is
 * redeemed has the hold's key.
 */
Datum
loyalty_capture_hold(PG_FUNCTION_ARGS)
{
	char	   *customer = loyalty_required_text(fcinfo, 1, "customer");
	char	   *key = loyalty_key_argument(fcinfo, 2);
	Points		points = PG_ARGISNULL(3) ? 0 : loyalty_points_argument(fcinfo, 3, "points");
	LoyaltyCall c;
	LoyaltySource *source;
	char	   *doc_key;
	Datum		result;

	loyalty_call_begin(&c, "capture_hold", fcinfo, 6);
	c.key = psprintf("capture:%s", key);
	if (!PG_ARGISNULL(3) && points <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("points must be above 0"),
				 errhint("loyalty.release_hold() gives the points free.")));
	loyalty_call_argument(&c, "key", key, true);
	loyalty_call_numeric(&c, "points", fcinfo, 3);
	source = loyalty_document_argument(&c, fcinfo, 4, 5, &doc_key);
	loyalty_call_lock(&c, customer, NULL);
	if (!loyalty_call_answered(&c))
	{
		Hold	   *h = find(&c, customer, key);
		Points		held = h->points;

		if (PG_ARGISNULL(3))
			points = held;
		if (strcmp(h->state, "open") != 0 || h->expires_at <= c.at)
			ereport(ERROR,
					(errcode(ERRCODE_LOYALTY_STATE),
					 errmsg("hold \"%s\" of customer \"%s\" is not open", key, customer),
					 strcmp(h->state, "open") != 0 ? errdetail("It was %s.", h->state) : errdetail("It has expired."),
					 errhint("loyalty.redeem() redeems points that are not reserved.")));
		if (points > held)
			ereport(ERROR,
					(errcode(ERRCODE_LOYALTY_LIMIT),
					 errmsg("a hold cannot be captured beyond its points"),
					 errdetail("Hold \"%s\" reserves %s points.", key,
							   loyalty_num_text(loyalty_num_trim(loyalty_points_numeric(held)))),
					 errhint("Capture no more than that, and redeem the rest with loyalty.redeem().")));
		close_hold(&c, h, key, "captured", points);
		/* one that counts as expired by now may be captured with an earlier at */
		if (points > loyalty_available(c.member, c.at))
			ereport(ERROR,
					(errcode(ERRCODE_LOYALTY_POINTS),
					 errmsg("not enough points"),
					 errdetail("What hold \"%s\" reserved was spent since.", key),
					 errhint("loyalty.points() says what can be spent.")));
		loyalty_redeem_points(&c, key, REDEMPTION_POINTS, points,
							  loyalty_share_of(c.program, h->value, points, held), source, doc_key);
	}
	result = loyalty_call_result(&c, fcinfo);
	loyalty_call_end(&c);
	PG_RETURN_DATUM(result);
}

/*
 * release_hold(program, customer, key, at) -> (points, value, balance, available)
 */
Datum
loyalty_release_hold(PG_FUNCTION_ARGS)
{
	char	   *customer = loyalty_required_text(fcinfo, 1, "customer");
	char	   *key = loyalty_key_argument(fcinfo, 2);
	LoyaltyCall c;
	Datum		result;

	loyalty_call_begin(&c, "release_hold", fcinfo, 3);
	c.key = psprintf("release:%s", key);
	loyalty_call_argument(&c, "key", key, true);
	loyalty_call_lock(&c, customer, NULL);
	if (!loyalty_call_answered(&c))
	{
		Hold	   *h = find(&c, customer, key);

		if (strcmp(h->state, "captured") == 0)
			ereport(ERROR,
					(errcode(ERRCODE_LOYALTY_STATE),
					 errmsg("hold \"%s\" of customer \"%s\" is not open", key, customer),
					 errdetail("It was captured."),
					 errhint("loyalty.cancel_redemption() gives the points back.")));
		if (strcmp(h->state, "open") == 0)
		{
			c.answer.points = h->points;
			c.answer.value = h->value;
			close_hold(&c, h, key, "released", 0);
			tell_released(c.member, key, h->points, h->value, "released", c.at, c.now);
		}
		loyalty_call_store(&c);
	}
	result = loyalty_call_result(&c, fcinfo);
	loyalty_call_end(&c);
	PG_RETURN_DATUM(result);
}

/*
 * close_holds(as_of, after, batch) -> (last, done): notes that holds have
 * expired, which is true already.
 */
Datum
loyalty_close_holds(PG_FUNCTION_ARGS)
{
	LoyaltyUpkeepStep step = loyalty_step_begin(fcinfo, "close_holds");
	LoyaltyIdentity save;
	LoyaltyMember *members;
	LoyaltyMember **dirty;
	Datum		values[3];
	int64	   *ids;
	int64		done = 0;
	int			n;
	int			found;
	int			ndirty = 0;

	loyalty_config_pin();
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	loyalty_store_reset();
	values[0] = TimestampTzGetDatum(step.as_of);
	values[1] = Int64GetDatum(step.after);
	values[2] = Int64GetDatum(step.batch);
	n = loyalty_spi_int8s(loyalty_run(&plan_late, values, NULL), &ids);
	if (n > 0)
	{
		members = loyalty_lock_in_order(ids, NULL, n, &found);
		dirty = palloc(sizeof(LoyaltyMember *) * Max(found, 1));
		for (int i = 0; i < found; i++)
		{
			/* under the lock: somebody may have closed them meanwhile */
			done += expire(&members[i], step.as_of);
			if (members[i].dirty)
				dirty[ndirty++] = &members[i];
		}
		loyalty_store_members(dirty, ndirty);
	}
	SPI_finish();
	loyalty_resume(&save);
	loyalty_config_unpin();
	PG_RETURN_DATUM(loyalty_step_result(fcinfo, n < step.batch ? 0 : ids[n - 1], done));
}
