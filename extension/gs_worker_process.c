/*-------------------------------------------------------------------------
 *
 * gs_worker_process.c
 *	  The process of a worker: how each of them begins, heeds signals between its
 *	  turns, and takes an error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_worker.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "tcop/tcopprot.h"

GsWorkerSlot *
gs_worker_start(const char *name, bool follower)
{
	GsLaunchArgument argument;
	GsWorkerSlot *slot;

	memcpy(&argument, MyBgworkerEntry->bgw_extra, sizeof(argument));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	if (!gs_worker_take_launch(&argument))
		proc_exit(0);
	BackgroundWorkerUnblockSignals();

	BackgroundWorkerInitializeConnectionByOid(argument.dboid, InvalidOid, 0);
	gs_worker_settings();
	pgstat_report_appname(name);
	gs_attach();
	slot = gs_worker_become(follower);
	if (slot == NULL)
		proc_exit(0);
	ereport(DEBUG1, (errmsg_internal("%s started", name)));
	return slot;
}

void
gs_worker_interrupts(const bool *wanted)
{
	ResetLatch(MyLatch);
	if (ProcDiePending)
		proc_exit(0);
	QueryCancelPending = false; /* there is nothing to cancel */
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	if (!*wanted)
		proc_exit(0);
}

ErrorData *
gs_worker_take_error(MemoryContext mcxt)
{
	ErrorData *error;

	MemoryContextSwitchTo(mcxt);
	error = CopyErrorData();
	FlushErrorState();
	gs_worker_abort();
	LWLockReleaseAll(); /* there may have been no transaction to abort */
	return error;
}

void
gs_worker_failed(GsWorkerSlot *slot, const ErrorData *error)
{
	gs_worker_set_error(slot, error->message);
	LWLockAcquire(GsShmem->slots_lock, LW_EXCLUSIVE);
	slot->failures++;
	LWLockRelease(GsShmem->slots_lock);
}
