# Loading games from a damaged journal: what can be rebuilt is, what cannot is
# reported, counted and kept, and the server always starts.  And waiting for a
# load that takes long or fails.
#
# A layer of its own because files are changed behind a server that is down, and
# sessions wait for each other.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use constant PAGE => 8192;

my $conf = q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
max_worker_processes = 12
autovacuum = off
gamestate.allow_journal_changes = on	# to plant damage
};

# A node with 40 games of three versions, each move a transaction of its own
# and each row so large that a page has three.
sub node
{
	my ($name, @options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(extra => \@options);
	$node->append_conf('postgresql.conf', $conf);
	$node->start;
	$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
INSERT INTO gamestate.policy (game_type, history) VALUES ('', 'events'); -- states here have little in common
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql AS
$$SELECT ('22220000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
CREATE FUNCTION filler(n int, v int) RETURNS text LANGUAGE sql AS
$$SELECT string_agg(md5((n * 100 + v) * 100 + i || ''), '') FROM generate_series(1, 70) i$$;
-- versions that are live, as runs
CREATE FUNCTION versions() RETURNS text LANGUAGE sql AS
$$SELECT string_agg(n || ':' || coalesce(gamestate.get_version(id(n)), 0), ' ' ORDER BY n) FROM generate_series(1, 40) n$$;
DO $$BEGIN
-- so that the rows of a game do not fill just one page
PERFORM gamestate.create_game('load', to_json('50.1 ' || filler(50, 1)), game_id => id(50)); COMMIT;
FOR n IN 1 .. 40 LOOP
	PERFORM gamestate.create_game('load', to_json(n || '.1 ' || filler(n, 1)), game_id => id(n));
	COMMIT;
	FOR v IN 2 .. 3 LOOP
		PERFORM gamestate.apply_move(id(n), v - 1, to_json('needle ' || n || '.' || v || '!'), to_json(n || '.' || v || ' ' || filler(n, v)));
		COMMIT;
	END LOOP;
END LOOP; END$$;});
	return $node;
}

sub file_of
{
	my ($node, $table) = @_;
	return $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('gamestate.$table')");
}

sub spew
{
	my ($file, $bytes) = @_;
	open my $fh, '>:raw', $file or die;
	print $fh $bytes;
	close $fh;
	return;
}

# the rows of a file, by line pointer
sub rows
{
	my ($bytes) = @_;
	my @rows;
	for (my $page = 0; $page + PAGE <= length $bytes; $page += PAGE)
	{
		my $lower = unpack('v', substr($bytes, $page + 12, 2));
		for (my $at = 24; $at < $lower; $at += 4)
		{
			my $lp = unpack('V', substr($bytes, $page + $at, 4));
			next unless (($lp >> 15) & 3) == 1;
			my $row = { page => $page, lp => $page + $at, item => ($at - 24) / 4 + 1, at => $page + ($lp & 0x7fff), len => $lp >> 17 };
			my $hoff = unpack('C', substr($bytes, $row->{at} + 22, 1));
			@{$row}{qw(seq idx cnt)} = unpack('q< l< l<', substr($bytes, $row->{at} + $hoff, 16));
			$row->{bytes} = substr($bytes, $row->{at}, $row->{len});
			push @rows, $row;
		}
	}
	return @rows;
}

sub row_with
{
	my ($bytes, $text) = @_;
	my ($row) = grep { index($_->{bytes}, $text) >= 0 } rows($bytes);
	return $row // die "no row has $text";
}

# change n bytes at $at with a packed value, or bits of a two-byte number
sub put { my ($bytes, $at, $what) = @_; substr($$bytes, $at, length $what) = $what; return; }

sub infomask
{
	my ($bytes, $row, $clear, $set) = @_;
	my $mask = unpack('v', substr($$bytes, $row->{at} + 20, 2));
	put($bytes, $row->{at} + 20, pack('v', ($mask & ~$clear) | $set));
	return;
}

sub sql { my ($node, $query) = @_; return $node->safe_psql('postgres', $query); }

sub error
{
	my ($node, $query) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', $query, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $rc == 0 ? 'none' : $err;
}

sub loaded
{
	my ($node) = @_;
	return $node->poll_query_until('postgres', q{SELECT state = 'loaded' FROM gamestate.stat_journal});
}

# Whether the archiver has kept what it should, and nothing twice.
sub kept
{
	my ($node, $n, $name) = @_;
	$node->poll_query_until('postgres', "SELECT count(*) >= $n FROM gamestate.journal_damage")
	  or die 'the damage is not kept';
	is(sql($node, 'SELECT count(*) FROM gamestate.journal_damage'), $n, $name);
	return;
}

