-- A game as the server that runs it sees it: versions, retries, catching up
-- after a reconnect, and that an answer is the same wherever the game is.
\set QUIET 1
SELECT plan(33);

SELECT gamestate.create_game('server', '{"turn":0,"board":[]}', '{server-ann,server-bob}',
                             metadata => '{"speed":"blitz"}') AS game \gset
SELECT gamestate.create_game_bytes('server', '\x0800', '{server-ann}') AS bin \gset

-- columns of get_game
SELECT unnest(ARRAY[is(game_id, :'game'::uuid, 'game_id'), is(game_type, 'server', 'game_type'), is(status, 'active', 'status'),
       is(tier, 'live', 'tier'), is(version, 1::bigint, 'version'), is(encoding, 'json', 'encoding'),
       is(state::text, '{"turn":0,"board":[]}', 'state'), is(state_bytes, NULL, 'state_bytes'),
       is(players, '{server-ann,server-bob}', 'players'), is(max_players, NULL, 'max_players'),
       is(room_code, NULL, 'room_code'), is(metadata::text, '{"speed":"blitz"}', 'metadata'),
       is(result::text, NULL, 'result'), is(moves, 0::bigint, 'moves'), is(deadline, NULL, 'deadline'),
       is(created_at, updated_at, 'created_at and updated_at'), is(ended_at, NULL, 'ended_at')])
  FROM gamestate.get_game(:'game');
SELECT is(ROW(encoding, state::text, state_bytes), ROW('bytes'::text, NULL::text, '\x0800'::bytea), 'a game of bytes')
  FROM gamestate.get_game(:'bin');

-- turn by turn, each with the version that the last answer gave
CREATE TEMP TABLE answer (n integer, version bigint);
DO $$
DECLARE
    g   uuid := (SELECT game_id FROM gamestate.list_live_games('server') WHERE encoding = 'json');
    v   bigint := 1;
BEGIN
    FOR i IN 1 .. 100 LOOP
        v := gamestate.apply_move(g, v, json_build_object('turn', i), json_build_object('turn', i, 'board', repeat('x', i)),
                                  CASE i % 2 WHEN 0 THEN 'server-ann' ELSE 'server-bob' END);
        INSERT INTO answer VALUES (i, v);
        COMMIT;
    END LOOP;
END $$;
SELECT is(count(*), 100::bigint, 'every answer is the last one plus 1') FROM answer WHERE version = n + 1;
SELECT is((gamestate.get_state(:'game') ->> 'turn')::int, 100, 'the last state');
SELECT is(moves, 100::bigint, 'the number of moves') FROM gamestate.get_game(:'game');

-- a server that missed the last moves asks for what came after version 91
SELECT results_eq(format('SELECT version, kind, player, event::text FROM gamestate.get_changes(%L, 91)', :'game'),
                  $$SELECT i + 1::bigint, 'move'::text, CASE i % 2 WHEN 0 THEN 'server-ann' ELSE 'server-bob' END,
                           json_build_object('turn', i)::text FROM generate_series(91, 100) i$$,
                  'ten moves in order');
SELECT results_eq(format('SELECT version FROM gamestate.get_changes(%L, 50, 5)', :'game'),
                  $$SELECT i::bigint FROM generate_series(51, 55) i$$, 'or five at a time');
SELECT is_empty(format('SELECT * FROM gamestate.get_changes(%L, 101)', :'game'), 'nothing after the last');
-- an answer that was lost: the same move again is stale, and the log shows why
SELECT throws_ok(format('SELECT gamestate.apply_move(%L, 100, %L, NULL)', :'game', '1'), 'GS001', NULL, 'stale');
SELECT throws_like(format('SELECT gamestate.apply_move(%L, 100, %L, NULL)', :'game', '1'), '%version%', 'and says of what');
CREATE FUNCTION pg_temp.detail(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    d   text;
BEGIN
    EXECUTE command;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL;
    RETURN d;
END $$;
SELECT matches(pg_temp.detail(format('SELECT gamestate.apply_move(%L, 57, %L, NULL)', :'game', '1')), '57.*101|101.*57',
               'both versions are in the detail');

-- get_game and get_changes say the same before and after the archiver came
SELECT gamestate.finish_game(:'game', '{"winner":"server-ann"}') AS ignored \gset
SELECT gamestate.finish_game(:'bin') AS ignored \gset
DO $$
BEGIN
    FOR i IN 1 .. 1000 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM gamestate.list_live_games('server'));
        PERFORM pg_sleep(0.02);
        COMMIT;
    END LOOP;
END $$;
SELECT is(tier, 'archived', 'archived') FROM gamestate.get_game(:'game');
SELECT is(ROW(status, version, state ->> 'turn', players, metadata::text, result::text, moves),
          ROW('finished'::text, 102::bigint, '100'::text, '{server-ann,server-bob}'::text[], '{"speed":"blitz"}'::text,
              '{"winner":"server-ann"}'::text, 100::bigint), 'get_game') FROM gamestate.get_game(:'game');
SELECT results_eq(format('SELECT version, kind, player, event::text FROM gamestate.get_changes(%L, 91, 10)', :'game'),
                  $$SELECT i + 1::bigint, 'move'::text, CASE i % 2 WHEN 0 THEN 'server-ann' ELSE 'server-bob' END,
                           json_build_object('turn', i)::text FROM generate_series(91, 100) i$$,
                  'get_changes');
SELECT is((gamestate.get_state(:'game') ->> 'board'), repeat('x', 100), 'get_state');
SELECT is(gamestate.get_state_bytes(:'bin'), '\x0800', 'get_state_bytes');
SELECT throws_ok(format('SELECT gamestate.create_game(%L, game_id => %L)', 'server', :'game'), 'GS005', NULL,
                 'its id stays taken');

SELECT * FROM finish();
