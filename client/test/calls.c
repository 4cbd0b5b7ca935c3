/*
 * calls.c: every call that the server has, one after another.
 */
#include "lib_test.h"

#include <inttypes.h>

#include "tap.h"

/* JSON is kept to the letter. */
static bool
same_text(gamestate_data data, const char *text)
{
	return data.data != NULL && data.len == strlen(text) &&
		   memcmp(data.data, text, data.len) == 0;
}

static bool
worked(gamestate_conn *conn, gamestate_status status, const char *what)
{
	if (status != GAMESTATE_OK)
		show_error(gamestate_conn_error(conn));
	return ok(status == GAMESTATE_OK, "%s", what);
}

static void
refused(gamestate_conn *conn, gamestate_status status, const char *sqlstate)
{
	const gamestate_error *error = gamestate_conn_error(conn);

	if (!ok(status == GAMESTATE_SERVER_ERROR && gamestate_error_is(error, sqlstate) &&
				!error->maybe_executed && error->message[0] != '\0',
			"refused with %s", sqlstate))
		show_error(error);
}

static void
play_json(gamestate_conn *conn)
{
	static const char *const players[] = {"ann", "b\"o\\b,{}"};
	gamestate_uuid request;
	gamestate_new_game game = {.game_type = "chess",
							   .state = gamestate_text(" {\"fen\" : \"start\"}"),
							   .players = players,
							   .num_players = 2,
							   .metadata = gamestate_text("{\"stake\":10}"),
							   .max_players = 4,
							   .request_id = &request};
	gamestate_uuid id = {{0}};
	gamestate_move move = {.game_id = &id,
						   .expected_version = 1,
						   .event = gamestate_text("{\"san\":\"e4\"}"),
						   .state = gamestate_text("{\"fen\":\"\xC3\xA9\"}"),
						   .player = "ann"};
	gamestate_finish finish = {.game_id = &id,
							   .result = gamestate_text("{\"winner\":\"ann\"}")};
	gamestate_result *result;
	const gamestate_game *row;
	const gamestate_change *change;
	int64_t version = 0;

	ok(gamestate_uuid_generate(&request), "a request id");
	worked(conn, gamestate_create_game(conn, &game, &id), "create_game");
	worked(conn, gamestate_apply_move(conn, &move, &version), "apply_move");
	ok(version == 2, "its version");
	refused(conn, gamestate_apply_move(conn, &move, &version), GAMESTATE_STALE_VERSION);
	ok(gamestate_conn_error(conn)->detail[0] != '\0', "with the versions in the detail");
	move.expected_version = 0;
	move.state.data = NULL;
	move.player = NULL;
	worked(conn, gamestate_apply_move(conn, &move, &version), "a move without check");

	worked(conn, gamestate_get_state(conn, &id, &result), "get_state");
	ok(same_text(gamestate_result_state(result), "{\"fen\":\"\xC3\xA9\"}"),
	   "the state to the letter");
	ok(((const char *) gamestate_result_state(result)
			.data)[gamestate_result_state(result).len] == '\0',
	   "and a NUL after it");
	ok(gamestate_result_version(result) == 0 &&
		   gamestate_result_game(result, 0) == NULL &&
		   gamestate_result_change(result, 0) == NULL,
	   "what it is not is not there");
	gamestate_result_free(result);
	worked(conn, gamestate_get_version(conn, &id, &version), "get_version");
	ok(version == 3, "is 3");

	worked(conn, gamestate_get_game(conn, &id, &result), "get_game");
	row = gamestate_result_game(result, 0);
	ok(row != NULL && gamestate_result_rows(result) == 1, "one game");
	if (row == NULL)
		return;
	is(row->game_type, "chess", "its type");
	is(row->status, "active", "status");
	is(row->tier, "live", "tier");
	is(row->encoding, "json", "encoding");
	ok(row->num_players == 2 && row->players[2] == NULL, "two players");
	is(row->players[0], "ann", "one");
	is(row->players[1], players[1], "the other");
	ok(row->version == 3 && row->moves == 2 && row->max_players == 4, "numbers");
	ok(row->room_code == NULL && row->result.data == NULL, "what is NULL");
	ok(same_text(row->metadata, "{\"stake\":10}"), "metadata");
	ok(row->ended_us == GAMESTATE_NO_TIME &&
		   row->created_us > INT64_C(1700000000000000) &&
		   row->updated_us >= row->created_us,
	   "times: since 1970");
	ok(gamestate_result_game(result, 0) == row &&
		   gamestate_result_game(result, 1) == NULL,
	   "unpacked once");
	gamestate_result_free(result);

	worked(conn, gamestate_get_changes(conn, &id, 0, 0, &result), "get_changes");
	ok(gamestate_result_rows(result) == 3, "three");
	change = gamestate_result_change(result, 0);
	ok(change->has_request_id && memcmp(&change->request_id, &request, 16) == 0,
	   "the first has the request id");
	change = gamestate_result_change(result, 1);
	ok(change->version == 2 && same_text(change->event, "{\"san\":\"e4\"}") &&
		   !change->has_request_id,
	   "the second is the move");
	is(change->kind, "move", "its kind");
	is(change->player, "ann", "and player");
	gamestate_result_free(result);
	worked(conn, gamestate_get_changes(conn, &id, 1, 1, &result), "get_changes");
	ok(gamestate_result_rows(result) == 1, "after a version, at most one");
	gamestate_result_free(result);

	worked(conn, gamestate_finish_game(conn, &finish, &version), "finish_game");
	ok(version == 4, "version 4");
	refused(conn, gamestate_apply_move(conn, &move, NULL), GAMESTATE_GAME_OVER);
}

