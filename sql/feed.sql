-- The change feed: what its rows say, filters, positions, errors.
\pset format unaligned
\pset null (null)
\set VERBOSITY sqlstate
\set g 62000000-0000-4000-8000-000000000001
\set h 62000000-0000-4000-8000-000000000002
\set r 62000000-0000-4000-8000-0000000000f
\set r1 :r 1
\set r2 :r 2
\set r3 :r 3
SELECT gamestate.feed_position() AS p \gset
SELECT feed_position = :p AS same, game_id, version, kind FROM gamestate.wait_changes(:p, timeout => '0');
SELECT feed_position = :p AS same, kind FROM gamestate.wait_changes(NULL, timeout => '0');
-- every kind of change
SELECT count(gamestate.create_game('feed', '[0]', '{ann}', 'FEED', '{"m": 0}', :'g', 'waiting', 3, :'r1'));
SELECT gamestate.join_game(:'g', 'bob', NULL, :'r2');
SELECT gamestate.leave_game(:'g', 'ann');
SELECT gamestate.set_metadata(:'g', '{ "m":1 }');
SELECT gamestate.set_room_code(:'g', NULL);
SELECT gamestate.start_game(:'g');
SELECT gamestate.apply_move(:'g', 6, '{"move":  1}', '[1]', 'bob', request_id => :'r3');
SELECT gamestate.apply_move(:'g', 7, 'null', NULL);
SELECT gamestate.finish_game(:'g', '"bob"');
SELECT feed_position - :p AS n, game_id = :'g' AS g, version, kind, player, event, event_bytes, event_omitted, right(request_id::text, 2) AS r, type
  FROM gamestate.wait_changes(:p);
-- it says what the log says
SELECT count(*) FROM (
	SELECT game_id, version, kind, player, at, request_id, event::text FROM gamestate.wait_changes(:p, ARRAY[:'g']::uuid[], timeout => '0') WHERE version > 0
	EXCEPT
	SELECT game_id, version, kind, player, at, request_id, event::text FROM gamestate.get_changes(:'g')) s;
-- a transaction: its rows are together, nothing of what was rolled back
SELECT gamestate.feed_position() AS p \gset
BEGIN;
SELECT count(gamestate.create_game('feed', game_id => :'h'));
SELECT gamestate.apply_move(:'h', 1, '1', '1');
SAVEPOINT a;
SELECT gamestate.apply_move(:'h', 2, '2', '2');
ROLLBACK TO a;
SELECT gamestate.apply_move(:'h', 2, '3', '3');
SELECT count(*) FROM gamestate.wait_changes(:p, timeout => '0');
ROLLBACK TO a;
COMMIT;
BEGIN;
SELECT gamestate.apply_move(:'h', 2, '4', '4');
ROLLBACK;
BEGIN;
SELECT gamestate.delete_game(:'h');
SELECT count(gamestate.create_game_bytes('feed', '\x00', game_id => :'h'));
SELECT gamestate.apply_move_bytes(:'h', 1, '\x0102', '\x01');
SELECT gamestate.set_metadata(:'h', '{}');
COMMIT;
BEGIN;
SELECT gamestate.apply_move_bytes(:'h', 3, '\x03', '\x01');
SELECT gamestate.delete_game(:'h');
COMMIT;
BEGIN;
SELECT gamestate.create_game('feed') AS gone \gset
SELECT gamestate.delete_game(:'gone');
COMMIT;
SELECT feed_position - :p AS n, version, kind, event, event_bytes FROM gamestate.wait_changes(:p);
-- in pieces
SELECT feed_position - :p AS n, kind FROM gamestate.wait_changes(:p, max_changes => 2);
SELECT feed_position - :p AS n, kind FROM gamestate.wait_changes(:p + 2, max_changes => 2);
SELECT feed_position - :p AS n, kind FROM gamestate.wait_changes(:p + 4, NULL, NULL, NULL);
-- filters; the position goes on behind what they leave out
SELECT gamestate.feed_position() AS p \gset
SELECT gamestate.create_game('feed 1', game_id => '62000000-0000-4000-8000-000000000011'),
	   gamestate.create_game('feed 2', game_id => '62000000-0000-4000-8000-000000000012'),
	   gamestate.create_game('feed 1', game_id => '62000000-0000-4000-8000-000000000013');
SELECT feed_position - :p AS n, right(game_id::text, 2), type, kind FROM gamestate.wait_changes(:p, game_type => 'feed 1');
SELECT feed_position - :p AS n, right(game_id::text, 2), kind FROM gamestate.wait_changes(:p,
	'{62000000-0000-4000-8000-000000000012,62000000-0000-4000-8000-000000000013,62000000-0000-4000-8000-000000000099}');
SELECT feed_position - :p AS n, right(game_id::text, 2), kind FROM gamestate.wait_changes(:p,
	'{62000000-0000-4000-8000-000000000012,62000000-0000-4000-8000-000000000013}', 'feed 1');
SELECT feed_position - :p AS n, kind FROM gamestate.wait_changes(:p, '{}', timeout => '1 ms');
SELECT feed_position - :p AS n, kind FROM gamestate.wait_changes(:p, game_type => 'feed', timeout => '1 ms');
SELECT feed_position - :p AS n, kind FROM gamestate.wait_changes(:p, game_type => '', timeout => '1 ms');
-- some types; some games and besides all of some types
SELECT gamestate.create_game('feed 4', game_id => '62000000-0000-4000-8000-000000000014');
SELECT feed_position - :p AS n, right(game_id::text, 2), kind FROM gamestate.wait_changes(:p, game_types => '{feed 1,feed 4,feed 1,feed}');
SELECT feed_position - :p AS n, right(game_id::text, 2), kind FROM gamestate.wait_changes(:p,
	'{62000000-0000-4000-8000-000000000012,62000000-0000-4000-8000-000000000013}', game_types => '{feed 4,feed 1}');
