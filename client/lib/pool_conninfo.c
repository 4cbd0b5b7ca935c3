/*-------------------------------------------------------------------------
 *
 * pool_conninfo.c
 *	  From a connection string with several hosts to one for each host.
 *
 * libpq can try several hosts by itself, one after another.  The pool does it
 * instead, because it keeps a circuit breaker for each server, because a
 * frozen first host must not stand before all others at each attempt, and
 * because it wants to know which server a connection leads to.
 *
 * The model:
 *
 * 1. libpq itself says what the string means, with the service file, the
 *	  environment and the defaults: a connection is begun whose channel_binding
 *	  is nonsense, so that libpq parses everything and then refuses it before it
 *	  touches the network; PQconninfo() lists the options.  (The real
 *	  channel_binding comes from a second one, refused for its
 *	  target_session_attrs.)
 * 2. The lists in host, hostaddr and port are split as libpq does it: as many
 *	  elements each, or a single port for all; an empty element is the default.
 * 3. The connection string of one server has all options that are set, with
 *	  this server's host, hostaddr and port and target_session_attrs=any.
 *
 * Pure but for libpq's reading of files and environment.
 *
 *-------------------------------------------------------------------------
 */
#include "pool_conninfo.h"

#include <libpq-fe.h>

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int complain(char *message, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int
complain(char *message, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(message, size, format, args);
	va_end(args);
	/* libpq's messages end with a line feed */
	message[strcspn(message, "\n")] = '\0';
	return -1;
}

/* Item 1: the options, with `keyword` set to nonsense. */
static PQconninfoOption *
options_without(const char *conninfo, const char *keyword)
{
	const char *keywords[] = {"dbname", keyword, NULL};
	const char *values[] = {conninfo, "none of libpq's", NULL};
	PGconn *conn = PQconnectStartParams(keywords, values, 1);
	PQconninfoOption *options = conn != NULL ? PQconninfo(conn) : NULL;

	PQfinish(conn);
	return options;
}

static const char *
option(const PQconninfoOption *options, const char *keyword)
{
	for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
		if (strcmp(o->keyword, keyword) == 0)
			return o->val != NULL ? o->val : "";
	return "";
}

/* A list as libpq knows it: elements between commas; an empty text has one. */
static int
list_length(const char *list)
{
	int n = 1;

	for (; *list != '\0'; list++)
		n += *list == ',';
	return n;
}

/* the n-th element; the caller frees it */
static char *
list_element(const char *list, int n)
{
	while (n > 0 && (list = strchr(list, ',')) != NULL)
	{
		list++;
		n--;
	}
	return list != NULL ? strndup(list, strcspn(list, ",")) : strdup("");
}

/* keyword='value' with quotes and backslashes escaped */
static void
put_option(FILE *out, const char *keyword, const char *value)
{
	fprintf(out, "%s='", keyword);
	for (; *value != '\0'; value++)
	{
		if (*value == '\'' || *value == '\\')
			putc('\\', out);
		putc(*value, out);
	}
	fputs("' ", out);
}

static bool
is_ours(const char *keyword)
{
	return strcmp(keyword, "host") == 0 || strcmp(keyword, "hostaddr") == 0 ||
		   strcmp(keyword, "port") == 0 || strcmp(keyword, "target_session_attrs") == 0 ||
		   strcmp(keyword, "channel_binding") == 0 || strcmp(keyword, "service") == 0 ||
		   strcmp(keyword, "load_balance_hosts") == 0;
}

/* Item 3 */
static char *
conninfo_of(const PQconninfoOption *options, const char *channel_binding,
			const char *host, const char *hostaddr, const char *port)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		return NULL;
	for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
		if (o->val != NULL && o->val[0] != '\0' && !is_ours(o->keyword))
			put_option(out, o->keyword, o->val);
	if (host[0] != '\0')
		put_option(out, "host", host);
	if (hostaddr[0] != '\0')
		put_option(out, "hostaddr", hostaddr);
	if (port[0] != '\0')
		put_option(out, "port", port);
	if (channel_binding[0] != '\0')
		put_option(out, "channel_binding", channel_binding);
	put_option(out, "target_session_attrs", "any");
	if (fclose(out) != 0)
	{
		free(text);
		return NULL;
	}
	return text;
}

