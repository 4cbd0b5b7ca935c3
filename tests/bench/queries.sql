-- What part_queries.sh needs in the database: an archive of many games in many
-- partitions, and how long calls and queries take.  Run after bench.sql.

-- Games that were played, whose payloads the others get.
CREATE TABLE bench.query_sample (n int PRIMARY KEY, game_id uuid);
-- Games to ask for, by the kind of their id.
CREATE TABLE bench.query_id (kind text, n int, game_id uuid, PRIMARY KEY (kind, n));

CREATE PROCEDURE bench.query_play(games int)
LANGUAGE plpgsql AS $$
DECLARE
    id uuid;
BEGIN
    FOR i IN 1 .. games LOOP
        id := gamestate.create_game('chess', '{}', ARRAY['ann' || i % 50, 'bob' || i % 37],
            metadata => format('{"WhiteElo":"%s","BlackElo":"%s"}', 1500 + i % 700, 1500 + i % 600)::json);
        FOR m IN 1 .. 10 + i % 60 LOOP
            PERFORM gamestate.apply_move(id, NULL, format('{"san":"%s%s","clk":"%s:%s:%s"}',
                substr('abcdefgh', 1 + (i * m) % 8, 1), 1 + m % 8, 1 - m / 60, 59 - m % 60, (i * m) % 60)::json,
                format('{"moves":%s}', m)::json);
        END LOOP;
        PERFORM gamestate.finish_game(id, format('{"score":"%s"}', (ARRAY['1-0', '0-1', '1/2-1/2'])[1 + i % 3])::json);
        INSERT INTO bench.query_sample VALUES (i, id);
    END LOOP;
END $$;

-- An id of version 7 of that time.
CREATE FUNCTION bench.query_uuid7(at timestamptz) RETURNS uuid
LANGUAGE sql VOLATILE AS $$
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(r, 2, 3) ||
        '8' || substr(r, 5, 15))::uuid FROM (SELECT md5(random()::text)) x(r)
$$;

-- Partitions for so many days before today, as the archiver would have made them.
CREATE PROCEDURE bench.query_partitions(days int)
LANGUAGE plpgsql AS $$
DECLARE
    root text;
    day timestamptz;
BEGIN
    FOR d IN 1 .. days LOOP
        day := date_trunc('day', now(), 'UTC') - make_interval(days => d);
        FOREACH root IN ARRAY '{archive,archive_payload}'::text[] LOOP
            EXECUTE format('CREATE TABLE gamestate_partitions.%1$s_chess_d%2$s (LIKE gamestate.%1$s
                INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING CONSTRAINTS, PRIMARY KEY (game_id))', root, d);
            EXECUTE format('ALTER TABLE gamestate_partitions.%s_chess_d%s OWNER TO gamestate_owner', root, d);
            EXECUTE format('ALTER TABLE gamestate_partitions.%1$s_chess ATTACH PARTITION
                gamestate_partitions.%1$s_chess_d%2$s FOR VALUES FROM (%3$L) TO (%4$L)',
                root, d, day, day + interval '1 day');
        END LOOP;
        COMMIT;
    END LOOP;
END $$;

-- A day's games: of ten ids seven are made by the server, two are the caller's, one is of the
-- future (a clock that is wrong); and of every hundredth game a year passes between its
-- creation and its end.
CREATE PROCEDURE bench.query_fill(days int, games_a_day int)
LANGUAGE plpgsql AS $$
DECLARE
    samples int := (SELECT count(*) FROM bench.query_sample);
