/*
 * cmd_export.c: gamestate export: archived games as JSON lines.
 *
 * The model:
 * 1. One query in one read-only transaction at REPEATABLE READ, so that what is
 *    exported is the archive as of one moment; its rows come one at a time
 *    (libpq's single-row mode), so memory does not grow with the archive.
 * 2. A game is a line, an object; its members are the columns of
 *    gamestate.archive, its states and its log.  Documents are embedded to the
 *    letter.  One that cannot stand in a line as it is, or that not every parser
 *    takes (with a line break, with blanks at its ends, null itself, with \u0000
 *    or half a surrogate pair in it), is the string X_text instead of X.
 * 3. Lines are in the order of game type, end and id.
 * 4. The last line is the manifest: how many games, moves and bytes, and the
 *    SHA-256 of all lines before it, with their newlines.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "stream.h"

typedef struct ExportOptions
{
	CommonOptions common;
	const char *game_type;
	const char *from;
	const char *to;
	const char *file;
	const char *manifest;
	int level;
} ExportOptions;

/* The games of one type, for the manifest; they come one type after another. */
typedef struct TypeCount
{
	char *game_type;
	uint64_t games;
	uint64_t moves;
} TypeCount;

typedef struct Export
{
	const ExportOptions *options;
	PGconn *conn;
	LineWriter *writer;
	Buf line;
	uint64_t total;
	uint64_t games;
	uint64_t moves;
	TypeCount *types;
	size_t type_count;
	size_t type_capacity;
} Export;

static void
print_help(void)
{
	printf(
		"%s export writes archived games as JSON lines.\n\n"
		"Usage:\n  %s export [OPTION]...\n\n"
		"The last line is a manifest with counts and a checksum, by which\n"
		"\"%s import\" knows that the file is whole.\n\n"
		"Options:\n"
		"  -f, --file=FILE          write to this file (default: standard output)\n"
		"  -t, --game-type=TYPE     games of this type only\n"
		"      --from=TIME          games that ended at this time or later\n"
		"      --to=TIME            games that ended before this time\n"
		"  -Z, --compress=LEVEL     zstd level, 1 to 19; 0 does not compress (default 3)\n"
		"  -m, --manifest=FILE      write the manifest to a file of its own as well\n",
		PROGRAM_NAME, PROGRAM_NAME, PROGRAM_NAME);
}

/* $1 = type, $2 and $3 = from and to */
static const char count_sql[] = "SELECT count(*) FROM gamestate.archive"
								" WHERE ($1::text IS NULL OR game_type = $1)"
								" AND ($2::timestamptz IS NULL OR ended_at >= $2)"
								" AND ($3::timestamptz IS NULL OR ended_at < $3)";

/* Columns of export_sql; those up to MOVES are members as they are. */
enum
{
	COLUMN_METADATA = 7,
	COLUMN_RESULT,
	COLUMN_MOVES = 13,
	COLUMN_INITIAL,
	COLUMN_FINAL,
	COLUMN_INITIAL_BYTES,
	COLUMN_FINAL_BYTES,
	COLUMN_LOG
};

/* $4 in export_sql: microseconds, UTC */
static const char time_format[] = "YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"";

