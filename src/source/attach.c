/*
 * attach.c
 *	  Attaching an ERP table, and letting it go.
 *
 * The mapping is compiled completely before anything is written, as the owner
 * of the table, so that a mistake shows at once and points into the text.  The
 * triggers are made by the caller's own rights.  The one lock that takes is
 * waited for briefly and several times, not once and long: whoever queues
 * behind us waits no longer than that either.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "config.h"
#include "errors.h"
#include "source/source.h"

PG_FUNCTION_INFO_V1(loyalty_attach);
PG_FUNCTION_INFO_V1(loyalty_detach);

/* parameters of attach(), in order */
enum
{
	ARG_SOURCE, ARG_PROGRAM, ARG_HEADER, ARG_KEY, ARG_CUSTOMER, ARG_DOC_DATE, ARG_POSTED,
	ARG_AMOUNT, ARG_FILTER, ARG_SIGN, ARG_COMPANY, ARG_CURRENCY, ARG_RATE, ARG_PAID,
	ARG_RETURN_OF, ARG_RETURN_SOURCE, ARG_VOID, ARG_CHANNEL, ARG_ENROL, ARG_BIRTHDAY,
	ARG_MEMBER_ATTRIBUTES, ARG_USABLE_FROM, ARG_LINES,
	ARG_LINE_PARENT, ARG_LINE_KEY, ARG_LINE_FILTER, ARG_LINE_PRODUCT, ARG_LINE_CATEGORY,
	ARG_LINE_QTY, ARG_LINE_AMOUNT, ARG_LINE_COST, ARG_LINE_LIST_PRICE, ARG_LINE_LAUNCHED_ON, ARG_LINE_STOCK,
	ARG_LINE_ATTRIBUTES, ARG_LINE_RETURN_OF, ARG_EVALUATE, ARG_ON_ERROR, ARG_UNLINKED, ARG_SEARCH_PATH
};

static const int item_args[LOYALTY_NITEMS] = {
	ARG_KEY, ARG_CUSTOMER, ARG_DOC_DATE, ARG_POSTED, ARG_AMOUNT, ARG_FILTER, ARG_SIGN,
	ARG_COMPANY, ARG_CURRENCY, ARG_RATE, ARG_PAID, ARG_RETURN_OF, ARG_VOID, ARG_CHANNEL,
	ARG_ENROL, ARG_BIRTHDAY, ARG_MEMBER_ATTRIBUTES, ARG_USABLE_FROM, ARG_LINE_PARENT, ARG_LINE_KEY, ARG_LINE_FILTER,
	ARG_LINE_PRODUCT, ARG_LINE_CATEGORY, ARG_LINE_QTY, ARG_LINE_AMOUNT, ARG_LINE_COST, ARG_LINE_LIST_PRICE,
	ARG_LINE_LAUNCHED_ON, ARG_LINE_STOCK, ARG_LINE_ATTRIBUTES, ARG_LINE_RETURN_OF
};

#define LOCK_TRIES 10
#define LOCK_TIMEOUT "500ms"

