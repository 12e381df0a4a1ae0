/*
 * extend.c
 *	  Staff lets points last longer, or gives back what expired.
 *
 * Points that are still valid keep their lot and get another day.  What has
 * expired stays expired, on that day and for finance; it is given anew, once.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/date.h"

#include "errors.h"
#include "redeem/redeem.h"
#include "upkeep/upkeep.h"

PG_FUNCTION_INFO_V1(loyalty_extend_points);
PG_FUNCTION_INFO_V1(loyalty_reinstate_points);

/* what is valid on a day and would expire before another one, and not after a third */
static LoyaltyPlan plan_extendable = {
	.sql = "SELECT l.seq, l.remaining + l.expired FROM loyalty.stored_lot l"
	" WHERE l.member_id = $1 AND l.points > 0 AND (l.is_open OR l.expired > 0)"
	" AND l.expires_on >= $2 AND l.expires_on < $3 AND l.expires_on <= $4 ORDER BY l.expires_on, l.seq",
	.nparams = 4, .types = {INT8OID, DATEOID, DATEOID, DATEOID}
};

/* what expired since a day, and before another; written down, and not given anew yet */
static LoyaltyPlan plan_reinstate = {
	.sql = "WITH lot AS MATERIALIZED (SELECT l.seq, l.is_open, l.expires_on, l.expired,"
	" 1 + COALESCE((SELECT pg_catalog.max(c.n) FROM loyalty.lot_change c WHERE c.member_id = $1 AND c.lot_seq = l.seq), 0) AS n"
	" FROM loyalty.stored_lot l WHERE l.member_id = $1 AND l.expired > 0 AND l.expires_on >= $2 AND l.expires_on < $3),"
	" lots AS (UPDATE loyalty.stored_lot l SET expired = 0 FROM lot x"
	" WHERE l.member_id = $1 AND l.is_open = x.is_open AND l.expires_on = x.expires_on AND l.seq = x.seq),"
	" changes AS (INSERT INTO loyalty.lot_change (member_id, lot_seq, n, kind, expires_on, points, key, changed_at)"
	" SELECT $1, x.seq, x.n, 'reinstate', x.expires_on, x.expired, $4, $5 FROM lot x)"
	" SELECT COALESCE(pg_catalog.sum(x.expired), 0) FROM lot x",
	.nparams = 5, .types = {INT8OID, DATEOID, DATEOID, TEXTOID, TIMESTAMPTZOID}
};

static DateADT
date_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s cannot be NULL", name)));
	return PG_GETARG_DATEADT(n);
}

static void
note_date(LoyaltyCall *c, const char *name, DateADT date)
{
	loyalty_call_argument(c, name, DATE_IS_NOEND(date) ? "infinity" : DATE_IS_NOBEGIN(date) ? "-infinity" :
						  psprintf("%d", date + POSTGRES_EPOCH_JDATE), true);
}

/* a call with (program, customer, .., until date, reason, key, .., at): until is not over yet */
static void
begin(LoyaltyCall *c, const char *kind, FunctionCallInfo fcinfo, int until, int at)
{
	char	   *reason;

	loyalty_call_begin(c, kind, fcinfo, at);
	if (date_argument(fcinfo, until, "until") < loyalty_program_date(c->program, c->at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("until has passed already")));
	reason = loyalty_required_text(fcinfo, until + 1, "reason");
	loyalty_check_reason(reason);
	c->key = loyalty_key_argument(fcinfo, until + 2);
	note_date(c, "until", PG_GETARG_DATEADT(until));
	loyalty_call_argument(c, "reason", reason, true);
}

/*
 * extend_points(program, customer, until date, reason, key, expiring_by date, at)
 *	-> (points, value, balance, available)
 */
