/*
 * lib_test.h: what the files of lib_test share.  A scenario speaks TAP (tap.h)
 * and returns the program's exit status.
 */
#ifndef LIB_TEST_H
#define LIB_TEST_H

#include <gamestate.h>

/* Connects with libpq's environment, or ends the program. */
extern gamestate_conn *must_connect(const gamestate_options *options);
extern gamestate_uuid must_create(gamestate_conn *conn, const char *state);
extern void show_error(const gamestate_error *error);
/* Runs the loop until nothing is in flight or the connection is over. */
extern void run_loop(gamestate_conn *conn);

/* An answer, as a callback has seen it. */
typedef struct Answer
{
	int times;
	int order; /* of all answers */
	gamestate_status status;
	bool maybe_executed;
	char sqlstate[6];
	int64_t version;
	int64_t at; /* when */
} Answer;

extern int answers; /* so far */
extern void note_answer(gamestate_conn *conn, gamestate_result *result, void *arg);

/* calls.c */
extern int scenario_calls(void);
extern int scenario_lists(void);
extern int scenario_transactions(void);
extern int scenario_sql(void);
/* pipeline.c */
extern int scenario_pipeline(void);
extern int scenario_groups(void);
extern int scenario_large(void);
extern int scenario_skipped(void);
extern int scenario_closing(void);
extern int scenario_pooler(void);
/* trouble.c */
extern int scenario_deadlines(void);
extern int scenario_disturbed(void);
extern int scenario_unreplicated(void);
extern int scenario_frozen(void);
extern int scenario_lost(void);
extern int scenario_no_server(void);
/* subscription.c */
extern int scenario_subscriptions(void);
extern int scenario_subscribers(void);
/* false_server.c */
extern int scenario_garbage(void);
extern int scenario_late_cancel(void);

#endif /* LIB_TEST_H */
