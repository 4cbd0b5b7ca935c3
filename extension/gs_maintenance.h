/*-------------------------------------------------------------------------
 *
 * gs_maintenance.h
 *	  The process that looks after one database's archive.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_MAINTENANCE_H
#define GS_MAINTENANCE_H

#include "nodes/pg_list.h"

extern PGDLLEXPORT void gs_maintenance_main(Datum main_arg);

/* for a task: it shall run again as soon as the others had their turn */
extern void gs_maintenance_again(void);

/*
 * For a task: a step for each element, in transactions of its own.  One that
 * fails does not hold up the others; the first error is raised in the end.
 * With `one` the other tasks have their turn after one that has been done.
 */
extern void gs_maintenance_each(const List *elements, void (*step)(void *element),
								bool one, MemoryContext mcxt);

#endif /* GS_MAINTENANCE_H */
