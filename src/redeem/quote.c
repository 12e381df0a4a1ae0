/*
 * quote.c
 *	  What the programme lets a member redeem for an order.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "config.h"
#include "errors.h"
#include "redeem/redeem.h"

PG_FUNCTION_INFO_V1(loyalty_quote_redemption);

/* what was redeemed and not given back in the period that an instant is in */
static LoyaltyPlan plan_used = {
	.sql = "SELECT COALESCE(pg_catalog.sum(r.points - r.restored), 0) FROM loyalty.redemption r"
	" WHERE r.member_id = $1 AND r.kind <> 'paid' AND r.occurred_at >= pg_catalog.date_trunc($2, $3, $4)"
	" AND pg_catalog.date_trunc($2, r.occurred_at, $4) = pg_catalog.date_trunc($2, $3, $4)",
	.nparams = 4, .types = {INT8OID, TEXTOID, TIMESTAMPTZOID, TEXTOID}
};

/* is a category, or one above it, excluded? */
static bool
is_excluded_category(LoyaltyProgram *program, const char *category)
{
	for (const char *c = category; c != NULL; c = loyalty_category_parent(program, c))
	{
		ListCell   *lc;

		foreach(lc, program->policy->excluded)
			if (strcmp(lfirst(lc), c) == 0)
				return true;
	}
	return false;
}

/* does a line's category, one or an array of them, name one that is excluded? */
static bool
is_excluded(LoyaltyProgram *program, Jsonb *category)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;

	if (category == NULL || program->policy->excluded == NIL)
		return false;
	it = JsonbIteratorInit(&category->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
		if (token == WJB_ELEM && v.type == jbvString &&
			is_excluded_category(program, pnstrdup(v.val.string.val, v.val.string.len)))
			return true;
	return false;
}

/*
 * The order that two arguments describe: its amount (by default the lines'
 * sum), and lines as [{key, product, category, qty, amount}].
 */
