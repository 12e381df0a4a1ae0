/*
 * mapping.c
 *	  Sources as the backend knows them, and the SQL that reads their facts.
 *
 * Facts are read by one statement per batch of documents, made of the mapped
 * expressions and run by PostgreSQL as the owner of the ERP table.  Keys are
 * text to the engine; the statement turns them back into the type of the key
 * expression, so that the ERP's own index finds the rows.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "config.h"
#include "errors.h"
#include "rule/condition.h"
#include "source/source.h"

/* column names of loyalty.source, and of attach()'s parameters, by item */
static const char *const item_names[LOYALTY_NITEMS] = {
	"key", "customer", "doc_date", "posted", "amount", "filter", "sign", "company",
	"currency", "rate", "paid_by_points", "return_of", "void", "channel", "enrol", "birthday",
	"member_attributes", "usable_from", "line_parent", "line_key", "line_filter", "line_product", "line_category",
	"line_qty", "line_amount", "line_cost", "line_list_price", "line_launched_on", "line_stock", "line_attributes",
	"line_return_of"
};

static LoyaltyPlan plan_sources = {
	.sql = "SELECT key, customer, doc_date, posted, amount, filter, sign, company,"
	" currency, rate, paid_by_points, return_of, void, channel, enrol, birthday, member_attributes, usable_from,"
	" line_parent, line_key, line_filter, line_product, line_category,"
	" line_qty, line_amount, line_cost, line_list_price, line_launched_on, line_stock, line_attributes, line_return_of,"
	" source_id, name, program_id, attached, header::pg_catalog.oid, lines::pg_catalog.oid,"
	" return_source, evaluate, on_error, unlinked, search_path"
	" FROM loyalty.source ORDER BY source_id"
};

const char *
loyalty_item_name(LoyaltyItem item)
{
	return item_names[item];
}

static Datum
column(uint64 row, int number)
{
	bool		isnull;
	Datum		value = loyalty_spi_datum(row, LOYALTY_NITEMS + number, &isnull);

	return isnull ? (Datum) 0 : value;
}

/*
 * Read every source, in the current memory context; SPI is connected.
 */
List *
loyalty_load_sources(List *programs)
{
	List	   *sources = NIL;
	uint64		n = loyalty_run(&plan_sources, NULL, NULL);
	ListCell   *lc;
	ListCell   *lc2;

	for (uint64 row = 0; row < n; row++)
	{
		LoyaltySource *s = palloc0(sizeof(LoyaltySource));
		int32		program_id = DatumGetInt32(column(row, 3));
		char	   *word;

		for (int i = 0; i < LOYALTY_NITEMS; i++)
			s->items[i] = loyalty_spi_text(row, i + 1);
		s->id = DatumGetInt32(column(row, 1));
		s->name = TextDatumGetCString(column(row, 2));
		foreach(lc, programs)
			if (((LoyaltyProgram *) lfirst(lc))->id == program_id)
				s->program = lfirst(lc);
		s->attached = DatumGetBool(column(row, 4));
		s->header = DatumGetObjectId(column(row, 5));
		s->lines = DatumGetObjectId(column(row, 6));
		s->return_source_name = loyalty_spi_text(row, LOYALTY_NITEMS + 7);
		word = TextDatumGetCString(column(row, 8));
		s->evaluate = strcmp(word, "statement") == 0 ? EVALUATE_STATEMENT :
			strcmp(word, "queue") == 0 ? EVALUATE_QUEUE : EVALUATE_COMMIT;
		s->raise = strcmp(TextDatumGetCString(column(row, 9)), "raise") == 0;
		word = TextDatumGetCString(column(row, 10));
		s->unlinked = strcmp(word, "ignore") == 0 ? UNLINKED_IGNORE :
			strcmp(word, "clamp") == 0 ? UNLINKED_CLAMP : UNLINKED_NEGATIVE;
		s->search_path = TextDatumGetCString(column(row, 11));
		s->of_events = s->header == loyalty_relation("event");
		if (s->attached && !s->of_events)
		{
			loyalty_config_watch(s->header);
			if (OidIsValid(s->lines))
				loyalty_config_watch(s->lines);
		}
		sources = lappend(sources, s);
	}

	/* whose documents may returns point at? */
	foreach(lc, sources)
	{
		LoyaltySource *s = lfirst(lc);

		foreach(lc2, sources)
		{
			LoyaltySource *other = lfirst(lc2);
			bool		links = other->items[ITEM_RETURN_OF] != NULL || other->items[ITEM_LINE_RETURN_OF] != NULL;

			if (links && (other->return_source_name != NULL ?
						  strcmp(other->return_source_name, s->name) == 0 : other == s))
			{
				s->has_returns = true;
				s->has_line_returns |= other->items[ITEM_LINE_RETURN_OF] != NULL;
			}
		}
	}
	return sources;
}

