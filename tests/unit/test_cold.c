/*-------------------------------------------------------------------------
 *
 * test_cold.c
 *	  Codec of cold files: what is written is read, what is broken is told.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_cold_format.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>

#define NBLOCKS	 3
#define NCOLUMNS 2

/* A directory of two columns and three blocks; returns its length. */
static size_t
make_directory(char *dst, uint64_t *end_of_blocks)
{
	GsColdColumn columns[NCOLUMNS] = {{"game_id", 7, "uuid", 4},
									  {"payload", 7, "bytea", 5}};
	char *p = gs_cold_put_count(dst, NCOLUMNS);
	uint64_t offset = GS_COLD_MAGIC_SIZE;

	for (int i = 0; i < NCOLUMNS; i++)
		p = gs_cold_put_column(p, &columns[i]);
	p = gs_cold_put_count(p, NBLOCKS);
	for (int i = 0; i < NBLOCKS; i++)
	{
		GsColdBlock block = {.earliest = -5 - i,
							 .latest = INT64_MAX - i,
							 .len = 1000 + (uint32_t) i,
							 .raw_len = 70000,
							 .rows = 7,
							 .crc = 0xdeadbeef};

		memset(block.first, i * 10, sizeof(block.first));
		memset(block.last, i * 10 + 9, sizeof(block.last));
		p = gs_cold_put_block(p, &block);
		offset += block.len;
	}
	*end_of_blocks = offset;
	return (size_t) (p - dst);
}

static void
test_directory(void)
{
	char bytes[1000];
	GsColdColumn columns[NCOLUMNS];
	GsColdBlock blocks[NBLOCKS];
	uint64_t end;
	uint64_t ncolumns;
	uint64_t nblocks;
	size_t len = make_directory(bytes, &end);
	int told = 0;

	ok(gs_cold_count(bytes, len, &ncolumns, &nblocks) == NULL && ncolumns == NCOLUMNS &&
		   nblocks == NBLOCKS,
	   "a directory says what is in it");
	ok(gs_cold_get_directory(bytes, len, end, columns, blocks) == NULL, "and is read");
	ok(columns[1].name_len == 7 && memcmp(columns[1].name, "payload", 7) == 0 &&
		   columns[1].type_len == 5 && memcmp(columns[1].type, "bytea", 5) == 0,
	   "columns");
	ok(blocks[2].earliest == -7 && blocks[2].latest == INT64_MAX - 2 &&
		   blocks[2].offset == GS_COLD_MAGIC_SIZE + 1000 + 1001 &&
		   blocks[2].raw_len == 70000 && blocks[2].rows == 7 &&
		   blocks[2].crc == 0xdeadbeef && blocks[2].last[15] == 29,
	   "blocks");
	ok(gs_cold_get_directory(bytes, len, end + 1, columns, blocks) != NULL,
	   "blocks that end elsewhere are told");
	for (size_t cut = 0; cut < len; cut++)
	{
		GsColdColumn *some_columns;
		GsColdBlock *some_blocks;

		if (gs_cold_count(bytes, cut, &ncolumns, &nblocks) != NULL)
		{
			told++;
			continue;
		}
		some_columns = malloc(sizeof(GsColdColumn) * (ncolumns + 1));
		some_blocks = malloc(sizeof(GsColdBlock) * (nblocks + 1));
		told += gs_cold_get_directory(bytes, cut, end, some_columns, some_blocks) != NULL;
		free(some_columns);
		free(some_blocks);
	}
	ok(told == (int) len, "one that is cut short is told, wherever");
}

static void
test_trailer(void)
{
	char bytes[GS_COLD_TRAILER_SIZE];
	GsColdTrailer in = {.directory_offset = 1008,
						.directory_len = 50,
						.directory_crc = 7,
						.rows = 3,
						.raw_bytes = UINT64_C(1) << 40};
	GsColdTrailer out;
	uint64_t size = in.directory_offset + in.directory_len + GS_COLD_TRAILER_SIZE;

	gs_cold_put_trailer(&in, bytes);
	gs_cold_put_crc(bytes, 99);
	ok(gs_cold_get_trailer(bytes, size, &out) == NULL, "a trailer is read");
	ok(out.directory_offset == 1008 && out.directory_len == 50 &&
		   out.directory_crc == 7 && out.rows == 3 &&
		   out.raw_bytes == UINT64_C(1) << 40 && out.crc == 99,
	   "as it was written");
	ok(gs_cold_get_trailer(bytes, size + 1, &out) != NULL &&
		   gs_cold_get_trailer(bytes, size - 1, &out) != NULL,
	   "a file of another length is told");
	bytes[GS_COLD_TRAILER_SIZE - 1] ^= 1;
	ok(gs_cold_get_trailer(bytes, size, &out) != NULL, "another end is told");
}

static void
test_rows(void)
{
	char bytes[200];
	char columns[20];
	unsigned char id[GS_COLD_ID_SIZE] = {1, 2, 3};
	GsColdRow in = {.game_id = id, .ended_at = -123456789, .columns = columns};
	GsColdRow out;
	const char *p = columns;
	const char *data;
	uint32_t len;
	char *end;
	int told = 0;

	/* NULL, "", "ab" */
	columns[0] = 0;
	columns[1] = 1;
	columns[2] = 3;
	memcpy(columns + 3, "ab", 2);
	in.columns_len = 5;
	end = gs_cold_put_row(bytes, &in);
	ok((size_t) (end - bytes) == gs_cold_row_size(&in), "a row has the size it says");
	p = bytes;
	ok(gs_cold_get_row(&p, end, &out) == NULL && p == end &&
		   memcmp(out.game_id, id, sizeof(id)) == 0 && out.ended_at == -123456789 &&
		   out.columns_len == 5,
	   "and is read");
	for (const char *cut = bytes; cut < end; cut++)
	{
		p = bytes;
		told += gs_cold_get_row(&p, cut, &out) != NULL;
	}
	ok(told == end - bytes, "one that is cut short is told, wherever");

	p = columns;
	ok(gs_cold_get_value(&p, columns + 5, &data, &len) == NULL && data == NULL, "NULL");
	ok(gs_cold_get_value(&p, columns + 5, &data, &len) == NULL && data != NULL &&
		   len == 0,
	   "no bytes");
	ok(gs_cold_get_value(&p, columns + 5, &data, &len) == NULL && len == 2 &&
		   memcmp(data, "ab", 2) == 0,
	   "bytes");
	ok(gs_cold_get_value(&p, columns + 5, &data, &len) != NULL, "no more than there are");
}

int
main(void)
{
	test_directory();
	test_trailer();
	test_rows();
	return tap_done();
}
