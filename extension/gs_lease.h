/*-------------------------------------------------------------------------
 *
 * gs_lease.h
 *	  Leases: which game server runs which game.
 *
 * gs_lease.c owns them, gs_lease_look.c looks for games that nobody runs,
 * gs_lease_sql.c has the SQL functions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_LEASE_H
#define GS_LEASE_H

#include "gs_target.h"
#include "gs_timer.h"

/* the games' leases, a hash table of its own: gs_attach() */
extern void gs_leases_create(void);
extern void gs_leases_attach(void);
extern void gs_leases_init(GsDatabase *db); /* at start */

/* ---- for who changes a game ---- */

/* Is the game run under this lease?  false: *refusal says why not */
extern bool gs_lease_is_held(const pg_uuid_t *id, int64 lease, GsRefusal *refusal);

/* The game is over, or goes.  Cannot fail. */
extern void gs_lease_drop_slow(GsDatabase *db, const pg_uuid_t *id);

static inline void
gs_lease_drop(GsDatabase *db, const pg_uuid_t *id)
{
	if (unlikely(pg_atomic_read_u32(&db->nleases) > 0))
		gs_lease_drop_slow(db, id);
}

/* All games of the database go.  Cannot fail. */
extern void gs_leases_remove_database(GsDatabase *db);

/* What a transaction has claimed is given up if it, or that part of it, is rolled back. */
extern void gs_lease_subxact_end(int level, bool commit);
extern void gs_lease_xact_end(bool commit);

/* ---- for the SQL functions ---- */

typedef struct GsClaim
{
	GsText owner;
	bool with_session; /* ends with the session */
	TimestampTz expires_at;
} GsClaim;

/* There are numbers for new leases.  May fail, runs SQL. */
extern void gs_lease_reserve_numbers(GsDatabase *db);

/*
 * Claim a game for an owner; 0 if somebody has it, or it is not running any more.
 * *version: the game's; what is not durable of it is noted (gs_durable.h).  May fail.
 */
extern int64 gs_lease_take(GsDatabase *db, const pg_uuid_t *id, const GsClaim *claim,
						   int64 *version);

/* Has nobody claimed it?  May be called with the game's partition locked. */
extern bool gs_lease_is_free(const pg_uuid_t *id);

/* What claim_games() looks for. */
typedef struct GsLeaseWanted
{
	GsText game_type; /* data NULL = any */
	int max;
	int nids; /* -1 = any */
	const pg_uuid_t *ids;
} GsLeaseWanted;

/*
 * Games that nobody has claimed, at most max, in *found: gs_lease_look.c.  Somebody
 * may do so meanwhile.
 */
extern int gs_lease_look_for(GsDatabase *db, const GsLeaseWanted *wanted,
							 pg_uuid_t *found, int max);

/* Both return how many leases. */
extern int64 gs_leases_renew(GsDatabase *db, const GsText *owner, TimestampTz expires_at);
extern int64 gs_leases_release(GsDatabase *db, const GsText *owner, const pg_uuid_t *ids,
							   int n); /* n < 0: all of them */

/* End those whose time is over. */
extern int gs_leases_expire(GsDatabase *db);

typedef struct GsLeaseRow
{
	pg_uuid_t game_id;
	int64 number;
	TimestampTz expires_at;
	pid_t pid; /* 0 = not bound to a session */
	uint8 owner_len;
	char owner[GS_MAX_ID_LENGTH];
} GsLeaseRow;

/* palloc'd; owner data NULL = of all */
extern GsLeaseRow *gs_leases_list(GsDatabase *db, const GsText *owner, int *n);

/* ---- for the timer worker, see gs_timer.h ---- */

extern int gs_lease_run(GsDatabase *db, const GsTimerDue *due, int n);
extern void gs_lease_again(GsDatabase *db, const GsTimerDue *due, bool failed);

#endif /* GS_LEASE_H */
