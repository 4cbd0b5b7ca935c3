/*-------------------------------------------------------------------------
 *
 * subscription_rows.c
 *	  From rows of the feed, and from changes read from a game, to updates.
 *
 * The model:
 * 1. The feed has all changes after a position, those of one game in the order
 *	  of their versions.  A row with the version after the one that was told last
 *	  is the next update.  An earlier one has been told.  After any other, and
 *	  where the feed has not all of it (event_omitted, with_states), the cursor
 *	  falls behind.
 * 2. A cursor that is behind is brought up to date by get_changes(), from the
 *	  version that was told last, which is read once more: so that an id which has
 *	  been given to another game meanwhile is noticed.  Changes in the feed do not
 *	  count for it until then: get_changes() sees at least what the feed has told
 *	  before it was called.
 * 3. After a gap (another server, a restart, too far behind) every cursor is
 *	  behind, and games may have come that nobody knows: subscriptions to a type
 *	  list what is there (take_live, take_stored).  The position that came with the
 *	  gap is older than all that is read then, so that nothing falls in between;
 *	  what comes twice is recognised by its version.
 * 4. Has something been taken back?  If the change that was told last was made at
 *	  another time or, after a gap, is not there, then what was told is void: the
 *	  game is read from its start, after an update RESET or, if there is none,
 *	  DELETED.  (Without a gap the feed itself tells of a game's deletion.)  On a
 *	  standby "not there" may also mean "not yet", so that it is given LOST_TIME
 *	  there.
 * 5. A game that a subscription to a type has never met begins at version 1.  A
 *	  later one means that it is older than the subscription, and over
 *	  (began_at); or that it had been put away, and is told whole.
 *
 *-------------------------------------------------------------------------
 */
#include "subscription_internal.h"

#include <string.h>

/* milliseconds */
#define LOST_TIME	 10000
#define LOST_RETRY	 200
#define MEMORY_RETRY 100

/*
 * Games that are over are kept for so long after the feed has been read beyond
 * their end, and are looked for again so long before the place where it was left
 * (microseconds): clocks of servers, and how long a transaction takes to commit,
 * may differ by that.
 */
#define KEEP_ENDED	 INT64_C(60000000)
#define SEARCH_ENDED INT64_C(30000000)

static bool
is_end(const char *what)
{
	return strcmp(what, "finish") == 0 || strcmp(what, "abandon") == 0;
}

/* An update that could not be handed over for lack of memory comes again. */
static bool
try_later(Cursor *cursor)
{
	gsu_fall_behind(cursor, false);
	cursor->retry_at = gamestate_now() + MEMORY_RETRY;
	return false;
}

/* A change, or a snapshot, is told; the cursor goes on.  false: no memory. */
static bool
tell(Cursor *cursor, const gamestate_update *update)
{
	if (!gsu_hand_over(cursor->owner, update))
		return try_later(cursor);
	cursor->last = update->version;
	cursor->last_at = update->at_us;
	if (update->kind == GAMESTATE_UPDATE_CHANGE && is_end(update->what))
		gsu_ended(cursor, update->at_us);
	else
		gsu_goes_on(cursor);
	return true;
}

/* The game begins anew, or is gone. */
static bool
tell_void(Cursor *cursor, gamestate_update_kind kind, const char *what, int64_t at)
{
	gamestate_update update = {.kind = kind,
							   .game_id = cursor->id,
							   .what = what,
							   .at_us = at};

	if (!gsu_hand_over(cursor->owner, &update))
		return try_later(cursor);
	cursor->last = 0;
	cursor->last_at = GAMESTATE_NO_TIME;
	if (kind == GAMESTATE_UPDATE_DELETED)
		gsu_ended(cursor,
				  at != GAMESTATE_NO_TIME ? at : cursor->owner->subscriber->current_at);
	else
		gsu_goes_on(cursor);
	return true;
}

/* -----------------------------------------------------------------------
 * The feed
 * -----------------------------------------------------------------------
 */

