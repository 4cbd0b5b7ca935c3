/*-------------------------------------------------------------------------
 *
 * gs_columns_modes.c
 *	  Codec of a payload whose log is turned into columns: the bytes of a column.
 *
 * The modes are drawn in gs_columns.h.  Those that can hold a column's values are
 * tried, and the one is taken whose bytes have the least entropy: that is nearest to
 * what a compressor makes of them.
 *
 * Work memory is kept from one call to the next.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_columns_parts.h"

#include <stdlib.h>

#define MAX_STRIDE	4
#define STEP_SAMPLE 31 /* differences that the step between times is taken from */

/* Bytes that grow; "broken" once there was no memory. */
typedef struct Bytes
{
	char *data;
	size_t len;
	size_t size;
	bool broken;
} Bytes;

static Value *values; /* of the column that is being written */
static Pieces words;
static Bytes candidate; /* bytes of a column in one of its modes */
static Bytes best;		/* those of the best mode so far */

/* ----------
 * work memory
 * ----------
 */

static bool
reserve(Bytes *bytes, size_t more)
{
	size_t size = bytes->size ? bytes->size : 4096;
	char *data;

	if (more <= bytes->size - bytes->len)
		return !bytes->broken;
	while (size < bytes->len + more)
		size *= 2;
	data = bytes->broken ? NULL : realloc(bytes->data, size);
	if (data == NULL)
	{
		bytes->broken = true;
		return false;
	}
	bytes->data = data;
	bytes->size = size;
	return true;
}

static void
put_raw(Bytes *bytes, const char *data, size_t len)
{
	if (reserve(bytes, len))
	{
		gs_put_raw(bytes->data + bytes->len, data, len);
		bytes->len += len;
	}
}

static void
put_varint(Bytes *bytes, uint64_t value)
{
	if (reserve(bytes, GS_VARINT_MAX_BYTES))
		bytes->len =
			(size_t) (gs_varint_put(bytes->data + bytes->len, value) - bytes->data);
}

static void
clear(Bytes *bytes)
{
	bytes->len = 0;
	bytes->broken = false;
}

/* ----------
 * modes of a column
 * ----------
 */

/* Is this how gs_columns_decode.c writes an integer? */
static bool
is_number(const char *data, uint32_t len, int64_t *number)
{
	uint32_t i = len > 0 && data[0] == '-' ? 1 : 0;
	int64_t n = 0;

	if (len == i || len > 18 || (data[i] == '0' && len > 1))
		return false;
	for (; i < len; i++)
	{
		if (data[i] < '0' || data[i] > '9')
			return false;
		n = n * 10 + (data[i] - '0');
	}
	*number = data[0] == '-' ? -n : n;
	return true;
}

/* Two digits below 60 behind a colon */
static bool
is_sixty(const char *data, int64_t *n)
{
	if (data[0] != ':' || data[1] < '0' || data[1] > '5' || data[2] < '0' ||
		data[2] > '9')
		return false;
	*n = (data[1] - '0') * 10 + (data[2] - '0');
	return true;
}

/* h:mm:ss with as many digits for the hours as they need */
static bool
is_clock(const char *data, uint32_t len, int64_t *number)
{
	int64_t h;
	int64_t m;
	int64_t s;

	if (len < 7 || len > 12 || !is_sixty(data + len - 3, &s) ||
		!is_sixty(data + len - 6, &m) || !is_number(data, len - 6, &h) || h < 0)
		return false;
	*number = h * 3600 + m * 60 + s;
	return true;
}

/* What are the values of a column, numbers or clocks?  Their numbers are set. */
static void
look_at_values(Column *column)
{
	for (uint32_t i = column->first; column->count > 0 && i != NONE; i = values[i].next)
	{
		Value *v = &values[i];

		column->numbers = column->numbers && is_number(v->data, v->len, &v->number);
		column->clocks = column->clocks && is_clock(v->data, v->len, &v->number);
		if (!column->numbers && !column->clocks)
			return;
	}
}

static void
put_lines(const Column *column, Bytes *to)
{
	for (uint32_t i = column->first; i != NONE; i = values[i].next)
	{
		put_raw(to, values[i].data, values[i].len);
		put_raw(to, "\n", 1);
	}
}

static void
put_numbers(const Column *column, int stride, Bytes *to)
{
	int64_t before[MAX_STRIDE] = {0};
	int at = 0;

	for (uint32_t i = column->first; i != NONE; i = values[i].next)
	{
		int64_t number = values[i].number;

		put_varint(to, gs_time_distance(number, stride > 0 ? before[at] : 0));
		before[at] = number;
		at = at + 1 < stride ? at + 1 : 0;
	}
}

/* The middle one of some of the differences between times */
static int64_t
find_step(const Column *column)
{
	int64_t sample[STEP_SAMPLE];
	uint32_t n = 0;
	uint32_t every = column->count / STEP_SAMPLE + 1;
	uint32_t count = 0;
	int64_t before = 0;

	for (uint32_t i = column->first; i != NONE; i = values[i].next)
	{
		int64_t difference = (int64_t) ((uint64_t) values[i].number - (uint64_t) before);
		uint32_t at;

		before = values[i].number;
		if (count++ % every != 0)
			continue;
		for (at = n++; at > 0 && sample[at - 1] > difference; at--)
			sample[at] = sample[at - 1];
		sample[at] = difference;
	}
	return sample[n / 2];
}

