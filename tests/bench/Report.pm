# What report.pl makes its tables with: the measurements by name and round, their
# medians, and the aims.
package Report;

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

sub new
{
	my ($class, $file) = @_;
	my $self = bless { rows => [], series => {}, results => {} }, $class;
	open my $fh, '<', $file or die "$file: $!\n";
	while (<$fh>)
	{
		my $row = decode_json($_);
		push @{ $self->{rows} }, $row;
		$self->{series}{ $row->{name} }{ $row->{round} } = $row;
	}
	close $fh;
	return $self;
}

# The rows of a part, in the order in which they were measured.
sub part
{
	my ($self, $part) = @_;
	return grep { $_->{part} eq $part } @{ $self->{rows} };
}

# The rows of a name, a round each.
sub rows
{
	my ($self, $name) = @_;
	my $series = $self->{series}{$name} || {};
	return map { $series->{$_} } sort { $a <=> $b } keys %$series;
}

sub first
{
	my ($self, $name) = @_;
	return ($self->rows($name))[0];
}

sub has
{
	my ($self, @names) = @_;
	return !grep { !$self->{series}{$_} } @names;
}

sub stat
{
	my ($self, $name, $key) = @_;
	my @values = map { $_->{$key} } $self->rows($name);
	return @values ? stat_of(@values) : undef;
}

# For results.json only.
sub note
{
	my ($self, $name, $value) = @_;
	$self->{results}{$name} = $value;
	return;
}

# rates HEADING, NAME => LABEL, ...: a table of those that were measured
sub rates
{
	my ($self, $heading, @list) = @_;
	my $printed;
	while (my ($name, $label) = splice @list, 0, 2)
	{
		next unless $self->has($name);
		my %s = map { ($_ => $self->stat($name, $_)) } qw(rate p50_us p99_us wal_bytes);
		printf "%s\n%-44s %8s %19s %8s %8s %8s\n", $heading, '', 'calls/s', 'min - max', 'p50 us',
		  'p99 us', 'WAL B'
		  unless $printed++;
		printf "%-44s %8.0f %8.0f - %8.0f %8.0f %8.0f %8.0f\n", $label,
		  @{ $s{rate} }{qw(median min max)}, map { $s{$_}{median} } qw(p50_us p99_us wal_bytes);
		$self->{results}{measurements}{$name} = \%s;
	}
	return;
}

sub write
{
	my ($self, $file, $more) = @_;
	open my $fh, '>', $file or die "$file: $!\n";
	print $fh JSON::PP->new->canonical->pretty->encode({ %{ $self->{results} }, %$more });
	close $fh or die "$file: $!\n";
	return;
}

package Report::Aims;

sub new
{
	my ($class, $report) = @_;
	return bless { report => $report, rows => [] }, $class;
}

# value TEXT, STAT, SIGN, LIMIT: is the median on the right side of the limit?
# Without a sign it is only shown, without a STAT it was not measured.
sub value
{
	my ($self, $text, $stat, $sign, $limit) = @_;
	return unless $stat;
	my $row = { what => $text, %$stat };
	if ($sign)
	{
		my $met = $sign eq '>=' ? $stat->{median} >= $limit : $stat->{median} <= $limit;
		$row->{aim} = "$sign " . ($limit == int($limit) ? $limit : sprintf('%.4g', $limit));
		$row->{met} = $met ? JSON::PP::true : JSON::PP::false;
	}
	push @{ $self->{rows} }, $row;
	return;
}

# ratio TEXT, KEY, X, Y, SIGN, LIMIT: of X's and Y's KEY, round by round
sub ratio
{
	my ($self, $text, $key, $x, $y, $sign, $limit) = @_;
	my $series = $self->{report}{series};
	my @both = grep { $series->{$y}{$_} } keys %{ $series->{$x} || {} };
	return unless @both;
	$self->value($text,
		Report::stat_of(map { $series->{$x}{$_}{$key} / $series->{$y}{$_}{$key} } @both),
		$sign, $limit);
	return;
}

sub rows
{
	my ($self) = @_;
	return $self->{rows};
}

sub print
{
	my ($self) = @_;
	my @rows = @{ $self->{rows} };
	return unless @rows;
	printf "\n%-44s %9s %20s %12s\n", 'aims', 'median', 'min - max', 'aim';
	foreach my $row (@rows)
	{
		my $digits = abs($row->{median}) < 100 && $row->{median} != int($row->{median}) ? 2 : 0;
		printf "%-44s %9.*f %9.*f - %-8.*f %12s %s\n", $row->{what},
		  (map { ($digits, $row->{$_}) } qw(median min max)), $row->{aim} // '',
		  !defined $row->{aim} ? '' : $row->{met} ? 'met' : 'MISSED';
	}
	return;
}

1;
