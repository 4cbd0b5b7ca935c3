# A subscriber that only uses the change feed has the log of every game exactly:
# nothing missed, nothing twice, nothing out of order, while writers of all levels of
# synchronous_commit make moves, delete games and make them again, and standbys come
# and go; and after a crash nothing that he was told has been taken back.
#
# A layer of its own because it needs many sessions at once, and a crash.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 64MB
gamestate.feed_size = 64MB
gamestate.journal_size = 16MB
max_worker_processes = 12
autovacuum = off
fsync = on
log_statement = none
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql AS
$$SELECT ('41410000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
CREATE TABLE halt (now int);
CREATE TABLE noted (n int);

-- A few games that all writers change.  A version that was gone when it came to it,
-- a game that somebody else has made: that is play.
CREATE PROCEDURE play(me int, levels text[], seconds float, deletions boolean) LANGUAGE plpgsql AS $$
DECLARE
	until   timestamptz := clock_timestamp() + seconds * interval '1 s';
	i       int := 0;
	a       int;
	b       int;
BEGIN
	WHILE clock_timestamp() < until LOOP
		i := i + 1;
		a := 1 + (random() * 7)::int;
		b := 1 + (random() * 7)::int;
		PERFORM set_config('synchronous_commit', levels[1 + (random() * (cardinality(levels) - 1))::int], false);
		PERFORM set_config('gamestate.light_commit', CASE WHEN random() < 0.9 THEN 'on' ELSE 'off' END, false);
		BEGIN
			CASE
				WHEN deletions AND random() < 0.03 THEN
					PERFORM gamestate.delete_game(id(a));
				WHEN deletions AND random() < 0.1 THEN
					PERFORM gamestate.create_game('stress', game_id => id(a));
				WHEN random() < 0.2 THEN
					PERFORM gamestate.apply_move(id(least(a, b)), NULL, json_build_array(me, i, 'first'), NULL);
					PERFORM gamestate.apply_move(id(greatest(a, b)), NULL, json_build_array(me, i, 'second'), NULL);
				WHEN random() < 0.1 THEN
					INSERT INTO noted VALUES (i);
					PERFORM gamestate.apply_move(id(a), NULL, json_build_array(me, i, 'noted'), NULL);
				WHEN random() < 0.1 THEN
					PERFORM gamestate.apply_move(id(a), NULL, json_build_array(me, i, 'kept'), NULL);
					BEGIN
						PERFORM gamestate.apply_move(id(a), NULL, json_build_array(me, i, 'undone'), NULL);
						RAISE division_by_zero;
					EXCEPTION WHEN division_by_zero THEN
						NULL;
					END;
				ELSE
					PERFORM gamestate.apply_move(id(a), NULL, json_build_array(me, i), NULL);
			END CASE;
		EXCEPTION WHEN SQLSTATE 'GS002' OR SQLSTATE 'GS005' OR deadlock_detected OR query_canceled THEN
			NULL;
		END;
		COMMIT;
	END LOOP;
END $$;

SELECT gamestate.create_game('stress', game_id => id(n)) FROM generate_series(1, 8) n;
});

sub writers
{
	my ($seconds, $deletions, @levels) = @_;
	my @runs;
	foreach my $me (1 .. 5)
	{
		my $err = '';
		push @runs, {
			err => \$err,
			h => IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'),
				'-c', "CALL play($me, '{" . join(',', @levels) . "}', $seconds, $deletions)" ],
				'>', '/dev/null', '2>', \$err, IPC::Run::timeout(180)) };
	}
	return @runs;
}

# The subscriber: what he was told of each game that is there, by version.
my %games;
my @told;
my @wrong;
my $position = $node->safe_psql('postgres', 'SELECT gamestate.feed_position()');
$games{ substr($_, 0, 36) } = [ 'create' ] foreach split /\n/, $node->safe_psql('postgres', 'SELECT id(n) FROM generate_series(1, 8) n');

my $psql = { in => '', out => '', n => 0 };
sub connect_subscriber
{
	$psql->{h} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$psql->{in}, '>', \$psql->{out}, '2>&1', IPC::Run::timeout(180));
	return;
}

