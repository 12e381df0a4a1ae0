/*
 * record.c
 *	  SQL functions on events: recording one, and deciding on it.
 *
 * They write the event's row and let the ledger evaluate it like any touched
 * document, so that a conflict parks it and does not fail the caller.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "config.h"
#include "errors.h"
#include "ledger/ledger.h"

PG_FUNCTION_INFO_V1(loyalty_record_event);
PG_FUNCTION_INFO_V1(loyalty_approve_event);
PG_FUNCTION_INFO_V1(loyalty_reject_event);
PG_FUNCTION_INFO_V1(loyalty_revoke_event);

#define MAX_KEY 500

static LoyaltyPlan plan_source = {
	.sql = "SELECT loyalty.event_source($1)",
	.nparams = 1, .types = {INT4OID}
};

static LoyaltyPlan plan_insert = {
	.sql = "INSERT INTO loyalty.event (member_id, event_key, program_id, kind, reference, occurred_at, attributes,"
	" other_member_id, recorded_at, recorded_by)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, pg_catalog.clock_timestamp(), $9) ON CONFLICT DO NOTHING",
	.nparams = 9, .types = {INT8OID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, JSONBOID, INT8OID, TEXTOID}
};

/* what is not said again cannot differ */
static LoyaltyPlan plan_same = {
	.sql = "SELECT e.kind = $3 AND e.reference IS NOT DISTINCT FROM $4 AND COALESCE(e.occurred_at = $5, true)"
	" AND e.attributes = $6 FROM loyalty.event e WHERE e.member_id = $1 AND e.event_key = $2",
	.nparams = 6, .types = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, JSONBOID}
};

static LoyaltyPlan plan_referrer_of = {
	.sql = "SELECT e.other_member_id, e.reference FROM loyalty.event e WHERE e.member_id = $1"
	" AND e.kind = 'referral' AND e.state NOT IN ('rejected', 'revoked')",
	.nparams = 1, .types = {INT8OID}
};

static LoyaltyPlan plan_event = {
	.sql = "SELECT e.state, e.kind, e.occurred_at, e.decided_at IS NOT NULL, COALESCE(e.other_member_id, 0)"
	" FROM loyalty.event e WHERE e.member_id = $1 AND e.event_key = $2 AND e.program_id = $3",
	.nparams = 3, .types = {INT8OID, TEXTOID, INT4OID}
};

static LoyaltyPlan plan_decide = {
	.sql = "UPDATE loyalty.event SET state = COALESCE($3, state), pending = CASE WHEN $3 IS NULL THEN pending ELSE 0 END,"
	" decided_at = pg_catalog.clock_timestamp(), decided_by = $4"
	" WHERE member_id = $1 AND event_key = $2",
	.nparams = 4, .types = {INT8OID, TEXTOID, TEXTOID, TEXTOID}
};

/* who does not see the decision must not count on the member either */
static LoyaltyPlan plan_mark_member = {
	.sql = "UPDATE loyalty.member SET last_seq = last_seq WHERE member_id = $1",
	.nparams = 1, .types = {INT8OID}
};

static LoyaltyPlan plan_answer = {
	.sql = "SELECT e.state, COALESCE((SELECT pg_catalog.sum(d.points) FROM loyalty.document d"
	" WHERE d.source_id = $3 AND d.doc_key = $4), 0), e.pending"
	" FROM loyalty.event e WHERE e.member_id = $1 AND e.event_key = $2",
	.nparams = 4, .types = {INT8OID, TEXTOID, INT4OID, TEXTOID}
};

static char *
text_arg(FunctionCallInfo fcinfo, int n, const char *required)
{
	char	   *value;

	if (PG_ARGISNULL(n))
	{
		if (required != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s cannot be NULL", required)));
		return NULL;
	}
	value = text_to_cstring(PG_GETARG_TEXT_PP(n));
	if (value[strspn(value, " ")] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 required != NULL ? errmsg("%s cannot be empty", required) : errmsg("a reference or key cannot be empty"),
				 required != NULL ? 0 : errhint("Leave it out, or pass NULL.")));
	return value;
}

