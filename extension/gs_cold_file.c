/*-------------------------------------------------------------------------
 *
 * gs_cold_file.c
 *	  Files of frozen payloads: bytes and blocks.
 *
 * The model:
 *	1. A file lies directly below gamestate.cold_directory, and its name has no
 *	   character that could lead elsewhere, wherever the name comes from (an option of
 *	   a foreign table, a row of gamestate.cold_file).  A link is not followed.
 *	2. Writing: rows are gathered into blocks of about BLOCK_BYTES, each compressed and
 *	   written at once; then the directory and the trailer (gs_cold_format.h).  All
 *	   that goes to a name ending in ".tmp", which is fsynced and
 *	   renamed, and the directory fsynced: so a file of the final name is whole.
 *	3. Reading begins with the trailer and the directory, whose checksums are
 *	   tested; each block is tested when it is read.  What is wrong is said, not
 *	   raised: who reads knows for which game.
 *
 * Descriptors are PostgreSQL's transient files: an error closes them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_cold.h"
#include "gs_config.h"

#include "common/file_perm.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

/* Rows of a block before compression; payloads hardly get smaller a second time. */
#define BLOCK_BYTES (64 * 1024)
#define BLOCK_LEVEL 3

/* Of a directory: 16 million blocks. */
#define MAX_DIRECTORY ((uint32) 1024 * 1024 * 1024 - 1)

struct GsColdWriter
{
	char *temporary;
	char *path;
	int fd;
	uint64 offset;
	pg_crc32c file_crc;
	StringInfoData rows;	  /* of the block that is being filled */
	StringInfoData directory; /* columns */
	StringInfoData blocks;	  /* entries of the blocks so far */
	uint32 nblocks;
	GsColdBlock block;
	uint64 nrows;
	uint64 raw_bytes;
	ZSTD_CCtx *zstd;
	MemoryContextCallback callback;
};

bool
gs_cold_name_is_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len >= GS_COLD_NAME_SIZE - 4 || name[0] == '.')
		return false;
	return strspn(name,
				  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
		   len;
}

char *
gs_cold_path(const char *name)
{
	if (gs_cold_directory == NULL || gs_cold_directory[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("gamestate.cold_directory is not set"),
				 errdetail("Frozen payloads are in files below it."),
				 errhint("Set it in postgresql.conf, and preload the library (shared_preload_libraries = 'gamestate').")));
	if (!gs_cold_name_is_valid(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid name of a cold file: \"%s\"", name),
				 errdetail("It may have letters, digits, \"-\", \"_\" and \".\" only.")));
	return psprintf("%s/%s", gs_cold_directory, name);
}

static uint32
crc_of(const char *data, Size len)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, data, len);
	FIN_CRC32C(crc);
	return crc;
}

/* ----------------------------------------------------------------
 *		Reading
 * ----------------------------------------------------------------
 */

/* NULL or what is wrong */
static const char *
read_at(int fd, char *dst, Size len, uint64 offset)
{
	while (len > 0)
	{
		ssize_t n;

		CHECK_FOR_INTERRUPTS();
		pgstat_report_wait_start(PG_WAIT_EXTENSION);
		n = pg_pread(fd, dst, len, (off_t) offset);
		pgstat_report_wait_end();
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return psprintf("it cannot be read: %s", strerror(errno));
		if (n == 0)
			return "it ends too early";
		dst += n;
		len -= n;
		offset += n;
	}
	return NULL;
}

static const char *
open_file(const char *name, int *fd, uint64 *size)
{
	char *path = gs_cold_path(name);
	struct stat st;
	const char *error = NULL;

	*size = 0;
	*fd = OpenTransientFile(path, O_RDONLY | PG_BINARY | O_NOFOLLOW);
	if (*fd < 0)
		error = errno == ENOENT ? "it does not exist"
								: psprintf("it cannot be opened: %s", strerror(errno));
	else if (fstat(*fd, &st) != 0)
		error = psprintf("it cannot be read: %s", strerror(errno));
	else if (!S_ISREG(st.st_mode))
		error = "it is not a regular file";
	else if (st.st_size < GS_COLD_MAGIC_SIZE + GS_COLD_TRAILER_SIZE)
		error = "it is too short";
	else
		*size = (uint64) st.st_size;
	if (error != NULL && *fd >= 0)
		CloseTransientFile(*fd);
	pfree(path);
	return error;
}

