/*
 * header.c
 *	  Headers of documents: their facts, from the captured row where that
 *	  suffices, else by one statement for many.
 *
 * Every function here runs with SPI connected, inside the evaluation's
 * subtransaction: whatever the mapping raises parks the document.
 */
#include "postgres.h"

#include "errors.h"
#include "fact/fact.h"
#include "member/member.h"

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
	facts->company = loyalty_text_value(values[FACT_COMPANY], nulls[FACT_COMPANY]);
	if (!loyalty_program_covers(program, facts->date, facts->company))
		return NULL;
	facts->channel = loyalty_text_value(values[FACT_CHANNEL], nulls[FACT_CHANNEL]);
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
		parts[i] = loyalty_text_value(values[c], nulls[c]);
	facts->customer = loyalty_compose_key(parts, e->nparts);
	e = source->expr[ITEM_RETURN_OF];
	if (e != NULL)
	{
		for (int i = 0; i < e->nparts; i++, c++)
			parts[i] = loyalty_text_value(values[c], nulls[c]);
		facts->return_of = loyalty_compose_key(parts, e->nparts);
	}
	loyalty_keep_columns(loyalty_source_book(source), false, values + c, nulls + c,
						 &facts->invoice, &facts->invoice_nulls);

	/* one factor brings all amounts to the programme's currency and sign */
	sign = loyalty_numeric_value(values[FACT_SIGN], nulls[FACT_SIGN], "sign");
	rate = loyalty_numeric_value(values[FACT_RATE], nulls[FACT_RATE], "rate");
	currency = loyalty_text_value(values[FACT_CURRENCY], nulls[FACT_CURRENCY]);
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

	amount = loyalty_numeric_value(values[FACT_AMOUNT], nulls[FACT_AMOUNT], "amount");
	paid = loyalty_numeric_value(values[FACT_PAID], nulls[FACT_PAID], "paid_by_points");
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
		parts[i] = loyalty_text_value(values[FACT_CUSTOMER + i], nulls[FACT_CUSTOMER + i]);
	customer = loyalty_compose_key(parts, e->nparts);
	return customer == NULL ? 0 : loyalty_member_number(source->program, customer, 0);
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

	if (source->of_events)
	{
		loyalty_read_events(source, docs, n);
		return;
	}
	for (int i = 0; i < n; i++)
	{
		keys[i] = docs[i]->key;
		docs[i]->facts = NULL;
	}
	rows = loyalty_read_by_key(source, &source->header_plan, ITEM_KEY, keys, n);
	table = SPI_tuptable;
	width = table->tupdesc->natts;
	values = palloc(sizeof(Datum) * width);
	nulls = palloc(sizeof(bool) * width);
	for (uint64 row = 0; row < rows; row++)
	{
		int			column = 1;
		char	   *key = loyalty_read_key(row, &column, source->expr[ITEM_KEY]->nparts);
		LoyaltyDocument *doc = loyalty_find_document(docs, n, key);

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

	loyalty_read_by_source(missing, nmissing, query_headers);
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
