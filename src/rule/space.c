/*
 * space.c
 *	  The name spaces of conditions: which columns an expression can name.
 *
 * The engine's own columns come first in their space and keep their numbers;
 * those of the ERP's tables follow.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"


#include "config.h"
#include "rule/condition.h"
#include "source/source.h"

PG_FUNCTION_INFO_V1(loyalty_condition_columns);

typedef struct Field
{
	const char *name;
	Oid			type;
	const char *meaning;
} Field;

static const Field line_fields[] = {
	[IN_LINE_KEY] = {"key", TEXTOID, "key of the line"},
	[IN_LINE_PRODUCT] = {"product", TEXTOID, "product"},
	[IN_LINE_CATEGORY] = {"category", TEXTOID, "category; NULL for none"},
	[IN_LINE_CATEGORIES] = {"categories", TEXTARRAYOID, "the category and all categories above it"},
	[IN_LINE_QTY] = {"qty", NUMERICOID, "quantity"},
	[IN_LINE_AMOUNT] = {"amount", NUMERICOID, "amount in the programme's currency"},
	[IN_LINE_COST] = {"cost", NUMERICOID, "cost in the programme's currency"},
	[IN_LINE_LIST_PRICE] = {"list_price", NUMERICOID, "price of one unit without discounts, in the programme's currency"},
	[IN_LINE_LAUNCHED_ON] = {"launched_on", DATEOID, "day the product came on the market"},
	[IN_LINE_STOCK] = {"stock", NUMERICOID, "stock of the product"},
	[IN_LINE_ATTRIBUTES] = {"attributes", JSONBOID, "further attributes of the line"},
};

static const Field document_fields[] = {
	[IN_DOCUMENT_KEY] = {"key", TEXTOID, "key of the document"},
	[IN_DOCUMENT_SOURCE] = {"source", TEXTOID, "source of the document"},
	[IN_DOCUMENT_AMOUNT] = {"amount", NUMERICOID, "what was billed, in the programme's currency"},
	[IN_DOCUMENT_PAID_BY_POINTS] = {"paid_by_points", NUMERICOID, "part of it that was paid with points"},
	[IN_DOCUMENT_DATE] = {"date", DATEOID, "day of the document in the programme's time zone"},
	[IN_DOCUMENT_OCCURRED_AT] = {"occurred_at", TIMESTAMPTZOID, "instant of the document"},
	[IN_DOCUMENT_HOUR] = {"hour", INT4OID, "hour of the day, 0 to 23"},
	[IN_DOCUMENT_WEEKDAY] = {"weekday", INT4OID, "day of the week, 1 for Monday to 7 for Sunday"},
	[IN_DOCUMENT_DAY] = {"day", INT4OID, "day of the month"},
	[IN_DOCUMENT_MONTH] = {"month", INT4OID, "month, 1 to 12"},
	[IN_DOCUMENT_QUARTER] = {"quarter", INT4OID, "quarter, 1 to 4"},
	[IN_DOCUMENT_YEAR] = {"year", INT4OID, "year"},
	[IN_DOCUMENT_COMPANY] = {"company", TEXTOID, "company"},
	[IN_DOCUMENT_CHANNEL] = {"channel", TEXTOID, "sales channel"},
	[IN_DOCUMENT_LINES] = {"lines", INT4OID, "number of lines"},
	[IN_DOCUMENT_IS_RETURN] = {"is_return", BOOLOID, "whether it takes goods back"},
};

static const Field member_fields[] = {
	[IN_MEMBER_CUSTOMER] = {"customer", TEXTOID, "the ERP's customer key"},
	[IN_MEMBER_TIER] = {"tier", TEXTOID, "tier at which the document earns; NULL below the first"},
	[IN_MEMBER_TIER_RANK] = {"tier_rank", INT4OID, "rank of that tier, 0 below the first"},
	[IN_MEMBER_JOINED_ON] = {"joined_on", DATEOID, "day of enrolment"},
	[IN_MEMBER_DAYS_SINCE_JOINED] = {"days_since_joined", INT4OID, "days since then"},
	[IN_MEMBER_DAYS_TO_ANNIVERSARY] = {"days_to_anniversary", INT4OID, "days to the nearest anniversary of joining, from the first on: 0 on the day, negative after it"},
	[IN_MEMBER_BIRTHDAY] = {"birthday", DATEOID, "date of birth"},
	[IN_MEMBER_DAYS_TO_BIRTHDAY] = {"days_to_birthday", INT4OID, "days to the nearest birthday: 0 on the day, negative after it"},
	[IN_MEMBER_PURCHASE_COUNT] = {"purchase_count", INT4OID, "purchases before this document"},
	[IN_MEMBER_LIFETIME_AMOUNT] = {"lifetime_amount", NUMERICOID, "amount of purchases before this document"},
	[IN_MEMBER_YEAR_AMOUNT] = {"year_amount", NUMERICOID, "the same within the calendar year"},
	[IN_MEMBER_YEAR_COUNT] = {"year_count", INT4OID, "purchases before this document within the calendar year"},
	[IN_MEMBER_MONTH_AMOUNT] = {"month_amount", NUMERICOID, "amount of purchases before this document within the calendar month"},
	[IN_MEMBER_MONTH_COUNT] = {"month_count", INT4OID, "purchases before this document within the calendar month"},
	[IN_MEMBER_LAST_PURCHASE_ON] = {"last_purchase_on", DATEOID, "day of the purchase before this document"},
	[IN_MEMBER_DAYS_SINCE_LAST_PURCHASE] = {"days_since_last_purchase", INT4OID, "days since then; NULL on the first purchase"},
	[IN_MEMBER_FIRST_PURCHASE_ON] = {"first_purchase_on", DATEOID, "day of the first purchase"},
	[IN_MEMBER_CYCLE_DAYS] = {"cycle_days", NUMERICOID, "mean days between the days of purchase so far; NULL for fewer than three"},
	[IN_MEMBER_ATTRIBUTES] = {"attributes", JSONBOID, "further attributes of the member"},
	[IN_MEMBER_CAMPAIGNS] = {"campaigns", TEXTARRAYOID, "campaigns that address the member on that day, not those he is held out of"},
	[IN_MEMBER_SEGMENT] = {"segment", TEXTOID, "RFM segment as of the last refresh_analytics(); NULL for none; rewards only"},
};

static const Field event_fields[] = {
	[IN_EVENT_KIND] = {"kind", TEXTOID, "kind of the event"},
	[IN_EVENT_REFERENCE] = {"reference", TEXTOID, "what the event is about"},
	[IN_EVENT_OCCURRED_AT] = {"occurred_at", TIMESTAMPTZOID, "instant of the event"},
	[IN_EVENT_DATE] = {"date", DATEOID, "day of the event in the programme's time zone"},
	[IN_EVENT_HOUR] = {"hour", INT4OID, "hour of the day, 0 to 23"},
	[IN_EVENT_WEEKDAY] = {"weekday", INT4OID, "day of the week, 1 for Monday to 7 for Sunday"},
	[IN_EVENT_MONTH] = {"month", INT4OID, "month, 1 to 12"},
	[IN_EVENT_YEAR] = {"year", INT4OID, "year"},
	[IN_EVENT_ATTRIBUTES] = {"attributes", JSONBOID, "further attributes of the event"},
	[IN_EVENT_COUNT] = {"count", INT4OID, "events of that kind of the member before this one"},
};

static const struct
{
	const char *name;
	const Field *fields;
	int			nfields;
}			spaces_known[LOYALTY_NSPACES] = {
	[SPACE_INVOICE] = {"invoice", NULL, 0},
	[SPACE_LINE] = {"line", line_fields, IN_LINE_NFIELDS},
	[SPACE_DOCUMENT] = {"document", document_fields, IN_DOCUMENT_NFIELDS},
	[SPACE_MEMBER] = {"member", member_fields, IN_MEMBER_NFIELDS},
	[SPACE_EVENT] = {"event", event_fields, IN_EVENT_NFIELDS},
};

const char *
loyalty_space_name(LoyaltySpace space)
{
	return spaces_known[space].name;
}

/*
 * Can expressions handle values of the type?  Built-in ones that need no code
 * of anybody else's, arrays of them, and enums, which are only numbered words.
 */
