/*-------------------------------------------------------------------------
 *
 * gs_archive.c
 *	  Reading finished games back from the archive's partitioned tables.
 *
 * There are two kinds of callers, with different rights:
 *
 *	1. The functions of a game server (get_game(), create_game(), ...) ask by
 *	   game id alone, through gs_archive.h.  Their caller needs no right on the
 *	   archive: whoever may execute get_game() may know a finished game too.
 *	2. The views of an analyst (archived_games, archived_moves, games) call the
 *	   SQL functions at the end of this file for the payload of a row they
 *	   have, so with its whole key.  These run with the caller's rights: SELECT
 *	   on gamestate.archive_payload is demanded, row security obeyed.
 *
 * Both look for one row, which gs_archive_find.c finds.
 *
 * For the views the last payload that was read is kept decompressed until the
 * transaction ends or another one is read, so that a query pays once a row
 * however many columns it asks for.
 *
 * What may not be done here: use shared memory or gs_table.h (an analyst reads
 * the archive without gamestate in shared_preload_libraries), write anything,
 * trust a byte of a row: DBAs can change these tables, disks can too.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_archive.h"
#include "gs_archive_find.h"
#include "gs_history.h"
#include "gs_unpack.h"
#include "gs_uuid.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

/* Parents of the partitions, in schema gamestate. */
#define ARCHIVE_TABLE "archive"
#define PAYLOAD_TABLE "archive_payload"

/* The columns of gamestate.archive_payload, but the payload itself. */
typedef struct PayloadRow
{
	Oid tableoid;
	ItemPointerData ctid;
	TransactionId xmin;
	GsPacked packed;
} PayloadRow;

/* A payload as the SQL functions use it. */
typedef struct CachedPayload
{
	MemoryContext mcxt; /* holds this struct and the bytes */
	PayloadRow row;		/* identity of the row it came from */
	pg_uuid_t game_id;
	bool is_known; /* its row in gamestate.archive was found: */
	bool is_bytes; /* encoding */
	GsPayload payload;
	GsText initial; /* the first state, once it had to be made */
} CachedPayload;

static CachedPayload *cached_payload = NULL;

/*
 * A snapshot of this moment, to be unregistered by the caller.  Not
 * GetLatestSnapshot(): that refuses to work while a parallel query runs, whose
 * leader may well call get_game().  A catalog snapshot for a table that is not
 * a catalog is always a new one.
 */
static Snapshot
newest_snapshot(Oid relid)
{
	return RegisterSnapshot(GetCatalogSnapshot(relid));
}

/* ----------
 * payloads
 * ----------
 */

static _Noreturn void
damaged_payload(const pg_uuid_t *id, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("archived payload of game %s is damaged",
					DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)))),
			 errdetail("What is wrong: %s.", what),
			 errhint("gamestate.verify_archive() finds all such games.")));
	pg_unreachable();
}

static void
read_payload_row(Relation leaf, HeapTuple tuple, PayloadRow *row)
{
	bool isnull;
	Datum value;

	row->tableoid = RelationGetRelid(leaf);
	row->ctid = tuple->t_self;
	row->xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	row->packed.format =
		DatumGetInt16(gs_row_column_not_null(tuple, leaf, "format", INT2OID));
	value = gs_row_column(tuple, leaf, "dictionary", INT4OID, &isnull);
	row->packed.dictionary = isnull ? 0 : DatumGetInt32(value);
	row->packed.raw_size =
		DatumGetInt32(gs_row_column_not_null(tuple, leaf, "raw_size", INT4OID));
	row->packed.checksum =
		DatumGetInt64(gs_row_column_not_null(tuple, leaf, "checksum", INT8OID));
}

/* Check and decompress; the raw bytes that the result points into are palloc'd. */
static void
unpack_payload(const pg_uuid_t *id, const PayloadRow *row, bytea *bytes,
			   GsPayload *payload)
{
	char *raw;
	const char *error = gs_unpack(&row->packed, bytes, &raw, payload);

	if (error != NULL)
		damaged_payload(id, error);
}

