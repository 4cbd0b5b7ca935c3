-- A whole life of a game: a room, players, moves, the end, the archive.
\pset null (null)
\set VERBOSITY sqlstate
\set g 10000000-0000-4000-8000-000000000001
CREATE PROCEDURE pg_temp.wait_archived(id uuid) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 1000 LOOP
        EXIT WHEN (gamestate.get_game(id)).tier = 'archived';
        PERFORM pg_sleep(0.02);
        COMMIT;
    END LOOP;
END $$;
SELECT clock_timestamp() AS t0 \gset
-- a room with two seats taken
SELECT gamestate.create_game('life', '{"deck": 52}', '{ann,bob}', 'LIFE-1',
                             metadata => '{"table": 4}', game_id => :'g',
                             status => 'waiting', max_players => 4);
\x on
SELECT game_id, game_type, status, tier, version, encoding, state, state_bytes,
       players, max_players, room_code, metadata, result, moves, deadline,
       started_at, ended_at
  FROM gamestate.get_game(:'g');
\x off
SELECT created_at BETWEEN :'t0' AND clock_timestamp() AS created_now,
       updated_at = created_at AS not_updated
  FROM gamestate.get_game(:'g');
SELECT gamestate.find_room('LIFE-1') = :'g' AS found;
SELECT p, gamestate.player_games(p) FROM unnest('{ann,bob,cyd}'::text[]) p;
-- cyd and dee join, dee twice; there is no fifth seat; dee leaves
SELECT gamestate.join_game(:'g', 'cyd');
SELECT gamestate.join_game(:'g', 'dee');
SELECT gamestate.join_game(:'g', 'dee');
SELECT gamestate.join_game(:'g', 'eve');
SELECT gamestate.leave_game(:'g', 'dee');
SELECT gamestate.leave_game(:'g', 'dee');
SELECT p, gamestate.player_games(p) FROM unnest('{ann,cyd,dee}'::text[]) p;
SELECT version, players FROM gamestate.get_game(:'g');
-- no move before the start, no start after it
SELECT gamestate.apply_move(:'g', 4, '{"play": "7H"}', '{"deck": 51}', 'ann');
SELECT gamestate.start_game(:'g', 4);
SELECT gamestate.start_game(:'g');
SELECT status, version, started_at >= created_at AS started, updated_at = started_at AS updated,
       ended_at
  FROM gamestate.get_game(:'g');
-- moves
SELECT gamestate.apply_move(:'g', 5, '{"play": "7H"}', '{"deck": 51}', 'ann');
SELECT gamestate.apply_move(:'g', 5, '{"play": "8H"}', '{"deck": 50}', 'bob');
SELECT gamestate.apply_move(:'g', 6, '{"play": "8H"}', '{"deck": 50}', 'bob');
SELECT gamestate.apply_move(:'g', NULL, '{"say": "hello"}', NULL);
SELECT gamestate.apply_move(:'g', 8, '{"play": "9H"}', '{"deck": 49}', 'dee');
SELECT gamestate.get_state(:'g'), gamestate.get_version(:'g');
-- other changes
SELECT gamestate.set_metadata(:'g', '{"table": 5}', 8);
SELECT gamestate.set_room_code(:'g', 'LIFE-2', 9);
SELECT gamestate.find_room('LIFE-1'), gamestate.find_room('LIFE-2') = :'g' AS found;
SELECT gamestate.set_room_code(:'g', NULL);
SELECT gamestate.find_room('LIFE-2');
SELECT gamestate.set_room_code(:'g', 'LIFE-3');
-- the end
SELECT gamestate.finish_game(:'g', '{"winner": "ann"}', 11);
SELECT gamestate.finish_game(:'g', '{"winner": "ann"}', 12);
CALL pg_temp.wait_archived(:'g');
\x on
SELECT game_id, game_type, status, tier, version, encoding, state, state_bytes,
       players, max_players, room_code, metadata, result, moves, deadline,
       created_at < started_at AS started, started_at < ended_at AS ended,
       updated_at = ended_at AS updated
  FROM gamestate.get_game(:'g');
\x off
SELECT gamestate.get_state(:'g'), gamestate.get_version(:'g');
SELECT gamestate.find_room('LIFE-3'), (SELECT count(*) FROM gamestate.player_games('ann'));
SELECT gamestate.apply_move(:'g', 13, '{"play": "9H"}', NULL, 'ann');
-- its whole log
SELECT version, kind, player, event, request_id, state, at BETWEEN :'t0' AND clock_timestamp() AS at_ok
  FROM gamestate.get_changes(:'g');
-- its row in the archive
SELECT game_type, status, encoding, players, max_players, room_code, metadata, result, version, moves
  FROM gamestate.archive WHERE game_id = :'g';
SELECT a.created_at = g.created_at AND a.started_at = g.started_at AND a.ended_at = g.ended_at AS same_times
  FROM gamestate.archive a, gamestate.get_game(:'g') g WHERE a.game_id = :'g';
