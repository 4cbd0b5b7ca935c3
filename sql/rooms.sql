-- Open rooms and quick match.
\pset format unaligned
\pset null NULL
\set a 0000000e-0000-4000-8000-00000000000a
\set b 0000000e-0000-4000-8000-00000000000b
\set c 0000000e-0000-4000-8000-00000000000c
\set d 0000000e-0000-4000-8000-00000000000d
PREPARE rooms AS SELECT right(game_id::text, 1) AS game, players, max_players, state FROM gamestate.open_rooms('rooms');
SELECT count(gamestate.create_game('rooms', '{"n":1}', ARRAY['ann'], game_id => id, status => 'waiting', max_players => 2))
  FROM unnest(ARRAY[:'a', :'b', :'c']::uuid[]) id;
SELECT gamestate.create_game('other rooms', status => 'waiting', game_id => :'d') IS NOT NULL,
       gamestate.create_game('rooms', game_id => '0000000e-0000-4000-8000-0000000000ff') IS NOT NULL;
EXECUTE rooms;
SELECT count(*) FROM gamestate.open_rooms('rooms', 2);
SELECT count(*) FROM gamestate.open_rooms('rooms', 0);
SELECT count(*) FROM gamestate.open_rooms('rooms', NULL);
SELECT count(*) FROM gamestate.open_rooms('nothing');
SELECT count(*) FROM gamestate.open_rooms(NULL);
SELECT count(*) FROM gamestate.open_rooms('rooms', -1);
\echo :SQLSTATE
-- full, free again (it is the newest then), started, over
SELECT gamestate.join_game(:'a', 'bob');
EXECUTE rooms;
SELECT gamestate.leave_game(:'a', 'bob');
EXECUTE rooms;
SELECT gamestate.start_game(:'b');
EXECUTE rooms;
SELECT gamestate.finish_game(:'c', status => 'abandoned');
EXECUTE rooms;
-- what this transaction does, and takes back
BEGIN;
SELECT gamestate.set_metadata(:'a', '{"x":1}'), gamestate.join_game(:'d', 'ann');
SAVEPOINT s;
SELECT gamestate.join_game(:'a', 'cyd');
EXECUTE rooms;
SELECT gamestate.create_game('rooms', game_id => '0000000e-0000-4000-8000-000000000001', status => 'waiting') IS NOT NULL;
EXECUTE rooms;
SELECT count(*) FROM gamestate.open_rooms('rooms', 1), gamestate.open_rooms('other rooms') o;
ROLLBACK TO s;
EXECUTE rooms;
SELECT gamestate.delete_game(:'a');
EXECUTE rooms;
ROLLBACK;
EXECUTE rooms;
-- quick match: the oldest room, then a new one; who waits already stays where he is
SELECT right(game_id::text, 1), version, created FROM gamestate.join_any('rooms', 'dan');
SELECT right(game_id::text, 1), version, created FROM gamestate.join_any('rooms', 'dan');
SELECT game_id AS e, version, created FROM gamestate.join_any('rooms', 'eve', '{"new":true}', 2, '{"m":1}', '0000000e-0000-4000-8000-00000000f001') \gset
\echo :version :created
SELECT status, players, max_players, state, metadata FROM gamestate.get_game(:'e');
SELECT game_id = :'e' AS same, version, created FROM gamestate.join_any('rooms', 'fay', request_id => '0000000e-0000-4000-8000-00000000f002');
SELECT version, kind, player, request_id FROM gamestate.get_changes(:'e');
EXECUTE rooms;
-- a retry gets the first answer, also in a game that has started
SELECT gamestate.start_game(:'e');
SELECT game_id = :'e' AS same, version, created FROM gamestate.join_any('rooms', 'eve', '{"new":true}', 2, '{"m":1}', '0000000e-0000-4000-8000-00000000f001');
SELECT game_id = :'e' AS same, version, created FROM gamestate.join_any('rooms', 'fay', request_id => '0000000e-0000-4000-8000-00000000f002');
-- and in one that has been suspended since, even if he waits in another room by now
SELECT gamestate.suspend_game(:'e');
SELECT gamestate.create_game('rooms', '{}', '{fay}', status => 'waiting') AS other \gset
SELECT game_id = :'e' AS same, version, created FROM gamestate.join_any('rooms', 'eve', '{"new":true}', 2, '{"m":1}', '0000000e-0000-4000-8000-00000000f001');
SELECT game_id = :'e' AS same, version, created FROM gamestate.join_any('rooms', 'fay', request_id => '0000000e-0000-4000-8000-00000000f002');
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ;
SELECT gamestate.resume_game(:'e');
SELECT game_id = :'e' AS same, version, created FROM gamestate.join_any('rooms', 'fay', request_id => '0000000e-0000-4000-8000-00000000f002');
SELECT gamestate.suspend_game(:'e');
SELECT game_id = :'e' AS same, version, created FROM gamestate.join_any('rooms', 'fay', request_id => '0000000e-0000-4000-8000-00000000f002');
ROLLBACK;
\set VERBOSITY terse
SELECT gamestate.join_any('rooms', 'fay', max_players => 2, request_id => '0000000e-0000-4000-8000-00000000f002');
\echo :SQLSTATE
\set VERBOSITY default
-- another request is a new one
SELECT game_id = :'other' AS other, created FROM gamestate.join_any('rooms', 'fay', request_id => '0000000e-0000-4000-8000-00000000f004');
SELECT gamestate.delete_game(:'other');
SELECT gamestate.resume_game(:'e');
\set VERBOSITY terse
SELECT gamestate.join_any('rooms', 'fay', max_players => 2, request_id => '0000000e-0000-4000-8000-00000000f002');
\echo :SQLSTATE
-- one request seats one player
SELECT created FROM gamestate.join_any('one seat each', 'lea', request_id => '0000000e-0000-4000-8000-00000000f003');
SELECT created FROM gamestate.join_any('one seat each', 'max', request_id => '0000000e-0000-4000-8000-00000000f003');
\echo :SQLSTATE
SELECT game_id AS g, created FROM gamestate.join_any('one seat each', 'lea', request_id => '0000000e-0000-4000-8000-00000000f003') \gset
SELECT gamestate.leave_game(:'g', 'lea');
-- nor does it seat him again
SELECT version, created FROM gamestate.join_any('one seat each', 'lea', request_id => '0000000e-0000-4000-8000-00000000f003');
SELECT players FROM gamestate.get_game(:'g');
\set VERBOSITY default
-- other numbers of seats, other encodings, other types are other rooms
SELECT game_id AS f, created FROM gamestate.join_any('rooms', 'gil', max_players => 4) \gset
\echo :created
SELECT game_id = :'f' AS same, created FROM gamestate.join_any('rooms', 'hal', max_players => 3);
SELECT game_id = :'f' AS same, created FROM gamestate.join_any_bytes('rooms', 'ian', '\x00', 4);
SELECT game_id = :'f' AS same, version, created FROM gamestate.join_any('rooms', 'jan', max_players => 4);
SELECT created FROM gamestate.join_any('more rooms', 'gil');
-- several in one transaction; a savepoint takes a seat back
BEGIN;
SELECT version, created FROM gamestate.join_any('tx rooms', 'p1', max_players => 2);
SAVEPOINT s;
SELECT version, created FROM gamestate.join_any('tx rooms', 'p2', max_players => 2);
SELECT version, created FROM gamestate.join_any('tx rooms', 'p3', max_players => 2);
SELECT version, created FROM gamestate.join_any('tx rooms', 'p4', max_players => 2);
ROLLBACK TO s;
SELECT version, created FROM gamestate.join_any('tx rooms', 'p5', max_players => 2);
COMMIT;
SELECT players FROM gamestate.list_live_games('tx rooms');
-- refusals
SELECT gamestate.join_any(NULL, 'x');
\echo :SQLSTATE
SELECT gamestate.join_any('rooms', '');
\echo :SQLSTATE
SELECT gamestate.join_any('rooms', repeat('p', 64));
\echo :SQLSTATE
SELECT gamestate.join_any('rooms', 'x', max_players => 0);
\echo :SQLSTATE
SELECT count(*) FROM (SELECT gamestate.delete_game(game_id) FROM gamestate.list_live_games() WHERE game_type LIKE '%rooms' AND status <> 'abandoned') d;
EXECUTE rooms;
