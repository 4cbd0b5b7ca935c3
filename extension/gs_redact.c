/*-------------------------------------------------------------------------
 *
 * gs_redact.c
 *	  Replacing a string in JSON text.
 *
 * The model: outside of strings JSON has no quotation marks, so strings are
 * found by going from mark to mark; inside, a backslash takes the byte behind
 * it along.  A string is compared while its escapes are decoded, byte by byte,
 * and nothing is kept.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_redact.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* What is left of the name to be compared. */
typedef struct Rest
{
	const char *p;
	const char *end;
} Rest;

static bool
take(Rest *rest, unsigned char byte)
{
	if (rest->p == rest->end || (unsigned char) *rest->p != byte)
		return false;
	rest->p++;
	return true;
}

static bool
take_code(Rest *rest, uint32_t code)
{
	if (code < 0x80)
		return take(rest, code);
	if (code < 0x800)
		return take(rest, 0xC0 | code >> 6) && take(rest, 0x80 | (code & 0x3F));
	if (code < 0x10000)
		return take(rest, 0xE0 | code >> 12) && take(rest, 0x80 | (code >> 6 & 0x3F)) &&
			   take(rest, 0x80 | (code & 0x3F));
	return take(rest, 0xF0 | code >> 18) && take(rest, 0x80 | (code >> 12 & 0x3F)) &&
		   take(rest, 0x80 | (code >> 6 & 0x3F)) && take(rest, 0x80 | (code & 0x3F));
}

static bool
hex4(const char *p, const char *end, uint32_t *code)
{
	*code = 0;
	if (end - p < 4)
		return false;
	for (int i = 0; i < 4; i++)
	{
		char c = p[i];
		uint32_t digit;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			digit = c - 'A' + 10;
		else
			return false;
		*code = *code << 4 | digit;
	}
	return true;
}

/* Behind "\u"; a surrogate that stands alone is in no name. */
static bool
take_unicode(Rest *rest, const char **p, const char *end)
{
	uint32_t code;
	uint32_t low;

	if (!hex4(*p, end, &code))
		return false;
	*p += 4;
	if (code >= 0xD800 && code < 0xDC00)
	{
		if (end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u' ||
			!hex4(*p + 2, end, &low) || low < 0xDC00 || low > 0xDFFF)
			return false;
		*p += 6;
		code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
	}
	else if (code >= 0xDC00 && code < 0xE000)
		return false;
	return take_code(rest, code);
}

/* Behind a backslash. */
static bool
take_escape(Rest *rest, const char **p, const char *end)
{
	static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
	char c;

	if (*p == end)
		return false;
	c = *(*p)++;
	if (c == 'u')
		return take_unicode(rest, p, end);
	for (const char *e = escapes; *e; e += 2)
		if (e[0] == c)
			return take(rest, e[1]);
	return false;
}

/* Is what stands between two quotation marks the name? */
static bool
is_name(const GsRedaction *redaction, const char *p, const char *end)
{
	Rest rest = {redaction->name, redaction->name + redaction->name_len};

	while (p < end)
	{
		char c = *p++;

		if (c == '\\' ? !take_escape(&rest, &p, end) : !take(&rest, c))
			return false;
	}
	return rest.p == rest.end;
}

/* The mark that ends a string; NULL if there is none. */
static const char *
end_of_string(const char *p, const char *end)
{
	for (; p < end; p++)
	{
		if (*p == '"')
			return p;
		if (*p == '\\' && ++p == end)
			return NULL;
	}
	return NULL;
}

static size_t
put(char *dst, size_t at, const char *bytes, size_t len)
{
	if (dst != NULL && len > 0)
		memcpy(dst + at, bytes, len);
	return at + len;
}

size_t
gs_redact(const GsRedaction *redaction, const char *json, size_t len, char *dst,
		  size_t *found)
{
	const char *p = json;
	const char *end = json + len;
	size_t at = 0;

	*found = 0;
	while (p < end)
	{
		const char *mark = memchr(p, '"', end - p);
		const char *close = mark ? end_of_string(mark + 1, end) : NULL;

		if (close == NULL)
			break;
		at = put(dst, at, p, mark + 1 - p);
		if (is_name(redaction, mark + 1, close))
		{
			at = put(dst, at, redaction->replacement, redaction->replacement_len);
			(*found)++;
		}
		else
			at = put(dst, at, mark + 1, close - mark - 1);
		at = put(dst, at, close, 1);
		p = close + 1;
	}
	return put(dst, at, p, end - p);
}
