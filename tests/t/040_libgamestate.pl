# libgamestate against a server: every call, thousands in flight, transactions,
# deadlines and cancels; a server that is killed, restarted and frozen; PgBouncer
# in transaction mode.
#
# A layer of its own because it needs a server that something happens to while
# a C program (client/test) is connected.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $program = "$ENV{GS_CLIENT}/lib_test";

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 64MB
max_connections = 30
log_statement = none
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION gamestate');

# The program's tests as ours.
sub report
{
	my ($name, $out) = @_;
	my $plan;

	foreach my $line (split /\n/, $out)
	{
		if ($line =~ /^(not )?ok \d+ - (.*)/) { ok(!$1, "$name: $2"); }
		elsif ($line =~ /^1\.\.\d+$/) { $plan = $line; }
		else { note $line; }
	}
	ok(defined $plan, "$name: ran to its end");
	return;
}

# environment of a program that connects to the server, or to a pooler
sub environment
{
	my ($port, $host) = @_;
	return (PGHOST => $host // $node->host, PGPORT => $port // $node->port,
		PGDATABASE => 'postgres', PGAPPNAME => 'lib_test', PGUSER => $ENV{PGUSER} // (getpwuid($<))[0]);
}

sub scenario
{
	my ($name, %env) = @_;
	my ($out, $err) = ('', '');

	%env = environment() unless %env;
	local @ENV{ keys %env } = values %env;
	IPC::Run::run([ $program, $name ], '<', \'', '>', \$out, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	note $err if $err ne '';
	report($name, $out);
	return;
}

# A scenario in which we do something: $steps{"what it is ready for"}.
sub meet
{
	my ($name, %steps) = @_;
	my ($in, $out, $err) = ('', '', '');
	my %env = environment();
	local @ENV{ keys %env } = values %env;
	my $run = IPC::Run::start([ $program, $name ], '<', \$in, '>', \$out, '2>', \$err,
		IPC::Run::timeout(2 * $PostgreSQL::Test::Utils::timeout_default));

	while (%steps)
	{
		my ($state, $what) = ($out =~ /^# (ready|busy), (.*)\n/mg)[-2, -1];
		if (defined $what && $steps{$what})
		{
			(delete $steps{$what})->();
			$in .= "\n" if $state eq 'ready';
		}
		last unless $run->pumpable;
		$run->pump_nb;
		usleep(1000);
	}
	$run->finish;
	note $err if $err ne '';
	is($?, 0, "$name: exit status");
	is(join(', ', keys %steps), '', "$name: all steps");
	report($name, $out);
	return;
}

scenario($_) foreach qw(calls lists transactions sql pipeline groups large skipped closing no_server);
scenario($_) foreach qw(deadlines disturbed unreplicated subscriptions subscribers garbage late_cancel);
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND state = 'active' AND pid <> pg_backend_pid()}),
	'0', 'nothing goes on that was given up');

# ---- a server that is frozen: all its processes stand still ----
sub signal_server
{
	my $signal = shift;
	my $postmaster = slurp_file($node->data_dir . '/postmaster.pid');
	$postmaster =~ s/\n.*//s;
	my @children = split ' ', qx(ps -o pid= --ppid $postmaster);
	kill $signal, $postmaster, @children;
	return;
}
END { signal_server('CONT') if $node && -e $node->data_dir . '/postmaster.pid' }
meet('frozen',
	'to be frozen' => sub { signal_server('STOP') },
	'to be thawed' => sub { signal_server('CONT') },
	'to be frozen again' => sub { signal_server('STOP') },
	'to be thawed at last' => sub { signal_server('CONT') });

# ---- a server that dies while moves are in flight ----
foreach my $how ('kill of a session', 'immediate', 'fast')
{
	meet('lost',
		'to be lost' => sub {
			# some moves first
			$node->poll_query_until('postgres',
				q{SELECT EXISTS (SELECT FROM gamestate.list_live_games('test', with_state := false) WHERE version > 50)});
			if ($how eq 'kill of a session')
			{
				$node->safe_psql('postgres',
					q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lib_test' AND pid <> pg_backend_pid()});
			}
			else
			{
				$node->stop($how);
			}
		},
		'to find it again' => sub { $node->start if $how ne 'kill of a session'; });
	# so that the next one waits for its own
	$node->safe_psql('postgres',
		q{SELECT gamestate.delete_game(game_id) FROM gamestate.list_live_games('test', with_state := false)});
}

# ---- PgBouncer in transaction mode, with fewer sessions than clients ----
SKIP:
{
	my $pgbouncer = (grep { -x } '/usr/sbin/pgbouncer', '/usr/bin/pgbouncer')[0];
	skip 'pgbouncer is not installed', 1 unless $pgbouncer;

	my $dir = PostgreSQL::Test::Utils::tempdir;
	my $socket = PostgreSQL::Test::Utils::tempdir_short();
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my %env = environment();

	append_to_file("$dir/users.txt", qq("$env{PGUSER}" ""\n));
	append_to_file("$dir/pgbouncer.ini", qq([databases]
postgres = host=$env{PGHOST} port=$env{PGPORT} dbname=postgres
[pgbouncer]
listen_addr =
unix_socket_dir = $socket
listen_port = $port
auth_type = trust
auth_file = $dir/users.txt
pool_mode = transaction
logfile = $dir/log
default_pool_size = 2
server_check_query =
));
	my $log = '';
	my $bouncer = IPC::Run::start([ $pgbouncer, "$dir/pgbouncer.ini" ], '<', \'', '>&', \$log);
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if -S "$socket/.s.PGSQL.$port";
		$bouncer->pump_nb;
		usleep(100_000);
	}
	scenario('pooler', environment($port, $socket));
	$bouncer->kill_kill;
	note slurp_file("$dir/log");
}

$node->stop;
done_testing();
