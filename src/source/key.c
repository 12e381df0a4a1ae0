/*
 * key.c
 *	  Keys of documents and customers as text, and back.
 *
 * A key of several columns is written like a record: (a,b).  Its text must not
 * depend on anybody's settings, so days and instants are written as ISO 8601
 * has them, here as well as by the SQL of a mapping (which runs with pinned
 * settings).  An instant with a time zone has no such text; it is refused.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "config.h"
#include "loyalty.h"
#include "points/points.h"
#include "source/source.h"

/*
 * Is this a type whose text depends on settings, other than in a key?
 */
bool
loyalty_key_is_dated(Oid type)
{
	return type == DATEOID || type == TIMESTAMPOID;
}

/*
 * A day as text, whatever the session's DateStyle.
 */
char *
loyalty_date_text(DateADT date)
{
	return JsonEncodeDateTime(NULL, DateADTGetDatum(date), DATEOID, NULL);
}

/* an instant: as jsonb has it, but for the T in it, which SQL writes as a blank */
static char *
timestamp_text(Timestamp at)
{
	char	   *text = JsonEncodeDateTime(NULL, TimestampGetDatum(at), TIMESTAMPOID, NULL);
	char	   *t = strchr(text, 'T');

	if (t != NULL)
		*t = ' ';
	return text;
}

/*
 * Text of a column of a key, which is of a dated type or text.
 */
char *
loyalty_key_part(Datum value, Oid type)
{
	switch (type)
	{
		case DATEOID:
			return loyalty_date_text(DatumGetDateADT(value));
		case TIMESTAMPOID:
			return timestamp_text(DatumGetTimestamp(value));
		default:
			return TextDatumGetCString(value);
	}
}

/*
 * Key text of one or several columns: the text itself, or a record literal.
 * NULL if any column is: a number that is not given yet, a guest, no link.
 */
char *
loyalty_compose_key(char **parts, int nparts)
{
	StringInfoData buf;

	for (int i = 0; i < nparts; i++)
		if (parts[i] == NULL)
			return NULL;
	if (nparts == 1)
		return parts[0];
	initStringInfo(&buf);
	for (int i = 0; i < nparts; i++)
	{
		appendStringInfoChar(&buf, i == 0 ? '(' : ',');
		if (parts[i][0] == '\0' || strpbrk(parts[i], "\"\\(), \t\n\r\v\f") != NULL)
		{
			appendStringInfoChar(&buf, '"');
			for (char *c = parts[i]; *c; c++)
			{
				if (*c == '"' || *c == '\\')
					appendStringInfoChar(&buf, *c);
				appendStringInfoChar(&buf, *c);
			}
			appendStringInfoChar(&buf, '"');
		}
		else
			appendStringInfoString(&buf, parts[i]);
	}
	appendStringInfoChar(&buf, ')');
	return buf.data;
}

/*
 * The other way round.  An error if the text has another number of columns.
 */
void
loyalty_decompose_key(const char *key, char **parts, int nparts)
{
	const char *c = key;

	if (nparts == 1)
	{
		parts[0] = pstrdup(key);
		return;
	}
	for (int i = 0; i < nparts; i++)
	{
		StringInfoData buf;
		bool		quoted = false;
		bool		seen = false;

		if (*c != (i == 0 ? '(' : ','))
			break;
		c++;
		initStringInfo(&buf);
		while (*c && (quoted || (*c != ',' && *c != ')')))
		{
			seen = true;
			if (*c == '\\' && c[1])
				appendStringInfoChar(&buf, *++c);
			else if (*c == '"' && quoted && c[1] == '"')
				appendStringInfoChar(&buf, *++c);
			else if (*c == '"')
				quoted = !quoted;
			else
				appendStringInfoChar(&buf, *c);
			c++;
		}
		parts[i] = seen ? buf.data : NULL;
		if (i == nparts - 1 && c[0] == ')' && c[1] == '\0')
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("key \"%s\" does not have %d columns", key, nparts),
			 errhint("A composite key is written like a record: (a,b).")));
}

/*
 * A key that somebody wrote must be one the key's type can read; what it gives
 * back is that key as the engine writes it (07 is 7).
 */
