/*-------------------------------------------------------------------------
 *
 * rows.c
 *	  Rows of games, changes and the feed as structures.
 *
 * The model: a row is unpacked when it is first asked for, into memory that
 * libpq allocates inside its result, and is found there the next time.  Texts
 * and documents are not copied but for lists of texts, whose elements have no
 * NUL on the wire.
 *
 *-------------------------------------------------------------------------
 */
#include "result.h"

#include <string.h>

#include "codec.h"

void *
gsl_result_row(gamestate_result *result, size_t row, size_t size, bool *is_new)
{
	void *unpacked;

	if (row >= gamestate_result_rows(result))
		return NULL;
	if (result->unpacked == NULL)
	{
		size_t bytes = result->rows * sizeof(*result->unpacked);

		result->unpacked = PQresultAlloc(result->pg, bytes);
		if (result->unpacked == NULL)
			return NULL;
		memset(result->unpacked, 0, bytes);
	}
	*is_new = result->unpacked[row] == NULL;
	if (!*is_new)
		return (void *) result->unpacked[row];
	unpacked = PQresultAlloc(result->pg, size);
	if (unpacked != NULL)
		memset(unpacked, 0, size);
	return unpacked;
}

/* Of columns whose types have been checked: */

static int64_t
int8_of(const gamestate_result *result, size_t row, size_t column)
{
	int64_t value = 0;

	gamestate_result_int8(result, row, column, &value);
	return value;
}

static int64_t
time_of(const gamestate_result *result, size_t row, size_t column)
{
	int64_t us = GAMESTATE_NO_TIME;

	gamestate_result_timestamp(result, row, column, &us);
	return us;
}

/* A document that is in one of two columns, as json or as bytes. */
static gamestate_data
either(const gamestate_result *result, size_t row, size_t json, size_t bytes)
{
	gamestate_data data = gamestate_result_data(result, row, json);

	return data.data != NULL ? data : gamestate_result_data(result, row, bytes);
}

static const char *
text_or_empty(const gamestate_result *result, size_t row, size_t column)
{
	const char *text = gamestate_result_text(result, row, column);

	return text != NULL ? text : "";
}

const char *const *
gamestate_result_text_array(gamestate_result *result, size_t row, size_t column,
							size_t *count)
{
	gamestate_data data = gamestate_result_data(result, row, column);
	const char **list;
	char *texts;
	int elements;

	if (count != NULL)
		*count = 0;
	if (data.data == NULL ||
		gamestate_result_column_type(result, column) != TYPE_TEXT_ARRAY ||
		PQfformat(result->pg, (int) column) != 1)
		return NULL;
	elements = gsl_text_array(data.data, (int) data.len, NULL, NULL);
	if (elements < 0)
		return NULL;
	list = PQresultAlloc(result->pg, ((size_t) elements + 1) * sizeof(*list));
	texts = PQresultAlloc(result->pg, data.len + 1);
	if (list == NULL || texts == NULL)
		return NULL;
	gsl_text_array(data.data, (int) data.len, list, texts);
	if (count != NULL)
		*count = (size_t) elements;
	return list;
}

const gamestate_game *
gamestate_result_game(gamestate_result *result, size_t row)
{
	gamestate_game *game;
	bool is_new;
	size_t c = 0;

	if (result != NULL && result->shape == SHAPE_RECONNECTED && row == 0)
		c = RECONNECTED_GAME;
	else if (result == NULL ||
			 (result->shape != SHAPE_GAME && result->shape != SHAPE_GAMES))
		return NULL;
	game = gsl_result_row(result, row, sizeof(*game), &is_new);
	if (game == NULL || !is_new)
		return game;
	gamestate_result_uuid(result, row, c + 0, &game->game_id);
	game->game_type = text_or_empty(result, row, c + 1);
	game->status = text_or_empty(result, row, c + 2);
	game->tier = text_or_empty(result, row, c + 3);
	game->version = int8_of(result, row, c + 4);
	game->encoding = text_or_empty(result, row, c + 5);
	game->state = either(result, row, c + 6, c + 7);
	game->players = gamestate_result_text_array(result, row, c + 8, &game->num_players);
	game->max_players = (int) int8_of(result, row, c + 9);
	game->room_code = gamestate_result_text(result, row, c + 10);
	game->metadata = gamestate_result_data(result, row, c + 11);
	game->result = gamestate_result_data(result, row, c + 12);
	game->moves = int8_of(result, row, c + 13);
	game->deadline_us = time_of(result, row, c + 14);
	game->created_us = time_of(result, row, c + 15);
	game->started_us = time_of(result, row, c + 16);
	game->updated_us = time_of(result, row, c + 17);
	game->ended_us = time_of(result, row, c + 18);
	if (game->players == NULL)
	{
		static const char *const nobody[] = {NULL};

		if (!gamestate_result_is_null(result, row, c + 8))
			return NULL; /* out of memory; tried again when asked again */
		game->players = nobody;
	}
	result->unpacked[row] = game;
	return game;
}

