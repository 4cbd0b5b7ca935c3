/*
 * trouble.c: deadlines, cancels, servers that hang or die.
 *
 * What the server does meanwhile is the test's affair (040_libgamestate.pl): it
 * waits for the lines "# ready, ..." here, and we for a line on standard input.
 */
#include "lib_test.h"

#include <stdlib.h>
#include <unistd.h>

#include "tap.h"

/* Tells the test that we are there, and waits until it has done its part. */
static void
meet(const char *what)
{
	char line[100];

	printf("# ready, %s\n", what);
	fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL)
		exit(2);
}

/* Waits in the server, and can be cancelled. */
static void
call_sleep(gamestate_call *call)
{
	gamestate_call_sql(call, "SELECT pg_sleep(600)", NULL, 0, 0);
}

int
scenario_deadlines(void)
{
	gamestate_conn *conn = must_connect(NULL);
	gamestate_conn *holder = must_connect(NULL);
	gamestate_uuid id = must_create(conn, "{}");
	gamestate_move move = {.game_id = &id, .event = gamestate_text("1")};
	gamestate_call call;
	int64_t version = 0;
	int64_t start;
	gamestate_status status;

	/* somebody holds the game */
	gamestate_begin(holder);
	gamestate_apply_move(holder, &move, NULL);
	gamestate_call_apply_move(&call, &move);
	start = gamestate_now();
	status = gamestate_run(conn, &call, 200, NULL);
	ok(status == GAMESTATE_TIMEOUT && gamestate_conn_error(conn)->maybe_executed,
	   "a call that waits is answered at its deadline");
	ok(gamestate_now() - start >= 200, "not before");
	ok(gamestate_conn_in_flight(conn) == 0 && gamestate_conn_unanswered(conn) == 1,
	   "its place in the line remains");
	/* The server gives it up, although the game is still held. */
	status = gamestate_get_version(conn, &id, &version);
	ok(status == GAMESTATE_OK && version == 1, "it is cancelled, and the line goes on");
	gamestate_rollback(holder);
	ok(gamestate_get_version(conn, &id, &version) == GAMESTATE_OK && version == 1,
	   "it was not executed");

	call_sleep(&call);
	ok(gamestate_run(conn, &call, 100, NULL) == GAMESTATE_TIMEOUT, "once more");
	for (int i = 0; i < 20; i++)
	{
		if (gamestate_apply_move(conn, &move, &version) != GAMESTATE_OK)
			ok(false, "a call behind it");
	}
	ok(version == 21, "calls behind it are executed, each once");
	gamestate_conn_close(holder);
	gamestate_conn_close(conn);
	return tap_done();
}

/* Short calls behind long ones that pass their deadlines. */
int
scenario_disturbed(void)
{
	enum
	{
		ROUNDS = 15,
		BEHIND = 60
	};
	gamestate_conn *conn = must_connect(NULL);
	gamestate_uuid id = must_create(conn, "{}");
	Answer *behind = calloc(ROUNDS * BEHIND, sizeof(*behind));
	Answer sleeps[ROUNDS] = {{0}};
	int wrong = 0;
	int64_t moved = 0;
	int disturbed = 0;
	int64_t version = 0;

	for (int round = 0; round < ROUNDS; round++)
	{
		gamestate_call call;

		call_sleep(&call);
		gamestate_conn_send(conn, &call, 20 + round, note_answer, &sleeps[round]);
		for (int i = 0; i < BEHIND; i++)
		{
			gamestate_move move = {.game_id = &id, .event = gamestate_text("1")};

			gamestate_call_apply_move(&call, &move);
			gamestate_conn_send(conn, &call, 60000, note_answer,
								&behind[round * BEHIND + i]);
		}
		if (round % 3 == 0)
			run_loop(conn);
	}
	run_loop(conn);
	for (int i = 0; i < ROUNDS * BEHIND; i++)
	{
		moved += behind[i].status == GAMESTATE_OK;
		disturbed += behind[i].status == GAMESTATE_DISTURBED;
		if (behind[i].times != 1 ||
			(behind[i].status != GAMESTATE_OK &&
			 (behind[i].status != GAMESTATE_DISTURBED || behind[i].maybe_executed)))
			wrong++;
	}
	/* one that another one's cancel has hit may have been answered so before its deadline */
	for (int i = 0; i < ROUNDS; i++)
		wrong += sleeps[i].times != 1 || (sleeps[i].status != GAMESTATE_TIMEOUT &&
										  sleeps[i].status != GAMESTATE_DISTURBED);
	ok(wrong == 0, "each is executed or disturbed, no other (%d wrong)", wrong);
	gamestate_get_version(conn, &id, &version);
	ok(version == 1 + moved, "those disturbed were not executed (%d)", disturbed);
	gamestate_conn_close(conn);
	free(behind);
	return tap_done();
}

