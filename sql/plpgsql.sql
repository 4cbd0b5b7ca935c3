-- Games in functions, blocks, procedures, triggers, cursors, prepared
-- statements and parallel plans.
\pset format unaligned
\pset tuples_only on
\pset null (null)
\set VERBOSITY sqlstate
\set g 80000000-0000-4000-8000-000000000001
\set h 80000000-0000-4000-8000-000000000002
SELECT gamestate.create_game('pl', '0', '{ann}', game_id => :'g');
SELECT gamestate.create_game('pl', '0', game_id => :'h');
-- a move as a function of its own, called with all arguments by name
CREATE FUNCTION pg_temp.add(id uuid, n integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    now gamestate.game := gamestate.get_game(id);
BEGIN
    RETURN gamestate.apply_move(game_id => id, expected_version => now.version,
                                event => to_json(n), state => to_json(now.state::text::int + n),
                                player => NULL, request_id => gen_random_uuid());
END $$;
SELECT pg_temp.add(:'g', 5), pg_temp.add(:'g', -2), gamestate.get_state(:'g');
\set VERBOSITY terse
-- an exception block undoes what was done in it, and nothing else
DO $$
DECLARE
    g   uuid := '80000000-0000-4000-8000-000000000001';
BEGIN
    PERFORM pg_temp.add(g, 10);
    BEGIN
        PERFORM pg_temp.add(g, 100);
        PERFORM gamestate.create_game('pl', room_code => 'PL-LOST');
        RAISE EXCEPTION 'no';
    EXCEPTION WHEN raise_exception THEN
        RAISE NOTICE 'undone: state %, version %, room %', gamestate.get_state(g), gamestate.get_version(g),
                     gamestate.find_room('PL-LOST');
    END;
    BEGIN
        PERFORM gamestate.apply_move(g, 1, '1', '1');
    EXCEPTION WHEN SQLSTATE 'GS001' THEN
        PERFORM pg_temp.add(g, 1000);
    END;
END $$;
SELECT gamestate.get_state(:'g'), gamestate.get_version(:'g');
\set VERBOSITY sqlstate
-- an error that leaves a block undoes all of it
DO $$
BEGIN
    PERFORM pg_temp.add('80000000-0000-4000-8000-000000000001', 1);
    PERFORM gamestate.finish_game('80000000-0000-4000-8000-00000000ffff');
END $$;
SELECT gamestate.get_state(:'g'), gamestate.get_version(:'g');
\set VERBOSITY terse
-- retry until it fits, as a client would
DO $$
DECLARE
    g   uuid := '80000000-0000-4000-8000-000000000001';
    v   bigint := 1;
BEGIN
    LOOP
        BEGIN
            PERFORM gamestate.apply_move(g, v, '"retry"', NULL);
            EXIT;
        EXCEPTION WHEN SQLSTATE 'GS001' THEN
            v := v + 1;
        END;
    END LOOP;
    RAISE NOTICE 'moved from version %', v;
END $$;
\set VERBOSITY sqlstate
-- COMMIT and ROLLBACK in a procedure, with an open cursor over games
CREATE PROCEDURE pg_temp.turns(id uuid, n integer) LANGUAGE plpgsql AS $$
DECLARE
    c   record;
BEGIN
    FOR i IN 1 .. n LOOP
        PERFORM pg_temp.add(id, 1);
        IF i % 2 = 0 THEN
            COMMIT;
        ELSE
            ROLLBACK;
        END IF;
    END LOOP;
    FOR c IN SELECT version FROM gamestate.get_changes(id) LOOP
        PERFORM pg_temp.add(id, 1);
        COMMIT;
    END LOOP;
    PERFORM pg_temp.add(id, 100);
    ROLLBACK;
END $$;
SELECT gamestate.get_version(:'h');
CALL pg_temp.turns(:'h', 6);
SELECT gamestate.get_version(:'h'), gamestate.get_state(:'h');
-- triggers: a move brings its game along; a deferred one does so at commit
CREATE TEMP TABLE turn (id uuid, n int);
CREATE FUNCTION pg_temp.on_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM gamestate.apply_move(NEW.id, NULL, to_json(NEW.n), to_json(TG_NAME || NEW.n));
    RETURN NULL;
END $$;
CREATE TRIGGER now AFTER INSERT ON turn FOR EACH ROW EXECUTE FUNCTION pg_temp.on_turn();
INSERT INTO turn VALUES (:'g', 1), (:'h', 2), (:'g', 3);
SELECT gamestate.get_state(:'g'), gamestate.get_state(:'h');
DROP TRIGGER now ON turn;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON turn DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION pg_temp.on_turn();
BEGIN;
INSERT INTO turn VALUES (:'g', 4), (:'h', 5);
SELECT gamestate.get_state(:'g');
COMMIT;
SELECT gamestate.get_state(:'g'), gamestate.get_state(:'h');
BEGIN;
INSERT INTO turn VALUES (:'g', 6), (gen_random_uuid(), 7);
COMMIT;
SELECT gamestate.get_state(:'g'), (SELECT count(*) FROM turn);
DROP TABLE turn;
-- cursors: half read, closed, open over changes, held over a commit
BEGIN;
DECLARE c CURSOR FOR SELECT version, kind FROM gamestate.get_changes(:'g');
FETCH 2 FROM c;
SELECT gamestate.finish_game(:'g') > 0;
FETCH 1 FROM c;
ROLLBACK;
BEGIN;
DECLARE c CURSOR FOR SELECT version, kind FROM gamestate.get_changes(:'g', 0, 4);
FETCH 2 FROM c;
SAVEPOINT s;
SELECT gamestate.set_metadata(:'g', '1') > 0;
FETCH 1 FROM c;
ROLLBACK TO s;
FETCH 5 FROM c;
CLOSE c;
DECLARE d CURSOR FOR SELECT version, kind FROM gamestate.get_changes(:'g', 1) LIMIT 1;
FETCH ALL FROM d;
DECLARE e NO SCROLL CURSOR WITH HOLD FOR SELECT game_id FROM gamestate.list_live_games('pl') ORDER BY 1;
SELECT gamestate.delete_game(:'h');
COMMIT;
FETCH ALL FROM e;
CLOSE e;
SELECT gamestate.create_game('pl', '0', game_id => :'h');
-- set-returning functions in the select list, in LATERAL, in subqueries that stop early
SELECT (gamestate.get_changes(:'g', 1, 2)).kind, generate_series(1, 2);
SELECT g.game_id, c.version FROM gamestate.list_live_games('pl') g, LATERAL gamestate.get_changes(g.game_id, 0, 1) c ORDER BY 1;
SELECT EXISTS (SELECT FROM gamestate.get_changes(:'g')), EXISTS (SELECT FROM gamestate.player_games('nobody'));
SELECT count(*) FROM generate_series(1, 1000) i, LATERAL (SELECT * FROM gamestate.list_live_games('pl') LIMIT 1) s;
-- prepared statements, with custom and generic plans
PREPARE move(uuid, bigint, json, json, text) AS SELECT gamestate.apply_move($1, $2, $3, $4, $5);
PREPARE state(uuid) AS SELECT gamestate.get_state($1), gamestate.get_version($1);
SET plan_cache_mode = force_generic_plan;
EXECUTE move(:'h', 1, '1', '"generic"', NULL);
EXECUTE state(:'h');
EXECUTE move(:'h', 1, '1', '"generic"', NULL);
EXECUTE move(:'h', 2, '1', '"nobody"', 'ann');
EXECUTE move(:'h', NULL, '1', NULL, NULL);
EXECUTE state(:'h');
SET plan_cache_mode = force_custom_plan;
EXECUTE move(:'h', 3, '1', '"custom"', NULL);
EXECUTE state(:'h');
RESET plan_cache_mode;
BEGIN;
EXECUTE move(:'h', 4, '1', '"undone"', NULL);
EXECUTE state(:'h');
ROLLBACK;
EXECUTE state(:'h');
EXECUTE state('80000000-0000-4000-8000-00000000ffff');
DISCARD ALL;
SELECT gamestate.apply_move(:'h', 4, '1', '"after discard"', NULL), gamestate.get_state(:'h');
-- parallel plans: the leader's own changes are seen in every node, writes work
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
CREATE TABLE pl_ids AS
SELECT i, CASE WHEN i % 2 = 0 THEN '80000000-0000-4000-8000-000000000001'::uuid
               ELSE '80000000-0000-4000-8000-000000000002'::uuid END AS id
  FROM generate_series(1, 2000) i;
ANALYZE pl_ids;
CREATE FUNCTION pl_plan(command text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line    text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || command LOOP
        RETURN NEXT (regexp_match(line, 'Gather|Parallel Seq Scan|Function Scan'))[1];
    END LOOP;
END $$;
BEGIN;
SELECT gamestate.apply_move(:'h', 5, '1', '"own"', NULL);
SELECT DISTINCT p FROM pl_plan($$SELECT DISTINCT gamestate.get_version(id), gamestate.get_state(id)::text FROM pl_ids WHERE i % 3 = 0$$) p WHERE p IS NOT NULL ORDER BY 1;
SELECT DISTINCT gamestate.get_version(id), gamestate.get_state(id)::text FROM pl_ids WHERE i % 3 = 0 ORDER BY 1;
SELECT count(*) FROM pl_ids WHERE gamestate.get_version(id) = 6;
SELECT count(*) FROM pl_ids p JOIN gamestate.live_games g ON g.game_id = p.id;
SELECT max(gamestate.get_version(id)) FROM pl_ids;
SELECT count(*) FROM pl_ids WHERE (SELECT count(*) FROM gamestate.get_changes(id, 5)) > 0;
SELECT gamestate.to_jsonb(json_build_object('i', i)) FROM pl_ids WHERE i = 77;
COMMIT;
SELECT max(gamestate.apply_move(id, NULL, to_json(i), NULL)) > 1000 FROM pl_ids;
SELECT gamestate.get_state(:'h'), gamestate.find_room('nowhere');
SELECT count(*) FROM gamestate.player_games('ann');
INSERT INTO pl_ids SELECT 0, gamestate.create_game('pl', game_id => '80000000-0000-4000-8000-000000000003');
SELECT gamestate.delete_game(id) FROM pl_ids WHERE i = 0;
DROP FUNCTION pl_plan;
DROP TABLE pl_ids;
SELECT gamestate.delete_game(:'g'), gamestate.delete_game(:'h');
