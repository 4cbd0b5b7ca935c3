/*-------------------------------------------------------------------------
 *
 * writer.c
 *	  One client of the torture test: changes games until its connection is lost.
 *
 * usage: writer CONNINFO LOG WRITER-NUMBER FIRST-OPERATION SEED SHARED-GAMES on|off
 *
 * Everything that it asks the server to commit is written to the log, outside
 * the server, before it is sent, and so is the answer when it has come.  An
 * operation is a transaction; its line names everything it changes:
 *
 *	S k part|part|...	will be committed now
 *	A k					was acknowledged
 *	E k sqlstate		was refused: nothing of it may be there
 *	R k					was rolled back on purpose
 *
 * An S without an A or E was under way when the connection was lost: all of it
 * may be there, or nothing.  A part is
 *
 *	kind game version n i a b c room
 *
 * kind	c(reate), m(ove), r(oom code), f(inish), d(elete), or t: a row in an
 *		ordinary table; version is the one this part makes.  n is the balance
 *		of a shared game.  From the other numbers the checker makes the same
 *		state: see put_state().
 *
 * Sometimes a client goes away in the middle of a transaction, or when it has
 * sent its last command and not read the answer.  Then it comes back and looks:
 * what it finds has happened (A), as if it had been told, the rest has not (E).
 *
 * Private games are changed by one writer only, who knows their versions.
 * Shared games are changed by all, in pairs, and their sum stays the same.
 *
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <libpq-fe.h>

#define SLOTS	  20000
#define LIVE_MAX  40 /* private games at a time */
#define LOG_MAX	  40 /* versions after which a game is finished */
#define PARTS_MAX 64
#define STATE_MAX 100000 /* more than choose_size() can ask for */

typedef enum SlotUse
{
	SLOT_FREE = 0,
	SLOT_LIVE,
	SLOT_USED /* finished: its id is taken for good */
} SlotUse;

typedef struct Slot
{
	SlotUse use;
	int version;
	bool room;
} Slot;

typedef struct Part
{
	char kind;
	char game[37];
	int slot; /* of a private game, else -1 */
	int version;
	int n;
	int i;
	int a; /* how often the game's own word, */
	int b; /* the operation's word */
	int c; /* and the game's own word again */
	char room[32];
} Part;

static PGconn *conn;
static const char *conninfo;
static const char *synchronous_commit;
static FILE *logfile;
static int writer;
static int k;
static int nshared;
static Slot slots[SLOTS];
static Slot slots_before[SLOTS]; /* to go back to when a transaction is not committed */
static Part parts[PARTS_MAX];
static int nparts;
static int next_i;
static char state[STATE_MAX + 1000];

static unsigned
rnd(unsigned n)
{
	return (unsigned) (drand48() * n);
}

static _Noreturn void
lost(void)
{
	fclose(logfile);
	exit(0); /* what the test is about */
}

/* A server that goes says so, whether anybody has asked or not. */
static void
be_silent(void *arg, const char *message)
{
	(void) arg;
	(void) message;
}

static _Noreturn void
broken(const char *what)
{
	fprintf(stderr, "writer %d, operation %d: %s: %s\n", writer, k, what,
			PQerrorMessage(conn));
	exit(1);
}

static void note(const char *format, ...) __attribute__((format(gnu_printf, 1, 2)));

static void
note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(logfile, format, args);
	va_end(args);
	fflush(logfile);
}

