/*
 * rule.h
 *	  Programmes, tiers and rules as the backend knows them, and what they
 *	  make of the amounts of a document.
 */
#ifndef LOYALTY_RULE_H
#define LOYALTY_RULE_H

#include "datatype/timestamp.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "pgtime.h"
#include "utils/date.h"

#include "points/points.h"

/* at least as many as condition.h knows */
#define LOYALTY_MAX_SPACES 8

/* what qualifies for tiers */
typedef enum LoyaltyMetric
{
	METRIC_AMOUNT,
	METRIC_POINTS,
	METRIC_DOCUMENTS,
	METRIC_GROWTH,
	LOYALTY_NMETRICS
} LoyaltyMetric;

typedef enum LoyaltyWindow
{
	WINDOW_LIFETIME,
	WINDOW_ROLLING,
	WINDOW_CALENDAR_YEAR,
	WINDOW_MEMBERSHIP_YEAR
} LoyaltyWindow;

/* a figure: what is counted, and over which time */
typedef struct LoyaltyMeasure
{
	LoyaltyMetric metric;
	LoyaltyWindow window;
	int			months;			/* of a rolling window, 0 for others */
} LoyaltyMeasure;

/* another way to reach a tier */
typedef struct LoyaltyTierPath
{
	LoyaltyMeasure measure;
	Numeric		threshold;
} LoyaltyTierPath;

/* how the last valid day of points follows from the day they were earned, see expiry.c */
typedef enum LoyaltyExpiryKind
{
	EXPIRY_NEVER,
	EXPIRY_DAYS,				/* n days later */
	EXPIRY_MONTHS,				/* n months later */
	EXPIRY_END,					/* end of the period of so many months, and n further ones */
	EXPIRY_EVERY				/* the next such day, and n further years */
} LoyaltyExpiryKind;

typedef struct LoyaltyExpiry
{
	LoyaltyExpiryKind kind;
	int			n;
	int			months;
	int			month;
	int			day;
} LoyaltyExpiry;

typedef struct LoyaltyTier
{
	int32		id;
	char	   *name;
	Numeric		threshold;
	Numeric		rate;
	Numeric		keep_threshold; /* NULL: the threshold */
	Points		gift_points;	/* 0 for none */
	Numeric		gift_voucher;	/* NULL for none */
	List	   *paths;			/* of LoyaltyTierPath * */
	bool		expires;		/* it says when points expire */
	bool		extends;		/* those that are there when it is reached, too */
	LoyaltyExpiry expiry;
} LoyaltyTier;

typedef enum LoyaltyDemotion
{
	DEMOTION_NONE,
	DEMOTION_ONE_LEVEL,
	DEMOTION_TO_EARNED
} LoyaltyDemotion;

/* how tiers are reached and kept */
typedef struct LoyaltyTierPolicy
{
	LoyaltyMeasure measure;
	int			retention;		/* months, 0: as long as the figure holds */
	int			grace_days;
	LoyaltyDemotion demotion;
	bool		keeps_returned; /* a return counts at the next review only */
	TimestampTz changed_at;
	bool		is_plain;		/* they simply follow the lifetime amount */
	List	   *measures;		/* of LoyaltyMeasure *: all that are in use, each once */
} LoyaltyTierPolicy;

typedef enum LoyaltyRuleKind
{
	RULE_AMOUNT,				/* points per amount of money */
	RULE_UNIT,					/* points per unit of quantity */
	RULE_BONUS,					/* points once per document, or per line */
	RULE_MULTIPLIER,			/* a factor on what amount and unit rules give */
	RULE_EXCLUSION,				/* what it covers earns nothing */
	RULE_CAP					/* gives nothing, but limits what all others give */
} LoyaltyRuleKind;

/* periods of a member within which a rule gives no more than its cap */
typedef enum LoyaltyPeriod
{
	PERIOD_DAY,
	PERIOD_WEEK,
	PERIOD_MONTH,
	PERIOD_YEAR,
	PERIOD_LIFETIME,
	LOYALTY_NPERIODS
} LoyaltyPeriod;

