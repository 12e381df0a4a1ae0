/*
 * session.c
 *	  Whose rights, which settings, which kept plans.
 *
 * The engine runs inside other people's sessions.  Its own tables are read
 * and written as their owner, the expressions of a mapping as the owner of
 * the ERP table, both the way core's RI triggers do it: the user id is
 * switched around the statement and comes back by itself on an error.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/rel.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#include "compat.h"
#include "errors.h"
#include "loyalty.h"

/* whether the current evaluation has pinned the planner's settings */
static bool planner_pinned = true;

/* whether statements read with the active snapshot, not each with a new one */
static bool snapshot_kept = false;

/* set while the engine itself writes to the books; read by the guard */
static bool writing = false;

PG_FUNCTION_INFO_V1(loyalty_guard);

/* what was looked up since the configuration was loaded */
#define KNOWN_RELATIONS 32
static struct
{
	const char *name;
	Oid			relid;
}			known[KNOWN_RELATIONS];
static int	nknown = 0;
static Oid	known_owner = InvalidOid;

/*
 * The configuration is loaded anew: names may mean other relations.
 */
void
loyalty_forget_relations(void)
{
	nknown = 0;
	known_owner = InvalidOid;
}

/*
 * Is the extension (still) there?
 */
bool
loyalty_installed(void)
{
	Oid			schema = get_namespace_oid(LOYALTY_SCHEMA, true);

	return OidIsValid(schema) && OidIsValid(get_relname_relid("source", schema));
}

/*
 * OID of one of the extension's tables, whose name is a literal; an error if
 * it is not there.
 */
Oid
loyalty_relation(const char *relname)
{
	Oid			schema;
	Oid			relid;

	for (int i = 0; i < nknown; i++)
		if (known[i].name == relname)	/* the linker keeps equal literals once */
			return known[i].relid;
	for (int i = 0; i < nknown; i++)
		if (strcmp(known[i].name, relname) == 0)
			return known[i].relid;

	schema = get_namespace_oid(LOYALTY_SCHEMA, true);
	relid = OidIsValid(schema) ? get_relname_relid(relname, schema) : InvalidOid;
	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.%s\" does not exist", LOYALTY_SCHEMA, relname),
				 errhint("Is the extension \"loyalty\" created in this database?")));
	if (nknown < KNOWN_RELATIONS)
	{
		known[nknown].name = relname;
		known[nknown++].relid = relid;
	}
	return relid;
}

/*
 * Owner of the books.
 */
Oid
loyalty_owner(void)
{
	HeapTuple	tuple;

	if (OidIsValid(known_owner))
		return known_owner;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(loyalty_relation("entry")));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for the ledger");
	known_owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return known_owner;
}

/*
 * May rows be read and written without the executor?  Only where the table is
 * what we made it: a heap, local, whole, with our columns, and no triggers but ours
 * (a table that is distributed over several nodes has one, too).
 */
bool
loyalty_is_plain(Relation rel, int natts)
{
	if (rel->rd_rel->relkind != RELKIND_RELATION || rel->rd_rel->relam != HEAP_TABLE_AM_OID ||
		rel->rd_rel->relispartition || rel->rd_rel->relhassubclass || rel->rd_rel->relrowsecurity ||
		RelationGetNumberOfAttributes(rel) != natts)
		return false;
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
		if (strncmp(rel->trigdesc->triggers[i].tgname, "guard", 5) != 0)
			return false;
	return true;
}

/*
 * What writes says so where nothing can be written; function is what was called.
 */
void
loyalty_refuse_on_standby(const char *function)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("loyalty.%s() cannot run on a standby", function),
				 errhint("Run it on the primary.")));
}

/*
 * Take on a role for the engine's own statements.
 */
