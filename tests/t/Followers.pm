# Subscriptions of libgamestate (client/test_pool/follower.c) while a test does
# something to the servers, and a comparison of what they were told with the
# games' logs: nothing missing, nothing twice, nothing that is not so in the end.

package Followers;

use strict;
use warnings;

use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $runs = 0;

# start(CONNINFO, OPTIONS of follower...): returns when all subscriptions are current
sub start
{
	my ($class, $conninfo, @options) = @_;
	my $base = "$PostgreSQL::Test::Utils::tmp_check/followed" . ++$runs . "_$$";
	my $self = bless { out => $base, events => "$base.events", stdout => '', stderr => '', read => 0, told => [], rest => '' }, $class;

	$self->{run} = IPC::Run::start([ "$ENV{GS_CLIENT}/pool_follower", '-e', $self->{events}, @options, $base, $conninfo ],
		'>', \$self->{stdout}, '2>', \$self->{stderr}, IPC::Run::timer(10 * $PostgreSQL::Test::Utils::timeout_default));
	$self->{run}->pump until $self->{stdout} =~ /^following$/m || !$self->{run}->pumpable;
	like($self->{stdout}, qr/^following$/m, 'games are followed') or diag($self->{stderr});
	return $self;
}

# A test that dies leaves nobody behind.
sub DESTROY
{
	my ($self) = @_;
	$self->{run}->kill_kill if $self->{run} && $self->{run}->pumpable;
	return;
}

sub events
{
	my ($self) = @_;
	return slurp_file($self->{events});
}

sub wait_for_event
{
	my ($self, $regexp) = @_;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if $self->events =~ $regexp;
		usleep(100_000);
	}
	return 0;
}

# told(): what was told so far, as [subscription, kind, game, version, what, player, at, event, state]
sub told
{
	my ($self) = @_;
	open my $in, '<', $self->{out} or die "$self->{out}: $!";
	seek $in, $self->{read}, 0;
	while (my $line = <$in>)
	{
		last unless $line =~ s/\n\z//; # the rest comes later
		$self->{read} += length($line) + 1;
		my @fields = map { unescape($_) } split /\t/, $line, -1;
		push @{ $self->{told} }, \@fields;
	}
	close $in;
	return $self->{told};
}

sub unescape
{
	my ($text) = @_;
	return undef if $text eq '\N';
	$text =~ s/\\(.)/$1 eq 'n' ? "\n" : $1 eq 't' ? "\t" : $1/ge;
	return $text;
}

# truth(NODE, WHERE): the logs of all games there are, live or archived, of which WHERE
# (a condition on game_id and game_type) is true: { id => [[version, what, player, at, event], ...] }
sub truth
{
	my ($node, $where) = @_;
	my %games;
	my $out = $node->safe_psql('postgres', qq{
		COPY (SELECT g.game_id, c.version, c.kind, c.player, (extract(epoch FROM c.at) * 1000000)::bigint, c.event
				FROM gamestate.games g, gamestate.get_changes(g.game_id) c WHERE $where ORDER BY 1, 2) TO STDOUT});
	foreach my $line (split /\n/, $out)
	{
		my ($id, @change) = map { unescape($_) } split /\t/, $line, -1;
		push @{ $games{$id} }, \@change;
	}
	return \%games;
}

# states(NODE, WHERE): their last states, { id => json }
sub states
{
	my ($node, $where) = @_;
	my $out = $node->safe_psql('postgres', qq{COPY (SELECT g.game_id, (gamestate.get_game(g.game_id)).state FROM gamestate.games g WHERE $where) TO STDOUT});
	return { map { my ($id, $state) = map { unescape($_) } split /\t/; ($id => $state) } split /\n/, $out };
}

sub same
{
	my ($a, $b) = @_;
	return defined $a ? defined $b && $a eq $b : !defined $b;
}

