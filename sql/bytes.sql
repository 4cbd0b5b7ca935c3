-- Games whose state and events are bytes.
\pset format unaligned
\pset tuples_only on
\pset null (null)
\set VERBOSITY sqlstate
\set b 40000000-0000-4000-8000-000000000001
\set e 40000000-0000-4000-8000-000000000002
\set j 40000000-0000-4000-8000-000000000003
SELECT gamestate.create_game_bytes('bytes', '\x00ff0a', '{ann}', 'BYTES', '{"m": 1}', :'b');
SELECT gamestate.create_game_bytes('bytes', game_id => :'e');
SELECT gamestate.create_game('bytes', '"\\x00"', game_id => :'j');
SELECT gamestate.get_state_bytes(:'b'), gamestate.get_state_bytes(:'e'), length(gamestate.get_state_bytes(:'e'));
SELECT gamestate.apply_move_bytes(:'b', 1, '\x000102', '\x00000000', 'ann');
SELECT gamestate.apply_move_bytes(:'b', 2, '\x', '\x');
SELECT gamestate.apply_move_bytes(:'b', 3, '\x03', NULL);
SELECT gamestate.get_state_bytes(:'b') = '', gamestate.get_version(:'b');
SELECT gamestate.apply_move_bytes(:'b', 4, '\x04', sha512('x'));
SELECT gamestate.get_state_bytes(:'b') = sha512('x');
-- what is JSON in every game stays JSON
SELECT gamestate.set_metadata(:'b', '{"m": 2}'), gamestate.set_room_code(:'b', 'BYTES-2'), gamestate.join_game(:'b', 'bob');
SELECT encoding, state, state_bytes = sha512('x'), metadata, result, players, moves FROM gamestate.get_game(:'b');
SELECT encoding, state, state_bytes FROM gamestate.get_game(:'j');
SELECT version, kind, player, event, event_bytes, state, state_bytes FROM gamestate.get_changes(:'b');
SELECT state, state_jsonb, state_bytes = sha512('x') FROM gamestate.live_games WHERE game_id = :'b';
-- the wrong twin
SELECT gamestate.apply_move(:'b', 8, '1', '1');
SELECT gamestate.apply_move_bytes(:'j', 1, '\x01', '\x01');
SELECT gamestate.get_state(:'b');
SELECT gamestate.get_state_bytes(:'j');
SELECT gamestate.get_version(:'b'), gamestate.get_version(:'j');
-- every byte there is
SELECT gamestate.apply_move_bytes(:'b', 8, string_agg(set_byte('\x00', 0, i), '' ORDER BY i), string_agg(set_byte('\x00', 0, 255 - i), '' ORDER BY i))
  FROM generate_series(0, 255) i;
SELECT sha256(gamestate.get_state_bytes(:'b')) = (SELECT sha256(string_agg(set_byte('\x00', 0, 255 - i), '' ORDER BY i)) FROM generate_series(0, 255) i),
       (SELECT event_bytes FROM gamestate.get_changes(:'b', 8)) = (SELECT string_agg(set_byte('\x00', 0, i), '' ORDER BY i) FROM generate_series(0, 255) i);
-- what changed the state does not show in get_changes(): there are no patches of bytes
SELECT version, kind, event, length(event_bytes), patch, state, state_bytes FROM gamestate.get_changes(:'e');
SELECT count(*), count(patch), count(state), count(state_bytes) FROM gamestate.get_changes(:'b', 1);
SELECT gamestate.state_at_bytes(:'b', 1) = (SELECT state_bytes FROM gamestate.get_changes(:'b', 0, 1)) AS first,
       gamestate.get_state_if_newer_bytes(:'b', 1) = gamestate.get_state_bytes(:'b') AS last;
-- limits are the same
SELECT gamestate.create_game_bytes('bytes', convert_to(repeat('x', 1024 * 1024 + 1), 'UTF8'));
SELECT gamestate.apply_move_bytes(:'b', 9, convert_to(repeat('x', 64 * 1024 + 1), 'UTF8'), NULL);
SELECT gamestate.apply_move_bytes(:'b', 9, convert_to(repeat('x', 64 * 1024), 'UTF8'), convert_to(repeat('y', 1024 * 1024), 'UTF8'));
SELECT gamestate.get_state_bytes(:'b') = convert_to(repeat('y', 1024 * 1024), 'UTF8');
-- the end, and out of the archive
SELECT gamestate.finish_game(:'b', '{"winner": "ann"}');
SELECT gamestate.finish_game(:'e');
DO $$
BEGIN
    FOR i IN 1 .. 1000 LOOP
        EXIT WHEN (gamestate.get_game('40000000-0000-4000-8000-000000000001')).tier = 'archived'
              AND (gamestate.get_game('40000000-0000-4000-8000-000000000002')).tier = 'archived';
        PERFORM pg_sleep(0.02);
        COMMIT;
    END LOOP;
END $$;
SELECT tier, encoding, state, state_bytes = convert_to(repeat('y', 1024 * 1024), 'UTF8'), metadata, result, version, moves
  FROM gamestate.get_game(:'b');
SELECT gamestate.get_state_bytes(:'b') = convert_to(repeat('y', 1024 * 1024), 'UTF8');
SELECT gamestate.get_state(:'b');
SELECT version, kind, event, length(event_bytes), left(event_bytes::text, 20) FROM gamestate.get_changes(:'b');
SELECT tier, state_bytes, result FROM gamestate.get_game(:'e');
SELECT gamestate.delete_game(:'j');
