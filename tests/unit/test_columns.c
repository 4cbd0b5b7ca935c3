/*-------------------------------------------------------------------------
 *
 * test_columns.c
 *	  Unit test of the codec that turns logs into columns (extension/gs_columns.c,
 *	  gs_columns_decode.c), and of payloads with dictionaries.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_columns.h"

#include <stdlib.h>

#include "tap.h"

#define BASE INT64_C(800000000000000)
#define ROOM 2000000

static char entries[ROOM];
static char raw[ROOM];
static char columns[2 * ROOM];
static char back[ROOM];

typedef const char *(*EventMaker)(int i);

/* A payload whose moves have the events that the function makes. */
static size_t
make_raw(int n, EventMaker make, bool everything, GsPayload *payload)
{
	char *p = entries;

	for (int i = 0; i < n; i++)
	{
		const char *event = make(i);
		GsEntry e = {.kind = GS_KIND_MOVE,
					 .at = BASE + i * INT64_C(1000003),
					 .player = i % 2 ? "black" : "white",
					 .player_len = 5,
					 .event = event,
					 .event_len = (uint32_t) strlen(event)};

		if (everything && i % 3 == 0)
		{
			e.request_id = (const unsigned char *) "0123456789abcdef";
			e.request_arguments = 77;
			e.delta = "delta";
			e.delta_len = 5;
		}
		if (everything && i % 5 == 0)
			e.player = NULL;
		if (everything && i % 7 == 0)
			e.event = NULL;
		p = gs_entry_encode(&e, BASE, p);
	}
	*payload = (GsPayload){.has_deltas = everything,
						   .initial = "{}",
						   .initial_len = 2,
						   .final = "{\"a\":1}",
						   .final_len = 7,
						   .first_version = 2,
						   .nentries = (uint64_t) n,
						   .base = BASE,
						   .entries = entries,
						   .entries_len = (size_t) (p - entries)};
	gs_payload_encode(payload, raw);
	return gs_payload_size(payload);
}

/* There and back; returns the length in columns. */
static size_t
round_trip(int n, EventMaker make, bool everything, const char *name)
{
	GsPayload payload;
	size_t raw_len = make_raw(n, make, everything, &payload);
	size_t len = gs_columns_encode(&payload, columns, sizeof(columns));
	bool refused = true;

	ok(len > 0, "%s: encodes", name);
	memset(back, 0xA5, raw_len + 1);
	is(gs_columns_decode(columns, len, back, raw_len), NULL, name);
	ok(memcmp(raw, back, raw_len) == 0 && (unsigned char) back[raw_len] == 0xA5,
	   "%s: comes back to the letter", name);
	for (size_t cut = 0; cut < len; cut += 1 + len / 100)
	{
		char *exact = malloc(cut + 1);

		memcpy(exact, columns, cut);
		if (gs_columns_decode(exact, cut, back, raw_len) == NULL)
			refused = false;
		free(exact);
	}
	ok(refused, "%s: refused when cut off", name);
	ok(gs_columns_decode(columns, len, back, raw_len - 1) != NULL &&
		   gs_columns_decode(columns, len, back, raw_len + 1) != NULL,
	   "%s: refused for another size", name);
	ok(gs_columns_encode(&payload, columns, len - 1) == 0, "%s: no room", name);
	return len;
}

static char event_text[4096];

static const char *
plain(int i)
{
	snprintf(event_text, sizeof(event_text), "{\"move\":%d,\"to\":\"e%d\"}", i, i % 8);
	return event_text;
}

static const char *
clocks(int i)
{
	snprintf(event_text, sizeof(event_text), "{\"clk\":\"%d:%02d:%02d\"}", i / 60 % 3,
			 i % 60, (i * 7) % 60);
	return event_text;
}

