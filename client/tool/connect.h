/*
 * connect.h: a connection to the server, statements on it that wait for their
 * answer, and the interrupt that ends them.
 */
#ifndef GAMESTATE_CLIENT_CONNECT_H
#define GAMESTATE_CLIENT_CONNECT_H

#include <libpq-fe.h>
#include <signal.h>

#include "gamestate.h"

#include "util.h"

typedef enum PasswordPrompt
{
	PROMPT_IF_NEEDED,
	PROMPT_NEVER,
	PROMPT_ALWAYS
} PasswordPrompt;

/* Where to connect; what is NULL comes from the environment, as in psql. */
typedef struct ConnectOptions
{
	const char *dbname; /* a name or a connection string */
	const char *host;
	const char *port;
	const char *user;
	PasswordPrompt prompt;
} ConnectOptions;

/*
 * A plain connection; NULL after a message if it cannot be made.  Close with
 * disconnect_database().  The password is asked for once, and used again for
 * later connections.
 */
extern PGconn *connect_database(const ConnectOptions *options);
extern void disconnect_database(PGconn *conn);

/*
 * The same, and the database must have the extension, else that is told.  An
 * interrupt cancels what runs on the last connection made so.
 */
extern PGconn *connect_gamestate(const ConnectOptions *options);

/* Says what is wrong with a connection, and that this was the reason to end. */
extern void report_connection_error(const char *what, const PGconn *conn);

/* Was there such an error?  Then the exit status is another one. */
extern bool connection_failed;

/* Says what went wrong with a statement: message, detail, hint. */
extern void report_result_error(const char *what, const PGresult *result);

/* The same where the reason may also be the connection. */
extern void report_query_error(const char *what, PGconn *conn, const PGresult *result);

/* The same of a call of libgamestate. */
extern void report_call_error(const char *what, const gamestate_error *error);

/*
 * What libgamestate is to connect with so that it comes to where this
 * connection is: a connection string, the caller's to free.
 */
extern char *connection_string(PGconn *conn);

/* Runs a statement; the result, or NULL after a message. */
extern PGresult *run_query(PGconn *conn, const char *what, const char *sql, int arg_count,
						   const char *const *args);

/* A statement without arguments whose result does not matter. */
extern bool run_command(PGconn *conn, const char *what, const char *sql);

/* Is this an error with this SQLSTATE? */
extern bool result_has_sqlstate(const PGresult *result, const char *sqlstate);

/* SIGINT and SIGTERM set `interrupted`; a second one ends the program. */
extern void install_signal_handlers(void);
extern volatile sig_atomic_t interrupted;

/* Sleeps, but not beyond an interrupt; false = interrupted. */
extern bool pause_ms(int ms);

#endif /* GAMESTATE_CLIENT_CONNECT_H */
