/*-------------------------------------------------------------------------
 *
 * gs_archiver.c
 *	  The process that moves one database's finished games to the archive.
 *
 * The model:
 *	1. A worker that the launcher starts (gs_launcher.c) looks whether its
 *	   database has the extension.  If so it becomes the archiver, if there is
 *	   none yet, by claiming the database's worker slot.
 *	2. It sleeps until a game is over (gs_worker_wake_archiver()).  A pass then
 *	   goes through the queue in batches: leave out what has to wait, make
 *	   missing partitions, archive the rest (gs_batch.c).
 *	3. What has to wait stays in the queue: games somebody has locked, games
 *	   that are set aside, games of a paused type.  A pass remembers how many
 *	   of them stand at the queue's head, and until one is due later passes
 *	   start behind them.
 *	4. If a batch fails, the games of each type are tried by themselves.  If a
 *	   type's games fail, samples of them are tried one by one.  When all
 *	   samples fail the cause is not a game: the type pauses.  When some
 *	   succeed the rest is halved until the games that fail are found; these
 *	   are set aside, and the others are archived.  When three types have
 *	   paused and nothing succeeded, or the error says so (a full disk), the
 *	   archiver pauses.  All pauses double up to a limit and end early for
 *	   nobody; nothing is ever lost, the queue is in shared memory.
 *	5. When the queue is done: the partitions that will be needed next are looked
 *	   at (gs_place.c), and archived games are freed as soon as no snapshot needs
 *	   them in memory.
 *	6. The journal needs somebody, too: the archiver loads the games after a
 *	   start, and, between batches and whenever it is due, extends the active
 *	   table and rotates a little (gs_rotate.c).
 *
 * No transaction, lock or snapshot is held while sleeping.  SQL runs only
 * inside gs_worker_begin()/gs_worker_commit(), that is without superuser's
 * rights.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_archiver.h"
#include "gs_batch.h"
#include "gs_config.h"
#include "gs_journal.h"
#include "gs_load.h"
#include "gs_place.h"
#include "gs_worker.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/*
 * Under load a pass does not start earlier than so long after the one before,
 * so that there is more than a game or two in a batch.
 */
#define PASS_INTERVAL_MS 10

/* First and longest wait for a game that somebody has locked. */
#define BUSY_FIRST_MS 5
#define BUSY_LAST_MS  1000

/* First and longest wait before looking again whether a new partition may be used. */
#define SETTLE_FIRST_MS 10
#define SETTLE_LAST_MS	1000

/* First and longest wait before archived games are tried to be freed again. */
#define FREE_FIRST_MS 50
#define FREE_LAST_MS  2000
#define FREE_AT_ONCE  5000

/* Games set aside are tried again after up to this. */
#define ASIDE_LAST_MS (10 * 60 * 1000)

/* The head of the queue is looked at so often, whatever stands there. */
#define HEAD_LOOK_MS 10000

/* How many games of a type are tried one by one before it pauses. */
#define SAMPLES		 4
#define TAIL_SAMPLES 2

/* So many single games in a row, none in between archived: the type pauses. */
#define PAUSE_AFTER 3

/* How often keeping what is damaged in the journal is tried, and how long it waits for a lock. */
#define DAMAGE_TRIES	5
#define LOCK_TIMEOUT_MS 1000

/* The same complaint is logged so often at most. */
#define WARNING_MS (10 * 60 * 1000)

/* A game that failed alone while others did not. */
typedef struct AsideGame
{
	pg_uuid_t id; /* hash key */
	char type[GS_MAX_ID_LENGTH + 1];
	bool alone; /* perhaps it is not the game but its type */
	int failures;
	TimestampTz retry_at;
	TimestampTz seen_at; /* in the queue */
} AsideGame;

typedef struct TypeState
{
	char type[GS_MAX_ID_LENGTH + 1]; /* hash key, padded */
	int failed_in_row;				 /* single games */
	int pauses;						 /* in a row */
	TimestampTz paused_until;
} TypeState;

static GsDatabase *db = NULL;
static GsWorkerSlot *slot = NULL;