typedef struct LoyaltyRule
{
	int32		id;
	char	   *name;
	int32		version;
	LoyaltyRuleKind kind;
	Numeric		points;
	Numeric		per_amount;		/* of money, or units */
	Numeric		factor;			/* of a multiplier */
	bool		step;			/* only whole multiples of per_amount */
	bool		per_line;		/* on each line's amount, not the document's */
	bool		multiplied;		/* tier rate and multipliers apply */
	bool		growth;			/* what it gives is no points, but growth */
	char	   *condition;		/* NULL: always */
	char	   *source;			/* name of the only source it is for, NULL for all */
	char	   *exclusive_group;
	int32		priority;
	bool		has_cap_document;
	Points		cap_document;
	bool		capped;			/* per period of a member, or by a budget */
	bool		has_cap[LOYALTY_NPERIODS];
	Points		cap[LOYALTY_NPERIODS];
	bool		has_budget;
	Points		budget;			/* of all members together */
	bool		asks_history;	/* its condition may look at earlier purchases */
	TimestampTz changed_at;		/* when this version was written */
	TimestampTz ended_at;		/* and when it was taken out of force, or DT_NOEND */
	char	   *event;			/* kind of event it is for, NULL for documents */
	int32		limit_count;	/* events of a member it rewards per period, 0 for all */
	LoyaltyPeriod limit_period;
	bool		needs_approval;
	bool		expires;		/* it says when its points expire */
	LoyaltyExpiry expiry;
	bool		current;
	bool		replaced;		/* there is a later version in force */
	DateADT		valid_from;
	DateADT		valid_to;		/* before the next version that is in force */
	DateADT		valid_to_written;
} LoyaltyRule;

typedef enum LoyaltyScope
{
	SCOPE_DOCUMENT,
	SCOPE_LINE,
	SCOPE_CARRY
} LoyaltyScope;

/* how the factors of a line combine, the tier's rate among them */
typedef enum LoyaltyStacking
{
	STACKING_MULTIPLY,
	STACKING_MAX,
	STACKING_ADD
} LoyaltyStacking;

/* a category and the one above it */
typedef struct LoyaltyCategory
{
	char	   *category;
	char	   *parent;
} LoyaltyCategory;

/* what a member has bought before a document, as history conditions see it */
typedef struct LoyaltyFigures
{
	int32		purchases;
	Numeric		amount;
	int32		year_purchases;
	Numeric		year_amount;
	int32		month_purchases;
	Numeric		month_amount;
	DateADT		first_on;		/* the dates only if there is a purchase */
	DateADT		last_on;
	int32		days;			/* days with a purchase */
} LoyaltyFigures;

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
	LoyaltyStacking stacking;
	bool		park_broken;	/* a rule that does not compile parks, not skips */
	bool		crossing_new;
	bool		write_off;
	bool		explicit_enrolment;
	bool		refers;			/* a rule is, or was, on referrals */
	List	   *companies;		/* of char *; NIL for all */
	bool		any_company;
	DateADT		valid_from;
	DateADT		valid_to;
	List	   *tiers;			/* of LoyaltyTier *, ascending threshold */
	LoyaltyTierPolicy tiering;
	List	   *rules;			/* of LoyaltyRule *, every version, in order of id */
	bool		keeps_history;	/* a rule in force asks what was bought before */
	int			ncategories;
	LoyaltyCategory *categories;	/* in the order of their names */
	LoyaltyExpiry expiry;		/* of points, unless tier or rule say otherwise */
	LoyaltyExpiry lapse;		/* of all points without activity; EXPIRY_NEVER for never */
	int			lapse_activities;	/* see expiry.c */
	int			usable_after;	/* days after a sale until its points can be spent */
	DateADT		points_until;	/* no points are valid later */
	bool		rules_expire;	/* a rule says when its points expire */
	bool		gives_growth;	/* a rule gives, or gave, growth */
	struct LoyaltyPolicy *policy;	/* NULL: points are only collected */
	List	   *rewards;		/* of LoyaltyReward *: those with a condition */
	struct LoyaltyTelling *telling; /* NULL: members are told nothing */
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

/* a reward that has a condition */
typedef struct LoyaltyReward
{
	int32		id;
	char	   *name;
	char	   *condition;
	struct LoyaltyCondition *code;	/* NULL until somebody asks */
} LoyaltyReward;

/* a rule as it is compiled for the documents of a source */
typedef struct LoyaltyRuleCode
{
	LoyaltyRule *rule;
	struct LoyaltyCondition *condition; /* NULL: always */
	ErrorData  *error;			/* it does not compile (any more) */
	bool		elsewhere;		/* it speaks of columns that this source does not have */
} LoyaltyRuleCode;

/* the rules of a programme, compiled for a source */
typedef struct LoyaltyRuleBook
{
	LoyaltyProgram *program;
	struct LoyaltySpaces *spaces;
	struct LoyaltyRow *rows;	/* scratch, one per space */
	Bitmapset  *uses[LOYALTY_MAX_SPACES];	/* columns that conditions look at */
	int			ncodes;
	LoyaltyRuleCode *codes;		/* highest priority first */
	int			ninvoice;		/* columns of the header row to be read */
	int		   *invoice;		/* their numbers in the space */
	int			nline;			/* the same of the line's row */
	int		   *line;
} LoyaltyRuleBook;

