-- The journal's tables are written by nobody but the extension, whoever asks.
\pset format unaligned
\pset tuples_only on
CREATE TABLE other (seq bigint, idx integer, cnt integer, data bytea);
CREATE FUNCTION extra() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE FUNCTION attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	EXECUTE command;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ' ' || split_part(detail, ':', 1);
END$$;

SELECT gamestate.create_game('tables', '"running"', game_id => 'a0000000-0000-4000-8000-000000000001');

-- The whole error, once; then only the first words
INSERT INTO gamestate.journal_0 VALUES (1, 0, 1, '');
\set VERBOSITY terse

-- Rows
SELECT attempt(c.command), c.command FROM (VALUES (1,
	'INSERT INTO gamestate.journal_1 VALUES (1, 0, 1, $a$$a$)'), (2,
	'INSERT INTO gamestate.journal_0 SELECT * FROM gamestate.journal_1'), (3,
	'UPDATE gamestate.journal_0 SET seq = seq'), (4,
	'DELETE FROM gamestate.journal_0'), (5,
	'DELETE FROM ONLY gamestate.journal_1 USING other'), (6,
	'WITH gone AS (DELETE FROM gamestate.journal_0 RETURNING *) INSERT INTO other SELECT * FROM gone'), (7,
	'MERGE INTO gamestate.journal_0 j USING other ON j.seq = other.seq WHEN MATCHED THEN DELETE'), (8,
	'SELECT FROM gamestate.journal_0 FOR UPDATE'), (9,
	'SELECT FROM gamestate.journal_0 JOIN other USING (seq) FOR KEY SHARE OF journal_0'), (10,
	'EXPLAIN ANALYZE DELETE FROM gamestate.journal_0'), (11,
	'TRUNCATE gamestate.journal_0'), (12,
	'TRUNCATE other, gamestate.journal_1 CASCADE')) AS c(ord, command) ORDER BY ord;
\copy gamestate.journal_0 FROM '/dev/null'
PREPARE removal AS DELETE FROM gamestate.journal_0;
EXECUTE removal;
-- through a view
CREATE VIEW journal_view AS SELECT * FROM gamestate.journal_0;
DELETE FROM journal_view;
DROP VIEW journal_view;
-- by name alone
SET search_path = gamestate;
DELETE FROM journal_0;
RESET search_path;

