/*-------------------------------------------------------------------------
 *
 * gs_maintenance.h
 *	  The process that looks after one database's archive.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_MAINTENANCE_H
#define GS_MAINTENANCE_H

extern PGDLLEXPORT void gs_maintenance_main(Datum main_arg);

#endif /* GS_MAINTENANCE_H */
