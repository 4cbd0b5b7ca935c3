/*-------------------------------------------------------------------------
 *
 * test_delta.c
 *	  Unit test of the codec of deltas (extension/gs_delta.c).
 *
 * Build: cc -std=gnu11 -Iextension tests/unit/test_delta.c extension/gs_delta.c
 *
 * Bytes that are written down here are what is stored: a change of them is a
 * change of the format.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_delta.h"

#include <stdlib.h>

#include "tap.h"

#define BIG (1 << 20)

static uint32_t random_state = 1;

static uint32_t
random_below(uint32_t n)
{
	random_state = random_state * 1103515245U + 12345U;
	return (random_state >> 8) % n;
}

static void
fill_random(char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (char) random_below(256);
}

/* A heap block of exactly len bytes, so that ASan sees one byte too far. */
static char *
exact_copy(const void *data, size_t len)
{
	char *copy = calloc(len > 0 ? len : 1, 1);

	if (len > 0)
		memcpy(copy, data, len);
	return copy;
}

/* ----------
 * round trips
 * ----------
 */

/* bytes of a delta that makes the new state again; -1 = it does not */
static long
delta_size(const char *old_state, size_t old_len, const char *new_state, size_t new_len)
{
	char *a = exact_copy(old_state, old_len);
	char *b = exact_copy(new_state, new_len);
	char *delta = malloc(new_len + 16);
	char *made = exact_copy("", 0);
	char *exact = NULL;
	long result = -1;
	uint32_t says = 0;
	size_t len = gs_delta_encode(a, (uint32_t) old_len, b, (uint32_t) new_len, delta,
								 new_len + 16);

	if (len == 0 || len > new_len + 16 || gs_delta_length(delta, len, &says) != NULL ||
		says != new_len)
		goto done;
	exact = exact_copy(delta, len);
	free(made);
	made = exact_copy(b, new_len);
	memset(made, 0x55, new_len);
	if (gs_delta_apply(a, (uint32_t) old_len, exact, len, made, says) != NULL ||
		memcmp(made, b, new_len) != 0)
		goto done;
	/* exactly enough room, and a byte less */
	if (gs_delta_encode(a, (uint32_t) old_len, b, (uint32_t) new_len, exact, len) !=
			len ||
		memcmp(exact, delta, len) != 0 ||
		gs_delta_encode(a, (uint32_t) old_len, b, (uint32_t) new_len, exact, len - 1) !=
			0)
		goto done;
	/* and back, by the inverted delta and by one that says it all */
	{
		size_t room = gs_delta_back_room((uint32_t) old_len, len);
		char *back = malloc(room);
		char *old_made = exact_copy(a, old_len);
		bool good = true;

		for (int i = 0; i < 2 && good; i++)
		{
			size_t n =
				i == 0 ? gs_delta_invert(a, (uint32_t) old_len, delta, len, back, room)
					   : gs_delta_whole(a, (uint32_t) old_len, back, room);

			memset(old_made, 0x55, old_len);
			good =
				n > 0 && gs_delta_length(back, n, &says) == NULL && says == old_len &&
				gs_delta_apply(b, (uint32_t) new_len, back, n, old_made, says) == NULL &&
				memcmp(old_made, a, old_len) == 0;
		}
		free(old_made);
		free(back);
		if (!good)
			goto done;
	}
	result = (long) len;
done:
	free(exact);
	free(made);
	free(delta);
	free(b);
	free(a);
	return result;
}

static bool
stored_as(const char *old_state, const char *new_state, const char *bytes, size_t len)
{
	char delta[256];
	size_t n = gs_delta_encode(old_state, (uint32_t) strlen(old_state), new_state,
							   (uint32_t) strlen(new_state), delta, sizeof(delta));

	return n == len && memcmp(delta, bytes, len) == 0 &&
		   delta_size(old_state, strlen(old_state), new_state, strlen(new_state)) ==
			   (long) len;
}

#define STORED(old_state, new_state, bytes, name) \
	ok(stored_as(old_state, new_state, bytes, sizeof(bytes) - 1), "stored form: %s", name)

