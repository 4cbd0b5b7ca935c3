/*-------------------------------------------------------------------------
 *
 * gs_policy_function.c
 *	  Functions that a policy names: which role each runs as.
 *
 * The model:
 *	1. Columns of gamestate.policy name functions of users (policy_usages).
 *	   Each runs as the role that has put its name there.
 *	2. That role stands in gamestate.policy_function.  The policies belong to
 *	   gamestate_owner, whose members may do anything with them, switching off
 *	   their triggers included; so this table belongs to the extension's owner,
 *	   and only the trigger below writes it.  A member can neither change whom
 *	   somebody else's function runs as nor let one of his own run as another.
 *	3. Before a row of the policies is written the trigger looks the function
 *	   up as whoever writes it, puts its qualified name into the row, and binds
 *	   it to that role.  After the statement what no row names any more is
 *	   forgotten.
 *	4. A foreign key lets no row name a function that is not bound, and makes
 *	   pg_dump restore the bindings before the policies.  So a row that is
 *	   inserted with a binding that is there already keeps it: a restored hook
 *	   does not run as the superuser who restores it.
 *
 * What may not be done here: take the role from anything but the current user.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_owner.h"
#include "gs_policy_function.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

PG_FUNCTION_INFO_V1(gs_policy_bind);
PG_FUNCTION_INFO_V1(gs_policy_tidy);

#define MAX_ARGUMENTS 3

/* A column that names a function, and what it is called with. */
typedef struct Usage
{
	const char *column;
	bool must_be_stable; /* it is asked again at will */
	int nargs;
	Oid args[MAX_ARGUMENTS]; /* InvalidOid: gamestate.archive[] */
} Usage;

static const Usage policy_usages[] = {
	{"stats_rule", true, 3, {TEXTOID, TEXTARRAYOID, JSONOID}},
	{"archive_hook", false, 1, {InvalidOid}},
};

/* ----------------------------------------------------------------
 *		Looking functions up
 * ----------------------------------------------------------------
 */

static Oid
archive_row_array(void)
{
	Oid relid = get_relname_relid("archive", get_namespace_oid("gamestate", false));

	return get_array_type(get_rel_type_id(relid));
}

/* The qualified name of what a user calls by this name. */
static char *
qualified_name(const Usage *usage, const char *name)
{
	List *names = textToQualifiedNameList(cstring_to_text(name));
	Oid args[MAX_ARGUMENTS];
	Oid function;
	HeapTuple tuple;
	Form_pg_proc proc;
	char *result;

	for (int i = 0; i < usage->nargs; i++)
		args[i] = OidIsValid(usage->args[i]) ? usage->args[i] : archive_row_array();
	function = LookupFuncName(names, usage->nargs, args, false);
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	if (proc->prokind != PROKIND_FUNCTION || isAnyTempNamespace(proc->pronamespace))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" cannot be named by a policy", name),
				 errdetail("It is a procedure, an aggregate or a temporary function.")));
	if (usage->must_be_stable && proc->provolatile == PROVOLATILE_VOLATILE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("function \"%s\" is volatile", name),
				 errdetail("A function in column \"%s\" of the policies may not change anything.",
						   usage->column),
				 errhint("Declare it STABLE or IMMUTABLE.")));
	result = quote_qualified_identifier(get_namespace_name(proc->pronamespace),
										NameStr(proc->proname));
	ReleaseSysCache(tuple);
	return result;
}

/* ----------------------------------------------------------------
 *		The bindings
 * ----------------------------------------------------------------
 */

static void
run(const char *statement, int expected, int nargs, const char *const *args)
{
	Oid types[3] = {TEXTOID, TEXTOID, TEXTOID};
	Datum values[3];

	for (int i = 0; i < nargs; i++)
		values[i] = CStringGetTextDatum(args[i]);
	if (SPI_execute_with_args(statement, nargs, types, values, NULL, false, 0) !=
		expected)
		elog(ERROR, "could not run: %s", statement);
}

static bool
is_bound(const char *game_type, const char *function)
{
	GsOwnerAccess access;
	bool result;

	gs_owner_begin(&access, "policy_function", AccessShareLock);
	run("SELECT FROM gamestate.policy_function WHERE game_type = $1 AND function = $2",
		SPI_OK_SELECT, 2, (const char *[]){game_type, function});
	result = SPI_processed > 0;
	gs_owner_end(&access);
	return result;
}

