/*
 * json.c: the tree view of json.h over the tokens of the jsmn library.
 *
 * The model:
 * 1. jsmn gives tokens with byte offsets into the text: exactly what is needed
 *    to send a recorded move to the server as it was recorded.
 * 2. A key is a token whose only child is its value, so an object's children
 *    are its keys.  Beside each token we keep the size of its subtree, which
 *    makes the next sibling one addition away.
 * 3. After tokenizing, one pass checks the shape (keys are strings, one value
 *    each, one root), so that the functions here need not doubt the tree.
 */
#include "json.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define JSMN_STATIC
#define JSMN_STRICT
#define JSMN_PARENT_LINKS
#include <jsmn.h>

struct JsonDoc
{
	const char *text;
	jsmntok_t *tokens;
	int *subtree; /* tokens in the subtree, itself included */
	int count;
};

/* Tokenize the whole text, with as many tokens as that takes. */
static int
tokenize(JsonDoc *doc, size_t len)
{
	size_t capacity = 0;
	jsmn_parser parser;
	int result;

	jsmn_init(&parser);
	do
	{
		doc->tokens = grow_array(doc->tokens, &capacity, capacity + 1, sizeof(jsmntok_t));
		result =
			jsmn_parse(&parser, doc->text, len, doc->tokens, (unsigned int) capacity);
	} while (result == JSMN_ERROR_NOMEM && capacity < INT_MAX / 4);

	/* After a restart the return value counts from the start all the same. */
	return result < 0 ? result : (int) parser.toknext;
}

static bool
is_key(const JsonDoc *doc, int i)
{
	int parent = doc->tokens[i].parent;

	return parent >= 0 && doc->tokens[parent].type == JSMN_OBJECT;
}

/* Does each token have the children that its kind may have? */
static bool
shape_is_sound(const JsonDoc *doc)
{
	for (int i = 0; i < doc->count; i++)
	{
		const jsmntok_t *token = &doc->tokens[i];

		if (is_key(doc, i))
		{
			if (token->type != JSMN_STRING || token->size != 1)
				return false;
		}
		else if (token->type == JSMN_STRING || token->type == JSMN_PRIMITIVE)
		{
			if (token->size != 0)
				return false;
		}
	}
	return doc->subtree[0] == doc->count;
}

JsonDoc *
json_parse(const char *text, size_t len, const char **error)
{
	JsonDoc *doc;

	if (len > INT_MAX / 2)
	{
		*error = "the text is too long";
		return NULL;
	}
	doc = xcalloc(1, sizeof(*doc));
	doc->text = text;
	doc->count = tokenize(doc, len);
	if (doc->count <= 0)
	{
		*error = doc->count == 0				 ? "the text is empty"
				 : doc->count == JSMN_ERROR_PART ? "the text ends too early"
												 : "the text is not valid JSON";
		json_free(doc);
		return NULL;
	}
	doc->subtree = xmalloc((size_t) doc->count * sizeof(int));
	for (int i = 0; i < doc->count; i++)
		doc->subtree[i] = 1;
	for (int i = doc->count - 1; i > 0; i--)
		if (doc->tokens[i].parent >= 0)
			doc->subtree[doc->tokens[i].parent] += doc->subtree[i];
	if (!shape_is_sound(doc))
	{
		*error = "the text is not valid JSON";
		json_free(doc);
		return NULL;
	}
	return doc;
}

void
json_free(JsonDoc *doc)
{
	if (doc == NULL)
		return;
	free(doc->tokens);
	free(doc->subtree);
	free(doc);
}

JsonType
json_type(const JsonDoc *doc, JsonNode node)
{
	const jsmntok_t *token = &doc->tokens[node];

	switch (token->type)
	{
		case JSMN_OBJECT:
			return JSON_OBJECT;
		case JSMN_ARRAY:
			return JSON_ARRAY;
		case JSMN_STRING:
			return JSON_STRING;
		default:
			break;
	}
	switch (doc->text[token->start])
	{
		case 'n':
			return JSON_NULL;
		case 't':
		case 'f':
			return JSON_BOOLEAN;
		default:
			return JSON_NUMBER;
	}
}

JsonSlice
json_slice(const JsonDoc *doc, JsonNode node)
{
	const jsmntok_t *token = &doc->tokens[node];
	int quote = token->type == JSMN_STRING ? 1 : 0;
	JsonSlice slice;

	slice.data = doc->text + token->start - quote;
	slice.len = (size_t) token->end - (size_t) token->start + 2 * (size_t) quote;
	return slice;
}