/* a rule that holds for a document, or for some of its lines, frozen with it */
typedef struct LoyaltyMatch
{
	LoyaltyRule *rule;
	int			nlines;			/* lines it holds for; -1: the document */
	int		   *lines;			/* their numbers, ascending */
	char	  **provisos;		/* holds while this is true of what is left; NULL: anyway */
	bool		cut;			/* but gives nothing: its limit is reached */
	bool		limited;		/* by a cap per period or a budget */
	Points		allowed;		/* then no more than this */
	Points		given;			/* for what is left of the document, as booked */
} LoyaltyMatch;

/* points that a rule with caps gave for a document */
typedef struct LoyaltyGiven
{
	char	   *rule;
	Points		points;
} LoyaltyGiven;

/* a line (or a document without lines) as it goes into the award */
typedef struct LoyaltyBasis
{
	int			number;			/* of the line in the document */
	const char *line;			/* its key, NULL for the document as such */
	LoyaltyRational amount;		/* what earns */
	LoyaltyRational value;		/* what is left of its amount */
	LoyaltyRational qty;		/* and of its quantity */
} LoyaltyBasis;

/* what is left of a document */
typedef struct LoyaltyBasket
{
	bool		whole;			/* nothing was returned: what held, holds */
	LoyaltyRational gross;
	int			n;
	LoyaltyBasis *bases;
} LoyaltyBasket;

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
extern bool loyalty_rule_was_in_force(LoyaltyProgram *program, LoyaltyRule *rule, DateADT date, TimestampTz as_of);
extern LoyaltyRule *loyalty_rule_by_id(LoyaltyProgram *program, int32 id);
extern const char *loyalty_category_parent(LoyaltyProgram *program, const char *category);
extern bool loyalty_program_covers(LoyaltyProgram *program, DateADT date, const char *company);
extern DateADT loyalty_start_of_period(LoyaltyPeriod period, DateADT date);
extern DateADT loyalty_program_date(LoyaltyProgram *program, TimestampTz at);
extern void loyalty_set_expiry(bool *given, LoyaltyExpiry *expiry, char *setting);
extern TimestampTz loyalty_program_instant(LoyaltyProgram *program, DateADT date);
extern DateADT loyalty_add_months(DateADT date, int months);

/* tier.c */
extern void loyalty_load_tiers(List *programs);
extern LoyaltyTier *loyalty_program_tier(LoyaltyProgram *program, Numeric qualifying);
extern LoyaltyTier *loyalty_tier_by_id(LoyaltyProgram *program, int32 id);
extern int	loyalty_tier_rank(LoyaltyProgram *program, int32 id);
extern LoyaltyTier *loyalty_tier_at_rank(LoyaltyProgram *program, int rank);
extern const char *loyalty_metric_name(LoyaltyMetric metric);
extern const char *loyalty_window_name(LoyaltyWindow window);

/* book.c */
extern bool loyalty_rule_is_in_book(LoyaltyRule *rule);
extern LoyaltyRuleBook *loyalty_compile_rules(LoyaltyProgram *program, const char *source,
											  Oid header, Oid lines);
extern LoyaltyRuleBook *loyalty_compile_event_rules(LoyaltyProgram *program);

/* expiry.c */
extern LoyaltyExpiry loyalty_parse_expiry(const char *setting);
extern DateADT loyalty_expiry_date(const LoyaltyExpiry *e, DateADT earned_on);
extern void loyalty_load_expiry(List *programs);
extern bool loyalty_is_activity(LoyaltyProgram *program, const char *kind);
extern DateADT loyalty_points_expire(LoyaltyProgram *program, LoyaltyTier *tier, LoyaltyRule *rule, DateADT earned_on);

/* policy.c */
extern void loyalty_load_policies(List *programs);
extern LoyaltyPolicy *loyalty_policy(LoyaltyProgram *program);

/* reward.c */
extern void loyalty_load_rewards(List *programs);
extern struct LoyaltyCondition *loyalty_reward_condition(LoyaltyProgram *program, LoyaltyReward *reward);

/* award.c */
extern LoyaltyAward loyalty_award(LoyaltyProgram *program, List *matches, Numeric rate,
								  LoyaltyBasket *basket, List **steps);
extern Points loyalty_growth(LoyaltyProgram *program, List *matches, LoyaltyBasket *basket, List **steps);

#endif							/* LOYALTY_RULE_H */