/* What looks like something else */
static const char *
odd(int i)
{
	static const char *const events[] = {"",
										 "{}",
										 "[]",
										 "null",
										 "-0",
										 "007",
										 "1e5",
										 "-1",
										 "9223372036854775807",
										 "99999999999999999999",
										 "\"\"",
										 "\"\\\"\"",
										 "\"\\u0001\"",
										 "{\"a\":\"01:02:03\"}",
										 "{\"a\":\"1:60:00\"}",
										 "{\"a\":\"1:00:00\"}",
										 "{\"a\":\"-1:00:00\"}",
										 " { \"a\" : 1 } ",
										 "{\"a\":[1,[2,{\"b\":3}],\"x\"]}",
										 "\"unterminated",
										 "{\"a\":\"\\",
										 "}",
										 "{{{{",
										 "\x01",
										 "\x01\x06",
										 "\n",
										 "{\"a\":\"line\nfeed\"}",
										 "{\"a\":\"\\\n\"}",
										 "not json",
										 "{\"a\":tru e}",
										 "\xff\xfe",
										 "{\"\x02\":1}",
										 "{\"a\":\"0:00:00\"}",
										 "{\"a\":\"00:00:00\"}",
										 "1 2 3"};

	return events[i % (int) (sizeof(events) / sizeof(events[0]))];
}

static const char *
numbers(int i)
{
	snprintf(event_text, sizeof(event_text), "[%d,%d,\"%d\"]", i, -i, i * 100);
	return event_text;
}

/* Arrays of different lengths, in arrays, of what looks alike and of what does not */
static const char *
arrays(int i)
{
	static const char *const elements[] = {"1",	 "\"a\"",		"{\"x\":1,\"y\":[2,3]}",
										   "[]", "[[1],[2,3]]", "null"};
	int n = 1 + i % 13;
	int kind = i / 13 % 8;
	const char *comma = i % 2 ? ", " : ",";
	char *p = event_text;

	p += sprintf(p, "{\"n\":%s%d,\"of\":[", i % 2 ? " " : "", i);
	for (int k = 0; k < n; k++)
		p += sprintf(p, "%s%s", k > 0 ? comma : "",
					 elements[(kind < 6 ? kind : k / (kind - 5)) % 6]);
	sprintf(p, "]}");
	return event_text;
}

/* What only looks like an array that goes on */
static const char *
odd_arrays(int i)
{
	static const char *const events[] = {"[1,2,3]",
										 "[1, 2, 3]",
										 "[ 1 , 2 ]",
										 "[1,2, 3,4]",
										 "[1,,2]",
										 "[,]",
										 "[1 2,3 4]",
										 "[[1,2],[3,4],[5]]",
										 "[{},{},{\"a\":1},{\"a\":2}]",
										 "[\"\\u0001\",\",\",\"]\"]",
										 "[1,2",
										 "1,2,3]",
										 "[1,2]]",
										 "{\"a\": [1, 2], \"b\": [3,4]}",
										 "1,[2,3],4",
										 "[\x02,\x04]",
										 "[[[[1]]],[[[2]]],[[[3,4]]]]"};

	return events[i % (int) (sizeof(events) / sizeof(events[0]))];
}

static const char *
long_array(int i)
{
	char *p = event_text;

	*p++ = '[';
	for (int k = 0; k < 1000 + i; k++)
		p += sprintf(p, "%s%d", k > 0 ? "," : "", k % 7);
	sprintf(p, "]");
	return event_text;
}

/* What vectors below were made from */
static const char *
for_vectors(int i)
{
	static const char *const events[] = {"{\"a\":[1,2,3],\"clk\":\"0:59:01\"}",
										 "{\"a\":[1, 22],\"clk\":\"1:00:00\"}",
										 "not json", "[\"x\"]", "\x01\x02\x03\x04"};

	return events[i % 5];
}

/* Each with its own key: more columns and templates than there may be */
static const char *
many_keys(int i)
{
	snprintf(event_text, sizeof(event_text), "{\"key%d\":%d}", i, i);
	return event_text;
}

static const char *
deep(int i)
{
	int n = i % 60;

	memset(event_text, '[', (size_t) n);
	memset(event_text + n, ']', (size_t) n);
	event_text[2 * n] = '\0';
	return event_text;
}

