# pg_dump and pg_restore: the archive, policies and, through save_live_games()
# and load_saved_games(), the live games.  Every format and the options people
# use, into new databases, a database with games, another server; during
# transfers; damaged and hand-made rows; what is refused.
#
# A layer of its own because it runs pg_dump and pg_restore, needs a second
# server, and kills one.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my %node;
foreach my $name ('main', 'other')
{
	$node{$name} = PostgreSQL::Test::Cluster->new($name);
	$node{$name}->init;
	$node{$name}->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 128MB
max_worker_processes = 30
max_connections = 100
max_locks_per_transaction = 64
autovacuum = off
fsync = off
});
	$node{$name}->start;
}
my $main = $node{main};
my $other = $node{other};
my $dir = PostgreSQL::Test::Utils::tempdir();

sub at
{
	my ($node) = @_;
	return ('-h', $node->host, '-p', $node->port);
}

# "none" or the error, with its SQLSTATE
sub error
{
	my ($db, $sql, $node) = @_;
	my ($rc, $out, $err) = ($node // $main)->psql($db, $sql, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $rc == 0 ? 'none' : $err;
}

sub run_ok
{
	my ($what, @command) = @_;
	my ($out, $err) = run_command(\@command);
	ok($? == 0, $what) or diag("$out\n$err");
	return;
}

sub psql_file
{
	my ($node, $db, $file) = @_;
	return ('psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', at($node), '-d', $db, '-f', $file);
}

sub sql { return $main->safe_psql(@_); }

# Everything about all live games, and about all archived ones, so that two
# databases can be compared to the letter.
my $functions = q{
CREATE FUNCTION id(n bigint) RETURNS uuid LANGUAGE sql AS
$$SELECT ('23230000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
CREATE FUNCTION all_live() RETURNS text LANGUAGE sql AS $$
SELECT coalesce(string_agg(g::text || ' ' ||
		CASE encoding WHEN 'bytes' THEN gamestate.get_state_bytes(game_id)::text ELSE gamestate.get_state(game_id)::text END || ' ' ||
		(SELECT string_agg(c::text, ' ' ORDER BY version) FROM gamestate.get_changes(game_id) c), E'\n' ORDER BY game_id), 'none')
  FROM gamestate.list_live_games() g
$$;
CREATE FUNCTION all_archived() RETURNS text LANGUAGE sql AS $$
SELECT string_agg(g::text || ' ' || (SELECT string_agg(c::text, ' ' ORDER BY version) FROM gamestate.get_changes(game_id) c), E'\n' ORDER BY game_id)
  FROM gamestate.archived_games g
$$;
CREATE FUNCTION all_policies() RETURNS text LANGUAGE sql AS $$
SELECT string_agg(p::text, E'\n' ORDER BY game_type) FROM gamestate.policy p
$$;};

# ---------------------------------------------------------------------------
note 'Games of all kinds';

sql('postgres', 'CREATE EXTENSION gamestate;' . $functions . q{
INSERT INTO gamestate.policy VALUES ('memory', 'memory'), ('Odd "type" ü', 'journal');
CREATE TABLE plain (x int PRIMARY KEY, y text);
INSERT INTO plain SELECT i, 'row ' || i FROM generate_series(1, 1000) i;

-- to be archived
SELECT gamestate.create_game(t, '{"s": 0}', '{ann,"b ü"}', metadata => '{"m": "\u0000"}', game_id => id(i))
  FROM unnest('{chess,"Odd \"type\" ü",memory}'::text[]) WITH ORDINALITY u(t, i);
SELECT gamestate.apply_move(id(i), v, to_json(v), to_json(repeat('x', v * 1000)), 'ann') FROM generate_series(1, 3) i, generate_series(1, 5) v;
SELECT gamestate.create_game_bytes('bytes', '\x00ff', game_id => id(4));
SELECT gamestate.apply_move_bytes(id(4), 1, '\x00', '\x01ff00');
SELECT gamestate.finish_game(id(i), '{"w": 1}') FROM generate_series(1, 3) i;
SELECT gamestate.finish_game(id(4), status => 'abandoned');
});
ok($main->poll_query_until('postgres', 'SELECT count(*) = 4 FROM gamestate.archive'), 'games are archived');
foreach my $node ($main, $other)
{
	$node->append_conf('postgresql.conf', 'gamestate.archiver = off');
	$node->reload;
}
$main->poll_query_until('postgres', q{SELECT count(*) = 0 FROM gamestate.stat_workers WHERE kind = 'archiver' AND pid IS NOT NULL}) or die;
sql('postgres', q{
SELECT gamestate.create_game('chess', '{"s" : 0}', '{ann,bob}', 'ROOM ü', '{"m":[1 ,2]}', id(10), 'waiting', 4, '00000000-0000-4000-8000-00000000000a');
SELECT gamestate.join_game(id(10), 'cid', request_id => '00000000-0000-4000-8000-00000000000b');
SELECT gamestate.set_room_code(id(10), 'ROOM 2');
SELECT gamestate.start_game(id(10));
SELECT gamestate.leave_game(id(10), 'bob');
SELECT gamestate.set_metadata(id(10), '"\u0000"');
SELECT gamestate.apply_move(id(10), v, '{"e": "ü"}', ('{"s":' || v || '}')::json, 'ann', request_id => gen_random_uuid()) FROM generate_series(6, 20) v;
-- large, changed back to what it was at first, never changed, empty bytes
SELECT gamestate.create_game('large', to_json(repeat('y', 200000)), game_id => id(11));
SELECT gamestate.apply_move(id(11), v, to_json(repeat('e', 30000)), to_json(repeat(v::text, 100000))) FROM generate_series(1, 9) v;
SELECT gamestate.create_game('chess', '1', game_id => id(12)), gamestate.apply_move(id(12), 1, '1', '2'), gamestate.apply_move(id(12), 2, '1', '1');
SELECT gamestate.create_game('chess', '1', game_id => id(13), status => 'waiting', room_code => 'WAITING');
SELECT gamestate.create_game_bytes('bytes', '', game_id => id(14));
SELECT gamestate.create_game_bytes('bytes', '\x00ff', game_id => id(15)), gamestate.apply_move_bytes(id(15), 1, '\x00', '\x');
-- over, and waits for the archive: one of a type that the archive knows, one of another
SELECT gamestate.create_game('chess', '1', game_id => id(16), room_code => 'OVER'), gamestate.finish_game(id(16), '{"r": 1}');
SELECT gamestate.create_game('new type', '1', game_id => id(17), players => '{zoe}'), gamestate.finish_game(id(17), status => 'abandoned');
SELECT gamestate.create_game('memory', '1', game_id => id(18)), gamestate.apply_move(id(18), 1, '1', '2');
});
my $live = sql('postgres', 'SELECT all_live()');
my $archived = sql('postgres', 'SELECT all_archived()');
my $policies = sql('postgres', 'SELECT all_policies()');
my $durability = q{SELECT string_agg(game_type || ' ' || durability, ',' ORDER BY game_id) FROM gamestate.saved_games};
is(sql('postgres', 'SELECT count(*) FROM gamestate.list_live_games()'), '9', 'live games');
is(sql('postgres', 'SELECT gamestate.save_live_games()'), '9', 'saved');
is(sql('postgres', $durability), 'chess journal,large journal,chess journal,chess journal,bytes journal,bytes journal,chess journal,new type journal,memory memory', 'durability');
is(sql('postgres', 'SELECT count(*), count(DISTINCT saved_at), min(version) FROM gamestate.saved_games'), '9|1|1', 'rows');
is(sql('postgres', 'SELECT all_live()'), $live, 'saving changes nothing');
is(sql('postgres', 'SELECT gamestate.save_live_games()'), '9', 'saved again');

my $look_ups = q{SELECT gamestate.find_room('ROOM 2'), gamestate.find_room('OVER') IS NULL, ARRAY(SELECT gamestate.player_games('cid'))};

sub check_restored
{
	my ($node, $db, $what) = @_;
	is($node->safe_psql($db, 'SELECT all_archived(); SELECT all_policies(); SELECT count(*), sum(x) FROM plain'),
		"$archived\n$policies\n1000|500500", "$what: archive, policies, ordinary tables");
	is($node->safe_psql($db, 'SELECT gamestate.load_saved_games()'), '9', "$what: loaded");
	is($node->safe_psql($db, "SELECT all_live(); $look_ups"), "$live\n23230000-0000-4000-8000-000000000010|t|{23230000-0000-4000-8000-000000000010}",
		"$what: the games, and look-ups");
	is($node->safe_psql($db, q{SELECT count(*) FROM gamestate.saved_games; SELECT gamestate.load_saved_games(); SELECT gamestate.apply_move(id(10), 21, '1', '1')}),
		"0\n0\n22", "$what: nothing to load a second time, and play goes on");
	return;
}

# ---------------------------------------------------------------------------
note 'Formats';

my @dump = ('pg_dump', at($main), '-d', 'postgres');
run_ok('pg_dump, plain', @dump, '-f', "$dir/plain.sql");
run_ok('pg_dump, plain, --inserts', @dump, '--rows-per-insert=100', '-f', "$dir/inserts.sql");
run_ok('pg_dump, custom', @dump, '-Fc', '-f', "$dir/custom");
run_ok('pg_dump, tar', @dump, '-Ft', '-f', "$dir/tar");
run_ok('pg_dump, directory, -j 3', @dump, '-Fd', '-j', '3', '-f', "$dir/directory");
run_ok('pg_dump --load-via-partition-root', @dump, '-Fc', '--load-via-partition-root', '-f', "$dir/root");

sub new_database
{
	my ($node, $db) = @_;
	run_ok("createdb $db", 'createdb', at($node), '-T', 'template0', $db);
	return;
}

my %restore = (
	plain => sub { return psql_file($_[0], $_[1], "$dir/plain.sql") },
	inserts => sub { return psql_file($_[0], $_[1], "$dir/inserts.sql") },
	custom => sub { return ('pg_restore', '-e', at($_[0]), '-d', $_[1], "$dir/custom") },
	custom_j => sub { return ('pg_restore', '-e', '-j', '3', at($_[0]), '-d', $_[1], "$dir/custom") },
	tar => sub { return ('pg_restore', '-e', at($_[0]), '-d', $_[1], "$dir/tar") },
	directory => sub { return ('pg_restore', '-e', '-j', '3', at($_[0]), '-d', $_[1], "$dir/directory") },
	root => sub { return ('pg_restore', '-e', at($_[0]), '-d', $_[1], "$dir/root") },
);
foreach my $how (sort keys %restore)
{
	new_database($other, $how);
	run_ok("restore, $how", $restore{$how}->($other, $how));
	check_restored($other, $how, $how);
}

# the schema first, then the data, as --data-only needs it
foreach my $how ('data_only', 'sections', 'disable_triggers')
{
	my @r = ('pg_restore', '-e', at($other), '-d', $how);
	new_database($other, $how);
	if ($how eq 'sections')
	{
		run_ok("pg_restore --section=$_", @r, "--section=$_", "$dir/custom") foreach 'pre-data', 'data', 'post-data';
	}
	else
	{
		run_ok("$how: pg_restore --schema-only", @r, '-s', "$dir/custom");
		is($other->safe_psql($how, 'SELECT (SELECT count(*) FROM gamestate.saved_games) + (SELECT count(*) FROM gamestate.policy)'), '0', 'no rows yet');
		# a session that has looked at the policies before
		my $session = $other->background_psql($how);
		$session->query_safe(q{SELECT gamestate.create_game('memory', '1', game_id => id(900))});
		run_ok("$how: pg_restore --data-only", @r, '-a', $how eq 'disable_triggers' ? '--disable-triggers' : '-j2', "$dir/directory");
		$session->query_safe(q{SELECT gamestate.create_game('memory', '1', game_id => id(901))});
		$session->quit;
		is($other->safe_psql($how, q{CREATE TEMP TABLE s AS TABLE gamestate.saved_games; TRUNCATE gamestate.saved_games;
			SELECT gamestate.save_live_games(); }), '2', 'two games');
		is($other->safe_psql($how, $durability), 'memory journal,memory memory', 'a restored policy holds in a session that has been there before');
		$other->safe_psql($how, q{SELECT gamestate.delete_game(game_id) FROM gamestate.list_live_games(); TRUNCATE gamestate.saved_games});
		run_ok("$how: the saved games once more", @r, '-a', '-n', 'gamestate', '-t', 'saved_games', "$dir/custom");
	}
	check_restored($other, $how, $how);
}

# --create, into another server and in the name of the dumped database
run_ok('pg_dump --create', 'pg_dump', at($other), '-Fc', '-C', '-f', "$dir/create", '-d', 'custom');
is($other->safe_psql('custom', 'SELECT gamestate.save_live_games()'), '9', 'saved in the copy');
run_ok('pg_dump --create --clean --if-exists', 'pg_dump', at($other), '-C', '-c', '--if-exists', '-f', "$dir/create.sql", '-d', 'custom');
run_ok('psql, --create', psql_file($main, 'postgres', "$dir/create.sql"));
is(sql('custom', 'SELECT gamestate.load_saved_games()'), '9', '--create: loaded');
is(sql('custom', 'SELECT all_live()'), $other->safe_psql('custom', 'SELECT all_live()'), '--create: the games');
is(sql('postgres', 'SELECT all_live()'), $live, 'the games of another database of the server stay as they are');
sql('custom', 'SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games()');
run_ok('psql, --create --clean of a database that exists', psql_file($main, 'postgres', "$dir/create.sql"));
is(sql('custom', 'SELECT gamestate.load_saved_games()'), '9', '--create --clean: loaded');
run_ok('pg_restore --create', 'pg_restore', '-e', '-C', '-c', '--if-exists', at($main), '-d', 'postgres', "$dir/create");
is(sql('custom', 'SELECT count(*) FROM gamestate.saved_games'), '0', 'nothing had been saved there');
is(sql('custom', 'SELECT all_archived()'), $archived, 'the archive');

# ---------------------------------------------------------------------------
note '--clean';

like(error('directory', 'DROP EXTENSION gamestate', $other), qr/2BP01.*9 live games/s, 'a database with live games');
my ($out, $err) = run_command([ 'pg_restore', '-e', '-1', '-c', '--if-exists', at($other), '-d', 'directory', "$dir/custom" ]);
like($err, qr/cannot drop extension gamestate.*9 live games.*allow_drop_extension/s, '--clean is refused there');
is($other->safe_psql('directory', 'SELECT all_archived()'), $archived, 'with --single-transaction nothing is lost');
$other->safe_psql('directory', 'SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games()');
run_ok('pg_restore --clean without live games', 'pg_restore', '-e', '-1', '-c', '--if-exists', at($other), '-d', 'directory', "$dir/custom");
check_restored($other, 'directory', '--clean');

# ---------------------------------------------------------------------------
note 'What pg_dump locks';

sql('postgres', 'CREATE TABLE locked_last ()');
my $locker = $main->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE locked_last');
my $dump = IPC::Run::start([ @dump, '-f', "$dir/locks.sql" ], '2>', \my $dump_err);
ok($main->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_locks WHERE relation = 'locked_last'::regclass AND NOT granted}), 'pg_dump waits');
is(sql('postgres', q{SELECT string_agg(DISTINCT relation::regclass::text || ' ' || mode, ',') FROM pg_locks
	WHERE relation IN ('gamestate.journal_0'::regclass, 'gamestate.journal_1'::regclass, 'plain'::regclass) AND pid <> pg_backend_pid()}),
	'plain AccessShareLock', 'pg_dump locks tables, but not the journal, which must go on rotating');