static bool
add_server(GspConninfo *result, const PQconninfoOption *options,
		   const char *channel_binding, int ports)
{
	int n = result->servers;
	char *host = list_element(option(options, "host"), n);
	char *hostaddr = list_element(option(options, "hostaddr"), n);
	char *port = list_element(option(options, "port"), ports == 1 ? 0 : n);
	bool done = false;

	if (host != NULL && hostaddr != NULL && port != NULL)
	{
		const char *shown = host[0] != '\0' ? host : hostaddr;
		size_t size;

		shown = shown[0] != '\0' ? shown : "local";
		size = strlen(shown) + strlen(port) + sizeof(":5432");
		result->conninfo[n] = conninfo_of(options, channel_binding, host, hostaddr, port);
		result->name[n] = malloc(size);
		if (result->name[n] != NULL)
			snprintf(result->name[n], size, "%s:%s", shown,
					 port[0] != '\0' ? port : "5432");
		done = result->conninfo[n] != NULL && result->name[n] != NULL;
	}
	result->servers++;
	free(host);
	free(hostaddr);
	free(port);
	return done;
}

static bool
parse_target(const char *text, GspTarget *target)
{
	static const char *const names[] = {
		[GSP_TARGET_ANY] = "any",
		[GSP_TARGET_READ_WRITE] = "read-write",
		[GSP_TARGET_READ_ONLY] = "read-only",
		[GSP_TARGET_PRIMARY] = "primary",
		[GSP_TARGET_STANDBY] = "standby",
		[GSP_TARGET_PREFER_STANDBY] = "prefer-standby",
	};

	*target = GSP_TARGET_ANY;
	if (text[0] == '\0')
		return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(text, names[i]) == 0)
		{
			*target = (GspTarget) i;
			return true;
		}
	return false;
}

/* Item 2 */
static int
split(const PQconninfoOption *options, const char *channel_binding, GspConninfo *result,
	  char *message, size_t size)
{
	const char *host = option(options, "host");
	const char *hostaddr = option(options, "hostaddr");
	int hosts = list_length(host);
	int ports = list_length(option(options, "port"));

	if (hostaddr[0] != '\0')
	{
		if (host[0] != '\0' && list_length(hostaddr) != hosts)
			return complain(message, size,
							"could not match %d host names to %d hostaddr values", hosts,
							list_length(hostaddr));
		hosts = list_length(hostaddr);
	}
	if (ports != 1 && ports != hosts)
		return complain(message, size, "could not match %d port numbers to %d hosts",
						ports, hosts);
	if (hosts > GSP_MAX_SERVERS)
		return complain(message, size, "there are %d hosts, more than %d", hosts,
						GSP_MAX_SERVERS);
	while (result->servers < hosts)
		if (!add_server(result, options, channel_binding, ports))
			return complain(message, size, "out of memory");
	return 0;
}

int
gsp_conninfo_split(const char *conninfo, GspConninfo *result, char *message, size_t size)
{
	PQconninfoOption *options;
	PQconninfoOption *others;
	char *error = NULL;
	int rc = -1;

	memset(result, 0, sizeof(*result));

	/* Says what is wrong in better words than the connection below. */
	options = PQconninfoParse(conninfo, &error);
	if (options == NULL)
	{
		complain(message, size, "%s", error != NULL ? error : "out of memory");
		PQfreemem(error);
		return -1;
	}
	PQconninfoFree(options);

	options = options_without(conninfo, "channel_binding");
	others = options_without(conninfo, "target_session_attrs");
	if (options == NULL || others == NULL)
		complain(message, size, "out of memory");
	else if (!parse_target(option(options, "target_session_attrs"), &result->target))
		complain(message, size, "invalid target_session_attrs value: \"%s\"",
				 option(options, "target_session_attrs"));
	else
		rc = split(options, option(others, "channel_binding"), result, message, size);
	PQconninfoFree(options);
	PQconninfoFree(others);
	if (rc != 0)
		gsp_conninfo_free(result);
	return rc;
}

void
gsp_conninfo_free(GspConninfo *conninfo)
{
	if (conninfo == NULL)
		return;
	for (int i = 0; i < GSP_MAX_SERVERS; i++)
	{
		free(conninfo->name[i]);
		free(conninfo->conninfo[i]);
	}
	memset(conninfo, 0, sizeof(*conninfo));
}
