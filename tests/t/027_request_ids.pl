# Retries after what ends a connection: a crash, a rotation of the journal and a
# crash, a failover to a standby, and in a database restored from a dump.
#
# A layer of its own because servers are crashed, promoted and dumped.  What each
# function answers to a retry is regress's (requests), races are isolation's
# (request_ids).

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $given = '27000000-0000-4000-8000-000000000001';
my $ended = '27000000-0000-4000-8000-000000000002';
my $deleted = '27000000-0000-4000-8000-000000000003';
my $seven = '01930000-0000-7000-8000-000000000027';

sub request
{
	return sprintf('27000000-0000-4000-8000-0000000001%02x', $_[0]);
}

my $conf = q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
gamestate.journal_size = 16MB
gamestate.request_ids = 20
};
my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', $conf);
$primary->start;
$primary->safe_psql('postgres', q{CREATE EXTENSION gamestate; INSERT INTO gamestate.policy (game_type, history) VALUES ('', 'events')});
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

# The statements, each a transaction, and what they answer the first time.
my @statements = (
	["SELECT gamestate.create_game('requests', '{}', '{ann}', game_id => '$given', status => 'waiting', request_id => '" . request(1) . "')", $given],
	["SELECT gamestate.create_game('requests', request_id => '$seven')", $seven],
	["SELECT gamestate.create_game('requests', '{\"by\": 4}', request_id => '" . request(2) . "')", undef],
	["SELECT gamestate.join_game('$given', 'bob', 1, '" . request(3) . "')", 2],
	["SELECT gamestate.set_metadata('$given', '{}', 2, '" . request(4) . "')", 3],
	["SELECT gamestate.set_room_code('$given', 'ROOM', 3, '" . request(5) . "')", 4],
	["SELECT gamestate.leave_game('$given', 'bob', 4, '" . request(6) . "')", 5],
	["SELECT gamestate.start_game('$given', 5, '" . request(7) . "')", 6],
	["SELECT gamestate.apply_move('$given', 6, '{}', '{\"s\": 1}', 'ann', request_id => '" . request(8) . "')", 7],
	["SELECT gamestate.apply_move('$given', NULL, '{}', '{\"s\": 2}', 'ann', request_id => '" . request(9) . "')", 8],
	["SELECT gamestate.create_game_bytes('requests', '\\x00', game_id => '$ended', request_id => '" . request(10) . "')", $ended],
	["SELECT gamestate.apply_move_bytes('$ended', 1, '\\x01', '\\x02', NULL, request_id => '" . request(11) . "')", 2],
	["SELECT gamestate.finish_game('$ended', request_id => '" . request(12) . "')", 3],
	["SELECT gamestate.create_game('requests', game_id => '$deleted', request_id => '" . request(13) . "')", $deleted],
	["SELECT gamestate.delete_game('$deleted', 1, '" . request(14) . "')", 't'],);

