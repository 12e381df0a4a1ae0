/*
 * expire.c
 *	  Writing down that points have expired.
 *
 * They have, whether or not it is written down; this closes their lots, so
 * that nobody has to leave them out of a sum any more.  It is done for many
 * members at a time, by one statement: an entry for each member and day on
 * which some of his points were valid for the last time, dated at the first
 * instant after that day.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#include "config.h"
#include "ledger/ledger.h"
#include "outbox/outbox.h"
#include "upkeep/upkeep.h"

PG_FUNCTION_INFO_V1(loyalty_expire_points);

/*
 * Members some of whose points may have expired by then, of all programmes or
 * one; what day that is, is worked out once for a programme.
 */
static LoyaltyPlan plan_due = {
	.sql = "WITH p AS MATERIALIZED (SELECT p.program_id, x.points_until, ($1 AT TIME ZONE p.time_zone)::pg_catalog.date AS day"
	" FROM loyalty.program p LEFT JOIN loyalty.expiry_policy x ON x.program_id = p.program_id"
	" WHERE $4 IS NULL OR p.program_id = $4)"
	" SELECT m.member_id FROM loyalty.member m JOIN p ON p.program_id = m.program_id WHERE m.member_id > $2"
	" AND (m.next_expiry < p.day OR (LEAST(m.lapses_on, p.points_until) < p.day AND m.balance + m.debt > 0))"
	" ORDER BY m.member_id LIMIT $3",
	.nparams = 4, .types = {TIMESTAMPTZOID, INT8OID, INT8OID, INT4OID}
};

static LoyaltyPlan plan_expire = {
	.sql = "WITH due AS MATERIALIZED (SELECT k.member_id, l.expires_on, l.seq, l.remaining,"
	" k.last_seq + pg_catalog.dense_rank() OVER (PARTITION BY k.member_id ORDER BY l.expires_on) AS entry_seq, k.zone"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))"
	" AS k (member_id, day, last_seq, zone) CROSS JOIN LATERAL (SELECT * FROM loyalty.stored_lot x"
	" WHERE x.member_id = k.member_id AND x.is_open AND x.expires_on < k.day AND x.remaining > 0 OFFSET 0) l),"
	" lots AS (UPDATE loyalty.stored_lot l SET remaining = 0, is_open = false, expired = l.expired + l.remaining FROM due d"
	" WHERE l.member_id = d.member_id AND l.is_open AND l.expires_on = d.expires_on AND l.seq = d.seq),"
	" entries AS (INSERT INTO loyalty.entry (member_id, seq, kind, points, occurred_at, recorded_at)"
	" SELECT d.member_id, d.entry_seq, 'expire', - pg_catalog.sum(d.remaining),"
	" (d.expires_on + 1)::pg_catalog.timestamp AT TIME ZONE d.zone, $5"
	" FROM due d GROUP BY d.member_id, d.entry_seq, d.expires_on, d.zone),"
	" allocations AS (INSERT INTO loyalty.allocation (member_id, entry_seq, lot_seq, points)"
	" SELECT d.member_id, d.entry_seq, d.seq, - d.remaining FROM due d),"
	" sums AS (SELECT d.member_id, pg_catalog.sum(d.remaining) AS points, pg_catalog.max(d.entry_seq) AS last_seq,"
	" pg_catalog.max(d.expires_on) AS through, pg_catalog.count(*) AS lots FROM due d GROUP BY d.member_id),"
	" members AS (UPDATE loyalty.member m SET balance = m.balance - COALESCE(s.points, 0),"
	" last_seq = COALESCE(s.last_seq, m.last_seq), lots_through = COALESCE(s.last_seq, m.last_seq),"
	" expired_through = NULLIF(GREATEST(m.expired_through, s.through, k.through), '-infinity'),"
	" next_expiry = (SELECT pg_catalog.min(l.expires_on) FROM loyalty.stored_lot l WHERE l.member_id = m.member_id AND l.is_open"
	" AND l.expires_on >= k.day AND l.expires_on < 'infinity' AND l.points > 0)"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($6)) AS k (member_id, day, through)"
	" LEFT JOIN sums s ON s.member_id = k.member_id WHERE m.member_id = k.member_id)"
	" SELECT COALESCE(pg_catalog.sum(s.lots), 0)::pg_catalog.int8 FROM sums s",
	.nparams = 6, .types = {INT8ARRAYOID, DATEARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID, DATEARRAYOID}
};

