/*
 * cmd_import.c: gamestate import: games from a file into the archive.
 *
 * The model:
 * 1. A regular file is read twice: the first time only to see that it is
 *    whole, as its manifest says; nothing is imported of a damaged one.
 * 2. Its lines go to gamestate.import_games() in batches, each a transaction.
 *    The function refuses single games with a reason; a batch that fails as a
 *    whole is halved, until the line that makes it fail is alone.
 * 3. Importing again skips what is archived already, so an import that broke
 *    off is simply started again.  With a state file it goes on where it was:
 *    the number of lines that are done, and their checksum, are written after
 *    each batch.  Nothing is passed over that is not what was done: another
 *    file may have got the name since.
 * 4. Refused lines go to a file of their own, with the reason and the line.
 *    The state says how many there were and how long that file was, so that
 *    who goes on adds to it what comes later, and nothing twice.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "json.h"
#include "manifest.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "stream.h"

#define BATCH_BYTES	   ((size_t) 8 * 1024 * 1024)
#define SHOWN_REFUSALS 10
#define MAX_TRIES	   5
#define RETRY_MS	   200

typedef struct ImportOptions
{
	CommonOptions common;
	const char *file;
	const char *refused;
	const char *state;
	int batch;
	bool need_manifest;
} ImportOptions;

typedef struct BatchLine
{
	uint64_t number; /* in the file, from 1 */
	Buf text;
} BatchLine;

typedef struct Import
{
	const ImportOptions *options;
	PGconn *conn;
	LineReader *reader;
	LineWriter *refusals; /* made for the first one */
	BatchLine *lines;	  /* of the batch; as many as options->batch */
	int count;
	size_t bytes;
	uint64_t first_line; /* so many lines are done */
	char first_digest[SHA256_TEXT];
	uint64_t refused_before; /* of them */
	uint64_t refused_bytes;	 /* of the file of refused games then */
	uint64_t total;			 /* games in the file, 0 = not known */
	uint64_t imported;
	uint64_t skipped;
	uint64_t refused;
	uint64_t passed; /* games among the lines that are done, being read again */
} Import;

static void
print_help(void)
{
	printf(
		"%s import brings games that are over into the archive.\n\n"
		"Usage:\n  %s import [OPTION]... FILE\n\n"
		"FILE is what \"%s export\" has written, or games of another system in the same\n"
		"form, a JSON object a line; \"-\" is standard input.  It may be compressed with\n"
		"zstd.  A game that is archived already is skipped.\n\n"
		"Options:\n"
		"  -b, --batch=N            games in a transaction (default 200)\n"
		"  -r, --refused=FILE       write refused games there, with the reason\n"
		"  -s, --state=FILE         remember there how far the import has come, and go\n"
		"                           on from there\n"
		"      --need-manifest      refuse a file that does not end with a manifest\n",
		PROGRAM_NAME, PROGRAM_NAME, PROGRAM_NAME);
}

/* ---- what is refused ---- */

static bool
report_refusal(Import *import, const BatchLine *line, const char *game_id,
			   const char *sqlstate, const char *message)
{
	const char *path = import->options->refused;
	Buf text = {0};
	bool ok;

	import->refused++;
	if (import->refused - import->refused_before <= SHOWN_REFUSALS)
		log_warning("line %" PRIu64 " was refused: %s", line->number, message);
	if (import->refused - import->refused_before == SHOWN_REFUSALS + 1)
		log_warning("further refusals are not shown");
	if (path == NULL)
		return true;
	if (import->refusals == NULL && (import->refusals = writer_open(path, 0)) == NULL)
		return false;
	buf_printf(&text, "{\"line\":%" PRIu64 ",\"game_id\":", line->number);
	if (game_id != NULL)
		buf_json_string(&text, game_id);
	else
		buf_puts(&text, "null");
	buf_printf(&text, ",\"sqlstate\":\"%s\",\"message\":", sqlstate);
	buf_json_string(&text, message);
	buf_puts(&text, ",\"game\":");
	buf_json_string(&text, line->text.data);
	buf_putc(&text, '}');
	ok = writer_line(import->refusals, text.data, text.len);
	buf_free(&text);
	return ok;
}

/* ---- how far it has come ---- */

