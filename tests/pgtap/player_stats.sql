-- What a DBA sees of players: statistics counted with the archive's rows, rules
-- and hooks that run as whoever has set them, rankings.
\set QUIET 1
SELECT no_plan();

-- Games that have ended, archived and counted by one statement; returns how many.
CREATE FUNCTION archive(type text, VARIADIC games text[]) RETURNS bigint LANGUAGE sql AS $$
SELECT count(*) FROM gamestate.import_games(ARRAY(
	SELECT format('{"game_type": "%s", "source_id": "%s", "ended_at": "2020-01-01T00:00:00Z", %s}',
				  type, gen_random_uuid(), g) FROM unnest(games) g))
 WHERE outcome = 'imported'
$$;
CREATE FUNCTION score(type text, who text) RETURNS text LANGUAGE sql AS $$
SELECT format('%s %s %s %s %s', games, wins, losses, draws, counters)
  FROM gamestate.player_stats WHERE game_type = type AND player = who
$$;
CREATE FUNCTION outcomes(players text[], result json) RETURNS text LANGUAGE sql AS $$
SELECT string_agg(coalesce(outcome, '-') || coalesce(counters ->> 'score', ''), ' ')
  FROM gamestate.default_stats_rule('x', players, result)
$$;

-- ---------------------------------------------------------------------------
-- The default rule
-- ---------------------------------------------------------------------------

SELECT is(outcomes('{a,b,c}', result::json), expected, coalesce(result, 'no result'))
  FROM (VALUES
	(NULL, '- - -'), ('{}', '- - -'), ('17', '- - -'), ('[]', '- - -'), ('null', '- - -'),
	('{"draw": true}', 'draw draw draw'), ('{"draw": false}', '- - -'), ('{"draw": "yes"}', '- - -'),
	('{"draw": false, "winner": "b"}', 'loss win loss'),
	('{"winner": "b"}', 'loss win loss'), ('{"winner": null}', 'draw draw draw'),
	('{"winner": "x"}', '- - -'), ('{"winner": 1}', '- - -'), ('{"winner": ["a"]}', '- - -'),
	('{"winner": "x", "winners": ["a"]}', '- - -'),
	('{"winners": ["c", "a"]}', 'win loss win'), ('{"winners": []}', 'draw draw draw'),
	('{"winners": ["x", 7, null]}', '- - -'), ('{"winners": ["x", "a"]}', 'win loss loss'),
	('{"winners": "a"}', '- - -'), ('{"winners": {"a": 1}}', '- - -'),
	('{"result": "1-0"}', '- - -'), ('"1-0"', '- - -'),
	('{"scores": {"a": 1, "b": 3, "c": 2}}', 'loss1 win3 loss2'),
	('{"scores": {"a": 3, "b": 3, "c": 2}}', 'draw3 draw3 loss2'),
	('{"scores": {"a": 1.5, "b": 2e0}}', 'loss win2 loss'),
	('{"scores": {"a": "1"}}', '- - -'), ('{"scores": []}', '- - -'), ('{"scores": {}}', '- - -'),
	('{"scores": {"a": 9223372036854775807, "b": 9223372036854775808, "c": -9223372036854775808}}',
	 'loss9223372036854775807 win loss-9223372036854775808'),
	('{"winner": "a", "scores": {"a": 1, "b": 3}}', 'win1 loss3 loss'),
	('{"winner": "a", "x": "\u0000"}', '- - -')) v(result, expected);
SELECT is(outcomes('{a,b}', '"1-0"'), 'win loss', '1-0');
SELECT is(outcomes('{a,b}', '{"result": "0-1"}'), 'loss win', '0-1');
SELECT is(outcomes('{a,b}', '{"result": "1/2-1/2"}'), 'draw draw', '1/2-1/2');
SELECT is(outcomes('{a,b}', '{"result": "*"}'), '- -', 'another result');
SELECT is(outcomes('{a}', '{"scores": {"a": 7}}'), '-7', 'a single player has a score and wins nothing');
SELECT is(outcomes('{}', '{"winner": "a"}'), NULL, 'nobody played');