void
loyalty_become(Oid role, LoyaltyIdentity *save)
{
	GetUserIdAndSecContext(&save->role, &save->security);
	SetUserIdAndSecContext(role, save->security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
}

/*
 * Take on a role to evaluate what its owner wrote.  The session that pays for
 * it may be a superuser's: a function called there must not find a way back.
 */
void
loyalty_become_reader(Oid role, LoyaltyIdentity *save)
{
	GetUserIdAndSecContext(&save->role, &save->security);
	SetUserIdAndSecContext(role, save->security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
}

void
loyalty_resume(const LoyaltyIdentity *save)
{
	SetUserIdAndSecContext(save->role, save->security);
}

static void
pin(const char *name, const char *value)
{
	const char *current = GetConfigOption(name, false, false);

	if (strcmp(current, value) != 0)
		(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Fix the settings that leak into results, for one evaluation of a mapping:
 * where names are found, and how text and time are read and written.
 */
int
loyalty_pin_settings(const char *search_path, const char *time_zone)
{
	int			nestlevel = NewGUCNestLevel();

	/* a temporary table must not stand in for the ERP's */
	pin("search_path", psprintf("%s%spg_temp", search_path, search_path[0] == '\0' ? "" : ", "));
	pin("jit", "off");
	pin("TimeZone", time_zone);
	pin("DateStyle", "ISO, YMD");
	pin("IntervalStyle", "postgres");
	pin("extra_float_digits", "1");
	pin("bytea_output", "hex");
	pin("xmlbinary", "base64");
	return nestlevel;
}

/*
 * On top of that, fix how the text of an expression is read and written back.
 */
void
loyalty_pin_parser(void)
{
	pin("standard_conforming_strings", "on");
	pin("transform_null_equals", "off");
	pin("array_nulls", "on");
	pin("quote_all_identifiers", "off");
}

/*
 * The engine finds rows by their keys.  Its plans are kept, and may be made
 * while a table is still empty: that must not tie them to scanning it when it
 * has grown, which in one bulk statement it does.
 */
void
loyalty_pin_planner(void)
{
	if (planner_pinned)
		return;
	(void) NewGUCNestLevel();
	pin("enable_seqscan", "off");
	pin("jit", "off");
	planner_pinned = true;
}

/*
 * On top of that, keep to indexes where the number of rows that wait changes
 * between nothing and millions: walk in their order, and join row by row.
 */
void
loyalty_pin_queue_planner(void)
{
	loyalty_pin_planner();
	pin("enable_sort", "off");
	pin("enable_bitmapscan", "off");
	pin("enable_hashjoin", "off");
	pin("enable_mergejoin", "off");
}

/*
 * Begin (false) or leave (the value it returned) a subtransaction in which the
 * first statement pins the planner's settings; its end unpins them.
 */
bool
loyalty_planner_scope(bool pinned)
{
	bool		outer = planner_pinned;

	planner_pinned = pinned;
	return outer;
}

void
loyalty_unpin_settings(int nestlevel)
{
	/* as if rolled back: what a mapping itself set goes as well */
	AtEOXact_GUC(false, nestlevel);
}

/*
 * Run work in a subtransaction and in a memory context (NULL: the current
 * one); with undo its changes are undone even if it succeeds.  Returns NULL, or
 * the error that undid it, in the current context.  What ends the statement or
 * the session gets through.
 */
ErrorData *
loyalty_attempt(void (*work) (void *), void *arg, MemoryContext context, bool undo)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	bool		outer = loyalty_planner_scope(false);
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context != NULL ? context : caller);
	PG_TRY();
	{
		work(arg);
		if (undo)
			RollbackAndReleaseCurrentSubTransaction();
		else
			ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	(void) loyalty_planner_scope(outer);
	if (error != NULL && (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
						  error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN ||
						  error->sqlerrcode == ERRCODE_CRASH_SHUTDOWN))
		ReThrowError(error);
	return error;
}

/*
 * SPI leaves its own memory context behind after every call; the engine works
 * in the context of whoever calls it.
 */
void
loyalty_connect(void)
{
	MemoryContext context = CurrentMemoryContext;

	SPI_connect();
	MemoryContextSwitchTo(context);
}

/*
 * Begin (true) or cease (false) to read with the active snapshot.
 */
void
loyalty_keep_snapshot(bool keep)
{
	snapshot_kept = keep;
}

int
loyalty_execute_plan(SPIPlanPtr plan, Datum *values, const char *nulls)
{
	MemoryContext context = CurrentMemoryContext;
	int			rc = SPI_execute_plan(plan, values, nulls, snapshot_kept, 0);

	MemoryContextSwitchTo(context);
	return rc;
}

int
loyalty_execute(const char *sql)
{
	MemoryContext context = CurrentMemoryContext;
	int			rc = SPI_execute(sql, false, 0);

	MemoryContextSwitchTo(context);
	return rc;
}

/*
 * The same with one parameter.
 */
int
loyalty_execute_with(const char *sql, Oid type, Datum value)
{
	MemoryContext context = CurrentMemoryContext;
	int			rc = SPI_execute_with_args(sql, 1, &type, &value, NULL, false, 0);

	MemoryContextSwitchTo(context);
	return rc;
}

static SPIPlanPtr
keep_plan(const char *sql, int nparams, Oid *types)
{
	MemoryContext context = CurrentMemoryContext;
	SPIPlanPtr	plan = SPI_prepare_cursor(sql, nparams, types, CURSOR_OPT_GENERIC_PLAN);

	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	MemoryContextSwitchTo(context);
	return plan;
}

static void
free_plan(void *plan)
{
	(void) SPI_freeplan(plan);
}

/*
 * Keep a plan of a statement for as long as a memory context lives.
 */
SPIPlanPtr
loyalty_keep_plan(MemoryContext context, const char *sql, int nparams, Oid *types)
{
	MemoryContextCallback *callback = MemoryContextAlloc(context, sizeof(MemoryContextCallback));

	callback->func = free_plan;
	callback->arg = keep_plan(sql, nparams, types);
	MemoryContextRegisterResetCallback(context, callback);
	return callback->arg;
}

/*
 * The plan of one of the engine's statements, which is kept as long as the
 * backend lives.  All names in it are qualified, so the caller's search_path
 * does not matter; the plan cache notices a dropped and re-created extension.
 */
static SPIPlanPtr
prepare(LoyaltyPlan *plan)
{
	if (plan->plan == NULL)
		plan->plan = keep_plan(plan->sql, plan->nparams, plan->types);
	return plan->plan;
}

/*
 * Run a statement of the engine; never read-only, so that what it reads is as
 * new as the lock that was taken before it.  Returns the number of rows.
 */
uint64
loyalty_run(LoyaltyPlan *plan, Datum *values, const char *nulls)
{
	int			rc;

	loyalty_pin_planner();
	rc = loyalty_execute_plan(prepare(plan), values, nulls);

	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s", plan->sql, SPI_result_code_string(rc));
	return SPI_processed;
}

/*
 * The same for a statement that changes the books: the guard lets it pass.
 */
uint64
loyalty_write(LoyaltyPlan *plan, Datum *values, const char *nulls)
{
	bool		outer = writing;
	volatile uint64 rows = 0;

	writing = true;
	PG_TRY();
	{
		rows = loyalty_run(plan, values, nulls);
	}
	PG_CATCH();
	{
		writing = outer;
		PG_RE_THROW();
	}
	PG_END_TRY();
	writing = outer;
	return rows;
}

/*
 * Trigger function guard(): refuses UPDATE, DELETE and TRUNCATE of the books.
 * With the argument 'append-only' they are refused to the engine as well.
 */
Datum
loyalty_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "guard")));

	if (!writing || trigdata->tg_trigger->tgnargs > 0)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_GUARD),
				 trigdata->tg_trigger->tgnargs > 0 ?
				 errmsg("table \"%s\" is append-only", RelationGetRelationName(trigdata->tg_relation)) :
				 errmsg("table \"%s\" is written by the engine only", RelationGetRelationName(trigdata->tg_relation)),
				 errdetail("What is booked is corrected by further entries, never changed."),
				 errhint("Correct the ERP's document, or call loyalty.reevaluate().")));

	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		return PointerGetDatum(trigdata->tg_newtuple);
	return PointerGetDatum(trigdata->tg_trigtuple);
}