LoyaltyOrder
loyalty_order(FunctionCallInfo fcinfo, int amount, int lines, LoyaltyProgram *program)
{
	LoyaltyPolicy *policy = loyalty_policy(program);
	LoyaltyOrder order = {NULL, NULL};
	LoyaltyLine *line = NULL;
	Numeric		sum = loyalty_num_int(0);
	Numeric		excluded = loyalty_num_int(0);
	Numeric		part;
	int			n = 0;

	if (!PG_ARGISNULL(lines))
		line = loyalty_lines_from_jsonb(PG_GETARG_JSONB_P(lines), &n);
	for (int i = 0; i < n; i++)
	{
		if (line[i].amount == NULL)
			continue;
		(void) loyalty_num_checked(line[i].amount, "amount");
		sum = loyalty_num_add(sum, line[i].amount);
		if (is_excluded(program, line[i].category))
			excluded = loyalty_num_add(excluded, line[i].amount);
	}
	if (!PG_ARGISNULL(amount))
		order.amount = loyalty_num_checked(PG_GETARG_NUMERIC(amount), "amount");
	else if (n > 0)
		order.amount = sum;
	if (order.amount == NULL)
		return order;
	if (loyalty_num_sign(order.amount) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the amount of an order cannot be below 0")));

	order.payable = loyalty_num_sub(order.amount, excluded);
	part = DatumGetNumeric(DirectFunctionCall2(numeric_div,
											   NumericGetDatum(loyalty_num_mul(order.amount, policy->max_percent)),
											   NumericGetDatum(loyalty_num_int(100))));
	if (loyalty_num_cmp(part, order.payable) < 0)
		order.payable = part;
	if (loyalty_num_sign(order.payable) < 0)
		order.payable = loyalty_num_int(0);
	/* what is paid is money: no more decimals than that has */
	order.payable = loyalty_num_trim(DatumGetNumeric(DirectFunctionCall2(numeric_trunc,
																		 NumericGetDatum(order.payable),
																		 Int32GetDatum(policy->value_scale))));
	return order;
}

/* how many points pay so much, as multiples of unit */
static Points
points_for(LoyaltyPolicy *policy, Numeric money, Points unit, LoyaltyRounding rounding)
{
	return loyalty_points_round(loyalty_rational(money, policy->point_value), unit, rounding, false);
}

/* what points pay: cut to the decimals of money, and no more than is to be paid */
static Numeric
value_of(LoyaltyPolicy *policy, Points points, LoyaltyOrder *order)
{
	Numeric		value = loyalty_num_mul(loyalty_points_numeric(points), policy->point_value);

	value = DatumGetNumeric(DirectFunctionCall2(numeric_trunc, NumericGetDatum(value), Int32GetDatum(policy->value_scale)));
	if (order->amount != NULL && loyalty_num_cmp(value, order->payable) > 0)
		value = order->payable;
	return loyalty_num_trim(value);
}

/*
 * The part of a value that so many of all its points have.
 */
Numeric
loyalty_share_of(LoyaltyProgram *program, Numeric value, Points points, Points all)
{
	Numeric		share;

	if (points == all)
		return value;
	share = loyalty_rational_numeric(loyalty_rational(loyalty_num_mul(value, loyalty_num_int(points)),
													  loyalty_num_int(all)), 12);
	return loyalty_num_trim(DatumGetNumeric(DirectFunctionCall2(numeric_trunc, NumericGetDatum(share),
																Int32GetDatum(loyalty_policy(program)->value_scale))));
}

/* what the member may still redeem in the period that at is in */
static Points
left_in_period(LoyaltyProgram *program, LoyaltyMember *member, TimestampTz at)
{
	LoyaltyPolicy *policy = program->policy;
	Points		used = 0;

	if (member != NULL)
	{
		Datum		values[4];
		bool		isnull;

		values[0] = Int64GetDatum(member->id);
		values[1] = CStringGetTextDatum(policy->period);
		values[2] = TimestampTzGetDatum(at);
		values[3] = CStringGetTextDatum(program->time_zone);
		(void) loyalty_run(&plan_used, values, NULL);
		used = loyalty_points_from_datum(loyalty_spi_datum(0, 1, &isnull));
		SPI_freetuptable(SPI_tuptable);
		used += loyalty_held(member, at);
	}
	return Max(policy->limit - used, 0);
}

/*
 * The most points that a member can redeem for an order, and their value.
 * limited_by says what keeps him from redeeming more: available, redeem_max,
 * limit_points, order, min_order, redeem_multiple or redeem_min.
 */
Points
loyalty_quote(LoyaltyProgram *program, LoyaltyMember *member, Points available, LoyaltyOrder *order,
			  TimestampTz at, Numeric *value, const char **limited_by)
{
	LoyaltyPolicy *policy = loyalty_policy(program);
	Points		most = available;
	Points		whole;

#define AT_MOST(x, why) \
	do { \
		Points		limit_ = (x); \
		if (limit_ < most) \
		{ \
			most = limit_; \
			*limited_by = (why); \
		} \
	} while (0)

	*limited_by = "available";
	if (policy->max > 0)
		AT_MOST(policy->max, "redeem_max");
	if (policy->limit > 0)
		AT_MOST(left_in_period(program, member, at), "limit_points");
	if (order->amount != NULL)
	{
		if (loyalty_num_cmp(order->amount, policy->min_order) < 0)
			AT_MOST(0, "min_order");
		if (policy->exact_rest)
		{
			Points		exact = points_for(policy, order->payable, 1, ROUND_UP);

			if (exact <= most && exact >= policy->min)
			{
				*limited_by = "order";
				*value = value_of(policy, exact, order);
				return exact;
			}
		}
		AT_MOST(points_for(policy, order->payable, policy->multiple, ROUND_DOWN), "order");
	}
	whole = most - most % policy->multiple;
	if (whole == 0)
		AT_MOST(0, "redeem_multiple");
	most = whole;
	if (most < policy->min)
		AT_MOST(0, "redeem_min");
#undef AT_MOST
	*value = value_of(policy, most, order);
	return most;
}

static void
refuse(const char *limit, const char *message, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOYALTY_LIMIT),
			 errmsg("%s", message),
			 errdetail("%s", detail),
			 errhint("The limit is redemption_policy.%s; loyalty.quote_redemption() says what is possible.", limit)));
}

#define TEXT_OF(points) loyalty_num_text(loyalty_num_trim(loyalty_points_numeric(points)))

/*
 * An error unless so many points can be spent.
 */
