/*-------------------------------------------------------------------------
 *
 * gs_deadline.c
 *	  Deadlines of games: set_deadline(), and what happens when one passes.
 *
 * The model:
 *	1. A deadline is a field of the game's header, changed by set_deadline() or
 *	   with a move, and so it is in the journal, in an image, in a saved game.  The
 *	   game's timer (gs_timer.h) follows it: whenever a change is applied, a load
 *	   included, the timer is set.
 *	2. When the timer goes off, the worker looks at the game: the deadline may
 *	   have been put off or taken back.  If it has passed, the worker locks the
 *	   game and looks again.  What it does then is a change like any other, of
 *	   kind deadline, and that change takes the deadline away: so it happens once.
 *	   Who has the lock first wins.  A move that comes later, with the version
 *	   that it expects, is refused as stale.
 *	3. A game that is locked is not waited for: its timer is set for a moment
 *	   later.
 *	4. If the server goes down in between, the deadline is still there after the
 *	   load, and has passed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_deadline.h"
#include "gs_lock.h"
#include "gs_target.h"
#include "gs_worker.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(gs_set_deadline);
PG_FUNCTION_INFO_V1(gs_stat_timer);

/* ----------------------------------------------------------------
 *		Arguments and entries
 * ----------------------------------------------------------------
 */

bool
gs_deadline_is_allowed(TimestampTz at, GsRefusal *refusal)
{
	if (likely(!TIMESTAMP_IS_NOBEGIN(at)))
		return true;
	*refusal =
		(GsRefusal){.sqlerrcode = ERRCODE_INVALID_PARAMETER_VALUE,
					.message = "deadline must not be -infinity",
					.hint =
						"A deadline in the past passes at once; infinity takes it back."};
	return false;
}

TimestampTz
gs_deadline_value(TimestampTz at)
{
	if (TIMESTAMP_IS_NOEND(at))
		return 0;
	return at == 0 ? 1 : at;
}

/* As the event of an entry: JSON, always in UTC; in the write set's memory. */
static GsText
deadline_event(TimestampTz at)
{
	const int utc = 0;
	char time[MAXDATELEN + 1];
	char buffer[MAXDATELEN + 3] = "null";
	GsText event = {buffer, 4};

	if (at != 0)
	{
		JsonEncodeDateTime(time, TimestampTzGetDatum(at), TIMESTAMPTZOID, &utc);
		event.len = snprintf(buffer, sizeof(buffer), "\"%s\"", time);
	}
	return gs_keep(&event);
}

/* A new version with another deadline; "told" is what the entry says. */
static GsPending *
record_deadline(GsTarget *target, const GsRequest *request, GsKind kind,
				TimestampTz deadline, TimestampTz told)
{
	GsText event = deadline_event(told);
	GsEntry e = {.kind = kind,
				 .at = GetCurrentTimestamp(),
				 .event = event.data,
				 .event_len = event.len};
	GsPending *pending;

	if (request)
		gs_request_keep(request, &e);
	pending = gs_next_version(target, e.at);
	pending->change.h.deadline = deadline;
	gs_writeset_log(pending, &e);
	return pending;
}

Datum
gs_set_deadline(PG_FUNCTION_ARGS)
{
	GsRequest request;
	GsTarget target;
	GsRefusal refusal;
	TimestampTz at = PG_ARGISNULL(1) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(1);

	gs_begin_write("set_deadline()");
	if (!gs_deadline_is_allowed(at, &refusal))
		gs_raise(&refusal);
	at = gs_deadline_value(at);
	request = gs_request(fcinfo, GS_REQUEST_SET_DEADLINE, "u88");
	if (!gs_open_target(fcinfo, &request, NULL, &target))
		PG_RETURN_INT64(target.answered.version);
	gs_check_version(&target, fcinfo, 2);
	gs_check_log(&target);
	gs_check_memory(gs_my_database(), 0);
	PG_RETURN_INT64(
		gs_new_version(record_deadline(&target, &request, GS_KIND_SET_DEADLINE, at, at)));
}

/* ----------------------------------------------------------------
 *		The timer
 * ----------------------------------------------------------------
 */

/* A game keeps the timer of its first deadline. */
void
gs_deadline_reserve(GsChange *change, bool has_timer)
{
	if (likely(change->h.deadline == 0) || has_timer)
		return;
	change->new_timer = gs_alloc(change->db, sizeof(GsTimer), change->frees);
	gs_timer_init(GS_PTR(change->new_timer), GS_TIMER_DEADLINE, &change->key.id);
}

void
gs_deadline_install(GsChange *change, GsGame *game)
{
	if (likely(game->h.deadline == 0))
		return;
	if (DsaPointerIsValid(change->new_timer))
		game->timer = change->new_timer;
	gs_timer_set(change->db, GS_PTR(game->timer), game->h.deadline);
}

void
gs_deadline_free(GsDatabase *db, dsa_pointer timer)
{
	if (!DsaPointerIsValid(timer))
		return;
	gs_timer_remove(db, GS_PTR(timer));
	gs_free(db, timer, sizeof(GsTimer));
}

