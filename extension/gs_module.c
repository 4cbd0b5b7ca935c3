/*-------------------------------------------------------------------------
 *
 * gs_module.c
 *	  Entry point of the library.
 *
 * Loaded by shared_preload_libraries everything is installed: shared memory,
 * transaction callbacks, hooks, the launcher.  Loaded in any other way (a
 * dump is restored, pg_upgrade runs, somebody calls a function) only the
 * settings are defined, silently; whatever needs games then raises the error
 * of gs_attach().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_policy.h"
#include "gs_rate_limit.h"
#include "gs_shmem.h"
#include "gs_worker.h"
#include "gs_writeset.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(gs_library_version);

void _PG_init(void);

void
_PG_init(void)
{
	/*
	 * Settings of kind PGC_POSTMASTER can only be defined while the postmaster
	 * loads us, so without shared_preload_libraries none is.
	 */
	if (!process_shared_preload_libraries_in_progress)
		return;

	gs_config_init();
	gs_shmem_install_hooks();
	gs_writeset_init();
	gs_policy_init();
	gs_rate_policy_init();
	gs_worker_init();
}

Datum
gs_library_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(GAMESTATE_VERSION));
}
