/*
 * command.h: the commands of the tool, `gamestate COMMAND ...`.
 *
 * Each is a file cmd_*.c with one function; main.c has the list of them.
 */
#ifndef GAMESTATE_CLIENT_COMMAND_H
#define GAMESTATE_CLIENT_COMMAND_H

#include <stdbool.h>

#ifndef GAMESTATE_VERSION
#define GAMESTATE_VERSION "(unknown version)"
#endif

/*
 * Exit statuses; command `check` has its own, those that monitoring systems
 * ask of their plug-ins.
 */
typedef enum ExitStatus
{
	EXIT_OK = 0,
	EXIT_FAILED = 1, /* it could not do what it was asked to, or not all of it */
	EXIT_BAD_USE = 2 /* wrong options, no connection, or the connection was lost */
} ExitStatus;

/* Of a command that has ended so: looks whether it was the connection. */
extern int exit_status(bool ok);

/* argv[0] is the command's name. */
extern int cmd_archive(int argc, char **argv);
extern int cmd_bench(int argc, char **argv);
extern int cmd_check(int argc, char **argv);
extern int cmd_export(int argc, char **argv);
extern int cmd_import(int argc, char **argv);
extern int cmd_play(int argc, char **argv);
extern int cmd_replay(int argc, char **argv);
extern int cmd_show(int argc, char **argv);
extern int cmd_top(int argc, char **argv);

#endif /* GAMESTATE_CLIENT_COMMAND_H */