/* a source that was detached is mapped anew: its bookings go on */
static LoyaltyPlan plan_insert = {
	.sql = "INSERT INTO loyalty.source AS s (name, program_id, header, lines,"
	" key, customer, doc_date, posted, amount, filter, sign, company, currency, rate, paid_by_points,"
	" return_of, void, channel, enrol, birthday, member_attributes, usable_from, line_parent, line_key,"
	" line_filter, line_product, line_category, line_qty, line_amount, line_cost, line_list_price, line_launched_on,"
	" line_stock, line_attributes, line_return_of, return_source, evaluate, on_error, unlinked,"
	" search_path)"
	" SELECT $1[1], $2, $3::pg_catalog.regclass, $4::pg_catalog.regclass,"
	" $1[2], $1[3], $1[4], $1[5], $1[6], $1[7], $1[8], $1[9], $1[10], $1[11], $1[12], $1[13], $1[14],"
	" $1[15], $1[16], $1[17], $1[18], $1[19], $1[20], $1[21], $1[22], $1[23], $1[24], $1[25], $1[26],"
	" $1[27], $1[28], $1[29], $1[30], $1[31], $1[32], $1[33], $1[34], $1[35], $1[36], $1[37]"
	" ON CONFLICT (name) DO UPDATE SET attached = true,"
	" program_id = excluded.program_id, header = excluded.header, lines = excluded.lines,"
	" key = excluded.key, customer = excluded.customer, doc_date = excluded.doc_date,"
	" posted = excluded.posted, amount = excluded.amount, filter = excluded.filter,"
	" sign = excluded.sign, company = excluded.company, currency = excluded.currency,"
	" rate = excluded.rate, paid_by_points = excluded.paid_by_points, return_of = excluded.return_of,"
	" void = excluded.void, channel = excluded.channel, enrol = excluded.enrol,"
	" birthday = excluded.birthday, member_attributes = excluded.member_attributes, usable_from = excluded.usable_from,"
	" line_parent = excluded.line_parent, line_key = excluded.line_key,"
	" line_filter = excluded.line_filter, line_product = excluded.line_product,"
	" line_category = excluded.line_category, line_qty = excluded.line_qty,"
	" line_amount = excluded.line_amount, line_cost = excluded.line_cost,"
	" line_list_price = excluded.line_list_price,"
	" line_launched_on = excluded.line_launched_on, line_stock = excluded.line_stock,"
	" line_attributes = excluded.line_attributes, line_return_of = excluded.line_return_of,"
	" return_source = excluded.return_source, evaluate = excluded.evaluate,"
	" on_error = excluded.on_error, unlinked = excluded.unlinked, search_path = excluded.search_path"
	" WHERE NOT s.attached AND s.program_id = excluded.program_id RETURNING source_id",
	.nparams = 4, .types = {TEXTARRAYOID, INT4OID, OIDOID, OIDOID}
};

static LoyaltyPlan plan_detach = {
	.sql = "UPDATE loyalty.source SET attached = false WHERE source_id = $1",
	.nparams = 1, .types = {INT4OID}
};

static char *
text_arg(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

static void
require(const char *value, const char *name)
{
	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s cannot be NULL", name)));
}

static void
one_of(const char *value, const char *name, const char *const *choices)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; choices[i] != NULL; i++)
	{
		if (value != NULL && strcmp(value, choices[i]) == 0)
			return;
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", choices[i]);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for %s: %s", name, value ? psprintf("\"%s\"", value) : "NULL"),
			 errhint("It can be %s.", list.data)));
}

static char *
qualified_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
}

/*
 * The caller must own the table: he decides what runs when it is written.
 */
static void
check_table(Oid relid)
{
	char		kind = get_rel_relkind(relid);

	if (kind == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", get_rel_name(relid))));
	if (get_rel_persistence(relid) == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is a temporary table", get_rel_name(relid)),
				 errdetail("Only its own session can read it, and what it books has to last.")));
	if (!loyalty_owns_relation(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(relid));
	if (get_rel_namespace(relid) == get_namespace_oid(LOYALTY_SCHEMA, true))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is one of loyalty's own tables", get_rel_name(relid))));
}

/*
 * Names in expressions mean what they mean to the caller now, and will go on
 * to mean that; pg_temp is added, as the last, wherever the path is used.
 */
char *
loyalty_current_search_path(void)
{
	List	   *schemas = fetch_search_path(false);
	StringInfoData path;
	ListCell   *lc;

	initStringInfo(&path);
	foreach(lc, schemas)
	{
		char	   *name = get_namespace_name(lfirst_oid(lc));

		if (name != NULL && !isAnyTempNamespace(lfirst_oid(lc)))
			appendStringInfo(&path, "%s%s", path.len > 0 ? ", " : "", quote_identifier(name));
	}
	return path.data;
}

/*
 * Compile the mapping once, as it will be compiled from now on.
 */
static void
try_mapping(LoyaltySource *source)
{
	LoyaltyIdentity save;
	int			nest;
	static const LoyaltyItem keys[] = {ITEM_KEY, ITEM_LINE_PARENT};

	loyalty_become_reader(loyalty_source_owner(source), &save);
	nest = loyalty_pin_settings(source->search_path, source->program->time_zone);
	loyalty_compile_source(source);
	for (int i = 0; i < 2; i++)
	{
		LoyaltyExpression *e = source->expr[keys[i]];

		if (e != NULL && (!e->plain || e->whole_row || e->uses_header))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("expression \"%s\" must be made of columns of its own row by built-in immutable functions",
							loyalty_item_name(keys[i])),
					 errhint("It is evaluated for every row that is written.")));
		if (e != NULL && bms_is_empty(e->columns))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("expression \"%s\" is the same for every row", loyalty_item_name(keys[i])),
					 internalerrposition(1), internalerrquery(e->text)));
	}
	loyalty_unpin_settings(nest);
	loyalty_resume(&save);
}