static void
play_room(gamestate_conn *conn)
{
	gamestate_new_game game = {.game_type = "hokm",
							   .room_code = "K7PX",
							   .status = "waiting",
							   .max_players = 2};
	gamestate_uuid id = {{0}};
	gamestate_uuid found = {{0}};
	gamestate_uuid never = {{1}};
	bool is_there = false;
	bool deleted = true;
	int64_t version;
	gamestate_result *result;

	worked(conn, gamestate_create_game(conn, &game, &id), "create a room");
	refused(conn, gamestate_create_game(conn, &game, NULL), GAMESTATE_ROOM_TAKEN);
	worked(conn, gamestate_find_room(conn, "K7PX", &found, &is_there), "find_room");
	ok(is_there && memcmp(&found, &id, sizeof(id)) == 0, "finds it");
	worked(conn, gamestate_find_room(conn, "none", &found, &is_there), "find_room");
	ok(!is_there, "finds nothing");
	worked(conn, gamestate_join_game(conn, &id, "ann", 0, NULL, &version), "join_game");
	worked(conn, gamestate_join_game(conn, &id, "bob", version, NULL, &version), "again");
	refused(conn, gamestate_join_game(conn, &id, "eve", 0, NULL, NULL),
			GAMESTATE_ROOM_FULL);
	worked(conn, gamestate_leave_game(conn, &id, "bob", 0, NULL, NULL), "leave_game");
	worked(conn,
		   gamestate_set_metadata(conn, &id, gamestate_text("[1]"), 0, NULL, &version),
		   "set_metadata");
	worked(conn, gamestate_set_room_code(conn, &id, NULL, version, NULL, &version),
		   "set_room_code");
	worked(conn,
		   gamestate_set_deadline(conn, &id, GAMESTATE_NO_DEADLINE, version, NULL,
								  &version),
		   "set_deadline");
	worked(conn, gamestate_start_game(conn, &id, version, NULL, &version), "start_game");
	worked(conn, gamestate_player_games(conn, "ann", &result), "player_games");
	ok(gamestate_result_rows(result) == 1 && gamestate_result_id(result, 0, &found) &&
		   memcmp(&found, &id, sizeof(id)) == 0,
	   "has it");
	gamestate_result_free(result);
	worked(conn, gamestate_delete_game(conn, &id, 0, NULL, &deleted), "delete_game");
	ok(deleted, "there was one");
	worked(conn, gamestate_delete_game(conn, &id, 0, NULL, &deleted), "delete_game");
	ok(!deleted, "there was none");
	worked(conn, gamestate_get_game(conn, &never, &result), "get_game of nothing");
	ok(gamestate_result_rows(result) == 0 && gamestate_result_game(result, 0) == NULL,
	   "no game");
	gamestate_result_free(result);
	worked(conn, gamestate_get_state(conn, &never, &result), "get_state of nothing");
	ok(gamestate_result_state(result).data == NULL, "no state");
	gamestate_result_free(result);
	version = 7;
	worked(conn, gamestate_get_version(conn, &never, &version), "get_version of nothing");
	ok(version == 0, "no version");
	refused(conn, gamestate_start_game(conn, &never, 0, NULL, NULL),
			GAMESTATE_NO_SUCH_GAME);
	refused(conn, gamestate_start_game(conn, NULL, 0, NULL, NULL), "22004");
}

static void
play_bytes(gamestate_conn *conn)
{
	static const char start[] = {1, 0, 2, 0};
	gamestate_new_game game = {.game_type = "duel", .state = {start, sizeof(start)}};
	gamestate_uuid id = {{0}};
	gamestate_move move = {.game_id = &id,
						   .event = {"", 0},
						   .state = {start, 3},
						   .expected_version = 1};
	gamestate_result *result;
	int64_t version = 0;

	worked(conn, gamestate_create_game_bytes(conn, &game, &id), "create_game_bytes");
	worked(conn, gamestate_apply_move_bytes(conn, &move, &version), "apply_move_bytes");
	ok(version == 2, "version 2");
	worked(conn, gamestate_get_state_bytes(conn, &id, &result), "get_state_bytes");
	ok(gamestate_result_state(result).len == 3 &&
		   memcmp(gamestate_result_state(result).data, start, 3) == 0,
	   "has its bytes");
	gamestate_result_free(result);
	worked(conn, gamestate_get_game(conn, &id, &result), "get_game");
	ok(gamestate_result_game(result, 0)->state.len == 3, "has them too");
	gamestate_result_free(result);
	worked(conn, gamestate_get_changes(conn, &id, 1, 0, &result), "get_changes");
	ok(gamestate_result_change(result, 0)->event.data != NULL &&
		   gamestate_result_change(result, 0)->event.len == 0,
	   "an event without bytes is not NULL");
	gamestate_result_free(result);
	refused(conn, gamestate_get_state(conn, &id, &result), GAMESTATE_WRONG_ENCODING);
	ok(gamestate_error_is(gamestate_result_error(result), GAMESTATE_WRONG_ENCODING),
	   "the result has the error too");
	gamestate_result_free(result);
}

