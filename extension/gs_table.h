/*-------------------------------------------------------------------------
 *
 * gs_table.h
 *	  The active-game table.
 *
 * Only gs_table.c changes what is in the table, and only through change
 * records (GsChange): reserve (may fail, before the commit point), then
 * apply (cannot fail) or unreserve (cannot fail).
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_TABLE_H
#define GS_TABLE_H

#include "gs_config.h"
#include "gs_entry.h"
#include "gs_shmem.h"
#include "gs_tier.h"

#include "access/transam.h"
#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "lib/ilist.h"
#include "utils/uuid.h"

struct GsDatabase;

/* Hashed and compared as bytes: no padding. */
typedef struct GsGameKey
{
	Oid dboid;
	pg_uuid_t id;
} GsGameKey;

StaticAssertDecl(sizeof(GsGameKey) == 20, "GsGameKey must not have padding");

/*
 * Status of a game in memory.  Stored in the journal: values never change.
 *	waiting -> active | finished | abandoned
 *	active -> finished | abandoned
 *	finished, abandoned -> (archived, then gone)
 */
typedef enum GsStatus
{
	GS_STATUS_WAITING = 1,
	GS_STATUS_ACTIVE = 2,
	GS_STATUS_FINISHED = 3,
	GS_STATUS_ABANDONED = 4
} GsStatus;

#define GS_STATUS_IS_OVER(s) ((s) >= GS_STATUS_FINISHED)

typedef enum GsEncoding
{
	GS_ENCODING_JSON = 1,
	GS_ENCODING_BYTES = 2
} GsEncoding;

/* Fixed at creation. */
typedef enum GsDurability
{
	GS_DURABILITY_JOURNAL = 0,
	GS_DURABILITY_MEMORY = 1 /* lost with the server's memory */
} GsDurability;

/*
 * Fixed at creation.  Stored in the journal: values never change.
 *
 * With full history the log entry of each change of the state has the delta
 * from the new state back to the one before (gs_delta.h), and no other state
 * than the current one is kept.  So it is with the last changes, of which there
 * are never more than a header's history_limit in the log: see gs_log_start().
 */
typedef enum GsHistory
{
	GS_HISTORY_FULL = 0,
	GS_HISTORY_EVENTS = 1, /* the first and the current state, and the events */
	GS_HISTORY_LAST = 2	   /* the last changes only */
} GsHistory;

/* What history_limit can be; the requests of a game may outlive its log. */
#define GS_HISTORY_LIMIT_MAX 65535

/* Which of a database's lists a game is on. */
typedef enum GsLink
{
	GS_LINK_NONE = 0,
	GS_LINK_QUEUE = 1,	 /* over, waits for the archive */
	GS_LINK_DELAYED = 3, /* over, does not have to be archived yet */
	GS_LINK_ARCHIVED = 2 /* its row is in a table, waits for old snapshots to end */
} GsLink;

/*
 * The fixed part of a game, the same in the table, in the write set and in
 * a change record.
 */
typedef struct GsHeader
{
	int64 incarnation; /* grows with every creation in the cluster */
	int64 version;
	int64 commit_seq; /* commit sequence of the last change */
	int64 moves;	  /* changes of kind move */
	TimestampTz created_at;
	TimestampTz started_at; /* 0 = not yet */
	TimestampTz updated_at;
	TimestampTz ended_at;	  /* 0 = not over */
	TimestampTz deadline;	  /* 0 = none */
	pg_uuid_t create_request; /* request id of the creation, if any */
	uint32 create_arguments;  /* and its arguments, see gs_request.h */
	int32 max_players;		  /* 0 = only gamestate.max_players */
	uint8 status;			  /* GsStatus */
	uint8 encoding;			  /* GsEncoding */
	uint8 has_create_request;
	uint8 durability;	  /* GsDurability */
	uint8 history;		  /* GsHistory */
	uint16 history_limit; /* GS_HISTORY_LAST: of so many changes, at least 1; else 0 */
} GsHeader;

static inline bool
gs_has_deltas(const GsHeader *h)
{
	return h->history != GS_HISTORY_EVENTS;
}

/*
 * The first version whose entry the log of a running game has, version 1 apart,
 * which is implied if this is 2.  What is older is not looked at, whether it is
 * still in memory or not: so all copies of a game say the same.
 */
static inline int64
gs_log_start(const GsHeader *h)
{
	return h->history == GS_HISTORY_LAST ? Max(h->version - h->history_limit + 1, 2) : 2;
}

