/*-------------------------------------------------------------------------
 *
 * gs_leaderboard.c
 *	  leaderboard(): the best players, or those around one.
 *
 * The model:
 *	1. Players are ordered by the value of a metric, the highest first, players
 *	   of one value by name.  The rank of a player is one more than the number
 *	   of players who have a higher value (1, 2, 2, 4).
 *	2. If the ranking is kept (gs_ranking.c), the players of the answer come
 *	   from its index; the rank of the first one from the counts; those of the
 *	   others from that and from how many have each value in between.
 *	3. If not, all players of the type are sorted: the same answer, slowly.
 *
 * All of it reads with the caller's snapshot, as the owner of the tables:
 * whoever may call the function need not have rights on them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_owner.h"
#include "gs_ranking.h"
#include "gs_target.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"

PG_FUNCTION_INFO_V1(gs_leaderboard);

#define LEADERBOARD_COLUMNS 8

/* What comes after rank, player and value; a join that finds one row. */
#define DETAILS ", s.games, s.wins, s.losses, s.draws, s.last_played"
#define JOIN_STATS \
	" JOIN gamestate.player_stats s ON s.game_type = $1 AND s.player = e.player "

/* A statement, planned once in a process. */
typedef struct Lookup
{
	const char *statement;
	int nargs;
	Oid args[4];
	SPIPlanPtr plan;
} Lookup;

/* Not kept: the same in all shapes, $3 rows, $4 = around whom. */
static Lookup scan = {
	.statement =
		"WITH e AS MATERIALIZED (SELECT s.player, s.value, "
		"rank() OVER (ORDER BY s.value DESC) AS rank, "
		"row_number() OVER (ORDER BY s.value DESC, s.player) AS position, "
		"count(*) OVER () AS players "
		"FROM (SELECT s.player, " GS_RANKING_VALUE(
			"$2",
			"s") " AS value "
				 "FROM gamestate.player_stats s WHERE s.game_type = $1) s WHERE s.value IS NOT NULL), "
				 "w AS (SELECT CASE WHEN $4 IS NULL THEN 1 ELSE (SELECT greatest(1, "
				 "least(e.position - ($3 - 1) / 2, e.players - $3 + 1)) FROM e WHERE e.player = $4) END AS first) "
				 "SELECT e.rank, e.player, e.value" DETAILS " FROM w, e" JOIN_STATS
				 "WHERE e.position >= w.first AND e.position < w.first + $3 ORDER BY e.position",
	.nargs = 4,
	.args = {TEXTOID, TEXTOID, INT8OID, TEXTOID}};

static Lookup find_ranking =
	{.statement =
		 "SELECT number FROM gamestate.ranking WHERE game_type = $1 AND metric = $2",
	 .nargs = 2,
	 .args = {TEXTOID, TEXTOID}};

static Lookup find_value =
	{.statement = "SELECT " GS_RANKING_VALUE(
		 "$2",
		 "s") " FROM gamestate.player_stats s WHERE s.game_type = $1 AND s.player = $3",
	 .nargs = 3,
	 .args = {TEXTOID, TEXTOID, TEXTOID}};

/* $2 = ranking */
static Lookup best =
	{.statement = "SELECT 0::bigint, e.player, e.value" DETAILS " FROM ("
				  "SELECT player, value FROM gamestate.ranking_entry WHERE ranking = $2 "
				  "ORDER BY value DESC, player LIMIT $3) e" JOIN_STATS
				  "ORDER BY e.value DESC, e.player",
	 .nargs = 3,
	 .args = {TEXTOID, INT4OID, INT8OID}};

/* $1 = ranking, $2 = value, $3 = player, $4 = rows: who stands before, the nearest first */
static Lookup ahead = {
	.statement =
		"SELECT player, value FROM ("
		"(SELECT player, value FROM gamestate.ranking_entry "
		"WHERE ranking = $1 AND value = $2 AND player < $3 ORDER BY player DESC LIMIT $4) "
		"UNION ALL (SELECT player, value FROM gamestate.ranking_entry "
		"WHERE ranking = $1 AND value > $2 ORDER BY value, player DESC LIMIT $4)) e "
		"ORDER BY value, player DESC LIMIT $4",
	.nargs = 4,
	.args = {INT4OID, INT8OID, TEXTOID, INT8OID}};

