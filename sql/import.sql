-- import_games(): what is taken, what is completed, what is refused and why
SET timezone = 'UTC';
CREATE FUNCTION import(VARIADIC games text[]) RETURNS TABLE (ord int, id text, outcome text, sqlstate text, message text)
LANGUAGE sql AS $$
SELECT ord, left(game_id::text, 8), outcome, sqlstate, CASE WHEN message !~ '^(cannot call|invalid|unsupported|argument)' THEN message END
  FROM gamestate.import_games(games) ORDER BY ord
$$;

-- a game of another system, with as little as there can be
SELECT * FROM import('{"game_type": "import", "source_id": "redis:1", "players": ["ann", "bob"],
	"ended_at": "2020-01-02T03:04:05Z", "result": {"w":  "ann"},
	"log": [{"event": {"x":   1}, "player": "ann"}, {"event": 2, "at": "2020-01-02T03:04:01Z"}]}');
SELECT game_type, status, encoding, players, metadata, result, created_at, started_at, ended_at, version, moves,
	   initial_state, final_state
  FROM gamestate.archived_games WHERE game_type = 'import';
SELECT c.version, c.kind, c.player, c.at, c.event
  FROM gamestate.archive a, gamestate.get_changes(a.game_id) c WHERE game_type = 'import' ORDER BY 1;
-- its id is said to be of version 8, and can be computed
SELECT game_id = overlay(overlay(encode(substr(sha256('import' || E'\nredis:1'::bytea), 1, 16), 'hex')
	PLACING '8' FROM 13) PLACING substr(game_id::text, 20, 1) FROM 17)::uuid AS same FROM gamestate.archive WHERE game_type = 'import';

-- again, and changed
SELECT * FROM import('{"game_type": "import", "source_id": "redis:1", "players": ["ann", "bob"],
	"ended_at": "2020-01-02T03:04:05Z", "result": {"w":  "ann"},
	"log": [{"event": {"x":   1}, "player": "ann"}, {"event": 2, "at": "2020-01-02T03:04:01Z"}]}');
SELECT * FROM import('{"game_type": "import", "source_id": "redis:1", "players": ["ann", "bob"],
	"ended_at": "2020-01-02T03:04:05Z", "result": {"w":  "ann"},
	"log": [{"event": {"x": 1}, "player": "ann"}, {"event": 2, "at": "2020-01-02T03:04:01Z"}]}');
SELECT message FROM import('{"game_type": "import", "source_id": "redis:1", "ended_at": "2020-01-02T03:04:05Z"}');
-- the same id twice in a call
SELECT * FROM import('{"game_type": "import", "source_id": "a", "ended_at": "2020-01-01"}',
	'{"game_type": "import", "source_id": "a", "ended_at": "2020-01-01"}',
	'{"game_type": "import", "source_id": "a", "ended_at": "2020-01-03"}');

-- what is wrong with one game refuses that one
SELECT * FROM import('nonsense', '[]', '7', '{}', NULL, '{"game_type": "import"}', '{"game_type": "import", "source_id": "1"}',
	'{"game_type": "", "source_id": "1", "ended_at": "2020-01-01"}',
	'{"game_type": "import", "source_id": "1", "status": "active"}',
	'{"game_type": "import", "source_id": "\u0000", "ended_at": "2020-01-01"}',
	'{"game_type": "import", "source_id": "b", "ended_at": "2020-01-01"}');
SELECT * FROM import('{"game_type": "import", "source_id": "2", "ended_at": "infinity"}',
	'{"game_type": "import", "source_id": "2", "ended_at": "0020-01-01 BC"}',
	'{"game_type": "import", "source_id": "2", "ended_at": "20000-01-01"}',
	'{"game_type": "import", "source_id": "2", "ended_at": "noon"}',
	'{"game_type": "import", "source_id": "2", "ended_at": "2020-01-01", "players": ["a", null]}',
	'{"game_type": "import", "source_id": "2", "ended_at": "2020-01-01", "players": ["' || repeat('a', 64) || '"]}',
	'{"game_type": "import", "source_id": "2", "ended_at": "2020-01-01", "max_players": 0}',
	'{"game_type": "import", "source_id": "2", "ended_at": "2020-01-01", "room_code": ""}',
	'{"game_type": "import", "game_id": "2", "ended_at": "2020-01-01"}');
