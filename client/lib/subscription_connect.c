/*-------------------------------------------------------------------------
 *
 * subscription_connect.c
 *	  Which server a subscriber listens to, and how it comes there.
 *
 * The model:
 * 1. There is one connection, to one server at a time.  When it is lost or
 *	  hangs, the servers of the conninfo are tried in turn, the next one first;
 *	  between two rounds there is exponential backoff with full jitter.
 * 2. After connecting the server is asked what it is, as a pool does
 *	  (pool_server.c).  A primary on an older timeline than one that was seen
 *	  before is none: it may be an old one that has come back, and what it tells
 *	  may be taken back.
 * 3. Whether the feed goes on where it was is not asked here: a position that is
 *	  not the server's own is answered by a gap.
 *
 *-------------------------------------------------------------------------
 */
#include "subscription_internal.h"

#include <string.h>

#include "pool_question.h"

static bool
wants_standby(const gamestate_subscriber *s)
{
	return s->conninfo.target == GSP_TARGET_STANDBY ||
		   s->conninfo.target == GSP_TARGET_READ_ONLY ||
		   s->conninfo.target == GSP_TARGET_PREFER_STANDBY;
}

/* Why the server will not do; NULL: it will. */
static const char *
wrong_role(const gamestate_subscriber *s)
{
	bool is_standby = s->in_recovery || s->read_only;

	if (wants_standby(s))
	{
		if (is_standby)
			return NULL;
		if (s->conninfo.target == GSP_TARGET_PREFER_STANDBY &&
			s->refused_in_a_row >= s->conninfo.servers)
			return NULL;
		return "the server is no standby";
	}
	if (is_standby)
		return "the server is a standby, or read-only";
	if (s->timeline != 0 && s->system_id == s->best_system &&
		s->timeline < s->best_timeline)
		return "the server is on an older timeline than the primary";
	return NULL;
}

/* The next attempt: at the next server, after a pause when all have been tried. */
static void
plan_attempt(gamestate_subscriber *s)
{
	int64_t pause = 0;

	s->server = (s->server + 1) % s->conninfo.servers;
	if (s->refused_in_a_row % s->conninfo.servers == 0)
		pause = gsp_backoff_next(&s->connect_backoff, &s->random) / GSP_MS;
	s->connect_at = gamestate_now() + pause;
}

static void
close_connection(gamestate_subscriber *s)
{
	gamestate_conn *conn = s->conn;

	s->conn = NULL;
	s->phase = SUBSCRIBER_CLOSED;
	gamestate_conn_close(conn);
	s->give_up = false;
}

/* The connection is over, or was never made; why is s->error. */
static void
lost(gamestate_subscriber *s)
{
	bool was_ready = s->phase == SUBSCRIBER_READY;

	if (was_ready)
		s->stats.lost++;
	else
		s->stats.connect_failures++;
	gsu_event(s,
			  was_ready ? GAMESTATE_SUBSCRIBER_LOST : GAMESTATE_SUBSCRIBER_CONNECT_FAILED,
			  s->error.sqlstate, s->error.message);
	close_connection(s);
	s->refused_in_a_row = was_ready ? 0 : s->refused_in_a_row + 1;
	plan_attempt(s);
}

/* The answer to GSP_QUESTION. */
static void
take_role(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	gamestate_subscriber *s = arg;
	const gamestate_error *error = gamestate_result_error(result);
	const char *standby = gamestate_conn_parameter(conn, "in_hot_standby");

	s->in_recovery = standby != NULL && strcmp(standby, "on") == 0;
	s->read_only = false;
	s->timeline = 0;
	s->system_id = 0;
	/* Who may not call these functions (class 42) gets to know less. */
	s->answered =
		error->status == GAMESTATE_OK || (error->status == GAMESTATE_SERVER_ERROR &&
										  strncmp(error->sqlstate, "42", 2) == 0);
	if (error->status == GAMESTATE_OK)
	{
		gamestate_result_bool(result, 0, 0, &s->in_recovery);
		gamestate_result_bool(result, 0, 1, &s->read_only);
		gamestate_result_int8(result, 0, 2, &s->timeline);
		gamestate_result_int8(result, 0, 3, &s->system_id);
	}
	else if (!s->answered)
	{
		gsu_note_error(s, error);
		s->give_up = true;
	}
}

static void
ask_role(gamestate_subscriber *s)
{
	gamestate_call call;

	s->phase = SUBSCRIBER_ASKING;
	s->answered = false;
	gamestate_call_sql(&call, GSP_QUESTION, NULL, 0, GAMESTATE_SQL_READ);
	if (gamestate_conn_send(s->conn, &call, s->options.answer_timeout, take_role, s) !=
		GAMESTATE_OK)
	{
		gsu_note_error(s, gamestate_conn_error(s->conn));
		s->give_up = true;
	}
}

static void
become_ready(gamestate_subscriber *s)
{
	s->phase = SUBSCRIBER_READY;
	s->is_standby = s->in_recovery;
	if (s->timeline != 0)
	{
		s->best_timeline = s->timeline;
		s->best_system = s->system_id;
	}
	s->refused_in_a_row = 0;
	gsp_backoff_reset(&s->connect_backoff);
	gsp_backoff_reset(&s->call_backoff);
	s->ask_again_at = 0;
	s->stats.connects++;
	s->stats.server_changes += s->last_server >= 0 && s->last_server != s->server;
	s->last_server = s->server;
	gsu_event(s, GAMESTATE_SUBSCRIBER_CONNECTED, "",
			  s->is_standby ? "standby" : "primary");
}

/* What has become of it in this turn? */
void
gsu_check_connection(gamestate_subscriber *s)
{
	const char *wrong;

	if (s->conn == NULL || s->closing)
		return;
	if (gamestate_conn_get_state(s->conn) == GAMESTATE_CONN_BROKEN)
	{
		gsu_note_error(s, gamestate_conn_error(s->conn));
		lost(s);
		return;
	}
	if (s->phase == SUBSCRIBER_CONNECTING &&
		gamestate_conn_get_state(s->conn) == GAMESTATE_CONN_READY)
		ask_role(s);
	if (s->phase == SUBSCRIBER_ASKING && s->answered && !s->give_up)
	{
		wrong = wrong_role(s);
		if (wrong == NULL)
			become_ready(s);
		else
		{
			gsu_fail(s, GAMESTATE_CONNECT_FAILED, wrong);
			s->give_up = true;
		}
	}
	if (s->give_up)
		lost(s);
}

int64_t
gsu_connect_deadline(const gamestate_subscriber *s)
{
	return s->conn == NULL && gsu_has_subscriptions(s) ? s->connect_at : GSU_NEVER;
}

/* When it is time to. */
void
gsu_connect(gamestate_subscriber *s)
{
	gamestate_options options = GAMESTATE_OPTIONS_INIT;

	if (s->conn != NULL || s->closing || gamestate_now() < gsu_connect_deadline(s))
		return;
	options.prepare = s->options.prepare;
	options.connect_timeout = s->options.connect_timeout;
	s->phase = SUBSCRIBER_CONNECTING;
	s->conn = gamestate_connect_start(s->conninfo.conninfo[s->server], &options);
	if (s->conn == NULL)
	{
		gsu_fail(s, GAMESTATE_NO_MEMORY, "out of memory");
		lost(s);
	}
}
