/*
 * map.c
 *	  A mapping as one trigger on one relation sees it.
 *
 * Compiled once per backend and trigger (the leaves of a partitioned table
 * have triggers, and column numbers, of their own), kept until the
 * configuration or the relation changes.  A mapping that does not compile any
 * more is kept too, as unusable, with its error: the ERP's statement goes on.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "nodes/nodeFuncs.h"
#include "nodes/primnodes.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "config.h"
#include "errors.h"
#include "rule/condition.h"
#include "source/source.h"

static uint32 last_id = 0;

/*
 * Is relid the table, or a partition of it?
 */
static bool
belongs_to(Oid relid, Oid table)
{
	while (OidIsValid(relid))
	{
		if (relid == table)
			return true;
		relid = get_rel_relispartition(relid) ? get_partition_parent(relid, true) : InvalidOid;
	}
	return false;
}

static ExprState *
compile(LoyaltySource *source, LoyaltyItem item, const char *sql, Oid relid)
{
	bool		of_lines = item >= ITEM_FIRST_LINE;
	Expr	   *expr = loyalty_parse_sql(source, item, sql, 0,
										 of_lines ? source->header : relid,
										 of_lines ? relid : InvalidOid);

	return ExecInitExpr(expression_planner(expr), NULL);
}

/* the key is just an integer column: no expression needs to run */
static void
find_key_column(LoyaltyMap *map, LoyaltySource *source, LoyaltyItem item)
{
	Expr	   *expr = loyalty_parse_sql(source, item, source->items[item], 0,
										 map->of_lines ? source->header : map->relid,
										 map->of_lines ? map->relid : InvalidOid);

	if (IsA(expr, Var) && ((Var *) expr)->varno == 1 && ((Var *) expr)->varattno > 0 &&
		(exprType((Node *) expr) == INT4OID || exprType((Node *) expr) == INT8OID))
	{
		map->key_column = ((Var *) expr)->varattno;
		map->key_type = exprType((Node *) expr);
	}
}

/* columns that the conditions of rules look at */
static Bitmapset *
add_rule_columns(Bitmapset *names, LoyaltyMap *map, LoyaltyRuleBook *book)
{
	LoyaltySpace space = map->of_lines ? SPACE_LINE : SPACE_INVOICE;
	int			n = map->of_lines ? book->nline : book->ninvoice;
	int		   *numbers = map->of_lines ? book->line : book->invoice;

	for (int i = 0; i < n; i++)
		names = bms_add_member(names, book->spaces->columns[space][numbers[i]].attnum);
	return names;
}

/*
 * A partition may generate its columns in another way than the table, whose
 * way is the one that counts when documents are read.
 */
static bool
generates_otherwise(LoyaltyMap *map, Relation rel)
{
	return map->relid != (map->of_lines ? map->source->lines : map->source->header) &&
		loyalty_has_virtual_columns(RelationGetDescr(rel));
}

/* which of the relation's columns does the mapping look at? */
static void
collect_columns(LoyaltyMap *map, LoyaltySource *source, Relation rel)
{
	Bitmapset  *names = NULL;
	int			from = map->of_lines ? ITEM_FIRST_LINE : 0;
	int			to = map->of_lines ? LOYALTY_NITEMS : ITEM_FIRST_LINE;
	Oid			table = map->of_lines ? source->lines : source->header;
	int			x = -1;

	for (int i = from; i < to; i++)
	{
		LoyaltyExpression *e = source->expr[i];

		if (e == NULL)
			continue;
		if (e->whole_row)
			map->all_columns = true;
		names = bms_add_members(names, e->columns);
	}
	map->all_columns |= generates_otherwise(map, rel);
	names = add_rule_columns(names, map, loyalty_source_book(source));
	map->columns = palloc0(sizeof(AttrNumber) * (bms_num_members(names) + 1));
	while ((x = bms_next_member(names, x)) >= 0)
	{
		/* a partition may have its columns in another order */
		AttrNumber	attnum = table == map->relid ? x :
			get_attnum(map->relid, get_attname(table, x, false));

		if (attnum == InvalidAttrNumber)
			map->all_columns = true;
		else
			map->columns[map->ncolumns++] = attnum;
	}
}

