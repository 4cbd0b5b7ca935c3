/*-------------------------------------------------------------------------
 *
 * gs_anonymise.c
 *	  anonymise_player(): replacing a player's id wherever it stands.
 *
 * The model:
 *	1. A procedure, because it commits as it goes: an archive of years does not
 *	   fit into a transaction.  A row of gamestate.erasure has the pseudonym, how
 *	   far it is, and what was done.  A call for a player whose erasure is not done
 *	   goes on with it.
 *	2. The phases, in this order (Phase): successors are made for dictionaries that
 *	   have the id (gs_anonymise_dictionary.c); live games are changed
 *	   (gs_anonymise_game.c), so that nothing with the id comes into the archive any
 *	   more; then the tables (gs_anonymise_rows.c), of which what is archived after
 *	   that needs nothing; the old dictionaries are removed; statistics are
 *	   given to the pseudonym; suspended games, dead letters and live games are gone
 *	   through once more, since games go from the one to the other; and at the end
 *	   what was saved of live games for pg_dump (gs_anonymise_saved.c).  A frozen
 *	   partition is done as a whole (gs_anonymise_frozen.c).
 *	3. Where something must not be in use any more (a dictionary by a batch, or by
 *	   somebody who reads with an old snapshot) it waits for the transactions that
 *	   were there before.
 *	4. Each step finds nothing to do if it was done already, so a step that a crash
 *	   has undone or cut off is simply done again.
 *
 * SQL is run as the owner of our tables.  The role is the caller's at each
 * commit.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_anonymise.h"
#include "gs_cold.h"
#include "gs_database.h"
#include "gs_durable.h"
#include "gs_owner.h"
#include "gs_save.h"
#include "gs_target.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/pquery.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

PG_FUNCTION_INFO_V1(gs_anonymise_player);

/* Live games changed, and looked at, in a transaction. */
#define LIVE_CHANGED 50
#define LIVE_LOOKED	 5000

#define PSEUDONYM_PREFIX "anonymous-"
#define PSEUDONYM_BYTES	 8 /* random, in hexadecimal digits */

/* Each is followed by the next one.  Stored by name. */
typedef enum Phase
{
	PHASE_DICTIONARIES,
	PHASE_LIVE,
	PHASE_TABLES,
	PHASE_OLD_DICTIONARIES,
	PHASE_STATISTICS,
	PHASE_LIVE_AGAIN,
	PHASE_SAVED,
	PHASE_DONE
} Phase;

static const char *const phase_names[] = {"dictionaries", "live games",
										  "tables",		  "old dictionaries",
										  "statistics",	  "live games again",
										  "saved games",  "done"};

typedef struct Run
{
	GsAnonymise a;
	MemoryContext mcxt;
	Phase phase;
	Oid table; /* PHASE_TABLES: the last one begun; InvalidOid = none */
	bool in_table;
	bool has_position;
	pg_uuid_t position;
	int64 statistics;
	int kept_dictionaries;
} Run;

/* ----------------------------------------------------------------
 *		Its row
 * ----------------------------------------------------------------
 */

static void
run_sql(const char *statement, int expected, int nargs, Oid *types, Datum *values,
		const char *nulls)
{
	int result = SPI_execute_with_args(statement, nargs, types, values, nulls, false, 0);

	if (result != expected)
		elog(ERROR, "unexpected result %d of: %s", result, statement);
}

static Datum
to_text(const GsText *t)
{
	return PointerGetDatum(cstring_to_text_with_len(t->data, t->len));
}

