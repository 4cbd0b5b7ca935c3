/*-------------------------------------------------------------------------
 *
 * gs_unpack.c
 *	  Between a payload and its row in gamestate.archive_payload.
 *
 * The model:
 *	1. Packing: raw bytes in format 1, whose size and checksum the row has; in
 *	   columns where that is shorter (gs_columns.c); one zstd frame, with the
 *	   dictionary if there is one.
 *	2. Unpacking goes back the same way and trusts nothing: sizes are looked at
 *	   before memory is taken, the raw bytes must have the row's checksum,
 *	   and each entry must decode.
 *	3. What a row lacks or has too much is said, not raised: the readers raise
 *	   it, gamestate.verify_archive() lists it, repacking leaves the row alone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_columns.h"
#include "gs_dictionary.h"
#include "gs_unpack.h"

#include "port/pg_crc32c.h"
#include "utils/memutils.h"

static uint32
checksum_of(const char *raw, Size raw_size)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, raw, raw_size);
	FIN_CRC32C(crc);
	return crc;
}

bytea *
gs_pack(const GsPayload *payload, const char *raw, Size raw_size, int level,
		int32 dictionary, MemoryContext mcxt, GsPacked *packed)
{
	char *columns = palloc(raw_size);
	size_t columns_size = gs_columns_encode(payload, columns, raw_size);
	const char *src = columns_size > 0 ? columns : raw;
	size_t src_size = columns_size > 0 ? columns_size : raw_size;
	size_t bound = gs_payload_bound(src_size);
	char *frame = palloc(bound);
	const ZSTD_CDict *digested = NULL;
	const char *error = NULL;
	size_t size;
	bytea *bytes;

	if (dictionary != 0)
		digested = gs_dictionary_to_compress(dictionary, level, &error);
	size = gs_payload_compress(src, src_size, level, digested, frame, bound, &error);
	if (size == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compress a game: %s", error ? error : "no reason given")));

	packed->format = columns_size > 0 ? GS_PAYLOAD_FORMAT_3 : GS_PAYLOAD_FORMAT_1;
	packed->dictionary = digested ? dictionary : 0;
	packed->raw_size = (int32) raw_size;
	packed->checksum = (int64) checksum_of(raw, raw_size);
	bytes = MemoryContextAlloc(mcxt, VARHDRSZ + size);
	SET_VARSIZE(bytes, VARHDRSZ + size);
	memcpy(VARDATA(bytes), frame, size);
	pfree(frame);
	pfree(columns);
	return bytes;
}

/* Decompresses to raw, which has room for raw_size bytes; NULL or what is wrong. */
static const char *
decompress(const GsPacked *packed, bytea *bytes, char *columns, char *raw)
{
	const ZSTD_DDict *dictionary = NULL;
	const char *error;
	uint32 checksum;

	if (packed->dictionary != 0)
	{
		dictionary = gs_dictionary_to_decompress(packed->dictionary, &error);
		if (error != NULL)
			return error;
	}
	error =
		gs_payload_unpack(packed->format, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes),
						  dictionary, columns, raw, packed->raw_size);
	if (error != NULL)
		return error;
	checksum = checksum_of(raw, packed->raw_size);
	if (packed->checksum != (int64) checksum)
		return psprintf("its checksum is %u, the row says " INT64_FORMAT, checksum,
						packed->checksum);
	return NULL;
}

const char *
gs_unpack(const GsPacked *packed, bytea *bytes, char **raw, GsPayload *payload)
{
	const char *error;
	size_t room;
	char *columns;

	if (packed->raw_size <= 0 || (Size) packed->raw_size > MaxAllocSize)
		return psprintf("its raw size is said to be %d", packed->raw_size);
	/* before memory is taken for what a damaged length says */
	error = gs_payload_room(packed->format, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes),
							packed->raw_size, &room);
	if (error != NULL)
		return error;

	*raw = palloc(packed->raw_size);
	columns = palloc(Max(room, 1));
	error = decompress(packed, bytes, columns, *raw);
	if (error != NULL && packed->dictionary != 0)
	{
		/* the dictionary may have been another one when it was read */
		gs_dictionary_forget();
		error = decompress(packed, bytes, columns, *raw);
	}
	pfree(columns);
	if (error == NULL)
		error = gs_payload_decode(*raw, packed->raw_size, payload);
	return error;
}
