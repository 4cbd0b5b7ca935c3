-- Moves obey BEGIN, COMMIT, ROLLBACK and SAVEPOINT.
\pset format unaligned
\pset tuples_only on
\pset null (null)
\set VERBOSITY sqlstate
\set a 70000000-0000-4000-8000-00000000000a
\set b 70000000-0000-4000-8000-00000000000b
\set c 70000000-0000-4000-8000-00000000000c
-- one game with everything that can be looked at
CREATE FUNCTION pg_temp.show(id uuid) RETURNS text LANGUAGE sql AS $$
SELECT CASE WHEN g IS NULL THEN 'no game' ELSE
       format('v%s %s %s state=%s meta=%s players=%s room=%s result=%s log=%s',
              g.version, g.status, g.moves, g.state, g.metadata, g.players, g.room_code, g.result,
              (SELECT string_agg(version || kind || coalesce(event::text, ''), ' ' ORDER BY version)
                 FROM gamestate.get_changes(id))) END
  FROM gamestate.get_game(id) g
$$;
SELECT gamestate.create_game('tx', '"s1"', '{ann}', 'TX-A', game_id => :'a');
SELECT gamestate.create_game('tx', '"s1"', '{ann,bob}', 'TX-B', game_id => :'b');
-- commit, rollback
BEGIN;
SELECT gamestate.apply_move(:'a', 1, '1', '"s2"');
SELECT pg_temp.show(:'a');
COMMIT;
SELECT pg_temp.show(:'a');
BEGIN;
SELECT gamestate.apply_move(:'a', 2, '2', '"s3"'), gamestate.apply_move(:'a', 3, '3', '"s4"');
SELECT gamestate.set_metadata(:'a', '"m"'), gamestate.join_game(:'a', 'cyd'), gamestate.leave_game(:'a', 'ann'),
       gamestate.set_room_code(:'a', 'TX-A2'), gamestate.finish_game(:'a', '"r"');