static void
test_bytes(void)
{
	char delta[4];

	STORED("", "", "\0", "nothing from nothing");
	STORED("abc", "", "\0", "nothing from something");
	STORED("", "abc", "\3\0\3abc", "something from nothing");
	STORED("abc", "abc", "\3", "no change");
	STORED("abc", "axc", "\3\2\1x", "a byte replaced");
	STORED("abc", "abxc", "\4\4\1x", "a byte inserted");
	STORED("abc", "ac", "\2\2\0", "a byte deleted");
	STORED("abc", "ab", "\2\4\0", "the last byte deleted");
	STORED("abc", "bc", "\2", "the first byte deleted");
	STORED("abc", "abcd", "\4\6\1d", "a byte appended");
	STORED("abc", "xabc", "\4\0\1x", "a byte in front");
	STORED("abc", "xyz", "\3\0\3xyz", "everything replaced");
	STORED("0123456789abcdefghij", "x123456789abcdefghiy", "\24\0\1x\44\1y",
		   "both ends replaced: no skip");
	STORED("(0123456789abcdefghijklmnopqrstuvwxyz0123456789)",
		   "[[0123456789abcdefghijklmnopqrstuvwxyz0123456789]]", "\62\0\2[[\135\1\2]]",
		   "both ends longer: a skip back");
	STORED("(0123456789abcdefghijklmnopqrstuvwxyz0123456789)",
		   "0123456789abcdefghijklmnopqrstuvwxyz0123456789]", "\57\135\2\1]",
		   "a skip at the start");
	ok(gs_delta_encode(NULL, 0, NULL, 0, delta, 4) == 1 &&
		   gs_delta_encode(NULL, 0, "a", 1, delta, 4) == 4 &&
		   gs_delta_encode("a", 1, NULL, 0, delta, 4) == 1 &&
		   gs_delta_encode("a", 1, "a", 1, delta, 0) == 0,
	   "no pointers where there are no bytes; no room at all");
}

static void
test_one_change(void)
{
	char x[200];
	char y[200];
	bool right = true;

	/* one byte, at each place of each length; and longer by one */
	memset(x, 'a', sizeof(x));
	memset(y, 'a', sizeof(y));
	for (uint32_t len = 0; len < 130; len++)
	{
		right = right && delta_size(x, len, y, len) > 0;
		for (uint32_t i = 0; i < len; i++)
		{
			y[i] = 'b';
			right = right && delta_size(x, len, y, len) > 0 &&
					delta_size(x, len, y, len + 1) > 0 &&
					delta_size(x, len + 1, y, len) > 0;
			y[i] = 'a';
		}
	}
	ok(right, "one byte at any place of up to 130");
}

/* Some edits of p: replaced, inserted, deleted, moved. */
static uint32_t
edit(char *p, uint32_t len, uint32_t letters, uint32_t longest)
{
	char moved[64];
	uint32_t where = random_below(len + 1);
	uint32_t n = random_below(longest + 1);
	uint32_t to;

	switch (random_below(4))
	{
		case 0:
			for (uint32_t i = where; i < len && i < where + n; i++)
				p[i] = (char) ('a' + random_below(letters));
			break;
		case 1:
			memmove(p + where + n, p + where, len - where);
			for (uint32_t i = 0; i < n; i++)
				p[where + i] = (char) ('a' + random_below(letters));
			len += n;
			break;
		case 2:
			n = n < len - where ? n : len - where;
			memmove(p + where, p + where + n, len - where - n);
			len -= n;
			break;
		default:
			n = n < len - where ? n : len - where;
			n = n < sizeof(moved) ? n : sizeof(moved);
			memcpy(moved, p + where, n);
			memmove(p + where, p + where + n, len - where - n);
			to = random_below(len - n + 1);
			memmove(p + to + n, p + to, len - n - to);
			memcpy(p + to, moved, n);
			break;
	}
	return len;
}

static void
test_random(void)
{
	char a[3000] = {0};
	char b[8000];
	int wrong = 0;
	int too_long = 0;

	for (int round = 0; round < 20000; round++)
	{
		uint32_t len = random_below(round % 10 == 0 ? sizeof(a) : 300);
		uint32_t letters = 1 + random_below(round % 3 == 0 ? 3 : 60);
		uint32_t longest = 1 + random_below(60);
		uint32_t edits = random_below(8);
		uint32_t new_len = len;
		long size;

		for (uint32_t i = 0; i < len; i++)
			a[i] = (char) ('a' + random_below(letters));
		memcpy(b, a, len);
		for (uint32_t i = 0; i < edits; i++)
			new_len = edit(b, new_len, letters, longest);
		size = delta_size(a, len, b, new_len);
		if (size < 0)
			wrong++;
		/* an edit tells at most twice its bytes, and 40 that lie between two */
		if (size > 3 + (long) edits * (2 * (long) longest + 80))
			too_long++;
	}
	ok(wrong == 0, "20,000 states with random edits come back (%d wrong)", wrong);
	ok(too_long == 0, "their deltas are short (%d too long)", too_long);
}

