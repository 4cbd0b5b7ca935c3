/*-------------------------------------------------------------------------
 *
 * gs_lease_sql.c
 *	  claim_games(), renew_lease(), release_games(), list_leases().
 *
 * The model of claim_games():
 *	1. There must be numbers for leases; the first claim after a start gets an
 *	   epoch of them from the disk.  Leases whose time is over are ended.
 *	2. Look for games that run, are of the type, and have no lease
 *	   (gs_lease_look_for()), up to as many as are wanted.
 *	3. Claim each (gs_lease_take()); somebody else may have been faster, so look
 *	   again for what is missing.
 *	4. Answer when what is told of the games is durable.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_feed.h"
#include "gs_lease.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(gs_claim_games);
PG_FUNCTION_INFO_V1(gs_renew_lease);
PG_FUNCTION_INFO_V1(gs_release_games);
PG_FUNCTION_INFO_V1(gs_list_leases);

/* How often to look again for games that somebody else has claimed meanwhile. */
#define ROUNDS 3

/* ----------------------------------------------------------------
 *		Arguments
 * ----------------------------------------------------------------
 */

static GsText
arg_owner(FunctionCallInfo fcinfo, int n)
{
	GsText owner;

	GS_REQUIRE_ARG(n, "owner");
	owner = gs_arg_bytes(fcinfo, n);
	gs_check_id(&owner, "owner");
	return owner;
}

/* Until when; NULL = for ever, if that is allowed. */
static TimestampTz
arg_ttl(FunctionCallInfo fcinfo, int n, bool may_be_null)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until;

	if (PG_ARGISNULL(n) && may_be_null)
		return DT_NOEND;
	GS_REQUIRE_ARG(n, "ttl");
	until = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													TimestampTzGetDatum(now),
													PG_GETARG_DATUM(n)));
	if (until <= now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ttl must be greater than zero")));
	return until;
}

static int
arg_ids(FunctionCallInfo fcinfo, int n, pg_uuid_t **ids)
{
	Datum *datums;
	bool *nulls;
	int count;

	*ids = NULL;
	if (PG_ARGISNULL(n))
		return -1;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR,
					  &datums, &nulls, &count);
	*ids =
		MemoryContextAllocHuge(CurrentMemoryContext, sizeof(pg_uuid_t) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			gs_null_argument("game_id");
		(*ids)[i] = *DatumGetUUIDP(datums[i]);
	}
	return count;
}

/* ----------------------------------------------------------------
 *		claim_games
 * ----------------------------------------------------------------
 */

static void
put_claimed(ReturnSetInfo *rsinfo, const pg_uuid_t *id, int64 number, int64 version,
			const GsClaim *claim)
{
	Datum values[4];
	bool nulls[4] = {0};

	values[0] = UUIDPGetDatum(id);
	values[1] = Int64GetDatum(number);
	values[2] = Int64GetDatum(version);
	values[3] = TimestampTzGetDatum(claim->expires_at);
	nulls[3] = claim->expires_at == DT_NOEND;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* Returns how many it has found, of which it has claimed *claimed. */
static int
claim_round(GsDatabase *db, const GsLeaseWanted *wanted, const GsClaim *claim, int max,
			ReturnSetInfo *rsinfo, int *claimed)
{
	int room = Min(max, (int) Min(pg_atomic_read_u64(&db->ngames), INT_MAX / 2));
	pg_uuid_t *found;
	int nfound;

	*claimed = 0;
	if (wanted->nids >= 0)
		room = Min(max, wanted->nids);
	found =
		MemoryContextAllocHuge(CurrentMemoryContext, sizeof(pg_uuid_t) * Max(room, 1));
	nfound = gs_lease_look_for(db, wanted, found, room);
	for (int i = 0; i < nfound; i++)
	{
		int64 version;
		int64 number;

		CHECK_FOR_INTERRUPTS();
		number = gs_lease_take(db, &found[i], claim, &version);
		if (number == 0)
			continue;
		put_claimed(rsinfo, &found[i], number, version, claim);
		(*claimed)++;
	}
	pfree(found);
	return nfound;
}

static void
take_wanted(FunctionCallInfo fcinfo, GsLeaseWanted *wanted)
{
	pg_uuid_t *ids;

	wanted->game_type = gs_arg_bytes(fcinfo, 1);
	wanted->max = PG_ARGISNULL(2) ? INT_MAX : PG_GETARG_INT32(2);
	if (wanted->max < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_games must not be negative")));
	wanted->nids = arg_ids(fcinfo, 4, &ids);
	wanted->ids = ids;
}

Datum
gs_claim_games(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	GsDatabase *db;
	GsClaim claim;
	GsLeaseWanted wanted;
	int left;

	gs_begin_write("claim_games()");
	claim.owner = arg_owner(fcinfo, 0);
	GS_REQUIRE_ARG(5, "with_session");
	claim.with_session = PG_GETARG_BOOL(5);
	claim.expires_at = arg_ttl(fcinfo, 3, claim.with_session);
	take_wanted(fcinfo, &wanted);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	db = gs_my_database();
	gs_lease_reserve_numbers(db);
	(void) gs_leases_expire(db);
	left = wanted.max;
	for (int round = 0; round < ROUNDS && left > 0; round++)
	{
		int n;

		if (claim_round(db, &wanted, &claim, left, rsinfo, &n) == 0)
			break;
		left -= n;
	}
	gs_feed_wake();
	gs_durable_wait();
	return (Datum) 0;
}

/* ----------------------------------------------------------------
 *		The others
 * ----------------------------------------------------------------
 */

Datum
gs_renew_lease(PG_FUNCTION_ARGS)
{
	GsText owner;
	TimestampTz expires_at;

	gs_begin_write("renew_lease()");
	owner = arg_owner(fcinfo, 0);
	expires_at = arg_ttl(fcinfo, 1, false);
	PG_RETURN_INT64(gs_leases_renew(gs_my_database(), &owner, expires_at));
}

Datum
gs_release_games(PG_FUNCTION_ARGS)
{
	GsText owner;
	pg_uuid_t *ids;
	int n;

	gs_begin_write("release_games()");
	owner = arg_owner(fcinfo, 0);
	n = arg_ids(fcinfo, 1, &ids);
	PG_RETURN_INT64(gs_leases_release(gs_my_database(), &owner, ids, n));
}

Datum
gs_list_leases(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	GsText owner = {NULL, 0};
	GsLeaseRow *rows;
	int n;

	gs_attach();
	if (!PG_ARGISNULL(0))
		owner = arg_owner(fcinfo, 0);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	rows = gs_leases_list(gs_my_database(), &owner, &n);
	for (int i = 0; i < n; i++)
	{
		Datum values[5];
		bool nulls[5] = {0};

		values[0] = UUIDPGetDatum(&rows[i].game_id);
		values[1] = Int64GetDatum(rows[i].number);
		values[2] =
			PointerGetDatum(cstring_to_text_with_len(rows[i].owner, rows[i].owner_len));
		values[3] = Int32GetDatum(rows[i].pid);
		nulls[3] = rows[i].pid == 0;
		values[4] = TimestampTzGetDatum(rows[i].expires_at);
		nulls[4] = rows[i].expires_at == DT_NOEND;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
