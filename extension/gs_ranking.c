/*-------------------------------------------------------------------------
 *
 * gs_ranking.c
 *	  Rankings of players that are kept as gamestate.player_stats changes.
 *
 * The model:
 *	1. A ranking is of one game type by one metric.  gamestate.ranking says
 *	   which there are; gamestate.ranking_entry has (value, player) of each
 *	   player, indexed in the order of the ranking.
 *	2. How many players stand before a value is not counted in entries but in
 *	   gamestate.ranking_count, which has, for each level from 0 to 7, how many
 *	   players have a value with a certain prefix: the value shifted right by 8
 *	   bits a level.  Level 0 is the value itself.  So what is above a value is
 *	   the sum, over the levels, of the at most 255 prefixes that are larger and
 *	   agree in all higher bits.
 *	3. Statement triggers on player_stats bring entries and counts up to date,
 *	   whoever changes it: the archiver's batch is one statement.  A value that
 *	   changes within a prefix leaves the levels from there on as they are, so
 *	   that a batch touches few counts.
 *	4. All of it is rows of tables: a reader's snapshot sees a batch whole or
 *	   not at all, and there is nothing to invalidate.
 *	5. The maintenance worker makes the rankings that the policies ask for and
 *	   that do not exist, and drops those nobody asks for.  It holds a lock that
 *	   keeps writers of player_stats out meanwhile.
 *
 * Locking: rows of player_stats in the order of (game_type, player), then rows
 * of ranking_count in the order of their key.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_owner.h"
#include "gs_ranking.h"
#include "gs_worker.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

PG_FUNCTION_INFO_V1(gs_player_stats_changed);

/* How long making a ranking waits for writers. */
#define LOCK_TIMEOUT_MS 1000

#define OLD_ROWS                                                                  \
	"SELECT o.game_type, o.player, r.number, false AS is_new, " GS_RANKING_VALUE( \
		"r.metric", "o") " AS value FROM old_rows o, gamestate.ranking r "        \
						 "WHERE r.game_type = o.game_type"
#define NEW_ROWS                                                                 \
	"SELECT n.game_type, n.player, r.number, true AS is_new, " GS_RANKING_VALUE( \
		"r.metric", "n") " AS value FROM new_rows n, gamestate.ranking r "       \
						 "WHERE r.game_type = n.game_type"

/*
 * For rows that were and rows that are.  Entries are visited in the order of their index,
 * so that neighbours are met on the same page; a level at which both values have the
 * same prefix stays as it is, and is left out before anything is added up.
 */
#define KEEP_UP(rows)                                                              \
	"WITH changes AS MATERIALIZED ("                                               \
	"SELECT number, player, max(value) FILTER (WHERE NOT is_new) AS before, "      \
	"max(value) FILTER (WHERE is_new) AS after FROM (" rows ") r "                 \
	"GROUP BY number, player HAVING max(value) FILTER (WHERE NOT is_new) "         \
	"IS DISTINCT FROM max(value) FILTER (WHERE is_new)), "                         \
	"gone AS (DELETE FROM gamestate.ranking_entry e USING ("                       \
	"SELECT number, before, player FROM changes WHERE before IS NOT NULL "         \
	"ORDER BY number, before DESC, player) c "                                     \
	"WHERE e.ranking = c.number AND e.value = c.before AND e.player = c.player), " \
	"come AS (INSERT INTO gamestate.ranking_entry (ranking, value, player) "       \
	"SELECT number, after, player FROM changes WHERE after IS NOT NULL "           \
	"ORDER BY number, after DESC, player) "                                        \
	"INSERT INTO gamestate.ranking_count AS n (ranking, level, prefix, players) "  \
	"SELECT c.number, l, d.value >> (" GS_RANKING_BITS " * l), sum(d.players) "    \
	"FROM changes c, generate_series(0, 7) l, "                                    \
	"LATERAL (VALUES (c.before, -1), (c.after, 1)) d (value, players) "            \
	"WHERE d.value IS NOT NULL AND c.before >> (" GS_RANKING_BITS " * l) "         \
	"IS DISTINCT FROM c.after >> (" GS_RANKING_BITS " * l) "                       \
	"GROUP BY 1, 2, 3 HAVING sum(d.players) <> 0 ORDER BY 1, 2, 3 "                \
	"ON CONFLICT (ranking, level, prefix) DO UPDATE SET players = n.players + excluded.players"

