/*
 * source.h
 *	  Attached ERP tables: their mapping, their triggers, and the set of
 *	  documents that the running transaction has touched.
 */
#ifndef LOYALTY_SOURCE_H
#define LOYALTY_SOURCE_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "executor/tuptable.h"
#include "nodes/bitmapset.h"
#include "nodes/execnodes.h"
#include "nodes/pg_list.h"

#include "loyalty.h"
#include "rule/rule.h"

struct TriggerData;

/* the expressions of a mapping, in the order of loyalty.source's columns */
typedef enum LoyaltyItem
{
	ITEM_KEY,
	ITEM_CUSTOMER,
	ITEM_DOC_DATE,
	ITEM_POSTED,
	ITEM_AMOUNT,
	ITEM_FILTER,
	ITEM_SIGN,
	ITEM_COMPANY,
	ITEM_CURRENCY,
	ITEM_RATE,
	ITEM_PAID,
	ITEM_RETURN_OF,
	ITEM_VOID,
	ITEM_CHANNEL,
	ITEM_ENROL,
	ITEM_BIRTHDAY,
	ITEM_MEMBER_ATTRIBUTES,
	ITEM_USABLE_FROM,
	ITEM_LINE_PARENT,
	ITEM_LINE_KEY,
	ITEM_LINE_FILTER,
	ITEM_LINE_PRODUCT,
	ITEM_LINE_CATEGORY,
	ITEM_LINE_QTY,
	ITEM_LINE_AMOUNT,
	ITEM_LINE_COST,
	ITEM_LINE_LIST_PRICE,
	ITEM_LINE_LAUNCHED_ON,
	ITEM_LINE_STOCK,
	ITEM_LINE_ATTRIBUTES,
	ITEM_LINE_RETURN_OF
} LoyaltyItem;

#define ITEM_FIRST_LINE ITEM_LINE_PARENT
#define LOYALTY_NITEMS (ITEM_LINE_RETURN_OF + 1)

/* the most columns a composite key may have */
#define LOYALTY_MAX_KEY 8

/* one mapped expression: what it says, and what it was found to be */
typedef struct LoyaltyExpression
{
	LoyaltyItem item;
	char	   *text;			/* as written */
	int			nparts;			/* columns it yields: > 1 for composite keys */
	char	   *parts[LOYALTY_MAX_KEY]; /* each as SQL of the type we want */
	char	   *bare[LOYALTY_MAX_KEY];	/* each as SQL of its own type */
	Oid			types[LOYALTY_MAX_KEY]; /* that type */
	bool		dated;			/* a column of it is a day or an instant */
	bool		uses_header;
	bool		plain;			/* no sub-select, built-in immutable functions only */
	bool		infallible;		/* ... that cannot raise an error either */
	bool		whole_row;		/* looks at the row as such, or at system columns */
	Bitmapset  *columns;		/* attribute numbers of its own table */
} LoyaltyExpression;

typedef enum LoyaltyEvaluate
{
	EVALUATE_COMMIT,
	EVALUATE_STATEMENT,
	EVALUATE_QUEUE
} LoyaltyEvaluate;

typedef enum LoyaltyUnlinked
{
	UNLINKED_NEGATIVE,
	UNLINKED_IGNORE,
	UNLINKED_CLAMP
} LoyaltyUnlinked;

typedef struct LoyaltySource
{
	int32		id;
	char	   *name;
	LoyaltyProgram *program;
	bool		attached;
	Oid			header;
	Oid			lines;			/* InvalidOid for none */
	char	   *items[LOYALTY_NITEMS];	/* NULL where not mapped */
	char	   *return_source_name;
	LoyaltyEvaluate evaluate;
	bool		raise;
	LoyaltyUnlinked unlinked;
	char	   *search_path;
	bool		of_events;		/* its documents are the programme's events */
	bool		has_returns;	/* some source's returns may point at this one */
	bool		has_line_returns;	/* ... at its lines */

	/* compiled on first use */
	LoyaltyRuleBook *book;
	LoyaltyExpression *expr[LOYALTY_NITEMS];
	char	   *header_sql;		/* facts of documents, by key */
	char	   *lines_sql;		/* facts of their lines, by key of the document */
	char	   *parent_sql;		/* documents of lines, by key of the line */
	char	   *scan_sql;		/* every document in scope */
	char	   *keys_sql;		/* every key of the table, in the same form */
	SPIPlanPtr	header_plan;
	SPIPlanPtr	lines_plan;
	SPIPlanPtr	parent_plan;
} LoyaltySource;

/* a mapping as one trigger sees it: compiled for the relation that fires it */
typedef struct LoyaltyMap
{
	uint32		id;				/* never used twice in a backend */
	Oid			trigger;
	Oid			relid;
	LoyaltySource *source;
	bool		of_lines;
	bool		usable;			/* the key expression compiles */
	ErrorData  *error;			/* why not */
	int			nkeys;
	ExprState  *keys[LOYALTY_MAX_KEY];
	Oid			key_types[LOYALTY_MAX_KEY]; /* text, or a dated type */
	AttrNumber	key_column;		/* the key is just this integer column, else 0 */
	Oid			key_type;
	bool		key_infallible;
	ExprState  *filter;			/* NULL: look at every row */
	bool		all_columns;	/* compare whole rows */
	int			ncolumns;		/* mapped columns to compare */
	AttrNumber *columns;
	bool		direct;			/* header facts can be read off the columns */
	TupleDesc	projection;		/* those columns, as kept by the log; with slot */
	ExprContext *econtext;
	int			nfacts;
	ExprState **facts;			/* compiled header facts; NULL: not from the columns */
	TupleTableSlot *slot;		/* full-width row for facts; NULL: none can be told */
} LoyaltyMap;

