/*
 * stream.h: files of JSON lines, plain or compressed with zstd, written and
 * read a line at a time, with the SHA-256 of their lines.
 */
#ifndef GAMESTATE_CLIENT_STREAM_H
#define GAMESTATE_CLIENT_STREAM_H

#include "util.h"

#define SHA256_TEXT 65 /* hex digits and the NUL */

typedef struct LineWriter LineWriter;

/*
 * `path` NULL is stdout; level 0 does not compress.  A file has its name only
 * when it is whole: until writer_close() it is called PATH.partial.  What is no
 * regular file (a device, a pipe) is written to as it is.  NULL after a message.
 */
extern LineWriter *writer_open(const char *path, int level);

/*
 * Goes on after the first `bytes` of what was written to `path`, uncompressed,
 * by a writer that was closed or got no further; what follows them is cut off.
 * A file that is gone begins anew.  NULL after a message.
 */
extern LineWriter *writer_open_again(const char *path, uint64_t bytes);

/* A line without its newline; false after a message. */
extern bool writer_line(LineWriter *writer, const char *line, size_t len);

/* Hands what is pending to the system; false after a message. */
extern bool writer_push(LineWriter *writer);

/* SHA-256 of all lines so far, newlines included, as hex digits. */
extern void writer_digest(const LineWriter *writer, char digest[SHA256_TEXT]);
extern uint64_t writer_bytes(const LineWriter *writer); /* of these lines */

/* Brings everything to the disk; false after a message.  Frees the writer. */
extern bool writer_close(LineWriter *writer);

/* After a failure: removes what was written of a file. */
extern void writer_abandon(LineWriter *writer);

typedef struct LineReader LineReader;

typedef enum ReadOutcome
{
	READ_LINE,
	READ_END,
	READ_FAILED /* after a message */
} ReadOutcome;

/* `path` "-" is stdin.  What is compressed is known by its first bytes. */
extern LineReader *reader_open(const char *path);
extern void reader_close(LineReader *reader);

/* The next line, without its newline, into `line`. */
extern ReadOutcome reader_line(LineReader *reader, Buf *line);

/* SHA-256 of the lines added since the last reset; a line adds its newline. */
extern void reader_digest_add(LineReader *reader, const Buf *line);
extern void reader_digest(const LineReader *reader, char digest[SHA256_TEXT]);
extern void reader_digest_reset(LineReader *reader);

/* SHA-256 of all lines given out since reader_digest_all_begin(). */
extern void reader_digest_all_begin(LineReader *reader);
extern void reader_digest_all(const LineReader *reader, char digest[SHA256_TEXT]);

/* Bytes read of the file, for a progress bar; its size, 0 = not known. */
extern uint64_t reader_position(const LineReader *reader);
extern uint64_t reader_size(const LineReader *reader);

#endif /* GAMESTATE_CLIENT_STREAM_H */