is(sql('postgres', 'SELECT gamestate.save_live_games()'), '9', 'games can be saved meanwhile');
$locker->quit;
$dump->finish;

# ---------------------------------------------------------------------------
note 'Saved during transfers, restored into a running server';

my $pairs = 50;
sql('postgres', qq{
SELECT count(gamestate.create_game('account', '100', game_id => id(1000 + i))) FROM generate_series(1, 2 * $pairs) i;
CREATE TABLE stop ();
CREATE PROCEDURE transfers() LANGUAGE plpgsql AS \$\$
DECLARE
	a gamestate.game;
	b gamestate.game;
	n int;
BEGIN
	WHILE to_regclass('stop') IS NOT NULL LOOP
		n := 1 + floor(random() * 9);
		BEGIN
			a := gamestate.get_game(id(1001 + floor(random() * $pairs)::int));
			b := gamestate.get_game(id(1001 + $pairs + floor(random() * $pairs)::int));
			PERFORM gamestate.apply_move(a.game_id, a.version, to_json(-n), to_json(a.state::text::int - n));
			PERFORM gamestate.apply_move(b.game_id, b.version, to_json(n), to_json(b.state::text::int + n));
		EXCEPTION WHEN SQLSTATE 'GS001' THEN
			NULL;
		END;
		COMMIT;
	END LOOP;
END \$\$;
});
my @players = map { IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $main->connstr('postgres'), '-c', 'CALL transfers()' ], '>', '/dev/null', '2>&1') } 1 .. 4;
my $sums = q{SELECT count(*), sum(state::text::int), bool_and(state::text::int = 100 + coalesce((SELECT sum(event::text::int) FROM gamestate.get_changes(game_id, 1)), 0)) FROM gamestate.list_live_games('account')};
my $moved = 0;
foreach my $round (1 .. 3)
{
	sleep(0.3);
	is(sql('postgres', 'SELECT gamestate.save_live_games()'), '109', "round $round: saved");
	run_ok("round $round: pg_dump", @dump, '-Fd', '-j', '2', '-f', "$dir/round$round");
	new_database($main, "round$round");
	run_ok("round $round: pg_restore", 'pg_restore', '-e', '-j', '2', at($main), '-d', "round$round", "$dir/round$round");
	is(sql("round$round", 'SELECT gamestate.load_saved_games()'), '109', "round $round: loaded");
	is(sql("round$round", $sums), '100|10000|t', "round $round: the sum is what it was, and each state what its log says");
	my $versions = sql("round$round", q{SELECT sum(version) FROM gamestate.list_live_games('account')});
	cmp_ok($versions, '>', $moved, "round $round: there have been transfers");
	$moved = $versions;
}
sql('postgres', 'DROP TABLE stop');
foreach my $player (@players)
{
	ok($player->finish, 'transfers went on all the time');
}
is(sql('postgres', $sums), '100|10000|t', 'and their sum is what it was');
is(sql('postgres', q{SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games('account')}), '100', 'deleted');
sql('postgres', "DROP DATABASE round$_") foreach 1 .. 3;

