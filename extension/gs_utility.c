/*-------------------------------------------------------------------------
 *
 * gs_utility.c
 *	  Commands that concern us: databases and the extension come and go.
 *
 * The model:
 *	1. DROP DATABASE, CREATE DATABASE (its template), ALTER DATABASE RENAME and
 *	   SET TABLESPACE need a database to which nobody is connected.  Before
 *	   such a command runs our workers are sent away and barred
 *	   (gs_worker_bar()); the bar ends with the transaction.  This is done only
 *	   for a caller who may run the command, so that nobody else can disturb
 *	   the archiver; all errors are left to the command itself.
 *	2. After DROP DATABASE the database's games leave memory at commit.
 *	3. DROP EXTENSION gamestate, and what amounts to it (DROP SCHEMA ... CASCADE
 *	   of its schema, DROP OWNED of its owner), is refused while there are
 *	   games, live (they are loaded first), archived or saved, unless
 *	   gamestate.allow_drop_extension() was called.  Otherwise the archiver is
 *	   sent away first: it may hold or wait for locks on what is dropped.
 *	4. That the extension is really dropped is known from the object access
 *	   hook, which is also the backstop for ways to drop it that step 3 does
 *	   not know.  At that time its tables have gone already, so that step 3
 *	   must have counted the archived rows; if it has not, the drop is refused.
 *	5. At commit the launcher is told: look again at this database.
 *	6. A process takes the settings of its database (ALTER DATABASE ... SET) when it
 *	   connects.  When they have been changed our workers there are sent away,
 *	   and come back with the new ones.
 *
 * Locking: none of our own; the commands take theirs after we have finished.
 * What happens at the transaction's end (release_callback) must not fail.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_database.h"
#include "gs_utility.h"
#include "gs_worker.h"
#include "gs_writeset.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* Archived rows are counted up to here; nobody wants to wait for more. */
#define COUNT_LIMIT 10000

static ProcessUtility_hook_type prev_process_utility = NULL;
static object_access_hook_type prev_object_access = NULL;

/*
 * What the end of this transaction has to do.  A subtransaction's rollback
 * does not take it back: the worst is that the launcher looks for nothing and
 * that the archiver is away until the transaction ends.
 */
static bool something_to_end = false; /* any of the following, or bars */
static bool look_at_commit = false;	  /* the extension came or went here */
static bool wake_at_commit = false;	  /* there is a new database */
static bool dropped_here = false; /* the extension was dropped, maybe rolled back since */
static bool permission_used = false;
static List *renew_at_commit = NIL; /* databases, in TopTransactionContext */

/* gamestate.allow_drop_extension() was called in this session */
static bool drop_allowed = false;

/*
 * In the course of a command that may drop the extension: what there was
 * before it began.
 */
typedef struct GamesFound
{
	int64 live;
	int64 archived; /* up to COUNT_LIMIT, as the next ones */
	int64 suspended;
	int64 saved; /* likewise */
} GamesFound;

static const GamesFound *games_found = NULL;

PG_FUNCTION_INFO_V1(gs_allow_drop_extension);

/* ----------------------------------------------------------------
 *		Databases
 * ----------------------------------------------------------------
 */

/* core's have_createdb_privilege(), which not every minor release exports */
static bool
may_create_databases(void)
{
	HeapTuple tuple;
	bool result = false;

	if (superuser())
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return result;
}

static bool
is_template(Oid dboid)
{
	HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(dboid));
	bool result = false;

	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
		ReleaseSysCache(tuple);
	}
	return result;
}

static char *
option_string(List *options, const char *name, char *default_value)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0)
			return option->arg ? defGetString(option) : default_value;
	}
	return default_value;
}

/* The oid of a database that the user owns and that is not the current one. */
static Oid
own_other_database(const char *name)
{
	Oid dboid = name ? get_database_oid(name, true) : InvalidOid;

	if (!OidIsValid(dboid) || dboid == MyDatabaseId ||
		!GS_DATABASE_OWNERCHECK(dboid, GetUserId()))
		return InvalidOid;
	return dboid;
}

/*
 * Which database does the command want for itself?  InvalidOid if none, or
 * if the command will fail anyhow.
 */
