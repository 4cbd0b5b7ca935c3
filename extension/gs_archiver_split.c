/*-------------------------------------------------------------------------
 *
 * gs_archiver_split.c
 *	  Archiving a list of games; when that fails, finding what is to blame.
 *
 * The model:
 *	1. The list goes to the archive in batches (gs_batch.c), after the partitions
 *	   that it lacks have been made.
 *	2. If a batch fails, the games of each type are tried by themselves.  If a
 *	   type's games fail, samples of them are tried one by one.  When all
 *	   samples fail the cause is not a game: the type pauses.  When some
 *	   succeed the rest is halved until the games that fail are found; these
 *	   are set aside, and the others are archived.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_archiver_parts.h"
#include "gs_archiver_stat.h"
#include "gs_place.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/timestamp.h"

/* First and longest wait before looking again whether a new partition may be used. */
#define SETTLE_FIRST_MS 10
#define SETTLE_LAST_MS	1000

/* How many games of a type are tried one by one before it pauses. */
#define SAMPLES		 4
#define TAIL_SAMPLES 2
#define TAIL_LOOK	 16 /* among so many at the end of the queue */

static int settle_delay = SETTLE_FIRST_MS;

/* ----------------------------------------------------------------
 *		Archiving a list of games
 * ----------------------------------------------------------------
 */

/* So many of the games go into one transaction: what the policies of all of them allow. */
static int
batch_size(const GsBatchGame *games, int n)
{
	int limit = n;
	int i;

	for (i = 0; i < n; i++)
	{
		limit = Min(limit, games[i].batch);
		if (i > 0 && i >= limit)
			break;
	}
	return i;
}

static bool
same_type(const GsBatchGame *a, const GsBatchGame *b)
{
	return memcmp(a->game_type, b->game_type, sizeof(a->game_type)) == 0;
}

/* What was archived, by type. */
static void
count_types(const GsBatchGame *games, int n, int64 took_us)
{
	bool *counted = palloc0(sizeof(bool) * n);

	for (int i = 0; i < n; i++)
	{
		GsBatchTotals totals = {0};

		if (counted[i] || games[i].outcome != GS_BATCH_ARCHIVED)
			continue;
		for (int j = i; j < n; j++)
		{
			if (games[j].outcome != GS_BATCH_ARCHIVED || !same_type(&games[i], &games[j]))
				continue;
			counted[j] = true;
			totals.games++;
			totals.raw_bytes += games[j].raw_bytes;
			totals.stored_bytes += games[j].stored_bytes;
		}
		gs_archiver_stat_batch(games[i].game_type, totals.games, totals.raw_bytes,
							   totals.stored_bytes, took_us);
	}
	pfree(counted);
}

static void
count_batch(const GsBatchTotals *totals)
{
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	GsArchiver.slot->batches++;
	GsArchiver.slot->games += totals->games;
	GsArchiver.slot->raw_bytes += totals->raw_bytes;
	GsArchiver.slot->stored_bytes += totals->stored_bytes;
	GsArchiver.slot->last_archived_at = now;
	LWLockRelease(GsShmem->slots_lock);
}

/* The games of one transaction have been dealt with. */
static void
note_outcomes(const GsBatchGame *games, int n, const GsBatchTotals *totals,
			  instr_time start)
{
	instr_time took;

	INSTR_TIME_SET_CURRENT(took);
	INSTR_TIME_SUBTRACT(took, start);
	for (int i = 0; i < n; i++)
	{
		if (games[i].outcome == GS_BATCH_ARCHIVED)
			gs_failures_archived(&games[i]);
		else if (games[i].outcome == GS_BATCH_BUSY)
			GsArchiver.pass.busy = true;
	}
	if (totals->games == 0)
		return;
	count_batch(totals);
	count_types(games, n, (int64) INSTR_TIME_GET_MICROSEC(took));
}

/* They have failed.  Those of several types say nothing about one of them. */
static void
note_failure(const GsBatchGame *games, int n, const ErrorData *error)
{
	for (int i = 1; i < n; i++)
		if (!same_type(&games[0], &games[i]))
			return;
	gs_archiver_stat_failure(games[0].game_type, error);
}

/*
 * Archive games in as many transactions as their size asks for, until one
 * fails.  Returns how many of them were dealt with; *error is NULL if all.
 */
