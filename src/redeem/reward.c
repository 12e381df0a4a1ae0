/*
 * reward.c
 *	  What the SQL functions on rewards and vouchers need of the engine: the
 *	  member's lock, and the points a reward costs.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "errors.h"
#include "redeem/redeem.h"

PG_FUNCTION_INFO_V1(loyalty_lock_account);
PG_FUNCTION_INFO_V1(loyalty_draw_reward);
PG_FUNCTION_INFO_V1(loyalty_cancel_reward_points);

/*
 * lock_account(program, customer, at) -> bigint: locks the member who has the
 * customer's points until the end of the transaction
 */
Datum
loyalty_lock_account(PG_FUNCTION_ARGS)
{
	char	   *customer = loyalty_required_text(fcinfo, 1, "customer");
	LoyaltyCall c;
	int64		id;

	loyalty_call_begin(&c, "lock_account", fcinfo, 2);
	loyalty_call_lock(&c, customer, NULL);
	id = c.member->id;
	loyalty_call_end(&c);
	PG_RETURN_INT64(id);
}

/*
 * draw_reward(program, customer, points, key, reward, units, value, source, doc_key, at)
 *	-> (points, value, balance, available)
 *
 * The points that units of a reward cost; value is the money it pays.
 */
Datum
loyalty_draw_reward(PG_FUNCTION_ARGS)
{
	char	   *customer = loyalty_required_text(fcinfo, 1, "customer");
	Points		points = loyalty_points_argument(fcinfo, 2, "points");
	LoyaltyCall c;
	LoyaltySource *source;
	char	   *doc_key;
	Datum		result;

	loyalty_call_begin(&c, "redeem_reward", fcinfo, 9);
	c.key = loyalty_key_argument(fcinfo, 3);
	loyalty_call_text(&c, "reward", fcinfo, 4);
	loyalty_call_argument(&c, "units", psprintf("%d", PG_GETARG_INT32(5)), false);
	source = loyalty_document_argument(&c, fcinfo, 7, 8, &doc_key);
	loyalty_call_lock(&c, customer, NULL);
	if (!loyalty_call_answered(&c))
	{
		loyalty_check_available(&c, points);
		loyalty_redeem_points(&c, c.key, REDEMPTION_REWARD, points,
							  loyalty_num_checked(PG_GETARG_NUMERIC(6), "value"), source, doc_key);
	}
	result = loyalty_call_result(&c, fcinfo);
	loyalty_call_end(&c);
	PG_RETURN_DATUM(result);
}

/*
 * cancel_reward_points(program, customer, key, at) -> (points, value, balance, available)
 */
Datum
loyalty_cancel_reward_points(PG_FUNCTION_ARGS)
{
	return loyalty_cancel(fcinfo, REDEMPTION_REWARD);
}