static gamestate_update
update_of(const gamestate_feed_row *row, gamestate_update_kind kind)
{
	return (gamestate_update){
		.kind = kind,
		.game_id = row->game_id,
		.game_type = row->game_type,
		.version = kind == GAMESTATE_UPDATE_CHANGE ? row->version : 0,
		.what = row->kind,
		.player = row->player,
		.at_us = row->at_us,
		.has_request_id = row->has_request_id,
		.request_id = row->request_id,
		.event = row->event,
	};
}

static gamestate_update_kind
kind_of(const gamestate_feed_row *row)
{
	if (strcmp(row->kind, "delete") == 0)
		return GAMESTATE_UPDATE_DELETED;
	return row->version == 0 ? GAMESTATE_UPDATE_NOTICE : GAMESTATE_UPDATE_CHANGE;
}

static void
take_notice(gamestate_subscription *sub, const gamestate_feed_row *row)
{
	gamestate_update update = update_of(row, GAMESTATE_UPDATE_NOTICE);

	/* At most once: without memory it is lost. */
	(void) gsu_hand_over(sub, &update);
}

/*
 * An old one, if the game has been read since it was created anew.  Else nothing
 * that was there before can be read any more, nor has it to be.
 */
static void
take_delete(Cursor *cursor, const gamestate_feed_row *row)
{
	if (cursor->last <= 0 ||
		(cursor->last_at != GAMESTATE_NO_TIME && row->at_us < cursor->last_at))
		cursor->owner->subscriber->stats.known++;
	else if (tell_void(cursor, GAMESTATE_UPDATE_DELETED, row->kind, row->at_us))
		cursor->verifies = cursor->restarts = false;
}

static void
take_row_change(Cursor *cursor, const gamestate_feed_row *row)
{
	const gamestate_subscription_options *options = &cursor->owner->options;
	gamestate_update update;

	if (row->version <= cursor->last)
		cursor->owner->subscriber->stats.known++;
	else if (row->version > cursor->last + 1 || row->event_omitted ||
			 options->with_states)
		gsu_fall_behind(cursor, row->version > cursor->last + 1);
	else
	{
		update = update_of(row, GAMESTATE_UPDATE_CHANGE);
		tell(cursor, &update);
	}
}

static void
take_row_for(Cursor *cursor, const gamestate_feed_row *row, gamestate_update_kind kind)
{
	if (cursor->owner->closed)
		return;
	if (kind == GAMESTATE_UPDATE_NOTICE)
		take_notice(cursor->owner, row);
	else if (kind == GAMESTATE_UPDATE_DELETED)
		take_delete(cursor, row);
	else if (!cursor->is_behind)
		take_row_change(cursor, row);
}

static bool
follows_type(const gamestate_subscription *sub)
{
	return sub->options.all_games || sub->options.game_type != NULL;
}

static bool
is_of_type(const gamestate_subscription *sub, const char *game_type)
{
	return sub->options.all_games ||
		   (sub->options.game_type != NULL && game_type != NULL &&
			strcmp(sub->options.game_type, game_type) == 0);
}

/* Games are listed before the feed is read on. */
static void
list_again(gamestate_subscription *sub)
{
	if (!follows_type(sub))
		return;
	if (sub->list == LIST_NONE)
		sub->missed_since = sub->subscriber->current_at;
	sub->list = LIST_LIVE;
}

/* Item 5: a game that a subscription to its type has not met. */
static bool
meet(gamestate_subscription *sub, const gamestate_feed_row *row,
	 gamestate_update_kind kind)
{
	Cursor *cursor;

	if (sub->closed || sub->list != LIST_NONE || !is_of_type(sub, row->game_type) ||
		gsu_cursor(sub, &row->game_id) != NULL)
		return false;
	if (kind == GAMESTATE_UPDATE_NOTICE)
	{
		take_notice(sub, row);
		return true;
	}
	if (kind == GAMESTATE_UPDATE_DELETED ||
		(row->version > 1 && row->at_us < sub->began_at))
		return false;
	cursor = gsu_add_cursor(sub, &row->game_id, 0);
	if (cursor == NULL)
		list_again(sub); /* no memory: it is found later */
	else
		take_row_for(cursor, row, kind);
	return true;
}

