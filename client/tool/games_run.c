/*
 * games_run.c: what `play` and `replay` do with a server, from the first
 * connection to the report.
 *
 * The model, in the order in which it happens:
 * 1. The extension is created if the database does not have it.
 * 2. Play, many games at once on a few connections (engine.c): recorded games
 *    (replay.c), or Hokm by bots (hokm_table.c).
 * 3. Wait until all of them are in the archive (arrival.c).
 * 4. Check: archived games against their records (replay_check.c), or against
 *    the rules (hokm_check.c).
 * 5. Report, and ask the archive a few questions in SQL (report.c).
 *
 * An error or an interrupt ends the run with a message, after the games that
 * were still running have been deleted.
 */
#include "games_run.h"

#include <stdio.h>
#include <stdlib.h>

#include "arrival.h"
#include "command.h"
#include "hokm_table.h"
#include "output.h"
#include "progress.h"
#include "replay.h"
#include "report.h"

static bool
prepare_database(GamesRun *run)
{
	PGresult *result;

	run->conn = connect_database(&run->options.connect);
	if (run->conn == NULL)
		return false;
	run->conninfo = connection_string(run->conn);
	run->options.engine.conninfo = run->conninfo;
	result = run_query(run->conn, "CREATE EXTENSION",
					   "CREATE EXTENSION IF NOT EXISTS gamestate", 0, NULL);
	if (result == NULL)
		return false;
	PQclear(result);
	return true;
}

/* What is going to happen. */
static void
announce(const GamesRun *run)
{
	const RunOptions *options = &run->options;
	char games[NUMBER_SIZE];
	char moves[NUMBER_SIZE];

	if (run->records.count > 0)
		printf(
			"Playing %s recorded games with %s moves, %d time%s, up to %d games at once\n",
			format_count(games, run->records.count),
			format_count(moves, run->records.moves), options->repeat,
			options->repeat == 1 ? "" : "s", options->engine.tasks);
	else
		printf("Playing %s games of Hokm, four bots a table, up to %d tables at once "
			   "(seed %llu)\n",
			   format_count(games, (uint64_t) options->games), options->engine.tasks,
			   (unsigned long long) options->seed);
	fflush(stdout);
}

/* A run of the engine with its own connections. */
static bool
run_engine(const EngineOptions *options, TaskSource *source, EngineStats *stats)
{
	Engine *engine = engine_open(options);
	bool ok;

	if (engine == NULL)
		return false;
	ok = engine_run(engine, source, stats);
	engine_close(engine);
	return ok;
}

static bool
play(GamesRun *run)
{
	const RunOptions *options = &run->options;
	uint64_t games;
	ReplaySource replay;
	HokmSource hokm;
	TaskSource *source;

	if (run->records.count > 0)
	{
		games = (uint64_t) run->records.count * (uint64_t) options->repeat;
		replay_source_init(&replay, &run->records, (uint32_t) options->repeat,
						   &run->ledger);
		source = &replay.source;
	}
	else
	{
		games = (uint64_t) options->games;
		hokm_source_init(&hokm, (uint32_t) options->games, options->seed, &run->ledger);
		source = &hokm.source;
	}
	progress_begin("playing", "games", games);
	return run_engine(&options->engine, source, &run->stats);
}

static bool
check(GamesRun *run)
{
	EngineOptions options = run->options.engine;
	EngineStats stats = {.move_latency = run->stats.move_latency};
	ReplayCheckSource replay;
	HokmCheckSource hokm;
	bool ok;

	/* Each open task is a question to the archive: no more than are asked. */
	options.tasks = options.connections * options.pipeline;
	if (run->records.count > 0)
	{
		replay_check_source_init(&replay, &run->records, &run->ledger);
		progress_begin("checking", "games", run->ledger.count);
		ok = run_engine(&options, &replay.source, &stats);
		run->checks = (CheckSummary){.games = replay.checked,
									 .moves = replay.moves,
									 .all = replay.checked == run->ledger.count,
									 .against = "their records"};
	}
	else
	{
		hokm_check_source_init(&hokm, (uint32_t) run->options.verify_sample,
							   run->options.seed, &run->ledger);
		progress_begin("checking", "games", hokm.sample);
		ok = run_engine(&options, &hokm.source, &stats);
		run->checks = (CheckSummary){.games = hokm.checked,
									 .moves = hokm.moves,
									 .all = hokm.checked == run->ledger.count,
									 .against = "the rules of Hokm"};
	}
	return ok;
}

static bool
run_steps(GamesRun *run)
{
	if (!prepare_database(run))
		return false;
	if (!run->options.json)
	{
		if (!report_server(run->conn))
			return false;
		announce(run);
	}
	if (!play(run))
		return false;
	if (!arrival_wait(run->conn, &run->ledger, run->options.engine.patience))
		return false;
	if (!check(run))
		return false;
	if (run->options.json)
	{
		report_run_json(&run->options.engine, &run->stats, &run->ledger, &run->checks);
		return true;
	}
	report_run(&run->options.engine, &run->stats, &run->ledger, &run->checks);
	return report_queries(run->conn);
}

int
games_run(GamesRun *run)
{
	bool ok;

	run->stats.move_latency = hist_create();
	install_signal_handlers();
	ok = run_steps(run) && output_flush();
	if (interrupted)
		log_error("interrupted");
	if (!ok && run->conn != NULL)
		arrival_clean_up(run->conn, &run->ledger);
	disconnect_database(run->conn);
	free(run->conninfo);
	hist_free(run->stats.move_latency);
	ledger_free(&run->ledger);
	return exit_status(ok);
}