StaticAssertDecl(GS_RANKING_LEVELS == 8, "KEEP_UP() counts so many levels");

/* ----------------------------------------------------------------
 *		Keeping up
 * ----------------------------------------------------------------
 */

static void
set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

/*
 * The tables grow from nothing to millions of rows, and a plan that was made
 * before would be kept: only ways through an index are right at any size.
 */
void
gs_ranking_settings(void)
{
	set("enable_seqscan", "off");
	set("enable_bitmapscan", "off");
	set("enable_hashjoin", "off");
	set("enable_mergejoin", "off");
	set("jit", "off");
}

static SPIPlanPtr
prepare(const char *statement)
{
	SPIPlanPtr plan = SPI_prepare(statement, 0, NULL);

	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare: %s", statement);
	return plan;
}

static void
execute(SPIPlanPtr *plan, const char *statement)
{
	if (*plan == NULL)
		*plan = prepare(statement);
	if (SPI_execute_plan(*plan, NULL, NULL, false, 0) < 0)
		elog(ERROR, "could not run: %s", statement);
}

/* Most databases may have none. */
static bool
any_ranking(void)
{
	static SPIPlanPtr plan = NULL;

	execute(&plan, "SELECT FROM gamestate.ranking LIMIT 1");
	return SPI_processed > 0;
}

static void
keep_up(TriggerData *trigger)
{
	static SPIPlanPtr inserted = NULL;
	static SPIPlanPtr updated = NULL;
	static SPIPlanPtr deleted = NULL;

	if (SPI_register_trigger_data(trigger) < 0)
		elog(ERROR, "could not register the rows of a trigger");
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		execute(&inserted, KEEP_UP(NEW_ROWS));
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		execute(&deleted, KEEP_UP(OLD_ROWS));
	else
		execute(&updated, KEEP_UP(OLD_ROWS " UNION ALL " NEW_ROWS));
}

static void
forget_all(void)
{
	static SPIPlanPtr plan = NULL;

	execute(&plan, "WITH entries AS (DELETE FROM gamestate.ranking_entry), "
				   "counts AS (DELETE FROM gamestate.ranking_count) "
				   "DELETE FROM gamestate.ranking");
}

/* Trigger: rows of gamestate.player_stats have been changed. */
Datum
gs_player_stats_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	GsOwnerAccess access;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("gamestate.player_stats_changed() must be called by an AFTER ... FOR EACH STATEMENT trigger")));
	gs_owner_begin(&access, "ranking", AccessShareLock);
	gs_ranking_settings();
	if (any_ranking())
	{
		if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
			forget_all();
		else
			keep_up(trigger);
	}
	gs_owner_end(&access);
	return PointerGetDatum(NULL);
}

/* ----------------------------------------------------------------
 *		Making and dropping
 * ----------------------------------------------------------------
 */

/* What the policies ask for: types by a loose scan, since there are few among many rows. */
static const char differences[] =
	"WITH RECURSIVE types AS ("
	"SELECT min(game_type) AS game_type FROM gamestate.player_stats UNION ALL "
	"SELECT (SELECT min(s.game_type) FROM gamestate.player_stats s "
	"WHERE s.game_type > t.game_type) FROM types t WHERE t.game_type IS NOT NULL), "
	"wanted AS (SELECT DISTINCT t.game_type, m AS metric FROM types t "
	"LEFT JOIN gamestate.policy p ON p.game_type = t.game_type "
	"LEFT JOIN gamestate.policy d ON d.game_type = '', "
	"unnest(coalesce(p.leaderboards, d.leaderboards, '{}')) m "
	"WHERE t.game_type IS NOT NULL) "
	"SELECT w.game_type, w.metric, r.number FROM wanted w "
	"FULL JOIN gamestate.ranking r ON r.game_type = w.game_type AND r.metric = w.metric "
	"WHERE w.metric IS NULL OR r.metric IS NULL";

