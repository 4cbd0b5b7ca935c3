/*
 * output.c: tables and JSON on stdout.
 *
 * The model: types are known by their oids, which are fixed in PostgreSQL's
 * catalogs.  Numbers and booleans are JSON's own, json and jsonb are embedded to
 * the letter, and everything else is a string as PostgreSQL writes it.  Errors
 * of stdout are kept by stdio until output_flush() looks.
 */
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* pg_type.dat */
#define OID_BOOL	16
#define OID_INT8	20
#define OID_INT2	21
#define OID_INT4	23
#define OID_OID		26
#define OID_JSON	114
#define OID_TEXTS	1009
#define OID_FLOAT4	700
#define OID_FLOAT8	701
#define OID_NUMERIC 1700
#define OID_JSONB	3802

static bool
is_number_column(const PGresult *result, int column)
{
	switch (PQftype(result, column))
	{
		case OID_INT2:
		case OID_INT4:
		case OID_INT8:
		case OID_OID:
		case OID_FLOAT4:
		case OID_FLOAT8:
		case OID_NUMERIC:
			return true;
		default:
			return false;
	}
}

/* text[] as PostgreSQL writes it, {a,"b c",NULL}, as an array of strings. */
static void
append_texts(Buf *out, const char *p)
{
	Buf element = {0};
	bool first = true;

	buf_putc(out, '[');
	for (p++; *p != '}' && *p != '\0'; p += *p == ',')
	{
		bool quoted = *p == '"';

		buf_reset(&element);
		for (p += quoted; *p != '\0' && (quoted ? *p != '"' : *p != ',' && *p != '}');
			 p++)
		{
			if (quoted && *p == '\\' && p[1] != '\0')
				p++;
			buf_putc(&element, *p);
		}
		p += *p == '"';
		if (!first)
			buf_puts(out, ", ");
		first = false;
		if (!quoted && strcmp(element.data, "NULL") == 0)
			buf_puts(out, "null");
		else
			buf_json_string(out, element.data);
	}
	buf_putc(out, ']');
	buf_free(&element);
}

void
output_json_value(Buf *out, const PGresult *result, int row, int column)
{
	const char *value = PQgetvalue(result, row, column);
	Oid type = PQftype(result, column);

	if (PQgetisnull(result, row, column))
		buf_puts(out, "null");
	else if (type == OID_BOOL)
		buf_puts(out, value[0] == 't' ? "true" : "false");
	else if (type == OID_JSON || type == OID_JSONB)
		buf_puts(out, value);
	else if (type == OID_TEXTS && value[0] == '{')
		append_texts(out, value);
	else if (is_number_column(result, column) && strchr("-0123456789", value[0]) != NULL)
		buf_puts(out, value); /* not NaN, not Infinity */
	else
		buf_json_string(out, value);
}

void
output_json_row(Buf *out, const PGresult *result, int row, bool skip_nulls)
{
	bool first = true;

	buf_putc(out, '{');
	for (int column = 0; column < PQnfields(result); column++)
	{
		if (skip_nulls && PQgetisnull(result, row, column))
			continue;
		if (!first)
			buf_puts(out, ", ");
		first = false;
		buf_json_string(out, PQfname(result, column));
		buf_puts(out, ": ");
		output_json_value(out, result, row, column);
	}
	buf_putc(out, '}');
}

void
output_json_rows(Buf *out, const PGresult *result)
{
	buf_putc(out, '[');
	for (int row = 0; row < PQntuples(result); row++)
	{
		if (row > 0)
			buf_puts(out, ",\n ");
		output_json_row(out, result, row, false);
	}
	buf_putc(out, ']');
}

/* Columns that a text takes on a terminal: its UTF-8 characters. */
static int
display_width(const char *text)
{
	int width = 0;

	for (; *text != '\0'; text++)
		width += ((unsigned char) *text & 0xC0) != 0x80;
	return width;
}

static void
print_cell(const char *text, int width, bool right, bool last)
{
	int padding = width - display_width(text);

	if (right)
		printf("%*s%s", padding, "", text);
	else
		printf("%s%*s", text, last ? 0 : padding, "");
	fputs(last ? "\n" : "  ", stdout);
}

void
output_table(const PGresult *result, int indent)
{
	int columns = PQnfields(result);
	int *widths = xcalloc((size_t) columns, sizeof(int));

	for (int column = 0; column < columns; column++)
	{
		widths[column] = display_width(PQfname(result, column));
		for (int row = 0; row < PQntuples(result); row++)
		{
			int width = display_width(PQgetvalue(result, row, column));

			if (width > widths[column])
				widths[column] = width;
		}
	}
	for (int row = -1; row < PQntuples(result); row++)
	{
		printf("%*s", indent, "");
		for (int column = 0; column < columns; column++)
			print_cell(row < 0 ? PQfname(result, column)
							   : PQgetvalue(result, row, column),
					   widths[column], is_number_column(result, column),
					   column == columns - 1);
	}
	if (PQntuples(result) == 0)
		printf("%*s(no rows)\n", indent, "");
	free(widths);
}

void
output_result(const PGresult *result, bool json)
{
	Buf text = {0};

	if (!json)
	{
		output_table(result, 0);
		return;
	}
	output_json_rows(&text, result);
	puts(text.data);
	buf_free(&text);
}

bool
output_flush(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return true;
	log_error("could not write to standard output: %s",
			  strerror(errno != 0 ? errno : EIO));
	clearerr(stdout); /* said once */
	return false;
}
