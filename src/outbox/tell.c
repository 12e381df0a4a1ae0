/*
 * tell.c
 *	  Messages from the posting path.
 *
 * They are collected with the other rows of the batch and written with them,
 * so they exist exactly if their cause does.  A message's key names its cause:
 * what happened once is told once.  A programme that tells nothing costs a
 * look at one pointer.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "outbox/outbox.h"
#include "redeem/redeem.h"
#include "source/source.h"

/* what of a day was told before, and came back by what was booked late, is not told again */
static LoyaltyPlan plan_tell_expired = {
	.sql = "INSERT INTO loyalty.message (member_id, kind, cause, program_id, payload, occurred_at, recorded_at, state,"
	" visible_at, attempts)"
	" SELECT e.member_id, 'expired', 'entry:' || e.seq, m.program_id, pg_catalog.jsonb_build_object("
	"'points', pg_catalog.trim_scale(n.points), 'balance', pg_catalog.trim_scale(m.balance),"
	" 'date', pg_catalog.to_char(e.occurred_at AT TIME ZONE p.time_zone, 'YYYY-MM-DD'), 'reason', e.kind),"
	" e.occurred_at, $3, 'new', $3, 0"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS k (member_id, seq) CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.entry x WHERE x.member_id = k.member_id AND x.seq > k.seq AND x.kind = 'expire'"
	" AND x.points < 0 OFFSET 0) e"
	" CROSS JOIN LATERAL (SELECT - e.points - COALESCE(GREATEST(pg_catalog.max(y.net), 0) + pg_catalog.sum(y.points), 0) AS points"
	" FROM (SELECT x.points, - pg_catalog.sum(x.points) OVER (ORDER BY x.seq) AS net FROM loyalty.entry x"
	" WHERE x.member_id = e.member_id AND x.seq < e.seq AND x.kind = 'expire' AND x.occurred_at = e.occurred_at) y) n"
	" JOIN loyalty.member m ON m.member_id = e.member_id"
	" JOIN loyalty.program p ON p.program_id = m.program_id WHERE n.points > 0 RETURNING program_id",
	.nparams = 3, .types = {INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID}
};

/*
 * Add an item to a JSON object that is being written; value NULL for none.
 */
void
loyalty_payload(StringInfo payload, const char *name, const char *value, bool quoted)
{
	if (value == NULL)
		return;
	appendStringInfo(payload, "%s\"%s\": ", payload->len > 1 ? ", " : "", name);
	if (quoted)
		escape_json(payload, value);
	else
		appendStringInfoString(payload, value);
}

/*
 * Add points to a payload, without decimals that are 0.
 */
void
loyalty_payload_points(StringInfo payload, const char *name, Points points)
{
	loyalty_payload(payload, name, loyalty_num_text(loyalty_num_trim(loyalty_points_numeric(points))), false);
}

static void
payload_date(StringInfo payload, const char *name, DateADT date)
{
	int			year,
				month,
				day;

	if (DATE_NOT_FINITE(date))
		return;
	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	loyalty_payload(payload, name, psprintf("%04d-%02d-%02d", year, month, day), true);
}

static StringInfo
begin_payload(void)
{
	StringInfo	payload = makeStringInfo();

	appendStringInfoChar(payload, '{');
	return payload;
}

/*
 * Collect a message to a member; the payload is a JSON object without its
 * closing brace.  The caller has looked whether the programme tells that kind,
 * and sees to it that the store is flushed.
 */
void
loyalty_tell_message(LoyaltyMember *member, LoyaltyMessageKind kind, const char *cause, StringInfo payload,
					 TimestampTz at, TimestampTz now)
{
	Datum		values[LOYALTY_MESSAGE_NATTS] = {0};
	bool		nulls[LOYALTY_MESSAGE_NATTS] = {false};

	appendStringInfoChar(payload, '}');
	values[0] = Int64GetDatum(member->id);
	values[1] = CStringGetTextDatum(loyalty_message_name(kind));
	values[2] = CStringGetTextDatum(cause);
	values[3] = Int32GetDatum(member->program->id);
	values[4] = DirectFunctionCall1(jsonb_in, CStringGetDatum(payload->data));
	values[5] = TimestampTzGetDatum(at);
	values[6] = TimestampTzGetDatum(now);
	values[7] = CStringGetTextDatum("new");
	values[8] = TimestampTzGetDatum(now);
	values[9] = Int32GetDatum(0);
	/* nobody has fetched it */
	for (int i = 10; i < LOYALTY_MESSAGE_NATTS; i++)
		nulls[i] = true;
	loyalty_store_row(TABLE_MESSAGE, values, nulls);
	loyalty_announce(member->program, kind);
}

/*
 * What a member gained or lost in one step: by a document in one evaluation,
 * or by a call.  That may take several entries in a row, because each makes one
 * lot at most.
 */
