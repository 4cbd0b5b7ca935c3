/*-------------------------------------------------------------------------
 *
 * fuzz_columns.c
 *	  libFuzzer target: payloads whose log is turned into columns.
 *
 * The first byte says what the rest is:
 *	0: raw bytes of format 1: what decodes comes back from columns to the letter
 *	1: columns, behind two bytes of raw size: they decode or give an error, and
 *	   whatever they say nothing is touched that is not theirs
 *	2: the log of a game: events, each ended by a byte of 0, so that more
 *	   of what is found is JSON
 *
 *-------------------------------------------------------------------------
 */
#include "gs_columns.h"

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
there_and_back(const GsPayload *payload)
{
	size_t len = gs_payload_size(payload);
	size_t room = 4 * len + 4096;
	char *raw = malloc(len);
	char *columns = malloc(room);
	char *back = malloc(len);
	size_t n;

	gs_payload_encode(payload, raw);
	n = gs_columns_encode(payload, columns, room);
	if (n > 0)
	{
		check(gs_columns_decode(columns, n, back, len) == NULL);
		check(memcmp(raw, back, len) == 0);
	}
	free(raw);
	free(columns);
	free(back);
}

static void
try_columns(const char *columns, size_t len, size_t raw_len)
{
	char *raw = malloc(raw_len > 0 ? raw_len : 1);

	(void) gs_columns_decode(columns, len, raw, raw_len);
	free(raw);
}

static void
try_events(const char *data, size_t size)
{
	char *entries = malloc(size * 16 + 16);
	char *p = entries;
	GsPayload payload = {.initial = "{}",
						 .initial_len = 2,
						 .final = "{}",
						 .final_len = 2};

	while (size > 0)
	{
		const char *zero = memchr(data, 0, size);
		size_t len = zero ? (size_t) (zero - data) : size;
		GsEntry e = {.kind = GS_KIND_MOVE, .event = data, .event_len = (uint32_t) len};

		p = gs_entry_encode(&e, 0, p);
		payload.nentries++;
		len += zero ? 1 : 0;
		data += len;
		size -= len;
	}
	payload.entries = entries;
	payload.entries_len = (size_t) (p - entries);
	there_and_back(&payload);
	free(entries);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *rest = (const char *) data + 1;
	GsPayload payload;

	if (size < 3)
		return 0;
	if (data[0] % 3 == 0)
	{
		if (gs_payload_decode(rest, size - 1, &payload) == NULL)
			there_and_back(&payload);
	}
	else if (data[0] % 3 == 1)
		try_columns((const char *) data + 3, size - 3,
					(size_t) data[1] + 256 * (size_t) data[2]);
	else
		try_events(rest, size - 1);
	return 0;
}
