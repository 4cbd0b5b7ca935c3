# The light way to commit: no transaction ids, nothing durable of what fails
# after pre-commit, locks free before the standbys have answered, and nobody
# told what a crash can take back.
#
# A layer of its own because commits are held up by a standby that does not
# exist, other sessions look at games meanwhile, and the server is crashed.

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
gamestate.memory = 32MB
max_worker_processes = 12
max_prepared_transactions = 2
autovacuum = off
wal_consistency_checking = all
gamestate.pitr_tick = 0
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate; INSERT INTO gamestate.policy (game_type, history) VALUES ('', 'events');
CREATE EXTENSION amcheck;
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql AS
$$SELECT ('25250000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
CREATE FUNCTION play(n int, room text DEFAULT NULL) RETURNS uuid LANGUAGE sql AS
$$SELECT gamestate.create_game('l', '{"v": 1}', '{ann}', room, game_id => id(n), max_players => 1)$$;
});

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub xids { return sql('SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint'); }

sub crash
{
	$node->stop('immediate');
	$node->start;
	return;
}

# the journal's tables, as amcheck sees them
sub verify
{
	my ($name) = @_;
	is(sql(q{SELECT count(*) FROM verify_heapam('gamestate.journal_0') v}) . sql(q{SELECT count(*) FROM verify_heapam('gamestate.journal_1') v}), '00', $name);
	return;
}

# A psql that goes on by itself.
sub session
{
	my ($setup) = @_;
	my $s = { in => '', out => '', n => 0 };
	$s->{h} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$s->{in}, '>', \$s->{out}, '2>&1',
		IPC::Run::timeout(60));
	say_to($s, "\\set VERBOSITY sqlstate\nSELECT set_config('application_name', 's', false)" . ($setup ? ";\n$setup" : ''));
	return $s;
}

# Send without waiting.
sub send_to
{
	my ($s, $sql) = @_;
	$s->{mark} = 'done ' . ++$s->{n};
	$s->{out} = '';
	$s->{in} .= "$sql;\n\\echo $s->{mark}\n";
	$s->{h}->pump_nb;
	return;
}

sub has_answer
{
	my ($s) = @_;
	$s->{h}->pump_nb;
	return $s->{out} =~ /$s->{mark}\n/;
}

sub answer
{
	my ($s) = @_;
	$s->{h}->pump until $s->{out} =~ /$s->{mark}\n/;
	(my $out = $s->{out}) =~ s/$s->{mark}\n//;
	chomp $out;
	return $out;
}

sub say_to
{
	my ($s, $sql) = @_;
	send_to($s, $sql);
	return answer($s);
}

# ---------------------------------------------------------------------------
note 'No transaction ids';

sql('SELECT play(n) FROM generate_series(1, 20) n');
my $before = xids();
sql("SELECT gamestate.apply_move(id(1), NULL, '1', '{}')") foreach 1 .. 3;
sql(q{DO $$BEGIN FOR i IN 1 .. 1000 LOOP
	PERFORM gamestate.apply_move(id(2), i, '1', '{}'); COMMIT; END LOOP; END$$});
sql(q{BEGIN; SELECT gamestate.apply_move(id(n), 1, '1', '{"several": 1}') FROM generate_series(3, 6) n; COMMIT});
sql(q{BEGIN; SELECT gamestate.apply_move(id(7), 1, '1', '{}'); SAVEPOINT a; SELECT gamestate.apply_move(id(8), 1, '1', '{}');
	SAVEPOINT b; SELECT gamestate.apply_move(id(9), 1, '1', '{}'); ROLLBACK TO a; SELECT gamestate.apply_move(id(10), 1, '1', '{}'); COMMIT});