# An event {"set": {...}} changes keys of the state.
sub fold
{
	my ($state, $event) = @_;
	my $set = defined $event && $event =~ /^\{"set"/ ? decode_json($event)->{set} : {};
	$state->{$_} = $set->{$_} foreach keys %$set;
	return;
}

# faults(TOLD, TRUTH, options): what is wrong with what one subscription was told.  Options:
#   from_start: every game from version 1 on, and every game there is
#   states:     states as they are in the end, which the events add up to
#   resets:     changes may have been taken back, if that was told
#   again:      { id => 1 } of games of which that may be because they were created anew
sub faults
{
	my ($told, $truth, %options) = @_;
	my (%log, %deleted, %begun, @faults);

	foreach my $update (@$told)
	{
		my (undef, $kind, $id, $version, $what, $player, $at, $event) = @$update;

		next if $kind eq 'current' || $kind eq 'notice';
		my $log = $log{$id} //= [];
		if ($kind eq 'deleted' || $kind eq 'reset')
		{
			push @faults, "$id: $kind" if $kind eq 'reset' && !$options{resets} && !$options{again}{$id};
			push @faults, "$id: $kind of what was never told" if $kind eq 'reset' && !@$log;
			@$log = ();
			$deleted{$id} = $kind eq 'deleted';
			$begun{$id} = 1;
			next;
		}
		if ($kind eq 'snapshot')
		{
			push @faults, "$id: a snapshot as of $version";
			next;
		}
		my $expected = @$log ? $log->[-1][0] + 1 : $begun{$id} || $options{from_start} ? 1 : $version;
		push @faults, "$id: version $version instead of $expected" if $version != $expected;
		delete $deleted{$id};
		push @$log, [ $version, $what, $player, $at, $event ];
	}
	foreach my $id (sort keys %log)
	{
		my $log = $log{$id};
		my %is = map { $_->[0] => $_ } @{ $truth->{$id} // [] };

		push @faults, "$id: was deleted, and is there" if $deleted{$id} && $truth->{$id};
		push @faults, "$id: is not there" if !$deleted{$id} && !$truth->{$id};
		next if !$truth->{$id};
		foreach my $change (@$log)
		{
			my $so = $is{ $change->[0] };
			if (!$so) { push @faults, "$id: version $change->[0] is not there"; next; }
			push @faults, "$id: version $change->[0] is another one" if grep { !same($change->[$_], $so->[$_]) } 0 .. 4;
		}
		push @faults, "$id: ends with version " . (@$log ? $log->[-1][0] : 'none') . " of $truth->{$id}[-1][0]"
			if !@$log || $log->[-1][0] != $truth->{$id}[-1][0];
		if ($options{states} && !@faults)
		{
			my $state = {};
			fold($state, $_->[4]) foreach @$log;
			my $json = JSON::PP->new->canonical;
			push @faults, "$id: its state is another one"
				if $json->encode($state) ne $json->encode(decode_json($options{states}{$id}));
		}
	}
	if ($options{from_start})
	{
		push @faults, "$_: was never told" foreach grep { !$log{$_} } sort keys %$truth;
	}
	return @faults;
}

# complete(SUBSCRIPTION, TRUTH): waits until it has been told the last version of all of these games
sub complete
{
	my ($self, $number, $truth) = @_;
	my %left = map { $_ => $truth->{$_}[-1][0] } keys %$truth;
	my $from = 0;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $told = $self->told;
		for (; $from < @$told; $from++)
		{
			my ($sub, $kind, $id, $version) = @{ $told->[$from] };
			next if $sub != $number;
			$left{$id} = $truth->{$id}[-1][0] if $truth->{$id} && ($kind eq 'reset' || $kind eq 'deleted');
			delete $left{$id} if $kind eq 'change' && exists $left{$id} && $version == $left{$id};
		}
		return 1 unless %left;
		usleep(100_000);
	}
	diag("not told: " . join(' ', (sort keys %left)[ 0 .. (keys %left > 5 ? 4 : keys(%left) - 1) ]));
	return 0;
}

# check(NAME, SUBSCRIPTION, TRUTH, options of faults)
sub check
{
	my ($self, $name, $number, $truth, %options) = @_;

	ok($self->complete($number, $truth), "$name: is told everything");
	usleep(300_000); # what should not come
	my @faults = faults([ grep { $_->[0] == $number } @{ $self->told } ], $truth, %options);
	is(join("\n", @faults[ 0 .. (@faults > 10 ? 9 : $#faults) ]), '', "$name: every change once, in order, as it is in the end");
	return;
}

# finish(): what it has counted
sub finish
{
	my ($self) = @_;
	$self->{run}->signal('TERM');
	$self->{run}->finish;
	is($self->{run}->result(0), 0, 'the followers come to their end') or diag($self->{stderr});
	my %report = $self->{stdout} =~ /^(\w+)=(-?\d+)$/mg;
	note(join(' ', map { "$_=$report{$_}" } sort keys %report));
	return \%report;
}

1;