/* $1 = game type, $2 = metric; nobody writes player_stats meanwhile */
static const char make[] =
	"WITH ranking AS (INSERT INTO gamestate.ranking (game_type, metric) VALUES ($1, $2) "
	"RETURNING number), "
	"entries AS MATERIALIZED (SELECT r.number, s.player, " GS_RANKING_VALUE(
		"$2",
		"s") " AS value FROM gamestate.player_stats s, ranking r WHERE s.game_type = $1), "
			 "kept AS (INSERT INTO gamestate.ranking_entry (ranking, value, player) "
			 "SELECT number, value, player FROM entries WHERE value IS NOT NULL "
			 "ORDER BY value DESC, player) "
			 "INSERT INTO gamestate.ranking_count (ranking, level, prefix, players) "
			 "SELECT e.number, l, e.value >> (" GS_RANKING_BITS
			 " * l), sum(e.players) FROM ("
			 "SELECT number, value, count(*) AS players FROM entries WHERE value IS NOT NULL "
			 "GROUP BY 1, 2) e, generate_series(0, 7) l GROUP BY 1, 2, 3";

/* $1 = number */
static const char drop[] =
	"WITH entries AS (DELETE FROM gamestate.ranking_entry WHERE ranking = $1), "
	"counts AS (DELETE FROM gamestate.ranking_count WHERE ranking = $1) "
	"DELETE FROM gamestate.ranking WHERE number = $1";

typedef struct Difference
{
	char *game_type; /* NULL: it is to be dropped */
	char *metric;
	int32 number;
} Difference;

static Difference *
find_differences(MemoryContext mcxt, int *n)
{
	Difference *result;
	MemoryContext old;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	if (SPI_execute(differences, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", differences);
	old = MemoryContextSwitchTo(mcxt);
	*n = SPI_processed;
	result = palloc0(sizeof(Difference) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool null;

		result[i].game_type = SPI_getvalue(tuple, desc, 1);
		result[i].metric = SPI_getvalue(tuple, desc, 2);
		result[i].number = DatumGetInt32(SPI_getbinval(tuple, desc, 3, &null));
	}
	MemoryContextSwitchTo(old);
	SPI_finish();
	gs_worker_commit();
	return result;
}

static void
settle(const Difference *difference)
{
	int result;

	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	(void) SPI_execute("LOCK TABLE gamestate.player_stats IN SHARE ROW EXCLUSIVE MODE",
					   false, 0);
	if (difference->game_type != NULL)
		result =
			SPI_execute_with_args(make, 2, (Oid[]){TEXTOID, TEXTOID},
								  (Datum[]){CStringGetTextDatum(difference->game_type),
											CStringGetTextDatum(difference->metric)},
								  NULL, false, 0);
	else
		result = SPI_execute_with_args(drop, 1, (Oid[]){INT4OID},
									   (Datum[]){Int32GetDatum(difference->number)}, NULL,
									   false, 0);
	if (result < 0)
		elog(ERROR, "could not change the rankings");
	SPI_finish();
	gs_worker_commit();
}

/* Values that nobody has any more. */
static void
tidy_counts(void)
{
	gs_worker_begin(LOCK_TIMEOUT_MS);
	SPI_connect();
	if (SPI_execute("DELETE FROM gamestate.ranking_count WHERE players = 0", false, 0) !=
		SPI_OK_DELETE)
		elog(ERROR, "could not tidy gamestate.ranking_count");
	SPI_finish();
	gs_worker_commit();
}

void
gs_ranking_run(MemoryContext mcxt)
{
	int n;
	Difference *found = find_differences(mcxt, &n);

	for (int i = 0; i < n && !ProcDiePending; i++)
		settle(&found[i]);
	if (!ProcDiePending)
		tidy_counts();
}
