# Games are played and followed while their server is restarted, crashes, is frozen
# and is succeeded by its standby, again and again: who only uses subscriptions of
# libgamestate has every game's log and state exactly.  Nothing missing, nothing
# twice, nothing that was taken back later.
#
# A layer of its own because it needs servers that something happens to while C
# programs play and follow.  A few rounds here; make soak makes SOAK_ROUNDS of
# them, at random (SOAK_SEED).

use strict;
use warnings;

use FindBin;
use IPC::Run;
use File::Path qw(rmtree);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use lib $FindBin::Bin;
use Followers;

# ---------------------------------------------------------------------------
note 'Does the comparison find what is wrong?';

# a game of three changes, as it is and as it was told
sub change
{
	my ($version, %is) = @_;
	return [ 0, $is{kind} // 'change', $is{game} // 'g', $version, $is{what} // 'move', undef, 100 + $version, $is{event} // qq({"set":{"k":$version}}) ];
}
my %truth = (g => [ map { my $change = change($_); [ @$change[ 3 .. 7 ] ] } 1 .. 3 ]);
my %options = (from_start => 1, states => { g => '{"k":3}' });
my $current = [ 0, 'current', '', 0, 'current' ];
my $moved = [ 0, 'change', 'g', 2, 'move', undef, 999, '{"set":{"k":2}}' ];

sub found
{
	my ($name, @told) = @_;
	my @faults = Followers::faults(\@told, \%truth, %options);
	cmp_ok(scalar(@faults), '>', 0, "found: $name") or diag(join "\n", @faults);
	return;
}

is(join(' ', Followers::faults([ $current, map { change($_) } 1 .. 3 ], \%truth, %options)), '', 'nothing is wrong with what is right');
is(join(' ', Followers::faults([ change(1), change(1, kind => 'deleted'), map { change($_) } 1 .. 3 ], \%truth, %options)), '', 'nor with a game that was created anew');
found('a change is missing', change(1), change(3));
found('the first one is', change(2), change(3));
found('the last one is', change(1), change(2));
found('a game is', $current);
found('one comes twice', change(1), change(2), change(2), change(3));
found('all come twice', map { change($_) } 1 .. 3, 1 .. 3);
found('two are exchanged', change(1), change(3), change(2));
found('another event', change(1), change(2, event => '{"set":{"k":5}}'), change(3));
found('another kind', change(1), change(2, what => 'join'), change(3));
found('made at another time', change(1), $moved, change(3));
found('one too many', map { change($_) } 1 .. 4);
found('a game that is not there', (map { change($_) } 1 .. 3), change(1, game => 'h'));
found('deleted, and there', (map { change($_) } 1 .. 3), change(0, kind => 'deleted'));
found('taken back', change(1), change(2), change(0, kind => 'reset'), map { change($_) } 1 .. 3);
found('a snapshot instead', change(2, kind => 'snapshot'), change(3));
$options{states}{g} = '{"k":4}';
found('another state', map { change($_) } 1 .. 3);

# ---------------------------------------------------------------------------
note 'The servers';

my @nodes = map { PostgreSQL::Test::Cluster->new("soak_$_") } 1 .. 2;
my ($primary, $standby) = @nodes;
my $backups = 0;
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 64MB
gamestate.feed_size = 1MB
max_connections = 60
max_worker_processes = 20
restart_after_crash = on
log_statement = none
wal_receiver_timeout = 5s
wal_retrieve_retry_interval = 200ms
});
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION gamestate');

# Nothing that was acknowledged, or told, may be lost with the primary.
sub new_standby
{
	my $name = 'backup' . ++$backups;
	$primary->backup($name);
	rmtree($standby->data_dir);
	$standby->init_from_backup($primary, $name, has_streaming => 1);
	rmtree($primary->backup_dir . "/$name");
	$standby->append_conf('postgresql.conf', "synchronous_standby_names = ''\n");
	$standby->start;
	$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'\n");
	$primary->reload;
	$primary->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'})
	  or die 'no synchronous standby';
	return;
}

sub processes_of
{
	my ($node, $signal) = @_;
	my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
	return kill($signal, map { int($_) } $postmaster, split /\n/, `ps -o pid= --ppid $postmaster`);
}

