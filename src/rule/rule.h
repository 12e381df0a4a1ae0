/*
 * rule.h
 *	  Programmes, tiers and rules as the backend knows them, and what they
 *	  make of the amounts of a document.
 */
#ifndef LOYALTY_RULE_H
#define LOYALTY_RULE_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "pgtime.h"
#include "utils/date.h"

#include "points/points.h"

typedef struct LoyaltyTier
{
	int32		id;
	char	   *name;
	Numeric		threshold;
	Numeric		rate;
} LoyaltyTier;

typedef struct LoyaltyRule
{
	int32		id;
	char	   *name;
	int32		version;
	Numeric		points;
	Numeric		per_amount;
	bool		step;			/* only whole multiples of per_amount */
	bool		per_line;		/* on each line's amount, not the document's */
	bool		current;
	DateADT		valid_from;
	DateADT		valid_to;
} LoyaltyRule;

typedef enum LoyaltyScope
{
	SCOPE_DOCUMENT,
	SCOPE_LINE,
	SCOPE_CARRY
} LoyaltyScope;

typedef struct LoyaltyProgram
{
	int32		id;
	char	   *name;
	char	   *time_zone;
	pg_tz	   *tz;
	char	   *currency;
	int			unit;			/* point unit in hundredths */
	LoyaltyRounding rounding;
	LoyaltyScope scope;
	bool		crossing_new;
	bool		write_off;
	bool		explicit_enrolment;
	List	   *companies;		/* of char *; NIL for all */
	bool		any_company;
	DateADT		valid_from;
	DateADT		valid_to;
	List	   *tiers;			/* of LoyaltyTier *, ascending threshold */
	List	   *rules;			/* of LoyaltyRule *, every version, in order of id */
	struct LoyaltyPolicy *policy;	/* NULL: points are only collected */
} LoyaltyProgram;

/* how points can be spent; limits are 0 where there is none */
typedef struct LoyaltyPolicy
{
	Numeric		point_value;	/* money that one point pays */
	int			value_scale;
	Points		min;
	Points		max;
	Points		multiple;
	Numeric		min_order;
	Numeric		max_percent;
	List	   *excluded;		/* of char *, categories */
	Points		limit;
	char	   *period;
	bool		exact_rest;
	bool		draw_paid;
	int			grace_days;
	int			hold_minutes;
	Points		clerk_limit;
} LoyaltyPolicy;

/* what a line (or a document without lines) puts into the evaluation */
typedef struct LoyaltyBasis
{
	const char *line;			/* line key, NULL for the document as such */
	LoyaltyRational amount;
} LoyaltyBasis;

/* one row of an explanation */
typedef struct LoyaltyStep
{
	const char *rule;
	const char *line;
	char	   *calculation;
	Numeric		points;
} LoyaltyStep;

/* what rules give for a set of amounts */
typedef struct LoyaltyAward
{
	LoyaltyRational raw;		/* before rounding; scope carry books this */
	Points		points;			/* rounded; not for scope carry */
} LoyaltyAward;

/* program.c */
extern List *loyalty_load_programs(void);
extern LoyaltyProgram *loyalty_program_by_name(const char *name);
extern LoyaltyProgram *loyalty_program_by_id(int32 id);
extern LoyaltyTier *loyalty_program_tier(LoyaltyProgram *program, Numeric qualifying);
extern LoyaltyTier *loyalty_tier_by_id(LoyaltyProgram *program, int32 id);
extern LoyaltyRule *loyalty_rule_by_id(LoyaltyProgram *program, int32 id);
extern List *loyalty_rules_on(LoyaltyProgram *program, DateADT date);
extern bool loyalty_program_covers(LoyaltyProgram *program, DateADT date, const char *company);
extern DateADT loyalty_program_date(LoyaltyProgram *program, TimestampTz at);

/* policy.c */
extern void loyalty_load_policies(List *programs);
extern LoyaltyPolicy *loyalty_policy(LoyaltyProgram *program);

/* award.c */
extern LoyaltyAward loyalty_award(LoyaltyProgram *program, List *rules, Numeric rate,
								  LoyaltyBasis *bases, int nbases, List **steps);

#endif							/* LOYALTY_RULE_H */
