/*-------------------------------------------------------------------------
 *
 * run.h
 *	  Running a call with a function that takes the answer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GSL_RUN_H
#define GSL_RUN_H

#include "conn.h"

/*
 * gamestate_run() without keeping the result: `take`, if not NULL, is shown it,
 * also that of an error, and may be shown several, of which the last counts.
 */
extern gamestate_status gsl_run(gamestate_conn *conn, const gamestate_call *call,
								int timeout, gamestate_callback take, void *arg);

#endif /* GSL_RUN_H */
