/*
 * lapse.c
 *	  Points that lapse: all that a member has, because he was not active for
 *	  too long or because the programme has ended.
 *
 * The member's row has the day through which his points are valid without
 * further activity.  That day counts by itself; his lots learn of it when the
 * next entry comes after it, or by upkeep.  From then on they are lots that
 * have expired like others, unless an activity becomes known that happened
 * before that day: then they never lapsed.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "config.h"
#include "ledger/ledger.h"

PG_FUNCTION_INFO_V1(loyalty_apply_lapse);

static LoyaltyPlan plan_lapse = {
	.sql = "WITH lapsed AS (UPDATE loyalty.stored_lot l SET expires_on = $2"
	" WHERE l.member_id = $1 AND l.expires_on > $2 AND l.points > 0 RETURNING l.seq)"
	" INSERT INTO loyalty.lot_change (member_id, lot_seq, n, kind, expires_on, changed_at)"
	" SELECT $1, l.seq, 1 + COALESCE((SELECT pg_catalog.max(c.n) FROM loyalty.lot_change c"
	" WHERE c.member_id = $1 AND c.lot_seq = l.seq), 0), 'lapse', $2, $3 FROM lapsed l",
	.nparams = 3, .types = {INT8OID, DATEOID, TIMESTAMPTZOID}
};

/* lots that lapsed on a day, and the day they had before */
static LoyaltyPlan plan_lapsed = {
	.sql = "SELECT l.seq, COALESCE((SELECT b.expires_on FROM loyalty.lot_change b"
	" WHERE b.member_id = $1 AND b.lot_seq = l.seq AND b.n = c.n - 1), e.expires_on)"
	" FROM loyalty.stored_lot l JOIN loyalty.entry e ON e.member_id = $1 AND e.seq = l.seq"
	" JOIN loyalty.lot_change c ON c.member_id = $1 AND c.lot_seq = l.seq AND c.kind = 'lapse' AND c.expires_on = $2"
	" AND NOT EXISTS (SELECT FROM loyalty.lot_change b WHERE b.member_id = $1 AND b.lot_seq = l.seq AND b.n > c.n)"
	" WHERE l.member_id = $1 AND l.expires_on = $2",
	.nparams = 2, .types = {INT8OID, DATEOID}
};