static Oid
database_to_clear(Node *command, bool in_block)
{
	switch (nodeTag(command))
	{
		case T_DropdbStmt:
			return in_block ? InvalidOid
							: own_other_database(((DropdbStmt *) command)->dbname);
		case T_CreatedbStmt:
		{
			char *name = option_string(((CreatedbStmt *) command)->options, "template",
									   "template1");
			Oid dboid = get_database_oid(name, true);

			/* the current database may be copied as well */
			if (!in_block && OidIsValid(dboid) && may_create_databases() &&
				(is_template(dboid) || GS_DATABASE_OWNERCHECK(dboid, GetUserId())))
				return dboid;
			return InvalidOid;
		}
		case T_RenameStmt:
		{
			RenameStmt *stmt = (RenameStmt *) command;

			if (stmt->renameType == OBJECT_DATABASE && may_create_databases())
				return own_other_database(stmt->subname);
			return InvalidOid;
		}
		case T_AlterDatabaseStmt:
		{
			AlterDatabaseStmt *stmt = (AlterDatabaseStmt *) command;

			if (!in_block && option_string(stmt->options, "tablespace", NULL) != NULL)
				return own_other_database(stmt->dbname);
			return InvalidOid;
		}
		default:
			return InvalidOid;
	}
}

/* ----------------------------------------------------------------
 *		The extension
 * ----------------------------------------------------------------
 */

/* Owner and schema of the extension; false if it is not in this database. */
static bool
find_extension(Oid *oid, Oid *owner, Oid *schema)
{
	Relation rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple tuple;
	bool found = false;

	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(GS_EXTENSION_NAME));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_extension form = (Form_pg_extension) GETSTRUCT(tuple);

		*oid = form->oid;
		*owner = form->extowner;
		*schema = form->extnamespace;
		found = true;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

static bool
lists_extension(List *objects)
{
	ListCell *cell;

	foreach (cell, objects)
	{
		if (strcmp(strVal(lfirst(cell)), GS_EXTENSION_NAME) == 0)
			return true;
	}
	return false;
}

static bool
lists_schema(List *objects, Oid schema)
{
	ListCell *cell;

	foreach (cell, objects)
	{
		if (get_namespace_oid(strVal(lfirst(cell)), true) == schema)
			return true;
	}
	return false;
}

static bool
lists_role(List *roles, Oid role)
{
	ListCell *cell;

	foreach (cell, roles)
	{
		if (get_rolespec_oid(lfirst_node(RoleSpec, cell), true) == role)
			return true;
	}
	return false;
}

/* Will the command, if it succeeds, drop the extension?  May its user do so? */
static bool
drops_extension(Node *command)
{
	Oid extension;
	Oid owner;
	Oid schema;

	if (IsA(command, DropStmt))
	{
		DropStmt *stmt = (DropStmt *) command;

		if (stmt->removeType == OBJECT_EXTENSION)
			return lists_extension(stmt->objects) &&
				   find_extension(&extension, &owner, &schema) &&
				   GS_EXTENSION_OWNERCHECK(extension, GetUserId());
		if (stmt->removeType == OBJECT_SCHEMA && stmt->behavior == DROP_CASCADE)
			return find_extension(&extension, &owner, &schema) &&
				   lists_schema(stmt->objects, schema) &&
				   GS_NAMESPACE_OWNERCHECK(schema, GetUserId());
	}
	else if (IsA(command, DropOwnedStmt))
		return find_extension(&extension, &owner, &schema) &&
			   lists_role(((DropOwnedStmt *) command)->roles, owner) &&
			   has_privs_of_role(GetUserId(), owner);
	return false;
}

/* Games of this database that are not archived, our own new ones included. */
static int64
count_live_games(void)
{
	GsDatabase *db;
	int64 n = 0;

	if (GsShmem == NULL)
		return 0;
	db = gs_database_find(MyDatabaseId, false);
	if (db != NULL)
		n = (int64) pg_atomic_read_u64(&db->ngames);
	if (GsWriteSetActive)
	{
		GsWriteSetScan scan = {0};
		GsPending *pending;

		while ((pending = gs_writeset_next(&scan)) != NULL)
			if (pending->change.kind == GS_CHANGE_CREATE && pending->exists)
				n++;
	}
	return n;
}

