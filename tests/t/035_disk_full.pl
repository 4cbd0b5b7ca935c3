# A full disk and a broken one: an error for that transaction, everything as it
# was before it, the server up; and when space returns, play and archiving go on.
#
# A layer of its own because its server has a disk that fills up on demand
# (torture/diskfull.c).  A full disk under pg_wal is PostgreSQL's own PANIC and
# not tested.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
my $flag = $node->basedir . '/flag';
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 64MB
gamestate.journal_size = 16MB
autovacuum = off
});

sub start
{
	local %ENV = (%ENV, LD_PRELOAD => "$ENV{GS_TORTURE}/diskfull.so", GS_DISKFULL_FLAG => $flag);
	$node->start;
	return;
}

sub disk
{
	my ($line) = @_;
	unlink $flag;
	return if $line eq 'works';
	open my $fh, '>', "$flag.new" or die;
	print $fh "$line\n";
	close $fh;
	rename("$flag.new", $flag) or die;
	return;
}

start();
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
-- states have little in common here: their history would be the largest part of the journal
INSERT INTO gamestate.policy (game_type, history) VALUES ('', 'events');
CREATE EXTENSION amcheck;
CREATE TABLE t (a text);
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql AS
$$SELECT ('32000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
CREATE FUNCTION all_games() RETURNS text LANGUAGE sql AS $$
SELECT coalesce(string_agg(md5(g::text) || (SELECT md5(string_agg(c::text, '' ORDER BY version)) FROM gamestate.get_changes(game_id) c), ' ' ORDER BY game_id), 'none')
  FROM gamestate.list_live_games() g
$$;
-- a state of 20 kB that has nothing in common with the one before
CREATE FUNCTION large(seed text) RETURNS json LANGUAGE sql AS
$$SELECT to_json(string_agg(md5(seed || i), '')) FROM generate_series(1, 600) i$$;
SELECT gamestate.create_game('full', '"0"', '{ann}', 'room ' || n, game_id => id(n)) FROM generate_series(1, 20) n;
});

# Moves of game $game, or of two in one transaction, until one fails; returns the
# error, or 'none' after a number that no free space can take.
sub moves_until_error
{
	my (@games) = @_;
	foreach my $n (1 .. 100)
	{
		my ($rc, $out, $err) = $node->psql('postgres',
			'BEGIN; ' . join('', map { "SELECT gamestate.apply_move(id($_), NULL, '1', large('$_ $n' || random())); " } @games) . 'COMMIT',
			extra_params => [ '-v', 'VERBOSITY=verbose' ]);
		return $err if $rc != 0;
	}
	return 'none';
}

sub all_games { return $node->safe_psql('postgres', 'SELECT all_games()') }

foreach my $how ([ 'full', qr/ERROR:  53100/ ], [ 'broken', qr/ERROR:  58030/ ])
{
	my ($what, $error) = @$how;
	note "The disk is $what";

	$node->safe_psql('postgres', q{SELECT gamestate.apply_move(id(1), NULL, '1', large('before')); SELECT gamestate.apply_move(id(2), NULL, '1', '"x"')});
	disk("$what /base/");
	like(moves_until_error(1), $error, 'a move says what is wrong');
	my $before = all_games();
	my $version = $node->safe_psql('postgres', 'SELECT gamestate.get_version(id(1))');
	like(moves_until_error(2, 1), $error, 'a transaction of two games, too');
	is(all_games(), $before, 'both games are as before');
	my ($rc) = $node->psql('postgres', 'CHECKPOINT');
	$what eq 'full' ? is($rc, 0, 'a checkpoint works') : isnt($rc, 0, 'a checkpoint fails, as it does without us');
	is($node->safe_psql('postgres', 'SELECT gamestate.find_room($$room 1$$) = id(1), gamestate.get_version(id(1))'), "t|$version", 'reading works');

	disk('works');
	is($node->safe_psql('postgres', q{SELECT gamestate.apply_move(id(1), } . $version . q{, '1', large('after'))}), $version + 1, 'with space, play goes on');
	is($node->safe_psql('postgres', 'CHECKPOINT'), '', 'a checkpoint works');
	$before = all_games();
	$node->stop('immediate');
	start();
	is(all_games(), $before, 'and the games are the same after a crash');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM verify_heapam('gamestate.journal_0') a FULL JOIN verify_heapam('gamestate.journal_1') b ON false}),
		0, 'the journal tables are whole');
}