# What the loss of a page costs: for each game with rows there, the version before them;
# and how many of these games have later rows elsewhere, so that the hole is seen.
sub cost_of
{
	my ($bytes, $page) = @_;
	my (%here, %elsewhere);
	foreach my $row (rows($bytes))
	{
		my ($n, $v) = $row->{bytes} =~ /needle (\d+)\.(\d)!/ ? ($1, $2) : $row->{bytes} =~ /"(\d+)\.1 / ? ($1, 1) : next;
		next if $n > 40;
		my $lowest = $row->{page} == $page ? \$here{$n} : undef;
		$$lowest = $v if $lowest && $v < ($$lowest // 99);
		$elsewhere{$n} = $v if !$lowest && $v > ($elsewhere{$n} // 0);
	}
	my %cost = map { $_ => $here{$_} - 1 } keys %here;
	return (scalar(grep { ($elsewhere{$_} // 0) > $here{$_} } keys %here), %cost);
}

# all games at version 3 but those given
sub expected
{
	my (%other) = @_;
	return join(' ', map { "$_:" . ($other{$_} // 3) } 1 .. 40);
}

# ---------------------------------------------------------------------------
note 'Damage within pages';

my $node = node('plain');
my $before = sql($node, 'SELECT state, blocks_done > 0, blocks_done = blocks_total, games_loaded, problems, last_error IS NULL, active_table, rotating, rotations
	FROM gamestate.stat_journal');
is($before, 'loaded|f|t|0|0|t|gamestate.journal_0|f|0', 'nothing was damaged before');
# A group of four rows, one of which is taken away: with a transaction id that
# cannot be a crash, without one it can.
sql($node, q{BEGIN; SELECT pg_current_xact_id(); SELECT gamestate.apply_move(id(39), 3, '1', to_json('torn 39 ' || repeat('39', 15000))); COMMIT});
sql($node, q{SELECT gamestate.apply_move(id(40), 3, '1', to_json('torn 40 ' || repeat('40', 15000)))});
my $file = file_of($node, 'journal_0');
$node->stop;
my $good = slurp_file($file);
my ($torn) = grep { $_->{cnt} > 1 && index($_->{bytes}, 'torn 40') >= 0 } rows($good);
my @torn = grep { $_->{seq} == $torn->{seq} } rows($good);
is(scalar @torn, 4, 'a group of four rows');
# as if they had been written without a transaction id, the last one never
foreach my $row (@torn)
{
	put(\$good, $row->{at}, pack('V', 2));
	infomask(\$good, $row, 0, 0x0300);
}
put(\$good, $torn[3]{lp}, pack('V', 0));
spew($file, $good);
my $offset = -s $node->logfile;
$node->start;
loaded($node);
is(sql($node, 'SELECT versions()'), expected(39 => 4), 'a group that a crash has cut off was never there');
is(sql($node, 'SELECT problems FROM gamestate.stat_journal'), '0', 'and is no problem');
unlike(slurp_file($node->logfile, $offset), qr/WARNING/, 'nor is anything said');
like(slurp_file($node->logfile, $offset), qr/loaded 41 games from the journal in \d+ ms, 0 problems, 1 transactions that were not finished/, 'but counted in the log');
$node->stop;

my $bytes = $good;
my %row = map { $_ => row_with($good, "needle $_.2!") } 1 .. 9;
put(\$bytes, $row{1}{at} + 100, chr(ord(substr($good, $row{1}{at} + 100, 1)) ^ 1));
put(\$bytes, $row{2}{lp}, pack('V', (9000 << 17) | (1 << 15) | ($row{2}{at} - $row{2}{page})));
put(\$bytes, $row{3}{lp}, pack('V', ($row{3}{len} << 17) | (1 << 15) | 5));
foreach my $n (4, 5)
{
	# of the future, before the table
	infomask(\$bytes, $row{$n}, 0x0300, 0);
	put(\$bytes, $row{$n}{at}, pack('V', $n == 4 ? 0x40000000 : 3));
}
infomask(\$bytes, $row{6}, 0x0800, 0);
put(\$bytes, $row{6}{at} + 4, pack('V', 0x40000000));
infomask(\$bytes, $row{7}, 0x0880, 0x1000);
put(\$bytes, $row{7}{at} + 4, pack('V', 0x40000000));
infomask(\$bytes, $row{8}, 0, 0x4000);
infomask(\$bytes, $row{9}, 0x0300, 0x0200);
# and a page that was never written to, in the place of one that was
my $zeroed = row_with($good, 'needle 25.3!')->{page};
my ($zeroed_holes, %zeroed) = cost_of($good, $zeroed);
put(\$bytes, $zeroed, "\0" x PAGE);
spew($file, $bytes);
$offset = -s $node->logfile;
$node->start;
loaded($node);
my $log = slurp_file($node->logfile, $offset);
my @what = (undef, 'its checksum is wrong', ('its line pointer is wrong') x 2, ('the transaction that wrote it is impossible') x 2,
	'the transaction that deleted it is impossible', 'the transactions that locked it are impossible', 'its header is wrong',
	'its header says that its transaction was rolled back, which is not so');
foreach my $n (1 .. 9)
{
	my $place = sprintf('(%d,%d)', $row{$n}{page} / PAGE, $row{$n}{item});
	like($log, qr/WARNING:  damaged row \Q$place\E of journal table "journal_0" is skipped\n.*DETAIL:  $what[$n]/, "reported: $what[$n]");
	like($log, qr/WARNING:  game \S+-0*$n is loaded as of version 1 only/, 'and the game that lacks it');
}
my %left = ((map { $_ => 1 } 1 .. 9), %zeroed);
is($zeroed{25}, 2, 'the zeroed page had a last version');
cmp_ok($zeroed_holes, '>', 0, 'and what others are missed for');
is(sql($node, 'SELECT versions()'), expected(39 => 4, 40 => 3, %left), 'the others are as they were');
is(sql($node, 'SELECT problems FROM gamestate.stat_journal'), 9 + 9 + $zeroed_holes + 1, 'all is counted, with the torn group, which is one now');
like($log, qr/WARNING:  transaction $torn->{seq} of the journal is skipped\n.*DETAIL:  Of its 4 rows 3 are there/, 'that is reported, too');
my $followers = sql($node, q{SELECT count(*) FROM gamestate.journal_damage WHERE what = 'what it goes on from is missing'});
$node->poll_query_until('postgres', q{SELECT count(*) >= 3 FROM gamestate.journal_damage WHERE what = 'another row of its transaction is missing'})
  or die 'the damage is not kept';
$followers = sql($node, q{SELECT count(*) FROM gamestate.journal_damage WHERE what = 'what it goes on from is missing'});
cmp_ok($followers, '>=', 9, 'kept: what came after a hole');
kept($node, 9 + 3 + $followers, 'the damaged rows, and the rows of the group');
foreach my $n (1, 4 .. 9)
{
	is(sql($node, sprintf('SELECT what, encode(bytes, $$hex$$) FROM gamestate.journal_damage WHERE journal = $$journal_0$$ AND block = %d AND item = %d',
				$row{$n}{page} / PAGE, $row{$n}{item})),
		"$what[$n]|" . unpack('H*', substr($bytes, $row{$n}{at}, $row{$n}{len})), "row $n to the letter");
}
$node->restart;
loaded($node);
is(sql($node, 'SELECT versions()'), expected(39 => 4, 40 => 3, %left), 'the same after another restart');
sleep(0.5);
kept($node, 9 + 3 + $followers, 'and nothing is kept twice');
# play goes on, and a rotation takes the damage away
is(error($node, q{SELECT gamestate.apply_move(id(1), 1, '1', '"goes on"')}), 'none', 'play goes on');
$node->append_conf('postgresql.conf', 'gamestate.journal_size = 16MB');
$node->reload;
sql($node, q{DO $$BEGIN FOR i IN 1 .. 500 LOOP
	PERFORM gamestate.apply_move(id(20), NULL, '1', to_json(repeat(md5(i::text), 2000))); COMMIT; END LOOP; END$$});
ok($node->poll_query_until('postgres', 'SELECT rotations >= 1 AND NOT rotating AND last_rotation_ms >= 0 FROM gamestate.stat_journal'), 'a rotation, counted');
is(sql($node, 'SELECT active_table FROM gamestate.stat_journal'), 'gamestate.journal_1', 'to the other table');
$offset = -s $node->logfile;
$node->stop('immediate');
$node->start;
loaded($node);
is(sql($node, q{SELECT games_loaded, problems FROM gamestate.stat_journal}), (1 + grep { $_ > 0 } values %{ { (map { $_ => 3 } 1 .. 40), %left } }) . '|0', 'has no damage');
is(sql($node, q{SELECT state FROM gamestate.get_game(id(1))}), '"goes on"', 'and the games');

# The file ends within a page.
$file = file_of($node, 'journal_1');
sql($node, q{SELECT gamestate.apply_move(id(2), 1, '"last"', to_json('needle in the last page ' || filler(2, 9)))});
$node->stop;
$bytes = slurp_file($file);
my $last = row_with($bytes, 'needle in the last page')->{page};
my $last_block = $last / PAGE;
substr($bytes, $last + 8000) = '';
spew($file, $bytes);
$offset = -s $node->logfile;
$node->start;
loaded($node);
like(slurp_file($node->logfile, $offset), qr/WARNING:  page $last_block of journal table "journal_1" is damaged\n.*DETAIL:  the file ends within it/,
	'a file that was cut off is reported');
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM gamestate.journal_damage WHERE journal = 'journal_1'})
  or die 'the damage is not kept';
is(sql($node, q{SELECT block, item IS NULL, octet_length(bytes), what FROM gamestate.journal_damage WHERE journal = 'journal_1'}),
	"$last_block|t|8000|the file ends within it", 'and the rest of it kept');
$node->stop('immediate');

# ---------------------------------------------------------------------------
note 'Pages with a bad checksum or header';

my $sums = node('sums', '--data-checksums');
$file = file_of($sums, 'journal_0');
$sums->stop;
$good = $bytes = slurp_file($file);
my $flipped = row_with($good, 'needle 10.3!');
my $broken = row_with($good, 'needle 30.3!');
my ($flipped_block, $broken_block) = map { $_->{page} / PAGE } $flipped, $broken;
isnt($flipped->{page}, $broken->{page}, 'two pages');
put(\$bytes, $flipped->{at} + 100, chr(ord(substr($good, $flipped->{at} + 100, 1)) ^ 1));
put(\$bytes, $broken->{page} + 12, "\xff" x 6);
spew($file, $bytes);
$offset = -s $sums->logfile;
$sums->start;
loaded($sums);
$log = slurp_file($sums->logfile, $offset);
my $others = (grep { $_->{page} == $flipped->{page} } rows($good)) - 1;
like($log, qr/WARNING:  page $flipped_block of journal table "journal_0" is damaged\n.*DETAIL:  its checksum or its header is wrong; $others of its rows could be used, 1 could not/,
	'a page with a bad checksum is reported');
like($log, qr/WARNING:  page $broken_block of journal table "journal_0" is damaged\n.*DETAIL:  its checksum or its header is wrong; 0 of its rows/,
	'a page with a bad header, too');
my (undef, %broken) = cost_of($good, $broken->{page});
my %cost = (10 => 2, %broken);
is(sql($sums, 'SELECT versions()'), expected(%cost), 'rows of the first are used, rows of the second are lost');
$sums->poll_query_until('postgres', 'SELECT count(*) >= 2 FROM gamestate.journal_damage WHERE item IS NULL')
  or die 'the damage is not kept';
foreach my $page ($flipped->{page}, $broken->{page})
{
	is(sql($sums, sprintf('SELECT md5(bytes) FROM gamestate.journal_damage WHERE block = %d AND item IS NULL', $page / PAGE)),
		sql($sums, "SELECT md5(decode('" . unpack('H*', substr($bytes, $page, PAGE)) . "', 'hex'))"), 'the page is kept to the letter');
}
my $n = sql($sums, 'SELECT count(*) FROM gamestate.journal_damage');
$sums->restart;
loaded($sums);
sleep(0.5);
is(sql($sums, 'SELECT count(*) FROM gamestate.journal_damage'), $n, 'once');
is(sql($sums, 'SELECT versions()'), expected(%cost), 'the same games');
is(sql($sums, q{SELECT has_table_privilege('pg_monitor', 'gamestate.journal_damage', 'SELECT'), has_table_privilege('gamestate_owner', 'gamestate.journal_damage', 'INSERT')}),
	'f|t', 'states of games are not for those who watch');

# Whoever loads: a user in a transaction that is read-only and rolled back.
sql($sums, 'TRUNCATE gamestate.journal_damage');
$sums->append_conf('postgresql.conf', 'gamestate.archiver = off');
$sums->restart;
is(sql($sums, 'SELECT state FROM gamestate.stat_journal'), 'not loaded', 'the view does not load');
like(sql($sums, 'BEGIN READ ONLY; SELECT versions(); ROLLBACK'), qr/^\Q${\ expected(%cost)}\E$/m, 'loaded in a read-only transaction');
is(sql($sums, 'SELECT state || count(d) FROM gamestate.stat_journal LEFT JOIN gamestate.journal_damage d ON true GROUP BY state'), 'loaded0', 'which keeps nothing');
$sums->append_conf('postgresql.conf', 'gamestate.archiver = on');
$sums->reload;
kept($sums, $n, 'the archiver does, when it comes');

# ---------------------------------------------------------------------------
note 'Waiting';

$sums->append_conf('postgresql.conf', 'gamestate.archiver = off');
$sums->restart;
my $locker = $sums->background_psql('postgres');
$locker->query_until(qr/locked/, "BEGIN; LOCK TABLE gamestate.journal_0 IN ACCESS EXCLUSIVE MODE;\n\\echo locked\n");
like(error($sums, q{SET gamestate.load_timeout = '300ms'; SELECT gamestate.get_version(id(1))}),
	qr/ERROR:  GS013: games of this database are still being loaded.*DETAIL:  \d+ of \d+ blocks.*HINT: .*stat_journal/s, 'whoever loads waits so long');
like(error($sums, q{SET lock_timeout = '100ms'; SELECT gamestate.get_version(id(1))}), qr/ERROR:  55P03/, 'lock_timeout, if shorter, holds');
my $waiter = $sums->background_psql('postgres', on_error_stop => 0);
$waiter->query_until(qr/begun/, "SET gamestate.load_timeout = 0;\n\\echo begun\nSELECT gamestate.get_version(id(1));\n");
ok($sums->poll_query_until('postgres', q{SELECT state = 'loading' AND pid IS NOT NULL AND load_ms >= 0 AND active_table IS NULL FROM gamestate.stat_journal}),
	'the view shows it, and does not wait');
my $start = time();
like(error($sums, q{SET gamestate.load_timeout = '300ms'; SELECT gamestate.apply_move(id(1), 3, '1', '2')}), qr/ERROR:  GS013/, 'who waits for another one waits so long');
cmp_ok(time() - $start, '<', 30, 'and not longer');
is(sql($sums, q{SELECT pg_cancel_backend(pid) FROM gamestate.stat_journal}), 't', 'cancelled');
ok($sums->poll_query_until('postgres', q{SELECT state = 'not loaded' FROM gamestate.stat_journal}), 'the one who loads can be cancelled');
$waiter->query_until(qr/again/, "\\echo again\nSELECT gamestate.get_version(id(1));\n");
ok($sums->poll_query_until('postgres', q{SELECT state = 'loading' FROM gamestate.stat_journal}), 'loading again');
is(sql($sums, q{SELECT pg_terminate_backend(pid, 10000) FROM gamestate.stat_journal}), 't', 'ended');
eval { $waiter->quit };
is(sql($sums, q{SELECT state FROM gamestate.stat_journal}), 'not loaded', 'the view says so');
$sums->append_conf('postgresql.conf', 'gamestate.archiver = on');
$sums->reload;
ok($sums->poll_query_until('postgres', q{SELECT j.state = 'loading' AND w.pid = j.pid FROM gamestate.stat_journal j, gamestate.stat_workers w WHERE kind = 'archiver'}),
	'the archiver loads');
is(sql($sums, q{SELECT query FROM pg_stat_activity a, gamestate.stat_journal j WHERE a.pid = j.pid}), 'loading games', 'as pg_stat_activity shows');
$locker->query_until(qr/released/, "COMMIT;\n\\echo released\n");
eval { $locker->quit };
is(sql($sums, 'SELECT versions()'), expected(%cost), 'and now the games are there');
is(sql($sums, q{SELECT state, pid IS NULL, blocks_done = blocks_total AND blocks_done > 0, games_loaded > 30 FROM gamestate.stat_journal}), 'loaded|t|t|t', 'says the view');

# ---------------------------------------------------------------------------
note 'A load that fails';

sql($sums, q{SELECT count(gamestate.create_game('big', to_json(repeat('x', 900000)), game_id => id(1000 + i))) FROM generate_series(1, 20) i});
$sums->append_conf('postgresql.conf', 'gamestate.memory = 12MB');
$sums->restart;
like(error($sums, 'SELECT gamestate.get_version(id(1))'), qr/ERROR:  GS006.*HINT: .*gamestate\.memory/s, 'it says why');
my $again;
for (1 .. 10)
{
	$again = sql($sums, q{CREATE TEMP TABLE t AS SELECT load_started_at FROM gamestate.stat_journal;
		DO $$BEGIN PERFORM gamestate.get_version(id(1)); EXCEPTION WHEN SQLSTATE 'GS006' THEN NULL; END$$;
		SELECT j.load_started_at = t.load_started_at, last_error, state FROM gamestate.stat_journal j, t});
	last if $again =~ /^t/;
	sleep(0.2);
}
is($again, 't|out of memory for games|not loaded', 'the next call has the same error without reading the journal again');
ok($sums->poll_query_until('postgres', 'SELECT used_bytes = 0 FROM gamestate.stat_memory'), 'nothing is left in memory');
sql($sums, 'CREATE TABLE t0 AS SELECT load_started_at FROM gamestate.stat_journal');
ok($sums->poll_query_until('postgres', q{SELECT load_started_at > (SELECT load_started_at FROM t0) FROM gamestate.stat_journal}), 'but it is tried again');
$sums->append_conf('postgresql.conf', 'gamestate.memory = 64MB');
$sums->restart;
is(sql($sums, q{SELECT versions()}), expected(%cost), 'with enough memory they are there');
is(sql($sums, q{SELECT last_error IS NULL FROM gamestate.stat_journal}), 't', 'and the failure is forgotten');

# Images of games that are no more are left out again, whether their states were put
# into shared memory or, when half of it was taken, into local memory.
sql($sums, q{
SELECT count(gamestate.delete_game(id(1000 + i))) FROM generate_series(1, 20) i;
SELECT count(gamestate.create_game('big', to_json(repeat(chr(96 + i), 900000)), game_id => id(1000 + i))) FROM generate_series(3, 16) i;
SELECT count(gamestate.apply_move(id(1000 + i), 1, '1', to_json(repeat(chr(65 + i), 100)))) FROM generate_series(9, 12) i});
my $states = q{SELECT md5(string_agg(md5(gamestate.get_state(id(1000 + i))::text), '' ORDER BY i)), count(gamestate.get_state(id(1000 + i))) FROM generate_series(1, 20) i};
my $all_states = sql($sums, $states);
my $used = sql($sums, 'SELECT used_bytes FROM gamestate.stat_memory');
foreach my $memory ('19MB', '48MB')
{
	$sums->append_conf('postgresql.conf', "gamestate.memory = $memory");
	$sums->restart;
	is(sql($sums, $states), $all_states, "states after a load into $memory");
	cmp_ok(abs(sql($sums, 'SELECT used_bytes FROM gamestate.stat_memory') - $used), '<', $used / 20, 'nothing else is in memory');
}
sql($sums, 'SELECT count(gamestate.delete_game(g.game_id)) FROM gamestate.list_live_games(with_state => false) g');
is(sql($sums, 'SELECT used_bytes FROM gamestate.stat_memory'), 0, 'and what there is goes with the games');

# Games have nearly filled the memory, each with a log that lies in one piece after a load;
# and the journal has the images of thousands that are no more.
$sums->append_conf('postgresql.conf', "gamestate.memory = 32MB\ngamestate.journal_size = 256MB");
$sums->restart;
sql($sums, q{
DO $$BEGIN
	FOR i IN 1 .. 9000 LOOP
		PERFORM gamestate.create_game('gone', json_build_object('s', repeat('x', 100 + (i * 7919) % 3000)), game_id => id(2000));
		COMMIT;
		PERFORM gamestate.delete_game(id(2000));
		COMMIT;
	END LOOP;
	FOR i IN 1 .. 12 LOOP PERFORM gamestate.create_game('long', game_id => id(i)); END LOOP;
END$$});
like(error($sums, q{
DO $$BEGIN
	FOR i IN 0 .. 1000000 LOOP
		PERFORM gamestate.apply_move(id(i % 12 + 1), NULL, to_json(repeat('y', 2000)), '{}');
		COMMIT;
	END LOOP;
END$$}), qr/GS006/, 'the memory is used up');
my $versions = sql($sums, 'SELECT sum(gamestate.get_version(id(i))), count(*) FROM generate_series(1, 12) i');
$sums->stop('immediate');
$sums->start;
is(sql($sums, 'SELECT sum(gamestate.get_version(id(i))), count(*) FROM generate_series(1, 12) i'), $versions, 'what had room has room after a crash');
like(slurp_file($sums->logfile), qr/loading games once more, with more room/, 'though not at once');
$sums->stop;

unlike(slurp_file($node->logfile) . slurp_file($sums->logfile), qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
done_testing();
