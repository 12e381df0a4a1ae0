/*
 * upkeep.h
 *	  Writing down what is true because time has passed.
 */
#ifndef LOYALTY_UPKEEP_H
#define LOYALTY_UPKEEP_H

#include "ledger/ledger.h"

/* expire.c */
extern int64 loyalty_write_expiry(LoyaltyMember **members, int n, TimestampTz as_of);
extern void loyalty_check_instant(TimestampTz as_of);

#endif							/* LOYALTY_UPKEEP_H */
