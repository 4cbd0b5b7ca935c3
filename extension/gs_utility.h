/*-------------------------------------------------------------------------
 *
 * gs_utility.h
 *	  Commands that concern us: databases and the extension come and go.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_UTILITY_H
#define GS_UTILITY_H

#include "postgres.h"

/* from _PG_init: hooks and a transaction callback */
extern void gs_utility_init(void);

#endif /* GS_UTILITY_H */
