-- The last changes only (history last N), and what get_changes() gives to who is behind.
\pset format unaligned
\pset tuples_only on
\pset null NULL
\set g 0000001f-0000-4000-8000-000000000001
\set p 0000001f-0000-4000-8000-000000000002
\set e 0000001f-0000-4000-8000-000000000003
\set b 0000001f-0000-4000-8000-000000000004
\set r1 0000001f-0000-4000-8000-00000000f001
\set r2 0000001f-0000-4000-8000-00000000f002
INSERT INTO gamestate.policy (game_type, history) VALUES ('last 3', 'last 3'), ('last 1', 'last 1'), ('last events', 'events');
\set VERBOSITY terse
INSERT INTO gamestate.policy (game_type, history) VALUES ('x', 'last 0');
INSERT INTO gamestate.policy (game_type, history) VALUES ('x', 'last 65536');
INSERT INTO gamestate.policy (game_type, history) VALUES ('x', 'last');
INSERT INTO gamestate.policy (game_type, history) VALUES ('x', 'last 3 ');
\set VERBOSITY default
INSERT INTO gamestate.policy (game_type, history) VALUES ('x', 'last 65535');
DELETE FROM gamestate.policy WHERE game_type = 'x';
SELECT gamestate.create_game('last 3', '{"n":1}', '{ann}', game_id => :'g', request_id => :'r1');
SELECT gamestate.apply_move(:'g', 1, '2', '{"n":2}', request_id => :'r2'), gamestate.apply_move(:'g', 2, '3', '{"n":3}');
-- until there are more, nothing is missing
SELECT version, kind, event, patch, state FROM gamestate.get_changes(:'g');
SELECT v, gamestate.state_at(:'g', v) FROM generate_series(1, 3) v;
SELECT gamestate.apply_move(:'g', 3, '4', '{"n":4}'), gamestate.apply_move(:'g', 4, '5', '{"n":5}'), gamestate.set_metadata(:'g', '[]');
SELECT version, kind, event, patch, state FROM gamestate.get_changes(:'g');
SELECT version, kind, event, patch, state FROM gamestate.get_changes(:'g', 2);
SELECT version, kind, event, patch, state FROM gamestate.get_changes(:'g', 3);
SELECT version, kind, event, patch, state FROM gamestate.get_changes(:'g', 4);
SELECT count(*) FROM gamestate.get_changes(:'g', 6);
SELECT version, kind, event, patch, state FROM gamestate.get_changes(:'g', 0, 2);
SELECT v, gamestate.state_at(:'g', v) FROM generate_series(3, 7) v;
SELECT gamestate.state_at(:'g', 2);
\echo :SQLSTATE
SELECT gamestate.restore_game(:'g', 2);
\echo :SQLSTATE
SELECT gamestate.restore_game(:'g', 3), gamestate.get_state(:'g');
-- requests are remembered longer than the log
SELECT gamestate.apply_move(:'g', 1, '2', '{"n":2}', request_id => :'r2'), gamestate.create_game('last 3', '{"n":1}', '{ann}', game_id => :'g', request_id => :'r1');
SELECT gamestate.apply_move(:'g', 1, 'null', '{"n":2}', request_id => :'r2');
\echo :SQLSTATE
-- as a transaction sees it that has gone on
BEGIN;
SELECT gamestate.apply_move(:'g', 7, '8', '{"n":8}');
SELECT version, kind, event, patch, state FROM gamestate.get_changes(:'g');
SELECT gamestate.apply_move(:'g', 8, '9', '{"n":9}'), gamestate.apply_move(:'g', 9, '10', NULL), gamestate.apply_move(:'g', 10, '11', '{"n":11}'),
       gamestate.apply_move(:'g', 11, '12', '{"n":12}');
SELECT version, kind, event, patch, state FROM gamestate.get_changes(:'g');
SELECT gamestate.state_at(:'g', 8);
\echo :SQLSTATE
ROLLBACK;
BEGIN;
SELECT gamestate.apply_move(:'g', 7, '8', '{"n":8}'), gamestate.apply_move(:'g', 8, '9', '{"n":9}'), gamestate.apply_move(:'g', 9, '10', NULL),
       gamestate.apply_move(:'g', 10, '11', '{"n":11}'), gamestate.apply_move(:'g', 11, '12', '{"n":12}');
