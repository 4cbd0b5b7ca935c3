# Concurrent moves, reads, joins, leaves, deadlines, claims and moves under leases of a
# few games are linearizable: there is
# an order of the calls that explains all answers, also across crashes, and with
# calls of which nobody knows whether they were executed.
#
# A layer of its own because it needs many connections at once, and a server that
# crashes meanwhile.  What linearizable means, and how it is found out, stands in
# Linear.pm.

use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use lib $FindBin::Bin;
use Followers;
use Linear;

# ---------------------------------------------------------------------------
note 'Does the checker find what is wrong?';

# call(BEGAN, ENDED, CALL, fields...)
my $thread = 0;
sub call
{
	my ($began, $ended, $call, %fields) = @_;
	return { thread => $thread++, began => $began, ended => $ended, game => 'g', call => $call, player => '', expected => 0,
		request => '', outcome => 'ok', sqlstate => '', version => 0, read => '', detail => '', %fields };
}
sub move { my ($began, $ended, $version, %fields) = @_; return call($began, $ended, 'apply_move', request => "r$version", version => $version, %fields); }
sub version { my ($began, $ended, $version) = @_; return call($began, $ended, 'get_version', version => $version); }
sub state { my ($began, $ended, $state) = @_; return call($began, $ended, 'get_state', read => $state); }
sub join_game { my ($began, $ended, $version, $player, %fields) = @_; return call($began, $ended, 'join_game', request => "r$version", version => $version, player => $player, %fields); }
sub refused { my ($call, $sqlstate, $detail) = @_; return { %$call, outcome => 'refused', sqlstate => $sqlstate, detail => $detail // '', version => 0 }; }

# the log of moves 2 ... n, with other changes among them: version => [what, player]
sub log_of
{
	my ($n, %other) = @_;
	return { g => [ [ 1, 'create', undef, undef, undef ], map { [ $_, $other{$_} ? @{ $other{$_} } : ('move', undef), "r$_", qq("e$_") ] } 2 .. $n ] };
}
sub right { my ($name, $log, @calls) = @_; is(join("\n", Linear::violations(\@calls, $log)), '', "right: $name"); return; }
sub wrong { my ($name, $log, @calls) = @_; cmp_ok(scalar(Linear::violations(\@calls, $log)), '>', 0, "found: $name"); return; }
# by the check that is there for it, not by another one
sub wrong_as { my ($what, $name, $log, @calls) = @_; like(join("\n", Linear::violations(\@calls, $log)), $what, "found: $name"); return; }

my $three = log_of(3);
my @moves = (move(10, 20, 2), move(30, 40, 3));
right('one after the other', $three, @moves, version(0, 5, 1), version(25, 26, 2), version(50, 51, 3));
right('a read at the same time sees the old version', $three, @moves, version(31, 35, 2));
right('or the new one', $three, @moves, version(31, 35, 3));
right('moves at the same time, in the other order', $three, move(10, 40, 3), move(20, 30, 2));
right('one version, read twice', $three, @moves, version(50, 51, 3), version(60, 61, 3));
wrong('moves in the wrong order', $three, move(10, 20, 3), move(30, 40, 2));
wrong('a stale read', $three, @moves, version(45, 50, 2));
wrong('a read of the future', $three, @moves, version(21, 25, 3));
wrong('reads that go back', $three, move(10, 20, 2), move(30, 90, 3), version(40, 50, 3), version(60, 70, 2));
right('reads that do not', $three, move(10, 20, 2), move(30, 90, 3), version(40, 50, 2), version(60, 70, 3));
wrong('a stale state', $three, @moves, state(45, 50, '"e2"'));
wrong('a state of the future', $three, @moves, state(21, 25, '"e3"'));
wrong('a state that never was', $three, @moves, state(35, 50, '"e9"'));
right('states', $three, @moves, state(0, 1, '"none"'), state(15, 35, '"e2"'), state(35, 36, '"e3"'));
wrong('states that go back', $three, move(10, 20, 2), move(30, 90, 3), state(40, 50, '"e3"'), state(60, 70, '"e2"'));
wrong('a state, then an older version', $three, move(10, 20, 2), move(30, 90, 3), state(40, 50, '"e3"'), version(60, 70, 2));
wrong('a lost move', log_of(2), @moves);
wrong('a move that was refused and made', $three, $moves[0], refused($moves[1], 'GS001', 'is at version 2.'));
wrong('an answer with another version', $three, $moves[0], move(30, 40, 3, version => 4));
wrong('a version that nobody has made', $three, $moves[0]);
wrong_as(qr/has no request id/, 'a version without a request', { g => [ map { my @c = @$_; $c[3] = undef if $c[0] == 3; \@c } @{ $three->{g} } ] }, $moves[0]);
wrong_as(qr/have the same request id/, 'one request, two versions, by itself', { g => [ map { my @c = @$_; $c[3] = 'r2' if $c[0] == 3; \@c } @{ $three->{g} } ] }, @moves);
wrong_as(qr/was refused with GS002/, 'refused for no reason', $three, @moves, refused(call(50, 60, 'apply_move', request => 'x'), 'GS002'));
wrong('one request, two versions', { g => [ map { my @c = @$_; $c[3] = 'r2' if $c[0] == 3; \@c } @{ $three->{g} } ] }, move(10, 20, 2));
wrong('a version is missing', { g => [ @{ $three->{g} }[ 0, 2 ] ] }, $moves[1]);
wrong('not the version that was expected', $three, $moves[0], move(30, 40, 3, expected => 1));
right('the version that was expected', $three, $moves[0], move(30, 40, 3, expected => 2));
right('refused as stale', $three, @moves, refused(call(32, 50, 'apply_move', request => 'x', expected => 2), 'GS001', 'is at version 3.'));
wrong('refused as stale too early', $three, @moves, refused(call(22, 25, 'apply_move', request => 'x', expected => 2), 'GS001', 'is at version 3.'));
wrong('refused although it was not', $three, @moves, refused(call(42, 50, 'apply_move', request => 'x', expected => 3), 'GS001', 'is at version 3.'));
right('nobody knows, and it was made', $three, $moves[0], move(25, 26, 3, outcome => 'unknown', version => 0), version(50, 51, 3));
right('nobody knows, and it was not', log_of(2), $moves[0], move(25, 26, 3, outcome => 'unknown', version => 0), version(50, 51, 2));
right('nobody knows, and it was made later', $three, $moves[0], move(25, 26, 3, outcome => 'unknown', version => 0), version(30, 31, 2), version(50, 51, 3));
wrong('nobody knows, but it came before it began', $three, move(30, 40, 2, outcome => 'unknown', version => 0), move(10, 20, 3));

my $seats = log_of(4, 2 => [ 'join', 'p1' ], 3 => [ 'join', 'p2' ], 4 => [ 'join', 'p3' ]);
my @joins = map { join_game(10 * $_, 10 * $_ + 5, $_, 'p' . ($_ - 1)) } 2 .. 4;
right('joins', $seats, @joins);
right('full', $seats, @joins, refused(join_game(41, 50, 'x', 'p5'), 'GS008'));
wrong('full, for one who sits', $seats, @joins, refused(join_game(41, 50, 'x', 'p1'), 'GS008'));
wrong_as(qr/leaves and was not there/, 'leaves without a seat', log_of(2, 2 => [ 'leave', 'p1' ]), call(10, 20, 'leave_game', request => 'r2', version => 2, player => 'p1'));
wrong('full too early', $seats, @joins, refused(join_game(36, 39, 'x', 'p5'), 'GS008'));
right('joins twice', $seats, @joins, join_game(50, 60, 'x', 'p1', version => 4));
wrong('joined nothing', $seats, @joins, join_game(50, 60, 'x', 'p6', version => 4));
wrong('a fifth', log_of(5, 2 => [ 'join', 'p1' ], 3 => [ 'join', 'p2' ], 4 => [ 'join', 'p3' ], 5 => [ 'join', 'p4' ]), @joins, join_game(50, 60, 5, 'p4'));
wrong('a seat twice', log_of(3, 2 => [ 'join', 'p1' ], 3 => [ 'join', 'p1' ]), join_game(10, 20, 2, 'p1'), join_game(30, 40, 3, 'p1'));
wrong('moves without a seat', log_of(2, 2 => [ 'move', 'p1' ]), move(10, 20, 2, player => 'p1'));
wrong('had a seat, and was told it has none', $seats, @joins, refused(call(50, 60, 'apply_move', request => 'x', player => 'p1'), 'GS009'));

# deadlines: nobody's call makes the change of kind deadline
my $timed = { g => [ [ 1, 'create', undef, undef, undef ], [ 2, 'set_deadline', undef, 'r2', undef ], [ 3, 'deadline', undef, undef, undef ], [ 4, 'move', undef, 'r4', '"e4"' ] ] };
my @timed = (call(10, 20, 'set_deadline', request => 'r2', version => 2), move(50, 60, 4));
right('a deadline', $timed, @timed, version(30, 40, 3));
right('that passes later', $timed, @timed, version(30, 40, 2));
wrong('a deadline twice', { g => [ @{ $timed->{g} }[ 0 .. 2 ], [ 4, 'deadline', undef, undef, undef ] ] }, $timed[0]);
wrong('a deadline that was not set', { g => [ @{ $timed->{g} }[0], [ 2, 'deadline', undef, undef, undef ] ] }, version(1, 2, 1));
wrong('a deadline, forgotten again', $timed, @timed, version(30, 40, 3), version(41, 45, 2));

# leases: t0 has 7, then t1 has 9
sub lease { my ($t, $began, $ended, $call, $lease, %fields) = @_; return call($began, $ended, $call, thread => $t, request => "l$began", read => $lease, version => $lease > 0 ? 1 : 0, %fields); }
my @leases = (lease(0, 10, 20, 'claim', 7), lease(0, 30, 40, 'release', 7), lease(1, 50, 60, 'claim', 9));
my $none = { g => [ [ 1, 'create', undef, undef, undef ] ] };
my $leased = { g => [ @{ $none->{g} }, [ 2, 'move', undef, 'm', '"m"' ] ] };
sub leased_move { my ($t, $began, $ended, $lease) = @_; return lease($t, $began, $ended, 'leased_move', $lease, request => 'm', version => 2); }
right('leases', $none, @leases);
right('nothing to claim', $none, @leases, lease(2, 15, 25, 'claim', 0), lease(2, 55, 70, 'claim', 0));
wrong('nothing to claim, though it was free', $none, @leases, lease(2, 42, 48, 'claim', 0));
wrong('two owners', $none, $leases[0], $leases[2]);
wrong('claimed before it was free', $none, @leases[ 0, 1 ], lease(1, 22, 28, 'claim', 9));
wrong('one number twice', $none, @leases, lease(3, 70, 80, 'claim', 9));
wrong('a higher number earlier', $none, lease(0, 10, 20, 'claim', 9), lease(0, 30, 40, 'release', 9), lease(1, 50, 60, 'claim', 7));
right('a move under a lease', $leased, @leases, leased_move(0, 22, 25, 7));
wrong('a move under a lease that was given up', $leased, @leases, leased_move(0, 42, 45, 7));
right('refused then', $none, @leases, { %{ leased_move(0, 42, 45, 7) }, outcome => 'refused', sqlstate => 'GS017', version => 0 });
wrong('refused too early', $none, @leases, { %{ leased_move(0, 22, 25, 7) }, outcome => 'refused', sqlstate => 'GS017', version => 0 });
wrong_as(qr/for the second time/, 'one number twice, to one owner', $none, $leases[0], lease(0, 22, 26, 'release', 7), lease(0, 30, 40, 'claim', 7));
right('has nothing to give up', $none, @leases, lease(2, 22, 26, 'release', 0), lease(0, 42, 46, 'release', 0));
wrong('told that it has nothing', $none, $leases[0], lease(0, 30, 40, 'release', 0));
wrong('a move under a lease that never was', $leased, @leases, leased_move(0, 22, 25, 8));
wrong('a move under a lease when there never was one', $leased, leased_move(0, 22, 25, 8));
wrong('gives up what it has not', $none, @leases, lease(2, 65, 70, 'release', 7));

# a history that is right, and as long as those below, with one read that is not
my $long = log_of(5000);
my @long = map { (move(10 * $_, 10 * $_ + 15, $_), version(10 * $_ + 2, 10 * $_ + 30, $_ + ($_ < 5000 ? $_ % 2 : 0)), state(10 * $_ + 3, 10 * $_ + 12, qq("e$_"))) } 2 .. 5000;
right('15,000 calls', $long, @long);
wrong('one of 15,000', $long, @long, version(30000, 30001, 2990));

# ---------------------------------------------------------------------------
note 'A server';

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 64MB
max_connections = 40
restart_after_crash = on
log_statement = none
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION gamestate');

# the logs as Linear.pm wants them
sub logs
{
	my %logs;
	my $copied = $node->safe_psql('postgres', q{
		COPY (SELECT g.game_id, c.version, c.kind, c.player, c.request_id, c.event
				FROM gamestate.list_live_games('linear') g, gamestate.get_changes(g.game_id) c ORDER BY 1, 2) TO STDOUT});
	foreach my $line (split /\n/, $copied)
	{
		my ($game, @change) = map { Followers::unescape($_) } split /\t/, $line, -1;
		push @{ $logs{$game} }, \@change;
	}
	return \%logs;
}

my $runs = 0;
sub record
{
	my ($name, $meanwhile, @options) = @_;
	my $file = "$PostgreSQL::Test::Utils::tmp_check/history" . ++$runs . "_$$";
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ "$ENV{GS_CLIENT}/pool_recorder", @options, $file, $node->connstr('postgres') ], '>', \$out, '2>', \$err,
		IPC::Run::timer(4 * $PostgreSQL::Test::Utils::timeout_default));

	$run->pump until $out =~ /recording/ || !$run->pumpable;
	$meanwhile->();
	$run->signal('TERM');
	$run->finish;
	is($run->result(0), 0, "$name: recorded") or diag($err);
	my $history = Linear::read_history($file);
	my %outcomes;
	$outcomes{ $_->{outcome} . ($_->{sqlstate} ? " $_->{sqlstate}" : '') }++ foreach @$history;
	note "$name: " . join(', ', map { "$outcomes{$_} $_" } sort keys %outcomes);
	cmp_ok($outcomes{ok}, '>', 100, "$name: there are calls");
	my $logs = logs();
	cmp_ok(scalar(grep { $_->[1] eq 'deadline' } map { @$_ } values %$logs), '>', 10, "$name: deadlines have passed") if grep { $_ eq '-D' } @options;
	my @wrong = Linear::violations($history, $logs);
	is(join("\n", @wrong[ 0 .. (@wrong > 10 ? 9 : $#wrong) ]), '', "$name: linearizable");
	$node->safe_psql('postgres', q{SELECT gamestate.delete_game(game_id) FROM gamestate.list_live_games('linear')});
	return;
}

record('one game', sub { sleep(2) }, '-g', 1, '-t', 8);
record('some games', sub { sleep(2) }, '-g', 4, '-t', 8);
record('deadlines', sub { sleep(2) }, '-g', 2, '-t', 8, '-D');
record('leases', sub { sleep(2) }, '-g', 3, '-t', 8, '-L', '-D');
record('crashes', sub {
	for (1 .. 2)
	{
		sleep(1);
		kill('KILL', $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() LIMIT 1}));
		sleep(1);
		# psql may be gone before it has read its script
		for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
		{
			last if eval { $node->safe_psql('postgres', 'SELECT gamestate.feed_position()'); 1 };
			sleep(0.1);
		}
	}
}, '-g', 2, '-t', 8, '-D');
$node->stop;
done_testing();