/*
 * Write down, for members who are locked and whose rows are as stored, what
 * had expired before the day that each programme had at that instant.  Returns
 * the number of lots.
 */
int64
loyalty_write_expiry(LoyaltyMember **members, int n, TimestampTz as_of)
{
	int64	   *ids = palloc(sizeof(int64) * Max(n, 1));
	int64	   *seqs = palloc(sizeof(int64) * Max(n, 1));
	Datum	   *days = palloc(sizeof(Datum) * Max(n, 1));
	Datum	   *through = palloc(sizeof(Datum) * Max(n, 1));
	char	  **zones = palloc(sizeof(char *) * Max(n, 1));
	Datum		values[6];
	bool		isnull;
	int64		lots;

	loyalty_store_lots(members, n);
	for (int i = 0; i < n; i++)
	{
		DateADT		day = loyalty_program_date(members[i]->program, as_of);

		if (loyalty_has_lapsed(members[i], day))
			loyalty_lapse(members[i]);
		ids[i] = members[i]->id;
		seqs[i] = members[i]->last_seq;
		days[i] = DateADTGetDatum(day);
		through[i] = DateADTGetDatum(members[i]->expired_through);
		zones[i] = members[i]->program->time_zone;
	}
	values[0] = loyalty_int8_array(ids, n);
	values[1] = PointerGetDatum(construct_array(days, n, DATEOID, 4, true, TYPALIGN_INT));
	values[2] = loyalty_int8_array(seqs, n);
	values[3] = loyalty_text_array(zones, n);
	values[4] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[5] = PointerGetDatum(construct_array(through, n, DATEOID, 4, true, TYPALIGN_INT));
	(void) loyalty_write(&plan_expire, values, NULL);
	lots = DatumGetInt64(loyalty_spi_datum(0, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	loyalty_tell_expired(members, seqs, n);
	return lots;
}

/*
 * expire_points(as_of timestamptz, after bigint, batch integer, program text)
 *	-> (last bigint, done bigint)
 *
 * A step of upkeep: up to batch members beyond after, of one programme or all.
 * last is NULL when none was due; done counts lots.  An unknown programme is an
 * error.
 */
Datum
loyalty_expire_points(PG_FUNCTION_ARGS)
{
	LoyaltyUpkeepStep step = loyalty_step_begin(fcinfo, "expire_points");
	LoyaltyWork work;
	LoyaltyMember *found;
	LoyaltyMember **members;
	Datum		values[4];
	char		nulls[] = "   n";
	int64	   *ids;
	int			n;
	int			nfound;
	int64		last = 0;
	int64		done = 0;

	loyalty_work_begin(&work);
	values[0] = TimestampTzGetDatum(step.as_of);
	values[1] = Int64GetDatum(step.after);
	values[2] = Int64GetDatum(step.batch);
	if (!PG_ARGISNULL(3))
	{
		values[3] = Int32GetDatum(loyalty_program_by_name(text_to_cstring(PG_GETARG_TEXT_PP(3)))->id);
		nulls[3] = ' ';
	}
	else
		values[3] = (Datum) 0;
	n = loyalty_spi_int8s(loyalty_run(&plan_due, values, nulls), &ids);
	if (n > 0)
	{
		last = ids[n - 1];
		found = loyalty_lock_in_order(ids, NULL, n, &nfound);
		members = palloc(sizeof(LoyaltyMember *) * Max(nfound, 1));
		for (int i = 0; i < nfound; i++)
			members[i] = &found[i];
		done = loyalty_write_expiry(members, nfound, step.as_of);
	}
	loyalty_work_end(&work);
	PG_RETURN_DATUM(loyalty_step_result(fcinfo, last, done));
}
