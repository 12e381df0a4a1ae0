/*
 * fact.h
 *	  What the engine reads from a document: its facts, made comparable.
 */
#ifndef LOYALTY_FACT_H
#define LOYALTY_FACT_H

#include "utils/date.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "source/source.h"

/* a line; amounts in the programme's currency, signed like the document's */
typedef struct LoyaltyLine
{
	char	   *key;
	char	   *product;
	Jsonb	   *category;
	Numeric		qty;
	Numeric		amount;
	Numeric		cost;
	Numeric		list_price;		/* of one unit, never signed */
	bool		earns;
	char	   *of;				/* key of the line that is returned */

	/* for the conditions of rules, not kept */
	bool		has_launched_on;
	DateADT		launched_on;
	Numeric		stock;
	Jsonb	   *attributes;
	Datum	   *extra;			/* columns that rules read, see LoyaltyRuleBook.line */
	bool	   *extra_nulls;
} LoyaltyLine;

typedef enum LoyaltyEventState
{
	EVENT_NEW,					/* not evaluated yet */
	EVENT_WAITING,				/* for the friend's first purchase */
	EVENT_PENDING,				/* for approval */
	EVENT_COUNTED,
	EVENT_REJECTED,
	EVENT_REVOKED
} LoyaltyEventState;

/* what happened, where a document is an event; a row of loyalty.event */
typedef struct LoyaltyEvent
{
	int64		member_id;
	char	   *key;
	char	   *kind;
	char	   *reference;
	Jsonb	   *attributes;
	LoyaltyEventState state;
	bool		approved;
	bool		ripe;			/* need not wait for a purchase (any more) */
	Points		pending;
	int64		other_member;	/* the other side of a referral, 0 for none */
	int32		count;			/* earlier events of the kind, -1 if no rule asks */
} LoyaltyEvent;

/* a document in scope; amounts in the programme's currency */
typedef struct LoyaltyFacts
{
	char	   *customer;		/* NULL for a guest */
	bool		enrol;			/* may make its customer a member */
	TimestampTz at;
	DateADT		date;			/* in the programme's time zone */
	char	   *company;
	char	   *channel;
	Numeric		gross;			/* negative for a return */
	Numeric		paid;			/* part of gross paid with points */
	char	   *return_of;
	Numeric		factor;			/* sign and currency, for the lines */
	bool		amount_given;	/* gross is the header's, not the lines' sum */
	int			nlines;
	LoyaltyLine *lines;

	/* for the conditions of rules, not kept */
	bool		has_birthday;
	DateADT		birthday;
	bool		has_usable_from;	/* the source maps it, and knows it */
	DateADT		usable_from;
	Jsonb	   *attributes;		/* of the member */
	LoyaltyEvent *event;		/* NULL for an ERP's document */
	Datum	   *invoice;		/* columns that rules read, see LoyaltyRuleBook.invoice */
	bool	   *invoice_nulls;
} LoyaltyFacts;

/* a document that is to be evaluated */
typedef struct LoyaltyDocument
{
	LoyaltySource *source;
	char	   *key;
	MinimalTuple row;			/* captured columns, see LoyaltyTouched */
	MinimalTuple old;			/* of the version before */
	uint32		map_id;
	char	   *was;			/* the key it had before this transaction, NULL for the same or none */
	bool		line_only;		/* only lines of it were written */
	bool		fresh;
	bool		probed;			/* whether the next was found out already */
	bool		unknown;		/* the books have no row of it */
	bool		unmet;			/* who books another version of it meets us nowhere */
	bool		force;			/* price again even if nothing changed */
	bool		opening;		/* known, but earning nothing */
	int			attempts;		/* how often it has failed before */
	LoyaltyFacts *facts;		/* NULL: not in scope (any more) */
	List	   *claims;			/* of LoyaltyClaim *, once the lines are read */
	int64		member_id;		/* of its customer, locked; 0 for none */
	int64		member_hint;	/* where that would probably be */
	int64		old_member;		/* the same of the version before */
	TimestampTz at;				/* of its facts, where batches are cut */
	bool		done;
} LoyaltyDocument;

