/*-------------------------------------------------------------------------
 *
 * gs_player_stats.c
 *	  gamestate.player_stats: what players have done in archived games.
 *
 * The model:
 *	1. In the transaction that inserts games into the archive, whoever does it,
 *	   each game is counted once: its result is asked who has won, by the
 *	   default rule (gs_stats_rule.c) or by the function that the policy of its
 *	   type names (gs_hook.c).
 *	2. What the games of the batch say about a player is added up in a hash
 *	   table first, by game type and player.
 *	3. One INSERT ... ON CONFLICT takes the sums from a set-returning function,
 *	   in the order of types and players, so that everybody locks rows in the
 *	   same order.
 *	4. If that has not taken every row (a trigger may drop rows) the
 *	   transaction fails.
 *
 * All of it lives in a memory context of the call's own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_player_stats.h"
#include "gs_policy.h"
#include "gs_stats_rule.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "common/int.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(gs_archiver_stats);
PG_FUNCTION_INFO_V1(gs_add_counters);

/* Hashed and compared as bytes: padded with zero bytes, which no text holds. */
typedef struct StatsKey
{
	char game_type[GS_MAX_ID_LENGTH + 1];
	char player[GS_MAX_ID_LENGTH + 1];
} StatsKey;

typedef struct Counter
{
	const char *name;
	int len;
	int64 value;
} Counter;

/* What the batch adds to a player's row. */
typedef struct StatsRow
{
	StatsKey key;
	int64 games;
	int64 outcomes[GS_OUTCOME_DRAW + 1];
	TimestampTz last_played;
	const GsBatchedGame *last_game; /* counted last */
	List *counters;					/* of Counter */
} StatsRow;

typedef struct Count
{
	HTAB *rows;
	MemoryContext mcxt;
} Count;

/* The sums that are being inserted. */
static StatsRow **sums = NULL;
static int nsums = 0;

#define STATS_COLUMNS \
	"game_type, player, games, wins, losses, draws, last_played, counters"
#define STATS_NCOLUMNS 8

static const char insert_stats[] =
	"INSERT INTO gamestate.player_stats AS s (" STATS_COLUMNS ") "
	"SELECT " STATS_COLUMNS " FROM gamestate.archiver_stats() "
	"ON CONFLICT (game_type, player) DO UPDATE SET "
	"games = s.games + excluded.games, wins = s.wins + excluded.wins, "
	"losses = s.losses + excluded.losses, draws = s.draws + excluded.draws, "
	"last_played = greatest(s.last_played, excluded.last_played), "
	"counters = CASE WHEN excluded.counters = '{}' THEN s.counters "
	"ELSE gamestate.add_counters(s.counters, excluded.counters) END";

static SPIPlanPtr insert_plan = NULL;

/* ----------------------------------------------------------------
 *		Counters
 * ----------------------------------------------------------------
 */

static int64
whole_number(const JsonbValue *value, const char *name, int len)
{
	Datum number;

	if (value->type == jbvNumeric && !numeric_is_nan(value->val.numeric) &&
		!numeric_is_inf(value->val.numeric))
	{
		number = DirectFunctionCall2(numeric_trunc, NumericGetDatum(value->val.numeric),
									 Int32GetDatum(0));
		if (DatumGetBool(DirectFunctionCall2(numeric_eq, number,
											 NumericGetDatum(value->val.numeric))))
			return DatumGetInt64(DirectFunctionCall1(numeric_int8, number));
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("counter \"%.*s\" of a player is not a whole number", len, name),
			 errhint("Counters are added up; count in smaller units.")));
}

/* A counter that is full stays so: that is no reason to archive no more games of a player. */
static int64
add(int64 a, int64 b)
{
	int64 result;

	if (pg_add_s64_overflow(a, b, &result))
		return a < 0 ? PG_INT64_MIN : PG_INT64_MAX;
	return result;
}

