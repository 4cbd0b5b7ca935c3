# Games that are played through a pool of libgamestate (client/test_pool/player.c)
# while a test does something to the servers.
#
# What the players were told about each move is compared with the games' logs
# afterwards: nothing acknowledged is lost, nothing is there twice, nothing that
# was refused is there.  And every call was answered by its deadline.

package PoolPlayers;

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $runs = 0;

# Later than its deadline by more than this no answer may come: far more than the
# pool needs, and far less than whoever waits for a dead server.
my $grace = 1500;

# start(CONNINFO, OPTIONS of player...): returns when the games have begun
sub start
{
	my ($class, $conninfo, @options) = @_;
	my $base = "$PostgreSQL::Test::Utils::tmp_check/players" . ++$runs . "_$$";
	my $self = bless { out => $base, events => "$base.events", stdout => '', stderr => '' }, $class;
	my $timer = IPC::Run::timer(4 * $PostgreSQL::Test::Utils::timeout_default);

	$self->{run} = IPC::Run::start(
		[ "$ENV{GS_CLIENT}/pool_player", '-e', $self->{events}, @options, $base, $conninfo ],
		'>', \$self->{stdout}, '2>', \$self->{stderr}, $timer);
	$self->{run}->pump until $self->{stdout} =~ /^playing$/m || !$self->{run}->pumpable;
	like($self->{stdout}, qr/^playing$/m, 'games have begun') or diag($self->{stderr});
	return $self;
}

# moves(): how many moves were answered so far (those that have been written out)
sub events
{
	my ($self) = @_;
	return slurp_file($self->{events});
}

# wait_for_event(REGEXP): the pool has said so
sub wait_for_event
{
	my ($self, $regexp) = @_;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if $self->events =~ $regexp;
		select(undef, undef, undef, 0.1);
	}
	return 0;
}

# finish(NAME): stops playing; what the pool has counted
sub finish
{
	my ($self, $name) = @_;

	$self->{run}->signal('TERM');
	$self->{run}->finish;
	is($self->{run}->result(0), 0, "$name: the players come to their end") or diag($self->{stderr});
	my %report = $self->{stdout} =~ /^(\w+)=(-?\d+)$/mg;
	note("$name: " . join(' ', map { "$_=$report{$_}" } sort keys %report));
	cmp_ok($report{ok}, '>', 20, "$name: moves were made");
	cmp_ok($report{late_ms}, '<', $grace, "$name: every call was answered by its deadline");
	is($report{calls}, 0, "$name: no call is left over");
	is($report{started}, $report{succeeded} + $report{failures}, "$name: every call is counted once");
	return \%report;
}

# check(NAME, NODE): compares what was told with the logs on that server
sub check
{
	my ($self, $name, $node) = @_;

	# As the lines are for COPY
	$node->safe_psql('postgres', q{
		CREATE TABLE IF NOT EXISTS told (n text, game uuid, told text, version bigint, status int, sqlstate text);
		TRUNCATE told});
	my $in = slurp_file($self->{out});
	my $rc = IPC::Run::run([ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-c', 'COPY told FROM STDIN' ], '<', \$in);
	ok($rc, "$name: what was told");
	is($node->safe_psql('postgres', q{
		WITH logged AS MATERIALIZED (
			SELECT g.game, c.version, c.event->>'n' AS n
			  FROM (SELECT DISTINCT game FROM told) g, gamestate.get_changes(g.game) c
			 WHERE c.kind = 'move')
		SELECT 'lost', n, version::text FROM told WHERE told = 'ok' AND (n, game, version) NOT IN (SELECT n, game, version FROM logged)
		UNION ALL
		SELECT 'twice', n, count(*)::text FROM logged GROUP BY n HAVING count(*) > 1
		UNION ALL
		SELECT 'made though refused', t.n, t.sqlstate FROM told t JOIN logged l USING (game, n) WHERE t.told = 'failed'
		UNION ALL
		SELECT 'never told', n, version::text FROM logged WHERE n NOT IN (SELECT n FROM told)
		UNION ALL
		SELECT 'told twice', n, count(*)::text FROM told GROUP BY n HAVING count(*) > 1
		LIMIT 20}), '', "$name: nothing is lost, nothing doubled");
	return;
}

1;