sql(q{SELECT gamestate.delete_game(id(11))});
is(xids() - $before, 0, 'moves, creations and deletions take none');
sql(q{SELECT gamestate.apply_move(id(12), 1, '1', to_json(repeat('x', 300000)))});
is(xids() - $before, 0, 'nor does a state of 300 kB');
sql(q{SET gamestate.light_commit = off; SELECT gamestate.apply_move(id(13), 1, '1', '{}')});
is(xids() - $before, 1, 'with gamestate.light_commit off there is one');
sql(q{SELECT gamestate.create_game('big', to_json(repeat(md5(n::text), 5000)), game_id => id(100 + n)) FROM generate_series(1, 8) n});
is(xids() - $before, 2, 'so is with more than 64 rows of the journal');
my $versions = q{SELECT string_agg(gamestate.get_version(id(n)) || '', ' ' ORDER BY n) FROM generate_series(1, 13) n};
my $expected = '4 1001 2 2 2 2 2 1 1 2 2 2';
is(sql($versions), $expected, 'versions');
my $sums = q{SELECT md5(string_agg(gamestate.get_state(id(n))::text, ' ' ORDER BY n)) FROM generate_series(1, 108) n};
my $sum = sql($sums);
verify('amcheck finds nothing');
crash();
is(sql($versions), $expected, 'versions after a crash');
is(sql($sums), $sum, 'states after a crash');
verify('amcheck finds nothing after it');
cmp_ok(sql(q{SELECT count(*) FROM gamestate.journal_0 WHERE xmin = '2'::xid}), '>', 1000, 'the rows are frozen');
cmp_ok(sql(q{SELECT max(cnt) FROM gamestate.journal_0 WHERE xmin = '2'::xid}), '>', 30, 'also those of a large group');

# ticks: one transaction id a second, and only while games change
$node->append_conf('postgresql.conf', 'gamestate.pitr_tick = 200ms');
$node->reload;
sleep 0.5;
$before = xids();
sql(q{DO $$BEGIN FOR i IN 1 .. 10 LOOP
	PERFORM gamestate.apply_move(id(3), NULL, '1', '{}'); COMMIT; PERFORM pg_sleep(0.1); END LOOP; END$$});
sleep 0.5;
my $ticks = xids() - $before;
ok($ticks >= 3 && $ticks <= 7, "about five ticks in a second ($ticks)");
$before = xids();
sleep 0.7;
is(xids() - $before, 0, 'none when no game changes');
$node->append_conf('postgresql.conf', 'gamestate.pitr_tick = 0');
$node->reload;

# ---------------------------------------------------------------------------
note 'Resource owners, subtransactions, locks';