static void
take_row(gamestate_subscriber *s, const gamestate_feed_row *row)
{
	gamestate_update_kind kind = kind_of(row);
	bool wanted = false;

	s->stats.rows++;
	for (Cursor *cursor = gsu_first_cursor(s, &row->game_id); cursor != NULL;
		 cursor = gsu_next_cursor(cursor))
	{
		take_row_for(cursor, row, kind);
		wanted = true;
	}
	for (gamestate_subscription *sub = s->subscriptions; sub != NULL; sub = sub->next)
		wanted |= meet(sub, row, kind);
	s->stats.unwanted += !wanted;
}

void
gsu_gap(gamestate_subscriber *s)
{
	s->stats.gaps++;
	for (gamestate_subscription *sub = s->subscriptions; sub != NULL; sub = sub->next)
	{
		if (sub->closed)
			continue;
		for (Cursor *cursor = sub->cursors; cursor != NULL; cursor = cursor->next)
			if (cursor->ended_at == GAMESTATE_NO_TIME ||
				cursor->ended_at >= s->current_at - KEEP_ENDED)
				gsu_fall_behind(cursor, cursor->last > 0);
		list_again(sub);
		sub->announce = true;
	}
	gsu_event(s, GAMESTATE_SUBSCRIBER_GAP, "", "the feed does not go on: games are read");
}

void
gsu_take_rows(gamestate_subscriber *s, gamestate_result *result)
{
	size_t rows = gamestate_result_rows(result);

	for (size_t i = 0; i < rows && !s->closing; i++)
	{
		const gamestate_feed_row *row = gamestate_result_feed_row(result, i);

		/* No memory: from here on once more.  What is told already is known then. */
		if (row == NULL)
			return;
		s->position = row->position;
		if (row->has_game)
			take_row(s, row);
		else if (strcmp(row->kind, "gap") == 0)
			gsu_gap(s);
		else if (rows - 1 < (size_t) s->options.max_changes)
			s->current_at = row->at_us;
	}
	/* They cannot be met any more, not even among the games listed after a gap. */
	for (gamestate_subscription *sub = s->subscriptions; sub != NULL; sub = sub->next)
		if (sub->list == LIST_NONE)
			gsu_forget_ended(sub, s->current_at - KEEP_ENDED);
}

/* -----------------------------------------------------------------------
 * Changes of a game
 * -----------------------------------------------------------------------
 */

/* What was told of it is not so: read it from the start. */
static void
restart(Cursor *cursor)
{
	cursor->verifies = false;
	cursor->restarts = true;
}

/* There is nothing, not even the change that was told last. */
static void
nothing_there(Cursor *cursor)
{
	int64_t now = gamestate_now();

	if (cursor->owner->subscriber->is_standby)
	{
		if (cursor->lost_since == 0)
			cursor->lost_since = now;
		if (now - cursor->lost_since < LOST_TIME)
		{
			cursor->retry_at = now + LOST_RETRY;
			return;
		}
	}
	restart(cursor);
}

/* The change that was told last, read once more. */
static bool
is_still_so(const Cursor *cursor, const gamestate_change *change)
{
	return change->version != cursor->last || cursor->last_at == GAMESTATE_NO_TIME ||
		   strcmp(change->kind, "snapshot") == 0 || change->at_us == cursor->last_at;
}

static gamestate_update
change_update(const gamestate_change *change)
{
	return (gamestate_update){
		.kind = strcmp(change->kind, "snapshot") == 0 ? GAMESTATE_UPDATE_SNAPSHOT
													  : GAMESTATE_UPDATE_CHANGE,
		.game_id = change->game_id,
		.version = change->version,
		.what = change->kind,
		.player = change->player,
		.at_us = change->at_us,
		.has_request_id = change->has_request_id,
		.request_id = change->request_id,
		.event = change->event,
		.patch = change->patch,
		.state = change->state,
	};
}

/* What is before this version cannot be told. */
static bool
tell_unkept(Cursor *cursor, int64_t version)
{
	gamestate_update update = {.kind = GAMESTATE_UPDATE_SNAPSHOT,
							   .game_id = cursor->id,
							   .version = version,
							   .what = "snapshot",
							   .at_us = GAMESTATE_NO_TIME};

	return tell(cursor, &update);
}

