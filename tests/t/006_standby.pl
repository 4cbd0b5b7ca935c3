# A hot standby with the library: it follows, answers from the archive,
# refuses writes with 25006, and play goes on there after its promotion.
#
# A layer of its own because it needs two servers.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $game = '60060000-0000-4000-8000-000000000001';

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
$primary->safe_psql('postgres', q{SELECT gamestate.finish_game(gamestate.create_game('standby'));
SELECT gamestate.create_game('standby', '{"live": 1}', room_code => 'LIVE')});
$primary->poll_query_until('postgres', 'SELECT count(*) = 2 FROM gamestate.archive') or die 'timed out waiting for the archiver';
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('write'));

# error($statement): its SQLSTATE
sub error
{
	my ($rc, $out, $err) = $standby->psql('postgres', $_[0], extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return $rc == 0 ? 'none' : $err =~ /ERROR:  (\w+)/ ? $1 : $err;
}

is($standby->safe_psql('postgres', q{SELECT count(*) FROM gamestate.archive}), '2', 'the archive follows');
is($standby->safe_psql('postgres', qq{SELECT tier, state, result, version FROM gamestate.get_game('$game')}),
	'archived|{"n": 2}|"over"|3', 'get_game answers from it');
is($standby->safe_psql('postgres', qq{SELECT string_agg(kind, ' ' ORDER BY version) FROM gamestate.get_changes('$game')}),
	'create move finish', 'get_changes, too');
foreach my $read (q{get_version(gen_random_uuid())}, q{get_state(gen_random_uuid())}, q{get_game(gen_random_uuid())},
	q{get_changes(gen_random_uuid())}, q{find_room('ROOM')}, q{player_games('ann')}, q{list_live_games()})
{
	is(error("SELECT gamestate.$read"), '0A000', "$read: cannot know");
}
foreach my $write (
	q{create_game('standby')}, q{create_game_bytes('standby')},
	qq{apply_move('$game', NULL, '1', NULL)}, qq{apply_move_bytes('$game', NULL, '1', NULL)},
	qq{set_metadata('$game', '1')}, qq{set_room_code('$game', NULL)}, qq{start_game('$game')},
	qq{join_game('$game', 'p')}, qq{leave_game('$game', 'p')}, qq{finish_game('$game')}, qq{delete_game('$game')})
{
	is(error("SELECT gamestate.$write"), '25006', "$write: 25006");
}
is(error(q{BEGIN; SELECT gamestate.create_game('standby')}), '25006', 'also in a transaction block');

$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'timed out waiting for promotion';
is($standby->safe_psql('postgres', q{SELECT gamestate.get_state(gamestate.find_room('LIVE'))}), '{"live": 1}',
	'after the promotion the running games are there');
$standby->safe_psql('postgres', q{
SELECT gamestate.create_game('standby', room_code => 'NEW');
SELECT gamestate.apply_move(gamestate.find_room('NEW'), 1, '1', '2');
SELECT gamestate.finish_game(gamestate.find_room('NEW'));});
is($standby->poll_query_until('postgres', 'SELECT count(*) = 3 FROM gamestate.archive'), 1, 'after the promotion a game is played and archived');
is(error(qq{SELECT gamestate.create_game('standby', game_id => '$game')}), 'GS005', 'archived ids stay taken');

$standby->stop;
$primary->stop;
done_testing();
