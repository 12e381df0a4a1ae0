/*
 * read.c
 *	  Reading the facts of documents, from the captured row or by the mapping's
 *	  statements, as the owner of the ERP table.
 *
 * Every function here runs with SPI connected, inside the evaluation's
 * subtransaction: whatever the mapping raises parks the document.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

#include "config.h"
#include "errors.h"
#include "fact/fact.h"
#include "member/member.h"
#include "rule/condition.h"

static char *
text_value(Datum value, bool isnull)
{
	return isnull ? NULL : TextDatumGetCString(value);
}

static Numeric
numeric_value(Datum value, bool isnull, const char *what)
{
	return isnull ? NULL : loyalty_num_checked(DatumGetNumericCopy(value), what);
}

/*
 * Copy the columns of an ERP's row that the conditions of rules look at.
 */
static void
keep_columns(LoyaltyRuleBook *book, LoyaltySpace space, Datum *values, bool *nulls,
			 Datum **kept, bool **kept_nulls)
{
	int			n = space == SPACE_INVOICE ? book->ninvoice : book->nline;
	int		   *numbers = space == SPACE_INVOICE ? book->invoice : book->line;

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
		get_typlenbyval(book->spaces->columns[space][numbers[i]].type, &length, &by_value);
		(*kept)[i] = length == -1 ? PointerGetDatum(PG_DETOAST_DATUM_COPY(values[i])) :
			datumCopy(values[i], by_value, length);
	}
}

/*
 * Facts from the columns of LoyaltyFactColumn; NULL if not in scope.
 */
LoyaltyFacts *
loyalty_make_facts(LoyaltySource *source, const char *key, Datum *values, bool *nulls)
{
	LoyaltyProgram *program = source->program;
	LoyaltyFacts *facts;
	LoyaltyExpression *e;
	char	   *parts[LOYALTY_MAX_KEY];
	char	   *currency;
	Numeric		amount;
	Numeric		sign;
	Numeric		rate;
	Numeric		paid;
	int			c = FACT_CUSTOMER;

	if (nulls[FACT_POSTED] || !DatumGetBool(values[FACT_POSTED]))
		return NULL;
	if (nulls[FACT_AT])
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_FACT),
				 errmsg("document \"%s\" of source \"%s\" is posted but has no date", key, source->name),
				 errhint("Give the document a date, or map \"doc_date\" to an expression that always has one.")));

	facts = palloc0(sizeof(LoyaltyFacts));
	facts->at = DatumGetTimestampTz(values[FACT_AT]);
	facts->date = loyalty_program_date(program, facts->at);
	facts->company = text_value(values[FACT_COMPANY], nulls[FACT_COMPANY]);
	if (!loyalty_program_covers(program, facts->date, facts->company))
		return NULL;
	facts->channel = text_value(values[FACT_CHANNEL], nulls[FACT_CHANNEL]);
	facts->enrol = source->items[ITEM_ENROL] == NULL ||
		(!nulls[FACT_ENROL] && DatumGetBool(values[FACT_ENROL]));

	facts->has_birthday = !nulls[FACT_BIRTHDAY];
	facts->birthday = facts->has_birthday ? DatumGetDateADT(values[FACT_BIRTHDAY]) : 0;
	facts->has_usable_from = !nulls[FACT_USABLE_FROM];
	facts->usable_from = facts->has_usable_from ? DatumGetDateADT(values[FACT_USABLE_FROM]) : 0;
	if (!nulls[FACT_ATTRIBUTES])
		facts->attributes = DatumGetJsonbPCopy(values[FACT_ATTRIBUTES]);

	e = source->expr[ITEM_CUSTOMER];
	for (int i = 0; i < e->nparts; i++, c++)
		parts[i] = text_value(values[c], nulls[c]);
	facts->customer = loyalty_compose_key(parts, e->nparts);
	e = source->expr[ITEM_RETURN_OF];
	if (e != NULL)
	{
		for (int i = 0; i < e->nparts; i++, c++)
			parts[i] = text_value(values[c], nulls[c]);
		facts->return_of = loyalty_compose_key(parts, e->nparts);
	}
	keep_columns(loyalty_source_book(source), SPACE_INVOICE, values + c, nulls + c,
				 &facts->invoice, &facts->invoice_nulls);

	/* one factor brings all amounts to the programme's currency and sign */
	sign = numeric_value(values[FACT_SIGN], nulls[FACT_SIGN], "sign");
	rate = numeric_value(values[FACT_RATE], nulls[FACT_RATE], "rate");
	currency = text_value(values[FACT_CURRENCY], nulls[FACT_CURRENCY]);
	if (currency != NULL && program->currency != NULL)
	{
		if (strcmp(currency, program->currency) == 0)
			rate = NULL;
		else if (rate == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_LOYALTY_FACT),
					 errmsg("no rate from %s to %s for document \"%s\" of source \"%s\"",
							currency, program->currency, key, source->name),
					 errhint("Map \"rate\" to an expression that has it on the day of the document.")));
	}
	if (rate != NULL && loyalty_num_sign(rate) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_FACT),
				 errmsg("rate of document \"%s\" of source \"%s\" is not above 0", key, source->name),
				 errhint("Correct the rate, or what \"rate\" is mapped to.")));
	facts->factor = rate == NULL ? sign : sign == NULL ? rate : loyalty_num_mul(sign, rate);

	amount = numeric_value(values[FACT_AMOUNT], nulls[FACT_AMOUNT], "amount");
	paid = numeric_value(values[FACT_PAID], nulls[FACT_PAID], "paid_by_points");
	facts->amount_given = amount != NULL;
	facts->gross = amount == NULL ? loyalty_num_int(0) : amount;
	facts->paid = paid == NULL ? loyalty_num_int(0) : paid;
	if (facts->factor != NULL)
	{
		facts->gross = loyalty_num_mul(facts->gross, facts->factor);
		facts->paid = loyalty_num_mul(facts->paid, facts->factor);
	}
	return facts;
}