-- ---------------------------------------------------------------------------
-- Counting
-- ---------------------------------------------------------------------------

SELECT is(archive('ps', '"players": ["ann", "bob"], "result": {"winner": "ann", "scores": {"ann": 5, "bob": -2}}',
	'"players": ["bob", "ann"], "result": "1-0"',
	'"players": ["ann", "cid"], "result": {"draw": true}, "status": "abandoned"'), 3::bigint, 'three games');
SELECT is(score('ps', 'ann'), '3 1 1 1 {"score": 5}', 'ann');
SELECT is(score('ps', 'bob'), '2 1 1 0 {"score": -2}', 'bob');
SELECT is(score('ps', 'cid'), '1 0 0 1 {}', 'cid');
SELECT is(archive('ps', '"players": ["ann"], "result": {"scores": {"ann": 10}}, "created_at": "2019-01-01T00:00:00Z"'),
	1::bigint, 'another');
SELECT is(score('ps', 'ann'), '4 1 1 1 {"score": 15}', 'counters add up');
SELECT is(last_played, '2020-01-01T00:00:00Z'::timestamptz, 'last played') FROM gamestate.player_stats WHERE player = 'ann' AND game_type = 'ps';
SELECT count(*) FROM gamestate.import_games('{"{\"game_type\": \"ps\", \"source_id\": \"once\", \"ended_at\": \"2020-01-01\", \"players\": [\"dan\"]}"}') \gset unused_
SELECT count(*) FROM gamestate.import_games('{"{\"game_type\": \"ps\", \"source_id\": \"once\", \"ended_at\": \"2020-01-01\", \"players\": [\"dan\"]}"}') \gset unused_
SELECT is(score('ps', 'dan'), '1 0 0 0 {}', 'a game that is imported twice counts once');
BEGIN;
SELECT archive('ps', '"players": ["eve"]') \gset unused_
SELECT is(score('ps', 'eve'), '1 0 0 0 {}', 'counted in the transaction');
ROLLBACK;
SELECT is(score('ps', 'eve'), NULL, 'and gone with it');
INSERT INTO gamestate.policy (game_type, player_stats) VALUES ('ps off', false);
SELECT archive('ps off', '"players": ["ann"]') \gset unused_
SELECT is(score('ps off', 'ann'), NULL, 'switched off by a policy');
SELECT archive('ps', format('"players": ["%s", "é", "x\u0022y"], "result": {"winner": "%1$s"}', repeat('z', 63))) \gset unused_
SELECT is(score('ps', repeat('z', 63)), '1 1 0 0 {}', 'the longest id');
SELECT is(score('ps', 'x"y'), '1 0 1 0 {}', 'an odd id');

-- ---------------------------------------------------------------------------
-- Rules
-- ---------------------------------------------------------------------------

CREATE SCHEMA app;
CREATE ROLE ps_admin;
SELECT gamestate.grant_admin('ps_admin') \gset unused_
GRANT USAGE ON SCHEMA app TO ps_admin;
CREATE FUNCTION app.rule(game_type text, players text[], result json)
RETURNS TABLE (player text, outcome text, counters jsonb) LANGUAGE sql STABLE AS $$
SELECT p, CASE WHEN p = result ->> 'w' THEN 'win' END, jsonb_build_object('as ' || current_user, 1, 'points', result -> 'points')
  FROM unnest(players) p WHERE p <> 'bot'
$$;
CREATE FUNCTION app.volatile_rule(text, text[], json)
RETURNS TABLE (player text, outcome text, counters jsonb) LANGUAGE sql AS $$SELECT 'a', 'win', '{}'::jsonb$$;
CREATE PROCEDURE app.procedure(text, text[], json) LANGUAGE sql AS $$SELECT 1$$;

