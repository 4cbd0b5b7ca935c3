/*-------------------------------------------------------------------------
 *
 * gs_batch.c
 *	  One batch of the archiver: games from memory to the archive.
 *
 * The model:
 *	1. All in one transaction: each game is locked (never waited for), copied,
 *	   encoded and compressed into a row (BatchRow).
 *	2. Two INSERT ... SELECT statements, planned once, take the rows from two
 *	   set-returning functions.  So PostgreSQL routes the rows to their
 *	   partitions, and what a DBA has added to the tables (indexes, triggers,
 *	   columns with defaults) works as for any other INSERT.
 *	   Between two games, and two rows, the archiver gives way (gs_give_way.c).
 *	3. If a table has not taken every row (a trigger may drop rows) the
 *	   transaction fails: a game leaves memory only for a row.
 *	4. The games are counted for their players (gs_player_stats.c), and the
 *	   hooks of their types are called (gs_hook.c).
 *	5. The games are handed to the write set, so that they leave memory with
 *	   the commit.
 *
 * Rows live in the transaction's memory: an error anywhere frees them.  The
 * set-returning functions refuse to run outside of such a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_batch.h"
#include "gs_dictionary.h"
#include "gs_give_way.h"
#include "gs_hook.h"
#include "gs_lock.h"
#include "gs_player_stats.h"
#include "gs_policy.h"
#include "gs_unpack.h"
#include "gs_worker.h"
#include "gs_writeset.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A batch ends when the games' payloads together have reached this. */
#define BATCH_BYTES ((Size) 32 * 1024 * 1024)

/* Somebody may have locked a partition: do not let all games wait for it. */
#define LOCK_TIMEOUT_MS 2000

/* Largest payload before compression; a bytea must hold what comes out. */
#define MAX_RAW_BYTES ((Size) 1000 * 1000 * 1000)

/* A game's rows in both tables. */
typedef struct BatchRow
{
	pg_uuid_t game_id;
	GsHeader h;
	text *game_type;
	ArrayType *players;
	text *room_code; /* or NULL */
	text *metadata;	 /* or NULL */
	text *result;	 /* or NULL */
	bytea *payload;	 /* NULL = it has none: an imported game only */
	GsPacked packed;
} BatchRow;

#define ARCHIVE_NCOLUMNS 14
#define PAYLOAD_COLUMNS \
	"game_id, game_type, ended_at, format, dictionary, raw_size, checksum, payload"
#define PAYLOAD_NCOLUMNS 8

/* The batch that is being inserted. */
static BatchRow *batch = NULL;
static int batch_rows = 0;
static GsDictionaryList *dictionaries = NULL; /* NULL = none are used */
static int batch_without_payload = 0;

static SPIPlanPtr insert_rows = NULL;
static SPIPlanPtr insert_payloads = NULL;

PG_FUNCTION_INFO_V1(gs_archiver_rows);
PG_FUNCTION_INFO_V1(gs_archiver_payloads);

/* ----------------------------------------------------------------
 *		From a game to its rows
 * ----------------------------------------------------------------
 */

static text *
to_text(const GsText *value)
{
	return value->data ? cstring_to_text_with_len(value->data, value->len) : NULL;
}

static ArrayType *
players_array(const GsInfoParts *info)
{
	Datum *players = palloc(sizeof(Datum) * Max(info->nplayers, 1));

	for (int i = 0; i < info->nplayers; i++)
		players[i] = PointerGetDatum(to_text(&info->players[i]));
	return construct_array(players, info->nplayers, TEXTOID, -1, false, TYPALIGN_INT);
}

static _Noreturn void
too_large(const GsGameCopy *game)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("game %s is too large for the archive",
					DatumGetCString(DirectFunctionCall1(uuid_out,
														UUIDPGetDatum(&game->game_id)))),
			 errdetail("States and log together may have %zu bytes.", MAX_RAW_BYTES)));
}

/*
 * The log as the payload has it.  In memory the entry of version 1 is
 * implied; in the archive it is a real one.
 */
