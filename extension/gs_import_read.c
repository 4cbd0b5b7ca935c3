/*-------------------------------------------------------------------------
 *
 * gs_import_read.c
 *	  From a game's JSON to a game: what import_games() reads.
 *
 * The model:
 *	1. The object is as `gamestate export` writes it; most members may be
 *	   missing, so that games of another system can be written in the same form
 *	   (README, "Games from elsewhere").
 *	2. It is taken apart by PostgreSQL's own json_to_record(), and its log by
 *	   json_to_recordset(), which leave documents as they are, to the letter.
 *	3. What follows from the rest is completed: the entries of the creation and
 *	   the end, versions, numbers, times, a game id out of a source_id.
 *	4. Everything else is checked: an ERROR says what is wrong with the game.
 *
 * Nothing of a game is trusted: it comes from a file.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_errors.h"
#include "gs_import.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* Columns of read_game_sql. */
enum
{
	COLUMN_GAME_ID = 1,
	COLUMN_DERIVED_ID,
	COLUMN_GAME_TYPE,
	COLUMN_STATUS,
	COLUMN_ENCODING,
	COLUMN_PLAYERS,
	COLUMN_MAX_PLAYERS,
	COLUMN_ROOM_CODE,
	COLUMN_METADATA,
	COLUMN_RESULT,
	COLUMN_CREATED_AT,
	COLUMN_STARTED_AT,
	COLUMN_ENDED_AT,
	COLUMN_VERSION,
	COLUMN_MOVES,
	COLUMN_PAYLOAD,
	COLUMN_INITIAL,
	COLUMN_INITIAL_BYTES,
	COLUMN_FINAL,
	COLUMN_FINAL_BYTES,
	COLUMN_LOG
};

/*
 * A member X_text is the text of a document that could not be embedded: with
 * a line break, say, or blanks at its ends.
 */
static const char read_game_sql[] =
	"SELECT r.game_id,"
	" pg_catalog.encode(pg_catalog.substring(pg_catalog.sha256(pg_catalog.convert_to("
	"  r.game_type OPERATOR(pg_catalog.||) E'\\n' OPERATOR(pg_catalog.||) r.source_id,"
	"  'UTF8')), 1, 16), 'hex')::uuid,"
	" r.game_type, r.status, r.encoding, r.players, r.max_players, r.room_code,"
	" coalesce(r.metadata, r.metadata_text::json), coalesce(r.result, r.result_text::json),"
	" r.created_at, r.started_at, r.ended_at, r.version, r.moves, r.payload,"
	" coalesce(r.initial_state, r.initial_state_text::json),"
	" pg_catalog.decode(r.initial_state_bytes, 'base64'),"
	" coalesce(r.final_state, r.final_state_text::json),"
	" pg_catalog.decode(r.final_state_bytes, 'base64'), r.log"
	" FROM pg_catalog.json_to_record($1::json) AS r("
	"  game_id uuid, source_id text, game_type text, status text, encoding text,"
	"  players text[], max_players integer, room_code text,"
	"  metadata json, metadata_text text, result json, result_text text,"
	"  created_at timestamptz, started_at timestamptz, ended_at timestamptz,"
	"  version bigint, moves bigint, payload boolean,"
	"  initial_state json, initial_state_text text, initial_state_bytes text,"
	"  final_state json, final_state_text text, final_state_bytes text, log json)";

enum
{
	COLUMN_ENTRY_VERSION = 1,
	COLUMN_KIND,
	COLUMN_PLAYER,
	COLUMN_AT,
	COLUMN_REQUEST_ID,
	COLUMN_EVENT,
	COLUMN_EVENT_BYTES,
	COLUMN_REQUEST_ARGUMENTS,
	COLUMN_DELTA,
	COLUMN_STATE,
	COLUMN_STATE_BYTES
};