static void
test_round_trips(void)
{
	GsPayload payload;
	size_t raw_len;

	(void) round_trip(0, plain, false, "no entries");
	(void) round_trip(1, plain, false, "one entry");
	raw_len = make_raw(400, plain, false, &payload);
	ok(round_trip(400, plain, false, "400 moves") < raw_len / 2, "half as long");
	raw_len = make_raw(400, clocks, false, &payload);
	ok(round_trip(400, clocks, false, "clocks") < raw_len / 3, "a third as long");
	(void) round_trip(400, numbers, true, "requests and deltas");
	(void) round_trip(700, odd, false, "odd events");
	(void) round_trip(700, odd, true, "odd events and all else");
	(void) round_trip(3000, many_keys, false, "many keys");
	(void) round_trip(300, deep, false, "deep ones");
	raw_len = make_raw(500, arrays, false, &payload);
	ok(round_trip(500, arrays, false, "arrays") < raw_len / 3, "arrays: a third as long");
	(void) round_trip(400, odd_arrays, true, "odd arrays");
	raw_len = make_raw(200, long_array, false, &payload);
	ok(round_trip(200, long_array, false, "long arrays") < raw_len * 0.6,
	   "one template for all lengths");
}

/* Times: what is in their column must look alike in quick games and in slow ones. */
static void
test_times(void)
{
	static const int64_t steps[] = {0, 1, 25, 70, 1000, -3, INT64_MAX, INT64_MIN};
	char *p;
	GsPayload payload;
	size_t lens[8];

	for (int s = 0; s < 8; s++)
	{
		GsEntry e = {.kind = GS_KIND_MOVE, .at = BASE};
		size_t raw_len;

		(void) make_raw(0, plain, false, &payload);
		p = entries;
		for (int i = 0; i < 200; i++)
		{
			p = gs_entry_encode(&e, BASE, p);
			e.at = (int64_t) ((uint64_t) e.at + (uint64_t) steps[s] +
							  (uint64_t) (i * 7 % 5));
		}
		payload.nentries = 200;
		payload.entries_len = (size_t) (p - entries);
		raw_len = gs_payload_size(&payload);
		gs_payload_encode(&payload, raw);
		lens[s] = gs_columns_encode(&payload, columns, sizeof(columns));
		is(gs_columns_decode(columns, lens[s], back, raw_len), NULL, "times");
		ok(memcmp(raw, back, raw_len) == 0, "times come back");
	}
	ok(lens[2] <= lens[0] + 4 && lens[3] <= lens[0] + 4 && lens[4] <= lens[0] + 4,
	   "as many bytes for slow games as for quick ones");
}