static Datum
dictionaries_array(const GsAnonymise *a)
{
	int n = a->ndictionaries * 2;
	Datum *numbers = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < a->ndictionaries; i++)
	{
		numbers[2 * i] = Int32GetDatum(a->dictionaries[i].number);
		numbers[2 * i + 1] = Int32GetDatum(a->dictionaries[i].clean);
	}
	return PointerGetDatum(
		construct_array(numbers, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

static void
take_dictionaries(Run *run, ArrayType *array)
{
	Datum *numbers;
	bool *nulls;
	int n;

	deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT, &numbers, &nulls,
					  &n);
	run->a.ndictionaries = n / 2;
	run->a.dictionaries =
		MemoryContextAlloc(run->mcxt, sizeof(GsDictionaryPair) * Max(n / 2, 1));
	for (int i = 0; i < n / 2; i++)
		run->a.dictionaries[i] = (GsDictionaryPair){DatumGetInt32(numbers[2 * i]),
													DatumGetInt32(numbers[2 * i + 1])};
}

/* As the owner of the table, connected to SPI. */
static void
save_progress(const Run *run)
{
	const GsAnonymiseCounts *counts = &run->a.counts;
	Oid types[] = {INT4OID, TEXTOID, OIDOID,  UUIDOID, INT4ARRAYOID, INT8OID, INT8OID,
				   INT8OID, INT8OID, INT8OID, INT8OID, INT4OID,		 INT8OID};
	Datum values[13];
	char nulls[] = "             ";

	values[0] = Int32GetDatum(run->a.number);
	values[1] = CStringGetTextDatum(phase_names[run->phase]);
	values[2] = ObjectIdGetDatum(run->table);
	values[3] = UUIDPGetDatum(&run->position);
	nulls[2] = OidIsValid(run->table) ? ' ' : 'n';
	nulls[3] = run->has_position ? ' ' : 'n';
	values[4] = dictionaries_array(&run->a);
	values[5] = Int64GetDatum(counts->live);
	values[6] = Int64GetDatum(counts->rows);
	values[7] = Int64GetDatum(counts->payloads);
	values[8] = Int64GetDatum(counts->opaque);
	values[9] = Int64GetDatum(counts->damaged);
	values[10] = Int64GetDatum(run->statistics);
	values[11] = Int32GetDatum(run->kept_dictionaries);
	values[12] = Int64GetDatum(counts->saved);
	run_sql("UPDATE gamestate.erasure SET phase = $2, table_id = $3, last_game = $4, "
			"dictionaries = $5, live_games = $6, rows = $7, payloads = $8, "
			"opaque_payloads = $9, damaged_payloads = $10, player_stats = $11, "
			"kept_dictionaries = $12, saved_games = $13, updated_at = clock_timestamp(), "
			"done_at = CASE $2 WHEN 'done' THEN clock_timestamp() END, "
			"player = CASE $2 WHEN 'done' THEN NULL ELSE player END WHERE number = $1",
			SPI_OK_UPDATE, lengthof(types), types, values, nulls);
}

static void
take_row(Run *run, HeapTuple tuple, TupleDesc desc)
{
	MemoryContext old = MemoryContextSwitchTo(run->mcxt);
	GsAnonymiseCounts *counts = &run->a.counts;
	char *phase = SPI_getvalue(tuple, desc, 2);
	char *pseudonym = SPI_getvalue(tuple, desc, 3);
	int64 *const numbers[] = {&counts->live,   &counts->rows,	 &counts->payloads,
							  &counts->opaque, &counts->damaged, &run->statistics,
							  &counts->saved};
	bool null;
	Datum value;

	run->a.number = DatumGetInt32(SPI_getbinval(tuple, desc, 1, &null));
	run->phase = PHASE_DICTIONARIES;
	for (int i = 0; i < (int) lengthof(phase_names); i++)
		if (strcmp(phase, phase_names[i]) == 0)
			run->phase = (Phase) i;
	run->a.pseudonym = (GsText){pseudonym, strlen(pseudonym)};
	run->a.documents = DatumGetBool(SPI_getbinval(tuple, desc, 4, &null));
	value = SPI_getbinval(tuple, desc, 5, &null);
	run->table = null ? InvalidOid : DatumGetObjectId(value);
	run->in_table = !null;
	value = SPI_getbinval(tuple, desc, 6, &null);
	run->has_position = !null;
	if (!null)
		run->position = *DatumGetUUIDP(value);
	take_dictionaries(run, DatumGetArrayTypeP(SPI_getbinval(tuple, desc, 7, &null)));
	for (int i = 0; i < (int) lengthof(numbers); i++)
		*numbers[i] = DatumGetInt64(SPI_getbinval(tuple, desc, 8 + i, &null));
	MemoryContextSwitchTo(old);
}

#define SELECTED                                                                    \
	"number, phase, pseudonym, documents, table_id, last_game, dictionaries, "      \
	"live_games, rows, payloads, opaque_payloads, damaged_payloads, player_stats, " \
	"saved_games"

static char *
make_pseudonym(void)
{
	unsigned char bytes[PSEUDONYM_BYTES];
	char *result = palloc(strlen(PSEUDONYM_PREFIX) + 2 * PSEUDONYM_BYTES + 1);
	char *p = result + sprintf(result, "%s", PSEUDONYM_PREFIX);

	if (!pg_strong_random(bytes, sizeof(bytes)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	for (int i = 0; i < PSEUDONYM_BYTES; i++)
		p += sprintf(p, "%02x", bytes[i]);
	return result;
}

/* Take up an erasure of this player that is not done, or begin one. */
static void
open_run(Run *run)
{
	GsOwnerAccess access;
	Oid types[] = {TEXTOID, TEXTOID, BOOLOID};
	Datum values[3];

	/* two at once would each take a pseudonym of their own */
	gs_owner_begin(&access, "erasure", ShareRowExclusiveLock);
	values[0] = to_text(&run->a.player);
	run_sql("SELECT " SELECTED
			" FROM gamestate.erasure WHERE player = $1 ORDER BY number LIMIT 1",
			SPI_OK_SELECT, 1, types, values, NULL);
	if (SPI_processed == 0)
	{
		values[1] = CStringGetTextDatum(make_pseudonym());
		values[2] = BoolGetDatum(run->a.documents);
		run_sql("INSERT INTO gamestate.erasure (player, pseudonym, documents) "
				"VALUES ($1, $2, $3) RETURNING " SELECTED,
				SPI_OK_INSERT_RETURNING, 3, types, values, NULL);
	}
	take_row(run, SPI_tuptable->vals[0], SPI_tuptable->tupdesc);
	gs_owner_end(&access);
}

/* ----------------------------------------------------------------
 *		Transactions
 * ----------------------------------------------------------------
 */

static void
commit(void)
{
	SPI_commit();
	EnsurePortalSnapshotExists();
	gs_begin_write("anonymise_player()");
}

static void
save_and_commit(const Run *run)
{
	GsOwnerAccess access;

	gs_owner_begin(&access, "erasure", RowExclusiveLock);
	save_progress(run);
	gs_owner_end(&access);
	commit();
}

/* Until nobody has a snapshot that was taken before now. */
static void
wait_for_older(void)
{
	VirtualTransactionId *older;
	int n;

	older = GetCurrentVirtualXIDs(InvalidTransactionId, true, false,
								  PROC_IS_AUTOVACUUM | PROC_IN_VACUUM, &n);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		(void) VirtualXactLock(older[i], true);
	}
}

/* ----------------------------------------------------------------
 *		Phases
 * ----------------------------------------------------------------
 */

static void
dictionaries(Run *run)
{
	GsOwnerAccess access;

	gs_owner_begin(&access, "dictionary", RowExclusiveLock);
	gs_anonymise_dictionaries(&run->a);
	take_dictionaries(run, DatumGetArrayTypeP(dictionaries_array(&run->a)));
	gs_owner_end(&access);
}

static void
live_games(Run *run)
{
	MemoryContext old = MemoryContextSwitchTo(run->mcxt);
	int n;
	pg_uuid_t *ids = gs_table_ids(&n);
	int changed = 0;

	MemoryContextSwitchTo(old);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (gs_anonymise_live(&run->a, &ids[i]))
		{
			run->a.counts.live++;
			changed++;
		}
		if (changed == LIVE_CHANGED || (i + 1) % LIVE_LOOKED == 0)
		{
			save_and_commit(run);
			changed = 0;
		}
	}
	pfree(ids);
}

/*
 * Tables with games that are over or put away: partitions, detached ones too,
 * and tables of ours.
 */
#define TABLES                                                                          \
	"SELECT c.oid, c.oid::regclass::text, "                                             \
	"CASE WHEN c.relkind = 'r' AND has_table_privilege(c.oid, 'SELECT') "               \
	"AND has_table_privilege(c.oid, 'UPDATE') THEN 'table' "                            \
	"WHEN pg_has_role(c.relowner, 'USAGE') AND EXISTS (SELECT FROM pg_foreign_table t " \
	"JOIN pg_foreign_server s ON s.oid = t.ftserver WHERE t.ftrelid = c.oid "           \
	"AND s.srvname = '" GS_COLD_SERVER "') THEN 'frozen' END AS way "                   \
	"FROM pg_class c WHERE c.relkind IN ('r', 'f') "                                    \
	"AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid "                  \
	"AND a.attname = 'game_id' AND a.atttypid = 'uuid'::regtype) "                      \
	"AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid "                  \
	"AND (a.attname = 'players' AND a.atttypid = 'text[]'::regtype "                    \
	"OR a.attname = 'payload' AND a.atttypid = 'bytea'::regtype)) "                     \
	"AND (c.relnamespace = 'gamestate_partitions'::regnamespace "                       \
	"OR c.oid IN (SELECT relid FROM pg_partition_tree('gamestate.archive') "            \
	"UNION SELECT relid FROM pg_partition_tree('gamestate.archive_payload')) "          \
	"OR c.oid IN (to_regclass('gamestate.suspended'), to_regclass('gamestate.dead_letter'))) "

/* Games may have come from these, or gone to them, while it went on. */
#define SMALL_TABLES "AND c.relnamespace = 'gamestate'::regnamespace "

/* The table to go on with; false if there is none left.  Those out of reach are passed. */
static bool
next_table(Run *run, bool small, bool *frozen)
{
	Oid types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(run->table)};
	bool null;
	Oid relid;

	run_sql(psprintf(TABLES "%s AND c.oid %s $1 ORDER BY c.oid",
					 small ? SMALL_TABLES : "", run->in_table ? ">=" : ">"),
			SPI_OK_SELECT, 1, types, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];

		char *way = SPI_getvalue(tuple, SPI_tuptable->tupdesc, 3);

		relid = DatumGetObjectId(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &null));
		if (way == NULL)
			continue;
		*frozen = strcmp(way, "frozen") == 0;
		if (relid != run->table || !run->in_table)
			run->has_position = false;
		run->table = relid;
		run->in_table = true;
		return true;
	}
	return false;
}