static void
bind_to(const char *game_type, const char *function, Oid role)
{
	GsOwnerAccess access;
	const char *args[] = {game_type, function, GetUserNameFromId(role, false)};

	gs_owner_begin(&access, "policy_function", RowExclusiveLock);
	run("INSERT INTO gamestate.policy_function (game_type, function, role) "
		"VALUES ($1, $2, $3) "
		"ON CONFLICT (game_type, function) DO UPDATE SET role = excluded.role",
		SPI_OK_INSERT, 3, args);
	gs_owner_end(&access);
}

/* ----------------------------------------------------------------
 *		The triggers
 * ----------------------------------------------------------------
 */

/* A text column of a row; NULL = it is null. */
static char *
column(HeapTuple tuple, TupleDesc desc, const char *name)
{
	int number = SPI_fnumber(desc, name);
	bool null;
	Datum value;

	if (number <= 0 || TupleDescAttr(desc, number - 1)->atttypid != TEXTOID)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table gamestate.policy is not usable"),
				 errdetail("Its column \"%s\" has been changed.", name),
				 errhint("Undo that change.")));
	value = heap_getattr(tuple, number, desc, &null);
	return null ? NULL : TextDatumGetCString(value);
}

static bool
same(const char *a, const char *b)
{
	return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* What one column names; returns the row, perhaps another one. */
static HeapTuple
bind_column(const Usage *usage, TriggerData *trigger, HeapTuple tuple, HeapTuple old)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	const char *game_type = column(tuple, desc, "game_type");
	const char *name = column(tuple, desc, usage->column);
	char *qualified;

	if (name == NULL || game_type == NULL)
		return tuple;
	if (old != NULL)
	{
		if (same(game_type, column(old, desc, "game_type")) &&
			same(name, column(old, desc, usage->column)))
			return tuple;
	}
	else if (is_bound(game_type, name))
		return tuple;

	qualified = qualified_name(usage, name);
	bind_to(game_type, qualified, GetUserId());
	if (strcmp(qualified, name) != 0)
	{
		int number = SPI_fnumber(desc, usage->column);
		Datum value = CStringGetTextDatum(qualified);
		bool null = false;

		tuple = heap_modify_tuple_by_cols(tuple, desc, 1, &number, &value, &null);
	}
	return tuple;
}

static void
check_trigger(FunctionCallInfo fcinfo, bool row)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		(TRIGGER_FIRED_FOR_ROW(trigger->tg_event) != 0) != row ||
		(TRIGGER_FIRED_BEFORE(trigger->tg_event) != 0) != row ||
		RelationGetRelid(trigger->tg_relation) !=
			get_relname_relid("policy", get_namespace_oid("gamestate", false)))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("this function is for a trigger of gamestate.policy only")));
}

/* Before a row is written. */
Datum
gs_policy_bind(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple tuple;
	HeapTuple old = NULL;

	check_trigger(fcinfo, true);
	tuple = trigger->tg_trigtuple;
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
	{
		old = tuple;
		tuple = trigger->tg_newtuple;
	}
	for (int i = 0; i < (int) lengthof(policy_usages); i++)
		tuple = bind_column(&policy_usages[i], trigger, tuple, old);
	return PointerGetDatum(tuple);
}

/* After a statement: nothing may be left for somebody else's row to find. */
Datum
gs_policy_tidy(PG_FUNCTION_ARGS)
{
	GsOwnerAccess access;

	check_trigger(fcinfo, false);
	gs_owner_begin(&access, "policy_function", RowExclusiveLock);
	run("DELETE FROM gamestate.policy_function f "
		"WHERE NOT EXISTS (SELECT FROM gamestate.policy p "
		"WHERE p.game_type = f.game_type AND f.function IN (p.stats_rule, p.archive_hook))",
		SPI_OK_DELETE, 0, NULL);
	gs_owner_end(&access);
	return PointerGetDatum(NULL);
}

/* ----------------------------------------------------------------
 *		Looking roles up
 * ----------------------------------------------------------------
 */

Oid
gs_policy_function_role(const char *game_type, const char *function)
{
	char *name;
	Oid role;

	/* the type's own row, else the default row */
	run("SELECT role FROM gamestate.policy_function "
		"WHERE game_type IN ($1, '') AND function = $2 ORDER BY game_type DESC LIMIT 1",
		SPI_OK_SELECT, 2, (const char *[]){game_type, function});
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("it is not known who has named function %s in gamestate.policy",
						function),
				 errhint("Set the column of the policy to NULL, and then to the function again.")));
	name = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	role = get_role_oid(name, true);
	if (!OidIsValid(role))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\", which function %s in gamestate.policy runs as, does not exist",
						name, function),
				 errhint("Set the column of the policy to NULL, and then to the function again.")));
	return role;
}