/* ----------------------------------------------------------------
 *		When it passes
 * ----------------------------------------------------------------
 */

/* Of a deadline that was set off, for the statistics. */
typedef struct SetOff
{
	TimestampTz deadline;
	TimestampTz possible_since; /* the game's last change, which may have set it */
} SetOff;

/* The committed game, its partition locked shared; or NULL. */
static GsGame *
find_game(const GsTimerDue *due)
{
	GsGameKey key = {.dboid = MyDatabaseId, .id = due->id};
	GsGame *game = dshash_find(GsGames, &key, false);

	if (game && !game->visible)
	{
		dshash_release_lock(GsGames, game);
		game = NULL;
	}
	return game;
}

void
gs_deadline_again(GsDatabase *db, const GsTimerDue *due, bool failed)
{
	GsGame *game = find_game(due);

	if (game == NULL)
		return;
	if (game->h.deadline != 0)
		gs_timer_again(db, GS_PTR(game->timer), failed);
	dshash_release_lock(GsGames, game);
}

/* Has the game's deadline passed?  If it has been put off, its timer is set for that. */
static bool
has_passed(GsDatabase *db, const GsTimerDue *due, TimestampTz now)
{
	GsGame *game = find_game(due);
	bool passed = false;

	if (game == NULL)
		return false;
	if (game->h.deadline != 0)
	{
		passed = game->h.deadline <= now;
		if (!passed)
			gs_timer_set(db, GS_PTR(game->timer), game->h.deadline);
	}
	dshash_release_lock(GsGames, game);
	return passed;
}

/* false: there is nothing (more) to set off, or not just now */
static bool
set_off(GsDatabase *db, const GsTimerDue *due, SetOff *set)
{
	GsTarget target;

	if (!gs_lock_game(&due->id, true))
	{
		gs_deadline_again(db, due, false);
		return false;
	}
	if (!gs_find_locked_target(&due->id, NULL, &target) || target.h.deadline == 0 ||
		target.h.deadline > GetCurrentTimestamp())
		return false; /* whoever has put it off has set the timer */
	gs_check_log(&target);
	set->deadline = target.h.deadline;
	set->possible_since = target.h.updated_at;
	(void) record_deadline(&target, NULL, GS_KIND_DEADLINE, 0, target.h.deadline);
	return true;
}

/* Written by the worker alone. */
static void
count_deadlines(GsDatabase *db, const SetOff *set, int n)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz loaded = (TimestampTz) pg_atomic_read_u64(&db->load.ended_at);

	for (int i = 0; i < n; i++)
	{
		TimestampTz due = Max(set[i].deadline, Max(set[i].possible_since, loaded));
		uint64 late = Max(now - due, 0);

		pg_atomic_write_u64(&db->deadline_late, late);
		if (late > pg_atomic_read_u64(&db->deadline_latest))
			pg_atomic_write_u64(&db->deadline_latest, late);
	}
	pg_atomic_fetch_add_u64(&db->deadlines, n);
}

int
gs_deadline_run(GsDatabase *db, const GsTimerDue *due, int n)
{
	TimestampTz now = GetCurrentTimestamp();
	GsTimerDue *passed = palloc(sizeof(GsTimerDue) * n);
	SetOff *set = palloc(sizeof(SetOff) * n);
	int npassed = 0;
	int nset = 0;

	for (int i = 0; i < n; i++)
		if (has_passed(db, &due[i], now))
			passed[npassed++] = due[i];
	if (npassed == 0)
		return 0;

	gs_worker_begin(0);
	gs_begin_write("deadline");
	for (int i = 0; i < npassed; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (set_off(db, &passed[i], &set[nset]))
			nset++;
	}
	gs_worker_commit_unawaited();
	count_deadlines(db, set, nset);
	return nset;
}

/* ----------------------------------------------------------------
 *		gamestate.stat_timer
 * ----------------------------------------------------------------
 */

#define STAT_TIMER_COLUMNS 5

Datum
gs_stat_timer(PG_FUNCTION_ARGS)
{
	Datum values[STAT_TIMER_COLUMNS] = {0};
	bool nulls[STAT_TIMER_COLUMNS] = {0};
	GsDatabase *db;
	TupleDesc desc;
	uint32 timers;
	TimestampTz next;
	uint64 deadlines;

	gs_attach();
	db = gs_my_database();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	next = gs_timers_next(db, &timers);
	deadlines = pg_atomic_read_u64(&db->deadlines);
	values[0] = Int64GetDatum(timers);
	values[1] = TimestampTzGetDatum(next);
	nulls[1] = next == DT_NOEND;
	values[2] = Int64GetDatum(deadlines);
	values[3] = Float8GetDatum(pg_atomic_read_u64(&db->deadline_late) / 1000.0);
	values[4] = Float8GetDatum(pg_atomic_read_u64(&db->deadline_latest) / 1000.0);
	nulls[3] = nulls[4] = deadlines == 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
