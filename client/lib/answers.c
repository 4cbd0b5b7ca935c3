/*-------------------------------------------------------------------------
 *
 * answers.c
 *	  Receiving: which answer belongs to which call, and deadlines.
 *
 * The model:
 * 1. The server answers in the order of the line: for each call one result (two
 *	  if a statement is prepared with it), for each group one Sync.  `reading`
 *	  is the slot whose result comes next; anything that does not fit means that
 *	  we are out of step with the server, and breaks the connection.
 * 2. Results are handed over when the Sync of their group has come, since the
 *	  transaction commits with it, and may fail in doing so.
 * 3. After a FATAL error nothing that stands in the line behind the call that
 *	  met it has been executed.
 * 4. At its deadline a call is answered and its slot stays in the line, as a
 *	  place for what the server will say.  If it is the one that the server is
 *	  at, and has been for CANCEL_AFTER, a cancel is asked for (cancel.c).
 * 5. While a cancel is on its way it may hit any call in the line.  Such a call
 *	  has not been executed and is answered with GAMESTATE_DISTURBED.
 *
 * A callback may send calls, which may move the ring, and close the
 * connection: after one has run, nothing that was looked up before is valid.
 *
 *-------------------------------------------------------------------------
 */
#include "conn.h"

#include <stdlib.h>
#include <string.h>

#define CANCEL_AFTER 10 /* ms */

/* -----------------------------------------------------------------------
 * Handing over
 * -----------------------------------------------------------------------
 */

/* Was it skipped because an earlier call of its group has failed? */
static bool
was_skipped(const Slot *slot)
{
	return slot->result != NULL && PQresultStatus(slot->result) == PGRES_PIPELINE_ABORTED;
}

static bool
deliver_skipped(gamestate_conn *conn, Slot *slot)
{
	gamestate_error error =
		gsl_error(GAMESTATE_DISTURBED, "the call was skipped, since the read before it "
									   "has failed");

	PQclear(slot->result);
	slot->result = NULL;
	gsl_result_fail(&conn->result, &error);
	return gsl_conn_run(conn, slot);
}

/*
 * A commit has been given up waiting for standbys, perhaps by a cancel that was
 * meant for another call.  To the server that is a success with a warning; to
 * us it is no answer: a failover may take it back.
 */
static void
take_back(gamestate_conn *conn)
{
	gamestate_error error =
		gsl_error(GAMESTATE_SERVER_ERROR, "the wait for standbys was cancelled");

	error.detail = "The call has been executed, but may not have been replicated.";
	error.hint = "Send it again with the same request id.";
	error.maybe_executed = true;
	memcpy(error.sqlstate, "08007", 6); /* transaction resolution unknown */
	gsl_result_clear(&conn->result);
	gsl_result_fail(&conn->result, &error);
}

/* The answer of a slot that has left the line; takes its result over. */
static bool
deliver(gamestate_conn *conn, uint64_t number, Slot *slot)
{
	if (was_skipped(slot))
		return deliver_skipped(conn, slot);
	gsl_result_set(&conn->result, slot->result, slot->function);
	slot->result = NULL;
	if (gamestate_error_is(&conn->result.error, "57014") && number < conn->at_risk_end &&
		(slot->flags & SLOT_CANCELLED) == 0)
		conn->result.error.status = GAMESTATE_DISTURBED;
	if ((slot->flags & SLOT_UNWAITED) != 0 && conn->result.error.status == GAMESTATE_OK)
		take_back(conn);
	return gsl_conn_run(conn, slot);
}

/*
 * The calls of a group that were skipped, but for the one that failed, once
 * more.  Not if a transaction of the caller's may be open at the end of the
 * line: he has not put them there, and they could fail it.
 */
