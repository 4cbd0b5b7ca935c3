# The journal at fixed points: what damages it and what is then left, what a
# DBA may do to its tables, what is refused, and what a server does that has
# lost the library, its memory or its primary.
#
# A layer of its own because servers are stopped, killed, copied and promoted,
# and files are changed behind their backs.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
gamestate.journal_size = 16MB
gamestate.allow_journal_changes = on
max_worker_processes = 12
autovacuum = off
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
CREATE EXTENSION amcheck;
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql AS
$$SELECT ('21210000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
-- everything about all games, so that two of them can be compared
CREATE FUNCTION all_games() RETURNS text LANGUAGE sql AS $$
SELECT coalesce(string_agg(md5(g::text) || (SELECT md5(string_agg(c::text, '' ORDER BY version)) FROM gamestate.get_changes(game_id) c), ' ' ORDER BY game_id), 'none')
  FROM gamestate.list_live_games() g
$$;});

# game n with v versions; its state is its number and its version
sub play
{
	my ($n, $v) = @_;
	$node->safe_psql('postgres', qq{SELECT gamestate.create_game('j', '"$n.1"', '{ann}', 'room $n', game_id => id($n))});
	move($n, $_) foreach 2 .. $v;
	return;
}

sub move
{
	my ($n, $v) = @_;
	$node->safe_psql('postgres', "SELECT gamestate.apply_move(id($n), " . ($v - 1) . qq{, '"move $v"', '"$n.$v"')});
	return;
}

sub state_of
{
	my ($n) = @_;
	return $node->safe_psql('postgres', "SELECT version || ' ' || state FROM gamestate.get_game(id($n))");
}

sub crash
{
	$node->stop('immediate');
	$node->start;
	return;
}