SELECT feed_position - :p AS n, right(game_id::text, 2), kind FROM gamestate.wait_changes(:p,
	'{62000000-0000-4000-8000-000000000012}', game_types => '{}');
SELECT feed_position - :p AS n, right(game_id::text, 2), kind FROM gamestate.wait_changes(:p, '{}', game_types => '{feed 2}');
SELECT feed_position - :p AS n, kind FROM gamestate.wait_changes(:p, '{}', game_types => '{}', timeout => '1 ms');
SELECT feed_position - :p AS n, kind FROM gamestate.wait_changes(:p, game_types => '{}', timeout => '1 ms');
SELECT feed_position - :p AS n, right(game_id::text, 2), kind FROM gamestate.wait_changes(:p,
	game_types => (SELECT array_agg('feed ' || n) FROM generate_series(2, 100000) n));
SELECT kind FROM gamestate.wait_changes(:p, game_type => 'feed 1', game_types => '{feed 2}');
SELECT kind FROM gamestate.wait_changes(:p, game_types => ARRAY[NULL]::text[]);
-- nothing has happened: the timeout
SELECT feed_position - :p AS n, kind FROM gamestate.wait_changes(:p + 4, timeout => '10 ms');
-- a row for each change of many games, in one transaction and in several
SELECT gamestate.feed_position() AS p \gset
SELECT count(gamestate.create_game('feed 3', players => ARRAY['p' || n])) FROM generate_series(1, 300) n;
SELECT count(*), count(DISTINCT game_id), bool_and(feed_position > :p) FROM gamestate.wait_changes(:p) WHERE kind = 'create';
SELECT count(*), count(game_id) FROM gamestate.wait_changes(:p, max_changes => 100);
-- an event that is too large for the feed is in the log
SELECT gamestate.feed_position() AS p \gset
SELECT gamestate.apply_move('62000000-0000-4000-8000-000000000011', 1, to_json(repeat('x', 8190)), '1');
SELECT gamestate.apply_move('62000000-0000-4000-8000-000000000011', 2, to_json(repeat('x', 8191)), '1');
SELECT version, kind, event_omitted, length(event::text) FROM gamestate.wait_changes(:p);
-- positions of another feed
SELECT kind, feed_position = gamestate.feed_position() AS now FROM gamestate.wait_changes(0);
SELECT kind FROM gamestate.wait_changes(-1);
SELECT kind FROM gamestate.wait_changes(gamestate.feed_position() + 1, timeout => '0');
SELECT kind FROM gamestate.wait_changes(9223372036854775807);
-- arguments
SELECT * FROM gamestate.wait_changes(NULL, max_changes => 0);
SELECT * FROM gamestate.wait_changes(NULL, max_changes => -1);
SELECT * FROM gamestate.wait_changes(NULL, timeout => '-1 s');
SELECT * FROM gamestate.wait_changes(NULL, ARRAY[NULL]::uuid[]);
-- where it cannot wait, it does not
BEGIN;
SELECT gamestate.set_metadata('62000000-0000-4000-8000-000000000011', '1');
SELECT kind FROM gamestate.wait_changes(NULL, timeout => '0');
ROLLBACK;
\set VERBOSITY default
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT kind FROM gamestate.wait_changes(NULL, timeout => '0');
SELECT kind FROM gamestate.wait_changes(NULL);
ROLLBACK;
BEGIN;
CREATE TEMP TABLE written ();
SELECT kind FROM gamestate.wait_changes(NULL);
ROLLBACK;
SELECT w.kind FROM gamestate.wait_changes(NULL) w, pg_class;
SELECT w.kind FROM gamestate.wait_changes(NULL) w WHERE EXISTS (SELECT FROM pg_class);
BEGIN;
DECLARE c CURSOR FOR SELECT 1 FROM pg_class;
SELECT kind FROM gamestate.wait_changes(NULL);
ROLLBACK;
DO $$BEGIN PERFORM kind FROM gamestate.wait_changes(NULL); END$$;
-- where it can
CREATE VIEW changes_now AS SELECT kind FROM gamestate.wait_changes(NULL, timeout => '10 ms');
SELECT * FROM changes_now;
DROP VIEW changes_now;
BEGIN;
SELECT kind FROM gamestate.wait_changes(NULL, timeout => '10 ms');
SAVEPOINT a;
SELECT kind, gamestate.get_version('62000000-0000-4000-8000-000000000012') FROM gamestate.wait_changes(NULL, timeout => '10 ms');
SET LOCAL statement_timeout = '20 ms';
SELECT kind FROM gamestate.wait_changes(NULL);
ROLLBACK TO a;
SELECT count(*) FROM pg_class WHERE relname = 'pg_class';
COMMIT;
SELECT upper(kind) FROM gamestate.wait_changes(NULL, timeout => '10 ms') ORDER BY 1;
SELECT (gamestate.wait_changes(NULL, timeout => '10 ms')).kind;
SELECT waiters, max_waiters, pending, lost, lag, changes > 300 AS changes, bytes > changes * 56 AS bytes, feed_position = gamestate.feed_position() AS now
  FROM gamestate.stat_feed;
SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games(status => 'active') WHERE game_type LIKE 'feed%';
