-- NULL, empty and bad arguments of every function.
\pset format unaligned
\pset tuples_only on
\pset null (null)
\set VERBOSITY sqlstate
\set g 21000000-0000-4000-8000-000000000001
\set w 21000000-0000-4000-8000-000000000002
\set nobody 21000000-0000-4000-8000-00000000ffff
SELECT gamestate.create_game('nulls', '{}', '{ann,bob}', game_id => :'g');
SELECT gamestate.create_game('nulls', '{}', '{ann,bob}', game_id => :'w', status => 'waiting');
-- writers: an id there must be
SELECT gamestate.apply_move(NULL, 1, '1', '{}');
SELECT gamestate.apply_move_bytes(NULL, 1, '\x', '\x');
SELECT gamestate.set_metadata(NULL, '{}');
SELECT gamestate.set_room_code(NULL, 'N');
SELECT gamestate.start_game(NULL);
SELECT gamestate.join_game(NULL, 'cyd');
SELECT gamestate.leave_game(NULL, 'cyd');
SELECT gamestate.finish_game(NULL);
SELECT gamestate.delete_game(NULL);
-- and what the function is about
SELECT gamestate.create_game(NULL);
SELECT gamestate.create_game_bytes(NULL);
SELECT gamestate.create_game('nulls', status => NULL);
SELECT gamestate.create_game('nulls', NULL);
SELECT gamestate.create_game_bytes('nulls', NULL);
SELECT gamestate.create_game('nulls', '{}', NULL);
SELECT gamestate.create_game('nulls', metadata => NULL);
SELECT gamestate.set_metadata(:'w', NULL);
SELECT gamestate.apply_move(:'g', 1, NULL, '{}');
SELECT gamestate.apply_move_bytes(:'g', 1, NULL, '\x');
SELECT gamestate.join_game(:'w', NULL);
SELECT gamestate.leave_game(:'w', NULL);
SELECT gamestate.finish_game(:'g', status => NULL);
-- readers: nothing comes of nothing
SELECT gamestate.get_game(NULL) IS NULL;
SELECT gamestate.get_state(NULL);
SELECT gamestate.get_state_bytes(NULL);
SELECT gamestate.get_version(NULL);
SELECT count(*) FROM gamestate.get_changes(NULL);
SELECT gamestate.find_room(NULL);
SELECT count(*) FROM gamestate.player_games(NULL);
SELECT gamestate.to_jsonb(NULL);
-- unknown ids
SELECT gamestate.get_game(:'nobody') IS NULL;
SELECT * FROM gamestate.get_game(:'nobody');
SELECT gamestate.get_state(:'nobody');
SELECT gamestate.get_state_bytes(:'nobody');
SELECT gamestate.get_version(:'nobody');
SELECT count(*) FROM gamestate.get_changes(:'nobody');
SELECT gamestate.find_room('no such room');
SELECT count(*) FROM gamestate.player_games('no such player');
SELECT count(*) FROM gamestate.list_live_games('no such type');
SELECT gamestate.apply_move(:'nobody', NULL, '1', '{}');
SELECT gamestate.apply_move_bytes(:'nobody', NULL, '\x', '\x');
SELECT gamestate.set_metadata(:'nobody', '{}');
SELECT gamestate.set_room_code(:'nobody', 'N');
SELECT gamestate.start_game(:'nobody');
SELECT gamestate.join_game(:'nobody', 'cyd');
SELECT gamestate.leave_game(:'nobody', 'cyd');
SELECT gamestate.finish_game(:'nobody');
SELECT gamestate.delete_game(:'nobody');
-- names: 1 to 63 bytes, not characters
SELECT gamestate.create_game('');
SELECT gamestate.create_game('nulls', room_code => '');
SELECT gamestate.set_room_code(:'w', '');
SELECT gamestate.join_game(:'w', '');
SELECT gamestate.create_game('nulls', '{}', ARRAY['']);
SELECT gamestate.create_game(repeat('t', 64));
SELECT gamestate.create_game('nulls', room_code => repeat('r', 64));
SELECT gamestate.set_room_code(:'w', repeat('r', 64));
SELECT gamestate.join_game(:'w', repeat('p', 64));
SELECT gamestate.create_game('nulls', '{}', ARRAY[repeat('p', 64)]);
SELECT gamestate.create_game(repeat('ß', 32));
SELECT gamestate.join_game(:'w', repeat('ß', 32));
SELECT gamestate.join_game(:'w', repeat('ß', 31) || 'x', 1);
SELECT gamestate.set_room_code(:'w', repeat('€', 21), 2);
SELECT gamestate.find_room(repeat('€', 21)) = :'w';
SELECT gamestate.player_games(repeat('ß', 31) || 'x') = :'w';
SELECT room_code = repeat('€', 21), players[3] = repeat('ß', 31) || 'x' FROM gamestate.get_game(:'w');
-- too long a name is nobody's
SELECT gamestate.find_room(repeat('r', 64));
SELECT gamestate.find_room('');
SELECT count(*) FROM gamestate.player_games(repeat('p', 1000));
SELECT count(*) FROM gamestate.player_games('');
-- any characters, and case matters
SELECT gamestate.create_game(E'Nulls\t"''\\\n', '{}', ARRAY['NULL', E'a,"b\\{}', ' '], E' \n', game_id => '21000000-0000-4000-8000-000000000003');
SELECT to_json(game_type), to_json(players), to_json(room_code) FROM gamestate.get_game('21000000-0000-4000-8000-000000000003');
SELECT gamestate.player_games('null'), gamestate.player_games('NULL'), gamestate.find_room(' ');
SELECT gamestate.find_room(E' \n');
SELECT count(*) FROM gamestate.list_live_games(E'nulls\t"''\\\n');
SELECT count(*) FROM gamestate.list_live_games(E'Nulls\t"''\\\n');
-- players: distinct names in one dimension
SELECT gamestate.create_game('nulls', '{}', '{ann,NULL}');
SELECT gamestate.create_game('nulls', '{}', '{ann,bob,ann}');
SELECT gamestate.create_game('nulls', '{}', '{{ann,bob},{cyd,dee}}');
SELECT gamestate.create_game('nulls', '{}', '{ann,bob,cyd}', max_players => 2);
SELECT gamestate.create_game('nulls', '{}', (SELECT array_agg('p' || i) FROM generate_series(1, 129) i));
SELECT cardinality(players) FROM gamestate.get_game(
    gamestate.create_game('nulls', '{}', (SELECT array_agg('p' || i) FROM generate_series(1, 128) i)));
