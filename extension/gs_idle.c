/*-------------------------------------------------------------------------
 *
 * gs_idle.c
 *	  Games that nobody plays: inactivity limits, memory pressure, and suspended
 *	  games that nobody resumes.
 *
 * The model, for the first two, in the archiver's process:
 *	1. As long as a policy has an inactivity limit, or lets games be suspended
 *	   when memory is short, the archiver sweeps through the games' hash table
 *	   now and then: a tenth of the shortest limit after the sweep before, one
 *	   to sixty seconds.  A sweep only reads, one partition of the table after
 *	   another, and remembers at most SWEEP_MAX games that something is to be
 *	   done with; if there are more it is followed by another one at once.
 *	2. When memory is short, these are the games of whose types that is allowed
 *	   that have not been changed for longest, and the next sweep is a second
 *	   later.  (Games that are over have been put away before, gs_delay.c.)
 *	3. Then each of them is locked, unless somebody else has, and looked at
 *	   again; what is done is a change like any other, of a few games in one
 *	   transaction.  So it happens once, and not to a game that goes on.
 *	4. A game whose transaction fails by itself is left alone for a while.
 *	5. A game that is only reported is marked in shared memory, until its next
 *	   change.
 * Suspended games are found by a query, in the maintenance worker, resumed and
 * abandoned in one transaction each, and so go to the archive.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_archiver_parts.h"
#include "gs_config.h"
#include "gs_feed.h"
#include "gs_idle.h"
#include "gs_lock.h"
#include "gs_rules.h"
#include "gs_suspend.h"
#include "gs_suspended.h"
#include "gs_worker.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/binaryheap.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* How many games a sweep remembers, and how many are dealt with in one transaction. */
#define SWEEP_MAX 1000
#define BATCH	  20

#define SWEEP_FIRST_US USECS_PER_SEC
#define SWEEP_LAST_US  (60 * USECS_PER_SEC)

/* No game is suspended for want of memory earlier than so long after its last change. */
#define PRESSURE_IDLE_US (5 * USECS_PER_SEC)

/* A game with which it failed is left alone for so long. */
#define FAILED_MS (10 * 60 * 1000)

#define LOCK_TIMEOUT_MS 1000

/* What is to be done with which game. */
typedef struct IdleGame
{
	pg_uuid_t id;
	TimestampTz updated_at;
	GsIdleAction action;
	const char *reason; /* of a suspension */
} IdleGame;

typedef struct Sweep
{
	GsDatabase *db;
	TimestampTz now;
	bool pressure;
	bool may_change; /* gamestate.enabled */
	IdleGame *games;
	int n;
	bool more;			/* there are more than SWEEP_MAX */
	binaryheap *oldest; /* for pressure: of games[], the youngest first */
} Sweep;

typedef struct FailedGame
{
	pg_uuid_t id; /* hash key */
	TimestampTz retry_at;
} FailedGame;

static HTAB *failed = NULL;
static GsComplaint complaint;
static TimestampTz next_for_limits = 0;
static TimestampTz next_for_pressure = 0;

/* ----------------------------------------------------------------
 *		The sweep
 * ----------------------------------------------------------------
 */

static bool
is_failed(const Sweep *sweep, const pg_uuid_t *id)
{
	FailedGame *entry;

	if (failed == NULL || hash_get_num_entries(failed) == 0)
		return false;
	entry = hash_search(failed, id, HASH_FIND, NULL);
	return entry && entry->retry_at > sweep->now;
}

static int
younger_first(Datum a, Datum b, void *arg)
{
	const Sweep *sweep = arg;
	TimestampTz x = sweep->games[DatumGetInt32(a)].updated_at;
	TimestampTz y = sweep->games[DatumGetInt32(b)].updated_at;

	return x < y ? -1 : x > y ? 1 : 0;
}