static const char read_log_sql[] =
	"SELECT r.version, r.kind, r.player, r.at, r.request_id,"
	" coalesce(r.event, r.event_text::json), pg_catalog.decode(r.event_bytes, 'base64'),"
	" r.request_arguments, pg_catalog.decode(r.delta, 'base64'),"
	" coalesce(r.state, r.state_text::json), pg_catalog.decode(r.state_bytes, 'base64')"
	" FROM pg_catalog.json_to_recordset($1) AS r("
	"  version bigint, kind text, player text, at timestamptz, request_id uuid,"
	"  request_arguments bigint, event json, event_text text, event_bytes text,"
	"  delta text, state json, state_text text, state_bytes text)";

static SPIPlanPtr read_game_plan = NULL;
static SPIPlanPtr read_log_plan = NULL;

/* Julian days of 0001-01-01 and 10000-01-01: what a partition's name can say. */
#define FIRST_DAY  1721426
#define LAST_DAY   5373485
#define FIRST_TIME (((TimestampTz) FIRST_DAY - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY)
#define LAST_TIME  (((TimestampTz) LAST_DAY - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY)

/* ----------------------------------------------------------------
 *		Taking a game apart
 * ----------------------------------------------------------------
 */

static SPIPlanPtr
prepare(const char *sql, Oid type)
{
	SPIPlanPtr plan = SPI_prepare(sql, 1, &type);

	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare: %s", sql);
	return plan;
}

/* Column n of a row, in the call's memory; NULL for NULL. */
static Datum
column(uint64 row, int n, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, n, isnull);
}

static GsText
text_column(uint64 row, int n)
{
	GsText value = {NULL, 0};
	bool isnull;
	Datum datum = column(row, n, &isnull);

	if (!isnull)
	{
		struct varlena *copy = PG_DETOAST_DATUM_COPY(datum);

		value.data = VARDATA(copy);
		value.len = VARSIZE(copy) - VARHDRSZ;
	}
	return value;
}

static int64
int64_column(uint64 row, int n, int64 absent)
{
	bool isnull;
	Datum datum = column(row, n, &isnull);

	return isnull ? absent : DatumGetInt64(datum);
}

static _Noreturn void
refuse(int sqlerrcode, const char *message)
{
	ereport(ERROR, (errcode(sqlerrcode), errmsg_internal("%s", message)));
	pg_unreachable();
}

static void
check_name(const GsText *name, const char *what)
{
	if (name->data == NULL)
		refuse(ERRCODE_NULL_VALUE_NOT_ALLOWED, psprintf("%s is missing", what));
	if (name->len == 0)
		refuse(ERRCODE_INVALID_PARAMETER_VALUE, psprintf("%s must not be empty", what));
	if (name->len > GS_MAX_ID_LENGTH)
		refuse(ERRCODE_GS_TOO_LARGE,
			   psprintf("%s is too long: it has %u bytes, the limit is %d", what,
						name->len, GS_MAX_ID_LENGTH));
}

static TimestampTz
time_column(uint64 row, int n, const char *what)
{
	bool isnull;
	Datum datum = column(row, n, &isnull);
	TimestampTz at = isnull ? 0 : DatumGetTimestampTz(datum);

	if (!isnull && (TIMESTAMP_NOT_FINITE(at) || at < FIRST_TIME || at >= LAST_TIME))
		refuse(ERRCODE_DATETIME_FIELD_OVERFLOW, psprintf("%s is out of range", what));
	/* 0 stands for none, here as in a game's header */
	return !isnull && at == 0 ? 1 : at;
}

static void
read_players(GsInfoParts *info)
{
	bool isnull;
	Datum datum = column(0, COLUMN_PLAYERS, &isnull);
	Datum *players;
	bool *nulls;

	if (isnull)
		return;
	deconstruct_array(DatumGetArrayTypePCopy(datum), TEXTOID, -1, false, TYPALIGN_INT,
					  &players, &nulls, &info->nplayers);
	info->players = palloc(sizeof(GsText) * Max(info->nplayers, 1));
	for (int i = 0; i < info->nplayers; i++)
	{
		GsText *player = &info->players[i];

		player->data = nulls[i] ? NULL : VARDATA_ANY(DatumGetPointer(players[i]));
		player->len = nulls[i] ? 0 : VARSIZE_ANY_EXHDR(DatumGetPointer(players[i]));
		check_name(player, "name of a player");
	}
}

