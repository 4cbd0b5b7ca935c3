-- Look-ups by room code and player, and lists of what is running.
\pset format unaligned
\pset tuples_only on
\pset null (null)
\set VERBOSITY sqlstate
\set a b0000000-0000-4000-8000-00000000000a
\set b b0000000-0000-4000-8000-00000000000b
\set c b0000000-0000-4000-8000-00000000000c
\set d b0000000-0000-4000-8000-00000000000d
SELECT gamestate.create_game('look', '"a"', '{lu-ann,lu-bob}', 'LU-A', game_id => :'a', status => 'waiting');
SELECT gamestate.create_game('look', '"b"', '{lu-ann}', 'LU-B', game_id => :'b');
SELECT gamestate.create_game('look2', '"c"', '{lu-ann,lu-cyd}', game_id => :'c');
SELECT gamestate.create_game_bytes('look2', '\x0d', '{lu-dee}', 'LU-D', game_id => :'d', status => 'waiting');
CREATE TEMP VIEW player AS
SELECT p, (SELECT string_agg(right(g::text, 1), ' ' ORDER BY g) FROM gamestate.player_games(p) g)
  FROM unnest('{lu-ann,lu-bob,lu-cyd,lu-dee,LU-ANN}'::text[]) p;
CREATE TEMP VIEW room AS
SELECT r, right(gamestate.find_room(r)::text, 1) FROM unnest('{LU-A,LU-B,LU-C,LU-D,lu-a}'::text[]) r;
TABLE player;
TABLE room;
-- a room code is unique among live games
SELECT gamestate.create_game('look', room_code => 'LU-D');
SELECT gamestate.set_room_code(:'c', 'LU-A');
-- case matters
SELECT gamestate.set_room_code(:'c', 'lu-a'); 
TABLE room;
-- moving on frees the old code at once
SELECT gamestate.set_room_code(:'c', 'LU-C');
SELECT gamestate.set_room_code(:'b', 'lu-a');
SELECT gamestate.set_room_code(:'b', 'LU-B');
-- setting the code it has already is a change like any other
SELECT gamestate.set_room_code(:'b', 'LU-B');
TABLE room;
-- players come and go
SELECT gamestate.leave_game(:'a', 'lu-ann');
SELECT gamestate.join_game(:'d', 'lu-ann');
SELECT gamestate.leave_game(:'d', 'lu-dee');
TABLE player;
SELECT right(game_id::text, 1), players FROM gamestate.list_live_games() WHERE game_type LIKE 'look%' ORDER BY game_id;
-- the order of seats stays when one leaves and comes back: at the end
SELECT gamestate.leave_game(:'c', 'lu-ann'), gamestate.join_game(:'c', 'lu-ann');
SELECT players FROM gamestate.get_game(:'c');
-- a change of a game that is not about players or the code leaves both alone
SELECT gamestate.set_metadata(:'a', '{"long": "metadata"}'), gamestate.start_game(:'a'), gamestate.apply_move(:'a', NULL, '1', '"a2"');
TABLE player;
TABLE room;
-- lists
SELECT right(game_id::text, 1), status, state FROM gamestate.list_live_games('look') ORDER BY game_id;
SELECT right(game_id::text, 1), status, state, state_bytes FROM gamestate.list_live_games('look2', with_state => false) ORDER BY game_id;
SELECT right(game_id::text, 1), status, state, state_bytes FROM gamestate.list_live_games('look2', 'waiting') ORDER BY game_id;
SELECT count(*) FROM gamestate.list_live_games('look', 'waiting');
SELECT count(*) FROM gamestate.list_live_games('loo');
SELECT count(*) FROM gamestate.list_live_games('look', max_rows => 1);
SELECT count(*) FROM gamestate.list_live_games('look', max_rows => 0);
SELECT count(*) FROM gamestate.list_live_games('look', max_rows => 10);
SELECT count(*) FROM gamestate.list_live_games('look', max_rows => -1);
SELECT count(*) FROM gamestate.list_live_games('look', 'no such status');
-- a row of the list is what get_game says
SELECT count(*), count(*) FILTER (WHERE l::text = gamestate.get_game(l.game_id)::text)
  FROM gamestate.list_live_games() l WHERE game_type LIKE 'look%';
-- the view has the same, and jsonb beside json
SELECT right(game_id::text, 1), game_type, status, tier, version, encoding, state_jsonb, state_bytes, players, max_players,
       room_code, metadata_jsonb, result_jsonb, moves, deadline
  FROM gamestate.live_games WHERE game_type LIKE 'look%' ORDER BY game_id;
-- a game that is over sits nowhere and has no room, though it is there
SELECT gamestate.finish_game(:'a');
SELECT gamestate.finish_game(:'b', status => 'abandoned');
SELECT gamestate.delete_game(:'d');
TABLE player;
TABLE room;
SELECT right(game_id::text, 1), status, room_code, players FROM unnest(ARRAY[:'a', :'b']::uuid[]) id, gamestate.get_game(id) ORDER BY 1;
-- and its code is another's
SELECT gamestate.create_game('look', room_code => 'LU-A', players => '{lu-bob}', game_id => :'d');
TABLE player;
TABLE room;
SELECT room_code FROM gamestate.get_game(:'a');
-- many players of one game, many games of one player
SELECT gamestate.create_game('look', '{}', (SELECT array_agg('lu-' || i) FROM generate_series(1, 128) i), game_id => 'b0000000-0000-4000-8000-000000000128');
SELECT count(*) FROM generate_series(1, 128) i WHERE (SELECT gamestate.player_games('lu-' || i)) = 'b0000000-0000-4000-8000-000000000128';
SELECT count(gamestate.create_game('look many', '{}', ARRAY['lu-many', 'lu-many-' || i], 'LU-MANY-' || i)) FROM generate_series(1, 500) i;
SELECT count(*), count(DISTINCT g) FROM gamestate.player_games('lu-many') g;
SELECT count(DISTINCT gamestate.find_room('LU-MANY-' || i)) FROM generate_series(1, 500) i;
SELECT count(*) FROM generate_series(1, 500) i
 WHERE gamestate.find_room('LU-MANY-' || i) = (SELECT gamestate.player_games('lu-many-' || i));
SELECT count(gamestate.leave_game(g, 'lu-many')) FROM (SELECT gamestate.player_games('lu-many') AS g LIMIT 200) s;
SELECT count(*), count(DISTINCT g) FROM gamestate.player_games('lu-many') g;
SELECT count(*) FILTER (WHERE gamestate.delete_game(gamestate.find_room('LU-MANY-' || i))) FROM generate_series(1, 500) i;
SELECT count(*) FROM gamestate.player_games('lu-many');
SELECT count(gamestate.find_room('LU-MANY-' || i)) FROM generate_series(1, 500) i;
SELECT gamestate.delete_game(:'c'), gamestate.delete_game(:'d'), gamestate.delete_game('b0000000-0000-4000-8000-000000000128');
