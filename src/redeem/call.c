/*
 * call.c
 *	  A call that moves a member's points: who calls, with which key, and the
 *	  answer that is kept for it.
 *
 * The member is locked before anything is read.  Under the lock the key is
 * looked up: found with the same arguments it gives the stored answer, found
 * with others it is an error, and only a new key does anything.  So two
 * sessions that submit the same call have one effect and get one answer.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "config.h"
#include "errors.h"
#include "outbox/outbox.h"
#include "redeem/redeem.h"

#define MAX_KEY_LENGTH 200

static LoyaltyPlan plan_find = {
	.sql = "SELECT o.kind, o.arguments = $3::pg_catalog.jsonb, o.points, o.value, o.balance, o.available, o.arguments::text"
	" FROM loyalty.operation o WHERE o.member_id = ANY ($1) AND o.key = $2 ORDER BY o.member_id <> $1[1]",
	.nparams = 3, .types = {INT8ARRAYOID, TEXTOID, TEXTOID}
};

static LoyaltyPlan plan_store = {
	.sql = "INSERT INTO loyalty.operation (member_id, key, kind, arguments, points, value, balance, available,"
	" other_member_id, occurred_at, recorded_at, recorded_by)"
	" VALUES ($1, $2, $3, $4::pg_catalog.jsonb, $5, $6, $7, $8, $9, $10, $11, $12)",
	.nparams = 12, .types = {INT8OID, TEXTOID, TEXTOID, TEXTOID, NUMERICOID, NUMERICOID, NUMERICOID, NUMERICOID,
	INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID}
};

/*
 * An argument that is a number of points, which have two decimals.
 */
Points
loyalty_points_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	Numeric		value;
	Points		points;

	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s cannot be NULL", name)));
	value = loyalty_num_checked(PG_GETARG_NUMERIC(n), name);
	if (loyalty_num_cmp(loyalty_num_abs(value), loyalty_num_int(INT64CONST(10000000000000000))) >= 0)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s out of range", name)));
	points = loyalty_points_from_numeric(value);
	if (loyalty_num_cmp(loyalty_points_numeric(points), value) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid number of points: %s", loyalty_num_text(value)),
				 errhint("Points have at most two decimals.")));
	return points;
}

/*
 * The key of the call, or of what it is about.
 */
char *
loyalty_key_argument(FunctionCallInfo fcinfo, int n)
{
	char	   *key = loyalty_required_text(fcinfo, n, "key");

	/* what the engine's own keys begin with */
	static const char *const reserved[] = {LOYALTY_PAID_PREFIX, "merge:", "cancel:", "capture:", "release:", "gift:"};

	if (key[0] == '\0' || strlen(key) > MAX_KEY_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid key: \"%s\"", key),
				 errhint("A key has 1 to %d bytes.", MAX_KEY_LENGTH)));
	for (int i = 0; i < (int) lengthof(reserved); i++)
		if (strncmp(key, reserved[i], strlen(reserved[i])) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid key: \"%s\"", key),
					 errhint("Keys that begin with \"%s\" are the engine's own.", reserved[i])));
	return key;
}

/*
 * Note an argument of the call; value NULL for NULL.
 */
void
loyalty_call_argument(LoyaltyCall *c, const char *name, const char *value, bool quoted)
{
	loyalty_payload(&c->arguments, name, value, quoted);
}

void
loyalty_call_text(LoyaltyCall *c, const char *name, FunctionCallInfo fcinfo, int n)
{
	if (!PG_ARGISNULL(n))
		loyalty_call_argument(c, name, text_to_cstring(PG_GETARG_TEXT_PP(n)), true);
}

void
loyalty_call_numeric(LoyaltyCall *c, const char *name, FunctionCallInfo fcinfo, int n)
{
	if (!PG_ARGISNULL(n))
		loyalty_call_argument(c, name,
							  loyalty_num_text(loyalty_num_trim(loyalty_num_checked(PG_GETARG_NUMERIC(n), name))), false);
}

