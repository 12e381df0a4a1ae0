/*
 * loyalty.c
 *	  The module: its magic, and what it hooks into the server.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"

#include "compat.h"
#include "config.h"
#include "ledger/ledger.h"
#include "outbox/outbox.h"
#include "source/source.h"
#include "upkeep/upkeep.h"

LOYALTY_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

/*
 * The transaction ends: evaluate what it touched before it commits, forget
 * everything after.  Deferred triggers of the ERP have run by now, so this
 * sees what will be committed.
 */
static void
end_of_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			loyalty_recall_touched();
			(void) loyalty_flush_touched(0);
			if (event == XACT_EVENT_PRE_PREPARE)
				loyalty_queue_unmet();
			else
				loyalty_send_announcements();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			loyalty_forget_touched();
			loyalty_forget_locks();
			loyalty_forget_announcements();
			loyalty_store_reset();
			loyalty_config_drop_pins(0);
			(void) loyalty_planner_scope(true);
			break;
		default:
			break;
	}
}

static void
end_of_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		loyalty_touched_subabort(GetCurrentTransactionNestLevel());
		loyalty_announcements_subabort(GetCurrentTransactionNestLevel());
		loyalty_config_drop_pins(GetCurrentTransactionNestLevel());
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		loyalty_touched_subcommit(GetCurrentTransactionNestLevel());
		loyalty_announcements_subcommit(GetCurrentTransactionNestLevel());
	}
}

void
_PG_init(void)
{
	loyalty_config_init();
	loyalty_launcher_init();
	RegisterXactCallback(end_of_transaction, NULL);
	RegisterSubXactCallback(end_of_subtransaction, NULL);
}
