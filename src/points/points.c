/*
 * points.c
 *	  Exact arithmetic on points and money.
 *
 * Money is numeric.  A quotient of money is kept as a fraction until the one
 * moment at which the programme says how to round it: 3 x 1/3 is 1.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "points/points.h"

/* numeric(18,2) holds this many hundredths at the most */
#define POINTS_LIMIT INT64CONST(999999999999999999)

#define NUM1(f, a) DatumGetNumeric(DirectFunctionCall1(f, NumericGetDatum(a)))
#define NUM2(f, a, b) DatumGetNumeric(DirectFunctionCall2(f, NumericGetDatum(a), NumericGetDatum(b)))

/* a number that is kept as long as the backend lives */
static Numeric
lasting(Numeric number)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	Numeric		copy = DatumGetNumericCopy(NumericGetDatum(number));

	MemoryContextSwitchTo(old);
	return copy;
}

/* small numbers are asked for all the time; each is made once per backend */
#define SMALL_NUMBERS 101
static Numeric small_numbers[SMALL_NUMBERS];

Numeric
loyalty_num_int(int64 value)
{
	if (value < 0 || value >= SMALL_NUMBERS)
		return int64_to_numeric(value);
	if (small_numbers[value] == NULL)
		small_numbers[value] = lasting(int64_to_numeric(value));
	return small_numbers[value];
}

/* the one and only 0 or 1 of this backend: most sums and products meet it */
static inline bool
is_small(Numeric a, int value)
{
	return a == small_numbers[value];
}

Numeric
loyalty_num_add(Numeric a, Numeric b)
{
	if (is_small(a, 0))
		return b;
	if (is_small(b, 0))
		return a;
	return NUM2(numeric_add, a, b);
}

Numeric
loyalty_num_sub(Numeric a, Numeric b)
{
	if (is_small(b, 0))
		return a;
	return NUM2(numeric_sub, a, b);
}

Numeric
loyalty_num_mul(Numeric a, Numeric b)
{
	if (is_small(a, 1))
		return b;
	if (is_small(b, 1))
		return a;
	return NUM2(numeric_mul, a, b);
}

Numeric
loyalty_num_neg(Numeric a)
{
	return NUM1(numeric_uminus, a);
}

Numeric
loyalty_num_abs(Numeric a)
{
	return NUM1(numeric_abs, a);
}

/* without trailing zeros, so that 10.0 and 10 are written alike */
Numeric
loyalty_num_trim(Numeric a)
{
	return NUM1(numeric_trim_scale, a);
}

int
loyalty_num_cmp(Numeric a, Numeric b)
{
	if (a == b)
		return 0;
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a), NumericGetDatum(b)));
}

int
loyalty_num_sign(Numeric a)
{
	return loyalty_num_cmp(a, loyalty_num_int(0));
}

char *
loyalty_num_text(Numeric a)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(a)));
}

Numeric
loyalty_num_copy(Numeric a)
{
	return a == NULL ? NULL : DatumGetNumericCopy(NumericGetDatum(a));
}

/*
 * A number that may be calculated with: NaN and Infinity are refused before
 * they reach any comparison (NaN is greater than every limit and equal to
 * itself, so no CHECK would stop it).
 */
Numeric
loyalty_num_checked(Numeric a, const char *what)
{
	if (a != NULL && (numeric_is_nan(a) || numeric_is_inf(a)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is not a finite number", what)));
	return a;
}

LoyaltyRational
loyalty_rational(Numeric num, Numeric den)
{
	LoyaltyRational r;

	Assert(loyalty_num_sign(den) > 0);
	r.num = num;
	r.den = den;
	return r;
}

LoyaltyRational
loyalty_rational_int(int64 value)
{
	return loyalty_rational(loyalty_num_int(value), loyalty_num_int(1));
}

/* common denominators are what usually meets: lines of one rule */
static LoyaltyRational
combine(LoyaltyRational a, LoyaltyRational b, Numeric (*op) (Numeric, Numeric))
{
	if (loyalty_num_cmp(a.den, b.den) == 0)
		return loyalty_rational(op(a.num, b.num), a.den);
	return loyalty_rational(op(loyalty_num_mul(a.num, b.den), loyalty_num_mul(b.num, a.den)),
							loyalty_num_mul(a.den, b.den));
}

LoyaltyRational
loyalty_rational_add(LoyaltyRational a, LoyaltyRational b)
{
	if (is_small(a.num, 0))
		return b;
	if (is_small(b.num, 0))
		return a;
	return combine(a, b, loyalty_num_add);
}

LoyaltyRational
loyalty_rational_sub(LoyaltyRational a, LoyaltyRational b)
{
	if (is_small(b.num, 0))
		return a;
	return combine(a, b, loyalty_num_sub);
}

int
loyalty_rational_sign(LoyaltyRational a)
{
	return loyalty_num_sign(a.num);
}

/* whole part, towards zero */
LoyaltyRational
loyalty_rational_trunc(LoyaltyRational a)
{
	return loyalty_rational(NUM2(numeric_div_trunc, a.num, a.den), loyalty_num_int(1));
}

/*
 * The value with a number of decimals, for people and for columns that are
 * not booked; exact where the denominator divides.
 */
Numeric
loyalty_rational_numeric(LoyaltyRational a, int scale)
{
	Numeric		quotient = NUM2(numeric_div, a.num, a.den);

	return loyalty_num_trim(DatumGetNumeric(DirectFunctionCall2(numeric_round,
																NumericGetDatum(quotient),
																Int32GetDatum(scale))));
}

/*
 * As numeric[] {numerator, denominator} in lowest terms, and back.
 */
Datum
loyalty_rational_datum(LoyaltyRational a)
{
	Datum		parts[2];
	Numeric		gcd = NUM2(numeric_gcd, a.num, a.den);

	if (loyalty_num_sign(gcd) > 0)
	{
		parts[0] = NumericGetDatum(loyalty_num_trim(NUM2(numeric_div_trunc, a.num, gcd)));
		parts[1] = NumericGetDatum(loyalty_num_trim(NUM2(numeric_div_trunc, a.den, gcd)));
	}
	else
	{
		parts[0] = NumericGetDatum(loyalty_num_int(0));
		parts[1] = NumericGetDatum(loyalty_num_int(1));
	}
	return PointerGetDatum(construct_array(parts, 2, NUMERICOID, -1, false, TYPALIGN_INT));
}

LoyaltyRational
loyalty_rational_from_datum(Datum array)
{
	Datum	   *parts;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), NUMERICOID, -1, false, TYPALIGN_INT, &parts, NULL, &n);
	if (n != 2)
		elog(ERROR, "a fraction has %d parts", n);
	return loyalty_rational(DatumGetNumericCopy(parts[0]), DatumGetNumericCopy(parts[1]));
}