/*
 * A source by its name; an error if there is none.
 */
LoyaltySource *
loyalty_source_by_name(const char *name)
{
	ListCell   *lc;

	foreach(lc, loyalty_config()->sources)
	{
		LoyaltySource *s = lfirst(lc);

		if (strcmp(s->name, name) == 0)
			return s;
	}
	ereport(ERROR,
			(errcode(ERRCODE_LOYALTY_UNKNOWN),
			 errmsg("source \"%s\" does not exist", name),
			 errhint("loyalty.status() lists the sources.")));
	return NULL;				/* keep compiler quiet */
}

/*
 * A source by its number; NULL if there is none.
 */
LoyaltySource *
loyalty_source_by_id(int32 id)
{
	ListCell   *lc;

	foreach(lc, loyalty_config()->sources)
	{
		LoyaltySource *s = lfirst(lc);

		if (s->id == id)
			return s;
	}
	return NULL;
}

/*
 * The source that a programme's events are documents of; NULL if it has had
 * none yet.
 */
LoyaltySource *
loyalty_event_source(LoyaltyProgram *program)
{
	ListCell   *lc;

	foreach(lc, loyalty_config()->sources)
	{
		LoyaltySource *s = lfirst(lc);

		if (s->of_events && s->program->id == program->id)
			return s;
	}
	return NULL;
}

/*
 * The source in which the keys that return_of gives are looked up.
 */
LoyaltySource *
loyalty_return_source(LoyaltySource *source)
{
	if (source->return_source_name == NULL)
		return source;
	return loyalty_source_by_name(source->return_source_name);
}

/*
 * The role the expressions of a source run as: the owner of its header table.
 *
 * Whoever owns the books can write the configuration; so that this gives no
 * right that role does not have, it must be a superuser or have the owner's.
 */
Oid
loyalty_source_owner(LoyaltySource *source)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(source->header));
	Oid			owner;
	Oid			books = loyalty_owner();

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the header table of source \"%s\" does not exist any more", source->name)));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	if (!superuser_arg(books) && !has_privs_of_role(books, owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the owner of the extension may not act as \"%s\"", GetUserNameFromId(owner, false)),
				 errhint("GRANT \"%s\" TO \"%s\".", GetUserNameFromId(owner, false),
						 GetUserNameFromId(books, false))));
	return owner;
}

/*
 * Check one item and describe it, in the given context.
 */
LoyaltyExpression *
loyalty_compile_item(LoyaltySource *source, LoyaltyItem item, MemoryContext context)
{
	if (source->expr[item] == NULL && source->items[item] != NULL)
	{
		MemoryContext old = loyalty_start_compiling();

		source->expr[item] = loyalty_analyze_expression(source, item);
		loyalty_keep_compiled(old, context);
	}
	return source->expr[item];
}

/*
 * The rules in force, compiled for the documents of a source.
 */
