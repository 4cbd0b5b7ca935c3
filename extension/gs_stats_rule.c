/*-------------------------------------------------------------------------
 *
 * gs_stats_rule.c
 *	  What a game's result says about its players, by the default rule.
 *
 * The model: a result is an object, or a string, which stands for
 * {"result": string}.  The first of these keys that it has decides:
 *
 *	"draw": true				all draw; with any other value the next key is asked
 *	"winner": player			that player wins, the others lose; null: all draw
 *	"winners": [player, ...]	they win, the others lose; none: all draw
 *	"result": "1-0", "0-1", "1/2-1/2"	of a game of two, in the players' order
 *	"scores": {player: n, ...}	the highest number wins, the others lose; if
 *								several have it they draw; of a single player nothing
 *
 * A key whose value has another form, or that names nobody who played, decides
 * that nobody has won or lost.  Whatever decides, a whole number in "scores"
 * is counted under "score".  Players whom "scores" does not name lose to those
 * whom it names.
 *
 * It never fails because of what a result says: that would keep the game out of
 * the archive.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_json.h"
#include "gs_stats_rule.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

PG_FUNCTION_INFO_V1(gs_default_stats_rule);

typedef struct Standings
{
	GsStanding *standings;
	int n;
	JsonbContainer *object;
} Standings;

static JsonbValue *
find_key(JsonbContainer *object, const char *key, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(object, key, strlen(key), value);
}

static void
set_all(Standings *result, GsOutcome outcome)
{
	for (int i = 0; i < result->n; i++)
		result->standings[i].outcome = outcome;
}

static GsStanding *
standing_of(Standings *result, const JsonbValue *player)
{
	if (player->type != jbvString)
		return NULL;
	for (int i = 0; i < result->n; i++)
	{
		GsStanding *standing = &result->standings[i];

		if (standing->player_len == player->val.string.len &&
			memcmp(standing->player, player->val.string.val, standing->player_len) == 0)
			return standing;
	}
	return NULL;
}

static void
let_win(Standings *result, GsStanding *standing)
{
	for (int i = 0; i < result->n; i++)
		if (result->standings[i].outcome == GS_OUTCOME_NONE)
			result->standings[i].outcome = GS_OUTCOME_LOSS;
	standing->outcome = GS_OUTCOME_WIN;
}

static void
decide_winner(Standings *result, const JsonbValue *winner)
{
	GsStanding *standing = standing_of(result, winner);

	if (winner->type == jbvNull)
		set_all(result, GS_OUTCOME_DRAW);
	else if (standing != NULL)
		let_win(result, standing);
}

static void
decide_winners(Standings *result, const JsonbValue *winners)
{
	JsonbContainer *array;
	uint32 n;

	if (winners->type != jbvBinary || !JsonContainerIsArray(winners->val.binary.data))
		return;
	array = winners->val.binary.data;
	n = JsonContainerSize(array);
	if (n == 0)
		set_all(result, GS_OUTCOME_DRAW);
	for (uint32 i = 0; i < n; i++)
	{
		GsStanding *standing =
			standing_of(result, getIthJsonbValueFromContainer(array, i));

		if (standing != NULL)
			let_win(result, standing);
	}
}

static bool
is_string(const JsonbValue *value, const char *string)
{
	return value->type == jbvString && value->val.string.len == (int) strlen(string) &&
		   memcmp(value->val.string.val, string, strlen(string)) == 0;
}

static void
decide_result(Standings *result, const JsonbValue *value)
{
	if (result->n != 2)
		return;
	if (is_string(value, "1-0"))
		let_win(result, &result->standings[0]);
	else if (is_string(value, "0-1"))
		let_win(result, &result->standings[1]);
	else if (is_string(value, "1/2-1/2"))
		set_all(result, GS_OUTCOME_DRAW);
}

static JsonbContainer *
scores_object(const JsonbValue *scores)
{
	if (scores->type != jbvBinary || !JsonContainerIsObject(scores->val.binary.data))
		return NULL;
	return scores->val.binary.data;
}

/* The number under a player's name; NULL = there is none. */
static Numeric
score_of(JsonbContainer *scores, const GsStanding *standing)
{
	JsonbValue value;

	if (getKeyJsonValueFromContainer(scores, standing->player, standing->player_len,
									 &value) == NULL ||
		value.type != jbvNumeric)
		return NULL;
	return value.val.numeric;
}

static int
compare_scores(Numeric a, Numeric b)
{
	return DatumGetInt32(
		DirectFunctionCall2(numeric_cmp, NumericGetDatum(a), NumericGetDatum(b)));
}