static Lookup behind =
	{.statement =
		 "SELECT player, value FROM ("
		 "(SELECT player, value FROM gamestate.ranking_entry "
		 "WHERE ranking = $1 AND value = $2 AND player > $3 ORDER BY player LIMIT $4) "
		 "UNION ALL (SELECT player, value FROM gamestate.ranking_entry "
		 "WHERE ranking = $1 AND value < $2 ORDER BY value DESC, player LIMIT $4)) e "
		 "ORDER BY value DESC, player LIMIT $4",
	 .nargs = 4,
	 .args = {INT4OID, INT8OID, TEXTOID, INT8OID}};

/* $2 = players, $3 = their values */
static Lookup details = {.statement = "SELECT 0::bigint, e.player, e.value" DETAILS
									  " FROM unnest($2, $3) e (player, value)" JOIN_STATS
									  "ORDER BY e.value DESC, e.player",
						 .nargs = 3,
						 .args = {TEXTOID, TEXTARRAYOID, INT8ARRAYOID}};

static Lookup count_above =
	{.statement =
		 "SELECT coalesce(sum(c.players), 0)::bigint FROM generate_series(0, 7) l, "
		 "LATERAL (SELECT c.players FROM gamestate.ranking_count c WHERE c.ranking = $1 "
		 "AND c.level = l AND c.prefix > $2 >> (" GS_RANKING_BITS " * l) "
		 "AND c.prefix <= CASE l WHEN 7 THEN 127 ELSE ($2 >> (" GS_RANKING_BITS
		 " * l)) | 255 END) c",
	 .nargs = 2,
	 .args = {INT4OID, INT8OID}};

static Lookup count_equal = {.statement =
								 "SELECT players FROM gamestate.ranking_count "
								 "WHERE ranking = $1 AND level = 0 AND prefix = $2",
							 .nargs = 2,
							 .args = {INT4OID, INT8OID}};

typedef struct Place
{
	char *player;
	int64 value;
} Place;

/* A call, and its rows. */
typedef struct Board
{
	Datum game_type;
	Datum metric;
	int64 max_rows;
	Datum around;
	bool is_around;
	int32 ranking;
	HeapTuple *rows;
	TupleDesc desc;
	int nrows;
	int64 *ranks; /* NULL = they stand in the rows */
} Board;

static void
run(Lookup *query, const Datum *args, const char *nulls)
{
	if (query->plan == NULL)
	{
		SPIPlanPtr plan = SPI_prepare(query->statement, query->nargs, query->args);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare: %s", query->statement);
		query->plan = plan;
	}
	if (SPI_execute_plan(query->plan, (Datum *) args, nulls, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", query->statement);
}

/* A single number; false if there is none. */
static bool
number(int64 *value)
{
	bool null = true;
	Datum datum = (Datum) 0;

	if (SPI_processed > 0)
		datum = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null);
	*value = null ? 0 : DatumGetInt64(datum);
	return !null;
}

static void
take_rows(Board *board)
{
	board->rows = SPI_tuptable->vals;
	board->desc = SPI_tuptable->tupdesc;
	board->nrows = SPI_processed;
}

/* ----------------------------------------------------------------
 *		A ranking that is kept
 * ----------------------------------------------------------------
 */

static int
neighbours(const Board *board, Lookup *query, int64 value, Place **places)
{
	int n;

	run(query,
		(Datum[]){Int32GetDatum(board->ranking), Int64GetDatum(value), board->around,
				  Int64GetDatum(board->max_rows - 1)},
		NULL);
	n = SPI_processed;
	*places = palloc(sizeof(Place) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		bool null;

		(*places)[i].player = SPI_getvalue(tuple, SPI_tuptable->tupdesc, 1);
		(*places)[i].value =
			DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &null));
	}
	return n;
}

static void
put(Datum *players, Datum *values, int i, const Place *place)
{
	players[i] = CStringGetTextDatum(place->player);
	values[i] = Int64GetDatum(place->value);
}

