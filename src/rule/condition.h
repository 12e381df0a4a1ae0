/*
 * condition.h
 *	  Conditions and amounts that marketing writes: SQL expressions over what
 *	  is known of a document, its lines and its member, compiled for evaluation.
 */
#ifndef LOYALTY_CONDITION_H
#define LOYALTY_CONDITION_H

#include "executor/tuptable.h"
#include "nodes/bitmapset.h"
#include "nodes/execnodes.h"
#include "nodes/primnodes.h"

#include "loyalty.h"

/* what an expression can look at, by the name it is written with */
typedef enum LoyaltySpace
{
	SPACE_INVOICE,				/* the source's header row */
	SPACE_LINE,					/* a line as mapped, then its row */
	SPACE_DOCUMENT,				/* what the engine knows of the document */
	SPACE_MEMBER,				/* ... and of its member */
	SPACE_EVENT					/* an event, instead of a document */
} LoyaltySpace;

#define LOYALTY_NSPACES (SPACE_EVENT + 1)

/* columns that are always there, and first, in their space; counted from 0 */
typedef enum LoyaltyLineField
{
	IN_LINE_KEY,				/* text */
	IN_LINE_PRODUCT,			/* text */
	IN_LINE_CATEGORY,			/* text */
	IN_LINE_CATEGORIES,			/* text[] */
	IN_LINE_QTY,				/* numeric */
	IN_LINE_AMOUNT,				/* numeric */
	IN_LINE_COST,				/* numeric */
	IN_LINE_LIST_PRICE,			/* numeric */
	IN_LINE_LAUNCHED_ON,		/* date */
	IN_LINE_STOCK,				/* numeric */
	IN_LINE_ATTRIBUTES,			/* jsonb */
	IN_LINE_NFIELDS
} LoyaltyLineField;

typedef enum LoyaltyDocumentField
{
	IN_DOCUMENT_KEY,			/* text */
	IN_DOCUMENT_SOURCE,			/* text */
	IN_DOCUMENT_AMOUNT,			/* numeric */
	IN_DOCUMENT_PAID_BY_POINTS, /* numeric */
	IN_DOCUMENT_DATE,			/* date */
	IN_DOCUMENT_OCCURRED_AT,	/* timestamptz */
	IN_DOCUMENT_HOUR,			/* int */
	IN_DOCUMENT_WEEKDAY,		/* int */
	IN_DOCUMENT_DAY,			/* int */
	IN_DOCUMENT_MONTH,			/* int */
	IN_DOCUMENT_QUARTER,		/* int */
	IN_DOCUMENT_YEAR,			/* int */
	IN_DOCUMENT_COMPANY,		/* text */
	IN_DOCUMENT_CHANNEL,		/* text */
	IN_DOCUMENT_LINES,			/* int */
	IN_DOCUMENT_IS_RETURN,		/* boolean */
	IN_DOCUMENT_NFIELDS
} LoyaltyDocumentField;

typedef enum LoyaltyMemberField
{
	IN_MEMBER_CUSTOMER,			/* text */
	IN_MEMBER_TIER,				/* text */
	IN_MEMBER_TIER_RANK,		/* int */
	IN_MEMBER_JOINED_ON,		/* date */
	IN_MEMBER_DAYS_SINCE_JOINED,	/* int */
	IN_MEMBER_DAYS_TO_ANNIVERSARY,	/* int */
	IN_MEMBER_BIRTHDAY,			/* date */
	IN_MEMBER_DAYS_TO_BIRTHDAY, /* int */
	IN_MEMBER_PURCHASE_COUNT,	/* int; history from here ... */
	IN_MEMBER_LIFETIME_AMOUNT,	/* numeric */
	IN_MEMBER_YEAR_AMOUNT,		/* numeric */
	IN_MEMBER_YEAR_COUNT,		/* int */
	IN_MEMBER_MONTH_AMOUNT,		/* numeric */
	IN_MEMBER_MONTH_COUNT,		/* int */
	IN_MEMBER_LAST_PURCHASE_ON, /* date */
	IN_MEMBER_DAYS_SINCE_LAST_PURCHASE, /* int */
	IN_MEMBER_FIRST_PURCHASE_ON,	/* date */
	IN_MEMBER_CYCLE_DAYS,		/* numeric; ... to here */
	IN_MEMBER_ATTRIBUTES,		/* jsonb */
	IN_MEMBER_CAMPAIGNS,		/* text[] */
	IN_MEMBER_SEGMENT,			/* text */
	IN_MEMBER_NFIELDS
} LoyaltyMemberField;