/* the document's own key is not read off its row again */
static bool
is_plain(LoyaltySource *source, LoyaltyItem item)
{
	LoyaltyExpression *e = source->expr[item];

	return e == NULL || (e->plain && (!e->dated || item == ITEM_KEY));
}

/*
 * Header facts can be computed later from the mapped columns alone, if no
 * expression reads anything else.  If only some do not, these can still tell
 * whose the version before was.
 */
static void
prepare_direct(LoyaltyMap *map, LoyaltySource *source, Relation rel)
{
	List	   *columns;
	ListCell   *lc;
	bool		direct = true;
	bool		posted = is_plain(source, ITEM_POSTED) && is_plain(source, ITEM_VOID) && is_plain(source, ITEM_FILTER);
	int			after_customer = FACT_CUSTOMER + source->expr[ITEM_CUSTOMER]->nparts;

	if (map->all_columns || !is_plain(source, ITEM_CUSTOMER))
		return;
	for (int item = 0; item < ITEM_FIRST_LINE; item++)
		direct &= is_plain(source, item);

	map->projection = CreateTemplateTupleDesc(map->ncolumns);
	for (int c = 0; c < map->ncolumns; c++)
		TupleDescCopyEntry(map->projection, c + 1, RelationGetDescr(rel), map->columns[c]);
	columns = loyalty_fact_columns(source);
	map->nfacts = list_length(columns);
	map->facts = palloc0(sizeof(ExprState *) * map->nfacts);
	foreach(lc, columns)
	{
		int			i = foreach_current_index(lc);

		if (direct || (posted && i == FACT_POSTED) || (i >= FACT_CUSTOMER && i < after_customer))
			map->facts[i] = compile(source, ITEM_KEY, lfirst(lc), map->relid);
	}
	map->slot = MakeSingleTupleTableSlot(CreateTupleDescCopy(RelationGetDescr(rel)), &TTSOpsVirtual);
	map->direct = direct;
}

typedef struct BuildWork
{
	LoyaltyMap *map;
	Relation	rel;
} BuildWork;

static void
build(void *arg)
{
	LoyaltyMap *map = ((BuildWork *) arg)->map;
	Relation	rel = ((BuildWork *) arg)->rel;
	LoyaltySource *source = map->source;
	LoyaltyItem item = map->of_lines ? ITEM_LINE_PARENT : ITEM_KEY;
	LoyaltyExpression *key;
	LoyaltyExpression *filter;
	MemoryContext context = loyalty_config()->context;
	LoyaltyIdentity save;
	int			nest;

	loyalty_become_reader(loyalty_source_owner(source), &save);
	nest = loyalty_pin_settings(source->search_path, source->program->time_zone);

	key = loyalty_compile_item(source, item, context);
	find_key_column(map, source, item);
	map->nkeys = key->nparts;
	map->key_infallible = key->infallible;
	for (int i = 0; i < key->nparts; i++)
	{
		bool		dated = loyalty_key_is_dated(key->types[i]);

		map->keys[i] = compile(source, item, dated ? key->bare[i] : key->parts[i], map->relid);
		map->key_types[i] = dated ? key->types[i] : TEXTOID;
	}
	map->usable = true;

	for (int i = map->of_lines ? ITEM_FIRST_LINE : 0; i < (map->of_lines ? LOYALTY_NITEMS : ITEM_FIRST_LINE); i++)
		(void) loyalty_compile_item(source, i, context);
	collect_columns(map, source, rel);
	filter = map->of_lines ? NULL : source->expr[ITEM_FILTER];
	if (filter != NULL && filter->infallible && !filter->whole_row && !generates_otherwise(map, rel))
		map->filter = compile(source, ITEM_FILTER, filter->parts[0], map->relid);
	if (!map->of_lines)
		prepare_direct(map, source, rel);

	loyalty_unpin_settings(nest);
	loyalty_resume(&save);
}

/*
 * The map for the trigger that fires now; NULL if its table is not attached.
 */
