/*
 * pending.c
 *	  The documents the running transaction has touched and not evaluated yet.
 *
 * This is a log: each touch appends a record, and so does each evaluation.  A
 * document waits for evaluation if its newest record is a touch.  A rollback
 * to a savepoint cuts the log back to the length it had then, which undoes
 * touches and evaluations alike: what was evaluated inside is due again, with
 * the row as it was captured outside.
 *
 * Records, keys and rows live in an arena of this file's own, because a bulk
 * load makes a million of them and palloc would round each one up.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "utils/memutils.h"

#include "source/source.h"

typedef struct DocumentKey
{
	int32		source_id;
	int32		length;
	char		text[FLEXIBLE_ARRAY_MEMBER];
} DocumentKey;

typedef struct LogRecord
{
	DocumentKey *key;
	MinimalTuple row;
	MinimalTuple old;
	DocumentKey *was;			/* the document's key before it was renamed, or NULL */
	uint32		map_id;
	int32		previous;		/* older record of the document, -1 for none */
	bool		touched;		/* false: evaluated */
	bool		again;			/* evaluated, but to be looked at once more at the end */
	bool		fresh;
	bool		line_only;
	bool		moved;			/* renamed: it has another key now */
} LogRecord;

/* where the log stood when a subtransaction first wrote to it */
typedef struct LogMark
{
	int			level;
	int			length;
} LogMark;

typedef struct NewestEntry
{
	DocumentKey *key;
	uint32		hash;
	int32		newest;			/* newest record, -1 if all were cut off */
	char		status;
} NewestEntry;

static inline uint32
hash_of(const DocumentKey *key)
{
	return hash_combine(hash_bytes((const unsigned char *) key->text, key->length), (uint32) key->source_id);
}

#define SH_PREFIX newest
#define SH_ELEMENT_TYPE NewestEntry
#define SH_KEY_TYPE DocumentKey *
#define SH_KEY key
#define SH_HASH_KEY(tb, k) hash_of(k)
#define SH_EQUAL(tb, a, b) \
	((a)->source_id == (b)->source_id && (a)->length == (b)->length && \
	 memcmp((a)->text, (b)->text, (a)->length) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, e) (e)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* most transactions touch one document, some a million: blocks grow */
#define FIRST_RECORDS 8
#define ARENA_FIRST 1024
#define ARENA_BLOCK (64 * 1024)

static MemoryContext context = NULL;
static newest_hash *newest = NULL;
static LogRecord *records = NULL;
static int	nrecords = 0;
static int	records_size = 0;
static int	ntouched = 0;
static int	nagain = 0;			/* records marked so, newest of their document or not */
static LogMark *marks = NULL;
static int	nmarks = 0;
static int	marks_size = 0;
static char *arena = NULL;
static Size arena_block = ARENA_FIRST;
static Size arena_left = 0;

static void *
arena_copy(const void *data, Size size)
{
	Size		aligned = MAXALIGN(size);
	char	   *copy;

	if (aligned > arena_block / 2)
		copy = MemoryContextAlloc(context, aligned);
	else
	{
		if (aligned > arena_left)
		{
			arena = MemoryContextAlloc(context, arena_block);
			arena_left = arena_block;
			arena_block = Min(arena_block * 2, ARENA_BLOCK);
		}
		copy = arena;
		arena += aligned;
		arena_left -= aligned;
	}
	memcpy(copy, data, size);
	return copy;
}

/*
 * Memory can run out in a subtransaction, and the log goes on after it: here
 * and below nothing is noted before it is there.
 */
static void
start(void)
{
	MemoryContext made = AllocSetContextCreate(TopTransactionContext, "loyalty touched documents",
											   ALLOCSET_DEFAULT_SIZES);

	newest = newest_create(made, FIRST_RECORDS, NULL);
	records_size = FIRST_RECORDS;
	records = MemoryContextAlloc(made, records_size * sizeof(LogRecord));
	marks_size = 8;
	marks = MemoryContextAlloc(made, marks_size * sizeof(LogMark));
	context = made;
}

/*
 * The transaction is over, or nothing of the log is needed any more.
 */
void
loyalty_forget_touched(void)
{
	/* memory goes with TopTransactionContext; here only the pointers */
	context = NULL;
	newest = NULL;
	records = NULL;
	marks = NULL;
	arena = NULL;
	arena_block = ARENA_FIRST;
	arena_left = 0;
	nrecords = ntouched = nagain = nmarks = 0;
}

