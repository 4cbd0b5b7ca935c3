/*-------------------------------------------------------------------------
 *
 * gs_anonymise.h
 *	  Replacing a player's id wherever it stands.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_ANONYMISE_H
#define GS_ANONYMISE_H

#include "gs_payload.h"
#include "gs_table.h"
#include "gs_unpack.h"

/* A dictionary that has the id in it, and the one that takes its place. */
typedef struct GsDictionaryPair
{
	int32 number;
	int32 clean; /* 0 = none yet */
} GsDictionaryPair;

/* What is counted while it goes on, for the report. */
typedef struct GsAnonymiseCounts
{
	int64 live;		/* games in memory */
	int64 rows;		/* of tables, with a player's or a result's columns */
	int64 payloads; /* rows with states and logs */
	int64 opaque;	/* payloads of bytes, in which documents were not looked at */
	int64 damaged;	/* payloads and saved games that could not be read */
	int64 saved;	/* saved games that were changed */
} GsAnonymiseCounts;

/* One erasure: a row of gamestate.erasure. */
typedef struct GsAnonymise
{
	int32 number;
	GsText player;
	GsText pseudonym;
	bool documents; /* strings of JSON documents as well */
	GsDictionaryPair *dictionaries;
	int ndictionaries;
	GsAnonymiseCounts counts;
} GsAnonymise;

/* ---- gs_anonymise_game.c: in local memory; true if anything was changed ---- */

extern bool gs_anonymise_id(const GsAnonymise *a, GsText *player);
extern bool gs_anonymise_document(const GsAnonymise *a, GsText *document);

/*
 * States and log.  Of a game with deltas the initial state is absent, and the
 * deltas are made anew.  What is new is palloc'd.  *wrong is what is damaged, or NULL;
 * then nothing may be used.
 */
extern bool gs_anonymise_history(const GsAnonymise *a, bool is_json, GsText *initial,
								 GsText *final, GsEntry *entries, uint64 n,
								 const char **wrong);
extern bool gs_anonymise_payload(const GsAnonymise *a, bool is_json, GsPayload *payload,
								 const char **wrong);

/* A live game, as a change of it, which the transaction's commit makes. */
extern bool gs_anonymise_live(const GsAnonymise *a, const pg_uuid_t *id);

/* ---- gs_anonymise_rows.c: tables with archived games ---- */

/*
 * The next rows of a table, in the order of ids, beyond *position; false if
 * that was all, else *position is the last one.  As gamestate_owner, connected
 * to SPI.
 */
extern bool gs_anonymise_rows(GsAnonymise *a, Oid relid, bool *has_position,
							  pg_uuid_t *position);

/*
 * A packed payload: true if it had to be packed anew, as *packed and *bytes then say.
 * One that cannot be read is counted, and left as it is.
 */
extern bool gs_anonymise_packed(GsAnonymise *a, const GsText *game_type,
								const GsText *encoding, GsPacked *packed, bytea **bytes);

/* ---- gs_anonymise_frozen.c ---- */

/*
 * A frozen partition, as a whole, in the caller's transaction.  Returns NULL, or why it
 * was left as it is (palloc'd).  As gamestate_owner, connected to SPI.
 */
extern const char *gs_anonymise_frozen(GsAnonymise *a, Oid relid);

/* Has a frozen partition a payload with that dictionary, or may it have one? */
extern bool gs_anonymise_frozen_needs(const char *table, int32 dictionary);

/* ---- gs_anonymise_saved.c ---- */

/* The next rows of gamestate.saved_games; else as gs_anonymise_rows(). */
extern bool gs_anonymise_saved(GsAnonymise *a, bool *has_position, pg_uuid_t *position);

/* ---- gs_anonymise_dictionary.c ---- */

/* Fills the pairs: finds the dictionaries, and makes those that take their place. */
extern void gs_anonymise_dictionaries(GsAnonymise *a);

/* Removes those that nothing needs any more; returns how many are still needed. */
extern int gs_anonymise_drop_dictionaries(const GsAnonymise *a);

#endif /* GS_ANONYMISE_H */
