# The timer worker and deadlines: the worker comes when there is something to
# time and leaves when there is nothing; deadlines survive crashes, restarts,
# promotion, dumps and rotations, and each is set off once.
#
# A layer of its own because servers are killed, copied and promoted.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FindBin;
use lib $FindBin::Bin;
use Patient;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 256MB
gamestate.journal_size = 16MB
max_worker_processes = 16
restart_after_crash = on
});
$node->start;
# states of type fill have little in common
$node->safe_psql('postgres', q{CREATE EXTENSION gamestate; INSERT INTO gamestate.policy (game_type, history) VALUES ('fill', 'events')});

sub wait_for
{
	my ($server, $query, $name, $db) = @_;
	is($server->poll_query_until($db // 'postgres', "SELECT coalesce(bool_or(x), false) FROM ($query) AS q(x)"), 1, $name);
}

# conditions on the worker
my $running = q{SELECT state = 'running' AND pid IS NOT NULL FROM gamestate.stat_workers WHERE kind = 'timer' AND database = current_database()};
my $stopped = q{SELECT count(*) = 0 FROM gamestate.stat_workers WHERE kind = 'timer' AND pid IS NOT NULL};

sub create
{
	my ($server, $deadline, $type) = @_;
	my $id = $server->safe_psql('postgres', sprintf(q{SELECT gamestate.create_game('%s')}, $type // 'timed'));
	$server->safe_psql('postgres', "SELECT gamestate.set_deadline('$id', $deadline)");
	return $id;
}

# kinds(SERVER, ID): the changes of a game
sub kinds
{
	my ($server, $id) = @_;
	return $server->safe_psql('postgres', "SELECT string_agg(kind, ' ') FROM gamestate.get_changes('$id')");
}

sub is_set_off
{
	my ($server, $id, $name) = @_;
	wait_for($server, "SELECT kind = 'deadline' FROM gamestate.get_changes('$id')", $name);
	is(kinds($server, $id), 'create set_deadline deadline', "$name: once");
}

# The worker
is($node->safe_psql('postgres', q{SELECT count(*) FROM gamestate.stat_workers WHERE kind = 'timer'}), '0', 'no worker while there is nothing to time');
my $far = create($node, q{'2126-01-01'});
wait_for($node, $running, 'the first deadline brings the worker');
is_set_off($node, create($node, q{clock_timestamp() + '20 ms'}), 'an earlier one is set off');
is_set_off($node, create($node, q{clock_timestamp() - interval '1 h'}), 'one that has passed too');
my $pid = $node->safe_psql('postgres', q{SELECT pid FROM gamestate.stat_workers WHERE kind = 'timer'});
is($node->safe_psql('postgres', "SELECT usename, application_name, backend_type FROM pg_stat_activity WHERE pid = $pid"),
	'postgres|gamestate timer|gamestate timer', 'it names itself');
is($node->safe_psql('postgres', q{SELECT timers, next_at, deadlines FROM gamestate.stat_timer}), '1|2126-01-01 00:00:00+00|2', 'statistics')
  if $node->safe_psql('postgres', 'SHOW timezone') =~ /UTC|GMT/;

# It dies, is switched off, sent away
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
is_set_off($node, create($node, q{clock_timestamp() + '20 ms'}), 'after a cancel');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
is_set_off($node, create($node, q{clock_timestamp() + '20 ms'}), 'after it was terminated');
$node->safe_psql('postgres', 'ALTER SYSTEM SET gamestate.timer = off');
$node->reload;
wait_for($node, $stopped, 'gamestate.timer = off');
my $while_off = create($node, q{clock_timestamp()});
$node->safe_psql('postgres', 'SELECT pg_sleep(0.2)');
is(kinds($node, $while_off), 'create set_deadline', 'nothing is set off');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET gamestate.timer');
$node->reload;
is_set_off($node, $while_off, 'and made up for');

# A database that is switched off and on, while the worker is connected
$node->safe_psql('postgres', 'ALTER DATABASE postgres SET gamestate.enabled = off');
$while_off = $node->safe_psql('postgres', q{SET gamestate.enabled = on; SELECT gamestate.create_game('timed')});
$node->safe_psql('postgres', "SET gamestate.enabled = on; SELECT gamestate.set_deadline('$while_off', clock_timestamp() + '1 s')");
wait_for($node, q{SELECT state = 'paused' FROM gamestate.stat_workers WHERE kind = 'timer'}, 'ALTER DATABASE SET gamestate.enabled = off reaches the worker');
$node->safe_psql('postgres', 'SELECT pg_sleep(1.2)');
is(kinds($node, $while_off), 'create set_deadline', 'nothing is set off in a database that is off');
$node->safe_psql('postgres', 'BEGIN; ALTER DATABASE postgres RESET gamestate.enabled; ROLLBACK');
is($node->safe_psql('postgres', q{SELECT state FROM gamestate.stat_workers WHERE kind = 'timer'}), 'paused', 'nor after a rollback of RESET');
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET gamestate.enabled');
is_set_off($node, $while_off, 'and made up for when it is on again');

# A synchronous standby is away: who waits for it is who wants to know, and nobody else
$node->safe_psql('postgres', q{ALTER SYSTEM SET synchronous_standby_names = 'away'});
$node->reload;
my $local = 'SET synchronous_commit = local;';
for my $light (qw(on off))
{
	$node->safe_psql('postgres', "ALTER SYSTEM SET gamestate.light_commit = $light");
	$node->reload;
	my $away = $node->safe_psql('postgres', "$local SELECT gamestate.create_game('away', players => '{ann}')");
	my $since = $node->safe_psql('postgres', 'SELECT gamestate.feed_position()');
	$node->safe_psql('postgres', "$local SELECT gamestate.set_deadline('$away', clock_timestamp())");
	my $other = $node->safe_psql('postgres', "$local SELECT gamestate.create_game('away', players => '{bob}')");
	$node->safe_psql('postgres', "$local SELECT gamestate.connect_player('$other', 'bob', '1 s')");
	is($node->safe_psql('postgres', qq{SELECT player FROM gamestate.wait_changes($since, ARRAY['$other']::uuid[], timeout => '10 s') WHERE kind = 'connected'}), 'bob', "light_commit $light: bob is there");
	ok($node->poll_query_until('postgres', qq{SELECT count(*) = 1 FROM gamestate.wait_changes($since, ARRAY['$other']::uuid[], timeout => '0') WHERE kind = 'disconnected'}),
		'somebody else is disconnected while a standby is away');
	is($node->safe_psql('postgres', qq{SELECT string_agg(kind, ' ') FROM gamestate.wait_changes($since, ARRAY['$away']::uuid[], timeout => '0') WHERE version IS NOT NULL}),
		'set_deadline', 'the deadline is not told yet');
	my ($ret, $out, $err) = $node->psql('postgres', "SET statement_timeout = '200 ms'; SELECT gamestate.get_version('$away')");
	like($err, qr/statement timeout/, 'nor read');
	$node->safe_psql('postgres', q{ALTER SYSTEM SET synchronous_standby_names = ''});
	$node->reload;
	ok($node->poll_query_until('postgres', qq{SELECT string_agg(kind, ' ') = 'set_deadline deadline' FROM gamestate.wait_changes($since, ARRAY['$away']::uuid[], timeout => '0') WHERE version IS NOT NULL}),
		'when nobody is waited for any more it is');
	$node->safe_psql('postgres', q{ALTER SYSTEM SET synchronous_standby_names = 'away'});
	$node->reload;
}
$node->safe_psql('postgres', 'ALTER SYSTEM RESET synchronous_standby_names');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET gamestate.light_commit');
$node->reload;
$node->safe_psql('postgres', q{SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games('away')});

# terminated at any time while deadlines pass: none is lost, none comes twice
$node->safe_psql('postgres', q{SELECT count(gamestate.set_deadline(gamestate.create_game('storm'), clock_timestamp() + random() * interval '2 s')) FROM generate_series(1, 2000)});
for (1 .. 12)
{
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM gamestate.stat_workers WHERE kind = 'timer' AND pid IS NOT NULL; SELECT pg_sleep(0.15)});
}
wait_for($node, q{SELECT count(*) = 0 FROM gamestate.list_live_games('storm') WHERE deadline IS NOT NULL}, 'all of a storm are set off');
is($node->safe_psql('postgres', q{SELECT DISTINCT version FROM gamestate.list_live_games('storm')}), '3', 'each once');
$node->safe_psql('postgres', q{SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games('storm')});

# Renamed and dropped databases; one without timers has no worker
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', q{CREATE EXTENSION gamestate; SELECT gamestate.create_game('quiet')});
is($node->safe_psql('postgres', q{SELECT count(*) FROM gamestate.stat_workers WHERE kind = 'timer' AND database = 'other'}), '0', 'no worker for a database without timers');
my $id = $node->safe_psql('other', q{SELECT gamestate.create_game('x')});
$node->safe_psql('other', qq{SELECT gamestate.set_deadline('$id', '2126-01-01')});
wait_for($node, $running, 'it gets one with its first deadline', 'other');
$node->safe_psql('postgres', 'ALTER DATABASE other RENAME TO renamed');
$node->safe_psql('renamed', qq{SELECT gamestate.set_deadline('$id', now())});
wait_for($node, "SELECT deadline IS NULL FROM gamestate.get_game('$id')", 'it works after a rename', 'renamed');
$node->safe_psql('renamed', qq{SELECT gamestate.set_deadline('$id', '2126-01-01')});
wait_for($node, $running, 'and runs', 'renamed');
$node->safe_psql('postgres', 'DROP DATABASE renamed');
is($node->safe_psql('postgres', q{SELECT count(*) FROM gamestate.stat_workers WHERE kind = 'timer' AND database IS DISTINCT FROM 'postgres'}), '0', 'a dropped database has none');

# In the middle of a rotation; the deadline is in the images as well
my $later = create($node, q{clock_timestamp() + '1 h'});
my $soon = create($node, q{clock_timestamp() + '3 s'});
$node->safe_psql('postgres', q{
	DO $$
	DECLARE id uuid := gamestate.create_game('fill'); n int := (SELECT rotations FROM gamestate.stat_journal);
	BEGIN
		FOR i IN 1 .. 3000 LOOP
			PERFORM gamestate.apply_move(id, NULL, '1', to_json(repeat(md5(random()::text), 1000)));
			COMMIT;
			EXIT WHEN (SELECT rotations > n FROM gamestate.stat_journal);
		END LOOP;
		PERFORM gamestate.delete_game(id);
	END $$});
cmp_ok($node->safe_psql('postgres', 'SELECT rotations FROM gamestate.stat_journal'), '>', 0, 'the journal was rotated');

# A crash; what passes while the server is down is set off after the load
my $down = create($node, q{clock_timestamp() + '1 s'});
my $cleared = create($node, q{clock_timestamp() + '1 h'});
$node->safe_psql('postgres', qq{SELECT gamestate.apply_move('$cleared', NULL, '1', NULL, deadline => 'infinity')});
$node->safe_psql('postgres', qq{SELECT gamestate.apply_move('$later', NULL, '1', NULL)});
$node->stop('immediate');
sleep(1);
$node->start;
is_set_off($node, $down, 'one that passed while the server was down');
is_set_off($node, $soon, 'one from before the rotation');
is($node->safe_psql('postgres', qq{SELECT deadline FROM gamestate.get_game('$cleared')}), '', 'one that was taken back');
is($node->safe_psql('postgres', qq{SELECT deadline > now() FROM gamestate.get_game('$later')}), 't', 'one that has time left');
wait_for($node, $running, 'the worker is back after a crash');
$node->safe_psql('postgres', qq{SELECT gamestate.finish_game('$cleared')});

# kill -9 while deadlines are being set off: each once all the same
$node->safe_psql('postgres', q{SELECT count(gamestate.set_deadline(gamestate.create_game('killed'), clock_timestamp() + random() * interval '1 s')) FROM generate_series(1, 2000)});
$node->safe_psql('postgres', 'SELECT pg_sleep(0.5)');
$pid = $node->safe_psql('postgres', q{SELECT pid FROM gamestate.stat_workers WHERE kind = 'timer'});
kill('KILL', $pid);
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM gamestate.stat_workers WHERE pid = $pid AND state = 'running'"), 'restarted after kill -9 of the worker');
wait_for($node, q{SELECT count(*) = 0 FROM gamestate.list_live_games('killed') WHERE deadline IS NOT NULL}, 'all are set off');
is($node->safe_psql('postgres', q{SELECT version, count(*) FROM gamestate.list_live_games('killed') GROUP BY 1}), '3|2000', 'each once');
$node->safe_psql('postgres', q{SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games('killed')});

# Saved, and loaded elsewhere
$node->safe_psql('postgres', 'SELECT gamestate.save_live_games()');
my $dump = $node->basedir . '/dump.sql';
$node->command_ok(['pg_dump', '-f', $dump, 'postgres'], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->safe_psql('copy', slurp_file($dump));
$node->safe_psql('copy', 'SELECT gamestate.load_saved_games()');
is($node->safe_psql('copy', qq{SELECT deadline > now() FROM gamestate.get_game('$later')}), 't', 'saved and loaded with its deadline');
wait_for($node, $running, 'which has a worker', 'copy');
$node->safe_psql('copy', qq{SELECT gamestate.set_deadline('$later', now())});
wait_for($node, "SELECT deadline IS NULL FROM gamestate.get_game('$later')", 'and is set off', 'copy');
$node->safe_psql('postgres', 'DROP DATABASE copy (FORCE)');

# A standby sets nothing off; after promotion it does
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
my $failover = create($node, q{clock_timestamp() + '2 s'});
$node->wait_for_catchup($standby);
wait_for($standby, qq{SELECT deadline IS NOT NULL FROM gamestate.get_game('$failover')}, 'a standby shows it');
is($standby->safe_psql('postgres', $stopped), 't', 'no timer worker on a standby');
is(($standby->psql('postgres', qq{SELECT gamestate.set_deadline('$later', now())}))[0], 3, 'no deadline is set there');
$node->stop('immediate');
sleep(2);
is(kinds($standby, $failover), 'create set_deadline', 'nor set off');
$standby->promote;
is_set_off($standby, $failover, 'after promotion it is');
is_set_off($standby, create($standby, q{clock_timestamp() + '20 ms'}), 'and new ones are');
wait_for($standby, $running, 'the worker runs there');

# Without timers it leaves, and comes again
$standby->safe_psql('postgres', q{SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games() WHERE status = 'active'});
is($standby->safe_psql('postgres', 'SELECT timers FROM gamestate.stat_timer'), '0', 'deleted games leave no timers');
wait_for($standby, $stopped, 'the worker leaves when there is nothing to time');
is_set_off($standby, create($standby, q{clock_timestamp() + '20 ms'}), 'and comes again');

# Many at once
$standby->safe_psql('postgres', q{SELECT count(gamestate.set_deadline(gamestate.create_game('many'), '2126-01-01')) FROM generate_series(1, 20000)});
$standby->safe_psql('postgres', q{SELECT count(gamestate.set_deadline(game_id, clock_timestamp() + '1 s')) FROM gamestate.list_live_games('many', max_rows => 2000)});
wait_for($standby, q{SELECT count(*) = 18000 FROM gamestate.list_live_games('many') WHERE deadline IS NOT NULL}, '2,000 of 20,000 deadlines pass');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM gamestate.list_live_games('many') WHERE version = 4}), '2000', 'each is set off once');
cmp_ok($standby->safe_psql('postgres', 'SELECT max_late_ms FROM gamestate.stat_timer'), '<', 10000, 'none of them very late');

# No free worker slot
my $wait = create($standby, q{clock_timestamp() + '1 h'});
$standby->append_conf('postgresql.conf', 'max_worker_processes = 3');
$standby->restart;
# one place beside the two launchers: the archiver has it
foreach my $kind (qw(maintenance timer))
{
	ok($standby->wait_for_log(qr/no free background worker slot for gamestate $kind/), "a warning when there is no slot: $kind");
}
wait_for($standby, q{SELECT last_error = 'no free background worker slot' FROM gamestate.stat_workers WHERE kind = 'launcher'}, 'the view says so');
is($standby->safe_psql('postgres', qq{SELECT gamestate.apply_move('$wait', NULL, '1', NULL)}), '3', 'play goes on');

for my $server ($node, $standby)
{
	unlike(slurp_file($server->logfile), qr/TRAP|PANIC|stuck spinlock/, 'no assertion, no panic');
}
$standby->stop;
done_testing();