COMMIT;
SELECT version, kind, event, patch, state FROM gamestate.get_changes(:'g');
SELECT v, gamestate.state_at(:'g', v) FROM generate_series(9, 12) v;
-- no limit to how many changes a game has
SET gamestate.max_log = 5;
SELECT gamestate.create_game('last 1', '0', game_id => :'p');
SELECT max(gamestate.apply_move(:'p', i, to_json(i), to_json(i), request_id => ('0000001f-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid)) FROM generate_series(1, 300) i;
RESET gamestate.max_log;
SELECT version, kind, event, patch, state FROM gamestate.get_changes(:'p', 5);
-- of what has come in between, memory has kept the requests
SELECT gamestate.apply_move(:'p', 290, '290', '290', request_id => '0000001f-0000-4000-8000-000000000290');
-- put away and brought back: as it was
SELECT gamestate.suspend_game(:'g'), gamestate.suspend_game(:'p');
SELECT version, kind, patch, state FROM gamestate.get_changes(:'g');
SELECT gamestate.state_at(:'g', 10), gamestate.state_at(:'p', 301);
SELECT gamestate.state_at(:'g', 9);
\echo :SQLSTATE
SELECT gamestate.resume_game(:'g'), gamestate.resume_game(:'p');
SELECT version, kind, patch, state FROM gamestate.get_changes(:'g');
SELECT gamestate.apply_move(:'g', 14, '15', '{"n":15}'), gamestate.state_at(:'g', 12), gamestate.apply_move(:'p', 303, '1', '1');
SELECT version, kind, patch, state FROM gamestate.get_changes(:'p');
SELECT gamestate.apply_move(:'g', 1, '2', '{"n":2}', request_id => :'r2'), gamestate.create_game('last 3', '{"n":1}', '{ann}', game_id => :'g', request_id => :'r1'),
       gamestate.apply_move(:'p', 290, '290', '290', request_id => '0000001f-0000-4000-8000-000000000290');
-- archived
SELECT gamestate.finish_game(:'g'), gamestate.finish_game(:'p');
CREATE PROCEDURE wait_for_archive() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 600 LOOP
        EXIT WHEN (SELECT count(*) FROM gamestate.archive WHERE game_type IN ('last 1', 'last 3')) = 2;
        PERFORM pg_sleep(0.1);
        COMMIT;
    END LOOP;
END $$;
CALL wait_for_archive();
SELECT version, kind, event, patch, state FROM gamestate.get_changes(:'g');
SELECT version, kind, event, patch, state FROM gamestate.get_changes(:'g', 14);
SELECT version, kind, event, patch, state FROM gamestate.get_changes(:'p', 0);
SELECT count(*) FROM gamestate.get_changes(:'p', 305);
SELECT v, gamestate.state_at(:'g', v) FROM generate_series(13, 17) v;
SELECT gamestate.state_at(:'g', 12);
\echo :SQLSTATE
SELECT initial_state, final_state, moves, version FROM gamestate.archived_games WHERE game_type IN ('last 1', 'last 3') ORDER BY game_type;
SELECT version, ord, kind, event FROM gamestate.archived_log('last 3', (SELECT ended_at FROM gamestate.archive WHERE game_id = :'g'), :'g');
SELECT gamestate.apply_move(:'g', 1, '2', '{"n":2}', request_id => :'r2'), gamestate.create_game('last 3', '{"n":1}', '{ann}', game_id => :'g', request_id => :'r1'),
       gamestate.apply_move(:'p', 290, '290', '290', request_id => '0000001f-0000-4000-8000-000000000290');
SELECT count(*) FROM gamestate.verify_archive();
-- patches: what they say, and what none can say
SELECT gamestate.create_game('last full', '{"a":1,"b":{"c":[1,2],"d":null},"e":"x"}', game_id => :'e');
CREATE FUNCTION pg_temp.move(s text) RETURNS TABLE (kind text, patch text, state text) LANGUAGE sql AS $$
    SELECT kind, patch::text, state::text
      FROM gamestate.get_changes('0000001f-0000-4000-8000-000000000003',
               gamestate.apply_move('0000001f-0000-4000-8000-000000000003', NULL, '0', s::json) - 1) $$;
SELECT * FROM pg_temp.move('{"a":2,"b":{"c":[1,2],"d":null},"e":"x"}');
SELECT * FROM pg_temp.move('{"b":{"c":[1,2,3],"d":null},"e":"x"}');
SELECT * FROM pg_temp.move('{"e":"x", "b":{"d":null,"c":[1,2,3]}}');
SELECT * FROM pg_temp.move('{"e":null}');
SELECT * FROM pg_temp.move('{"e":{"f":{"g":[null]}}}');
SELECT * FROM pg_temp.move('{"e":{"f":{"g":[null],"h":{}}},"\u0065":7}');
SELECT * FROM pg_temp.move('["a"]');
SELECT * FROM pg_temp.move('{"x":{"y":1}}');
SELECT * FROM pg_temp.move('{"x":{"y":null}}');
SELECT * FROM pg_temp.move('null');
SELECT * FROM pg_temp.move('null');
SELECT version, kind, patch, state FROM gamestate.get_changes(:'e', 0, 3);
-- a game in bytes has none
SELECT gamestate.create_game_bytes('last 3', '\x01', game_id => :'b'), gamestate.apply_move_bytes(:'b', 1, '\x', '\x02'), gamestate.apply_move_bytes(:'b', 2, '\x', '\x03');
SELECT version, kind, patch, state, state_bytes FROM gamestate.get_changes(:'b');
SELECT max(gamestate.apply_move_bytes(:'b', i, '\x', set_byte('\x00', 0, i))) FROM generate_series(3, 20) i;
SELECT version, kind, patch, state, state_bytes FROM gamestate.get_changes(:'b', 3);
SELECT gamestate.delete_game(:'e'), gamestate.delete_game(:'b');
-- who follows a game by patches has its state
DO $$
DECLARE
    g uuid := gamestate.create_game('last full', '{}');
    f uuid;
    c gamestate.change;
    s jsonb := '{}';
    version bigint := 0;
    wrong int := 0;
    rows int := 0;
BEGIN
    FOR i IN 1 .. 120 LOOP
        s := CASE i % 6 WHEN 0 THEN s - ('k' || i % 7) WHEN 1 THEN jsonb_set(s, ARRAY['k' || i % 7], to_jsonb(md5(i::text)))
            WHEN 2 THEN jsonb_set(s, '{deep}', coalesce(s->'deep', '{}') || jsonb_build_object('m' || i % 5, i))
            WHEN 3 THEN jsonb_set(s, '{deep}', coalesce(s->'deep', '{}') - ('m' || i % 5))
            WHEN 4 THEN jsonb_set(s, '{list}', coalesce(s->'list', '[]') || to_jsonb(i)) ELSE jsonb_build_object('all', s->'deep', 'old', i % 11) || s END;
        PERFORM gamestate.apply_move(g, i, to_json(i), s::json);
        CONTINUE WHEN i % 9 <> 0;
        FOR c IN SELECT * FROM gamestate.get_changes(g, version) LOOP
            rows := rows + 1;
            IF c.kind = 'create' THEN
                f := gamestate.create_game('last events', c.state);
            ELSIF c.patch IS NOT NULL THEN
                PERFORM gamestate.apply_patch(f, NULL, 'null', c.patch);
            ELSIF c.state IS NOT NULL THEN
                PERFORM gamestate.apply_move(f, NULL, 'null', c.state);
            END IF;
            version := c.version;
            wrong := wrong + (gamestate.get_state(f)::jsonb IS DISTINCT FROM gamestate.state_at(g, version)::jsonb)::int;
        END LOOP;
    END LOOP;
    RAISE NOTICE '% rows, % are wrong', rows, wrong;
    PERFORM gamestate.delete_game(f), gamestate.delete_game(g);
END $$;
DROP PROCEDURE wait_for_archive();
DELETE FROM gamestate.policy WHERE game_type LIKE 'last %';
