# Crashes of every kind under load: what was acknowledged is there, nothing is
# torn, every game is exactly once in memory or in the archive, and the checker
# that says so finds what is planted.
#
# A layer of its own because a crash ends every session of its server, and
# because what the clients were told has to be kept outside of it.
#
# All of it on an imagined disk (torture/powerloss.c), so that the power can fail.
#
# TORTURE_CRASHES: how many crashes (`make torture`: many; here: some kinds, once
# each).  TORTURE_SEED: to repeat a run, as far as scheduling lets it.

use strict;
use warnings;

use File::Path qw(rmtree);
use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/../torture";
use lib $FindBin::Bin;
use Patient;
use PowerLoss;
use Torture;

my $crashes = $ENV{TORTURE_CRASHES} || 6;
my $long = $crashes > 9;
my $writers = 5;
my $seed = $ENV{TORTURE_SEED} || time() * 1000 % 1_000_000;
my $programs = $ENV{GS_TORTURE};
my $logs = PostgreSQL::Test::Utils::tempdir();
my $torture = Torture->new($logs, $writers, 6);

srand($seed);
note("TORTURE_SEED=$seed");

my $node = PostgreSQL::Test::Cluster->new('torture');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 64MB
gamestate.journal_size = 16MB
gamestate.allow_journal_changes = on	# to plant a loss
restart_after_crash = on
wal_consistency_checking = all
max_wal_size = 96MB
max_connections = 40
fsync = on                      # on an imagined disk: torture/powerloss.c
autovacuum = off
log_statement = none
log_checkpoints = off
});
my $delay = $long ? 3000 : 500;    # the more, the less is written: see wait_for_rotation()
my $power = PowerLoss->new($node, delay => $delay);
$power->start;
$node->safe_psql('postgres', 'CREATE EXTENSION amcheck;' . $torture->setup_sql);

# start_writers(): one process each, in the background, and the reader
sub start_writers
{
	my @running;
	foreach my $w (1 .. $writers)
	{
		my $async = $torture->is_async($w);
		my $err = '';
		push @running, {
			err => \$err,
			run => IPC::Run::start(
				[
					"$programs/writer", $node->connstr('postgres') . " application_name=torture", $torture->log_file($w), $w,
					$torture->{next_k}[$w], int(rand(1e9)), $async ? 0 : $torture->{shared}, $async ? 'off' : 'on'
				],
				'>', '/dev/null', '2>', \$err, IPC::Run::timeout(300))
		};
	}
	my $err = '';
	push @running, {
		err => \$err,
		run => IPC::Run::start(
			[
				"$programs/reader", $node->connstr('postgres') . ' application_name=torture', $torture->reader_log, int(rand(1e9)),
				$torture->{shared}, $writers - 1
			],
			'>', '/dev/null', '2>', \$err, IPC::Run::timeout(300))
	};
	return @running;
}

# Things that happen while games are played.
my @disturbances = (
	'CHECKPOINT', 'CHECKPOINT', 'CHECKPOINT',
	'VACUUM gamestate.journal_0, gamestate.journal_1',
	'VACUUM FULL gamestate.journal_0',
	'VACUUM (FREEZE, DISABLE_PAGE_SKIPPING) gamestate.journal_1',
	# somebody reads a journal table: it cannot be emptied until he has done
	'SELECT count(*), pg_sleep(1.5) FROM gamestate.journal_0',
	'BEGIN; LOCK TABLE gamestate.journal_1 IN ACCESS SHARE MODE; SELECT pg_sleep(2.5); COMMIT',
	# somebody holds up the writers for a moment
	'BEGIN; LOCK TABLE gamestate.journal_0 IN SHARE MODE; SELECT pg_sleep(0.3); COMMIT',
	'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = $$gamestate archiver$$',
	'SELECT pg_switch_wal()',
);

sub disturb
{
	my $sql = $disturbances[ rand @disturbances ];
	my ($out, $err) = ('', '');
	return {
		err => \$err, what => $sql,
		# Not for VACUUM: its record of an all-visible page has no image to restore, so
		# that the check stumbles over a page of zeros when the file has been emptied
		# later on (PostgreSQL's own, in recovery only; without the check it is skipped).
		run => IPC::Run::start(
			[
				'psql', '-XAtq', '-d', $node->connstr('postgres'),
				$sql =~ /VACUUM/ ? ('-c', q{SET wal_consistency_checking = ''}) : (), '-c', $sql
			],
			'>', \$out, '2>', \$err)
	};
}

