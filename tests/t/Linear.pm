# Is a history of concurrent calls linearizable?  That is: is there an order of the
# calls, each at one moment between its begin and its answer, in which a game that
# does one call at a time would have given the same answers?  (Herlihy & Wing,
# "Linearizability: a correctness condition for concurrent objects", 1990.)
#
# The search for such an order is exponential in general (Wing & Gong, "Testing and
# verifying concurrent objects", 1993).  Here it is not, as games have versions:
#
# 1. Each game can be looked at by itself: linearizability is local (Herlihy & Wing).
# 2. The log of the game says which call has made which version (request ids), so
#    the order of the writes is known, and of calls with an unknown outcome whether
#    they were executed.  With the order of the writes and the version of each read
#    known, everything has its *place*: 2v for the write that made version v, 2v + 1
#    for what has seen version v.  (Gibbons & Korach, "Testing shared memories",
#    1997.)
# 3. Calls of one place can stand in any order that real time asks for.  So the
#    history is linearizable if and only if no call has a higher place than one that
#    began after it had been answered.  That is one pass over the calls in the order
#    of their places, from the highest on, with the earliest answer so far: n log n.
# 4. A read that does not say its version (the state; an error such as "full") has
#    all the places where its answer is right; between calls that were answered
#    before it began and those that began after it was answered, the first such
#    place is taken, calls in the order of their begin.  The first is the best: who
#    comes later can only be forced upwards by it.
#
# Besides, each write must be right for the version before: the expected version,
# the players, the seats, the deadline.  Which server runs a game is another object,
# with the numbers of leases in the place of versions: check_leases().

package Linear;

use strict;
use warnings;

use constant SEATS => 4;

my @fields = qw(thread began ended game call player expected request outcome sqlstate version read detail);

# read_history(FILE): calls as hashes
sub read_history
{
	my ($file) = @_;
	my @calls;

	open my $in, '<', $file or die "$file: $!";
	while (my $line = <$in>)
	{
		chomp $line;
		my %call;
		@call{@fields} = split /\t/, $line, -1;
		push @calls, \%call;
	}
	close $in;
	return \@calls;
}

