/*
 * capture.c
 *	  The trigger on attached tables: which documents did a statement touch?
 *
 * It never decides anything and never fails the ERP's statement.  A row whose
 * mapped columns did not change is dismissed by comparing them; of the others
 * the key is noted, and of headers the mapped columns as well where that
 * saves reading the row again.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/rel.h"

#include "compat.h"
#include "config.h"
#include "ledger/ledger.h"
#include "source/source.h"

PG_FUNCTION_INFO_V1(loyalty_capture);

/*
 * Do two versions of a row differ in anything that is mapped?  Compared as
 * bytes: a value that was not touched is the same down to its toast pointer.
 */
static bool
differs(LoyaltyMap *map, TupleTableSlot *old, TupleTableSlot *new)
{
	TupleDesc	desc = new->tts_tupleDescriptor;
	int			n = map->all_columns ? desc->natts : map->ncolumns;

	for (int i = 0; i < n; i++)
	{
		AttrNumber	attnum = map->all_columns ? i + 1 : map->columns[i];
		Form_pg_attribute attr = TupleDescAttr(desc, attnum - 1);
		bool		null1,
					null2;
		Datum		value1,
					value2;

		if (attr->attisdropped)
			continue;
		value1 = slot_getattr(old, attnum, &null1);
		value2 = slot_getattr(new, attnum, &null2);
		if (null1 != null2)
			return true;
		if (!null1 && !datumIsEqual(value1, value2, attr->attbyval, attr->attlen))
			return true;
	}
	return false;
}

static bool
passes_filter(LoyaltyMap *map, TupleTableSlot *slot)
{
	bool		isnull;
	Datum		result;

	if (map->filter == NULL)
		return true;
	map->econtext->ecxt_scantuple = slot;
	result = ExecEvalExprSwitchContext(map->filter, map->econtext, &isnull);
	return !isnull && DatumGetBool(result);
}

static char *
evaluate_key(LoyaltyMap *map, TupleTableSlot *slot)
{
	char	   *parts[LOYALTY_MAX_KEY];
	bool		isnull;

	if (map->key_column != 0)
	{
		Datum		value = slot_getattr(slot, map->key_column, &isnull);
		char	   *text;

		if (isnull)
			return NULL;
		text = palloc(MAXINT8LEN + 1);
		if (map->key_type == INT4OID)
			pg_ltoa(DatumGetInt32(value), text);
		else
			pg_lltoa(DatumGetInt64(value), text);
		return text;
	}
	map->econtext->ecxt_scantuple = slot;
	for (int i = 0; i < map->nkeys; i++)
	{
		Datum		value = ExecEvalExpr(map->keys[i], map->econtext, &isnull);

		parts[i] = isnull ? NULL : loyalty_key_part(value, map->key_types[i]);
	}
	return loyalty_compose_key(parts, map->nkeys);
}

typedef struct KeyWork
{
	LoyaltyMap *map;
	TupleTableSlot *slot;
	char	   *key;
} KeyWork;

static void
work_out_key(void *arg)
{
	KeyWork    *w = arg;

	w->key = evaluate_key(w->map, w->slot);
}

/*
 * The key of a row's document, NULL if it has none.  An expression that could
 * fail runs in a subtransaction; if it does, *failed is set.
 */
static char *
key_of(LoyaltyMap *map, TupleTableSlot *slot, bool *failed)
{
	KeyWork		w = {map, slot, NULL};

	if (map->key_column != 0 || map->key_infallible)
		return evaluate_key(map, slot);
	if (loyalty_attempt(work_out_key, &w, NULL, false) == NULL)
		return w.key;
	*failed = true;
	return NULL;
}

/*
 * The mapped columns of a header row, NULL where facts must be read by query.
 */
static MinimalTuple
project(LoyaltyMap *map, TupleTableSlot *slot)
{
	Datum	   *values;
	bool	   *nulls;

	if (map->slot == NULL)
		return NULL;
	values = palloc(sizeof(Datum) * (map->ncolumns + 1));
	nulls = palloc(sizeof(bool) * (map->ncolumns + 1));
	for (int i = 0; i < map->ncolumns; i++)
	{
		values[i] = slot_getattr(slot, map->columns[i], &nulls[i]);
		/* a toasted value is not worth carrying around */
		if (!nulls[i] && TupleDescAttr(map->projection, i)->attlen == -1 &&
			VARATT_IS_EXTERNAL(DatumGetPointer(values[i])))
			return NULL;
	}
	return loyalty_form_minimal_tuple(map->projection, values, nulls);
}

