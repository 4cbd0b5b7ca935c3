/*-------------------------------------------------------------------------
 *
 * gs_columns_decode.c
 *	  Codec of a payload whose log is turned into columns: decoding.
 *
 * The format is drawn in gs_columns.h; gs_columns.c writes it.  The model:
 *
 *	1. The head is read: states, players, templates, shapes, and of each column
 *	   where its bytes are.  What format 2 does not have is told here.
 *	2. Entries are put together one after the other, straight to where they
 *	   belong in the payload of format 1.  Each column is a cursor that goes
 *	   forward only.  A length that stands before the bytes is put in when they
 *	   have been written.
 *	3. Everything must come out even: raw_len bytes written, and each column
 *	   at its end.
 *
 * What may not be done here: trust a number.  Reading goes through
 * gs_bytes.h, writing through put_raw() below; both compare with what is left.
 * Work is linear in the bytes read and written, since each value takes at least
 * a byte of its column, and each element of a run but the first one that of a comma.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_columns.h"

#include <stdio.h>

#define MAX_STRIDE 4
#define MAX_WORDS  16384 /* of all columns */

typedef struct Piece
{
	const char *data;
	uint32_t len;
} Piece;

typedef struct Shape
{
	uint8_t kind;
	uint8_t flags;
	uint32_t template;
} Shape;

typedef struct Cursor
{
	GsColumnMode mode;
	int stride;
	const char *p; /* the next value */
	const char *end;
	const char *data; /* BYTES: the next value, p is at its length */
	uint64_t left;	  /* BYTES: so many values */
	int at;			  /* NUMBERS, CLOCK: place in before[] */
	int64_t before[MAX_STRIDE];
	int64_t step;		 /* to be added to each difference */
	uint32_t first_word; /* WORDS: in words[] */
	uint32_t nwords;
} Cursor;

static Piece players[GS_COLUMNS_PLAYERS];
static Piece templates[GS_COLUMNS_TEMPLATES];
static Shape shapes[GS_COLUMNS_SHAPES];
static Cursor cursors[GS_COLUMNS_MAX];
static Piece words[MAX_WORDS];
static uint32_t nplayers;
static uint32_t ntemplates;
static uint32_t nshapes;
static uint32_t ncursors;
static uint32_t nwords;

/* What the format has. */
static uint32_t fixed_columns;
static unsigned char last_marker; /* of those in a template */

/* Where the payload is written. */
static char *out;
static char *out_end;

/* ----------
 * writing
 * ----------
 */

static inline bool
put_raw(const char *data, size_t len)
{
	if (len > (size_t) (out_end - out))
		return false;
	out = gs_put_raw(out, data, len);
	return true;
}

static bool
put_varint(uint64_t value)
{
	char bytes[GS_VARINT_MAX_BYTES];

	return put_raw(bytes, (size_t) (gs_varint_put(bytes, value) - bytes));
}

static bool
put_bytes(const char *data, uint32_t len)
{
	return put_varint(len) && put_raw(data, len);
}

/* ----------
 * values of a column
 * ----------
 */

static bool
next_number(Cursor *c, int64_t *number)
{
	uint64_t distance;

	if ((c->mode != GS_COLUMN_NUMBERS && c->mode != GS_COLUMN_CLOCK) ||
		!gs_varint_get(&c->p, c->end, &distance))
		return false;
	*number = gs_time_at(distance, c->stride > 0 ? c->before[c->at] : 0);
	*number = (int64_t) ((uint64_t) *number + (uint64_t) c->step);
	c->before[c->at] = *number;
	c->at = c->at + 1 < c->stride ? c->at + 1 : 0;
	return true;
}

/* Everything up to a line feed */
static bool
next_line(const char **p, const char *end, Piece *piece)
{
	const char *line = *p;
	const char *feed = line < end ? memchr(line, '\n', (size_t) (end - line)) : NULL;

	if (feed == NULL || feed - line > UINT32_MAX)
		return false;
	*piece = (Piece){line, (uint32_t) (feed - line)};
	*p = feed + 1;
	return true;
}

static bool
next_bytes(Cursor *c, Piece *piece)
{
	if (c->mode != GS_COLUMN_BYTES || c->left == 0 ||
		!gs_consume_uint32(&c->p, c->end, &piece->len))
		return false;
	/* that all of them are there was seen when the column was opened */
	piece->data = c->data;
	c->data += piece->len;
	c->left--;
	return true;
}

