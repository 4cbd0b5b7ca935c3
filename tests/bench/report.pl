#!/usr/bin/perl
# Make tables and results.json of the measurements of bench.sh.
#
# usage: report.pl RAW.jsonl RESULTS.json DESCRIPTION
#        report.pl --half PART NAME RAW.jsonl     half of that median rate, no more
#
# Ratios are taken within a round and then their median, so that a slow moment of
# the machine meets both sides.  Aims that are missed are said, and no error; wrong
# counts were one already, in gs_bench.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP;
use Report;

if (@ARGV && $ARGV[0] eq '--half')
{
	my (undef, $part, $name, $file) = @ARGV;
	my $report = Report->new($file);
	printf "%d\n", $report->stat($name, 'rate')->{median} / 2;
	exit 0;
}

my ($raw, $json_file, $description) = @ARGV;
my $r = Report->new($raw);

print "$description\n";

# ---------------------------------------------------------------------
# Calls a second
# ---------------------------------------------------------------------

my $clients = "\n8 connections, prepared statements, each answer awaited";
my $all = 'calls/s: 2 KB of state and 120 B of event a move; unix sockets';

$r->rates(
	"$clients, synchronous_commit = off\n($all)",
	select1 => 'SELECT 1',
	noop_state => 'no-op C function, returns 2 KB',
	get_state => 'get_state, 2 KB',
	noop_move => 'no-op C function, arguments of apply_move',
	move => 'apply_move',
	move_xid => 'apply_move, light_commit off',
	move_all => 'apply_move, every byte of the state new',
	move_memory => 'apply_move, durability memory',
	plpgsql => 'tables, PL/pgSQL function',
	cte => 'tables, one statement',
	cte_tuned => 'tables, one statement, fillfactor 50',
	redis_noop => 'Redis, Lua script that does nothing',
	redis => 'Redis, Lua script, appendfsync everysec');
$r->rates(
	"$clients, synchronous_commit = on",
	move_on => 'apply_move',
	move_xid_on => 'apply_move, light_commit off',
	plpgsql_on => 'tables, PL/pgSQL function',
	cte_on => 'tables, one statement',
	redis_on => 'Redis, Lua script, appendfsync always',
	spread_on => 'apply_move, no version expected, 2000 games',
	one_game_on => 'apply_move, no version expected, one game');
$r->rates(
	"\n1 connection, 32 calls in flight",
	pipe_select1 => 'SELECT 1',
	pipe_move => 'apply_move, off',
	pipe_group => 'apply_move, off, all 32 one transaction',
	pipe_batch => 'apply_moves, off, 32 in one call',
	pipe_redis => 'Redis, everysec',
	pipe_move_on => 'apply_move, on',
	pipe_group_on => 'apply_move, on, all 32 one transaction',
	pipe_batch_on => 'apply_moves, on, 32 in one call',
	pipe_redis_on => 'Redis, always');
$r->rates(
	"\n8 connections, open loop at half the rate of apply_move, off",
	half => 'apply_move',
	half_archiver => 'apply_move, archiver busy',
	map {
		my $n = $_;
		("half_$n" => "apply_move, beside $n games",
		 "half_rotating_$n" => 'apply_move, the same during a rotation');
	} 100000, 1000000);
$r->rates("\nlook-ups, 8 connections",
	map { ("${_}_1000" => "$_, 1,000 games", "${_}_50000" => "$_, 50,000 games") }
	  qw(by_id by_room by_player));
$r->rates(
	"\nfrom a move to who waits for it; calls/s are moves, 4 connections",
	map {
		my $rate = $_;
		map {
			("feed_${rate}_$_" => "wait_changes, $rate offered, $_ waiting",
			 "subscription_${rate}_$_" => "subscription, $rate offered, $_ waiting",
			 "listen_${rate}_$_" => "NOTIFY with the move, $rate, $_ LISTEN")
		} 1, 32, 200;
	} 1000, 20000);

if (my $row = $r->first('deadline_late'))
{
	printf "\n%d deadlines within %d s: told %.1f ms late (p50), %.1f ms (p99), %.1f ms at most\n",
	  @{$row}{qw(games seconds p50_ms p99_ms max_ms)};
	$r->note('deadline_late', $row);
}

my %client = (move => 'apply_move, awaited', get => 'get_state, awaited',
	pipe_move => 'apply_move, 32 in flight', pipe_get => 'get_state, 32 in flight, ungrouped',
	pipe_get_grouped => 'get_state, 32 in flight');
