/*
 * test_client.c: unit test of the client's helpers: JSON slices
 * (client/json.c), recorded games (client/records.c), the latency histogram
 * (client/hist.c), texts and numbers (client/util.c).
 *
 * Build: cc -std=gnu11 -Iclient tests/unit/test_client.c client/json.c
 *        client/records.c client/hist.c client/util.c -lm
 */
#include "hist.h"
#include "json.h"
#include "records.h"

#include <stdlib.h>

#include "tap.h"

/* A heap block of exactly len bytes, so that ASan sees one byte too far. */
static char *
exact_copy(const char *text)
{
	size_t len = strlen(text);
	char *copy = malloc(len > 0 ? len : 1);

	for (size_t i = 0; i < len; i++)
		copy[i] = text[i];
	return copy;
}

static void
is_slice(const JsonDoc *doc, JsonNode node, const char *expected, const char *name)
{
	JsonSlice slice = {"(none)", 6};
	Buf copy = {0};

	if (node != JSON_NONE)
		slice = json_slice(doc, node);
	buf_append(&copy, slice.data, slice.len);
	is(copy.data, expected, name);
	buf_free(&copy);
}

static void
test_json_tree(void)
{
	char *text =
		exact_copy(" {\"a\" : [1, -2.50e1,\"x\\\"y\" ,{} , [ ]],\"b\":{\"c\":null,"
				   "\"d\":\"\\u00e9\\ud83d\\ude00\"},\"a\":true}");
	const char *error;
	JsonDoc *doc = json_parse(
		text,
		strlen(
			" {\"a\" : [1, -2.50e1,\"x\\\"y\" ,{} , [ ]],\"b\":{\"c\":null,\"d\":\"\\u00e9\\ud83d\\ude00\"},\"a\":true}"),
		&error);
	JsonNode a = json_member(doc, JSON_ROOT, "a");
	JsonNode b = json_member(doc, JSON_ROOT, "b");
	JsonNode node;
	Buf value = {0};

	ok(json_type(doc, a) == JSON_ARRAY && json_length(doc, a) == 5, "an array of five");
	is_slice(doc, a, "[1, -2.50e1,\"x\\\"y\" ,{} , [ ]]", "its text as it stands there");
	node = json_first(doc, a);
	is_slice(doc, node, "1", "first element");
	node = json_next(doc, a, node);
	is_slice(doc, node, "-2.50e1", "a number is not written anew");
	node = json_next(doc, a, node);
	is_slice(doc, node, "\"x\\\"y\"", "a string has its quotes and escapes");
	ok(json_string(doc, node, &value), "it can be decoded");
	is(value.data, "x\"y", "to its value");
	node = json_next(doc, a, node);
	ok(json_type(doc, node) == JSON_OBJECT && json_first(doc, node) == JSON_NONE,
	   "an empty object");
	node = json_next(doc, a, node);
	is_slice(doc, node, "[ ]", "last element");
	ok(json_next(doc, a, node) == JSON_NONE, "and no more");
	is_slice(doc, json_first(doc, b), "null", "the first value of an object");
	ok(json_type(doc, json_member(doc, b, "c")) == JSON_NULL, "null");
	node = json_next(doc, b, json_first(doc, b));
	buf_reset(&value);
	ok(json_string(doc, node, &value), "escapes are decoded");
	is(value.data, "\xC3\xA9\xF0\x9F\x98\x80", "into UTF-8");
	ok(json_next(doc, b, node) == JSON_NONE, "the object ends there");
	ok(json_member(doc, b, "a") == JSON_NONE, "a member of another object is not found");
	ok(json_member(doc, a, "a") == JSON_NONE, "an array has no members");
	buf_free(&value);
	json_free(doc);
	free(text);
}

