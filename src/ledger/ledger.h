/*
 * ledger.h
 *	  From facts to entries: what is due for a document, what is booked for it,
 *	  and the difference.
 */
#ifndef LOYALTY_LEDGER_H
#define LOYALTY_LEDGER_H

#include "fact/fact.h"
#include "member/member.h"

typedef enum LoyaltyState
{
	STATE_BOOKED,
	STATE_WITHDRAWN,
	STATE_OPENING
} LoyaltyState;

/* a row of loyalty.document: a document's part in one family */
typedef struct LoyaltyPart
{
	int32		source_id;
	char	   *key;
	int64		member_id;		/* 0: waits for the sale it returns */
	int32		root_source_id; /* 0 for none, below 0: the line root_key of that source */
	char	   *root_key;
	LoyaltyState state;
	bool		is_return;
	bool		is_event;
	TimestampTz at;
	DateADT		date;
	char	   *company;
	char	   *channel;
	Numeric		gross;
	Numeric		paid;
	Jsonb	   *lines;
	Numeric		tier_before;	/* NULL: not priced yet */
	int32		tier_id;		/* 0 for none */
	Numeric		rate;			/* NULL: not priced yet */
	int			nrules;
	int32	   *rules;
	Jsonb	   *matches;		/* see match.h */
	bool		matched;		/* whether they are in hand as match_list */
	List	   *match_list;		/* of LoyaltyMatch * */
	int			nseen;
	TimestampTz priced_at;		/* when its rules were chosen; 0: never */
	int64	   *seen;			/* what conditions looked at, see loyalty_seen_columns() */
	Numeric		qualifying;
	Numeric		overcredited;
	Points		points;
	Points		written_off;
	bool		has_raw;
	LoyaltyRational raw;
	int64		last_seq;		/* 0 for none */
	DateADT		usable_from;	/* of its points; DATEVAL_NOBEGIN: at once */
	Points		growth;			/* that it gives, in hundredths */
	bool		is_opening;		/* it was there before the programme, and never earns */

	bool		stored;			/* the row exists */
	bool		dirty;			/* and must be written */
	bool		stale;			/* facts changed: price it again */
	bool		keep;			/* claimed by the facts in hand */
	LoyaltyClaim *claim;		/* namely by this one */
	bool		forgiving;		/* what is not there is written off */
	bool		is_decided;		/* due is known, but not posted yet */
	Points		due;
	struct LoyaltyPart *sale;	/* that it returns, for posting */
	bool		rescheduled;	/* its points can be spent from another day than booked */
	bool		draws;			/* paid_by_points is new or changed: draw the points */
} LoyaltyPart;

typedef enum LoyaltyRedemptionKind
{
	REDEMPTION_POINTS,
	REDEMPTION_REWARD,
	REDEMPTION_PAID				/* drawn by the engine for paid_by_points */
} LoyaltyRedemptionKind;

#define LOYALTY_PAID_PREFIX "paid_by_points:"

/* a row of loyalty.redemption */
typedef struct LoyaltyRedemption
{
	int64		member_id;
	char	   *key;
	LoyaltyRedemptionKind kind;
	Points		points;			/* meant to be spent */
	Numeric		value;
	Points		restored;		/* of them, given back */
	Points		written_off;
	bool		is_cancelled;
	int32		source_id;		/* of the document that is paid, 0 for none */
	char	   *doc_key;
	TimestampTz at;
	int64		last_seq;		/* 0 for none */
	bool		stored;
	bool		dirty;
	bool		is_decided;		/* the next two are what is due */
	Points		due_points;
	Points		due_restored;
} LoyaltyRedemption;

/* a document as the books know it: its own parts, and returns that point at it */
typedef struct LoyaltyFamily
{
	int32		source_id;
	char	   *key;
	uint32		hash;
	char		status;			/* for the hash table */
	bool		wanted;			/* must be known in whole */
	List	   *parts;			/* of LoyaltyPart * */
	List	   *returns;		/* of LoyaltyPart * */
	List	   *redemptions;	/* of LoyaltyRedemption *, that paid it */
	LoyaltyDocument *doc;		/* if it is being evaluated */
} LoyaltyFamily;