static bool
read_number(const JsonDoc *doc, const char *member, uint64_t *number)
{
	JsonNode node = json_member(doc, JSON_ROOT, member);
	int64_t value;

	if (node == JSON_NONE || !json_int(doc, node, &value) || value < 0)
		return false;
	*number = (uint64_t) value;
	return true;
}

static bool
read_digest(const JsonDoc *doc, char digest[SHA256_TEXT])
{
	JsonNode node = json_member(doc, JSON_ROOT, "sha256");
	Buf text = {0};
	bool ok =
		node != JSON_NONE && json_string(doc, node, &text) && text.len == SHA256_TEXT - 1;

	if (ok)
		memcpy(digest, text.data, SHA256_TEXT);
	buf_free(&text);
	return ok;
}

/* What an earlier run has done; false after a message. */
static bool
read_state(Import *import)
{
	const char *path = import->options->state;
	LineReader *reader;
	JsonDoc *doc = NULL;
	const char *error;
	Buf line = {0};
	bool ok = false;

	if (path == NULL || access(path, F_OK) != 0)
		return true;
	reader = reader_open(path);
	if (reader != NULL && reader_line(reader, &line) == READ_LINE)
		doc = json_parse(line.data, line.len, &error);
	if (doc != NULL && json_type(doc, JSON_ROOT) == JSON_OBJECT &&
		json_member(doc, JSON_ROOT, "file") != JSON_NONE &&
		read_number(doc, "lines", &import->first_line) &&
		read_digest(doc, import->first_digest) &&
		read_number(doc, "refused", &import->refused_before) &&
		read_number(doc, "refused_bytes", &import->refused_bytes))
	{
		ok = json_string_is(doc, json_member(doc, JSON_ROOT, "file"),
							import->options->file);
		if (!ok)
			log_error("\"%s\" is the state of the import of another file", path);
	}
	else if (reader != NULL)
		log_error("\"%s\" is not the state of an import", path);
	json_free(doc);
	buf_free(&line);
	reader_close(reader);
	return ok;
}

/* The lines that are done have been read again: are they the same? */
static bool
go_on(Import *import)
{
	const ImportOptions *options = import->options;
	char digest[SHA256_TEXT];

	reader_digest_all(import->reader, digest);
	if (strcmp(digest, import->first_digest) != 0 ||
		import->refused_before > import->passed)
	{
		log_error("%s is not the file of which \"%s\" is the state", options->file,
				  options->state);
		log_detail("Its first %" PRIu64 " lines were others.", import->first_line);
		log_hint("Remove the state to import it from its beginning.");
		return false;
	}
	import->skipped += import->passed - import->refused_before;
	import->refused += import->refused_before;
	import->passed = 0;
	if (options->refused == NULL || import->refused_bytes == 0)
		return true;
	import->refusals = writer_open_again(options->refused, import->refused_bytes);
	return import->refusals != NULL;
}

static bool
write_state(const Import *import, uint64_t lines)
{
	LineWriter *writer;
	Buf text = {0};
	char digest[SHA256_TEXT];
	bool ok;

	if (import->options->state == NULL)
		return true;
	reader_digest_all(import->reader, digest);
	writer = writer_open(import->options->state, 0);
	if (writer == NULL)
		return false;
	buf_puts(&text, "{\"file\":");
	buf_json_string(&text, import->options->file);
	buf_printf(&text,
			   ",\"lines\":%" PRIu64 ",\"sha256\":\"%s\",\"refused\":%" PRIu64
			   ",\"refused_bytes\":%" PRIu64 "}",
			   lines, digest, import->refused,
			   import->refusals != NULL ? writer_bytes(import->refusals)
										: import->refused_bytes);
	ok = writer_line(writer, text.data, text.len);
	buf_free(&text);
	if (ok)
		return writer_close(writer);
	writer_abandon(writer);
	return false;
}

/* ---- batches ---- */

/* How each game of the batch's part has fared. */
static bool
take_outcomes(Import *import, int first, const PGresult *result)
{
	for (int row = 0; row < PQntuples(result); row++)
	{
		int ord = atoi(PQgetvalue(result, row, 0));
		const char *outcome = PQgetvalue(result, row, 2);
		const char *id = PQgetisnull(result, row, 1) ? NULL : PQgetvalue(result, row, 1);

		if (strcmp(outcome, "imported") == 0)
			import->imported++;
		else if (strcmp(outcome, "skipped") == 0)
			import->skipped++;
		else if (!report_refusal(import, &import->lines[first + ord - 1], id,
								 PQgetvalue(result, row, 3), PQgetvalue(result, row, 4)))
			return false;
	}
	return true;
}

