# Games that are suspended and resumed all the time: in exactly one place at
# every instant, for every snapshot, through rotations of the journal, kill -9
# and a dump; and on a standby, which is promoted in the end.
#
# A layer of its own because servers are killed and followed, and workers do
# the rest.  What the functions answer is regress's (suspend), single races are
# isolation's (suspend).

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FindBin;
use lib $FindBin::Bin;
use Patient;
use Test::More;
use Time::HiRes qw(sleep time);

my $games = 12;
my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
gamestate.journal_size = 16MB
gamestate.maintenance_interval = 1s
restart_after_crash = on
max_connections = 30
max_worker_processes = 12
wal_keep_size = 1GB              # for the standby
log_statement = none
log_min_messages = log
});
$primary->start;
$primary->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
INSERT INTO gamestate.policy (game_type, resume_on_move) VALUES ('move', true);
CREATE FUNCTION id(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$SELECT ('18180000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;

-- what a player has been told; light commits and others, so not by foreign keys
CREATE TABLE told (game uuid, version bigint, state text);

-- one step of a random kind; the state says which version has made it
CREATE FUNCTION step(g uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	v   bigint := gamestate.get_version(g);
	n   bigint;
BEGIN
	CASE (random() * 5)::int
		WHEN 0 THEN
			n := gamestate.suspend_game(g, v);
		WHEN 1 THEN
			n := gamestate.resume_game(g, v);
		WHEN 2 THEN
			-- both in one transaction, and a savepoint that goes
			n := gamestate.resume_game(g, v);
			BEGIN
				PERFORM gamestate.suspend_game(g);
				RAISE division_by_zero;
			EXCEPTION WHEN division_by_zero THEN
				NULL;
			END;
			n := gamestate.apply_move(g, n, to_json(n), to_json(repeat('x', (random() * 20000)::int)));
			n := gamestate.suspend_game(g, n);
		ELSE
			n := gamestate.apply_move(g, v, to_json(v), to_json(v || repeat('y', (random() * 3000)::int)));
	END CASE;
	IF random() < 0.1 THEN
		RAISE division_by_zero;
	END IF;
	INSERT INTO told VALUES (g, n);
EXCEPTION WHEN SQLSTATE 'GS001' OR SQLSTATE 'GS015' OR division_by_zero THEN
	NULL;
END $$;
CREATE PROCEDURE play(seconds float) LANGUAGE plpgsql AS $$
DECLARE
	until   timestamptz := clock_timestamp() + seconds * interval '1 s';
BEGIN
	WHILE clock_timestamp() < until LOOP
		PERFORM step(id((random() * 11)::int));
		COMMIT;
	END LOOP;
END $$;

-- each game once, in every statement; for itself never missing, versions never fall
CREATE FUNCTION look(seconds float) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	until   timestamptz := clock_timestamp() + seconds * interval '1 s';
	last    bigint[] := array_fill(0::bigint, '{12}');
	v       bigint;
	found   text;
	looks   integer := 0;
	repeatable boolean := current_setting('transaction_isolation') = 'repeatable read';
BEGIN
	WHILE clock_timestamp() < until LOOP
		SELECT string_agg(format('%s: %s times', n, c), ', ') INTO found
		  FROM (SELECT n, count(g.game_id) AS c FROM generate_series(0, 11) n LEFT JOIN gamestate.games g ON g.game_id = id(n) GROUP BY n) s
		 WHERE c <> 1;
		IF found IS NOT NULL THEN
			RETURN 'games: ' || found;
		END IF;
		FOR i IN 0 .. 11 LOOP
			v := gamestate.get_version(id(i));
			IF v IS NULL OR gamestate.get_state(id(i)) IS NULL OR (gamestate.get_game(id(i))).version IS NULL
			   OR NOT EXISTS (SELECT FROM gamestate.get_changes(id(i), 0, 1)) OR NOT EXISTS (SELECT FROM gamestate.get_states(ARRAY[id(i)])) THEN
				RETURN format('game %s is missing', i);
			END IF;
			IF v < last[i + 1] AND NOT repeatable THEN
				RETURN format('game %s fell from version %s to %s', i, last[i + 1], v);
			END IF;
			last[i + 1] := v;
		END LOOP;
		looks := looks + 1;
	END LOOP;
	RETURN CASE WHEN looks > 0 THEN 'fine' ELSE 'no look' END;
END $$;

-- what is wrong with a game's log
CREATE VIEW wrong AS
SELECT n, 'versions' AS what FROM generate_series(0, 11) n
 WHERE (SELECT array_agg(version ORDER BY version) FROM gamestate.get_changes(id(n)))
	   IS DISTINCT FROM (SELECT array_agg(v) FROM generate_series(1, gamestate.get_version(id(n))) v)
 UNION ALL
SELECT n, 'told' FROM generate_series(0, 11) n
 WHERE (SELECT max(version) FROM told WHERE game = id(n)) > gamestate.get_version(id(n))
 UNION ALL
SELECT n, 'kinds' FROM generate_series(0, 11) n
 WHERE (SELECT count(*) FILTER (WHERE kind = 'suspended') - count(*) FILTER (WHERE kind = 'resumed') FROM gamestate.get_changes(id(n)))
	   <> CASE (gamestate.get_game(id(n))).tier WHEN 'suspended' THEN 1 ELSE 0 END
 UNION ALL
SELECT n, 'state' FROM generate_series(0, 11) n
 WHERE gamestate.state_at(id(n), gamestate.get_version(id(n)))::text <> gamestate.get_state(id(n))::text;
});
$primary->safe_psql('postgres', "SELECT gamestate.create_game(CASE n % 2 WHEN 0 THEN 'move' ELSE 'stay' END, '\"\"', '{ann}', 'room-' || n, game_id => id(n))
	FROM generate_series(0, 11) n");
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
# what a load finds is newer than the snapshot of a statement that has waited for it
ok($standby->poll_query_until('postgres', q{SELECT state = 'following' AND gamestate.get_version(id(0)) = 1 FROM gamestate.stat_standby}), 'the standby follows');

# Sessions in the background, each with some statements
sub background
{
	my ($node, @sql) = @_;
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), map { ('-c', $_) } @sql ],
		'<', '/dev/null', '>', \$out, '2>', \$err);
	return { run => $run, out => \$out, err => \$err };
}

