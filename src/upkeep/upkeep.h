/*
 * upkeep.h
 *	  What time makes true is written down by steps; a worker may run them.
 */
#ifndef LOYALTY_UPKEEP_H
#define LOYALTY_UPKEEP_H

#include "fmgr.h"

#include "loyalty.h"

/* what a step is asked for: the next members after that number */
typedef struct LoyaltyUpkeepStep
{
	TimestampTz as_of;
	int64		after;
	int			batch;
} LoyaltyUpkeepStep;

/* step.c */
extern LoyaltyUpkeepStep loyalty_step_begin(FunctionCallInfo fcinfo, const char *function);
extern Datum loyalty_step_result(FunctionCallInfo fcinfo, int64 last, int64 done);

/* worker.c */
extern void loyalty_worker_init(void);

#endif							/* LOYALTY_UPKEEP_H */
