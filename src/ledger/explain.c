/*
 * explain.c
 *	  Why a document has its points, and what a basket would get: the same code
 *	  that books, asked for its steps.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "config.h"
#include "errors.h"
#include "ledger/ledger.h"
#include "rule/match.h"

PG_FUNCTION_INFO_V1(loyalty_explain);
PG_FUNCTION_INFO_V1(loyalty_quote_earn);

typedef struct Sheet
{
	ReturnSetInfo *rsinfo;
	int			step;
} Sheet;

static void
write_row(Sheet *sheet, const char *rule, const char *line, const char *calculation, Numeric points)
{
	Datum		values[5];
	bool		nulls[5] = {false};

	values[0] = Int32GetDatum(++sheet->step);
	nulls[1] = rule == NULL;
	values[1] = rule == NULL ? (Datum) 0 : CStringGetTextDatum(rule);
	nulls[2] = line == NULL;
	values[2] = line == NULL ? (Datum) 0 : CStringGetTextDatum(line);
	values[3] = CStringGetTextDatum(calculation);
	values[4] = NumericGetDatum(points);
	tuplestore_putvalues(sheet->rsinfo->setResult, sheet->rsinfo->setDesc, values, nulls);
}

static const char *
rounding_text(LoyaltyProgram *program)
{
	static const char *const words[] = {"down", "up", "half up", "half even"};

	return psprintf("rounded %s to %s, %s", words[program->rounding],
					loyalty_num_text(loyalty_num_trim(loyalty_points_numeric(program->unit))),
					program->scope == SCOPE_LINE ? "line by line" :
					program->scope == SCOPE_CARRY ? "remainder carried forward" : "once");
}

/*
 * The steps by which a sale (or an unlinked return) gets its points.
 */
static Points
write_award(Sheet *sheet, LoyaltyProgram *program, LoyaltyPart *part)
{
	List	   *steps = NIL;
	LoyaltyTier *tier = loyalty_tier_by_id(program, part->tier_id);
	LoyaltyAward award = loyalty_part_award(program, part, NIL, 0, &steps);
	ListCell   *lc;

	(void) loyalty_part_growth(program, part, NIL, 0, &steps);

	if (tier != NULL)
		write_row(sheet, NULL, NULL,
				  psprintf("tier %s, rate %s (%s before: %s)", tier->name,
						   loyalty_num_text(loyalty_num_trim(part->rate)),
						   program->tiering.measure.metric == METRIC_AMOUNT ? "qualifying amount" :
						   loyalty_metric_name(program->tiering.measure.metric),
						   loyalty_num_text(part->tier_before)), loyalty_num_int(0));
	foreach(lc, steps)
	{
		LoyaltyStep *step = lfirst(lc);

		write_row(sheet, step->rule, step->line, step->calculation, step->points);
	}
	if (program->scope == SCOPE_CARRY)
		return 0;
	write_row(sheet, NULL, NULL, rounding_text(program), loyalty_points_numeric(award.points));
	return award.points;
}

/* what a return makes of the points of its sale */
static void
write_return(Sheet *sheet, LoyaltyProgram *program, LoyaltyPart *part)
{
	LoyaltyPart *sale;
	List	   *returns;
	LoyaltyAward before;
	LoyaltyAward after;
	ListCell   *lc;
	int			position = 0;

	sale = NULL;
	foreach(lc, loyalty_load_parts(part->root_source_id, &part->root_key, 1))
	{
		LoyaltyPart *p = lfirst(lc);

		if (p->member_id == part->member_id && p->root_source_id == 0 && p->state == STATE_BOOKED)
			sale = p;
	}
	if (sale == NULL || sale->rate == NULL)
	{
		write_row(sheet, NULL, NULL,
				  part->root_source_id < 0 ?
				  psprintf("returns goods of line %s, which is not there", part->root_key) :
				  psprintf("returns goods of document %s, which has no points", part->root_key),
				  loyalty_num_int(0));
		return;
	}
	returns = loyalty_sorted_returns(loyalty_load_returns(part->root_source_id, &part->root_key, 1));
	foreach(lc, returns)
	{
		LoyaltyPart *p = lfirst(lc);

		if (p->source_id == part->source_id && strcmp(p->key, part->key) == 0)
			position = foreach_current_index(lc);
	}
	before = loyalty_part_award(program, sale, returns, position, NULL);
	after = loyalty_part_award(program, sale, returns, position + 1, NULL);
	write_row(sheet, NULL, NULL, psprintf("goods of document %s before this return", part->root_key),
			  loyalty_points_numeric(before.points));
	write_row(sheet, NULL, NULL, "goods that are left after it", loyalty_points_numeric(after.points));
	if (loyalty_num_sign(part->overcredited) != 0)
		write_row(sheet, NULL, NULL,
				  psprintf("%s more was returned than was left", loyalty_num_text(part->overcredited)),
				  loyalty_num_int(0));
}