/* what is left of a sale's goods, see remaining.c */
typedef struct LoyaltyRemaining
{
	bool		is_event;		/* there are no goods: it is there or not */
	int			sign;			/* -1 if the "sale" is an unlinked return */
	int			nlines;			/* at least 1: a document without line amounts is one line */
	char	  **keys;
	bool	   *earns;
	Numeric    *qty;			/* quantities, NULL where there is none */
	Numeric    *sold;			/* line amounts, times sign */
	Numeric    *returned;		/* the same, as far as returns name the line */
	LoyaltyRational by_value;	/* returned without naming a line, in line amounts */
	LoyaltyRational *left;
	LoyaltyRational over;		/* returned beyond what was sold */
	bool		whole;			/* nothing was returned yet */
	Numeric		total;			/* of sold */
	Numeric		gross;			/* of the document, times sign */
	Numeric		earning;		/* gross less what was paid with points */
} LoyaltyRemaining;

/* one batch of documents under evaluation */
typedef struct LoyaltyBatch
{
	MemoryContext context;
	LoyaltyDocument **docs;
	int			ndocs;
	struct family_hash *families;
	struct member_hash *members;
	LoyaltyMember **sorted;		/* those that are locked, or NULL: to be listed */
	int			nsorted;
	List	   *decided;		/* of LoyaltyPart *, to be posted */
	List	   *budgets;		/* taken, see budget.c */
	List	   *redeemed;		/* of LoyaltyRedemption *, the same */
	TimestampTz now;
} LoyaltyBatch;

/* what an evaluation did */
typedef struct LoyaltyOutcome
{
	int64		documents;
	Points		points;
	int64		parked;
	MemoryContext context;		/* for the differences */
	bool		unattended;		/* park whatever on_error says: nobody is there to be told */
	bool		dry;			/* it will be undone: park nothing */
	bool		collect;		/* keep differences below */
	List	   *differences;	/* of LoyaltyDifference * */
} LoyaltyOutcome;

typedef struct LoyaltyDifference
{
	LoyaltySource *source;
	char	   *key;
	char	   *customer;
	bool		unknown;		/* the next two are */
	Points		booked;
	Points		due;
	bool		of_growth;		/* these are no points */
	const char *problem;
} LoyaltyDifference;

/* lock.c */
extern void loyalty_start_members(LoyaltyBatch *batch);
extern LoyaltyMember *loyalty_batch_member(LoyaltyBatch *batch, int64 id);
extern LoyaltyMember *loyalty_batch_account(LoyaltyBatch *batch, int64 id);
extern LoyaltyMember **loyalty_batch_members(LoyaltyBatch *batch, int *n);
extern int	loyalty_sort_members(int64 *ids, int n);
extern void loyalty_lock_batch(LoyaltyBatch *batch, int64 *ids, ItemPointerData *tids, int n);
extern void loyalty_enrol_and_lock(LoyaltyBatch *batch, int64 *ids, int n);
extern bool loyalty_lock_customers(LoyaltyBatch *batch);
extern bool loyalty_all_locked(LoyaltyBatch *batch, int64 *ids, int n);
extern void loyalty_meet_at_enrolment(LoyaltyBatch *batch, LoyaltyDocument *doc);
extern void loyalty_lock_if_in_order(int64 member_id);
extern int	loyalty_compare_int8(const void *a, const void *b);
extern LoyaltyMember *loyalty_lock_in_order(int64 *ids, ItemPointerData *tids, int n, int *nfound);
extern bool loyalty_lock_no_further_members(void);
extern int64 loyalty_last_locked(void);
extern void loyalty_forget_locks(void);

/* load.c */
extern LoyaltyFamily *loyalty_family(LoyaltyBatch *batch, int32 source_id, const char *key);
extern void loyalty_load_books(LoyaltyBatch *batch);
extern int	loyalty_concerned_members(LoyaltyBatch *batch, int64 **ids);

/* batch.c */
extern void loyalty_process_batch(LoyaltyDocument **docs, int n, LoyaltyOutcome *outcome);

/* document.c */
extern List *loyalty_load_parts(int32 source_id, char **keys, int n);
extern List *loyalty_load_returns(int32 root_source_id, char **root_keys, int n);
extern LoyaltyPart *loyalty_live_part(List *parts);
extern LoyaltyPart *loyalty_new_part(int32 source_id, const char *key, int64 member_id,
									 int32 root_source_id, const char *root_key);
extern void loyalty_save_part(LoyaltyPart *part, TimestampTz now);

/* remaining.c */
extern Numeric loyalty_signed_by(int sign, Numeric value);
extern void loyalty_start_remaining(LoyaltyRemaining *r, LoyaltyPart *sale);
extern void loyalty_take_return(LoyaltyRemaining *r, LoyaltyPart *ret);
extern LoyaltyRational loyalty_left_total(LoyaltyRemaining *r);
extern LoyaltyRational loyalty_in_gross(LoyaltyRemaining *r, LoyaltyRational lines);
extern LoyaltyAward loyalty_award_remaining(LoyaltyRemaining *r, LoyaltyProgram *program, List *matches,
											Numeric rate, List **steps);