static TimestampTz
instant_argument(FunctionCallInfo fcinfo, int n)
{
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(n);

	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at must be a finite instant")));
	return at;
}

/* an instant as text, whatever the session's time zone */
static char *
in_utc(TimestampTz at)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	return psprintf("%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year, tm.tm_mon, tm.tm_mday,
					tm.tm_hour, tm.tm_min, tm.tm_sec, (int) fsec);
}

/*
 * Begin a call whose first argument is the programme; at is the number of the
 * argument that says the business time, by default now.  The role is the
 * books' owner's and SPI is connected until loyalty_call_end().
 */
void
loyalty_call_begin(LoyaltyCall *c, const char *kind, FunctionCallInfo fcinfo, int at)
{
	char	   *name = loyalty_required_text(fcinfo, 0, "program");

	loyalty_refuse_on_standby(kind);
	memset(c, 0, sizeof(LoyaltyCall));
	c->kind = kind;
	c->caller = GetUserId();
	c->now = GetCurrentTimestamp();
	c->at = PG_ARGISNULL(at) ? c->now : instant_argument(fcinfo, at);
	c->answer.value = loyalty_num_int(0);
	initStringInfo(&c->arguments);
	appendStringInfoChar(&c->arguments, '{');
	if (!PG_ARGISNULL(at))
		loyalty_call_argument(c, "at", in_utc(c->at), true);

	loyalty_config_pin();
	c->program = loyalty_program_by_name(name);
	loyalty_become(loyalty_owner(), &c->save);
	loyalty_connect();
	c->nest = NewGUCNestLevel();
	c->planner = loyalty_planner_scope(false);
	loyalty_pin_planner();
	loyalty_store_reset();
}

/* the number of the member that a customer is; an error if there is none */
static int64
member_of(LoyaltyCall *c, const char *customer)
{
	int64		id = loyalty_find_member(c->program, customer);

	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_UNKNOWN),
				 errmsg("customer \"%s\" is no member of programme \"%s\"", customer, c->program->name),
				 errhint("loyalty.enrol() makes members.")));
	return id;
}

/*
 * Lock the member that a customer is, or who has his points since a merge;
 * with another customer (not NULL) that one's as well, in ascending order.
 */
void
loyalty_call_lock(LoyaltyCall *c, const char *customer, const char *other)
{
	int64		id = member_of(c, customer);
	int64		other_id = other == NULL ? id : member_of(c, other);
	bool		again = true;

	while (again)
	{
		int64		mine = loyalty_account_of(id);
		int64		others = loyalty_account_of(other_id);
		int64		ids[2];
		LoyaltyMember *members;
		int			found;

		ids[0] = Min(mine, others);
		ids[1] = Max(mine, others);
		members = loyalty_lock_in_order(ids, NULL, mine == others ? 1 : 2, &found);
		/* somebody may have merged them while we waited */
		again = false;
		c->member = c->other = NULL;
		for (int i = 0; i < found; i++)
		{
			if (members[i].id == mine)
				c->member = &members[i];
			if (members[i].id == others)
				c->other = &members[i];
			again |= members[i].merged_into != 0;
		}
		/* or he may have left a household */
		if (mine != id && member_of(c, customer) != id)
		{
			id = member_of(c, customer);
			again = true;
		}
		if (other != NULL && others != other_id && member_of(c, other) != other_id)
		{
			other_id = member_of(c, other);
			again = true;
		}
		if (c->member == NULL || c->other == NULL)
			elog(ERROR, "member " INT64_FORMAT " vanished", mine);
	}
	c->ids[0] = id;
	c->ids[1] = c->member->id;
	c->nids = c->member->id == id ? 1 : 2;
}

/*
 * Was the call answered before?  Then its answer is filled in.  The key and
 * the arguments are noted by now, and the member is locked.
 */
