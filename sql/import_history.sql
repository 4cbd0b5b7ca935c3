-- import_games(): the earlier states of games that ended elsewhere
\pset format unaligned
\pset tuples_only on
\pset null NULL
CREATE FUNCTION import(VARIADIC games text[]) RETURNS TABLE (outcome text, sqlstate text, message text)
LANGUAGE sql AS $$
SELECT outcome, sqlstate, CASE WHEN message !~ '^invalid' THEN message END FROM gamestate.import_games(games) ORDER BY ord
$$;
CREATE FUNCTION states(source text) RETURNS TABLE (version bigint, kind text, patch json, state json) LANGUAGE sql AS $$
SELECT c.version, c.kind, c.patch, gamestate.state_at(a.game_id, c.version)
  FROM gamestate.archive a, gamestate.get_changes(a.game_id) c
 WHERE a.game_type = 'import history' AND a.metadata::text = source
$$;
\set game '{"game_type": "import history", "ended_at": "2020-01-02", "source_id": '

-- states as another system has them: not all of them, the first one somewhere
SELECT * FROM import(:'game' || '"1", "metadata": 1, "initial_state": {"n":1}, "log": [{"event": 1, "state": {"n":2}}, {"event": 2}, {"event": 3, "state": {"n":4,"m":[]}}]}');
SELECT * FROM states('1');
SELECT initial_state, final_state FROM gamestate.archived_games WHERE game_type = 'import history';
SELECT * FROM import(:'game' || '"2", "metadata": 2, "log": [{"event": 1, "state": {"n" : 2}}]}');
SELECT * FROM states('2');
SELECT * FROM import(:'game' || '"3", "metadata": 3, "final_state": 7, "log": [{"kind": "create", "state": 5}, {"event": 1, "state_text": "7"}]}');
SELECT * FROM states('3');
-- what does not fit
SELECT * FROM import(:'game' || '"4", "final_state": 8, "log": [{"event": 1, "state": 7}]}',
	:'game' || '"4", "log": [{"event": 1, "state_bytes": "AA=="}]}',
	:'game' || '"4", "log": [{"event": 1, "state_text": "no JSON"}]}',
	:'game' || '"4", "log": [{"event": 1, "state": 7, "delta": "AA=="}]}',
	:'game' || '"4", "log": [{"event": 1, "delta": "no base64"}]}',
	:'game' || '"4", "log": [{"event": 1, "delta": "gICAgICAgICAgIA="}]}',
	:'game' || '"4", "log": [{"event": 1, "delta": ""}]}',
	-- the delta 1 "x" leads to what is no JSON, 1 "7" not to the initial state
	:'game' || '"4", "log": [{"event": 1, "delta": "AQABeA=="}]}',
	:'game' || '"4", "initial_state": 8, "log": [{"event": 1, "delta": "AQABNw=="}]}',
	:'game' || '"4", "log": [{"kind": "create", "delta": "AQABNw=="}, {"event": 1}]}');

-- as export writes it: with what leads back
CREATE FUNCTION exported(source text) RETURNS text LANGUAGE sql AS $$
SELECT json_build_object('game_type', 'import history', 'source_id', 'again ' || source, 'metadata', 'again ' || source, 'ended_at', a.ended_at,
	   'initial_state', a.initial_state, 'final_state', a.final_state,
	   'log', (SELECT json_agg(json_build_object('version', l.version, 'kind', l.kind, 'at', l.at, 'event', l.event, 'delta', encode(l.delta, 'base64')) ORDER BY l.version)
	             FROM gamestate.archived_log(a.game_type, a.ended_at, a.game_id) l))
  FROM gamestate.archived_games a WHERE game_type = 'import history' AND metadata::text = source
$$;
SELECT * FROM import(exported('1'), exported('3'));
SELECT * FROM states('"again 1"');
SELECT * FROM states('"again 3"');
SELECT * FROM import(exported('1'));
-- from the middle of a log
SELECT * FROM import(:'game' || '"5", "metadata": 5, "final_state": 9, "log": [{"version": 10, "event": 1, "delta": "AQABNw=="}, {"version": 11, "event": 1, "kind": "finish", "delta": "AQABOA=="}]}');
SELECT * FROM import(:'game' || '"5", "metadata": 5, "final_state": 9, "log": [{"version": 10, "event": 1, "delta": "AQABNw=="}, {"version": 11, "event": 1, "kind": "finish", "delta": "AQABOA=="}]}');
SELECT * FROM states('5');
SELECT initial_state, final_state FROM gamestate.archived_games WHERE game_type = 'import history' AND metadata::text = '5';
SELECT count(*) FROM gamestate.verify_archive();
DROP FUNCTION import, states, exported;