extern Points loyalty_growth_remaining(LoyaltyRemaining *r, LoyaltyProgram *program, List *matches, List **steps);
extern List *loyalty_part_matches(LoyaltyProgram *program, LoyaltyPart *part);
extern LoyaltyAward loyalty_part_award(LoyaltyProgram *program, LoyaltyPart *part, List *returns,
									   int nreturns, List **steps);
extern Points loyalty_part_growth(LoyaltyProgram *program, LoyaltyPart *part, List *returns,
								  int nreturns, List **steps);
extern List *loyalty_sorted_returns(List *returns);

/* price.c */
extern bool loyalty_same_jsonb(Jsonb *a, Jsonb *b);
extern bool loyalty_counts_own_award(LoyaltyProgram *program);
extern void loyalty_price_sale(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part, LoyaltyDocument *doc);
extern void loyalty_price_again(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part, LoyaltyDocument *doc);
extern void loyalty_take_budgets(LoyaltyBatch *batch, LoyaltyProgram *program, LoyaltyPart *part, List *matches, List *returns);
extern void loyalty_freeze_price(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part);
extern void loyalty_give_up_budgets(LoyaltyBatch *batch, LoyaltyProgram *program, LoyaltyPart *part);

/* family.c */
extern void loyalty_evaluate_document(LoyaltyBatch *batch, LoyaltyDocument *doc);

/* event.c */
extern LoyaltyAward loyalty_award_event(LoyaltyBatch *batch, LoyaltyProgram *program, LoyaltyPart *part,
										LoyaltyDocument *doc, LoyaltyRemaining *r, List *matches);
extern void loyalty_touch_later_events(LoyaltySource *source, int64 member_id, const char *kind,
									   TimestampTz at, const char *key);
extern void loyalty_touch_referrer(LoyaltySource *source, int64 referrer, int64 friend_id, const char *friend_key);
extern void loyalty_follow_referrals(int64 *members, int n);
extern const char *loyalty_event_waits(LoyaltyPart *part);

/* dependant.c */
extern bool loyalty_add_dependants(LoyaltyBatch *batch);

/* history.c */
extern LoyaltyFigures loyalty_history_figures(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *sale);
extern Points loyalty_history_allowance(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *sale,
										LoyaltyRule *rule);
extern void loyalty_history_given(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *sale, List *given);
extern void loyalty_history_moved(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part, Numeric delta);
extern Points loyalty_least_cap(LoyaltyRule *rule);
extern void loyalty_history_touch_later(LoyaltyMember *member);

/* see member/standing.h */
struct LoyaltyRecord;
struct LoyaltyTierView;

/* standing.c */
extern struct LoyaltyRecord *loyalty_standing(MemoryContext context, LoyaltyMember *member);
extern void loyalty_standing_moved(LoyaltyMember *member, LoyaltyPart *part);
extern LoyaltyTier *loyalty_standing_before(MemoryContext context, LoyaltyMember *member, LoyaltyProgram *program,
											LoyaltyPart *part);
extern LoyaltyTier *loyalty_standing_with(struct LoyaltyRecord *record, LoyaltyPart *part, Points points,
										  Points growth);
extern bool loyalty_program_measures(LoyaltyProgram *program, LoyaltyMetric metric);

/* tier.c */
extern int	loyalty_settle_tier(LoyaltyMember *member, TimestampTz at, TimestampTz now);
extern bool loyalty_tier_from_history(LoyaltyMember *member, TimestampTz at, struct LoyaltyTierView *view);

/* progress.c */
extern LoyaltyTier *loyalty_tier_now(LoyaltyMember *member, TimestampTz at);

/* gift.c */
extern void loyalty_give_gift(LoyaltyMember *member, LoyaltyTier *tier, DateADT reached, TimestampTz at, TimestampTz now);

/* whatif.c */
extern void loyalty_propose_rules(const char *program, Jsonb *rules);

/* budget.c */
extern Points loyalty_budget_left(LoyaltyProgram *program, LoyaltyRule *rule);
extern Points loyalty_budget_allowance(LoyaltyBatch *batch, LoyaltyProgram *program, LoyaltyRule *rule, Points held);
extern void loyalty_budget_moved(LoyaltyBatch *batch, LoyaltyProgram *program, LoyaltyRule *rule, Points delta);
extern void loyalty_write_budgets(LoyaltyBatch *batch);

/* lots.c */

