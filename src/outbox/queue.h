/*
 * queue.h
 *	  What the calls of consumers have in common.
 */
#ifndef LOYALTY_QUEUE_H
#define LOYALTY_QUEUE_H

#include "fmgr.h"

#include "outbox/outbox.h"

/* a call: the role is the books' owner's, SPI is connected, plans are pinned */
typedef struct LoyaltyQueueCall
{
	LoyaltyIdentity save;
	int			nest;
	bool		planner;
	TimestampTz at;
} LoyaltyQueueCall;

/*
 * Plans must be good whether nothing waits or millions do.  So each statement
 * is written in a way that leaves one index to choose: FETCHED does not imply
 * the index of what waits.
 */
#define LOYALTY_MESSAGE_FETCHED \
	"m.state NOT IN ('new', 'done', 'dead')"

/* messages by their keys, which are the first three parameters */
#define LOYALTY_THESE_MESSAGES \
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS k (member_id, kind, cause)" \
	" WHERE m.member_id = k.member_id AND m.kind = k.kind AND m.cause = k.cause"

/* door.c */
extern void loyalty_queue_begin(LoyaltyQueueCall *c, const char *function, FunctionCallInfo fcinfo, int at);
extern void loyalty_queue_end(LoyaltyQueueCall *c);
extern char *loyalty_consumer_argument(FunctionCallInfo fcinfo);
extern void loyalty_unknown_kind(const char *name);
extern int	loyalty_kind_argument(FunctionCallInfo fcinfo, int n);
extern TimestampTz loyalty_later(TimestampTz at, Datum interval, const char *name);
extern int	loyalty_attempts_allowed(int32 program_id, int kind);

#endif							/* LOYALTY_QUEUE_H */
