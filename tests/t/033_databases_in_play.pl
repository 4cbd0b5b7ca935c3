# Databases and clusters that are copied, moved, dropped and upgraded with their
# running games, and commands that come while games are played.
#
# A layer of its own because databases cannot be copied or dropped from within,
# and pg_upgrade needs two clusters.  011_database_commands.pl is about the
# workers that have to leave for such commands.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use lib $FindBin::Bin;
use Players;

my $conf = q{
shared_preload_libraries = '%s'
gamestate.memory = 64MB
gamestate.journal_size = 16MB
max_worker_processes = 16
log_statement = none
};
my $old = PostgreSQL::Test::Cluster->new('old');
$old->init;
$old->append_conf('postgresql.conf', sprintf($conf, 'gamestate'));
$old->start;
$old->safe_psql('postgres', "CREATE DATABASE $_") foreach 'hall', 'gone';
$old->safe_psql($_, 'CREATE EXTENSION gamestate;' . Players->setup_sql) foreach 'hall', 'gone';

sub fails_with
{
	my ($name, $db, $sql, $pattern) = @_;
	my ($rc, $out, $err) = $old->psql($db, "\\set VERBOSITY verbose\n$sql");
	like($err, $pattern, $name);
	return;
}

# ---------------------------------------------------------------------------
note 'While games are played';

# PostgreSQL waits 5 s for the others to leave before it gives up.
my $players = Players->start($old, 'hall');
fails_with('CREATE DATABASE ... TEMPLATE while players are connected', 'postgres', 'CREATE DATABASE copy TEMPLATE hall',
	qr/ERROR:  55006: source database "hall" is being accessed by other users/);
fails_with('SET TABLESPACE', 'postgres', 'ALTER DATABASE hall SET TABLESPACE pg_default; ALTER DATABASE hall RENAME TO other',
	qr/ERROR:  55006: database "hall" is being accessed by other users/);
fails_with('DROP EXTENSION', 'hall', 'DROP EXTENSION gamestate', qr/ERROR:  2BP01: cannot drop extension gamestate because it has games/);
is($players->finish, '', 'those who played have not noticed');
is($old->safe_psql('hall', 'SELECT wrong()'), 'nothing', 'nothing is wrong with the games');

# with permission it waits for nobody longer than for a transaction
$players = Players->start($old, 'gone');
sleep(1);
is(($old->psql('gone', 'SELECT gamestate.allow_drop_extension(); DROP EXTENSION gamestate'))[0], 0, 'DROP EXTENSION with permission while games are played');
like($players->ended, qr/ERROR:  (?:table gamestate\.journal_\d does not exist|the games of this database have been removed|function gamestate\.\S+ does not exist|schema "gamestate" does not exist)/, 'players get an error');
$old->safe_psql('gone', 'CREATE EXTENSION gamestate; INSERT INTO gamestate.policy (game_type, history) VALUES ($$files$$, $$events$$); SELECT gamestate.create_game($$files$$, $${"n": 0}$$, game_id => id(i)) FROM generate_series(1, 20) i');
is($old->safe_psql('gone', 'CALL play(1, 0.2); SELECT wrong()'), 'nothing', 'with a new extension play goes on, with new games');
$players = Players->start($old, 'gone');
sleep(0.5);
$old->safe_psql('postgres', 'DROP DATABASE gone WITH (FORCE)');
like($players->ended, qr/terminating connection due to administrator command/, 'DROP DATABASE ... FORCE while games are played');
is($old->safe_psql('hall', q{SELECT used_bytes = database_bytes FROM gamestate.stat_memory}), 't', 'nothing of it is left in memory');

# ---------------------------------------------------------------------------
note 'Copies';