/* a lot in hand */
typedef struct LoyaltyLot
{
	int64		seq;
	DateADT		expires_on;
	Points		points;
	Points		remaining;
	Points		expired;		/* that are gone, if nothing concerns them */
	DateADT		usable_from;	/* DATEVAL_NOBEGIN: at once */
	Points		moved;			/* by the entry in hand */
	Points		recalled;		/* of those expired, for the entry in hand */
	bool		is_new;
} LoyaltyLot;

/* an entry in the making, and the lots it has in hand */
typedef struct LoyaltyPosting
{
	LoyaltyMember *member;
	int64		seq;			/* of the entry */
	DateADT		today;			/* of the entry, decides which lots are valid */
	TimestampTz at;
	List	   *lots;			/* of LoyaltyLot * */
	LoyaltyLot *own;			/* that the entry makes, NULL for none */
	struct lot_hash *index;		/* by seq, once there are many */
	bool		has_expired;	/* points were to go back to an expired lot */
	bool		stored;			/* the member's lots are all in their table */
} LoyaltyPosting;

/* what an entry says beside its seq */
typedef struct LoyaltyEntry
{
	const char *kind;
	Points		points;
	TimestampTz at;
	int32		source_id;		/* 0 for none */
	const char *doc_key;
	int64		prev_seq;		/* 0 for none */
	const char *key;			/* of the call that caused it, NULL for documents */
} LoyaltyEntry;

#define LOYALTY_ENTRY_NATTS 12

extern void loyalty_posting_begin(LoyaltyPosting *p, LoyaltyMember *member, TimestampTz at);
extern void loyalty_posting_lots(LoyaltyPosting *p);
extern void loyalty_posting_open(LoyaltyPosting *p, LoyaltyMember *member, TimestampTz at);
extern bool loyalty_usable(LoyaltyLot *lot, DateADT today);
extern LoyaltyLot *loyalty_find_lot(LoyaltyPosting *p, int64 seq);
extern List *loyalty_lots_of(LoyaltyPosting *p, int64 *seqs, int n);
extern LoyaltyLot *loyalty_new_lot(LoyaltyPosting *p, DateADT expires_on, DateADT usable_from, Points points);
extern void loyalty_new_debt(LoyaltyPosting *p, Points points);
extern void loyalty_move(LoyaltyPosting *p, LoyaltyLot *lot, Points points);
extern Points loyalty_draw(LoyaltyPosting *p, LoyaltyLot *lot, Points need);
extern void loyalty_repay(LoyaltyPosting *p);
extern Points loyalty_spend(LoyaltyPosting *p, Points need);
extern Points loyalty_take(LoyaltyPosting *p, Points need);
extern void loyalty_draw_all(LoyaltyPosting *p);
extern Points loyalty_forgive(LoyaltyPosting *p);
extern void loyalty_store_lots(LoyaltyMember **members, int n);

/* term.c */

/* points that are valid through the same day */
typedef struct LoyaltyTerm
{
	DateADT		expires_on;
	Points		points;
} LoyaltyTerm;

extern int	loyalty_part_terms(LoyaltyProgram *program, LoyaltyPart *part, LoyaltyTerm **terms);
extern DateADT loyalty_usable_from(LoyaltySource *source, LoyaltyFacts *facts);
extern List *loyalty_fetch_swept(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part, LoyaltyPart *root,
								 Points need, DateADT *usable_from);
extern void loyalty_reschedule(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part);
extern void loyalty_extend_by_tier(LoyaltyMember *member, int32 from, TimestampTz at, TimestampTz now);

/* balance.c */
typedef struct LoyaltyAvailability
{
	Points		balance;
	Points		debt;
	Points		pending;
	Points		held;
	Points		available;
} LoyaltyAvailability;

extern Points loyalty_balance_at(LoyaltyMember *member, TimestampTz at);
extern Points loyalty_balance_as_of(LoyaltyMember *member, TimestampTz at);
extern Points loyalty_expired(LoyaltyMember *member, TimestampTz at);
extern Points loyalty_pending_points(LoyaltyMember *member, TimestampTz at);
extern Points loyalty_held(LoyaltyMember *member, TimestampTz at);
extern Points loyalty_available(LoyaltyMember *member, TimestampTz at);
extern LoyaltyAvailability loyalty_availability(LoyaltyMember *member, TimestampTz at, bool is_past);

/* lapse.c */
extern DateADT loyalty_lapse_day(LoyaltyMember *member);
extern bool loyalty_has_lapsed(LoyaltyMember *member, DateADT day);
extern void loyalty_lapse(LoyaltyMember *member);
extern void loyalty_before_lapse(LoyaltyMember *member, DateADT today);
extern void loyalty_redate_lots(LoyaltyMember *member, int64 *seqs, Datum *dates, int n, const char *kind,
								const char *key, TimestampTz at, TimestampTz now);
