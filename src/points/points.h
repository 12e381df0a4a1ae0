/*
 * points.h
 *	  Exact arithmetic: points in hundredths, money as numeric, and fractions
 *	  of both, so that nothing is rounded but once and on purpose.
 */
#ifndef LOYALTY_POINTS_H
#define LOYALTY_POINTS_H

#include "loyalty.h"

typedef enum LoyaltyRounding
{
	ROUND_DOWN,
	ROUND_UP,
	ROUND_HALF_UP,
	ROUND_HALF_EVEN
} LoyaltyRounding;

/* num / den, den > 0; num NULL stands for zero */
typedef struct LoyaltyRational
{
	Numeric		num;
	Numeric		den;
} LoyaltyRational;

extern Numeric loyalty_num_int(int64 value);
extern Numeric loyalty_num_add(Numeric a, Numeric b);
extern Numeric loyalty_num_sub(Numeric a, Numeric b);
extern Numeric loyalty_num_mul(Numeric a, Numeric b);
extern Numeric loyalty_num_neg(Numeric a);
extern Numeric loyalty_num_abs(Numeric a);
extern Numeric loyalty_num_trim(Numeric a);
extern int	loyalty_num_cmp(Numeric a, Numeric b);
extern int	loyalty_num_sign(Numeric a);
extern char *loyalty_num_text(Numeric a);
extern Numeric loyalty_num_copy(Numeric a);
extern Numeric loyalty_num_checked(Numeric a, const char *what);

extern LoyaltyRational loyalty_rational(Numeric num, Numeric den);
extern LoyaltyRational loyalty_rational_int(int64 value);
extern LoyaltyRational loyalty_rational_add(LoyaltyRational a, LoyaltyRational b);
extern LoyaltyRational loyalty_rational_sub(LoyaltyRational a, LoyaltyRational b);
extern int	loyalty_rational_sign(LoyaltyRational a);
extern LoyaltyRational loyalty_rational_trunc(LoyaltyRational a);
extern Numeric loyalty_rational_numeric(LoyaltyRational a, int scale);
extern Datum loyalty_rational_datum(LoyaltyRational a);
extern LoyaltyRational loyalty_rational_from_datum(Datum array);

extern Points loyalty_points_round(LoyaltyRational value, int unit, LoyaltyRounding rounding, bool toward_floor);
extern Points loyalty_points_from_numeric(Numeric value);
extern Points loyalty_points_from_datum(Datum value);
extern Numeric loyalty_points_numeric(Points points);
#define PointsGetDatum(p) NumericGetDatum(loyalty_points_numeric(p))

#endif							/* LOYALTY_POINTS_H */
