/*-------------------------------------------------------------------------
 *
 * gs_config.c
 *	  Settings (GUCs) of the extension.
 *
 * The model:
 *	1. What sizes shared memory is fixed at server start (PGC_POSTMASTER).
 *	2. What only the archiver uses is read at reload (PGC_SIGHUP).
 *	3. Limits that protect the server from its users are PGC_SUSET, so that
 *	   they can be set for a database or a role (ALTER DATABASE ... SET) but
 *	   not by a game server itself.
 * Bounds never depend on another setting: settings are read in any order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_config.h"
#include "gs_table.h"

#include "utils/guc.h"

#define GS_MEMORY_DEFAULT	 128
#define GS_MEMORY_MIN		 8
#define GS_MEMORY_MAX		 (1024 * 1024) /* 1 TB */
#define GS_RESERVE_DEFAULT	 5
#define GS_RESERVE_MIN		 1
#define GS_PRESSURE_DEFAULT	 90
#define GS_PRESSURE_MIN		 10
#define GS_RESERVE_MAX		 50
#define GS_DATABASES_DEFAULT 64
#define GS_DATABASES_MIN	 1
#define GS_DATABASES_MAX	 10000
#define GS_QUOTA_DEFAULT	 (-1)
#define GS_STATE_DEFAULT	 1024
#define GS_STATE_MAX		 (64 * 1024)
#define GS_EVENT_DEFAULT	 64
#define GS_EVENT_MAX		 (16 * 1024)
#define GS_METADATA_DEFAULT	 64

/*
 * Metadata and result together must fit into one block of the reserve
 * (GS_RESERVE_BLOCK), so that a game can always be finished.
 */
#define GS_METADATA_MAX					100
#define GS_LOG_DEFAULT					100000
#define GS_LOG_MAX						100000000
#define GS_PLAYERS_DEFAULT				128
#define GS_PLAYERS_MAX					512
#define GS_GAMES_PER_XACT_DEFAULT		2000
#define GS_GAMES_PER_XACT_MAX			1000000
#define GS_REQUEST_IDS_DEFAULT			16
#define GS_REQUEST_IDS_MAX				1000
#define GS_DELETED_RETENTION_DEFAULT	(24 * 60)
#define GS_JOURNAL_DEFAULT				512
#define GS_JOURNAL_MIN					16
#define GS_PITR_TICK_DEFAULT			1000
#define GS_PITR_TICK_MAX				3600000
#define GS_MEMORY_WAIT_DEFAULT			5000
#define GS_LOAD_TIMEOUT_DEFAULT			60000
#define GS_MAINTENANCE_INTERVAL_DEFAULT (60 * 1000)
#define GS_MAINTENANCE_INTERVAL_MIN		100
#define GS_MAINTENANCE_INTERVAL_MAX		(24 * 3600 * 1000)
#define GS_FEED_DEFAULT					(16 * 1024)
#define GS_FEED_MIN						64
#define GS_FEED_MAX						(1024 * 1024) /* 1 GB */
#define GS_WAITERS_DEFAULT				256
#define GS_WAITERS_MAX					10000
#define GS_FEED_EVENT_DEFAULT			8
#define GS_CONNECTED_DEFAULT			10000
#define GS_CONNECTED_MIN				16
#define GS_RATE_KEYS_DEFAULT			10000
#define GS_RATE_KEYS_MIN				16
#define GS_TEN_MILLION					10000000
#define GS_BATCH_DEFAULT				500
#define GS_ARCHIVER_SHARE_DEFAULT		50
#define GS_ARCHIVER_SHARE_MIN			10
#define GS_LEVEL_DEFAULT				3
#define GS_MAKE_AHEAD_DEFAULT			2
#define GS_MAKE_AHEAD_MAX				100
#define GS_TYPES_DEFAULT				100
#define GS_TYPES_MAX					10000
#define GS_DICTIONARY_GAMES_DEFAULT		200
#define GS_DICTIONARY_GAMES_MIN			20
#define GS_DICTIONARY_GAMES_MAX			1000000
#define GS_REPACK_RATE_DEFAULT			4096
#define GS_HOOK_TIMEOUT_DEFAULT			10000