extern void loyalty_note_activity(LoyaltyMember *member, LoyaltyEntry *entry, TimestampTz now);

/* entries of a member that may be without a stored lot; then it is time */
#define LOYALTY_LOTS_TAIL 64

extern void loyalty_posting_end(LoyaltyPosting *p, LoyaltyEntry *entry, TimestampTz now);

/* restore.c */
extern int64 *loyalty_chain(LoyaltyPosting *p, const int64 *heads, int nheads, int *n);
extern Points loyalty_restore(LoyaltyPosting *p, int64 *chain, int nchain, Points points, bool spent);
extern Points loyalty_draw_own(LoyaltyPosting *p, int64 *chain, int nchain, Points need);
extern Points loyalty_draw_again(LoyaltyPosting *p, int64 *chain, int nchain, Points need);

/* redemption.c */
extern bool loyalty_any_redemptions(void);
extern List *loyalty_load_redemptions(int32 source_id, char **keys, int n);
extern LoyaltyRedemption *loyalty_find_redemption(int64 *members, int n, const char *key);
extern LoyaltyRedemption *loyalty_new_redemption(int64 member_id, const char *key, LoyaltyRedemptionKind kind,
												 Numeric value, int32 source_id, const char *doc_key,
												 TimestampTz at);
extern char *loyalty_paid_key(int32 source_id, const char *doc_key);
extern void loyalty_book_redemption(LoyaltyMember *member, LoyaltyRedemption *r, Points points, Points restored,
									LoyaltyEntry *cause, TimestampTz at, TimestampTz now);

/* spent.c */
extern Numeric loyalty_redeemed_value(List *redemptions);
extern void loyalty_decide_redemptions(LoyaltyBatch *batch, LoyaltyFamily *family, LoyaltyPart *sale,
									   LoyaltyRemaining *left);
extern void loyalty_post_redemptions(LoyaltyBatch *batch, LoyaltyDocument *doc, bool losses);

/* post.c */
extern void loyalty_post(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part,
						 LoyaltyPart *root, Points due);

/* transfer.c */
extern void loyalty_transfer(LoyaltyMember *from, LoyaltyMember *to, Points points, const char *key,
							 TimestampTz at, TimestampTz now);
extern void loyalty_sweep(LoyaltyMember *from, LoyaltyMember *to, TimestampTz at, TimestampTz now);
extern char *loyalty_merge_key(int64 member_id);
extern TimestampTz loyalty_sweep_time(LoyaltyMember *merged);
extern List *loyalty_fetch_back(LoyaltyMember *from, LoyaltyMember *to, DateADT *days, int n, Points need,
								DateADT *usable_from, TimestampTz at, TimestampTz now);

/* store.c */

/* columns of loyalty.document, loyalty.message */
#define LOYALTY_DOCUMENT_NATTS 31
#define LOYALTY_MESSAGE_NATTS 14

typedef enum LoyaltyTable
{
	TABLE_DOCUMENT,
	TABLE_ENTRY,
	TABLE_LOT,
	TABLE_ALLOCATION,
	TABLE_TIER_CHANGE,
	TABLE_MESSAGE,
	TABLE_MEMBER_DAY,			/* these two by analytics, which keeps figures */
	TABLE_MEMBER_SUMMARY,
	LOYALTY_NTABLES
} LoyaltyTable;

extern void loyalty_store_reset(void);
extern void loyalty_store_row(LoyaltyTable table, Datum *values, bool *nulls);
extern void loyalty_store_flush(void);
extern void loyalty_store_members(LoyaltyMember **members, int n);

/* probe.c */
extern void loyalty_probe_documents(LoyaltyDocument **docs, int n);

/* settle.c */
extern int64 loyalty_flush_touched(int32 source_id);
extern void loyalty_queue_unmet(void);
extern int64 loyalty_settle_waiting(LoyaltySource *source, int limit, TimestampTz before, bool unattended);
extern ErrorData *loyalty_attempt_evaluation(void (*work) (void *), void *arg);
extern void loyalty_park_document(LoyaltyDocument *doc, ErrorData *error, LoyaltyOutcome *outcome);
extern void loyalty_evaluate(List *docs, LoyaltyOutcome *outcome);
extern void loyalty_evaluate_dry(List *docs, LoyaltyOutcome *outcome);
extern LoyaltyDocument *loyalty_new_document(LoyaltySource *source, const char *key);
extern List *loyalty_all_documents(LoyaltySource *source);

#endif							/* LOYALTY_LEDGER_H */
