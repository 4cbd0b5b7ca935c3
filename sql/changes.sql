-- The log: every change has its entry, read in pieces without gaps.
\pset format unaligned
\pset null (null)
\set VERBOSITY sqlstate
\set g 60000000-0000-4000-8000-000000000001
\set r 60000000-0000-4000-8000-0000000000
\set r01 :r 01
\set r02 :r 02
\set r03 :r 03
\set r04 :r 04
\set r05 :r 05
\set r07 :r 07
\set r08 :r 08
\set r10 :r 10
\set h :r 99
SELECT gamestate.create_game('changes', '[0]', '{ann}', 'CH-1', '{"m": 0}', :'g', 'waiting', 3, :'r01');
SELECT gamestate.join_game(:'g', 'bob', NULL, :'r02');
SELECT gamestate.join_game(:'g', 'bob');
SELECT gamestate.leave_game(:'g', 'ann', 2, :'r03');
SELECT gamestate.set_metadata(:'g', '{ "m":1 }', 3, :'r04');
SELECT gamestate.set_room_code(:'g', E'CH "2"\\', 4, :'r05');
SELECT gamestate.set_room_code(:'g', NULL);
SELECT gamestate.start_game(:'g', 6, :'r07');
SELECT gamestate.apply_move(:'g', 7, '{"move":  1}', '[1]', 'bob', request_id => :'r08');
SELECT gamestate.apply_move(:'g', 8, 'null', NULL);
SELECT version, kind, player, request_id, event, event_bytes, patch, state, state_bytes
  FROM gamestate.get_changes(:'g');
SELECT DISTINCT game_id = :'g' FROM gamestate.get_changes(:'g');
-- times do not run backwards
SELECT count(*) FROM (SELECT at < lag(at) OVER (ORDER BY version) AS back FROM gamestate.get_changes(:'g')) s WHERE back;
SELECT created_at = (SELECT at FROM gamestate.get_changes(:'g', 0, 1)) AS created,
       started_at = (SELECT at FROM gamestate.get_changes(:'g', 6, 1)) AS started,
       updated_at = (SELECT at FROM gamestate.get_changes(:'g', 8, 1)) AS updated
  FROM gamestate.get_game(:'g');
-- pieces
\t on
SELECT after, max, (SELECT array_agg(version) FROM gamestate.get_changes(:'g', after, max))
  FROM unnest('{0,1,3,8,9,10,1000000000000}'::bigint[]) after, unnest('{NULL,0,1,2,100}'::int[]) max;
SELECT array_agg(version) FROM gamestate.get_changes(game_id => :'g', max_changes => 2);
SELECT version FROM gamestate.get_changes(:'g', 4) LIMIT 2;
SELECT (gamestate.get_changes(:'g', 7)).version;
SELECT version FROM gamestate.get_changes(:'g', 7) UNION ALL SELECT version FROM gamestate.get_changes(:'g', 7) ORDER BY 1;
-- the rest of it is seen with the own changes of a transaction, and without them afterwards
BEGIN;
SELECT gamestate.apply_move(:'g', 9, '"own"', NULL), gamestate.set_metadata(:'g', '0');
SELECT version, kind, event FROM gamestate.get_changes(:'g', 8);
SELECT version, kind, event FROM gamestate.get_changes(:'g', 8, 1);
SELECT version, kind, event FROM gamestate.get_changes(:'g', 10, 1);
SELECT array_agg(version) FROM gamestate.get_changes(:'g');
ROLLBACK;
SELECT array_agg(version) FROM gamestate.get_changes(:'g');
-- a reader that goes on from where it was reads everything once
SELECT gamestate.create_game('changes', game_id => :'h');
\set VERBOSITY terse
DO $$
DECLARE
    g       uuid := '60000000-0000-4000-8000-000000000099';
    c       gamestate.change;
    seen    bigint := 0;
BEGIN
    FOR i IN 1 .. 50 LOOP
        FOR j IN 1 .. i % 4 LOOP
            PERFORM gamestate.apply_move(g, NULL, to_json(i), NULL);
        END LOOP;
        COMMIT;
        FOR c IN SELECT * FROM gamestate.get_changes(g, seen, 3) LOOP
            ASSERT c.version = seen + 1;
            seen := c.version;
        END LOOP;
    END LOOP;
    RAISE NOTICE 'seen % of %', seen, gamestate.get_version(g);
END $$;
\set VERBOSITY sqlstate
-- the end: kind and event say how
SELECT gamestate.finish_game(:'g', '{"r":1}', 9, 'finished', request_id => :'r10');
SELECT gamestate.finish_game(:'h', NULL, NULL, 'abandoned');
SELECT version, kind, player, request_id, event FROM gamestate.get_changes(:'g', 9);
SELECT kind, event FROM gamestate.get_changes(:'h', gamestate.get_version(:'h') - 1);
-- the same out of the archive
CREATE TEMP TABLE before AS SELECT * FROM gamestate.get_changes(:'g');
DO $$
BEGIN
    FOR i IN 1 .. 1000 LOOP
        EXIT WHEN (gamestate.get_game('60000000-0000-4000-8000-000000000001')).tier = 'archived';
        PERFORM pg_sleep(0.02);
        COMMIT;
    END LOOP;
END $$;
SELECT count(*) FROM before b JOIN gamestate.get_changes(:'g') a ON a::text = b::text;
SELECT array_agg(version) FROM gamestate.get_changes(:'g');
SELECT after, max, (SELECT array_agg(version) FROM gamestate.get_changes(:'g', after, max))
  FROM unnest('{0,1,8,9,10,1000000000000}'::bigint[]) after, unnest('{NULL,0,1,100}'::int[]) max;
SELECT version FROM gamestate.get_changes(:'g', 4) LIMIT 2;
SELECT count(*) FROM gamestate.get_changes(:'g', -1);
SELECT count(*) FROM gamestate.get_changes(:'g', 0, -1);
