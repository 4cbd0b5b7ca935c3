/*-------------------------------------------------------------------------
 *
 * gs_protect.c
 *	  The journal's tables are written by nobody but the extension.
 *
 * The model:
 *	1. A row that is changed by hand in gamestate.journal_0 or journal_1, or a
 *	   change of their definition, would only be noticed much later: when
 *	   games are loaded again, or at the next move.  So statements that write
 *	   there are refused when they start (ExecutorStart), and commands before
 *	   they do anything (ProcessUtility), whoever runs them.
 *	2. Of ALTER TABLE what does not change what a row is or where it is found
 *	   is allowed: the list is of what is harmless, so that what a later
 *	   PostgreSQL adds is refused.  What only reads, rewrites or cleans up is
 *	   not our business, and DROP is refused by PostgreSQL, since the tables
 *	   belong to the extension.
 *	3. A superuser may set gamestate.allow_journal_changes, to repair what
 *	   was damaged, or changed while the library was not loaded.  What he
 *	   breaks then is found by gs_journal_check() at the next change of a game.
 *	4. Logical replication would copy the journal of a publisher to that of a
 *	   subscriber once, when a subscription to all tables begins: games of
 *	   another database, which would be loaded as ours.  No hook sees these
 *	   rows; a trigger does, which fires in such a process only
 *	   (ENABLE REPLICA) and leaves them out.  Later changes are not sent
 *	   at all: our inserts are marked so.
 *	   A TRUNCATE by hand on the publisher would be sent, and cannot be left
 *	   out: it is an error there, and replication waits until somebody has
 *	   skipped it.
 *	5. What C code finds by name (the extension's tables and schemas, the role
 *	   that owns them) keeps its name, and what belongs to the extension is
 *	   what its script has made.  What that role owns stays its own: workers
 *	   act as that role, and could archive nothing any more.
 *	6. A table is known by its name and by being a member of the extension.  A
 *	   table of that name which is none, on a subscriber without the
 *	   extension for example, is anybody's.
 *
 * Locking: none; names are looked up before the command locks them.  They
 * cannot come to mean another table meanwhile, since renaming is refused.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_protect.h"
#include "gs_worker.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "parser/parsetree.h"
#include "replication/logicalworker.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

static ProcessUtility_hook_type prev_process_utility = NULL;
static ExecutorStart_hook_type prev_executor_start = NULL;

PG_FUNCTION_INFO_V1(gs_journal_trigger);

/* ----------------------------------------------------------------
 *		Which table, and what is said about it
 * ----------------------------------------------------------------
 */

/* Is it so called?  Nearly all tables are not, so this comes first. */
static bool
has_journal_name(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool result = false;

	if (HeapTupleIsValid(tuple))
	{
		const char *name = NameStr(((Form_pg_class) GETSTRUCT(tuple))->relname);

		result = strcmp(name, "journal_0") == 0 || strcmp(name, "journal_1") == 0;
		ReleaseSysCache(tuple);
	}
	return result;
}

static bool
is_journal(Oid relid)
{
	Oid extension;

	if (!OidIsValid(relid) || !has_journal_name(relid))
		return false;
	extension = get_extension_oid(GS_EXTENSION_NAME, true);
	return OidIsValid(extension) &&
		   getExtensionOfObject(RelationRelationId, relid) == extension;
}

/* May the current statement do as it likes?  The extension's own scripts may. */
static bool
is_allowed(void)
{
	return gs_allow_journal_changes ||
		   (creating_extension &&
			CurrentExtensionObject == get_extension_oid(GS_EXTENSION_NAME, true));
}

static _Noreturn void
refuse(Oid relid, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied: \"%s\" is a journal table of running games",
					get_rel_name(relid)),
			 errdetail("%s is refused: only the extension %s writes to this table or changes its definition.",
					   what, GS_EXTENSION_NAME),
			 errhint("Change games with the functions of schema gamestate. To repair a damaged journal, a superuser can set gamestate.allow_journal_changes.")));
}

static Oid
oid_of(const RangeVar *name)
{
	return name ? RangeVarGetRelid(name, NoLock, true) : InvalidOid;
}

static void
check_name(const RangeVar *name, const char *what)
{
	Oid relid = oid_of(name);

	if (is_journal(relid) && !is_allowed())
		refuse(relid, what);
}

