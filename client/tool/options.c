/*
 * options.c: the command line.
 *
 * The model:
 * 1. A command gives a table of its options; those that every command has
 *    (connection, --json, --quiet, --verbose, --help, --version) are added here,
 *    and both go to getopt_long().
 * 2. A wrong option or value is told with the hint that PostgreSQL's tools
 *    give, and ends the program with status 2.
 * 3. -h is the host, as in PostgreSQL's tools; help is -? or --help.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "progress.h"

#define MAX_OPTIONS 48

/* Numbers of options in getopt's answers that are no letters. */
enum
{
	OPTION_HELP = 256,
	OPTION_JSON,
	OPTION_FIRST_SPEC /* and the index of the spec */
};

static const struct option common_options[] =
	{{"dbname", required_argument, NULL, 'd'}, {"host", required_argument, NULL, 'h'},
	 {"port", required_argument, NULL, 'p'},   {"username", required_argument, NULL, 'U'},
	 {"no-password", no_argument, NULL, 'w'},  {"password", no_argument, NULL, 'W'},
	 {"json", no_argument, NULL, OPTION_JSON}, {"quiet", no_argument, NULL, 'q'},
	 {"verbose", no_argument, NULL, 'v'},	   {"version", no_argument, NULL, 'V'},
	 {"help", no_argument, NULL, OPTION_HELP}};

#define COMMON_LETTERS "d:h:p:U:wWqvV"
#define COMMON_COUNT   ((int) (sizeof(common_options) / sizeof(common_options[0])))

void
options_complain(const char *command, const char *format, ...)
{
	Buf text = {0};
	char message[256];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	buf_puts(&text, message);
	log_error("%s", text.data);
	log_hint("Try \"%s %s --help\" for more information.", PROGRAM_NAME, command);
	buf_free(&text);
}

bool
options_number(const char *option, const char *text, uint64_t min, uint64_t max,
			   uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	if (errno == 0 && end != text && *end == '\0' && strchr(text, '-') == NULL &&
		*value >= min && *value <= max)
		return true;
	log_error("invalid value \"%s\" for option %s", text, option);
	log_hint("It must be a number from %llu to %llu.", (unsigned long long) min,
			 (unsigned long long) max);
	return false;
}

static bool
parse_double(const char *text, const char **end, double *value)
{
	char *after;

	errno = 0;
	*value = strtod(text, &after);
	*end = after;
	return errno == 0 && after != text && isfinite(*value) && *value >= 0;
}

static bool
parse_seconds(const OptionSpec *spec, const char *option, const char *text)
{
	double *value = spec->target;
	const char *end;

	if (parse_double(text, &end, value) && *end == '\0' && *value >= (double) spec->min &&
		*value <= (double) spec->max)
		return true;
	log_error("invalid value \"%s\" for option %s", text, option);
	log_hint("It must be a number of seconds from %llu to %llu.",
			 (unsigned long long) spec->min, (unsigned long long) spec->max);
	return false;
}

static bool
parse_levels(const OptionSpec *spec, const char *option, const char *text)
{
	double *levels = spec->target;
	const char *end;

	if (parse_double(text, &end, &levels[0]) && *end == ',' &&
		parse_double(end + 1, &end, &levels[1]) && *end == '\0' && levels[0] <= levels[1])
		return true;
	log_error("invalid value \"%s\" for option %s", text, option);
	log_hint(
		"It must be two numbers, from which on it is a warning and critical: 60,300.");
	return false;
}

/* One option of the command; false after a message. */
static bool
take_spec(const OptionSpec *spec, const char *text)
{
	char option[64];
	uint64_t number;

	snprintf(option, sizeof(option), "--%s", spec->name);
	switch (spec->kind)
	{
		case OPTION_FLAG:
			*(bool *) spec->target = true;
			return true;
		case OPTION_TEXT:
			*(const char **) spec->target = text;
			return true;
		case OPTION_INT:
			if (!options_number(option, text, spec->min, spec->max, &number))
				return false;
			*(int *) spec->target = (int) number;
			return true;
		case OPTION_UINT64:
			return options_number(option, text, spec->min, spec->max, spec->target);
		case OPTION_SECONDS:
			return parse_seconds(spec, option, text);
		case OPTION_LEVELS:
			return parse_levels(spec, option, text);
	}
	return false;
}

