/*-------------------------------------------------------------------------
 *
 * gs_ring.h
 *	  The last request ids of a running game, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_RING_H
#define GS_RING_H

#include "gs_table.h"

/* Protected as the game is (gs_table.h). */
typedef struct GsRing
{
	uint32 size; /* slots */
	uint32 n;	 /* of them in use */
	uint32 next; /* the slot to be written next: if all are in use, the oldest */
	GsAnsweredRequest slots[FLEXIBLE_ARRAY_MEMBER];
} GsRing;

StaticAssertDecl(sizeof(GsAnsweredRequest) == 32,
				 "a request id is documented to take 32 bytes");

/*
 * Was this request answered by a committed change of the game that is in
 * memory?  The caller holds the game's heavyweight lock, and has seen it.
 */
extern bool gs_ring_find(const pg_uuid_t *game_id, const pg_uuid_t *request,
						 int64 *version, uint32 *arguments);

/* For gs_table_change.c: room for the new request ids; may fail (GS006). */
extern void gs_ring_reserve(GsChange *change, uint32 size, uint32 n);

/* Cannot fail; the caller holds the partition lock.  Returns the ring to be freed. */
extern dsa_pointer gs_ring_install(GsChange *change, GsGame *game, Size *old_size);

/*
 * The requests of a game that were answered by versions before this one, oldest
 * first, palloc'd; NULL if there are none.  The caller holds the partition lock.
 */
extern GsAnsweredRequest *gs_ring_before(const GsGame *game, int64 version, uint32 *n);

#endif /* GS_RING_H */
