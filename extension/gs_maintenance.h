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

/* for a task: it shall run again as soon as the others had their turn */
extern void gs_maintenance_again(void);

#endif /* GS_MAINTENANCE_H */
