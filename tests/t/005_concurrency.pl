# Eight clients at once: every acknowledged move is there and no other,
# transfers between games keep the sum, whole lives of games overlap, readers
# never see half a change.
#
# A layer of its own because it needs many sessions that run freely; the
# isolation specs test the named races.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 64MB
max_connections = 40
deadlock_timeout = 10ms
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
CREATE FUNCTION id(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$SELECT ('50050000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
CREATE TABLE ack (game uuid, version bigint);

-- the state of a counter is its version
SELECT gamestate.create_game('counter', '1', game_id => id(i)) FROM generate_series(1, 4) i;
CREATE FUNCTION bump(g uuid) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    now gamestate.game;
    v   bigint;
BEGIN
    LOOP
        BEGIN
            now := gamestate.get_game(g);
            v := gamestate.apply_move(g, now.version, to_json(now.version + 1), to_json(now.state::text::bigint + 1));
            INSERT INTO ack VALUES (g, v);
            RETURN v;
        EXCEPTION WHEN SQLSTATE 'GS001' THEN
            NULL;
        END;
    END LOOP;
END $$;
-- what a reader sees is one version, whole
CREATE FUNCTION read(g uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    now gamestate.game := gamestate.get_game(g);
    c   record;
BEGIN
    IF now.state::text <> now.version::text OR now.moves <> now.version - 1 THEN
        RAISE EXCEPTION 'torn: version %, moves %, state %', now.version, now.moves, now.state;
    END IF;
    SELECT count(*) AS n, min(version) AS first, max(version) AS last, bool_and(event::text = version::text) AS events
      INTO c FROM gamestate.get_changes(g, now.version - 5);
    IF c.first <> now.version - 4 OR c.n <> c.last - c.first + 1 OR c.last < now.version OR NOT c.events THEN
        RAISE EXCEPTION 'log: after version %, %', now.version, c;
    END IF;
    IF gamestate.get_version(g) < c.last THEN
        RAISE EXCEPTION 'backwards';
    END IF;
END $$;

-- accounts
SELECT gamestate.create_game('account', '100', game_id => id(i)) FROM generate_series(101, 120) i;
CREATE FUNCTION transfer(a integer, b integer, n integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    s   gamestate.game;
BEGIN
    LOOP
        BEGIN
            s := gamestate.get_game(id(100 + a));
            PERFORM gamestate.apply_move(s.game_id, s.version, to_json(-n), to_json(s.state::text::int - n));
            s := gamestate.get_game(id(100 + b));
            PERFORM gamestate.apply_move(s.game_id, s.version, to_json(n), to_json(s.state::text::int + n));
            RETURN;
        EXCEPTION WHEN SQLSTATE 'GS001' OR deadlock_detected THEN
            NULL;
        END;
    END LOOP;
END $$;

-- whole lives of games in few rooms with few players
CREATE FUNCTION live(r text, p text, q text, n integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    g   uuid;
BEGIN
    g := gamestate.find_room(r);
    IF g IS NULL THEN
        PERFORM gamestate.create_game('life', '0', ARRAY[p], r, max_players => 3, status => 'waiting');
        RETURN;
    END IF;
    CASE n % 6
        WHEN 0 THEN PERFORM gamestate.join_game(g, q);
        WHEN 1 THEN PERFORM gamestate.leave_game(g, p);
        WHEN 2 THEN PERFORM gamestate.start_game(g);
        WHEN 3 THEN PERFORM gamestate.apply_move(g, NULL, to_json(n), to_json(n), p);
        WHEN 4 THEN PERFORM gamestate.finish_game(g, to_json(n));
        WHEN 5 THEN PERFORM gamestate.set_room_code(g, r || n % 3);
    END CASE;
EXCEPTION
    -- what a life brings along, all of it in the documentation
    WHEN SQLSTATE 'GS002' OR SQLSTATE 'GS003' OR SQLSTATE 'GS004' OR SQLSTATE 'GS008' OR SQLSTATE 'GS009'
      OR SQLSTATE 'GS015' OR deadlock_detected THEN
        NULL;
END $$;
});

# run($name, $transactions, $scripts): 8 clients until each has done its transactions
sub run
{
	my ($name, $transactions, $scripts) = @_;
	$node->pgbench("--no-vacuum --client=8 --jobs=2 --transactions=$transactions --random-seed=42", 0,
		[ qr{processed: ${\(8 * $transactions)}/${\(8 * $transactions)}} ], [ qr{^(?!.*(?:ERROR|FATAL|WARNING))}s ], $name, $scripts);
}

# Moves with retries: what was acknowledged is what is there.
run('moves on four games', 400, { 'bump@9' => q{\set g random(1, 4)
SELECT bump(id(:g));}, 'read@3' => q{\set g random(1, 4)
SELECT read(id(:g));} });
is($node->safe_psql('postgres', q{SELECT sum(version - 1) = (SELECT count(*) FROM ack), sum(moves) = (SELECT count(*) FROM ack),
	sum(state::text::bigint - 1) = (SELECT count(*) FROM ack), sum(version) > 1000 FROM gamestate.list_live_games('counter')}),
	't|t|t|t', 'versions, moves and states are those acknowledged');
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT (game, version)) = count(*),
	count(*) FILTER (WHERE c.event::text <> ack.version::text)
	FROM ack FULL JOIN (SELECT l.game_id, c.* FROM gamestate.list_live_games('counter') l, LATERAL gamestate.get_changes(l.game_id, 1) c(id)) c
	  ON c.game_id = ack.game AND c.version = ack.version WHERE ack.game IS NULL OR c.game_id IS NULL OR c.event::text <> ack.version::text}),
	'0|t|0', 'and so is the log');

