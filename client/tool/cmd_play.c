/*
 * cmd_play.c: gamestate play: a game server whose players are bots.
 *
 * The model: one kind of game so far, Hokm (hokm.c, hokm_table.c).  What
 * happens around the games is games_run.c's.
 */
#include <stdio.h>
#include <string.h>

#include <getopt.h>

#include "command.h"
#include "games_run.h"
#include "options.h"

static void
print_help(void)
{
	printf("%s play plays games by bots, and checks what becomes of them.\n\n"
		   "Usage:\n  %s play [OPTION]... hokm\n\n"
		   "Four bots sit at each table of Hokm.  All games are awaited in the archive,\n"
		   "and a sample of them is replayed there, move by move, by the rules.\n\n"
		   "Options:\n" RUN_OPTION_HELP
		   "  -g, --games=N            games to play (default 3000)\n"
		   "  -s, --seed=N             seed of the cards (default 1)\n"
		   "      --verify-sample=N    archived games to replay (default 300)\n",
		   PROGRAM_NAME, PROGRAM_NAME);
}

int
cmd_play(int argc, char **argv)
{
	GamesRun run = {.options = RUN_DEFAULTS};
	RunOptions *options = &run.options;
	CommonOptions common = {0};
	const OptionSpec specs[] = {
		RUN_OPTION_SPECS(*options),
		{'g', "games", OPTION_INT, &options->games, 1, RUN_MAX_GAMES},
		{'s', "seed", OPTION_UINT64, &options->seed, 0, UINT64_MAX},
		{0, "verify-sample", OPTION_INT, &options->verify_sample, 1, RUN_MAX_GAMES},
	};
	const OptionTable table = {"play", print_help, specs,
							   sizeof(specs) / sizeof(specs[0]), false};
	OptionOutcome outcome = options_parse(argc, argv, &table, &common);

	if (outcome != OPTIONS_RUN)
		return outcome == OPTIONS_DONE ? EXIT_OK : EXIT_BAD_USE;
	if (optind + 1 != argc || strcmp(argv[optind], "hokm") != 0)
	{
		if (optind == argc)
			options_complain("play", "no game was named");
		else if (optind + 1 < argc)
			options_complain("play", "too many command-line arguments (first is \"%s\")",
							 argv[optind + 1]);
		else
			options_complain("play", "there are no bots for \"%s\", only for hokm",
							 argv[optind]);
		return EXIT_BAD_USE;
	}
	options->connect = common.connect;
	options->json = common.json;
	return games_run(&run);
}