/* A frozen partition; the report is to say it if it cannot be done. */
static void
frozen_partition(Run *run)
{
	Oid types[] = {INT4OID, OIDOID, TEXTOID};
	Datum values[3];
	const char *wrong = gs_anonymise_frozen(&run->a, run->table);

	if (wrong == NULL)
		return;
	values[0] = Int32GetDatum(run->a.number);
	values[1] = ObjectIdGetDatum(run->table);
	values[2] = CStringGetTextDatum(wrong);
	run_sql("UPDATE gamestate.erasure SET not_reached = not_reached || "
			"format('frozen partition %s: %s', $2::regclass, $3) WHERE number = $1",
			SPI_OK_UPDATE, 3, types, values, NULL);
}

/* Some rows of some table, in a transaction; false if there was no table left. */
static bool
some_rows(Run *run, bool small)
{
	GsOwnerAccess access;
	bool frozen = false;
	bool any;

	gs_owner_begin(&access, "archive", AccessShareLock);
	any = next_table(run, small, &frozen);
	if (any && frozen)
	{
		frozen_partition(run);
		run->in_table = false;
	}
	else if (any)
		run->in_table =
			gs_anonymise_rows(&run->a, run->table, &run->has_position, &run->position);
	gs_owner_end(&access);
	return any;
}

