/*-------------------------------------------------------------------------
 *
 * gs_json_read.h
 *	  Reading JSON text where it stands: values that are passed over, names.
 *
 * Pure C like gs_entry.c: no PostgreSQL, no allocation, no global state.
 *
 * The text should be valid JSON.  If it is not, something wrong is read or nothing
 * (false), but nothing outside.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_JSON_READ_H
#define GS_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct GsJsonCursor
{
	const char *p;
	const char *end;
} GsJsonCursor;

typedef struct GsJsonText
{
	const char *data;
	size_t len;
} GsJsonText;

static inline bool
gs_json_is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static inline void
gs_json_skip_space(GsJsonCursor *c)
{
	while (c->p < c->end && gs_json_is_space(*c->p))
		c->p++;
}

static inline char
gs_json_peek(const GsJsonCursor *c)
{
	return c->p < c->end ? *c->p : '\0';
}

/* Behind the value that begins here, whatever is in it. */
extern bool gs_json_skip_value(GsJsonCursor *c);
extern bool gs_json_take_value(GsJsonCursor *c, GsJsonText *value);

/*
 * The name of a member, between its quotes, and the colon behind it; the cursor
 * stands at the value then.
 */
extern bool gs_json_take_key(GsJsonCursor *c, GsJsonText *key);

/* Of what a name means, its escapes undone; and, for the hash, of the object it is in. */
extern uint64_t gs_json_key_hash(const GsJsonText *key, int32_t object);
extern bool gs_json_same_key(const GsJsonText *a, const GsJsonText *b);

#endif /* GS_JSON_READ_H */