static void
add_counter(StatsRow *row, const char *name, int len, int64 value)
{
	Counter *counter;
	ListCell *cell;

	foreach (cell, row->counters)
	{
		counter = lfirst(cell);
		if (counter->len == len && memcmp(counter->name, name, len) == 0)
		{
			counter->value = add(counter->value, value);
			return;
		}
	}
	counter = palloc(sizeof(Counter));
	counter->name = pnstrdup(name, len);
	counter->len = len;
	counter->value = value;
	row->counters = lappend(row->counters, counter);
}

/* A JSON object of whole numbers. */
static void
add_counters(StatsRow *row, Jsonb *counters)
{
	JsonbIterator *it;
	JsonbValue key;
	JsonbValue value;
	JsonbIteratorToken token;

	if (!JB_ROOT_IS_OBJECT(counters))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("counters of a player are not a JSON object")));
	it = JsonbIteratorInit(&counters->root);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		add_counter(row, key.val.string.val, key.val.string.len,
					whole_number(&value, key.val.string.val, key.val.string.len));
	}
}

static Jsonb *
counters_as_jsonb(const List *counters)
{
	JsonbParseState *state = NULL;
	JsonbValue *result;
	ListCell *cell;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	foreach (cell, counters)
	{
		const Counter *counter = lfirst(cell);
		JsonbValue key = {.type = jbvString};
		JsonbValue value = {.type = jbvNumeric};

		key.val.string.val = (char *) counter->name;
		key.val.string.len = counter->len;
		value.val.numeric = int64_to_numeric(counter->value);
		pushJsonbValue(&state, WJB_KEY, &key);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(result);
}

Datum
gs_add_counters(PG_FUNCTION_ARGS)
{
	StatsRow row = {0};

	add_counters(&row, PG_GETARG_JSONB_P(0));
	add_counters(&row, PG_GETARG_JSONB_P(1));
	PG_RETURN_JSONB_P(counters_as_jsonb(row.counters));
}

/* ----------------------------------------------------------------
 *		Adding up
 * ----------------------------------------------------------------
 */

/* The row of a player; NULL if this game has been counted for the player. */
static StatsRow *
stats_row(Count *count, const GsBatchedGame *game, const char *player, int len)
{
	GsText type = gs_hook_type(game);
	StatsKey key = {0};
	StatsRow *row;
	bool found;

	memcpy(key.game_type, type.data, type.len);
	memcpy(key.player, player, len);
	row = hash_search(count->rows, &key, HASH_ENTER, &found);
	if (!found)
		memset((char *) row + sizeof(StatsKey), 0, sizeof(StatsRow) - sizeof(StatsKey));
	else if (row->last_game == game)
		return NULL;
	row->last_game = game;
	row->games++;
	row->last_played = found ? Max(row->last_played, game->ended_at) : game->ended_at;
	return row;
}

static void
count_by_default(Count *count, const GsBatchedGame *game)
{
	int n;
	GsStanding *standings = gs_stats_rule(game->players, game->result, &n);

	for (int i = 0; i < n; i++)
	{
		StatsRow *row =
			stats_row(count, game, standings[i].player, standings[i].player_len);

		if (row == NULL)
			continue;
		if (standings[i].outcome != GS_OUTCOME_NONE)
			row->outcomes[standings[i].outcome]++;
		if (standings[i].has_score)
			add_counter(row, "score", strlen("score"), standings[i].score);
	}
}

/* ----------------------------------------------------------------
 *		Rules of users
 * ----------------------------------------------------------------
 */

/* What a rule has said about a player. */
typedef struct Verdict
{
	const char *player;
	GsOutcome outcome;
	Jsonb *counters; /* or NULL */
} Verdict;

typedef struct RuleCall
{
	const GsBatchedGame *game;
	MemoryContext mcxt;
	Verdict *verdicts;
	int n;
} RuleCall;

static GsOutcome
outcome_from_text(const char *outcome)
{
	if (outcome == NULL)
		return GS_OUTCOME_NONE;
	if (strcmp(outcome, "win") == 0)
		return GS_OUTCOME_WIN;
	if (strcmp(outcome, "loss") == 0)
		return GS_OUTCOME_LOSS;
	if (strcmp(outcome, "draw") == 0)
		return GS_OUTCOME_DRAW;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("statistics rule gave the outcome \"%s\"", outcome),
			 errhint("It is one of win, loss, draw, or NULL.")));
}

