/*
 * worker.c
 *	  A process that runs CALL loyalty.upkeep() in one database, and ends.
 *
 * It must not lend its rights to anybody: the extension is trusted, its owner
 * may be an ordinary role, who can replace what is called here.  So it runs
 * as that owner.  Who he is, only the database knows: a first process looks,
 * as the bootstrap superuser but calling nothing, and leaves the run to a
 * second one, unless the owner is that very superuser.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "upkeep/upkeep.h"

#define UPKEEP "CALL loyalty.upkeep()"

PGDLLEXPORT void loyalty_worker_main(Datum arg);

StaticAssertDecl(sizeof(LoyaltyTask) <= BGW_EXTRALEN, "a task must fit into bgw_extra");

/*
 * Start a process for a task; false if there is none to be had.
 */
bool
loyalty_start_worker(const LoyaltyTask *task, const char *database, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	snprintf(worker.bgw_name, BGW_MAXLEN, "loyalty upkeep of %s", database);
	strlcpy(worker.bgw_type, "loyalty upkeep", BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "loyalty", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "loyalty_worker_main", sizeof(worker.bgw_function_name));
	memcpy(worker.bgw_extra, task, sizeof(LoyaltyTask));
	worker.bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

/*
 * Owner of the extension; InvalidOid if the database does not have it.
 */
static Oid
extension_owner(void)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			owner = InvalidOid;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("loyalty"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return owner;
}

/*
 * Run the procedure as a client's statement would be: through a portal, which
 * is what lets it commit.
 */
static void
run_upkeep(void)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "loyalty upkeep", ALLOCSET_DEFAULT_SIZES);
	DestReceiver *receiver = CreateDestReceiver(DestNone);
	QueryCompletion completion;
	RawStmt    *raw;
	List	   *plans;
	Portal		portal;

	MemoryContextSwitchTo(context);
	raw = linitial_node(RawStmt, pg_parse_query(UPKEEP));
	StartTransactionCommand();
	MemoryContextSwitchTo(context);
	PushActiveSnapshot(GetTransactionSnapshot());
	plans = pg_plan_queries(pg_analyze_and_rewrite_fixedparams(raw, UPKEEP, NULL, 0, NULL), UPKEEP, 0, NULL);
	PopActiveSnapshot();

	portal = CreatePortal("", true, true);
	portal->visible = false;
	PortalDefineQuery(portal, NULL, UPKEEP, CreateCommandTag(raw->stmt), plans, NULL);
	PortalStart(portal, NULL, 0, InvalidSnapshot);
	(void) loyalty_portal_run(portal, receiver, &completion);
	PortalDrop(portal, false);
	receiver->rDestroy(receiver);
	CommitTransactionCommand();
	/* from PostgreSQL 18 on a commit goes back to where the transaction began */
	MemoryContextSwitchTo(TopMemoryContext);
	MemoryContextDelete(context);
}

static void
set(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * The worker.
 */
void
loyalty_worker_main(Datum arg)
{
	LoyaltyTask task;
	BackgroundWorkerHandle *handle;
	Oid			owner;

	memcpy(&task, MyBgworkerEntry->bgw_extra, sizeof(LoyaltyTask));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(task.database, task.role, LOYALTY_WORKER_FLAGS);

	SetConfigOption("application_name", MyBgworkerEntry->bgw_name, PGC_USERSET, PGC_S_SESSION);
	set("search_path", "pg_catalog, pg_temp");
	set("default_transaction_isolation", "read committed");
	/* of what is parked again every time loyalty.parked tells, once */
	set("log_min_messages", "error");

	pgstat_report_activity(STATE_RUNNING, UPKEEP);
	StartTransactionCommand();
	owner = extension_owner();
	CommitTransactionCommand();
	if (!OidIsValid(owner))
		proc_exit(0);
	if (!OidIsValid(task.role) && owner != GetUserId())
	{
		task.role = owner;
		if (!loyalty_start_worker(&task, MyBgworkerEntry->bgw_name + strlen("loyalty upkeep of "), &handle))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
					 errmsg("no free process for loyalty upkeep"),
					 errhint("Consider increasing the configuration parameter \"max_worker_processes\".")));
		/* the launcher knows of us only */
		(void) WaitForBackgroundWorkerShutdown(handle);
		proc_exit(0);
	}
	run_upkeep();
	pgstat_report_activity(STATE_IDLE, NULL);
	proc_exit(0);
}
