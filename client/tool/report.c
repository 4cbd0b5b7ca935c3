/*
 * report.c: the report at the end of a run.
 *
 * The model: first the numbers of this run; then questions to the archive in
 * plain SQL, each printed as it was asked, so that a user can paste it into
 * psql and go on from there.  A question belongs to a game type and is asked
 * only if the archive has games of that type.
 */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "output.h"

typedef struct Question
{
	const char *game_type; /* NULL = of any archive */
	const char *title;
	const char *sql;
} Question;

static const Question questions[] = {
	{NULL, "Games and moves by type",
	 "SELECT game_type, count(*) AS games, sum(moves) AS moves,\n"
	 "       round(avg(moves), 1) AS average_length, max(moves) AS longest\n"
	 "  FROM gamestate.archive\n"
	 " GROUP BY game_type ORDER BY games DESC"},
	{NULL, "The busiest minutes",
	 "SELECT date_trunc('minute', ended_at) AS minute, count(*) AS games_ended,\n"
	 "       sum(moves) AS their_moves\n"
	 "  FROM gamestate.archive\n"
	 " GROUP BY minute ORDER BY games_ended DESC LIMIT 3"},
	{"chess", "Chess: results by colour",
	 "SELECT result->>'score' AS score, count(*) AS games,\n"
	 "       round(100.0 * count(*) / sum(count(*)) OVER (), 1) AS percent\n"
	 "  FROM gamestate.archive\n"
	 " WHERE game_type = 'chess'\n"
	 " GROUP BY score ORDER BY games DESC"},
	{"chess", "Chess: the longest games",
	 "SELECT players[1] AS white, players[2] AS black, moves AS plies,\n"
	 "       result->>'score' AS score\n"
	 "  FROM gamestate.archive\n"
	 " WHERE game_type = 'chess'\n"
	 " ORDER BY moves DESC, game_id LIMIT 5"},
	{"chess", "Chess: the most common openings (from the moves themselves)",
	 "SELECT opening, count(*) AS games\n"
	 "  FROM (SELECT game_id,\n"
	 "               string_agg(event->>'san', ' ' ORDER BY ord) AS opening\n"
	 "          FROM gamestate.archived_moves\n"
	 "         WHERE game_type = 'chess' AND ord <= 3\n"
	 "         GROUP BY game_id) AS g\n"
	 " GROUP BY opening ORDER BY games DESC, opening LIMIT 5"},
	{"18xx", "18xx: the longest games, and who won",
	 "SELECT metadata->>'title' AS title, moves AS actions,\n"
	 "       cardinality(players) AS players, winner.name AS winner,\n"
	 "       winner.score\n"
	 "  FROM gamestate.archive,\n"
	 "       LATERAL (SELECT key AS name, value::int AS score\n"
	 "                  FROM json_each_text(result->'score')\n"
	 "                 ORDER BY score DESC LIMIT 1) AS winner\n"
	 " WHERE game_type = '18xx'\n"
	 " ORDER BY moves DESC, game_id LIMIT 5"},
	{"18xx", "18xx: what players do most (from the moves themselves)",
	 "SELECT event->>'type' AS action, count(*) AS times,\n"
	 "       round(100.0 * count(*) / sum(count(*)) OVER (), 1) AS percent\n"
	 "  FROM gamestate.archived_moves\n"
	 " WHERE game_type = '18xx'\n"
	 " GROUP BY action ORDER BY times DESC LIMIT 5"},
	{"battlesnake", "Battlesnake: who was alive at the end (from the last boards)",
	 "SELECT metadata->>'set' AS set, count(*) AS games,\n"
	 "       round(avg(moves), 1) AS average_turns,\n"
	 "       round(avg(json_array_length(final_state->'snakes')), 2) AS snakes_left\n"
	 "  FROM gamestate.archived_games\n"
	 " WHERE game_type = 'battlesnake'\n"
	 " GROUP BY set ORDER BY games DESC, set LIMIT 5"},
	{"hokm", "Hokm: is it good to be hakem?",
	 "SELECT count(*) AS hands,\n"
	 "       round(100.0 * count(*) FILTER (WHERE (hand->>'hakem')::int % 2\n"
	 "                                            = (hand->>'winner')::int)\n"
	 "             / count(*), 1) AS won_by_hakems_team_percent\n"
	 "  FROM gamestate.archive, json_array_elements(result->'hands') AS hand\n"
	 " WHERE game_type = 'hokm'"},
	{"hokm", "Hokm: how often is it a kot?",
	 "SELECT hand->>'kind' AS hand_won_by, count(*) AS hands,\n"
	 "       round(100.0 * count(*) / sum(count(*)) OVER (), 2) AS percent,\n"
	 "       sum((hand->>'points')::int) AS points\n"
	 "  FROM gamestate.archive, json_array_elements(result->'hands') AS hand\n"
	 " WHERE game_type = 'hokm'\n"
	 " GROUP BY hand_won_by ORDER BY hands DESC"},
	{"hokm", "Hokm: the luckiest bots of those with ten games or more",
	 "SELECT player, count(*) AS games,\n"
	 "       round(100.0 * avg((result->'winners' ->> 0 = player\n"
	 "                       OR result->'winners' ->> 1 = player)::int), 1)\n"
	 "         AS won_percent\n"
	 "  FROM gamestate.archive, unnest(players) AS player\n"
	 " WHERE game_type = 'hokm'\n"
	 " GROUP BY player HAVING count(*) >= 10\n"
	 " ORDER BY won_percent DESC, games DESC, player LIMIT 5"},
	{"hokm", "Hokm: the first moves of the longest game",
	 "SELECT ord, player, event->>'type' AS move,\n"
	 "       coalesce(event->>'card', event->>'suit',\n"
	 "                json_array_length(event->'cards') || ' cards') AS what\n"
	 "  FROM gamestate.archived_moves\n"
	 " WHERE game_id = (SELECT game_id FROM gamestate.archive\n"
	 "                   WHERE game_type = 'hokm'\n"
	 "                   ORDER BY moves DESC, game_id LIMIT 1)\n"
	 " ORDER BY ord LIMIT 7"},
};

