/*
 * record.c
 *	  What a member did that counts for tiers: movements in the order in which
 *	  they became known, and the replay over them.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "fact/fact.h"
#include "member/record.h"

typedef struct MoveKey
{
	int32		source_id;
	const char *key;
	int32		root_source_id;
	const char *root_key;
} MoveKey;

typedef struct MoveSlot
{
	MoveKey		id;
	LoyaltyMove *move;
	uint32		hash;
	char		status;
} MoveSlot;

#define SH_PREFIX moves
#define SH_ELEMENT_TYPE MoveSlot
#define SH_KEY_TYPE MoveKey
#define SH_KEY id
#define SH_HASH_KEY(tb, k) \
	hash_combine(hash_bytes((const unsigned char *) (k).key, strlen((k).key)), \
				 hash_combine((uint32) (k).source_id, (uint32) (k).root_source_id))
#define SH_EQUAL(tb, a, b) ((a).source_id == (b).source_id && (a).root_source_id == (b).root_source_id && \
							strcmp((a).key, (b).key) == 0 && strcmp((a).root_key, (b).root_key) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, e) (e)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static LoyaltyMove *
find_move(LoyaltyRecord *r, int32 source_id, const char *key, int32 root_source_id, const char *root_key)
{
	MoveKey		id = {source_id, key, root_source_id, root_key};
	MoveSlot   *slot = moves_lookup(r->index, id);

	return slot == NULL ? NULL : slot->move;
}

/*
 * The purchase that a movement lessens; NULL if it is none that is known.
 */
LoyaltyMove *
loyalty_record_root(LoyaltyRecord *r, LoyaltyMove *move)
{
	return move->root_source_id == 0 ? NULL : find_move(r, move->root_source_id, move->root_key, 0, "");
}

static void
restart(LoyaltyRecord *r)
{
	MemoryContextReset(r->replay);
	r->cursor = r->n = r->size = 0;
	r->purchases = NULL;
	r->changes = NIL;
	r->silent = false;
	for (int i = 0; i < r->nmoves; i++)
		r->moves[i]->purchase = -1;
	memset(&r->now, 0, sizeof(LoyaltyStanding));
	r->now.since = r->now.base = r->joined_on;
	r->now.day = DATEVAL_NOBEGIN;
	r->now.rank = loyalty_record_reached(r, DATEVAL_NOBEGIN, NULL);
	r->now.until = loyalty_record_kept_until(r, r->now.rank, r->now.base);
}

/*
 * A record without movements, in a memory context in which all of it lives.
 */
LoyaltyRecord *
loyalty_record_new(MemoryContext context, LoyaltyProgram *program, DateADT joined_on)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	LoyaltyRecord *r = palloc0(sizeof(LoyaltyRecord));

	r->context = context;
	r->program = program;
	r->policy = &program->tiering;
	r->joined_on = joined_on;
	r->index = moves_create(context, 64, NULL);
	r->replay = AllocSetContextCreate(context, "loyalty tier replay", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(old);
	restart(r);
	return r;
}

/*
 * The programme whose tiers it is about.
 */
LoyaltyProgram *
loyalty_record_program(LoyaltyRecord *r)
{
	return r->program;
}

/* a return becomes known after what it returns */
static int
compare_moves(LoyaltyMove *a, LoyaltyMove *b)
{
	int			c;

	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	if ((a->root_source_id != 0) != (b->root_source_id != 0))
		return a->root_source_id != 0 ? 1 : -1;
	c = loyalty_compare_keys(a->key, b->key);
	if (c != 0)
		return c;
	if (a->source_id != b->source_id)
		return a->source_id < b->source_id ? -1 : 1;
	c = strcmp(a->root_key, b->root_key);
	return c != 0 ? c : (a->root_source_id > b->root_source_id) - (a->root_source_id < b->root_source_id);
}