/* where the customer of a row would be a member; 0 for a guest */
static int64
member_of(LoyaltySource *source, Datum *values, bool *nulls)
{
	LoyaltyExpression *e = source->expr[ITEM_CUSTOMER];
	char	   *parts[LOYALTY_MAX_KEY];
	char	   *customer;

	for (int i = 0; i < e->nparts; i++)
		parts[i] = text_value(values[FACT_CUSTOMER + i], nulls[FACT_CUSTOMER + i]);
	customer = loyalty_compose_key(parts, e->nparts);
	return customer == NULL ? 0 : loyalty_member_number(source->program, customer, 0);
}

static int
compare_documents(const void *a, const void *b)
{
	return strcmp((*(LoyaltyDocument *const *) a)->key, (*(LoyaltyDocument *const *) b)->key);
}

/* the document of that key in an array sorted by key */
static LoyaltyDocument *
find(LoyaltyDocument **docs, int n, const char *key)
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
		{
			n = middle;
		}
	}
	return NULL;
}

/*
 * Run one of a source's statements for the keys of some documents, as the
 * owner of the ERP table and with settings pinned.
 */
static uint64
run_by_key(LoyaltySource *source, SPIPlanPtr *plan, LoyaltyItem item, char **keys, int n)
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

static char *
key_columns(uint64 row, int *column, int nparts)
{
	char	   *parts[LOYALTY_MAX_KEY];

	for (int i = 0; i < nparts; i++)
		parts[i] = loyalty_spi_text(row, (*column)++);
	return loyalty_compose_key(parts, nparts);
}

/*
 * Read the headers of documents of one source, sorted by key.
 */
static void
query_headers(LoyaltySource *source, LoyaltyDocument **docs, int n)
{
	char	  **keys = palloc(sizeof(char *) * n);
	uint64		rows;
	int			width;
	Datum	   *values;
	bool	   *nulls;
	SPITupleTable *table;

	for (int i = 0; i < n; i++)
	{
		keys[i] = docs[i]->key;
		docs[i]->facts = NULL;
	}
	rows = run_by_key(source, &source->header_plan, ITEM_KEY, keys, n);
	table = SPI_tuptable;
	width = table->tupdesc->natts;
	values = palloc(sizeof(Datum) * width);
	nulls = palloc(sizeof(bool) * width);
	for (uint64 row = 0; row < rows; row++)
	{
		int			column = 1;
		char	   *key = key_columns(row, &column, source->expr[ITEM_KEY]->nparts);
		LoyaltyDocument *doc = find(docs, n, key);

		if (doc == NULL)
			continue;
		for (int c = column; c <= width; c++)
			values[c - column] = SPI_getbinval(table->vals[row], table->tupdesc, c, &nulls[c - column]);
		if (doc->facts != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_CARDINALITY_VIOLATION),
					 errmsg("key \"%s\" of source \"%s\" is not unique", key, source->name),
					 errhint("Map \"key\" to what tells every document from the others.")));
		doc->facts = loyalty_make_facts(source, key, values, nulls);
		/* not posted, as far as we see; who posts it meets us at this lock */
		if (doc->facts == NULL && doc->line_only)
			doc->old_member = member_of(source, values, nulls);
	}
	SPI_freetuptable(table);
}

static bool
infallible(LoyaltySource *source, LoyaltyItem item)
{
	return source->expr[item] == NULL || source->expr[item]->infallible;
}

