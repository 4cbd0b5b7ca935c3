/*-------------------------------------------------------------------------
 *
 * gs_archiver_failures.c
 *	  What the archiver could not archive, and what has to wait for that.
 *
 * The model:
 *	1. A game that failed alone while others did not is set aside: it stays in
 *	   the queue and is tried again after a while that doubles.  If it was the
 *	   only one of its type it may as well be the type.
 *	2. A type whose games all fail pauses; when three types have paused and
 *	   nothing succeeded, or the error says so (a full disk), the archiver
 *	   pauses.  Pauses double up to a limit.
 *	3. A game that is archived ends all that for its type.
 * Nothing is ever lost by this: the queue is in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_archiver_parts.h"
#include "gs_place.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

/* Games set aside are tried again after up to this. */
#define ASIDE_LAST_MS (10 * 60 * 1000)

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

static HTAB *aside = NULL;
static HTAB *types = NULL;
static int pauses = 0;

static char warned_message[GS_WORKER_ERROR_LEN];
static TimestampTz warned_at = 0;

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

bool
gs_failures_is_paused(const GsBatchGame *game)
{
	TypeState *state = hash_search(types, game->game_type, HASH_FIND, NULL);

	if (state == NULL || state->paused_until <= GetCurrentTimestamp())
		return false;
	gs_archiver_retry_at(state->paused_until);
	return true;
}

/* Say it, in the log and in the view; the same thing seldom. */
void
gs_failures_complain(const ErrorData *error, const char *what, int pause_ms)
{
	TimestampTz now = GetCurrentTimestamp();

	gs_worker_set_error(GsArchiver.slot, error->message);
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

void
gs_failures_pause_all(const ErrorData *error)
{
	int pause_ms = gs_worker_backoff(++pauses);

	GsArchiver.paused_until =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause_ms);
	gs_failures_complain(error, "archive games", pause_ms);
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
	gs_archiver_retry_at(state->paused_until);
	gs_failures_complain(error, psprintf("archive games of type \"%s\"", game->game_type),
						 pause_ms);
	if (++GsArchiver.pass.paused_types >= GS_PAUSE_AFTER && GsArchiver.pass.archived == 0)
		gs_failures_pause_all(error);
}

/*
 * Skip a game for a while.  "alone": no other game of its type was tried, so
 * that it may as well be the type.
 */
void
gs_failures_set_aside(const GsBatchGame *game, const ErrorData *error, bool alone)
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
	gs_archiver_retry_at(entry->retry_at);
	gs_failures_complain(error,
						 psprintf("archive game %s",
								  DatumGetCString(
									  DirectFunctionCall1(uuid_out,
														  UUIDPGetDatum(&game->id)))),
						 delay);
	if (entry->alone && ++type_state(game->game_type)->failed_in_row >= GS_PAUSE_AFTER)
		gs_failures_pause_type(game, error);
}

/* Is it known that it is the game that fails, not its type? */
bool
gs_failures_is_to_blame(const GsBatchGame *game)
{
	AsideGame *entry;

	if (hash_get_num_entries(aside) == 0)
		return false;
	entry = hash_search(aside, &game->id, HASH_FIND, NULL);
	return entry != NULL && !entry->alone;
}

/* Has the error nothing to do with which games are archived? */
bool
gs_failures_is_general(const ErrorData *error)
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
void
gs_failures_archived(const GsBatchGame *game)
{
	GsText game_type = {game->game_type, game->type_len};

	if (hash_get_num_entries(aside) > 0)
		(void) hash_search(aside, &game->id, HASH_REMOVE, NULL);
	if (hash_get_num_entries(types) > 0)
		(void) hash_search(types, game->game_type, HASH_REMOVE, NULL);
	gs_place_used(&game_type);
	GsArchiver.pass.archived++;
	pauses = 0;
	GsArchiver.busy_delay = GS_BUSY_FIRST_MS;
}

static void
count_failure(void)
{
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	GsArchiver.slot->failures++;
	LWLockRelease(GsShmem->slots_lock);
}

/* In a PG_CATCH block: take the error and end the transaction. */
ErrorData *
gs_failures_take(void)
{
	ErrorData *error;

	MemoryContextSwitchTo(GsArchiver.turn_context);
	error = CopyErrorData();
	FlushErrorState();
	gs_worker_abort();
	LWLockReleaseAll(); /* there may have been no transaction to abort */
	QueryCancelPending = false;
	GsArchiver.look_for_extension = true;
	count_failure();
	return error;
}

/* Is the game set aside, and not due yet? */
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

/* Forget games that have left the queue in another way (deleted). */
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
