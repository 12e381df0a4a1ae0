/*
 * pairs.c
 *	  Which products are bought together: counts of pairs over the baskets of a
 *	  programme.
 *
 * Baskets become arrays of product numbers.  Product by product, the baskets
 * that contain it are walked through a list of postings, and the other
 * products in them are counted in one array: every pair of every basket costs
 * one increment, and memory grows with the lines, not with the pairs.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "analytics/analytics.h"
#include "points/points.h"

PG_FUNCTION_INFO_V1(loyalty_product_pairs);

#define FETCH_BASKETS 1000

typedef struct Product
{
	char	   *name;
	int			number;
	int64		baskets;		/* that contain it */
	char		status;			/* of simplehash */
} Product;

#define SH_PREFIX product
#define SH_ELEMENT_TYPE Product
#define SH_KEY_TYPE char *
#define SH_KEY name
#define SH_HASH_KEY(tb, key) hash_bytes((const unsigned char *) (key), strlen(key))
#define SH_EQUAL(tb, a, b) (strcmp(a, b) == 0)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct Baskets
{
	MemoryContext context;		/* of everything below */
	product_hash *products;
	int		   *items;			/* product numbers of all baskets, one after the other */
	int64		nitems;
	int64		max_items;
	int64	   *starts;			/* where each basket begins in items, and where the last one ends */
	int64		nbaskets;
	int64		max_baskets;
} Baskets;

static int
compare_ints(const void *a, const void *b)
{
	int			x = *(const int *) a;
	int			y = *(const int *) b;

	return (x > y) - (x < y);
}

static void *
grown(void *array, size_t size)
{
	return repalloc_huge(array, size);
}

static int
product_number(Baskets *b, const char *name, int len)
{
	char	   *key = pnstrdup(name, len);
	bool		found;
	Product    *p = product_insert(b->products, key, &found);

	if (!found)
	{
		p->name = MemoryContextStrdup(b->context, key);
		p->number = b->products->members - 1;
		p->baskets = 0;
	}
	pfree(key);
	return p->number;
}

/*
 * Add the products of a document's lines as a basket, each once; not if they
 * are more than cap.
 */
static void
add_basket(Baskets *b, Jsonb *lines, int cap)
{
	int64		start = b->nitems;
	int64		end = start;
	int			n;

	if (!JB_ROOT_IS_ARRAY(lines))
		return;
	n = JB_ROOT_COUNT(lines);
	if (b->nitems + n > b->max_items)
	{
		b->max_items = Max(b->max_items * 2, b->nitems + n);
		b->items = grown(b->items, sizeof(int) * b->max_items);
	}
	for (int i = 0; i < n; i++)
	{
		JsonbValue *line = getIthJsonbValueFromContainer(&lines->root, i);
		JsonbValue	product;
		JsonbValue	amount;

		if (line == NULL || line->type != jbvBinary ||
			getKeyJsonValueFromContainer(line->val.binary.data, "product", 7, &product) == NULL ||
			product.type != jbvString)
			continue;
		/* a discount that names a product is no purchase of it */
		if (getKeyJsonValueFromContainer(line->val.binary.data, "amount", 6, &amount) != NULL &&
			amount.type == jbvNumeric && loyalty_num_sign(amount.val.numeric) < 0)
			continue;
		b->items[end++] = product_number(b, product.val.string.val, product.val.string.len);
	}
	qsort(b->items + start, end - start, sizeof(int), compare_ints);
	n = 0;
	for (int64 i = start; i < end; i++)
		if (i == start || b->items[i] != b->items[i - 1])
			n++;
	if (n == 0 || n > cap)
		return;
	b->nitems = start;
	for (int64 i = start; i < end; i++)
		if (i == start || b->items[i] != b->items[i - 1])
			b->items[b->nitems++] = b->items[i];
	if (b->nbaskets + 1 >= b->max_baskets)
	{
		b->max_baskets *= 2;
		b->starts = grown(b->starts, sizeof(int64) * b->max_baskets);
	}
	b->starts[++b->nbaskets] = b->nitems;
}

/*
 * Read the sales of a programme through a cursor.
 */
static void
read_baskets(Baskets *b, Datum *args, int cap)
{
	Oid			types[3] = {INT4OID, DATEOID, DATEOID};
	MemoryContext old;
	MemoryContext row;
	Portal		cursor;

	row = AllocSetContextCreate(CurrentMemoryContext, "loyalty basket", ALLOCSET_DEFAULT_SIZES);
	cursor = SPI_cursor_open_with_args("loyalty_baskets",
									   "SELECT d.lines FROM loyalty.document d WHERE d.source_id = ANY (ARRAY("
									   "SELECT s.source_id FROM loyalty.source s WHERE s.program_id = $1))"
									   " AND d.kind = 'sale' AND d.state <> 'withdrawn' AND d.lines IS NOT NULL"
									   " AND d.doc_date >= $2 AND d.doc_date <= $3",
									   3, types, args, NULL, true, 0);
	for (;;)
	{
		SPI_cursor_fetch(cursor, true, FETCH_BASKETS);
		if (SPI_processed == 0)
			break;
		old = MemoryContextSwitchTo(row);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		isnull;
			Datum		lines = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

			CHECK_FOR_INTERRUPTS();
			add_basket(b, DatumGetJsonbP(lines), cap);
			MemoryContextReset(row);
		}
		MemoryContextSwitchTo(old);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(cursor);
	MemoryContextDelete(row);
}

