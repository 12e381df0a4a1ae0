/*
 * expiry.c
 *	  How long points last: loyalty.expiry_policy, and the settings "expires"
 *	  of tiers and rules.
 *
 * A setting is a short text that says how the last valid day follows from the
 * day on which points were earned:
 *
 *		never
 *		90 days			12 months			2 years
 *		end of month	end of quarter + 1	end of year + 2
 *		every 03-31		every 03-31 + 1 year
 *
 * Months are counted as the calendar does: 31 January and one month is the end
 * of February.
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"

#include "rule/rule.h"

PG_FUNCTION_INFO_V1(loyalty_expires_on);

#define MAX_COUNT 12000

/* kinds of entries that can keep a member's points alive */
static const char *const activities[] = {"earn", "event", "redeem", "adjust", "transfer"};

static LoyaltyPlan plan_policies = {
	.sql = "SELECT program_id, expires, lapse_after, lapse_activities, usable_after, points_until FROM loyalty.expiry_policy"
};

/* read a whole word, whatever its case */
static bool
take_word(const char **s, const char *word)
{
	size_t		n = strlen(word);

	if (pg_strncasecmp(*s, word, n) != 0 || isalpha((unsigned char) (*s)[n]))
		return false;
	for (*s += n; isspace((unsigned char) **s); (*s)++)
		;
	return true;
}

static bool
take_char(const char **s, char c)
{
	if (**s != c)
		return false;
	for ((*s)++; isspace((unsigned char) **s); (*s)++)
		;
	return true;
}

static bool
take_number(const char **s, int *n)
{
	if (!isdigit((unsigned char) **s))
		return false;
	for (*n = 0; isdigit((unsigned char) **s); (*s)++)
		if ((*n = *n * 10 + (**s - '0')) > MAX_COUNT)
			return false;
	for (; isspace((unsigned char) **s); (*s)++)
		;
	return true;
}

/* "+ n", with a unit or without; none is 0 */
static bool
take_further(const char **s, int *n, const char *unit, const char *units)
{
	*n = 0;
	if (!take_char(s, '+'))
		return true;
	if (!take_number(s, n))
		return false;
	(void) (take_word(s, units) || take_word(s, unit));
	return true;
}

static bool
parse(const char *s, LoyaltyExpiry *e)
{
	memset(e, 0, sizeof(LoyaltyExpiry));
	while (isspace((unsigned char) *s))
		s++;
	if (take_word(&s, "never"))
		e->kind = EXPIRY_NEVER;
	else if (take_word(&s, "end"))
	{
		e->kind = EXPIRY_END;
		if (!take_word(&s, "of"))
			return false;
		if (take_word(&s, "month"))
			e->months = 1;
		else if (take_word(&s, "quarter"))
			e->months = 3;
		else if (take_word(&s, "year"))
			e->months = 12;
		else
			return false;
		if (!take_further(&s, &e->n, e->months == 1 ? "month" : e->months == 3 ? "quarter" : "year",
						  e->months == 1 ? "months" : e->months == 3 ? "quarters" : "years"))
			return false;
	}
	else if (take_word(&s, "every"))
	{
		e->kind = EXPIRY_EVERY;
		if (!take_number(&s, &e->month) || !take_char(&s, '-') || !take_number(&s, &e->day) ||
			e->month < 1 || e->month > 12 || e->day < 1 || e->day > day_tab[1][e->month - 1] ||
			!take_further(&s, &e->n, "year", "years"))
			return false;
	}
	else if (take_number(&s, &e->n))
	{
		e->kind = EXPIRY_MONTHS;
		if (take_word(&s, "days") || take_word(&s, "day"))
			e->kind = EXPIRY_DAYS;
		else if (take_word(&s, "months") || take_word(&s, "month"))
			e->months = 1;
		else if (take_word(&s, "years") || take_word(&s, "year"))
			e->months = 12;
		else
			return false;
		e->n = e->kind == EXPIRY_MONTHS ? e->n * e->months : e->n;
	}
	else
		return false;
	return *s == '\0';
}

/*
 * What a setting says; an error if it says nothing.
 */
LoyaltyExpiry
loyalty_parse_expiry(const char *setting)
{
	LoyaltyExpiry e;

	if (!parse(setting, &e))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid expiry: \"%s\"", setting),
				 errhint("It can be never, 90 days, 12 months, 2 years, end of month (quarter, year) + n,"
						 " or every MM-DD + n years.")));
	return e;
}

