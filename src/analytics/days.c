/*
 * days.c
 *	  All members of a programme at once: what they bought per day, and the sums
 *	  of it per member, per day, per cohort and month.
 *
 * Documents come in the order of members and days, so that each sum but those
 * of days and cohorts is complete when the next member comes.  It is the first
 * refresh, and a rebuild; later ones read few members, by SQL.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/memutils.h"

#include "analytics/analytics.h"
#include "ledger/ledger.h"
#include "points/points.h"

PG_FUNCTION_INFO_V1(loyalty_fill_days);

#define FETCH_DOCUMENTS 1000
#define WRITE_ROWS 4096

/* what a document is, as sale_documents() says it */
typedef enum Kind
{
	KIND_SALE = 1,
	KIND_REVERSED,
	KIND_RETURN,
	NKINDS
} Kind;

typedef struct DaySum
{
	DateADT		day;
	int64		n[NKINDS];
	Numeric		gross;			/* NULL for nothing, as all sums here */
	Numeric		returned;
	int64		active;			/* members with a sale that counts */
	int64		buyers;			/* members whose first such sale it was */
	char		status;			/* of simplehash */
} DaySum;

#define SH_PREFIX day
#define SH_ELEMENT_TYPE DaySum
#define SH_KEY_TYPE DateADT
#define SH_KEY day
#define SH_HASH_KEY(tb, key) murmurhash32((uint32) (key))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* months are counted from the year 0 */
typedef struct CohortSum
{
	int64		key;			/* month of the first sale, month in question */
	int64		members;
	int64		sales;
	Numeric		net;
	char		status;
} CohortSum;

#define SH_PREFIX cohort
#define SH_ELEMENT_TYPE CohortSum
#define SH_KEY_TYPE int64
#define SH_KEY key
#define SH_HASH_KEY(tb, key) murmurhash32((uint32) ((key) ^ ((key) >> 25)))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct MonthSum
{
	int			month;
	int64		sales;
	Numeric		net;
} MonthSum;

typedef struct Fill
{
	int32		program_id;
	MemoryContext context;		/* of the sums over members */
	MemoryContext member_context;
	MemoryContext rows;			/* rows not yet written, and the day at hand */
	int			nrows;
	day_hash   *days;
	cohort_hash *cohorts;

	/* the member at hand */
	int64		member_id;		/* 0 before the first */
	int64		n[NKINDS];
	Numeric		gross;
	Numeric		returned;
	int64		purchase_days;
	DateADT		first_sale;		/* DATEVAL_NOBEGIN for none */
	DateADT		last_sale;
	DateADT		last_return;
	MonthSum   *months;
	int			nmonths;
	int			max_months;

	/* the day at hand */
	DateADT		day;			/* DATEVAL_NOBEGIN before the first */
	int64		day_n[NKINDS];
	Numeric		day_gross;
	Numeric		day_returned;
} Fill;

static int
month_of(DateADT day)
{
	int			year,
				month,
				mday;

	j2date(day + POSTGRES_EPOCH_JDATE, &year, &month, &mday);
	return year * 12 + month - 1;
}

static Datum
first_of_month(int month)
{
	return DateADTGetDatum(date2j(month / 12, month % 12 + 1, 1) - POSTGRES_EPOCH_JDATE);
}

/*
 * Add a number to a sum that lives in a context.
 */
static void
add(MemoryContext context, Numeric *sum, Numeric number)
{
	MemoryContext old;
	Numeric		was = *sum;

	if (number == NULL)
		return;
	old = MemoryContextSwitchTo(context);
	if (was == NULL)
		*sum = loyalty_num_copy(number);
	else
	{
		*sum = DatumGetNumeric(DirectFunctionCall2(numeric_add, NumericGetDatum(was), NumericGetDatum(number)));
		pfree(was);
	}
	MemoryContextSwitchTo(old);
}

static Datum
sum_datum(Numeric sum)
{
	return NumericGetDatum(sum != NULL ? sum : loyalty_num_int(0));
}

static Datum
date_datum(DateADT day, bool *isnull)
{
	*isnull = DATE_IS_NOBEGIN(day);
	return DateADTGetDatum(day);
}

/*
 * Collect a row in the context of rows.
 */
static void
store(Fill *f, LoyaltyTable table, Datum *values, bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(f->rows);

	loyalty_store_row(table, values, nulls);
	MemoryContextSwitchTo(old);
	f->nrows++;
}

static void
write_rows(Fill *f)
{
	loyalty_store_flush();
	loyalty_store_reset();		/* the buffers go with the context */
	MemoryContextReset(f->rows);
	f->nrows = 0;
}

/*
 * A document of the day at hand.
 */
static void
add_document(Fill *f, Kind kind, Numeric gross)
{
	f->day_n[kind]++;
	if (kind != KIND_RETURN)
		add(f->rows, &f->day_gross, gross);
	else
	{
		MemoryContext old = MemoryContextSwitchTo(f->rows);
		Numeric		negated = loyalty_num_neg(gross);

		MemoryContextSwitchTo(old);
		add(f->rows, &f->day_returned, negated);
	}
}

