/*-------------------------------------------------------------------------
 *
 * gs_hook.c
 *	  Calling functions that a policy names, as the role that has named them.
 *
 * The model:
 *	1. The archiver or import_games() has inserted a batch of games.  In the
 *	   same transaction, for each game type whose policy has an archive hook,
 *	   the rows are read back, as they are in the table, and the function is
 *	   called with an array of them.
 *	2. It runs as the role that has put it into the policy
 *	   (gs_policy_function.c), in a security-restricted context, with a fixed
 *	   search_path.  The statement is parsed and planned for each call, so that
 *	   the right to execute the function is asked for each time.
 *	3. A timer cancels what takes longer than gamestate.hook_timeout.
 *	4. A failure fails the batch, which is tried again; or, if the policy says
 *	   "skip", the hook runs in a subtransaction, which takes its work back, and
 *	   the failure is a row of gamestate.hook_error, in the same transaction as
 *	   the games.  What says nothing about the hook (a cancelled statement,
 *	   a deadlock, a full disk) fails the batch in any case.
 *
 * What may not be done here: let user's code run as gamestate_owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_hook.h"
#include "gs_policy.h"
#include "gs_policy_function.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

/* The same failure is logged so often at most; each is in the table. */
#define WARNING_MS (10 * 60 * 1000)

static bool running = false; /* a hook */
static TimeoutId timer = MAX_TIMEOUTS;
static volatile sig_atomic_t timed_out = false;

void
gs_hook_refuse(const char *function)
{
	if (unlikely(running))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s cannot be called by a hook", function),
				 errdetail("A hook runs in the transaction that archives games."),
				 errhint("Let the hook write into a table of yours, or NOTIFY.")));
}

/* ----------------------------------------------------------------
 *		As another role, for a time
 * ----------------------------------------------------------------
 */

/* In a signal handler: as a cancel request of a user. */
static void
time_is_up(void)
{
	timed_out = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

static void
start_timer(void)
{
	if (timer == MAX_TIMEOUTS)
		timer = RegisterTimeout(USER_TIMEOUT, time_is_up);
	timed_out = false;
	if (gs_hook_timeout > 0)
		enable_timeout_after(timer, gs_hook_timeout);
}

/* Returns whether the time was up. */
static bool
stop_timer(void)
{
	disable_timeout(timer, false);
	if (!timed_out)
		return false;
	timed_out = false;
	QueryCancelPending = false; /* it may not have been noticed */
	return true;
}

static _Noreturn void
too_slow(const GsHook *hook)
{
	ereport(ERROR,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errmsg("%s %s has taken longer than %d ms", hook->what, hook->function,
					gs_hook_timeout),
			 errdetail("Games of the type wait for it in memory meanwhile."),
			 errhint("Make it faster, or raise gamestate.hook_timeout.")));
}

static void
say_where(void *arg)
{
	const GsHook *hook = arg;

	errcontext("%s %s of game type \"%s\"", hook->what, hook->function, hook->game_type);
}

static Oid
role_of(const GsHook *hook)
{
	Oid role;

	SPI_connect();
	role = gs_policy_function_role(hook->game_type, hook->function);
	SPI_finish();
	return role;
}

/* An error leaves the role to the end of the (sub)transaction, which restores it. */
static void
run_as_role(const GsHook *hook, GsHookWork work, void *argument)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorContextCallback callback = {.previous = error_context_stack,
									 .callback = say_where,
									 .arg = (void *) hook};
	Oid role;
	Oid user;
	int security;
	int guc_level;

	error_context_stack = &callback;
	role = role_of(hook);
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(role, security | SECURITY_LOCAL_USERID_CHANGE |
									 SECURITY_RESTRICTED_OPERATION);
	guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	running = true;
	start_timer();
	PG_TRY();
	{
		SPI_connect();
		work(hook, argument);
		SPI_finish();
	}
	PG_CATCH();
	{
		running = false;
		if (stop_timer() && geterrcode() == ERRCODE_QUERY_CANCELED)
		{
			FlushErrorState();
			MemoryContextSwitchTo(context);
			too_slow(hook);
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	running = false;
	if (stop_timer())
		too_slow(hook);
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, security);
	error_context_stack = callback.previous;
}

/* ----------------------------------------------------------------
 *		Failures
 * ----------------------------------------------------------------
 */

static bool
is_about_hook(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_SYSTEM_ERROR:
			return false;
		default:
			return true;
	}
}

static void
warn(const GsHook *hook, const ErrorData *error, int ngames)
{
	static char warned[256];
	static TimestampTz warned_at = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (strncmp(warned, error->message, sizeof(warned) - 1) == 0 &&
		!TimestampDifferenceExceeds(warned_at, now, WARNING_MS))
		return;
	strlcpy(warned, error->message, sizeof(warned));
	warned_at = now;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("skipped %s %s of game type \"%s\": %s", hook->what, hook->function,
					hook->game_type, error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 errhint("Its work is missing for %d games; see gamestate.hook_error.", ngames),
			 error->context ? errcontext("%s", error->context) : 0));
}

static void
put(Datum *value, char *null, const char *text)
{
	*value = text ? CStringGetTextDatum(text) : (Datum) 0;
	*null = text ? ' ' : 'n';
}

