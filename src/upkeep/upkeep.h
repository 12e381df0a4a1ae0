/*
 * upkeep.h
 *	  Writing down what is true because time has passed: the steps of upkeep(),
 *	  and the worker that may run it.
 */
#ifndef LOYALTY_UPKEEP_H
#define LOYALTY_UPKEEP_H

#include "fmgr.h"
#include "postmaster/bgworker.h"

#include "ledger/ledger.h"

/* what a step is asked for: the next members after that number */
typedef struct LoyaltyUpkeepStep
{
	TimestampTz as_of;
	int64		after;
	int			batch;
} LoyaltyUpkeepStep;

/* a piece of work, from its begin to its end */
typedef struct LoyaltyWork
{
	MemoryContext context;
	LoyaltyIdentity save;
	int			nest;
	bool		planner;
} LoyaltyWork;

/* what a background worker is started for */
typedef struct LoyaltyTask
{
	Oid			database;
	Oid			role;			/* InvalidOid: the extension's owner */
} LoyaltyTask;

/* step.c */
extern LoyaltyUpkeepStep loyalty_step_begin(FunctionCallInfo fcinfo, const char *function);
extern void loyalty_work_begin(LoyaltyWork *work);
extern void loyalty_work_end(LoyaltyWork *work);
extern Datum loyalty_step_result(FunctionCallInfo fcinfo, int64 last, int64 done);

/* expire.c */
extern int64 loyalty_write_expiry(LoyaltyMember **members, int n, TimestampTz as_of);

/* launcher.c */
extern void loyalty_launcher_init(void);

/* worker.c */
extern bool loyalty_start_worker(const LoyaltyTask *task, const char *database, BackgroundWorkerHandle **handle);

#endif							/* LOYALTY_UPKEEP_H */