/*
 * The day at hand is over: its row, and what it adds to all sums.
 */
static void
end_day(Fill *f)
{
	bool		nulls[8] = {false};
	Datum		values[8];
	MemoryContext old;
	DaySum	   *sum;
	MonthSum   *month;
	Numeric		net = f->day_gross;
	int			number = month_of(f->day);
	bool		found;

	sum = day_insert(f->days, f->day, &found);
	if (!found)
		memset((char *) sum + offsetof(DaySum, n), 0, offsetof(DaySum, status) - offsetof(DaySum, n));
	if (f->nmonths == 0 || f->months[f->nmonths - 1].month != number)
	{
		if (f->nmonths == f->max_months)
		{
			f->max_months *= 2;
			f->months = repalloc(f->months, sizeof(MonthSum) * f->max_months);
		}
		f->months[f->nmonths++] = (MonthSum) {.month = number};
	}
	month = &f->months[f->nmonths - 1];

	for (int kind = KIND_SALE; kind < NKINDS; kind++)
	{
		f->n[kind] += f->day_n[kind];
		sum->n[kind] += f->day_n[kind];
	}
	add(f->member_context, &f->gross, f->day_gross);
	add(f->member_context, &f->returned, f->day_returned);
	add(f->context, &sum->gross, f->day_gross);
	add(f->context, &sum->returned, f->day_returned);
	if (f->day_returned != NULL)
	{
		old = MemoryContextSwitchTo(f->rows);
		net = net == NULL ? loyalty_num_neg(f->day_returned) : loyalty_num_sub(net, f->day_returned);
		MemoryContextSwitchTo(old);
	}
	month->sales += f->day_n[KIND_SALE];
	add(f->member_context, &month->net, net);
	if (f->day_n[KIND_SALE] > 0)
	{
		sum->active++;
		f->purchase_days++;
		if (DATE_IS_NOBEGIN(f->first_sale))
			f->first_sale = f->day;
		f->last_sale = f->day;
	}
	if (f->day_n[KIND_RETURN] > 0)
		f->last_return = f->day;

	values[0] = Int64GetDatum(f->member_id);
	values[1] = DateADTGetDatum(f->day);
	values[2] = Int32GetDatum(f->program_id);
	for (int kind = KIND_SALE; kind < NKINDS; kind++)
		values[2 + kind] = Int32GetDatum((int32) f->day_n[kind]);
	values[6] = sum_datum(f->day_gross);
	values[7] = sum_datum(f->day_returned);
	store(f, TABLE_MEMBER_DAY, values, nulls);

	memset(f->day_n, 0, sizeof(f->day_n));
	f->day_gross = f->day_returned = NULL;
	DATE_NOBEGIN(f->day);
	if (f->nrows >= WRITE_ROWS)
		write_rows(f);
}

/*
 * The member at hand is over: his row, and his cohort, which is known now.
 */
static void
end_member(Fill *f)
{
	bool		nulls[11] = {false};
	Datum		values[11];
	MemoryContext old = MemoryContextSwitchTo(f->rows);

	values[0] = Int64GetDatum(f->member_id);
	values[1] = Int32GetDatum(f->program_id);
	for (int kind = KIND_SALE; kind < NKINDS; kind++)
		values[1 + kind] = Int64GetDatum(f->n[kind]);
	values[5] = NumericGetDatum(loyalty_num_copy(DatumGetNumeric(sum_datum(f->gross))));
	values[6] = NumericGetDatum(loyalty_num_copy(DatumGetNumeric(sum_datum(f->returned))));
	values[7] = Int64GetDatum(f->purchase_days);
	values[8] = date_datum(f->first_sale, &nulls[8]);
	values[9] = date_datum(f->last_sale, &nulls[9]);
	values[10] = date_datum(f->last_return, &nulls[10]);
	MemoryContextSwitchTo(old);
	store(f, TABLE_MEMBER_SUMMARY, values, nulls);

	if (!DATE_IS_NOBEGIN(f->first_sale))
	{
		int64		cohort = month_of(f->first_sale);

		day_lookup(f->days, f->first_sale)->buyers++;
		for (int i = 0; i < f->nmonths; i++)
		{
			MonthSum   *month = &f->months[i];
			bool		found;
			CohortSum  *sum = cohort_insert(f->cohorts, cohort << 32 | month->month, &found);

			if (!found)
			{
				sum->members = sum->sales = 0;
				sum->net = NULL;
			}
			if (month->sales > 0)
				sum->members++;
			sum->sales += month->sales;
			add(f->context, &sum->net, month->net);
		}
	}
	MemoryContextReset(f->member_context);
}

