/*
 * lifetime.c
 *	  Who is still a customer, how often he will buy, and for how much.
 *
 * BG/NBD (Fader, Hardie, Lee: "Counting Your Customers" the Easy Way,
 * Marketing Science 24, 2005): a customer buys at a rate drawn from a gamma
 * distribution (r, alpha) and leaves after each purchase with a probability
 * drawn from a beta distribution (a, b).  What is known of him are x repeat
 * purchases, the time t_x of the last one and the time T he has been observed,
 * both from the first purchase on, in one unit of time.
 *
 * Gamma-gamma (Fader, Hardie: The Gamma-Gamma Model of Monetary Value, 2013):
 * values of purchases are gamma distributed with shape p around a mean whose
 * spread between customers is gamma distributed as well (q, gamma).
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "analytics/analytics.h"

PG_FUNCTION_INFO_V1(loyalty_bgnbd_log_likelihood);
PG_FUNCTION_INFO_V1(loyalty_bgnbd_fit);
PG_FUNCTION_INFO_V1(loyalty_bgnbd_alive);
PG_FUNCTION_INFO_V1(loyalty_bgnbd_expected);
PG_FUNCTION_INFO_V1(loyalty_gamma_gamma_log_likelihood);
PG_FUNCTION_INFO_V1(loyalty_gamma_gamma_fit);
PG_FUNCTION_INFO_V1(loyalty_gamma_gamma_expected);

/* parameters further from 1 than this are no estimates any more */
#define MAX_LOG_PARAMETER 18.0

/* customers, equal ones together: each column an array of n */
typedef struct Sample
{
	int			n;
	double	   *column[4];		/* BG/NBD: x, t_x, T, weight; gamma-gamma: x, mean, weight */
} Sample;

static void
refuse(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", what)));
}

static double
positive_arg(FunctionCallInfo fcinfo, int i)
{
	double		v = PG_GETARG_FLOAT8(i);

	if (!isfinite(v) || v <= 0)
		refuse("parameters of a model must be finite and greater than 0");
	return v;
}

/*
 * Arrays of equal length from the arguments that begin with "first".
 */
static Sample
sample_args(FunctionCallInfo fcinfo, int first, int columns)
{
	Sample		s = {0};

	for (int c = 0; c < columns; c++)
	{
		ArrayType  *array = PG_GETARG_ARRAYTYPE_P(first + c);
		int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

		if (array_contains_nulls(array))
			refuse("a sample cannot contain NULL");
		if (c > 0 && n != s.n)
			refuse("the arrays of a sample must have the same length");
		s.n = n;
		s.column[c] = (double *) ARR_DATA_PTR(array);
	}
	return s;
}

static void
check_history(double x, double t_x, double T)
{
	if (!isfinite(x) || !isfinite(t_x) || !isfinite(T) || x < 0 || t_x < 0 || T < t_x)
		refuse("a purchase history must be finite, with x >= 0 and 0 <= t_x <= T");
}

/* ln(exp(u) + exp(v)) */
static double
log_sum(double u, double v)
{
	double		m = Max(u, v);

	return m + log1p(exp(Min(u, v) - m));
}

/*
 * Equation 6 of the paper, summed over the sample.
 */
static double
bgnbd_log_likelihood(double r, double alpha, double a, double b, const Sample *s)
{
	double		sum = 0;
	double		c = r * log(alpha) - lgamma(r) + lgamma(a + b) - lgamma(b);
	double		last_x = -1;
	double		of_x = 0;

	for (int i = 0; i < s->n; i++)
	{
		double		x = s->column[0][i];
		double		gone = -(r + x) * log(alpha + s->column[2][i]);

		/* equal x follow each other in a sorted sample */
		if (x != last_x)
		{
			of_x = lgamma(r + x) + lgamma(b + x) - lgamma(a + b + x);
			last_x = x;
		}
		if (x > 0)
			gone = log_sum(gone, log(a) - log(b + x - 1) - (r + x) * log(alpha + s->column[1][i]));
		sum += s->column[3][i] * (c + of_x + gone);
	}
	return sum;
}

static double
bgnbd_objective(const double *logs, void *data)
{
	for (int i = 0; i < 4; i++)
		if (fabs(logs[i]) > MAX_LOG_PARAMETER)
			return HUGE_VAL;
	return -bgnbd_log_likelihood(exp(logs[0]), exp(logs[1]), exp(logs[2]), exp(logs[3]), data);
}

/*
 * Equation 9 of Fader and Hardie's note on it, summed over the sample: x
 * purchases of mean value z.
 */
static double
gamma_gamma_log_likelihood(double p, double q, double gamma, const Sample *s)
{
	double		sum = 0;
	double		c = q * log(gamma) - lgamma(q);

	for (int i = 0; i < s->n; i++)
	{
		double		x = s->column[0][i];
		double		z = s->column[1][i];

		sum += s->column[2][i] *
			(c + lgamma(p * x + q) - lgamma(p * x) + (p * x - 1) * log(z) + p * x * log(x)
			 - (p * x + q) * log(gamma + x * z));
	}
	return sum;
}

