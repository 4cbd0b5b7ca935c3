#!/usr/bin/perl
# Make a table and results.json of the measurements of bench.sh.
#
# usage: report.pl RAW.jsonl RESULTS.json DESCRIPTION
#        report.pl --median PART WORKLOAD RAW.jsonl     only that median rate
#
# Ratios are taken within a round and then their median, so that a slow moment of
# the machine meets both sides.  Aims that are missed are said, and no error; wrong
# counts were one already, in gs_bench.

use strict;
use warnings;
use JSON::PP;
use List::Util qw(min max);

sub median
{
	my @v = sort { $a <=> $b } @_;
	return @v % 2 ? $v[ $#v / 2 ] : ($v[ @v / 2 - 1 ] + $v[ @v / 2 ]) / 2;
}

sub stat_of
{
	my @v = @_;
	return { median => median(@v), min => min(@v), max => max(@v) };
}

sub read_rows
{
	my ($file) = @_;
	open my $fh, '<', $file or die "$file: $!\n";
	my @rows = map { decode_json($_) } <$fh>;
	return @rows;
}

if (@ARGV && $ARGV[0] eq '--median')
{
	my (undef, $part, $workload, $file) = @ARGV;
	my @rates = map { $_->{rate} }
	  grep { $_->{part} eq $part && $_->{workload} eq $workload } read_rows($file);
	printf "%d\n", median(@rates);
	exit 0;
}

my ($raw, $json_file, $description) = @ARGV;
my @rows = read_rows($raw);
my %results = (description => $description);

# One series for each thing measured: its values by round.
my %series;
foreach my $row (grep { $_->{part} ne 'memory' } @rows)
{
	my $name =
	    $row->{part} eq 'moves' ? $row->{workload}
	  : $row->{part} eq 'lookup' ? "$row->{workload}, $row->{games} games"
	  :                            ($row->{backlog} ? 'move at half rate, archiver busy'
									: 'move at half rate');
	$series{$name}{ $row->{round} } = $row;
}

my %label = (
	select1 => 'SELECT 1',
	noop_move => 'no-op C function, arguments of apply_move',
	noop_state => 'no-op C function, returns 2 KB',
	get_state => 'get_state, 2 KB',
	move => 'apply_move, 2 KB + 120 B',
	move_memory => 'apply_move, durability memory',
	plpgsql => 'the same on tables, PL/pgSQL function',
	cte => 'the same on tables, one statement',
	cte_tuned => 'one statement, fillfactor 50');

my @order = (
	qw(select1 noop_state get_state noop_move move move_memory plpgsql cte cte_tuned),
	'move at half rate', 'move at half rate, archiver busy',
	map { ("$_, 1000 games", "$_, 100000 games") } qw(by_id by_room by_player));

print "$description\n8 connections, prepared statements, synchronous_commit = off\n\n";
printf "%-44s %10s %21s %9s %9s\n", '', 'calls/s', 'min - max', 'p50 us', 'p99 us' if %series;
foreach my $name (grep { $series{$_} } @order)
{
	my @of = values %{ $series{$name} };
	my %s = map { my $key = $_; ($key => stat_of(map { $_->{$key} } @of)) }
	  qw(rate p50_us p99_us max_us);
	printf "%-44s %10.0f %10.0f - %8.0f %9.0f %9.0f\n", $label{$name} // $name,
	  @{ $s{rate} }{qw(median min max)}, $s{p50_us}{median}, $s{p99_us}{median};
	$results{measurements}{$name} = \%s;
}

my @aims;

# aim TEXT, STAT, SIGN, LIMIT: is the median on the right side of the limit?
sub aim
{
	my ($text, $stat, $sign, $limit) = @_;
	my $met = $sign eq '>=' ? $stat->{median} >= $limit : $stat->{median} <= $limit;
	push @aims,
	  { what => $text, %$stat, aim => "$sign $limit", met => $met ? JSON::PP::true : JSON::PP::false };
	return;
}

sub ratio
{
	my ($text, $key, $x, $y, $sign, $limit) = @_;
	return unless $series{$x} && $series{$y};
	my @both = grep { $series{$y}{$_} } keys %{ $series{$x} };
	return unless @both;
	aim($text, stat_of(map { $series{$x}{$_}{$key} / $series{$y}{$_}{$key} } @both), $sign, $limit);
	return;
}

ratio('get_state / no-op returning 2 KB', 'rate', 'get_state', 'noop_state', '>=', 0.9);
ratio('apply_move / no-op', 'rate', 'move', 'noop_move', '>=', 0.8);
ratio('the same, durability memory', 'rate', 'move_memory', 'noop_move', '>=', 0.8);
ratio('apply_move / tables, PL/pgSQL', 'rate', 'move', 'plpgsql', '>=', 2.8);
ratio('the same, durability memory', 'rate', 'move_memory', 'plpgsql', '>=', 2.8);
ratio('apply_move / tables, one statement', 'rate', 'move', 'cte', '>=', 2.1);
ratio('the same, durability memory', 'rate', 'move_memory', 'cte', '>=', 2.1);
ratio('apply_move / one statement, fillfactor 50', 'rate', 'move', 'cte_tuned', '>=', 1);
ratio('p99 of moves, archiver busy / without', 'p99_us', 'move at half rate, archiver busy',
	'move at half rate', '<=', 1.2);
ratio('p50 of moves, archiver busy / without', 'p50_us', 'move at half rate, archiver busy',
	'move at half rate', '<=', 1.2);
if (my $busy = $series{'move at half rate, archiver busy'})
{
	aim('archived games/s, meanwhile', stat_of(map { $_->{archived_rate} } values %$busy), '>=', 10000);
}
ratio("look-up $_, 100,000 games / 1,000", 'rate', "$_, 100000 games", "$_, 1000 games", '>=', 0.8)
  foreach qw(by_id by_room by_player);

# Memory: the same sizes, cycle after cycle, must need the same.
my @memory = grep { $_->{part} eq 'memory' } @rows;
if (@memory)
{
	print "\nmemory, games created and deleted at 64 MB:\n";
	printf "%12s %10s %8s %14s\n", 'created', 'state B', 'live', 'used bytes';
	my %used;
	foreach my $m (@memory)
	{
		printf "%12d %10s %8d %14d\n", $m->{created}, $m->{size} || 'all gone', $m->{live},
		  $m->{used_bytes};
		push @{ $used{ $m->{size} } }, $m->{used_bytes};
	}
	$results{memory} = \@memory;
	foreach my $size (sort { $a <=> $b } grep { $_ } keys %used)
	{
		my @u = @{ $used{$size} };
		aim("memory used at $size B, last cycle / first",
			stat_of($u[-1] / $u[0]), '<=', 1.1);
	}
}

print "\n";
printf "%-44s %8.2f %9.2f - %-8.2f aim %-9s %s\n", $_->{what}, $_->{median}, $_->{min}, $_->{max},
  $_->{aim}, $_->{met} ? 'met' : 'MISSED'
  foreach @aims;
$results{aims} = \@aims;

open my $fh, '>', $json_file or die "$json_file: $!\n";
print $fh JSON::PP->new->canonical->pretty->encode(\%results);
close $fh or die "$json_file: $!\n";
print "\nwritten: $json_file\n";