static void
test_json_errors(void)
{
	static const char *const bad[] = {
		"",
		" ",
		"{",
		"[1",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1",
		"[\"a\":1]",
		"\"abc",
		"{} {}",
		"[1]]",
		"{1:2}",
		"{\"a\" \"b\"}",
		"[tru\x01]",
		"[x]",
		"\"\\x\"",
		"[\"\\u12g4\"]",
	};
	static const char *const not_strings[] = {"[\"\\u0000\"]", "[\"\\ud800\"]",
											  "[\"\\udc00\\ud800\"]", "[1]", "[null]"};
	const char *error;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		char *text = exact_copy(bad[i]);
		JsonDoc *doc = json_parse(text, strlen(bad[i]), &error);

		ok(doc == NULL, "not JSON: %s", bad[i]);
		json_free(doc);
		free(text);
	}
	for (size_t i = 0; i < sizeof(not_strings) / sizeof(not_strings[0]); i++)
	{
		char *text = exact_copy(not_strings[i]);
		JsonDoc *doc = json_parse(text, strlen(not_strings[i]), &error);
		Buf value = {0};

		ok(doc != NULL && !json_string(doc, 1, &value), "not a text: %s", not_strings[i]);
		buf_free(&value);
		json_free(doc);
		free(text);
	}
}

/* Open a record from a text. */
static bool
open_text(const char *text, RecordView *view, const char **error)
{
	Record record = {.file = "test", .line = 1, .text = text, .len = strlen(text)};

	return record_open(&record, view, error);
}

static void
is_state(const RecordView *view, int moves, const char *expected)
{
	Buf state = {0};

	record_state(view, moves, &state);
	is(state.data, expected, "state");
	buf_free(&state);
}

static void
test_records(void)
{
	RecordView view;
	const char *error;
	Buf text = {0};

	ok(open_text(
		   "{\"game_type\":\"chess\",\"players\":[\"A, \\\"b\\\\\",\"B\"],\"result\":null,"
		   "\"meta\":{\"x\": 1},\"moves\":[{\"san\":\"e4\",\"clk\":\"1:00\"},{\"san\":\"e5\"},"
		   "{\"san\":\"d4\"}]}",
		   &view, &error),
	   "a chess record");
	is_state(&view, 0,
			 "{\"ply\":0,\"to_move\":\"white\",\"last\":null,"
			 "\"clocks\":{\"white\":null,\"black\":null}}");
	is_state(&view, 3,
			 "{\"ply\":3,\"to_move\":\"black\",\"last\":\"d4\","
			 "\"clocks\":{\"white\":\"1:00\",\"black\":null}}");
	is(record_player(&view, 0), "A, \"b\\", "white moves first");
	is(record_player(&view, 1), "B", "then black");
	record_players_literal(&view, &text);
	is(text.data, "{\"A, \\\"b\\\\\",\"B\"}", "players as an array literal");
	record_text(&view, view.metadata, &text);
	is(text.data, "{\"x\": 1}", "metadata to the letter");
	ok(view.result == JSON_NONE, "no result");
	record_close(&view);

	ok(open_text(
		   "{\"game_type\":\"18xx\",\"players\":[\"P\",\"Q\"],\"result\":{},\"meta\":{\"players\":"
		   "[{\"id\":7,\"name\":\"Q\"},{\"id\":8,\"name\":\"P\"},{\"id\":9,\"name\":\"Z\"}]},"
		   "\"moves\":[{\"type\":\"bid\",\"entity\":7,\"entity_type\":\"player\",\"id\":1},"
		   "{\"type\":\"lay\",\"entity\":\"C\",\"entity_type\":\"corporation\",\"id\":2,\"user\":8},"
		   "{\"type\":\"lay\",\"entity\":\"C\",\"entity_type\":\"corporation\",\"id\":3},"
		   "{\"type\":\"x\",\"entity\":9,\"entity_type\":\"player\",\"id\":4}]}",
		   &view, &error),
	   "an 18xx record");
	is(record_player(&view, 0), "Q", "the player who acts");
	is(record_player(&view, 1), "P", "the user who acts for a corporation");
	is(record_player(&view, 2), NULL, "nobody is named");
	is(record_player(&view, 3), NULL, "somebody who is not at the table");
	is_state(&view, 2,
			 "{\"actions\":2,\"last_id\":2,\"type\":\"lay\",\"entity\":\"C\","
			 "\"entity_type\":\"corporation\"}");
	record_close(&view);

	ok(open_text(
		   "{\"game_type\":\"go\",\"players\":[],\"moves\":[1,\"a\"],\"initial_state\":{\"s\": 0},"
		   "\"states\":[{\"s\": 1},[ 2]]}",
		   &view, &error),
	   "a record with states");
	is_state(&view, 0, "{\"s\": 0}");
	is_state(&view, 2, "[ 2]");
	is(record_player(&view, 0), NULL, "nobody is named");
	record_close(&view);
	buf_free(&text);
}

