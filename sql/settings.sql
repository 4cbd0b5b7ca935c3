-- Settings: names, units, defaults, who may change them and when.
SELECT name, boot_val, unit, vartype, context, category = 'Customized Options' AS ours
  FROM pg_settings WHERE name LIKE 'gamestate.%' ORDER BY name COLLATE "C";
-- each has a description, a full sentence
SELECT name, short_desc FROM pg_settings
 WHERE name LIKE 'gamestate.%' AND (short_desc !~ '^[A-Z].*\.$' OR coalesce(extra_desc, 'A.') !~ '^[A-Z].*\.$')
 ORDER BY name;
\set VERBOSITY sqlstate
-- set at server start
SET gamestate.memory = '64MB';
SET gamestate.reserve = 10;
SET gamestate.max_databases = 10;
-- set for all
SET gamestate.archiver = off;
-- bounds
SET gamestate.max_state_size = -1;
SET gamestate.max_event_size = -1;
SET gamestate.max_metadata_size = -1;
SET gamestate.max_log = -1;
SET gamestate.max_players = -1;
SET gamestate.max_id_length = 64;
SET gamestate.max_id_length = 0;
SET gamestate.max_games_per_transaction = 0;
SET gamestate.quota = -2;
SET gamestate.enabled = 'perhaps';
SET gamestate.max_state_size = '10parsec';
-- no others
SET gamestate.no_such_setting = 1;
-- units
SET gamestate.max_state_size = '2MB';
SHOW gamestate.max_state_size;
SET gamestate.quota = '1GB';
SHOW gamestate.quota;
RESET gamestate.max_state_size;
RESET gamestate.quota;
-- who is no superuser cannot lift a limit or the switch
CREATE ROLE settings_player;
SET ROLE settings_player;
SET gamestate.quota = -1;
SET gamestate.enabled = on;
SET gamestate.max_state_size = '100MB';
SET gamestate.max_event_size = '100MB';
SET gamestate.max_metadata_size = '100MB';
SET gamestate.max_log = 1000000;
SET gamestate.max_players = 10000;
SET gamestate.max_games_per_transaction = 1000000;
RESET ROLE;
DROP ROLE settings_player;
-- the switch: of a session, a transaction, a database
\pset format unaligned
\pset tuples_only on
\set g a0000000-0000-4000-8000-000000000001
SELECT gamestate.create_game('settings', game_id => :'g', players => '{ann}', room_code => 'SET');
BEGIN;
SET LOCAL gamestate.enabled = off;
SAVEPOINT s;
SELECT gamestate.create_game('settings'); ROLLBACK TO s;
SELECT gamestate.create_game_bytes('settings'); ROLLBACK TO s;
SELECT gamestate.apply_move(:'g', 1, '1', NULL); ROLLBACK TO s;
SELECT gamestate.apply_move_bytes(:'g', 1, '1', NULL); ROLLBACK TO s;
SELECT gamestate.set_metadata(:'g', '1'); ROLLBACK TO s;
SELECT gamestate.set_room_code(:'g', NULL); ROLLBACK TO s;
SELECT gamestate.start_game(:'g'); ROLLBACK TO s;
SELECT gamestate.join_game(:'g', 'bob'); ROLLBACK TO s;
SELECT gamestate.leave_game(:'g', 'ann'); ROLLBACK TO s;
SELECT gamestate.finish_game(:'g'); ROLLBACK TO s;
SELECT gamestate.delete_game(:'g'); ROLLBACK TO s;
SELECT version, state, players FROM gamestate.get_game(:'g');
SELECT gamestate.get_state(:'g'), gamestate.get_version(:'g'), gamestate.find_room('SET') = :'g',
       (SELECT count(*) FROM gamestate.get_changes(:'g')), (SELECT count(*) FROM gamestate.player_games('ann')),
       (SELECT count(*) FROM gamestate.live_games WHERE game_type = 'settings');
COMMIT;
SELECT gamestate.apply_move(:'g', 1, '1', NULL);
-- writes made before the switch are committed after it
BEGIN;
SELECT gamestate.apply_move(:'g', 2, '1', NULL);
SET LOCAL gamestate.enabled = off;
COMMIT;
SELECT gamestate.get_version(:'g');
SELECT current_database() AS db \gset
ALTER DATABASE :"db" SET gamestate.enabled = off;
\c
SELECT gamestate.apply_move(:'g', 3, '1', NULL);
ALTER DATABASE :"db" RESET gamestate.enabled;
\c
SELECT gamestate.apply_move(:'g', 3, '1', NULL);
-- the quota of a session
SET gamestate.quota = 0;
SELECT gamestate.create_game('settings');
SELECT gamestate.apply_move(:'g', 4, '1', (SELECT json_agg(i) FROM generate_series(1, 50000) i));
SELECT quota_bytes FROM gamestate.stat_memory;
SELECT gamestate.get_version(:'g'), gamestate.get_state(:'g');
SELECT gamestate.delete_game(:'g');
RESET gamestate.quota;
SELECT quota_bytes IS NULL FROM gamestate.stat_memory;
