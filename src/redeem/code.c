/*
 * code.c
 *	  Voucher codes: 15 random characters and one that checks them.
 *
 * The alphabet has 31 characters, a prime number of them, and leaves out those
 * that people mistake for each other.  The check is a weighted sum modulo 31,
 * which finds every wrong character and every two that were swapped.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(loyalty_new_code);
PG_FUNCTION_INFO_V1(loyalty_voucher_code);

#define CODE_LENGTH 16

static const char alphabet[] = "23456789ABCDEFGHJKLMNPQRSTVWXYZ";

#define BASE ((int) sizeof(alphabet) - 1)

static char
check_character(const char *code)
{
	int			sum = 0;

	for (int i = 0; i < CODE_LENGTH - 1; i++)
		sum += (i + 1) * (int) (strchr(alphabet, code[i]) - alphabet);
	return alphabet[sum % BASE];
}

/*
 * new_code() -> text: about 74 bits of the server's strong random numbers
 */
Datum
loyalty_new_code(PG_FUNCTION_ARGS)
{
	char		code[CODE_LENGTH + 1];

	for (int i = 0; i < CODE_LENGTH - 1;)
	{
		uint8		byte;

		if (!pg_strong_random(&byte, 1))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		/* the rest of the range would favour some characters */
		if (byte < 256 / BASE * BASE)
			code[i++] = alphabet[byte % BASE];
	}
	code[CODE_LENGTH - 1] = check_character(code);
	code[CODE_LENGTH] = '\0';
	PG_RETURN_TEXT_P(cstring_to_text(code));
}

/*
 * voucher_code(code text) -> text: as it is stored, or NULL if it cannot be a
 * code; letters may be small, hyphens and spaces do not count.
 */
Datum
loyalty_voucher_code(PG_FUNCTION_ARGS)
{
	char	   *given = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char		code[CODE_LENGTH + 1];
	int			n = 0;

	for (char *c = given; *c != '\0'; c++)
	{
		char		upper = pg_toupper((unsigned char) *c);

		if (*c == '-' || *c == ' ')
			continue;
		if (n == CODE_LENGTH || strchr(alphabet, upper) == NULL)
			PG_RETURN_NULL();
		code[n++] = upper;
	}
	code[n] = '\0';
	if (n != CODE_LENGTH || code[CODE_LENGTH - 1] != check_character(code))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(code));
}
