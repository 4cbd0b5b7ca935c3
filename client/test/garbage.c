/*
 * garbage.c: a false server, whose answers are right, or broken in some way.
 *
 * The model: a child process accepts connections on a Unix socket, one after
 * another, gives each a correct start, waits for the first calls, sends a
 * correct stream of answers with mutations, and closes the connection.
 * Whatever arrives, each call must be answered once, and nothing may be read
 * beyond its end (the sanitizers watch).
 */
#include "lib_test.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

#define ROUNDS 3000
#define CALLS  6

typedef struct Stream
{
	unsigned char bytes[4096];
	size_t len;
} Stream;

static uint64_t
next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void
put(Stream *stream, const void *bytes, size_t len)
{
	memcpy(stream->bytes + stream->len, bytes, len);
	stream->len += len;
}

static void
put_int(Stream *stream, uint32_t value, int bytes)
{
	while (bytes-- > 0)
	{
		unsigned char byte = (unsigned char) (value >> (8 * bytes));

		put(stream, &byte, 1);
	}
}

/* A message: its type, then its length, filled in by end_message(). */
static size_t
begin_message(Stream *stream, char type)
{
	put(stream, &type, 1);
	put_int(stream, 0, 4);
	return stream->len - 4;
}

static void
end_message(Stream *stream, size_t at)
{
	size_t len = stream->len;

	stream->len = at;
	put_int(stream, (uint32_t) (len - at), 4);
	stream->len = len;
}

static void
put_empty(Stream *stream, char type)
{
	end_message(stream, begin_message(stream, type));
}

static void
put_text_message(Stream *stream, char type, const char *text, size_t len)
{
	size_t at = begin_message(stream, type);

	put(stream, text, len);
	end_message(stream, at);
}

static void
put_value(Stream *stream, uint32_t type, const void *value, size_t len)
{
	size_t at = begin_message(stream, 'T');

	put_int(stream, 1, 2);
	put(stream, "c", 2);
	put_int(stream, 0, 4);
	put_int(stream, 0, 2);
	put_int(stream, type, 4);
	put_int(stream, (uint32_t) len, 2);
	put_int(stream, UINT32_MAX, 4);
	put_int(stream, 1, 2);
	end_message(stream, at);
	at = begin_message(stream, 'D');
	put_int(stream, 1, 2);
	put_int(stream, (uint32_t) len, 4);
	put(stream, value, len);
	end_message(stream, at);
	put_text_message(stream, 'C', "SELECT 1", 9);
}

/* The correct answers to the calls of send_calls(). */
static void
make_answers(Stream *stream)
{
	static const unsigned char version[8] = {0, 0, 0, 0, 0, 0, 0, 2};
	static const unsigned char id[16] = {1, 2, 3};
	/* {a} as text[] */
	static const unsigned char array[] = {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25, 0,
										  0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 'a'};

	stream->len = 0;
	for (int i = 0; i < CALLS; i++)
	{
		put_empty(stream, '1');
		put_empty(stream, '2');
		switch (i % 4)
		{
			case 0:
				put_value(stream, 20, version, sizeof(version));
				break;
			case 1:
				put_value(stream, 2950, id, sizeof(id));
				break;
			case 2:
				put_value(stream, 1009, array, sizeof(array));
				break;
			default:
				put_text_message(stream, 'E', "SERROR\0VERROR\0CGS001\0Mstale\0", 29);
				break;
		}
		put_text_message(stream, 'Z', "I", 1);
	}
}

/* Breaks the stream in one to three places. */
static void
mutate(Stream *stream, uint64_t *random)
{
	int times = 1 + (int) (next_random(random) % 3);

	while (times-- > 0 && stream->len > 0)
	{
		size_t at = next_random(random) % stream->len;
		size_t len = next_random(random) % 8 + 1;

		if (len > stream->len - at)
			len = stream->len - at;
		switch (next_random(random) % 5)
		{
			case 0: /* a bit */
				stream->bytes[at] ^= (unsigned char) (1 << next_random(random) % 8);
				break;
			case 1: /* a byte */
				stream->bytes[at] = (unsigned char) next_random(random);
				break;
			case 2: /* cut off */
				stream->len = at;
				break;
			case 3: /* some bytes missing */
				memmove(stream->bytes + at, stream->bytes + at + len,
						stream->len - at - len);
				stream->len -= len;
				break;
			default: /* some twice */
				if (stream->len + len > sizeof(stream->bytes))
					break;
				memmove(stream->bytes + at + len, stream->bytes + at, stream->len - at);
				stream->len += len;
				break;
		}
	}
}

static void
write_all(int fd, const void *bytes, size_t len)
{
	while (len > 0)
	{
		ssize_t written = send(fd, bytes, len, MSG_NOSIGNAL);

		if (written <= 0)
			return;
		bytes = (const char *) bytes + written;
		len -= (size_t) written;
	}
}