-- Definitions
SELECT attempt(c.command), c.command FROM (VALUES (1,
	'DROP TABLE gamestate.journal_0'), (2,
	'DROP TABLE gamestate.journal_0 CASCADE'), (3,
	'ALTER TABLE gamestate.journal_0 RENAME TO j'), (4,
	'ALTER INDEX gamestate.journal_0 RENAME TO j'), (5,
	'ALTER TABLE gamestate.journal_0 RENAME COLUMN seq TO s'), (6,
	'ALTER TABLE gamestate.journal_0 SET SCHEMA public'), (7,
	'ALTER TABLE gamestate.journal_0 SET UNLOGGED'), (8,
	'ALTER TABLE gamestate.journal_0 ADD COLUMN extra int'), (9,
	'ALTER TABLE gamestate.journal_0 DROP COLUMN data'), (10,
	'ALTER TABLE gamestate.journal_0 ALTER COLUMN idx TYPE bigint'), (11,
	'ALTER TABLE gamestate.journal_0 ALTER COLUMN seq DROP NOT NULL'), (12,
	'ALTER TABLE gamestate.journal_0 ALTER COLUMN seq SET DEFAULT 0'), (13,
	'ALTER TABLE gamestate.journal_0 ALTER COLUMN data SET STORAGE EXTENDED'), (14,
	'ALTER TABLE gamestate.journal_0 ADD CHECK (seq > 0)'), (15,
	'ALTER TABLE gamestate.journal_0 ADD PRIMARY KEY (seq, idx)'), (16,
	'ALTER TABLE gamestate.journal_0 SET (autovacuum_enabled = on), ADD UNIQUE (seq)'), (17,
	'ALTER TABLE gamestate.journal_0 REPLICA IDENTITY FULL'), (18,
	'ALTER TABLE gamestate.journal_0 DISABLE TRIGGER ALL'), (19,
	'ALTER TABLE gamestate.journal_0 ENABLE ROW LEVEL SECURITY'), (20,
	'ALTER TABLE gamestate.journal_0 OF gamestate.game'), (21,
	'CREATE INDEX ON gamestate.journal_0 (seq)'), (22,
	'CREATE TRIGGER extra AFTER INSERT ON gamestate.journal_0 EXECUTE FUNCTION extra()'), (23,
	'DROP TRIGGER keep_out_replicated_rows ON gamestate.journal_0'), (24,
	'CREATE RULE extra AS ON INSERT TO gamestate.journal_0 DO INSTEAD NOTHING'), (25,
	'CREATE POLICY extra ON gamestate.journal_0'), (26,
	'CREATE TABLE child () INHERITS (gamestate.journal_0)'), (27,
	'ALTER TABLE other INHERIT gamestate.journal_0'), (28,
	'ALTER TABLE gamestate.journal_0 INHERIT other'), (29,
	'CREATE TABLE parent (LIKE other) PARTITION BY RANGE (seq)'), (30,
	'ALTER TABLE parent ATTACH PARTITION gamestate.journal_0 DEFAULT'), (31,
	'CLUSTER gamestate.journal_0'), (32,
	'CREATE PUBLICATION p FOR TABLE other, gamestate.journal_0'), (33,
	'CREATE PUBLICATION p FOR TABLE other'), (34,
	'ALTER PUBLICATION p ADD TABLE gamestate.journal_1'), (35,
	'ALTER PUBLICATION p SET TABLE gamestate.journal_1'), (36,
	'ALTER EXTENSION gamestate DROP TABLE gamestate.journal_0'), (37,
	'ALTER EXTENSION gamestate DROP FUNCTION gamestate.get_version(uuid)'), (38,
	'ALTER EXTENSION gamestate SET SCHEMA public'), (39,
	'ALTER SCHEMA gamestate RENAME TO g'), (40,
	'ALTER SCHEMA gamestate_partitions RENAME TO g'), (41,
	'DROP SCHEMA gamestate CASCADE'), (42,
	'DROP OWNED BY gamestate_owner CASCADE'), (43,
	'ALTER TRIGGER keep_out_replicated_rows ON gamestate.journal_0 DEPENDS ON EXTENSION plpgsql'), (44,
	'ALTER TRIGGER keep_out_replicated_rows ON gamestate.journal_0 RENAME TO t'), (45,
	'DROP TRIGGER keep_out_replicated_truncate ON gamestate.journal_1'), (46,
	'ALTER TABLE gamestate.journal_0 SET ACCESS METHOD heap'), (47,
	'ALTER TABLE gamestate.journal_0 ALTER COLUMN data SET COMPRESSION pglz'), (48,
	'ALTER TABLE gamestate.journal_0 ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY'), (49,
	'ALTER FOREIGN TABLE gamestate.journal_0 ADD COLUMN extra int'), (50,
	'ALTER TYPE gamestate.journal_0 ADD ATTRIBUTE extra int'), (51,
	'CREATE TABLE child PARTITION OF gamestate.journal_0 DEFAULT'), (52,
	'CREATE PUBLICATION p2 FOR TABLE ONLY gamestate.journal_0 (seq)'), (53,
	'CREATE PUBLICATION p2 FOR TABLE other, ONLY gamestate.journal_0 WHERE (seq > 0)'), (54,
	'ALTER EXTENSION gamestate ADD TABLE other'), (55,
	'ALTER TABLE gamestate.saved_games RENAME TO s'), (56,
	'ALTER TABLE gamestate.archive SET SCHEMA public'), (57,
	'ALTER TABLE gamestate.archive RENAME COLUMN result TO r'), (58,
	'ALTER ROLE gamestate_owner RENAME TO g'), (59,
	'REASSIGN OWNED BY gamestate_owner TO CURRENT_USER'), (60,
	'ALTER SCHEMA gamestate_partitions OWNER TO CURRENT_USER'), (61,
	'ALTER TABLE gamestate.archive OWNER TO CURRENT_USER'), (62,
	'ALTER SEQUENCE gamestate.lease_epoch OWNER TO CURRENT_USER')) AS c(ord, command) ORDER BY ord;
