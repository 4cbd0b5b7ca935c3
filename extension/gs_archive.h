/*-------------------------------------------------------------------------
 *
 * gs_archive.h
 *	  Reading games back from the archive.
 *
 * These read the partitions' tables and indexes directly: no SQL is run, so
 * nobody's function, rule or search_path can matter, and a caller needs no
 * right on the tables.  They are the slow path: only called, by gs_tier.c, for an id that is
 * not in shared memory.  They lock a partition only while they look at it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_ARCHIVE_H
#define GS_ARCHIVE_H

#include "gs_tier.h"

/*
 * Is a game of this id archived?  Looks with the newest snapshot: for
 * writers, who must not be fooled by an old one.
 */
extern bool gs_archive_exists(const pg_uuid_t *id);

/*
 * Read an archived game: first with the active snapshot, so that the answer
 * fits what the statement saw of the running games, then with the newest
 * (for a game whose memory was reclaimed early).  NULL if there is none.
 * A damaged payload is an ERROR (ERRCODE_DATA_CORRUPTED).
 */
extern GsStoredGame *gs_archive_get(const pg_uuid_t *id, bool want_payload,
									MemoryContext mcxt);

/*
 * The same with the newest snapshot, with payload, and only among games that
 * ended between two times: where it is known when a game was created, and it is
 * too dear to look everywhere for one that most likely is not there.
 */
extern GsStoredGame *gs_archive_get_between(const pg_uuid_t *id, TimestampTz ended_from,
											TimestampTz ended_to, MemoryContext mcxt);

/*
 * The same in an ordinary table of schema gamestate that has the columns of
 * both tables: gamestate.dead_letter (gs_dead_letter.c).
 */
extern bool gs_archive_exists_in(const char *table, const pg_uuid_t *id);
extern GsStoredGame *gs_archive_get_in(const char *table, GsTier tier,
									   const pg_uuid_t *id, bool want_payload,
									   MemoryContext mcxt);

#endif /* GS_ARCHIVE_H */
