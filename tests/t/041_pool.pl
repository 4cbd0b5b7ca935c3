# The pool of libgamestate with one server that is killed, restarted, frozen,
# slow, or out of connections: no move is lost or doubled, every caller is
# answered by his deadline, and afterwards the games go on.
#
# A layer of its own because it needs a server that can be mistreated, and a
# client with many threads.  The pool's decisions by themselves are
# tests/unit/test_pool.c's; what it does with two servers 041_pool_failover.pl's.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use lib $FindBin::Bin;
use PoolPlayers;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 64MB
restart_after_crash = on
max_connections = 40
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION gamestate');
my $conninfo = $node->connstr('postgres');

# up(): the server answers again
sub up
{
	return $node->poll_query_until('postgres', 'SELECT 1', '1');
}

# ---------------------------------------------------------------------------
note 'Each function, on a server that is well';

my ($stdout, $stderr) = run_command([ "$ENV{GS_CLIENT}/pool_check", $conninfo ]);
like($stdout, qr/^1\.\.\d+$/m, 'pool_check came to its end') or diag($stderr);
foreach my $line (split /\n/, $stdout)
{
	ok($1 eq 'ok', $2) if $line =~ /^(ok|not ok) \d+ - (.*)/;
}

# ---------------------------------------------------------------------------
note 'Processes of the server are killed';

foreach my $how ([], [ '-a', '-r', '-w' ])
{
	my $name = @$how ? 'killed, submitted calls with request ids' : 'killed';
	my $players = PoolPlayers->start($conninfo, @$how, '-g', 8, '-t', 5000);

	for (1 .. 2)
	{
		sleep(0.5);
		my $pid = '';
		# just after a restart there may be none yet
		for (my $i = 0; $pid eq '' && $i < 600; $i++)
		{
			sleep(0.1) if $i > 0;
			$pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity
				WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1});
		}
		kill('KILL', $pid);
		sleep(0.2);
		ok(up(), "$name: the server is back");
	}
	sleep(1);
	my $report = $players->finish($name);
	cmp_ok($report->{lost}, '>', 0, "$name: connections were lost");
	is($report->{failures}, 0, "$name: no call fails, since all may be tried again") if @$how;
	$players->check($name, $node);
}

# ---------------------------------------------------------------------------
note 'Sessions are ended, one after another';

my $players = PoolPlayers->start($conninfo, '-r', '-w', '-g', 8, '-t', 10000);
for (1 .. 30)
{
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1});
	sleep(0.03);
}
my $report = $players->finish('ended');
cmp_ok($report->{lost}, '>', 5, 'ended: connections were lost');
is($report->{failures}, 0, 'ended: no call fails');
$players->check('ended', $node);

# ---------------------------------------------------------------------------
note 'The server is restarted';

$players = PoolPlayers->start($conninfo, '-r', '-g', 8, '-t', 20000);
foreach my $mode ('fast', 'immediate')
{
	sleep(0.5);
	$node->stop($mode);
	sleep(0.5);
	$node->start;
}
sleep(1.5);
$report = $players->finish('restarted');
cmp_ok($report->{connect_failures}, '>', 0, 'restarted: the pool has tried meanwhile');
cmp_ok($report->{retries}, '>', 0, 'restarted: calls were tried again');
is($report->{unknown}, 0, 'restarted: nobody is left in doubt');
$players->check('restarted', $node);

# ---------------------------------------------------------------------------
note 'The server is frozen';

# every process of the server
sub all_processes
{
	my ($signal) = @_;
	my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
	my @pids = ($postmaster, split /\n/, `ps -o pid= --ppid $postmaster`);
	return kill($signal, map { int($_) } @pids);
}

foreach my $how ([], ['-a'])
{
	my $name = @$how ? 'frozen, submitted calls' : 'frozen';

	$players = PoolPlayers->start($conninfo, @$how, '-g', 8, '-t', 500, '-c', 1000);
	sleep(0.5);
	all_processes('STOP');
	ok($players->wait_for_event(qr/ breaker \S+ +open$/m), "$name: the circuit breaker opens");
	sleep(0.5);
	all_processes('CONT');
	ok($players->wait_for_event(qr/ breaker \S+ +closed$/m), "$name: it closes when the server is back");
	sleep(1);
	$report = $players->finish($name);
	cmp_ok($report->{timeouts}, '>', 0, "$name: calls ran into their deadlines");
	cmp_ok($report->{circuit_open}, '>', 0, "$name: calls were refused at once");
	$players->check($name, $node);
}

# ---------------------------------------------------------------------------
note 'The server is slow: somebody holds a game';

$players = PoolPlayers->start($conninfo, '-g', 8, '-t', 300);
my $game = $node->safe_psql('postgres', q{SELECT game_id FROM gamestate.list_live_games('pool') ORDER BY created_at DESC LIMIT 1});
$node->safe_psql('postgres', qq{BEGIN; SELECT gamestate.set_metadata('$game', '1'); SELECT pg_sleep(2); COMMIT});
sleep(0.5);
$report = $players->finish('slow');
cmp_ok($report->{timeouts}, '>=', 3, 'slow: calls of that game ran into their deadlines');
cmp_ok($report->{cancelled}, '>=', 3, 'slow: they were cancelled, and their connections used again');
is($report->{lost}, 0, 'slow: no connection was given up');
is($report->{breaker_opened}, 0, 'slow: the circuit breaker stayed closed');
$players->check('slow', $node);

# ---------------------------------------------------------------------------
note 'The server has no connections left';

$node->safe_psql('postgres', q{CREATE ROLE player LOGIN CONNECTION LIMIT 3; SELECT gamestate.grant_server('player')});
foreach my $how ([], ['-a'])
{
	my $name = @$how ? 'no connections, submitted calls' : 'no connections';

	$players = PoolPlayers->start("$conninfo user=player", @$how, '-g', 12, '-m', 12, '-t', 10000);
	sleep(2);
	$report = $players->finish($name);
	cmp_ok($report->{connect_failures}, '>', 0, "$name: connections were refused");
	is($report->{connections}, 3, "$name: the pool makes do with those that it got");
	is($report->{failures}, 0, "$name: nobody but the pool notices");
	$players->check($name, $node);
}

$node->stop;
done_testing();