# The same in a stricter isolation level: the version is the check, never 40001.
$node->safe_psql('postgres', 'TRUNCATE ack; SELECT gamestate.delete_game(id(i)), gamestate.create_game(\'counter\', \'1\', game_id => id(i)) FROM generate_series(1, 4) i');
$node->safe_psql('postgres', q{ALTER DATABASE postgres SET default_transaction_isolation = 'repeatable read'});
run('moves in repeatable read', 100, { 'rr_bump@9' => q{\set g random(1, 4)
SELECT bump(id(:g));}, 'rr_read@3' => q{\set g random(1, 4)
SELECT read(id(:g));} });
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET default_transaction_isolation');
is($node->safe_psql('postgres', q{SELECT sum(version - 1) = (SELECT count(*) FROM ack), sum(state::text::bigint - 1) = (SELECT count(*) FROM ack)
	FROM gamestate.list_live_games('counter')}), 't|t', 'versions and states are those acknowledged');

# Transfers, in any order of ids (so with deadlocks), with an ordinary table beside them.
run('transfers', 250, { 'transfer@1' => q{\set a random(1, 20)
\set b 1 + (:a + random(0, 18)) % 20
\set n random(1, 50)
BEGIN;
SELECT transfer(:a, :b, :n);
INSERT INTO ack VALUES (NULL, :n);
COMMIT;} });
is($node->safe_psql('postgres', q{SELECT sum(state::text::int), sum(version - 1), (SELECT count(*) FROM ack WHERE game IS NULL)
	FROM gamestate.list_live_games('account')}), '2000|4000|2000', 'the sum is what it was, and no transfer is missing');
is($node->safe_psql('postgres', q{SELECT count(*) FROM gamestate.list_live_games('account') l
	WHERE state::text::int <> 100 + (SELECT coalesce(sum(event::text::int), 0) FROM gamestate.get_changes(l.game_id, 1))}), '0',
	'each log adds up to its state');

# Lives, while the archiver takes those that end.
run('lives', 500, { 'live@1' => q{\set r random(1, 12)
\set p random(1, 10)
\set q random(1, 10)
\set n random(0, 17)
SELECT live('room ' || :r, 'player ' || :p, 'player ' || :q, :n);} });
is($node->poll_query_until('postgres', 'SELECT archive_queue = 0 FROM gamestate.stat_memory'), 1, 'all that ended are archived');
my $lives = $node->safe_psql('postgres', q{SELECT count(*) FROM gamestate.archive WHERE game_type = 'life'});
cmp_ok($lives, '>', 50, "$lives lives have ended");
is($node->safe_psql('postgres', q{
	SELECT 'live and archived', game_id FROM gamestate.list_live_games() JOIN gamestate.archive USING (game_id)
	UNION ALL SELECT 'twice', game_id FROM gamestate.archive GROUP BY game_id HAVING count(*) > 1
	UNION ALL SELECT 'seats', game_id FROM gamestate.list_live_games('life') WHERE cardinality(players) > 3
	UNION ALL SELECT 'room', game_id FROM gamestate.list_live_games('life') l WHERE gamestate.find_room(room_code) IS DISTINCT FROM game_id
	UNION ALL SELECT 'player', game_id FROM gamestate.list_live_games('life') l, unnest(players) p
			WHERE game_id NOT IN (SELECT gamestate.player_games(p))
	UNION ALL SELECT 'sits not', g FROM (SELECT 'player ' || generate_series(1, 10) AS p) s, gamestate.player_games(p) g
			WHERE NOT p = ANY ((gamestate.get_game(g)).players)
	UNION ALL SELECT 'log', game_id FROM (SELECT game_id, version FROM gamestate.list_live_games('life') UNION ALL
										  SELECT game_id, version FROM gamestate.archive WHERE game_type = 'life') a
			WHERE (SELECT array_agg(version) FROM gamestate.get_changes(a.game_id)) IS DISTINCT FROM ARRAY(SELECT generate_series(1, a.version))}),
	'', 'rooms, players, seats and logs agree');
# each log tells how its game became what it is
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM gamestate.archive a
	 WHERE game_type = 'life' AND NOT EXISTS (
		SELECT FROM (SELECT count(*) FILTER (WHERE kind = 'move') AS moves, 1 + count(*) FILTER (WHERE kind = 'join')
						  - count(*) FILTER (WHERE kind = 'leave') AS players,
						  (array_agg(kind ORDER BY version))[1] AS first, (array_agg(kind ORDER BY version DESC))[1] AS last,
						  (array_agg(event::text ORDER BY version DESC))[1] AS result
					   FROM gamestate.get_changes(a.game_id)) c
		 WHERE c.moves = a.moves AND c.players = cardinality(a.players) AND first = 'create' AND last = 'finish'
		   AND result = a.result::text)}), '0', 'logs explain the archived games');

$node->stop;
done_testing();
