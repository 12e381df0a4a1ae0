/*
 * posting.c
 *	  An entry in the making: how it begins, and what is written for it.
 *
 * Whoever books an entry begins it, takes lots in hand and moves points among
 * them (lots.c), and ends it.  Lots that were moved, allocations and the entry
 * are written together, and the member's row knows of them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/date.h"

#include "ledger/ledger.h"
#include "outbox/outbox.h"

static LoyaltyPlan plan_update_lot = {
	.sql = "UPDATE loyalty.stored_lot SET remaining = $5, is_open = $5 <> 0, expired = $6"
	" WHERE member_id = $1 AND is_open = $2 AND expires_on = $3 AND seq = $4",
	.nparams = 6, .types = {INT8OID, BOOLOID, DATEOID, INT8OID, NUMERICOID, NUMERICOID}
};

static LoyaltyPlan plan_store_lots = {
	.sql = "INSERT INTO loyalty.stored_lot (member_id, is_open, expires_on, seq, points, remaining, usable_from)"
	" SELECT e.member_id, true, e.expires_on, e.seq, e.points, e.points, e.usable_from"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS k (member_id, through) CROSS JOIN LATERAL"
	" (SELECT * FROM loyalty.entry x WHERE x.member_id = k.member_id AND x.seq > k.through"
	" AND x.expires_on IS NOT NULL OFFSET 0) e",
	.nparams = 2, .types = {INT8ARRAYOID, INT8ARRAYOID}
};

/*
 * Store the lots of members' entries that have none yet.  Their entries have
 * been flushed.
 */
void
loyalty_store_lots(LoyaltyMember **members, int n)
{
	int64	   *ids = palloc(sizeof(int64) * Max(n, 1));
	int64	   *through = palloc(sizeof(int64) * Max(n, 1));
	Datum		values[2];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		ids[i] = members[i]->id;
		through[i] = members[i]->lots_through;
		members[i]->lots_through = members[i]->last_seq;
		members[i]->dirty = true;
	}
	values[0] = loyalty_int8_array(ids, n);
	values[1] = loyalty_int8_array(through, n);
	(void) loyalty_write(&plan_store_lots, values, NULL);
}

/*
 * Begin an entry of a member: nothing is in hand yet.  Its business time
 * decides which lots are valid.  As it is, the entry can only make a lot; for
 * all else see loyalty_posting_lots().
 */
void
loyalty_posting_begin(LoyaltyPosting *p, LoyaltyMember *member, TimestampTz at)
{
	memset(p, 0, sizeof(LoyaltyPosting));
	p->member = member;
	p->seq = member->last_seq + 1;
	p->at = at;
	p->today = loyalty_program_date(member->program, at);
	if (loyalty_has_lapsed(member, p->today))
		loyalty_posting_lots(p);
}

/*
 * Lots are read from their table: it must know what we know.
 */
void
loyalty_posting_lots(LoyaltyPosting *p)
{
	if (p->stored)
		return;
	loyalty_store_flush();
	if (p->member->lots_through < p->member->last_seq)
		loyalty_store_lots(&p->member, 1);
	p->stored = true;
	if (loyalty_has_lapsed(p->member, p->today))
		loyalty_lapse(p->member);
	else
	{
		loyalty_before_lapse(p->member, p->today);
		p->seq = p->member->last_seq + 1;
	}
}

/*
 * Begin an entry that moves points among lots.
 */
void
loyalty_posting_open(LoyaltyPosting *p, LoyaltyMember *member, TimestampTz at)
{
	loyalty_posting_begin(p, member, at);
	loyalty_posting_lots(p);
}

static void
store_lot(LoyaltyMember *member, LoyaltyLot *lot)
{
	Datum		values[8];
	bool		nulls[8] = {false};

	values[0] = Int64GetDatum(member->id);
	values[1] = BoolGetDatum(lot->remaining != 0);
	values[2] = DateADTGetDatum(lot->expires_on);
	values[3] = Int64GetDatum(lot->seq);
	values[4] = PointsGetDatum(lot->points);
	values[5] = PointsGetDatum(lot->remaining);
	nulls[6] = DATE_IS_NOBEGIN(lot->usable_from);
	values[6] = DateADTGetDatum(lot->usable_from);
	values[7] = PointsGetDatum(0);
	loyalty_store_row(TABLE_LOT, values, nulls);
}