static void
append(NewestEntry *entry, MinimalTuple row, MinimalTuple old, uint32 map_id, bool touched, bool fresh,
	   bool line_only)
{
	int			level = GetCurrentTransactionNestLevel();
	LogRecord  *record;
	bool		was = entry->newest >= 0 && records[entry->newest].touched;

	if (level > 1 && (nmarks == 0 || marks[nmarks - 1].level < level))
	{
		if (nmarks == marks_size)
		{
			marks = repalloc(marks, 2 * marks_size * sizeof(LogMark));
			marks_size *= 2;
		}
		marks[nmarks].level = level;
		marks[nmarks++].length = nrecords;
	}
	if (nrecords == records_size)
	{
		if (records_size > PG_INT32_MAX / 2)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("too many documents in one transaction")));
		records = repalloc_huge(records, 2 * records_size * sizeof(LogRecord));
		records_size *= 2;
	}
	record = &records[nrecords];
	record->key = entry->key;
	record->row = row;
	record->old = old;
	record->line_only = line_only;
	record->map_id = map_id;
	record->previous = entry->newest;
	record->touched = touched;
	record->again = false;
	record->fresh = fresh;
	record->was = entry->newest >= 0 ? records[entry->newest].was : NULL;
	record->moved = false;
	entry->newest = nrecords++;
	ntouched += (int) touched - (int) was;
}

/*
 * What the log knows of a document, whose entry is made if need be.
 */
static NewestEntry *
entry_of(int32 source_id, const char *key)
{
	int			length = strlen(key);
	Size		size = offsetof(DocumentKey, text) + length + 1;
	union
	{
		DocumentKey key;
		char		space[offsetof(DocumentKey, text) + 256];
	}			local;
	DocumentKey *probe = &local.key;
	NewestEntry *entry;
	uint32		hash;
	bool		found;

	if (length >= 256)
		probe = palloc(size);
	probe->source_id = source_id;
	probe->length = length;
	memcpy(probe->text, key, length + 1);

	hash = hash_of(probe);
	entry = newest_lookup_hash(newest, probe, hash);
	if (entry == NULL)
	{
		DocumentKey *copy = arena_copy(probe, size);

		entry = newest_insert_hash(newest, copy, hash, &found);
		entry->newest = -1;
	}
	if (probe != &local.key)
		pfree(probe);
	return entry;
}

/*
 * A statement touched a document.  row holds its mapped columns if they are
 * at hand, old those of the version before, as map_id laid them out.
 */
void
loyalty_touch(int32 source_id, const char *key, LoyaltyTouchKind kind, MinimalTuple row,
			  MinimalTuple old, uint32 map_id)
{
	LogRecord  *last = NULL;
	bool		fresh;
	NewestEntry *entry;

	if (context == NULL)
		start();
	entry = entry_of(source_id, key);
	if (entry->newest >= 0)
		last = &records[entry->newest];

	/*
	 * A line adds nothing to a document that waits already.  If the header's
	 * row is at hand it stays good: it is ours and cannot have changed since.
	 */
	if (kind == TOUCH_LINE && last != NULL && last->touched)
		return;
	if (kind == TOUCH_INSERT)
		fresh = last == NULL;
	else
		fresh = kind == TOUCH_CHANGE && last != NULL && last->touched && last->fresh;
	/* two rows with one key: whoever reads them will say so */
	if (kind == TOUCH_INSERT && last != NULL && last->touched && last->row != NULL)
		row = NULL;
	if (row != NULL)
		row = arena_copy(row, row->t_len);
	/* the first version the transaction found is the one the books may know */
	if (kind != TOUCH_LINE && last != NULL && (last->touched || last->again) &&
		last->old != NULL && last->map_id == map_id)
		old = last->old;
	else if (old != NULL)
		old = arena_copy(old, old->t_len);
	append(entry, row, old, map_id, true, fresh, kind == TOUCH_LINE);
}

/*
 * A document, touched under both keys, was renamed.
 */
void
loyalty_touch_renamed(int32 source_id, const char *was, const char *key)
{
	NewestEntry *before = entry_of(source_id, was);
	LogRecord  *old = &records[before->newest];
	LogRecord  *new = &records[entry_of(source_id, key)->newest];

	new->was = old->was != NULL ? old->was : old->key;
	new->moved = false;
	old->moved = true;
}

