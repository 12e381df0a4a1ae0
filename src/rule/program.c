/*
 * program.c
 *	  Programmes and rules: loading and looking up.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "config.h"
#include "errors.h"
#include "rule/rule.h"

static LoyaltyPlan plan_programs = {
	.sql = "SELECT program_id, name, time_zone, currency, (point_unit * 100)::pg_catalog.int4, rounding,"
	" rounding_scope, crossing, negative, enrolment, companies, valid_from, valid_to, stacking, broken_rule"
	" FROM loyalty.program ORDER BY program_id"
};

static LoyaltyPlan plan_rules = {
	.sql = "SELECT rule_id, name, version, points, per_amount, mode, applies_to, is_current, valid_from, valid_to,"
	" kind, factor, multiplied, condition, source, exclusive_group, priority, cap_document,"
	" cap_day, cap_week, cap_month, cap_year, cap_lifetime, budget, changed_at,"
	" event, COALESCE(limit_count, 0), limit_period, needs_approval, expires, growth, ended_at"
	" FROM loyalty.rule WHERE program_id = $1 ORDER BY rule_id",
	.nparams = 1, .types = {INT4OID}
};

static LoyaltyPlan plan_categories = {
	.sql = "SELECT category, parent FROM loyalty.category WHERE program_id = $1",
	.nparams = 1, .types = {INT4OID}
};

static LoyaltyRounding
rounding_of(const char *word)
{
	if (strcmp(word, "up") == 0)
		return ROUND_UP;
	if (strcmp(word, "half_up") == 0)
		return ROUND_HALF_UP;
	if (strcmp(word, "half_even") == 0)
		return ROUND_HALF_EVEN;
	return ROUND_DOWN;
}

/*
 * May a condition ask for earlier purchases?  Only the compiler knows for
 * sure; rather too often than too rarely.
 */
static bool
may_ask_history(const char *condition)
{
	static const char *const names[] = {"purchase", "lifetime_", "year_", "month_", "cycle_days"};

	for (int i = 0; condition != NULL && i < (int) lengthof(names); i++)
		if (strstr(condition, names[i]) != NULL)
			return true;
	return false;
}

static LoyaltyRuleKind
kind_of(const char *word)
{
	static const char *const words[] = {"amount", "unit", "bonus", "multiplier", "exclusion", "cap"};

	for (int i = 0; i < (int) lengthof(words); i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	elog(ERROR, "unknown kind of rule: %s", word);
	return RULE_AMOUNT;			/* keep compiler quiet */
}

static LoyaltyPeriod
period_of(const char *word)
{
	static const char *const words[] = {"day", "week", "month", "year", "lifetime"};

	for (int i = 0; i < (int) lengthof(words); i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	elog(ERROR, "unknown period: %s", word);
	return PERIOD_LIFETIME;		/* keep compiler quiet */
}

static int
compare_categories(const void *a, const void *b)
{
	return strcmp(((const LoyaltyCategory *) a)->category, ((const LoyaltyCategory *) b)->category);
}

static DateADT
date_column(uint64 row, int column)
{
	bool		isnull;

	return DatumGetDateADT(loyalty_spi_datum(row, column, &isnull));
}

static List *
text_list(Datum array)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	List	   *list = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			list = lappend(list, TextDatumGetCString(elements[i]));
	return list;
}

/*
 * A setting that may be missing.
 */
void
loyalty_set_expiry(bool *given, LoyaltyExpiry *expiry, char *setting)
{
	*given = setting != NULL;
	if (setting != NULL)
		*expiry = loyalty_parse_expiry(setting);
}

/*
 * What the versions of a rule mean to each other.  Several can be current: each
 * is for documents before the first day of the next.  Versions that were
 * replaced still say what documents of their time get, see loyalty_rule_was_in_force().
 */
static void
relate_versions(LoyaltyProgram *program)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, program->rules)
	{
		LoyaltyRule *rule = lfirst(lc);

		if (!rule->current)
			continue;
		program->keeps_history |= rule->capped || rule->asks_history;
		foreach(lc2, program->rules)
		{
			LoyaltyRule *other = lfirst(lc2);

			if (other->id >= rule->id || strcmp(other->name, rule->name) != 0)
				continue;
			other->replaced = true;
			program->keeps_history |= other->asks_history;
			if (other->current && other->valid_to >= rule->valid_from)
				other->valid_to = rule->valid_from - 1;
		}
	}
}

