-- Look-ups and lists with many games, committed and not.
\set QUIET 1
SELECT plan(16);

-- 5,000 games of 500 players, each of them in a room
CREATE PROCEDURE pg_temp.make(n integer) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. n LOOP
        PERFORM gamestate.create_game('many', json_build_object('n', i),
                                      ARRAY['many-' || i % 500, 'many-' || (i + 1) % 500], 'MANY-' || i,
                                      status => CASE i % 3 WHEN 0 THEN 'waiting' ELSE 'active' END);
        IF i % 500 = 0 THEN
            COMMIT;
        END IF;
    END LOOP;
END $$;
CALL pg_temp.make(5000);

SELECT is(count(*), 5000::bigint, 'all games are listed') FROM gamestate.list_live_games('many');
SELECT is(count(DISTINCT (state ->> 'n')), 5000::bigint, 'each once') FROM gamestate.list_live_games('many');
SELECT is(count(*), 1666::bigint, 'those that wait') FROM gamestate.list_live_games('many', 'waiting');
SELECT is(count(*), 3334::bigint, 'those that run') FROM gamestate.list_live_games('many', 'active');
SELECT is(count(*), 100::bigint, 'a page') FROM gamestate.list_live_games('many', max_rows => 100);
SELECT is(count(*), 5000::bigint, 'the view') FROM gamestate.live_games WHERE game_type = 'many';
SELECT is(count(*), 0::bigint, 'every room is found, and is the right one') FROM generate_series(1, 5000) i
 WHERE (gamestate.get_state(gamestate.find_room('MANY-' || i)) ->> 'n')::int IS DISTINCT FROM i;
SELECT is(count(*), 500::bigint, 'every player sits in 20 games') FROM generate_series(0, 499) p
 WHERE (SELECT count(DISTINCT g) FROM gamestate.player_games('many-' || p) g) = 20;
SELECT is(count(*), 0::bigint, 'and he does sit there') FROM generate_series(0, 499) p, gamestate.player_games('many-' || p) g
 WHERE NOT 'many-' || p = ANY ((gamestate.get_game(g)).players);

-- within a transaction that changes a few, the lists show its changes among the rest
BEGIN;
SELECT gamestate.create_game('many', '{"n": 0}', '{many-7}') AS own \gset
SELECT gamestate.delete_game(gamestate.find_room('MANY-1')) AS ignored \gset
SELECT gamestate.finish_game(gamestate.find_room('MANY-2')) AS ignored \gset
SELECT gamestate.start_game(gamestate.find_room('MANY-3')) AS ignored \gset
SELECT gamestate.leave_game(gamestate.find_room('MANY-7'), 'many-7') AS ignored \gset
SELECT is(count(*), 5000::bigint, 'one more, one less') FROM gamestate.list_live_games('many');
SELECT is(count(*), 1665::bigint, 'one has started') FROM gamestate.list_live_games('many', 'waiting');
SELECT is(count(*), 3334::bigint, 'two more, two less') FROM gamestate.list_live_games('many', 'active');
SELECT is(count(*), 20::bigint, 'one joined, one left') FROM gamestate.player_games('many-7');
SELECT is(count(*), 5000::bigint, 'the view shows the same') FROM gamestate.live_games WHERE game_type = 'many';
ROLLBACK;
SELECT is(ROW(count(*), count(*) FILTER (WHERE status = 'waiting')), ROW(5000::bigint, 1666::bigint), 'back to what it was')
  FROM gamestate.list_live_games('many');

-- and away
CREATE PROCEDURE pg_temp.remove() LANGUAGE plpgsql AS $$
DECLARE
    n   integer;
BEGIN
    LOOP
        SELECT count(*) FILTER (WHERE gamestate.delete_game(game_id)) INTO n
          FROM gamestate.list_live_games('many', with_state => false, max_rows => 500);
        COMMIT;
        EXIT WHEN n = 0;
    END LOOP;
END $$;
CALL pg_temp.remove();
SELECT is((SELECT count(*) FROM gamestate.list_live_games('many'))
          + (SELECT count(gamestate.find_room('MANY-' || i)) FROM generate_series(1, 5000) i)
          + (SELECT count(*) FROM generate_series(0, 499) p, gamestate.player_games('many-' || p)), 0::bigint,
          'no game, no room, no player is left');

SELECT * FROM finish();