const gamestate_change *
gamestate_result_change(gamestate_result *result, size_t row)
{
	gamestate_change *change;
	bool is_new;
	size_t c = 0;

	if (result != NULL && result->shape == SHAPE_RECONNECTED && row > 0)
		c = RECONNECTED_CHANGE;
	else if (result == NULL || result->shape != SHAPE_CHANGES)
		return NULL;
	change = gsl_result_row(result, row, sizeof(*change), &is_new);
	if (change == NULL || !is_new)
		return change;
	gamestate_result_uuid(result, row, c + 0, &change->game_id);
	change->version = int8_of(result, row, c + 1);
	change->kind = text_or_empty(result, row, c + 2);
	change->player = gamestate_result_text(result, row, c + 3);
	change->at_us = time_of(result, row, c + 4);
	change->has_request_id =
		gamestate_result_uuid(result, row, c + 5, &change->request_id);
	change->event = either(result, row, c + 6, c + 7);
	change->patch = gamestate_result_data(result, row, c + 8);
	change->state = either(result, row, c + 9, c + 10);
	result->unpacked[row] = change;
	return change;
}

const gamestate_feed_row *
gamestate_result_feed_row(gamestate_result *result, size_t row)
{
	gamestate_feed_row *feed;
	bool is_new;

	if (result == NULL || result->shape != SHAPE_FEED)
		return NULL;
	feed = gsl_result_row(result, row, sizeof(*feed), &is_new);
	if (feed == NULL || !is_new)
		return feed;
	feed->position = int8_of(result, row, 0);
	feed->has_game = gamestate_result_uuid(result, row, 1, &feed->game_id);
	feed->version = int8_of(result, row, 2);
	feed->kind = text_or_empty(result, row, 3);
	feed->player = gamestate_result_text(result, row, 4);
	feed->at_us = time_of(result, row, 5);
	feed->event = either(result, row, 6, 7);
	gamestate_result_bool(result, row, 8, &feed->event_omitted);
	feed->has_request_id = gamestate_result_uuid(result, row, 9, &feed->request_id);
	feed->game_type = gamestate_result_text(result, row, 10);
	result->unpacked[row] = feed;
	return feed;
}

bool
gamestate_result_moved(const gamestate_result *result, size_t row, gamestate_moved *moved)
{
	if (result == NULL || result->shape != SHAPE_MOVED || row >= result->rows)
		return false;
	memset(moved, 0, sizeof(*moved));
	moved->ord = (int) int8_of(result, row, 0);
	gamestate_result_uuid(result, row, 1, &moved->game_id);
	moved->version = int8_of(result, row, 2);
	moved->sqlstate = gamestate_result_text(result, row, 3);
	moved->message = gamestate_result_text(result, row, 4);
	return true;
}

bool
gamestate_result_lease(const gamestate_result *result, size_t row, gamestate_lease *lease)
{
	bool claimed;

	if (result == NULL || row >= result->rows ||
		(result->shape != SHAPE_CLAIMED && result->shape != SHAPE_LEASES))
		return false;
	claimed = result->shape == SHAPE_CLAIMED;
	memset(lease, 0, sizeof(*lease));
	gamestate_result_uuid(result, row, 0, &lease->game_id);
	lease->lease = int8_of(result, row, 1);
	lease->version = claimed ? int8_of(result, row, 2) : 0;
	lease->owner = claimed ? NULL : gamestate_result_text(result, row, 2);
	lease->pid = claimed ? 0 : (int) int8_of(result, row, 3);
	lease->expires_us = time_of(result, row, claimed ? 3 : 4);
	return true;
}

bool
gamestate_result_versioned_state(const gamestate_result *result, size_t row,
								 gamestate_versioned_state *state)
{
	if (result == NULL || row >= result->rows ||
		(result->shape != SHAPE_STATES && result->shape != SHAPE_STATES_BYTES))
		return false;
	memset(state, 0, sizeof(*state));
	gamestate_result_uuid(result, row, 0, &state->game_id);
	state->version = int8_of(result, row, 1);
	state->state = gamestate_result_data(result, row, 2);
	return true;
}

bool
gamestate_result_id(const gamestate_result *result, size_t row, gamestate_uuid *game_id)
{
	if (result == NULL || result->shape != SHAPE_IDS)
		return false;
	return gamestate_result_uuid(result, row, 0, game_id);
}

bool
gamestate_result_presence(const gamestate_result *result, size_t row,
						  gamestate_presence *presence)
{
	if (result == NULL || result->shape != SHAPE_PRESENCE || row >= result->rows)
		return false;
	presence->player = text_or_empty(result, row, 0);
	presence->presence = text_or_empty(result, row, 1);
	presence->since_us = time_of(result, row, 2);
	presence->expires_us = time_of(result, row, 3);
	return true;
}

bool
gamestate_result_allowed(const gamestate_result *result, gamestate_allowed *allowed)
{
	if (result == NULL || result->shape != SHAPE_ALLOWED || result->rows == 0)
		return false;
	memset(allowed, 0, sizeof(*allowed));
	gamestate_result_bool(result, 0, 0, &allowed->allowed);
	allowed->wait_ms =
		gamestate_result_is_null(result, 0, 1) ? -1 : int8_of(result, 0, 1);
	gamestate_result_float8(result, 0, 2, &allowed->remaining);
	return true;
}
