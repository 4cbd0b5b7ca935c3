/*-------------------------------------------------------------------------
 *
 * gs_columns.c
 *	  Codec of a payload whose log is turned into columns: encoding.
 *
 * The format is drawn in gs_columns.h; gs_columns_decode.c reads it.  The model:
 *
 *	1. Each entry is taken to pieces: its shape, and values of columns.  A
 *	   value is where it stands in the entry, not a copy; the values of one
 *	   column are a list.
 *	2. An event is read as JSON, leniently: what is not a value (keys,
 *	   punctuation, white space) is the template, to the letter, whatever it
 *	   is.  So it does not matter for the result how well JSON was understood.
 *	   The column of a value follows from the keys that lead to it.
 *	3. For each column the modes that can hold its values are tried, and the
 *	   one is taken whose bytes have the least entropy.
 *	4. What does not fit (too many columns, templates, shapes, players) ends
 *	   the attempt, or goes as a whole into GS_COLUMN_EVENT.
 *
 * Work memory is allocated on first use, grows with the largest payload, and
 * is given back when that was large.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_columns.h"

#include <stdlib.h>

#define MAX_DEPTH		   32				 /* of an event's JSON */
#define MAX_TOKENS		   4096				 /* values of an event */
#define MAX_VALUES		   (2 * 1024 * 1024) /* of a payload */
#define KEPT_VALUES		   (64 * 1024)		 /* work memory for so many is kept */
#define MAX_TEMPLATE_BYTES (256 * 1024)		 /* of all templates of a payload */
#define MAX_STRIDE		   4
#define NONE			   UINT32_MAX

/* Slots of a hash of pieces: at most a quarter is used. */
#define HASH_SIZE 4096

typedef struct Value
{
	const char *data; /* not of numbers */
	uint32_t len;
	uint32_t next; /* of the same column, or NONE */
	int64_t number;
} Value;

typedef struct Column
{
	uint64_t path; /* hash of the keys that lead to the values */
	uint32_t first;
	uint32_t last;
	uint32_t count;
	bool numbers; /* all values are integers, "number" has them */
	bool clocks;  /* all values are h:mm:ss, "number" has the seconds */
	GsColumnMode mode;
	int stride;
} Column;

/* A value within the event that is being read. */
typedef struct Token
{
	const char *data;
	uint32_t len;
	uint32_t column;
} Token;

typedef struct Piece
{
	const char *data;
	uint32_t len;
} Piece;

/* Pieces, each once, in the order of their first use. */
typedef struct Pieces
{
	uint32_t n;
	uint16_t slot[HASH_SIZE]; /* 1 + number of the piece, 0 = none */
	Piece piece[HASH_SIZE / 4];
} Pieces;

typedef struct Shape
{
	uint8_t kind;
	uint8_t flags;
	uint32_t template; /* with an event */
} Shape;

/* Bytes that grow; "broken" once there was no memory. */
typedef struct Bytes
{
	char *data;
	size_t len;
	size_t size;
	bool broken;
} Bytes;

static Value *values = NULL;
static size_t values_size = 0;
static size_t nvalues;
static Column columns[GS_COLUMNS_MAX];
static uint32_t ncolumns;
static Token tokens[MAX_TOKENS];
static uint32_t ntokens;
static Pieces players;
static Pieces templates;
static Pieces words;
static Shape shapes[GS_COLUMNS_SHAPES];
static uint32_t nshapes;
static char *template_bytes = NULL;
static uint32_t template_len;
static Bytes candidate; /* bytes of a column in one of its modes */
static Bytes best;		/* those of the best mode so far */

_Static_assert(GS_COLUMNS_TEMPLATES <= HASH_SIZE / 4 &&
				   GS_COLUMNS_PLAYERS <= HASH_SIZE / 4,
			   "a quarter of the slots");

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

static void
free_bytes(Bytes *bytes)
{
	free(bytes->data);
	memset(bytes, 0, sizeof(*bytes));
}

static void
release_work(void)
{
	if (values_size <= KEPT_VALUES)
		return;
	free(values);
	values = NULL;
	values_size = 0;
	free_bytes(&candidate);
	free_bytes(&best);
}

