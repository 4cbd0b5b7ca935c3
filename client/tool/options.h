/*
 * options.h: the command line: what all commands have in common, and a table
 * of options for each.
 */
#ifndef GAMESTATE_CLIENT_OPTIONS_H
#define GAMESTATE_CLIENT_OPTIONS_H

#include "connect.h"

/* Options of every command. */
typedef struct CommonOptions
{
	ConnectOptions connect;
	bool json;
	bool quiet;
} CommonOptions;

typedef enum OptionKind
{
	OPTION_FLAG,	/* bool * */
	OPTION_TEXT,	/* const char ** */
	OPTION_INT,		/* int *, from min to max */
	OPTION_UINT64,	/* uint64_t *, from min to max */
	OPTION_SECONDS, /* double *, from min to max */
	OPTION_LEVELS	/* double[2]: "WARNING,CRITICAL" */
} OptionKind;

/* One option of a command. */
typedef struct OptionSpec
{
	char letter; /* 0 = it has only a name */
	const char *name;
	OptionKind kind;
	void *target;
	uint64_t min;
	uint64_t max;
} OptionSpec;

typedef struct OptionTable
{
	const char *command;
	void (*print_help)(void); /* all of the text but the connection options */
	const OptionSpec *specs;
	int count;
	bool no_json; /* the command has no --json */
} OptionTable;

typedef enum OptionOutcome
{
	OPTIONS_RUN,  /* go on; operands begin at argv[optind] */
	OPTIONS_DONE, /* --help or --version was answered */
	OPTIONS_WRONG /* after a message */
} OptionOutcome;

extern OptionOutcome options_parse(int argc, char **argv, const OptionTable *table,
								   CommonOptions *common);

/* After an operand that is missing or too many: says so, with the usual hint. */
extern void options_complain(const char *command, const char *format, ...)
	PRINTF_LIKE(2, 3);

/* A number from min to max; false after a message that names the option. */
extern bool options_number(const char *option, const char *text, uint64_t min,
						   uint64_t max, uint64_t *value);

#endif /* GAMESTATE_CLIENT_OPTIONS_H */
