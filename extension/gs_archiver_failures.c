/*-------------------------------------------------------------------------
 *
 * gs_archiver_failures.c
 *	  What the archiver could not archive, and what has to wait for that.
 *
 * The model:
 *	1. A game that fails alone is set aside: it stays in the queue and is tried
 *	   again after a while that doubles.  If it was the only one of its type
 *	   that was tried it may as well be the type: after some in a row the type
 *	   pauses.
 *	2. A game is proven to be at fault when others that ended on its day, and so
 *	   go to its partition, were archived after it had failed; those of other
 *	   days count only while no second game of its day fails.  As often as the
 *	   policy says, proven: then it goes to gamestate.dead_letter, out of memory
 *	   (gs_dead_letter.c).  What fails while nothing succeeds proves nothing,
 *	   unless it is the same error (SQLSTATE) as before.
 *	3. A type whose games all fail pauses (gs_archiver_split.c).  When three types
 *	   have paused and nothing was archived in between, or the error says that it
 *	   has nothing to do with games (a full disk), the archiver pauses.  An
 *	   error of that kind that does not go away may still be one game's: a
 *	   trigger may raise anything.  So from the fourth pause on it is treated as
 *	   any other.
 *	4. Pauses double up to a limit, give or take a quarter, so that archivers of
 *	   many databases do not come back together.  The first game that is archived
 *	   ends those of its type and of the archiver; so does
 *	   gamestate.resume_archiving().
 *	5. One WARNING says that something pauses or is set aside; the same SQLSTATE
 *	   for the same type again only after a while.  gamestate.stat_archiver
 *	   has every failure.
 * Nothing is lost by any of this: the queue is in shared memory.  Errors are
 * told apart by their SQLSTATE and by which games have them, never by their
 * text, which is translated.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_archiver_parts.h"
#include "gs_archiver_stat.h"
#include "gs_dead_letter.h"
#include "gs_place.h"
#include "gs_policy.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Games set aside are tried again after up to this. */
#define ASIDE_LAST_MS (10 * 60 * 1000)

/* The same complaint is logged so often at most. */
#define WARNING_MS (10 * 60 * 1000)

/* So many pauses of the archiver in a row, then it may be a game after all. */
#define GENERAL_PAUSES 3

/* Of so many days it is remembered that games were archived. */
#define DAYS 4

/* A game that failed alone. */
typedef struct AsideGame
{
	pg_uuid_t id; /* hash key */
	char type[GS_MAX_ID_LENGTH + 1];
	int64 day;
	bool alone; /* perhaps it is not the game but its type */
	int failures;
	int proven;			 /* of these while others were archived */
	int proof_sqlstate;	 /* of the last proven one */
	int64 archived_then; /* what others() was at the last failure */
	TimestampTz first_failed_at;
	TimestampTz retry_at;
	TimestampTz seen_at; /* in the queue */
} AsideGame;

typedef struct DayState
{
	int64 day;
	int64 archived; /* games since the type first failed */
} DayState;

/* A type that has failed once. */
typedef struct TypeState
{
	char type[GS_MAX_ID_LENGTH + 1]; /* hash key, padded */
	int failed_in_row;				 /* single games */
	int pauses;						 /* in a row */
	TimestampTz paused_until;
	int64 archived; /* games since then */
	DayState days[DAYS];
	GsComplaint paused; /* what was said last, of what */
	GsComplaint set_aside;
	GsComplaint dead_letter;
} TypeState;

static HTAB *aside = NULL;
static HTAB *types = NULL;
static int pauses = 0;
static GsComplaint paused;