SELECT * FROM import('{"game_type": "import", "source_id": "3", "ended_at": "2020-01-01", "log": 7}',
	'{"game_type": "import", "source_id": "3", "ended_at": "2020-01-01", "log": [7]}',
	'{"game_type": "import", "source_id": "3", "ended_at": "2020-01-01", "log": [{}]}',
	'{"game_type": "import", "source_id": "3", "ended_at": "2020-01-01", "log": [{"event": 1, "kind": "murmur"}]}',
	'{"game_type": "import", "source_id": "3", "ended_at": "2020-01-01", "log": [{"event": 1}, {"kind": "create"}]}',
	'{"game_type": "import", "source_id": "3", "ended_at": "2020-01-01", "log": [{"kind": "finish"}, {"event": 1}]}',
	'{"game_type": "import", "source_id": "3", "ended_at": "2020-01-01", "log": [{"event": 1, "version": 2}, {"event": 2, "version": 4}]}',
	'{"game_type": "import", "source_id": "3", "ended_at": "2020-01-01", "log": [{"event": 1, "version": 2}, {"event": 2}]}',
	'{"game_type": "import", "source_id": "3", "ended_at": "2020-01-01", "log": [{"event": 1, "version": 1}]}',
	'{"game_type": "import", "source_id": "3", "ended_at": "2020-01-01", "log": [{"event": 1, "version": 9223372036854775807}]}',
	'{"game_type": "import", "source_id": "3", "ended_at": "2020-01-01", "version": 7, "log": [{"event": 1}]}',
	'{"game_type": "import", "source_id": "3", "ended_at": "2020-01-01", "moves": 7, "log": [{"event": 1}]}',
	'{"game_type": "import", "source_id": "3", "ended_at": "2020-01-01", "created_at": "2019-12-31", "log": [{"kind": "create", "at": "2019-12-30"}]}');
-- json and bytes
SELECT * FROM import('{"game_type": "import", "source_id": "4", "ended_at": "2020-01-01", "encoding": "xml"}',
	'{"game_type": "import", "source_id": "4", "ended_at": "2020-01-01", "encoding": "bytes", "final_state": 1}',
	'{"game_type": "import", "source_id": "4", "ended_at": "2020-01-01", "encoding": "json", "final_state_bytes": "AA=="}',
	'{"game_type": "import", "source_id": "4", "ended_at": "2020-01-01", "final_state_bytes": "AA==", "log": [{"event": 1}]}',
	'{"game_type": "import", "source_id": "4", "ended_at": "2020-01-01", "log": [{"event_bytes": "AA=="}]}',
	'{"game_type": "import", "source_id": "4", "ended_at": "2020-01-01", "final_state_bytes": "?"}');
SELECT * FROM import('{"game_type": "import", "source_id": "bytes", "ended_at": "2020-01-01", "initial_state_bytes": "AQI=",
	"log": [{"event_bytes": "AA=="}, {"kind": "metadata", "event": {"a": 1}}, {"kind": "abandon"}], "status": "abandoned"}');
SELECT status, encoding, version, moves, initial_state, initial_state_bytes, final_state_bytes
  FROM gamestate.archived_games WHERE encoding = 'bytes' AND game_type = 'import';
SELECT c.version, c.kind, c.event, c.event_bytes FROM gamestate.archive a, gamestate.get_changes(a.game_id) c
 WHERE game_type = 'import' AND encoding = 'bytes' ORDER BY 1;
-- documents that cannot be embedded, and a game without its payload
SELECT * FROM import('{"game_type": "import", "source_id": "texts", "ended_at": "2020-01-01", "metadata_text": " {\"a\":\n1} ",
	"result_text": "null", "final_state_text": "\"\\u0000\"", "log": [{"event_text": "\"\\ud800\""}]}',
	'{"game_type": "import", "source_id": "bare", "ended_at": "2020-01-01", "version": 17, "moves": 4, "payload": false}');
