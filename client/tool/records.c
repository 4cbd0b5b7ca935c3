/*
 * records.c: files of recorded games.
 *
 * The model:
 * 1. A file is read whole and cut into lines.  Each line is taken apart once
 *    when it is read, to find mistakes before anything is played, and again
 *    when its game is played or checked: what is kept in between is its
 *    place in the text, so a run's memory is the text of the files.
 * 2. Moves, states, metadata and results are slices of the text and are never
 *    written anew: what goes to the server is what was recorded, to the
 *    letter.
 * 3. A state that has to be built is a function of the record and the number
 *    of moves, so that it can be built again for the check.
 * 4. Who moved: chess alternates; an 18xx action names the player, either as
 *    the entity that acts or as the user who entered it; other records do
 *    not tell.
 */
#include "records.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The content of a file, NUL-terminated; NULL after a message. */
static char *
read_file(const char *file, size_t *len)
{
	FILE *stream = fopen(file, "rb");
	Buf text = {0};
	char chunk[65536];
	size_t got;

	if (stream == NULL)
	{
		log_error("could not open file \"%s\": %s", file, strerror(errno));
		return NULL;
	}
	buf_reset(&text);
	while ((got = fread(chunk, 1, sizeof(chunk), stream)) > 0)
		buf_append(&text, chunk, got);
	if (ferror(stream))
	{
		log_error("could not read file \"%s\": %s", file, strerror(errno));
		fclose(stream);
		buf_free(&text);
		return NULL;
	}
	fclose(stream);
	*len = text.len;
	return text.data;
}

static bool
is_blank(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (strchr(" \t\r", text[i]) == NULL || text[i] == '\0')
			return false;
	return true;
}

static bool
add_record(RecordSet *set, const Record *record)
{
	RecordView view;
	const char *error;

	if (!record_open(record, &view, &error))
	{
		log_error("%s:%d: not a game record: %s", record->file, record->line, error);
		return false;
	}
	set->records =
		grow_array(set->records, &set->capacity, set->count + 1, sizeof(Record));
	set->records[set->count] = *record;
	set->records[set->count].moves = (uint32_t) view.move_count;
	set->count++;
	set->moves += (uint64_t) view.move_count;
	record_close(&view);
	return true;
}

bool
records_read(RecordSet *set, const char *file)
{
	size_t len;
	char *text = read_file(file, &len);
	size_t before = set->count;
	size_t start = 0;
	int line = 1;

	if (text == NULL)
		return false;
	set->texts =
		grow_array(set->texts, &set->text_capacity, set->text_count + 1, sizeof(char *));
	set->texts[set->text_count++] = text;
	while (start < len)
	{
		const char *newline = memchr(text + start, '\n', len - start);
		size_t end = newline != NULL ? (size_t) (newline - text) : len;
		Record record = {.file = file,
						 .line = line,
						 .text = text + start,
						 .len = end - start};

		if (!is_blank(record.text, record.len) && !add_record(set, &record))
			return false;
		start = end + 1;
		line++;
	}
	if (set->count == before)
	{
		log_error("%s: there is no game record in this file", file);
		return false;
	}
	return true;
}

void
records_free(RecordSet *set)
{
	for (size_t i = 0; i < set->text_count; i++)
		free(set->texts[i]);
	free(set->texts);
	free(set->records);
	memset(set, 0, sizeof(*set));
}

/* A member, unless it is missing or null. */
static JsonNode
member_not_null(const JsonDoc *doc, JsonNode object, const char *name)
{
	JsonNode node = json_member(doc, object, name);

	if (node != JSON_NONE && json_type(doc, node) == JSON_NULL)
		return JSON_NONE;
	return node;
}

/* A string as a C string; NULL if it is none. */
static char *
string_value(const JsonDoc *doc, JsonNode node)
{
	Buf value = {0};

	if (node == JSON_NONE || !json_string(doc, node, &value))
	{
		buf_free(&value);
		return NULL;
	}
	return value.data;
}