sub end_of
{
	my ($session) = @_;
	IPC::Run::finish($session->{run});
	my $answer = ${ $session->{out} } . ${ $session->{err} };
	chomp $answer;
	return $answer;
}

my $seconds = 4;
my @players = map { background($primary, "CALL play($seconds)") } 1 .. 2;
my @lookers = (
	background($primary, "SELECT look($seconds)"),
	background($primary, 'BEGIN ISOLATION LEVEL REPEATABLE READ', "SELECT look($seconds)", 'COMMIT'));
is(end_of($_), '', 'a player') for @players;
is(end_of($lookers[0]), 'fine', 'each game in one place');
is(end_of($lookers[1]), 'fine', 'each game in one place, for one snapshot');
is($primary->safe_psql('postgres', 'SELECT * FROM wrong'), '', 'the logs are unbroken');
cmp_ok($primary->safe_psql('postgres', "SELECT count(*) FROM generate_series(0, 11) n, gamestate.get_changes(id(n)) c WHERE kind = 'resumed'"), '>', 10, 'and they were resumed');

# the standby has the same
my $all = "SELECT n, md5(g::text), (SELECT md5(string_agg(c::text, '' ORDER BY version)) FROM gamestate.get_changes(id(n)) c) FROM generate_series(0, 11) n, gamestate.get_game(id(n)) g ORDER BY n";
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $all), $primary->safe_psql('postgres', $all), 'the standby has the same games');

# killed in the middle, several times
sub kill_process
{
	my ($condition) = @_;
	my $pid = $primary->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE $condition ORDER BY random() LIMIT 1");
	kill('KILL', $pid);
}
my @crashes = (
	[ 'a player is killed', sub { kill_process("query LIKE 'CALL play%'") } ],
	[ 'the archiver is killed', sub { $primary->safe_psql('postgres', 'CHECKPOINT'); kill_process("backend_type = 'gamestate archiver'") } ],
	[ 'the server stops at once', sub { $primary->stop('immediate'); $primary->start } ]);
for my $crash (@crashes)
{
	my ($what, $do) = @$crash;
	@players = map { background($primary, 'CALL play(60)') } 1 .. 2;
	sleep 1.5;
	$do->();
	end_of($_) for @players;
	ok($primary->poll_query_until('postgres', 'SELECT true'), "$what: and is there again");
	is($primary->safe_psql('postgres', 'SELECT * FROM wrong'), '', "$what: nothing is lost, nothing twice");
	is($primary->safe_psql('postgres', 'SELECT look(0.2)'), 'fine', "$what: each game in one place");
}

# and through a rotation
$primary->safe_psql('postgres', q{DO $$
BEGIN
	FOR i IN 1 .. 2000 LOOP
		EXIT WHEN (SELECT rotations > 0 AND NOT rotating FROM gamestate.stat_journal);
		PERFORM step(id(i % 12));
		COMMIT;
		PERFORM gamestate.create_game('none', to_json(repeat(md5(i::text), 1500)), game_id => id(100));
		COMMIT;
		PERFORM gamestate.delete_game(id(100));
		COMMIT;
	END LOOP;
END $$});
cmp_ok($primary->safe_psql('postgres', 'SELECT rotations FROM gamestate.stat_journal'), '>', 0, 'the journal was rotated');
$primary->stop('immediate');
$primary->start;
is($primary->safe_psql('postgres', 'SELECT * FROM wrong'), '', 'nothing is lost by that');

# a dump carries suspended games
$primary->safe_psql('postgres', q{SELECT gamestate.suspend_game(id(n)) FROM generate_series(0, 11) n WHERE (gamestate.get_game(id(n))).tier = 'live'});
my $before = $primary->safe_psql('postgres', $all);
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$primary->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'pg_dump');
$primary->safe_psql('postgres', 'CREATE DATABASE copy');
$primary->command_ok([ 'pg_restore', '-e', '-d', 'copy', $dump ], 'pg_restore');
is($primary->safe_psql('copy', $all), $before, 'the suspended games are in the copy');
is($primary->safe_psql('copy', 'SELECT count(gamestate.resume_game(id(n))) FROM generate_series(0, 11) n'), '12', 'and can be resumed there');
is($primary->safe_psql('copy', 'SELECT * FROM wrong'), '', 'unbroken');

# promoted, they are where they were
$primary->wait_for_catchup($standby);
$primary->stop;
$standby->promote;
is($standby->safe_psql('postgres', $all), $before, 'the same after a promotion');
is($standby->safe_psql('postgres', 'SELECT count(gamestate.resume_game(id(n))) FROM generate_series(0, 11) n'), '12', 'and they can be resumed');
is($standby->safe_psql('postgres', 'SELECT * FROM wrong'), '', 'unbroken');
$standby->stop;
done_testing();