static int64_t
deadline_of(gamestate_conn *conn, const gamestate_uuid *id)
{
	gamestate_result *result;
	const gamestate_game *game;
	int64_t deadline = 0;

	worked(conn, gamestate_get_game(conn, id, &result), "get_game");
	game = gamestate_result_game(result, 0);
	if (game != NULL)
		deadline = game->deadline_us;
	gamestate_result_free(result);
	return deadline;
}

/* Far away, so that none of them passes. */
static void
deadlines(gamestate_conn *conn)
{
	const int64_t first = INT64_C(4102444800000000);
	const int64_t second = first + 1;
	gamestate_uuid ids[2] = {must_create(conn, "{}"), must_create(conn, "{}")};
	gamestate_data events[2] = {gamestate_text("1"), gamestate_text("2")};
	int64_t times[2] = {0, GAMESTATE_NO_DEADLINE};
	gamestate_move move = {.game_id = &ids[0],
						   .event = gamestate_text("1"),
						   .deadline_us = first};
	gamestate_patch patch = {.game_id = &ids[1],
							 .event = gamestate_text("1"),
							 .patch = gamestate_text("{\"a\": 1}"),
							 .deadline_us = second};
	gamestate_moves moves = {.count = 2,
							 .game_ids = ids,
							 .events = events,
							 .deadlines_us = times};
	gamestate_result *result;

	worked(conn, gamestate_apply_move(conn, &move, NULL), "apply_move with a deadline");
	worked(conn, gamestate_apply_patch(conn, &patch, NULL),
		   "apply_patch with a deadline");
	ok(deadline_of(conn, &ids[0]) == first && deadline_of(conn, &ids[1]) == second,
	   "games have them");
	worked(conn, gamestate_apply_moves(conn, &moves, &result),
		   "apply_moves with deadlines");
	gamestate_result_free(result);
	ok(deadline_of(conn, &ids[0]) == first &&
		   deadline_of(conn, &ids[1]) == GAMESTATE_NO_TIME,
	   "one kept, one taken back");
	move.deadline_us = GAMESTATE_NO_DEADLINE;
	worked(conn, gamestate_apply_move(conn, &move, NULL), "taken back by a move");
	ok(deadline_of(conn, &ids[0]) == GAMESTATE_NO_TIME, "so it is");
	worked(conn, gamestate_set_deadline(conn, &ids[0], second, 0, NULL, NULL),
		   "set_deadline");
	ok(deadline_of(conn, &ids[0]) == second, "set again");
	for (int i = 0; i < 2; i++)
		worked(conn, gamestate_delete_game(conn, &ids[i], 0, NULL, NULL), "delete_game");
}

static void
leases(gamestate_conn *conn)
{
	gamestate_uuid ids[2] = {must_create(conn, "{}"), must_create(conn, "{}")};
	gamestate_claim claim = {.owner = "server 1", .game_ids = ids, .num_game_ids = 2};
	gamestate_move move = {.game_id = &ids[0], .event = gamestate_text("1")};
	gamestate_data events[2] = {gamestate_text("1"), gamestate_text("2")};
	int64_t numbers[2] = {0, 1};
	gamestate_moves moves = {.count = 2,
							 .game_ids = ids,
							 .events = events,
							 .leases = numbers};
	gamestate_finish finish = {.game_id = &ids[0], .lease = 1};
	gamestate_result *result;
	gamestate_lease lease;
	gamestate_moved moved;
	int64_t games;

	worked(conn, gamestate_claim_games(conn, &claim, &result), "claim_games");
	ok(gamestate_result_rows(result) == 2 && gamestate_result_lease(result, 1, &lease) &&
		   lease.lease > 0 && lease.version == 1 &&
		   lease.expires_us != GAMESTATE_NO_TIME && lease.owner == NULL,
	   "both are claimed");
	ok(gamestate_result_lease(result, 0, &lease), "the first has a lease");
	move.game_id = &lease.game_id;
	move.lease = lease.lease;
	worked(conn, gamestate_apply_move(conn, &move, NULL), "a move under it");
	move.lease++;
	refused(conn, gamestate_apply_move(conn, &move, NULL), GAMESTATE_LEASE_LOST);
	gamestate_result_free(result);
	worked(conn, gamestate_apply_moves(conn, &moves, &result), "apply_moves");
	ok(gamestate_result_moved(result, 0, &moved) && moved.sqlstate == NULL,
	   "without a lease");
	ok(gamestate_result_moved(result, 1, &moved) && moved.sqlstate != NULL &&
		   strcmp(moved.sqlstate, GAMESTATE_LEASE_LOST) == 0,
	   "under a wrong one");
	gamestate_result_free(result);
	refused(conn, gamestate_finish_game(conn, &finish, NULL), GAMESTATE_LEASE_LOST);
	worked(conn, gamestate_renew_lease(conn, "server 1", 60000, &games), "renew_lease");
	ok(games == 2, "two games");
	worked(conn, gamestate_list_leases(conn, "server 1", &result), "list_leases");
	ok(gamestate_result_rows(result) == 2 && gamestate_result_lease(result, 0, &lease) &&
		   strcmp(lease.owner, "server 1") == 0 && lease.pid != 0,
	   "two leases");
	gamestate_result_free(result);
	worked(conn, gamestate_release_games(conn, "server 1", ids, 1, &games),
		   "release_games");
	ok(games == 1, "one of them");
	worked(conn, gamestate_release_games(conn, "server 1", NULL, 0, &games), "the rest");
	ok(games == 1, "the other one");
	for (int i = 0; i < 2; i++)
		worked(conn, gamestate_delete_game(conn, &ids[i], 0, NULL, NULL), "delete_game");
}

