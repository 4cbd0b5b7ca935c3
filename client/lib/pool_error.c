/*-------------------------------------------------------------------------
 *
 * pool_error.c
 *	  Errors that the pool itself makes, and the last error of a thread.
 *
 * The model:
 *
 * 1. Whatever a call comes to is a gamestate_result.  One that did not get an
 *	  answer gets a result from here; its detail is the last error that stood in
 *	  the way, if there was one.  Out of memory is NULL, as everywhere.
 * 2. The typed functions return no result.  For their caller the result of a
 *	  failure is kept until his thread's next call, under a key whose destructor
 *	  frees it when the thread ends.
 *
 *-------------------------------------------------------------------------
 */
#include <pthread.h>
#include <stdio.h>

#include "pool_internal.h"
#include "result.h"

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool key_exists;

static const char *
hint_of(gamestate_status status, bool maybe_executed)
{
	if (maybe_executed)
		return "Read the game before sending the call again, or give writes a request id.";
	switch (status)
	{
		case GAMESTATE_OVERLOADED:
			return "Try again later, or raise max_calls.";
		case GAMESTATE_CIRCUIT_OPEN:
			return "Try again later; the pool goes on looking for a server.";
		case GAMESTATE_TIMEOUT:
			return "Try again, or give it more time.";
		default:
			return "";
	}
}

gamestate_result *
gsp_error_result(gamestate_status status, bool maybe_executed, const char *message,
				 const gamestate_error *last)
{
	gamestate_result result = {0};
	gamestate_result *kept;
	gamestate_error error = gsl_error(status, message);
	char detail[512];

	error.maybe_executed = maybe_executed;
	if (last != NULL && last->status != GAMESTATE_OK)
	{
		snprintf(detail, sizeof(detail), "The last attempt failed: %s%s%s", last->message,
				 last->sqlstate[0] != '\0' ? ", SQLSTATE " : "", last->sqlstate);
		error.detail = detail;
	}
	error.hint = hint_of(status, maybe_executed);
	gsl_result_fail(&result, &error);
	kept = gamestate_result_keep(&result);
	gsl_result_clear(&result);
	return kept;
}

/* The error of a result that somebody else will free. */
gamestate_result *
gsp_copy_error(const gamestate_result *result)
{
	gamestate_result copy = {0};
	gamestate_result *kept;

	gsl_result_fail(&copy, gamestate_result_error(result));
	kept = gamestate_result_keep(&copy);
	gsl_result_clear(&copy);
	return kept;
}

static void
free_result(void *result)
{
	gamestate_result_free(result);
}

static void
make_key(void)
{
	key_exists = pthread_key_create(&key, free_result) == 0;
}

/* This is the thread's last error; takes the result.  NULL: there was none. */
void
gsp_remember(gamestate_result *result)
{
	pthread_once(&key_once, make_key);
	if (!key_exists)
	{
		gamestate_result_free(result);
		return;
	}
	gamestate_result_free(pthread_getspecific(key));
	if (pthread_setspecific(key, result) != 0)
		gamestate_result_free(result);
}

const gamestate_error *
gamestate_pool_error(void)
{
	static const gamestate_error none = {.status = GAMESTATE_OK,
										 .message = "",
										 .detail = "",
										 .hint = ""};
	gamestate_result *result;

	pthread_once(&key_once, make_key);
	result = key_exists ? pthread_getspecific(key) : NULL;
	return result != NULL ? gamestate_result_error(result) : &none;
}