/*
 * A game in shared memory: an entry of the games' hash table.
 *
 * Everything is protected by the partition lock of the hash table (readers
 * hold it shared while they copy a state or a log, appliers exclusive),
 * unless it says otherwise.  Besides, nobody may change a game without its
 * heavyweight lock (gs_lock.c), so who holds that lock may rely on what he
 * read before.
 *
 * initial, state, info and the log's chunks are separate allocations.
 * "initial" is invalid while the state is still the initial one, and always if
 * the log has deltas.
 */
typedef struct GsGame
{
	GsGameKey key;	  /* set once */
	bool visible;	  /* false: reserved by a transaction, not committed */
	uint8 link_state; /* GsLink; changed with queue_lock held as well */
	uint8 image_in;	  /* which journal table has the newest image */
	uint8 wait_level; /* see gs_durable.h */
	XLogRecPtr wait_lsn;
	TransactionId archive_xid; /* moved to a table by this transaction, see gs_tier.c */
	uint8 moved_to;			   /* GsTier; which table */
	bool returning;			   /* returned_by has not ended yet */
	bool reported; /* inactive since its last change, and that has been told */
	FullTransactionId returned_by; /* it came back from a table; 0 = it did not */
	GsHeader h;
	dsa_pointer state;
	dsa_pointer initial;
	dsa_pointer info;	   /* GsInfo */
	dsa_pointer log_first; /* GsLogChunk; invalid = no entries */
	dsa_pointer log_last;
	dsa_pointer ring;  /* GsRing, gs_ring.h; invalid = no request ids */
	dsa_pointer timer; /* GsTimer, gs_timer.h; invalid = it never had a deadline */
	uint32 state_len;
	uint32 state_size; /* allocated */
	uint32 initial_len;
	uint32 initial_size;
	uint32 info_size;
	uint32 log_bytes; /* allocated by all chunks */
	uint32 ring_size;
	dlist_node link; /* protected by queue_lock of the database */
} GsGame;

/*
 * What changes rarely: one allocation, replaced as a whole.
 *
 *	GsInfo, index nodes, game type, room code, players (a length byte and the
 *	bytes, each), metadata, result
 *
 * nodes[0] is the index node of the room code, nodes[1 + i] that of player i,
 * nodes[1 + nplayers], if is_open, that of the open rooms of the game type.
 */
typedef struct GsInfo
{
	uint32 metadata_len;
	uint32 result_len;
	uint16 nplayers;
	uint8 type_len;
	uint8 room_len; /* 0 = no room code */
	bool has_metadata;
	bool has_result;
	bool is_open; /* waits, and has a free seat */
	dsa_pointer nodes[FLEXIBLE_ARRAY_MEMBER];
} GsInfo;

static inline int
gs_info_nodes(const GsInfo *info)
{
	return 1 + info->nplayers + info->is_open;
}

/* Has it as many changes as gamestate.max_log allows? */
static inline bool
gs_log_is_full(const GsHeader *h)
{
	return h->version >= gs_max_log && h->history != GS_HISTORY_LAST;
}

typedef struct GsText
{
	const char *data; /* NULL = none */
	uint32 len;
} GsText;

/* The same, in pieces; pointers into a GsInfo or into local memory. */
typedef struct GsInfoParts
{
	GsText game_type;
	GsText room_code; /* data NULL = none */
	int nplayers;
	GsText *players;
	GsText metadata;
	GsText result;
} GsInfoParts;

/* A run of log entries, encoded as in gs_entry.h. */
typedef struct GsLogChunk
{
	dsa_pointer next;
	int64 first_version; /* version of the first entry */
	int64 base;			 /* base time of the entries */
	uint32 nentries;
	uint32 used; /* bytes in data */
	uint32 size; /* bytes of the whole allocation */
	char data[FLEXIBLE_ARRAY_MEMBER];
} GsLogChunk;

#define GS_LOG_CHUNK_HEADER offsetof(GsLogChunk, data)

/*
 * One new log entry, in local memory.  An empty delta stands for that of the
 * first new state of a transaction: it leads back to the committed state, and is
 * made when it is known that there is no other (gs_target.c, gs_table_reserve()).
 */
typedef struct GsNewEntry
{
	struct GsNewEntry *prev; /* newest first: rollback to a savepoint drops the head */
	int64 version;
	GsEntry e;
} GsNewEntry;

/* What the change feed has to know, noted by gs_table_apply(); the rest is gs_feed.c's own. */
typedef struct GsFeedNote
{
	bool applied; /* the game was there */
	uint8 type_len;
	char type[GS_MAX_ID_LENGTH];

	uint32 type_hash;
	uint32 id_hash;
	struct GsChange *next; /* of this transaction */
} GsFeedNote;