# violations(CALLS, LOGS): LOGS is { game => [[version, what, player, request, event], ...] }
sub violations
{
	my ($calls, $logs) = @_;
	my (%by_game, @wrong);

	push @{ $by_game{ $_->{game} } }, $_ foreach @$calls;
	foreach my $game (sort keys %by_game)
	{
		push @wrong, map { "$game: $_" } check_game($by_game{$game}, $logs->{$game} // []);
	}
	return @wrong;
}

sub show
{
	my ($call) = @_;
	return "$call->{call}($call->{player}) of thread $call->{thread} at $call->{began}";
}

# What the game was as of each version: players, the last event, its deadline.
sub replay
{
	my ($log, $wrong) = @_;
	my @is = (undef, { players => { p0 => 1 }, state => '"none"' });

	foreach my $change (@$log)
	{
		my ($version, $what, $player, undef, $event) = @$change;
		next if $version == 1;
		my $before = $is[-1];
		my %after = (%$before, players => { %{ $before->{players} } });

		push @$wrong, "version $version of the log comes after " . $#is if $version != @is;
		if ($what eq 'move')
		{
			$after{state} = $event;
			push @$wrong, "version $version: a move of $player, who is not there" if defined $player && !$before->{players}{$player};
		}
		elsif ($what eq 'join')
		{
			push @$wrong, "version $version: $player joins twice" if $before->{players}{$player};
			push @$wrong, "version $version: $player joins, and it is full" if keys %{ $before->{players} } >= SEATS;
			$after{players}{$player} = 1;
		}
		elsif ($what eq 'leave')
		{
			push @$wrong, "version $version: $player leaves and was not there" if !$before->{players}{$player};
			delete $after{players}{$player};
		}
		elsif ($what eq 'set_deadline') { $after{deadline} = 1; }
		elsif ($what eq 'deadline')
		{
			push @$wrong, "version $version: a deadline that was not set" if !$before->{deadline};
			delete $after{deadline};
		}
		$is[$version] = \%after;
	}
	return \@is;
}

# The places of a call: one, or a test of versions; undef: nobody has seen it.
sub place
{
	my ($call, $made, $is, $wrong) = @_;
	my $version = $call->{request} ne '' ? $made->{ $call->{request} } : undef;
	my $player = $call->{player};

	if (defined $version)
	{
		push @$wrong, show($call) . " was refused, and made version $version" if $call->{outcome} eq 'refused';
		push @$wrong, show($call) . " was answered $call->{version}, and made version $version"
			if $call->{outcome} eq 'ok' && $call->{version} != $version;
		push @$wrong, show($call) . " expected $call->{expected}, and made version $version"
			if $call->{expected} > 0 && $call->{expected} != $version - 1;
		return 2 * $version;
	}
	return undef if $call->{call} eq 'claim' || $call->{call} eq 'release' || $call->{sqlstate} eq 'GS017';
	if ($call->{outcome} eq 'ok')
	{
		if ($call->{call} eq 'get_version') { return 2 * $call->{version} + 1; }
		if ($call->{call} eq 'get_state') { return sub { $_[0]{state} eq $call->{read} }; }
		if ($call->{call} eq 'join_game')
		{
			push @$wrong, show($call) . " changed nothing, although the player was not there"
				if !$is->[ $call->{version} ] || !$is->[ $call->{version} ]{players}{$player};
			return 2 * $call->{version} + 1;
		}
		push @$wrong, show($call) . ' was successful, and is not in the log';
		return undef;
	}
	return undef if $call->{outcome} eq 'unknown';
	if ($call->{sqlstate} eq 'GS001')
	{
		my ($actual) = $call->{detail} =~ /is at version (\d+)/;
		push @$wrong, show($call) . " was stale, though it expected version $actual" if $actual == $call->{expected};
		return 2 * $actual + 1;
	}
	return sub { keys %{ $_[0]{players} } >= SEATS && !$_[0]{players}{$player} } if $call->{sqlstate} eq 'GS008';
	return sub { !$_[0]{players}{$player} } if $call->{sqlstate} eq 'GS009';
	# lost, or not even sent: it says nothing
	return undef if $call->{sqlstate} !~ /^GS/ || $call->{sqlstate} eq 'GS013';
	push @$wrong, show($call) . " was refused with $call->{sqlstate}";
	return undef;
}

# Item 3: pairs that are in the wrong order
sub order
{
	my ($calls) = @_;
	my ($earliest, $its, @wrong);

	foreach my $call (sort { $b->{place} <=> $a->{place} } @$calls)
	{
		# those of the same place may be in any order
		if (defined $earliest && $earliest->{place} > $call->{place} && $earliest->{ended} < $call->{began})
		{
			push @wrong, show($call) . " has place $call->{place}, after " . show($earliest) . " has had $earliest->{place}";
		}
		$earliest = $call if (!defined $earliest || $call->{ended} < $earliest->{ended});
	}
	return @wrong;
}

# Item 4.  STATES are what can be seen, [place, what], in the order of their places.
sub find_places
{
	my ($placed, $free, $states) = @_;
	my @by_end = sort { $a->{ended} <=> $b->{ended} } @$placed;
	my @by_begin = sort { $a->{began} <=> $b->{began} } @$placed;
	my ($low, $end, @found, @wrong) = (0, 0);
	my @highest;

	# the lowest place of those that begin at by_begin[i] or later
	$highest[@by_begin] = $states->[-1][0];
	for (my $i = $#by_begin; $i >= 0; $i--)
	{
		$highest[$i] = $by_begin[$i]{place} < $highest[ $i + 1 ] ? $by_begin[$i]{place} : $highest[ $i + 1 ];
	}
	foreach my $call (sort { $a->{began} <=> $b->{began} } @$free)
	{
		while ($end < @by_end && $by_end[$end]{ended} < $call->{began})
		{
			$low = $by_end[$end]{place} if $by_end[$end]{place} > $low;
			$end++;
		}
		# of those that have been placed here
		@found = sort { $a->{ended} <=> $b->{ended} } @found;
		while (@found && $found[0]{ended} < $call->{began})
		{
			$low = $found[0]{place} if $found[0]{place} > $low;
			shift @found;
		}
		my $high = $highest[ first_index(scalar @by_begin, sub { $by_begin[ $_[0] ]{began} > $call->{ended} }) ];
		my $state = first_index(scalar @$states, sub { $states->[ $_[0] ][0] >= $low });
		$state++ while $state < @$states && $states->[$state][0] <= $high && !$call->{test}->($states->[$state][1]);
		if ($state == @$states || $states->[$state][0] > $high)
		{
			push @wrong, show($call) . " was answered $call->{sqlstate} $call->{read}, which was never so between places $low and $high";
			next;
		}
		$call->{place} = $states->[$state][0];
		push @found, $call;
	}
	return @wrong;
}

# the first of 0 ... n - 1 for which it is true, as it is for all after that; else n
sub first_index
{
	my ($n, $is_true) = @_;
	my ($from, $to) = (0, $n);
	while ($from < $to)
	{
		my $middle = int(($from + $to) / 2);
		if ($is_true->($middle)) { $to = $middle; }
		else { $from = $middle + 1; }
	}
	return $from;
}

# Calls that are about leases: who runs the game is an object of its own.  Its order
# is that of the leases' numbers: the i-th claim has place 4i, its use 4i + 1, its end
# 4i + 2, and what has seen that nobody runs the game then, 4i + 3.
sub check_leases
{
	my ($calls) = @_;
	my @claims = sort { $a->{read} <=> $b->{read} } grep { $_->{call} eq 'claim' && $_->{outcome} eq 'ok' && $_->{read} > 0 } @$calls;
	my (@wrong, @placed, @free, %index, %held, %ended);
	my @states = ([ 3, 0 ]);

	foreach my $i (0 .. $#claims)
	{
		push @wrong, show($claims[$i]) . " got lease $claims[$i]{read} for the second time" if $index{ $claims[$i]{read} };
		$index{ $claims[$i]{read} } = $i + 1;
	}
	# a thread does one thing after the other
	foreach my $call (sort { $a->{began} <=> $b->{began} } @$calls)
	{
		my %copy = %$call;
		my $mine = $held{ $call->{thread} };

		next if $call->{outcome} eq 'unknown';
		if ($call->{call} eq 'claim' && $call->{outcome} eq 'ok' && $call->{read} > 0)
		{
			$copy{place} = 4 * $index{ $call->{read} };
			$held{ $call->{thread} } = $call->{read};
		}
		elsif ($call->{call} eq 'claim' && $call->{outcome} eq 'ok') { $copy{test} = sub { $_[0] != 0 }; }
		elsif ($call->{call} eq 'release' && $call->{outcome} eq 'ok' && $call->{version} > 0)
		{
			push @wrong, show($call) . ' gave up what it did not have' if !$mine;
			$copy{place} = 4 * $index{$mine} + 2 if $mine;
			$ended{$mine} = 1 if $mine;
			delete $held{ $call->{thread} };
		}
		elsif ($call->{call} eq 'release' && $call->{outcome} eq 'ok')
		{
			$copy{test} = sub { !$mine || $_[0] != $mine };
		}
		elsif ($call->{call} eq 'leased_move' && $call->{outcome} eq 'ok')
		{
			push @wrong, show($call) . " moved under lease $call->{read}, which nobody got" if !$index{ $call->{read} };
			$copy{place} = 4 * ($index{ $call->{read} } // 0) + 1;
		}
		elsif ($call->{call} eq 'leased_move' && $call->{sqlstate} eq 'GS017') { $copy{test} = sub { $_[0] != $call->{read} }; }
		else { next; }
		if ($copy{test}) { push @free, \%copy; }
		elsif (defined $copy{place}) { push @placed, \%copy; }
	}
	foreach my $i (0 .. $#claims)
	{
		my $lease = $claims[$i]{read};

		push @wrong, show($claims[ $i + 1 ]) . ' got a game that somebody had' if $i < $#claims && !$ended{$lease};
		push @states, [ 4 * $i + 5, $lease ];
		push @states, [ 4 * $i + 7, 0 ] if $ended{$lease};
	}
	return (@wrong, order(\@placed), find_places(\@placed, \@free, \@states));
}

sub check_game
{
	my ($calls, $log) = @_;
	my (@wrong, @placed, @free, %made);
	my $is = replay($log, \@wrong);

	foreach my $change (@$log)
	{
		my ($version, $what, undef, $request) = @$change;
		next if $version == 1 || $what eq 'deadline';
		push @wrong, "version $version has no request id" if !defined $request;
		push @wrong, "versions $made{$request} and $version have the same request id" if defined $request && $made{$request};
		$made{$request} = $version if defined $request;
	}
	my %known = map { $_->{request} => 1 } @$calls;
	push @wrong, map { "version $made{$_} was made by nobody" } grep { !$known{$_} } sort keys %made;
	foreach my $call (@$calls)
	{
		my $place = place($call, \%made, $is, \@wrong);
		my %copy = %$call;

		next if !defined $place;
		# it may have been executed long after its caller gave it up
		$copy{ended} = 9e18 if $call->{outcome} eq 'unknown';
		if (ref $place) { $copy{test} = $place; push @free, \%copy; }
		else { $copy{place} = $place; push @placed, \%copy; }
	}
	return (@wrong, order(\@placed),
		find_places(\@placed, \@free, [ map { [ 2 * $_ + 1, $is->[$_] ] } 1 .. $#$is ]),
		check_leases($calls));
}

1;
