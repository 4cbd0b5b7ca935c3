/*-------------------------------------------------------------------------
 *
 * test_payload.c
 *	  Unit test of the archive's payload codec (extension/gs_payload.c).
 *
 * Build: cc -std=gnu11 -Iextension tests/unit/test_payload.c
 *		  extension/gs_entry.c extension/gs_payload.c -lzstd
 *
 *-------------------------------------------------------------------------
 */
#include "gs_payload.h"

#include <stdlib.h>

#include "tap.h"

#define BASE INT64_C(800000000000000)

/* n encoded moves with events of some length; *len is the number of bytes */
static char *
make_entries(int n, size_t *len)
{
	char *bytes = malloc((size_t) n * 64 + 1);
	char *p = bytes;

	for (int i = 0; i < n; i++)
	{
		char event[32];
		GsEntry e;

		memset(&e, 0, sizeof(e));
		e.kind = GS_KIND_MOVE;
		e.at = BASE + i * INT64_C(1000003);
		e.player = (i % 2) ? "black" : "white";
		e.player_len = 5;
		e.event = event;
		e.event_len = (uint32_t) snprintf(event, sizeof(event), "{\"move\":%d}", i);
		p = gs_entry_encode(&e, BASE, p);
	}
	*len = (size_t) (p - bytes);
	return bytes;
}

static bool
same_payload(const GsPayload *a, const GsPayload *b)
{
	return a->has_deltas == b->has_deltas && a->initial_len == b->initial_len &&
		   (a->initial_len == 0 || memcmp(a->initial, b->initial, a->initial_len) == 0) &&
		   a->final_len == b->final_len &&
		   memcmp(a->final, b->final, a->final_len) == 0 &&
		   a->first_version == b->first_version && a->nentries == b->nentries &&
		   a->base == b->base && a->entries_len == b->entries_len &&
		   memcmp(a->entries, b->entries, a->entries_len) == 0;
}

/* through raw, zstd and back; cut off or damaged raw bytes must be refused */
static void
round_trip(const GsPayload *payload, const char *name)
{
	size_t raw_len = gs_payload_size(payload);
	char *raw = malloc(raw_len);
	char *zipped = malloc(gs_payload_bound(raw_len));
	char *back = malloc(raw_len + 1);
	const char *error = "none";
	size_t zipped_len;
	GsPayload read;
	bool cut_refused = true;

	gs_payload_encode(payload, raw);
	is(gs_payload_decode(raw, raw_len, &read), NULL, name);
	ok(same_payload(payload, &read), "%s: raw bytes come back equal", name);

	zipped_len = gs_payload_compress(raw, raw_len, 3, NULL, zipped,
									 gs_payload_bound(raw_len), &error);
	ok(zipped_len > 0 && error == NULL, "%s: compresses", name);
	memset(back, 0xA5, raw_len + 1);
	is(gs_payload_decompress(zipped, zipped_len, NULL, back, raw_len), NULL, name);
	ok(memcmp(raw, back, raw_len) == 0 && (unsigned char) back[raw_len] == 0xA5,
	   "%s: decompresses to the same bytes and no more", name);

	ok(gs_payload_decompress(zipped, zipped_len, NULL, back, raw_len + 1) != NULL,
	   "%s: a raw size that is too large is refused", name);
	ok(gs_payload_decompress(zipped, zipped_len, NULL, back, raw_len - 1) != NULL,
	   "%s: a raw size that is too small is refused", name);

	for (size_t len = 0; len < raw_len; len += 1 + len / 50)
	{
		char *cut = malloc(len > 0 ? len : 1);

		memcpy(cut, raw, len);
		if (gs_payload_decode(cut, len, &read) == NULL)
			cut_refused = false;
		free(cut);
	}
	ok(cut_refused, "%s: raw bytes are refused when cut off", name);

	cut_refused = true;
	for (size_t len = 0; len < zipped_len; len += 1 + len / 50)
	{
		char *cut = malloc(len > 0 ? len : 1);

		memcpy(cut, zipped, len);
		if (gs_payload_decompress(cut, len, NULL, back, raw_len) == NULL)
			cut_refused = false;
		free(cut);
	}
	ok(cut_refused, "%s: the frame is refused when cut off", name);

	free(raw);
	free(zipped);
	free(back);
}

static void
test_round_trips(void)
{
	GsPayload payload;
	size_t len;
	char *entries = make_entries(400, &len);
	char *state = malloc(200000);

	memset(&payload, 0, sizeof(payload));
	payload.initial = "{}";
	payload.initial_len = 2;
	payload.final = "{}";
	payload.final_len = 2;
	payload.first_version = 2;
	payload.entries = "";
	round_trip(&payload, "created and finished, no entry");

	payload.initial_len = payload.final_len = 0;
	payload.base = -1;
	round_trip(&payload, "empty states");

	payload.final = "{\"a\":1}";
	payload.final_len = 7;
	payload.base = BASE;
	payload.first_version = 2;
	payload.nentries = 400;
	payload.entries = entries;
	payload.entries_len = len;
	round_trip(&payload, "400 moves");
	payload.has_deltas = true;
	payload.initial = "";
	payload.initial_len = 0;
	round_trip(&payload, "with deltas");
	payload.has_deltas = false;

	for (int i = 0; i < 200000; i++)
		state[i] = (char) ((i * 7919) >> 3);
	payload.initial = state;
	payload.initial_len = 100000;
	payload.final = state + 100000;
	payload.final_len = 100000;
	payload.base = INT64_MIN;
	round_trip(&payload, "states of 100 kB");

	free(entries);
	free(state);
}