my @client = grep { $r->has("client_$_") } qw(move get pipe_move pipe_get pipe_get_grouped);
if (@client)
{
	print "\nlibgamestate beside libpq, 1 connection, off\n";
	printf "%-44s %12s %12s %12s %12s\n", '', 'libpq/s', 'lib/s', 'libpq CPU us', 'lib CPU us';
	printf "%-44s %12.0f %12.0f %12.2f %12.2f\n", $client{$_},
	  map { $_->{median} } $r->stat("client_${_}_libpq", 'rate'), $r->stat("client_$_", 'rate'),
	  $r->stat("client_${_}_libpq", 'cpu_us'), $r->stat("client_$_", 'cpu_us')
	  foreach @client;
}

if ($r->has('select1', 'move'))
{
	my $cpu = $r->stat('move', 'cpu_us')->{median};
	my $machine = $r->stat('select1', 'rate')->{median} / $r->stat('move', 'rate')->{median};
	printf "\nthe load generator: SELECT 1 goes %.1f times as often as apply_move; "
	  . "it needs %.1f us of processor time a move\n", $machine, $cpu;
	$r->note('load_generator_us', $cpu);
	printf "pipelined, SELECT 1 goes %.1f times as often\n",
	  $r->stat('pipe_select1', 'rate')->{median} / $r->stat('pipe_move', 'rate')->{median}
	  if $r->has('pipe_select1', 'pipe_move');
}

my $aims = Report::Aims->new($r);
$aims->ratio('get_state / no-op returning 2 KB', 'rate', 'get_state', 'noop_state', '>=', 0.9);
$aims->ratio('apply_move / no-op', 'rate', 'move', 'noop_move', '>=', 0.8);
$aims->ratio('  durability memory', 'rate', 'move_memory', 'noop_move', '>=', 0.8);
$aims->ratio('apply_move / tables, PL/pgSQL', 'rate', 'move', 'plpgsql', '>=', 2.8);
$aims->ratio('apply_move / tables, one statement', 'rate', 'move', 'cte', '>=', 2.1);
$aims->ratio('  with fillfactor 50', 'rate', 'move', 'cte_tuned', '>=', 2.1);
$aims->ratio('apply_move / Redis everysec', 'rate', 'move', 'redis', '>=', 1.7);
$aims->ratio('on: apply_move / tables, PL/pgSQL', 'rate', 'move_on', 'plpgsql_on', '>=', 2);
$aims->ratio('on: apply_move / tables, one statement', 'rate', 'move_on', 'cte_on', undef);
$aims->ratio('on: apply_move / Redis always', 'rate', 'move_on', 'redis_on', '>=', 1.6);
$aims->ratio('light_commit on / off', 'rate', 'move', 'move_xid', undef);
$aims->ratio('on: light_commit on / off', 'rate', 'move_on', 'move_xid_on', undef);
$aims->ratio('pipelined: apply_move / Redis everysec', 'rate', 'pipe_move', 'pipe_redis', '>=', 3);
$aims->ratio('  32 a transaction', 'rate', 'pipe_group', 'pipe_redis', undef);
$aims->ratio('  apply_moves, 32 in one call', 'rate', 'pipe_batch', 'pipe_redis', '>=', 3);
$aims->ratio('pipelined, on: apply_move / Redis always', 'rate', 'pipe_move_on', 'pipe_redis_on',
	'>=', 3);
$aims->ratio('  32 a transaction', 'rate', 'pipe_group_on', 'pipe_redis_on', undef);
$aims->ratio('  apply_moves, 32 in one call', 'rate', 'pipe_batch_on', 'pipe_redis_on', '>=', 3);
$aims->ratio('on: spread over all games / all on one', 'rate', 'spread_on', 'one_game_on', '<=', 1.3);
$aims->ratio('p99 of moves, archiver busy / without', 'p99_us', 'half_archiver', 'half', '<=', 1.2);
$aims->ratio('p50 of moves, archiver busy / without', 'p50_us', 'half_archiver', 'half', undef);
$aims->value('archived games/s, meanwhile', $r->stat('half_archiver', 'archived_rate'), '>=', 10000);
$aims->value('move to 1 waiter, 20,000/s: p99 us', $r->stat('feed_20000_1', 'p99_us'), '<=', 1000);
$aims->value('move to 200 waiters, 20,000/s: p99 us', $r->stat('feed_20000_200', 'p99_us'), '<=', 5000);
if (my $row = $r->first('deadline_late'))
{
	$aims->value('deadlines, 10,000/s: p99 ms late', Report::stat_of($row->{p99_ms}), '<=', 50);
}
$aims->ratio("look-up $_, 50,000 games / 1,000", 'rate', "${_}_50000", "${_}_1000", '>=', 0.8)
  foreach qw(by_id by_room by_player);

