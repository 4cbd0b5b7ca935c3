/*-------------------------------------------------------------------------
 *
 * conn.h
 *	  A connection from the inside: what connect.c, line.c, answers.c,
 *	  cancel.c, statements.c and conn.c share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GSL_CONN_H
#define GSL_CONN_H

#include <libpq-fe.h>

#include "codec.h"
#include "result.h"

#define NEVER INT64_MAX /* a deadline that is none */

/* -----------------------------------------------------------------------
 * Statements (statements.c): what is prepared on this connection
 * -----------------------------------------------------------------------
 */

typedef enum StatementState
{
	STATEMENT_NONE = 0,	 /* next: PREPARING */
	STATEMENT_PREPARING, /* sent and not yet answered; next: NONE, PREPARED */
	STATEMENT_PREPARED,	 /* next: NONE, when the server has lost it */
} StatementState;

/* The statements of other SQL are kept by text and types, so many at most. */
#define MAX_SQL_STATEMENTS 256

#define STATEMENT_NAME 24

typedef struct Statement
{
	StatementState state;
	char name[STATEMENT_NAME]; /* "" until it is first prepared */
	uint64_t hash;			   /* of SQL: text and types; makes the name */
	char *sql;
	uint32_t *types;
	int type_count;
} Statement;

typedef struct Statements
{
	Statement functions[FN_SQL];
	Statement *sql; /* MAX_SQL_STATEMENTS, open addressing; NULL until needed */
	int sql_count;
} Statements;

/*
 * The statement of a call, or -1: not to be prepared.  Its number is good for
 * the functions below.
 */
extern int gsl_statement_find(Statements *statements, const gamestate_call *call,
							  const Params *params);
extern Statement *gsl_statement(Statements *statements, int number);
extern const char *gsl_statement_name(Statements *statements, int number);
/* The server has lost them all. */
extern void gsl_statements_forget(Statements *statements);
extern void gsl_statements_free(Statements *statements);

/* -----------------------------------------------------------------------
 * Cancelling (cancel.c)
 * -----------------------------------------------------------------------
 */

typedef struct Cancel Cancel;

/* Asks the server, in a thread; NULL: could not. */
extern Cancel *gsl_cancel_start(PGconn *pg);
extern bool gsl_cancel_done(const Cancel *cancel);
/* Does not wait for it; NULL-safe. */
extern void gsl_cancel_release(Cancel *cancel);

/* -----------------------------------------------------------------------
 * The line: calls sent and not yet answered by the server
 * -----------------------------------------------------------------------
 */

#define SLOT_ANSWERED  1  /* its callback has run (deadline), or moved to another slot */
#define SLOT_SYNC	   2  /* a Sync follows: the end of a group */
#define SLOT_PREPARES  4  /* the answer to its Parse comes first */
#define SLOT_CANCELLED 8  /* we have asked the server to cancel it */
#define SLOT_READ	   16 /* changes nothing */
#define SLOT_GROUPED   32 /* may be sent again if its group fails */
#define SLOT_UNWAITED  64 /* committed, without having waited for standbys */

typedef struct Slot
{
	gamestate_callback callback;
	void *arg;
	int64_t deadline;
	const Function *function;
	PGresult *result; /* what has come of its answer */
	int statement;	  /* being prepared with it */
	int flags;
	int num_args; /* SLOT_GROUPED: the arguments, to send it again */
	gamestate_param args[MAX_GROUP_ARGS];
} Slot;

/* -----------------------------------------------------------------------
 * Waiting calls (waiting.c): those that must not be sent yet
 * -----------------------------------------------------------------------
 */

typedef struct Waiting Waiting;

typedef enum ConnectPhase
{
	PHASE_CONNECT, /* PQconnectPoll(); next: PROBE, DONE */
	PHASE_PROBE,   /* asking for the server's process id; next: DONE */
	PHASE_DONE,
} ConnectPhase;

struct gamestate_conn
{
	PGconn *pg; /* NULL once it is broken */
	gamestate_conn_state state;
	gamestate_options options;

	gamestate_error error;
	char *error_text; /* memory of the error's texts */
	size_t error_room;

	/* connecting */
	ConnectPhase phase;
	int64_t connect_deadline;
	int wants; /* while connecting */

	/* sending */
	bool prepares;
	bool blocked; /* the socket took not all */
	bool unsent;  /* something may stand in libpq's buffer */
	bool doomed;  /* sending has failed: the next turn breaks the connection */
	int grouped;  /* calls at the end of the line that have no Sync yet */
	/* A transaction may be open: no groups until the line is empty and it is not. */
	bool maybe_transaction;
	bool in_transaction; /* as far as answers have come */
	Params params;
	Statements statements;

