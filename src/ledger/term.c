/*
 * term.c
 *	  How long the points of a document last, and from when they can be spent.
 *
 * Points expire as the programme, the tier at which the document earned, or
 * the rule that gave them says.  Where rules of a document differ in that, its
 * points are split: what a rule gives is what would be missing without it.
 *
 * Points of a sale may have to wait, for some days or for what the source maps
 * (its payment).  When that becomes known, or changes, the document's lots are
 * told; no points move.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "ledger/ledger.h"

static LoyaltyPlan plan_reschedule = {
	.sql = "UPDATE loyalty.stored_lot l SET usable_from = $3 FROM pg_catalog.unnest($2) AS k (seq)"
	" JOIN loyalty.entry e ON e.member_id = $1 AND e.seq = k.seq AND e.expires_on IS NOT NULL"
	" WHERE l.member_id = $1 AND l.seq = k.seq AND l.points > 0 AND l.expires_on = COALESCE("
	"(SELECT c.expires_on FROM loyalty.lot_change c WHERE c.member_id = $1 AND c.lot_seq = k.seq ORDER BY c.n DESC LIMIT 1),"
	" e.expires_on)",
	.nparams = 3, .types = {INT8OID, INT8ARRAYOID, DATEOID}
};

/* what is valid on a day, and the day on which it was earned */
static LoyaltyPlan plan_valid = {
	.sql = "SELECT l.seq, l.expires_on, (e.occurred_at AT TIME ZONE $3)::pg_catalog.date FROM loyalty.stored_lot l"
	" JOIN loyalty.entry e ON e.member_id = l.member_id AND e.seq = l.seq"
	" WHERE l.member_id = $1 AND l.is_open AND l.points > 0 AND l.expires_on >= $2 AND l.expires_on < 'infinity'"
	" ORDER BY l.seq",
	.nparams = 3, .types = {INT8OID, DATEOID, TEXTOID}
};

/* the next rule (by its number) that has its own word on expiry */
static LoyaltyRule *
next_rule(List *matches)
{
	LoyaltyRule *next = NULL;
	ListCell   *lc;

	foreach(lc, matches)
	{
		LoyaltyRule *rule = ((LoyaltyMatch *) lfirst(lc))->rule;

		if (rule->expires && (next == NULL || rule->id < next->id))
			next = rule;
	}
	return next;
}

/* those of other rules; copies, because awarding notes in them what they gave */
static List *
without(List *matches, LoyaltyRule *rule)
{
	List	   *others = NIL;
	ListCell   *lc;

	foreach(lc, matches)
	{
		LoyaltyMatch *match = lfirst(lc);

		if (match->rule != rule)
		{
			LoyaltyMatch *copy = palloc(sizeof(LoyaltyMatch));

			*copy = *match;
			others = lappend(others, copy);
		}
	}
	return others;
}

static void
add_term(LoyaltyTerm *terms, int *n, DateADT expires_on, Points points)
{
	for (int i = 0; i < *n; i++)
		if (terms[i].expires_on == expires_on)
		{
			terms[i].points += points;
			return;
		}
	terms[*n].expires_on = expires_on;
	terms[(*n)++].points = points;
}

/*
 * The days through which points of a part are valid, and how many points of
 * the whole document each of them is for; the last of them is for whatever is
 * due beyond.  Returns their number, at least 1.
 */
int
loyalty_part_terms(LoyaltyProgram *program, LoyaltyPart *part, LoyaltyTerm **terms)
{
	LoyaltyTier *tier = loyalty_tier_by_id(program, part->tier_id);
	DateADT		usual = loyalty_points_expire(program, tier, NULL, part->date);
	List	   *matches = NIL;
	LoyaltyRule *rule = NULL;
	Points		points = 0;
	LoyaltyRemaining whole;
	int			n = 0;

	if (program->rules_expire && !part->is_return && program->scope != SCOPE_CARRY)
	{
		matches = without(loyalty_part_matches(program, part), NULL);
		rule = next_rule(matches);
	}
	*terms = palloc(sizeof(LoyaltyTerm) * (list_length(matches) + 1));
	if (rule != NULL)
	{
		loyalty_start_remaining(&whole, part);
		points = loyalty_award_remaining(&whole, program, matches, part->rate, NULL).points;
	}
	for (; rule != NULL; rule = next_rule(matches))
	{
		Points		rest;

		matches = without(matches, rule);
		rest = loyalty_award_remaining(&whole, program, matches, part->rate, NULL).points;
		if (points > rest)
			add_term(*terms, &n, loyalty_points_expire(program, tier, rule, part->date), points - rest);
		points = Min(points, rest);
	}
	if (n == 0 || points > 0)
		add_term(*terms, &n, usual, points);
	return n;
}

