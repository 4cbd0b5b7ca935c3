/*-------------------------------------------------------------------------
 *
 * test_record.c
 *	  Unit test of the codec of journal records (extension/gs_record.c).
 *
 * Build: cc -std=gnu11 -Iextension tests/unit/test_record.c
 *		  extension/gs_delta.c extension/gs_entry.c extension/gs_record.c
 *
 * Bytes that are written down here are what is stored in journals: a change
 * of them is a change of the format.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_record.h"

#include <stdlib.h>

#include "tap.h"

#define BASE INT64_C(800000000000000)

#define BYTES(text) ((GsBytes){text, sizeof(text) - 1})

/* A heap block of exactly len bytes, so that ASan sees one byte too far. */
static char *
exact_copy(const void *data, size_t len)
{
	char *copy = calloc(len > 0 ? len : 1, 1);

	if (len > 0)
		memcpy(copy, data, len);
	return copy;
}

/* decode from a block of exactly len bytes, which must be all used */
static const char *
decode_all(const void *data, size_t len)
{
	char *copy = exact_copy(data, len);
	const char *p = copy;
	GsRecord record;
	const char *error = gs_record_decode(&p, copy + len, &record);

	if (error == NULL && p != copy + len)
		error = "did not read all";
	free(copy);
	return error;
}

/* ----------
 * a sample record, and comparing records
 * ----------
 */

static const GsBytes sample_players[] = {{"anna", 4}, {"", 0}, {"bert", 4}};

static char sample_entries[256];
static GsRecordRun sample_runs[2];

static void
make_runs(void)
{
	char *p = sample_entries;
	char *start = p;

	for (uint32_t i = 0; i < 5; i++)
	{
		GsEntry e;

		memset(&e, 0, sizeof(e));
		e.kind = GS_KIND_MOVE;
		e.at = BASE + i;
		e.player = "anna";
		e.player_len = 4;
		e.event = "{\"c\": 7}";
		e.event_len = i;
		p = gs_entry_encode(&e, BASE, p);
		if (i == 2 || i == 4)
		{
			GsRecordRun *run = &sample_runs[i / 4];

			run->first_version = i == 2 ? 2 : 5;
			run->base = BASE;
			run->nentries = i == 2 ? 3 : 2;
			run->entries.data = start;
			run->entries.len = (uint32_t) (p - start);
			start = p;
		}
	}
}

static GsRecord
sample(GsRecordKind kind, unsigned char parts)
{
	GsRecord r;

	memset(&r, 0, sizeof(r));
	r.kind = kind;
	/* what is put in beside the caller's is seen to in test_damage_head() */
	r.parts = kind == GS_RECORD_UPDATE ? parts & ~GS_RECORD_MOVED : parts;
	r.fields = 0xFF;
	for (int i = 0; i < GS_RECORD_ID_LEN; i++)
		r.id[i] = (unsigned char) (i + 240);
	r.incarnation = 1000;
	r.version = 7;
	r.base_version = kind == GS_RECORD_UPDATE || (parts & GS_RECORD_MOVED) ? 6 : 0;
	r.status = 2;
	r.encoding = 1;
	r.moves = 5;
	r.created_at = BASE;
	r.started_at = BASE + 1;
	r.updated_at = BASE + 2;
	r.deadline = -1;
	r.max_players = 4;
	memset(r.create_request, 0xAB, sizeof(r.create_request));
	r.create_arguments = 0xFEDCBA98;
	r.game_type = BYTES("chess");
	r.room_code = BYTES("ROOM");
	r.nplayers = 3;
	r.players = sample_players;
	r.metadata = BYTES("{\"m\": 1}");
	r.state = BYTES("{\"s\": 1}");
	r.delta = BYTES("\3\2\1x");
	r.initial = BYTES("{}");
	r.nruns = 2;
	r.runs = sample_runs;
	return r;
}