static void
store_allocation(LoyaltyPosting *p, LoyaltyLot *lot, Points points)
{
	Datum		values[4];
	bool		nulls[4] = {false};

	values[0] = Int64GetDatum(p->member->id);
	values[1] = Int64GetDatum(p->seq);
	values[2] = Int64GetDatum(lot->seq);
	values[3] = PointsGetDatum(points);
	loyalty_store_row(TABLE_ALLOCATION, values, nulls);
}

/*
 * Write the lots in hand that the entry moved.  A new one is the entry itself
 * where nothing needs its row yet.
 */
static void
write_lots(LoyaltyPosting *p)
{
	ListCell   *lc;

	foreach(lc, p->lots)
	{
		LoyaltyLot *lot = lfirst(lc);

		if (lot->is_new && p->stored)
			store_lot(p->member, lot);
		else if (lot->moved != 0)
		{
			Datum		values[6];

			values[0] = Int64GetDatum(p->member->id);
			values[1] = BoolGetDatum(lot->remaining - lot->moved - lot->recalled != 0);
			values[2] = DateADTGetDatum(lot->expires_on);
			values[3] = Int64GetDatum(lot->seq);
			values[4] = PointsGetDatum(lot->remaining);
			values[5] = PointsGetDatum(lot->expired);
			if (loyalty_write(&plan_update_lot, values, NULL) != 1)
				elog(ERROR, "lot " INT64_FORMAT " of member " INT64_FORMAT " vanished", lot->seq, p->member->id);
		}
		if (lot->moved != 0)
			store_allocation(p, lot, lot->moved);
	}
}

static void
store_entry(LoyaltyPosting *p, LoyaltyEntry *entry, LoyaltyLot *own, TimestampTz now)
{
	Datum		values[LOYALTY_ENTRY_NATTS];
	bool		nulls[LOYALTY_ENTRY_NATTS] = {false};

	values[0] = Int64GetDatum(p->member->id);
	values[1] = Int64GetDatum(p->seq);
	values[2] = CStringGetTextDatum(entry->kind);
	values[3] = PointsGetDatum(entry->points);
	values[4] = TimestampTzGetDatum(entry->at);
	values[5] = TimestampTzGetDatum(now);
	nulls[6] = own == NULL;
	values[6] = DateADTGetDatum(own == NULL ? 0 : own->expires_on);
	nulls[7] = entry->source_id == 0;
	values[7] = Int32GetDatum(entry->source_id);
	nulls[8] = entry->doc_key == NULL;
	values[8] = entry->doc_key == NULL ? (Datum) 0 : CStringGetTextDatum(entry->doc_key);
	nulls[9] = entry->prev_seq == 0;
	values[9] = Int64GetDatum(entry->prev_seq);
	nulls[10] = entry->key == NULL;
	values[10] = entry->key == NULL ? (Datum) 0 : CStringGetTextDatum(entry->key);
	nulls[11] = own == NULL || DATE_IS_NOBEGIN(own->usable_from);
	values[11] = DateADTGetDatum(own == NULL ? 0 : own->usable_from);
	loyalty_store_row(TABLE_ENTRY, values, nulls);
}

/*
 * The points that the entry recalls have not expired after all, each lot's by
 * an entry of its own that comes before.
 */
static void
store_recalls(LoyaltyPosting *p, TimestampTz now)
{
	ListCell   *lc;

	foreach(lc, p->lots)
	{
		LoyaltyLot *lot = lfirst(lc);
		LoyaltyEntry entry = {0};

		if (lot->recalled == 0)
			continue;
		entry.kind = "expire";
		entry.points = lot->recalled;
		entry.at = Max(p->at, loyalty_program_instant(p->member->program, lot->expires_on + 1));
		store_entry(p, &entry, NULL, now);
		store_allocation(p, lot, lot->recalled);
		p->member->balance += lot->recalled;
		p->seq++;
	}
	if (p->own != NULL)
		p->own->seq = p->seq;
}

/*
 * The entry is complete: collect its rows, count it for the member.
 */
void
loyalty_posting_end(LoyaltyPosting *p, LoyaltyEntry *entry, TimestampTz now)
{
	store_recalls(p, now);
	write_lots(p);
	store_entry(p, entry, p->own, now);
	p->member->last_seq = p->seq;
	if (p->stored)
		p->member->lots_through = p->seq;
	p->member->balance += entry->points;
	p->member->latest = Max(p->member->latest, entry->at);
	p->member->dirty = true;
	loyalty_note_activity(p->member, entry, now);
	loyalty_tell(p, entry, now);
}
