-- Locks are PostgreSQL's: seen in pg_locks, released with the transaction or
-- the savepoint, limited in number by an error of our own.
\pset format unaligned
\pset tuples_only on
\set VERBOSITY sqlstate
\set a 90000000-0000-4000-8000-00000000000a
\set b 90000000-0000-4000-8000-00000000000b
CREATE TEMP VIEW held AS
SELECT CASE objsubid WHEN 18177 THEN 'game' WHEN 18178 THEN 'room code' WHEN 18180 THEN 'names' ELSE 'other' END AS class,
       mode, granted, count(*)
  FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
 GROUP BY objsubid, mode, granted ORDER BY objsubid;
-- a generated id needs no lock, a given one and a room code do
BEGIN;
SELECT gamestate.create_game('locks') IS NOT NULL;
TABLE held;
SELECT gamestate.create_game('locks', game_id => :'a');
TABLE held;
SELECT gamestate.create_game('locks', room_code => 'LOCK-1', game_id => :'b');
TABLE held;
-- the same ones are not taken twice
SELECT gamestate.apply_move(:'a', 1, '1', NULL), gamestate.set_metadata(:'a', '1'), gamestate.apply_move(:'b', 1, '1', NULL);
TABLE held;
COMMIT;
TABLE held;
-- each writer takes the game's lock, a room code that is taken or given up its own
BEGIN; SELECT gamestate.apply_move(:'a', 3, '1', NULL) > 0; TABLE held; ROLLBACK;
BEGIN; SELECT gamestate.set_metadata(:'a', '1') > 0; TABLE held; ROLLBACK;
BEGIN; SELECT gamestate.join_game(:'a', 'ann') > 0; TABLE held; ROLLBACK;
BEGIN; SELECT gamestate.set_room_code(:'a', 'LOCK-2') > 0; TABLE held; ROLLBACK;
BEGIN; SELECT gamestate.set_room_code(:'b', NULL) > 0; TABLE held; ROLLBACK;
BEGIN; SELECT gamestate.set_room_code(:'b', 'LOCK-3') > 0; TABLE held; ROLLBACK;
BEGIN; SELECT gamestate.finish_game(:'a') > 0; TABLE held; ROLLBACK;
BEGIN; SELECT gamestate.finish_game(:'b') > 0; TABLE held; ROLLBACK;
BEGIN; SELECT gamestate.delete_game(:'a'); TABLE held; ROLLBACK;
BEGIN; SELECT gamestate.delete_game(:'b'); TABLE held; ROLLBACK;
TABLE held;
-- readers take none
BEGIN;
SELECT gamestate.get_version(:'a'), gamestate.get_state(:'b'), gamestate.find_room('LOCK-1') = :'b',
       (SELECT count(*) FROM gamestate.list_live_games('locks')), (gamestate.get_game(:'a')).status;
