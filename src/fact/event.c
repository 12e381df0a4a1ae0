/*
 * event.c
 *	  Events as documents: facts that are read from loyalty.event instead of an
 *	  ERP's table.
 *
 * An event is a document of its programme's own source of events, so that
 * what it gives follows from what is known of it, is booked as a difference,
 * and is explained, verified, evaluated again and taken back by the same code
 * as a sale.  Its key is member_id:event_key, which leads to its row; it has
 * no amount and no lines, and counts neither as a purchase nor for the tier.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "errors.h"
#include "fact/fact.h"
#include "rule/condition.h"

/* in the order of LoyaltyEventState */
static const char *const state_names[] = {"new", "waiting", "pending", "counted", "rejected", "revoked"};

/*
 * A friend has bought once something is left of a sale of his; who referred
 * him has done so once the friend's side counts.  LOYALTY_HAS_BOUGHT is shared
 * with the ledger, which asks when to look again.
 */
static LoyaltyPlan plan_events = {
	.sql = "SELECT k.number::pg_catalog.int4, m.customer, e.kind, e.reference, e.occurred_at, e.attributes, e.state,"
	" e.decided_at IS NOT NULL, e.pending, COALESCE(e.other_member_id, 0),"
	" CASE e.kind WHEN 'referral' THEN " LOYALTY_HAS_BOUGHT("e.member_id")
	" WHEN 'referrer' THEN EXISTS (SELECT FROM loyalty.event f WHERE f.member_id = e.other_member_id"
	" AND f.event_key = pg_catalog.substr(e.event_key, 11 + pg_catalog.length(e.other_member_id::pg_catalog.text))"
	" AND f.state = 'counted') ELSE true END,"
	" CASE WHEN e.kind = ANY ($4) THEN (SELECT pg_catalog.count(*)::pg_catalog.int4 FROM loyalty.event f WHERE f.member_id = e.member_id"
	" AND f.kind = e.kind AND f.state NOT IN ('rejected', 'revoked')"
	" AND (f.occurred_at, f.event_key) < (e.occurred_at, e.event_key)) ELSE -1 END,"
	" e.member_id, e.event_key"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2))"
	" WITH ORDINALITY AS k (member_id, event_key, number)"
	" CROSS JOIN LATERAL (SELECT * FROM loyalty.event x WHERE x.member_id = k.member_id AND x.event_key = k.event_key OFFSET 0) e"
	" CROSS JOIN LATERAL (SELECT x.customer FROM loyalty.member x WHERE x.member_id = k.member_id OFFSET 0) m"
	" WHERE e.program_id = $3 AND e.state NOT IN ('rejected', 'revoked')",
	.nparams = 4, .types = {INT8ARRAYOID, TEXTARRAYOID, INT4OID, TEXTARRAYOID}
};

/*
 * Under a snapshot that stays the same, the friend's side must be what it is
 * for everybody; whoever is changing it is not waited for.
 */
static LoyaltyPlan plan_other_side = {
	.sql = "SELECT f.state FROM loyalty.event f WHERE f.member_id = $1 AND f.event_key = $2 FOR SHARE NOWAIT",
	.nparams = 2, .types = {INT8OID, TEXTOID}
};

/*
 * Key of the document that an event is.
 */
char *
loyalty_event_document(int64 member_id, const char *event_key)
{
	return psprintf(INT64_FORMAT ":%s", member_id, event_key);
}

const char *
loyalty_event_state_name(LoyaltyEventState state)
{
	return state_names[state];
}

static LoyaltyEventState
state_of(const char *name)
{
	for (int i = 0; i < (int) lengthof(state_names); i++)
		if (strcmp(name, state_names[i]) == 0)
			return i;
	elog(ERROR, "unknown state of an event: %s", name);
	return EVENT_NEW;			/* keep compiler quiet */
}

static LoyaltyFacts *
facts_of_row(LoyaltySource *source, uint64 row)
{
	LoyaltyFacts *facts = palloc0(sizeof(LoyaltyFacts));
	LoyaltyEvent *event = palloc0(sizeof(LoyaltyEvent));
	bool		isnull;

	facts->customer = loyalty_spi_text(row, 2);
	facts->at = DatumGetTimestampTz(loyalty_spi_datum(row, 5, &isnull));
	facts->date = loyalty_program_date(source->program, facts->at);
	facts->amount_given = true;
	facts->gross = facts->paid = loyalty_num_int(0);
	facts->event = event;
	event->kind = loyalty_spi_text(row, 3);
	event->reference = loyalty_spi_text(row, 4);
	event->attributes = DatumGetJsonbPCopy(loyalty_spi_datum(row, 6, &isnull));
	event->state = state_of(loyalty_spi_text(row, 7));
	event->approved = DatumGetBool(loyalty_spi_datum(row, 8, &isnull));
	event->pending = loyalty_points_from_datum(loyalty_spi_datum(row, 9, &isnull));
	event->other_member = DatumGetInt64(loyalty_spi_datum(row, 10, &isnull));
	event->ripe = DatumGetBool(loyalty_spi_datum(row, 11, &isnull));
	event->count = DatumGetInt32(loyalty_spi_datum(row, 12, &isnull));
	event->member_id = DatumGetInt64(loyalty_spi_datum(row, 13, &isnull));
	event->key = loyalty_spi_text(row, 14);
	return facts;
}

