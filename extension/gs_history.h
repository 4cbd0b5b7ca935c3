/*-------------------------------------------------------------------------
 *
 * gs_history.h
 *	  Earlier states of a game.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_HISTORY_H
#define GS_HISTORY_H

#include "gs_table.h"

/* The state as of version 1 of a game copied with GS_COPY_ALL. */
extern GsText gs_history_initial(const GsGameCopy *game);

#endif /* GS_HISTORY_H */
