/*-------------------------------------------------------------------------
 *
 * gs_rate_limit.c
 *	  Rate limits of moves, and of anything else: allow().
 *
 * The model of a move:
 *	1. Does any game type have a limit?  gs_move.c asks that of a flag
 *	   (gs_policy_limits_moves()); where none has, this is all that limits cost.
 *	2. The type's policy names up to two limits: one counts for each player who
 *	   moves, one for each game.  A move passes if both let it; if the second
 *	   refuses, what the first has taken is given back.
 *	3. What a move costs is the same for all, unless the limit has costs: then the
 *	   event is parsed, by PostgreSQL's parser and to its end, for the member that
 *	   the limit names; the last one of that name counts, as it does for jsonb, and
 *	   escapes are undone.  Of events whose kind cannot be told (they are bytes, or
 *	   have no such member) the default is taken; of those that the parser refuses
 *	   (a \u0000 in them), the highest: nobody gains by making his moves unreadable.
 *	4. What has been taken stays taken: accounts are no part of the transaction.
 *	   So a move that is refused later, or rolled back, has counted.  One that a
 *	   limit refuses has not, nor one that repeats a request.
 *
 * Limits are looked at after it is clear that the game takes moves and that the
 * player sits in it, and before the version: who floods a game with stale moves
 * is limited, too, and nobody can use up another one's account.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_config.h"
#include "gs_database.h"
#include "gs_errors.h"
#include "gs_policy.h"
#include "gs_rate_limit.h"
#include "gs_row.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(gs_allow);
PG_FUNCTION_INFO_V1(gs_stat_rate_limit);

/* ----------------------------------------------------------------
 *		Costs
 * ----------------------------------------------------------------
 */

/* Looking for a member of the event. */
typedef struct KindSearch
{
	JsonLexContext *lex;
	const char *key;
	bool matches; /* the value that comes next is the one */
	char *kind;	  /* of the last one; NULL = there is none, or it is no scalar */
} KindSearch;

static GsJsonResult
on_field(void *state, char *name, bool isnull)
{
	KindSearch *search = state;

	if (search->lex->lex_level == 1)
	{
		search->matches = strcmp(name, search->key) == 0;
		if (search->matches)
			search->kind = NULL;
	}
	GS_JSON_RETURN;
}

static GsJsonResult
on_scalar(void *state, char *token, JsonTokenType type)
{
	KindSearch *search = state;

	if (search->lex->lex_level == 1 && search->matches && type != JSON_TOKEN_NULL)
		search->kind = token;
	GS_JSON_RETURN;
}