static void
decide_scores(Standings *result, const JsonbValue *value)
{
	JsonbContainer *scores = scores_object(value);
	Numeric best = NULL;
	int nbest = 0;

	if (scores == NULL || result->n < 2)
		return;
	for (int i = 0; i < result->n; i++)
	{
		Numeric score = score_of(scores, &result->standings[i]);
		int order = score == NULL ? -1 : best == NULL ? 1 : compare_scores(score, best);

		if (order > 0)
			nbest = 0;
		if (order >= 0)
		{
			best = score;
			nbest++;
		}
	}
	for (int i = 0; best != NULL && i < result->n; i++)
	{
		Numeric score = score_of(scores, &result->standings[i]);

		result->standings[i].outcome = score == NULL || compare_scores(score, best) < 0
										   ? GS_OUTCOME_LOSS
									   : nbest == 1 ? GS_OUTCOME_WIN
													: GS_OUTCOME_DRAW;
	}
}

/* false: it is no whole number, or too large */
static bool
whole_number(Numeric number, int64 *value)
{
	Numeric floor;

	if (numeric_is_nan(number) || numeric_is_inf(number) ||
		compare_scores(number, int64_to_numeric(PG_INT64_MIN)) < 0 ||
		compare_scores(number, int64_to_numeric(PG_INT64_MAX)) > 0)
		return false;
	floor = DatumGetNumeric(DirectFunctionCall1(numeric_floor, NumericGetDatum(number)));
	if (compare_scores(number, floor) != 0)
		return false;
	*value = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(number)));
	return true;
}

static void
take_scores(Standings *result)
{
	JsonbValue value;
	JsonbContainer *scores;

	if (find_key(result->object, "scores", &value) == NULL)
		return;
	scores = scores_object(&value);
	for (int i = 0; scores != NULL && i < result->n; i++)
	{
		GsStanding *standing = &result->standings[i];
		Numeric score = score_of(scores, standing);

		standing->has_score = score != NULL && whole_number(score, &standing->score);
	}
}

static void
decide(Standings *result)
{
	JsonbValue value;

	if (find_key(result->object, "draw", &value) != NULL && value.type == jbvBool &&
		value.val.boolean)
		set_all(result, GS_OUTCOME_DRAW);
	else if (find_key(result->object, "winner", &value) != NULL)
		decide_winner(result, &value);
	else if (find_key(result->object, "winners", &value) != NULL)
		decide_winners(result, &value);
	else if (find_key(result->object, "result", &value) != NULL)
		decide_result(result, &value);
	else if (find_key(result->object, "scores", &value) != NULL)
		decide_scores(result, &value);
	take_scores(result);
}

GsStanding *
gs_stats_rule(ArrayType *players, const text *document, int *n)
{
	Standings result = {0};
	Datum *datums;
	bool *nulls;
	int count;
	Jsonb *jsonb;

	deconstruct_array(players, TEXTOID, -1, false, TYPALIGN_INT, &datums, &nulls, &count);
	result.standings = palloc0(sizeof(GsStanding) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		GsStanding *standing = &result.standings[result.n];
		const text *player;

		if (nulls[i])
			continue;
		player = DatumGetTextPP(datums[i]);
		standing->player = VARDATA_ANY(player);
		standing->player_len = VARSIZE_ANY_EXHDR(player);
		result.n++;
	}
	*n = result.n;

	jsonb = document ? gs_json_to_jsonb(document) : NULL;
	if (jsonb == NULL)
		return result.standings;
	result.object = &jsonb->root;
	if (JB_ROOT_IS_OBJECT(jsonb))
		decide(&result);
	else if (JB_ROOT_IS_SCALAR(jsonb))
		decide_result(&result, getIthJsonbValueFromContainer(&jsonb->root, 0));
	return result.standings;
}

/* ----------------------------------------------------------------
 *		As an SQL function: for rules that only add to it
 * ----------------------------------------------------------------
 */

static Datum
counters_of(const GsStanding *standing)
{
	char document[64];

	if (standing->has_score)
		snprintf(document, sizeof(document), "{\"score\": " INT64_FORMAT "}",
				 standing->score);
	else
		strlcpy(document, "{}", sizeof(document));
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(document));
}

Datum
gs_default_stats_rule(PG_FUNCTION_ARGS)
{
	static const char *const outcomes[] = {NULL, "win", "loss", "draw"};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	GsStanding *standings = NULL;
	int n = 0;

	if (!PG_ARGISNULL(1))
		standings = gs_stats_rule(PG_GETARG_ARRAYTYPE_P(1),
								  PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2), &n);
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
	{
		const char *outcome = outcomes[standings[i].outcome];
		Datum values[3];
		bool nulls[3] = {0};

		values[0] = PointerGetDatum(
			cstring_to_text_with_len(standings[i].player, standings[i].player_len));
		values[1] = outcome ? CStringGetTextDatum(outcome) : (Datum) 0;
		nulls[1] = outcome == NULL;
		values[2] = counters_of(&standings[i]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
