-- Moves and money in one transaction: coins are paid from wallets (rows of
-- an ordinary table) into pots (states of games) and back; whatever fails,
-- none is lost and none is made.
\set QUIET 1
SELECT plan(19);

CREATE TABLE wallet (player text PRIMARY KEY, coins integer NOT NULL CHECK (coins >= 0));
INSERT INTO wallet SELECT 'wallet-' || i, 100 FROM generate_series(1, 4) i;
SELECT gamestate.create_game('wallet', '{"pot":0}', ARRAY(SELECT player FROM wallet ORDER BY player)) AS a \gset
SELECT gamestate.create_game('wallet', '{"pot":0}', ARRAY(SELECT player FROM wallet ORDER BY player)) AS b \gset

CREATE FUNCTION pot(id uuid) RETURNS integer LANGUAGE sql VOLATILE AS
$$SELECT (gamestate.get_state(id) ->> 'pot')::integer$$;
CREATE FUNCTION bet(id uuid, who text, n integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v   bigint := gamestate.get_version(id);
BEGIN
    UPDATE wallet SET coins = coins - n WHERE player = who;
    RETURN gamestate.apply_move(id, v, json_build_object('bet', n), json_build_object('pot', pot(id) + n), who);
END $$;
CREATE FUNCTION total() RETURNS bigint LANGUAGE sql VOLATILE AS
$$SELECT (SELECT sum(coins) FROM wallet) + (SELECT sum((state ->> 'pot')::integer) FROM gamestate.list_live_games('wallet'))$$;

SELECT is(total(), 400::bigint, 'at the start');
SELECT is(bet(:'a', 'wallet-1', 30), 2::bigint, 'a bet');
SELECT is(pot(:'a'), 30, 'is in the pot');
SELECT is(coins, 70, 'and not in the wallet') FROM wallet WHERE player = 'wallet-1';
SELECT is(total(), 400::bigint, 'total');

-- the table refuses: the game has not moved
SELECT throws_ok(format('SELECT bet(%L, %L, 71)', :'a', 'wallet-1'), '23514', NULL, 'more than one has');
SELECT is(ROW(gamestate.get_version(:'a'), pot(:'a'), total()), ROW(2::bigint, 30, 400::bigint), 'nothing moved');
-- the game refuses: the money has not moved
INSERT INTO wallet VALUES ('wallet-stranger', 0);
SELECT throws_ok(format('SELECT bet(%L, %L, 0)', :'a', 'wallet-stranger'), 'GS009', NULL, 'a stranger bets');
DELETE FROM wallet WHERE player = 'wallet-stranger';
-- the client gives up
BEGIN;
SELECT bet(:'a', 'wallet-2', 50) AS ignored \gset
SELECT bet(:'b', 'wallet-2', 50) AS ignored \gset
SELECT is(ROW(pot(:'a'), pot(:'b'), total()), ROW(80, 50, 400::bigint), 'within the transaction the money is in the pots');
ROLLBACK;
SELECT is(ROW(pot(:'a'), pot(:'b'), total()), ROW(30, 0, 400::bigint), 'after its rollback it is back');
-- a half of it
BEGIN;
SELECT bet(:'a', 'wallet-2', 50) AS ignored \gset
SAVEPOINT s;
SELECT bet(:'b', 'wallet-2', 20) AS ignored \gset
ROLLBACK TO s;
SELECT bet(:'b', 'wallet-2', 10) AS ignored \gset
COMMIT;
SELECT is(ROW(pot(:'a'), pot(:'b'), total()), ROW(80, 10, 400::bigint), 'what was left of it');
-- one statement, many bets; the last is too much, so there are none
SELECT throws_ok(format('SELECT bet(%L, %L, 40) FROM generate_series(1, 3)', :'b', 'wallet-3'), '23514', NULL, 'too much');
SELECT is(ROW(pot(:'a'), pot(:'b'), total()), ROW(80, 10, 400::bigint), 'none of them');
SELECT lives_ok(format('SELECT bet(%L, %L, 40) FROM generate_series(1, 2)', :'b', 'wallet-3'), 'two are possible');
SELECT is(ROW(gamestate.get_version(:'b'), pot(:'b'), total()), ROW(4::bigint, 90, 400::bigint), 'both are there');
-- two hundred bets, a third of which fail or are taken back
DO $$
DECLARE
    games   uuid[] := ARRAY(SELECT game_id FROM gamestate.list_live_games('wallet'));
BEGIN
    FOR i IN 1 .. 200 LOOP
        BEGIN
            PERFORM bet(games[1 + i % 2], 'wallet-' || (1 + i % 4), i % 7);
            IF i % 5 = 0 THEN
                RAISE EXCEPTION 'changed his mind';
            END IF;
        EXCEPTION WHEN raise_exception OR check_violation THEN
            NULL;
        END;
        IF i % 10 = 0 THEN
            COMMIT;
        ELSIF i % 13 = 0 THEN
            ROLLBACK;
        END IF;
    END LOOP;
END $$;
SELECT is(total(), 400::bigint, 'after two hundred bets');
-- the log tells the same story as the state
SELECT is((SELECT sum((event ->> 'bet')::integer) FROM gamestate.get_changes(g) WHERE kind = 'move'), pot(g)::bigint,
          'the bets in the log add up to the pot') FROM unnest(ARRAY[:'a', :'b']::uuid[]) g;
-- the winner takes the pot with the end of the game, for ever
BEGIN;
UPDATE wallet SET coins = coins + pot(:'a') + pot(:'b') WHERE player = 'wallet-4';
SELECT gamestate.finish_game(:'a', '{"winner": "wallet-4"}') AS ignored \gset
SELECT gamestate.finish_game(:'b', '{"winner": "wallet-4"}') AS ignored \gset
COMMIT;
SELECT is(sum(coins), 400::bigint, 'all of it is in the wallets') FROM wallet;

SELECT * FROM finish();
DROP FUNCTION total();
DROP FUNCTION bet(uuid, text, integer);
DROP FUNCTION pot(uuid);
DROP TABLE wallet;
