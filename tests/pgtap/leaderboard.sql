-- Rankings of players: whatever changes the statistics, a ranking that is kept
-- answers as one that is computed.
\set QUIET 1
SELECT no_plan();
SELECT setseed(0.5) \gset unused_

-- What leaderboard() should say, by core's window functions.
CREATE FUNCTION expected(type text, metric text, max_rows int, around text DEFAULT NULL)
RETURNS TABLE (rank bigint, player text, value bigint) LANGUAGE sql AS $$
WITH v AS (SELECT s.player, CASE metric WHEN 'games' THEN s.games WHEN 'wins' THEN s.wins WHEN 'losses' THEN s.losses
			   WHEN 'draws' THEN s.draws ELSE (s.counters ->> metric)::bigint END AS value
		     FROM gamestate.player_stats s WHERE s.game_type = type),
	 r AS (SELECT rank() OVER (ORDER BY v.value DESC), v.player, v.value,
				  row_number() OVER (ORDER BY v.value DESC, v.player COLLATE "C") AS n
			 FROM v WHERE v.value IS NOT NULL),
	 me AS (SELECT n FROM r WHERE r.player = around),
	 -- as many as there are, the player in the middle where that is possible
	 f AS (SELECT greatest(1, least((SELECT n FROM me) - (max_rows - 1) / 2, (SELECT count(*) FROM r) - max_rows + 1)) AS first)
SELECT r.rank, r.player, r.value FROM r, f
 WHERE CASE WHEN around IS NULL THEN r.n <= max_rows
			ELSE EXISTS (SELECT FROM me) AND r.n >= f.first AND r.n < f.first + max_rows END
 ORDER BY r.n
$$;
CREATE FUNCTION same(type text, metric text, max_rows int, around text DEFAULT NULL) RETURNS boolean LANGUAGE sql AS $$
SELECT (SELECT array_agg((rank, player, value)::text) FROM expected(type, metric, max_rows, around)) IS NOT DISTINCT FROM
	   (SELECT array_agg((rank, player, value)::text) FROM gamestate.leaderboard(type, metric, max_rows, around))
$$;
CREATE FUNCTION all_same(type text, metric text) RETURNS boolean LANGUAGE sql AS $$
SELECT bool_and(same(type, metric, n)) AND
	   (SELECT bool_and(same(type, metric, k, s.player)) FROM (SELECT player FROM gamestate.player_stats WHERE game_type = type ORDER BY random() LIMIT 20) s,
			   (VALUES (1), (2), (5), (10)) k(k))
  FROM (VALUES (0), (1), (3), (10), (1000)) n(n)
