/*-------------------------------------------------------------------------
 *
 * subscription_update.c
 *	  Updates: handed to a callback, or copied into a queue.
 *
 * The model: an update in a queue is one block of memory with all that it names.
 * The one that was taken last stays until the next is taken, so that the program
 * may look at it.  A queue is full when it has as many updates, or bytes, as its
 * options say; the subscriber asks for nothing then (subscription_calls.c).
 *
 *-------------------------------------------------------------------------
 */
#include "subscription_internal.h"

#include <stdlib.h>
#include <string.h>

static size_t
text_size(const char *text)
{
	return text != NULL ? strlen(text) + 1 : 0;
}

static size_t
data_size(gamestate_data data)
{
	return data.data != NULL ? data.len + 1 : 0;
}

static const char *
copy_text(char **at, const char *text)
{
	char *copy = *at;
	size_t size = text_size(text);

	if (text == NULL)
		return NULL;
	memcpy(copy, text, size);
	*at += size;
	return copy;
}

/* A NUL follows the last byte, as in results. */
static gamestate_data
copy_data(char **at, gamestate_data data)
{
	gamestate_data copy = {*at, data.len};

	if (data.data == NULL)
		return data;
	memcpy(*at, data.data, data.len);
	(*at)[data.len] = '\0';
	*at += data.len + 1;
	return copy;
}

static Queued *
copy_update(const gamestate_update *update)
{
	size_t bytes = sizeof(Queued) + text_size(update->game_type) +
				   text_size(update->what) + text_size(update->player) +
				   data_size(update->event) + data_size(update->patch) +
				   data_size(update->state);
	Queued *queued = malloc(bytes);
	char *at;

	if (queued == NULL)
		return NULL;
	at = (char *) (queued + 1);
	queued->next = NULL;
	queued->bytes = bytes;
	queued->update = *update;
	queued->update.game_type = copy_text(&at, update->game_type);
	queued->update.what = copy_text(&at, update->what);
	queued->update.player = copy_text(&at, update->player);
	queued->update.event = copy_data(&at, update->event);
	queued->update.patch = copy_data(&at, update->patch);
	queued->update.state = copy_data(&at, update->state);
	return queued;
}

static void
count(gamestate_subscriber_stats *stats, gamestate_update_kind kind)
{
	switch (kind)
	{
		case GAMESTATE_UPDATE_CHANGE:
			stats->changes++;
			break;
		case GAMESTATE_UPDATE_SNAPSHOT:
			stats->snapshots++;
			break;
		case GAMESTATE_UPDATE_DELETED:
			stats->deletes++;
			break;
		case GAMESTATE_UPDATE_RESET:
			stats->resets++;
			break;
		case GAMESTATE_UPDATE_NOTICE:
			stats->notices++;
			break;
		case GAMESTATE_UPDATE_CURRENT:
			break;
	}
}

bool
gsu_hand_over(gamestate_subscription *sub, const gamestate_update *update)
{
	gamestate_subscriber *s = sub->subscriber;
	gamestate_update own = *update;

	/* Whoever has ended it wants nothing more; nor has it missed anything. */
	if (sub->closed || s->closing)
		return true;
	own.subscription = sub;
	if (sub->options.callback != NULL)
	{
		s->depth++;
		sub->options.callback(sub->options.arg, &own);
		s->depth--;
	}
	else
	{
		Queued *queued = copy_update(&own);

		if (queued == NULL)
			return false;
		if (sub->last_queued != NULL)
			sub->last_queued->next = queued;
		else
			sub->first_queued = queued;
		sub->last_queued = queued;
		sub->queued++;
		sub->queued_bytes += queued->bytes;
	}
	count(&s->stats, own.kind);
	s->something = true;
	return true;
}

bool
gsu_is_full(const gamestate_subscription *sub)
{
	return !sub->closed && sub->options.callback == NULL &&
		   (sub->queued >= sub->options.max_queued ||
			sub->queued_bytes >= sub->options.max_queued_bytes);
}

const gamestate_update *
gamestate_subscription_next(gamestate_subscription *sub)
{
	Queued *queued;

	if (sub == NULL)
		return NULL;
	free(sub->taken);
	sub->taken = queued = sub->first_queued;
	if (queued == NULL)
		return NULL;
	sub->first_queued = queued->next;
	if (sub->first_queued == NULL)
		sub->last_queued = NULL;
	sub->queued--;
	sub->queued_bytes -= queued->bytes;
	return &queued->update;
}

int
gamestate_subscription_queued(const gamestate_subscription *sub)
{
	return sub != NULL ? sub->queued : 0;
}

void
gsu_free_queue(gamestate_subscription *sub)
{
	while (gamestate_subscription_next(sub) != NULL)
		;
}
