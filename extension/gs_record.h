/*-------------------------------------------------------------------------
 *
 * gs_record.h
 *	  Codec of a journal record: what one transaction did to one game.
 *
 * Pure C like gs_entry.c: no PostgreSQL, no allocation, no global state.
 *
 *	record := format kind parts id incarnation version rest
 *
 *	format	1 byte		GS_RECORD_FORMAT
 *	kind	1 byte		GsRecordKind
 *	parts	1 byte		GS_RECORD_HAS_*, GS_RECORD_MOVED; unknown bits are an error;
 *						REMOVE: nothing but GS_RECORD_MOVED
 *	id		16 bytes	game id
 *	incarnation, version	varint	after the change
 *
 *	REMOVE has nothing more.  IMAGE and UPDATE go on with
 *
 *	base	varint		UPDATE, and IMAGE with GS_RECORD_MOVED: version - version
 *						before, which is not 0
 *	others	varint		version - moves: the changes that were no moves
 *	updated_at	varint	zigzag, microseconds; the other times are zigzag(time - it)
 *	fields	1 byte		GS_RECORD_SET_*: which of these follow, in this order
 *		status	1 byte, not zero
 *		encoding	1 byte: its lower half, not zero; the upper half is the history
 *			(GsHistory), and if that is GS_RECORD_HISTORY_LAST
 *			limit	varint, not zero: of how many changes
 *		created_at, started_at, ended_at, deadline	varint
 *		max_players varint
 *		create_request 16 bytes and 4 bytes, as in an entry
 *	info							if GS_RECORD_HAS_INFO:
 *		type	varint + bytes
 *		room	varint: 0 = none, else length + 1; bytes
 *		players varint number, then varint + bytes each
 *		metadata, result	varint: 0 = none, else length + 1; bytes
 *	state	varint + bytes			if GS_RECORD_HAS_STATE
 *	delta	varint + bytes			if GS_RECORD_HAS_DELTA: gs_delta.h, against the
 *									state before
 *	initial varint + bytes			if GS_RECORD_HAS_INITIAL (differs from the state)
 *	log								if GS_RECORD_HAS_LOG:
 *		varint	number of runs, not 0; each run:
 *		varint	version - version of the first entry
 *		varint	number of entries, not 0; the last is not beyond version
 *		varint	zigzag(base time - updated_at)
 *		varint + bytes	the entries, gs_entry.h
 *
 * In an update, the entry of the first new state has an empty delta if there is
 * but one: what leads back to the state before follows from STATE or DELTA.
 * With GS_RECORD_MOVED a removed game is a row of a table from now on, and the
 * game of an image was one until now.
 *
 * An image has info, state, status, encoding and, if the game has any, the
 * whole log; a field that is not set is 0 and none is set to 0, the request id
 * apart.  An update has what changed: a field that is not set is what it was
 * before.  STATE and DELTA exclude each other.
 *
 * If the log of an image begins later (GsHistory), there is a run of one entry for
 * each older request that is remembered: only the request id of that entry counts.
 *
 * So a move has about 35 bytes besides its entry and what is new in the state.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_RECORD_H
#define GS_RECORD_H

#include "gs_delta.h"
#include "gs_entry.h"

#define GS_RECORD_FORMAT 4

typedef enum GsRecordKind
{
	GS_RECORD_IMAGE = 1,  /* the whole game */
	GS_RECORD_UPDATE = 2, /* what changed since base_version */
	GS_RECORD_REMOVE = 3  /* deleted, or moved to a table */
} GsRecordKind;

#define GS_RECORD_HAS_INFO	  0x01
#define GS_RECORD_HAS_STATE	  0x02
#define GS_RECORD_HAS_DELTA	  0x04
#define GS_RECORD_HAS_INITIAL 0x08
#define GS_RECORD_HAS_LOG	  0x10
#define GS_RECORD_MOVED		  0x20 /* IMAGE, REMOVE: from, to a table */
#define GS_RECORD_PARTS		  0x3F