/*
 * Was this the version of a rule that documents of a day were priced by at an
 * instant?
 */
bool
loyalty_rule_was_in_force(LoyaltyProgram *program, LoyaltyRule *rule, DateADT date, TimestampTz as_of)
{
	ListCell   *lc;

	if (rule->changed_at > as_of || rule->ended_at <= as_of || date < rule->valid_from || date > rule->valid_to_written)
		return false;
	foreach(lc, program->rules)
	{
		LoyaltyRule *r = lfirst(lc);

		if (rule->replaced && r->id > rule->id && r->changed_at <= as_of && r->ended_at > as_of &&
			date >= r->valid_from && strcmp(r->name, rule->name) == 0)
			return false;
	}
	return true;
}

/*
 * Read every programme, in the current memory context; SPI is connected.
 */
List *
loyalty_load_programs(void)
{
	List	   *programs = NIL;
	uint64		n = loyalty_run(&plan_programs, NULL, NULL);
	ListCell   *lc;

	for (uint64 i = 0; i < n; i++)
	{
		LoyaltyProgram *p = palloc0(sizeof(LoyaltyProgram));
		char	   *word;
		Datum		companies;
		bool		isnull;

		p->id = loyalty_spi_int32(i, 1);
		p->name = loyalty_spi_text(i, 2);
		p->time_zone = loyalty_spi_text(i, 3);
		p->tz = pg_tzset(p->time_zone);
		if (p->tz == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("time zone \"%s\" of programme \"%s\" is not known", p->time_zone, p->name)));
		p->currency = loyalty_spi_text(i, 4);
		p->unit = loyalty_spi_int32(i, 5);
		p->rounding = rounding_of(loyalty_spi_text(i, 6));
		word = loyalty_spi_text(i, 7);
		p->scope = strcmp(word, "line") == 0 ? SCOPE_LINE :
			strcmp(word, "carry") == 0 ? SCOPE_CARRY : SCOPE_DOCUMENT;
		p->crossing_new = strcmp(loyalty_spi_text(i, 8), "new") == 0;
		p->write_off = strcmp(loyalty_spi_text(i, 9), "write_off") == 0;
		p->explicit_enrolment = strcmp(loyalty_spi_text(i, 10), "explicit") == 0;
		companies = loyalty_spi_datum(i, 11, &isnull);
		p->any_company = isnull;
		if (!isnull)
			p->companies = text_list(companies);
		p->valid_from = date_column(i, 12);
		p->valid_to = date_column(i, 13);
		word = loyalty_spi_text(i, 14);
		p->stacking = strcmp(word, "max") == 0 ? STACKING_MAX :
			strcmp(word, "add") == 0 ? STACKING_ADD : STACKING_MULTIPLY;
		p->park_broken = strcmp(loyalty_spi_text(i, 15), "park") == 0;
		programs = lappend(programs, p);
	}

	foreach(lc, programs)
	{
		LoyaltyProgram *p = lfirst(lc);
		Datum		id = Int32GetDatum(p->id);
		bool		isnull;

		n = loyalty_run(&plan_rules, &id, NULL);
		for (uint64 i = 0; i < n; i++)
		{
			LoyaltyRule *r = palloc0(sizeof(LoyaltyRule));
			Datum		cap;

			r->id = loyalty_spi_int32(i, 1);
			r->name = loyalty_spi_text(i, 2);
			r->version = loyalty_spi_int32(i, 3);
			r->points = loyalty_spi_numeric(i, 4);
			r->per_amount = loyalty_spi_numeric(i, 5);
			r->step = strcmp(loyalty_spi_text(i, 6), "step") == 0;
			r->per_line = strcmp(loyalty_spi_text(i, 7), "line") == 0;
			r->current = DatumGetBool(loyalty_spi_datum(i, 8, &isnull));
			r->valid_from = date_column(i, 9);
			r->valid_to = r->valid_to_written = date_column(i, 10);
			r->kind = kind_of(loyalty_spi_text(i, 11));
			r->factor = loyalty_spi_numeric(i, 12);
			r->multiplied = DatumGetBool(loyalty_spi_datum(i, 13, &isnull));
			r->condition = loyalty_spi_text(i, 14);
			r->source = loyalty_spi_text(i, 15);
			r->exclusive_group = loyalty_spi_text(i, 16);
			r->priority = loyalty_spi_int32(i, 17);
			cap = loyalty_spi_datum(i, 18, &isnull);
			r->has_cap_document = !isnull;
			r->cap_document = isnull ? 0 : loyalty_points_from_datum(cap);
			for (int period = 0; period < LOYALTY_NPERIODS; period++)
			{
				cap = loyalty_spi_datum(i, 19 + period, &isnull);
				r->has_cap[period] = !isnull;
				r->cap[period] = isnull ? 0 : loyalty_points_from_datum(cap);
				r->capped |= !isnull;
			}
			cap = loyalty_spi_datum(i, 24, &isnull);
			r->has_budget = !isnull;
			r->budget = isnull ? 0 : loyalty_points_from_datum(cap);
			r->capped |= !isnull;
			r->changed_at = DatumGetTimestampTz(loyalty_spi_datum(i, 25, &isnull));
			r->asks_history = may_ask_history(r->condition);
			r->ended_at = DatumGetTimestampTz(loyalty_spi_datum(i, 32, &isnull));
			if (isnull)
				r->ended_at = DT_NOEND;
			r->event = loyalty_spi_text(i, 26);
			r->limit_count = loyalty_spi_int32(i, 27);
			if (r->limit_count > 0)
				r->limit_period = period_of(loyalty_spi_text(i, 28));
			r->needs_approval = DatumGetBool(loyalty_spi_datum(i, 29, &isnull));
			loyalty_set_expiry(&r->expires, &r->expiry, loyalty_spi_text(i, 30));
			p->rules_expire |= r->expires;
			r->growth = DatumGetBool(loyalty_spi_datum(i, 31, &isnull));
			p->gives_growth |= r->growth;
			p->refers |= r->event != NULL &&
				(strcmp(r->event, "referral") == 0 || strcmp(r->event, "referrer") == 0);
			p->rules = lappend(p->rules, r);
		}
		relate_versions(p);
		p->ncategories = loyalty_run(&plan_categories, &id, NULL);
		p->categories = palloc(sizeof(LoyaltyCategory) * (p->ncategories + 1));
		for (int i = 0; i < p->ncategories; i++)
		{
			p->categories[i].category = loyalty_spi_text(i, 1);
			p->categories[i].parent = loyalty_spi_text(i, 2);
		}
		qsort(p->categories, p->ncategories, sizeof(LoyaltyCategory), compare_categories);
	}
	return programs;
}

