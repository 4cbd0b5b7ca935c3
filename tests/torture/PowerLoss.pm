# A server whose data directory can be cut back to what was synced, as by a
# failure of the power.  powerloss.c, preloaded into it, keeps that in a store
# beside the data directory; its header says what is modelled.
#
#	my $power = PowerLoss->new($node);      # after init, before the first start
#	$power->start;                          # instead of $node->start
#	$power->kill_all;
#	$power->lose;                           # the data directory as it is then

package PowerLoss;

use strict;
use warnings;

use Cwd qw(realpath);
use File::Copy qw(copy);
use File::Find;
use File::Path qw(rmtree);
use Time::HiRes qw(sleep time);

use constant BLOCK => 8192;
use constant WORDS => 2048;

sub new
{
	my ($class, $node, %options) = @_;
	my $library = "$ENV{GS_TORTURE}/powerloss.so";
	die "$library is not there" unless -e $library;
	my $self = bless { node => $node, library => $library, data => realpath($node->data_dir), store => $node->basedir . '/powerloss', %options }, $class;
	$self->prepare;
	return $self;
}

# The longest time that a sync of WAL takes from now on, in microseconds.
sub delay
{
	my ($self, $delay) = @_;
	$self->{delay} = $delay;
	open my $fh, '>', "$self->{store}/delay.new" or die "$self->{store}/delay: $!";
	print $fh $delay;
	close $fh;
	rename("$self->{store}/delay.new", "$self->{store}/delay") or die "rename: $!";
	return;
}

# All that is there is on the disk.
sub prepare
{
	my ($self) = @_;
	my ($data, $store) = @$self{qw(data store)};
	rmtree($store);
	mkdir $_ or die "$_: $!" foreach $store, "$store/ino", "$store/dirty";
	system('cp', '-a', $data, "$store/tree") == 0 or die 'cp';
	find({
		no_chdir => 1,
		wanted => sub {
			my ($ino) = (lstat $_)[1];
			return unless -f _;
			link("$store/tree" . substr($_, length $data), "$store/ino/$ino") or die "$_: $!";
		} }, $data);
	$self->delay($self->{delay} // 0);
	return;
}

# start(fail_ok => 1): as the node's
sub start
{
	my ($self, %options) = @_;
	local %ENV = (
		%ENV, LD_PRELOAD => $self->{library}, GS_POWERLOSS_DATA => $self->{data}, GS_POWERLOSS_STORE => $self->{store});
	return $self->{node}->start(%options);
}

# Whoever works in the data directory: also those that no view shows yet.
sub processes
{
	my ($self) = @_;
	return grep { (readlink("/proc/$_/cwd") // '') eq $self->{data} } map { m{(\d+)$} } glob('/proc/[0-9]*');
}

# At once, and until nobody is left.
sub kill_all
{
	my ($self) = @_;
	my $deadline = time() + 60;
	my %killed;
	while (my @pids = $self->processes)
	{
		@killed{@pids} = ();
		kill('STOP', @pids);    # so that nobody does anything about another's end
		kill('KILL', @pids);
		die "processes do not end: @pids" if time() > $deadline;
		sleep(0.01);
	}
	# until somebody has asked how they ended, a postmaster that starts takes them for alive
	foreach my $pid (keys %killed)
	{
		sleep(0.01) while kill(0, $pid) && time() < $deadline;
	}
	$self->{node}{_pid} = undef;
	return;
}

# The power has failed: no process of the server may be left.  Returns how many
# blocks that were written were not on the disk, and how many of them have got
# there all the same, by chance, when it is allowed to have a part in it.
sub lose
{
	my ($self, %options) = @_;
	my ($data, $store) = @$self{qw(data store)};
	my ($unsynced, $written) = (0, 0);
	my $chance = $options{some} ? (0.1, 0.5, 0.9)[ rand 3 ] : 0;
	my $names = $options{some} && rand() < 0.5;    # renaming, removing: too early as well
	my @gone;

	find({
		no_chdir => 1,
		wanted => sub {
			my ($ino, $size) = (lstat $_)[ 1, 7 ];
			my $is_dir = -d _;
			my ($copy, $dirty) = ("$store/ino/$ino", "$store/dirty/$ino");
			my $name = "$store/tree" . substr($_, length $data);
			if ($is_dir)
			{
				mkdir $name, 0700 if $names;
				return;
			}
			return unless -f _;
			my $there = (lstat $copy)[1] // 0;
			# most files: not touched since they were on the disk
			return if !-e $dirty && $there && $there == ((lstat $name)[1] // 0);
			push @gone, [ $_, $copy, $dirty ];

			my @dirty = grep { $_ * BLOCK < $size } dirty_blocks($dirty);
			$unsynced += @dirty;
			return unless $there || $names;
			my @written = grep { rand() < $chance } @dirty;
			$written += copy_blocks($_, $copy, @written) if @written || !$there;
			truncate($copy, $size) if -s $copy > $size && rand() < $chance;
			return unless $names;
			unlink $name;
			link($copy, $name) or die "$name: $!";
		} }, $data);
	if ($names)
	{
		finddepth({
			no_chdir => 1,
			wanted => sub {
				my $there = $data . substr($_, length "$store/tree");
				return if -e $there || -l $there;
				-d $_ && !-l $_ ? rmdir $_ : unlink $_;
			} }, "$store/tree");
	}
	# first all that go, for those that come may get their inodes
	unlink @$_ foreach @gone;
	finddepth({ no_chdir => 1, wanted => sub { rmdir $_ if !-e "$store/tree" . substr($_, length $data) } }, $data);
	find({
		no_chdir => 1,
		wanted => sub {
			my $live = $data . substr($_, length "$store/tree");
			return if -e $live || -l $live;
			return mkdir $live, 0700 if -d $_ && !-l $_;
			return symlink(readlink $_, $live) if -l $_;
			copy($_, $live) && chmod(0600, $live) or die "$live: $!";
			my $ino = (lstat $live)[1];
			link($_, "$store/ino/$ino") or die "$store/ino/$ino: $!";
		} }, "$store/tree");
	return ($unsynced, $written);
}

# struct Dirty of powerloss.c: what is being copied is not synced yet
sub dirty_blocks
{
	my ($file) = @_;
	open my $fh, '<:raw', $file or return ();
	my $bytes = '';
	sysread($fh, $bytes, 8 + 2 * 8 * WORDS) == 8 + 2 * 8 * WORDS or return ();
	my $bits = unpack('b*', substr($bytes, 8, 8 * WORDS) | substr($bytes, 8 + 8 * WORDS));
	my @blocks;
	push @blocks, pos($bits) - 1 while $bits =~ /1/g;
	return @blocks;
}

# A disk writes sectors: a block may also be half there.
sub copy_blocks
{
	my ($from, $to, @blocks) = @_;
	open my $in, '<:raw', $from or return 0;
	open my $out, -e $to ? '+<:raw' : '+>:raw', $to or die "$to: $!";
	foreach my $block (@blocks)
	{
		my ($start, $length) = ((0, BLOCK), (0, BLOCK / 2), (BLOCK / 2, BLOCK / 2))[ map { 2 * $_, 2 * $_ + 1 } rand() < 0.5 ? 0 : 1 + int(rand 2) ];
		my $bytes;
		sysseek($in, $block * BLOCK + $start, 0);
		my $n = sysread($in, $bytes, $length) or next;
		sysseek($out, $block * BLOCK + $start, 0);
		syswrite($out, $bytes, $n) == $n or die "$to: $!";
	}
	return scalar @blocks;
}

1;