/* The player in the middle, if there are enough on both sides. */
static void
find_around(Board *board, int64 value)
{
	Place *before;
	Place *after;
	int nbefore = neighbours(board, &ahead, value, &before);
	int nafter = neighbours(board, &behind, value, &after);
	int others = board->max_rows - 1;
	int take_before = Min(nbefore, Max(others / 2, others - nafter));
	int take_after = Min(nafter, others - take_before);
	int n = take_before + 1 + take_after;
	Datum *players = palloc(sizeof(Datum) * n);
	Datum *values = palloc(sizeof(Datum) * n);

	for (int i = 0; i < take_before; i++)
		put(players, values, i, &before[i]);
	players[take_before] = board->around;
	values[take_before] = Int64GetDatum(value);
	for (int i = 0; i < take_after; i++)
		put(players, values, take_before + 1 + i, &after[i]);
	run(&details,
		(Datum[]){board->game_type,
				  PointerGetDatum(
					  construct_array(players, n, TEXTOID, -1, false, TYPALIGN_INT)),
				  PointerGetDatum(construct_array(values, n, INT8OID, sizeof(int64),
												  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE))},
		NULL);
	take_rows(board);
}

static int64
value_of(const Board *board, int row)
{
	bool null;

	return DatumGetInt64(SPI_getbinval(board->rows[row], board->desc, 3, &null));
}

/* The rows are neighbours in the ranking: all values between are among theirs. */
static void
find_ranks(Board *board)
{
	int64 value;
	int64 above;

	if (board->nrows == 0)
		return;
	board->ranks = palloc(sizeof(int64) * board->nrows);
	value = value_of(board, 0);
	run(&count_above, (Datum[]){Int32GetDatum(board->ranking), Int64GetDatum(value)},
		NULL);
	(void) number(&above);
	for (int i = 0; i < board->nrows; i++)
	{
		int64 next = value_of(board, i);
		int64 equal;

		if (next != value)
		{
			run(&count_equal,
				(Datum[]){Int32GetDatum(board->ranking), Int64GetDatum(value)}, NULL);
			(void) number(&equal);
			above += equal;
			value = next;
		}
		board->ranks[i] = above + 1;
	}
}

static void
from_ranking(Board *board)
{
	int64 value;

	if (!board->is_around)
	{
		run(&best,
			(Datum[]){board->game_type, Int32GetDatum(board->ranking),
					  Int64GetDatum(board->max_rows)},
			NULL);
		take_rows(board);
	}
	else
	{
		run(&find_value, (Datum[]){board->game_type, board->metric, board->around}, NULL);
		if (!number(&value))
			return; /* the ranking does not have this player */
		find_around(board, value);
	}
	find_ranks(board);
}

/* ----------------------------------------------------------------
 *		The function
 * ----------------------------------------------------------------
 */

static void
find_rows(Board *board)
{
	bool null;

	if (board->max_rows == 0)
		return;
	run(&find_ranking, (Datum[]){board->game_type, board->metric}, NULL);
	if (SPI_processed > 0)
	{
		board->ranking = DatumGetInt32(
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
		gs_ranking_settings();
		from_ranking(board);
		return;
	}
	run(&scan,
		(Datum[]){board->game_type, board->metric, Int64GetDatum(board->max_rows),
				  board->around},
		board->is_around ? NULL : "   n");
	take_rows(board);
}

static void
return_rows(ReturnSetInfo *rsinfo, const Board *board)
{
	for (int i = 0; i < board->nrows; i++)
	{
		Datum values[LEADERBOARD_COLUMNS];
		bool nulls[LEADERBOARD_COLUMNS];

		for (int j = 0; j < LEADERBOARD_COLUMNS; j++)
			values[j] = SPI_getbinval(board->rows[i], board->desc, j + 1, &nulls[j]);
		if (board->ranks != NULL)
			values[0] = Int64GetDatum(board->ranks[i]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

Datum
gs_leaderboard(PG_FUNCTION_ARGS)
{
	Board board = {0};
	GsOwnerAccess access;

	GS_REQUIRE_ARG(0, "game_type");
	GS_REQUIRE_ARG(1, "metric");
	GS_REQUIRE_ARG(2, "max_rows");
	board.game_type = PG_GETARG_DATUM(0);
	board.metric = PG_GETARG_DATUM(1);
	board.max_rows = PG_GETARG_INT32(2);
	board.is_around = !PG_ARGISNULL(3);
	board.around = board.is_around ? PG_GETARG_DATUM(3) : (Datum) 0;
	if (board.max_rows < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must not be negative")));

	InitMaterializedSRF(fcinfo, 0);
	gs_owner_begin(&access, "ranking", AccessShareLock);
	find_rows(&board);
	return_rows((ReturnSetInfo *) fcinfo->resultinfo, &board);
	gs_owner_end(&access);
	return (Datum) 0;
}