/* The elements of an array as nodes; NULL if it is none. */
static JsonNode *
array_nodes(const JsonDoc *doc, JsonNode array, int *count)
{
	JsonNode *nodes;
	int i = 0;

	if (array == JSON_NONE || json_type(doc, array) != JSON_ARRAY)
		return NULL;
	*count = json_length(doc, array);
	nodes = xmalloc((size_t) *count * sizeof(JsonNode));
	for (JsonNode node = json_first(doc, array); node != JSON_NONE;
		 node = json_next(doc, array, node))
		nodes[i++] = node;
	return nodes;
}

static const char *
open_players(RecordView *view)
{
	JsonNode array = json_member(view->doc, JSON_ROOT, "players");
	int count;
	JsonNode *nodes = array_nodes(view->doc, array, &count);
	const char *error = NULL;

	if (nodes == NULL)
		return "\"players\" is not an array";
	view->players = xcalloc((size_t) count, sizeof(char *));
	view->player_count = count;
	for (int i = 0; i < count && error == NULL; i++)
	{
		view->players[i] = string_value(view->doc, nodes[i]);
		if (view->players[i] == NULL)
			error = "\"players\" has an element that is not a string";
	}
	free(nodes);
	return error;
}

/* The parts of a record; an error text, or NULL. */
static const char *
open_parts(RecordView *view)
{
	const JsonDoc *doc = view->doc;
	const char *error;
	int state_count;

	if (json_type(doc, JSON_ROOT) != JSON_OBJECT)
		return "it is not an object";
	view->game_type = string_value(doc, json_member(doc, JSON_ROOT, "game_type"));
	if (view->game_type == NULL)
		return "\"game_type\" is not a string";
	error = open_players(view);
	if (error != NULL)
		return error;
	view->moves =
		array_nodes(doc, json_member(doc, JSON_ROOT, "moves"), &view->move_count);
	if (view->moves == NULL)
		return "\"moves\" is not an array";
	view->metadata = member_not_null(doc, JSON_ROOT, "meta");
	view->result = member_not_null(doc, JSON_ROOT, "result");
	view->initial_state = member_not_null(doc, JSON_ROOT, "initial_state");
	if (member_not_null(doc, JSON_ROOT, "states") == JSON_NONE)
		return NULL;
	view->states = array_nodes(doc, json_member(doc, JSON_ROOT, "states"), &state_count);
	if (view->states == NULL || state_count != view->move_count)
		return "\"states\" is not an array of one state for each move";
	if (view->initial_state == JSON_NONE)
		return "it has \"states\" but no \"initial_state\"";
	return NULL;
}

bool
record_open(const Record *record, RecordView *view, const char **error)
{
	memset(view, 0, sizeof(*view));
	view->doc = json_parse(record->text, record->len, error);
	if (view->doc == NULL)
		return false;
	*error = open_parts(view);
	if (*error != NULL)
	{
		record_close(view);
		return false;
	}
	return true;
}

void
record_close(RecordView *view)
{
	for (int i = 0; i < view->player_count; i++)
		free(view->players[i]);
	free(view->players);
	free(view->game_type);
	free(view->moves);
	free(view->states);
	json_free(view->doc);
	memset(view, 0, sizeof(*view));
}

void
record_players_literal(const RecordView *view, Buf *out)
{
	buf_reset(out);
	buf_putc(out, '{');
	for (int i = 0; i < view->player_count; i++)
	{
		if (i > 0)
			buf_putc(out, ',');
		buf_array_element(out, view->players[i]);
	}
	buf_putc(out, '}');
}

static void
append_node(const RecordView *view, JsonNode node, Buf *out)
{
	JsonSlice slice;

	if (node == JSON_NONE)
	{
		buf_puts(out, "null");
		return;
	}
	slice = json_slice(view->doc, node);
	buf_append(out, slice.data, slice.len);
}

void
record_text(const RecordView *view, JsonNode node, Buf *out)
{
	buf_reset(out);
	append_node(view, node, out);
}

/* A member of the last move, or JSON_NONE. */
static JsonNode
last_member(const RecordView *view, int moves, const char *name)
{
	if (moves == 0)
		return JSON_NONE;
	return json_member(view->doc, view->moves[moves - 1], name);
}

