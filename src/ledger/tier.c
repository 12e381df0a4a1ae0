/*
 * tier.c
 *	  The tier of a member is written down: in his row, and in the history.
 *
 * What is written is what the replay says (see member/standing.c).  The
 * history of a member is compared with it: rows that do not hold any more are
 * superseded, what is missing is appended.  What was written before settings
 * of tiers last changed stays as it is.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ledger/ledger.h"
#include "member/standing.h"

static LoyaltyPlan plan_history = {
	.sql = "SELECT c.n, c.at, COALESCE(c.from_tier, 0), COALESCE(c.to_tier, 0), c.reason, c.until, c.recorded_at"
	" FROM loyalty.tier_change c WHERE c.member_id = $1 AND c.superseded_at IS NULL ORDER BY c.n",
	.nparams = 1, .types = {INT8OID}
};

static LoyaltyPlan plan_last = {
	.sql = "SELECT COALESCE(pg_catalog.max(c.n), 0) FROM loyalty.tier_change c WHERE c.member_id = $1",
	.nparams = 1, .types = {INT8OID}
};

static LoyaltyPlan plan_supersede = {
	.sql = "UPDATE loyalty.tier_change SET superseded_at = $3 WHERE member_id = $1 AND n = ANY ($2)",
	.nparams = 3, .types = {INT8OID, INT8ARRAYOID, TIMESTAMPTZOID}
};

static const char *const reasons[] = {"reached", "return", "review", "override", "settings"};

/* a row of the history that holds */
typedef struct Row
{
	int			n;
	TimestampTz at;
	int32		from;
	int32		to;
	char	   *reason;
	DateADT		until;
	TimestampTz recorded_at;
} Row;