bool
loyalty_usable_type(Oid type)
{
	switch (type)
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case NAMEOID:
		case CHAROID:
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case INTERVALOID:
		case UUIDOID:
		case JSONOID:
		case JSONBOID:
			return true;
		default:
			{
				Oid			element = get_element_type(type);

				return OidIsValid(element) ? loyalty_usable_type(element) : type_is_enum(type);
			}
	}
}

/*
 * Number of a column in its space, counted from 0; -1 if there is none.
 */
int
loyalty_space_column(LoyaltySpaces *spaces, LoyaltySpace space, const char *name)
{
	for (int i = 0; i < spaces->ncolumns[space]; i++)
		if (strcmp(spaces->columns[space][i].name, name) == 0)
			return i;
	return -1;
}

/*
 * Fill one space: its fields, then the columns of the table, if one is given.
 */
static void
fill_space(LoyaltySpaces *spaces, LoyaltySpace space, Oid relid)
{
	Relation	rel = NULL;
	int			natts = 0;
	LoyaltySpaceColumn *columns;
	int			n = 0;

	if (OidIsValid(relid))
	{
		rel = try_table_open(relid, AccessShareLock);
		if (rel == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("the table of \"%s\" does not exist any more", spaces_known[space].name),
					 errhint("loyalty.status() tells which source has lost its table.")));
		natts = RelationGetNumberOfAttributes(rel);
	}

	columns = palloc0(sizeof(LoyaltySpaceColumn) * (spaces_known[space].nfields + natts + 1));
	for (; n < spaces_known[space].nfields; n++)
	{
		const Field *field = &spaces_known[space].fields[n];

		columns[n].name = field->name;
		columns[n].type = field->type;
		columns[n].typmod = -1;
		columns[n].collation = get_typcollation(field->type);
		columns[n].meaning = field->meaning;
	}
	spaces->columns[space] = columns;
	spaces->ncolumns[space] = n;

	for (int i = 0; i < natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);

		/* a mapped field hides the table's column of that name */
		if (att->attisdropped || loyalty_space_column(spaces, space, NameStr(att->attname)) >= 0)
			continue;
		columns[n].name = pstrdup(NameStr(att->attname));
		columns[n].typmod = att->atttypmod;
		columns[n].type = getBaseTypeAndTypmod(att->atttypid, &columns[n].typmod);
		columns[n].collation = att->attcollation;
		columns[n].attnum = att->attnum;
		columns[n].generated = att->attgenerated == 'v';
		spaces->ncolumns[space] = ++n;
	}

	spaces->present[space] = true;
	spaces->tables[space] = relid;
	if (rel != NULL)
		table_close(rel, AccessShareLock);
}

