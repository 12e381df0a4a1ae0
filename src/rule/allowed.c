/*
 * allowed.c
 *	  The functions and operators that may stand in a condition.
 *
 * Conditions run within the ERP's own transactions.  So a function is allowed
 * if it is PostgreSQL's own, immutable, and takes time and memory in proportion
 * to its arguments at worst: nothing that repeats, pads, or searches by pattern
 * in a way that can take longer.
 */
#include "postgres.h"

#include "rule/condition.h"

/* by signature, as \df shows it; sorted */
static const char *const allowed_functions[] = {
	"abs(bigint)",
	"abs(double precision)",
	"abs(integer)",
	"abs(numeric)",
	"abs(real)",
	"abs(smallint)",
	"array_length(anyarray,integer)",
	"bit_length(text)",
	"btrim(text)",
	"btrim(text,text)",
	"cardinality(anyarray)",
	"ceil(double precision)",
	"ceil(numeric)",
	"ceiling(double precision)",
	"ceiling(numeric)",
	"char_length(character)",
	"char_length(text)",
	"character_length(character)",
	"character_length(text)",
	"date(timestamp without time zone)",
	"date_part(text,date)",
	"date_part(text,interval)",
	"date_part(text,time without time zone)",
	"date_part(text,timestamp without time zone)",
	"date_trunc(text,timestamp without time zone)",
	"div(numeric,numeric)",
	"extract(text,date)",
	"extract(text,interval)",
	"extract(text,time without time zone)",
	"extract(text,timestamp without time zone)",
	"floor(double precision)",
	"floor(numeric)",
	"isfinite(date)",
	"isfinite(timestamp with time zone)",
	"isfinite(timestamp without time zone)",
	"jsonb_array_length(jsonb)",
	"jsonb_typeof(jsonb)",
	"left(text,integer)",
	"length(character)",
	"length(text)",
	"lower(text)",
	"ltrim(text)",
	"ltrim(text,text)",
	"make_date(integer,integer,integer)",
	"mod(bigint,bigint)",
	"mod(integer,integer)",
	"mod(numeric,numeric)",
	"mod(smallint,smallint)",
	"octet_length(text)",
	"reverse(text)",
	"right(text,integer)",
	"round(double precision)",
	"round(numeric)",
	"round(numeric,integer)",
	"rtrim(text)",
	"rtrim(text,text)",
	"sign(double precision)",
	"sign(numeric)",
	"starts_with(text,text)",
	"substr(text,integer)",
	"substr(text,integer,integer)",
	"substring(text,integer)",
	"substring(text,integer,integer)",
	"timezone(text,timestamp with time zone)",
	"timezone(text,timestamp without time zone)",
	"trunc(double precision)",
	"trunc(numeric)",
	"trunc(numeric,integer)",
	"upper(text)",
};

/* by name, for operands of the usable types */
static const char *const allowed_operators[] = {
	"!~~", "!~~*", "#>", "#>>", "%", "&&", "*", "+", "-", "->", "->>", "/",
	"<", "<=", "<>", "<@", "=", ">", ">=", "?", "?&", "?|", "@>", "^@", "||", "~~", "~~*",
};

static int
compare_names(const void *key, const void *element)
{
	return strcmp(key, *(const char *const *) element);
}

#define LISTED(name, list) \
	(bsearch(name, list, lengthof(list), sizeof(list[0]), compare_names) != NULL)

/* name(type,type), as \df shows it */
bool
loyalty_allowed_function(const char *signature)
{
	return LISTED(signature, allowed_functions);
}

/* is there an allowed function of that name, whatever its arguments? */
bool
loyalty_allowed_function_name(const char *name)
{
	size_t		length = strlen(name);

	for (int i = 0; i < lengthof(allowed_functions); i++)
		if (strncmp(allowed_functions[i], name, length) == 0 && allowed_functions[i][length] == '(')
			return true;
	return false;
}

bool
loyalty_allowed_operator(const char *name)
{
	return LISTED(name, allowed_operators);
}