# Emptying gives a table a new file, and so does only VACUUM FULL, of the other one.
sub file_of_journal
{
	return $node->safe_psql('postgres', q{SELECT pg_relation_filenode('gamestate.journal_1')});
}

sub pid_of
{
	my ($where) = @_;
	my ($rc, $out) = $node->psql('postgres', "SELECT pid FROM pg_stat_activity WHERE $where ORDER BY random() LIMIT 1");
	return $rc == 0 ? $out : '';
}

sub kill_one
{
	my ($where) = @_;
	my $deadline = time() + 4;
	while (time() < $deadline)
	{
		my $pid = pid_of($where);
		# it may just have ended by itself
		return 1 if $pid ne '' && kill('KILL', $pid);
		sleep(0.01);
	}
	return 0;
}

sub start_again
{
	for (1 .. 300)
	{
		return 1 if $power->start(fail_ok => 1);
		$node->{_pid} = undef;
		sleep(0.1);    # somebody has not quite gone yet, or holds the shared memory
	}
	return 0;
}

# The power fails, or all processes are killed.  What was not synced is lost or
# partly there.
my ($unsynced, $written_anyway) = (0, 0);

sub lose_power
{
	# let some commits be under way, and readers look at them
	if (rand() < 0.7)
	{
		$power->delay(400_000);
		sleep(rand(0.4));
	}
	$power->kill_all;
	$power->delay($delay);
	my ($blocks, $kept_blocks) = $power->lose(some => rand() < 0.5);
	$unsynced += $blocks;
	$written_anyway += $kept_blocks;
	return start_again();
}

sub lose_processes
{
	$power->kill_all;
	return start_again();
}

sub wait_for_rotation
{
	my $deadline = time() + 60;
	sleep(0.01) while pid_of(q{backend_type = 'gamestate archiver' AND query = 'rotating the journal'}) eq '' && time() < $deadline;
	return;
}

# Not by a query on psql's standard input: when psql has gone before it reads
# it, IPC::Run dies of the broken pipe.
sub is_up
{
	for (1 .. 1800)
	{
		return 1 if IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SELECT 1' ], '<', '/dev/null', '>', \my $out, '2>', \my $err);
		sleep(0.1);
	}
	return 0;
}

# Each returns whether it found something to kill; the server must be up
# afterwards.  The short run has one of each of the first six.
my @kinds = (
	[ 'backend killed', sub { kill_one(q{application_name = 'torture' AND state <> 'idle'}) } ],
	[ 'power loss', \&lose_power ],
	[ 'archiver killed while rotating', sub { kill_one(q{backend_type = 'gamestate archiver' AND query = 'rotating the journal'}) || kill_one(q{backend_type = 'gamestate archiver'}) } ],
	[ 'all killed', \&lose_processes ],
	[ 'immediate stop', sub { $node->stop('immediate'); start_again() } ],
	[ 'power loss while rotating', sub { wait_for_rotation(); lose_power() } ],
	[ 'checkpointer or WAL writer killed', sub { kill_one(q{backend_type IN ('checkpointer', 'walwriter')}) } ],
	[ 'all killed while rotating', sub { wait_for_rotation(); lose_processes() } ],
	[ 'power loss, and again while loading', sub { lose_power(); sleep(rand(0.3)); lose_power() } ],
	[ 'power loss', \&lose_power ],
	[ 'power loss after a crash', sub {
		kill_one(q{application_name = 'torture' AND state <> 'idle'}); sleep(rand(0.3)); lose_power() } ],
	[ 'all killed, and again while loading', sub { lose_processes(); sleep(rand(0.3)); lose_processes() } ],
	[ 'archiver killed', sub { kill_one(q{backend_type = 'gamestate archiver'}) } ],
	[ 'launcher killed', sub { kill_one(q{backend_type = 'gamestate launcher'}) } ],
	[ 'postmaster killed', sub {
		kill('KILL', (split(/\n/, slurp_file($node->data_dir . '/postmaster.pid')))[0]);
		$node->{_pid} = undef; start_again() } ],
	[ 'fast stop', sub { $node->stop('fast'); start_again() } ],
);