int
loyalty_touched_count(void)
{
	return ntouched;
}

/*
 * Hand out what waits, of one source or (0) of all, and note it as evaluated.  The array is allocated in
 * the current context, keys and rows stay good until the transaction ends.
 */
LoyaltyTouched *
loyalty_take_touched(int32 source_id, int *n)
{
	LoyaltyTouched *result;
	int			upto = nrecords;

	*n = 0;
	if (ntouched == 0)
		return NULL;
	result = MemoryContextAllocHuge(CurrentMemoryContext, ntouched * sizeof(LoyaltyTouched));
	for (int i = 0; i < upto; i++)
	{
		LogRecord  *record = &records[i];
		NewestEntry *entry;
		LoyaltyTouched *t;

		if (!record->touched || (source_id != 0 && record->key->source_id != source_id))
			continue;
		entry = newest_lookup(newest, record->key);
		if (entry->newest != i)
			continue;
		t = &result[(*n)++];
		t->source_id = record->key->source_id;
		t->key = record->key->text;
		t->row = record->row;
		t->old = record->old;
		t->line_only = record->line_only;
		t->map_id = record->map_id;
		t->fresh = record->fresh;
		t->was = record->was == NULL ? NULL : record->was->text;
		t->moved = record->moved;
	}

	/*
	 * At the end of the transaction nobody can roll back to an earlier state
	 * of the log, so it need not be kept; the caller still reads the rows.
	 */
	if (GetCurrentTransactionNestLevel() == 1 && nmarks == 0 && *n == ntouched)
	{
		newest_destroy(newest);
		newest = newest_create(context, FIRST_RECORDS, NULL);
		pfree(records);
		records_size = FIRST_RECORDS;
		records = MemoryContextAlloc(context, records_size * sizeof(LogRecord));
		nrecords = 0;
		ntouched = nagain = 0;
	}
	else
		for (int i = 0; i < upto; i++)
			if (records[i].touched && (source_id == 0 || records[i].key->source_id == source_id))
			{
				NewestEntry *entry = newest_lookup(newest, records[i].key);

				if (entry->newest == i)
					append(entry, NULL, NULL, 0, false, false, false);
			}
	return result;
}

/*
 * Somebody may yet book a version of this document that the transaction has
 * changed, without meeting us at a lock: it was evaluated, but is due once
 * more at the end.
 */
void
loyalty_touch_again(int32 source_id, const char *key, MinimalTuple row, MinimalTuple old, uint32 map_id,
					bool line_only)
{
	NewestEntry *entry = entry_of(source_id, key);

	/* touched meanwhile: it is due anyway */
	if (entry->newest >= 0 && records[entry->newest].touched)
		return;
	append(entry, row, old, map_id, false, false, line_only);
	records[entry->newest].again = true;
	nagain++;
}

/*
 * The transaction ends: what is to be looked at once more is touched.
 */
void
loyalty_recall_touched(void)
{
	int			upto = nrecords;

	if (nagain == 0)
		return;
	for (int i = 0; i < upto; i++)
	{
		LogRecord  *record = &records[i];
		NewestEntry *entry;

		if (!record->again)
			continue;
		entry = newest_lookup(newest, record->key);
		if (entry->newest == i)
			append(entry, record->row, record->old, record->map_id, true, false, record->line_only);
	}
}

/*
 * A subtransaction is rolled back: cut the log.
 */
void
loyalty_touched_subabort(int level)
{
	while (nmarks > 0 && marks[nmarks - 1].level >= level)
	{
		int			length = marks[--nmarks].length;

		while (nrecords > length)
		{
			LogRecord  *record = &records[--nrecords];
			NewestEntry *entry = newest_lookup(newest, record->key);
			bool		now;

			entry->newest = record->previous;
			now = entry->newest >= 0 && records[entry->newest].touched;
			ntouched += (int) now - (int) record->touched;
			nagain -= (int) record->again;
		}
	}
}

/*
 * A subtransaction is released: what it wrote belongs to its parent.
 */
void
loyalty_touched_subcommit(int level)
{
	if (nmarks == 0 || marks[nmarks - 1].level != level)
		return;
	if (level == 2 || (nmarks > 1 && marks[nmarks - 2].level == level - 1))
		nmarks--;
	else
		marks[nmarks - 1].level = level - 1;
}
