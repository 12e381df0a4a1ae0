/*
 * loyalty.h
 *	  Vocabulary that every room shares, and the door of the engine room
 *	  (session.c): whose rights, which settings, which kept plans.
 */
#ifndef LOYALTY_H
#define LOYALTY_H

#include "postgres.h"

#include "executor/spi.h"
#include "utils/numeric.h"
#include "utils/relcache.h"

#define LOYALTY_SCHEMA "loyalty"

/* points are counted in hundredths, exactly */
typedef int64 Points;

/* the identity a piece of work ran under before loyalty_become() */
typedef struct LoyaltyIdentity
{
	Oid			role;
	int			security;
} LoyaltyIdentity;

/* a statement of the engine's own, prepared once per backend */
#define LOYALTY_MAX_PARAMS 32
typedef struct LoyaltyPlan
{
	const char *sql;
	int			nparams;
	Oid			types[LOYALTY_MAX_PARAMS];
	SPIPlanPtr	plan;
} LoyaltyPlan;

/* session.c */
extern bool loyalty_installed(void);
extern Oid	loyalty_relation(const char *relname);
extern Oid	loyalty_owner(void);
extern void loyalty_forget_relations(void);
extern bool loyalty_is_plain(Relation rel, int natts);
extern void loyalty_refuse_on_standby(const char *function);
extern void loyalty_become(Oid role, LoyaltyIdentity *save);
extern void loyalty_become_reader(Oid role, LoyaltyIdentity *save);
extern void loyalty_resume(const LoyaltyIdentity *save);
extern int	loyalty_pin_settings(const char *search_path, const char *time_zone);
extern void loyalty_pin_parser(void);
extern void loyalty_pin_planner(void);
extern void loyalty_pin_queue_planner(void);
extern bool loyalty_planner_scope(bool pinned);
extern void loyalty_unpin_settings(int nestlevel);
extern ErrorData *loyalty_attempt(void (*work) (void *), void *arg, MemoryContext context, bool undo);
extern void loyalty_connect(void);
extern int	loyalty_execute(const char *sql);
extern int	loyalty_execute_with(const char *sql, Oid type, Datum value);
extern void loyalty_keep_snapshot(bool keep);
extern int	loyalty_execute_plan(SPIPlanPtr plan, Datum *values, const char *nulls);
extern SPIPlanPtr loyalty_keep_plan(MemoryContext context, const char *sql, int nparams, Oid *types);
extern uint64 loyalty_run(LoyaltyPlan *plan, Datum *values, const char *nulls);
extern uint64 loyalty_write(LoyaltyPlan *plan, Datum *values, const char *nulls);
extern Datum loyalty_text_array(char **strings, int n);
extern Datum loyalty_int8_array(int64 *values, int n);
extern int	loyalty_int8_values(Datum array, int64 **values);
extern char *loyalty_spi_text(uint64 row, int column);
extern Datum loyalty_spi_datum(uint64 row, int column, bool *isnull);
extern int32 loyalty_spi_int32(uint64 row, int column);
extern int	loyalty_spi_int8s(uint64 n, int64 **values);
extern char *loyalty_required_text(FunctionCallInfo fcinfo, int n, const char *name);
extern Numeric loyalty_spi_numeric(uint64 row, int column);

#endif							/* LOYALTY_H */