/*
 * An item of a source, compiled as the owner of its table.
 */
static LoyaltyExpression *
compile_item(LoyaltySource *source, LoyaltyItem item)
{
	LoyaltyIdentity save;
	LoyaltyExpression *e;
	int			nest;

	loyalty_become_reader(loyalty_source_owner(source), &save);
	nest = loyalty_pin_settings(source->search_path, source->program->time_zone);
	e = loyalty_compile_item(source, item, loyalty_config()->context);
	loyalty_unpin_settings(nest);
	loyalty_resume(&save);
	return e;
}

/*
 * What leads from one row to another must be able to be equal to the other's
 * key, whose text is all that the engine knows of it.  In links, text may stand
 * for any type.
 */
static void
check_link(LoyaltySource *source, LoyaltyItem item, LoyaltySource *target, LoyaltyItem target_item, bool as_text)
{
	LoyaltyExpression *link = compile_item(source, item);
	LoyaltyExpression *key = compile_item(target, target_item);
	char	   *name = psprintf("\"%s\"%s", loyalty_item_name(target_item),
								target == source ? "" : psprintf(" of source \"%s\"", target->name));

	/* a record, or text in the form of one */
	if (as_text && link->nparts == 1 && key->nparts > 1 &&
		(type_is_rowtype(link->types[0]) || TypeCategory(link->types[0]) == TYPCATEGORY_STRING))
		return;
	if (key->nparts != link->nparts)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" and %s have different numbers of columns", loyalty_item_name(item), name),
				 internalerrposition(1), internalerrquery(link->text)));
	for (int i = 0; i < key->nparts; i++)
	{
		TYPCATEGORY key_category = TypeCategory(key->types[i]);
		TYPCATEGORY link_category = TypeCategory(link->types[i]);

		/* a day and an instant are equal in SQL, but not as text */
		if ((key_category != link_category ||
			 (key_category == TYPCATEGORY_DATETIME && key->types[i] != link->types[i])) &&
			!(as_text && (key_category == TYPCATEGORY_STRING || link_category == TYPCATEGORY_STRING)))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("expression \"%s\" is %s, but %s is %s",
							loyalty_item_name(item), format_type_be(link->types[i]),
							name, format_type_be(key->types[i])),
					 errhint("Write the conversion into the expression."),
					 internalerrposition(1), internalerrquery(link->text)));
	}
}

/*
 * Lines to their documents, returns to their sales: said here, in terms of the
 * mapping, before a statement made of both would not compile, or every return
 * would be parked.
 */
static void
check_links(LoyaltySource *source)
{
	LoyaltySource *sales = loyalty_return_source(source);

	if (OidIsValid(source->lines))
		check_link(source, ITEM_LINE_PARENT, source, ITEM_KEY, false);
	/* what does not exist any more, or is mapped anew, cannot be asked */
	if (!sales->attached || sales->of_events || get_rel_name(sales->header) == NULL ||
		(OidIsValid(sales->lines) && get_rel_name(sales->lines) == NULL))
		return;
	if (source->items[ITEM_RETURN_OF] != NULL)
		check_link(source, ITEM_RETURN_OF, sales, ITEM_KEY, true);
	if (source->items[ITEM_LINE_RETURN_OF] != NULL)
	{
		if (source->items[ITEM_RETURN_OF] == NULL &&
			(!OidIsValid(sales->lines) || compile_item(sales, ITEM_LINE_KEY)->uses_header))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("source \"%s\" cannot look up documents by their lines", sales->name),
					 errhint("Map its line_key without using r, or map return_of.")));
		if (OidIsValid(sales->lines))
			check_link(source, ITEM_LINE_RETURN_OF, sales, ITEM_LINE_KEY, true);
	}
}

