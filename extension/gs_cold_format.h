/*-------------------------------------------------------------------------
 *
 * gs_cold_format.h
 *	  Codec of the files that frozen payloads are in.
 *
 * Pure C, with no PostgreSQL in it and no checksums: those are for who has them.
 *
 *	file := magic | block ... | directory | trailer
 *
 *	magic, 8 bytes		"GSCOLD1\n"
 *	block				one zstd frame, of rows in the order of their game ids:
 *		16 bytes			game id
 *		zigzag varint		ended_at
 *		varint, bytes		the columns, as long as this:
 *			varint, bytes		of each of the directory's columns: 0 = NULL, else 1 +
 *								length, and what the type's send function makes
 *	directory
 *		varint				number of columns
 *		(bytes, bytes) ...	name and type of each
 *		varint				number of blocks
 *		block entry ...
 *			16 bytes, 16 bytes	first and last game id
 *			zigzag varints		earliest and latest ended_at
 *			varints				length of the frame, of the rows, number of rows
 *			uint32				CRC-32C of the frame
 *	trailer, 48 bytes
 *		uint64				offset of the directory
 *		uint32, uint32		its length, its CRC-32C
 *		uint64				rows
 *		uint64				bytes of all rows before compression
 *		uint32				0
 *		uint32				CRC-32C of the trailer up to here
 *		8 bytes				"GSCOLDE\n"
 *
 * Numbers of fixed length are little endian.  Blocks stand one behind the other.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_COLD_FORMAT_H
#define GS_COLD_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GS_COLD_MAGIC		  "GSCOLD1\n"
#define GS_COLD_MAGIC_SIZE	  8
#define GS_COLD_TRAILER_SIZE  48
#define GS_COLD_TRAILER_CRC	  36 /* offset of its checksum, of what is before */
#define GS_COLD_FORMAT		  1
#define GS_COLD_ID_SIZE		  16
#define GS_COLD_MAX_COLUMNS	  1600
#define GS_COLD_MAX_ROWS_SIZE ((uint32_t) 0x3fffffff) /* of a block: 1 GB */

typedef struct GsColdTrailer
{
	uint64_t directory_offset;
	uint32_t directory_len;
	uint32_t directory_crc;
	uint64_t rows;
	uint64_t raw_bytes;
	uint32_t crc; /* of the trailer, as it stands there */
} GsColdTrailer;

typedef struct GsColdColumn
{
	const char *name; /* into the directory, not terminated */
	uint32_t name_len;
	const char *type;
	uint32_t type_len;
} GsColdColumn;

typedef struct GsColdBlock
{
	unsigned char first[GS_COLD_ID_SIZE];
	unsigned char last[GS_COLD_ID_SIZE];
	int64_t earliest;
	int64_t latest;
	uint64_t offset; /* of its frame; not stored */
	uint32_t len;
	uint32_t raw_len;
	uint32_t rows;
	uint32_t crc;
} GsColdBlock;

typedef struct GsColdRow
{
	const unsigned char *game_id;
	int64_t ended_at;
	const char *columns;
	uint32_t columns_len;
} GsColdRow;

/* Writes GS_COLD_TRAILER_SIZE bytes, but for the checksum. */
extern void gs_cold_put_trailer(const GsColdTrailer *trailer, char *dst);
extern void gs_cold_put_crc(char *trailer, uint32_t crc);

/* The decoders return NULL or what is wrong (static text). */
extern const char *gs_cold_get_trailer(const char *src, uint64_t file_size,
									   GsColdTrailer *trailer);

/* at most 10 bytes */
extern char *gs_cold_put_count(char *dst, uint64_t n);
extern size_t gs_cold_column_size(const GsColdColumn *column);
extern char *gs_cold_put_column(char *dst, const GsColdColumn *column);
#define GS_COLD_BLOCK_MAX_SIZE (2 * GS_COLD_ID_SIZE + 5 * 10 + 4)
extern char *gs_cold_put_block(char *dst, const GsColdBlock *block);

/*
 * How many columns and blocks are there?  Then they can be read into arrays
 * of these sizes.  The blocks' frames must end where the directory begins.
 */
extern const char *gs_cold_count(const char *directory, size_t len, uint64_t *ncolumns,
								 uint64_t *nblocks);
extern const char *gs_cold_get_directory(const char *directory, size_t len,
										 uint64_t directory_offset, GsColdColumn *columns,
										 GsColdBlock *blocks);

extern size_t gs_cold_row_size(const GsColdRow *row);
extern char *gs_cold_put_row(char *dst, const GsColdRow *row);

/* The row at *p, which moves behind it. */
extern const char *gs_cold_get_row(const char **p, const char *end, GsColdRow *row);

/* The next column of a row; *data is NULL for NULL. */
extern const char *gs_cold_get_value(const char **p, const char *end, const char **data,
									 uint32_t *len);

#endif /* GS_COLD_FORMAT_H */
