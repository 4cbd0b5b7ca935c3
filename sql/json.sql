-- JSON is validated, kept to the letter and never looked into.
\pset format unaligned
\pset tuples_only on
\pset null (null)
\set g 30000000-0000-4000-8000-000000000001
CREATE TEMP TABLE document (n serial, doc json);
INSERT INTO document (doc) VALUES
    (E'  { "b" : 1 ,\n\t"a":2,  "a" : 3 }  '),
    ('null'), ('true'), ('""'), ('" "'), ('0'), ('-0'), ('1.0'), ('1.10e+01'), ('[]'), ('{}'),
    ('[ ]'), ('{ }'),
    ('"\u0000"'), ('{"\u0000": 1}'), ('"\ud800"'), ('"\udc00\ud800"'), ('"\ud83d\ude00"'), ('"😀"'),
    ('"\u00e4 \/ \" \\ \b"'), ('"ä"'),
    ('1e400000'), ('-1e-400000'), ('123456789012345678901234567890.123456789012345678901234567890'),
    ('{"":{"":{"":[]}}}');
-- states
SELECT gamestate.create_game('json', game_id => :'g');
SELECT gamestate.get_state(:'g');
SELECT n FROM document WHERE gamestate.apply_move(:'g', NULL, doc, doc) IS NULL;
-- (of two functions on one game the order is the writer's, so one by one)
DO $$
DECLARE
    d       document;
    g       uuid := '30000000-0000-4000-8000-000000000001';
    kept    gamestate.game;
    c       gamestate.change;
BEGIN
    FOR d IN SELECT * FROM document ORDER BY n LOOP
        PERFORM gamestate.apply_move(g, NULL, d.doc, d.doc);
        PERFORM gamestate.set_metadata(g, d.doc);
        ASSERT gamestate.get_state(g)::text = d.doc::text, format('state %s', d.n);
        kept := gamestate.get_game(g);
        ASSERT kept.state::text = d.doc::text, format('state in get_game %s', d.n);
        ASSERT kept.metadata::text = d.doc::text, format('metadata %s', d.n);
        SELECT * INTO c FROM gamestate.get_changes(g, kept.version - 2) WHERE kind = 'move';
        ASSERT c.event::text = d.doc::text, format('event %s', d.n);
        SELECT * INTO c FROM gamestate.get_changes(g, kept.version - 1);
        ASSERT c.event::text = d.doc::text, format('event of metadata %s', d.n);
        SELECT * INTO kept FROM gamestate.list_live_games('json') WHERE game_id = g;
        ASSERT kept.state::text = d.doc::text AND kept.metadata::text = d.doc::text, format('list %s', d.n);
        -- and after a commit
        COMMIT;
        ASSERT gamestate.get_state(g)::text = d.doc::text, format('state %s', d.n);
        kept := gamestate.get_game(g);
        ASSERT kept.metadata::text = d.doc::text, format('metadata %s', d.n);
    END LOOP;
END $$;
-- each of them as a result, and out of the archive
CREATE TEMP TABLE archived AS
SELECT n, doc, gamestate.create_game('json', doc, metadata => doc) AS id FROM document;
SELECT count(gamestate.apply_move(id, 1, doc, NULL)) FROM archived;
SELECT count(gamestate.finish_game(id, doc)) FROM archived;
DO $$
BEGIN
    FOR i IN 1 .. 1000 LOOP
        EXIT WHEN (SELECT bool_and((gamestate.get_game(id)).tier = 'archived') FROM archived);
        PERFORM pg_sleep(0.02);
        COMMIT;
    END LOOP;
END $$;
SELECT count(*), count(*) FILTER (WHERE g.tier = 'archived') AS archived,
       count(*) FILTER (WHERE g.state::text = doc::text) AS state,
       count(*) FILTER (WHERE gamestate.get_state(id)::text = doc::text) AS get_state,
       count(*) FILTER (WHERE g.metadata::text = doc::text) AS metadata,
       count(*) FILTER (WHERE g.result::text = doc::text) AS result,
       count(*) FILTER (WHERE (SELECT array_agg(event::text ORDER BY version) FROM gamestate.get_changes(id, 1))
                              = ARRAY[doc::text, doc::text]) AS log
  FROM archived, gamestate.get_game(id) g;
-- what jsonb makes of them: NULL for what it cannot hold, never an error
SELECT n, doc::text, gamestate.to_jsonb(doc) FROM document ORDER BY n;
SELECT count(*) FILTER (WHERE l.state_jsonb IS NULL) FROM gamestate.live_games l WHERE game_type = 'json';
SELECT to_json(e'\u00e4' || repeat('x', 10)), gamestate.to_jsonb(to_json(repeat('x', 100000)))
       = to_jsonb(repeat('x', 100000));
-- deep
CREATE TEMP TABLE deep AS SELECT (repeat('{"a":', 6000) || '1' || repeat('}', 6000))::json AS doc;
SELECT gamestate.apply_move(:'g', NULL, '1', (repeat('[', 1000) || repeat(']', 1000))::json) > 0,
       gamestate.get_state(:'g')::text = repeat('[', 1000) || repeat(']', 1000);
SELECT gamestate.to_jsonb((repeat('[', 1000) || repeat(']', 1000))::json)
       = (repeat('[', 1000) || repeat(']', 1000))::jsonb;
-- too deep for the stack that is left: NULL, too
SET max_stack_depth = '200kB';
SELECT gamestate.to_jsonb(doc) IS NULL FROM deep;
RESET max_stack_depth;
SELECT gamestate.to_jsonb(doc) IS NULL FROM deep;
-- jsonb's own limits (a key or string of 256 MB is not tried here)
SELECT gamestate.to_jsonb('{"a": 1, "a": 2}'), gamestate.to_jsonb('[1e1000]') = '[1e1000]'::jsonb;
-- large: 1 MB states that change size and content
SELECT gamestate.apply_move(:'g', NULL, '"large"', ('[' || string_agg(i::text, ',') || ']')::json) > 0
  FROM generate_series(1, 150000) i;
SELECT gamestate.get_state(:'g')::text = (SELECT '[' || string_agg(i::text, ',') || ']' FROM generate_series(1, 150000) i);
SELECT gamestate.apply_move(:'g', NULL, '"short"', '[]') > 0, gamestate.get_state(:'g');
-- a compressed and a toasted datum are detoasted before they are kept
CREATE TEMP TABLE toasted (doc json);
INSERT INTO toasted VALUES (to_json(repeat('abc', 100000)));
INSERT INTO toasted SELECT json_agg(md5(i::text)) FROM generate_series(1, 5000) i;
SELECT gamestate.apply_move(:'g', NULL, '1', doc) > 0, gamestate.get_state(:'g')::text = doc::text FROM toasted;
-- what is not JSON
\set VERBOSITY sqlstate
SELECT gamestate.apply_move(:'g', NULL, '', '1');
SELECT gamestate.apply_move(:'g', NULL, '1', '{"a":1,}');
SELECT gamestate.apply_move(:'g', NULL, 'NaN', '1');
SELECT gamestate.apply_move(:'g', NULL, '1 2', '1');
SELECT gamestate.apply_move(:'g', NULL, E'"\x01"', '1');
SELECT gamestate.set_metadata(:'g', '{''a'': 1}');
SELECT gamestate.finish_game(:'g', 'done');
SELECT gamestate.get_version(:'g') IS NOT NULL, status FROM gamestate.get_game(:'g');
SELECT gamestate.delete_game(:'g');
