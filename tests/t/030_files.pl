# What a DBA does to the journal's tables while games are played: vacuum them in
# all ways, rewrite and move them, while a standby follows and every page that
# it makes is compared.  What is refused stands in sql/journal_tables.sql.
#
# A layer of its own because it needs a standby, a tablespace, and servers that
# are stopped so that their files can be checked.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use lib $FindBin::Bin;
use Players;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1, extra => ['-k']);
# ours neither first nor last
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'pg_stat_statements, gamestate, auto_explain'
gamestate.memory = 64MB
gamestate.journal_size = 16MB
wal_consistency_checking = all
max_worker_processes = 12
max_wal_size = 256MB
wal_keep_size = 4GB
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_nested_statements = on
autovacuum_naptime = 1s
log_statement = none
log_autovacuum_min_duration = 0
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION gamestate; CREATE EXTENSION amcheck; CREATE EXTENSION pg_stat_statements;' . Players->setup_sql);
# not all of them: the players call functions thousands of times a second
$node->append_conf('postgresql.conf', "auto_explain.sample_rate = 0.01\n");
$node->reload;

$node->backup('start');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'start', has_streaming => 1);
$standby->start;

$node->safe_psql('postgres', "SET allow_in_place_tablespaces = on; CREATE TABLESPACE elsewhere LOCATION ''");

# ---------------------------------------------------------------------------
note 'While games are played';

my $players = Players->start($node);
my $until = time() + 10;
my $n = 0;
$node->safe_psql('postgres', "ALTER TABLE gamestate.$_ SET (autovacuum_enabled = on, autovacuum_vacuum_threshold = 0,
	autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1, autovacuum_vacuum_insert_scale_factor = 0,
	autovacuum_analyze_threshold = 1, autovacuum_analyze_scale_factor = 0)") foreach 'journal_0', 'journal_1';
my %failed;
my @commands = (
	'VACUUM %s', 'ANALYZE %s', 'VACUUM (FREEZE) %s', 'VACUUM (DISABLE_PAGE_SKIPPING, TRUNCATE) %s', 'VACUUM FULL %s',
	'ALTER TABLE %s SET TABLESPACE elsewhere', 'VACUUM (FULL, FREEZE, ANALYZE) %s', 'ALTER TABLE %s SET TABLESPACE pg_default',
	'SELECT count(*) FROM %s', 'CHECKPOINT', 'BEGIN; LOCK TABLE %s; COMMIT');
my %done;
while (time() < $until)
{
	foreach my $command (@commands)
	{
		my $table = 'gamestate.journal_' . ($n++ % 2);
		my ($rc, $out, $err) = $node->psql('postgres', sprintf($command, $table));
		$failed{$command} = $err if $rc != 0;
		$done{$command}++;
		last if time() >= $until && $n > @commands * 2;
	}
}
is($players->finish, '', 'nobody who played has noticed anything');
foreach my $command (@commands)
{
	is($failed{$command}, undef, "$command, $done{$command} times");
}
is($node->safe_psql('postgres', 'SELECT wrong()'), 'nothing', 'nothing is wrong with the games');
# it may have been kept away so far by all these locks, and must have something to do:
# rows of light commits are not in PostgreSQL's statistics
foreach (1 .. 200)
{
	last if $node->safe_psql('postgres', q{SET gamestate.light_commit = off;
		SELECT gamestate.create_game('autovacuum', game_id => '30303030-0000-4000-8000-000000000000');
		SELECT gamestate.delete_game('30303030-0000-4000-8000-000000000000');
		SELECT sum(autovacuum_count) > 0 FROM pg_stat_all_tables WHERE schemaname = 'gamestate' AND relname LIKE 'journal_%'}) =~ /\nt$/;
	sleep 0.5;
}
is($node->safe_psql('postgres', q{SELECT sum(autovacuum_count) > 0 FROM pg_stat_all_tables WHERE schemaname = 'gamestate' AND relname LIKE 'journal_%'}),
	't', 'autovacuum has been there, too');
is($node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT * FROM verify_heapam('gamestate.journal_0') UNION ALL SELECT * FROM verify_heapam('gamestate.journal_1')) v}),
	'0', 'verify_heapam finds nothing');
is($node->safe_psql('postgres', q{SELECT count(*) > 0 FROM pg_stat_statements WHERE query LIKE '%apply_move%' AND calls > 100 OR query LIKE 'CALL play%'}), 't', 'pg_stat_statements has counted');
ok($node->log_contains(qr/Query Text:\s+SELECT gamestate\.apply_move/), 'auto_explain has explained');
ok($node->log_contains(qr/automatic vacuum of table "postgres\.gamestate\.journal_/), 'and the log tells of autovacuum');

# ---------------------------------------------------------------------------
note 'After a crash, and on the standby';

my $before = $node->safe_psql('postgres', 'SELECT all_games()');
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', 'SELECT all_games()'), $before, 'all games are there after a crash');
$node->command_ok([ 'pg_amcheck', '-h', $node->host, '-p', $node->port, '-d', 'postgres', '-s', 'gamestate' ], 'pg_amcheck');
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT count(*) FROM (SELECT * FROM verify_heapam('gamestate.journal_0') UNION ALL SELECT * FROM verify_heapam('gamestate.journal_1')) v}),
	'0', 'verify_heapam finds nothing on the standby');
$node->stop;
$standby->promote;
is($standby->safe_psql('postgres', 'SELECT all_games()'), $before, 'and on the standby, when it is promoted');
is($standby->safe_psql('postgres', 'CALL play(1, 0.2); SELECT wrong()'), 'nothing', 'where play goes on');
$standby->stop;
foreach my $server ($node, $standby)
{
	unlike(slurp_file($server->logfile), qr/inconsistent page|PANIC|TRAP|terminated by signal/, $server->name . ': no inconsistent page, no crash');
	$server->command_ok([ 'pg_checksums', '--check', '-D', $server->data_dir ], $server->name . ': pg_checksums');
}

done_testing();
