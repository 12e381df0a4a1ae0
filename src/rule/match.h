/*
 * match.h
 *	  Which rules hold for a document, and how that is frozen with it.
 */
#ifndef LOYALTY_MATCH_H
#define LOYALTY_MATCH_H

#include "utils/jsonb.h"

#include "fact/fact.h"
#include "rule/rule.h"

/* begins the context of errors in a condition, and is followed by the rule's name */
#define LOYALTY_RULE_CONTEXT "condition of rule"

/* a document as conditions see it */
typedef struct LoyaltyQuestion
{
	LoyaltySource *source;		/* NULL for a basket that is only asked about */
	const char *key;
	LoyaltyFacts *facts;
	LoyaltyClaim *claim;		/* the part that earns */
	const char *customer;
	LoyaltyTier *tier;			/* at which it earns, NULL below the first */
	DateADT		joined_on;
	LoyaltyFigures *figures;	/* of the purchases before it, NULL if nobody asks */
	int64		member_id;		/* 0 if he is none yet */
	const char *segment;		/* of the member, for rewards; NULL for none */
} LoyaltyQuestion;

/* match.c */
extern List *loyalty_match_rules(LoyaltyRuleBook *book, LoyaltyQuestion *question, List *kept, TimestampTz as_of);
extern bool loyalty_proviso_holds(LoyaltyProgram *program, const char *proviso,
								  LoyaltyRational gross, LoyaltyBasis *basis);

/* rows.c */
struct LoyaltyRow;
struct LoyaltyCondition;
extern void loyalty_fill_rows(LoyaltyRuleBook *book, LoyaltyQuestion *question);
extern struct LoyaltyRow *loyalty_fill_lines(LoyaltyRuleBook *book, LoyaltyQuestion *question);
extern bool loyalty_member_meets(LoyaltyProgram *program, struct LoyaltyCondition *condition,
								 LoyaltyQuestion *question);
extern int	loyalty_seen_columns(LoyaltyRuleBook *book, LoyaltyFacts *facts, LoyaltyClaim *claim, int64 **seen);
extern bool loyalty_seen_otherwise(int64 *before, int nbefore, int64 *now, int nnow);

/* frozen.c */
extern List *loyalty_given_of_matches(LoyaltyProgram *program, Jsonb *frozen);
extern List *loyalty_given(List *matches);
extern bool loyalty_is_limited(List *matches);
extern List *loyalty_copy_given(List *given);
extern bool loyalty_same_given(List *a, List *b);
extern List *loyalty_matches_of_rules(LoyaltyProgram *program, int32 *rules, int nrules, Jsonb *frozen);
extern Jsonb *loyalty_freeze_matches(List *matches);

#endif							/* LOYALTY_MATCH_H */