DROP TABLE parent;
DROP PUBLICATION p;

-- What works: reading, and what keeps rows as they are
CREATE ROLE journal_reader;
SELECT attempt(c.command), c.command FROM (VALUES (1,
	'SELECT FROM gamestate.journal_0'), (2,
	'LOCK TABLE gamestate.journal_0'), (3,
	'ANALYZE gamestate.journal_0'), (4,
	'REINDEX TABLE gamestate.journal_0'), (5,
	'COMMENT ON COLUMN gamestate.journal_0.idx IS $$a comment$$'), (6,
	'CREATE STATISTICS extra ON seq, idx FROM gamestate.journal_0'), (7,
	'DROP STATISTICS extra'), (8,
	'ALTER TABLE gamestate.journal_0 SET (autovacuum_vacuum_threshold = 10)'), (9,
	'ALTER TABLE gamestate.journal_0 RESET (autovacuum_vacuum_threshold)'), (10,
	'ALTER TABLE gamestate.journal_0 ALTER COLUMN seq SET STATISTICS 10'), (11,
	'ALTER TABLE gamestate.journal_0 ALTER COLUMN seq SET STATISTICS -1'), (12,
	'ALTER TABLE gamestate.journal_0 SET LOGGED'), (13,
	'ALTER TABLE gamestate.journal_0 SET TABLESPACE pg_default'), (14,
	'EXPLAIN (COSTS OFF) DELETE FROM gamestate.journal_0'), (15,
	'GRANT ALL ON gamestate.journal_0 TO journal_reader'), (16,
	'ALTER TABLE gamestate.journal_0 OWNER TO journal_reader')) AS c(ord, command) ORDER BY ord;
-- neither a right nor owning it lets anybody write there
GRANT USAGE ON SCHEMA gamestate TO journal_reader;
SET ROLE journal_reader;
SELECT count(*) >= 0 AS can_read FROM gamestate.journal_0;
DELETE FROM gamestate.journal_0;
TRUNCATE gamestate.journal_0;
ALTER TABLE gamestate.journal_0 ADD COLUMN extra int;
SET gamestate.allow_journal_changes = on;
RESET ROLE;
DO $$BEGIN EXECUTE format('ALTER TABLE gamestate.journal_0 OWNER TO %I', current_user); END$$;
REVOKE ALL ON gamestate.journal_0 FROM journal_reader;
REVOKE USAGE ON SCHEMA gamestate FROM journal_reader;
DROP ROLE journal_reader;

-- Other tables of that name are anybody's
CREATE SCHEMA elsewhere;
CREATE TABLE elsewhere.journal_0 (seq bigint);
INSERT INTO elsewhere.journal_0 VALUES (1);
TRUNCATE elsewhere.journal_0;
ALTER TABLE elsewhere.journal_0 RENAME TO journal_2;
DROP SCHEMA elsewhere CASCADE;

-- A superuser who has to; what breaks the table is found at the next change of a game
BEGIN;
SET LOCAL gamestate.allow_journal_changes = on;
UPDATE gamestate.journal_0 SET seq = seq;
ALTER TABLE gamestate.journal_0 SET UNLOGGED;
ALTER TABLE gamestate.journal_1 SET UNLOGGED;
RESET gamestate.allow_journal_changes;
SELECT gamestate.apply_move('a0000000-0000-4000-8000-000000000001', 1, '1', '"moved"');
\set VERBOSITY default
COMMIT;
\set VERBOSITY terse
SELECT gamestate.apply_move('a0000000-0000-4000-8000-000000000001', 1, '1', '"moved"');
SELECT gamestate.delete_game('a0000000-0000-4000-8000-000000000001');
DROP TABLE other;
DROP FUNCTION extra, attempt;