static void
serve_one(int fd, int round, uint64_t *random)
{
	char buffer[65536];
	Stream stream = {.len = 0};

	if (read(fd, buffer, sizeof(buffer)) <= 0)
		return;
	put_text_message(&stream, 'R', "\0\0\0\0", 4);
	put_text_message(&stream, 'S', "server_version\00015.20\0", 21);
	put_text_message(&stream, 'S', "client_encoding\0UTF8\0", 21);
	put_text_message(&stream, 'K', "\0\0\0\1\0\0\0\2", 8);
	put_text_message(&stream, 'Z', "I", 1);
	write_all(fd, stream.bytes, stream.len);
	/* the whole line: it ends with the sixth Sync */
	for (size_t got = 0, syncs = 0; syncs < CALLS;)
	{
		ssize_t some = read(fd, buffer, sizeof(buffer));

		if (some <= 0)
			return;
		got += (size_t) some;
		for (ssize_t i = 0; i + 4 < some; i++)
			syncs += memcmp(buffer + i, "S\0\0\0\4", 5) == 0;
	}
	make_answers(&stream);
	if (round > 0)
		mutate(&stream, random);
	write_all(fd, stream.bytes, stream.len);
}

static void
serve(int listener)
{
	uint64_t random = UINT64_C(88172645463325252);

	for (int round = 0; round < ROUNDS; round++)
	{
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			_exit(1);
		serve_one(fd, round, &random);
		close(fd);
	}
	_exit(0);
}

/* Asks a result everything, whatever it is. */
static void
read_all(gamestate_conn *conn, gamestate_result *result, void *arg)
{
	gamestate_uuid id;
	size_t count;

	gamestate_result_state(result);
	gamestate_result_game_id(result, &id);
	gamestate_result_deleted(result);
	gamestate_result_game(result, 0);
	for (size_t row = 0; row < gamestate_result_rows(result); row++)
	{
		for (size_t column = 0; column < gamestate_result_columns(result); column++)
		{
			int64_t number;
			const char *text = gamestate_result_text(result, row, column);

			if (text != NULL && strlen(text) > 4096)
				abort();
			gamestate_result_int8(result, row, column, &number);
			gamestate_result_uuid(result, row, column, &id);
			gamestate_result_text_array(result, row, column, &count);
		}
	}
	note_answer(conn, result, arg);
}

static void
send_calls(gamestate_conn *conn, Answer log[CALLS])
{
	static const gamestate_uuid id = {{1}};
	gamestate_move move = {.game_id = &id, .event = {"1", 1}};
	gamestate_call call;

	for (int i = 0; i < CALLS; i++)
	{
		if (i % 4 == 0)
			gamestate_call_apply_move(&call, &move);
		else if (i % 4 == 1)
			gamestate_call_find_room(&call, "K7PX");
		else
			gamestate_call_sql(&call, "SELECT 1", NULL, 0, 0);
		if (gamestate_conn_send(conn, &call, 20000, read_all, &log[i]) != GAMESTATE_OK)
			log[i].times = -1;
	}
}

/* One connection; the number of calls that were not answered as they must be. */
static int
play(const char *conninfo, int round)
{
	gamestate_options options = GAMESTATE_OPTIONS_INIT;
	Answer log[CALLS] = {{0}};
	gamestate_conn *conn;
	int wrong = 0;

	options.prepare = GAMESTATE_PREPARE_NEVER;
	options.no_cancel = true;
	conn = gamestate_connect(conninfo, &options);
	if (gamestate_conn_get_state(conn) != GAMESTATE_CONN_READY)
	{
		show_error(gamestate_conn_error(conn));
		gamestate_conn_close(conn);
		return CALLS;
	}
	send_calls(conn, log);
	run_loop(conn);
	gamestate_conn_close(conn);
	for (int i = 0; i < CALLS; i++)
	{
		gamestate_status good = i % 4 == 3 ? GAMESTATE_SERVER_ERROR : GAMESTATE_OK;

		if (log[i].times != 1 || log[i].status == GAMESTATE_TIMEOUT ||
			(round == 0 && log[i].status != good))
		{
			printf("# call %d: answered %d times, status %d\n", i, log[i].times,
				   (int) log[i].status);
			wrong++;
		}
	}
	return wrong;
}

int
scenario_garbage(void)
{
	char directory[] = "/tmp/lib_test.XXXXXX";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char conninfo[200];
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	int wrong = 0;
	pid_t child;

	if (mkdtemp(directory) == NULL)
		exit(2);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.5432", directory);
	snprintf(conninfo, sizeof(conninfo),
			 "host=%s port=5432 user=u dbname=d sslmode=disable", directory);
	if (bind(listener, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		listen(listener, 5) != 0)
		exit(2);
	child = fork();
	if (child == 0)
		serve(listener);
	ok(play(conninfo, 0) == 0, "right answers");
	for (int round = 1; round < ROUNDS; round++)
		wrong += play(conninfo, round);
	ok(wrong == 0, "%d streams of broken answers: each call answered once (%d)",
	   ROUNDS - 1, wrong);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(listener);
	unlink(address.sun_path);
	rmdir(directory);
	return tap_done();
}
