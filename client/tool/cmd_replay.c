/*
 * cmd_replay.c: gamestate replay: recorded games, played again.
 *
 * The model: all files are read and checked whole before anything is played
 * (records.c); what happens then is games_run.c's.
 */
#include <stdio.h>

#include <getopt.h>

#include "command.h"
#include "games_run.h"
#include "options.h"

static void
print_help(void)
{
	printf(
		"%s replay plays recorded games again, and checks what becomes of them.\n\n"
		"Usage:\n  %s replay [OPTION]... FILE...\n\n"
		"A file has a game a line, as JSON: {\"game_type\", \"players\", \"result\", \"meta\",\n"
		"\"moves\"} and, where they are known, \"initial_state\" and \"states\".  All games are\n"
		"awaited in the archive and compared there, to the letter.\n\n"
		"Options:\n" RUN_OPTION_HELP
		"  -r, --repeat=N           times to play each game (default 1)\n",
		PROGRAM_NAME, PROGRAM_NAME);
}

int
cmd_replay(int argc, char **argv)
{
	GamesRun run = {.options = RUN_DEFAULTS};
	RunOptions *options = &run.options;
	CommonOptions common = {0};
	const OptionSpec specs[] = {
		RUN_OPTION_SPECS(*options),
		{'r', "repeat", OPTION_INT, &options->repeat, 1, RUN_MAX_GAMES},
	};
	const OptionTable table = {"replay", print_help, specs,
							   sizeof(specs) / sizeof(specs[0]), false};
	OptionOutcome outcome = options_parse(argc, argv, &table, &common);
	bool ok = true;
	int status = EXIT_FAILED;

	if (outcome != OPTIONS_RUN)
		return outcome == OPTIONS_DONE ? EXIT_OK : EXIT_BAD_USE;
	if (optind == argc)
	{
		options_complain("replay", "no file was named");
		return EXIT_BAD_USE;
	}
	for (int i = optind; i < argc && ok; i++)
		ok = records_read(&run.records, argv[i]);
	options->connect = common.connect;
	options->json = common.json;
	if (ok)
		status = games_run(&run);
	records_free(&run.records);
	return status;
}
