/*-------------------------------------------------------------------------
 *
 * pool_question.h
 *	  The statement that asks a server what it is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GAMESTATE_POOL_QUESTION_H
#define GAMESTATE_POOL_QUESTION_H

/* in recovery, read-only, timeline, system; NULLs where it cannot be known */
#define GSP_QUESTION                                                                 \
	"SELECT pg_catalog.pg_is_in_recovery(),"                                         \
	" pg_catalog.current_setting('default_transaction_read_only')::pg_catalog.bool," \
	" CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN ('x' || pg_catalog.substr("  \
	"pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))"            \
	"::pg_catalog.bit(32)::pg_catalog.int8 END,"                                     \
	" (SELECT system_identifier FROM pg_catalog.pg_control_system())"

#endif /* GAMESTATE_POOL_QUESTION_H */