static double
gamma_gamma_objective(const double *logs, void *data)
{
	for (int i = 0; i < 3; i++)
		if (fabs(logs[i]) > MAX_LOG_PARAMETER)
			return HUGE_VAL;
	return -gamma_gamma_log_likelihood(exp(logs[0]), exp(logs[1]), exp(logs[2]), data);
}

/*
 * Fit from several places and keep the best; the values returned are NULL where
 * there is nothing to fit.
 */
static Datum
fit(FunctionCallInfo fcinfo, LoyaltyObjective f, Sample *s, int n, double starts[][LOYALTY_SIMPLEX_MAX], int nstarts)
{
	TupleDesc	desc;
	Datum		values[LOYALTY_SIMPLEX_MAX + 2];
	bool		nulls[LOYALTY_SIMPLEX_MAX + 2];
	double		best[LOYALTY_SIMPLEX_MAX];
	double		least = HUGE_VAL;
	bool		converged = false;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (int k = 0; k < nstarts && s->n > 0; k++)
	{
		bool		ended;
		double		value = loyalty_simplex_minimum(f, s, n, starts[k], &ended);

		if (value < least)
		{
			least = value;
			converged = ended;
			memcpy(best, starts[k], sizeof(best));
		}
	}
	memset(nulls, !isfinite(least), sizeof(nulls));
	for (int i = 0; i < n && isfinite(least); i++)
		values[i] = Float8GetDatum(exp(best[i]));
	if (isfinite(least))
		values[n] = Float8GetDatum(-least);
	values[n + 1] = BoolGetDatum(converged);
	nulls[n + 1] = false;
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/*
 * bgnbd_log_likelihood(r, alpha, a, b, x[], t_x[], t[], weight[]) -> float8
 */
Datum
loyalty_bgnbd_log_likelihood(PG_FUNCTION_ARGS)
{
	Sample		s = sample_args(fcinfo, 4, 4);

	for (int i = 0; i < s.n; i++)
		check_history(s.column[0][i], s.column[1][i], s.column[2][i]);
	PG_RETURN_FLOAT8(bgnbd_log_likelihood(positive_arg(fcinfo, 0), positive_arg(fcinfo, 1),
										  positive_arg(fcinfo, 2), positive_arg(fcinfo, 3), &s));
}

/*
 * bgnbd_fit(x[], t_x[], t[], weight[]) -> (r, alpha, a, b, log_likelihood,
 * converged)
 */
Datum
loyalty_bgnbd_fit(PG_FUNCTION_ARGS)
{
	Sample		s = sample_args(fcinfo, 0, 4);
	double		weight = 0;
	double		time = 0;
	double		starts[3][LOYALTY_SIMPLEX_MAX] = {{0, 0, 0, 0}, {-1, 0, -1, 1}, {0.5, 0, -2, 0}};

	for (int i = 0; i < s.n; i++)
	{
		check_history(s.column[0][i], s.column[1][i], s.column[2][i]);
		weight += s.column[3][i];
		time += s.column[3][i] * s.column[2][i];
	}
	/* alpha is a time: begin at the scale of the sample's */
	for (int k = 0; k < lengthof(starts) && time > 0; k++)
		starts[k][1] = log(time / weight / 4);
	return fit(fcinfo, bgnbd_objective, &s, 4, starts, lengthof(starts));
}

/* (a / (b + x - 1)) ((alpha + T) / (alpha + t_x))^(r + x): the odds that he has left */
static double
odds_of_leaving(double r, double alpha, double a, double b, double x, double t_x, double T)
{
	if (x == 0)
		return 0;
	return exp(log(a) - log(b + x - 1) + (r + x) * (log(alpha + T) - log(alpha + t_x)));
}

/*
 * bgnbd_alive(r, alpha, a, b, x, t_x, t) -> float8: the probability that he is
 * still a customer
 */
Datum
loyalty_bgnbd_alive(PG_FUNCTION_ARGS)
{
	double		x = PG_GETARG_FLOAT8(4);
	double		t_x = PG_GETARG_FLOAT8(5);
	double		T = PG_GETARG_FLOAT8(6);

	check_history(x, t_x, T);
	PG_RETURN_FLOAT8(1 / (1 + odds_of_leaving(positive_arg(fcinfo, 0), positive_arg(fcinfo, 1),
											  positive_arg(fcinfo, 2), positive_arg(fcinfo, 3), x, t_x, T)));
}

/*
 * The logarithm of w^e times Gauss's hypergeometric function F(a, b; c; z) by
 * its series, |z| < 1, in *sign the sign; false if the series does not get
 * anywhere.
 */
static bool
log_hypergeometric(double a, double b, double c, double z, double w, double e, double *result, int *sign)
{
	double		term = 1;
	double		sum = 1;
	double		scale = 0;

	for (int n = 0; n < 100000; n++)
	{
		term *= (a + n) * (b + n) / ((c + n) * (n + 1)) * z;
		sum += term;
		if (fabs(term) <= 1e-16 * fabs(sum))
		{
			*result = log(fabs(sum)) + scale + e * log(w);
			*sign = sum < 0 ? -1 : 1;
			return isfinite(*result);
		}
		if (fabs(sum) > 1e200)
		{
			term *= 1e-200;
			sum *= 1e-200;
			scale += 200 * M_LN10;
		}
	}
	return false;
}

/*
 * bgnbd_expected(r, alpha, a, b, x, t_x, t, time) -> float8: purchases to be
 * expected in the time ahead; NULL if it cannot be computed
 *
 * Equation 10 of the paper.  Euler's transformation of the hypergeometric
 * function takes x out of its first two arguments, so that few terms are needed
 * for customers with many purchases; where r is large its terms would cancel
 * each other, and the function is taken as it stands.  What comes out is
 * compared with what a customer who never left would buy.
 */
Datum
loyalty_bgnbd_expected(PG_FUNCTION_ARGS)
{
	double		r = positive_arg(fcinfo, 0);
	double		alpha = positive_arg(fcinfo, 1);
	double		a = positive_arg(fcinfo, 2);
	double		b = positive_arg(fcinfo, 3);
	double		x = PG_GETARG_FLOAT8(4);
	double		t_x = PG_GETARG_FLOAT8(5);
	double		T = PG_GETARG_FLOAT8(6);
	double		time = PG_GETARG_FLOAT8(7);
	double		z;
	double		w;
	double		c;
	double		logarithm;
	int			sign;
	bool		found;
	double		most;
	double		expected;

	check_history(x, t_x, T);
	if (!isfinite(time) || time < 0)
		refuse("the time ahead must be finite and not negative");
	/* the limits at a = 1 and c = 0 are approached, not reached */
	if (fabs(a - 1) < 1e-6)
		a = 1 + 1e-6;
	c = a + b + x - 1;
	if (fabs(c) < 1e-9)
		c = 1e-9;
	w = (alpha + T) / (alpha + T + time);
	z = time / (alpha + T + time);
	if (c - r - x > -5)
		found = log_hypergeometric(c - r - x, a - 1, c, z, w, a - 1, &logarithm, &sign);
	else
		found = log_hypergeometric(r + x, b + x, c, z, w, r + x, &logarithm, &sign);
	if (!found)
		PG_RETURN_NULL();
	expected = c / (a - 1) * (1 - sign * exp(logarithm)) / (1 + odds_of_leaving(r, alpha, a, b, x, t_x, T));
	most = (r + x) / (alpha + T) * time;
	if (!(expected >= -1e-6 * most && expected <= most * (1 + 1e-6)))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(Max(expected, 0));
}

static void
check_values(const Sample *s)
{
	for (int i = 0; i < s->n; i++)
		if (!isfinite(s->column[0][i]) || !isfinite(s->column[1][i]) || s->column[0][i] <= 0 || s->column[1][i] <= 0)
			refuse("values must be finite and greater than 0");
}

/*
 * gamma_gamma_log_likelihood(p, q, gamma, x[], mean[], weight[]) -> float8
 */
Datum
loyalty_gamma_gamma_log_likelihood(PG_FUNCTION_ARGS)
{
	Sample		s = sample_args(fcinfo, 3, 3);

	check_values(&s);
	PG_RETURN_FLOAT8(gamma_gamma_log_likelihood(positive_arg(fcinfo, 0), positive_arg(fcinfo, 1),
												positive_arg(fcinfo, 2), &s));
}

/*
 * gamma_gamma_fit(x[], mean[], weight[]) -> (p, q, gamma, log_likelihood,
 * converged)
 */
Datum
loyalty_gamma_gamma_fit(PG_FUNCTION_ARGS)
{
	Sample		s = sample_args(fcinfo, 0, 3);
	double		weight = 0;
	double		mean = 0;
	double		starts[2][LOYALTY_SIMPLEX_MAX] = {{1, 1, 0, 0}, {0, 2, 0, 0}};

	check_values(&s);
	for (int i = 0; i < s.n; i++)
	{
		weight += s.column[2][i];
		mean += s.column[2][i] * s.column[1][i];
	}
	/* gamma is money: begin at the scale of the sample's */
	for (int k = 0; k < lengthof(starts) && weight > 0; k++)
		starts[k][2] = log(mean / weight);
	return fit(fcinfo, gamma_gamma_objective, &s, 3, starts, lengthof(starts));
}

/*
 * gamma_gamma_expected(p, q, gamma, x, mean) -> float8: the mean value of a
 * customer's purchases to come; NULL if it has none (p x + q <= 1)
 */
Datum
loyalty_gamma_gamma_expected(PG_FUNCTION_ARGS)
{
	double		p = positive_arg(fcinfo, 0);
	double		q = positive_arg(fcinfo, 1);
	double		gamma = positive_arg(fcinfo, 2);
	double		x = PG_GETARG_FLOAT8(3);
	double		mean = PG_GETARG_FLOAT8(4);
	double		expected;

	if (!isfinite(x) || !isfinite(mean) || x < 0 || mean < 0)
		refuse("values must be finite and not negative");
	if (p * x + q <= 1)
		PG_RETURN_NULL();
	expected = p * (gamma + x * mean) / (p * x + q - 1);
	if (!isfinite(expected))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(expected);
}