static void
take_verdict(HeapTuple tuple, TupleDesc desc, Verdict *verdict)
{
	char *player = SPI_getvalue(tuple, desc, 1);
	bool null;
	Datum counters;

	if (player == NULL || player[0] == '\0' || strlen(player) > GS_MAX_ID_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("statistics rule gave a player that is not 1 to %d bytes long",
						GS_MAX_ID_LENGTH)));
	verdict->player = player;
	verdict->outcome = outcome_from_text(SPI_getvalue(tuple, desc, 2));
	counters = SPI_getbinval(tuple, desc, 3, &null);
	verdict->counters = null ? NULL : DatumGetJsonbPCopy(counters);
	/* what is wrong with them is the rule's failure */
	if (verdict->counters != NULL)
		add_counters(&(StatsRow){0}, verdict->counters);
}

/* As the rule's role. */
static void
call_rule(const GsHook *hook, void *argument)
{
	RuleCall *call = argument;
	const GsBatchedGame *game = call->game;
	Oid types[] = {TEXTOID, TEXTARRAYOID, JSONOID};
	Datum values[] = {PointerGetDatum(game->game_type), PointerGetDatum(game->players),
					  PointerGetDatum(game->result)};
	char nulls[] = {' ', ' ', game->result ? ' ' : 'n'};
	char *statement = psprintf("SELECT * FROM %s($1, $2, $3)", hook->function);
	TupleDesc desc;
	MemoryContext old;

	if (SPI_execute_with_args(statement, 3, types, values, nulls, true, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", statement);
	desc = SPI_tuptable->tupdesc;
	if (desc->natts != 3 || SPI_gettypeid(desc, 1) != TEXTOID ||
		SPI_gettypeid(desc, 2) != TEXTOID || SPI_gettypeid(desc, 3) != JSONBOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("statistics rule %s does not return what it should",
						hook->function),
				 errhint("Declare it RETURNS TABLE (player text, outcome text, counters jsonb).")));
	old = MemoryContextSwitchTo(call->mcxt);
	call->n = SPI_processed;
	call->verdicts = palloc(sizeof(Verdict) * Max(call->n, 1));
	for (int i = 0; i < call->n; i++)
		take_verdict(SPI_tuptable->vals[i], desc, &call->verdicts[i]);
	for (int i = 0; i < call->n; i++)
		for (int j = 0; j < i; j++)
			if (strcmp(call->verdicts[i].player, call->verdicts[j].player) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_CARDINALITY_VIOLATION),
						 errmsg("statistics rule gave player \"%s\" twice",
								call->verdicts[i].player)));
	MemoryContextSwitchTo(old);
}

static void
count_by_rule(Count *count, const GsHook *rule, const GsBatchedGame *game)
{
	RuleCall call = {.game = game, .mcxt = count->mcxt};

	if (!gs_hook_run(rule, call_rule, &call, &game->game_id, 1))
		return;
	for (int i = 0; i < call.n; i++)
	{
		const Verdict *verdict = &call.verdicts[i];
		StatsRow *row = stats_row(count, game, verdict->player, strlen(verdict->player));

		if (verdict->outcome != GS_OUTCOME_NONE)
			row->outcomes[verdict->outcome]++;
		if (verdict->counters != NULL)
			add_counters(row, verdict->counters);
	}
}

/* ----------------------------------------------------------------
 *		The statement
 * ----------------------------------------------------------------
 */

static int
compare_rows(const void *a, const void *b)
{
	return memcmp(&(*(StatsRow *const *) a)->key, &(*(StatsRow *const *) b)->key,
				  sizeof(StatsKey));
}

