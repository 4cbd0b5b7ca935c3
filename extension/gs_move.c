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

#include "gs_compat.h"
#include "gs_config.h"
#include "gs_database.h"
#include "gs_deadline.h"
#include "gs_durable.h"
#include "gs_errors.h"
#include "gs_lease.h"
#include "gs_limits.h"
#include "gs_lock.h"
#include "gs_merge.h"
#include "gs_policy.h"
#include "gs_rate_limit.h"
#include "gs_suspend.h"
#include "gs_target.h"
#include "gs_tier.h"

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
PG_FUNCTION_INFO_V1(gs_apply_patch);
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
	const TimestampTz *deadline; /* NULL = unchanged */
	const int64 *lease;			 /* NULL = any, or none */
	GsRequest request;
	GsEncoding encoding;
} Move;

/* What a move's pointers point to. */
typedef struct MoveValues
{
	int64 expected_version;
	TimestampTz deadline;
	int64 lease;
} MoveValues;

/* Whatever the game is. */
static bool
arguments_are_allowed(const Move *move, GsRefusal *refusal)
{
	if (unlikely(move->deadline && !gs_deadline_is_allowed(*move->deadline, refusal)))
		return false;
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
	else if (unlikely(move->player.data && !target->has_player))
		gs_refuse_player(target, &move->player, refusal);
	else if (unlikely(gs_policy_limits_moves()) &&
			 (!gs_limits_allow_move(target, &move->event, &move->state, refusal) ||
			  !gs_rate_allows_move(target, &move->player, &move->event, refusal)))
		return false;
	else if (unlikely(move->lease &&
					  !gs_lease_is_held(&target->id, *move->lease, refusal)))
		return false;
	else if (unlikely(move->expected_version && *move->expected_version != h->version))
		gs_refuse_version(target, *move->expected_version, refusal);
	else if (unlikely(gs_log_is_full(h)))
		gs_refuse_log(target, refusal);
	else
		return true;
	return false;
}

/* "state" is in the write set's memory; data NULL = unchanged */
static GsPending *
record_move(const Move *move, GsText state, GsTarget *target)
{
	GsText event = gs_keep(&move->event);
	GsText player = gs_keep(&move->player);
	GsEntry e = {.kind = GS_KIND_MOVE,
				 .at = GetCurrentTimestamp(),
				 .player = player.data,
				 .player_len = player.len,
				 .event = event.data,
				 .event_len = event.len};
	GsPending *pending;

	gs_request_keep(&move->request, &e);
	pending = gs_next_version(target, e.at);
	pending->change.h.moves++;
	if (move->deadline)
		pending->change.h.deadline = gs_deadline_value(*move->deadline);
	if (state.data)
		gs_set_state(pending, state, &e);
	gs_writeset_log(pending, &e);
	return pending;
}

/* What a move's request id is given to, however the move is made. */
static GsRequestFunction
request_function(GsEncoding encoding)
{
	return encoding == GS_ENCODING_JSON ? GS_REQUEST_APPLY_MOVE
										: GS_REQUEST_APPLY_MOVE_BYTES;
}

/* The move would be allowed, so the game it is for may come back. */
static inline void
resume_for_move(GsTarget *target)
{
	const GsRequest none = {NULL, 0};

	if (unlikely(target->suspended))
		(void) gs_resume(&none, target);
}

/*
 * The arguments of apply_move() and its like, and the target, if it may be
 * made.  false if the request has been answered already: target->answered.
 */
static bool
open_move(FunctionCallInfo fcinfo, const char *function, GsRequestFunction request,
		  Move *move, MoveValues *values, GsTarget *target)
{
	GsRefusal refusal;

	GS_REQUIRE_ARG(2, "event");
	move->event = gs_arg_bytes(fcinfo, 2);
	move->state = gs_arg_bytes(fcinfo, 3);
	move->player = gs_arg_bytes(fcinfo, 4);
	move->request = gs_request(fcinfo, request, "u8vvv8-");
	if (!PG_ARGISNULL(1))
	{
		values->expected_version = PG_GETARG_INT64(1);
		move->expected_version = &values->expected_version;
	}
	if (!PG_ARGISNULL(5))
	{
		values->deadline = PG_GETARG_TIMESTAMPTZ(5);
		move->deadline = &values->deadline;
	}
	if (!PG_ARGISNULL(6))
	{
		values->lease = PG_GETARG_INT64(6);
		move->lease = &values->lease;
	}
	if (unlikely(!arguments_are_allowed(move, &refusal)))
		gs_raise(&refusal);

	if (!gs_open_move_target(fcinfo, &move->request,
							 move->player.data ? &move->player : NULL, target))
		return false;
	if (unlikely(!move_is_allowed(move, function, target, &refusal)))
		gs_raise(&refusal);
	gs_check_memory(gs_my_database(), 0);
	resume_for_move(target);
	return true;
}

