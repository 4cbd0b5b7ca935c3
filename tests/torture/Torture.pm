# The torture test's model: what the writers were told, and whether the server
# still agrees with it after a crash.
#
# Everything known comes from the writers' logs (writer.c), which lie outside
# the server.  After each crash check() finds, for each writer, how many of its
# operations the server has: all that were acknowledged, and of the one or two
# that were under way a beginning; of a writer with synchronous_commit = off any
# beginning.  Only whole operations count, so that a torn transaction fits no
# beginning.  What a reader has been told (reader.c) counts like an
# acknowledgement, if its writer waits for the disk.  Then everything that the server shows must be what the model says,
# byte for byte, and nothing else may be there.

package Torture;

use strict;
use warnings;

use Digest::MD5 'md5_hex';

# new(directory for logs, number of writers, number of shared games)
sub new
{
	my ($class, $dir, $writers, $shared) = @_;
	my $self = bless {
		dir => $dir, writers => $writers, shared => $shared,
		game => {},             # private and shared games by id
		next_k => [ (1) x ($writers + 1) ],
		pos => [ (0) x ($writers + 1) ],
		reader_pos => 0, gone => {},
		archived => 0,          # games found in the archive, looked through and forgotten
		acknowledged => 0, unknown_there => 0, unknown_lost => 0, acknowledged_lost => 0, refused => 0, rolled_back => 0, told => 0,
	}, $class;
	for my $i (0 .. $shared - 1)
	{
		my $id = shared_id($i);
		$self->{game}{$id} = {
			is => 'live', version => 1, md5 => md5_hex('{"n":100}'), room => '-', player => '-', by => '0.0.0', log => 'create',
		};
	}
	return $self;
}

# So that the same thing can be checked twice.
sub copy
{
	my ($self) = @_;
	return bless { %$self, game => { %{ $self->{game} } }, pos => [ @{ $self->{pos} } ], gone => { %{ $self->{gone} } }, next_k => [ @{ $self->{next_k} } ] }, ref $self;
}

sub shared_id { return sprintf('5a000000-0000-4000-8000-%012d', $_[0]) }

sub log_file { my ($self, $writer) = @_; return "$self->{dir}/writer$writer.log" }

sub reader_log { my ($self) = @_; return "$self->{dir}/reader.log" }

# The last writer does not wait for the disk, and has no part in shared games.
sub is_async { my ($self, $writer) = @_; return $writer == $self->{writers} }

# Of one writer's games every state is kept, and compared with what he has logged; were it
# those of all (the shared ones among them), the journal's limit would be too high for many
# rotations, and the memory too small in the end.
sub setup_sql
{
	my ($self) = @_;
	my $shared = join("\n", map { "SELECT gamestate.create_game('shared', '{\"n\":100}', metadata => '{\"w\":0,\"k\":0,\"i\":0}', game_id => '"
		  . shared_id($_) . "');" } 0 .. $self->{shared} - 1);
	return qq{
CREATE EXTENSION gamestate;
INSERT INTO gamestate.policy (game_type, history) VALUES ('', 'events'), ('kept', 'full');
CREATE TABLE row_of (w int, k int, i int);
CREATE TABLE looked_through (game_id uuid);
CREATE PROCEDURE two_moves(id uuid, version int, w int, k int) LANGUAGE plpgsql AS \$\$
BEGIN
	PERFORM gamestate.apply_move(id, version, format('{"w":%s,"k":%s,"i":0}', w, k)::json,
		format('{"n":0,"w":%s,"k":%s,"i":0,"p":""}', w, k)::json);
	COMMIT;
	PERFORM gamestate.apply_move(id, version + 1, format('{"w":%s,"k":%s,"i":0}', w, k + 1)::json,
		format('{"n":0,"w":%s,"k":%s,"i":0,"p":""}', w, k + 1)::json);
END \$\$;
$shared
};
}

# What writer.c's put_state() makes.
sub state_of
{
	my ($w, $k, $p) = @_;
	my $own = substr($p->{game}, 28) . '-';
	return sprintf('{"n":%d,"w":%d,"k":%d,"i":%d,"p":"', $p->{n}, $w, $k, $p->{i})
	  . ($own x $p->{a}) . ("$w.$k.$p->{i};" x $p->{b}) . ($own x $p->{c}) . '"}';
}