int
scenario_calls(void)
{
	gamestate_conn *conn = must_connect(NULL);

	ok(gamestate_conn_prepares(conn), "statements are prepared");
	is(gamestate_conn_parameter(conn, "client_encoding"), "UTF8", "the encoding");
	for (int i = 0; i < 2; i++)
	{
		/* the second time with prepared statements */
		play_json(conn);
		play_room(conn);
		play_bytes(conn);
		deadlines(conn);
		leases(conn);
	}
	gamestate_conn_close(conn);
	return tap_done();
}

static void
many_moves(gamestate_conn *conn)
{
	gamestate_uuid ids[3] = {must_create(conn, "0"), must_create(conn, "0"), {{9}}};
	gamestate_data events[3] = {gamestate_text("1"), gamestate_text("2"),
								gamestate_text("3")};
	int64_t versions[3] = {1, 0, 1};
	gamestate_moves moves = {.count = 3,
							 .game_ids = ids,
							 .expected_versions = versions,
							 .events = events};
	gamestate_versioned_state state;
	gamestate_result *result;
	gamestate_moved moved;

	worked(conn, gamestate_apply_moves(conn, &moves, &result), "apply_moves");
	ok(gamestate_result_rows(result) == 3, "a row for each");
	ok(gamestate_result_moved(result, 0, &moved) && moved.version == 2 &&
		   moved.ord == 1 && moved.sqlstate == NULL,
	   "the first has moved");
	ok(gamestate_result_moved(result, 2, &moved) && moved.version == 0 &&
		   strcmp(moved.sqlstate, GAMESTATE_NO_SUCH_GAME) == 0 && moved.message != NULL,
	   "the last has not");
	gamestate_result_free(result);
	moves.all_or_nothing = true;
	refused(conn, gamestate_apply_moves(conn, &moves, NULL), GAMESTATE_STALE_VERSION);

	worked(conn, gamestate_get_states(conn, ids, 3, &result), "get_states");
	ok(gamestate_result_rows(result) == 2, "those that exist");
	ok(gamestate_result_versioned_state(result, 1, &state) && state.version == 2 &&
		   same_text(state.state, "0") && memcmp(&state.game_id, &ids[1], 16) == 0,
	   "with version and state");
	gamestate_result_free(result);
	worked(conn, gamestate_get_states(conn, NULL, 0, &result), "get_states of none");
	ok(gamestate_result_rows(result) == 0, "none");
	gamestate_result_free(result);
}

/* A game of history full whose versions are {"a":1,"b":2} and {"b":2}. */
static void
go_back(gamestate_conn *conn, const gamestate_uuid *id)
{
	gamestate_uuid request;
	gamestate_result *result;
	int64_t version = 0;

	worked(conn, gamestate_state_at(conn, id, 1, &result), "state_at");
	ok(same_text(gamestate_result_state(result), "{\"a\":1,\"b\":2}"),
	   "the state it had");
	gamestate_result_free(result);
	worked(conn, gamestate_state_at(conn, id, 3, &result), "state_at of no version");
	ok(gamestate_result_state(result).data == NULL, "none");
	gamestate_result_free(result);
	refused(conn, gamestate_state_at_bytes(conn, id, 1, &result),
			GAMESTATE_WRONG_ENCODING);
	gamestate_result_free(result);
	gamestate_uuid_generate(&request);
	for (int i = 0; i < 2; i++)
	{
		worked(conn, gamestate_restore_game(conn, id, 1, 2, &request, &version),
			   "restore_game");
		ok(version == 3, "version 3");
	}
	worked(conn, gamestate_get_state(conn, id, &result), "get_state");
	ok(same_text(gamestate_result_state(result), "{\"a\":1,\"b\":2}"), "has it again");
	gamestate_result_free(result);
}

/* Put away and brought back; a retry is a retry wherever the game is by then. */
static void
put_away(gamestate_conn *conn)
{
	gamestate_uuid id = must_create(conn, "1");
	gamestate_uuid requests[2];
	gamestate_result *result;
	int64_t version = 0;

	gamestate_uuid_generate(&requests[0]);
	gamestate_uuid_generate(&requests[1]);
	for (int i = 0; i < 2; i++)
	{
		worked(conn, gamestate_suspend_game(conn, &id, 1, &requests[0], &version),
			   "suspend_game");
		ok(version == 2, "version 2");
	}
	refused(conn, gamestate_suspend_game(conn, &id, 0, NULL, NULL),
			GAMESTATE_WRONG_STATUS);
	worked(conn, gamestate_get_game(conn, &id, &result), "get_game");
	ok(strcmp(gamestate_result_game(result, 0)->tier, "suspended") == 0,
	   "it is suspended");
	gamestate_result_free(result);
	refused(conn, gamestate_resume_game(conn, &id, 1, NULL, NULL),
			GAMESTATE_STALE_VERSION);
	for (int i = 0; i < 2; i++)
	{
		worked(conn, gamestate_resume_game(conn, &id, 2, &requests[1], &version),
			   "resume_game");
		ok(version == 3, "version 3");
	}
	worked(conn, gamestate_get_state(conn, &id, &result), "get_state");
	ok(same_text(gamestate_result_state(result), "1"), "the state it had");
	gamestate_result_free(result);
	worked(conn, gamestate_delete_game(conn, &id, 0, NULL, NULL), "delete_game");
}

