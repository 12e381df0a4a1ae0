/*
 * read.c
 *	  Reading documents by the mapping's statements, as the owner of the ERP
 *	  table: what headers and lines have in common, lines, and whole sources.
 *
 * Every function here runs with SPI connected, inside the evaluation's
 * subtransaction: whatever the mapping raises parks the document.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

#include "fact/fact.h"
#include "rule/condition.h"

/*
 * Values of columns, copied; NULL for NULL.
 */
char *
loyalty_text_value(Datum value, bool isnull)
{
	return isnull ? NULL : TextDatumGetCString(value);
}

/* finite, or an error that names what it is */
Numeric
loyalty_numeric_value(Datum value, bool isnull, const char *what)
{
	return isnull ? NULL : loyalty_num_checked(DatumGetNumericCopy(value), what);
}

/*
 * Copy the columns of an ERP's row that the conditions of rules look at.
 */
void
loyalty_keep_columns(LoyaltyRuleBook *book, bool of_lines, Datum *values, bool *nulls,
					 Datum **kept, bool **kept_nulls)
{
	LoyaltySpaceColumn *columns = book->spaces->columns[of_lines ? SPACE_LINE : SPACE_INVOICE];
	int			n = of_lines ? book->nline : book->ninvoice;
	int		   *numbers = of_lines ? book->line : book->invoice;

	if (n == 0)
		return;
	*kept = palloc(sizeof(Datum) * n);
	*kept_nulls = palloc(sizeof(bool) * n);
	for (int i = 0; i < n; i++)
	{
		int16		length;
		bool		by_value;

		(*kept_nulls)[i] = nulls[i];
		if (nulls[i])
			continue;
		get_typlenbyval(columns[numbers[i]].type, &length, &by_value);
		(*kept)[i] = length == -1 ? PointerGetDatum(PG_DETOAST_DATUM_COPY(values[i])) :
			datumCopy(values[i], by_value, length);
	}
}

static int
compare_documents(const void *a, const void *b)
{
	return strcmp((*(LoyaltyDocument *const *) a)->key, (*(LoyaltyDocument *const *) b)->key);
}

/*
 * The document of that key in an array sorted by key; NULL if it is not there.
 */
LoyaltyDocument *
loyalty_find_document(LoyaltyDocument **docs, int n, const char *key)
{
	int			low = 0;

	while (low < n)
	{
		int			middle = low + (n - low) / 2;
		int			c = strcmp(docs[middle]->key, key);

		if (c == 0)
			return docs[middle];
		if (c < 0)
			low = middle + 1;
		else
			n = middle;
	}
	return NULL;
}

/*
 * Read something of documents by statements, one for each source; its
 * documents come sorted by key.
 */
void
loyalty_read_by_source(LoyaltyDocument **docs, int n, void (*read) (LoyaltySource *, LoyaltyDocument **, int))
{
	LoyaltyDocument **left = palloc(sizeof(LoyaltyDocument *) * Max(n, 1));

	memcpy(left, docs, sizeof(LoyaltyDocument *) * n);
	while (n > 0)
	{
		LoyaltySource *source = left[0]->source;
		LoyaltyDocument **batch = palloc(sizeof(LoyaltyDocument *) * n);
		int			nbatch = 0;
		int			rest = 0;

		for (int i = 0; i < n; i++)
		{
			if (left[i]->source == source)
				batch[nbatch++] = left[i];
			else
				left[rest++] = left[i];
		}
		n = rest;
		qsort(batch, nbatch, sizeof(LoyaltyDocument *), compare_documents);
		read(source, batch, nbatch);
	}
}

/*
 * Run one of a source's statements for the keys of some documents, as the
 * owner of the ERP table and with settings pinned.  Returns how many rows
 * there are in SPI_tuptable.
 */
uint64
loyalty_read_by_key(LoyaltySource *source, SPIPlanPtr *plan, LoyaltyItem item, char **keys, int n)
{
	Datum		arrays[LOYALTY_MAX_KEY];
	LoyaltyIdentity save;
	int			nest;
	int			nparts;
	int			rc;

	loyalty_pin_planner();
	loyalty_become_reader(loyalty_source_owner(source), &save);
	nest = loyalty_pin_settings(source->search_path, source->program->time_zone);
	loyalty_compile_source(source);
	if (*plan == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("source \"%s\" cannot look up documents by their lines", source->name),
				 errhint("Map line_parent and line_key without using r, or map return_of.")));

	nparts = source->expr[item]->nparts;
	if (nparts == 1)
		arrays[0] = loyalty_text_array(keys, n);
	else
	{
		char	  **columns = palloc(sizeof(char *) * nparts * Max(n, 1));

		for (int i = 0; i < n; i++)
		{
			char	   *parts[LOYALTY_MAX_KEY];

			loyalty_decompose_key(keys[i], parts, nparts);
			for (int p = 0; p < nparts; p++)
				columns[p * n + i] = parts[p];
		}
		for (int p = 0; p < nparts; p++)
			arrays[p] = loyalty_text_array(columns + p * n, n);
	}
	/* a fresh snapshot, whatever the lock waits were for */
	rc = loyalty_execute_plan(*plan, arrays, NULL);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "could not read source \"%s\": %s", source->name, SPI_result_code_string(rc));
	loyalty_unpin_settings(nest);
	loyalty_resume(&save);
	return SPI_processed;
}