my %done;
my $failed = 0;
my $rotations = 0;
my $start = time();
foreach my $round (1 .. $crashes)
{
	my ($name, $crash) = @{ $kinds[ $long && $round > @kinds ? rand @kinds : ($round - 1) % @kinds ] };
	my $file = file_of_journal();
	my @running = start_writers();
	my @others = ();
	my $until = time() + 0.5 + rand($long ? 2.5 : 0.6);
	while (time() < $until)
	{
		push @others, disturb() if rand() < 0.5;
		sleep(0.2 + rand(0.4));
	}
	my $found = $crash->();
	$node->stop('immediate') unless $found;    # or nobody would ever end
	foreach my $one (@running, @others)
	{
		eval { $one->{run}->finish };
	}
	# a server that goes may also speak to somebody who is just being connected
	my @broken = map { ${ $_->{err} } . ' (status ' . $_->{run}->full_result . ')' } grep { $_->{run}->full_result != 0 || ${ $_->{err} } =~ /^(writer|reader)/m } @running;
	my $up = is_up();
	my @wrong = $up ? $torture->check($node) : ('the server does not come back');
	my $ok = $found && !@broken && !@wrong;
	$done{$name}++;
	$rotations++ if $up && $file ne file_of_journal();
	ok($ok, "crash $round: $name");
	next if $ok;
	$failed++;
	diag("found nothing to kill") unless $found;
	diag(join("\n", @broken, @wrong[ 0 .. ($#wrong > 60 ? 60 : $#wrong) ]));
	$node->stop('immediate');
	BAIL_OUT('torture failed; see the logs') if $long;
	done_testing();
	exit 1;
}
note(sprintf('%d crashes in %d s, %d rounds with a rotation; operations: %d acknowledged, %d under way and there, %d under way and not there, %d of those who do not wait lost, %d refused, %d rolled back; %d games archived; %d answers to the reader; %d blocks not synced at a power loss, %d of them kept',
	$crashes, time() - $start, $rotations, @$torture{qw(acknowledged unknown_there unknown_lost acknowledged_lost refused rolled_back archived told)}, $unsynced, $written_anyway));
note("  $_: $done{$_}") foreach sort keys %done;
cmp_ok($torture->{acknowledged}, '>', 100, 'the writers did something');
cmp_ok($torture->{archived}, '>', 0, 'games were archived');
cmp_ok($torture->{told}, '>', 100, 'the reader was told something');
cmp_ok($unsynced, '>', 0, 'there was something to lose when the power failed');
cmp_ok($torture->{acknowledged_lost}, '>', 0, 'who does not wait for the disk has lost something') if $long;

# Does the checker find anything at all?  Damage is planted in copies of what a
# clean stop has left.
my $file = file_of_journal();
my @running = start_writers();
sleep(1);
# a slow machine may not have come that far in the short rounds
$rotations++
  if $rotations == 0
  && !$long
  && $node->poll_query_until('postgres', "SELECT pg_relation_filenode('gamestate.journal_1') <> $file");
cmp_ok($rotations, '>', 0, 'the journal was rotated');
$_->{run}->kill_kill foreach @running;
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'torture'})
  or die 'timed out waiting for sessions to end';
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM gamestate.list_live_games(NULL, NULL, false) WHERE ended_at IS NOT NULL')
  or die 'timed out waiting for the archiver';
# the newest row of the journal shall be that of a move, not an image
$node->poll_query_until('postgres', 'SELECT NOT rotating FROM gamestate.stat_journal') or die 'timed out waiting for a rotation';
$torture->copy->move_and_row($node);
$node->stop('fast');
my $log = slurp_file($node->logfile);    # what follows is damaged on purpose
my $kept = $node->basedir . '/kept';
my %plant = (
	'nothing, when there is nothing' => 'SELECT 1',
	'an acknowledged move that is lost' => q{
		DELETE FROM gamestate.%JOURNAL% WHERE seq = (SELECT max(seq) FROM gamestate.%JOURNAL%)},
	'an acknowledged row that is lost' => q{DELETE FROM row_of WHERE w = 1 AND k = (SELECT max(k) FROM row_of WHERE w = 1)},
	'a row of a transaction that was not committed' => q{INSERT INTO row_of VALUES (1, 1000000, 0)},
	'a row twice' => q{INSERT INTO row_of SELECT * FROM row_of LIMIT 1},
	'a game that is live and archived' => q{INSERT INTO gamestate.archive (game_id, game_type, status, encoding, players, created_at, ended_at, version, moves)
		SELECT game_id, game_type, 'finished', encoding, players, created_at, now(), version, moves
		FROM gamestate.list_live_games('odd', 'active') LIMIT 1},
	# the key of its partition would refuse it
	'a game that is archived twice' => q{DO $$
		DECLARE
			part regclass := (SELECT tableoid FROM gamestate.archive WHERE game_type = 'odd' LIMIT 1);
		BEGIN
			EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', part,
				(SELECT conname FROM pg_constraint WHERE conrelid = part AND contype = 'p'));
			EXECUTE format('INSERT INTO %s SELECT * FROM %s LIMIT 1', part, part);
		END $$},
	'a game that has left the archive' => q{DELETE FROM gamestate.archive WHERE game_id = (SELECT min(game_id::text)::uuid FROM looked_through)},
	'half of a transfer' => q{SELECT gamestate.apply_move(game_id, NULL, '{"w":1,"k":1000000,"i":0}',
		json_build_object('n', (state->>'n')::int + 1)) FROM gamestate.list_live_games('shared') LIMIT 1},
	'a transfer that nobody made' => q{SELECT gamestate.apply_move(game_id, NULL, '{"w":1,"k":1000000,"i":0}', state)
		FROM gamestate.list_live_games('shared') LIMIT 2},
	'a game that is gone' => q{SELECT gamestate.delete_game(game_id) FROM gamestate.list_live_games('even', 'active', false) LIMIT 1},
	'a game that nobody made' => q{SELECT gamestate.create_game('odd')},
	'a version that a reader was told and that is lost' => sub {
		append($torture->reader_log, 'V ' . Torture::shared_id(0) . " 1000000\n") },
	'an operation that was rolled back and that a reader saw' => sub {
		append($torture->log_file(1), "R 1000000\n");
		append($torture->reader_log, "O 1 1000000\n") },
);
my %size = map { $_ => -s $_ } $torture->log_file(1), $torture->reader_log;

sub append
{
	my ($file, $line) = @_;
	open my $fh, '>>', $file or die "$file: $!";
	print $fh $line;
	close $fh;
	return;
}

rename($node->data_dir, $kept) or die "rename: $!";
# the short run plants two losses, a duplicate and a tear
my @planted = $long ? sort keys %plant : (
	'nothing, when there is nothing', 'an acknowledged move that is lost',
	'a version that a reader was told and that is lost', 'a game that is live and archived', 'half of a transfer');
foreach my $what (@planted)
{
	system_or_bail('cp', '-a', $kept, $node->data_dir);
	$node->start;
	my $plant = $plant{$what};
	if (ref $plant)
	{
		$plant->();
	}
	else
	{
		my $journal = $node->safe_psql('postgres', q{SELECT CASE WHEN coalesce((SELECT max(seq) FROM gamestate.journal_0), 0) >
			coalesce((SELECT max(seq) FROM gamestate.journal_1), 0) THEN 'journal_0' ELSE 'journal_1' END});
		$node->safe_psql('postgres', $plant =~ s/%JOURNAL%/$journal/gr);
		$node->restart if $what =~ /move|nothing/;    # only what is in the journal has to be loaded
	}
	my @wrong = $torture->copy->check($node);
	truncate($_, $size{$_}) foreach keys %size;
	if ($plant eq 'SELECT 1')
	{
		is(join("\n", @wrong), '', "the checker finds $what");
	}
	else
	{
		isnt(scalar(@wrong), 0, "the checker finds $what");
		note(substr(join(' / ', @wrong), 0, 300));
	}
	$node->stop('immediate');
	rmtree($node->data_dir);
}
rename($kept, $node->data_dir);

unlike($log, qr/PANIC|TRAP|terminated by signal (?!9)|inconsistent page|damaged row|cannot be loaded|is loaded as of/,
	'nobody crashed but those who were killed, and nothing was damaged');
done_testing();
