/*-------------------------------------------------------------------------
 *
 * gs_batch.h
 *	  One batch of the archiver: games from memory to the archive.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_BATCH_H
#define GS_BATCH_H

#include "gs_config.h"
#include "gs_table.h"
#include "gs_unpack.h"

typedef enum GsBatchOutcome
{
	GS_BATCH_OPEN = 0, /* not tried, or the transaction failed */
	GS_BATCH_ARCHIVED,
	GS_BATCH_BUSY, /* somebody has the game's lock */
	GS_BATCH_GONE, /* not in the queue any more */
	GS_BATCH_DEAD_LETTER
} GsBatchOutcome;

typedef struct GsBatchGame
{
	pg_uuid_t id;
	TimestampTz ended_at;
	GsBatchOutcome outcome;
	int batch; /* at most so many games in a transaction with this one */
	int64 raw_bytes;
	int64 stored_bytes;
	uint8 type_len;
	char game_type[GS_MAX_ID_LENGTH + 1]; /* padded with zero bytes */
} GsBatchGame;

typedef struct GsBatchTotals
{
	int games;
	int64 raw_bytes;
	int64 stored_bytes;
} GsBatchTotals;

/*
 * Archive games in one transaction.  Stops early when the batch has become
 * large; returns how many of the games it has dealt with (at least one), sets
 * their outcome and adds to the totals.  ERROR if the transaction failed.
 */
extern int gs_batch_run(GsBatchGame *games, int n, GsBatchTotals *totals);

/* after such an ERROR */
extern void gs_batch_abandon(void);

/*
 * A game of the queue, locked and copied, as a batch takes it; NULL, with its
 * outcome set, if it cannot be had now.
 */
extern GsGameCopy *gs_batch_take(GsBatchGame *game, MemoryContext mcxt);

/* The columns of gamestate.archiver_rows(), which are those of gamestate.archive. */
#define GS_ARCHIVE_COLUMNS                                                    \
	"game_id, game_type, status, encoding, players, max_players, room_code, " \
	"metadata, result, created_at, started_at, ended_at, version, moves"

/*
 * The rows of games that are not in memory (gs_import.c), within a transaction
 * and as gamestate_owner: open a batch for up to n games, add them, insert them;
 * gs_batch_abandon() in any case.  A copy must stay as it is until the insert.
 */
extern void gs_batch_open(int n);
extern void gs_batch_open_plain(int n); /* compressed without dictionaries */
extern void gs_batch_add(const GsGameCopy *game, bool with_payload);
extern void gs_batch_insert(void);

/*
 * A game's states and log as a payload, in mcxt; work memory is palloc'd.
 * dictionary: its number, 0 = none.
 */
extern bytea *gs_batch_pack(const GsGameCopy *game, int level, int32 dictionary,
							MemoryContext mcxt, GsPacked *packed);

#endif /* GS_BATCH_H */
