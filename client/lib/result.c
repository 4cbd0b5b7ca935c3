/*-------------------------------------------------------------------------
 *
 * result.c
 *	  Results: checked when they arrive, read by their values.
 *
 * The model:
 * 1. gsl_result_set() turns libpq's result into an error, or compares it with
 *	  what the function returns: number, types and form of the columns, number
 *	  of rows, and each value with its type.  What does not fit becomes
 *	  GAMESTATE_BAD_ANSWER, once, here.
 * 2. So reading a value only has to look whether it is there and not NULL.
 * 3. Unpacked rows and lists are allocated inside libpq's result and go with
 *	  it (rows.c).
 * 4. A result belongs to the connection, which uses the same one for each
 *	  answer, until somebody keeps it.
 *
 *-------------------------------------------------------------------------
 */
#include "result.h"

#include <stdlib.h>
#include <string.h>

#include "codec.h"

/* -----------------------------------------------------------------------
 * Making results
 * -----------------------------------------------------------------------
 */

static const char *
field(const PGresult *pg, int code)
{
	const char *text = PQresultErrorField(pg, code);

	return text != NULL ? text : "";
}

bool
gsl_result_is_fatal(const PGresult *pg)
{
	const char *severity = PQresultErrorField(pg, PG_DIAG_SEVERITY_NONLOCALIZED);

	return severity != NULL &&
		   (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

static void
set_server_error(gamestate_result *result, const Function *function)
{
	gamestate_error *error = &result->error;
	const char *sqlstate = field(result->pg, PG_DIAG_SQLSTATE);

	*error = gsl_error(GAMESTATE_SERVER_ERROR, NULL);
	if (strlen(sqlstate) == 5)
	{
		memcpy(error->sqlstate, sqlstate, 6);
		error->message = field(result->pg, PG_DIAG_MESSAGE_PRIMARY);
		error->detail = field(result->pg, PG_DIAG_MESSAGE_DETAIL);
		error->hint = field(result->pg, PG_DIAG_MESSAGE_HINT);
		/*
		 * "Transaction resolution unknown", "statement completion unknown"; and a
		 * COMMIT that met the end of its session.  Other calls commit after their
		 * results, at their Sync.
		 */
		error->maybe_executed =
			strcmp(sqlstate, "08007") == 0 || strcmp(sqlstate, "40003") == 0 ||
			((function->flags & FN_TRANSACTION) != 0 && gsl_result_is_fatal(result->pg));
	}
	else
	{
		/* libpq's own: it could not make sense of the answer, or store it. */
		error->status = GAMESTATE_BAD_ANSWER;
		error->maybe_executed = true;
		error->message = PQresultErrorMessage(result->pg);
	}
}

/* What is wrong with the rows, or NULL. */
static const char *
check_columns(const PGresult *pg, const ShapeColumns *shape)
{
	if (PQnfields(pg) != shape->count)
		return "the answer has another number of columns than this call's";
	for (int column = 0; column < shape->count; column++)
	{
		if (PQftype(pg, column) != shape->types[column] || PQfformat(pg, column) != 1)
			return "a column of the answer has another type than this call's";
	}
	if (shape->one_row && PQntuples(pg) != 1)
		return "the answer has another number of rows than this call's";
	return NULL;
}

static const char *
check_values(const PGresult *pg, bool any_shape)
{
	int rows = PQntuples(pg);
	int columns = PQnfields(pg);

	for (int column = 0; column < columns; column++)
	{
		uint32_t type = PQftype(pg, column);

		/* An array of SQL's may have more dimensions than we can unpack. */
		if (PQfformat(pg, column) != 1 || (any_shape && type == TYPE_TEXT_ARRAY))
			continue;
		for (int row = 0; row < rows; row++)
		{
			if (!PQgetisnull(pg, row, column) &&
				!gsl_value_fits(type, PQgetvalue(pg, row, column),
								PQgetlength(pg, row, column)))
				return "a value of the answer does not have the form of its type";
		}
	}
	return NULL;
}

static void
set_rows(gamestate_result *result, const Function *function)
{
	bool any = function->shape == SHAPE_ANY;
	const char *problem = NULL;

	if (!any)
		problem = check_columns(result->pg, &gsl_shapes[function->shape]);
	if (problem == NULL)
		problem = check_values(result->pg, any);
	if (problem != NULL)
	{
		result->error = gsl_error(GAMESTATE_BAD_ANSWER, problem);
		result->error.detail = "The call has been executed.";
		result->error.hint =
			"The server's extension and this library may be of different versions.";
		result->error.maybe_executed = true;
		return;
	}
	result->rows = (size_t) PQntuples(result->pg);
	/* no game: a row of NULLs */
	if (function->shape == SHAPE_GAME && PQgetisnull(result->pg, 0, 0))
		result->rows = 0;
}

void
gsl_result_set(gamestate_result *result, PGresult *pg, const Function *function)
{
	memset(result, 0, sizeof(*result));
	result->pg = pg;
	result->shape = function->shape;
	result->error = gsl_error(GAMESTATE_OK, "");
	switch (PQresultStatus(pg))
	{
		case PGRES_TUPLES_OK:
			set_rows(result, function);
			break;
		case PGRES_COMMAND_OK:
		case PGRES_EMPTY_QUERY:
			if (function->shape != SHAPE_ANY && function->shape != SHAPE_COMMAND)
			{
				result->error = gsl_error(GAMESTATE_BAD_ANSWER, "the answer has no rows");
				result->error.maybe_executed = true;
			}
			else if (function == &gsl_functions[FN_COMMIT] &&
					 strcmp(PQcmdStatus(pg), "COMMIT") != 0)
			{
				/* The server says ROLLBACK, and calls it a success. */
				result->error = gsl_error(GAMESTATE_SERVER_ERROR,
										  "the transaction has been rolled back");
				result->error.detail = "One of its calls had failed.";
				memcpy(result->error.sqlstate, "40000", 6);
			}
			break;
		default:
			set_server_error(result, function);
			break;
	}
}

void
gsl_result_fail(gamestate_result *result, const gamestate_error *error)
{
	memset(result, 0, sizeof(*result));
	result->shape = SHAPE_COMMAND;
	result->error = *error;
}

void
gsl_result_clear(gamestate_result *result)
{
	PQclear(result->pg);
	free(result->texts);
	memset(result, 0, sizeof(*result));
}

/* A copy of one of the error's texts; `at` moves beyond it. */
static const char *
keep_text(char **at, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = *at;

	memcpy(copy, text, size);
	*at += size;
	return copy;
}

gamestate_result *
gamestate_result_keep(gamestate_result *result)
{
	gamestate_result *kept;

	if (result == NULL || result->kept)
		return result;
	kept = malloc(sizeof(*kept));
	if (kept == NULL)
		return NULL;
	*kept = *result;
	kept->kept = true;
	if (result->pg == NULL)
	{
		const gamestate_error *error = &result->error;
		char *at = malloc(strlen(error->message) + strlen(error->detail) +
						  strlen(error->hint) + 3);

		if (at == NULL)
		{
			free(kept);
			return NULL;
		}
		kept->texts = at;
		kept->error.message = keep_text(&at, error->message);
		kept->error.detail = keep_text(&at, error->detail);
		kept->error.hint = keep_text(&at, error->hint);
	}
	/* What it holds has another owner now; it goes on showing it. */
	result->kept = true;
	result->texts = NULL;
	return kept;
}

void
gamestate_result_free(gamestate_result *result)
{
	if (result == NULL)
		return;
	gsl_result_clear(result);
	free(result);
}

/* -----------------------------------------------------------------------
 * Reading them
 * -----------------------------------------------------------------------
 */

gamestate_status
gamestate_result_status(const gamestate_result *result)
{
	return result != NULL ? result->error.status : GAMESTATE_NO_MEMORY;
}

const gamestate_error *
gamestate_result_error(const gamestate_result *result)
{
	return result != NULL ? &result->error : &gsl_out_of_memory;
}

size_t
gamestate_result_rows(const gamestate_result *result)
{
	return result != NULL ? result->rows : 0;
}

size_t
gamestate_result_columns(const gamestate_result *result)
{
	if (result == NULL || result->pg == NULL || result->error.status != GAMESTATE_OK)
		return 0;
	return (size_t) PQnfields(result->pg);
}

/* Is there such a value, and is it not NULL? */
static bool
has_value(const gamestate_result *result, size_t row, size_t column)
{
	return row < gamestate_result_rows(result) &&
		   column < gamestate_result_columns(result) &&
		   !PQgetisnull(result->pg, (int) row, (int) column);
}

/* A value of that type in binary form, or NULL. */
static const char *
binary_value(const gamestate_result *result, size_t row, size_t column, uint32_t type)
{
	if (!has_value(result, row, column) || PQftype(result->pg, (int) column) != type ||
		PQfformat(result->pg, (int) column) != 1)
		return NULL;
	return PQgetvalue(result->pg, (int) row, (int) column);
}

/* The one value of a call of that shape, or NULL. */
static const char *
single_value(const gamestate_result *result, Shape shape)
{
	if (result == NULL || result->shape != shape || !has_value(result, 0, 0))
		return NULL;
	return PQgetvalue(result->pg, 0, 0);
}

int64_t
gamestate_result_version(const gamestate_result *result)
{
	const char *value = single_value(result, SHAPE_VERSION);

	return value != NULL ? (int64_t) gsl_get64(value) : 0;
}

bool
gamestate_result_game_id(const gamestate_result *result, gamestate_uuid *game_id)
{
	const char *value = single_value(result, SHAPE_GAME_ID);

	if (value == NULL)
		return false;
	memcpy(game_id->bytes, value, 16);
	return true;
}

bool
gamestate_result_token(const gamestate_result *result, gamestate_uuid *token)
{
	const char *value = single_value(result, SHAPE_TOKEN);

	/* of reconnect: that of its first row */
	if (value == NULL && result != NULL && result->shape == SHAPE_RECONNECTED &&
		result->rows > 0 && has_value(result, 0, 0))
		value = PQgetvalue(result->pg, 0, 0);
	if (value == NULL)
		return false;
	memcpy(token->bytes, value, 16);
	return true;
}

bool
gamestate_result_connected(const gamestate_result *result)
{
	const char *value = single_value(result, SHAPE_CONNECTED);

	return value != NULL && *value != 0;
}

bool
gamestate_result_deleted(const gamestate_result *result)
{
	const char *value = single_value(result, SHAPE_DELETED);

	return value != NULL && *value != 0;
}

gamestate_data
gamestate_result_state(const gamestate_result *result)
{
	gamestate_data data = {NULL, 0};
	const char *value = single_value(result, SHAPE_JSON);

	if (value == NULL)
		value = single_value(result, SHAPE_BYTES);
	if (value != NULL)
	{
		data.data = value;
		data.len = (size_t) PQgetlength(result->pg, 0, 0);
	}
	return data;
}

int64_t
gamestate_result_feed_position(const gamestate_result *result)
{
	const char *value = single_value(result, SHAPE_POSITION);

	/* of wait_changes: that of its last row */
	if (value == NULL && result != NULL && result->shape == SHAPE_FEED &&
		result->rows > 0 && has_value(result, result->rows - 1, 0))
		value = PQgetvalue(result->pg, (int) result->rows - 1, 0);
	return value != NULL ? (int64_t) gsl_get64(value) : 0;
}

const char *
gamestate_result_column_name(const gamestate_result *result, size_t column)
{
	if (column >= gamestate_result_columns(result))
		return NULL;
	return PQfname(result->pg, (int) column);
}

uint32_t
gamestate_result_column_type(const gamestate_result *result, size_t column)
{
	if (column >= gamestate_result_columns(result))
		return 0;
	return PQftype(result->pg, (int) column);
}

int64_t
gamestate_result_affected(const gamestate_result *result)
{
	if (result == NULL || result->pg == NULL)
		return 0;
	return strtoll(PQcmdTuples(result->pg), NULL, 10);
}

bool
gamestate_result_is_null(const gamestate_result *result, size_t row, size_t column)
{
	return !has_value(result, row, column);
}

bool
gamestate_result_bool(const gamestate_result *result, size_t row, size_t column,
					  bool *value)
{
	const char *at = binary_value(result, row, column, TYPE_BOOL);

	if (at == NULL)
		return false;
	*value = *at != 0;
	return true;
}

bool
gamestate_result_int8(const gamestate_result *result, size_t row, size_t column,
					  int64_t *value)
{
	const char *at;

	if ((at = binary_value(result, row, column, TYPE_INT8)) != NULL)
		*value = (int64_t) gsl_get64(at);
	else if ((at = binary_value(result, row, column, TYPE_INT4)) != NULL)
		*value = (int32_t) gsl_get32(at);
	else if ((at = binary_value(result, row, column, TYPE_OID)) != NULL)
		*value = gsl_get32(at);
	else if ((at = binary_value(result, row, column, TYPE_INT2)) != NULL)
		*value =
			(int16_t) ((uint16_t) (unsigned char) at[0] << 8 | (unsigned char) at[1]);
	else
		return false;
	return true;
}

bool
gamestate_result_float8(const gamestate_result *result, size_t row, size_t column,
						double *value)
{
	const char *at;

	if ((at = binary_value(result, row, column, TYPE_FLOAT8)) != NULL)
	{
		uint64_t bits = gsl_get64(at);

		memcpy(value, &bits, sizeof(bits));
	}
	else if ((at = binary_value(result, row, column, TYPE_FLOAT4)) != NULL)
	{
		uint32_t bits = gsl_get32(at);
		float small;

		memcpy(&small, &bits, sizeof(bits));
		*value = small;
	}
	else
		return false;
	return true;
}

bool
gamestate_result_timestamp(const gamestate_result *result, size_t row, size_t column,
						   int64_t *us)
{
	const char *at = binary_value(result, row, column, TYPE_TIMESTAMPTZ);

	if (at == NULL)
		at = binary_value(result, row, column, TYPE_TIMESTAMP);
	if (at == NULL)
		return false;
	*us = gsl_unix_us((int64_t) gsl_get64(at));
	return true;
}

bool
gamestate_result_uuid(const gamestate_result *result, size_t row, size_t column,
					  gamestate_uuid *value)
{
	const char *at = binary_value(result, row, column, TYPE_UUID);

	if (at == NULL)
		return false;
	memcpy(value->bytes, at, 16);
	return true;
}

const char *
gamestate_result_text(const gamestate_result *result, size_t row, size_t column)
{
	if (!has_value(result, row, column))
		return NULL;
	if (PQfformat(result->pg, (int) column) == 1)
	{
		switch (PQftype(result->pg, (int) column))
		{
			case TYPE_TEXT:
			case TYPE_VARCHAR:
			case TYPE_BPCHAR:
			case TYPE_NAME:
			case TYPE_JSON:
			case TYPE_UNKNOWN_TXT:
				break;
			case TYPE_JSONB:
				/* after the version of its form */
				return PQgetvalue(result->pg, (int) row, (int) column) + 1;
			default:
				return NULL;
		}
	}
	return PQgetvalue(result->pg, (int) row, (int) column);
}

gamestate_data
gamestate_result_data(const gamestate_result *result, size_t row, size_t column)
{
	gamestate_data data = {NULL, 0};

	if (has_value(result, row, column))
	{
		data.data = PQgetvalue(result->pg, (int) row, (int) column);
		data.len = (size_t) PQgetlength(result->pg, (int) row, (int) column);
	}
	return data;
}
