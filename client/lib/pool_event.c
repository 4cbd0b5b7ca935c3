/*-------------------------------------------------------------------------
 *
 * pool_event.c
 *	  Events: from whoever notices something to the program's callback.
 *
 * The model:
 *
 * 1. Whoever notices something puts it into a ring of fixed size, under the
 *	  pool's lock: nothing is allocated and nobody waits.  When the ring is full
 *	  the event is counted as dropped.
 * 2. The keeper takes events out one by one and runs the callback, without the
 *	  lock.  So callbacks come in the order of what happened, never two at a
 *	  time, and a slow one delays no call.
 *
 *-------------------------------------------------------------------------
 */
#include "pool_internal.h"

#include <stdio.h>
#include <string.h>

const char *
gamestate_pool_event_name(gamestate_pool_event_kind kind)
{
	switch (kind)
	{
		case GAMESTATE_POOL_CONNECTED:
			return "connected";
		case GAMESTATE_POOL_CONNECT_FAILED:
			return "connect failed";
		case GAMESTATE_POOL_LOST:
			return "lost";
		case GAMESTATE_POOL_RETIRED:
			return "retired";
		case GAMESTATE_POOL_ROLE:
			return "role";
		case GAMESTATE_POOL_BREAKER:
			return "breaker";
		case GAMESTATE_POOL_RETRY:
			return "retry";
		case GAMESTATE_POOL_CALL_TIMEOUT:
			return "call timeout";
		case GAMESTATE_POOL_CALL_REFUSED:
			return "call refused";
		case GAMESTATE_POOL_CALL_UNKNOWN:
			return "call unknown";
	}
	return "unknown";
}

void
gsp_event(gamestate_pool *pool, gamestate_pool_event_kind kind, int server,
		  const char *call, const gamestate_error *error, const char *message)
{
	PoolEvent *event;

	if (pool->options.event == NULL)
		return;
	if (pool->next_event - pool->first_event == GSP_MAX_EVENTS)
	{
		pool->stats.events_dropped++;
		return;
	}
	event = &pool->events[pool->next_event++ % GSP_MAX_EVENTS];
	event->kind = kind;
	event->at = gamestate_now();
	event->server = server;
	event->call = call;
	memcpy(event->sqlstate, error != NULL ? error->sqlstate : "\0\0\0\0\0",
		   sizeof(event->sqlstate));
	if (message == NULL)
		message = error != NULL ? error->message : "";
	snprintf(event->message, sizeof(event->message), "%s", message);
	gsp_wake_keeper(pool);
}

void
gsp_deliver_events(gamestate_pool *pool)
{
	for (;;)
	{
		PoolEvent event;
		gamestate_pool_event shown;

		pthread_mutex_lock(&pool->lock);
		if (pool->first_event == pool->next_event)
		{
			pthread_mutex_unlock(&pool->lock);
			return;
		}
		event = pool->events[pool->first_event++ % GSP_MAX_EVENTS];
		pthread_mutex_unlock(&pool->lock);

		shown = (gamestate_pool_event){
			.kind = event.kind,
			.at = event.at,
			.server = event.server >= 0 ? pool->conninfo.name[event.server] : "",
			.call = event.call,
			.message = event.message,
		};
		memcpy(shown.sqlstate, event.sqlstate, sizeof(shown.sqlstate));
		pool->options.event(pool->options.event_arg, &shown);
	}
}