static void
test_bytes(void)
{
	static const unsigned char different[] = {1, 0, 2,	'{', '}', 1, '1',
											  2, 1, 20, 5,	 0,	  0};
	static const unsigned char equal[] = {1, 1, 2, '{', '}', 2, 0, 0};
	static const unsigned char deltas[] = {1, 2, 2, '{', '}', 2, 0, 0};
	GsPayload payload;
	char bytes[sizeof(different)];

	memset(&payload, 0, sizeof(payload));
	payload.initial = "{}";
	payload.initial_len = 2;
	payload.final = "1";
	payload.final_len = 1;
	payload.first_version = 2;
	payload.nentries = 1;
	payload.base = 10;
	payload.entries = "\5\0\0";
	payload.entries_len = 3;
	ok(gs_payload_size(&payload) == sizeof(different), "size of the stored form");
	gs_payload_encode(&payload, bytes);
	ok(memcmp(bytes, different, sizeof(different)) == 0,
	   "the stored form is what it always was");

	payload.final = "{}";
	payload.final_len = 2;
	payload.nentries = 0;
	payload.base = 0;
	payload.entries_len = 0;
	ok(gs_payload_size(&payload) == sizeof(equal), "an unchanged state is stored once");
	gs_payload_encode(&payload, bytes);
	ok(memcmp(bytes, equal, sizeof(equal)) == 0, "a game whose state never changed");

	payload.has_deltas = true;
	ok(gs_payload_size(&payload) == sizeof(deltas), "with deltas, the last state only");
	gs_payload_encode(&payload, bytes);
	ok(memcmp(bytes, deltas, sizeof(deltas)) == 0, "a game whose entries have deltas");
}

static void
test_damage(void)
{
	GsPayload payload;
	char raw[64];
	char zipped[256];
	const char *error;
	size_t n;

#define DECODE(bytes) gs_payload_decode(bytes, sizeof(bytes) - 1, &payload)
	is(DECODE(""), "payload is empty", "no bytes");
	is(DECODE("\2"), "payload has an unknown format", "format 2");
	is(DECODE("\1"), "payload has unknown flags", "no flags");
	is(DECODE("\1\100\0"), "payload has unknown flags", "flag 64");
	is(DECODE("\1\0\5ab"), "payload has a broken initial state",
	   "initial state too long");
	is(DECODE("\1\3\0"), "payload has flags that exclude each other",
	   "the initial state is not there, and the final one is that");
	is(DECODE("\1\2\5ab"), "payload has a broken final state",
	   "without an initial state");
	is(DECODE("\1\0\0\5ab"), "payload has a broken final state", "final state too long");
	is(DECODE("\1\1\0"), "payload has a broken first version", "no version");
	is(DECODE("\1\1\0\377\377\377\377\377\377\377\377\377\1\0\0"),
	   "payload has a broken first version", "version 2^64 - 1");
	is(DECODE("\1\1\0\2"), "payload has a broken number of entries",
	   "no number of entries");
	is(DECODE("\1\1\0\2\377\377\377\377\377\377\377\377\177\0"),
	   "payload has a broken number of entries", "versions beyond 2^63");
	is(DECODE("\1\1\0\2\0"), "payload has a broken base time", "no base time");
	is(DECODE("\1\1\0\2\1\0"), "entry is cut off", "one entry fewer than said");
	is(DECODE("\1\1\0\2\0\0\5\0\0"), "payload has bytes behind its last entry",
	   "one entry more than said");
	is(DECODE("\1\1\0\2\1\0\143\0\0"), "entry has an unknown kind",
	   "an entry of no kind");
	is(DECODE("\1\1\0\2\1\0\5\0\0"), NULL, "the same, whole");
#undef DECODE

	memset(raw, 'a', sizeof(raw));
	n = gs_payload_compress(raw, sizeof(raw), 3, NULL, zipped, sizeof(zipped), &error);
	ok(n > 0, "compress");
	ok(gs_payload_decompress(zipped, 0, NULL, raw, sizeof(raw)) != NULL,
	   "an empty frame");
	ok(gs_payload_decompress("nonsense, not zstd", 18, NULL, raw, sizeof(raw)) != NULL,
	   "no frame");
	zipped[n] = 'x';
	ok(gs_payload_decompress(zipped, n + 1, NULL, raw, sizeof(raw)) != NULL,
	   "a byte behind the frame");
	memcpy(zipped + n, zipped, n);
	ok(gs_payload_decompress(zipped, 2 * n, NULL, raw, sizeof(raw)) != NULL,
	   "two frames");
	is(gs_payload_decompress(zipped, n, NULL, raw, sizeof(raw)), NULL,
	   "the first of them");
	ok(gs_payload_compress(raw, sizeof(raw), 3, NULL, zipped, 4, &error) == 0 &&
		   error != NULL,
	   "no room to compress is an error");
	n = gs_payload_compress(raw, sizeof(raw), 3, NULL, zipped, sizeof(zipped), &error);
	is(gs_payload_decompress(zipped, n, NULL, raw, sizeof(raw)), NULL,
	   "the contexts work after errors");
}

int
main(void)
{
	test_round_trips();
	test_bytes();
	test_damage();
	return tap_done();
}
