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

-- Many games at once, for loading and rotating them.
CREATE PROCEDURE bench.fill(games int, size int)
LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. games / 1000 LOOP
        PERFORM gamestate.create_game('fill',
                to_json(left(repeat(md5((i * 1000 + k)::text), size / 32 + 1), size - 2)))
           FROM generate_series(1, 1000) k;
        COMMIT;
    END LOOP;
END $$;

-- Memory a game: games with states of this size, and moves that change 16 bytes of
-- the state and have events of 120 bytes.  What they contain, by the letter, is the
-- state, the events and what each move changed.
CREATE PROCEDURE bench.sized(size int, games int, moves int, INOUT result json)
LANGUAGE plpgsql AS $$
DECLARE
    state text := '"' || repeat('s', size - 2) || '"';
    event json := to_json(repeat('e', 118));
    before bigint;
    after bigint;
    ids uuid[];
    game uuid;
BEGIN
    SELECT database_bytes INTO before FROM gamestate.stat_memory;
    FOR i IN 1 .. games LOOP
        game := gamestate.create_game('sized', state::json);
        COMMIT;
        ids := ids || game;
        FOR m IN 1 .. moves LOOP
            PERFORM gamestate.apply_move(game, m, event,
                overlay(state PLACING left(md5(m::text), 16) FROM 2 + size / 2)::json);
            COMMIT;
        END LOOP;
    END LOOP;
    SELECT database_bytes INTO after FROM gamestate.stat_memory;
    FOREACH game IN ARRAY ids LOOP
        PERFORM gamestate.delete_game(game);
        COMMIT;
    END LOOP;
    result := json_build_object('size', size, 'bytes', (after - before) / games,
                                'content', size + moves * (120 + 16));
END $$;

-- Recorded games: one a line, and taken apart.
CREATE TABLE bench.recorded (game json);
CREATE TABLE bench.replay_game (n int, state json, size bigint);
CREATE TABLE bench.replay_move (n int, ord int, event json, state json);

CREATE PROCEDURE bench.replay_prepare()
LANGUAGE sql AS $$
    WITH numbered AS MATERIALIZED (SELECT row_number() OVER () AS n, game FROM bench.recorded),
    made AS (
        INSERT INTO bench.replay_game
        SELECT n, game -> 'initial_state', octet_length(game ->> 'initial_state') FROM numbered)
    INSERT INTO bench.replay_move
    SELECT n, m.ord, m.event, s.state
      FROM numbered,
           json_array_elements(game -> 'moves') WITH ORDINALITY m (event, ord)
           JOIN json_array_elements(game -> 'states') WITH ORDINALITY s (state, ord)
             ON s.ord = m.ord;
$$;

CREATE PROCEDURE bench.replay(copies int, INOUT result json)
LANGUAGE plpgsql AS $$
DECLARE
    before pg_lsn := pg_current_wal_insert_lsn();
    wal bigint := 0;
    moved bigint := 0;
    bytes bigint := 0;
    game uuid;
    g record;
    m record;
BEGIN
    FOR i IN 1 .. copies LOOP
        FOR g IN SELECT n, state FROM bench.replay_game LOOP
            game := gamestate.create_game('battlesnake', g.state);
            COMMIT;
            before := pg_current_wal_insert_lsn();
            FOR m IN SELECT ord, event, state FROM bench.replay_move WHERE n = g.n ORDER BY ord LOOP
                PERFORM gamestate.apply_move(game, m.ord, m.event, m.state);
                COMMIT;
                moved := moved + 1;
                bytes := bytes + octet_length(m.state::text);
            END LOOP;
            wal := wal + (pg_current_wal_insert_lsn() - before);
            PERFORM gamestate.delete_game(game);
            COMMIT;
        END LOOP;
    END LOOP;
    result := json_build_object('all_calls', moved, 'wal_bytes', wal::numeric / moved,
                                'state_bytes', bytes / moved);
END $$;