LoyaltyRuleBook *
loyalty_source_book(LoyaltySource *source)
{
	if (source->book == NULL)
	{
		MemoryContext old = loyalty_start_compiling();

		source->book = source->of_events ? loyalty_compile_event_rules(source->program) :
			loyalty_compile_rules(source->program, source->name, source->header, source->lines);
		loyalty_keep_compiled(old, loyalty_config()->context);
	}
	return source->book;
}

/*
 * Columns of a row that conditions read, as SQL.
 */
static List *
book_columns(LoyaltySource *source, LoyaltySpace space, const char *alias)
{
	LoyaltyRuleBook *book = loyalty_source_book(source);
	int			n = space == SPACE_INVOICE ? book->ninvoice : book->nline;
	int		   *numbers = space == SPACE_INVOICE ? book->invoice : book->line;
	List	   *columns = NIL;

	for (int i = 0; i < n; i++)
	{
		LoyaltySpaceColumn *column = &book->spaces->columns[space][numbers[i]];
		char	   *sql = psprintf("%s.%s", alias, quote_identifier(column->name));

		/* conditions know a domain by the type below it */
		if (get_atttype(book->spaces->tables[space], column->attnum) != column->type)
			sql = psprintf("%s::%s", sql, format_type_with_typemod(column->type, column->typmod));
		columns = lappend(columns, sql);
	}
	return columns;
}

static const char *
sql_of(LoyaltySource *source, LoyaltyItem item, const char *otherwise)
{
	return source->expr[item] != NULL ? source->expr[item]->parts[0] : otherwise;
}

/*
 * The header facts as SQL expressions, in the order of LoyaltyFactColumn.
 */
List *
loyalty_fact_columns(LoyaltySource *source)
{
	List	   *columns = NIL;
	LoyaltyExpression *e;

	columns = lappend(columns, psprintf("COALESCE(%s AND NOT COALESCE(%s, false) AND %s, false)",
										sql_of(source, ITEM_POSTED, "true"),
										sql_of(source, ITEM_VOID, "false"),
										sql_of(source, ITEM_FILTER, "true")));
	columns = lappend(columns, (char *) sql_of(source, ITEM_DOC_DATE, NULL));
	columns = lappend(columns, (char *) sql_of(source, ITEM_AMOUNT, "NULL::pg_catalog.numeric"));
	columns = lappend(columns, (char *) sql_of(source, ITEM_SIGN, "NULL::pg_catalog.numeric"));
	columns = lappend(columns, (char *) sql_of(source, ITEM_COMPANY, "NULL::pg_catalog.text"));
	columns = lappend(columns, (char *) sql_of(source, ITEM_CURRENCY, "NULL::pg_catalog.text"));
	columns = lappend(columns, (char *) sql_of(source, ITEM_RATE, "NULL::pg_catalog.numeric"));
	columns = lappend(columns, (char *) sql_of(source, ITEM_PAID, "NULL::pg_catalog.numeric"));
	columns = lappend(columns, (char *) sql_of(source, ITEM_CHANNEL, "NULL::pg_catalog.text"));
	columns = lappend(columns, (char *) sql_of(source, ITEM_ENROL, "NULL::pg_catalog.bool"));
	columns = lappend(columns, (char *) sql_of(source, ITEM_BIRTHDAY, "NULL::pg_catalog.date"));
	columns = lappend(columns, (char *) sql_of(source, ITEM_MEMBER_ATTRIBUTES, "NULL::pg_catalog.jsonb"));
	columns = lappend(columns, (char *) sql_of(source, ITEM_USABLE_FROM, "NULL::pg_catalog.date"));
	e = source->expr[ITEM_CUSTOMER];
	for (int i = 0; i < e->nparts; i++)
		columns = lappend(columns, e->parts[i]);
	e = source->expr[ITEM_RETURN_OF];
	for (int i = 0; e != NULL && i < e->nparts; i++)
		columns = lappend(columns, e->parts[i]);
	return list_concat(columns, book_columns(source, SPACE_INVOICE, "r"));
}