BEGIN
    FOR d IN 1 .. days LOOP
        CREATE TEMP TABLE day_games ON COMMIT DROP AS
        SELECT i, CASE WHEN i % 100 = 0 THEN bench.query_uuid7(at - interval '1 year')
                       WHEN i % 10 < 7 THEN bench.query_uuid7(at - interval '10 minutes')
                       WHEN i % 10 < 9 THEN gen_random_uuid()
                       ELSE bench.query_uuid7(at + interval '100 years') END AS id,
               at, s.game_id AS sample
          FROM generate_series(1, games_a_day) i
         CROSS JOIN LATERAL (SELECT date_trunc('day', now(), 'UTC') - make_interval(days => d) +
                                    i * interval '1 day' / (games_a_day + 1)) t(at)
          JOIN bench.query_sample s ON s.n = 1 + (i * 7 + d) % samples;
        ANALYZE day_games;
        INSERT INTO gamestate.archive (game_id, game_type, status, encoding, players, metadata, result,
                created_at, started_at, ended_at, version, moves)
        SELECT g.id, 'chess', a.status, a.encoding, a.players, a.metadata, a.result,
               g.at - CASE WHEN i % 100 = 0 THEN interval '1 year' ELSE interval '10 minutes' END,
               NULL, g.at, a.version, a.moves
          FROM day_games g JOIN gamestate.archive a ON a.game_id = g.sample
         WHERE a.ended_at >= date_trunc('day', now(), 'UTC')
         ORDER BY g.i;
        INSERT INTO gamestate.archive_payload (game_id, game_type, ended_at, format, dictionary, raw_size, checksum, payload)
        SELECT g.id, 'chess', g.at, p.format, p.dictionary, p.raw_size, p.checksum, p.payload
          FROM day_games g JOIN gamestate.archive_payload p ON p.game_id = g.sample
         WHERE p.ended_at >= date_trunc('day', now(), 'UTC')
         ORDER BY g.i;
        INSERT INTO bench.query_id
        SELECT kind, d, (array_agg(id ORDER BY random()))[1]
          FROM (SELECT id, CASE WHEN i % 100 = 0 THEN 'a_year' WHEN i % 10 < 7 THEN 'generated'
                                WHEN i % 10 < 9 THEN 'callers' ELSE 'future' END AS kind FROM day_games) t
         GROUP BY kind;
        COMMIT;
    END LOOP;
    INSERT INTO bench.query_id SELECT 'unknown', n, gen_random_uuid() FROM generate_series(1, days) n;
END $$;

-- The median of what a statement takes for each id of a kind, in microseconds, planned each
-- time as from a client; the ids once before, so that all is warm.  Fails if a game is not found.
CREATE FUNCTION bench.query_median(statement text, id_kind text, max_ids int) RETURNS double precision
LANGUAGE plpgsql AS $$
DECLARE
    ids uuid[] := ARRAY(SELECT game_id FROM bench.query_id WHERE kind = id_kind ORDER BY n LIMIT max_ids);
    times double precision[];
    began timestamptz;
    id uuid;
    found int;
BEGIN
    FOR round IN 1 .. 2 LOOP
        times := '{}';
        FOREACH id IN ARRAY ids LOOP
            began := clock_timestamp();
            EXECUTE statement USING id;
            GET DIAGNOSTICS found = ROW_COUNT;
            times := times || (extract(epoch FROM clock_timestamp() - began) * 1e6)::double precision;
            IF found = 0 AND id_kind <> 'unknown' THEN
                RAISE EXCEPTION 'game % was not found by: %', id, statement;
            END IF;
        END LOOP;
    END LOOP;
    RETURN (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY t) FROM unnest(times) t);
END $$;

-- A create_game() with an id of one's own, undone.
CREATE FUNCTION bench.query_create_median(calls int) RETURNS double precision
LANGUAGE plpgsql AS $$
DECLARE
    times double precision[] := '{}';
    began timestamptz;
    id uuid;
BEGIN
    FOR i IN 1 .. calls LOOP
        began := clock_timestamp();
        id := gamestate.create_game('chess', game_id => gen_random_uuid());
        times := times || (extract(epoch FROM clock_timestamp() - began) * 1e6)::double precision;
        PERFORM gamestate.delete_game(id);
    END LOOP;
    RETURN (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY t) FROM unnest(times) t);
END $$;

-- How many partitions of the archive's rows does a query scan?
CREATE FUNCTION bench.query_partitions_scanned(query text) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
    RETURN (SELECT count(*) FROM regexp_matches(plan::text, '"Relation Name": "archive_chess_', 'g'));
END $$;
