/*
 * document.c
 *	  Rows of loyalty.document: what was read and what is booked.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"

#include "ledger/ledger.h"

#define PART_COLUMNS \
	"d.source_id, d.doc_key, d.member_id, d.root_source_id, d.root_key, d.state, d.kind," \
	" d.occurred_at, d.doc_date, d.company, d.channel, d.gross, d.paid, d.lines," \
	" d.tier_before, d.tier_id, d.rate, d.rules, d.matches, d.seen, d.priced_at, d.qualifying, d.overcredited," \
	" d.points, d.written_off, d.raw, d.last_seq, d.booked_at, d.usable_from, d.growth, d.is_opening"

/* columns of loyalty.document, in order */
enum
{
	COL_SOURCE, COL_KEY, COL_MEMBER, COL_ROOT_SOURCE, COL_ROOT_KEY, COL_STATE, COL_KIND,
	COL_AT, COL_DATE, COL_COMPANY, COL_CHANNEL, COL_GROSS, COL_PAID, COL_LINES,
	COL_TIER_BEFORE, COL_TIER, COL_RATE, COL_RULES, COL_MATCHES, COL_SEEN, COL_PRICED_AT, COL_QUALIFYING, COL_OVERCREDITED,
	COL_POINTS, COL_WRITTEN_OFF, COL_RAW, COL_LAST_SEQ, COL_BOOKED_AT, COL_USABLE_FROM, COL_GROWTH,
	COL_OPENING, NCOLS
};

static const char *const state_names[] = {"booked", "withdrawn", "opening"};

/*
 * Written as a loop over the keys, and fenced, because a plan made on an empty
 * table might take "= ANY (keys)" for a filter and keep doing so.
 */
static LoyaltyPlan plan_parts = {
	.sql = "SELECT " PART_COLUMNS " FROM pg_catalog.unnest($2) AS k (key) CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.document x WHERE x.source_id = $1 AND x.doc_key = k.key OFFSET 0) d",
	.nparams = 2, .types = {INT4OID, TEXTARRAYOID}
};

static LoyaltyPlan plan_returns = {
	.sql = "SELECT " PART_COLUMNS " FROM pg_catalog.unnest($2) AS k (key) CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.document x WHERE x.root_source_id = $1 AND x.root_source_id <> 0"
	" AND x.root_key = k.key OFFSET 0) d",
	.nparams = 2, .types = {INT4OID, TEXTARRAYOID}
};

static LoyaltyPlan plan_update = {
	.sql = "UPDATE loyalty.document SET state = $6, kind = $7, occurred_at = $8, doc_date = $9,"
	" company = $10, channel = $11, gross = $12, paid = $13, lines = $14, tier_before = $15,"
	" tier_id = $16, rate = $17, rules = $18, matches = $19, seen = $20, priced_at = $21, qualifying = $22,"
	" overcredited = $23, points = $24, written_off = $25, raw = $26, last_seq = $27, booked_at = $28, usable_from = $29, growth = $30, is_opening = $31"
	" WHERE source_id = $1 AND doc_key = $2 AND member_id = $3 AND root_source_id = $4 AND root_key = $5",
	.nparams = NCOLS, .types = {INT4OID, TEXTOID, INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID,
		TIMESTAMPTZOID, DATEOID, TEXTOID, TEXTOID, NUMERICOID, NUMERICOID, JSONBOID,
		NUMERICOID, INT4OID, NUMERICOID, INT4ARRAYOID, JSONBOID, INT8ARRAYOID, TIMESTAMPTZOID, NUMERICOID, NUMERICOID,
	NUMERICOID, NUMERICOID, NUMERICARRAYOID, INT8OID, TIMESTAMPTZOID, DATEOID, NUMERICOID, BOOLOID}
};