/*
 * The key in columns of a row that was read, from *column on, which moves behind.
 */
char *
loyalty_read_key(uint64 row, int *column, int nparts)
{
	char	   *parts[LOYALTY_MAX_KEY];

	for (int i = 0; i < nparts; i++)
		parts[i] = loyalty_spi_text(row, (*column)++);
	return loyalty_compose_key(parts, nparts);
}

static void
add_line(LoyaltyDocument *doc, LoyaltyLine *line)
{
	LoyaltyFacts *facts = doc->facts;

	if (facts->nlines == 0)
		facts->lines = palloc(sizeof(LoyaltyLine) * 8);
	else if (facts->nlines >= 8 && (facts->nlines & (facts->nlines - 1)) == 0)
		facts->lines = repalloc(facts->lines, sizeof(LoyaltyLine) * facts->nlines * 2);
	facts->lines[facts->nlines++] = *line;
}

/*
 * Read the lines of documents of one source, sorted by key.
 */
static void
query_lines(LoyaltySource *source, LoyaltyDocument **docs, int n)
{
	char	  **keys = palloc(sizeof(char *) * n);
	uint64		rows;
	SPITupleTable *table;
	LoyaltyRuleBook *book;
	Datum	   *extra;
	bool	   *extra_nulls;

	for (int i = 0; i < n; i++)
		keys[i] = docs[i]->key;
	rows = loyalty_read_by_key(source, &source->lines_plan, ITEM_LINE_PARENT, keys, n);
	table = SPI_tuptable;
	book = loyalty_source_book(source);
	extra = palloc(sizeof(Datum) * (book->nline + 1));
	extra_nulls = palloc(sizeof(bool) * (book->nline + 1));
	for (uint64 row = 0; row < rows; row++)
	{
		int			column = 1;
		char	   *key = loyalty_read_key(row, &column, source->expr[ITEM_LINE_PARENT]->nparts);
		LoyaltyDocument *doc = key != NULL ? loyalty_find_document(docs, n, key) : NULL;
		LoyaltyLine line;
		Datum		values[LINE_KEY];
		bool		nulls[LINE_KEY];

		if (doc == NULL || doc->facts == NULL)
			continue;
		memset(&line, 0, sizeof(line));
		for (int i = 0; i < LINE_KEY; i++)
			values[i] = SPI_getbinval(table->vals[row], table->tupdesc, column++, &nulls[i]);
		line.product = loyalty_text_value(values[LINE_PRODUCT], nulls[LINE_PRODUCT]);
		if (!nulls[LINE_CATEGORY])
			line.category = DatumGetJsonbPCopy(values[LINE_CATEGORY]);
		line.qty = loyalty_numeric_value(values[LINE_QTY], nulls[LINE_QTY], "line_qty");
		line.amount = loyalty_numeric_value(values[LINE_AMOUNT], nulls[LINE_AMOUNT], "line_amount");
		line.cost = loyalty_numeric_value(values[LINE_COST], nulls[LINE_COST], "line_cost");
		line.list_price = loyalty_numeric_value(values[LINE_LIST_PRICE], nulls[LINE_LIST_PRICE], "line_list_price");
		line.earns = DatumGetBool(values[LINE_EARNS]);
		line.has_launched_on = !nulls[LINE_LAUNCHED_ON];
		line.launched_on = line.has_launched_on ? DatumGetDateADT(values[LINE_LAUNCHED_ON]) : 0;
		line.stock = loyalty_numeric_value(values[LINE_STOCK], nulls[LINE_STOCK], "line_stock");
		if (!nulls[LINE_ATTRIBUTES])
			line.attributes = DatumGetJsonbPCopy(values[LINE_ATTRIBUTES]);
		if (doc->facts->factor != NULL)
		{
			if (line.amount != NULL)
				line.amount = loyalty_num_mul(line.amount, doc->facts->factor);
			if (line.cost != NULL)
				line.cost = loyalty_num_mul(line.cost, doc->facts->factor);
			/* a price is in the document's currency, but has no part in its sign */
			if (line.list_price != NULL)
				line.list_price = loyalty_num_mul(line.list_price, loyalty_num_abs(doc->facts->factor));
		}
		line.key = loyalty_read_key(row, &column, source->expr[ITEM_LINE_KEY]->nparts);
		if (source->expr[ITEM_LINE_RETURN_OF] != NULL)
			line.of = loyalty_read_key(row, &column, source->expr[ITEM_LINE_RETURN_OF]->nparts);
		for (int i = 0; i < book->nline; i++)
			extra[i] = SPI_getbinval(table->vals[row], table->tupdesc, column++, &extra_nulls[i]);
		loyalty_keep_columns(book, true, extra, extra_nulls, &line.extra, &line.extra_nulls);
		add_line(doc, &line);
	}
	SPI_freetuptable(table);
}