static const char *
read_trailer(int fd, uint64 size, GsColdTrailer *trailer)
{
	char bytes[GS_COLD_TRAILER_SIZE];
	const char *error = read_at(fd, bytes, sizeof(bytes), size - GS_COLD_TRAILER_SIZE);

	if (error == NULL)
		error = gs_cold_get_trailer(bytes, size, trailer);
	if (error == NULL && trailer->crc != crc_of(bytes, GS_COLD_TRAILER_CRC))
		error = "its trailer has another checksum";
	return error;
}

const char *
gs_cold_read_trailer(const char *name, GsColdTrailer *trailer, uint64 *size)
{
	int fd;
	const char *error = open_file(name, &fd, size);

	if (error != NULL)
		return error;
	error = read_trailer(fd, *size, trailer);
	CloseTransientFile(fd);
	return error;
}

static const char *
read_directory(GsColdFile *file)
{
	uint32 len = file->trailer.directory_len;
	uint64_t ncolumns;
	uint64_t nblocks;
	const char *error;

	if (len > MAX_DIRECTORY)
		return "its directory is too large";
	file->directory = palloc(Max(len, 1));
	error = read_at(file->fd, file->directory, len, file->trailer.directory_offset);
	if (error != NULL)
		return error;
	if (crc_of(file->directory, len) != file->trailer.directory_crc)
		return "its directory has another checksum";
	error = gs_cold_count(file->directory, len, &ncolumns, &nblocks);
	if (error != NULL)
		return error;
	file->ncolumns = (int) ncolumns;
	file->nblocks = (int) nblocks;
	file->columns = palloc(sizeof(GsColdColumn) * Max(ncolumns, 1));
	file->blocks = MemoryContextAllocHuge(CurrentMemoryContext,
										  sizeof(GsColdBlock) * Max(nblocks, 1));
	return gs_cold_get_directory(file->directory, len, file->trailer.directory_offset,
								 file->columns, file->blocks);
}

const char *
gs_cold_open(const char *name, GsColdFile *file)
{
	char magic[GS_COLD_MAGIC_SIZE];
	uint64 size;
	const char *error;

	memset(file, 0, sizeof(*file));
	error = open_file(name, &file->fd, &size);
	if (error != NULL)
		return error;
	strlcpy(file->name, name, sizeof(file->name));
	error = read_at(file->fd, magic, sizeof(magic), 0);
	if (error == NULL && memcmp(magic, GS_COLD_MAGIC, sizeof(magic)) != 0)
		error = "it does not begin as such a file does";
	if (error == NULL)
		error = read_trailer(file->fd, size, &file->trailer);
	if (error == NULL)
		error = read_directory(file);
	if (error != NULL)
		gs_cold_close(file);
	return error;
}

void
gs_cold_close(GsColdFile *file)
{
	CloseTransientFile(file->fd);
	file->fd = -1;
	if (file->directory)
		pfree(file->directory);
	if (file->columns)
		pfree(file->columns);
	if (file->blocks)
		pfree(file->blocks);
	file->directory = NULL;
	file->columns = NULL;
	file->blocks = NULL;
}

const char *
gs_cold_read_block(const GsColdFile *file, int block, char **rows)
{
	const GsColdBlock *b = &file->blocks[block];
	char *frame;
	const char *error;
	size_t size;

	/* before memory is taken for what a length says; that of the frame fits the file */
	if (b->raw_len > GS_COLD_MAX_ROWS_SIZE || (Size) b->len >= MaxAllocSize)
		return psprintf("block %d is too large", block);
	frame = palloc(Max(b->len, 1));
	error = read_at(file->fd, frame, b->len, b->offset);
	if (error == NULL && crc_of(frame, b->len) != b->crc)
		error = psprintf("block %d has another checksum", block);
	if (error != NULL)
	{
		pfree(frame);
		return error;
	}
	*rows = palloc(Max(b->raw_len, 1));
	size = ZSTD_decompress(*rows, b->raw_len, frame, b->len);
	pfree(frame);
	if (ZSTD_isError(size) || size != b->raw_len)
		return psprintf("block %d cannot be decompressed", block);
	return NULL;
}

