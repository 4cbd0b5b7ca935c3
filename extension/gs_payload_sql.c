/*-------------------------------------------------------------------------
 *
 * gs_payload_sql.c
 *	  What is in a payload, as SQL functions of its row.
 *
 * They touch no table: whoever has the row may know what is in it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_unpack.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(gs_payload_final_state);
PG_FUNCTION_INFO_V1(gs_payload_final_state_bytes);

/* payload_final_state(encoding, and what GsPacked has, payload) */
static Datum
payload_final_state(FunctionCallInfo fcinfo, bool as_bytes)
{
	GsPacked packed;
	GsPayload payload;
	const char *wrong;
	char *encoding;
	char *raw;

	for (int i = 0; i < 6; i++)
		if (PG_ARGISNULL(i) && i != 2)
			PG_RETURN_NULL();
	encoding = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if ((strcmp(encoding, "bytes") == 0) != as_bytes)
		PG_RETURN_NULL();
	packed.format = PG_GETARG_INT16(1);
	packed.dictionary = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2);
	packed.raw_size = PG_GETARG_INT32(3);
	packed.checksum = PG_GETARG_INT64(4);
	wrong = gs_unpack(&packed, PG_GETARG_BYTEA_PP(5), &raw, &payload);
	if (wrong == NULL && !as_bytes &&
		!pg_verify_mbstr(GetDatabaseEncoding(), payload.final, (int) payload.final_len,
						 true))
		wrong = "its text is not valid in the encoding of this database";
	if (wrong != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("payload of a game is damaged"),
				 errdetail("What is wrong: %s.", wrong)));
	return PointerGetDatum(
		cstring_to_text_with_len(payload.final, (int) payload.final_len));
}

Datum
gs_payload_final_state(PG_FUNCTION_ARGS)
{
	return payload_final_state(fcinfo, false);
}

Datum
gs_payload_final_state_bytes(PG_FUNCTION_ARGS)
{
	return payload_final_state(fcinfo, true);
}
