# Subscriptions of libgamestate while servers are restarted, crash, are frozen, and
# are succeeded by their standbys: every change once and in order, none that is
# taken back; and if one is, because its writer wanted it so, that is told.
#
# A layer of its own because it needs servers that something happens to while C
# programs (client/test_pool) are connected.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use lib $FindBin::Bin;
use Followers;
use PoolPlayers;

my $conf = q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
max_connections = 40
restart_after_crash = on
log_statement = none
};

sub new_primary
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(allows_streaming => 1);
	$node->append_conf('postgresql.conf', $conf);
	$node->start;
	$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
CREATE FUNCTION move(game uuid, n int) RETURNS bigint LANGUAGE sql AS
$$SELECT gamestate.apply_move(game, NULL, to_json(n), NULL)$$});
	return $node;
}

sub new_standby
{
	my ($primary, $name) = @_;
	my $standby = PostgreSQL::Test::Cluster->new($name);
	$primary->backup("for_$name");
	$standby->init_from_backup($primary, "for_$name", has_streaming => 1);
	$standby->start;
	return $standby;
}

sub conninfo
{
	my (@nodes) = @_;
	return sprintf('host=%s port=%s dbname=postgres', join(',', map { $_->host } @nodes), join(',', map { $_->port } @nodes));
}

sub processes_of
{
	my ($node, $signal) = @_;
	my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
	return kill($signal, map { int($_) } $postmaster, split /\n/, `ps -o pid= --ppid $postmaster`);
}

# ---------------------------------------------------------------------------
note 'One server: restarted, crashed, frozen';

my $node = new_primary('alone');
$node->safe_psql('postgres', q{SELECT gamestate.create_game('other') FROM generate_series(1, 2)});
my ($one, $two) = split /\n/, $node->safe_psql('postgres', q{SELECT game_id FROM gamestate.list_live_games('other')});
my $followers = Followers->start(conninfo($node), '-W', 1000, '-A', 2000, '-t', 'pool', '-p', '-q', 50, '-a', '-g', "$one,$two");
my $players = PoolPlayers->start(conninfo($node), '-r', '-w', '-g', 6, '-t', 60000);

my $starts = 0;
foreach my $how (qw(fast immediate))
{
	sleep(0.5);
	$node->stop($how);
	$node->start;
	$starts++;
	ok($followers->wait_for_event(qr/(?: gap .*){$starts}/s), "$how: the feed begins anew");
	$node->safe_psql('postgres', "SELECT move('$one', 1), move('$two', 2); SELECT gamestate.create_game('new')");
}
sleep(0.5);
kill('KILL', $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE query LIKE '%wait_changes%' AND pid <> pg_backend_pid() LIMIT 1}));
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	# psql may be gone before it has read its script
	last if eval { $node->safe_psql('postgres', "SELECT move('$one', 3)"); 1 };
	sleep(0.1);
}

# Frozen for longer than it may be silent.
sleep(0.5);
my $lost = () = $followers->events =~ / lost /g;
processes_of($node, 'STOP');
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	last if (() = $followers->events =~ / lost /g) > $lost;
	sleep(0.1);
}
processes_of($node, 'CONT');
cmp_ok(scalar(() = $followers->events =~ / lost /g), '>', $lost, 'a server that says nothing is given up');
sleep(0.5);
$players->finish('alone');
$players->check('alone', $node);
$node->safe_psql('postgres', "SELECT move('$two', 4), gamestate.finish_game('$one')");
$followers->check('a type', 0, Followers::truth($node, q{game_type = 'pool'}), from_start => 1);
$followers->check('all games, with a queue', 1, Followers::truth($node, 'true'));
$followers->check('games by their ids', 2, Followers::truth($node, "g.game_id IN ('$one', '$two')"), from_start => 1);
my $report = $followers->finish;
is($report->{resets}, 0, 'nothing was taken back');
cmp_ok($report->{gaps}, '>=', 3, 'each start of the server is a gap');