static void
check_names(List *names, const char *what)
{
	ListCell *cell;

	foreach (cell, names)
		check_name(lfirst_node(RangeVar, cell), what);
}

/* ----------------------------------------------------------------
 *		Commands
 * ----------------------------------------------------------------
 */

static bool
is_harmless(AlterTableType type)
{
	switch (type)
	{
		case AT_SetTableSpace: /* a rewrite */
		case AT_SetLogged:	   /* which it is, or undoes what was allowed */
		case AT_ChangeOwner:   /* owners are refused like everybody */
		case AT_SetStatistics: /* for ANALYZE */
		case AT_SetOptions:
		case AT_ResetOptions:
		case AT_SetRelOptions: /* autovacuum and the like */
		case AT_ResetRelOptions:
			return true;
		default:
			return false;
	}
}

static bool
is_member(Oid class_id, Oid object_id)
{
	Oid extension = get_extension_oid(GS_EXTENSION_NAME, true);

	return OidIsValid(object_id) && OidIsValid(extension) &&
		   getExtensionOfObject(class_id, object_id) == extension;
}

static bool
is_owner_role(const RoleSpec *role)
{
	return get_rolespec_oid(role, true) == get_role_oid(GS_OWNER_ROLE, true);
}

static _Noreturn void
refuse_new_owner(const char *kind, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot change the owner of %s \"%s\"", kind, name),
			 errdetail("The workers of the extension %s act as role %s.",
					   GS_EXTENSION_NAME, GS_OWNER_ROLE)));
}

/* Its owner may be changed back, if it was another one while we were not loaded. */
static void
check_relation_owner(Oid relid, const RoleSpec *new_owner)
{
	HeapTuple tuple;
	Oid owner;

	if (!is_member(RelationRelationId, relid) || is_owner_role(new_owner) || is_allowed())
		return;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	if (!HeapTupleIsValid(tuple))
		return;
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	if (owner == get_role_oid(GS_OWNER_ROLE, true))
		refuse_new_owner("relation", get_rel_name(relid));
}

static void
check_alter_table(const AlterTableStmt *stmt)
{
	Oid relid = oid_of(stmt->relation);
	bool journal = is_journal(relid);
	ListCell *cell;

	foreach (cell, stmt->cmds)
	{
		const AlterTableCmd *cmd = lfirst_node(AlterTableCmd, cell);

		if (journal && !is_harmless(cmd->subtype) && !is_allowed())
			refuse(relid, "This kind of ALTER TABLE");

		if (cmd->subtype == AT_ChangeOwner)
			check_relation_owner(relid, cmd->newowner);

		/* another table's command that reaches for the journal */
		if (cmd->subtype == AT_AddInherit)
			check_name(castNode(RangeVar, cmd->def), "INHERIT");
		else if (cmd->subtype == AT_AttachPartition)
			check_name(castNode(PartitionCmd, cmd->def)->name, "ATTACH PARTITION");
	}
}

/* DROP of something that stands on a table: schema, table and its own name */
static void
check_drop(const DropStmt *stmt)
{
	ListCell *cell;

	if (stmt->removeType != OBJECT_TRIGGER && stmt->removeType != OBJECT_RULE &&
		stmt->removeType != OBJECT_POLICY)
		return;
	foreach (cell, stmt->objects)
	{
		List *names = castNode(List, lfirst(cell));

		if (list_length(names) > 1)
			check_name(makeRangeVarFromNameList(
						   list_truncate(list_copy(names), list_length(names) - 1)),
					   "DROP TRIGGER, RULE or POLICY");
	}
}

static void
check_publication(List *objects)
{
	ListCell *cell;

	foreach (cell, objects)
	{
		const PublicationObjSpec *object = lfirst_node(PublicationObjSpec, cell);

		if (object->pubobjtype == PUBLICATIONOBJ_TABLE)
			check_name(object->pubtable->relation, "Adding it to a publication");
	}
}

static _Noreturn void
refuse_new_name(const char *kind, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot rename or move %s \"%s\"", kind, name),
			 errdetail("The extension %s needs it under this name.", GS_EXTENSION_NAME)));
}

/* Our tables and their columns are known to C code by their names and places. */
static void
check_relation_name(const RangeVar *name, const char *what)
{
	check_name(name, what);
	if (is_member(RelationRelationId, oid_of(name)) && !is_allowed())
		refuse_new_name("relation", name->relname);
}

