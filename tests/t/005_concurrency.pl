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
    SELECT count(*) AS n, min(version) AS first, max(version) AS last, bool_and(kind = 'create' OR event::text = version::text) AS events
      INTO c FROM gamestate.get_changes(g, now.version - 1);
    IF c.first <> now.version OR c.n <> c.last - c.first + 1 OR c.last < now.version OR NOT c.events THEN
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

-- games that end, and a reader who looks for the last of them while they go to the archive: each
-- is in exactly one place, in every statement
CREATE TABLE ended (n serial, game uuid);
CREATE FUNCTION watch() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    ids     uuid[] := ARRAY(SELECT game FROM ended ORDER BY n DESC LIMIT 20);
    r       record;
BEGIN
    FOR i IN 1 .. 2 LOOP
        SELECT count(*) AS n, count(DISTINCT game_id) AS ids INTO r FROM gamestate.games WHERE game_id = ANY (ids);
        IF r.n <> cardinality(ids) OR r.ids <> cardinality(ids) THEN
            RAISE EXCEPTION 'in games: % rows of % games, there are %', r.n, r.ids, cardinality(ids);
        END IF;
        SELECT count(*) AS n INTO r FROM unnest(ids) u, gamestate.get_game(u) g
         WHERE g.status = 'finished' AND g.version = 3 AND g.state::text = '"last"' AND g.result::text = '"over"'
           AND (SELECT string_agg(kind, ' ' ORDER BY version) FROM gamestate.get_changes(u)) = 'create move finish';
        IF r.n <> cardinality(ids) THEN
            RAISE EXCEPTION 'get_game: % of %', r.n, cardinality(ids);
        END IF;
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
is($node->safe_psql('postgres', q{
	WITH log AS (SELECT g.game_id, c.version, c.event
				   FROM gamestate.list_live_games('counter') g, LATERAL gamestate.get_changes(g.game_id, 1) c)
	SELECT (SELECT count(*) FROM ack) = (SELECT count(*) FROM log), count(*)
	  FROM ack FULL JOIN log ON log.game_id = ack.game AND log.version = ack.version
	 WHERE ack.game IS NULL OR log.game_id IS NULL OR log.event::text <> ack.version::text}),
	't|0', 'and so is the log');

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

# Batches over all accounts of a ring, in any order of ids: no deadlocks, and who reads many at once
# sees each batch whole.
$node->safe_psql('postgres', q{
SELECT gamestate.create_game('ring', '0', game_id => id(i)) FROM generate_series(201, 206) i;
CREATE FUNCTION batch(seed integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    ids uuid[] := ARRAY(SELECT id(i) FROM generate_series(201, 206) i ORDER BY (i * seed) % 7);
    bad integer;
BEGIN
    SELECT count(*) INTO bad FROM gamestate.apply_moves(ids, array_fill(NULL::bigint, '{6}'),
        array_fill(to_json(seed), '{6}'), array_fill(to_json(seed), '{6}')) WHERE version IS NULL;
    IF bad > 0 THEN
        RAISE EXCEPTION '% moves were refused', bad;
    END IF;
END $$;
CREATE FUNCTION read_batch() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    SELECT count(*) AS n, count(DISTINCT version) AS versions, count(DISTINCT state::text) AS states INTO r
      FROM gamestate.get_states(ARRAY(SELECT id(i) FROM generate_series(201, 206) i));
    IF (r.n, r.versions, r.states) <> (6, 1, 1) THEN
        RAISE EXCEPTION 'a batch in part: %', r;
    END IF;
END $$;
});
run('batches', 300, { 'batch@1' => q{\set seed random(1, 1000000)
SELECT batch(:seed);}, 'read_batch@2' => 'SELECT read_batch();' });

# Ends, and somebody who watches them, in both isolation levels.
foreach my $level ('read committed', 'repeatable read')
{
	my $name = $level =~ tr/ /_/r;
	$node->safe_psql('postgres', 'TRUNCATE ended');
	run("watched in $level", 100, { "end_$name\@3" => q{BEGIN;
SELECT gamestate.create_game('ended', '"first"') AS g \gset
SELECT gamestate.apply_move(':g', 1, '1', '"last"');
SELECT gamestate.finish_game(':g', '"over"');
COMMIT;
INSERT INTO ended (game) VALUES (':g');}, "watch_$name\@2" => qq{BEGIN ISOLATION LEVEL $level;
SELECT watch();
SELECT watch();
COMMIT;} });
}
is($node->poll_query_until('postgres', q{SELECT count(*) = (SELECT count(*) FROM gamestate.archive WHERE game_type = 'ended')
	FROM gamestate.games WHERE game_type = 'ended'}), 1, 'all are archived, once');

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