# Games that come and go, into the archive, while nobody looks.
$followers = Followers->start(conninfo($node), '-t', 'brief');
$followers->{run}->signal('STOP');
$node->restart;
$node->safe_psql('postgres', q{
SELECT gamestate.finish_game(gamestate.create_game('brief')) FROM generate_series(1, 5);
SELECT gamestate.create_game('brief') FROM generate_series(1, 5)});
$node->poll_query_until('postgres', q{SELECT count(*) = 5 FROM gamestate.archive WHERE game_type = 'brief'}) or die 'no archiver';
$followers->{run}->signal('CONT');
$followers->check('games that came meanwhile', 0, Followers::truth($node, q{game_type = 'brief'}), from_start => 1);
$node->safe_psql('postgres', q{SELECT gamestate.create_game('brief')});
$followers->check('and games that come then', 0, Followers::truth($node, q{game_type = 'brief'}), from_start => 1);
$followers->finish;
$node->stop;

# ---------------------------------------------------------------------------
note 'Failover to a synchronous standby; another one follows on standbys';

my $primary = new_primary('first');
my $standby = new_standby($primary, 'second');
$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'\n");
$primary->reload;
$primary->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'}) or die 'no synchronous standby';
my $both = conninfo($primary, $standby);
$followers = Followers->start($both, '-W', 1000, '-A', 2000, '-C', 1000, '-t', 'pool');
my $elsewhere = Followers->start("$both target_session_attrs=prefer-standby", '-W', 1000, '-A', 2000, '-C', 1000, '-t', 'pool');
$players = PoolPlayers->start($both, '-r', '-w', '-g', 6, '-t', 60000);
my $name = sprintf('%s:%d', $standby->host, $standby->port);
like($elsewhere->events, qr/ connected \Q$name\E +standby$/m, 'a standby is followed');
sleep(1);
processes_of($primary, 'STOP');
$standby->promote;
ok($followers->wait_for_event(qr/ connected \Q$name\E +primary$/m), 'the promoted standby is followed');
processes_of($primary, 'CONT');
sleep(0.5);
$primary->stop('immediate');
sleep(0.5);
$players->finish('failover');
$players->check('failover', $standby);
my $truth = Followers::truth($standby, q{game_type = 'pool'});
$followers->check('failover', 0, $truth, from_start => 1);
$elsewhere->check('on the standby', 0, $truth, from_start => 1);
is($followers->finish->{resets}, 0, 'nothing was taken back');
is($elsewhere->finish->{resets}, 0, 'nor there');

# ---------------------------------------------------------------------------
note 'A standby that lagged behind takes over: what is lost is told';

my $late = new_standby($standby, 'third');
my ($kept, $cut, $gone, $again) = split /\n/, $standby->safe_psql('postgres', q{
SELECT gamestate.create_game('lossy', game_id => ('40470000-0000-4000-8000-00000000000' || n)::uuid) FROM generate_series(1, 3) n});
$again = '40470000-0000-4000-8000-000000000004';
$standby->safe_psql('postgres', "SELECT move(game_id, 1) FROM gamestate.list_live_games('lossy')");
$standby->wait_for_catchup($late, 'replay', $standby->lsn('write'));
$late->stop;
$followers = Followers->start(conninfo($standby, $late), '-W', 1000, '-A', 2000, '-C', 1000, '-s', '-t', 'lossy');
$standby->safe_psql('postgres', "SELECT move('$cut', 2), move('$cut', 3); SELECT gamestate.create_game('lossy', game_id => '$again'), gamestate.finish_game('$gone')");
ok($followers->complete(0, { $again => [ [1] ], $gone => [ [3] ] }), 'before');
$standby->stop('immediate');
$late->start;
$late->promote;
$late->safe_psql('postgres', "SELECT move('$cut', 4), move('$kept', 5)");
$truth = Followers::truth($late, q{game_type = 'lossy'});
$followers->check('lossy', 0, $truth, from_start => 1, resets => 1);
is(join(' ', map { "$_->[2] $_->[1]" } sort { $a->[2] cmp $b->[2] } grep { $_->[1] =~ /reset|deleted/ } @{ $followers->told }),
	"$cut reset $gone reset $again deleted", 'what was taken back is told, and nothing else');
$followers->finish;
$late->stop;

done_testing();
