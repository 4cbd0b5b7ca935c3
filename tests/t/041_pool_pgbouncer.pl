# The pool of libgamestate behind PgBouncer in transaction mode: prepared
# statements are not used, games are played, and a restart of the server or of
# PgBouncer loses and doubles nothing.
#
# A layer of its own because it needs a PgBouncer (Debian's package) and a server.

use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use lib $FindBin::Bin;
use PoolPlayers;

my ($pgbouncer) = grep { -x } map { "$_/pgbouncer" } '/usr/sbin', split(/:/, $ENV{PATH});
plan skip_all => 'PgBouncer is not installed' if !defined $pgbouncer;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
});
$node->start;
$node->safe_psql('postgres', q{CREATE EXTENSION gamestate});

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $user = $node->safe_psql('postgres', 'SELECT current_user');
append_to_file("$dir/users.txt", qq{"$user" ""\n});
append_to_file("$dir/pgbouncer.ini", sprintf(q{
[databases]
postgres = host=%s port=%d dbname=postgres user=%s
[pgbouncer]
unix_socket_dir = %s
listen_port = %d
listen_addr =
auth_type = trust
auth_file = %s/users.txt
pool_mode = transaction
default_pool_size = 3
max_client_conn = 100
server_login_retry = 1
logfile = %s/pgbouncer_%d.log
pidfile = %s/pgbouncer.pid
ignore_startup_parameters = extra_float_digits,options
}, $node->host, $node->port, $user, $dir, $port, $dir, $PostgreSQL::Test::Utils::log_path, $$, $dir));

my $bouncer;
my $said = '';
sub start_bouncer
{
	$bouncer = IPC::Run::start([ $pgbouncer, '-q', "$dir/pgbouncer.ini" ], '>', \$said, '2>', \$said);
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if system('psql', '-XqAt', '-d', "host=$dir port=$port dbname=postgres user=$user", '-c', 'SELECT 1', '-o', '/dev/null') == 0;
		sleep(0.1);
	}
	return 0;
}
ok(start_bouncer(), 'PgBouncer runs') or diag($said);

my $conninfo = "host=$dir port=$port dbname=postgres user=$user";
my $players = PoolPlayers->start($conninfo, '-g', 10, '-m', 10, '-t', 10000);
sleep(2);
my $report = $players->finish('pgbouncer');
is($report->{failures}, 0, 'all calls succeed');
cmp_ok($report->{connections}, '>', 3, 'of more connections than the server sees');
is($node->safe_psql('postgres', q{SELECT count(*) <= 3 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()}), 't',
	'which are three');
$players->check('pgbouncer', $node);

# The command, whose calls are pipelined where there is no pooler.
my ($rc, $stdout, $stderr) = (0, '', '');
$rc = IPC::Run::run([ 'gamestate', 'play', '-q', '--json', '-d', $conninfo, '-g', 40, '-t', 40, '-c', 4, '-P', 8, 'hokm' ], '>', \$stdout, '2>', \$stderr);
ok($rc, 'gamestate play') or diag($stderr);
like($stdout, qr/"checked_games": ?40\b/, 'its games are in the archive, by the rules');

# Cancels go through PgBouncer, too, and hit the right session.
$players = PoolPlayers->start($conninfo, '-g', 6, '-t', 400);
my $game = $node->safe_psql('postgres', q{SELECT game_id FROM gamestate.list_live_games('pool') ORDER BY created_at DESC LIMIT 1});
$node->safe_psql('postgres', qq{BEGIN; SELECT gamestate.set_metadata('$game', '1'); SELECT pg_sleep(2); COMMIT});
sleep(0.5);
$report = $players->finish('slow');
cmp_ok($report->{timeouts}, '>=', 2, 'slow: calls ran into their deadlines');
cmp_ok($report->{cancelled}, '>=', 2, 'slow: and were cancelled');
$players->check('slow', $node);

$players = PoolPlayers->start($conninfo, '-g', 6, '-t', 15000);
sleep(0.5);
$node->restart('fast');
sleep(2);
$bouncer->kill_kill;
ok(start_bouncer(), 'PgBouncer runs again') or diag($said);
sleep(1.5);
$report = $players->finish('restarted');
cmp_ok($report->{lost}, '>', 0, 'restarted: connections were lost');
$players->check('restarted', $node);

$bouncer->signal('INT');
$bouncer->finish;
$node->stop;
done_testing();