typedef enum GsChangeKind
{
	GS_CHANGE_NONE = 0, /* of all that nothing is in memory, before or after */
	GS_CHANGE_CREATE,
	GS_CHANGE_UPDATE,
	GS_CHANGE_REMOVE,  /* deleted */
	GS_CHANGE_ARCHIVE, /* this transaction has put its row into a table */
	GS_CHANGE_IMAGE	   /* unchanged, but written to the journal as a whole */
} GsChangeKind;

/* GS_CHANGE_NONE: what the change feed tells of it all the same. */
typedef enum GsTold
{
	GS_TOLD_NOTHING = 0, /* created and deleted by the same transaction */
	GS_TOLD_ENTRIES,	 /* it was created or resumed, and suspended */
	GS_TOLD_DELETION	 /* it was suspended, and is deleted */
} GsTold;

/*
 * A change record: what one transaction does to one game.  Pointers are to
 * local memory that lives until the transaction has ended.
 */
typedef struct GsChange
{
	GsChangeKind kind;
	GsGameKey key;
	struct GsDatabase *db;
	bool replaces;		/* CREATE: a committed game of this id is deleted first */
	bool frees;			/* finish, archive, delete: may use the reserve */
	GsTold told;		/* NONE */
	int64 base_version; /* version before; 0 = this incarnation did not exist */
	GsHeader h;			/* as it will be */
	bool state_changed;
	GsText state; /* new state, if state_changed */
	GsText
		initial; /* CREATE only: initial state, if not the new state; not with deltas */
	bool wants_delta;	  /* UPDATE: the journal, or the history, will need one */
	bool has_empty_delta; /* one of the new entries, see GsNewEntry */
	bool info_changed;
	GsInfoParts info;	 /* new info, if info_changed */
	int nentries;		 /* new log entries ... */
	GsNewEntry *entries; /* ... newest first */

	/* set between reserve and apply by a light commit; see gs_durable.h */
	XLogRecPtr lsn;
	uint8 level;

	GsFeedNote feed;

	bool own_state; /* state was allocated by itself, not as a part of something */

	bool imaged;	 /* UPDATE: after an image of what was before */
	uint8 image_in;	 /* CREATE, IMAGE, imaged: journal table written to */
	GsTier moved_to; /* ARCHIVE: which table */
	bool returns;	 /* CREATE: it comes back from a table, where base_version was */
	TransactionId archive_xid; /* who moves it: on a standby; else 0, this transaction */

	/*
	 * Filled by gs_table_reserve(), private to gs_table_change.c and gs_log.c; but whoever
	 * has put the state or the initial state into shared memory before hands
	 * it over here (CREATE only).
	 */
	bool reserved;
	bool inserted;				/* an invisible entry stands in the hash table */
	bool marked;				/* ARCHIVE: the game carries our xid */
	FullTransactionId moved_by; /* returns: the xid of who moves it */
	bool over_moved; /* returns: old snapshots still have the entry of before ... */
	FullTransactionId returned_before; /* ... and this is what its returned_by was */
	dsa_pointer new_state;
	Size new_state_size;
	dsa_pointer new_initial;
	Size new_initial_size;
	dsa_pointer new_info;
	Size new_info_size;
	dsa_pointer new_chunk; /* of the log, the first one of a list */
	dsa_pointer new_last_chunk;
	Size new_chunks_size;
	bool moves_log;		 /* the whole log goes into the new chunk ... */
	uint32 nleft_behind; /* ... but so many entries, ... */
	uint32 left_behind;	 /* ... so many bytes */
	bool replaces_log;	 /* all entries that are there are too old */
	dsa_pointer new_ring;
	Size new_ring_size;
	dsa_pointer new_timer;
	int nadded; /* index nodes that are new with this change */
	dsa_pointer *added;
	int ndropped; /* index nodes that go with this change */
	dsa_pointer *dropped;
	GsNewEntry **entry_array; /* the new entries, oldest first ... */
	int noutdated;			  /* ... of which so many are too old for the log */
	GsText delta;			  /* the state as told to the journal; len 0 = not worth it */
	GsNewEntry *first_state;  /* the entry that had an empty delta, now has one */
} GsChange;

/* A request whose answer was a version; 32 bytes, see gs_ring.h. */
typedef struct GsAnsweredRequest
{
	pg_uuid_t id;
	int64 version;
	uint32 arguments; /* see gs_request.h */
} GsAnsweredRequest;