/* NULL if there are too many, or there is no memory */
static Value *
add_value(uint32_t to)
{
	Column *column = &columns[to];
	Value *value;

	if (nvalues == values_size)
	{
		size_t size = values_size ? 2 * values_size : 1024;
		Value *more = size > MAX_VALUES ? NULL : realloc(values, size * sizeof(Value));

		if (more == NULL)
			return NULL;
		values = more;
		values_size = size;
	}
	if (column->count++ == 0)
		column->first = (uint32_t) nvalues;
	else
		values[column->last].next = (uint32_t) nvalues;
	column->last = (uint32_t) nvalues;
	value = &values[nvalues++];
	*value = (Value){.next = NONE};
	return value;
}

static bool
add_number(GsColumn column, int64_t number)
{
	Value *value = add_value(column);

	if (value)
		value->number = number;
	return value != NULL;
}

static bool
add_bytes(uint32_t column, const char *data, uint32_t len)
{
	Value *value = add_value(column);

	if (value)
	{
		value->data = data;
		value->len = len;
	}
	return value != NULL;
}

/* ----------
 * pieces, each once
 * ----------
 */

static inline uint64_t
hash_of(uint64_t hash, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char) data[i]) * UINT64_C(0x100000001B3);
	return hash;
}

static void
clear_pieces(Pieces *pieces)
{
	memset(pieces->slot, 0, sizeof(pieces->slot));
	pieces->n = 0;
}

/* The number of a piece, which is added if it is new; NONE if there are max already. */
static uint32_t
find_piece(Pieces *pieces, uint32_t max, const char *data, uint32_t len)
{
	uint32_t at = (uint32_t) (hash_of(len, data, len) >> 17) % HASH_SIZE;

	for (; pieces->slot[at] != 0; at = (at + 1) % HASH_SIZE)
	{
		uint32_t i = pieces->slot[at] - 1u;

		if (pieces->piece[i].len == len && memcmp(pieces->piece[i].data, data, len) == 0)
			return i;
	}
	if (pieces->n >= max)
		return NONE;
	pieces->piece[pieces->n] = (Piece){data, len};
	pieces->slot[at] = (uint16_t) ++pieces->n;
	return pieces->n - 1;
}

/* ----------
 * an event
 * ----------
 */

/* The column for values at that path; the last one takes what has no other. */
static uint32_t
column_at(uint64_t path)
{
	for (uint32_t i = GS_COLUMN_FIRST; i < ncolumns; i++)
	{
		if (columns[i].path == path)
			return i;
	}
	if (ncolumns == GS_COLUMNS_MAX)
		return GS_COLUMNS_MAX - 1;
	columns[ncolumns] = (Column){.path = path, .numbers = true, .clocks = true};
	return ncolumns++;
}

/* Copies to the template; false if it is full. */
static bool
put_template(const char *data, size_t len)
{
	if (len > MAX_TEMPLATE_BYTES - template_len)
		return false;
	gs_put_raw(template_bytes + template_len, data, len);
	template_len += (uint32_t) len;
	return true;
}

static bool
put_slot(uint64_t path, const char *data, size_t len)
{
	char slot[2] = {GS_TEMPLATE_SLOT};

	if (ntokens == MAX_TOKENS)
		return false;
	tokens[ntokens] = (Token){data, (uint32_t) len, column_at(path)};
	slot[1] = (char) tokens[ntokens].column;
	ntokens++;
	return put_template(slot, sizeof(slot));
}

/* The end of a string's contents, its closing quote; NULL if it is none. */
static const char *
end_of_string(const char *p, const char *end)
{
	for (; p < end; p++)
	{
		if (*p == '"')
			return p;
		if (*p == '\\' && ++p == end)
			return NULL;
		/* behind a backslash too: a value has no line feed */
		if ((unsigned char) *p < 0x20)
			return NULL;
	}
	return NULL;
}

static inline bool
is_bare(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		   c == '-' || c == '+' || c == '.';
}

#define PATH_ARRAY	UINT64_C(0x9E3779B97F4A7C15)
#define PATH_STRING UINT64_C(0xC2B2AE3D27D4EB4F)

/*
 * Takes JSON to pieces: the template behind those that there are, the values in
 * tokens[].  false if it is something else, or too much.
 */
