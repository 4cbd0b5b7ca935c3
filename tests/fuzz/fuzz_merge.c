/*-------------------------------------------------------------------------
 *
 * fuzz_merge.c
 *	  libFuzzer target: JSON Merge Patch, applied and found.
 *
 * Build: clang -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined
 *		  -Iextension tests/fuzz/fuzz_merge.c extension/gs_merge.c
 *		  extension/gs_merge_diff.c extension/gs_json_read.c
 *
 * The first byte says what the rest is, the second how long its first part is:
 *	0: target and patch of anybody's making: an error, or a result that fits; and
 *	   two documents between which a patch is looked for
 *	1: the bytes choose two JSON documents: there is a result; the empty patch
 *	   leaves the target as it is; the patch again leaves the result as it is;
 *	   the patch that was found from one to the other leads there
 *
 *-------------------------------------------------------------------------
 */
#include "gs_merge.h"
#include "gs_merge_diff.h"

#include <stdlib.h>
#include <string.h>

#define DOCUMENT_MAX 4096

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

/* The result in a block of its own, or NULL. */
static char *
merge(const char *target, size_t target_len, const char *patch, size_t patch_len,
	  size_t *len)
{
	char *t = exact_copy(target, target_len);
	char *p = exact_copy(patch, patch_len);
	char *dst = malloc(target_len + patch_len > 0 ? target_len + patch_len : 1);
	void *scratch = malloc(gs_merge_scratch_size(p, patch_len));
	const char *wrong = gs_merge(t, target_len, p, patch_len, scratch, dst, len);

	free(t);
	free(p);
	free(scratch);
	if (wrong == NULL)
	{
		check(*len <= target_len + patch_len);
		return dst;
	}
	free(dst);
	return NULL;
}

/* The patch in a block of its own, or NULL. */
static char *
diff(const char *from, size_t from_len, const char *to, size_t to_len, size_t *len)
{
	char *f = exact_copy(from, from_len);
	char *t = exact_copy(to, to_len);
	char *dst = malloc(gs_merge_diff_room(f, from_len, to_len));
	void *scratch = malloc(gs_merge_diff_scratch_size(f, from_len, t, to_len) + 1);
	bool found = gs_merge_diff(f, from_len, t, to_len, scratch, dst, len);

	free(f);
	free(t);
	free(scratch);
	if (found)
		return dst;
	free(dst);
	return NULL;
}

/* From a document to another by the patch, if there is one: then nothing is left to say. */
static void
try_diff(const char *from, size_t from_len, const char *to, size_t to_len)
{
	size_t patch_len;
	size_t len;
	char *patch = diff(from, from_len, to, to_len, &patch_len);
	char *made;
	char *rest;

	if (patch == NULL)
	{
		check(memmem(to, to_len, "null", 4) != NULL);
		return;
	}
	made = merge(from, from_len, patch, patch_len, &len);
	check(made != NULL);
	rest = diff(made, len, to, to_len, &patch_len);
	check(rest != NULL);
	if (to[0] == '{')
		check(patch_len == 2 && memcmp(rest, "{}", 2) == 0);
	else
		check(len == to_len && memcmp(made, to, len) == 0);
	free(patch);
	free(made);
	free(rest);
}

/* Bytes that choose, the document they choose. */
typedef struct Maker
{
	const uint8_t *p;
	const uint8_t *end;
	char text[DOCUMENT_MAX];
	size_t len;
} Maker;

static unsigned
choose(Maker *m, unsigned n)
{
	return m->p < m->end ? *m->p++ % n : 0;
}

static void
say(Maker *m, const char *text)
{
	memcpy(m->text + m->len, text, strlen(text));
	m->len += strlen(text);
}

static void
make(Maker *m, int depth)
{
	static const char *const names[] = {"\"a\"",	"\"\\u0061\"", "\"b\"",
										"\"\"",		"\"\\ud800\"", "\"{,\"",
										"\"\\\"\"", "\"c\""};
	static const char *const scalars[] = {"null", "1",	"\"}\"", "true",
										  "[]",	  "{}", "-0.5e3"};
	static const char *const spaces[] = {"", "", " ", "\n\t"};
	unsigned kind = depth > 4 || m->len > DOCUMENT_MAX / 2 ? 2 : choose(m, 4);
	unsigned n = kind == 2 ? 0 : choose(m, 5);

	if (kind >= 2)
	{
		say(m, scalars[choose(m, 7)]);
		return;
	}
	say(m, kind == 0 ? "{" : "[");
	say(m, spaces[choose(m, 4)]);
	for (unsigned i = 0; i < n; i++)
	{
		if (m->len > DOCUMENT_MAX / 2)
			n = i + 1;
		if (kind == 0)
		{
			say(m, names[choose(m, 8)]);
			say(m, spaces[choose(m, 4)]);
			say(m, ":");
		}
		make(m, depth + 1);
		say(m, spaces[choose(m, 4)]);
		if (i + 1 < n)
			say(m, ",");
	}
	say(m, kind == 0 ? "}" : "]");
}

static void
try_documents(const uint8_t *data, size_t size, size_t first)
{
	Maker target = {.p = data, .end = data + first};
	Maker patch = {.p = data + first, .end = data + size};
	size_t len;
	size_t again_len;
	char *result;
	char *again;

	make(&target, 0);
	make(&patch, 0);
	result = merge(target.text, target.len, patch.text, patch.len, &len);
	check(result != NULL);
	again = merge(result, len, patch.text, patch.len, &again_len);
	check(again != NULL && again_len == len && memcmp(again, result, len) == 0);
	free(result);
	free(again);
	if (target.text[0] != '{')
		return;
	result = merge(target.text, target.len, "{}", 2, &len);
	check(result != NULL && len == target.len && memcmp(result, target.text, len) == 0);
	free(result);
	try_diff(target.text, target.len, patch.text, patch.len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t first;

	if (size < 2)
		return 0;
	first = data[1] < size - 2 ? data[1] : size - 2;
	if (data[0] % 2 == 0)
	{
		size_t len;

		free(merge((const char *) data + 2, first, (const char *) data + 2 + first,
				   size - 2 - first, &len));
		free(diff((const char *) data + 2, first, (const char *) data + 2 + first,
				  size - 2 - first, &len));
	}
	else
		try_documents(data + 2, size - 2, first);
	return 0;
}