int gs_memory = GS_MEMORY_DEFAULT;
int gs_reserve_percent = GS_RESERVE_DEFAULT;
int gs_max_databases = GS_DATABASES_DEFAULT;
int gs_quota = GS_QUOTA_DEFAULT;
int gs_memory_wait = GS_MEMORY_WAIT_DEFAULT;
int gs_max_state_size = GS_STATE_DEFAULT;
int gs_max_event_size = GS_EVENT_DEFAULT;
int gs_max_metadata_size = GS_METADATA_DEFAULT;
int gs_max_log = GS_LOG_DEFAULT;
int gs_max_players = GS_PLAYERS_DEFAULT;
int gs_max_id_length = GS_MAX_ID_LENGTH;
int gs_max_games_per_transaction = GS_GAMES_PER_XACT_DEFAULT;
int gs_request_ids = GS_REQUEST_IDS_DEFAULT;
int gs_deleted_retention = GS_DELETED_RETENTION_DEFAULT;
bool gs_enabled = true;
int gs_journal_size = GS_JOURNAL_DEFAULT;
bool gs_light_commit = true;
int gs_pitr_tick = GS_PITR_TICK_DEFAULT;
int gs_load_timeout = GS_LOAD_TIMEOUT_DEFAULT;
int gs_durability = GS_DURABILITY_JOURNAL;
bool gs_allow_journal_changes = false;
int gs_feed_size = GS_FEED_DEFAULT;
int gs_max_waiters = GS_WAITERS_DEFAULT;
int gs_feed_event_size = GS_FEED_EVENT_DEFAULT;
int gs_max_connected = GS_CONNECTED_DEFAULT;
int gs_rate_limit_keys = GS_RATE_KEYS_DEFAULT;
bool gs_archiver = true;
int gs_archiver_share = GS_ARCHIVER_SHARE_DEFAULT;
bool gs_timer_enabled = true;
bool gs_maintenance = true;
int gs_maintenance_interval = GS_MAINTENANCE_INTERVAL_DEFAULT;
bool gs_standby_reads = true;
int gs_archive_batch = GS_BATCH_DEFAULT;
int gs_archive_compression_level = GS_LEVEL_DEFAULT;
int gs_archive_make_ahead = GS_MAKE_AHEAD_DEFAULT;
int gs_memory_pressure = GS_PRESSURE_DEFAULT;
int gs_archive_max_types = GS_TYPES_DEFAULT;
int gs_dictionary_min_games = GS_DICTIONARY_GAMES_DEFAULT;
bool gs_allow_dictionary_changes = false;
int gs_hook_timeout = GS_HOOK_TIMEOUT_DEFAULT;
int gs_repack_rate = GS_REPACK_RATE_DEFAULT;
char *gs_cold_directory = NULL;

static const struct config_enum_entry durability_options[] =
	{{"journal", GS_DURABILITY_JOURNAL, false},
	 {"memory", GS_DURABILITY_MEMORY, false},
	 {NULL, 0, false}};