/* The latest clock that a side's moves show among the first `moves`. */
static JsonNode
chess_clock(const RecordView *view, int moves, int side)
{
	for (int i = moves - 1; i >= 0; i--)
	{
		JsonNode clock;

		if (i % 2 != side)
			continue;
		clock = json_member(view->doc, view->moves[i], "clk");
		if (clock != JSON_NONE)
			return clock;
	}
	return JSON_NONE;
}

static void
chess_state(const RecordView *view, int moves, Buf *out)
{
	buf_printf(out, "{\"ply\":%d,\"to_move\":\"%s\",\"last\":", moves,
			   moves % 2 == 0 ? "white" : "black");
	append_node(view, last_member(view, moves, "san"), out);
	buf_puts(out, ",\"clocks\":{\"white\":");
	append_node(view, chess_clock(view, moves, 0), out);
	buf_puts(out, ",\"black\":");
	append_node(view, chess_clock(view, moves, 1), out);
	buf_puts(out, "}}");
}

static void
board_game_state(const RecordView *view, int moves, Buf *out)
{
	buf_printf(out, "{\"actions\":%d,\"last_id\":", moves);
	append_node(view, last_member(view, moves, "id"), out);
	buf_puts(out, ",\"type\":");
	append_node(view, last_member(view, moves, "type"), out);
	buf_puts(out, ",\"entity\":");
	append_node(view, last_member(view, moves, "entity"), out);
	buf_puts(out, ",\"entity_type\":");
	append_node(view, last_member(view, moves, "entity_type"), out);
	buf_putc(out, '}');
}

static void
plain_state(const RecordView *view, int moves, Buf *out)
{
	buf_printf(out, "{\"moves\":%d,\"last\":", moves);
	append_node(view, moves > 0 ? view->moves[moves - 1] : JSON_NONE, out);
	buf_putc(out, '}');
}

void
record_state(const RecordView *view, int moves, Buf *out)
{
	buf_reset(out);
	if (moves == 0 && view->initial_state != JSON_NONE)
		append_node(view, view->initial_state, out);
	else if (moves > 0 && view->states != NULL)
		append_node(view, view->states[moves - 1], out);
	else if (strcmp(view->game_type, "chess") == 0)
		chess_state(view, moves, out);
	else if (strcmp(view->game_type, "18xx") == 0)
		board_game_state(view, moves, out);
	else
		plain_state(view, moves, out);
}

/* The seated player whom the metadata give this number. */
static const char *
player_by_number(const RecordView *view, int64_t number)
{
	JsonNode array = view->metadata == JSON_NONE
						 ? JSON_NONE
						 : json_member(view->doc, view->metadata, "players");
	Buf name = {0};
	const char *found = NULL;

	if (array == JSON_NONE || json_type(view->doc, array) != JSON_ARRAY)
		return NULL;
	for (JsonNode node = json_first(view->doc, array); node != JSON_NONE;
		 node = json_next(view->doc, array, node))
	{
		JsonNode id = json_member(view->doc, node, "id");
		JsonNode name_node = json_member(view->doc, node, "name");
		int64_t value;

		if (id == JSON_NONE || name_node == JSON_NONE ||
			!json_int(view->doc, id, &value) || value != number)
			continue;
		buf_reset(&name);
		if (!json_string(view->doc, name_node, &name))
			break;
		for (int i = 0; i < view->player_count; i++)
			if (strcmp(view->players[i], name.data) == 0)
				found = view->players[i];
		break;
	}
	buf_free(&name);
	return found;
}

static const char *
board_game_player(const RecordView *view, JsonNode move)
{
	JsonNode type = json_member(view->doc, move, "entity_type");
	JsonNode entity = json_member(view->doc, move, "entity");
	JsonNode user = json_member(view->doc, move, "user");
	int64_t number;

	if (type != JSON_NONE && entity != JSON_NONE &&
		json_string_is(view->doc, type, "player") && json_int(view->doc, entity, &number))
		return player_by_number(view, number);
	if (user != JSON_NONE && json_int(view->doc, user, &number))
		return player_by_number(view, number);
	return NULL;
}

const char *
record_player(const RecordView *view, int index)
{
	if (strcmp(view->game_type, "chess") == 0 && view->player_count == 2)
		return view->players[index % 2];
	if (strcmp(view->game_type, "18xx") == 0)
		return board_game_player(view, view->moves[index]);
	return NULL;
}