Datum
loyalty_extend_points(PG_FUNCTION_ARGS)
{
	char	   *customer = loyalty_required_text(fcinfo, 1, "customer");
	DateADT		by = PG_ARGISNULL(5) ? DATEVAL_NOEND : PG_GETARG_DATEADT(5);
	LoyaltyCall c;
	Datum		result;

	begin(&c, "extend_points", fcinfo, 2, 6);
	if (!PG_ARGISNULL(5))
		note_date(&c, "expiring_by", by);
	loyalty_call_lock(&c, customer, NULL);
	if (!loyalty_call_answered(&c))
	{
		LoyaltyPosting p;
		DateADT		until = PG_GETARG_DATEADT(2);
		Datum		values[4];
		int64	   *seqs;
		Datum	   *dates;
		Points		valid;
		Points		points = 0;
		int			n;
		bool		isnull;

		loyalty_posting_open(&p, c.member, c.at);
		valid = c.member->balance + c.member->debt - loyalty_expired(c.member, c.at);
		values[0] = Int64GetDatum(c.member->id);
		values[1] = DateADTGetDatum(p.today);
		values[2] = DateADTGetDatum(until);
		values[3] = DateADTGetDatum(by);
		n = loyalty_run(&plan_extendable, values, NULL);
		seqs = palloc(sizeof(int64) * Max(n, 1));
		dates = palloc(sizeof(Datum) * Max(n, 1));
		for (int i = 0; i < n; i++)
		{
			seqs[i] = DatumGetInt64(loyalty_spi_datum(i, 1, &isnull));
			points += loyalty_points_from_datum(loyalty_spi_datum(i, 2, &isnull));
			dates[i] = DateADTGetDatum(until);
		}
		SPI_freetuptable(SPI_tuptable);
		/* what lapses without activity is extended as a whole, unless it has lapsed */
		if (c.member->lapses_on >= p.today && c.member->lapses_on < until && c.member->lapses_on <= by)
		{
			points = valid;
			c.member->lapses_on = until;
		}
		if (points == 0)
			ereport(ERROR,
					(errcode(ERRCODE_LOYALTY_POINTS),
					 errmsg("customer \"%s\" has no points to extend", customer),
					 errdetail("None that are valid now expire before that day."),
					 errhint("loyalty.reinstate_points() gives back what has expired.")));
		loyalty_check_clerk(&c, points);
		loyalty_redate_lots(c.member, seqs, dates, n, "extend", c.key, c.at, c.now);
		c.answer.points = points;
		loyalty_call_store(&c);
	}
	result = loyalty_call_result(&c, fcinfo);
	loyalty_call_end(&c);
	PG_RETURN_DATUM(result);
}

/*
 * reinstate_points(program, customer, since date, until date, reason, key, at)
 *	-> (points, value, balance, available)
 */
Datum
loyalty_reinstate_points(PG_FUNCTION_ARGS)
{
	char	   *customer = loyalty_required_text(fcinfo, 1, "customer");
	DateADT		since = date_argument(fcinfo, 2, "since");
	LoyaltyCall c;
	Datum		result;

	begin(&c, "reinstate_points", fcinfo, 3, 6);
	note_date(&c, "since", since);
	loyalty_call_lock(&c, customer, NULL);
	if (!loyalty_call_answered(&c))
	{
		LoyaltyPosting p;
		LoyaltyEntry entry = {0};
		Datum		values[5];
		bool		isnull;

		/* so that it is the same whether upkeep has run or not */
		(void) loyalty_write_expiry(&c.member, 1, c.at);
		*c.member = *loyalty_read_member(c.member->id);
		loyalty_posting_open(&p, c.member, c.at);
		values[0] = Int64GetDatum(c.member->id);
		values[1] = DateADTGetDatum(since);
		values[2] = DateADTGetDatum(p.today);
		values[3] = CStringGetTextDatum(c.key);
		values[4] = TimestampTzGetDatum(c.now);
		(void) loyalty_write(&plan_reinstate, values, NULL);
		c.answer.points = loyalty_points_from_datum(loyalty_spi_datum(0, 1, &isnull));
		SPI_freetuptable(SPI_tuptable);
		if (c.answer.points == 0)
			ereport(ERROR,
					(errcode(ERRCODE_LOYALTY_POINTS),
					 errmsg("customer \"%s\" has no points to reinstate", customer),
					 errdetail("None have expired since that day that were not reinstated already."),
					 errhint("loyalty.lot_change shows what was reinstated.")));
		loyalty_check_clerk(&c, c.answer.points);
		(void) loyalty_new_lot(&p, PG_GETARG_DATEADT(3), DATEVAL_NOBEGIN, c.answer.points);
		loyalty_repay(&p);
		entry.kind = "adjust";
		entry.points = c.answer.points;
		entry.at = c.at;
		entry.key = c.key;
		loyalty_posting_end(&p, &entry, c.now);
		loyalty_call_store(&c);
	}
	result = loyalty_call_result(&c, fcinfo);
	loyalty_call_end(&c);
	PG_RETURN_DATUM(result);
}
