/*-------------------------------------------------------------------------
 *
 * gs_archiver_pass.c
 *	  A pass of the archiver through its queue.
 *
 * The model:
 *	1. Games that have ended since the last look are ranked: their types'
 *	   policies say which go first (gs_queue.c).  When policies change all are
 *	   ranked anew.
 *	2. A pass takes games from the queue, the highest priority first, then the
 *	   oldest finish: leave out what has to wait, make missing partitions,
 *	   archive the rest (gs_archiver_split.c).  Before each batch it ranks what
 *	   has come meanwhile.
 *	3. What has to wait stays in the queue: games somebody has locked, games
 *	   that are set aside, games of a paused type.  Later passes do not look
 *	   at them until one is due.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_archiver_parts.h"
#include "gs_config.h"
#include "gs_delay.h"
#include "gs_give_way.h"
#include "gs_policy.h"
#include "gs_rules.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* How many archived games are freed in a turn, and how many without giving way. */
#define FREE_IN_TURN 5000
#define FREE_AT_ONCE 50

/* So many games are ranked at once. */
#define RANK_AT_ONCE 1000

/* Games that wait are looked at so often, whatever they wait for. */
#define LOOK_MS 10000

/* when games that wait are looked at again; 0 = at once */
static TimestampTz look_at = 0;

/* as of the policies that were used for ranking; see gs_policy_generation() */
static uint64 ranked_by = 0;
static bool ranked_any = false;

void
gs_archiver_retry_at(TimestampTz at)
{
	if (GsArchiver.pass.retry_at == 0 || at < GsArchiver.pass.retry_at)
		GsArchiver.pass.retry_at = at;
}

void
gs_pass_forget(void)
{
	look_at = 0;
}

/* ----------------------------------------------------------------
 *		Ranking
 * ----------------------------------------------------------------
 */

/* The type of a game in memory; false if there is no such game any more. */
static bool
copy_type(const pg_uuid_t *id, char *type, uint8 *len, TimestampTz *ended_at)
{
	GsGame *game = gs_table_find(id, true);
	const GsInfo *info;

	if (game == NULL)
		return false;
	info = GS_PTR(game->info);
	*len = info->type_len;
	memcpy(type, &info->nodes[gs_info_nodes(info)], info->type_len);
	*ended_at = game->h.ended_at;
	gs_table_release(game);
	return true;
}

/* Returns how many arrivals there were. */
static int
rank_some(void)
{
	GsQueueItem *items = palloc(sizeof(GsQueueItem) * RANK_AT_ONCE);
	int *priorities = palloc(sizeof(int) * RANK_AT_ONCE);
	int n = gs_queue_arrivals(GsArchiver.db, items, RANK_AT_ONCE);

	for (int i = 0; i < n; i++)
	{
		char type[GS_MAX_ID_LENGTH];
		uint8 len;
		TimestampTz ended_at;

		priorities[i] = GS_PRIORITY_DEFAULT;
		if (copy_type(&items[i].game_id, type, &len, &ended_at))
			priorities[i] = gs_policy(&(GsText){type, len})->archive_priority;
	}
	gs_queue_rank(GsArchiver.db, items, priorities, n);
	pfree(items);
	pfree(priorities);
	return n;
}

/*
 * Bring the queue in order.  Returns how many games are taken from it at once:
 * the largest batch that a policy allows.
 */
static int
rank_arrivals(void)
{
	uint64 generation;
	int size;
	bool any;

	gs_worker_begin(0);
	generation = gs_policy_generation();
	any = gs_policy_any_priority();
	size = gs_policy_largest_batch();
	if (generation != ranked_by && (any || ranked_any))
		gs_queue_unrank(GsArchiver.db);
	ranked_by = generation;
	ranked_any = any;
	if (any)
		while (rank_some() > 0)
			CHECK_FOR_INTERRUPTS();
	else
		while (gs_queue_rank_default(GsArchiver.db, RANK_AT_ONCE) > 0)
			CHECK_FOR_INTERRUPTS();
	gs_worker_commit();
	return Min(size, gs_max_games_per_transaction);
}

/* ----------------------------------------------------------------
 *		What is archived now
 * ----------------------------------------------------------------
 */

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

/* Types whose batches are small go last, so that they do not make the others' small. */
static int
compare_batches(const void *a, const void *b)
{
	const GsBatchGame *left = a;
	const GsBatchGame *right = b;

	if (left->batch != right->batch)
		return left->batch > right->batch ? -1 : 1;
	return (left->ended_at > right->ended_at) - (left->ended_at < right->ended_at);
}

