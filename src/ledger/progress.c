/*
 * progress.c
 *	  SQL functions that answer which tier a member has at an instant, and what
 *	  is missing to the next one.
 *
 * What is stored is right from the instant it was written to the day it is to
 * be looked at again; of any other time the replay is asked.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#include "config.h"
#include "ledger/ledger.h"
#include "member/standing.h"

PG_FUNCTION_INFO_V1(loyalty_tier);
PG_FUNCTION_INFO_V1(loyalty_standing_of);
PG_FUNCTION_INFO_V1(loyalty_tier_progress);

/* what is stored, where it is right */
static bool
stored_view(LoyaltyMember *m, TimestampTz at, bool now, LoyaltyTierView *view)
{
	if (loyalty_member_is_plain(m) ? !now :
		at < m->tier_at || (m->tier_review != DATEVAL_NOEND && loyalty_program_date(m->program, at) >= m->tier_review))
		return false;
	/* a member of whom nothing was ever written down */
	if (!m->program->tiering.is_plain && m->tier_at == 0 && !now)
		return false;
	view->rank = loyalty_tier_rank(m->program, m->tier_id);
	view->since = m->tier_since;
	view->until = m->tier_until;
	view->review = m->tier_review;
	return true;
}

/*
 * The standing of a member at an instant, or (now) at this moment.
 */
static LoyaltyTierView
view_at(LoyaltyMember *m, TimestampTz at, bool now)
{
	LoyaltyTierView view;
	LoyaltyRecord *r;

	if (stored_view(m, at, now, &view) || loyalty_tier_from_history(m, at, &view))
		return view;
	r = loyalty_standing(CurrentMemoryContext, m);
	loyalty_record_run(r, at);
	return loyalty_record_view(r, at);
}

/*
 * The tier of a member at an instant; NULL below the first.  One of the future
 * is what it will be if nothing is bought any more.
 */
LoyaltyTier *
loyalty_tier_now(LoyaltyMember *m, TimestampTz at)
{
	/* where it just follows the amount it is what it became */
	if (loyalty_member_is_plain(m))
		return loyalty_tier_by_id(m->program, m->tier_id);
	return loyalty_tier_at_rank(m->program, view_at(m, at, false).rank);
}

static TimestampTz
instant(FunctionCallInfo fcinfo, int n)
{
	TimestampTz at = PG_ARGISNULL(n) ? GetCurrentTimestamp() : PG_GETARG_TIMESTAMPTZ(n);

	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at must be a finite instant")));
	return at;
}

/*
 * tier(program text, customer text, at timestamptz) -> text
 */
Datum
loyalty_tier(PG_FUNCTION_ARGS)
{
	TimestampTz at = instant(fcinfo, 2);
	LoyaltyIdentity save;
	LoyaltyProgram *program;
	LoyaltyMember *m;
	LoyaltyTier *tier = NULL;
	text	   *result = NULL;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	loyalty_config_pin();
	program = loyalty_program_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	m = loyalty_read_member(loyalty_account_of(loyalty_find_member(program, text_to_cstring(PG_GETARG_TEXT_PP(1)))));
	if (m != NULL)
		tier = loyalty_tier_at_rank(program, view_at(m, at, PG_ARGISNULL(2)).rank);
	if (tier != NULL)
		result = cstring_to_text(tier->name);
	SPI_finish();
	loyalty_resume(&save);
	loyalty_config_unpin();
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(result);
}

static void
put_date(Datum *values, bool *nulls, int column, DateADT date)
{
	values[column] = DateADTGetDatum(date);
	nulls[column] = date == DATEVAL_NOEND || date == DATEVAL_NOBEGIN;
}

/*
 * standing(member_id bigint, at timestamptz, replay boolean)
 *	-> (tier_id integer, since date, until date, review date)
 */
