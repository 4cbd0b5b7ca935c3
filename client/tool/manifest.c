/*
 * manifest.c: checks lines against the manifest that follows them.
 *
 * The model: every line up to a manifest is counted and goes into a SHA-256.
 * The manifest is the line that begins with {"manifest": and is an object; it
 * must say the same numbers and the same digest.  After it everything begins
 * anew.  A file without a manifest is no error here: it may come from elsewhere.
 */
#include "manifest.h"

#include <inttypes.h>
#include <string.h>

#include "connect.h"
#include "json.h"
#include "progress.h"

static const char prefix[] = "{\"manifest\":";

#define FORMAT 1

static bool
complain(const ManifestCheck *check, const char *what)
{
	log_error("%s: line %" PRIu64 ": %s", check->file, check->line, what);
	return false;
}

static bool
check_number(const ManifestCheck *check, const JsonDoc *doc, JsonNode manifest,
			 const char *name, uint64_t counted)
{
	JsonNode node = json_member(doc, manifest, name);
	int64_t value;

	if (node == JSON_NONE || !json_int(doc, node, &value))
		return complain(check, "the manifest lacks a number");
	if ((uint64_t) value == counted)
		return true;
	log_error("%s: line %" PRIu64 ": the manifest speaks of %" PRId64
			  " %s, and there are %" PRIu64,
			  check->file, check->line, value, name, counted);
	log_detail("The file has been cut, joined or changed.");
	return false;
}

static bool
check_manifest(const ManifestCheck *check, LineReader *reader, const JsonDoc *doc)
{
	JsonNode manifest = json_member(doc, JSON_ROOT, "manifest");
	char digest[SHA256_TEXT];
	int64_t format;

	if (json_type(doc, manifest) != JSON_OBJECT ||
		json_member(doc, manifest, "format") == JSON_NONE ||
		!json_int(doc, json_member(doc, manifest, "format"), &format))
		return complain(check, "the manifest has no format");
	if (format != FORMAT)
	{
		log_error("%s: its format is %" PRId64 ", which this version does not know",
				  check->file, format);
		log_hint("Install the version of gamestate that wrote it, or a later one.");
		return false;
	}
	if (!check_number(check, doc, manifest, "games", check->games) ||
		!check_number(check, doc, manifest, "bytes", check->bytes))
		return false;
	reader_digest(reader, digest);
	if (!json_string_is(doc, json_member(doc, manifest, "sha256"), digest))
	{
		complain(check, "the checksum of the games is not that of the manifest");
		log_detail("It is %s.", digest);
		return false;
	}
	return true;
}

static bool
is_blank(const Buf *line)
{
	for (size_t i = 0; i < line->len; i++)
		if (strchr(" \t\r", line->data[i]) == NULL || line->data[i] == '\0')
			return false;
	return true;
}

ManifestOutcome
manifest_take(ManifestCheck *check, LineReader *reader, const Buf *line)
{
	const char *error;
	JsonDoc *doc;
	bool ok;

	check->line++;
	if (line->len < strlen(prefix) || memcmp(line->data, prefix, strlen(prefix)) != 0)
	{
		reader_digest_add(reader, line);
		check->bytes += line->len + 1;
		if (is_blank(line))
			return MANIFEST_BLANK;
		check->games++;
		check->all_games++;
		return MANIFEST_GAME;
	}
	doc = json_parse(line->data, line->len, &error);
	ok = doc != NULL ? check_manifest(check, reader, doc)
					 : complain(check, "the manifest is not JSON");
	json_free(doc);
	check->games = 0;
	check->bytes = 0;
	check->manifests++;
	reader_digest_reset(reader);
	return ok ? MANIFEST_OK : MANIFEST_WRONG;
}

bool
manifest_is_complete(const ManifestCheck *check)
{
	return check->manifests > 0 && check->games == 0;
}

bool
manifest_check_file(const char *path, ManifestCheck *check)
{
	LineReader *reader = reader_open(path);
	ReadOutcome outcome;
	Buf line = {0};
	bool ok = true;

	*check = (ManifestCheck){.file = path};
	if (reader == NULL)
		return false;
	progress_begin("reading", "games", 0);
	while ((outcome = reader_line(reader, &line)) == READ_LINE && ok && !interrupted)
	{
		ok = manifest_take(check, reader, &line) != MANIFEST_WRONG;
		if (progress_due())
			progress_update(check->all_games, 0, NULL);
	}
	progress_abandon();
	if (interrupted)
		log_error("interrupted");
	buf_free(&line);
	reader_close(reader);
	return ok && outcome == READ_END && !interrupted;
}
