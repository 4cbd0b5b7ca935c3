/*
 * pipeline.c: many calls in flight: each answered once, in order, and errors
 * stay with the call that met them.
 */
#include "lib_test.h"

#include <stdlib.h>

#include "tap.h"

#define GAMES 50
#define CALLS 5000

/*
 * Sends moves of many games, every tenth with a stale version, as fast as the
 * connection takes them.
 */
static void
send_moves(gamestate_conn *conn, const gamestate_uuid *ids, Answer *log)
{
	int64_t versions[GAMES];

	for (int i = 0; i < GAMES; i++)
		versions[i] = 1;
	for (int i = 0; i < CALLS; i++)
	{
		bool stale = i % 10 == 3;
		gamestate_move move = {.game_id = &ids[i % GAMES],
							   .expected_version = stale ? 1000000 : versions[i % GAMES],
							   .event = gamestate_text("{\"n\":1}"),
							   .state = gamestate_text("{\"board\":\"...\"}")};
		gamestate_call call;
		gamestate_status status;

		gamestate_call_apply_move(&call, &move);
		memset(&move, 0xff, sizeof(move)); /* it is in the call */
		while ((status = gamestate_conn_send(conn, &call, 60000, note_answer, &log[i])) ==
			   GAMESTATE_TOO_MANY_CALLS)
		{
			/* room again: one turn */
			gamestate_conn_drain(conn, 1);
		}
		if (status != GAMESTATE_OK)
		{
			show_error(gamestate_conn_error(conn));
			return;
		}
		if (!stale)
			versions[i % GAMES]++;
	}
	run_loop(conn);
}

int
scenario_pipeline(void)
{
	gamestate_options options = GAMESTATE_OPTIONS_INIT;
	gamestate_conn *conn;
	gamestate_uuid ids[GAMES];
	Answer *log = calloc(CALLS, sizeof(*log));
	int wrong = 0;

	options.max_in_flight = 500;
	conn = must_connect(&options);
	for (int i = 0; i < GAMES; i++)
		ids[i] = must_create(conn, "{}");
	send_moves(conn, ids, log);
	for (int i = 0; i < CALLS; i++)
	{
		bool stale = i % 10 == 3;

		if (log[i].times != 1 || log[i].order != i ||
			log[i].status != (stale ? GAMESTATE_SERVER_ERROR : GAMESTATE_OK) ||
			strcmp(log[i].sqlstate, stale ? GAMESTATE_STALE_VERSION : "") != 0 ||
			(!stale && log[i].version < 2))
			wrong++;
	}
	ok(wrong == 0,
	   "all of %d calls answered once, in order, errors where they belong (%d)", CALLS,
	   wrong);
	ok(gamestate_conn_unanswered(conn) == 0, "nothing is left");
	gamestate_conn_close(conn);
	free(log);
	return tap_done();
}

/* Reads in groups, some of which fail, between moves. */
int
scenario_groups(void)
{
	enum
	{
		READS = 400
	};
	gamestate_conn *conn = must_connect(NULL);
	gamestate_uuid id = must_create(conn, "{}");
	gamestate_new_game bytes = {.game_type = "bytes"};
	gamestate_uuid other;
	Answer *reads = calloc(READS, sizeof(*reads));
	Answer *moves = calloc(READS, sizeof(*moves));
	int wrong = 0;

	gamestate_create_game_bytes(conn, &bytes, &other);
	/* so that both are prepared */
	gamestate_get_version(conn, &id, NULL);
	gamestate_get_state(conn, &id, NULL);
	for (int i = 0; i < READS; i++)
	{
		gamestate_call call;

		/* every 17th fails: the wrong twin */
		if (i % 17 == 5)
			gamestate_call_get_state(&call, &other);
		else
			gamestate_call_get_version(&call, &id);
		gamestate_conn_send(conn, &call, 0, note_answer, &reads[i]);
		if (i % 50 == 49)
		{
			gamestate_move move = {.game_id = &id, .event = gamestate_text("1")};

			gamestate_call_apply_move(&call, &move);
			gamestate_conn_send(conn, &call, 0, note_answer, &moves[i]);
		}
	}
	run_loop(conn);
	for (int i = 0; i < READS; i++)
	{
		bool fails = i % 17 == 5;

		if (reads[i].times != 1)
			wrong++;
		else if (fails ? strcmp(reads[i].sqlstate, GAMESTATE_WRONG_ENCODING) != 0
					   : reads[i].version < 1 + i / 50)
			wrong++;
		if (moves[i].times != (i % 50 == 49))
			wrong++;
	}
	ok(wrong == 0, "every read answered once, also behind one that failed (%d)", wrong);
	gamestate_conn_close(conn);
	free(reads);
	free(moves);
	return tap_done();
}

static gamestate_result *kept;

/* Keeps the answer, sends another call, closes the connection. */
static void
close_within(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	gamestate_call call;

	kept = gamestate_result_keep(result);
	gamestate_call_feed_position(&call);
	gamestate_conn_send(conn, &call, 0, note_answer, arg);
	ok(gamestate_run(conn, &call, 0, NULL) == GAMESTATE_BAD_CALL,
	   "no waiting in a callback");
	ok(gamestate_conn_process(conn) == GAMESTATE_BAD_CALL, "no processing");
	gamestate_conn_close(conn);
	gamestate_conn_close(conn);
	ok(gamestate_conn_send(conn, &call, 0, NULL, NULL) == GAMESTATE_NOT_CONNECTED,
	   "nothing can be sent after that");
}

