/*
 * event.c
 *	  What is due for an event: its limits, what it waits for, and which other
 *	  events are looked at again when it changes.
 *
 * A rule's limit is for the first events of a member in a period, in the order
 * in which they happened.  Whether an event is beyond it is part of what is
 * due, not of the frozen match: when an earlier event is recorded late, or
 * taken back, the later ones are touched, and evaluated in the same flush.
 *
 * The sides of a referral are events of two members, and each is posted by a
 * step of its own: whatever changes one touches the other.  That one is locked
 * in its turn, or parks and is settled later.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"

#include "ledger/ledger.h"
#include "rule/match.h"

/* earlier events of the period that the rule rewards; the limit is enough */
static LoyaltyPlan plan_rewarded = {
	.sql = "SELECT pg_catalog.count(*)::pg_catalog.int4 FROM (SELECT FROM loyalty.document d"
	" WHERE d.member_id = $1 AND d.source_id = $2 AND d.state = 'booked' AND d.rules && $3"
	" AND d.occurred_at <= $4 AND d.doc_date >= $5 AND (d.occurred_at, d.doc_key) < ($4, $6)"
	" AND NOT EXISTS (SELECT FROM pg_catalog.jsonb_array_elements(d.matches) AS m (match)"
	" WHERE m.match ? 'cut' AND (m.match ->> 'rule')::pg_catalog.int4 = ANY ($3))"
	" AND EXISTS (SELECT FROM loyalty.event e"
	" WHERE e.member_id = pg_catalog.split_part(d.doc_key, ':', 1)::pg_catalog.int8"
	" AND e.event_key = pg_catalog.substr(d.doc_key, 1 + pg_catalog.strpos(d.doc_key, ':'))"
	" AND e.state <> 'waiting')"
	" LIMIT $7) x",
	.nparams = 7, .types = {INT8OID, INT4OID, INT4ARRAYOID, TIMESTAMPTZOID, DATEOID, TEXTOID, INT4OID}
};

static LoyaltyPlan plan_write = {
	.sql = "UPDATE loyalty.event SET state = $3, pending = $4 WHERE member_id = $1 AND event_key = $2",
	.nparams = 4, .types = {INT8OID, TEXTOID, TEXTOID, NUMERICOID}
};

static LoyaltyPlan plan_later = {
	.sql = "SELECT e.event_key FROM loyalty.event e WHERE e.member_id = $1 AND e.kind = $2"
	" AND (e.occurred_at, e.event_key) > ($3, $4) AND e.state NOT IN ('rejected', 'revoked')",
	.nparams = 4, .types = {INT8OID, TEXTOID, TIMESTAMPTZOID, TEXTOID}
};

static LoyaltyPlan plan_referrals = {
	.sql = "SELECT e.program_id, e.member_id, e.event_key FROM pg_catalog.unnest($1) AS k (member_id) CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.event x WHERE x.member_id = k.member_id AND x.kind = 'referral'"
	" AND x.state NOT IN ('rejected', 'revoked') OFFSET 0) e"
	" WHERE e.state <> 'new' AND (e.state = 'waiting') = " LOYALTY_HAS_BOUGHT("e.member_id"),
	.nparams = 1, .types = {INT8ARRAYOID}
};

static LoyaltyPlan plan_state = {
	.sql = "SELECT e.state, e.kind FROM loyalty.event e WHERE e.member_id = $1 AND e.event_key = $2",
	.nparams = 2, .types = {INT8OID, TEXTOID}
};

/*
 * Is the rule's limit reached before this event?  A new version of a rule goes
 * on counting where the old one was.
 */
static bool
beyond_limit(LoyaltyProgram *program, LoyaltyPart *part, LoyaltyRule *rule)
{
	Datum	   *versions = palloc(sizeof(Datum) * list_length(program->rules));
	Datum		values[7];
	int			n = 0;
	bool		isnull;
	ListCell   *lc;

	foreach(lc, program->rules)
	{
		LoyaltyRule *r = lfirst(lc);

		if (strcmp(r->name, rule->name) == 0)
			versions[n++] = Int32GetDatum(r->id);
	}
	values[0] = Int64GetDatum(part->member_id);
	values[1] = Int32GetDatum(part->source_id);
	values[2] = PointerGetDatum(construct_array(versions, n, INT4OID, 4, true, TYPALIGN_INT));
	values[3] = TimestampTzGetDatum(part->at);
	values[4] = DateADTGetDatum(loyalty_start_of_period(rule->limit_period, part->date));
	values[5] = CStringGetTextDatum(part->key);
	values[6] = Int32GetDatum(rule->limit_count);
	(void) loyalty_run(&plan_rewarded, values, NULL);
	return DatumGetInt32(loyalty_spi_datum(0, 1, &isnull)) >= rule->limit_count;
}

/*
 * Find what is beyond its limit; family.c freezes it.
 */
static void
apply_limits(LoyaltyProgram *program, LoyaltyPart *part, List *matches)
{
	ListCell   *lc;

	foreach(lc, matches)
	{
		LoyaltyMatch *match = lfirst(lc);

		if (match->rule->limit_count == 0)
			continue;
		loyalty_store_flush();	/* earlier events of this batch count */
		match->cut = beyond_limit(program, part, match->rule);
	}
}

