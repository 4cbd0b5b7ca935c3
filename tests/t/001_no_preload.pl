# A server that does not preload the library: it starts, CREATE EXTENSION and
# restores work, every function that needs the games in memory names the
# setting that is missing, and the archive can still be queried.
#
# A layer of its own because the other layers' server preloads the library.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $game = '10010000-0000-4000-8000-000000000001';

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
# Settings of ours that a server without the library still has in its file.
$node->append_conf('postgresql.conf', q{
gamestate.memory = 32MB
gamestate.max_state_size = 64kB
});
$node->start;
pass('server starts');

my ($rc, $out, $err) = $node->psql('postgres', 'CREATE EXTENSION gamestate');
is($rc, 0, 'CREATE EXTENSION');
is($err, '', 'the library loads silently');
($rc, $out, $err) = $node->psql('postgres', "LOAD 'gamestate'; SHOW gamestate.max_state_size");
is($err, '', 'LOAD is silent');
is($out, '64kB', 'a setting that needs no memory is taken from the file');

# Every function that writes or reads games.
my @calls = (
	q{gamestate.create_game('t')},
	q{gamestate.create_game_bytes('t')},
	qq{gamestate.apply_move('$game', 1, '1', NULL)},
	qq{gamestate.apply_move_bytes('$game', 1, '1', NULL)},
	qq{gamestate.set_metadata('$game', '1')},
	qq{gamestate.set_room_code('$game', 'r')},
	qq{gamestate.start_game('$game')},
	qq{gamestate.join_game('$game', 'p')},
	qq{gamestate.leave_game('$game', 'p')},
	qq{gamestate.finish_game('$game')},
	qq{gamestate.delete_game('$game')},
	qq{gamestate.get_game('$game')},
	qq{gamestate.get_state('$game')},
	qq{gamestate.get_state_bytes('$game')},
	qq{gamestate.get_version('$game')},
	qq{gamestate.get_changes('$game')},
	q{gamestate.find_room('r')},
	q{gamestate.player_games('p')},
	q{gamestate.list_live_games()},
	q{gamestate.stat_memory()});
foreach my $call (@calls)
{
	my ($name) = $call =~ /(\w+)\(/;
	($rc, $out, $err) = $node->psql('postgres', "SELECT $call",
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($err, qr/ERROR:  55000:.*HINT: .*shared_preload_libraries = 'gamestate'/s, "$name says what is missing");
}
foreach my $view ('live_games', 'games', 'stat_memory')
{
	($rc, $out, $err) = $node->psql('postgres', "SELECT count(*) FROM gamestate.$view",
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($err, qr/ERROR:  55000:.*HINT: .*shared_preload_libraries = 'gamestate'/s, "so does view $view");
}

# What needs no games works.
is($node->safe_psql('postgres', q{SELECT gamestate.to_jsonb('{"a":1, "a":2}'), gamestate.to_jsonb('"\u0000"') IS NULL}),
	'{"a": 2}|t', 'to_jsonb works');
is($node->safe_psql('postgres', q{SELECT gamestate.library_version() = extversion FROM pg_extension WHERE extname = 'gamestate'}),
	't', 'library_version works');
is($node->safe_psql('postgres', q{SELECT (SELECT count(*) FROM gamestate.archive), (SELECT count(*) FROM gamestate.archive_payload),
	(SELECT count(*) FROM gamestate.archived_games), (SELECT count(*) FROM gamestate.archived_moves)}),
	'0|0|0|0', 'so do the archive and its views');
# A session that has the library goes on as any other.
is($node->safe_psql('postgres', q{
	SELECT gamestate.library_version() \g /dev/null
	CREATE TABLE t (i int);
	BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; INSERT INTO t VALUES (2); ROLLBACK TO s; COMMIT;
	BEGIN; INSERT INTO t VALUES (3); ROLLBACK;
	TABLE t; DROP TABLE t;}), '1', 'transactions and savepoints of a session that has the library');

# Dump and restore of the schema.
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '--file', $dump, $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ], 'restore');
is($node->safe_psql('restored', q{SELECT count(*) FROM gamestate.archived_games}), '0', 'restored');

# An extension that was never used can be dropped and made again.
$node->safe_psql('restored', 'DROP EXTENSION gamestate');
is($node->safe_psql('restored', q{SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'gamestate%'}), '0', 'dropped');
$node->safe_psql('restored', 'CREATE EXTENSION gamestate');

# With the library, everything is there without any further step.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'gamestate'");
$node->restart;
is($node->safe_psql('postgres', qq{SELECT gamestate.create_game('noload', '{"n": 1}', '{ann}', game_id => '$game');
	SELECT gamestate.apply_move('$game', 1, '{"m": 1}', '{"n": 2}', 'ann');
	SELECT gamestate.finish_game('$game', '"done"');}), "$game\n2\n3", 'a game is played in the next statement');
is($node->safe_psql('postgres', 'SHOW gamestate.memory'), '32MB', 'settings of the file are in force');
$node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM gamestate.archive')
	or die 'timed out waiting for the archiver';
# an extension may come to a database while the server runs
is($node->safe_psql('restored', qq{SELECT gamestate.create_game('noload', game_id => '$game')}), $game,
	'and in the other database');
$node->safe_psql('restored', qq{SELECT gamestate.delete_game('$game')});

# Without it again: the archive is plain tables, and its views need no server memory.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
is($node->safe_psql('postgres', q{SELECT game_type, status, version, result FROM gamestate.archive}),
	'noload|finished|3|"done"', 'the archive can be read without the library');
is($node->safe_psql('postgres', q{SELECT version, result, players FROM gamestate.archived_games}),
	'3|"done"|{ann}', 'so can its view');
$node->command_ok([ 'pg_dump', '--file', $dump, $node->connstr('postgres') ], 'pg_dump with an archived game');
$node->safe_psql('postgres', 'CREATE DATABASE restored_archive');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored_archive') ],
	'restore with an archived game');
is($node->safe_psql('restored_archive', q{SELECT version, result, players FROM gamestate.archived_games}),
	'3|"done"|{ann}', 'it is there');
is($node->safe_psql('restored_archive', q{SELECT player, event FROM gamestate.archived_moves}), 'ann|{"m": 1}', 'with its move');

# And in a restored database play goes on where the dump left it.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'gamestate'");
$node->restart;
$node->safe_psql('restored_archive', q{SELECT gamestate.finish_game(gamestate.create_game('noload'))});
is($node->poll_query_until('restored_archive', 'SELECT count(*) = 2 FROM gamestate.archive'), 1,
	'the next game goes to the same archive');
($rc, $out, $err) = $node->psql('restored_archive', qq{SELECT gamestate.create_game('noload', game_id => '$game')},
	extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
like($err, qr/GS005/, 'and its ids stay taken');

$node->stop;
done_testing();
