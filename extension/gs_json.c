/*-------------------------------------------------------------------------
 *
 * gs_json.c
 *	  gamestate.to_jsonb(json): jsonb where jsonb can hold the document.
 *
 * Type json accepts documents that jsonb refuses: \u0000, lone surrogates,
 * characters the database's encoding lacks, numbers that numeric cannot hold,
 * nesting that just fitted the stack when the document came in.  A column of
 * such a view must not make a whole query fail (players could see to it that
 * nobody can query the archive), so these give NULL.  The parser is core's
 * jsonb_in(); exactly the errors it raises for a document's contents are
 * caught.  It takes no lock, opens nothing and changes nothing, so no
 * subtransaction is needed to get out of it; core's xml_is_document() does the
 * same.  Everything else (cancel, out of memory) goes on as an error.
 *
 * The parser's memory lives in one context that is kept and emptied at each
 * call, so a row that fails leaks nothing, whatever context the caller is in.
 *
 * What may not be done here: call anything in the PG_TRY block that could hold
 * a resource when it fails.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_json.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* an error that says: jsonb cannot hold this document */
static bool
is_content_error(int sqlerrcode)
{
	return sqlerrcode == ERRCODE_UNTRANSLATABLE_CHARACTER ||
		   sqlerrcode == ERRCODE_INVALID_TEXT_REPRESENTATION ||
		   sqlerrcode == ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE ||
		   sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
		   sqlerrcode == ERRCODE_STATEMENT_TOO_COMPLEX; /* nested too deeply */
}

PG_FUNCTION_INFO_V1(gs_to_jsonb);

Jsonb *
gs_json_to_jsonb(const text *document)
{
	static MemoryContext parse_context = NULL;
	MemoryContext caller_context = CurrentMemoryContext;
	Jsonb *volatile parsed = NULL;
	Jsonb *result;

	if (parse_context == NULL)
		parse_context = AllocSetContextCreate(TopMemoryContext, "gamestate to_jsonb",
											  ALLOCSET_DEFAULT_SIZES);
	/* after an error that was not ours it may still be full */
	MemoryContextReset(parse_context);
	MemoryContextSwitchTo(parse_context);

	PG_TRY();
	{
		parsed = DatumGetJsonbP(
			DirectFunctionCall1(jsonb_in, CStringGetDatum(text_to_cstring(document))));
	}
	PG_CATCH();
	{
		MemoryContext error_context = MemoryContextSwitchTo(parse_context);
		ErrorData *error = CopyErrorData();

		if (!is_content_error(error->sqlerrcode))
		{
			MemoryContextSwitchTo(error_context);
			PG_RE_THROW();
		}
		FlushErrorState();
	}
	PG_END_TRY();

	MemoryContextSwitchTo(caller_context);
	result = NULL;
	if (parsed != NULL)
	{
		result = palloc(VARSIZE(parsed));
		memcpy(result, parsed, VARSIZE(parsed));
	}
	MemoryContextReset(parse_context);
	return result;
}

Datum
gs_to_jsonb(PG_FUNCTION_ARGS)
{
	text *document = PG_GETARG_TEXT_PP(0);
	Jsonb *result = gs_json_to_jsonb(document);

	PG_FREE_IF_COPY(document, 0);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(result);
}
