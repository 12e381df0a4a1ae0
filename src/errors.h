/*
 * errors.h
 *	  SQLSTATEs of class LY: refusals that are the business's, not the server's.
 */
#ifndef LOYALTY_ERRORS_H
#define LOYALTY_ERRORS_H

#include "utils/elog.h"

/* no programme, source, tier, rule or document of that name */
#define ERRCODE_LOYALTY_UNKNOWN		MAKE_SQLSTATE('L','Y','0','0','1')
/* something of that name exists already */
#define ERRCODE_LOYALTY_DUPLICATE	MAKE_SQLSTATE('L','Y','0','0','2')
/* the state of a document, member or source refuses it */
#define ERRCODE_LOYALTY_STATE		MAKE_SQLSTATE('L','Y','0','0','3')
/* the books change through the engine only */
#define ERRCODE_LOYALTY_GUARD		MAKE_SQLSTATE('L','Y','0','0','4')
/* a document lacks a fact without which it cannot be booked */
#define ERRCODE_LOYALTY_FACT		MAKE_SQLSTATE('L','Y','0','0','5')
/* the points are not there */
#define ERRCODE_LOYALTY_POINTS		MAKE_SQLSTATE('L','Y','0','1','0')
/* a limit of the programme, reward or role refuses it */
#define ERRCODE_LOYALTY_LIMIT		MAKE_SQLSTATE('L','Y','0','1','1')
/* the key was used for another call */
#define ERRCODE_LOYALTY_KEY			MAKE_SQLSTATE('L','Y','0','1','2')

#endif							/* LOYALTY_ERRORS_H */