static LoyaltyPart *
fill(uint64 row)
{
	LoyaltyPart *p = palloc0(sizeof(LoyaltyPart));
	char	   *word;
	Datum		value;
	bool		isnull;

#define COLUMN(c) loyalty_spi_datum(row, (c) + 1, &isnull)
	p->stored = true;
	p->source_id = DatumGetInt32(COLUMN(COL_SOURCE));
	p->key = loyalty_spi_text(row, COL_KEY + 1);
	p->member_id = DatumGetInt64(COLUMN(COL_MEMBER));
	p->root_source_id = DatumGetInt32(COLUMN(COL_ROOT_SOURCE));
	p->root_key = loyalty_spi_text(row, COL_ROOT_KEY + 1);
	word = loyalty_spi_text(row, COL_STATE + 1);
	for (int i = 0; i < (int) lengthof(state_names); i++)
		if (strcmp(word, state_names[i]) == 0)
			p->state = i;
	word = loyalty_spi_text(row, COL_KIND + 1);
	p->is_return = strcmp(word, "return") == 0;
	p->is_event = strcmp(word, "event") == 0;
	p->at = DatumGetTimestampTz(COLUMN(COL_AT));
	p->date = DatumGetDateADT(COLUMN(COL_DATE));
	p->company = loyalty_spi_text(row, COL_COMPANY + 1);
	p->channel = loyalty_spi_text(row, COL_CHANNEL + 1);
	p->gross = loyalty_spi_numeric(row, COL_GROSS + 1);
	p->paid = loyalty_spi_numeric(row, COL_PAID + 1);
	value = COLUMN(COL_LINES);
	p->lines = isnull ? NULL : DatumGetJsonbPCopy(value);
	p->tier_before = loyalty_spi_numeric(row, COL_TIER_BEFORE + 1);
	value = COLUMN(COL_TIER);
	p->tier_id = isnull ? 0 : DatumGetInt32(value);
	p->rate = loyalty_spi_numeric(row, COL_RATE + 1);
	value = COLUMN(COL_RULES);
	if (!isnull)
	{
		Datum	   *ids;

		deconstruct_array(DatumGetArrayTypeP(value), INT4OID, 4, true, TYPALIGN_INT, &ids, NULL, &p->nrules);
		p->rules = palloc(sizeof(int32) * Max(p->nrules, 1));
		for (int i = 0; i < p->nrules; i++)
			p->rules[i] = DatumGetInt32(ids[i]);
	}
	value = COLUMN(COL_MATCHES);
	p->matches = isnull ? NULL : DatumGetJsonbPCopy(value);
	value = COLUMN(COL_SEEN);
	if (!isnull)
		p->nseen = loyalty_int8_values(value, &p->seen);
	value = COLUMN(COL_PRICED_AT);
	p->priced_at = isnull ? 0 : DatumGetTimestampTz(value);
	p->qualifying = loyalty_spi_numeric(row, COL_QUALIFYING + 1);
	p->overcredited = loyalty_spi_numeric(row, COL_OVERCREDITED + 1);
	p->points = loyalty_points_from_datum(COLUMN(COL_POINTS));
	p->written_off = loyalty_points_from_datum(COLUMN(COL_WRITTEN_OFF));
	value = COLUMN(COL_RAW);
	p->has_raw = !isnull;
	p->raw = isnull ? loyalty_rational_int(0) : loyalty_rational_from_datum(value);
	value = COLUMN(COL_LAST_SEQ);
	p->last_seq = isnull ? 0 : DatumGetInt64(value);
	value = COLUMN(COL_USABLE_FROM);
	p->usable_from = isnull ? DATEVAL_NOBEGIN : DatumGetDateADT(value);
	p->growth = loyalty_points_from_datum(COLUMN(COL_GROWTH));
	value = COLUMN(COL_OPENING);
	p->is_opening = !isnull && DatumGetBool(value);
#undef COLUMN
	return p;
}

static List *
load(LoyaltyPlan *plan, int32 source_id, char **keys, int n)
{
	Datum		values[2];
	uint64		rows;
	List	   *parts = NIL;

	values[0] = Int32GetDatum(source_id);
	values[1] = loyalty_text_array(keys, n);
	rows = loyalty_run(plan, values, NULL);
	for (uint64 i = 0; i < rows; i++)
		parts = lappend(parts, fill(i));
	SPI_freetuptable(SPI_tuptable);
	return parts;
}

/*
 * Every part of the documents with these keys.
 */
List *
loyalty_load_parts(int32 source_id, char **keys, int n)
{
	return load(&plan_parts, source_id, keys, n);
}

/*
 * Every part of any document that returns goods of these.
 */
List *
loyalty_load_returns(int32 root_source_id, char **root_keys, int n)
{
	return load(&plan_returns, root_source_id, root_keys, n);
}

/*
 * The part that says what a document is: not withdrawn if there is one.  A
 * part that only waits (member 0) comes last.
 */
LoyaltyPart *
loyalty_live_part(List *parts)
{
	LoyaltyPart *best = NULL;
	ListCell   *lc;

	foreach(lc, parts)
	{
		LoyaltyPart *p = lfirst(lc);

		if (p->state == STATE_WITHDRAWN)
			continue;
		if (best == NULL || best->member_id == 0 || (best->root_source_id != 0 && p->root_source_id == 0))
			best = p;
	}
	return best;
}

LoyaltyPart *
loyalty_new_part(int32 source_id, const char *key, int64 member_id,
				 int32 root_source_id, const char *root_key)
{
	LoyaltyPart *p = palloc0(sizeof(LoyaltyPart));

	p->source_id = source_id;
	p->key = pstrdup(key);
	p->member_id = member_id;
	p->root_source_id = root_source_id;
	p->root_key = pstrdup(root_key);
	p->state = STATE_BOOKED;
	p->gross = p->paid = p->qualifying = p->overcredited = loyalty_num_int(0);
	p->raw = loyalty_rational_int(0);
	p->usable_from = DATEVAL_NOBEGIN;
	p->stale = true;
	return p;
}

