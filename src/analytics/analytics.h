/*
 * analytics.h
 *	  Door of the analytics room: what SQL is too slow for.  Its functions are
 *	  called from SQL (src/sql/76_*.sql to 78_*.sql); other rooms need nothing of it.
 */
#ifndef LOYALTY_ANALYTICS_H
#define LOYALTY_ANALYTICS_H

#include "loyalty.h"

/* simplex.c: minimum of a function of a few variables */
#define LOYALTY_SIMPLEX_MAX 4
typedef double (*LoyaltyObjective) (const double *x, void *data);
extern double loyalty_simplex_minimum(LoyaltyObjective f, void *data, int n, double *x, bool *converged);

#endif							/* LOYALTY_ANALYTICS_H */