sql(q{
CREATE PROCEDURE moves(n int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. n LOOP
		PERFORM gamestate.apply_move(id(4), NULL, '1', '{}');
		BEGIN
			PERFORM gamestate.apply_move(id(5), NULL, '1', '{}');
			PERFORM gamestate.apply_move(id(6), 9999, '1', '{}');
		EXCEPTION WHEN SQLSTATE 'GS001' THEN NULL;
		END;
		COMMIT;
	END LOOP;
END $$;
CALL moves(20)});
is(sql('SELECT gamestate.get_version(id(4)) || $$ $$ || gamestate.get_version(id(5))'), (sql('SELECT gamestate.get_version(id(4))')) . ' 2', 'a subtransaction that failed left nothing');
is(sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'no lock is left');
is(sql(q{BEGIN; SELECT gamestate.apply_move(id(7), NULL, '1', '{}'); SAVEPOINT a; SELECT gamestate.apply_move(id(8), NULL, '1', '{}'); ROLLBACK TO a;
	SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'; COMMIT}) =~ /\n1$/, 1, 'the lock of the savepoint is given back');
is(sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'and the other one at the commit');
is(sql(q{BEGIN; SELECT pg_advisory_xact_lock(7); SELECT gamestate.apply_move(id(7), NULL, '1', '{}'); COMMIT; SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}) =~ /\n0$/, 1, 'with an advisory lock of the user');
sql(q{BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT gamestate.apply_move(id(7), NULL, '1', '{}') FROM generate_series(1, 3); COMMIT; FETCH ALL FROM c});

# ---------------------------------------------------------------------------
note 'What fails after pre-commit';

# A commit that waits for a standby holds the lock that NOTIFY needs at pre-commit.
my $writer = session(q{SET synchronous_commit = on});
my $other = session(q{SET synchronous_commit = local});

sub stall
{
	$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
	$node->reload;
	$node->poll_query_until('postgres', q{SELECT setting = 'nobody' FROM pg_settings WHERE name = 'synchronous_standby_names'}) or die;
	sleep 0.3; # the checkpointer tells everybody
	return;
}

sub go_on
{
	$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$node->reload;
	return;
}

sub stalled
{
	$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 's'}) or die;
	return;
}

my $v = sql('SELECT gamestate.get_version(id(1))');
stall();
send_to($writer, q{BEGIN; CREATE TABLE x (); NOTIFY n; COMMIT});
stalled();
like(say_to($other, qq{SET lock_timeout = '200ms'; BEGIN; SELECT gamestate.apply_move(id(1), $v, '1', '{"lie": 1}'); NOTIFY n; COMMIT}),
	qr/ERROR:  55P03/, 'NOTIFY fails at the commit');
is(say_to($other, 'RESET lock_timeout; SELECT gamestate.get_version(id(1))'), $v, 'the move is not made');
go_on();
answer($writer);
crash();
is(sql('SELECT gamestate.get_version(id(1))'), $v, 'nor is it after a crash');
$writer = session(q{SET synchronous_commit = on});
$other = session(q{SET synchronous_commit = local});
is(say_to($other, qq{BEGIN; SELECT gamestate.apply_move(id(1), $v, '1', '{}'); NOTIFY n; COMMIT; SELECT gamestate.get_version(id(1))}),
	($v + 1) . "\n" . ($v + 1), 'a NOTIFY that succeeds, with its late transaction id');
crash();
is(sql('SELECT gamestate.get_version(id(1))'), $v + 1, 'is kept');

# ---------------------------------------------------------------------------
note 'Nobody is told what a crash can take back';

sql(q{SELECT play(n, 'room ' || n) FROM generate_series(50, 69) n});
$writer = session(q{SET synchronous_commit = on});
my $writer2 = session(q{SET synchronous_commit = on});
my $reader = session(q{SET synchronous_commit = off});
$other = session(q{SET synchronous_commit = local});

# waits(READER'S SQL, NAME): the statement gives no answer now, and an error when cancelled
sub waits
{
	my ($query, $name) = @_;
	send_to($reader, "SELECT pg_backend_pid()");
	my $pid = answer($reader);
	send_to($reader, $query);
	my $end = time() + 0.15;
	while (time() < $end) { has_answer($reader); sleep 0.02; }
	ok(!has_answer($reader), "$name waits");
	sql("SELECT pg_cancel_backend($pid)");
	like(answer($reader), qr/ERROR:  57014/, "$name: cancelled is an error");
	say_to($reader, 'ROLLBACK');
	return;
}

# at_once(SQL, ANSWER, NAME)
sub at_once
{
	my ($query, $wanted, $name) = @_;
	is(say_to($other, $query), $wanted, "$name is answered at once");
	return;
}

stall();
send_to($writer, q{SELECT gamestate.apply_move(id(50), 1, '1', '{"v": 2}')});
stalled();
is(sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'the lock is free while its commit waits for a standby');
waits('SELECT gamestate.get_state(id(50))', 'get_state');
waits('SELECT gamestate.get_version(id(50))', 'get_version');
waits('SELECT version FROM gamestate.get_game(id(50))', 'get_game');
waits('SELECT max(version) FROM gamestate.get_changes(id(50))', 'get_changes');
waits('SELECT gamestate.get_state_bytes(id(50))', 'the error of the wrong encoding');
waits(q{SELECT gamestate.find_room('room 50')}, 'find_room');
waits(q{SELECT count(*) FROM gamestate.player_games('ann')}, 'player_games');
waits(q{SELECT count(*) FROM gamestate.live_games}, 'live_games');
waits(q{SELECT count(*) FROM gamestate.games}, 'games');
waits(q{SELECT count(*) FROM gamestate.list_live_games('l', 'active', false)}, 'list_live_games');
waits(q{SELECT gamestate.apply_move(id(50), 1, '1', '{}')}, 'a stale version');
waits(q{SELECT gamestate.apply_move(id(50), NULL, '1', '{}', 'bob')}, 'not a player');
waits(q{SELECT gamestate.join_game(id(50), 'ann')}, 'a repeated join');
waits(q{SELECT gamestate.join_game(id(50), 'bob')}, 'a full room');
waits(q{SELECT gamestate.start_game(id(50))}, 'a wrong status');
waits(q{SELECT gamestate.create_game('l', game_id => id(50))}, 'a duplicate id');
waits(q{SELECT gamestate.create_game('l', room_code => 'room 50')}, 'a taken room code');
waits(q{BEGIN; SELECT gamestate.apply_move(id(50), NULL, '1', '{}')}, 'a move in a transaction block');
waits(q{BEGIN; SELECT gamestate.delete_game(id(50))}, 'a deletion in a transaction block');
# who waits for an answer that changes nothing does not hold up the next writer
send_to($reader, 'SELECT pg_backend_pid()');
my $reader_pid = answer($reader);
send_to($reader, q{SELECT gamestate.apply_move(id(50), 1, '1', '{}')});
ok($node->poll_query_until('postgres', "SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $reader_pid"), 'the loser of a race waits');
is(sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'without the lock of the game');
sql("SELECT pg_cancel_backend($reader_pid)");
answer($reader);
at_once('SELECT gamestate.get_version(id(51))', '1', 'another game');
at_once(q{SELECT gamestate.apply_move(id(51), 1, '1', '{"v": 2}')}, '2', 'a move of another game');

# the next writer of the game goes on: only his answer waits
send_to($writer2, q{SELECT gamestate.apply_move(id(50), 2, '1', '{"v": 3}')});
$node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 's'})
  or die 'the second writer does not get to his wait';
