/* extension/gamestate--0.1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION gamestate" to load this file. \quit

/*
 * Order of this file: owner role and schemas, types, functions that write,
 * functions that read, archive, statistics, grants.
 *
 * Volatility and parallel marking follow one rule, so it is said once here:
 * writes are VOLATILE PARALLEL UNSAFE (the write set is local to the leader);
 * reads of running games are VOLATILE PARALLEL RESTRICTED (they see the latest
 * committed version, not the statement's snapshot, and the leader's write
 * set).  Functions with optional arguments cannot be STRICT: they test their
 * NULLs themselves.
 */

-- ---------------------------------------------------------------------------
-- The role that owns the archive's tables, and the schemas
-- ---------------------------------------------------------------------------

-- Roles belong to the cluster, so another database may have made it already.
-- A role of that name which could log in or has any power would hand that
-- power to the workers (or the workers' tables to a user): refused.
DO $$
DECLARE
	r	pg_catalog.pg_roles;
BEGIN
	BEGIN
		CREATE ROLE gamestate_owner NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE
			NOREPLICATION NOBYPASSRLS;
	EXCEPTION WHEN duplicate_object OR unique_violation THEN
		NULL;
	END;
	SELECT * INTO STRICT r FROM pg_catalog.pg_roles
	 WHERE rolname OPERATOR(pg_catalog.=) 'gamestate_owner';
	IF r.rolcanlogin OR r.rolsuper OR r.rolcreatedb OR r.rolcreaterole
	   OR r.rolreplication OR r.rolbypassrls THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_role_specification',
			MESSAGE = 'role "gamestate_owner" exists and has attributes that the owner of the archive must not have',
			HINT = 'Rename that role, or ALTER ROLE gamestate_owner NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS.';
	END IF;
END
$$;

CREATE SCHEMA gamestate;
COMMENT ON SCHEMA gamestate IS 'gamestate: running games in shared memory, finished games in the archive';

-- Partitions stand in a schema of their own: whoever may create partitions
-- (members of gamestate_owner) cannot create functions beside ours.
CREATE SCHEMA gamestate_partitions AUTHORIZATION gamestate_owner;
COMMENT ON SCHEMA gamestate_partitions IS 'gamestate: partitions of gamestate.archive and gamestate.archive_payload';

GRANT USAGE ON SCHEMA gamestate TO gamestate_owner;

-- ---------------------------------------------------------------------------
-- The journal: the durable copy of running games
-- ---------------------------------------------------------------------------

-- Written by C code through the heap API, see extension/gs_journal.h.  It must
-- not have a TOAST table (a row is written where no snapshot is active), and
-- adding the column PLAIN in one command is what leaves it out on PostgreSQL 15.
-- Rows are only ever inserted and the table emptied as a whole, so there is
-- nothing to vacuum.
CREATE TABLE gamestate.journal_0 (
	seq bigint NOT NULL,
	idx integer NOT NULL,
	cnt integer NOT NULL
) USING heap WITH (autovacuum_enabled = false, vacuum_truncate = false);
ALTER TABLE gamestate.journal_0 ADD COLUMN data bytea NOT NULL,
	ALTER COLUMN data SET STORAGE PLAIN;
CREATE TABLE gamestate.journal_1 (
	seq bigint NOT NULL,
	idx integer NOT NULL,
	cnt integer NOT NULL
) USING heap WITH (autovacuum_enabled = false, vacuum_truncate = false);
ALTER TABLE gamestate.journal_1 ADD COLUMN data bytea NOT NULL,
	ALTER COLUMN data SET STORAGE PLAIN;
COMMENT ON TABLE gamestate.journal_0 IS 'journal of running games; nothing may be added to it or changed in it';
COMMENT ON TABLE gamestate.journal_1 IS 'journal of running games; nothing may be added to it or changed in it';
COMMENT ON COLUMN gamestate.journal_0.seq IS 'commit sequence: the rows of one transaction';
COMMENT ON COLUMN gamestate.journal_1.seq IS 'commit sequence: the rows of one transaction';
REVOKE ALL ON gamestate.journal_0, gamestate.journal_1 FROM PUBLIC;

-- What loading has found damaged in them.  Its owner is the workers' role, which
-- inserts; no index, since there is next to nothing in it.
CREATE TABLE gamestate.journal_damage (
	found_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	journal name NOT NULL,
	file oid NOT NULL,
	block bigint NOT NULL,
	item integer,
	what text NOT NULL,
	bytes bytea NOT NULL
);
COMMENT ON TABLE gamestate.journal_damage IS 'rows and pages of the journal that were damaged when games were loaded, as they were found; may be deleted from';
COMMENT ON COLUMN gamestate.journal_damage.journal IS 'table of the journal';
COMMENT ON COLUMN gamestate.journal_damage.file IS 'its file (relfilenode) then: rotation gives it a new one';
COMMENT ON COLUMN gamestate.journal_damage.item IS 'number of the row on the page; NULL = the whole page';
COMMENT ON COLUMN gamestate.journal_damage.bytes IS 'the row with its header, or the page';
ALTER TABLE gamestate.journal_damage OWNER TO gamestate_owner;
REVOKE ALL ON gamestate.journal_damage FROM PUBLIC;

-- A subscription to all tables of another database would copy that one's journal
-- into ours when it begins.  These triggers fire in the processes of logical
-- replication only; they leave the rows out and refuse TRUNCATE, see
-- extension/gs_protect.c.
CREATE FUNCTION gamestate.journal_trigger()
RETURNS trigger
AS 'MODULE_PATHNAME', 'gs_journal_trigger' LANGUAGE C;
COMMENT ON FUNCTION gamestate.journal_trigger() IS 'keeps what logical replication brings out of the journal';
CREATE TRIGGER keep_out_replicated_rows BEFORE INSERT OR UPDATE OR DELETE ON gamestate.journal_0
	FOR EACH ROW EXECUTE FUNCTION gamestate.journal_trigger();
CREATE TRIGGER keep_out_replicated_rows BEFORE INSERT OR UPDATE OR DELETE ON gamestate.journal_1
	FOR EACH ROW EXECUTE FUNCTION gamestate.journal_trigger();
CREATE TRIGGER keep_out_replicated_truncate BEFORE TRUNCATE ON gamestate.journal_0
	EXECUTE FUNCTION gamestate.journal_trigger();
CREATE TRIGGER keep_out_replicated_truncate BEFORE TRUNCATE ON gamestate.journal_1
	EXECUTE FUNCTION gamestate.journal_trigger();
ALTER TABLE gamestate.journal_0 ENABLE REPLICA TRIGGER keep_out_replicated_rows,
	ENABLE REPLICA TRIGGER keep_out_replicated_truncate;
ALTER TABLE gamestate.journal_1 ENABLE REPLICA TRIGGER keep_out_replicated_rows,
	ENABLE REPLICA TRIGGER keep_out_replicated_truncate;
COMMENT ON TRIGGER keep_out_replicated_rows ON gamestate.journal_0 IS 'the journal of another database must not get into this one';
COMMENT ON TRIGGER keep_out_replicated_rows ON gamestate.journal_1 IS 'the journal of another database must not get into this one';
COMMENT ON TRIGGER keep_out_replicated_truncate ON gamestate.journal_0 IS 'the journal of another database may be emptied, this one may not';
COMMENT ON TRIGGER keep_out_replicated_truncate ON gamestate.journal_1 IS 'the journal of another database may be emptied, this one may not';

-- ---------------------------------------------------------------------------
-- Rate limits
-- ---------------------------------------------------------------------------

-- Ordinary rows, remembered by sessions like gamestate.policy, see
-- extension/gs_rate_policy.c.  In lax mode jsonpath would look into arrays.
CREATE TABLE gamestate.rate_limit (
	name text COLLATE pg_catalog."C" PRIMARY KEY,
	kind text NOT NULL DEFAULT 'token_bucket',
	amount double precision NOT NULL,
	period interval NOT NULL DEFAULT '1 s',
	burst double precision,
	busy_sessions integer,
	min_share double precision NOT NULL DEFAULT 0.1,
	cost_key text,
	costs jsonb,
	default_cost double precision NOT NULL DEFAULT 1,
	CONSTRAINT rate_limit_name_check
		CHECK (pg_catalog.octet_length(name) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(name) OPERATOR(pg_catalog.<=) 63),
	CONSTRAINT rate_limit_kind_check
		CHECK (kind OPERATOR(pg_catalog.=) 'token_bucket' OR kind OPERATOR(pg_catalog.=) 'sliding_window'),
	CONSTRAINT rate_limit_amount_check
		CHECK (amount OPERATOR(pg_catalog.>=) 1e-6 AND amount OPERATOR(pg_catalog.<=) 1e12),
	CONSTRAINT rate_limit_period_check
		CHECK (period OPERATOR(pg_catalog.>=) '1 ms'::interval AND period OPERATOR(pg_catalog.<=) '1000 days'::interval),
	CONSTRAINT rate_limit_burst_check
		CHECK (burst IS NULL OR (burst OPERATOR(pg_catalog.>=) 1e-6 AND burst OPERATOR(pg_catalog.<=) 1e12 AND kind OPERATOR(pg_catalog.=) 'token_bucket')),
	CONSTRAINT rate_limit_busy_sessions_check
		CHECK (busy_sessions OPERATOR(pg_catalog.>=) 1),
	CONSTRAINT rate_limit_min_share_check
		CHECK (min_share OPERATOR(pg_catalog.>=) 0.001 AND min_share OPERATOR(pg_catalog.<=) 1),
	CONSTRAINT rate_limit_costs_check
		CHECK ((cost_key IS NULL) OPERATOR(pg_catalog.=) (costs IS NULL)
			   AND pg_catalog.jsonb_typeof(costs) OPERATOR(pg_catalog.=) 'object'
			   AND NOT pg_catalog.jsonb_path_exists(costs, 'strict $.* ? (@.type() != "number" || @ < 0 || @ > 1000000000000)')),
	CONSTRAINT rate_limit_default_cost_check
		CHECK (default_cost OPERATOR(pg_catalog.>=) 0 AND default_cost OPERATOR(pg_catalog.<=) 1e12)
);
COMMENT ON TABLE gamestate.rate_limit IS 'rate limits by name: how much a player, a game or a key may do';
COMMENT ON COLUMN gamestate.rate_limit.name IS 'what gamestate.policy and allow() refer to';
COMMENT ON COLUMN gamestate.rate_limit.kind IS 'token_bucket: amount flows in each period, evenly, up to burst; sliding_window: at most amount in any period';
COMMENT ON COLUMN gamestate.rate_limit.amount IS 'what calls may cost in a period';
COMMENT ON COLUMN gamestate.rate_limit.burst IS 'of a token bucket: what may be used at once after a pause (default: amount)';
COMMENT ON COLUMN gamestate.rate_limit.busy_sessions IS 'while more sessions of the server are busy than this, the amount shrinks in proportion; NULL = it does not';
COMMENT ON COLUMN gamestate.rate_limit.min_share IS 'the part of the amount that is left at least';
COMMENT ON COLUMN gamestate.rate_limit.cost_key IS 'member of a move''s event that says what kind of move it is; NULL = all cost the same';
COMMENT ON COLUMN gamestate.rate_limit.costs IS 'an object: kind of move, and what it costs';
COMMENT ON COLUMN gamestate.rate_limit.default_cost IS 'what other moves cost';

-- ---------------------------------------------------------------------------
-- Policies of game types
-- ---------------------------------------------------------------------------

-- Which role each function that a policy names runs as.  It does not belong to
-- gamestate_owner, as the policies do: see extension/gs_policy_function.c.
CREATE TABLE gamestate.policy_function (
	game_type text COLLATE pg_catalog."C" NOT NULL,
	function text COLLATE pg_catalog."C" NOT NULL,
	role text NOT NULL,
	PRIMARY KEY (game_type, function)
);
COMMENT ON TABLE gamestate.policy_function IS 'roles that the functions named in gamestate.policy run as: whoever has put the name there';
COMMENT ON COLUMN gamestate.policy_function.game_type IS 'game type of the policy';
COMMENT ON COLUMN gamestate.policy_function.function IS 'qualified name of the function';
COMMENT ON COLUMN gamestate.policy_function.role IS 'name of the role';
REVOKE ALL ON gamestate.policy_function FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gamestate.policy_function', '');

-- Ordinary rows, changed by ordinary SQL.  Sessions remember them, see
-- extension/gs_policy.c: the trigger tells them that there is something new.
CREATE TABLE gamestate.policy (
	game_type text COLLATE pg_catalog."C" PRIMARY KEY,
	durability text,
	history text,
	retention interval,
	retention_action text,
	payload_retention interval,
	compression_level smallint,
	dictionary boolean,
	repack boolean,
	repack_level smallint,
	archive_batch integer,
	archive_priority smallint,
	archive_attempts integer,
	player_rate_limit text COLLATE pg_catalog."C" REFERENCES gamestate.rate_limit,
	game_rate_limit text COLLATE pg_catalog."C" REFERENCES gamestate.rate_limit,
	player_stats boolean,
	stats_rule text COLLATE pg_catalog."C",
	freeze_after interval,
	leaderboards text[],
	archive_hook text COLLATE pg_catalog."C",
	hook_failure text,
	resume_on_move boolean,
	archive_delay interval,
	inactivity_limit interval,
	inactivity_action text,
	suspend_on_pressure boolean,
	suspended_after interval,
	partition_interval text,
	make_ahead smallint,
	old_tablespace name,
	old_tablespace_after interval,
	absence_action text,
	absence_after interval,
	max_state_size integer,
	max_event_size integer,
	max_log integer,
	CONSTRAINT policy_game_type_check
		CHECK (pg_catalog.octet_length(game_type) OPERATOR(pg_catalog.<=) 63),
	CONSTRAINT policy_durability_check
		CHECK (durability OPERATOR(pg_catalog.=) 'journal' OR durability OPERATOR(pg_catalog.=) 'memory'),
	CONSTRAINT policy_history_check
		CHECK (history OPERATOR(pg_catalog.~) '^(full|events|last ([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))$'),
	CONSTRAINT policy_retention_check
		CHECK (retention OPERATOR(pg_catalog.>=) '0'::interval),
	CONSTRAINT policy_retention_action_check
		CHECK (retention_action OPERATOR(pg_catalog.=) 'drop' OR retention_action OPERATOR(pg_catalog.=) 'detach'),
	CONSTRAINT policy_payload_retention_check
		CHECK (payload_retention OPERATOR(pg_catalog.>=) '0'::interval),
	CONSTRAINT policy_compression_level_check
		CHECK (compression_level OPERATOR(pg_catalog.>=) 1 AND compression_level OPERATOR(pg_catalog.<=) 19),
	CONSTRAINT policy_archive_delay_check
		CHECK (archive_delay OPERATOR(pg_catalog.>=) '0'::interval),
	CONSTRAINT policy_inactivity_limit_check
		CHECK (inactivity_limit OPERATOR(pg_catalog.>=) '1 s'::interval),
	CONSTRAINT policy_inactivity_action_check
		CHECK (inactivity_action OPERATOR(pg_catalog.=) 'report' OR inactivity_action OPERATOR(pg_catalog.=) 'suspend'
			OR inactivity_action OPERATOR(pg_catalog.=) 'abandon'),
	CONSTRAINT policy_suspended_after_check
		CHECK (suspended_after OPERATOR(pg_catalog.>=) '0'::interval),
	CONSTRAINT policy_repack_level_check
		CHECK (repack_level OPERATOR(pg_catalog.>=) 1 AND repack_level OPERATOR(pg_catalog.<=) 19),
	CONSTRAINT policy_absence_action_check
		CHECK (absence_action OPERATOR(pg_catalog.=) 'nothing' OR absence_action OPERATOR(pg_catalog.=) 'notify'
			   OR absence_action OPERATOR(pg_catalog.=) 'abandon' OR absence_action OPERATOR(pg_catalog.=) 'abandon_empty'),
	CONSTRAINT policy_absence_after_check
		CHECK (absence_after OPERATOR(pg_catalog.>=) '0'::interval AND absence_after OPERATOR(pg_catalog.<=) '1000 days'::interval),
	CONSTRAINT policy_archive_batch_check
		CHECK (archive_batch OPERATOR(pg_catalog.>=) 1 AND archive_batch OPERATOR(pg_catalog.<=) 2000),
	CONSTRAINT policy_archive_priority_check
		CHECK (archive_priority OPERATOR(pg_catalog.>=) -9 AND archive_priority OPERATOR(pg_catalog.<=) 9),
	CONSTRAINT policy_archive_attempts_check
		CHECK (archive_attempts OPERATOR(pg_catalog.>=) 0),
	CONSTRAINT policy_limits_check
		CHECK (max_state_size OPERATOR(pg_catalog.>) 0 AND max_event_size OPERATOR(pg_catalog.>) 0
			   AND max_log OPERATOR(pg_catalog.>) 0),
	CONSTRAINT policy_partition_interval_check
		CHECK (partition_interval OPERATOR(pg_catalog.=) ANY ('{hour,day,week,month}'::text[])),
	CONSTRAINT policy_make_ahead_check
		CHECK (make_ahead OPERATOR(pg_catalog.>=) 0 AND make_ahead OPERATOR(pg_catalog.<=) 100),
	CONSTRAINT policy_old_tablespace_after_check
		CHECK (old_tablespace_after OPERATOR(pg_catalog.>=) '0'::interval),
	CONSTRAINT policy_freeze_after_check
		CHECK (freeze_after OPERATOR(pg_catalog.>=) '0'::interval),
	CONSTRAINT policy_leaderboards_check
		CHECK (pg_catalog.cardinality(leaderboards) OPERATOR(pg_catalog.<=) 16
			   AND pg_catalog.array_position(leaderboards, NULL) IS NULL
			   AND pg_catalog.array_position(leaderboards, '') IS NULL),
	CONSTRAINT policy_hook_failure_check
		CHECK (hook_failure OPERATOR(pg_catalog.=) 'block' OR hook_failure OPERATOR(pg_catalog.=) 'skip'),
	-- so that no row names a function that no role has been bound to, and that
	-- pg_dump restores the roles first
	CONSTRAINT policy_stats_rule_fkey FOREIGN KEY (game_type, stats_rule)
		REFERENCES gamestate.policy_function,
	CONSTRAINT policy_archive_hook_fkey FOREIGN KEY (game_type, archive_hook)
		REFERENCES gamestate.policy_function
);
COMMENT ON TABLE gamestate.policy IS 'what holds for the games of a type; what is NULL, and types without a row, follow the row of the empty type, then the settings';
COMMENT ON COLUMN gamestate.policy.game_type IS 'game type; empty = the default of all types';
COMMENT ON COLUMN gamestate.policy.history IS 'of games created from now on: full (every state can be had, see state_at), events (first and last state, and the events), or last N (the last N changes and their states, older ones are forgotten; 1 to 65535); full if nothing is said';
COMMENT ON COLUMN gamestate.policy.durability IS 'of games created from now on: journal, or memory (faster, lost when the server stops or crashes)';
COMMENT ON COLUMN gamestate.policy.retention IS 'how long after its end a partition of the archive is kept; NULL = for ever';
COMMENT ON COLUMN gamestate.policy.retention_action IS 'what becomes of a partition then: drop (default), or detach: it stays as a table of its own';
COMMENT ON COLUMN gamestate.policy.payload_retention IS 'the same for the payloads (states and logs), if that is shorter';
COMMENT ON COLUMN gamestate.policy.compression_level IS 'zstd level of games archived from now on, 1 to 19; higher is smaller and slower';
COMMENT ON COLUMN gamestate.policy.dictionary IS 'compress with dictionaries trained from the type''s own games (default true)';
COMMENT ON COLUMN gamestate.policy.repack IS 'rewrite partitions whose period is over, smaller, in idle time (default false)';
COMMENT ON COLUMN gamestate.policy.repack_level IS 'zstd level of that, 1 to 19 (default 19)';
COMMENT ON COLUMN gamestate.policy.archive_batch IS 'at most so many games are archived in one transaction';
COMMENT ON COLUMN gamestate.policy.archive_priority IS '-9 to 9: games of a higher one are archived first, within one the oldest finish first (default 0)';
COMMENT ON COLUMN gamestate.policy.archive_attempts IS 'so often a game may fail while others are archived, then it goes to gamestate.dead_letter (default 8; 0 = never)';
COMMENT ON COLUMN gamestate.policy.player_rate_limit IS 'rate limit of the moves of each player';
COMMENT ON COLUMN gamestate.policy.game_rate_limit IS 'rate limit of the moves of each game';
COMMENT ON COLUMN gamestate.policy.player_stats IS 'count archived games in gamestate.player_stats (default true)';
COMMENT ON COLUMN gamestate.policy.stats_rule IS 'function (game_type text, players text[], result json) that says what a result means for its players, as a table (player text, outcome text, counters jsonb); NULL = gamestate.default_stats_rule';
COMMENT ON COLUMN gamestate.policy.freeze_after IS 'how long after its end a partition of payloads is frozen: written to a file below gamestate.cold_directory; NULL = never';
COMMENT ON COLUMN gamestate.policy.leaderboards IS 'metrics whose ranking is kept, so that gamestate.leaderboard() answers at once: games, wins, losses, draws or names of counters';
COMMENT ON COLUMN gamestate.policy.archive_hook IS 'function (gamestate.archive[]) that is called with the rows of each batch, in its transaction, as the role that has set this';
COMMENT ON COLUMN gamestate.policy.hook_failure IS 'when archive_hook or stats_rule fails: block (default; the games wait and are tried again) or skip (a row of gamestate.hook_error)';
COMMENT ON COLUMN gamestate.policy.resume_on_move IS 'a move on a suspended game resumes it (default false: it is refused)';
COMMENT ON COLUMN gamestate.policy.archive_delay IS 'how long a game that is over stays live before it is archived; earlier when memory is short';
COMMENT ON COLUMN gamestate.policy.inactivity_limit IS 'a game that nobody has changed for so long is inactive; NULL = none ever is';
COMMENT ON COLUMN gamestate.policy.inactivity_action IS 'what becomes of it then: report (default: a notice of the change feed), suspend or abandon';
COMMENT ON COLUMN gamestate.policy.suspend_on_pressure IS 'games may be suspended when memory is short, least recently changed first (default false)';
COMMENT ON COLUMN gamestate.policy.suspended_after IS 'a game that has been suspended for so long is abandoned; NULL = never';
COMMENT ON COLUMN gamestate.policy.partition_interval IS 'period of a partition that is made from now on: hour, day (default), week (from Monday) or month, in UTC';
COMMENT ON COLUMN gamestate.policy.make_ahead IS 'how many periods ahead partitions are made; 0 = not before the first game needs one';
COMMENT ON COLUMN gamestate.policy.max_state_size IS 'largest state, in bytes; gamestate.max_state_size holds besides';
COMMENT ON COLUMN gamestate.policy.max_event_size IS 'largest event, in bytes; gamestate.max_event_size holds besides';
COMMENT ON COLUMN gamestate.policy.max_log IS 'changes of a game; gamestate.max_log holds besides; not of history last N';
COMMENT ON COLUMN gamestate.policy.old_tablespace IS 'tablespace that old partitions are moved to, if old_tablespace_after is set too';
COMMENT ON COLUMN gamestate.policy.old_tablespace_after IS 'how long after its end a partition is moved there';
COMMENT ON COLUMN gamestate.policy.absence_action IS 'what happens when a player has been disconnected for absence_after: nothing (default); notify: a notice of kind absent; abandon: the game is abandoned; abandon_empty: it is, if no other player is connected';
COMMENT ON COLUMN gamestate.policy.absence_after IS 'how long, of players who connect from now on (default 1 minute)';

CREATE FUNCTION gamestate.policy_changed()
RETURNS trigger
AS 'MODULE_PATHNAME', 'gs_policy_changed' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.policy_changed() IS 'internal: lets all sessions read gamestate.policy or gamestate.rate_limit again, and wakes the workers';

CREATE TRIGGER policy_changed
	AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gamestate.policy
	FOR EACH STATEMENT EXECUTE FUNCTION gamestate.policy_changed();
-- on a logical subscriber too
ALTER TABLE gamestate.policy ENABLE ALWAYS TRIGGER policy_changed;

CREATE TRIGGER policy_changed
	AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gamestate.rate_limit
	FOR EACH STATEMENT EXECUTE FUNCTION gamestate.policy_changed();
ALTER TABLE gamestate.rate_limit ENABLE ALWAYS TRIGGER policy_changed;

ALTER TABLE gamestate.rate_limit OWNER TO gamestate_owner;
SELECT pg_catalog.pg_extension_config_dump('gamestate.rate_limit', '');
CREATE FUNCTION gamestate.policy_bind()
RETURNS trigger
AS 'MODULE_PATHNAME', 'gs_policy_bind' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.policy_bind() IS 'internal: binds functions named in gamestate.policy to the role that names them';
CREATE FUNCTION gamestate.policy_tidy()
RETURNS trigger
AS 'MODULE_PATHNAME', 'gs_policy_tidy' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.policy_tidy() IS 'internal: forgets functions that gamestate.policy does not name any more';
CREATE TRIGGER policy_bind BEFORE INSERT OR UPDATE ON gamestate.policy
	FOR EACH ROW EXECUTE FUNCTION gamestate.policy_bind();
CREATE TRIGGER policy_tidy AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gamestate.policy
	FOR EACH STATEMENT EXECUTE FUNCTION gamestate.policy_tidy();

ALTER TABLE gamestate.policy OWNER TO gamestate_owner;
SELECT pg_catalog.pg_extension_config_dump('gamestate.policy', '');

-- ---------------------------------------------------------------------------
-- Live games for pg_dump
-- ---------------------------------------------------------------------------

-- Written and read by C code, see extension/gs_save.h.  Rows are at most a page
-- long where that is possible: most images then need no TOAST table.
CREATE TABLE gamestate.saved_games (
	game_id uuid PRIMARY KEY,
	game_type text NOT NULL,
	status text NOT NULL,
	version bigint NOT NULL,
	durability text NOT NULL,
	saved_at timestamptz NOT NULL,
	saved_by xid NOT NULL,
	database_encoding text NOT NULL,
	format smallint NOT NULL,
	checksum bigint NOT NULL,
	image bytea NOT NULL,
	CONSTRAINT saved_games_durability_check
		CHECK (durability OPERATOR(pg_catalog.=) 'journal' OR durability OPERATOR(pg_catalog.=) 'memory')
) WITH (toast_tuple_target = 8160);
-- A dump is compressed as a whole: pglz would only cost time.
ALTER TABLE gamestate.saved_games ALTER COLUMN image SET STORAGE EXTERNAL;
COMMENT ON TABLE gamestate.saved_games IS 'live games as gamestate.save_live_games() left them, for pg_dump; gamestate.load_saved_games() brings them back';
COMMENT ON COLUMN gamestate.saved_games.game_type IS 'for people: what is loaded is the image';
COMMENT ON COLUMN gamestate.saved_games.status IS 'for people: what is loaded is the image';
COMMENT ON COLUMN gamestate.saved_games.version IS 'for people: what is loaded is the image';
COMMENT ON COLUMN gamestate.saved_games.durability IS 'journal or memory: the game will have it again';
COMMENT ON COLUMN gamestate.saved_games.saved_by IS 'transaction that saved the game; in a restored row not the one that inserted it';
COMMENT ON COLUMN gamestate.saved_games.database_encoding IS 'encoding of the texts in the image';
COMMENT ON COLUMN gamestate.saved_games.format IS 'format of the row, see extension/gs_save.h; formats stay readable for ever';
COMMENT ON COLUMN gamestate.saved_games.checksum IS 'CRC-32C of game_id and image';
COMMENT ON COLUMN gamestate.saved_games.image IS 'the whole game: state, initial state, log and the rest';

ALTER TABLE gamestate.saved_games OWNER TO gamestate_owner;
SELECT pg_catalog.pg_extension_config_dump('gamestate.saved_games', '');

CREATE FUNCTION gamestate.save_live_games()
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_save_live_games' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.save_live_games()
IS 'write all live games, as of one moment, to gamestate.saved_games, in place of those of an earlier call; returns their number';

CREATE FUNCTION gamestate.load_saved_games(skip_existing boolean DEFAULT false)
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_load_saved_games' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.load_saved_games(boolean)
IS 'after a restore: create the games of gamestate.saved_games as they were, and empty it; returns their number. A game that exists already is an error, or with skip_existing left out';

-- ---------------------------------------------------------------------------
-- Suspended games
-- ---------------------------------------------------------------------------

-- Written and read by C code, see extension/gs_suspended.c.  Columns may be added
-- at the end.
CREATE TABLE gamestate.suspended (
	game_id uuid PRIMARY KEY,
	game_type text COLLATE pg_catalog."C" NOT NULL,
	status text NOT NULL,
	encoding text NOT NULL,
	durability text NOT NULL,
	players text[] NOT NULL,
	max_players integer,
	room_code text,
	metadata json,
	version bigint NOT NULL,
	moves bigint NOT NULL,
	created_at timestamptz NOT NULL,
	started_at timestamptz,
	updated_at timestamptz NOT NULL,
	deadline timestamptz,
	suspended_at timestamptz NOT NULL,
	reason text NOT NULL,
	create_request uuid,
	create_arguments bigint,
	format smallint NOT NULL,
	raw_size integer NOT NULL,
	checksum bigint NOT NULL,
	payload bytea NOT NULL,
	CONSTRAINT suspended_status_check
		CHECK (status OPERATOR(pg_catalog.=) 'waiting' OR status OPERATOR(pg_catalog.=) 'active'),
	CONSTRAINT suspended_encoding_check
		CHECK (encoding OPERATOR(pg_catalog.=) 'json' OR encoding OPERATOR(pg_catalog.=) 'bytes'),
	CONSTRAINT suspended_durability_check
		CHECK (durability OPERATOR(pg_catalog.=) 'journal' OR durability OPERATOR(pg_catalog.=) 'memory')
);
CREATE INDEX suspended_suspended_at ON gamestate.suspended (suspended_at);
CREATE INDEX suspended_players ON gamestate.suspended USING gin (players);
-- zstd has been there already.
ALTER TABLE gamestate.suspended ALTER COLUMN payload SET STORAGE EXTERNAL;
COMMENT ON TABLE gamestate.suspended IS 'suspended games, a row a game; gamestate.resume_game() brings one back';
COMMENT ON COLUMN gamestate.suspended.status IS 'waiting or active: what the game will be again';
COMMENT ON COLUMN gamestate.suspended.durability IS 'journal or memory: the game will have it again';
COMMENT ON COLUMN gamestate.suspended.room_code IS 'the one it had, and gets back if it is still free; others can take it';
COMMENT ON COLUMN gamestate.suspended.version IS 'number of changes, the suspension included';
COMMENT ON COLUMN gamestate.suspended.moves IS 'number of changes of kind move';
COMMENT ON COLUMN gamestate.suspended.reason IS 'request (suspend_game() was called), inactivity or memory';
COMMENT ON COLUMN gamestate.suspended.create_request IS 'request id of the creation; NULL = none';
COMMENT ON COLUMN gamestate.suspended.create_arguments IS 'checksum of its arguments, see extension/gs_request.c';
COMMENT ON COLUMN gamestate.suspended.format IS 'format of the payload, see extension/gs_payload.h; formats stay readable for ever';
COMMENT ON COLUMN gamestate.suspended.raw_size IS 'bytes before compression';
COMMENT ON COLUMN gamestate.suspended.checksum IS 'CRC-32C of the bytes before compression';
COMMENT ON COLUMN gamestate.suspended.payload IS 'initial state, state and log, one zstd frame';

ALTER TABLE gamestate.suspended OWNER TO gamestate_owner;
SELECT pg_catalog.pg_extension_config_dump('gamestate.suspended', '');

-- ---------------------------------------------------------------------------
-- Request ids of deleted games
-- ---------------------------------------------------------------------------

-- Written and read by C code, see extension/gs_deleted.c.  Most databases have
-- next to nothing in it.
CREATE TABLE gamestate.deleted_games (
	game_id uuid NOT NULL,
	deleted_at timestamptz NOT NULL,
	request_id uuid,
	arguments bigint,
	create_request uuid,
	create_arguments bigint,
	PRIMARY KEY (game_id, deleted_at)
);
CREATE INDEX deleted_games_deleted_at ON gamestate.deleted_games (deleted_at);
COMMENT ON TABLE gamestate.deleted_games IS 'games that were created or deleted with a request id, and are deleted: so that a retry is recognised; kept for gamestate.deleted_retention';
COMMENT ON COLUMN gamestate.deleted_games.request_id IS 'request id of the deletion; NULL = none';
COMMENT ON COLUMN gamestate.deleted_games.arguments IS 'checksum of its arguments, see extension/gs_request.c';
COMMENT ON COLUMN gamestate.deleted_games.create_request IS 'request id of the creation; NULL = none';
COMMENT ON COLUMN gamestate.deleted_games.create_arguments IS 'checksum of its arguments';

ALTER TABLE gamestate.deleted_games OWNER TO gamestate_owner;
SELECT pg_catalog.pg_extension_config_dump('gamestate.deleted_games', '');

-- ---------------------------------------------------------------------------
-- Types
-- ---------------------------------------------------------------------------

CREATE TYPE gamestate.game AS (
	game_id uuid,
	game_type text,
	status text,
	tier text,
	version bigint,
	encoding text,
	state json,
	state_bytes bytea,
	players text[],
	max_players integer,
	room_code text,
	metadata json,
	result json,
	moves bigint,
	deadline timestamptz,
	created_at timestamptz,
	started_at timestamptz,
	updated_at timestamptz,
	ended_at timestamptz
);
COMMENT ON TYPE gamestate.game IS 'a game: everything but its log';
COMMENT ON COLUMN gamestate.game.status IS 'waiting, active, finished or abandoned';
COMMENT ON COLUMN gamestate.game.tier IS 'where the game is now: live, suspended, dead_letter or archived';
COMMENT ON COLUMN gamestate.game.version IS 'number of changes, the creation included: starts at 1, grows by 1';
COMMENT ON COLUMN gamestate.game.encoding IS 'json or bytes, fixed at creation; says which of state and state_bytes is set';
COMMENT ON COLUMN gamestate.game.max_players IS 'seats; NULL = up to gamestate.max_players';
COMMENT ON COLUMN gamestate.game.room_code IS 'room code; of a game that is over, the one it last had';
COMMENT ON COLUMN gamestate.game.moves IS 'number of changes of kind move';
COMMENT ON COLUMN gamestate.game.deadline IS 'when it passes the game gets a change of kind deadline; NULL = none';

CREATE TYPE gamestate.change AS (
	game_id uuid,
	version bigint,
	kind text,
	player text,
	at timestamptz,
	request_id uuid,
	event json,
	event_bytes bytea,
	patch json,
	state json,
	state_bytes bytea
);
COMMENT ON TYPE gamestate.change IS 'one change of a game, that is one entry of its log';
COMMENT ON COLUMN gamestate.change.version IS 'the version that the change led to';
COMMENT ON COLUMN gamestate.change.kind IS 'create, move, metadata, room_code, start, join, leave, finish, abandon, restore, suspended, resumed, set_deadline, deadline (it has passed), anonymise; snapshot = the whole state as of that version';
COMMENT ON COLUMN gamestate.change.at IS 'time of the server when the change was made';
COMMENT ON COLUMN gamestate.change.event IS 'the move; of other kinds what was set: the metadata, the room code, the result; why it was suspended; the room code it has resumed with';
COMMENT ON COLUMN gamestate.change.patch IS 'RFC 7396 merge patch from the state before, if the history has it and the state changed';
COMMENT ON COLUMN gamestate.change.state IS 'the state as of that version: of a snapshot, of the creation, and where a patch cannot say what changed';

-- ---------------------------------------------------------------------------
-- Functions that write
-- ---------------------------------------------------------------------------

CREATE FUNCTION gamestate.create_game(
	game_type text,
	state json DEFAULT '{}',
	players text[] DEFAULT '{}',
	room_code text DEFAULT NULL,
	metadata json DEFAULT '{}',
	game_id uuid DEFAULT NULL,
	status text DEFAULT 'active',
	max_players integer DEFAULT NULL,
	request_id uuid DEFAULT NULL)
RETURNS uuid
AS 'MODULE_PATHNAME', 'gs_create_game' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.create_game(text, json, text[], text, json, uuid, text, integer, uuid)
IS 'create a live game at version 1 and return its id';

CREATE FUNCTION gamestate.create_game_bytes(
	game_type text,
	state bytea DEFAULT '',
	players text[] DEFAULT '{}',
	room_code text DEFAULT NULL,
	metadata json DEFAULT '{}',
	game_id uuid DEFAULT NULL,
	status text DEFAULT 'active',
	max_players integer DEFAULT NULL,
	request_id uuid DEFAULT NULL)
RETURNS uuid
AS 'MODULE_PATHNAME', 'gs_create_game_bytes' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.create_game_bytes(text, bytea, text[], text, json, uuid, text, integer, uuid)
IS 'create a live game whose state and events are bytes, and return its id';

CREATE FUNCTION gamestate.apply_move(
	game_id uuid,
	expected_version bigint,
	event json,
	state json,
	player text DEFAULT NULL,
	deadline timestamptz DEFAULT NULL,
	lease bigint DEFAULT NULL,
	request_id uuid DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_apply_move' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.apply_move(uuid, bigint, json, json, text, timestamptz, bigint, uuid)
IS 'one atomic move: check the version (NULL = no check), append the event, set the state and the deadline (NULL = unchanged; infinity = none); returns the new version';

CREATE FUNCTION gamestate.apply_move_bytes(
	game_id uuid,
	expected_version bigint,
	event bytea,
	state bytea,
	player text DEFAULT NULL,
	deadline timestamptz DEFAULT NULL,
	lease bigint DEFAULT NULL,
	request_id uuid DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_apply_move_bytes' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.apply_move_bytes(uuid, bigint, bytea, bytea, text, timestamptz, bigint, uuid)
IS 'apply_move for a game whose encoding is bytes';

CREATE FUNCTION gamestate.apply_patch(
	game_id uuid,
	expected_version bigint,
	event json,
	patch json,
	player text DEFAULT NULL,
	deadline timestamptz DEFAULT NULL,
	lease bigint DEFAULT NULL,
	request_id uuid DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_apply_patch' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.apply_patch(uuid, bigint, json, json, text, timestamptz, bigint, uuid)
IS 'apply_move with what changes of the state as a merge patch (RFC 7396); what the patch does not name stays to the letter';

CREATE FUNCTION gamestate.apply_moves(
	game_ids uuid[],
	expected_versions bigint[],
	events json[],
	states json[],
	players text[] DEFAULT NULL,
	all_or_nothing boolean DEFAULT false,
	deadlines timestamptz[] DEFAULT NULL,
	leases bigint[] DEFAULT NULL,
	request_ids uuid[] DEFAULT NULL)
RETURNS TABLE (
	ord integer,
	game_id uuid,
	version bigint,
	sqlstate text,
	message text)
AS 'MODULE_PATHNAME', 'gs_apply_moves' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 32;
COMMENT ON FUNCTION gamestate.apply_moves(uuid[], bigint[], json[], json[], text[], boolean, timestamptz[], bigint[], uuid[])
IS 'many moves in one call, in the order of the arrays: a row for each, with the new version or why it was refused; with all_or_nothing the first refusal is an error';

CREATE FUNCTION gamestate.apply_moves_bytes(
	game_ids uuid[],
	expected_versions bigint[],
	events bytea[],
	states bytea[],
	players text[] DEFAULT NULL,
	all_or_nothing boolean DEFAULT false,
	deadlines timestamptz[] DEFAULT NULL,
	leases bigint[] DEFAULT NULL,
	request_ids uuid[] DEFAULT NULL)
RETURNS TABLE (
	ord integer,
	game_id uuid,
	version bigint,
	sqlstate text,
	message text)
AS 'MODULE_PATHNAME', 'gs_apply_moves_bytes' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 32;
COMMENT ON FUNCTION gamestate.apply_moves_bytes(uuid[], bigint[], bytea[], bytea[], text[], boolean, timestamptz[], bigint[], uuid[])
IS 'apply_moves for games whose encoding is bytes';

CREATE FUNCTION gamestate.set_metadata(
	game_id uuid,
	metadata json,
	expected_version bigint DEFAULT NULL,
	request_id uuid DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_set_metadata' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.set_metadata(uuid, json, bigint, uuid)
IS 'replace a game''s metadata; returns the new version';

CREATE FUNCTION gamestate.set_room_code(
	game_id uuid,
	room_code text,
	expected_version bigint DEFAULT NULL,
	request_id uuid DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_set_room_code' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.set_room_code(uuid, text, bigint, uuid)
IS 'take a room code, or give it up (NULL); returns the new version';

CREATE FUNCTION gamestate.set_deadline(
	game_id uuid,
	at timestamptz,
	expected_version bigint DEFAULT NULL,
	request_id uuid DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_set_deadline' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.set_deadline(uuid, timestamptz, bigint, uuid)
IS 'when this time has passed the game gets a change of kind deadline, once; NULL (or infinity) takes the deadline back; returns the new version';

CREATE FUNCTION gamestate.start_game(
	game_id uuid,
	expected_version bigint DEFAULT NULL,
	request_id uuid DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_start_game' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.start_game(uuid, bigint, uuid)
IS 'a waiting game becomes active; returns the new version';

CREATE FUNCTION gamestate.join_game(
	game_id uuid,
	player text,
	expected_version bigint DEFAULT NULL,
	request_id uuid DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_join_game' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.join_game(uuid, text, bigint, uuid)
IS 'a player takes a seat; one who sits already changes nothing; returns the version';

CREATE FUNCTION gamestate.join_any(
	game_type text,
	player text,
	state json DEFAULT '{}',
	max_players integer DEFAULT NULL,
	metadata json DEFAULT '{}',
	request_id uuid DEFAULT NULL,
	OUT game_id uuid,
	OUT version bigint,
	OUT created boolean)
AS 'MODULE_PATHNAME', 'gs_join_any' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.join_any(text, text, json, integer, json, uuid)
IS 'quick match: a seat in the room of this type (and number of seats) that has been open longest, or in a new one; who waits in such a room already stays there';

CREATE FUNCTION gamestate.join_any_bytes(
	game_type text,
	player text,
	state bytea DEFAULT '',
	max_players integer DEFAULT NULL,
	metadata json DEFAULT '{}',
	request_id uuid DEFAULT NULL,
	OUT game_id uuid,
	OUT version bigint,
	OUT created boolean)
AS 'MODULE_PATHNAME', 'gs_join_any_bytes' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.join_any_bytes(text, text, bytea, integer, json, uuid)
IS 'join_any for games whose encoding is bytes';

CREATE FUNCTION gamestate.leave_game(
	game_id uuid,
	player text,
	expected_version bigint DEFAULT NULL,
	request_id uuid DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_leave_game' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.leave_game(uuid, text, bigint, uuid)
IS 'a player gives up the seat; returns the new version';

CREATE FUNCTION gamestate.restore_game(
	game_id uuid,
	version bigint,
	expected_version bigint DEFAULT NULL,
	request_id uuid DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_restore_game' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.restore_game(uuid, bigint, bigint, uuid)
IS 'make the state of an earlier version the current one, as a new version; returns that';

CREATE FUNCTION gamestate.finish_game(
	game_id uuid,
	result json DEFAULT NULL,
	expected_version bigint DEFAULT NULL,
	status text DEFAULT 'finished',
	lease bigint DEFAULT NULL,
	request_id uuid DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_finish_game' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.finish_game(uuid, json, bigint, text, bigint, uuid)
IS 'end a game (finished or abandoned), free its room code, queue it for the archive; returns the new version';

CREATE FUNCTION gamestate.suspend_game(
	game_id uuid,
	expected_version bigint DEFAULT NULL,
	request_id uuid DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_suspend_game' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.suspend_game(uuid, bigint, uuid)
IS 'put a game that goes on away, from memory to gamestate.suspended, and free its room code; returns the new version';

CREATE FUNCTION gamestate.resume_game(
	game_id uuid,
	expected_version bigint DEFAULT NULL,
	request_id uuid DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_resume_game' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.resume_game(uuid, bigint, uuid)
IS 'bring a suspended game back to life, with its room code if that is still free; returns the new version';

CREATE FUNCTION gamestate.delete_game(
	game_id uuid,
	expected_version bigint DEFAULT NULL,
	request_id uuid DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'gs_delete_game' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.delete_game(uuid, bigint, uuid)
IS 'remove a live or suspended game without archiving it; false if there was none';

-- Presence is no part of a transaction.  A token is 128 random bits: any uuid may be one.
CREATE FUNCTION gamestate.connect_player(
	game_id uuid,
	player text,
	ttl interval DEFAULT '30 s')
RETURNS uuid
AS 'MODULE_PATHNAME', 'gs_connect_player' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.connect_player(uuid, text, interval)
IS 'a player of a game is connected, until ttl has passed without a heartbeat; returns a token, which makes the one that he had void';

CREATE FUNCTION gamestate.heartbeat(token uuid)
RETURNS boolean
AS 'MODULE_PATHNAME', 'gs_heartbeat' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.heartbeat(uuid)
IS 'a connected player is still there; false: he does not count as connected any more';

CREATE FUNCTION gamestate.disconnect_player(token uuid)
RETURNS boolean
AS 'MODULE_PATHNAME', 'gs_disconnect_player' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.disconnect_player(uuid)
IS 'a player is gone; false: he was not connected';

CREATE FUNCTION gamestate.renew_connection(
	token uuid,
	OUT new_token uuid,
	OUT game_id uuid,
	OUT player text)
AS 'MODULE_PATHNAME', 'gs_renew_connection' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.renew_connection(uuid)
IS 'the player is connected again, by a new token in place of this one; NULL: the token is void';

-- The changes are those up to the game's version: game and changes fit.
CREATE FUNCTION gamestate.reconnect(
	token uuid,
	after_version bigint DEFAULT 0)
RETURNS TABLE (
	new_token uuid,
	player text,
	game gamestate.game,
	change gamestate.change)
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
WITH valid AS MATERIALIZED (
	-- before the token is given up: an error here leaves it as it is
	SELECT pg_catalog.count(*) AS n FROM gamestate.get_changes(NULL, $2)
), connection AS MATERIALIZED (
	SELECT c.* FROM valid, LATERAL gamestate.renew_connection(CASE WHEN valid.n = 0 THEN $1 END) c WHERE c.game_id IS NOT NULL
), found AS MATERIALIZED (
	SELECT c.new_token, c.player, g.game_id, g.version, g AS game
	  FROM connection c, LATERAL gamestate.get_game(c.game_id) g
)
SELECT new_token, player, game, NULL::gamestate.change FROM found
UNION ALL
SELECT NULL, NULL, NULL, c FROM found f, LATERAL gamestate.get_changes(f.game_id, $2) c WHERE c.version <= f.version
$$;
COMMENT ON FUNCTION gamestate.reconnect(uuid, bigint)
IS 'renew_connection, and what the player has missed: a row with the new token and the game, then one for each change after a version; no row: the token is void';

CREATE FUNCTION gamestate.allow(
	key text,
	cost double precision,
	policy text,
	OUT allowed boolean,
	OUT wait_ms bigint,
	OUT remaining double precision)
AS 'MODULE_PATHNAME', 'gs_allow' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.allow(text, double precision, text)
IS 'count what something costs against a rate limit: whether it is allowed, else how long to wait (NULL = it costs more than is ever allowed), and how much remains';

-- ---------------------------------------------------------------------------
-- Leases
-- ---------------------------------------------------------------------------

-- The upper part of leases' numbers, a new one after each start, see
-- extension/gs_lease.c.
CREATE SEQUENCE gamestate.lease_epoch;
COMMENT ON SEQUENCE gamestate.lease_epoch IS 'numbers of leases begin with this; one value for each start of the server';
ALTER SEQUENCE gamestate.lease_epoch OWNER TO gamestate_owner;
SELECT pg_catalog.pg_extension_config_dump('gamestate.lease_epoch', '');

CREATE FUNCTION gamestate.claim_games(
	owner text,
	game_type text DEFAULT NULL,
	max_games integer DEFAULT 100,
	ttl interval DEFAULT '30 s',
	game_ids uuid[] DEFAULT NULL,
	with_session boolean DEFAULT true)
RETURNS TABLE (game_id uuid, lease bigint, version bigint, expires_at timestamptz)
AS 'MODULE_PATHNAME', 'gs_claim_games' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION gamestate.claim_games(text, text, integer, interval, uuid[], boolean)
IS 'take running games that nobody runs, of a type, or among those named, until ttl is over or, unless with_session is false, this session ends; a row for each with the number of its lease';

CREATE FUNCTION gamestate.renew_lease(owner text, ttl interval DEFAULT '30 s')
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_renew_lease' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.renew_lease(text, interval)
IS 'all leases of an owner end so much later from now; returns how many it has';

CREATE FUNCTION gamestate.release_games(owner text, game_ids uuid[] DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_release_games' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.release_games(text, uuid[])
IS 'an owner gives up these games, or all of its own; returns how many';

CREATE FUNCTION gamestate.list_leases(owner text DEFAULT NULL)
RETURNS TABLE (game_id uuid, lease bigint, owner_name text, pid integer, expires_at timestamptz)
AS 'MODULE_PATHNAME', 'gs_list_leases' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 1000;
COMMENT ON FUNCTION gamestate.list_leases(text)
IS 'which owner runs which game, and until when; pid: the session that the lease ends with';

-- ---------------------------------------------------------------------------
-- Functions that read
-- ---------------------------------------------------------------------------

CREATE FUNCTION gamestate.get_game(game_id uuid)
RETURNS gamestate.game
AS 'MODULE_PATHNAME', 'gs_get_game' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.get_game(uuid)
IS 'everything about a game, live, suspended or archived, but its log; NULL if there is none';

CREATE FUNCTION gamestate.get_state(game_id uuid)
RETURNS json
AS 'MODULE_PATHNAME', 'gs_get_state' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.get_state(uuid)
IS 'a game''s state to the letter; NULL if there is no such game';

CREATE FUNCTION gamestate.get_state_bytes(game_id uuid)
RETURNS bytea
AS 'MODULE_PATHNAME', 'gs_get_state_bytes' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.get_state_bytes(uuid)
IS 'get_state for a game whose encoding is bytes';

CREATE FUNCTION gamestate.get_state_if_newer(game_id uuid, version bigint)
RETURNS json
AS 'MODULE_PATHNAME', 'gs_get_state_if_newer' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.get_state_if_newer(uuid, bigint)
IS 'a game''s state if the game is beyond this version; else, or if there is no such game, NULL';

CREATE FUNCTION gamestate.get_state_if_newer_bytes(game_id uuid, version bigint)
RETURNS bytea
AS 'MODULE_PATHNAME', 'gs_get_state_if_newer_bytes' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.get_state_if_newer_bytes(uuid, bigint)
IS 'get_state_if_newer for a game whose encoding is bytes';

CREATE FUNCTION gamestate.get_states(game_ids uuid[])
RETURNS TABLE (game_id uuid, version bigint, state json)
AS 'MODULE_PATHNAME', 'gs_get_states' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 32;
COMMENT ON FUNCTION gamestate.get_states(uuid[])
IS 'version and state of many games, in the order of the array, as of one moment: a commit of several games is seen whole or not at all; no row for what does not exist';

CREATE FUNCTION gamestate.get_states_bytes(game_ids uuid[])
RETURNS TABLE (game_id uuid, version bigint, state bytea)
AS 'MODULE_PATHNAME', 'gs_get_states_bytes' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 32;
COMMENT ON FUNCTION gamestate.get_states_bytes(uuid[])
IS 'get_states for games whose encoding is bytes';

CREATE FUNCTION gamestate.get_version(game_id uuid)
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_get_version' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.get_version(uuid)
IS 'a game''s version; NULL if there is no such game';

CREATE FUNCTION gamestate.state_at(game_id uuid, version bigint)
RETURNS json
AS 'MODULE_PATHNAME', 'gs_state_at' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.state_at(uuid, bigint)
IS 'the state of a game, live or archived, as of a version; NULL if there is no such game or version';

CREATE FUNCTION gamestate.state_at_bytes(game_id uuid, version bigint)
RETURNS bytea
AS 'MODULE_PATHNAME', 'gs_state_at_bytes' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.state_at_bytes(uuid, bigint)
IS 'state_at for a game whose encoding is bytes';

CREATE FUNCTION gamestate.get_changes(
	game_id uuid,
	after_version bigint DEFAULT 0,
	max_changes integer DEFAULT NULL)
RETURNS SETOF gamestate.change
AS 'MODULE_PATHNAME', 'gs_get_changes' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.get_changes(uuid, bigint, integer)
IS 'what happened to a game after a version, in order, without gaps';

CREATE FUNCTION gamestate.wait_changes(
	after bigint,
	game_ids uuid[] DEFAULT NULL,
	game_type text DEFAULT NULL,
	max_changes integer DEFAULT 1000,
	timeout interval DEFAULT '30 s',
	game_types text[] DEFAULT NULL)
RETURNS TABLE (
	feed_position bigint,
	game_id uuid,
	version bigint,
	kind text,
	player text,
	at timestamptz,
	event json,
	event_bytes bytea,
	event_omitted boolean,
	request_id uuid,
	type text)
AS 'MODULE_PATHNAME', 'gs_wait_changes' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100;
COMMENT ON FUNCTION gamestate.wait_changes(bigint, uuid[], text, integer, interval, text[])
IS 'waits until something after a position of the change feed has become durable, and returns it; NULL = from now. Of all games, those of a type, these games (of that type), or these games and all of some types. The last row is of kind position; one of kind gap says that changes are missing before it';

CREATE FUNCTION gamestate.feed_position()
RETURNS bigint
AS 'MODULE_PATHNAME', 'gs_feed_position_now' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.feed_position()
IS 'the position of the change feed now';

CREATE FUNCTION gamestate.player_presence(game_id uuid)
RETURNS TABLE (
	player text,
	presence text,
	since timestamptz,
	expires_at timestamptz)
AS 'MODULE_PATHNAME', 'gs_player_presence' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 8;
COMMENT ON FUNCTION gamestate.player_presence(uuid)
IS 'who of the players of a running game is connected, disconnected or unknown (nothing was heard of him since the server started), since when, and until when without a heartbeat';

CREATE FUNCTION gamestate.find_room(room_code text)
RETURNS uuid
AS 'MODULE_PATHNAME', 'gs_find_room' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.find_room(text)
IS 'the waiting or active game that has this room code';

CREATE FUNCTION gamestate.open_rooms(game_type text, max_rows integer DEFAULT 50)
RETURNS SETOF gamestate.game
AS 'MODULE_PATHNAME', 'gs_open_rooms' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 50;
COMMENT ON FUNCTION gamestate.open_rooms(text, integer)
IS 'waiting games of a type that have a free seat, the one that opened last first';

CREATE FUNCTION gamestate.player_games(player text)
RETURNS SETOF uuid
AS 'MODULE_PATHNAME', 'gs_player_games' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.player_games(text)
IS 'the waiting and active games in which a player sits';

CREATE FUNCTION gamestate.list_live_games(
	game_type text DEFAULT NULL,
	status text DEFAULT NULL,
	with_state boolean DEFAULT true,
	max_rows integer DEFAULT NULL)
RETURNS SETOF gamestate.game
AS 'MODULE_PATHNAME', 'gs_list_live_games' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10000;
COMMENT ON FUNCTION gamestate.list_live_games(text, text, boolean, integer)
IS 'the games in shared memory as rows, in no particular order; games are seen one after another, each as it is then';

-- For who follows games by their type and was away: see extension/gs_stored.c.
CREATE FUNCTION gamestate.list_stored_games(
	game_type text,
	updated_after timestamptz)
RETURNS TABLE (
	game_id uuid,
	tier text,
	version bigint,
	updated_at timestamptz)
AS 'MODULE_PATHNAME', 'gs_list_stored_games' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 1000;
COMMENT ON FUNCTION gamestate.list_stored_games(text, timestamptz)
IS 'games of a type (NULL = of all) that are not live any more and have last changed at that time or later, in no particular order';

CREATE FUNCTION gamestate.to_jsonb(document json)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'gs_to_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION gamestate.to_jsonb(json)
IS 'json as jsonb; NULL for what jsonb cannot hold (\u0000, lone surrogates, numbers out of range)';

CREATE FUNCTION gamestate.library_version()
RETURNS text
AS 'MODULE_PATHNAME', 'gs_library_version' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION gamestate.library_version()
IS 'version of the loaded library, which should be that of the extension';

CREATE VIEW gamestate.live_games AS
SELECT g.game_id, g.game_type, g.status, g.tier, g.version, g.encoding,
	   g.state, gamestate.to_jsonb(g.state) AS state_jsonb, g.state_bytes,
	   g.players, g.max_players, g.room_code,
	   g.metadata, gamestate.to_jsonb(g.metadata) AS metadata_jsonb,
	   g.result, gamestate.to_jsonb(g.result) AS result_jsonb,
	   g.moves, g.deadline, g.created_at, g.started_at, g.updated_at, g.ended_at
  FROM gamestate.list_live_games() g;
COMMENT ON VIEW gamestate.live_games IS 'games in shared memory, those included that are over and wait for the archive';

-- ---------------------------------------------------------------------------
-- Archive
-- ---------------------------------------------------------------------------

CREATE TABLE gamestate.archive (
	game_id uuid NOT NULL,
	game_type text COLLATE pg_catalog."C" NOT NULL,
	status text NOT NULL,
	encoding text NOT NULL,
	players text[] NOT NULL,
	max_players integer,
	room_code text,
	metadata json,
	result json,
	created_at timestamptz NOT NULL,
	started_at timestamptz,
	ended_at timestamptz NOT NULL,
	version bigint NOT NULL,
	moves bigint NOT NULL
) PARTITION BY LIST (game_type);
COMMENT ON TABLE gamestate.archive IS 'finished games, a row a game: what people filter and count by';
COMMENT ON COLUMN gamestate.archive.game_id IS 'id of the game, unique in each partition';
COMMENT ON COLUMN gamestate.archive.game_type IS 'game type, first partition key';
COMMENT ON COLUMN gamestate.archive.status IS 'finished or abandoned';
COMMENT ON COLUMN gamestate.archive.encoding IS 'json or bytes: what state and events are';
COMMENT ON COLUMN gamestate.archive.players IS 'players who sat in the game at its end';
COMMENT ON COLUMN gamestate.archive.ended_at IS 'when the game ended, second partition key';
COMMENT ON COLUMN gamestate.archive.version IS 'last version, that is the number of changes';
COMMENT ON COLUMN gamestate.archive.moves IS 'number of moves';

CREATE TABLE gamestate.archive_payload (
	game_id uuid NOT NULL,
	game_type text COLLATE pg_catalog."C" NOT NULL,
	ended_at timestamptz NOT NULL,
	format smallint NOT NULL,
	dictionary integer,
	raw_size integer NOT NULL,
	checksum bigint NOT NULL,
	payload bytea NOT NULL
) PARTITION BY LIST (game_type);
-- zstd has been there already: a second compression would only cost time.
ALTER TABLE gamestate.archive_payload ALTER COLUMN payload SET STORAGE EXTERNAL;
COMMENT ON TABLE gamestate.archive_payload IS 'initial state, final state and log of finished games, compressed';
COMMENT ON COLUMN gamestate.archive_payload.format IS 'format of the payload, see extension/gs_payload.h; formats stay readable for ever';
COMMENT ON COLUMN gamestate.archive_payload.dictionary IS 'compression dictionary; NULL = none';
COMMENT ON COLUMN gamestate.archive_payload.raw_size IS 'bytes before compression';
COMMENT ON COLUMN gamestate.archive_payload.checksum IS 'CRC-32C of the bytes before compression';
COMMENT ON COLUMN gamestate.archive_payload.payload IS 'one zstd frame';

ALTER TABLE gamestate.archive OWNER TO gamestate_owner;
ALTER TABLE gamestate.archive_payload OWNER TO gamestate_owner;

-- Written by the archiver, see extension/gs_dead_letter.c.  The columns of both
-- tables of the archive, then why the game is here.
CREATE TABLE gamestate.dead_letter (
	game_id uuid PRIMARY KEY,
	game_type text COLLATE pg_catalog."C" NOT NULL,
	status text NOT NULL,
	encoding text NOT NULL,
	players text[] NOT NULL,
	max_players integer,
	room_code text,
	metadata json,
	result json,
	created_at timestamptz NOT NULL,
	started_at timestamptz,
	ended_at timestamptz NOT NULL,
	version bigint NOT NULL,
	moves bigint NOT NULL,
	format smallint NOT NULL,
	dictionary integer,
	raw_size integer NOT NULL,
	checksum bigint NOT NULL,
	payload bytea NOT NULL,
	attempts integer NOT NULL,
	first_failed_at timestamptz NOT NULL,
	last_failed_at timestamptz NOT NULL,
	error_sqlstate text NOT NULL,
	error_message text NOT NULL,
	error_context text
);
ALTER TABLE gamestate.dead_letter ALTER COLUMN payload SET STORAGE EXTERNAL;
COMMENT ON TABLE gamestate.dead_letter IS 'finished games that could not be archived while others could; see gamestate.retry_dead_letter() and gamestate.discard_dead_letter()';
COMMENT ON COLUMN gamestate.dead_letter.dictionary IS 'always NULL: the payload can be read without a dictionary';
COMMENT ON COLUMN gamestate.dead_letter.payload IS 'initial state, final state and log, as in gamestate.archive_payload';
COMMENT ON COLUMN gamestate.dead_letter.attempts IS 'how often it has failed by itself';
COMMENT ON COLUMN gamestate.dead_letter.first_failed_at IS 'when it failed first';
COMMENT ON COLUMN gamestate.dead_letter.last_failed_at IS 'when it failed last; the columns that begin with error_ say how';
COMMENT ON COLUMN gamestate.dead_letter.error_message IS 'message and detail';
COMMENT ON COLUMN gamestate.dead_letter.error_context IS 'where it happened: the function of a trigger, for example';

ALTER TABLE gamestate.dead_letter OWNER TO gamestate_owner;
SELECT pg_catalog.pg_extension_config_dump('gamestate.dead_letter', '');

CREATE FUNCTION gamestate.retry_dead_letter(game_id uuid)
RETURNS boolean
AS 'MODULE_PATHNAME', 'gs_retry_dead_letter' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.retry_dead_letter(uuid)
IS 'archive a game of gamestate.dead_letter; false if that has failed again, which its row then says; NULL if there is no such game there';

CREATE FUNCTION gamestate.discard_dead_letter(game_id uuid)
RETURNS boolean
AS 'MODULE_PATHNAME', 'gs_discard_dead_letter' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.discard_dead_letter(uuid)
IS 'remove a game of gamestate.dead_letter for good; false if there is no such game there';

-- Functions of the row alone, so they ask for no privilege and obey row security.
CREATE FUNCTION gamestate.payload_final_state(
	encoding text,
	format smallint,
	dictionary integer,
	raw_size integer,
	checksum bigint,
	payload bytea)
RETURNS json
AS 'MODULE_PATHNAME', 'gs_payload_final_state' LANGUAGE C STABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION gamestate.payload_final_state(text, smallint, integer, integer, bigint, bytea)
IS 'last state of the game in a payload; NULL if its encoding is bytes';

CREATE FUNCTION gamestate.payload_final_state_bytes(
	encoding text,
	format smallint,
	dictionary integer,
	raw_size integer,
	checksum bigint,
	payload bytea)
RETURNS bytea
AS 'MODULE_PATHNAME', 'gs_payload_final_state_bytes' LANGUAGE C STABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION gamestate.payload_final_state_bytes(text, smallint, integer, integer, bigint, bytea)
IS 'last state of the game in a payload if its encoding is bytes';

-- Written by the maintenance worker, see extension/gs_train.c.  Rows are never
-- changed: archived games refer to them by number.
CREATE TABLE gamestate.dictionary (
	number integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	game_type text COLLATE pg_catalog."C" NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	samples integer NOT NULL,
	sample_bytes bigint NOT NULL,
	ratio_without real NOT NULL,
	ratio_with real NOT NULL,
	checksum bigint,
	content bytea
);
-- The first half of a dictionary hardly compresses, and it is read rarely.
ALTER TABLE gamestate.dictionary ALTER COLUMN content SET STORAGE EXTERNAL;
COMMENT ON TABLE gamestate.dictionary IS 'zstd dictionaries of game types, without which archived games cannot be read: rows must be kept';
COMMENT ON COLUMN gamestate.dictionary.number IS 'what gamestate.archive_payload.dictionary refers to';
COMMENT ON COLUMN gamestate.dictionary.game_type IS 'type of the games it was trained from';
COMMENT ON COLUMN gamestate.dictionary.samples IS 'number of these games';
COMMENT ON COLUMN gamestate.dictionary.sample_bytes IS 'their bytes, as they are before compression';
COMMENT ON COLUMN gamestate.dictionary.ratio_without IS 'compressed size by raw size without a dictionary, of half of these games';
COMMENT ON COLUMN gamestate.dictionary.ratio_with IS 'the same with a dictionary trained from the other half';
COMMENT ON COLUMN gamestate.dictionary.checksum IS 'CRC-32C of the content';
COMMENT ON COLUMN gamestate.dictionary.content IS 'the dictionary, as the zstd library takes it; NULL = it did not help and was not kept';
COMMENT ON SEQUENCE gamestate.dictionary_number_seq IS 'numbers the rows of gamestate.dictionary';

CREATE FUNCTION gamestate.dictionary_trigger()
RETURNS trigger
AS 'MODULE_PATHNAME', 'gs_dictionary_changes' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.dictionary_trigger() IS 'internal: refuses to change or remove rows of gamestate.dictionary';
CREATE TRIGGER keep_rows BEFORE UPDATE OR DELETE ON gamestate.dictionary
	FOR EACH ROW EXECUTE FUNCTION gamestate.dictionary_trigger();
CREATE TRIGGER keep_all_rows BEFORE TRUNCATE ON gamestate.dictionary
	FOR EACH STATEMENT EXECUTE FUNCTION gamestate.dictionary_trigger();
COMMENT ON TRIGGER keep_rows ON gamestate.dictionary IS 'archived games cannot be read without their dictionary';
COMMENT ON TRIGGER keep_all_rows ON gamestate.dictionary IS 'archived games cannot be read without their dictionary';

ALTER TABLE gamestate.dictionary OWNER TO gamestate_owner;
SELECT pg_catalog.pg_extension_config_dump('gamestate.dictionary', '');
SELECT pg_catalog.pg_extension_config_dump('gamestate.dictionary_number_seq', '');

-- Written by the maintenance worker, see extension/gs_retention.c.
CREATE TABLE gamestate.retention_log (
	entry bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	relid oid NOT NULL,
	partition text NOT NULL,
	game_type text COLLATE pg_catalog."C" NOT NULL,
	ended_before timestamptz NOT NULL,
	action text NOT NULL,
	decided_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	done_at timestamptz
);
COMMENT ON TABLE gamestate.retention_log IS 'partitions of the archive that a policy has removed, or is about to';
COMMENT ON COLUMN gamestate.retention_log.relid IS 'oid of the table';
COMMENT ON COLUMN gamestate.retention_log.partition IS 'its name then';
COMMENT ON COLUMN gamestate.retention_log.game_type IS 'whose policy it followed; empty = the default';
COMMENT ON COLUMN gamestate.retention_log.ended_before IS 'end of the partition''s period';
COMMENT ON COLUMN gamestate.retention_log.action IS 'drop or detach';
COMMENT ON COLUMN gamestate.retention_log.decided_at IS 'when the policy was found to ask for it';
COMMENT ON COLUMN gamestate.retention_log.done_at IS 'when it was done; NULL = not yet';
COMMENT ON SEQUENCE gamestate.retention_log_entry_seq IS 'numbers the entries of gamestate.retention_log';
ALTER TABLE gamestate.retention_log OWNER TO gamestate_owner;

-- Written by the maintenance worker, see extension/gs_tablespace.c.
CREATE TABLE gamestate.tablespace_log (
	relid oid PRIMARY KEY,
	relation text NOT NULL,
	tablespace_oid oid NOT NULL,
	tablespace name NOT NULL,
	moved_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE gamestate.tablespace_log IS 'partitions of the archive, and their indexes, that a policy has moved to another tablespace; what is somewhere else now was moved by somebody else, and stays there';
COMMENT ON COLUMN gamestate.tablespace_log.relid IS 'oid of the table or index';
COMMENT ON COLUMN gamestate.tablespace_log.relation IS 'its name then';
COMMENT ON COLUMN gamestate.tablespace_log.tablespace_oid IS 'oid of the tablespace; 0 = that of the database';
COMMENT ON COLUMN gamestate.tablespace_log.tablespace IS 'its name then';
ALTER TABLE gamestate.tablespace_log OWNER TO gamestate_owner;

-- Partitions of payloads in files, see extension/gs_freeze.c.  Not dumped: files belong to
-- one database of one server.
CREATE FUNCTION gamestate.cold_handler()
RETURNS fdw_handler
AS 'MODULE_PATHNAME', 'gs_cold_handler' LANGUAGE C STRICT PARALLEL SAFE;
COMMENT ON FUNCTION gamestate.cold_handler() IS 'internal: reads frozen partitions';
CREATE FUNCTION gamestate.cold_validator(options text[], catalog oid)
RETURNS void
AS 'MODULE_PATHNAME', 'gs_cold_validator' LANGUAGE C STRICT PARALLEL SAFE;
COMMENT ON FUNCTION gamestate.cold_validator(text[], oid) IS 'internal: checks the options of frozen partitions';
CREATE FOREIGN DATA WRAPPER gamestate_cold HANDLER gamestate.cold_handler VALIDATOR gamestate.cold_validator;
COMMENT ON FOREIGN DATA WRAPPER gamestate_cold IS 'frozen partitions of gamestate.archive_payload';
CREATE SERVER gamestate_cold FOREIGN DATA WRAPPER gamestate_cold;
COMMENT ON SERVER gamestate_cold IS 'files below gamestate.cold_directory';
GRANT USAGE ON FOREIGN SERVER gamestate_cold TO gamestate_owner;

CREATE TABLE gamestate.cold_file (
	relid oid PRIMARY KEY,
	partition text NOT NULL,
	file text NOT NULL UNIQUE,
	bytes bigint NOT NULL,
	rows bigint NOT NULL,
	checksum bigint NOT NULL,
	format smallint NOT NULL,
	frozen_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	database_oid oid NOT NULL,
	rights text[] NOT NULL,
	objects text[] NOT NULL
);
COMMENT ON TABLE gamestate.cold_file IS 'files of frozen partitions, below gamestate.cold_directory';
COMMENT ON COLUMN gamestate.cold_file.relid IS 'oid of the foreign table';
COMMENT ON COLUMN gamestate.cold_file.partition IS 'its name then';
COMMENT ON COLUMN gamestate.cold_file.file IS 'name of the file, directly below gamestate.cold_directory';
COMMENT ON COLUMN gamestate.cold_file.bytes IS 'size of the file';
COMMENT ON COLUMN gamestate.cold_file.rows IS 'games in it';
COMMENT ON COLUMN gamestate.cold_file.checksum IS 'CRC-32C of the file';
COMMENT ON COLUMN gamestate.cold_file.format IS 'format of the file, see extension/gs_cold_format.h; formats stay readable for ever';
COMMENT ON COLUMN gamestate.cold_file.database_oid IS 'database that has made the file: only that one removes it';
COMMENT ON COLUMN gamestate.cold_file.rights IS 'comment and privileges of the partition, as commands';
COMMENT ON COLUMN gamestate.cold_file.objects IS 'its own indexes and triggers, as commands that thaw_partition() runs';
ALTER TABLE gamestate.cold_file OWNER TO gamestate_owner;

CREATE FUNCTION gamestate.freeze_partition(partition regclass)
RETURNS void
AS 'MODULE_PATHNAME', 'gs_freeze_partition' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.freeze_partition(regclass)
IS 'write a closed partition of gamestate.archive_payload to a file below gamestate.cold_directory, and put a foreign table over it in its place';

CREATE FUNCTION gamestate.thaw_partition(partition regclass)
RETURNS void
AS 'MODULE_PATHNAME', 'gs_thaw_partition' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.thaw_partition(regclass)
IS 'bring a frozen partition back as a table';

-- Written by the maintenance worker, see extension/gs_repack.c.
CREATE TABLE gamestate.repack (
	relid oid PRIMARY KEY,
	partition text NOT NULL,
	game_type text COLLATE pg_catalog."C" NOT NULL,
	requested boolean NOT NULL DEFAULT false,
	state text NOT NULL DEFAULT 'waiting',
	reason text,
	copy oid,
	last_ended_at timestamptz,
	last_game_id uuid,
	games bigint,
	raw_bytes bigint,
	bytes_before bigint,
	bytes_after bigint,
	added_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	started_at timestamptz,
	updated_at timestamptz,
	done_at timestamptz
);
COMMENT ON TABLE gamestate.repack IS 'partitions of gamestate.archive_payload that are repacked, were, or are about to be; see gamestate.stat_repack';
ALTER TABLE gamestate.repack OWNER TO gamestate_owner;

CREATE VIEW gamestate.stat_repack AS
SELECT r.relid, r.partition, r.game_type, r.requested, r.state, r.reason, r.games,
	   CASE WHEN r.last_ended_at > '-infinity' THEN r.last_ended_at END AS last_ended_at,
	   r.raw_bytes, r.bytes_before, r.bytes_after, r.added_at, r.started_at, r.updated_at,
	   r.done_at
  FROM gamestate.repack r;
COMMENT ON VIEW gamestate.stat_repack IS 'repacking of partitions: progress and results';
COMMENT ON COLUMN gamestate.stat_repack.partition IS 'name of the partition when it was found';
COMMENT ON COLUMN gamestate.stat_repack.requested IS 'gamestate.repack_partition() was called, whatever the policy says';
COMMENT ON COLUMN gamestate.stat_repack.state IS 'waiting, copying, settling (until older snapshots and locks have gone), done or skipped';
COMMENT ON COLUMN gamestate.stat_repack.reason IS 'why it was skipped';
COMMENT ON COLUMN gamestate.stat_repack.games IS 'games repacked so far';
COMMENT ON COLUMN gamestate.stat_repack.last_ended_at IS 'they are repacked in the order of their end, and so far up to this';
COMMENT ON COLUMN gamestate.stat_repack.raw_bytes IS 'their states and logs before compression';
COMMENT ON COLUMN gamestate.stat_repack.bytes_before IS 'size of the partition, indexes included, when it began';
COMMENT ON COLUMN gamestate.stat_repack.bytes_after IS 'and when it was done';

-- Invoker's rights: it takes membership in gamestate_owner, as DDL on partitions does.
CREATE FUNCTION gamestate.repack_partition(partition regclass)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	type	text;
BEGIN
	IF partition IS NULL OR NOT EXISTS (
		SELECT FROM pg_partition_tree('gamestate.archive_payload') t
		 WHERE t.relid = partition AND t.isleaf) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('%s is not a partition of gamestate.archive_payload', coalesce(partition::text, 'NULL'));
	END IF;
	IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = partition AND c.relkind = 'r'
					  AND c.relnamespace = 'gamestate_partitions'::regnamespace
					  AND c.relowner = 'gamestate_owner'::regrole) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('partition %s is not one that can be repacked', partition),
			DETAIL = 'Only ordinary tables in schema gamestate_partitions that belong to gamestate_owner are.';
	END IF;
	EXECUTE format('SELECT game_type FROM %s LIMIT 1', partition) INTO type;
	INSERT INTO gamestate.repack AS r (relid, partition, game_type, requested)
	VALUES (partition, partition::text, coalesce(type, ''), true)
	ON CONFLICT (relid) DO UPDATE SET
		requested = true,
		state = CASE WHEN r.state IN ('done', 'skipped') THEN 'waiting' ELSE r.state END,
		reason = NULL, done_at = NULL, added_at = now();
END
$$;
COMMENT ON FUNCTION gamestate.repack_partition(regclass)
IS 'ask the maintenance worker to repack a partition of gamestate.archive_payload, whatever the policy says and even if it is not closed; see gamestate.stat_repack';

-- Written by the maintenance worker and by the two functions below, see extension/gs_promote.c.
-- Not dumped, and neither are the copies: a promotion belongs to the partitions of one database.
CREATE TABLE gamestate.promotion (
	game_type text COLLATE pg_catalog."C" PRIMARY KEY,
	state text NOT NULL DEFAULT 'waiting',
	reason text,
	canceled boolean NOT NULL DEFAULT false,
	rounds integer NOT NULL DEFAULT 0,
	archive_branch oid,
	payload_branch oid,
	undo_tables oid[],
	undo_blocks bigint[],
	copied bigint,
	games bigint,
	added_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	started_at timestamptz,
	updated_at timestamptz,
	done_at timestamptz
);
COMMENT ON TABLE gamestate.promotion IS 'game types that are moved, were, or are about to be, from the default branch of the archive to partitions of their own; see gamestate.stat_promotion';
CREATE TRIGGER wake
	AFTER INSERT OR UPDATE OF canceled ON gamestate.promotion
	FOR EACH STATEMENT EXECUTE FUNCTION gamestate.policy_changed();
COMMENT ON TRIGGER wake ON gamestate.promotion IS 'wakes the maintenance worker';
ALTER TABLE gamestate.promotion OWNER TO gamestate_owner;

CREATE TABLE gamestate.promotion_leaf (
	relid oid PRIMARY KEY,
	game_type text COLLATE pg_catalog."C" NOT NULL,
	archive_table text NOT NULL,
	partition text NOT NULL,
	copy oid NOT NULL,
	map oid NOT NULL,
	state text NOT NULL DEFAULT 'copying',
	last_game_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
	copied bigint NOT NULL DEFAULT 0,
	games bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE gamestate.promotion_leaf IS 'partitions of the default branch that a game type is being moved out of; repacking, freezing and moving them waits meanwhile';
ALTER TABLE gamestate.promotion_leaf OWNER TO gamestate_owner;

CREATE VIEW gamestate.stat_promotion AS
SELECT p.game_type, p.state, p.canceled, p.reason, p.rounds, l.partitions,
	   coalesce(p.copied, l.copied) AS copied, coalesce(p.games, l.games) AS games,
	   p.added_at, p.started_at, p.updated_at, p.done_at
  FROM gamestate.promotion p,
	   LATERAL (SELECT pg_catalog.count(*) AS partitions,
					   coalesce(pg_catalog.sum(f.copied), 0)::bigint AS copied,
					   coalesce(pg_catalog.sum(f.games)
						   FILTER (WHERE f.archive_table OPERATOR(pg_catalog.=) 'archive'), 0)::bigint AS games
				  FROM gamestate.promotion_leaf f
				 WHERE f.game_type OPERATOR(pg_catalog.=) p.game_type) l;
COMMENT ON VIEW gamestate.stat_promotion IS 'game types on their way to partitions of their own: progress and results';
COMMENT ON COLUMN gamestate.stat_promotion.state IS 'waiting, copying, settling (until older snapshots have gone and nobody uses the archive for a moment), done, failed or canceled';
COMMENT ON COLUMN gamestate.stat_promotion.canceled IS 'gamestate.cancel_promotion() was called';
COMMENT ON COLUMN gamestate.stat_promotion.reason IS 'why it has failed';
COMMENT ON COLUMN gamestate.stat_promotion.rounds IS 'how often it began to settle';
COMMENT ON COLUMN gamestate.stat_promotion.partitions IS 'partitions of the default branch that are being copied';
COMMENT ON COLUMN gamestate.stat_promotion.copied IS 'their rows copied so far, of all types';
COMMENT ON COLUMN gamestate.stat_promotion.games IS 'games of the type among them';

-- Invoker's rights, as gamestate.repack_partition().
CREATE FUNCTION gamestate.promote_type(game_type text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	root		text;
	branch		record;
	holds		boolean;
	found_state	text;
BEGIN
	IF game_type IS NULL OR octet_length(game_type) NOT BETWEEN 1 AND 63 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'a game type of 1 to 63 bytes is required';
	END IF;
	SELECT p.state INTO found_state FROM gamestate.promotion p
	 WHERE p.game_type = promote_type.game_type AND p.state IN ('waiting', 'copying', 'settling');
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('game type "%s" is being promoted already', game_type),
			DETAIL = format('Its state is: %s.', found_state),
			HINT = 'gamestate.stat_promotion shows how far it is.';
	END IF;
	FOREACH root IN ARRAY '{archive,archive_payload}'::text[] LOOP
		holds := false;
		FOR branch IN
			SELECT c.oid, pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT' AS is_default,
				   pg_get_partition_constraintdef(c.oid) AS condition
			  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
			 WHERE i.inhparent = ('gamestate.' || root)::regclass
		LOOP
			EXECUTE format('SELECT %s FROM (SELECT $1 COLLATE "C") t(game_type)', coalesce(branch.condition, 'true'))
			   INTO holds USING game_type;
			EXIT WHEN holds;
		END LOOP;
		IF NOT holds THEN
			RAISE EXCEPTION USING
				ERRCODE = 'object_not_in_prerequisite_state',
				MESSAGE = format('game type "%s" does not share the default branch', game_type),
				DETAIL = format('gamestate.%s has no default branch yet.', root),
				HINT = 'There is one when there are more types than gamestate.archive_max_types.';
		ELSIF NOT branch.is_default THEN
			RAISE EXCEPTION USING
				ERRCODE = 'object_not_in_prerequisite_state',
				MESSAGE = format('game type "%s" does not share the default branch', game_type),
				DETAIL = format('Its games go to %s.', branch.oid::regclass);
		END IF;
	END LOOP;
	DELETE FROM gamestate.promotion p WHERE p.game_type = promote_type.game_type;
	INSERT INTO gamestate.promotion (game_type) VALUES (promote_type.game_type);
END
$$;
COMMENT ON FUNCTION gamestate.promote_type(text)
IS 'ask the maintenance worker to move a game type from the default branch of the archive to partitions of its own; see gamestate.stat_promotion';

CREATE FUNCTION gamestate.cancel_promotion(game_type text)
RETURNS boolean
LANGUAGE plpgsql STRICT
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
	UPDATE gamestate.promotion p SET canceled = true
	 WHERE p.game_type = cancel_promotion.game_type AND p.state IN ('waiting', 'copying', 'settling');
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION gamestate.cancel_promotion(text)
IS 'let the maintenance worker give up what promote_type() has asked for, and drop the copies; false if it is done already or was never asked for';

-- Partitions are made by the archiver.  There is no default partition on
-- purpose: with one, the first game of a new type would have to wait for
-- everybody who reads the archive (see extension/gs_partition.c).

-- The payload of one row of gamestate.archive, by the row's whole key, so that
-- one partition is touched.  The functions run with the caller's rights (they
-- demand SELECT on gamestate.archive_payload) and see what the statement's
-- snapshot sees: STABLE, and PARALLEL SAFE as they touch tables only.  The cost
-- is that of a look-up, a decompression and a checksum.
CREATE FUNCTION gamestate.archived_initial_state(
	game_type text,
	ended_at timestamptz,
	game_id uuid)
RETURNS json
AS 'MODULE_PATHNAME', 'gs_archived_initial_state' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION gamestate.archived_initial_state(text, timestamptz, uuid)
IS 'first state of an archived game; NULL if there is none, its payload was dropped or its encoding is bytes';

CREATE FUNCTION gamestate.archived_initial_state_bytes(
	game_type text,
	ended_at timestamptz,
	game_id uuid)
RETURNS bytea
AS 'MODULE_PATHNAME', 'gs_archived_initial_state_bytes' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION gamestate.archived_initial_state_bytes(text, timestamptz, uuid)
IS 'first state of an archived game whose encoding is bytes';

CREATE FUNCTION gamestate.archived_final_state(
	game_type text,
	ended_at timestamptz,
	game_id uuid)
RETURNS json
AS 'MODULE_PATHNAME', 'gs_archived_final_state' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION gamestate.archived_final_state(text, timestamptz, uuid)
IS 'last state of an archived game; NULL if there is none, its payload was dropped or its encoding is bytes';

CREATE FUNCTION gamestate.archived_final_state_bytes(
	game_type text,
	ended_at timestamptz,
	game_id uuid)
RETURNS bytea
AS 'MODULE_PATHNAME', 'gs_archived_final_state_bytes' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION gamestate.archived_final_state_bytes(text, timestamptz, uuid)
IS 'last state of an archived game whose encoding is bytes';

CREATE FUNCTION gamestate.archived_log(
	game_type text,
	ended_at timestamptz,
	game_id uuid,
	only_moves boolean DEFAULT false)
RETURNS TABLE (
	version bigint,
	ord bigint,
	kind text,
	player text,
	at timestamptz,
	request_id uuid,
	event json,
	event_bytes bytea,
	request_arguments bigint,
	delta bytea)
AS 'MODULE_PATHNAME', 'gs_archived_log' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000 ROWS 100;
COMMENT ON FUNCTION gamestate.archived_log(text, timestamptz, uuid, boolean)
IS 'log of an archived game in order, every change or only its moves; ord numbers the moves it has from 1, request_arguments is a checksum of what the request id was used with, delta is what leads back to the state before (for gamestate export; see state_at)';

-- Not STABLE, so that no planner calls it twice or not at all; runs with the
-- caller's rights.
CREATE FUNCTION gamestate.verify_archive(
	partition regclass DEFAULT NULL,
	OUT partition_name regclass,
	OUT game_type text,
	OUT ended_at timestamptz,
	OUT game_id uuid,
	OUT problem text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'gs_verify_archive' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION gamestate.verify_archive(regclass)
IS 'unpack every game of gamestate.archive_payload, or of one partition, and list those that are damaged';

-- security_invoker: the right to read is that on the tables, and row security
-- that somebody puts on them holds here too.  Payload columns are functions of
-- the row's key: a query that does not name them never touches a payload.
CREATE VIEW gamestate.archived_games WITH (security_invoker = true) AS
SELECT a.game_id, a.game_type, a.status, a.encoding, a.players, a.max_players,
	   a.room_code,
	   a.metadata, gamestate.to_jsonb(a.metadata) AS metadata_jsonb,
	   a.result, gamestate.to_jsonb(a.result) AS result_jsonb,
	   a.created_at, a.started_at, a.ended_at, a.version, a.moves,
	   gamestate.archived_initial_state(a.game_type, a.ended_at, a.game_id)
		   AS initial_state,
	   gamestate.to_jsonb(gamestate.archived_initial_state(a.game_type, a.ended_at, a.game_id))
		   AS initial_state_jsonb,
	   gamestate.archived_initial_state_bytes(a.game_type, a.ended_at, a.game_id)
		   AS initial_state_bytes,
	   gamestate.archived_final_state(a.game_type, a.ended_at, a.game_id)
		   AS final_state,
	   gamestate.to_jsonb(gamestate.archived_final_state(a.game_type, a.ended_at, a.game_id))
		   AS final_state_jsonb,
	   gamestate.archived_final_state_bytes(a.game_type, a.ended_at, a.game_id)
		   AS final_state_bytes
  FROM gamestate.archive a;
COMMENT ON VIEW gamestate.archived_games IS 'archived games, a row a game; runs with the rights of who queries it, see gamestate.grant_reader';
COMMENT ON COLUMN gamestate.archived_games.encoding IS 'json or bytes: says which of the state columns are set';
COMMENT ON COLUMN gamestate.archived_games.players IS 'players who sat in the game at its end';
COMMENT ON COLUMN gamestate.archived_games.room_code IS 'the last one the game had';
COMMENT ON COLUMN gamestate.archived_games.version IS 'last version, that is the number of changes, the creation included';
COMMENT ON COLUMN gamestate.archived_games.moves IS 'number of changes of kind move';
COMMENT ON COLUMN gamestate.archived_games.metadata_jsonb IS 'NULL if jsonb cannot hold it';
COMMENT ON COLUMN gamestate.archived_games.result_jsonb IS 'NULL if jsonb cannot hold it';
COMMENT ON COLUMN gamestate.archived_games.initial_state IS 'from the payload: decompressed only if the query names it; NULL when the payload was dropped';
COMMENT ON COLUMN gamestate.archived_games.initial_state_jsonb IS 'from the payload; NULL also if jsonb cannot hold it';
COMMENT ON COLUMN gamestate.archived_games.initial_state_bytes IS 'from the payload, of a game whose encoding is bytes';
COMMENT ON COLUMN gamestate.archived_games.final_state IS 'from the payload: decompressed only if the query names it; NULL when the payload was dropped';
COMMENT ON COLUMN gamestate.archived_games.final_state_jsonb IS 'from the payload; NULL also if jsonb cannot hold it';
COMMENT ON COLUMN gamestate.archived_games.final_state_bytes IS 'from the payload, of a game whose encoding is bytes';

CREATE VIEW gamestate.archived_moves WITH (security_invoker = true) AS
SELECT a.game_id, a.game_type, a.ended_at,
	   l.version, l.ord, l.player, l.at, l.request_id,
	   l.event, gamestate.to_jsonb(l.event) AS event_jsonb, l.event_bytes
  FROM gamestate.archive a
 CROSS JOIN LATERAL gamestate.archived_log(a.game_type, a.ended_at, a.game_id, true) l;
COMMENT ON VIEW gamestate.archived_moves IS 'moves of archived games, a row a move; conditions on game_type, ended_at and game_id choose the games before a payload is read';
COMMENT ON COLUMN gamestate.archived_moves.ended_at IS 'when the game ended, the archive''s partition key';
COMMENT ON COLUMN gamestate.archived_moves.version IS 'the version that the move led to';
COMMENT ON COLUMN gamestate.archived_moves.ord IS 'number of the move in its game: 1, 2, 3, without gaps';
COMMENT ON COLUMN gamestate.archived_moves.at IS 'time of the server when the move was made';
COMMENT ON COLUMN gamestate.archived_moves.event_jsonb IS 'NULL if jsonb cannot hold it';
COMMENT ON COLUMN gamestate.archived_moves.event_bytes IS 'the move, in a game whose encoding is bytes';

-- For views.  STABLE, since what they decompress may need more memory than there is.
CREATE FUNCTION gamestate.suspended_state(
	game_id uuid,
	format smallint,
	raw_size integer,
	checksum bigint,
	payload bytea)
RETURNS json
AS 'MODULE_PATHNAME', 'gs_suspended_state' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION gamestate.suspended_state(uuid, smallint, integer, bigint, bytea)
IS 'state of a suspended game out of the columns of its row';

CREATE FUNCTION gamestate.suspended_state_bytes(
	game_id uuid,
	format smallint,
	raw_size integer,
	checksum bigint,
	payload bytea)
RETURNS bytea
AS 'MODULE_PATHNAME', 'gs_suspended_state_bytes' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION gamestate.suspended_state_bytes(uuid, smallint, integer, bigint, bytea)
IS 'state of a suspended game whose encoding is bytes, out of the columns of its row';

CREATE VIEW gamestate.suspended_games WITH (security_invoker = true) AS
SELECT s.game_id, s.game_type, s.status, s.encoding, s.players, s.max_players, s.room_code,
	   s.metadata, gamestate.to_jsonb(s.metadata) AS metadata_jsonb,
	   s.version, s.moves, s.deadline, s.created_at, s.started_at, s.updated_at,
	   s.suspended_at, s.reason,
	   CASE WHEN s.encoding = 'json'
			THEN gamestate.suspended_state(s.game_id, s.format, s.raw_size, s.checksum, s.payload)
	   END AS state,
	   CASE WHEN s.encoding = 'json'
			THEN gamestate.to_jsonb(gamestate.suspended_state(s.game_id, s.format, s.raw_size, s.checksum, s.payload))
	   END AS state_jsonb,
	   CASE WHEN s.encoding = 'bytes'
			THEN gamestate.suspended_state_bytes(s.game_id, s.format, s.raw_size, s.checksum, s.payload)
	   END AS state_bytes
  FROM gamestate.suspended s;
COMMENT ON VIEW gamestate.suspended_games IS 'suspended games, a row a game; runs with the rights of who queries it';
COMMENT ON COLUMN gamestate.suspended_games.status IS 'waiting or active: what the game will be again';
COMMENT ON COLUMN gamestate.suspended_games.room_code IS 'the one it had, and gets back if it is still free';
COMMENT ON COLUMN gamestate.suspended_games.reason IS 'request (suspend_game() was called), inactivity or memory';
COMMENT ON COLUMN gamestate.suspended_games.state IS 'decompressed only if the query names it';
COMMENT ON COLUMN gamestate.suspended_games.state_jsonb IS 'NULL if jsonb cannot hold it';
COMMENT ON COLUMN gamestate.suspended_games.metadata_jsonb IS 'NULL if jsonb cannot hold it';

-- A game is in exactly one of the parts: list_live_games() shows one that was
-- moved to a table as live just to those snapshots that do not see its row there,
-- and leaves out one that came back since the snapshot, which sees the row.
CREATE VIEW gamestate.games WITH (security_invoker = true) AS
SELECT g.game_id, g.game_type COLLATE pg_catalog."C" AS game_type, g.status,
	   g.tier, g.version, g.encoding,
	   g.state, gamestate.to_jsonb(g.state) AS state_jsonb, g.state_bytes,
	   g.players, g.max_players, g.room_code,
	   g.metadata, gamestate.to_jsonb(g.metadata) AS metadata_jsonb,
	   g.result, gamestate.to_jsonb(g.result) AS result_jsonb,
	   g.moves, g.created_at, g.started_at, g.ended_at
  FROM gamestate.list_live_games() g
 UNION ALL
SELECT s.game_id, s.game_type, s.status, 'suspended'::text, s.version, s.encoding,
	   s.state, s.state_jsonb, s.state_bytes,
	   s.players, s.max_players, s.room_code,
	   s.metadata, s.metadata_jsonb,
	   NULL::json, NULL::jsonb,
	   s.moves, s.created_at, s.started_at, NULL::timestamptz
  FROM gamestate.suspended_games s
 UNION ALL
SELECT a.game_id, a.game_type, a.status, 'archived'::text, a.version, a.encoding,
	   gamestate.archived_final_state(a.game_type, a.ended_at, a.game_id),
	   gamestate.to_jsonb(gamestate.archived_final_state(a.game_type, a.ended_at, a.game_id)),
	   gamestate.archived_final_state_bytes(a.game_type, a.ended_at, a.game_id),
	   a.players, a.max_players, a.room_code,
	   a.metadata, gamestate.to_jsonb(a.metadata),
	   a.result, gamestate.to_jsonb(a.result),
	   a.moves, a.created_at, a.started_at, a.ended_at
  FROM gamestate.archive a
 UNION ALL
SELECT d.game_id, d.game_type, d.status, 'dead_letter'::text, d.version, d.encoding,
	   gamestate.payload_final_state(d.encoding, d.format, d.dictionary, d.raw_size, d.checksum, d.payload),
	   gamestate.to_jsonb(gamestate.payload_final_state(d.encoding, d.format, d.dictionary, d.raw_size, d.checksum, d.payload)),
	   gamestate.payload_final_state_bytes(d.encoding, d.format, d.dictionary, d.raw_size, d.checksum, d.payload),
	   d.players, d.max_players, d.room_code,
	   d.metadata, gamestate.to_jsonb(d.metadata),
	   d.result, gamestate.to_jsonb(d.result),
	   d.moves, d.created_at, d.started_at, d.ended_at
  FROM gamestate.dead_letter d;
COMMENT ON VIEW gamestate.games IS 'all games, live, suspended, archived or in gamestate.dead_letter, each exactly once';
COMMENT ON COLUMN gamestate.games.tier IS 'live, suspended, archived or dead_letter';
COMMENT ON COLUMN gamestate.games.version IS 'number of changes, the creation included';
COMMENT ON COLUMN gamestate.games.encoding IS 'json or bytes: says which of the state columns are set';
COMMENT ON COLUMN gamestate.games.state IS 'the state, of an archived game its last; NULL when the payload was dropped';
COMMENT ON COLUMN gamestate.games.state_jsonb IS 'NULL also if jsonb cannot hold it';
COMMENT ON COLUMN gamestate.games.metadata_jsonb IS 'NULL if jsonb cannot hold it';
COMMENT ON COLUMN gamestate.games.result_jsonb IS 'NULL if jsonb cannot hold it';
COMMENT ON COLUMN gamestate.games.ended_at IS 'NULL while the game goes on';

-- ---------------------------------------------------------------------------
-- Players: statistics, hooks
-- ---------------------------------------------------------------------------

-- Written in the transaction that archives games, see extension/gs_player_stats.c.
CREATE TABLE gamestate.player_stats (
	game_type text COLLATE pg_catalog."C" NOT NULL,
	player text COLLATE pg_catalog."C" NOT NULL,
	games bigint NOT NULL DEFAULT 0,
	wins bigint NOT NULL DEFAULT 0,
	losses bigint NOT NULL DEFAULT 0,
	draws bigint NOT NULL DEFAULT 0,
	last_played timestamptz,
	counters jsonb NOT NULL DEFAULT '{}',
	PRIMARY KEY (game_type, player)
) WITH (fillfactor = 80);
COMMENT ON TABLE gamestate.player_stats IS 'what players have done in archived games, a row for each game type; each game is counted once, in the transaction that archives it';
COMMENT ON COLUMN gamestate.player_stats.games IS 'archived games, finished or abandoned, in which the player sat at the end';
COMMENT ON COLUMN gamestate.player_stats.wins IS 'games won, as the rule of the policy says';
COMMENT ON COLUMN gamestate.player_stats.losses IS 'games lost';
COMMENT ON COLUMN gamestate.player_stats.draws IS 'games drawn; a game may be none of the three';
COMMENT ON COLUMN gamestate.player_stats.last_played IS 'end of the last of these games';
COMMENT ON COLUMN gamestate.player_stats.counters IS 'what the rule counts besides, added up: {"name": whole number}';
ALTER TABLE gamestate.player_stats OWNER TO gamestate_owner;
SELECT pg_catalog.pg_extension_config_dump('gamestate.player_stats', '');

CREATE FUNCTION gamestate.default_stats_rule(game_type text, players text[], result json)
RETURNS TABLE (player text, outcome text, counters jsonb)
AS 'MODULE_PATHNAME', 'gs_default_stats_rule' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 4;
COMMENT ON FUNCTION gamestate.default_stats_rule(text, text[], json)
IS 'what a result says about its players: {"draw": true}, {"winner": player}, {"winners": [player]}, {"result": "1-0"} or {"scores": {player: number}}; other results say nothing';

-- Internal: the sums that are being written just now.
CREATE FUNCTION gamestate.archiver_stats()
RETURNS TABLE (
	game_type text,
	player text,
	games bigint,
	wins bigint,
	losses bigint,
	draws bigint,
	last_played timestamptz,
	counters jsonb)
AS 'MODULE_PATHNAME', 'gs_archiver_stats' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.archiver_stats() IS 'internal: what a batch adds to gamestate.player_stats';

CREATE FUNCTION gamestate.add_counters(a jsonb, b jsonb)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'gs_add_counters' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION gamestate.add_counters(jsonb, jsonb) IS 'sum of two objects of whole numbers, by name';

-- Rankings, see extension/gs_ranking.c: derived from player_stats, so pg_dump
-- leaves them out.
CREATE TABLE gamestate.ranking (
	number integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	game_type text COLLATE pg_catalog."C" NOT NULL,
	metric text COLLATE pg_catalog."C" NOT NULL,
	made_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	UNIQUE (game_type, metric)
);
CREATE TABLE gamestate.ranking_entry (
	ranking integer NOT NULL,
	value bigint NOT NULL,
	player text COLLATE pg_catalog."C" NOT NULL
);
CREATE UNIQUE INDEX ranking_entry_key ON gamestate.ranking_entry (ranking, value DESC, player);
CREATE TABLE gamestate.ranking_count (
	ranking integer NOT NULL,
	level smallint NOT NULL,
	prefix bigint NOT NULL,
	players bigint NOT NULL,
	PRIMARY KEY (ranking, level, prefix)
) WITH (fillfactor = 50);
COMMENT ON TABLE gamestate.ranking IS 'leaderboards whose ranking is kept as gamestate.player_stats changes; see the column leaderboards of gamestate.policy';
COMMENT ON COLUMN gamestate.ranking.metric IS 'games, wins, losses, draws, or a counter';
COMMENT ON SEQUENCE gamestate.ranking_number_seq IS 'numbers the rows of gamestate.ranking';
COMMENT ON TABLE gamestate.ranking_entry IS 'internal: the players of each ranking by their value';
COMMENT ON TABLE gamestate.ranking_count IS 'internal: how many players of each ranking have a value with a prefix';
ALTER TABLE gamestate.ranking OWNER TO gamestate_owner;
ALTER TABLE gamestate.ranking_entry OWNER TO gamestate_owner;
ALTER TABLE gamestate.ranking_count OWNER TO gamestate_owner;

CREATE FUNCTION gamestate.player_stats_changed()
RETURNS trigger
AS 'MODULE_PATHNAME', 'gs_player_stats_changed' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.player_stats_changed() IS 'internal: brings rankings up to date';
CREATE TRIGGER ranking_insert AFTER INSERT ON gamestate.player_stats
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION gamestate.player_stats_changed();
CREATE TRIGGER ranking_update AFTER UPDATE ON gamestate.player_stats
	REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION gamestate.player_stats_changed();
CREATE TRIGGER ranking_delete AFTER DELETE ON gamestate.player_stats
	REFERENCING OLD TABLE AS old_rows
	FOR EACH STATEMENT EXECUTE FUNCTION gamestate.player_stats_changed();
CREATE TRIGGER ranking_truncate AFTER TRUNCATE ON gamestate.player_stats
	FOR EACH STATEMENT EXECUTE FUNCTION gamestate.player_stats_changed();

-- STABLE: all of an answer is as of the caller's snapshot.
CREATE FUNCTION gamestate.leaderboard(
	game_type text,
	metric text,
	max_rows integer DEFAULT 10,
	around_player text DEFAULT NULL)
RETURNS TABLE (
	rank bigint,
	player text,
	value bigint,
	games bigint,
	wins bigint,
	losses bigint,
	draws bigint,
	last_played timestamptz)
AS 'MODULE_PATHNAME', 'gs_leaderboard' LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION gamestate.leaderboard(text, text, integer, text)
IS 'the best players of a game type by a metric (games, wins, losses, draws or a counter), or those around a player; players with the same value have the same rank (1, 2, 2, 4)';

-- Written by whoever archives games, see extension/gs_hook.c.
CREATE TABLE gamestate.hook_error (
	failed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	game_type text COLLATE pg_catalog."C" NOT NULL,
	usage text NOT NULL,
	function text NOT NULL,
	games uuid[] NOT NULL,
	sqlstate text NOT NULL,
	message text NOT NULL,
	detail text,
	context text
);
COMMENT ON TABLE gamestate.hook_error IS 'archive hooks and statistics rules that failed and were skipped; may be deleted from';
COMMENT ON COLUMN gamestate.hook_error.usage IS 'archive hook or statistics rule';
COMMENT ON COLUMN gamestate.hook_error.games IS 'archived games for which its work is missing';
ALTER TABLE gamestate.hook_error OWNER TO gamestate_owner;
SELECT pg_catalog.pg_extension_config_dump('gamestate.hook_error', '');

-- ---------------------------------------------------------------------------
-- Erasure
-- ---------------------------------------------------------------------------

-- Written by gamestate.anonymise_player(), see extension/gs_anonymise.c.
CREATE TABLE gamestate.erasure (
	number integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	player text COLLATE pg_catalog."C",
	pseudonym text NOT NULL,
	documents boolean NOT NULL,
	phase text NOT NULL DEFAULT 'dictionaries',
	table_id oid,
	last_game uuid,
	dictionaries integer[] NOT NULL DEFAULT '{}',
	kept_dictionaries integer NOT NULL DEFAULT 0,
	live_games bigint NOT NULL DEFAULT 0,
	rows bigint NOT NULL DEFAULT 0,
	payloads bigint NOT NULL DEFAULT 0,
	opaque_payloads bigint NOT NULL DEFAULT 0,
	damaged_payloads bigint NOT NULL DEFAULT 0,
	player_stats bigint NOT NULL DEFAULT 0,
	saved_games bigint NOT NULL DEFAULT 0,
	not_reached text[] NOT NULL DEFAULT '{}',
	started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	updated_at timestamptz,
	done_at timestamptz
);
COMMENT ON TABLE gamestate.erasure IS 'players who have been anonymised, or are being: progress and result of gamestate.anonymise_player()';
COMMENT ON COLUMN gamestate.erasure.player IS 'the id that is replaced; forgotten when it is done';
COMMENT ON COLUMN gamestate.erasure.pseudonym IS 'what takes its place: random';
COMMENT ON COLUMN gamestate.erasure.documents IS 'also in JSON documents';
COMMENT ON COLUMN gamestate.erasure.phase IS 'dictionaries, live games, tables, old dictionaries, statistics, live games again, saved games, done';
COMMENT ON COLUMN gamestate.erasure.table_id IS 'table that it is at';
COMMENT ON COLUMN gamestate.erasure.last_game IS 'the last game there that was looked at';
COMMENT ON COLUMN gamestate.erasure.dictionaries IS 'dictionaries that had the id, each with its successor';
COMMENT ON COLUMN gamestate.erasure.live_games IS 'live games that were changed';
COMMENT ON COLUMN gamestate.erasure.rows IS 'rows whose columns were changed';
COMMENT ON COLUMN gamestate.erasure.payloads IS 'payloads that were packed anew';
COMMENT ON COLUMN gamestate.erasure.opaque_payloads IS 'payloads of bytes, in which documents were not looked at';
COMMENT ON COLUMN gamestate.erasure.damaged_payloads IS 'payloads and saved games that could not be read';
COMMENT ON COLUMN gamestate.erasure.player_stats IS 'rows of player_stats that were given to the pseudonym';
COMMENT ON COLUMN gamestate.erasure.saved_games IS 'rows of gamestate.saved_games that were changed';
COMMENT ON COLUMN gamestate.erasure.not_reached IS 'frozen partitions that could not be changed, and why';
COMMENT ON SEQUENCE gamestate.erasure_number_seq IS 'numbers the rows of gamestate.erasure';
ALTER TABLE gamestate.erasure OWNER TO gamestate_owner;
SELECT pg_catalog.pg_extension_config_dump('gamestate.erasure', '');
SELECT pg_catalog.pg_extension_config_dump('gamestate.erasure_number_seq', '');

-- A procedure: it commits as it goes.
CREATE PROCEDURE gamestate.anonymise_player(
	player text,
	documents boolean DEFAULT true,
	INOUT report json DEFAULT NULL)
AS 'MODULE_PATHNAME', 'gs_anonymise_player' LANGUAGE C;
COMMENT ON PROCEDURE gamestate.anonymise_player(text, boolean, json)
IS 'replace a player''s id by a random pseudonym in live, saved and archived games, frozen ones included, statistics and dictionaries, and with documents also where a JSON string is the id; goes on where an earlier call was interrupted';

-- ---------------------------------------------------------------------------
-- Statistics
-- ---------------------------------------------------------------------------

CREATE FUNCTION gamestate.stat_memory(
	OUT total_bytes bigint,
	OUT used_bytes bigint,
	OUT database_bytes bigint,
	OUT quota_bytes bigint,
	OUT reserve_bytes bigint,
	OUT reserve_free_bytes bigint,
	OUT games bigint,
	OUT archive_queue bigint,
	OUT archive_delayed bigint,
	OUT archived_in_memory bigint)
AS 'MODULE_PATHNAME', 'gs_stat_memory' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.stat_memory()
IS 'shared memory of the active-game table and what this database has in it';

CREATE VIEW gamestate.stat_memory AS SELECT * FROM gamestate.stat_memory();
COMMENT ON VIEW gamestate.stat_memory IS 'shared memory of the active-game table and what this database has in it';
COMMENT ON COLUMN gamestate.stat_memory.total_bytes IS 'gamestate.memory';
COMMENT ON COLUMN gamestate.stat_memory.used_bytes IS 'allocated by the games of all databases';
COMMENT ON COLUMN gamestate.stat_memory.database_bytes IS 'allocated by the games of this database';
COMMENT ON COLUMN gamestate.stat_memory.quota_bytes IS 'gamestate.quota as this session has it; NULL = none';
COMMENT ON COLUMN gamestate.stat_memory.reserve_bytes IS 'kept back for what frees memory: finish, archive, delete';
COMMENT ON COLUMN gamestate.stat_memory.reserve_free_bytes IS 'how much of the reserve is unused now';
COMMENT ON COLUMN gamestate.stat_memory.games IS 'games of this database in shared memory';
COMMENT ON COLUMN gamestate.stat_memory.archive_queue IS 'games of this database that wait for the archive';
COMMENT ON COLUMN gamestate.stat_memory.archive_delayed IS 'games of this database that are over and stay live for a while (policy archive_delay)';
COMMENT ON COLUMN gamestate.stat_memory.archived_in_memory IS 'archived and suspended games kept until no older snapshot needs them';

CREATE FUNCTION gamestate.stat_workers(
	OUT database_oid oid,
	OUT database name,
	OUT kind text,
	OUT pid integer,
	OUT state text,
	OUT started_at timestamptz,
	OUT batches bigint,
	OUT games bigint,
	OUT raw_bytes bigint,
	OUT compressed_bytes bigint,
	OUT failures bigint,
	OUT games_set_aside bigint,
	OUT last_archived_at timestamptz,
	OUT last_error text,
	OUT last_error_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'gs_stat_workers' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION gamestate.stat_workers()
IS 'the background workers: the launcher, and of each database that has the extension the archiver and the maintenance worker, on a standby the follower';

CREATE VIEW gamestate.stat_workers AS SELECT * FROM gamestate.stat_workers();
COMMENT ON VIEW gamestate.stat_workers IS 'the background workers: the launcher, and of each database that has the extension the archiver and the maintenance worker, on a standby the follower';
COMMENT ON COLUMN gamestate.stat_workers.kind IS 'launcher, archiver, maintenance or, on a standby, follower';
COMMENT ON COLUMN gamestate.stat_workers.pid IS 'process id; NULL = none runs';
COMMENT ON COLUMN gamestate.stat_workers.state IS 'running, starting, stopped, paused (after failures), barred (a command needs the database without connections) or no free slot (max_worker_processes is used up)';
COMMENT ON COLUMN gamestate.stat_workers.batches IS 'transactions that archived games, since the server started';
COMMENT ON COLUMN gamestate.stat_workers.games IS 'games archived, since the server started';
COMMENT ON COLUMN gamestate.stat_workers.raw_bytes IS 'their states and logs before compression';
COMMENT ON COLUMN gamestate.stat_workers.compressed_bytes IS 'their states and logs as archived';
COMMENT ON COLUMN gamestate.stat_workers.failures IS 'transactions that failed';
COMMENT ON COLUMN gamestate.stat_workers.games_set_aside IS 'games that failed alone while others did not; they wait in memory and are tried again';
COMMENT ON COLUMN gamestate.stat_workers.last_error IS 'message of the last failure';

CREATE FUNCTION gamestate.stat_archiver(
	OUT database_oid oid,
	OUT database name,
	OUT game_type text,
	OUT queued bigint,
	OUT oldest_queued_at timestamptz,
	OUT batches bigint,
	OUT games bigint,
	OUT raw_bytes bigint,
	OUT compressed_bytes bigint,
	OUT last_archived_at timestamptz,
	OUT failures bigint,
	OUT dead_letters bigint,
	OUT last_sqlstate text,
	OUT last_error text,
	OUT last_error_at timestamptz,
	OUT pauses integer,
	OUT paused_until timestamptz,
	OUT batch_ms_p50 double precision,
	OUT batch_ms_p90 double precision,
	OUT batch_ms_p99 double precision)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'gs_stat_archiver' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 20;
COMMENT ON FUNCTION gamestate.stat_archiver()
IS 'archiving, by database and game type: what waits, what was done, what has failed';

CREATE VIEW gamestate.stat_archiver AS SELECT * FROM gamestate.stat_archiver();
COMMENT ON VIEW gamestate.stat_archiver IS 'archiving, by database and game type: what waits, what was done, what has failed; looks at all games in memory';
COMMENT ON COLUMN gamestate.stat_archiver.game_type IS 'NULL = the archiver as a whole: failures that are no type''s';
COMMENT ON COLUMN gamestate.stat_archiver.queued IS 'games that are over and wait in memory';
COMMENT ON COLUMN gamestate.stat_archiver.oldest_queued_at IS 'when the one of them ended that waits longest';
COMMENT ON COLUMN gamestate.stat_archiver.batches IS 'transactions that archived games of the type, since the server started; so is what follows, for the 256 types with the latest news';
COMMENT ON COLUMN gamestate.stat_archiver.raw_bytes IS 'their states and logs before compression';
COMMENT ON COLUMN gamestate.stat_archiver.compressed_bytes IS 'their states and logs as archived';
COMMENT ON COLUMN gamestate.stat_archiver.failures IS 'transactions with games of this type alone that failed';
COMMENT ON COLUMN gamestate.stat_archiver.dead_letters IS 'games moved to gamestate.dead_letter';
COMMENT ON COLUMN gamestate.stat_archiver.pauses IS 'pauses in a row; 0 = it does not pause';
COMMENT ON COLUMN gamestate.stat_archiver.paused_until IS 'end of the pause; gamestate.resume_archiving() ends it at once';
COMMENT ON COLUMN gamestate.stat_archiver.batch_ms_p50 IS 'half of the batches took no longer, to a fifth';
COMMENT ON COLUMN gamestate.stat_archiver.batch_ms_p90 IS '90 % of the batches took no longer';
COMMENT ON COLUMN gamestate.stat_archiver.batch_ms_p99 IS '99 % of the batches took no longer';

CREATE FUNCTION gamestate.resume_archiving(game_type text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'gs_resume_archiving' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.resume_archiving(text)
IS 'what pauses after failures, or is set aside, is tried again at once: games of a type, or all';

CREATE FUNCTION gamestate.stat_journal(
	OUT state text,
	OUT pid integer,
	OUT blocks_done bigint,
	OUT blocks_total bigint,
	OUT games_loaded bigint,
	OUT load_started_at timestamptz,
	OUT load_ms bigint,
	OUT problems bigint,
	OUT last_error text,
	OUT active_table text,
	OUT journal_bytes bigint,
	OUT journal_limit bigint,
	OUT rotating boolean,
	OUT rotations bigint,
	OUT last_rotation_ms bigint)
AS 'MODULE_PATHNAME', 'gs_stat_journal' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.stat_journal()
IS 'the journal of this database: how far its games are loaded, how large it is; never waits';

CREATE VIEW gamestate.stat_journal AS SELECT * FROM gamestate.stat_journal();
COMMENT ON VIEW gamestate.stat_journal IS 'the journal of this database: how far its games are loaded, how large it is; never waits';
COMMENT ON COLUMN gamestate.stat_journal.state IS 'not loaded, loading or loaded';
COMMENT ON COLUMN gamestate.stat_journal.pid IS 'process that loads';
COMMENT ON COLUMN gamestate.stat_journal.blocks_done IS 'blocks of the journal''s tables read by the last load so far';
COMMENT ON COLUMN gamestate.stat_journal.blocks_total IS 'blocks it has to read';
COMMENT ON COLUMN gamestate.stat_journal.games_loaded IS 'games it has put into memory so far';
COMMENT ON COLUMN gamestate.stat_journal.load_ms IS 'how long it took, or has taken so far';
COMMENT ON COLUMN gamestate.stat_journal.problems IS 'damaged rows and pages it has found, and games and transactions that are not whole for it; see gamestate.journal_damage and the server''s log';
COMMENT ON COLUMN gamestate.stat_journal.last_error IS 'why it failed last; NULL after it has succeeded';
COMMENT ON COLUMN gamestate.stat_journal.active_table IS 'table that is written to; NULL until the games are loaded';
COMMENT ON COLUMN gamestate.stat_journal.journal_bytes IS 'written to that table, about';
COMMENT ON COLUMN gamestate.stat_journal.journal_limit IS 'it is rotated beyond this: gamestate.journal_size, or twice what running games take';
COMMENT ON COLUMN gamestate.stat_journal.rotating IS 'the other table has not been emptied yet';
COMMENT ON COLUMN gamestate.stat_journal.rotations IS 'rotations since the server started';
COMMENT ON COLUMN gamestate.stat_journal.last_rotation_ms IS 'how long the last one took; NULL = there was none';

-- One view for all that takes long, in the style of pg_stat_progress_vacuum and
-- its like.  What is added to it says what it counts in "unit".
CREATE VIEW gamestate.progress_maintenance AS
WITH worker AS (
	SELECT w.kind, w.pid FROM gamestate.stat_workers w
	 WHERE w.database OPERATOR(pg_catalog.=) pg_catalog.current_database())
SELECT w.pid, pg_catalog.current_database() AS database, 'repack'::text AS command,
	   c.oid AS relid, r.state AS phase, coalesce(r.games, 0) AS done,
	   CASE WHEN c.reltuples OPERATOR(pg_catalog.>=) 0
			THEN greatest(c.reltuples::bigint, coalesce(r.games, 0)) END AS total,
	   'games'::text AS unit, r.started_at
  FROM gamestate.repack r
  LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.relid
  LEFT JOIN worker w ON w.kind OPERATOR(pg_catalog.=) 'maintenance'
 WHERE r.state NOT IN ('done', 'skipped')
 UNION ALL
SELECT w.pid, pg_catalog.current_database(), 'promote', NULL, p.state, l.copied,
	   greatest(l.total::bigint, l.copied), 'rows', p.started_at
  FROM gamestate.promotion p
  LEFT JOIN worker w ON w.kind OPERATOR(pg_catalog.=) 'maintenance',
	   LATERAL (SELECT coalesce(pg_catalog.sum(f.copied), 0)::bigint AS copied,
					   CASE WHEN pg_catalog.bool_and(c.reltuples OPERATOR(pg_catalog.>=) 0)
							THEN pg_catalog.sum(c.reltuples) END AS total
				  FROM gamestate.promotion_leaf f
				  LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) f.relid
				 WHERE f.game_type OPERATOR(pg_catalog.=) p.game_type) l
 WHERE p.state IN ('waiting', 'copying', 'settling')
 UNION ALL
SELECT w.pid, pg_catalog.current_database(), l.action,
	   c.oid, 'waiting', 0, 1, 'partitions', l.decided_at
  FROM gamestate.retention_log l
  LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) l.relid
  LEFT JOIN worker w ON w.kind OPERATOR(pg_catalog.=) 'maintenance'
 WHERE l.done_at IS NULL
 UNION ALL
SELECT j.pid, pg_catalog.current_database(), 'load', NULL, j.state, j.blocks_done,
	   j.blocks_total, 'blocks', j.load_started_at
  FROM gamestate.stat_journal j
 WHERE j.state OPERATOR(pg_catalog.=) 'loading'
 UNION ALL
SELECT w.pid, pg_catalog.current_database(), 'rotate',
	   pg_catalog.to_regclass(j.active_table)::oid, 'writing running games', NULL, NULL, NULL, NULL
  FROM gamestate.stat_journal j
  LEFT JOIN worker w ON w.kind OPERATOR(pg_catalog.=) 'archiver'
 WHERE j.rotating;
COMMENT ON VIEW gamestate.progress_maintenance IS 'work of the background processes in this database that takes long, and how far it is';
COMMENT ON COLUMN gamestate.progress_maintenance.pid IS 'process that does it; NULL = none runs';
COMMENT ON COLUMN gamestate.progress_maintenance.command IS 'repack, promote (a game type), detach or drop (retention), load (after a start), rotate (the journal)';
COMMENT ON COLUMN gamestate.progress_maintenance.relid IS 'table that it is about; NULL = none, or it is gone';
COMMENT ON COLUMN gamestate.progress_maintenance.phase IS 'what it does now; waiting = not begun';
COMMENT ON COLUMN gamestate.progress_maintenance.total IS 'of how many; may be an estimate; NULL = not known';
COMMENT ON COLUMN gamestate.progress_maintenance.unit IS 'what done and total count';

CREATE FUNCTION gamestate.stat_standby(
	OUT state text,
	OUT applied_lsn pg_lsn,
	OUT replay_lsn pg_lsn,
	OUT lag_bytes bigint,
	OUT lag_ms double precision,
	OUT transactions bigint,
	OUT pending bigint,
	OUT loads bigint,
	OUT scans bigint,
	OUT problems bigint,
	OUT last_problem text,
	OUT last_problem_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'gs_stat_standby' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 1;
COMMENT ON FUNCTION gamestate.stat_standby()
IS 'how this hot standby follows the journal of this database; no row on a primary';

CREATE VIEW gamestate.stat_standby AS SELECT * FROM gamestate.stat_standby();
COMMENT ON VIEW gamestate.stat_standby IS 'how this hot standby follows the journal of this database; no row on a primary';
COMMENT ON COLUMN gamestate.stat_standby.state IS 'loading, following, blocked (a journal table is locked), failed (tried again after a pause), stopped or off (gamestate.standby_reads)';
COMMENT ON COLUMN gamestate.stat_standby.applied_lsn IS 'all changes of games before this are in shared memory; NULL while loading';
COMMENT ON COLUMN gamestate.stat_standby.replay_lsn IS 'what the standby has replayed; a read waits until that is applied';
COMMENT ON COLUMN gamestate.stat_standby.lag_bytes IS 'WAL between the two';
COMMENT ON COLUMN gamestate.stat_standby.lag_ms IS 'how long ago all that had been replayed was applied; 0 if it is now. While nobody reads, up to 200';
COMMENT ON COLUMN gamestate.stat_standby.transactions IS 'transactions of the journal applied by this follower';
COMMENT ON COLUMN gamestate.stat_standby.pending IS 'transactions of the journal that are not committed, or that a crash of the primary has torn';
COMMENT ON COLUMN gamestate.stat_standby.loads IS 'how often all games were loaded anew: at start, after VACUUM FULL of a journal table, after a failure';
COMMENT ON COLUMN gamestate.stat_standby.scans IS 'how often the whole journal was read because the WAL was gone';
COMMENT ON COLUMN gamestate.stat_standby.problems IS 'damaged rows, and games that cannot be followed; each is in the server log';
COMMENT ON COLUMN gamestate.stat_standby.last_problem IS 'message of the last failure';

CREATE FUNCTION gamestate.stat_feed(
	OUT feed_position bigint,
	OUT oldest_position bigint,
	OUT changes bigint,
	OUT bytes bigint,
	OUT size_bytes bigint,
	OUT kept_changes bigint,
	OUT pending bigint,
	OUT lost bigint,
	OUT gaps bigint,
	OUT waiters integer,
	OUT max_waiters integer,
	OUT wakeups bigint,
	OUT lag bigint)
AS 'MODULE_PATHNAME', 'gs_stat_feed' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.stat_feed()
IS 'the change feed of this server, and who waits for changes';

CREATE VIEW gamestate.stat_feed AS SELECT * FROM gamestate.stat_feed();
COMMENT ON VIEW gamestate.stat_feed IS 'the change feed of this server, and who waits for changes';
COMMENT ON COLUMN gamestate.stat_feed.feed_position IS 'position now, as feed_position() gives it in this database';
COMMENT ON COLUMN gamestate.stat_feed.oldest_position IS 'from here on changes can still be read, about';
COMMENT ON COLUMN gamestate.stat_feed.changes IS 'changes of all databases since the server started';
COMMENT ON COLUMN gamestate.stat_feed.bytes IS 'what they took in the feed';
COMMENT ON COLUMN gamestate.stat_feed.size_bytes IS 'gamestate.feed_size';
COMMENT ON COLUMN gamestate.stat_feed.kept_changes IS 'changes that can still be read, about: how far a waiter may be behind';
COMMENT ON COLUMN gamestate.stat_feed.pending IS 'transactions that are told of when they are as durable as their writers asked for';
COMMENT ON COLUMN gamestate.stat_feed.lost IS 'transactions that were overwritten before they were; all waiters got a gap';
COMMENT ON COLUMN gamestate.stat_feed.gaps IS 'rows of kind gap in answers of wait_changes()';
COMMENT ON COLUMN gamestate.stat_feed.waiters IS 'sessions of all databases that wait for changes now';
COMMENT ON COLUMN gamestate.stat_feed.max_waiters IS 'gamestate.max_waiters';
COMMENT ON COLUMN gamestate.stat_feed.wakeups IS 'how often a waiter was woken';
COMMENT ON COLUMN gamestate.stat_feed.lag IS 'changes that the slowest waiter of this database has still to look at; NULL = nobody waits';

CREATE FUNCTION gamestate.stat_timer(
	OUT timers bigint,
	OUT next_at timestamptz,
	OUT deadlines bigint,
	OUT last_late_ms double precision,
	OUT max_late_ms double precision)
AS 'MODULE_PATHNAME', 'gs_stat_timer' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.stat_timer()
IS 'what is timed in this database: deadlines, leases, players who are watched';

CREATE VIEW gamestate.stat_timer AS SELECT * FROM gamestate.stat_timer();
COMMENT ON VIEW gamestate.stat_timer IS 'what is timed in this database: deadlines, leases, players who are watched';
COMMENT ON COLUMN gamestate.stat_timer.timers IS 'how many wait for their time; among them what has been put off or taken back since';
COMMENT ON COLUMN gamestate.stat_timer.next_at IS 'when the timer worker looks next; NULL = nothing waits';
COMMENT ON COLUMN gamestate.stat_timer.deadlines IS 'deadlines set off since the server started';
COMMENT ON COLUMN gamestate.stat_timer.last_late_ms IS 'from the deadline (or the last change of the game, or the load, if that was later) until it had been set off, of the last one';
COMMENT ON COLUMN gamestate.stat_timer.max_late_ms IS 'the same of the latest one';

CREATE FUNCTION gamestate.stat_presence(
	OUT connected bigint,
	OUT disconnected bigint,
	OUT places bigint,
	OUT max_places bigint)
AS 'MODULE_PATHNAME', 'gs_stat_presence' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.stat_presence()
IS 'how many players are connected to games of this database';

CREATE VIEW gamestate.stat_presence AS SELECT * FROM gamestate.stat_presence();
COMMENT ON VIEW gamestate.stat_presence IS 'how many players are connected to games of this database';
COMMENT ON COLUMN gamestate.stat_presence.connected IS 'players who are connected, each counted in each of his games';
COMMENT ON COLUMN gamestate.stat_presence.disconnected IS 'players who were, and are remembered';
COMMENT ON COLUMN gamestate.stat_presence.places IS 'both, of all databases';
COMMENT ON COLUMN gamestate.stat_presence.max_places IS 'gamestate.max_connected_players';

CREATE FUNCTION gamestate.stat_rate_limit(
	OUT keys bigint,
	OUT max_keys bigint,
	OUT evicted bigint,
	OUT allowed bigint,
	OUT refused bigint,
	OUT busy_sessions double precision)
AS 'MODULE_PATHNAME', 'gs_stat_rate_limit' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION gamestate.stat_rate_limit()
IS 'rate limits of this server, all databases';

CREATE VIEW gamestate.stat_rate_limit AS SELECT * FROM gamestate.stat_rate_limit();
COMMENT ON VIEW gamestate.stat_rate_limit IS 'rate limits of this server, all databases';
COMMENT ON COLUMN gamestate.stat_rate_limit.keys IS 'players, games and other keys, for each limit, whose use is remembered';
COMMENT ON COLUMN gamestate.stat_rate_limit.max_keys IS 'how many can be: gamestate.rate_limit_keys, rounded up';
COMMENT ON COLUMN gamestate.stat_rate_limit.evicted IS 'keys that made room for others, and begin anew when they come again';
COMMENT ON COLUMN gamestate.stat_rate_limit.allowed IS 'what limits have let pass since the server started';
COMMENT ON COLUMN gamestate.stat_rate_limit.refused IS 'what they have refused';
COMMENT ON COLUMN gamestate.stat_rate_limit.busy_sessions IS 'sessions that execute something, or wait for something else than their client: an average of the last second';

-- Internal: the rows of the batch that the archiver inserts just now.  They
-- raise an error anywhere else.
CREATE FUNCTION gamestate.archiver_rows()
RETURNS TABLE (
	game_id uuid,
	game_type text,
	status text,
	encoding text,
	players text[],
	max_players integer,
	room_code text,
	metadata json,
	result json,
	created_at timestamptz,
	started_at timestamptz,
	ended_at timestamptz,
	version bigint,
	moves bigint)
AS 'MODULE_PATHNAME', 'gs_archiver_rows' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.archiver_rows() IS 'internal: what the archiver inserts into gamestate.archive';

CREATE FUNCTION gamestate.archiver_payloads()
RETURNS TABLE (
	game_id uuid,
	game_type text,
	ended_at timestamptz,
	format smallint,
	dictionary integer,
	raw_size integer,
	checksum bigint,
	payload bytea)
AS 'MODULE_PATHNAME', 'gs_archiver_payloads' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.archiver_payloads() IS 'internal: what the archiver inserts into gamestate.archive_payload';

-- Internal as well.  A payload made anew; not strict, as there may be no dictionary.
CREATE FUNCTION gamestate.archiver_repack(
	INOUT format smallint,
	INOUT dictionary integer,
	raw_size integer,
	checksum bigint,
	INOUT payload bytea,
	level integer,
	new_dictionary integer)
AS 'MODULE_PATHNAME', 'gs_archiver_repack' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.archiver_repack(smallint, integer, integer, bigint, bytea, integer, integer) IS 'internal: a payload compressed anew, or as it was if that is not smaller';

CREATE FUNCTION gamestate.import_games(games text[])
RETURNS TABLE (
	ord integer,
	game_id uuid,
	outcome text,
	sqlstate text,
	message text)
AS 'MODULE_PATHNAME', 'gs_import_games' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION gamestate.import_games(text[])
IS 'put games that are over into the archive, each a JSON object as `gamestate export` writes it; says of each whether it was imported, skipped (the same game is archived already) or refused, and why';

CREATE FUNCTION gamestate.allow_drop_extension()
RETURNS void
AS 'MODULE_PATHNAME', 'gs_allow_drop_extension' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION gamestate.allow_drop_extension()
IS 'permit this session''s next DROP EXTENSION gamestate to delete all games, live and archived; superusers only';

REVOKE ALL ON FUNCTION gamestate.stat_workers(), gamestate.stat_archiver(), gamestate.stat_journal(), gamestate.stat_standby(),
	gamestate.archiver_rows(),
	gamestate.archiver_payloads(), gamestate.allow_drop_extension() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gamestate.archiver_rows(), gamestate.archiver_payloads(),
	gamestate.archiver_repack(smallint, integer, integer, bigint, bytea, integer, integer)
	TO gamestate_owner;

-- ---------------------------------------------------------------------------
-- Policies as they hold
-- ---------------------------------------------------------------------------

CREATE VIEW gamestate.effective_policies AS
SELECT t.game_type,
	   coalesce(p.durability, d.durability, pg_catalog.current_setting('gamestate.durability', true)) AS durability,
	   coalesce(p.history, d.history, 'full') AS history,
	   coalesce(p.archive_delay, d.archive_delay, '0') AS archive_delay,
	   coalesce(p.archive_batch, d.archive_batch,
				pg_catalog.current_setting('gamestate.archive_batch', true)::integer) AS archive_batch,
	   coalesce(p.archive_priority, d.archive_priority, 0) AS archive_priority,
	   coalesce(p.archive_attempts, d.archive_attempts, 8) AS archive_attempts,
	   coalesce(p.inactivity_limit, d.inactivity_limit) AS inactivity_limit,
	   coalesce(p.inactivity_action, d.inactivity_action, 'report') AS inactivity_action,
	   coalesce(p.resume_on_move, d.resume_on_move, false) AS resume_on_move,
	   coalesce(p.suspend_on_pressure, d.suspend_on_pressure, false) AS suspend_on_pressure,
	   coalesce(p.suspended_after, d.suspended_after) AS suspended_after,
	   coalesce(p.compression_level, d.compression_level,
				pg_catalog.current_setting('gamestate.archive_compression_level', true)::smallint) AS compression_level,
	   coalesce(p.dictionary, d.dictionary, true) AS dictionary,
	   coalesce(p.repack, d.repack, false) AS repack,
	   coalesce(p.repack_level, d.repack_level, 19) AS repack_level,
	   coalesce(p.retention, d.retention) AS retention,
	   coalesce(p.retention_action, d.retention_action, 'drop') AS retention_action,
	   coalesce(p.payload_retention, d.payload_retention) AS payload_retention,
	   coalesce(p.partition_interval, d.partition_interval, 'day') AS partition_interval,
	   coalesce(p.make_ahead, d.make_ahead,
				pg_catalog.current_setting('gamestate.archive_make_ahead', true)::smallint) AS make_ahead,
	   coalesce(p.old_tablespace, d.old_tablespace) AS old_tablespace,
	   coalesce(p.old_tablespace_after, d.old_tablespace_after) AS old_tablespace_after,
	   coalesce(p.freeze_after, d.freeze_after) AS freeze_after,
	   coalesce(p.absence_after, d.absence_after) AS absence_after,
	   coalesce(p.absence_action, d.absence_action) AS absence_action,
	   coalesce(p.player_rate_limit, d.player_rate_limit) AS player_rate_limit,
	   coalesce(p.game_rate_limit, d.game_rate_limit) AS game_rate_limit,
	   coalesce(p.max_state_size, d.max_state_size) AS max_state_size,
	   coalesce(p.max_event_size, d.max_event_size) AS max_event_size,
	   coalesce(p.max_log, d.max_log) AS max_log,
	   coalesce(p.player_stats, d.player_stats, true) AS player_stats,
	   coalesce(p.stats_rule, d.stats_rule, 'gamestate.default_stats_rule') AS stats_rule,
	   coalesce(p.leaderboards, d.leaderboards) AS leaderboards,
	   coalesce(p.archive_hook, d.archive_hook) AS archive_hook,
	   coalesce(p.hook_failure, d.hook_failure, 'block') AS hook_failure
  FROM (SELECT game_type FROM gamestate.policy UNION SELECT '') t
  LEFT JOIN gamestate.policy p ON p.game_type = t.game_type
  LEFT JOIN gamestate.policy d ON d.game_type = '';
COMMENT ON VIEW gamestate.effective_policies IS 'what holds for the game types that have a policy, and, in the row of the empty type, for all others; NULL = no limit, none';

-- list_live_games() runs with the rights of who queries the view; policies are no secret.
CREATE VIEW gamestate.inactive_games AS
SELECT g.game_id, g.game_type, g.status, g.version, g.players, g.updated_at,
	   pg_catalog.clock_timestamp() - g.updated_at AS inactive_for,
	   e.inactivity_limit, e.inactivity_action
  FROM gamestate.list_live_games(with_state => false) g
  JOIN gamestate.effective_policies e
	ON e.game_type = CASE WHEN EXISTS (SELECT FROM gamestate.policy p WHERE p.game_type = g.game_type)
						  THEN g.game_type ELSE '' END
 WHERE g.status IN ('waiting', 'active')
   AND g.updated_at < pg_catalog.clock_timestamp() - e.inactivity_limit;
COMMENT ON VIEW gamestate.inactive_games IS 'live games that nobody has changed for as long as their inactivity_limit says';
COMMENT ON COLUMN gamestate.inactive_games.inactive_for IS 'time since the last change';

-- ---------------------------------------------------------------------------
-- Grants
-- ---------------------------------------------------------------------------

-- One place says who may call or read what.  A function or view that is in
-- none of these lists is granted to nobody; a test fails until it is in one.
--	common		harmless and useful to all of them
--	write		functions that change a game
--	read		functions that read running games, and finished ones by id
--	live		running games as tables
--	archive		the archive as tables
--	memory		statistics that a game server needs
--	statistics	other statistics
--	operate		what operators call, and the tables that belong to it
--	worker		what the workers call: gamestate_owner alone
--	internal	nobody but the extension's owner
CREATE FUNCTION gamestate.privilege_class(object_name name)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
	WHEN object_name IN ('to_jsonb', 'library_version', 'default_stats_rule', 'add_counters',
		'leaderboard')
		THEN 'common'
	WHEN object_name IN (
		'create_game', 'create_game_bytes', 'apply_move', 'apply_move_bytes',
		'apply_patch', 'apply_moves', 'apply_moves_bytes',
		'set_metadata', 'set_room_code', 'set_deadline', 'start_game', 'join_game', 'join_any',
		'join_any_bytes', 'leave_game', 'restore_game',
		'finish_game', 'delete_game', 'suspend_game', 'resume_game', 'allow',
		'connect_player', 'heartbeat', 'disconnect_player', 'renew_connection', 'reconnect',
		'claim_games', 'renew_lease', 'release_games')
		THEN 'write'
	WHEN object_name IN (
		'get_game', 'get_state', 'get_state_bytes', 'get_state_if_newer',
		'get_state_if_newer_bytes', 'get_states', 'get_states_bytes', 'get_version',
		'state_at', 'state_at_bytes', 'get_changes', 'wait_changes', 'feed_position', 'list_leases',
		'find_room', 'player_games', 'player_presence', 'open_rooms', 'list_live_games',
		'list_stored_games')
		THEN 'read'
	WHEN object_name IN ('live_games', 'games', 'inactive_games', 'suspended', 'suspended_games',
		'suspended_state', 'suspended_state_bytes')
		THEN 'live'
	WHEN object_name IN (
		'archive', 'archive_payload', 'archived_games', 'archived_moves', 'dead_letter',
		'payload_final_state', 'payload_final_state_bytes',
		'archived_initial_state', 'archived_initial_state_bytes',
		'archived_final_state', 'archived_final_state_bytes', 'archived_log',
		'player_stats')
		THEN 'archive'
	WHEN object_name = 'stat_memory'
		THEN 'memory'
	WHEN object_name LIKE 'stat\_%' OR object_name LIKE 'progress\_%'
		OR object_name IN ('retention_log', 'hook_error', 'tablespace_log')
		THEN 'statistics'
	WHEN object_name IN ('policy', 'effective_policies', 'rate_limit', 'dictionary', 'saved_games', 'deleted_games', 'save_live_games', 'load_saved_games',
		'verify_archive', 'repack_partition', 'promote_type', 'cancel_promotion', 'freeze_partition', 'thaw_partition', 'cold_file',
		'import_games', 'resume_archiving', 'retry_dead_letter', 'discard_dead_letter',
		'anonymise_player', 'erasure')
		THEN 'operate'
	WHEN object_name LIKE 'archiver\_%' OR object_name = 'policy_function'
		THEN 'worker'
	ELSE 'internal'
END
$$;
COMMENT ON FUNCTION gamestate.privilege_class(name) IS 'which kind of role may use a function, table or view of this name: common, write, read, live, archive, memory, statistics, operate, worker or internal (nobody)';

-- What GRANT takes between the verb and TO.  Only members of the extension, so
-- nothing that somebody else put into the schema is handed out.
CREATE FUNCTION gamestate.privileges(classes text[])
RETURNS SETOF text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT format('EXECUTE ON ROUTINE %s', p.oid::regprocedure)
  FROM pg_proc p, pg_depend d, pg_extension e
 WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
   AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
   AND d.deptype = 'e' AND e.extname = 'gamestate'
   AND p.pronamespace = 'gamestate'::regnamespace
   AND gamestate.privilege_class(p.proname) = ANY (classes)
UNION ALL
SELECT format('SELECT ON TABLE %s', c.oid::regclass)
  FROM pg_class c, pg_depend d, pg_extension e
 WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
   AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
   AND d.deptype = 'e' AND e.extname = 'gamestate'
   AND c.relnamespace = 'gamestate'::regnamespace
   AND c.relkind IN ('r', 'p', 'v')
   AND gamestate.privilege_class(c.relname) = ANY (classes)
$$;
COMMENT ON FUNCTION gamestate.privileges(text[]) IS 'privileges on the objects of some classes, as GRANT writes them';

CREATE FUNCTION gamestate.grant_privileges(role regrole, classes text[])
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	privilege	text;
BEGIN
	IF role IS NULL OR role::oid = 0 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'a role is required';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_roles WHERE oid = role) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('role %s does not exist', role);
	END IF;
	EXECUTE format('GRANT USAGE ON SCHEMA gamestate TO %s', role);
	FOR privilege IN SELECT gamestate.privileges(classes) LOOP
		EXECUTE format('GRANT %s TO %s', privilege, role);
	END LOOP;
END
$$;
COMMENT ON FUNCTION gamestate.grant_privileges(regrole, text[]) IS 'what the grant_ functions share';

-- SECURITY INVOKER, all of them: who may grant is PostgreSQL's question.
CREATE FUNCTION gamestate.grant_server(role regrole)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM gamestate.grant_privileges(role, '{common,write,read,memory}');
END
$$;
COMMENT ON FUNCTION gamestate.grant_server(regrole) IS 'what a game server needs: all functions that change and read games, and no table';

CREATE FUNCTION gamestate.grant_reader(role regrole, live boolean DEFAULT false)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM gamestate.grant_privileges(role,
		CASE WHEN live THEN '{common,archive,read,live}'::text[]
			 ELSE '{common,archive}'::text[] END);
END
$$;
COMMENT ON FUNCTION gamestate.grant_reader(regrole, boolean) IS 'what an analyst needs: the archive''s tables and views; with live := true the running games too; nothing that changes a game';

CREATE FUNCTION gamestate.grant_admin(role regrole)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM gamestate.grant_privileges(role,
		'{common,write,read,live,archive,memory,statistics,operate}');
	EXECUTE format('GRANT gamestate_owner TO %s', role);
END
$$;
COMMENT ON FUNCTION gamestate.grant_admin(regrole) IS 'what an operator needs: all of server and reader, statistics, saving and loading live games for a dump, and membership in gamestate_owner, so that GRANT on the archive, DETACH, DROP and CREATE INDEX on its partitions and on a game type''s branch, and changes of gamestate.policy are plain SQL; that role belongs to the whole cluster, so its members own the archives of all databases';

CREATE FUNCTION gamestate.revoke_all(role regrole)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF role IS NULL OR role::oid = 0 OR role = 'gamestate_owner'::regrole THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'a role other than gamestate_owner is required';
	END IF;
	EXECUTE format('REVOKE ALL ON ALL ROUTINES IN SCHEMA gamestate FROM %s', role);
	EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA gamestate FROM %s', role);
	EXECUTE format('REVOKE ALL ON SCHEMA gamestate FROM %s', role);
	IF EXISTS (SELECT FROM pg_auth_members
				WHERE roleid = 'gamestate_owner'::regrole AND member = role) THEN
		EXECUTE format('REVOKE gamestate_owner FROM %s', role);
	END IF;
END
$$;
COMMENT ON FUNCTION gamestate.revoke_all(regrole) IS 'take back what grant_server, grant_reader and grant_admin gave, in the whole cluster as far as gamestate_owner goes';

REVOKE ALL ON ALL ROUTINES IN SCHEMA gamestate FROM PUBLIC;

-- The workers act as gamestate_owner, and so do indexes and generated columns
-- that a DBA puts on the archive, to_jsonb() in them for example.
DO $$
BEGIN
	PERFORM gamestate.grant_privileges('gamestate_owner', '{common,archive,worker}');
	-- monitoring tools see statistics without a grant of ours
	PERFORM gamestate.grant_privileges('pg_monitor', '{memory,statistics}');
END
$$;

-- The library that is loaded must be the one this script was written for.
DO $$
BEGIN
	IF gamestate.library_version() OPERATOR(pg_catalog.<>) '0.1.0' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = pg_catalog.format('gamestate library has version %s, the extension script 0.1.0',
							 gamestate.library_version()),
			HINT = 'Install library and scripts of the same release and restart the server.';
	END IF;
END
$$;
