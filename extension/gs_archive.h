/*-------------------------------------------------------------------------
 *
 * gs_archive.h
 *	  Reading games back from the archive.
 *
 * These read the partitions' tables and indexes directly: no SQL is run, so
 * nobody's function, rule or search_path can matter, and a caller needs no
 * right on the tables.  They are the slow path: only called for an id that is
 * not in shared memory.  They lock a partition only while they look at it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_ARCHIVE_H
#define GS_ARCHIVE_H

#include "gs_payload.h"
#include "utils/array.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* Everything is allocated in the memory context given to gs_archive_get(). */
typedef struct GsArchivedGame
{
	pg_uuid_t game_id;
	char *game_type;
	char *status;
	bool is_dead_letter; /* in gamestate.dead_letter */
	bool is_bytes;		 /* encoding */
	ArrayType *players;	 /* text[] */
	bool has_max_players;
	int32 max_players;
	text *room_code; /* or NULL */
	text *metadata;	 /* json; or NULL */
	text *result;	 /* json; or NULL */
	TimestampTz created_at;
	TimestampTz started_at; /* 0 = never */
	TimestampTz ended_at;
	int64 version;
	int64 moves;

	/* only with want_payload; the row may have gone (retention): false */
	bool has_payload;
	GsPayload payload;
} GsArchivedGame;

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
extern GsArchivedGame *gs_archive_get(const pg_uuid_t *id, bool want_payload,
									  MemoryContext mcxt);

/*
 * The same with the newest snapshot, with payload, and only among games that
 * ended between two times: where it is known when a game was created, and it is
 * too dear to look everywhere for one that most likely is not there.
 */
extern GsArchivedGame *gs_archive_get_between(const pg_uuid_t *id, TimestampTz ended_from,
											  TimestampTz ended_to, MemoryContext mcxt);

/*
 * The same in an ordinary table of schema gamestate that has the columns of
 * both tables: gamestate.dead_letter (gs_dead_letter.c).
 */
extern bool gs_archive_exists_in(const char *table, const pg_uuid_t *id);
extern GsArchivedGame *gs_archive_get_in(const char *table, const pg_uuid_t *id,
										 bool want_payload, MemoryContext mcxt);

#endif /* GS_ARCHIVE_H */