/* reads captured rows, with the rights of the owner of their table */
typedef struct Reader
{
	LoyaltySource *source;
	Oid			role;
	Datum	   *values;			/* facts of the row at hand */
	bool	   *nulls;
} Reader;

/*
 * Read a row: all facts of it, or only whose it is and one more (FACT_CUSTOMER
 * for none).
 */
static void
read_row(Reader *reader, LoyaltyMap *map, MinimalTuple row, bool all, LoyaltyFactColumn fact)
{
	LoyaltyIdentity save;

	if (reader->source != map->source)
	{
		reader->role = loyalty_source_owner(map->source);
		reader->values = palloc(sizeof(Datum) * map->nfacts);
		reader->nulls = palloc(sizeof(bool) * map->nfacts);
		reader->source = map->source;
	}
	loyalty_become_reader(reader->role, &save);
	loyalty_map_load(map, row);
	if (all)
		loyalty_map_facts(map, 0, map->nfacts, reader->values, reader->nulls);
	else
	{
		if (fact < FACT_CUSTOMER)
			loyalty_map_facts(map, fact, fact + 1, reader->values, reader->nulls);
		loyalty_map_facts(map, FACT_CUSTOMER, FACT_CUSTOMER + map->source->expr[ITEM_CUSTOMER]->nparts,
						  reader->values, reader->nulls);
	}
	loyalty_resume(&save);
}

/*
 * Whose was the document before the transaction changed it?  Somebody may be
 * booking that version right now; his member is the lock we meet at.
 */
static int64
old_member(LoyaltyDocument *doc, LoyaltyMap *map, Reader *reader)
{
	bool		tells;

	/* that version may be the one that could not be read */
	if (!infallible(doc->source, ITEM_CUSTOMER))
		return 0;
	/* a version that did not count is nobody's to book, unless by its lines */
	tells = !OidIsValid(doc->source->lines) && map->facts[FACT_POSTED] != NULL && infallible(doc->source, ITEM_POSTED) &&
		infallible(doc->source, ITEM_VOID) && infallible(doc->source, ITEM_FILTER);
	read_row(reader, map, doc->old, false, tells ? FACT_POSTED : FACT_CUSTOMER);
	if (tells && !DatumGetBool(reader->values[FACT_POSTED]))
		return 0;
	return member_of(doc->source, reader->values, reader->nulls);
}

/*
 * Does the captured row say all that is to be known of the header?
 */
static bool
is_direct(LoyaltyDocument *doc)
{
	LoyaltyMap *map = doc->row != NULL ? loyalty_map_by_id(doc->map_id) : NULL;

	return map != NULL && map->direct && map->source == doc->source;
}

/*
 * Read the headers of documents.  Where the captured row is at hand it is
 * used; with again, only the others are read, after a lock was taken.
 */
void
loyalty_read_headers(LoyaltyDocument **docs, int n, bool again)
{
	LoyaltyDocument **missing = palloc(sizeof(LoyaltyDocument *) * n);
	int			nmissing = 0;
	Reader		reader = {0};

	for (int i = 0; i < n; i++)
	{
		LoyaltyDocument *doc = docs[i];
		LoyaltyMap *map = doc->row != NULL || doc->old != NULL ? loyalty_map_by_id(doc->map_id) : NULL;

		if (map != NULL && map->source == doc->source && doc->old != NULL && !again)
			doc->old_member = old_member(doc, map, &reader);
		if (is_direct(doc))
		{
			if (again)
				continue;
			read_row(&reader, map, doc->row, true, FACT_CUSTOMER);
			doc->facts = loyalty_make_facts(doc->source, doc->key, reader.values, reader.nulls);
		}
		else
			missing[nmissing++] = doc;
	}

	/* one statement per source */
	while (nmissing > 0)
	{
		LoyaltySource *source = missing[0]->source;
		LoyaltyDocument **batch = palloc(sizeof(LoyaltyDocument *) * nmissing);
		int			nbatch = 0;
		int			rest = 0;

		for (int i = 0; i < nmissing; i++)
		{
			if (missing[i]->source == source)
				batch[nbatch++] = missing[i];
			else
				missing[rest++] = missing[i];
		}
		nmissing = rest;
		qsort(batch, nbatch, sizeof(LoyaltyDocument *), compare_documents);
		if (source->of_events)
			loyalty_read_events(source, batch, nbatch);
		else
			query_headers(source, batch, nbatch);
	}
}

/*
 * Whose a document is and of when: a hint at where and in which order it will
 * count, cheaper than its facts where the captured row is at hand.
 */
