-- gamestate.policy: rows for game types, plain SQL, in force at once.
\pset format unaligned
\pset tuples_only on
\set VERBOSITY terse
-- A game's durability shows in gamestate.saved_games.
CREATE FUNCTION pg_temp.types() RETURNS TABLE (game_type text, durability text) LANGUAGE sql AS $$
SELECT game_type, durability FROM gamestate.saved_games WHERE game_type LIKE 'policy%'
 ORDER BY game_type COLLATE "C", durability $$;
CREATE PROCEDURE pg_temp.save() LANGUAGE plpgsql AS $$
BEGIN
	PERFORM gamestate.save_live_games();
END $$;
CREATE PROCEDURE pg_temp.forget() LANGUAGE plpgsql AS $$
BEGIN
	PERFORM gamestate.delete_game(game_id) FROM gamestate.list_live_games(with_state => false) WHERE game_type LIKE 'policy%';
END $$;
-- what a row may say
TABLE gamestate.policy;
INSERT INTO gamestate.policy (game_type) VALUES ('policy default') RETURNING game_type, durability;
INSERT INTO gamestate.policy VALUES (repeat('x', 64));
INSERT INTO gamestate.policy VALUES (repeat('é', 32));
INSERT INTO gamestate.policy VALUES ('policy x', 'disk');
INSERT INTO gamestate.policy VALUES (NULL, 'memory');
INSERT INTO gamestate.policy VALUES ('policy default', 'memory');
INSERT INTO gamestate.policy VALUES (repeat('y', 63), 'memory');
-- a type with a row follows it, one without the setting
INSERT INTO gamestate.policy VALUES ('policy memory', 'memory');
SELECT count(gamestate.create_game(t)) FROM unnest('{policy default,policy memory,policy none,policy memor,Policy memory}'::text[]) t;
SET gamestate.durability = 'memory';
SELECT count(gamestate.create_game(t)) FROM unnest('{policy default,policy memory,policy none}'::text[]) t;
RESET gamestate.durability;
CALL pg_temp.save();
SELECT * FROM pg_temp.types();
CALL pg_temp.forget();
-- bytes too
SELECT count(gamestate.create_game_bytes('policy memory'));
CALL pg_temp.save();
SELECT * FROM pg_temp.types();
CALL pg_temp.forget();
-- the row of the empty type is the default of all, column by column
INSERT INTO gamestate.policy VALUES ('', 'memory'), ('policy journal', 'journal');
SELECT count(gamestate.create_game(t)) FROM unnest('{policy default,policy journal,policy memory,policy none}'::text[]) t;
DELETE FROM gamestate.policy WHERE game_type IN ('', 'policy journal');
SELECT count(gamestate.create_game('policy none')), count(gamestate.create_game('policy default'));
CALL pg_temp.save();
SELECT * FROM pg_temp.types();
CALL pg_temp.forget();
-- one's own change holds at once; rolled back it never was
BEGIN;
UPDATE gamestate.policy SET durability = 'memory' WHERE game_type = 'policy default';
SELECT count(gamestate.create_game('policy default', '"1"'));
SAVEPOINT s;
DELETE FROM gamestate.policy;
SELECT count(gamestate.create_game('policy memory', '"2"'));
ROLLBACK TO s;
SELECT count(gamestate.create_game('policy memory', '"3"'));
COMMIT;
CALL pg_temp.save();
SELECT * FROM pg_temp.types();
CALL pg_temp.forget();
BEGIN;
TRUNCATE gamestate.policy;
SELECT count(gamestate.create_game('policy memory'));
ROLLBACK;
SELECT count(gamestate.create_game('policy memory'));
CALL pg_temp.save();
SELECT * FROM pg_temp.types();
CALL pg_temp.forget();
-- each kind of change is noticed
TRUNCATE gamestate.policy;
SELECT count(gamestate.create_game('policy memory'));
COPY gamestate.policy (game_type, durability) FROM stdin;
policy copied	memory
\.
SELECT count(gamestate.create_game('policy copied'));
UPDATE gamestate.policy SET game_type = 'policy renamed';
SELECT count(gamestate.create_game(t)) FROM unnest('{policy copied,policy renamed}'::text[]) t;
SET session_replication_role = replica;
UPDATE gamestate.policy SET durability = 'journal';
SELECT count(gamestate.create_game('policy renamed'));
RESET session_replication_role;
MERGE INTO gamestate.policy p USING (VALUES ('policy merged')) v(t) ON p.game_type = v.t
 WHEN NOT MATCHED THEN INSERT VALUES (t, 'memory');
