/*-------------------------------------------------------------------------
 *
 * fuzz_payload.c
 *	  libFuzzer target: the archive's payload, raw bytes and zstd frames.
 *
 * Build: clang -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined
 *		  -Iextension tests/fuzz/fuzz_payload.c extension/gs_entry.c
 *		  extension/gs_payload.c -lzstd
 *
 * The first byte says what the rest is:
 *	0: raw bytes: they decode or give an error; what decodes is whole, has
 *	   the same contents when encoded and decoded again, and survives zstd
 *	1: a frame, behind two bytes of raw size: decompressed and decoded
 *	2: raw bytes behind two bytes that say what to change in their frame: a
 *	   place and a bit (no bit at all = it must come back as it was)
 *
 *-------------------------------------------------------------------------
 */
#include "gs_payload.h"

#include <stdlib.h>
#include <string.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool condition)
{
	if (!condition)
		abort();
}

static void
walk(const GsPayload *payload)
{
	const char *p = payload->entries;
	const char *end = p + payload->entries_len;

	for (uint64_t i = 0; i < payload->nentries; i++)
	{
		GsEntry e;

		check(gs_entry_decode(&p, end, payload->base, &e) == NULL);
	}
	check(p == end);
}

static void
try_raw(const char *raw, size_t raw_len)
{
	GsPayload a;
	GsPayload b;
	size_t len;
	char *copy;
	char *zipped;
	char *back;
	const char *error;

	if (gs_payload_decode(raw, raw_len, &a) != NULL)
		return;
	walk(&a);

	/* equal states may have been written twice, so at most as long */
	len = gs_payload_size(&a);
	check(len <= raw_len);
	copy = malloc(len + 1);
	gs_payload_encode(&a, copy);
	check(gs_payload_decode(copy, len, &b) == NULL);
	check(a.initial_len == b.initial_len && a.final_len == b.final_len);
	check(a.initial_len == 0 || memcmp(a.initial, b.initial, a.initial_len) == 0);
	check(a.has_deltas == b.has_deltas);
	check(memcmp(a.final, b.final, a.final_len) == 0);
	check(a.first_version == b.first_version && a.nentries == b.nentries);
	check(a.base == b.base && a.entries_len == b.entries_len);
	check(memcmp(a.entries, b.entries, a.entries_len) == 0);

	zipped = malloc(gs_payload_bound(len));
	len = gs_payload_compress(copy, gs_payload_size(&a), 1, NULL, zipped,
							  gs_payload_bound(len), &error);
	check(len > 0);
	back = malloc(gs_payload_size(&a) + 1);
	check(gs_payload_decompress(zipped, len, NULL, back, gs_payload_size(&a)) == NULL);
	check(memcmp(copy, back, gs_payload_size(&a)) == 0);

	free(copy);
	free(zipped);
	free(back);
}

static void
try_frame(const char *frame, size_t frame_len, size_t raw_len)
{
	char *raw = malloc(raw_len > 0 ? raw_len : 1);

	if (gs_payload_decompress(frame, frame_len, NULL, raw, raw_len) == NULL)
		try_raw(raw, raw_len);
	free(raw);
}

/* compress, change a bit, decompress */
static void
try_changed_frame(const char *raw, size_t raw_len, uint8_t place, uint8_t change)
{
	char *frame = malloc(gs_payload_bound(raw_len));
	char *back = malloc(raw_len > 0 ? raw_len : 1);
	const char *error;
	size_t len;

	len = gs_payload_compress(raw, raw_len, 1, NULL, frame, gs_payload_bound(raw_len),
							  &error);
	check(len > 0);
	frame[place * len / 256] ^= (char) change;
	error = gs_payload_decompress(frame, len, NULL, back, raw_len);
	if (change == 0)
		check(error == NULL && memcmp(raw, back, raw_len) == 0);
	else if (error == NULL)
		try_raw(back, raw_len);
	free(frame);
	free(back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *rest = (const char *) data + 3;

	if (size < 3)
		return 0;
	if (data[0] % 3 == 0)
		try_raw((const char *) data + 1, size - 1);
	else if (data[0] % 3 == 1)
		try_frame(rest, size - 3, (size_t) data[1] + 256 * (size_t) data[2]);
	else
		try_changed_frame(rest, size - 3, data[1], data[2]);
	return 0;
}
