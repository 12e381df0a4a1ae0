/*
 * standing.c
 *	  What qualifies a member for tiers, read from the books; at which tier a
 *	  sale earns that follows from it.
 *
 * The movements of a member are read once per batch, and kept up to date while
 * the batch is decided.  Those of members that were merged into him are his.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "ledger/ledger.h"
#include "member/standing.h"

/*
 * He himself, and everybody who was merged into him.  Loops are fenced here as
 * elsewhere: a plan that was made on empty tables must not read them whole.
 */
#define ACCOUNTS \
	"WITH RECURSIVE a (id) AS (SELECT $1 UNION SELECT o.other_member_id FROM a CROSS JOIN LATERAL" \
	" (SELECT x.other_member_id FROM loyalty.operation x WHERE x.member_id = a.id AND x.key >= 'merge:' AND x.key < 'merge;'" \
	" AND x.key = 'merge:' || x.other_member_id::pg_catalog.text OFFSET 0) o)"

static LoyaltyPlan plan_documents = {
	.sql = ACCOUNTS " SELECT d.source_id, d.doc_key, d.root_source_id, d.root_key, d.occurred_at, d.doc_date, d.kind,"
	" d.qualifying, d.points - d.written_off, d.growth FROM a CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.document x WHERE x.member_id = a.id AND x.state <> 'withdrawn' OFFSET 0) d"
	" ORDER BY d.occurred_at",
	.nparams = 1, .types = {INT8OID}
};

static LoyaltyPlan plan_growth = {
	.sql = ACCOUNTS " SELECT g.member_id::pg_catalog.text || ':' || g.key, g.occurred_at, g.value FROM a CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.growth x WHERE x.member_id = a.id OFFSET 0) g",
	.nparams = 1, .types = {INT8OID}
};

static LoyaltyPlan plan_overrides = {
	.sql = "SELECT o.tier_id, o.starts_at, o.until, o.ended_at FROM loyalty.tier_override o WHERE o.member_id = $1"
	" ORDER BY o.starts_at, o.key",
	.nparams = 1, .types = {INT8OID}
};

/*
 * Does any way to a tier of the programme count that?
 */
bool
loyalty_program_measures(LoyaltyProgram *program, LoyaltyMetric metric)
{
	ListCell   *lc;

	foreach(lc, program->tiering.measures)
		if (((LoyaltyMeasure *) lfirst(lc))->metric == metric)
			return true;
	return false;
}

static void
start_move(LoyaltyMove *move)
{
	memset(move, 0, sizeof(LoyaltyMove));
	for (int m = 0; m < LOYALTY_NMETRICS; m++)
		move->value[m] = loyalty_num_int(0);
	move->root_key = "";
}

/* a figure below zero that is not a growth value of its own takes something back */
static void
finish_move(LoyaltyMove *move)
{
	int			sign = loyalty_num_sign(move->value[METRIC_AMOUNT]);

	move->takes_back = sign < 0 || (sign == 0 && loyalty_num_sign(move->value[METRIC_POINTS]) < 0);
}

static void
load_documents(LoyaltyRecord *r, LoyaltyMember *member)
{
	Datum		id = Int64GetDatum(member->id);
	uint64		n = loyalty_run(&plan_documents, &id, NULL);
	bool		isnull;

	for (uint64 i = 0; i < n; i++)
	{
		LoyaltyMove move;

		start_move(&move);
		move.source_id = DatumGetInt32(loyalty_spi_datum(i, 1, &isnull));
		move.key = loyalty_spi_text(i, 2);
		move.root_source_id = DatumGetInt32(loyalty_spi_datum(i, 3, &isnull));
		move.root_key = loyalty_spi_text(i, 4);
		move.at = DatumGetTimestampTz(loyalty_spi_datum(i, 5, &isnull));
		move.date = DatumGetDateADT(loyalty_spi_datum(i, 6, &isnull));
		move.is_sale = strcmp(loyalty_spi_text(i, 7), "sale") == 0;
		move.value[METRIC_AMOUNT] = loyalty_spi_numeric(i, 8);
		move.value[METRIC_POINTS] = loyalty_spi_numeric(i, 9);
		move.value[METRIC_GROWTH] = loyalty_spi_numeric(i, 10);
		finish_move(&move);
		loyalty_record_put(r, &move);
	}
	SPI_freetuptable(SPI_tuptable);
}

