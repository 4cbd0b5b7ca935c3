/*-------------------------------------------------------------------------
 *
 * gs_uuid.h
 *	  Generated game ids.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_UUID_H
#define GS_UUID_H

#include "postgres.h"

#include "utils/timestamp.h"
#include "utils/uuid.h"

/* A UUID of version 7; those of one backend grow strictly. */
extern void gs_uuid_generate(pg_uuid_t *uuid);

/* How far the clock of who makes request ids may be ahead of ours, in microseconds. */
#define GS_CLOCKS_DIFFER USECS_PER_DAY

/* Ids that the game may have which a request has created. */
#define GS_UUID_CANDIDATES 2
typedef struct GsUuidOfRequest
{
	int n;
	pg_uuid_t ids[GS_UUID_CANDIDATES]; /* the first for a new game, then older ones */
	pg_uuid_t lock;					   /* what to lock as if it were a game's id */
} GsUuidOfRequest;

/* 22023 for one of version 7 whose time is too far ahead. */
extern GsUuidOfRequest gs_uuid_of_request(const pg_uuid_t *request);

/* Between these the id says that it was made; false if it does not say. */
extern bool gs_uuid_times(const pg_uuid_t *id, TimestampTz *from, TimestampTz *to);

#endif /* GS_UUID_H */