/* lots that were to expire earlier get another day; what was written down of them is undone */
static LoyaltyPlan plan_redate = {
	.sql = "WITH lot AS MATERIALIZED (SELECT l.seq, l.is_open, l.expires_on AS was, l.expired, k.expires_on,"
	" 1 + COALESCE((SELECT pg_catalog.max(c.n) FROM loyalty.lot_change c WHERE c.member_id = $1 AND c.lot_seq = l.seq), 0) AS n"
	" FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) AS k (seq, expires_on)"
	" JOIN loyalty.stored_lot l ON l.member_id = $1 AND l.seq = k.seq),"
	" lots AS (UPDATE loyalty.stored_lot l SET expires_on = x.expires_on, remaining = l.remaining + l.expired,"
	" is_open = l.remaining + l.expired <> 0, expired = 0 FROM lot x"
	" WHERE l.member_id = $1 AND l.is_open = x.is_open AND l.expires_on = x.was AND l.seq = x.seq),"
	" changes AS (INSERT INTO loyalty.lot_change (member_id, lot_seq, n, kind, expires_on, key, changed_at)"
	" SELECT $1, x.seq, x.n, $4, x.expires_on, $5, $8 FROM lot x),"
	" entries AS (INSERT INTO loyalty.entry (member_id, seq, kind, points, occurred_at, recorded_at)"
	" SELECT $1, $6, 'expire', pg_catalog.sum(x.expired), $7, $8 FROM lot x HAVING pg_catalog.sum(x.expired) > 0),"
	" allocations AS (INSERT INTO loyalty.allocation (member_id, entry_seq, lot_seq, points)"
	" SELECT $1, $6, x.seq, x.expired FROM lot x WHERE x.expired > 0)"
	" SELECT COALESCE(pg_catalog.sum(x.expired), 0) FROM lot x",
	.nparams = 8, .types = {INT8OID, INT8ARRAYOID, DATEARRAYOID, TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/* the last activity, or else the last points that came in */
#define LAPSES_ON \
	"(SELECT loyalty.expires_on(x.lapse_after, (COALESCE(pg_catalog.max(e.occurred_at) FILTER (WHERE e.kind = ANY (x.lapse_activities))," \
	" pg_catalog.max(e.occurred_at) FILTER (WHERE e.points > 0)) AT TIME ZONE p.time_zone)::pg_catalog.date)" \
	" FROM loyalty.entry e JOIN loyalty.program p ON p.program_id = $1 JOIN loyalty.expiry_policy x ON x.program_id = $1" \
	" WHERE e.member_id = m.member_id GROUP BY x.lapse_after, p.time_zone)"

/* in the order in which everybody locks members */
static LoyaltyPlan plan_lock_changed = {
	.sql = "SELECT m.member_id FROM loyalty.member m WHERE m.program_id = $1 AND m.last_seq > 0"
	" AND m.lapses_on IS DISTINCT FROM " LAPSES_ON " ORDER BY m.member_id FOR NO KEY UPDATE",
	.nparams = 1, .types = {INT4OID}
};

static LoyaltyPlan plan_apply = {
	.sql = "UPDATE loyalty.member m SET lapses_on = " LAPSES_ON " WHERE m.program_id = $1 AND m.last_seq > 0"
	" AND m.lapses_on IS DISTINCT FROM " LAPSES_ON,
	.nparams = 1, .types = {INT4OID}
};

/*
 * The last day on which the member's points are valid without further
 * activity: his own, or the programme's.
 */
DateADT
loyalty_lapse_day(LoyaltyMember *member)
{
	return Min(member->lapses_on, member->program->points_until);
}

/*
 * Have all points of the member lapsed on that day?  So have those that are
 * spent, and may come back.
 */
bool
loyalty_has_lapsed(LoyaltyMember *member, DateADT day)
{
	return loyalty_lapse_day(member) < day && member->last_seq > 0;
}

/*
 * Let the member's lots, all of them stored, end on the day on which his
 * points lapse.
 */
void
loyalty_lapse(LoyaltyMember *member)
{
	DateADT		day = loyalty_lapse_day(member);
	Datum		values[3];

	values[0] = Int64GetDatum(member->id);
	values[1] = DateADTGetDatum(day);
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	(void) loyalty_write(&plan_lapse, values, NULL);
	member->next_expiry = Min(member->next_expiry, day);
	/* a bound, and how revive() knows that there may be such lots, open or not */
	member->expired_through = Max(member->expired_through, day);
	member->dirty = true;
}

/*
 * Give lots of the member, all of them stored, another and later day.  Points
 * whose expiry was written down are there again, by an entry of that instant.
 */
void
loyalty_redate_lots(LoyaltyMember *member, int64 *seqs, Datum *dates, int n, const char *kind, const char *key,
					TimestampTz at, TimestampTz now)
{
	Datum		values[8];
	char		nulls[] = "        ";
	Points		points;
	bool		isnull;

	if (n == 0)
		return;
	values[0] = Int64GetDatum(member->id);
	values[1] = loyalty_int8_array(seqs, n);
	values[2] = PointerGetDatum(construct_array(dates, n, DATEOID, 4, true, TYPALIGN_INT));
	values[3] = CStringGetTextDatum(kind);
	values[4] = key == NULL ? (Datum) 0 : CStringGetTextDatum(key);
	nulls[4] = key == NULL ? 'n' : ' ';
	values[5] = Int64GetDatum(member->last_seq + 1);
	values[6] = TimestampTzGetDatum(at);
	values[7] = TimestampTzGetDatum(now);
	(void) loyalty_write(&plan_redate, values, nulls);
	points = loyalty_points_from_datum(loyalty_spi_datum(0, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	if (points > 0)
	{
		member->balance += points;
		member->last_seq++;
		member->lots_through = member->last_seq;
	}
	for (int i = 0; i < n; i++)
		member->next_expiry = Min(member->next_expiry, DatumGetDateADT(dates[i]));
	member->dirty = true;
}

/*
 * What lapsed on that day did not after all.
 */
static void
revive(LoyaltyMember *member, DateADT day, TimestampTz now)
{
	Datum		values[2];
	int64	   *seqs;
	Datum	   *dates;
	int			n;
	bool		isnull;

	loyalty_store_flush();
	if (member->lots_through < member->last_seq)
		loyalty_store_lots(&member, 1);
	values[0] = Int64GetDatum(member->id);
	values[1] = DateADTGetDatum(day);
	n = loyalty_run(&plan_lapsed, values, NULL);
	seqs = palloc(sizeof(int64) * Max(n, 1));
	dates = palloc(sizeof(Datum) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		seqs[i] = DatumGetInt64(loyalty_spi_datum(i, 1, &isnull));
		dates[i] = loyalty_spi_datum(i, 2, &isnull);
	}
	SPI_freetuptable(SPI_tuptable);
	loyalty_redate_lots(member, seqs, dates, n, "revive", NULL, loyalty_program_instant(member->program, day + 1), now);
}

/*
 * An entry that is an activity keeps the member's points alive; the first
 * points of a member, or the first after a lapse, start the clock anyway.
 */
void
loyalty_note_activity(LoyaltyMember *member, LoyaltyEntry *entry, TimestampTz now)
{
	LoyaltyProgram *program = member->program;
	DateADT		before = member->lapses_on;
	DateADT		day;
	DateADT		until;

	if (program->lapse.kind == EXPIRY_NEVER)
		return;
	day = loyalty_program_date(program, entry->at);
	if (!loyalty_is_activity(program, entry->kind) &&
		!(entry->points > 0 && (DATE_IS_NOEND(before) || before < day)))
		return;
	until = loyalty_expiry_date(&program->lapse, day);
	if (!DATE_IS_NOEND(before) && until <= before)
		return;
	member->lapses_on = until;
	if (day <= before && member->expired_through >= before)
		revive(member, before, now);
}

/*
 * Whoever takes lots in hand on a day before they lapsed finds them as they
 * were then, whether or not the lapse has been noted.
 */
void
loyalty_before_lapse(LoyaltyMember *member, DateADT today)
{
	DateADT		day = loyalty_lapse_day(member);

	if (!DATE_IS_NOEND(day) && today <= day && member->expired_through >= day)
		revive(member, day, GetCurrentTimestamp());
}

/*
 * apply_lapse(program text) -> bigint: members for whom the day changed
 */
Datum
loyalty_apply_lapse(PG_FUNCTION_ARGS)
{
	LoyaltyIdentity save;
	Datum		id;
	int64		n;

	loyalty_config_pin();
	id = Int32GetDatum(loyalty_program_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)))->id);
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	(void) loyalty_run(&plan_lock_changed, &id, NULL);
	n = loyalty_write(&plan_apply, &id, NULL);
	SPI_finish();
	loyalty_resume(&save);
	loyalty_config_unpin();
	PG_RETURN_INT64(n);
}