sub take_row
{
	my ($game, $version, $kind, $event) = @_;
	push @told, join ' ', grep { length } $game, $version, $kind, $event;
	if ($kind eq 'create')
	{
		push @wrong, "$game is there already" if $games{$game};
		push @wrong, "$game is made at version $version" if $version != 1;
		$games{$game} = ['create'];
	}
	elsif ($kind eq 'delete')
	{
		push @wrong, "$game is not there" unless $games{$game};
		delete $games{$game};
	}
	else
	{
		push @wrong, "$game: $version after " . scalar @{ $games{$game} // [] } if $version != @{ $games{$game} // [] } + 1;
		push @{ $games{$game} }, "$kind $event";
	}
	return;
}

# One call; how many rows, or undef when there is no server.
sub ask
{
	my ($timeout) = @_;
	my $mark = 'done ' . ++$psql->{n};
	my $rows = 0;
	$psql->{out} = '';
	$psql->{in} .= "SELECT feed_position, game_id, version, kind, event FROM gamestate.wait_changes($position, timeout => '$timeout');\n\\echo $mark\n";
	while ($psql->{out} !~ /$mark\n/)
	{
		return undef unless eval { $psql->{h}->pumpable && $psql->{h}->pump; 1 } && ($psql->{h}->pumpable || $psql->{out} =~ /$mark\n/);
	}
	foreach my $line (split /\n/, $psql->{out})
	{
		my ($at, $game, $version, $kind, $event) = split /\|/, $line, 5;
		return undef unless $line eq $mark || $line =~ /^\d{19}\|/;
		next if $line eq $mark;
		$position = $at;
		next if $kind eq 'position';
		push @wrong, 'a gap' if $kind eq 'gap';
		take_row($game, $version, $kind, $event) if $kind ne 'gap';
		$rows++;
	}
	return $rows;
}

sub logs
{
	return $node->safe_psql('postgres', q{
		SELECT string_agg(concat_ws(' ', c.game_id, c.version, c.kind, c.event), E'\n' ORDER BY c.game_id, c.version)
		  FROM gamestate.list_live_games() g, gamestate.get_changes(g.game_id) c});
}

sub standbys
{
	my ($names) = @_;
	$node->append_conf('postgresql.conf', "synchronous_standby_names = '$names'");
	$node->reload;
	return;
}

# ---------------------------------------------------------------------------
note 'All levels, standbys that come and go';

connect_subscriber();
my @runs = writers(8, 'true', qw(off local remote_write on remote_apply));
my $next = time() + 0.7;
my $stalled = 0;
while (grep { $_->{h}->pumpable } @runs)
{
	ask('50 ms');
	foreach my $run (@runs) { eval { $run->{h}->pump_nb if $run->{h}->pumpable }; } # one may just have ended
	next if time() < $next;
	$stalled = !$stalled;
	standbys($stalled ? 'nobody' : '');
	$next = time() + ($stalled ? 0.3 : 0.7);
	$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' LIMIT 1}) if $stalled && rand() < 0.3;
}
standbys('');
$_->{h}->finish foreach @runs;

# (a cancel that came late ends a writer)
my $errors = join '', grep { !/canceling statement due to user request/ } map { join '', grep { !/WARNING|DETAIL/ } split /^/, ${ $_->{err} } } @runs;
is($errors, '', 'the writers had no errors');
for (1 .. 100)
{
	last if !ask('300 ms') && $node->safe_psql('postgres', 'SELECT pending FROM gamestate.stat_feed') eq '0';
}
is(join("\n", @wrong[0 .. ($#wrong > 9 ? 9 : $#wrong)]), '', 'every change comes once and in order');
cmp_ok(scalar @told, '>', 1000, 'there were many: ' . scalar @told);
my $mine = join "\n", map { my $g = $_; my $v = 0; map { $v++; "$g $v " . ($_ eq 'create' ? 'create' : $_) } @{ $games{$g} } } sort keys %games;
is($mine, logs(), 'and together they are the logs of all games');
is($node->safe_psql('postgres', 'SELECT pending, lost, gaps FROM gamestate.stat_feed'), '0|0|0', 'nothing waits or was lost');

# ---------------------------------------------------------------------------
note 'Crashes';

foreach my $crash (1 .. 3)
{
	@told = @wrong = ();
	@runs = writers(60, 'false', qw(local on));
	my $end = time() + 1.5;
	ask('20 ms') while time() < $end;
	$node->stop('immediate');
	while (defined ask('20 ms')) { }
	$_->{h}->finish foreach @runs;
	eval { $psql->{h}->finish };
	$node->start;
	is(join("\n", @wrong[0 .. ($#wrong > 9 ? 9 : $#wrong)]), '', 'every change comes once and in order');
	my %there = map { $_ => 1 } split /\n/, logs();
	my @gone = grep { !$there{$_} } @told;
	cmp_ok(scalar @told, '>', 50, "crash $crash: " . scalar @told . ' changes were told');
	is(join("\n", @gone[0 .. ($#gone > 9 ? 9 : $#gone)]), '', 'none of them is taken back');
	%games = ();
	foreach my $row (split /\n/, logs())
	{
		my ($game, $version, $kind, $event) = split / /, $row, 4;
		push @{ $games{$game} }, $kind eq 'create' ? 'create' : "$kind $event";
	}
	$position = $node->safe_psql('postgres', 'SELECT gamestate.feed_position()');
	connect_subscriber();
}
$node->stop;

done_testing();
