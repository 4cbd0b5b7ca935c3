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
 *	   The column of a value follows from the keys that lead to it.  Each element
 *	   of an array begins a run; where its template is that of the run before
 *	   it becomes part of that one.
 *	3. Each column is written in the mode that suits its values
 *	   (gs_columns_modes.c).
 *	4. What does not fit (too many columns, templates, shapes, players) ends
 *	   the attempt, or goes as a whole into GS_COLUMN_EVENT.
 *
 * Work memory is allocated on first use, grows with the largest payload, and
 * is given back when that was large.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_columns_parts.h"

#include <stdlib.h>

#define MAX_DEPTH		   GS_COLUMNS_DEPTH	 /* of an event's JSON */
#define MAX_TOKENS		   8192				 /* values of an event, and runs */
#define MAX_VALUES		   (2 * 1024 * 1024) /* of a payload */
#define KEPT_VALUES		   (64 * 1024)		 /* work memory for so many is kept */
#define MAX_TEMPLATE_BYTES (256 * 1024)		 /* of all templates of a payload */

/* A value within the event that is being read, or the length of a run. */
typedef struct Token
{
	const char *data;
	uint32_t len;	 /* of a run: elements */
	uint32_t column; /* NONE: a run that has become part of another one */
} Token;

/* The elements of an array that look alike */
typedef struct Run
{
	uint32_t start; /* in the template; NONE = there is no run */
	uint32_t end;
	uint32_t token;
} Run;

/* An object or an array that has begun. */
typedef struct Level
{
	uint64_t path;
	bool object;
	Run run;	 /* of an array: the last one that has ended */
	Run element; /* the one that has begun */
} Level;

typedef struct Shape
{
	uint8_t kind;
	uint8_t flags;
	uint32_t template; /* with an event */
} Shape;

static Value *values = NULL;
static size_t values_size = 0;
static size_t nvalues;
static Column columns[GS_COLUMNS_MAX];
static uint32_t ncolumns;
static Token tokens[MAX_TOKENS];
static uint32_t ntokens;
static Level levels[MAX_DEPTH];
static bool spaced; /* the event has a space behind commas and colons */
static Pieces players;
static Pieces templates;
static Shape shapes[GS_COLUMNS_SHAPES];
static uint32_t nshapes;
static char *template_bytes = NULL;
static uint32_t template_len;

/* ----------
 * work memory
 * ----------
 */

static void
release_work(void)
{
	if (values_size <= KEPT_VALUES)
		return;
	free(values);
	values = NULL;
	values_size = 0;
	gs_column_release();
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

static bool
open_level(int depth, uint64_t path, char bracket)
{
	static const Run none = {.start = NONE};

	levels[depth].path = hash_of(path ^ PATH_ARRAY, &bracket, 1);
	levels[depth].object = bracket == '{';
	levels[depth].run = levels[depth].element = none;
	return put_template(&bracket, 1);
}

/* A value begins: in an array, that is an element, and a run unless one goes on. */
static bool
begin_element(Level *level)
{
	char marker = spaced ? GS_TEMPLATE_SPACED_RUN : GS_TEMPLATE_RUN;

	if (level->object || level->element.start != NONE)
		return true;
	if (ntokens == MAX_TOKENS)
		return false;
	level->element = (Run){.start = template_len, .token = ntokens};
	tokens[ntokens++] = (Token){.len = 1, .column = GS_COLUMN_COUNT};
	return put_template(&marker, 1);
}

/* Does it stand behind the run as the run's elements behind each other, and look like them? */
static bool
continues(const Run *run, const Run *element)
{
	uint32_t len = element->end - element->start;
	uint32_t comma = spaced ? 2 : 1;

	return run->start != NONE && run->end - run->start == len &&
		   run->end + comma == element->start &&
		   memcmp(template_bytes + run->end, ", ", comma) == 0 &&
		   memcmp(template_bytes + run->start, template_bytes + element->start, len) == 0;
}

static bool
end_element(Level *level)
{
	static const char marker = GS_TEMPLATE_END;
	Run *element = &level->element;

	if (level->object || element->start == NONE)
		return true;
	if (!put_template(&marker, 1))
		return false;
	element->end = template_len;
	if (continues(&level->run, element))
	{
		tokens[level->run.token].len++;
		tokens[element->token].column = NONE;
		template_len = level->run.end;
	}
	else
		level->run = *element;
	element->start = NONE;
	return true;
}

/* One value, or a key, which is part of the template; *p is at its start. */
static bool
read_scalar(const char **p, const char *end, uint64_t path, bool key)
{
	const char *start = *p;
	const char *close;

	if (*start != '"')
	{
		while (*p < end && is_bare(**p))
			++*p;
		return put_slot(path, start, (size_t) (*p - start));
	}
	close = end_of_string(start + 1, end);
	if (close == NULL)
		return false;
	*p = close + 1;
	if (key)
		return put_template(start, (size_t) (*p - start));
	return put_template("\"", 1) &&
		   put_slot(path ^ PATH_STRING, start + 1, (size_t) (close - start - 1)) &&
		   put_template("\"", 1);
}

/*
 * Takes JSON to pieces: the template behind those that there are, the values in
 * tokens[].  false if it is something else, or too much.
 */
static bool
read_event(const char *p, const char *end)
{
	uint64_t path = 0;	/* of the next value */
	bool key = false;	/* the next string is one */
	bool style = false; /* "spaced" has been found out */
	int depth = 0;

	ntokens = 0;
	spaced = false;
	levels[0] = (Level){.object = true}; /* what is not in an array is no element */
	while (p < end)
	{
		Level *level = &levels[depth];
		const char *start = p;
		char c = *p;

		if (c == '"' || is_bare(c))
		{
			if (!begin_element(level) || !read_scalar(&p, end, path, key && c == '"'))
				return false;
			if (c == '"')
			{
				if (key)
					path = hash_of(level->path, start + 1, (size_t) (p - start - 2));
				key = false;
			}
			continue;
		}
		p++;
		switch (c)
		{
			case '{':
			case '[':
				if (!begin_element(level) || ++depth == MAX_DEPTH ||
					!open_level(depth, path, c))
					return false;
				key = c == '{';
				path = levels[depth].path;
				continue;
			case '}':
			case ']':
				if (!end_element(level) || --depth < 0)
					return false;
				key = false;
				break;
			case ',':
				if (!end_element(level))
					return false;
				key = level->object && depth > 0;
				path = level->path;
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
		if (!style && (c == ',' || c == ':'))
		{
			spaced = p < end && *p == ' ';
			style = true;
		}
		if (!put_template(start, 1))
			return false;
	}
	return depth == 0; /* else a run has no end */
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
			const Token *t = &tokens[i];

			if (t->column == NONE)
				continue;
			if (!(t->column == GS_COLUMN_COUNT ? add_number(GS_COLUMN_COUNT, t->len)
											   : add_bytes(t->column, t->data, t->len)))
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
	write_byte(out, GS_PAYLOAD_FORMAT_3);
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
		const char *data;
		size_t len;

		if (!gs_column_make(&columns[i], i, values, &data, &len))
			out->full = true;
		else
		{
			write_byte(out, (int) columns[i].mode);
			write_byte(out, columns[i].stride);
			write_bytes(out, data, len);
		}
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
