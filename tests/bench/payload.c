/*
 * States and events as the benchmark sends them.
 *
 * A state is 2 KB of compact JSON, and each move sends a whole new one.  What a
 * move changes in it is the pattern:
 *   typical  a card table: counters, clocks, four hands and a board.  A move
 *            changes what a move of such a game changes: the turn, two clocks
 *            and two cells of the board, in place, so that the size stays.
 *   all      every byte of a board is new
 *   one      100 bytes in one place
 *   four     25 bytes in each of four places, two of them within the first and
 *            the last 32 bytes of the state
 */
#include <stdio.h>
#include <string.h>

#include "gs_bench.h"

/* Every number has a first digit that is not 0 and a width that stays. */
#define TABLE_HEAD                                                 \
	"{\"turn\":100000,\"phase\":\"play\",\"clock\":1000000000000," \
	"\"left\":[900000,900000,900000,900000],"                      \
	"\"players\":[\"p0\",\"p1\",\"p2\",\"p3\"],\"trump\":\"hearts\",\"board\":\""
#define BOARD_HEAD "{\"b\":\""
#define STATE_TAIL "\"}"
#define TAIL_LEN   ((int) sizeof(STATE_TAIL) - 1)
#define AT_TURN	   8
#define AT_CLOCK   38
#define AT_LEFT	   60

#define ONE_BYTES  100
#define FOUR_BYTES 25

static const char letters[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-";

bool
pattern_find(const char *name, Pattern *pattern)
{
	static const char *const names[] = {"typical", "all", "one", "four"};

	for (int i = 0; i < 4; i++)
	{
		if (strcmp(names[i], name) == 0)
		{
			*pattern = (Pattern) i;
			return true;
		}
	}
	return false;
}

static const char *
head_of(Pattern pattern)
{
	return pattern == PATTERN_TYPICAL ? TABLE_HEAD : BOARD_HEAD;
}

static void
put_number(char *at, int width, uint64_t value)
{
	while (width-- > 1)
	{
		at[width] = (char) ('0' + value % 10);
		value /= 10;
	}
	at[0] = (char) ('1' + value % 9);
}

/* New random letters, six bits of a random number each. */
static void
put_random(char *at, int len, uint64_t *seed)
{
	uint64_t random = 0;

	for (int i = 0; i < len; i++)
	{
		if (i % 10 == 0)
			random = next_random(seed);
		at[i] = letters[random % 64];
		random /= 64;
	}
}

char *
state_create(Pattern pattern, uint64_t *seed)
{
	char *state = must_alloc(STATE_SIZE + 1);
	int head = (int) strlen(head_of(pattern));

	memcpy(state, head_of(pattern), (size_t) head);
	put_random(state + head, STATE_SIZE - head - TAIL_LEN, seed);
	memcpy(state + STATE_SIZE - TAIL_LEN, STATE_TAIL, TAIL_LEN + 1);
	return state;
}

/* state_change: the state after the next move */
void
state_change(Pattern pattern, char *state, int64_t version, uint64_t random)
{
	int begin = (int) strlen(head_of(pattern));
	int end = STATE_SIZE - TAIL_LEN;
	int room = end - begin;

	switch (pattern)
	{
		case PATTERN_TYPICAL:
			put_number(state + AT_TURN, 6, (uint64_t) version);
			put_number(state + AT_CLOCK, 13, (uint64_t) now_ns() / 1000000);
			put_number(state + AT_LEFT + (version % 4) * 7, 6, random % 900000);
			state[begin + (int) ((random >> 8) % (uint64_t) room)] =
				"23456789TJQKA"[random % 13];
			state[begin + (int) ((random >> 32) % (uint64_t) room)] = '.';
			break;
		case PATTERN_ALL:
			put_random(state + begin, room, &random);
			break;
		case PATTERN_ONE:
			put_random(state + begin + (random >> 8) % (uint64_t) (room - ONE_BYTES),
					   ONE_BYTES, &random);
			break;
		case PATTERN_FOUR:
			put_random(state + begin, FOUR_BYTES, &random);
			put_random(state + 64 + (random >> 8) % 900, FOUR_BYTES, &random);
			put_random(state + 1024 + (random >> 8) % 900, FOUR_BYTES, &random);
			put_random(state + end - FOUR_BYTES, FOUR_BYTES, &random);
			break;
	}
}

/* event_make: the event of the next move, EVENT_SIZE bytes */
void
event_make(char *event, int64_t version, uint64_t random)
{
	int len =
		snprintf(event, EVENT_SIZE + 1,
				 "{\"type\":\"play\",\"seat\":%d,\"card\":\"%c%c\",\"seq\":%lld,"
				 "\"from\":%u,\"to\":%u,\"note\":\"",
				 (int) (version % 4), "CDHS"[random % 4],
				 "23456789TJQKA"[(random >> 4) % 13], (long long) version,
				 (unsigned) (random >> 16) % 1000, (unsigned) (random >> 40) % 1000);

	memset(event + len, 'n', (size_t) (EVENT_SIZE - TAIL_LEN - len));
	memcpy(event + EVENT_SIZE - TAIL_LEN, STATE_TAIL, TAIL_LEN + 1);
}
