/*
 * Who may do what: a game server, an analyst, an analyst who also sees running
 * games, an operator, a monitoring tool, and somebody without any grant.  Each
 * may do exactly what it should; everything else is 42501.
 *
 * One archived game is needed, so the first part commits; roles are made and
 * forgotten in one transaction that is rolled back.
 */
\unset ECHO
\set QUIET on
\pset format unaligned
\pset tuples_only on
\set ON_ERROR_STOP on
SET client_min_messages = error;	-- a GRANT that grants nothing warns

SELECT gamestate.create_game('gr_archived', '{"s": 1}') AS archived \gset
SELECT gamestate.apply_move(:'archived', 1, '{"m": 1}', '{"s": 2}') \gset unused_
SELECT gamestate.finish_game(:'archived') \gset unused_
SELECT set_config('gr.archived', :'archived', false) \gset unused_
DO $$
BEGIN
	FOR i IN 1..3000 LOOP
		EXIT WHEN (gamestate.get_game(current_setting('gr.archived')::uuid)).tier = 'archived';
		PERFORM pg_sleep(0.01);
	END LOOP;
END
$$;

BEGIN;
SELECT no_plan();

CREATE ROLE gr_server LOGIN;
CREATE ROLE gr_reader LOGIN;
CREATE ROLE gr_reader_live LOGIN;
CREATE ROLE gr_admin LOGIN;
CREATE ROLE gr_monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE "gr nobody" LOGIN;
SELECT gamestate.grant_server('gr_server'), gamestate.grant_reader('gr_reader'),
	   gamestate.grant_reader('gr_reader_live', live => true),
	   gamestate.grant_admin('gr_admin') \gset unused_

