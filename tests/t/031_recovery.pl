# Base backup, point-in-time recovery and pg_rewind of servers on which games
# are being played.
#
# A layer of its own because servers are copied, recovered and promoted.

use strict;
use warnings;

use File::Copy;
use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use lib $FindBin::Bin;
use Players;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1, has_archiving => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 64MB
gamestate.journal_size = 16MB
max_worker_processes = 12
wal_log_hints = on
wal_keep_size = 1GB
log_statement = none
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION gamestate; CREATE EXTENSION amcheck;' . Players->setup_sql);

my $damage = q{SELECT count(*) FROM (SELECT * FROM verify_heapam('gamestate.journal_0')
	UNION ALL SELECT * FROM verify_heapam('gamestate.journal_1')) v};
# when the last move was made, in seconds from a time
my $last_move = q{SELECT extract(epoch FROM max((event #>> '{}')::timestamptz) - '%s')
	FROM gamestate.list_live_games() g, LATERAL gamestate.get_changes(g.game_id)};

# ---------------------------------------------------------------------------
note 'Base backup';

my $files = Players->files($node);
my $players = Players->start($node);
sleep(1.5);
$node->backup('during');
my $backup_ended = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
sleep(2);
my $target = $node->safe_psql('postgres', 'SELECT clock_timestamp()');

my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($node, 'during');
$copy->append_conf('postgresql.conf', 'archive_mode = off');
$copy->start;
is($copy->safe_psql('postgres', 'SELECT wrong()'), 'nothing', 'a base backup taken during play: nothing is wrong with its games');
is($copy->safe_psql('postgres', $damage), '0', 'nor with its journal');
my $late = $copy->safe_psql('postgres', sprintf($last_move, $backup_ended));
cmp_ok($late, '<', 0, 'they are as of its end, and play had gone on');
cmp_ok($late, '>', -10, 'not as of another time');
is($copy->safe_psql('postgres', 'CALL play(1, 0.2); SELECT wrong()'), 'nothing', 'play goes on in it');
$copy->stop;

# ---------------------------------------------------------------------------
note 'Point-in-time recovery';

sleep(1);
ok(Players->wait_for_rotations($node, $files), 'the journal has been rotated, twice');
is($players->finish, '', 'play went on meanwhile');
cmp_ok($node->safe_psql('postgres', sprintf($last_move, $target)), '>', 2, 'there are moves later than the target');
my $segment = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
$node->poll_query_until('postgres', "SELECT last_archived_wal >= '$segment' FROM pg_stat_archiver") or die 'timed out waiting for the archive';

my $past = PostgreSQL::Test::Cluster->new('past');
$past->init_from_backup($node, 'during', has_restoring => 1, standby => 0);
$past->append_conf('postgresql.conf', "recovery_target_time = '$target'\nrecovery_target_action = promote\narchive_mode = off");
$past->start;
$past->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'timed out waiting for the end of recovery';
is($past->safe_psql('postgres', 'SELECT wrong()'), 'nothing', 'recovered to a time during play: nothing is wrong with the games');
is($past->safe_psql('postgres', $damage), '0', 'nor with the journal');
$late = $past->safe_psql('postgres', sprintf($last_move, $target));
cmp_ok($late, '<', 1.5, 'no moves later than the target');
cmp_ok($late, '>', -1.5, 'but those before it');
is($past->safe_psql('postgres', 'CALL play(1, 0.2); SELECT wrong()'), 'nothing', 'play goes on from there');
my $before = $past->safe_psql('postgres', 'SELECT all_games()');
$past->stop('immediate');
$past->start;
is($past->safe_psql('postgres', 'SELECT all_games()'), $before, 'also after a crash');
$past->stop;

# ---------------------------------------------------------------------------
note 'pg_rewind';

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'during', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'archive_mode = off');
$standby->start;
$node->wait_for_catchup($standby);
$players = Players->start($node);
sleep(1);
$standby->promote;
sleep(1);
is($players->finish, '', 'the old primary has not noticed the promotion: its games go on');
$node->stop('fast');
$files = Players->files($standby);
$players = Players->start($standby);
ok(Players->wait_for_rotations($standby, $files), 'the journal of the new one is rotated, twice');
is($players->finish, '', 'and games go on there');
is($standby->safe_psql('postgres', 'SELECT wrong()'), 'nothing', 'the games of the new one');
$standby->safe_psql('postgres', 'CHECKPOINT');

my $conf = $node->data_dir . '/postgresql.conf';
copy($conf, $node->basedir . '/saved.conf') or die;
command_ok([ 'pg_rewind', '--no-sync', '--target-pgdata', $node->data_dir, '--source-server', $standby->connstr('postgres') ], 'pg_rewind');
copy($node->basedir . '/saved.conf', $conf) or die;
$node->enable_streaming($standby);
$node->append_conf('postgresql.conf', 'archive_mode = off');
$node->start;
is($standby->safe_psql('postgres', 'CALL play(1, 0.5); SELECT wrong()'), 'nothing', 'play goes on');
$standby->wait_for_catchup($node);
is($node->safe_psql('postgres', $damage), '0', 'the journal of the old primary, now a standby');
$before = $standby->safe_psql('postgres', 'SELECT all_games()');
$standby->stop;
$node->promote;
is($node->safe_psql('postgres', 'SELECT all_games()'), $before, 'it has the games of the other one, when it is promoted back');
is($node->safe_psql('postgres', 'CALL play(1, 0.2); SELECT wrong()'), 'nothing', 'and play goes on');
$node->stop;

foreach my $server ($node, $copy, $past, $standby)
{
	unlike(slurp_file($server->logfile), qr/PANIC|TRAP|terminated by signal|damaged row|cannot be loaded|is loaded as of/, $server->name . ': no crash, no damage');
}

done_testing();