/* The test stops every process of the server, and lets them go on. */
int
scenario_frozen(void)
{
	enum
	{
		CALLS = 100
	};
	gamestate_conn *conn = must_connect(NULL);
	gamestate_uuid id = must_create(conn, "{}");
	Answer log[CALLS] = {{0}};
	int64_t start;
	int wrong = 0;
	int64_t latest = 0;
	gamestate_options options = GAMESTATE_OPTIONS_INIT;
	gamestate_conn *other;

	meet("to be frozen");
	start = gamestate_now();
	for (int i = 0; i < CALLS; i++)
	{
		gamestate_move move = {.game_id = &id, .event = gamestate_text("1")};
		gamestate_call call;

		gamestate_call_apply_move(&call, &move);
		gamestate_conn_send(conn, &call, 100 + i, note_answer, &log[i]);
	}
	run_loop(conn);
	for (int i = 0; i < CALLS; i++)
	{
		if (log[i].times != 1 || log[i].status != GAMESTATE_TIMEOUT ||
			log[i].at - start < 100 + i)
			wrong++;
		if (log[i].at - start - 100 - i > latest)
			latest = log[i].at - start - 100 - i;
	}
	ok(wrong == 0, "each is answered at its deadline (%d ms late at most)", (int) latest);
	ok(gamestate_conn_unanswered(conn) == CALLS && gamestate_conn_silence(conn) >= 100,
	   "the connection says that the server is silent");
	options.connect_timeout = 300;
	other = gamestate_connect(NULL, &options);
	ok(gamestate_conn_get_state(other) == GAMESTATE_CONN_BROKEN &&
		   gamestate_conn_error(other)->status == GAMESTATE_CONNECT_FAILED,
	   "a new connection is given up in time");
	gamestate_conn_close(other);
	meet("to be thawed");
	start = gamestate_now();
	while (gamestate_get_version(conn, &id, NULL) != GAMESTATE_OK &&
		   gamestate_now() < start + 60000)
		;
	ok(gamestate_conn_unanswered(conn) == 0, "then the line is worked off");
	gamestate_conn_close(conn);

	/* Closing while the server is frozen, a cancel on its way, takes no time. */
	conn = must_connect(NULL);
	meet("to be frozen again");
	{
		gamestate_call call;

		call_sleep(&call);
		gamestate_run(conn, &call, 50, NULL);
		start = gamestate_now();
		while (!gamestate_conn_cancelling(conn) && gamestate_now() < start + 5000)
			gamestate_conn_process(conn);
	}
	ok(gamestate_conn_cancelling(conn), "a cancel is on its way");
	start = gamestate_now();
	gamestate_conn_close(conn);
	ok(gamestate_now() - start < 1000, "closing does not wait for it");
	meet("to be thawed at last");
	return tap_done();
}

#define LOST_GAMES 20
#define LOST_CALLS 1000000

/* Keeps moves in flight until the connection is lost; how many were sent. */
static int
move_until_lost(gamestate_conn *conn, const gamestate_uuid *ids, Answer *log)
{
	int sent = 0;

	while (gamestate_conn_get_state(conn) == GAMESTATE_CONN_READY)
	{
		while (sent < LOST_CALLS && gamestate_conn_in_flight(conn) < 100)
		{
			gamestate_move move = {.game_id = &ids[sent % LOST_GAMES],
								   .event = gamestate_text("1")};
			gamestate_call call;

			gamestate_call_apply_move(&call, &move);
			if (gamestate_conn_send(conn, &call, 60000, note_answer, &log[sent]) !=
				GAMESTATE_OK)
				break;
			sent++;
		}
		gamestate_conn_drain(conn, 1);
		gamestate_conn_process(conn);
	}
	return sent;
}

