-- What the benchmark compares gamestate with.  psql variable: noop, the path of
-- gs_noop.so.
\set ON_ERROR_STOP on

CREATE EXTENSION gamestate;
CREATE SCHEMA bench;

CREATE FUNCTION bench.noop_move(game_id uuid, expected_version bigint, event json, state json,
                                player text)
RETURNS bigint AS :'noop', 'gs_noop_move' LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION bench.noop_state(game_id uuid)
RETURNS json AS :'noop', 'gs_noop_state' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

-- The same game store on ordinary tables, as somebody who knows PostgreSQL would
-- make it.  No index on what changes, and the state kept in the row as it is: by
-- default one of 2 KB would be compressed at every move, which costs half the speed.
CREATE TABLE bench.game (
    id uuid PRIMARY KEY,
    version bigint NOT NULL,
    state json NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (toast_tuple_target = 8160);
ALTER TABLE bench.game ALTER COLUMN state SET STORAGE EXTERNAL;

-- And with room for HOT updates on each page, at twice the size.
CREATE TABLE bench.game_tuned (LIKE bench.game INCLUDING ALL)
    WITH (fillfactor = 50, toast_tuple_target = 8160);

CREATE TABLE bench.log (
    game_id uuid NOT NULL,
    version bigint NOT NULL,
    player text,
    at timestamptz NOT NULL,
    event json NOT NULL,
    PRIMARY KEY (game_id, version)
);

CREATE FUNCTION bench.table_move(p_game_id uuid, p_expected bigint, p_event json, p_state json,
                                 p_player text)
RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    UPDATE bench.game
       SET state = p_state, version = version + 1, updated_at = now()
     WHERE id = p_game_id AND version = p_expected;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'stale version or no such game' USING ERRCODE = 'GS001';
    END IF;
    INSERT INTO bench.log VALUES (p_game_id, p_expected + 1, p_player, now(), p_event);
    RETURN p_expected + 1;
END $$;

-- The memory run: games come and go, at most `live` of each worker at once.  A
-- call is one phase with states of about one size; it takes over, and removes one
-- by one, the games that its worker's last phase left.
CREATE TABLE bench.churn_games (worker int PRIMARY KEY, ids uuid[] NOT NULL);
CREATE TABLE bench.memory (
    cycle int, size int, created bigint, used_bytes bigint, total_bytes bigint, games bigint
);

CREATE PROCEDURE bench.churn(p_worker int, size int, games int, live int)
LANGUAGE plpgsql AS $$
DECLARE
    ids uuid[];
    slot int;
BEGIN
    SELECT c.ids INTO ids FROM bench.churn_games c WHERE c.worker = p_worker;
    ids := coalesce(ids, array_fill(NULL::uuid, ARRAY[live]));
    FOR i IN 1 .. games LOOP
        slot := i % live + 1;
        IF ids[slot] IS NOT NULL THEN
            PERFORM gamestate.delete_game(ids[slot]);
        END IF;
        ids[slot] := gamestate.create_game('churn',
            ('"' || repeat('x', (size * (0.75 + 0.5 * random()))::int) || '"')::json);
        IF i % 50 = 0 THEN
            COMMIT;
        END IF;
    END LOOP;
    INSERT INTO bench.churn_games VALUES (p_worker, ids)
        ON CONFLICT (worker) DO UPDATE SET ids = excluded.ids;
END $$;