/* columns of header_sql after the key, and of LoyaltyMap.facts */
typedef enum LoyaltyFactColumn
{
	FACT_POSTED,				/* posted, not void, passes the filter */
	FACT_AT,
	FACT_AMOUNT,
	FACT_SIGN,
	FACT_COMPANY,
	FACT_CURRENCY,
	FACT_RATE,
	FACT_PAID,
	FACT_CHANNEL,
	FACT_ENROL,
	FACT_BIRTHDAY,
	FACT_ATTRIBUTES,
	FACT_USABLE_FROM,
	FACT_CUSTOMER				/* and its further parts, then return_of's, then what rules read */
} LoyaltyFactColumn;

/* columns of lines_sql after the parent's key */
typedef enum LoyaltyLineColumn
{
	LINE_PRODUCT,
	LINE_CATEGORY,
	LINE_QTY,
	LINE_AMOUNT,
	LINE_COST,
	LINE_LIST_PRICE,
	LINE_EARNS,
	LINE_LAUNCHED_ON,
	LINE_STOCK,
	LINE_ATTRIBUTES,
	LINE_KEY					/* and its further parts, then line_return_of's, then what rules read */
} LoyaltyLineColumn;

/* how a statement touched a document */
typedef enum LoyaltyTouchKind
{
	TOUCH_INSERT,				/* its header row was inserted */
	TOUCH_CHANGE,				/* its header row was changed or deleted */
	TOUCH_LINE					/* one of its lines was */
} LoyaltyTouchKind;

/* one document that the transaction touched */
typedef struct LoyaltyTouched
{
	int32		source_id;
	char	   *key;			/* empty: the source as a whole */
	MinimalTuple row;			/* its mapped columns, NULL if not at hand */
	MinimalTuple old;			/* the same of the version before, if changed */
	uint32		map_id;			/* the map that wrote row and old */
	bool		line_only;		/* the header was not written by us */
	bool		fresh;			/* inserted by this transaction, never evaluated */
	char	   *was;			/* the key it had before, NULL if that is not known */
	bool		moved;			/* it has another key now */
} LoyaltyTouched;

/* a document taken from loyalty.pending */
typedef struct LoyaltyClaimed
{
	int32		source_id;
	char	   *key;
	int			attempts;
} LoyaltyClaimed;

/* mapping.c */
extern List *loyalty_load_sources(List *programs);
extern LoyaltySource *loyalty_source_by_name(const char *name);
extern LoyaltySource *loyalty_source_by_id(int32 id);
extern LoyaltySource *loyalty_return_source(LoyaltySource *source);
extern LoyaltySource *loyalty_event_source(LoyaltyProgram *program);
extern Oid	loyalty_source_owner(LoyaltySource *source);
extern void loyalty_compile_source(LoyaltySource *source);
extern LoyaltyExpression *loyalty_compile_item(LoyaltySource *source, LoyaltyItem item,
											   MemoryContext context);
extern const char *loyalty_item_name(LoyaltyItem item);
extern LoyaltyRuleBook *loyalty_source_book(LoyaltySource *source);
extern List *loyalty_fact_columns(LoyaltySource *source);

/* key.c */
extern bool loyalty_key_is_dated(Oid type);
extern char *loyalty_date_text(DateADT date);
extern char *loyalty_key_part(Datum value, Oid type);
extern char *loyalty_compose_key(char **parts, int nparts);
extern void loyalty_decompose_key(const char *key, char **parts, int nparts);
extern char *loyalty_canonical_key(LoyaltySource *source, const char *key);
extern int	loyalty_compare_keys(const char *a, const char *b);

/* birthday.c */
extern bool loyalty_knows_birthdays(LoyaltyProgram *program);
extern void loyalty_read_birthdays(LoyaltyProgram *program, char **customers, int n, bool *known, DateADT *birthdays);

/* expression.c */
extern LoyaltyExpression *loyalty_analyze_expression(LoyaltySource *source, LoyaltyItem item);
extern Expr *loyalty_parse_sql(LoyaltySource *source, LoyaltyItem item, const char *sql,
							   int prefix, Oid header, Oid lines);

/* attach.c */
extern char *loyalty_current_search_path(void);

/* map.c */
extern LoyaltyMap *loyalty_map_for_trigger(struct TriggerData *trigdata);
extern void loyalty_map_load(LoyaltyMap *map, MinimalTuple row);
extern void loyalty_map_facts(LoyaltyMap *map, int from, int to, Datum *values, bool *nulls);
extern LoyaltyMap *loyalty_map_by_id(uint32 id);

/* pending.c */
extern void loyalty_touch(int32 source_id, const char *key, LoyaltyTouchKind kind,
						  MinimalTuple row, MinimalTuple old, uint32 map_id);
extern void loyalty_touch_renamed(int32 source_id, const char *was, const char *key);
extern int	loyalty_touched_count(void);
extern LoyaltyTouched *loyalty_take_touched(int32 source_id, int *n);
extern void loyalty_touch_again(int32 source_id, const char *key, MinimalTuple row, MinimalTuple old,
								uint32 map_id, bool line_only);
extern void loyalty_recall_touched(void);
extern void loyalty_forget_touched(void);
extern void loyalty_touched_subabort(int level);
extern void loyalty_touched_subcommit(int level);

/* park.c */
extern bool loyalty_anything_waits(void);
extern void loyalty_enqueue(int32 source_id, const char *key, int64 member_id,
							const char *reason, ErrorData *error, int attempts);
extern List *loyalty_claim(int32 source_id, int limit, TimestampTz before);
extern List *loyalty_claim_documents(int32 source_id, char **keys, int n);
extern List *loyalty_claim_of_members(int64 *members, int nmembers);

#endif							/* LOYALTY_SOURCE_H */