static double
cost_of_kind(const GsRatePolicy *policy, const char *kind)
{
	int low = 0;
	int high = policy->ncosts;

	while (low < high)
	{
		int middle = (low + high) / 2;
		int compared = strcmp(kind, policy->costs[middle].kind);

		if (compared == 0)
			return policy->costs[middle].cost;
		if (compared < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return policy->default_cost;
}

static double
cost_of_event(const GsRatePolicy *policy, const GsText *event)
{
	MemoryContext mcxt;
	MemoryContext old;
	KindSearch search = {.key = policy->cost_key};
	JsonSemAction action = {.semstate = &search,
							.object_field_start = on_field,
							.scalar = on_scalar};
	double cost;

	mcxt = AllocSetContextCreate(CurrentMemoryContext, "gamestate event",
								 ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(mcxt);
	search.lex =
		GsMakeJsonLexContext(event->data, event->len, GetDatabaseEncoding(), true);
	if (pg_parse_json(search.lex, &action) != JSON_SUCCESS)
		cost = policy->highest_cost;
	else
		cost = search.kind ? cost_of_kind(policy, search.kind) : policy->default_cost;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(mcxt);
	return cost;
}

/* ----------------------------------------------------------------
 *		Limits
 * ----------------------------------------------------------------
 */

/* The limit as it is under the present load. */
static GsRateLimit
limit_now(const GsRatePolicy *policy, TimestampTz now)
{
	GsRateLimit limit = policy->limit;

	if (policy->busy_sessions > 0)
		limit.amount *= gs_rate_share(gs_rate_busy_sessions(now), policy->busy_sessions,
									  policy->min_share);
	return limit;
}

/* Rounded up, so that who waits that long comes in time. */
static int64
milliseconds(int64 us)
{
	return us / 1000 + (us % 1000 > 0);
}

/* One of a move's two limits. */
typedef struct MoveLimit
{
	GsRateKey key;
	GsRateLimit limit;
	double cost;
	bool counted;
} MoveLimit;

static void
refuse(const GsTarget *target, const char *whose, const char *name, int64 wait_us,
	   GsRefusal *refusal)
{
	*refusal = (GsRefusal){.sqlerrcode = ERRCODE_GS_RATE_LIMITED,
						   .message = psprintf("rate limit \"%s\" of %s is exceeded",
											   name, whose)};
	if (wait_us == GS_RATE_NEVER)
	{
		refusal->detail = pstrdup("It costs more than the limit ever allows.");
		refusal->hint = "Lower the cost or raise the limit in gamestate.rate_limit.";
	}
	else
		refusal->detail = psprintf("Wait %lld ms.", (long long) milliseconds(wait_us));
}

/* Count what a move costs: true, or false and why not. */
static bool
count_move(const char *name, GsRateScope scope, const void *data, Size len,
		   const GsTarget *target, const GsText *event, MoveLimit *counted,
		   GsRefusal *refusal)
{
	const GsRatePolicy *policy = gs_rate_policy(name, strlen(name));
	TimestampTz now = GetCurrentTimestamp();
	int64 wait_us;

	/* its row has just gone, with who refers to it: the next look-up will see that */
	if (policy == NULL)
		return true;
	counted->cost = policy->cost_key && target->h.encoding == GS_ENCODING_JSON
						? cost_of_event(policy, event)
						: policy->default_cost;
	counted->key = gs_rate_key(policy, scope, data, len);
	counted->limit = limit_now(policy, now);
	counted->counted = gs_rate_account_take(&counted->key, &counted->limit, now,
											counted->cost, &wait_us, NULL);
	if (counted->counted)
		return true;
	refuse(target,
		   scope == GS_RATE_PLAYER
			   ? psprintf("player \"%.*s\"", (int) len, (const char *) data)
			   : psprintf("game %s", gs_id_text(&target->id)),
		   name, wait_us, refusal);
	return false;
}

bool
gs_rate_allows_move(const GsTarget *target, const GsText *player, const GsText *event,
					GsRefusal *refusal)
{
	char type_data[GS_MAX_ID_LENGTH];
	GsText type = gs_target_type(target, type_data);
	GsPolicy policy = *gs_policy(&type);
	MoveLimit players = {.counted = false};
	MoveLimit games;

	if (player->data && policy.player_rate_limit[0] != '\0' &&
		!count_move(policy.player_rate_limit, GS_RATE_PLAYER, player->data, player->len,
					target, event, &players, refusal))
		return false;
	if (policy.game_rate_limit[0] == '\0' ||
		count_move(policy.game_rate_limit, GS_RATE_GAME, &target->id, UUID_LEN, target,
				   event, &games, refusal))
		return true;
	if (players.counted)
		gs_rate_account_give_back(&players.key, &players.limit, players.cost);
	return false;
}

/* ----------------------------------------------------------------
 *		allow()
 * ----------------------------------------------------------------
 */

enum
{
	ALLOW_ALLOWED,
	ALLOW_WAIT_MS,
	ALLOW_LEFT,
	ALLOW_NATTS
};

Datum
gs_allow(PG_FUNCTION_ARGS)
{
	GsText key;
	GsText name;
	double cost;
	const GsRatePolicy *policy;
	GsRateLimit limit;
	GsRateKey hashed;
	TimestampTz now = GetCurrentTimestamp();
	int64 wait_us;
	double left;
	Datum values[ALLOW_NATTS];
	bool nulls[ALLOW_NATTS] = {0};

	gs_attach();
	GS_REQUIRE_ARG(0, "key");
	GS_REQUIRE_ARG(1, "cost");
	GS_REQUIRE_ARG(2, "policy");
	key = gs_arg_bytes(fcinfo, 0);
	cost = PG_GETARG_FLOAT8(1);
	if (!(cost >= 0 && cost <= 1e15))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cost must be a number from 0 to 1e15")));
	name = gs_arg_bytes(fcinfo, 2);
	policy = gs_rate_policy(name.data, name.len);
	if (policy == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("rate limit \"%.*s\" does not exist", (int) name.len, name.data),
				 errhint("Rate limits are rows of gamestate.rate_limit.")));
	limit = limit_now(policy, now);
	hashed = gs_rate_key(policy, GS_RATE_KEY, key.data, key.len);
	values[ALLOW_ALLOWED] =
		BoolGetDatum(gs_rate_account_take(&hashed, &limit, now, cost, &wait_us, &left));
	nulls[ALLOW_WAIT_MS] = wait_us == GS_RATE_NEVER;
	values[ALLOW_WAIT_MS] = Int64GetDatum(milliseconds(wait_us));
	values[ALLOW_LEFT] = Float8GetDatum(left);
	return HeapTupleGetDatum(heap_form_tuple(gs_result_type(fcinfo), values, nulls));
}

/* ----------------------------------------------------------------
 *		gamestate.stat_rate_limit
 * ----------------------------------------------------------------
 */

#define STAT_COLUMNS 6

Datum
gs_stat_rate_limit(PG_FUNCTION_ARGS)
{
	GsRateStat stat;
	Datum values[STAT_COLUMNS];
	bool nulls[STAT_COLUMNS] = {0};
	int i = 0;

	gs_attach();
	gs_rate_get_stat(&stat);
	values[i++] = Int64GetDatum(stat.keys);
	values[i++] = Int64GetDatum(stat.max_keys);
	values[i++] = Int64GetDatum(stat.evicted);
	values[i++] = Int64GetDatum(stat.allowed);
	values[i++] = Int64GetDatum(stat.refused);
	values[i++] = Float8GetDatum(gs_rate_busy_sessions(GetCurrentTimestamp()));
	Assert(i == STAT_COLUMNS);
	return HeapTupleGetDatum(heap_form_tuple(gs_result_type(fcinfo), values, nulls));
}