/*
 * explain(source text, key text) -> setof (step, rule, line, calculation, points)
 */
Datum
loyalty_explain(PG_FUNCTION_ARGS)
{
	char	   *key = text_to_cstring(PG_GETARG_TEXT_PP(1));
	LoyaltySource *source;
	LoyaltyIdentity save;
	Sheet		sheet = {(ReturnSetInfo *) fcinfo->resultinfo, 0};
	List	   *parts;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	loyalty_config_pin();
	source = loyalty_source_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	parts = loyalty_load_parts(source->id, &key, 1);
	if (parts == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_UNKNOWN),
				 errmsg("document \"%s\" of source \"%s\" is not booked", key, source->name),
				 errhint("It may be a draft, a guest's or no member's, or wait in loyalty.parked.")));
	foreach(lc, parts)
	{
		LoyaltyPart *part = lfirst(lc);

		if (part->state == STATE_WITHDRAWN)
		{
			if (part->points != 0 || list_length(parts) == 1)
				write_row(&sheet, NULL, NULL, "the document does not count any more", loyalty_num_int(0));
			continue;
		}
		/* only a note that it hangs on a sale */
		if (part->root_source_id != 0 && loyalty_num_sign(part->gross) == 0 && part->lines == NULL &&
			list_length(parts) > 1)
			continue;
		if (part->root_source_id != 0)
			write_return(&sheet, source->program, part);
		else if (part->state == STATE_OPENING)
			write_row(&sheet, NULL, NULL, "known from before the programme; it earns nothing", loyalty_num_int(0));
		else if (part->rate != NULL)
			(void) write_award(&sheet, source->program, part);
		if (part->is_event && loyalty_event_waits(part) != NULL)
			write_row(&sheet, NULL, NULL, loyalty_event_waits(part), loyalty_num_int(0));
		if (part->growth != 0)
			write_row(&sheet, NULL, NULL,
					  psprintf("growth %s counts for tiers", loyalty_num_text(loyalty_num_trim(loyalty_points_numeric(part->growth)))),
					  loyalty_num_int(0));
		if (part->written_off != 0)
			write_row(&sheet, NULL, NULL, "points that were spent already were written off",
					  loyalty_points_numeric(part->written_off));
		write_row(&sheet, NULL, NULL, "booked", loyalty_points_numeric(part->points));
	}
	SPI_finish();
	loyalty_resume(&save);
	loyalty_config_unpin();
	return (Datum) 0;
}

/* a basket that is asked about */
typedef struct Quote
{
	Sheet		sheet;
	char	   *program;
	char	   *customer;
	Jsonb	   *rules;			/* proposed, NULL for none */
	char	   *source;			/* and the row of its header, NULL for none */
	Jsonb	   *invoice;
	bool		has_amount;
	bool		has_paid;
	bool		has_at;
	LoyaltyFacts *facts;
	LoyaltyPart *part;
	LoyaltyLine *lines;
	int			nlines;
	LoyaltyRuleBook *book;
} Quote;

/*
 * The rules that hold for a basket, with what earlier purchases and caps say.
 * SPI is connected.
 */
static List *
rules_of_basket(Quote *quote, LoyaltyProgram *program, LoyaltySource *source, LoyaltyMember *member, LoyaltyTier *tier)
{
	LoyaltyPart *part = quote->part;
	LoyaltyBatch batch = {0};
	LoyaltyFigures figures = {0};
	LoyaltyFacts *facts = quote->facts;
	LoyaltyClaim claim = {0};
	LoyaltyRuleBook *book = source != NULL ? loyalty_source_book(source) :
		loyalty_compile_rules(program, NULL, InvalidOid, InvalidOid);
	LoyaltyQuestion q = {source, "", facts, &claim, quote->customer, tier, part->date, &figures, 0, NULL};
	List	   *matches;
	ListCell   *lc;

	quote->book = book;
	batch.context = CurrentMemoryContext;
	figures.amount = figures.year_amount = figures.month_amount = loyalty_num_int(0);
	if (member != NULL)
	{
		q.joined_on = member->joined_on;
		q.member_id = member->id;
		if (program->keeps_history)
			figures = loyalty_history_figures(&batch, member, part);
	}
	facts->at = part->at;
	facts->date = part->date;
	claim.gross = part->gross;
	claim.paid = part->paid;
	claim.lines = quote->lines;
	claim.nlines = quote->nlines;
	matches = loyalty_match_rules(book, &q, NIL, 0);
	foreach(lc, matches)
	{
		LoyaltyMatch *match = lfirst(lc);

		if (!match->rule->capped)
			continue;
		match->limited = true;
		match->allowed = member == NULL ? loyalty_least_cap(match->rule) :
			loyalty_history_allowance(&batch, member, part, match->rule);
		if (match->rule->has_budget)
			match->allowed = Min(match->allowed, loyalty_budget_left(program, match->rule));
	}
	return matches;
}

