/*-------------------------------------------------------------------------
 *
 * cancel.c
 *	  Asking the server to cancel what a connection executes.
 *
 * The model:
 * 1. libpq's PQcancel() waits: for a new connection, and until the server
 *	  closes it.  A server that is frozen makes it wait for ever.  So each
 *	  request is made by a thread of its own, of which a connection has at most
 *	  one and the process at most MAX_THREADS.
 * 2. The thread and the connection share one piece of memory, which the last of
 *	  them frees: the connection never waits for the thread.
 * 3. The server closes the thread's connection after it has signalled the
 *	  session.  So a call that is sent when gsl_cancel_done() is true cannot be
 *	  hit any more: the signal has been delivered before the server reads it.
 *
 *-------------------------------------------------------------------------
 */
#include "conn.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#define MAX_THREADS 64

struct Cancel
{
	PGcancel *request;	/* the thread's */
	atomic_bool done;	/* set by the thread, read by the connection */
	atomic_int holders; /* the thread and the connection */
};

/* requests on their way in this process */
static atomic_int threads;

void
gsl_cancel_release(Cancel *cancel)
{
	if (cancel != NULL && atomic_fetch_sub(&cancel->holders, 1) == 1)
		free(cancel);
}

bool
gsl_cancel_done(const Cancel *cancel)
{
	return atomic_load(&cancel->done);
}

static void *
cancel_thread(void *arg)
{
	Cancel *cancel = arg;
	char message[256];

	/* If it fails the call goes on; its caller has been answered. */
	PQcancel(cancel->request, message, sizeof(message));
	PQfreeCancel(cancel->request);
	atomic_store(&cancel->done, true);
	gsl_cancel_release(cancel);
	atomic_fetch_sub(&threads, 1);
	return NULL;
}

/* Starts the thread detached and without signals, which are the program's. */
static bool
start_thread(Cancel *cancel)
{
	pthread_attr_t attributes;
	pthread_t thread;
	sigset_t all;
	sigset_t before;
	bool started;

	if (pthread_attr_init(&attributes) != 0)
		return false;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	started = pthread_create(&thread, &attributes, cancel_thread, cancel) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return started;
}

Cancel *
gsl_cancel_start(PGconn *pg)
{
	Cancel *cancel;

	if (atomic_fetch_add(&threads, 1) >= MAX_THREADS)
	{
		atomic_fetch_sub(&threads, 1);
		return NULL;
	}
	cancel = calloc(1, sizeof(*cancel));
	if (cancel != NULL)
	{
		cancel->request = PQgetCancel(pg);
		atomic_init(&cancel->done, false);
		atomic_init(&cancel->holders, 2);
		if (cancel->request != NULL && start_thread(cancel))
			return cancel;
		PQfreeCancel(cancel->request);
		free(cancel);
	}
	atomic_fetch_sub(&threads, 1);
	return NULL;
}