sub fail_over
{
	my ($stop) = @_;
	$stop->();
	$standby->promote;
	sleep(0.5);
	processes_of($primary, 'CONT') if $primary->{_pid} && -e $primary->data_dir . '/postmaster.pid';
	$primary->stop('immediate', fail_ok => 1);
	($primary, $standby) = ($standby, $primary);
	new_standby();
	return;
}

# until the server takes commands again
sub wait_for_server
{
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		# psql may be gone before it has read its script
		return if eval { $primary->safe_psql('postgres', 'SELECT gamestate.feed_position()'); 1 };
		sleep(0.1);
	}
	die 'the server does not come back';
}

new_standby();
my $conninfo = sprintf('host=%s port=%s dbname=postgres', join(',', map { $_->host } @nodes), join(',', map { $_->port } @nodes));
my @timeouts = ('-W', 1000, '-A', 3000, '-C', 1000);
my @followers = (
	Followers->start($conninfo, @timeouts, '-p', '-q', 200, '-t', 'soak_a', '-a'),
	Followers->start("$conninfo target_session_attrs=prefer-standby", @timeouts, '-w', '-t', 'soak_b'));
my ($out, $err) = ('', '');
my $soak = IPC::Run::start([ "$ENV{GS_CLIENT}/pool_soak", '-g', 6, '-r', $ENV{SOAK_ROUNDS} ? 20 : 10, $conninfo ], '>', \$out, '2>', \$err);
$soak->pump until $out =~ /playing/ || !$soak->pumpable;

# ---------------------------------------------------------------------------
note 'What happens to them';

my %happens = (
	'restart' => sub { $primary->restart; },
	'immediate stop' => sub { $primary->stop('immediate'); $primary->start; },
	'crash' => sub {
		kill('KILL', $primary->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE query LIKE '%wait_changes%' AND pid <> pg_backend_pid() LIMIT 1}) || 0);
		wait_for_server();
	},
	'sessions ended' => sub {
		$primary->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()});
	},
	'followers asleep' => sub {
		$_->{run}->signal('STOP') foreach @followers;
		sleep(3);
		$_->{run}->signal('CONT') foreach @followers;
	},
	'failover, the primary dead' => sub { fail_over(sub { $primary->stop('immediate'); }); },
	'failover, the primary frozen' => sub { fail_over(sub { processes_of($primary, 'STOP'); }); });
my @all = sort keys %happens;
my $rounds = $ENV{SOAK_ROUNDS};
my $seed = $ENV{SOAK_SEED} // time;
my @plan = ('crash', 'followers asleep', 'failover, the primary dead', 'sessions ended', 'failover, the primary frozen');

if ($rounds)
{
	srand($seed);
	diag("SOAK_SEED=$seed");
	@plan = map { $all[ int(rand(@all)) ] } 1 .. $rounds;
}
foreach my $i (0 .. $#plan)
{
	sleep($rounds ? 1 + rand(4) : 1);
	$rounds ? diag("$i: $plan[$i]") : note "$i: $plan[$i]";
	$happens{ $plan[$i] }->();
	$soak->pump_nb;
	last unless $soak->pumpable;
}
wait_for_server();
sleep(1);
$soak->signal('TERM');
$soak->finish;
is($soak->result(0), 0, 'the players come to their end') or diag($err);
my %played = $out =~ /^(\w+)=(\d+)$/mg;
my %again = map { $_ => 1 } $out =~ /^again (\S+)$/mg;
note "$played{games} games, $played{calls} calls";

# ---------------------------------------------------------------------------
note 'What the followers have';

my %where = (a => q{game_type = 'soak_a'}, b => q{game_type = 'soak_b'}, all => 'true');
my %is = map { $_ => Followers::truth($primary, $where{$_}) } keys %where;
my %states = map { $_ => Followers::states($primary, $where{$_}) } keys %where;
cmp_ok(scalar(keys %{ $is{all} }), '>', 10, 'there are games');
$followers[0]->check('a type, with a queue', 0, $is{a}, from_start => 1, again => \%again, states => $states{a});
$followers[0]->check('all games', 1, $is{all}, from_start => 1, again => \%again, states => $states{all});
$followers[1]->check('a type with states, on standbys', 0, $is{b}, from_start => 1, again => \%again, states => $states{b});
foreach my $follower (@followers)
{
	cmp_ok($follower->finish->{gaps}, '>', 0, 'it had to catch up');
}
$_->stop('immediate') foreach $primary, $standby;
done_testing();