static int
try_games(GsBatchGame *games, int n, ErrorData **error)
{
	volatile int done = 0;

	*error = NULL;
	while (done < n && *error == NULL)
	{
		GsBatchTotals totals = {0};
		int size = batch_size(games + done, n - done);
		volatile int dealt_with = 0;
		instr_time start;

		INSTR_TIME_SET_CURRENT(start);
		PG_TRY();
		{
			dealt_with = gs_batch_run(games + done, size, &totals);
		}
		PG_CATCH();
		{
			*error = gs_failures_take();
			gs_batch_abandon();
		}
		PG_END_TRY();

		if (*error == NULL)
			note_outcomes(games + done, dealt_with, &totals, start);
		else
			note_failure(games + done, size, *error);
		done += dealt_with;
	}
	return done;
}

static int
by_type(const void *a, const void *b)
{
	return memcmp(((const GsBatchGame *) a)->game_type,
				  ((const GsBatchGame *) b)->game_type, GS_MAX_ID_LENGTH + 1);
}

static bool
may_go_on(const GsBatchGame *game)
{
	return GsArchiver.paused_until <= GetCurrentTimestamp() && !ProcDiePending &&
		   !gs_failures_is_paused(game);
}

/* Games of one type that failed together: set aside those that fail alone. */
static void
halve(GsBatchGame *games, int n, ErrorData *error, bool alone)
{
	if (n == 1)
	{
		gs_failures_set_aside(games, error, alone);
		return;
	}
	for (int part = 0; part < 2; part++)
	{
		GsBatchGame *half = games + (part == 0 ? 0 : n / 2);
		int size = part == 0 ? n / 2 : n - n / 2;
		int done;

		if (!may_go_on(half))
			return;
		done = try_games(half, size, &error);
		if (done < size)
			halve(half + done, size - done, error, alone);
	}
}

/*
 * Fill in the last games of the queue that are of this type and not in the
 * list: new ones may be all right although the head is not.
 */
static int
sample_tail(const GsBatchGame *games, int n, GsBatchGame *tail)
{
	GsQueueItem items[TAIL_LOOK];
	int found = gs_queue_last(GsArchiver.db, items, TAIL_LOOK);
	int result = 0;

	for (int i = 0; i < found && result < TAIL_SAMPLES; i++)
	{
		GsGameCopy *copy;
		bool listed = false;

		for (int j = 0; j < n; j++)
			listed |= memcmp(&games[j].id, &items[i].game_id, UUID_LEN) == 0;
		if (listed || gs_failures_is_aside(&items[i].game_id))
			continue;
		copy = gs_table_copy(&items[i].game_id, 0, true, GsArchiver.turn_context);
		if (copy == NULL || copy->info.game_type.len != games[0].type_len ||
			memcmp(copy->info.game_type.data, games[0].game_type, games[0].type_len) != 0)
			continue;
		tail[result] = games[0];
		tail[result].id = items[i].game_id;
		tail[result].ended_at = items[i].ended_at;
		tail[result].outcome = GS_BATCH_OPEN;
		result++;
	}
	return result;
}

/* One game by itself.  One that somebody has locked is no success. */
static bool
is_archived(GsBatchGame *game, ErrorData **error)
{
	(void) try_games(game, 1, error);
	return game->outcome == GS_BATCH_ARCHIVED;
}

/*
 * Games of one type that failed together: is it the games or the type?  The
 * samples stand in front of the list afterwards.
 */
static void
find_culprits(GsBatchGame *games, int n, ErrorData *error)
{
	GsBatchGame tail[TAIL_SAMPLES];
	ErrorData *errors[SAMPLES] = {0};
	ErrorData *tail_error;
	int samples = Min(n, SAMPLES);
	int ntail;
	bool any = false;

	/* who is alone, or has but one other, cannot be told from its type */
	if (n < GS_PAUSE_AFTER)
	{
		halve(games, n, error, true);
		return;
	}

	/* others each time: with few good ones among many bad ones it is a matter of luck */
	for (int i = 0; i < samples; i++)
	{
		int from = i + (int) pg_prng_uint64_range(&pg_global_prng_state, 0, n - 1 - i);
		GsBatchGame swap = games[i];

		games[i] = games[from];
		games[from] = swap;
	}
	for (int i = 0; i < samples && may_go_on(&games[i]); i++)
		any |= is_archived(&games[i], &errors[i]);
	if (!any && may_go_on(games))
	{
		ntail = sample_tail(games, n, tail);
		for (int i = 0; i < ntail && !any; i++)
			any = is_archived(&tail[i], &tail_error);
	}
	if (!may_go_on(games))
		return;
	if (!any)
	{
		gs_failures_pause_type(games, error);
		return;
	}
	for (int i = 0; i < samples; i++)
	{
		if (errors[i] != NULL)
			gs_failures_set_aside(&games[i], errors[i], false);
	}
	if (n == samples || !may_go_on(games))
		return;
	(void) try_games(games + samples, n - samples, &error);
	if (error != NULL)
	{
		int first = samples;

		while (first < n && games[first].outcome != GS_BATCH_OPEN)
			first++;
		if (first < n)
			halve(games + first, n - first, error, false);
	}
}

