/*-------------------------------------------------------------------------
 *
 * gs_follow.h
 *	  Live games on a hot standby: a worker follows the journal.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_FOLLOW_H
#define GS_FOLLOW_H

#include "gs_database.h"

/* shared memory; the caller of _init holds AddinShmemInitLock */
extern Size gs_follow_shmem_size(void);
extern void gs_follow_shmem_init(bool found);

/*
 * For a reader on a standby: wait, cancelably, until everything that has been
 * replayed by now is in shared memory; at most timeout milliseconds (0 = for
 * ever), then GS013.  Returns false if recovery has ended: then games are
 * loaded as on any server.
 */
extern bool gs_follow_wait(GsDatabase *db, int timeout);

/*
 * After gs_require_games(), for who shows live games beside those of tables: on a
 * standby, do they fit together as the active snapshot sees the tables?  Else
 * GS013.
 */
extern void gs_follow_check_list(void);

/*
 * For whoever loads games after a promotion: see the follower out and remove
 * what it has put into memory.
 */
extern void gs_follow_end(GsDatabase *db);

/* For the launcher on a standby: the database does not exist any more. */
extern void gs_follow_forget_database(GsDatabase *db);

extern PGDLLEXPORT void gs_follower_main(Datum main_arg);

#endif /* GS_FOLLOW_H */
