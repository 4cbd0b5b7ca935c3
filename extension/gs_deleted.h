/*-------------------------------------------------------------------------
 *
 * gs_deleted.h
 *	  Requests of games that have been deleted.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_DELETED_H
#define GS_DELETED_H

#include "gs_request.h"

/*
 * A game is being deleted: remember the request that does it and the one that
 * created the game, if they have ids.
 */
extern void gs_deleted_keep(const pg_uuid_t *game_id, const GsRequest *request,
							const GsHeader *h);

/*
 * Has the request deleted a game of this id (answered->version is 0 then), or
 * created one that was deleted (1)?
 */
extern bool gs_deleted_find(const GsRequest *request, const pg_uuid_t *game_id,
							GsAnswered *answered);

/* For the maintenance worker: forget what is older than gamestate.deleted_retention. */
extern void gs_deleted_purge(MemoryContext mcxt);

#endif /* GS_DELETED_H */