static void
tables(Run *run, bool small)
{
	while (some_rows(run, small))
		save_and_commit(run);
	run->table = InvalidOid;
	run->in_table = run->has_position = false;
}

static void
saved_games(Run *run)
{
	bool more = true;

	while (more)
	{
		GsOwnerAccess access;

		gs_saved_begin(&access);
		more = gs_anonymise_saved(&run->a, &run->has_position, &run->position);
		gs_owner_end(&access);
		save_and_commit(run);
	}
	run->has_position = false;
}

static void
old_dictionaries(Run *run)
{
	GsOwnerAccess access;

	if (run->a.ndictionaries == 0)
		return;
	wait_for_older();
	gs_owner_begin(&access, "dictionary", RowExclusiveLock);
	run->kept_dictionaries = gs_anonymise_drop_dictionaries(&run->a);
	gs_owner_end(&access);
}

static const char *const statistics_updates[] = {
	"WITH gone AS (DELETE FROM gamestate.player_stats WHERE player = $1 RETURNING *) "
	"INSERT INTO gamestate.player_stats AS s SELECT game_type, $2, games, wins, losses, "
	"draws, last_played, counters FROM gone ON CONFLICT (game_type, player) DO UPDATE SET "
	"games = s.games + excluded.games, wins = s.wins + excluded.wins, "
	"losses = s.losses + excluded.losses, draws = s.draws + excluded.draws, "
	"last_played = greatest(s.last_played, excluded.last_played), "
	"counters = gamestate.add_counters(s.counters, excluded.counters)",
	"UPDATE gamestate.hook_error SET message = replace(message, $1, $2), "
	"detail = replace(detail, $1, $2), context = replace(context, $1, $2) "
	"WHERE position($1 IN concat(message, ' ', detail, ' ', context)) > 0",
};