/*
 * Evaluate what was touched of a source, and what that touches in turn: of a
 * referral first the friend's side, then the referrer's.
 */
static void
settle_events(LoyaltySource *source)
{
	for (int round = 0; round < 3; round++)
		(void) loyalty_flush_touched(source->id);
}

/*
 * The answer that all of these functions give: (event_key, state, points, pending).
 */
static Datum
answer(FunctionCallInfo fcinfo, LoyaltySource *source, int64 member_id, const char *key)
{
	MemoryContext context = CurrentMemoryContext;
	LoyaltyIdentity save;
	TupleDesc	desc;
	Datum		values[4];
	bool		nulls[4] = {false};
	Datum		result[4];
	bool		isnull;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum(member_id);
	values[1] = CStringGetTextDatum(key);
	values[2] = Int32GetDatum(source->id);
	values[3] = CStringGetTextDatum(loyalty_event_document(member_id, key));
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	(void) loyalty_run(&plan_answer, values, NULL);
	MemoryContextSwitchTo(context);
	result[0] = values[1];
	result[1] = CStringGetTextDatum(loyalty_spi_text(0, 1));
	result[2] = PointsGetDatum(loyalty_points_from_datum(loyalty_spi_datum(0, 2, &isnull)));
	result[3] = PointsGetDatum(loyalty_points_from_datum(loyalty_spi_datum(0, 3, &isnull)));
	SPI_finish();
	loyalty_resume(&save);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), result, nulls));
}

/*
 * Who has the event of that key: the member himself, or, if he has none, with
 * whom he was merged.
 */
static int64
member_with_event(LoyaltyProgram *program, int64 member_id, const char *key)
{
	int64		account = loyalty_account_of(member_id);
	Datum		values[3];

	if (account == member_id)
		return member_id;
	values[0] = Int64GetDatum(member_id);
	values[1] = CStringGetTextDatum(key);
	values[2] = Int32GetDatum(program->id);
	return loyalty_run(&plan_event, values, NULL) > 0 ? member_id : account;
}

/*
 * The member that a customer is on a day; made one where the programme does so.
 * What is new of a customer who was merged is the other one's, but what was
 * recorded before is found where it is.
 */
static int64
member_of(LoyaltyProgram *program, char *customer, DateADT date, const char *key)
{
	LoyaltyMember *member;

	if (!program->explicit_enrolment)
		return member_with_event(program, loyalty_enrol_customer(program, customer, date), key);
	member = loyalty_read_member(loyalty_find_member(program, customer));
	if (member == NULL || member->joined_on > date)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_STATE),
				 errmsg("customer \"%s\" is no member of programme \"%s\" on that day", customer, program->name),
				 errhint("loyalty.enrol() makes members.")));
	return member_with_event(program, member->id, key);
}

/* members in a line of referrals that is longer are not looked at */
#define MAX_LINE 10000

/*
 * Who refers must be a member, somebody else, and not have come, directly or
 * by others, through the friend.  The line of those through whom he has come
 * goes to line, which ends with a 0.
 */
static int64
check_referrer(LoyaltyProgram *program, int64 friend_id, char *customer, char *referrer, int64 *line)
{
	int64		id;
	Datum		value;
	int			n = 0;

	if (referrer == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a referral needs a reference"),
				 errhint("It is the customer who has referred.")));
	if (strcmp(customer, referrer) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_STATE),
				 errmsg("customer \"%s\" cannot refer himself", customer),
				 errhint("The reference of a referral is the customer who referred.")));
	id = loyalty_account_of(loyalty_find_member(program, referrer));
	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_UNKNOWN),
				 errmsg("customer \"%s\", who has referred, is no member of programme \"%s\"", referrer, program->name),
				 errhint("Enrol him with loyalty.enrol().")));
	if (id == friend_id)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_STATE),
				 errmsg("customers \"%s\" and \"%s\" are one member", customer, referrer),
				 errhint("Customers who were merged cannot refer each other.")));
	value = Int64GetDatum(id);
	line[n++] = id;
	line[n] = 0;
	while (n < MAX_LINE && loyalty_run(&plan_referrer_of, &value, NULL) > 0)
	{
		bool		isnull;

		value = loyalty_spi_datum(0, 1, &isnull);
		line[n++] = DatumGetInt64(value);
		line[n] = 0;
		if (DatumGetInt64(value) == friend_id)
			ereport(ERROR,
					(errcode(ERRCODE_LOYALTY_STATE),
					 errmsg("customer \"%s\" cannot be referred by \"%s\"", customer, referrer),
					 errdetail("\"%s\" was referred by \"%s\", directly or through others.", referrer, customer),
					 errhint("The reference of a referral is the customer who referred.")));
		CHECK_FOR_INTERRUPTS();
	}
	return id;
}

