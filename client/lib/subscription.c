/*-------------------------------------------------------------------------
 *
 * subscription.c
 *	  Subscribers and subscriptions: opened, asked, closed.
 *
 * The model:
 * 1. A subscriber is a connection that comes and goes (subscription_connect.c),
 *	  calls on it (subscription_calls.c), and subscriptions with a cursor for each
 *	  game (subscription_cursor.c).  What the calls are answered becomes updates
 *	  (subscription_rows.c), which are handed over (subscription_update.c).
 *	  subscription_loop.c turns it all.
 * 2. What a callback ends is only marked.  It is freed when the outermost has
 *	  returned and no call names it any more: gsu_reap().
 *
 *-------------------------------------------------------------------------
 */
#include "subscription_internal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "result.h"

/* -----------------------------------------------------------------------
 * Errors and events
 * -----------------------------------------------------------------------
 */

void
gsu_note_error(gamestate_subscriber *s, const gamestate_error *error)
{
	char message[GSU_ERROR_SIZE];

	/* It may be the one that is there already. */
	snprintf(message, sizeof(message), "%s%s%s", error->message,
			 error->detail[0] != '\0' ? ": " : "", error->detail);
	s->error = *error;
	memcpy(s->error_message, message, sizeof(message));
	s->error.message = s->error_message;
	s->error.detail = s->error.hint = "";
}

gamestate_status
gsu_fail(gamestate_subscriber *s, gamestate_status status, const char *message)
{
	gamestate_error error = gsl_error(status, message);

	gsu_note_error(s, &error);
	return status;
}

const gamestate_error *
gamestate_subscriber_error(const gamestate_subscriber *s)
{
	return s != NULL ? &s->error : &gsl_out_of_memory;
}

void
gsu_event(gamestate_subscriber *s, gamestate_subscriber_event_kind kind,
		  const char *sqlstate, const char *message)
{
	gamestate_subscriber_event event = {.kind = kind,
										.server = s->conninfo.name[s->server],
										.message = message};

	if (s->options.event == NULL || s->closing)
		return;
	snprintf(event.sqlstate, sizeof(event.sqlstate), "%s", sqlstate);
	s->depth++;
	s->options.event(s->options.event_arg, s, &event);
	s->depth--;
}

const char *
gamestate_subscriber_event_name(gamestate_subscriber_event_kind kind)
{
	switch (kind)
	{
		case GAMESTATE_SUBSCRIBER_CONNECTED:
			return "connected";
		case GAMESTATE_SUBSCRIBER_CONNECT_FAILED:
			return "connect failed";
		case GAMESTATE_SUBSCRIBER_LOST:
			return "lost";
		case GAMESTATE_SUBSCRIBER_REFUSED:
			return "refused";
		case GAMESTATE_SUBSCRIBER_GAP:
			return "gap";
		case GAMESTATE_SUBSCRIBER_PAUSED:
			return "paused";
		case GAMESTATE_SUBSCRIBER_RESUMED:
			return "resumed";
	}
	return "unknown";
}

/* -----------------------------------------------------------------------
 * Freeing
 * -----------------------------------------------------------------------
 */

static void
free_subscription(gamestate_subscription *sub)
{
	if (sub->subscriber->waited_for == sub)
		sub->subscriber->waited_for = NULL;
	gsu_free_queue(sub);
	free((void *) (uintptr_t) sub->options.game_type);
	free(sub);
}

static void
free_removed_cursors(gamestate_subscriber *s)
{
	Cursor *work = s->first_work;

	s->first_work = s->last_work = NULL;
	while (work != NULL)
	{
		Cursor *cursor = work;

		work = cursor->next_work;
		cursor->in_work = false;
		if (!cursor->removed)
			gsu_add_work(cursor);
		else if (!cursor->is_read) /* else when it is answered */
			gsu_free_cursor(cursor);
	}
}

void
gsu_reap(gamestate_subscriber *s)
{
	gamestate_subscription **link = &s->subscriptions;

	if (!s->reap || s->depth > 0 || s->processing)
		return;
	s->reap = false;
	free_removed_cursors(s);
	while (*link != NULL)
	{
		gamestate_subscription *sub = *link;

		if (!sub->closed || sub->is_listing || sub->cursors != NULL)
		{
			link = &sub->next;
			continue;
		}
		*link = sub->next;
		free_subscription(sub);
	}
}