/*
 * Read the lines of documents in scope and complete their facts.
 */
void
loyalty_read_lines(LoyaltyDocument **docs, int n)
{
	LoyaltyDocument **todo = palloc(sizeof(LoyaltyDocument *) * Max(n, 1));
	int			ntodo = 0;

	for (int i = 0; i < n; i++)
	{
		if (docs[i]->facts == NULL)
			continue;
		docs[i]->facts->nlines = 0;
		if (OidIsValid(docs[i]->source->lines))
			todo[ntodo++] = docs[i];
	}
	loyalty_read_by_source(todo, ntodo, query_lines);
	for (int i = 0; i < n; i++)
		if (docs[i]->facts != NULL)
			loyalty_finish_facts(docs[i]);
}

/*
 * With the lines read: without an amount of the header, the lines' sum is it.
 */
void
loyalty_finish_facts(LoyaltyDocument *doc)
{
	LoyaltyFacts *facts = doc->facts;

	loyalty_sort_lines(facts->lines, facts->nlines);
	if (!facts->amount_given)
	{
		facts->gross = loyalty_num_int(0);
		for (int i = 0; i < facts->nlines; i++)
			if (facts->lines[i].amount != NULL)
				facts->gross = loyalty_num_add(facts->gross, facts->lines[i].amount);
	}
	facts->gross = loyalty_num_trim(facts->gross);
	facts->paid = loyalty_num_trim(facts->paid);
}

/*
 * Keys of the documents that lines belong to, NULL where a line is not found.
 */
char **
loyalty_documents_of_lines(LoyaltySource *source, char **line_keys, int n)
{
	char	  **result = palloc0(sizeof(char *) * Max(n, 1));
	uint64		rows;
	SPITupleTable *table;

	if (n == 0)
		return result;
	rows = loyalty_read_by_key(source, &source->parent_plan, ITEM_LINE_KEY, line_keys, n);
	table = SPI_tuptable;
	for (uint64 row = 0; row < rows; row++)
	{
		int			column = 1;
		char	   *line = loyalty_read_key(row, &column, source->expr[ITEM_LINE_KEY]->nparts);
		char	   *document = loyalty_read_key(row, &column, source->expr[ITEM_LINE_PARENT]->nparts);

		for (int i = 0; i < n; i++)
			if (strcmp(line_keys[i], line) == 0)
				result[i] = document;
	}
	SPI_freetuptable(table);
	return result;
}

static void
scan(void *sql)
{
	if (loyalty_execute(sql) != SPI_OK_SELECT)
		elog(ERROR, "could not scan a source");
}

/*
 * Every document of a source that is in scope (of LoyaltyFound *), or with
 * newest > 0 only so many of the latest; none from before an instant, as far
 * as that can be told.
 */
List *
loyalty_scan_documents(LoyaltySource *source, int newest, TimestampTz since)
{
	List	   *found = NIL;
	LoyaltyIdentity save;
	StringInfoData sql;
	int			nest;
	int			nkeys;
	SPITupleTable *table;

	loyalty_become_reader(loyalty_source_owner(source), &save);
	nest = loyalty_pin_settings(source->search_path, source->program->time_zone);
	loyalty_compile_source(source);
	nkeys = source->expr[ITEM_KEY]->nparts;
	initStringInfo(&sql);
	appendStringInfoString(&sql, source->scan_sql);
	if (!TIMESTAMP_NOT_FINITE(since))
		appendStringInfo(&sql, " AND (%s) OPERATOR(pg_catalog.>=) pg_catalog.to_timestamp(" INT64_FORMAT ")",
						 source->expr[ITEM_DOC_DATE]->parts[0],
						 (int64) timestamptz_to_time_t(since));
	if (newest > 0)
		appendStringInfo(&sql, " ORDER BY %d DESC NULLS LAST LIMIT %d", nkeys + 1, newest);

	/*
	 * If some old row makes an expression fail, the keys alone are read
	 * instead: one document must not keep all others from being looked at,
	 * and evaluation will say which it is.
	 */
	if (loyalty_attempt(scan, sql.data, NULL, false) != NULL)
		scan(source->keys_sql);
	loyalty_unpin_settings(nest);
	loyalty_resume(&save);

	table = SPI_tuptable;
	for (uint64 row = 0; row < table->numvals; row++)
	{
		int			column = 1;
		char	   *key = loyalty_read_key(row, &column, nkeys);
		LoyaltyFound *f;
		bool		isnull;
		Datum		value;

		if (key == NULL)
			continue;
		f = palloc(sizeof(LoyaltyFound));
		f->key = key;
		value = SPI_getbinval(table->vals[row], table->tupdesc, column, &isnull);
		f->at = isnull ? DT_NOBEGIN : DatumGetTimestampTz(value);
		f->is_return = DatumGetBool(SPI_getbinval(table->vals[row], table->tupdesc, column + 1, &isnull));
		found = lappend(found, f);
	}
	SPI_freetuptable(table);
	return found;
}
