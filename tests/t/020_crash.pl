# Crashes of every kind under load: what was acknowledged is there, nothing is
# torn, every game is exactly once in memory or in the archive, and the checker
# that says so finds what is planted.
#
# A layer of its own because a crash ends every session of its server, and
# because what the clients were told has to be kept outside of it.
#
# TORTURE_CRASHES: how many crashes (`make torture`: many; here: one of each
# kind).  TORTURE_SEED: to repeat a run, as far as scheduling lets it.

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
use Torture;

my $crashes = $ENV{TORTURE_CRASHES} || 9;
my $long = $crashes > 9;
my $writers = 5;
my $seed = $ENV{TORTURE_SEED} || time() * 1000 % 1_000_000;
my $program = $ENV{GS_TORTURE} . '/writer';
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
max_wal_size = 256MB
max_connections = 40
fsync = off                     # processes are killed, the machine is not
autovacuum = off
log_statement = none
log_checkpoints = off
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION amcheck;' . $torture->setup_sql);

# start_writers(): one process each, in the background
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
					$program, $node->connstr('postgres') . " application_name=torture", $torture->log_file($w), $w,
					$torture->{next_k}[$w], int(rand(1e9)), $async ? 0 : $torture->{shared}, $async ? 'off' : 'on'
				],
				'>', '/dev/null', '2>', \$err)
		};
	}
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
		return kill('KILL', $pid) if $pid ne '';
		sleep(0.01);
	}
	return 0;
}

# The postmaster first, so that it can do nothing about its children's end.
sub kill_all
{
	my @pids = split(/\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity'));
	my $postmaster = (split(/\n/, slurp_file($node->data_dir . '/postmaster.pid')))[0];
	kill('KILL', $postmaster, @pids);
	$node->{_pid} = undef;
	sleep(0.02) while kill(0, $postmaster);
}

sub start_again
{
	for (1 .. 300)
	{
		return 1 if $node->start(fail_ok => 1);
		$node->{_pid} = undef;
		sleep(0.1);    # somebody has not quite gone yet, or holds the shared memory
	}
	return 0;
}

# Each returns whether it found something to kill; the server must be up afterwards.
my @kinds = (
	[ 'backend killed', sub { kill_one(q{application_name = 'torture' AND state <> 'idle'}) } ],
	[ 'archiver killed', sub { kill_one(q{backend_type = 'gamestate archiver'}) } ],
	[ 'archiver killed while rotating', sub { kill_one(q{backend_type = 'gamestate archiver' AND query = 'rotating the journal'}) || kill_one(q{backend_type = 'gamestate archiver'}) } ],
	[ 'all killed', sub { kill_all(); start_again() } ],
	[ 'immediate stop', sub { $node->stop('immediate'); start_again() } ],
	[ 'fast stop', sub { $node->stop('fast'); start_again() } ],
	[ 'checkpointer or WAL writer killed', sub { kill_one(q{backend_type IN ('checkpointer', 'walwriter')}) } ],
	[ 'all killed while rotating', sub {
		my $deadline = time() + 3;
		sleep(0.01) while pid_of(q{backend_type = 'gamestate archiver' AND query = 'rotating the journal'}) eq '' && time() < $deadline;
		kill_all(); start_again() } ],
	[ 'all killed, and again while loading', sub {
		kill_all(); start_again(); sleep(rand(0.3)); kill_all(); start_again() } ],
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
	foreach my $one (@running, @others)
	{
		eval { $one->{run}->finish };
	}
	my @broken = map { ${ $_->{err} } } grep { ${ $_->{err} } ne '' } @running;
	my $up = $node->poll_query_until('postgres', 'SELECT 1', '1');
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
note(sprintf('%d crashes in %d s, %d rounds with a rotation; operations: %d acknowledged, %d under way and there, %d under way and not there, %d refused, %d rolled back; %d games archived',
	$crashes, time() - $start, $rotations, @$torture{qw(acknowledged unknown_there unknown_lost refused rolled_back archived)}));
note("  $_: $done{$_}") foreach sort keys %done;
cmp_ok($torture->{acknowledged}, '>', 100, 'the writers did something');
cmp_ok($torture->{archived}, '>', 0, 'games were archived');
cmp_ok($rotations, '>', 0, 'the journal was rotated');

# Does the checker find anything at all?  Damage is planted in copies of what a
# clean stop has left.
my @running = start_writers();
sleep(1);
$_->{run}->kill_kill foreach @running;
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'torture'})
  or die 'timed out waiting for sessions to end';
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM gamestate.list_live_games(NULL, NULL, false) WHERE ended_at IS NOT NULL')
  or die 'timed out waiting for the archiver';
$torture->copy->move_and_row($node);
$node->stop('fast');
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
);
rename($node->data_dir, $kept) or die "rename: $!";
# the short run plants a loss, a duplicate and two tears
my @planted = $long ? sort keys %plant : (
	'nothing, when there is nothing', 'an acknowledged move that is lost', 'an acknowledged row that is lost',
	'a game that is live and archived', 'half of a transfer');
foreach my $what (@planted)
{
	system_or_bail('cp', '-a', $kept, $node->data_dir);
	start_again();
	my $sql = $plant{$what};
	my $journal = $node->safe_psql('postgres', q{SELECT CASE WHEN coalesce((SELECT max(seq) FROM gamestate.journal_0), 0) >
		coalesce((SELECT max(seq) FROM gamestate.journal_1), 0) THEN 'journal_0' ELSE 'journal_1' END});
	$sql =~ s/%JOURNAL%/$journal/g;
	$node->safe_psql('postgres', $sql);
	$node->restart if $what =~ /move|nothing/;    # only what is in the journal has to be loaded
	my @wrong = $torture->copy->check($node);
	if ($sql eq 'SELECT 1')
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

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?!9)|inconsistent page|damaged row|cannot be loaded|is loaded as of/,
	'nobody crashed but those who were killed, and nothing was damaged');
done_testing();