/* equal, absent being something else than empty */
static bool
same_bytes(const GsBytes *a, const GsBytes *b)
{
	if (a->data == NULL || b->data == NULL)
		return a->data == b->data && a->len == b->len;
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static bool
same_info(const GsRecord *a, const GsRecord *b)
{
	const char *p = b->players_raw.data;

	if (!same_bytes(&a->game_type, &b->game_type) ||
		!same_bytes(&a->room_code, &b->room_code) || a->nplayers != b->nplayers ||
		!same_bytes(&a->metadata, &b->metadata) || !same_bytes(&a->result, &b->result))
		return false;
	for (uint32_t i = 0; i < a->nplayers; i++)
	{
		GsBytes player;

		gs_record_next_player(&p, &player);
		if (!same_bytes(&a->players[i], &player))
			return false;
	}
	return p == b->players_raw.data + b->players_raw.len;
}

static bool
same_log(const GsRecord *a, const GsRecord *b)
{
	const char *p = b->runs_raw.data;

	if (a->nruns != b->nruns)
		return false;
	for (uint32_t i = 0; i < a->nruns; i++)
	{
		GsRecordRun run;

		gs_record_next_run(b, &p, &run);
		if (a->runs[i].first_version != run.first_version ||
			a->runs[i].base != run.base || a->runs[i].nentries != run.nentries ||
			!same_bytes(&a->runs[i].entries, &run.entries))
			return false;
	}
	return p == b->runs_raw.data + b->runs_raw.len;
}

/* what is set is the same, what is not is 0 */
static bool
same_fields(const GsRecord *a, const GsRecord *b)
{
	static const unsigned char none[GS_REQUEST_ID_LEN];
	unsigned char set = b->fields;

	if (a->kind == GS_RECORD_UPDATE && a->fields != set)
		return false;
	if (a->kind == GS_RECORD_IMAGE)
	{
		if ((a->fields ^ set) & GS_RECORD_SET_REQUEST)
			return false;
		set |= (unsigned char) ~GS_RECORD_SET_REQUEST;
	}
#define SAME(field, name) (((set & (field)) ? a->name : 0) == b->name)
	return SAME(GS_RECORD_SET_REQUEST, create_arguments) &&
		   SAME(GS_RECORD_SET_STATUS, status) && SAME(GS_RECORD_SET_ENCODING, encoding) &&
		   SAME(GS_RECORD_SET_ENCODING, history) &&
		   SAME(GS_RECORD_SET_ENCODING, history_limit) &&
		   SAME(GS_RECORD_SET_CREATED_AT, created_at) &&
		   SAME(GS_RECORD_SET_STARTED_AT, started_at) &&
		   SAME(GS_RECORD_SET_ENDED_AT, ended_at) &&
		   SAME(GS_RECORD_SET_DEADLINE, deadline) &&
		   SAME(GS_RECORD_SET_MAX_PLAYERS, max_players) &&
		   memcmp((set & GS_RECORD_SET_REQUEST) ? a->create_request : none,
				  b->create_request, GS_REQUEST_ID_LEN) == 0;
#undef SAME
}

/* a as given to encode, b as decoded: is all there that a's parts name, and no more? */
static bool
same_record(const GsRecord *a, const GsRecord *b)
{
	static const GsBytes absent = {NULL, 0};
	bool has_state = a->parts & GS_RECORD_HAS_STATE;
	bool has_delta = a->parts & GS_RECORD_HAS_DELTA;
	bool has_initial = a->parts & GS_RECORD_HAS_INITIAL;

	if (a->kind != b->kind || memcmp(a->id, b->id, GS_RECORD_ID_LEN) != 0 ||
		a->incarnation != b->incarnation || a->version != b->version)
		return false;
	if (a->kind == GS_RECORD_REMOVE)
		return b->parts == (a->parts & GS_RECORD_MOVED) && b->status == 0 &&
			   b->nplayers == 0 && b->nruns == 0 && b->state.data == NULL &&
			   b->initial.data == NULL;
	if (a->parts != b->parts || a->base_version != b->base_version ||
		a->moves != b->moves || a->updated_at != b->updated_at || !same_fields(a, b))
		return false;
	if (!same_bytes(has_state ? &a->state : &absent, &b->state) ||
		!same_bytes(has_delta ? &a->delta : &absent, &b->delta) ||
		!same_bytes(has_initial ? &a->initial : &absent, &b->initial))
		return false;
	if (!((a->parts & GS_RECORD_HAS_INFO)
			  ? same_info(a, b)
			  : b->nplayers == 0 && b->game_type.data == NULL &&
					b->players_raw.data == NULL))
		return false;
	return (a->parts & GS_RECORD_HAS_LOG) ? same_log(a, b)
										  : b->nruns == 0 && b->runs_raw.data == NULL;
}

/* ----------
 * round trips
 * ----------
 */

/* every shorter run of bytes must be refused */
static bool
cuts_refused(const char *bytes, size_t size)
{
	for (size_t len = 0; len < size; len += 1 + len / 500)
	{
		if (decode_all(bytes, len) == NULL)
			return false;
	}
	return true;
}

/* encode, decode, compare, with bytes behind it that are not its own */
static bool
comes_back(const GsRecord *r)
{
	size_t size = gs_record_size(r);
	char *bytes = malloc(size + 1);
	const char *p = bytes;
	GsRecord back;
	bool result;

	bytes[size] = (char) 0xA5;
	result = gs_record_encode(r, bytes) == bytes + size &&
			 (unsigned char) bytes[size] == 0xA5 &&
			 gs_record_decode(&p, bytes + size + 1, &back) == NULL && p == bytes + size &&
			 same_record(r, &back) && decode_all(bytes, size) == NULL &&
			 cuts_refused(bytes, size);
	free(bytes);
	return result;
}

static void
test_parts(void)
{
	int refused = 0;
	GsRecord r;

	for (unsigned int parts = 0; parts <= GS_RECORD_PARTS; parts++)
	{
		const unsigned char whole = GS_RECORD_HAS_INFO | GS_RECORD_HAS_STATE;

		if ((parts & GS_RECORD_HAS_STATE) && (parts & GS_RECORD_HAS_DELTA))
		{
			char bytes[1024];

			r = sample(GS_RECORD_UPDATE, (unsigned char) parts);
			gs_record_encode(&r, bytes);
			if (strcmp(decode_all(bytes, gs_record_size(&r)),
					   "record has both a state and a delta") == 0)
				refused++;
			continue;
		}
		r = sample(GS_RECORD_UPDATE, (unsigned char) parts);
		ok(comes_back(&r), "update with parts %02x", parts);
		if ((parts & whole) == whole)
		{
			r = sample(GS_RECORD_IMAGE, (unsigned char) parts);
			ok(comes_back(&r), "image with parts %02x", parts);
		}
	}
	ok(refused == 16, "state and delta exclude each other");

	for (unsigned int fields = 0; fields <= 0xFF; fields++)
	{
		r = sample(GS_RECORD_UPDATE, GS_RECORD_HAS_LOG);
		r.fields = (unsigned char) fields;
		ok(comes_back(&r), "update with fields %02x", fields);
	}
	r = sample(GS_RECORD_IMAGE, GS_RECORD_HAS_INFO | GS_RECORD_HAS_STATE);
	r.fields = 0;
	ok(comes_back(&r), "image without a request id");

	r = sample(GS_RECORD_REMOVE, 0);
	ok(comes_back(&r), "removal");
	ok(gs_record_size(&r) == 3 + 16 + 2 + 1, "nothing else of a removal is written");
	r.parts = GS_RECORD_PARTS;
	ok(comes_back(&r), "removal whose parts are set");
}

static void
test_values(void)
{
	const unsigned char all = GS_RECORD_PARTS & ~(GS_RECORD_HAS_DELTA | GS_RECORD_MOVED);
	GsRecord r = sample(GS_RECORD_IMAGE, all);
	char *big = malloc(3 * 1024 * 1024);

	r.incarnation = r.version = r.moves = INT64_MAX;
	r.created_at = r.updated_at = INT64_MIN;
	r.started_at = r.ended_at = r.deadline = INT64_MAX;
	r.max_players = INT32_MAX;
	r.status = 255;
	r.encoding = r.history = 15;
	ok(comes_back(&r), "the largest numbers");
	r.history = GS_RECORD_HISTORY_LAST;
	r.history_limit = GS_RECORD_HISTORY_LIMIT;
	ok(comes_back(&r), "and the history's");
	r = sample(GS_RECORD_IMAGE, all & ~GS_RECORD_HAS_LOG);
	r.incarnation = r.version = r.moves = 0;
	r.created_at = r.updated_at = r.started_at = r.ended_at = r.deadline = 0;
	r.max_players = 0;
	ok(comes_back(&r), "the smallest numbers");
	r.kind = GS_RECORD_UPDATE;
	r.version = r.base_version = INT64_MAX;
	ok(comes_back(&r), "fields set to 0; an equal version");

	r = sample(GS_RECORD_IMAGE, all);
	r.room_code = r.result = BYTES("");
	r.metadata = (GsBytes){NULL, 0};
	ok(comes_back(&r), "empty values, which are not absent ones");
	r.room_code = r.result = (GsBytes){NULL, 0};
	r.metadata = BYTES("");
	ok(comes_back(&r), "the other way round");
	r.game_type = r.state = r.initial = BYTES("");
	r.nplayers = 0;
	r.players = NULL;
	ok(comes_back(&r), "nothing in anything");

	r = sample(GS_RECORD_IMAGE, all);
	r.base_version = 3;
	r.nruns = 0;
	ok(gs_record_encode(&r, big) == big + gs_record_size(&r) &&
		   decode_all(big, gs_record_size(&r)) == NULL,
	   "an image with a base version, and a log without runs, are written as they should be");

	memset(big, 'x', 3 * 1024 * 1024);
	r = sample(GS_RECORD_UPDATE, GS_RECORD_HAS_STATE | GS_RECORD_HAS_INFO);
	r.state.data = r.metadata.data = r.result.data = big;
	r.state.len = 3 * 1024 * 1024;
	r.metadata.len = 127;
	r.result.len = 126;
	ok(comes_back(&r), "a state of 3 MB");

	big[0] = 3;
	r = sample(GS_RECORD_UPDATE, GS_RECORD_HAS_DELTA);
	r.delta = r.state;
	ok(comes_back(&r), "a delta that is as long as its first byte says");
	r.delta.data = big;
	r.delta.len = 3 * 1024 * 1024;
	ok(comes_back(&r), "a delta of 3 MB");
	free(big);
}

static void
test_bytes(void)
{
	static const unsigned char expected[] = {
		4,	  2,	0x1D, /* format, update, all but a state */
		240,  241,	242,  243,	244,  245,	246,  247,	248,  249,	250,  251,
		252,  253,	254,  255,	0xE8, 0x07, 7,	  1, /* incarnation 1000, versions 7 and 6 */
		2,	  6,	0xFF,							 /* 5 moves, time 3, all fields */
		2,	  1,	3,	  1,	5,	  7, /* status, encoding, times 1, 2, 0, -1 */
		4,	  0xAB, 0xAB, 0xAB, 0xAB, 0xAB, 0xAB, 0xAB, 0xAB, 0xAB, 0xAB, 0xAB,
		0xAB, 0xAB, 0xAB, 0xAB, 0xAB, 0x98, 0xBA, 0xDC, 0xFE, 5,	'c',  'h',
		'e',  's',	's',  5,	'R',  'O',	'O',  'M',	3,	  4,	'a',  'n',
		'n',  'a',	0,	  4,	'b',  'e',	'r',  't',	9,	  '{',	'"',  'm',
		'"',  ':',	' ',  '1',	'}',  0,	4,	  3,	2,	  1,	'x',  2,
		'{',  '}',	1,	  5,	1,	  14,	3,	  5,	0,	  0};
	static const GsRecordRun run = {2, 10, 1, {"\5\0\0", 3}};
	char bytes[sizeof(expected)];
	GsRecord r = sample(GS_RECORD_UPDATE, GS_RECORD_PARTS & ~GS_RECORD_HAS_STATE);

	r.created_at = 1;
	r.started_at = 2;
	r.updated_at = 3;
	r.nruns = 1;
	r.runs = &run;
	if (ok(gs_record_size(&r) == sizeof(expected), "size of the stored form"))
	{
		gs_record_encode(&r, bytes);
		ok(memcmp(bytes, expected, sizeof(expected)) == 0,
		   "the stored form is what it always was");
	}
}

/* ----------
 * damage
 * ----------
 */

/* a record as far as its version, then as far as its fields */
#define ID				  "0123456789abcdef"
#define HEAD(kind, parts) "\4" kind parts ID "\1\7"
#define FIXED(parts)	  HEAD("\2", parts) "\1\2\6\0"
#define HUGE_INT64		  "\200\200\200\200\200\200\200\200\200\1" /* 2^63 */

static void
test_damage_head(void)
{
#define REFUSED(bytes, error, name) is(decode_all(bytes, sizeof(bytes) - 1), error, name)
	REFUSED("", "record is cut off", "no bytes");
	REFUSED("\2\2", "record is cut off", "two bytes");
	REFUSED("\2\2\0" ID "\1\7\6\2\1\0\0\0\0\0\0\0", "record has an unknown format",
			"the format before");
	REFUSED("\4\2\0"
			"0123456789abcde",
			"record has a broken game id", "a short id");
	REFUSED(HEAD("\3", "\0"), NULL, "a removal");
	REFUSED(HEAD("\3", "\0") "\1", "did not read all",
			"what is behind a removal is not read");
	REFUSED(HEAD("\3", "\2"), "record of a removal has parts", "a removal with parts");
	REFUSED(HEAD("\3", "\40"), NULL, "a removal to a table");
	REFUSED(HEAD("\2", "\40"), "record of an update moves the game",
			"an update that moves its game");
	REFUSED(HEAD("\1", "\1") "\0", "record of an image is not whole",
			"an image without state");
	REFUSED(HEAD("\1", "\2") "\0", "record of an image is not whole",
			"an image without info");
	REFUSED(HEAD("\1", "\5") "\0", "record of an image is not whole",
			"an image with a delta");
	REFUSED("\4\3\0" ID HUGE_INT64 "\1", "record has a broken incarnation",
			"incarnation 2^63");
	REFUSED("\4\3\0" ID "\1" HUGE_INT64, "record has a broken version", "version 2^63");

	REFUSED(FIXED("\0"), NULL, "an update of nothing");
	REFUSED(HEAD("\2", "\0") "\7", "record has a broken base version",
			"an update from nothing");
	REFUSED(HEAD("\2", "\0") HUGE_INT64, "record has a broken base version",
			"an update from below nothing");
	REFUSED(HEAD("\2", "\0") "\1\7\6\0", NULL, "no moves");
	REFUSED(HEAD("\2", "\0") "\1\10\6\0", "record has a broken number of moves",
			"-1 moves");
	REFUSED(HEAD("\2", "\0") "\1" HUGE_INT64, "record has a broken number of moves",
			"-2^63 moves");
	REFUSED(HEAD("\2", "\0") "\1\2\200\0", "record has a broken time", "a needless byte");
	REFUSED(HEAD("\2", "\0") "\1\2\6", "record has broken fields", "no fields");
	REFUSED(HEAD("\2", "\0") "\1\2\6\1", "record has a broken status", "no status");
	REFUSED(HEAD("\2", "\0") "\1\2\6\1\0", "record has a broken status", "status 0");
	REFUSED(HEAD("\2", "\0") "\1\2\6\2\0", "record has a broken encoding", "encoding 0");
	REFUSED(HEAD("\2", "\0") "\1\2\6\2\20", "record has a broken encoding",
			"a history, and encoding 0");
	REFUSED(HEAD("\2", "\0") "\1\2\6\2\41\0", "record has a broken encoding",
			"the last 0 changes");
	REFUSED(HEAD("\2", "\0") "\1\2\6\2\41\200\200\4", "record has a broken encoding",
			"the last 65536 changes");
	REFUSED(HEAD("\2", "\0") "\1\2\6\4", "record has a broken time", "no created_at");
	REFUSED(HEAD("\2", "\0") "\1\2\6\10\200", "record has a broken time",
			"half a started_at");
	REFUSED(HEAD("\2", "\0") "\1\2\6\60\0", "record has a broken time",
			"one time of two");
	REFUSED(HEAD("\2", "\0") "\1\2\6\40\5", NULL, "no deadline any more");
	REFUSED(HEAD("\2", "\0") "\1\2\6\100\200\200\200\200\10",
			"record has a broken max_players", "2^31 players allowed");
	REFUSED(HEAD("\2", "\0") "\1\2\6\200"
							 "0123456789abcde",
			"record has a broken request id", "a short request id");
	REFUSED(HEAD("\2", "\0") "\1\2\6\200"
							 "0123456789abcdef"
							 "123",
			"record has a broken request id", "a request id without its arguments");
	REFUSED(HEAD("\1", "\3") "\2\6\0", "record of an image is not whole",
			"an image without status and encoding");
	REFUSED(HEAD("\1", "\3") "\2\6\1\2", "record of an image is not whole",
			"an image without encoding");
	REFUSED(HEAD("\1", "\3") "\2\6\7\2\1\5", "record has a broken time",
			"an image whose time is set to 0");
	REFUSED(HEAD("\1", "\3") "\2\6\103\2\1\0", "record has a broken max_players",
			"an image whose max_players is set to 0");
	REFUSED(HEAD("\1", "\3") "\2\6\3\2\1\0\0\0\0\0\0", NULL, "an image of little");
}

static void
test_damage_parts(void)
{
	REFUSED(FIXED("\1") "\3ab", "record has a broken game type", "game type too long");
	REFUSED(FIXED("\1") "\0\4ab", "record has a broken room code", "room code too long");
	REFUSED(FIXED("\1") "\0\0\2\0", "record has a broken number of players",
			"more players than bytes");
	REFUSED(FIXED("\1") "\0\0\377\377\377\377\17\0\0",
			"record has a broken number of players", "2^32 - 1 players");
	REFUSED(FIXED("\1") "\0\0\1\2a", "record has a broken player", "player too long");
	REFUSED(FIXED("\1") "\0\0\0\4ab", "record has broken metadata", "metadata too long");
	REFUSED(FIXED("\1") "\0\0\0\0\4ab", "record has a broken result", "result too long");
	REFUSED(FIXED("\1") "\0\0\0\0\377\377\377\377\377\377\377\377\377\1",
			"record has a broken result", "a length of 2^64 - 1");
	REFUSED(FIXED("\1") "\0\0\0\0\0", NULL, "info of nothing");
	REFUSED(FIXED("\2") "\3ab", "record has a broken state", "state too long");
	REFUSED(FIXED("\10") "\3ab", "record has a broken initial state",
			"initial state too long");

	REFUSED(FIXED("\4") "\1\0", NULL, "a delta");
	REFUSED(FIXED("\4") "\5\377\377\377\377\3", NULL, "a delta of the longest state");
	REFUSED(FIXED("\4") "\5\200\200\200\200\4", "delta has a broken length",
			"a delta of 1 GB");
	REFUSED(FIXED("\4") "\0", "delta has a broken length", "an empty delta");
	REFUSED(FIXED("\4") "\3\0\0", "record has a broken delta", "delta too long");

	REFUSED(FIXED("\20") "\1\5\1\0\3\5\0\0", NULL, "a log of one entry");
	REFUSED(FIXED("\20") "\0", "record has a broken number of runs", "no runs");
	REFUSED(FIXED("\20") "\11\2\1\0\3\5\0\0", "record has a broken number of runs",
			"more runs than bytes");
	REFUSED(FIXED("\20") "\2\2\1\0\3\5\0\0", "record has a broken first version of a run",
			"one run fewer than said");
	REFUSED(FIXED("\20") "\1\2\0\0\0", "record has a broken number of entries",
			"an empty run");
	REFUSED(FIXED("\20") "\1\10\1\0\3\5\0\0",
			"record has a broken first version of a run", "a version of -1");
	REFUSED(FIXED("\20") "\1\2\6\0\3\5\0\0", "record has a broken number of entries",
			"more entries than bytes");
	REFUSED(FIXED("\20") "\1\2\1\200", "record has a broken base time", "no base time");
	REFUSED(FIXED("\20") "\1\2\1\0\4\5\0\0", "record has a broken run", "run too long");
	REFUSED(FIXED("\20") "\1\2\2\0\3\5\0\0", "entry is cut off",
			"one entry fewer than said");
	REFUSED(FIXED("\20") "\1\2\1\0\6\5\0\0\5\0\0",
			"record has bytes behind the last entry of a run",
			"one entry more than said");
	REFUSED(FIXED("\20") "\1\1\3\0\11\5\0\0\5\0\0\5\0\0",
			"record has a broken number of entries", "an entry beyond the version");
	REFUSED(FIXED("\20") "\1\2\1\0\3\143\0\0", "entry has an unknown kind",
			"an entry of no kind");
#undef REFUSED
}

/* what a decoded record says about its players and runs must be walkable */
static bool
walks(const GsRecord *r)
{
	const char *p = r->players_raw.data;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < r->nplayers; i++)
	{
		GsBytes player;

		gs_record_next_player(&p, &player);
		for (uint32_t k = 0; k < player.len; k++)
			sum += (unsigned char) player.data[k];
	}
	if (p != NULL && p != r->players_raw.data + r->players_raw.len)
		return false;
	p = r->runs_raw.data;
	for (uint32_t i = 0; i < r->nruns; i++)
	{
		GsRecordRun run;
		GsEntry e;
		const char *entry;

		gs_record_next_run(r, &p, &run);
		entry = run.entries.data;
		for (uint32_t k = 0; k < run.nentries; k++)
		{
			if (gs_entry_decode(&entry, run.entries.data + run.entries.len, run.base,
								&e) != NULL)
				return false;
			sum += (uint64_t) e.kind;
		}
	}
	if (p != NULL && p != r->runs_raw.data + r->runs_raw.len)
		return false;
	return sum != UINT64_MAX;
}

