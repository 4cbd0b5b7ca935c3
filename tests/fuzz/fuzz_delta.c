/*-------------------------------------------------------------------------
 *
 * fuzz_delta.c
 *	  libFuzzer target: the codec of deltas.
 *
 * Build: clang -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined
 *		  -Iextension tests/fuzz/fuzz_delta.c extension/gs_delta.c
 *
 * The first byte says what the rest is, the next two how long its first part is:
 *	0: an old state and a delta of anybody's making: it gives an error, or a
 *	   state as long as it says
 *	1: two states: their delta makes the second from the first; with a byte less
 *	   room there is none
 *	2: a state and edits of it, 4 bytes each (kind, where, what): the same, with
 *	   states that have much in common
 *
 *-------------------------------------------------------------------------
 */
#include "gs_delta.h"

#include <stdlib.h>
#include <string.h>

/* more is not asked for, though a delta may say so */
#define STATE_MAX (1 << 20)

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

/* A delta that has been applied leads back when it is inverted. */
static void
try_back(const char *old_state, uint32_t old_len, const char *new_state, uint32_t new_len,
		 const char *delta, size_t len)
{
	size_t room = gs_delta_back_room(old_len, len);
	char *back = malloc(room);
	size_t n = gs_delta_invert(old_state, old_len, delta, len, back, room);
	char *exact = exact_copy(back, n);
	char *made = malloc(old_len > 0 ? old_len : 1);

	check(n > 0);
	check(gs_delta_apply(new_state, new_len, exact, n, made, old_len) == NULL);
	check(memcmp(made, old_state, old_len) == 0);
	free(made);
	free(exact);
	free(back);
}

static void
try_delta(const char *old_state, uint32_t old_len, const char *delta, size_t len)
{
	uint32_t new_len;
	char *made;
	const char *wrong = gs_delta_length(delta, len, &new_len);

	if (wrong == NULL && new_len > STATE_MAX)
		return;
	if (wrong != NULL)
		new_len = 0;
	made = malloc(new_len > 0 ? new_len : 1);
	if (gs_delta_apply(old_state, old_len, delta, len, made, new_len) == NULL)
	{
		check(wrong == NULL);
		try_back(old_state, old_len, made, new_len, delta, len);
	}
	free(made);
}

static void
try_states(const char *old_state, uint32_t old_len, const char *new_state,
		   uint32_t new_len)
{
	/* one hunk has all of it */
	size_t room = (size_t) new_len + 16;
	char *delta = malloc(room);
	char *made = malloc(new_len > 0 ? new_len : 1);
	size_t len = gs_delta_encode(old_state, old_len, new_state, new_len, delta, room);
	uint32_t says;
	char *exact;

	check(len <= room);
	if (len > 0)
	{
		check(gs_delta_length(delta, len, &says) == NULL && says == new_len);
		exact = exact_copy(delta, len);
		check(gs_delta_apply(old_state, old_len, exact, len, made, new_len) == NULL);
		check(memcmp(made, new_state, new_len) == 0);
		try_back(old_state, old_len, new_state, new_len, exact, len);
		check(gs_delta_encode(old_state, old_len, new_state, new_len, exact, len) == len);
		check(memcmp(exact, delta, len) == 0);
		free(exact);
		exact = malloc(len);
		check(gs_delta_encode(old_state, old_len, new_state, new_len, exact, len - 1) ==
			  0);
		free(exact);
	}
	free(made);
	free(delta);
}

static void
try_edits(const char *old_state, uint32_t old_len, const uint8_t *edits, size_t size)
{
	char *state = malloc(old_len + 256 * (size / 4) + 1);
	uint32_t len = old_len;
	char *exact;

	memcpy(state, old_state, old_len);
	for (; size >= 4; edits += 4, size -= 4)
	{
		uint32_t where = (edits[1] + 256U * edits[2]) % (len + 1);
		uint32_t n = edits[0] >> 2;

		switch (edits[0] & 3)
		{
			case 0: /* replace */
				for (uint32_t i = where; i < len && i < where + n; i++)
					state[i] = (char) (edits[3] + i);
				break;
			case 1: /* insert */
				memmove(state + where + n, state + where, len - where);
				for (uint32_t i = 0; i < n; i++)
					state[where + i] = (char) (edits[3] * (i + 1));
				len += n;
				break;
			case 2: /* delete */
				if (n > len - where)
					n = len - where;
				memmove(state + where, state + where + n, len - where - n);
				len -= n;
				break;
			default: /* move to the end */
				if (n > len - where)
					n = len - where;
				for (uint32_t i = 0; i < n; i++)
				{
					char c = state[where];

					memmove(state + where, state + where + 1, len - where - 1);
					state[len - 1] = c;
				}
		}
	}
	exact = exact_copy(state, len);
	try_states(old_state, old_len, exact, len);
	free(exact);
	free(state);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t first;
	size_t second;
	char *old_state;
	char *rest;

	if (size < 3)
		return 0;
	first = data[1] + 256U * data[2];
	if (first > size - 3)
		first = size - 3;
	second = size - 3 - first;
	old_state = exact_copy(data + 3, first);
	rest = exact_copy(data + 3 + first, second);
	switch (data[0] % 3)
	{
		case 0:
			try_delta(old_state, (uint32_t) first, rest, second);
			break;
		case 1:
			try_states(old_state, (uint32_t) first, rest, (uint32_t) second);
			break;
		default:
			try_edits(old_state, (uint32_t) first, (const uint8_t *) rest, second);
			break;
	}
	free(rest);
	free(old_state);
	return 0;
}