static void
run_commands(void *arg)
{
	const char *const *commands = arg;
	int			nest = NewGUCNestLevel();

	(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	for (int i = 0; commands[i] != NULL; i++)
		if (loyalty_execute(commands[i]) < 0)
			elog(ERROR, "could not execute \"%s\"", commands[i]);
	AtEOXact_GUC(true, nest);
}

/*
 * Run commands with a short lock_timeout, a few times if need be.
 */
static void
run_with_lock(const char *table, const char *const *commands)
{
	ErrorData  *error;

	for (int try = 1; (error = loyalty_attempt(run_commands, (void *) commands, NULL, false)) != NULL; try++)
	{
		if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE || try == LOCK_TRIES)
			ReThrowError(error);
		FreeErrorData(error);
		ereport(NOTICE,
				(errmsg("waiting for a lock on %s", table)));
		pg_usleep(200000L);
		CHECK_FOR_INTERRUPTS();
	}
}

static char *
trigger_name(const char *source, const char *what)
{
	/* an identifier has 63 bytes; the source's number is not known yet */
	return psprintf("loyalty_%s_%.*s", what, pg_mbcliplen(source, strlen(source), 40), source);
}

static void
create_triggers(const char *source, Oid relid, const char *role, bool statement)
{
	char	   *table = qualified_name(relid);
	char	   *literal = quote_literal_cstr(source);
	const char *row = quote_identifier(trigger_name(source, role));
	const char *truncate = quote_identifier(trigger_name(source, psprintf("%s_truncate", role)));
	const char *settle = quote_identifier(trigger_name(source, psprintf("%s_settle", role)));
	const char *commands[8] = {NULL};
	int			n = 0;

	commands[n++] = psprintf("LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", table);
	commands[n++] = psprintf("CREATE TRIGGER %s AFTER INSERT OR UPDATE OR DELETE ON %s"
							 " FOR EACH ROW EXECUTE FUNCTION loyalty.capture(%s, '%s')", row, table, literal, role);
	commands[n++] = psprintf("CREATE TRIGGER %s AFTER TRUNCATE ON %s"
							 " FOR EACH STATEMENT EXECUTE FUNCTION loyalty.capture(%s, '%s')", truncate, table, literal, role);
	if (statement)
		commands[n++] = psprintf("CREATE TRIGGER %s AFTER INSERT OR UPDATE OR DELETE ON %s"
								 " FOR EACH STATEMENT EXECUTE FUNCTION loyalty.capture(%s, '%s')", settle, table, literal, role);
	/* so that DROP EXTENSION takes them along */
	commands[n++] = psprintf("ALTER TRIGGER %s ON %s DEPENDS ON EXTENSION loyalty", row, table);
	commands[n++] = psprintf("ALTER TRIGGER %s ON %s DEPENDS ON EXTENSION loyalty", truncate, table);
	if (statement)
		commands[n++] = psprintf("ALTER TRIGGER %s ON %s DEPENDS ON EXTENSION loyalty", settle, table);
	run_with_lock(table, commands);
}

/*
 * What the owner of an attached table needs: his own pg_dump reads every table
 * of the extension that is dumped, and restoring makes the triggers again.
 */