/* OFFSET 0: payloads are read of sorted games, not sorted with them. */
static const char export_sql[] =
	"SELECT a.game_id, a.game_type, a.status, a.encoding, to_json(a.players) AS players,"
	" a.max_players, a.room_code, a.metadata, a.result,"
	" to_char(a.created_at AT TIME ZONE 'UTC', $4) AS created_at,"
	" to_char(a.started_at AT TIME ZONE 'UTC', $4) AS started_at,"
	" to_char(a.ended_at AT TIME ZONE 'UTC', $4) AS ended_at, a.version, a.moves,"
	" gamestate.archived_initial_state(a.game_type, a.ended_at, a.game_id) AS initial_state,"
	" gamestate.archived_final_state(a.game_type, a.ended_at, a.game_id) AS final_state,"
	" translate(encode(gamestate.archived_initial_state_bytes(a.game_type, a.ended_at,"
	"  a.game_id), 'base64'), E'\\n', '') AS initial_state_bytes,"
	" translate(encode(gamestate.archived_final_state_bytes(a.game_type, a.ended_at,"
	"  a.game_id), 'base64'), E'\\n', '') AS final_state_bytes,"
	" (SELECT string_agg('{\"version\":' || l.version || ',\"kind\":\"' || l.kind"
	"   || '\",\"at\":\"' || to_char(l.at AT TIME ZONE 'UTC', $4) || '\"'"
	"   || coalesce(',\"player\":' || to_json(l.player), '')"
	"   || coalesce(',\"request_id\":\"' || l.request_id || '\",\"request_arguments\":'"
	"      || l.request_arguments, '')"
	"   || CASE WHEN l.event IS NULL THEN ''"
	"      WHEN l.event::text ~ '[\\n\\r]|^\\s|\\s$|^null$|\\\\u(0000|[dD])'"
	"      THEN ',\"event_text\":' || to_json(l.event::text)"
	"      ELSE ',\"event\":' || l.event END"
	"   || coalesce(',\"event_bytes\":\"' || translate(encode(l.event_bytes, 'base64'),"
	"      E'\\n', '') || '\"', '')"
	"   || coalesce(',\"delta\":\"' || translate(encode(l.delta, 'base64'),"
	"      E'\\n', '') || '\"', '') || '}', ',' ORDER BY l.version)"
	"  FROM gamestate.archived_log(a.game_type, a.ended_at, a.game_id) l)"
	" FROM (SELECT * FROM gamestate.archive"
	"  WHERE ($1::text IS NULL OR game_type = $1)"
	"  AND ($2::timestamptz IS NULL OR ended_at >= $2)"
	"  AND ($3::timestamptz IS NULL OR ended_at < $3)"
	"  ORDER BY game_type, ended_at, game_id OFFSET 0) a";

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/* Can a document stand in a line, and be taken out of it as it was? */
static bool
is_embeddable(const char *text, size_t len)
{
	return len > 0 && !is_blank(text[0]) && !is_blank(text[len - 1]) &&
		   strpbrk(text, "\n\r") == NULL && strcmp(text, "null") != 0 &&
		   strstr(text, "\\u0000") == NULL && strstr(text, "\\ud") == NULL &&
		   strstr(text, "\\uD") == NULL;
}

static void
append_document(Buf *line, const PGresult *row, int column)
{
	const char *text = PQgetvalue(row, 0, column);

	if (PQgetisnull(row, 0, column))
		return;
	buf_printf(line, ",\"%s", PQfname(row, column));
	if (is_embeddable(text, (size_t) PQgetlength(row, 0, column)))
	{
		buf_puts(line, "\":");
		buf_append(line, text, (size_t) PQgetlength(row, 0, column));
	}
	else
	{
		buf_puts(line, "_text\":");
		buf_json_string(line, text);
	}
}

static void
make_line(Buf *line, const PGresult *row)
{
	buf_reset(line);
	buf_printf(line, "{\"game_id\":\"%s\"", PQgetvalue(row, 0, 0));
	for (int column = 1; column <= COLUMN_MOVES; column++)
	{
		if (PQgetisnull(row, 0, column))
			continue;
		if (column == COLUMN_METADATA || column == COLUMN_RESULT)
			append_document(line, row, column);
		else
		{
			buf_printf(line, ",\"%s\":", PQfname(row, column));
			output_json_value(line, row, 0, column);
		}
	}
	if (PQgetisnull(row, 0, COLUMN_FINAL) && PQgetisnull(row, 0, COLUMN_FINAL_BYTES))
	{
		buf_puts(line, ",\"payload\":false}");
		return;
	}
	append_document(line, row, COLUMN_INITIAL);
	append_document(line, row, COLUMN_FINAL);
	for (int column = COLUMN_INITIAL_BYTES; column <= COLUMN_FINAL_BYTES; column++)
		if (!PQgetisnull(row, 0, column))
			buf_printf(line, ",\"%s\":\"%s\"", PQfname(row, column),
					   PQgetvalue(row, 0, column));
	buf_puts(line, ",\"log\":[");
	buf_append(line, PQgetvalue(row, 0, COLUMN_LOG),
			   (size_t) PQgetlength(row, 0, COLUMN_LOG));
	buf_puts(line, "]}");
}

