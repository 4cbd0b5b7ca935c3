/*-------------------------------------------------------------------------
 *
 * gs_redact.h
 *	  Replacing a string in JSON text.
 *
 * Pure C: no PostgreSQL, no allocation, no global state.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_REDACT_H
#define GS_REDACT_H

#include <stddef.h>

/* What is replaced by what: bytes in UTF-8, the replacement without need of an escape. */
typedef struct GsRedaction
{
	const char *name;
	size_t name_len;
	const char *replacement;
	size_t replacement_len;
} GsRedaction;

/*
 * Copies JSON text to dst, with each string in it that is the name, keys
 * included, replaced; everything else stays to the letter.  How the name is
 * spelled does not matter ("\u0061nn" is "ann").  Returns the length of what
 * comes out; dst has room for that, or is NULL, to find out.  *found is the
 * number of replaced strings.  Text that is no JSON does no harm.
 */
extern size_t gs_redact(const GsRedaction *redaction, const char *json, size_t len,
						char *dst, size_t *found);

#endif /* GS_REDACT_H */