static void
patches(gamestate_conn *conn)
{
	gamestate_uuid id = must_create(conn, "{\"a\":1,\"b\":2}");
	gamestate_uuid request;
	gamestate_patch patch = {.game_id = &id,
							 .expected_version = 1,
							 .event = gamestate_text("\"e\""),
							 .patch = gamestate_text("{\"a\":null}"),
							 .request_id = &request};
	gamestate_result *result;
	gamestate_call call;
	int64_t version = 0;

	gamestate_uuid_generate(&request);
	gamestate_call_apply_patch(&call, &patch);
	ok(gamestate_call_is_retryable(&call), "a call with a request id");
	worked(conn, gamestate_apply_patch(conn, &patch, &version), "apply_patch");
	ok(version == 2, "version 2");
	version = 0;
	worked(conn, gamestate_apply_patch(conn, &patch, &version), "the same once more");
	ok(version == 2, "has the first answer");
	patch.patch = gamestate_text("{}");
	refused(conn, gamestate_apply_patch(conn, &patch, NULL), GAMESTATE_REQUEST_REUSED);
	worked(conn, gamestate_get_state_if_newer(conn, &id, 1, &result),
		   "get_state_if_newer");
	ok(same_text(gamestate_result_state(result), "{\"b\":2}"), "it is");
	gamestate_result_free(result);
	worked(conn, gamestate_get_state_if_newer(conn, &id, 2, &result),
		   "get_state_if_newer");
	ok(gamestate_result_state(result).data == NULL, "it is not");
	gamestate_result_free(result);
	go_back(conn, &id);
}

static void
feed(gamestate_conn *conn)
{
	int64_t position = 0;
	gamestate_new_game game = {.game_type = "fed"};
	gamestate_uuid id = {{0}};
	gamestate_feed from = {.game_type = "fed", .wait = 60000};
	const gamestate_feed_row *row;
	gamestate_result *result;

	worked(conn, gamestate_feed_position(conn, &position), "feed_position");
	gamestate_create_game(conn, &game, &id);
	from.after = position;
	worked(conn, gamestate_wait_changes(conn, &from, &result), "wait_changes");
	row = gamestate_result_feed_row(result, 0);
	ok(row != NULL && row->has_game && memcmp(&row->game_id, &id, sizeof(id)) == 0 &&
		   row->version == 1 && strcmp(row->kind, "create") == 0 &&
		   strcmp(row->game_type, "fed") == 0 && !row->has_request_id,
	   "has the new game");
	row = gamestate_result_feed_row(result, gamestate_result_rows(result) - 1);
	ok(row != NULL && strcmp(row->kind, "position") == 0 && !row->has_game,
	   "and a position at its end");
	ok(gamestate_result_feed_position(result) > position, "from which to go on");
	from.after = gamestate_result_feed_position(result);
	gamestate_result_free(result);
	from.wait = 10;
	worked(conn, gamestate_wait_changes(conn, &from, &result), "wait for nothing");
	ok(gamestate_result_rows(result) == 1, "only a position");
	gamestate_result_free(result);
}

static void
presence(gamestate_conn *conn)
{
	const char *players[] = {"ann", "bob"};
	gamestate_new_game game = {.game_type = "met",
							   .state = gamestate_text("[1]"),
							   .players = players,
							   .num_players = 2};
	gamestate_uuid id = {{0}};
	gamestate_uuid token = {{0}};
	gamestate_uuid fresh = {{0}};
	gamestate_presence there;
	const gamestate_game *again;
	const gamestate_change *missed;
	gamestate_result *result;
	bool connected = false;
	gamestate_move move = {.game_id = &id, .event = gamestate_text("\"m\"")};

	gamestate_create_game(conn, &game, &id);
	refused(conn, gamestate_connect_player(conn, &id, "eve", 0, NULL),
			GAMESTATE_NOT_A_PLAYER);
	worked(conn, gamestate_connect_player(conn, &id, "ann", 60000, &token),
		   "connect_player");
	worked(conn, gamestate_heartbeat(conn, &token, &connected), "heartbeat");
	ok(connected, "ann is connected");
	worked(conn, gamestate_player_presence(conn, &id, &result), "player_presence");
	ok(gamestate_result_presence(result, 0, &there) && strcmp(there.player, "ann") == 0 &&
		   strcmp(there.presence, "connected") == 0 &&
		   there.expires_us > there.since_us && there.since_us > 0,
	   "ann is there");
	ok(gamestate_result_presence(result, 1, &there) &&
		   strcmp(there.presence, "unknown") == 0 && there.since_us == GAMESTATE_NO_TIME,
	   "of bob nothing is known");
	ok(!gamestate_result_presence(result, 2, &there), "and there is nobody else");
	gamestate_result_free(result);
	worked(conn, gamestate_disconnect_player(conn, &token, &connected),
		   "disconnect_player");
	ok(connected, "ann was connected");
	worked(conn, gamestate_heartbeat(conn, &token, &connected), "heartbeat");
	ok(!connected, "and is not any more");

	gamestate_apply_move(conn, &move, NULL);
	worked(conn, gamestate_reconnect(conn, &token, 1, &result), "reconnect");
	ok(gamestate_result_rows(result) == 2 && gamestate_result_token(result, &fresh) &&
		   memcmp(&fresh, &token, sizeof(token)) != 0,
	   "has another token");
	again = gamestate_result_game(result, 0);
	ok(again != NULL && memcmp(&again->game_id, &id, sizeof(id)) == 0 &&
		   again->version == 2 && same_text(again->state, "[1]") &&
		   again->num_players == 2,
	   "and the game");
	missed = gamestate_result_change(result, 1);
	ok(missed != NULL && missed->version == 2 && strcmp(missed->kind, "move") == 0 &&
		   same_text(missed->event, "\"m\""),
	   "and what was missed");
	ok(gamestate_result_change(result, 0) == NULL &&
		   gamestate_result_game(result, 1) == NULL,
	   "each in its rows");
	gamestate_result_free(result);
	worked(conn, gamestate_reconnect(conn, &token, 0, &result), "reconnect");
	ok(gamestate_result_rows(result) == 0 && !gamestate_result_token(result, &fresh),
	   "the old token is void");
	gamestate_result_free(result);
}