/*
 * The server is killed while moves are in flight.  What was answered must be
 * there afterwards, and nothing that cannot have been.
 */
int
scenario_lost(void)
{
	gamestate_conn *conn = must_connect(NULL);
	gamestate_uuid ids[LOST_GAMES];
	int64_t done[LOST_GAMES] = {0};
	int64_t maybe[LOST_GAMES] = {0};
	Answer *log = calloc(LOST_CALLS, sizeof(*log));
	int64_t all_done = 0;
	int64_t all_maybe = 0;
	int sent;
	int wrong = 0;

	for (int i = 0; i < LOST_GAMES; i++)
		ids[i] = must_create(conn, "{}");
	printf("# busy, to be lost\n"); /* and waits for nothing */
	fflush(stdout);
	sent = move_until_lost(conn, ids, log);
	for (int i = 0; i < sent; i++)
	{
		done[i % LOST_GAMES] += log[i].status == GAMESTATE_OK;
		maybe[i % LOST_GAMES] += log[i].status != GAMESTATE_OK && log[i].maybe_executed;
		if (log[i].times != 1 || log[i].order != i)
			wrong++;
	}
	ok(wrong == 0, "each of %d calls answered once, in order (%d not)", sent, wrong);
	show_error(gamestate_conn_error(conn));
	gamestate_conn_close(conn);
	meet("to find it again");
	conn = must_connect(NULL);
	for (int i = 0; i < LOST_GAMES; i++)
	{
		int64_t version = 0;

		if (gamestate_get_version(conn, &ids[i], &version) != GAMESTATE_OK)
			show_error(gamestate_conn_error(conn));
		if (version < 1 + done[i] || version > 1 + done[i] + maybe[i])
			ok(false, "version %d: %d were acknowledged, %d may have been executed",
			   (int) version, (int) done[i], (int) maybe[i]);
		all_done += done[i];
		all_maybe += maybe[i];
	}
	ok(all_done > 0, "%d moves were acknowledged, %d may have been executed",
	   (int) all_done, (int) all_maybe);
	gamestate_conn_close(conn);
	free(log);
	return tap_done();
}

int
scenario_no_server(void)
{
	gamestate_options options = GAMESTATE_OPTIONS_INIT;
	gamestate_conn *conn = gamestate_connect("host=/nonexistent port=1", NULL);
	gamestate_call call;

	ok(gamestate_conn_get_state(conn) == GAMESTATE_CONN_BROKEN, "no server");
	ok(gamestate_conn_error(conn)->status == GAMESTATE_CONNECT_FAILED &&
		   gamestate_conn_error(conn)->message[0] != '\0' &&
		   gamestate_error_is_transient(gamestate_conn_error(conn)),
	   "the error says so");
	gamestate_call_feed_position(&call);
	ok(gamestate_run(conn, &call, 0, NULL) == GAMESTATE_NOT_CONNECTED &&
		   gamestate_conn_process(conn) == GAMESTATE_CONNECT_FAILED,
	   "it is of no use");
	ok(gamestate_conn_socket(conn) == -1 && gamestate_conn_wants(conn) == 0 &&
		   gamestate_conn_wait_time(conn) == -1,
	   "and waits for nothing");
	gamestate_conn_close(conn);
	conn = gamestate_connect("host=[bad", NULL);
	ok(gamestate_conn_error(conn)->status == GAMESTATE_CONNECT_FAILED, "a bad conninfo");
	gamestate_conn_close(conn);
	options.connect_timeout = 100;
	/* RFC 5737: nobody answers there, or it is refused at once */
	conn = gamestate_connect("host=192.0.2.1", &options);
	ok(gamestate_conn_error(conn)->status == GAMESTATE_CONNECT_FAILED, "nobody there");
	gamestate_conn_close(conn);
	return tap_done();
}