/* No callback is running. */
void
gsu_free(gamestate_subscriber *s)
{
	gamestate_subscription *sub;

	s->closing = true;
	gamestate_conn_close(s->conn);
	while ((sub = s->subscriptions) != NULL)
	{
		while (sub->cursors != NULL)
			gsu_free_cursor(sub->cursors);
		s->subscriptions = sub->next;
		free_subscription(sub);
	}
	free(s->table);
	free(s->filter_ids);
	gsp_conninfo_free(&s->conninfo);
	free(s);
}

/* -----------------------------------------------------------------------
 * The subscriber
 * -----------------------------------------------------------------------
 */

static void
set_default(int *value, int standard)
{
	if (*value == 0)
		*value = standard;
}

static const char *
check_options(gamestate_subscriber_options *o)
{
	set_default(&o->connect_timeout, 3000);
	set_default(&o->answer_timeout, 5000);
	set_default(&o->wait, 5000);
	set_default(&o->backoff_base, 20);
	set_default(&o->backoff_cap, 1000);
	set_default(&o->max_changes, 1000);
	set_default(&o->max_filter_games, 1000);
	if (o->connect_timeout < 0 || o->answer_timeout < 0 || o->wait < 0 ||
		o->backoff_base < 0 || o->backoff_cap < 0)
		return "times must not be negative";
	if (o->wait > INT_MAX / 2 || o->answer_timeout > INT_MAX / 2)
		return "wait and answer_timeout must be less than 12 days";
	if (o->max_changes < 0 || o->max_filter_games < 0)
		return "max_changes and max_filter_games must not be negative";
	return NULL;
}

static gamestate_status
refuse(gamestate_subscriber *s, gamestate_status status, const char *why, char *message,
	   size_t size)
{
	if (message != NULL && size > 0)
		snprintf(message, size, "%s", why);
	if (s != NULL)
		gsu_free(s);
	return status;
}

gamestate_status
gamestate_subscriber_open(const char *conninfo,
						  const gamestate_subscriber_options *options,
						  gamestate_subscriber **subscriber, char *message, size_t size)
{
	gamestate_subscriber *s = calloc(1, sizeof(*s));
	const char *wrong;
	char why[256];

	*subscriber = NULL;
	if (s == NULL)
		return refuse(NULL, GAMESTATE_NO_MEMORY, "out of memory", message, size);
	if (options != NULL)
		memcpy(&s->options, options,
			   options->size < sizeof(*options) ? options->size : sizeof(*options));
	s->last_server = -1;
	s->retry_at = GSU_NEVER;
	s->filter_changed = true;
	s->error = gsl_error(GAMESTATE_OK, "");
	wrong = check_options(&s->options);
	if (wrong != NULL)
		return refuse(s, GAMESTATE_BAD_CALL, wrong, message, size);
	if (gsp_conninfo_split(conninfo != NULL ? conninfo : "", &s->conninfo, why,
						   sizeof(why)) != 0)
		return refuse(s, GAMESTATE_BAD_CALL, why, message, size);
	gsp_random_init(&s->random, 0);
	gsp_backoff_init(&s->connect_backoff, s->options.backoff_base * GSP_MS,
					 s->options.backoff_cap * GSP_MS);
	s->call_backoff = s->connect_backoff;
	*subscriber = s;
	return GAMESTATE_OK;
}

void
gamestate_subscriber_close(gamestate_subscriber *s)
{
	if (s == NULL)
		return;
	s->closing = true;
	/* else whoever runs the callback */
	if (s->depth == 0 && !s->processing)
		gsu_free(s);
}

void
gamestate_subscriber_get_stats(const gamestate_subscriber *s,
							   gamestate_subscriber_stats *stats, size_t size)
{
	gamestate_subscriber_stats now = {0};

	if (s != NULL)
	{
		now = s->stats;
		now.connected = s->phase == SUBSCRIBER_READY;
		now.paused = s->paused;
		now.position = s->position;
		for (const gamestate_subscription *sub = s->subscriptions; sub != NULL;
			 sub = sub->next)
		{
			if (sub->closed)
				continue;
			now.subscriptions++;
			now.games += sub->games;
			now.behind += sub->behind;
			now.queued += (uint64_t) sub->queued;
			now.queued_bytes += sub->queued_bytes;
		}
	}
	memcpy(stats, &now, size < sizeof(now) ? size : sizeof(now));
}

