# The pool of libgamestate with a primary and a standby: reads from the standby,
# failover to the promoted standby, and an old primary that comes back and
# still believes to be one.
#
# A layer of its own because it needs two servers, one of which is frozen,
# stopped and promoted while games are played.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use lib $FindBin::Bin;
use PoolPlayers;

# new_pair(NAME): a primary and its synchronous standby, so that nothing that was
# acknowledged is lost by a failover
sub new_pair
{
	my ($name) = @_;
	my $primary = PostgreSQL::Test::Cluster->new("${name}_1");
	$primary->init(allows_streaming => 1);
	$primary->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
max_connections = 40
});
	$primary->start;
	$primary->safe_psql('postgres', 'CREATE EXTENSION gamestate');
	$primary->backup('backup');
	my $standby = PostgreSQL::Test::Cluster->new("${name}_2");
	$standby->init_from_backup($primary, 'backup', has_streaming => 1);
	$standby->start;
	$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'\n");
	$primary->reload;
	$primary->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'})
	  or die 'timed out waiting for the synchronous standby';
	return ($primary, $standby, sprintf(q{host=%s,%s port=%d,%d dbname=postgres},
			$primary->host, $standby->host, $primary->port, $standby->port));
}

sub processes_of
{
	my ($node, $signal) = @_;
	my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
	return kill($signal, map { int($_) } $postmaster, split /\n/, `ps -o pid= --ppid $postmaster`);
}

# ---------------------------------------------------------------------------
note 'Reads from the standby, then the primary is gone';

my ($primary, $standby, $conninfo) = new_pair('gone');
my $name = sprintf('%s:%d', $standby->host, $standby->port);
my $players = PoolPlayers->start($conninfo, '-r', '-s', '-g', 6, '-t', 20000);
ok($players->wait_for_event(qr/ role \Q$name\E +standby$/m), 'the pool knows its standby');
sleep(1);
$primary->stop('immediate');
$standby->promote;
ok($players->wait_for_event(qr/ role \Q$name\E +primary$/m), 'the pool finds the new primary');
sleep(1.5);
my $report = $players->finish('gone');
cmp_ok($report->{standby_reads}, '>', 0, 'gone: the standby answered reads');
is($report->{primary_changes}, 1, 'gone: one failover');
is($report->{unknown}, 0, 'gone: nobody is left in doubt, for moves have request ids');
$players->check('gone', $standby);
$standby->stop;

# ---------------------------------------------------------------------------
note 'The primary is frozen, and comes back when another one has taken over';

($primary, $standby, $conninfo) = new_pair('frozen');
$name = sprintf('%s:%d', $standby->host, $standby->port);
my $old = sprintf('%s:%d', $primary->host, $primary->port);
$players = PoolPlayers->start($conninfo, '-s', '-a', '-g', 6, '-t', 1000, '-c', 1000);
sleep(0.5);
processes_of($primary, 'STOP');
$standby->promote;
ok($players->wait_for_event(qr/ role \Q$name\E +primary$/m), 'the pool finds the new primary');
sleep(0.5);
processes_of($primary, 'CONT');
ok($players->wait_for_event(qr/ role \Q$old\E +outdated$/m), 'and sees that the old one is on an older timeline');
sleep(0.5);
$report = $players->finish('frozen');
is($report->{primary_changes}, 1, 'frozen: one failover');
cmp_ok($report->{timeouts}, '>', 0, 'frozen: calls ran into their deadlines');
$players->check('frozen', $standby);
$primary->stop('immediate');

# ---------------------------------------------------------------------------
note 'Only a standby: writes wait for its promotion';

$standby->backup('backup');
my $next = PostgreSQL::Test::Cluster->new('frozen_3');
$next->init_from_backup($standby, 'backup', has_streaming => 1);
$next->start;
$standby->wait_for_catchup($next, 'replay', $standby->lsn('write'));
$standby->stop;
my ($out, $err) = ('', '');
my $before = IPC::Run::start([ "$ENV{GS_CLIENT}/pool_player", '-g', 2, '-t', 60000,
		"$PostgreSQL::Test::Utils::tmp_check/before", sprintf('host=%s,%s port=%d,%d dbname=postgres', $standby->host, $next->host, $standby->port, $next->port) ],
	'>', \$out, '2>', \$err, IPC::Run::timer(4 * $PostgreSQL::Test::Utils::timeout_default));
sleep(1);
$before->pump_nb;
is($out, '', 'nobody takes writes yet');
$next->promote;
$before->pump until $out =~ /playing/ || !$before->pumpable;
like($out, qr/^playing$/m, 'the promoted standby does');
$before->signal('TERM');
$before->finish;
$next->stop;
done_testing();