static void
points_out_of_range(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("points out of range"),
			 errdetail("A number of points has at most 16 digits before the decimal point.")));
}

/* the limit as a number, made once */
static Numeric
points_limit(void)
{
	static Numeric limit = NULL;

	if (limit == NULL)
		limit = lasting(int64_to_numeric(POINTS_LIMIT));
	return limit;
}

/*
 * Round a fraction of points to multiples of unit (in hundredths).
 *
 * Down is towards zero, so that a sale and its full return cancel out; with
 * toward_floor it is towards minus infinity, which is what a running total
 * needs.
 */
Points
loyalty_points_round(LoyaltyRational value, int unit, LoyaltyRounding rounding, bool toward_floor)
{
	bool		divides = 100 % unit == 0;	/* as a programme's point_unit does */
	Numeric		num = loyalty_num_mul(value.num, loyalty_num_int(divides ? 100 / unit : 100));
	Numeric		den = divides ? value.den : loyalty_num_mul(value.den, loyalty_num_int(unit));
	Numeric		quotient = NUM2(numeric_div_trunc, num, den);
	int64		units;
	Numeric		rest;
	int			sign;
	Points		result;

	if (loyalty_num_cmp(loyalty_num_abs(quotient), points_limit()) > 0)
		points_out_of_range();
	units = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(quotient)));
	/* what was cut off matters to all but the plainest way of rounding */
	rest = rounding == ROUND_DOWN && !toward_floor ? loyalty_num_int(0) :
		loyalty_num_sub(num, loyalty_num_mul(quotient, den));
	sign = loyalty_num_sign(rest);
	if (sign != 0)
	{
		bool		away = false;
		int			half;

		switch (rounding)
		{
			case ROUND_DOWN:
				away = toward_floor && sign < 0;
				break;
			case ROUND_UP:
				away = !(toward_floor && sign < 0);
				break;
			case ROUND_HALF_UP:
			case ROUND_HALF_EVEN:
				half = loyalty_num_cmp(loyalty_num_mul(loyalty_num_abs(rest), loyalty_num_int(2)), den);
				if (half != 0)
					away = half > 0;
				else if (rounding == ROUND_HALF_EVEN)
					away = units % 2 != 0;
				else
					away = !(toward_floor && sign < 0);
				break;
		}
		if (away)
			units += sign;
	}
	if (units > POINTS_LIMIT / unit || units < -POINTS_LIMIT / unit)
		points_out_of_range();
	result = units * unit;
	return result;
}

/*
 * Points from a column of type numeric(18,2).
 */
Points
loyalty_points_from_numeric(Numeric value)
{
	Numeric		hundredths;

	if (loyalty_num_sign(value) == 0)
		return 0;				/* most debts, and most of what is held */
	(void) loyalty_num_checked(value, "number of points");
	hundredths = loyalty_num_mul(value, loyalty_num_int(100));
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(hundredths)));
}

Points
loyalty_points_from_datum(Datum value)
{
	return loyalty_points_from_numeric(DatumGetNumeric(value));
}

/*
 * Points for a column of type numeric(18,2), whose limit nobody else checks.
 */
Numeric
loyalty_points_numeric(Points points)
{
	static Numeric zero = NULL; /* half of all columns have it */

	if (points > POINTS_LIMIT || points < -POINTS_LIMIT)
		points_out_of_range();
	if (points != 0)
		return int64_div_fast_to_numeric(points, 2);
	if (zero == NULL)
		zero = lasting(int64_div_fast_to_numeric(0, 2));
	return zero;
}