pass('the next move of the game is made before the first one is acknowledged');
# whose commit asks for less, but who was told of what asks for more
send_to($other, q{SELECT gamestate.apply_move(id(50), 3, '1', '{"v": 4}')});
$node->poll_query_until('postgres', q{SELECT count(*) = 3 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 's'})
  or die 'the third writer does not get to his wait';
pass('a move with a lower level waits for what it was based on');
go_on();
is(answer($writer), '2', 'the first move is acknowledged');
is(answer($writer2), '3', 'the second too');
is(answer($other), '4', 'and the third');
is(say_to($reader, 'SELECT gamestate.get_state(id(50))'), '{"v": 4}', 'and can be read');

# what is gone: finished, deleted, room codes, players
stall();
send_to($writer, q{SELECT gamestate.finish_game(id(52))});
stalled();
waits(q{SELECT gamestate.find_room('room 52')}, 'a room code that is free again');
waits(q{SELECT gamestate.apply_move(id(52), NULL, '1', '{}')}, 'a game that is over');
waits(q{SELECT gamestate.find_room('never was')}, 'any room code that is not found');
sleep 0.3;
is(sql(q{SELECT count(*) FROM gamestate.archive WHERE game_id = id(52)}), '0', 'nor is the game archived');
go_on();
is(answer($writer), '2', 'it is finished');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM gamestate.archive WHERE game_id = id(52)}), 'and archived');
stall();
send_to($writer, q{SELECT gamestate.delete_game(id(53))});
stalled();
waits(q{SELECT gamestate.get_state(id(53))}, 'a deleted game');
waits(q{SELECT gamestate.apply_move(id(53), NULL, '1', '{}')}, 'a move of a deleted game');
waits(q{SELECT gamestate.delete_game(id(53))}, 'deleting it again');
go_on();
is(answer($writer), 't', 'it is deleted');
is(say_to($reader, 'SELECT gamestate.get_state(id(53)) IS NULL'), 't', 'and gone');