/*
 * Name the rules that could not be asked, because they look at an invoice, or
 * are for one source only, and the caller has told neither.
 */
static void
write_left_out(Quote *quote, LoyaltyProgram *program)
{
	DateADT		date = quote->part->date;
	ListCell   *lc;

	foreach(lc, program->rules)
	{
		LoyaltyRule *rule = lfirst(lc);
		bool		asked = rule->source == NULL;

		for (int i = 0; asked && i < quote->book->ncodes; i++)
			if (quote->book->codes[i].rule == rule && quote->book->codes[i].error != NULL)
				asked = false;
		if (!asked && rule->current && rule->event == NULL && date >= rule->valid_from && date <= rule->valid_to)
			write_row(&quote->sheet, rule->name, NULL,
					  rule->source != NULL ? psprintf("left out: it is for source \"%s\" (pass source and invoice)", rule->source) :
					  "left out: it looks at the invoice (pass source and invoice)", loyalty_num_int(0));
	}
}

/*
 * The tier at which a basket would earn; member NULL: as a new one.  Where its
 * own points or growth count for the tier, they are those that it would earn
 * at the tier before, as when it is booked.
 */
static LoyaltyTier *
tier_of_basket(Quote *quote, LoyaltyProgram *program, LoyaltySource *source, LoyaltyMember *member)
{
	LoyaltyPart *part = quote->part;
	LoyaltyMember nobody = {.program = program, .joined_on = part->date, .tier_at = 0};
	LoyaltyMember *m = member != NULL ? member : &nobody;
	LoyaltyTier *tier;
	Points		points = 0;
	Points		growth = 0;

	if (member != NULL ? loyalty_member_is_plain(member) : program->tiering.is_plain)
	{
		part->tier_before = member != NULL ? member->qualifying : loyalty_num_int(0);
		return loyalty_program_tier(program, program->crossing_new ?
									loyalty_num_add(part->tier_before, part->gross) : part->tier_before);
	}
	tier = loyalty_standing_before(CurrentMemoryContext, m, program, part);
	if (!program->crossing_new || loyalty_num_sign(part->gross) <= 0)
		return tier;
	if (loyalty_counts_own_award(program))
	{
		part->rate = tier == NULL ? loyalty_num_int(1) : tier->rate;
		part->matched = true;
		part->match_list = rules_of_basket(quote, program, source, member, tier);
		points = loyalty_part_award(program, part, NIL, 0, NULL).points;
		growth = loyalty_part_growth(program, part, NIL, 0, NULL);
		part->match_list = NIL;
	}
	return loyalty_standing_with(m->record, part, points, growth);
}

/*
 * What the row of the invoice says, as far as the caller does not.
 */
static LoyaltySource *
read_invoice(Quote *quote, LoyaltyProgram *program)
{
	LoyaltyPart *part = quote->part;
	LoyaltySource *source = loyalty_source_by_name(quote->source);

	if (source->program != program || source->of_events)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_UNKNOWN),
				 errmsg("programme \"%s\" has no source \"%s\"", program->name, quote->source),
				 errhint("loyalty.status() lists the sources.")));
	quote->facts = loyalty_facts_of_row(source, quote->invoice);
	if (quote->customer == NULL)
		quote->customer = quote->facts->customer;
	if (!quote->has_amount && quote->nlines == 0)
		part->gross = quote->facts->gross;
	if (!quote->has_paid)
		part->paid = quote->facts->paid;
	if (!quote->has_at)
		part->at = quote->facts->at;
	part->company = quote->facts->company;
	part->channel = quote->facts->channel;
	return source;
}

