/*-------------------------------------------------------------------------
 *
 * pool_retry.h
 *	  What the end of an attempt means: an answer for the caller, another
 *	  attempt, or an outcome that nobody knows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GAMESTATE_POOL_RETRY_H
#define GAMESTATE_POOL_RETRY_H

#include <stdbool.h>

typedef enum GspVerdict
{
	GSP_ANSWER, /* the caller's, error or not */
	GSP_RETRY, /* try again: nothing was changed, or doing it twice changes nothing more */
	GSP_UNKNOWN, /* it may or may not have been done, and may not be done twice */
} GspVerdict;

typedef struct GspJudgement
{
	GspVerdict verdict;
	bool not_done;	 /* it is certain that nothing was changed */
	bool unhealthy;	 /* counts against the server's health */
	bool wrong_role; /* the server does not take writes: another one does */
} GspJudgement;

/*
 * An attempt whose call had been sent ended with an error.  sqlstate: of the
 * server's answer, or NULL if the connection was lost without one.
 * repeatable: a read, or a write with a request id.
 */
extern GspJudgement gsp_judge_call(const char *sqlstate, bool repeatable);

/* Not even a connection came about: nothing was done. */
extern GspJudgement gsp_judge_connect(const char *sqlstate);

#endif /* GAMESTATE_POOL_RETRY_H */