-- What a statement does as a role: its SQLSTATE, 00000 = it works.  Whatever
-- it did is undone.
CREATE FUNCTION pg_temp.as_role(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
BEGIN
	BEGIN
		EXECUTE format('SET LOCAL ROLE %I', role);
		EXECUTE statement;
		RAISE EXCEPTION USING ERRCODE = 'ZZ000';
	EXCEPTION WHEN OTHERS THEN
		state := CASE SQLSTATE WHEN 'ZZ000' THEN '00000' ELSE SQLSTATE END;
	END;
	RESET ROLE;
	RETURN state;
END
$$;

-- a GRANT that has no effect is only a warning
CREATE FUNCTION pg_temp.grant_archive() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	GRANT SELECT ON gamestate.archive TO "gr nobody";
	IF NOT has_table_privilege('gr nobody', 'gamestate.archive', 'SELECT') THEN
		RAISE insufficient_privilege;
	END IF;
END
$$;

-- games of the statements below
SELECT gamestate.create_game('gr', game_id => '0d000000-0000-4000-8000-000000000001',
		players => '{anna}', room_code => 'gr-room'),
	   gamestate.create_game_bytes('gr', game_id => '0d000000-0000-4000-8000-000000000002'),
	   gamestate.create_game('gr', game_id => '0d000000-0000-4000-8000-000000000003',
		status => 'waiting') \gset unused_

INSERT INTO gamestate.rate_limit (name, amount) VALUES ('gr_limit', 1000);

SELECT is((gamestate.get_game(:'archived')).tier, 'archived', 'the worker has archived a game');

-- s = server, r = reader, l = reader with live, a = admin, m = monitor
CREATE TEMP TABLE statements (may text, statement text);
INSERT INTO statements VALUES
	-- changes
	('sa', $$SELECT gamestate.create_game('gr')$$),
	('sa', $$SELECT gamestate.create_game_bytes('gr')$$),
	('sa', $$SELECT gamestate.apply_move(G, NULL, '{}', NULL)$$),
	('sa', $$SELECT gamestate.apply_move_bytes(B, NULL, '', NULL)$$),
	('sa', $$SELECT count(gamestate.connect_player(G, 'anna')) FROM generate_series(1, 0)$$),
	('sa', $$SELECT gamestate.set_metadata(G, '{}')$$),
	('sa', $$SELECT gamestate.set_room_code(G, 'gr-other')$$),
	('sa', $$SELECT gamestate.start_game(W)$$),
	('sa', $$SELECT gamestate.join_game(W, 'bob')$$),
	('sa', $$SELECT gamestate.leave_game(G, 'anna')$$),
	('sa', $$SELECT gamestate.finish_game(G)$$),
	('sa', $$SELECT gamestate.delete_game(G)$$),
	('sa', $$SELECT gamestate.allow('gr', 1, 'gr_limit')$$),
	('sa', $$SELECT gamestate.renew_connection(G)$$),
	('sa', $$SELECT gamestate.heartbeat(G)$$),
	('sa', $$SELECT gamestate.disconnect_player(G)$$),
	('sa', $$SELECT gamestate.reconnect(G)$$),
	('sla', $$SELECT gamestate.player_presence(G)$$),
	('am', 'SELECT * FROM gamestate.stat_presence'),
	-- reads, of an archived game too
	('sla', 'SELECT gamestate.get_game(G)'),
	('sla', 'SELECT gamestate.get_game(A)'),
	('sla', 'SELECT gamestate.get_state(G)'),
	('sla', 'SELECT gamestate.get_state(A)'),
	('sla', 'SELECT gamestate.get_state_bytes(B)'),
	('sla', 'SELECT gamestate.get_version(G)'),
	('sla', 'SELECT gamestate.get_changes(G)'),
	('sla', 'SELECT gamestate.get_changes(A)'),
	('sla', $$SELECT gamestate.find_room('gr-room')$$),
	('sla', $$SELECT gamestate.player_games('anna')$$),
	('sla', 'SELECT gamestate.list_live_games()'),
	('sla', 'SELECT gamestate.list_stored_games(NULL, now())'),
	-- running games as tables
	('la', 'SELECT * FROM gamestate.live_games'),
	('la', 'SELECT * FROM gamestate.games'),
	-- the archive
	('rla', 'SELECT * FROM gamestate.archive'),
	('rla', 'SELECT * FROM gamestate.archive_payload'),
	('rla', 'SELECT * FROM gamestate.archived_games'),
	('rla', $$SELECT final_state_jsonb FROM gamestate.archived_games WHERE game_id = A$$),
	('rla', 'SELECT * FROM gamestate.archived_moves'),
	('rla', $$SELECT gamestate.archived_initial_state('gr', now(), A)$$),
	('rla', $$SELECT gamestate.archived_initial_state_bytes('gr', now(), A)$$),
	('rla', $$SELECT gamestate.archived_final_state('gr', now(), A)$$),
	('rla', $$SELECT gamestate.archived_final_state_bytes('gr', now(), A)$$),
	('rla', $$SELECT gamestate.archived_log('gr', now(), A)$$),
	-- harmless
	('srla', $$SELECT gamestate.to_jsonb('{}')$$),
	('srla', 'SELECT gamestate.library_version()'),
	('srla', $$SELECT gamestate.leaderboard('gr', 'wins')$$),
	('srla', $$SELECT gamestate.default_stats_rule('gr', '{anna}', '{}')$$),
	('srla', $$SELECT gamestate.add_counters('{}', '{}')$$),
	('rla', 'SELECT * FROM gamestate.player_stats'),
	-- statistics
	('sam', 'SELECT gamestate.stat_memory()'),
	('sam', 'SELECT * FROM gamestate.stat_memory'),
	('am', 'SELECT gamestate.stat_workers()'),
	('am', 'SELECT * FROM gamestate.stat_workers'),
	('am', 'SELECT * FROM gamestate.hook_error'),
	('am', 'SELECT * FROM gamestate.stat_archiver'),
	('am', 'SELECT * FROM gamestate.progress_maintenance'),
	('rla', 'SELECT * FROM gamestate.dead_letter'),
	-- what belongs to the operator
	('a', $$INSERT INTO gamestate.archive SELECT * FROM gamestate.archive WHERE false$$),
	('a', $$UPDATE gamestate.archive SET room_code = 'x' WHERE game_id = A$$),
	('a', $$DELETE FROM gamestate.archive WHERE game_id = A$$),
	('a', $$DELETE FROM gamestate.archive_payload WHERE game_id = A$$),
	('a', 'TRUNCATE gamestate.archive'),
	('a', 'SELECT * FROM gamestate_partitions.archive_gr_archived'),
	('a', $$CREATE INDEX ON gamestate_partitions.archive_gr_archived ((metadata ->> 'x'))$$),
	('a', $$CREATE INDEX ON gamestate_partitions.archive_gr_archived ((gamestate.to_jsonb(metadata) ->> 'x'))$$),
	('a', 'SELECT pg_temp.grant_archive()'),
	('a', 'SELECT * FROM gamestate.policy'),
	('a', $$INSERT INTO gamestate.policy VALUES ('gr', 'memory')$$),
	('a', $$UPDATE gamestate.policy SET durability = 'journal'$$),
	('a', 'DELETE FROM gamestate.policy'),
	('a', 'TRUNCATE gamestate.policy'),
	('a', $$INSERT INTO gamestate.rate_limit (name, amount) VALUES ('gr', 1)$$),
	('a', $$UPDATE gamestate.policy SET game_rate_limit = 'gr_limit'$$),
	('am', 'SELECT * FROM gamestate.stat_rate_limit'),
	('a', 'UPDATE gamestate.player_stats SET wins = 0'),
	('a', 'DELETE FROM gamestate.hook_error'),
	('a', 'SELECT * FROM gamestate.erasure'),
	('a', 'SELECT * FROM gamestate.ranking'),
	('a', 'SELECT * FROM gamestate.policy_function'),
	('a', 'SELECT * FROM gamestate.saved_games'),
	('a', 'TRUNCATE gamestate.saved_games'),
	('a', 'SELECT gamestate.resume_archiving()'),
	('a', 'SELECT gamestate.retry_dead_letter(G)'),
	('a', 'SELECT gamestate.discard_dead_letter(G)'),
	('a', 'DELETE FROM gamestate.dead_letter'),
	('a', 'CREATE TABLE gamestate_partitions.gr (x int)'),
	('a', 'ALTER TABLE gamestate.archive DETACH PARTITION gamestate_partitions.archive_gr_archived'),
	-- nobody but the extension's owner
	('', $$CREATE INDEX ON gamestate.archive ((metadata ->> 'x'))$$),
	('', 'CREATE TABLE gamestate.gr (x int)'),
	('', 'CREATE FUNCTION gamestate.gr() RETURNS int LANGUAGE sql AS ''SELECT 1'''),
	('', 'DROP EXTENSION gamestate'),
	('', 'SELECT gamestate.allow_drop_extension()'),
	('', 'DELETE FROM gamestate.policy_function'),
	('', $$INSERT INTO gamestate.policy_function VALUES ('gr', 'pg_catalog.now', 'postgres')$$),
	('', $$SELECT gamestate.grant_server('"gr nobody"')$$),
	('', $$SELECT gamestate.grant_reader('"gr nobody"')$$),
	('', $$SELECT gamestate.grant_admin('"gr nobody"')$$),
	('', $$SELECT gamestate.revoke_all('gr_server')$$),
	('', $$SELECT gamestate.grant_privileges('"gr nobody"', '{write}')$$),
	('', $$SELECT gamestate.privileges('{write}')$$),
	('', $$SELECT gamestate.privilege_class('get_game')$$);

UPDATE statements SET statement = replace(statement, v, w)
  FROM (VALUES ('(G', '(''0d000000-0000-4000-8000-000000000001'''),
			   ('(B', '(''0d000000-0000-4000-8000-000000000002'''),
			   ('(W', '(''0d000000-0000-4000-8000-000000000003''')) x(v, w)
 WHERE strpos(statement, v) > 0;
UPDATE statements SET statement = regexp_replace(statement, '\mA\M', quote_literal(:'archived'));

SELECT is(pg_temp.as_role(role, statement),
		  CASE WHEN strpos(may, letter) > 0 THEN '00000' ELSE '42501' END,
		  role || ': ' || statement)
  FROM statements,
	   (VALUES (1, 's', 'gr_server'), (2, 'r', 'gr_reader'), (3, 'l', 'gr_reader_live'),
			   (4, 'a', 'gr_admin'), (5, 'm', 'gr_monitor'), (6, 'x', 'gr nobody'))
	   roles(ord, letter, role)
 ORDER BY ord, statement;

-- the statements are valid, so 42501 above means what it says
SELECT is(pg_temp.as_role(current_user, statement), '00000', 'superuser: ' || statement)
  FROM statements WHERE statement <> 'DROP EXTENSION gamestate' ORDER BY statement;

-- what the archiver calls as gamestate_owner is of no use to anybody else
SELECT is(pg_temp.as_role(role, statement),
		  CASE WHEN role = 'gr_admin' THEN '55000' ELSE '42501' END, role || ': ' || statement)
  FROM unnest('{gr_server,gr_reader,gr_reader_live,gr_admin,gr_monitor,gr nobody}'::text[]) role,
	   unnest('{SELECT * FROM gamestate.archiver_rows(),SELECT * FROM gamestate.archiver_payloads(),SELECT * FROM gamestate.archiver_stats()}'::text[]) statement;

-- ---------------------------------------------------------------------------
-- Nothing is forgotten
-- ---------------------------------------------------------------------------

-- A new function or view belongs into a list of gamestate.privilege_class(), or
-- here if nobody but the extension's owner may have it.
SELECT set_eq($$
	SELECT p.proname::text FROM pg_proc p
	 WHERE p.pronamespace = 'gamestate'::regnamespace
	   AND gamestate.privilege_class(p.proname) = 'internal'
	UNION
	SELECT c.relname::text FROM pg_class c
	 WHERE c.relnamespace = 'gamestate'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
	   AND gamestate.privilege_class(c.relname) = 'internal'$$,
	'{allow_drop_extension,cold_handler,cold_validator,dictionary_number_seq,dictionary_trigger,erasure_number_seq,grant_admin,grant_privileges,journal_0,journal_1,journal_damage,journal_trigger,lease_epoch,grant_reader,grant_server,player_stats_changed,policy_bind,policy_changed,policy_tidy,privilege_class,privileges,promotion,promotion_leaf,ranking,ranking_count,ranking_entry,ranking_number_seq,repack,retention_log_entry_seq,revoke_all}'::text[],
	'what nobody is granted');

SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc p, aclexplode(coalesce(p.proacl,
		acldefault('f', p.proowner))) a
	 WHERE p.pronamespace = 'gamestate'::regnamespace AND a.grantee = 0
	UNION ALL
	SELECT c.oid::regclass::text::regprocedure FROM pg_class c, aclexplode(c.relacl) a
	 WHERE c.relnamespace IN ('gamestate'::regnamespace, 'gamestate_partitions'::regnamespace)
	   AND a.grantee = 0$$,
	'PUBLIC may use nothing');
