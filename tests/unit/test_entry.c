/*-------------------------------------------------------------------------
 *
 * test_entry.c
 *	  Unit test of the codec of log entries (extension/gs_entry.c).
 *
 * Build: cc -std=gnu11 -Iextension tests/unit/test_entry.c
 *		  extension/gs_entry.c extension/gs_payload.c -lzstd
 *
 * Bytes that are written down here are what is stored in journals and
 * archives: a change of them is a change of the format.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_entry.h"

#include <stdlib.h>

#include "tap.h"

static const unsigned char request_id[GS_REQUEST_ID_LEN] = {0,	1,	2,	3,	4,	5,
															6,	7,	8,	9,	10, 11,
															12, 13, 14, 255};

/* A heap block of exactly len bytes, so that ASan sees one byte too far. */
static char *
exact_copy(const void *data, size_t len)
{
	char *copy = malloc(len > 0 ? len : 1);

	if (len > 0)
		memcpy(copy, data, len);
	return copy;
}

static const char *
decode_all(const void *data, size_t len, int64_t base, GsEntry *e)
{
	char *copy = exact_copy(data, len);
	const char *p = copy;
	const char *error = gs_entry_decode(&p, copy + len, base, e);

	if (error == NULL && p != copy + len)
		error = "did not read all";
	free(copy);
	return error;
}

static bool
same_bytes(const char *a, uint32_t alen, const char *b, uint32_t blen)
{
	if (a == NULL || b == NULL)
		return a == b;
	return alen == blen && memcmp(a, b, alen) == 0;
}

static bool
same_entry(const GsEntry *a, const GsEntry *b)
{
	if (a->kind != b->kind || a->at != b->at)
		return false;
	if ((a->request_id == NULL) != (b->request_id == NULL))
		return false;
	if (a->request_id && memcmp(a->request_id, b->request_id, GS_REQUEST_ID_LEN) != 0)
		return false;
	if (a->request_arguments != b->request_arguments)
		return false;
	return same_bytes(a->player, a->player_len, b->player, b->player_len) &&
		   same_bytes(a->event, a->event_len, b->event, b->event_len) &&
		   same_bytes(a->delta, a->delta_len, b->delta, b->delta_len);
}

/* encode, decode, compare; then every shorter run of bytes must be refused */
static void
round_trip(const GsEntry *e, int64_t base, const char *name)
{
	size_t size = gs_entry_size(e, base);
	char *bytes = malloc(size);
	const char *p = bytes;
	GsEntry back;
	const char *error;
	bool cut_refused = true;

	ok(gs_entry_encode(e, base, bytes) == bytes + size, "%s: size is exact", name);
	error = gs_entry_decode(&p, bytes + size, base, &back);
	is(error, NULL, name);
	ok(p == bytes + size, "%s: reads all of it", name);
	ok(error == NULL && same_entry(e, &back), "%s: comes back equal", name);

	for (size_t len = 0; len < size && size < 1000; len++)
	{
		GsEntry cut;

		if (decode_all(bytes, len, base, &cut) == NULL)
			cut_refused = false;
	}
	ok(cut_refused, "%s: refused when cut off anywhere", name);
	free(bytes);
}

static void
test_varints(void)
{
	static const uint64_t values[] = {0,
									  1,
									  127,
									  128,
									  16383,
									  16384,
									  2097151,
									  2097152,
									  UINT32_MAX,
									  (uint64_t) INT64_MAX,
									  (uint64_t) INT64_MAX + 1,
									  UINT64_MAX};
	char buf[16];
	const char *p;
	uint64_t v;
	bool sizes = true;

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
	{
		char *end = gs_varint_put(buf, values[i]);

		p = buf;
		ok((size_t) (end - buf) == gs_varint_size(values[i]) &&
			   gs_varint_get(&p, end, &v) && p == end && v == values[i],
		   "varint %llu", (unsigned long long) values[i]);
		p = buf;
		ok(!gs_varint_get(&p, end - 1, &v) && p == buf, "varint %llu cut off",
		   (unsigned long long) values[i]);
	}
	for (int bit = 0; bit < 64; bit++)
	{
		v = UINT64_C(1) << bit;
		if (gs_varint_size(v) != (size_t) bit / 7 + 1 ||
			gs_varint_size(v - 1) != (size_t) (bit > 0 ? bit - 1 : 0) / 7 + 1)
			sizes = false;
	}
	ok(sizes, "varint sizes at every power of two");

	p = "\xAC\x02";
	ok(gs_varint_get(&p, p + 2, &v) && v == 300, "varint 300 is AC 02");
	p = "\x80\x00";
	ok(!gs_varint_get(&p, p + 2, &v), "a needless byte is refused");
	p = "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02";
	ok(!gs_varint_get(&p, p + 10, &v), "65 bits are refused");
	p = "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01";
	ok(!gs_varint_get(&p, p + 11, &v), "eleven bytes are refused");
}