/*
 * The name spaces of a document's expressions, or of an event's.  Header and
 * lines are the tables of the source, InvalidOid where there is none: without
 * a header there is no invoice to look at.  Everything is made in the current
 * memory context, and must live as long as what is compiled for it.
 */
LoyaltySpaces *
loyalty_spaces(const char *time_zone, Oid header, Oid lines, bool event)
{
	LoyaltySpaces *spaces = palloc0(sizeof(LoyaltySpaces));

	spaces->time_zone = pstrdup(time_zone);
	if (event)
		fill_space(spaces, SPACE_EVENT, InvalidOid);
	else
	{
		if (OidIsValid(header))
			fill_space(spaces, SPACE_INVOICE, header);
		fill_space(spaces, SPACE_LINE, lines);
		fill_space(spaces, SPACE_DOCUMENT, InvalidOid);
	}
	fill_space(spaces, SPACE_MEMBER, InvalidOid);
	spaces->columns[SPACE_MEMBER][IN_MEMBER_SEGMENT].of_reward = true;
	spaces->columns[SPACE_MEMBER][IN_MEMBER_ATTRIBUTES].of_document = event;
	spaces->econtext = CreateStandaloneExprContext();
	return spaces;
}

/*
 * The name space of conditions on a member as such, who brings no document.
 */
LoyaltySpaces *
loyalty_member_spaces(const char *time_zone)
{
	static const int of_document[] = {IN_MEMBER_BIRTHDAY, IN_MEMBER_DAYS_TO_BIRTHDAY, IN_MEMBER_ATTRIBUTES};
	LoyaltySpaces *spaces = palloc0(sizeof(LoyaltySpaces));

	spaces->time_zone = pstrdup(time_zone);
	fill_space(spaces, SPACE_MEMBER, InvalidOid);
	for (int i = 0; i < (int) lengthof(of_document); i++)
		spaces->columns[SPACE_MEMBER][of_document[i]].of_document = true;
	spaces->econtext = CreateStandaloneExprContext();
	return spaces;
}

/*
 * condition_columns(source) -> setof (space, column_name, data_type, meaning):
 * what conditions can name.
 */
Datum
loyalty_condition_columns(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	LoyaltySource *source = NULL;
	LoyaltySpaces *spaces;

	InitMaterializedSRF(fcinfo, 0);
	if (!PG_ARGISNULL(0))
		source = loyalty_source_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	spaces = loyalty_spaces("UTC", source ? source->header : InvalidOid,
							source ? source->lines : InvalidOid, false);
	fill_space(spaces, SPACE_EVENT, InvalidOid);

	for (int space = 0; space < LOYALTY_NSPACES; space++)
		for (int i = 0; i < spaces->ncolumns[space]; i++)
		{
			LoyaltySpaceColumn *column = &spaces->columns[space][i];
			Datum		values[4];
			bool		nulls[4] = {false};
			char	   *meaning = (char *) column->meaning;

			if (!loyalty_usable_type(column->type) || column->generated)
				continue;
			if (meaning == NULL)
				meaning = GetComment(spaces->tables[space], RelationRelationId, column->attnum);
			values[0] = CStringGetTextDatum(loyalty_space_name(space));
			values[1] = CStringGetTextDatum(column->name);
			values[2] = CStringGetTextDatum(format_type_with_typemod(column->type, column->typmod));
			nulls[3] = meaning == NULL;
			values[3] = meaning ? CStringGetTextDatum(meaning) : (Datum) 0;
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
	return (Datum) 0;
}
