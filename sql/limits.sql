-- Limits on sizes and counts: the last that fits, the first that does not.
\pset format unaligned
\pset tuples_only on
\set VERBOSITY sqlstate
\set g 50000000-0000-4000-8000-000000000001
-- a JSON string of so many bytes
CREATE FUNCTION pg_temp.doc(bytes integer) RETURNS json LANGUAGE sql AS
$$SELECT ('"' || repeat('x', bytes - 2) || '"')::json$$;
CREATE FUNCTION pg_temp.wide(bytes integer) RETURNS json LANGUAGE sql AS
$$SELECT ('"' || repeat('ß', (bytes - 2) / 2) || '"')::json$$;
SELECT gamestate.create_game('limits', pg_temp.doc(1048576), game_id => :'g', metadata => pg_temp.doc(65536));
SELECT gamestate.create_game('limits', pg_temp.doc(1048577));
SELECT gamestate.create_game('limits', metadata => pg_temp.doc(65537));
SELECT gamestate.apply_move(:'g', 1, pg_temp.doc(65536), pg_temp.doc(1048576));
SELECT gamestate.apply_move(:'g', 2, pg_temp.doc(65537), NULL);
SELECT gamestate.apply_move(:'g', 2, '1', pg_temp.doc(1048577));
SELECT gamestate.set_metadata(:'g', pg_temp.doc(65536));
SELECT gamestate.set_metadata(:'g', pg_temp.doc(65537));
-- bytes count, not characters
SELECT gamestate.apply_move(:'g', 3, pg_temp.wide(65536), pg_temp.wide(1048576));
SELECT gamestate.apply_move(:'g', 4, pg_temp.wide(65538), NULL);
SELECT gamestate.apply_move(:'g', 4, '1', pg_temp.wide(1048578));
-- far too large
SELECT gamestate.create_game('limits', pg_temp.doc(5000000));
-- other limits
SET gamestate.max_state_size = '2kB';
SET gamestate.max_event_size = '1kB';
SET gamestate.max_metadata_size = '3kB';
SELECT gamestate.apply_move(:'g', 4, '1', pg_temp.doc(2049));
SELECT gamestate.apply_move(:'g', 4, pg_temp.doc(1025), NULL);
SELECT gamestate.set_metadata(:'g', pg_temp.doc(3073));
SELECT gamestate.apply_move(:'g', 4, pg_temp.doc(1024), pg_temp.doc(2048));
SELECT gamestate.set_metadata(:'g', pg_temp.doc(3072));
-- a state that was there before the limit stays
RESET gamestate.max_state_size;
SELECT gamestate.apply_move(:'g', 6, '1', pg_temp.doc(5000));
SET gamestate.max_state_size = '1kB';
SELECT gamestate.apply_move(:'g', 7, '1', NULL);
SELECT length(gamestate.get_state(:'g')::text);
RESET gamestate.max_state_size;
RESET gamestate.max_event_size;
RESET gamestate.max_metadata_size;
SELECT gamestate.delete_game(:'g');
-- players of a game
SET gamestate.max_players = 3;
SELECT gamestate.create_game('limits', '{}', '{a,b,c,d}');
SELECT gamestate.create_game('limits', '{}', '{a,b}', game_id => :'g');
SELECT gamestate.join_game(:'g', 'c');
SELECT gamestate.join_game(:'g', 'd');
SELECT gamestate.join_game(:'g', 'c');
SELECT gamestate.leave_game(:'g', 'a');
SELECT gamestate.join_game(:'g', 'd');
SELECT players FROM gamestate.get_game(:'g');
RESET gamestate.max_players;
SELECT gamestate.delete_game(:'g');
-- max_players of a game
SELECT gamestate.create_game('limits', '{}', '{a}', game_id => :'g', max_players => 2);
SELECT gamestate.join_game(:'g', 'b');
SELECT gamestate.join_game(:'g', 'c');
SELECT gamestate.join_game(:'g', 'a');
SELECT gamestate.leave_game(:'g', 'b');
SELECT gamestate.join_game(:'g', 'c');
SELECT players, max_players, version FROM gamestate.get_game(:'g');
SELECT gamestate.delete_game(:'g');
-- ids
SET gamestate.max_id_length = 3;
SELECT gamestate.create_game('four', game_id => :'g');
SELECT gamestate.create_game('thr', '{}', '{four}', game_id => :'g');
SELECT gamestate.create_game('thr', '{}', '{thr}', 'four', game_id => :'g');
SELECT gamestate.create_game('thr', '{}', '{thr}', 'thr', game_id => :'g');
SELECT gamestate.join_game(:'g', 'four');
SELECT gamestate.set_room_code(:'g', 'four');
RESET gamestate.max_id_length;
SELECT gamestate.delete_game(:'g');
-- the log: its last entry is reached, the end is possible even so
SET gamestate.max_log = 10;
SELECT gamestate.create_game('limits', '{"n": 0}', '{ann}', game_id => :'g');
DO $$
BEGIN
    FOR i IN 1 .. 100 LOOP
        BEGIN
            PERFORM gamestate.apply_move('50000000-0000-4000-8000-000000000001', NULL, '1', '{"n": 1}');
        EXCEPTION WHEN SQLSTATE 'GS007' THEN
            EXIT;
        END;
        COMMIT;
    END LOOP;