/* Rows of a table of ours up to COUNT_LIMIT, whatever our transaction's snapshot sees. */
static int64
count_rows(const char *table)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	char query[160];
	SPIPlanPtr plan;
	bool isnull;
	int64 n;

	snprintf(query, sizeof(query), "SELECT count(*) FROM (SELECT FROM %s LIMIT %d) AS t",
			 table, COUNT_LIMIT);
	plan = SPI_prepare(query, 0, NULL);
	if (plan == NULL ||
		SPI_execute_snapshot(plan, NULL, NULL, snapshot, InvalidSnapshot, true, false,
							 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not count rows of %s", table);
	n = DatumGetInt64(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	UnregisterSnapshot(snapshot);
	return n;
}

/*
 * Count as the tables' owner: row security or a missing right of the user
 * must not hide rows.  Saved games count whoever has saved them: of games of
 * durability memory they may be all that is left, and after a restore of all.
 */
static void
count_stored_games(GamesFound *found)
{
	Oid owner = get_role_oid(GS_OWNER_ROLE, false);
	Oid save_user;
	int save_security;
	int nest_level;

	GetUserIdAndSecContext(&save_user, &save_security);
	SetUserIdAndSecContext(owner, save_security | SECURITY_LOCAL_USERID_CHANGE |
									  SECURITY_RESTRICTED_OPERATION |
									  SECURITY_NOFORCE_RLS);
	nest_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();

	/* payloads may outlive their rows, or the other way round */
	found->archived = count_rows("gamestate.archive");
	if (found->archived == 0)
		found->archived = count_rows("gamestate.archive_payload");
	found->archived += count_rows("gamestate.dead_letter");
	found->suspended = count_rows("gamestate.suspended");
	found->saved = count_rows("gamestate.saved_games");

	SPI_finish();
	AtEOXact_GUC(false, nest_level);
	SetUserIdAndSecContext(save_user, save_security);
}

static bool
has_games(const GamesFound *found)
{
	return found->live > 0 || found->suspended > 0 || found->archived > 0 ||
		   found->saved > 0;
}

static _Noreturn void
refuse_drop(const GamesFound *found)
{
	ereport(ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("cannot drop extension %s because it has games", GS_EXTENSION_NAME),
			 found == NULL ?
			 errdetail("It is dropped in a way that does not allow to look for archived games.") :
			 errdetail("This database has %lld live games, %s%lld suspended games, %s%lld archived games and %s%lld saved games.",
					   (long long) found->live,
					   found->suspended >= COUNT_LIMIT ? "at least " : "",
					   (long long) found->suspended,
					   found->archived >= COUNT_LIMIT ? "at least " : "",
					   (long long) found->archived,
					   found->saved >= COUNT_LIMIT ? "at least " : "",
					   (long long) found->saved),
			 errhint("To delete all games with it, call gamestate.allow_drop_extension() first.")));
}

/*
 * After a start games are in the journal and not yet in memory, where they are
 * counted.  If they cannot be loaded nobody knows how many there are.
 */
static void
load_games(void)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		gs_attach();
		(void) gs_ready();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot drop extension %s because its games could not be counted",
						GS_EXTENSION_NAME),
				 errdetail("They could not be loaded: %s.", error->message),
				 errhint("To delete all games with it, call gamestate.allow_drop_extension() first.")));
	}
	PG_END_TRY();
}

/* The command is going to drop the extension: refuse, or make room for it. */
static void
before_drop(GamesFound *found)
{
	if (!drop_allowed)
	{
		if (GsShmem != NULL)
			load_games();
		found->live = count_live_games();
		count_stored_games(found);
		if (has_games(found))
			refuse_drop(found);
	}
	if (GsShmem != NULL)
		gs_worker_bar(MyDatabaseId);
}

/* The extension is being dropped now. */
static void
extension_dropped(void)
{
	if (!drop_allowed)
	{
		if (games_found == NULL || has_games(games_found))
			refuse_drop(games_found);
	}
	else
		permission_used = true;
	something_to_end = look_at_commit = dropped_here = true;
	if (GsShmem != NULL)
	{
		gs_worker_bar(MyDatabaseId);
		gs_writeset_remove_database(MyDatabaseId, false);
	}
}

static void
object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (prev_object_access)
		prev_object_access(access, class_id, object_id, sub_id, arg);
	if (class_id != ExtensionRelationId)
		return;

	if (access == OAT_POST_CREATE)
	{
		/* its row is not visible yet; any extension will do to have a look */
		look_at_commit = true;
		something_to_end = true;
	}
	else if (access == OAT_DROP)
	{
		char *name = get_extension_name(object_id);

		if (name != NULL && strcmp(name, GS_EXTENSION_NAME) == 0)
			extension_dropped();
	}
}

/* EXECUTE is granted to nobody; superusers pass. */
Datum
gs_allow_drop_extension(PG_FUNCTION_ARGS)
{
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to allow dropping extension %s with its games",
						GS_EXTENSION_NAME)));
	drop_allowed = true;
	PG_RETURN_VOID();
}

/* ----------------------------------------------------------------
 *		Hooks
 * ----------------------------------------------------------------
 */

static void
run_command(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
			ProcessUtilityContext context, ParamListInfo params,
			QueryEnvironment *query_env, DestReceiver *dest, QueryCompletion *qc)
{
	if (prev_process_utility)
		prev_process_utility(pstmt, query_string, read_only_tree, context, params,
							 query_env, dest, qc);
	else
		standard_ProcessUtility(pstmt, query_string, read_only_tree, context, params,
								query_env, dest, qc);
}