/*
 * The same, when nobody can change it any more: the friend and all through
 * whom the referrer has come are locked, or two referrals at the same moment
 * could close a circle between them.
 */
static int64
lock_referrer(LoyaltyProgram *program, int64 friend_id, char *customer, char *referrer)
{
	int64	   *line = palloc(sizeof(int64) * (MAX_LINE + 1));
	int64	   *locked = palloc(sizeof(int64) * (MAX_LINE + 2));
	int64		id = check_referrer(program, friend_id, customer, referrer, line);
	int			found;

	for (;;)
	{
		int			n = 0;
		bool		same = true;

		locked[n++] = friend_id;
		for (int i = 0; line[i] != 0; i++)
			locked[n++] = line[i];
		n = loyalty_sort_members(locked, n);
		(void) loyalty_lock_in_order(locked, NULL, n, &found);
		id = check_referrer(program, friend_id, customer, referrer, line);
		for (int i = 0; line[i] != 0; i++)
			if (bsearch(&line[i], locked, n, sizeof(int64), loyalty_compare_int8) == NULL)
				same = false;
		if (same)
			return id;
	}
}

/* a row of loyalty.event in the making */
typedef struct Recording
{
	LoyaltyProgram *program;
	LoyaltySource *source;
	int64		member_id;
	char	   *customer;
	char	   *key;
	char	   *kind;
	char	   *reference;
	bool		has_at;			/* as given by the caller */
	TimestampTz at;
	Datum		attributes;
	int64		other_member;
} Recording;

/*
 * Write the row.  False if it is there already, and says the same.
 */
static bool
insert_event(Recording *r)
{
	Datum		values[9];
	char		nulls[] = "         ";
	bool		isnull;

	values[0] = Int64GetDatum(r->member_id);
	values[1] = CStringGetTextDatum(r->key);
	values[2] = Int32GetDatum(r->program->id);
	values[3] = CStringGetTextDatum(r->kind);
	nulls[4] = r->reference == NULL ? 'n' : ' ';
	values[4] = r->reference == NULL ? (Datum) 0 : CStringGetTextDatum(r->reference);
	values[5] = TimestampTzGetDatum(r->at);
	values[6] = r->attributes;
	nulls[7] = r->other_member == 0 ? 'n' : ' ';
	values[7] = Int64GetDatum(r->other_member);
	values[8] = CStringGetTextDatum(GetUserNameFromId(GetSessionUserId(), false));
	if (loyalty_write(&plan_insert, values, nulls) > 0)
		return true;

	values[2] = values[3];
	values[3] = values[4];
	nulls[3] = nulls[4];
	values[4] = values[5];
	nulls[4] = r->has_at ? ' ' : 'n';
	values[5] = values[6];
	nulls[5] = ' ';
	if (loyalty_run(&plan_same, values, nulls) == 0)
	{
		/* the other thing that can be there is another referral */
		(void) loyalty_run(&plan_referrer_of, values, NULL);
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_STATE),
				 errmsg("customer \"%s\" was already referred by \"%s\"", r->customer, loyalty_spi_text(0, 2)),
				 errhint("loyalty.revoke_event() takes a referral back.")));
	}
	if (!DatumGetBool(loyalty_spi_datum(0, 1, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_KEY),
				 errmsg("event \"%s\" of customer \"%s\" was recorded with other arguments", r->key, r->customer),
				 errdetail("An idempotency key stands for one event."),
				 errhint("Use another key, or loyalty.revoke_event() to take that one back.")));
	return false;
}