/* reset each turn; turn_context is it, or a child for one batch */
static MemoryContext loop_context = NULL;
static MemoryContext turn_context = NULL;

static HTAB *aside = NULL;
static HTAB *types = NULL;

static TimestampTz paused_until = 0;
static int pauses = 0;

/* what is known about the head of the queue */
static int head_skip = 0;
static TimestampTz head_look_at = 0;
static int busy_delay = BUSY_FIRST_MS;
static int settle_delay = SETTLE_FIRST_MS;

/* this pass */
static int pass_archived;
static int pass_paused_types;
static bool pass_busy;
static TimestampTz pass_retry_at; /* earliest of what has to wait; 0 = none */

static int free_delay = FREE_FIRST_MS;
static TimestampTz ahead_retry_at = 0;
static int ahead_failures = 0;
static TimestampTz journal_due = 0;
static int journal_failures = 0;
static int damage_tries = 0;

/* something failed: perhaps the extension was dropped behind our back */
static bool look_for_extension = false;

static char warned_message[GS_WORKER_ERROR_LEN];
static TimestampTz warned_at = 0;

/* ----------------------------------------------------------------
 *		Failures
 * ----------------------------------------------------------------
 */

static void
retry_at(TimestampTz at)
{
	if (pass_retry_at == 0 || at < pass_retry_at)
		pass_retry_at = at;
}

static TypeState *
type_state(const char *type)
{
	bool found;
	TypeState *state = hash_search(types, type, HASH_ENTER, &found);

	if (!found)
		memset((char *) state + sizeof(state->type), 0,
			   sizeof(*state) - sizeof(state->type));
	return state;
}

static bool
is_paused(const GsBatchGame *game)
{
	TypeState *state = hash_search(types, game->game_type, HASH_FIND, NULL);

	if (state == NULL || state->paused_until <= GetCurrentTimestamp())
		return false;
	retry_at(state->paused_until);
	return true;
}

/* Say it, in the log and in the view; the same thing seldom. */
static void
complain(const ErrorData *error, const char *what, int pause_ms)
{
	TimestampTz now = GetCurrentTimestamp();

	gs_worker_set_error(slot, error->message);
	if (strncmp(warned_message, error->message, GS_WORKER_ERROR_LEN - 1) == 0 &&
		!TimestampDifferenceExceeds(warned_at, now, WARNING_MS))
		return;
	strlcpy(warned_message, error->message, sizeof(warned_message));
	warned_at = now;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("could not %s: %s", what, error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 errhint("Nothing is lost: the games stay in memory and are tried again in %d s.%s%s",
					 pause_ms / 1000, error->hint ? " " : "", error->hint ? error->hint : ""),
			 error->context ? errcontext("%s", error->context) : 0));
}

static void
pause_all(const ErrorData *error)
{
	int pause_ms = gs_worker_backoff(++pauses);

	paused_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause_ms);
	complain(error, "archive games", pause_ms);
}

/* It is the type: games that failed alone are tried again together with it. */
static void
take_back_lonely(const char *type)
{
	HASH_SEQ_STATUS scan;
	AsideGame *entry;

	hash_seq_init(&scan, aside);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (entry->alone && memcmp(entry->type, type, sizeof(entry->type)) == 0)
			(void) hash_search(aside, &entry->id, HASH_REMOVE, NULL);
	}
}

static void
pause_type(const GsBatchGame *game, const ErrorData *error)
{
	TypeState *state = type_state(game->game_type);
	int pause_ms = gs_worker_backoff(++state->pauses);

	take_back_lonely(game->game_type);

	state->paused_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause_ms);
	state->failed_in_row = 0;
	retry_at(state->paused_until);
	complain(error, psprintf("archive games of type \"%s\"", game->game_type), pause_ms);
	if (++pass_paused_types >= PAUSE_AFTER && pass_archived == 0)
		pause_all(error);
}

/*
 * Skip a game for a while.  "alone": no other game of its type was tried, so
 * that it may as well be the type.
 */