static void
test_flips(GsRecordKind kind, unsigned char parts, const char *name)
{
	GsRecord r = sample(kind, parts);
	size_t size = gs_record_size(&r);
	char *bytes = malloc(size);
	bool formats_refused = true;
	bool walkable = true;

	gs_record_encode(&r, bytes);
	for (size_t i = 0; i < size; i++)
	{
		char was = bytes[i];

		for (int value = 0; value < 256; value++)
		{
			char *copy;
			const char *p;
			GsRecord back;
			const char *error;

			bytes[i] = (char) value;
			copy = exact_copy(bytes, size);
			p = copy;
			error = gs_record_decode(&p, copy + size, &back);
			if (error == NULL && (p > copy + size || !walks(&back)))
				walkable = false;
			if ((i == 0 && value != GS_RECORD_FORMAT &&
				 (!error || strcmp(error, "record has an unknown format") != 0)) ||
				(i == 1 && (value < GS_RECORD_IMAGE || value > GS_RECORD_REMOVE) &&
				 (!error || strcmp(error, "record has an unknown kind") != 0)) ||
				(i == 2 && (value & ~GS_RECORD_PARTS) &&
				 (!error || strcmp(error, "record has unknown parts") != 0)))
				formats_refused = false;
			free(copy);
		}
		bytes[i] = was;
	}
	ok(formats_refused, "%s: every other format, kind and part is refused", name);
	ok(walkable, "%s: with any byte changed it is refused, or whole", name);
	free(bytes);
}

int
main(void)
{
	make_runs();
	test_parts();
	test_values();
	test_bytes();
	test_damage_head();
	test_damage_parts();
	test_flips(GS_RECORD_IMAGE, GS_RECORD_PARTS & ~GS_RECORD_HAS_DELTA, "image");
	test_flips(GS_RECORD_UPDATE, GS_RECORD_PARTS & ~GS_RECORD_HAS_STATE, "update");
	test_flips(GS_RECORD_REMOVE, 0, "removal");
	return tap_done();
}
