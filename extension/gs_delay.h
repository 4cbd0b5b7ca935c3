/*-------------------------------------------------------------------------
 *
 * gs_delay.h
 *	  Games that are over and stay live for a while: the policy archive_delay.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_DELAY_H
#define GS_DELAY_H

#include "gs_database.h"

/*
 * Does this game of the archive queue stay live a while longer?  Then it is off the
 * queue until it is due.
 */
extern bool gs_delay_game(GsDatabase *db, const pg_uuid_t *id, const GsText *game_type,
						  TimestampTz ended_at);

/*
 * Put games that are due back into the queue, all of them if the policies have
 * changed, memory is short or this archiver has just begun; returns when the
 * next one is due, 0 = there is none.
 */
extern TimestampTz gs_delay_release(GsDatabase *db, bool all);

#endif /* GS_DELAY_H */
