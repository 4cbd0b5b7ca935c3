/*
 * output.h: what commands write to stdout: tables for people, JSON for
 * programs; and whether it could be written.
 */
#ifndef GAMESTATE_CLIENT_OUTPUT_H
#define GAMESTATE_CLIENT_OUTPUT_H

#include <libpq-fe.h>
#include <stdio.h>

#include "util.h"

/* A value as JSON, by the type of its column: json columns to the letter. */
extern void output_json_value(Buf *out, const PGresult *result, int row, int column);

/* A row as a JSON object; `skip_nulls` leaves out what is NULL. */
extern void output_json_row(Buf *out, const PGresult *result, int row, bool skip_nulls);

/* The rows as an array of objects. */
extern void output_json_rows(Buf *out, const PGresult *result);

/* The rows as a table, each line indented by so many blanks. */
extern void output_table(const PGresult *result, int indent);

/* The same to stdout, as a table or as JSON with a newline. */
extern void output_result(const PGresult *result, bool json);

/*
 * Everything has been written: false after a message if some of it could not
 * be (a full disk, a reader that has gone).
 */
extern bool output_flush(void);

#endif /* GAMESTATE_CLIENT_OUTPUT_H */
