/*
 * replay.h: recorded games, played again and checked.
 */
#ifndef GAMESTATE_CLIENT_REPLAY_H
#define GAMESTATE_CLIENT_REPLAY_H

#include "engine.h"
#include "ledger.h"
#include "records.h"

/* Plays every record `repeat` times, each time under a new id. */
typedef struct ReplaySource
{
	TaskSource source; /* must be first */
	const RecordSet *records;
	Ledger *ledger;
	uint32_t repeat;
	uint32_t opened;
} ReplaySource;

extern void replay_source_init(ReplaySource *source, const RecordSet *records,
							   uint32_t repeat, Ledger *ledger);

/* Compares every game of the ledger with its record. */
typedef struct ReplayCheckSource
{
	TaskSource source; /* must be first */
	const RecordSet *records;
	const Ledger *ledger;
	size_t opened;
	uint64_t checked;
	uint64_t moves; /* of the checked games */
} ReplayCheckSource;

extern void replay_check_source_init(ReplayCheckSource *source, const RecordSet *records,
									 const Ledger *ledger);

#endif /* GAMESTATE_CLIENT_REPLAY_H */