typedef enum LoyaltyEventField
{
	IN_EVENT_KIND,				/* text */
	IN_EVENT_REFERENCE,			/* text */
	IN_EVENT_OCCURRED_AT,		/* timestamptz */
	IN_EVENT_DATE,				/* date */
	IN_EVENT_HOUR,				/* int */
	IN_EVENT_WEEKDAY,			/* int */
	IN_EVENT_MONTH,				/* int */
	IN_EVENT_YEAR,				/* int */
	IN_EVENT_ATTRIBUTES,		/* jsonb */
	IN_EVENT_COUNT,				/* int */
	IN_EVENT_NFIELDS
} LoyaltyEventField;

/* one column of a space */
typedef struct LoyaltySpaceColumn
{
	const char *name;
	Oid			type;			/* a domain's base type */
	int32		typmod;
	Oid			collation;
	AttrNumber	attnum;			/* in the ERP's table; 0 for the engine's own */
	bool		generated;		/* not stored: no row has it */
	bool		of_document;	/* known only with a document, and there is none here */
	bool		of_reward;		/* of now, so not for documents, which may be priced again */
	const char *meaning;		/* of the engine's own, else NULL */
} LoyaltySpaceColumn;

/* the columns that expressions of one kind can name */
typedef struct LoyaltySpaces
{
	const char *time_zone;		/* of the programme */
	bool		present[LOYALTY_NSPACES];
	Oid			tables[LOYALTY_NSPACES];	/* whose columns are in it, if any */
	int			ncolumns[LOYALTY_NSPACES];
	LoyaltySpaceColumn *columns[LOYALTY_NSPACES];
	ExprContext *econtext;		/* shared by all that is compiled for it */
} LoyaltySpaces;

/* values of a space's columns, in their order */
typedef struct LoyaltyRow
{
	Datum	   *values;
	bool	   *nulls;
} LoyaltyRow;

/* a compiled expression; needs its spaces to live as long as it does */
typedef struct LoyaltyCondition
{
	const char *text;			/* as written */
	const char *normal;			/* as PostgreSQL writes it */
	Oid			type;			/* BOOLOID or NUMERICOID */
	Expr	   *tree;			/* constants folded; Var (s + 1, c + 1) is column c of space s */
	Bitmapset  *uses[LOYALTY_NSPACES];	/* columns it looks at, from 0 */
	bool		uses_line;
	bool		uses_history;	/* figures of earlier purchases */

	/* how it runs */
	LoyaltySpaces *spaces;
	ExprState  *state;
	TupleTableSlot *slot;		/* the used columns side by side */
	int			nused;
	struct
	{
		LoyaltySpace space;
		int			column;
	}		   *used;
} LoyaltyCondition;

/* space.c */
extern LoyaltySpaces *loyalty_spaces(const char *time_zone, Oid header, Oid lines, bool event);
extern LoyaltySpaces *loyalty_member_spaces(const char *time_zone);
extern const char *loyalty_space_name(LoyaltySpace space);
extern int	loyalty_space_column(LoyaltySpaces *spaces, LoyaltySpace space, const char *name);
extern bool loyalty_usable_type(Oid type);

/* allowed.c */
extern bool loyalty_allowed_function(const char *signature);
extern bool loyalty_allowed_function_name(const char *name);
extern bool loyalty_allowed_operator(const char *name);

/* vet.c */
struct ParseState;
extern List *loyalty_vet_raw(struct ParseState *pstate, Node *raw);
extern void loyalty_vet_tree(struct ParseState *pstate, Node *tree, List *literals);
extern void loyalty_vet_folded(struct ParseState *pstate, Node *tree);

/* condition.c */
extern LoyaltyCondition *loyalty_condition_compile(const char *text, LoyaltySpaces *spaces,
												   Oid result_type, const char *what);
extern bool loyalty_condition_true(LoyaltyCondition *condition, LoyaltyRow *rows);
extern char *loyalty_condition_residual(LoyaltyCondition *condition, LoyaltyRow *rows, Bitmapset **open);
extern Datum loyalty_condition_value(LoyaltyCondition *condition, LoyaltyRow *rows, bool *isnull);

#endif							/* LOYALTY_CONDITION_H */
