/*
 * standing.h
 *	  The tier of a member as it follows from what he bought: a machine that is
 *	  fed with movements in the order in which they became known, and can be
 *	  asked at any of these moments.
 */
#ifndef LOYALTY_STANDING_H
#define LOYALTY_STANDING_H

#include "member/member.h"

/* movements, and the replay over them */
typedef struct LoyaltyRecord LoyaltyRecord;

/* the tier as it is earned at some moment */
typedef struct LoyaltyStanding
{
	int			rank;			/* place on the ladder, 0 below the first */
	DateADT		since;
	DateADT		base;			/* its period counts from after this day */
	DateADT		until;			/* last day for which it is kept, NOEND for none */
	int			lost;			/* the highest rank that a review took */
	bool		in_grace;		/* until has passed */
	DateADT		day;			/* through which time has passed */
} LoyaltyStanding;

/* what moves the figures: a part of a document, or a growth value */
typedef struct LoyaltyMove
{
	int32		source_id;		/* -1 for growth values */
	char	   *key;
	int32		root_source_id; /* 0 for none */
	char	   *root_key;
	TimestampTz at;				/* when it became known */
	DateADT		date;
	bool		is_sale;		/* counts as a document while something is left */
	bool		takes_back;		/* below zero and linked to nothing: from the latest */
	Numeric		value[LOYALTY_NMETRICS];	/* documents follow from the amount */

	int			purchase;		/* the machine's: its place among the purchases, -1 for none */
} LoyaltyMove;

/* a tier given by staff */
typedef struct LoyaltyOverride
{
	int			rank;
	TimestampTz starts_at;
	DateADT		until;
	TimestampTz ends_at;		/* the first instant at which it is over */
} LoyaltyOverride;

typedef enum LoyaltyTierReason
{
	TIER_REACHED,
	TIER_RETURN,
	TIER_REVIEW,
	TIER_OVERRIDE,
	TIER_SETTINGS
} LoyaltyTierReason;

/* a change of the tier, or its renewal */
typedef struct LoyaltyTierChange
{
	TimestampTz at;
	int			from;			/* ranks */
	int			to;
	DateADT		since;
	DateADT		until;			/* NOEND for none */
	LoyaltyTierReason reason;
} LoyaltyTierChange;

/* what a member has at some moment, overrides included */
typedef struct LoyaltyTierView
{
	int			rank;
	DateADT		since;
	DateADT		until;			/* NOEND for none */
	DateADT		review;			/* day from which time alone may change it, NOEND for none */
} LoyaltyTierView;

extern LoyaltyRecord *loyalty_record_new(MemoryContext context, LoyaltyProgram *program, DateADT joined_on);
extern LoyaltyProgram *loyalty_record_program(LoyaltyRecord *r);
extern void loyalty_record_put(LoyaltyRecord *r, LoyaltyMove *move);
extern void loyalty_record_override(LoyaltyRecord *r, LoyaltyOverride *override);
extern void loyalty_record_run(LoyaltyRecord *r, TimestampTz to);
extern void loyalty_record_run_before(LoyaltyRecord *r, LoyaltyMove *move);
extern LoyaltyStanding *loyalty_record_standing(LoyaltyRecord *r);
extern LoyaltyTierView loyalty_record_view(LoyaltyRecord *r, TimestampTz at);
extern List *loyalty_record_changes(LoyaltyRecord *r, TimestampTz to);
extern int	loyalty_record_rank_with(LoyaltyRecord *r, TimestampTz at, LoyaltyMove *move);
extern Numeric loyalty_record_figure(LoyaltyRecord *r, LoyaltyMeasure *measure, DateADT day);
extern Numeric loyalty_record_figure_after(LoyaltyRecord *r, LoyaltyMetric metric, DateADT before);
extern Numeric loyalty_record_kept_figure(LoyaltyRecord *r);
extern DateADT loyalty_record_due(LoyaltyRecord *r);
extern void loyalty_record_pass(LoyaltyRecord *r, DateADT day);
extern DateADT loyalty_window_before(LoyaltyRecord *r, LoyaltyMeasure *measure, DateADT day);

#endif							/* LOYALTY_STANDING_H */