/* The times: the step, then how much each is off it */
static void
put_times(const Column *column, Bytes *to)
{
	int64_t step = find_step(column);
	int64_t before = 0;

	put_varint(to, gs_zigzag(step));
	for (uint32_t i = column->first; i != NONE; i = values[i].next)
	{
		put_varint(to, gs_time_distance(values[i].number,
										(int64_t) ((uint64_t) before + (uint64_t) step)));
		before = values[i].number;
	}
}

/* false if there are too many different ones */
static bool
put_words(const Column *column, Bytes *to)
{
	clear_pieces(&words);
	for (uint32_t i = column->first; i != NONE; i = values[i].next)
	{
		uint32_t max =
			column->count / 2 < GS_COLUMNS_WORDS ? column->count / 2 : GS_COLUMNS_WORDS;

		if (find_piece(&words, max, values[i].data, values[i].len) == NONE)
			return false;
	}
	put_varint(to, words.n);
	for (uint32_t i = 0; i < words.n; i++)
	{
		put_raw(to, words.piece[i].data, words.piece[i].len);
		put_raw(to, "\n", 1);
	}
	for (uint32_t i = column->first; i != NONE; i = values[i].next)
	{
		char number =
			(char) find_piece(&words, GS_COLUMNS_WORDS, values[i].data, values[i].len);

		put_raw(to, &number, 1);
	}
	return true;
}

static void
put_bytes(const Column *column, Bytes *to)
{
	put_varint(to, column->count);
	for (uint32_t i = column->first; i != NONE; i = values[i].next)
		put_varint(to, values[i].len);
	for (uint32_t i = column->first; i != NONE; i = values[i].next)
		put_raw(to, values[i].data, values[i].len);
}

/* 256 times the logarithm of n > 0 to base 2, by straight lines between powers of 2 */
static inline uint64_t
log2_256(uint32_t n)
{
	int power = 31 - __builtin_clz(n);

	return (uint64_t) power * 256 + (((uint64_t) n << 8) >> power) - 256;
}

/* About how many bits an order-0 entropy coder would need, times 256. */
static uint64_t
entropy(const Bytes *bytes)
{
	uint32_t count[256] = {0};
	uint64_t bits;

	if (bytes->len == 0)
		return 0;
	for (size_t i = 0; i < bytes->len; i++)
		count[(unsigned char) bytes->data[i]]++;
	bits = bytes->len * log2_256((uint32_t) bytes->len);
	for (int i = 0; i < 256; i++)
	{
		if (count[i] > 1)
			bits -= count[i] * log2_256(count[i]);
	}
	return bits;
}

/* The candidate becomes the best if it is better. */
static void
compete(Column *column, GsColumnMode mode, int stride, uint64_t *best_bits)
{
	uint64_t bits = entropy(&candidate);

	if (bits < *best_bits)
	{
		Bytes swap = best;

		best = candidate;
		candidate = swap;
		*best_bits = bits;
		column->mode = mode;
		column->stride = stride;
	}
	clear(&candidate);
}

/* Chooses the mode; the bytes are in "best". */
static void
choose_mode(Column *column, uint32_t number)
{
	uint64_t bits = UINT64_MAX;

	clear(&best);
	clear(&candidate);
	column->mode = number < GS_COLUMN_REQUEST || number == GS_COLUMN_COUNT
					   ? GS_COLUMN_NUMBERS
					   : GS_COLUMN_BYTES;
	column->stride = number == GS_COLUMN_TIME ? 1 : 0;
	if (column->count == 0)
		return;
	if (number == GS_COLUMN_TIME)
		put_times(column, &best);
	else if (column->mode == GS_COLUMN_NUMBERS)
		put_numbers(column, 0, &best);
	else if (number < GS_COLUMN_FIRST)
		put_bytes(column, &best);
	else
	{
		look_at_values(column);
		if (column->numbers || column->clocks)
		{
			for (int stride = 0; stride <= MAX_STRIDE; stride++)
			{
				put_numbers(column, stride, &candidate);
				compete(column, column->numbers ? GS_COLUMN_NUMBERS : GS_COLUMN_CLOCK,
						stride, &bits);
			}
		}
		else
		{
			put_lines(column, &candidate);
			compete(column, GS_COLUMN_LINES, 0, &bits);
		}
		if (put_words(column, &candidate))
			compete(column, GS_COLUMN_WORDS, 0, &bits);
	}
}

bool
gs_column_make(Column *column, uint32_t number, Value *all, const char **data,
			   size_t *len)
{
	values = all;
	choose_mode(column, number);
	*data = best.data;
	*len = best.len;
	return !best.broken;
}

static void
free_bytes(Bytes *bytes)
{
	free(bytes->data);
	memset(bytes, 0, sizeof(*bytes));
}

void
gs_column_release(void)
{
	free_bytes(&candidate);
	free_bytes(&best);
}
