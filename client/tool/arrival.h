/*
 * arrival.h: what happens to the games of this run after they are played.
 */
#ifndef GAMESTATE_CLIENT_ARRIVAL_H
#define GAMESTATE_CLIENT_ARRIVAL_H

#include <libpq-fe.h>

#include "ledger.h"

/*
 * Wait until every game of the ledger is in the archive, once, and finished
 * at the version at which we left it.  False after a message, when interrupted,
 * or when for `patience` seconds no other game has arrived.
 */
extern bool arrival_wait(PGconn *conn, Ledger *ledger, int patience);

/*
 * After a failure or an interrupt: delete the games that are still running,
 * as far as that can be done.
 */
extern void arrival_clean_up(PGconn *conn, const Ledger *ledger);

#endif /* GAMESTATE_CLIENT_ARRIVAL_H */