static Datum
apply_move(FunctionCallInfo fcinfo, GsEncoding encoding)
{
	Move move = {.encoding = encoding};
	MoveValues values;
	GsTarget target;

	if (!open_move(fcinfo, "apply_move", request_function(encoding), &move, &values,
				   &target))
		PG_RETURN_INT64(target.answered.version);
	PG_RETURN_INT64(gs_new_version(record_move(&move, gs_keep(&move.state), &target)));
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

/* The game's state with the patch applied, in the write set's memory. */
static GsText
patched_state(const GsTarget *target, const GsText *patch)
{
	GsText old = gs_target_state(target);
	void *scratch;
	char *dst;
	Size len;
	const char *wrong;
	GsText state;
	GsRefusal refusal;

	if ((Size) old.len + patch->len > GS_MERGE_MAX_BYTES)
		ereport(ERROR, (errcode(ERRCODE_GS_TOO_LARGE), errmsg("state is too large")));
	scratch = MemoryContextAllocHuge(CurrentMemoryContext,
									 gs_merge_scratch_size(patch->data, patch->len));
	dst = MemoryContextAllocHuge(gs_writeset_context(), (Size) old.len + patch->len + 1);
	wrong = gs_merge(old.data, old.len, patch->data, patch->len, scratch, dst, &len);
	pfree(scratch);
	if (wrong)
		ereport(ERROR,
				(errcode(ERRCODE_GS_TOO_LARGE),
				 errmsg("cannot apply the patch to the state of game %s",
						gs_id_text(&target->id)),
				 errdetail("%s.", wrong)));
	state = (GsText){dst, len};
	if (!gs_size_is_allowed(&state, "state", gs_max_state_size,
							"gamestate.max_state_size", &refusal))
		gs_raise(&refusal);
	gs_limits_check_patched(target, &state);
	return state;
}

Datum
gs_apply_patch(PG_FUNCTION_ARGS)
{
	Move move = {.encoding = GS_ENCODING_JSON};
	MoveValues values;
	GsTarget target;
	GsText state = {NULL, 0};

	gs_begin_write("apply_patch()");
	if (!open_move(fcinfo, "apply_move", GS_REQUEST_APPLY_PATCH, &move, &values, &target))
		PG_RETURN_INT64(target.answered.version);
	if (move.state.data)
		state = patched_state(&target, &move.state);
	PG_RETURN_INT64(gs_new_version(record_move(&move, state, &target)));
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
	ARG_DEADLINES,
	ARG_LEASES,
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
	int64 version;	   /* 0 = refused */
	bool in_archive;   /* to be looked up: it is not in memory */
	GsRequest request; /* set with in_archive */
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
	 [ARG_PLAYERS] = "players",	  [ARG_DEADLINES] = "deadlines",
	 [ARG_LEASES] = "leases",	  [ARG_REQUEST_IDS] = "request_ids"};

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
		case TIMESTAMPTZOID:
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

/* Of a game with more requests than are remembered a retry would repeat the first ones. */
static void
check_requests(const Batch *batch)
{
	const pg_uuid_t **ids;
	int limit = gs_request_ids;
	int n = 0;

	if (batch->args[ARG_REQUEST_IDS].values == NULL || limit == 0 || batch->n <= limit)
		return;
	ids = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(pg_uuid_t *) * batch->n);
	for (int i = 0; i < batch->n; i++)
		if (!is_null(&batch->args[ARG_GAME_IDS], i) &&
			!is_null(&batch->args[ARG_REQUEST_IDS], i))
			ids[n++] = uuid_element(&batch->args[ARG_GAME_IDS], i);
	qsort(ids, n, sizeof(pg_uuid_t *), compare_ids);
	for (int i = limit; i < n; i++)
		if (compare_ids(&ids[i], &ids[i - limit]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_GS_TOO_LARGE),
					 errmsg("too many request ids for game %s in one call",
							gs_id_text(ids[i])),
					 errdetail("The last %d of a game are remembered, so that a retry of the call would make the first moves again.", limit),
					 errhint("Make several calls, or raise gamestate.request_ids.")));
	pfree(ids);
}

