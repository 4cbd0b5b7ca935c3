/*
 * session.h: a connection to the server, and calls on it that do not wait:
 * append calls, flush, and take the answers as they come, in order.
 *
 * The session never owns an event loop: it exposes its socket and whether it
 * wants to write.  Not thread-safe; one session belongs to one loop.
 */
#ifndef GAMESTATE_CLIENT_SESSION_H
#define GAMESTATE_CLIENT_SESSION_H

#include "calls.h"
#include "connect.h"

typedef struct Session Session;

/* An answer: `owner` is what was passed to session_send(). */
typedef void (*SessionAnswer)(void *arg, void *owner, const PGresult *result);

/* Connects and prepares the calls; at most `depth` calls in flight. */
extern Session *session_open(const ConnectOptions *options, int depth);
extern void session_close(Session *session);

extern bool session_has_room(const Session *session);
extern int session_in_flight(const Session *session);
extern int session_socket(const Session *session);

/*
 * Each returns false after a message when the connection is of no more use.
 * session_send() copies the call's arguments.
 */
extern bool session_send(Session *session, const Call *call, void *owner);
extern bool session_flush(Session *session, bool *wants_write);
extern bool session_receive(Session *session, SessionAnswer answer, void *arg);

/*
 * Before closing after a failure: the owners of the calls in flight, one by
 * one, then NULL.  Their answers are lost, the session is of no more use.
 */
extern void *session_abandon_call(Session *session);

#endif /* GAMESTATE_CLIENT_SESSION_H */