sub error
{
	my ($sql, $on) = @_;
	my ($rc, $out, $err) = ($on // $node)->psql('postgres', $sql, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $rc == 0 ? 'none' : $err;
}

sub active
{
	return $node->safe_psql('postgres', q{SELECT CASE WHEN coalesce((SELECT max(seq) FROM gamestate.journal_0), 0) >=
		coalesce((SELECT max(seq) FROM gamestate.journal_1), 0) THEN 'journal_0' ELSE 'journal_1' END});
}

sub wait_for_log
{
	my ($offset, $what) = @_;
	for (1 .. 300)
	{
		return 1 if slurp_file($node->logfile, $offset) =~ $what;
		sleep(0.1);
	}
	return 0;
}

# ---------------------------------------------------------------------------
note 'What a DBA may do';

play($_, 5) foreach 1 .. 3;
my $before = $node->safe_psql('postgres', 'SELECT all_games()');
foreach my $sql ('VACUUM', 'VACUUM FULL', 'VACUUM (FREEZE)', 'VACUUM (DISABLE_PAGE_SKIPPING)', 'VACUUM (TRUNCATE)', 'ANALYZE')
{
	foreach my $table ('journal_0', 'journal_1')
	{
		is(error("$sql gamestate.$table"), 'none', "$sql gamestate.$table");
		is($node->safe_psql('postgres', "SELECT count(*) FROM verify_heapam('gamestate.$table')"), '0', 'nothing to complain about');
	}
	move(1, 6) if $sql eq 'VACUUM FULL';
	$before = $node->safe_psql('postgres', 'SELECT all_games()');
	crash();
	is($node->safe_psql('postgres', 'SELECT all_games()'), $before, "the games are there after $sql and a crash");
}
$node->command_ok([ 'pg_amcheck', '-h', $node->host, '-p', $node->port, '-d', 'postgres', '-t', 'gamestate.journal_?' ], 'pg_amcheck');
like(error('CLUSTER gamestate.journal_0'), qr/42704.*no previously clustered index/s, 'CLUSTER has no index to go by');
is($node->safe_psql('postgres', q{SELECT sum(n_dead_tup) FROM pg_stat_user_tables WHERE relname LIKE 'journal_%'}), '0', 'no dead rows');

# ---------------------------------------------------------------------------
note 'What is refused';

my %change = (
	'an index' => [ 'CREATE INDEX extra ON gamestate.%s (seq)', 'DROP INDEX gamestate.extra', qr/has an index/ ],
	'a trigger' => [
		'CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
		 CREATE TRIGGER extra BEFORE INSERT ON gamestate.%s FOR EACH ROW EXECUTE FUNCTION t()',
		'DROP FUNCTION t CASCADE', qr/has triggers/
	],
	'a rule' => [ 'CREATE RULE extra AS ON INSERT TO gamestate.%s DO INSTEAD NOTHING', 'DROP RULE extra ON gamestate.%s', qr/rules/ ],
	'a column' => [ 'ALTER TABLE gamestate.%s ADD COLUMN extra int', 'ALTER TABLE gamestate.%s DROP COLUMN extra', qr/columns have been changed/ ],
	'SET UNLOGGED' => [ 'ALTER TABLE gamestate.%s SET UNLOGGED', 'ALTER TABLE gamestate.%s SET LOGGED', qr/is not logged/ ],
);
my $v = 6;
foreach my $what (sort keys %change)
{
	my ($do, $undo, $says) = @{ $change{$what} };
	my $table = active();
	$node->safe_psql('postgres', sprintf($do, $table));
	my $err = error("SELECT gamestate.apply_move(id(1), $v, '0', '0')");
	like($err, qr/ERROR:  55000: journal table "$table" is not usable.*DETAIL:  .*$says.*HINT:  /s, "$what: the next move is refused");
	is(error(q{SELECT gamestate.get_state(id(1))}), 'none', 'games can still be read');
	$node->safe_psql('postgres', sprintf($undo, $table));
	is(error(qq{SELECT gamestate.apply_move(id(1), $v, '"move"', '"1"')}), 'none', "without $what it works again");
	$v = (split(/ /, state_of(1)))[0];
}
$before = $node->safe_psql('postgres', 'SELECT all_games()');
crash();
is($node->safe_psql('postgres', 'SELECT all_games()'), $before, 'nothing was lost by all that');

# ---------------------------------------------------------------------------
note 'Transactions and XIDs';

$node->safe_psql('postgres', 'CREATE TABLE purse (n int)');
$node->safe_psql('postgres', qq{BEGIN; INSERT INTO purse VALUES (1); SELECT gamestate.apply_move(id(2), 5, '1', '"2.6"'); COMMIT;
	BEGIN; INSERT INTO purse VALUES (2); SELECT gamestate.apply_move(id(2), 6, '1', '"2.7"'); ROLLBACK;});
like(error(q{BEGIN; INSERT INTO purse VALUES (3); SELECT gamestate.apply_move(id(2), 6, '1', '"2.7"'); SELECT 1/0; COMMIT}), qr/22012/, 'an error');
$node->psql('postgres', q{ALTER TABLE purse ADD CONSTRAINT u UNIQUE (n) DEFERRABLE INITIALLY DEFERRED});
like(error(q{BEGIN; INSERT INTO purse VALUES (1); SELECT gamestate.apply_move(id(2), 6, '1', '"2.7"'); COMMIT}), qr/23505/, 'an error at the commit');
crash();
is($node->safe_psql('postgres', 'SELECT string_agg(n::text, $$,$$) FROM purse') . ' ' . state_of(2), '1 6 "2.6"', 'row and move, or neither');
# (025_light.pl is about the light way)
$node->append_conf('postgresql.conf', 'gamestate.light_commit = off');
$node->reload;
my $xid = $node->safe_psql('postgres', 'SELECT pg_snapshot_xmax(pg_current_snapshot())');
move(3, $_) foreach 6 .. 15;
is($node->safe_psql('postgres', "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int - $xid"), '10', 'one XID a move');
$node->append_conf('postgresql.conf', 'gamestate.light_commit = on');
$node->reload;
# COMMIT in a procedure: the callbacks run with its portal's resource owner
$node->safe_psql('postgres', q{DO $$BEGIN FOR i IN 16 .. 25 LOOP
	PERFORM gamestate.apply_move(id(3), i - 1, '1', to_json('3.' || i)); COMMIT; END LOOP; END$$});
crash();
is(state_of(3), '25 "3.25"', 'moves committed in a DO block');
like(error(q{BEGIN; SELECT gamestate.apply_move(id(3), 25, '1', '2'); PREPARE TRANSACTION 'x'}), qr/0A000/, 'PREPARE TRANSACTION is refused');

# ---------------------------------------------------------------------------
note 'Durability memory';

my $rows = $node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM gamestate.journal_0) + (SELECT count(*) FROM gamestate.journal_1)');
$xid = $node->safe_psql('postgres', 'SELECT pg_snapshot_xmax(pg_current_snapshot())');
$node->safe_psql('postgres', q{SET gamestate.durability = memory;
	SELECT gamestate.create_game('m', '1', room_code => 'M', game_id => id(50));});
