/*
 * stream.c: files of lines, plain or zstd.
 *
 * The model:
 * 1. A writer gathers lines in a buffer, which goes to the file, through
 *    zstd's streaming compression if it is wanted.  The frame carries zstd's
 *    own checksum.  A file is written under another name, flushed to the disk
 *    and renamed, so that half a file never has the name of a whole one.
 * 2. A reader fills a buffer from the file, decompresses it if the file begins
 *    with zstd's magic number, and cuts lines out of what comes.  A frame that
 *    does not end with the file is an error; several frames are all right.
 * 3. Memory is that of the buffers and the longest line.
 */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define MAX_LINE   ((size_t) 1024 * 1024 * 1024)
#define FLUSH_SIZE ((size_t) 256 * 1024)

struct LineWriter
{
	char *path;	   /* NULL = stdout */
	char *partial; /* its name meanwhile */
	bool in_place; /* it has its name already: a device, a pipe */
	int fd;
	ZSTD_CStream *zstd; /* NULL = not compressed */
	Buf pending;		/* lines not yet given to zstd or the file */
	char *out;
	size_t out_size;
	EVP_MD_CTX *digest;
	uint64_t bytes;
	bool failed; /* a message has been written */
};

struct LineReader
{
	const char *path;
	int fd;
	uint64_t size;
	uint64_t position;
	bool begun; /* it is known whether it is compressed */
	bool ended; /* nothing more comes out of the file */
	ZSTD_DStream *zstd;
	size_t zstd_wants; /* 0 = a frame has ended */
	char *in;
	size_t in_size;
	size_t in_len;
	size_t in_pos;
	Buf text; /* decompressed, from `cut` on not yet given out */
	size_t cut;
	size_t searched; /* up to here there is no newline */
	EVP_MD_CTX *digest;
	EVP_MD_CTX *digest_all; /* NULL = not wanted */
};

/* ---- digests ---- */

static EVP_MD_CTX *
digest_create(void)
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();

	if (digest == NULL || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
	{
		log_error("could not compute SHA-256 checksums");
		exit(EXIT_FAILURE);
	}
	return digest;
}

