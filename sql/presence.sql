-- Presence: connecting, heartbeats, reconnecting, what ends it.
\pset format unaligned
\pset tuples_only on
\set VERBOSITY sqlstate
CREATE FUNCTION pg_temp.g(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT ('7b000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.presence(n int) RETURNS text LANGUAGE sql AS $$
SELECT string_agg(format('%s %s%s%s', player, presence, CASE WHEN since > now() - interval '1 hour' THEN ' since' END, CASE WHEN expires_at > now() THEN ' until' END), ', ')
  FROM gamestate.player_presence(pg_temp.g(n)) $$;
SELECT count(gamestate.create_game('presence', '{}', '{ann,bob,cyd}', game_id => pg_temp.g(n), status => CASE WHEN n = 2 THEN 'waiting' ELSE 'active' END)) FROM generate_series(1, 6) n;
SELECT gamestate.feed_position() AS p \gset
SELECT pg_temp.presence(1);
-- who may connect
SELECT gamestate.connect_player(pg_temp.g(1), 'ann') AS ann \gset
SELECT gamestate.connect_player(pg_temp.g(1), 'bob', '1 day') AS bob \gset
SELECT :'ann' <> :'bob';
SELECT pg_temp.presence(1);
SELECT gamestate.connect_player(pg_temp.g(1), 'eve');
SELECT gamestate.connect_player(pg_temp.g(7), 'ann');
SELECT gamestate.connect_player(pg_temp.g(1), '');
SELECT gamestate.connect_player(pg_temp.g(1), repeat('x', 64));
SELECT gamestate.connect_player(pg_temp.g(1), 'ann', '999 ms');
SELECT gamestate.connect_player(pg_temp.g(1), 'ann', '1 day 1 s');
SELECT gamestate.connect_player(pg_temp.g(1), 'ann', '-1 s');
SELECT gamestate.connect_player(NULL, 'ann');
SELECT gamestate.connect_player(pg_temp.g(1), NULL);
SELECT gamestate.connect_player(pg_temp.g(1), 'ann', NULL);
SELECT count(gamestate.connect_player(pg_temp.g(2), 'ann'));
-- a game, or a seat, that is not committed
BEGIN;
SELECT count(gamestate.create_game('presence', '{}', '{ann}', game_id => pg_temp.g(8)));
SELECT gamestate.connect_player(pg_temp.g(8), 'ann');
ROLLBACK;
-- heartbeats
SELECT gamestate.heartbeat(:'ann'), gamestate.heartbeat(:'bob'), gamestate.heartbeat(pg_temp.g(1)), gamestate.heartbeat(NULL), gamestate.heartbeat('00000000-0000-0000-0000-000000000000');
-- a newer connection makes the older one's token void
SELECT gamestate.connect_player(pg_temp.g(1), 'ann') AS ann2 \gset
SELECT gamestate.heartbeat(:'ann'), gamestate.heartbeat(:'ann2'), gamestate.disconnect_player(:'ann');
-- not undone by a rollback
BEGIN;
SELECT gamestate.connect_player(pg_temp.g(1), 'cyd') AS cyd \gset
SELECT gamestate.disconnect_player(:'bob');
ROLLBACK;
SELECT pg_temp.presence(1);
SELECT gamestate.heartbeat(:'bob'), gamestate.disconnect_player(:'bob'), gamestate.heartbeat(:'cyd');
-- again: the game, and what was missed
SELECT gamestate.apply_move(pg_temp.g(1), 1, '"one"', '[1]', 'ann'), gamestate.apply_move(pg_temp.g(1), 2, '"two"', '[2]', 'ann');
CREATE TEMP TABLE again AS SELECT row_number() OVER () AS n, * FROM gamestate.reconnect(:'bob', 1);
SELECT n, new_token <> :'bob', player, (game).game_id = pg_temp.g(1), (game).version, (game).state, (change).version, (change).kind, (change).player, (change).event FROM again ORDER BY n;
SELECT gamestate.heartbeat(:'bob'), gamestate.heartbeat(new_token) FROM again WHERE n = 1;
SELECT count(*) FROM gamestate.reconnect(:'bob');
SELECT count(*) FROM gamestate.reconnect(NULL);
SELECT count(*), count(new_token), count((change).kind) FROM gamestate.reconnect((SELECT new_token FROM again WHERE n = 1));
SELECT gamestate.renew_connection(:'bob') IS NULL, player, game_id = pg_temp.g(1) FROM gamestate.renew_connection(:'cyd');
SELECT pg_temp.presence(1);
-- the feed: notices have no version
SELECT version, kind, player, event, type, game_id = pg_temp.g(1) AS g FROM gamestate.wait_changes(:p, ARRAY[pg_temp.g(1), pg_temp.g(2)], timeout => '0') WHERE kind <> 'position';
-- leaving ends it
SELECT gamestate.connect_player(pg_temp.g(3), 'ann') AS a3, gamestate.connect_player(pg_temp.g(3), 'bob') AS b3, gamestate.connect_player(pg_temp.g(4), 'ann') AS a4,
	gamestate.connect_player(pg_temp.g(5), 'ann') AS a5, gamestate.connect_player(pg_temp.g(6), 'ann') AS a6 \gset
BEGIN;
SELECT gamestate.leave_game(pg_temp.g(3), 'ann');
SELECT gamestate.heartbeat(:'a3'), gamestate.heartbeat(:'b3');
ROLLBACK;
SELECT gamestate.heartbeat(:'a3'), gamestate.set_metadata(pg_temp.g(3), '1');
SELECT gamestate.heartbeat(:'a3'), gamestate.leave_game(pg_temp.g(3), 'ann');
SELECT gamestate.heartbeat(:'a3'), gamestate.heartbeat(:'b3'), count(r) FROM gamestate.reconnect(:'a3') r;
SELECT gamestate.join_game(pg_temp.g(3), 'ann');
SELECT gamestate.heartbeat(:'a3'), pg_temp.presence(3);
-- so does the end of a game, its deletion, one in its place
SELECT gamestate.finish_game(pg_temp.g(4)), gamestate.delete_game(pg_temp.g(5));
BEGIN;
SELECT gamestate.delete_game(pg_temp.g(6));
SELECT count(gamestate.create_game('presence', '{}', '{ann}', game_id => pg_temp.g(6)));
COMMIT;
SELECT gamestate.heartbeat(:'a4'), gamestate.heartbeat(:'a5'), gamestate.heartbeat(:'a6');
SELECT pg_temp.presence(4), pg_temp.presence(5), pg_temp.presence(6);
SELECT gamestate.connect_player(pg_temp.g(4), 'ann');
-- and putting it away
SELECT gamestate.connect_player(pg_temp.g(6), 'ann') AS a6 \gset
SELECT gamestate.suspend_game(pg_temp.g(6));
SELECT gamestate.heartbeat(:'a6'), pg_temp.presence(6), (SELECT count(*) FROM gamestate.reconnect(:'a6'));
SELECT gamestate.connect_player(pg_temp.g(6), 'ann');
SELECT gamestate.resume_game(pg_temp.g(6));
SELECT gamestate.heartbeat(:'a6'), pg_temp.presence(6);
-- of a transaction that writes tables, too
SELECT gamestate.connect_player(pg_temp.g(6), 'ann') AS a6 \gset
BEGIN;
CREATE TEMP TABLE presence_written (x int);
SELECT gamestate.finish_game(pg_temp.g(6), status => 'abandoned');
COMMIT;
SELECT gamestate.heartbeat(:'a6');
-- a wrong question leaves the token as it is
SELECT count(gamestate.create_game('presence', '{}', '{ann}', game_id => pg_temp.g(9)));
SELECT gamestate.connect_player(pg_temp.g(9), 'ann') AS a9 \gset
SELECT gamestate.reconnect(:'a9', -1);
SELECT gamestate.heartbeat(:'a9');
SELECT count(new_token), count((change).version) FROM gamestate.reconnect(:'a9', NULL);
SELECT gamestate.heartbeat(:'a9');
SELECT gamestate.delete_game(pg_temp.g(9));
-- statistics: of game 1 three players, of 2 one, of 3 one
SELECT * FROM gamestate.stat_presence;
SELECT count(gamestate.disconnect_player(t)) FROM unnest(ARRAY[:'b3', :'b3']::uuid[]) t;
SELECT connected, disconnected FROM gamestate.stat_presence;
-- read only
BEGIN READ ONLY;
SAVEPOINT s;
SELECT gamestate.connect_player(pg_temp.g(1), 'ann'); ROLLBACK TO s;
SELECT gamestate.heartbeat(:'ann'); ROLLBACK TO s;
SELECT gamestate.disconnect_player(:'ann'); ROLLBACK TO s;
SELECT gamestate.reconnect(:'ann'); ROLLBACK TO s;
SELECT pg_temp.presence(1);
ROLLBACK;
SET gamestate.enabled = off;
SELECT gamestate.connect_player(pg_temp.g(1), 'ann');
RESET gamestate.enabled;
-- policies
INSERT INTO gamestate.policy (game_type, absence_action) VALUES ('bad', 'shout');
INSERT INTO gamestate.policy (game_type, absence_after) VALUES ('bad', '-1 s');
INSERT INTO gamestate.policy (game_type, absence_after) VALUES ('bad', '1001 days');
SELECT count(gamestate.delete_game(pg_temp.g(n))) FROM generate_series(1, 3) n;
SELECT * FROM gamestate.stat_presence;