$node->safe_psql('postgres', q{SELECT gamestate.apply_move(id(50), 1, '1', '2'); SELECT gamestate.create_game('m', game_id => id(51)); SELECT gamestate.delete_game(id(51))});
is($node->safe_psql('postgres', "SELECT (SELECT count(*) FROM gamestate.journal_0) + (SELECT count(*) FROM gamestate.journal_1) - $rows"),
	'2', 'only what a later game of durability journal wrote');
is($node->safe_psql('postgres', "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int - $xid"), '0', 'and no XIDs');
# it takes the place of a journaled one in one transaction: that one must not come back
play(52, 3);
$node->safe_psql('postgres', q{BEGIN; SET LOCAL gamestate.durability = memory; SELECT gamestate.delete_game(id(52));
	SELECT gamestate.create_game('m', '"memory"', game_id => id(52)); COMMIT});
is(state_of(50) . state_of(52), '2 21 "memory"', 'they are there');
crash();
is($node->safe_psql('postgres', q{SELECT gamestate.get_version(id(50)) IS NULL, gamestate.get_version(id(52)) IS NULL, gamestate.find_room('M') IS NULL}),
	't|t|t', 'they are gone after a crash');
$node->safe_psql('postgres', q{SET gamestate.durability = memory; SELECT gamestate.create_game('m', '1', game_id => id(53));
	SELECT gamestate.finish_game(id(53))});
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM gamestate.archive WHERE game_id = id(53)}) or die 'timed out waiting for the archiver';
crash();
is($node->safe_psql('postgres', q{SELECT tier FROM gamestate.get_game(id(53))}), 'archived', 'but in the archive when finished');

# ---------------------------------------------------------------------------
note 'Two tables with rows';

# The old table cannot be emptied while somebody reads it, and the new one
# grows beyond it.  Whichever is taken for the active one after a crash, what
# stands only in the other one must not be thrown away with it.
$node->safe_psql('postgres', q{
	INSERT INTO gamestate.policy (game_type, history) VALUES ('', 'events'); -- from here on states have little in common
	SELECT gamestate.create_game('two', to_json(repeat('x', 1000)), game_id => id(i)) FROM generate_series(100, 120) i;
	SELECT gamestate.create_game('two', '"deleted in between"', game_id => id(121))});
my $old = active();
my $new = $old eq 'journal_0' ? 'journal_1' : 'journal_0';
my $reader = $node->background_psql('postgres');
$reader->query_until(qr/locked/, "BEGIN; LOCK TABLE gamestate.$old IN ACCESS SHARE MODE;\n\\echo locked\n");
# the games change while the images are written and after it
my $grow = q{DO $$BEGIN FOR i IN 1 .. %d LOOP
	PERFORM gamestate.apply_move(id(100 + i %% 20), NULL, to_json(i), to_json(md5(i::text) || repeat(md5(i::text), 140) || i)); COMMIT; END LOOP; END$$};
