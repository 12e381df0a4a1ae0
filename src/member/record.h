/*
 * record.h
 *	  The record of a member, as the files that make up the machine of
 *	  standing.h see it.
 */
#ifndef LOYALTY_RECORD_H
#define LOYALTY_RECORD_H

#include "member/standing.h"

typedef struct LoyaltyPurchase
{
	DateADT		date;
	bool		is_sale;
	Numeric		net[LOYALTY_NMETRICS];	/* what is left of it */
	Numeric		sum[LOYALTY_NMETRICS];	/* of all up to and including it */
	LoyaltyStanding before;		/* on its day, without it */
} LoyaltyPurchase;

struct LoyaltyRecord
{
	MemoryContext context;
	LoyaltyProgram *program;
	LoyaltyTierPolicy *policy;
	DateADT		joined_on;
	int			nmoves;
	int			moves_size;
	LoyaltyMove **moves;		/* in order */
	struct moves_hash *index;
	List	   *overrides;		/* of LoyaltyOverride * */

	/* the replay, in a context of its own */
	MemoryContext replay;
	int			cursor;			/* moves that are taken in */
	int			n;				/* purchases that can be seen */
	int			size;
	LoyaltyPurchase *purchases;
	LoyaltyStanding now;
	List	   *changes;		/* of LoyaltyTierChange *: of what is earned */
	bool		silent;			/* it starts again: what changes is no news */
};

/* window.c */
extern DateADT loyalty_next_year(LoyaltyRecord *r, LoyaltyWindow window, DateADT date);
extern int	loyalty_purchases_through(LoyaltyRecord *r, DateADT day);

/* standing.c */
extern bool loyalty_record_follows(LoyaltyRecord *r);
extern int	loyalty_record_reached(LoyaltyRecord *r, DateADT day, Numeric *more);
extern DateADT loyalty_record_kept_until(LoyaltyRecord *r, int rank, DateADT base);
extern void loyalty_record_take_in(LoyaltyRecord *r, LoyaltyMove *move);

/* record.c */
extern LoyaltyMove *loyalty_record_root(LoyaltyRecord *r, LoyaltyMove *move);

#endif							/* LOYALTY_RECORD_H */
