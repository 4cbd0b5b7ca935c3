# Launcher and archivers: they come with the extension and go with it, come
# back when they are killed, and say so when there is no room for them.
#
# A layer of its own because processes are killed and settings that need a
# restart are changed.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FindBin;
use lib $FindBin::Bin;
use Patient;
use Test::More;
use Time::HiRes qw(time sleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 16MB
max_worker_processes = 12
max_connections = 20
restart_after_crash = on
log_statement = none
});
$node->start;

# wait_for(DATABASE, QUERY, NAME): a test that the query becomes true
sub wait_for
{
	my ($db, $query, $name) = @_;
	is($node->poll_query_until($db, "SELECT coalesce(bool_or(x), false) FROM ($query) AS q(x)"), 1, $name);
}

# archiver(DATABASE): pid of its archiver, when it runs
sub archiver
{
	my ($db) = @_;
	for (1 .. 300)
	{
		my $pid = $node->safe_psql($db, q{SELECT pid FROM gamestate.stat_workers WHERE database = current_database() AND state = 'running' AND kind = 'archiver'});
		return $pid if $pid ne '';
		sleep(0.05);
	}
	die "no archiver in $db";
}

# play(DATABASE, TYPE): a whole game; returns its id
sub play
{
	my ($db, $type) = @_;
	my $id = $node->safe_psql($db, "SELECT gamestate.create_game('$type', '{}', '{ann}')");
	$node->safe_psql($db, qq{SELECT gamestate.apply_move('$id', 1, '1', '{"n": 1}', 'ann'), gamestate.finish_game('$id', '"won"')});
	return $id;
}

sub is_archived
{
	my ($db, $id, $name) = @_;
	wait_for($db, "SELECT count(*) = 1 FROM gamestate.archive JOIN gamestate.archive_payload USING (game_id) WHERE game_id = '$id'", $name);
}

# Start and stop with the extension
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'gamestate launcher'}), '1', 'a launcher runs');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'gamestate archiver' AND datname IS NOT NULL}), '0',
	'no archiver stays in a database without the extension');
$node->safe_psql('postgres', q{CREATE EXTENSION gamestate; SELECT gamestate.create_game('now', room_code => 'NOW')});
is($node->safe_psql('postgres', q{SELECT gamestate.find_room('NOW') IS NOT NULL}), 't', 'games work at once');
my $pid = archiver('postgres');
is($node->safe_psql('postgres', qq{SELECT usename, application_name FROM pg_stat_activity WHERE pid = $pid}), 'postgres|gamestate archiver',
	'the archiver names itself');
is_archived('postgres', play('postgres', 'a'), 'the first game is archived');
my $start = time();
my $id = play('postgres', 'a');
is_archived('postgres', $id, 'the second too');
is($node->safe_psql('postgres', q{SELECT kind, state, batches >= 2, games, failures, games_set_aside, compressed_bytes > 0 AND raw_bytes > 0,
	last_error IS NULL FROM gamestate.stat_workers WHERE kind = 'archiver'}), 'archiver|running|t|2|0|0|t|t', 'statistics');
wait_for('postgres', 'SELECT archived_in_memory = 0 FROM gamestate.stat_memory', 'archived games leave memory');

# A session that sleeps until the archiver is done sees how fast it is.
is($node->safe_psql('postgres', q{
	DO $$
	DECLARE id uuid; t timestamptz;
	BEGIN
		id := gamestate.create_game('a'); COMMIT;
		PERFORM gamestate.finish_game(id); COMMIT;
		t := clock_timestamp();
		WHILE NOT EXISTS (SELECT FROM gamestate.archive WHERE game_id = id) LOOP
			PERFORM pg_sleep(0.005); COMMIT;
		END LOOP;
		IF clock_timestamp() - t > '2 s' THEN
			RAISE EXCEPTION 'took %', clock_timestamp() - t;
		END IF;
	END $$}), '', 'a game is archived at once, not when a timer says so');

# The archiver has no superuser's rights, whatever runs in it.
$node->safe_psql('postgres', q{
	CREATE TABLE rights (who name, session name, path text, super text);
	GRANT INSERT ON rights TO gamestate_owner;
	CREATE FUNCTION note_rights() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.rights VALUES (current_user, session_user, current_setting('search_path'), current_setting('is_superuser'));
		SET search_path = public;
		BEGIN
			SET ROLE postgres;
			INSERT INTO public.rights VALUES ('became postgres');
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
		RETURN NEW;
	END $$;
	CREATE TRIGGER note_rights BEFORE INSERT ON gamestate.archive FOR EACH ROW EXECUTE FUNCTION note_rights()});
is_archived('postgres', play('postgres', 'a'), 'archived with a trigger');
is_archived('postgres', play('postgres', 'a'), 'and again');
is($node->safe_psql('postgres', q{SELECT who, path, count(*) FROM rights GROUP BY who, path}), 'gamestate_owner|pg_catalog, pg_temp|2',
	'the trigger ran as gamestate_owner, and what it set did not last');
$node->safe_psql('postgres', 'DROP TRIGGER note_rights ON gamestate.archive');

