/*-------------------------------------------------------------------------
 *
 * gs_unpack.h
 *	  Between a payload and its row in gamestate.archive_payload.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_UNPACK_H
#define GS_UNPACK_H

#include "postgres.h"

#include "gs_payload.h"

/* What the row says beside the bytes. */
typedef struct GsPacked
{
	int16 format;
	int32 dictionary; /* 0 = none */
	int32 raw_size;
	int64 checksum;
} GsPacked;

/*
 * Makes the bytes and fills *packed.  raw is the payload in format 1.  With a
 * dictionary (0 = none) that cannot be used they are made without.  Allocated
 * in mcxt; work memory is palloc'd in the current context.
 */
extern bytea *gs_pack(const GsPayload *payload, const char *raw, Size raw_size, int level,
					  int32 dictionary, MemoryContext mcxt, GsPacked *packed);

/*
 * The other way, with everything checked.  Returns NULL, or what is wrong as a
 * phrase (static or palloc'd); raw bytes, which *payload points into, are
 * palloc'd.
 */
extern const char *gs_unpack(const GsPacked *packed, bytea *bytes, char **raw,
							 GsPayload *payload);

#endif /* GS_UNPACK_H */