-- bounds other than 1 do not matter, and they are not kept
SELECT players FROM gamestate.get_game(gamestate.create_game('nulls', '{}', '[5:6]={x,y}'));
SELECT players FROM gamestate.get_game(gamestate.create_game('nulls', '{}', '{}'));
-- numbers
SELECT gamestate.create_game('nulls', max_players => -1);
SELECT gamestate.create_game('nulls', max_players => 0);
SELECT max_players FROM gamestate.get_game(gamestate.create_game('nulls', '{}', '{x}', max_players => 1));
SELECT count(*) FROM gamestate.get_changes(:'g', -1);
SELECT count(*) FROM gamestate.get_changes(:'g', 0, -1);
SELECT count(*) FROM gamestate.get_changes(:'g', 0, 0);
SELECT count(*) FROM gamestate.get_changes(:'g', 9223372036854775807);
SELECT gamestate.apply_move(:'g', 0, '1', '{}');
SELECT gamestate.apply_move(:'g', -1, '1', '{}');
SELECT gamestate.apply_move(:'g', 9223372036854775807, '1', '{}');
-- status
SELECT gamestate.create_game('nulls', status => 'finished');
SELECT gamestate.create_game('nulls', status => 'Active');
SELECT gamestate.create_game('nulls', status => '');
SELECT gamestate.finish_game(:'g', status => 'active');
SELECT gamestate.finish_game(:'g', status => '');
-- ids of any kind
SELECT gamestate.create_game('nulls', game_id => '00000000-0000-0000-0000-000000000000');
SELECT gamestate.create_game('nulls', game_id => 'ffffffff-ffff-ffff-ffff-ffffffffffff');
SELECT gamestate.get_version('00000000-0000-0000-0000-000000000000'), gamestate.get_version('ffffffff-ffff-ffff-ffff-ffffffffffff');
-- all errors have changed nothing
SELECT gamestate.get_version(:'g'), gamestate.get_version(:'w');
SELECT gamestate.delete_game(game_id) FROM gamestate.list_live_games(with_state => false)
 WHERE lower(game_type) LIKE 'nulls%' AND game_id NOT IN (:'g', :'w') \g /dev/null
SELECT gamestate.delete_game(:'g'), gamestate.delete_game(:'w');
