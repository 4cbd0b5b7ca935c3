-- Deadlines: set, taken back, put off by a move, and set off once when they pass.
\pset format unaligned
\pset tuples_only on
\pset null (null)
\set VERBOSITY terse
SET timezone = 'Asia/Tehran';
\set g 23000000-0000-4000-8000-000000000001
\set h 23000000-0000-4000-8000-000000000002
\set b 23000000-0000-4000-8000-000000000003
CREATE PROCEDURE pg_temp.wait_version(id uuid, v bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 3000 LOOP
        EXIT WHEN gamestate.get_version(id) >= v;
        PERFORM pg_sleep(0.01);
        COMMIT;
    END LOOP;
END $$;
SELECT count(gamestate.create_game('deadlines', '{"turn": "ann"}', '{ann,bob}', game_id => id)) FROM unnest('{23000000-0000-4000-8000-000000000001,23000000-0000-4000-8000-000000000002}'::uuid[]) id;
-- set, taken back, shown
SELECT gamestate.set_deadline(:'g', '2126-01-02 03:04:05.678 UTC');
SELECT deadline AT TIME ZONE 'UTC', version, moves FROM gamestate.get_game(:'g');
SELECT deadline AT TIME ZONE 'UTC' FROM gamestate.live_games WHERE game_id = :'g';
SELECT gamestate.set_deadline(:'g', NULL);
SELECT deadline, version FROM gamestate.get_game(:'g');
SELECT gamestate.set_deadline(:'g', '2126-01-01 UTC', 3);
SELECT gamestate.set_deadline(:'g', '2126-01-01 UTC', 3);
\echo :SQLSTATE
SELECT gamestate.set_deadline(:'g', 'infinity', 4);
SELECT gamestate.set_deadline(:'g', '-infinity');
\echo :SQLSTATE
SELECT gamestate.set_deadline(NULL, now());
\echo :SQLSTATE
SELECT gamestate.set_deadline('23000000-0000-4000-8000-00000000ffff', now());
\echo :SQLSTATE
-- with a move; a move without one leaves it as it is
SELECT gamestate.apply_move(:'g', 5, '1', NULL, 'ann', '2126-01-03 UTC');
SELECT deadline AT TIME ZONE 'UTC' FROM gamestate.get_game(:'g');
SELECT gamestate.apply_move(:'g', 6, '2', '{"turn": "bob"}', 'ann');
SELECT deadline AT TIME ZONE 'UTC' FROM gamestate.get_game(:'g');
SELECT gamestate.apply_patch(:'g', 7, '3', '{"n": 1}', 'bob', deadline => '2126-01-04 UTC');
SELECT deadline AT TIME ZONE 'UTC' FROM gamestate.get_game(:'g');
SELECT gamestate.apply_move(:'g', 8, '4', NULL, deadline => 'infinity');
SELECT deadline FROM gamestate.get_game(:'g');
SELECT gamestate.apply_move(:'g', 9, '5', NULL, deadline => '-infinity');
\echo :SQLSTATE
SELECT version, sqlstate, message FROM gamestate.apply_moves(ARRAY[:'g', :'h', :'g', :'g']::uuid[], '{9,1,10,11}', '{6,7,8,9}', '{NULL,NULL,NULL,NULL}',
	deadlines => '{2126-01-05 UTC,2126-01-06 UTC,NULL,-infinity}');
SELECT deadline AT TIME ZONE 'UTC' FROM gamestate.list_live_games('deadlines') ORDER BY game_id;
SELECT * FROM gamestate.apply_moves(ARRAY[:'g']::uuid[], '{11}', '{6}', '{NULL}', deadlines => '{now,now}');
\echo :SQLSTATE
-- a retry
SELECT gamestate.apply_move(:'g', 11, '10', NULL, deadline => '2126-01-07 UTC', request_id => '23000000-0000-4000-8000-0000000000aa');
SELECT gamestate.apply_move(:'g', 11, '10', NULL, deadline => '2126-01-07 UTC', request_id => '23000000-0000-4000-8000-0000000000aa');
SELECT version FROM gamestate.apply_moves(ARRAY[:'g']::uuid[], '{11}', '{10}', '{NULL}', deadlines => '{2126-01-07 UTC}', request_ids => '{23000000-0000-4000-8000-0000000000aa}');
SELECT gamestate.apply_move(:'g', 11, '10', NULL, deadline => '2126-01-08 UTC', request_id => '23000000-0000-4000-8000-0000000000aa');
\echo :SQLSTATE
SELECT gamestate.set_deadline(:'g', NULL, request_id => '23000000-0000-4000-8000-0000000000ab');
SELECT gamestate.set_deadline(:'g', NULL, request_id => '23000000-0000-4000-8000-0000000000ab');
-- in a transaction, rolled back
BEGIN;
SELECT gamestate.set_deadline(:'g', '2126-01-09 UTC');
SAVEPOINT s;
SELECT gamestate.set_deadline(:'g', '2126-01-10 UTC');
ROLLBACK TO s;
SELECT deadline AT TIME ZONE 'UTC' FROM gamestate.get_game(:'g');
ROLLBACK;
SELECT deadline FROM gamestate.get_game(:'g');
-- the entries
SELECT version, kind, player, event FROM gamestate.get_changes(:'g');
-- one that passes
SELECT gamestate.feed_position() AS pos \gset
SELECT gamestate.set_deadline(:'g', clock_timestamp() + '50 ms') AS v \gset
CALL pg_temp.wait_version(:'g', :v + 1);
SELECT version - :v, deadline, state, moves FROM gamestate.get_game(:'g');
SELECT kind, player, event::text::timestamptz = (SELECT event::text::timestamptz FROM gamestate.get_changes(:'g', :v - 1) LIMIT 1),
       at >= event::text::timestamptz
  FROM gamestate.get_changes(:'g', :v);
SELECT kind, version - :v FROM gamestate.wait_changes(:pos, ARRAY[:'g']::uuid[], timeout => '0') ORDER BY feed_position;
-- once only
SELECT pg_sleep(0.1);
SELECT gamestate.get_version(:'g') - :v;
-- one that has passed already passes at once, also with a move
SELECT gamestate.apply_move(:'g', NULL, '"late"', NULL, deadline => '2001-01-01') AS v \gset
CALL pg_temp.wait_version(:'g', :v + 1);
SELECT kind, event FROM gamestate.get_changes(:'g', :v - 1);
-- in a room, in a game of bytes
SELECT gamestate.create_game_bytes('deadlines', '\x00', game_id => :'b', status => 'waiting');
SELECT gamestate.set_deadline(:'b', '2001-01-01');
CALL pg_temp.wait_version(:'b', 3);
SELECT version, kind, event, event_bytes FROM gamestate.get_changes(:'b');
SELECT gamestate.start_game(:'b');
SELECT gamestate.apply_move_bytes(:'b', 4, '\x01', NULL, deadline => '2001-01-01');
CALL pg_temp.wait_version(:'b', 6);
SELECT version, kind FROM gamestate.get_changes(:'b', 4);
SELECT version FROM gamestate.apply_moves_bytes(ARRAY[:'b']::uuid[], '{6}', '{"\\x01"}', '{NULL}', deadlines => '{2126-01-01 UTC}');
-- one in the same transaction as the end: the end counts
BEGIN;
SELECT gamestate.set_deadline(:'h', '2001-01-01');
SELECT gamestate.finish_game(:'h');
SELECT deadline FROM gamestate.get_game(:'h');
COMMIT;
-- finishing takes it back
SELECT gamestate.finish_game(:'b');
SELECT deadline FROM gamestate.get_game(:'b');
SELECT gamestate.set_deadline(:'b', now());
\echo :SQLSTATE
-- statistics
SELECT deadlines > 3, last_late_ms >= 0, max_late_ms >= last_late_ms FROM gamestate.stat_timer;
SELECT kind, state, games >= 4 FROM gamestate.stat_workers WHERE kind = 'timer' AND database = current_database();
SELECT gamestate.delete_game(:'g');