Datum
loyalty_standing_of(PG_FUNCTION_ARGS)
{
	TimestampTz at = instant(fcinfo, 1);
	LoyaltyIdentity save;
	LoyaltyMember *m;
	TupleDesc	desc;
	Datum		values[4] = {0};
	bool		nulls[4] = {true, true, true, true};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	loyalty_config_pin();
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	m = PG_ARGISNULL(0) ? NULL : loyalty_read_member(PG_GETARG_INT64(0));
	if (m != NULL)
	{
		LoyaltyTierView view;
		LoyaltyTier *tier;
		LoyaltyRecord *r;

		if (PG_GETARG_BOOL(2))
		{
			/* the proof is that the replay gives the same as is stored */
			r = loyalty_standing(CurrentMemoryContext, m);
			loyalty_record_run(r, at);
			view = loyalty_record_view(r, at);
		}
		else
			view = view_at(m, at, PG_ARGISNULL(1));
		tier = loyalty_tier_at_rank(m->program, view.rank);
		nulls[0] = tier == NULL;
		values[0] = Int32GetDatum(tier == NULL ? 0 : tier->id);
		put_date(values, nulls, 1, view.since);
		put_date(values, nulls, 2, view.until);
		put_date(values, nulls, 3, view.review);
	}
	SPI_finish();
	loyalty_resume(&save);
	loyalty_config_unpin();
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/* what every row of tier_progress() begins with */
typedef struct Progress
{
	ReturnSetInfo *rsinfo;
	LoyaltyRecord *record;
	LoyaltyTierView view;
	LoyaltyTier *tier;
	LoyaltyTier *next;
	LoyaltyTier *projected;
	bool		any;
} Progress;

static void
put_name(Datum *values, bool *nulls, int column, LoyaltyTier *tier)
{
	nulls[column] = tier == NULL;
	values[column] = tier == NULL ? (Datum) 0 : CStringGetTextDatum(tier->name);
}

/* measure NULL: nothing is missing for anything */
static void
write_row(Progress *p, const char *purpose, LoyaltyMeasure *measure, Numeric figure, Numeric threshold, DateADT due)
{
	Datum		values[13] = {0};
	bool		nulls[13] = {false};

	put_name(values, nulls, 0, p->tier);
	put_date(values, nulls, 1, p->view.since);
	put_date(values, nulls, 2, p->view.until);
	put_name(values, nulls, 3, p->next);
	put_name(values, nulls, 4, p->projected);
	if (measure == NULL)
		for (int i = 5; i < 13; i++)
			nulls[i] = true;
	else
	{
		Numeric		missing = loyalty_num_sub(threshold, figure);

		values[5] = CStringGetTextDatum(purpose);
		values[6] = CStringGetTextDatum(loyalty_metric_name(measure->metric));
		values[7] = CStringGetTextDatum(loyalty_window_name(measure->window));
		values[8] = Int32GetDatum(measure->months);
		nulls[8] = measure->months == 0;
		values[9] = NumericGetDatum(loyalty_num_trim(figure));
		values[10] = NumericGetDatum(loyalty_num_trim(threshold));
		values[11] = NumericGetDatum(loyalty_num_sign(missing) < 0 ? loyalty_num_int(0) : loyalty_num_trim(missing));
		put_date(values, nulls, 12, due);
	}
	tuplestore_putvalues(p->rsinfo->setResult, p->rsinfo->setDesc, values, nulls);
	p->any = true;
}

/* what is missing on each way to a tier */
static void
write_next(Progress *p, LoyaltyProgram *program, DateADT day)
{
	LoyaltyMeasure *own = &program->tiering.measure;
	LoyaltyStanding *s = loyalty_record_standing(p->record);
	Numeric		figure = loyalty_record_figure(p->record, own, day);
	Numeric		threshold = p->next->threshold;
	ListCell   *lc;

	if (p->next->keep_threshold != NULL && loyalty_tier_rank(program, p->next->id) <= s->lost)
	{
		/* a tier that was lost: what was bought since then counts, or all that keeps it */
		if (own->window == WINDOW_LIFETIME)
		{
			figure = loyalty_record_figure_after(p->record, own->metric, s->base);
			threshold = p->next->keep_threshold;
		}
		else if (loyalty_num_cmp(threshold, p->next->keep_threshold) < 0)
			threshold = p->next->keep_threshold;
	}
	write_row(p, "next", own, figure, threshold, DATEVAL_NOEND);
	foreach(lc, p->next->paths)
	{
		LoyaltyTierPath *path = lfirst(lc);

		write_row(p, "next", &path->measure, loyalty_record_figure(p->record, &path->measure, day), path->threshold,
				  DATEVAL_NOEND);
	}
}

/* what is missing so that the earned tier is kept beyond that day */
static void
write_keep(Progress *p, LoyaltyProgram *program, DateADT due)
{
	LoyaltyStanding *s = loyalty_record_standing(p->record);
	LoyaltyTier *t = loyalty_tier_at_rank(program, s->rank);
	bool		retained = s->until != DATEVAL_NOEND;
	DateADT		day = retained ? s->until : due;
	LoyaltyMeasure *own = &program->tiering.measure;
	ListCell   *lc;

	write_row(p, "keep", own, retained ? loyalty_record_kept_figure(p->record) : loyalty_record_figure(p->record, own, day),
			  retained && t->keep_threshold != NULL ? t->keep_threshold : t->threshold, due - 1);
	foreach(lc, t->paths)
	{
		LoyaltyTierPath *path = lfirst(lc);

		write_row(p, "keep", &path->measure, loyalty_record_figure(p->record, &path->measure, day), path->threshold,
				  due - 1);
	}
}

/*
 * tier_progress(program, customer, at)
 *	-> setof (tier, since, until, next_tier, projected_tier, purpose, metric,
 *	   time_window, months, figure, threshold, missing, due)
 */
Datum
loyalty_tier_progress(PG_FUNCTION_ARGS)
{
	TimestampTz at = instant(fcinfo, 2);
	LoyaltyIdentity save;
	LoyaltyProgram *program;
	LoyaltyMember *m;
	Progress	p = {0};

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	p.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	loyalty_config_pin();
	program = loyalty_program_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	m = loyalty_read_member(loyalty_account_of(loyalty_find_member(program, text_to_cstring(PG_GETARG_TEXT_PP(1)))));
	if (m != NULL)
	{
		DateADT		day = loyalty_program_date(program, at);
		DateADT		due;
		DateADT		ends;
		int			earned;
		bool		past;

		p.record = loyalty_standing(CurrentMemoryContext, m);
		loyalty_record_run(p.record, at);
		/* of a time before settings changed: the tier as tier() has it, by the ways of now to the next */
		past = loyalty_tier_from_history(m, at, &p.view);
		if (!past)
			p.view = loyalty_record_view(p.record, at);
		earned = loyalty_record_standing(p.record)->rank;
		p.tier = loyalty_tier_at_rank(program, p.view.rank);
		p.next = p.view.rank < list_length(program->tiers) ? loyalty_tier_at_rank(program, p.view.rank + 1) : NULL;
		due = loyalty_record_due(p.record);
		if (loyalty_record_standing(p.record)->until != DATEVAL_NOEND && !loyalty_record_standing(p.record)->in_grace)
			due += program->tiering.grace_days;
		/* the day after the one on which what is there now ends, if nothing more is bought */
		ends = due;
		if (past || p.view.rank > earned)
			ends = p.view.until != DATEVAL_NOEND ? p.view.until + 1 : past ? DATEVAL_NOEND : due;
		p.projected = p.tier;
		if (ends != DATEVAL_NOEND)
		{
			loyalty_record_pass(p.record, ends);
			p.projected = loyalty_tier_at_rank(program,
											   loyalty_record_view(p.record, loyalty_program_instant(program, ends)).rank);
			loyalty_record_run(p.record, at);
		}
		if (p.next != NULL)
			write_next(&p, program, day);
		if (earned > 0 && due != DATEVAL_NOEND && (!past || earned == p.view.rank))
			write_keep(&p, program, due);
		if (!p.any)
			write_row(&p, NULL, NULL, NULL, NULL, DATEVAL_NOEND);
	}
	SPI_finish();
	loyalty_resume(&save);
	loyalty_config_unpin();
	return (Datum) 0;
}