/* How large may the batches of their types be? */
static void
set_batches(GsBatchGame *games, int n)
{
	bool differ = false;

	gs_worker_begin(0);
	for (int i = 0; i < n; i++)
	{
		GsText type = {games[i].game_type, games[i].type_len};
		int batch = gs_policy(&type)->archive_batch;

		games[i].batch = batch == GS_POLICY_SETTING ? gs_archive_batch : batch;
		differ |= games[i].batch != games[0].batch;
	}
	gs_worker_commit();
	if (differ)
		qsort(games, n, sizeof(GsBatchGame), compare_batches);
}

/* What of the queue can be tried now? */
static int
select_games(const GsQueueItem *items, int n, GsBatchGame *games)
{
	TimestampTz now = GetCurrentTimestamp();
	int selected = 0;

	for (int i = 0; i < n; i++)
	{
		GsBatchGame *game = &games[selected];

		if (gs_failures_has_to_wait(&items[i], now))
			continue;
		memset(game, 0, sizeof(*game));
		game->id = items[i].game_id;
		if (copy_type(&game->id, game->game_type, &game->type_len, &game->ended_at) &&
			!gs_delay_game(GsArchiver.db, &game->id,
						   &(GsText){game->game_type, game->type_len}, game->ended_at))
			selected++;
	}
	selected = drop_paused(games, selected);
	if (selected > 0)
		set_batches(games, selected);
	return gs_split_make_places(games, selected);
}

/* ----------------------------------------------------------------
 *		The pass
 * ----------------------------------------------------------------
 */

static void
end_of_pass(TimestampTz start, bool whole)
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
		gs_failures_tidy(start);
		look_at = TimestampTzPlusMilliseconds(now, LOOK_MS);
	}
	if (GsArchiver.pass.retry_at != 0)
		look_at = Min(look_at, GsArchiver.pass.retry_at);
	if (GsArchiver.paused_until > now || !gs_queue_any_waits(GsArchiver.db))
		look_at = 0;

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	GsArchiver.slot->set_aside = gs_failures_aside();
	GsArchiver.slot->state = paused ? GS_WORKER_PAUSED : GS_WORKER_RUNNING;
	LWLockRelease(GsShmem->slots_lock);
}

/* Take games and archive them; false if there were none. */
static bool
archive_some(void)
{
	int size = rank_arrivals();
	GsQueueItem *items = palloc(sizeof(GsQueueItem) * size);
	GsBatchGame *games = palloc(sizeof(GsBatchGame) * size);
	int n = gs_queue_next(GsArchiver.db, items, size);
	int selected;

	if (n == 0)
		return false;
	selected = select_games(items, n, games);
	if (selected > 0 && GsArchiver.paused_until <= GetCurrentTimestamp())
		gs_split_archive(games, selected);
	return true;
}

void
gs_pass_free_archived(void)
{
	for (int freed = 0; freed < FREE_IN_TURN; freed += FREE_AT_ONCE)
	{
		if (gs_table_free_archived(GsArchiver.db, false, FREE_AT_ONCE) < FREE_AT_ONCE)
			break;
		gs_give_way();
	}
}

void
gs_pass_run(void)
{
	TimestampTz start = GetCurrentTimestamp();
	bool whole = start >= look_at;
	bool more = true;
	int64 gave_way_us;

	GsArchiver.pass = (GsArchiverPass){0};
	if (whole)
		gs_queue_rewind(GsArchiver.db);
	else
		gs_archiver_retry_at(look_at);

	GsArchiver.turn_context =
		AllocSetContextCreate(GsArchiver.loop_context, "gamestate archiver batch",
							  ALLOCSET_DEFAULT_SIZES);
	while (more && !ProcDiePending && GsArchiver.paused_until <= start)
	{
		MemoryContextReset(GsArchiver.turn_context);
		MemoryContextSwitchTo(GsArchiver.turn_context);
		/* players wait for memory, too */
		gs_give_way_allow(!gs_rules_pressure(GsArchiver.db));
		more = archive_some();
		gs_pass_free_archived();
		pgstat_report_stat(false);
		gs_archiver_keep_journal(); /* a long queue must not keep the players waiting */
	}
	MemoryContextSwitchTo(GsArchiver.loop_context);
	MemoryContextDelete(GsArchiver.turn_context);
	GsArchiver.turn_context = GsArchiver.loop_context;
	if ((gave_way_us = gs_give_way_taken()) > 0)
		elog(DEBUG1, "gamestate archiver: others were given way to for %lld ms",
			 (long long) gave_way_us / 1000);
	end_of_pass(start, whole);
}
