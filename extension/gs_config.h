/*-------------------------------------------------------------------------
 *
 * gs_config.h
 *	  Settings (GUCs) of the extension; gs_config.c documents each.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_CONFIG_H
#define GS_CONFIG_H

#include "postgres.h"

/* A contract of the SQL surface, so not a setting: ids are 1 to 63 bytes. */
#define GS_MAX_ID_LENGTH 63

/* zstd levels that may be asked for; that of repacking if no policy says another */
#define GS_LEVEL_MIN 1
#define GS_LEVEL_MAX 19

/* games archived in one transaction */
#define GS_ARCHIVE_BATCH_MAX	2000
#define GS_REPACK_LEVEL_DEFAULT 19

/* postmaster start */
extern int gs_memory; /* MB */
extern int gs_reserve_percent;
extern int gs_max_databases;

/* limits */
extern int gs_memory_wait;		 /* ms; 0 = off */
extern int gs_quota;			 /* MB; -1 = none */
extern int gs_max_state_size;	 /* kB */
extern int gs_max_event_size;	 /* kB */
extern int gs_max_metadata_size; /* kB */
extern int gs_max_log;
extern int gs_max_players;
extern int gs_max_id_length;
extern int gs_max_games_per_transaction;

/* request ids */
extern int gs_request_ids;		 /* PGC_SIGHUP */
extern int gs_deleted_retention; /* minutes, PGC_SIGHUP */
extern bool gs_enabled;

/* journal */
extern int gs_journal_size;	 /* MB */
extern bool gs_light_commit; /* PGC_USERSET */
extern int gs_pitr_tick;	 /* ms, 0 = off, PGC_SIGHUP */
extern int gs_load_timeout;	 /* ms; 0 = none */
extern int gs_durability;	 /* GsDurability of new games */
extern bool gs_allow_journal_changes;
extern bool gs_standby_reads;

/* change feed */
extern int gs_feed_size;	   /* kB, postmaster start */
extern int gs_max_waiters;	   /* postmaster start */
extern int gs_feed_event_size; /* kB */

/* presence, rate limits */
extern int gs_max_connected;   /* players, postmaster start */
extern int gs_rate_limit_keys; /* postmaster start */

/* archiver */
extern bool gs_archiver;
extern int gs_archiver_share;  /* percent of a processor */
extern int gs_memory_pressure; /* percent */
extern bool gs_timer_enabled;
extern bool gs_maintenance;
extern int gs_maintenance_interval; /* ms */
extern int gs_archive_batch;
extern int gs_archive_compression_level;
extern int gs_archive_make_ahead; /* partitions */
extern int gs_archive_max_types;
extern int gs_dictionary_min_games;
extern bool gs_allow_dictionary_changes;
extern int gs_hook_timeout; /* ms; 0 = none */
extern int gs_repack_rate;
extern char *gs_cold_directory; /* kB/s; 0 = without a limit */

extern void gs_config_init(void);

#endif /* GS_CONFIG_H */
