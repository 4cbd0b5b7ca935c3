# What a hot standby shows of running games while it follows a busy primary:
# whatever has been replayed when it is asked, each game without gaps and in
# exactly one place, through rotations, rewritten journal tables, conflicts,
# commands of a DBA, failures of its own, and a promotion.
#
# A layer of its own because it needs two servers, whose processes are stopped
# and killed.

use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/../torture";
use Torture;

my $writers = 3;
my $torture = Torture->new(PostgreSQL::Test::Utils::tempdir(), $writers, 6);

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 64MB
gamestate.journal_size = 16MB
wal_keep_size = 4GB              # for the standbys, which keep none
min_wal_size = 32MB
max_wal_size = 128MB
max_connections = 40
max_worker_processes = 12
autovacuum = off
log_statement = none
log_checkpoints = off
});
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION amcheck;' . $torture->setup_sql . q{
CREATE FUNCTION id(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$SELECT ('24240000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;

-- everything about all games, so that two servers can be compared
CREATE FUNCTION all_games() RETURNS SETOF text LANGUAGE sql AS $$
SELECT concat_ws(' ', game_id, status, version, md5(g::text), (SELECT md5(string_agg(c::text, '' ORDER BY version)) FROM gamestate.get_changes(game_id) c))
  FROM gamestate.list_live_games() g
 UNION ALL
SELECT concat_ws(' ', 'archive', count(*), md5(string_agg(game_id::text, ' ' ORDER BY game_id))) FROM gamestate.archive
$$;

-- what keeps a standby busy: moves alone, with a table, with a savepoint that is
-- rolled back and another game, large states, games that come and go
SELECT gamestate.create_game('load', '0', game_id => id(100 + i)) FROM generate_series(0, 7) i;
CREATE PROCEDURE play(me integer) LANGUAGE plpgsql AS $$
DECLARE
	i   integer;
	g   uuid;
BEGIN
	FOR n IN 1 .. 1000000 LOOP
		i := 100 + (random() * 6)::int;
		CASE n % 5
			WHEN 0 THEN
				PERFORM gamestate.apply_move(id(i), NULL, to_json(n), (SELECT to_json(string_agg(md5(random()::text), '')) FROM generate_series(1, n % 600 + 1)));
			WHEN 1 THEN
				INSERT INTO row_of VALUES (0, me, n);
				PERFORM gamestate.apply_move(id(i), NULL, to_json(n), to_json(n));
			WHEN 2 THEN
				PERFORM gamestate.apply_move(id(i), NULL, to_json(n), to_json(n));
				BEGIN
					PERFORM gamestate.apply_move(id(i), NULL, '"gone"', '"gone"');
					RAISE division_by_zero;
				EXCEPTION WHEN division_by_zero THEN
					NULL;
				END;
				PERFORM gamestate.apply_move(id(i + 1), NULL, to_json(n), to_json(n));
			WHEN 3 THEN
				g := gamestate.create_game('come', to_json(repeat('y', n % 40000)), ARRAY['ann'], 'room ' || me);
			ELSE
				PERFORM gamestate.apply_move(g, 1, to_json(n), to_json(n));
				PERFORM gamestate.delete_game(g);
		END CASE;
		COMMIT;
	END LOOP;
END $$;

-- games that end, each with a row in a table of the same transaction
CREATE TABLE ended (n serial, game uuid);
CREATE PROCEDURE end_games(n integer) LANGUAGE plpgsql AS $$
DECLARE
	g uuid;
BEGIN
	FOR i IN 1 .. n LOOP
		g := gamestate.create_game('ender', '"first"', '{ann}');
		COMMIT;
		PERFORM gamestate.apply_move(g, 1, '"event"', '"last"');
		PERFORM gamestate.finish_game(g, '"over"');
		INSERT INTO ended (game) VALUES (g);
		COMMIT;
	END LOOP;
END $$;

-- each of the last of them is in one place, in every statement
CREATE FUNCTION watch_ended() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
	ids     uuid[] := ARRAY(SELECT game FROM ended ORDER BY n DESC LIMIT 20);
	r       record;
BEGIN
	SELECT count(*) AS n, count(DISTINCT game_id) AS ids INTO r FROM gamestate.games WHERE game_id = ANY (ids);
	IF r.n <> cardinality(ids) OR r.ids <> cardinality(ids) THEN
		RAISE EXCEPTION 'in games: % rows of % games, there are %', r.n, r.ids, cardinality(ids);
	END IF;
	SELECT count(*) AS n INTO r FROM unnest(ids) u, gamestate.get_game(u) g
	 WHERE g.status = 'finished' AND g.version = 3 AND g.state::text = '"last"' AND g.result::text = '"over"'
	   AND (SELECT string_agg(kind, ' ' ORDER BY version) FROM gamestate.get_changes(u)) = 'create move finish'
	   AND (g.tier = 'archived') = EXISTS (SELECT FROM gamestate.archive a WHERE a.game_id = u);
	IF r.n <> cardinality(ids) THEN
		RAISE EXCEPTION 'get_game: % of %', r.n, cardinality(ids);
	END IF;
	RETURN cardinality(ids);
END $$;

-- logs have no gaps, and no read goes back behind the one before
CREATE FUNCTION watch_live(rounds integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	g   uuid;
	r   record;
	v   bigint;
	n   bigint := 0;
BEGIN
	FOR i IN 1 .. rounds LOOP
		FOR g, v IN SELECT game_id, version FROM gamestate.list_live_games('load', NULL, false) LOOP
			SELECT count(*) AS n, min(version) AS first, max(version) AS last INTO r FROM gamestate.get_changes(g);
			IF r.n <> r.last OR r.first <> 1 OR r.last < v THEN
				RAISE EXCEPTION 'log of %: %, was at version %', g, r, v;
			END IF;
			IF gamestate.get_version(g) < r.last THEN
				RAISE EXCEPTION '% went back', g;
			END IF;
			n := n + 1;
		END LOOP;
	END LOOP;
	RETURN n;
END $$;});
$primary->backup('backup');

sub new_standby
{
	my ($name, $conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init_from_backup($primary, 'backup', has_streaming => 1);
	$node->append_conf('postgresql.conf', "wal_keep_size = 0\n" . ($conf // ''));
	$node->start;
	return $node;
}
my $standby = new_standby('standby');

sub caught_up
{
	my ($node) = @_;
	$primary->wait_for_catchup($node // $standby, 'replay', $primary->lsn('write'));
	return;
}

sub wait_state
{
	my ($state, $node) = @_;
	($node // $standby)->poll_query_until('postgres', "SELECT state = '$state' FROM gamestate.stat_standby") or die "timed out waiting for $state";
	return;
}

sub stat_of
{
	my ($what, $node) = @_;
	return ($node // $standby)->safe_psql('postgres', "SELECT $what FROM gamestate.stat_standby");
}

# error($statement): its SQLSTATE
sub error
{
	my ($sql, $node) = @_;
	my ($rc, $out, $err) = ($node // $standby)->psql('postgres', $sql, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return $rc == 0 ? 'none' : $err =~ /ERROR:  (\w+)/ ? $1 : $err;
}

# same($what): both servers have the same games
sub same
{
	my ($what, $node) = @_;
	caught_up($node);
	my %here = map { split(/ /, $_, 2) } split(/\n/, ($node // $standby)->safe_psql('postgres', 'SELECT all_games()'));
	my %there = map { split(/ /, $_, 2) } split(/\n/, $primary->safe_psql('postgres', 'SELECT all_games()'));
	my @differ = grep { ($here{$_} // 'none') ne ($there{$_} // 'none') } sort keys %{ { %here, %there } };
	is(join("\n", map { "$_: " . ($here{$_} // 'none') . ' instead of ' . ($there{$_} // 'none') } @differ[ 0 .. ($#differ > 9 ? 9 : $#differ) ]), '', $what);
	return;
}

# start($program, ...): in the background
sub start
{
	my ($out, $err) = ('', '');
	return { what => "@_", out => \$out, err => \$err, run => IPC::Run::start([@_], '>', \$out, '2>', \$err) };
}

sub psql_on
{
	my ($node, @sql) = @_;
	return start('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), map { ('-c', $_) } @sql);
}

sub start_writers
{
	return map {
		start($ENV{GS_TORTURE} . '/writer', $primary->connstr('postgres') . ' application_name=torture',
			$torture->log_file($_), $_, $torture->{next_k}[$_], 4711 * $_ + time() % 1000,
			$torture->is_async($_) ? 0 : $torture->{shared}, $torture->is_async($_) ? 'off' : 'on')
	} 1 .. $writers;
}

sub start_load
{
	return map { psql_on($primary, 'SET synchronous_commit = off', "CALL play($_)") } 1 .. $writers;
}

sub stop_load
{
	$primary->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ 'CALL (play|end_games)' AND pid <> pg_backend_pid()});
	eval { $_->{run}->finish } foreach @_;
	return;
}

sub follower_pid
{
	return $standby->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'gamestate follower' AND datname = 'postgres'});
}

# rotate(): the journal, by a game that is there only for that
sub rotate
{
	my $done = $primary->safe_psql('postgres', 'SELECT rotations FROM gamestate.stat_journal');
	$primary->safe_psql('postgres', q{DO $$
BEGIN
	PERFORM gamestate.create_game('plain', game_id => id(9));
	FOR i IN 1 .. 21 LOOP
		COMMIT;
		PERFORM gamestate.apply_move(id(9), i, '1', to_json((SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 28000))));
	END LOOP;
	COMMIT;
	PERFORM gamestate.delete_game(id(9));
END $$});
	$primary->poll_query_until('postgres', "SELECT rotations > $done AND NOT rotating FROM gamestate.stat_journal") or die 'timed out waiting for a rotation';
	return;
}

# ---------------------------------------------------------------------------
# A read answers as of what had been replayed when it was asked.
# ---------------------------------------------------------------------------
$primary->safe_psql('postgres', q{SELECT gamestate.create_game('plain', '0', '{ann}', 'PLAIN', game_id => id(1)), gamestate.create_game('plain', '0', game_id => id(2))});
my $late = 0;
foreach my $v (1 .. 20)
{
	# alone, with a table, and after a savepoint that was rolled back, with another game
	my $sql = ("SELECT gamestate.apply_move(id(1), $v, '1', '$v')",
		"INSERT INTO row_of VALUES (0, 0, $v); SELECT gamestate.apply_move(id(1), $v, '1', '$v')",
		"SELECT gamestate.apply_move(id(1), $v, '1', '\"gone\"'); ROLLBACK TO s; SELECT gamestate.apply_move(id(1), $v, '1', '$v'), gamestate.apply_move(id(2), NULL, '1', '$v')")[ $v % 3 ];
	$primary->safe_psql('postgres', "BEGIN; SAVEPOINT s; $sql; COMMIT");
	caught_up();
	$late++ if $standby->safe_psql('postgres', q{SELECT gamestate.get_version(id(1)) || ' ' || gamestate.get_state(id(1))}) ne $v + 1 . " $v";
}
is($late, 0, 'what has been replayed is read at once');
$primary->safe_psql('postgres', q{SELECT gamestate.set_room_code(id(1), 'OTHER'), gamestate.join_game(id(1), 'bob'), gamestate.set_metadata(id(1), '"meta"');
	BEGIN; SELECT gamestate.delete_game(id(2)); SELECT gamestate.create_game('again', '"again"', game_id => id(2)); COMMIT;
	SELECT gamestate.create_game('big', to_json(repeat('x', 100000)), game_id => id(3));});
caught_up();
is($standby->safe_psql('postgres', q{SELECT gamestate.find_room('PLAIN') IS NULL, gamestate.find_room('OTHER') = id(1), gamestate.player_games('bob') = id(1), gamestate.get_state(id(2)), length(gamestate.get_state(id(3))::text)}),
	't|t|t|"again"|100002', 'room codes, players, a game of the same id, a large state');
same('savepoints, several games, deletions');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$standby->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'}) or die 'timed out waiting for the pause';
my $seen = $standby->safe_psql('postgres', 'SELECT gamestate.get_version(id(1))');
$primary->safe_psql('postgres', q{SELECT gamestate.apply_move(id(1), NULL, '1', '"paused"')});
is($standby->safe_psql('postgres', 'SELECT gamestate.get_version(id(1))'), $seen, 'replay is paused: reads answer as of then');
is(stat_of('lag_bytes'), '0', 'and what has been replayed is applied');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
caught_up();
is($standby->safe_psql('postgres', 'SELECT gamestate.get_version(id(1))'), $seen + 1, 'it goes on');

# ---------------------------------------------------------------------------
# A standby that is behind replays the last rows of a table and that it is
# emptied in one go: replay waits until the follower has read them.
# ---------------------------------------------------------------------------
my ($missed, $gaps) = (0, 0);
foreach my $round (1 .. 3)
{
	my ($loads, $feed) = split(/\|/, $standby->safe_psql('postgres', 'SELECT loads, gamestate.feed_position() FROM gamestate.stat_standby'));
	$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
	$standby->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'}) or die 'timed out waiting for the pause';
	rotate();
	$primary->wait_for_catchup($standby, 'write', $primary->lsn('write'));
	$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
	same("round $round: a rotation in one go");
	$missed += stat_of('loads') - $loads;
	$gaps += $standby->safe_psql('postgres', "SELECT count(*) FROM gamestate.wait_changes($feed, timeout => '0') WHERE kind = 'gap'");
}
is($missed, 0, 'nothing of it was missed: no game had to be loaded anew');
is($gaps, 0, 'nor is there a gap in what happened to them');

# ---------------------------------------------------------------------------
# Under load: rotations, rewritten tables, games on their way to the archive
# ---------------------------------------------------------------------------
my $rotations = $primary->safe_psql('postgres', 'SELECT rotations FROM gamestate.stat_journal');
my $applied = stat_of('transactions');
my @running = (start_load(), psql_on($primary, 'CALL end_games(100000)'));
my @disturbances = ('CHECKPOINT', 'VACUUM gamestate.journal_0, gamestate.journal_1', 'VACUUM FULL gamestate.journal_0',
	'VACUUM (FREEZE, DISABLE_PAGE_SKIPPING) gamestate.journal_1', 'BEGIN; LOCK TABLE gamestate.journal_0 IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.2); COMMIT');
my ($watched, $ends, $lag, @wrong) = (0, 0, 0);
my $until = time() + 8;
my $deadline = time() + 120;
while (time() < $until || ($primary->safe_psql('postgres', 'SELECT rotations FROM gamestate.stat_journal') < $rotations + 4 && time() < $deadline))
{
	my $disturbance = shift @disturbances;
	$primary->safe_psql('postgres', $disturbance) if $disturbance;
	# the journal table is given new storage: who reads just then is told so
	my ($rc, $out, $err) = $standby->psql('postgres', q{SELECT watch_live(5), watch_ended(), watch_ended(), watch_ended(), (SELECT lag_ms FROM gamestate.stat_standby)});
	push @wrong, $err if $rc != 0 && $err !~ /running games (are being|have been) loaded/;
	my @n = split(/\|/, $out // '');
	next if @n < 5;
	$watched += $n[0];
	$ends += $n[1];
	$lag = $n[4] if $n[4] > $lag;
}
stop_load(@running);
is(join('', map { ${ $_->{err} } =~ /terminating connection/ ? '' : ${ $_->{err} } } @running), '', 'the load went on to the end');
is(join("\n", @wrong), '', 'readers see each log without gaps, never go back, and find each game that is over in one place');
cmp_ok($watched, '>', 50, 'they have seen something');
cmp_ok($ends, '>', 50, 'of both');
cmp_ok(stat_of('transactions') - $applied, '>', 1000, 'the standby has followed much');
$rotations = $primary->safe_psql('postgres', 'SELECT rotations FROM gamestate.stat_journal') - $rotations;
cmp_ok($rotations, '>=', 4, 'through rotations');
$primary->poll_query_until('postgres', 'SELECT archive_queue = 0 FROM gamestate.stat_memory') or die 'timed out waiting for the archiver';
same('and has all games');
is(stat_of('problems'), '0', 'without problems');
# (nearly none of them makes a load: a machine that is very busy may keep the follower from its locks)
cmp_ok(stat_of('loads') - 2, '<', $rotations / 2 + 1, 'rotations are followed, only rewritten tables are loaded anew');
note("$rotations rotations, largest lag seen: $lag ms; " . stat_of(q{'loads ' || loads || ', scans ' || scans || ', transactions ' || transactions || ', pending ' || pending}));

# ---------------------------------------------------------------------------
# What a DBA does on the primary
# ---------------------------------------------------------------------------
my $loads = stat_of('loads');
$primary->safe_psql('postgres', 'SELECT gamestate.create_game($$gone$$, game_id => id(4)); SELECT gamestate.delete_game(id(4))');
caught_up();
$primary->safe_psql('postgres', 'VACUUM FULL gamestate.journal_0');
$primary->safe_psql('postgres', 'VACUUM FULL gamestate.journal_1');
same('VACUUM FULL of both tables');
cmp_ok(stat_of('loads'), '>', $loads, 'games were loaded anew');

my $locker = psql_on($primary, 'BEGIN; LOCK TABLE gamestate.journal_1 IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)');
$primary->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'gamestate.journal_1'::regclass}) or die 'timed out waiting for the lock';
$primary->safe_psql('postgres', 'SELECT txid_current()');
caught_up();
wait_state('blocked');
is(error(q{SET statement_timeout = '300ms'; SELECT gamestate.get_version(id(1))}), '57014', 'while a journal table is locked a read waits, and can be cancelled');
is($standby->safe_psql('postgres', q{SELECT lag_bytes > 0 AND lag_ms > 200 FROM gamestate.stat_standby}), 't', 'the view shows how far it is behind');
$primary->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()});
$locker->{run}->finish;
same('the lock is gone');

$primary->safe_psql('postgres', q{CREATE DATABASE other});
$primary->safe_psql('other', q{CREATE EXTENSION gamestate; SELECT gamestate.create_game('other', '"other"', room_code => 'PLAIN')});
caught_up();
is($standby->safe_psql('other', q{SELECT gamestate.get_state(gamestate.find_room('PLAIN'))}), '"other"', 'a new database is followed when somebody asks');
$primary->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE other');
caught_up();
is($standby->safe_psql('copy', q{SELECT gamestate.get_state(gamestate.find_room('PLAIN'))}), '"other"', 'a copy of it has its games');
$primary->safe_psql('postgres', 'DROP DATABASE other');
$primary->safe_psql('postgres', 'DROP DATABASE copy');
caught_up();
is($standby->poll_query_until('postgres', q{SELECT used_bytes = database_bytes FROM gamestate.stat_memory}), 1, 'after DROP DATABASE nothing of them is in memory');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM gamestate.stat_workers WHERE kind = 'follower'}), '1', 'nor a follower');

my $ids = $primary->safe_psql('postgres', 'SELECT count(*) FROM gamestate.games');
$primary->safe_psql('postgres', q{CREATE DATABASE ext});
$primary->safe_psql('ext', q{CREATE EXTENSION gamestate; SELECT gamestate.create_game('first', room_code => 'EXT')});
caught_up();
is($standby->safe_psql('ext', q{SELECT gamestate.find_room('EXT') IS NOT NULL}), 't', 'before DROP EXTENSION');
$primary->safe_psql('ext', q{SELECT gamestate.allow_drop_extension(); DROP EXTENSION gamestate; CREATE EXTENSION gamestate; SELECT gamestate.create_game('second', '"new"', room_code => 'NEW')});
caught_up();
is($standby->safe_psql('ext', q{SELECT gamestate.find_room('EXT') IS NULL, gamestate.get_state(gamestate.find_room('NEW'))}), 't|"new"', 'DROP EXTENSION, CREATE EXTENSION: other games');
$primary->safe_psql('ext', q{SELECT gamestate.allow_drop_extension(); DROP EXTENSION gamestate});
caught_up();
is($standby->poll_query_until('postgres', q{SELECT used_bytes = database_bytes FROM gamestate.stat_memory}), 1, 'DROP EXTENSION: nothing in memory');

# ---------------------------------------------------------------------------
# What happens to the standby
# ---------------------------------------------------------------------------
$standby->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'gamestate follower'});
same('the follower was terminated');
$standby->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'gamestate follower'});
same('the follower was cancelled');

# a rotation that nobody has followed leaves no trace of what was archived before it
$primary->safe_psql('postgres', q{SELECT gamestate.create_game('ender', game_id => id(7))});
caught_up();
$standby->append_conf('postgresql.conf', "hot_standby_feedback = on\nwal_receiver_status_interval = 1s\ngamestate.standby_reads = off");
$standby->reload;
wait_state('off');
my $old = $standby->background_psql('postgres', on_error_stop => 0);
$old->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class LIMIT 1');
$primary->poll_query_until('postgres', 'SELECT bool_and(backend_xmin IS NOT NULL) FROM pg_stat_replication') or die 'timed out waiting for feedback';
$primary->safe_psql('postgres', 'SELECT gamestate.finish_game(id(7))');
$primary->poll_query_until('postgres', 'SELECT count(*) = 1 FROM gamestate.archive WHERE game_id = id(7)') or die 'timed out waiting for the archiver';
rotate();
caught_up();
$standby->append_conf('postgresql.conf', "gamestate.standby_reads = on");
$standby->reload;
same('it was away during a rotation');
$old->query('SELECT count(*) FROM gamestate.games WHERE game_id = id(7)');
like($old->{stderr}, qr/running games have been loaded since the snapshot was taken/, 'who is older than that rotation gets no list that lacks games');
$old->query('ROLLBACK');
$old->quit;
is($standby->safe_psql('postgres', 'SELECT count(*) FROM gamestate.games WHERE game_id = id(7)'), '1', 'others do');

$standby->append_conf('postgresql.conf', "hot_standby_feedback = off\nrestart_after_crash = on");
$standby->reload;
my $pid = follower_pid();
kill('KILL', $pid);
# a psql that cannot connect may not even take its input, which ends the waiting
my $back = 0;
for (my $i = 0; !$back && $i < 20; $i++)
{
	sleep(0.2) if $i > 0;
	$back = eval { $standby->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid") };
}
$back or die 'timed out waiting for the restart';
same('the follower was killed, and with it the standby');
$standby->restart;
same('restart');
$standby->stop('immediate');
$standby->start;
same('crash');

# the follower sleeps until the WAL that it has not read is gone
$pid = follower_pid();
kill('STOP', $pid);
foreach my $round (1 .. 6)
{
	$primary->safe_psql('postgres', q{SELECT gamestate.apply_move(id(1), NULL, '1', to_json(version)) FROM gamestate.get_game(id(1)); SELECT pg_switch_wal()});
}
$primary->safe_psql('postgres', 'CHECKPOINT');
caught_up();
$standby->safe_psql('postgres', 'CHECKPOINT');
my $segments = scalar(grep { /^[0-9A-F]{24}$/ } slurp_dir($standby->data_dir . '/pg_wal'));
is(error(q{SET statement_timeout = '200ms'; SELECT gamestate.get_version(id(1))}), '57014', 'the follower sleeps: a read waits');
kill('CONT', $pid);
same('it is woken up');
note("segments of WAL left: $segments, scans: " . stat_of('scans'));

# no standby may be in the way of replay
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = 0");
$standby->reload;
@running = start_load();
foreach (1 .. 10)
{
	$primary->safe_psql('postgres', 'BEGIN; LOCK TABLE gamestate.journal_0, gamestate.journal_1 IN ACCESS EXCLUSIVE MODE; COMMIT') foreach 1 .. 5;
	sleep(0.05);
}
stop_load(@running);
same('replay cancels whoever is in its way');

# ---------------------------------------------------------------------------
# Less memory than the primary
# ---------------------------------------------------------------------------
my $small = new_standby('small', 'gamestate.memory = 8MB');
caught_up($small);
is($small->safe_psql('postgres', 'SELECT gamestate.get_version(id(2))'), '1', 'a standby with less memory follows as long as it suffices');
$primary->safe_psql('postgres', q{SELECT gamestate.create_game('fat', to_json(repeat(md5(random()::text), 3000)), game_id => id(1000 + i)) FROM generate_series(1, 150) i});
caught_up($small);
wait_state('failed', $small);
is(error('SELECT gamestate.get_version(id(2))', $small), 'GS013', 'when it does not, reads are told');
is($small->safe_psql('postgres', q{SELECT (gamestate.get_game(game)).tier FROM ended ORDER BY n LIMIT 1}), 'archived', 'archived games can be read still');
is(stat_of(q{last_problem}, $small), 'out of memory for games', 'the view says why');
$primary->safe_psql('postgres', q{SELECT gamestate.delete_game(id(1000 + i)) FROM generate_series(1, 150) i});
caught_up($small);
wait_state('following', $small);
same('it comes back by itself', $small);
$small->stop;
same('the other one did not mind');

# ---------------------------------------------------------------------------
# Damage
# ---------------------------------------------------------------------------
$primary->safe_psql('postgres', q{SET gamestate.allow_journal_changes = on; INSERT INTO gamestate.journal_0 VALUES (1, 0, 1, '\x0000000000')});
caught_up();
is($standby->safe_psql('postgres', q{SELECT gamestate.get_version(id(2))}) . ' ' . stat_of('problems'), '1 1', 'a damaged row is counted');
like(slurp_file($standby->logfile), qr/WARNING:  damaged row \(\d+,\d+\) of journal table "journal_0" is skipped/, 'and reported');
$primary->safe_psql('postgres', q{SET gamestate.allow_journal_changes = on; DELETE FROM gamestate.journal_0 WHERE length(data) = 5});
$primary->safe_psql('postgres', q{SELECT gamestate.apply_move(id(2), 1, '1', '"after"')});
same('all games are there');
is(stat_of('problems'), '1', 'it is said once');

# a row that says it was written by a transaction which cannot be
$primary->safe_psql('postgres', q{SELECT gamestate.create_game('odd', '0', game_id => id(6)); SET gamestate.light_commit = off; SELECT gamestate.apply_move(id(6), 1, '1', '1')});
my ($file, $block, $item) = split(/\|/, $primary->safe_psql('postgres', q{SELECT pg_relation_filepath(journal), (ctid::text::point)[0]::int, (ctid::text::point)[1]::int
	FROM (SELECT 'gamestate.journal_0' AS journal, ctid, seq FROM gamestate.journal_0 UNION ALL SELECT 'gamestate.journal_1', ctid, seq FROM gamestate.journal_1) j ORDER BY seq DESC LIMIT 1}));
# (so that replay does not begin before it when the standby starts again)
$primary->safe_psql('postgres', 'CHECKPOINT');
same('before');
$standby->safe_psql('postgres', 'CHECKPOINT');
$standby->stop;
open(my $page, '+<:raw', $standby->data_dir . "/$file") or die "$file: $!";
seek($page, $block * 8192 + 20 + $item * 4, 0);
read($page, my $pointer, 4);
seek($page, $block * 8192 + (unpack('V', $pointer) & 0x7FFF), 0);
print $page pack('V', 0x70000000);
close($page);
$standby->start;
is($standby->safe_psql('postgres', 'SELECT gamestate.get_version(id(2))'), '2', 'a row with an impossible transaction: others can be read');
is(stat_of('problems'), 1, 'it is a problem');
like(slurp_file($standby->logfile), qr/DETAIL:  the transaction that wrote it is impossible/, 'which is reported');
$primary->safe_psql('postgres', q{SELECT gamestate.delete_game(id(6))});
same('until it is removed');
$primary->safe_psql('postgres', 'VACUUM FULL gamestate.journal_0');
$primary->safe_psql('postgres', 'VACUUM FULL gamestate.journal_1');
caught_up();
$standby->restart;
same('and the table rewritten');
is(stat_of('problems'), '0', 'which the damage does not survive');

# a record that is not there: the last one, while no rotation writes others
$primary->append_conf('postgresql.conf', 'gamestate.journal_size = 1GB');
$primary->reload;
$primary->poll_query_until('postgres', 'SELECT NOT rotating FROM gamestate.stat_journal') or die 'timed out waiting for the rotation';
$primary->safe_psql('postgres', q{SELECT gamestate.create_game('hole', '0', game_id => id(5)); SELECT gamestate.apply_move(id(5), 1, '1', '1')});
$primary->safe_psql('postgres', q{SET gamestate.allow_journal_changes = on; DELETE FROM gamestate.journal_0 WHERE seq = (SELECT max(seq) FROM gamestate.journal_0) AND seq > (SELECT coalesce(max(seq), 0) FROM gamestate.journal_1);
	DELETE FROM gamestate.journal_1 WHERE seq = (SELECT max(seq) FROM gamestate.journal_1) AND seq > (SELECT coalesce(max(seq), 0) FROM gamestate.journal_0)});
caught_up();
$standby->restart;
$primary->safe_psql('postgres', q{SELECT gamestate.apply_move(id(5), 2, '1', '2'), gamestate.apply_move(id(5), 3, '1', '3')});
caught_up();
is($standby->safe_psql('postgres', q{SELECT gamestate.get_version(id(5)), gamestate.get_version(id(2))}), '1|2', 'a game with a hole is not followed any further, others are');
$standby->poll_query_until('postgres', 'SELECT problems = 1 FROM gamestate.stat_standby') or diag(stat_of('problems'));
like(slurp_file($standby->logfile), qr/WARNING:  game 24240000-0000-4000-8000-000000000005 cannot be followed on this standby\n.*DETAIL:  It is at version 1, and in the journal an update is missing before version 4/, 'which is reported');
$primary->safe_psql('postgres', q{SELECT gamestate.delete_game(id(5))});
same('until it is removed');
$primary->append_conf('postgresql.conf', 'gamestate.journal_size = 16MB');
$primary->reload;

# ---------------------------------------------------------------------------
# Promotion under load, with synchronous replication
# ---------------------------------------------------------------------------
$primary->safe_psql('postgres', q{SELECT gamestate.delete_game(game_id) FROM gamestate.list_live_games() WHERE game_type <> 'shared';
	DELETE FROM gamestate.archive; DELETE FROM gamestate.archive_payload; TRUNCATE row_of});
# a standby of the standby, out of a backup of it
$standby->append_conf('postgresql.conf', 'wal_keep_size = 1GB');
$standby->reload;
$standby->backup('second');
my $cascade = PostgreSQL::Test::Cluster->new('cascade');
$cascade->init_from_backup($standby, 'second', has_streaming => 1);
$cascade->start;
is($cascade->safe_psql('postgres', 'SELECT count(*) FROM gamestate.list_live_games()'),
	$standby->safe_psql('postgres', 'SELECT count(*) FROM gamestate.list_live_games()'), 'a cascading standby follows');

$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'");
$primary->reload;
$primary->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'}) or die 'timed out waiting for the standby';
@running = start_writers();
sleep(2);
# readers go on all the time; what they see never goes back and never vanishes
# (not cancelled by replay: that has been looked at above)
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = -1\nhot_standby_feedback = on");
$standby->reload;
sleep(0.5);
my $reader = psql_on($standby, q{DO $$
DECLARE
	g uuid := (SELECT min(game_id::text)::uuid FROM gamestate.list_live_games('shared', NULL, false));
	v bigint;
	last bigint := 0;
BEGIN
	FOR i IN 1 .. 1000000 LOOP
		BEGIN
			v := gamestate.get_version(g);
			IF v IS NULL OR v < last THEN
				RAISE EXCEPTION 'after version %: %', last, v USING ERRCODE = 'ZZ001';
			END IF;
			last := v;
		EXCEPTION WHEN SQLSTATE 'GS013' THEN
			NULL;
		END;
		EXIT WHEN NOT pg_is_in_recovery() AND i % 100 = 0;
	END LOOP;
END $$});
sleep(1);
$primary->stop('immediate');
$standby->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'timed out waiting for promotion';
my $first = $standby->safe_psql('postgres', q{SELECT gamestate.get_version((SELECT min(game_id::text)::uuid FROM gamestate.list_live_games('shared', NULL, false))) IS NOT NULL});
is($first, 't', 'after the promotion the games are there at once');
eval { $_->{run}->finish } foreach @running, $reader;
is(${ $reader->{err} }, '', 'a reader who went on all the time saw no version twice');
is($standby->poll_query_until('postgres', q{SELECT count(*) = 1 FROM gamestate.stat_workers WHERE kind = 'archiver' AND state = 'running'}), 1, 'an archiver runs');
is(join("\n", $torture->check($standby)), '', 'every acknowledged change is there, nothing is torn, each game is in one place');
cmp_ok($torture->{acknowledged}, '>', 100, 'the writers did something');
note("acknowledged: $torture->{acknowledged}, archived: $torture->{archived}");

# ---------------------------------------------------------------------------
# The standby of the one that was promoted
# ---------------------------------------------------------------------------
sub same_there
{
	my ($what) = @_;
	$standby->wait_for_catchup($cascade, 'replay', $standby->lsn('write'));
	is($cascade->safe_psql('postgres', 'SELECT md5(string_agg(g, $$,$$ ORDER BY g)) FROM all_games() g'),
		$standby->safe_psql('postgres', 'SELECT md5(string_agg(g, $$,$$ ORDER BY g)) FROM all_games() g'), $what);
	return;
}
$standby->poll_query_until('postgres', 'SELECT archive_queue = 0 AND archived_in_memory = 0 FROM gamestate.stat_memory') or die 'timed out waiting for the archiver';
same_there('a cascading standby follows to the new timeline');
is(stat_of('problems', $cascade), '0', 'without problems');
$standby->safe_psql('postgres', q{SELECT gamestate.create_game('new', to_json(repeat(md5(random()::text), 300)), game_id => id(2000 + i)) FROM generate_series(1, 500) i});
same_there('and what is played there');

# what a load has needed is given back
$cascade->restart;
same_there('restart of it');
my $position = -s $cascade->logfile;
$cascade->safe_psql('postgres', q{SELECT pg_log_backend_memory_contexts(pid) FROM pg_stat_activity WHERE backend_type = 'gamestate follower' AND datname = 'postgres'});
ok($cascade->wait_for_log(qr/gamestate follower's rows: (\d+) total/, $position), 'the follower tells of its memory');
my ($bytes) = slurp_file($cascade->logfile, $position) =~ /gamestate follower's rows: (\d+) total/;
cmp_ok($bytes, '<', 1000000, 'which it has given back after the load');

# commands that cannot run there do not send the follower away
my $cascade_pid = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'gamestate follower' AND datname = 'postgres'};
my $before = $cascade->safe_psql('postgres', $cascade_pid);
is(error($_, $cascade), '25006', "refused there: $_") foreach 'DROP EXTENSION gamestate', 'CREATE DATABASE x TEMPLATE postgres', 'ALTER DATABASE postgres RENAME TO x';
is($cascade->safe_psql('template1', 'SELECT 1'), '1', 'another database');
$cascade->psql('template1', $_) foreach 'DROP DATABASE postgres', 'ALTER DATABASE postgres RENAME TO x';
is($cascade->safe_psql('postgres', $cascade_pid), $before, 'the follower was not disturbed');

$standby->safe_psql('postgres', q{SELECT gamestate.allow_drop_extension(); BEGIN; DROP EXTENSION gamestate; CREATE EXTENSION gamestate; COMMIT;
	SELECT gamestate.create_game('t', '"new"', game_id => id(1))});
same_there('DROP EXTENSION and CREATE EXTENSION in one transaction');
$cascade->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$standby->safe_psql('postgres', q{SELECT gamestate.apply_move(id(1), 1, '1', '"paused"')});
$standby->wait_for_catchup($cascade, 'flush', $standby->lsn('write'));
$cascade->promote;
is($cascade->safe_psql('postgres', q{SELECT gamestate.get_state(id(1)), gamestate.apply_move(id(1), 2, '1', '2')}), '"paused"|3', 'promoted while replay is paused, it has what it has received');

unlike(slurp_file($_->logfile), qr/PANIC|TRAP|terminated by signal (?!9)|inconsistent page|cannot be loaded|is loaded as of/, $_->name . ': nobody crashed but who was killed') foreach $standby, $cascade;
$cascade->stop;
$standby->stop;
done_testing();