# DROP and CREATE, again and again
$node->safe_psql('postgres', 'SELECT count(gamestate.delete_game(game_id)) FROM gamestate.live_games; TRUNCATE gamestate.archive, gamestate.archive_payload');
for my $round (1 .. 3)
{
	$node->safe_psql('postgres', 'DROP EXTENSION gamestate');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'gamestate archiver'}), '0', "round $round: gone with the extension");
	$node->safe_psql('postgres', 'CREATE EXTENSION gamestate');
	$id = play('postgres', "round $round");
	is_archived('postgres', $id, "round $round: a new archiver");
	$node->safe_psql('postgres', 'TRUNCATE gamestate.archive, gamestate.archive_payload');
}
$node->safe_psql('postgres', 'BEGIN; DROP EXTENSION gamestate; CREATE EXTENSION gamestate; COMMIT');
is_archived('postgres', play('postgres', 'both'), 'dropped and created in one transaction');
$node->safe_psql('postgres', 'TRUNCATE gamestate.archive, gamestate.archive_payload');
$pid = archiver('postgres');
$node->safe_psql('postgres', 'BEGIN; DROP EXTENSION gamestate; ROLLBACK');
isnt(archiver('postgres'), $pid, 'a new archiver after a drop that was rolled back');
is_archived('postgres', play('postgres', 'rolled back'), 'and it works');

# Cancelled while it has nothing to do: nothing happens
$pid = archiver('postgres');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
is_archived('postgres', play('postgres', 'cancelled'), 'an idle archiver that was cancelled works');
is(archiver('postgres'), $pid, 'it is the same');

# Terminated, switched off
$pid = archiver('postgres');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_for('postgres', "SELECT pid <> $pid FROM gamestate.stat_workers WHERE kind = 'archiver' AND state = 'running'", 'a terminated archiver comes back');
$pid = $node->safe_psql('postgres', q{SELECT pid FROM gamestate.stat_workers WHERE kind = 'launcher'});
my $archiver = archiver('postgres');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_for('postgres', "SELECT pid <> $pid FROM gamestate.stat_workers WHERE kind = 'launcher' AND state = 'running'", 'a terminated launcher comes back');
is(archiver('postgres'), $archiver, 'the archiver has outlived it');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($archiver)");
wait_for('postgres', "SELECT pid <> $archiver FROM gamestate.stat_workers WHERE kind = 'archiver' AND state = 'running'", 'the new launcher starts a new archiver');
$node->safe_psql('postgres', 'ALTER SYSTEM SET gamestate.archiver = off');
$node->reload;
wait_for('postgres', q{SELECT state = 'stopped' AND pid IS NULL FROM gamestate.stat_workers WHERE kind = 'archiver'}, 'gamestate.archiver = off');
$id = play('postgres', 'off');
sleep(0.3);
is($node->safe_psql('postgres', "SELECT (gamestate.get_game('$id')).tier, archive_queue FROM gamestate.stat_memory"), 'live|1', 'nothing is archived');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET gamestate.archiver');
$node->reload;
is_archived('postgres', $id, 'gamestate.archiver = on');

# Killed: PostgreSQL restarts everything
$archiver = archiver('postgres');
kill('KILL', $archiver);
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM gamestate.stat_workers WHERE pid = $archiver AND state = 'running'"), 'restarted after kill -9 of the archiver');
is_archived('postgres', play('postgres', 'killed'), 'a new archiver after kill -9');

# Many databases without the extension: each is looked at once
$node->safe_psql('postgres', "CREATE DATABASE plain$_ STRATEGY file_copy") for (1 .. 25);
$node->safe_psql('postgres', 'CREATE DATABASE late');
$node->safe_psql('late', 'CREATE EXTENSION gamestate');
is_archived('late', play('late', 'x'), 'an archiver behind 25 databases without the extension');
is($node->safe_psql('postgres', q{SELECT count(*) FROM gamestate.stat_workers WHERE kind IN ('launcher', 'archiver')}), '3', 'the view shows databases that have the extension');
$node->restart;
is_archived('late', play('late', 'y'), 'after a restart too');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE datname LIKE 'plain%'}), 'nobody stays in the others');

# Shutdown is not held up
$start = time();
$node->stop('fast');
cmp_ok(time() - $start, '<', 10, 'fast shutdown');
my $log = slurp_file($node->logfile);
unlike($log, qr/terminating background worker "gamestate/, 'idle workers leave quietly');
unlike($log, qr/TRAP|PANIC/, 'no assertion, no panic');

# No free worker slot
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->start;
my $full = $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'gamestate%'});
is($full, '2', 'launcher and logical replication launcher leave room for none') if $full eq '2';
ok($node->wait_for_log(qr/WARNING:  53000: no free background worker slot|no free background worker slot for gamestate archiver/), 'a warning');
$id = play('postgres', 'no slot');
wait_for('postgres', q{SELECT last_error = 'no free background worker slot' FROM gamestate.stat_workers WHERE kind = 'launcher'}, 'the view says so');
is($node->safe_psql('postgres', "SELECT (gamestate.get_game('$id')).status"), 'finished', 'games can be played and finished');
$log = slurp_file($node->logfile);
is(scalar(() = $log =~ /WARNING: .*no free background worker slot for gamestate archiver/g), 1, 'one warning of each kind');

# On a standby followers run, after promotion archivers.
$node->append_conf('postgresql.conf', "max_worker_processes = 12\n");
$node->restart;
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 2 FROM gamestate.stat_workers WHERE kind = 'follower' AND state = 'running'}), 'followers on a standby');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM gamestate.stat_workers WHERE kind = 'archiver'}), '0', 'no archivers');
$standby->promote;
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 2 FROM gamestate.stat_workers WHERE kind = 'archiver' AND state = 'running'}), 'archivers after promotion');
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 2 FROM gamestate.stat_workers WHERE kind = 'maintenance' AND state = 'running'}), 'maintenance workers too');
$standby->stop;
$node->stop;

done_testing();