int
gs_cold_find_block(const GsColdFile *file, const pg_uuid_t *id)
{
	int low = 0;
	int high = file->nblocks;

	/* the first block whose last game is not before this one */
	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (memcmp(file->blocks[middle].last, id->data, UUID_LEN) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == file->nblocks || memcmp(file->blocks[low].first, id->data, UUID_LEN) > 0)
		return -1;
	return low;
}

const char *
gs_cold_checksum(const char *name, uint32 *checksum)
{
	char *buffer;
	uint64 size;
	uint64 offset = 0;
	pg_crc32c crc;
	int fd;
	const char *error = open_file(name, &fd, &size);

	if (error != NULL)
		return error;
	buffer = palloc(BLOCK_BYTES);
	INIT_CRC32C(crc);
	while (offset < size && error == NULL)
	{
		Size n = Min(size - offset, BLOCK_BYTES);

		error = read_at(fd, buffer, n, offset);
		COMP_CRC32C(crc, buffer, n);
		offset += n;
	}
	FIN_CRC32C(crc);
	*checksum = crc;
	CloseTransientFile(fd);
	pfree(buffer);
	return error;
}

/* ----------------------------------------------------------------
 *		Writing
 * ----------------------------------------------------------------
 */

static _Noreturn void
cannot_write(const GsColdWriter *writer)
{
	/* a write that was cut short has no errno */
	if (errno == 0)
		errno = ENOSPC;
	ereport(ERROR, (errcode_for_file_access(),
					errmsg("could not write file \"%s\": %m", writer->temporary)));
	pg_unreachable();
}

static void
write_bytes(GsColdWriter *writer, const char *data, Size len)
{
	COMP_CRC32C(writer->file_crc, data, len);
	writer->offset += len;
	while (len > 0)
	{
		ssize_t n;

		CHECK_FOR_INTERRUPTS();
		errno = 0;
		pgstat_report_wait_start(PG_WAIT_EXTENSION);
		n = write(writer->fd, data, len);
		pgstat_report_wait_end();
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			cannot_write(writer);
		data += n;
		len -= n;
	}
}

static void
free_zstd(void *arg)
{
	ZSTD_freeCCtx(arg);
}

GsColdWriter *
gs_cold_create(const char *name, const GsColdColumn *columns, int ncolumns)
{
	GsColdWriter *writer = palloc0(sizeof(GsColdWriter));

	writer->path = gs_cold_path(name);
	writer->temporary = psprintf("%s.tmp", writer->path);
	initStringInfo(&writer->rows);
	initStringInfo(&writer->directory);
	initStringInfo(&writer->blocks);
	writer->zstd = ZSTD_createCCtx();
	if (writer->zstd == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	writer->callback.func = free_zstd;
	writer->callback.arg = writer->zstd;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &writer->callback);

	enlargeStringInfo(&writer->directory, 10);
	for (int i = -1; i < ncolumns; i++)
	{
		char *p;

		if (i >= 0)
			enlargeStringInfo(&writer->directory, (int) gs_cold_column_size(&columns[i]));
		p = writer->directory.data + writer->directory.len;
		p = i < 0 ? gs_cold_put_count(p, ncolumns) : gs_cold_put_column(p, &columns[i]);
		writer->directory.len = (int) (p - writer->directory.data);
	}

	writer->fd =
		OpenTransientFilePerm(writer->temporary,
							  O_WRONLY | O_CREAT | O_EXCL | PG_BINARY | O_NOFOLLOW,
							  pg_file_create_mode);
	if (writer->fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", writer->temporary),
				 errhint("The server's user needs the right to write in gamestate.cold_directory.")));
	INIT_CRC32C(writer->file_crc);
	write_bytes(writer, GS_COLD_MAGIC, GS_COLD_MAGIC_SIZE);
	return writer;
}