static bool
put_text_of(const Cursor *c, int64_t n)
{
	char text[48];
	int len;

	if (c->mode == GS_COLUMN_NUMBERS)
		len = snprintf(text, sizeof(text), "%lld", (long long) n);
	else
		len = snprintf(text, sizeof(text), "%lld:%02d:%02d", (long long) n / 3600,
					   (int) (n / 60 % 60), (int) (n % 60));
	return put_raw(text, (size_t) len);
}

/* The next value of a column, to the end of what is written. */
static bool
put_value(Cursor *c)
{
	Piece piece;
	int64_t number;

	switch (c->mode)
	{
		case GS_COLUMN_LINES:
			return next_line(&c->p, c->end, &piece) && put_raw(piece.data, piece.len);
		case GS_COLUMN_NUMBERS:
			return next_number(c, &number) && put_text_of(c, number);
		case GS_COLUMN_CLOCK:
			return next_number(c, &number) && number >= 0 && put_text_of(c, number);
		case GS_COLUMN_WORDS:
			if (c->p == c->end || (unsigned char) *c->p >= c->nwords)
				return false;
			piece = words[c->first_word + (unsigned char) *c->p++];
			return put_raw(piece.data, piece.len);
		case GS_COLUMN_BYTES:
			return next_bytes(c, &piece) && put_raw(piece.data, piece.len);
	}
	return false;
}

/* ----------
 * the head
 * ----------
 */

static bool
read_pieces(const char **p, const char *end, Piece *pieces, uint32_t max, uint32_t *n)
{
	uint64_t number;

	if (!gs_consume_number(p, end, max, &number))
		return false;
	for (*n = 0; *n < number; ++*n)
	{
		if (!gs_consume_bytes(p, end, &pieces[*n].data, &pieces[*n].len))
			return false;
	}
	return true;
}

static bool
read_shapes(const char **p, const char *end)
{
	uint64_t number;

	if (!gs_consume_number(p, end, GS_COLUMNS_SHAPES, &number))
		return false;
	for (nshapes = 0; nshapes < number; nshapes++)
	{
		Shape *shape = &shapes[nshapes];
		uint64_t template = 0;

		if (!gs_consume_raw(p, end, &shape->kind, 1) ||
			!gs_consume_raw(p, end, &shape->flags, 1))
			return false;
		if ((shape->flags & GS_ENTRY_HAS_EVENT) &&
			(!gs_varint_get(p, end, &template) || template >= ntemplates))
			return false;
		shape->template = (uint32_t) template;
	}
	return true;
}

static bool
read_words(Cursor *c)
{
	uint64_t n;

	if (!gs_consume_number(&c->p, c->end, GS_COLUMNS_WORDS, &n) || n > MAX_WORDS - nwords)
		return false;
	c->first_word = nwords;
	c->nwords = (uint32_t) n;
	while (n-- > 0)
	{
		if (!next_line(&c->p, c->end, &words[nwords++]))
			return false;
	}
	return true;
}

/* Lengths first, then as many bytes as they say */
static bool
read_lengths(Cursor *c)
{
	const char *p;
	uint64_t total = 0;

	if (!gs_varint_get(&c->p, c->end, &c->left))
		return false;
	p = c->p;
	for (uint64_t i = 0; i < c->left; i++)
	{
		uint32_t len;

		if (!gs_consume_uint32(&p, c->end, &len))
			return false;
		total += len;
	}
	if (total != (uint64_t) (c->end - p))
		return false;
	c->data = p;
	c->end = p;
	return true;
}

static bool
open_column(Cursor *c, const char *data, uint32_t len, unsigned mode, int stride)
{
	*c = (Cursor){.mode = (GsColumnMode) mode,
				  .stride = stride,
				  .p = data,
				  .end = data + len};
	switch (c->mode)
	{
		case GS_COLUMN_LINES:
			return stride == 0;
		case GS_COLUMN_NUMBERS:
		case GS_COLUMN_CLOCK:
			return stride <= MAX_STRIDE;
		case GS_COLUMN_WORDS:
			return stride == 0 && read_words(c);
		case GS_COLUMN_BYTES:
			/* there are no bytes of a column without values */
			return stride == 0 && (len == 0 || read_lengths(c));
	}
	return false;
}

