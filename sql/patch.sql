-- apply_patch(): RFC 7396 on the text of a state.  The test vectors are in tests/unit/test_merge.c.
\pset format unaligned
\pset tuples_only on
\set g 0000000d-0000-4000-8000-000000000001
\set b 0000000d-0000-4000-8000-000000000002
SELECT gamestate.create_game('patch', '{ "turn" : 1 , "board" : [1,2], "hands": {"ann": [1], "bob": [2]} }', '{ann,bob}', game_id => :'g');
SELECT gamestate.create_game_bytes('patch', '\x00', game_id => :'b');
SELECT gamestate.apply_patch(:'g', 1, '"deal"', '{"turn":2,"hands":{"ann":null,"cyd":[]}}', 'ann');
SELECT gamestate.get_state(:'g');
SELECT version, kind, player, event FROM gamestate.get_changes(:'g', 1);
-- an empty patch, no patch, a state that is no object any more, and one again
SELECT gamestate.apply_patch(:'g', 2, '1', '{}'), gamestate.apply_patch(:'g', 3, '1', NULL);
SELECT gamestate.get_state(:'g');
SELECT gamestate.apply_patch(:'g', 4, '1', '[1]');
SELECT gamestate.get_state(:'g');
SELECT gamestate.apply_patch(:'g', 5, '1', '{"a":{"b":null,"c":"\u0000"}}');
SELECT gamestate.get_state(:'g');
-- one after another in a transaction; savepoints
BEGIN;
SELECT gamestate.apply_patch(:'g', 6, '1', '{"x":1}');
SAVEPOINT s;
SELECT gamestate.apply_patch(:'g', 7, '1', '{"x":2}'), gamestate.apply_patch(:'g', 8, '1', '{"y":{"z":1}}');
SELECT gamestate.get_state(:'g');
ROLLBACK TO s;
SELECT gamestate.apply_patch(:'g', 7, '1', '{"a":null}');
COMMIT;
SELECT gamestate.get_state(:'g'), gamestate.get_version(:'g');
-- a game created in the same transaction
BEGIN;
SELECT gamestate.apply_patch(gamestate.create_game('patch', '{"n":1}', game_id => '0000000d-0000-4000-8000-000000000003'), 1, '1', '{"m":2}');
SELECT gamestate.get_state('0000000d-0000-4000-8000-000000000003');
ROLLBACK;
-- refusals
SELECT gamestate.apply_patch(:'b', 1, '1', '{}');
\echo :SQLSTATE
SELECT gamestate.apply_patch(:'g', 1, '1', '{}');
\echo :SQLSTATE
SELECT gamestate.apply_patch(:'g', 8, '1', '{}', 'zoe');
\echo :SQLSTATE
SELECT gamestate.apply_patch(:'g', 8, NULL, '{}');
\echo :SQLSTATE
SELECT gamestate.apply_patch(:'g', 8, '1', (repeat('{"a":', 130) || '1' || repeat('}', 130))::json);
\echo :SQLSTATE
SELECT gamestate.apply_patch(:'g', 8, '1', ('{"a":"' || repeat('x', 1024 * 1024) || '"}')::json);
\echo :SQLSTATE
SELECT gamestate.apply_patch(:'g', 8, '1', ('{"a":"' || repeat('x', 600 * 1024) || '"}')::json);
SELECT gamestate.apply_patch(:'g', 9, '1', ('{"b":"' || repeat('x', 600 * 1024) || '"}')::json);
\echo :SQLSTATE
-- against the algorithm of the RFC, in jsonb, with documents made by chance
CREATE FUNCTION merge_patch(target jsonb, patch jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    result jsonb := CASE jsonb_typeof(target) WHEN 'object' THEN target ELSE '{}' END;
    m record;
BEGIN
    IF jsonb_typeof(patch) <> 'object' THEN
        RETURN patch;
    END IF;
    FOR m IN SELECT * FROM jsonb_each(patch) LOOP
        IF m.value = 'null' THEN
            result := result - m.key;
        ELSE
            result := result || jsonb_build_object(m.key, merge_patch(result -> m.key, m.value));
        END IF;
    END LOOP;
    RETURN result;
END $$;
CREATE FUNCTION document(depth integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
    n integer := floor(random() * 5);
BEGIN
    IF depth > 3 OR random() < 0.3 THEN
        RETURN (ARRAY['null', '1', '"a"', 'true', '[1,{"a":null}]', '{}', '1.50', '"}{"'])[1 + floor(random() * 8)];
    END IF;
    SELECT string_agg(format('%s%s%s:%s%s', sp.s, k.k, sp.s, sp.s, document(depth + 1)), ',') INTO result
      FROM generate_series(1, n) i,
           LATERAL (SELECT (ARRAY['"a"', '"b"', '"\u0061"', '""', '"é"', '"\u00e9"', '"\""'])[1 + floor(random() * 7) + i * 0] AS k) k,
           LATERAL (SELECT (ARRAY['', ' ', E'\n'])[1 + floor(random() * 3) + i * 0] AS s) sp;
    RETURN '{' || coalesce(result, '') || '}';
END $$;
SELECT setseed(0.5) IS NULL;
DO $$
DECLARE
    g uuid := gamestate.create_game('patch');
    target json;
    patch json;
    wrong integer := 0;
BEGIN
    FOR i IN 1 .. 400 LOOP
        target := document(0);
        patch := document(0);
        PERFORM gamestate.apply_move(g, NULL, '1', target);
        PERFORM gamestate.apply_patch(g, NULL, '1', patch);
        IF gamestate.get_state(g)::jsonb <> merge_patch(target::jsonb, patch::jsonb) THEN
            RAISE NOTICE '% + % = %', target, patch, gamestate.get_state(g);
            wrong := wrong + 1;
        END IF;
    END LOOP;
    RAISE NOTICE '% are wrong', wrong;
    PERFORM gamestate.delete_game(g);
END $$;
DROP FUNCTION merge_patch(jsonb, jsonb);
DROP FUNCTION document(integer);
SELECT gamestate.delete_game(:'g'), gamestate.delete_game(:'b');
