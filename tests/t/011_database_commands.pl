# Commands that need a database without connections work while the workers are
# connected to it, and DROP EXTENSION does not take games along unasked.
#
# A layer of its own because these commands cannot run in a transaction block
# or in the database they are about, and workers come and go with them.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 16MB
gamestate.max_databases = 8
max_prepared_transactions = 2
max_worker_processes = 16
log_statement = none
});
$node->start;

# archiver(DATABASE): pid of its archiver, when it runs
sub archiver
{
	my ($db) = @_;
	for (1 .. 300)
	{
		my $pid = $node->safe_psql('postgres', qq{SELECT pid FROM gamestate.stat_workers WHERE database = '$db' AND state = 'running' AND kind = 'archiver'});
		return $pid if $pid ne '';
		sleep(0.05);
	}
	die "no archiver in $db";
}

# session(DATABASE): a psql that stays; say(SESSION, SQL) waits for the end of SQL
sub session
{
	my ($db, @options) = @_;
	my $s = { in => '', out => '', n => 0 };
	$s->{h} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($db), @options ], '<', \$s->{in}, '>', \$s->{out}, '2>&1',
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return $s;
}

sub say_to
{
	my ($s, $sql) = @_;
	my $mark = 'done ' . ++$s->{n};
	$s->{out} = '';
	$s->{in} .= "$sql\n\\echo $mark\n";
	$s->{h}->pump until $s->{out} =~ /$mark\n/;
	(my $out = $s->{out}) =~ s/$mark\n//;
	return $out;
}