/* What a failure that is told of may have quoted. */
static const char dead_letters[] =
	"UPDATE gamestate.dead_letter SET error_message = replace(error_message, $1, $2), "
	"error_context = replace(error_context, $1, $2) "
	"WHERE position($1 IN concat(error_message, ' ', error_context)) > 0";

static void
statistics(Run *run)
{
	GsOwnerAccess access;
	Oid types[] = {TEXTOID, TEXTOID};
	Datum values[] = {to_text(&run->a.player), to_text(&run->a.pseudonym)};

	gs_owner_begin(&access, "player_stats", RowExclusiveLock);
	run_sql(statistics_updates[0], SPI_OK_INSERT, 2, types, values, NULL);
	run->statistics += SPI_processed;
	run_sql(statistics_updates[1], SPI_OK_UPDATE, 2, types, values, NULL);
	run_sql(
		"SELECT FROM pg_attribute WHERE attrelid = to_regclass('gamestate.dead_letter') "
		"AND attname IN ('error_message', 'error_context')",
		SPI_OK_SELECT, 0, NULL, NULL, NULL);
	if (SPI_processed == 2)
		run_sql(dead_letters, SPI_OK_UPDATE, 2, types, values, NULL);
	gs_owner_end(&access);
}

static void
do_phase(Run *run)
{
	switch (run->phase)
	{
		case PHASE_DICTIONARIES:
			dictionaries(run);
			break;
		case PHASE_LIVE:
			wait_for_older(); /* batches with the old dictionaries */
			live_games(run);
			break;
		case PHASE_LIVE_AGAIN:
			tables(run, true);
			live_games(run);
			break;
		case PHASE_TABLES:
			tables(run, false);
			break;
		case PHASE_OLD_DICTIONARIES:
			old_dictionaries(run);
			break;
		case PHASE_STATISTICS:
			statistics(run);
			break;
		case PHASE_SAVED:
			saved_games(run);
			break;
		case PHASE_DONE:
			break;
	}
}

