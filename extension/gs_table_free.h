/*-------------------------------------------------------------------------
 *
 * gs_table_free.h
 *	  The active-game table: the lists that games are on, and freeing games.
 *	  For gs_table_change.c; what others may call is in gs_table.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_TABLE_FREE_H
#define GS_TABLE_FREE_H

#include "gs_table.h"

/* What has to be freed once the partition lock is released. */
typedef struct GsTableGarbage
{
	dsa_pointer state;
	Size state_size;
	dsa_pointer initial;
	Size initial_size;
	dsa_pointer info;
	Size info_size;
	dsa_pointer ring;
	Size ring_size;
	dsa_pointer log; /* first chunk of a list */
	dsa_pointer timer;
} GsTableGarbage;

/* Put a game on one of the lists, or on none; the caller holds its partition lock. */
extern void gs_table_set_link(struct GsDatabase *db, GsGame *game, GsLink link);

/* All that a game has; then free it, without the partition lock. */
extern void gs_table_collect(const GsGame *game, GsTableGarbage *garbage);
extern void gs_table_free_garbage(struct GsDatabase *db, const GsTableGarbage *garbage);

/* Take the nodes of a game that goes out of the index. */
extern void gs_table_unlink_info(struct GsDatabase *db, Oid dboid, dsa_pointer p);

/*
 * Delete an entry and everything it has; the caller holds its partition lock
 * exclusively, which is released.
 */
extern void gs_table_delete_entry(struct GsDatabase *db, GsGame *game);

#endif /* GS_TABLE_FREE_H */