/* So are schemas; games could not be found any more.  The role is the archiver's. */
static void
check_rename(const RenameStmt *stmt)
{
	switch (stmt->renameType)
	{
		case OBJECT_SCHEMA:
			if (is_member(NamespaceRelationId, get_namespace_oid(stmt->subname, true)) &&
				!is_allowed())
				refuse_new_name("schema", stmt->subname);
			break;
		case OBJECT_ROLE:
			if (strcmp(stmt->subname, GS_OWNER_ROLE) == 0 && !is_allowed())
				refuse_new_name("role", stmt->subname);
			break;
		case OBJECT_TABCONSTRAINT:
		case OBJECT_TRIGGER:
		case OBJECT_RULE:
		case OBJECT_POLICY:
			check_name(stmt->relation, "RENAME");
			break;
		default:
			check_relation_name(stmt->relation, "RENAME");
			break;
	}
}

/* ALTER SCHEMA ... OWNER TO; of tables it is an ALTER TABLE */
static void
check_alter_owner(const AlterOwnerStmt *stmt)
{
	if (stmt->objectType == OBJECT_SCHEMA &&
		is_member(NamespaceRelationId, get_namespace_oid(strVal(stmt->object), true)) &&
		!is_owner_role(stmt->newowner) && !is_allowed())
		refuse_new_owner("schema", strVal(stmt->object));
}

/* All that the role owns here: partitions too, of which only it may make more. */
static void
check_reassign_owned(const ReassignOwnedStmt *stmt)
{
	ListCell *cell;

	if (!OidIsValid(get_extension_oid(GS_EXTENSION_NAME, true)) ||
		is_owner_role(stmt->newrole) || is_allowed())
		return;
	foreach (cell, stmt->roles)
		if (is_owner_role(lfirst_node(RoleSpec, cell)))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot reassign what role %s owns", GS_OWNER_ROLE),
					 errdetail("The workers of the extension %s act as role %s.",
							   GS_EXTENSION_NAME, GS_OWNER_ROLE)));
}

/*
 * What is not a member is neither protected nor known to DROP EXTENSION; what
 * is one goes with it, and could not be taken out again.
 */
static void
check_extension_contents(const AlterExtensionContentsStmt *stmt)
{
	if (strcmp(stmt->extname, GS_EXTENSION_NAME) == 0 && !is_allowed())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 stmt->action < 0 ?
				 errmsg("cannot remove an object from extension %s", GS_EXTENSION_NAME) :
				 errmsg("cannot add an object to extension %s", GS_EXTENSION_NAME),
				 errdetail("Its objects work together only."),
				 errhint("Use ALTER EXTENSION %s UPDATE to change them, or DROP EXTENSION to be rid of them.",
						 GS_EXTENSION_NAME)));
}

static void
check_command(Node *command)
{
	switch (nodeTag(command))
	{
		case T_AlterTableStmt:
			check_alter_table((AlterTableStmt *) command);
			break;
		case T_RenameStmt:
			check_rename((RenameStmt *) command);
			break;
		case T_AlterOwnerStmt:
			check_alter_owner((AlterOwnerStmt *) command);
			break;
		case T_ReassignOwnedStmt:
			check_reassign_owned((ReassignOwnedStmt *) command);
			break;
		case T_AlterObjectSchemaStmt:
			check_relation_name(((AlterObjectSchemaStmt *) command)->relation,
								"SET SCHEMA");
			break;
		case T_AlterObjectDependsStmt: /* the trigger would go with that extension */
			check_name(((AlterObjectDependsStmt *) command)->relation,
					   "DEPENDS ON EXTENSION");
			break;
		case T_TruncateStmt:
			check_names(((TruncateStmt *) command)->relations, "TRUNCATE");
			break;
		case T_CopyStmt:
			if (((CopyStmt *) command)->is_from)
				check_name(((CopyStmt *) command)->relation, "COPY FROM");
			break;
		case T_IndexStmt:
			check_name(((IndexStmt *) command)->relation, "CREATE INDEX");
			break;
		case T_CreateTrigStmt:
			check_name(((CreateTrigStmt *) command)->relation, "CREATE TRIGGER");
			break;
		case T_RuleStmt:
			check_name(((RuleStmt *) command)->relation, "CREATE RULE");
			break;
		case T_CreatePolicyStmt:
			check_name(((CreatePolicyStmt *) command)->table, "CREATE POLICY");
			break;
		case T_CreateStmt:
			check_names(((CreateStmt *) command)->inhRelations, "INHERITS");
			break;
		case T_CreateForeignTableStmt:
			check_names(((CreateForeignTableStmt *) command)->base.inhRelations,
						"INHERITS");
			break;
		case T_DropStmt:
			check_drop((DropStmt *) command);
			break;
		case T_CreatePublicationStmt:
			check_publication(((CreatePublicationStmt *) command)->pubobjects);
			break;
		case T_AlterPublicationStmt:
			if (((AlterPublicationStmt *) command)->action != AP_DropObjects)
				check_publication(((AlterPublicationStmt *) command)->pubobjects);
			break;
		case T_AlterExtensionContentsStmt:
			check_extension_contents((AlterExtensionContentsStmt *) command);
			break;
		default:
			break;
	}
}