/* One of the games that have not been changed for longest, as far as has been seen. */
static void
add_oldest(Sweep *sweep, const IdleGame *game)
{
	int place;

	if (sweep->n < SWEEP_MAX)
	{
		place = sweep->n++;
		sweep->games[place] = *game;
		binaryheap_add(sweep->oldest, Int32GetDatum(place));
		return;
	}
	sweep->more = true;
	place = DatumGetInt32(binaryheap_first(sweep->oldest));
	if (sweep->games[place].updated_at <= game->updated_at)
		return;
	sweep->games[place] = *game;
	binaryheap_replace_first(sweep->oldest, Int32GetDatum(place));
}

/* Does something have to be done with this game?  Its partition is locked. */
static bool
is_idle(const Sweep *sweep, const GsGame *game, IdleGame *idle)
{
	int64 shortest = gs_rules_summary()->shortest_limit;
	TimestampTz since = sweep->now - game->h.updated_at;
	const GsInfo *info;
	const GsRule *rule;

	if (!game->visible || game->returning || GS_STATUS_IS_OVER(game->h.status) ||
		TransactionIdIsValid(game->archive_xid))
		return false;
	if (!(sweep->pressure && since >= PRESSURE_IDLE_US) &&
		(shortest == 0 || since < shortest))
		return false;
	info = GS_PTR(game->info);
	rule = gs_rule((const char *) &info->nodes[gs_info_nodes(info)], info->type_len);
	idle->id = game->key.id;
	idle->updated_at = game->h.updated_at;
	idle->reason = GS_SUSPENDED_BY_INACTIVITY;
	idle->action = GS_IDLE_SUSPEND;
	if (sweep->pressure)
	{
		idle->reason = GS_SUSPENDED_BY_MEMORY;
		return rule->suspend_on_pressure && sweep->may_change;
	}
	idle->action = rule->inactivity_action;
	return rule->inactivity_limit > 0 && since >= rule->inactivity_limit &&
		   (idle->action == GS_IDLE_REPORT ? !game->reported : sweep->may_change);
}

static void
sweep_table(Sweep *sweep)
{
	dshash_seq_status scan;
	GsGame *game;

	dshash_seq_init(&scan, GsGames, false);
	while ((game = dshash_seq_next(&scan)) != NULL)
	{
		IdleGame idle;

		if (game->key.dboid != MyDatabaseId || !is_idle(sweep, game, &idle) ||
			is_failed(sweep, &idle.id))
			continue;
		if (sweep->pressure)
			add_oldest(sweep, &idle);
		else if (sweep->n < SWEEP_MAX)
			sweep->games[sweep->n++] = idle;
		else
		{
			sweep->more = true;
			break;
		}
	}
	dshash_seq_term(&scan);
}

/* ----------------------------------------------------------------
 *		What is done
 * ----------------------------------------------------------------
 */

static void
report_game(const IdleGame *idle)
{
	GsText event;
	GsText game_type;
	GsGameCopy *game;

	if (!gs_table_report(&idle->id, idle->updated_at))
		return;
	game = gs_table_copy(&idle->id, 0, true, CurrentMemoryContext);
	if (game == NULL)
		return;
	game_type = game->info.game_type;
	event.data =
		psprintf("{\"version\": %lld, \"seconds\": %lld}", (long long) game->h.version,
				 (long long) ((GetCurrentTimestamp() - idle->updated_at) /
							  USECS_PER_SEC));
	event.len = strlen(event.data);
	gs_feed_notice(MyDatabaseId, &idle->id, &game_type, GS_FEED_INACTIVE, NULL, &event);
	gs_feed_wake();
}