# a retry is answered when its first call is
foreach my $call (
	[ 'a move', q{gamestate.apply_move(id(68), 1, '1', '{"v": 2}', request_id => id(1))}, '2' ],
	[ 'a creation', q{gamestate.create_game('l', request_id => '01930000-0000-7000-8000-000000000025')}, '01930000-0000-7000-8000-000000000025' ],
	[ 'an end', q{gamestate.finish_game(id(68), request_id => id(2))}, '3' ],
	[ 'a deletion', q{gamestate.delete_game(id(69), request_id => id(3))}, 't' ])
{
	my ($what, $sql, $answer) = @$call;
	stall();
	send_to($writer, "SELECT $sql");
	stalled();
	waits("SELECT $sql", "a retry of $what");
	waits("BEGIN; SELECT $sql", "a retry of $what in a transaction block");
	waits(q{SELECT gamestate.apply_move(id(68), 1, '1', '{"v": 3}', request_id => id(1))}, 'its request id used for something else')
	  if $what eq 'a move';
	waits(q{SELECT * FROM gamestate.apply_moves(ARRAY[id(68)], '{1}', ARRAY['1'::json], ARRAY['{"v": 2}'::json], request_ids => ARRAY[id(1)])}, 'a retry in a batch')
	  if $what eq 'a move';
	go_on();
	is(answer($writer), $answer, "$what is acknowledged");
	is(say_to($reader, "SELECT $sql"), $answer, 'and its retry answered');
}

# each level is honoured: off and local do not wait for standbys, the others do
stall();
foreach my $level (qw(off local))
{
	at_once("SET synchronous_commit = $level; SELECT gamestate.apply_move(id(54), NULL, '1', '{}') > 1", 't', "synchronous_commit = $level");
}
is(say_to($reader, 'SELECT gamestate.get_version(id(54))'), '3', 'what they wrote can be read');
foreach my $level (qw(remote_write on remote_apply))
{
	send_to($writer, "SET synchronous_commit = $level; SELECT gamestate.apply_move(id(55), NULL, '1', '{}') > 1");
	stalled();
	pass("synchronous_commit = $level waits");
	waits('SELECT gamestate.get_version(id(55))', "a reader of $level");
	go_on();
	is(answer($writer), 't', 'and goes on');
	stall();
}
# the writer's wait is cancelled: as PostgreSQL does, a warning
send_to($writer, 'SELECT pg_backend_pid()');
my $pid = answer($writer);
send_to($writer, q{SELECT gamestate.apply_move(id(56), 1, '1', '{}')});
stalled();
sql("SELECT pg_cancel_backend($pid)");
like(answer($writer), qr/WARNING:  01000.*\n?2/s, "a cancelled writer's wait is a warning, the move is made");
waits('SELECT gamestate.get_version(id(56))', 'a reader of it');
go_on();
is(say_to($reader, 'SELECT gamestate.get_version(id(56))'), '2', 'until standbys are no longer asked for');

# with a transaction id nothing is seen before the wait is over
stall();
send_to($writer, q{RESET synchronous_commit; BEGIN; INSERT INTO x DEFAULT VALUES; SELECT gamestate.apply_move(id(57), 1, '1', '{}'); COMMIT});
stalled();
is(say_to($other, 'SELECT gamestate.get_version(id(57))'), '1', 'with a transaction id the old version is answered');
go_on();
answer($writer);
is(say_to($other, 'SELECT gamestate.get_version(id(57))'), '2', 'then the new one');

