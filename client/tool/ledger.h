/*
 * ledger.h: the games of this run: what was played, and what the archive must
 * therefore say.
 */
#ifndef GAMESTATE_CLIENT_LEDGER_H
#define GAMESTATE_CLIENT_LEDGER_H

#include "util.h"

#define GAME_ID_SIZE 37 /* a uuid as text, with its NUL */

typedef struct PlayedGame
{
	char id[GAME_ID_SIZE];
	bool finished;	 /* finish_game was answered */
	uint32_t number; /* which one: the record, or the table */
	uint32_t type;	 /* index into the ledger's types */
	uint32_t moves;
	int64_t version;		   /* last version, the finish included */
	uint64_t raw_bytes;		   /* compact JSON: first state, last, log */
	uint64_t all_states_bytes; /* the same with every state */
} PlayedGame;

/* Bytes of finished games, as JSON and in the archive. */
typedef struct GameSizes
{
	char *game_type;
	uint64_t games;
	uint64_t raw;		 /* sum of raw_bytes */
	uint64_t all_states; /* sum of all_states_bytes */
	uint64_t stored;	 /* their payloads in the archive */
} GameSizes;

typedef struct Ledger
{
	PlayedGame *games;
	size_t count;
	size_t capacity;
	size_t finished;
	uint64_t moves;			  /* of all games */
	uint64_t states_compared; /* get_state against what was written */
	uint64_t archive_wait_ns; /* from the last move to the last row */
	GameSizes *types;		  /* in the order of their first games */
	size_t type_count;
	size_t type_capacity;
} Ledger;

/* A new entry, as an index: the array moves when it grows. */
extern size_t ledger_add(Ledger *ledger, const char *id, const char *game_type,
						 uint32_t number);

/* The game is finished, and its entry complete. */
extern void ledger_finish(Ledger *ledger, const PlayedGame *game);

/* The game's payload in the archive is so large. */
extern void ledger_stored(Ledger *ledger, const PlayedGame *game, uint64_t bytes);

/* All types together; its game_type is NULL. */
extern GameSizes ledger_total(const Ledger *ledger);
extern void ledger_free(Ledger *ledger);

#endif /* GAMESTATE_CLIENT_LEDGER_H */