bool
json_string_is(const JsonDoc *doc, JsonNode node, const char *value)
{
	const jsmntok_t *token = &doc->tokens[node];
	size_t len = (size_t) (token->end - token->start);

	return token->type == JSMN_STRING && len == strlen(value) &&
		   memcmp(doc->text + token->start, value, len) == 0;
}

JsonNode
json_member(const JsonDoc *doc, JsonNode object, const char *name)
{
	int end = object + doc->subtree[object];

	if (json_type(doc, object) != JSON_OBJECT)
		return JSON_NONE;
	for (int key = object + 1; key < end; key += doc->subtree[key])
		if (json_string_is(doc, key, name))
			return key + 1;
	return JSON_NONE;
}

int
json_length(const JsonDoc *doc, JsonNode node)
{
	return doc->tokens[node].size;
}

JsonNode
json_first(const JsonDoc *doc, JsonNode node)
{
	if (doc->tokens[node].size == 0)
		return JSON_NONE;
	return doc->tokens[node].type == JSMN_OBJECT ? node + 2 : node + 1;
}

JsonNode
json_next(const JsonDoc *doc, JsonNode parent, JsonNode node)
{
	int next = node + doc->subtree[node];

	if (next >= parent + doc->subtree[parent])
		return JSON_NONE;
	return doc->tokens[parent].type == JSMN_OBJECT ? next + 1 : next;
}

/* Four hexadecimal digits, or -1. */
static int
hex4(const char *p, const char *end)
{
	int value = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		char c = p[i];
		int digit;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			digit = c - 'A' + 10;
		else
			return -1;
		value = value * 16 + digit;
	}
	return value;
}

static void
append_utf8(Buf *out, int c)
{
	if (c < 0x80)
		buf_putc(out, (char) c);
	else if (c < 0x800)
	{
		buf_putc(out, (char) (0xC0 | (c >> 6)));
		buf_putc(out, (char) (0x80 | (c & 0x3F)));
	}
	else if (c < 0x10000)
	{
		buf_putc(out, (char) (0xE0 | (c >> 12)));
		buf_putc(out, (char) (0x80 | ((c >> 6) & 0x3F)));
		buf_putc(out, (char) (0x80 | (c & 0x3F)));
	}
	else
	{
		buf_putc(out, (char) (0xF0 | (c >> 18)));
		buf_putc(out, (char) (0x80 | ((c >> 12) & 0x3F)));
		buf_putc(out, (char) (0x80 | ((c >> 6) & 0x3F)));
		buf_putc(out, (char) (0x80 | (c & 0x3F)));
	}
}

/*
 * Decode what follows a "\u"; *p moves past it, past both halves of a
 * surrogate pair.
 */
static bool
decode_unicode_escape(const char **p, const char *end, Buf *out)
{
	int c = hex4(*p, end);

	if (c <= 0 || (c >= 0xDC00 && c <= 0xDFFF))
		return false;
	*p += 4;
	if (c >= 0xD800 && c <= 0xDBFF)
	{
		int low;

		if (end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u')
			return false;
		low = hex4(*p + 2, end);
		if (low < 0xDC00 || low > 0xDFFF)
			return false;
		c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
		*p += 6;
	}
	append_utf8(out, c);
	return true;
}

bool
json_string(const JsonDoc *doc, JsonNode node, Buf *out)
{
	static const char escapes[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";
	const jsmntok_t *token = &doc->tokens[node];
	const char *p = doc->text + token->start;
	const char *end = doc->text + token->end;

	if (token->type != JSMN_STRING)
		return false;
	buf_append(out, "", 0);
	while (p < end)
	{
		const char *escape;

		if (*p == '\0')
			return false;
		if (*p != '\\')
		{
			buf_putc(out, *p++);
			continue;
		}
		if (++p >= end)
			return false;
		if (*p == 'u')
		{
			p++;
			if (!decode_unicode_escape(&p, end, out))
				return false;
			continue;
		}
		escape = *p != '\0' ? strchr(escapes, *p) : NULL;
		if (escape == NULL)
			return false;
		buf_putc(out, meanings[escape - escapes]);
		p++;
	}
	return true;
}

bool
json_int(const JsonDoc *doc, JsonNode node, int64_t *value)
{
	JsonSlice slice = json_slice(doc, node);
	char digits[24];
	char *end;
	long long result;

	if (json_type(doc, node) != JSON_NUMBER || slice.len >= sizeof(digits))
		return false;
	memcpy(digits, slice.data, slice.len);
	digits[slice.len] = '\0';
	errno = 0;
	result = strtoll(digits, &end, 10);
	if (errno != 0 || end == digits || *end != '\0')
		return false;
	*value = result;
	return true;
}
