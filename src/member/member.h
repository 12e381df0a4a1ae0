/*
 * member.h
 *	  Members: who they are, and the figures that posting keeps on them.
 */
#ifndef LOYALTY_MEMBER_H
#define LOYALTY_MEMBER_H

#include "storage/itemptr.h"
#include "utils/date.h"

#include "rule/rule.h"

/* columns of loyalty.member */
#define LOYALTY_MEMBER_NATTS 22

/* what he bought, see ledger/history.c */
typedef struct LoyaltyHistory LoyaltyHistory;

/* a member's row, locked */
typedef struct LoyaltyMember
{
	int64		id;
	LoyaltyProgram *program;
	char	   *customer;
	DateADT		joined_on;
	int32		tier_id;		/* 0 for none */
	int32		tier_before;	/* when it was locked */
	Points		balance;
	Points		balance_before;	/* when it was locked */
	Points		debt;
	Numeric		qualifying;
	LoyaltyRational carry;
	int64		last_seq;
	int64		lots_through;	/* entries up to this one have their lots stored */
	Points		held;			/* by open holds, expired ones included */
	int64		merged_into;	/* 0 for nobody */
	DateADT		next_expiry;	/* no open lot expires before; DATEVAL_NOEND: none does */
	DateADT		expired_through;	/* expiry is written down of lots up to this day; DATEVAL_NOBEGIN: of none */
	DateADT		usable_from;	/* of all points; DATEVAL_NOBEGIN: they are */
	DateADT		lapses_on;		/* without further activity; DATEVAL_NOEND: never */
	DateADT		tier_since;		/* the next four only where the tier does not just follow the amount */
	DateADT		tier_until;		/* NOEND for none */
	DateADT		tier_review;	/* NOEND for none */
	TimestampTz tier_at;		/* 0 where it just follows */
	TimestampTz left_at;		/* from then on the customer is another member; 0 for never */
	int32		tier_was;		/* when it was last noted in the history */
	TimestampTz tier_moved_at;	/* what moved it since then */
	ItemPointerData tid;
	TimestampTz latest;			/* business time of the latest entry since it was locked, 0 for none */
	bool		dirty;
	bool		told;			/* the next one is known, see outbox/tell.c */
	Points		telling;
	LoyaltyHistory *history;	/* NULL until a rule asks */
	struct LoyaltyRecord *record;	/* see standing.h; NULL until somebody asks */
} LoyaltyMember;

/* member.c */
extern int64 loyalty_member_number(LoyaltyProgram *program, const char *customer, int salt);
extern int64 loyalty_find_member(LoyaltyProgram *program, const char *customer);
extern int	loyalty_locate_members(int64 *ids, ItemPointerData *tids, int n);
extern int64 loyalty_account_of(int64 member_id);
extern void loyalty_enrol_members(LoyaltyProgram **programs, int64 *ids, char **customers,
								  DateADT *joined, int n);
extern LoyaltyMember *loyalty_lock_members(int64 *ids, ItemPointerData *tids, int n, bool nowait, int *nfound);
extern LoyaltyMember *loyalty_read_member(int64 id);
extern bool loyalty_member_is_plain(LoyaltyMember *member);
extern void loyalty_member_qualify(LoyaltyMember *member, Numeric delta, TimestampTz at);

/* account.c */
extern int64 loyalty_enrol_customer(LoyaltyProgram *program, char *customer, DateADT joined);

#endif							/* LOYALTY_MEMBER_H */