# cancel_writer(ANSWER, NAME): its wait
sub cancel_writer
{
	my ($wanted, $name) = @_;
	stalled();
	sql("SELECT pg_cancel_backend($pid)");
	like(answer($writer), qr/WARNING:  01000.*\n?$wanted/s, "$name: cancelling is a warning");
	return;
}
stall();
send_to($writer, q{BEGIN; INSERT INTO x DEFAULT VALUES; SELECT gamestate.apply_move(id(63), 1, '1', '{}'); COMMIT});
cancel_writer('', 'with a transaction id');
waits('SELECT gamestate.get_version(id(63))', 'a reader of what was not waited for');
at_once('SELECT gamestate.get_version(id(51))', '2', 'another game');
go_on();
is(say_to($other, 'SELECT gamestate.get_version(id(63))'), '2', 'and goes on with the new version');

# a retry is an answer too
sub request { return sprintf('25250000-0000-4000-8000-%012d', 900 + $_[0]); }
my %requests = (
	apply_move => "SELECT gamestate.apply_move(id(64), 1, '1', NULL, 'ann', request_id => '" . request(1) . "')",
	create_game => "SELECT gamestate.create_game('l', request_id => '" . request(2) . "') IS NOT NULL",
	join_any => "SELECT version FROM gamestate.join_any('quick', 'kim', request_id => '" . request(3) . "')",
	delete_game => "SELECT gamestate.delete_game(id(65), 1, '" . request(4) . "')");
foreach my $function (sort keys %requests)
{
	stall();
	send_to($writer, $requests{$function});
	cancel_writer('', $function);
	waits($requests{$function}, "a retry of $function");
	if ($function eq 'apply_move')
	{
		waits("SELECT gamestate.apply_move(id(64), 1, '2', NULL, 'ann', request_id => '" . request(1) . "')", 'the error for a reused request id');
		waits("SELECT version FROM gamestate.apply_moves(ARRAY[id(64)], '{1}', '{1}', '{NULL}', '{ann}', request_ids => ARRAY['" . request(1) . "']::uuid[])",
			'a retry in apply_moves');
	}
	go_on();
	like(say_to($reader, $requests{$function}), qr/^[12t]$/, "$function: answered again");
}
is(sql('SELECT gamestate.get_version(id(64))'), '2', 'one move was made');

# ---------------------------------------------------------------------------
note 'Rotation does not wait for commits that wait';

$node->append_conf('postgresql.conf', 'gamestate.journal_size = 16MB');
$node->reload;
stall();
send_to($writer, q{SET synchronous_commit = on; SELECT gamestate.apply_move(id(59), 1, '1', '{}')});
stalled();
say_to($other, q{SET synchronous_commit = local; DO $$BEGIN FOR i IN 1 .. 60 LOOP
	PERFORM gamestate.apply_move(id(62), NULL, '1', to_json((SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 12000)))); COMMIT; END LOOP; END$$});
# its last step, emptying the old table, is a commit like others
ok($node->poll_query_until('postgres', q{SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE backend_type = 'gamestate archiver'}), 'it gets to its last step');
is(sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'and has no game locked');
go_on();
is(answer($writer), '2', 'the commit that waited');
ok($node->poll_query_until('postgres', q{SELECT NOT rotating FROM gamestate.stat_journal}), 'the rotation ends');
crash();
is(sql('SELECT gamestate.get_version(id(59)) || $$ $$ || gamestate.get_version(id(62))'), '2 61', 'nothing is lost');
$writer = session(q{SET synchronous_commit = on});
$reader = session(q{SET synchronous_commit = off});
$other = session(q{SET synchronous_commit = local});

# ---------------------------------------------------------------------------
note 'Asynchronous commits reach the disk by themselves';

sql(q{SET synchronous_commit = off; SELECT gamestate.apply_move(id(58), NULL, '1', '{}') FROM generate_series(1, 1)});
sql(q{SET synchronous_commit = off; DO $$BEGIN FOR i IN 1 .. 50 LOOP
	PERFORM gamestate.apply_move(id(58), NULL, '1', '{}'); COMMIT; END LOOP; END$$});
