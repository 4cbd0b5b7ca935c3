/*-------------------------------------------------------------------------
 *
 * gs_hook.h
 *	  Calling functions that a policy names, as the role that has named them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_HOOK_H
#define GS_HOOK_H

#include "gs_table.h"

#include "utils/array.h"

/* A game whose row has just been inserted into the archive. */
typedef struct GsBatchedGame
{
	pg_uuid_t game_id;
	TimestampTz ended_at;
	text *game_type;
	ArrayType *players;
	text *result; /* or NULL */
} GsBatchedGame;

/* A function that a policy names, with strings that stay as long as it. */
typedef struct GsHook
{
	const char *what; /* "archive hook", for people */
	const char *game_type;
	const char *function; /* qualified and quoted */
	bool skip;			  /* a failure is logged, and undone by itself */
} GsHook;

typedef void (*GsHookWork)(const GsHook *hook, void *argument);

/*
 * Do some work for games as the hook's role, in a security-restricted context
 * with a fixed search_path, for no longer than gamestate.hook_timeout.
 * The caller is gamestate_owner and not connected to SPI.  If the work fails:
 * ERROR, or, if the hook is to be skipped, false.
 */
extern bool gs_hook_run(const GsHook *hook, GsHookWork work, void *argument,
						const pg_uuid_t *games, int ngames);

/* Call the archive hooks of the games' types. */
extern void gs_hook_archived(const GsBatchedGame *games, int n);

/* ERROR if a hook runs: what changes games, for which a hook is no place. */
extern void gs_hook_refuse(const char *function);

/* Games sorted by type; the caller's array of pointers. */
extern const GsBatchedGame **gs_hook_by_type(const GsBatchedGame *games, int n);
extern GsText gs_hook_type(const GsBatchedGame *game);

#endif /* GS_HOOK_H */
