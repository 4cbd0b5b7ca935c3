/*-------------------------------------------------------------------------
 *
 * gs_lookup.h
 *	  Games by room code and by player, as the current transaction sees them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_LOOKUP_H
#define GS_LOOKUP_H

#include "gs_table.h"

/*
 * The waiting or active game that has the room code; false if there is none.
 * for_write: as of now, for who holds the code's lock (see gs_table_find()).
 */
extern bool gs_lookup_room(const GsText *room_code, bool for_write, pg_uuid_t *id);

/* The waiting and active games in which the player sits; palloc'd array. */
extern pg_uuid_t *gs_lookup_player(const GsText *player, int *n);

#endif /* GS_LOOKUP_H */
