/*-------------------------------------------------------------------------
 *
 * fuzz_entry.c
 *	  libFuzzer target: the codec of log entries.
 *
 * Build: clang -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined
 *		  -Iextension tests/fuzz/fuzz_entry.c extension/gs_entry.c
 *
 * Any bytes either decode, and then encode to the very same bytes (encodings
 * are canonical), or give an error text.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_entry.h"

#include <stdlib.h>
#include <string.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int64_t base;
	const char *p;
	const char *end;

	if (size < sizeof(base))
		return 0;
	memcpy(&base, data, sizeof(base));
	p = (const char *) data + sizeof(base);
	end = (const char *) data + size;

	while (p < end)
	{
		const char *start = p;
		const char *error;
		GsEntry e;
		size_t len;
		char *copy;

		error = gs_entry_decode(&p, end, base, &e);
		if (error != NULL)
		{
			if (error[0] == '\0')
				abort();
			return 0;
		}
		if (p <= start || p > end || gs_kind_name(e.kind) == NULL)
			abort();

		len = gs_entry_size(&e, base);
		if (len != (size_t) (p - start))
			abort();
		copy = malloc(len);
		if (gs_entry_encode(&e, base, copy) != copy + len ||
			memcmp(copy, start, len) != 0)
			abort();
		free(copy);
	}
	return 0;
}