bool
report_server(PGconn *conn)
{
	static const char sql[] =
		"SELECT e.extversion, split_part(current_setting('server_version'), ' ', 1),"
		" current_setting('synchronous_commit'),"
		" coalesce(current_setting('gamestate.memory', true), 'not set')"
		" FROM pg_extension e WHERE e.extname = 'gamestate'";
	PGresult *result = run_query(conn, "query of the server's settings", sql, 0, NULL);

	if (result == NULL)
		return false;
	if (PQntuples(result) == 1)
		printf("gamestate %s on PostgreSQL %s; synchronous_commit is %s, "
			   "gamestate.memory is %s\n",
			   PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1),
			   PQgetvalue(result, 0, 2), PQgetvalue(result, 0, 3));
	PQclear(result);
	return true;
}

static void
print_latency(const EngineStats *stats)
{
	const Hist *hist = stats->move_latency;
	char p50[NUMBER_SIZE];
	char p95[NUMBER_SIZE];
	char p99[NUMBER_SIZE];
	char max[NUMBER_SIZE];

	if (hist_count(hist) == 0)
		return;
	printf("  latency of apply_move  p50 %s, p95 %s, p99 %s, max %s\n",
		   format_duration(p50, hist_percentile(hist, 50)),
		   format_duration(p95, hist_percentile(hist, 95)),
		   format_duration(p99, hist_percentile(hist, 99)),
		   format_duration(max, hist_percentile(hist, 100)));
}

static void
print_played(const EngineOptions *options, const EngineStats *stats, const Ledger *ledger)
{
	char number[NUMBER_SIZE];
	char duration[NUMBER_SIZE];
	double seconds = (double) stats->elapsed_ns / 1e9;

	printf("\nPlayed\n");
	printf("  games                  %s\n", format_count(number, ledger->finished));
	printf("  moves                  %s in %s\n", format_count(number, stats->moves),
		   format_duration(duration, stats->elapsed_ns));
	printf("  moves a second         %s (%d connection%s, %d call%s in flight on each)\n",
		   format_count(number,
						seconds > 0 ? (uint64_t) ((double) stats->moves / seconds) : 0),
		   options->connections, options->connections == 1 ? "" : "s", options->pipeline,
		   options->pipeline == 1 ? "" : "s");
	print_latency(stats);
	printf("  get_state              compared after %s moves: every byte as written\n",
		   format_count(number, ledger->states_compared));
	if (stats->memory_waits > 0)
		printf("  out of game memory     %s calls were made again after a pause\n",
			   format_count(number, stats->memory_waits));
}

/* What is stored, of how much; `label` takes the column before it. */
static void
print_ratio(const char *label, uint64_t stored, uint64_t raw)
{
	char stored_text[NUMBER_SIZE];
	char raw_text[NUMBER_SIZE];

	printf("  %-22s %s of %s, %.1f %%\n", label, format_bytes(stored_text, stored),
		   format_bytes(raw_text, raw),
		   raw > 0 ? 100.0 * (double) stored / (double) raw : 0.0);
}