static void
test_round_trips(void)
{
	GsEntry e;
	uint32_t big = 3 * 1024 * 1024;
	char *event = malloc(big);
	int i;

	memset(&e, 0, sizeof(e));
	e.kind = GS_KIND_START;
	round_trip(&e, 0, "nothing but a kind");
	e.at = 1234567890123456;
	round_trip(&e, 1234567890000000, "a time");
	round_trip(&e, 1234567890999999, "a time before the base");
	e.at = INT64_MIN;
	round_trip(&e, INT64_MAX, "the widest gap of times");
	e.at = INT64_MAX;
	round_trip(&e, INT64_MIN, "the widest gap of times, the other way");
	round_trip(&e, INT64_MAX, "the end of time");

	e.at = 5;
	e.kind = GS_KIND_MOVE;
	e.event = "{\"c\": 7}";
	e.event_len = 8;
	round_trip(&e, 0, "an event");
	e.player = "anna";
	e.player_len = 4;
	round_trip(&e, 0, "player and event");
	e.request_id = request_id;
	e.request_arguments = UINT32_MAX;
	round_trip(&e, 0, "player, request id, event");
	e.delta = "\0\1\2";
	e.delta_len = 3;
	round_trip(&e, 0, "all of it");
	e.player_len = e.event_len = e.delta_len = 0;
	round_trip(&e, 0, "empty values, which are not absent ones");

	memset(event, 'x', big);
	e.event = event;
	e.event_len = big;
	round_trip(&e, 0, "an event of 3 MB");

	for (i = GS_KIND_CREATE; i <= GS_KIND_LAST; i++)
	{
		e.kind = (GsKind) i;
		e.event_len = 1;
		round_trip(&e, 0, gs_kind_name(e.kind));
	}
	free(event);
}

static void
test_bytes(void)
{
	static const unsigned char expected[] =
		{2, 0x0F, 0x96, 0x01, /* move, all fields, zigzag(75) = 150 */
		 1, 'p',  0,	1,	  2,  3,  4,   5, 6, 7, 8,
		 9, 10,	  11,	12,	  13, 14, 255, 4, 3, 2, 1, /* arguments */
		 2, '{',  '}',	0};
	char bytes[sizeof(expected)];
	GsEntry e;

	memset(&e, 0, sizeof(e));
	e.kind = GS_KIND_MOVE;
	e.at = 1075;
	e.player = "p";
	e.player_len = 1;
	e.request_id = request_id;
	e.request_arguments = 0x01020304;
	e.event = "{}";
	e.event_len = 2;
	e.delta = "";
	ok(gs_entry_size(&e, 1000) == sizeof(expected), "size of the stored form");
	gs_entry_encode(&e, 1000, bytes);
	ok(memcmp(bytes, expected, sizeof(expected)) == 0,
	   "the stored form is what it always was");
}

static void
test_damage(void)
{
	GsEntry e;

	is(decode_all("", 0, 0, &e), "entry is cut off", "no bytes");
	is(decode_all("\0\0\0", 3, 0, &e), "entry has an unknown kind", "kind 0");
	is(decode_all("\20\0\0", 3, 0, &e), "entry has an unknown kind", "kind 16");
	is(decode_all("\2\20\0", 3, 0, &e), "entry has unknown flags", "flag 16");
	is(decode_all("\2\200\0", 3, 0, &e), "entry has unknown flags", "flag 128");
	is(decode_all("\2\0\200", 3, 0, &e), "entry has a broken time",
	   "time without its end");
	is(decode_all("\2\0\200\0", 4, 0, &e), "entry has a broken time",
	   "time with a needless byte");
	is(decode_all("\2\1\0\5ab", 6, 0, &e), "entry has a broken player",
	   "player longer than the bytes");
	is(decode_all("\2\2\0abc", 6, 0, &e), "entry has a broken request id",
	   "half a request id");
	is(decode_all("\2\2\0"
				  "0123456789abcdef"
				  "123",
				  22, 0, &e),
	   "entry has a broken request id", "a request id without its arguments");
	is(decode_all("\2\4\0\377\377\377\377\377\377\377\377\377\1", 13, 0, &e),
	   "entry has a broken event", "event of 2^64 - 1 bytes");
	is(decode_all("\2\4\0\200\200\200\200\20", 8, 0, &e), "entry has a broken event",
	   "event of 2^32 bytes");
	is(decode_all("\2\10\0\2x", 5, 0, &e), "entry has a broken delta",
	   "delta longer than the bytes");
	is(decode_all("\2\0\0", 3, 0, &e), NULL, "the shortest entry");
}

int
main(void)
{
	test_varints();
	test_round_trips();
	test_bytes();
	test_damage();
	is(gs_kind_name((GsKind) 0), "unknown", "name of no kind");
	is(gs_kind_name(GS_KIND_ROOM_CODE), "room_code", "name of a kind");
	return tap_done();
}