static bool
read_event(const char *p, const char *end)
{
	uint64_t paths[MAX_DEPTH] = {0}; /* of what is open at each depth */
	bool object[MAX_DEPTH] = {false};
	uint64_t path = 0; /* of the next value */
	bool key = false;  /* the next string is one */
	int depth = 0;

	ntokens = 0;
	while (p < end)
	{
		const char *start = p;
		char c = *p++;

		if (c == '"')
		{
			const char *close = end_of_string(p, end);

			if (close == NULL)
				return false;
			if (key)
			{
				path = hash_of(paths[depth], p, (size_t) (close - p));
				if (!put_template(start, (size_t) (close + 1 - start)))
					return false;
			}
			else if (!put_template("\"", 1) ||
					 !put_slot(path ^ PATH_STRING, p, (size_t) (close - p)) ||
					 !put_template("\"", 1))
				return false;
			key = false;
			p = close + 1;
			continue;
		}
		if (is_bare(c))
		{
			while (p < end && is_bare(*p))
				p++;
			if (!put_slot(path, start, (size_t) (p - start)))
				return false;
			continue;
		}
		switch (c)
		{
			case '{':
			case '[':
				if (++depth == MAX_DEPTH)
					return false;
				object[depth] = key = c == '{';
				paths[depth] = path = hash_of(path ^ PATH_ARRAY, &c, 1);
				break;
			case '}':
			case ']':
				if (--depth < 0)
					return false;
				key = false;
				break;
			case ',':
				key = object[depth];
				path = paths[depth];
				break;
			case ':':
			case ' ':
			case '\t':
			case '\n':
			case '\r':
				break;
			default:
				return false;
		}
		if (!put_template(start, 1))
			return false;
	}
	return true;
}

/* Adds an event's values; its template's number, or NONE. */
static uint32_t
add_event(const char *event, uint32_t len)
{
	static const char whole[2] = {GS_TEMPLATE_SLOT, GS_COLUMN_EVENT};
	uint32_t start = template_len;
	uint32_t result = NONE;

	if (read_event(event, event + len))
	{
		uint32_t n = templates.n;

		result = find_piece(&templates, GS_COLUMNS_TEMPLATES - 1, template_bytes + start,
							template_len - start);
		for (uint32_t i = 0; result != NONE && i < ntokens; i++)
		{
			if (!add_bytes(tokens[i].column, tokens[i].data, tokens[i].len))
				return NONE;
		}
		if (result != NONE && templates.n > n)
			return result; /* it is new: its bytes stay */
	}
	template_len = start;
	if (result != NONE)
		return result;
	result = find_piece(&templates, GS_COLUMNS_TEMPLATES, whole, sizeof(whole));
	return result != NONE && add_bytes(GS_COLUMN_EVENT, event, len) ? result : NONE;
}

/* ----------
 * an entry
 * ----------
 */

static bool
add_shape(const GsEntry *e, uint32_t flags, uint32_t template)
{
	uint32_t i;

	/* the same as that of one of the last entries, almost always */
	for (i = 0; i < nshapes; i++)
	{
		if (shapes[i].kind == (uint8_t) e->kind && shapes[i].flags == flags &&
			shapes[i].template == template)
			break;
	}
	if (i == GS_COLUMNS_SHAPES)
		return false;
	if (i == nshapes)
		shapes[nshapes++] = (Shape){(uint8_t) e->kind, (uint8_t) flags, template};
	return add_number(GS_COLUMN_SHAPE, i);
}

/* false: the payload stays as it is */
static bool
add_entry(const GsEntry *e, uint32_t flags, int64_t base)
{
	uint32_t template = 0;

	if (!add_number(GS_COLUMN_TIME, (int64_t) ((uint64_t) e->at - (uint64_t) base)))
		return false;
	if (e->player)
	{
		uint32_t player =
			find_piece(&players, GS_COLUMNS_PLAYERS, e->player, e->player_len);

		if (player == NONE || !add_number(GS_COLUMN_PLAYER, player))
			return false;
	}
	/* the arguments stand behind the id */
	if (e->request_id &&
		!add_bytes(GS_COLUMN_REQUEST, (const char *) e->request_id, GS_REQUEST_LEN))
		return false;
	if (e->event)
	{
		template = add_event(e->event, e->event_len);
		if (template == NONE)
			return false;
	}
	if (e->delta && !add_bytes(GS_COLUMN_DELTA, e->delta, e->delta_len))
		return false;
	return add_shape(e, flags, template);
}

