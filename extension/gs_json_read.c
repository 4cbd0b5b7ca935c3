/*-------------------------------------------------------------------------
 *
 * gs_json_read.c
 *	  Reading JSON text where it stands: values that are passed over, names.
 *
 * The model: what is not looked into is passed over by counting brackets.  Names
 * are compared byte by byte, their escapes undone on the way ("a" is "\u0061").
 *
 * Every byte is read through a cursor that knows its end.  What may not be done here:
 * include a PostgreSQL header, allocate, keep state.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_json_read.h"

#include <string.h>

/* ----------
 * reading
 * ----------
 */

/* Behind the string that begins here. */
static bool
skip_string(GsJsonCursor *c)
{
	for (c->p++; c->p < c->end; c->p++)
	{
		if (*c->p == '"')
		{
			c->p++;
			return true;
		}
		if (*c->p == '\\')
			c->p++;
	}
	c->p = c->end;
	return false;
}

/* Behind the value that begins here, whatever is in it. */
bool
gs_json_skip_value(GsJsonCursor *c)
{
	const char *start = c->p;
	size_t depth = 0;

	while (c->p < c->end)
	{
		switch (*c->p)
		{
			case '"':
				if (!skip_string(c))
					return false;
				break;
			case '{':
			case '[':
				depth++;
				c->p++;
				break;
			case '}':
			case ']':
				if (depth == 0)
					return c->p > start; /* a scalar in an object ends here */
				depth--;
				c->p++;
				break;
			default:
				if (depth == 0 &&
					(*c->p == ',' || *c->p == ':' || gs_json_is_space(*c->p)))
					return c->p > start;
				c->p++;
				continue;
		}
		if (depth == 0)
			return true;
	}
	return depth == 0 && c->p > start;
}

/*
 * The name of a member and the colon behind it; the cursor stands at the value
 * then.
 */
bool
gs_json_take_key(GsJsonCursor *c, GsJsonText *key)
{
	gs_json_skip_space(c);
	if (gs_json_peek(c) != '"')
		return false;
	key->data = c->p + 1;
	if (!skip_string(c))
		return false;
	key->len = (size_t) (c->p - key->data) - 1;
	gs_json_skip_space(c);
	if (gs_json_peek(c) != ':')
		return false;
	c->p++;
	gs_json_skip_space(c);
	return true;
}

bool
gs_json_take_value(GsJsonCursor *c, GsJsonText *value)
{
	value->data = c->p;
	if (!gs_json_skip_value(c))
		return false;
	value->len = (size_t) (c->p - value->data);
	return true;
}

/* ----------
 * names
 * ----------
 */

/* A name, byte by byte, its escapes undone. */
typedef struct Decoder
{
	GsJsonCursor c;
	unsigned char bytes[4]; /* of an escape, in UTF-8 */
	int n;
	int i;
} Decoder;

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Four digits at the cursor; -1 = there are none, and it stays */
static int32_t
take_hex(GsJsonCursor *c)
{
	int32_t code = 0;

	if (c->end - c->p < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		int digit = hex_digit(c->p[i]);

		if (digit < 0)
			return -1;
		code = code << 4 | digit;
	}
	c->p += 4;
	return code;
}

/* Lone surrogates are encoded as if they were characters, which no text has. */
static void
put_code(Decoder *d, uint32_t code)
{
	d->i = d->n = 0;
	if (code < 0x80)
		d->bytes[d->n++] = (unsigned char) code;
	else if (code < 0x800)
	{
		d->bytes[d->n++] = (unsigned char) (0xC0 | code >> 6);
		d->bytes[d->n++] = (unsigned char) (0x80 | (code & 0x3F));
	}
	else
	{
		if (code < 0x10000)
			d->bytes[d->n++] = (unsigned char) (0xE0 | code >> 12);
		else
		{
			d->bytes[d->n++] = (unsigned char) (0xF0 | code >> 18);
			d->bytes[d->n++] = (unsigned char) (0x80 | (code >> 12 & 0x3F));
		}
		d->bytes[d->n++] = (unsigned char) (0x80 | (code >> 6 & 0x3F));
		d->bytes[d->n++] = (unsigned char) (0x80 | (code & 0x3F));
	}
}

static void
take_escape(Decoder *d)
{
	static const char letters[] = "bfnrt";
	static const char meanings[] = "\b\f\n\r\t";
	char letter = gs_json_peek(&d->c);
	const char *found = letter ? strchr(letters, letter) : NULL;
	int32_t code;

	if (d->c.p < d->c.end)
		d->c.p++;
	if (letter != 'u' || (code = take_hex(&d->c)) < 0)
	{
		/* a quote, a backslash, a slash mean themselves */
		put_code(d, (unsigned char) (found ? meanings[found - letters] : letter));
		if (!found)
			d->bytes[0] = (unsigned char) letter, d->n = 1;
		return;
	}
	if (code >= 0xD800 && code < 0xDC00 && d->c.end - d->c.p >= 6 && d->c.p[0] == '\\' &&
		d->c.p[1] == 'u')
	{
		GsJsonCursor ahead = {d->c.p + 2, d->c.end};
		int32_t low = take_hex(&ahead);

		if (low >= 0xDC00 && low < 0xE000)
		{
			d->c = ahead;
			code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
		}
	}
	put_code(d, (uint32_t) code);
}

/* -1 = the end */
static int
next_byte(Decoder *d)
{
	if (d->i < d->n)
		return d->bytes[d->i++];
	if (d->c.p == d->c.end)
		return -1;
	if (*d->c.p != '\\')
		return (unsigned char) *d->c.p++;
	d->c.p++;
	take_escape(d);
	return d->bytes[d->i++];
}

static Decoder
decode(const GsJsonText *key)
{
	return (Decoder){.c = {key->data, key->data + key->len}};
}

static bool
has_escape(const GsJsonText *key)
{
	return key->len > 0 && memchr(key->data, '\\', key->len) != NULL;
}

/* FNV-1a, of what the name means and of where it stands */
uint64_t
gs_json_key_hash(const GsJsonText *key, int32_t object)
{
	uint64_t hash = UINT64_C(0xCBF29CE484222325) ^ (uint64_t) object;
	Decoder d = decode(key);
	int byte;

	if (!has_escape(key))
		for (size_t i = 0; i < key->len; i++)
			hash = (hash ^ (unsigned char) key->data[i]) * UINT64_C(0x100000001B3);
	else
		while ((byte = next_byte(&d)) >= 0)
			hash = (hash ^ (uint64_t) byte) * UINT64_C(0x100000001B3);
	return hash ^ hash >> 32;
}

bool
gs_json_same_key(const GsJsonText *a, const GsJsonText *b)
{
	Decoder x = decode(a);
	Decoder y = decode(b);
	int byte;

	if (!has_escape(a) && !has_escape(b))
		return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
	do
	{
		byte = next_byte(&x);
		if (byte != next_byte(&y))
			return false;
	} while (byte >= 0);
	return true;
}
