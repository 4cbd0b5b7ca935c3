/*-------------------------------------------------------------------------
 *
 * gs_dead_letter.c
 *	  Games that could not be archived while others could: gamestate.dead_letter.
 *
 * The model:
 *	1. The archiver gives a game up (gs_archiver_failures.c).  In one
 *	   transaction the game becomes a row of the table, with everything that is
 *	   known of the failure, and leaves memory as it would for the archive: it
 *	   carries the xid of that transaction, and is live exactly to those who do
 *	   not see it (gs_table.c).
 *	2. The row is made as those of the archive are (gs_batch.c) but without a
 *	   dictionary: it needs no other row to be read.  It has all columns of both
 *	   tables of the archive, so the same code reads it (gs_archive.c).
 *	3. retry_dead_letter() inserts the game into the archive and deletes the row.
 *	   What fails is undone, and counted in the row.
 *	4. discard_dead_letter() deletes the row, and remembers the request ids as
 *	   for any deleted game (gs_deleted.c).
 * Both lock the game's id, as whoever creates a game does.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_archive_find.h"
#include "gs_config.h"
#include "gs_database.h"
#include "gs_dead_letter.h"
#include "gs_deleted.h"
#include "gs_errors.h"
#include "gs_history.h"
#include "gs_lock.h"
#include "gs_owner.h"
#include "gs_partition.h"
#include "gs_target.h"
#include "gs_worker.h"
#include "gs_writeset.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/elog.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#define TABLE "dead_letter"

#define LOCK_TIMEOUT_MS 2000
#define POLL_MS			20

PG_FUNCTION_INFO_V1(gs_retry_dead_letter);
PG_FUNCTION_INFO_V1(gs_discard_dead_letter);

static void
execute(const char *statement, int expected, int nargs, Oid *types, Datum *values,
		const char *nulls)
{
	int result = SPI_execute_with_args(statement, nargs, types, values, nulls, false, 0);

	if (result != expected || SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("table \"gamestate." TABLE "\" did not take the change of a game"),
				 errhint("Look for a trigger or a rule on the table that drops rows.")));

	/* another call in this very statement is to see it */
	CommandCounterIncrement();
}

/* ----------------------------------------------------------------
 *		From memory
 * ----------------------------------------------------------------
 */

#define ERROR_COLUMNS 6

/* The error's texts, whatever encoding they came in. */
static Datum
error_text(const char *text, bool *null)
{
	*null = text == NULL;
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}

static void
insert_row(const GsDeadLetter *letter)
{
	const ErrorData *error = letter->error;
	Oid types[ERROR_COLUMNS] = {INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
								TEXTOID, TEXTOID,		 TEXTOID};
	Datum values[ERROR_COLUMNS];
	char nulls[ERROR_COLUMNS + 1] = "      ";
	bool no_context;

	values[0] = Int32GetDatum(letter->attempts);
	values[1] = TimestampTzGetDatum(letter->first_failed_at);
	values[2] = TimestampTzGetDatum(letter->last_failed_at);
	values[3] = CStringGetTextDatum(unpack_sql_state(error->sqlerrcode));
	values[4] = CStringGetTextDatum(
		error->detail ? psprintf("%s: %s", error->message, error->detail)
					  : (error->message ? error->message : ""));
	values[5] = error_text(error->context, &no_context);
	if (no_context)
		nulls[5] = 'n';
	execute("INSERT INTO gamestate." TABLE " (" GS_ARCHIVE_COLUMNS ","
			" format, dictionary, raw_size, checksum, payload,"
			" attempts, first_failed_at, last_failed_at,"
			" error_sqlstate, error_message, error_context)"
			" SELECT r.*, p.format, p.dictionary, p.raw_size, p.checksum, p.payload,"
			" $1, $2, $3, $4, $5, $6"
			" FROM gamestate.archiver_rows() r, gamestate.archiver_payloads() p",
			SPI_OK_INSERT, ERROR_COLUMNS, types, values, nulls);
}

void
gs_dead_letter_put(GsBatchGame *game, const GsDeadLetter *letter)
{
	GsGameCopy *copy;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	copy = gs_batch_take(game, CurrentMemoryContext);
	if (copy != NULL)
	{
		gs_batch_open_plain(1);
		gs_batch_add(copy, true);
		SPI_connect();
		insert_row(letter);
		SPI_finish();
		gs_writeset_archive(&game->id);
	}
	gs_batch_abandon();
	gs_worker_commit();
	if (copy != NULL)
		game->outcome = GS_BATCH_DEAD_LETTER;
}

