/*-------------------------------------------------------------------------
 *
 * gs_launcher.h
 *	  The process that starts an archiver for each database that needs one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_LAUNCHER_H
#define GS_LAUNCHER_H

#include "postgres.h"

/* from _PG_init, while the postmaster loads shared_preload_libraries */
extern void gs_launcher_register(void);

extern PGDLLEXPORT void gs_launcher_main(Datum main_arg);

#endif /* GS_LAUNCHER_H */