/*
 * Write a part that changed: a new row through the store, an old one at once.
 */
void
loyalty_save_part(LoyaltyPart *p, TimestampTz now)
{
	Datum		values[NCOLS];
	bool		absent[NCOLS] = {false};
	char		nulls[NCOLS];

#define TEXT_OR_NULL(c, s) \
	(absent[c] = (s) == NULL, values[c] = (s) == NULL ? (Datum) 0 : CStringGetTextDatum(s))
#define NUMERIC_OR_NULL(c, n) \
	(absent[c] = (n) == NULL, values[c] = (n) == NULL ? (Datum) 0 : NumericGetDatum(n))

	values[COL_SOURCE] = Int32GetDatum(p->source_id);
	values[COL_KEY] = CStringGetTextDatum(p->key);
	values[COL_MEMBER] = Int64GetDatum(p->member_id);
	values[COL_ROOT_SOURCE] = Int32GetDatum(p->root_source_id);
	values[COL_ROOT_KEY] = CStringGetTextDatum(p->root_key);
	values[COL_STATE] = CStringGetTextDatum(state_names[p->state]);
	values[COL_KIND] = CStringGetTextDatum(p->is_event ? "event" : p->is_return ? "return" : "sale");
	values[COL_AT] = TimestampTzGetDatum(p->at);
	values[COL_DATE] = DateADTGetDatum(p->date);
	TEXT_OR_NULL(COL_COMPANY, p->company);
	TEXT_OR_NULL(COL_CHANNEL, p->channel);
	values[COL_GROSS] = NumericGetDatum(p->gross);
	values[COL_PAID] = NumericGetDatum(p->paid);
	absent[COL_LINES] = p->lines == NULL;
	values[COL_LINES] = p->lines == NULL ? (Datum) 0 : JsonbPGetDatum(p->lines);
	NUMERIC_OR_NULL(COL_TIER_BEFORE, p->tier_before);
	absent[COL_TIER] = p->tier_id == 0;
	values[COL_TIER] = Int32GetDatum(p->tier_id);
	NUMERIC_OR_NULL(COL_RATE, p->rate);
	absent[COL_RULES] = p->rate == NULL;
	values[COL_RULES] = (Datum) 0;
	if (p->rate != NULL)
	{
		Datum	   *ids = palloc(sizeof(Datum) * Max(p->nrules, 1));

		for (int i = 0; i < p->nrules; i++)
			ids[i] = Int32GetDatum(p->rules[i]);
		values[COL_RULES] = PointerGetDatum(construct_array(ids, p->nrules, INT4OID, 4, true, TYPALIGN_INT));
	}
	absent[COL_MATCHES] = p->matches == NULL;
	values[COL_MATCHES] = p->matches == NULL ? (Datum) 0 : JsonbPGetDatum(p->matches);
	absent[COL_SEEN] = p->nseen == 0;
	values[COL_SEEN] = p->nseen == 0 ? (Datum) 0 : loyalty_int8_array(p->seen, p->nseen);
	absent[COL_PRICED_AT] = p->priced_at == 0;
	values[COL_PRICED_AT] = TimestampTzGetDatum(p->priced_at);
	values[COL_QUALIFYING] = NumericGetDatum(p->qualifying);
	values[COL_OVERCREDITED] = NumericGetDatum(p->overcredited);
	values[COL_POINTS] = PointsGetDatum(p->points);
	values[COL_WRITTEN_OFF] = PointsGetDatum(p->written_off);
	absent[COL_RAW] = !p->has_raw;
	values[COL_RAW] = p->has_raw ? loyalty_rational_datum(p->raw) : (Datum) 0;
	absent[COL_LAST_SEQ] = p->last_seq == 0;
	values[COL_LAST_SEQ] = Int64GetDatum(p->last_seq);
	values[COL_BOOKED_AT] = TimestampTzGetDatum(now);
	absent[COL_USABLE_FROM] = DATE_IS_NOBEGIN(p->usable_from);
	values[COL_USABLE_FROM] = DateADTGetDatum(p->usable_from);
	values[COL_GROWTH] = PointsGetDatum(p->growth);
	absent[COL_OPENING] = !p->is_opening;
	values[COL_OPENING] = BoolGetDatum(p->is_opening);

	if (!p->stored)
		loyalty_store_row(TABLE_DOCUMENT, values, absent);
	else
	{
		for (int i = 0; i < NCOLS; i++)
			nulls[i] = absent[i] ? 'n' : ' ';
		loyalty_store_flush();	/* the row may be among those collected */
		if (loyalty_write(&plan_update, values, nulls) != 1)
			elog(ERROR, "document \"%s\" of source %d vanished", p->key, p->source_id);
	}
	p->stored = true;
	p->dirty = false;
}