#define GS_RECORD_SET_STATUS	  0x01
#define GS_RECORD_SET_ENCODING	  0x02
#define GS_RECORD_SET_CREATED_AT  0x04
#define GS_RECORD_SET_STARTED_AT  0x08
#define GS_RECORD_SET_ENDED_AT	  0x10
#define GS_RECORD_SET_DEADLINE	  0x20
#define GS_RECORD_SET_MAX_PLAYERS 0x40
#define GS_RECORD_SET_REQUEST	  0x80

#define GS_RECORD_HISTORY_LAST	2
#define GS_RECORD_HISTORY_LIMIT 65535

#define GS_RECORD_ID_LEN 16
#define GS_RECORD_MAX_BYTES \
	GS_DELTA_MAX_BYTES /* of anything with a length: PostgreSQL's MaxAllocSize */

/* data NULL = absent; the same layout as GsText of gs_table.h */
typedef struct GsBytes
{
	const char *data;
	uint32_t len;
} GsBytes;

/* A run of entries with one base. */
typedef struct GsRecordRun
{
	int64_t first_version;
	int64_t base;
	uint32_t nentries;
	GsBytes entries;
} GsRecordRun;

/*
 * A record.  Pointers point into the encoded bytes (decode) or to the
 * caller's data (encode); nothing is owned.
 */
typedef struct GsRecord
{
	GsRecordKind kind;
	unsigned char
		parts; /* GS_RECORD_HAS_* and GS_RECORD_MOVED; set by the caller of encode */
	unsigned char id[GS_RECORD_ID_LEN];
	int64_t incarnation;
	int64_t version;
	int64_t base_version; /* of an UPDATE, and of an IMAGE with GS_RECORD_MOVED */
	int64_t moves;		  /* not above version */
	int64_t updated_at;

	/*
	 * GS_RECORD_SET_*: which of the next are set.  Encode takes the caller's
	 * for an update; for an image only GS_RECORD_SET_REQUEST, the others are
	 * set if they are not 0.  After decode, what is not set is 0.
	 */
	unsigned char fields;
	unsigned char status;
	unsigned char encoding; /* this and the next: below 16 */
	unsigned char history;
	uint16_t history_limit; /* GS_RECORD_HISTORY_LAST */
	int64_t created_at;
	int64_t started_at;
	int64_t ended_at;
	int64_t deadline;
	int32_t max_players;
	unsigned char create_request[GS_REQUEST_ID_LEN];
	uint32_t create_arguments;

	GsBytes game_type;
	GsBytes room_code;
	uint32_t nplayers;
	const GsBytes *players; /* encode: array of nplayers; decode: NULL, see players_raw */
	GsBytes players_raw;	/* decode: for gs_record_next_player() */
	GsBytes metadata;
	GsBytes result;

	GsBytes state;
	GsBytes delta; /* gs_delta.h; only its length is checked by decode */
	GsBytes initial;

	uint32_t nruns;
	const GsRecordRun *runs; /* encode: array of nruns; decode: NULL, see runs_raw */
	GsBytes runs_raw;		 /* decode: for gs_record_next_run() */
} GsRecord;

extern size_t gs_record_size(const GsRecord *record);

/* writes at dst, which has room for gs_record_size(); returns the end */
extern char *gs_record_encode(const GsRecord *record, char *dst);

/*
 * Reads one record at *p, not beyond end, and advances *p.  Everything is
 * checked, players and entries included, so that walking them cannot fail.
 * Returns NULL, or what is wrong (static text), *p then being unspecified.
 */
extern const char *gs_record_decode(const char **p, const char *end, GsRecord *record);

/* Walk players and runs of a decoded record; *p starts as ..._raw.data. */
extern void gs_record_next_player(const char **p, GsBytes *player);
extern void gs_record_next_run(const GsRecord *record, const char **p, GsRecordRun *run);

#endif /* GS_RECORD_H */