void
gs_failures_init(void)
{
	HASHCTL ctl = {0};

	ctl.keysize = sizeof(pg_uuid_t);
	ctl.entrysize = sizeof(AsideGame);
	aside = hash_create("gamestate games set aside", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	ctl.keysize = GS_MAX_ID_LENGTH + 1;
	ctl.entrysize = sizeof(TypeState);
	types = hash_create("gamestate types that fail", 64, &ctl, HASH_ELEM | HASH_BLOBS);
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

/* ----------------------------------------------------------------
 *		Taking errors, saying them
 * ----------------------------------------------------------------
 */

ErrorData *
gs_failures_take(void)
{
	ErrorData *error = gs_worker_take_error(GsArchiver.turn_context);

	QueryCancelPending = false;
	GsArchiver.look_for_extension = true;
	gs_worker_failed(GsArchiver.slot, error);
	return error;
}

bool
gs_failures_is_general(const ErrorData *error)
{
	if (pauses >= GENERAL_PAUSES)
		return false;
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

/* Is it time to say that? */
static bool
is_news(GsComplaint *complaint, const ErrorData *error)
{
	TimestampTz now = GetCurrentTimestamp();

	if (complaint->sqlerrcode == error->sqlerrcode &&
		!TimestampDifferenceExceeds(complaint->at, now, WARNING_MS))
		return false;
	complaint->sqlerrcode = error->sqlerrcode;
	complaint->at = now;
	return true;
}

static void
say(const ErrorData *error, const char *what, const char *hint)
{
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("could not %s: %s", what, error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 errhint("%s%s%s", hint, error->hint ? " " : "", error->hint ? error->hint : ""),
			 error->context ? errcontext("%s", error->context) : 0));
}

static char *
retry_hint(int pause_ms)
{
	return psprintf(
		"Nothing is lost: the games stay in memory and are tried again in %d s.",
		(pause_ms + 999) / 1000);
}

void
gs_failures_complain(GsComplaint *complaint, const ErrorData *error, const char *what,
					 int pause_ms)
{
	if (is_news(complaint, error))
		say(error, what, psprintf("It is tried again in %d s.", (pause_ms + 999) / 1000));
}

/* ----------------------------------------------------------------
 *		Pauses
 * ----------------------------------------------------------------
 */

void
gs_failures_pause_all(const ErrorData *error)
{
	int pause_ms = gs_worker_backoff(++pauses);

	GsArchiver.paused_until =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause_ms);
	gs_archiver_stat_failure(GS_STAT_WHOLE, error);
	gs_archiver_stat_pause(GS_STAT_WHOLE, GsArchiver.paused_until, pauses);
	if (is_news(&paused, error))
		say(error, "archive games", retry_hint(pause_ms));
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

void
gs_failures_pause_type(const GsBatchGame *game, const ErrorData *error)
{
	TypeState *state = type_state(game->game_type);
	int pause_ms = gs_worker_backoff(++state->pauses);

	take_back_lonely(game->game_type);

	state->paused_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause_ms);
	state->failed_in_row = 0;
	gs_archiver_stat_pause(game->game_type, state->paused_until, state->pauses);
	gs_archiver_retry_at(state->paused_until);
	if (is_news(&state->paused, error))
		say(error, psprintf("archive games of type \"%s\"", game->game_type),
			retry_hint(pause_ms));
	if (++GsArchiver.pass.paused_types >= GS_PAUSE_AFTER && GsArchiver.pass.archived == 0)
		gs_failures_pause_all(error);
}

bool
gs_failures_is_paused(const GsBatchGame *game)
{
	TypeState *state;

	if (hash_get_num_entries(types) == 0)
		return false;
	state = hash_search(types, game->game_type, HASH_FIND, NULL);
	if (state == NULL || state->paused_until <= GetCurrentTimestamp())
		return false;
	gs_archiver_retry_at(state->paused_until);
	return true;
}

bool
gs_failures_any_type_pauses(TimestampTz now)
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
end_pause_of_all(void)
{
	if (pauses == 0)
		return;
	pauses = 0;
	GsArchiver.paused_until = 0;
	paused.sqlerrcode = 0;
	gs_archiver_stat_pause(GS_STAT_WHOLE, 0, 0);
}

static void
end_pause_of_type(TypeState *state)
{
	state->failed_in_row = 0;
	if (state->pauses == 0)
		return;
	state->pauses = 0;
	state->paused_until = 0;
	state->paused.sqlerrcode = 0;
	gs_archiver_stat_pause(state->type, 0, 0);
}

/* Somebody wants it: games of a type, of all types if it is empty, wait no longer. */
static void
resume(const char *type)
{
	TimestampTz now = GetCurrentTimestamp();
	HASH_SEQ_STATUS scan;
	TypeState *state;
	AsideGame *entry;

	end_pause_of_all();
	hash_seq_init(&scan, types);
	while ((state = hash_seq_search(&scan)) != NULL)
		if (type[0] == '\0' || strcmp(state->type, type) == 0)
			end_pause_of_type(state);
	hash_seq_init(&scan, aside);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (type[0] == '\0' || strcmp(entry->type, type) == 0)
			entry->retry_at = now;
}

bool
gs_failures_resume(void)
{
	char type[GS_MAX_ID_LENGTH + 1];
	bool any = false;

	while (gs_archiver_stat_take_resume(type))
	{
		resume(type);
		any = true;
	}
	return any;
}

/* ----------------------------------------------------------------
 *		Single games
 * ----------------------------------------------------------------
 */

static int64
day_of(TimestampTz at)
{
	return at / USECS_PER_DAY - (at < 0 && at % USECS_PER_DAY != 0);
}

/* A game that ended on that day was archived; the least recent day makes room. */
static void
count_day(TypeState *state, int64 day)
{
	int i = 0;

	while (i < DAYS - 1 && (state->days[i].day != day || state->days[i].archived == 0))
		i++;
	if (state->days[i].day != day)
		state->days[i] = (DayState){.day = day};
	state->days[i].archived++;
	if (i > 0)
	{
		DayState swap = state->days[0];

		state->days[0] = state->days[i];
		state->days[i] = swap;
	}
}

/* How many other games were archived that say something about this one? */
static int64
others(const TypeState *state, const AsideGame *game)
{
	HASH_SEQ_STATUS scan;
	const AsideGame *entry;
	bool only_one = true;

	hash_seq_init(&scan, aside);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (entry != game && entry->day == game->day &&
			memcmp(entry->type, game->type, sizeof(entry->type)) == 0)
			only_one = false;
	if (only_one)
		return state->archived;
	for (int i = 0; i < DAYS; i++)
		if (state->days[i].archived > 0 && state->days[i].day == game->day)
			return state->days[i].archived;
	return 0;
}

/* Is it the game's fault?  Whoever has been proven to be has the same error again. */
static bool
is_proven(AsideGame *entry, int64 archived, const ErrorData *error)
{
	bool proof = entry->failures > 1 && archived > entry->archived_then;

	if (proof)
	{
		entry->proof_sqlstate = error->sqlerrcode;
		entry->alone = false;
	}
	return proof || (entry->proven > 0 && entry->proof_sqlstate == error->sqlerrcode);
}

/* How often a game has to be proven to be at fault; 0 = never enough. */
static int
attempts_of(const GsBatchGame *game)
{
	GsText type = {game->game_type, game->type_len};
	int attempts;

	gs_worker_begin(0);
	attempts = gs_policy(&type)->archive_attempts;
	gs_worker_commit();
	return attempts;
}

/* Out of memory, with the reason; true if that has worked. */
static bool
give_up(GsBatchGame *game, AsideGame *entry, const ErrorData *error)
{
	volatile bool done = false;

	PG_TRY();
	{
		int attempts = attempts_of(game);

		if (attempts > 0 && entry->proven >= attempts)
		{
			GsDeadLetter letter = {.attempts = entry->failures,
								   .first_failed_at = entry->first_failed_at,
								   .last_failed_at = entry->seen_at,
								   .error = error};

			gs_dead_letter_put(game, &letter);
			done = game->outcome == GS_BATCH_DEAD_LETTER;
		}
	}
	PG_CATCH();
	{
		ErrorData *why = gs_failures_take();

		gs_batch_abandon();
		gs_archiver_stat_failure(game->game_type, why);
	}
	PG_END_TRY();
	if (done)
		gs_archiver_stat_dead_letter(game->game_type);
	return done;
}

static int
aside_delay(int failures)
{
	int delay = GS_BACKOFF_FIRST;

	while (--failures > 0 && delay < ASIDE_LAST_MS)
		delay *= 2;
	return gs_worker_jitter(Min(delay, ASIDE_LAST_MS));
}

static AsideGame *
aside_entry(const GsBatchGame *game, bool alone)
{
	bool found;
	AsideGame *entry = hash_search(aside, &game->id, HASH_ENTER, &found);

	if (!found)
	{
		memset((char *) entry + sizeof(entry->id), 0, sizeof(*entry) - sizeof(entry->id));
		memcpy(entry->type, game->game_type, sizeof(entry->type));
		entry->day = day_of(game->ended_at);
		entry->alone = alone;
		entry->first_failed_at = GetCurrentTimestamp();
	}
	/* what has once failed while others of its type did not is to blame for good */
	entry->alone = entry->alone && alone;
	entry->failures++;
	entry->seen_at = GetCurrentTimestamp();
	return entry;
}

void
gs_failures_set_aside(GsBatchGame *game, const ErrorData *error, bool alone)
{
	TypeState *state = type_state(game->game_type);
	AsideGame *entry = aside_entry(game, alone);
	int64 archived = others(state, entry);
	char *what = psprintf("archive game %s",
						  DatumGetCString(
							  DirectFunctionCall1(uuid_out, UUIDPGetDatum(&game->id))));
	int delay;

	if (is_proven(entry, archived, error) && ++entry->proven > 0 &&
		give_up(game, entry, error))
	{
		(void) hash_search(aside, &game->id, HASH_REMOVE, NULL);
		if (is_news(&state->dead_letter, error))
			say(error, what, "It was moved to gamestate.dead_letter.");
		return;
	}
	entry->archived_then = archived;
	delay = aside_delay(entry->failures);
	entry->retry_at = TimestampTzPlusMilliseconds(entry->seen_at, delay);
	gs_archiver_retry_at(entry->retry_at);
	if (is_news(&state->set_aside, error))
		say(error, what, retry_hint(delay));
	if (entry->alone && ++state->failed_in_row >= GS_PAUSE_AFTER)
		gs_failures_pause_type(game, error);
}

bool
gs_failures_is_to_blame(const GsBatchGame *game)
{
	AsideGame *entry;

	if (hash_get_num_entries(aside) == 0)
		return false;
	entry = hash_search(aside, &game->id, HASH_FIND, NULL);
	return entry != NULL && !entry->alone;
}

bool
gs_failures_has_to_wait(const GsQueueItem *item, TimestampTz now)
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
	gs_archiver_retry_at(entry->retry_at);
	return true;
}