/* Run; NULL when the server said no, and *code then has the SQLSTATE. */
static PGresult *
try_run(const char *sql, int nvalues, const char *const *values, char *code)
{
	PGresult *res = PQexecParams(conn, sql, nvalues, NULL, values, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(res);
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return res;
	if (PQstatus(conn) != CONNECTION_OK || sqlstate == NULL ||
		strncmp(sqlstate, "57P0", 4) == 0)
		lost();
	snprintf(code, 6, "%s", sqlstate);
	PQclear(res);
	return NULL;
}

/* Run something that must work. */
static PGresult *
run(const char *sql)
{
	char code[6];
	PGresult *res = try_run(sql, 0, NULL, code);

	if (res == NULL)
		broken(sql);
	return res;
}

static void
command(const char *sql)
{
	PQclear(run(sql));
}

/* ----------------------------------------------------------------
 *		Parts
 * ----------------------------------------------------------------
 */

static void
private_id(char *id, int slot)
{
	snprintf(id, 37, "5b0000%02d-0000-4000-8000-%012d", writer, slot);
}

static void
shared_id(char *id, int number)
{
	snprintf(id, 37, "5a000000-0000-4000-8000-%012d", number);
}

static char *
put_words(char *p, const char *word, int n)
{
	size_t len = strlen(word);

	for (int i = 0; i < n; i++, p += len)
		memcpy(p, word, len); /* NOLINT: the caller ends the string */
	return p;
}

/* The state that a part sets.  The checker makes the same one, in Perl. */
static void
put_state(const Part *part)
{
	char own[16];
	char word[64];
	char *p = state;

	snprintf(own, sizeof(own), "%s-", part->game + 28);
	snprintf(word, sizeof(word), "%d.%d.%d;", writer, k, part->i);
	p += sprintf(p, "{\"n\":%d,\"w\":%d,\"k\":%d,\"i\":%d,\"p\":\"", part->n, writer, k,
				 part->i);
	p = put_words(p, own, part->a);
	p = put_words(p, word, part->b);
	p = put_words(p, own, part->c);
	memcpy(p, "\"}", sizeof("\"}"));
}

/* Mostly small, sometimes so large that the journal needs several rows. */
static void
choose_size(Part *part)
{
	static const int scale[] = {10, 10, 100, 100, 300, 300, 800, 1500};
	int words = scale[rnd(8)];

	part->b = 1 + rnd(words);
	part->a = rnd(words);
	part->c = rnd(words);
}

static Part *
add_part(char kind, const char *game, int slot, int version)
{
	Part *part;

	if (nparts == PARTS_MAX)
	{
		fprintf(stderr, "too many parts\n");
		exit(1);
	}
	part = &parts[nparts++];
	memset(part, 0, sizeof(Part));
	part->kind = kind;
	snprintf(part->game, sizeof(part->game), "%s", game);
	part->slot = slot;
	part->version = version;
	part->i = next_i++;
	snprintf(part->room, sizeof(part->room), "-");
	return part;
}

static void
log_parts(char how)
{
	fprintf(logfile, "%c %d ", how, k);
	for (int i = 0; i < nparts; i++)
	{
		const Part *p = &parts[i];

		fprintf(logfile, "%s%c %s %d %d %d %d %d %d %s", i ? "|" : "", p->kind, p->game,
				p->version, p->n, p->i, p->a, p->b, p->c, p->room);
	}
	note("\n");
}

/* Send the call of a part; false: refused. */
static bool
send_part(Part *part, char *code)
{
	char version[16];
	char event[96];
	char player[32];
	const char *values[8];
	PGresult *res = NULL;

	snprintf(version, sizeof(version), "%d", part->version - 1);
	snprintf(event, sizeof(event), "{\"w\":%d,\"k\":%d,\"i\":%d}", writer, k, part->i);
	values[0] = part->game;
	values[1] = version;
	switch (part->kind)
	{
		case 'c':
			put_state(part);
			snprintf(player, sizeof(player), "{p%d}", part->slot % 7);
			values[1] = state;
			values[2] = strcmp(part->room, "-") == 0 ? NULL : part->room;
			values[3] = event;
			values[4] = player;
			values[5] = writer == 3 ? "kept" : writer % 2 ? "odd" : "even";
			res = try_run("SELECT gamestate.create_game($6, $2, $5::text[], $3, $4, $1)",
						  6, values, code);
			break;
		case 'm':
			put_state(part);
			values[2] = event;
			values[3] = state;
			res = try_run("SELECT gamestate.apply_move($1, $2, $3, $4)", 4, values, code);
			break;
		case 'r':
			values[2] = strcmp(part->room, "-") == 0 ? NULL : part->room;
			res = try_run("SELECT gamestate.set_room_code($1, $3, $2)", 3, values, code);
			break;
		case 'f':
			values[2] = event;
			res = try_run("SELECT gamestate.finish_game($1, $3, $2)", 3, values, code);
			break;
		case 'd':
			res = try_run("SELECT gamestate.delete_game($1, $2)", 2, values, code);
			break;
		case 't':
			values[0] = event;
			res = try_run(
				"INSERT INTO public.row_of SELECT (j->>'w')::int, (j->>'k')::int, (j->>'i')::int FROM CAST($1 AS json) j",
				1, values, code);
			break;
	}
	if (res == NULL)
		return false;
	if (part->kind == 'm' && atoi(PQgetvalue(res, 0, 0)) != part->version)
		broken("unexpected version");
	PQclear(res);
	return true;
}

/* ----------------------------------------------------------------
 *		Transactions
 * ----------------------------------------------------------------
 */

static void
begin(void)
{
	k++;
	nparts = 0;
	next_i = 0;
	memcpy(slots_before, slots, sizeof(slots));
}

/* Any isolation level; sometimes with what makes commits more involved. */
static void
begin_block(void)
{
	static const char *const how[] = {"BEGIN", "BEGIN", "BEGIN",
									  "BEGIN ISOLATION LEVEL REPEATABLE READ",
									  "BEGIN ISOLATION LEVEL SERIALIZABLE"};

	command(how[rnd(5)]);
	if (rnd(20) == 0)
		command("NOTIFY torture");
}

static void
refused(const char *code)
{
	/* deadlock, stale version, room taken, out of memory, lock timeout */
	static const char *const expected[] = {"40P01", "GS001", "GS004", "GS006",
										   "55P03", "40001", "08006"};

	memcpy(slots, slots_before, sizeof(slots));
	note("E %d %s\n", k, code);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		if (strcmp(code, expected[i]) == 0)
			return;
	broken("refused");
}

/* The last part added, as a transaction of its own. */
static void
single(void)
{
	char code[6];

	log_parts('S');
	if (send_part(&parts[0], code))
		note("A %d\n", k);
	else
		refused(code);
}

/* In a transaction block: send the last part added; false: it is over. */
static bool
in_block(void)
{
	char code[6];

	if (send_part(&parts[nparts - 1], code))
		return true;
	command("ROLLBACK");
	refused(code);
	return false;
}

static void
commit(void)
{
	char code[6];
	PGresult *res;

	log_parts('S');
	res = try_run("COMMIT", 0, NULL, code);
	if (res == NULL)
	{
		refused(code);
		return;
	}
	if (strcmp(PQcmdStatus(res), "COMMIT") != 0)
		broken("COMMIT did not commit");
	PQclear(res);
	note("A %d\n", k);
}

static void
rollback(void)
{
	log_parts('R');
	command("ROLLBACK");
	memcpy(slots, slots_before, sizeof(slots));
}

/* ----------------------------------------------------------------
 *		Private games
 * ----------------------------------------------------------------
 */

static int
live_count(void)
{
	int n = 0;

	for (int i = 0; i < SLOTS; i++)
		n += slots[i].use == SLOT_LIVE;
	return n;
}

static int
pick(void)
{
	int n = live_count();
	int want;

	if (n == 0)
		return -1;
	want = rnd(n);
	for (int i = 0; i < SLOTS; i++)
		if (slots[i].use == SLOT_LIVE && want-- == 0)
			return i;
	return -1;
}

static void
add_move(int slot)
{
	char id[37];

	private_id(id, slot);
	choose_size(add_part('m', id, slot, ++slots[slot].version));
}

static void
add_creation(int slot)
{
	char id[37];
	Part *part;

	private_id(id, slot);
	part = add_part('c', id, slot, 1);
	choose_size(part);
	if (rnd(3) == 0)
		snprintf(part->room, sizeof(part->room), "room %d-%d", writer, slot);
	slots[slot] = (Slot){SLOT_LIVE, 1, part->room[0] != '-'};
}

static void
op_create(void)
{
	int slot = 0;

	if (live_count() >= LIVE_MAX)
		return;
	while (slot < SLOTS - 1 && slots[slot].use != SLOT_FREE)
		slot++;
	begin();
	add_creation(slot);
	single();
}

static void
op_move(void)
{
	int slot = pick();

	if (slot < 0)
		return;
	begin();
	add_move(slot);
	single();
}

static void
op_room(void)
{
	int slot = pick();
	char id[37];
	Part *part;

	if (slot < 0)
		return;
	begin();
	private_id(id, slot);
	part = add_part('r', id, slot, ++slots[slot].version);
	if (!slots[slot].room)
		snprintf(part->room, sizeof(part->room), "room %d-%d", writer, slot);
	slots[slot].room = !slots[slot].room;
	single();
}

static void
op_finish(void)
{
	int slot = pick();
	char id[37];

	if (slot < 0 || slots[slot].version < LOG_MAX / 2)
		return;
	begin();
	private_id(id, slot);
	add_part('f', id, slot, ++slots[slot].version);
	slots[slot].use = SLOT_USED;
	single();
}

static void
op_delete(void)
{
	int slot = pick();
	char id[37];

	if (slot < 0)
		return;
	begin();
	private_id(id, slot);
	add_part('d', id, slot, slots[slot].version + 1);
	slots[slot].use = SLOT_FREE;
	single();
}

/* A deleted id is used again in the same transaction. */
static void
op_replace(void)
{
	int slot = pick();
	char id[37];

	if (slot < 0)
		return;
	begin();
	begin_block();
	private_id(id, slot);
	add_part('d', id, slot, slots[slot].version + 1);
	if (!in_block())
		return;
	add_creation(slot);
	if (!in_block())
		return;
	commit();
}

static void
op_row(void)
{
	int slot = pick();
	bool first = rnd(2);

	if (slot < 0)
		return;
	begin();
	begin_block();
	if (first)
	{
		add_part('t', "-", -1, 0);
		if (!in_block())
			return;
	}
	add_move(slot);
	if (!in_block())
		return;
	if (!first)
	{
		add_part('t', "-", -1, 0);
		if (!in_block())
			return;
	}
	commit();
}

static void
op_many(void)
{
	int n = 3 + rnd(20);

	begin();
	begin_block();
	for (int i = 0; i < n; i++)
	{
		int slot = pick();

		if (slot < 0)
			break;
		add_move(slot);
		if (!in_block())
			return;
	}
	commit();
}

/* What is done after a savepoint and rolled back to it leaves no part. */
static void
op_savepoint(void)
{
	int slot = pick();
	int other = pick();
	Slot was;
	Slot other_was;
	int kept;

	if (slot < 0)
		return;
	begin();
	begin_block();
	add_move(slot);
	if (!in_block())
		return;
	command("SAVEPOINT a");
	was = slots[slot];
	other_was = slots[other];
	kept = nparts;
	add_move(slot);
	if (!in_block())
		return;
	add_move(other);
	if (!in_block())
		return;
	add_part('t', "-", -1, 0);
	if (!in_block())
		return;
	if (rnd(3) > 0)
	{
		command("ROLLBACK TO a");
		slots[slot] = was;
		slots[other] = other_was;
		nparts = kept;
	}
	else
		command("RELEASE a");
	add_move(other);
	if (!in_block())
		return;
	commit();
}

static void
op_rollback(void)
{
	int slot = pick();

	if (slot < 0)
		return;
	begin();
	begin_block();
	add_move(slot);
	if (!in_block())
		return;
	add_part('t', "-", -1, 0);
	if (!in_block())
		return;
	rollback();
}

/* Two transactions in one call: a procedure's COMMIT. */
static void
op_procedure(void)
{
	int slot = pick();
	char id[37];
	char sql[400];
	char code[6];
	PGresult *res;
	int first;

	if (slot < 0)
		return;
	private_id(id, slot);
	begin();
	add_part('m', id, slot, ++slots[slot].version);
	log_parts('S');
	first = k;
	k++;
	nparts = next_i = 0;
	add_part('m', id, slot, ++slots[slot].version);
	log_parts('S');
	snprintf(sql, sizeof(sql), "CALL public.two_moves('%s', %d, %d, %d)", id,
			 slots[slot].version - 2, writer, first);
	res = try_run(sql, 0, NULL, code);
	if (res == NULL)
		broken("procedure");
	PQclear(res);
	note("A %d\nA %d\n", first, k);
}

/* ----------------------------------------------------------------
 *		Shared games
 * ----------------------------------------------------------------
 */

/* Take n from one and give it to the other; the versions read before must still hold. */
static void
op_transfer(void)
{
	int from = rnd(nshared);
	int to = (from + 1 + rnd(nshared - 1)) % nshared;
	int amount = 1 + rnd(10);
	char ids[2][37];
	const char *values[2] = {ids[0], ids[1]};
	char code[6];
	PGresult *res;
	int version[2];
	int n[2];

	shared_id(ids[0], from);
	shared_id(ids[1], to);
	begin();
	res = try_run("SELECT (a).version, (a).state->>'n', (b).version, (b).state->>'n' "
				  "FROM gamestate.get_game($1) a, gamestate.get_game($2) b",
				  2, values, code);
	if (res == NULL || PQntuples(res) != 1)
		broken("shared game");
	for (int i = 0; i < 2; i++)
	{
		version[i] = atoi(PQgetvalue(res, 0, 2 * i));
		n[i] = atoi(PQgetvalue(res, 0, 2 * i + 1));
	}
	PQclear(res);
	n[0] -= amount;
	n[1] += amount;
	begin_block();
	for (int i = 0; i < 2; i++)
	{
		Part *part = add_part('m', ids[i], -1, version[i] + 1);

		choose_size(part);
		part->n = n[i];
		if (!in_block())
			return;
	}
	if (rnd(20) == 0)
		rollback();
	else
		commit();
}

/* ----------------------------------------------------------------
 *		Going away
 * ----------------------------------------------------------------
 */

static void
connect_to_server(void)
{
	char sql[64];

	conn = PQconnectdb(conninfo);
	if (PQstatus(conn) != CONNECTION_OK)
		lost();
	PQsetNoticeProcessor(conn, be_silent, NULL);
	command("SET lock_timeout = '5s'");
	command("SET client_min_messages = error");
	snprintf(sql, sizeof(sql), "SET synchronous_commit = %s", synchronous_commit);
	command(sql);
	/* some go the other way to commit */
	if (writer % 3 == 0)
		command("SELECT set_config(name, 'off', false) FROM pg_settings "
				"WHERE name = 'gamestate.light_commit'");
}

/* Without a word; then wait until the server has noticed. */
static void
hang_up(void)
{
	char sql[100];
	int pid = PQbackendPID(conn);

	shutdown(PQsocket(conn), SHUT_RDWR);
	PQfinish(conn);
	connect_to_server();
	snprintf(sql, sizeof(sql), "SELECT 1 FROM pg_stat_activity WHERE pid = %d", pid);
	for (int i = 0; i < 3000; i++)
	{
		PGresult *res = run(sql);
		int n = PQntuples(res);

		PQclear(res);
		if (n == 0)
			return;
		command("SELECT pg_sleep(0.01)");
	}
	broken("a session does not end");
}

/* Is the operation there?  Its first part is a move. */
static void
find_out(void)
{
	char version[16];
	char mark[96];
	const char *values[3] = {parts[0].game, version, mark};
	char code[6];
	PGresult *res;

	snprintf(version, sizeof(version), "%d", parts[0].version - 1);
	snprintf(mark, sizeof(mark), "%d.%d.%d", writer, k, parts[0].i);
	res = try_run(
		"SELECT 1 FROM gamestate.get_changes($1, $2, 1) c WHERE "
		"(c.event->>'w') || '.' || (c.event->>'k') || '.' || (c.event->>'i') = $3",
		3, values, code);
	if (res == NULL)
		broken("changes");
	if (PQntuples(res) > 0)
		note("A %d\n", k);
	else
		refused("08006");
	PQclear(res);
}

static void
op_hang_up(void)
{
	int slot = pick();
	bool in_the_middle = rnd(3) == 0;
	int n = 1 + rnd(3);

	if (slot < 0)
		return;
	begin();
	begin_block();
	for (int i = 0; i < n; i++)
	{
		add_move(slot);
		if (!in_block())
			return;
	}
	if (rnd(3) == 0)
	{
		add_part('t', "-", -1, 0);
		if (!in_block())
			return;
	}
	if (in_the_middle)
	{
		log_parts('R');
		memcpy(slots, slots_before, sizeof(slots));
		hang_up();
		return;
	}
	log_parts('S');
	if (!PQsendQuery(conn, "COMMIT"))
		lost();
	hang_up();
	find_out();
}

/* ----------------------------------------------------------------
 *		The whole
 * ----------------------------------------------------------------
 */

static void
find_my_games(void)
{
	char sql[800];
	PGresult *res;

	snprintf(
		sql, sizeof(sql),
		"SELECT right(game_id::text, 12), version, room_code IS NOT NULL, ended_at IS NOT NULL FROM gamestate.list_live_games() "
		"WHERE game_id::text LIKE '5b0000%02d-%%' "
		"UNION ALL SELECT right(game_id::text, 12), 0, false, true FROM gamestate.archive "
		"WHERE game_id::text LIKE '5b0000%02d-%%'",
		writer, writer);
	res = run(sql);
	for (int i = 0; i < PQntuples(res); i++)
	{
		Slot *slot = &slots[atoi(PQgetvalue(res, i, 0))];

		slot->version = atoi(PQgetvalue(res, i, 1));
		slot->room = *PQgetvalue(res, i, 2) == 't';
		slot->use = *PQgetvalue(res, i, 3) == 't' ? SLOT_USED : SLOT_LIVE;
	}
	PQclear(res);
}

static void
step(void)
{
	unsigned what = rnd(100);

	if (what < 28)
		op_move();
	else if (what < 48 && nshared > 1)
		op_transfer();
	else if (what < 60)
		op_row();
	else if (what < 68)
		op_savepoint();
	else if (what < 72)
		op_rollback();
	else if (what < 78)
		op_create();
	else if (what < 80)
		op_delete();
	else if (what < 82)
		op_replace();
	else if (what < 88)
		op_finish();
	else if (what < 92)
		op_room();
	else if (what < 95)
		op_many();
	else if (what < 97)
		op_hang_up();
	else
		op_procedure();
}

int
main(int argc, char **argv)
{
	if (argc != 8)
	{
		fprintf(
			stderr,
			"usage: writer CONNINFO LOG WRITER FIRST-OPERATION SEED SHARED-GAMES on|off\n");
		return 2;
	}
	conninfo = argv[1];
	logfile = fopen(argv[2], "a");
	writer = atoi(argv[3]);
	k = atoi(argv[4]);
	srand48(atol(argv[5]));
	nshared = atoi(argv[6]);
	synchronous_commit = strcmp(argv[7], "off") == 0 ? "off" : "on";
	if (logfile == NULL)
		broken("cannot start");
	connect_to_server();
	find_my_games();
	for (;;)
		step();
}
