# Repacking: a partition of payloads is rewritten smaller while it is used, and stays
# what it was: its games, to the letter, and what a DBA has added to it.
#
# A layer of its own because the maintenance worker does it, waits for other
# sessions' snapshots, and is killed.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Patient;
use RealGames;
use Test::More;

my $data = RealGames::directory();
plan skip_all => 'no recorded games: set GAMESTATE_DATA to the directory of chess.jsonl, 18xx.jsonl and battlesnake.jsonl'
  unless $data;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.maintenance_interval = 300ms
gamestate.dictionary_min_games = 60
gamestate.repack_rate = 0
restart_after_crash = on
max_worker_processes = 12
autovacuum = off
});
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub becomes
{
	my ($query, $name) = @_;
	ok($node->poll_query_until('postgres', $query), $name)
	  or diag sql('TABLE gamestate.stat_repack') . sql('SELECT kind, state, last_error FROM gamestate.stat_workers');
	return;
}

sql('CREATE EXTENSION gamestate');
RealGames::load($node, $data);

my $leaf;

# Archived games of a type; the partition of their payloads
sub play
{
	my ($type, $first, $last) = @_;
	sql("SET synchronous_commit = off; CALL play('$type', $first, $last)");
	becomes("SELECT count(*) = $last FROM gamestate.archive_payload WHERE game_type = '$type'", "$last games of $type");
	return sql("SELECT DISTINCT tableoid::regclass FROM gamestate.archive_payload WHERE game_type = '$type'");
}

# ---------------------------------------------------------------------------
note 'By hand';

$leaf = play('chess', 1, 150);
becomes(q{SELECT count(*) = 1 FROM gamestate.dictionary}, 'a dictionary');
sql(qq{
ALTER TABLE gamestate.archive_payload ADD COLUMN note text DEFAULT 'none';
UPDATE $leaf SET note = 'x' || game_id WHERE get_byte(uuid_send(game_id), 15) % 2 = 0;
CREATE INDEX mine ON $leaf (ended_at);
CREATE TABLE fired (n int);
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO fired VALUES (1); RETURN NEW; END';
GRANT ALL ON fired TO PUBLIC;
CREATE TRIGGER mine BEFORE INSERT OR UPDATE ON $leaf FOR EACH ROW EXECUTE FUNCTION fire();
GRANT SELECT ON $leaf TO pg_monitor;
COMMENT ON TABLE $leaf IS 'mine';
CREATE TABLE before AS SELECT game_id, game_type, ended_at, raw_size, checksum, note, payload, octet_length(payload) AS len FROM $leaf;
-- one that cannot be unpacked
UPDATE $leaf SET checksum = checksum # 1 WHERE game_id = (SELECT min(game_id::text)::uuid FROM before);
UPDATE before SET checksum = checksum # 1 WHERE game_id = (SELECT min(game_id::text)::uuid FROM before);
TRUNCATE fired;
});
my $oid = sql("SELECT '$leaf'::regclass::oid");
my $snapshot = $node->background_psql('postgres');
$snapshot->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
sql("SELECT gamestate.repack_partition('$leaf')");
becomes(q{SELECT state = 'settling' FROM gamestate.stat_repack}, 'it waits for an older snapshot');
sleep 1;
is(sql(q{SELECT state FROM gamestate.stat_repack}), 'settling', 'still');
is($snapshot->query_safe("SELECT count(*) FROM $leaf"), '150', 'which sees all games');
$snapshot->query_safe('COMMIT');
$snapshot->quit;
becomes(q{SELECT state = 'done' FROM gamestate.stat_repack}, 'done');
is(sql("SELECT '$leaf'::regclass::oid"), $oid, 'it is the same table');
is(sql('SELECT games, bytes_after < bytes_before, reason IS NULL FROM gamestate.stat_repack'), '150|t|t', 'and smaller');
is(sql(qq{SELECT count(*) FROM before b FULL JOIN $leaf p USING (game_id) WHERE (b.game_type, b.ended_at, b.raw_size, b.checksum, b.note) IS DISTINCT FROM (p.game_type, p.ended_at, p.raw_size, p.checksum, p.note)}), '0', 'it has the rows it had');
is(sql(qq{SELECT count(*) FROM before b JOIN $leaf p USING (game_id) WHERE octet_length(p.payload) > b.len}), '0', 'no payload is larger');
is(sql(qq{SELECT count(*) FROM $leaf WHERE dictionary IS NOT NULL}), '149', 'all have the dictionary but the damaged one');
is(sql(qq{SELECT p.payload = b.payload FROM before b JOIN $leaf p USING (game_id) WHERE game_id = (SELECT min(game_id::text)::uuid FROM before)}), 't', 'which is left alone');
is(sql(qq{SELECT count(*) FROM (SELECT ended_at, lag(ended_at) OVER (ORDER BY ctid) AS l FROM $leaf) t WHERE ended_at < l}) < 30 ? 1 : 0, '1', 'sorted, but for what fits into a page before');
sql(qq{DELETE FROM $leaf WHERE game_id = (SELECT min(game_id::text)::uuid FROM before); DELETE FROM gamestate.archive WHERE game_id = (SELECT min(game_id::text)::uuid FROM before); DELETE FROM played WHERE game_id = (SELECT min(game_id::text)::uuid FROM before)});
is(sql('SELECT count(*) FROM wrong'), '0', 'all games are as they were');
is(sql(qq{SELECT (SELECT count(*) FROM fired), (SELECT count(*) FROM pg_trigger WHERE tgrelid = '$leaf'::regclass AND tgname = 'mine'), obj_description('$leaf'::regclass), has_table_privilege('pg_monitor', '$leaf', 'SELECT'), (SELECT indisvalid FROM pg_index WHERE indexrelid = 'gamestate_partitions.mine'::regclass)}), '0|1|mine|t|t', 'triggers, comments, privileges, indexes stay');
is(sql(qq{SET enable_seqscan = off; SELECT count(*) FROM before b WHERE (SELECT count(*) FROM $leaf p WHERE p.game_id = b.game_id) = 1}), '149', 'found by index');
is(sql(q{SELECT count(*) FROM pg_class WHERE relname LIKE 'repack%' AND relnamespace = 'gamestate_partitions'::regnamespace}), '0', 'nothing is left over');