static void
encode_log(const GsGameCopy *game, GsPayload *payload)
{
	int64 base = game->h.created_at;
	bool whole = (int64) game->nentries + 1 == game->h.version;
	GsEntry create = {.kind = GS_KIND_CREATE, .at = base};
	Size size = 0;
	char *bytes;
	char *p;

	if (game->h.has_create_request)
	{
		create.request_id = game->h.create_request.data;
		create.request_arguments = game->h.create_arguments;
	}
	if (whole)
		size += gs_entry_size(&create, base);
	for (uint64 i = 0; i < game->nentries; i++)
		size += gs_entry_size(&game->entries[i], base);
	if (size > MAX_RAW_BYTES)
		too_large(game);

	p = bytes = palloc(Max(size, 1));
	if (whole)
		p = gs_entry_encode(&create, base, p);
	for (uint64 i = 0; i < game->nentries; i++)
		p = gs_entry_encode(&game->entries[i], base, p);

	payload->base = base;
	payload->nentries = game->nentries + (whole ? 1 : 0);
	payload->first_version = game->h.version - (int64) payload->nentries + 1;
	payload->entries = bytes;
	payload->entries_len = p - bytes;
}

/* What is remembered of the log that is no longer there, the creation first. */
static void
encode_requests(const GsGameCopy *game, GsPayload *payload)
{
	char *bytes = palloc(GS_PAYLOAD_REQUEST_MAX * (game->nrequests + 1));
	char *p = bytes;

	payload->nrequests = game->nrequests;
	if (game->h.has_create_request && payload->first_version > 1)
	{
		p = gs_payload_put_request(p, 1, game->h.create_request.data,
								   game->h.create_arguments);
		payload->nrequests++;
	}
	for (uint32 i = 0; i < game->nrequests; i++)
	{
		const GsAnsweredRequest *request = &game->requests[i];

		p = gs_payload_put_request(p, request->version, request->id.data,
								   request->arguments);
	}
	payload->requests = bytes;
	payload->requests_len = p - bytes;
}

bytea *
gs_batch_pack(const GsGameCopy *game, int level, int32 dictionary, MemoryContext mcxt,
			  GsPacked *packed)
{
	GsPayload payload = {.has_deltas = gs_has_deltas(&game->h),
						 .history_limit = game->h.history_limit};
	Size raw_size;
	char *raw;

	if (!payload.has_deltas)
	{
		payload.initial = game->initial.data;
		payload.initial_len = game->initial.len;
	}
	payload.final = game->state.data;
	payload.final_len = game->state.len;
	encode_log(game, &payload);
	encode_requests(game, &payload);
	raw_size = gs_payload_size(&payload);
	if (raw_size > MAX_RAW_BYTES)
		too_large(game);
	raw = palloc(raw_size);
	gs_payload_encode(&payload, raw);
	return gs_pack(&payload, raw, raw_size, level, dictionary, mcxt, packed);
}

/* Level and dictionary are what the policy of the game's type says. */
static void
pack_payload(const GsGameCopy *game, MemoryContext mcxt, BatchRow *row)
{
	const GsText *type = &game->info.game_type;
	const GsPolicy *policy = gs_policy(type);
	int level = policy->compression_level == GS_POLICY_SETTING
					? gs_archive_compression_level
					: policy->compression_level;
	int32 dictionary = policy->dictionary && dictionaries != NULL
						   ? gs_dictionary_newest(dictionaries, type->data, type->len)
						   : 0;

	row->payload = gs_batch_pack(game, level, dictionary, mcxt, &row->packed);
}

/* Fill a row; what it points to is allocated in mcxt, the rest in the current context. */
static void
make_row(const GsGameCopy *game, BatchRow *row, MemoryContext mcxt)
{
	MemoryContext old;

	pack_payload(game, mcxt, row);

	old = MemoryContextSwitchTo(mcxt);
	row->game_id = game->game_id;
	row->h = game->h;
	row->game_type = to_text(&game->info.game_type);
	row->players = players_array(&game->info);
	row->room_code = to_text(&game->info.room_code);
	row->metadata = to_text(&game->info.metadata);
	row->result = to_text(&game->info.result);
	MemoryContextSwitchTo(old);
}

void
gs_batch_open(int n)
{
	batch = palloc(sizeof(BatchRow) * Max(n, 1));
	batch_rows = 0;
	batch_without_payload = 0;
	dictionaries = gs_dictionary_list();
}

void
gs_batch_open_plain(int n)
{
	gs_batch_open(n);
	dictionaries = NULL;
}

void
gs_batch_add(const GsGameCopy *game, bool with_payload)
{
	BatchRow *row = &batch[batch_rows++];
	MemoryContext mcxt = CurrentMemoryContext;
	MemoryContext scratch =
		AllocSetContextCreate(mcxt, "gamestate batch game", ALLOCSET_DEFAULT_SIZES);

	MemoryContextSwitchTo(scratch);
	make_row(game, row, mcxt);
	MemoryContextSwitchTo(mcxt);
	MemoryContextDelete(scratch);
	if (!with_payload)
	{
		row->payload = NULL;
		batch_without_payload++;
	}
}