END $$;
SELECT gamestate.get_version(:'g'), (SELECT count(*) FROM gamestate.get_changes(:'g'));
SELECT gamestate.set_metadata(:'g', '1');
SELECT gamestate.set_room_code(:'g', 'LIMITS');
SELECT gamestate.join_game(:'g', 'bob');
SELECT gamestate.leave_game(:'g', 'ann');
SELECT gamestate.join_game(:'g', 'ann');
SELECT gamestate.get_version(:'g');
SELECT gamestate.finish_game(:'g', '{"winner": "ann"}');
SELECT kind, event FROM gamestate.get_changes(:'g', 10);
-- a log may be long
RESET gamestate.max_log;
\set h 50000000-0000-4000-8000-000000000002
SELECT gamestate.create_game('limits', game_id => :'h');
SELECT max(gamestate.apply_move(:'h', i, to_json(i), NULL)) FROM generate_series(1, 20000) i;
SELECT count(*), count(DISTINCT version), min(version), max(version),
       count(*) FILTER (WHERE event::text = (version - 1)::text)
  FROM gamestate.get_changes(:'h', 1);
SELECT version, event FROM gamestate.get_changes(:'h', 19998);
SELECT version, event FROM gamestate.get_changes(:'h', 9998, 2);
-- move by move, too
DO $$
BEGIN
    FOR i IN 20001 .. 21000 LOOP
        PERFORM gamestate.apply_move('50000000-0000-4000-8000-000000000002', i, to_json(i), NULL);
        COMMIT;
    END LOOP;
END $$;
SELECT count(*), count(*) FILTER (WHERE event::text = (version - 1)::text)
  FROM gamestate.get_changes(:'h', 1);
SELECT moves FROM gamestate.get_game(:'h');
SELECT gamestate.delete_game(:'h');
-- a policy asks for less: of its type, at once, also of games that exist
\set VERBOSITY default
\set p 50000000-0000-4000-8000-000000000002
SELECT gamestate.create_game('limits p', pg_temp.doc(300), game_id => :'p');
INSERT INTO gamestate.policy (game_type, max_state_size, max_event_size, max_log) VALUES ('limits p', 200, 100, 4);
SELECT max_state_size, max_event_size, max_log FROM gamestate.effective_policies WHERE game_type = 'limits p';
SELECT gamestate.create_game('limits p', pg_temp.doc(201));
SELECT gamestate.join_any('limits p', 'ann', pg_temp.doc(201));
SELECT gamestate.create_game('limits', pg_temp.doc(201)) IS NOT NULL;
SELECT gamestate.apply_move(:'p', 1, pg_temp.doc(101), NULL);
SELECT gamestate.apply_move(:'p', 1, '1', pg_temp.doc(201));
SELECT gamestate.apply_move(:'p', 1, pg_temp.doc(100), pg_temp.doc(200));
SELECT gamestate.apply_move(:'p', 2, '1', NULL);
SELECT gamestate.apply_patch(:'p', 3, '1', json_build_object('a', repeat('x', 195)));
SELECT version, sqlstate, message FROM gamestate.apply_moves(ARRAY[:'p', :'p', :'p']::uuid[], '{3,3,4}', ARRAY[pg_temp.doc(101), '1', '2'], ARRAY[NULL, '"s"', NULL]::json[]);
SELECT gamestate.set_metadata(:'p', '1');
SELECT gamestate.join_game(:'p', 'ann');
UPDATE gamestate.policy SET max_log = 5 WHERE game_type = 'limits p';
SELECT gamestate.set_metadata(:'p', '1');
SELECT gamestate.finish_game(:'p');
\set VERBOSITY sqlstate
INSERT INTO gamestate.policy (game_type, max_log) VALUES ('limits q', 0);
DELETE FROM gamestate.policy WHERE game_type = 'limits p';
