/*
 * util.c: messages, memory, growable strings, number formats, random numbers.
 *
 * The model:
 * 1. Messages go to stderr as "gamestate: error: ...", as PostgreSQL's
 *    own tools write them; a detail or hint follows its error on its own line.
 * 2. Running out of memory is not something the tool recovers from: the
 *    x... functions end the program with a message instead of returning NULL.
 * 3. A Buf only grows; buf_reset() keeps its memory, so that a buffer used for
 *    every move of a game is allocated a handful of times.
 */
#include "util.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool log_verbose = false;
void (*log_before_message)(void) = NULL;

static void log_message(const char *severity, const char *format, va_list args)
	PRINTF_LIKE(2, 0);

static void
log_message(const char *severity, const char *format, va_list args)
{
	if (log_before_message != NULL)
		log_before_message();
	fprintf(stderr, "%s: %s%s", PROGRAM_NAME, severity, severity[0] != '\0' ? ": " : "");
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
}

#define DEFINE_LOG_FUNCTION(name, severity)  \
	void name(const char *format, ...)       \
	{                                        \
		va_list args;                        \
                                             \
		va_start(args, format);              \
		log_message(severity, format, args); \
		va_end(args);                        \
	}

DEFINE_LOG_FUNCTION(log_error, "error")
DEFINE_LOG_FUNCTION(log_warning, "warning")
DEFINE_LOG_FUNCTION(log_detail, "detail")
DEFINE_LOG_FUNCTION(log_hint, "hint")

void
log_info(const char *format, ...)
{
	va_list args;

	if (!log_verbose)
		return;
	va_start(args, format);
	log_message("", format, args);
	va_end(args);
}

void *
xrealloc(void *pointer, size_t size)
{
	void *result = realloc(pointer, size > 0 ? size : 1);

	if (result == NULL)
	{
		log_error("out of memory");
		exit(EXIT_FAILURE);
	}
	return result;
}

void *
xmalloc(size_t size)
{
	return xrealloc(NULL, size);
}

void *
xcalloc(size_t count, size_t size)
{
	void *result = calloc(count > 0 ? count : 1, size > 0 ? size : 1);

	if (result == NULL)
	{
		log_error("out of memory");
		exit(EXIT_FAILURE);
	}
	return result;
}

char *
xstrdup(const char *string)
{
	size_t size = strlen(string) + 1;

	return memcpy(xmalloc(size), string, size);
}

void *
grow_array(void *array, size_t *capacity, size_t needed, size_t element_size)
{
	size_t wanted = *capacity > 0 ? *capacity : 64;

	if (needed <= *capacity)
		return array;
	while (wanted < needed)
		wanted *= 2;
	if (wanted > SIZE_MAX / element_size)
	{
		log_error("out of memory");
		exit(EXIT_FAILURE);
	}
	*capacity = wanted;
	return xrealloc(array, wanted * element_size);
}

/* Room for `extra` more bytes and the terminating NUL. */
static void
buf_reserve(Buf *buf, size_t extra)
{
	buf->data = grow_array(buf->data, &buf->capacity, buf->len + extra + 1, 1);
}

void
buf_reset(Buf *buf)
{
	buf->len = 0;
	buf_reserve(buf, 0);
	buf->data[0] = '\0';
}

void
buf_free(Buf *buf)
{
	free(buf->data);
	memset(buf, 0, sizeof(*buf));
}

void
buf_append(Buf *buf, const char *bytes, size_t len)
{
	buf_reserve(buf, len);
	if (len > 0)
		memcpy(buf->data + buf->len, bytes, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void
buf_puts(Buf *buf, const char *string)
{
	buf_append(buf, string, strlen(string));
}

void
buf_putc(Buf *buf, char c)
{
	buf_append(buf, &c, 1);
}

void
buf_printf(Buf *buf, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		return;
	buf_reserve(buf, (size_t) len);
	va_start(args, format);
	vsnprintf(buf->data + buf->len, (size_t) len + 1, format, args);
	va_end(args);
	buf->len += (size_t) len;
}

void
buf_json_string(Buf *buf, const char *string)
{
	buf_putc(buf, '"');
	for (const unsigned char *p = (const unsigned char *) string; *p != '\0'; p++)
	{
		if (*p == '"' || *p == '\\')
		{
			buf_putc(buf, '\\');
			buf_putc(buf, (char) *p);
		}
		else if (*p < 0x20)
			buf_printf(buf, "\\u%04x", *p);
		else
			buf_putc(buf, (char) *p);
	}
	buf_putc(buf, '"');
}

void
buf_array_element(Buf *buf, const char *string)
{
	buf_putc(buf, '"');
	for (const char *p = string; *p != '\0'; p++)
	{
		if (*p == '"' || *p == '\\')
			buf_putc(buf, '\\');
		buf_putc(buf, *p);
	}
	buf_putc(buf, '"');
}

uint64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

const char *
format_count(char *out, uint64_t value)
{
	char digits[NUMBER_SIZE];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, value);
	char *to = out;

	for (int i = 0; i < len; i++)
	{
		if (i > 0 && (len - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return out;
}

/* A value with three significant digits and its unit. */
static const char *
format_scaled(char *out, double value, const char *unit)
{
	int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;

	snprintf(out, NUMBER_SIZE, "%.*f %s", decimals, value, unit);
	return out;
}

const char *
format_bytes(char *out, uint64_t bytes)
{
	static const char *const units[] = {"kB", "MB", "GB", "TB", "PB"};
	double value = (double) bytes / 1000.0;
	size_t unit = 0;

	if (bytes < 1000)
	{
		snprintf(out, NUMBER_SIZE, "%" PRIu64 " B", bytes);
		return out;
	}
	while (value >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0]))
	{
		value /= 1000.0;
		unit++;
	}
	return format_scaled(out, value, units[unit]);
}

const char *
format_duration(char *out, uint64_t ns)
{
	if (ns >= 999500000u)
		return format_scaled(out, (double) ns / 1e9, "s");
	if (ns >= 999500u)
		return format_scaled(out, (double) ns / 1e6, "ms");
	return format_scaled(out, (double) ns / 1e3, "us");
}

uint64_t
rng_next(Rng *rng)
{
	uint64_t z = (rng->state += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

void
rng_seed(Rng *rng, uint64_t seed, uint64_t stream)
{
	rng->state = stream;
	rng->state = rng_next(rng) ^ seed;
	(void) rng_next(rng);
}

uint32_t
rng_below(Rng *rng, uint32_t bound)
{
	/* Reject the uneven rest, so that no card is likelier than another. */
	uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
	uint64_t value;

	do
		value = rng_next(rng);
	while (value >= limit);
	return (uint32_t) (value % bound);
}