$node->safe_psql('postgres', sprintf($grow, 4200));
is($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM gamestate.$new"), 1, 'the new table is written to');
$node->safe_psql('postgres', 'SELECT gamestate.delete_game(id(121))');
$node->safe_psql('postgres', q{SELECT gamestate.finish_game(id(120), '"archived in between"')});
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM gamestate.archive WHERE game_id = id(120)}) or die 'timed out waiting for the archiver';
$node->safe_psql('postgres', sprintf($grow, 8000));
is($node->safe_psql('postgres', "SELECT pg_relation_size('gamestate.$new') > pg_relation_size('gamestate.$old')"), 't', 'and larger than the old one');
$before = $node->safe_psql('postgres', 'SELECT all_games()');
$node->stop('immediate');
eval { $reader->quit };
$node->start;
is($node->safe_psql('postgres', 'SELECT all_games()'), $before, 'the games are there');
is($node->poll_query_until('postgres', 'SELECT (SELECT count(*) FROM gamestate.journal_0) = 0 OR (SELECT count(*) FROM gamestate.journal_1) = 0'), 1,
	'the rotation is finished');
is($node->safe_psql('postgres', 'SELECT all_games()'), $before, 'the games are there');
crash();
is($node->safe_psql('postgres', 'SELECT all_games()'), $before, 'and after the next crash');
is($node->safe_psql('postgres', q{SELECT gamestate.get_version(id(121)) IS NULL, (SELECT tier FROM gamestate.get_game(id(120)))}), 't|archived',
	'a deleted game and an archived one have not come back');
$node->safe_psql('postgres', q{SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games('two')});

# ---------------------------------------------------------------------------
note 'Damaged rows';

