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

/* what lapsed on a day did not: lots get back the day they had, and what was written down */
static LoyaltyPlan plan_revive = {
	.sql = "WITH lapsed AS MATERIALIZED (SELECT l.seq, l.is_open, l.expired, c.n, COALESCE((SELECT b.expires_on FROM loyalty.lot_change b"
	" WHERE b.member_id = $1 AND b.lot_seq = l.seq AND b.n = c.n - 1), e.expires_on) AS expires_on"
	" FROM loyalty.stored_lot l JOIN loyalty.entry e ON e.member_id = $1 AND e.seq = l.seq"
	" JOIN loyalty.lot_change c ON c.member_id = $1 AND c.lot_seq = l.seq AND c.kind = 'lapse' AND c.expires_on = $2"
	" AND NOT EXISTS (SELECT FROM loyalty.lot_change b WHERE b.member_id = $1 AND b.lot_seq = l.seq AND b.n > c.n)"
	" WHERE l.member_id = $1 AND l.expires_on = $2),"
	" lots AS (UPDATE loyalty.stored_lot l SET expires_on = x.expires_on, remaining = l.remaining + l.expired,"
	" is_open = l.remaining + l.expired <> 0, expired = 0 FROM lapsed x"
	" WHERE l.member_id = $1 AND l.is_open = x.is_open AND l.expires_on = $2 AND l.seq = x.seq),"
	" changes AS (INSERT INTO loyalty.lot_change (member_id, lot_seq, n, kind, expires_on, changed_at)"
	" SELECT $1, x.seq, x.n + 1, 'revive', x.expires_on, $5 FROM lapsed x),"
	" entries AS (INSERT INTO loyalty.entry (member_id, seq, kind, points, occurred_at, recorded_at)"
	" SELECT $1, $3, 'expire', pg_catalog.sum(x.expired), $4, $5 FROM lapsed x HAVING pg_catalog.sum(x.expired) > 0),"
	" allocations AS (INSERT INTO loyalty.allocation (member_id, entry_seq, lot_seq, points)"
	" SELECT $1, $3, x.seq, x.expired FROM lapsed x WHERE x.expired > 0)"
	" SELECT COALESCE(pg_catalog.sum(x.expired), 0), COALESCE(pg_catalog.min(x.expires_on), 'infinity') FROM lapsed x",
	.nparams = 5, .types = {INT8OID, DATEOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID}
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
 * Have all points of the member lapsed on that day?
 */
bool
loyalty_has_lapsed(LoyaltyMember *member, DateADT day)
{
	return Min(member->lapses_on, member->program->points_until) < day && member->balance + member->debt > 0;
}

/*
 * Let the member's lots, all of them stored, end on the day on which his
 * points lapse.
 */
void
loyalty_lapse(LoyaltyMember *member)
{
	DateADT		day = Min(member->lapses_on, member->program->points_until);
	Datum		values[3];

	values[0] = Int64GetDatum(member->id);
	values[1] = DateADTGetDatum(day);
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	(void) loyalty_write(&plan_lapse, values, NULL);
	member->next_expiry = Min(member->next_expiry, day);
	member->dirty = true;
}

/*
 * What lapsed on that day did not after all.
 */
static void
revive(LoyaltyMember *member, DateADT day, TimestampTz now)
{
	Datum		values[5];
	Points		points;
	bool		isnull;

	loyalty_store_flush();
	values[0] = Int64GetDatum(member->id);
	values[1] = DateADTGetDatum(day);
	values[2] = Int64GetDatum(member->last_seq + 1);
	values[3] = TimestampTzGetDatum(loyalty_program_instant(member->program, day + 1));
	values[4] = TimestampTzGetDatum(now);
	(void) loyalty_write(&plan_revive, values, NULL);
	points = loyalty_points_from_datum(loyalty_spi_datum(0, 1, &isnull));
	member->next_expiry = Min(member->next_expiry, DatumGetDateADT(loyalty_spi_datum(0, 2, &isnull)));
	SPI_freetuptable(SPI_tuptable);
	if (points > 0)
	{
		bool		all_stored = member->lots_through == member->last_seq;

		member->balance += points;
		member->last_seq++;
		if (all_stored)
			member->lots_through = member->last_seq;
	}
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
	if (!DATE_IS_NOEND(before) && day <= before &&
		(member->next_expiry <= before || member->expired_through >= before))
		revive(member, before, now);
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