$aims->value("libgamestate's time / libpq's: $client{$_}", $r->stat("client_$_", 'ratio'), '<=', 1.05)
  foreach @client;

# ---------------------------------------------------------------------
# WAL, transaction ids, dead rows
# ---------------------------------------------------------------------

if (my $journal = $r->first('journal_size'))
{
	my %text = (one => '100 B in one place', four => '100 B in four places',
		typical => 'turn, clocks, two cells', all => 'every byte of 2 KB');
	my %aim = (one => 400, four => 700);

	print "\nWAL bytes a move, from one checkpoint on, full-page images included\n";
	foreach my $pattern (qw(one four typical all))
	{
		my $row = $r->first($pattern) or next;
		my $rotation = $row->{rotation_wal} / ($journal->{bytes} / $row->{wal_bytes});
		my $sum = $row->{wal_bytes} + $rotation;
		printf "%-44s %8.0f + %.0f rotating = %.0f\n", $text{$pattern}, $row->{wal_bytes},
		  $rotation, $sum;
		$r->note("wal_$pattern", $sum);
		$aims->value("WAL bytes a move, $text{$pattern}", Report::stat_of($sum),
			$aim{$pattern} ? ('<=', $aim{$pattern}) : ());
	}
	printf "%-44s %8.0f\n", 'tables, one statement, 100 B in one place', $_->{wal_bytes}
	  foreach grep { $_ } $r->first('cte_one');
	if (my $row = $r->first('battlesnake'))
	{
		printf "%-44s %8.0f   (%d moves, states of %d B)\n", 'battlesnake, recorded states',
		  @{$row}{qw(wal_bytes all_calls state_bytes)};
		$r->note('wal_battlesnake', $row);
	}
}

foreach (
	[ moves => 'XIDs consumed by 100,000 moves' ],
	[ tick_off => 'XIDs of 100,000 moves, pitr_tick off' ],
	[ tick_on => 'XIDs of 100,000 moves, pitr_tick on' ],
	[ moves_xid => 'XIDs of 100,000 moves, light_commit off' ])
{
	my $row = $r->first($_->[0]) or next;
	# a tick takes one a second
	my $limit = $_->[0] eq 'tick_on' ? int($row->{seconds}) + 2 : 0;
	$aims->value($_->[1], Report::stat_of($row->{xids}),
		$_->[0] eq 'moves_xid' ? () : ('<=', $limit));
}
if (my $row = $r->first('dead'))
{
	$aims->value('dead rows in the journal then', Report::stat_of($row->{dead}), '<=', 0);
}

# ---------------------------------------------------------------------
# Memory
# ---------------------------------------------------------------------

if (my @rows = grep { $_ } map { $r->first("game_$_") } 200, 1024, 2048, 20480)
{
	print "\nmemory a game, after ten moves with events of 120 B that change 16 B\n";
	foreach my $row (@rows)
	{
		my $limit = 1.3 * $row->{content} + 300;
		printf "%-44s %8d   (state, events and changes: %d)\n", "state of $row->{size} B",
		  @{$row}{qw(bytes content)};
		$aims->value("memory a game of $row->{size} B", Report::stat_of($row->{bytes}), '<=', $limit);
	}
}

if (my @rows = $r->part('memory'))
{
	my %used;
	print "\nmemory, games created and deleted at 64 MB\n";
	printf "%12s %10s %8s %14s\n", 'created', 'state B', 'live', 'used bytes';
	foreach my $row (@rows)
	{
		printf "%12d %10s %8d %14d\n", $row->{created}, $row->{size} || 'all gone', $row->{live},
		  $row->{used_bytes};
		push @{ $used{ $row->{size} } }, $row->{used_bytes};
	}
	$aims->value("memory used at $_ B, last cycle / first",
		Report::stat_of($used{$_}[-1] / $used{$_}[0]), '<=', 1.1)
	  foreach sort { $a <=> $b } grep { $_ } keys %used;
}

# ---------------------------------------------------------------------
# Load and rotation
# ---------------------------------------------------------------------