static void
load_growth(LoyaltyRecord *r, LoyaltyMember *member)
{
	Datum		id = Int64GetDatum(member->id);
	uint64		n = loyalty_run(&plan_growth, &id, NULL);
	bool		isnull;

	for (uint64 i = 0; i < n; i++)
	{
		LoyaltyMove move;

		start_move(&move);
		move.source_id = -1;
		move.key = loyalty_spi_text(i, 1);
		move.at = DatumGetTimestampTz(loyalty_spi_datum(i, 2, &isnull));
		move.date = loyalty_program_date(member->program, move.at);
		move.value[METRIC_GROWTH] = loyalty_spi_numeric(i, 3);
		loyalty_record_put(r, &move);
	}
	SPI_freetuptable(SPI_tuptable);
}

static void
load_overrides(LoyaltyRecord *r, LoyaltyMember *member)
{
	Datum		id = Int64GetDatum(member->id);
	uint64		n = loyalty_run(&plan_overrides, &id, NULL);
	bool		isnull;

	for (uint64 i = 0; i < n; i++)
	{
		LoyaltyOverride o;
		Datum		ended;

		o.rank = loyalty_tier_rank(member->program, DatumGetInt32(loyalty_spi_datum(i, 1, &isnull)));
		o.starts_at = DatumGetTimestampTz(loyalty_spi_datum(i, 2, &isnull));
		o.until = DatumGetDateADT(loyalty_spi_datum(i, 3, &isnull));
		o.ends_at = loyalty_program_instant(member->program, o.until + 1);
		ended = loyalty_spi_datum(i, 4, &isnull);
		if (!isnull)
			o.ends_at = Min(o.ends_at, DatumGetTimestampTz(ended));
		loyalty_record_override(r, &o);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * What a member did that qualifies, as far as the books know; SPI is
 * connected.  One that was merged into another has nothing.
 */
LoyaltyRecord *
loyalty_standing(MemoryContext context, LoyaltyMember *member)
{
	MemoryContext old;

	if (member->record != NULL)
		return member->record;
	loyalty_store_flush();
	old = MemoryContextSwitchTo(context);
	member->record = loyalty_record_new(context, member->program, member->joined_on);
	if (member->id != 0 && member->merged_into == 0)
	{
		load_documents(member->record, member);
		if (loyalty_program_measures(member->program, METRIC_GROWTH))
			load_growth(member->record, member);
		load_overrides(member->record, member);
	}
	MemoryContextSwitchTo(old);
	return member->record;
}

static void
move_of(LoyaltyMove *move, LoyaltyPart *part)
{
	start_move(move);
	move->source_id = part->source_id;
	move->key = part->key;
	move->root_source_id = part->root_source_id;
	move->root_key = part->root_key;
	move->at = part->at;
	move->date = part->date;
	move->is_sale = !part->is_return && !part->is_event;
}

/*
 * A part of a document was decided and booked.
 */
void
loyalty_standing_moved(LoyaltyMember *member, LoyaltyPart *part)
{
	LoyaltyMove move;

	if (member->record == NULL)
		return;					/* it will be read with the others */
	move_of(&move, part);
	if (part->state != STATE_WITHDRAWN)
	{
		move.value[METRIC_AMOUNT] = part->qualifying;
		move.value[METRIC_POINTS] = loyalty_points_numeric(part->points - part->written_off);
		move.value[METRIC_GROWTH] = loyalty_points_numeric(part->growth);
	}
	finish_move(&move);
	loyalty_record_put(member->record, &move);
}

/*
 * The tier a member has just before a sale, NULL below the first; the figure
 * before it is noted with the sale.
 */
LoyaltyTier *
loyalty_standing_before(MemoryContext context, LoyaltyMember *member, LoyaltyProgram *program, LoyaltyPart *part)
{
	LoyaltyRecord *r = loyalty_standing(context, member);
	LoyaltyMove move;
	Numeric		before;

	move_of(&move, part);
	loyalty_record_run_before(r, &move);
	before = loyalty_record_figure(r, &program->tiering.measure, part->date);
	if (part->tier_before == NULL || loyalty_num_cmp(part->tier_before, before) != 0)
	{
		part->tier_before = loyalty_num_trim(before);
		part->dirty = true;
	}
	return loyalty_tier_at_rank(program, loyalty_record_rank_with(r, part->at, NULL));
}

/*
 * The same with the sale, which is to earn so many points, and give growth.
 */
LoyaltyTier *
loyalty_standing_with(LoyaltyRecord *record, LoyaltyPart *part, Points points, Points growth)
{
	LoyaltyMove move;

	move_of(&move, part);
	move.value[METRIC_AMOUNT] = part->gross;
	move.value[METRIC_POINTS] = loyalty_points_numeric(points);
	move.value[METRIC_DOCUMENTS] = loyalty_num_int(1);
	move.value[METRIC_GROWTH] = loyalty_points_numeric(growth);
	return loyalty_tier_at_rank(loyalty_record_program(record), loyalty_record_rank_with(record, part->at, &move));
}