play(10, 8);
play(11, 4);
my $table = active();
my $offset = -s $node->logfile;
# version 5 of game 10
$node->safe_psql('postgres', qq{UPDATE gamestate.$table SET data = set_byte(data, 40, get_byte(data, 40) # 1)
	WHERE position('move 5'::bytea IN data) > 0 AND position(decode('212100000000400080000000000000' || '10', 'hex') IN data) > 0});
crash();
ok(wait_for_log($offset, qr/WARNING:  damaged row \(\d+,\d+\) of journal table "$table" is skipped.*DETAIL:  its checksum is wrong/s), 'a flipped bit is reported');
ok(wait_for_log($offset, qr/WARNING:  game 21210000-0000-4000-8000-000000000010 is loaded as of version 4 only/), 'and so is the game that is not whole');
is(state_of(10), '4 "10.4"', 'it ends before the damage');
is(state_of(11) . state_of(3), '4 "11.4"25 "3.25"', 'the others are as they were');
# Play goes on from there, and what was behind the damage must not come in between.
move(10, 5);
crash();
is(state_of(10), '5 "10.5"', 'a move made after the damage is there after another crash, and nothing of before comes after it');
move(10, 6);
crash();
is(state_of(10), '6 "10.6"', 'and so is the next one');
is($node->safe_psql('postgres', q{SELECT string_agg(event::text, ' ' ORDER BY version) FROM gamestate.get_changes(id(10))}),
	'"move 2" "move 3" "move 4" "move 5" "move 6"', 'with its log');

# The first row of a game
play(12, 3);
$offset = -s $node->logfile;
$table = active();
$node->safe_psql('postgres', qq{UPDATE gamestate.$table SET data = set_byte(data, 40, get_byte(data, 40) # 1)
	WHERE position('room 12'::bytea IN data) > 0});
crash();
ok(wait_for_log($offset, qr/WARNING:  game 21210000-0000-4000-8000-000000000012 cannot be loaded/), 'a game without beginning is reported');
is($node->safe_psql('postgres', 'SELECT gamestate.get_version(id(12)) IS NULL, gamestate.find_room($$room 12$$) IS NULL'), 't|t', 'and not there');
play(12, 2);
crash();
is(state_of(12), '2 "12.2"', 'its id can be used again');

# In the file, under a server without checksums
play(13, 3);
$node->safe_psql('postgres', q{SELECT gamestate.apply_move(id(13), 3, '"needle in the file"', '"13.4"')});
$table = active();
my $file = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('gamestate.$table')");
$node->stop;
my $bytes = slurp_file($file);
my $at = index($bytes, 'needle in the file');
cmp_ok($at, '>', 0, 'found in the file');
# the line pointer that leads to this row, and from there its header
my $page = $at - $at % 8192;
my ($pointer) = grep { $_->{from} <= $at && $at < $_->{from} + $_->{len} }
  map { my $p = unpack('V', substr($bytes, $page + $_, 4)); { at => $page + $_, from => $page + ($p & 0x7fff), len => $p >> 17 } }
  map { 24 + 4 * $_ } 0 .. (unpack('v', substr($bytes, $page + 12, 2)) - 24) / 4 - 1;
my $row = $pointer->{from};
my $hoff = unpack('C', substr($bytes, $row + 22, 1));
foreach my $damage (
	[ 'a byte of the data', $at, 'N', qr/its checksum is wrong/ ],
	[ 'the length of the header', $row + 22, pack('C', 255), qr/its header is wrong/ ],
	[ 'the length of the header, within the row', $row + 22, pack('C', 48), qr/damaged row/ ],
	[ 'the number of columns', $row + 18, pack('v', 1), qr/its header is wrong/ ],
	[ 'the length of the data', $row + $hoff + 16, pack('V', 0x7ffffff0), qr/the length of its data is wrong/ ],
	[ 'the length of the data, to nothing', $row + $hoff + 16, pack('V', 0), qr/the length of its data is wrong/ ],
	[ 'the kind of the data', $row + $hoff + 16, pack('V', 1), qr/compressed or stored elsewhere/ ],
	[ 'the length of the row', $pointer->{at}, pack('V', (25 << 17) | (1 << 15) | ($row - $page)), qr/it is too short/ ])
{
	my ($name, $where, $what, $says) = @$damage;
	my $damaged = $bytes;
	substr($damaged, $where, length $what) = $what;
	open my $fh, '>:raw', $file or die;
	print $fh $damaged;
	close $fh;
	$offset = -s $node->logfile;
	$node->start;
	ok(wait_for_log($offset, qr/WARNING:  damaged row .* of journal table "$table" is skipped.*$says/s), "changed in the file and reported: $name");
	is(state_of(13) . ' ' . state_of(11), '3 "13.3" 4 "11.4"', 'the move before it is there, and the other games');
	$node->stop('immediate');
}
open my $fh, '>:raw', $file or die;
print $fh $bytes;
close $fh;
$node->start;
is(state_of(13), '4 "13.4"', 'repaired');

# One row of several
$node->safe_psql('postgres', q{BEGIN; SELECT pg_current_xact_id(); SELECT gamestate.apply_move(id(13), 4, '1', to_json(repeat('5', 30000))); COMMIT});
$offset = -s $node->logfile;
$node->safe_psql('postgres', "DELETE FROM gamestate.$table WHERE idx = 1 AND seq = (SELECT max(seq) FROM gamestate.$table)");
crash();
ok(wait_for_log($offset, qr/WARNING:  transaction \d+ of the journal is skipped.*DETAIL:  Of its 4 rows 3 are there/s), 'a row that is missing is reported');
is(state_of(13), '4 "13.4"', 'and nothing of its transaction is there');

# ---------------------------------------------------------------------------
note 'A server without the library';

$before = $node->safe_psql('postgres', 'SELECT all_games()');
move(11, 5);
$before = $node->safe_psql('postgres', 'SELECT all_games()');
$node->stop('immediate');
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
is($node->safe_psql('postgres', 'CREATE TABLE without AS SELECT 1'), '', 'a server without the library recovers');
like(error('SELECT gamestate.get_state(id(11))'), qr/55000.*shared_preload_libraries/s, 'and says what is missing');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'gamestate'");
$node->restart;
is($node->safe_psql('postgres', 'SELECT all_games()'), $before, 'with it, the games are there');

# ---------------------------------------------------------------------------
note 'Standby and base backup';

$node->append_conf('postgresql.conf', "wal_consistency_checking = all");
$node->reload;
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->append_conf('postgresql.conf', "synchronous_standby_names = '*'");
$node->reload;
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'}) or die 'timed out waiting for the standby';
move(11, $_) foreach 6 .. 20;
$before = $node->safe_psql('postgres', 'SELECT all_games()');
my $backup = PostgreSQL::Test::Cluster->new('backup');
$backup->init_from_backup($node, 'backup');
$node->stop('immediate');
$standby->promote;
is($standby->safe_psql('postgres', 'SELECT all_games()'), $before, 'after the promotion of a synchronous standby the games are there');
is($standby->safe_psql('postgres', q{SET synchronous_commit = local; SELECT gamestate.apply_move(id(11), 20, '"after"', '"11.21"')}), '21', 'and play goes on');
is($standby->safe_psql('postgres', q{SELECT gamestate.find_room('room 11') = id(11)}), 't', 'room codes, too');
$standby->stop('immediate');
$backup->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$backup->start;
is($backup->safe_psql('postgres', q{SELECT version, state FROM gamestate.get_game(id(11))}), '5|"11.5"', 'a base backup has the games of its time');
$backup->stop;
$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$node->start;

# ---------------------------------------------------------------------------
note 'Too little memory';

# What was acknowledged fits again into the same memory, however full it was.
$node->safe_psql('postgres', 'SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games()');
like(error(q{DO $$BEGIN FOR i IN 1000 .. 100000 LOOP
	PERFORM gamestate.create_game('full', to_json(repeat('x', i % 3000)), ARRAY['p' || i], 'full ' || i, game_id => id(i));
	FOR v IN 1 .. i % 5 LOOP
		PERFORM gamestate.apply_move(id(i), v, to_json(repeat('m', i % 50)), to_json(repeat('y', i % 2900)));
	END LOOP; COMMIT; END LOOP; END$$}), qr/GS006/, 'memory is full');
my $games = $node->safe_psql('postgres', 'SELECT games FROM gamestate.stat_memory');
$before = $node->safe_psql('postgres', 'SELECT all_games()');
crash();
is($node->safe_psql('postgres', 'SELECT all_games()'), $before, "the same $games games are there after a crash");

$node->stop('immediate');
$node->append_conf('postgresql.conf', "gamestate.memory = 12MB");
$node->start;
like(error('SELECT gamestate.get_state(id(1000))'), qr/ERROR:  GS006.*HINT: .*gamestate\.memory/s, 'with too little memory a call says so');
like(error(q{SELECT gamestate.create_game('more')}), qr/ERROR:  GS006/s, 'whatever it is');
is(error('SELECT count(*) FROM gamestate.archive'), 'none', 'the rest of the server works');
$node->append_conf('postgresql.conf', "gamestate.memory = 64MB");
$node->restart;
is($node->safe_psql('postgres', 'SELECT all_games()'), $before, 'with more of it, all games are there');

# ---------------------------------------------------------------------------
note 'Somebody locks a journal table';

$table = active();
my $locker = $node->background_psql('postgres');
$locker->query_until(qr/locked/, "BEGIN; LOCK TABLE gamestate.$table IN ROW EXCLUSIVE MODE;\n\\echo locked\n");
$node->safe_psql('postgres', q{SELECT gamestate.create_game('lock', game_id => id(60))});
$node->safe_psql('postgres', q{DO $$BEGIN FOR i IN 1 .. 9000 LOOP
	PERFORM gamestate.apply_move(id(60), NULL, '1', to_json(repeat(md5(i::text), 240) || i)); COMMIT; END LOOP; PERFORM gamestate.finish_game(id(60)); END$$});
is($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM gamestate.archive WHERE game_id = id(60)}), 1,
	'archiving goes on while rotation has to wait');
$locker->query_until(qr/released/, "COMMIT;\n\\echo released\n");
eval { $locker->quit };

# ---------------------------------------------------------------------------
note 'What takes the rows away';

# Nobody but a superuser can; what he does is honoured at the next load.
is($node->safe_psql('postgres', q{SELECT count(*) FROM information_schema.table_privileges WHERE table_schema = 'gamestate'
	AND table_name LIKE 'journal\__' AND grantee <> 'postgres'}), '0', 'nobody has a right on these tables');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?!9)|inconsistent page/, 'nothing crashed');
done_testing();