static void
rate_limits(gamestate_conn *conn)
{
	gamestate_new_game game = {.game_type = "limited"};
	gamestate_uuid id = {{0}};
	gamestate_move move = {.game_id = &id, .event = gamestate_text("1")};
	gamestate_allowed allowed;

	gamestate_sql(conn,
				  "INSERT INTO gamestate.rate_limit (name, amount, period)"
				  " VALUES ('one', 1, '1 min') ON CONFLICT DO NOTHING",
				  NULL, 0, 0, NULL);
	gamestate_sql(conn,
				  "INSERT INTO gamestate.policy (game_type, game_rate_limit)"
				  " VALUES ('limited', 'one') ON CONFLICT DO NOTHING",
				  NULL, 0, 0, NULL);
	worked(conn, gamestate_allow(conn, "key", 0.25, "one", &allowed), "allow");
	ok(allowed.allowed && allowed.remaining < 0.8, "it is allowed");
	worked(conn, gamestate_allow(conn, "key", 1, "one", &allowed), "allow");
	ok(!allowed.allowed && allowed.wait_ms > 0 && allowed.wait_ms <= 60000,
	   "it has to wait");
	worked(conn, gamestate_allow(conn, "key", 2, "one", &allowed), "allow");
	ok(!allowed.allowed && allowed.wait_ms == -1, "it never will be allowed");
	refused(conn, gamestate_allow(conn, "key", 1, "no such limit", NULL), "42704");
	ok(gamestate_error_wait_ms(gamestate_conn_error(conn)) == -1,
	   "another error has no time to wait");

	gamestate_create_game(conn, &game, &id);
	worked(conn, gamestate_apply_move(conn, &move, NULL), "apply_move");
	refused(conn, gamestate_apply_move(conn, &move, NULL), GAMESTATE_RATE_LIMITED);
	ok(gamestate_error_wait_ms(gamestate_conn_error(conn)) > 0 &&
		   gamestate_error_wait_ms(gamestate_conn_error(conn)) <= 60000,
	   "the error says how long to wait");
}

static void
rooms(gamestate_conn *conn)
{
	gamestate_new_game game = {.game_type = "open", .status = "waiting"};
	gamestate_result *result;

	gamestate_create_game(conn, &game, NULL);
	worked(conn, gamestate_open_rooms(conn, "open", 0, &result), "open_rooms");
	ok(gamestate_result_rows(result) == 1 &&
		   strcmp(gamestate_result_game(result, 0)->status, "waiting") == 0,
	   "the one that waits");
	gamestate_result_free(result);
}

int
scenario_lists(void)
{
	gamestate_conn *conn = must_connect(NULL);
	gamestate_live_filter filter = {.game_type = "listed", .without_state = true};
	gamestate_new_game game = {.game_type = "listed"};
	gamestate_result *result;

	for (int i = 0; i < 20; i++)
		gamestate_create_game(conn, &game, NULL);
	worked(conn, gamestate_list_live_games(conn, &filter, &result), "list_live_games");
	ok(gamestate_result_rows(result) == 20, "twenty");
	for (size_t i = 0; i < gamestate_result_rows(result); i++)
	{
		const gamestate_game *row = gamestate_result_game(result, i);

		if (row == NULL || row->state.data != NULL || row->num_players != 0 ||
			row->players[0] != NULL || strcmp(row->game_type, "listed") != 0)
			ok(false, "row %zu", i);
	}
	gamestate_result_free(result);
	filter.max_rows = 7;
	worked(conn, gamestate_list_live_games(conn, &filter, &result), "list_live_games");
	ok(gamestate_result_rows(result) == 7, "seven");
	gamestate_result_free(result);
	worked(conn, gamestate_list_live_games(conn, NULL, &result), "all");
	gamestate_result_free(result);
	many_moves(conn);
	put_away(conn);
	patches(conn);
	feed(conn);
	rooms(conn);
	presence(conn);
	rate_limits(conn);
	gamestate_conn_close(conn);
	return tap_done();
}

static int64_t
coins(gamestate_conn *conn)
{
	gamestate_result *result;
	int64_t value = -1;

	gamestate_sql(conn, "SELECT coins FROM wallet WHERE player = 'ann'", NULL, 0,
				  GAMESTATE_SQL_READ | GAMESTATE_SQL_PREPARE, &result);
	gamestate_result_int8(result, 0, 0, &value);
	gamestate_result_free(result);
	return value;
}