/* ----------------------------------------------------------------
 *		The procedure
 * ----------------------------------------------------------------
 */

/* What was done; what was not, a line each. */
static const char report_sql[] =
	"SELECT json_build_object('pseudonym', e.pseudonym, 'live_games', e.live_games, "
	"'rows', e.rows, 'payloads', e.payloads, 'saved_games', e.saved_games, "
	"'player_stats', e.player_stats, "
	"'dictionaries', cardinality(e.dictionaries) / 2 - e.kept_dictionaries, "
	"'not_reached', to_json(array_remove(ARRAY["
	"'the journal until it has been rotated twice, and the change feed until it is overwritten', "
	"'dead rows until VACUUM', 'WAL, base backups, dumps, logical subscribers', "
	"CASE WHEN EXISTS (SELECT FROM gamestate.cold_file) THEN 'copies of files below gamestate.cold_directory, and files that were replaced there until the maintenance worker has removed them' END, "
	"CASE WHEN NOT e.documents THEN 'documents: states, events, metadata, results' END, "
	"CASE WHEN e.opaque_payloads > 0 THEN format('documents of %s archived games whose encoding is bytes', e.opaque_payloads) END, "
	"CASE WHEN e.damaged_payloads > 0 THEN format('%s damaged payloads or saved games: see gamestate.verify_archive()', e.damaged_payloads) END, "
	"CASE WHEN e.kept_dictionaries > 0 THEN format('%s dictionaries that tables out of reach still need', e.kept_dictionaries) END, "
	"CASE WHEN EXISTS (SELECT FROM gamestate.journal_damage) THEN 'gamestate.journal_damage: bytes that could not be read' END]"
	"::text[] || e.not_reached || ARRAY(SELECT format('table %s: it cannot be changed', t.name) FROM (" TABLES
	") t (id, name, way) WHERE t.way IS NULL ORDER BY t.name), NULL))) "
	"FROM gamestate.erasure e WHERE e.number = $1";

static char *
report(const Run *run, MemoryContext mcxt)
{
	GsOwnerAccess access;
	Oid types[] = {INT4OID};
	Datum values[] = {Int32GetDatum(run->a.number)};
	char *result;

	gs_owner_begin(&access, "erasure", AccessShareLock);
	run_sql(report_sql, SPI_OK_SELECT, 1, types, values, NULL);
	result = MemoryContextStrdup(mcxt, SPI_getvalue(SPI_tuptable->vals[0],
													SPI_tuptable->tupdesc, 1));
	gs_owner_end(&access);
	return result;
}

static void
check_call(FunctionCallInfo fcinfo, GsText *player)
{
	GS_REQUIRE_ARG(0, "player");
	GS_REQUIRE_ARG(1, "documents");
	*player = gs_arg_bytes(fcinfo, 0);
	gs_check_id(player, "player");
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("anonymise_player() cannot run inside a transaction block"),
				 errdetail("It commits as it goes."),
				 errhint("CALL it by itself.")));
}

Datum
gs_anonymise_player(PG_FUNCTION_ARGS)
{
	Run run = {.mcxt = CurrentMemoryContext};
	MemoryContext result_context = CurrentMemoryContext;
	GsText player;
	TupleDesc desc;
	Datum value;
	bool null = false;
	char *json;

	gs_begin_write("anonymise_player()");
	check_call(fcinfo, &player);
	run.a.player = (GsText){pnstrdup(player.data, player.len), player.len};
	run.a.documents = PG_GETARG_BOOL(1);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(CreateTupleDescCopy(desc));

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	open_run(&run);
	commit();
	while (run.phase != PHASE_DONE)
	{
		do_phase(&run);
		run.phase++;
		save_and_commit(&run);
	}
	json = report(&run, result_context);
	SPI_finish();
	gs_durable_wait();

	value = CStringGetTextDatum(json);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, &value, &null)));
}