static void
digest_text(const EVP_MD_CTX *digest, char text[SHA256_TEXT])
{
	EVP_MD_CTX *copy = digest_create();
	unsigned char bytes[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	(void) EVP_MD_CTX_copy_ex(copy, digest);
	(void) EVP_DigestFinal_ex(copy, bytes, &len);
	EVP_MD_CTX_free(copy);
	text[0] = '\0';
	for (unsigned int i = 0; i < len && 2 * i + 2 < SHA256_TEXT; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

/* ---- writing ---- */

static const char *
writer_name(const LineWriter *writer)
{
	return writer->path != NULL ? writer->partial : "standard output";
}

static bool
writer_error(LineWriter *writer, const char *reason)
{
	if (!writer->failed)
		log_error("could not write to %s: %s", writer_name(writer), reason);
	writer->failed = true;
	return false;
}

static void
writer_free(LineWriter *writer)
{
	ZSTD_freeCStream(writer->zstd);
	EVP_MD_CTX_free(writer->digest);
	buf_free(&writer->pending);
	free(writer->out);
	free(writer->path);
	free(writer->partial);
	free(writer);
}

/*
 * The names of a file.  What is no regular file must not be replaced by one, and
 * a link is to what shall be written.
 */
static void
set_names(LineWriter *writer, const char *path)
{
	Buf partial = {0};
	struct stat status;
	char *target;

	if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
	{
		writer->path = xstrdup(path);
		writer->partial = xstrdup(path);
		writer->in_place = true;
		return;
	}
	target = realpath(path, NULL); /* NULL: there is none yet */
	writer->path = xstrdup(target != NULL ? target : path);
	free(target);
	buf_printf(&partial, "%s.partial", writer->path);
	writer->partial = partial.data;
}

LineWriter *
writer_open(const char *path, int level)
{
	LineWriter *writer = xcalloc(1, sizeof(*writer));

	writer->fd = STDOUT_FILENO;
	if (path != NULL)
	{
		set_names(writer, path);
		writer->fd = open(writer->partial, O_WRONLY | O_CREAT | O_TRUNC, 0666);
		if (writer->fd < 0)
		{
			log_error("could not create file \"%s\": %s", writer->partial,
					  strerror(errno));
			writer_free(writer);
			return NULL;
		}
	}
	writer->digest = digest_create();
	if (level > 0)
	{
		writer->zstd = ZSTD_createCStream();
		writer->out_size = ZSTD_CStreamOutSize();
		writer->out = xmalloc(writer->out_size);
		(void) ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_compressionLevel, level);
		(void) ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_checksumFlag, 1);
	}
	return writer;
}

/* The first `bytes` of the file, and the place after them. */
static bool
cut_back(LineWriter *writer, uint64_t bytes)
{
	struct stat status;

	if (fstat(writer->fd, &status) != 0)
		return writer_error(writer, strerror(errno));
	if (writer->in_place || status.st_size == 0)
		return true;
	if ((uint64_t) status.st_size < bytes)
		return writer_error(writer, "it is shorter than it was");
	if (ftruncate(writer->fd, (off_t) bytes) != 0 || lseek(writer->fd, 0, SEEK_END) < 0)
		return writer_error(writer, strerror(errno));
	writer->bytes = bytes;
	return true;
}

LineWriter *
writer_open_again(const char *path, uint64_t bytes)
{
	LineWriter *writer = xcalloc(1, sizeof(*writer));

	set_names(writer, path);
	if (access(writer->partial, F_OK) != 0)
		(void) rename(writer->path, writer->partial); /* or there is none */
	writer->digest = digest_create();
	writer->fd = open(writer->partial, O_WRONLY | O_CREAT, 0666);
	if (writer->fd < 0)
		log_error("could not open file \"%s\": %s", writer->partial, strerror(errno));
	else if (cut_back(writer, bytes))
		return writer;
	else
		close(writer->fd);
	writer_free(writer);
	return NULL;
}

static bool
write_bytes(LineWriter *writer, const char *bytes, size_t len)
{
	while (len > 0)
	{
		ssize_t written = write(writer->fd, bytes, len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return writer_error(writer, strerror(errno));
		bytes += written;
		len -= (size_t) written;
	}
	return true;
}

/* Everything that is pending; with `end` the frame's end too. */
static bool
writer_flush(LineWriter *writer, bool end)
{
	ZSTD_inBuffer in = {writer->pending.data, writer->pending.len, 0};
	size_t left;

	if (writer->zstd == NULL)
	{
		if (!write_bytes(writer, writer->pending.data, writer->pending.len))
			return false;
		buf_reset(&writer->pending);
		return true;
	}
	do
	{
		ZSTD_outBuffer out = {writer->out, writer->out_size, 0};

		left = ZSTD_compressStream2(writer->zstd, &out, &in,
									end ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return writer_error(writer, ZSTD_getErrorName(left));
		if (!write_bytes(writer, writer->out, out.pos))
			return false;
	} while (in.pos < in.size || (end && left > 0));
	buf_reset(&writer->pending);
	return true;
}

bool
writer_line(LineWriter *writer, const char *line, size_t len)
{
	(void) EVP_DigestUpdate(writer->digest, line, len);
	(void) EVP_DigestUpdate(writer->digest, "\n", 1);
	writer->bytes += len + 1;
	buf_append(&writer->pending, line, len);
	buf_putc(&writer->pending, '\n');
	return writer->pending.len < FLUSH_SIZE || writer_flush(writer, false);
}

bool
writer_push(LineWriter *writer)
{
	return writer->pending.len == 0 || writer_flush(writer, false);
}

void
writer_digest(const LineWriter *writer, char digest[SHA256_TEXT])
{
	digest_text(writer->digest, digest);
}

uint64_t
writer_bytes(const LineWriter *writer)
{
	return writer->bytes;
}

/* A rename is on the disk when its directory is. */
static bool
rename_durably(LineWriter *writer)
{
	char *directory = xstrdup(writer->path);
	char *slash = strrchr(directory, '/');
	int fd;

	if (rename(writer->partial, writer->path) != 0)
	{
		log_error("could not rename file \"%s\" to \"%s\": %s", writer->partial,
				  writer->path, strerror(errno));
		free(directory);
		return false;
	}
	if (slash != NULL)
		slash[slash == directory] = '\0';
	fd = open(slash != NULL ? directory : ".", O_RDONLY);
	if (fd >= 0)
	{
		(void) fsync(fd); /* some file systems cannot */
		close(fd);
	}
	free(directory);
	return true;
}

bool
writer_close(LineWriter *writer)
{
	bool ok;

	if (writer->pending.data == NULL)
		buf_reset(&writer->pending);
	ok = writer_flush(writer, true);
	if (ok && writer->path != NULL && !writer->in_place && fsync(writer->fd) != 0)
		ok = writer_error(writer, strerror(errno));
	if (writer->path != NULL && close(writer->fd) != 0 && ok)
		ok = writer_error(writer, strerror(errno));
	if (ok && writer->path != NULL && !writer->in_place)
		ok = rename_durably(writer);
	if (!ok && writer->path != NULL && !writer->in_place)
		(void) unlink(writer->partial);
	writer_free(writer);
	return ok;
}

void
writer_abandon(LineWriter *writer)
{
	if (writer == NULL)
		return;
	if (writer->path != NULL)
	{
		close(writer->fd);
		if (!writer->in_place)
			(void) unlink(writer->partial);
	}
	writer_free(writer);
}

/* ---- reading ---- */

LineReader *
reader_open(const char *path)
{
	LineReader *reader;
	struct stat status;
	bool is_stdin = strcmp(path, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY);

	if (fd < 0)
	{
		log_error("could not open file \"%s\": %s", path, strerror(errno));
		return NULL;
	}
	reader = xcalloc(1, sizeof(*reader));
	reader->path = is_stdin ? "standard input" : path;
	reader->fd = fd;
	if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
		reader->size = (uint64_t) status.st_size;
	reader->in_size = ZSTD_DStreamInSize();
	reader->in = xmalloc(reader->in_size);
	reader->digest = digest_create();
	buf_reset(&reader->text);
	return reader;
}

void
reader_close(LineReader *reader)
{
	if (reader == NULL)
		return;
	if (reader->fd != STDIN_FILENO)
		close(reader->fd);
	ZSTD_freeDStream(reader->zstd);
	EVP_MD_CTX_free(reader->digest);
	EVP_MD_CTX_free(reader->digest_all);
	buf_free(&reader->text);
	free(reader->in);
	free(reader);
}

static bool
reader_error(const LineReader *reader, const char *reason)
{
	log_error("could not read %s: %s", reader->path, reason);
	return false;
}

/* More bytes from the file; in_len stays 0 at its end. */
static bool
read_bytes(LineReader *reader)
{
	reader->in_pos = 0;
	reader->in_len = 0;
	while (reader->in_len < 4) /* a magic number may come in pieces */
	{
		ssize_t got = read(reader->fd, reader->in + reader->in_len,
						   reader->in_size - reader->in_len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return reader_error(reader, strerror(errno));
		if (got == 0)
			break;
		reader->in_len += (size_t) got;
	}
	reader->position += reader->in_len;
	return true;
}

static bool
begin_reading(LineReader *reader)
{
	static const unsigned char magic[4] = {0x28, 0xB5, 0x2F, 0xFD};

	reader->begun = true;
	if (!read_bytes(reader))
		return false;
	if (reader->in_len >= sizeof(magic) && memcmp(reader->in, magic, sizeof(magic)) == 0)
		reader->zstd = ZSTD_createDStream();
	return true;
}

/* Move what is in `in` to `text`. */
static bool
decompress(LineReader *reader)
{
	char piece[1 << 16];
	ZSTD_inBuffer in = {reader->in, reader->in_len, reader->in_pos};
	ZSTD_outBuffer out;

	if (reader->zstd == NULL)
	{
		buf_append(&reader->text, reader->in, reader->in_len);
		reader->in_len = 0;
		return true;
	}
	do
	{
		out = (ZSTD_outBuffer){piece, sizeof(piece), 0};
		reader->zstd_wants = ZSTD_decompressStream(reader->zstd, &out, &in);
		if (ZSTD_isError(reader->zstd_wants))
			return reader_error(reader, ZSTD_getErrorName(reader->zstd_wants));
		buf_append(&reader->text, piece, out.pos);
	} while (in.pos < in.size || out.pos == out.size);
	reader->in_len = 0;
	return true;
}

/* More text; false at the end (`ended`) or after a message. */
static bool
more_text(LineReader *reader)
{
	if (!reader->begun)
	{
		if (!begin_reading(reader))
			return false;
	}
	else if (!read_bytes(reader))
		return false;
	if (reader->in_len == 0)
	{
		if (reader->zstd_wants != 0)
			return reader_error(reader, "it ends in the middle of a zstd frame");
		reader->ended = true;
		return false;
	}

	/* what has been given out makes room */
	memmove(reader->text.data, reader->text.data + reader->cut,
			reader->text.len - reader->cut);
	reader->text.len -= reader->cut;
	reader->searched -= reader->cut;
	reader->cut = 0;
	if (!decompress(reader))
		return false;
	if (reader->text.len > MAX_LINE)
		return reader_error(reader, "a line is longer than 1 GB");
	return true;
}

static void
give_line(LineReader *reader, Buf *line, size_t end)
{
	buf_reset(line);
	buf_append(line, reader->text.data + reader->cut, end - reader->cut);
	reader->cut = end < reader->text.len ? end + 1 : end;
	reader->searched = reader->cut;
	if (reader->digest_all != NULL)
	{
		(void) EVP_DigestUpdate(reader->digest_all, line->data, line->len);
		(void) EVP_DigestUpdate(reader->digest_all, "\n", 1);
	}
}

ReadOutcome
reader_line(LineReader *reader, Buf *line)
{
	for (;;)
	{
		size_t left = reader->text.len - reader->searched;
		char *newline =
			left > 0 ? memchr(reader->text.data + reader->searched, '\n', left) : NULL;

		if (newline != NULL)
		{
			give_line(reader, line, (size_t) (newline - reader->text.data));
			return READ_LINE;
		}
		reader->searched = reader->text.len;
		if (reader->ended || !more_text(reader))
			break;
	}
	if (!reader->ended)
		return READ_FAILED;
	if (reader->cut == reader->text.len)
		return READ_END;
	give_line(reader, line, reader->text.len); /* a last line without a newline */
	return READ_LINE;
}

void
reader_digest_add(LineReader *reader, const Buf *line)
{
	(void) EVP_DigestUpdate(reader->digest, line->data, line->len);
	(void) EVP_DigestUpdate(reader->digest, "\n", 1);
}

void
reader_digest(const LineReader *reader, char digest[SHA256_TEXT])
{
	digest_text(reader->digest, digest);
}

void
reader_digest_reset(LineReader *reader)
{
	(void) EVP_DigestInit_ex(reader->digest, EVP_sha256(), NULL);
}

void
reader_digest_all_begin(LineReader *reader)
{
	EVP_MD_CTX_free(reader->digest_all);
	reader->digest_all = digest_create();
}

void
reader_digest_all(const LineReader *reader, char digest[SHA256_TEXT])
{
	digest_text(reader->digest_all, digest);
}

uint64_t
reader_position(const LineReader *reader)
{
	return reader->position;
}

uint64_t
reader_size(const LineReader *reader)
{
	return reader->size;
}
