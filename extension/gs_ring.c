/*-------------------------------------------------------------------------
 *
 * gs_ring.c
 *	  The last request ids of a running game, in shared memory.
 *
 * The model:
 *	1. The log has the request id of each change that was made with one, what
 *	   its arguments come to, and its version, which was the answer.  So
 *	   whatever keeps the log (the journal, a saved game, the archive's
 *	   payload) keeps the requests, and nothing else has to be stored.  But where a
 *	   log is shortened (GS_HISTORY_LAST) they are kept beside it.
 *	2. A log cannot be searched on the path of a move.  So a running game has
 *	   its last gamestate.request_ids of them in a ring as well, which is
 *	   made, here, of the log entries of each change record, whether they come
 *	   from a commit, from the journal or from a saved game.
 *	3. A ring is made with the first request id, since most games have either
 *	   none or many, and grows to its full size, never beyond.
 *	4. The request id of the creation is in the game's header and is never
 *	   pushed out.
 *
 * Locking: as for the game's log (gs_table.h).  Like all of a change record,
 * memory is allocated before the commit point, and nothing fails after it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_database.h"
#include "gs_ring.h"

/* Slots of the first ring. */
#define RING_FIRST 4

static inline bool
same_id(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a, b, UUID_LEN) == 0;
}

bool
gs_ring_find(const pg_uuid_t *game_id, const pg_uuid_t *request, int64 *version,
			 uint32 *arguments)
{
	GsGame *game = gs_table_find(game_id, true);
	bool found = false;

	if (game == NULL)
		return false;
	if (game->h.has_create_request && same_id(&game->h.create_request, request))
	{
		*version = 1;
		*arguments = game->h.create_arguments;
		found = true;
	}
	else if (DsaPointerIsValid(game->ring))
	{
		const GsRing *ring = GS_PTR(game->ring);

		for (uint32 i = 0; i < ring->n && !found; i++)
		{
			if (!same_id(&ring->slots[i].id, request))
				continue;
			*version = ring->slots[i].version;
			*arguments = ring->slots[i].arguments;
			found = true;
		}
	}
	gs_table_release(game);
	return found;
}

/* The first of the new entries that are to be kept, so that at most max of them have a request id. */
static int
first_to_keep(const GsChange *change, uint32 max, uint32 *n)
{
	int i = change->nentries;

	*n = 0;
	while (i > 0 && *n < max)
		if (change->entry_array[--i]->e.request_id)
			(*n)++;
	return i;
}

void
gs_ring_reserve(GsChange *change, uint32 size, uint32 n)
{
	uint32 limit = (uint32) gs_request_ids;
	uint32 new_ids;
	uint32 slots;
	GsRing *ring;

	(void) first_to_keep(change, limit, &new_ids);
	slots = Min(n + new_ids, limit);
	if (new_ids == 0 || slots <= size)
		return;
	slots = Min(Max(Max(slots, 2 * size), RING_FIRST), limit);
	change->new_ring_size =
		gs_alloc_size(offsetof(GsRing, slots) + slots * sizeof(GsAnsweredRequest));
	change->new_ring = gs_alloc(change->db, change->new_ring_size, change->frees);
	ring = GS_PTR(change->new_ring);
	ring->size = slots;
	ring->n = 0;
	ring->next = 0;
}

static void
push(GsRing *ring, const GsAnsweredRequest *slot)
{
	ring->slots[ring->next] = *slot;
	ring->next = (ring->next + 1) % ring->size;
	ring->n = Min(ring->n + 1, ring->size);
}

/* Oldest first. */
static void
push_all(GsRing *ring, const GsRing *old)
{
	uint32 oldest = old->n < old->size ? 0 : old->next;

	for (uint32 i = 0; i < old->n; i++)
		push(ring, &old->slots[(oldest + i) % old->size]);
}

GsAnsweredRequest *
gs_ring_before(const GsGame *game, int64 version, uint32 *n)
{
	const GsRing *ring;
	GsAnsweredRequest *found;
	uint32 oldest;

	*n = 0;
	if (!DsaPointerIsValid(game->ring))
		return NULL;
	ring = GS_PTR(game->ring);
	oldest = ring->n < ring->size ? 0 : ring->next;
	found = palloc(sizeof(GsAnsweredRequest) * Max(ring->n, 1));
	for (uint32 i = 0; i < ring->n; i++)
	{
		const GsAnsweredRequest *slot = &ring->slots[(oldest + i) % ring->size];

		if (slot->version < version)
			found[(*n)++] = *slot;
	}
	return found;
}

dsa_pointer
gs_ring_install(GsChange *change, GsGame *game, Size *old_size)
{
	dsa_pointer garbage = InvalidDsaPointer;
	GsRing *ring;
	uint32 n;

	if (DsaPointerIsValid(change->new_ring))
	{
		garbage = game->ring;
		*old_size = game->ring_size;
		if (DsaPointerIsValid(garbage))
			push_all(GS_PTR(change->new_ring), GS_PTR(garbage));
		game->ring = change->new_ring;
		game->ring_size = change->new_ring_size;
	}
	if (change->nentries == 0 || !DsaPointerIsValid(game->ring))
		return garbage;

	ring = GS_PTR(game->ring);
	for (int i = first_to_keep(change, ring->size, &n); i < change->nentries; i++)
	{
		const GsNewEntry *entry = change->entry_array[i];
		GsAnsweredRequest slot = {.version = entry->version};

		if (entry->e.request_id == NULL)
			continue;
		memcpy(slot.id.data, entry->e.request_id, UUID_LEN);
		slot.arguments = entry->e.request_arguments;
		push(ring, &slot);
	}
	return garbage;
}