static GsStatus
read_status(void)
{
	GsText status = text_column(0, COLUMN_STATUS);

	if (status.data == NULL ||
		(status.len == 8 && memcmp(status.data, "finished", 8) == 0))
		return GS_STATUS_FINISHED;
	if (status.len == 9 && memcmp(status.data, "abandoned", 9) == 0)
		return GS_STATUS_ABANDONED;
	ereport(ERROR,
			(errcode(ERRCODE_GS_WRONG_STATUS),
			 errmsg("a game of status \"%.*s\" is not over", (int) status.len, status.data)));
}

/* The states, and from where they are the encoding. */
static void
read_states(GsImport *import)
{
	GsGameCopy *game = &import->game;
	GsText encoding = text_column(0, COLUMN_ENCODING);
	GsText initial_bytes = text_column(0, COLUMN_INITIAL_BYTES);
	GsText final_bytes = text_column(0, COLUMN_FINAL_BYTES);
	bool bytes = initial_bytes.data || final_bytes.data;

	game->initial = text_column(0, COLUMN_INITIAL);
	game->state = text_column(0, COLUMN_FINAL);
	if (encoding.data)
	{
		bool says_bytes = encoding.len == 5 && memcmp(encoding.data, "bytes", 5) == 0;

		if (!says_bytes && !(encoding.len == 4 && memcmp(encoding.data, "json", 4) == 0))
			refuse(ERRCODE_INVALID_PARAMETER_VALUE, "encoding must be json or bytes");
		if (bytes && !says_bytes)
			refuse(ERRCODE_GS_WRONG_ENCODING,
				   "the game's encoding is json, and a state is bytes");
		bytes = says_bytes;
	}
	game->h.encoding = bytes ? GS_ENCODING_BYTES : GS_ENCODING_JSON;
	import->has_final = game->state.data || final_bytes.data;
	import->has_initial = game->initial.data || initial_bytes.data;
	if (bytes && (game->initial.data || game->state.data))
		refuse(ERRCODE_GS_WRONG_ENCODING,
			   "the game's encoding is bytes, and a state is json");
	if (bytes)
	{
		game->initial = initial_bytes;
		game->state = final_bytes;
	}

	/* one state is the other, none is that of create_game() */
	if (game->initial.data == NULL && game->state.data == NULL)
		game->initial = bytes ? (GsText){"", 0} : (GsText){"{}", 2};
	if (game->initial.data == NULL)
		game->initial = bytes ? (GsText){"", 0} : (GsText){"{}", 2};
	if (game->state.data == NULL)
		game->state = game->initial;
}

static void
read_game(GsImport *import)
{
	GsGameCopy *game = &import->game;
	GsInfoParts *info = &game->info;
	bool isnull;
	Datum datum;

	info->game_type = text_column(0, COLUMN_GAME_TYPE);
	check_name(&info->game_type, "game type");
	datum = column(0, COLUMN_GAME_ID, &isnull);
	if (!isnull)
		game->game_id = *DatumGetUUIDP(datum);
	else
	{
		datum = column(0, COLUMN_DERIVED_ID, &isnull);
		if (isnull)
			refuse(
				ERRCODE_NULL_VALUE_NOT_ALLOWED,
				"the game has neither game_id nor source_id, so that it could not be recognised");
		game->game_id = *DatumGetUUIDP(datum);
		game->game_id.data[6] = (game->game_id.data[6] & 0x0F) | 0x80; /* version 8 */
		game->game_id.data[8] = (game->game_id.data[8] & 0x3F) | 0x80;
	}
	import->has_id = true;

	game->h.status = read_status();
	read_players(info);
	datum = column(0, COLUMN_MAX_PLAYERS, &isnull);
	game->h.max_players = isnull ? 0 : DatumGetInt32(datum);
	if (!isnull && game->h.max_players < 1)
		refuse(ERRCODE_INVALID_PARAMETER_VALUE, "max_players must be at least 1");
	info->room_code = text_column(0, COLUMN_ROOM_CODE);
	if (info->room_code.data)
		check_name(&info->room_code, "room code");
	info->metadata = text_column(0, COLUMN_METADATA);
	info->result = text_column(0, COLUMN_RESULT);
	game->h.created_at = time_column(0, COLUMN_CREATED_AT, "created_at");
	game->h.started_at = time_column(0, COLUMN_STARTED_AT, "started_at");
	game->h.ended_at = time_column(0, COLUMN_ENDED_AT, "ended_at");
	game->h.version = int64_column(0, COLUMN_VERSION, 0);
	game->h.moves = int64_column(0, COLUMN_MOVES, -1);
	read_states(import);
	datum = column(0, COLUMN_PAYLOAD, &isnull);
	import->has_payload = isnull || DatumGetBool(datum);
}

