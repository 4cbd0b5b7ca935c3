/*-------------------------------------------------------------------------
 *
 * gs_import.c
 *	  import_games(): games that ended elsewhere, into the archive.
 *
 * The model:
 *	1. Each game is a JSON object, and is read (gs_import_read.c) in a
 *	   subtransaction of its own: what is wrong with one game refuses that one.
 *	   From then on it is a GsGameCopy like that of a game in memory.
 *	2. In the order of ids each game is locked, so that nobody creates or
 *	   imports one of that id meanwhile, and looked for: a live game or another
 *	   archived one refuses it, the same archived one makes it "skipped".
 *	3. The rest is inserted as the archiver inserts a batch (gs_batch.c), into
 *	   partitions made as the archiver makes them (gs_partition.c).  All of a
 *	   call is one transaction's; a failure here is the call's.
 *
 * Steps 1 and 3 run SQL as gamestate_owner, in a security-restricted context,
 * with a fixed search_path, as the archiver does: triggers on the archive get
 * nothing from whoever imports. *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_batch.h"
#include "gs_config.h"
#include "gs_database.h"
#include "gs_durable.h"
#include "gs_errors.h"
#include "gs_history.h"
#include "gs_hook.h"
#include "gs_import.h"
#include "gs_lock.h"
#include "gs_partition.h"
#include "gs_worker.h"
#include "gs_writeset.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(gs_import_games);

typedef struct ImportCall
{
	MemoryContext mcxt; /* of all that lives as long as the call */
	GsImport *imports;
	int n;
	Oid outer_user;
	int outer_security;
	int guc_nest_level;
} ImportCall;

/* ----------------------------------------------------------------
 *		Is it there already?
 * ----------------------------------------------------------------
 */

static bool
same_text(const GsText *a, const text *b)
{
	if (a->data == NULL || b == NULL)
		return (a->data == NULL) == (b == NULL);
	return a->len == VARSIZE_ANY_EXHDR(b) && memcmp(a->data, VARDATA_ANY(b), a->len) == 0;
}

static bool
same_bytes(const char *a, uint32 a_len, const char *b, uint32 b_len)
{
	if (a == NULL || b == NULL)
		return a == b;
	return a_len == b_len && memcmp(a, b, a_len) == 0;
}

static bool
same_players(const GsInfoParts *info, ArrayType *players)
{
	Datum *datums;
	bool *nulls;
	int n;

	deconstruct_array(players, TEXTOID, -1, false, TYPALIGN_INT, &datums, &nulls, &n);
	if (n != info->nplayers)
		return false;
	for (int i = 0; i < n; i++)
		if (nulls[i] || !same_text(&info->players[i], DatumGetTextPP(datums[i])))
			return false;
	return true;
}

static bool
same_entry(const GsEntry *a, const GsEntry *b)
{
	return a->kind == b->kind && a->at == b->at &&
		   a->request_arguments == b->request_arguments &&
		   same_bytes(a->player, a->player_len, b->player, b->player_len) &&
		   same_bytes(a->event, a->event_len, b->event, b->event_len) &&
		   same_bytes((const char *) a->request_id, UUID_LEN,
					  (const char *) b->request_id, UUID_LEN);
}

/* The archived log against the imported one; where it has the creation, that too. */
static bool
same_log(const GsGameCopy *game, const GsPayload *payload)
{
	const char *p = payload->entries;
	const char *end = payload->entries + payload->entries_len;
	uint64 done = 0;

	for (uint64 i = 0; i < payload->nentries; i++)
	{
		GsEntry e;

		if (gs_entry_decode(&p, end, payload->base, &e) != NULL)
			return false;
		if (payload->first_version + (int64) i == 1)
		{
			GsEntry create = {.kind = GS_KIND_CREATE, .at = game->h.created_at};

			if (game->h.has_create_request)
			{
				create.request_id = game->h.create_request.data;
				create.request_arguments = game->h.create_arguments;
			}
			if (!same_entry(&create, &e))
				return false;
		}
		else if (done == game->nentries || !same_entry(&game->entries[done++], &e))
			return false;
	}
	return done == game->nentries;
}

