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

#include "utils/uuid.h"

/* A UUID of version 7; those of one backend grow strictly. */
extern void gs_uuid_generate(pg_uuid_t *uuid);

#endif /* GS_UUID_H */
