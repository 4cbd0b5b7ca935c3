/*-------------------------------------------------------------------------
 *
 * gs_load.h
 *	  Rebuilding running games from the journal.
 *
 * Who needs games calls gs_ready() of gs_database.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_LOAD_H
#define GS_LOAD_H

#include "gs_database.h"

/*
 * Load the games of this database, or wait for whoever does; at most timeout
 * milliseconds without getting on (0 = for ever), then GS013.  A load that
 * failed is tried again after a while only; until then its error is raised.
 */
extern void gs_load(GsDatabase *db, int timeout);

/*
 * From the archiver, in a transaction of its own: put what the load has found
 * damaged into gamestate.journal_damage.
 */
extern void gs_load_keep_damage(GsDatabase *db);

#endif /* GS_LOAD_H */
