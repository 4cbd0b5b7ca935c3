/*-------------------------------------------------------------------------
 *
 * error.c
 *	  Statuses and errors as such.
 *
 *-------------------------------------------------------------------------
 */
#include "result.h"

#include <stdlib.h>
#include <string.h>

static const char *const status_texts[] = {
	[GAMESTATE_OK] = "success",
	[GAMESTATE_SERVER_ERROR] = "the server refused the call",
	[GAMESTATE_TIMEOUT] = "the deadline passed before the server answered",
	[GAMESTATE_CONNECTION_LOST] = "the connection was lost before the server answered",
	[GAMESTATE_CLOSED] = "the connection was closed before the server answered",
	[GAMESTATE_DISTURBED] = "the call was not executed because of an earlier one",
	[GAMESTATE_CONNECT_FAILED] = "could not connect to the server",
	[GAMESTATE_NOT_CONNECTED] = "there is no connection to the server",
	[GAMESTATE_TOO_MANY_CALLS] = "too many calls are in flight",
	[GAMESTATE_BAD_CALL] = "the call has wrong arguments or may not be made here",
	[GAMESTATE_BAD_ANSWER] = "the server's answer is not what this call returns",
	[GAMESTATE_NO_MEMORY] = "out of memory",
	[GAMESTATE_CIRCUIT_OPEN] = "the circuit breaker of the server is open",
	[GAMESTATE_OVERLOADED] = "the pool's limit of calls is reached",
};

const gamestate_error gsl_out_of_memory = {GAMESTATE_NO_MEMORY, false, "",
										   "out of memory",		"",	   ""};

const char *
gamestate_status_text(gamestate_status status)
{
	size_t i = (size_t) status;

	if (i >= sizeof(status_texts) / sizeof(status_texts[0]) || status_texts[i] == NULL)
		return "unknown status";
	return status_texts[i];
}

gamestate_error
gsl_error(gamestate_status status, const char *message)
{
	gamestate_error error = {.status = status,
							 .message = message != NULL ? message
														: gamestate_status_text(status),
							 .detail = "",
							 .hint = ""};

	return error;
}

bool
gamestate_error_is(const gamestate_error *error, const char *sqlstate)
{
	return error != NULL && strcmp(error->sqlstate, sqlstate) == 0;
}

int64_t
gamestate_error_wait_ms(const gamestate_error *error)
{
	static const char words[] = "Wait ";
	long long ms;
	char *end;

	if (!gamestate_error_is(error, GAMESTATE_RATE_LIMITED) ||
		strncmp(error->detail, words, sizeof(words) - 1) != 0)
		return -1;
	ms = strtoll(error->detail + sizeof(words) - 1, &end, 10);
	return ms >= 0 && strcmp(end, " ms.") == 0 ? ms : -1;
}

bool
gamestate_error_is_transient(const gamestate_error *error)
{
	static const char *const states[] = {
		"25006", /* read only: a standby now */
		"26000", /* a prepared statement is gone: the next time it is made anew */
		"40001", /* serialization failure */
		"40P01", /* deadlock */
		"42P05", /* a prepared statement is there already, behind a pooler */
		"53300", /* too many connections */
		"55P03", /* lock timeout */
		"57P01", /* the server or this connection is being shut down */
		"57P02", /* the server has crashed */
		"57P03", /* it is starting up */
		"57P05", /* idle session timeout */
		GAMESTATE_LOADING,
	};

	if (error == NULL)
		return false;
	switch (error->status)
	{
		case GAMESTATE_TIMEOUT:
		case GAMESTATE_CONNECTION_LOST:
		case GAMESTATE_DISTURBED:
		case GAMESTATE_CONNECT_FAILED:
		case GAMESTATE_NOT_CONNECTED:
		case GAMESTATE_TOO_MANY_CALLS:
		case GAMESTATE_CIRCUIT_OPEN:
		case GAMESTATE_OVERLOADED:
			return true;
		case GAMESTATE_SERVER_ERROR:
			/* class 08: connection exceptions */
			if (strncmp(error->sqlstate, "08", 2) == 0)
				return true;
			for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
			{
				if (strcmp(error->sqlstate, states[i]) == 0)
					return true;
			}
			return false;
		default:
			return false;
	}
}
