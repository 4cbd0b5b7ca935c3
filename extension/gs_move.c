/*-------------------------------------------------------------------------
 *
 * gs_move.c
 *	  SQL functions that make moves: one, or many in one call.
 *
 * The model of one move is that of every change, see gs_target.c.  Many moves
 * in one call:
 *	1. Check the arrays; take the locks of all games in the order of their ids,
 *	   so that two such calls never wait for each other in a circle.
 *	2. Go through the moves in the order of the arrays.  Each is checked first,
 *	   against what the moves before it have made of its game, and changes
 *	   nothing if it is refused: so a refusal needs no subtransaction.  What
 *	   cannot be said of one move ends the call with an error: waiting for a
 *	   lock too long, cancelling, memory.
 *	3. Games that are not in memory may be in the archive.  That is looked up
 *	   at the end, for it takes longer than all the moves together.
 *	4. Answer with a row for each move.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_archive.h"
#include "gs_compat.h"
#include "gs_config.h"
#include "gs_database.h"
#include "gs_durable.h"
#include "gs_errors.h"
#include "gs_lock.h"
#include "gs_target.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/elog.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(gs_apply_move);
PG_FUNCTION_INFO_V1(gs_apply_move_bytes);
PG_FUNCTION_INFO_V1(gs_apply_moves);
PG_FUNCTION_INFO_V1(gs_apply_moves_bytes);

/* ----------------------------------------------------------------
 *		One move
 * ----------------------------------------------------------------
 */

/* What is asked for; texts point to the arguments. */
typedef struct Move
{
	const pg_uuid_t *id;
	const int64 *expected_version; /* NULL = any */
	GsText event;
	GsText state; /* data NULL = unchanged */
	GsText player;
	const pg_uuid_t *request_id;
	GsEncoding encoding;
} Move;

static bool
sizes_are_allowed(const Move *move, GsRefusal *refusal)
{
	return gs_size_is_allowed(&move->event, "event", gs_max_event_size,
							  "gamestate.max_event_size", refusal) &&
		   gs_size_is_allowed(&move->state, "state", gs_max_state_size,
							  "gamestate.max_state_size", refusal);
}

/* May it be made in a game that is in memory? */
static bool
move_is_allowed(const Move *move, const char *function, const GsTarget *target,
				GsRefusal *refusal)
{
	const GsHeader *h = &target->h;

	if (unlikely(GS_STATUS_IS_OVER(h->status)))
		gs_refuse_over(&target->id, gs_status_name(h->status), refusal);
	else if (unlikely(h->encoding != move->encoding))
		gs_refuse_encoding(target, function, refusal);
	else if (unlikely(h->status != GS_STATUS_ACTIVE))
		gs_refuse_status(target, "make a move in", refusal);
	else if (unlikely(move->expected_version && *move->expected_version != h->version))
		gs_refuse_version(target, *move->expected_version, refusal);
	else if (unlikely(move->player.data && !target->has_player))
		gs_refuse_player(target, &move->player, refusal);
	else if (unlikely(h->version >= gs_max_log))
		gs_refuse_log(target, refusal);
	else
		return true;
	return false;
}

static GsPending *
record_move(const Move *move, GsTarget *target)
{
	GsText event = gs_keep(&move->event);
	GsText state = gs_keep(&move->state);
	GsText player = gs_keep(&move->player);
	GsEntry e = {.kind = GS_KIND_MOVE,
				 .at = GetCurrentTimestamp(),
				 .player = player.data,
				 .player_len = player.len,
				 .request_id = gs_keep_uuid(move->request_id),
				 .event = event.data,
				 .event_len = event.len};
	GsPending *pending = gs_next_version(target, e.at);

	pending->change.h.moves++;
	if (state.data)
		gs_set_state(pending, state);
	gs_writeset_log(pending, &e);
	return pending;
}

