/*-------------------------------------------------------------------------
 *
 * connect_error.h
 *	  Why a connection could not be opened.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GSL_CONNECT_ERROR_H
#define GSL_CONNECT_ERROR_H

/*
 * message: libpq's, of a connection with PQERRORS_VERBOSE, which is shortened to
 * what libpq would have said without that.  sqlstate: the last one in it, or "".
 */
extern void gsl_connect_error(char *message, char sqlstate[6]);

#endif /* GSL_CONNECT_ERROR_H */
