# A failure of the power: what was acknowledged is there, with synchronous_commit
# = on, and what was not synced is gone.  The second shows that the first is no
# accident: the same test, with a server that does not sync, must find losses.
#
# A layer of its own because the data directory is exchanged (torture/PowerLoss.pm).

use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib "$FindBin::Bin/../torture";
use PowerLoss;

my $game = '30300000-0000-4000-8000-000000000001';

my $node = PostgreSQL::Test::Cluster->new('power');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
fsync = on
wal_writer_delay = 10s
autovacuum = off
max_wal_size = 64MB
});
my $power = PowerLoss->new($node);
$power->start;
$node->safe_psql('postgres', qq{CREATE EXTENSION gamestate; CREATE EXTENSION amcheck; CREATE TABLE t (n int);
	SELECT gamestate.create_game('power', '"1"', game_id => '$game')});

# moves(synchronous_commit, how many, from which version): each a transaction of its own
sub moves
{
	my ($sync, $n, $from) = @_;
	return $node->safe_psql('postgres', "SET synchronous_commit = $sync;\n" . join("\n",
		map { sprintf(q{SELECT gamestate.apply_move('%s', %d, '"move"', '"%d"');%s}, $game, $_, $_ + 1,
			$_ % 3 ? '' : "INSERT INTO t VALUES ($_);") } $from .. $from + $n - 1));
}

sub version
{
	return $node->safe_psql('postgres', "SELECT gamestate.get_version('$game') || ' ' || gamestate.get_state('$game')");
}

my ($unsynced, $kept);

# Twice each: with what chance leaves of the rest, and without
my $at = 1;
foreach my $some (0, 1, 1)
{
	moves('on', 30, $at);
	$at += 30;
	$power->kill_all;
	($unsynced, $kept) = $power->lose(some => $some);
	$power->start;
	is(version(), qq{$at "$at"}, "what was acknowledged with synchronous_commit = on is there ($unsynced blocks not synced, $kept of them kept)");
	cmp_ok($unsynced, '>', 0, 'there was something to lose');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), int(($at - 1) / 3), 'rows as well');
}

# After a checkpoint the tables themselves are what is loaded.
moves('on', 10, $at);
$at += 10;
$node->safe_psql('postgres', 'CHECKPOINT');
$power->kill_all;
$power->lose(some => 0);
$power->start;
is(version(), qq{$at "$at"}, 'after a checkpoint, too');

# Who is told of a version, by whatever answer, may rely on it, even if its writer
# has not been answered yet; the reader's own setting makes no difference.
foreach my $answer (
	[ 'a version', "SELECT gamestate.get_version('$game')" ],
	[ 'a stale-version error', "SELECT gamestate.apply_move('$game', 1000000, '1', '1')" ])
{
	my ($what, $sql) = @$answer;
	$power->delay(1_500_000);
	my $answered = '';
	my $writer = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
		"SELECT gamestate.apply_move('$game', $at, '1', '\"" . ($at + 1) . "\"')" ], '>', \$answered, '2>', \my $ignored);
	my $told = 0;
	while ($told <= $at)
	{
		my ($rc, $out, $err) = $node->psql('postgres', "SET synchronous_commit = off; $sql", on_error_stop => 0);
		($told) = "$out $err" =~ /at version (\d+)/ ? $1 : $out =~ /(\d+)/ ? $1 : die "no version: $out $err";
	}
	$power->kill_all;
	$power->delay(0);
	$power->lose(some => 0);
	$writer->finish;
	$power->start;
	$at = (split(/ /, version()))[0];
	is($at, $told, "$what that a reader was told is there" . ($answered eq '' ? ', and the writer had no answer yet' : ''));
}

# Both of these say what a server that acknowledges too early would look like.
# With a slow disk, or all of them may be there before the power goes.
$power->delay(5_000_000);
moves('off', 30, $at);
$power->kill_all;
$power->delay(0);
$power->lose(some => 0);
$power->start;
my ($now) = split(/ /, version());
cmp_ok($now, '<', $at + 30, "synchronous_commit = off: some are lost (version $now, not " . ($at + 30) . ')');
cmp_ok($now, '>=', $at, 'but none that was waited for');
is($node->safe_psql('postgres', q{SELECT count(*) FROM verify_heapam('gamestate.journal_0') a, verify_heapam('gamestate.journal_1') b}),
	0, 'the journal tables are whole');

$at = $now;
$node->append_conf('postgresql.conf', 'fsync = off');
$node->reload;
$node->poll_query_until('postgres', q{SELECT setting = 'off' FROM pg_settings WHERE name = 'fsync'}) or die 'timed out';
moves('on', 30, $at);
$power->kill_all;
$power->lose(some => 0);
# what was synced last says fsync = on again, or not: the file is ours
$node->append_conf('postgresql.conf', 'fsync = on');
$power->start;
($now) = split(/ /, version());
cmp_ok($now, '<', $at + 30, "fsync = off: acknowledged moves are lost (version $now, not " . ($at + 30) . ')');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|powerloss:|invalid page|damaged row|cannot be loaded/, 'nothing was damaged');
done_testing();
