/*
 * household.c
 *	  Customers who share one balance: merge_customers(), leave_household().
 *
 * Who is merged keeps his member, with all that was booked for him; what comes
 * later is the other one's.  Who leaves gets a new member, under the next
 * number of his name, and the old one stays with the household for good, as
 * what he was until left_at.  So a document of that time finds it whenever it
 * is changed, and points, tiers and proofs of the household stay as they are.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "redeem/redeem.h"

PG_FUNCTION_INFO_V1(loyalty_merge_customers);
PG_FUNCTION_INFO_V1(loyalty_leave_household);

/* open holds go along with the points; what the other has under that key stays */
static LoyaltyPlan plan_copy_holds = {
	.sql = "INSERT INTO loyalty.hold (member_id, key, points, value, state, created_at, expires_at)"
	" SELECT $2, h.key, h.points, h.value, 'open', h.created_at, h.expires_at FROM loyalty.hold h"
	" WHERE h.member_id = $1 AND h.state = 'open' AND h.expires_at > $3"
	" ON CONFLICT (member_id, key) DO NOTHING RETURNING points",
	.nparams = 3, .types = {INT8OID, INT8OID, TIMESTAMPTZOID}
};

static LoyaltyPlan plan_release_holds = {
	.sql = "UPDATE loyalty.hold SET state = 'released', closed_at = $2 WHERE member_id = $1 AND state = 'open'",
	.nparams = 2, .types = {INT8OID, TIMESTAMPTZOID}
};

/* what merging a member has answered the account that he got */
static LoyaltyPlan plan_merged = {
	.sql = "SELECT a.points, a.balance, a.available FROM loyalty.operation o"
	" JOIN loyalty.operation a ON a.member_id = o.other_member_id AND a.key = o.key"
	" WHERE o.member_id = $1 AND o.key = $2 AND o.arguments = $3::pg_catalog.jsonb",
	.nparams = 3, .types = {INT8OID, TEXTOID, TEXTOID}
};

/* the latest document of some members */
static LoyaltyPlan plan_latest = {
	.sql = "SELECT pg_catalog.max(l.at) FROM pg_catalog.unnest($1) m (id) CROSS JOIN LATERAL"
	" (SELECT pg_catalog.max(d.occurred_at) AS at FROM loyalty.document d WHERE d.member_id = m.id OFFSET 0) l",
	.nparams = 1, .types = {INT8ARRAYOID}
};