static void
print_common_help(const OptionTable *table)
{
	printf("\nGeneral options:\n");
	if (!table->no_json)
		printf("      --json               write the output as JSON\n");
	printf(
		"  -q, --quiet              no progress reports\n"
		"  -v, --verbose            say more about what is done\n"
		"  -V, --version            output version information, then exit\n"
		"  -?, --help               show this help, then exit\n"
		"\nConnection options:\n"
		"  -d, --dbname=DBNAME      database name or connection string\n"
		"  -h, --host=HOSTNAME      database server host or socket directory\n"
		"  -p, --port=PORT          database server port\n"
		"  -U, --username=USERNAME  database user name\n"
		"  -w, --no-password        never prompt for password\n"
		"  -W, --password           force password prompt (should happen automatically)\n"
		"\nWhat is not given comes from the environment (PGHOST, PGDATABASE, ...).\n");
}

/* One of the options that every command has. */
static OptionOutcome
take_common(int option, const OptionTable *table, CommonOptions *common)
{
	switch (option)
	{
		case 'd':
			common->connect.dbname = optarg;
			break;
		case 'h':
			common->connect.host = optarg;
			break;
		case 'p':
			common->connect.port = optarg;
			break;
		case 'U':
			common->connect.user = optarg;
			break;
		case 'w':
			common->connect.prompt = PROMPT_NEVER;
			break;
		case 'W':
			common->connect.prompt = PROMPT_ALWAYS;
			break;
		case OPTION_JSON:
			common->json = true;
			break;
		case 'q':
			common->quiet = true;
			break;
		case 'v':
			log_verbose = true;
			break;
		case 'V':
			printf("%s (gamestate) %s\n", PROGRAM_NAME, GAMESTATE_VERSION);
			return OPTIONS_DONE;
		case OPTION_HELP:
			table->print_help();
			print_common_help(table);
			return OPTIONS_DONE;
		default:
			log_hint("Try \"%s %s --help\" for more information.", PROGRAM_NAME,
					 table->command);
			return OPTIONS_WRONG;
	}
	return OPTIONS_RUN;
}

/* The lists that getopt_long() wants. */
static void
make_lists(const OptionTable *table, struct option *options, char *letters)
{
	int n = 0;
	char *to = letters + sprintf(letters, "%s", COMMON_LETTERS);

	for (int i = 0; i < table->count; i++)
	{
		const OptionSpec *spec = &table->specs[i];
		bool takes_value = spec->kind != OPTION_FLAG;

		options[n++] =
			(struct option){spec->name, takes_value ? required_argument : no_argument,
							NULL, OPTION_FIRST_SPEC + i};
		if (spec->letter != 0)
			to += sprintf(to, "%c%s", spec->letter, takes_value ? ":" : "");
	}
	for (int i = 0; i < COMMON_COUNT; i++)
		if (!table->no_json || common_options[i].val != OPTION_JSON)
			options[n++] = common_options[i];
	options[n] = (struct option){0};
}

static const OptionSpec *
find_spec(const OptionTable *table, int option)
{
	if (option >= OPTION_FIRST_SPEC)
		return &table->specs[option - OPTION_FIRST_SPEC];
	for (int i = 0; i < table->count; i++)
		if (table->specs[i].letter == option)
			return &table->specs[i];
	return NULL;
}

OptionOutcome
options_parse(int argc, char **argv, const OptionTable *table, CommonOptions *common)
{
	struct option options[MAX_OPTIONS + 1];
	char letters[2 * MAX_OPTIONS + sizeof(COMMON_LETTERS)];
	char name[64];
	int option;

	/* getopt names the program in its messages by this */
	snprintf(name, sizeof(name), "%s", PROGRAM_NAME);
	argv[0] = name;
	make_lists(table, options, letters);

	/* getopt says '?' for what it does not know: -? is looked for here. */
	if (argc > 1 && strcmp(argv[1], "-?") == 0)
		return take_common(OPTION_HELP, table, common);
	while ((option = getopt_long(argc, argv, letters, options, NULL)) != -1)
	{
		const OptionSpec *spec = find_spec(table, option);
		OptionOutcome outcome = OPTIONS_RUN;

		if (spec == NULL)
			outcome = take_common(option, table, common);
		else if (!take_spec(spec, optarg))
			outcome = OPTIONS_WRONG;
		if (outcome != OPTIONS_RUN)
			return outcome;
	}
	progress_quiet = common->quiet;
	return OPTIONS_RUN;
}
