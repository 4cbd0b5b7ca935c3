/*-------------------------------------------------------------------------
 *
 * gs_rate_limit.h
 *	  Rate limits: who may do how much, and what he has done.
 *
 * gs_rate.c has the arithmetic, gs_rate_accounts.c what each key has used,
 * gs_rate_policy.c the rows of gamestate.rate_limit, gs_rate_limit.c the limits of
 * moves and allow().
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_RATE_LIMIT_H
#define GS_RATE_LIMIT_H

#include "gs_rate.h"
#include "gs_target.h"

#include "datatype/timestamp.h"

/* ---- rows of gamestate.rate_limit: gs_rate_policy.c.  Local memory. ---- */

typedef struct GsRateCost
{
	const char *kind;
	double cost;
} GsRateCost;

typedef struct GsRatePolicy
{
	char name[GS_MAX_ID_LENGTH + 1]; /* hash key, padded with zero bytes */
	GsRateLimit limit;
	int busy_sessions; /* 0 = it does not depend on the load */
	double min_share;

	/* events cost what the value of their member cost_key says; NULL = all the same */
	const char *cost_key;
	int ncosts;
	GsRateCost *costs; /* by kind */
	double default_cost;
	double highest_cost;
} GsRatePolicy;

/* from _PG_init */
extern void gs_rate_policy_init(void);

/*
 * As committed now, or as this transaction has changed it; NULL if there is no
 * row of that name.  Valid until the next call.  Needs a transaction.
 */
extern const GsRatePolicy *gs_rate_policy(const char *name, Size len);

/* ---- accounts: gs_rate_accounts.c ---- */

/* shared memory; the caller of _init holds AddinShmemInitLock */
extern Size gs_rate_shmem_size(void);
extern void gs_rate_shmem_init(bool found);

/* Whose account: what the limit, the database and the key come to. */
typedef struct GsRateKey
{
	uint64 hash[2];
} GsRateKey;

/* What is counted: one name may stand for a player and for something else. */
typedef enum GsRateScope
{
	GS_RATE_PLAYER = 'p',
	GS_RATE_GAME = 'g',
	GS_RATE_KEY = 'k'
} GsRateScope;

extern GsRateKey gs_rate_key(const GsRatePolicy *policy, GsRateScope scope,
							 const void *data, Size len);

/* gs_rate_take() and _give_back() of that key; left may be NULL. */
extern bool gs_rate_account_take(const GsRateKey *key, const GsRateLimit *limit,
								 TimestampTz now, double cost, int64 *wait_us,
								 double *left);
extern void gs_rate_account_give_back(const GsRateKey *key, const GsRateLimit *limit,
									  double cost);

/* How many sessions are busy, an average of the last second. */
extern double gs_rate_busy_sessions(TimestampTz now);

typedef struct GsRateStat
{
	int64 keys;
	int64 max_keys;
	int64 evicted;
	int64 allowed;
	int64 refused;
} GsRateStat;

extern void gs_rate_get_stat(GsRateStat *stat);

/* ---- moves: gs_rate_limit.c ---- */

/*
 * May this move be made as far as rate limits go?  If not, nothing is counted.
 * Only to be called if gs_policy_limits_moves(); the game's lock is held.
 */
extern bool gs_rate_allows_move(const GsTarget *target, const GsText *player,
								const GsText *event, GsRefusal *refusal);

#endif /* GS_RATE_LIMIT_H */
