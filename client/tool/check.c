/*
 * check.c: comparisons of archived games with what was played.  Texts are
 * compared to the letter; a difference is shown from where it begins.
 */
#include "check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connect.h"

#define SHOWN_BYTES 80

/* Where two texts begin to differ. */
static size_t
common_prefix(const char *a, const char *b)
{
	size_t i = 0;

	while (a[i] != '\0' && a[i] == b[i])
		i++;
	return i;
}

bool
check_text(const PlayedGame *game, const char *what, const gamestate_result *result,
		   size_t row, size_t column, const char *expected)
{
	const char *actual = gamestate_result_text(result, row, column); /* NULL for NULL */
	size_t at;

	if (expected == NULL && actual == NULL)
		return true;
	if (expected != NULL && actual != NULL && strcmp(expected, actual) == 0)
		return true;
	log_error("archived game %s: the %s is not what was played", game->id, what);
	if (expected == NULL || actual == NULL)
	{
		log_detail("Played: %.*s", SHOWN_BYTES, expected ? expected : "NULL");
		log_detail("Archived: %.*s", SHOWN_BYTES, actual ? actual : "NULL");
		return false;
	}
	at = common_prefix(expected, actual);
	log_detail("They differ from byte %zu on.", at);
	log_detail("Played: %.*s", SHOWN_BYTES, expected + at);
	log_detail("Archived: %.*s", SHOWN_BYTES, actual + at);
	return false;
}

bool
check_number(const PlayedGame *game, const char *what, const gamestate_result *result,
			 size_t row, size_t column, int64_t expected)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, expected);
	return check_text(game, what, result, row, column, text);
}

bool
check_rows(const PlayedGame *game, const char *what, const gamestate_result *result,
		   size_t expected)
{
	if (gamestate_result_status(result) != GAMESTATE_OK)
	{
		report_call_error(what, gamestate_result_error(result));
		log_detail("The game is %s.", game->id);
		return false;
	}
	if (gamestate_result_rows(result) == expected)
		return true;
	log_error("archived game %s: %s has %zu rows, expected %zu", game->id, what,
			  gamestate_result_rows(result), expected);
	return false;
}

bool
check_archived_game(const PlayedGame *game, const gamestate_result *result,
					const char *game_type)
{
	return check_rows(game, "archived_games", result, 1) &&
		   check_text(game, "game type", result, 0, GAME_TYPE, game_type) &&
		   check_text(game, "status", result, 0, GAME_STATUS, "finished") &&
		   check_number(game, "version", result, 0, GAME_VERSION, game->version) &&
		   check_number(game, "number of moves", result, 0, GAME_MOVES, game->moves) &&
		   check_text(game, "equality of players", result, 0, GAME_PLAYERS_EQUAL, "t");
}