SELECT count(*) FROM gamestate.archive_payload WHERE game_id = :'g';
SELECT initial_state FROM gamestate.archived_games WHERE game_id = :'g';
-- states at the beginning and at the end, whatever was in one transaction:
-- nothing, the first move, several moves, all of it
CREATE TEMP TABLE begun (how text, id uuid);
INSERT INTO begun SELECT 'no move', gamestate.create_game('life', '"first"');
INSERT INTO begun SELECT 'moves one by one', gamestate.create_game('life', '"first"');
BEGIN;
INSERT INTO begun SELECT 'first move', gamestate.create_game('life', '"first"');
SELECT gamestate.apply_move(id, 1, '1', '"second"') FROM begun WHERE how = 'first move';
COMMIT;
BEGIN;
INSERT INTO begun SELECT 'savepoints', gamestate.create_game('life', '"first"');
SAVEPOINT s;
SELECT gamestate.apply_move(id, 1, '1', '"second"') FROM begun WHERE how = 'savepoints';
SAVEPOINT t;
SELECT gamestate.apply_move(id, 2, '2', '"third"') FROM begun WHERE how = 'savepoints';
ROLLBACK TO t;
SELECT gamestate.get_state(id) FROM begun WHERE how = 'savepoints';
ROLLBACK TO s;
SELECT gamestate.get_state(id) FROM begun WHERE how = 'savepoints';
SELECT gamestate.apply_move(id, 1, '1', '"second"') FROM begun WHERE how = 'savepoints';
RELEASE s;
SELECT gamestate.apply_move(id, 2, '2', '"third"') FROM begun WHERE how = 'savepoints';
COMMIT;
BEGIN;
INSERT INTO begun SELECT 'all at once', gamestate.create_game('life', '"first"');
SELECT gamestate.apply_move(id, i, '1', '"state"') FROM begun, generate_series(1, 3) i WHERE how = 'all at once';
SELECT gamestate.finish_game(id) FROM begun WHERE how = 'all at once';
COMMIT;
SELECT gamestate.apply_move(id, 1, '1', '"second"') FROM begun WHERE how = 'moves one by one';
SELECT gamestate.apply_move(id, 2, '2', '"third"') FROM begun WHERE how = 'moves one by one';
SELECT gamestate.apply_move(id, 3, '3', to_json(repeat('x', 5000))) FROM begun WHERE how = 'moves one by one';
SELECT gamestate.apply_move(id, 4, '4', '"last"') FROM begun WHERE how = 'moves one by one';
SELECT gamestate.finish_game(id) FROM begun WHERE how <> 'all at once';
DO $$
BEGIN
    FOR i IN 1 .. 1000 LOOP
        EXIT WHEN (SELECT bool_and((gamestate.get_game(id)).tier = 'archived') FROM begun);
        PERFORM pg_sleep(0.02);
        COMMIT;
    END LOOP;
END $$;
SELECT how, initial_state, (gamestate.get_game(id)).state, (gamestate.get_game(id)).version, (gamestate.get_game(id)).moves
  FROM begun JOIN gamestate.archived_games ON game_id = id ORDER BY how;
-- an abandoned game keeps what it had, too
\set h 10000000-0000-4000-8000-000000000002
SELECT gamestate.create_game('life', '[1]', game_id => :'h');
SELECT gamestate.finish_game(:'h', status => 'abandoned');
CALL pg_temp.wait_archived(:'h');
SELECT status, tier, version, state, players, max_players, room_code, metadata, result, moves,
       started_at IS NOT DISTINCT FROM created_at AS started_at_once
  FROM gamestate.get_game(:'h');
SELECT version, kind, event FROM gamestate.get_changes(:'h');
-- a room that nobody ever started
\set i 10000000-0000-4000-8000-000000000003
SELECT gamestate.create_game('life', game_id => :'i', status => 'waiting');
SELECT gamestate.finish_game(:'i', 'null');
CALL pg_temp.wait_archived(:'i');
SELECT status, tier, version, state, result, moves, started_at FROM gamestate.get_game(:'i');
-- a deleted game leaves nothing behind, and its id may be used again
\set j 10000000-0000-4000-8000-000000000004
SELECT gamestate.create_game('life', '{"n": 1}', '{zoe}', 'LIFE-4', game_id => :'j');
SELECT gamestate.apply_move(:'j', 1, '1', NULL);
SELECT gamestate.delete_game(:'j', 1);
SELECT gamestate.delete_game(:'j', 2);
SELECT gamestate.delete_game(:'j', 2);
SELECT gamestate.get_state(:'j'), gamestate.get_version(:'j'), gamestate.get_game(:'j') IS NULL AS no_game,
       (SELECT count(*) FROM gamestate.get_changes(:'j')) AS changes,
       gamestate.find_room('LIFE-4'), (SELECT count(*) FROM gamestate.player_games('zoe')) AS games;
SELECT gamestate.create_game('life', '{"n": 2}', '{zoe}', 'LIFE-4', game_id => :'j');
SELECT version, kind FROM gamestate.get_changes(:'j');
SELECT gamestate.get_state(:'j'), (SELECT count(*) FROM gamestate.archive WHERE game_id = :'j') AS archived;
SELECT gamestate.delete_game(:'j');