static void
define_journal_settings(void)
{
	DefineCustomIntVariable(
		"gamestate.journal_size",
		"Sets the size at which the journal of a database is rotated.",
		"A smaller journal is loaded faster after a crash; each rotation writes all running games once. It is rotated later while running games take more than half of this.",
		&gs_journal_size, GS_JOURNAL_DEFAULT, GS_JOURNAL_MIN, GS_MEMORY_MAX, PGC_SIGHUP,
		GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"gamestate.light_commit",
		"Commits transactions that change nothing but games without a transaction id.",
		"Such a commit uses up no transaction id, and a game is free for the next move before this one is on disk. When it is off, games commit as rows do.",
		&gs_light_commit, true, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.pitr_tick",
		"Sets how often an empty transaction is committed while games change.",
		"Point-in-time recovery to a time stops only at the commit of a transaction with an id, so this bounds its error. 0 turns it off; then no transaction ids are used at all.",
		&gs_pitr_tick, GS_PITR_TICK_DEFAULT, 0, GS_PITR_TICK_MAX, PGC_SIGHUP, GUC_UNIT_MS,
		NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.load_timeout",
		"Sets how long a call waits for the games to be loaded after a start.",
		"Then it fails with GS013, and the next one waits again. A short time lets a game server answer its players; 0 waits for ever.",
		&gs_load_timeout, GS_LOAD_TIMEOUT_DEFAULT, 0, INT_MAX, PGC_USERSET, GUC_UNIT_MS,
		NULL, NULL, NULL);
	DefineCustomEnumVariable(
		"gamestate.durability", "Sets whether games created from now on survive a crash.",
		"A game of durability memory is faster and lost with the server's memory; the choice is made when a game is created and holds for its life. For game types that have a row in gamestate.policy that row counts.",
		&gs_durability, GS_DURABILITY_JOURNAL, durability_options, PGC_USERSET, 0, NULL,
		NULL, NULL);
	DefineCustomBoolVariable(
		"gamestate.allow_journal_changes",
		"Allows statements and commands that change the journal's tables.",
		"For repairs: what is changed there takes effect when games are loaded the next time, and can lose them.",
		&gs_allow_journal_changes, false, PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"gamestate.standby_reads", "Lets a hot standby serve the running games.",
		"A worker for each database follows the journal into the standby's shared memory. While it is off, only archived games can be read there and no worker runs; after a promotion games are loaded either way.",
		&gs_standby_reads, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

static void
define_memory_settings(void)
{
	DefineCustomIntVariable(
		"gamestate.memory", "Sets the shared memory for running games.",
		"All databases share it; it is allocated at server start and never grows. When it is used up, creating games and making moves fail, while finishing, archiving and deleting games go on.",
		&gs_memory, GS_MEMORY_DEFAULT, GS_MEMORY_MIN, GS_MEMORY_MAX, PGC_POSTMASTER,
		GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.reserve",
		"Sets the share of gamestate.memory, in percent, kept for what frees memory.",
		"Only finishing, archiving and deleting games may use it. A larger reserve leaves less for running games.",
		&gs_reserve_percent, GS_RESERVE_DEFAULT, GS_RESERVE_MIN, GS_RESERVE_MAX,
		PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("gamestate.max_databases",
							"Sets how many databases of this server can have games.",
							"Each costs less than 2 kB of shared memory.",
							&gs_max_databases, GS_DATABASES_DEFAULT, GS_DATABASES_MIN,
							GS_DATABASES_MAX, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.quota",
		"Sets how much of gamestate.memory the games of one database may use.",
		"To be set for a database (ALTER DATABASE ... SET); -1 means no quota.",
		&gs_quota, GS_QUOTA_DEFAULT, -1, GS_MEMORY_MAX, PGC_SUSET, GUC_UNIT_MB, NULL,
		NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.memory_wait",
		"Sets how long a call that creates or ends a game waits for the archiver to free memory.",
		"It waits only while the memory is full and the archiver is at work, in a transaction that has not changed anything yet. 0 means that it never waits.",
		&gs_memory_wait, GS_MEMORY_WAIT_DEFAULT, 0, INT_MAX, PGC_USERSET, GUC_UNIT_MS,
		NULL, NULL, NULL);
}

static void
define_limits(void)
{
	DefineCustomIntVariable("gamestate.max_state_size",
							"Sets the largest state of a game.",
							"A larger state is copied on each move and each read.",
							&gs_max_state_size, GS_STATE_DEFAULT, 1, GS_STATE_MAX,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("gamestate.max_event_size",
							"Sets the largest event of a move.",
							"Events stay in memory until the game is archived.",
							&gs_max_event_size, GS_EVENT_DEFAULT, 1, GS_EVENT_MAX,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("gamestate.max_metadata_size",
							"Sets the largest metadata and the largest result of a game.",
							NULL, &gs_max_metadata_size, GS_METADATA_DEFAULT, 1,
							GS_METADATA_MAX, PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.max_log", "Sets the largest number of changes of a game.",
		"At the limit further changes fail; only finishing and deleting the game still work.",
		&gs_max_log, GS_LOG_DEFAULT, 1, GS_LOG_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("gamestate.max_players",
							"Sets the largest number of players of a game.",
							"Membership is tested on each move that names its player.",
							&gs_max_players, GS_PLAYERS_DEFAULT, 1, GS_PLAYERS_MAX,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.max_id_length",
		"Sets the largest length of player ids, room codes and game types.", NULL,
		&gs_max_id_length, GS_MAX_ID_LENGTH, 1, GS_MAX_ID_LENGTH, PGC_SUSET,
		GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.max_games_per_transaction",
		"Sets how many locks on games and room codes a transaction may hold.",
		"Each takes a place in the lock table, whose size max_locks_per_transaction and max_connections set.",
		&gs_max_games_per_transaction, GS_GAMES_PER_XACT_DEFAULT, 1,
		GS_GAMES_PER_XACT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"gamestate.enabled", "Allows changes of games.",
		"Off stops all changes, while reads and the archiver go on; to be set for a database (ALTER DATABASE ... SET) or the server.",
		&gs_enabled, true, PGC_SUSET, 0, NULL, NULL, NULL);
}

static void
define_feed_settings(void)
{
	DefineCustomIntVariable(
		"gamestate.feed_size", "Sets the shared memory for the change feed.",
		"All databases share it. It holds the last changes, about 100 bytes and the event each; who is further behind is told of a gap. A larger one lets waiters be slower and be away for longer.",
		&gs_feed_size, GS_FEED_DEFAULT, GS_FEED_MIN, GS_FEED_MAX, PGC_POSTMASTER,
		GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.feed_event_size",
		"Sets the size up to which an event is in the change feed itself.",
		"A larger event is left out there, and is read with get_changes(). Large events use up gamestate.feed_size faster; no event may take more than a sixteenth of that.",
		&gs_feed_event_size, GS_FEED_EVENT_DEFAULT, 0, GS_EVENT_MAX, PGC_SIGHUP,
		GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.max_waiters",
		"Sets how many sessions can wait for changes at the same time.",
		"Each costs about 600 bytes of shared memory. Further ones get an error.",
		&gs_max_waiters, GS_WAITERS_DEFAULT, 1, GS_WAITERS_MAX, PGC_POSTMASTER, 0, NULL,
		NULL, NULL);
}

static void
define_player_settings(void)
{
	DefineCustomIntVariable(
		"gamestate.max_connected_players",
		"Sets how many players can be connected to games at the same time.",
		"All databases share it; a player counts in each of his games. Each costs about 350 bytes of shared memory. Further ones get an error; who is disconnected stays known while there is room.",
		&gs_max_connected, GS_CONNECTED_DEFAULT, GS_CONNECTED_MIN, GS_TEN_MILLION,
		PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.rate_limit_keys",
		"Sets of how many keys rate limits remember what they have used.",
		"All databases share it; a player counts once for each limit. Each costs about 70 bytes of shared memory. The key used longest ago makes room for a new one, and begins anew when it comes again.",
		&gs_rate_limit_keys, GS_RATE_KEYS_DEFAULT, GS_RATE_KEYS_MIN, GS_TEN_MILLION,
		PGC_POSTMASTER, 0, NULL, NULL, NULL);
}

static void
define_request_settings(void)
{
	DefineCustomIntVariable(
		"gamestate.request_ids",
		"Sets how many request ids of a running game are remembered.",
		"A retry is recognised unless so many other requests with an id have changed the game since. Each takes 32 bytes of gamestate.memory; games that have been given none take nothing. A smaller value frees nothing.",
		&gs_request_ids, GS_REQUEST_IDS_DEFAULT, 0, GS_REQUEST_IDS_MAX, PGC_SIGHUP, 0,
		NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.deleted_retention",
		"Sets how long request ids of deleted games are remembered.",
		"A retry of delete_game() or create_game() that comes later than this after the deletion is taken for a new request. Each such game is a row of gamestate.deleted_games.",
		&gs_deleted_retention, GS_DELETED_RETENTION_DEFAULT, 0, INT_MAX, PGC_SIGHUP,
		GUC_UNIT_MIN, NULL, NULL, NULL);
}

static void
define_archive_settings(void)
{
	DefineCustomBoolVariable(
		"gamestate.archiver",
		"Starts an archiver for each database that has the extension.",
		"While it is off, games that are over stay in memory.", &gs_archiver, true,
		PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"gamestate.maintenance",
		"Starts a maintenance worker for each database that has the extension.",
		"While it is off, no partition of the archive is made ahead, removed, repacked, moved or frozen, and no dictionary is trained.",
		&gs_maintenance, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"gamestate.timer",
		"Starts a timer worker for each database in which something is timed.",
		"While it is off, deadlines that pass are not set off, and leases and players whose time is over are not noticed; all of that is made up for afterwards.",
		&gs_timer_enabled, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.maintenance_interval",
		"Sets how often the maintenance worker looks for work.",
		"Shorter intervals carry out policies sooner; a look reads a few catalog rows for each partition.",
		&gs_maintenance_interval, GS_MAINTENANCE_INTERVAL_DEFAULT,
		GS_MAINTENANCE_INTERVAL_MIN, GS_MAINTENANCE_INTERVAL_MAX, PGC_SIGHUP, GUC_UNIT_MS,
		NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.archiver_share",
		"Sets how many percent of a processor the archiver takes at most while others wait for one.",
		"While nobody does it takes what there is, and so it does when memory is short; 100 means always.",
		&gs_archiver_share, GS_ARCHIVER_SHARE_DEFAULT, GS_ARCHIVER_SHARE_MIN, 100,
		PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.archive_batch",
		"Sets the largest number of games archived in one transaction.",
		"Larger batches are faster and hold more locks at once.", &gs_archive_batch,
		GS_BATCH_DEFAULT, 1, GS_ARCHIVE_BATCH_MAX, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("gamestate.archive_compression_level",
							"Sets the zstd level with which games are archived.",
							"Higher levels are smaller and slower.",
							&gs_archive_compression_level, GS_LEVEL_DEFAULT, GS_LEVEL_MIN,
							GS_LEVEL_MAX, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.archive_make_ahead",
		"Sets how many periods ahead partitions of the archive are made for each game type in use.",
		"For types whose policy does not say it. With 0 a partition is made when the first game needs it, which waits for queries on the archive that began before.",
		&gs_archive_make_ahead, GS_MAKE_AHEAD_DEFAULT, 0, GS_MAKE_AHEAD_MAX, PGC_SIGHUP,
		0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.memory_pressure",
		"Sets how much of gamestate.memory, or of the quota, may be used before games are put away.",
		"In percent. Then games that are over are archived whatever archive_delay says, and those whose policy allows it are suspended, least recently changed first. A lower value leaves more room for a burst of new games; 100 means never.",
		&gs_memory_pressure, GS_PRESSURE_DEFAULT, GS_PRESSURE_MIN, 100, PGC_SIGHUP, 0,
		NULL, NULL, NULL);
	DefineCustomIntVariable(
		"gamestate.archive_max_types",
		"Sets how many game types get partitions of their own in the archive.",
		"Further types share the default branch, so that the number of partitions stays bounded.",
		&gs_archive_max_types, GS_TYPES_DEFAULT, 0, GS_TYPES_MAX, PGC_SIGHUP, 0, NULL,
		NULL, NULL);
}

/* A file's name is put behind it, so this alone says where files can be. */
static bool
check_cold_directory(char **value, void **extra, GucSource source)
{
	if (**value == '\0')
		return true;
	canonicalize_path(*value);
	if (!is_absolute_path(*value))
	{
		GUC_check_errdetail("It must be an absolute path.");
		return false;
	}
	if (strlen(*value) > MAXPGPATH - 256)
	{
		GUC_check_errdetail("It is too long.");
		return false;
	}
	return true;
}

static void
define_cold_settings(void)
{
	DefineCustomStringVariable(
		"gamestate.cold_directory", "Sets the directory for files of frozen partitions.",
		"An absolute path, which the server's user may write to. Each server needs one of its own; backups and standbys do not carry what is in it. Empty: nothing can be frozen, and what is frozen cannot be read.",
		&gs_cold_directory, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_cold_directory,
		NULL, NULL);
}

static void
define_compression_settings(void)
{
	DefineCustomIntVariable(
		"gamestate.dictionary_min_games",
		"Sets how many archived games of a type a compression dictionary is trained from.",
		"With fewer there is none. More games make a better dictionary, later.",
		&gs_dictionary_min_games, GS_DICTIONARY_GAMES_DEFAULT, GS_DICTIONARY_GAMES_MIN,
		GS_DICTIONARY_GAMES_MAX, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"gamestate.allow_dictionary_changes",
		"Allows statements that change or remove rows of gamestate.dictionary.",
		"Archived games cannot be read without the dictionary they were compressed with.",
		&gs_allow_dictionary_changes, false, PGC_USERSET, GUC_NOT_IN_SAMPLE, NULL, NULL,
		NULL);
	DefineCustomIntVariable(
		"gamestate.repack_rate",
		"Sets how much of the archive is repacked in a second at most.",
		"Counted in bytes before compression. A higher rate takes more of a processor; 0 means no limit.",
		&gs_repack_rate, GS_REPACK_RATE_DEFAULT, 0, INT_MAX / 2, PGC_SIGHUP, GUC_UNIT_KB,
		NULL, NULL, NULL);
}

static void
define_hook_settings(void)
{
	DefineCustomIntVariable(
		"gamestate.hook_timeout",
		"Sets how long an archive hook or a statistics rule may take.",
		"A hook that takes longer is cancelled and has failed. Games of its type wait in memory while it runs; 0 means no limit.",
		&gs_hook_timeout, GS_HOOK_TIMEOUT_DEFAULT, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS,
		NULL, NULL, NULL);
}

void
gs_config_init(void)
{
	define_memory_settings();
	define_limits();
	define_request_settings();
	define_journal_settings();
	define_feed_settings();
	define_player_settings();
	define_archive_settings();
	define_compression_settings();
	define_cold_settings();
	define_hook_settings();
	MarkGUCPrefixReserved("gamestate");
}