/*
 * Games of one type that failed together.  Those that are tried again after
 * having been set aside say nothing about their type: they go last, apart.
 */
static void
split_type(GsBatchGame *games, int n, ErrorData *error)
{
	int fresh = 0;

	for (int i = 0; i < n; i++)
	{
		GsBatchGame swap = games[i];

		if (gs_failures_is_to_blame(&games[i]))
			continue;
		games[i] = games[fresh];
		games[fresh++] = swap;
	}
	if (fresh == n)
	{
		find_culprits(games, n, error);
		return;
	}
	if (fresh > 0)
	{
		ErrorData *failed;
		int done = try_games(games, fresh, &failed);

		if (failed != NULL)
			find_culprits(games + done, fresh - done, failed);
	}
	if (may_go_on(games + fresh))
		halve(games + fresh, n - fresh, error, false);
}

/* Leave out games whose partition is too new to be used; returns how many are left. */
static int
drop_unsettled(GsBatchGame *games, int n)
{
	int kept = 0;

	for (int i = 0; i < n; i++)
	{
		GsText game_type = {games[i].game_type, games[i].type_len};

		if (gs_place_is_settled(&game_type, games[i].ended_at))
			games[kept++] = games[i];
	}
	if (kept < n)
	{
		gs_archiver_retry_at(
			TimestampTzPlusMilliseconds(GetCurrentTimestamp(), settle_delay));
		settle_delay = Min(settle_delay * 2, SETTLE_LAST_MS);
	}
	else
		settle_delay = SETTLE_FIRST_MS;
	return kept;
}

/*
 * Make the partitions that these games lack.  Games for which that fails are
 * left out, their type pauses; returns how many can be archived now.
 */
int
gs_split_make_places(GsBatchGame *games, int n)
{
	volatile int left = n;
	volatile int i = 0;

	while (i < left && GsArchiver.paused_until <= GetCurrentTimestamp())
	{
		GsText game_type = {games[i].game_type, games[i].type_len};

		if (gs_place_is_known(&game_type, games[i].ended_at))
		{
			i++;
			continue;
		}
		PG_TRY();
		{
			gs_place_ensure(&game_type, games[i].ended_at);
		}
		PG_CATCH();
		{
			ErrorData *error = gs_failures_take();
			GsBatchGame failed = games[i];
			int kept = 0;

			gs_place_forget();
			if (gs_failures_is_general(error))
				gs_failures_pause_all(error);
			else
			{
				gs_archiver_stat_failure(failed.game_type, error);
				gs_failures_pause_type(&failed, error);
			}
			for (int j = 0; j < left; j++)
			{
				if (by_type(&games[j], &failed) != 0)
					games[kept++] = games[j];
			}
			left = kept;
			i = 0;
		}
		PG_END_TRY();
	}
	return drop_unsettled(games, left);
}

/* Games of one type. */
static void
archive_type(GsBatchGame *games, int n)
{
	ErrorData *error;
	int done;

	if (!may_go_on(games))
		return;
	done = try_games(games, n, &error);
	if (error == NULL)
		return;
	games += done;
	n -= done;

	/* a partition may have been dropped or detached: once more, with a new one */
	if (error->sqlerrcode == ERRCODE_CHECK_VIOLATION)
	{
		gs_place_forget();
		n = gs_split_make_places(games, n);
		if (n == 0)
			return;
		done = try_games(games, n, &error);
		if (error == NULL)
			return;
		games += done;
		n -= done;
	}

	if (gs_failures_is_general(error))
		gs_failures_pause_all(error);
	else if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		gs_failures_pause_type(games, error); /* each further try would wait as long */
	else
		split_type(games, n, error);
}

void
gs_split_archive(GsBatchGame *games, int n)
{
	ErrorData *error;
	int done = try_games(games, n, &error);

	if (error == NULL)
		return;
	if (gs_failures_is_general(error))
	{
		gs_failures_pause_all(error);
		return;
	}
	qsort(games + done, n - done, sizeof(GsBatchGame), by_type);
	for (int first = done; first < n;)
	{
		int next = first + 1;

		while (next < n && by_type(&games[first], &games[next]) == 0)
			next++;
		archive_type(games + first, next - first);
		first = next;
	}
}
