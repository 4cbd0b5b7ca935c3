/*-------------------------------------------------------------------------
 *
 * subscription_calls.c
 *	  What a subscriber asks next, and what becomes of the answers.
 *
 * The model:
 * 1. In this order, as long as there is something to do: where the feed is, if
 *	  there is no position yet; lists of games, for subscriptions to a type;
 *	  changes of games that are behind, READS_IN_FLIGHT at a time; and then
 *	  wait_changes(), in which most of the time is spent.  Reads and wait are
 *	  never in flight together, so that rows of the feed never meet a game that
 *	  is being read.
 * 2. While a queue is full nothing is asked.  What is in flight at that moment
 *	  is at most max_changes updates.
 * 3. A new subscription cannot wait for the end of wait_changes(): it is made to
 *	  pass its deadline, and the library cancels it as any call.  The position
 *	  stays where it was; should it have had an answer by then, the next one has
 *	  the same rows.
 * 4. A call that fails is made again later: after a pause with exponential
 *	  backoff.  A game that cannot be read holds up nobody else.  No answer by
 *	  the deadline means that the server hangs: the connection is given up.
 *
 *-------------------------------------------------------------------------
 */
#include "subscription_internal.h"

#include <stdlib.h>
#include <string.h>

#include "conn.h"

#define READS_IN_FLIGHT 16
/* A game whose reading was refused is read again after so many milliseconds. */
#define READ_AGAIN 1000
/* Work that has to wait is passed over, so much at a time. */
#define MAX_PASSED 64

#define CLOCK_SQL	 "SELECT pg_catalog.clock_timestamp()"
#define POSITION_SQL "SELECT gamestate.feed_position(), pg_catalog.clock_timestamp()"
#define STORED_SQL                                                     \
	"SELECT game_id FROM gamestate.list_stored_games(game_type => $1," \
	" updated_after => $2)"

/* How many changes are read at once: no more than one answer of the feed has. */
static int
read_limit(const gamestate_subscriber *s)
{
	int limit = s->options.max_changes / READS_IN_FLIGHT;

	/* one of them may be known already */
	return limit > 1 ? limit : 2;
}

/* -----------------------------------------------------------------------
 * Answers
 * -----------------------------------------------------------------------
 */

/* An answer that is none.  true: the same call may be made again, later. */
static bool
refused(gamestate_subscriber *s, gamestate_result *result)
{
	const gamestate_error *error = gamestate_result_error(result);

	switch (error->status)
	{
		case GAMESTATE_CLOSED:
		case GAMESTATE_CONNECTION_LOST:
			return false; /* process() sees it */
		case GAMESTATE_DISTURBED:
			return true;
		case GAMESTATE_TIMEOUT:
			gsu_note_error(s, error);
			s->give_up = true;
			return false;
		default:
			s->stats.refused++;
			gsu_note_error(s, error);
			gsu_event(s, GAMESTATE_SUBSCRIBER_REFUSED, error->sqlstate, error->message);
			return true;
	}
}

/* The answer to a question of the subscriber's own, not about one game. */
static bool
answered(gamestate_subscriber *s, gamestate_result *result)
{
	if (gamestate_result_status(result) == GAMESTATE_OK)
	{
		gsp_backoff_reset(&s->call_backoff);
		return true;
	}
	if (refused(s, result))
		s->ask_again_at =
			gamestate_now() + gsp_backoff_next(&s->call_backoff, &s->random) / GSP_MS + 1;
	return false;
}

static void
on_position(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	gamestate_subscriber *s = arg;

	(void) conn;
	s->in_flight--;
	if (answered(s, result))
		s->has_position = gamestate_result_int8(result, 0, 0, &s->position) &&
						  gamestate_result_timestamp(result, 0, 1, &s->current_at);
}

static void
no_memory(gamestate_subscriber *s)
{
	gsu_fail(s, GAMESTATE_NO_MEMORY, "out of memory");
	s->ask_again_at =
		gamestate_now() + gsp_backoff_next(&s->call_backoff, &s->random) / GSP_MS + 1;
}

/* A list has been answered; true: with one that somebody wants. */
static bool
is_listed(gamestate_subscription *sub, gamestate_result *result)
{
	gamestate_subscriber *s = sub->subscriber;

	s->in_flight--;
	sub->is_listing = false;
	s->reap |= sub->closed;
	return answered(s, result) && !sub->closed;
}

