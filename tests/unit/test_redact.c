/*-------------------------------------------------------------------------
 *
 * test_redact.c
 *	  Unit test of replacing a string in JSON text (extension/gs_redact.c).
 *
 * Build: cc -std=gnu11 -Iextension tests/unit/test_redact.c extension/gs_redact.c
 *
 *-------------------------------------------------------------------------
 */
#include "gs_redact.h"

#include <stdlib.h>
#include <string.h>

#include "tap.h"

/* A heap block of exactly that length, so that reading beyond it is noticed. */
static char *
block_of(const void *bytes, size_t len)
{
	char *block = malloc(len > 0 ? len : 1);

	memcpy(block, bytes, len);
	return block;
}

/* What comes out when name becomes "X-1". */
static char *
redact(const char *name, const char *json, size_t *found)
{
	GsRedaction redaction = {name, strlen(name), "X-1", 3};
	size_t len = strlen(json);
	char *copy = block_of(json, len);
	size_t counted;
	size_t size;
	char *dst;

	size = gs_redact(&redaction, copy, len, NULL, &counted);
	dst = malloc(size + 1);
	dst[size] = '\0';
	if (gs_redact(&redaction, copy, len, dst, found) != size || counted != *found ||
		dst[size] != '\0')
		*found = (size_t) -1;
	free(copy);
	return dst;
}

static void
check(const char *name, const char *json, size_t expected, const char *result)
{
	size_t found;
	char *dst = redact(name, json, &found);

	ok(found == expected && strcmp(dst, result) == 0, "%s", json);
	if (found != expected || strcmp(dst, result) != 0)
		printf("# %zu: %s\n", found, dst);
	free(dst);
}

int
main(void)
{
	check("ann", "\"ann\"", 1, "\"X-1\"");
	check("ann",
		  "{\"ann\" : 1, \"b\":[\"ann\",  \"anna\", \"an\", \" ann\", \"Ann\", ann]}", 2,
		  "{\"X-1\" : 1, \"b\":[\"X-1\",  \"anna\", \"an\", \" ann\", \"Ann\", ann]}");
	check("ann", "\"\\u0061n\\u006E\"", 1, "\"X-1\"");
	check("ann", "\"\\\\ann\"", 0, "\"\\\\ann\"");
	check("ann", "\"\\\"ann\\\"\"", 0, "\"\\\"ann\\\"\"");
	check("\"ann\"", "\"\\\"ann\\\"\"", 1, "\"X-1\"");
	check("\\", "[\"\\\\\", \"\\u005c\", \"\\\\\\\\\"]", 2,
		  "[\"X-1\", \"X-1\", \"\\\\\\\\\"]");
	check("a/b", "[\"a\\/b\", \"a/b\"]", 2, "[\"X-1\", \"X-1\"]");
	check("\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\"", 1, "\"X-1\"");
	check("é", "[\"é\", \"\\u00e9\", \"\\u00E9\", \"e\\u0301\"]", 3,
		  "[\"X-1\", \"X-1\", \"X-1\", \"e\\u0301\"]");
	check("€", "[\"\\u20ac\", \"\\u20AC\\u20ac\"]", 1, "[\"X-1\", \"\\u20AC\\u20ac\"]");
	check("😀",
		  "[\"\\ud83d\\ude00\", \"\\ud83d\", \"\\ude00\", \"\\ud83d\\u0041\", \"😀\"]", 2,
		  "[\"X-1\", \"\\ud83d\", \"\\ude00\", \"\\ud83d\\u0041\", \"X-1\"]");
	/* what is no JSON stays, and is not read beyond its end */
	check("ann", "", 0, "");
	check("ann", "\"ann", 0, "\"ann");
	check("ann", "\"ann\\", 0, "\"ann\\");
	check("ann", "\"ann\\\"", 0, "\"ann\\\"");
	check("ann", "[\"\\u00\", \"\\u\", \"\\x\", \"ann\"]", 1,
		  "[\"\\u00\", \"\\u\", \"\\x\", \"X-1\"]");
	check("ann", "\"ann\"\"ann\"", 2, "\"X-1\"\"X-1\"");
	return tap_done();
}