SET ROLE ps_admin;
INSERT INTO gamestate.policy (game_type, stats_rule) VALUES ('ps rule', 'app.rule');
RESET ROLE;
SELECT is(role, 'ps_admin', 'bound to who has set it') FROM gamestate.policy_function WHERE game_type = 'ps rule';
SELECT archive('ps rule', '"players": ["ann", "bot"], "result": {"w": "ann", "points": 7}') \gset unused_
SELECT is(score('ps rule', 'ann'), '1 1 0 0 {"points": 7, "as ps_admin": 1}', 'a rule, as that role');
SELECT is(score('ps rule', 'bot'), NULL, 'leaves somebody out');
SET search_path = app, public;
UPDATE gamestate.policy SET stats_rule = 'rule' WHERE game_type = 'ps rule';
RESET search_path;
SELECT is(stats_rule, 'app.rule', 'a name is qualified') FROM gamestate.policy WHERE game_type = 'ps rule';
SELECT is(role, current_user::text, 'and bound anew') FROM gamestate.policy_function WHERE game_type = 'ps rule';
SELECT throws_ok($$INSERT INTO gamestate.policy (game_type, stats_rule) VALUES ('ps x', 'app.no_rule')$$, '42883', NULL, 'no such function');
SELECT throws_ok($$INSERT INTO gamestate.policy (game_type, stats_rule) VALUES ('ps x', 'app.volatile_rule')$$, '42P17', NULL, 'a volatile rule');
SELECT throws_ok($$INSERT INTO gamestate.policy (game_type, stats_rule) VALUES ('ps x', 'app.procedure')$$, '42883', NULL, 'a procedure');
SELECT throws_ok($$INSERT INTO gamestate.policy (game_type, archive_hook) VALUES ('ps x', 'app.rule')$$, '42883', NULL, 'a rule is no hook');
SELECT throws_ok($$INSERT INTO gamestate.policy (game_type, hook_failure) VALUES ('ps x', 'ignore')$$, '23514', NULL, 'another failure policy');

-- what a rule gives is checked; the games are not archived, or not counted
CREATE FUNCTION app.bad_rule(game_type text, players text[], result json)
RETURNS TABLE (player text, outcome text, counters jsonb) LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN QUERY SELECT result ->> 'player', result ->> 'outcome', (result -> 'counters')::jsonb
	  FROM generate_series(1, coalesce((result ->> 'times')::int, 1));
END $$;
UPDATE gamestate.policy SET stats_rule = 'app.bad_rule' WHERE game_type = 'ps rule';
SELECT throws_ok(format($$SELECT archive('ps rule', '"players": ["ann"], "result": %s')$$, result), code, NULL, result)
  FROM (VALUES ('{"player": "a", "outcome": "won"}', '22023'), ('{"outcome": "win"}', '22023'),
			   ('{"player": ""}', '22023'), (format('{"player": "%s"}', repeat('x', 64)), '22023'),
			   ('{"player": "a", "counters": [1]}', '22023'), ('{"player": "a", "counters": {"x": 1.5}}', '22023'),
			   ('{"player": "a", "counters": {"x": null}}', '22023'),
			   ('{"player": "a", "counters": {"x": 9223372036854775808}}', '22003'),
			   ('{"player": "a", "times": 2}', '21000'), ('{"times": "x"}', '22P02')) v(result, code);
UPDATE gamestate.policy SET hook_failure = 'skip' WHERE game_type = 'ps rule';
SELECT is(archive('ps rule', '"players": ["fay"], "result": {"player": "fay", "outcome": "won"}',
	'"players": ["fay"], "result": {"player": "fay", "outcome": "win"}'), 2::bigint, 'both are archived');
SELECT is(score('ps rule', 'fay'), '1 1 0 0 {}', 'and one is counted');
SELECT is(format('%s %s %s %s', usage, function, sqlstate, cardinality(games)),
	'statistics rule app.bad_rule 22023 1', 'the other is logged') FROM gamestate.hook_error WHERE game_type = 'ps rule';

