/*
 * redeem.c
 *	  SQL functions redeem() and cancel_redemption().
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "errors.h"
#include "redeem/redeem.h"

PG_FUNCTION_INFO_V1(loyalty_redeem);
PG_FUNCTION_INFO_V1(loyalty_cancel_redemption);

/*
 * The source whose document two arguments name, and the document's key; NULL
 * for none.
 */
LoyaltySource *
loyalty_document_argument(LoyaltyCall *c, FunctionCallInfo fcinfo, int source, int key, char **doc_key)
{
	LoyaltySource *s;

	*doc_key = NULL;
	if (PG_ARGISNULL(source) != PG_ARGISNULL(key))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source and doc_key go together")));
	if (PG_ARGISNULL(source))
		return NULL;
	s = loyalty_source_by_name(text_to_cstring(PG_GETARG_TEXT_PP(source)));
	if (s->program != c->program)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source \"%s\" is not attached to programme \"%s\"", s->name, c->program->name),
				 errhint("loyalty.status() lists the sources.")));
	*doc_key = loyalty_canonical_key(s, text_to_cstring(PG_GETARG_TEXT_PP(key)));
	loyalty_call_argument(c, "source", s->name, true);
	loyalty_call_argument(c, "doc_key", *doc_key, true);
	return s;
}

/*
 * Redeem points that may be redeemed, and answer the call with that.  The
 * document is evaluated at the end of the transaction, so that what it earns
 * leaves out what points paid.
 */
void
loyalty_redeem_points(LoyaltyCall *c, const char *key, LoyaltyRedemptionKind kind, Points points, Numeric value,
					  LoyaltySource *source, const char *doc_key)
{
	LoyaltyEntry cause = {0};
	LoyaltyRedemption *r = loyalty_new_redemption(c->member->id, key, kind, value,
												  source != NULL ? source->id : 0, doc_key, c->at);

	c->answer.points = points;
	c->answer.value = value;
	cause.at = c->at;
	cause.source_id = r->source_id;
	cause.doc_key = r->doc_key;
	loyalty_book_redemption(c->member, r, points, 0, &cause, c->at, c->now);
	loyalty_call_store(c);
	if (source != NULL && source->attached)
		loyalty_touch(source->id, doc_key, TOUCH_LINE, NULL, NULL, 0);
}

/*
 * redeem(program, customer, points, key, source, doc_key, amount, lines, at)
 *	-> (points, value, balance, available)
 *
 * points NULL: as many as the policy allows.
 */
Datum
loyalty_redeem(PG_FUNCTION_ARGS)
{
	char	   *customer = loyalty_required_text(fcinfo, 1, "customer");
	LoyaltyCall c;
	LoyaltySource *source;
	char	   *doc_key;
	LoyaltyOrder order;
	Points		points = PG_ARGISNULL(2) ? 0 : loyalty_points_argument(fcinfo, 2, "points");
	Datum		result;

	loyalty_call_begin(&c, "redeem", fcinfo, 8);
	c.key = loyalty_key_argument(fcinfo, 3);
	if (!PG_ARGISNULL(2) && points <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("points must be above 0")));
	loyalty_call_numeric(&c, "points", fcinfo, 2);
	source = loyalty_document_argument(&c, fcinfo, 4, 5, &doc_key);
	loyalty_call_numeric(&c, "amount", fcinfo, 6);
	if (!PG_ARGISNULL(7))
		loyalty_call_argument(&c, "lines", JsonbToCString(NULL, &PG_GETARG_JSONB_P(7)->root, 0), false);

	order = loyalty_order(fcinfo, 6, 7, c.program);
	loyalty_call_lock(&c, customer, NULL);
	if (!loyalty_call_answered(&c))
	{
		if (PG_ARGISNULL(2))
		{
			const char *limited_by;
			Numeric		value;

			points = loyalty_quote(c.program, c.member, loyalty_available(c.member, c.at), &order, c.at,
								   &value, &limited_by);
			if (points == 0)
				ereport(ERROR,
						(errcode(strcmp(limited_by, "available") == 0 ? ERRCODE_LOYALTY_POINTS : ERRCODE_LOYALTY_LIMIT),
						 errmsg("no points can be redeemed"),
						 errdetail("What is possible is limited by %s.", limited_by),
						 errhint("loyalty.quote_redemption() says what is possible.")));
		}
		loyalty_redeem_points(&c, c.key, REDEMPTION_POINTS, points, loyalty_check_limits(&c, points, &order), source, doc_key);
	}
	result = loyalty_call_result(&c, fcinfo);
	loyalty_call_end(&c);
	return result;
}

/*
 * (program, customer, key, at) -> (points, value, balance, available)
 *
 * key is the redemption's.  Everything that has not come back yet does; what
 * was cancelled already stays as it is and answers the same.
 */
Datum
loyalty_cancel(FunctionCallInfo fcinfo, LoyaltyRedemptionKind kind)
{
	char	   *customer = loyalty_required_text(fcinfo, 1, "customer");
	char	   *key = loyalty_key_argument(fcinfo, 2);
	LoyaltyCall c;
	Datum		result;

	loyalty_call_begin(&c, "cancel_redemption", fcinfo, 3);
	c.key = psprintf("cancel:%s", key);
	loyalty_call_argument(&c, "key", key, true);
	loyalty_call_lock(&c, customer, NULL);
	if (!loyalty_call_answered(&c))
	{
		LoyaltyRedemption *r = loyalty_find_redemption(c.ids, c.nids, key);
		LoyaltyEntry cause = {0};
		LoyaltyMember *owner = c.member;
		int			found;

		if (r != NULL && r->kind != kind && r->kind == REDEMPTION_REWARD)
			ereport(ERROR,
					(errcode(ERRCODE_LOYALTY_STATE),
					 errmsg("redemption \"%s\" of customer \"%s\" is a reward", key, customer),
					 errhint("loyalty.cancel_reward() gives it back.")));
		if (r == NULL || r->kind != kind)
			ereport(ERROR,
					(errcode(ERRCODE_LOYALTY_UNKNOWN),
					 errmsg("customer \"%s\" has no redemption \"%s\"", customer, key),
					 errhint("loyalty.redemption lists what was redeemed.")));
		cause.at = c.at;
		cause.source_id = r->source_id;
		cause.doc_key = r->doc_key;
		c.answer.points = r->points - r->restored;
		c.answer.value = r->value;
		r->is_cancelled = true;
		if (r->member_id != c.member->id)
			owner = loyalty_lock_in_order(&r->member_id, NULL, 1, &found);
		loyalty_book_redemption(owner, r, r->points, r->points, &cause, c.at, c.now);
		if (owner != c.member)
		{
			/* it was redeemed before the merge */
			loyalty_sweep(owner, c.member, c.at, c.now);
			loyalty_store_flush();
			loyalty_store_members(&owner, 1);
		}
		loyalty_call_store(&c);
		if (r->source_id != 0)
			loyalty_touch(r->source_id, r->doc_key, TOUCH_LINE, NULL, NULL, 0);
	}
	result = loyalty_call_result(&c, fcinfo);
	loyalty_call_end(&c);
	return result;
}

/*
 * cancel_redemption(program, customer, key, at) -> (points, value, balance, available)
 */
Datum
loyalty_cancel_redemption(PG_FUNCTION_ARGS)
{
	return loyalty_cancel(fcinfo, REDEMPTION_POINTS);
}
