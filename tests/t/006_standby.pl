# A hot standby with the library: it follows, answers for live and for archived
# games, refuses writes with 25006, and play goes on there after its promotion.
#
# A layer of its own because it needs two servers.  What following means in
# detail is 024_standby_follow.pl's.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $game = '60060000-0000-4000-8000-000000000001';
my $live = '60060000-0000-4000-8000-000000000002';

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 16MB
});
$primary->start;
$primary->safe_psql('postgres', qq{
CREATE EXTENSION gamestate;
SELECT gamestate.create_game('standby', '{"n": 1}', '{ann}', 'ROOM', game_id => '$game');
SELECT gamestate.apply_move('$game', 1, '{"m": 1}', '{"n": 2}', 'ann');
SELECT gamestate.finish_game('$game', '"over"');});
$primary->poll_query_until('postgres', 'SELECT count(*) = 1 FROM gamestate.archive') or die 'timed out waiting for the archiver';

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
$primary->safe_psql('postgres', qq{SELECT gamestate.finish_game(gamestate.create_game('standby'));
SELECT gamestate.create_game('standby', '{"live": 1}', '{ann,bob}', 'LIVE', '{"meta": 1}', '$live');
SELECT gamestate.apply_move('$live', 1, '{"m": 1}', '{"live": 2}', 'ann');});
$primary->poll_query_until('postgres', 'SELECT count(*) = 2 FROM gamestate.archive') or die 'timed out waiting for the archiver';
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('write'));

# error($statement): its SQLSTATE
sub error
{
	my ($rc, $out, $err) = $standby->psql('postgres', $_[0], extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return $rc == 0 ? 'none' : $err =~ /ERROR:  (\w+)/ ? $1 : $err;
}

# same($query, $what): both servers answer alike, and not with nothing
sub same
{
	my ($query, $what) = @_;
	my $answer = $primary->safe_psql('postgres', $query);

	isnt($answer, '', "$what: an answer");
	is($standby->safe_psql('postgres', $query), $answer, $what);
}

is($standby->safe_psql('postgres', q{SELECT count(*) FROM gamestate.archive}), '2', 'the archive follows');
is($standby->safe_psql('postgres', qq{SELECT tier, state, result, version FROM gamestate.get_game('$game')}),
	'archived|{"n": 2}|"over"|3', 'get_game answers from it');
is($standby->safe_psql('postgres', qq{SELECT string_agg(kind, ' ' ORDER BY version) FROM gamestate.get_changes('$game')}),
	'create move finish', 'get_changes, too');
same(qq{SELECT gamestate.get_state('$live')}, 'get_state');
same(qq{SELECT gamestate.get_version('$live')}, 'get_version');
same(qq{SELECT * FROM gamestate.get_game('$live')}, 'get_game');
same(qq{SELECT * FROM gamestate.get_changes('$live')}, 'get_changes');
same(q{SELECT gamestate.find_room('LIVE')}, 'find_room');
same(q{SELECT gamestate.player_games('bob')}, 'player_games');
same(q{SELECT * FROM gamestate.list_live_games()}, 'list_live_games');
same(q{SELECT * FROM gamestate.live_games}, 'live_games');
same(q{SELECT * FROM gamestate.games ORDER BY game_id}, 'games');
same(q{SELECT * FROM gamestate.archived_games ORDER BY game_id}, 'archived_games');
same(q{SELECT games, archive_queue FROM gamestate.stat_memory}, 'stat_memory');
is($standby->safe_psql('postgres', q{SELECT gamestate.get_version(gen_random_uuid()) IS NULL, gamestate.find_room('ROOM') IS NULL}),
	't|t', 'what does not exist does not exist there');
foreach my $write (
	q{create_game('standby')}, q{create_game_bytes('standby')},
	qq{apply_move('$live', NULL, '1', NULL)}, qq{apply_move_bytes('$live', NULL, '1', NULL)},
	qq{set_metadata('$live', '1')}, qq{set_room_code('$live', NULL)}, qq{start_game('$live')},
	qq{join_game('$live', 'p')}, qq{leave_game('$live', 'p')}, qq{finish_game('$live')}, qq{delete_game('$live')})
{
	is(error("SELECT gamestate.$write"), '25006', "$write: 25006");
}
is(error(q{BEGIN; SELECT gamestate.create_game('standby')}), '25006', 'also in a transaction block');
is($primary->safe_psql('postgres', 'SELECT count(*) FROM gamestate.stat_standby'), '0', 'stat_standby has no row on a primary');
is($standby->safe_psql('postgres', qq{SELECT kind, state FROM gamestate.stat_workers ORDER BY kind}),
	"follower|running\nlauncher|running", 'the workers of a standby');

$standby->append_conf('postgresql.conf', 'gamestate.standby_reads = off');
$standby->reload;
$standby->poll_query_until('postgres', q{SELECT state = 'off' AND applied_lsn IS NULL FROM gamestate.stat_standby}) or die 'timed out waiting for the follower to leave';
is(error(qq{SELECT gamestate.get_version('$live')}), '0A000', 'switched off: no live games');
is($standby->safe_psql('postgres', qq{SELECT gamestate.get_version('$game')}), '3', 'but archived ones');
is($standby->safe_psql('postgres', 'SELECT database_bytes FROM gamestate.stat_memory'), '0', 'and their memory is free');
$standby->append_conf('postgresql.conf', 'gamestate.standby_reads = on');
$standby->reload;
$standby->poll_query_until('postgres', q{SELECT state = 'following' FROM gamestate.stat_standby}) or die 'timed out waiting for the follower';
is($standby->safe_psql('postgres', qq{SELECT gamestate.get_version('$live')}), '2', 'switched on again');

$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'timed out waiting for promotion';
is($standby->safe_psql('postgres', q{SELECT gamestate.get_state(gamestate.find_room('LIVE'))}), '{"live": 2}',
	'after the promotion the running games are there');
$standby->safe_psql('postgres', q{
SELECT gamestate.create_game('standby', room_code => 'NEW');
SELECT gamestate.apply_move(gamestate.find_room('NEW'), 1, '1', '2');
SELECT gamestate.finish_game(gamestate.find_room('NEW'));});
is($standby->poll_query_until('postgres', 'SELECT count(*) = 3 FROM gamestate.archive'), 1, 'after the promotion a game is played and archived');
is(error(qq{SELECT gamestate.create_game('standby', game_id => '$game')}), 'GS005', 'archived ids stay taken');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM gamestate.stat_standby'), '0', 'stat_standby has no row any more');

$standby->stop;
$primary->stop;
done_testing();
