-- A player's id is replaced wherever it stands, and nothing else is.
\set QUIET 1
SELECT no_plan();

-- everything that is known of a game, as text
CREATE FUNCTION whole(id uuid) RETURNS text LANGUAGE sql AS $$
SELECT concat_ws(E'\n', (SELECT to_jsonb(g) - '{version,updated_at,tier}'::text[] FROM gamestate.get_game(id) g),
	(SELECT string_agg(to_jsonb(c)::text, E'\n' ORDER BY version) FROM gamestate.get_changes(id) c WHERE kind <> 'anonymise'))
$$;
CREATE FUNCTION states(id uuid) RETURNS text LANGUAGE sql AS $$
SELECT string_agg(gamestate.state_at(id, v)::text, E'\n' ORDER BY v)
  FROM generate_series(1, (SELECT max(version) FROM gamestate.get_changes(id) WHERE kind <> 'anonymise')) v
$$;
CREATE TABLE game (name text PRIMARY KEY, id uuid, before text, states text);
INSERT INTO gamestate.policy (game_type, history) VALUES ('an full', 'full'), ('an events', 'events');

CREATE FUNCTION play(name text, type text, ends boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	g	uuid := gamestate.create_game(type, '{"turn": "zoe q", "seats": {"zoe q": 1,  "max": 2}}', '{zoe q,max}',
			metadata => '{"host": "zoe q", "note": "zoe q is here"}', request_id => gen_random_uuid());
BEGIN
	PERFORM gamestate.apply_move(g, NULL, '{"by": "zoe q"}', '{"turn": "max", "seats": {"\u007aoe q": 1,  "max": 2}}', 'zoe q');
	PERFORM gamestate.apply_move(g, NULL, '{"by": "max", "to": ["zoe q", "zoe"]}', '{"turn": "zoe q", "pot": 7}', 'max');
	PERFORM gamestate.leave_game(g, 'zoe q');
	PERFORM gamestate.apply_move(g, NULL, '{"x": 1}', '{"turn": "max", "pot": 8}', 'max');
	PERFORM gamestate.join_game(g, 'zoe q');
	IF ends THEN
		PERFORM gamestate.finish_game(g, '{"winner": "zoe q", "scores": {"zoe q": 3, "max": 1}}');
	END IF;
	INSERT INTO game VALUES (name, g);
END $$;
SELECT play('live full', 'an full', false), play('live events', 'an events', false),
	   play('archived full', 'an full', true), play('archived events', 'an events', true) \gset unused_
INSERT INTO game SELECT 'other', gamestate.create_game('an full', '{"zoe": "zoe q2"}', '{max,zoe q2}');
INSERT INTO game SELECT 'bytes', gamestate.create_game_bytes('an full', '"zoe q"'::bytea, '{zoe q,max}', metadata => '"zoe q"');
SELECT gamestate.apply_move_bytes(id, NULL, '"zoe q"', NULL, 'zoe q') FROM game WHERE name = 'bytes' \gset unused_
CREATE PROCEDURE become_archived() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..6000 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM game WHERE name LIKE 'archived%' AND (gamestate.get_game(id)).tier <> 'archived');
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
CALL become_archived();
UPDATE game SET before = whole(id), states = CASE WHEN name LIKE '%full' THEN states(id) END WHERE name <> 'bytes';
SELECT is(count(*) FILTER (WHERE before ~ 'zoe q"') || ' ' || count(*) FILTER (WHERE states ~ '(zoe|u007aoe) q"'), '4 2', 'zoe is there') FROM game;
INSERT INTO gamestate.hook_error (game_type, usage, function, games, sqlstate, message) VALUES ('an', 'archive hook', 'f', '{}', 'XX000', 'no zoe q');

BEGIN;
SELECT throws_ok($$CALL gamestate.anonymise_player('zoe q')$$, '25001', NULL, 'not in a transaction');
ROLLBACK;
SELECT throws_ok($$CALL gamestate.anonymise_player('')$$, '22023', NULL, 'no id');
SELECT throws_ok($$CALL gamestate.anonymise_player(NULL)$$, '22004', NULL, 'NULL');

CALL gamestate.anonymise_player('zoe q') \gset
SELECT :'report'::json ->> 'pseudonym' AS pseudonym \gset
SELECT ok(:'pseudonym' ~ '^anonymous-[0-9a-f]{16}$', 'a pseudonym');
SELECT is(:'report'::json ->> 'live_games', '3', 'live games');
SELECT is(:'report'::json ->> 'rows', '2', 'rows');
SELECT is(:'report'::json ->> 'payloads', '2', 'payloads');
SELECT is(:'report'::json ->> 'player_stats', '2', 'statistics');
SELECT is(player, NULL, 'the id is forgotten') FROM gamestate.erasure WHERE pseudonym = :'pseudonym';
SELECT is(phase, 'done', 'it is done') FROM gamestate.erasure WHERE pseudonym = :'pseudonym';