/*
 * The day from which the points of a sale with these facts can be spent.
 */
DateADT
loyalty_usable_from(LoyaltySource *source, LoyaltyFacts *facts)
{
	DateADT		day = DATEVAL_NOBEGIN;

	if (source->program->usable_after > 0)
		day = facts->date + source->program->usable_after;
	if (source->items[ITEM_USABLE_FROM] != NULL)
		day = Max(day, facts->has_usable_from ? facts->usable_from : DATEVAL_NOEND);
	return day <= facts->date ? DATEVAL_NOBEGIN : day;
}

/*
 * Points of a merged member's document (and of the sale it returns) are with
 * somebody else: so many of them come back to him.  Returns their lots, see
 * loyalty_fetch_back().
 */
List *
loyalty_fetch_swept(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part, LoyaltyPart *root,
					Points need, DateADT *usable_from)
{
	int64		heads[2] = {part->last_seq, root != NULL && root->member_id == member->id ? root->last_seq : 0};
	LoyaltyPosting p;
	int64	   *chain;
	int			nchain;
	DateADT    *days;
	int			n = 0;
	ListCell   *lc;

	if (member->merged_into == 0 || need <= 0)
		return NIL;
	loyalty_posting_open(&p, member, part->at);
	chain = loyalty_chain(&p, heads, 2, &nchain);
	days = palloc(sizeof(DateADT) * Max(nchain, 1));
	foreach(lc, loyalty_lots_of(&p, chain, nchain))
		if (((LoyaltyLot *) lfirst(lc))->points > 0)
			days[n++] = ((LoyaltyLot *) lfirst(lc))->expires_on;
	if (n == 0)
		return NIL;
	return loyalty_fetch_back(loyalty_batch_account(batch, member->id), member, days, n, need, usable_from,
							  loyalty_sweep_time(member), batch->now);
}

/*
 * Tell the lots of a part that its points can be spent from another day.
 */
void
loyalty_reschedule(LoyaltyBatch *batch, LoyaltyMember *member, LoyaltyPart *part)
{
	LoyaltyPosting p;
	Datum		values[3];
	char		nulls[] = "   ";
	int			n;
	int64	   *chain;

	part->rescheduled = false;
	if (part->last_seq == 0)
		return;
	loyalty_posting_open(&p, member, part->at);
	chain = loyalty_chain(&p, &part->last_seq, 1, &n);
	values[0] = Int64GetDatum(member->id);
	values[1] = loyalty_int8_array(chain, n);
	values[2] = DateADTGetDatum(part->usable_from);
	nulls[2] = DATE_IS_NOBEGIN(part->usable_from) ? 'n' : ' ';
	(void) loyalty_write(&plan_reschedule, values, nulls);
	member->usable_from = Max(member->usable_from, part->usable_from);
	member->dirty = true;
	(void) loyalty_fetch_swept(batch, member, part, NULL, part->points, &part->usable_from);
}

/*
 * A member has gone from one tier (0: none) to the one he is in.  If that is
 * higher and says so, what he has lasts as long as if he had earned it there.
 */
void
loyalty_extend_by_tier(LoyaltyMember *member, int32 from, TimestampTz at, TimestampTz now)
{
	LoyaltyProgram *program = member->program;
	LoyaltyTier *tier = loyalty_tier_by_id(program, member->tier_id);
	LoyaltyPosting p;
	Datum		values[3];
	int64	   *seqs;
	Datum	   *dates;
	int			rows;
	int			n = 0;
	bool		isnull;

	if (tier == NULL || !tier->extends || member->balance + member->debt <= 0 ||
		loyalty_tier_rank(program, member->tier_id) <= loyalty_tier_rank(program, from))
		return;
	loyalty_posting_open(&p, member, at);
	values[0] = Int64GetDatum(member->id);
	values[1] = DateADTGetDatum(p.today);
	values[2] = CStringGetTextDatum(program->time_zone);
	rows = loyalty_run(&plan_valid, values, NULL);
	seqs = palloc(sizeof(int64) * Max(rows, 1));
	dates = palloc(sizeof(Datum) * Max(rows, 1));
	for (int i = 0; i < rows; i++)
	{
		DateADT		expires_on = DatumGetDateADT(loyalty_spi_datum(i, 2, &isnull));
		DateADT		later = loyalty_points_expire(program, tier, NULL, DatumGetDateADT(loyalty_spi_datum(i, 3, &isnull)));

		if (later <= expires_on)
			continue;
		seqs[n] = DatumGetInt64(loyalty_spi_datum(i, 1, &isnull));
		dates[n++] = DateADTGetDatum(later);
	}
	SPI_freetuptable(SPI_tuptable);
	loyalty_redate_lots(member, seqs, dates, n, "extend", psprintf("tier:%s", tier->name), at, now);
}