SELECT count(gamestate.create_game('policy merged'));
CALL pg_temp.save();
SELECT * FROM pg_temp.types();
CALL pg_temp.forget();
-- a change in another session holds in a transaction that has begun before, in every isolation level
CREATE EXTENSION IF NOT EXISTS dblink;
TRUNCATE gamestate.policy;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(gamestate.create_game('policy elsewhere'));
SELECT dblink_exec(format('dbname=%s host=%s port=%s user=%s', current_database(),
	split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_user),
	$$INSERT INTO gamestate.policy VALUES ('policy elsewhere', 'memory')$$);
SELECT count(gamestate.create_game('policy elsewhere'));
TABLE gamestate.policy;
COMMIT;
CALL pg_temp.save();
SELECT * FROM pg_temp.types();
CALL pg_temp.forget();
-- the trigger's function is for the trigger
CREATE TEMP TABLE policy_other (x int);
CREATE TRIGGER t BEFORE INSERT ON policy_other FOR EACH ROW EXECUTE FUNCTION gamestate.policy_changed();
INSERT INTO policy_other VALUES (1);
-- columns may be added, not taken away
ALTER TABLE gamestate.policy ADD COLUMN mine text DEFAULT 'x';
SELECT count(gamestate.create_game('policy elsewhere'));
ALTER TABLE gamestate.policy DROP COLUMN mine;
ALTER TABLE gamestate.policy DROP COLUMN durability;
SELECT count(gamestate.create_game('policy elsewhere'));
CALL pg_temp.save();
SELECT * FROM pg_temp.types();
CALL pg_temp.forget();
-- the archiver's queue
INSERT INTO gamestate.policy (game_type, archive_batch) VALUES ('policy x', 0);
INSERT INTO gamestate.policy (game_type, archive_batch) VALUES ('policy x', 2001);
INSERT INTO gamestate.policy (game_type, archive_priority) VALUES ('policy x', 10);
INSERT INTO gamestate.policy (game_type, archive_attempts) VALUES ('policy x', -1);
INSERT INTO gamestate.policy (game_type, archive_batch, archive_priority, archive_attempts) VALUES ('policy x', 2000, -9, 0);
-- times of games in memory, and what holds in the end
INSERT INTO gamestate.policy (game_type, archive_delay) VALUES ('policy times', '-1 s');
INSERT INTO gamestate.policy (game_type, inactivity_limit) VALUES ('policy times', '0.5 s');
INSERT INTO gamestate.policy (game_type, inactivity_action) VALUES ('policy times', 'delete');
INSERT INTO gamestate.policy (game_type, suspended_after) VALUES ('policy times', '-1 s');
TRUNCATE gamestate.policy;
INSERT INTO gamestate.policy (game_type, inactivity_limit, inactivity_action, archive_delay) VALUES ('', '1 year', 'suspend', '1 hour'),
	('policy times', '1 day', NULL, NULL);
SELECT game_type, durability, archive_delay, inactivity_limit, inactivity_action, resume_on_move, suspend_on_pressure, suspended_after, compression_level, retention_action
  FROM gamestate.effective_policies ORDER BY 1;
TRUNCATE gamestate.policy;
SELECT count(*), string_agg(inactivity_action, ',') FROM gamestate.effective_policies;
-- each column of a policy is among them
SELECT attname FROM pg_attribute WHERE attrelid = 'gamestate.policy'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'mine'
EXCEPT
SELECT attname FROM pg_attribute WHERE attrelid = 'gamestate.effective_policies'::regclass;
TRUNCATE gamestate.policy, gamestate.saved_games;
DROP EXTENSION dblink;
