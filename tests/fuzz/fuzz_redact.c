/*-------------------------------------------------------------------------
 *
 * fuzz_redact.c
 *	  libFuzzer target: replacing a string in JSON text.
 *
 * Build: clang -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined
 *		  -Iextension tests/fuzz/fuzz_redact.c extension/gs_redact.c
 *
 * The first byte says how long the name is, then come the name and the text.
 * The length is what was said before; nothing found, nothing changed; what has
 * been replaced is not found again.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_redact.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(int condition)
{
	if (!condition)
		abort();
}

/* A heap block of exactly len bytes, so that ASan sees one byte too far. */
static char *
exact_copy(const void *data, size_t len)
{
	char *copy = malloc(len > 0 ? len : 1);

	if (len > 0)
		memcpy(copy, data, len);
	return copy;
}

static char *
redact(const GsRedaction *redaction, const char *json, size_t *len, size_t *found)
{
	size_t counted;
	size_t size = gs_redact(redaction, json, *len, NULL, &counted);
	char *dst = malloc(size > 0 ? size : 1);

	check(gs_redact(redaction, json, *len, dst, found) == size && *found == counted);
	*len = size;
	return dst;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t name_len = size > 0 ? data[0] % 16 : 0;
	GsRedaction redaction = {.replacement = "pseudonym-0123", .replacement_len = 14};
	char *name;
	char *json;
	char *once;
	char *twice;
	size_t json_len;
	size_t len;
	size_t found;

	if (size < 1 + name_len)
		return 0;
	json_len = len = size - 1 - name_len;
	name = exact_copy(data + 1, name_len);
	json = exact_copy(data + 1 + name_len, json_len);
	redaction.name = name;
	redaction.name_len = name_len;

	once = redact(&redaction, json, &len, &found);
	if (found == 0)
		check(len == json_len && memcmp(once, json, len) == 0);
	twice = redact(&redaction, once, &len, &found);
	check(found == 0);
	free(twice);
	free(once);
	free(json);
	free(name);
	return 0;
}