/* Text of an archived game, checked: it leaves as a text or json value. */
static Datum
payload_text(const pg_uuid_t *id, const char *data, uint32 len)
{
	if (!pg_verify_mbstr(GetDatabaseEncoding(), data, (int) len, true))
		damaged_payload(id, "its text is not valid in the encoding of this database");
	return PointerGetDatum(cstring_to_text_with_len(data, (int) len));
}

/* ----------
 * for the functions of a game server, see gs_archive.h
 * ----------
 */

bool
gs_archive_exists(const pg_uuid_t *id)
{
	Oid parent = gs_archive_table(ARCHIVE_TABLE);
	GsRowSearch search = {.id = id, .nsnapshots = 1};
	bool result;

	search.snapshots[0] = newest_snapshot(parent);
	result = gs_find_row_by_id(parent, &search);
	UnregisterSnapshot(search.snapshots[0]);
	return result;
}

static text *
copy_text_column(HeapTuple tuple, Relation leaf, const char *name, Oid type)
{
	bool isnull;
	Datum value = gs_row_column(tuple, leaf, name, type, &isnull);

	return isnull ? NULL : DatumGetTextPCopy(value);
}

static void
found_game(GsRowSearch *search, Relation leaf, HeapTuple tuple)
{
	GsStoredGame *game = search->arg;
	bool isnull;
	Datum value;

#define NOT_NULL(name, type) gs_row_column_not_null(tuple, leaf, name, type)
	game->tier = GS_TIER_ARCHIVED;
	game->game_id = *search->id;
	game->game_type = TextDatumGetCString(NOT_NULL("game_type", TEXTOID));
	game->status = TextDatumGetCString(NOT_NULL("status", TEXTOID));
	game->is_bytes =
		strcmp(TextDatumGetCString(NOT_NULL("encoding", TEXTOID)), "bytes") == 0;
	game->players = DatumGetArrayTypePCopy(NOT_NULL("players", TEXTARRAYOID));
	value = gs_row_column(tuple, leaf, "max_players", INT4OID, &isnull);
	game->has_max_players = !isnull;
	game->max_players = isnull ? 0 : DatumGetInt32(value);
	game->room_code = copy_text_column(tuple, leaf, "room_code", TEXTOID);
	game->metadata = copy_text_column(tuple, leaf, "metadata", JSONOID);
	game->result = copy_text_column(tuple, leaf, "result", JSONOID);
	game->created_at = DatumGetTimestampTz(NOT_NULL("created_at", TIMESTAMPTZOID));
	value = gs_row_column(tuple, leaf, "started_at", TIMESTAMPTZOID, &isnull);
	game->started_at = isnull ? 0 : DatumGetTimestampTz(value);
	game->ended_at = DatumGetTimestampTz(NOT_NULL("ended_at", TIMESTAMPTZOID));
	game->updated_at = game->ended_at;
	game->version = DatumGetInt64(NOT_NULL("version", INT8OID));
	game->moves = DatumGetInt64(NOT_NULL("moves", INT8OID));
#undef NOT_NULL
}

static void
found_game_payload(GsRowSearch *search, Relation leaf, HeapTuple tuple)
{
	GsStoredGame *game = search->arg;
	PayloadRow row;
	bytea *packed;

	read_payload_row(leaf, tuple, &row);
	packed = DatumGetByteaPP(gs_row_column_not_null(tuple, leaf, "payload", BYTEAOID));
	unpack_payload(&game->game_id, &row, packed, &game->payload);

	/* the log leads to the version that the other table says, or one is wrong */
	if (game->payload.nentries > 0 &&
		(uint64) game->version - (uint64) game->payload.first_version + 1 !=
			game->payload.nentries)
		damaged_payload(&game->game_id,
						psprintf("its log ends at another version than " INT64_FORMAT,
								 game->version));
	game->has_payload = true;
}

static void
found_whole_game(GsRowSearch *search, Relation leaf, HeapTuple tuple)
{
	found_game(search, leaf, tuple);
	found_game_payload(search, leaf, tuple);
}

static GsStoredGame *
get_game(Oid parent, GsRowSearch *search, bool want_payload)
{
	GsStoredGame *game = MemoryContextAllocZero(search->mcxt, sizeof(GsStoredGame));

	search->arg = game;
	search->found = found_game;
	if (!(search->has_range ? gs_find_row(parent, search)
							: gs_find_row_by_id(parent, search)))
		return NULL;
	if (want_payload)
	{
		search->found = found_game_payload;
		gs_find_set_key(search, game->game_type, game->ended_at);
		(void) gs_find_row(gs_archive_table(PAYLOAD_TABLE), search);
	}
	return game;
}

