-- Generated game ids are UUIDs of version 7: time-ordered, unique, anybody's
-- tools can read the time out of them.
\set QUIET 1
BEGIN;
SELECT plan(15);

CREATE FUNCTION pg_temp.ms(id uuid) RETURNS bigint LANGUAGE sql AS
$$SELECT ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint$$;
CREATE FUNCTION pg_temp.now_ms() RETURNS bigint LANGUAGE sql AS
$$SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint$$;

CREATE TEMP TABLE created (n serial, before bigint, id uuid, after bigint);
DO $$
DECLARE
    before  bigint;
    id      uuid;
BEGIN
    FOR i IN 1 .. 2000 LOOP
        before := pg_temp.now_ms();
        IF i % 2 = 0 THEN
            id := gamestate.create_game('ids');
        ELSE
            id := gamestate.create_game_bytes('ids');
        END IF;
        INSERT INTO created (before, id, after) VALUES (before, id, pg_temp.now_ms());
    END LOOP;
END $$;

SELECT is(count(DISTINCT id), 2000::bigint, 'no id twice') FROM created;
SELECT is(count(*), 0::bigint, 'version nibble is 7') FROM created WHERE substr(id::text, 15, 1) <> '7';
SELECT is(count(*), 0::bigint, 'variant bits are 10') FROM created WHERE substr(id::text, 20, 1) !~ '[89ab]';
-- now_ms() rounds, an id may cut off
SELECT is(count(*), 0::bigint, 'the first 48 bits are the time in ms') FROM created
 WHERE pg_temp.ms(id) NOT BETWEEN before - 1 AND after;
SELECT is(count(*), 0::bigint, 'the time in later ids is never earlier') FROM
(SELECT pg_temp.ms(id) < lag(pg_temp.ms(id)) OVER (ORDER BY n) AS back FROM created) s WHERE back;
-- the random part: every one of its bits is 0 and 1 about as often
CREATE TEMP TABLE bits AS
SELECT b, avg(get_bit(decode(replace(id::text, '-', ''), 'hex'), b::bigint)) AS ones
  FROM created, generate_series(64, 127) b GROUP BY b;
SELECT is(count(*), 62::bigint, 'the last 62 bits are random') FROM bits WHERE ones BETWEEN 0.4 AND 0.6;

-- ids of one's own are taken as they are
SELECT is(gamestate.create_game('ids', game_id => 'c0000000-0000-0000-0000-000000000001'),
          'c0000000-0000-0000-0000-000000000001', 'no version is asked for');
SELECT is(gamestate.create_game('ids', game_id => '00000000-0000-0000-0000-000000000000'),
          '00000000-0000-0000-0000-000000000000', 'the nil id is an id');
SELECT isnt(gamestate.create_game('ids', game_id => NULL), NULL, 'NULL asks for a generated one');
SELECT throws_ok($$SELECT gamestate.create_game('ids', game_id => (SELECT id FROM created WHERE n = 7))$$,
                 'GS005', NULL, 'a generated one cannot be given again while its game lives');
SELECT is(gamestate.delete_game(id), true, 'deleted') FROM created WHERE n = 7;
SELECT is(gamestate.create_game('ids', game_id => id), id, 'then it can') FROM created WHERE n = 7;

-- game servers on several connections write ids as text, binary or upper case
SELECT is(gamestate.get_version(upper(id::text)::uuid), 1::bigint, 'upper case') FROM created WHERE n = 1;
SELECT is(gamestate.get_version(('{' || replace(id::text, '-', '') || '}')::uuid), 1::bigint, 'braces, no hyphens')
  FROM created WHERE n = 1;
SELECT throws_ok($$SELECT gamestate.get_version('c0000000-0000-0000-0000')$$, '22P02', NULL, 'half an id is none');

SELECT * FROM finish();
ROLLBACK;
