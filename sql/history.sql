-- Earlier states: state_at(), restore_game(), the policy's history.
\pset format unaligned
\pset tuples_only on
\pset null NULL
\set g 0000000f-0000-4000-8000-000000000001
\set b 0000000f-0000-4000-8000-000000000002
\set e 0000000f-0000-4000-8000-000000000003
INSERT INTO gamestate.policy (game_type, history) VALUES ('history events', 'events');
\set VERBOSITY terse
INSERT INTO gamestate.policy (game_type, history) VALUES ('history nothing', 'nothing');
\set VERBOSITY default
\echo :SQLSTATE
SELECT gamestate.create_game('history', '{"n":1}', '{ann}', game_id => :'g');
-- every version, those that leave the state as it is included
SELECT gamestate.apply_move(:'g', 1, '1', '{"n":2,"board":"........"}'),
       gamestate.apply_move(:'g', 2, '2', NULL),
       gamestate.join_game(:'g', 'bob'),
       gamestate.apply_move(:'g', 4, '3', '{"n":5,"board":"...x...."}'),
       gamestate.apply_patch(:'g', 5, '4', '{"board":null}'),
       gamestate.apply_move(:'g', 6, '5', '""'),
       gamestate.apply_move(:'g', 7, '6', '{"n":8}');
SELECT v, gamestate.state_at(:'g', v) FROM generate_series(1, 9) v;
SELECT gamestate.state_at(:'g', 0);
\echo :SQLSTATE
SELECT gamestate.state_at('0000000f-0000-4000-8000-00000000ffff', 1), gamestate.state_at(NULL, 1), gamestate.state_at(:'g', NULL);
-- several in one transaction, with savepoints; seen by itself before the commit
BEGIN;
SELECT gamestate.apply_move(:'g', 8, '1', '{"n":9}');
SELECT v, gamestate.state_at(:'g', v) FROM generate_series(7, 9) v;
SAVEPOINT s;
SELECT gamestate.apply_move(:'g', 9, '1', '{"n":10}'), gamestate.apply_move(:'g', 10, '1', '{"n":11}');
SELECT v, gamestate.state_at(:'g', v) FROM generate_series(7, 11) v;
ROLLBACK TO s;
SELECT v, gamestate.state_at(:'g', v) FROM generate_series(7, 10) v;
SELECT gamestate.set_metadata(:'g', '{}'), gamestate.apply_move(:'g', 10, '1', '{"n":11}'), gamestate.apply_move(:'g', 11, '1', '{"n":12}');
COMMIT;
SELECT v, gamestate.state_at(:'g', v) FROM generate_series(7, 13) v;
-- back to an earlier state: a version like any other
SELECT gamestate.restore_game(:'g', 5, 12);
SELECT gamestate.get_state(:'g'), gamestate.get_version(:'g');
SELECT version, kind, event FROM gamestate.get_changes(:'g', 12);
SELECT gamestate.restore_game(:'g', 1), gamestate.restore_game(:'g', 13, 14, '0000000f-0000-4000-8000-00000000f001');
SELECT gamestate.restore_game(:'g', 13, 14, '0000000f-0000-4000-8000-00000000f001');
SELECT v, gamestate.state_at(:'g', v) FROM generate_series(11, 15) v;
SELECT moves FROM gamestate.get_game(:'g');
SELECT gamestate.restore_game(:'g', 16);
\echo :SQLSTATE
SELECT gamestate.restore_game(:'g', 0);
\echo :SQLSTATE
SELECT gamestate.restore_game(:'g', 1, 3);
\echo :SQLSTATE
SELECT gamestate.restore_game(:'g', NULL);
\echo :SQLSTATE
SELECT gamestate.restore_game('0000000f-0000-4000-8000-00000000ffff', 1);
\echo :SQLSTATE
-- created and moved in one transaction
BEGIN;
SELECT gamestate.create_game_bytes('history', '\x00', game_id => :'b'), gamestate.apply_move_bytes(:'b', 1, '\x01', '\x0001'),
       gamestate.apply_move_bytes(:'b', 2, '\x02', '');
SELECT v, gamestate.state_at_bytes(:'b', v) FROM generate_series(1, 4) v;
COMMIT;
SELECT v, gamestate.state_at_bytes(:'b', v) FROM generate_series(1, 4) v;
SELECT gamestate.restore_game(:'b', 2), gamestate.get_state_bytes(:'b');
SELECT gamestate.state_at(:'b', 1);
\echo :SQLSTATE
-- history events: the first and the current state
SELECT gamestate.create_game('history events', '"first"', game_id => :'e');
SELECT gamestate.apply_move(:'e', 1, '1', '"second"'), gamestate.apply_move(:'e', 2, '2', '"third"');
SELECT gamestate.state_at(:'e', 1), gamestate.state_at(:'e', 3), gamestate.state_at(:'e', 4);
SELECT gamestate.state_at(:'e', 2);
\echo :SQLSTATE
SELECT gamestate.restore_game(:'e', 2);
\echo :SQLSTATE
SELECT gamestate.restore_game(:'e', 1), gamestate.state_at(:'e', 1), gamestate.state_at(:'e', 4);
-- large states that change a little, and much
DO $$
DECLARE
    g uuid := gamestate.create_game('history', to_json(repeat('x', 3000)));
    states json[] := ARRAY[to_json(repeat('x', 3000))];
    s json;
    wrong integer;
BEGIN
    FOR i IN 2 .. 60 LOOP
        s := to_json(CASE WHEN i % 7 = 0 THEN repeat(md5(i::text), 50 + i)
                          ELSE overlay(states[i - 1] #>> '{}' placing md5(i::text) from 1 + (i * 37) % 2000) END);
        PERFORM gamestate.apply_move(g, i - 1, to_json(i), s);
        states := states || s;
    END LOOP;
    SELECT count(*) INTO wrong FROM generate_series(1, 60) v WHERE gamestate.state_at(g, v)::text IS DISTINCT FROM states[v]::text;
    RAISE NOTICE 'live: % are wrong', wrong;
    PERFORM gamestate.delete_game(g);
END $$;
-- what the archive gives
CREATE TABLE history_before AS SELECT v, gamestate.state_at(:'g', v) AS state FROM generate_series(1, 16) v;
SELECT gamestate.finish_game(:'g'), gamestate.finish_game(:'b'), gamestate.finish_game(:'e');
CREATE PROCEDURE wait_for_archive() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 600 LOOP
        EXIT WHEN (SELECT count(*) FROM gamestate.archive WHERE game_type LIKE 'history%') = 3;
        PERFORM pg_sleep(0.1);
        COMMIT;
    END LOOP;
END $$;
CALL wait_for_archive();
SELECT count(*) FROM gamestate.archive WHERE game_type LIKE 'history%';
SELECT count(*) FROM history_before WHERE gamestate.state_at(:'g', v)::text IS DISTINCT FROM state::text AND v < 16;
SELECT gamestate.state_at(:'g', 16), gamestate.state_at(:'g', 17);
SELECT initial_state, final_state FROM gamestate.archived_games WHERE game_id = :'g';
SELECT gamestate.state_at(:'e', 1), gamestate.state_at(:'e', 5);
SELECT gamestate.state_at(:'e', 3);
\echo :SQLSTATE
SELECT v, gamestate.state_at_bytes(:'b', v) FROM generate_series(1, 5) v;
SELECT gamestate.restore_game(:'g', 1);
\echo :SQLSTATE
DROP TABLE history_before;
DROP PROCEDURE wait_for_archive();
DELETE FROM gamestate.policy WHERE game_type LIKE 'history%';
