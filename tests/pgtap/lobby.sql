-- A lobby as a game server runs it: rooms, codes, seats, the start, and a
-- player who wants to know where he sits.
\set QUIET 1
SELECT plan(39);

-- A room with a code; the state and the players come later.
SELECT gamestate.create_game('lobby', room_code => 'BLUE-FOX', status => 'waiting', max_players => 3) AS room \gset
SELECT is(gamestate.find_room('BLUE-FOX'), :'room'::uuid, 'the code leads to the room');
SELECT is(gamestate.find_room('blue-fox'), NULL, 'but not in another case');
SELECT row_eq($$SELECT status, version, players, max_players, moves, state::text, metadata::text, tier, encoding
                  FROM gamestate.get_game($$ || quote_literal(:'room') || $$)$$,
              ROW('waiting'::text, 1::bigint, '{}'::text[], 3, 0::bigint, '{}'::text, '{}'::text, 'live'::text, 'json'::text),
              'an empty room');
SELECT throws_ok($$SELECT gamestate.create_game('lobby', room_code => 'BLUE-FOX')$$, 'GS004', NULL,
                 'nobody else gets the code');

-- Three players come, each finds the room by its code.
SELECT is(gamestate.join_game(gamestate.find_room('BLUE-FOX'), p), n + 1, p || ' joins')
  FROM unnest('{lobby-ann,lobby-bob,lobby-cyd}'::text[]) WITH ORDINALITY AS u(p, n);
SELECT throws_ok(format('SELECT gamestate.join_game(%L, %L)', :'room', 'lobby-dee'), 'GS008', NULL, 'the room is full');
SELECT is(gamestate.join_game(:'room', 'lobby-bob'), 4::bigint, 'who sits already is told so, also in a full room');
SELECT is(gamestate.get_version(:'room'), 4::bigint, 'and nothing has changed');
SELECT is(players, '{lobby-ann,lobby-bob,lobby-cyd}', 'seats in the order of joining') FROM gamestate.get_game(:'room');
SELECT is(gamestate.leave_game(:'room', 'lobby-ann'), 5::bigint, 'ann leaves');
SELECT throws_ok(format('SELECT gamestate.leave_game(%L, %L)', :'room', 'lobby-ann'), 'GS009', NULL, 'but not twice');
SELECT is(gamestate.join_game(:'room', 'lobby-dee'), 6::bigint, 'dee takes the seat');
SELECT is(players, '{lobby-bob,lobby-cyd,lobby-dee}', 'the others keep theirs') FROM gamestate.get_game(:'room');

-- Where does a player sit?
SELECT bag_eq($$SELECT gamestate.player_games('lobby-bob')$$, ARRAY[:'room'::uuid], 'bob sits here');
SELECT is_empty($$SELECT gamestate.player_games('lobby-ann')$$, 'ann sits nowhere');
SELECT gamestate.create_game('lobby', '{}', '{lobby-bob,lobby-ann}') AS other \gset
SELECT bag_eq($$SELECT gamestate.player_games('lobby-bob')$$, ARRAY[:'room', :'other']::uuid[], 'bob sits in two games');
SELECT bag_eq($$SELECT game_type, status FROM gamestate.player_games('lobby-bob') g, gamestate.get_game(g)$$,
              $$VALUES ('lobby', 'waiting'), ('lobby', 'active')$$, 'waiting and active ones alike');

-- No move in a room; then the game starts, once.
SELECT throws_ok(format('SELECT gamestate.apply_move(%L, NULL, %L, NULL)', :'room', '1'), 'GS015', NULL, 'no move before the start');
SELECT throws_ok(format('SELECT gamestate.start_game(%L, 5)', :'room'), 'GS001', NULL, 'who starts must know who sits there');
SELECT is(gamestate.start_game(:'room', 6), 7::bigint, 'the game starts');
SELECT throws_ok(format('SELECT gamestate.start_game(%L)', :'room'), 'GS015', NULL, 'once');
SELECT ok(status = 'active' AND started_at = updated_at AND started_at > created_at AND ended_at IS NULL, 'and says when')
  FROM gamestate.get_game(:'room');
SELECT is(gamestate.apply_move(:'room', 7, '{"play": 1}', '{"turn": 1}', 'lobby-dee'), 8::bigint, 'a player moves');
SELECT throws_ok(format('SELECT gamestate.apply_move(%L, 8, %L, NULL, %L)', :'room', '1', 'lobby-ann'), 'GS009', NULL,
                 'who left does not');
-- the code stays good for spectators while the game runs
SELECT is(gamestate.find_room('BLUE-FOX'), :'room'::uuid, 'found while it runs');
SELECT is_empty($$SELECT game_id FROM gamestate.list_live_games('lobby', 'waiting')$$, 'no room waits');
SELECT bag_eq($$SELECT game_id FROM gamestate.list_live_games('lobby', 'active')$$, ARRAY[:'room', :'other']::uuid[], 'two games run');

-- The end frees players and code at once, whether archived already or not.
SELECT is(gamestate.finish_game(:'room', '{"winner": "lobby-dee"}', 8), 9::bigint, 'the game ends');
SELECT is(gamestate.find_room('BLUE-FOX'), NULL, 'the code is free');
SELECT bag_eq($$SELECT gamestate.player_games('lobby-bob')$$, ARRAY[:'other'::uuid], 'bob sits in the other game only');
SELECT row_eq($$SELECT status, room_code, players, result::text, version, moves FROM gamestate.get_game($$ || quote_literal(:'room') || $$)$$,
              ROW('finished'::text, 'BLUE-FOX'::text, '{lobby-bob,lobby-cyd,lobby-dee}'::text[], '{"winner": "lobby-dee"}'::text, 9::bigint, 1::bigint),
              'what it was can still be read');
SELECT ok(ended_at = updated_at AND ended_at >= started_at, 'and when it ended') FROM gamestate.get_game(:'room');
SELECT lives_ok($$SELECT gamestate.create_game('lobby', room_code => 'BLUE-FOX', game_id => 'c1000000-0000-4000-8000-000000000001')$$,
                'the next room has the same code');
SELECT is(gamestate.delete_game('c1000000-0000-4000-8000-000000000001'), true, 'a room that nobody wanted is deleted');
SELECT is(gamestate.find_room('BLUE-FOX'), NULL, 'with its code');
SELECT is(gamestate.delete_game(:'other'), true, 'so is a game');
SELECT is_empty($$SELECT gamestate.player_games('lobby-bob')$$, 'and bob sits nowhere');

SELECT * FROM finish();
