/*-------------------------------------------------------------------------
 *
 * gs_owner.c
 *	  SQL on a table of ours as the role that owns it.
 *
 * The model: for the time between begin and end the user is the table's owner,
 * in a security-restricted context and with a fixed search_path, as for a
 * worker (gs_worker.c).  The lock on the table stays to the end of the
 * transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_owner.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

void
gs_owner_begin(GsOwnerAccess *access, const char *table, LOCKMODE lockmode)
{
	Oid schema = get_namespace_oid("gamestate", false);
	Oid relid = get_relname_relid(table, schema);
	Relation rel;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table gamestate.%s does not exist", table),
				 errhint("Create the extension gamestate in this database.")));
	rel = relation_open(relid, lockmode);
	GetUserIdAndSecContext(&access->user, &access->sec_context);
	SetUserIdAndSecContext(rel->rd_rel->relowner,
						   access->sec_context | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION | SECURITY_NOFORCE_RLS);
	relation_close(rel, NoLock);
	access->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
}

void
gs_owner_end(const GsOwnerAccess *access)
{
	SPI_finish();
	AtEOXact_GUC(false, access->guc_level);
	SetUserIdAndSecContext(access->user, access->sec_context);
}