static int
read_history(LoyaltyMember *m, Row **rows)
{
	Datum		id = Int64GetDatum(m->id);
	int			n = loyalty_run(&plan_history, &id, NULL);
	bool		isnull;

	*rows = palloc(sizeof(Row) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		Row		   *row = &(*rows)[i];
		Datum		until;

		row->n = DatumGetInt32(loyalty_spi_datum(i, 1, &isnull));
		row->at = DatumGetTimestampTz(loyalty_spi_datum(i, 2, &isnull));
		row->from = DatumGetInt32(loyalty_spi_datum(i, 3, &isnull));
		row->to = DatumGetInt32(loyalty_spi_datum(i, 4, &isnull));
		row->reason = loyalty_spi_text(i, 5);
		until = loyalty_spi_datum(i, 6, &isnull);
		row->until = isnull ? DATEVAL_NOEND : DatumGetDateADT(until);
		row->recorded_at = DatumGetTimestampTz(loyalty_spi_datum(i, 7, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/* 0 for none, as the tables have it */
static int32
tier_id(LoyaltyProgram *program, int rank)
{
	LoyaltyTier *t = loyalty_tier_at_rank(program, rank);

	return t == NULL ? 0 : t->id;
}

/* collected: the caller of loyalty_settle_tier() writes it */
static void
append(LoyaltyMember *m, int n, TimestampTz at, int32 from, int32 to, LoyaltyTierReason reason, DateADT until,
	   TimestampTz now)
{
	Datum		values[9] = {0};
	bool		nulls[9] = {0};

	values[0] = Int64GetDatum(m->id);
	values[1] = Int32GetDatum(n);
	values[2] = TimestampTzGetDatum(at);
	values[3] = Int32GetDatum(from);
	nulls[3] = from == 0;
	values[4] = Int32GetDatum(to);
	nulls[4] = to == 0;
	values[5] = CStringGetTextDatum(reasons[reason]);
	values[6] = DateADTGetDatum(until);
	nulls[6] = until == DATEVAL_NOEND;
	values[7] = TimestampTzGetDatum(now);
	nulls[8] = true;
	loyalty_store_row(TABLE_TIER_CHANGE, values, nulls);
}

static int
last_number(LoyaltyMember *m)
{
	Datum		id = Int64GetDatum(m->id);
	int			n;

	(void) loyalty_run(&plan_last, &id, NULL);
	n = loyalty_spi_int32(0, 1);
	SPI_freetuptable(SPI_tuptable);
	return n;
}

static void
supersede(LoyaltyMember *m, Row *rows, int n, TimestampTz now)
{
	Datum		values[3];
	int64	   *numbers = palloc(sizeof(int64) * n);

	for (int i = 0; i < n; i++)
		numbers[i] = rows[i].n;
	values[0] = Int64GetDatum(m->id);
	values[1] = loyalty_int8_array(numbers, n);
	values[2] = TimestampTzGetDatum(now);
	(void) loyalty_write(&plan_supersede, values, NULL);
}

/*
 * The changes that the history is to have after what is frozen in it: those
 * since the settings changed, and what that change itself did.
 */
static List *
changes_after(LoyaltyMember *m, List *changes, int32 frozen_to, LoyaltyRecord *r)
{
	TimestampTz since = m->program->tiering.changed_at;
	LoyaltyTierChange *last = NULL;
	List	   *result = NIL;
	LoyaltyTierChange *settings;
	int			rank;
	ListCell   *lc;

	foreach(lc, changes)
	{
		LoyaltyTierChange *c = lfirst(lc);

		if (c->at <= since)
			last = c;
		else
			result = lappend(result, c);
	}
	rank = last != NULL ? last->to : result != NIL ? ((LoyaltyTierChange *) linitial(result))->from :
		loyalty_record_rank_with(r, since, NULL);
	if (tier_id(m->program, rank) == frozen_to)
		return result;
	settings = palloc0(sizeof(LoyaltyTierChange));
	settings->at = since;
	settings->from = loyalty_tier_rank(m->program, frozen_to);
	settings->to = rank;
	settings->until = last != NULL ? last->until : DATEVAL_NOEND;
	settings->reason = TIER_SETTINGS;
	return lcons(settings, result);
}

/*
 * Bring the history up to date.  Returns how many rows are new; gifts for
 * tiers that were reached are given.
 */
static int
write_history(LoyaltyMember *m, LoyaltyRecord *r, TimestampTz at, TimestampTz now)
{
	List	   *changes = loyalty_record_changes(r, at);
	Row		   *rows;
	int			nrows = read_history(m, &rows);
	int			frozen = 0;
	int			place;
	int			n;
	int			added = 0;
	ListCell   *lc;

	while (frozen < nrows && rows[frozen].recorded_at < m->program->tiering.changed_at)
		frozen++;
	if (frozen > 0)
		changes = changes_after(m, changes, rows[frozen - 1].to, r);
	place = frozen;
	n = -1;
	foreach(lc, changes)
	{
		LoyaltyTierChange *c = lfirst(lc);
		int32		from = tier_id(m->program, c->from);
		int32		to = tier_id(m->program, c->to);
		LoyaltyTier *tier = loyalty_tier_at_rank(m->program, c->to);

		if (n < 0 && place < nrows && rows[place].at == c->at && rows[place].from == from && rows[place].to == to &&
			rows[place].until == c->until && strcmp(rows[place].reason, reasons[c->reason]) == 0)
		{
			place++;
			continue;
		}
		if (n < 0)
		{
			n = last_number(m);
			if (place < nrows)
				supersede(m, rows + place, nrows - place, now);
		}
		append(m, ++n, c->at, from, to, c->reason, c->until, now);
		added++;
		if (c->to > c->from && c->reason == TIER_REACHED && (tier->gift_points > 0 || tier->gift_voucher != NULL))
			loyalty_give_gift(m, tier, loyalty_program_date(m->program, c->at), at, now);
	}
	if (n < 0 && place < nrows)
		supersede(m, rows + place, nrows - place, now);
	return added;
}

/*
 * Write down the tier of a member as of an instant, never of an earlier one
 * than it was written down before.  He is locked; afterwards the caller flushes
 * what is to be stored, and stores his row if it is dirty.  Returns how many
 * rows the history got.
 */
int
loyalty_settle_tier(LoyaltyMember *m, TimestampTz at, TimestampTz now)
{
	LoyaltyRecord *r;
	LoyaltyTierView view;
	int32		before = m->tier_was;
	int			added;

	if (loyalty_member_is_plain(m))
	{
		if (m->tier_id == m->tier_was)
			return 0;
		append(m, last_number(m) + 1, m->tier_moved_at, m->tier_was, m->tier_id,
			   loyalty_tier_rank(m->program, m->tier_id) > loyalty_tier_rank(m->program, m->tier_was) ?
			   TIER_REACHED : TIER_RETURN, DATEVAL_NOEND, now);
		loyalty_extend_by_tier(m, m->tier_was, at, now);
		m->tier_was = m->tier_id;
		return 1;
	}
	at = Max(at, m->tier_at);
	r = loyalty_standing(CurrentMemoryContext, m);
	added = write_history(m, r, at, now);
	loyalty_record_run(r, at);
	view = loyalty_record_view(r, at);
	if (m->tier_at != at || m->tier_id != tier_id(m->program, view.rank) || m->tier_since != view.since ||
		m->tier_until != view.until || m->tier_review != view.review)
		m->dirty = true;
	m->tier_id = m->tier_was = tier_id(m->program, view.rank);
	m->tier_since = view.since;
	m->tier_until = view.until;
	m->tier_review = view.review;
	m->tier_at = at;
	if (m->tier_id != before)
		loyalty_extend_by_tier(m, before, at, now);
	return added;
}

/*
 * The tier that the history says a member had at an instant before settings
 * changed; false if it says nothing of that time.
 */
bool
loyalty_tier_from_history(LoyaltyMember *m, TimestampTz at, LoyaltyTierView *view)
{
	Row		   *rows;
	int			nrows;
	bool		found = false;

	if (at >= m->program->tiering.changed_at)
		return false;
	nrows = read_history(m, &rows);
	for (int i = 0; i < nrows && rows[i].recorded_at < m->program->tiering.changed_at; i++)
	{
		if (!found)
		{
			view->rank = loyalty_tier_rank(m->program, rows[i].from);
			view->since = m->joined_on;
			view->until = view->review = DATEVAL_NOEND;
			found = true;
		}
		if (rows[i].at > at)
			break;
		if (rows[i].from != rows[i].to)
			view->since = loyalty_program_date(m->program, rows[i].at);
		view->rank = loyalty_tier_rank(m->program, rows[i].to);
		view->until = rows[i].until;
	}
	return found;
}
