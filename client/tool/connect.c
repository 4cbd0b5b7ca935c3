/*
 * connect.c: connecting, waiting statements, interrupts.
 *
 * The model:
 * 1. libpq's own defaults (environment, service and password files) hold for
 *    whatever the command line does not say, as in psql.
 * 2. A password is asked for on the terminal when the server wants one that it
 *    was not given, or at once with -W; the answer serves all connections.
 * 3. The first interrupt sets a flag that all loops look at, and cancels the
 *    statement that runs, so that also a long one ends soon.  The second has
 *    the system's own meaning: it ends the program.
 */
#include "connect.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

volatile sig_atomic_t interrupted = 0;
bool connection_failed = false;

/* Given on the terminal; kept for further connections. */
static char *password = NULL;

/* What an interrupt cancels; set only while no handler can run in between. */
static PGcancel *volatile cancel_target = NULL;

static void
handle_signal(int signal)
{
	PGcancel *target = cancel_target;
	char error[256];
	int saved_errno = errno;

	(void) signal;
	interrupted = 1;
	if (target != NULL)
		(void) PQcancel(target, error, sizeof(error)); /* made to be called here */
	errno = saved_errno;
}

void
install_signal_handlers(void)
{
	struct sigaction action = {.sa_handler = handle_signal, .sa_flags = SA_RESETHAND};

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static void
set_cancel_target(PGconn *conn)
{
	PGcancel *old = cancel_target;
	sigset_t block;
	sigset_t saved;

	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigprocmask(SIG_BLOCK, &block, &saved);
	cancel_target = conn != NULL ? PQgetCancel(conn) : NULL;
	sigprocmask(SIG_SETMASK, &saved, NULL);
	PQfreeCancel(old);
}

bool
pause_ms(int ms)
{
	uint64_t until = now_ns() + (uint64_t) ms * UINT64_C(1000000);

	while (!interrupted)
	{
		uint64_t now = now_ns();

		if (now >= until)
			return true;
		(void) poll(NULL, 0, (int) ((until - now) / 1000000 + 1));
	}
	return false;
}

/* Warnings are shown, what is only notable with --verbose. */
static void
receive_notice(void *arg, const PGresult *result)
{
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	(void) arg;
	if (severity == NULL || message == NULL)
		return;
	if (strcmp(severity, "WARNING") == 0)
		log_warning("%s", message);
	else
		log_info("%s", message);
}

/* libpq's messages end with a newline, ours do not. */
void
report_connection_error(const char *what, const PGconn *conn)
{
	const char *message = PQerrorMessage(conn);
	size_t len = strlen(message);

	while (len > 0 && message[len - 1] == '\n')
		len--;
	log_error("%s%.*s", what, (int) len, message);
	connection_failed = true;
}

/* From the terminal, whatever stdin is; NULL if there is none. */
static char *
ask_password(void)
{
	FILE *terminal = fopen("/dev/tty", "r+");
	struct termios shown;
	struct termios hidden;
	char line[1024];
	char *answer = NULL;

	if (terminal == NULL)
		return NULL;
	fputs("Password: ", terminal);
	fflush(terminal);
	if (tcgetattr(fileno(terminal), &shown) == 0)
	{
		hidden = shown;
		hidden.c_lflag &= ~(tcflag_t) ECHO;
		tcsetattr(fileno(terminal), TCSAFLUSH, &hidden);
		if (fgets(line, sizeof(line), terminal) != NULL)
		{
			line[strcspn(line, "\r\n")] = '\0';
			answer = xstrdup(line);
		}
		tcsetattr(fileno(terminal), TCSAFLUSH, &shown);
		fputc('\n', terminal);
	}
	fclose(terminal);
	return answer;
}

static PGconn *
try_connect(const ConnectOptions *options)
{
	/* a connection string in dbname stands for all before it */
	const char *const keywords[] = {"host",
									"port",
									"user",
									"password",
									"dbname",
									"fallback_application_name",
									"client_encoding",
									NULL};
	const char *const values[] = {options->host,   options->port, options->user, password,
								  options->dbname, PROGRAM_NAME,  "UTF8",		 NULL};

	return PQconnectdbParams(keywords, values, 1);
}

PGconn *
connect_database(const ConnectOptions *options)
{
	PGconn *conn;

	if (options->prompt == PROMPT_ALWAYS && password == NULL)
		password = ask_password();
	conn = try_connect(options);
	if (conn != NULL && PQstatus(conn) == CONNECTION_BAD &&
		PQconnectionNeedsPassword(conn) && password == NULL &&
		options->prompt != PROMPT_NEVER && (password = ask_password()) != NULL)
	{
		PQfinish(conn);
		conn = try_connect(options);
	}
	if (conn == NULL)
	{
		log_error("out of memory");
		return NULL;
	}
	if (PQstatus(conn) != CONNECTION_OK)
	{
		report_connection_error("", conn);
		PQfinish(conn);
		return NULL;
	}
	PQsetNoticeReceiver(conn, receive_notice, NULL);
	return conn;
}

void
disconnect_database(PGconn *conn)
{
	set_cancel_target(NULL);
	PQfinish(conn);
}

PGconn *
connect_gamestate(const ConnectOptions *options)
{
	PGconn *conn = connect_database(options);
	PGresult *result;

	if (conn == NULL)
		return NULL;
	set_cancel_target(conn);
	result = run_query(conn, "query of pg_extension",
					   "SELECT FROM pg_catalog.pg_extension WHERE extname = 'gamestate'",
					   0, NULL);
	if (result != NULL && PQntuples(result) == 1)
	{
		PQclear(result);
		return conn;
	}
	if (result != NULL)
	{
		log_error("database \"%s\" does not have extension gamestate", PQdb(conn));
		log_hint(
			"Run CREATE EXTENSION gamestate there, or name another database with -d.");
		PQclear(result);
	}
	disconnect_database(conn);
	return NULL;
}

void
report_result_error(const char *what, const PGresult *result)
{
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);

	if (message == NULL)
		message = PQresultErrorMessage(result);
	if (message[0] == '\0')
		message = "the server gave no rows";
	log_error("%s failed: %s%s%s%s", what, message, sqlstate ? " (SQLSTATE " : "",
			  sqlstate ? sqlstate : "", sqlstate ? ")" : "");
	if (detail != NULL)
		log_detail("%s", detail);
	if (hint != NULL)
		log_hint("%s", hint);
}