/*
 * Write the pairs of product a, both ways.
 */
static void
write_pairs(ReturnSetInfo *rsinfo, Baskets *b, Product **products, int a, int *others, int nothers,
			int *together, int min_baskets)
{
	for (int i = 0; i < nothers; i++)
	{
		Product    *p = products[a];
		Product    *q = products[others[i]];
		int			n = together[others[i]];

		together[others[i]] = 0;
		if (n < min_baskets)
			continue;
		for (int way = 0; way < 2; way++)
		{
			Datum		values[6];
			bool		nulls[6] = {false};
			Product    *swap = p;

			values[0] = CStringGetTextDatum(p->name);
			values[1] = CStringGetTextDatum(q->name);
			values[2] = Int64GetDatum(p->baskets);
			values[3] = Int64GetDatum(q->baskets);
			values[4] = Int64GetDatum(n);
			values[5] = Int64GetDatum(b->nbaskets);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
			p = q;
			q = swap;
		}
	}
}

static void
count_pairs(ReturnSetInfo *rsinfo, Baskets *b, int min_baskets)
{
	int			n = b->products->members;
	Product   **products = palloc0(sizeof(Product *) * Max(n, 1));
	int64	   *first = palloc0(sizeof(int64) * (n + 1));
	int		   *postings = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int) * Max(b->nitems, 1));
	int64	   *fill = palloc0(sizeof(int64) * (n + 1));
	int		   *together = palloc0(sizeof(int) * Max(n, 1));
	int		   *others = palloc(sizeof(int) * Max(n, 1));
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "loyalty pairs", ALLOCSET_DEFAULT_SIZES);
	product_iterator it;
	Product    *p;

	product_start_iterate(b->products, &it);
	while ((p = product_iterate(b->products, &it)) != NULL)
		products[p->number] = p;

	/* postings: for each product the baskets that contain it */
	for (int64 i = 0; i < b->nitems; i++)
		products[b->items[i]]->baskets++;
	for (int i = 0; i < n; i++)
		first[i + 1] = fill[i + 1] = first[i] + products[i]->baskets;
	for (int64 k = 0; k < b->nbaskets; k++)
		for (int64 i = b->starts[k]; i < b->starts[k + 1]; i++)
			postings[fill[b->items[i]]++] = (int) k;

	for (int a = 0; a < n; a++)
	{
		MemoryContext old;
		int			nothers = 0;

		CHECK_FOR_INTERRUPTS();
		if (products[a]->baskets < min_baskets)
			continue;
		for (int64 i = first[a]; i < first[a + 1]; i++)
		{
			int64		k = postings[i];

			/* items are in ascending order: those behind a make a pair with it */
			for (int64 j = b->starts[k + 1] - 1; b->items[j] > a; j--)
			{
				if (products[b->items[j]]->baskets < min_baskets)
					continue;
				if (together[b->items[j]]++ == 0)
					others[nothers++] = b->items[j];
			}
		}
		old = MemoryContextSwitchTo(row);
		write_pairs(rsinfo, b, products, a, others, nothers, together, min_baskets);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row);
	}
}

/*
 * product_pairs(program_id integer, since date, until date, min_baskets
 * integer, max_products integer) -> setof (product, other, product_baskets,
 * other_baskets, both_baskets, baskets)
 *
 * Both ways of every pair that at least min_baskets sales contain.  Sales with
 * more than max_products products are left out altogether.
 */
Datum
loyalty_product_pairs(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext work;
	MemoryContext old;
	Baskets		b;
	Datum		args[3];

	InitMaterializedSRF(fcinfo, 0);
	if (PG_GETARG_INT32(3) < 1 || PG_GETARG_INT32(4) < 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("min_baskets must be at least 1 and max_products at least 2")));
	for (int i = 0; i < 3; i++)
		args[i] = PG_GETARG_DATUM(i);

	loyalty_connect();
	work = AllocSetContextCreate(CurrentMemoryContext, "loyalty baskets", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(work);
	memset(&b, 0, sizeof(b));
	b.context = work;
	b.products = product_create(work, 1024, NULL);
	b.max_items = 65536;
	b.items = palloc(sizeof(int) * b.max_items);
	b.max_baskets = 8192;
	b.starts = palloc0(sizeof(int64) * b.max_baskets);
	read_baskets(&b, args, PG_GETARG_INT32(4));
	MemoryContextSwitchTo(work);
	count_pairs(rsinfo, &b, PG_GETARG_INT32(3));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
	SPI_finish();
	return (Datum) 0;
}