static void
log_failure(const GsHook *hook, const ErrorData *error, const pg_uuid_t *games, int n)
{
	Oid types[] = {TEXTOID, TEXTOID, TEXTOID, UUIDARRAYOID,
				   TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum values[8];
	char nulls[8];
	Datum *ids = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		ids[i] = UUIDPGetDatum(&games[i]);
	put(&values[0], &nulls[0], hook->game_type);
	put(&values[1], &nulls[1], hook->what);
	put(&values[2], &nulls[2], hook->function);
	values[3] =
		PointerGetDatum(construct_array(ids, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
	nulls[3] = ' ';
	put(&values[4], &nulls[4], unpack_sql_state(error->sqlerrcode));
	put(&values[5], &nulls[5], error->message);
	put(&values[6], &nulls[6], error->detail);
	put(&values[7], &nulls[7], error->context);
	SPI_connect();
	if (SPI_execute_with_args(
			"INSERT INTO gamestate.hook_error "
			"(game_type, usage, function, games, sqlstate, message, detail, context) "
			"VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
			lengthof(types), types, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not log the failure of a hook");
	SPI_finish();
	warn(hook, error, n);
}

bool
gs_hook_run(const GsHook *hook, GsHookWork work, void *argument, const pg_uuid_t *games,
			int ngames)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	if (!hook->skip)
	{
		run_as_role(hook, work, argument);
		return true;
	}
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		run_as_role(hook, work, argument);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		/* in any case: who aborts a transaction aborts the innermost one only */
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error == NULL)
		return true;
	if (!is_about_hook(error))
		ReThrowError(error);
	log_failure(hook, error, games, ngames);
	return false;
}

/* ----------------------------------------------------------------
 *		Archive hooks
 * ----------------------------------------------------------------
 */

GsText
gs_hook_type(const GsBatchedGame *game)
{
	return (GsText){VARDATA_ANY(game->game_type), VARSIZE_ANY_EXHDR(game->game_type)};
}

static int
compare_types(const void *a, const void *b)
{
	GsText left = gs_hook_type(*(const GsBatchedGame *const *) a);
	GsText right = gs_hook_type(*(const GsBatchedGame *const *) b);
	int order = memcmp(left.data, right.data, Min(left.len, right.len));

	return order != 0 ? order : (int) left.len - (int) right.len;
}

const GsBatchedGame **
gs_hook_by_type(const GsBatchedGame *games, int n)
{
	const GsBatchedGame **sorted = palloc(sizeof(GsBatchedGame *) * Max(n, 1));

	for (int i = 0; i < n; i++)
		sorted[i] = &games[i];
	qsort(sorted, n, sizeof(GsBatchedGame *), compare_types);
	return sorted;
}

/* The rows of games of one type as the archive has them now: gamestate.archive[]. */
static Datum
archived_rows(const GsBatchedGame *const *games, const pg_uuid_t *ids, int n, Oid type)
{
	Oid types[] = {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDARRAYOID};
	Datum values[4];
	TimestampTz first = games[0]->ended_at;
	TimestampTz last = games[0]->ended_at;
	Datum *datums = palloc(sizeof(Datum) * n);
	MemoryContext context = CurrentMemoryContext;
	Datum result;
	bool null;

	for (int i = 0; i < n; i++)
	{
		first = Min(first, games[i]->ended_at);
		last = Max(last, games[i]->ended_at);
		datums[i] = UUIDPGetDatum(&ids[i]);
	}
	values[0] = PointerGetDatum(games[0]->game_type);
	values[1] = TimestampTzGetDatum(first);
	values[2] = TimestampTzGetDatum(last);
	values[3] = PointerGetDatum(
		construct_array(datums, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
	SPI_connect();
	if (SPI_execute_with_args(
			"SELECT array_agg(a ORDER BY a.ended_at, a.game_id) FROM gamestate.archive a "
			"WHERE a.game_type = $1 AND a.ended_at BETWEEN $2 AND $3 AND a.game_id = ANY ($4)",
			lengthof(types), types, values, NULL, false, 0) != SPI_OK_SELECT ||
		SPI_processed != 1 || SPI_gettypeid(SPI_tuptable->tupdesc, 1) != type)
		elog(ERROR, "could not read back the rows of a batch");
	result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null);
	if (null)
		elog(ERROR, "could not find the rows of a batch");
	MemoryContextSwitchTo(context);
	result = PointerGetDatum(PG_DETOAST_DATUM_COPY(result));
	SPI_finish();
	return result;
}

typedef struct HookCall
{
	Oid type;
	Datum rows;
} HookCall;

static void
call_hook(const GsHook *hook, void *argument)
{
	HookCall *call = argument;
	char *statement = psprintf("SELECT %s($1)", hook->function);

	if (SPI_execute_with_args(statement, 1, &call->type, &call->rows, NULL, false, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", statement);
}

/* Games of one type. */
static void
run_hook(const GsBatchedGame *const *games, int n)
{
	GsText type = gs_hook_type(games[0]);
	const GsPolicy *policy = gs_policy(&type);
	GsHook hook = {.what = "archive hook"};
	HookCall call;
	pg_uuid_t *ids;

	if (policy->archive_hook == NULL)
		return;
	/* what the policies say may be read anew any time */
	hook.function = pstrdup(policy->archive_hook);
	hook.skip = policy->hook_skip;
	hook.game_type = pnstrdup(type.data, type.len);

	ids = palloc(sizeof(pg_uuid_t) * n);
	for (int i = 0; i < n; i++)
		ids[i] = games[i]->game_id;
	call.type = get_array_type(get_rel_type_id(
		get_relname_relid("archive", get_namespace_oid("gamestate", false))));
	call.rows = archived_rows(games, ids, n, call.type);
	(void) gs_hook_run(&hook, call_hook, &call, ids, n);
}

void
gs_hook_archived(const GsBatchedGame *games, int n)
{
	const GsBatchedGame **sorted = gs_hook_by_type(games, n);

	for (int first = 0; first < n;)
	{
		int next = first + 1;

		while (next < n && compare_types(&sorted[first], &sorted[next]) == 0)
			next++;
		run_hook(sorted + first, next - first);
		first = next;
	}
}