/*
 * record_event(program, customer, kind, reference, at, attributes, key)
 *	-> (event_key, state, points, pending)
 */
Datum
loyalty_record_event(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	Recording	r = {0};
	LoyaltyIdentity save;
	char	   *program = text_arg(fcinfo, 0, "program");
	DateADT		date;
	Datum		value;

	loyalty_refuse_on_standby("record_event");
	r.customer = text_arg(fcinfo, 1, "customer");
	r.kind = text_arg(fcinfo, 2, "kind");
	r.reference = text_arg(fcinfo, 3, NULL);
	r.has_at = !PG_ARGISNULL(4);
	r.at = r.has_at ? PG_GETARG_TIMESTAMPTZ(4) : GetCurrentTimestamp();
	r.attributes = PG_ARGISNULL(5) ? DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")) : PG_GETARG_DATUM(5);
	r.key = text_arg(fcinfo, 6, NULL);
	if (TIMESTAMP_NOT_FINITE(r.at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an event cannot happen at infinity")));
	if (strchr(r.kind, ':') != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for kind: \"%s\"", r.kind),
				 errhint("A kind of event has no colon.")));
	if (strcmp(r.kind, "referrer") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("events of kind \"referrer\" are not recorded by themselves"),
				 errhint("Record a referral of the friend; it makes both sides.")));
	if (r.key == NULL)
		r.key = r.reference == NULL ? r.kind : psprintf("%s:%s", r.kind, r.reference);
	else if (strncmp(r.key, "referrer:", strlen("referrer:")) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for key: \"%s\"", r.key),
				 errhint("Keys that begin with \"referrer:\" are made by referrals.")));
	if (strlen(r.key) > MAX_KEY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the key of an event is longer than %d bytes", MAX_KEY),
				 errhint("Pass a shorter key.")));

	r.program = loyalty_program_by_name(program);
	date = loyalty_program_date(r.program, r.at);
	if (date < r.program->valid_from || date > r.program->valid_to)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_STATE),
				 errmsg("programme \"%s\" does not run on that day", program),
				 errhint("loyalty.program has its first and its last day.")));
	/* makes the source if need be: only then is the configuration held on to */
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	if (loyalty_event_source(r.program) == NULL)
	{
		value = Int32GetDatum(r.program->id);
		(void) loyalty_run(&plan_source, &value, NULL);
		CommandCounterIncrement();
	}
	loyalty_config_pin();
	r.program = loyalty_program_by_name(program);
	r.source = loyalty_event_source(r.program);

	r.member_id = member_of(r.program, r.customer, date, r.key);
	if (strcmp(r.kind, "referral") == 0)
		r.other_member = lock_referrer(r.program, r.member_id, r.customer, r.reference);
	loyalty_lock_if_in_order(r.member_id);
	MemoryContextSwitchTo(context);
	if (insert_event(&r))
	{
		loyalty_touch(r.source->id, loyalty_event_document(r.member_id, r.key), TOUCH_CHANGE, NULL, NULL, 0);
		if (r.other_member != 0)
		{
			Recording	other = r;

			other.member_id = r.other_member;
			other.customer = r.reference;
			other.reference = r.customer;
			other.key = psprintf("referrer:" INT64_FORMAT ":%s", r.member_id, r.key);
			other.kind = "referrer";
			other.other_member = r.member_id;
			(void) insert_event(&other);
			loyalty_touch_referrer(r.source, r.other_member, r.member_id, r.key);
		}
	}
	SPI_finish();
	loyalty_resume(&save);
	settle_events(r.source);
	value = answer(fcinfo, r.source, r.member_id, r.key);
	loyalty_config_unpin();
	PG_RETURN_DATUM(value);
}

/*
 * Decide on an event.  What was decided so already is no mistake.
 */
