/*
 * launcher.c
 *	  The process that starts upkeep in each database, time after time.
 *
 * It is there if the library is preloaded, connects to no database, and sleeps
 * as long as loyalty.worker_databases is empty.  The server starts it when
 * recovery has ended: on a standby there is none until the promotion.
 *
 * Every run is a process of its own, which ends with the run.  So nobody holds
 * a database that is to be dropped, or the extension, and a run that fails
 * takes nothing along.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "upkeep/upkeep.h"

/* seconds until the launcher is started again should it fail */
#define RESTART_SECONDS 10

/* how soon a run is tried again for which there was no process */
#define RETRY_SECONDS 5

PGDLLEXPORT void loyalty_launcher_main(Datum arg);

static char *worker_databases = NULL;
static char *worker_role = NULL;
static int	worker_interval = 300;

/* one of loyalty.worker_databases */
typedef struct Target
{
	char		name[NAMEDATALEN];
	TimestampTz due;
	BackgroundWorkerHandle *handle; /* of the last run */
	const char *complaint;		/* why none was started last time; said once */
	bool		listed;
} Target;

static List *targets = NIL;

/*
 * A list of names, as in search_path.
 */
static bool
check_worker_databases(char **newval, void **extra, GucSource source)
{
	char	   *raw = pstrdup(*newval);
	List	   *names;
	ListCell   *lc;

	if (!SplitGUCList(raw, ',', &names))
	{
		GUC_check_errdetail("List syntax is invalid.");
		return false;
	}
	foreach(lc, names)
		if (strlen(lfirst(lc)) >= NAMEDATALEN)
		{
			GUC_check_errdetail("A name of a database has at most %d bytes.", NAMEDATALEN - 1);
			return false;
		}
	return true;
}

/*
 * Bring the targets in line with the setting; those that stay keep their time.
 * Who is new among them is due at first.
 */
static void
read_setting(TimestampTz first)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	char	   *raw = pstrdup(worker_databases);
	List	   *names;
	List	   *kept = NIL;
	ListCell   *lc;

	foreach(lc, targets)
		((Target *) lfirst(lc))->listed = false;
	(void) SplitGUCList(raw, ',', &names);	/* has been checked */
	foreach(lc, names)
	{
		Target	   *t = NULL;
		ListCell   *known;

		foreach(known, targets)
			if (strcmp(((Target *) lfirst(known))->name, lfirst(lc)) == 0)
				t = lfirst(known);
		if (t == NULL)
		{
			t = palloc0(sizeof(Target));
			strlcpy(t->name, lfirst(lc), NAMEDATALEN);
			t->due = first;
			targets = lappend(targets, t);
		}
		t->listed = true;
	}
	foreach(lc, targets)
	{
		Target	   *t = lfirst(lc);

		if (t->listed)
			kept = lappend(kept, t);
		else
		{
			if (t->handle != NULL)
				pfree(t->handle);
			pfree(t);
		}
	}
	list_free(targets);
	targets = kept;
	list_free(names);
	pfree(raw);
	MemoryContextSwitchTo(old);
}

/*
 * OID of a database or role; InvalidOid if there is none of that name.  Without
 * a database there is no telling whether indexes can be opened: the catalog is
 * scanned.
 */