LoyaltyMap *
loyalty_map_for_trigger(TriggerData *trigdata)
{
	LoyaltyConfig *config = loyalty_config();
	Trigger    *trigger = trigdata->tg_trigger;
	Relation	rel = trigdata->tg_relation;
	LoyaltyMap *map;
	MemoryContext old;
	BuildWork	w;
	ListCell   *lc;
	bool		of_lines;

	foreach(lc, config->maps)
	{
		map = lfirst(lc);
		if (map->trigger == trigger->tgoid && map->relid == RelationGetRelid(rel))
			return map;
	}

	if (trigger->tgnargs != 2)
		return NULL;
	of_lines = strcmp(trigger->tgargs[1], "lines") == 0;
	map = NULL;
	foreach(lc, config->sources)
	{
		LoyaltySource *source = lfirst(lc);

		if (source->attached && strcmp(source->name, trigger->tgargs[0]) == 0 &&
			belongs_to(RelationGetRelid(rel), of_lines ? source->lines : source->header))
		{
			map = MemoryContextAllocZero(config->context, sizeof(LoyaltyMap));
			map->source = source;
		}
	}
	if (map == NULL)
		return NULL;

	map->id = ++last_id;
	map->trigger = trigger->tgoid;
	map->relid = RelationGetRelid(rel);
	map->of_lines = of_lines;
	loyalty_config_watch(map->relid);
	old = MemoryContextSwitchTo(config->context);
	map->econtext = CreateStandaloneExprContext();

	/*
	 * A mapping that does not compile must not fail the ERP's statement, so
	 * this happens in a subtransaction; it does once per backend.
	 */
	loyalty_config_pin();
	w.map = map;
	w.rel = rel;
	map->error = loyalty_attempt(build, &w, NULL, false);
	if (map->error != NULL)
	{
		/* what is known of the columns may be half of it */
		map->all_columns = true;
		map->direct = false;
		map->slot = NULL;
		map->filter = NULL;
	}
	loyalty_config_unpin();
	config->maps = lappend(config->maps, map);
	MemoryContextSwitchTo(old);
	return map;
}

/*
 * A map by its number; NULL if the configuration was loaded anew since.
 */
LoyaltyMap *
loyalty_map_by_id(uint32 id)
{
	ListCell   *lc;

	if (id == 0)
		return NULL;
	foreach(lc, loyalty_config()->maps)
		if (((LoyaltyMap *) lfirst(lc))->id == id)
			return lfirst(lc);
	return NULL;
}

/*
 * Take up a captured row, for loyalty_map_facts() to look at.
 */
void
loyalty_map_load(LoyaltyMap *map, MinimalTuple row)
{
	TupleTableSlot *slot = map->slot;
	MemoryContext old;
	Datum	   *columns;
	bool	   *absent;
	HeapTupleData tuple;

	ResetExprContext(map->econtext);
	old = MemoryContextSwitchTo(map->econtext->ecxt_per_tuple_memory);
	columns = palloc(sizeof(Datum) * (map->ncolumns + 1));
	absent = palloc(sizeof(bool) * (map->ncolumns + 1));
	MemoryContextSwitchTo(old);
	tuple.t_len = row->t_len + MINIMAL_TUPLE_OFFSET;
	tuple.t_data = (HeapTupleHeader) ((char *) row - MINIMAL_TUPLE_OFFSET);
	heap_deform_tuple(&tuple, map->projection, columns, absent);

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts);
	for (int i = 0; i < map->ncolumns; i++)
	{
		slot->tts_values[map->columns[i] - 1] = columns[i];
		slot->tts_isnull[map->columns[i] - 1] = absent[i];
	}
	ExecStoreVirtualTuple(slot);
	map->econtext->ecxt_scantuple = slot;
}

/*
 * Header facts of the row that was taken up, in the order of LoyaltyFactColumn,
 * from one to before another, into arrays of map->nfacts.  They are good until
 * the next row is taken up.
 */
void
loyalty_map_facts(LoyaltyMap *map, int from, int to, Datum *values, bool *nulls)
{
	for (int i = from; i < to; i++)
	{
		nulls[i] = map->facts[i] == NULL;
		if (map->facts[i] != NULL)
			values[i] = ExecEvalExprSwitchContext(map->facts[i], map->econtext, &nulls[i]);
	}
}