SELECT is(archive('ps rule', '"players": ["fay"], "result": {"player": "fay", "counters": {"x": 1.5}}',
	'"players": ["fay"], "result": {"player": "fay", "counters": [1]}',
	'"players": ["fay"], "result": {"player": "fay", "counters": {"x": 9223372036854775808}}'), 3::bigint, 'archived with counters that are none');
SELECT is(score('ps rule', 'fay'), '1 1 0 0 {}', 'which are not counted');
SELECT is(string_agg(sqlstate, ' ' ORDER BY sqlstate), '22003 22023 22023 22023', 'but logged') FROM gamestate.hook_error WHERE game_type = 'ps rule';

-- a sum that is out of range keeps no game out of the archive
SELECT is(archive('ps', '"players": ["gus", "hal"], "result": {"scores": {"gus": 9223372036854775807, "hal": -9223372036854775808}}',
	'"players": ["gus", "hal"], "result": {"scores": {"gus": 1, "hal": -1}}'), 2::bigint, 'more than a counter holds');
SELECT is(archive('ps', '"players": ["gus", "hal"], "result": {"scores": {"gus": 7, "hal": -7}}'), 1::bigint, 'and more');
SELECT is(score('ps', 'gus'), '3 3 0 0 {"score": 9223372036854775807}', 'a counter that is full stays so');
SELECT is(score('ps', 'hal'), '3 0 3 0 {"score": -9223372036854775808}', 'on either side');

-- ---------------------------------------------------------------------------
-- Hooks
-- ---------------------------------------------------------------------------

CREATE TABLE app.seen (game_id uuid, winner text, who text, path text, played int);
GRANT INSERT ON app.seen TO ps_admin;
CREATE FUNCTION app.hook(games gamestate.archive[]) RETURNS void LANGUAGE sql AS $$
INSERT INTO app.seen SELECT game_id, result ->> 'winner', current_user, current_setting('search_path'), cardinality(games) FROM unnest(games)
$$;
SET ROLE ps_admin;
INSERT INTO gamestate.policy (game_type, archive_hook) VALUES ('ps hook', 'app.hook');
RESET ROLE;
SELECT archive('ps hook', '"players": ["ann"], "result": {"winner": "ann"}', '"players": ["bob"], "result": {"winner": "bob"}') \gset unused_
SELECT results_eq('SELECT winner, who, path, played FROM app.seen ORDER BY winner',
	$$VALUES ('ann', 'ps_admin', 'pg_catalog, pg_temp', 2), ('bob', 'ps_admin', 'pg_catalog, pg_temp', 2)$$, 'called with the rows of a batch');
SELECT is(current_user::text, session_user::text, 'the caller is who it was');
SELECT is(current_setting('search_path'), '"$user", public', 'with its search_path');

REVOKE EXECUTE ON FUNCTION app.hook FROM PUBLIC;
SELECT throws_ok($$SELECT archive('ps hook', '"players": ["ann"]')$$, '42501', NULL, 'EXECUTE is asked for each time');
GRANT EXECUTE ON FUNCTION app.hook TO ps_admin;
SELECT is(archive('ps hook', '"players": ["ann"]'), 1::bigint, 'and found again');