static void
set_aside(const GsBatchGame *game, const ErrorData *error, bool alone)
{
	AsideGame *entry;
	bool found;
	int delay = GS_BACKOFF_FIRST;

	entry = hash_search(aside, &game->id, HASH_ENTER, &found);
	if (!found)
	{
		entry->failures = 0;
		entry->alone = alone;
	}
	memcpy(entry->type, game->game_type, sizeof(entry->type));
	/* what has once failed while others of its type did not is to blame for good */
	entry->alone = entry->alone && alone;
	entry->failures++;
	for (int i = 1; i < entry->failures && delay < ASIDE_LAST_MS; i++)
		delay *= 2;
	delay = Min(delay, ASIDE_LAST_MS);
	entry->seen_at = GetCurrentTimestamp();
	entry->retry_at = TimestampTzPlusMilliseconds(entry->seen_at, delay);
	retry_at(entry->retry_at);
	complain(error,
			 psprintf("archive game %s",
					  DatumGetCString(
						  DirectFunctionCall1(uuid_out, UUIDPGetDatum(&game->id)))),
			 delay);
	if (entry->alone && ++type_state(game->game_type)->failed_in_row >= PAUSE_AFTER)
		pause_type(game, error);
}

/* Is it known that it is the game that fails, not its type? */
static bool
is_to_blame(const GsBatchGame *game)
{
	AsideGame *entry;

	if (hash_get_num_entries(aside) == 0)
		return false;
	entry = hash_search(aside, &game->id, HASH_FIND, NULL);
	return entry != NULL && !entry->alone;
}

/* Has the error nothing to do with which games are archived? */
static bool
is_general(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:	/* a deadlock among others */
		case ERRCODE_OPERATOR_INTERVENTION: /* cancelled */
		case ERRCODE_SYSTEM_ERROR:
			return true;
		default:
			return error->sqlerrcode == ERRCODE_DISK_FULL;
	}
}

/* A game is in the archive: its type is all right, whatever was before. */
static void
succeeded(const GsBatchGame *game)
{
	GsText game_type = {game->game_type, game->type_len};

	if (hash_get_num_entries(aside) > 0)
		(void) hash_search(aside, &game->id, HASH_REMOVE, NULL);
	if (hash_get_num_entries(types) > 0)
		(void) hash_search(types, game->game_type, HASH_REMOVE, NULL);
	gs_place_used(&game_type);
	pass_archived++;
	pauses = 0;
	busy_delay = BUSY_FIRST_MS;
}

/* ----------------------------------------------------------------
 *		Archiving a list of games
 * ----------------------------------------------------------------
 */

static void
count_batch(const GsBatchTotals *totals)
{
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	slot->batches++;
	slot->games += totals->games;
	slot->raw_bytes += totals->raw_bytes;
	slot->stored_bytes += totals->stored_bytes;
	slot->last_archived_at = now;
	LWLockRelease(GsShmem->slots_lock);
}

static void
count_failure(void)
{
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	slot->failures++;
	LWLockRelease(GsShmem->slots_lock);
}

/* In a PG_CATCH block: take the error and end the transaction. */
static ErrorData *
take_error(void)
{
	ErrorData *error;

	MemoryContextSwitchTo(turn_context);
	error = CopyErrorData();
	FlushErrorState();
	gs_worker_abort();
	LWLockReleaseAll(); /* there may have been no transaction to abort */
	QueryCancelPending = false;
	look_for_extension = true;
	count_failure();
	return error;
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
		volatile int dealt_with = 0;

		PG_TRY();
		{
			dealt_with = gs_batch_run(games + done, n - done, &totals);
		}
		PG_CATCH();
		{
			*error = take_error();
			gs_batch_abandon();
		}
		PG_END_TRY();

		for (int i = done; i < done + dealt_with; i++)
		{
			if (games[i].outcome == GS_BATCH_ARCHIVED)
				succeeded(&games[i]);
			else if (games[i].outcome == GS_BATCH_BUSY)
				pass_busy = true;
		}
		if (totals.games > 0 && *error == NULL)
			count_batch(&totals);
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
	return paused_until <= GetCurrentTimestamp() && !ProcDiePending && !is_paused(game);
}

