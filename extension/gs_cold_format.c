/*-------------------------------------------------------------------------
 *
 * gs_cold_format.c
 *	  Codec of the files that frozen payloads are in.
 *
 * The model: the format is drawn in the header.  Whoever reads begins at the end: the
 * trailer says where the directory is, the directory where each block is and
 * which games and times it can have, so that one game costs one block.  Everything
 * that is read is checked against what is there; what a length says is compared
 * with what is left before it is used.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_cold_format.h"

#include "gs_bytes.h"

#define TRAILER_MAGIC "GSCOLDE\n"

/* bytes of an entry at least */
#define MIN_BLOCK_SIZE (2 * GS_COLD_ID_SIZE + 5 + 4)

static char *
put_uint64(char *dst, uint64_t value)
{
	return gs_put_uint32(gs_put_uint32(dst, (uint32_t) value), (uint32_t) (value >> 32));
}

static uint64_t
get_uint64(const char *src)
{
	return gs_get_uint32(src) | (uint64_t) gs_get_uint32(src + 4) << 32;
}

/* ---- trailer ---- */

void
gs_cold_put_trailer(const GsColdTrailer *trailer, char *dst)
{
	dst = put_uint64(dst, trailer->directory_offset);
	dst = gs_put_uint32(dst, trailer->directory_len);
	dst = gs_put_uint32(dst, trailer->directory_crc);
	dst = put_uint64(dst, trailer->rows);
	dst = put_uint64(dst, trailer->raw_bytes);
	dst = gs_put_uint32(dst, 0);
	dst = gs_put_uint32(dst, 0);
	(void) gs_put_raw(dst, TRAILER_MAGIC, GS_COLD_MAGIC_SIZE);
}

void
gs_cold_put_crc(char *trailer, uint32_t crc)
{
	(void) gs_put_uint32(trailer + GS_COLD_TRAILER_CRC, crc);
}

const char *
gs_cold_get_trailer(const char *src, uint64_t file_size, GsColdTrailer *trailer)
{
	if (memcmp(src + (GS_COLD_TRAILER_SIZE - GS_COLD_MAGIC_SIZE), TRAILER_MAGIC,
			   GS_COLD_MAGIC_SIZE) != 0)
		return "it does not end as such a file does";
	trailer->directory_offset = get_uint64(src);
	trailer->directory_len = gs_get_uint32(src + 8);
	trailer->directory_crc = gs_get_uint32(src + 12);
	trailer->rows = get_uint64(src + 16);
	trailer->raw_bytes = get_uint64(src + 24);
	trailer->crc = gs_get_uint32(src + GS_COLD_TRAILER_CRC);
	if (gs_get_uint32(src + 32) != 0)
		return "its trailer says what this version does not know";
	if (trailer->directory_offset < GS_COLD_MAGIC_SIZE ||
		trailer->directory_offset > file_size ||
		file_size - trailer->directory_offset !=
			(uint64_t) trailer->directory_len + GS_COLD_TRAILER_SIZE)
		return "its length is not what its trailer says";
	return NULL;
}

/* ---- directory ---- */

char *
gs_cold_put_count(char *dst, uint64_t n)
{
	return gs_varint_put(dst, n);
}

size_t
gs_cold_column_size(const GsColdColumn *column)
{
	return gs_varint_size(column->name_len) + column->name_len +
		   gs_varint_size(column->type_len) + column->type_len;
}

char *
gs_cold_put_column(char *dst, const GsColdColumn *column)
{
	dst = gs_put_bytes(dst, column->name, column->name_len);
	return gs_put_bytes(dst, column->type, column->type_len);
}

char *
gs_cold_put_block(char *dst, const GsColdBlock *block)
{
	dst = gs_put_raw(dst, block->first, GS_COLD_ID_SIZE);
	dst = gs_put_raw(dst, block->last, GS_COLD_ID_SIZE);
	dst = gs_varint_put(dst, gs_zigzag(block->earliest));
	dst = gs_varint_put(dst, gs_zigzag(block->latest));
	dst = gs_varint_put(dst, block->len);
	dst = gs_varint_put(dst, block->raw_len);
	dst = gs_varint_put(dst, block->rows);
	return gs_put_uint32(dst, block->crc);
}

static bool
get_column(const char **p, const char *end, GsColdColumn *column)
{
	return gs_consume_bytes(p, end, &column->name, &column->name_len) &&
		   gs_consume_bytes(p, end, &column->type, &column->type_len);
}