/* A private copy of a whole game, in one memory context. */
typedef struct GsGameCopy
{
	pg_uuid_t game_id;
	FullTransactionId returned_by; /* see GsGame */
	GsHeader h;
	GsInfoParts info;
	GsText state;
	GsText initial;
	uint64 nentries;  /* log entries, the last one that of h.version ... */
	GsEntry *entries; /* ... decoded, oldest first; NULL = not asked for */
	char *log;		  /* the bytes that entries point into */
	uint32 nrequests; /* requests to be remembered that are older than the log */
	GsAnsweredRequest *requests; /* oldest first */
} GsGameCopy;

/* What gs_table_copy() shall copy; the initial state only if it is kept apart. */
#define GS_COPY_STATE	0x01
#define GS_COPY_INITIAL 0x02
#define GS_COPY_LOG		0x04
#define GS_COPY_ALL		0x07

extern dshash_table *GsGames; /* attached by gs_attach() */
extern void gs_table_create(void);
extern void gs_table_attach(void);

/* ---- reading: gs_table.c ---- */

/*
 * Look up one committed game of this database and lock its partition shared;
 * NULL if there is none.  A game that was moved to a table is found as long as
 * this transaction's snapshot cannot see the row, unless for_write: then it is
 * gone as soon as that has committed.  May wait for the end of a commit.
 */
extern GsGame *gs_table_find(const pg_uuid_t *id, bool for_write);
extern void gs_table_release(GsGame *game);

extern FullTransactionId gs_table_full_xid(TransactionId xid);

/* Is somebody bringing this game back from a table?  Waits until he has; see gs_tier.h. */
extern bool gs_table_wait_for_return(const pg_uuid_t *id);

/*
 * The pieces of a GsInfo; the caller holds the partition lock, or the game's
 * heavyweight lock.  players is an array of at least info->nplayers.
 */
extern void gs_info_parts(const GsInfo *info, GsInfoParts *parts, GsText *players);
extern bool gs_is_open(const GsHeader *h, int nplayers);
extern bool gs_info_has_player(const GsInfo *info, const GsText *player);
extern bool gs_info_has_room(const GsInfo *info, const GsText *room_code);
extern bool gs_parts_have_player(const GsInfoParts *parts, const GsText *player);
extern bool gs_text_equal(const GsText *a, const GsText *b);

/* find, copy, release; NULL if there is no such game */
extern GsGameCopy *gs_table_copy(const pg_uuid_t *id, int what, bool for_write,
								 MemoryContext mcxt);

/*
 * The same, but only with the log entries after a version; *first_version is the
 * version of the first.  If they have deltas, it is all of them, and the state, from
 * which the deltas lead back; else at most max_entries, without a state.
 */
extern GsGameCopy *gs_table_copy_log(const pg_uuid_t *id, int64 after_version,
									 int64 max_entries, int64 *first_version,
									 MemoryContext mcxt);

/* Games of this database in the order of this hash are in the order of the hash table. */
extern uint32 gs_table_hash(const pg_uuid_t *id);

/* ids of all games of this database, in no order, those that are just coming back included; palloc'd */
extern pg_uuid_t *gs_table_ids(int *n);

/* ---- changing: gs_table_change.c ---- */

extern void gs_table_reserve(GsChange *change);
extern void gs_table_apply(GsChange *change);
extern void gs_table_unreserve(GsChange *change);

/*
 * Free archived games that no snapshot of this database needs as live any
 * more (all of them with even_if_needed: memory pressure); at most max games.
 * Returns how many were freed.
 */
extern int gs_table_free_archived(struct GsDatabase *db, bool even_if_needed, int max);

/*
 * A game that waits for the archive shall wait longer: off the queue.  false if
 * it is not there any more.  Back again: one of them, or all.
 */
extern bool gs_table_delay(struct GsDatabase *db, const pg_uuid_t *id);
extern void gs_table_end_delay(struct GsDatabase *db, const pg_uuid_t *id);
extern void gs_table_end_delays(struct GsDatabase *db);

/* It has not been changed since then: mark it as reported.  false if it was, or is. */
extern bool gs_table_report(const pg_uuid_t *id, TimestampTz updated_at);

/* Remove all games of a database: DROP EXTENSION, DROP DATABASE.  Cannot fail. */
extern void gs_table_remove_database(struct GsDatabase *db);

/* ERROR: the games that this transaction has seen are gone, all at once */
extern _Noreturn void gs_table_removed(void);

extern const char *gs_status_name(GsStatus status);

#endif /* GS_TABLE_H */
