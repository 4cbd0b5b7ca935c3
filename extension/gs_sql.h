/*-------------------------------------------------------------------------
 *
 * gs_sql.h
 *	  SQL of ours: commands through SPI, and whether our tables are as we have
 *	  made them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_SQL_H
#define GS_SQL_H

#include "postgres.h"

#include "access/attnum.h"
#include "utils/relcache.h"

/* A command with its arguments, none of them NULL, connected to SPI; result: SPI_OK_... */
extern void gs_sql_run(const char *command, int result, int nargs, const Oid *types,
					   const Datum *values);
extern void gs_sql_utility(const char *command);

/*
 * The column of that name and type, or the first columns of a table by their
 * types: an error if somebody has changed them.
 */
extern AttrNumber gs_sql_column(Relation rel, const char *name, Oid type);
extern void gs_sql_columns(Relation rel, const Oid *types, int ncolumns);

#endif /* GS_SQL_H */