static Oid
find(Oid catalog, AttrNumber name_column, const char *name)
{
	Relation	rel = table_open(catalog, AccessShareLock);
	ScanKeyData key;
	TableScanDesc scan;
	HeapTuple	tuple;
	Oid			result = InvalidOid;
	bool		isnull;

	ScanKeyInit(&key, name_column, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum(name));
	scan = table_beginscan_catalog(rel, 1, &key);
	tuple = heap_getnext(scan, ForwardScanDirection);
	if (HeapTupleIsValid(tuple))
		result = DatumGetObjectId(heap_getattr(tuple, 1, RelationGetDescr(rel), &isnull));
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

static void
complain(Target *t, const char *complaint)
{
	if (t->complaint != complaint)
		ereport(LOG,
				(errmsg("loyalty upkeep of database \"%s\" is not started: %s", t->name, complaint)));
	t->complaint = complaint;
}

/*
 * Start a run, unless the last one still goes on.
 */
static void
start(Target *t, TimestampTz now)
{
	LoyaltyTask task = {InvalidOid, InvalidOid};
	pid_t		pid;

	t->due = TimestampTzPlusMilliseconds(now, worker_interval * INT64CONST(1000));
	if (t->handle != NULL && GetBackgroundWorkerPid(t->handle, &pid) != BGWH_STOPPED)
		return;
	if (t->handle != NULL)
		pfree(t->handle);
	t->handle = NULL;

	StartTransactionCommand();
	task.database = find(DatabaseRelationId, Anum_pg_database_datname, t->name);
	if (worker_role[0] != '\0')
		task.role = find(AuthIdRelationId, Anum_pg_authid_rolname, worker_role);
	CommitTransactionCommand();
	MemoryContextSwitchTo(TopMemoryContext);
	if (!OidIsValid(task.database))
		complain(t, "there is no such database");
	else if (worker_role[0] != '\0' && !OidIsValid(task.role))
		complain(t, "the role loyalty.worker_role does not exist");
	else if (!loyalty_start_worker(&task, t->name, &t->handle))
	{
		complain(t, "no free process, see max_worker_processes");
		t->due = TimestampTzPlusMilliseconds(now, Min(RETRY_SECONDS, worker_interval) * INT64CONST(1000));
	}
	else
		t->complaint = NULL;
}

/*
 * The launcher.
 */
void
loyalty_launcher_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	SetConfigOption("application_name", MyBgworkerEntry->bgw_name, PGC_USERSET, PGC_S_SESSION);
	MemoryContextSwitchTo(TopMemoryContext);

	/* not at once: should a run bring the server down, it must not do so in a circle */
	read_setting(TimestampTzPlusMilliseconds(GetCurrentTimestamp(), worker_interval * INT64CONST(1000)));
	while (!ShutdownRequestPending)
	{
		TimestampTz now;
		long		wait = -1;
		ListCell   *lc;

		CHECK_FOR_INTERRUPTS();
		now = GetCurrentTimestamp();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			read_setting(now);
		}
		foreach(lc, targets)
		{
			Target	   *t = lfirst(lc);
			TimestampTz latest = TimestampTzPlusMilliseconds(now, worker_interval * INT64CONST(1000));
			long		left;

			/* the interval may have been cut, or the clock set back */
			t->due = Min(t->due, latest);
			if (t->due <= now)
				start(t, now);
			left = TimestampDifferenceMilliseconds(now, t->due);
			wait = wait < 0 ? left : Min(wait, left);
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (wait < 0 ? 0 : WL_TIMEOUT),
						 wait, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	/* anything but 0: who has stopped only this process gets it back */
	proc_exit(1);
}

/*
 * Settings, and, where the library is preloaded, the launcher.
 */
void
loyalty_launcher_init(void)
{
	BackgroundWorker worker;

	DefineCustomStringVariable("loyalty.worker_databases",
							   "Databases in which a background worker runs upkeep().",
							   "A list of names; empty: none. Needs loyalty in shared_preload_libraries.",
							   &worker_databases, "", PGC_SIGHUP, GUC_LIST_INPUT,
							   check_worker_databases, NULL, NULL);
	DefineCustomIntVariable("loyalty.worker_interval",
							"Time between two runs of upkeep() in a database.", NULL,
							&worker_interval, 300, 1, 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomStringVariable("loyalty.worker_role",
							   "Role that runs upkeep() in the background.",
							   "Empty: the owner of the extension.",
							   &worker_role, "", PGC_SIGHUP, 0, NULL, NULL, NULL);
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;

	memset(&worker, 0, sizeof(worker));
	strlcpy(worker.bgw_name, "loyalty launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "loyalty launcher", BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_SECONDS;
	strlcpy(worker.bgw_library_name, "loyalty", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "loyalty_launcher_main", sizeof(worker.bgw_function_name));
	RegisterBackgroundWorker(&worker);
}