static void
quote(void *arg)
{
	Quote	   *quote = arg;
	LoyaltyPart *part = quote->part;
	LoyaltyProgram *program;
	LoyaltyMember *member = NULL;
	LoyaltySource *source = NULL;
	LoyaltyIdentity save;
	LoyaltyTier *tier;
	Points		total;

	if (quote->rules != NULL)
		loyalty_propose_rules(quote->program, quote->rules);
	loyalty_config_pin();
	program = loyalty_program_by_name(quote->program);
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	quote->facts = palloc0(sizeof(LoyaltyFacts));
	if (quote->source != NULL)
		source = read_invoice(quote, program);
	if (loyalty_num_sign(part->gross) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the amount of a basket cannot be below 0")));
	part->date = loyalty_program_date(program, part->at);
	if (quote->customer != NULL)
		member = loyalty_read_member(loyalty_account_of(loyalty_find_member(program, quote->customer)));
	tier = tier_of_basket(quote, program, source, member);
	part->tier_id = tier == NULL ? 0 : tier->id;
	part->rate = tier == NULL ? loyalty_num_int(1) : tier->rate;
	part->matched = true;
	if (part->date >= program->valid_from && part->date <= program->valid_to)
		part->match_list = rules_of_basket(quote, program, source, member, tier);
	SPI_finish();
	loyalty_resume(&save);

	if (source == NULL && quote->book != NULL)
		write_left_out(quote, program);
	total = write_award(&quote->sheet, program, part);
	if (program->scope == SCOPE_CARRY)
	{
		LoyaltyAward award = loyalty_part_award(program, part, NIL, 0, NULL);
		LoyaltyRational carried = member != NULL ?
			loyalty_rational_add(member->carry, award.raw) : award.raw;

		total = loyalty_points_round(carried, program->unit, program->rounding, true);
		write_row(&quote->sheet, NULL, NULL, rounding_text(program), loyalty_points_numeric(total));
	}
	write_row(&quote->sheet, NULL, NULL, "would be booked", loyalty_points_numeric(total));
	loyalty_config_unpin();
}

/*
 * quote_earn(program, customer, amount, lines, paid_by_points, at, rules,
 *			  source, invoice)
 *	-> setof (step, rule, line, calculation, points)
 *
 * amount NULL: the lines' sum.  customer NULL, or no member yet: as a new one.
 * rules: see propose_rules(); NULL for those in force.  source and invoice: the
 * row of the header, from which the mapping reads what is not said otherwise.
 */
Datum
loyalty_quote_earn(PG_FUNCTION_ARGS)
{
	Quote		q = {0};

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("program cannot be NULL")));
	InitMaterializedSRF(fcinfo, 0);
	q.sheet.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	q.program = text_to_cstring(PG_GETARG_TEXT_PP(0));
	q.customer = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	q.rules = PG_ARGISNULL(6) ? NULL : PG_GETARG_JSONB_P_COPY(6);
	q.source = PG_ARGISNULL(7) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(7));
	q.invoice = PG_ARGISNULL(8) ? NULL : PG_GETARG_JSONB_P_COPY(8);
	if ((q.source == NULL) != (q.invoice == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source and invoice go together"),
				 errhint("invoice is a row of the source's table, as a JSON object.")));
	q.part = loyalty_new_part(0, "", 0, 0, "");
	if (!PG_ARGISNULL(3))
	{
		q.lines = loyalty_lines_from_jsonb(PG_GETARG_JSONB_P(3), &q.nlines);
		for (int i = 0; i < q.nlines; i++)
			(void) loyalty_num_checked(q.lines[i].amount, "amount");
		loyalty_sort_lines(q.lines, q.nlines);
		q.part->lines = loyalty_lines_to_jsonb(q.lines, q.nlines);
	}
	if (!PG_ARGISNULL(2))
		q.part->gross = loyalty_num_checked(DatumGetNumericCopy(PG_GETARG_DATUM(2)), "amount");
	else
		for (int i = 0; i < q.nlines; i++)
			if (q.lines[i].amount != NULL)
				q.part->gross = loyalty_num_add(q.part->gross, q.lines[i].amount);
	if (!PG_ARGISNULL(4))
		q.part->paid = loyalty_num_checked(DatumGetNumericCopy(PG_GETARG_DATUM(4)), "paid_by_points");
	q.has_amount = !PG_ARGISNULL(2);
	q.has_paid = !PG_ARGISNULL(4);
	q.has_at = !PG_ARGISNULL(5);
	q.part->at = PG_ARGISNULL(5) ? GetCurrentTimestamp() : PG_GETARG_TIMESTAMPTZ(5);

	if (q.rules == NULL)
		quote(&q);
	else
	{
		ErrorData  *error = loyalty_attempt(quote, &q, NULL, true);

		if (error != NULL)
			ReThrowError(error);
	}
	return (Datum) 0;
}