GsStoredGame *
gs_archive_get(const pg_uuid_t *id, bool want_payload, MemoryContext mcxt)
{
	Oid parent = gs_archive_table(ARCHIVE_TABLE);
	GsRowSearch search = {.id = id, .mcxt = mcxt, .nsnapshots = 2};
	GsStoredGame *game;

	search.snapshots[0] = GetActiveSnapshot();
	search.snapshots[1] = newest_snapshot(parent);
	game = get_game(parent, &search, want_payload);
	UnregisterSnapshot(search.snapshots[1]);
	return game;
}

/*
 * An ordinary table with the columns of both.
 */
bool
gs_archive_exists_in(const char *table, const pg_uuid_t *id)
{
	Oid relid = gs_archive_table(table);
	GsRowSearch search = {.id = id, .nsnapshots = 1};
	bool result;

	if (!OidIsValid(relid))
		return false;
	search.snapshots[0] = newest_snapshot(relid);
	result = gs_find_row(relid, &search);
	UnregisterSnapshot(search.snapshots[0]);
	return result;
}

GsStoredGame *
gs_archive_get_in(const char *table, GsTier tier, const pg_uuid_t *id, bool want_payload,
				  MemoryContext mcxt)
{
	Oid relid = gs_archive_table(table);
	GsRowSearch search = {.id = id, .mcxt = mcxt, .nsnapshots = 2};
	GsStoredGame *game = MemoryContextAllocZero(mcxt, sizeof(GsStoredGame));

	if (!OidIsValid(relid))
		return NULL;
	search.snapshots[0] = GetActiveSnapshot();
	search.snapshots[1] = newest_snapshot(relid);
	search.arg = game;
	search.found = want_payload ? found_whole_game : found_game;
	if (!gs_find_row(relid, &search))
		game = NULL;
	else
		game->tier = tier;
	UnregisterSnapshot(search.snapshots[1]);
	return game;
}

GsStoredGame *
gs_archive_get_between(const pg_uuid_t *id, TimestampTz ended_from, TimestampTz ended_to,
					   MemoryContext mcxt)
{
	Oid parent = gs_archive_table(ARCHIVE_TABLE);
	GsRowSearch search = {.id = id, .mcxt = mcxt, .nsnapshots = 1, .has_range = true};
	GsStoredGame *game;

	search.ended_from = ended_from;
	search.ended_to = ended_to;
	search.snapshots[0] = newest_snapshot(parent);
	game = get_game(parent, &search, true);
	UnregisterSnapshot(search.snapshots[0]);
	return game;
}

/* ----------
 * for the views: one payload kept decompressed
 * ----------
 */

static void
forget_cached_payload(void *arg)
{
	cached_payload = NULL;
}

/* Found the row that the cache holds already? */
static bool
is_cached(const pg_uuid_t *id, const PayloadRow *row)
{
	/* the id and checksum tell rows apart whose place was taken by a rewrite */
	return cached_payload != NULL &&
		   memcmp(&cached_payload->game_id, id, sizeof(pg_uuid_t)) == 0 &&
		   cached_payload->row.tableoid == row->tableoid &&
		   ItemPointerEquals(&cached_payload->row.ctid, (ItemPointer) &row->ctid) &&
		   cached_payload->row.xmin == row->xmin &&
		   cached_payload->row.packed.format == row->packed.format &&
		   cached_payload->row.packed.dictionary == row->packed.dictionary &&
		   cached_payload->row.packed.raw_size == row->packed.raw_size &&
		   cached_payload->row.packed.checksum == row->packed.checksum;
}

/*
 * Run a query for the row with this key, with the caller's rights; true if
 * there is one, in SPI_tuptable.  A custom plan each time prunes the
 * partitions before it locks them.  The caller calls SPI_finish().
 */