/* What has been written once is read for ever. */
static void
test_vectors(void)
{
	static const char format_2[] =
		"\002\253\003\002\007{\"a\":1}\002\014\200\200\220\275\220\346\353\002"
		"\002\005black\005white\005\031{\"a\":[\001\006, \001\006],\"clk\":\"\001"
		"\007\"}\005\001\010 \001\010\006[\"\001\011\"]\002\001\005\033{\"a\":"
		"[\001\006,\001\006,\001\006],\"clk\":\"\001\007\"}\012\002\012\002\005"
		"\000\002\005\001\002\017\002\002\005\003\002\004\004\002\017\000\002\001"
		"\002\005\002\002\017\003\012\001\000\014\000\002\004\006\010\012\014\016"
		"\020\022\012\002\001\001\"\000\206\211z\206\211z\206\211z\206\211z\206"
		"\211z\206\211z\206\211z\206\211z\206\211z\206\211z\206\211z\001\000\011"
		"\000\002\000\002\002\000\002\000\000\004\000U\004\024\024\024\0240123"
		"456789abcdefM\000\000\0000123456789abcdefM\000\000\0000123456789abcde"
		"fM\000\000\0000123456789abcdefM\000\000\000\004\000\031\004\005\005\005"
		"\005deltadeltadeltadelta\004\000\013\002\004\004\001\002\003\004\001\002"
		"\003\004\001\000\014\002,\002\004\006\002,\002\004\006\002,\002\001\006"
		"\2408uvuv\000\000\011not\012json\012\000\000\004x\012x\012";
	static const char format_3[] =
		"\003\253\003\002\007{\"a\":1}\002\014\200\200\220\275\220\346\353\002"
		"\002\005black\005white\005\035{\"a\":[\002\001\007\004, \002\001\007\004"
		"],\"clk\":\"\001\010\"}\005\001\011 \001\011\010[\002\"\001\012\"\004"
		"]\002\001\005\027{\"a\":[\002\001\007\004],\"clk\":\"\001\010\"}\012\002"
		"\012\002\005\000\002\005\001\002\017\002\002\005\003\002\004\004\002\017"
		"\000\002\001\002\005\002\002\017\003\013\001\000\014\000\002\004\006\010"
		"\012\014\016\020\022\012\002\001\001\021\206\211z\205\211z\000\000\000"
		"\000\000\000\000\000\000\000\000\001\000\011\000\002\000\002\002\000\002"
		"\000\000\004\000U\004\024\024\024\0240123456789abcdefM\000\000\000012"
		"3456789abcdefM\000\000\0000123456789abcdefM\000\000\0000123456789abcd"
		"efM\000\000\000\004\000\031\004\005\005\005\005deltadeltadeltadelta\004"
		"\000\013\002\004\004\001\002\003\004\001\002\003\004\001\000\012\002\002"
		"\002\006\002\002\002\006\002\002\001\000\014\002,\002\004\006\002,\002"
		"\004\006\002,\002\001\006\2408uvuv\000\000\011not\012json\012\000\000"
		"\004x\012x\012";
	GsPayload payload;
	size_t raw_len = make_raw(12, for_vectors, true, &payload);
	size_t len = gs_columns_encode(&payload, columns, sizeof(columns));

	is(gs_columns_decode(format_2, sizeof(format_2) - 1, back, raw_len), NULL,
	   "format 2");
	ok(memcmp(raw, back, raw_len) == 0, "format 2: the same bytes");
	is(gs_columns_decode(format_3, sizeof(format_3) - 1, back, raw_len), NULL,
	   "format 3");
	ok(memcmp(raw, back, raw_len) == 0, "format 3: the same bytes");
	ok(len == sizeof(format_3) - 1 && memcmp(columns, format_3, len) == 0,
	   "it is written so");
}

/* Runs that are none; each of these would be a template. */
static void
test_runs(void)
{
	static const struct
	{
		const char *template;
		int count;
		const char *made; /* NULL: refused */
	} runs[] = {{"\2x\4", 3, "x,x,x"},	   {"\3x\4", 2, "x, x"},	{"\2\4", 2, ","},
				{"[\2\3x\4\4]", 1, "[x]"}, {"\2x\4", 0, NULL},		{"\2x\4", -1, NULL},
				{"\2x", 1, NULL},		   {"x\4", 1, NULL},		{"\4", 1, NULL},
				{"\2", 1, NULL},		   {"\2x\4\2x\4", 1, NULL}, {"x", 1, NULL}};

	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++)
	{
		char *p = columns;
		size_t size = runs[i].made ? strlen(runs[i].made) : 1;
		const char *error;
		GsEntry e = {.kind = GS_KIND_MOVE,
					 .event = runs[i].made ? runs[i].made : "x",
					 .event_len = (uint32_t) size};
		GsPayload payload = {.initial = "",
							 .final = "",
							 .nentries = 1,
							 .entries = entries};
		size_t raw_len;

		payload.entries_len = (size_t) (gs_entry_encode(&e, 0, entries) - entries);
		raw_len = gs_payload_size(&payload);
		gs_payload_encode(&payload, raw);

		*p++ = GS_PAYLOAD_FORMAT_3;
		p = gs_varint_put(p, raw_len);
		*p++ = GS_PAYLOAD_SAME_STATE;
		*p++ = 0; /* initial state */
		*p++ = 0; /* first version */
		*p++ = 1; /* entries */
		*p++ = 0; /* base */
		*p++ = 0; /* players */
		*p++ = 1; /* templates */
		p = gs_put_bytes(p, runs[i].template, (uint32_t) strlen(runs[i].template));
		*p++ = 1; /* shapes */
		*p++ = GS_KIND_MOVE;
		*p++ = GS_ENTRY_HAS_EVENT;
		*p++ = 0;
		*p++ = GS_COLUMN_FIRST;
		for (int column = 0; column < GS_COLUMN_FIRST; column++)
		{
			*p++ = column == GS_COLUMN_COUNT || column < GS_COLUMN_REQUEST
					   ? GS_COLUMN_NUMBERS
					   : GS_COLUMN_BYTES;
			*p++ = column == GS_COLUMN_TIME;
			if (column == GS_COLUMN_SHAPE)
				p = gs_put_bytes(p, "\0", 1);
			else if (column == GS_COLUMN_TIME)
				p = gs_put_bytes(p, "\0\0", 2);
			else if (column == GS_COLUMN_COUNT && strchr(runs[i].template, '\3') &&
					 runs[i].template[0] == '[')
				p = gs_put_bytes(p, "\2\2", 2);
			else if (column == GS_COLUMN_COUNT)
			{
				char count[1] = {(char) gs_zigzag(runs[i].count)};

				p = gs_put_bytes(p, count, 1);
			}
			else
				*p++ = 0;
		}
		error = gs_columns_decode(columns, (size_t) (p - columns), back, raw_len);
		if (runs[i].made)
			ok(error == NULL && memcmp(back, raw, raw_len) == 0, "run %zu: %s", i,
			   error ? error : "is read");
		else
			ok(error != NULL, "run %zu: refused", i);
	}
}