static void
test_record_errors(void)
{
	static const char *const bad[] = {
		"[]",
		"{\"players\":[],\"moves\":[]}",
		"{\"game_type\":1,\"players\":[],\"moves\":[]}",
		"{\"game_type\":\"x\",\"moves\":[]}",
		"{\"game_type\":\"x\",\"players\":[1],\"moves\":[]}",
		"{\"game_type\":\"x\",\"players\":[\"a\",2],\"moves\":[]}",
		"{\"game_type\":\"x\",\"players\":[]}",
		"{\"game_type\":\"x\",\"players\":[],\"moves\":{}}",
		"{\"game_type\":\"x\",\"players\":[],\"moves\":[1],\"initial_state\":{},\"states\":[]}",
		"{\"game_type\":\"x\",\"players\":[],\"moves\":[1],\"states\":[{}]}",
		"{\"game_type\":\"x\",\"players\":[],\"moves\":[",
	};
	RecordView view;
	const char *error;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(!open_text(bad[i], &view, &error) && error != NULL, "not a record: %s",
		   bad[i]);
}

static bool
is_near(uint64_t got, uint64_t expected)
{
	return got >= expected && (double) got <= (double) expected * 1.001;
}

static void
test_hist(void)
{
	Hist *hist = hist_create();

	ok(hist_percentile(hist, 50) == 0, "an empty histogram");
	for (uint64_t i = 1; i <= 1000; i++)
		hist_add(hist, i);
	ok(hist_percentile(hist, 50) == 500 && hist_percentile(hist, 99) == 990,
	   "small values are exact");
	ok(hist_percentile(hist, 0) == 1 && hist_percentile(hist, 100) == 1000,
	   "from first to last");
	for (uint64_t i = 1; i <= 9000; i++)
		hist_add(hist, i * 1000000);
	ok(is_near(hist_percentile(hist, 50), UINT64_C(4000000000)),
	   "large values within a thousandth");
	ok(is_near(hist_percentile(hist, 99), UINT64_C(8900000000)), "at any percentile");
	hist_add(hist, UINT64_C(123456789012345));
	ok(hist_percentile(hist, 100) == UINT64_C(123456789012345), "the maximum is exact");
	hist_add(hist, UINT64_MAX);
	ok(hist_percentile(hist, 100) == UINT64_MAX && hist_count(hist) == 10002,
	   "any value fits");
	hist_free(hist);
}

static void
test_formats(void)
{
	char number[NUMBER_SIZE];
	Buf text = {0};

	is(format_count(number, 0), "0", "a count");
	is(format_count(number, 999), "999", "a count");
	is(format_count(number, 1234567), "1,234,567", "a count");
	is(format_bytes(number, 999), "999 B", "a size");
	is(format_bytes(number, 1234), "1.23 kB", "a size");
	is(format_bytes(number, 999499999), "999 MB", "a size");
	is(format_bytes(number, 999999999), "1.00 GB", "a size");
	is(format_duration(number, 1500), "1.50 us", "a duration");
	is(format_duration(number, 12345678), "12.3 ms", "a duration");
	is(format_duration(number, 999999999), "1.00 s", "a duration");
	buf_json_string(&text, "a\"b\\\n\x01\xC3\xA9");
	is(text.data, "\"a\\\"b\\\\\\u000a\\u0001\xC3\xA9\"", "a JSON string");
	buf_free(&text);
}

int
main(void)
{
	test_json_tree();
	test_json_errors();
	test_records();
	test_record_errors();
	test_hist();
	test_formats();
	return tap_done();
}