static bool
needs_approval(List *matches)
{
	ListCell   *lc;

	foreach(lc, matches)
		if (((LoyaltyMatch *) lfirst(lc))->rule->needs_approval)
			return true;
	return false;
}

/* does it take a place within a limit? */
static bool
takes_place(LoyaltyEventState state)
{
	return state == EVENT_PENDING || state == EVENT_COUNTED;
}

/*
 * What an event is due: nothing while it waits.  Its row says whether it does
 * and for how many points.
 */
LoyaltyAward
loyalty_award_event(LoyaltyBatch *batch, LoyaltyProgram *program, LoyaltyPart *part,
					LoyaltyDocument *doc, LoyaltyRemaining *r, List *matches)
{
	LoyaltyEvent *event = doc->facts->event;
	LoyaltyEventState before = event->state;
	LoyaltyAward award;
	Points		pending = 0;

	apply_limits(program, part, matches);
	award = loyalty_award_remaining(r, program, matches, part->rate, NULL);
	event->state = !event->ripe ? EVENT_WAITING :
		needs_approval(matches) && !event->approved ? EVENT_PENDING : EVENT_COUNTED;
	if (event->state != EVENT_COUNTED)
	{
		pending = loyalty_points_round(award.raw, program->unit, program->rounding, false);
		award.raw = loyalty_rational_int(0);
		award.points = 0;
	}
	if (event->state != before || event->pending != pending)
	{
		Datum		values[4];

		values[0] = Int64GetDatum(event->member_id);
		values[1] = CStringGetTextDatum(event->key);
		values[2] = CStringGetTextDatum(loyalty_event_state_name(event->state));
		values[3] = PointsGetDatum(pending);
		(void) loyalty_write(&plan_write, values, NULL);
		event->pending = pending;
		part->dirty = true;
	}
	if (takes_place(event->state) != takes_place(before))
		loyalty_touch_later_events(doc->source, event->member_id, event->kind, part->at, event->key);
	if (event->state != before && strcmp(event->kind, "referral") == 0)
		loyalty_touch_referrer(doc->source, event->other_member, event->member_id, event->key);
	return award;
}

/*
 * An event has come, or goes: those of its kind that happened after it may
 * have another place within a limit, or another count.
 */
void
loyalty_touch_later_events(LoyaltySource *source, int64 member_id, const char *kind, TimestampTz at, const char *key)
{
	bool		matters = loyalty_counts_events(loyalty_source_book(source), kind);
	Datum		values[4];
	uint64		rows;
	ListCell   *lc;

	foreach(lc, source->program->rules)
	{
		LoyaltyRule *rule = lfirst(lc);

		if (rule->event != NULL && rule->limit_count > 0 && strcmp(rule->event, kind) == 0)
			matters = true;
	}
	if (!matters)
		return;
	values[0] = Int64GetDatum(member_id);
	values[1] = CStringGetTextDatum(kind);
	values[2] = TimestampTzGetDatum(at);
	values[3] = CStringGetTextDatum(key);
	rows = loyalty_run(&plan_later, values, NULL);
	for (uint64 i = 0; i < rows; i++)
		loyalty_touch(source->id, loyalty_event_document(member_id, loyalty_spi_text(i, 1)),
					  TOUCH_CHANGE, NULL, NULL, 0);
	SPI_freetuptable(SPI_tuptable);
}

/*
 * The side of a referral that the friend's side decides on.
 */
void
loyalty_touch_referrer(LoyaltySource *source, int64 referrer, int64 friend_id, const char *friend_key)
{
	char	   *key = psprintf("referrer:" INT64_FORMAT ":%s", friend_id, friend_key);

	loyalty_touch(source->id, loyalty_event_document(referrer, key), TOUCH_CHANGE, NULL, NULL, 0);
}

/*
 * Documents of these members were booked: touch the referrals among their
 * events that this makes count, or not any more.
 */
void
loyalty_follow_referrals(int64 *members, int n)
{
	Datum		value = loyalty_int8_array(members, n);
	uint64		rows = loyalty_run(&plan_referrals, &value, NULL);
	bool		isnull;

	for (uint64 i = 0; i < rows; i++)
	{
		LoyaltyProgram *program = loyalty_program_by_id(DatumGetInt32(loyalty_spi_datum(i, 1, &isnull)));
		int64		member_id = DatumGetInt64(loyalty_spi_datum(i, 2, &isnull));
		LoyaltySource *source = loyalty_event_source(program);

		if (source != NULL)
			loyalty_touch(source->id, loyalty_event_document(member_id, loyalty_spi_text(i, 3)),
						  TOUCH_CHANGE, NULL, NULL, 0);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * What a booked event waits for, NULL if it does not.
 */
const char *
loyalty_event_waits(LoyaltyPart *part)
{
	Datum		values[2];
	const char *state;
	const char *kind;

	values[0] = Int64GetDatum(strtoi64(part->key, NULL, 10));
	values[1] = CStringGetTextDatum(strchr(part->key, ':') + 1);
	if (loyalty_run(&plan_state, values, NULL) == 0)
		return NULL;
	state = loyalty_spi_text(0, 1);
	kind = loyalty_spi_text(0, 2);
	if (strcmp(state, "pending") == 0)
		return "waits for approval";
	if (strcmp(state, "waiting") == 0)
		return strcmp(kind, "referrer") == 0 ? "waits for the friend's side of the referral" :
			"waits for the first purchase";
	return NULL;
}
