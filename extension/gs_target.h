/*-------------------------------------------------------------------------
 *
 * gs_target.h
 *	  The game that a function is about to change: what all changes share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_TARGET_H
#define GS_TARGET_H

#include "gs_request.h"
#include "gs_writeset.h"

#include "fmgr.h"

/* A game about to be changed: what it is now, for this transaction. */
typedef struct GsTarget
{
	pg_uuid_t id;
	GsPending *pending; /* NULL: not touched by this transaction yet */
	GsHeader h;
	bool has_player;	  /* of the player that gs_find_target() was asked for */
	bool suspended;		  /* it has to be resumed first; see gs_suspend.h */
	bool resumes_on_move; /* then: the type's policy */
	GsAnswered answered;  /* set if gs_open_target() says that it is a retry */
} GsTarget;

/*
 * Why a change is refused.  Most functions raise it; one that changes several
 * games says it of one of them and goes on.
 */
typedef struct GsRefusal
{
	int sqlerrcode;
	char *message;
	char *detail;	  /* or NULL */
	const char *hint; /* or NULL */
} GsRefusal;

/* As the error that it is, after waiting: see gs_wait_before_answer(). */
extern _Noreturn void gs_raise(const GsRefusal *refusal);

/* ---- a call ---- */

/* First of all; function: its name for error messages */
extern void gs_begin_write(const char *function);

/*
 * Before an answer that changes nothing: what it tells must be durable.  Nobody
 * else has to wait for that, so the locks of this call are given up first.
 */
extern void gs_wait_before_answer(void);

/*
 * The new version.  Outside of a transaction block it is told when the commit
 * is durable, and with it what it is based on; inside it is told now.
 */
extern int64 gs_new_version(const GsPending *pending);

/* ---- arguments ---- */

extern _Noreturn void gs_null_argument(const char *name);

#define GS_REQUIRE_ARG(n, name)        \
	do                                 \
	{                                  \
		if (unlikely(PG_ARGISNULL(n))) \
			gs_null_argument(name);    \
	} while (0)

/* A text, json or bytea argument, detoasted; data is NULL for NULL. */
extern GsText gs_arg_bytes(FunctionCallInfo fcinfo, int n);

/* A game type, player id or room code. */
extern void gs_check_id(const GsText *text, const char *name);
extern void gs_check_size(const GsText *text, const char *name, int limit_kb,
						  const char *guc);
extern bool gs_size_is_allowed(const GsText *text, const char *name, int limit_kb,
							   const char *guc, GsRefusal *refusal);

/* Into memory of the write set. */
extern GsText gs_keep(const GsText *text);
extern char *gs_id_text(const pg_uuid_t *id);

/* ---- the target ---- */

/*
 * Lock the game and see what it is.  false if it is not in memory, or if this
 * transaction has deleted it (target->pending is set then).
 */
extern bool gs_find_target(const pg_uuid_t *id, const GsText *player, GsTarget *target);

/* The same for who holds the game's lock already. */
extern bool gs_find_locked_target(const pg_uuid_t *id, const GsText *player,
								  GsTarget *target);

/*
 * Argument 0 as a target, with the errors for a game that cannot be changed.
 * false: the request is a retry, and its answer, which is target->answered, may
 * be told.
 */
extern bool gs_open_target(FunctionCallInfo fcinfo, const GsRequest *request,
						   const GsText *player, GsTarget *target);

/* The same for a move, which may be on a suspended game: target->suspended. */
extern bool gs_open_move_target(FunctionCallInfo fcinfo, const GsRequest *request,
								const GsText *player, GsTarget *target);

/* Of a target that was not found: not deleted by this transaction. */
static inline bool
gs_may_be_stored(const GsTarget *target)
{
	return target->pending == NULL || target->pending->stored;
}

/*
 * What is not in memory may be in a table.  Then the request is a retry (true),
 * or the game cannot be changed: an error.  The lock of a game that is over is
 * given back for that.
 */
extern bool gs_is_retry_of_stored(const pg_uuid_t *id, const GsRequest *request,
								  GsAnswered *answered);

/*
 * A request that has been answered: an error unless it is the same one.
 * Returns when the answer may be told.
 */
extern void gs_answer_again(const GsRequest *request, const pg_uuid_t *game_id,
							const GsAnswered *answered);

/* The state as this transaction sees it: not to be changed, maybe a copy. */
extern GsText gs_target_state(const GsTarget *target);

/* Its type, as this transaction sees it, in a buffer of GS_MAX_ID_LENGTH. */
extern GsText gs_target_type(const GsTarget *target, char *buffer);

/* ---- may it be changed? ---- */

extern void gs_check_version(const GsTarget *target, FunctionCallInfo fcinfo, int n);
extern void gs_check_log(const GsTarget *target);
extern void gs_require_status(const GsTarget *target, GsStatus status, const char *what);

extern void gs_refuse_no_such_game(const pg_uuid_t *id, GsRefusal *refusal);
extern void gs_refuse_over(const pg_uuid_t *id, const char *status, GsRefusal *refusal);
extern void gs_refuse_version(const GsTarget *target, int64 expected, GsRefusal *refusal);
extern void gs_refuse_log(const GsTarget *target, GsRefusal *refusal);
extern void gs_refuse_status(const GsTarget *target, const char *what,
							 GsRefusal *refusal);
extern void gs_refuse_encoding(const GsTarget *target, const char *function,
							   GsRefusal *refusal);
extern void gs_refuse_player(const GsTarget *target, const GsText *player,
							 GsRefusal *refusal);

extern void gs_refuse_request(const GsRequest *request, const pg_uuid_t *game_id,
							  const GsAnswered *answered, GsRefusal *refusal);

/* Of a game that is in this table. */
extern void gs_refuse_stored(const pg_uuid_t *id, GsTier tier, GsRefusal *refusal);

extern _Noreturn void gs_game_over(const pg_uuid_t *id, const char *status);
extern _Noreturn void gs_not_a_player(const GsTarget *target, const GsText *player);

/* ---- recording the change ---- */

/* A new version of the target, not yet logged. */
extern GsPending *gs_next_version(GsTarget *target, TimestampTz now);

/*
 * Put a new state, already in the write set's memory, into the change.  The log
 * entry e gets the delta that leads back, if the game's history is full.
 */
extern void gs_set_state(GsPending *pending, GsText state, GsEntry *e);

/*
 * Record the common part of a change other than a move: room in memory, the
 * entry, a private copy of the info to be modified, the log entry.
 */
extern GsPending *gs_change_info(const GsRequest *request, GsTarget *target, GsKind kind,
								 const GsText *player, const GsText *event);

/* ---- what other functions share, in gs_write.c ---- */

/* NULL = 0: no limit but gamestate.max_players */
extern int gs_arg_max_players(FunctionCallInfo fcinfo, int n, int nplayers);
extern int gs_count_players(const GsTarget *target);

/* Record a creation; everything has been checked. */
extern void gs_record_create(const pg_uuid_t *id, const GsHeader *h, const GsText *state,
							 const GsInfoParts *parts);

/* Lock the room code that the game has, if any, before it is given up. */
extern void gs_give_up_room(const GsTarget *target);

/* Record that a player joins; n players sit there. */
extern GsPending *gs_take_seat(const GsRequest *request, GsTarget *target,
							   const GsText *player, int n);

/*
 * Record the game's end, finished or abandoned; everything has been checked.
 * player: because of whom, or NULL; result may be NULL.
 */
extern GsPending *gs_end_game(const GsRequest *request, GsTarget *target, GsStatus status,
							  const GsText *player, const GsText *result);

#endif /* GS_TARGET_H */