	/*
	 * The line, a ring.  first <= reading <= end; slots from `first` on have
	 * not been handed over, `reading` is the one whose result comes next.
	 */
	Slot *ring;
	uint64_t mask; /* size of the ring - 1 */
	uint64_t first;
	uint64_t reading;
	uint64_t end;
	int pending;		   /* calls whose callbacks are still to run */
	int64_t next_deadline; /* not later than the first of them */
	int64_t reading_since; /* when `reading` became what it is */
	int64_t heard;		   /* when the server last answered, or the line was empty */
	uint64_t not_executed; /* calls from here on have not been, for sure */

	/* a pooler is in between: a call is sent when the line is empty */
	bool one_at_a_time;
	Waiting *waiting; /* the oldest; NULL = none */
	Waiting **waiting_end;
	int num_waiting;

	/* cancelling */
	Cancel *cancel;		  /* on its way */
	uint64_t at_risk_end; /* calls before it may be hit by one */

	/* callbacks */
	int depth; /* how deep we are in callbacks */
	bool closing;
	gamestate_result result; /* the one that is handed to callbacks */
};

static inline Slot *
slot_at(gamestate_conn *conn, uint64_t number)
{
	return &conn->ring[number & conn->mask];
}

/* conn.c */

/* Sets the connection's error, copying the texts, and returns its status. */
extern gamestate_status gsl_conn_fail(gamestate_conn *conn, const gamestate_error *error);
extern gamestate_status gsl_conn_fail_text(gamestate_conn *conn, gamestate_status status,
										   const char *message);
/* With libpq's message. */
extern gamestate_status gsl_conn_fail_libpq(gamestate_conn *conn,
											gamestate_status status);
/*
 * The connection is of no more use, for the reason in its error: everybody is
 * answered.  Returns the error's status, or GAMESTATE_CLOSED if a callback has
 * closed the connection, which is gone then.
 */
extern gamestate_status gsl_conn_break(gamestate_conn *conn);
/* After a callback has run: true if the connection is to be closed now. */
extern bool gsl_conn_run(gamestate_conn *conn, const Slot *slot);

/* connect.c */
extern void gsl_connect_begin(gamestate_conn *conn, const char *conninfo);
extern gamestate_status gsl_connect_process(gamestate_conn *conn);

/* line.c: sending */

/* May a transaction of the caller's be open where the next call would stand? */
extern bool gsl_line_maybe_transaction(gamestate_conn *conn);
/* Ends the group and sends; false: the connection is to be broken. */
extern bool gsl_line_flush(gamestate_conn *conn);
/*
 * Queues a call whose parameters are in conn->params, and its slot; false: no
 * memory, or libpq failed, and then the connection is doomed.
 */
extern bool gsl_line_append(gamestate_conn *conn, const gamestate_call *call,
							int64_t deadline, gamestate_callback callback, void *arg);
/*
 * Sends again what was skipped in a group; false: no memory, or libpq failed, as
 * the connection's error says.
 */
extern bool gsl_line_resend(gamestate_conn *conn, const Slot *slot);

/* waiting.c */

extern void gsl_waiting_init(gamestate_conn *conn);
/* Must a call wait? */
static inline bool
gsl_waiting_is_needed(const gamestate_conn *conn)
{
	return conn->one_at_a_time && (conn->first != conn->end || conn->waiting != NULL);
}
/* Keeps a call whose parameters are in conn->params; false: no memory. */
extern bool gsl_waiting_add(gamestate_conn *conn, const gamestate_call *call,
							int64_t deadline, gamestate_callback callback, void *arg);
/* Sends the oldest if the line is empty; false: it could not be sent, the connection is doomed. */
extern bool gsl_waiting_send(gamestate_conn *conn);
/*
 * Answers those whose deadlines have passed.  GAMESTATE_CLOSED: a callback has
 * closed the connection.  *next: the earliest deadline of the others, if
 * earlier.
 */
extern gamestate_status gsl_waiting_expire(gamestate_conn *conn, int64_t now,
										   int64_t *next);
/* Answers all of them; none has been executed. */
extern void gsl_waiting_answer_all(gamestate_conn *conn, const gamestate_error *error);

/* answers.c: receiving */

/*
 * Takes what has come, hands answers over.  GAMESTATE_OK, or what
 * gamestate_conn_process() returns when it is over.
 */
extern gamestate_status gsl_answers_receive(gamestate_conn *conn, int64_t now);
/* The server warns that a commit has not waited for standbys: whose? */
extern void gsl_answers_unwaited(gamestate_conn *conn);
/* Answers the calls whose deadlines have passed, cancels the one in the way. */
extern gamestate_status gsl_answers_expire(gamestate_conn *conn, int64_t now);
/* Calls that are sent after a cancel is done cannot be hit by it. */
extern void gsl_answers_note_cancel(gamestate_conn *conn);
/* Calls that stand in the line have passed their deadlines as of now. */
extern void gsl_answers_give_up(gamestate_conn *conn);
/* When gsl_answers_expire() has something to do. */
extern int64_t gsl_answers_deadline(const gamestate_conn *conn);

#endif /* GSL_CONN_H */
