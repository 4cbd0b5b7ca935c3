# A subscription to all tables of a database in which games are played: nothing
# of the journal is sent, nothing of it gets into the subscriber's own, and
# rotations do not disturb it.
#
# A layer of its own because it needs two servers with wal_level = logical.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib $FindBin::Bin;
use Players;

my $conf = q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 64MB
gamestate.journal_size = 16MB
max_worker_processes = 16
max_wal_size = 256MB
log_statement = none
};
my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->append_conf('postgresql.conf', $conf);
$publisher->start;
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init(allows_streaming => 'logical');
$subscriber->append_conf('postgresql.conf', $conf);
$subscriber->start;

$publisher->safe_psql('postgres', 'CREATE EXTENSION gamestate; CREATE TABLE wallet (id int PRIMARY KEY, coins int);'
	. Players->setup_sql . q{
	INSERT INTO wallet VALUES (1, 0);
	SELECT gamestate.finish_game(gamestate.create_game('over'));
	CREATE PUBLICATION everything FOR ALL TABLES WITH (publish_via_partition_root);
	SELECT pg_create_logical_replication_slot('watch', 'test_decoding')});
$publisher->poll_query_until('postgres', 'SELECT count(*) = 1 FROM gamestate.archive') or die 'timed out waiting for the archiver';
# The subscriber has its own games.
$subscriber->safe_psql('postgres', q{CREATE EXTENSION gamestate;
	CREATE TABLE wallet (id int PRIMARY KEY, coins int); CREATE TABLE halt (now int);
	CREATE TABLE gamestate_partitions.replicated PARTITION OF gamestate.archive DEFAULT;
	CREATE TABLE gamestate_partitions.replicated_payload PARTITION OF gamestate.archive_payload DEFAULT;
	SELECT gamestate.create_game('own', '"own"') FROM generate_series(1, 3)});
my $own = $subscriber->safe_psql('postgres', 'SELECT string_agg(g::text, $$,$$ ORDER BY g.game_id) FROM gamestate.list_live_games() g');
my $own_rows = q{SELECT count(*) FROM (SELECT FROM gamestate.journal_0 UNION ALL SELECT FROM gamestate.journal_1) j};
my $rows = $subscriber->safe_psql('postgres', $own_rows);

my $files = Players->files($publisher);
my $players = Players->start($publisher);
my $connstr = $publisher->connstr . ' dbname=postgres';
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION '$connstr' PUBLICATION everything");
$subscriber->wait_for_subscription_sync($publisher, 's');
pass('all tables are synchronised while games are played');
is($subscriber->safe_psql('postgres', $own_rows), $rows, q{no row of the publisher's journal is in the subscriber's});
is($subscriber->safe_psql('postgres', 'SELECT coins FROM wallet'), '0', 'ordinary tables are copied');
is($subscriber->safe_psql('postgres', q{SELECT count(*) FROM gamestate.archived_games WHERE game_type = 'over'}), '1', 'so is the archive');

ok(Players->wait_for_rotations($publisher, $files), 'the journal is rotated, twice');
$publisher->safe_psql('postgres', 'UPDATE wallet SET coins = coins + 1; VACUUM FULL gamestate.journal_0');
$publisher->safe_psql('postgres', q{SELECT gamestate.finish_game(gamestate.create_game('over'))});
$publisher->safe_psql('postgres', q{SELECT gamestate.finish_game(gamestate.create_game('another'))});
$publisher->poll_query_until('postgres', 'SELECT count(*) = 3 FROM gamestate.archive') or die 'timed out waiting for the archiver';
is($players->finish, '', 'play went on meanwhile');
is($publisher->safe_psql('postgres', 'SELECT wrong()'), 'nothing', 'nothing is wrong with the games');
$publisher->wait_for_catchup('s');
is($subscriber->safe_psql('postgres', 'SELECT coins FROM wallet'), '1', 'replication goes on');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM gamestate.archive'), '3', 'games are in both archives when they are over');
is($subscriber->safe_psql('postgres', 'SELECT apply_error_count, sync_error_count FROM pg_stat_subscription_stats'), '0|0', 'there never was an error');
is($subscriber->safe_psql('postgres', $own_rows), $rows, 'nothing of the journal has come');
is($publisher->safe_psql('postgres', q{SELECT count(*) FILTER (WHERE data ~ 'journal'), count(*) > 0 FROM pg_logical_slot_get_changes('watch', NULL, NULL)}),
	'0|t', 'and nothing of it was decoded');

# The same with the journal of the subscriber: its own games, and only these
$subscriber->stop('immediate');
$subscriber->start;
is($subscriber->safe_psql('postgres', 'SELECT string_agg(g::text, $$,$$ ORDER BY g.game_id) FROM gamestate.list_live_games() g'), $own,
	'after a crash the subscriber has its own games, and no others');
is($subscriber->safe_psql('postgres', q{SELECT gamestate.apply_move(game_id, 1, '1', '2') FROM gamestate.list_live_games() LIMIT 1}), '2', 'which are played on');
$publisher->safe_psql('postgres', 'UPDATE wallet SET coins = coins + 1');
$publisher->wait_for_catchup('s');
is($subscriber->safe_psql('postgres', 'SELECT coins FROM wallet'), '2', 'replication goes on');

# By hand nobody gets past the trigger's setting either, and with permission it lets pass
my ($rc, $out, $err) = $subscriber->psql('postgres', 'SET session_replication_role = replica; DELETE FROM gamestate.journal_0');
like($err, qr/permission denied: "journal_0" is a journal table/, 'session_replication_role opens nothing');
is($subscriber->safe_psql('postgres', q{BEGIN; SET LOCAL session_replication_role = replica; SET LOCAL gamestate.allow_journal_changes = on;
	INSERT INTO gamestate.journal_0 VALUES (1, 0, 1, '') RETURNING seq; ROLLBACK}), '1', 'with permission a repair is possible');

# TRUNCATE of the publisher's journal by hand is sent: it must not empty the subscriber's
$publisher->safe_psql('postgres', q{SET gamestate.allow_journal_changes = on; TRUNCATE gamestate.journal_0, gamestate.journal_1});
$subscriber->poll_query_until('postgres', 'SELECT apply_error_count > 0 FROM pg_stat_subscription_stats') or die 'timed out waiting for the error';
like(slurp_file($subscriber->logfile), qr/cannot replicate TRUNCATE of "journal_\d"/, 'TRUNCATE of the journal by hand is an error there');
is($subscriber->safe_psql('postgres', $own_rows), $rows + 1, 'and empties nothing');

$subscriber->stop;
$publisher->stop('immediate');
foreach my $server ($publisher, $subscriber)
{
	unlike(slurp_file($server->logfile), qr/PANIC|TRAP|terminated by signal|damaged row|cannot be loaded|is loaded as of/, $server->name . ': no crash, no damage');
}

done_testing();