/* number of moves before one */
static int
place_of(LoyaltyRecord *r, LoyaltyMove *move)
{
	int			low = 0;
	int			high = r->nmoves;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (compare_moves(r->moves[middle], move) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
remove_move(LoyaltyRecord *r, LoyaltyMove *move)
{
	int			i = place_of(r, move);

	Assert(r->moves[i] == move);
	if (i < r->cursor)
		r->cursor = -1;
	memmove(&r->moves[i], &r->moves[i + 1], sizeof(LoyaltyMove *) * (r->nmoves - i - 1));
	r->nmoves--;
}

static void
insert_move(LoyaltyRecord *r, LoyaltyMove *move)
{
	int			i = place_of(r, move);

	if (r->nmoves == r->moves_size)
	{
		r->moves_size = Max(64, r->moves_size * 2);
		r->moves = r->moves == NULL ?
			MemoryContextAllocHuge(r->context, sizeof(LoyaltyMove *) * r->moves_size) :
			repalloc_huge(r->moves, sizeof(LoyaltyMove *) * r->moves_size);
	}
	memmove(&r->moves[i + 1], &r->moves[i], sizeof(LoyaltyMove *) * (r->nmoves - i));
	r->moves[i] = move;
	r->nmoves++;
	if (i < r->cursor)
		r->cursor = -1;
}

static bool
same_move(LoyaltyMove *a, LoyaltyMove *b)
{
	if (a->at != b->at || a->date != b->date || a->is_sale != b->is_sale || a->takes_back != b->takes_back)
		return false;
	for (int m = 0; m < LOYALTY_NMETRICS; m++)
		if (loyalty_num_cmp(a->value[m], b->value[m]) != 0)
			return false;
	return true;
}

static bool
is_nothing(LoyaltyMove *move)
{
	for (int m = 0; m < LOYALTY_NMETRICS; m++)
		if (loyalty_num_sign(move->value[m]) != 0)
			return false;
	return true;
}

/*
 * A movement is there, or has other values than it had.  A return that is
 * dated before what it returns counts from that on.
 */
void
loyalty_record_put(LoyaltyRecord *r, LoyaltyMove *move)
{
	LoyaltyMove *known = find_move(r, move->source_id, move->key, move->root_source_id, move->root_key);
	MoveKey		id;
	MoveSlot   *slot;
	bool		found;
	MemoryContext old;

	if (known != NULL ? same_move(known, move) : is_nothing(move))
		return;
	old = MemoryContextSwitchTo(r->context);
	if (known != NULL)
		remove_move(r, known);
	else
	{
		known = palloc0(sizeof(LoyaltyMove));
		known->source_id = move->source_id;
		known->key = pstrdup(move->key);
		known->root_source_id = move->root_source_id;
		known->root_key = pstrdup(move->root_key);
		id.source_id = known->source_id;
		id.key = known->key;
		id.root_source_id = known->root_source_id;
		id.root_key = known->root_key;
		slot = moves_insert(r->index, id, &found);
		slot->move = known;
	}
	known->at = move->at;
	known->date = move->date;
	known->is_sale = move->is_sale;
	known->takes_back = move->takes_back;
	known->purchase = -1;
	for (int m = 0; m < LOYALTY_NMETRICS; m++)
		known->value[m] = loyalty_num_copy(move->value[m]);
	insert_move(r, known);
	MemoryContextSwitchTo(old);
}

/*
 * Staff has given a tier.
 */
void
loyalty_record_override(LoyaltyRecord *r, LoyaltyOverride *override)
{
	MemoryContext old = MemoryContextSwitchTo(r->context);
	LoyaltyOverride *o = palloc(sizeof(LoyaltyOverride));

	*o = *override;
	r->overrides = lappend(r->overrides, o);
	MemoryContextSwitchTo(old);
}

/*
 * A return that is dated before the sale it returns: let the sale be first.
 * Few are, so they are looked for when the replay meets them.
 */
static bool
too_early(LoyaltyRecord *r, LoyaltyMove *move)
{
	LoyaltyMove *root = loyalty_record_root(r, move);

	if (root == NULL || root->purchase >= 0 || compare_moves(root, move) <= 0)
		return false;
	remove_move(r, move);
	move->at = root->at;
	move->date = root->date;
	insert_move(r, move);
	return true;
}

/*
 * Replay what was known by an instant, and let time pass to its day.
 */
void
loyalty_record_run(LoyaltyRecord *r, TimestampTz to)
{
	if (r->cursor < 0 || (r->cursor > 0 && r->moves[r->cursor - 1]->at > to) ||
		(r->now.day != DATEVAL_NOBEGIN && r->now.day > loyalty_program_date(r->program, to)))
		restart(r);
	while (r->cursor < r->nmoves && r->moves[r->cursor]->at <= to)
	{
		LoyaltyMove *move = r->moves[r->cursor];

		if (too_early(r, move))
			continue;
		r->cursor++;
		CHECK_FOR_INTERRUPTS();
		loyalty_record_take_in(r, move);
	}
	loyalty_record_pass(r, loyalty_program_date(r->program, to));
}

/*
 * Replay what was known just before a movement of that instant and key.
 */
void
loyalty_record_run_before(LoyaltyRecord *r, LoyaltyMove *move)
{
	int			place;

	if (r->cursor > place_of(r, move) || (r->now.day != DATEVAL_NOBEGIN && r->now.day > move->date))
		r->cursor = -1;
	if (r->cursor < 0)
		restart(r);
	while (r->cursor < (place = place_of(r, move)))
	{
		LoyaltyMove *next = r->moves[r->cursor];

		if (too_early(r, next))
			continue;
		r->cursor++;
		CHECK_FOR_INTERRUPTS();
		loyalty_record_take_in(r, next);
	}
	loyalty_record_pass(r, move->date);
}

/*
 * What is earned at the moment to which the replay has run.
 */
LoyaltyStanding *
loyalty_record_standing(LoyaltyRecord *r)
{
	return &r->now;
}
