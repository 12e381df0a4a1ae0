/*
 * birthday.c
 *	  Where a programme finds its customers' birthdays.
 *
 * In the ERP's table of customers, and nowhere else: it is mapped as documents
 * are, and read when birthdays are due, or a rule on events asks for one.  So
 * there is no second copy of what is personal, a correction counts, posting
 * pays nothing, and who has bought long ago is found as well.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "config.h"
#include "errors.h"
#include "source/source.h"

PG_FUNCTION_INFO_V1(loyalty_set_birthday);
PG_FUNCTION_INFO_V1(loyalty_birthdays_of);

static LoyaltyPlan plan_set = {
	.sql = "INSERT INTO loyalty.birthday_policy AS b (program_id, customers, customer, birthday, search_path, days_before, catch_up)"
	" VALUES ($1, $2::pg_catalog.regclass, $3, $4, $5, $6, $7)"
	" ON CONFLICT (program_id) DO UPDATE SET customers = excluded.customers, customer = excluded.customer,"
	" birthday = excluded.birthday, search_path = excluded.search_path, days_before = excluded.days_before,"
	" catch_up = excluded.catch_up, done_through = NULL",
	.nparams = 7, .types = {INT4OID, OIDOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, INT4OID}
};

static LoyaltyPlan plan_unset = {
	.sql = "DELETE FROM loyalty.birthday_policy WHERE program_id = $1",
	.nparams = 1, .types = {INT4OID}
};

static LoyaltyPlan plan_get = {
	.sql = "SELECT b.customers::pg_catalog.oid, b.customer, b.birthday, b.search_path"
	" FROM loyalty.birthday_policy b WHERE b.program_id = $1",
	.nparams = 1, .types = {INT4OID}
};

/*
 * The table of customers as a source of which only two expressions are mapped.
 */
static LoyaltySource *
customers_source(LoyaltyProgram *program, Oid customers, char *customer, char *birthday, char *search_path)
{
	LoyaltySource *source = palloc0(sizeof(LoyaltySource));

	source->name = psprintf("birthdays of %s", program->name);
	source->program = program;
	source->header = customers;
	source->items[ITEM_CUSTOMER] = customer;
	source->items[ITEM_BIRTHDAY] = birthday;
	source->search_path = search_path;
	return source;
}

/*
 * The statement that reads customers: those who were born on days ($1, as
 * MMDD), or those whose keys $1 has.  Role and settings are the table owner's.
 */
static char *
customers_sql(LoyaltySource *source, bool by_key)
{
	LoyaltyExpression *customer = loyalty_compile_item(source, ITEM_CUSTOMER, CurrentMemoryContext);
	LoyaltyExpression *birthday = loyalty_compile_item(source, ITEM_BIRTHDAY, CurrentMemoryContext);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT * FROM (SELECT ");
	for (int i = 0; i < customer->nparts; i++)
		appendStringInfo(&sql, "%s AS c%d, ", customer->parts[i], i + 1);
	appendStringInfo(&sql, "%s AS born FROM %s AS r", birthday->parts[0],
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(source->header)),
												get_rel_name(source->header)));
	if (!by_key)
		appendStringInfoString(&sql, ") x WHERE pg_catalog.to_char(x.born::pg_catalog.timestamp, 'MMDD')"
							   " OPERATOR(pg_catalog.=) ANY ($1)");
	else if (customer->nparts == 1)
		appendStringInfo(&sql, " WHERE %s OPERATOR(pg_catalog.=) ANY ($1::%s[])) x", customer->bare[0],
						 format_type_be_qualified(customer->types[0]));
	else
	{
		appendStringInfoString(&sql, " WHERE ROW(");
		for (int i = 0; i < customer->nparts; i++)
			appendStringInfo(&sql, "%s%s", i > 0 ? ", " : "", customer->parts[i]);
		appendStringInfoString(&sql, ")::pg_catalog.text OPERATOR(pg_catalog.=) ANY ($1)) x");
	}
	return sql.data;
}

/*
 * The caller must own the table: he decides who may read it.
 */
static void
check_customers(Oid relid)
{
	switch (get_rel_relkind(relid))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_VIEW:
		case RELKIND_MATVIEW:
		case RELKIND_FOREIGN_TABLE:
			break;
		case '\0':
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("relation with OID %u does not exist", relid)));
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("\"%s\" is not a table or view", get_rel_name(relid))));
	}
	if (!loyalty_owns_relation(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(relid));
}

static int32
days_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n) || PG_GETARG_INT32(n) < 0 || PG_GETARG_INT32(n) > 180)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for %s: %s", name, PG_ARGISNULL(n) ? "NULL" : psprintf("%d", PG_GETARG_INT32(n))),
				 errhint("It can be 0 to 180.")));
	return PG_GETARG_INT32(n);
}

/*
 * set_birthday(program, customers, customer, birthday, days_before, catch_up)
 */
