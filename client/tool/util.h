/*
 * util.h: what every part of the tool needs: messages in the style
 * of PostgreSQL's tools, memory that never comes back NULL, a growable
 * string, a clock, a small random generator.
 */
#ifndef GAMESTATE_CLIENT_UTIL_H
#define GAMESTATE_CLIENT_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gamestate.h"

#define PROGRAM_NAME "gamestate"

#if defined(__GNUC__)
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#else
#define PRINTF_LIKE(text, first)
#endif

/*
 * Messages, to stderr, each a line "gamestate: error: ...".  A progress bar on
 * the terminal is wiped first (see progress.h).  log_info() writes
 * "gamestate: ...", and only with --verbose.
 */
extern void log_info(const char *format, ...) PRINTF_LIKE(1, 2);
extern void log_error(const char *format, ...) PRINTF_LIKE(1, 2);
extern void log_warning(const char *format, ...) PRINTF_LIKE(1, 2);
extern void log_detail(const char *format, ...) PRINTF_LIKE(1, 2);
extern void log_hint(const char *format, ...) PRINTF_LIKE(1, 2);

extern bool log_verbose;

/* Called before a message is written; set by progress.c, may be NULL. */
extern void (*log_before_message)(void);

/* Memory: out of memory ends the program with a message. */
extern void *xmalloc(size_t size);
extern void *xcalloc(size_t count, size_t size);
extern void *xrealloc(void *pointer, size_t size);
extern char *xstrdup(const char *string);

/* Make room for at least `needed` elements in a growing array. */
extern void *grow_array(void *array, size_t *capacity, size_t needed,
						size_t element_size);

/*
 * A growable string.  `data` is NUL-terminated once anything (be it the
 * empty string) has been appended or buf_reset() was called; a zeroed Buf is
 * valid, and holds no memory.
 */
typedef struct Buf
{
	char *data;
	size_t len;
	size_t capacity;
} Buf;

extern void buf_reset(Buf *buf);
extern void buf_free(Buf *buf);
extern void buf_append(Buf *buf, const char *bytes, size_t len);
extern void buf_puts(Buf *buf, const char *string);
extern void buf_putc(Buf *buf, char c);
extern void buf_printf(Buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

/* Its content as an argument of a call; valid until it changes. */
static inline gamestate_data
buf_document(const Buf *buf)
{
	return (gamestate_data){buf->data, buf->len};
}

/* Append `string` as a JSON string, quotes included. */
extern void buf_json_string(Buf *buf, const char *string);

/* Append `string` as one element of a PostgreSQL array literal, quoted. */
extern void buf_array_element(Buf *buf, const char *string);

/* Monotonic time in nanoseconds. */
extern uint64_t now_ns(void);

/* "1,234,567" in a caller's buffer of at least NUMBER_SIZE bytes. */
#define NUMBER_SIZE 32
extern const char *format_count(char *out, uint64_t value);

/* "1.23 MB": three significant digits, decimal units. */
extern const char *format_bytes(char *out, uint64_t bytes);

/* "0.21 ms": three significant digits, us to s. */
extern const char *format_duration(char *out, uint64_t ns);

/*
 * splitmix64: small, fast, good enough to shuffle cards, and the same on
 * every machine for the same seed.
 */
typedef struct Rng
{
	uint64_t state;
} Rng;

extern void rng_seed(Rng *rng, uint64_t seed, uint64_t stream);
extern uint64_t rng_next(Rng *rng);

/* Uniform in [0, bound); bound > 0. */
extern uint32_t rng_below(Rng *rng, uint32_t bound);

#endif /* GAMESTATE_CLIENT_UTIL_H */