/* All of a transaction in the pipeline, without waiting for any answer. */
static void
bet(gamestate_conn *conn, const gamestate_uuid *id, int64_t version, Answer answer[4])
{
	gamestate_param params[2] = {gamestate_param_int8(50), gamestate_param_text("ann")};
	gamestate_move move = {.game_id = id,
						   .expected_version = version,
						   .event = gamestate_text("50")};
	gamestate_call call;

	memset(answer, 0, 4 * sizeof(*answer));
	gamestate_call_begin(&call);
	gamestate_conn_send(conn, &call, 0, note_answer, &answer[0]);
	gamestate_call_apply_move(&call, &move);
	gamestate_conn_send(conn, &call, 0, note_answer, &answer[1]);
	gamestate_call_sql(&call, "UPDATE wallet SET coins = coins - $1 WHERE player = $2",
					   params, 2, GAMESTATE_SQL_PREPARE);
	gamestate_conn_send(conn, &call, 0, note_answer, &answer[2]);
	gamestate_call_commit(&call);
	gamestate_conn_send(conn, &call, 0, note_answer, &answer[3]);
	run_loop(conn);
}

int
scenario_transactions(void)
{
	gamestate_conn *conn = must_connect(NULL);
	gamestate_uuid id = must_create(conn, "{}");
	int64_t version;
	Answer answer[4];

	gamestate_sql(conn, "CREATE TABLE wallet (player text, coins bigint)", NULL, 0, 0,
				  NULL);
	worked(conn,
		   gamestate_sql(conn, "INSERT INTO wallet VALUES ('ann', 100)", NULL, 0, 0,
						 NULL),
		   "a wallet");
	for (int i = 0; i < 2; i++)
	{
		bet(conn, &id, i + 1, answer);
		ok(answer[0].status == GAMESTATE_OK && answer[1].status == GAMESTATE_OK &&
			   answer[2].status == GAMESTATE_OK && answer[3].status == GAMESTATE_OK,
		   "a move and money");
	}
	ok(coins(conn) == 0, "paid twice");
	bet(conn, &id, 1, answer);
	is(answer[1].sqlstate, GAMESTATE_STALE_VERSION, "a stale move fails");
	is(answer[2].sqlstate, "25P02", "the payment fails with it");
	ok(answer[3].status == GAMESTATE_SERVER_ERROR, "and so does the commit");
	is(answer[3].sqlstate, "40000", "which has rolled back");
	ok(!gamestate_conn_in_transaction(conn), "no transaction is open");
	ok(coins(conn) == 0, "nothing was paid");

	worked(conn, gamestate_begin(conn), "begin");
	ok(gamestate_conn_in_transaction(conn), "a transaction is open");
	worked(conn,
		   gamestate_start_game(conn, &id, 0, NULL, NULL) == GAMESTATE_SERVER_ERROR
			   ? GAMESTATE_OK
			   : GAMESTATE_BAD_CALL,
		   "a failure in it");
	worked(conn, gamestate_rollback(conn), "rollback");
	ok(!gamestate_conn_in_transaction(conn), "it is over");
	worked(conn, gamestate_get_version(conn, &id, &version), "the version");
	ok(version == 3, "is 3");
	gamestate_conn_close(conn);
	return tap_done();
}

static void
check_types(gamestate_conn *conn)
{
	static const char *const texts[] = {"a", "", "\xC3\xA9"};
	int64_t numbers[] = {1, INT64_MIN, INT64_MAX};
	gamestate_uuid uuid;
	gamestate_param params[] = {
		gamestate_param_bool(true),
		gamestate_param_int4(-5),
		gamestate_param_int8(INT64_MIN),
		gamestate_param_float8(-0.1),
		gamestate_param_timestamptz(INT64_C(1700000000123456)),
		gamestate_param_uuid(NULL),
		gamestate_param_text("t\xC3\xA9xt"),
		gamestate_param_json(gamestate_text("[1, 2]")),
		gamestate_param_bytea((gamestate_data){"\0\1", 2}),
		gamestate_param_text_array(texts, 3),
		gamestate_param_int8_array(numbers, 3),
		gamestate_param_literal("12.50"),
		gamestate_param_null(),
	};
	const char *const *list;
	gamestate_result *result;
	size_t count;
	int64_t number = 0;
	double real = 0;
	bool truth = false;

	worked(conn,
		   gamestate_sql(conn,
						 "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text,"
						 " $12::numeric::text, $13::int2, 7::int2, 1.5::real, 'n'::name,"
						 " '{\"a\":1}'::jsonb, ARRAY[[1,2],[3,4]]::text[], $5::timestamp"
						 " AT TIME ZONE 'UTC'",
						 params, 13, GAMESTATE_SQL_READ | GAMESTATE_SQL_PREPARE, &result),
		   "every type there and back");
	ok(gamestate_result_bool(result, 0, 0, &truth) && truth, "bool");
	ok(gamestate_result_int8(result, 0, 1, &number) && number == -5, "int4");
	ok(gamestate_result_int8(result, 0, 2, &number) && number == INT64_MIN, "int8");
	ok(gamestate_result_float8(result, 0, 3, &real) && real == -0.1, "float8");
	ok(gamestate_result_timestamp(result, 0, 4, &number) &&
		   number == INT64_C(1700000000123456),
	   "timestamptz");
	ok(gamestate_result_is_null(result, 0, 5) &&
		   !gamestate_result_uuid(result, 0, 5, &uuid),
	   "a uuid that is NULL");
	is(gamestate_result_text(result, 0, 6), "t\xC3\xA9xt", "text");
	is(gamestate_result_text(result, 0, 7), "[1, 2]", "json");
	ok(gamestate_result_data(result, 0, 8).len == 2, "bytea");
	list = gamestate_result_text_array(result, 0, 9, &count);
	ok(list != NULL && count == 3 && strcmp(list[2], texts[2]) == 0 && list[3] == NULL,
	   "text[]");
	is(gamestate_result_text(result, 0, 10),
	   "{1,-9223372036854775808,9223372036854775807}", "int8[]");
	is(gamestate_result_text(result, 0, 11), "12.50", "a literal");
	ok(gamestate_result_is_null(result, 0, 12), "NULL");
	ok(gamestate_result_int8(result, 0, 13, &number) && number == 7, "int2");
	ok(gamestate_result_float8(result, 0, 14, &real) && real == 1.5, "float4");
	is(gamestate_result_text(result, 0, 15), "n", "name");
	is(gamestate_result_text(result, 0, 16), "{\"a\": 1}", "jsonb");
	ok(gamestate_result_text_array(result, 0, 17, &count) == NULL && count == 0,
	   "an array of two dimensions cannot be unpacked");
	ok(!gamestate_result_int8(result, 0, 0, &number) &&
		   gamestate_result_text(result, 0, 1) == NULL &&
		   gamestate_result_is_null(result, 1, 0) &&
		   gamestate_result_is_null(result, 0, 99),
	   "wrong types, rows and columns");
	gamestate_result_free(result);
}

