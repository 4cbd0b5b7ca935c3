/*-------------------------------------------------------------------------
 *
 * gs_columns_parts.h
 *	  What gs_columns.c and gs_columns_modes.c share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_COLUMNS_PARTS_H
#define GS_COLUMNS_PARTS_H

#include "gs_columns.h"

#define NONE UINT32_MAX

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

_Static_assert(GS_COLUMNS_TEMPLATES <= HASH_SIZE / 4 &&
				   GS_COLUMNS_PLAYERS <= HASH_SIZE / 4,
			   "a quarter of the slots");

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

static inline void
clear_pieces(Pieces *pieces)
{
	memset(pieces->slot, 0, sizeof(pieces->slot));
	pieces->n = 0;
}

/* The number of a piece, which is added if it is new; NONE if there are max already. */
static inline uint32_t
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

/*
 * Writes a column, the number-th one, whose values are in a list in values[], in the
 * mode that suits them; sets the column's mode and stride.  The bytes are valid until
 * the next call.  false if there is no memory.
 */
extern bool gs_column_make(Column *column, uint32_t number, Value *values,
						   const char **data, size_t *len);

/* Gives work memory back. */
extern void gs_column_release(void);

#endif /* GS_COLUMNS_PARTS_H */
