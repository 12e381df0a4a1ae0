/*
 * account.c
 *	  SQL functions on one member: enrolment, number, balance.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#include "config.h"
#include "errors.h"
#include "member/member.h"

PG_FUNCTION_INFO_V1(loyalty_enrol);
PG_FUNCTION_INFO_V1(loyalty_member_id);
PG_FUNCTION_INFO_V1(loyalty_customer_number);

/*
 * Make a member of a customer, or find the member he is.  SPI is connected.
 */
int64
loyalty_enrol_customer(LoyaltyProgram *program, char *customer, DateADT joined)
{
	/* a snapshot that sees an old version of the row must not try to insert it */
	int64		number = loyalty_find_member(program, customer);

	for (int salt = 0; number == 0; salt++)
	{
		LoyaltyMember *m;

		number = loyalty_member_number(program, customer, salt);
		loyalty_enrol_members(&program, &number, &customer, &joined, 1);
		m = loyalty_read_member(number);
		if (m == NULL || m->program->id != program->id || strcmp(m->customer, customer) != 0 ||
			m->left_at != 0)
			number = 0;
	}
	return number;
}

/*
 * enrol(program text, customer text, joined_on date) -> member_id
 */
Datum
loyalty_enrol(PG_FUNCTION_ARGS)
{
	char	   *name = loyalty_required_text(fcinfo, 0, "program");
	char	   *customer = loyalty_required_text(fcinfo, 1, "customer");
	LoyaltyProgram *program;
	LoyaltyIdentity save;
	DateADT		joined;
	int64		id;

	loyalty_config_pin();
	program = loyalty_program_by_name(name);
	joined = PG_ARGISNULL(2) ? loyalty_program_date(program, GetCurrentTransactionStartTimestamp()) :
		PG_GETARG_DATEADT(2);
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	id = loyalty_enrol_customer(program, customer, joined);
	SPI_finish();
	loyalty_resume(&save);
	loyalty_config_unpin();
	PG_RETURN_INT64(id);
}

/* the member that a customer is, or who has his points; 0 for none */
static int64
number_of(FunctionCallInfo fcinfo, bool account)
{
	LoyaltyIdentity save;
	LoyaltyProgram *program;
	int64		id;

	loyalty_config_pin();
	program = loyalty_program_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	loyalty_become(loyalty_owner(), &save);
	loyalty_connect();
	id = loyalty_find_member(program, text_to_cstring(PG_GETARG_TEXT_PP(1)));
	if (account)
		id = loyalty_account_of(id);
	SPI_finish();
	loyalty_resume(&save);
	loyalty_config_unpin();
	return id;
}

/*
 * member_id(program text, customer text) -> bigint, NULL if no member: who has
 * the customer's points
 */
Datum
loyalty_member_id(PG_FUNCTION_ARGS)
{
	int64		id = number_of(fcinfo, true);

	if (id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(id);
}

/*
 * customer_number(program text, customer text) -> bigint, NULL if no member:
 * the customer himself, even if somebody else has his points
 */
Datum
loyalty_customer_number(PG_FUNCTION_ARGS)
{
	int64		id = number_of(fcinfo, false);

	if (id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(id);
}