static void
append_parts(StringInfo sql, char **parts, int nparts)
{
	for (int i = 0; i < nparts; i++)
		appendStringInfo(sql, "%s%s", i > 0 ? ", " : "", parts[i]);
}

/*
 * Name of a key column's type as SQL: "character" alone would be character(1).
 */
static char *
key_type(LoyaltyExpression *key, int part)
{
	return format_type_extended(key->types[part], -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
}

/*
 * "e1 = ANY ($1::type[])", or a join with the unnested columns of the key.
 */
static void
append_key_condition(StringInfo from, StringInfo where, LoyaltyExpression *key)
{
	if (key->nparts == 1)
	{
		appendStringInfo(where, "%s OPERATOR(pg_catalog.=) ANY ($1::%s[])",
						 key->bare[0], key_type(key, 0));
		return;
	}
	appendStringInfoString(from, " CROSS JOIN ROWS FROM (");
	for (int i = 0; i < key->nparts; i++)
		appendStringInfo(from, "%spg_catalog.unnest($%d::%s[])", i > 0 ? ", " : "", i + 1,
						 key_type(key, i));
	appendStringInfoString(from, ") AS loyalty_k (");
	for (int i = 0; i < key->nparts; i++)
		appendStringInfo(from, "%sk%d", i > 0 ? ", " : "", i + 1);
	appendStringInfoChar(from, ')');
	for (int i = 0; i < key->nparts; i++)
		appendStringInfo(where, "%s%s = loyalty_k.k%d", i > 0 ? " AND " : "", key->bare[i], i + 1);
}

static char *
table_name(Oid relid, const char *source)
{
	char	   *name = get_rel_name(relid);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("a table of source \"%s\" does not exist any more", source)));
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name);
}

static SPIPlanPtr
prepare_by_key(const char *sql, LoyaltyExpression *key)
{
	Oid			types[LOYALTY_MAX_KEY];

	for (int i = 0; i < key->nparts; i++)
		types[i] = TEXTARRAYOID;
	return loyalty_keep_plan(CurrentMemoryContext, sql, key->nparts, types);
}

/*
 * Compile the whole mapping.  The caller has connected SPI, taken on the
 * owner's role and pinned the settings; an error says what is wrong.
 */