/* ----------------------------------------------------------------
 *		Reading
 * ----------------------------------------------------------------
 */

bool
gs_dead_letter_exists(const pg_uuid_t *id)
{
	return gs_archive_exists_in(TABLE, id);
}

GsStoredGame *
gs_dead_letter_get(const pg_uuid_t *id, bool want_payload, MemoryContext mcxt)
{
	return gs_archive_get_in(TABLE, GS_TIER_DEAD_LETTER, id, want_payload, mcxt);
}

/* ----------------------------------------------------------------
 *		To the archive, or away
 * ----------------------------------------------------------------
 */

/* The id of a dead letter, locked; NULL if there is none. */
static GsStoredGame *
lock_letter(FunctionCallInfo fcinfo, const char *function)
{
	pg_uuid_t *id;

	gs_begin_write(function);
	GS_REQUIRE_ARG(0, "game_id");
	id = PG_GETARG_UUID_P(0);
	gs_lock_names(false);
	(void) gs_lock_game(id, false);
	/* the statement's snapshot may show one that has gone meanwhile */
	return gs_dead_letter_exists(id) ? gs_dead_letter_get(id, true, CurrentMemoryContext)
									 : NULL;
}

static GsText
text_parts(const text *value)
{
	return value ? (GsText){VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)}
				 : (GsText){NULL, 0};
}

static void
set_players(GsInfoParts *info, ArrayType *array)
{
	Datum *players;
	bool *nulls;
	int n;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &players, &nulls, &n);
	info->players = palloc(sizeof(GsText) * Max(n, 1));
	info->nplayers = 0;
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			info->players[info->nplayers++] = text_parts(DatumGetTextPP(players[i]));
}

/* The log as the table of running games has it: without the creation. */
static void
set_log(GsGameCopy *copy, const GsPayload *payload)
{
	const char *p = payload->entries;
	const char *end = p + payload->entries_len;

	copy->entries = MemoryContextAllocHuge(CurrentMemoryContext,
										   sizeof(GsEntry) * Max(payload->nentries, 1));
	for (uint64 i = 0; i < payload->nentries; i++)
	{
		GsEntry *e = &copy->entries[copy->nentries];

		if (gs_entry_decode(&p, end, payload->base, e) != NULL)
			elog(ERROR, "archived entry does not decode a second time");
		if (payload->first_version + (int64) i > 1)
		{
			copy->nentries++;
			continue;
		}
		copy->h.has_create_request = e->request_id != NULL;
		if (e->request_id)
		{
			memcpy(&copy->h.create_request, e->request_id, UUID_LEN);
			copy->h.create_arguments = e->request_arguments;
		}
	}
}

/* A row as a game in memory is. */
static GsGameCopy *
copy_of(const GsStoredGame *game)
{
	GsGameCopy *copy = palloc0(sizeof(GsGameCopy));

	copy->game_id = game->game_id;
	copy->info.game_type = (GsText){game->game_type, strlen(game->game_type)};
	copy->info.room_code = text_parts(game->room_code);
	copy->info.metadata = text_parts(game->metadata);
	copy->info.result = text_parts(game->result);
	set_players(&copy->info, game->players);
	copy->h.status = strcmp(game->status, gs_status_name(GS_STATUS_ABANDONED)) == 0
						 ? GS_STATUS_ABANDONED
						 : GS_STATUS_FINISHED;
	copy->h.encoding = game->is_bytes ? GS_ENCODING_BYTES : GS_ENCODING_JSON;
	copy->h.max_players = game->has_max_players ? game->max_players : 0;
	copy->h.created_at = game->created_at;
	copy->h.started_at = game->started_at;
	copy->h.updated_at = copy->h.ended_at = game->ended_at;
	copy->h.version = game->version;
	copy->h.moves = game->moves;
	set_log(copy, &game->payload);
	gs_history_take(&game->payload, copy);
	return copy;
}

static void
delete_row(const pg_uuid_t *id)
{
	Oid types[] = {UUIDOID};
	Datum values[] = {UUIDPGetDatum(id)};

	execute("DELETE FROM gamestate." TABLE " WHERE game_id = $1", SPI_OK_DELETE, 1, types,
			values, NULL);
}