# ---------------------------------------------------------------------------
note 'Changes and crashes meanwhile';

sql(q{ALTER SYSTEM SET gamestate.repack_rate = '64kB'; SELECT pg_reload_conf()});
$leaf = play('battlesnake', 1, 71);
sql(q{CREATE TABLE more AS SELECT * FROM gamestate.archive_payload WHERE game_type = 'battlesnake'});
sql(qq{DO \$\$ DECLARE m more; BEGIN FOR i IN 1..6 LOOP FOR m IN SELECT * FROM more LOOP
	m.game_id := gen_random_uuid(); m.ended_at := m.ended_at + interval '1 microsecond' * i; INSERT INTO $leaf SELECT m.*; END LOOP; END LOOP; END \$\$});
is(sql("SELECT count(*) FROM $leaf"), '497', 'more games');
sql("SELECT gamestate.repack_partition('$leaf')");
becomes(q{SELECT games > 0 FROM gamestate.stat_repack WHERE game_type = 'battlesnake' AND state = 'copying'}, 'it is being copied');
$node->stop('immediate');
$node->start;
becomes(q{SELECT count(*) >= 0 FROM gamestate.stat_repack}, 'the server is back');
sql(qq{
DELETE FROM $leaf WHERE game_id IN (SELECT game_id FROM $leaf WHERE game_id NOT IN (SELECT game_id FROM more) ORDER BY ended_at LIMIT 1);
UPDATE $leaf SET note = 'changed' WHERE game_id IN (SELECT game_id FROM $leaf ORDER BY ended_at LIMIT 2);
INSERT INTO $leaf SELECT gen_random_uuid(), game_type, ended_at - interval '1 microsecond', format, dictionary, raw_size, checksum, payload, 'late' FROM more ORDER BY ended_at LIMIT 1;
CREATE TABLE before2 AS SELECT game_id, raw_size, checksum, note FROM $leaf;
ALTER SYSTEM RESET gamestate.repack_rate;
});
$node->reload;
my $pid = sql(q{SELECT pid FROM gamestate.stat_workers WHERE kind = 'maintenance'});
kill 'KILL', $pid if $pid;
becomes(q{SELECT state = 'done' FROM gamestate.stat_repack WHERE game_type = 'battlesnake'}, 'it goes on and is done');
is(sql(qq{SELECT count(*) FROM before2 b FULL JOIN $leaf p USING (game_id) WHERE (b.raw_size, b.checksum, b.note) IS DISTINCT FROM (p.raw_size, p.checksum, p.note)}), '0', 'with all changes');
is(sql('SELECT count(*) FROM wrong'), '0', 'all games are as they were');
is(sql('SELECT count(*) FROM gamestate.verify_archive()'), '0', 'nothing is damaged');