/* One call; never NULL. */
static PGresult *
call_import(Import *import, int first, int count)
{
	Buf array = {0};
	const char *args[1];
	PGresult *result;

	buf_putc(&array, '{');
	for (int i = 0; i < count; i++)
	{
		if (i > 0)
			buf_putc(&array, ',');
		buf_array_element(&array, import->lines[first + i].text.data);
	}
	buf_putc(&array, '}');
	args[0] = array.data;
	result = PQexecParams(import->conn,
						  "SELECT ord, game_id, outcome, sqlstate, message"
						  " FROM gamestate.import_games($1::text[]) ORDER BY ord",
						  1, NULL, args, NULL, NULL, 0);
	buf_free(&array);
	return result;
}

/* Is it about these games, so that some of them may be all right? */
static bool
is_about_games(const PGresult *result)
{
	static const char *const classes[] = {"21", "22", "23", "54", "GS", "27", "P0"};
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	/* disabled, loading; out of locks may be for the number of games */
	if (sqlstate == NULL || strcmp(sqlstate, "GS016") == 0 ||
		strcmp(sqlstate, "GS013") == 0)
		return false;
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strncmp(sqlstate, classes[i], 2) == 0)
			return true;
	return strcmp(sqlstate, "53200") == 0;
}

static bool
is_worth_a_retry(const PGresult *result)
{
	return result_has_sqlstate(result, "40001") || result_has_sqlstate(result, "40P01") ||
		   result_has_sqlstate(result, "55P03") || result_has_sqlstate(result, "42P07");
}

static bool
import_part(Import *import, int first, int count)
{
	PGresult *result = call_import(import, first, count);
	const char *message;
	bool ok;

	for (int try = 1; try < MAX_TRIES && is_worth_a_retry(result); try++)
	{
		PQclear(result);
		if (!pause_ms(RETRY_MS))
			return false;
		result = call_import(import, first, count);
	}
	message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		ok = take_outcomes(import, first, result);
	else if (count > 1 && is_about_games(result))
		ok = import_part(import, first, count / 2) &&
			 import_part(import, first + count / 2, count - count / 2);
	else if (is_about_games(result))
		ok = report_refusal(import, &import->lines[first], NULL,
							PQresultErrorField(result, PG_DIAG_SQLSTATE),
							message ? message : "the server gave no reason");
	else
	{
		if (!interrupted)
			report_query_error("import_games", import->conn, result);
		ok = false;
	}
	PQclear(result);
	return ok && !interrupted;
}

/* The lines that have been gathered; `line` is the last that is done then. */
static bool
import_batch(Import *import, uint64_t line)
{
	if (import->count > 0 && !import_part(import, 0, import->count))
		return false;
	import->count = 0;
	import->bytes = 0;
	if (progress_due())
	{
		uint64_t done =
			import->imported + import->skipped + import->refused + import->passed;
		uint64_t size = reader_size(import->reader);

		progress_update(done,
						size > 0
							? (double) reader_position(import->reader) / (double) size
							: 0,
						NULL);
	}
	return (import->refusals == NULL || writer_push(import->refusals)) &&
		   write_state(import, line);
}

static bool
add_line(Import *import, uint64_t number, const Buf *text)
{
	BatchLine *line = &import->lines[import->count];

	if (number <= import->first_line)
	{
		import->passed++;
		return true;
	}
	line->number = number;
	buf_reset(&line->text);
	buf_append(&line->text, text->data, text->len);
	if (memchr(text->data, '\0', text->len) != NULL)
		return report_refusal(import, line, NULL, "22P05", "the line has a zero byte");
	import->count++;
	import->bytes += text->len;
	if (import->count < import->options->batch && import->bytes < BATCH_BYTES)
		return true;
	return import_batch(import, number);
}

/* ---- the file ---- */

/* Before anything is imported, where that can be: stdin is read only once. */
static bool
check_first(Import *import)
{
	const ImportOptions *options = import->options;
	ManifestCheck check;

	if (strcmp(options->file, "-") == 0 || access(options->file, R_OK) != 0 ||
		reader_size(import->reader) == 0)
		return true;
	if (!manifest_check_file(options->file, &check))
	{
		log_hint("Nothing was imported of it.");
		return false;
	}
	import->total = check.all_games;
	if (manifest_is_complete(&check))
		return true;
	if (options->need_manifest)
	{
		log_error("%s does not end with a manifest", options->file);
		log_detail("It may have been cut.");
		return false;
	}
	log_info("%s does not end with a manifest: what is read is not checked",
			 options->file);
	return true;
}