static void
sort_sums(HTAB *rows)
{
	HASH_SEQ_STATUS scan;
	StatsRow *row;

	nsums = 0;
	sums = palloc(sizeof(StatsRow *) * Max(hash_get_num_entries(rows), 1));
	hash_seq_init(&scan, rows);
	while ((row = hash_seq_search(&scan)) != NULL)
		sums[nsums++] = row;
	qsort(sums, nsums, sizeof(StatsRow *), compare_rows);
}

static void
insert_sums(void)
{
	int result;

	SPI_connect();
	if (insert_plan == NULL)
	{
		SPIPlanPtr plan = SPI_prepare(insert_stats, 0, NULL);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare: %s", insert_stats);
		insert_plan = plan;
	}
	result = SPI_execute_plan(insert_plan, NULL, NULL, false, 0);
	if (result != SPI_OK_INSERT || SPI_processed != (uint64) nsums)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("table \"gamestate.player_stats\" did not take all players"),
				 errdetail("%llu of %d rows were written.",
						   (unsigned long long) (result == SPI_OK_INSERT ? SPI_processed : 0),
						   nsums),
				 errhint("Look for a trigger or a rule on the table that drops rows.")));
	SPI_finish();
}

/* Games of one type. */
static void
count_type(Count *count, const GsBatchedGame *const *games, int n)
{
	GsText type = gs_hook_type(games[0]);
	const GsPolicy *policy = gs_policy(&type);
	GsHook rule = {.what = "statistics rule", .skip = policy->hook_skip};

	if (!policy->player_stats)
		return;
	/* what the policies say may be read anew any time */
	rule.game_type = pnstrdup(type.data, type.len);
	rule.function = policy->stats_rule ? pstrdup(policy->stats_rule) : NULL;
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (rule.function == NULL)
			count_by_default(count, games[i]);
		else
			count_by_rule(count, &rule, games[i]);
	}
}

void
gs_player_stats_count(const GsBatchedGame *games, int n)
{
	HASHCTL ctl = {.keysize = sizeof(StatsKey), .entrysize = sizeof(StatsRow)};
	Count count;
	MemoryContext old;
	const GsBatchedGame **sorted;

	count.mcxt =
		AllocSetContextCreate(CurrentMemoryContext, "gamestate player statistics",
							  ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(count.mcxt);
	ctl.hcxt = count.mcxt;
	count.rows = hash_create("gamestate player statistics", 1024, &ctl,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	sorted = gs_hook_by_type(games, n);
	for (int first = 0; first < n;)
	{
		GsText type = gs_hook_type(sorted[first]);
		int next = first + 1;

		while (next < n)
		{
			GsText other = gs_hook_type(sorted[next]);

			if (!gs_text_equal(&type, &other))
				break;
			next++;
		}
		count_type(&count, sorted + first, next - first);
		first = next;
	}
	sort_sums(count.rows);
	PG_TRY();
	{
		if (nsums > 0)
			insert_sums();
	}
	PG_FINALLY();
	{
		sums = NULL;
		nsums = 0;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(count.mcxt);
}

Datum
gs_archiver_stats(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	if (sums == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this function is for the archiver of gamestate only")));
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < nsums; i++)
	{
		const StatsRow *row = sums[i];
		Datum values[STATS_NCOLUMNS];
		bool nulls[STATS_NCOLUMNS] = {0};

		values[0] = CStringGetTextDatum(row->key.game_type);
		values[1] = CStringGetTextDatum(row->key.player);
		values[2] = Int64GetDatum(row->games);
		values[3] = Int64GetDatum(row->outcomes[GS_OUTCOME_WIN]);
		values[4] = Int64GetDatum(row->outcomes[GS_OUTCOME_LOSS]);
		values[5] = Int64GetDatum(row->outcomes[GS_OUTCOME_DRAW]);
		values[6] = TimestampTzGetDatum(row->last_played);
		values[7] = JsonbPGetDatum(counters_as_jsonb(row->counters));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
