/*-------------------------------------------------------------------------
 *
 * codec.h
 *	  Values and their form on the wire: parameters out of a call, and checks
 *	  and decoding of what came back.  Pure: knows no connection.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GSL_CODEC_H
#define GSL_CODEC_H

#include "functions.h"

/* The type of a gamestate_param. */
typedef enum ParamType
{
	PARAM_NULL = 0, /* of a type that the server guesses */
	PARAM_LITERAL,
	PARAM_BOOL,
	PARAM_INT4,
	PARAM_INT8,
	PARAM_FLOAT8,
	PARAM_TIMESTAMPTZ,
	PARAM_INTERVAL, /* microseconds */
	PARAM_UUID,
	PARAM_TEXT,
	PARAM_JSON,
	PARAM_BYTEA,
	PARAM_TEXT_ARRAY,
	PARAM_UUID_ARRAY,
	PARAM_INT8_ARRAY,
	PARAM_TIMESTAMPTZ_ARRAY,
	PARAM_JSON_ARRAY,
	PARAM_BYTEA_ARRAY,
	PARAM_TYPE_COUNT
} ParamType;

#define PARAM_IS_NULL	   1 /* NULL, of this type */
#define PARAM_ZERO_IS_NULL 2 /* elements of an array of numbers */
#define PARAM_ALL_NULL	   4 /* an array of so many NULLs */

/* One as gamestate_call.h promises it: zero means NULL. */
extern gamestate_param gsl_param_version(int64_t version);
extern gamestate_param gsl_param_count(int count);
extern gamestate_param gsl_param_interval(int64_t us);
extern gamestate_param gsl_param_deadline(int64_t us);
extern gamestate_param gsl_param_deadline_array(const int64_t *values, size_t count);
/* json[] or bytea[] */
extern gamestate_param gsl_param_data_array(ParamType type, const gamestate_data *values,
											size_t count);

/*
 * The parameters of one call as libpq takes them.  Its memory is kept from
 * call to call; what it holds is valid until the next one.
 */
typedef struct Params
{
	int count;
	int room;		 /* of the arrays */
	uint32_t *types; /* OIDs */
	const char **values;
	int *lengths;
	int *formats;
	unsigned char (*fixed)[16]; /* numbers on the wire */
	char *arrays;				/* arrays on the wire */
	size_t arrays_room;
} Params;

/*
 * GAMESTATE_OK; GAMESTATE_BAD_CALL: an unknown type, or more than libpq can
 * send; GAMESTATE_NO_MEMORY.
 */
extern gamestate_status gsl_params_encode(Params *params, const gamestate_param *list,
										  size_t count);
extern void gsl_params_free(Params *params);

/* Big-endian numbers. */
extern void gsl_put32(unsigned char *at, uint32_t value);
extern void gsl_put64(unsigned char *at, uint64_t value);
extern uint32_t gsl_get32(const void *at);
extern uint64_t gsl_get64(const void *at);

/* Timestamps of the server (since 2000) and ours (since 1970), saturating. */
extern int64_t gsl_unix_us(int64_t server_us);
extern int64_t gsl_server_us(int64_t unix_us);

/*
 * Can a binary value of this type have this form?  For types whose form we
 * depend on; true for all others.
 */
extern bool gsl_value_fits(uint32_t type, const char *value, int len);

/*
 * A one-dimensional text[]: the number of elements, or -1.  With `list` (room
 * for as many pointers and one more) and `texts` (room for `len` bytes), the
 * elements are unpacked.
 */
extern int gsl_text_array(const char *value, int len, const char **list, char *texts);

#endif /* GSL_CODEC_H */