/*
 * Arrays for "= ANY ($n)"; strings may contain NULLs.
 */
Datum
loyalty_text_array(char **strings, int n)
{
	Datum	   *datums = palloc(sizeof(Datum) * Max(n, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(n, 1));
	int			dims = n;
	int			lower = 1;

	for (int i = 0; i < n; i++)
	{
		nulls[i] = strings[i] == NULL;
		datums[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(strings[i]);
	}
	if (n == 0)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	return PointerGetDatum(construct_md_array(datums, nulls, 1, &dims, &lower,
											  TEXTOID, -1, false, TYPALIGN_INT));
}

Datum
loyalty_int8_array(int64 *values, int n)
{
	Datum	   *datums = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		datums[i] = Int64GetDatum(values[i]);
	return PointerGetDatum(construct_array(datums, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * The other way round, in the current context; returns how many there are.
 */
int
loyalty_int8_values(Datum array, int64 **values)
{
	Datum	   *datums;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &datums, NULL, &n);
	*values = palloc(sizeof(int64) * Max(n, 1));
	for (int i = 0; i < n; i++)
		(*values)[i] = DatumGetInt64(datums[i]);
	return n;
}

/*
 * Columns of SPI_tuptable, counted from 1.  Text comes back in the caller's
 * memory context, NULL for NULL; a datum only lives as long as the table.
 */
Datum
loyalty_spi_datum(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

char *
loyalty_spi_text(uint64 row, int column)
{
	bool		isnull;
	Datum		value = loyalty_spi_datum(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

Numeric
loyalty_spi_numeric(uint64 row, int column)
{
	bool		isnull;
	Datum		value = loyalty_spi_datum(row, column, &isnull);

	return isnull ? NULL : DatumGetNumericCopy(value);
}

/*
 * A column that is an integer, and not NULL.
 */
int32
loyalty_spi_int32(uint64 row, int column)
{
	bool		isnull;

	return DatumGetInt32(loyalty_spi_datum(row, column, &isnull));
}

/*
 * The first column, of type bigint, of so many rows that were just read; they
 * are freed.  Returns their number.
 */
int
loyalty_spi_int8s(uint64 n, int64 **values)
{
	bool		isnull;

	*values = palloc(sizeof(int64) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
		(*values)[i] = DatumGetInt64(loyalty_spi_datum(i, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/*
 * A text argument that cannot be NULL.
 */
char *
loyalty_required_text(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s cannot be NULL", name)));
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}
