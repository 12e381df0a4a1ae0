/*
 * redeem.h
 *	  Spending points: calls with a key, what a member can spend and what the
 *	  programme lets him, redemptions, holds, adjustments and transfers.
 */
#ifndef LOYALTY_REDEEM_H
#define LOYALTY_REDEEM_H

#include "fmgr.h"
#include "lib/stringinfo.h"

#include "ledger/ledger.h"

/* what a call answers, and stores under its key */
typedef struct LoyaltyAnswer
{
	Points		points;
	Numeric		value;
	Points		balance;
	Points		available;
} LoyaltyAnswer;

/* a call on a member, who is locked */
typedef struct LoyaltyCall
{
	const char *kind;			/* the function */
	Oid			caller;
	LoyaltyIdentity save;
	int			nest;
	bool		planner;
	LoyaltyProgram *program;
	char	   *key;			/* NULL for calls that have none */
	StringInfoData arguments;	/* as JSON */
	TimestampTz now;
	TimestampTz at;				/* business time */
	int64		ids[2];			/* the customer's member, and who has his points */
	int			nids;
	LoyaltyMember *member;
	LoyaltyMember *other;		/* the other customer's, may be the same */
	int64		other_id;		/* to be kept with the answer, 0 for none */
	LoyaltyAnswer answer;
} LoyaltyCall;

/* the part of an order that can be paid with points */
typedef struct LoyaltyOrder
{
	Numeric		amount;			/* NULL: not known */
	Numeric		payable;		/* of it, at most */
} LoyaltyOrder;

/* call.c */
extern char *loyalty_key_argument(FunctionCallInfo fcinfo, int n);
extern Points loyalty_points_argument(FunctionCallInfo fcinfo, int n, const char *name);
extern void loyalty_call_argument(LoyaltyCall *c, const char *name, const char *value, bool quoted);
extern void loyalty_call_text(LoyaltyCall *c, const char *name, FunctionCallInfo fcinfo, int n);
extern void loyalty_call_numeric(LoyaltyCall *c, const char *name, FunctionCallInfo fcinfo, int n);
extern void loyalty_call_begin(LoyaltyCall *c, const char *kind, FunctionCallInfo fcinfo, int at);
extern void loyalty_call_lock(LoyaltyCall *c, const char *customer, const char *other);
extern bool loyalty_call_answered(LoyaltyCall *c);
extern void loyalty_call_store(LoyaltyCall *c);
extern void loyalty_call_record(LoyaltyCall *c, int64 member_id, Points points, Points balance, Points available,
								int64 other_id);
extern void loyalty_call_end(LoyaltyCall *c);
extern Datum loyalty_call_result(LoyaltyCall *c, FunctionCallInfo fcinfo);
extern bool loyalty_call_may(LoyaltyCall *c, const char *role);

/* quote.c */
extern LoyaltyOrder loyalty_order(FunctionCallInfo fcinfo, int amount, int lines, LoyaltyProgram *program);
extern Points loyalty_quote(LoyaltyProgram *program, LoyaltyMember *member, Points available, LoyaltyOrder *order,
							TimestampTz at, Numeric *value, const char **limited_by);
extern Numeric loyalty_share_of(LoyaltyProgram *program, Numeric value, Points points, Points all);
extern void loyalty_check_available(LoyaltyCall *c, Points points);
extern Numeric loyalty_check_limits(LoyaltyCall *c, Points points, LoyaltyOrder *order);

/* adjust.c */
extern void loyalty_call_record_other(LoyaltyCall *c, Points points);
extern void loyalty_check_clerk(LoyaltyCall *c, Points points);
extern void loyalty_check_reason(const char *reason);

/* redeem.c */
extern LoyaltySource *loyalty_document_argument(LoyaltyCall *c, FunctionCallInfo fcinfo, int source, int key,
												char **doc_key);
extern void loyalty_redeem_points(LoyaltyCall *c, const char *key, LoyaltyRedemptionKind kind, Points points,
								  Numeric value, LoyaltySource *source, const char *doc_key);
extern Datum loyalty_cancel(FunctionCallInfo fcinfo, LoyaltyRedemptionKind kind);

#endif							/* LOYALTY_REDEEM_H */