# retry($node, $what, $database): all of them once more
sub retry
{
	my ($node, $what, $database) = @_;
	$database //= 'postgres';
	my $count = 'SELECT (SELECT count(*) FROM gamestate.live_games) + (SELECT count(*) FROM gamestate.archive)';
	my $games = $node->safe_psql($database, $count);
	my $version = $node->safe_psql($database, "SELECT gamestate.get_version('$given')");

	my $answers = $node->safe_psql($database, join(';', map { $_->[0] } @statements));
	is($answers, join("\n", map { $_->[1] } @statements), "$what: the first answers");
	is($node->safe_psql($database, $count), $games, "$what: no game more");
	is($node->safe_psql($database, "SELECT gamestate.get_version('$given')"), $version, "$what: no change more");

	my ($rc, $out, $err) = $node->psql($database, "SELECT gamestate.set_metadata('$given', '{}', 3, '" . request(4) . "')",
		extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	like($err, qr/GS014/, "$what: GS014 for something else");
}

# keep the finished game in memory for the first retries
$primary->append_conf('postgresql.conf', 'gamestate.archiver = off');
$primary->reload;
for (@statements)
{
	my $answer = $primary->safe_psql('postgres', $_->[0]);
	$_->[1] //= $answer;
	is($answer, $_->[1], $_->[0]);
}
retry($primary, 'at once');

$primary->stop('immediate');
$primary->start;
retry($primary, 'after a crash');

# the log is all that a saved game has of its requests
$primary->safe_psql('postgres', 'SELECT gamestate.save_live_games()');
my $dump = $primary->backup_dir . '/dump.sql';
$primary->command_ok([ 'pg_dump', '-d', $primary->connstr('postgres'), '-f', $dump ], 'pg_dump');
$primary->safe_psql('postgres', 'CREATE DATABASE restored');
$primary->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-d', $primary->connstr('restored'), '-f', $dump ], 'restore');
$primary->safe_psql('restored', 'SELECT gamestate.load_saved_games()');
retry($primary, 'restored from a dump', 'restored');

# rotation writes images, and empties the table that has the requests themselves
$primary->append_conf('postgresql.conf', 'gamestate.archiver = on');
$primary->reload;
$primary->poll_query_until('postgres', "SELECT tier = 'archived' FROM gamestate.get_game('$ended')")
  or die 'timed out waiting for the archiver';
retry($primary, 'one of them archived');
$primary->safe_psql('postgres', q{SELECT gamestate.create_game('other', game_id => '27000000-0000-4000-8000-0000000000ff')});
my $rotated = 0;
for (1 .. 40)
{
	$primary->safe_psql('postgres', q{
DO $$ BEGIN FOR n IN 1 .. 60 LOOP
	PERFORM gamestate.apply_move('27000000-0000-4000-8000-0000000000ff', NULL, '0',
		(SELECT to_json(string_agg(md5(random()::text), '')) FROM generate_series(1, 600)));
	COMMIT;
END LOOP; END $$});
	$rotated = $primary->safe_psql('postgres', 'SELECT rotations FROM gamestate.stat_journal');
	last if $rotated > 0;
}
$primary->poll_query_until('postgres', 'SELECT rotations > 0 AND NOT rotating FROM gamestate.stat_journal') or die 'no rotation';
$primary->stop('immediate');
$primary->start;
retry($primary, 'after a rotation and a crash');

# a failover: what had been answered is answered by the standby
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
$primary->stop('immediate');
$standby->promote;
retry($standby, 'on a promoted standby');
is($standby->safe_psql('postgres', "SELECT gamestate.apply_move('$given', 8, '{}', NULL, 'ann', request_id => '" . request(20) . "')"),
	'9', 'and play goes on');
retry($standby, 'after another move');

# a restart later they are archived
$standby->safe_psql('postgres', "SELECT gamestate.finish_game('$given', '1', 9)");
$standby->poll_query_until('postgres', "SELECT tier = 'archived' FROM gamestate.get_game('$given')")
  or die 'timed out waiting for the archiver';
$standby->restart;
retry($standby, 'archived, after a restart');

# deleted games are forgotten after a time
$standby->append_conf('postgresql.conf', "gamestate.maintenance_interval = 100ms\ngamestate.deleted_retention = 0");
$standby->reload;
ok($standby->poll_query_until('postgres', 'SELECT count(*) = 0 FROM gamestate.deleted_games'), 'deleted games are forgotten');
is($standby->safe_psql('postgres', $statements[-1]->[0]), 'f', 'then a retry is a new request');

# and no request id is left in memory when there are no games
$standby->safe_psql('postgres', q{SELECT count(gamestate.apply_move(g.game_id, NULL, '0', NULL, NULL, request_id => gen_random_uuid())) FROM gamestate.live_games g, generate_series(1, 100) WHERE g.encoding = 'json'});
$standby->safe_psql('postgres', 'SELECT gamestate.delete_game(game_id) FROM gamestate.live_games');
ok($standby->poll_query_until('postgres', 'SELECT games = 0 AND archived_in_memory = 0 AND database_bytes = 0 FROM gamestate.stat_memory'),
	'all memory is given back');
$standby->stop;

done_testing();
