-- Every error of our class once, with its SQLSTATE, message, detail and hint.
\pset format unaligned
\pset tuples_only on
\set g 20000000-0000-4000-8000-000000000001
\set b 20000000-0000-4000-8000-000000000002
\set nobody 20000000-0000-4000-8000-00000000ffff
SELECT gamestate.create_game('errors', '{}', '{ann,bob}', 'ERR-1', game_id => :'g', max_players => 2);
SELECT gamestate.create_game_bytes('errors', '\x00', game_id => :'b', status => 'waiting');
-- GS001 stale version
SELECT gamestate.apply_move(:'g', 7, '1', '{}');
\echo :SQLSTATE
-- GS002 no such game
SELECT gamestate.apply_move(:'nobody', 1, '1', '{}');
\echo :SQLSTATE
-- GS004 room code taken
SELECT gamestate.create_game('errors', room_code => 'ERR-1');
\echo :SQLSTATE
SELECT gamestate.set_room_code(:'b', 'ERR-1');
\echo :SQLSTATE
-- GS005 duplicate game
SELECT gamestate.create_game('errors', game_id => :'g');
\echo :SQLSTATE
-- GS007 too large
SELECT gamestate.apply_move(:'g', NULL, '1', to_json(repeat('x', 1024 * 1024)));
\echo :SQLSTATE
SELECT gamestate.apply_move(:'g', NULL, to_json(repeat('x', 64 * 1024)), NULL);
\echo :SQLSTATE
SELECT gamestate.set_metadata(:'g', to_json(repeat('x', 64 * 1024)));
\echo :SQLSTATE
SELECT gamestate.finish_game(:'g', to_json(repeat('x', 1024 * 1024)));
\echo :SQLSTATE
SELECT gamestate.create_game(repeat('t', 64));
\echo :SQLSTATE
SELECT gamestate.set_room_code(:'g', repeat('r', 64));
\echo :SQLSTATE
SELECT gamestate.join_game(:'b', repeat('p', 64));
\echo :SQLSTATE
SET gamestate.max_players = 2;
SELECT gamestate.create_game('errors', '{}', '{a,b,c}');
\echo :SQLSTATE
RESET gamestate.max_players;
-- GS008 room full
SELECT gamestate.join_game(:'g', 'cyd');
\echo :SQLSTATE
SELECT gamestate.create_game('errors', '{}', '{a,b,c}', max_players => 2);
\echo :SQLSTATE
-- GS009 not a player
SELECT gamestate.apply_move(:'g', 1, '1', '{}', 'cyd');
\echo :SQLSTATE
SELECT gamestate.leave_game(:'g', 'cyd');
\echo :SQLSTATE
-- GS010 wrong encoding
SELECT gamestate.apply_move_bytes(:'g', 1, '\x00', '\x01');
\echo :SQLSTATE
SELECT gamestate.get_state_bytes(:'g');
\echo :SQLSTATE
SELECT gamestate.get_state(:'b');
\echo :SQLSTATE
-- GS015 not in this status
SELECT gamestate.start_game(:'g');
\echo :SQLSTATE
SELECT gamestate.apply_move_bytes(:'b', 1, '\x00', '\x01');
\echo :SQLSTATE
-- GS016 disabled: nothing is written, everything is read
SET gamestate.enabled = off;
SELECT gamestate.create_game('errors');
\echo :SQLSTATE
SELECT gamestate.apply_move(:'g', 1, '1', '{}');
\echo :SQLSTATE
SELECT gamestate.get_version(:'g'), gamestate.get_state(:'g'), gamestate.find_room('ERR-1') = :'g';
RESET gamestate.enabled;
-- GS003 game over (in one transaction: else it may be archived by then)
BEGIN;
SELECT gamestate.finish_game(:'g');
SAVEPOINT finished;
SELECT gamestate.apply_move(:'g', 2, '1', '{}');
\echo :SQLSTATE
ROLLBACK TO finished;
COMMIT;
-- 22004 null argument, 22023 bad argument
SELECT gamestate.create_game(NULL);
\echo :SQLSTATE
SELECT gamestate.create_game('');
\echo :SQLSTATE
SELECT gamestate.create_game('errors', status => 'finished');
\echo :SQLSTATE
SELECT gamestate.create_game('errors', '{}', '{a,b,a}');
\echo :SQLSTATE
SELECT gamestate.finish_game(:'b', status => 'waiting');
\echo :SQLSTATE
-- 25006 read-only transaction
BEGIN READ ONLY;
SELECT gamestate.delete_game(:'b');
\echo :SQLSTATE
ROLLBACK;
-- 54000 too many games in one transaction
SET gamestate.max_games_per_transaction = 1;
BEGIN;
SELECT gamestate.start_game(:'b');
SELECT gamestate.create_game('errors', game_id => :'nobody');
\echo :SQLSTATE
ROLLBACK;
RESET gamestate.max_games_per_transaction;
-- 0A000 two-phase commit
BEGIN;
SELECT gamestate.start_game(:'b');
PREPARE TRANSACTION 'gamestate_errors';
\echo :SQLSTATE
-- 22P02 what is not JSON does not even get to us
SELECT gamestate.create_game('errors', '{"a":}');
\echo :SQLSTATE
-- nothing of all this has changed anything
SELECT gamestate.get_version(:'b'), gamestate.get_state_bytes(:'b');
SELECT count(*) FROM gamestate.list_live_games('errors', 'active');
SELECT version, kind FROM gamestate.get_changes(:'g');
SELECT gamestate.delete_game(:'b');
