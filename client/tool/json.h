/*
 * json.h: find one's way in a JSON text without changing a byte of it.
 *
 * A document refers to the caller's text, which must outlive it.  Nodes are
 * small integers, the root is 0, JSON_NONE is "no such node".
 */
#ifndef GAMESTATE_CLIENT_JSON_H
#define GAMESTATE_CLIENT_JSON_H

#include "util.h"

typedef struct JsonDoc JsonDoc;
typedef int JsonNode;

#define JSON_ROOT 0
#define JSON_NONE (-1)

typedef enum JsonType
{
	JSON_OBJECT,
	JSON_ARRAY,
	JSON_STRING,
	JSON_NUMBER,
	JSON_BOOLEAN,
	JSON_NULL
} JsonType;

/* A piece of the text, as it stands there: strings with their quotes. */
typedef struct JsonSlice
{
	const char *data;
	size_t len;
} JsonSlice;

/*
 * NULL, and *error set to a constant string, if the text is not one JSON
 * value.  Only the structure is checked (the tokenizer is lenient about
 * stray commas and the spelling of numbers); the server checks the rest of
 * every piece that is sent to it.
 */
extern JsonDoc *json_parse(const char *text, size_t len, const char **error);
extern void json_free(JsonDoc *doc);

extern JsonType json_type(const JsonDoc *doc, JsonNode node);
extern JsonSlice json_slice(const JsonDoc *doc, JsonNode node);

/* A member of an object by its name; JSON_NONE if there is none. */
extern JsonNode json_member(const JsonDoc *doc, JsonNode object, const char *name);

/* Elements of an array, or values of an object, in order. */
extern int json_length(const JsonDoc *doc, JsonNode node);
extern JsonNode json_first(const JsonDoc *doc, JsonNode node);
extern JsonNode json_next(const JsonDoc *doc, JsonNode parent, JsonNode node);

/*
 * Append the decoded value of a string; false if it is no string, has a bad
 * escape, or contains \u0000 or half of a surrogate pair.
 */
extern bool json_string(const JsonDoc *doc, JsonNode node, Buf *out);

/* Is this a string with exactly this (unescaped) content? */
extern bool json_string_is(const JsonDoc *doc, JsonNode node, const char *value);

/* The value of an integer; false if it is none or does not fit. */
extern bool json_int(const JsonDoc *doc, JsonNode node, int64_t *value);

#endif /* GAMESTATE_CLIENT_JSON_H */