GsGameCopy *
gs_batch_take(GsBatchGame *game, MemoryContext mcxt)
{
	GsGameCopy *copy;

	game->outcome = GS_BATCH_OPEN;
	if (!gs_lock_game(&game->id, true))
	{
		game->outcome = GS_BATCH_BUSY;
		return NULL;
	}
	copy = gs_table_copy(&game->id, GS_COPY_ALL, true, mcxt);
	if (!gs_durable_try())
		game->outcome = GS_BATCH_BUSY; /* nobody has been told that it is over */
	else if (copy == NULL || !GS_STATUS_IS_OVER(copy->h.status))
		game->outcome = GS_BATCH_GONE;
	return game->outcome == GS_BATCH_OPEN ? copy : NULL;
}

/* Lock, copy and encode games until the batch is large enough. */
static int
collect(GsBatchGame *games, int n)
{
	MemoryContext rows_context = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(rows_context, "gamestate batch game",
												  ALLOCSET_DEFAULT_SIZES);
	Size bytes = 0;
	int i;

	gs_batch_open(n);
	for (i = 0; i < n && bytes < BATCH_BYTES; i++)
	{
		BatchRow *row = &batch[batch_rows];
		GsGameCopy *game;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(scratch);
		game = gs_batch_take(&games[i], scratch);
		if (game != NULL)
		{
			make_row(game, row, rows_context);
			games[i].raw_bytes = row->packed.raw_size;
			games[i].stored_bytes = VARSIZE(row->payload) - VARHDRSZ;
			bytes += row->packed.raw_size;
			batch_rows++;
		}
		MemoryContextSwitchTo(rows_context);
		MemoryContextReset(scratch);
		gs_give_way();
	}
	MemoryContextDelete(scratch);
	return i;
}

/* ----------------------------------------------------------------
 *		The statements
 * ----------------------------------------------------------------
 */

static SPIPlanPtr
prepare(const char *statement)
{
	SPIPlanPtr plan = SPI_prepare(statement, 0, NULL);

	if (plan == NULL)
		elog(ERROR, "could not prepare: %s", statement);
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "could not keep the plan of: %s", statement);
	return plan;
}

static void
insert(SPIPlanPtr plan, const char *table, int rows)
{
	int result = SPI_execute_plan(plan, NULL, NULL, false, 0);

	if (result != SPI_OK_INSERT || SPI_processed != (uint64) rows)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("table \"%s\" did not take all games", table),
				 errdetail("%llu of %d rows were inserted.",
						   (unsigned long long) (result == SPI_OK_INSERT ? SPI_processed : 0),
						   rows),
				 errhint("Look for a trigger or a rule on the table that drops rows.")));
}

/* What is done with games that are in the archive now. */
static void
follow_up(void)
{
	GsBatchedGame *games = palloc(sizeof(GsBatchedGame) * Max(batch_rows, 1));

	for (int i = 0; i < batch_rows; i++)
		games[i] = (GsBatchedGame){.game_id = batch[i].game_id,
								   .ended_at = batch[i].h.ended_at,
								   .game_type = batch[i].game_type,
								   .players = batch[i].players,
								   .result = batch[i].result};
	gs_player_stats_count(games, batch_rows);
	gs_hook_archived(games, batch_rows);
	pfree(games);
}

void
gs_batch_insert(void)
{
	SPI_connect();
	if (insert_rows == NULL)
		insert_rows =
			prepare("INSERT INTO gamestate.archive (" GS_ARCHIVE_COLUMNS ") "
					"SELECT (r.r).* FROM (SELECT gamestate.archiver_rows() AS r) AS r");
	if (insert_payloads == NULL)
		insert_payloads = prepare(
			"INSERT INTO gamestate.archive_payload (" PAYLOAD_COLUMNS ") "
			"SELECT (r.r).* FROM (SELECT gamestate.archiver_payloads() AS r) AS r");
	insert(insert_rows, "gamestate.archive", batch_rows);
	insert(insert_payloads, "gamestate.archive_payload",
		   batch_rows - batch_without_payload);
	SPI_finish();
	follow_up();
}