/* Lock the games that this transaction has not changed yet, in the order of their ids. */
static void
lock_games(const Batch *batch)
{
	const pg_uuid_t **ids =
		MemoryContextAllocHuge(CurrentMemoryContext,
							   sizeof(pg_uuid_t *) * Max(batch->n, 1));
	int n = 0;

	for (int i = 0; i < batch->n; i++)
	{
		const pg_uuid_t *id = uuid_element(&batch->args[ARG_GAME_IDS], i);

		if (id && (!GsWriteSetActive || gs_writeset_find(id) == NULL))
			ids[n++] = id;
	}
	qsort(ids, n, sizeof(pg_uuid_t *), compare_ids);
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

/* So that a move may be retried alone, or a lone one with others: as of apply_move(). */
static void
take_request(const Batch *batch, int i, Move *move)
{
	const pg_uuid_t *id = uuid_element(&batch->args[ARG_REQUEST_IDS], i);

	if (id == NULL)
		return;
	gs_request_begin(&move->request, id, request_function(batch->encoding));
	gs_request_add_uuid(&move->request, move->id);
	gs_request_add_int8(&move->request, move->expected_version);
	gs_request_add_bytes(&move->request, &move->event);
	gs_request_add_bytes(&move->request, &move->state);
	gs_request_add_bytes(&move->request, &move->player);
	gs_request_add_int8(&move->request, move->deadline);
	gs_request_end(&move->request);
}

static void
answer_again(const GsRequest *request, const pg_uuid_t *id, const GsAnswered *answered,
			 Outcome *outcome)
{
	if (gs_request_is_same(request, answered))
		outcome->version = answered->version;
	else
		gs_refuse_request(request, id, answered, &outcome->refusal);
}

static bool
find_target(const Move *move, GsTarget *target)
{
	const GsText *player = move->player.data ? &move->player : NULL;

	return gs_find_locked_target(move->id, player, target) ||
		   (gs_may_be_stored(target) && gs_find_suspended(move->id, player, target));
}

static bool
is_answered(const Move *move, GsTarget *target)
{
	return target->suspended ? gs_suspended_has_answered(&move->request, target)
							 : gs_request_find(&move->request, move->id, target->pending,
											   &target->answered);
}

/* Make one of the moves, or say in its outcome why not. */
static GsPending *
try_move(Batch *batch, int i)
{
	Outcome *outcome = &batch->outcomes[i];
	const Elements *args = batch->args;
	MoveValues values;
	Move move = {.encoding = batch->encoding,
				 .id = uuid_element(&args[ARG_GAME_IDS], i),
				 .event = text_element(&args[ARG_EVENTS], i),
				 .state = text_element(&args[ARG_STATES], i),
				 .player = text_element(&args[ARG_PLAYERS], i)};
	GsTarget target;
	GsPending *pending;

	if (!is_null(&args[ARG_EXPECTED_VERSIONS], i))
	{
		values.expected_version = DatumGetInt64(args[ARG_EXPECTED_VERSIONS].values[i]);
		move.expected_version = &values.expected_version;
	}
	if (!is_null(&args[ARG_DEADLINES], i))
	{
		values.deadline = DatumGetTimestampTz(args[ARG_DEADLINES].values[i]);
		move.deadline = &values.deadline;
	}
	if (!is_null(&args[ARG_LEASES], i))
	{
		values.lease = DatumGetInt64(args[ARG_LEASES].values[i]);
		move.lease = &values.lease;
	}
	if (move.id == NULL || move.event.data == NULL)
	{
		refuse_null(move.id == NULL ? "game_id" : "event", &outcome->refusal);
		return NULL;
	}
	if (!arguments_are_allowed(&move, &outcome->refusal))
		return NULL;
	take_request(batch, i, &move);
	if (!find_target(&move, &target))
	{
		outcome->request = move.request;
		outcome->in_archive = gs_may_be_stored(&target);
		gs_refuse_no_such_game(move.id, &outcome->refusal);
		return NULL;
	}
	if (is_answered(&move, &target))
	{
		answer_again(&move.request, move.id, &target.answered, outcome);
		return NULL;
	}
	if (target.suspended && !target.resumes_on_move)
	{
		gs_refuse_suspended(move.id, &outcome->refusal);
		return NULL;
	}
	if (!move_is_allowed(&move, batch->function, &target, &outcome->refusal))
		return NULL;

	gs_check_memory(gs_my_database(), 0);
	resume_for_move(&target);
	pending = record_move(&move, gs_keep(&move.state), &target);
	outcome->version = pending->change.h.version;
	return pending;
}

static void
look_up_archived(Batch *batch, int i)
{
	Outcome *outcome = &batch->outcomes[i];
	const pg_uuid_t *id = uuid_element(&batch->args[ARG_GAME_IDS], i);
	GsAnswered answered;
	GsTier tier;

	CHECK_FOR_INTERRUPTS();
	if (outcome->request.id == NULL)
	{
		tier = gs_tier_of(id);
		if (tier != GS_TIER_NONE)
			gs_refuse_stored(id, tier, &outcome->refusal);
		return;
	}
	switch (gs_request_find_stored(&outcome->request, id, false, &tier, &answered))
	{
		case GS_REQUEST_NO_GAME:
			break;
		case GS_REQUEST_IS_ANSWERED:
			answer_again(&outcome->request, id, &answered, outcome);
			break;
		case GS_REQUEST_NOT_THERE:
		case GS_REQUEST_NO_PAYLOAD:
			gs_refuse_stored(id, tier, &outcome->refusal);
			break;
	}
}

static void
look_into_archive(Batch *batch)
{
	for (int i = 0; i < batch->n; i++)
		if (batch->outcomes[i].in_archive)
			look_up_archived(batch, i);
}

/* With all_or_nothing: the first refusal is the call's error. */
static void
raise_if_refused(Batch *batch, int i)
{
	Outcome *outcome = &batch->outcomes[i];

	if (outcome->in_archive)
		look_up_archived(batch, i);
	outcome->in_archive = false;
	if (outcome->version > 0)
		return;
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
	check_requests(&batch);
	lock_games(&batch);
	for (int i = 0; i < batch.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (try_move(&batch, i))
			nmade++;
		else if (batch.all_or_nothing)
			raise_if_refused(&batch, i);
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