/* ----------------------------------------------------------------
 *		Its log
 * ----------------------------------------------------------------
 */

static GsKind
read_kind(uint64 row)
{
	GsText kind = text_column(row, COLUMN_KIND);

	if (kind.data == NULL)
		return GS_KIND_MOVE;
	for (int i = GS_KIND_CREATE; i <= GS_KIND_LAST; i++)
	{
		const char *name = gs_kind_name((GsKind) i);

		if (strlen(name) == kind.len && memcmp(name, kind.data, kind.len) == 0)
			return (GsKind) i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("entry %llu of the log is of unknown kind \"%.*s\"",
					(unsigned long long) row + 1, (int) kind.len, kind.data)));
}

/* The state after an entry, as far as it is given */
static GsText
read_state(const GsImport *import, uint64 row)
{
	bool bytes = import->game.h.encoding == GS_ENCODING_BYTES;
	GsText json = text_column(row, COLUMN_STATE);
	GsText raw = text_column(row, COLUMN_STATE_BYTES);

	if (bytes ? json.data != NULL : raw.data != NULL)
		refuse(ERRCODE_GS_WRONG_ENCODING,
			   "a state in the log is not in the game's encoding");
	return bytes ? raw : json;
}

static void
read_entry(const GsImport *import, uint64 row, GsEntry *e)
{
	bool bytes = import->game.h.encoding == GS_ENCODING_BYTES;
	GsText player = text_column(row, COLUMN_PLAYER);
	GsText event = text_column(row, COLUMN_EVENT);
	GsText event_bytes = text_column(row, COLUMN_EVENT_BYTES);
	GsText delta = text_column(row, COLUMN_DELTA);
	bool isnull;
	Datum datum;

	memset(e, 0, sizeof(*e));
	e->kind = read_kind(row);
	e->at = time_column(row, COLUMN_AT, "a time in the log");
	if (player.data)
	{
		check_name(&player, "name of a player");
		e->player = player.data;
		e->player_len = player.len;
	}
	datum = column(row, COLUMN_REQUEST_ID, &isnull);
	if (!isnull)
	{
		/* without the checksum of its arguments: no retry is taken for this one */
		int64 arguments = int64_column(row, COLUMN_REQUEST_ARGUMENTS, 0);

		if (arguments < 0 || arguments > PG_UINT32_MAX)
			refuse(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
				   "a checksum of arguments in the log is out of range");
		e->request_id = memcpy(palloc(UUID_LEN), DatumGetUUIDP(datum)->data, UUID_LEN);
		e->request_arguments = (uint32) arguments;
	}

	/* what was set (metadata, a result) is json in every game */
	if (event_bytes.data && (!bytes || e->kind != GS_KIND_MOVE))
		refuse(ERRCODE_GS_WRONG_ENCODING, "an event is bytes that should be json");
	if (event.data && bytes && e->kind == GS_KIND_MOVE)
		refuse(ERRCODE_GS_WRONG_ENCODING,
			   "the game's encoding is bytes, and an event is json");
	if (event_bytes.data)
		event = event_bytes;
	e->event = event.data;
	e->event_len = event.len;
	e->delta = delta.data;
	e->delta_len = delta.len;
	if (e->kind == GS_KIND_MOVE && e->event == NULL)
		refuse(ERRCODE_NULL_VALUE_NOT_ALLOWED,
			   psprintf("entry %llu of the log is a move without an event",
						(unsigned long long) row + 1));
}