/* What stands before the times, if there are any */
static bool
read_step(Cursor *c)
{
	uint64_t n;

	if (c->p == c->end)
		return true;
	if (c->mode != GS_COLUMN_NUMBERS || c->stride != 1 ||
		!gs_varint_get(&c->p, c->end, &n))
		return false;
	c->step = gs_unzigzag(n);
	return true;
}

static bool
read_columns(const char **p, const char *end, int format)
{
	uint64_t number;

	nwords = 0;
	if (!gs_consume_number(p, end, GS_COLUMNS_MAX, &number) || number < fixed_columns)
		return false;
	for (ncursors = 0; ncursors < number; ncursors++)
	{
		unsigned char mode;
		unsigned char stride;
		const char *data;
		uint32_t len;

		if (!gs_consume_raw(p, end, &mode, 1) || !gs_consume_raw(p, end, &stride, 1) ||
			!gs_consume_bytes(p, end, &data, &len) || mode > GS_COLUMN_BYTES ||
			!open_column(&cursors[ncursors], data, len, mode, stride))
			return false;
	}
	return *p == end &&
		   (format == GS_PAYLOAD_FORMAT_2 || read_step(&cursors[GS_COLUMN_TIME]));
}

/* ----------
 * entries
 * ----------
 */

/* The next byte that may be a marker, or the end: eight bytes at a time. */
static const char *
next_marker(const char *p, const char *end)
{
	for (; end - p >= 8; p += 8)
	{
		uint64_t word;

		memcpy(&word, p, sizeof(word));
		/* the highest bit of those bytes that are less than 5 */
		if ((word - UINT64_C(0x0505050505050505)) & ~word & UINT64_C(0x8080808080808080))
			break;
	}
	while (p < end && (unsigned char) (*p - 1) >= last_marker)
		p++;
	return p;
}

static bool put_run(const char **p, const char *end, int depth);

/* A template, or one within a run: then up to the end of that. */
static bool
put_template(const char **p, const char *end, int depth)
{
	while (*p < end)
	{
		const char *marker = next_marker(*p, end);
		unsigned char column;

		if (!put_raw(*p, (size_t) (marker - *p)))
			return false;
		*p = marker;
		if (marker == end)
			break;
		switch (*marker)
		{
			case GS_TEMPLATE_SLOT:
				if (end - marker < 2)
					return false;
				column = (unsigned char) marker[1];
				if (column < GS_COLUMN_EVENT || column >= ncursors ||
					!put_value(&cursors[column]))
					return false;
				*p = marker + 2;
				break;
			case GS_TEMPLATE_END:
				*p = marker + 1;
				return depth > 0;
			default:
				if (!put_run(p, end, depth))
					return false;
		}
	}
	return depth == 0;
}

static bool
put_run(const char **p, const char *end, int depth)
{
	size_t comma = **p == GS_TEMPLATE_SPACED_RUN ? 2 : 1;
	const char *element = *p + 1;
	int64_t n;

	if (depth == GS_COLUMNS_DEPTH || !next_number(&cursors[GS_COLUMN_COUNT], &n) || n < 1)
		return false;
	for (;; n--)
	{
		*p = element;
		if (!put_template(p, end, depth + 1))
			return false;
		if (n == 1)
			return true;
		if (!put_raw(", ", comma))
			return false;
	}
}

static bool
put_event(const Piece *template)
{
	char *start = out;
	const char *p = template->data;
	char bytes[GS_VARINT_MAX_BYTES];
	size_t len;
	size_t head;

	if (!put_template(&p, p + template->len, 0))
		return false;

	/* the length goes before it */
	len = (size_t) (out - start);
	head = (size_t) (gs_varint_put(bytes, len) - bytes);
	if (!put_raw(bytes, head))
		return false;
	memmove(start + head, start, len);
	memcpy(start, bytes, head);
	return true;
}

