/*-------------------------------------------------------------------------
 *
 * gs_connect.c
 *	  SQL functions of presence: connect_player(), heartbeat(), and their like.
 *
 * The model:
 *	1. Presence is about committed games; a game or a seat of the caller's own
 *	   transaction is not there yet.
 *	2. To connect: look whether the player sits in a game that goes on; take the
 *	   place; look again.  A player who leaves, or a game that ends, in between
 *	   either takes the place away or is seen by the second look.
 *	3. Nothing here is undone by a rollback.
 *
 * Tokens are in no message of ours.  What PostgreSQL logs of statements is not ours:
 * see the README.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_database.h"
#include "gs_durable.h"
#include "gs_presence.h"
#include "gs_row.h"
#include "gs_suspend.h"
#include "gs_target.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(gs_connect_player);
PG_FUNCTION_INFO_V1(gs_heartbeat);
PG_FUNCTION_INFO_V1(gs_disconnect_player);
PG_FUNCTION_INFO_V1(gs_renew_connection);
PG_FUNCTION_INFO_V1(gs_player_presence);
PG_FUNCTION_INFO_V1(gs_stat_presence);

#define TTL_MIN USECS_PER_SEC
#define TTL_MAX USECS_PER_DAY

/* ----------------------------------------------------------------
 *		Connecting
 * ----------------------------------------------------------------
 */

/* A committed game: does it go on, and does the player sit there? */
typedef struct Seat
{
	GsTarget target; /* id and header */
	bool exists;
	char type[GS_MAX_ID_LENGTH];
	uint32 type_len;
} Seat;

static void
find_seat(const pg_uuid_t *id, const GsText *player, Seat *seat)
{
	GsGame *game = gs_table_find(id, true);
	const GsInfo *info;

	memset(seat, 0, sizeof(*seat));
	seat->target.id = *id;
	seat->exists = game != NULL;
	if (game == NULL)
		return;
	seat->target.h = game->h;
	info = GS_PTR(game->info);
	seat->target.has_player = gs_info_has_player(info, player);
	seat->type_len = Min(info->type_len, GS_MAX_ID_LENGTH);
	memcpy(seat->type, &info->nodes[gs_info_nodes(info)], seat->type_len);
	gs_table_release(game);
}

static bool
may_connect(const Seat *seat)
{
	return seat->exists && !GS_STATUS_IS_OVER(seat->target.h.status) &&
		   seat->target.has_player;
}

static _Noreturn void
refuse_seat(Seat *seat, const GsText *player)
{
	GsRequest none = {NULL, 0};
	GsRefusal refusal;

	if (!seat->exists && gs_find_suspended(&seat->target.id, NULL, &seat->target))
	{
		gs_refuse_suspended(&seat->target.id, &refusal);
		gs_raise(&refusal);
	}
	if (!seat->exists)
	{
		(void) gs_is_retry_of_stored(&seat->target.id, &none, &seat->target.answered);
		gs_refuse_no_such_game(&seat->target.id, &refusal);
		gs_raise(&refusal);
	}
	if (GS_STATUS_IS_OVER(seat->target.h.status))
		gs_game_over(&seat->target.id, gs_status_name(seat->target.h.status));
	gs_not_a_player(&seat->target, player);
}

