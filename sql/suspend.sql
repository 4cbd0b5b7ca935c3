-- suspend_game(), resume_game(): a game leaves memory for gamestate.suspended and
-- comes back, version and log unbroken.
\pset format unaligned
\pset tuples_only on
\set VERBOSITY terse
SET timezone = 'UTC';
-- where a game is, and what it is
CREATE FUNCTION pg_temp.g(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT ('5a5a0000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.look(n int) RETURNS TABLE (tier text, status text, version bigint, state text, room text, players text[], moves bigint) LANGUAGE sql AS $$
SELECT tier, status, version, state::text, room_code, players, moves FROM gamestate.get_game(pg_temp.g(n)) WHERE game_id IS NOT NULL $$;
CREATE FUNCTION pg_temp.log(n int) RETURNS TABLE (version bigint, kind text, player text, event text) LANGUAGE sql AS $$
SELECT version, kind, player, event::text FROM gamestate.get_changes(pg_temp.g(n)) $$;
CREATE FUNCTION pg_temp.places(n int) RETURNS TABLE (live bigint, suspended bigint, games text) LANGUAGE sql AS $$
SELECT (SELECT count(*) FROM gamestate.list_live_games() WHERE game_id = pg_temp.g(n)),
       (SELECT count(*) FROM gamestate.suspended WHERE game_id = pg_temp.g(n)),
       (SELECT string_agg(tier, ',') FROM gamestate.games WHERE game_id = pg_temp.g(n)) $$;
-- there and back
SELECT gamestate.create_game('susp', '{"n":0}', '{ann,bob}', 'SUSP-1', '{"m":1}', pg_temp.g(1), max_players => 4) = pg_temp.g(1);
SELECT gamestate.apply_move(pg_temp.g(1), 1, '"a"', '{"n":1}', 'ann');
SELECT gamestate.feed_position() AS before \gset
SELECT gamestate.suspend_game(pg_temp.g(1));
SELECT * FROM pg_temp.look(1);
SELECT * FROM pg_temp.places(1);
SELECT gamestate.get_state(pg_temp.g(1)), gamestate.get_version(pg_temp.g(1)),
       gamestate.get_state_if_newer(pg_temp.g(1), 2), gamestate.get_state_if_newer(pg_temp.g(1), 3) IS NULL;
SELECT version, state FROM gamestate.get_states(ARRAY[pg_temp.g(1)]);
SELECT * FROM pg_temp.log(1);
SELECT gamestate.find_room('SUSP-1') IS NULL, (SELECT count(*) FROM gamestate.player_games('ann') p WHERE p = pg_temp.g(1));
SELECT status, encoding, durability, players, max_players, room_code, metadata, version, moves, reason, create_request,
       updated_at = suspended_at, deadline, format FROM gamestate.suspended WHERE game_id = pg_temp.g(1);
SELECT state, state_jsonb, state_bytes, metadata_jsonb FROM gamestate.suspended_games WHERE game_id = pg_temp.g(1);
SELECT tier, state, state_jsonb, result, ended_at FROM gamestate.games WHERE game_id = pg_temp.g(1);
SELECT gamestate.resume_game(pg_temp.g(1), 3);
SELECT * FROM pg_temp.look(1);
SELECT * FROM pg_temp.places(1);
SELECT * FROM pg_temp.log(1);
SELECT gamestate.find_room('SUSP-1') = pg_temp.g(1), (SELECT count(*) FROM gamestate.player_games('ann') p WHERE p = pg_temp.g(1));
SELECT metadata, max_players FROM gamestate.get_game(pg_temp.g(1));
SELECT gamestate.apply_move(pg_temp.g(1), 4, '"b"', '{"n":2}', 'bob');
SELECT version, kind, event, type FROM gamestate.wait_changes(:before, game_ids => ARRAY[pg_temp.g(1)], timeout => '0 s');
-- what does not fit
SELECT gamestate.resume_game(pg_temp.g(1));
SELECT gamestate.suspend_game(pg_temp.g(1), 1);
SELECT gamestate.suspend_game(pg_temp.g(99));
SELECT gamestate.resume_game(pg_temp.g(99));
SELECT gamestate.suspend_game(NULL);
SELECT gamestate.resume_game(NULL);
SELECT gamestate.suspend_game(pg_temp.g(1), 5);
SELECT gamestate.suspend_game(pg_temp.g(1));
SELECT gamestate.resume_game(pg_temp.g(1), 5);
\set VERBOSITY default
SELECT gamestate.apply_move(pg_temp.g(1), NULL, '1', '2');
SELECT gamestate.create_game('susp', game_id => pg_temp.g(1));
\set VERBOSITY terse
SELECT gamestate.set_metadata(pg_temp.g(1), '{}');
SELECT gamestate.finish_game(pg_temp.g(1));
SELECT ord, version, sqlstate, message FROM gamestate.apply_moves(ARRAY[pg_temp.g(1)], '{null}', '{1}', '{2}');
-- the room code: gone when somebody else has taken it
SELECT gamestate.create_game('susp', room_code => 'SUSP-1', game_id => pg_temp.g(2)) = pg_temp.g(2);
SELECT gamestate.resume_game(pg_temp.g(1));
SELECT room FROM pg_temp.look(1);
SELECT version, event FROM pg_temp.log(1) WHERE kind = 'resumed';
SELECT gamestate.find_room('SUSP-1') = pg_temp.g(2);
-- request ids: a retry is a retry wherever the game is by then
\set r '11111111-0000-4000-8000-00000000000'
SELECT gamestate.apply_move(pg_temp.g(1), NULL, '"r"', '{"n":3}', request_id => (:'r' || 1)::uuid) AS version \gset
SELECT gamestate.suspend_game(pg_temp.g(1), request_id => (:'r' || 2)::uuid) - :version;
SELECT gamestate.suspend_game(pg_temp.g(1), request_id => (:'r' || 2)::uuid) - :version;
SELECT gamestate.apply_move(pg_temp.g(1), NULL, '"r"', '{"n":3}', request_id => (:'r' || 1)::uuid) - :version;
SELECT gamestate.apply_move(pg_temp.g(1), NULL, '"x"', '{"n":3}', request_id => (:'r' || 1)::uuid);
SELECT version - :version, sqlstate FROM gamestate.apply_moves(ARRAY[pg_temp.g(1), pg_temp.g(1)], '{null,null}', '{"\"r\"",1}', '{"{\"n\":3}",2}',
	request_ids => ARRAY[(:'r' || 1)::uuid, (:'r' || 3)::uuid]);
SELECT gamestate.resume_game(pg_temp.g(1), request_id => (:'r' || 4)::uuid) - :version;
SELECT gamestate.resume_game(pg_temp.g(1), request_id => (:'r' || 4)::uuid) - :version;
SELECT gamestate.suspend_game(pg_temp.g(1), request_id => (:'r' || 2)::uuid) - :version;
SELECT gamestate.suspend_game(pg_temp.g(1)) - :version;
SELECT gamestate.resume_game(pg_temp.g(1), request_id => (:'r' || 4)::uuid) - :version;
SELECT tier FROM pg_temp.look(1);
-- the creation's, too
SELECT gamestate.create_game('susp', request_id => '01890a5d-ac96-774b-bcce-b302099a8057') AS made \gset
SELECT gamestate.create_game('susp', game_id => pg_temp.g(3), request_id => (:'r' || 5)::uuid) = pg_temp.g(3);
SELECT gamestate.suspend_game(pg_temp.g(3));
SELECT gamestate.create_game('susp', game_id => pg_temp.g(3), request_id => (:'r' || 5)::uuid) = pg_temp.g(3);
SELECT gamestate.create_game('susp', game_id => pg_temp.g(3), request_id => (:'r' || 6)::uuid);
SELECT create_request, create_arguments IS NOT NULL FROM gamestate.suspended WHERE game_id = pg_temp.g(3);
-- deleting a suspended game
SELECT gamestate.delete_game(pg_temp.g(3), 1);
SELECT gamestate.feed_position() AS before \gset
SELECT gamestate.delete_game(pg_temp.g(3), request_id => (:'r' || 7)::uuid);
SELECT gamestate.delete_game(pg_temp.g(3), request_id => (:'r' || 7)::uuid);
SELECT gamestate.delete_game(pg_temp.g(3));
SELECT count(*) FROM pg_temp.look(3);
SELECT * FROM pg_temp.places(3);
SELECT version, kind, type FROM gamestate.wait_changes(:before, game_ids => ARRAY[pg_temp.g(3)], timeout => '0 s');
SELECT gamestate.create_game('susp', game_id => pg_temp.g(3), request_id => (:'r' || 5)::uuid) = pg_temp.g(3);
SELECT count(*) FROM pg_temp.look(3);
SELECT gamestate.create_game('susp', '"new"', game_id => pg_temp.g(3)) = pg_temp.g(3);
SELECT tier, version, state FROM pg_temp.look(3);
-- bytes
SELECT gamestate.create_game_bytes('susp', '\x00ff', game_id => pg_temp.g(4)) = pg_temp.g(4);
SELECT gamestate.apply_move_bytes(pg_temp.g(4), 1, '\xfe', '\x01');
SELECT gamestate.suspend_game(pg_temp.g(4));
SELECT encoding, state, state_bytes FROM gamestate.games WHERE game_id = pg_temp.g(4);
SELECT gamestate.get_state(pg_temp.g(4));
SELECT gamestate.get_state_bytes(pg_temp.g(4));
SELECT version, kind, event, event_bytes FROM gamestate.get_changes(pg_temp.g(4));
SELECT gamestate.resume_game(pg_temp.g(4));
SELECT gamestate.get_state_bytes(pg_temp.g(4));
SELECT version, kind, event, event_bytes FROM gamestate.get_changes(pg_temp.g(4));
-- a waiting room is open again
SELECT gamestate.create_game('susp room', room_code => 'SUSP-5', game_id => pg_temp.g(5), status => 'waiting', max_players => 2) = pg_temp.g(5);
SELECT count(*) FROM gamestate.open_rooms('susp room');
SELECT gamestate.suspend_game(pg_temp.g(5));
SELECT count(*) FROM gamestate.open_rooms('susp room');
SELECT status, tier FROM pg_temp.look(5);
SELECT gamestate.resume_game(pg_temp.g(5));
SELECT count(*) FROM gamestate.open_rooms('susp room');
SELECT gamestate.join_game(pg_temp.g(5), 'ann');
-- several times in one transaction, with savepoints
SELECT gamestate.feed_position() AS before \gset
BEGIN;
SELECT gamestate.create_game('susp', '{"n":0}', game_id => pg_temp.g(6)) = pg_temp.g(6);
SELECT gamestate.suspend_game(pg_temp.g(6));
SELECT * FROM pg_temp.look(6);
SELECT gamestate.apply_move(pg_temp.g(6), NULL, '1', '2');
ROLLBACK;
SELECT count(*) FROM pg_temp.look(6);
BEGIN;
SELECT gamestate.create_game('susp', '{"n":0}', game_id => pg_temp.g(6)) = pg_temp.g(6);
SELECT gamestate.apply_move(pg_temp.g(6), 1, '1', '{"n":1}');
SELECT gamestate.suspend_game(pg_temp.g(6));
SELECT gamestate.get_state(pg_temp.g(6)), gamestate.get_version(pg_temp.g(6));
SELECT * FROM pg_temp.places(6);
SAVEPOINT s;
SELECT gamestate.resume_game(pg_temp.g(6));
SELECT gamestate.apply_move(pg_temp.g(6), 4, '2', '{"n":2}');
SELECT * FROM pg_temp.look(6);
SELECT * FROM pg_temp.places(6);
ROLLBACK TO s;
SELECT * FROM pg_temp.look(6);
SELECT version, state FROM gamestate.get_states(ARRAY[pg_temp.g(6)]);
COMMIT;
SELECT * FROM pg_temp.look(6);
SELECT * FROM pg_temp.places(6);
SELECT version, kind FROM gamestate.wait_changes(:before, game_ids => ARRAY[pg_temp.g(6)], timeout => '0 s');
SELECT gamestate.feed_position() AS before \gset
BEGIN;
SELECT gamestate.resume_game(pg_temp.g(6));
SAVEPOINT s;
SELECT gamestate.apply_move(pg_temp.g(6), NULL, '2', '{"n":2}');
SELECT gamestate.suspend_game(pg_temp.g(6));
SELECT gamestate.resume_game(pg_temp.g(6));
SAVEPOINT t;
SELECT gamestate.suspend_game(pg_temp.g(6));
SELECT * FROM pg_temp.look(6);
ROLLBACK TO t;
SELECT * FROM pg_temp.look(6);
COMMIT;
SELECT * FROM pg_temp.look(6);
SELECT * FROM pg_temp.log(6);
SELECT * FROM pg_temp.places(6);
SELECT version, kind FROM gamestate.wait_changes(:before, game_ids => ARRAY[pg_temp.g(6)], timeout => '0 s');
SELECT gamestate.feed_position() AS before \gset
BEGIN;
SELECT gamestate.apply_move(pg_temp.g(6), NULL, '3', '{"n":3}');
SELECT gamestate.suspend_game(pg_temp.g(6));
SELECT gamestate.resume_game(pg_temp.g(6));
SELECT gamestate.suspend_game(pg_temp.g(6));
COMMIT;
SELECT * FROM pg_temp.look(6);
SELECT gamestate.resume_game(pg_temp.g(6));
SELECT * FROM pg_temp.log(6);
SELECT version, kind FROM gamestate.wait_changes(:before, game_ids => ARRAY[pg_temp.g(6)], timeout => '0 s');
-- resumed and deleted, suspended and deleted
BEGIN;
SELECT gamestate.suspend_game(pg_temp.g(6));
SELECT gamestate.delete_game(pg_temp.g(6));
SELECT count(*) FROM pg_temp.look(6);
ROLLBACK;
SELECT tier, version FROM pg_temp.look(6);
BEGIN;
SELECT gamestate.suspend_game(pg_temp.g(6));
SELECT gamestate.delete_game(pg_temp.g(6));
COMMIT;
SELECT count(*) FROM pg_temp.look(6);
SELECT gamestate.suspend_game(pg_temp.g(1)) IS NULL;
BEGIN;
SELECT gamestate.resume_game(pg_temp.g(1)) > 0;
SELECT gamestate.delete_game(pg_temp.g(1));
COMMIT;
SELECT count(*) FROM pg_temp.look(1);
SELECT * FROM pg_temp.places(1);
-- an old snapshot does not hide from a writer where the game is
CREATE EXTENSION IF NOT EXISTS dblink;
SELECT format('dbname=%s host=%s port=%s user=%s', current_database(), split_part(current_setting('unix_socket_directories'), ',', 1),
	current_setting('port'), current_user) AS conn \gset
SELECT gamestate.create_game('susp', '{"n":0}', game_id => pg_temp.g(7), room_code => 'SUSP-7') = pg_temp.g(7);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM pg_temp.places(7);
SELECT v FROM dblink(:'conn', format('SELECT gamestate.suspend_game(%L)', pg_temp.g(7))) d(v bigint);
SELECT * FROM pg_temp.places(7);
SELECT tier, version FROM pg_temp.look(7);
SELECT gamestate.create_game('susp', room_code => 'SUSP-7') IS NOT NULL;
SELECT gamestate.resume_game(pg_temp.g(7));
SELECT * FROM pg_temp.places(7);
SELECT tier, version, room FROM pg_temp.look(7);
COMMIT;
SELECT * FROM pg_temp.places(7);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM pg_temp.places(7);
SELECT v FROM dblink(:'conn', format('SELECT gamestate.suspend_game(%L)', pg_temp.g(7))) d(v bigint);
SELECT v FROM dblink(:'conn', format('SELECT gamestate.resume_game(%L)', pg_temp.g(7))) d(v bigint);
SELECT * FROM pg_temp.places(7);
SELECT tier, version FROM pg_temp.look(7);
COMMIT;
SELECT gamestate.suspend_game(pg_temp.g(7));
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM pg_temp.places(7);
SELECT v FROM dblink(:'conn', format('SELECT gamestate.resume_game(%L)', pg_temp.g(7))) d(v bigint);
SELECT * FROM pg_temp.places(7);
SELECT tier, version FROM pg_temp.look(7);
SELECT v FROM dblink(:'conn', format('SELECT gamestate.suspend_game(%L)', pg_temp.g(7))) d(v bigint);
SELECT * FROM pg_temp.places(7);
COMMIT;
SELECT * FROM pg_temp.places(7);
-- policy: the next move resumes it; one that is refused does not
INSERT INTO gamestate.policy (game_type, resume_on_move) VALUES ('susp move', true);
SELECT gamestate.create_game('susp move', '{"n":0}', '{ann}', game_id => pg_temp.g(8)) = pg_temp.g(8);
SELECT gamestate.suspend_game(pg_temp.g(8));
SELECT gamestate.apply_move(pg_temp.g(8), 1, '1', '2');
SELECT gamestate.apply_move(pg_temp.g(8), 2, '1', '2', 'bob');
SELECT gamestate.set_metadata(pg_temp.g(8), '{}');
SELECT tier, version FROM pg_temp.look(8);
SELECT ord, version, sqlstate FROM gamestate.apply_moves(array_fill(pg_temp.g(8), '{3}'), '{1,2,4}', '{1,2,3}', '{1,2,3}', '{ann,ann,ann}');
SELECT * FROM pg_temp.log(8);
SELECT gamestate.suspend_game(pg_temp.g(8));
SELECT gamestate.apply_patch(pg_temp.g(8), 6, '4', '{"p":1}', 'ann', request_id => (:'r' || 8)::uuid);
SELECT gamestate.apply_patch(pg_temp.g(8), 6, '4', '{"p":1}', 'ann', request_id => (:'r' || 8)::uuid);
SELECT * FROM pg_temp.look(8);
-- the table is not for game servers, what it holds is checked
SELECT gamestate.suspend_game(pg_temp.g(8));
UPDATE gamestate.suspended SET checksum = checksum + 1 WHERE game_id = pg_temp.g(8);
SELECT gamestate.resume_game(pg_temp.g(8));
SELECT gamestate.get_state(pg_temp.g(8));
SELECT state FROM gamestate.suspended_games WHERE game_id = pg_temp.g(8);
UPDATE gamestate.suspended SET checksum = checksum - 1, version = 7 WHERE game_id = pg_temp.g(8);
SELECT gamestate.resume_game(pg_temp.g(8));
UPDATE gamestate.suspended SET version = 9, players = '{ann,NULL}' WHERE game_id = pg_temp.g(8);
SELECT gamestate.resume_game(pg_temp.g(8));
UPDATE gamestate.suspended SET players = '{ann}', status = 'finished' WHERE game_id = pg_temp.g(8);
UPDATE gamestate.suspended SET players = '{ann}' WHERE game_id = pg_temp.g(8);
SELECT gamestate.resume_game(pg_temp.g(8));
CREATE FUNCTION pg_temp.drop_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER mine BEFORE INSERT OR DELETE ON gamestate.suspended FOR EACH ROW EXECUTE FUNCTION pg_temp.drop_row();
SELECT gamestate.suspend_game(pg_temp.g(8));
DROP TRIGGER mine ON gamestate.suspended;
SELECT tier, version FROM pg_temp.look(8);
BEGIN;
ALTER TABLE gamestate.suspended ALTER COLUMN create_arguments TYPE integer;
SELECT gamestate.suspend_game(pg_temp.g(8));
ROLLBACK;
DELETE FROM gamestate.policy WHERE game_type = 'susp move';
SELECT count(gamestate.delete_game(game_id)) FROM gamestate.games WHERE game_type LIKE 'susp%';
DROP EXTENSION dblink;

-- history goes along: each state is there while it is suspended and afterwards
SELECT gamestate.create_game('history', '{"n": 0}', game_id => '5a5a0000-0000-4000-8000-0000000000f1');
SELECT gamestate.apply_move('5a5a0000-0000-4000-8000-0000000000f1', NULL, '1', '{"n": 1}'),
	gamestate.apply_move('5a5a0000-0000-4000-8000-0000000000f1', NULL, '2', '{"n": 2}');
SELECT gamestate.suspend_game('5a5a0000-0000-4000-8000-0000000000f1');
SELECT v, gamestate.state_at('5a5a0000-0000-4000-8000-0000000000f1', v) FROM generate_series(1, 5) v;
SELECT gamestate.resume_game('5a5a0000-0000-4000-8000-0000000000f1');
SELECT gamestate.apply_move('5a5a0000-0000-4000-8000-0000000000f1', NULL, '3', '{"n": 3}');
SELECT v, gamestate.state_at('5a5a0000-0000-4000-8000-0000000000f1', v) FROM generate_series(1, 6) v;
BEGIN;
SELECT gamestate.suspend_game('5a5a0000-0000-4000-8000-0000000000f1');
SELECT gamestate.resume_game('5a5a0000-0000-4000-8000-0000000000f1');
SELECT gamestate.apply_move('5a5a0000-0000-4000-8000-0000000000f1', NULL, '4', '{"n": 4}');
SELECT gamestate.restore_game('5a5a0000-0000-4000-8000-0000000000f1', 2);
SELECT v, gamestate.state_at('5a5a0000-0000-4000-8000-0000000000f1', v) FROM generate_series(1, 10) v;
COMMIT;
SELECT v, gamestate.state_at('5a5a0000-0000-4000-8000-0000000000f1', v) FROM generate_series(1, 10) v;
SELECT gamestate.delete_game('5a5a0000-0000-4000-8000-0000000000f1');
