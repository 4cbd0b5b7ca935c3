/*-------------------------------------------------------------------------
 *
 * gs_suspended.c
 *	  gamestate.suspended: suspended games, a row each.
 *
 * The model:
 *	1. A row has what people filter by, what a game's header has, and the states
 *	   and the log as one payload, as in the archive (gs_payload.h), but
 *	   without a dictionary: a game that comes back shall need nothing else.
 *	2. Rows are inserted and deleted by ordinary statements, as the table's
 *	   owner: what a DBA has put on it (indexes, triggers, columns with
 *	   defaults) works.  A row that does not get in, or stays, is an error.
 *	   The row is deleted with the newest snapshot, for the game's lock, not
 *	   the transaction's snapshot, says whether it is there.
 *	3. Rows are read by the primary key directly, without SQL, so that whoever
 *	   may execute get_game() needs no right on the table.
 *
 * What may not be done here: trust a byte of a row; DBAs can change the table,
 * a dump may have been edited, disks can damage.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_batch.h"
#include "gs_config.h"
#include "gs_history.h"
#include "gs_owner.h"
#include "gs_policy.h"
#include "gs_sql.h"
#include "gs_suspended.h"
#include "gs_unpack.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define TABLE "suspended"
#define INDEX "suspended_pkey"

PG_FUNCTION_INFO_V1(gs_suspended_state);
PG_FUNCTION_INFO_V1(gs_suspended_state_bytes);

/* Columns of the table. */
enum
{
	COLUMN_GAME_ID = 1,
	COLUMN_GAME_TYPE,
	COLUMN_STATUS,
	COLUMN_ENCODING,
	COLUMN_DURABILITY,
	COLUMN_PLAYERS,
	COLUMN_MAX_PLAYERS,
	COLUMN_ROOM_CODE,
	COLUMN_METADATA,
	COLUMN_VERSION,
	COLUMN_MOVES,
	COLUMN_CREATED_AT,
	COLUMN_STARTED_AT,
	COLUMN_UPDATED_AT,
	COLUMN_DEADLINE,
	COLUMN_SUSPENDED_AT,
	COLUMN_REASON,
	COLUMN_CREATE_REQUEST,
	COLUMN_CREATE_ARGUMENTS,
	COLUMN_FORMAT,
	COLUMN_RAW_SIZE,
	COLUMN_CHECKSUM,
	COLUMN_PAYLOAD,
	NCOLUMNS = COLUMN_PAYLOAD
};

static Oid column_types[NCOLUMNS] = {UUIDOID,		 TEXTOID,		 TEXTOID,
									 TEXTOID,		 TEXTOID,		 TEXTARRAYOID,
									 INT4OID,		 TEXTOID,		 JSONOID,
									 INT8OID,		 INT8OID,		 TIMESTAMPTZOID,
									 TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
									 TIMESTAMPTZOID, TEXTOID,		 UUIDOID,
									 INT8OID,		 INT2OID,		 INT4OID,
									 INT8OID,		 BYTEAOID};

/* What is done with a row that was found. */
typedef void (*RowCallback)(HeapTuple tuple, TupleDesc desc, void *arg);

/* ----------------------------------------------------------------
 *		Finding a row
 * ----------------------------------------------------------------
 */

/* Without the extension there is no table, and nothing is suspended. */
static Relation
open_table(void)
{
	Oid schema = get_namespace_oid("gamestate", true);
	Oid relid = OidIsValid(schema) ? get_relname_relid(TABLE, schema) : InvalidOid;
	Relation rel = OidIsValid(relid) ? try_table_open(relid, AccessShareLock) : NULL;

	if (rel)
		gs_sql_columns(rel, column_types, NCOLUMNS);
	return rel;
}

/* What is put in must be able to come out. */
static void
check_usable(void)
{
	Relation rel = open_table();

	if (rel)
		table_close(rel, AccessShareLock);
}

static bool
scan_table(Relation rel, const pg_uuid_t *id, Snapshot snapshot, RowCallback found,
		   void *arg)
{
	Oid indexoid = get_relname_relid(INDEX, RelationGetNamespace(rel));
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, COLUMN_GAME_ID, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(id));
	scan = systable_beginscan(rel, indexoid, OidIsValid(indexoid), snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple) && found)
		found(tuple, RelationGetDescr(rel), arg);
	systable_endscan(scan);
	return HeapTupleIsValid(tuple);
}