/* What is different in the archived game; NULL = nothing. */
static const char *
difference(const GsImport *import, const GsStoredGame *old)
{
	const GsGameCopy *game = &import->game;
	const GsPayload *payload = &old->payload;
	const char *wrong;
	GsText initial;

	if (game->info.game_type.len != strlen(old->game_type) ||
		memcmp(game->info.game_type.data, old->game_type, game->info.game_type.len) != 0)
		return "game type";
	if (strcmp(gs_status_name(game->h.status), old->status) != 0)
		return "status";
	if ((game->h.encoding == GS_ENCODING_BYTES) != old->is_bytes)
		return "encoding";
	if (!same_players(&game->info, old->players))
		return "list of players";
	if (game->h.max_players != (old->has_max_players ? old->max_players : 0))
		return "max_players";
	if (!same_text(&game->info.room_code, old->room_code))
		return "room code";
	if (!same_text(&game->info.metadata, old->metadata))
		return "metadata";
	if (!same_text(&game->info.result, old->result))
		return "result";
	if (game->h.created_at != old->created_at || game->h.started_at != old->started_at ||
		game->h.ended_at != old->ended_at)
		return "times";
	if (game->h.version != old->version || game->h.moves != old->moves)
		return "version or number of moves";

	/* one of them may have lost its payload to retention */
	if (!import->has_payload || !old->has_payload)
		return NULL;
	(void) gs_history_archived(payload, 1, &initial, &wrong);
	if (wrong ||
		!same_bytes(game->initial.data, game->initial.len, initial.data, initial.len))
		return "initial state";
	if (!same_bytes(game->state.data, game->state.len, payload->final,
					payload->final_len))
		return "final state";
	return same_log(game, payload) ? NULL : "log";
}

static void
decide(GsImport *import, GsImportOutcome outcome, int sqlerrcode, const char *message)
{
	import->outcome = outcome;
	import->sqlerrcode = sqlerrcode;
	import->message = message;
}

/* The caller holds the game's lock.  ERROR if an archived payload is damaged. */
static void
look_for(GsImport *import, MemoryContext mcxt)
{
	const pg_uuid_t *id = &import->game.game_id;
	GsGame *live = gs_table_find(id, true);
	GsStoredGame *old;
	const char *what;

	if (live != NULL)
		gs_table_release(live);
	if (live != NULL || gs_writeset_find(id) != NULL)
	{
		decide(import, GS_IMPORT_REFUSED, ERRCODE_GS_DUPLICATE_GAME,
			   "a live game has this id");
		return;
	}
	old = gs_tier_get(id, true, mcxt);
	if (old == NULL)
		return;
	if (old->tier != GS_TIER_ARCHIVED)
	{
		decide(import, GS_IMPORT_REFUSED, ERRCODE_GS_DUPLICATE_GAME,
			   MemoryContextStrdup(mcxt, psprintf("a game of this id is %s",
												  gs_tier_name(old->tier))));
		return;
	}
	what = difference(import, old);
	if (what == NULL)
		decide(import, GS_IMPORT_SKIPPED, ERRCODE_SUCCESSFUL_COMPLETION,
			   "it is archived already");
	else
		decide(import, GS_IMPORT_REFUSED, ERRCODE_GS_DUPLICATE_GAME,
			   MemoryContextStrdup(
				   mcxt,
				   psprintf("a game of this id is archived, and its %s is different",
							what)));
}

/* ----------------------------------------------------------------
 *		The call
 * ----------------------------------------------------------------
 */

typedef void (*ImportStep)(GsImport *import, MemoryContext mcxt);

/* Errors that say nothing about the game: the call fails with them. */
static bool
is_general(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_SYSTEM_ERROR:
			return true;
		default:
			return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
	}
}