/* Is this one of the commands that this file is about? */
static bool
concerns_us(Node *command)
{
	switch (nodeTag(command))
	{
		case T_CreatedbStmt:
		case T_DropdbStmt:
		case T_AlterDatabaseStmt:
		case T_AlterDatabaseSetStmt:
		case T_DropOwnedStmt:
			return true;
		case T_RenameStmt:
			return ((RenameStmt *) command)->renameType == OBJECT_DATABASE;
		case T_DropStmt:
			return ((DropStmt *) command)->removeType == OBJECT_EXTENSION ||
				   ((DropStmt *) command)->removeType == OBJECT_SCHEMA;
		default:
			return false;
	}
}

/* Run a command that drops the extension; object_access() sees what was found. */
static void
run_drop(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
		 ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *query_env,
		 DestReceiver *dest, QueryCompletion *qc)
{
	const GamesFound *outer_found = games_found;
	GamesFound found = {0};

	before_drop(&found);
	games_found = &found;
	PG_TRY();
	{
		run_command(pstmt, query_string, read_only_tree, context, params, query_env, dest,
					qc);
	}
	PG_FINALLY();
	{
		games_found = outer_found;
	}
	PG_END_TRY();
}

/* Of a database; the command has found it. */
static void
settings_changed(const char *dbname)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	renew_at_commit =
		list_append_unique_oid(renew_at_commit, get_database_oid(dbname, false));
	MemoryContextSwitchTo(old);
}

static void
process_utility(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *query_env, DestReceiver *dest, QueryCompletion *qc)
{
	Node *command = pstmt->utilityStmt;
	bool in_block;
	Oid dboid = InvalidOid;

	/*
	 * An aborted transaction can run nothing but ROLLBACK, and a standby none of
	 * these: that must not send its followers away.
	 */
	if (!concerns_us(command) || !IsTransactionState() || RecoveryInProgress())
	{
		run_command(pstmt, query_string, read_only_tree, context, params, query_env, dest,
					qc);
		return;
	}

	something_to_end = true;
	if (drops_extension(command))
	{
		run_drop(pstmt, query_string, read_only_tree, context, params, query_env, dest,
				 qc);
		return;
	}

	in_block = IsInTransactionBlock(context == PROCESS_UTILITY_TOPLEVEL);
	if (GsShmem != NULL)
		dboid = database_to_clear(command, in_block);
	if (OidIsValid(dboid))
		gs_worker_bar(dboid);

	/* noted before the point of no return; forgotten if the command fails */
	if (IsA(command, DropdbStmt) && OidIsValid(dboid))
		gs_writeset_remove_database(dboid, true);
	run_command(pstmt, query_string, read_only_tree, context, params, query_env, dest,
				qc);
	if (IsA(command, CreatedbStmt))
		wake_at_commit = true;
	if (IsA(command, AlterDatabaseSetStmt))
		settings_changed(((AlterDatabaseSetStmt *) command)->dbname);
}

/*
 * Games may have been created while the extension was being dropped.  (Those
 * created later still go with it: their tables have gone.)
 */
static void
check_before_commit(void)
{
	GamesFound found = {0};

	if (!dropped_here || drop_allowed ||
		OidIsValid(get_extension_oid(GS_EXTENSION_NAME, true)))
		return;
	found.live = count_live_games();
	if (found.live > 0)
		refuse_drop(&found);
}

static void
renew_workers(void)
{
	ListCell *cell;

	foreach (cell, renew_at_commit)
		gs_worker_renew(lfirst_oid(cell));
}

static void
transaction_end(bool commit)
{
	something_to_end = false;
	if (permission_used)
		drop_allowed = false;
	gs_worker_unbar_all();
	if (GsShmem != NULL && look_at_commit && commit)
		gs_worker_request_look(MyDatabaseId);
	else if (GsShmem != NULL && wake_at_commit && commit)
		gs_worker_wake_launcher();
	if (GsShmem != NULL && commit)
		renew_workers();
	renew_at_commit = NIL; /* its memory goes with the transaction */
	look_at_commit = wake_at_commit = dropped_here = permission_used = false;
}

static void
xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (dropped_here)
				check_before_commit();
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (dropped_here)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot PREPARE a transaction that has dropped extension %s",
								GS_EXTENSION_NAME)));
			break;
		default:
			break;
	}
}

/*
 * The end of a transaction, after all its callbacks and with its locks
 * released: from here on workers may come back.
 */
static void
release_callback(ResourceReleasePhase phase, bool commit, bool top_level, void *arg)
{
	if (phase == RESOURCE_RELEASE_AFTER_LOCKS && top_level && something_to_end)
		transaction_end(commit);
}

void
gs_utility_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	prev_object_access = object_access_hook;
	object_access_hook = object_access;
	RegisterXactCallback(xact_callback, NULL);
	RegisterResourceReleaseCallback(release_callback, NULL);
}
