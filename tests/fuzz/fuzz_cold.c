/*-------------------------------------------------------------------------
 *
 * fuzz_cold.c
 *	  libFuzzer target: directory, trailer and rows of a cold file.
 *
 * The first byte says what the rest is:
 *	0: a directory, behind two bytes of where its blocks end
 *	1: a trailer, behind two bytes of file size
 *	2: rows, whose columns are read too
 * They decode or give an error; what decodes is encoded to the same bytes.
 *
 *-------------------------------------------------------------------------
 */
#include "gs_cold_format.h"

#include <stdlib.h>
#include <string.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool condition)
{
	if (!condition)
		abort();
}

static void
try_directory(const char *bytes, size_t len, uint64_t end)
{
	GsColdColumn *columns;
	GsColdBlock *blocks;
	uint64_t ncolumns;
	uint64_t nblocks;

	if (gs_cold_count(bytes, len, &ncolumns, &nblocks) != NULL)
		return;
	columns = malloc(sizeof(GsColdColumn) * (ncolumns + 1));
	blocks = malloc(sizeof(GsColdBlock) * (nblocks + 1));
	if (gs_cold_get_directory(bytes, len, end, columns, blocks) == NULL)
	{
		char *copy = malloc(len + 100);
		char *p = gs_cold_put_count(copy, ncolumns);

		for (uint64_t i = 0; i < ncolumns; i++)
			p = gs_cold_put_column(p, &columns[i]);
		p = gs_cold_put_count(p, nblocks);
		for (uint64_t i = 0; i < nblocks; i++)
			p = gs_cold_put_block(p, &blocks[i]);
		check((size_t) (p - copy) == len && memcmp(copy, bytes, len) == 0);
		free(copy);
	}
	free(columns);
	free(blocks);
}

static void
try_rows(const char *bytes, size_t len)
{
	const char *p = bytes;
	const char *end = bytes + len;
	GsColdRow row;

	while (p < end && gs_cold_get_row(&p, end, &row) == NULL)
	{
		const char *value = row.columns;
		const char *stop = row.columns + row.columns_len;
		char *copy = malloc(gs_cold_row_size(&row));
		const char *data;
		uint32_t n;

		check(gs_cold_put_row(copy, &row) == copy + gs_cold_row_size(&row));
		check(memcmp(copy, p - gs_cold_row_size(&row), gs_cold_row_size(&row)) == 0);
		free(copy);
		while (value < stop && gs_cold_get_value(&value, stop, &data, &n) == NULL)
			check(data == NULL || data + n <= stop);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *bytes = (const char *) data + 3;
	uint64_t number;

	if (size < 3)
		return 0;
	number = data[1] | (uint64_t) data[2] << 8;
	size -= 3;
	switch (data[0] % 3)
	{
		case 0:
			try_directory(bytes, size, number);
			break;
		case 1:
			if (size >= GS_COLD_TRAILER_SIZE)
			{
				GsColdTrailer trailer;

				(void) gs_cold_get_trailer(bytes, number, &trailer);
			}
			break;
		default:
			try_rows(bytes, size);
	}
	return 0;
}
