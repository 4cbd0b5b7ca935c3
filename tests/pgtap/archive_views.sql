/*
 * The archive as an analyst sees it: archived_games, archived_moves, games,
 * and what the payload functions do with rows that are not as they should be.
 *
 * Games are archived by the worker, so the first part commits; everything that
 * changes the archive's tables by hand is rolled back.
 */
\unset ECHO
\set QUIET on
\pset format unaligned
\pset tuples_only on
\set ON_ERROR_STOP on
SET client_min_messages = warning;

-- ---------------------------------------------------------------------------
-- Games of known contents, archived
-- ---------------------------------------------------------------------------

-- (an earlier run's)
DELETE FROM gamestate.archive WHERE game_type LIKE 'av-%';
DELETE FROM gamestate.archive_payload WHERE game_type LIKE 'av-%';

CREATE TEMP TABLE t (name text PRIMARY KEY, id uuid NOT NULL);

CREATE FUNCTION pg_temp.id(text) RETURNS uuid LANGUAGE sql STABLE
AS 'SELECT id FROM t WHERE name = $1';

INSERT INTO t VALUES
	('chess', gamestate.create_game('av-chess', '{"fen": "start"}', '{anna,bob}',
		room_code => 'av-room', metadata => '{"elo": [2100, 2050], "e": "é"}')),
	('odd', gamestate.create_game('av-chess', '{"a": "\u0000"}', '{anna}',
		metadata => '{"n": 1e400000}')),
	('empty', gamestate.create_game('av-chess', '[]')),
	('bytes', gamestate.create_game_bytes('av-bytes', '\x0001ff', '{anna}', max_players => 3));

DO $$
DECLARE
	c uuid := pg_temp.id('chess');
	v bigint;
BEGIN
	v := gamestate.apply_move(c, 1, '{"m":"e4"}', '{"fen": "after e4"}', 'anna',
		request_id => '00112233-4455-6677-8899-aabbccddeeff');
	v := gamestate.set_metadata(c, '{"elo": [2100, 2050], "e": "é", "clock": true}', v);
	v := gamestate.apply_move(c, v, '{"m": "e5" }', NULL, 'bob');
	v := gamestate.apply_move(c, v, '["quoted \" and \u00e9"]', '{"fen":  "the end"}');
	v := gamestate.finish_game(c, '{"winner": "anna"}', v);
	v := gamestate.apply_move(pg_temp.id('odd'), 1, '{"x": "\ud800"}', '{"b": 1e400000}');
	v := gamestate.finish_game(pg_temp.id('odd'), '"\u0000"', v, 'abandoned');
	v := gamestate.finish_game(pg_temp.id('empty'));
	v := gamestate.apply_move_bytes(pg_temp.id('bytes'), 1, '\x00', '\xfffe', 'anna');
	v := gamestate.apply_move_bytes(pg_temp.id('bytes'), v, '', '');
	v := gamestate.finish_game(pg_temp.id('bytes'), '{"score": 3}', v);
END
$$;

-- until the worker has them all; a query of the archive's tables would keep
-- locks that stand in its way
DO $$
BEGIN
	FOR i IN 1..3000 LOOP
		EXIT WHEN (SELECT bool_and((gamestate.get_game(id)).tier = 'archived') FROM t);
		PERFORM pg_sleep(0.01);
	END LOOP;
END
$$;

BEGIN;
SELECT no_plan();

SELECT is((SELECT count(*)::int FROM gamestate.archive JOIN t ON game_id = id), 4,
	'the worker has archived the games');

-- ---------------------------------------------------------------------------
-- archived_games
-- ---------------------------------------------------------------------------

SELECT columns_are('gamestate', 'archived_games', ARRAY[
	'game_id', 'game_type', 'status', 'encoding', 'players', 'max_players', 'room_code',
	'metadata', 'metadata_jsonb', 'result', 'result_jsonb',
	'created_at', 'started_at', 'ended_at', 'version', 'moves',
	'initial_state', 'initial_state_jsonb', 'initial_state_bytes',
	'final_state', 'final_state_jsonb', 'final_state_bytes']);

SELECT results_eq($$
	SELECT game_type, status, encoding, players, max_players, room_code,
		   metadata::text, result::text, version, moves,
		   initial_state::text, final_state::text, initial_state_bytes, final_state_bytes
	  FROM gamestate.archived_games WHERE game_id = pg_temp.id('chess')$$, $$
	VALUES ('av-chess' COLLATE "C", 'finished', 'json', '{anna,bob}'::text[], NULL::int, 'av-room',
		'{"elo": [2100, 2050], "e": "é", "clock": true}', '{"winner": "anna"}',
		6::bigint, 3::bigint,
		'{"fen": "start"}', '{"fen":  "the end"}', NULL::bytea, NULL::bytea)$$,
	'a JSON game, to the letter');
SELECT results_eq($$
	SELECT metadata_jsonb ->> 'clock', result_jsonb ->> 'winner',
		   initial_state_jsonb ->> 'fen', final_state_jsonb ->> 'fen'
	  FROM gamestate.archived_games WHERE game_id = pg_temp.id('chess')$$,
	$$VALUES ('true', 'anna', 'start', 'the end')$$,
	'and as jsonb');
SELECT ok(created_at <= started_at AND started_at <= ended_at
		AND ended_at BETWEEN now() - interval '1 minute' AND now(), 'its times')
  FROM gamestate.archived_games WHERE game_id = pg_temp.id('chess');

SELECT results_eq($$
	SELECT status, metadata::text, metadata_jsonb, result::text, result_jsonb,
		   initial_state::text, initial_state_jsonb, final_state::text, final_state_jsonb
	  FROM gamestate.archived_games WHERE game_id = pg_temp.id('odd')$$, $$
	VALUES ('abandoned', '{"n": 1e400000}', NULL::jsonb, '"\u0000"', NULL::jsonb,
		'{"a": "\u0000"}', NULL::jsonb, '{"b": 1e400000}', NULL::jsonb)$$,
	'what jsonb cannot hold is NULL as jsonb and whole as json');

SELECT results_eq($$
	SELECT initial_state::text, final_state::text, moves, version, result::text, result_jsonb
	  FROM gamestate.archived_games WHERE game_id = pg_temp.id('empty')$$,
	$$VALUES ('[]', '[]', 0::bigint, 2::bigint, NULL, NULL::jsonb)$$,
	'a game without moves');

SELECT results_eq($$
	SELECT encoding, max_players, initial_state::text, initial_state_jsonb,
		   initial_state_bytes, final_state::text, final_state_jsonb, final_state_bytes,
		   result::text
	  FROM gamestate.archived_games WHERE game_id = pg_temp.id('bytes')$$, $$
	VALUES ('bytes', 3, NULL, NULL::jsonb, '\x0001ff'::bytea, NULL, NULL::jsonb,
		''::bytea, '{"score": 3}')$$,
	'a game of bytes');

SELECT is(gamestate.archived_final_state('av-chess', now(), pg_temp.id('chess'))::text, NULL,
	'a key that is no game''s');
SELECT is(gamestate.archived_final_state('av-bytes', ended_at, game_id)::text, NULL,
	'a game under another type')
  FROM gamestate.archive WHERE game_id = pg_temp.id('chess');
SELECT is(gamestate.archived_final_state('av-nothing', ended_at, game_id)::text, NULL,
	'a type that has no partition')
  FROM gamestate.archive WHERE game_id = pg_temp.id('chess');
SELECT is(gamestate.archived_final_state('av-chess', 'infinity', pg_temp.id('chess'))::text, NULL,
	'a time that has no partition');
SELECT is(gamestate.archived_final_state('av-chess', '-infinity', pg_temp.id('chess'))::text, NULL,
	'another time that has no partition');
SELECT is(gamestate.archived_final_state(NULL, now(), pg_temp.id('chess'))::text, NULL,
	'NULL in the key');

-- ---------------------------------------------------------------------------
-- archived_moves, archived_log
-- ---------------------------------------------------------------------------

SELECT columns_are('gamestate', 'archived_moves', ARRAY[
	'game_id', 'game_type', 'ended_at', 'version', 'ord', 'player', 'at', 'request_id',
	'event', 'event_jsonb', 'event_bytes']);

SELECT results_eq($$
	SELECT version, ord, player, request_id, event::text, event_bytes
	  FROM gamestate.archived_moves WHERE game_id = pg_temp.id('chess') ORDER BY version$$, $$
	VALUES (2::bigint, 1::bigint, 'anna', '00112233-4455-6677-8899-aabbccddeeff'::uuid,
			'{"m":"e4"}', NULL::bytea),
		   (4, 2, 'bob', NULL, '{"m": "e5" }', NULL),
		   (5, 3, NULL, NULL, '["quoted \" and \u00e9"]', NULL)$$,
	'moves of a JSON game, to the letter');
SELECT results_eq($$
	SELECT event_jsonb ->> 'm' FROM gamestate.archived_moves
	 WHERE game_id = pg_temp.id('chess') AND game_type = 'av-chess' AND ord < 3 ORDER BY ord$$,
	$$VALUES ('e4'), ('e5')$$, 'and as jsonb');
SELECT results_eq($$
	SELECT event::text, event_jsonb FROM gamestate.archived_moves
	 WHERE game_id = pg_temp.id('odd')$$,
	$$VALUES ('{"x": "\ud800"}', NULL::jsonb)$$, 'a move that jsonb cannot hold');
SELECT results_eq($$
	SELECT version, ord, player, event::text, event_jsonb, event_bytes
	  FROM gamestate.archived_moves WHERE game_id = pg_temp.id('bytes') ORDER BY ord$$, $$
	VALUES (2::bigint, 1::bigint, 'anna', NULL, NULL::jsonb, '\x00'::bytea),
		   (3, 2, NULL, NULL, NULL, ''::bytea)$$,
	'moves of a game of bytes');
SELECT is_empty($$SELECT * FROM gamestate.archived_moves WHERE game_id = pg_temp.id('empty')$$,
	'no moves of a game without');
SELECT ok(bool_and(m.at BETWEEN a.created_at AND a.ended_at), 'times of moves')
  FROM gamestate.archived_moves m JOIN gamestate.archive a USING (game_type, ended_at, game_id)
 WHERE game_type LIKE 'av-%';

SELECT results_eq($$
	SELECT l.version, l.ord, l.kind, l.player, l.event::text
	  FROM gamestate.archive a, gamestate.archived_log(a.game_type, a.ended_at, a.game_id) l
	 WHERE a.game_id = pg_temp.id('chess') ORDER BY 1$$, $$
	VALUES (1::bigint, NULL::bigint, 'create', NULL, NULL),
		   (2, 1, 'move', 'anna', '{"m":"e4"}'),
		   (3, NULL, 'metadata', NULL, '{"elo": [2100, 2050], "e": "é", "clock": true}'),
		   (4, 2, 'move', 'bob', '{"m": "e5" }'),
		   (5, 3, 'move', NULL, '["quoted \" and \u00e9"]'),
		   (6, NULL, 'finish', NULL, '{"winner": "anna"}')$$,
	'the whole log');
SELECT results_eq($$
	SELECT l.kind, l.event::text, l.event_bytes
	  FROM gamestate.archive a, gamestate.archived_log(a.game_type, a.ended_at, a.game_id) l
	 WHERE a.game_id = pg_temp.id('bytes') ORDER BY l.version$$, $$
	VALUES ('create', NULL, NULL), ('move', NULL, '\x00'::bytea), ('move', NULL, ''::bytea),
		   ('finish', '{"score": 3}', NULL)$$,
	'in a game of bytes a result is still JSON');

-- ---------------------------------------------------------------------------
-- games: live and archived together
-- ---------------------------------------------------------------------------

CREATE TEMP TABLE live AS SELECT gamestate.create_game('av-chess', '{"fen": "new"}', '{carl}',
	game_id => '0c000000-0000-4000-8000-000000000001') AS id;

SELECT results_eq($$
	SELECT tier, status, version, state::text, state_jsonb, state_bytes, players, moves,
		   ended_at IS NULL
	  FROM gamestate.games WHERE game_id = '0c000000-0000-4000-8000-000000000001'$$, $$
	VALUES ('live', 'active', 1::bigint, '{"fen": "new"}', '{"fen": "new"}'::jsonb,
		NULL::bytea, '{carl}'::text[], 0::bigint, true)$$,
	'a game that this transaction has just created');
SELECT results_eq($$
	SELECT tier, status, version, state::text, state_jsonb, state_bytes, result::text, room_code
	  FROM gamestate.games WHERE game_id = pg_temp.id('chess')$$, $$
	VALUES ('archived', 'finished', 6::bigint, '{"fen":  "the end"}',
		'{"fen": "the end"}'::jsonb, NULL::bytea, '{"winner": "anna"}', 'av-room')$$,
	'an archived game');
SELECT results_eq($$
	SELECT tier, encoding, state::text, state_bytes FROM gamestate.games
	 WHERE game_id = pg_temp.id('bytes')$$,
	$$VALUES ('archived', 'bytes', NULL, ''::bytea)$$, 'an archived game of bytes');
SELECT is((SELECT count(*)::int FROM gamestate.games WHERE game_type LIKE 'av-%'), 5,
	'each once');

-- what the functions of a game server say about the same games
SELECT results_eq($$
	SELECT tier, version, state::text, result::text FROM gamestate.get_game(pg_temp.id('chess'))$$,
	$$VALUES ('archived', 6::bigint, '{"fen":  "the end"}', '{"winner": "anna"}')$$,
	'get_game of an archived game');
SELECT throws_ok($$SELECT gamestate.create_game('av-chess', game_id => pg_temp.id('chess'))$$,
	'GS005', NULL, 'the id of an archived game cannot be used again');

-- ---------------------------------------------------------------------------
-- Queries touch what they need and nothing else
-- ---------------------------------------------------------------------------

CREATE FUNCTION pg_temp.plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	result text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
		result := result || line || E'\n';
	END LOOP;
	RETURN result;
END
$$;

SELECT unalike(pg_temp.plan('SELECT game_id, status, metadata FROM gamestate.archived_games'),
	'%gamestate.archived\_%state%', 'no payload function in a query that names no payload column');
SELECT unalike(pg_temp.plan('SELECT count(*) FROM gamestate.archived_games'),
	'%gamestate.archived\_%state%', 'nor in a count');
SELECT alike(pg_temp.plan('SELECT final_state FROM gamestate.archived_games'),
	'%archived_final_state(%', 'but in one that names it');
SELECT unalike(pg_temp.plan('SELECT tier, version FROM gamestate.games'),
	'%gamestate.archived\_%state%', 'no payload function in a query of games without states');

SELECT is((SELECT count(*)::int FROM regexp_matches(pg_temp.plan(format(
	'SELECT * FROM gamestate.%I WHERE game_type = %L AND ended_at = %L', view, 'av-chess',
		(SELECT ended_at FROM gamestate.archive WHERE game_id = pg_temp.id('chess')))),
	'Scan[^\n]* on gamestate_partitions', 'g')), 1,
	view || ': type and time choose one partition')
  FROM unnest('{archived_games,archived_moves,games}'::text[]) view;

-- one look-up, one partition: which leaves a query's functions read
CREATE FUNCTION pg_temp.scans() RETURNS TABLE (leaf text, n bigint) LANGUAGE sql VOLATILE AS $$
	SELECT relname::text, seq_scan + coalesce(idx_scan, 0) FROM pg_stat_xact_user_tables
	 WHERE schemaname = 'gamestate_partitions'
$$;
CREATE TEMP TABLE before AS SELECT * FROM pg_temp.scans();
SELECT is(gamestate.archived_final_state('av-chess', ended_at, id) ->> 'fen', 'the end', 'one look-up')
  FROM (SELECT ended_at, game_id AS id FROM gamestate.get_game(pg_temp.id('chess')) OFFSET 0) g;
CREATE TEMP TABLE read AS
SELECT leaf FROM pg_temp.scans() s LEFT JOIN before b USING (leaf) WHERE s.n > coalesce(b.n, 0);
SELECT is((SELECT count(*)::int FROM read WHERE leaf LIKE 'archive\_payload\_%'), 1,
	'reads one partition of the payloads');
SELECT results_eq($$SELECT leaf ~ 'av_chess' FROM read WHERE leaf LIKE 'archive\_payload\_%'$$,
	'VALUES (true)', 'that of its type');

-- an archive whose branch, leaf or row is missing is not an error
SAVEPOINT s;
DELETE FROM gamestate.archive_payload WHERE game_id = pg_temp.id('chess');
SELECT results_eq($$
	SELECT version, initial_state::text, final_state::text, final_state_jsonb
	  FROM gamestate.archived_games WHERE game_id = pg_temp.id('chess')$$,
	$$VALUES (6::bigint, NULL, NULL, NULL::jsonb)$$, 'a payload that was dropped is NULL');
SELECT is_empty($$SELECT * FROM gamestate.archived_moves WHERE game_id = pg_temp.id('chess')$$,
	'and has no moves');
SELECT results_eq($$
	SELECT tier, version, state::text FROM gamestate.get_game(pg_temp.id('chess'))$$,
	$$VALUES ('archived', 6::bigint, NULL)$$, 'get_game then has no state');
ROLLBACK TO s;
SELECT is((SELECT final_state ->> 'fen' FROM gamestate.archived_games
			WHERE game_id = pg_temp.id('chess')), 'the end', 'there it is again');

-- ---------------------------------------------------------------------------
-- Damage is an error that names the game
-- ---------------------------------------------------------------------------

CREATE FUNCTION pg_temp.damage(change text, detail text, what text) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
	state text;
	msg text;
	det text;
BEGIN
	BEGIN
		EXECUTE 'UPDATE gamestate.archive_payload SET ' || change
			|| ' WHERE game_id = pg_temp.id(''chess'')';
		PERFORM final_state::text FROM gamestate.archived_games
		  WHERE game_id = pg_temp.id('chess');
		RAISE EXCEPTION USING ERRCODE = 'P0001', MESSAGE = 'no error';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, msg = MESSAGE_TEXT,
			det = PG_EXCEPTION_DETAIL;
	END;
	RETURN NEXT is(state, 'XX001', what || ': is an error');
	RETURN NEXT is(msg, format('archived payload of game %s is damaged', pg_temp.id('chess')),
		what || ': names the game');
	RETURN NEXT alike(det, detail, what || ': says what is wrong');

	BEGIN
		EXECUTE 'UPDATE gamestate.archive_payload SET ' || change
			|| ' WHERE game_id = pg_temp.id(''chess'')';
		PERFORM gamestate.get_game(pg_temp.id('chess'));
		RAISE EXCEPTION USING ERRCODE = 'P0001', MESSAGE = 'no error';
	EXCEPTION WHEN OTHERS THEN
		state := SQLSTATE;
	END;
	RETURN NEXT is(state, 'XX001', what || ': is an error of get_game too');
END
$$;

SELECT pg_temp.damage('format = 77', '%format is unknown%', 'another format');
SELECT pg_temp.damage('dictionary = 7', '%dictionary is missing%', 'a dictionary nobody has');
SELECT pg_temp.damage('raw_size = raw_size + 1', '%zstd%', 'a raw size that is too large');
SELECT pg_temp.damage('raw_size = raw_size - 1', '%zstd%', 'a raw size that is too small');
SELECT pg_temp.damage('raw_size = 2147483647', '%raw size%', 'a raw size beyond memory');
SELECT pg_temp.damage('raw_size = 1073741823', '%zstd%', 'a raw size of 1 GB');
SELECT pg_temp.damage('raw_size = 0', '%raw size%', 'no raw size');
SELECT pg_temp.damage('raw_size = -1', '%raw size%', 'a negative raw size');
SELECT pg_temp.damage('checksum = checksum # 1', '%checksum%', 'another checksum');
SELECT pg_temp.damage('checksum = checksum + 4294967296', '%checksum%', 'a checksum of 33 bits');
SELECT pg_temp.damage('checksum = -1', '%checksum%', 'a negative checksum');
SELECT pg_temp.damage($$payload = ''$$, '%zstd%', 'no bytes');
SELECT pg_temp.damage($$payload = '\x00'$$, '%zstd%', 'one byte');
SELECT pg_temp.damage('payload = substr(payload, 1, length(payload) - 1)', '%zstd%', 'the last byte lost');
SELECT pg_temp.damage($$payload = payload || '\x00'$$, '%zstd%', 'a byte more');
SELECT pg_temp.damage('payload = payload || payload', '%zstd%', 'two frames');
SELECT pg_temp.damage('payload = set_byte(payload, length(payload) / 2,
	get_byte(payload, length(payload) / 2) # 64)', '%', 'a bit in the middle');
SAVEPOINT s;
UPDATE gamestate.archive SET version = version + 1 WHERE game_id = pg_temp.id('chess');
SELECT throws_ok($$SELECT gamestate.get_game(pg_temp.id('chess'))$$, 'XX001', NULL,
	'a log that ends at another version than the game');
ROLLBACK TO s;

-- a change of the row is seen at once
SAVEPOINT s;
SELECT ok((SELECT final_state IS NOT NULL FROM gamestate.archived_games
			WHERE game_id = pg_temp.id('chess')), 'read once');
UPDATE gamestate.archive_payload p
   SET raw_size = o.raw_size, checksum = o.checksum, payload = o.payload
  FROM gamestate.archive_payload o
 WHERE p.game_id = pg_temp.id('chess') AND o.game_id = pg_temp.id('empty');
SELECT is((SELECT final_state::text FROM gamestate.archived_games
			WHERE game_id = pg_temp.id('chess')), '[]', 'changed, read again');
ROLLBACK TO s;
SELECT is((SELECT final_state ->> 'fen' FROM gamestate.archived_games
			WHERE game_id = pg_temp.id('chess')), 'the end', 'changed back');

-- ---------------------------------------------------------------------------
-- Partitions as a DBA may leave them
-- ---------------------------------------------------------------------------

SAVEPOINT s;
-- no index: slower, not wrong
DO $$
DECLARE
	i record;
	leaves oid[] := ARRAY(SELECT tableoid FROM gamestate.archive_payload
						  UNION SELECT tableoid FROM gamestate.archive);
BEGIN
	FOR i IN SELECT conrelid::regclass AS leaf, conname FROM pg_constraint
			 WHERE contype IN ('p', 'u') AND conrelid = ANY (leaves) LOOP
		EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', i.leaf, i.conname);
	END LOOP;
END
$$;
SELECT is((SELECT count(*)::int FROM pg_index
			WHERE indrelid IN (SELECT tableoid FROM gamestate.archive_payload
							   UNION SELECT tableoid FROM gamestate.archive)), 0, 'no index is left');
SELECT is((SELECT final_state ->> 'fen' FROM gamestate.archived_games
			WHERE game_id = pg_temp.id('chess')), 'the end', 'without an index');
SELECT is((gamestate.get_game(pg_temp.id('chess'))).version, 6::bigint, 'get_game without an index');
ROLLBACK TO s;

SAVEPOINT s;
-- a partition with another order of columns, and one column dropped
CREATE TABLE gamestate_partitions.av_archive (ended_at timestamptz NOT NULL, dropped int,
	moves bigint NOT NULL, version bigint NOT NULL, created_at timestamptz NOT NULL,
	result json, game_type text COLLATE "C" NOT NULL, metadata json, room_code text,
	status text NOT NULL, players text[] NOT NULL, encoding text NOT NULL,
	max_players integer, started_at timestamptz, game_id uuid PRIMARY KEY);
CREATE TABLE gamestate_partitions.av_payload (payload bytea NOT NULL, dropped text,
	checksum bigint NOT NULL, format smallint NOT NULL, raw_size integer NOT NULL,
	game_type text COLLATE "C" NOT NULL, dictionary integer, ended_at timestamptz NOT NULL,
	game_id uuid PRIMARY KEY);
ALTER TABLE gamestate_partitions.av_archive DROP COLUMN dropped;
ALTER TABLE gamestate_partitions.av_payload DROP COLUMN dropped;
ALTER TABLE gamestate.archive ATTACH PARTITION gamestate_partitions.av_archive
	FOR VALUES IN ('av-other');
ALTER TABLE gamestate.archive_payload ATTACH PARTITION gamestate_partitions.av_payload
	FOR VALUES IN ('av-other');
INSERT INTO gamestate.archive SELECT '0c000000-0000-4000-8000-000000000002', 'av-other', status,
	encoding, players, max_players, room_code, metadata, result, created_at, started_at, ended_at,
	version, moves FROM gamestate.archive WHERE game_id = pg_temp.id('chess');
INSERT INTO gamestate.archive_payload SELECT '0c000000-0000-4000-8000-000000000002', 'av-other',
	ended_at, format, dictionary, raw_size, checksum, payload
  FROM gamestate.archive_payload WHERE game_id = pg_temp.id('chess');
SELECT results_eq($$
	SELECT final_state ->> 'fen', players, metadata ->> 'clock' FROM gamestate.archived_games
	 WHERE game_type = 'av-other'$$,
	$$VALUES ('the end', '{anna,bob}'::text[], 'true')$$, 'columns in another order');
SELECT results_eq($$
	SELECT state ->> 'fen', players, metadata ->> 'clock', game_type, ended_at =
		   (SELECT ended_at FROM gamestate.archive WHERE game_id = pg_temp.id('chess'))
	  FROM gamestate.get_game('0c000000-0000-4000-8000-000000000002')$$,
	$$VALUES ('the end', '{anna,bob}'::text[], 'true', 'av-other', true)$$,
	'get_game: columns in another order, and an id that says nothing of its time');
SELECT is((SELECT count(*)::int FROM gamestate.archived_moves WHERE game_type = 'av-other'), 3,
	'its moves');
ROLLBACK TO s;

-- row security on the payloads holds in the views
SAVEPOINT s;
CREATE ROLE av_reader;
SELECT gamestate.grant_reader('av_reader');
ALTER TABLE gamestate.archive_payload ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON gamestate.archive_payload TO av_reader USING (game_type = 'av-bytes');
CREATE FUNCTION pg_temp.counts() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	SET LOCAL ROLE av_reader;
	SELECT format('%s %s %s', count(*), count(final_state), count(final_state_bytes))
	  INTO result FROM gamestate.archived_games WHERE game_type LIKE 'av-%';
	RESET ROLE;
	RETURN result;
END
$$;
SELECT is(pg_temp.counts(), '4 0 1', 'row security hides the payloads of other types');
ALTER TABLE gamestate.archive_payload DISABLE ROW LEVEL SECURITY;
SELECT is(pg_temp.counts(), '4 3 1', 'and without it all are seen');
ROLLBACK TO s;

-- ---------------------------------------------------------------------------
-- Ways to run a query
-- ---------------------------------------------------------------------------

-- all of them, in this order, whatever the plan
CREATE FUNCTION pg_temp.all_states() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', game_type, initial_state, initial_state_bytes,
			final_state, final_state_bytes), E'\n' ORDER BY created_at, game_id)
	  FROM gamestate.archived_games WHERE game_type IN ('av-chess', 'av-bytes')
