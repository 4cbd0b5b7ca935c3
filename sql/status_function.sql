-- What each function answers in each status of a game.
--
-- Every cell is one call on a game of that status, undone afterwards.
-- "version + 1" is a change, "version" is a success without a change.
\pset null (null)
\pset border 2
CREATE TEMP TABLE subject (ord serial, status text, id uuid);
INSERT INTO subject (status, id)
SELECT s, ('57a70000-0000-4000-8000-00000000000' || ord)::uuid
  FROM unnest('{waiting,active,finished,abandoned,archived,unknown,suspended}'::text[])
       WITH ORDINALITY AS u(s, ord);
CREATE TEMP TABLE function_call (ord serial, name text, call text);
INSERT INTO function_call (name, call) VALUES
('create_game',             $$SELECT 'created' FROM gamestate.create_game('st', game_id => $1)$$),
('apply_move',              $$SELECT gamestate.apply_move($1, NULL, '1', '2')$$),
('set_metadata',            $$SELECT gamestate.set_metadata($1, '{}')$$),
('set_room_code',           $$SELECT gamestate.set_room_code($1, 'ST-NEW')$$),
('set_room_code NULL',      $$SELECT gamestate.set_room_code($1, NULL)$$),
('start_game',              $$SELECT gamestate.start_game($1)$$),
('join_game',               $$SELECT gamestate.join_game($1, 'new')$$),
('join_game, sits',         $$SELECT gamestate.join_game($1, 'player-' || $1)$$),
('leave_game',              $$SELECT gamestate.leave_game($1, 'player-' || $1)$$),
('leave_game, sits not',    $$SELECT gamestate.leave_game($1, 'new')$$),
('finish_game',             $$SELECT gamestate.finish_game($1)$$),
('finish_game abandoned',   $$SELECT gamestate.finish_game($1, status => 'abandoned')$$),
('suspend_game',            $$SELECT gamestate.suspend_game($1)$$),
('resume_game',             $$SELECT gamestate.resume_game($1)$$),
('delete_game',             $$SELECT gamestate.delete_game($1)$$),
('get_game',                $$SELECT status FROM gamestate.get_game($1)$$),
('get_state',               $$SELECT gamestate.get_state($1)$$),
('get_version',             $$SELECT gamestate.get_version($1)$$),
('get_changes',             $$SELECT count(*) || ' rows' FROM gamestate.get_changes($1)$$),
('find_room',               $$SELECT CASE gamestate.find_room('st-' || left($1::text, 8) || right($1::text, 1))
                                     WHEN $1 THEN 'found' END$$),
('player_games',            $$SELECT count(*) || ' rows' FROM gamestate.player_games('player-' || $1) p WHERE p = $1$$),
('list_live_games',         $$SELECT count(*) || ' rows' FROM gamestate.list_live_games('st') WHERE game_id = $1$$);
-- brings a game to a status by the shortest way
CREATE FUNCTION pg_temp.bring(id uuid, status text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF status = 'unknown' THEN
        RETURN;
    END IF;
    PERFORM gamestate.create_game('st', '"s"', ARRAY['player-' || id],
                                  'st-' || left(id::text, 8) || right(id::text, 1), game_id => id,
                                  status => CASE status WHEN 'waiting' THEN 'waiting' ELSE 'active' END);
    IF status IN ('finished', 'archived') THEN
        PERFORM gamestate.finish_game(id);
    ELSIF status = 'suspended' THEN
        PERFORM gamestate.suspend_game(id);
    ELSIF status = 'abandoned' THEN
        PERFORM gamestate.finish_game(id, status => 'abandoned');
    END IF;
END $$;
CREATE FUNCTION pg_temp.cell(id uuid, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    before  bigint := gamestate.get_version(id);
    log     text := (SELECT string_agg(c::text, ',') FROM gamestate.get_changes(id) c);
    answer  text;
BEGIN
    BEGIN
        EXECUTE call INTO answer USING id;
        RAISE EXCEPTION USING ERRCODE = 'UNDO0';
    EXCEPTION
        WHEN SQLSTATE 'UNDO0' THEN
            answer := CASE WHEN answer = (before + 1)::text THEN 'version + 1'
                           WHEN answer = before::text THEN 'version'
                           ELSE answer END;
        WHEN OTHERS THEN
            answer := SQLSTATE;
    END;
    IF gamestate.get_version(id) IS DISTINCT FROM before
       OR (SELECT string_agg(c::text, ',') FROM gamestate.get_changes(id) c) IS DISTINCT FROM log THEN
        RETURN answer || ', NOT UNDONE';
    END IF;
    RETURN answer;
END $$;
SELECT pg_temp.bring(id, status) FROM subject WHERE status = 'archived' \g /dev/null
DO $$
BEGIN
    FOR i IN 1 .. 1000 LOOP
        EXIT WHEN (SELECT (gamestate.get_game(id)).tier FROM subject WHERE status = 'archived') = 'archived';
        PERFORM pg_sleep(0.02);
        COMMIT;
    END LOOP;
END $$;
-- finished and abandoned games must stay in memory, so the archiver has to
-- stop: once it leaves a finished game alone, it has
ALTER SYSTEM SET gamestate.archiver = off;
SELECT pg_reload_conf();
DO $$
DECLARE
    probe   uuid;
BEGIN
    FOR i IN 1 .. 20 LOOP
        probe := gamestate.create_game('probe');
        PERFORM gamestate.finish_game(probe);
        COMMIT;
        PERFORM pg_sleep(0.3);
        COMMIT;
        EXIT WHEN (gamestate.get_game(probe)).tier = 'live';
    END LOOP;
END $$;
SELECT pg_temp.bring(id, status) FROM subject WHERE status <> 'archived' \g /dev/null
SELECT status, (gamestate.get_game(id)).tier, (gamestate.get_game(id)).status AS "get_game.status"
  FROM subject ORDER BY ord;
SELECT f.name AS function, s.status, pg_temp.cell(s.id, f.call) AS cell, s.ord
  FROM function_call f, subject s
 ORDER BY f.ord, s.ord
\crosstabview function status cell ord
-- the same when the game was brought to its status by this very transaction
BEGIN;
CREATE TEMP TABLE own (LIKE subject) ON COMMIT DROP;
INSERT INTO own SELECT ord, status, ('57a70001' || right(id::text, -8))::uuid FROM subject
 WHERE status <> 'archived';
SELECT pg_temp.bring(id, status) FROM own \g /dev/null
SELECT f.name AS function, s.status, pg_temp.cell(s.id, f.call) AS committed, pg_temp.cell(o.id, f.call) AS own
  FROM function_call f, subject s JOIN own o USING (status)
 WHERE pg_temp.cell(s.id, f.call) IS DISTINCT FROM pg_temp.cell(o.id, f.call);
ROLLBACK;
SELECT count(*) FROM gamestate.list_live_games('st') WHERE game_id::text LIKE '57a70001%';
ALTER SYSTEM RESET gamestate.archiver;
SELECT pg_reload_conf();
-- the archived game is still as it was, the others leave
SELECT gamestate.get_version(id) FROM subject WHERE status = 'archived';
SELECT status, gamestate.delete_game(id) FROM subject WHERE status IN ('waiting', 'active', 'suspended') ORDER BY ord;