/* -----------------------------------------------------------------------
 * Subscriptions
 * -----------------------------------------------------------------------
 */

static const char *
check_subscription(gamestate_subscription_options *o)
{
	set_default(&o->max_queued, 10000);
	if (o->max_queued_bytes == 0)
		o->max_queued_bytes = (size_t) 64 * 1024 * 1024;
	if (o->max_queued < 0)
		return "max_queued must not be negative";
	if (o->all_games && o->game_type != NULL)
		return "all_games and game_type exclude each other";
	return NULL;
}

gamestate_status
gamestate_subscribe(gamestate_subscriber *s,
					const gamestate_subscription_options *options,
					gamestate_subscription **subscription)
{
	gamestate_subscription *sub;
	const char *wrong;

	*subscription = NULL;
	if (s == NULL)
		return GAMESTATE_NO_MEMORY;
	sub = calloc(1, sizeof(*sub));
	if (sub == NULL)
		return gsu_fail(s, GAMESTATE_NO_MEMORY, "out of memory");
	if (options != NULL)
		memcpy(&sub->options, options,
			   options->size < sizeof(*options) ? options->size : sizeof(*options));
	wrong = check_subscription(&sub->options);
	if (wrong != NULL)
	{
		free(sub);
		return gsu_fail(s, GAMESTATE_BAD_CALL, wrong);
	}
	if (sub->options.game_type != NULL)
	{
		sub->options.game_type = strdup(sub->options.game_type);
		if (sub->options.game_type == NULL)
		{
			free(sub);
			return gsu_fail(s, GAMESTATE_NO_MEMORY, "out of memory");
		}
	}
	sub->subscriber = s;
	sub->announce = true;
	if (sub->options.game_type != NULL || sub->options.all_games)
	{
		sub->list = LIST_LIVE;
		sub->list_is_first = true;
		sub->missed_since = s->current_at;
		gsu_interrupt(s);
	}
	sub->next = s->subscriptions;
	s->subscriptions = sub;
	s->filter_changed = true;
	*subscription = sub;
	return GAMESTATE_OK;
}

void
gamestate_unsubscribe(gamestate_subscription *sub)
{
	gamestate_subscriber *s;

	if (sub == NULL || sub->closed)
		return;
	s = sub->subscriber;
	sub->closed = true;
	for (Cursor *cursor = sub->cursors; cursor != NULL; cursor = cursor->next)
		gsu_remove_cursor(cursor);
	s->filter_changed = true;
	s->reap = true;
	gsu_reap(s);
}

gamestate_status
gamestate_subscription_add_game(gamestate_subscription *sub,
								const gamestate_uuid *game_id, int64_t after_version)
{
	gamestate_subscriber *s;
	Cursor *cursor;
	bool is_of_type;

	if (sub == NULL)
		return GAMESTATE_NO_MEMORY;
	s = sub->subscriber;
	if (after_version < GAMESTATE_FROM_NOW)
		return gsu_fail(s, GAMESTATE_BAD_CALL, "after_version must not be negative");
	if (sub->closed)
		return gsu_fail(s, GAMESTATE_BAD_CALL, "the subscription has been ended");
	if (gsu_cursor(sub, game_id) != NULL)
		return GAMESTATE_OK;
	cursor =
		gsu_add_cursor(sub, game_id,
					   after_version == GAMESTATE_FROM_NOW ? GSU_UNKNOWN : after_version);
	if (cursor == NULL)
		return gsu_fail(s, GAMESTATE_NO_MEMORY, "out of memory");
	is_of_type = sub->options.game_type != NULL || sub->options.all_games;
	cursor->is_listed = !is_of_type;
	gsu_fall_behind(cursor, after_version > 0);
	s->filter_changed = true;
	gsu_interrupt(s);
	return GAMESTATE_OK;
}

void
gamestate_subscription_remove_game(gamestate_subscription *sub,
								   const gamestate_uuid *game_id)
{
	Cursor *cursor;

	if (sub == NULL || sub->closed || (cursor = gsu_cursor(sub, game_id)) == NULL)
		return;
	gsu_remove_cursor(cursor);
	sub->subscriber->filter_changed = true;
	gsu_reap(sub->subscriber);
}

bool
gamestate_subscription_is_current(const gamestate_subscription *sub)
{
	return sub != NULL && !sub->closed && !sub->announce && sub->behind == 0 &&
		   sub->list == LIST_NONE;
}