SELECT pg_temp.show(:'a');
SELECT gamestate.find_room('TX-A'), gamestate.find_room('TX-A2'), (SELECT count(*) FROM gamestate.player_games('cyd'));
ROLLBACK;
SELECT pg_temp.show(:'a');
SELECT gamestate.find_room('TX-A') = :'a', gamestate.find_room('TX-A2'), (SELECT count(*) FROM gamestate.player_games('cyd'));
-- an error inside a transaction
BEGIN;
SELECT gamestate.apply_move(:'a', 2, '2', '"s3"');
SELECT 1 / 0;
SELECT gamestate.get_version(:'a');
COMMIT;
SELECT pg_temp.show(:'a');
-- an error of ours leaves a transaction's other work alone
BEGIN;
SELECT gamestate.apply_move(:'a', 2, '2', '"s3"');
SAVEPOINT s;
SELECT gamestate.apply_move(:'a', 2, '2', '"s4"');
ROLLBACK TO s;
SELECT gamestate.apply_move(:'a', 3, '3', NULL, 'nobody');
ROLLBACK TO s;
SELECT gamestate.apply_move(:'b', 1, '1', '"s2"');
COMMIT;
SELECT pg_temp.show(:'a');
SELECT pg_temp.show(:'b');
-- an error in the middle of a statement undoes the whole statement
SELECT gamestate.apply_move(:'b', i, '1', '"stmt"') FROM unnest('{2,3,4,9}'::int[]) i;
SELECT pg_temp.show(:'b');
SELECT gamestate.apply_move(:'b', i, to_json(i), NULL) FROM generate_series(2, 4) i;
SELECT pg_temp.show(:'b');
-- several statements in one message are one transaction
SELECT gamestate.apply_move(:'b', 5, '5', NULL) \; SELECT gamestate.apply_move(:'b', 5, '6', NULL);
SELECT gamestate.get_version(:'b');
SELECT gamestate.apply_move(:'b', 5, '5', NULL) \; SELECT gamestate.apply_move(:'b', 6, '6', NULL);
SELECT gamestate.get_version(:'b');
-- an error at commit
CREATE TEMP TABLE wallet (player text PRIMARY KEY, coins int, UNIQUE (coins) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO wallet VALUES ('ann', 1), ('bob', 2);
BEGIN;
SELECT gamestate.apply_move(:'b', 7, '7', '"paid"');
SELECT gamestate.create_game('tx', game_id => :'c');
SELECT gamestate.set_room_code(:'a', NULL);
UPDATE wallet SET coins = 5;
COMMIT;
SELECT gamestate.get_version(:'b'), gamestate.get_version(:'c'), gamestate.find_room('TX-A') = :'a';
TABLE wallet;
-- together with ordinary tables
BEGIN;
UPDATE wallet SET coins = coins + 10;
SELECT gamestate.apply_move(:'b', 7, '7', '"paid"');
COMMIT;
SELECT gamestate.get_version(:'b'), (SELECT sum(coins) FROM wallet);
-- savepoints, three deep, with mixed outcomes
BEGIN;
SELECT gamestate.apply_move(:'a', 3, '"1"', '"1"');
SAVEPOINT one;
    SELECT gamestate.apply_move(:'a', 4, '"2"', '"2"');
    SAVEPOINT two;
        SELECT gamestate.apply_move(:'a', 5, '"3"', '"3"');
        SAVEPOINT three;
            SELECT gamestate.apply_move(:'a', 6, '"4"', '"4"');
            SELECT gamestate.set_room_code(:'a', 'TX-DEEP');
            SELECT gamestate.join_game(:'a', 'deep');
        ROLLBACK TO three;
        SELECT gamestate.find_room('TX-DEEP'), gamestate.find_room('TX-A') = :'a', (SELECT count(*) FROM gamestate.player_games('deep'));
        SELECT pg_temp.show(:'a');
            SELECT gamestate.apply_move(:'a', 6, '"4b"', '"4b"');
        RELEASE three;
        SELECT gamestate.set_metadata(:'a', '"m3"');
    ROLLBACK TO two;
    SELECT pg_temp.show(:'a');
        SELECT gamestate.join_game(:'a', 'two');
    RELEASE two;
    SELECT gamestate.apply_move(:'a', 6, '"5"', NULL, 'two');
RELEASE one;
SELECT pg_temp.show(:'a');
COMMIT;
SELECT pg_temp.show(:'a');
-- released into one that is rolled back
BEGIN;
SAVEPOINT one;
SELECT gamestate.apply_move(:'a', 7, '"x"', '"x"');
SAVEPOINT two;
SELECT gamestate.apply_move(:'a', 8, '"y"', '"y"');
SELECT gamestate.apply_move(:'b', 8, '"y"', '"y"');
RELEASE two;
SELECT gamestate.get_version(:'a'), gamestate.get_version(:'b');
ROLLBACK TO one;
SELECT gamestate.get_version(:'a'), gamestate.get_version(:'b');
SELECT gamestate.apply_move(:'a', 7, '"z"', '"z"');
SELECT gamestate.get_state(:'a');
ROLLBACK TO one;
SELECT gamestate.get_state(:'a');
COMMIT;
SELECT gamestate.get_version(:'a'), gamestate.get_version(:'b');
-- the same game in both: first change above, second below the savepoint
BEGIN;
SELECT gamestate.apply_move(:'b', 8, '8', '"kept"');
SAVEPOINT one;
SELECT gamestate.delete_game(:'b');
SELECT gamestate.get_version(:'b');
SELECT gamestate.create_game('tx', '"new"', game_id => :'b');
SELECT gamestate.apply_move(:'b', 1, '1', NULL);
ROLLBACK TO one;
SELECT gamestate.get_version(:'b'), gamestate.get_state(:'b');
SELECT gamestate.find_room('TX-B') = :'b', (SELECT count(*) FROM gamestate.player_games('bob'));
COMMIT;
SELECT gamestate.get_version(:'b'), gamestate.get_state(:'b');
-- created and deleted
BEGIN;
SELECT gamestate.create_game('tx', game_id => :'c', room_code => 'TX-C', players => '{cyd}');
SELECT gamestate.apply_move(:'c', 1, '1', NULL);
SELECT gamestate.delete_game(:'c');
SELECT gamestate.delete_game(:'c');
SELECT pg_temp.show(:'c'), gamestate.find_room('TX-C'), (SELECT count(*) FROM gamestate.player_games('cyd'));
COMMIT;
SELECT pg_temp.show(:'c'), gamestate.find_room('TX-C'), (SELECT count(*) FROM gamestate.player_games('cyd'));
-- created in a savepoint that is rolled back: the id and the room are free again
BEGIN;
SAVEPOINT s;
SELECT gamestate.create_game('tx', '"1"', game_id => :'c', room_code => 'TX-C');
ROLLBACK TO s;
SELECT gamestate.get_version(:'c'), gamestate.find_room('TX-C');
SELECT gamestate.create_game('tx', '"2"', game_id => :'c', room_code => 'TX-C', players => '{cyd}');
SELECT gamestate.create_game('tx', '"3"', game_id => :'c');
ROLLBACK TO s;
SELECT gamestate.create_game('tx', '"4"', game_id => :'c', room_code => 'TX-C', players => '{cyd}');
COMMIT;
SELECT pg_temp.show(:'c');
SELECT gamestate.find_room('TX-C') = :'c', (SELECT count(*) FROM gamestate.player_games('cyd'));
-- deleted and created anew with the same id, in one transaction: version 1
BEGIN;
SELECT gamestate.delete_game(:'c');
SELECT gamestate.create_game('tx2', '"new"', '{dee}', 'TX-C', game_id => :'c');
SELECT pg_temp.show(:'c');
SELECT gamestate.find_room('TX-C') = :'c', (SELECT count(*) FROM gamestate.player_games('cyd')) AS cyd,
       (SELECT count(*) FROM gamestate.player_games('dee')) AS dee;
ROLLBACK;
SELECT pg_temp.show(:'c');
BEGIN;
SELECT gamestate.apply_move(:'c', 1, '1', '"moved"');
SELECT gamestate.delete_game(:'c');
SELECT gamestate.create_game('tx2', '"new"', '{dee}', 'TX-C', game_id => :'c');
SELECT gamestate.apply_move(:'c', 1, '2', '"moved anew"');
SELECT gamestate.delete_game(:'c');
SELECT gamestate.create_game('tx3', '"newest"', '{dee}', 'TX-C3', game_id => :'c');
COMMIT;
SELECT pg_temp.show(:'c');
SELECT gamestate.find_room('TX-C'), gamestate.find_room('TX-C3') = :'c', (SELECT count(*) FROM gamestate.player_games('cyd')) AS cyd,
       (SELECT count(*) FROM gamestate.player_games('dee')) AS dee,
       (SELECT game_type FROM gamestate.get_game(:'c'));
SELECT gamestate.delete_game(:'c');
-- room codes change hands in one transaction
BEGIN;
SELECT gamestate.set_room_code(:'a', NULL);
SELECT gamestate.set_room_code(:'b', 'TX-A');
SELECT gamestate.set_room_code(:'a', 'TX-B');
SELECT gamestate.find_room('TX-A') = :'b', gamestate.find_room('TX-B') = :'a';
COMMIT;
SELECT gamestate.find_room('TX-A') = :'b', gamestate.find_room('TX-B') = :'a';
SELECT gamestate.set_room_code(:'a', 'TX-A');
-- one's own room code is not taken
SELECT gamestate.set_room_code(:'a', 'TX-B') > 0, gamestate.find_room('TX-B') = :'a';
-- deleting or ending a game frees the code for the same transaction
BEGIN;
SELECT gamestate.finish_game(:'b') > 0;
SELECT gamestate.create_game('tx', room_code => 'TX-A', game_id => :'c');
SELECT gamestate.find_room('TX-A') = :'c';
SELECT gamestate.delete_game(:'c');
SELECT gamestate.find_room('TX-A');
SELECT gamestate.create_game('tx', room_code => 'TX-A') IS NOT NULL;
SELECT gamestate.find_room('TX-A') NOT IN (:'a', :'b', :'c');
ROLLBACK;
SELECT gamestate.find_room('TX-A') = :'b';
-- own changes are seen in everything that lists
BEGIN;
SELECT gamestate.create_game('tx', '"own"', '{ann,own}', 'TX-OWN', game_id => :'c', status => 'waiting');
SELECT gamestate.set_room_code(:'a', NULL) > 0, gamestate.leave_game(:'b', 'bob') > 0;
SELECT game_id = :'c' AS own, status, state, room_code, players FROM gamestate.live_games WHERE game_type = 'tx' ORDER BY game_id;
SELECT game_id = :'c' AS own, status FROM gamestate.list_live_games('tx', 'waiting');
SELECT (SELECT count(*) FROM gamestate.player_games('ann')), (SELECT count(*) FROM gamestate.player_games('own'));
SELECT count(*) FROM gamestate.player_games('bob');
SELECT gamestate.delete_game(:'a');
SELECT game_id = :'c' AS own, status FROM gamestate.list_live_games('tx') ORDER BY game_id;
SELECT count(*) FROM gamestate.player_games('ann');
ROLLBACK;
SELECT status, state, room_code, players FROM gamestate.live_games WHERE game_type = 'tx' ORDER BY game_id;
-- chained transactions
BEGIN;
SELECT gamestate.set_metadata(:'a', '"chain 1"') > 0;
COMMIT AND CHAIN;
SELECT gamestate.set_metadata(:'a', '"chain 2"') > 0;
ROLLBACK AND CHAIN;
SELECT metadata FROM gamestate.get_game(:'a');
SELECT gamestate.set_metadata(:'a', '"chain 3"') > 0;
COMMIT;
SELECT metadata FROM gamestate.get_game(:'a');
-- isolation levels make no difference to the own changes
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT gamestate.set_metadata(:'a', '"serializable"') > 0;
SELECT metadata FROM gamestate.get_game(:'a');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT metadata FROM gamestate.get_game(:'a');
SELECT gamestate.set_metadata(:'a', '"repeatable read"') > 0;
ROLLBACK;
SELECT metadata FROM gamestate.get_game(:'a');
-- read only: reads, and every write is refused
BEGIN READ ONLY;
SELECT metadata FROM gamestate.get_game(:'a');
SAVEPOINT s;
SELECT gamestate.create_game('tx'); ROLLBACK TO s;
SELECT gamestate.create_game_bytes('tx'); ROLLBACK TO s;
SELECT gamestate.apply_move(:'a', NULL, '1', NULL); ROLLBACK TO s;
SELECT gamestate.apply_move_bytes(:'a', NULL, '1', NULL); ROLLBACK TO s;
SELECT gamestate.set_metadata(:'a', '1'); ROLLBACK TO s;
SELECT gamestate.set_room_code(:'a', NULL); ROLLBACK TO s;
SELECT gamestate.start_game(:'a'); ROLLBACK TO s;
SELECT gamestate.join_game(:'a', 'x'); ROLLBACK TO s;
SELECT gamestate.leave_game(:'a', 'ann'); ROLLBACK TO s;
SELECT gamestate.finish_game(:'a'); ROLLBACK TO s;
SELECT gamestate.delete_game(:'a'); ROLLBACK TO s;
COMMIT;
-- two-phase commit: refused with writes, possible with reads
BEGIN;
SELECT gamestate.set_metadata(:'a', '"2pc"') > 0;
PREPARE TRANSACTION 'gamestate_tx';
SELECT metadata FROM gamestate.get_game(:'a');
SELECT count(*) FROM pg_prepared_xacts WHERE gid = 'gamestate_tx';
BEGIN;
SELECT metadata FROM gamestate.get_game(:'a');
CREATE TABLE tx_prepared ();
PREPARE TRANSACTION 'gamestate_tx';
ROLLBACK PREPARED 'gamestate_tx';
-- many subtransactions
SELECT moves AS moves_before, version AS version_before FROM gamestate.get_game(:'a') \gset
DO $$
BEGIN
    FOR i IN 1 .. 200 LOOP
        BEGIN
            PERFORM gamestate.apply_move('70000000-0000-4000-8000-00000000000a', NULL, to_json(i), to_json(i));
            IF i % 3 = 0 THEN
                RAISE EXCEPTION 'no';
            END IF;
        EXCEPTION WHEN raise_exception THEN
            NULL;
        END;
    END LOOP;
END $$;
SELECT state, moves - :moves_before AS moves FROM gamestate.get_game(:'a');
SELECT count(*), count(DISTINCT event::text), count(*) FILTER (WHERE event::text::int % 3 = 0)
  FROM gamestate.get_changes(:'a', :version_before);
SELECT gamestate.delete_game(:'a'), gamestate.delete_game(:'b'), gamestate.delete_game(:'c');
