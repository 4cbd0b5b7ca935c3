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
 * The state before an entry that has a delta, in the current context; NULL or what
 * is wrong.  gs_history_damaged() raises that.
 */
extern const char *gs_history_before(const GsText *state, const GsEntry *e,
									 GsText *before);
extern _Noreturn void gs_history_damaged(const pg_uuid_t *id, const char *wrong);

/* All entries of a payload, palloc'd; what they point to is the payload's. */
extern GsEntry *gs_history_entries(const GsPayload *payload);

/*
 * The state of an archived game as of a version, in the current context or in the
 * payload's bytes; false if the payload does not have it.  *wrong is what is damaged, or
 * NULL.  Without a state its data is NULL.
 */
extern bool gs_history_archived(const GsPayload *payload, int64 version, GsText *state,
								const char **wrong);

/*
 * States, history and older requests of a game that is to be as it was in memory, but
 * for its log; requests are allocated in the current context.
 */
extern void gs_history_take(const GsPayload *payload, GsGameCopy *game);

#endif /* GS_HISTORY_H */