TABLE held;
COMMIT;
-- a savepoint's locks go with it
BEGIN;
SELECT gamestate.set_metadata(:'a', '1') > 0;
SAVEPOINT s;
SELECT gamestate.set_metadata(:'b', '1') > 0, gamestate.set_room_code(:'b', NULL) > 0;
TABLE held;
ROLLBACK TO s;
TABLE held;
RELEASE s;
COMMIT;
-- pg_advisory_lock's own locks are others
BEGIN;
SELECT pg_advisory_xact_lock(18177), pg_advisory_xact_lock(18177, 1);
SELECT gamestate.set_metadata(:'a', '1') > 0;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND objsubid IN (18177, 18178);
SELECT pg_advisory_unlock_all();
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND objsubid IN (18177, 18178);
COMMIT;
-- a limit on games in one transaction
SET gamestate.max_games_per_transaction = 3;
BEGIN;
SELECT count(gamestate.create_game('locks', game_id => ('90000000-0000-4000-8000-1' || lpad(i::text, 11, '0'))::uuid)) FROM generate_series(1, 3) i;
SELECT gamestate.apply_move('90000000-0000-4000-8000-100000000003', NULL, '1', NULL);
SELECT gamestate.create_game('locks') IS NOT NULL;
SAVEPOINT s;
SELECT gamestate.set_metadata(:'a', '1');
ROLLBACK TO s;
SELECT gamestate.apply_move('90000000-0000-4000-8000-100000000003', NULL, '1', NULL);
ROLLBACK;
-- what a savepoint gave back counts no more
BEGIN;
SAVEPOINT s;
SELECT count(gamestate.create_game('locks', game_id => ('90000000-0000-4000-8000-1' || lpad(i::text, 11, '0'))::uuid)) FROM generate_series(1, 3) i;
ROLLBACK TO s;
SELECT count(gamestate.create_game('locks', game_id => ('90000000-0000-4000-8000-1' || lpad(i::text, 11, '0'))::uuid)) FROM generate_series(4, 6) i;
ROLLBACK;
-- nor does what was locked only to find that there is no such game
BEGIN;
SELECT count(*) FILTER (WHERE gamestate.delete_game(gen_random_uuid())) FROM generate_series(1, 10);
TABLE held;
SELECT count(gamestate.create_game('locks', game_id => ('90000000-0000-4000-8000-1' || lpad(i::text, 11, '0'))::uuid)) FROM generate_series(1, 3) i;
ROLLBACK;
RESET gamestate.max_games_per_transaction;
SELECT count(*) FROM gamestate.list_live_games('locks', with_state => false);
-- 20,000 games with generated ids in one transaction work
BEGIN;
SELECT count(DISTINCT gamestate.create_game('locks many', '{"n": 1}', '{ann}')) FROM generate_series(1, 20000);
SELECT count(*) FROM gamestate.list_live_games('locks many', with_state => false);
SELECT count(*) FROM held WHERE class = 'game';
COMMIT;
SELECT count(*), count(DISTINCT game_id), min(version), max(version) FROM gamestate.list_live_games('locks many', with_state => false);
-- changing them all at once ends in our own error, which changes nothing
SELECT count(gamestate.apply_move(game_id, 1, '1', '{}')) FROM gamestate.list_live_games('locks many', with_state => false);
SELECT count(*), min(version), max(version) FROM gamestate.list_live_games('locks many', with_state => false);
TABLE held;
-- so it does when the limit is far beyond the lock table (53200 would be PostgreSQL's)
SET gamestate.max_games_per_transaction = 100000;
DO $$
BEGIN
    PERFORM gamestate.apply_move(game_id, 1, '1', '{}') FROM gamestate.list_live_games('locks many', with_state => false);
    RAISE EXCEPTION USING ERRCODE = '54000';     -- should it work, after all
EXCEPTION WHEN program_limit_exceeded THEN
    NULL;
END $$;
RESET gamestate.max_games_per_transaction;
TABLE held;
SELECT count(*), min(version), max(version) FROM gamestate.list_live_games('locks many', with_state => false);
-- others are not harmed by it: a procedure removes them, 1,000 a transaction
CREATE PROCEDURE pg_temp.remove_all() LANGUAGE plpgsql AS $$
DECLARE
    n   integer;
BEGIN
    LOOP
        SELECT count(*) FILTER (WHERE gamestate.delete_game(game_id)) INTO n
          FROM (SELECT game_id FROM gamestate.list_live_games('locks many', with_state => false, max_rows => 1000)) s;
        COMMIT;
        EXIT WHEN n = 0;
    END LOOP;
END $$;
CALL pg_temp.remove_all();
SELECT count(*) FROM gamestate.list_live_games('locks many', with_state => false);
SELECT count(*) FROM gamestate.player_games('ann') p WHERE (gamestate.get_game(p)).game_type LIKE 'locks%';
SELECT count(*) FILTER (WHERE gamestate.delete_game(game_id)) FROM gamestate.list_live_games('locks', with_state => false);
