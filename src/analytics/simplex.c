/*
 * simplex.c
 *	  Minimum of a function of a few variables without derivatives: the simplex
 *	  method of Nelder and Mead (The Computer Journal 7, 1965), started again
 *	  where it stopped until that brings nothing more.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"

#include "analytics/analytics.h"

#define MAX_STEPS 2000			/* of one run */
#define MAX_RUNS 8
#define TOLERANCE 1e-10			/* relative spread of values in the simplex */

typedef struct Vertex
{
	double		x[LOYALTY_SIMPLEX_MAX];
	double		value;
} Vertex;

static int
compare_vertices(const void *a, const void *b)
{
	double		x = ((const Vertex *) a)->value;
	double		y = ((const Vertex *) b)->value;

	return (x > y) - (x < y);
}

/* whatever cannot be computed is worse than everything that can */
static double
value_at(LoyaltyObjective f, void *data, const double *x)
{
	double		value;

	CHECK_FOR_INTERRUPTS();
	value = f(x, data);
	return isfinite(value) ? value : HUGE_VAL;
}

/* the point at "factor" times the way from the worst vertex to the centre of the others */
static Vertex
on_the_way(LoyaltyObjective f, void *data, int n, const double *centre, const Vertex *worst, double factor)
{
	Vertex		v;

	for (int i = 0; i < n; i++)
		v.x[i] = worst->x[i] + factor * (centre[i] - worst->x[i]);
	v.value = value_at(f, data, v.x);
	return v;
}

/*
 * One run of the method from x with edges of length "edge"; true if it ended by
 * itself.
 */
static bool
run(LoyaltyObjective f, void *data, int n, double edge, Vertex *best)
{
	Vertex		s[LOYALTY_SIMPLEX_MAX + 1];

	for (int k = 0; k <= n; k++)
	{
		s[k] = *best;
		if (k > 0)
			s[k].x[k - 1] += edge;
		s[k].value = value_at(f, data, s[k].x);
	}
	for (int step = 0; step < MAX_STEPS; step++)
	{
		double		centre[LOYALTY_SIMPLEX_MAX] = {0};
		Vertex		v;

		qsort(s, n + 1, sizeof(Vertex), compare_vertices);
		*best = s[0];
		if (s[n].value - s[0].value <= TOLERANCE * (fabs(s[0].value) + TOLERANCE))
			return true;
		for (int i = 0; i < n; i++)
		{
			for (int k = 0; k < n; k++)
				centre[i] += s[k].x[i];
			centre[i] /= n;
		}
		v = on_the_way(f, data, n, centre, &s[n], 2);
		if (v.value < s[0].value)
		{
			Vertex		further = on_the_way(f, data, n, centre, &s[n], 3);

			s[n] = further.value < v.value ? further : v;
			continue;
		}
		if (v.value < s[n - 1].value)
		{
			s[n] = v;
			continue;
		}
		v = on_the_way(f, data, n, centre, &s[n], v.value < s[n].value ? 1.5 : 0.5);
		if (v.value < s[n].value)
		{
			s[n] = v;
			continue;
		}
		for (int k = 1; k <= n; k++)
		{
			for (int i = 0; i < n; i++)
				s[k].x[i] = s[0].x[i] + (s[k].x[i] - s[0].x[i]) / 2;
			s[k].value = value_at(f, data, s[k].x);
		}
	}
	return false;
}

/*
 * The smallest value of f found from x, which becomes its place; n variables.
 * A value that is not finite is one that f does not take there.
 */
double
loyalty_simplex_minimum(LoyaltyObjective f, void *data, int n, double *x, bool *converged)
{
	Vertex		best;
	double		before;

	Assert(n <= LOYALTY_SIMPLEX_MAX);
	memcpy(best.x, x, sizeof(double) * n);
	best.value = value_at(f, data, x);
	*converged = false;
	for (int i = 0; i < MAX_RUNS && !*converged; i++)
	{
		before = best.value;
		if (run(f, data, n, i == 0 ? 1.0 : 0.3, &best))
			*converged = isfinite(best.value) && before - best.value <= 1e-7 * (fabs(best.value) + 1e-7);
	}
	memcpy(x, best.x, sizeof(double) * n);
	return best.value;
}