/* With a snapshot of this moment, see newest_snapshot() of gs_archive.c. */
static bool
find_newest(Relation rel, const pg_uuid_t *id, RowCallback found, void *arg)
{
	Snapshot snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(rel)));
	bool result = scan_table(rel, id, snapshot, found, arg);

	UnregisterSnapshot(snapshot);
	return result;
}

bool
gs_suspended_exists(const pg_uuid_t *id)
{
	Relation rel = open_table();
	bool result;

	if (rel == NULL)
		return false;
	result = find_newest(rel, id, NULL, NULL);
	table_close(rel, AccessShareLock);
	return result;
}

bool
gs_suspended_is_visible(const pg_uuid_t *id, Snapshot snapshot)
{
	Relation rel = open_table();
	bool result;

	if (rel == NULL)
		return false;
	result = scan_table(rel, id, snapshot, NULL, NULL);
	table_close(rel, AccessShareLock);
	return result;
}

/* ----------------------------------------------------------------
 *		Reading a row
 * ----------------------------------------------------------------
 */

static _Noreturn void
damaged(const pg_uuid_t *id, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("suspended game %s is damaged",
					DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)))),
			 errdetail("What is wrong: %s.", what)));
	pg_unreachable();
}

/* Where a row is read to. */
typedef struct RowReader
{
	GsStoredGame *game;
	GsDurability durability;
	bool want_payload;
	MemoryContext mcxt;
} RowReader;

static Datum
column(HeapTuple tuple, TupleDesc desc, int n)
{
	bool isnull;
	Datum value = heap_getattr(tuple, n, desc, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("column \"%s\" of gamestate.suspended is null",
						NameStr(TupleDescAttr(desc, n - 1)->attname))));
	return value;
}

static text *
optional_text(HeapTuple tuple, TupleDesc desc, int n)
{
	bool isnull;
	Datum value = heap_getattr(tuple, n, desc, &isnull);

	return isnull ? NULL : DatumGetTextPCopy(value);
}

