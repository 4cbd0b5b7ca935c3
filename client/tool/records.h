/*
 * records.h: files of recorded games, JSON lines, one game a line:
 * {"game_type","players","result","meta","moves"} and, where the source has
 * them, "initial_state" and "states" (states[i] is the state after
 * moves[i]).  Where it has none, a compact one is built from the moves.
 */
#ifndef GAMESTATE_CLIENT_RECORDS_H
#define GAMESTATE_CLIENT_RECORDS_H

#include "json.h"
#include "util.h"

/* One line of a file. */
typedef struct Record
{
	const char *file; /* for messages; belongs to the caller */
	int line;
	const char *text; /* not NUL-terminated */
	size_t len;
	uint32_t moves;
} Record;

typedef struct RecordSet
{
	Record *records;
	size_t count;
	size_t capacity;
	uint64_t moves; /* of all records */
	char **texts;	/* the files, whole */
	size_t text_count;
	size_t text_capacity;
} RecordSet;

/* A record taken apart.  Slices point into the set's text. */
typedef struct RecordView
{
	JsonDoc *doc;
	int move_count;
	JsonNode *moves;
	JsonNode *states;		/* NULL when the record has none */
	JsonNode initial_state; /* JSON_NONE when the record has none */
	JsonNode metadata;
	JsonNode result; /* JSON_NONE when null */
	char *game_type;
	char **players;
	int player_count;
} RecordView;

/*
 * Read a file and check each of its lines; false after a message.  Files add
 * up.
 */
extern bool records_read(RecordSet *set, const char *file);
extern void records_free(RecordSet *set);

/* Take a record apart; false, and *error set, if it is not one. */
extern bool record_open(const Record *record, RecordView *view, const char **error);
extern void record_close(RecordView *view);

/* The players as a PostgreSQL array literal. */
extern void record_players_literal(const RecordView *view, Buf *out);

/* The state after `moves` moves: the recorded one, or the one we build. */
extern void record_state(const RecordView *view, int moves, Buf *out);

/* Who made move `index` (from 0); NULL where the record does not tell. */
extern const char *record_player(const RecordView *view, int index);

/* Replace the content of `out` by a node's text, to the letter. */
extern void record_text(const RecordView *view, JsonNode node, Buf *out);

#endif /* GAMESTATE_CLIENT_RECORDS_H */
