/*-------------------------------------------------------------------------
 *
 * gs_tier.h
 *	  Games that are not live: in which table they are, and reading them.
 *
 * A game is live, that is in shared memory, or it is a row of one of our
 * tables, of which this is the list.  Whoever does not find a game in memory
 * asks here, and nobody asks a table by itself:
 *
 *	for (;;)
 *	{
 *		GsTierLook look = gs_tier_look();
 *
 *		found in memory: done
 *		gs_tier_get() or gs_tier_of() has it: done
 *		if (!gs_tier_again(id, look))
 *			there is no such game: done
 *	}
 *
 * since between the two looks a game may have come back into memory.  Who
 * holds the game's heavyweight lock, so that it stays where it is, needs no loop.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_TIER_H
#define GS_TIER_H

#include "gs_payload.h"

#include "access/transam.h"
#include "utils/array.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* Where a game is.  In the order in which tables are looked into. */
typedef enum GsTier
{
	GS_TIER_NONE = 0, /* there is no such game */
	GS_TIER_LIVE,
	GS_TIER_SUSPENDED,	 /* gs_suspended.c */
	GS_TIER_DEAD_LETTER, /* the archive did not take it */
	GS_TIER_ARCHIVED	 /* gs_archive.c */
} GsTier;

/* A game as a row; all of it in the memory context that the reader was given. */
typedef struct GsStoredGame
{
	GsTier tier;
	pg_uuid_t game_id;
	char *game_type;
	char *status;
	bool is_bytes;		/* encoding */
	ArrayType *players; /* text[] */
	bool has_max_players;
	int32 max_players;
	text *room_code; /* or NULL */
	text *metadata;	 /* json; or NULL */
	text *result;	 /* json; or NULL */
	TimestampTz created_at;
	TimestampTz started_at; /* 0 = never */
	TimestampTz updated_at;
	TimestampTz ended_at; /* 0 = not over */
	TimestampTz deadline; /* 0 = none */
	int64 version;
	int64 moves;

	/* the creation's, if the row has it beside the log */
	bool has_create_request;
	pg_uuid_t create_request;
	uint32 create_arguments; /* see gs_request.h */

	/* only with want_payload; the row may have gone (retention): false */
	bool has_payload;
	GsPayload payload;
} GsStoredGame;

extern const char *gs_tier_name(GsTier tier);

/*
 * Which table has it?  GS_TIER_NONE if none has.  Looks with the newest
 * snapshot: for writers, who must not be fooled by an old one.
 */
extern GsTier gs_tier_of(const pg_uuid_t *id);

/*
 * Read it, from each table first with the active snapshot, so that the answer
 * fits what the statement saw of the live games, then with the newest (for a
 * game whose memory was reclaimed early).  NULL if no table has it.  A damaged
 * payload is an ERROR (ERRCODE_DATA_CORRUPTED).
 */
extern GsStoredGame *gs_tier_get(const pg_uuid_t *id, bool want_payload,
								 MemoryContext mcxt);

/*
 * The same with the newest snapshot, with payload, and in the archive only among
 * games that ended between two times: where it is known when a game was created,
 * and it is too dear to look everywhere for one that most likely is not there.
 */
extern GsStoredGame *gs_tier_get_between(const pg_uuid_t *id, TimestampTz ended_from,
										 TimestampTz ended_to, MemoryContext mcxt);

/*
 * Does the active snapshot show a row of this live game, which came back after
 * the snapshot was taken?  Then a list that goes beside the table leaves it out.
 */
extern bool gs_tier_is_hidden(const pg_uuid_t *id, FullTransactionId returned_by);

typedef struct GsTierLook
{
	uint64 freed_early;
} GsTierLook;

/* Before the look into memory. */
extern GsTierLook gs_tier_look(void);

/* Neither memory nor a table had it: may it have moved meanwhile?  May wait for a commit. */
extern bool gs_tier_again(const pg_uuid_t *id, GsTierLook look);

#endif /* GS_TIER_H */