static void
count_game(Export *export, const PGresult *row)
{
	const char *game_type = PQgetvalue(row, 0, 1);
	uint64_t moves = strtoull(PQgetvalue(row, 0, COLUMN_MOVES), NULL, 10);
	TypeCount *type;

	if (export->type_count == 0 ||
		strcmp(export->types[export->type_count - 1].game_type, game_type) != 0)
	{
		export->types = grow_array(export->types, &export->type_capacity,
								   export->type_count + 1, sizeof(TypeCount));
		export->types[export->type_count++] =
			(TypeCount){.game_type = xstrdup(game_type)};
	}
	type = &export->types[export->type_count - 1];
	type->games++;
	type->moves += moves;
	export->games++;
	export->moves += moves;
}

static bool
take_row(Export *export, const PGresult *row)
{
	make_line(&export->line, row);
	if (strlen(export->line.data) != export->line.len)
	{
		log_error("game %s has a zero byte in its texts", PQgetvalue(row, 0, 0));
		return false;
	}
	if (!writer_line(export->writer, export->line.data, export->line.len))
		return false;
	count_game(export, row);
	if (progress_due())
		progress_update(export->games,
						export->total > 0
							? (double) export->games / (double) export->total
							: 1.0,
						NULL);
	return true;
}

/* All rows of the query, one at a time. */
static bool
take_rows(Export *export)
{
	const ExportOptions *options = export->options;
	const char *args[] = {options->game_type, options->from, options->to, time_format};
	PGresult *result;
	bool ok = true;

	if (PQsendQueryParams(export->conn, export_sql, 4, NULL, args, NULL, NULL, 0) != 1 ||
		PQsetSingleRowMode(export->conn) != 1)
	{
		report_connection_error("could not send the query: ", export->conn);
		return false;
	}
	while ((result = PQgetResult(export->conn)) != NULL)
	{
		ExecStatusType status = PQresultStatus(result);

		if (ok && status == PGRES_SINGLE_TUPLE)
			ok = take_row(export, result);
		else if (ok && status != PGRES_TUPLES_OK)
		{
			if (!interrupted)
				report_query_error("reading the archive", export->conn, result);
			ok = false;
		}
		PQclear(result);
		if (!ok && status == PGRES_SINGLE_TUPLE)
		{
			/* nobody wants the rest */
			PGcancel *cancel = PQgetCancel(export->conn);
			char error[256];

			(void) PQcancel(cancel, error, sizeof(error));
			PQfreeCancel(cancel);
		}
	}
	return ok && !interrupted;
}

static void
append_optional(Buf *out, const char *name, const char *value)
{
	if (value == NULL)
		return;
	buf_printf(out, ",\"%s\":", name);
	buf_json_string(out, value);
}

static void
make_manifest(Export *export, Buf *out)
{
	char digest[SHA256_TEXT];

	writer_digest(export->writer, digest);
	buf_printf(out,
			   "{\"manifest\":{\"format\":1,\"games\":%" PRIu64 ",\"moves\":%" PRIu64
			   ",\"bytes\":%" PRIu64 ",\"sha256\":\"%s\",\"gamestate\":\"%s\"",
			   export->games, export->moves, writer_bytes(export->writer), digest,
			   GAMESTATE_VERSION);
	append_optional(out, "game_type", export->options->game_type);
	append_optional(out, "from", export->options->from);
	append_optional(out, "to", export->options->to);
	buf_puts(out, ",\"game_types\":{");
	for (size_t i = 0; i < export->type_count; i++)
	{
		if (i > 0)
			buf_putc(out, ',');
		buf_json_string(out, export->types[i].game_type);
		buf_printf(out, ":{\"games\":%" PRIu64 ",\"moves\":%" PRIu64 "}",
				   export->types[i].games, export->types[i].moves);
	}
	buf_puts(out, "}}}");
}

