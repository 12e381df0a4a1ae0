/*
 * setting.c
 *	  What a programme tells its members: loyalty.message_setting as the
 *	  backend knows it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "outbox/outbox.h"

static const char *const names[LOYALTY_NMESSAGES] = {
	"earned", "reversed", "expiring", "expired", "tier_up", "tier_down", "tier_at_risk", "voucher_issued",
	"voucher_ending", "hold_released", "inactive", "milestone"
};

static LoyaltyPlan plan_settings = {
	.sql = "SELECT s.program_id, s.kind, s.is_enabled, s.notify, s.max_attempts, s.milestones"
	" FROM loyalty.message_setting s ORDER BY s.program_id, s.kind"
};

/*
 * Number of a kind of message; -1 for none of that name.
 */
int
loyalty_message_kind(const char *name)
{
	for (int i = 0; i < LOYALTY_NMESSAGES; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

/*
 * The name of a kind of message.
 */
const char *
loyalty_message_name(LoyaltyMessageKind kind)
{
	return names[kind];
}

static void
take_milestones(LoyaltyTelling *t, Datum array)
{
	Datum	   *elements;

	deconstruct_array(DatumGetArrayTypeP(array), NUMERICOID, -1, false, TYPALIGN_INT,
					  &elements, NULL, &t->nmilestones);
	t->milestones = palloc(sizeof(Points) * Max(t->nmilestones, 1));
	for (int i = 0; i < t->nmilestones; i++)
		t->milestones[i] = loyalty_points_from_datum(elements[i]);
}

static LoyaltyTelling *
new_telling(void)
{
	LoyaltyTelling *t = palloc0(sizeof(LoyaltyTelling));

	for (int i = 0; i < LOYALTY_NMESSAGES; i++)
	{
		t->notify[i] = true;
		t->max_attempts[i] = LOYALTY_MAX_ATTEMPTS;
	}
	return t;
}

/*
 * Add to every programme what it tells, in the current memory context; SPI is
 * connected.
 */
void
loyalty_load_tellings(List *programs)
{
	uint64		n = loyalty_run(&plan_settings, NULL, NULL);

	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		int32		id = DatumGetInt32(loyalty_spi_datum(i, 1, &isnull));
		int			kind = loyalty_message_kind(loyalty_spi_text(i, 2));
		Datum		milestones = loyalty_spi_datum(i, 6, &isnull);
		ListCell   *lc;

		foreach(lc, programs)
		{
			LoyaltyProgram *p = lfirst(lc);
			bool		none;

			if (p->id != id || kind < 0)
				continue;
			if (p->telling == NULL)
				p->telling = new_telling();
			p->telling->kinds[kind] = DatumGetBool(loyalty_spi_datum(i, 3, &none));
			p->telling->notify[kind] = DatumGetBool(loyalty_spi_datum(i, 4, &none));
			p->telling->max_attempts[kind] = DatumGetInt32(loyalty_spi_datum(i, 5, &none));
			if (!isnull)
				take_milestones(p->telling, milestones);
		}
	}
}

/*
 * Has the programme switched that kind of message on?
 */
bool
loyalty_tells(LoyaltyProgram *program, LoyaltyMessageKind kind)
{
	return program->telling != NULL && program->telling->kinds[kind];
}