bool
loyalty_call_answered(LoyaltyCall *c)
{
	Datum		values[3];
	bool		isnull;
	Datum		value;

	appendStringInfoChar(&c->arguments, '}');
	values[0] = loyalty_int8_array(c->ids, c->nids);
	values[1] = CStringGetTextDatum(c->key);
	values[2] = CStringGetTextDatum(c->arguments.data);
	if (loyalty_run(&plan_find, values, NULL) == 0)
		return false;
	if (strcmp(loyalty_spi_text(0, 1), c->kind) != 0 || !DatumGetBool(loyalty_spi_datum(0, 2, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_KEY),
				 errmsg("key \"%s\" was used for another call", c->key),
				 errdetail("It was %s() with %s.", loyalty_spi_text(0, 1), loyalty_spi_text(0, 7)),
				 errhint("Repeat the call with the same arguments, or take a new key.")));
	value = loyalty_spi_datum(0, 3, &isnull);
	c->answer.points = isnull ? 0 : loyalty_points_from_datum(value);
	c->answer.value = loyalty_spi_numeric(0, 4);
	c->answer.balance = loyalty_points_from_datum(loyalty_spi_datum(0, 5, &isnull));
	c->answer.available = loyalty_points_from_datum(loyalty_spi_datum(0, 6, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return true;
}

/*
 * Keep the answer of the call with one of the members it concerns.
 */
void
loyalty_call_record(LoyaltyCall *c, int64 member_id, Points points, Points balance, Points available, int64 other_id)
{
	Datum		values[12];
	char		nulls[13] = "            ";

	values[0] = Int64GetDatum(member_id);
	values[1] = CStringGetTextDatum(c->key);
	values[2] = CStringGetTextDatum(c->kind);
	values[3] = CStringGetTextDatum(c->arguments.data);
	values[4] = PointsGetDatum(points);
	values[5] = NumericGetDatum(c->answer.value);
	values[6] = PointsGetDatum(balance);
	values[7] = PointsGetDatum(available);
	values[8] = Int64GetDatum(other_id);
	nulls[8] = other_id == 0 ? 'n' : ' ';
	values[9] = TimestampTzGetDatum(c->at);
	values[10] = TimestampTzGetDatum(c->now);
	values[11] = CStringGetTextDatum(GetUserNameFromId(GetOuterUserId(), false));
	(void) loyalty_write(&plan_store, values, nulls);
}

/*
 * Write the member's figures, and the answer under the call's key.
 */
void
loyalty_call_store(LoyaltyCall *c)
{
	loyalty_store_flush();
	/* always: who has an older snapshot must not think that nothing happened */
	loyalty_store_members(&c->member, 1);
	c->answer.balance = loyalty_balance_at(c->member, c->at);
	c->answer.available = loyalty_available(c->member, c->at);
	loyalty_call_record(c, c->member->id, c->answer.points, c->answer.balance, c->answer.available, c->other_id);
}

void
loyalty_call_end(LoyaltyCall *c)
{
	loyalty_store_reset();
	loyalty_unpin_settings(c->nest);
	(void) loyalty_planner_scope(c->planner);
	SPI_finish();
	loyalty_resume(&c->save);
	loyalty_config_unpin();
}

/*
 * The answer as a row (points, value, balance, available).
 */
Datum
loyalty_call_result(LoyaltyCall *c, FunctionCallInfo fcinfo)
{
	TupleDesc	desc;
	Datum		values[4];
	bool		nulls[4] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = PointsGetDatum(c->answer.points);
	values[1] = NumericGetDatum(c->answer.value);
	values[2] = PointsGetDatum(c->answer.balance);
	values[3] = PointsGetDatum(c->answer.available);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/*
 * Has who calls the rights of that role, or of the books' owner?
 */
bool
loyalty_call_may(LoyaltyCall *c, const char *role)
{
	Oid			roleid = get_role_oid(role, true);

	return superuser_arg(c->caller) || has_privs_of_role(c->caller, loyalty_owner()) ||
		(OidIsValid(roleid) && has_privs_of_role(c->caller, roleid));
}