/* ----------
 * how short
 * ----------
 */

static void
test_sizes(void)
{
	char a[2048];
	char b[2300];
	long size;

	fill_random(a, sizeof(a));
	memcpy(b, a, 2048);
	for (int i = 0; i < 100; i++)
		b[1000 + i] ^= 0x55;
	size = delta_size(a, 2048, b, 2048);
	ok(size == 105, "100 bytes in one place of 2 KB: %ld bytes", size);

	memcpy(b, a, 2048);
	for (int i = 0; i < 25; i++)
	{
		b[3 + i] ^= 0x55;
		b[700 + i] ^= 0x55;
		b[1400 + i] ^= 0x55;
		b[2048 - 4 - i] ^= 0x55;
	}
	size = delta_size(a, 2048, b, 2048);
	ok(size == 113, "25 bytes in each of four places: %ld bytes", size);

	memcpy(b, a, 500);
	b[500] = '7';
	memcpy(b + 501, a + 500, 700);
	memset(b + 1201, 'n', 30);
	memcpy(b + 1231, a + 1200, 500);
	memcpy(b + 1731, a + 1710, 2048 - 1710);
	size = delta_size(a, 2048, b, 1731 + 2048 - 1710);
	ok(size > 0 && size < 65, "a digit longer, 30 bytes longer, 10 shorter: %ld bytes",
	   size);

	/* the shift of the middle is that of neither end */
	memcpy(b, a, 2048);
	memmove(b + 301, b + 300, 1400);
	size = delta_size(a, 2048, b, 2048);
	ok(size > 0 && size < 24, "shifted between two places: %ld bytes", size);

	fill_random(b, 2048);
	ok(gs_delta_encode(a, 2048, b, 2048, b + 2048, 10) == 0 &&
		   delta_size(a, 2048, b, 2048) == 2048 + 5,
	   "nothing in common: no delta, or one hunk");
}

static void
test_large(void)
{
	char *a = malloc(BIG);
	char *b = malloc(BIG + 1000);
	long size;

	fill_random(a, BIG);
	memcpy(b, a, 1000);
	b[1000] = 'x';
	memcpy(b + 1001, a + 1000, BIG / 2);
	memcpy(b + 1001 + BIG / 2, a + BIG / 2 + 2000, BIG / 2 - 2000);
	size = delta_size(a, BIG, b, BIG - 999);
	ok(size > 0 && size < 40, "1 MB, a byte inserted and 1,000 deleted: %ld bytes", size);
	memset(a, 0, BIG);
	memset(b, 0, BIG);
	b[5] = b[BIG / 2] = b[BIG - 5] = 1;
	size = delta_size(a, BIG, b, BIG);
	ok(size > 0 && size < 30, "1 MB of zeros, three bytes set: %ld bytes", size);
	memset(b, 0, BIG);
	for (int i = 0; i < BIG; i += 16)
		b[i] = (char) (1 + i / 16);
	ok(delta_size(a, BIG, b, BIG) > 0, "1 MB of short matches");
	ok(gs_delta_encode(a, BIG, b, BIG, a, 0) == 0, "no room");
	free(b);
	free(a);
}

/* ----------
 * damage
 * ----------
 */

/* apply to "0123456789", result of new_len bytes from a block of that many */
static const char *
apply(const char *bytes, size_t len, uint32_t new_len)
{
	char *old_state = exact_copy("0123456789", 10);
	char *delta = exact_copy(bytes, len);
	char *made = exact_copy("", 0);
	const char *wrong;

	free(made);
	made = calloc(new_len > 0 ? new_len : 1, 1);
	wrong = gs_delta_apply(old_state, 10, delta, len, made, new_len);
	free(made);
	free(delta);
	free(old_state);
	return wrong;
}

#define APPLIES(bytes, new_len, error, name) \
	is(apply(bytes, sizeof(bytes) - 1, new_len), error, name)