static void
print_archived(const Ledger *ledger)
{
	GameSizes total = ledger_total(ledger);
	char games[NUMBER_SIZE];
	char duration[NUMBER_SIZE];

	printf("\nArchived\n");
	printf("  games                  %s, the last one %s after the last move\n",
		   format_count(games, ledger->finished),
		   format_duration(duration, ledger->archive_wait_ns));
	printf("  stored, of JSON *)\n");
	for (size_t i = 0; i < ledger->type_count && ledger->type_count > 1; i++)
	{
		char label[24];

		snprintf(label, sizeof(label), "  %s", ledger->types[i].game_type);
		print_ratio(label, ledger->types[i].stored, ledger->types[i].raw);
	}
	print_ratio("  all games", total.stored, total.raw);
	print_ratio("  with every state", total.stored, total.all_states);
	printf(
		"  *) payload as stored (zstd), of the first state, the last state and the log\n"
		"     as compact JSON; of recorded states each counts\n");
}

void
report_run(const EngineOptions *options, const EngineStats *stats, const Ledger *ledger,
		   const CheckSummary *checks)
{
	char number[NUMBER_SIZE];

	print_played(options, stats, ledger);

	print_archived(ledger);

	printf("\nChecked\n");
	printf("  games                  %s%s, ", checks->all ? "all " : "a sample of ",
		   format_count(number, checks->games));
	printf("with their %s moves, against %s: no difference\n",
		   format_count(number, checks->moves), checks->against);
	fflush(stdout);
}

static void
append_sizes(Buf *out, const GameSizes *sizes)
{
	buf_printf(out,
			   "{\"games\": %" PRIu64 ", \"json_bytes\": %" PRIu64
			   ", \"json_bytes_with_every_state\": %" PRIu64
			   ", \"stored_bytes\": %" PRIu64 "}",
			   sizes->games, sizes->raw, sizes->all_states, sizes->stored);
}

void
report_run_json(const EngineOptions *options, const EngineStats *stats,
				const Ledger *ledger, const CheckSummary *checks)
{
	const Hist *hist = stats->move_latency;
	double seconds = (double) stats->elapsed_ns / 1e9;
	Buf out = {0};

	buf_printf(&out,
			   "{\"clients\": %d, \"pipeline\": %d, \"games\": %zu, \"moves\": %" PRIu64
			   ", \"seconds\": %.3f, \"moves_per_second\": %.1f",
			   options->connections, options->pipeline, ledger->finished, stats->moves,
			   seconds, seconds > 0 ? (double) stats->moves / seconds : 0.0);
	buf_printf(&out,
			   ",\n \"move_us\": {\"p50\": %.1f, \"p95\": %.1f, \"p99\": %.1f, \"max\": "
			   "%.1f}",
			   (double) hist_percentile(hist, 50) / 1e3,
			   (double) hist_percentile(hist, 95) / 1e3,
			   (double) hist_percentile(hist, 99) / 1e3,
			   (double) hist_percentile(hist, 100) / 1e3);
	buf_printf(&out,
			   ",\n \"states_compared\": %" PRIu64 ", \"memory_waits\": %" PRIu64
			   ", \"archive_wait_seconds\": %.3f, \"checked_games\": %" PRIu64
			   ", \"checked_moves\": %" PRIu64 ",\n \"archived\": {",
			   ledger->states_compared, stats->memory_waits,
			   (double) ledger->archive_wait_ns / 1e9, checks->games, checks->moves);
	for (size_t i = 0; i < ledger->type_count; i++)
	{
		if (i > 0)
			buf_puts(&out, ", ");
		buf_json_string(&out, ledger->types[i].game_type);
		buf_puts(&out, ": ");
		append_sizes(&out, &ledger->types[i]);
	}
	buf_puts(&out, "}}");
	puts(out.data);
	buf_free(&out);
}

/* The statement, indented. */
static void
print_sql(const char *sql)
{
	printf("    ");
	for (const char *p = sql; *p != '\0'; p++)
	{
		putchar(*p);
		if (*p == '\n')
			printf("    ");
	}
	printf(";\n\n");
}

static bool
has_games(PGconn *conn, const char *game_type, bool *found)
{
	const char *const args[] = {game_type};
	PGresult *result = run_query(conn, "query of the archive",
								 "SELECT FROM gamestate.archive"
								 " WHERE game_type = $1::text LIMIT 1",
								 1, args);

	if (result == NULL)
		return false;
	*found = PQntuples(result) > 0;
	PQclear(result);
	return true;
}

bool
report_queries(PGconn *conn)
{
	printf("\nAsked of the archive, in plain SQL\n");
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
	{
		const Question *question = &questions[i];
		PGresult *result;
		bool found = true;

		if (interrupted)
			return false;
		if (question->game_type != NULL && !has_games(conn, question->game_type, &found))
			return false;
		if (!found)
			continue;
		result = run_query(conn, "query of the archive", question->sql, 0, NULL);
		if (result == NULL)
			return false;
		printf("\n  %s\n\n", question->title);
		print_sql(question->sql);
		output_table(result, 4);
		PQclear(result);
		fflush(stdout);
	}
	return true;
}