/*
 * Versions are either in no entry or in all of them, without a gap.  Returns
 * that of the first, 0 = they are to be given.
 */
static int64
check_versions(void)
{
	int64 first = SPI_processed > 0 ? int64_column(0, COLUMN_ENTRY_VERSION, 0) : 0;

	if (first < 0 || first > PG_INT64_MAX / 2)
		refuse(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
			   "a version in the log is out of range");
	for (uint64 i = 1; i < SPI_processed; i++)
	{
		int64 version = int64_column(i, COLUMN_ENTRY_VERSION, 0);

		if (version != (first > 0 ? first + (int64) i : 0))
			refuse(ERRCODE_INVALID_PARAMETER_VALUE,
				   psprintf("the versions in the log have a gap at entry %llu",
							(unsigned long long) i + 1));
	}
	return first;
}

/* The creation is a part of the game, not of its entries. */
static void
take_create(GsGameCopy *game, const GsEntry *e)
{
	if (game->h.created_at == 0)
		game->h.created_at = e->at;
	if (e->player || e->event || e->delta || (e->at != 0 && e->at != game->h.created_at))
		refuse(
			ERRCODE_INVALID_PARAMETER_VALUE,
			"the log's entry of kind create has a player, an event, a delta or another time than created_at");
	if (e->request_id)
	{
		game->h.has_create_request = true;
		memcpy(game->h.create_request.data, e->request_id, UUID_LEN);
		game->h.create_arguments = e->request_arguments;
	}
}

static bool
is_end(GsKind kind)
{
	return kind == GS_KIND_FINISH || kind == GS_KIND_ABANDON;
}

/* Without versions nobody has kept the end as an entry, either. */
static void
add_end(GsGameCopy *game)
{
	GsEntry *e = &game->entries[game->nentries++];

	memset(e, 0, sizeof(*e));
	e->kind = game->h.status == GS_STATUS_ABANDONED ? GS_KIND_ABANDON : GS_KIND_FINISH;
	e->at = game->h.ended_at;
	e->event = game->info.result.data;
	e->event_len = game->info.result.len;
}

/* Times that are missing: those of the entry before, at last of the creation. */
static void
complete_times(GsGameCopy *game)
{
	TimestampTz at;

	for (uint64 i = game->nentries; game->h.ended_at == 0 && i > 0; i--)
		game->h.ended_at = game->entries[i - 1].at;
	if (game->h.ended_at == 0)
		refuse(ERRCODE_NULL_VALUE_NOT_ALLOWED,
			   "the game has no ended_at, and its log no time");
	for (uint64 i = 0; game->h.created_at == 0 && i < game->nentries; i++)
		game->h.created_at = game->entries[i].at;
	if (game->h.created_at == 0)
		game->h.created_at = game->h.ended_at;
	game->h.updated_at = game->h.ended_at;
	at = game->h.created_at;
	for (uint64 i = 0; i < game->nentries; i++)
	{
		if (game->entries[i].at == 0)
			game->entries[i].at = at;
		at = game->entries[i].at;
	}
}