# ---------------------------------------------------------------------------
# The writers' logs
# ---------------------------------------------------------------------------

# The operations that a writer has logged since last time, in order.
sub read_log
{
	my ($self, $w) = @_;
	my (@ops, %op);
	open my $fh, '<', $self->log_file($w) or return ();
	seek $fh, $self->{pos}[$w], 0;
	while (my $line = <$fh>)
	{
		my ($how, $k, $rest) = $line =~ /^([SAER]) (\d+)(?: (.*))?\n/ or die "log of writer $w: $line";
		$self->{next_k}[$w] = $k + 1 if $k >= $self->{next_k}[$w];
		if ($how eq 'S')
		{
			$op{$k} = { w => $w, k => $k, parts => [ map { read_part($_) } split(/\|/, $rest) ], is => 'sent' };
			push @ops, $op{$k};
		}
		elsif ($how eq 'A')
		{
			$op{$k}{is} = 'acknowledged';
			$self->{acknowledged}++;
		}
		elsif ($how eq 'R')
		{
			$self->{rolled_back}++;
			$self->{gone}{"$w.$k"} = 1;
		}
		else
		{
			# refused at its commit, or before, when nothing had been logged
			$self->{refused}++;
			$op{$k}{is} = 'refused' if $op{$k};
			$self->{gone}{"$w.$k"} = 1;
		}
	}
	$self->{pos}[$w] = tell $fh;
	return grep { $_->{is} ne 'refused' } @ops;
}