/* holds of one member become the other's */
static void
move_holds(LoyaltyCall *c)
{
	LoyaltyMember *from = c->member;
	Datum		values[3];
	uint64		n;
	bool		isnull;

	if (from->held == 0)
		return;
	values[0] = Int64GetDatum(from->id);
	values[1] = Int64GetDatum(c->other->id);
	values[2] = TimestampTzGetDatum(c->now);
	n = loyalty_write(&plan_copy_holds, values, NULL);
	for (uint64 i = 0; i < n; i++)
		c->other->held += loyalty_points_from_datum(loyalty_spi_datum(i, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	values[1] = TimestampTzGetDatum(c->now);
	(void) loyalty_write(&plan_release_holds, values, NULL);
	from->held = 0;
}

/* the answer of a merge that was done before, if it was this one */
static void
answer_again(LoyaltyCall *c)
{
	Datum		values[3];
	bool		isnull;

	values[0] = Int64GetDatum(c->ids[0]);
	values[1] = CStringGetTextDatum(loyalty_merge_key(c->ids[0]));
	values[2] = CStringGetTextDatum(c->arguments.data);
	if (loyalty_run(&plan_merged, values, NULL) == 1)
	{
		c->answer.points = loyalty_points_from_datum(loyalty_spi_datum(0, 1, &isnull));
		c->answer.balance = loyalty_points_from_datum(loyalty_spi_datum(0, 2, &isnull));
		c->answer.available = loyalty_points_from_datum(loyalty_spi_datum(0, 3, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
}

/* the tiers of both, once it is on record whose purchases are whose */
static void
settle_tiers(LoyaltyCall *c, LoyaltyMember *merged)
{
	(void) loyalty_settle_tier(merged, c->now, c->now);
	(void) loyalty_settle_tier(c->other, c->now, c->now);
	loyalty_store_flush();
	if (merged->dirty)
		loyalty_store_members(&merged, 1);
	if (c->other->dirty)
		loyalty_store_members(&c->other, 1);
}

/*
 * merge_customers(program, customer, into_customer, at)
 *	-> (points, value, balance, available) of who has the points now
 *
 * What the customer has goes to the other one for good, and so does whatever
 * is booked for him later.  To merge again does nothing, and answers the same.
 */
Datum
loyalty_merge_customers(PG_FUNCTION_ARGS)
{
	char	   *from = loyalty_required_text(fcinfo, 1, "customer");
	char	   *into = loyalty_required_text(fcinfo, 2, "into_customer");
	LoyaltyCall c;
	Datum		result;

	loyalty_call_begin(&c, "merge_customers", fcinfo, 3);
	loyalty_call_argument(&c, "customer", from, true);
	loyalty_call_argument(&c, "into", into, true);
	appendStringInfoChar(&c.arguments, '}');
	loyalty_call_lock(&c, from, into);
	c.answer.balance = loyalty_balance_at(c.other, c.at);
	c.answer.available = loyalty_available(c.other, c.at);
	if (c.other == c.member)
		answer_again(&c);
	else
	{
		LoyaltyMember *merged = c.member;

		c.key = loyalty_merge_key(merged->id);
		move_holds(&c);
		c.answer.points = loyalty_balance_at(merged, c.at);
		loyalty_sweep(merged, c.other, c.at, c.now);
		merged->merged_into = c.other->id;
		merged->dirty = true;
		c.other_id = c.other->id;
		loyalty_call_store(&c);
		loyalty_call_record_other(&c, c.answer.points);
		settle_tiers(&c, merged);
		c.answer.balance = loyalty_balance_at(c.other, c.at);
		c.answer.available = loyalty_available(c.other, c.at);
	}
	result = loyalty_call_result(&c, fcinfo);
	loyalty_call_end(&c);
	PG_RETURN_DATUM(result);
}

/* the latest document of the customer's time in the household */
static TimestampTz
latest_document(LoyaltyCall *c)
{
	Datum		ids = loyalty_int8_array(c->ids, c->nids);
	bool		isnull;
	Datum		latest;

	(void) loyalty_run(&plan_latest, &ids, NULL);
	latest = loyalty_spi_datum(0, 1, &isnull);
	SPI_freetuptable(SPI_tuptable);
	return isnull ? DT_NOBEGIN : DatumGetTimestampTz(latest);
}

/*
 * leave_household(program, customer, key, at)
 *	-> (points, value, balance, available) of the customer's own account
 *
 * What he brought along, and what he earned since, stays with the household.
 */
Datum
loyalty_leave_household(PG_FUNCTION_ARGS)
{
	char	   *customer = loyalty_required_text(fcinfo, 1, "customer");
	LoyaltyCall c;
	Datum		result;

	loyalty_call_begin(&c, "leave_household", fcinfo, 3);
	c.key = loyalty_key_argument(fcinfo, 2);
	loyalty_call_lock(&c, customer, NULL);
	if (!loyalty_call_answered(&c))
	{
		LoyaltyMember *household = c.member;
		LoyaltyMember *former;
		int64		id;
		int			found;

		if (c.nids == 1)
			ereport(ERROR,
					(errcode(ERRCODE_LOYALTY_STATE),
					 errmsg("customer \"%s\" is in no household", customer),
					 errdetail("His account is his own."),
					 errhint("loyalty.merge_customers() lets him share another customer's.")));
		if (latest_document(&c) >= c.at)
			ereport(ERROR,
					(errcode(ERRCODE_LOYALTY_STATE),
					 errmsg("the household of customer \"%s\" has documents of a later time", customer),
					 errdetail("The latest is of %s.", timestamptz_to_str(latest_document(&c))),
					 errhint("Leave it at an instant after that.")));
		former = loyalty_lock_in_order(&c.ids[0], NULL, 1, &found);
		former->left_at = c.at;
		former->dirty = household->dirty = true;
		loyalty_store_members(&former, 1);
		/* who has an older snapshot must not think that nothing happened */
		loyalty_store_members(&household, 1);
		id = loyalty_enrol_customer(c.program, customer, loyalty_program_date(c.program, c.at));
		c.member = loyalty_lock_in_order(&id, NULL, 1, &found);
		c.other_id = household->id;
		loyalty_call_store(&c);
	}
	result = loyalty_call_result(&c, fcinfo);
	loyalty_call_end(&c);
	PG_RETURN_DATUM(result);
}
