/*-------------------------------------------------------------------------
 *
 * gs_archiver.h
 *	  The process that moves one database's finished games to the archive.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_ARCHIVER_H
#define GS_ARCHIVER_H

#include "postgres.h"

extern PGDLLEXPORT void gs_archiver_main(Datum main_arg);

#endif /* GS_ARCHIVER_H */