int
gs_batch_run(GsBatchGame *games, int n, GsBatchTotals *totals)
{
	int dealt_with;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	dealt_with = collect(games, n);
	if (batch_rows > 0)
	{
		gs_batch_insert();
		for (int i = 0; i < batch_rows; i++)
			gs_writeset_archive(&batch[i].game_id);
	}
	batch = NULL;
	gs_worker_commit();

	for (int i = 0; i < dealt_with; i++)
	{
		if (games[i].outcome != GS_BATCH_OPEN)
			continue;
		games[i].outcome = GS_BATCH_ARCHIVED;
		totals->games++;
		totals->raw_bytes += games[i].raw_bytes;
		totals->stored_bytes += games[i].stored_bytes;
	}
	return dealt_with;
}

void
gs_batch_abandon(void)
{
	batch = NULL;
}

/* ----------------------------------------------------------------
 *		The statements' source
 * ----------------------------------------------------------------
 */

static void
check_in_archiver(void)
{
	if (batch == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this function is for the archiver of gamestate only")));
}

static void
put_text(Datum *value, bool *null, text *t)
{
	*value = PointerGetDatum(t);
	*null = t == NULL;
}

/*
 * A call for each row, so that a row is inserted before the next one is made: the
 * archiver can give way in between.  Returns the number of the row.
 */
static int
next_row(FunctionCallInfo fcinfo, FuncCallContext **funcctx)
{
	check_in_archiver();
	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;
		TupleDesc desc;

		*funcctx = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo((*funcctx)->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		(*funcctx)->tuple_desc = BlessTupleDesc(desc);
		MemoryContextSwitchTo(old);
	}
	*funcctx = SRF_PERCALL_SETUP();
	gs_give_way();
	return (int) (*funcctx)->call_cntr;
}

static Datum
form_row(FuncCallContext *funcctx, Datum *values, bool *nulls)
{
	return HeapTupleGetDatum(heap_form_tuple(funcctx->tuple_desc, values, nulls));
}

static Datum
archive_row(FuncCallContext *funcctx, const BatchRow *row)
{
	const GsHeader *h = &row->h;
	Datum values[ARCHIVE_NCOLUMNS];
	bool nulls[ARCHIVE_NCOLUMNS] = {0};

	values[0] = UUIDPGetDatum(&row->game_id);
	values[1] = PointerGetDatum(row->game_type);
	values[2] = CStringGetTextDatum(gs_status_name(h->status));
	values[3] = CStringGetTextDatum(h->encoding == GS_ENCODING_BYTES ? "bytes" : "json");
	values[4] = PointerGetDatum(row->players);
	values[5] = Int32GetDatum(h->max_players);
	nulls[5] = h->max_players == 0;
	put_text(&values[6], &nulls[6], row->room_code);
	put_text(&values[7], &nulls[7], row->metadata);
	put_text(&values[8], &nulls[8], row->result);
	values[9] = TimestampTzGetDatum(h->created_at);
	values[10] = TimestampTzGetDatum(h->started_at);
	nulls[10] = h->started_at == 0;
	values[11] = TimestampTzGetDatum(h->ended_at);
	values[12] = Int64GetDatum(h->version);
	values[13] = Int64GetDatum(h->moves);
	return form_row(funcctx, values, nulls);
}

static Datum
payload_row(FuncCallContext *funcctx, const BatchRow *row)
{
	Datum values[PAYLOAD_NCOLUMNS];
	bool nulls[PAYLOAD_NCOLUMNS] = {0};

	values[0] = UUIDPGetDatum(&row->game_id);
	values[1] = PointerGetDatum(row->game_type);
	values[2] = TimestampTzGetDatum(row->h.ended_at);
	values[3] = Int16GetDatum(row->packed.format);
	values[4] = Int32GetDatum(row->packed.dictionary);
	nulls[4] = row->packed.dictionary == 0;
	values[5] = Int32GetDatum(row->packed.raw_size);
	values[6] = Int64GetDatum(row->packed.checksum);
	values[7] = PointerGetDatum(row->payload);
	return form_row(funcctx, values, nulls);
}

Datum
gs_archiver_rows(PG_FUNCTION_ARGS)
{
	FuncCallContext *funcctx;
	int i = next_row(fcinfo, &funcctx);

	if (i >= batch_rows)
		SRF_RETURN_DONE(funcctx);
	SRF_RETURN_NEXT(funcctx, archive_row(funcctx, &batch[i]));
}

Datum
gs_archiver_payloads(PG_FUNCTION_ARGS)
{
	FuncCallContext *funcctx;
	int i = next_row(fcinfo, &funcctx);

	while (i < batch_rows && batch[i].payload == NULL)
		i = (int) ++funcctx->call_cntr;
	if (i >= batch_rows)
		SRF_RETURN_DONE(funcctx);
	SRF_RETURN_NEXT(funcctx, payload_row(funcctx, &batch[i]));
}