/* A step for one game in a subtransaction: an error refuses the game. */
static void
try_step(ImportCall *call, GsImport *import, ImportStep step)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		step(import, call->mcxt);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(call->mcxt);
		error = CopyErrorData();
		FlushErrorState();
		/* in any case: nobody else ends a subtransaction that we have begun */
		RollbackAndReleaseCurrentSubTransaction();
		CurrentResourceOwner = owner;
		if (is_general(error))
			ReThrowError(error);
		MemoryContextSwitchTo(call->mcxt);
		decide(import, GS_IMPORT_REFUSED, error->sqlerrcode,
			   error->detail ? psprintf("%s: %s", error->message, error->detail)
							 : error->message);
		MemoryContextSwitchTo(context);
	}
	PG_END_TRY();
}

static int
compare_ids(const void *a, const void *b)
{
	const GsImport *left = *(GsImport *const *) a;
	const GsImport *right = *(GsImport *const *) b;
	int order = memcmp(left->game.game_id.data, right->game.game_id.data, UUID_LEN);

	return order != 0 ? order : left->ord - right->ord;
}

static int
compare_places(const void *a, const void *b)
{
	const GsGameCopy *left = &(*(GsImport *const *) a)->game;
	const GsGameCopy *right = &(*(GsImport *const *) b)->game;
	uint32 len = Min(left->info.game_type.len, right->info.game_type.len);
	int order = memcmp(left->info.game_type.data, right->info.game_type.data, len);

	if (order == 0)
		order = (int) left->info.game_type.len - (int) right->info.game_type.len;
	if (order == 0)
		order = (left->h.ended_at > right->h.ended_at) -
				(left->h.ended_at < right->h.ended_at);
	return order;
}

/* Those that are open, sorted; *n of them. */
static GsImport **
open_imports(const ImportCall *call, int *n, int (*compare)(const void *, const void *))
{
	GsImport **open = palloc(sizeof(GsImport *) * Max(call->n, 1));

	*n = 0;
	for (int i = 0; i < call->n; i++)
		if (call->imports[i].outcome == GS_IMPORT_OPEN)
			open[(*n)++] = &call->imports[i];
	qsort(open, *n, sizeof(GsImport *), compare);
	return open;
}

/* Lock in the order of ids, refuse or skip what is there. */
static void
lock_and_look(ImportCall *call)
{
	int n;
	GsImport **open = open_imports(call, &n, compare_ids);
	GsImport *first = NULL; /* of those with one id */

	for (int i = 0; i < n; i++)
	{
		GsImport *import = open[i];
		const pg_uuid_t *id = &import->game.game_id;

		if (first != NULL && memcmp(first->game.game_id.data, id->data, UUID_LEN) == 0)
		{
			if (VARSIZE_ANY(first->line) == VARSIZE_ANY(import->line) &&
				memcmp(first->line, import->line, VARSIZE_ANY(import->line)) == 0)
				decide(import, GS_IMPORT_SKIPPED, ERRCODE_SUCCESSFUL_COMPLETION,
					   "it stands there twice");
			else
				decide(import, GS_IMPORT_REFUSED, ERRCODE_GS_DUPLICATE_GAME,
					   "another game with this id stands before it");
			continue;
		}
		first = import;
		(void) gs_lock_game(id, false);
		try_step(call, import, look_for);
	}
}

/* In one order for all callers, because making a partition locks its parents. */
static void
ensure_partitions(ImportCall *call)
{
	int n;
	GsImport **open = open_imports(call, &n, compare_places);
	GsPlace place = {0};

	for (int i = 0; i < n; i++)
	{
		const GsGameCopy *game = &open[i]->game;

		CHECK_FOR_INTERRUPTS();
		if (i > 0 &&
			gs_text_equal(&game->info.game_type, &open[i - 1]->game.info.game_type) &&
			game->h.ended_at >= place.from && game->h.ended_at < place.to)
			continue;
		/* nothing has to settle: rows that nobody has seen before are in no hurry */
		(void) gs_partition_complete(&game->info.game_type, game->h.ended_at, false,
									 &place);
	}
	if (n > 0)
		CommandCounterIncrement();
}