static bool
resend_skipped(gamestate_conn *conn, uint64_t group_end)
{
	for (uint64_t i = conn->first; i < group_end; i++)
	{
		Slot slot = *slot_at(conn, i);

		if (!was_skipped(&slot) || (slot.flags & SLOT_GROUPED) == 0 ||
			gsl_line_maybe_transaction(conn))
			continue;
		if ((slot.flags & SLOT_ANSWERED) == 0 && !gsl_line_resend(conn, &slot))
			return false;
		slot_at(conn, i)->flags |= SLOT_ANSWERED;
	}
	return true;
}

/* What transaction control has done, as far as it was ours. */
static void
note_transaction(gamestate_conn *conn, const Slot *slot)
{
	const char *tag;

	if ((slot->function->flags & FN_TRANSACTION) == 0 || slot->result == NULL ||
		PQresultStatus(slot->result) != PGRES_COMMAND_OK)
		return;
	tag = PQcmdStatus(slot->result);
	if (strcmp(tag, "BEGIN") == 0 || strcmp(tag, "START TRANSACTION") == 0)
		conn->in_transaction = true;
	else if (strcmp(tag, "COMMIT") == 0 || strcmp(tag, "ROLLBACK") == 0)
		conn->in_transaction = false;
}

/* A Sync has come: everything before `reading` is answered. */
static gamestate_status
complete_group(gamestate_conn *conn)
{
	uint64_t group_end = conn->reading;

	if (!resend_skipped(conn, group_end))
		return gsl_conn_break(conn);
	while (conn->first < group_end)
	{
		uint64_t number = conn->first++;
		Slot slot = *slot_at(conn, number);

		note_transaction(conn, &slot);
		if (conn->first == conn->end)
			conn->in_transaction = PQtransactionStatus(conn->pg) != PQTRANS_IDLE;
		if ((slot.flags & SLOT_ANSWERED) != 0)
			PQclear(slot.result);
		else if (deliver(conn, number, &slot))
		{
			/* Callbacks of this group that have not run are run by this. */
			gamestate_conn_close(conn);
			return GAMESTATE_CLOSED;
		}
	}
	/* A failure shows at the end of this turn. */
	(void) gsl_waiting_send(conn);
	return GAMESTATE_OK;
}

/* -----------------------------------------------------------------------
 * Matching results with calls
 * -----------------------------------------------------------------------
 */

/* Has everything in the group before `reading` been answered but its Sync? */
static bool
sync_is_due(gamestate_conn *conn)
{
	return conn->reading > conn->first &&
		   (slot_at(conn, conn->reading - 1)->flags & SLOT_SYNC) != 0;
}

/* The commit comes with the call's execution (COMMIT), or with its Sync. */
void
gsl_answers_unwaited(gamestate_conn *conn)
{
	if (sync_is_due(conn))
		slot_at(conn, conn->reading - 1)->flags |= SLOT_UNWAITED;
	else if (conn->reading < conn->end)
		slot_at(conn, conn->reading)->flags |= SLOT_UNWAITED;
}

static gamestate_status
out_of_step(gamestate_conn *conn, PGresult *pg)
{
	gamestate_error error =
		gsl_error(GAMESTATE_CONNECTION_LOST,
				  "the server's answers do not fit the calls that were sent");

	PQclear(pg);
	error.hint = "What is at the other end may not be a PostgreSQL server, or COPY was "
				 "called.";
	gsl_conn_fail(conn, &error);
	return gsl_conn_break(conn);
}

/* The answer to a Parse. */
static void
take_prepared(gamestate_conn *conn, Slot *slot, PGresult *pg)
{
	bool good = PQresultStatus(pg) == PGRES_COMMAND_OK;
	const char *sqlstate = PQresultErrorField(pg, PG_DIAG_SQLSTATE);
	Statement *statement = gsl_statement(&conn->statements, slot->statement);

	slot->flags &= ~SLOT_PREPARES;
	/* There already: a pooler has given us a session of another client of ours. */
	if (sqlstate != NULL && strcmp(sqlstate, "42P05") == 0)
		statement->state = STATEMENT_PREPARED;
	else
		statement->state = good ? STATEMENT_PREPARED : STATEMENT_NONE;
	if (good)
		PQclear(pg);
	else
		slot->result = pg; /* the call itself will be skipped */
}

