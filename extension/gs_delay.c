/*-------------------------------------------------------------------------
 *
 * gs_delay.c
 *	  Games that are over and stay live for a while: the policy archive_delay.
 *
 * The model, all of it in the archiver's process:
 *	1. A game that is over goes to the archive queue, as ever.  When the archiver
 *	   meets it there and it is to stay, it is moved to the list of delayed
 *	   games, so that the queue has only what can be archived now.
 *	2. When each of them is due is remembered here, in a heap.  A game that is
 *	   due goes back to the queue.
 *	3. When policies have changed all go back, and are looked at anew; also when
 *	   memory is short, since games that are over are put away first, and when
 *	   an archiver begins, which knows nothing of what another has remembered.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_delay.h"
#include "gs_rules.h"

#include "common/int.h"
#include "lib/pairingheap.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

typedef struct Delayed
{
	pairingheap_node node;
	TimestampTz due;
	pg_uuid_t id;
} Delayed;

static MemoryContext context = NULL;
static pairingheap *heap = NULL;

/* The earliest is the first. */
static int
compare(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	TimestampTz x = pairingheap_const_container(Delayed, node, a)->due;
	TimestampTz y = pairingheap_const_container(Delayed, node, b)->due;

	return x < y ? 1 : x > y ? -1 : 0;
}

static void
reset(void)
{
	if (context == NULL)
		context = SlabContextCreate(TopMemoryContext, "gamestate delayed games",
									SLAB_DEFAULT_BLOCK_SIZE, sizeof(Delayed));
	if (heap)
		pairingheap_free(heap);
	heap = NULL;
	MemoryContextReset(context);
	heap = pairingheap_allocate(compare, NULL);
}

bool
gs_delay_game(GsDatabase *db, const pg_uuid_t *id, const GsText *game_type,
			  TimestampTz ended_at)
{
	int64 delay = gs_rule(game_type->data, game_type->len)->archive_delay;
	TimestampTz due;
	Delayed *delayed;

	if (delay == 0 || heap == NULL || pg_add_s64_overflow(ended_at, delay, &due) ||
		due <= GetCurrentTimestamp() || gs_rules_pressure(db))
		return false;
	/* first what can fail */
	delayed = MemoryContextAlloc(context, sizeof(Delayed));
	if (!gs_table_delay(db, id))
	{
		pfree(delayed);
		return false;
	}
	delayed->due = due;
	delayed->id = *id;
	pairingheap_add(heap, &delayed->node);
	return true;
}

TimestampTz
gs_delay_release(GsDatabase *db, bool all)
{
	TimestampTz now = GetCurrentTimestamp();

	if (all || heap == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		reset();
		MemoryContextSwitchTo(old);
		gs_table_end_delays(db);
		return 0;
	}
	while (!pairingheap_is_empty(heap))
	{
		Delayed *first = pairingheap_container(Delayed, node, pairingheap_first(heap));

		if (first->due > now)
			return first->due;
		(void) pairingheap_remove_first(heap);
		gs_table_end_delay(db, &first->id);
		pfree(first);
	}
	return 0;
}