void
report_query_error(const char *what, PGconn *conn, const PGresult *result)
{
	Buf prefix = {0};

	if (PQresultErrorField(result, PG_DIAG_SQLSTATE) != NULL)
	{
		report_result_error(what, result);
		connection_failed |= PQstatus(conn) == CONNECTION_BAD;
		return;
	}
	buf_printf(&prefix, "%s failed: ", what);
	report_connection_error(prefix.data, conn);
	buf_free(&prefix);
}

void
report_call_error(const char *what, const gamestate_error *error)
{
	if (error->status == GAMESTATE_CONNECTION_LOST)
	{
		log_error("lost the connection: %s", error->message);
		connection_failed = true;
		return;
	}
	log_error("%s failed: %s%s%s%s", what, error->message,
			  error->sqlstate[0] != '\0' ? " (SQLSTATE " : "", error->sqlstate,
			  error->sqlstate[0] != '\0' ? ")" : "");
	if (error->detail[0] != '\0')
		log_detail("%s", error->detail);
	if (error->hint[0] != '\0')
		log_hint("%s", error->hint);
	if (error->status == GAMESTATE_CONNECT_FAILED ||
		error->status == GAMESTATE_NOT_CONNECTED)
		connection_failed = true;
}

char *
connection_string(PGconn *conn)
{
	PQconninfoOption *parts = PQconninfo(conn);
	Buf out = {0};

	for (PQconninfoOption *part = parts; part != NULL && part->keyword != NULL; part++)
	{
		if (part->val == NULL || part->val[0] == '\0')
			continue;
		buf_printf(&out, "%s='", part->keyword);
		for (const char *p = part->val; *p != '\0'; p++)
		{
			if (*p == '\'' || *p == '\\')
				buf_putc(&out, '\\');
			buf_putc(&out, *p);
		}
		buf_puts(&out, "' ");
	}
	PQconninfoFree(parts);
	return out.data;
}

PGresult *
run_query(PGconn *conn, const char *what, const char *sql, int arg_count,
		  const char *const *args)
{
	PGresult *result = PQexecParams(conn, sql, arg_count, NULL, args, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return result;
	report_query_error(what, conn, result);
	PQclear(result);
	return NULL;
}

bool
run_command(PGconn *conn, const char *what, const char *sql)
{
	PGresult *result = run_query(conn, what, sql, 0, NULL);

	PQclear(result);
	return result != NULL;
}

bool
result_has_sqlstate(const PGresult *result, const char *sqlstate)
{
	const char *field = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	return field != NULL && strcmp(field, sqlstate) == 0;
}
