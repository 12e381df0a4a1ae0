/*
 * window.c
 *	  Windows in which purchases count for tiers, and the figures of them.
 */
#include "postgres.h"

#include "utils/datetime.h"

#include "member/record.h"

static DateADT
first_of_year(DateADT date)
{
	return loyalty_start_of_period(PERIOD_YEAR, date);
}

/* first day of the year of membership that a day is in */
static DateADT
first_of_membership(LoyaltyRecord *r, DateADT date)
{
	int			year,
				joined,
				month,
				day;
	DateADT		first;

	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	j2date(r->joined_on + POSTGRES_EPOCH_JDATE, &joined, &month, &day);
	first = loyalty_add_months(r->joined_on, 12 * (year - joined));
	return first > date ? loyalty_add_months(r->joined_on, 12 * (year - joined - 1)) : first;
}

/*
 * First day of the year after the one that a day is in, of the window's kind.
 */
DateADT
loyalty_next_year(LoyaltyRecord *r, LoyaltyWindow window, DateADT date)
{
	int			year,
				joined,
				month,
				day;

	if (window == WINDOW_CALENDAR_YEAR)
		return loyalty_add_months(first_of_year(date), 12);
	/* from the day of enrolment, or 29 February would be lost */
	j2date(first_of_membership(r, date) + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	j2date(r->joined_on + POSTGRES_EPOCH_JDATE, &joined, &month, &day);
	return loyalty_add_months(r->joined_on, 12 * (year - joined + 1));
}

/*
 * The last day before the window in which a day is.
 */
DateADT
loyalty_window_before(LoyaltyRecord *r, LoyaltyMeasure *measure, DateADT day)
{
	if (day == DATEVAL_NOBEGIN)
		return day;
	switch (measure->window)
	{
		case WINDOW_ROLLING:
			return loyalty_add_months(day, -measure->months);
		case WINDOW_CALENDAR_YEAR:
			return first_of_year(day) - 1;
		case WINDOW_MEMBERSHIP_YEAR:
			return first_of_membership(r, day) - 1;
		default:
			return DATEVAL_NOBEGIN;
	}
}

/*
 * Number of purchases up to and including a day.
 */
int
loyalty_purchases_through(LoyaltyRecord *r, DateADT day)
{
	int			low = 0;
	int			high = r->n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (r->purchases[middle].date <= day)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* what was bought after that day */
Numeric
loyalty_record_figure_after(LoyaltyRecord *r, LoyaltyMetric metric, DateADT before)
{
	int			low = loyalty_purchases_through(r, before);

	if (r->n == low)
		return loyalty_num_int(0);
	if (low == 0)
		return r->purchases[r->n - 1].sum[metric];
	return loyalty_num_sub(r->purchases[r->n - 1].sum[metric], r->purchases[low - 1].sum[metric]);
}

/*
 * The figure of a window as of a day, of what is known.
 */
Numeric
loyalty_record_figure(LoyaltyRecord *r, LoyaltyMeasure *measure, DateADT day)
{
	return loyalty_record_figure_after(r, measure->metric, loyalty_window_before(r, measure, day));
}