my $lsn = sql('SELECT pg_current_wal_insert_lsn()');
my $start = time();
ok($node->poll_query_until('postgres', "SELECT pg_current_wal_flush_lsn() >= '$lsn'"), 'flushed');
cmp_ok(time() - $start, '<', 5, 'soon');
crash();
is(sql('SELECT gamestate.get_version(id(58))'), '52', 'and there after a crash');

# ---------------------------------------------------------------------------
note 'Pages';

# ownership after the file has changed, been shortened, been written to by others
my $mover = session();
my $moved = 0;

sub check_moves
{
	my ($name) = @_;
	$moved += 2;
	like(say_to($mover, q{SELECT gamestate.apply_move(id(60), NULL, '1', '{}'); SELECT gamestate.apply_move(id(60), NULL, '1', to_json(repeat(md5(random()::text), 600)))}),
		qr/^\d+\n\d+$/, "moves after $name");
	return;
}
check_moves('nothing');
my $active = sql(q{SELECT CASE WHEN pg_relation_size('gamestate.journal_0') >= pg_relation_size('gamestate.journal_1') THEN 0 ELSE 1 END});
foreach my $command ("VACUUM", "VACUUM (FREEZE, DISABLE_PAGE_SKIPPING)", "VACUUM (TRUNCATE TRUE)", "VACUUM FULL", "VACUUM (TRUNCATE TRUE, INDEX_CLEANUP OFF)")
{
	sql("$command gamestate.journal_$active");
	check_moves($command);
}
verify('amcheck finds nothing after all that');
# a group of two rows that failed after pre-commit, its pages cut off, others made since
$writer = session(q{SET synchronous_commit = on});
my $big = q{(SELECT to_json(string_agg(md5(random()::text), '')) FROM generate_series(1, 400))};
$active = sql(q{SELECT CASE WHEN pg_relation_size('gamestate.journal_0') >= pg_relation_size('gamestate.journal_1') THEN 0 ELSE 1 END});
stall();
send_to($writer, q{SET synchronous_commit = on; BEGIN; CREATE TABLE y (); NOTIFY n; COMMIT});
stalled();
like(say_to($mover, qq{SET lock_timeout = '200ms'; BEGIN; SELECT gamestate.apply_move(id(60), NULL, '1', $big); NOTIFY n; COMMIT}), qr/ERROR:  55P03/, 'a large move fails at the commit');
say_to($mover, 'ROLLBACK; RESET lock_timeout');
go_on();
answer($writer);
sql("VACUUM (TRUNCATE) gamestate.journal_$active");
sql(qq{SELECT gamestate.apply_move(id(61), NULL, '1', $big)}) foreach 1 .. 3;
like(say_to($mover, qq{SELECT gamestate.apply_move(id(60), NULL, '1', $big)}), qr/^\d+$/, 'the next one finds pages of its own');
$moved++;

# a prepared transaction keeps no lock of a call that has changed nothing
sql(q{BEGIN; SELECT gamestate.join_game(id(63), 'ann'); PREPARE TRANSACTION 'p'});
is(sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'nothing is locked by a prepared transaction');
sql(q{ROLLBACK PREPARED 'p'});

# sessions that come and go go on with one another's pages
my $pages = sql("SELECT pg_relation_size('gamestate.journal_$active') / 8192");
sql(q{SELECT gamestate.apply_move(id(61), NULL, '1', '{}')}) foreach 1 .. 40;
cmp_ok(sql("SELECT pg_relation_size('gamestate.journal_$active') / 8192"), '<', $pages + 40, 'short sessions do not take a page each');
my $games = q{SELECT md5(string_agg(g::text, ' ' ORDER BY game_id)) FROM gamestate.list_live_games() g};
$sum = sql($games);
crash();
is(sql($games), $sum, 'all games are as they were after a crash');
is(sql('SELECT gamestate.get_version(id(60))'), $moved + 1, 'with every move');
verify('and amcheck finds nothing');

done_testing();