static void
grant_to_owner(Oid relid)
{
	Oid			owner;
	LoyaltyIdentity save;
	LoyaltySource probe;
	const char *name;

	memset(&probe, 0, sizeof(probe));
	probe.header = relid;
	probe.name = get_rel_name(relid);
	owner = loyalty_source_owner(&probe);
	if (owner == loyalty_owner() || superuser_arg(owner))
		return;
	name = quote_identifier(GetUserNameFromId(owner, false));
	loyalty_become(loyalty_owner(), &save);
	(void) loyalty_execute(psprintf("GRANT USAGE ON SCHEMA loyalty TO %s", name));
	(void) loyalty_execute(psprintf("GRANT SELECT ON ALL TABLES IN SCHEMA loyalty TO %s", name));
	(void) loyalty_execute(psprintf("GRANT SELECT ON ALL SEQUENCES IN SCHEMA loyalty TO %s", name));
	(void) loyalty_execute(psprintf("GRANT EXECUTE ON FUNCTION loyalty.capture() TO %s", name));
	loyalty_resume(&save);
}

/*
 * attach(...) -> source_id
 */
Datum
loyalty_attach(PG_FUNCTION_ARGS)
{
	static const char *const evaluates[] = {"commit", "statement", "queue", NULL};
	static const char *const on_errors[] = {"park", "raise", NULL};
	static const char *const unlinkeds[] = {"negative", "ignore", "clamp", NULL};
	LoyaltySource *source;
	LoyaltyIdentity save;
	char	   *name = text_arg(fcinfo, ARG_SOURCE);
	char	   *program = text_arg(fcinfo, ARG_PROGRAM);
	char	   *strings[LOYALTY_NITEMS + 6];
	Datum		values[4];
	char		nulls[] = "    ";
	bool		isnull;
	int32		id;
	ListCell   *lc;

	require(name, "source");
	require(program, "program");
	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a source needs a name")));
	if (PG_ARGISNULL(ARG_HEADER))
		require(NULL, "header");

	loyalty_config_pin();
	source = MemoryContextAllocZero(loyalty_config()->context, sizeof(LoyaltySource));
	source->name = name;
	source->program = loyalty_program_by_name(program);
	source->attached = true;
	source->header = PG_GETARG_OID(ARG_HEADER);
	source->lines = PG_ARGISNULL(ARG_LINES) ? InvalidOid : PG_GETARG_OID(ARG_LINES);
	for (int i = 0; i < LOYALTY_NITEMS; i++)
		source->items[i] = text_arg(fcinfo, item_args[i]);
	require(source->items[ITEM_KEY], "key");
	require(source->items[ITEM_CUSTOMER], "customer");
	require(source->items[ITEM_DOC_DATE], "doc_date");
	require(source->items[ITEM_POSTED], "posted");
	source->return_source_name = text_arg(fcinfo, ARG_RETURN_SOURCE);
	one_of(text_arg(fcinfo, ARG_EVALUATE), "evaluate", evaluates);
	one_of(text_arg(fcinfo, ARG_ON_ERROR), "on_error", on_errors);
	one_of(text_arg(fcinfo, ARG_UNLINKED), "unlinked", unlinkeds);
	foreach(lc, loyalty_config()->sources)
		if (strcmp(((LoyaltySource *) lfirst(lc))->name, name) == 0 && ((LoyaltySource *) lfirst(lc))->attached)
			ereport(ERROR,
					(errcode(ERRCODE_LOYALTY_DUPLICATE),
					 errmsg("source \"%s\" exists already", name),
					 errhint("Call loyalty.detach() first to map it anew.")));
	if (source->return_source_name != NULL)
		(void) loyalty_source_by_name(source->return_source_name);

	check_table(source->header);
	if (OidIsValid(source->lines))
	{
		check_table(source->lines);
		require(source->items[ITEM_LINE_PARENT], "line_parent");
		require(source->items[ITEM_LINE_KEY], "line_key");
	}
	else
		for (int i = ITEM_FIRST_LINE; i < LOYALTY_NITEMS; i++)
			if (source->items[i] != NULL)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("%s is mapped, but no table of lines is given", loyalty_item_name(i)),
						 errhint("Give \"lines\", or leave the item out.")));
	if (source->items[ITEM_AMOUNT] == NULL && source->items[ITEM_LINE_AMOUNT] == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("neither amount nor line_amount is mapped"),
				 errhint("One of them must say what was billed.")));
	source->search_path = PG_ARGISNULL(ARG_SEARCH_PATH) ? loyalty_current_search_path() : text_arg(fcinfo, ARG_SEARCH_PATH);

	loyalty_connect();
	check_links(source);
	try_mapping(source);

	strings[0] = name;
	memcpy(strings + 1, source->items, sizeof(char *) * LOYALTY_NITEMS);
	strings[LOYALTY_NITEMS + 1] = source->return_source_name;
	strings[LOYALTY_NITEMS + 2] = text_arg(fcinfo, ARG_EVALUATE);
	strings[LOYALTY_NITEMS + 3] = text_arg(fcinfo, ARG_ON_ERROR);
	strings[LOYALTY_NITEMS + 4] = text_arg(fcinfo, ARG_UNLINKED);
	strings[LOYALTY_NITEMS + 5] = source->search_path;
	values[0] = loyalty_text_array(strings, lengthof(strings));
	values[1] = Int32GetDatum(source->program->id);
	values[2] = ObjectIdGetDatum(source->header);
	values[3] = ObjectIdGetDatum(source->lines);
	if (!OidIsValid(source->lines))
		nulls[3] = 'n';

	grant_to_owner(source->header);
	if (OidIsValid(source->lines))
		grant_to_owner(source->lines);
	loyalty_become(loyalty_owner(), &save);
	if (loyalty_write(&plan_insert, values, nulls) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_DUPLICATE),
				 errmsg("source \"%s\" belongs to another programme", name),
				 errhint("What it booked stays there; attach under another name.")));
	id = DatumGetInt32(loyalty_spi_datum(0, 1, &isnull));
	loyalty_resume(&save);

	create_triggers(name, source->header, "header", strcmp(strings[LOYALTY_NITEMS + 2], "statement") == 0);
	if (OidIsValid(source->lines))
		create_triggers(name, source->lines, "lines", strcmp(strings[LOYALTY_NITEMS + 2], "statement") == 0);
	SPI_finish();
	loyalty_config_unpin();
	PG_RETURN_INT32(id);
}