/*
 * A programme by its name; an error if there is none.
 */
LoyaltyProgram *
loyalty_program_by_name(const char *name)
{
	ListCell   *lc;

	foreach(lc, loyalty_config()->programs)
	{
		LoyaltyProgram *p = lfirst(lc);

		if (strcmp(p->name, name) == 0)
			return p;
	}
	ereport(ERROR,
			(errcode(ERRCODE_LOYALTY_UNKNOWN),
			 errmsg("programme \"%s\" does not exist", name),
			 errhint("loyalty.program lists the programmes.")));
	return NULL;				/* keep compiler quiet */
}

LoyaltyProgram *
loyalty_program_by_id(int32 id)
{
	ListCell   *lc;

	foreach(lc, loyalty_config()->programs)
	{
		LoyaltyProgram *p = lfirst(lc);

		if (p->id == id)
			return p;
	}
	elog(ERROR, "programme %d does not exist", id);
	return NULL;				/* keep compiler quiet */
}

LoyaltyRule *
loyalty_rule_by_id(LoyaltyProgram *program, int32 id)
{
	ListCell   *lc;

	foreach(lc, program->rules)
	{
		LoyaltyRule *r = lfirst(lc);

		if (r->id == id)
			return r;
	}
	elog(ERROR, "rule %d of programme \"%s\" does not exist", id, program->name);
	return NULL;				/* keep compiler quiet */
}