typedef struct Step
{
	LoyaltyMember *member;
	LoyaltyEntry entry;			/* the first; its points are those of all */
	int64		first_seq;
	int64		last_seq;
	DateADT		expires_on;		/* of what was gained, the earliest */
	DateADT		usable_from;	/* and the latest */
	Points		gained;			/* points that are valid now */
	Points		balance;		/* of these, after the step */
	TimestampTz now;
} Step;

/* of the batch, until its members are written */
static List *steps = NIL;

/* what kind of message an entry is worth; -1 for none */
static int
kind_for(LoyaltyEntry *entry)
{
	static const char *const silent[] = {"redeem", "redeem_cancel", "transfer"};

	for (int i = 0; i < (int) lengthof(silent); i++)
		if (strcmp(entry->kind, silent[i]) == 0)
			return -1;
	return entry->points > 0 ? MESSAGE_EARNED : MESSAGE_REVERSED;
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* is the entry part of the newest step? */
static bool
continues(Step *step, LoyaltyPosting *p, LoyaltyEntry *entry, TimestampTz now)
{
	return step->member == p->member && step->now == now &&
		(step->entry.points < 0) == (entry->points < 0) &&
		step->entry.source_id == entry->source_id &&
		same_text(step->entry.doc_key, entry->doc_key) && same_text(step->entry.key, entry->key);
}

/* by how much the entry changes the points that are valid now; debts always are */
static Points
gained(LoyaltyPosting *p, TimestampTz now)
{
	DateADT		day = loyalty_program_date(p->member->program, now);
	bool		lapsed = loyalty_has_lapsed(p->member, day);
	Points		sum = 0;
	ListCell   *lc;

	foreach(lc, p->lots)
	{
		LoyaltyLot *lot = lfirst(lc);

		if (lot->points < 0 || (lot->expires_on >= day && !lapsed))
			sum += lot->moved + (lot->is_new ? lot->points : 0);
	}
	return sum;
}

/*
 * An entry is complete.  Whether it has to be told is known when the member's
 * figures are written.
 */
void
loyalty_tell(LoyaltyPosting *p, LoyaltyEntry *entry, TimestampTz now)
{
	LoyaltyMember *member = p->member;
	Step	   *step;

	if (member->program->telling == NULL)
		return;
	step = steps == NIL ? NULL : llast(steps);
	if (step == NULL || !continues(step, p, entry, now))
	{
		step = palloc0(sizeof(Step));
		step->member = member;
		step->entry = *entry;
		step->entry.points = 0;
		step->first_seq = p->seq;
		step->expires_on = DATEVAL_NOEND;
		step->usable_from = DATEVAL_NOBEGIN;
		step->now = now;
		steps = lappend(steps, step);
	}
	step->entry.points += entry->points;
	step->last_seq = p->seq;
	step->gained += gained(p, now);
	if (p->own != NULL && p->own->points > 0)
	{
		step->expires_on = Min(step->expires_on, p->own->expires_on);
		step->usable_from = Max(step->usable_from, p->own->usable_from);
	}
}

static void
payload_step(StringInfo payload, Step *step)
{
	loyalty_payload_points(payload, "balance", step->balance);
	payload_date(payload, "date", loyalty_program_date(step->member->program, step->entry.at));
	if (step->last_seq > step->first_seq)
		loyalty_payload(payload, "last_entry", psprintf(INT64_FORMAT, step->last_seq), false);
}

static void
tell_points(Step *step, LoyaltyMessageKind kind, const char *cause)
{
	StringInfo	payload = begin_payload();
	LoyaltyEntry *entry = &step->entry;
	LoyaltySource *source = entry->source_id != 0 ? loyalty_source_by_id(entry->source_id) : NULL;

	loyalty_payload_points(payload, "points", entry->points < 0 ? -entry->points : entry->points);
	payload_step(payload, step);
	loyalty_payload(payload, "reason", entry->kind, true);
	loyalty_payload(payload, "source", source == NULL ? NULL : source->name, true);
	loyalty_payload(payload, "document", entry->doc_key, true);
	payload_date(payload, "expires_on", step->expires_on);
	payload_date(payload, "usable_from", step->usable_from);
	loyalty_tell_message(step->member, kind, cause, payload, entry->at, step->now);
}

/* only the highest milestone that one step upwards passes */
static void
tell_milestone(Step *step, const char *cause)
{
	LoyaltyTelling *t = step->member->program->telling;

	for (int i = t->nmilestones - 1; i >= 0; i--)
	{
		StringInfo	payload;

		if (t->milestones[i] > step->balance)
			continue;
		if (t->milestones[i] <= step->balance - step->gained)
			break;
		payload = begin_payload();
		loyalty_payload_points(payload, "milestone", t->milestones[i]);
		payload_step(payload, step);
		loyalty_tell_message(step->member, MESSAGE_MILESTONE, cause, payload, step->entry.at, step->now);
		break;
	}
}

/*
 * Members are written: tell them what they gained and lost.  What a balance
 * was after each step follows from what it is in the end; points that expired
 * are not in it, whether or not that has been written down.
 */
void
loyalty_tell_steps(void)
{
	List	   *left = NIL;
	ListCell   *lc;

	for (int i = list_length(steps) - 1; i >= 0; i--)
	{
		Step	   *step = list_nth(steps, i);
		LoyaltyMember *m = step->member;

		if (m->dirty)
			continue;
		if (!m->told)
			m->telling = loyalty_balance_at(m, step->now);
		m->told = true;
		step->balance = m->telling;
		m->telling -= step->gained;
	}
	foreach(lc, steps)
	{
		Step	   *step = lfirst(lc);
		LoyaltyTelling *t = step->member->program->telling;
		int			kind = kind_for(&step->entry);
		char	   *cause;

		if (step->member->dirty)
		{
			left = lappend(left, step);
			continue;
		}
		step->member->told = false;
		cause = psprintf("entry:" INT64_FORMAT, step->first_seq);
		if (kind >= 0 && t->kinds[kind])
			tell_points(step, kind, cause);
		if (step->gained > 0 && t->kinds[MESSAGE_MILESTONE])
			tell_milestone(step, cause);
	}
	steps = left;
}

/*
 * The batch is new, or failed.
 */
void
loyalty_forget_steps(void)
{
	steps = NIL;
}

/*
 * Members' points expired: it was written down by entries beyond these seqs.
 */
void
loyalty_tell_expired(LoyaltyMember **members, int64 *seqs, int n)
{
	int64	   *ids = palloc(sizeof(int64) * Max(n, 1));
	int64	   *after = palloc(sizeof(int64) * Max(n, 1));
	int			nids = 0;
	uint64		rows;
	Datum		values[3];
	bool		isnull;

	for (int i = 0; i < n; i++)
		if (loyalty_tells(members[i]->program, MESSAGE_EXPIRED))
		{
			ids[nids] = members[i]->id;
			after[nids++] = seqs[i];
		}
	if (nids == 0)
		return;
	values[0] = loyalty_int8_array(ids, nids);
	values[1] = loyalty_int8_array(after, nids);
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	rows = loyalty_write(&plan_tell_expired, values, NULL);
	for (uint64 i = 0; i < rows; i++)
		loyalty_announce(loyalty_program_by_id(DatumGetInt32(loyalty_spi_datum(i, 1, &isnull))), MESSAGE_EXPIRED);
	SPI_freetuptable(SPI_tuptable);
}

/* the amount from which a tier is reached; below all of them for none */
static Numeric
threshold_of(LoyaltyTier *tier)
{
	return tier == NULL ? loyalty_num_int(-1) : tier->threshold;
}

/* a member went from one tier to another (0: none) */
static void
tell_tier(LoyaltyMember *member, int32 from, int32 to, const char *cause, TimestampTz at, TimestampTz now)
{
	LoyaltyTier *old = from == 0 ? NULL : loyalty_tier_by_id(member->program, from);
	LoyaltyTier *new = to == 0 ? NULL : loyalty_tier_by_id(member->program, to);
	LoyaltyMessageKind kind = loyalty_num_cmp(threshold_of(new), threshold_of(old)) > 0 ? MESSAGE_TIER_UP :
		MESSAGE_TIER_DOWN;
	StringInfo	payload;

	if (!loyalty_tells(member->program, kind))
		return;
	payload = begin_payload();
	loyalty_payload(payload, "tier", new == NULL ? NULL : new->name, true);
	loyalty_payload(payload, "from_tier", old == NULL ? NULL : old->name, true);
	loyalty_payload(payload, "qualifying", loyalty_num_text(member->qualifying), false);
	payload_date(payload, "date", loyalty_program_date(member->program, at));
	loyalty_tell_message(member, kind, cause, payload, at, now);
}

/*
 * Members are about to be written: tell those whose tier is another than when
 * they were locked.  What changed up and down again in between is no change.
 */
void
loyalty_tell_tiers(LoyaltyMember **members, int n)
{
	for (int i = 0; i < n; i++)
	{
		LoyaltyMember *m = members[i];
		TimestampTz now;

		if (m->program->telling == NULL || m->tier_id == m->tier_before || m->merged_into != 0)
			continue;
		now = GetCurrentTimestamp();
		tell_tier(m, m->tier_before, m->tier_id, psprintf("tier:" INT64_FORMAT, now), now, now);
		m->tier_before = m->tier_id;
	}
}