SELECT is_empty($$
	SELECT nspname FROM pg_namespace n, aclexplode(n.nspacl) a
	 WHERE nspname LIKE 'gamestate%' AND a.grantee = 0$$,
	'not even the schemas');
SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc p
	 WHERE p.pronamespace = 'gamestate'::regnamespace AND p.prosecdef$$,
	'no function runs with its owner''s rights');
SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	 WHERE p.pronamespace = 'gamestate'::regnamespace AND l.lanname IN ('sql', 'plpgsql')
	   AND p.proconfig IS DISTINCT FROM '{"search_path=pg_catalog, pg_temp"}'$$,
	'functions in SQL and PL/pgSQL have a fixed search_path');

SELECT results_eq($$
	SELECT rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls
	  FROM pg_roles WHERE rolname = 'gamestate_owner'$$,
	$$VALUES (false, false, false, false, false, false)$$,
	'the owner of the archive has no power and cannot log in');

-- ---------------------------------------------------------------------------
-- The functions themselves
-- ---------------------------------------------------------------------------

SELECT throws_ok($$SELECT gamestate.grant_server(NULL)$$, '22004', NULL, 'no role');
SELECT throws_ok($$SELECT gamestate.grant_reader('-')$$, '22004', NULL, 'role "-"');
SELECT throws_ok($$SELECT gamestate.grant_admin('gr_missing')$$, '42704', NULL, 'a role that is not there');
SELECT throws_ok($$SELECT gamestate.grant_server('999999')$$, '42704', NULL, 'the number of no role');
SELECT throws_ok($$SELECT gamestate.revoke_all('gamestate_owner')$$, '22023', NULL,
	'the owner of the archive keeps its rights');
