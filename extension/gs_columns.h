/*-------------------------------------------------------------------------
 *
 * gs_columns.h
 *	  Codec of a payload whose log is turned into columns: payload formats 2 and 3.
 *
 * The entries of a log look alike, so that a compressor finds more when what
 * is of one kind stands together: all times, all players, and of the events,
 * where they are JSON, all values of one key.
 *
 *	columns, format 3 (GS_PAYLOAD_FORMAT_3) :=
 *		byte	3					format
 *		varint	raw_len				bytes of the same payload in format 1
 *		byte	flags				as in format 1, and so are the states
 *		varint	initial_len, bytes
 *		varint	final_len, bytes
 *		varint	first_version		version of the first entry
 *		varint	number of entries
 *		varint	zigzag(base)		base time of the entries
 *		...		limit, requests		as in format 1
 *		varint	number of players, each: varint + bytes
 *		varint	number of templates, each: varint + bytes
 *		varint	number of shapes, each: byte kind, byte flags, and with an
 *				event: varint number of its template
 *		varint	number of columns, at least GS_COLUMN_FIRST, each: byte mode, byte stride,
 *				varint + bytes
 *	and nothing behind them.
 *
 * An entry is a shape; what the shape does not say is the next value of a
 * column.  Which column has what is fixed for the first ones (GsColumn).
 *
 *	template :=	(bytes of an event | slot | run)*
 *		slot :=	byte 1 and a column number (one byte), where the next value of that
 *				column belongs
 *		run	:=	byte 2 or 3, template, byte 4: elements of an array that look
 *				alike, as many as the next value of GS_COLUMN_COUNT says, at least
 *				one, with "," between them behind a byte 2, ", " behind a 3
 *
 * So arrays of different lengths have the same template.
 *
 * Most values of GS_COLUMN_TIME differ from the one before by about the same:
 * before the first of them stands, as a varint, zigzag of that step, and each is
 * the difference to the one before, less the step.  So what is in this column looks
 * alike in quick games and in slow ones.
 *
 * Format 2, which is only read, has no runs, no GS_COLUMN_COUNT (its first
 * column of events has that number) and no step.
 *
 * The decoder knows no JSON: the encoder takes an event to pieces, and where
 * it is not JSON as it expects it the template is the value of
 * GS_COLUMN_EVENT alone.
 *
 * Modes of a column, and what its bytes are:
 *	LINES	values, each followed by a line feed
 *	NUMBERS varints: zigzag of the difference to the value "stride" before, or to
 *			0 where there is none or stride is 0; written in decimal in an event
 *	CLOCK	the same; written as h:mm:ss
 *	WORDS	varint number of words, each followed by a line feed; then a byte a
 *			value, the number of its word
 *	BYTES	varint number of values, varint length of each; their bytes
 *
 * Pure C: no PostgreSQL, nothing global but work memory, which is kept from
 * one call to the next.  Not thread-safe.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_COLUMNS_H
#define GS_COLUMNS_H

#include "gs_payload.h"

#define GS_TEMPLATE_SLOT	   1
#define GS_TEMPLATE_RUN		   2
#define GS_TEMPLATE_SPACED_RUN 3
#define GS_TEMPLATE_END		   4 /* of a run; all bytes from 1 to here mean something */

#define GS_COLUMNS_MAX		 256
#define GS_COLUMNS_PLAYERS	 1024
#define GS_COLUMNS_TEMPLATES 1024
#define GS_COLUMNS_SHAPES	 1024
#define GS_COLUMNS_WORDS	 255 /* of one column */
#define GS_COLUMNS_DEPTH	 32	 /* of runs in runs */

typedef enum GsColumn
{
	GS_COLUMN_SHAPE = 0, /* NUMBERS, no stride: a value an entry */
	GS_COLUMN_TIME,		 /* NUMBERS, stride 1: time - base */
	GS_COLUMN_PLAYER,	 /* NUMBERS */
	GS_COLUMN_REQUEST,	 /* BYTES: request id and arguments, as in the entry */
	GS_COLUMN_DELTA,	 /* BYTES */
	GS_COLUMN_EVENT,	 /* BYTES: what could not be taken to pieces */
	GS_COLUMN_COUNT,	 /* NUMBERS, no stride: a value a run; not in format 2 */
	GS_COLUMN_FIRST		 /* from here on values of JSON events */
} GsColumn;

typedef enum GsColumnMode
{
	GS_COLUMN_LINES = 0,
	GS_COLUMN_NUMBERS,
	GS_COLUMN_CLOCK,
	GS_COLUMN_WORDS,
	GS_COLUMN_BYTES
} GsColumnMode;

/*
 * Turns a payload, which gs_payload_decode() accepts, into columns, format 3.  Returns
 * the number of bytes written, or 0 if they do not fit into dst_len bytes, or
 * the payload has more of something than there may be: then it stays as it is.
 */
extern size_t gs_columns_encode(const GsPayload *payload, char *dst, size_t dst_len);

/*
 * The other way: writes the payload in format 1, exactly raw_len bytes, at raw.
 * Returns NULL or what is wrong (static text).  Nothing in the bytes is
 * trusted, and what was written is still to be checked by gs_payload_decode().
 */
extern const char *gs_columns_decode(const char *src, size_t src_len, char *raw,
									 size_t raw_len);

#endif /* GS_COLUMNS_H */