bool
gs_failures_is_aside(const pg_uuid_t *id)
{
	return hash_search(aside, id, HASH_FIND, NULL) != NULL;
}

int
gs_failures_aside(void)
{
	return hash_get_num_entries(aside);
}

void
gs_failures_tidy(TimestampTz pass_start)
{
	HASH_SEQ_STATUS scan;
	AsideGame *entry;

	if (hash_get_num_entries(aside) == 0)
		return;
	hash_seq_init(&scan, aside);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (entry->seen_at < pass_start)
			(void) hash_search(aside, &entry->id, HASH_REMOVE, NULL);
	}
}

void
gs_failures_archived(const GsBatchGame *game)
{
	GsText game_type = {game->game_type, game->type_len};

	if (hash_get_num_entries(aside) > 0)
		(void) hash_search(aside, &game->id, HASH_REMOVE, NULL);
	if (hash_get_num_entries(types) > 0)
	{
		TypeState *state = hash_search(types, game->game_type, HASH_FIND, NULL);

		if (state)
		{
			state->archived++;
			count_day(state, day_of(game->ended_at));
			end_pause_of_type(state);
		}
	}
	gs_place_used(&game_type);
	GsArchiver.pass.archived++;
	GsArchiver.busy_delay = GS_BUSY_FIRST_MS;
	end_pause_of_all();
}