static bool
import_lines(Import *import)
{
	ManifestCheck check = {.file = import->options->file};
	ReadOutcome outcome = READ_END;
	Buf line = {0};
	bool ok = true;

	if (import->options->state != NULL)
		reader_digest_all_begin(import->reader);
	progress_begin("importing", "games", import->total);
	while (ok && !interrupted &&
		   (outcome = reader_line(import->reader, &line)) == READ_LINE)
	{
		switch (manifest_take(&check, import->reader, &line))
		{
			case MANIFEST_GAME:
				ok = add_line(import, check.line, &line);
				break;
			case MANIFEST_WRONG:
				ok = false;
				break;
			case MANIFEST_BLANK:
			case MANIFEST_OK:
				break;
		}
		if (ok && check.line == import->first_line)
			ok = go_on(import);
	}
	buf_free(&line);
	ok = ok && !interrupted && outcome == READ_END;
	if (ok && check.line < import->first_line)
		ok = go_on(import); /* it has got shorter, so it is another one */
	ok = ok && import_batch(import, check.line);
	if (ok)
		progress_end(import->imported + import->skipped + import->refused +
						 import->passed,
					 NULL);
	else
		progress_abandon();
	if (ok && import->options->need_manifest && !manifest_is_complete(&check))
	{
		log_error("%s does not end with a manifest", check.file);
		ok = false;
	}
	return ok;
}

static void
report(const Import *import)
{
	const char *format = import->options->common.json
							 ? "{\"imported\": %" PRIu64 ", \"skipped\": %" PRIu64
							   ", \"refused\": %" PRIu64 "}\n"
							 : "imported %" PRIu64 ", skipped %" PRIu64
							   ", refused %" PRIu64 "\n";

	printf(format, import->imported, import->skipped, import->refused);
}

static bool
run_import(Import *import)
{
	const ImportOptions *options = import->options;
	bool ok;

	import->reader = reader_open(options->file);
	ok = import->reader != NULL && check_first(import) && read_state(import);
	if (ok)
		import->conn = connect_gamestate(&options->common.connect);
	ok = ok && import->conn != NULL && import_lines(import);
	if (interrupted)
		log_error("interrupted");
	if (import->conn != NULL)
		report(import);
	if (import->refusals != NULL && !writer_close(import->refusals))
		ok = false;
	if (ok && import->refused > 0)
	{
		log_error("%" PRIu64 " games were refused", import->refused);
		ok = false;
	}
	return output_flush() && ok;
}

int
cmd_import(int argc, char **argv)
{
	ImportOptions options = {.batch = 200};
	const OptionSpec specs[] = {
		{'b', "batch", OPTION_INT, &options.batch, 1, 2000},
		{'r', "refused", OPTION_TEXT, &options.refused, 0, 0},
		{'s', "state", OPTION_TEXT, &options.state, 0, 0},
		{0, "need-manifest", OPTION_FLAG, &options.need_manifest, 0, 0},
	};
	const OptionTable table = {"import", print_help, specs,
							   sizeof(specs) / sizeof(specs[0]), false};
	OptionOutcome outcome = options_parse(argc, argv, &table, &options.common);
	Import import = {.options = &options};
	bool ok;

	if (outcome != OPTIONS_RUN)
		return outcome == OPTIONS_DONE ? EXIT_OK : EXIT_BAD_USE;
	if (optind + 1 != argc)
	{
		if (optind == argc)
			options_complain("import", "no file was named");
		else
			options_complain("import",
							 "too many command-line arguments (first is \"%s\")",
							 argv[optind + 1]);
		return EXIT_BAD_USE;
	}
	options.file = argv[optind];
	import.lines = xcalloc((size_t) options.batch, sizeof(BatchLine));
	install_signal_handlers();
	ok = run_import(&import);
	disconnect_database(import.conn);
	reader_close(import.reader);
	for (int i = 0; i < options.batch; i++)
		buf_free(&import.lines[i].text);
	free(import.lines);
	return exit_status(ok);
}
