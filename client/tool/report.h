/*
 * report.h: what the user sees at the end, on stdout.
 */
#ifndef GAMESTATE_CLIENT_REPORT_H
#define GAMESTATE_CLIENT_REPORT_H

#include "connect.h"
#include "engine.h"
#include "ledger.h"

/* What was checked, for the report. */
typedef struct CheckSummary
{
	uint64_t games;
	uint64_t moves;
	bool all;			 /* every game of the run */
	const char *against; /* "its record", "the rules of Hokm" */
} CheckSummary;

/* Before the run: what it runs on; false after a message. */
extern bool report_server(PGconn *conn);

extern void report_run(const EngineOptions *options, const EngineStats *stats,
					   const Ledger *ledger, const CheckSummary *checks);

/* The same as one JSON object. */
extern void report_run_json(const EngineOptions *options, const EngineStats *stats,
							const Ledger *ledger, const CheckSummary *checks);

/* A few questions to the archive, with their SQL; false after a message. */
extern bool report_queries(PGconn *conn);

#endif /* GAMESTATE_CLIENT_REPORT_H */