/* does a rule ask how many events of the kind came before? */
bool
loyalty_counts_events(LoyaltyRuleBook *book, const char *kind)
{
	for (int i = 0; i < book->ncodes; i++)
		if (book->codes[i].condition != NULL && strcmp(book->codes[i].rule->event, kind) == 0 &&
			bms_is_member(IN_EVENT_COUNT, book->codes[i].condition->uses[SPACE_EVENT]))
			return true;
	return false;
}

/* the kinds of event of which one does */
static Datum
counted_kinds(LoyaltyRuleBook *book)
{
	char	  **kinds = palloc(sizeof(char *) * (book->ncodes + 1));
	int			n = 0;

	for (int i = 0; i < book->ncodes; i++)
		if (book->codes[i].condition != NULL && loyalty_counts_events(book, book->codes[i].rule->event))
			kinds[n++] = book->codes[i].rule->event;
	return loyalty_text_array(kinds, n);
}

static void
hold_other_side(LoyaltyEvent *event)
{
	Datum		values[2];

	if (!IsolationUsesXactSnapshot() || strcmp(event->kind, "referrer") != 0)
		return;
	values[0] = Int64GetDatum(event->other_member);
	values[1] = CStringGetTextDatum(strchr(event->key + strlen("referrer:"), ':') + 1);
	(void) loyalty_run(&plan_other_side, values, NULL);
	SPI_freetuptable(SPI_tuptable);
}

/*
 * When members were born, if a rule asks for it: an event brings no row of the
 * ERP's that would tell.
 */
static void
read_birthdays(LoyaltySource *source, LoyaltyDocument **docs, int n)
{
	Bitmapset  *uses = loyalty_source_book(source)->uses[SPACE_MEMBER];
	char	  **customers;
	bool	   *known;
	DateADT    *birthdays;

	if (!bms_is_member(IN_MEMBER_BIRTHDAY, uses) && !bms_is_member(IN_MEMBER_DAYS_TO_BIRTHDAY, uses))
		return;
	customers = palloc(sizeof(char *) * n);
	known = palloc(sizeof(bool) * n);
	birthdays = palloc(sizeof(DateADT) * n);
	for (int i = 0; i < n; i++)
		customers[i] = docs[i]->facts != NULL ? docs[i]->facts->customer : NULL;
	loyalty_read_birthdays(source->program, customers, n, known, birthdays);
	for (int i = 0; i < n; i++)
		if (known[i])
		{
			docs[i]->facts->has_birthday = true;
			docs[i]->facts->birthday = birthdays[i];
		}
}

/*
 * Read the facts of events; those that do not count (any more) have none.
 */
void
loyalty_read_events(LoyaltySource *source, LoyaltyDocument **docs, int n)
{
	LoyaltyRuleBook *book = loyalty_source_book(source);
	char	  **event_keys = palloc(sizeof(char *) * n);
	int64	   *members = palloc(sizeof(int64) * n);
	Datum		values[4];
	uint64		rows;
	bool		isnull;

	for (int i = 0; i < n; i++)
	{
		char	   *end;

		docs[i]->facts = NULL;
		members[i] = strtoi64(docs[i]->key, &end, 10);
		/* a key that somebody made up leads nowhere */
		event_keys[i] = *end == ':' ? end + 1 : NULL;
	}
	values[0] = loyalty_int8_array(members, n);
	values[1] = loyalty_text_array(event_keys, n);
	values[2] = Int32GetDatum(source->program->id);
	values[3] = counted_kinds(book);
	rows = loyalty_run(&plan_events, values, NULL);
	for (uint64 row = 0; row < rows; row++)
	{
		LoyaltyFacts *facts = facts_of_row(source, row);

		/* an event has no company */
		if (facts->date < source->program->valid_from || facts->date > source->program->valid_to)
			continue;
		docs[DatumGetInt32(loyalty_spi_datum(row, 1, &isnull)) - 1]->facts = facts;
	}
	SPI_freetuptable(SPI_tuptable);
	for (int i = 0; i < n; i++)
		if (docs[i]->facts != NULL)
			hold_other_side(docs[i]->facts->event);
	read_birthdays(source, docs, n);
}
