-- Request ids: a retry of a write gets the first answer and changes nothing.
\pset format unaligned
\pset tuples_only on
\pset null (null)
\set g 21000000-0000-4000-8000-000000000001
\set h 21000000-0000-4000-8000-000000000002
\set i 21000000-0000-4000-8000-000000000003
-- a request id of version 7 is the new game's id
\set r7 01930000-0000-7000-8000-00000000000a
CREATE FUNCTION pg_temp.r(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$SELECT ('22000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
CREATE PROCEDURE pg_temp.wait_archived(id uuid) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 1000 LOOP
        EXIT WHEN (gamestate.get_game(id)).tier = 'archived';
        PERFORM pg_sleep(0.02);
        COMMIT;
    END LOOP;
END $$;

-- create_game, with an id and without
SELECT gamestate.create_game('requests', '{}', '{ann}', 'REQ-1', game_id => :'g', status => 'waiting', max_players => 3, request_id => pg_temp.r(1)) = :'g';
SELECT gamestate.create_game('requests', '{}', '{ann}', 'REQ-1', game_id => :'g', status => 'waiting', max_players => 3, request_id => pg_temp.r(1)) = :'g';
SELECT gamestate.create_game('requests', '{}', '{bob}', 'REQ-1', game_id => :'g', status => 'waiting', max_players => 3, request_id => pg_temp.r(1));
\echo :SQLSTATE
SELECT gamestate.create_game('requests', game_id => :'g', request_id => pg_temp.r(2));
\echo :SQLSTATE
SELECT gamestate.create_game('requests', game_id => :'g');
SELECT gamestate.create_game('requests', request_id => :'r7');
SELECT gamestate.create_game('requests', request_id => :'r7');
SELECT gamestate.create_game('requests', '[]', request_id => :'r7');
\echo :SQLSTATE
SELECT gamestate.create_game_bytes('requests', request_id => :'r7');
\echo :SQLSTATE
SELECT gamestate.create_game('requests', request_id => pg_temp.r(3)) AS new \gset
SELECT gamestate.create_game('requests', request_id => pg_temp.r(3)) = :'new', substr(:'new', 15, 1) AS uuid_version;
SELECT gamestate.create_game_bytes('requests', '\x01', game_id => :'h', request_id => pg_temp.r(4)) = :'h';
SELECT gamestate.create_game_bytes('requests', '\x01', game_id => :'h', request_id => pg_temp.r(4)) = :'h';

-- everything else, each twice, in an order that makes all versions but the first wrong by then
\set round1 'SELECT gamestate.join_game(:''g'', ''bob'', 1, pg_temp.r(10)); SELECT gamestate.set_metadata(:''g'', ''{"a": 1}'', 2, pg_temp.r(11)); SELECT gamestate.set_room_code(:''g'', NULL, 3, pg_temp.r(12)); SELECT gamestate.leave_game(:''g'', ''ann'', 4, pg_temp.r(13)); SELECT gamestate.start_game(:''g'', 5, pg_temp.r(14)); SELECT gamestate.apply_move(:''g'', 6, ''{"c": 7}'', ''{"s": 1}'', ''bob'', request_id => pg_temp.r(15)); SELECT gamestate.apply_move_bytes(:''h'', 1, ''\\x02'', NULL, NULL, request_id => pg_temp.r(16)); SELECT gamestate.apply_moves(ARRAY[:''g'', :''h'']::uuid[], ''{7,7}'', ''{1,2}'', ''{1,2}'', request_ids => ARRAY[pg_temp.r(17), pg_temp.r(18)]);'
:round1
:round1
SELECT version, kind, request_id FROM gamestate.get_changes(:'g');
SELECT version, state, players, room_code, metadata FROM gamestate.get_game(:'g');
-- a move of a batch may be retried alone
SELECT gamestate.apply_move(:'g', 7, '1', '1', NULL, request_id => pg_temp.r(17));
-- finishing; then the game is over for everything but retries
SELECT gamestate.finish_game(:'g', '{"winner": "bob"}', 8, request_id => pg_temp.r(19));
SELECT gamestate.finish_game(:'g', '{"winner": "bob"}', 8, request_id => pg_temp.r(19));
SELECT gamestate.finish_game(:'g', '{"winner": "bob"}', 8, 'abandoned', request_id => pg_temp.r(19));
-- (it may have been archived by now, which the detail would say)
\set VERBOSITY terse
SELECT gamestate.apply_move(:'g', 8, '{}', NULL, NULL, request_id => pg_temp.r(20));
\set VERBOSITY default
SELECT gamestate.finish_game(:'h', request_id => pg_temp.r(21));

-- from the archive
CALL pg_temp.wait_archived(:'g');
CALL pg_temp.wait_archived(:'h');
:round1
SELECT gamestate.finish_game(:'g', '{"winner": "bob"}', 8, request_id => pg_temp.r(19));
SELECT gamestate.finish_game(:'g', '{"winner": "ann"}', 8, request_id => pg_temp.r(19));
\echo :SQLSTATE
SELECT gamestate.delete_game(:'g', request_id => pg_temp.r(19));
\echo :SQLSTATE
SELECT gamestate.apply_move(:'g', 8, '{}', NULL, NULL, request_id => pg_temp.r(20));
SELECT gamestate.create_game('requests', '{}', '{ann}', 'REQ-1', game_id => :'g', status => 'waiting', max_players => 3, request_id => pg_temp.r(1)) = :'g';
SELECT gamestate.create_game('requests', game_id => :'g', request_id => pg_temp.r(2));
SELECT gamestate.apply_moves(ARRAY[:'g', :'g']::uuid[], '{7,7}', '{1,2}', '{1,2}', request_ids => ARRAY[pg_temp.r(17), pg_temp.r(18)]);
SELECT gamestate.apply_moves(ARRAY[:'g']::uuid[], '{7}', '{1}', '{1}', all_or_nothing => true, request_ids => ARRAY[pg_temp.r(17)]);
-- created without an id, then archived
SELECT gamestate.finish_game(:'new');
SELECT gamestate.finish_game(:'r7');
CALL pg_temp.wait_archived(:'new');
CALL pg_temp.wait_archived(:'r7');
SELECT gamestate.create_game('requests', request_id => pg_temp.r(3)) = :'new';
-- (the detail names the game, whose id tells the day)
\set VERBOSITY terse
SELECT gamestate.create_game('requests', '[]', request_id => pg_temp.r(3));
\set VERBOSITY default
\echo :SQLSTATE
SELECT gamestate.create_game('requests', request_id => :'r7');
-- its payload dropped: a game of that id can have been created by that request only
DELETE FROM gamestate.archive_payload WHERE game_id IN (:'new', :'g');
SELECT gamestate.create_game('requests', request_id => pg_temp.r(3)) = :'new';
SELECT gamestate.apply_move(:'g', 7, '1', '1', NULL, request_id => pg_temp.r(17));

-- what is not remembered: errors, and joins that change nothing
\set g :i
SELECT gamestate.create_game('requests', players => '{ann}', game_id => :'g');
SELECT gamestate.apply_move(:'g', 7, '1', NULL, NULL, request_id => pg_temp.r(30));
\echo :SQLSTATE
SELECT gamestate.join_game(:'g', 'ann', NULL, pg_temp.r(31));
SELECT gamestate.apply_move(:'g', 1, '1', NULL, NULL, request_id => pg_temp.r(30));
SELECT gamestate.join_game(:'g', 'ann', NULL, pg_temp.r(31));

-- within one transaction, and a savepoint's rollback forgets
BEGIN;
SELECT gamestate.apply_move(:'g', NULL, '2', NULL, NULL, request_id => pg_temp.r(32));
SELECT gamestate.apply_move(:'g', NULL, '2', NULL, NULL, request_id => pg_temp.r(32));
SAVEPOINT s;
SELECT gamestate.apply_move(:'g', NULL, '3', NULL, NULL, request_id => pg_temp.r(33));
SELECT gamestate.apply_move(:'g', NULL, '3', NULL, NULL, request_id => pg_temp.r(33));
SELECT gamestate.apply_move(:'g', NULL, '3', NULL, NULL, request_id => pg_temp.r(30));
\echo :SQLSTATE
ROLLBACK TO s;
SELECT gamestate.apply_move(:'g', NULL, '4', NULL, NULL, request_id => pg_temp.r(33));
SELECT gamestate.apply_move(:'g', 1, '1', NULL, NULL, request_id => pg_temp.r(30));
SELECT gamestate.create_game('requests', game_id => :'h', request_id => pg_temp.r(34));
\echo :SQLSTATE
ROLLBACK;
SELECT gamestate.get_version(:'g');
-- the id has the time in it
\set VERBOSITY sqlstate
BEGIN;
SELECT gamestate.create_game('requests', request_id => pg_temp.r(35)) AS new \gset
SELECT gamestate.create_game('requests', request_id => pg_temp.r(35)) = :'new';
SELECT gamestate.apply_move(:'new', 1, '4', NULL, NULL, request_id => pg_temp.r(36));
SELECT gamestate.apply_move(:'new', 1, '4', NULL, NULL, request_id => pg_temp.r(36));
SELECT gamestate.apply_move(:'new', 1, '4', NULL, NULL, request_id => pg_temp.r(35));
\echo :SQLSTATE
ROLLBACK;

-- the last gamestate.request_ids of a game are remembered, and its creation's
SELECT gamestate.create_game('requests', request_id => pg_temp.r(99)) AS g \gset
SELECT count(gamestate.apply_move(:'g', NULL, '5', NULL, NULL, request_id => pg_temp.r(n))) FROM generate_series(100, 119) n;
SELECT n, gamestate.apply_move(:'g', NULL, '5', NULL, NULL, request_id => pg_temp.r(n)) FROM unnest('{119,104}'::int[]) n;
SELECT gamestate.create_game('requests', request_id => pg_temp.r(99)) = :'g';
-- pushed out: a new request
SELECT gamestate.apply_move(:'g', NULL, '5', NULL, NULL, request_id => pg_temp.r(103));
-- one call after another, each a transaction of its own
SELECT gamestate.create_game('requests') AS g \gset
CREATE PROCEDURE pg_temp.move_one_by_one(id uuid) LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN 200 .. 220 LOOP
        PERFORM gamestate.apply_move(id, NULL, '6', NULL, NULL, request_id => pg_temp.r(n));
        COMMIT;
    END LOOP;
END $$;
CALL pg_temp.move_one_by_one(:'g');
SELECT n, gamestate.apply_move(:'g', NULL, '6', NULL, NULL, request_id => pg_temp.r(n)) FROM generate_series(205, 220) n;
SELECT gamestate.apply_move(:'g', NULL, '6', NULL, NULL, request_id => pg_temp.r(204));
SELECT gamestate.finish_game(game_id) IS NOT NULL FROM gamestate.live_games WHERE game_type = 'requests' AND status = 'active';

-- delete_game: true again, also when the id has been used again, which the retry does not delete
\set VERBOSITY default
\set d 21000000-0000-4000-8000-000000000004
SELECT gamestate.create_game('requests', game_id => :'d', request_id => pg_temp.r(300)) = :'d';
SELECT gamestate.delete_game(:'d', 1, pg_temp.r(301));
SELECT gamestate.delete_game(:'d', 1, pg_temp.r(301));
SELECT gamestate.delete_game(:'d', 1, pg_temp.r(302));
SELECT gamestate.delete_game(:'d', 2, pg_temp.r(301));
\echo :SQLSTATE
SELECT gamestate.create_game('requests', game_id => :'d', request_id => pg_temp.r(300)) = :'d' AS same, gamestate.get_version(:'d');
SELECT gamestate.create_game('other', game_id => :'d', request_id => pg_temp.r(300));
\echo :SQLSTATE
SELECT gamestate.create_game('requests', '"new"', game_id => :'d', request_id => pg_temp.r(303)) = :'d';
SELECT gamestate.delete_game(:'d', 1, pg_temp.r(301));
SELECT gamestate.create_game('requests', game_id => :'d', request_id => pg_temp.r(300)) = :'d' AS same, gamestate.get_state(:'d');
SELECT gamestate.create_game('requests', game_id => :'d', request_id => pg_temp.r(301));
\echo :SQLSTATE
-- deleted without a request id, but created with one
SELECT gamestate.delete_game(:'d');
SELECT gamestate.create_game('requests', '"new"', game_id => :'d', request_id => pg_temp.r(303)) = :'d' AS same, gamestate.get_version(:'d');
SELECT game_id, request_id, create_request FROM gamestate.deleted_games WHERE game_id = :'d' ORDER BY deleted_at;
-- without request ids nothing is kept
SELECT gamestate.create_game('requests', game_id => :'d') = :'d';
SELECT gamestate.delete_game(:'d');
SELECT count(*) FROM gamestate.deleted_games WHERE game_id = :'d';
-- within one transaction and statement, and rolled back
BEGIN;
SELECT gamestate.create_game('requests', game_id => :'d', request_id => pg_temp.r(310)) = :'d';
SAVEPOINT s;
SELECT gamestate.delete_game(:'d', NULL, pg_temp.r(311)), gamestate.delete_game(:'d', NULL, pg_temp.r(311));
SELECT gamestate.create_game('requests', game_id => :'d', request_id => pg_temp.r(310)) = :'d' AS same, gamestate.get_version(:'d');
ROLLBACK TO s;
SELECT gamestate.get_version(:'d');
SELECT gamestate.delete_game(:'d', 2, pg_temp.r(311));
\echo :SQLSTATE
ROLLBACK;
SELECT gamestate.delete_game(:'d', NULL, pg_temp.r(311));
-- a deleted game has lost all other requests
SELECT gamestate.create_game('requests', game_id => :'d') = :'d';
SELECT gamestate.apply_move(:'d', 1, '1', NULL, NULL, request_id => pg_temp.r(312));
SELECT gamestate.delete_game(:'d', request_id => pg_temp.r(312));
\echo :SQLSTATE
SELECT gamestate.delete_game(:'d', request_id => pg_temp.r(313));
SELECT gamestate.apply_move(:'d', 1, '1', NULL, NULL, request_id => pg_temp.r(312));
\echo :SQLSTATE

-- apply_patch; its request id is not apply_move's
SELECT gamestate.create_game('requests', '{"n": 1}', game_id => :'d') = :'d';
SELECT gamestate.apply_patch(:'d', 1, '1', '{"m": 2}', request_id => pg_temp.r(320));
SELECT gamestate.apply_patch(:'d', 1, '1', '{"m": 2}', request_id => pg_temp.r(320));
SELECT gamestate.apply_move(:'d', 1, '1', '{"m": 2}', request_id => pg_temp.r(320));
\echo :SQLSTATE
SELECT version, state FROM gamestate.get_game(:'d');
SELECT gamestate.delete_game(:'d');

-- players count one by one, whatever array they come in
\set VERBOSITY terse
SELECT gamestate.create_game('requests', players => '{ann,bob}', request_id => pg_temp.r(400)) AS g \gset
SELECT gamestate.create_game('requests', players => ARRAY['ann', 'bob']::varchar[], request_id => pg_temp.r(400)) = :'g';
SELECT gamestate.create_game('requests', players => (ARRAY[NULL, 'ann', 'bob'])[2:], request_id => pg_temp.r(400)) = :'g';
SELECT gamestate.create_game('requests', players => '{bob,ann}', request_id => pg_temp.r(400));
\echo :SQLSTATE
-- an id that was pushed out and used again: the newest counts, in the archive too
SELECT gamestate.apply_move(:'g', NULL, '1', NULL, NULL, request_id => pg_temp.r(401));
SELECT count(gamestate.apply_move(:'g', NULL, '5', NULL, NULL, request_id => pg_temp.r(n))) FROM generate_series(402, 417) n;
SELECT gamestate.apply_move(:'g', NULL, '2', NULL, NULL, request_id => pg_temp.r(401));
SELECT gamestate.apply_move(:'g', NULL, '2', NULL, NULL, request_id => pg_temp.r(401));
SELECT gamestate.finish_game(:'g');
CALL pg_temp.wait_archived(:'g');
SELECT gamestate.apply_move(:'g', NULL, '2', NULL, NULL, request_id => pg_temp.r(401));
-- more of a game in one call than are remembered: a retry would make the first ones again
SELECT gamestate.create_game('requests') AS g \gset
SELECT count(version) FROM gamestate.apply_moves(array_fill(:'g'::uuid, '{16}'), array_fill(NULL::bigint, '{16}'), array_fill('1'::json, '{16}'), array_fill(NULL::json, '{16}'), request_ids => (SELECT array_agg(pg_temp.r(n)) FROM generate_series(501, 516) n));
SELECT max(version) FROM gamestate.apply_moves(array_fill(:'g'::uuid, '{16}'), array_fill(NULL::bigint, '{16}'), array_fill('1'::json, '{16}'), array_fill(NULL::json, '{16}'), request_ids => (SELECT array_agg(pg_temp.r(n)) FROM generate_series(501, 516) n));
\set VERBOSITY sqlstate
SELECT count(version) FROM gamestate.apply_moves(array_fill(:'g'::uuid, '{17}'), array_fill(NULL::bigint, '{17}'), array_fill('1'::json, '{17}'), array_fill(NULL::json, '{17}'), request_ids => (SELECT array_agg(pg_temp.r(n)) FROM generate_series(601, 617) n));
SELECT count(version) FROM gamestate.apply_moves(array_fill(:'g'::uuid, '{17}'), array_fill(NULL::bigint, '{17}'), array_fill('1'::json, '{17}'), array_fill(NULL::json, '{17}'), request_ids => (SELECT array_agg(CASE WHEN n < 617 THEN pg_temp.r(n) END) FROM generate_series(601, 617) n));
SELECT gamestate.delete_game(:'g');
-- of version 7, but its time is far ahead: later a retry would not be found in the archive
SELECT gamestate.create_game('requests', request_id => 'f1930000-0000-7000-8000-00000000000a');
SELECT gamestate.create_game('requests', game_id => :'d', request_id => 'f1930000-0000-7000-8000-00000000000a') = :'d';
SELECT gamestate.delete_game(:'d');