static void
deal_with(const IdleGame *idle)
{
	const GsRequest none = {NULL, 0};
	GsTarget target;

	/* whoever has it is about to change it */
	if (!gs_lock_game(&idle->id, true))
		return;
	if (!gs_find_locked_target(&idle->id, NULL, &target) ||
		GS_STATUS_IS_OVER(target.h.status) || target.h.updated_at != idle->updated_at)
		return;
	switch (idle->action)
	{
		case GS_IDLE_SUSPEND:
			(void) gs_suspend(&none, &target, idle->reason);
			break;
		case GS_IDLE_ABANDON:
			(void) gs_end_game(&none, &target, GS_STATUS_ABANDONED, NULL, NULL);
			break;
		case GS_IDLE_REPORT:
			report_game(idle);
			break;
	}
}

static void
remember_failed(const pg_uuid_t *id)
{
	HASHCTL ctl = {.keysize = sizeof(pg_uuid_t), .entrysize = sizeof(FailedGame)};
	FailedGame *entry;

	if (failed == NULL)
		failed = hash_create("gamestate idle games that failed", 64, &ctl,
							 HASH_ELEM | HASH_BLOBS);
	entry = hash_search(failed, id, HASH_ENTER, NULL);
	entry->retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), FAILED_MS);
}

static void
forget_failed(TimestampTz now)
{
	HASH_SEQ_STATUS scan;
	FailedGame *entry;

	if (failed == NULL)
		return;
	hash_seq_init(&scan, failed);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (entry->retry_at <= now)
			(void) hash_search(failed, &entry->id, HASH_REMOVE, NULL);
}

/* One transaction; false if it failed. */
static bool
try_batch(const IdleGame *games, int n, bool alone)
{
	volatile bool done = false;

	PG_TRY();
	{
		gs_worker_begin(LOCK_TIMEOUT_MS);
		for (int i = 0; i < n; i++)
			deal_with(&games[i]);
		gs_worker_commit();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData *error = gs_failures_take();

		if (alone)
		{
			remember_failed(&games[0].id);
			gs_failures_complain(&complaint, error,
								 psprintf("put away game %s", gs_id_text(&games[0].id)),
								 FAILED_MS);
		}
	}
	PG_END_TRY();
	return done;
}

