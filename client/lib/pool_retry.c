/*-------------------------------------------------------------------------
 *
 * pool_retry.c
 *	  What the end of an attempt means: an answer for the caller, another
 *	  attempt, or an outcome that nobody knows.
 *
 * The model:
 *
 * 1. An error with which the server says that nothing was changed, and which
 *	  another attempt or another server may not meet, is retried whatever the
 *	  call is: not writable here (25006), still loading (GS013), not accepting
 *	  connections (57P03, 53300), a deadlock or a conflict with recovery
 *	  (40P01, 40001), a session that was ended before it got the call (57P05,
 *	  25P03).
 * 2. A connection that was lost after the call had been sent leaves open
 *	  whether it was done: without an answer, or with one that may have come
 *	  between commit and answer (57P01 administrator shut down, 57P02 crash,
 *	  57P04, class 08).  What may be done twice is retried: reads, and writes
 *	  with a request id, of which the server remembers the answer.  For any other
 *	  write the outcome is unknown and the caller is told so.
 * 3. Every other error is the caller's.  GS001 is, too: whoever sends a version
 *	  wants to know that it is stale.
 * 4. Apart from that, an error says something about the server's health, or
 *	  does not.  Errors of the game and of the statement do not.
 *
 * Pure.
 *
 *-------------------------------------------------------------------------
 */
#include "pool_retry.h"

#include <stddef.h>
#include <string.h>

#include "gamestate_errors.h"

typedef struct Rule
{
	const char *sqlstate; /* five characters, or two for a class */
	enum
	{
		FINAL,
		NOT_DONE,
		OPEN,
	} means;
	bool unhealthy;
	bool wrong_role;
} Rule;

/* The first that fits counts. */
static const Rule rules[] = {
	{GAMESTATE_LOADING, NOT_DONE, false, false},
	{"25006", NOT_DONE, false, true},  /* read_only_sql_transaction */
	{"40001", NOT_DONE, false, false}, /* serialization_failure, conflict with recovery */
	{"40P01", NOT_DONE, false, false}, /* deadlock_detected */
	{"57P03", NOT_DONE, true, false},  /* cannot_connect_now */
	{"53300", NOT_DONE, true, false},  /* too_many_connections */
	{"57P05", NOT_DONE, false, false}, /* idle_session_timeout */
	{"25P03", NOT_DONE, false, false}, /* idle_in_transaction_session_timeout */
	{"57P01", OPEN, true, false},	   /* admin_shutdown */
	{"57P02", OPEN, true, false},	   /* crash_shutdown */
	{"57P04", OPEN, true, false},	   /* database_dropped */
	{"08007", OPEN, false, false},	   /* done, its wait for standbys cancelled */
	{"08", OPEN, true, false},		   /* connection exceptions, PgBouncer's errors */
	{"53100", FINAL, true, false},	   /* disk_full */
	{"58030", FINAL, true, false},	   /* io_error */
};

static const Rule no_answer = {NULL, OPEN, true, false};
static const Rule any_other = {NULL, FINAL, false, false};

static const Rule *
find_rule(const char *sqlstate)
{
	if (sqlstate == NULL || sqlstate[0] == '\0')
		return &no_answer;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (strncmp(sqlstate, rules[i].sqlstate, strlen(rules[i].sqlstate)) == 0)
			return &rules[i];
	return &any_other;
}

GspJudgement
gsp_judge_call(const char *sqlstate, bool repeatable)
{
	const Rule *rule = find_rule(sqlstate);
	GspJudgement judgement = {
		.verdict = GSP_ANSWER,
		.not_done = rule->means != OPEN,
		.unhealthy = rule->unhealthy,
		.wrong_role = rule->wrong_role,
	};

	if (rule->means == NOT_DONE)
		judgement.verdict = GSP_RETRY;
	else if (rule->means == OPEN)
		judgement.verdict = repeatable ? GSP_RETRY : GSP_UNKNOWN;
	return judgement;
}

GspJudgement
gsp_judge_connect(const char *sqlstate)
{
	const Rule *rule = find_rule(sqlstate);

	/*
	 * Wrong passwords and databases (classes 28, 3D) come from a server that is
	 * well, but they do not go away by asking more often: they count.
	 */
	return (GspJudgement){
		.verdict = GSP_RETRY,
		.not_done = true,
		.unhealthy = true,
		.wrong_role = rule->wrong_role,
	};
}
