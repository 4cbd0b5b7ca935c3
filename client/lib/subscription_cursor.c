/*-------------------------------------------------------------------------
 *
 * subscription_cursor.c
 *	  How far each subscription is with each game.
 *
 * The model:
 * 1. Cursors stand in a hash table by game id, several of one game (of several
 *	  subscriptions) in the same chain, and in a list of their subscription.  The
 *	  table doubles when there are as many cursors as chains; should there be no
 *	  memory for that, the chains become longer.
 * 2. Cursors that are behind stand in the list of work, a FIFO, as do those that
 *	  were removed and wait to be freed (gsu_reap()).  What has been dealt with
 *	  meanwhile is passed over when its turn comes.
 * 3. A game that is over has no more changes, but may be met once more while
 *	  catching up.  Its cursor is kept until that cannot happen any more:
 *	  gsu_forget_ended(), in the order of their ends.
 *
 *-------------------------------------------------------------------------
 */
#include "subscription_internal.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 64

/* Generated ids begin with the time; all bytes count. */
static size_t
class_of(const gamestate_subscriber *s, const gamestate_uuid *id)
{
	uint64_t a;
	uint64_t b;

	memcpy(&a, id->bytes, sizeof(a));
	memcpy(&b, id->bytes + sizeof(a), sizeof(b));
	a ^= b * UINT64_C(0x9E3779B97F4A7C15);
	a *= UINT64_C(0xD6E8FEB86659FD93);
	return (size_t) (a ^ (a >> 32)) & (s->table_size - 1);
}