static void
test_damage(void)
{
	GsPayload payload;
	size_t raw_len = make_raw(50, odd, true, &payload);
	size_t len = gs_columns_encode(&payload, columns, sizeof(columns));
	int survived = 0;

	/* whatever comes out: no read or write out of bounds (sanitizers), and an end */
	for (size_t i = 0; i < len; i++)
	{
		for (int bit = 0; bit < 8; bit++)
		{
			columns[i] ^= (char) (1 << bit);
			if (gs_columns_decode(columns, len, back, raw_len) == NULL)
				survived++;
			columns[i] ^= (char) (1 << bit);
		}
	}
	ok(survived < (int) len * 8, "most changed bits are noticed before any checksum");
	is(gs_columns_decode(columns, len, back, raw_len), NULL, "and the original is whole");
	is(gs_columns_decode("", 0, back, 1), "columns are empty", "nothing");
	is(gs_columns_decode("\1", 1, back, 1), "columns have an unknown format", "format 1");
}

static void
test_dictionaries(void)
{
	static const char content[] =
		"{\"move\":1,\"to\":\"e4\"} what many games have in common";
	static const char text[] =
		"a game: {\"move\":1,\"to\":\"e4\"} what many games have in common";
	ZSTD_CDict *compress = ZSTD_createCDict(content, sizeof(content), 3);
	ZSTD_DDict *decompress = ZSTD_createDDict(content, sizeof(content));
	char with[200];
	char without[200];
	char out[sizeof(text)];
	const char *error;
	size_t n =
		gs_payload_compress(text, sizeof(text), 3, compress, with, sizeof(with), &error);
	size_t m = gs_payload_compress(text, sizeof(text), 3, NULL, without, sizeof(without),
								   &error);

	ok(n > 0 && n < m, "smaller with a dictionary");
	is(gs_payload_decompress(with, n, decompress, out, sizeof(out)), NULL, "with it");
	ok(memcmp(text, out, sizeof(text)) == 0, "the same bytes");
	ok(gs_payload_decompress(with, n, NULL, out, sizeof(out)) != NULL ||
		   memcmp(text, out, sizeof(text)) != 0,
	   "not without it");
	is(gs_payload_decompress(without, m, NULL, out, sizeof(out)), NULL,
	   "the contexts forget a dictionary");
	ZSTD_freeCDict(compress);
	ZSTD_freeDDict(decompress);
}

int
main(void)
{
	test_round_trips();
	test_times();
	test_vectors();
	test_runs();
	test_damage();
	test_dictionaries();
	return tap_done();
}