#define MAX_STATE  "\377\377\377\377\3" /* GS_DELTA_MAX_BYTES */
#define HUGE_INT64 "\377\377\377\377\377\377\377\377\377\1"

static void
test_damage(void)
{
	static const char length[] = "delta has another length than it should";
	static const char lacks[] = "delta copies what the old state does not have";
	uint32_t n = 7;

	is(gs_delta_length("", 0, &n), "delta has a broken length", "no bytes");
	is(gs_delta_length("\200", 1, &n), "delta has a broken length", "half a length");
	is(gs_delta_length("\200\200\200\200\4", 5, &n), "delta has a broken length",
	   "a length of 1 GB");
	ok(n == 7 && gs_delta_length(MAX_STATE, 5, &n) == NULL && n == GS_DELTA_MAX_BYTES,
	   "the longest length");
	APPLIES("", 0, length, "apply: no bytes");
	APPLIES("\3", 4, length, "apply: another length");
	APPLIES("\12", 10, NULL, "apply: all of it");
	APPLIES("\13", 11, lacks, "apply: more than there is");
	APPLIES("\12\24\0", 10, NULL, "a copy of all");
	APPLIES("\13\26\0", 11, lacks, "a copy of more");
	APPLIES("\12\26\0", 10, "delta makes more bytes than it should", "a long copy");
	APPLIES("\2\0\3abc", 2, "delta makes more bytes than it should", "a long insertion");
	APPLIES("\3\0\4abc", 3, "delta has a broken insertion", "a cut insertion");
	APPLIES("\3\2", 3, "delta has a broken insertion", "no insertion");
	APPLIES("\3\0\0", 3, "delta has an empty hunk", "an empty hunk");
	APPLIES("\3\200", 3, "delta has a broken hunk", "a cut hunk");
	APPLIES("\3" HUGE_INT64 "\0", 3, "delta has a broken hunk", "a huge copy");
	APPLIES("\3\3", 3, "delta has a broken skip", "no skip");
	APPLIES("\3\3\0\0", 3, "delta has a broken skip", "a skip of 0");
	APPLIES("\3\3" HUGE_INT64 "\0", 3, "delta has a broken skip", "a huge skip");
	APPLIES("\3\3\22\0", 3, NULL, "a skip to the last byte");
	APPLIES("\3\3\24\0", 3, lacks, "a skip to the end");
	APPLIES("\3\3\26\0", 3, lacks, "a skip behind the end");
	APPLIES("\3\3\1\0", 3, lacks, "a skip before the start");
	APPLIES("\3\3\377\377\377\377\37\0", 3, lacks, "a long skip back");
	APPLIES("\15\0\13abcdefghijk\2\0", 13, lacks, "a copy behind a long insertion");
	APPLIES("\15\0\13abcdefghijk\3\3\0", 13, NULL, "... with a skip back");
	APPLIES("\24\24\0\25\23\0", 20, NULL, "all of it twice");
}

/* any byte changed: an error, or a state as long as it says */
static void
test_flips(void)
{
	static const char old_state[] = "{\"a\": 1, \"list\": [1, 2, 3, 4, 5, 6], \"b\": 2}";
	static const char new_state[] =
		"{\"a\": 100, \"list\": [1, 2, 3, 4, 5, 7, 6], \"b\": 3}";
	char delta[200];
	size_t len = gs_delta_encode(old_state, sizeof(old_state) - 1, new_state,
								 sizeof(new_state) - 1, delta, sizeof(delta));
	int applied = 0;

	for (size_t i = 0; i < len; i++)
	{
		for (int value = 0; value < 256; value++)
		{
			char *a = exact_copy(old_state, sizeof(old_state) - 1);
			char *copy = exact_copy(delta, len);
			char *made;
			uint32_t says = 0;

			copy[i] = (char) value;
			if (gs_delta_length(copy, len, &says) == NULL && says < 100000)
			{
				made = malloc(says > 0 ? says : 1);
				if (gs_delta_apply(a, sizeof(old_state) - 1, copy, len, made, says) ==
					NULL)
					applied++;
				free(made);
			}
			free(copy);
			free(a);
		}
	}
	ok(len > 0 && applied >= (int) len, "with any byte changed nothing is overrun");
}

int
main(void)
{
	test_bytes();
	test_one_change();
	test_random();
	test_sizes();
	test_large();
	test_damage();
	test_flips();
	return tap_done();
}
