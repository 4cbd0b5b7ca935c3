-- Rate limits: rows, allow(), moves.
\pset format unaligned
\pset tuples_only on
\set VERBOSITY sqlstate
CREATE FUNCTION pg_temp.g(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT ('7a000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
-- what a row may say
INSERT INTO gamestate.rate_limit (name, amount) VALUES ('minimal', 1) RETURNING *;
INSERT INTO gamestate.rate_limit (name, amount) VALUES ('', 1);
INSERT INTO gamestate.rate_limit (name, amount) VALUES (repeat('x', 64), 1);
INSERT INTO gamestate.rate_limit (name, amount) VALUES ('minimal', 1);
INSERT INTO gamestate.rate_limit (name, amount) VALUES ('bad', NULL);
INSERT INTO gamestate.rate_limit (name, amount) VALUES ('bad', 0);
INSERT INTO gamestate.rate_limit (name, amount) VALUES ('bad', -1);
INSERT INTO gamestate.rate_limit (name, amount) VALUES ('bad', 'NaN');
INSERT INTO gamestate.rate_limit (name, amount) VALUES ('bad', 'infinity');
INSERT INTO gamestate.rate_limit (name, amount, kind) VALUES ('bad', 1, 'leaky_bucket');
INSERT INTO gamestate.rate_limit (name, amount, period) VALUES ('bad', 1, '0');
INSERT INTO gamestate.rate_limit (name, amount, period) VALUES ('bad', 1, '-1 s');
INSERT INTO gamestate.rate_limit (name, amount, period) VALUES ('bad', 1, '1001 days');
INSERT INTO gamestate.rate_limit (name, amount, burst) VALUES ('bad', 1, 0);
INSERT INTO gamestate.rate_limit (name, amount, kind, burst) VALUES ('bad', 1, 'sliding_window', 2);
INSERT INTO gamestate.rate_limit (name, amount, busy_sessions) VALUES ('bad', 1, 0);
INSERT INTO gamestate.rate_limit (name, amount, min_share) VALUES ('bad', 1, 0);
INSERT INTO gamestate.rate_limit (name, amount, min_share) VALUES ('bad', 1, 1.5);
INSERT INTO gamestate.rate_limit (name, amount, default_cost) VALUES ('bad', 1, -1);
INSERT INTO gamestate.rate_limit (name, amount, cost_key) VALUES ('bad', 1, 'kind');
INSERT INTO gamestate.rate_limit (name, amount, costs) VALUES ('bad', 1, '{}');
INSERT INTO gamestate.rate_limit (name, amount, cost_key, costs) VALUES ('bad', 1, 'kind', '[]');
INSERT INTO gamestate.rate_limit (name, amount, cost_key, costs) VALUES ('bad', 1, 'kind', '{"a": -1}');
INSERT INTO gamestate.rate_limit (name, amount, cost_key, costs) VALUES ('bad', 1, 'kind', '{"a": [1]}');
INSERT INTO gamestate.rate_limit (name, amount, cost_key, costs) VALUES ('bad', 1, 'kind', '{"a": "1"}');
INSERT INTO gamestate.rate_limit (name, amount, cost_key, costs) VALUES ('bad', 1, 'kind', '{"a": null}');
INSERT INTO gamestate.rate_limit (name, amount, cost_key, costs) VALUES ('bad', 1, 'kind', '{"a": 1e400}');
-- allow(): what is used up stays so for an hour
INSERT INTO gamestate.rate_limit (name, kind, amount, period, burst) VALUES
	('bucket', 'token_bucket', 1, '1 hour', 3), ('window', 'sliding_window', 3, '1 hour', NULL);
SELECT p, (a).allowed, (a).wait_ms IS NULL AS never, (a).wait_ms > 0 AS waits, round((a).remaining) AS remaining
  FROM (SELECT p, gamestate.allow('ann', 1, p) AS a FROM unnest('{bucket,window}'::text[]) p, generate_series(1, 4) OFFSET 0) s;
SELECT wait_ms BETWEEN 3500000 AND 3600000 FROM gamestate.allow('ann', 1, 'bucket');
SELECT wait_ms BETWEEN 4700000 AND 4800000 FROM gamestate.allow('ann', 1, 'window');
SELECT p, a.* FROM unnest('{bucket,window}'::text[]) p, gamestate.allow('bob', 3.5, p) a;
SELECT p, a.* FROM unnest('{bucket,window}'::text[]) p, gamestate.allow('bob', 0, p) a;
SELECT (gamestate.allow('', 3, 'bucket')).allowed, (gamestate.allow(repeat('long', 1000), 3, 'bucket')).allowed, (gamestate.allow(repeat('long', 1000), 1, 'bucket')).allowed;
SELECT gamestate.allow('ann', 1, 'no such limit');
SELECT gamestate.allow('ann', -1, 'bucket');
SELECT gamestate.allow('ann', 'NaN', 'bucket');
SELECT gamestate.allow('ann', 'infinity', 'bucket');
SELECT gamestate.allow(NULL, 1, 'bucket');
SELECT gamestate.allow('ann', NULL, 'bucket');
SELECT gamestate.allow('ann', 1, NULL);
-- accounts are no part of a transaction
BEGIN;
SELECT allowed, remaining < 0.1 FROM gamestate.allow('rollback', 3, 'bucket');
ROLLBACK;
SELECT allowed FROM gamestate.allow('rollback', 1, 'bucket');
-- a changed row holds at once; rolled back it never was
SELECT allowed FROM gamestate.allow('change', 5, 'bucket');
BEGIN;
UPDATE gamestate.rate_limit SET burst = 10 WHERE name = 'bucket';
SELECT allowed FROM gamestate.allow('another', 5, 'bucket');
ROLLBACK;
SELECT allowed, wait_ms FROM gamestate.allow('change', 5, 'bucket');
UPDATE gamestate.rate_limit SET name = 'renamed' WHERE name = 'bucket';
SELECT allowed FROM gamestate.allow('change', 1, 'bucket');
SELECT allowed FROM gamestate.allow('change', 1, 'renamed');
UPDATE gamestate.rate_limit SET name = 'bucket' WHERE name = 'renamed';
-- moves: of a player, of a game
INSERT INTO gamestate.rate_limit (name, amount, period, burst) VALUES ('player', 1, '1 hour', 2), ('game', 1, '1 hour', 5);
INSERT INTO gamestate.policy (game_type, player_rate_limit, game_rate_limit) VALUES ('limited', 'player', 'game'), ('half', NULL, 'game');
INSERT INTO gamestate.policy (game_type, player_rate_limit) VALUES ('none', 'no such limit');
SELECT count(gamestate.create_game('limited', '{}', '{ann,bob,cyd}', game_id => pg_temp.g(n))) FROM generate_series(1, 3) n;
SELECT count(gamestate.create_game('free', '{}', '{ann}', game_id => pg_temp.g(9)));
SELECT gamestate.apply_move(pg_temp.g(1), NULL, '1', NULL, 'ann');
-- refused as stale: it has counted all the same
SELECT gamestate.apply_move(pg_temp.g(1), 1, '2', NULL, 'ann');
\set VERBOSITY terse
SELECT gamestate.apply_move(pg_temp.g(1), NULL, '3', NULL, 'ann');
SELECT gamestate.apply_patch(pg_temp.g(1), NULL, '3', NULL, 'ann');
\set VERBOSITY sqlstate
-- it is the player's, in all games; others, and other types, go on
SELECT gamestate.apply_move(pg_temp.g(2), NULL, '3', NULL, 'ann');
SELECT gamestate.apply_move(pg_temp.g(9), NULL, '3', NULL, 'ann');
SELECT gamestate.apply_move(pg_temp.g(1), NULL, '3', NULL, 'bob');
-- who does not sit there, or plays a game that is not active, uses up nothing
SELECT gamestate.apply_move(pg_temp.g(1), NULL, '3', NULL, 'eve');
-- the game's: two of five are left, without a player too
SELECT gamestate.apply_move(pg_temp.g(1), NULL, '3', NULL) FROM generate_series(1, 3);
SELECT gamestate.apply_move(pg_temp.g(1), NULL, '3', NULL);
SELECT gamestate.apply_move(pg_temp.g(1), NULL, '3', NULL);
-- what the game's limit refuses does not count for the player
SELECT gamestate.apply_move(pg_temp.g(1), NULL, '3', NULL, 'cyd') FROM generate_series(1, 2);
SELECT gamestate.apply_move(pg_temp.g(1), NULL, '3', NULL, 'cyd');
SELECT gamestate.apply_move(pg_temp.g(1), NULL, '3', NULL, 'cyd');
SELECT gamestate.apply_move(pg_temp.g(2), NULL, '3', NULL, 'cyd');
SELECT gamestate.apply_move(pg_temp.g(2), NULL, '3', NULL, 'cyd');
SELECT gamestate.apply_move(pg_temp.g(2), NULL, '3', NULL, 'cyd');
-- a retry is no new move
SELECT gamestate.apply_move(pg_temp.g(3), NULL, '1', NULL, 'bob', request_id => '7a000000-0000-4000-8000-0000000000a1') FROM generate_series(1, 3);
-- a batch: a row each, with the time to wait
SELECT ord, version, sqlstate, message ~ '^rate limit "player" of player "bob" is exceeded\. Wait \d+ ms\.$' AS says
  FROM gamestate.apply_moves(ARRAY[pg_temp.g(3), pg_temp.g(3)], '{NULL,NULL}', ARRAY['1', '2']::json[], ARRAY['1', '2']::json[], '{bob,NULL}');
-- a suspended game that a move resumes
UPDATE gamestate.policy SET resume_on_move = true WHERE game_type = 'limited';
SELECT gamestate.suspend_game(pg_temp.g(2));
SELECT gamestate.apply_move(pg_temp.g(2), NULL, '4', NULL, 'cyd');
SELECT gamestate.apply_move(pg_temp.g(2), NULL, '4', NULL);
-- other changes have no limit
SELECT gamestate.set_metadata(pg_temp.g(1), '1') > 0;
-- taken away: at once
UPDATE gamestate.policy SET player_rate_limit = NULL, game_rate_limit = NULL;
SELECT gamestate.apply_move(pg_temp.g(1), NULL, '3', NULL, 'ann') > 0;
-- costs by kind of move
INSERT INTO gamestate.rate_limit (name, amount, period, burst, cost_key, costs, default_cost) VALUES
	('costs', 1, '1 hour', 1000000, 'kind', '{"shoot": 10, "é\"": 100, "5": 1000, "true": 10000, "most": 100000}', 1);
UPDATE gamestate.policy SET player_rate_limit = 'costs' WHERE game_type = 'limited';
CREATE FUNCTION pg_temp.cost(event json) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	wait text;
BEGIN
	-- what it has cost shows by how long a move that takes all has to wait
	PERFORM gamestate.delete_game(pg_temp.g(4));
	PERFORM gamestate.create_game('limited', '{}', ARRAY['p' || md5(event::text)], game_id => pg_temp.g(4));
	PERFORM gamestate.apply_move(pg_temp.g(4), NULL, event, NULL, 'p' || md5(event::text));
	UPDATE gamestate.rate_limit SET default_cost = 1000000 WHERE name = 'costs';
	BEGIN
		PERFORM gamestate.apply_move(pg_temp.g(4), NULL, '{"kind": "?"}', NULL, 'p' || md5(event::text));
	EXCEPTION WHEN SQLSTATE 'GS012' THEN
		GET STACKED DIAGNOSTICS wait = PG_EXCEPTION_DETAIL;
	END;
	UPDATE gamestate.rate_limit SET default_cost = 1 WHERE name = 'costs';
	-- at a token an hour
	RETURN ceil(substring(wait FROM '(\d+) ms')::float8 / 3600000);
END $$;
SELECT e, pg_temp.cost(e::json) FROM unnest(ARRAY[
	'{}', '1', '[]', '"shoot"', '["kind"]', '{"kind":"shoot"}', ' { "x" : {"kind":"most"} , "kind" : "shoot" } ',
	'{"kind":"most","kind":"shoot"}', '{"kind":"shoot","kind":"other"}', '{"kind":"shoot","kind":{"kind":"most"}}', '{"kind":"shoot","kind":null}',
	'{"\u006bind":"sh\u006fot"}', '{"kind":"é\""}', '{"kind":5}', '{"kind":true}', '{"kind":["most"]}', '{"Kind":"shoot"}',
	'{"kind":"shoot","x":"\u0000"}', '{"a":[{"kind":"most"}],"kind":"shoot"}']) e;
-- bytes have no kinds
SELECT count(gamestate.create_game_bytes('limited', '', '{ann}', game_id => pg_temp.g(5)));
SELECT gamestate.apply_move_bytes(pg_temp.g(5), 1, '{"kind":"most"}', NULL, 'ann');
SELECT gamestate.apply_move_bytes(pg_temp.g(5), 2, '{"kind":"most"}', NULL, 'ann');
-- a limit that is used cannot go
DELETE FROM gamestate.rate_limit WHERE name = 'costs';
UPDATE gamestate.policy SET player_rate_limit = NULL;
DELETE FROM gamestate.rate_limit WHERE name = 'costs';
-- changed columns
BEGIN;
ALTER TABLE gamestate.rate_limit DROP COLUMN min_share;
SELECT gamestate.allow('ann', 1, 'bucket');
ROLLBACK;
SELECT allowed FROM gamestate.allow('new', 1, 'bucket');
SELECT keys > 5, max_keys >= 10000, evicted, allowed > 20, refused > 10, busy_sessions >= 0 FROM gamestate.stat_rate_limit;
-- adaptive: with all sessions there are, one may be busy
UPDATE gamestate.rate_limit SET busy_sessions = 1000000 WHERE name = 'bucket';
SELECT allowed FROM gamestate.allow('adaptive', 1, 'bucket');
SELECT count(gamestate.delete_game(pg_temp.g(n))) FROM generate_series(1, 9) n;
TRUNCATE gamestate.policy, gamestate.rate_limit;