foreach my $n (100000, 1000000)
{
	if ($r->has("load_$n"))
	{
		my $load = $r->stat("load_$n", 'load_s');
		my $row = $r->first("load_$n");
		printf "\nafter a crash with %d games of 2 KB and a journal of %d MB: recovery %.1f s, "
		  . "loading %.2f s\n", $n, $row->{journal} / 1048576,
		  $r->stat("load_$n", 'recovery_s')->{median}, $load->{median};
		$aims->value("load of $n games, games/s",
			Report::stat_of(map { $n / $_->{load_s} } $r->rows("load_$n")), '>=', 300000);
	}
	if (my $row = $r->first("idle_$n"))
	{
		printf "\nrotation of the journal, %d games of 2 KB: %.2f s, %d MB of WAL\n", $n,
		  $row->{watched_s}, $row->{rotation_wal} / 1048576;
		printf "the same under half load: %.2f s\n",
		  $r->stat("half_rotating_$n", 'watched_s')->{median};
		$r->note("rotation_${n}_s", $row->{watched_s});
		$aims->ratio("p99 of moves, rotating $n games / without", 'p99_us', "half_rotating_$n",
			"half_$n", '<=', 2);
	}
}

# ---------------------------------------------------------------------
# Archive
# ---------------------------------------------------------------------

if (my @types = grep { $r->first("archived_$_") } qw(chess 18xx battlesnake))
{
	my @ways = grep { $r->first("${_}_$types[0]") } qw(gzip_6 zstd_3 zstd_9 archived repacked);
	my %sum;

	print "\nrecorded games by type, percent of raw = JSON of initial state, final state (battlesnake: every state), events\n";
	printf '%-14s %6s %10s' . ' %9s' x @ways . "\n", 'type', 'games', 'raw bytes', @ways;
	foreach my $type (@types)
	{
		my $row = $r->first("archived_$type");
		my @stored = map { $r->first("${_}_$type")->{stored} } @ways;
		printf '%-14s %6d %10d' . ' %8.2f%%' x @ways . "\n", $type, $row->{games}, $row->{raw},
		  map { 100 * $_ / $row->{raw} } @stored;
		$sum{games} += $row->{games};
		$sum{raw} += $row->{raw};
		$sum{$ways[$_]} += $stored[$_] foreach 0 .. $#ways;
	}
	printf '%-14s %6d %10d' . ' %8.2f%%' x @ways . "\n", 'together', $sum{games}, $sum{raw},
	  map { 100 * $sum{$_} / $sum{raw} } @ways;
	$r->note('archive_bytes', \%sum);
	my $repacked = $r->first('repacked_chess');
	$aims->value('archived, percent of raw', Report::stat_of(100 * $sum{archived} / $sum{raw}), '<=', 12);
	$aims->value('repacked, percent of raw', Report::stat_of(100 * $sum{repacked} / $sum{raw}), '<=', 8.5);
	$aims->value('repacked chess, percent of raw',
		Report::stat_of(100 * $repacked->{stored} / $r->first('archived_chess')->{raw}), '<=', 15);
	$aims->value('games that did not come back to the letter',
		Report::stat_of($r->first('wrong')->{games}), '<=', 0);
}
if (my $row = $r->first('speed'))
{
	$aims->value('archived games of 4 KB/s, nothing else running',
		Report::stat_of($row->{games} / $row->{seconds}), '>=', 10000);
}

if (my $row = $r->first('million_archived'))
{
	my @tenths = $r->rows('million_tenth');

	printf "\n%d games archived through a memory of 64 MB, in %d s, creating and playing them included\n",
	  $row->{games}, $row->{seconds};
	printf "%8s %14s %14s\n", 'tenth', 'games, bytes', 'archiver, bytes';
	printf "%8d %14d %14d\n", $_->{round}, $_->{used_bytes}, $_->{own_bytes} foreach @tenths;
	$aims->value('games that are not in the archive exactly once',
		Report::stat_of(abs($row->{expected} - $row->{games}) + abs($row->{expected} - $row->{rows})), '<=', 0);
	$aims->value('shared memory left when all are archived, bytes',
		Report::stat_of(map { $_->{used_bytes} } @tenths), '<=', 0);
	$aims->value('memory of the archiver, last tenth / second',
		Report::stat_of($tenths[-1]{own_bytes} / $tenths[1]{own_bytes}), '<=', 1.1);
}

# ---------------------------------------------------------------------
# Leaderboards
# ---------------------------------------------------------------------

