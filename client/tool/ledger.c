/*
 * ledger.c: the list of the games of this run.  One entry is made when a game
 * is created and completed when it is finished; entries are never removed,
 * so an index stays good for the whole run.
 */
#include "ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The entry of a game type; there are few. */
static uint32_t
type_index(Ledger *ledger, const char *game_type)
{
	for (size_t i = 0; i < ledger->type_count; i++)
		if (strcmp(ledger->types[i].game_type, game_type) == 0)
			return (uint32_t) i;
	ledger->types = grow_array(ledger->types, &ledger->type_capacity,
							   ledger->type_count + 1, sizeof(GameSizes));
	ledger->types[ledger->type_count] = (GameSizes){.game_type = xstrdup(game_type)};
	return (uint32_t) ledger->type_count++;
}

size_t
ledger_add(Ledger *ledger, const char *id, const char *game_type, uint32_t number)
{
	PlayedGame *game;

	ledger->games = grow_array(ledger->games, &ledger->capacity, ledger->count + 1,
							   sizeof(PlayedGame));
	game = &ledger->games[ledger->count];
	memset(game, 0, sizeof(*game));
	snprintf(game->id, sizeof(game->id), "%s", id);
	game->number = number;
	game->type = type_index(ledger, game_type);
	return ledger->count++;
}

void
ledger_finish(Ledger *ledger, const PlayedGame *game)
{
	GameSizes *sizes = &ledger->types[game->type];

	ledger->finished++;
	sizes->games++;
	sizes->raw += game->raw_bytes;
	sizes->all_states += game->all_states_bytes;
}

void
ledger_stored(Ledger *ledger, const PlayedGame *game, uint64_t bytes)
{
	ledger->types[game->type].stored += bytes;
}

GameSizes
ledger_total(const Ledger *ledger)
{
	GameSizes total = {0};

	for (size_t i = 0; i < ledger->type_count; i++)
	{
		total.games += ledger->types[i].games;
		total.raw += ledger->types[i].raw;
		total.all_states += ledger->types[i].all_states;
		total.stored += ledger->types[i].stored;
	}
	return total;
}

void
ledger_free(Ledger *ledger)
{
	for (size_t i = 0; i < ledger->type_count; i++)
		free(ledger->types[i].game_type);
	free(ledger->types);
	free(ledger->games);
	memset(ledger, 0, sizeof(*ledger));
}
