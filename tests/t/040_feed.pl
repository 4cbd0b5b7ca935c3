# The change feed: nobody is told what a crash can take back, nobody is held up
# by who waits, and whoever has missed something is told so: after a restart, a
# crash, a promotion, when overrun, in another database.
#
# A layer of its own because waiters sleep while others commit, standbys that do
# not exist hold commits up, and servers are stopped, killed and promoted.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FindBin;
use lib $FindBin::Bin;
use Patient;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
gamestate.feed_size = 128kB
gamestate.max_waiters = 5
max_worker_processes = 12
autovacuum = off
restart_after_crash = on
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql AS
$$SELECT ('40400000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
CREATE FUNCTION move(n int) RETURNS bigint LANGUAGE sql AS
$$SELECT gamestate.apply_move(id(n), NULL, to_json(n), NULL)$$;
SELECT gamestate.create_game('feed', game_id => id(n)) FROM generate_series(1, 20) n;
});

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A psql that goes on by itself.
sub session
{
	my ($setup, $where, $db) = @_;
	my $s = { in => '', out => '', n => 0 };
	$s->{h} = IPC::Run::start([ 'psql', '-XAtq', '-d', ($where // $node)->connstr($db // 'postgres') ], '<', \$s->{in}, '>', \$s->{out}, '2>&1',
		IPC::Run::timeout(180));
	say_to($s, "\\set VERBOSITY sqlstate\nSELECT set_config('application_name', 's', false)" . ($setup ? ";\n$setup" : ''));
	$s->{pid} = say_to($s, 'SELECT pg_backend_pid()');
	return $s;
}

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

# What wait_changes() says, a change in a word: game version kind; and the last position.
my $columns = q{coalesce(ltrim(right(game_id::text, 12), '0') || '.' || version || '.', '') || kind};

sub listen_to
{
	my ($s, $after, $more) = @_;
	$after //= 'NULL';
	$more //= '';
	send_to($s, "SELECT $columns, feed_position FROM gamestate.wait_changes($after$more)");
	return;
}

# How many sleep now?
sub sleepers
{
	my ($n, $where) = @_;
	return ($where // $node)->poll_query_until('postgres', "SELECT waiters = $n FROM gamestate.stat_feed");
}

# heard(SESSION): (its changes as words in one string, the position after them)
sub heard
{
	my ($s) = @_;
	my @lines = split /\n/, answer($s);
	my ($position) = @lines && $lines[-1] =~ /^position\|(\d+)$/;
	return (join(' ', map { /^(.*)\|/ ? $1 : $_ } grep { !/^position/ } @lines), $position);
}

sub now { return sql('SELECT gamestate.feed_position()'); }

# what has happened since, without waiting
sub since
{
	my ($position, $where, $db) = @_;
	return ($where // $node)->safe_psql($db // 'postgres',
		"SELECT coalesce(string_agg($columns, ' '), '') FROM gamestate.wait_changes($position, timeout => '0') WHERE kind <> 'position'");
}

my $waiter = session();
my $writer = session();
my ($said, $position);

# ---------------------------------------------------------------------------
note 'Who waits holds nothing';

sql('CREATE TABLE bloat AS SELECT n FROM generate_series(1, 1000) n');
listen_to($waiter);
sleepers(1);
is(sql("SELECT state, wait_event, backend_xmin, backend_xid FROM pg_stat_activity WHERE pid = $waiter->{pid}"), 'active|Extension||', 'neither a snapshot nor a transaction id');
is(sql("SELECT string_agg(locktype, ' ') FROM pg_locks WHERE pid = $waiter->{pid}"), 'virtualxid', 'and no lock');
sql('DELETE FROM bloat');
like(($node->psql('postgres', 'VACUUM (VERBOSE) bloat'))[2], qr/1000 removed, 0 remain, 0 are dead but not yet removable/, 'VACUUM removes what was deleted after it began to wait');
sql(q{CREATE INDEX CONCURRENTLY ON bloat (n)});
pass('CREATE INDEX CONCURRENTLY does not wait for it');
is(sql('SELECT move(1)'), '2', 'a move');
($said, $position) = heard($waiter);
is($said, '1.2.move', 'is told');
listen_to($waiter, $position);
sleepers(1);
sql(q{BEGIN; INSERT INTO bloat VALUES (1); SELECT move(1), move(2); COMMIT});
($said, $position) = heard($waiter);
is($said, '1.3.move 2.2.move', 'what a transaction with a table has done');
sql('SELECT move(1)');
listen_to($waiter, $position);
($said, $position) = heard($waiter);
is($said, '1.4.move', 'what has happened between two calls');
is(since($position), '', 'and no more');

# Who wants what is woken for that, and for nothing else.
{
		my $wakeups = sub { return sql('SELECT wakeups FROM gamestate.stat_feed'); };
	sql(q{SELECT count(gamestate.create_game('wake ' || n, game_id => id(n))) FROM generate_series(31, 42) n});
	my ($ids, $types) = (q{ARRAY[id(31), id(32)]}, q{'{wake 33,wake 34}'});
	my $many = q{(SELECT array_agg('wake ' || n) FROM generate_series(33, 41) n)};

	# who is the first to sleep is woken for what has come before
	listen_to($waiter, now());
	sleepers(1);
	sql('SELECT move(42)');
	heard($waiter);

	# the filter; games that are told, games that are not
	foreach my $case ([ "game_ids => $ids", [ 31, 32 ], [ 33, 34 ] ], [ "game_types => $types", [ 33, 34 ], [ 31, 35 ] ],
		[ "game_ids => $ids, game_types => $types", [ 31, 32, 33, 34 ], [ 35, 42 ] ], [ "game_ids => $ids, game_type => 'wake 32'", [32], [ 31, 33 ] ])
	{
		my ($filter, $told, $not) = @$case;
		$position = now();
		foreach my $n (@$told)
		{
			listen_to($waiter, $position, ", $filter");
			sleepers(1);
			my $before = $wakeups->();
			sql("SELECT move($_)") for @$not;
			is($wakeups->(), $before, "$filter: not woken for others");
			sql("SELECT move($n)");
			($said, $position) = heard($waiter);
			like($said, qr/^$n\.\d+\.move$/, "told of game $n");
		}
	}
	# more types than are looked at before somebody is woken
	$position = now();
	listen_to($waiter, $position, ", game_ids => $ids, game_types => $many");
	sleepers(1);
	sql("SELECT move($_)") for 42, 41;
	($said, $position) = heard($waiter);
	like($said, qr/^41\.\d+\.move$/, 'many types');
	sql('SELECT count(gamestate.delete_game(id(n))) FROM generate_series(31, 42) n');
}

# ---------------------------------------------------------------------------
note 'Ended in the middle';

listen_to($waiter);
sleepers(1);
sql("SELECT pg_cancel_backend($waiter->{pid})");
like(answer($waiter), qr/ERROR:  57014/, 'cancelled');
is(sql('SELECT waiters FROM gamestate.stat_feed'), '0', 'it is no waiter any more');
send_to($waiter, q{SET statement_timeout = '100 ms'; SELECT * FROM gamestate.wait_changes(NULL)});
like(answer($waiter), qr/ERROR:  57014/, 'statement_timeout');
say_to($waiter, 'RESET statement_timeout');
my $begin = time();
listen_to($waiter, 'NULL', q{, timeout => '300 ms'});
($said, $position) = heard($waiter);
is($said, '', 'its own timeout');
cmp_ok(time() - $begin, '>=', 0.3, 'not too early');
ok($position, 'with a position');

# A client that dies while its session waits without an end.
my $dies = session(q{SET client_connection_check_interval = '100 ms'});
if (say_to($dies, 'SHOW client_connection_check_interval') eq '100ms')
{
	listen_to($dies, 'NULL', ', timeout => NULL');
	sleepers(1);
	$dies->{h}->kill_kill;
	ok(sleepers(0), 'a client that is gone is noticed by client_connection_check_interval');
}

my @many = map { session() } 1 .. 5;
listen_to($_) foreach @many;
sleepers(5);
listen_to($waiter);
like(answer($waiter), qr/ERROR:  53400/, 'too many waiters');
listen_to($waiter, 'NULL', q{, timeout => '0'});
is((heard($waiter))[0], '', 'who does not wait can go on');
sql("SELECT pg_terminate_backend($many[0]{pid})");
sleepers(4);
pass('a terminated session is no waiter');
$many[0]{h}->kill_kill;
listen_to($waiter);
sleepers(5);
sql('SELECT move(3)');
is(join(' ', map { (heard($_))[0] } @many[1 .. 4], $waiter), join(' ', ('3.2.move') x 5), 'all are woken');
$many[$_]{h}->kill_kill foreach 1 .. 4;

# ---------------------------------------------------------------------------
note 'Only what is durable';

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
	my ($n) = @_;
	$node->poll_query_until('postgres', "SELECT count(*) = $n FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 's'") or die;
	return;
}

my $local = session('SET synchronous_commit = local');
my $off = session('SET synchronous_commit = off');
my $writer2 = session();
sql('SELECT move(n) FROM generate_series(1, 20) n');
my $start = now();
stall();
listen_to($waiter, $start);
send_to($writer, 'SELECT move(5)');
stalled(1);
sleep 0.2;
ok(!has_answer($waiter), 'a move that waits for a standby is not told');
is(say_to($local, 'SELECT move(6)'), '3', 'one of another game that asks for less');
($said, $position) = heard($waiter);
is($said, '6.3.move', 'is told at once');
is(say_to($off, 'SELECT move(7)'), '3', 'or for nothing');
is(since($position), '7.3.move', 'too');
is(say_to($off, "SET gamestate.light_commit = off; SELECT move(8); RESET gamestate.light_commit"), '3', 'or with a transaction id');
is(since($position), '7.3.move 8.3.move', 'too');
$position = now();

# the same game: in the order of its versions, whatever the second asks for
send_to($local, 'SELECT move(5)');
stalled(2);
is(since($position), '', 'the next move of the same game has to wait with the first');
send_to($off, 'SELECT move(5)');
stalled(3);
send_to($writer2, 'SELECT move(5), move(9)');
stalled(4);
my $off2 = session('SET synchronous_commit = off');
send_to($off2, 'SELECT move(9)');
stalled(5);
is(since($position), '', 'so has one that was changed together with it');
is(sql('SELECT pending FROM gamestate.stat_feed'), '5', 'so many transactions wait');
listen_to($waiter, $position);
sleepers(1);
go_on();
($said, $position) = heard($waiter);
my $all = $said;
while ($said ne '')
{
	listen_to($waiter, $position, q{, timeout => '500 ms'});
	($said, $position) = heard($waiter);
	$all .= " $said" if $said ne '';
}
is($all, '5.3.move 5.4.move 5.5.move 5.6.move 9.3.move 9.4.move', 'then they are told, in order');
answer($_) foreach $writer, $local, $writer2, $off, $off2;

# deleted and made again
stall();
$position = now();
send_to($writer, 'SELECT gamestate.delete_game(id(10))');
stalled(1);
send_to($local, q{SET gamestate.load_timeout = 0; SELECT gamestate.create_game('feed', game_id => id(10)); SELECT move(10)});
sleep 0.3;
is(since($position), '', 'a deletion waits, and what is made of the same id');
go_on();
answer($_) foreach $writer, $local;
is(since($position), '10.2.delete 10.1.create 10.2.move', 'until it is told');

# a wait that was given up: a waiter looks after it
stall();
$position = now();
send_to($writer, 'SELECT move(11)');
stalled(1);
sql("SELECT pg_cancel_backend($writer->{pid})");
like(answer($writer), qr/WARNING/, 'a commit that no longer waits for a standby');
listen_to($waiter, $position);
sleepers(1);
sleep 0.2;
ok(!has_answer($waiter), 'is not told');
go_on();
($said, $position) = heard($waiter);
is($said, '11.3.move', 'before it would have been answered');
is(sql('SELECT pending, lost, waiters FROM gamestate.stat_feed'), '0|0|0', 'nothing is left');

# ---------------------------------------------------------------------------
note 'Overrun';

sql(q{SELECT gamestate.create_game('many', game_id => id(n)) FROM generate_series(100, 199) n});
$position = now();
sql(q{DO $$BEGIN FOR i IN 1 .. 30 LOOP PERFORM move(n) FROM generate_series(100, 199) n; COMMIT; END LOOP; END$$});
my $kept = sql('SELECT kept_changes FROM gamestate.stat_feed');
cmp_ok($kept, '>', 500, 'changes are kept');
cmp_ok($kept, '<', 3000, 'but not all');
is(since($position), 'gap', 'who is too far behind is told of a gap');
is(since("$position + 3000 - $kept + 200, max_changes => 1"), since("$position + 3000 - $kept + 200, max_changes => 1"), 'who is not');
unlike(since("$position + 3000 - $kept + 200"), qr/gap/, 'is not');
$position = now();
is(sql('BEGIN; SELECT count(move(n)) FROM generate_series(100, 199) n, generate_series(1, 10) m; COMMIT'), '1000', 'a transaction that is too large for the feed');
is(since($position), 'gap', 'is a gap');
$position = now();
sql('SELECT move(1)');
like(since($position), qr/^1\.\d+\.move$/, 'and it goes on');

# while it waits for a standby
stall();
$position = now();
send_to($writer, 'SELECT move(12)');
stalled(1);
say_to($local, q{DO $$BEGIN FOR i IN 1 .. 30 LOOP PERFORM move(n) FROM generate_series(100, 199) n; COMMIT; END LOOP; END$$});
my $later = now();
like(sql('SELECT lost, pending FROM gamestate.stat_feed'), qr/^1\|0$/, 'a change that waits for longer than the feed is large');
is(since($later), '', 'is lost');
go_on();
answer($writer);
is(since($later), '', 'for good');
is(since($position), 'gap', 'and that is a gap');

# ---------------------------------------------------------------------------
note 'Databases';

$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION gamestate');
my $other = session('', $node, 'other');
my $theirs = $node->safe_psql('other', 'SELECT gamestate.feed_position()');
$position = now();
listen_to($other, $theirs);
sleepers(1);
sql('SELECT move(1)');
sleep 0.2;
ok(!has_answer($other), 'a change of another database wakes nobody');
is($node->safe_psql('other', "SELECT count(*) FROM gamestate.wait_changes($theirs, timeout => '0')"), '1', 'nor is it told');
is(since($position, $node, 'other'), 'gap', q{another database's position is none});
$node->safe_psql('other', q{SELECT gamestate.create_game('o', game_id => '40400000-0000-4000-8000-000000000001')});
is((heard($other))[0], '1.1.create', 'its own change is told');
like(since($position), qr/^1\.\d+\.move$/, 'and only there');
$theirs = $node->safe_psql('other', 'SELECT gamestate.feed_position()');
listen_to($other, $theirs);
sleepers(1);
$node->safe_psql('other', q{SELECT gamestate.allow_drop_extension(); DROP EXTENSION gamestate});
is((heard($other))[0], 'gap', 'DROP EXTENSION is a gap');
$other->{h}->kill_kill;

# ---------------------------------------------------------------------------
note 'Games whose ids look alike to who wakes waiters';

my $alike = sql('SELECT min(n) FROM generate_series(1000, 200000) n WHERE (uuid_hash(id(n)) & 4095) = (uuid_hash(id(1)) & 4095)');
my $wakeups = 'SELECT wakeups FROM gamestate.stat_feed';
sql("SELECT gamestate.create_game('feed', game_id => id($alike))");
listen_to($waiter, now(), ', game_ids => ARRAY[id(1)]');
sleepers(1);
my $before = sql($wakeups);
sql("SELECT move($alike)");
is(sql($wakeups), $before, 'who waits for a few games is not woken by another one');
sql('SELECT move(1)');
like((heard($waiter))[0], qr/^1\.\d+\.move$/, 'but by his own');
is(sql($wakeups), $before + 1, 'once');
listen_to($waiter, now(), ', game_ids => ARRAY(SELECT id(n) FROM generate_series(1, 9) n)');
sleepers(1);
sql("SELECT move($alike)");
ok(!has_answer($waiter), 'who waits for more is not answered by another one');
sql('SELECT move(1)');
like((heard($waiter))[0], qr/^1\.\d+\.move$/, 'but by his own');
sql("SELECT gamestate.delete_game(id($alike))");

# ---------------------------------------------------------------------------
note 'Restart and crash';

$position = now();
listen_to($waiter, $position);
sleepers(1);
$node->stop('fast');
$node->start;
$waiter->{h}->kill_kill;
is(since($position), 'gap', 'a position from before a restart');
$waiter = session();
$position = now();
listen_to($waiter, $position);
sleepers(1);
kill 'KILL', $waiter->{pid};
$waiter->{h}->kill_kill;
$node->poll_query_until('postgres', 'SELECT true') or die;
ok($node->poll_query_until('postgres', 'SELECT waiters = 0 FROM gamestate.stat_feed'), 'a waiter that was killed: the server begins anew');
is(since($position), 'gap', 'and so does the feed');
$_->{h}->kill_kill foreach $writer, $writer2, $local, $off, $off2;

# ---------------------------------------------------------------------------
note 'A hot standby';

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = 0\n");
$standby->start;

sub catch_up
{
	$node->wait_for_catchup('standby', 'replay', $node->lsn('insert'));
	return;
}

catch_up();
$position = $standby->safe_psql('postgres', 'SELECT gamestate.feed_position()');
$waiter = session('', $standby);
listen_to($waiter, $position);
sleepers(1, $standby);
sql('INSERT INTO bloat SELECT generate_series(1, 1000)');
sql('DELETE FROM bloat; VACUUM bloat');
catch_up();
ok(!has_answer($waiter), 'a waiter is not in the way of replay');
is(sql(q{BEGIN; SELECT move(1), move(2); INSERT INTO bloat VALUES (1); COMMIT}), sql('SELECT gamestate.get_version(id(1)) || $$|$$ || gamestate.get_version(id(2))'), 'a change on the primary');
($said, my $there) = heard($waiter);
like($said, qr/^1\.\d+\.move 2\.\d+\.move$/, 'is told on the standby');
my $here = now();
sql(q{SELECT gamestate.create_game('feed', '{}', '{ann}', game_id => id(30), max_players => 2)});
sql(q{SELECT gamestate.join_game(id(30), 'bob')});
sql(q{BEGIN; SELECT gamestate.apply_move(id(30), 2, '{"m": 1}', '{}', 'ann'); SAVEPOINT a; SELECT gamestate.set_metadata(id(30), '1'); ROLLBACK TO a; SELECT gamestate.set_metadata(id(30), '2'); COMMIT});
sql(q{BEGIN; SELECT gamestate.delete_game(id(30)); SELECT gamestate.create_game('again', game_id => id(30)); COMMIT});
sql(q{SELECT gamestate.delete_game(id(30))});
my $everything = q{SELECT string_agg(concat_ws(' ', game_id, version, kind, player, CASE WHEN kind <> 'delete' THEN at END, event, event_omitted, type), E'\n') FROM gamestate.wait_changes(POSITION, timeout => '0') WHERE kind <> 'position'};
catch_up();
is($standby->safe_psql('postgres', $everything =~ s/POSITION/$there/r), sql($everything =~ s/POSITION/$here/r), 'all is told there as on the primary');
is(since($here, $standby), 'gap', q{but the primary's positions are none there});
$position = $standby->safe_psql('postgres', 'SELECT gamestate.feed_position()');
listen_to($waiter, $position);
sleepers(1, $standby);
sql('VACUUM FULL gamestate.journal_0; VACUUM FULL gamestate.journal_1');
like((heard($waiter))[0], qr/^gap\b/, 'a standby that loads the games anew has a gap');
catch_up();
$position = $standby->safe_psql('postgres', 'SELECT gamestate.feed_position()');
listen_to($waiter, $position);
sleepers(1, $standby);
$node->stop;
$standby->promote;
($said, $position) = heard($waiter);
like($said, qr/^gap\b/, 'so has a promotion');
listen_to($waiter, $position);
sleepers(1, $standby);
my $version = $standby->safe_psql('postgres', 'SELECT move(1)');
is((heard($waiter))[0], "1.$version.move", 'and play goes on');
$waiter->{h}->finish;
$standby->stop;

done_testing();
