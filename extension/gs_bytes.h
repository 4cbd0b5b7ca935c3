/*-------------------------------------------------------------------------
 *
 * gs_bytes.h
 *	  Numbers and byte strings, as all stored formats write them.
 *
 * Pure C like the codecs that use it: no PostgreSQL, no allocation, no state.
 * Inline, because each number of each record goes through here.
 *
 *	varint	LEB128: little endian, 7 bits a byte, at most 10 bytes.  Encodings
 *			are canonical: a varint with needless bytes is refused.
 *	uint32	4 bytes, little endian, for what is not small
 *	zigzag	maps signed to unsigned numbers as in Protocol Buffers' encoding
 *			documentation, so that small negative ones have short varints too.
 *
 * The model: what puts trusts its caller that there is room (sizes are
 * computed first); what consumes trusts nothing.  gs_consume_*() compare with
 * what is left before *p moves or anything is touched, and return false, with
 * *p unspecified, if it does not suffice.  Lengths are compared as 64-bit
 * numbers, so no sum of them wraps.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_BYTES_H
#define GS_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define GS_VARINT_MAX_BYTES 10

static inline uint64_t
gs_zigzag(int64_t value)
{
	uint64_t u = (uint64_t) value;

	return (u << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

static inline int64_t
gs_unzigzag(uint64_t value)
{
	return (int64_t) ((value >> 1) ^ (UINT64_C(0) - (value & 1)));
}

/*
 * A time as its distance from another one.  Modulo 2^64, so every pair goes
 * through, also what no clock would say.
 */
static inline uint64_t
gs_time_distance(int64_t at, int64_t base)
{
	return gs_zigzag((int64_t) ((uint64_t) at - (uint64_t) base));
}

static inline int64_t
gs_time_at(uint64_t distance, int64_t base)
{
	return (int64_t) ((uint64_t) base + (uint64_t) gs_unzigzag(distance));
}

/* ---- putting ---- */

static inline size_t
gs_varint_size(uint64_t value)
{
	/* number of significant bits, at least 1, in groups of 7 */
	return (size_t) (70 - __builtin_clzll(value | 1)) / 7;
}

static inline char *
gs_varint_put(char *dst, uint64_t value)
{
	while (value >= 0x80)
	{
		*dst++ = (char) (unsigned char) (value | 0x80);
		value >>= 7;
	}
	*dst++ = (char) (unsigned char) value;
	return dst;
}

/* bytes alone; data may be NULL if there are none */
static inline char *
gs_put_raw(char *dst, const void *data, size_t len)
{
	if (len > 0)
		memcpy(dst, data, len);
	return dst + len;
}

static inline char *
gs_put_uint32(char *dst, uint32_t value)
{
	for (int shift = 0; shift < 32; shift += 8)
		*dst++ = (char) (unsigned char) (value >> shift);
	return dst;
}

/* a length, then that many bytes */
static inline char *
gs_put_bytes(char *dst, const char *data, uint32_t len)
{
	return gs_put_raw(gs_varint_put(dst, len), data, len);
}

/* ---- consuming ---- */

static inline bool
gs_varint_get(const char **p, const char *end, uint64_t *value)
{
	const unsigned char *s = (const unsigned char *) *p;
	const unsigned char *stop = (const unsigned char *) end;
	uint64_t result = 0;

	/* one byte is by far the most frequent case */
	if (s < stop && *s < 0x80)
	{
		*value = *s;
		*p = (const char *) (s + 1);
		return true;
	}

	for (int shift = 0; shift < 7 * GS_VARINT_MAX_BYTES; shift += 7)
	{
		unsigned char c;

		if (s >= stop)
			return false;
		c = *s++;
		/* the tenth byte holds the 64th bit only */
		if (shift == 63 && c > 1)
			return false;
		result |= (uint64_t) (c & 0x7F) << shift;
		if (c < 0x80)
		{
			/* a last byte of 0 adds nothing: not canonical */
			if (c == 0)
				return false;
			*value = result;
			*p = (const char *) s;
			return true;
		}
	}
	return false;
}

/* four bytes that are there */
static inline uint32_t
gs_get_uint32(const char *p)
{
	const unsigned char *s = (const unsigned char *) p;

	return s[0] | (uint32_t) s[1] << 8 | (uint32_t) s[2] << 16 | (uint32_t) s[3] << 24;
}

static inline bool
gs_consume_uint32_raw(const char **p, const char *end, uint32_t *value)
{
	if (end - *p < 4)
		return false;
	*value = gs_get_uint32(*p);
	*p += 4;
	return true;
}

/* a number that is not more than max */
static inline bool
gs_consume_number(const char **p, const char *end, uint64_t max, uint64_t *value)
{
	return gs_varint_get(p, end, value) && *value <= max;
}

static inline bool
gs_consume_int64(const char **p, const char *end, int64_t *value)
{
	uint64_t n;

	if (!gs_consume_number(p, end, INT64_MAX, &n))
		return false;
	*value = (int64_t) n;
	return true;
}

static inline bool
gs_consume_uint32(const char **p, const char *end, uint32_t *value)
{
	uint64_t n;

	if (!gs_consume_number(p, end, UINT32_MAX, &n))
		return false;
	*value = (uint32_t) n;
	return true;
}

/* the next n bytes, where they stand */
static inline bool
gs_consume(const char **p, const char *end, uint64_t n, const char **data)
{
	if (n > (uint64_t) (end - *p))
		return false;
	*data = *p;
	*p += n;
	return true;
}

/* ... copied */
static inline bool
gs_consume_raw(const char **p, const char *end, void *dst, size_t n)
{
	const char *data;

	if (!gs_consume(p, end, n, &data))
		return false;
	memcpy(dst, data, n);
	return true;
}

/* a length, then that many bytes */
static inline bool
gs_consume_bytes(const char **p, const char *end, const char **data, uint32_t *len)
{
	return gs_consume_uint32(p, end, len) && gs_consume(p, end, *len, data);
}

#endif /* GS_BYTES_H */