char *
loyalty_canonical_key(LoyaltySource *source, const char *key)
{
	LoyaltyExpression *e;
	LoyaltyIdentity save;
	char	   *parts[LOYALTY_MAX_KEY];
	int			nest;

	loyalty_become_reader(loyalty_source_owner(source), &save);
	nest = loyalty_pin_settings(source->search_path, source->program->time_zone);
	e = loyalty_compile_item(source, ITEM_KEY, loyalty_config()->context);
	loyalty_resume(&save);

	loyalty_decompose_key(key, parts, e->nparts);
	for (int i = 0; i < e->nparts; i++)
	{
		Oid			input;
		Oid			output;
		Oid			param;
		bool		varlena;
		Datum		value;

		if (parts[i] == NULL)
			continue;
		getTypeInputInfo(e->types[i], &input, &param);
		getTypeOutputInfo(e->types[i], &output, &varlena);
		value = OidInputFunctionCall(input, parts[i], param, -1);
		if (e->types[i] == NUMERICOID)
			value = NumericGetDatum(loyalty_num_trim(DatumGetNumeric(value)));
		parts[i] = OidOutputFunctionCall(output, value);
		/* as text, its blanks are gone */
		if (e->types[i] == BPCHAROID)
			parts[i][bpchartruelen(parts[i], strlen(parts[i]))] = '\0';
	}
	loyalty_unpin_settings(nest);
	return loyalty_compose_key(parts, e->nparts);
}

/* is it written like a number? */
static bool
is_number(const char *s, size_t length)
{
	size_t		i = length > 0 && s[0] == '-' ? 1 : 0;
	size_t		digits = strspn(s + i, "0123456789");

	if (digits == 0)
		return false;
	i += digits;
	if (i < length && s[i] == '.')
		i += 1 + strspn(s + i + 1, "0123456789");
	return i == length;
}

static int
compare_bytes(const char *a, size_t la, const char *b, size_t lb)
{
	int			c = memcmp(a, b, Min(la, lb));

	return c != 0 ? c : (la > lb) - (la < lb);
}

/*
 * Two numbers, of any length, by value.
 */
static int
compare_numbers(const char *a, size_t la, const char *b, size_t lb)
{
	bool		negative = a[0] == '-';
	size_t		da;
	size_t		db;
	int			c;

	if (negative != (b[0] == '-'))
		return negative ? -1 : 1;
	for (a += negative, la -= negative; la > 1 && *a == '0'; la--)
		a++;
	for (b += negative, lb -= negative; lb > 1 && *b == '0'; lb--)
		b++;
	da = strspn(a, "0123456789");
	db = strspn(b, "0123456789");
	c = da != db ? (da > db) - (da < db) : compare_bytes(a, la, b, lb);
	return negative ? -c : c;
}

/* numbers before everything else */
static int
compare_parts(const char *a, size_t la, const char *b, size_t lb)
{
	bool		number = is_number(a, la);

	if (number != is_number(b, lb))
		return number ? -1 : 1;
	return number ? compare_numbers(a, la, b, lb) : compare_bytes(a, la, b, lb);
}

static bool
is_composite(const char *key, size_t length)
{
	return length >= 2 && key[0] == '(' && key[length - 1] == ')';
}

/* length of the next column of a composite key */
static size_t
column_length(const char *c)
{
	bool		quoted = false;
	size_t		i;

	for (i = 0; c[i] != '\0' && (quoted || (c[i] != ',' && (c[i] != ')' || c[i + 1] != '\0'))); i++)
	{
		if (c[i] == '\\' && c[i + 1] != '\0')
			i++;
		else if (c[i] == '"')
			quoted = !quoted;
	}
	return i;
}

/*
 * Order of keys: numbers by value (9 before 10), then composite keys column by
 * column, then everything else as bytes, so that it is the same in every
 * database.
 */
int
loyalty_compare_keys(const char *a, const char *b)
{
	size_t		la = strlen(a);
	size_t		lb = strlen(b);
	bool		composite = is_composite(a, la);
	int			c = 0;

	if (composite && is_composite(b, lb))
	{
		const char *x = a + 1;
		const char *y = b + 1;

		for (;;)
		{
			size_t		lx = column_length(x);
			size_t		ly = column_length(y);

			c = compare_parts(x, lx, y, ly);
			x += lx;
			y += ly;
			if (c != 0 || *x != ',' || *y != ',')
				break;
			x++;
			y++;
		}
	}
	else if (composite && !is_number(b, lb))
		c = -1;
	else if (is_composite(b, lb) && !is_number(a, la))
		c = 1;
	else
		c = compare_parts(a, la, b, lb);
	return c != 0 ? c : strcmp(a, b);
}
