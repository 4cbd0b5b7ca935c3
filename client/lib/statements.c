/*-------------------------------------------------------------------------
 *
 * statements.c
 *	  Which statements are prepared on a connection, and under which names.
 *
 * The model:
 * 1. A function's statement is prepared with its first call, in the same group
 *	  of messages.  Until the server has said that it is prepared, further calls
 *	  of it carry their SQL: so a failure stays with the call that met it.
 * 2. Other SQL is prepared if the caller says that it is worth it; a statement
 *	  is known by its text and the types of its parameters.
 * 3. A name is made of a hash of text and types, so that on a server session
 *	  that a pooler has handed us with statements of another client of this
 *	  library, the same name is the same statement.
 * 4. Statements are never dropped; a session ends with its connection.
 *
 *-------------------------------------------------------------------------
 */
#include "conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a */
#define HASH_START UINT64_C(14695981039346656037)
#define HASH_PRIME UINT64_C(1099511628211)

static uint64_t
hash_bytes(uint64_t hash, const void *data, size_t len)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * HASH_PRIME;
	return hash;
}

static bool
same_statement(const Statement *statement, uint64_t hash, const char *sql,
			   const Params *params)
{
	return statement->hash == hash && statement->type_count == params->count &&
		   strcmp(statement->sql, sql) == 0 &&
		   (params->count == 0 ||
			memcmp(statement->types, params->types,
				   (size_t) params->count * sizeof(*params->types)) == 0);
}

/* Fills in a free place; false: no memory. */
static bool
keep_statement(Statement *statement, uint64_t hash, const char *sql, const Params *params)
{
	size_t size = (size_t) params->count * sizeof(*params->types);

	statement->sql = strdup(sql);
	statement->types = malloc(size > 0 ? size : 1);
	if (statement->sql == NULL || statement->types == NULL)
	{
		free(statement->sql);
		free(statement->types);
		statement->sql = NULL;
		statement->types = NULL;
		return false;
	}
	if (size > 0)
		memcpy(statement->types, params->types, size);
	statement->type_count = params->count;
	statement->hash = hash;
	statement->state = STATEMENT_NONE;
	return true;
}

static int
find_sql(Statements *statements, const char *sql, const Params *params)
{
	uint64_t hash = hash_bytes(HASH_START, sql, strlen(sql));

	hash = hash_bytes(hash, params->types, (size_t) params->count * sizeof(uint32_t));
	if (statements->sql == NULL)
	{
		statements->sql = calloc(MAX_SQL_STATEMENTS, sizeof(Statement));
		if (statements->sql == NULL)
			return -1;
	}
	for (int i = 0; i < MAX_SQL_STATEMENTS; i++)
	{
		int place = (int) ((hash + (uint64_t) i) % MAX_SQL_STATEMENTS);
		Statement *statement = &statements->sql[place];

		if (statement->sql == NULL)
		{
			if (!keep_statement(statement, hash, sql, params))
				return -1;
			statements->sql_count++;
			return FN_SQL + place;
		}
		if (same_statement(statement, hash, sql, params))
			return FN_SQL + place;
	}
	return -1;
}

int
gsl_statement_find(Statements *statements, const gamestate_call *call,
				   const Params *params)
{
	if (call->function < FN_SQL)
		return call->function;
	if ((call->flags & GAMESTATE_SQL_PREPARE) == 0)
		return -1;
	return find_sql(statements, call->sql, params);
}

Statement *
gsl_statement(Statements *statements, int number)
{
	if (number < FN_SQL)
		return &statements->functions[number];
	return &statements->sql[number - FN_SQL];
}

/* A function's parameters always have the same types. */
void
gsl_statement_name(const Statements *statements, int number, char name[STATEMENT_NAME])
{
	uint64_t hash;

	if (number < FN_SQL)
	{
		const char *sql = gsl_functions[number].sql;

		hash = hash_bytes(HASH_START, sql, strlen(sql));
	}
	else
		hash = statements->sql[number - FN_SQL].hash;
	snprintf(name, STATEMENT_NAME, "gs_%016llx", (unsigned long long) hash);
}

void
gsl_statements_forget(Statements *statements)
{
	for (int i = 0; i < FN_SQL; i++)
		statements->functions[i].state = STATEMENT_NONE;
	for (int i = 0; statements->sql != NULL && i < MAX_SQL_STATEMENTS; i++)
		statements->sql[i].state = STATEMENT_NONE;
}

void
gsl_statements_free(Statements *statements)
{
	for (int i = 0; statements->sql != NULL && i < MAX_SQL_STATEMENTS; i++)
	{
		free(statements->sql[i].sql);
		free(statements->sql[i].types);
	}
	free(statements->sql);
	memset(statements, 0, sizeof(*statements));
}