static DateADT
date_of(int year, int month, int day)
{
	int			last = day_tab[isleap(year)][month - 1];

	return date2j(year, month, Min(day, last)) - POSTGRES_EPOCH_JDATE;
}

/*
 * The last day on which points are valid that were earned on that day.
 */
DateADT
loyalty_expiry_date(const LoyaltyExpiry *e, DateADT earned_on)
{
	int			year,
				month,
				day;
	DateADT		date;

	if (e->kind == EXPIRY_NEVER || DATE_NOT_FINITE(earned_on))
		return DATEVAL_NOEND;
	j2date(earned_on + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	switch (e->kind)
	{
		case EXPIRY_DAYS:
			date = earned_on + e->n;
			break;
		case EXPIRY_MONTHS:
			date = loyalty_add_months(earned_on, e->n);
			break;
		case EXPIRY_END:
			month = (month - 1) / e->months * e->months + 1;
			date = loyalty_add_months(date_of(year, month, 1), (e->n + 1) * e->months) - 1;
			break;
		default:
			date = date_of(year, e->month, e->day);
			date = date_of(year + (date < earned_on ? 1 : 0) + e->n, e->month, e->day);
	}
	if (!IS_VALID_DATE(date))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("date out of range")));
	return date;
}

/*
 * expires_on(expires text, earned_on date) -> date
 */
Datum
loyalty_expires_on(PG_FUNCTION_ARGS)
{
	LoyaltyExpiry e = loyalty_parse_expiry(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	PG_RETURN_DATEADT(loyalty_expiry_date(&e, PG_GETARG_DATEADT(1)));
}

static int
activity_of(const char *kind)
{
	for (int i = 0; i < (int) lengthof(activities); i++)
		if (strcmp(activities[i], kind) == 0)
			return i;
	return -1;
}

/*
 * Read how long the points of these programmes (of LoyaltyProgram *) last, in
 * the current memory context; SPI is connected.
 */
void
loyalty_load_expiry(List *programs)
{
	uint64		n;
	ListCell   *lc;

	foreach(lc, programs)
		((LoyaltyProgram *) lfirst(lc))->points_until = DATEVAL_NOEND;
	n = loyalty_run(&plan_policies, NULL, NULL);
	for (uint64 i = 0; i < n; i++)
		foreach(lc, programs)
		{
			LoyaltyProgram *p = lfirst(lc);
			Datum	   *kinds;
			int			nkinds;
			char	   *lapse = loyalty_spi_text(i, 3);
			bool		isnull;

			if (p->id != DatumGetInt32(loyalty_spi_datum(i, 1, &isnull)))
				continue;
			p->expiry = loyalty_parse_expiry(loyalty_spi_text(i, 2));
			if (lapse != NULL)
				p->lapse = loyalty_parse_expiry(lapse);
			deconstruct_array(DatumGetArrayTypeP(loyalty_spi_datum(i, 4, &isnull)), TEXTOID, -1, false, TYPALIGN_INT,
							  &kinds, NULL, &nkinds);
			for (int k = 0; k < nkinds; k++)
				p->lapse_activities |= 1 << activity_of(TextDatumGetCString(kinds[k]));
			p->usable_after = DatumGetInt32(loyalty_spi_datum(i, 5, &isnull));
			p->points_until = DatumGetDateADT(loyalty_spi_datum(i, 6, &isnull));
		}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Does an entry of that kind keep the points of a member alive?
 */
bool
loyalty_is_activity(LoyaltyProgram *program, const char *kind)
{
	int			activity = activity_of(kind);

	return activity >= 0 && (program->lapse_activities & (1 << activity)) != 0;
}

/*
 * The last valid day of points that were earned on a day: as the rule says
 * (NULL: none has a say), else the tier, else the programme; never beyond the
 * programme's own end.
 */
DateADT
loyalty_points_expire(LoyaltyProgram *program, LoyaltyTier *tier, LoyaltyRule *rule, DateADT earned_on)
{
	const LoyaltyExpiry *e = rule != NULL && rule->expires ? &rule->expiry :
		tier != NULL && tier->expires ? &tier->expiry : &program->expiry;

	return Min(loyalty_expiry_date(e, earned_on), program->points_until);
}