static void
insert_games(ImportCall *call)
{
	int n;
	GsImport **open = open_imports(call, &n, compare_places);

	if (n == 0)
		return;
	PG_TRY();
	{
		gs_batch_open(n);
		for (int i = 0; i < n; i++)
			gs_batch_add(&open[i]->game, open[i]->has_payload);
		gs_batch_insert();
	}
	PG_FINALLY();
	{
		gs_batch_abandon();
	}
	PG_END_TRY();
	for (int i = 0; i < n; i++)
		decide(open[i], GS_IMPORT_DONE, ERRCODE_SUCCESSFUL_COMPLETION, NULL);
}

static void
read_arguments(ImportCall *call, ArrayType *array)
{
	Datum *lines;
	bool *nulls;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &lines, &nulls, &call->n);
	call->imports = palloc0(sizeof(GsImport) * Max(call->n, 1));
	for (int i = 0; i < call->n; i++)
	{
		GsImport *import = &call->imports[i];

		import->ord = i + 1;
		if (nulls[i])
			decide(import, GS_IMPORT_REFUSED, ERRCODE_NULL_VALUE_NOT_ALLOWED,
				   "it is null");
		else
			import->line = DatumGetTextPP(lines[i]);
	}
}

/* As the archiver: its role, its settings. */
static void
become_owner(ImportCall *call)
{
	Oid owner = get_role_oid(GS_OWNER_ROLE, false);

	GetUserIdAndSecContext(&call->outer_user, &call->outer_security);
	SetUserIdAndSecContext(owner, call->outer_security | SECURITY_LOCAL_USERID_CHANGE |
									  SECURITY_RESTRICTED_OPERATION);
	call->guc_nest_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

static void
become_caller(ImportCall *call)
{
	AtEOXact_GUC(true, call->guc_nest_level);
	SetUserIdAndSecContext(call->outer_user, call->outer_security);
}

static void
return_outcomes(FunctionCallInfo fcinfo, const ImportCall *call)
{
	static const char *const names[] = {"open", "imported", "skipped", "refused"};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < call->n; i++)
	{
		const GsImport *import = &call->imports[i];
		Datum values[5];
		bool nulls[5] = {0};

		values[0] = Int32GetDatum(import->ord);
		values[1] = UUIDPGetDatum(&import->game.game_id);
		nulls[1] = !import->has_id;
		values[2] = CStringGetTextDatum(names[import->outcome]);
		values[3] = CStringGetTextDatum(unpack_sql_state(import->sqlerrcode));
		values[4] = import->message ? CStringGetTextDatum(import->message) : (Datum) 0;
		nulls[4] = import->message == NULL;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

Datum
gs_import_games(PG_FUNCTION_ARGS)
{
	ImportCall call = {.mcxt = CurrentMemoryContext};

	gs_attach();
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("games must not be null")));
	if (!gs_enabled)
		ereport(ERROR,
				(errcode(ERRCODE_GS_DISABLED),
				 errmsg("changes of games are disabled"),
				 errdetail("gamestate.enabled is off."),
				 errhint("Set gamestate.enabled to on for this database.")));
	PreventCommandIfReadOnly("import_games()");
	PreventCommandIfParallelMode("import_games()");
	gs_hook_refuse("import_games()");
	(void) gs_ready();

	read_arguments(&call, PG_GETARG_ARRAYTYPE_P(0));
	become_owner(&call);
	SPI_connect();
	for (int i = 0; i < call.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (call.imports[i].outcome == GS_IMPORT_OPEN)
			try_step(&call, &call.imports[i], gs_import_read);
	}
	SPI_finish();

	gs_lock_names(false);
	lock_and_look(&call);
	ensure_partitions(&call);
	insert_games(&call);
	become_caller(&call);

	/* "a live game has this id" must not be told of what a crash can take back */
	gs_durable_wait();
	return_outcomes(fcinfo, &call);
	return (Datum) 0;
}