/* Games of one type that failed together: set aside those that fail alone. */
static void
halve(GsBatchGame *games, int n, ErrorData *error, bool alone)
{
	if (n == 1)
	{
		set_aside(games, error, alone);
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
	GsQueueItem items[TAIL_SAMPLES];
	int length;
	int found;
	int result = 0;

	LWLockAcquire(&db->queue_lock, LW_SHARED);
	length = db->nqueue;
	LWLockRelease(&db->queue_lock);
	found = gs_queue_peek(db, Max(0, length - TAIL_SAMPLES), items, TAIL_SAMPLES);
	for (int i = 0; i < found; i++)
	{
		GsGameCopy *copy;
		bool listed = false;

		for (int j = 0; j < n; j++)
			listed |= memcmp(&games[j].id, &items[i].game_id, UUID_LEN) == 0;
		if (listed || hash_search(aside, &items[i].game_id, HASH_FIND, NULL) != NULL)
			continue;
		copy = gs_table_copy(&items[i].game_id, 0, true, turn_context);
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

/*
 * Games of one type that failed together: is it the games or the type?  The
 * samples stand in front of the list afterwards.
 */
static void
find_culprits(GsBatchGame *games, int n, ErrorData *error)
{
	GsBatchGame tail[TAIL_SAMPLES];
	ErrorData *errors[SAMPLES] = {0};
	int samples = Min(n, SAMPLES);
	int ntail;
	bool any = false;

	/* who is alone, or has but one other, cannot be told from its type */
	if (n < PAUSE_AFTER)
	{
		halve(games, n, error, true);
		return;
	}

	for (int i = 0; i < samples; i++)
	{
		int from = (int) ((int64) i * n / samples);
		GsBatchGame swap = games[i];

		games[i] = games[from];
		games[from] = swap;
	}
	for (int i = 0; i < samples && may_go_on(&games[i]); i++)
		any |= try_games(&games[i], 1, &errors[i]) == 1;
	if (!any && may_go_on(games))
	{
		ntail = sample_tail(games, n, tail);
		for (int i = 0; i < ntail && !any; i++)
			any = try_games(&tail[i], 1, &error) == 1;
	}
	if (!may_go_on(games))
		return;
	if (!any)
	{
		pause_type(games, error);
		return;
	}
	for (int i = 0; i < samples; i++)
	{
		if (errors[i] != NULL)
			set_aside(&games[i], errors[i], false);
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

		if (is_to_blame(&games[i]))
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
		retry_at(TimestampTzPlusMilliseconds(GetCurrentTimestamp(), settle_delay));
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
static int
make_places(GsBatchGame *games, int n)
{
	volatile int left = n;
	volatile int i = 0;

	while (i < left && paused_until <= GetCurrentTimestamp())
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
			ErrorData *error = take_error();
			GsBatchGame failed = games[i];
			int kept = 0;

			gs_place_forget();
			if (is_general(error))
				pause_all(error);
			else
				pause_type(&failed, error);
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
		n = make_places(games, n);
		if (n == 0)
			return;
		done = try_games(games, n, &error);
		if (error == NULL)
			return;
		games += done;
		n -= done;
	}

	if (is_general(error))
		pause_all(error);
	else if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		pause_type(games, error); /* each further try would wait as long */
	else
		split_type(games, n, error);
}

static void
archive_games(GsBatchGame *games, int n)
{
	ErrorData *error;
	int done = try_games(games, n, &error);

	if (error == NULL)
		return;
	if (is_general(error))
	{
		pause_all(error);
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

/* ----------------------------------------------------------------
 *		A pass through the queue
 * ----------------------------------------------------------------
 */

static void keep_journal(void);

/* Leave out the games whose type pauses; returns how many are left. */
static int
drop_paused(GsBatchGame *games, int n)
{
	int kept = 0;

	for (int i = 0; i < n; i++)
	{
		if (!is_paused(&games[i]))
			games[kept++] = games[i];
	}
	return kept;
}

/* Is the game set aside, and not due yet? */
static bool
has_to_wait(const GsQueueItem *item, TimestampTz now)
{
	AsideGame *entry;

	if (hash_get_num_entries(aside) == 0)
		return false;
	entry = hash_search(aside, &item->game_id, HASH_FIND, NULL);
	if (entry == NULL)
		return false;
	entry->seen_at = now;
	if (entry->retry_at <= now)
		return false;
	retry_at(entry->retry_at);
	return true;
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

		if (has_to_wait(&items[i], now))
			continue;
		copy = gs_table_copy(&items[i].game_id, 0, true, turn_context);
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
	return make_places(games, drop_paused(games, selected));
}

/* Forget games that have left the queue in another way (deleted). */
static void
tidy_aside(TimestampTz pass_start)
{
	HASH_SEQ_STATUS scan;
	AsideGame *entry;

	hash_seq_init(&scan, aside);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (entry->seen_at < pass_start)
			(void) hash_search(aside, &entry->id, HASH_REMOVE, NULL);
	}
}

/* Where to begin, and whether that leaves anything out. */
static int
start_of_pass(TimestampTz now)
{
	if (now < head_look_at)
		return head_skip;
	return 0;
}

static bool
any_type_pauses(TimestampTz now)
{
	HASH_SEQ_STATUS scan;
	TypeState *state;
	bool result = false;

	hash_seq_init(&scan, types);
	while ((state = hash_seq_search(&scan)) != NULL)
		result |= state->paused_until > now;
	return result;
}

static void
end_of_pass(TimestampTz start, int skipped, bool whole)
{
	TimestampTz now = GetCurrentTimestamp();
	bool paused = paused_until > now || any_type_pauses(now);

	if (pass_busy)
	{
		retry_at(TimestampTzPlusMilliseconds(now, busy_delay));
		busy_delay = Min(busy_delay * 2, BUSY_LAST_MS);
	}
	if (whole)
	{
		TimestampTz latest = TimestampTzPlusMilliseconds(now, HEAD_LOOK_MS);

		if (hash_get_num_entries(aside) > 0)
			tidy_aside(start);
		head_look_at = pass_retry_at != 0 ? Min(pass_retry_at, latest) : latest;
	}
	else if (pass_retry_at != 0 && pass_retry_at < head_look_at)
		head_look_at = pass_retry_at;
	if (skipped == 0 || paused_until > now)
		head_look_at = 0;
	head_skip = skipped;

	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	slot->set_aside = hash_get_num_entries(aside);
	slot->state = paused ? GS_WORKER_PAUSED : GS_WORKER_RUNNING;
	LWLockRelease(GsShmem->slots_lock);
}

static void
pass(void)
{
	int size = Min(gs_archive_batch, gs_max_games_per_transaction);
	GsQueueItem *items = palloc(sizeof(GsQueueItem) * size);
	GsBatchGame *games = palloc(sizeof(GsBatchGame) * size);
	TimestampTz start = GetCurrentTimestamp();
	int skip = start_of_pass(start);
	bool whole = skip == 0;
	int n;

	pass_archived = pass_paused_types = 0;
	pass_busy = false;
	pass_retry_at = 0;
	if (!whole)
		retry_at(head_look_at);

	turn_context = AllocSetContextCreate(loop_context, "gamestate archiver batch",
										 ALLOCSET_DEFAULT_SIZES);
	while (!ProcDiePending && paused_until <= start &&
		   (n = gs_queue_peek(db, skip, items, size)) > 0)
	{
		int gone;
		int selected;

		MemoryContextReset(turn_context);
		MemoryContextSwitchTo(turn_context);
		selected = select_games(items, n, games, &gone);
		if (selected > 0 && paused_until <= start)
			archive_games(games, selected);
		skip += n - gone;
		for (int i = 0; i < selected; i++)
		{
			if (games[i].outcome == GS_BATCH_ARCHIVED ||
				games[i].outcome == GS_BATCH_GONE)
				skip--;
		}
		(void) gs_table_free_archived(db, false, FREE_AT_ONCE);
		pgstat_report_stat(false);
		keep_journal(); /* a long queue must not keep the players waiting */
	}
	MemoryContextSwitchTo(loop_context);
	MemoryContextDelete(turn_context);
	turn_context = loop_context;
	end_of_pass(start, skip, whole);
}

/* ----------------------------------------------------------------
 *		What is done when the queue is done
 * ----------------------------------------------------------------
 */

static void
look_ahead(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz due = gs_place_next_due();

	if (due == 0 || due > now || ahead_retry_at > now)
		return;
	PG_TRY();
	{
		gs_place_look_ahead();
		ahead_failures = 0;
		ahead_retry_at = 0;
	}
	PG_CATCH();
	{
		ErrorData *error = take_error();
		int pause_ms = gs_worker_backoff(++ahead_failures);

		gs_place_forget();
		ahead_retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause_ms);
		/* in the way of a reader for a moment is no news */
		if (ahead_failures > 3)
			complain(error, "look at the next partitions of the archive", pause_ms);
	}
	PG_END_TRY();
}

static bool
is_loaded(void)
{
	return pg_atomic_read_u32(&db->load_state) == GS_LOAD_DONE;
}

/* So that the games are there before anybody asks for them. */
static void
load_games(void)
{
	if (is_loaded())
		return;
	pgstat_report_activity(STATE_RUNNING, "loading games");
	gs_worker_begin(0);
	gs_load(db, 0);
	gs_worker_commit();
}

/*
 * Before a rotation empties the table where it stands.  When it cannot be kept
 * it has still been reported, and the journal must not grow for ever.
 */
static void
keep_damage(void)
{
	if (pg_atomic_read_u32(&db->load.has_unkept) == 0)
		return;
	pgstat_report_activity(STATE_RUNNING, "keeping what is damaged in the journal");
	if (++damage_tries <= DAMAGE_TRIES)
	{
		gs_worker_begin(LOCK_TIMEOUT_MS);
		gs_load_keep_damage(db);
		gs_worker_commit();
	}
	pg_atomic_write_u32(&db->load.has_unkept, 0);
	damage_tries = 0;
}

/*
 * What the journal needs, when it is due.  It is no reason for this process to
 * end.
 */
static void
keep_journal(void)
{
	if (journal_due > GetCurrentTimestamp() &&
		(journal_failures > 0 || !gs_pages_wanted(db)))
		return;
	PG_TRY();
	{
		load_games();
		keep_damage();
		gs_rotate_make_room(db);
		journal_due = gs_rotate(db);
		journal_failures = 0;
	}
	PG_CATCH();
	{
		ErrorData *error = take_error();
		int pause_ms = gs_worker_backoff(++journal_failures);

		journal_due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause_ms);
		complain(error,
				 is_loaded() ? "rotate the journal" : "load games from the journal",
				 pause_ms);
	}
	PG_END_TRY();
}

/* Returns whether archived games are left in memory. */
static bool
free_archived(void)
{
	bool left;

	(void) gs_table_free_archived(db, false, FREE_AT_ONCE);
	LWLockAcquire(&db->queue_lock, LW_SHARED);
	left = db->narchived > 0;
	LWLockRelease(&db->queue_lock);
	return left;
}

static void
earlier(TimestampTz *at, TimestampTz other)
{
	if (other != 0 && (*at == 0 || other < *at))
		*at = other;
}

/* Sleep until there is something to do. */
static void
sleep_until_due(bool free_again)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz due = gs_place_next_due();
	bool paused = paused_until > now;
	int events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	long ms = 0;

	if (due != 0 && ahead_retry_at > due)
		due = ahead_retry_at;
	if (paused)
		earlier(&due, paused_until);
	else
		earlier(&due, pass_retry_at);
	earlier(&due, journal_due);
	if (free_again)
	{
		earlier(&due, TimestampTzPlusMilliseconds(now, free_delay));
		free_delay = Min(free_delay * 2, FREE_LAST_MS);
	}
	else
		free_delay = FREE_FIRST_MS;
	if (due != 0)
	{
		events |= WL_TIMEOUT;
		ms = Max(1, TimestampDifferenceMilliseconds(now, due));
	}

	/* while we pause, games that end have nothing to tell us */
	gs_worker_wakeable(slot, !paused);
	if (db->journal_two)
		pgstat_report_activity(STATE_RUNNING, "rotating the journal");
	else
		pgstat_report_activity(STATE_IDLE, NULL);
	pgstat_report_stat(!db->journal_two);
	(void) WaitLatch(MyLatch, events, ms, PG_WAIT_EXTENSION);
	gs_worker_wakeable(slot, true);
}

/* Games come faster than we are: let some more come. */
static void
wait_for_more(TimestampTz pass_start)
{
	long passed = TimestampDifferenceMilliseconds(pass_start, GetCurrentTimestamp());

	if (passed < PASS_INTERVAL_MS)
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 PASS_INTERVAL_MS - passed, PG_WAIT_EXTENSION);
}

/* ----------------------------------------------------------------
 *		The process
 * ----------------------------------------------------------------
 */

/* Leave quietly when asked to while idle. */
static void
handle_interrupts(void)
{
	ResetLatch(MyLatch);
	if (ProcDiePending)
		proc_exit(0);
	QueryCancelPending = false; /* there is nothing to cancel */
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	if (!gs_archiver)
		proc_exit(0);
}

static void
turn(void)
{
	TimestampTz start = GetCurrentTimestamp();
	bool left = false;

	turn_context = loop_context;
	MemoryContextSwitchTo(loop_context);
	MemoryContextReset(loop_context);
	pass_archived = 0;
	if (look_for_extension)
	{
		look_for_extension = false;
		if (!gs_worker_extension_exists())
			proc_exit(0);
	}
	keep_journal();
	if (ProcDiePending)
		return;
	if (paused_until <= start)
	{
		pgstat_report_activity(STATE_RUNNING, "archiving games");
		pass();
		if (ProcDiePending)
			return;
		look_ahead();
	}
	left = free_archived();
	if (pass_archived > 0)
		wait_for_more(start);
	sleep_until_due(left);
}

/*
 * A failure outside of a batch (out of memory, say) must not end the process:
 * what it knows about failing games would be lost.
 */
static void
guarded_turn(void)
{
	PG_TRY();
	{
		turn();
	}
	PG_CATCH();
	{
		ErrorData *error;

		turn_context = loop_context;
		error = take_error();
		head_look_at = 0;
		pause_all(error);
	}
	PG_END_TRY();
}

static void
initialize(void)
{
	HASHCTL ctl = {0};

	ctl.keysize = sizeof(pg_uuid_t);
	ctl.entrysize = sizeof(AsideGame);
	aside = hash_create("gamestate games set aside", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	ctl.keysize = GS_MAX_ID_LENGTH + 1;
	ctl.entrysize = sizeof(TypeState);
	types = hash_create("gamestate types that fail", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	gs_place_init();
	loop_context = AllocSetContextCreate(TopMemoryContext, "gamestate archiver turn",
										 ALLOCSET_DEFAULT_SIZES);
}

void
gs_archiver_main(Datum main_arg)
{
	GsLaunchArgument argument;

	memcpy(&argument, MyBgworkerEntry->bgw_extra, sizeof(argument));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	if (!gs_worker_take_launch(&argument))
		proc_exit(0);
	BackgroundWorkerUnblockSignals();

	BackgroundWorkerInitializeConnectionByOid(argument.dboid, InvalidOid, 0);
	gs_worker_settings();
	pgstat_report_appname("gamestate archiver");
	gs_attach();
	slot = gs_worker_become(false);
	if (slot == NULL)
		proc_exit(0);
	db = gs_my_database();
	initialize();
	ereport(DEBUG1, (errmsg_internal("gamestate archiver started")));

	for (;;)
	{
		handle_interrupts();
		guarded_turn();
	}
}
