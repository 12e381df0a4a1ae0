/*
 * config.c
 *	  The backend's copy of the configuration, and when to forget it.
 *
 * A statement trigger on each configuration table sends a relcache message
 * for the table; like a change of an attached ERP table it marks the copy
 * stale.  That makes a change transactional for free: visible to the changing
 * session at once, to the others at commit, and undone by a rollback.
 *
 * The invalidation callback only compares numbers and sets a flag: it runs in
 * places where any look into the catalogs would be a crash.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "config.h"
#include "outbox/outbox.h"
#include "rule/rule.h"
#include "source/source.h"

PG_FUNCTION_INFO_V1(loyalty_config_changed);

static LoyaltyConfig *config = NULL;
static bool stale = true;

/* nest levels at which the copy was pinned; an abort drops those above it */
static int *pins = NULL;
static int	npins = 0;
static int	pins_size = 0;
static uint64 generations = 0;

/* relations whose change makes the copy stale */
static Oid *watched = NULL;
static int	nwatched = 0;
static int	watched_size = 0;

static void
relation_changed(Datum arg, Oid relid)
{
	if (!OidIsValid(relid))
		stale = true;
	for (int i = 0; i < nwatched && !stale; i++)
		if (watched[i] == relid)
			stale = true;
	/* what was looked up by name may be gone as well */
	if (stale)
		loyalty_forget_relations();
}

void
loyalty_config_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}

/*
 * Let a change of this relation make the copy stale.
 */
void
loyalty_config_watch(Oid relid)
{
	for (int i = 0; i < nwatched; i++)
		if (watched[i] == relid)
			return;
	if (nwatched == watched_size)
	{
		int			size = Max(16, watched_size * 2);

		watched = watched == NULL
			? MemoryContextAlloc(TopMemoryContext, size * sizeof(Oid))
			: repalloc(watched, size * sizeof(Oid));
		watched_size = size;
	}
	watched[nwatched++] = relid;
}

static void
load(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "loyalty configuration",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old;
	LoyaltyConfig *fresh;
	LoyaltyIdentity save;

	/*
	 * What is watched is known before anything is read: a change that comes
	 * in while reading leaves the copy stale, to be read again next time.
	 * What came before must be seen, even by a transaction whose own snapshot
	 * is older: the copy outlives it, and nobody will say so again.
	 */
	nwatched = 0;
	loyalty_forget_relations();
	loyalty_config_watch(loyalty_relation("entry"));
	loyalty_config_watch(loyalty_relation("program"));
	loyalty_config_watch(loyalty_relation("tier"));
	loyalty_config_watch(loyalty_relation("tier_policy"));
	loyalty_config_watch(loyalty_relation("tier_path"));
	loyalty_config_watch(loyalty_relation("rule"));
	loyalty_config_watch(loyalty_relation("category"));
	loyalty_config_watch(loyalty_relation("expiry_policy"));
	loyalty_config_watch(loyalty_relation("redemption_policy"));
	loyalty_config_watch(loyalty_relation("reward"));
	loyalty_config_watch(loyalty_relation("message_setting"));
	loyalty_config_watch(loyalty_relation("source"));
	stale = false;

	old = MemoryContextSwitchTo(context);
	fresh = palloc0(sizeof(LoyaltyConfig));
	fresh->context = context;
	fresh->generation = ++generations;
	MemoryContextSwitchTo(old);

	PG_TRY();
	{
		loyalty_become(loyalty_owner(), &save);
		loyalty_connect();
		CommandCounterIncrement();
		PushActiveSnapshot(GetLatestSnapshot());
		loyalty_keep_snapshot(true);
		/* SPI results are copied by the loaders into the copy's own context */
		old = MemoryContextSwitchTo(context);
		fresh->programs = loyalty_load_programs();
		loyalty_load_tiers(fresh->programs);
		loyalty_load_expiry(fresh->programs);
		loyalty_load_policies(fresh->programs);
		loyalty_load_rewards(fresh->programs);
		loyalty_load_tellings(fresh->programs);
		fresh->sources = loyalty_load_sources(fresh->programs);
		MemoryContextSwitchTo(old);
		loyalty_keep_snapshot(false);
		PopActiveSnapshot();
		SPI_finish();
		loyalty_resume(&save);
	}
	PG_CATCH();
	{
		loyalty_keep_snapshot(false);
		stale = true;
		PG_RE_THROW();
	}
	PG_END_TRY();

	if (config != NULL)
		MemoryContextDelete(config->context);
	MemoryContextSetParent(context, CacheMemoryContext);
	config = fresh;
}

/*
 * The configuration as of now.  While it is pinned the same copy is given
 * out, so that pointers into it stay good through one evaluation.
 */
LoyaltyConfig *
loyalty_config(void)
{
	if (config == NULL || (stale && npins == 0))
		load();
	return config;
}

/*
 * Is the copy at hand good still?  Then the extension is there, too.
 */
bool
loyalty_config_is_current(void)
{
	return config != NULL && !stale;
}

void
loyalty_config_pin(void)
{
	(void) loyalty_config();
	if (npins == pins_size)
	{
		int			size = Max(16, pins_size * 2);

		pins = pins == NULL ? MemoryContextAlloc(TopMemoryContext, size * sizeof(int)) :
			repalloc(pins, size * sizeof(int));
		pins_size = size;
	}
	pins[npins++] = GetCurrentTransactionNestLevel();
}

void
loyalty_config_unpin(void)
{
	Assert(npins > 0);
	npins--;
}

/*
 * A subtransaction of that level, or (0) the transaction, is over: who pinned
 * the copy inside and did not return from there holds no pointer any more.
 */
void
loyalty_config_drop_pins(int level)
{
	while (npins > 0 && pins[npins - 1] >= level)
		npins--;
}

/*
 * What is compiled on first use is made in a memory context of its own, which
 * becomes part of what lives as long as the result.  So an attempt that fails,
 * for each document anew, leaves nothing behind.
 */
MemoryContext
loyalty_start_compiling(void)
{
	return MemoryContextSwitchTo(AllocSetContextCreate(CurrentMemoryContext, "loyalty compiled",
													   ALLOCSET_SMALL_SIZES));
}

void
loyalty_keep_compiled(MemoryContext caller, MemoryContext context)
{
	MemoryContextSetParent(CurrentMemoryContext, context);
	MemoryContextSwitchTo(caller);
}

/*
 * Trigger function config_changed(): tell every backend.
 */
Datum
loyalty_config_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "config_changed")));
	CacheInvalidateRelcache(trigdata->tg_relation);
	return PointerGetDatum(NULL);
}
