# Databases do not see each other's games, and a database takes its games
# along when it goes.
#
# A layer of its own because it needs several databases, some of which are
# dropped, and looks at the memory of all of them together.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $game = '30030000-0000-4000-8000-000000000001';

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
gamestate.max_databases = 4
});
$node->start;

foreach my $db ('red', 'blue')
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE EXTENSION gamestate');
}

# The same id, the same room code and the same player in both.
foreach my $db ('red', 'blue')
{
	is($node->safe_psql($db, qq{
		SELECT gamestate.create_game('db', '"$db"', '{ann}', 'ROOM', game_id => '$game')}), $game, "created in $db");
}
$node->safe_psql('red', qq{SELECT gamestate.apply_move('$game', 1, '1', '"red 2"', 'ann')});
my $look = qq{SELECT (g).version, (g).state, gamestate.find_room('ROOM') = '$game',
	(SELECT count(*) FROM gamestate.player_games('ann')), (SELECT count(*) FROM gamestate.live_games),
	(SELECT games FROM gamestate.stat_memory) FROM gamestate.get_game('$game') g};
is($node->safe_psql('red', $look), '2|"red 2"|t|1|1|1', 'red');
is($node->safe_psql('blue', $look), '1|"blue"|t|1|1|1', 'blue');

# A lock in one is none in the other.
my ($in, $seen) = ('', '');
my $red = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('red') ], '<', \$in, '>', \$seen,
	IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
$in = "BEGIN; SELECT 'version ' || gamestate.apply_move('$game', 2, '1', '\"red 3\"');\n";
$red->pump until $seen =~ /version 3/;
is($node->safe_psql('blue', qq{SET lock_timeout = '2s'; SELECT gamestate.apply_move('$game', 1, '1', '"blue 2"')}), '2',
	'moved in blue while red has it locked');
$in .= "ROLLBACK;\n\\q\n";
$red->finish;
is($node->safe_psql('blue', $look), '2|"blue 2"|t|1|1|1', 'blue moved');
is($node->safe_psql('red', $look), '2|"red 2"|t|1|1|1', 'red did not');

# The end in one leaves the other's alone.
$node->safe_psql('red', qq{SELECT gamestate.finish_game('$game', '"red"')});
$node->poll_query_until('red', 'SELECT count(*) = 1 FROM gamestate.archive') or die 'timed out waiting for the archiver';
is($node->safe_psql('red', qq{SELECT tier, result FROM gamestate.get_game('$game')}), 'archived|"red"', 'archived in red');
is($node->safe_psql('blue', qq{SELECT tier, result FROM gamestate.get_game('$game')}), 'live|', 'still running in blue');
is($node->safe_psql('blue', 'SELECT count(*) FROM gamestate.archive'), '0', 'not in the archive of blue');

# A database without the extension has nothing to do with all this.
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'gamestate%'}), '0', 'nothing in postgres');

# DROP DATABASE with live games: they go, their memory too, and a database of
# the same name starts with nothing.
my $used = $node->safe_psql('red', 'SELECT used_bytes FROM gamestate.stat_memory');
$node->safe_psql('blue', q{SELECT gamestate.create_game('db', to_json(repeat('x', 10000))) FROM generate_series(1, 500)});
cmp_ok($node->safe_psql('red', 'SELECT used_bytes FROM gamestate.stat_memory'), '>', $used + 5_000_000, 'blue has many games');
$node->safe_psql('postgres', 'DROP DATABASE blue');
is($node->poll_query_until('red', "SELECT used_bytes <= $used FROM gamestate.stat_memory"), 1, 'they are gone with it');
$node->safe_psql('postgres', 'CREATE DATABASE blue');
$node->safe_psql('blue', 'CREATE EXTENSION gamestate');
is($node->safe_psql('blue', qq{SELECT gamestate.get_version('$game') IS NULL, gamestate.find_room('ROOM') IS NULL,
	count(*) FROM gamestate.live_games}), 't|t|0', 'a new blue knows none of them');

# A copy of a database has its archive and its running games, as of the copy.
$node->safe_psql('red', q{SELECT gamestate.create_game('db', room_code => 'RED')});
$node->safe_psql('postgres', 'CREATE DATABASE pink TEMPLATE red');
is($node->safe_psql('pink', q{SELECT count(*), gamestate.find_room('RED') IS NULL, (SELECT count(*) FROM gamestate.live_games)
	FROM gamestate.archive}), '1|f|1', 'a copy');
is($node->safe_psql('pink', qq{SELECT tier, result FROM gamestate.get_game('$game')}), 'archived|"red"', 'its archive answers');
is($node->safe_psql('red', q{SELECT gamestate.find_room('RED') IS NOT NULL}), 't', 'the original plays on');
# A database that is renamed keeps its games.
$node->safe_psql('postgres', 'ALTER DATABASE red RENAME TO crimson');
is($node->safe_psql('crimson', q{SELECT gamestate.find_room('RED') IS NOT NULL}), 't', 'renamed');

# More databases than gamestate.max_databases: a clear error in the one too
# many, and a place for it when another one goes.
foreach my $i (1 .. 4)
{
	$node->safe_psql('postgres', "CREATE DATABASE d$i");
	$node->safe_psql("d$i", 'CREATE EXTENSION gamestate');
	$node->psql("d$i", q{SELECT gamestate.create_game('db')});
}
my ($rc, $out, $err) = $node->psql('d4', q{SELECT gamestate.create_game('db')}, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
isnt($rc, 0, 'one database too many');
like($err, qr/max_databases/, 'the error names the setting');
$node->safe_psql('postgres', 'DROP DATABASE crimson');
$node->safe_psql('postgres', 'DROP DATABASE pink');
$node->safe_psql('postgres', 'DROP DATABASE blue');
is($node->poll_query_until('d4', q{SELECT gamestate.create_game('db') IS NOT NULL}), 1, 'a place is free when one goes');

$node->stop;
done_testing();
