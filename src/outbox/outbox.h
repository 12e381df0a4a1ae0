/*
 * outbox.h
 *	  Messages: what members should hear of, written in the transaction that
 *	  caused it, for consumers to fetch.
 */
#ifndef LOYALTY_OUTBOX_H
#define LOYALTY_OUTBOX_H

#include "lib/stringinfo.h"

#include "ledger/ledger.h"

/* in the order of their names in setting.c */
typedef enum LoyaltyMessageKind
{
	MESSAGE_EARNED,
	MESSAGE_REVERSED,
	MESSAGE_EXPIRING,
	MESSAGE_EXPIRED,
	MESSAGE_TIER_UP,
	MESSAGE_TIER_DOWN,
	MESSAGE_TIER_AT_RISK,
	MESSAGE_VOUCHER_ISSUED,
	MESSAGE_VOUCHER_ENDING,
	MESSAGE_HOLD_RELEASED,
	MESSAGE_INACTIVE,
	MESSAGE_MILESTONE,
	LOYALTY_NMESSAGES
} LoyaltyMessageKind;

/* what a programme tells; NULL in the programme: nothing */
typedef struct LoyaltyTelling
{
	bool		kinds[LOYALTY_NMESSAGES];
	bool		notify[LOYALTY_NMESSAGES];
	int			max_attempts[LOYALTY_NMESSAGES];
	int			nmilestones;
	Points	   *milestones;		/* ascending */
} LoyaltyTelling;

/* deliveries before a message is given up, where nothing else is set */
#define LOYALTY_MAX_ATTEMPTS 5

/* setting.c */
extern void loyalty_load_tellings(List *programs);
extern int	loyalty_message_kind(const char *name);
extern const char *loyalty_message_name(LoyaltyMessageKind kind);
extern bool loyalty_tells(LoyaltyProgram *program, LoyaltyMessageKind kind);

/* tell.c */
extern void loyalty_payload(StringInfo payload, const char *name, const char *value, bool quoted);
extern void loyalty_payload_points(StringInfo payload, const char *name, Points points);
extern void loyalty_tell_message(LoyaltyMember *member, LoyaltyMessageKind kind, const char *cause,
								 StringInfo payload, TimestampTz at, TimestampTz now);
extern void loyalty_tell(LoyaltyPosting *p, LoyaltyEntry *entry, TimestampTz now);
extern void loyalty_tell_steps(void);
extern void loyalty_forget_steps(void);
extern void loyalty_tell_expired(LoyaltyMember **members, int64 *seqs, int n);
extern void loyalty_tell_tiers(LoyaltyMember **members, int n);

/* announce.c */
extern void loyalty_announce(LoyaltyProgram *program, LoyaltyMessageKind kind);
extern void loyalty_send_announcements(void);
extern void loyalty_forget_announcements(void);
extern void loyalty_announcements_subabort(int level);
extern void loyalty_announcements_subcommit(int level);

#endif							/* LOYALTY_OUTBOX_H */
