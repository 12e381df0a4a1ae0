/*
 * config.h
 *	  The backend's copy of the configuration: programmes with their tiers and
 *	  rules, sources with their compiled mappings.
 */
#ifndef LOYALTY_CONFIG_H
#define LOYALTY_CONFIG_H

#include "nodes/pg_list.h"

#include "loyalty.h"

typedef struct LoyaltyConfig
{
	MemoryContext context;		/* everything below lives and dies here */
	List	   *programs;		/* of LoyaltyProgram * */
	List	   *sources;		/* of LoyaltySource * */
	List	   *maps;			/* of LoyaltyMap *, added as triggers fire */
	uint64		generation;		/* different for every copy ever loaded */
} LoyaltyConfig;

extern LoyaltyConfig *loyalty_config(void);
extern bool loyalty_config_is_current(void);
extern void loyalty_config_pin(void);
extern void loyalty_config_unpin(void);
extern void loyalty_config_drop_pins(int level);
extern MemoryContext loyalty_start_compiling(void);
extern void loyalty_keep_compiled(MemoryContext caller, MemoryContext context);
extern void loyalty_config_watch(Oid relid);
extern void loyalty_config_init(void);

#endif							/* LOYALTY_CONFIG_H */
