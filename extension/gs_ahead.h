/*-------------------------------------------------------------------------
 *
 * gs_ahead.h
 *	  Partitions of the archive that are made before they are needed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_AHEAD_H
#define GS_AHEAD_H

#include "postgres.h"

/*
 * Make what is due, in transactions of its own.  All types are tried; ERROR if some
 * could not be served now, the first reason.  For the maintenance worker.
 */
extern void gs_ahead_run(MemoryContext mcxt);

#endif /* GS_AHEAD_H */