# A worker that has just begun, whose first work is a command that ends its own transaction.
# (The copy waits until no snapshot is older.)
my $older = $node->background_psql('postgres');
$older->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
sql("SELECT gamestate.repack_partition('$leaf')");
becomes(q{SELECT state = 'settling' FROM gamestate.stat_repack WHERE game_type = 'battlesnake'}, 'it waits for an older snapshot');
foreach (1 .. 3)
{
	$node->stop('immediate');
	$node->start;
	becomes(q{SELECT state = 'running' FROM gamestate.stat_workers WHERE kind = 'maintenance'}, 'a new worker');
}
eval { $older->quit };
becomes(q{SELECT state = 'done' FROM gamestate.stat_repack WHERE game_type = 'battlesnake'}, 'goes on and is done');
is(sql('SELECT count(*) FROM gamestate.verify_archive()'), '0', 'nothing is damaged then');
unlike(slurp_file($node->logfile), qr/terminated by signal 11/, 'no worker has crashed');

# ---------------------------------------------------------------------------
note 'By policy';

my $today = play('18xx', 1, 3);
$today =~ /(archive_payload_\w+?)_p\d+$/;
sql(qq{
CREATE TABLE gamestate_partitions.old (LIKE gamestate.archive_payload INCLUDING DEFAULTS INCLUDING STORAGE, PRIMARY KEY (game_id));
ALTER TABLE gamestate_partitions.old OWNER TO gamestate_owner;
INSERT INTO gamestate_partitions.old SELECT game_id, game_type, now() - interval '2 days', format, dictionary, raw_size, checksum, payload FROM $today;
DO \$\$BEGIN EXECUTE format('ALTER TABLE gamestate_partitions.$1 ATTACH PARTITION gamestate_partitions.old FOR VALUES FROM (%L) TO (%L)', now() - interval '3 days', now() - interval '1 day'); END\$\$;
INSERT INTO gamestate.policy (game_type, repack, repack_level) VALUES ('18xx', true, 12);
});
becomes(q{SELECT state = 'done' FROM gamestate.stat_repack WHERE partition = 'gamestate_partitions.old'}, 'a closed partition');
is(sql(qq{SELECT count(*) FROM gamestate.stat_repack WHERE relid = '$today'::regclass}), '0', 'not one that is open');
is(sql(q{SELECT count(*) FROM gamestate.verify_archive('gamestate_partitions.old')}), '0', 'which can be read');

# ---------------------------------------------------------------------------
note 'What cannot be repacked';

sql(q{CREATE PUBLICATION everything FOR ALL TABLES});
sql("SELECT gamestate.repack_partition('$today')");
becomes(qq{SELECT state = 'skipped' AND reason LIKE '%publication%' FROM gamestate.stat_repack WHERE relid = '$today'::regclass}, 'skipped, with the reason');
sql(q{DROP PUBLICATION everything; ALTER TABLE gamestate.archive_payload DROP COLUMN note});
sql("SELECT gamestate.repack_partition('$today')");
becomes(qq{SELECT state = 'skipped' AND reason LIKE '%dropped%' FROM gamestate.stat_repack WHERE relid = '$today'::regclass}, 'another reason');
my ($code, $out, $err) = $node->psql('postgres', q{SELECT gamestate.repack_partition('pg_class')});
like($err, qr/is not a partition of gamestate.archive_payload/, 'another table');
is(sql(q{SELECT failures FROM gamestate.stat_workers WHERE kind = 'maintenance'}), '0', 'the worker has not failed');

$node->stop;
done_testing();