$$;
CREATE PROCEDURE becomes_kept(type text, metrics int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..6000 LOOP
		EXIT WHEN (SELECT count(*) FROM gamestate.ranking WHERE game_type = type) = metrics;
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
-- entries and counts are those of the statistics
CREATE FUNCTION damage(type text) RETURNS bigint LANGUAGE sql AS $$
WITH v AS (SELECT r.number, s.player, CASE r.metric WHEN 'games' THEN s.games WHEN 'wins' THEN s.wins WHEN 'losses' THEN s.losses
			   WHEN 'draws' THEN s.draws ELSE (s.counters ->> r.metric)::bigint END AS value
		     FROM gamestate.ranking r JOIN gamestate.player_stats s USING (game_type) WHERE r.game_type = type),
	 e AS (SELECT ranking, player, value FROM gamestate.ranking_entry JOIN gamestate.ranking ON number = ranking WHERE game_type = type),
	 c AS (SELECT ranking, level, prefix, players FROM gamestate.ranking_count JOIN gamestate.ranking ON number = ranking
			WHERE game_type = type AND players <> 0),
	 d AS (SELECT number, l, value >> (8 * l), count(*) FROM v, generate_series(0, 7) l WHERE value IS NOT NULL GROUP BY 1, 2, 3)
SELECT (SELECT count(*) FROM (TABLE e EXCEPT ALL SELECT * FROM v WHERE value IS NOT NULL) x)
	 + (SELECT count(*) FROM (SELECT * FROM v WHERE value IS NOT NULL EXCEPT ALL TABLE e) x)
	 + (SELECT count(*) FROM (TABLE c EXCEPT ALL TABLE d) x) + (SELECT count(*) FROM (TABLE d EXCEPT ALL TABLE c) x)
$$;

INSERT INTO gamestate.player_stats (game_type, player, games, wins, losses, counters)
SELECT 'lb', 'p' || i, i % 17, i % 5, (random() * 1e9)::bigint,
	   CASE i % 3 WHEN 0 THEN '{}' ELSE jsonb_build_object('score', ((random() - 0.5) * 10 ^ (i % 19))::bigint) END
  FROM generate_series(1, 500) i;
INSERT INTO gamestate.player_stats (game_type, player, counters)
VALUES ('lb', 'min', '{"score": -9223372036854775808}'), ('lb', 'max', '{"score": 9223372036854775807}'), ('lb', 'one', '{"score": -1}');
SELECT ok(all_same('lb', m), m || ', computed') FROM unnest('{games,wins,losses,draws,score,nothing}'::text[]) m;

INSERT INTO gamestate.policy (game_type, leaderboards) VALUES ('lb', '{games,wins,losses,score}');
CALL becomes_kept('lb', 4);
SELECT is(damage('lb'), 0::bigint, 'rankings are made');
SELECT ok(all_same('lb', m), m || ', kept') FROM unnest('{games,wins,losses,draws,score,nothing}'::text[]) m;

-- changes of all kinds
UPDATE gamestate.player_stats SET games = games + 1, wins = wins + (random() * 2)::int,
	   counters = CASE WHEN random() < 0.3 THEN '{}' ELSE jsonb_build_object('score', ((random() - 0.5) * 10 ^ (random() * 18)::int)::bigint) END
 WHERE game_type = 'lb' AND player ~ '[0-4]$';
SELECT is(damage('lb'), 0::bigint, 'after an UPDATE');
SELECT ok(all_same('lb', m), m || ', after an UPDATE') FROM unnest('{games,wins,losses,score}'::text[]) m;
DELETE FROM gamestate.player_stats WHERE game_type = 'lb' AND player ~ '7$';
SELECT is(damage('lb'), 0::bigint, 'after a DELETE');
UPDATE gamestate.player_stats SET player = 'renamed ' || player WHERE game_type = 'lb' AND player ~ '8$';
SELECT is(damage('lb'), 0::bigint, 'after another name');
UPDATE gamestate.player_stats SET game_type = 'lb other' WHERE game_type = 'lb' AND player ~ '9$';
SELECT is(damage('lb'), 0::bigint, 'after another type');
SELECT count(*) FROM gamestate.import_games(ARRAY(SELECT format(
	'{"game_type": "lb", "source_id": "%s", "ended_at": "2020-01-01", "players": ["p%s", "q%s"], "result": {"scores": {"p%s": %s, "q%s": %s}}}',
	i, i % 50, i % 7, i % 50, i, i % 7, -i) FROM generate_series(1, 300) i)) \gset unused_
SELECT is(damage('lb'), 0::bigint, 'after a batch of games');
SELECT ok(all_same('lb', m), m || ', after a batch of games') FROM unnest('{games,wins,losses,score}'::text[]) m;
BEGIN;
DELETE FROM gamestate.player_stats WHERE game_type = 'lb' AND player > 'p3';
SELECT ok(all_same('lb', 'wins'), 'one''s own changes');
ROLLBACK;
SELECT is(damage('lb'), 0::bigint, 'after a ROLLBACK');
SELECT is_empty($$SELECT * FROM gamestate.leaderboard('lb', 'wins', 10, 'nobody')$$, 'around nobody');
SELECT is_empty($$SELECT * FROM gamestate.leaderboard('lb none', 'wins')$$, 'a type without players');
SELECT results_eq($$SELECT games, wins, losses, draws, last_played FROM gamestate.leaderboard('lb', 'score', 1, 'p7x')$$,
	$$SELECT games, wins, losses, draws, last_played FROM gamestate.player_stats WHERE false$$, 'not ranked');
SELECT is((b.games, b.wins, b.losses, b.draws)::text, (s.games, s.wins, s.losses, s.draws)::text, 'the rest of the row')
  FROM gamestate.leaderboard('lb', 'games', 1) b JOIN gamestate.player_stats s ON s.player = b.player AND s.game_type = 'lb';
SELECT throws_ok($$SELECT * FROM gamestate.leaderboard('lb', 'wins', -1)$$, '22023', NULL, 'fewer than none');
SELECT throws_ok($$SELECT * FROM gamestate.leaderboard(NULL, 'wins')$$, '22004', NULL, 'no type');
SELECT throws_ok($$INSERT INTO gamestate.policy (game_type, leaderboards) VALUES ('lb x', '{NULL}')$$, '23514', NULL, 'no metric');
SELECT throws_ok($$INSERT INTO gamestate.policy (game_type, leaderboards) VALUES ('lb x', '{wins,""}')$$, '23514', NULL, 'a metric without a name');

-- who may call it needs no right on the tables
CREATE ROLE lb_server;
SELECT gamestate.grant_server('lb_server') \gset unused_
SET ROLE lb_server;
SELECT is(count(*), 10::bigint, 'a game server') FROM gamestate.leaderboard('lb', 'wins');
SELECT throws_ok('SELECT * FROM gamestate.player_stats', '42501', NULL, 'has no right on the table');
RESET ROLE;
SELECT gamestate.revoke_all('lb_server') \gset unused_
DROP ROLE lb_server;

-- a row more, a row less
UPDATE gamestate.policy SET leaderboards = '{draws}' WHERE game_type = 'lb';
CALL becomes_kept('lb', 1);
SELECT is(metric, 'draws', 'what the changed policy asks for') FROM gamestate.ranking WHERE game_type = 'lb';
SELECT is_empty('SELECT FROM gamestate.ranking_entry WHERE ranking NOT IN (SELECT number FROM gamestate.ranking)', 'the others have gone');
SELECT is(damage('lb'), 0::bigint, 'and this one is right');
TRUNCATE gamestate.player_stats;
SELECT is_empty($$SELECT FROM gamestate.ranking_entry UNION ALL SELECT FROM gamestate.ranking_count$$, 'after TRUNCATE');
DELETE FROM gamestate.policy WHERE game_type = 'lb';

SELECT * FROM finish();