static bool
query_by_key(SPIPlanPtr *plan, const char *query, const pg_uuid_t *id,
			 const char *game_type, TimestampTz ended_at)
{
	Datum values[3];

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (*plan == NULL)
	{
		Oid types[3] = {UUIDOID, TEXTOID, TIMESTAMPTZOID};
		SPIPlanPtr new_plan = SPI_prepare_cursor(query, 3, types, CURSOR_OPT_CUSTOM_PLAN);

		if (new_plan == NULL || SPI_keepplan(new_plan) != 0)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		*plan = new_plan;
	}

	values[0] = UUIDPGetDatum(id);
	values[1] = CStringGetTextDatum(game_type);
	values[2] = TimestampTzGetDatum(ended_at);
	if (SPI_execute_plan(*plan, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed");
	return SPI_processed == 1;
}

#define KEY_CONDITION                          \
	" WHERE game_id OPERATOR(pg_catalog.=) $1" \
	" AND game_type OPERATOR(pg_catalog.=) $2" \
	" AND ended_at OPERATOR(pg_catalog.=) $3"

/* The game's encoding from a foreign table. */
static void
query_encoding(CachedPayload *cached, const char *game_type, TimestampTz ended_at)
{
	static SPIPlanPtr plan = NULL;

	if (query_by_key(&plan, "SELECT encoding FROM gamestate.archive" KEY_CONDITION,
					 &cached->game_id, game_type, ended_at))
	{
		char *encoding = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);

		cached->is_known = encoding != NULL;
		cached->is_bytes = encoding != NULL && strcmp(encoding, "bytes") == 0;
	}
	SPI_finish();
}

static void
found_encoding(GsRowSearch *search, Relation leaf, HeapTuple tuple)
{
	CachedPayload *cached = search->arg;

	cached->is_bytes =
		strcmp(TextDatumGetCString(
				   gs_row_column_not_null(tuple, leaf, "encoding", TEXTOID)),
			   "bytes") == 0;
	cached->is_known = true;
}

/* Make the row's payload the cached one. */
static void
cache_payload(const pg_uuid_t *id, const char *game_type, TimestampTz ended_at,
			  const PayloadRow *row, Datum packed)
{
	MemoryContext mcxt;
	MemoryContext old;
	CachedPayload *cached;
	MemoryContextCallback *callback;
	GsRowSearch search = {.id = id, .nsnapshots = 1};
	bytea *bytes;

	if (cached_payload != NULL)
		MemoryContextDelete(cached_payload->mcxt);
	Assert(cached_payload == NULL);

	/* the caller's until all went well: a damaged payload leaves nothing behind */
	mcxt = AllocSetContextCreate(CurrentMemoryContext, "gamestate archived payload",
								 ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(mcxt);
	cached = palloc0(sizeof(CachedPayload));
	cached->mcxt = mcxt;
	cached->row = *row;
	cached->game_id = *id;

	bytes = DatumGetByteaPP(packed);
	unpack_payload(id, row, bytes, &cached->payload);
	if ((Pointer) bytes != DatumGetPointer(packed))
		pfree(bytes);

	/*
	 * The payload's row does not say whether it is JSON or bytes; the game's
	 * does.  That is no secret to one who may read the payload.
	 */
	gs_find_set_key(&search, game_type, ended_at);
	search.snapshots[0] = GetActiveSnapshot();
	search.found = found_encoding;
	search.arg = cached;
	search.mcxt = mcxt;
	if (!gs_find_row(gs_archive_table(ARCHIVE_TABLE), &search) && search.foreign)
		query_encoding(cached, game_type, ended_at);

	callback = palloc(sizeof(MemoryContextCallback));
	callback->func = forget_cached_payload;
	callback->arg = NULL;
	MemoryContextRegisterResetCallback(mcxt, callback);
	MemoryContextSetParent(mcxt, TopTransactionContext);
	cached_payload = cached;
	MemoryContextSwitchTo(old);
}

static void
found_view_payload(GsRowSearch *search, Relation leaf, HeapTuple tuple)
{
	PayloadRow row;

	read_payload_row(leaf, tuple, &row);
	if (!is_cached(search->id, &row))
		cache_payload(search->id, search->game_type, search->ended_from, &row,
					  gs_row_column_not_null(tuple, leaf, "payload", BYTEAOID));
}

/*
 * The same by an ordinary query, for what must not or cannot be read past the
 * executor: row security, column privileges, foreign tables.
 */
static bool
query_payload(const pg_uuid_t *id, const char *game_type, TimestampTz ended_at)
{
	static SPIPlanPtr plan = NULL;
	bool result;

	result = query_by_key(
		&plan,
		"SELECT tableoid, ctid, xmin, format, dictionary,"
		" raw_size, checksum, payload FROM gamestate.archive_payload" KEY_CONDITION,
		id, game_type, ended_at);
	if (result)
	{
		PayloadRow row;
		Datum column[8];
		bool isnull[8];

		heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, isnull);
		if (isnull[3] || isnull[5] || isnull[6] || isnull[7])
			damaged_payload(id, "a column of its row is null");
		memset(&row, 0, sizeof(row));
		row.tableoid = isnull[0] ? InvalidOid : DatumGetObjectId(column[0]);
		if (!isnull[1])
			row.ctid = *(ItemPointer) DatumGetPointer(column[1]);
		row.xmin = isnull[2] ? InvalidTransactionId : DatumGetTransactionId(column[2]);
		row.packed.format = DatumGetInt16(column[3]);
		row.packed.dictionary = isnull[4] ? 0 : DatumGetInt32(column[4]);
		row.packed.raw_size = DatumGetInt32(column[5]);
		row.packed.checksum = DatumGetInt64(column[6]);
		if (!is_cached(id, &row))
			cache_payload(id, game_type, ended_at, &row, column[7]);
	}
	SPI_finish();
	return result;
}

/*
 * The payload of the archived game with this key, as the active snapshot and
 * the caller's rights show it; NULL if there is none.  Valid until the next call.
 */
static CachedPayload *
view_payload(FunctionCallInfo fcinfo)
{
	char *game_type = text_to_cstring(PG_GETARG_TEXT_PP(0));
	TimestampTz ended_at = PG_GETARG_TIMESTAMPTZ(1);
	pg_uuid_t *id = PG_GETARG_UUID_P(2);
	Oid parent = gs_archive_table(PAYLOAD_TABLE);
	GsRowSearch search = {.id = id, .nsnapshots = 1};
	bool found = false;

	search.foreign = true;
	if (OidIsValid(parent) &&
		pg_class_aclcheck(parent, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		check_enable_rls(parent, InvalidOid, false) != RLS_ENABLED)
	{
		gs_find_set_key(&search, game_type, ended_at);
		search.snapshots[0] = GetActiveSnapshot();
		search.found = found_view_payload;
		search.mcxt = CurrentMemoryContext;
		search.foreign = false;
		found = gs_find_row(parent, &search);
	}
	if (!found && search.foreign)
		found = query_payload(id, game_type, ended_at);
	pfree(game_type);
	return found ? cached_payload : NULL;
}

/* ----------
 * SQL functions
 * ----------
 */

/* The first state, made of the log once if need be; NULL if it is not kept. */
static GsText
initial_state(CachedPayload *cached)
{
	if (cached->initial.data == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(cached->mcxt);
		const char *wrong;

		(void) gs_history_archived(&cached->payload, 1, &cached->initial, &wrong);
		MemoryContextSwitchTo(old);
		if (wrong)
			damaged_payload(&cached->game_id, wrong);
	}
	return cached->initial;
}

static Datum
archived_state(FunctionCallInfo fcinfo, bool final, bool as_bytes)
{
	CachedPayload *cached = view_payload(fcinfo);
	GsText state;

	if (cached == NULL || !cached->is_known || cached->is_bytes != as_bytes)
		PG_RETURN_NULL();

	if (final)
		state = (GsText){cached->payload.final, cached->payload.final_len};
	else
		state = initial_state(cached);
	if (state.data == NULL)
		PG_RETURN_NULL();
	if (as_bytes)
		return PointerGetDatum(cstring_to_text_with_len(state.data, (int) state.len));
	return payload_text(&cached->game_id, state.data, state.len);
}

PG_FUNCTION_INFO_V1(gs_archived_initial_state);
Datum
gs_archived_initial_state(PG_FUNCTION_ARGS)
{
	return archived_state(fcinfo, false, false);
}

PG_FUNCTION_INFO_V1(gs_archived_initial_state_bytes);
Datum
gs_archived_initial_state_bytes(PG_FUNCTION_ARGS)
{
	return archived_state(fcinfo, false, true);
}

PG_FUNCTION_INFO_V1(gs_archived_final_state);
Datum
gs_archived_final_state(PG_FUNCTION_ARGS)
{
	return archived_state(fcinfo, true, false);
}

PG_FUNCTION_INFO_V1(gs_archived_final_state_bytes);
Datum
gs_archived_final_state_bytes(PG_FUNCTION_ARGS)
{
	return archived_state(fcinfo, true, true);
}

/* Columns of gamestate.archived_log(), in its order. */
enum LogColumn
{
	LOG_VERSION,
	LOG_ORD,
	LOG_KIND,
	LOG_PLAYER,
	LOG_AT,
	LOG_REQUEST_ID,
	LOG_EVENT,
	LOG_EVENT_BYTES,
	LOG_REQUEST_ARGUMENTS,
	LOG_COLUMNS
};

static void
log_row(const CachedPayload *cached, const GsEntry *e, int64 version, int64 ord,
		Datum *values, bool *isnull)
{
	const pg_uuid_t *id = &cached->game_id;

	memset(values, 0, LOG_COLUMNS * sizeof(Datum));
	memset(isnull, true, LOG_COLUMNS * sizeof(bool));

	values[LOG_VERSION] = Int64GetDatum(version);
	isnull[LOG_VERSION] = false;
	values[LOG_KIND] = CStringGetTextDatum(gs_kind_name(e->kind));
	isnull[LOG_KIND] = false;
	values[LOG_AT] = TimestampTzGetDatum(e->at);
	isnull[LOG_AT] = false;
	if (e->kind == GS_KIND_MOVE)
	{
		values[LOG_ORD] = Int64GetDatum(ord);
		isnull[LOG_ORD] = false;
	}
	if (e->player)
	{
		values[LOG_PLAYER] = payload_text(id, e->player, e->player_len);
		isnull[LOG_PLAYER] = false;
	}
	if (e->request_id)
	{
		values[LOG_REQUEST_ID] = PointerGetDatum(e->request_id);
		isnull[LOG_REQUEST_ID] = false;
		values[LOG_REQUEST_ARGUMENTS] = Int64GetDatum((int64) e->request_arguments);
		isnull[LOG_REQUEST_ARGUMENTS] = false;
	}
	if (e->event && e->kind == GS_KIND_MOVE && cached->is_bytes)
	{
		values[LOG_EVENT_BYTES] =
			PointerGetDatum(cstring_to_text_with_len(e->event, (int) e->event_len));
		isnull[LOG_EVENT_BYTES] = false;
	}
	else if (e->event)
	{
		values[LOG_EVENT] = payload_text(id, e->event, e->event_len);
		isnull[LOG_EVENT] = false;
	}
}

/* archived_log(game_type, ended_at, game_id, only_moves): the log as rows */
PG_FUNCTION_INFO_V1(gs_archived_log);
Datum
gs_archived_log(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	bool only_moves = PG_GETARG_BOOL(3);
	CachedPayload *cached;
	MemoryContext row_context;
	MemoryContext old;
	const char *p;
	const char *end;
	int64 ord = 0;

	InitMaterializedSRF(fcinfo, 0);
	cached = view_payload(fcinfo);
	if (cached == NULL || !cached->is_known)
		return (Datum) 0;

	row_context = AllocSetContextCreate(CurrentMemoryContext, "gamestate archived log",
										ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(row_context);
	p = cached->payload.entries;
	end = p + cached->payload.entries_len;
	for (uint64 i = 0; i < cached->payload.nentries; i++)
	{
		Datum values[LOG_COLUMNS];
		bool isnull[LOG_COLUMNS];
		GsEntry e;

		CHECK_FOR_INTERRUPTS();
		if (gs_entry_decode(&p, end, cached->payload.base, &e) != NULL)
			elog(ERROR, "archived entry does not decode a second time");
		if (e.kind == GS_KIND_MOVE)
			ord++;
		else if (only_moves)
			continue;
		log_row(cached, &e, cached->payload.first_version + (int64) i, ord, values,
				isnull);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, isnull);
		MemoryContextReset(row_context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row_context);
	return (Datum) 0;
}