static void
on_live(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	gamestate_subscription *sub = arg;

	(void) conn;
	if (is_listed(sub, result) && !gsu_take_live(sub, result))
		no_memory(sub->subscriber);
}

static void
on_stored(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	gamestate_subscription *sub = arg;

	(void) conn;
	if (is_listed(sub, result) && !gsu_take_stored(sub, result))
		no_memory(sub->subscriber);
}

/* A read has been answered; true: by what was asked for. */
static bool
is_read(Cursor *cursor, gamestate_result *result)
{
	gamestate_subscriber *s = cursor->owner->subscriber;

	s->in_flight--;
	cursor->is_read = false;
	if (cursor->removed || cursor->owner->closed)
	{
		s->reap = true;
		gsu_add_work(cursor);
		return false;
	}
	if (gamestate_result_status(result) == GAMESTATE_OK)
	{
		s->stats.reads++;
		return true;
	}
	if (gamestate_error_is(gamestate_result_error(result), GAMESTATE_HISTORY_NOT_KEPT))
		cursor->unkept = true;
	else if (refused(s, result))
		cursor->retry_at =
			gamestate_now() +
			(gamestate_result_status(result) == GAMESTATE_DISTURBED ? 0 : READ_AGAIN);
	gsu_add_work(cursor);
	return false;
}

static void
on_changes(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	Cursor *cursor = arg;

	(void) conn;
	if (!is_read(cursor, result))
		return;
	gsu_take_changes(cursor, result, read_limit(cursor->owner->subscriber));
	gsu_add_work(cursor);
}

static void
on_version(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	Cursor *cursor = arg;

	(void) conn;
	if (!is_read(cursor, result))
		return;
	gsu_take_version(cursor, gamestate_result_version(result));
	gsu_add_work(cursor);
}

static void
on_rows(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	gamestate_subscriber *s = arg;
	bool was_interrupted = s->interrupted;

	(void) conn;
	s->is_waiting = false;
	s->interrupted = false;
	if (was_interrupted && gamestate_result_status(result) == GAMESTATE_TIMEOUT)
		return;
	if (!answered(s, result))
		return;
	s->stats.waits++;
	gsu_take_rows(s, result);
}

/* -----------------------------------------------------------------------
 * Questions
 * -----------------------------------------------------------------------
 */

/* false: the connection is of no use any more */
static bool
ask(gamestate_subscriber *s, const gamestate_call *call, int timeout,
	gamestate_callback callback, void *arg)
{
	if (gamestate_conn_send(s->conn, call, timeout, callback, arg) == GAMESTATE_OK)
		return true;
	gsu_note_error(s, gamestate_conn_error(s->conn));
	s->give_up = true;
	return false;
}

static void
ask_position(gamestate_subscriber *s)
{
	gamestate_call call;

	gamestate_call_sql(&call, POSITION_SQL, NULL, 0, GAMESTATE_SQL_READ);
	if (ask(s, &call, s->options.answer_timeout, on_position, s))
		s->in_flight++;
}

static void
ask_list(gamestate_subscriber *s, gamestate_subscription *sub)
{
	gamestate_live_filter live = {.game_type = sub->options.game_type,
								  .without_state = true};
	gamestate_param params[2] = {gamestate_param_text(sub->options.game_type),
								 gamestate_param_timestamptz(gsu_search_from(sub))};
	gamestate_call call;
	bool sent;

	if (sub->list == LIST_LIVE)
		gamestate_call_list_live_games(&call, &live);
	else if (sub->list_is_first)
		gamestate_call_sql(&call, CLOCK_SQL, NULL, 0, GAMESTATE_SQL_READ);
	else
		gamestate_call_sql(&call, STORED_SQL, params, 2, GAMESTATE_SQL_READ);
	sent = ask(s, &call, s->options.answer_timeout,
			   sub->list == LIST_LIVE ? on_live : on_stored, sub);
	sub->is_listing = sent;
	s->in_flight += sent;
}

