/*-------------------------------------------------------------------------
 *
 * gs_history.h
 *	  Earlier states of a game.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_HISTORY_H
#define GS_HISTORY_H

#include "gs_payload.h"
#include "gs_table.h"

/*
 * The state of an archived game as of a version, in the current context or in the
 * payload's bytes; false if the payload does not have it.  *wrong is what is damaged, or
 * NULL.  Without a state its data is NULL.
 */
extern bool gs_history_archived(const GsPayload *payload, int64 version, GsText *state,
								const char **wrong);

#endif /* GS_HISTORY_H */