void
loyalty_check_available(LoyaltyCall *c, Points points)
{
	Points		available = loyalty_available(c->member, c->at);

	if (points > available)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_POINTS),
				 errmsg("not enough points"),
				 errdetail("%s points were asked for, %s are available.", TEXT_OF(points), TEXT_OF(available)),
				 errhint("loyalty.points() says what can be spent, and what cannot be spent yet.")));
}

/*
 * May the member redeem so many points for the order?  An error if not, else
 * their value.
 */
Numeric
loyalty_check_limits(LoyaltyCall *c, Points points, LoyaltyOrder *order)
{
	LoyaltyPolicy *policy = loyalty_policy(c->program);
	Points		left;
	bool		exact = false;

	loyalty_check_available(c, points);
	if (order->amount != NULL)
	{
		if (loyalty_num_cmp(order->amount, policy->min_order) < 0)
			refuse("min_order", "the order is too small to be paid with points",
				   psprintf("Its amount is %s, the least is %s.", loyalty_num_text(order->amount),
							loyalty_num_text(policy->min_order)));
		exact = policy->exact_rest && points == points_for(policy, order->payable, 1, ROUND_UP);
		left = points_for(policy, order->payable, policy->multiple, ROUND_DOWN);
		if (points > left && !exact)
			refuse("max_percent", "so many points cannot be used for the order",
				   psprintf("%s of its amount %s can be paid with points, which takes %s.",
							loyalty_num_text(order->payable), loyalty_num_text(order->amount), TEXT_OF(left)));
	}
	if (points < policy->min)
		refuse("redeem_min", "too few points to be redeemed",
			   psprintf("%s points were asked for, the least is %s.", TEXT_OF(points), TEXT_OF(policy->min)));
	if (policy->max > 0 && points > policy->max)
		refuse("redeem_max", "too many points to be redeemed at once",
			   psprintf("%s points were asked for, the most is %s.", TEXT_OF(points), TEXT_OF(policy->max)));
	if (!exact && points % policy->multiple != 0)
		refuse("redeem_multiple", "only whole multiples of points can be redeemed",
			   psprintf("%s is not a multiple of %s.", TEXT_OF(points), TEXT_OF(policy->multiple)));
	if (policy->limit > 0 && points > (left = left_in_period(c->program, c->member, c->at)))
		refuse("limit_points", psprintf("too many points to be redeemed in one %s", policy->period),
			   psprintf("%s points were asked for, %s are left.", TEXT_OF(points), TEXT_OF(left)));
	return value_of(policy, points, order);
}

/*
 * quote_redemption(program, customer, amount, lines, at)
 *	-> (points, value, limited_by, available, payable)
 */
Datum
loyalty_quote_redemption(PG_FUNCTION_ARGS)
{
	char	   *name = loyalty_required_text(fcinfo, 0, "program");
	MemoryContext context = CurrentMemoryContext;
	LoyaltyProgram *program;
	LoyaltyIdentity save;
	LoyaltyOrder order;
	LoyaltyMember *m = NULL;
	TimestampTz at = PG_ARGISNULL(4) ? GetCurrentTimestamp() : PG_GETARG_TIMESTAMPTZ(4);
	int64		id;
	Points		available;
	Points		points;
	Numeric		value;
	const char *limited_by;
	TupleDesc	desc;
	Datum		values[5];
	bool		nulls[5] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	loyalty_config_pin();
	program = loyalty_program_by_name(name);
	order = loyalty_order(fcinfo, 2, 3, program);
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	if (!PG_ARGISNULL(1))
	{
		id = loyalty_find_member(program, text_to_cstring(PG_GETARG_TEXT_PP(1)));
		m = id == 0 ? NULL : loyalty_read_member(loyalty_account_of(id));
	}
	available = m == NULL ? 0 : loyalty_available(m, at);
	points = loyalty_quote(program, m, available, &order, at, &value, &limited_by);
	SPI_finish();
	MemoryContextSwitchTo(context);
	loyalty_resume(&save);
	loyalty_config_unpin();

	values[0] = PointsGetDatum(points);
	values[1] = NumericGetDatum(value);
	values[2] = CStringGetTextDatum(limited_by);
	values[3] = PointsGetDatum(available);
	nulls[4] = order.amount == NULL;
	values[4] = order.amount == NULL ? (Datum) 0 : NumericGetDatum(order.payable);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