/* Both of the archive's tables, against everybody, or none. */
static bool
try_lock_archive(const Oid *roots)
{
	if (!ConditionalLockRelationOid(roots[0], AccessExclusiveLock))
		return false;
	if (ConditionalLockRelationOid(roots[1], AccessExclusiveLock))
		return true;
	UnlockRelationOid(roots[0], AccessExclusiveLock);
	return false;
}

/*
 * A query that was planned before a partition was attached, and takes its snapshot after
 * our commit, would miss the game.  The archiver waits between the two until such
 * queries have ended (gs_place.c).  We are one transaction, so we make a partition,
 * which is seldom missing, only when nobody has the tables locked, and keep
 * everybody out until our end.  Nobody has to queue up behind us while we wait.
 */
static void
make_place(const GsText *game_type, TimestampTz ended_at)
{
	const Oid roots[] = {gs_archive_table("archive"),
						 gs_archive_table("archive_payload")};
	GsPlace place;

	if (gs_partition_find(game_type, ended_at, false, &place))
		return;
	for (int ms = 0; !try_lock_archive(roots); ms += POLL_MS)
	{
		if (ms >= LOCK_TIMEOUT_MS)
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("could not lock the archive to make a partition"),
					 errdetail("The dead letter needs a partition that is missing. It is made when no transaction has read or written the archive."),
					 errhint("Try again.")));
		CHECK_FOR_INTERRUPTS();
		pg_usleep(POLL_MS * 1000);
	}
	(void) gs_partition_complete(game_type, ended_at, false, &place);
	CommandCounterIncrement();
}

static void
archive_game(const GsStoredGame *game)
{
	GsGameCopy *copy = copy_of(game);

	make_place(&copy->info.game_type, game->ended_at);
	PG_TRY();
	{
		gs_batch_open(1);
		gs_batch_add(copy, true);
		gs_batch_insert();
	}
	PG_FINALLY();
	{
		gs_batch_abandon();
	}
	PG_END_TRY();
	delete_row(&game->game_id);
}

/* It has failed again. */
static void
note_failure(const pg_uuid_t *id, const ErrorData *error)
{
	Oid types[] = {UUIDOID, TEXTOID, TEXTOID, TEXTOID};
	Datum values[4];
	char nulls[] = "    ";
	bool no_context;

	values[0] = UUIDPGetDatum(id);
	values[1] = CStringGetTextDatum(unpack_sql_state(error->sqlerrcode));
	values[2] = CStringGetTextDatum(
		error->detail ? psprintf("%s: %s", error->message, error->detail)
					  : error->message);
	values[3] = error_text(error->context, &no_context);
	if (no_context)
		nulls[3] = 'n';
	execute("UPDATE gamestate." TABLE " SET attempts = attempts + 1,"
			" last_failed_at = pg_catalog.clock_timestamp(), error_sqlstate = $2,"
			" error_message = $3, error_context = $4 WHERE game_id = $1",
			SPI_OK_UPDATE, 4, types, values, nulls);
}

/* Errors that say nothing about the game: the call fails with them. */
static bool
is_general(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_SYSTEM_ERROR:
			return true;
		default:
			return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
	}
}

/* In a subtransaction; false if it has failed again. */
static bool
try_again(const GsStoredGame *game)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		archive_game(game);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		/* in any case: nobody else ends a subtransaction that we have begun */
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error != NULL && is_general(error))
		ReThrowError(error);
	if (error != NULL)
		note_failure(&game->game_id, error);
	return error == NULL;
}

Datum
gs_retry_dead_letter(PG_FUNCTION_ARGS)
{
	GsStoredGame *game = lock_letter(fcinfo, "retry_dead_letter()");
	GsOwnerAccess access;
	bool archived;

	if (game == NULL)
		PG_RETURN_NULL();
	gs_owner_begin(&access, TABLE, RowExclusiveLock);
	archived = try_again(game);
	gs_owner_end(&access);
	PG_RETURN_BOOL(archived);
}

Datum
gs_discard_dead_letter(PG_FUNCTION_ARGS)
{
	GsStoredGame *game = lock_letter(fcinfo, "discard_dead_letter()");
	GsOwnerAccess access;
	GsRequest none = {0};

	if (game == NULL)
		PG_RETURN_BOOL(false);
	gs_owner_begin(&access, TABLE, RowExclusiveLock);
	delete_row(&game->game_id);
	gs_owner_end(&access);
	gs_deleted_keep(&game->game_id, &none, &copy_of(game)->h);
	PG_RETURN_BOOL(true);
}