/* one part of a document: what it sells, or what it returns of one sale */
typedef struct LoyaltyClaim
{
	LoyaltySource *root_source; /* NULL for none */
	char	   *root_key;
	bool		of_line;		/* root_key is a line that is not there (yet) */
	Numeric		gross;
	Numeric		paid;
	int			nlines;
	LoyaltyLine *lines;
} LoyaltyClaim;

/* header.c */
extern LoyaltyFacts *loyalty_make_facts(LoyaltySource *source, const char *key, Datum *values, bool *nulls);
extern void loyalty_read_headers(LoyaltyDocument **docs, int n, bool again);
extern void loyalty_peek_headers(LoyaltyDocument **docs, int n);

/* read.c */
extern char *loyalty_text_value(Datum value, bool isnull);
extern Numeric loyalty_numeric_value(Datum value, bool isnull, const char *what);
extern void loyalty_keep_columns(LoyaltyRuleBook *book, bool of_lines, Datum *values, bool *nulls,
								 Datum **kept, bool **kept_nulls);
extern LoyaltyDocument *loyalty_find_document(LoyaltyDocument **docs, int n, const char *key);
extern void loyalty_read_by_source(LoyaltyDocument **docs, int n,
								   void (*read) (LoyaltySource *, LoyaltyDocument **, int));
extern uint64 loyalty_read_by_key(LoyaltySource *source, SPIPlanPtr *plan, LoyaltyItem item, char **keys, int n);
extern char *loyalty_read_key(uint64 row, int *column, int nparts);
extern void loyalty_read_lines(LoyaltyDocument **docs, int n);
extern void loyalty_finish_facts(LoyaltyDocument *doc);
extern char **loyalty_documents_of_lines(LoyaltySource *source, char **line_keys, int n);

/* basket.c */
extern LoyaltyFacts *loyalty_facts_of_row(LoyaltySource *source, Jsonb *row);

/* SQL: has the member a sale of which something is left? */
#define LOYALTY_HAS_BOUGHT(member) \
	"EXISTS (SELECT FROM loyalty.document d WHERE d.member_id = " member \
	" AND d.kind = 'sale' AND d.state = 'booked' AND d.root_source_id = 0 AND d.gross > 0" \
	" AND d.gross + COALESCE((SELECT pg_catalog.sum(r.qualifying) FROM loyalty.document r" \
	" WHERE r.root_source_id = d.source_id AND r.root_source_id <> 0 AND r.root_key = d.doc_key" \
	" AND r.member_id = d.member_id), 0) > 0)"

/* event.c */
extern char *loyalty_event_document(int64 member_id, const char *event_key);
extern const char *loyalty_event_state_name(LoyaltyEventState state);
extern bool loyalty_counts_events(LoyaltyRuleBook *book, const char *kind);
extern void loyalty_read_events(LoyaltySource *source, LoyaltyDocument **docs, int n);

/* claim.c */
extern List *loyalty_split_document(LoyaltyDocument *doc);
extern int32 loyalty_claim_source(LoyaltyClaim *claim);

/* a document found in the ERP's table */
typedef struct LoyaltyFound
{
	char	   *key;
	TimestampTz at;
	bool		is_return;
} LoyaltyFound;

extern List *loyalty_scan_documents(LoyaltySource *source, int newest, TimestampTz since);

/* lines.c */
extern Jsonb *loyalty_lines_to_jsonb(LoyaltyLine *lines, int n);
extern LoyaltyLine *loyalty_lines_from_jsonb(Jsonb *jsonb, int *n);
extern void loyalty_sort_lines(LoyaltyLine *lines, int n);

#endif							/* LOYALTY_FACT_H */
