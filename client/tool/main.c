/*
 * main.c: gamestate, the command line tool.
 *
 * The model: the first argument names a command, which is a function in a
 * file of its own (cmd_*.c) and gets the rest.  All of them talk to the server
 * through the SQL functions and views of gamestate.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "connect.h"

typedef struct Command
{
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
} Command;

static const Command commands[] = {
	{"archive", "what is in the archive, and waiting for it", cmd_archive},
	{"bench", "measure how fast a server is at games", cmd_bench},
	{"check", "whether all is well, for monitoring systems", cmd_check},
	{"export", "write archived games to a file", cmd_export},
	{"import", "bring games into the archive from a file", cmd_import},
	{"play", "play games by bots", cmd_play},
	{"replay", "play recorded games", cmd_replay},
	{"show", "show a game and its log", cmd_show},
	{"top", "what happens now", cmd_top},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

int
exit_status(bool ok)
{
	if (ok)
		return EXIT_OK;
	return connection_failed ? EXIT_BAD_USE : EXIT_FAILED;
}

static void
print_help(void)
{
	printf("%s works with the games of PostgreSQL's extension gamestate.\n\n"
		   "Usage:\n  %s COMMAND [OPTION]... [ARGUMENT]...\n\nCommands:\n",
		   PROGRAM_NAME, PROGRAM_NAME);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		printf("  %-9s %s\n", commands[i].name, commands[i].summary);
	printf("\nOptions:\n"
		   "  -V, --version    output version information, then exit\n"
		   "  -?, --help       show this help, then exit\n\n"
		   "\"%s COMMAND --help\" tells of a command's options.\n",
		   PROGRAM_NAME);
}

int
main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";

	/* A reader that has gone is an error of writing, told as such. */
	signal(SIGPIPE, SIG_IGN);
	if (strcmp(word, "--help") == 0 || strcmp(word, "-?") == 0)
	{
		print_help();
		return EXIT_OK;
	}
	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
	{
		printf("%s (gamestate) %s\n", PROGRAM_NAME, GAMESTATE_VERSION);
		return EXIT_OK;
	}
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(word, commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	if (argc > 1)
		log_error("unrecognized command \"%s\"", word);
	else
		log_error("no command was given");
	log_hint("Try \"%s --help\" for more information.", PROGRAM_NAME);
	return EXIT_BAD_USE;
}