static Datum
apply_move(FunctionCallInfo fcinfo, GsEncoding encoding)
{
	Move move = {.encoding = encoding};
	int64 expected;
	GsTarget target;
	GsRefusal refusal;

	GS_REQUIRE_ARG(2, "event");
	move.event = gs_arg_bytes(fcinfo, 2);
	move.state = gs_arg_bytes(fcinfo, 3);
	move.player = gs_arg_bytes(fcinfo, 4);
	if (!PG_ARGISNULL(5))
		move.request_id = PG_GETARG_UUID_P(5);
	if (!PG_ARGISNULL(1))
	{
		expected = PG_GETARG_INT64(1);
		move.expected_version = &expected;
	}
	if (unlikely(!sizes_are_allowed(&move, &refusal)))
		gs_raise(&refusal);

	gs_open_target(fcinfo, move.player.data ? &move.player : NULL, &target);
	if (unlikely(!move_is_allowed(&move, "apply_move", &target, &refusal)))
		gs_raise(&refusal);
	gs_check_memory(gs_my_database(), 0);
	PG_RETURN_INT64(gs_new_version(record_move(&move, &target)));
}

Datum
gs_apply_move(PG_FUNCTION_ARGS)
{
	gs_begin_write("apply_move()");
	return apply_move(fcinfo, GS_ENCODING_JSON);
}

Datum
gs_apply_move_bytes(PG_FUNCTION_ARGS)
{
	gs_begin_write("apply_move_bytes()");
	return apply_move(fcinfo, GS_ENCODING_BYTES);
}

/* ----------------------------------------------------------------
 *		Many moves
 * ----------------------------------------------------------------
 */

/* Arguments of apply_moves(), result columns */
enum
{
	ARG_GAME_IDS,
	ARG_EXPECTED_VERSIONS,
	ARG_EVENTS,
	ARG_STATES,
	ARG_PLAYERS,
	ARG_ALL_OR_NOTHING,
	ARG_REQUEST_IDS,
	NARGS
};

enum
{
	MOVES_ORD,
	MOVES_GAME_ID,
	MOVES_VERSION,
	MOVES_SQLSTATE,
	MOVES_MESSAGE,
	MOVES_NATTS
};

/* An array argument, taken apart; values NULL = the argument is NULL */
typedef struct Elements
{
	Datum *values;
	bool *nulls;
} Elements;

/* What has become of a move. */
typedef struct Outcome
{
	int64 version;	 /* 0 = refused */
	bool in_archive; /* to be looked up: it is not in memory */
	GsRefusal refusal;
} Outcome;

typedef struct Batch
{
	const char *function; /* that makes one of these moves */
	GsEncoding encoding;
	bool all_or_nothing;
	int n;
	Elements args[NARGS];
	Outcome *outcomes;
} Batch;

static const char *const array_names[NARGS] =
	{[ARG_GAME_IDS] = "game_ids", [ARG_EXPECTED_VERSIONS] = "expected_versions",
	 [ARG_EVENTS] = "events",	  [ARG_STATES] = "states",
	 [ARG_PLAYERS] = "players",	  [ARG_REQUEST_IDS] = "request_ids"};

static void
take_array(FunctionCallInfo fcinfo, Batch *batch, int arg)
{
	Elements *elements = &batch->args[arg];
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(arg);
	Oid type = ARR_ELEMTYPE(array);
	int n;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must be a one-dimensional array", array_names[arg])));
	switch (type)
	{
		case UUIDOID:
			deconstruct_array(array, type, UUID_LEN, false, TYPALIGN_CHAR,
							  &elements->values, &elements->nulls, &n);
			break;
		case INT8OID:
			deconstruct_array(array, type, sizeof(int64), FLOAT8PASSBYVAL,
							  TYPALIGN_DOUBLE, &elements->values, &elements->nulls, &n);
			break;
		default:
			deconstruct_array(array, type, -1, false, TYPALIGN_INT, &elements->values,
							  &elements->nulls, &n);
			break;
	}
	if (arg == ARG_GAME_IDS)
		batch->n = n;
	else if (n != batch->n)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("arrays of different lengths"),
				 errdetail("game_ids has %d elements, %s has %d.", batch->n,
						   array_names[arg], n)));
}