void
loyalty_peek_headers(LoyaltyDocument **docs, int n)
{
	LoyaltyDocument **others = palloc(sizeof(LoyaltyDocument *) * n);
	int			nothers = 0;
	Reader		reader = {0};

	for (int i = 0; i < n; i++)
	{
		LoyaltyDocument *doc = docs[i];

		if (!is_direct(doc) || doc->old != NULL)
		{
			others[nothers++] = doc;
			continue;
		}
		read_row(&reader, loyalty_map_by_id(doc->map_id), doc->row, false, FACT_AT);
		doc->member_hint = member_of(doc->source, reader.values, reader.nulls);
		if (!reader.nulls[FACT_AT])
			doc->at = DatumGetTimestampTz(reader.values[FACT_AT]);
	}
	loyalty_read_headers(others, nothers, false);
	for (int i = 0; i < nothers; i++)
	{
		LoyaltyFacts *facts = others[i]->facts;

		if (facts == NULL)
			continue;
		if (facts->customer != NULL)
			others[i]->member_hint = loyalty_member_number(others[i]->source->program, facts->customer, 0);
		others[i]->at = facts->at;
	}
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
	rows = run_by_key(source, &source->lines_plan, ITEM_LINE_PARENT, keys, n);
	table = SPI_tuptable;
	book = loyalty_source_book(source);
	extra = palloc(sizeof(Datum) * (book->nline + 1));
	extra_nulls = palloc(sizeof(bool) * (book->nline + 1));
	for (uint64 row = 0; row < rows; row++)
	{
		int			column = 1;
		char	   *key = key_columns(row, &column, source->expr[ITEM_LINE_PARENT]->nparts);
		LoyaltyDocument *doc = key != NULL ? find(docs, n, key) : NULL;
		LoyaltyLine line;
		Datum		values[LINE_KEY];
		bool		nulls[LINE_KEY];

		if (doc == NULL || doc->facts == NULL)
			continue;
		memset(&line, 0, sizeof(line));
		for (int i = 0; i < LINE_KEY; i++)
			values[i] = SPI_getbinval(table->vals[row], table->tupdesc, column++, &nulls[i]);
		line.product = text_value(values[LINE_PRODUCT], nulls[LINE_PRODUCT]);
		if (!nulls[LINE_CATEGORY])
			line.category = DatumGetJsonbPCopy(values[LINE_CATEGORY]);
		line.qty = numeric_value(values[LINE_QTY], nulls[LINE_QTY], "line_qty");
		line.amount = numeric_value(values[LINE_AMOUNT], nulls[LINE_AMOUNT], "line_amount");
		line.cost = numeric_value(values[LINE_COST], nulls[LINE_COST], "line_cost");
		line.list_price = numeric_value(values[LINE_LIST_PRICE], nulls[LINE_LIST_PRICE], "line_list_price");
		line.earns = DatumGetBool(values[LINE_EARNS]);
		line.has_launched_on = !nulls[LINE_LAUNCHED_ON];
		line.launched_on = line.has_launched_on ? DatumGetDateADT(values[LINE_LAUNCHED_ON]) : 0;
		line.stock = numeric_value(values[LINE_STOCK], nulls[LINE_STOCK], "line_stock");
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
		line.key = key_columns(row, &column, source->expr[ITEM_LINE_KEY]->nparts);
		if (source->expr[ITEM_LINE_RETURN_OF] != NULL)
			line.of = key_columns(row, &column, source->expr[ITEM_LINE_RETURN_OF]->nparts);
		for (int i = 0; i < book->nline; i++)
			extra[i] = SPI_getbinval(table->vals[row], table->tupdesc, column++, &extra_nulls[i]);
		keep_columns(book, SPACE_LINE, extra, extra_nulls, &line.extra, &line.extra_nulls);
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
	while (ntodo > 0)
	{
		LoyaltySource *source = todo[0]->source;
		LoyaltyDocument **batch = palloc(sizeof(LoyaltyDocument *) * ntodo);
		int			nbatch = 0;
		int			rest = 0;

		for (int i = 0; i < ntodo; i++)
		{
			if (todo[i]->source == source)
				batch[nbatch++] = todo[i];
			else
				todo[rest++] = todo[i];
		}
		ntodo = rest;
		qsort(batch, nbatch, sizeof(LoyaltyDocument *), compare_documents);
		query_lines(source, batch, nbatch);
	}
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
	rows = run_by_key(source, &source->parent_plan, ITEM_LINE_KEY, line_keys, n);
	table = SPI_tuptable;
	for (uint64 row = 0; row < rows; row++)
	{
		int			column = 1;
		char	   *line = key_columns(row, &column, source->expr[ITEM_LINE_KEY]->nparts);
		char	   *document = key_columns(row, &column, source->expr[ITEM_LINE_PARENT]->nparts);

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
		char	   *key = key_columns(row, &column, nkeys);
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