Datum
loyalty_set_birthday(PG_FUNCTION_ARGS)
{
	LoyaltyProgram *program;
	LoyaltySource *source;
	LoyaltyIdentity save;
	Datum		values[7];
	int			nest;
	bool		unset = PG_ARGISNULL(1);

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("program cannot be NULL")));
	if (!unset && (PG_ARGISNULL(2) || PG_ARGISNULL(3)))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s cannot be NULL", PG_ARGISNULL(2) ? "customer" : "birthday"),
				 errhint("Both are SQL expressions over r, a row of customers.")));
	loyalty_config_pin();
	program = loyalty_program_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	values[0] = Int32GetDatum(program->id);
	if (!unset)
	{
		check_customers(PG_GETARG_OID(1));
		source = customers_source(program, PG_GETARG_OID(1), text_to_cstring(PG_GETARG_TEXT_PP(2)),
								  text_to_cstring(PG_GETARG_TEXT_PP(3)), loyalty_current_search_path());
		values[1] = PG_GETARG_DATUM(1);
		values[2] = PG_GETARG_DATUM(2);
		values[3] = PG_GETARG_DATUM(3);
		values[4] = CStringGetTextDatum(source->search_path);
		values[5] = Int32GetDatum(days_argument(fcinfo, 4, "days_before"));
		values[6] = Int32GetDatum(days_argument(fcinfo, 5, "catch_up"));
		loyalty_become_reader(loyalty_source_owner(source), &save);
		nest = loyalty_pin_settings(source->search_path, program->time_zone);
		(void) customers_sql(source, false);
		loyalty_unpin_settings(nest);
		loyalty_resume(&save);
	}
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	(void) loyalty_write(unset ? &plan_unset : &plan_set, values, NULL);
	SPI_finish();
	loyalty_resume(&save);
	loyalty_config_unpin();
	PG_RETURN_VOID();
}

/*
 * Where a programme has its customers; NULL if nobody has said so.
 */
static LoyaltySource *
customers_of(LoyaltyProgram *program)
{
	Datum		value = Int32GetDatum(program->id);
	LoyaltySource *source;
	bool		isnull;

	if (loyalty_run(&plan_get, &value, NULL) == 0)
		return NULL;
	source = customers_source(program, DatumGetObjectId(loyalty_spi_datum(0, 1, &isnull)), loyalty_spi_text(0, 2),
							  loyalty_spi_text(0, 3), loyalty_spi_text(0, 4));
	SPI_freetuptable(SPI_tuptable);
	return source;
}

bool
loyalty_knows_birthdays(LoyaltyProgram *program)
{
	return customers_of(program) != NULL;
}

/*
 * Read customers as their table's owner; returns in how many columns the key
 * comes, before the birthday.
 */
static int
read_customers(LoyaltySource *source, bool by_key, Datum value)
{
	LoyaltyIdentity save;
	int			nest;

	loyalty_become_reader(loyalty_source_owner(source), &save);
	nest = loyalty_pin_settings(source->search_path, source->program->time_zone);
	if (loyalty_execute_with(customers_sql(source, by_key), TEXTARRAYOID, value) != SPI_OK_SELECT)
		elog(ERROR, "could not read birthdays");
	loyalty_unpin_settings(nest);
	loyalty_resume(&save);
	return source->expr[ITEM_CUSTOMER]->nparts;
}

/* the customer of a row that was read; NULL if part of the key is */
static char *
customer_of_row(uint64 row, int nparts)
{
	char	   *parts[LOYALTY_MAX_KEY];

	for (int i = 0; i < nparts; i++)
		parts[i] = loyalty_spi_text(row, i + 1);
	return loyalty_compose_key(parts, nparts);
}

/*
 * The birthdays of customers, where they are known.
 */
void
loyalty_read_birthdays(LoyaltyProgram *program, char **customers, int n, bool *known, DateADT *birthdays)
{
	LoyaltySource *source = customers_of(program);
	int			nparts;

	memset(known, false, sizeof(bool) * n);
	if (source == NULL)
		return;
	nparts = read_customers(source, true, loyalty_text_array(customers, n));
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		char	   *customer = customer_of_row(row, nparts);
		bool		isnull;
		DateADT		born = DatumGetDateADT(loyalty_spi_datum(row, nparts + 1, &isnull));

		for (int i = 0; i < n && customer != NULL && !isnull; i++)
			if (customers[i] != NULL && strcmp(customers[i], customer) == 0)
			{
				known[i] = true;
				birthdays[i] = born;
			}
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * birthdays_of(program_id, days text[]) -> setof (customer, birthday): who was
 * born on one of these days, given as MMDD.
 */
Datum
loyalty_birthdays_of(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	LoyaltyIdentity books;
	LoyaltySource *source;
	int			nparts;
	bool		isnull;

	InitMaterializedSRF(fcinfo, 0);
	loyalty_config_pin();
	loyalty_become(loyalty_owner(), &books);
	loyalty_connect();
	source = customers_of(loyalty_program_by_id(PG_GETARG_INT32(0)));
	if (source == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_UNKNOWN),
				 errmsg("nothing says where birthdays of programme %d are", PG_GETARG_INT32(0)),
				 errhint("Say it with loyalty.set_birthday().")));
	nparts = read_customers(source, false, PG_GETARG_DATUM(1));

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		char	   *customer = customer_of_row(row, nparts);
		Datum		values[2];
		bool		nulls[2] = {false};

		if (customer == NULL)
			continue;
		values[0] = CStringGetTextDatum(customer);
		values[1] = loyalty_spi_datum(row, nparts + 1, &isnull);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	SPI_finish();
	loyalty_resume(&books);
	loyalty_config_unpin();
	return (Datum) 0;
}