SELECT metadata, result, final_state FROM gamestate.archived_games WHERE metadata IS NOT NULL AND game_type = 'import';
SELECT version, moves, initial_state FROM gamestate.archived_games WHERE version = 17 AND game_type = 'import';

-- ids that are taken; a live game can be seen only when it is durable, see the wait at the call's end
SELECT gamestate.create_game('import', game_id := '1e000000-0000-4000-8000-000000000001');
SELECT * FROM import('{"game_type": "import", "game_id": "1e000000-0000-4000-8000-000000000001", "ended_at": "2020-01-01"}');
SELECT gamestate.delete_game('1e000000-0000-4000-8000-000000000001');
SELECT * FROM import('{"game_type": "import", "game_id": "1e000000-0000-4000-8000-000000000001", "ended_at": "2020-01-01"}');
SELECT gamestate.create_game('import', game_id := '1e000000-0000-4000-8000-000000000001');
BEGIN;
SELECT * FROM import('{"game_type": "import", "source_id": "rolled back", "ended_at": "1999-01-01"}');
ROLLBACK;
SELECT count(*) FROM gamestate.archive WHERE game_type = 'import' AND ended_at < '2000-01-01';

-- nobody's rights grow
SELECT gamestate.import_games(NULL);
SELECT * FROM gamestate.import_games('{}');
SET gamestate.enabled = off;
SELECT * FROM gamestate.import_games('{}');
RESET gamestate.enabled;
BEGIN READ ONLY;
SELECT * FROM gamestate.import_games('{}');
ROLLBACK;
CREATE ROLE regress_import;
SET ROLE regress_import;
SELECT * FROM gamestate.import_games('{}');
RESET ROLE;
GRANT USAGE ON SCHEMA gamestate TO regress_import;
SET ROLE regress_import;
SELECT * FROM gamestate.import_games('{}');
RESET ROLE;
SELECT gamestate.grant_admin('regress_import');
CREATE FUNCTION who() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE NOTICE 'as %, search_path %', current_user, current_setting('search_path'); RETURN NEW; END $$;
CREATE TRIGGER who BEFORE INSERT ON gamestate.archive FOR EACH ROW WHEN (NEW.game_type = 'import') EXECUTE FUNCTION who();
SET ROLE regress_import;
SELECT outcome FROM gamestate.import_games('{"{\"game_type\": \"import\", \"source_id\": \"by an operator\", \"ended_at\": \"2020-01-01\"}"}');
SELECT current_user, current_setting('search_path');
RESET ROLE;
DROP TRIGGER who ON gamestate.archive;
-- a row that a trigger drops fails the call
CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER no BEFORE INSERT ON gamestate.archive_payload FOR EACH ROW WHEN (NEW.game_type = 'import') EXECUTE FUNCTION no();
SELECT outcome FROM import('{"game_type": "import", "source_id": "dropped", "ended_at": "2020-01-01"}');
SELECT * FROM gamestate.archiver_rows();
DROP TRIGGER no ON gamestate.archive_payload;
SELECT outcome FROM import('{"game_type": "import", "source_id": "dropped", "ended_at": "2020-01-01"}');

-- games that are in the archive, by the time of their end
SELECT tier, version, updated_at FROM gamestate.list_stored_games('import', '2020-01-01') WHERE updated_at > '2020-01-02' ORDER BY updated_at;
SELECT count(*) FROM gamestate.list_stored_games('import', 'infinity');
SELECT count(*) FROM gamestate.list_stored_games('impor', '-infinity');
SELECT count(*) >= (SELECT count(*) FROM gamestate.list_stored_games('import', '-infinity')) FROM gamestate.list_stored_games(NULL, '-infinity');
SELECT gamestate.list_stored_games('import', NULL);

SELECT gamestate.revoke_all('regress_import');
DROP ROLE regress_import;
DROP FUNCTION import, who, no;