if ($r->first('top_wins'))
{
	print "\nleaderboards of 1,000,000 players, one session\n";
	printf "%-44s %10s %10s\n", '', 'p50 ms', 'p99 ms';
	foreach (['top', 'the best ten'], ['rank', "a player's rank"], ['around', 'ten around a player'])
	{
		my ($way, $what) = @$_;
		foreach my $metric (qw(wins score))
		{
			my $row = $r->first("${way}_$metric");
			printf "%-44s %10.3f %10.3f\n", "$what, $metric", @$row{qw(p50_ms p99_ms)};
			$aims->value("leaderboard: $what, $metric, p99 ms", Report::stat_of($row->{p99_ms}), '<=', 5);
		}
	}
	printf "%-44s %10.3f\n", 'computed, without a ranking', $r->first('computed')->{p50_ms};
	printf "%-44s %10.1f s\n", 'two rankings are made in', $r->first('made')->{seconds};
	printf "%-44s %10s %10s\n", 'archiving games of 4 KB with two players', 'games/s', 'us cpu';
	foreach (['without', 'not counted'], ['stats', 'counted'], ['ranked', 'and ranked, two metrics'])
	{
		my $row = $r->first("archive_$_->[0]");
		printf "%-44s %10.0f %10.1f\n", "  $_->[1]", $row->{games} / $row->{seconds}, $row->{cpu_us};
	}
	$aims->value('leaderboard: wrong rows', Report::stat_of($r->first('wrong')->{players}), '<=', 0);
}

# ---------------------------------------------------------------------
# Look-ups and queries in a large archive
# ---------------------------------------------------------------------

if (my $size = $r->first('size'))
{
	# A question that says from when on may look at so many days, and today.
	my %days = (1 => 33, 5 => 62, 6 => 30, 9 => 33);

	print "\n$size->{games} archived games in $size->{days} partitions: median of a warm look-up, microseconds\n";
	foreach my $what (qw(get_game get_changes))
	{
		foreach my $kind (qw(generated callers future a_year unknown))
		{
			my $row = $r->first("${what}_$kind") or next;
			printf "%-44s %10.0f\n", "$what, id: $kind", $row->{us};
			$aims->value("$what by id alone ($kind), us", Report::stat_of($row->{us}), '<=', 1000);
		}
	}
	foreach my $view (qw(archived_games archived_moves games))
	{
		my $row = $r->first("view_$view") or next;
		printf "%-44s %10.0f\n", "$view WHERE game_id =", $row->{us};
		$aims->value("$view by id, ms", Report::stat_of($row->{us} / 1000), '<=', 20);
	}
	printf "%-44s %10.0f\n", 'create_game with an id of one\'s own', $r->first('create_own_id')->{us};
	print "\nthe README's ten questions, milliseconds with psql, and partitions scanned\n";
	foreach my $n (1 .. 10)
	{
		my $row = $r->first("question_$n") or next;
		printf "%2d %10d ms %6d\n", $n, @$row{qw(ms partitions)};
		$r->note("question_${n}_ms", $row->{ms});
		$aims->value("question $n: partitions scanned", Report::stat_of($row->{partitions}), '<=', $days{$n})
		  if $days{$n};
	}
}

# ---------------------------------------------------------------------
# libgamestate's pool
# ---------------------------------------------------------------------

if ($r->has('pool'))
{
	my %pool = map { my $key = $_; $key => $r->stat('pool', $key)->{median} }
	  qw(breaker_ns checkout_ns checkout_8_ns conn_us pool_us conn_cpu_us pool_cpu_us);

	print "\nlibgamestate's pool, processor time of the client\n";
	printf "%-44s %8.0f ns\n", 'the circuit breaker: may I, and it went well', $pool{breaker_ns};
	printf "%-44s %8.0f ns\n", 'checkout and checkin, one thread', $pool{checkout_ns};
	printf "%-44s %8.0f ns\n", 'checkout and checkin, eight threads', $pool{checkout_8_ns};
	printf "%-44s %8.2f us   (answer after %.0f us)\n", 'SELECT 1 on a connection', @pool{qw(conn_cpu_us conn_us)};
	printf "%-44s %8.2f us   (answer after %.0f us)\n", 'SELECT 1 through the pool', @pool{qw(pool_cpu_us pool_us)};
	$r->note('pool', \%pool);
	$aims->value('pool: checkout and checkin, ns', Report::stat_of(map { $_->{checkout_ns} } $r->rows('pool')), '<=', 2000);
}

$aims->print;
$r->write($json_file, { description => $description, aims => $aims->rows });
print "\nwritten: $json_file\n";