static bool
tell_change(Cursor *cursor, const gamestate_change *change)
{
	gamestate_update update = change_update(change);

	if (change->version <= cursor->last)
		return true;
	if (update.kind == GAMESTATE_UPDATE_CHANGE && change->version > cursor->last + 1 &&
		!tell_unkept(cursor, change->version - 1))
		return false;
	return tell(cursor, &update);
}

void
gsu_take_changes(Cursor *cursor, gamestate_result *result, int asked_for)
{
	size_t rows = gamestate_result_rows(result);
	const gamestate_change *first = gamestate_result_change(result, 0);

	if (rows > 0 && first == NULL)
	{
		try_later(cursor);
		return;
	}
	if (cursor->verifies && rows == 0)
	{
		nothing_there(cursor);
		return;
	}
	if (rows > 0 && !cursor->restarts && !is_still_so(cursor, first))
	{
		restart(cursor);
		return;
	}
	cursor->verifies = false;
	if (cursor->restarts)
	{
		if (!tell_void(cursor,
					   rows > 0 ? GAMESTATE_UPDATE_RESET : GAMESTATE_UPDATE_DELETED,
					   rows > 0 ? "reset" : "delete", GAMESTATE_NO_TIME))
			return;
		cursor->restarts = false;
	}
	for (size_t i = 0; i < rows && !cursor->removed; i++)
	{
		const gamestate_change *change = gamestate_result_change(result, i);

		cursor->owner->subscriber->stats.read_changes++;
		if (change == NULL)
			try_later(cursor);
		if (change == NULL || !tell_change(cursor, change))
			return;
	}
	if (rows < (size_t) asked_for)
		gsu_catch_up(cursor);
}

/* From now on; or its log is gone, and this is all that can be told of it. */
void
gsu_take_version(Cursor *cursor, int64_t version)
{
	if (cursor->unkept && version > 0 && !tell_unkept(cursor, version))
		return;
	cursor->unkept = false;
	cursor->restarts = false;
	cursor->last = version;
	gsu_catch_up(cursor);
}

/* -----------------------------------------------------------------------
 * Lists of games, for subscriptions to a type
 * -----------------------------------------------------------------------
 */

/* A game that is not known yet; false: no memory */
static bool
find(gamestate_subscription *sub, const gamestate_uuid *id, int64_t version,
	 int64_t ended_at)
{
	bool is_noted = sub->list_is_first && !sub->options.from_start;
	Cursor *cursor;

	if (gsu_cursor(sub, id) != NULL)
		return true;
	cursor = gsu_add_cursor(sub, id, is_noted ? version : 0);
	if (cursor == NULL)
		return false;
	if (!is_noted)
		gsu_fall_behind(cursor, false);
	else if (ended_at != GAMESTATE_NO_TIME)
		gsu_ended(cursor, ended_at);
	return true;
}

/* The games in memory; false: no memory here */
bool
gsu_take_live(gamestate_subscription *sub, gamestate_result *result)
{
	for (size_t i = 0; i < gamestate_result_rows(result); i++)
	{
		const gamestate_game *game = gamestate_result_game(result, i);

		if (game == NULL || !find(sub, &game->game_id, game->version, game->ended_us))
			return false;
	}
	sub->list = LIST_STORED;
	return true;
}

/* Those that have left the memory; the first time none, only the server's time. */
bool
gsu_take_stored(gamestate_subscription *sub, gamestate_result *result)
{
	if (sub->list_is_first)
		gamestate_result_timestamp(result, 0, 0, &sub->began_at);
	for (size_t i = 0; i < gamestate_result_rows(result) && !sub->list_is_first; i++)
	{
		gamestate_uuid id;

		if (gamestate_result_uuid(result, i, 0, &id) &&
			!find(sub, &id, 0, GAMESTATE_NO_TIME))
			return false;
	}
	sub->list_is_first = false;
	sub->list = LIST_NONE;
	return true;
}

/* Since when games are looked for that have left the memory. */
int64_t
gsu_search_from(const gamestate_subscription *sub)
{
	int64_t from = sub->missed_since - SEARCH_ENDED;

	return from > sub->began_at ? from : sub->began_at;
}