# What the reader was told since last time: the last operation of each writer,
# the highest version of each game, room codes.
sub read_told
{
	my ($self) = @_;
	my %told = (operation => {}, version => {}, room => {});
	open my $fh, '<', $self->reader_log or return \%told;
	seek $fh, $self->{reader_pos}, 0;
	while (my $line = <$fh>)
	{
		my ($what, $of, $value) = $line =~ /^([OVC]) (\S+) (.*)\n/ or die "log of the reader: $line";
		$self->{told}++;
		if ($what eq 'C')
		{
			$told{room}{$of}{$value} = 1;
			next;
		}
		push @{ $told{wrong} }, "a reader saw operation $of.$value, which was not committed" if $what eq 'O' && $self->{gone}{"$of.$value"};
		my $of_what = $told{ $what eq 'O' ? 'operation' : 'version' };
		$of_what->{$of} = $value if $value > ($of_what->{$of} // 0);
	}
	$self->{reader_pos} = tell $fh;
	return \%told;
}

# How many of a writer's operations must be there, that somebody was told of.
sub must_by_told
{
	my ($self, $w, $ops, $told) = @_;
	my ($must, @wrong) = (0);
	my $last = $told->{operation}{$w} // 0;
	$must = grep { $_->{k} <= $last } @$ops;
	my (%version, %room);
	my $now = games_of($self->{game}, $w);
	foreach my $id (keys %$now)
	{
		$version{$id} = 0 if $now->{$id}{version} >= ($told->{version}{$id} // 0);
		$room{$id}{ $now->{$id}{room} } = 0;
	}
	# the first operation that makes it so: an id, or a room code, may be used again
	for my $i (0 .. $#$ops)
	{
		foreach my $p (@{ $ops->[$i]{parts} })
		{
			my $id = $p->{game};
			$version{$id} //= $i + 1 if $p->{kind} ne 'd' && $p->{version} >= ($told->{version}{$id} // 0);
			$room{$id}{ $p->{room} } //= $i + 1 if $p->{kind} =~ /[cr]/;
		}
	}
	foreach my $id (keys %{ games_of({ %{ $told->{version} }, %{ $told->{room} } }, $w) })
	{
		if (my $v = $told->{version}{$id})
		{
			push @wrong, "a reader was told version $v of game $id, which nobody has made" unless defined $version{$id};
			$must = $version{$id} if ($version{$id} // 0) > $must;
		}
		foreach my $code (keys %{ $told->{room}{$id} // {} })
		{
			my $n = $room{$id}{$code};
			push @wrong, "a reader was told that game $id had room code $code, which it never had" unless defined $n;
			$must = $n if ($n // 0) > $must;
		}
	}
	return ($must, @wrong);
}

sub read_part
{
	my %p;
	@p{qw(kind game version n i a b c room)} = $_[0] =~ /^(\w) (\S+) (\d+) (-?\d+) (\d+) (\d+) (\d+) (\d+) (.+)$/
	  or die "part: $_[0]";
	return \%p;
}

# ---------------------------------------------------------------------------
# The model
# ---------------------------------------------------------------------------

# Do one part in a hash of games (and rows).
sub do_part
{
	my ($op, $p, $games, $rows) = @_;
	my $by = "$op->{w}.$op->{k}.$p->{i}";
	my $kind = $p->{kind};
	my $keeps = has_history($p->{game});
	if ($kind eq 't')
	{
		$rows->{$by} = 1;
		return;
	}
	if ($kind eq 'd')
	{
		delete $games->{ $p->{game} };
		return;
	}
	if ($kind eq 'c')
	{
		my ($slot) = $p->{game} =~ /(\d{12})$/;
		$games->{ $p->{game} } = {
			is => 'live', version => 1, md5 => md5_hex(state_of($op->{w}, $op->{k}, $p)), room => $p->{room},
			player => 'p' . $slot % 7, by => $by, log => 'create',
		};
		$games->{ $p->{game} }{states} = $games->{ $p->{game} }{md5} if $keeps;
		return;
	}
	# entries are replaced, not changed: an older copy of the hash keeps what it had
	my $g = $games->{ $p->{game} } = { %{ $games->{ $p->{game} } or return } };
	return if $g->{version} != $p->{version} - 1;    # does not fit, and the comparison will say so
	$g->{version} = $p->{version};
	if ($kind eq 'm')
	{
		$p->{md5} //= md5_hex(state_of($op->{w}, $op->{k}, $p));
		$g->{md5} = $p->{md5};
		$g->{log} .= " move:$by";
	}
	elsif ($kind eq 'r')
	{
		$g->{room} = $p->{room};
		$g->{log} .= ' room';
	}
	elsif ($kind eq 'f')
	{
		$g->{is} = 'over';
		$g->{room} = '-';
		$g->{result} = $by;
		$g->{log} .= ' finish';
	}
	$g->{states} .= " $g->{md5}" if $keeps;
	return;
}

# A game in one line, for comparing.
sub line
{
	my ($g) = @_;
	return 'is not there' unless $g;
	return join(' ', $g->{is}, "v$g->{version}", "state $g->{md5}", "room $g->{room}", "player $g->{player}",
		"created by $g->{by}", 'result ' . ($g->{result} // '-'), "log: $g->{log}",
		# one hash for all states but the last: most games have many
		'before: ' . md5_hex($g->{states} // ''));
}

# Of the third writer's games every state is kept (t/020_crash.pl).
sub has_history { return $_[0] =~ /^5b000003/ }

sub is_shared { return $_[0] =~ /^5a/ }

sub games_of
{
	my ($games, $w) = @_;
	my $prefix = sprintf('5b0000%02d', $w);
	return { map { $_ => $games->{$_} } grep { substr($_, 0, 8) eq $prefix } keys %$games };
}

# Names of what differs between two hashes of games or rows.
sub differences
{
	my ($what, $want, $got) = @_;
	my @wrong;
	my %all = (%$want, %$got);
	foreach my $id (sort keys %all)
	{
		my ($a, $b) = map { !exists $_->{$id} ? 'is not there' : ref($_->{$id}) ? line($_->{$id}) : 'is there' } $want, $got;
		push @wrong, "$what $id: expected $a\n    got $b" if $a ne $b;
	}
	return @wrong;
}

# The same question, quickly.
sub differ
{
	my ($want, $got) = @_;
	return 1 if keys %$want != keys %$got;
	foreach my $id (keys %$want)
	{
		return 1 unless exists $got->{$id};
		my ($a, $b) = ($want->{$id}, $got->{$id});
		return 1 if ref($a) && ($a->{version} != $b->{version} || line($a) ne line($b));
	}
	return 0;
}

# How many operations of this round does the server have?  Returns the games and
# rows then, and what is wrong if no number fits.
sub settle
{
	my ($self, $w, $ops, $seen, $told) = @_;
	my ($must, @told_wrong) = (0);
	if (!$self->is_async($w))
	{
		my $acknowledged = grep { $_->{is} eq 'acknowledged' } @$ops;
		($must, @told_wrong) = $self->must_by_told($w, $ops, $told);
		$must = $acknowledged if $acknowledged > $must;
	}
	my $got = games_of($seen->{game}, $w);
	my $got_rows = $seen->{rows}[$w] // {};
	my ($games, $rows) = (games_of($self->{game}, $w), {});
	my (@fits, @why);

	# a writer waits for each answer: what was not acknowledged comes last
	foreach my $n (0 .. @$ops)
	{
		if ($n > 0)
		{
			my $op = $ops->[ $n - 1 ];
			do_part($op, $_, $games, $rows) foreach grep { !is_shared($_->{game}) } @{ $op->{parts} };
		}
		next if $n < $must;
		if (!differ($games, $got) && !differ($rows, $got_rows) && !shared_wrong($ops, $n, $seen))
		{
			@fits = ($n, {%$games}, {%$rows});
		}
		elsif ($n == $must || $n == @$ops)
		{
			push @why, "writer $w, with $n of " . @$ops . ' operations:', differences('game', $games, $got),
			  differences('row', $rows, $got_rows), shared_wrong($ops, $n, $seen);
		}
	}
	return @fits ? (@fits, \@told_wrong) : (scalar(@$ops), $games, $rows, [ @told_wrong, @why ]);
}

# Transfers: the first n operations are in both games, the others in none.
sub shared_wrong
{
	my ($ops, $n, $seen) = @_;
	my @wrong;
	for my $i (0 .. $#$ops)
	{
		my $op = $ops->[$i];
		# acknowledged ones long ago are compared as a whole later
		foreach my $p (grep { is_shared($_->{game}) } @{ $op->{parts} })
		{
			my $there = ($seen->{event}{"$p->{game} $p->{version}"} // '') eq "$op->{w}.$op->{k}.$p->{i}";
			push @wrong, "operation $op->{w}.$op->{k}, game $p->{game}, version $p->{version}: "
			  . ($there ? 'is there' : 'is not there') if $there != ($i < $n);
		}
	}
	return @wrong;
}

# ---------------------------------------------------------------------------
# What the server has
# ---------------------------------------------------------------------------

# Rows of a query as arrays.
sub query
{
	my ($node, $sql) = @_;
	my $out = $node->safe_psql('postgres', "SET statement_timeout = '120s'; SET gamestate.enabled = on; $sql",
		extra_params => [ '-F', "\t" ]);
	return map { [ split(/\t/, $_, -1) ] } split(/\n/, $out);
}

my $by = sub { return "coalesce(($_[0]->>'w') || '.' || ($_[0]->>'k') || '.' || ($_[0]->>'i'), '-')" };

sub look
{
	my ($self, $node) = @_;
	my %seen = (game => {}, rows => [], event => {});
	my @columns = qw(is version md5 room player by result);
	my $live = "SELECT g.game_id AS id, CASE WHEN ended_at IS NULL THEN 'live' ELSE 'over' END, g.version, md5(g.state::text),
		CASE WHEN ended_at IS NULL THEN coalesce(room_code, '-') ELSE '-' END, coalesce(players[1], '-'),
		" . $by->('metadata') . ', ' . $by->('result') . ' FROM gamestate.list_live_games() g';
	# those that have been looked through are only counted
	my $archived = "SELECT a.game_id, 'over', a.version, md5(gamestate.get_state(a.game_id)::text), '-', coalesce(players[1], '-'),
		" . $by->('metadata') . ', ' . $by->('result') . ' FROM gamestate.archive a
		WHERE NOT EXISTS (SELECT FROM public.looked_through t WHERE t.game_id = a.game_id)';
	foreach my $row (query($node, $live), query($node, $archived))
	{
		my ($id, @values) = @$row;
		if ($seen{game}{$id})
		{
			push @{ $seen{wrong} }, "game $id is there twice";
			next;
		}
		my %g;
		@g{@columns} = @values;
		delete $g{result} if $g{result} eq '-';
		$g{log} = '';
		$seen{game}{$id} = \%g;
	}
	foreach my $row (query($node, qq{
		SELECT id, c.version, c.kind, } . $by->('c.event') . qq{
		FROM (SELECT game_id AS id FROM gamestate.list_live_games(NULL, NULL, false)
			  UNION ALL SELECT game_id FROM gamestate.archive a
			  WHERE NOT EXISTS (SELECT FROM public.looked_through t WHERE t.game_id = a.game_id)) l,
			gamestate.get_changes(id) WITH ORDINALITY c ORDER BY id, c.ordinality}))
	{
		my ($id, $version, $kind, $event) = @$row;
		my $g = $seen{game}{$id} or next;
		my $expected = ($g->{last} // 0) + 1;
		push @{ $seen{wrong} }, "game $id: version $version comes where $expected should" if $version != $expected;
		$g->{last} = $version;
		$g->{log} .= ($g->{log} eq '' ? '' : ' ') . ($kind eq 'move' ? "move:$event" : $kind =~ /room/ ? 'room' : $kind);
		$seen{event}{"$id $version"} = $event;
	}
	foreach my $g (values %{ $seen{game} })
	{
		$g->{log} .= " (ends at $g->{last})" if ($g->{last} // 0) != $g->{version};
		delete $g->{last};
	}
	foreach my $row (query($node, q{
		SELECT id, string_agg(md5(gamestate.state_at(id, v)::text), ' ' ORDER BY v)
		FROM (SELECT game_id AS id, version FROM gamestate.list_live_games('kept', NULL, false)
			  UNION ALL SELECT game_id, version FROM gamestate.archive a
			  WHERE game_type = 'kept' AND NOT EXISTS (SELECT FROM public.looked_through t WHERE t.game_id = a.game_id)) l,
			generate_series(1, version) v GROUP BY id}))
	{
		my ($id, $states) = @$row;
		$seen{game}{$id}{states} = $states if $seen{game}{$id} && has_history($id);
	}
	foreach my $row (query($node, 'SELECT w, k, i FROM public.row_of'))
	{
		push @{ $seen{wrong} }, "row @$row is there twice" if $seen{rows}[ $row->[0] ]{ join('.', @$row) }++;
	}
	push @{ $seen{wrong} }, map { join(' ', @$_) } query($node, q{
		SELECT 'in archive twice', game_id FROM gamestate.archive GROUP BY game_id HAVING count(*) > 1
		UNION ALL SELECT 'live and archived', game_id FROM gamestate.list_live_games(NULL, NULL, false) JOIN gamestate.archive USING (game_id)
		UNION ALL SELECT 'without payload', game_id FROM gamestate.archive FULL JOIN gamestate.archive_payload p USING (game_id)
			WHERE p.ended_at IS DISTINCT FROM archive.ended_at
		UNION ALL SELECT 'no longer in the archive', game_id FROM public.looked_through LEFT JOIN gamestate.archive a USING (game_id)
			WHERE a.game_id IS NULL
		UNION ALL SELECT 'room code does not find', game_id FROM gamestate.list_live_games(NULL, NULL, false)
			WHERE room_code IS NOT NULL AND ended_at IS NULL AND gamestate.find_room(room_code) IS DISTINCT FROM game_id
		UNION ALL SELECT 'player does not find', game_id FROM gamestate.list_live_games(NULL, NULL, false), unnest(players) p
			WHERE ended_at IS NULL AND game_id NOT IN (SELECT gamestate.player_games(p))
		UNION ALL SELECT 'player finds what is over', g FROM generate_series(0, 6) n, gamestate.player_games('p' || n) g
			WHERE NOT EXISTS (SELECT FROM gamestate.list_live_games(NULL, 'active', false) l WHERE l.game_id = g)
		UNION ALL SELECT 'damage in a journal table', NULL FROM verify_heapam('gamestate.journal_0')
		UNION ALL SELECT 'damage in a journal table', NULL FROM verify_heapam('gamestate.journal_1')});
	my ($sum) = query($node, q{SELECT sum((state->>'n')::int) FROM gamestate.list_live_games('shared')});
	push @{ $seen{wrong} }, "the sum of the shared games is $sum->[0]" if $sum->[0] != 100 * $self->{shared};
	return \%seen;
}

# A transaction of writer 1 that has certainly been acknowledged: a move and a row.
sub move_and_row
{
	my ($self, $node) = @_;
	$self->read_log(1);
	my $k = $self->{next_k}[1];
	my ($row) = query($node, q{SELECT game_id, version + 1 FROM gamestate.list_live_games('odd', 'active', false)
		WHERE game_id::text LIKE '5b000001-%' LIMIT 1}) or die 'writer 1 has no game';
	my $part = { kind => 'm', game => $row->[0], version => $row->[1], n => 0, i => 0, a => 3, b => 4, c => 5, room => '-' };
	$node->safe_psql('postgres', sprintf(q{BEGIN; SELECT gamestate.apply_move('%s', %d, '{"w":1,"k":%d,"i":0}', '%s');
		INSERT INTO row_of VALUES (1, %d, 1); COMMIT}, $part->{game}, $part->{version} - 1, $k, state_of(1, $k, $part), $k));
	open my $fh, '>>', $self->log_file(1) or die;
	print $fh "S $k ", join(' ', @$part{qw(kind game version n i a b c room)}), "|t - 0 0 1 0 0 0 -\nA $k\n";
	close $fh;
	return;
}

# The whole: returns what is wrong.  Nobody may be writing.
sub check
{
	my ($self, $node) = @_;
	# also after a crash everything that is over must get into the archive
	$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM gamestate.list_live_games(NULL, NULL, false) WHERE ended_at IS NOT NULL')
	  or return ('games that are over do not get into the archive');
	my $seen = $self->look($node);
	my @wrong = @{ $seen->{wrong} // [] };
	my @shared;
	my $rows_there = 0;
	# rolled back and refused ones first: readers must not have seen them
	my @ops_of = map { $_ > 0 ? [ $self->read_log($_) ] : [] } 0 .. $self->{writers};
	my $told = $self->read_told;
	push @wrong, @{ $told->{wrong} // [] };
	$self->{gone} = {};
	foreach my $w (1 .. $self->{writers})
	{
		my @ops = @{ $ops_of[$w] };
		my ($n, $games, $rows, $why) = $self->settle($w, \@ops, $seen, $told);
		push @wrong, @$why;
		my @unknown = grep { $_->{is} ne 'acknowledged' } @ops;
		my $lost = @ops - $n;
		$self->{unknown_lost} += $lost > @unknown ? @unknown : $lost;
		$self->{acknowledged_lost} += $lost - @unknown if $lost > @unknown;    # of the one who does not wait
		$self->{unknown_there} += @unknown - ($lost > @unknown ? @unknown : $lost);
		foreach my $op (@ops[ 0 .. $n - 1 ])
		{
			push @shared, map { [ $op, $_ ] } grep { is_shared($_->{game}) } @{ $op->{parts} };
		}
		delete $self->{game}{$_} foreach keys %{ games_of($self->{game}, $w) };
		$self->{game}{$_} = $games->{$_} foreach keys %$games;
		$rows_there += keys %$rows;
	}
	do_part(@$_, $self->{game}, undef) foreach sort { $a->[1]{version} <=> $b->[1]{version} } @shared;
	my %want = map { $_ => $self->{game}{$_} } grep { is_shared($_) } keys %{ $self->{game} };
	my %got = map { $_ => $seen->{game}{$_} } grep { is_shared($_) } keys %{ $seen->{game} };
	push @wrong, differences('shared game', \%want, \%got);
	foreach my $id (grep { is_shared($_) } keys %{ $told->{version} })
	{
		push @wrong, "a reader was told version $told->{version}{$id} of game $id, which is at $got{$id}{version}"
		  if $told->{version}{$id} > $got{$id}{version};
	}
	my @unknown = grep { !is_shared($_) && !$self->{game}{$_} } keys %{ $seen->{game} };
	push @wrong, map { "nobody made game $_" } @unknown;

	my $rows_seen = 0;
	$rows_seen += keys %{ $seen->{rows}[$_] // {} } foreach 0 .. $#{ $seen->{rows} };
	push @wrong, "there are $rows_seen rows, not $rows_there" if $rows_seen != $rows_there;
	$node->safe_psql('postgres', 'TRUNCATE row_of') if !@wrong;

	# what is over is never looked at again, but must stay where it is
	my @over = grep { $self->{game}{$_}{is} eq 'over' } keys %{ $self->{game} };
	if (@over && !@wrong)
	{
		$node->safe_psql('postgres', 'INSERT INTO looked_through VALUES ' . join(', ', map { "('$_')" } @over));
		delete $self->{game}{$_} foreach @over;
		$self->{archived} += @over;
	}
	return @wrong;
}

1;