static int64
arg_ttl(FunctionCallInfo fcinfo, int n)
{
	int64 us;

	GS_REQUIRE_ARG(n, "ttl");
	us = gs_interval_us(PG_GETARG_INTERVAL_P(n));
	if (us < TTL_MIN || us > TTL_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ttl must be from 1 second to 1 day")));
	return us;
}

Datum
gs_connect_player(PG_FUNCTION_ARGS)
{
	pg_uuid_t *id;
	pg_uuid_t *token = palloc(sizeof(pg_uuid_t));
	GsConnect connect = {0};
	const GsPolicy *policy;
	Seat seat;

	gs_begin_write("connect_player()");
	GS_REQUIRE_ARG(0, "game_id");
	GS_REQUIRE_ARG(1, "player");
	id = PG_GETARG_UUID_P(0);
	connect.game_id = *id;
	connect.player = gs_arg_bytes(fcinfo, 1);
	gs_check_id(&connect.player, "player");
	connect.ttl_us = arg_ttl(fcinfo, 2);

	find_seat(id, &connect.player, &seat);
	if (!may_connect(&seat))
		refuse_seat(&seat, &connect.player);
	connect.game_type = (GsText){seat.type, seat.type_len};
	policy = gs_policy(&connect.game_type);
	connect.absence_action = policy->absence_action;
	connect.absence_us = policy->absence_us;
	gs_presence_connect(gs_my_database(), &connect, token);

	find_seat(id, &connect.player, &seat);
	if (!may_connect(&seat))
	{
		gs_presence_end(token);
		refuse_seat(&seat, &connect.player);
	}
	gs_wait_before_answer();
	PG_RETURN_UUID_P(token);
}

/* For what must be cheap, or has no game: on a primary only. */
static void
begin(const char *function)
{
	gs_attach();
	PreventCommandIfReadOnly(function);
}

Datum
gs_heartbeat(PG_FUNCTION_ARGS)
{
	begin("heartbeat()");
	PG_RETURN_BOOL(gs_presence_beat(PG_GETARG_UUID_P(0)));
}

Datum
gs_disconnect_player(PG_FUNCTION_ARGS)
{
	begin("disconnect_player()");
	PG_RETURN_BOOL(gs_presence_disconnect(PG_GETARG_UUID_P(0)));
}

/* What reconnect() begins with; all NULL if the token is void. */
Datum
gs_renew_connection(PG_FUNCTION_ARGS)
{
	pg_uuid_t game_id;
	pg_uuid_t token;
	char player[GS_MAX_ID_LENGTH];
	uint32 player_len;
	Datum values[3];
	bool nulls[3] = {0};

	begin("renew_connection()");
	if (!gs_presence_renew(PG_GETARG_UUID_P(0), &token, &game_id, player, &player_len))
		PG_RETURN_NULL();
	values[0] = UUIDPGetDatum(&token);
	values[1] = UUIDPGetDatum(&game_id);
	values[2] = PointerGetDatum(cstring_to_text_with_len(player, (int) player_len));
	return HeapTupleGetDatum(heap_form_tuple(gs_result_type(fcinfo), values, nulls));
}

/* ----------------------------------------------------------------
 *		Looking
 * ----------------------------------------------------------------
 */

enum
{
	PRESENCE_PLAYER,
	PRESENCE_PRESENCE,
	PRESENCE_SINCE,
	PRESENCE_EXPIRES_AT,
	PRESENCE_NATTS
};

static void
put_player(ReturnSetInfo *rsinfo, const pg_uuid_t *game_id, const GsText *player)
{
	Datum values[PRESENCE_NATTS];
	bool nulls[PRESENCE_NATTS] = {0};
	GsPresenceOf of;
	const char *presence;

	gs_presence_of(game_id, player, &of);
	presence = of.is_connected ? "connected" : of.is_known ? "disconnected" : "unknown";
	values[PRESENCE_PLAYER] =
		PointerGetDatum(cstring_to_text_with_len(player->data, (int) player->len));
	values[PRESENCE_PRESENCE] = CStringGetTextDatum(presence);
	values[PRESENCE_SINCE] = TimestampTzGetDatum(of.since);
	nulls[PRESENCE_SINCE] = !of.is_known;
	values[PRESENCE_EXPIRES_AT] = TimestampTzGetDatum(of.expires_at);
	nulls[PRESENCE_EXPIRES_AT] = !of.is_connected;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
gs_player_presence(PG_FUNCTION_ARGS)
{
	pg_uuid_t *id = PG_GETARG_UUID_P(0);
	GsGameCopy *game;

	gs_attach();
	(void) gs_ready();
	InitMaterializedSRF(fcinfo, 0);
	game = gs_table_copy(id, 0, false, CurrentMemoryContext);
	gs_durable_wait();
	gs_require_games();
	for (int i = 0; game && !GS_STATUS_IS_OVER(game->h.status) && i < game->info.nplayers;
		 i++)
		put_player((ReturnSetInfo *) fcinfo->resultinfo, id, &game->info.players[i]);
	return (Datum) 0;
}

#define STAT_COLUMNS 4

Datum
gs_stat_presence(PG_FUNCTION_ARGS)
{
	GsPresenceStat stat;
	Datum values[STAT_COLUMNS];
	bool nulls[STAT_COLUMNS] = {0};

	gs_attach();
	gs_presence_get_stat(&stat);
	values[0] = Int64GetDatum(stat.connected);
	values[1] = Int64GetDatum(stat.disconnected);
	values[2] = Int64GetDatum(stat.all);
	values[3] = Int64GetDatum(stat.max_connected);
	return HeapTupleGetDatum(heap_form_tuple(gs_result_type(fcinfo), values, nulls));
}
