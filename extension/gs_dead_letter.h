/*-------------------------------------------------------------------------
 *
 * gs_dead_letter.h
 *	  Games that could not be archived while others could: gamestate.dead_letter.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_DEAD_LETTER_H
#define GS_DEAD_LETTER_H

#include "gs_batch.h"
#include "gs_archive.h"

/* Why, and how often it was tried. */
typedef struct GsDeadLetter
{
	int attempts;
	TimestampTz first_failed_at;
	TimestampTz last_failed_at;
	const ErrorData *error;
} GsDeadLetter;

/*
 * For the archiver: move a game from memory to the table, in a transaction of
 * its own.  Sets the game's outcome.  ERROR if that fails, too.
 */
extern void gs_dead_letter_put(GsBatchGame *game, const GsDeadLetter *letter);

/* For gs_tier.c. */
extern bool gs_dead_letter_exists(const pg_uuid_t *id);
extern GsStoredGame *gs_dead_letter_get(const pg_uuid_t *id, bool want_payload,
										MemoryContext mcxt);

#endif /* GS_DEAD_LETTER_H */