static bool
ask_changes(Cursor *cursor)
{
	gamestate_subscriber *s = cursor->owner->subscriber;
	int64_t after = cursor->restarts ? 0 : cursor->last;
	bool by_version = cursor->last == GSU_UNKNOWN || cursor->unkept;
	gamestate_call call;

	/* The one that was told last, too: see gsu_take_changes(). */
	if (after > 0)
		after--;
	if (by_version)
		gamestate_call_get_version(&call, &cursor->id);
	else
		gamestate_call_get_changes(&call, &cursor->id, after, read_limit(s));
	if (!ask(s, &call, s->options.answer_timeout, by_version ? on_version : on_changes,
			 cursor))
		return false;
	cursor->is_read = true;
	s->in_flight++;
	return true;
}

/*
 * The next cursor that may be read now, out of the list of work; NULL: there is
 * none.  Those that have to wait go to its end, so many at a time.
 */
static Cursor *
next_to_read(gamestate_subscriber *s, int64_t now)
{
	const Cursor *first_passed = NULL;

	for (int i = 0; s->first_work != NULL && s->first_work != first_passed; i++)
	{
		Cursor *cursor = gsu_take_work(s);

		if (cursor->is_behind && !cursor->is_read && cursor->retry_at <= now)
			return cursor;
		if (cursor->is_read || !(cursor->is_behind || cursor->removed))
			continue;
		gsu_add_work(cursor);
		if (first_passed == NULL)
			first_passed = cursor;
		if (cursor->is_behind && cursor->retry_at < s->retry_at)
			s->retry_at = cursor->retry_at;
		if (i >= MAX_PASSED)
		{
			s->retry_at = now + 1;
			break;
		}
	}
	return NULL;
}

/* As many reads as may be in flight. */
static void
read_games(gamestate_subscriber *s)
{
	int64_t now = gamestate_now();
	Cursor *cursor;

	s->retry_at = GSU_NEVER;
	while (s->in_flight < READS_IN_FLIGHT && !s->give_up &&
		   (cursor = next_to_read(s, now)) != NULL)
		if (!ask_changes(cursor))
			gsu_add_work(cursor);
}

/* -----------------------------------------------------------------------
 * Waiting
 * -----------------------------------------------------------------------
 */

static bool
add_filter_id(gamestate_subscriber *s, const gamestate_uuid *id)
{
	if (s->filter_count == s->filter_room)
	{
		size_t room = s->filter_room > 0 ? s->filter_room * 2 : 64;
		gamestate_uuid *ids = realloc(s->filter_ids, room * sizeof(*ids));

		if (ids == NULL)
			return false;
		s->filter_ids = ids;
		s->filter_room = room;
	}
	s->filter_ids[s->filter_count++] = *id;
	return true;
}

/* The ids that a subscription names; false: too many, the whole feed is read. */
static bool
add_filter_ids(gamestate_subscriber *s, const gamestate_subscription *sub)
{
	for (const Cursor *cursor = sub->cursors; cursor != NULL; cursor = cursor->next)
	{
		if (cursor->removed)
			continue;
		if (s->filter_count >= (size_t) s->options.max_filter_games ||
			!add_filter_id(s, &cursor->id))
			return false;
	}
	return true;
}

/* false: too many types */
static bool
add_filter_type(gamestate_subscriber *s, const char *type)
{
	for (size_t i = 0; i < s->num_filter_types; i++)
		if (strcmp(s->filter_types[i], type) == 0)
			return true;
	if (s->num_filter_types == GSU_FILTER_TYPES)
		return false;
	s->filter_types[s->num_filter_types++] = type;
	return true;
}

/* What all subscriptions want: some types and some games, or everything. */
static void
combine_filters(gamestate_subscriber *s)
{
	bool all = false;

	s->filter_changed = false;
	s->filter_count = 0;
	s->num_filter_types = 0;
	for (gamestate_subscription *sub = s->subscriptions; sub != NULL && !all;
		 sub = sub->next)
	{
		if (sub->closed)
			continue;
		if (sub->options.all_games)
			all = true;
		else if (sub->options.game_type == NULL)
			all = !add_filter_ids(s, sub);
		else
			all = !add_filter_type(s, sub->options.game_type);
	}
	if (all)
		s->filter_count = s->num_filter_types = 0;
}

