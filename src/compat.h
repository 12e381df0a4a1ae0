/*
 * compat.h
 *	  The only place that knows PostgreSQL versions: 15 to 18.
 */
#ifndef LOYALTY_COMPAT_H
#define LOYALTY_COMPAT_H

#include "access/genam.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "utils/acl.h"

#if PG_VERSION_NUM < 150000
#error "loyalty needs PostgreSQL 15 or newer"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#define LOYALTY_UPDATE_INDEXES_TYPE TU_UpdateIndexes
#define LOYALTY_ALL_INDEXES TU_All
#define loyalty_update_touched_indexes(x) ((x) != TU_None)
/* a heap-only update may concern summarizing indexes (BRIN), and only these */
#define loyalty_insert_index_tuples(rri, slot, estate, indexes) \
	ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL, (indexes) == TU_Summarizing)
#define loyalty_owns_relation(relid, role) \
	object_ownercheck(RelationRelationId, relid, role)
#else
#define LOYALTY_UPDATE_INDEXES_TYPE bool
#define LOYALTY_ALL_INDEXES true
#define loyalty_update_touched_indexes(x) (x)
#define loyalty_insert_index_tuples(rri, slot, estate, indexes) \
	ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL)
#define loyalty_owns_relation(relid, role) \
	pg_class_ownercheck(relid, role)
#endif

/* indexes that collect what was inserted (BRIN) look at it before they are closed */
#if PG_VERSION_NUM >= 170000
#define loyalty_index_insert_cleanup(index, info) index_insert_cleanup(index, info)
#else
#define loyalty_index_insert_cleanup(index, info) ((void) 0)
#endif

/* the extension's owner may be a role that nobody logs in as; before 17 he cannot run a worker */
#if PG_VERSION_NUM >= 170000
#define LOYALTY_WORKER_FLAGS BGWORKER_BYPASS_ROLELOGINCHECK
#else
#define LOYALTY_WORKER_FLAGS 0
#endif

/* run a portal at top level, once, to its end */
#if PG_VERSION_NUM >= 180000
#define loyalty_portal_run(portal, dest, completion) \
	PortalRun(portal, FETCH_ALL, true, dest, dest, completion)
#else
#define loyalty_portal_run(portal, dest, completion) \
	PortalRun(portal, FETCH_ALL, true, true, dest, dest, completion)
#endif

#if PG_VERSION_NUM >= 180000
#define loyalty_form_minimal_tuple(desc, values, nulls) \
	heap_form_minimal_tuple(desc, values, nulls, 0)
#define loyalty_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define loyalty_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#define loyalty_form_minimal_tuple(desc, values, nulls) \
	heap_form_minimal_tuple(desc, values, nulls)
#endif

/*
 * No stored row has the columns that are generated when they are read: an
 * expression that is to run on a row must say what these are made of.
 */
#if PG_VERSION_NUM >= 180000
#include "rewrite/rewriteHandler.h"
#define loyalty_expand_generated(expr, rel, varno) \
	expand_generated_columns_in_expr(expr, rel, varno)
#define loyalty_has_virtual_columns(desc) \
	((desc)->constr != NULL && (desc)->constr->has_generated_virtual)
#else
#define loyalty_expand_generated(expr, rel, varno) (expr)
#define loyalty_has_virtual_columns(desc) false
#endif

#if PG_VERSION_NUM >= 180000
#define LOYALTY_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "loyalty", .version = "1.0")
#else
#define LOYALTY_MODULE_MAGIC PG_MODULE_MAGIC
#endif

#endif							/* LOYALTY_COMPAT_H */