/*
 * The category above one; NULL if there is none.
 */
const char *
loyalty_category_parent(LoyaltyProgram *program, const char *category)
{
	LoyaltyCategory key = {unconstify(char *, category), NULL};
	LoyaltyCategory *found;

	if (program->ncategories == 0)
		return NULL;
	found = bsearch(&key, program->categories, program->ncategories, sizeof(LoyaltyCategory), compare_categories);
	return found == NULL ? NULL : found->parent;
}

/*
 * Does a document of that day and company count for the programme?
 */
bool
loyalty_program_covers(LoyaltyProgram *program, DateADT date, const char *company)
{
	ListCell   *lc;

	if (date < program->valid_from || date > program->valid_to)
		return false;
	if (program->any_company)
		return true;
	foreach(lc, program->companies)
		if (company != NULL && strcmp(company, lfirst(lc)) == 0)
			return true;
	return false;
}

/*
 * The day an instant falls on in the programme's time zone.
 */
DateADT
loyalty_program_date(LoyaltyProgram *program, TimestampTz at)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			tz;

	if (TIMESTAMP_NOT_FINITE(at) ||
		timestamp2tm(at, &tz, &tm, &fsec, NULL, program->tz) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_LOYALTY_FACT),
				 errmsg("date of the document is out of range"),
				 errhint("Correct the date, or what \"doc_date\" is mapped to.")));
	return date2j(tm.tm_year, tm.tm_mon, tm.tm_mday) - POSTGRES_EPOCH_JDATE;
}

/*
 * The instant at which a day begins in the programme's time zone.
 */
TimestampTz
loyalty_program_instant(LoyaltyProgram *program, DateADT date)
{
	struct pg_tm tm = {0};
	TimestampTz instant;
	int			tz;

	j2date(date + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
	tz = DetermineTimeZoneOffset(&tm, program->tz);
	if (tm2timestamp(&tm, 0, &tz, &instant) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	return instant;
}

/*
 * So many months later, or earlier; the last day of the month where that day
 * is not there.
 */
DateADT
loyalty_add_months(DateADT date, int months)
{
	int			year,
				month,
				day;

	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	months += year * 12 + month - 1;
	year = months / 12;
	month = months % 12 + 1;
	day = Min(day, day_tab[isleap(year)][month - 1]);
	return date2j(year, month, day) - POSTGRES_EPOCH_JDATE;
}

/*
 * First day of the period that a day is in; weeks begin on Monday.
 */
DateADT
loyalty_start_of_period(LoyaltyPeriod period, DateADT date)
{
	int			year,
				month,
				day;

	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	switch (period)
	{
		case PERIOD_DAY:
			return date;
		case PERIOD_WEEK:
			return date - j2day(date + POSTGRES_EPOCH_JDATE - 1);
		case PERIOD_MONTH:
			return date2j(year, month, 1) - POSTGRES_EPOCH_JDATE;
		case PERIOD_YEAR:
			return date2j(year, 1, 1) - POSTGRES_EPOCH_JDATE;
		default:
			return DATEVAL_NOBEGIN;
	}
}
