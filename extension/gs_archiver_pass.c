/*-------------------------------------------------------------------------
 *
 * gs_archiver_pass.c
 *	  A pass of the archiver through its queue.
 *
 * The model:
 *	1. A pass goes through the queue in batches: leave out what has to wait,
 *	   make missing partitions, archive the rest (gs_archiver_split.c).
 *	2. What has to wait stays in the queue: games somebody has locked, games
 *	   that are set aside, games of a paused type.  A pass remembers how many
 *	   of them stand at the queue's head, and until one is due later passes
 *	   start behind them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_archiver_parts.h"
#include "gs_config.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* How many archived games are freed at once. */
#define FREE_AT_ONCE 5000

/* The head of the queue is looked at so often, whatever stands there. */
#define HEAD_LOOK_MS 10000

/* what is known about the head of the queue */
static int head_skip = 0;
static TimestampTz head_look_at = 0;

void
gs_archiver_retry_at(TimestampTz at)
{
	if (GsArchiver.pass.retry_at == 0 || at < GsArchiver.pass.retry_at)
		GsArchiver.pass.retry_at = at;
}

void
gs_pass_forget(void)
{
	head_look_at = 0;
}

/* Leave out the games whose type pauses; returns how many are left. */
static int
drop_paused(GsBatchGame *games, int n)
{
	int kept = 0;

	for (int i = 0; i < n; i++)
	{
		if (!gs_failures_is_paused(&games[i]))
			games[kept++] = games[i];
	}
	return kept;
}

/* What of the queue can be tried now?  *gone counts what has left it. */
static int
select_games(const GsQueueItem *items, int n, GsBatchGame *games, int *gone)
{
	TimestampTz now = GetCurrentTimestamp();
	int selected = 0;

	*gone = 0;
	for (int i = 0; i < n; i++)
	{
		GsBatchGame *game = &games[selected];
		GsGameCopy *copy;

		if (gs_failures_has_to_wait(&items[i], now))
			continue;
		copy = gs_table_copy(&items[i].game_id, 0, true, GsArchiver.turn_context);
		if (copy == NULL)
		{
			(*gone)++;
			continue;
		}
		memset(game, 0, sizeof(*game));
		game->id = items[i].game_id;
		game->ended_at = copy->h.ended_at;
		game->type_len = copy->info.game_type.len;
		memcpy(game->game_type, copy->info.game_type.data, game->type_len);
		selected++;
	}
	return gs_split_make_places(games, drop_paused(games, selected));
}

/* Where to begin, and whether that leaves anything out. */
static int
start_of_pass(TimestampTz now)
{
	if (now < head_look_at)
		return head_skip;
	return 0;
}

static void
end_of_pass(TimestampTz start, int skipped, bool whole)
{
	TimestampTz now = GetCurrentTimestamp();
	bool paused = GsArchiver.paused_until > now || gs_failures_any_type_pauses(now);

	if (GsArchiver.pass.busy)
	{
		gs_archiver_retry_at(TimestampTzPlusMilliseconds(now, GsArchiver.busy_delay));
		GsArchiver.busy_delay = Min(GsArchiver.busy_delay * 2, GS_BUSY_LAST_MS);
	}
	if (whole)
	{
		TimestampTz latest = TimestampTzPlusMilliseconds(now, HEAD_LOOK_MS);

		gs_failures_tidy(start);
		head_look_at = GsArchiver.pass.retry_at != 0
						   ? Min(GsArchiver.pass.retry_at, latest)
						   : latest;
	}
	else if (GsArchiver.pass.retry_at != 0 && GsArchiver.pass.retry_at < head_look_at)
		head_look_at = GsArchiver.pass.retry_at;
	if (skipped == 0 || GsArchiver.paused_until > now)
		head_look_at = 0;
	head_skip = skipped;

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	GsArchiver.slot->set_aside = gs_failures_aside();
	GsArchiver.slot->state = paused ? GS_WORKER_PAUSED : GS_WORKER_RUNNING;
	LWLockRelease(GsShmem->slots_lock);
}

void
gs_pass_run(void)
{
	int size = Min(gs_archive_batch, gs_max_games_per_transaction);
	GsQueueItem *items = palloc(sizeof(GsQueueItem) * size);
	GsBatchGame *games = palloc(sizeof(GsBatchGame) * size);
	TimestampTz start = GetCurrentTimestamp();
	int skip = start_of_pass(start);
	bool whole = skip == 0;
	int n;

	GsArchiver.pass.archived = GsArchiver.pass.paused_types = 0;
	GsArchiver.pass.busy = false;
	GsArchiver.pass.retry_at = 0;
	if (!whole)
		gs_archiver_retry_at(head_look_at);

	GsArchiver.turn_context =
		AllocSetContextCreate(GsArchiver.loop_context, "gamestate archiver batch",
							  ALLOCSET_DEFAULT_SIZES);
	while (!ProcDiePending && GsArchiver.paused_until <= start &&
		   (n = gs_queue_peek(GsArchiver.db, skip, items, size)) > 0)
	{
		int gone;
		int selected;

		MemoryContextReset(GsArchiver.turn_context);
		MemoryContextSwitchTo(GsArchiver.turn_context);
		selected = select_games(items, n, games, &gone);
		if (selected > 0 && GsArchiver.paused_until <= start)
			gs_split_archive(games, selected);
		skip += n - gone;
		for (int i = 0; i < selected; i++)
		{
			if (games[i].outcome == GS_BATCH_ARCHIVED ||
				games[i].outcome == GS_BATCH_GONE)
				skip--;
		}
		(void) gs_table_free_archived(GsArchiver.db, false, FREE_AT_ONCE);
		pgstat_report_stat(false);
		gs_archiver_keep_journal(); /* a long queue must not keep the players waiting */
	}
	MemoryContextSwitchTo(GsArchiver.loop_context);
	MemoryContextDelete(GsArchiver.turn_context);
	GsArchiver.turn_context = GsArchiver.loop_context;
	end_of_pass(start, skip, whole);
}
