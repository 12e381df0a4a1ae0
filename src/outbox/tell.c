/*
 * tell.c
 *	  Messages from the posting path.
 *
 * They are collected with the other rows of the batch and written with them,
 * so they exist exactly if their cause does.  A message's key names its cause:
 * what happened once is told once.  A programme that tells nothing costs a look at
 * one pointer.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "outbox/outbox.h"
#include "source/source.h"

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

/* what kind of message an entry is worth; -1 for none */
static int
kind_for(LoyaltyEntry *entry)
{
	static const char *const silent[] = {"redeem", "redeem_cancel", "transfer"};

	if (strcmp(entry->kind, "expire") == 0)
		return entry->points < 0 ? MESSAGE_EXPIRED : -1;
	for (int i = 0; i < (int) lengthof(silent); i++)
		if (strcmp(entry->kind, silent[i]) == 0)
			return -1;
	return entry->points > 0 ? MESSAGE_EARNED : MESSAGE_REVERSED;
}

static void
tell_entry(LoyaltyPosting *p, LoyaltyEntry *entry, LoyaltyMessageKind kind, const char *cause, TimestampTz now)
{
	LoyaltyMember *member = p->member;
	StringInfo	payload = begin_payload();
	LoyaltyLot *own = loyalty_find_lot(p, p->seq);
	LoyaltySource *source = entry->source_id != 0 ? loyalty_source_by_id(entry->source_id) : NULL;

	loyalty_payload_points(payload, "points", entry->points < 0 ? -entry->points : entry->points);
	loyalty_payload_points(payload, "balance", member->balance);
	payload_date(payload, "date", loyalty_program_date(member->program, entry->at));
	loyalty_payload(payload, "reason", entry->kind, true);
	loyalty_payload(payload, "source", source == NULL ? NULL : source->name, true);
	loyalty_payload(payload, "document", entry->doc_key, true);
	if (own != NULL && own->points > 0)
		payload_date(payload, "expires_on", own->expires_on);
	loyalty_tell_message(member, kind, cause, payload, entry->at, now);
}

/* only the highest milestone that one step upwards passes */
static void
tell_milestone(LoyaltyPosting *p, LoyaltyEntry *entry, const char *cause, TimestampTz now)
{
	LoyaltyMember *member = p->member;
	LoyaltyTelling *t = member->program->telling;

	for (int i = t->nmilestones - 1; i >= 0; i--)
	{
		StringInfo	payload;

		if (t->milestones[i] > member->balance)
			continue;
		if (t->milestones[i] <= member->balance - entry->points)
			break;
		payload = begin_payload();
		loyalty_payload_points(payload, "milestone", t->milestones[i]);
		loyalty_payload_points(payload, "balance", member->balance);
		payload_date(payload, "date", loyalty_program_date(member->program, entry->at));
		loyalty_tell_message(member, MESSAGE_MILESTONE, cause, payload, entry->at, now);
		break;
	}
}

/*
 * An entry is complete, and counted for the member: tell him.
 */
void
loyalty_tell(LoyaltyPosting *p, LoyaltyEntry *entry, TimestampTz now)
{
	LoyaltyTelling *t = p->member->program->telling;
	char	   *cause;
	int			kind;

	if (t == NULL)
		return;
	cause = psprintf("entry:" INT64_FORMAT, p->seq);
	kind = kind_for(entry);
	if (kind >= 0 && t->kinds[kind])
		tell_entry(p, entry, kind, cause, now);
	if (entry->points > 0 && t->kinds[MESSAGE_MILESTONE])
		tell_milestone(p, entry, cause, now);
}

/* the amount from which a tier is reached; below all of them for none */
static Numeric
threshold_of(LoyaltyTier *tier)
{
	return tier == NULL ? loyalty_num_int(-1) : tier->threshold;
}

/*
 * A member went from one tier to another (0: none).
 */
void
loyalty_tell_tier(LoyaltyMember *member, int32 from, int32 to, const char *cause, TimestampTz at, TimestampTz now)
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
		loyalty_tell_tier(m, m->tier_before, m->tier_id, psprintf("tier:" INT64_FORMAT, now), now, now);
		m->tier_before = m->tier_id;
	}
}
