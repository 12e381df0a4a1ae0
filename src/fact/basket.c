/*
 * basket.c
 *	  Facts of a document that does not exist yet, from its header row as the
 *	  ERP would write it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "errors.h"
#include "fact/fact.h"

/*
 * What the mapping reads from a row that is given as JSON, an object with the
 * table's columns; those that are missing are NULL.  An error if such a
 * document would not count.  SPI is connected.
 */
LoyaltyFacts *
loyalty_facts_of_row(LoyaltySource *source, Jsonb *row)
{
	StringInfoData sql;
	LoyaltyIdentity save;
	LoyaltyFacts *facts;
	Datum	   *values;
	bool	   *nulls;
	int			nest;
	int			width;
	ListCell   *lc;

	loyalty_pin_planner();
	loyalty_become_reader(loyalty_source_owner(source), &save);
	nest = loyalty_pin_settings(source->search_path, source->program->time_zone);
	loyalty_compile_source(source);
	initStringInfo(&sql);
	foreach(lc, loyalty_fact_columns(source))
		appendStringInfo(&sql, "%s%s", sql.len == 0 ? "SELECT " : ", ", (char *) lfirst(lc));
	appendStringInfo(&sql, " FROM pg_catalog.jsonb_populate_record(NULL::%s, $1) AS r",
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(source->header)),
												get_rel_name(source->header)));
	if (loyalty_execute_with(sql.data, JSONBOID, JsonbPGetDatum(row)) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read a row of source \"%s\"", source->name);
	width = SPI_tuptable->tupdesc->natts;
	values = palloc(sizeof(Datum) * width);
	nulls = palloc(sizeof(bool) * width);
	for (int i = 0; i < width; i++)
		values[i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &nulls[i]);
	facts = loyalty_make_facts(source, "", values, nulls);
	SPI_freetuptable(SPI_tuptable);
	loyalty_unpin_settings(nest);
	loyalty_resume(&save);
	if (facts == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a document with this row would not count for source \"%s\"", source->name),
				 errhint("Give the row as it will be once the document is posted.")));
	return facts;
}