static bool
is_answer(ExecStatusType status)
{
	return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ||
		   status == PGRES_EMPTY_QUERY || status == PGRES_FATAL_ERROR ||
		   status == PGRES_PIPELINE_ABORTED;
}

/* One result of libpq's. */
static gamestate_status
take_result(gamestate_conn *conn, PGresult *pg, int64_t now)
{
	ExecStatusType status = PQresultStatus(pg);
	bool sync_due = sync_is_due(conn);
	const char *sqlstate = PQresultErrorField(pg, PG_DIAG_SQLSTATE);
	Slot *slot;

	if (status == PGRES_PIPELINE_SYNC)
	{
		if (!sync_due)
			return out_of_step(conn, pg);
		PQclear(pg);
		conn->reading_since = now;
		return complete_group(conn);
	}
	if (!is_answer(status) || (sync_due && status != PGRES_FATAL_ERROR) ||
		(!sync_due && conn->reading == conn->end))
		return out_of_step(conn, pg);
	if (sync_due)
	{
		/* The commit has failed.  If it was fatal we cannot know whether before it. */
		if (gsl_result_is_fatal(pg))
		{
			conn->not_executed = conn->reading;
			PQclear(pg);
			return GAMESTATE_OK;
		}
		slot = slot_at(conn, conn->reading - 1);
		PQclear(slot->result);
		slot->result = pg;
		return GAMESTATE_OK;
	}

	slot = slot_at(conn, conn->reading);
	if (gsl_result_is_fatal(pg))
		conn->not_executed = conn->reading;
	if (sqlstate != NULL && strcmp(sqlstate, "26000") == 0)
		gsl_statements_forget(&conn->statements);
	if ((slot->flags & SLOT_PREPARES) != 0)
	{
		take_prepared(conn, slot, pg);
		return GAMESTATE_OK;
	}
	if (slot->result == NULL)
		slot->result = pg;
	else
		PQclear(pg); /* skipped, since preparing has failed */
	conn->reading++;
	conn->reading_since = now;
	return GAMESTATE_OK;
}

/* Takes all results that have come whole; *lost: the connection is. */
static gamestate_status
take_results(gamestate_conn *conn, int64_t now, bool *lost)
{
	int nothing = 0;

	while (conn->first != conn->end && nothing < 2 && !PQisBusy(conn->pg))
	{
		PGresult *pg = PQgetResult(conn->pg);
		gamestate_status status;

		if (pg == NULL)
		{
			/* the end of one call's results; twice: there are no more */
			nothing++;
			continue;
		}
		nothing = 0;
		/* An error without SQLSTATE on a bad connection is that of its loss. */
		if (PQstatus(conn->pg) == CONNECTION_BAD &&
			PQresultErrorField(pg, PG_DIAG_SQLSTATE) == NULL &&
			PQresultStatus(pg) == PGRES_FATAL_ERROR)
		{
			PQclear(pg);
			*lost = true;
			break;
		}
		conn->heard = now;
		status = take_result(conn, pg, now);
		if (status != GAMESTATE_OK)
			return status;
	}
	return GAMESTATE_OK;
}

