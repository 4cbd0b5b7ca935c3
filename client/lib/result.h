/*-------------------------------------------------------------------------
 *
 * result.h
 *	  Results and errors from the inside.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GSL_RESULT_H
#define GSL_RESULT_H

#include <libpq-fe.h>

#include "functions.h"

struct gamestate_result
{
	PGresult *pg; /* NULL: the answer did not come from the server */
	gamestate_error error;
	Shape shape;
	size_t rows;
	size_t row_size;	   /* of what is unpacked */
	const void **unpacked; /* a pointer for each row, NULL until it is asked for */
	bool kept;			   /* the caller's: pg, this, and `texts` are freed with it */
	char *texts;		   /* of a kept error that did not come from the server */
};

/*
 * A result out of what libpq made, whose memory it takes over: an error, or
 * values that have been checked.
 */
extern void gsl_result_set(gamestate_result *result, PGresult *pg,
						   const Function *function);
/* FATAL or PANIC: the server goes away, and executes nothing more. */
extern bool gsl_result_is_fatal(const PGresult *pg);
/* One that did not come from the server; the texts stay the caller's. */
extern void gsl_result_fail(gamestate_result *result, const gamestate_error *error);
/* Frees what it holds, unless it has been kept. */
extern void gsl_result_clear(gamestate_result *result);

/* Unpacks a row once: `size` bytes, freed with the result; NULL: no memory. */
extern void *gsl_result_row(gamestate_result *result, size_t row, size_t size,
							bool *is_new);

/* The static error of NULL handles. */
extern const gamestate_error gsl_out_of_memory;

/* An error without SQLSTATE, detail and hint; message is not copied. */
extern gamestate_error gsl_error(gamestate_status status, const char *message);

#endif /* GSL_RESULT_H */