$$;
CREATE TEMP TABLE expected AS SELECT pg_temp.all_states() AS states;

SAVEPOINT s;
-- the name of the setting changed in PostgreSQL 16
SELECT set_config(name, 'on', true) AS parallel FROM pg_settings
 WHERE name IN ('force_parallel_mode', 'debug_parallel_query') \gset unused_
SELECT is(pg_temp.all_states(), states, 'in a parallel worker') FROM expected;
SELECT is((SELECT count(*)::int FROM gamestate.archived_moves WHERE game_type LIKE 'av-%'), 6,
	'moves in a parallel worker');
SELECT is((SELECT count(*)::int FROM gamestate.games WHERE game_type LIKE 'av-%'), 5,
	'games where plans are parallel');
SELECT is((SELECT (gamestate.get_game(game_id)).state ->> 'fen' FROM gamestate.archive
			WHERE game_type = 'av-chess' AND moves = 3), 'the end',
	'get_game in the leader of a parallel plan');
ROLLBACK TO s;

-- cursors hold rows of one game while another is read
DECLARE c CURSOR FOR SELECT game_type, ord, event_bytes, event FROM gamestate.archived_moves
 WHERE game_type LIKE 'av-%' ORDER BY game_type, ended_at, ord;
MOVE 1 IN c;
SELECT is(pg_temp.all_states(), states, 'beside a cursor') FROM expected;
CREATE FUNCTION pg_temp.fetch(OUT ord bigint, OUT bytes bytea) LANGUAGE plpgsql AS $$
DECLARE
	c refcursor := 'c';
	r record;