static bool
is_same(const gamestate_uuid *a, const gamestate_uuid *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static Cursor *
first_of(Cursor *cursor, const gamestate_uuid *id)
{
	while (cursor != NULL && (cursor->removed || !is_same(&cursor->id, id)))
		cursor = cursor->next_same;
	return cursor;
}

Cursor *
gsu_first_cursor(const gamestate_subscriber *s, const gamestate_uuid *id)
{
	return s->table != NULL ? first_of(s->table[class_of(s, id)], id) : NULL;
}

Cursor *
gsu_next_cursor(const Cursor *cursor)
{
	return first_of(cursor->next_same, &cursor->id);
}

Cursor *
gsu_cursor(const gamestate_subscription *sub, const gamestate_uuid *id)
{
	Cursor *cursor = gsu_first_cursor(sub->subscriber, id);

	while (cursor != NULL && cursor->owner != sub)
		cursor = gsu_next_cursor(cursor);
	return cursor;
}

/* false: there is no table at all */
static bool
grow(gamestate_subscriber *s)
{
	size_t old_size = s->table_size;
	size_t size = old_size > 0 ? old_size * 2 : FIRST_SIZE;
	Cursor **old = s->table;
	Cursor **table = calloc(size, sizeof(Cursor *));

	if (table == NULL)
		return old != NULL;
	s->table = table;
	s->table_size = size;
	for (size_t i = 0; old != NULL && i < old_size; i++)
		for (Cursor *cursor = old[i], *next; cursor != NULL; cursor = next)
		{
			size_t class = class_of(s, &cursor->id);

			next = cursor->next_same;
			cursor->next_same = table[class];
			table[class] = cursor;
		}
	free(old);
	return true;
}

Cursor *
gsu_add_cursor(gamestate_subscription *sub, const gamestate_uuid *id, int64_t last)
{
	gamestate_subscriber *s = sub->subscriber;
	Cursor *cursor;
	size_t class;

	/* Chains are walked while callbacks run, which may add games: not then. */
	if (s->table == NULL || (s->num_cursors >= s->table_size && s->depth == 0))
		if (!grow(s))
			return NULL;
	cursor = calloc(1, sizeof(*cursor));
	if (cursor == NULL)
		return NULL;
	cursor->owner = sub;
	cursor->id = *id;
	cursor->last = last;
	cursor->last_at = GAMESTATE_NO_TIME;
	cursor->ended_at = GAMESTATE_NO_TIME;
	class = class_of(s, id);
	cursor->next_same = s->table[class];
	s->table[class] = cursor;
	cursor->next = sub->cursors;
	if (sub->cursors != NULL)
		sub->cursors->prev = cursor;
	sub->cursors = cursor;
	sub->games++;
	s->num_cursors++;
	return cursor;
}

/* To the end of the list of work; unless it is there, or nothing is to be done. */
void
gsu_add_work(Cursor *cursor)
{
	gamestate_subscriber *s = cursor->owner->subscriber;

	if (cursor->in_work || !(cursor->is_behind || cursor->removed))
		return;
	cursor->in_work = true;
	cursor->next_work = NULL;
	if (s->last_work != NULL)
		s->last_work->next_work = cursor;
	else
		s->first_work = cursor;
	s->last_work = cursor;
}

Cursor *
gsu_take_work(gamestate_subscriber *s)
{
	Cursor *cursor = s->first_work;

	if (cursor == NULL)
		return NULL;
	s->first_work = cursor->next_work;
	if (s->first_work == NULL)
		s->last_work = NULL;
	cursor->in_work = false;
	return cursor;
}

static void
leave_ended(Cursor *cursor)
{
	gamestate_subscription *sub = cursor->owner;

	if (!cursor->in_ended)
		return;
	cursor->in_ended = false;
	if (cursor->prev_ended != NULL)
		cursor->prev_ended->next_ended = cursor->next_ended;
	else
		sub->first_ended = cursor->next_ended;
	if (cursor->next_ended != NULL)
		cursor->next_ended->prev_ended = cursor->prev_ended;
	else
		sub->last_ended = cursor->prev_ended;
}

/* It is freed when nobody looks at it any more. */
void
gsu_remove_cursor(Cursor *cursor)
{
	if (cursor->removed)
		return;
	gsu_catch_up(cursor);
	leave_ended(cursor);
	cursor->removed = true;
	cursor->owner->games--;
	cursor->owner->subscriber->reap = true;
	gsu_add_work(cursor);
}

/* Out of table and list; it is not in the list of work any more. */
void
gsu_free_cursor(Cursor *cursor)
{
	gamestate_subscription *sub = cursor->owner;
	gamestate_subscriber *s = sub->subscriber;
	Cursor **link = &s->table[class_of(s, &cursor->id)];

	while (*link != cursor)
		link = &(*link)->next_same;
	*link = cursor->next_same;
	if (cursor->prev != NULL)
		cursor->prev->next = cursor->next;
	else
		sub->cursors = cursor->next;
	if (cursor->next != NULL)
		cursor->next->prev = cursor->prev;
	s->num_cursors--;
	free(cursor);
}

/* Changes are missing; or, with `verify`, may be, and may have been taken back. */
void
gsu_fall_behind(Cursor *cursor, bool verify)
{
	if (cursor->removed)
		return;
	if (verify)
		cursor->verifies = true;
	if (cursor->is_behind)
		return;
	cursor->is_behind = true;
	cursor->retry_at = 0;
	cursor->lost_since = 0;
	cursor->owner->behind++;
	gsu_add_work(cursor);
}

void
gsu_catch_up(Cursor *cursor)
{
	if (!cursor->is_behind)
		return;
	cursor->is_behind = false;
	cursor->verifies = false;
	cursor->lost_since = 0;
	cursor->owner->behind--;
}

/* Games that are asked for by their ids are kept until they are removed. */
void
gsu_ended(Cursor *cursor, int64_t at)
{
	gamestate_subscription *sub = cursor->owner;

	cursor->ended_at = at;
	if (cursor->is_listed || cursor->in_ended || cursor->removed)
		return;
	cursor->in_ended = true;
	cursor->next_ended = NULL;
	cursor->prev_ended = sub->last_ended;
	if (sub->last_ended != NULL)
		sub->last_ended->next_ended = cursor;
	else
		sub->first_ended = cursor;
	sub->last_ended = cursor;
}

/* It goes on after all: deleted and created anew, restored, reset. */
void
gsu_goes_on(Cursor *cursor)
{
	cursor->ended_at = GAMESTATE_NO_TIME;
	leave_ended(cursor);
}

void
gsu_forget_ended(gamestate_subscription *sub, int64_t before)
{
	Cursor *next;

	for (Cursor *cursor = sub->first_ended; cursor != NULL; cursor = next)
	{
		next = cursor->next_ended;
		if (cursor->ended_at >= before)
			break;
		if (!cursor->is_behind)
			gsu_remove_cursor(cursor);
	}
}
