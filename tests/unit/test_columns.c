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
	test_damage();
	test_dictionaries();
	return tap_done();
}
