/*-------------------------------------------------------------------------
 *
 * pool_calls.c
 *	  One function for each SQL function, on a pool.
 *
 * The model: make the call, run it with the pool's timeout, take the one value
 * out of the answer, or hand over the answer; what went wrong is remembered
 * for the thread (pool_error.c).  Which functions there are says typed_calls.h.
 *
 *-------------------------------------------------------------------------
 */
#include "pool_internal.h"
#include "typed.h"

#define FEED_WAIT 30000 /* of wait_changes, if nothing else is asked for */

/* Shows a good answer to `take`, without a connection; else its error is remembered. */
static gamestate_status
run_value(gamestate_pool *pool, const gamestate_call *call, gamestate_callback take,
		  void *to)
{
	gamestate_result *result = NULL;

	if (gamestate_pool_run(pool, call, NULL, &result) == GAMESTATE_OK)
		gsp_remember(NULL);
	else
	{
		/* NULL stands for "out of memory"; gamestate_result_status() knows. */
		gsp_remember(result);
		result = NULL;
	}
	if (result == NULL)
	{
		gamestate_status status = gamestate_pool_error()->status;

		return status != GAMESTATE_OK ? status : GAMESTATE_NO_MEMORY;
	}
	take(NULL, result, to);
	gamestate_result_free(result);
	return GAMESTATE_OK;
}

/* The answer is the caller's, also that of an error, which is remembered as well. */
static gamestate_status
run_result(gamestate_pool *pool, const gamestate_call *call, int timeout,
		   gamestate_result **answer)
{
	gamestate_pool_call_options options = {.timeout = timeout};
	gamestate_result *result = NULL;
	gamestate_status status = gamestate_pool_run(pool, call, &options, &result);

	gsp_remember(status == GAMESTATE_OK ? NULL : gsp_copy_error(result));
	if (answer != NULL)
		*answer = result;
	else
		gamestate_result_free(result);
	return status;
}

#define VALUE(name, type, what, parameters, arguments)                            \
	gamestate_status gamestate_pool_##name(gamestate_pool *pool, LIST parameters, \
										   type *value)                           \
	{                                                                             \
		gamestate_call call;                                                      \
                                                                                  \
		gamestate_call_##name(&call, LIST arguments);                             \
		return run_value(pool, &call, gsl_take_##what, value);                    \
	}

#define RESULT(name, parameters, arguments)                                       \
	gamestate_status gamestate_pool_##name(gamestate_pool *pool, LIST parameters, \
										   gamestate_result **result)             \
	{                                                                             \
		gamestate_call call;                                                      \
                                                                                  \
		gamestate_call_##name(&call, LIST arguments);                             \
		return run_result(pool, &call, 0, result);                                \
	}

#include "typed_calls.h"

gamestate_status
gamestate_pool_find_room(gamestate_pool *pool, const char *room_code,
						 gamestate_uuid *game_id, bool *found)
{
	FoundGame to = {game_id, found};
	gamestate_call call;

	gamestate_call_find_room(&call, room_code);
	return run_value(pool, &call, gsl_take_found_game, &to);
}

/* Sessions of a pool come and go: no claim ends with one. */
gamestate_status
gamestate_pool_claim_games(gamestate_pool *pool, const gamestate_claim *claim,
						   gamestate_result **result)
{
	gamestate_claim bound_to_time = *claim;
	gamestate_call call;

	bound_to_time.without_session = true;
	gamestate_call_claim_games(&call, &bound_to_time);
	return run_result(pool, &call, 0, result);
}

gamestate_status
gamestate_pool_wait_changes(gamestate_pool *pool, const gamestate_feed *feed,
							gamestate_result **result)
{
	gamestate_call call;
	int wait = feed->wait > 0 ? feed->wait : FEED_WAIT;
	int most = pool != NULL ? pool->options.call_timeout : 0;

	/* The time that the server is to wait is not the pool's patience. */
	gamestate_call_wait_changes(&call, feed);
	return run_result(pool, &call, most < INT_MAX - wait ? most + wait : most, result);
}

gamestate_status
gamestate_pool_feed_position(gamestate_pool *pool, int64_t *position)
{
	gamestate_call call;

	gamestate_call_feed_position(&call);
	return run_value(pool, &call, gsl_take_feed_position, position);
}
