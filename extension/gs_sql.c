/*-------------------------------------------------------------------------
 *
 * gs_sql.c
 *	  SQL of ours: commands through SPI, and whether our tables are as we have
 *	  made them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_sql.h"

#include "executor/spi.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

void
gs_sql_run(const char *command, int result, int nargs, const Oid *types,
		   const Datum *values)
{
	int got = SPI_execute_with_args(command, nargs, unconstify(Oid *, types),
									unconstify(Datum *, values), NULL, false, 0);

	if (got != result)
		elog(ERROR, "unexpected result %d of: %s", got, command);
}

void
gs_sql_utility(const char *command)
{
	gs_sql_run(command, SPI_OK_UTILITY, 0, NULL, NULL);
}

AttrNumber
gs_sql_column(Relation rel, const char *name, Oid type)
{
	AttrNumber number = get_attnum(RelationGetRelid(rel), name);

	if (number <= 0 || TupleDescAttr(RelationGetDescr(rel), number - 1)->atttypid != type)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table gamestate.%s is not usable", RelationGetRelationName(rel)),
				 errdetail("Its column \"%s\" has been changed.", name),
				 errhint("Undo that change.")));
	return number;
}

void
gs_sql_columns(Relation rel, const Oid *types, int ncolumns)
{
	TupleDesc desc = RelationGetDescr(rel);

	for (int i = 0; i < ncolumns; i++)
		if (i >= desc->natts || TupleDescAttr(desc, i)->attisdropped ||
			TupleDescAttr(desc, i)->atttypid != types[i])
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("table gamestate.%s is not usable", RelationGetRelationName(rel)),
					 errdetail("Its columns have been changed."),
					 errhint("Undo that change.")));
}