static void
end_block(GsColdWriter *writer)
{
	GsColdBlock *block = &writer->block;
	size_t bound = ZSTD_compressBound(writer->rows.len);
	char *frame;
	char *p;
	size_t size;

	if (block->rows == 0)
		return;
	frame = palloc_extended(bound, MCXT_ALLOC_HUGE);
	size = ZSTD_compressCCtx(writer->zstd, frame, bound, writer->rows.data,
							 writer->rows.len, BLOCK_LEVEL);
	if (ZSTD_isError(size) || size > UINT32_MAX)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not compress a block of \"%s\"", writer->path)));
	block->len = (uint32) size;
	block->raw_len = writer->rows.len;
	block->crc = crc_of(frame, size);
	write_bytes(writer, frame, size);
	pfree(frame);

	enlargeStringInfo(&writer->blocks, GS_COLD_BLOCK_MAX_SIZE);
	p = gs_cold_put_block(writer->blocks.data + writer->blocks.len, block);
	writer->blocks.len = (int) (p - writer->blocks.data);
	writer->nblocks++;
	writer->raw_bytes += writer->rows.len;
	memset(block, 0, sizeof(*block));
	resetStringInfo(&writer->rows);
}

void
gs_cold_write_row(GsColdWriter *writer, const GsColdRow *row)
{
	GsColdBlock *block = &writer->block;
	size_t size = gs_cold_row_size(row);
	char *p;

	if (block->rows > 0 && writer->rows.len + size > BLOCK_BYTES)
		end_block(writer);
	if (size > GS_COLD_MAX_ROWS_SIZE)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a row is too large for a cold file")));
	enlargeStringInfo(&writer->rows, (int) size);
	p = gs_cold_put_row(writer->rows.data + writer->rows.len, row);
	writer->rows.len = (int) (p - writer->rows.data);
	if (block->rows++ == 0)
	{
		memcpy(block->first, row->game_id, UUID_LEN);
		block->earliest = block->latest = row->ended_at;
	}
	Assert(memcmp(block->last, row->game_id, UUID_LEN) <= 0 || block->rows == 1);
	memcpy(block->last, row->game_id, UUID_LEN);
	block->earliest = Min(block->earliest, row->ended_at);
	block->latest = Max(block->latest, row->ended_at);
	writer->nrows++;
}

uint64
gs_cold_finish(GsColdWriter *writer, uint32 *checksum, uint64 *rows)
{
	GsColdTrailer trailer = {0};
	char bytes[GS_COLD_TRAILER_SIZE];
	char *p;

	end_block(writer);
	trailer.directory_offset = writer->offset;
	enlargeStringInfo(&writer->directory, 10);
	p = gs_cold_put_count(writer->directory.data + writer->directory.len,
						  writer->nblocks);
	writer->directory.len = (int) (p - writer->directory.data);
	appendBinaryStringInfo(&writer->directory, writer->blocks.data, writer->blocks.len);
	trailer.directory_len = writer->directory.len;
	trailer.directory_crc = crc_of(writer->directory.data, writer->directory.len);
	trailer.rows = *rows = writer->nrows;
	trailer.raw_bytes = writer->raw_bytes;
	gs_cold_put_trailer(&trailer, bytes);
	gs_cold_put_crc(bytes, crc_of(bytes, GS_COLD_TRAILER_CRC));
	write_bytes(writer, writer->directory.data, writer->directory.len);
	write_bytes(writer, bytes, sizeof(bytes));

	if (pg_fsync(writer->fd) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not fsync file \"%s\": %m", writer->temporary)));
	if (CloseTransientFile(writer->fd) != 0)
		cannot_write(writer);
	(void) durable_rename(writer->temporary, writer->path, ERROR);
	FIN_CRC32C(writer->file_crc);
	*checksum = writer->file_crc;
	return writer->offset;
}
