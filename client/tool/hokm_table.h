/*
 * hokm_table.h: tables of Hokm with four bots each, played and checked.
 */
#ifndef GAMESTATE_CLIENT_HOKM_TABLE_H
#define GAMESTATE_CLIENT_HOKM_TABLE_H

#include "engine.h"
#include "hokm.h"
#include "ledger.h"

#define HOKM_GAME_TYPE "hokm"
#define HOKM_BOTS	   1000 /* in the pool that the players come from */
#define HOKM_BOT_SIZE  16	/* a bot's name, with its NUL */

typedef struct HokmSource
{
	TaskSource source; /* must be first */
	Ledger *ledger;
	uint64_t seed;
	uint32_t games;
	uint32_t opened;
	uint64_t points; /* the best team's of each game, up to 7 */
} HokmSource;

extern void hokm_source_init(HokmSource *source, uint32_t games, uint64_t seed,
							 Ledger *ledger);

/* The four different bots that sit at a table. */
extern void hokm_table_bots(uint64_t seed, uint32_t number,
							char bots[HOKM_SEATS][HOKM_BOT_SIZE]);

/* Replays a sample of the archived games through the rules. */
typedef struct HokmCheckSource
{
	TaskSource source; /* must be first */
	const Ledger *ledger;
	uint64_t seed;
	uint32_t sample;
	uint32_t opened;
	uint64_t checked;
	uint64_t moves; /* of the checked games */
} HokmCheckSource;

/* `sample` games spread evenly over the ledger. */
extern void hokm_check_source_init(HokmCheckSource *source, uint32_t sample,
								   uint64_t seed, const Ledger *ledger);

#endif /* GAMESTATE_CLIENT_HOKM_TABLE_H */