static bool
get_time(const char **p, const char *end, int64_t *at)
{
	uint64_t n;

	if (!gs_varint_get(p, end, &n))
		return false;
	*at = gs_unzigzag(n);
	return true;
}

static bool
get_block(const char **p, const char *end, GsColdBlock *block)
{
	return gs_consume_raw(p, end, block->first, GS_COLD_ID_SIZE) &&
		   gs_consume_raw(p, end, block->last, GS_COLD_ID_SIZE) &&
		   get_time(p, end, &block->earliest) && get_time(p, end, &block->latest) &&
		   gs_consume_uint32(p, end, &block->len) &&
		   gs_consume_uint32(p, end, &block->raw_len) &&
		   block->raw_len <= GS_COLD_MAX_ROWS_SIZE &&
		   gs_consume_uint32(p, end, &block->rows) &&
		   gs_consume_uint32_raw(p, end, &block->crc);
}

const char *
gs_cold_count(const char *directory, size_t len, uint64_t *ncolumns, uint64_t *nblocks)
{
	const char *p = directory;
	const char *end = directory + len;

	if (!gs_consume_number(&p, end, GS_COLD_MAX_COLUMNS, ncolumns))
		return "its number of columns is wrong";
	for (uint64_t i = 0; i < *ncolumns; i++)
	{
		GsColdColumn column;

		if (!get_column(&p, end, &column))
			return "a column of its directory is not whole";
	}
	if (!gs_consume_number(&p, end, (uint64_t) (end - p) / MIN_BLOCK_SIZE, nblocks))
		return "its number of blocks is wrong";
	return NULL;
}

const char *
gs_cold_get_directory(const char *directory, size_t len, uint64_t directory_offset,
					  GsColdColumn *columns, GsColdBlock *blocks)
{
	const char *p = directory;
	const char *end = directory + len;
	uint64_t offset = GS_COLD_MAGIC_SIZE;
	uint64_t n;

	if (!gs_varint_get(&p, end, &n))
		return "its number of columns is wrong";
	for (uint64_t i = 0; i < n; i++)
		if (!get_column(&p, end, &columns[i]))
			return "a column of its directory is not whole";
	if (!gs_varint_get(&p, end, &n))
		return "its number of blocks is wrong";
	for (uint64_t i = 0; i < n; i++)
	{
		if (!get_block(&p, end, &blocks[i]))
			return "a block of its directory is not whole";
		if (i > 0 && memcmp(blocks[i].first, blocks[i - 1].last, GS_COLD_ID_SIZE) < 0)
			return "its blocks are not in order";
		blocks[i].offset = offset;
		offset += blocks[i].len;
	}
	if (p != end)
		return "there is something behind its directory";
	if (offset != directory_offset)
		return "its blocks do not end where the directory begins";
	return NULL;
}

/* ---- rows ---- */

size_t
gs_cold_row_size(const GsColdRow *row)
{
	return GS_COLD_ID_SIZE + gs_varint_size(gs_zigzag(row->ended_at)) +
		   gs_varint_size(row->columns_len) + row->columns_len;
}

char *
gs_cold_put_row(char *dst, const GsColdRow *row)
{
	dst = gs_put_raw(dst, row->game_id, GS_COLD_ID_SIZE);
	dst = gs_varint_put(dst, gs_zigzag(row->ended_at));
	return gs_put_bytes(dst, row->columns, row->columns_len);
}

const char *
gs_cold_get_row(const char **p, const char *end, GsColdRow *row)
{
	const char *id;

	if (!gs_consume(p, end, GS_COLD_ID_SIZE, &id) || !get_time(p, end, &row->ended_at) ||
		!gs_consume_bytes(p, end, &row->columns, &row->columns_len))
		return "a row is not whole";
	row->game_id = (const unsigned char *) id;
	return NULL;
}

const char *
gs_cold_get_value(const char **p, const char *end, const char **data, uint32_t *len)
{
	uint64_t n;

	*data = NULL;
	*len = 0;
	if (!gs_consume_number(p, end, (uint64_t) UINT32_MAX + 1, &n) ||
		(n > 0 && !gs_consume(p, end, n - 1, data)))
		return "a column of a row is not whole";
	if (n > 0)
		*len = (uint32_t) (n - 1);
	return NULL;
}
