/*-------------------------------------------------------------------------
 *
 * gs_columns.h
 *	  Codec of a payload whose log is turned into columns: payload format 2.
 *
 * The entries of a log look alike, so that a compressor finds more when what
 * is of one kind stands together: all times, all players, and of the events,
 * where they are JSON, all values of one key.
 *
 *	columns, format 2 (GS_PAYLOAD_FORMAT_2) :=
 *		byte	2					format
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
 *	template :=	bytes of an event, in which byte 1 and a column number (one byte)
 *				stand where the next value of that column belongs
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

#define GS_TEMPLATE_SLOT 1

#define GS_COLUMNS_MAX		 256
#define GS_COLUMNS_PLAYERS	 1024
#define GS_COLUMNS_TEMPLATES 1024
#define GS_COLUMNS_SHAPES	 1024
#define GS_COLUMNS_WORDS	 255 /* of one column */

typedef enum GsColumn
{
	GS_COLUMN_SHAPE = 0, /* NUMBERS, no stride: a value an entry */
	GS_COLUMN_TIME,		 /* NUMBERS: time - base */
	GS_COLUMN_PLAYER,	 /* NUMBERS */
	GS_COLUMN_REQUEST,	 /* BYTES: request id and arguments, as in the entry */
	GS_COLUMN_DELTA,	 /* BYTES */
	GS_COLUMN_EVENT,	 /* BYTES: what could not be taken to pieces */
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
 * Turns a payload, which gs_payload_decode() accepts, into columns.  Returns
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