static bool
put_entry(void)
{
	int64_t number;
	int64_t distance;
	const Shape *shape;
	Piece piece;
	char head[2];

	if (!next_number(&cursors[GS_COLUMN_SHAPE], &number) || number < 0 ||
		number >= nshapes || !next_number(&cursors[GS_COLUMN_TIME], &distance))
		return false;
	shape = &shapes[number];
	head[0] = (char) shape->kind;
	head[1] = (char) shape->flags;
	if (!put_raw(head, 2) || !put_varint(gs_zigzag(distance)))
		return false;
	if (shape->flags & GS_ENTRY_HAS_PLAYER)
	{
		if (!next_number(&cursors[GS_COLUMN_PLAYER], &number) || number < 0 ||
			number >= nplayers || !put_bytes(players[number].data, players[number].len))
			return false;
	}
	if (shape->flags & GS_ENTRY_HAS_REQUEST)
	{
		if (!next_bytes(&cursors[GS_COLUMN_REQUEST], &piece) ||
			piece.len != GS_REQUEST_LEN || !put_raw(piece.data, piece.len))
			return false;
	}
	if ((shape->flags & GS_ENTRY_HAS_EVENT) && !put_event(&templates[shape->template]))
		return false;
	if (shape->flags & GS_ENTRY_HAS_DELTA)
		return next_bytes(&cursors[GS_COLUMN_DELTA], &piece) &&
			   put_bytes(piece.data, piece.len);
	return true;
}

static bool
skip_requests(const char **p, const char *end)
{
	uint64_t n;

	if (!gs_varint_get(p, end, &n))
		return false;
	while (n-- > 0)
	{
		const unsigned char *id;
		uint32_t arguments;
		int64_t version;

		if (!gs_payload_next_request(p, end, &version, &id, &arguments))
			return false;
	}
	return true;
}

/* The states and what else stands before the entries, in format 1; NULL or what is wrong */
static const char *
copy_head(const char **p, const char *end, uint64_t *nentries)
{
	static const char format = GS_PAYLOAD_FORMAT_1;
	const char *start = *p;
	const char *data;
	uint32_t len;
	uint64_t number;
	char flags;

	/* format 1 writes all this the same way */
	if (!gs_consume_raw(p, end, &flags, 1) || (flags & ~GS_PAYLOAD_FLAGS) ||
		(!(flags & GS_PAYLOAD_HAS_DELTAS) && !gs_consume_bytes(p, end, &data, &len)) ||
		(!(flags & GS_PAYLOAD_SAME_STATE) && !gs_consume_bytes(p, end, &data, &len)))
		return "columns have a broken state";
	if (!gs_varint_get(p, end, &number) || !gs_varint_get(p, end, nentries) ||
		!gs_varint_get(p, end, &number) ||
		((flags & GS_PAYLOAD_HAS_LIMIT) && !gs_varint_get(p, end, &number)) ||
		((flags & GS_PAYLOAD_HAS_REQUESTS) && !skip_requests(p, end)))
		return "columns have a broken head";
	if (!put_raw(&format, 1) || !put_raw(start, (size_t) (*p - start)))
		return "columns hold more than they should";
	return NULL;
}

const char *
gs_columns_decode(const char *src, size_t src_len, char *raw, size_t raw_len)
{
	const char *p = src;
	const char *end = src + src_len;
	const char *error;
	uint64_t size;
	uint64_t nentries;
	int format;

	out = raw;
	out_end = raw + raw_len;
	if (src_len < 1)
		return "columns are empty";
	format = *p++;
	if (format != GS_PAYLOAD_FORMAT_2 && format != GS_PAYLOAD_FORMAT_3)
		return "columns have an unknown format";
	fixed_columns = format == GS_PAYLOAD_FORMAT_2 ? GS_COLUMN_COUNT : GS_COLUMN_FIRST;
	last_marker = format == GS_PAYLOAD_FORMAT_2 ? GS_TEMPLATE_SLOT : GS_TEMPLATE_END;
	if (!gs_varint_get(&p, end, &size) || size != raw_len)
		return "columns hold another number of bytes than they should";
	error = copy_head(&p, end, &nentries);
	if (error != NULL)
		return error;
	if (!read_pieces(&p, end, players, GS_COLUMNS_PLAYERS, &nplayers))
		return "columns have broken players";
	if (!read_pieces(&p, end, templates, GS_COLUMNS_TEMPLATES, &ntemplates))
		return "columns have broken templates";
	if (!read_shapes(&p, end))
		return "columns have broken shapes";
	if (!read_columns(&p, end, format))
		return "columns are broken";
	for (uint64_t i = 0; i < nentries; i++)
	{
		if (!put_entry())
			return "columns have a broken entry";
	}
	for (uint32_t i = 0; i < ncursors; i++)
	{
		if (cursors[i].p != cursors[i].end || cursors[i].left != 0)
			return "columns have values that no entry needs";
	}
	return out == out_end ? NULL : "columns hold fewer bytes than they should";
}