static void
drop_triggers(const char *source, Oid relid, const char *role)
{
	static const char *const kinds[] = {"", "_truncate", "_settle"};
	char	   *table = qualified_name(relid);
	const char *commands[5] = {NULL};
	int			n = 0;

	commands[n++] = psprintf("LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", table);
	for (int i = 0; i < 3; i++)
		commands[n++] = psprintf("DROP TRIGGER IF EXISTS %s ON %s",
								 quote_identifier(trigger_name(source, psprintf("%s%s", role, kinds[i]))), table);
	run_with_lock(table, commands);
}

/*
 * detach(source text): drop the triggers; bookings and their source stay.
 */
Datum
loyalty_detach(PG_FUNCTION_ARGS)
{
	LoyaltySource *source;
	LoyaltyIdentity save;
	Datum		id;
	int			nest;
	Oid			tables[2];

	loyalty_config_pin();
	source = loyalty_source_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (!source->attached)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_STATE),
				 errmsg("source \"%s\" is not attached", source->name),
				 errhint("loyalty.status() lists the sources.")));
	if (source->of_events)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_STATE),
				 errmsg("source \"%s\" holds the events of programme \"%s\"", source->name, source->program->name),
				 errhint("End the rules on events with loyalty.end_rule().")));
	tables[0] = source->header;
	tables[1] = source->lines;
	loyalty_connect();
	/* DROP TRIGGER IF EXISTS says so when there is none */
	nest = NewGUCNestLevel();
	(void) set_config_option("client_min_messages", "warning", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	for (int i = 0; i < 2; i++)
		if (OidIsValid(tables[i]) && get_rel_name(tables[i]) != NULL)
		{
			check_table(tables[i]);
			drop_triggers(source->name, tables[i], i == 0 ? "header" : "lines");
		}
	AtEOXact_GUC(true, nest);
	id = Int32GetDatum(source->id);
	loyalty_become(loyalty_owner(), &save);
	(void) loyalty_write(&plan_detach, &id, NULL);
	loyalty_resume(&save);
	SPI_finish();
	loyalty_config_unpin();
	PG_RETURN_VOID();
}