bool
gsu_has_subscriptions(const gamestate_subscriber *s)
{
	for (const gamestate_subscription *sub = s->subscriptions; sub != NULL;
		 sub = sub->next)
		if (!sub->closed &&
			(sub->games > 0 || sub->options.game_type != NULL || sub->options.all_games))
			return true;
	return false;
}

static void
ask_wait(gamestate_subscriber *s)
{
	gamestate_feed feed = {.after = s->position,
						   .max_changes = s->options.max_changes,
						   .wait = s->options.wait};
	int64_t now = gamestate_now();
	gamestate_call call;

	if (s->filter_changed)
		combine_filters(s);
	feed.game_types = s->filter_types;
	feed.num_types = s->num_filter_types;
	feed.game_ids = s->filter_ids;
	feed.num_games = s->filter_count;
	if (s->retry_at < now + feed.wait)
		feed.wait = s->retry_at > now ? (int) (s->retry_at - now) : 1;
	gamestate_call_wait_changes(&call, &feed);
	s->is_waiting = ask(s, &call, feed.wait + s->options.answer_timeout, on_rows, s);
}

/* Who has been told everything is told so. */
static void
announce(gamestate_subscriber *s)
{
	for (gamestate_subscription *sub = s->subscriptions; sub != NULL; sub = sub->next)
	{
		gamestate_update update = {.kind = GAMESTATE_UPDATE_CURRENT,
								   .what = "current",
								   .at_us = s->current_at};

		if (sub->closed || !sub->announce || sub->behind > 0 || sub->list != LIST_NONE)
			continue;
		/* Without memory it comes in the next turn. */
		sub->announce = !gsu_hand_over(sub, &update);
	}
}

/* -----------------------------------------------------------------------
 * The whole
 * -----------------------------------------------------------------------
 */

static void
look_at_queues(gamestate_subscriber *s)
{
	bool full = false;

	for (gamestate_subscription *sub = s->subscriptions; sub != NULL; sub = sub->next)
		full |= gsu_is_full(sub);
	if (full == s->paused)
		return;
	s->paused = full;
	s->stats.pauses += full;
	gsu_event(s, full ? GAMESTATE_SUBSCRIBER_PAUSED : GAMESTATE_SUBSCRIBER_RESUMED, "",
			  full ? "a queue is full" : "");
}

static gamestate_subscription *
to_be_listed(const gamestate_subscriber *s)
{
	gamestate_subscription *sub = s->subscriptions;

	while (sub != NULL && (sub->closed || sub->list == LIST_NONE))
		sub = sub->next;
	return sub;
}

/* May something be asked now? */
static bool
is_idle(const gamestate_subscriber *s)
{
	bool full = false;

	if (s->phase != SUBSCRIBER_READY || s->give_up || s->closing || s->in_flight > 0 ||
		s->is_waiting || !gsu_has_subscriptions(s))
		return false;
	for (const gamestate_subscription *sub = s->subscriptions; sub != NULL;
		 sub = sub->next)
		full |= gsu_is_full(sub);
	return !full;
}

void
gsu_advance(gamestate_subscriber *s)
{
	gamestate_subscription *sub;

	if (s->phase != SUBSCRIBER_READY || s->give_up || s->closing)
		return;
	look_at_queues(s);
	if (s->paused || s->closing || s->is_waiting || !gsu_has_subscriptions(s) ||
		gamestate_now() < s->ask_again_at)
		return;
	sub = to_be_listed(s);
	if (!s->has_position || sub != NULL)
	{
		if (s->in_flight > 0)
			return;
		if (!s->has_position)
			ask_position(s);
		else
			ask_list(s, sub);
		return;
	}
	read_games(s);
	if (s->in_flight > 0 || s->give_up)
		return;
	announce(s);
	/* A callback may have asked for more. */
	if (s->closing || to_be_listed(s) != NULL || !gsu_has_subscriptions(s))
		return;
	ask_wait(s);
}

void
gsu_interrupt(gamestate_subscriber *s)
{
	if (!s->is_waiting || s->interrupted)
		return;
	s->interrupted = true;
	s->stats.interrupts++;
	gsl_answers_give_up(s->conn);
}

int64_t
gsu_calls_deadline(const gamestate_subscriber *s)
{
	int64_t now = gamestate_now();

	if (!is_idle(s))
		return GSU_NEVER;
	return s->ask_again_at > now ? s->ask_again_at : now;
}