SELECT throws_ok($$SELECT gamestate.revoke_all(NULL)$$, '22023', NULL, 'no role to revoke from');

SELECT lives_ok($$SELECT gamestate.grant_reader('"gr nobody"')$$, 'a name that needs quotes');
SELECT is(pg_temp.as_role('gr nobody', 'SELECT * FROM gamestate.archived_games'), '00000',
	'has got it');
SELECT lives_ok($$SELECT gamestate.grant_reader('"gr nobody"')$$, 'granting twice');

-- an analyst of everything is no more than the sum
SELECT is(pg_temp.as_role('gr nobody', 'SELECT * FROM gamestate.live_games'), '42501',
	'not the running games');

SELECT gamestate.revoke_all('gr_server'), gamestate.revoke_all('gr_reader'),
	   gamestate.revoke_all('gr_reader_live'), gamestate.revoke_all('gr_admin'),
	   gamestate.revoke_all('"gr nobody"') \gset unused_
SELECT is(pg_temp.as_role(role, statement), '42501', role || ' after revoke_all: ' || statement)
  FROM statements, unnest('{gr_server,gr_reader,gr_reader_live,gr_admin,gr nobody}'::text[]) role
 ORDER BY role, statement;
SELECT lives_ok(format('DROP ROLE %I', role), role || ' can be dropped')
  FROM unnest('{gr_server,gr_reader,gr_reader_live,gr_admin,gr nobody}'::text[]) role;

SELECT * FROM finish();
ROLLBACK;