/* The numbers of a log that begins at `first`, or may be complete (0). */
static void
complete_numbers(GsImport *import, int64 first, bool has_log)
{
	GsGameCopy *game = &import->game;
	int64 moves = 0;
	int64 last =
		first > 0 ? first + (int64) game->nentries - 1 : (int64) game->nentries + 1;

	for (uint64 i = 0; i < game->nentries; i++)
		moves += game->entries[i].kind == GS_KIND_MOVE;
	if (!has_log && game->h.version > 0)
	{
		if (game->h.moves < 0)
			game->h.moves = 0;
	}
	else
	{
		if (game->h.version != 0 && game->h.version != last)
			refuse(ERRCODE_INVALID_PARAMETER_VALUE,
				   psprintf("version is " INT64_FORMAT
							", and the log ends at " INT64_FORMAT,
							game->h.version, last));
		game->h.version = last;
		if (first > 2)
			moves = Max(game->h.moves, moves); /* there were others before */
		if (game->h.moves >= 0 && game->h.moves != moves)
			refuse(ERRCODE_INVALID_PARAMETER_VALUE,
				   psprintf("moves is " INT64_FORMAT ", and the log has " INT64_FORMAT,
							game->h.moves, moves));
		game->h.moves = moves;
	}
	if (game->h.version < 1)
		refuse(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, "version is out of range");
}

static void
read_log(GsImport *import, Datum log, bool has_log, MemoryContext mcxt)
{
	GsGameCopy *game = &import->game;
	int64 first = 0;
	uint64 from = 0;
	uint64 n = 0;
	GsText *states;
	bool whole;

	if (has_log)
	{
		if (SPI_execute_plan(read_log_plan, &log, NULL, true, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not read a log");
		MemoryContextSwitchTo(mcxt); /* SPI has left it */
		n = SPI_processed;
		first = check_versions();
	}
	if (n > MaxAllocSize / sizeof(GsEntry) - 2)
		refuse(ERRCODE_GS_TOO_LARGE, "the log has too many entries");
	whole = first == 0 && (has_log || game->h.version == 0);
	game->entries = palloc(sizeof(GsEntry) * (n + 1));
	states = palloc0(sizeof(GsText) * (n + 1));
	if (n > 0)
	{
		GsEntry e;

		read_entry(import, 0, &e);
		if (e.kind == GS_KIND_CREATE && first <= 1)
		{
			GsText state = read_state(import, 0);

			if (state.data && !import->has_initial)
			{
				game->initial = state;
				import->has_initial = true;
				if (!import->has_final)
					game->state = state;
			}
			take_create(game, &e);
			from = 1;
			first = first == 0 ? 0 : 2;
		}
		else if (first == 1)
			refuse(ERRCODE_INVALID_PARAMETER_VALUE,
				   "version 1 in the log is not of kind create");
	}
	for (uint64 i = from; i < n; i++)
	{
		GsEntry *e = &game->entries[game->nentries];

		CHECK_FOR_INTERRUPTS();
		read_entry(import, i, e);
		states[game->nentries++] = read_state(import, i);
		if (e->kind == GS_KIND_CREATE || (is_end(e->kind) && i + 1 < n))
			refuse(ERRCODE_INVALID_PARAMETER_VALUE,
				   psprintf("entry %llu of the log is of kind %s",
							(unsigned long long) i + 1, gs_kind_name(e->kind)));
	}
	if (has_log)
		SPI_freetuptable(SPI_tuptable);
	complete_times(game);
	if (whole && (game->nentries == 0 || !is_end(game->entries[game->nentries - 1].kind)))
		add_end(game);
	if (first == 2 && game->nentries == 0)
		first = 0; /* nothing but the creation */
	complete_numbers(import, first, has_log);
	gs_import_history(import, states);
}

void
gs_import_read(GsImport *import, MemoryContext mcxt)
{
	Datum line = PointerGetDatum(import->line);
	Datum log;
	bool no_log;

	if (read_game_plan == NULL)
		read_game_plan = prepare(read_game_sql, TEXTOID);
	if (read_log_plan == NULL)
		read_log_plan = prepare(read_log_sql, JSONOID);
	if (SPI_execute_plan(read_game_plan, &line, NULL, true, 0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not read a game");
	MemoryContextSwitchTo(mcxt);
	read_game(import);
	log = column(0, COLUMN_LOG, &no_log);
	if (!no_log)
		log = PointerGetDatum(PG_DETOAST_DATUM_COPY(log));
	SPI_freetuptable(SPI_tuptable);
	read_log(import, log, !no_log, mcxt);
}