static bool
add_entries(const GsPayload *payload)
{
	const char *p = payload->entries;
	const char *end = p + payload->entries_len;

	for (uint64_t i = 0; i < payload->nentries; i++)
	{
		uint32_t flags = end - p >= 2 ? (unsigned char) p[1] : 0;
		GsEntry e;

		if (gs_entry_decode(&p, end, payload->base, &e) != NULL ||
			!add_entry(&e, flags, payload->base))
			return false;
	}
	return true;
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
make_column(Column *column, uint32_t number)
{
	uint64_t bits = UINT64_MAX;

	clear(&best);
	clear(&candidate);
	column->mode = number < GS_COLUMN_REQUEST ? GS_COLUMN_NUMBERS : GS_COLUMN_BYTES;
	column->stride = number == GS_COLUMN_TIME ? 1 : 0;
	if (column->count == 0)
		return;
	if (number < GS_COLUMN_REQUEST)
		put_numbers(column, column->stride, &best);
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

/* ----------
 * all of it
 * ----------
 */

static void
start(void)
{
	static const Column none = {0};

	nvalues = 0;
	ncolumns = GS_COLUMN_FIRST;
	for (uint32_t i = 0; i < GS_COLUMN_FIRST; i++)
		columns[i] = none;
	clear_pieces(&players);
	clear_pieces(&templates);
	nshapes = 0;
	template_len = 0;
}

/* What is left of dst; len = SIZE_MAX once it did not suffice. */
typedef struct Output
{
	char *p;
	char *end;
	bool full;
} Output;

static void
write_raw(Output *out, const void *data, size_t len)
{
	out->full = out->full || len > (size_t) (out->end - out->p);
	if (!out->full)
		out->p = gs_put_raw(out->p, data, len);
}

static void
write_varint(Output *out, uint64_t value)
{
	char bytes[GS_VARINT_MAX_BYTES];

	write_raw(out, bytes, (size_t) (gs_varint_put(bytes, value) - bytes));
}

static void
write_byte(Output *out, int value)
{
	char byte = (char) value;

	write_raw(out, &byte, 1);
}

static void
write_bytes(Output *out, const char *data, size_t len)
{
	write_varint(out, len);
	write_raw(out, data, len);
}

static void
write_pieces(Output *out, const Pieces *pieces)
{
	write_varint(out, pieces->n);
	for (uint32_t i = 0; i < pieces->n; i++)
		write_bytes(out, pieces->piece[i].data, pieces->piece[i].len);
}

static void
write_head(Output *out, const GsPayload *payload)
{
	write_byte(out, GS_PAYLOAD_FORMAT_2);
	write_varint(out, gs_payload_size(payload));
	write_byte(out, gs_payload_flags(payload));
	if (!payload->has_deltas)
		write_bytes(out, payload->initial, payload->initial_len);
	if (!gs_payload_same_state(payload))
		write_bytes(out, payload->final, payload->final_len);
	write_varint(out, (uint64_t) payload->first_version);
	write_varint(out, payload->nentries);
	write_varint(out, gs_zigzag(payload->base));
	if (payload->history_limit > 0)
		write_varint(out, payload->history_limit);
	if (payload->nrequests > 0)
	{
		write_varint(out, payload->nrequests);
		write_raw(out, payload->requests, payload->requests_len);
	}
	write_pieces(out, &players);
	write_pieces(out, &templates);
	write_varint(out, nshapes);
	for (uint32_t i = 0; i < nshapes; i++)
	{
		write_byte(out, shapes[i].kind);
		write_byte(out, shapes[i].flags);
		if (shapes[i].flags & GS_ENTRY_HAS_EVENT)
			write_varint(out, shapes[i].template);
	}
}

static void
write_columns(Output *out)
{
	write_varint(out, ncolumns);
	for (uint32_t i = 0; i < ncolumns && !out->full; i++)
	{
		make_column(&columns[i], i);
		out->full = out->full || best.broken;
		write_byte(out, (int) columns[i].mode);
		write_byte(out, columns[i].stride);
		write_bytes(out, best.data, best.len);
	}
}

size_t
gs_columns_encode(const GsPayload *payload, char *dst, size_t dst_len)
{
	Output out = {dst, dst + dst_len, false};
	bool done;

	if (template_bytes == NULL)
		template_bytes = malloc(MAX_TEMPLATE_BYTES);
	if (template_bytes == NULL)
		return 0;
	start();
	done = add_entries(payload);
	if (done)
	{
		write_head(&out, payload);
		write_columns(&out);
	}
	release_work();
	return done && !out.full ? (size_t) (out.p - dst) : 0;
}