int
scenario_closing(void)
{
	gamestate_conn *conn = must_connect(NULL);
	gamestate_uuid id = must_create(conn, "\"kept\"");
	gamestate_move move = {.game_id = &id, .event = gamestate_text("1")};
	gamestate_call call;
	Answer answer[3] = {{0}};
	gamestate_status status = GAMESTATE_OK;

	gamestate_call_get_state(&call, &id);
	gamestate_conn_send(conn, &call, 0, note_answer, &answer[0]);
	gamestate_call_apply_move(&call, &move);
	gamestate_conn_send(conn, &call, 0, note_answer, &answer[1]);
	ok(gamestate_conn_in_flight(conn) == 2, "two in flight");
	gamestate_conn_close(conn);
	ok(answer[0].times == 1 && answer[0].status == GAMESTATE_CLOSED &&
		   !answer[0].maybe_executed,
	   "a read in flight: closed, of no effect");
	ok(answer[1].times == 1 && answer[1].status == GAMESTATE_CLOSED &&
		   answer[1].maybe_executed,
	   "a move in flight: closed, perhaps executed");

	conn = must_connect(NULL);
	gamestate_call_get_state(&call, &id);
	gamestate_conn_send(conn, &call, 0, close_within, &answer[2]);
	while (status == GAMESTATE_OK)
	{
		gamestate_conn_flush(conn);
		status = gamestate_conn_process(conn);
	}
	ok(status == GAMESTATE_CLOSED, "closed within a callback");
	ok(answer[2].times == 1 && answer[2].status == GAMESTATE_CLOSED,
	   "what was sent there is answered");
	ok(gamestate_result_state(kept).len == 6, "a result that was kept outlives it");
	gamestate_result_free(kept);

	/* what NULL is good for */
	gamestate_conn_close(NULL);
	gamestate_result_free(NULL);
	ok(gamestate_conn_error(NULL)->status == GAMESTATE_NO_MEMORY &&
		   gamestate_result_error(NULL)->status == GAMESTATE_NO_MEMORY &&
		   gamestate_run(NULL, &call, 0, NULL) == GAMESTATE_NO_MEMORY &&
		   gamestate_conn_process(NULL) == GAMESTATE_NO_MEMORY,
	   "NULL is out of memory");
	conn = must_connect(NULL);
	memset(&call, 0x55, sizeof(call));
	ok(gamestate_run(conn, &call, 0, NULL) == GAMESTATE_BAD_CALL &&
		   gamestate_conn_error(conn)->message[0] != '\0',
	   "something that is no call");
	gamestate_conn_close(conn);
	return tap_done();
}

/* Behind PgBouncer in transaction mode. */
int
scenario_pooler(void)
{
	gamestate_conn *conns[4];
	gamestate_uuid id;
	int wrong = 0;
	enum
	{
		ROUNDS = 200
	};
	static Answer log[4][ROUNDS];

	for (int i = 0; i < 4; i++)
		conns[i] = must_connect(NULL);
	ok(!gamestate_conn_prepares(conns[0]), "it is noticed: statements are not prepared");
	id = must_create(conns[0], "{}");
	/* More connections than server sessions, pipelined, in turns. */
	for (int round = 0; round < ROUNDS; round++)
	{
		for (int i = 0; i < 4; i++)
		{
			gamestate_move move = {.game_id = &id, .event = gamestate_text("1")};
			gamestate_call call;

			if (round % 2 == 0)
				gamestate_call_apply_move(&call, &move);
			else
				gamestate_call_get_version(&call, &id);
			gamestate_conn_send(conns[i], &call, 60000, note_answer, &log[i][round]);
			gamestate_conn_flush(conns[i]);
			gamestate_conn_process(conns[i]);
		}
	}
	for (int i = 0; i < 4; i++)
	{
		run_loop(conns[i]);
		for (int round = 0; round < ROUNDS; round++)
		{
			if (log[i][round].times == 1 && log[i][round].status == GAMESTATE_OK)
				continue;
			if (wrong++ == 0)
				printf("# connection %d, call %d: %d times, %s %s %s\n", i, round,
					   log[i][round].times, gamestate_status_text(log[i][round].status),
					   log[i][round].sqlstate, gamestate_conn_error(conns[i])->message);
		}
	}
	ok(wrong == 0, "all calls of four connections answered (%d)", wrong);
	ok(gamestate_begin(conns[0]) == GAMESTATE_OK &&
		   gamestate_sql(conns[0], "SELECT 1", NULL, 0, GAMESTATE_SQL_PREPARE, NULL) ==
			   GAMESTATE_OK &&
		   gamestate_commit(conns[0]) == GAMESTATE_OK,
	   "a transaction");
	for (int i = 0; i < 4; i++)
		gamestate_conn_close(conns[i]);
	return tap_done();
}