int
scenario_sql(void)
{
	gamestate_conn *conn = must_connect(NULL);
	gamestate_param params[] = {gamestate_param_int8(1)};
	gamestate_result *result;

	check_types(conn);
	check_types(conn);
	worked(conn, gamestate_sql(conn, "SELECT $1", params, 1, GAMESTATE_SQL_PREPARE, NULL),
		   "a statement");
	worked(conn,
		   gamestate_sql(conn, "SELECT 1.5::numeric AS n, ARRAY[1] AS a", NULL, 0,
						 GAMESTATE_SQL_TEXT, &result),
		   "results as text");
	is(gamestate_result_text(result, 0, 0), "1.5", "numeric");
	is(gamestate_result_text(result, 0, 1), "{1}", "an array");
	is(gamestate_result_column_name(result, 1), "a", "a column's name");
	gamestate_result_free(result);
	worked(conn,
		   gamestate_sql(conn, "CREATE TEMP TABLE t AS SELECT generate_series(1, 5)",
						 NULL, 0, 0, &result),
		   "create a table");
	ok(gamestate_result_affected(result) == 5, "of five rows");
	gamestate_result_free(result);
	worked(conn, gamestate_sql(conn, "", NULL, 0, 0, NULL), "nothing");
	refused(conn, gamestate_sql(conn, "SELECT 1; SELECT 2", NULL, 0, 0, NULL), "42601");
	refused(conn, gamestate_sql(conn, "SELEC 1", NULL, 0, GAMESTATE_SQL_PREPARE, NULL),
			"42601");
	refused(conn, gamestate_sql(conn, "SELEC 1", NULL, 0, GAMESTATE_SQL_PREPARE, NULL),
			"42601");
	/* a table that fails when it is committed */
	gamestate_sql(conn, "CREATE TABLE once (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)",
				  NULL, 0, 0, NULL);
	refused(conn,
			gamestate_sql(conn, "INSERT INTO once VALUES (1), (1)", NULL, 0, 0, NULL),
			"23505");
	worked(conn, gamestate_sql(conn, "SELECT 1", NULL, 0, 0, NULL), "and on");
	worked(conn, gamestate_sql(conn, "DISCARD ALL", NULL, 0, 0, NULL), "DISCARD ALL");
	ok(gamestate_sql(conn, "SELECT $1", params, 1, GAMESTATE_SQL_PREPARE, NULL) ==
			   GAMESTATE_SERVER_ERROR &&
		   gamestate_error_is(gamestate_conn_error(conn), "26000") &&
		   gamestate_error_is_transient(gamestate_conn_error(conn)),
	   "a statement that the server has lost");
	worked(conn, gamestate_sql(conn, "SELECT $1", params, 1, GAMESTATE_SQL_PREPARE, NULL),
		   "is prepared anew");
	for (int i = 0; i < 300; i++)
	{
		char sql[40];

		snprintf(sql, sizeof(sql), "SELECT %d::bigint", i);
		if (gamestate_sql(conn, sql, NULL, 0, GAMESTATE_SQL_PREPARE, NULL) !=
			GAMESTATE_OK)
			ok(false, "%s", sql);
	}
	worked(conn, gamestate_sql(conn, "SELECT 299::bigint", NULL, 0, 0, NULL),
		   "more statements than are prepared");
	ok(gamestate_sql(conn, "COPY once TO STDOUT", NULL, 0, 0, NULL) ==
		   GAMESTATE_CONNECTION_LOST,
	   "COPY is not for this connection");
	ok(gamestate_conn_get_state(conn) == GAMESTATE_CONN_BROKEN, "which is broken");
	ok(gamestate_begin(conn) == GAMESTATE_NOT_CONNECTED, "and stays so");
	gamestate_conn_close(conn);
	return tap_done();
}