void
loyalty_compile_source(LoyaltySource *source)
{
	MemoryContext context = loyalty_config()->context;
	MemoryContext old;
	StringInfoData select;
	StringInfoData from;
	StringInfoData where;
	LoyaltyExpression *key;
	char	   *header;
	ListCell   *lc;

	if (source->header_plan != NULL)
		return;

	for (int i = 0; i < LOYALTY_NITEMS; i++)
		(void) loyalty_compile_item(source, i, context);

	old = loyalty_start_compiling();
	key = source->expr[ITEM_KEY];
	header = table_name(source->header, source->name);

	initStringInfo(&select);
	initStringInfo(&from);
	initStringInfo(&where);
	append_parts(&select, key->parts, key->nparts);
	foreach(lc, loyalty_fact_columns(source))
		appendStringInfo(&select, ", %s", (char *) lfirst(lc));
	append_key_condition(&from, &where, key);
	source->header_sql = psprintf("SELECT %s FROM %s AS r%s WHERE %s",
								  select.data, header, from.data, where.data);

	resetStringInfo(&select);
	append_parts(&select, key->parts, key->nparts);
	source->scan_sql = psprintf("SELECT %s, %s, COALESCE(%s OPERATOR(pg_catalog.<) 0, false)"
								" OR COALESCE(%s OPERATOR(pg_catalog.<) 0, false)"
								" OR %s IS NOT NULL FROM %s AS r WHERE %s",
								select.data,
								source->expr[ITEM_DOC_DATE]->parts[0],
								sql_of(source, ITEM_AMOUNT, "NULL::pg_catalog.numeric"),
								sql_of(source, ITEM_SIGN, "NULL::pg_catalog.numeric"),
								sql_of(source, ITEM_RETURN_OF, "NULL::pg_catalog.text"),
								header, (char *) linitial(loyalty_fact_columns(source)));

	source->keys_sql = psprintf("SELECT %s, NULL::pg_catalog.timestamptz, false FROM %s AS r", select.data, header);

	if (OidIsValid(source->lines))
	{
		LoyaltyExpression *parent = source->expr[ITEM_LINE_PARENT];
		LoyaltyExpression *line_key = source->expr[ITEM_LINE_KEY];
		LoyaltyExpression *line_return = source->expr[ITEM_LINE_RETURN_OF];
		char	   *lines = table_name(source->lines, source->name);
		bool		joined = false;

		for (int i = ITEM_FIRST_LINE; i < LOYALTY_NITEMS; i++)
			if (source->expr[i] != NULL && source->expr[i]->uses_header)
				joined = true;

		resetStringInfo(&select);
		resetStringInfo(&from);
		resetStringInfo(&where);
		append_parts(&select, parent->parts, parent->nparts);
		appendStringInfo(&select, ", %s, %s, %s, %s, %s, %s, COALESCE(%s, false), %s, %s, %s",
						 sql_of(source, ITEM_LINE_PRODUCT, "NULL::pg_catalog.text"),
						 sql_of(source, ITEM_LINE_CATEGORY, "NULL::pg_catalog.jsonb"),
						 sql_of(source, ITEM_LINE_QTY, "NULL::pg_catalog.numeric"),
						 sql_of(source, ITEM_LINE_AMOUNT, "NULL::pg_catalog.numeric"),
						 sql_of(source, ITEM_LINE_COST, "NULL::pg_catalog.numeric"),
						 sql_of(source, ITEM_LINE_LIST_PRICE, "NULL::pg_catalog.numeric"),
						 sql_of(source, ITEM_LINE_FILTER, "true"),
						 sql_of(source, ITEM_LINE_LAUNCHED_ON, "NULL::pg_catalog.date"),
						 sql_of(source, ITEM_LINE_STOCK, "NULL::pg_catalog.numeric"),
						 sql_of(source, ITEM_LINE_ATTRIBUTES, "NULL::pg_catalog.jsonb"));
		appendStringInfoString(&select, ", ");
		append_parts(&select, line_key->parts, line_key->nparts);
		if (line_return != NULL)
		{
			appendStringInfoString(&select, ", ");
			append_parts(&select, line_return->parts, line_return->nparts);
		}
		foreach(lc, book_columns(source, SPACE_LINE, "l"))
			appendStringInfo(&select, ", %s", (char *) lfirst(lc));
		if (joined)
		{
			appendStringInfo(&from, " JOIN %s AS r ON ", header);
			for (int i = 0; i < key->nparts; i++)
				appendStringInfo(&from, "%s%s = %s", i > 0 ? " AND " : "", key->bare[i], parent->bare[i]);
		}
		append_key_condition(&from, &where, parent);
		source->lines_sql = psprintf("SELECT %s FROM %s AS l%s WHERE %s",
									 select.data, lines, from.data, where.data);
		source->lines_plan = prepare_by_key(source->lines_sql, parent);

		if (!line_key->uses_header && !parent->uses_header)
		{
			resetStringInfo(&select);
			resetStringInfo(&from);
			resetStringInfo(&where);
			append_parts(&select, line_key->parts, line_key->nparts);
			appendStringInfoString(&select, ", ");
			append_parts(&select, parent->parts, parent->nparts);
			append_key_condition(&from, &where, line_key);
			source->parent_sql = psprintf("SELECT %s FROM %s AS l%s WHERE %s",
										  select.data, lines, from.data, where.data);
			source->parent_plan = prepare_by_key(source->parent_sql, line_key);
		}
	}
	/* comes last: without it nobody looks at the others */
	source->header_plan = prepare_by_key(source->header_sql, key);
	loyalty_keep_compiled(old, context);
}