/* 0 = NULL */
static TimestampTz
optional_time(HeapTuple tuple, TupleDesc desc, int n)
{
	bool isnull;
	Datum value = heap_getattr(tuple, n, desc, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

static void
read_payload(HeapTuple tuple, TupleDesc desc, GsStoredGame *game)
{
	GsPacked packed = {0};
	char *raw;
	const char *wrong;

	packed.format = DatumGetInt16(column(tuple, desc, COLUMN_FORMAT));
	packed.raw_size = DatumGetInt32(column(tuple, desc, COLUMN_RAW_SIZE));
	packed.checksum = DatumGetInt64(column(tuple, desc, COLUMN_CHECKSUM));
	wrong = gs_unpack(&packed, DatumGetByteaPP(column(tuple, desc, COLUMN_PAYLOAD)), &raw,
					  &game->payload);
	if (wrong)
		damaged(&game->game_id, wrong);
	if (game->payload.nentries > 0 &&
		(uint64) game->version - (uint64) game->payload.first_version + 1 !=
			game->payload.nentries)
		damaged(&game->game_id, "its log ends at another version");
	game->has_payload = true;
}

static void
read_request(HeapTuple tuple, TupleDesc desc, GsStoredGame *game)
{
	bool isnull;
	bool no_arguments;
	Datum request = heap_getattr(tuple, COLUMN_CREATE_REQUEST, desc, &isnull);
	Datum arguments = heap_getattr(tuple, COLUMN_CREATE_ARGUMENTS, desc, &no_arguments);

	game->has_create_request = !isnull && !no_arguments;
	if (!game->has_create_request)
		return;
	game->create_request = *DatumGetUUIDP(request);
	game->create_arguments = (uint32) DatumGetInt64(arguments);
}

static void
read_row(HeapTuple tuple, TupleDesc desc, void *arg)
{
	RowReader *reader = arg;
	MemoryContext old = MemoryContextSwitchTo(reader->mcxt);
	GsStoredGame *game = palloc0(sizeof(GsStoredGame));
	bool isnull;
	Datum value;

#define COLUMN(n) column(tuple, desc, COLUMN_##n)
	game->tier = GS_TIER_SUSPENDED;
	game->game_id = *DatumGetUUIDP(COLUMN(GAME_ID));
	game->game_type = TextDatumGetCString(COLUMN(GAME_TYPE));
	game->status = TextDatumGetCString(COLUMN(STATUS));
	game->is_bytes = strcmp(TextDatumGetCString(COLUMN(ENCODING)), "bytes") == 0;
	game->players = DatumGetArrayTypePCopy(COLUMN(PLAYERS));
	value = heap_getattr(tuple, COLUMN_MAX_PLAYERS, desc, &isnull);
	game->has_max_players = !isnull;
	game->max_players = isnull ? 0 : DatumGetInt32(value);
	game->room_code = optional_text(tuple, desc, COLUMN_ROOM_CODE);
	game->metadata = optional_text(tuple, desc, COLUMN_METADATA);
	game->created_at = DatumGetTimestampTz(COLUMN(CREATED_AT));
	game->started_at = optional_time(tuple, desc, COLUMN_STARTED_AT);
	game->updated_at = DatumGetTimestampTz(COLUMN(UPDATED_AT));
	game->deadline = optional_time(tuple, desc, COLUMN_DEADLINE);
	game->version = DatumGetInt64(COLUMN(VERSION));
	game->moves = DatumGetInt64(COLUMN(MOVES));
	read_request(tuple, desc, game);
	reader->durability = strcmp(TextDatumGetCString(COLUMN(DURABILITY)), "memory") == 0
							 ? GS_DURABILITY_MEMORY
							 : GS_DURABILITY_JOURNAL;
#undef COLUMN
	if (reader->want_payload)
		read_payload(tuple, desc, game);
	reader->game = game;
	MemoryContextSwitchTo(old);
}

GsStoredGame *
gs_suspended_get(const pg_uuid_t *id, bool want_payload, MemoryContext mcxt)
{
	RowReader reader = {.want_payload = want_payload, .mcxt = mcxt};
	Relation rel = open_table();

	if (rel == NULL)
		return NULL;
	if (!scan_table(rel, id, GetActiveSnapshot(), read_row, &reader))
		(void) find_newest(rel, id, read_row, &reader);
	table_close(rel, AccessShareLock);
	return reader.game;
}

/* ----------------------------------------------------------------
 *		The whole game
 * ----------------------------------------------------------------
 */

/* What leaves as a text, or as json, must be in this database's encoding. */
static void
check_text(const pg_uuid_t *id, const char *data, uint32 len, uint32 max_len)
{
	if (data &&
		(len > max_len || !pg_verify_mbstr(GetDatabaseEncoding(), data, (int) len, true)))
		damaged(id, "a text is too long, or not valid in the encoding of this database");
}

static GsText
text_of(const text *t)
{
	return t ? (GsText){VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t)} : (GsText){NULL, 0};
}

static void
take_players(const GsStoredGame *stored, GsInfoParts *info)
{
	Datum *values;
	bool *nulls;
	int n;

	if (ARR_NDIM(stored->players) > 1)
		damaged(&stored->game_id, "its players are no list");
	deconstruct_array(stored->players, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls,
					  &n);
	if (n > PG_UINT16_MAX)
		damaged(&stored->game_id, "it has too many players");
	info->nplayers = n;
	info->players = palloc(sizeof(GsText) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			damaged(&stored->game_id, "a player is null");
		info->players[i] = text_of(DatumGetTextPP(values[i]));
		if (info->players[i].len == 0 || info->players[i].len > GS_MAX_ID_LENGTH)
			damaged(&stored->game_id, "a player id is empty or too long");
	}
}

static void
take_header(const GsStoredGame *stored, GsHeader *h)
{
	const pg_uuid_t *id = &stored->game_id;

	if (strcmp(stored->status, gs_status_name(GS_STATUS_WAITING)) == 0)
		h->status = GS_STATUS_WAITING;
	else if (strcmp(stored->status, gs_status_name(GS_STATUS_ACTIVE)) == 0)
		h->status = GS_STATUS_ACTIVE;
	else
		damaged(id, "its status is not that of a game that goes on");
	if (stored->version < 1 || stored->moves < 0 || stored->moves > stored->version)
		damaged(id, "its version or number of moves is impossible");
	if (stored->has_max_players && stored->max_players < 1)
		damaged(id, "its max_players is impossible");
	h->version = stored->version;
	h->moves = stored->moves;
	h->created_at = stored->created_at;
	h->started_at = stored->started_at;
	h->updated_at = stored->updated_at;
	h->deadline = stored->deadline;
	h->max_players = stored->max_players;
	h->encoding = stored->is_bytes ? GS_ENCODING_BYTES : GS_ENCODING_JSON;
	h->has_create_request = stored->has_create_request;
	h->create_request = stored->create_request;
	h->create_arguments = stored->create_arguments;
}

static void
take_info(const GsStoredGame *stored, GsInfoParts *info)
{
	info->game_type = (GsText){stored->game_type, strlen(stored->game_type)};
	info->room_code = text_of(stored->room_code);
	info->metadata = text_of(stored->metadata);
	if (info->game_type.len == 0 || info->game_type.len > GS_MAX_ID_LENGTH ||
		(info->room_code.data &&
		 (info->room_code.len == 0 || info->room_code.len > GS_MAX_ID_LENGTH)))
		damaged(&stored->game_id, "its type or room code is empty or too long");
	take_players(stored, info);
}

/* The log, but for the creation, which a live game's log implies. */
static void
take_log(const GsStoredGame *stored, GsGameCopy *game)
{
	const GsPayload *payload = &stored->payload;
	const char *p = payload->entries;
	const char *end = p + payload->entries_len;

	game->entries = MemoryContextAllocHuge(CurrentMemoryContext,
										   sizeof(GsEntry) * (payload->nentries + 1));
	for (uint64 i = 0; i < payload->nentries; i++)
	{
		GsEntry *e = &game->entries[game->nentries];

		if (gs_entry_decode(&p, end, payload->base, e) != NULL)
			elog(ERROR, "entry that has been checked does not decode");
		if (payload->first_version + (int64) i < 2)
			continue;
		if (e->kind == GS_KIND_CREATE)
			damaged(&stored->game_id, "it is created twice");
		check_text(&stored->game_id, e->player, e->player_len, GS_MAX_ID_LENGTH);
		if (e->kind != GS_KIND_MOVE || !stored->is_bytes)
			check_text(&stored->game_id, e->event, e->event_len, PG_INT32_MAX);
		game->nentries++;
	}
	game->log = unconstify(char *, payload->entries);
}

static void
take_payload(const GsStoredGame *stored, GsGameCopy *game)
{
	const GsPayload *payload = &stored->payload;

	take_log(stored, game);
	gs_history_take(payload, game);
	if (stored->is_bytes)
		return;
	check_text(&stored->game_id, payload->final, payload->final_len, PG_INT32_MAX);
	if (!payload->has_deltas)
		check_text(&stored->game_id, payload->initial, payload->initial_len,
				   PG_INT32_MAX);
}

GsGameCopy *
gs_suspended_read(const pg_uuid_t *id, bool want_payload, MemoryContext mcxt)
{
	RowReader reader = {.want_payload = want_payload, .mcxt = mcxt};
	Relation rel = open_table();
	MemoryContext old;
	GsGameCopy *game;

	if (rel == NULL)
		return NULL;
	(void) find_newest(rel, id, read_row, &reader);
	table_close(rel, AccessShareLock);
	if (reader.game == NULL)
		return NULL;

	old = MemoryContextSwitchTo(mcxt);
	game = palloc0(sizeof(GsGameCopy));
	game->game_id = *id;
	take_header(reader.game, &game->h);
	game->h.durability = reader.durability;
	take_info(reader.game, &game->info);
	if (want_payload)
		take_payload(reader.game, game);
	MemoryContextSwitchTo(old);
	return game;
}

/* ----------------------------------------------------------------
 *		Inserting and deleting
 * ----------------------------------------------------------------
 */

#define INSERT_COLUMNS                                                           \
	"game_id, game_type, status, encoding, durability, players, max_players, "   \
	"room_code, metadata, version, moves, created_at, started_at, updated_at, "  \
	"deadline, suspended_at, reason, create_request, create_arguments, format, " \
	"raw_size, checksum, payload"
#define INSERT_VALUES                                                              \
	"$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, " \
	"$18, $19, $20, $21, $22, $23"

static SPIPlanPtr
keep_plan(SPIPlanPtr plan)
{
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare a change of gamestate.suspended");
	return plan;
}

static SPIPlanPtr
insert_plan(void)
{
	static SPIPlanPtr plan = NULL;

	if (plan == NULL)
		plan = keep_plan(SPI_prepare("INSERT INTO gamestate.suspended (" INSERT_COLUMNS
									 ") VALUES (" INSERT_VALUES ")",
									 NCOLUMNS, column_types));
	return plan;
}

static SPIPlanPtr
delete_plan(void)
{
	static SPIPlanPtr plan = NULL;
	Oid type = UUIDOID;

	if (plan == NULL)
		plan = keep_plan(SPI_prepare("DELETE FROM gamestate.suspended"
									 " WHERE game_id OPERATOR(pg_catalog.=) $1",
									 1, &type));
	return plan;
}

/* One column of a row to be inserted, by its number; NULL as long as it is not set. */
static void
set_column(Datum *values, char *nulls, int n, Datum value)
{
	values[n - 1] = value;
	nulls[n - 1] = ' ';
}

static void
set_text(Datum *values, char *nulls, int n, const GsText *text)
{
	if (text->data)
		set_column(values, nulls, n,
				   PointerGetDatum(cstring_to_text_with_len(text->data, text->len)));
}

static void
set_time(Datum *values, char *nulls, int n, TimestampTz at)
{
	if (at != 0)
		set_column(values, nulls, n, TimestampTzGetDatum(at));
}

static Datum
players_array(const GsInfoParts *info)
{
	Datum *players = palloc(sizeof(Datum) * Max(info->nplayers, 1));

	for (int i = 0; i < info->nplayers; i++)
		players[i] = PointerGetDatum(
			cstring_to_text_with_len(info->players[i].data, info->players[i].len));
	return PointerGetDatum(
		construct_array(players, info->nplayers, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
set_header(Datum *values, char *nulls, const GsHeader *h)
{
#define SET(n, value) set_column(values, nulls, COLUMN_##n, value)
	SET(STATUS, CStringGetTextDatum(gs_status_name(h->status)));
	SET(ENCODING,
		CStringGetTextDatum(h->encoding == GS_ENCODING_BYTES ? "bytes" : "json"));
	SET(DURABILITY, CStringGetTextDatum(
						h->durability == GS_DURABILITY_MEMORY ? "memory" : "journal"));
	if (h->max_players > 0)
		SET(MAX_PLAYERS, Int32GetDatum(h->max_players));
	SET(VERSION, Int64GetDatum(h->version));
	SET(MOVES, Int64GetDatum(h->moves));
	set_time(values, nulls, COLUMN_CREATED_AT, h->created_at);
	set_time(values, nulls, COLUMN_STARTED_AT, h->started_at);
	set_time(values, nulls, COLUMN_UPDATED_AT, h->updated_at);
	set_time(values, nulls, COLUMN_DEADLINE, h->deadline);
	set_time(values, nulls, COLUMN_SUSPENDED_AT, h->updated_at);
	if (h->has_create_request)
	{
		SET(CREATE_REQUEST, UUIDPGetDatum(&h->create_request));
		SET(CREATE_ARGUMENTS, Int64GetDatum((int64) h->create_arguments));
	}
}

static void
set_game(Datum *values, char *nulls, const GsGameCopy *game, const char *reason)
{
	const GsInfoParts *info = &game->info;
	int level = gs_policy(&info->game_type)->compression_level;
	GsPacked packed;
	bytea *payload;

	if (level == GS_POLICY_SETTING)
		level = gs_archive_compression_level;
	payload = gs_batch_pack(game, level, 0, CurrentMemoryContext, &packed);
	SET(GAME_ID, UUIDPGetDatum(&game->game_id));
	set_text(values, nulls, COLUMN_GAME_TYPE, &info->game_type);
	SET(PLAYERS, players_array(info));
	set_text(values, nulls, COLUMN_ROOM_CODE, &info->room_code);
	set_text(values, nulls, COLUMN_METADATA, &info->metadata);
	SET(REASON, CStringGetTextDatum(reason));
	SET(FORMAT, Int16GetDatum(packed.format));
	SET(RAW_SIZE, Int32GetDatum(packed.raw_size));
	SET(CHECKSUM, Int64GetDatum(packed.checksum));
	SET(PAYLOAD, PointerGetDatum(payload));
#undef SET
}

void
gs_suspended_insert(const GsGameCopy *game, const char *reason)
{
	GsOwnerAccess access;
	Datum values[NCOLUMNS];
	char nulls[NCOLUMNS];

	memset(values, 0, sizeof(values));
	memset(nulls, 'n', sizeof(nulls));
	set_header(values, nulls, &game->h);
	set_game(values, nulls, game, reason);

	check_usable();
	gs_owner_begin(&access, TABLE, RowExclusiveLock);
	if (SPI_execute_plan(insert_plan(), values, nulls, false, 0) != SPI_OK_INSERT ||
		SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("table gamestate.suspended did not take a game"),
				 errhint("Look for a trigger or a rule on the table that drops rows.")));
	gs_owner_end(&access);

	/* what comes next in this very statement is to see it */
	CommandCounterIncrement();
}

static SPIPlanPtr
of_player_plan(void)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID, TEXTOID};

	if (plan == NULL)
		plan =
			keep_plan(SPI_prepare("SELECT game_id FROM gamestate.suspended WHERE players"
								  " OPERATOR(pg_catalog.@>) ARRAY[$2] AND game_type"
								  " OPERATOR(pg_catalog.=) $1 COLLATE pg_catalog.\"C\"",
								  lengthof(types), types));
	return plan;
}

/* Nothing is suspended, as a rule, and then that costs next to nothing. */
static bool
is_empty(void)
{
	Oid schema = get_namespace_oid("gamestate", true);
	Oid relid = OidIsValid(schema) ? get_relname_relid(TABLE, schema) : InvalidOid;
	Relation rel = OidIsValid(relid) ? try_table_open(relid, AccessShareLock) : NULL;
	bool empty = true;

	if (rel == NULL)
		return true;
	if (RELKIND_HAS_STORAGE(rel->rd_rel->relkind))
		empty = RelationGetNumberOfBlocks(rel) == 0;
	table_close(rel, AccessShareLock);
	return empty;
}

pg_uuid_t *
gs_suspended_of_player(const GsText *game_type, const GsText *player, int *n)
{
	GsOwnerAccess access;
	MemoryContext caller = CurrentMemoryContext;
	Snapshot snapshot;
	Datum values[2];
	pg_uuid_t *ids = NULL;
	bool null;

	*n = 0;
	if (is_empty())
		return NULL;
	values[0] =
		PointerGetDatum(cstring_to_text_with_len(game_type->data, game_type->len));
	values[1] = PointerGetDatum(cstring_to_text_with_len(player->data, player->len));
	gs_owner_begin(&access, TABLE, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (SPI_execute_snapshot(of_player_plan(), values, NULL, snapshot, InvalidSnapshot,
							 true, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for the suspended games of a player");
	if (SPI_processed > 0)
		ids = MemoryContextAllocHuge(caller, sizeof(pg_uuid_t) * SPI_processed);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum id = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &null);

		if (!null)
			ids[(*n)++] = *DatumGetUUIDP(id);
	}
	UnregisterSnapshot(snapshot);
	gs_owner_end(&access);
	return ids;
}

void
gs_suspended_delete(const pg_uuid_t *id)
{
	GsOwnerAccess access;
	Datum value = UUIDPGetDatum(id);
	Snapshot snapshot;

	gs_owner_begin(&access, TABLE, RowExclusiveLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (SPI_execute_snapshot(delete_plan(), &value, NULL, snapshot, InvalidSnapshot,
							 false, true, 0) != SPI_OK_DELETE ||
		SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("table gamestate.suspended did not give back a game"),
				 errhint("Look for a trigger or a rule on the table that keeps rows.")));
	UnregisterSnapshot(snapshot);
	gs_owner_end(&access);
	CommandCounterIncrement();
}

/* ----------------------------------------------------------------
 *		For views: the state out of a row's columns
 * ----------------------------------------------------------------
 */

/* (game_id, format, raw_size, checksum, payload) */
static Datum
state_of(FunctionCallInfo fcinfo, bool as_text)
{
	pg_uuid_t *id = PG_GETARG_UUID_P(0);
	GsPacked packed = {.format = PG_GETARG_INT16(1),
					   .raw_size = PG_GETARG_INT32(2),
					   .checksum = PG_GETARG_INT64(3)};
	GsPayload payload;
	char *raw;
	const char *wrong = gs_unpack(&packed, PG_GETARG_BYTEA_PP(4), &raw, &payload);
	text *state;

	if (wrong)
		damaged(id, wrong);
	if (as_text)
		check_text(id, payload.final, payload.final_len, PG_INT32_MAX);
	state = cstring_to_text_with_len(payload.final, payload.final_len);
	pfree(raw);
	return PointerGetDatum(state);
}

Datum
gs_suspended_state(PG_FUNCTION_ARGS)
{
	return state_of(fcinfo, true);
}

Datum
gs_suspended_state_bytes(PG_FUNCTION_ARGS)
{
	return state_of(fcinfo, false);
}