-- the same games, but for the name
SELECT is(whole(id), replace(replace(before, '"zoe q"', format('"%s"', :'pseudonym')), '\"zoe q\"', format('\"%s\"', :'pseudonym')), name)
  FROM game WHERE name NOT IN ('bytes', 'other') ORDER BY name;
SELECT is(states(id), replace(replace(states, '"zoe q"', format('"%s"', :'pseudonym')), '"\u007aoe q"', format('"%s"', :'pseudonym')), name || ', each state')
  FROM game WHERE name LIKE '%full' ORDER BY name;
SELECT is(whole(id), before, 'another player''s game') FROM game WHERE name = 'other';
SELECT results_eq(format($$SELECT kind, player FROM gamestate.get_changes(%L) ORDER BY version DESC LIMIT 1$$, id),
	$$VALUES ('anonymise', NULL::text)$$, 'a change like any other') FROM game WHERE name = 'live full';
SELECT is(gamestate.apply_move(id, gamestate.get_version(id), '{}', NULL, :'pseudonym') IS NOT NULL, true, 'the pseudonym plays on')
  FROM game WHERE name = 'live full';
SELECT throws_ok(format($$SELECT gamestate.apply_move(%L, NULL, '{}', NULL, 'zoe q')$$, id), 'GS009', NULL, 'zoe does not')
  FROM game WHERE name = 'live full';
SELECT is_empty($$SELECT gamestate.player_games('zoe q')$$, 'no games of hers');
SELECT is(count(*), 3::bigint, 'but of the pseudonym') FROM gamestate.player_games(:'pseudonym');
SELECT is(concat_ws(' ', players, metadata, convert_from(state_bytes, 'utf8')), format('{%s,max} "%1$s" "zoe q"', :'pseudonym'), 'a game of bytes')
  FROM game, gamestate.get_game(id) WHERE name = 'bytes';
SELECT is_empty('SELECT * FROM gamestate.verify_archive()', 'the archive is whole');
SELECT is_empty($$SELECT FROM gamestate.player_stats WHERE player = 'zoe q'$$, 'no statistics of hers');
SELECT results_eq(format($$SELECT games, wins, counters::text FROM gamestate.player_stats WHERE player = %L ORDER BY game_type$$, :'pseudonym'),
	$$VALUES (1::bigint, 1::bigint, '{"score": 3}'), (1, 1, '{"score": 3}')$$, 'but of the pseudonym');
SELECT is(message, 'no ' || :'pseudonym', 'not in messages') FROM gamestate.hook_error WHERE game_type = 'an';

-- again: another player of that name, who is counted already
SELECT count(*) FROM gamestate.import_games('{"{\"game_type\": \"an full\", \"source_id\": \"again\", \"ended_at\": \"2020-01-01\", \"players\": [\"zoe q\"], \"result\": {\"zoe q\": \"zoe q\"}}"}') \gset unused_
CALL gamestate.anonymise_player('zoe q', documents => false) \gset
SELECT isnt(:'report'::json ->> 'pseudonym', :'pseudonym', 'another pseudonym');
SELECT is(players::text || result, format('{%s}{"zoe q": "zoe q"}', :'report'::json ->> 'pseudonym'), 'documents are left alone')
  FROM gamestate.archive WHERE ended_at = '2020-01-01' AND game_type = 'an full';
SELECT ok((:'report'::json ->> 'not_reached') ~ 'documents: states', 'which is said');
CALL gamestate.anonymise_player('nobody') \gset
SELECT is((:'report'::json ->> 'live_games') || (:'report'::json ->> 'rows') || (:'report'::json ->> 'payloads'), '000', 'a player who is nowhere');

-- one that was interrupted goes on
INSERT INTO gamestate.erasure (player, pseudonym, documents, phase, live_games) VALUES ('max', 'm-1', true, 'tables', 40);
CALL gamestate.anonymise_player('max') \gset
SELECT is(:'report'::json ->> 'pseudonym', 'm-1', 'with its pseudonym');
SELECT is(:'report'::json ->> 'live_games', '44', 'and counts');
SELECT is_empty($$SELECT FROM gamestate.player_games('max')$$, 'to its end');
SELECT is(players::text ~ 'm-1', true, name) FROM game, gamestate.get_game(id) ORDER BY name;

SELECT count(gamestate.delete_game(id)) FROM game WHERE name NOT LIKE 'archived%' \gset unused_
DELETE FROM gamestate.policy WHERE game_type LIKE 'an %';
DELETE FROM gamestate.hook_error;
SELECT * FROM finish();
