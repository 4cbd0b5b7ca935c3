/*-------------------------------------------------------------------------
 *
 * gs_presence.h
 *	  Presence: which players of a running game are connected.
 *
 * gs_presence.c has who is connected, gs_presence_absent.c what happens when
 * somebody is gone, gs_connect.c the SQL functions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_PRESENCE_H
#define GS_PRESENCE_H

#include "gs_policy.h"
#include "gs_table.h"
#include "gs_timer.h"

#include "port/atomics.h"

/* shared memory; the caller of _init holds AddinShmemInitLock */
extern Size gs_presence_shmem_size(void);
extern void gs_presence_shmem_init(bool found);

/* ---- connecting: gs_presence.c ---- */

/* What a connection begins with. */
typedef struct GsConnect
{
	pg_uuid_t game_id;
	GsText game_type;
	GsText player;
	int64 ttl_us;
	GsAbsenceAction absence_action;
	int64 absence_us;
} GsConnect;

/*
 * The player is connected, by a new token; one that he had is void.  ERROR if
 * gamestate.max_connected_players are.  Nothing of the game is checked.
 */
extern void gs_presence_connect(GsDatabase *db, const GsConnect *connect,
								pg_uuid_t *token);

/* false: the token is void, or the player is not connected any more */
extern bool gs_presence_beat(const pg_uuid_t *token);
extern bool gs_presence_disconnect(const pg_uuid_t *token);

/*
 * The same player again, connected or not, with a new token in place of this
 * one.  false: it is void.  *player, of GS_MAX_ID_LENGTH, says who it is.
 */
extern bool gs_presence_renew(const pg_uuid_t *token, pg_uuid_t *new_token,
							  pg_uuid_t *game_id, char *player, uint32 *player_len);

/* ---- looking ---- */

typedef struct GsPresenceOf
{
	bool is_known; /* else nothing else is set */
	bool is_connected;
	TimestampTz since;
	TimestampTz expires_at; /* if connected: unless there is a heartbeat before */
} GsPresenceOf;

extern void gs_presence_of(const pg_uuid_t *game_id, const GsText *player,
						   GsPresenceOf *presence);

typedef struct GsPresenceStat
{
	int64 connected; /* of this database */
	int64 disconnected;
	int64 max_connected;
	int64 all; /* of all databases, both */
} GsPresenceStat;

extern void gs_presence_get_stat(GsPresenceStat *stat);

/* ---- the end of it ---- */

extern void gs_presence_end(const pg_uuid_t *token);
extern void gs_presence_end_game(Oid dboid, const pg_uuid_t *game_id);
extern void gs_presence_end_database(Oid dboid);

/* Does anybody's presence count?  One read of shared memory. */
extern bool gs_presence_any(void);
extern void gs_presence_follow(const GsChange *change);

/*
 * A change has been applied: players who have left, and all players of a game
 * that is over or gone, are present no more.  Cannot fail; takes presence_lock.
 */
static inline void
gs_presence_applied(const GsChange *change)
{
	if (unlikely(change->kind != GS_CHANGE_UPDATE || change->info_changed) &&
		gs_presence_any())
		gs_presence_follow(change);
}

/* ---- time: gs_presence_absent.c, see gs_timer.h ---- */

extern int gs_presence_run(GsDatabase *db, const GsTimerDue *due, int n);

/* Whose absence has lasted long enough for his game to be abandoned. */
typedef struct GsAbsent
{
	uint32 number; /* of the place in shared memory */
	pg_uuid_t game_id;
	char player_data[GS_MAX_ID_LENGTH];
	uint32 player_len;
	TimestampTz since;
} GsAbsent;

/*
 * In gs_presence.c, for the above: look what is due of the place that a timer is
 * about, and do it, but for abandoning the game: true, and *absent.  Sets the
 * timer for what is not due yet.
 */
extern bool gs_presence_look(GsDatabase *db, const GsTimerDue *due, GsAbsent *absent);

/* Is he absent still, and has it not been done? */
extern bool gs_presence_is_absent(GsDatabase *db, const GsAbsent *absent);

/* It could not be done: see gs_timer_again(). */
extern void gs_presence_again(GsDatabase *db, const GsTimerDue *due, bool failed);

#endif /* GS_PRESENCE_H */