note 'The archiver has no space';
# so large that the archive has no page for it; to finish it takes next to nothing
$node->safe_psql('postgres', q{SELECT gamestate.apply_move(id(4), NULL, '1', large('last'))});
disk('full /base/');
my ($finished) = $node->psql('postgres', q{SELECT gamestate.finish_game(id(4))});
SKIP:
{
	skip 'not even finishing found space', 3 if $finished != 0;
	ok($node->poll_query_until('postgres', q{SELECT failures > 0 AND last_error ~ 'No space left' FROM gamestate.stat_workers WHERE kind = 'archiver'}),
		'the archiver complains');
	is($node->safe_psql('postgres', q{SELECT gamestate.get_state(id(4))::text = large('last')::text}), 't', 'the game that it cannot archive can be read');
	disk('works');
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM gamestate.archive WHERE game_id = id(4)}), 'with space, it is archived');
}
disk('works');

note 'Rotation has no space';
my ($active, $other) = split / /, $node->safe_psql('postgres', q{SELECT active_table || ' ' || CASE active_table WHEN 'gamestate.journal_0' THEN 'gamestate.journal_1' ELSE 'gamestate.journal_0' END FROM gamestate.stat_journal});
my $failures = $node->safe_psql('postgres', q{SELECT failures FROM gamestate.stat_workers WHERE kind = 'archiver'});
disk('full ' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('$other')"));
my $error = 'none';
for (1 .. 100)
{
	# ten games a transaction, until the table is as large as journal_size
	(my $rc, undef, $error) = $node->psql('postgres', q{SELECT count(gamestate.apply_move(id(n), NULL, '1', large(n || ' ' || random()))) FROM generate_series(7, 16) n});
	last if $rc != 0;
	last if $node->safe_psql('postgres', 'SELECT journal_bytes > journal_limit FROM gamestate.stat_journal') eq 't';
}
is($error, '', 'while the other table has no space, play goes on in the one that is full');
ok($node->poll_query_until('postgres', qq{SELECT failures > $failures AND last_error ~ 'No space left' FROM gamestate.stat_workers WHERE kind = 'archiver'}), 'and the archiver complains');
is($node->safe_psql('postgres', 'SELECT active_table, rotating FROM gamestate.stat_journal'), "$active|f", 'no rotation has begun');
# one that has begun cannot end while somebody writes to the old table
my $writer = $node->background_psql('postgres');
$writer->query_until(qr/locked/, "BEGIN; LOCK TABLE $active IN ROW EXCLUSIVE MODE;\n\\echo locked\n");
disk('works');
ok($node->poll_query_until('postgres', 'SELECT rotating FROM gamestate.stat_journal'), 'with space, it begins');
disk('full ' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('$other')"));
like(moves_until_error(7 .. 16), qr/ERROR:  53100/, 'when its table has no more space, that is an error for who comes next');
my $before = all_games();
$node->stop('immediate');
eval { $writer->quit };
start();
is(all_games(), $before, 'the games are there after a crash in the middle of it');
disk('works');
is($node->safe_psql('postgres', q{SELECT count(gamestate.apply_move(id(n), NULL, '1', '"on"')) FROM generate_series(7, 16) n}), 10, 'with space, play goes on');
ok($node->poll_query_until('postgres', q{SELECT least(pg_relation_size('gamestate.journal_0'), pg_relation_size('gamestate.journal_1')) = 0}), 'and the rotation ends');
$before = all_games();
$node->restart;
is(all_games(), $before, 'and nothing is lost');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal|damaged row|cannot be loaded/, 'nobody crashed and nothing was damaged');
done_testing();