static void
begin_member(Fill *f, int64 member_id)
{
	f->member_id = member_id;
	memset(f->n, 0, sizeof(f->n));
	f->gross = f->returned = NULL;
	f->purchase_days = 0;
	DATE_NOBEGIN(f->first_sale);
	DATE_NOBEGIN(f->last_sale);
	DATE_NOBEGIN(f->last_return);
	f->nmonths = 0;
	f->max_months = 16;
	f->months = MemoryContextAlloc(f->member_context, sizeof(MonthSum) * f->max_months);
}

static void
read_documents(Fill *f, Datum *args)
{
	Oid			types[2] = {INT4OID, DATEOID};
	Portal		cursor;

	cursor = SPI_cursor_open_with_args("loyalty_days",
									   "SELECT d.member_id, d.day, d.kind, d.gross FROM loyalty.sale_documents($1, $2, NULL) d"
									   " ORDER BY d.member_id, d.day",
									   2, types, args, NULL, true, 0);
	for (;;)
	{
		SPITupleTable *table;
		uint64		n;

		SPI_cursor_fetch(cursor, true, FETCH_DOCUMENTS);
		/* rows that are written by SQL meanwhile have results of their own */
		table = SPI_tuptable;
		n = SPI_processed;
		if (n == 0)
			break;
		CHECK_FOR_INTERRUPTS();
		for (uint64 i = 0; i < n; i++)
		{
			HeapTuple	tuple = table->vals[i];
			TupleDesc	desc = table->tupdesc;
			bool		isnull;
			int64		member_id = DatumGetInt64(heap_getattr(tuple, 1, desc, &isnull));
			DateADT		day = DatumGetDateADT(heap_getattr(tuple, 2, desc, &isnull));
			Kind		kind = DatumGetInt32(heap_getattr(tuple, 3, desc, &isnull));
			Numeric		gross = DatumGetNumeric(heap_getattr(tuple, 4, desc, &isnull));

			if (f->member_id != 0 && (member_id != f->member_id || day != f->day))
				end_day(f);
			if (member_id != f->member_id)
			{
				if (f->member_id != 0)
					end_member(f);
				begin_member(f, member_id);
			}
			f->day = day;
			add_document(f, kind, gross);
		}
		SPI_freetuptable(table);
	}
	SPI_cursor_close(cursor);
	if (f->member_id != 0)
	{
		end_day(f);
		end_member(f);
	}
	write_rows(f);
}

/*
 * fill_days(program_id integer, as_of date) -> setof (cohort, day, sales,
 * reversed, returns, gross, returned, members, new_buyers)
 *
 * Writes member_day and member_summary; rows without cohort are those of
 * program_day, the others of program_cohort, of which gross is the net amount.
 */
Datum
loyalty_fill_days(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;
	Datum		args[2] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	Fill		f = {.program_id = PG_GETARG_INT32(0)};
	day_iterator days;
	cohort_iterator cohorts;
	DaySum	   *day;
	CohortSum  *cohort;

	InitMaterializedSRF(fcinfo, 0);
	loyalty_connect();
	f.context = AllocSetContextCreate(CurrentMemoryContext, "loyalty days", ALLOCSET_DEFAULT_SIZES);
	f.member_context = AllocSetContextCreate(f.context, "loyalty days of a member", ALLOCSET_DEFAULT_SIZES);
	f.rows = AllocSetContextCreate(f.context, "loyalty days to be written", ALLOCSET_DEFAULT_SIZES);
	f.days = day_create(f.context, 1024, NULL);
	f.cohorts = cohort_create(f.context, 1024, NULL);
	DATE_NOBEGIN(f.day);
	loyalty_store_reset();
	PG_TRY();
	{
		read_documents(&f, args);
	}
	PG_CATCH();
	{
		/* whoever goes on behind a savepoint must not write what is left */
		loyalty_store_reset();
		PG_RE_THROW();
	}
	PG_END_TRY();

	old = MemoryContextSwitchTo(f.context);
	day_start_iterate(f.days, &days);
	while ((day = day_iterate(f.days, &days)) != NULL)
	{
		Datum		values[9] = {0, DateADTGetDatum(day->day), Int64GetDatum(day->n[KIND_SALE]),
			Int64GetDatum(day->n[KIND_REVERSED]), Int64GetDatum(day->n[KIND_RETURN]), sum_datum(day->gross),
		sum_datum(day->returned), Int64GetDatum(day->active), Int64GetDatum(day->buyers)};
		bool		nulls[9] = {true};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	cohort_start_iterate(f.cohorts, &cohorts);
	while ((cohort = cohort_iterate(f.cohorts, &cohorts)) != NULL)
	{
		Datum		values[9] = {first_of_month((int) (cohort->key >> 32)), first_of_month((int) (cohort->key & 0xffffffff)),
			Int64GetDatum(cohort->sales), 0, 0, sum_datum(cohort->net), 0, Int64GetDatum(cohort->members), 0};
		bool		nulls[9] = {false, false, false, true, true, false, true, false, true};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(f.context);
	SPI_finish();
	return (Datum) 0;
}
