-- What part_archive.sh needs in the database: recorded games played by the rules of
-- that part, and what became of them.  Run after bench.sql.

CREATE TABLE bench.archive_line (n int GENERATED ALWAYS AS IDENTITY, line json);
CREATE TABLE bench.archive_game (n int PRIMARY KEY, game_type text, part int, game json);
-- raw = compact JSON of initial state, final state and events; of every state where
-- the records have them (battlesnake)
CREATE TABLE bench.archive_played (game_id uuid PRIMARY KEY, game_type text, n int,
    measured bool, initial text, final text, events text[], states text[]);
-- the others' records have no states: what is made up for them is not to be kept
INSERT INTO gamestate.policy (game_type, history) VALUES ('chess', 'events'), ('18xx', 'events');

CREATE PROCEDURE bench.archive_play(only_part int, copies int)
LANGUAGE plpgsql AS $$
DECLARE
    g record;
    m record;
    id uuid;
    players text[];
    initial text;
    state text;
    events text[];
    states text[];
BEGIN
    FOR g IN SELECT a.* FROM bench.archive_game a, generate_series(1, copies) c
              WHERE part = only_part ORDER BY c, n LOOP
        SELECT array_agg(DISTINCT p) INTO players FROM json_array_elements_text(g.game -> 'players') p;
        initial := coalesce(g.game ->> 'initial_state', '{"moves":0,"last":null}');
        id := gamestate.create_game(g.game_type, initial::json, players);
        state := initial;
        events := '{}';
        states := '{}';
        FOR m IN SELECT value::text AS event, ordinality AS i
                   FROM json_array_elements(g.game -> 'moves') WITH ORDINALITY LOOP
            state := coalesce(g.game -> 'states' ->> (m.i - 1)::int,
                              format('{"moves":%s,"last":%s}', m.i, m.event));
            PERFORM gamestate.apply_move(id, NULL, m.event::json, state::json,
                                         players[1 + (m.i - 1) % cardinality(players)]);
            events := events || m.event;
            IF g.game -> 'states' IS NOT NULL THEN
                states := states || state;
            END IF;
        END LOOP;
        PERFORM gamestate.finish_game(id, coalesce(g.game -> 'result', 'null'));
        INSERT INTO bench.archive_played
        VALUES (id, g.game_type, g.n, only_part = 0, initial, state, events, states);
        COMMIT;
    END LOOP;
END $$;

CREATE VIEW bench.archive_raw AS
SELECT game_id, game_type,
       initial || CASE WHEN states = '{}' THEN final ELSE array_to_string(states, '') END
       || array_to_string(events, '') AS raw
  FROM bench.archive_played WHERE measured;

-- bytes by type: raw and stored
CREATE VIEW bench.archive_stored AS
SELECT r.game_type, count(*) AS games, sum(octet_length(r.raw)) AS raw,
       sum(octet_length(p.payload)) AS stored
  FROM bench.archive_raw r JOIN gamestate.archive_payload p USING (game_id)
 GROUP BY r.game_type;

-- games that do not come back to the letter
CREATE VIEW bench.archive_wrong AS
SELECT game_id
  FROM bench.archive_played p LEFT JOIN gamestate.archived_games a USING (game_id)
 WHERE a.game_id IS NULL OR a.initial_state::text IS DISTINCT FROM p.initial
    OR a.final_state::text IS DISTINCT FROM p.final
    OR (SELECT array_agg(m.event::text ORDER BY m.ord)
          FROM gamestate.archived_log(a.game_type, a.ended_at, a.game_id, true) m)
       IS DISTINCT FROM p.events
    OR EXISTS (SELECT FROM unnest(p.states) WITH ORDINALITY s (state, ord)
                WHERE gamestate.state_at(p.game_id, s.ord + 1)::text IS DISTINCT FROM s.state);

-- Games of 1 KB, as many as the archiver keeps up with.
CREATE PROCEDURE bench.archive_many(worker int, n int)
LANGUAGE plpgsql AS $$
DECLARE
    done int := 0;
BEGIN
    WHILE done < n LOOP
        PERFORM gamestate.finish_game(made.id, '{"winner":0}')
           FROM (SELECT gamestate.create_game('million',
                        (SELECT json_agg(md5((worker * 1e9 + done + i + k)::text)) FROM generate_series(1, 14) k)) AS id
                   FROM generate_series(1, least(500, n - done)) i) made,
                LATERAL (SELECT gamestate.apply_move(made.id, 1, json_build_object('made', repeat('m', 400)), NULL)) moved;
        done := done + least(500, n - done);
        COMMIT;
        WHILE (SELECT archive_queue > 5000 FROM gamestate.stat_memory) LOOP
            PERFORM pg_sleep(0.01);
        END LOOP;
    END LOOP;
END $$;