static void
deal_with_all(const Sweep *sweep)
{
	MemoryContext mcxt =
		AllocSetContextCreate(CurrentMemoryContext, "gamestate idle batch",
							  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(mcxt);

	for (int i = 0; i < sweep->n && !ProcDiePending; i += BATCH)
	{
		int n = Min(BATCH, sweep->n - i);

		if (sweep->pressure && !gs_rules_pressure(sweep->db))
			break;
		if (!try_batch(&sweep->games[i], n, n == 1) && n > 1)
			for (int j = 0; j < n && !ProcDiePending; j++)
				(void) try_batch(&sweep->games[i + j], 1, true);
		MemoryContextReset(mcxt);
		(void) gs_table_free_archived(sweep->db, false, SWEEP_MAX);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(mcxt);
}

static int
oldest_first(const void *a, const void *b)
{
	TimestampTz x = ((const IdleGame *) a)->updated_at;
	TimestampTz y = ((const IdleGame *) b)->updated_at;

	return x < y ? -1 : x > y;
}

/* One sweep, and what it asks for; true if there is more. */
static bool
run_sweep(GsDatabase *db, TimestampTz now, bool pressure)
{
	Sweep sweep = {.db = db, .now = now, .pressure = pressure, .may_change = gs_enabled};

	sweep.games = palloc(sizeof(IdleGame) * SWEEP_MAX);
	sweep.oldest = binaryheap_allocate(SWEEP_MAX, younger_first, &sweep);
	forget_failed(now);
	sweep_table(&sweep);
	if (pressure)
		qsort(sweep.games, sweep.n, sizeof(IdleGame), oldest_first);
	deal_with_all(&sweep);
	binaryheap_free(sweep.oldest);
	pfree(sweep.games);
	return sweep.more;
}

void
gs_idle_reset(void)
{
	next_for_limits = next_for_pressure = 0;
}

TimestampTz
gs_idle_run(GsDatabase *db)
{
	const GsRulesSummary *summary = gs_rules_summary();
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = 0;

	if (summary->any_suspends)
	{
		if (next_for_pressure <= now)
		{
			if (gs_rules_pressure(db))
				(void) run_sweep(db, now, true);
			next_for_pressure = now + SWEEP_FIRST_US;
		}
		next = next_for_pressure;
	}
	if (summary->shortest_limit > 0)
	{
		int64 wait =
			Min(Max(summary->shortest_limit / 10, SWEEP_FIRST_US), SWEEP_LAST_US);

		if (next_for_limits <= now)
			next_for_limits = run_sweep(db, now, false) ? now + 1 : now + wait;
		if (next == 0 || next_for_limits < next)
			next = next_for_limits;
	}
	return next;
}

/* ----------------------------------------------------------------
 *		Suspended games
 * ----------------------------------------------------------------
 */

/*
 * What a type's row does not say the default row says.  A worker's search_path is
 * fixed, so that operators are PostgreSQL's.
 */
#define SELECT_OVERDUE                                                       \
	"SELECT s.game_id FROM gamestate.suspended s"                            \
	" LEFT JOIN gamestate.policy p ON p.game_type = s.game_type"             \
	" LEFT JOIN gamestate.policy d ON d.game_type = ''"                      \
	" WHERE s.suspended_at < clock_timestamp()"                              \
	" - coalesce(p.suspended_after, d.suspended_after)"                      \
	" AND s.suspended_at < (SELECT clock_timestamp() - min(suspended_after)" \
	" FROM gamestate.policy)"                                                \
	" ORDER BY s.suspended_at OFFSET $1 LIMIT 100"

/* Games that are to be abandoned, but the first "skip" ones; in mcxt. */
static pg_uuid_t *
find_overdue(MemoryContext mcxt, int64 skip, int *n)
{
	Oid type = INT8OID;
	Datum value = Int64GetDatum(skip);
	pg_uuid_t *ids;
	bool isnull;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	if (SPI_execute_with_args(SELECT_OVERDUE, 1, &type, &value, NULL, true, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "unexpected result of: %s", SELECT_OVERDUE);
	*n = (int) SPI_processed;
	ids = MemoryContextAlloc(mcxt, sizeof(pg_uuid_t) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		ids[i] = *DatumGetUUIDP(
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	gs_worker_commit();
	return ids;
}

/* One transaction; false if somebody has the game. */
static bool
abandon_suspended(const pg_uuid_t *id)
{
	const GsRequest none = {NULL, 0};
	GsTarget target;
	bool free;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	free = gs_lock_game(id, true);
	if (free && !gs_find_locked_target(id, NULL, &target) &&
		gs_find_suspended(id, NULL, &target))
	{
		(void) gs_resume(&none, &target);
		(void) gs_end_game(&none, &target, GS_STATUS_ABANDONED, NULL, NULL);
	}
	gs_worker_commit();
	return free;
}

/* The same; false also if it failed, *error then being the first error of all. */
static bool
try_to_abandon(const pg_uuid_t *id, MemoryContext mcxt, ErrorData **error)
{
	volatile bool done = false;

	PG_TRY();
	{
		done = abandon_suspended(id);
	}
	PG_CATCH();
	{
		ErrorData *this = gs_worker_take_error(mcxt);

		if (*error == NULL)
			*error = this;
	}
	PG_END_TRY();
	return done;
}

void
gs_idle_abandon_suspended(MemoryContext mcxt)
{
	ErrorData *error = NULL;
	int64 skip = 0;
	int n;

	if (!gs_enabled)
		return;
	do
	{
		pg_uuid_t *ids = find_overdue(mcxt, skip, &n);

		for (int i = 0; i < n && !ProcDiePending; i++)
			if (!try_to_abandon(&ids[i], mcxt, &error))
				skip++;
		pfree(ids);
	} while (n > 0 && !ProcDiePending);

	/* what has failed does not hold up the others, but is heard of */
	if (error)
		ReThrowError(error);
}