static void
capture_row(LoyaltyMap *map, TriggerData *trigdata)
{
	int32		source = map->source->id;
	bool		insert = TRIGGER_FIRED_BY_INSERT(trigdata->tg_event);
	bool		update = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event);
	TupleTableSlot *old = insert ? NULL : trigdata->tg_trigslot;
	TupleTableSlot *new = insert ? trigdata->tg_trigslot : update ? trigdata->tg_newslot : NULL;
	MemoryContext context;
	char	   *old_key = NULL;
	char	   *new_key = NULL;
	bool		failed = false;

	if (update && !differs(map, old, new))
		return;
	if (!map->usable)
	{
		loyalty_touch(source, "", TOUCH_CHANGE, NULL, NULL, 0);
		return;
	}

	ResetExprContext(map->econtext);
	context = MemoryContextSwitchTo(map->econtext->ecxt_per_tuple_memory);
	if (old != NULL && passes_filter(map, old))
		old_key = key_of(map, old, &failed);
	if (new != NULL && passes_filter(map, new))
		new_key = key_of(map, new, &failed);

	if (old_key != NULL && (new_key == NULL || strcmp(old_key, new_key) != 0))
	{
		if (map->of_lines)
			loyalty_touch(source, old_key, TOUCH_LINE, NULL, NULL, 0);
		else
			loyalty_touch(source, old_key, TOUCH_CHANGE, NULL, project(map, old), map->id);
	}
	if (new_key != NULL)
	{
		if (map->of_lines)
			loyalty_touch(source, new_key, TOUCH_LINE, NULL, NULL, 0);
		else
			loyalty_touch(source, new_key, insert ? TOUCH_INSERT : TOUCH_CHANGE,
						  map->direct ? project(map, new) : NULL, update ? project(map, old) : NULL, map->id);
	}
	if (old_key != NULL && new_key != NULL && !map->of_lines && strcmp(old_key, new_key) != 0)
		loyalty_touch_renamed(source, old_key, new_key);
	if (failed)
		loyalty_touch(source, "", TOUCH_CHANGE, NULL, NULL, 0);
	MemoryContextSwitchTo(context);
}

/* what the trigger's FmgrInfo remembers from row to row of a statement */
typedef struct StatementMap
{
	uint64		generation;		/* of the configuration the map is from */
	Oid			trigger;
	LoyaltyMap *map;
} StatementMap;

/*
 * The map for this firing; NULL if the table is not attached.
 */
static LoyaltyMap *
map_of_statement(FmgrInfo *flinfo, TriggerData *trigdata)
{
	StatementMap *memo = flinfo->fn_extra;
	uint64		generation = loyalty_config()->generation;

	if (memo == NULL)
		memo = flinfo->fn_extra = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(StatementMap));
	if (memo->generation != generation || memo->trigger != trigdata->tg_trigger->tgoid)
	{
		memo->map = loyalty_map_for_trigger(trigdata);
		memo->trigger = trigdata->tg_trigger->tgoid;
		memo->generation = generation;
	}
	return memo->map;
}

/*
 * Trigger function capture('source', 'header' | 'lines').
 */
Datum
loyalty_capture(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	LoyaltyMap *map;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "capture")));
	if (!TRIGGER_FIRED_AFTER(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired AFTER the event", "capture")));

	/* nothing below may have the map taken away under its hands */
	loyalty_config_pin();
	map = map_of_statement(fcinfo->flinfo, trigdata);

	/* without a map the trigger outlived its attachment, or was put where none is */
	if (map != NULL)
	{
		if (TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
			capture_row(map, trigdata);
		else if (TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event))
			loyalty_touch(map->source->id, "", TOUCH_CHANGE, NULL, NULL, 0);
		else if (map->source->evaluate == EVALUATE_STATEMENT)
			(void) loyalty_flush_touched(map->source->id);
	}
	loyalty_config_unpin();
	return PointerGetDatum(NULL);
}