static Datum
decide(FunctionCallInfo fcinfo, const char *function, LoyaltyEventState to)
{
	LoyaltyProgram *program;
	LoyaltySource *source;
	LoyaltyIdentity save;
	char	   *name = text_arg(fcinfo, 0, "program");
	char	   *customer = text_arg(fcinfo, 1, "customer");
	char	   *key = text_arg(fcinfo, 2, "key");
	int64		member_id;
	char	   *state = NULL;
	Datum		values[4];
	char		nulls[] = "    ";
	Datum		result;
	bool		decided;
	bool		isnull;

	loyalty_refuse_on_standby(function);
	loyalty_config_pin();
	program = loyalty_program_by_name(name);
	source = loyalty_event_source(program);
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	member_id = loyalty_find_member(program, customer);
	if (member_id != 0 && source != NULL)
	{
		member_id = member_with_event(program, member_id, key);
		loyalty_lock_if_in_order(member_id);
		values[0] = Int64GetDatum(member_id);
		values[1] = CStringGetTextDatum(key);
		values[2] = Int32GetDatum(program->id);
		if (loyalty_run(&plan_event, values, NULL) > 0)
			state = loyalty_spi_text(0, 1);
	}
	if (state == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_UNKNOWN),
				 errmsg("customer \"%s\" of programme \"%s\" has no event \"%s\"", customer, name, key),
				 errhint("loyalty.events() lists the events of a customer.")));
	decided = DatumGetBool(loyalty_spi_datum(0, 4, &isnull));
	if (strcmp(state, loyalty_event_state_name(to)) != 0 || (to == EVENT_COUNTED && !decided))
	{
		char	   *kind = loyalty_spi_text(0, 2);
		TimestampTz at = DatumGetTimestampTz(loyalty_spi_datum(0, 3, &isnull));
		int64		other = DatumGetInt64(loyalty_spi_datum(0, 5, &isnull));

		if (to == EVENT_REVOKED ? strcmp(state, "rejected") == 0 : strcmp(state, "pending") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_LOYALTY_STATE),
					 errmsg("event \"%s\" of customer \"%s\" is %s", key, customer, state),
					 to == EVENT_REVOKED ? errdetail("It has given nothing.") :
					 errdetail("Only an event that is pending is approved or rejected."),
					 to == EVENT_REJECTED ? errhint("loyalty.revoke_event() takes an event back.") : 0));
		/* approved, it is evaluation that finds it can count */
		nulls[2] = to == EVENT_COUNTED ? 'n' : ' ';
		values[2] = CStringGetTextDatum(loyalty_event_state_name(to));
		values[3] = CStringGetTextDatum(GetUserNameFromId(GetSessionUserId(), false));
		(void) loyalty_write(&plan_decide, values, nulls);
		(void) loyalty_write(&plan_mark_member, values, NULL);
		loyalty_touch(source->id, loyalty_event_document(member_id, key), TOUCH_CHANGE, NULL, NULL, 0);
		if (to != EVENT_COUNTED)
			loyalty_touch_later_events(source, member_id, kind, at, key);
		if (strcmp(kind, "referral") == 0)
			loyalty_touch_referrer(source, other, member_id, key);
	}
	SPI_finish();
	loyalty_resume(&save);
	settle_events(source);
	result = answer(fcinfo, source, member_id, key);
	loyalty_config_unpin();
	return result;
}

/*
 * approve_event(program text, customer text, key text)
 */
Datum
loyalty_approve_event(PG_FUNCTION_ARGS)
{
	return decide(fcinfo, "approve_event", EVENT_COUNTED);
}

/*
 * reject_event(program text, customer text, key text)
 */
Datum
loyalty_reject_event(PG_FUNCTION_ARGS)
{
	return decide(fcinfo, "reject_event", EVENT_REJECTED);
}

/*
 * revoke_event(program text, customer text, key text)
 */
Datum
loyalty_revoke_event(PG_FUNCTION_ARGS)
{
	return decide(fcinfo, "revoke_event", EVENT_REVOKED);
}