gamestate_status
gsl_answers_receive(gamestate_conn *conn, int64_t now)
{
	bool lost = PQconsumeInput(conn->pg) != 1;
	/* before libpq has more to say, and callbacks have errors of their own */
	char *reason = lost ? strdup(PQerrorMessage(conn->pg)) : NULL;
	gamestate_status status = take_results(conn, now, &lost);
	PGnotify *notify;

	if (status == GAMESTATE_OK)
	{
		/* Somebody may have called LISTEN; and this takes in what comes unasked. */
		while ((notify = PQnotifies(conn->pg)) != NULL)
			PQfreemem(notify);
		if (lost || PQstatus(conn->pg) == CONNECTION_BAD)
		{
			if (reason != NULL)
				gsl_conn_fail_text(conn, GAMESTATE_CONNECTION_LOST, reason);
			else
				gsl_conn_fail_libpq(conn, GAMESTATE_CONNECTION_LOST);
			status = gsl_conn_break(conn);
		}
	}
	free(reason);
	return status;
}

/* -----------------------------------------------------------------------
 * Deadlines
 * -----------------------------------------------------------------------
 */

/* The call that the server is at, if it has passed its deadline; else NULL. */
static Slot *
overdue(const gamestate_conn *conn)
{
	Slot *slot;

	if (conn->reading == conn->end || conn->options.no_cancel)
		return NULL;
	slot = &conn->ring[conn->reading & conn->mask];
	if ((slot->flags & (SLOT_ANSWERED | SLOT_CANCELLED)) != SLOT_ANSWERED ||
		slot->deadline == NEVER)
		return NULL;
	return slot;
}

void
gsl_answers_note_cancel(gamestate_conn *conn)
{
	if (conn->cancel == NULL || !gsl_cancel_done(conn->cancel))
		return;
	gsl_cancel_release(conn->cancel);
	conn->cancel = NULL;
	conn->at_risk_end = conn->end;
}

static void
cancel_overdue(gamestate_conn *conn, int64_t now)
{
	Slot *slot;

	gsl_answers_note_cancel(conn);
	slot = overdue(conn);
	if (slot == NULL || conn->cancel != NULL || now - conn->reading_since < CANCEL_AFTER)
		return;
	slot->flags |= SLOT_CANCELLED;
	conn->cancel = gsl_cancel_start(conn->pg);
	if (conn->cancel != NULL)
		conn->at_risk_end = UINT64_MAX;
}

gamestate_status
gsl_answers_expire(gamestate_conn *conn, int64_t now)
{
	if (now >= conn->next_deadline)
	{
		int64_t next = NEVER;

		for (uint64_t i = conn->first; i < conn->end; i++)
		{
			Slot slot = *slot_at(conn, i);
			gamestate_error error;

			if ((slot.flags & SLOT_ANSWERED) != 0)
				continue;
			if (slot.deadline > now)
			{
				next = slot.deadline < next ? slot.deadline : next;
				continue;
			}
			slot_at(conn, i)->flags |= SLOT_ANSWERED;
			error = gsl_error(GAMESTATE_TIMEOUT, NULL);
			error.maybe_executed = (slot.flags & SLOT_READ) == 0;
			gsl_result_fail(&conn->result, &error);
			if (gsl_conn_run(conn, &slot))
			{
				gamestate_conn_close(conn);
				return GAMESTATE_CLOSED;
			}
		}
		if (gsl_waiting_expire(conn, now, &next) != GAMESTATE_OK)
			return GAMESTATE_CLOSED;
		conn->next_deadline = next;
	}
	cancel_overdue(conn, now);
	return GAMESTATE_OK;
}

void
gsl_answers_give_up(gamestate_conn *conn)
{
	int64_t now = gamestate_now();

	for (uint64_t i = conn->first; i < conn->end; i++)
		slot_at(conn, i)->deadline = now;
	conn->next_deadline = now;
}

int64_t
gsl_answers_deadline(const gamestate_conn *conn)
{
	int64_t deadline = conn->next_deadline;
	int64_t cancel = NEVER;

	if (overdue(conn) != NULL)
	{
		/* Nobody tells us when an earlier cancel is done. */
		cancel = conn->cancel != NULL ? gamestate_now() : conn->reading_since;
		cancel += CANCEL_AFTER;
	}
	return cancel < deadline ? cancel : deadline;
}
