/*-------------------------------------------------------------------------
 *
 * gs_json.h
 *	  JSON documents as jsonb, as far as jsonb can hold them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_JSON_H
#define GS_JSON_H

#include "postgres.h"

#include "utils/jsonb.h"

/* In the current memory context; NULL for what jsonb cannot hold. */
extern Jsonb *gs_json_to_jsonb(const text *document);

#endif /* GS_JSON_H */