static void
take_arrays(FunctionCallInfo fcinfo, Batch *batch)
{
	for (int arg = 0; arg < NARGS; arg++)
	{
		if (arg == ARG_ALL_OR_NOTHING)
			continue;
		if (!PG_ARGISNULL(arg))
			take_array(fcinfo, batch, arg);
		else if (arg < ARG_PLAYERS)
			gs_null_argument(array_names[arg]);
	}
	GS_REQUIRE_ARG(ARG_ALL_OR_NOTHING, "all_or_nothing");
	batch->all_or_nothing = PG_GETARG_BOOL(ARG_ALL_OR_NOTHING);
	batch->outcomes =
		MemoryContextAllocExtended(CurrentMemoryContext, sizeof(Outcome) * batch->n,
								   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

static bool
is_null(const Elements *elements, int i)
{
	return elements->values == NULL || elements->nulls[i];
}

static GsText
text_element(const Elements *elements, int i)
{
	struct varlena *datum;

	if (is_null(elements, i))
		return (GsText){NULL, 0};
	datum = (struct varlena *) DatumGetPointer(elements->values[i]);
	return (GsText){VARDATA_ANY(datum), VARSIZE_ANY_EXHDR(datum)};
}

static const pg_uuid_t *
uuid_element(const Elements *elements, int i)
{
	return is_null(elements, i) ? NULL : DatumGetUUIDP(elements->values[i]);
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(*(const pg_uuid_t *const *) a, *(const pg_uuid_t *const *) b, UUID_LEN);
}

/* Lock the games that this transaction has not changed yet, in the order of their ids. */
static void
lock_games(const Batch *batch)
{
	const pg_uuid_t **ids =
		MemoryContextAllocHuge(CurrentMemoryContext, sizeof(*ids) * Max(batch->n, 1));
	int n = 0;

	for (int i = 0; i < batch->n; i++)
	{
		const pg_uuid_t *id = uuid_element(&batch->args[ARG_GAME_IDS], i);

		if (id && (!GsWriteSetActive || gs_writeset_find(id) == NULL))
			ids[n++] = id;
	}
	qsort(ids, n, sizeof(*ids), compare_ids);
	for (int i = 0; i < n; i++)
		if (i == 0 || compare_ids(&ids[i], &ids[i - 1]) != 0)
			(void) gs_lock_game(ids[i], false);
	pfree(ids);
}

static void
refuse_null(const char *name, GsRefusal *refusal)
{
	*refusal = (GsRefusal){.sqlerrcode = ERRCODE_NULL_VALUE_NOT_ALLOWED,
						   .message = psprintf("%s must not be null", name)};
}

/* Make one of the moves, or say in its outcome why not. */
static GsPending *
try_move(Batch *batch, int i)
{
	Outcome *outcome = &batch->outcomes[i];
	const Elements *args = batch->args;
	int64 expected;
	Move move = {.encoding = batch->encoding,
				 .id = uuid_element(&args[ARG_GAME_IDS], i),
				 .event = text_element(&args[ARG_EVENTS], i),
				 .state = text_element(&args[ARG_STATES], i),
				 .player = text_element(&args[ARG_PLAYERS], i),
				 .request_id = uuid_element(&args[ARG_REQUEST_IDS], i)};
	GsTarget target;
	GsPending *pending;

	if (!is_null(&args[ARG_EXPECTED_VERSIONS], i))
	{
		expected = DatumGetInt64(args[ARG_EXPECTED_VERSIONS].values[i]);
		move.expected_version = &expected;
	}
	if (move.id == NULL || move.event.data == NULL)
	{
		refuse_null(move.id == NULL ? "game_id" : "event", &outcome->refusal);
		return NULL;
	}
	if (!sizes_are_allowed(&move, &outcome->refusal))
		return NULL;
	if (!gs_find_locked_target(move.id, move.player.data ? &move.player : NULL, &target))
	{
		outcome->in_archive = target.pending == NULL;
		gs_refuse_no_such_game(move.id, &outcome->refusal);
		return NULL;
	}
	if (!move_is_allowed(&move, batch->function, &target, &outcome->refusal))
		return NULL;

	gs_check_memory(gs_my_database(), 0);
	pending = record_move(&move, &target);
	outcome->version = pending->change.h.version;
	return pending;
}

static void
look_into_archive(Batch *batch)
{
	for (int i = 0; i < batch->n; i++)
	{
		const pg_uuid_t *id;

		if (!batch->outcomes[i].in_archive)
			continue;
		CHECK_FOR_INTERRUPTS();
		id = uuid_element(&batch->args[ARG_GAME_IDS], i);
		if (gs_archive_exists(id))
			gs_refuse_over(id, "archived", &batch->outcomes[i].refusal);
	}
}

/* With all_or_nothing: the first refusal is the call's error. */
static _Noreturn void
raise_first(Batch *batch, int i)
{
	Outcome *outcome = &batch->outcomes[i];

	if (outcome->in_archive)
	{
		const pg_uuid_t *id = uuid_element(&batch->args[ARG_GAME_IDS], i);

		if (gs_is_archived(id))
			gs_refuse_over(id, "archived", &outcome->refusal);
	}
	outcome->refusal.message = psprintf("move %d: %s", i + 1, outcome->refusal.message);
	gs_raise(&outcome->refusal);
}

static void
answer_moves(const Batch *batch, ReturnSetInfo *rsinfo)
{
	for (int i = 0; i < batch->n; i++)
	{
		const Outcome *outcome = &batch->outcomes[i];
		const GsRefusal *refusal = &outcome->refusal;
		const pg_uuid_t *id = uuid_element(&batch->args[ARG_GAME_IDS], i);
		Datum values[MOVES_NATTS] = {0};
		bool nulls[MOVES_NATTS] = {0};

		values[MOVES_ORD] = Int32GetDatum(i + 1);
		nulls[MOVES_GAME_ID] = id == NULL;
		if (id)
			values[MOVES_GAME_ID] = UUIDPGetDatum(id);
		if (outcome->version > 0)
		{
			values[MOVES_VERSION] = Int64GetDatum(outcome->version);
			nulls[MOVES_SQLSTATE] = nulls[MOVES_MESSAGE] = true;
		}
		else
		{
			nulls[MOVES_VERSION] = true;
			values[MOVES_SQLSTATE] =
				CStringGetTextDatum(unpack_sql_state(refusal->sqlerrcode));
			values[MOVES_MESSAGE] = CStringGetTextDatum(
				refusal->detail ? psprintf("%s. %s", refusal->message, refusal->detail)
								: refusal->message);
		}
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

static Datum
apply_moves(FunctionCallInfo fcinfo, GsEncoding encoding)
{
	Batch batch = {.function = "apply_moves", .encoding = encoding};
	int nmade = 0;

	take_arrays(fcinfo, &batch);
	lock_games(&batch);
	for (int i = 0; i < batch.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (try_move(&batch, i))
			nmade++;
		else if (batch.all_or_nothing)
			raise_first(&batch, i);
	}
	look_into_archive(&batch);
	if (nmade == 0)
		gs_wait_before_answer();
	else if (nmade < batch.n || IsTransactionBlock())
		gs_durable_wait(); /* a refusal tells of what the commit need not wait for */

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	answer_moves(&batch, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}

Datum
gs_apply_moves(PG_FUNCTION_ARGS)
{
	gs_begin_write("apply_moves()");
	return apply_moves(fcinfo, GS_ENCODING_JSON);
}

Datum
gs_apply_moves_bytes(PG_FUNCTION_ARGS)
{
	gs_begin_write("apply_moves_bytes()");
	return apply_moves(fcinfo, GS_ENCODING_BYTES);
}