BEGIN
	FETCH c INTO r;
	ord := r.ord;
	bytes := r.event_bytes;
END
$$;
SELECT results_eq('SELECT * FROM pg_temp.fetch()', $$VALUES (2::bigint, ''::bytea)$$,
	'the cursor goes on');
CLOSE c;

PREPARE states(text) AS SELECT count(final_state)::int FROM gamestate.archived_games
 WHERE game_type = $1;
SET LOCAL plan_cache_mode = force_generic_plan;
SELECT results_eq($$EXECUTE states('av-chess')$$, 'VALUES (3)', 'a generic plan');
SELECT results_eq($$EXECUTE states('av-bytes')$$, 'VALUES (0)', 'a generic plan, another type');

-- caught errors leave a working session
DO $$
BEGIN
	FOR i IN 1..20 LOOP
		BEGIN
			UPDATE gamestate.archive_payload SET checksum = checksum # 1
			 WHERE game_type = 'av-chess';
			PERFORM final_state FROM gamestate.archived_games WHERE game_type = 'av-chess';
			RAISE 'not reached';
		EXCEPTION WHEN data_corrupted THEN
			NULL;
		END;
	END LOOP;
END
$$;
SELECT is(pg_temp.all_states(), states, 'after errors') FROM expected;

SET TRANSACTION READ ONLY;
SELECT is(pg_temp.all_states(), states, 'in a read-only transaction') FROM expected;
SELECT is((gamestate.get_game(pg_temp.id('chess'))).state ->> 'fen', 'the end',
	'get_game in a read-only transaction');

SELECT * FROM finish();
ROLLBACK;