# ---------------------------------------------------------------------------
note 'After a crash, and when the archiver runs';

new_database($other, 'crash');
run_ok('restore', $restore{custom}->($other, 'crash'));
is(error('crash', 'BEGIN; SELECT gamestate.load_saved_games(); ROLLBACK', $other), 'none', 'loaded and rolled back');
is($other->safe_psql('crash', q{SELECT (SELECT count(*) FROM gamestate.saved_games), (SELECT count(*) FROM gamestate.list_live_games())}), '9|0', 'as before');
is($other->safe_psql('crash', 'SELECT gamestate.load_saved_games()'), '9', 'loaded');
$other->safe_psql('crash', q{SELECT gamestate.apply_move(id(12), 3, '"after"', '"after"')});
my $before = $other->safe_psql('crash', 'SELECT all_live()');
$other->stop('immediate');
$other->start;
is($other->safe_psql('crash', q{SELECT count(*) FROM gamestate.list_live_games() WHERE game_type = 'memory'}), '0', 'the game of durability memory is lost');
is($other->safe_psql('crash', q{SELECT count(*) FROM gamestate.list_live_games()}), '8', 'the others are there');
my $after = $other->safe_psql('crash', 'SELECT all_live()');
is($after, join("\n", grep { !/^\(23230000-0000-4000-8000-000000000018,/ } split(/\n/, $before)), 'to the letter');
$other->append_conf('postgresql.conf', 'gamestate.archiver = on');
$other->reload;
ok($other->poll_query_until('crash', q{SELECT count(*) = 2 FROM gamestate.archive WHERE game_id IN (id(16), id(17))}), 'loaded games that are over go to the archive');
is($other->safe_psql('crash', q{SELECT string_agg((gamestate.get_game(id(n))).tier || ' ' || (gamestate.get_game(id(n))).status || ' ' || (gamestate.get_game(id(n))).version, ',' ORDER BY n) FROM unnest('{16,17}'::int[]) n}),
	'archived finished 2,archived abandoned 2', 'and are readable there');

# A game that ends between save and dump is in the dump twice.
sql('postgres', 'SELECT gamestate.save_live_games()');
$main->append_conf('postgresql.conf', 'gamestate.archiver = on');
$main->reload;
sql('postgres', q{SELECT gamestate.apply_move(id(10), 21, '1', '1'); SELECT gamestate.finish_game(id(10))}) if sql('postgres', 'SELECT gamestate.get_version(id(10))') eq '21';
sql('postgres', q{SELECT gamestate.finish_game(id(10))}) if sql('postgres', 'SELECT (gamestate.get_game(id(10))).status') eq 'active';
ok($main->poll_query_until('postgres', q{SELECT count(*) = 3 FROM gamestate.archive WHERE game_id IN (id(10), id(16), id(17))}), 'archived after the games were saved');
run_ok('pg_dump', @dump, '-Fc', '-f', "$dir/later");
new_database($main, 'later');
run_ok('pg_restore', 'pg_restore', '-e', at($main), '-d', 'later', "$dir/later");
my ($rc, $stdout, $stderr) = $main->psql('later', 'SELECT gamestate.load_saved_games()');
is($stdout, '6', 'only the others are loaded');
like($stderr, qr/NOTICE:.*loaded 6 games.*NOTICE:.*3 saved games were left out, for they exist already/s, 'as a notice says');
is(sql('later', q{SELECT tier || ' ' || version FROM gamestate.get_game(id(10))}), 'archived ' . sql('postgres', 'SELECT gamestate.get_version(id(10))'), 'the archived one is as it ended');
is(sql('later', q{SELECT count(*), count(DISTINCT game_id) FROM gamestate.games}), sql('postgres', q{SELECT count(*), count(DISTINCT game_id) FROM gamestate.games}), 'each game once');

# ---------------------------------------------------------------------------
note 'What exists already';

$main->append_conf('postgresql.conf', 'gamestate.archiver = off');
$main->reload;
sql('later', 'SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games(); TRUNCATE gamestate.archive, gamestate.archive_payload');
sub refill
{
	my ($db) = @_;
	sql($db, 'TRUNCATE gamestate.saved_games');
	run_ok('the saved games once more', 'pg_restore', '-a', '-n', 'gamestate', '-t', 'saved_games', at($main), '-d', $db, "$dir/custom");
	return;
}
refill('later');
is(error('later', 'SELECT gamestate.load_saved_games(NULL)') =~ /22004/, 1, 'no null');
sql('later', q{SELECT gamestate.create_game('here', '"here"', game_id => id(12))});
like(error('later', 'SELECT gamestate.load_saved_games()'), qr/GS005: +game 23230000-0000-4000-8000-000000000012 exists already.*It is active, at version 1; the saved game is at version 3.*skip_existing/s, 'a live game');
is(sql('later', 'SELECT (SELECT count(*) FROM gamestate.saved_games), (SELECT count(*) FROM gamestate.list_live_games())'), '9|1', 'all or nothing');
is(sql('later', 'SELECT gamestate.load_saved_games(skip_existing := true)'), '8', 'skip_existing');
is(sql('later', 'SELECT gamestate.get_state(id(12)), (SELECT count(*) FROM gamestate.saved_games)'), '"here"|0', 'keeps what is there');
sql('later', 'SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games()');
refill('later');
# archived: the same id, but not the same game; then the same game at an earlier version
foreach my $created ("'2020-01-01'::timestamptz", "(SELECT created_at FROM gamestate.list_live_games() WHERE game_id = id(12))")
{
	my $value = sql('postgres', "SELECT $created");
	sql('later', qq{CREATE TABLE IF NOT EXISTS gamestate_partitions.hand PARTITION OF gamestate.archive FOR VALUES IN ('hand'); TRUNCATE gamestate.archive;
		INSERT INTO gamestate.archive (game_id, game_type, status, encoding, players, created_at, ended_at, version, moves)
		VALUES (id(12), 'hand', 'finished', 'json', '{}', '$value', now(), 2, 1)});
	like(error('later', 'SELECT gamestate.load_saved_games()'), qr/GS005: +game 23230000-0000-4000-8000-000000000012 exists already.*It is archived, at version 2; the saved game is at version 3/s, 'another archived game');
}
sql('later', 'UPDATE gamestate.archive SET version = 3');
is(sql('later', 'BEGIN; SELECT gamestate.load_saved_games(); ROLLBACK'), '8', 'the same game at the same version is left out');
sql('later', 'TRUNCATE gamestate.archive');
# room codes
sql('later', q{SELECT gamestate.create_game('here', game_id => id(800), room_code => 'WAITING')});
like(error('later', 'SELECT gamestate.load_saved_games(true)'), qr/GS004: +room code "WAITING" of saved game 23230000-0000-4000-8000-000000000013 is taken.*Game 23230000-0000-4000-8000-000000000800 has it.*set_room_code/s, 'a room code');
sql('later', q{SELECT gamestate.set_room_code(id(800), 'OVER')});
is(sql('later', 'BEGIN; SELECT gamestate.load_saved_games(); ROLLBACK'), '9', 'a game that is over has no room code any more');

# in the middle of others
my $one = $main->background_psql('later');
my $two = $main->background_psql('later');
$two->query_safe(q{BEGIN; SELECT gamestate.set_room_code(id(800), 'WAITING')});
like(error('later', "SET lock_timeout = '100ms'; SELECT gamestate.load_saved_games()"), qr/55P03/, 'who takes a room code is waited for');
$two->query_safe('COMMIT');
like(error('later', 'SELECT gamestate.load_saved_games()'), qr/GS004/, 'and seen');
$two->query_safe(q{SELECT gamestate.set_room_code(id(800), NULL); BEGIN; SELECT gamestate.create_game('x', game_id => id(12))});
like(error('later', "SET lock_timeout = '100ms'; SELECT gamestate.load_saved_games()"), qr/55P03/, 'who takes an id is waited for');
$two->query_safe('ROLLBACK');
$one->query_safe('SET client_min_messages = warning; BEGIN; SELECT gamestate.load_saved_games()');
is(error('later', q{SET lock_timeout = '100ms'; SELECT gamestate.apply_move(id(800), NULL, '1', '1'), gamestate.create_game('y'), gamestate.set_room_code(id(800), NULL)}), 'none', 'play goes on beside');
like(error('later', "SET lock_timeout = '100ms'; $_"), qr/55P03/, "waits: $_") foreach q{SELECT gamestate.create_game('y', game_id => id(12))},
	q{SELECT gamestate.set_room_code(id(800), 'WAITING')}, q{SELECT gamestate.load_saved_games()}, q{SELECT gamestate.save_live_games()};
$one->query_safe('COMMIT');
like(error('later', q{SELECT gamestate.create_game('y', game_id => id(12))}), qr/GS005/, 'then the id is taken');
like(error('later', q{SELECT gamestate.set_room_code(id(800), 'WAITING')}), qr/GS004/, 'and the room code');
$one->quit;
$two->quit;

# ---------------------------------------------------------------------------
note 'What is refused';

my %refused = (
	'BEGIN; SELECT gamestate.create_game(\'x\'); SELECT gamestate.save_live_games()' => qr/55000: +save_live_games\(\) cannot run in a transaction that has changed games/,
	'BEGIN; SELECT gamestate.create_game(\'x\'); SELECT gamestate.load_saved_games()' => qr/55000: +load_saved_games\(\) cannot run in a transaction that has changed games/,
	'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT gamestate.load_saved_games()' => qr/55000.*isolation level/,
	'BEGIN READ ONLY; SELECT gamestate.load_saved_games()' => qr/25006/,
	'BEGIN READ ONLY; SELECT gamestate.save_live_games()' => qr/25006/,
	'SET gamestate.enabled = off; SELECT gamestate.load_saved_games()' => qr/GS016/,
);
like(error('later', $_), $refused{$_}, $_) foreach sort keys %refused;
is(error('later', 'SET gamestate.enabled = off; SELECT gamestate.save_live_games()'), 'none', 'games can be saved while play is stopped');
is(error('later', 'DO $$BEGIN PERFORM gamestate.save_live_games(); EXCEPTION WHEN division_by_zero THEN NULL; END$$; SELECT gamestate.save_live_games()'), 'none', 'also in a subtransaction');
is(error('later', 'VACUUM FREEZE gamestate.saved_games; SELECT gamestate.save_live_games(); VACUUM FULL gamestate.saved_games; SELECT gamestate.save_live_games()'), 'none', 'VACUUM does not make them somebody else\'s');

# restored and not loaded: not to be overwritten
refill('later');
like(error('later', 'SELECT gamestate.save_live_games()'), qr/55000.*games that have not been loaded.*TRUNCATE/s, 'restored games are not overwritten');
sql('later', 'SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games()');
is(sql('later', 'SELECT gamestate.load_saved_games(); SELECT gamestate.save_live_games()'), "9\n9", 'once loaded, they are');

# who may
sql('later', q{CREATE ROLE d_admin; CREATE ROLE d_saver; CREATE ROLE d_server; SELECT gamestate.grant_admin('d_admin'), gamestate.grant_server('d_server');
	GRANT USAGE ON SCHEMA gamestate TO d_saver; GRANT EXECUTE ON FUNCTION gamestate.save_live_games() TO d_saver});
is(error('later', 'SET ROLE d_admin; SELECT gamestate.save_live_games(); SELECT gamestate.load_saved_games(true)'), 'none', 'an operator');
is(error('later', 'SET ROLE d_saver; SELECT gamestate.save_live_games()'), 'none', 'who may call the function needs no right on the table');
like(error('later', "SET ROLE d_saver; $_"), qr/42501/, "but has none: $_") foreach 'TABLE gamestate.saved_games', 'DELETE FROM gamestate.saved_games', 'SELECT gamestate.load_saved_games()';
like(error('later', "SET ROLE d_server; $_"), qr/42501/, "not a game server: $_") foreach 'SELECT gamestate.save_live_games()', 'SELECT gamestate.load_saved_games()';
is(error('later', q{ALTER TABLE gamestate.saved_games ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; SELECT gamestate.save_live_games(), gamestate.load_saved_games(true);
	ALTER TABLE gamestate.saved_games DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY}), 'none', 'row security hides nothing from them');
# the operator's trigger does not run as a superuser, nor with the caller's search_path
sql('later', q{SET ROLE gamestate_owner; CREATE FUNCTION gamestate_partitions.spy() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN RAISE EXCEPTION '% %', current_user, current_setting('search_path'); END$$;
	CREATE TRIGGER spy BEFORE INSERT ON gamestate.saved_games FOR EACH ROW EXECUTE FUNCTION gamestate_partitions.spy()});
like(error('later', 'SELECT gamestate.save_live_games()'), qr/gamestate_owner pg_catalog, pg_temp/, 'a trigger runs as the owner');
sql('later', 'DROP TRIGGER spy ON gamestate.saved_games');
sql('later', q{CREATE RULE swallow AS ON DELETE TO gamestate.saved_games DO INSTEAD NOTHING});
like(error('later', 'SELECT gamestate.load_saved_games(true)'), qr/could not be emptied/, 'a rule that keeps rows');
sql('later', 'DROP RULE swallow ON gamestate.saved_games');

# ---------------------------------------------------------------------------
note 'Damaged and hand-made rows';

sql('later', 'SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games(); SELECT gamestate.save_live_games()');
refill('later');

# CRC-32C, so that a wrong image can have the right checksum
sub crc32c
{
	my $crc = 0xFFFFFFFF;
	foreach my $byte (unpack('C*', shift))
	{
		$crc ^= $byte;
		$crc = $crc & 1 ? ($crc >> 1) ^ 0x82F63B78 : $crc >> 1 foreach 1 .. 8;
	}
	return $crc ^ 0xFFFFFFFF;
}
my $id = '23230000-0000-4000-8000-000000000012';
my $image = pack('H*', sql('later', "SELECT encode(image, 'hex') FROM gamestate.saved_games WHERE game_id = '$id'"));
my $id_bytes = pack('H*', $id =~ s/-//gr);
is(sql('later', "SELECT checksum FROM gamestate.saved_games WHERE game_id = '$id'"), crc32c($id_bytes . $image), 'the checksum is CRC-32C');

# What load_saved_games() says when that row is changed so; nothing is left of it.
sql('later', qq{CREATE FUNCTION with_row(change text) RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
	hint text;
BEGIN
	EXECUTE 'UPDATE gamestate.saved_games SET ' || change || \$q\$ WHERE game_id = '$id'\$q\$;
	PERFORM gamestate.load_saved_games();
	RAISE SQLSTATE 'ZZ000';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_DETAIL;
	RETURN CASE SQLSTATE WHEN 'ZZ000' THEN 'none' ELSE SQLSTATE || ': ' || SQLERRM || ' ' || hint END;
END \$\$});

# the results for several changes
sub with_rows
{
	return split(/\n/, sql('later', join(';', map { my $change = $_ =~ s/'/''/gr; "SELECT with_row('$change')" } @_)));
}
sub with_row { return (with_rows(@_))[0]; }
sub image_change
{
	my ($bytes) = @_;
	return "image = '\\x" . unpack('H*', $bytes) . "', checksum = " . crc32c($id_bytes . $bytes);
}
sub with_image { return with_row(image_change(@_)); }
is(with_row('version = 77, status = \'?\''), 'none', 'what is for people does not matter');
is(with_row("durability = 'memory'"), 'none', 'durability may be changed');
like(with_row('checksum = checksum + 1'), qr/XX001: saved game $id is damaged.*checksum/s, 'a wrong checksum');
like(with_row('checksum = -1'), qr/XX001/, 'an impossible one');
like(with_row("image = set_byte(image, 30, get_byte(image, 30) # 1)"), qr/XX001.*checksum/s, 'one bit');
like(with_row("image = ''"), qr/XX001.*checksum/s, 'no image');
like(with_row("game_id = gen_random_uuid()"), qr/XX001.*checksum/s, 'another id');
like(with_row('format = 2'), qr/0A000.*has format 2/s, 'a format of the future');
like(with_row("database_encoding = 'LATIN1'"), qr/0A000.*It is LATIN1, and this database's is UTF8/s, 'another encoding');
my @cut = with_rows(map { image_change(substr($image, 0, $_)) } 0 .. length($image) - 1);
is(scalar(grep { /^XX001: saved game $id is damaged/ } @cut), length($image), 'cut anywhere');
like(with_image($image . "\0"), qr/something behind/, 'a byte too many');
like(with_image(substr($image, 0, 3) . pack('H*', '23230000000040008000000000000013') . substr($image, 19)), qr/that of another game/, 'the image of another game');
my @changed = with_rows(
	map {
		my $bytes = $image;
		substr($bytes, $_, 1) = chr(ord(substr($bytes, $_, 1)) ^ (1 + int(rand(255))));
		image_change($bytes)
	} 0 .. length($image) - 1);
my $loaded = grep { $_ eq 'none' } @changed;
my $refused = grep { /^XX001: saved game $id is damaged/ } @changed;
is($loaded + $refused, length($image), 'a changed byte, with the right checksum: nothing worse than an error') or diag(join("\n", @changed));
cmp_ok($refused, '>', 20, 'which most often it is');
is(sql('later', 'SELECT count(*) FROM gamestate.saved_games'), '9', 'nothing has been loaded');
sql('later', 'ALTER TABLE gamestate.saved_games DROP CONSTRAINT saved_games_pkey; INSERT INTO gamestate.saved_games TABLE gamestate.saved_games');
like(error('later', 'SELECT gamestate.load_saved_games()'), qr/XX001.*it is there twice/s, 'twice the same game');
sql('later', 'TRUNCATE gamestate.saved_games; ALTER TABLE gamestate.saved_games ADD CONSTRAINT saved_games_pkey PRIMARY KEY (game_id)');

# ---------------------------------------------------------------------------
note 'Memory, and many games';

sql('later', qq{SELECT count(gamestate.create_game('many', to_json(repeat('z', 1000)), room_code => 'many ' || i)) FROM generate_series($_ * 1000, $_ * 1000 + 999) i}) foreach 1 .. 14;
is(sql('later', 'SELECT gamestate.save_live_games()'), '14000', 'many games, each with a room code');
sql('later', qq{SELECT count(gamestate.delete_game(game_id)) FROM (SELECT game_id FROM gamestate.list_live_games(max_rows => 900)) g}) foreach 1 .. 16;
is(sql('later', 'SELECT count(*) FROM gamestate.list_live_games()'), '0', 'deleted');
like(error('later', q{SET gamestate.quota = '5MB'; SELECT gamestate.load_saved_games()}), qr/GS006/, 'the quota is too small');
is(sql('later', 'SELECT games FROM gamestate.stat_memory'), '0', 'all or nothing');
is(sql('later', 'SELECT gamestate.load_saved_games()'), '14000', 'loaded, in one transaction, with the default lock table');
is(sql('later', q{SELECT count(DISTINCT gamestate.find_room(room_code)) FROM gamestate.list_live_games(with_state => false)}), '14000', 'all rooms are found');
sql('later', q{SELECT gamestate.save_live_games(); DROP TABLE IF EXISTS stop});
run_ok('pg_dump', 'pg_dump', at($main), '-d', 'later', '-Fc', '-f', "$dir/many");
my $small = PostgreSQL::Test::Cluster->new('small');
$small->init;
$small->append_conf('postgresql.conf', "shared_preload_libraries = 'gamestate'\ngamestate.memory = 16MB\nfsync = off\n");
$small->start;
run_ok('pg_restore', 'pg_restore', '-e', at($small), '-d', 'postgres', '--no-privileges', "$dir/many");
like(error('postgres', 'SELECT gamestate.load_saved_games()', $small), qr/GS006/, 'a server with too little memory');
is($small->safe_psql('postgres', 'SELECT (SELECT count(*) FROM gamestate.saved_games), (SELECT games FROM gamestate.stat_memory)'), '14000|0', 'all or nothing');
is($small->safe_psql('postgres', q{SELECT gamestate.create_game('x') IS NOT NULL}), 't', 'and it goes on');

# a server that does not preload the library takes the dump, and says what is missing
$small->safe_psql('postgres', 'CREATE DATABASE bare TEMPLATE template0');
$small->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$small->stop;
$small->start;
run_ok('pg_restore where the library is not preloaded', 'pg_restore', '-e', at($small), '-d', 'bare', "$dir/custom");
is($small->safe_psql('bare', 'SELECT (SELECT count(*) FROM gamestate.saved_games), (SELECT count(*) FROM gamestate.policy), (SELECT count(*) FROM gamestate.archive)'), '9|2|4', 'all rows are there');
like(error('bare', 'SELECT gamestate.load_saved_games()', $small), qr/55000.*shared_preload_libraries/s, 'load_saved_games');
like(error('bare', 'SELECT gamestate.save_live_games()', $small), qr/55000.*shared_preload_libraries/s, 'save_live_games');

# ---------------------------------------------------------------------------
note 'A policy of durability memory';

is(sql('postgres', q{INSERT INTO gamestate.policy VALUES ('physics', 'memory') ON CONFLICT DO NOTHING;
	SELECT count(gamestate.create_game('physics', to_json(i))) FROM generate_series(1, 10) i}), '10', 'ten games of durability memory');
sql('postgres', q{SELECT gamestate.create_game('chess', to_json(i), game_id => id(700 + i)) FROM generate_series(1, 10) i;
	SET gamestate.durability = memory; SELECT gamestate.create_game('Odd "type" ü', '1', game_id => id(720))});
my $wal = sql('postgres', 'SELECT pg_current_wal_insert_lsn()');
sql('postgres', q{SELECT count(gamestate.apply_move(game_id, NULL, '1', '1')) FROM gamestate.list_live_games('physics')});
cmp_ok(sql('postgres', "SELECT pg_current_wal_insert_lsn() - '$wal'::pg_lsn"), '<', 1000, 'its moves write no WAL');
my $postmaster = (split(/\n/, slurp_file($main->data_dir . '/postmaster.pid')))[0];
$main->kill9;
sleep(0.02) while kill(0, $postmaster);
my $started = 0;
for (1 .. 300)
{
	last if $started = $main->start(fail_ok => 1);
	$main->{_pid} = undef;
	sleep(0.1);    # somebody has not quite gone yet
}
ok($started, 'started again after kill -9');
is(sql('postgres', q{SELECT count(*) FILTER (WHERE game_type = 'physics'), count(*) FILTER (WHERE game_id BETWEEN id(701) AND id(710)), count(*) FILTER (WHERE game_id = id(720)) FROM gamestate.list_live_games()}),
	'0|10|1', 'games of durability memory are gone, the others are there');

foreach my $node ($main, $other, $small)
{
	$node->stop;
	unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?!9)/, 'nothing crashed: ' . $node->name);
}
done_testing();