my $hall = $old->safe_psql('hall', 'SELECT all_games()');
foreach my $strategy ('wal_log', 'file_copy')
{
	$old->safe_psql('postgres', "CREATE DATABASE $strategy TEMPLATE hall STRATEGY $strategy");
	is($old->safe_psql($strategy, 'SELECT all_games()'), $hall, "STRATEGY $strategy: the copy has the same games");
}
$old->safe_psql('wal_log', 'CALL play(1, 0.3)');
$old->safe_psql('file_copy', 'CALL play(11, 0.3)');
my %copy = map { $_ => $old->safe_psql($_, 'SELECT all_games()') } 'wal_log', 'file_copy';
is($old->safe_psql('hall', 'SELECT all_games()'), $hall, 'what is played in the copies does not concern the template');
isnt($copy{wal_log}, $copy{file_copy}, 'nor the other copy');
$old->safe_psql('postgres', "SET allow_in_place_tablespaces = on; CREATE TABLESPACE elsewhere LOCATION ''");
$old->safe_psql('postgres', 'ALTER DATABASE hall SET TABLESPACE elsewhere');
is($old->safe_psql('hall', 'SELECT all_games()'), $hall, 'SET TABLESPACE with running games');
$old->stop('immediate');
$old->start;
is($old->safe_psql('hall', 'SELECT all_games()'), $hall, 'the games of each are there after a crash: the template');
is($old->safe_psql($_, 'SELECT all_games()'), $copy{$_}, "STRATEGY $_") foreach 'wal_log', 'file_copy';
$old->safe_psql('postgres', 'ALTER DATABASE hall SET TABLESPACE pg_default; ALTER DATABASE hall RENAME TO palace; DROP DATABASE file_copy');
# pg_upgrade does not know tablespaces in place
$old->safe_psql('postgres', 'DROP TABLESPACE elsewhere');
my %before = map { $_ => $old->safe_psql($_, 'CALL play(1, 0.3); SELECT all_games()') } 'palace', 'wal_log';

# ---------------------------------------------------------------------------
note 'pg_upgrade';

$old->stop;
my $new = PostgreSQL::Test::Cluster->new('new');
$new->init;
$new->append_conf('postgresql.conf', sprintf($conf, 'gamestate, pg_stat_statements, auto_explain'));
my $bindir = $new->config_data('--bindir');
my @upgrade = (
	'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $bindir, '-B', $bindir,
	'-s', $new->host, '-p', $old->port, '-P', $new->port);
chdir $PostgreSQL::Test::Utils::tmp_check or die;
command_ok([ @upgrade, '--check' ], 'pg_upgrade --check');
command_ok([@upgrade], 'pg_upgrade');
$new->start;
foreach my $db (sort keys %before)
{
	is($new->safe_psql($db, 'SELECT all_games()'), $before{$db}, "$db: the games are there");
	is($new->safe_psql($db, 'CALL play(1, 0.3); SELECT wrong()'), 'nothing', 'and are played on');
	is($new->safe_psql($db, q{SELECT count(*) FROM pg_trigger WHERE tgname = 'keep_out_replicated_rows' AND tgenabled = 'R'}), '2', 'with all that belongs to the tables');
	is($new->safe_psql($db, q{SELECT count(*) FROM pg_class WHERE oid IN ('gamestate.journal_0'::regclass, 'gamestate.journal_1'::regclass) AND reltoastrelid = 0}), '2', 'and nothing else');
	is($new->safe_psql($db, q{CREATE EXTENSION amcheck; SELECT count(*) FROM (SELECT * FROM verify_heapam('gamestate.journal_0')
		UNION ALL SELECT * FROM verify_heapam('gamestate.journal_1')) v}), '0', 'amcheck');
	$before{$db} = $new->safe_psql($db, 'SELECT all_games()');
}
$new->safe_psql('palace', 'VACUUM FULL gamestate.journal_0; VACUUM FULL gamestate.journal_1; CREATE EXTENSION pg_stat_statements');
$new->stop('immediate');
$new->start;
is($new->safe_psql($_, 'SELECT all_games()'), $before{$_}, "$_: after a crash, too") foreach sort keys %before;
is($new->safe_psql('palace', q{SELECT gamestate.finish_game(id(1)) > 0}), 't', 'a game is finished');
ok($new->poll_query_until('palace', 'SELECT count(*) = 1 FROM gamestate.archive'), 'and archived');
$new->stop;

foreach my $server ($old, $new)
{
	unlike(slurp_file($server->logfile), qr/PANIC|TRAP|terminated by signal|damaged row|cannot be loaded|is loaded as of/, $server->name . ': no crash, no damage');
}

done_testing();
