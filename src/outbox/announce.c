/*
 * announce.c
 *	  NOTIFY for programmes that have new messages.
 *
 * It is sent as the last thing before the commit and not where a message is
 * written: a transaction that has notified cannot be prepared, and an ERP's
 * two-phase commit must not fail because of us.  What a prepared transaction
 * wrote is found by the consumers' next look.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "outbox/outbox.h"

#define CHANNEL "loyalty_message"

/* the server takes this many bytes at most */
#define MAX_PAYLOAD 7999

/* a queue that listeners do not empty makes commits fail once it is full */
#define BUSY 0.5

/* a programme to be announced; the list lives as long as the transaction */
typedef struct Announcement
{
	char	   *program;
	int			level;			/* of the subtransaction that wrote the message */
} Announcement;

static List *announcements = NIL;

/*
 * A message of that programme was written.
 */
void
loyalty_announce(LoyaltyProgram *program, LoyaltyMessageKind kind)
{
	int			level = GetCurrentTransactionNestLevel();
	MemoryContext old;
	Announcement *a;
	ListCell   *lc;

	if (program->telling == NULL || !program->telling->notify[kind] || strlen(program->name) > MAX_PAYLOAD)
		return;
	foreach(lc, announcements)
	{
		a = lfirst(lc);
		if (a->level <= level && strcmp(a->program, program->name) == 0)
			return;
	}
	old = MemoryContextSwitchTo(TopTransactionContext);
	a = palloc(sizeof(Announcement));
	a->program = pstrdup(program->name);
	a->level = level;
	announcements = lappend(announcements, a);
	MemoryContextSwitchTo(old);
}

/*
 * The transaction commits.
 */
void
loyalty_send_announcements(void)
{
	ListCell   *lc;

	if (announcements == NIL)
		return;
	if (DatumGetFloat8(DirectFunctionCall1(pg_notification_queue_usage, (Datum) 0)) < BUSY)
		foreach(lc, announcements)
			Async_Notify(CHANNEL, ((Announcement *) lfirst(lc))->program);
	announcements = NIL;
}

/*
 * The transaction is over, or prepared.
 */
void
loyalty_forget_announcements(void)
{
	announcements = NIL;
}

/*
 * A subtransaction of that level is undone, with the messages it wrote.
 */
void
loyalty_announcements_subabort(int level)
{
	ListCell   *lc;

	foreach(lc, announcements)
		if (((Announcement *) lfirst(lc))->level >= level)
			announcements = foreach_delete_current(announcements, lc);
}

/*
 * It is part of its parent from now on.
 */
void
loyalty_announcements_subcommit(int level)
{
	ListCell   *lc;

	foreach(lc, announcements)
		if (((Announcement *) lfirst(lc))->level == level)
			((Announcement *) lfirst(lc))->level--;
}
