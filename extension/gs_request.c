/*-------------------------------------------------------------------------
 *
 * gs_request.c
 *	  Request ids: a retry gets the first answer and changes nothing.
 *
 * The model:
 *	1. The log entry of a change has the caller's request id and a checksum of
 *	   what was asked for; the entry's version is the answer.  The creation's
 *	   are in the game's header.  Both become visible, durable and undone with
 *	   the change itself, for they are part of it.
 *	2. A request is looked for in the game it is for, with the game's lock held:
 *	   first among what this transaction has done, then in the ring of the game
 *	   in memory (gs_ring.c), or in the log that is in the payload of one that is
 *	   not live (gs_tier.h).
 *	   So of two calls with the same id the second waits for the first's lock,
 *	   and then finds it.
 *	3. What was found is as durable as the change that left it there, which the
 *	   caller waits for before he answers (gs_durable.h).
 *	4. The checksum tells a retry from another request with the same id.  It is
 *	   there to find mistakes, and 32 bits find all but one of four billion.
 *	   Arguments count byte by byte: two texts of the same JSON are not the
 *	   same argument.
 *
 * What changes nothing leaves nothing: an error, a repeated join.  A retry of
 * such a request is tried anew.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_request.h"
#include "gs_ring.h"
#include "gs_tier.h"
#include "gs_uuid.h"

#include "catalog/pg_type.h"
#include "port/pg_crc32c.h"
#include "utils/array.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* How far our clock may be set back. */
#define CLOCK_STEP USECS_PER_HOUR

/* ----------------------------------------------------------------
 *		What was asked for
 * ----------------------------------------------------------------
 */

void
gs_request_begin(GsRequest *request, const pg_uuid_t *id, GsRequestFunction function)
{
	char tag = (char) function;

	request->id = id;
	INIT_CRC32C(request->arguments);
	COMP_CRC32C(request->arguments, &tag, 1);
}

/* With the length in front, so that arguments cannot flow into each other; 0 = null. */
static void
add(GsRequest *request, const void *data, Size len)
{
	char length[GS_VARINT_MAX_BYTES];
	char *end = gs_varint_put(length, data ? (uint64) len + 1 : 0);

	COMP_CRC32C(request->arguments, length, end - length);
	if (data)
		COMP_CRC32C(request->arguments, data, len);
}

void
gs_request_add_uuid(GsRequest *request, const pg_uuid_t *value)
{
	add(request, value ? value->data : NULL, UUID_LEN);
}

void
gs_request_add_int4(GsRequest *request, const int32 *value)
{
	int64 wide = value ? *value : 0;

	gs_request_add_int8(request, value ? &wide : NULL);
}

void
gs_request_add_int8(GsRequest *request, const int64 *value)
{
	char bytes[GS_VARINT_MAX_BYTES];

	/* the same on every platform */
	if (value)
		add(request, bytes, gs_varint_put(bytes, gs_zigzag(*value)) - bytes);
	else
		add(request, NULL, 0);
}

void
gs_request_add_bytes(GsRequest *request, const GsText *value)
{
	add(request, value->data, value->len);
}

void
gs_request_end(GsRequest *request)
{
	FIN_CRC32C(request->arguments);
}

/*
 * Element by element: of the same list there are several forms, by where it
 * comes from (varchar[], a slice, an array that once had a null).
 */
static void
add_texts(GsRequest *request, ArrayType *array)
{
	Datum *values;
	bool *nulls;
	int n = 0;
	int32 count;

	if (array)
		deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	count = n;
	gs_request_add_int4(request, array ? &count : NULL);
	for (int i = 0; i < n; i++)
	{
		GsText value = {NULL, 0};

		if (!nulls[i])
			value = (GsText){VARDATA_ANY(DatumGetPointer(values[i])),
							 VARSIZE_ANY_EXHDR(DatumGetPointer(values[i]))};
		gs_request_add_bytes(request, &value);
	}
}

static void
add_argument(FunctionCallInfo fcinfo, int n, char type, GsRequest *request)
{
	bool null = PG_ARGISNULL(n);

	switch (type)
	{
		case 'u':
			gs_request_add_uuid(request, null ? NULL : PG_GETARG_UUID_P(n));
			break;
		case '-':
			break;
		case '4':
		{
			int32 value = null ? 0 : PG_GETARG_INT32(n);

			gs_request_add_int4(request, null ? NULL : &value);
			break;
		}
		case '8':
		{
			int64 value = null ? 0 : PG_GETARG_INT64(n);

			gs_request_add_int8(request, null ? NULL : &value);
			break;
		}
		case 'v':
		{
			GsText value = {NULL, 0};

			if (!null)
			{
				struct varlena *datum = PG_GETARG_VARLENA_PP(n);

				value = (GsText){VARDATA_ANY(datum), VARSIZE_ANY_EXHDR(datum)};
			}
			gs_request_add_bytes(request, &value);
			break;
		}
		case 'a':
			add_texts(request, null ? NULL : PG_GETARG_ARRAYTYPE_P(n));
			break;
		default:
			elog(ERROR, "unknown type of an argument: %c", type);
	}
}

void
gs_request_take(FunctionCallInfo fcinfo, GsRequestFunction function, const char *types,
				int n, GsRequest *request)
{
	gs_request_begin(request, PG_GETARG_UUID_P(n), function);
	for (int i = 0; i < n; i++)
		add_argument(fcinfo, i, types[i], request);
	gs_request_end(request);
}

/* ----------------------------------------------------------------
 *		Has it been answered?
 * ----------------------------------------------------------------
 */

static inline bool
is_request(const GsRequest *request, const void *id)
{
	return memcmp(request->id->data, id, UUID_LEN) == 0;
}