-- what a hook cannot do
CREATE FUNCTION app.try(games gamestate.archive[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE current_setting('app.statement');
END $$;
GRANT CREATE ON SCHEMA app TO ps_admin;
CREATE FUNCTION as_hook(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('app.statement', statement, false);
	RETURN archive('ps hook', '"players": ["ann"]');
END $$;
SET ROLE ps_admin;
UPDATE gamestate.policy SET archive_hook = 'app.try' WHERE game_type = 'ps hook';
RESET ROLE;
SELECT throws_ok(format('SELECT as_hook(%L)', statement), code, NULL, statement)
  FROM (VALUES ('SET ROLE postgres', '42501'), ('RESET SESSION AUTHORIZATION', '42501'),
			   ('CREATE TEMP TABLE t ()', '42501'), ('LISTEN x', '42501'),
			   ($$SELECT gamestate.create_game('x')$$, '0A000'),
			   ($$SELECT gamestate.import_games('{}')$$, '0A000'),
			   ('SELECT 1/0', '22012'), ('COMMIT', '0A000')) v(statement, code);
SELECT is(as_hook($$SELECT set_config('work_mem', '77MB', false)$$), 1::bigint, 'a setting');
SELECT isnt(current_setting('work_mem'), '77MB', 'ends with the hook');

-- skipped
UPDATE gamestate.policy SET hook_failure = 'skip' WHERE game_type = 'ps hook';
SELECT is(as_hook($$INSERT INTO app.seen (who) VALUES ('skipped'); SELECT 1/0$$), 1::bigint, 'a hook that fails is skipped');
SELECT is_empty($$SELECT FROM app.seen WHERE who = 'skipped'$$, 'what it did is undone');
SELECT is(format('%s %s %s %s', usage, function, sqlstate, cardinality(games)),
	'archive hook app.try 22012 1', 'and logged') FROM gamestate.hook_error WHERE game_type = 'ps hook';

-- the default row's hook is called for each type, with its own role
DELETE FROM gamestate.policy WHERE game_type = 'ps hook';
SELECT is_empty($$SELECT FROM gamestate.policy_function WHERE game_type = 'ps hook'$$, 'a binding that is not needed is forgotten');
TRUNCATE app.seen;
SET ROLE ps_admin;
INSERT INTO gamestate.policy (game_type, archive_hook) VALUES ('', 'app.hook');
RESET ROLE;
SELECT archive('ps hook', '"players": ["ann"]'), archive('ps', '"players": ["ann"]') AS b \gset unused_
SELECT is(count(*), 2::bigint, 'the default hook') FROM app.seen WHERE who = 'ps_admin';
DELETE FROM gamestate.policy WHERE game_type = '';

-- nobody names somebody else, even with the triggers switched off
SET ROLE gamestate_owner;
ALTER TABLE gamestate.policy DISABLE TRIGGER policy_bind;
SELECT throws_ok($$INSERT INTO gamestate.policy (game_type, archive_hook) VALUES ('ps evil', 'app.hook')$$, '23503', NULL,
	'a function that is not bound');
SELECT throws_ok($$INSERT INTO gamestate.policy_function VALUES ('ps evil', 'app.hook', 'postgres')$$, '42501', NULL,
	'a binding by hand');
ALTER TABLE gamestate.policy ENABLE TRIGGER policy_bind;
RESET ROLE;

-- a row that comes with its binding, as after a restore, keeps it
BEGIN;
INSERT INTO gamestate.policy_function VALUES ('ps restored', 'app.hook', 'ps_admin');
INSERT INTO gamestate.policy (game_type, archive_hook) VALUES ('ps restored', 'app.hook');
SELECT is(role, 'ps_admin', 'a restored binding') FROM gamestate.policy_function WHERE game_type = 'ps restored';
ROLLBACK;

-- the role is gone
CREATE ROLE ps_gone;
SELECT gamestate.grant_admin('ps_gone') \gset unused_
GRANT USAGE ON SCHEMA app TO ps_gone;
SET ROLE ps_gone;
INSERT INTO gamestate.policy (game_type, archive_hook) VALUES ('ps gone', 'app.hook');
RESET ROLE;
SELECT gamestate.revoke_all('ps_gone') \gset unused_
REVOKE USAGE ON SCHEMA app FROM ps_gone;
DROP ROLE ps_gone;
SELECT throws_ok($$SELECT archive('ps gone', '"players": ["ann"]')$$, '42704', NULL, 'a role that is gone');
DELETE FROM gamestate.policy WHERE game_type LIKE 'ps%';

SELECT * FROM finish();
DELETE FROM gamestate.player_stats WHERE game_type LIKE 'ps%';
SELECT gamestate.revoke_all('ps_admin') \gset unused_
DROP SCHEMA app CASCADE;
DROP ROLE ps_admin;
