/*
 * lib_test: libgamestate against a server (tests/t/040_libgamestate.pl), or against
 * a false one that sends garbage.
 *
 * usage: lib_test SCENARIO
 */
#include "lib_test.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int answers;

static const struct
{
	const char *name;
	int (*run)(void);
} scenarios[] = {
	{"calls", scenario_calls},
	{"lists", scenario_lists},
	{"transactions", scenario_transactions},
	{"sql", scenario_sql},
	{"pipeline", scenario_pipeline},
	{"groups", scenario_groups},
	{"large", scenario_large},
	{"skipped", scenario_skipped},
	{"closing", scenario_closing},
	{"pooler", scenario_pooler},
	{"deadlines", scenario_deadlines},
	{"disturbed", scenario_disturbed},
	{"unreplicated", scenario_unreplicated},
	{"frozen", scenario_frozen},
	{"lost", scenario_lost},
	{"no_server", scenario_no_server},
	{"subscriptions", scenario_subscriptions},
	{"subscribers", scenario_subscribers},
	{"garbage", scenario_garbage},
	{"late_cancel", scenario_late_cancel},
};

void
show_error(const gamestate_error *error)
{
	printf("# status %d (%s)%s SQLSTATE %s: %s\n# %s\n# %s\n", (int) error->status,
		   gamestate_status_text(error->status),
		   error->maybe_executed ? ", may have been executed," : "", error->sqlstate,
		   error->message, error->detail, error->hint);
}

gamestate_conn *
must_connect(const gamestate_options *options)
{
	gamestate_conn *conn = gamestate_connect(NULL, options);

	if (gamestate_conn_get_state(conn) != GAMESTATE_CONN_READY)
	{
		show_error(gamestate_conn_error(conn));
		exit(2);
	}
	return conn;
}

gamestate_uuid
must_create(gamestate_conn *conn, const char *state)
{
	gamestate_new_game game = {.game_type = "test", .state = gamestate_text(state)};
	gamestate_uuid id;

	if (gamestate_create_game(conn, &game, &id) != GAMESTATE_OK)
	{
		show_error(gamestate_conn_error(conn));
		exit(2);
	}
	return id;
}

void
note_answer(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	Answer *answer = arg;
	const gamestate_error *error = gamestate_result_error(result);

	(void) conn;
	answer->times++;
	answer->order = answers++;
	answer->status = error->status;
	answer->maybe_executed = error->maybe_executed;
	memcpy(answer->sqlstate, error->sqlstate, sizeof(answer->sqlstate));
	answer->version = gamestate_result_version(result);
	answer->at = gamestate_now();
}

void
run_loop(gamestate_conn *conn)
{
	while (gamestate_conn_in_flight(conn) > 0)
	{
		int wants = gamestate_conn_wants(conn);
		struct pollfd poll_fd = {.fd = gamestate_conn_socket(conn)};

		if ((wants & GAMESTATE_WANTS_READ) != 0)
			poll_fd.events |= POLLIN;
		if ((wants & GAMESTATE_WANTS_WRITE) != 0)
			poll_fd.events |= POLLOUT;
		poll(&poll_fd, 1, gamestate_conn_wait_time(conn));
		if (gamestate_conn_process(conn) != GAMESTATE_OK)
			return;
	}
}

int
main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; argc == 2 && i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
	{
		if (strcmp(argv[1], scenarios[i].name) == 0)
			return scenarios[i].run();
	}
	fprintf(stderr, "usage: lib_test SCENARIO\n");
	return 2;
}