# quick(NAME, SQL, DATABASE): works, and without waiting for somebody to be gone
sub quick
{
	my ($name, $sql, $db) = @_;
	my $start = time();
	my ($rc, $out, $err) = $node->psql($db // 'postgres', $sql);
	is("$rc $err", '0 ', $name);
	cmp_ok(time() - $start, '<', 4, "$name: at once");
}

sub fails_with
{
	my ($name, $db, $sql, $state, $pattern) = @_;
	my ($rc, $out, $err) = $node->psql($db, "\\set VERBOSITY verbose\n$sql");
	like($err, qr/ERROR:  $state: .*$pattern/s, $name);
}

$node->safe_psql('postgres', 'CREATE EXTENSION gamestate');
$node->safe_psql('postgres', 'CREATE DATABASE red');
$node->safe_psql('red', 'CREATE EXTENSION gamestate');
my $red = archiver('red');
$node->safe_psql('red', q{SELECT gamestate.create_game('x', room_code => 'RED')});

# Database commands, each with an archiver connected
quick('CREATE DATABASE ... TEMPLATE', 'CREATE DATABASE copy TEMPLATE red');
isnt(archiver('red'), $red, 'its archiver was sent away and is back');
archiver('copy');
pass('the copy has an archiver');
is($node->safe_psql('copy', q{SELECT count(*), gamestate.find_room('RED') IS NULL FROM gamestate.live_games}), '1|f', 'live games are copied');
is($node->safe_psql('red', q{SELECT gamestate.find_room('RED') IS NOT NULL}), 't', 'the original has its games');
quick('STRATEGY file_copy', 'CREATE DATABASE copy2 TEMPLATE red STRATEGY file_copy');
archiver('red');
quick('RENAME', 'ALTER DATABASE red RENAME TO crimson');
$red = archiver('crimson');
is($node->safe_psql('crimson', q{SELECT gamestate.find_room('RED') IS NOT NULL}), 't', 'a renamed database has its games');
my $dir = $node->basedir . '/tablespace';
mkdir $dir;
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$dir'");
quick('SET TABLESPACE', 'ALTER DATABASE crimson SET TABLESPACE elsewhere');
archiver('crimson');
quick('SET TABLESPACE back', 'ALTER DATABASE crimson SET TABLESPACE pg_default');
$red = archiver('crimson');

# In a transaction that is rolled back, and shown as barred meanwhile
my $other = session('postgres');
say_to($other, 'BEGIN; ALTER DATABASE crimson RENAME TO pink;');
ok($node->poll_query_until('postgres', q{SELECT bool_and(state = 'barred' AND pid IS NULL) FROM gamestate.stat_workers WHERE database = 'crimson'}), 'barred');
say_to($other, 'ROLLBACK;');
archiver('crimson');
pass('back after ROLLBACK');
say_to($other, 'BEGIN; ALTER DATABASE crimson RENAME TO pink;');
my $pid = say_to($other, 'SELECT pg_backend_pid();');
chomp $pid;
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
archiver('crimson');
pass('back after the session was terminated');
eval { $other->{h}->kill_kill };

# Who may not run the command does not disturb the archiver
$red = archiver('crimson');
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN; CREATE ROLE creator LOGIN CREATEDB; GRANT CONNECT ON DATABASE postgres TO nobody, creator');
foreach my $role ('nobody', 'creator')
{
	fails_with("$role: DROP DATABASE", 'postgres', "SET ROLE $role; DROP DATABASE crimson", '42501', 'must be owner');
	fails_with("$role: RENAME", 'postgres', "SET ROLE $role; ALTER DATABASE crimson RENAME TO mine", '42501', 'must be owner');
	fails_with("$role: SET TABLESPACE", 'postgres', "SET ROLE $role; ALTER DATABASE crimson SET TABLESPACE elsewhere", '42501', 'must be owner');
	fails_with("$role: TEMPLATE", 'postgres', "SET ROLE $role; CREATE DATABASE mine TEMPLATE crimson", '42501', 'permission denied');
}
fails_with('DROP DATABASE in a block', 'postgres', 'BEGIN; DROP DATABASE crimson;', '25001', 'cannot run inside a transaction block');
fails_with('DROP DATABASE of the current one', 'crimson', 'DROP DATABASE crimson;', '55006', 'cannot drop the currently open database');
is(archiver('crimson'), $red, 'the archiver was not disturbed');

# A drop that fails because of somebody else; core waits 5 s for him
$other = session('crimson');
say_to($other, 'SELECT 1;');
fails_with('DROP DATABASE with a session in it', 'postgres', 'DROP DATABASE crimson', '55006', 'is being accessed by other users');
archiver('crimson');
is($node->safe_psql('crimson', q{SELECT gamestate.find_room('RED') IS NOT NULL}), 't', 'nothing is lost');
quick('DROP DATABASE ... FORCE', 'DROP DATABASE crimson WITH (FORCE)');
eval { $other->{h}->kill_kill };
quick('DROP DATABASE', 'DROP DATABASE copy');
quick('DROP DATABASE IF EXISTS', 'DROP DATABASE IF EXISTS copy2');
is($node->safe_psql('postgres', q{SELECT count(*) FROM gamestate.stat_workers WHERE database IS DISTINCT FROM 'postgres' AND kind = 'archiver'}), '0', 'no archivers left');
is($node->safe_psql('postgres', 'SELECT used_bytes = database_bytes, games FROM gamestate.stat_memory'), 't|0', 'their memory is free');

# template1 itself may have the extension
$node->safe_psql('template1', 'CREATE EXTENSION gamestate');
archiver('template1');
quick('CREATE DATABASE from template1', 'CREATE DATABASE child');
archiver('child');
is($node->safe_psql('child', q{SELECT gamestate.get_version(gamestate.create_game('x'))}), '1', 'games in a child of template1');
$node->safe_psql('template1', 'DROP EXTENSION gamestate');
quick('DROP DATABASE of the child with a game', 'DROP DATABASE child');

# DROP EXTENSION
$node->safe_psql('postgres', 'CREATE DATABASE blue');
$node->safe_psql('blue', 'CREATE EXTENSION gamestate');
my $blue = archiver('blue');
quick('DROP EXTENSION without games', 'DROP EXTENSION gamestate', 'blue');
quick('CREATE EXTENSION', 'CREATE EXTENSION gamestate', 'blue');
my $live = $node->safe_psql('blue', q{SELECT gamestate.create_game('x', '{}')});
my $refused = 'cannot drop extension gamestate because it has games.*1 live games, 0 suspended games, 0 archived games and 0 saved games.*allow_drop_extension';
fails_with('DROP EXTENSION with a live game', 'blue', 'DROP EXTENSION gamestate', '2BP01', $refused);
fails_with('IF EXISTS ... CASCADE', 'blue', 'DROP EXTENSION IF EXISTS gamestate CASCADE', '2BP01', $refused);
$node->safe_psql('blue', 'DROP SCHEMA public CASCADE; CREATE SCHEMA public');
is($node->safe_psql('blue', qq{SELECT gamestate.get_version('$live')}), '1', 'dropping the schema public does not drop the extension');
fails_with('DROP OWNED', 'blue', 'CREATE ROLE boss SUPERUSER; CREATE SCHEMA extra; SET ROLE boss; CREATE EXTENSION IF NOT EXISTS gamestate; RESET ROLE;'
	. ' UPDATE pg_extension SET extowner = (SELECT oid FROM pg_roles WHERE rolname = $$boss$$) WHERE extname = $$gamestate$$;'
	. ' DROP OWNED BY boss CASCADE', '2BP01', $refused);
fails_with('in PL/pgSQL', 'blue', 'DO $$ BEGIN DROP EXTENSION gamestate; END $$', '2BP01', $refused);
fails_with('a game of the same transaction', 'blue', "SELECT gamestate.delete_game('$live'); BEGIN; SELECT gamestate.create_game('y'); DROP EXTENSION gamestate;", '2BP01', $refused);
$live = $node->safe_psql('blue', q{SELECT gamestate.create_game('x', '{}')});
fails_with('DROP SCHEMA gamestate', 'blue', 'DROP SCHEMA gamestate CASCADE', '2BP01', 'requires it');
$node->safe_psql('blue', qq{SELECT gamestate.finish_game('$live')});
ok($node->poll_query_until('blue', 'SELECT count(*) = 1 FROM gamestate.archive'), 'archived');
fails_with('DROP EXTENSION with an archived game', 'blue', 'DROP EXTENSION gamestate', '2BP01', '0 live games, 0 suspended games, 1 archived games');
fails_with('with a payload only', 'blue', 'BEGIN; DELETE FROM gamestate.archive; DROP EXTENSION gamestate', '2BP01', '1 archived games');
$node->safe_psql('blue', 'DELETE FROM gamestate.archive; DELETE FROM gamestate.archive_payload');
$other = session('blue');
say_to($other, 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;');
$node->safe_psql('blue', q{SELECT gamestate.finish_game(gamestate.create_game('x'))});
ok($node->poll_query_until('blue', 'SELECT count(*) = 1 FROM gamestate.archive'), 'archived after the snapshot');
like(say_to($other, "DROP EXTENSION gamestate;"), qr/cannot drop extension gamestate because it has games/, 'an old snapshot does not hide archived games');
say_to($other, 'ROLLBACK;');
$other->{in} .= "\\q\n";
$other->{h}->finish;
$blue = archiver('blue');

# The permission: superusers only, used up by the drop it was for
$node->safe_psql('blue', 'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA gamestate TO creator; GRANT USAGE ON SCHEMA gamestate TO creator');
fails_with('permission: superusers only', 'blue', 'SET ROLE creator; SELECT gamestate.allow_drop_extension()', '42501', 'must be superuser');
$node->safe_psql('blue', q{SELECT gamestate.create_game('x', room_code => 'BLUE')});
is(($node->psql('blue', q{SELECT gamestate.allow_drop_extension(); BEGIN; DROP EXTENSION gamestate; ROLLBACK; SELECT gamestate.find_room('BLUE') IS NOT NULL; DROP EXTENSION gamestate}))[0],
	3, 'used up by a drop that was rolled back');
is($node->safe_psql('blue', q{SELECT gamestate.find_room('BLUE') IS NOT NULL, count(*) FROM gamestate.archive_payload}), 't|1', 'a drop that was rolled back has changed nothing');
archiver('blue');
is($node->safe_psql('blue', q{
	SELECT gamestate.allow_drop_extension();
	BEGIN; SAVEPOINT s; DROP EXTENSION gamestate; ROLLBACK TO s;
	SELECT gamestate.find_room('BLUE') IS NOT NULL;
	COMMIT;
	SELECT gamestate.find_room('BLUE') IS NOT NULL}), "\nt\nt", 'nor one that was rolled back to a savepoint');
fails_with('PREPARE', 'blue', q{SELECT gamestate.allow_drop_extension(); BEGIN; DROP EXTENSION gamestate; PREPARE TRANSACTION 'x'}, '0A000', 'cannot PREPARE');
archiver('blue');
quick('DROP EXTENSION with permission', q{SELECT gamestate.allow_drop_extension(); DROP EXTENSION gamestate}, 'blue');
is($node->safe_psql('blue', q{CREATE EXTENSION gamestate; SELECT gamestate.find_room('BLUE') IS NULL, games, archive_queue FROM gamestate.stat_memory}), 't|0|0', 'the games went with it');
$live = $node->safe_psql('blue', q{SELECT gamestate.create_game('x', room_code => 'BLUE')});
is($node->safe_psql('blue', qq{SELECT gamestate.finish_game('$live')}), '2', 'a new extension works');
ok($node->poll_query_until('blue', 'SELECT count(*) = 1 FROM gamestate.archive'), 'its games are archived');
is($node->safe_psql('blue', q{SELECT count(*) FROM pg_roles WHERE rolname = 'gamestate_owner'}), '1', 'the role stays');
is($node->safe_psql('postgres', 'SELECT gamestate.get_version(gamestate.create_game($$z$$))'), '1', 'the other database plays on');

# While games are archived
$node->safe_psql('blue', q{DO $$ BEGIN FOR i IN 1..2000 LOOP PERFORM gamestate.finish_game(gamestate.create_game('bulk', '{}')); COMMIT; END LOOP; END $$});
quick('DROP EXTENSION while the archiver is busy', q{SELECT gamestate.allow_drop_extension(); DROP EXTENSION gamestate}, 'blue');
$node->safe_psql('blue', 'CREATE EXTENSION gamestate');
$node->safe_psql('blue', q{DO $$ BEGIN FOR i IN 1..2000 LOOP PERFORM gamestate.finish_game(gamestate.create_game('bulk', '{}')); COMMIT; END LOOP; END $$});
quick('DROP DATABASE while the archiver is busy', 'DROP DATABASE blue');
is($node->safe_psql('postgres', q{SELECT used_bytes = database_bytes FROM gamestate.stat_memory}), 't', 'nothing of it is left in memory');

# Games that are saved are games, too: here those of a type whose live ones a restart takes away
$node->safe_psql('postgres', 'CREATE DATABASE grey');
$node->safe_psql('grey', q{CREATE EXTENSION gamestate; SELECT gamestate.create_game('x', game_id => '11110000-0000-4000-8000-000000000001');
	SELECT gamestate.save_live_games(); SELECT gamestate.delete_game('11110000-0000-4000-8000-000000000001')});
fails_with('DROP EXTENSION with a saved game', 'grey', 'DROP EXTENSION gamestate', '2BP01', '0 live games, 0 suspended games, 0 archived games and 1 saved games');
$node->safe_psql('grey', 'TRUNCATE gamestate.saved_games');
quick('without it', 'DROP EXTENSION gamestate', 'grey');

# After a start games are in the journal and not yet, or never, in memory
$node->safe_psql('grey', q{CREATE EXTENSION gamestate; SELECT count(gamestate.create_game('x', to_json(repeat('s', 30000)))) FROM generate_series(1, 400)});
archiver('grey');
$node->adjust_conf('postgresql.conf', 'gamestate.memory', '8MB');
$node->restart;
fails_with('DROP EXTENSION when games cannot be loaded', 'grey', 'DROP EXTENSION gamestate', '2BP01',
	'its games could not be counted.*They could not be loaded: out of memory for games.*allow_drop_extension');
$node->adjust_conf('postgresql.conf', 'gamestate.memory', '16MB');
$node->append_conf('postgresql.conf', 'gamestate.archiver = off');
$node->restart;
fails_with('DROP EXTENSION when nobody has loaded them yet', 'grey', 'DROP EXTENSION gamestate', '2BP01', '400 live games');
$node->adjust_conf('postgresql.conf', 'gamestate.archiver', 'on');
$node->reload;
archiver('grey');
quick('and with permission', 'SELECT gamestate.allow_drop_extension(); DROP EXTENSION gamestate', 'grey');
quick('DROP DATABASE afterwards', 'DROP DATABASE grey');

# Slots: databases without games take none, whoever drops and creates
$node->safe_psql('postgres', 'CREATE DATABASE plain');
for (1 .. 10)
{
	$node->safe_psql('plain', "CREATE DATABASE d$_");
	$node->safe_psql("d$_", 'CREATE EXTENSION gamestate');
	is($node->safe_psql("d$_", q{SELECT gamestate.get_version(gamestate.create_game('z'))}), '1', "database $_");
	$node->safe_psql('plain', "DROP DATABASE d$_");
}

$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/TRAP|PANIC|deadlock detected/, 'no assertion, no panic, no deadlock');

done_testing();