/*
 * By this transaction?  No more of its changes are looked at than are
 * remembered once it has committed.
 */
static bool
find_pending(const GsRequest *request, const GsChange *change, GsAnswered *answered)
{
	int left = gs_request_ids;

	if (change->h.has_create_request &&
		is_request(request, change->h.create_request.data))
	{
		*answered = (GsAnswered){1, change->h.create_arguments};
		return true;
	}
	for (const GsNewEntry *entry = change->entries; entry && left > 0;
		 entry = entry->prev)
	{
		if (entry->e.request_id == NULL)
			continue;
		if (is_request(request, entry->e.request_id))
		{
			*answered = (GsAnswered){entry->version, entry->e.request_arguments};
			return true;
		}
		left--;
	}
	return false;
}

bool
gs_request_find_slow(const GsRequest *request, const pg_uuid_t *game_id,
					 const GsPending *pending, GsAnswered *answered)
{
	if (pending && find_pending(request, &pending->change, answered))
		return true;
	if (pending && pending->change.kind == GS_CHANGE_CREATE)
		return false;
	return gs_ring_find(game_id, request->id, &answered->version, &answered->arguments);
}

/* Among those that are older than the archived log */
static bool
find_before_log(const GsRequest *request, const GsPayload *payload, GsAnswered *answered)
{
	const char *p = payload->requests;
	const char *end = p + payload->requests_len;
	bool found = false;

	for (uint64 i = 0; i < payload->nrequests; i++)
	{
		const unsigned char *id;
		GsAnswered answer;

		if (!gs_payload_next_request(&p, end, &answer.version, &id, &answer.arguments))
			elog(ERROR, "archived request does not decode a second time");
		if (!is_request(request, id))
			continue;
		*answered = answer;
		found = true;
	}
	return found;
}

/*
 * The newest: an id may stand in the log twice, if so many others came between
 * that it was a new request.  The entries have been checked when the payload
 * was read.
 */
static bool
find_in_log(const GsRequest *request, const GsPayload *payload, GsAnswered *answered)
{
	const char *p = payload->entries;
	const char *end = p + payload->entries_len;
	bool found = find_before_log(request, payload, answered);

	for (uint64 i = 0; i < payload->nentries; i++)
	{
		GsEntry e;

		if (gs_entry_decode(&p, end, payload->base, &e) != NULL)
			elog(ERROR, "archived entry does not decode a second time");
		if (e.request_id && is_request(request, e.request_id))
		{
			*answered =
				(GsAnswered){payload->first_version + (int64) i, e.request_arguments};
			found = true;
		}
	}
	return found;
}

bool
gs_request_find_in(const GsRequest *request, const GsGameCopy *game, GsAnswered *answered)
{
	if (game->h.has_create_request && is_request(request, game->h.create_request.data))
	{
		*answered = (GsAnswered){1, game->h.create_arguments};
		return true;
	}
	for (uint64 i = game->nentries; i-- > 0;)
		if (game->entries[i].request_id &&
			is_request(request, game->entries[i].request_id))
		{
			*answered = (GsAnswered){game->h.version - (int64) (game->nentries - 1 - i),
									 game->entries[i].request_arguments};
			return true;
		}
	return false;
}

/*
 * A game whose id follows from a request id has not ended before this.  The
 * request id was made before the call that created the game, by a clock that
 * may be ahead of ours, but then the game has ended by ours.
 */
static bool
created_since(const pg_uuid_t *id, TimestampTz *from)
{
	TimestampTz to;

	if (!gs_uuid_times(id, from, &to))
		return false;
	*from = Min(*from, GetCurrentTimestamp()) - GS_CLOCKS_DIFFER;
	return true;
}

/* As the creation of the game, whose entry may have been cut off its log. */
static bool
find_creation(const GsRequest *request, const GsStoredGame *game, GsAnswered *answered)
{
	if (!game->has_create_request || !is_request(request, game->create_request.data))
		return false;
	*answered = (GsAnswered){1, game->create_arguments};
	return true;
}

GsStoredRequest
gs_request_find_stored(const GsRequest *request, const pg_uuid_t *game_id, bool creation,
					   GsTier *tier, GsAnswered *answered)
{
	MemoryContext mcxt = AllocSetContextCreate(CurrentMemoryContext, "gamestate request",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(mcxt);
	GsStoredRequest result = GS_REQUEST_NOT_THERE;
	GsStoredGame *game;
	TimestampTz from;

	if (creation && created_since(game_id, &from))
		game =
			gs_tier_get_between(game_id, from, GetCurrentTimestamp() + CLOCK_STEP, mcxt);
	else
		game = gs_tier_get(game_id, true, mcxt);

	*tier = game ? game->tier : GS_TIER_NONE;
	if (game == NULL)
		result = GS_REQUEST_NO_GAME;
	else if (find_creation(request, game, answered))
		result = GS_REQUEST_IS_ANSWERED;
	else if (!game->has_payload)
		result = GS_REQUEST_NO_PAYLOAD;
	else if (find_in_log(request, &game->payload, answered))
		result = GS_REQUEST_IS_ANSWERED;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(mcxt);
	return result;
}

/* ----------------------------------------------------------------
 *		Keeping it
 * ----------------------------------------------------------------
 */

void
gs_request_keep(const GsRequest *request, GsEntry *e)
{
	unsigned char *kept;

	if (request->id == NULL)
		return;
	kept = MemoryContextAlloc(gs_writeset_context(), UUID_LEN);
	memcpy(kept, request->id->data, UUID_LEN);
	e->request_id = kept;
	e->request_arguments = request->arguments;
}