/* The manifest as a last line, and, if it is wanted, in its own file. */
static bool
write_manifest(Export *export)
{
	Buf manifest = {0};
	LineWriter *own;
	bool ok;

	make_manifest(export, &manifest);
	ok = writer_line(export->writer, manifest.data, manifest.len);
	if (ok && export->options->manifest != NULL)
	{
		own = writer_open(export->options->manifest, 0);
		ok = own != NULL && writer_line(own, manifest.data, manifest.len);
		if (own != NULL && ok)
			ok = writer_close(own);
		else
			writer_abandon(own);
	}
	buf_free(&manifest);
	return ok;
}

static bool
begin_snapshot(Export *export)
{
	const ExportOptions *options = export->options;
	const char *args[] = {options->game_type, options->from, options->to};
	PGresult *result;

	if (!run_command(export->conn, "BEGIN",
					 "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY") ||
		!run_command(export->conn, "SET search_path",
					 "SET LOCAL search_path = pg_catalog, pg_temp"))
		return false;
	result = run_query(export->conn, "counting the games", count_sql, 3, args);
	if (result == NULL)
		return false;
	export->total = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return true;
}

static bool
run_export(Export *export)
{
	bool ok;

	if (!begin_snapshot(export))
		return false;
	export->writer = writer_open(export->options->file, export->options->level);
	if (export->writer == NULL)
		return false;
	progress_begin("exporting", "games", export->total);
	ok = take_rows(export) && write_manifest(export);
	if (!ok)
	{
		progress_abandon();
		writer_abandon(export->writer);
		if (interrupted)
			log_error("interrupted");
		return false;
	}
	ok = writer_close(export->writer);
	if (ok)
		progress_end(export->games, NULL);
	else
		progress_abandon();
	return ok;
}

int
cmd_export(int argc, char **argv)
{
	ExportOptions options = {.level = 3};
	const OptionSpec specs[] = {
		{'f', "file", OPTION_TEXT, &options.file, 0, 0},
		{'t', "game-type", OPTION_TEXT, &options.game_type, 0, 0},
		{0, "from", OPTION_TEXT, &options.from, 0, 0},
		{0, "to", OPTION_TEXT, &options.to, 0, 0},
		{'Z', "compress", OPTION_INT, &options.level, 0, 19},
		{'m', "manifest", OPTION_TEXT, &options.manifest, 0, 0},
	};
	const OptionTable table = {"export", print_help, specs,
							   sizeof(specs) / sizeof(specs[0]), true};
	OptionOutcome outcome = options_parse(argc, argv, &table, &options.common);
	Export export = {.options = &options};
	bool ok;

	if (outcome != OPTIONS_RUN)
		return outcome == OPTIONS_DONE ? EXIT_OK : EXIT_BAD_USE;
	if (optind < argc)
	{
		options_complain("export", "too many command-line arguments (first is \"%s\")",
						 argv[optind]);
		return EXIT_BAD_USE;
	}
	if (options.file == NULL && options.level > 0 && isatty(STDOUT_FILENO))
	{
		options_complain("export", "compressed games are not written to a terminal");
		return EXIT_BAD_USE;
	}
	if (options.file != NULL && options.manifest != NULL &&
		strcmp(options.file, options.manifest) == 0)
	{
		options_complain("export", "-f and -m name the same file");
		return EXIT_BAD_USE;
	}
	install_signal_handlers();
	export.conn = connect_gamestate(&options.common.connect);
	ok = export.conn != NULL && run_export(&export);
	disconnect_database(export.conn);
	buf_free(&export.line);
	for (size_t i = 0; i < export.type_count; i++)
		free(export.types[i].game_type);
	free(export.types);
	return exit_status(ok);
}