static void
process_utility(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *query_env, DestReceiver *dest, QueryCompletion *qc)
{
	/* an aborted transaction can run nothing but ROLLBACK */
	if (IsTransactionState())
		check_command(pstmt->utilityStmt);
	if (prev_process_utility)
		prev_process_utility(pstmt, query_string, read_only_tree, context, params,
							 query_env, dest, qc);
	else
		standard_ProcessUtility(pstmt, query_string, read_only_tree, context, params,
								query_env, dest, qc);
}

/* ----------------------------------------------------------------
 *		Statements
 * ----------------------------------------------------------------
 */

static void
check_range_table_entry(const PlannedStmt *stmt, Index rti, const char *what)
{
	Oid relid = rt_fetch(rti, stmt->rtable)->relid;

	if (is_journal(relid) && !is_allowed())
		refuse(relid, what);
}

/* Tables that are written to, by a CTE as well; a call of our functions has none. */
static void
check_statement(const PlannedStmt *stmt)
{
	ListCell *cell;

	foreach (cell, stmt->resultRelations)
		check_range_table_entry(stmt, lfirst_int(cell),
								"INSERT, UPDATE, DELETE or MERGE");
	foreach (cell, stmt->rowMarks)
	{
		const PlanRowMark *mark = lfirst_node(PlanRowMark, cell);

		/* a locked row is a changed one */
		if (RowMarkRequiresRowShareLock(mark->markType))
			check_range_table_entry(stmt, mark->rti, "SELECT FOR UPDATE or SHARE");
	}
}

static void
executor_start(QueryDesc *query, int eflags)
{
	if ((query->plannedstmt->resultRelations != NIL ||
		 query->plannedstmt->rowMarks != NIL) &&
		(eflags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
		check_statement(query->plannedstmt);
	if (prev_executor_start)
		prev_executor_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

/* ----------------------------------------------------------------
 *		Logical replication
 * ----------------------------------------------------------------
 */

/* Are there triggers that are not ours? */
bool
gs_protect_has_triggers(const TriggerDesc *triggers)
{
	if (triggers == NULL)
		return false;
	for (int i = 0; i < triggers->numtriggers; i++)
		if (strcmp(triggers->triggers[i].tgname, GS_JOURNAL_TRIGGER) != 0 &&
			strcmp(triggers->triggers[i].tgname, GS_JOURNAL_TRUNCATE_TRIGGER) != 0)
			return true;
	return false;
}

/* BEFORE ..., FOR EACH ROW or TRUNCATE, with session_replication_role = replica only */
Datum
gs_journal_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ==
			TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"gamestate.journal_trigger\" must be called BEFORE a change, FOR EACH ROW or by TRUNCATE")));
	if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
	{
		if (IsLogicalWorker())
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("cannot replicate TRUNCATE of \"%s\", a journal table of running games",
							RelationGetRelationName(trigger->tg_relation)),
					 errdetail("This database's own games would be lost."),
					 errhint("Use ALTER SUBSCRIPTION ... SKIP to leave that transaction out.")));
		return PointerGetDatum(NULL);
	}
	if (IsLogicalWorker())
		return PointerGetDatum(NULL); /* not this row */
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)
							   ? trigger->tg_newtuple
							   : trigger->tg_trigtuple);
}

void
gs_protect_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	prev_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = executor_start;
}
