# The cold tier: partitions of payloads in files, read like tables, through crashes,
# damage, copies of the database, and whatever a DBA does to them.
#
# A layer of its own because it crashes servers, damages files, waits for what the
# maintenance worker does, and needs a directory outside of the database.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
my $cold = $node->basedir . '/cold';
mkdir $cold or die;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'gamestate'
gamestate.maintenance_interval = 300ms
gamestate.cold_directory = '$cold'
max_worker_processes = 12
autovacuum = off
});
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub error { my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$_[0]"); return $err; }
sub files { opendir(my $d, $cold) or die; my @f = sort grep { !/^\./ } readdir $d; return @f; }

sub becomes
{
	my ($query, $name) = @_;
	ok($node->poll_query_until('postgres', "SELECT coalesce(bool_and(x), false) FROM ($query) AS q(x)"), $name)
	  or diag sql('TABLE gamestate.cold_file') . sql('SELECT kind, state, last_error FROM gamestate.stat_workers');
	return;
}

sub files_become
{
	my ($n, $name) = @_;
	for (1 .. 600) { last if files() == $n; select undef, undef, undef, 0.1; }
	is(scalar(files()), $n, $name) or diag join ' ', files();
	return;
}

sql(q{
CREATE EXTENSION gamestate;
CREATE FUNCTION play(type text, n int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE id uuid;
BEGIN
	FOR i IN 1 .. n LOOP
		id := gamestate.create_game(type, json_build_object('n', i), '{ann,bob}');
		PERFORM gamestate.apply_move(id, 1, json_build_object('take', i, 'text', repeat(md5(i::text), 1 + i % 300)), json_build_object('n', i, 'moved', true), 'ann');
		PERFORM gamestate.finish_game(id, '"ann"');
	END LOOP;
END $$;
-- Archived games as if they had ended days ago, in a partition of that day
CREATE PROCEDURE make_old(type text, days int, n int) LANGUAGE plpgsql AS $$
DECLARE
	root text;
	day timestamptz := date_trunc('day', now(), 'UTC') - make_interval(days => days);
BEGIN
	PERFORM play(type, n);
	COMMIT;
	WHILE (SELECT archive_queue FROM gamestate.stat_memory) > 0 LOOP PERFORM pg_sleep(0.02); COMMIT; END LOOP;
	FOREACH root IN ARRAY '{archive,archive_payload}'::text[] LOOP
		EXECUTE format('CREATE TABLE gamestate_partitions.%1$s_%2$s_%3$s (LIKE gamestate.%1$s INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING STORAGE, PRIMARY KEY (game_id))', root, type, days);
		EXECUTE format('ALTER TABLE gamestate_partitions.%1$s_%2$s_%3$s OWNER TO gamestate_owner', root, type, days);
		EXECUTE format('ALTER TABLE gamestate_partitions.%1$s_%2$s ATTACH PARTITION gamestate_partitions.%1$s_%2$s_%3$s FOR VALUES FROM (%4$L) TO (%5$L)', root, type, days, day, day + interval '1 day');
		EXECUTE format('UPDATE gamestate.%1$s SET ended_at = %3$L::timestamptz + (ended_at - date_trunc(''day'', ended_at, ''UTC'')) WHERE game_type = %2$L AND ended_at > now() - interval ''1 hour''', root, type, day);
	END LOOP;
END $$});

# ---------------------------------------------------------------------------
note 'Freezing and thawing by hand';

sql(q{CALL make_old('chess', 10, 1500)});
my $leaf = 'gamestate_partitions.archive_payload_chess_10';
sql(qq{CREATE INDEX own ON $leaf (raw_size); GRANT SELECT ON $leaf TO pg_monitor; COMMENT ON TABLE $leaf IS 'mine';
CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER own BEFORE UPDATE ON $leaf FOR EACH ROW EXECUTE FUNCTION noop();
ALTER TABLE gamestate.archive_payload ADD COLUMN note text DEFAULT 'none', ADD COLUMN twice bigint GENERATED ALWAYS AS (raw_size::bigint * 2) STORED;
UPDATE $leaf SET note = NULL WHERE raw_size % 2 = 0;
CREATE TABLE before AS SELECT * FROM $leaf;
CREATE TABLE games_before AS SELECT * FROM gamestate.archived_games;
CREATE TABLE moves_before AS SELECT * FROM gamestate.archived_moves;
});
my $same = q{SELECT (SELECT count(*) FROM before b FULL JOIN gamestate.archive_payload p USING (game_id) WHERE p.* IS DISTINCT FROM b.*) || ' ' ||
	(SELECT count(*) FROM (SELECT games_before::text FROM games_before EXCEPT ALL SELECT g::text FROM gamestate.archived_games g WHERE game_type = 'chess') t) || ' ' ||
	(SELECT count(*) FROM (SELECT moves_before::text FROM moves_before EXCEPT ALL SELECT g::text FROM gamestate.archived_moves g WHERE game_type = 'chess') t)};
my $id = sql(q{SELECT game_id FROM before ORDER BY game_id LIMIT 1 OFFSET 700});
my $got = sql("SELECT gamestate.get_game('$id'); SELECT * FROM gamestate.get_changes('$id')");

like(error("SELECT gamestate.freeze_partition('pg_class')"), qr/ERROR:  42809/, 'not any table');
like(error("SELECT gamestate.freeze_partition('gamestate_partitions.archive_chess_10')"), qr/ERROR:  42809/, 'not the rows');
my $today = sql(q{SELECT relid FROM pg_partition_tree('gamestate_partitions.archive_payload_chess') WHERE isleaf AND relid::text ~ '_p\d+$' ORDER BY 1 LIMIT 1});
like(error("SELECT gamestate.freeze_partition('$today')"), qr/ERROR:  55000.*Its period is not over/s, 'not one that is open');
sql('CREATE ROLE nobody; SELECT gamestate.grant_reader(\'nobody\')');
like(error("SET ROLE nobody; SELECT gamestate.freeze_partition('$leaf')"), qr/ERROR:  42501/, 'not by anybody');
my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
sql("UPDATE $leaf SET note = note WHERE game_id = '$id'");
like(error("SELECT gamestate.freeze_partition('$leaf')"), qr/ERROR:  55000.*not visible to all snapshots/s, 'not before all see its rows');
is(scalar(files()), 0, 'a failure leaves no file');
$reader->query_safe('COMMIT');
$reader->query_safe("BEGIN; SELECT count(*) FROM gamestate.archive_payload");
like(error("SELECT gamestate.freeze_partition('$leaf')"), qr/ERROR:  55P03/, 'not while somebody reads the branch');
$reader->query_safe('COMMIT');
sql(qq{SELECT gamestate.grant_admin('nobody'); GRANT ALL ON SCHEMA public TO nobody});
sql("SET ROLE nobody; SELECT gamestate.freeze_partition('$leaf')");
is(sql(qq{SELECT relkind, pg_get_userbyid(relowner), obj_description(oid), has_table_privilege('pg_monitor', oid, 'SELECT') FROM pg_class WHERE oid = '$leaf'::regclass}), 'f|gamestate_owner|mine|t', 'frozen by an operator');
is(sql($same), '0 0 0', 'the same rows, games and moves');
is(sql("SELECT gamestate.get_game('$id'); SELECT * FROM gamestate.get_changes('$id')"), $got, 'and by id');
is(sql(q{SELECT rows, bytes = (pg_stat_file(current_setting('gamestate.cold_directory') || '/' || file)).size, format FROM gamestate.cold_file}), '1500|t|1', 'it is in the manifest');
is(scalar(files()), 1, 'one file');
like(error("SELECT gamestate.freeze_partition('$leaf')"), qr/frozen already/, 'once is enough');
is(sql(q{SELECT count(*) FROM gamestate.verify_archive()}), '0', 'nothing is damaged');
like(error(q{SELECT * FROM gamestate.verify_archive('pg_class')}), qr/ERROR:  42809: "pg_class" is not a partition.*no column "game_type"/s, 'only partitions can be verified');
like(sql("EXPLAIN (ANALYZE, COSTS off) SELECT * FROM $leaf WHERE game_id = '$id'"), qr/File: .*Blocks Read: 1\n/s, 'one game is one block');
like(sql("EXPLAIN (ANALYZE, COSTS off) SELECT * FROM $leaf WHERE ended_at < now() - interval '50 days'"), qr/Blocks Read: 0\n/, 'another time is none');
like(sql("PREPARE p(uuid) AS SELECT count(*) FROM $leaf WHERE game_id = \$1; SET plan_cache_mode = force_generic_plan; EXPLAIN (ANALYZE, COSTS off) EXECUTE p('$id')"), qr/Blocks Read: 1\n/, 'with a parameter too');
is(sql("SET enable_hashjoin = off; SET enable_mergejoin = off; SELECT count(*) FROM before b, LATERAL (SELECT FROM $leaf l WHERE l.game_id = b.game_id) t WHERE b.raw_size % 100 = 0") > 0 ? 1 : 0, 1, 'in a nested loop');
like(error("INSERT INTO gamestate.archive_payload SELECT gen_random_uuid(), game_type, ended_at, format, dictionary, raw_size, checksum, payload FROM before LIMIT 1"), qr/ERROR:  0A000|ERROR:  42809/, 'nothing can be inserted');
like(error("CREATE FOREIGN TABLE evil (x int) SERVER gamestate_cold OPTIONS (file '../../../etc/passwd')"), qr/ERROR:  22023.*invalid name of a cold file/s, 'no path leads elsewhere');
like(error("CREATE FOREIGN TABLE evil (x int) SERVER gamestate_cold"), qr/option "file" is required/, 'a file is required');
like(error("SET gamestate.cold_directory = '/'"), qr/ERROR:  55P02/, 'only the server says where files are');

$reader->quit;
$node->restart;
is(sql($same), '0 0 0', 'after a restart too');
$reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
my $copy = "$cold/" . (files())[0] . '.copy';
system('cp', "$cold/" . (files())[0], $copy) == 0 or die;
sql("SELECT gamestate.thaw_partition('$leaf')");
is($reader->query_safe('SELECT count(*) FROM gamestate.archive_payload'), '1500', 'an older snapshot sees thawed rows as it saw the file');
$reader->query_safe('COMMIT');
$reader->quit;
is(sql($same), '0 0 0', 'thawed, the same');
is(sql(qq{SELECT c.relkind, pg_get_userbyid(relowner), obj_description(c.oid), has_table_privilege('pg_monitor', c.oid, 'SELECT'), (SELECT count(*) FROM pg_index WHERE indrelid = c.oid), (SELECT count(*) FROM pg_trigger WHERE tgrelid = c.oid AND tgname = 'own'),
	(SELECT count(*) FROM pg_constraint WHERE conrelid = c.oid AND contype = 'c') FROM pg_class c WHERE oid = '$leaf'::regclass}), 'r|gamestate_owner|mine|t|2|1|0', 'with all that it had');
is(sql("SET enable_seqscan = off; SELECT count(*) FROM $leaf WHERE game_id = '$id'"), '1', 'its index works');
files_become(1, 'its file is removed');
ok(-e $copy, q{a DBA's copy beside it is not});
unlink $copy;

# ---------------------------------------------------------------------------
note 'Crashes';

foreach my $what (qw(freeze thaw))
{
	my $session = $node->background_psql('postgres');
	$session->query_safe("BEGIN; SELECT gamestate.${what}_partition('$leaf')");
	$node->stop('immediate');
	eval { $session->quit };
	$node->start;
	is(sql("SELECT relkind FROM pg_class WHERE oid = '$leaf'::regclass"), $what eq 'freeze' ? 'r' : 'f', "$what without a commit: the old state");
	is(sql($same), '0 0 0', 'nothing is lost');
	files_become($what eq 'freeze' ? 0 : 1, 'no file is left over');
	sql("SELECT gamestate.${what}_partition('$leaf')");
	$node->stop('immediate');
	$node->start;
	is(sql("SELECT relkind FROM pg_class WHERE oid = '$leaf'::regclass"), $what eq 'freeze' ? 'f' : 'r', "$what with a commit: the new one");
	is(sql($same), '0 0 0', 'nothing is lost');
	files_become($what eq 'freeze' ? 1 : 0, 'one file, or none');
}

# ---------------------------------------------------------------------------
note 'By policy; retention; repacking';

sql(q{CALL make_old('go', 20, 40); CALL make_old('go', 30, 40); CALL make_old('go', 40, 40)});
sql(q{INSERT INTO gamestate.policy (game_type, freeze_after) VALUES ('go', '25 days')});
becomes(q{SELECT count(*) = 2 FROM gamestate.cold_file WHERE partition LIKE '%_go_%'}, 'old ones are frozen');
is(sql(q{SELECT relkind FROM pg_class WHERE relname = 'archive_payload_go_20'}), 'r', 'a younger one is not');
like(error(q{SELECT gamestate.repack_partition('gamestate_partitions.archive_payload_go_30')}), qr/cannot be repacked|not one that can/, 'a frozen one is not repacked');
sql(q{UPDATE gamestate.policy SET retention = '35 days' WHERE game_type = 'go'});
becomes(q{SELECT count(*) = 2 FROM gamestate.retention_log WHERE done_at IS NOT NULL}, 'retention drops frozen ones too');
files_become(1, 'and their files');
sql(q{DROP FOREIGN TABLE gamestate_partitions.archive_payload_go_30});
files_become(0, 'a DBA may drop one');
is(sql(q{SELECT count(*) FROM gamestate.cold_file}), '0', 'the manifest follows');

# ---------------------------------------------------------------------------
note 'Damage';

sql(q{CALL make_old('ludo', 10, 400); CALL make_old('ludo', 12, 30)});
sql(q{SELECT gamestate.freeze_partition('gamestate_partitions.archive_payload_ludo_10'); SELECT gamestate.freeze_partition('gamestate_partitions.archive_payload_ludo_12')});
my $bad = sql(q{SELECT game_id FROM gamestate.archive WHERE tableoid = 'gamestate_partitions.archive_ludo_10'::regclass ORDER BY 1 LIMIT 1});
my $last = sql(q{SELECT game_id FROM gamestate.archive WHERE tableoid = 'gamestate_partitions.archive_ludo_10'::regclass ORDER BY 1 DESC LIMIT 1});
my $good = sql(q{SELECT game_id FROM gamestate.archive WHERE tableoid = 'gamestate_partitions.archive_ludo_12'::regclass ORDER BY 1 LIMIT 1});
my $file = "$cold/" . sql(q{SELECT file FROM gamestate.cold_file WHERE partition LIKE '%ludo_10'});
my $bytes = slurp_file($file);
sub damage { my ($new) = @_; open(my $f, '>:raw', $file) or die; print $f $new; close $f; return; }
{
	my $flip = $bytes;
	substr($flip, 100, 1) ^= "\x01";
	damage($flip);
	like(error("SELECT gamestate.get_game('$bad')"), qr/ERROR:  XX001.*block 0 has another checksum/s, 'a damaged block is an error for its games');
	is(sql("SELECT (gamestate.get_game('$last')).status, (gamestate.get_game('$good')).status"), 'finished|finished', 'not for those of another block');
	is(sql(q{SELECT count(*) > 0 FROM gamestate.archive WHERE game_type = 'ludo'}), 't', 'nor for results');
	like(sql(q{SELECT partition_name, game_id IS NULL, problem FROM gamestate.verify_archive()}), qr/^gamestate_partitions.archive_payload_ludo_10\|t\|cold file ".*" is damaged or missing: block 0 has another checksum$/, 'verify_archive() finds it, and goes on');
	like(error("SELECT gamestate.thaw_partition('gamestate_partitions.archive_payload_ludo_10')"), qr/ERROR:  XX001/, 'it cannot be thawed');
}
my $n = length $bytes;
foreach my $case ([ 'empty', '' ], [ 'cut short', substr($bytes, 0, $n - 1) ], [ 'cut in the middle', substr($bytes, 0, int($n / 2)) ], [ 'another beginning', 'x' . substr($bytes, 1) ],
	[ 'another directory', substr($bytes, 0, $n - 60) . chr(ord(substr($bytes, $n - 60, 1)) ^ 4) . substr($bytes, $n - 59) ],
	[ 'another trailer', substr($bytes, 0, $n - 40) . chr(ord(substr($bytes, $n - 40, 1)) ^ 4) . substr($bytes, $n - 39) ], [ 'longer', $bytes . 'x' ])
{
	damage($case->[1]);
	like(error("SELECT gamestate.get_game('$bad')"), qr/ERROR:  XX001.*is damaged or missing/s, "a file that is $case->[0]");
	is(sql("SELECT (gamestate.get_game('$good')).status"), 'finished', 'another one is read');
}
unlink $file;
like(error("SELECT gamestate.get_game('$bad')"), qr/ERROR:  XX001.*it does not exist/s, 'a missing file');
is(sql("SELECT gamestate.get_version('$bad')"), '3', 'its row is there');
is(sql(q{SELECT count(*) FROM gamestate.verify_archive('gamestate_partitions.archive_payload_ludo_10')}), '1', 'verify_archive() says so');
symlink "$cold/elsewhere", $file;
like(error("SELECT gamestate.get_game('$bad')"), qr/ERROR:  XX001/, 'a link is not followed');
unlink $file;
damage($bytes);
is(sql("SELECT (gamestate.get_game('$bad')).status"), 'finished', 'brought back from a backup, all is well');

# ---------------------------------------------------------------------------
note 'Copies';

$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', "gamestate.cold_directory = '$cold.standby'");
$standby->start;
my ($rc, $out, $err) = $standby->psql('postgres', "SELECT count(*) FROM gamestate.archive; SELECT gamestate.get_game('$bad')");
like($err, qr/it does not exist/, 'a standby has no files');
foreach my $what ('freeze', 'thaw')
{
	($rc, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT gamestate.${what}_partition('gamestate_partitions.archive_payload_ludo_10')");
	like($err, qr/ERROR:  25006: cannot execute ${what}_partition\(\) during recovery/, "and cannot $what");
}
mkdir "$cold.standby";
system('cp', '-r', "$cold/.", "$cold.standby") == 0 or die;
is($standby->safe_psql('postgres', "SELECT (gamestate.get_game('$bad')).status"), 'finished', 'unless somebody copies them');
$standby->stop;

sql('SELECT pg_sleep(0.1)');
$node->safe_psql('template1', 'CREATE DATABASE copy TEMPLATE postgres');
is($node->safe_psql('copy', "SELECT (gamestate.get_game('$bad')).status"), 'finished', 'a copy of the database reads the same files');
$node->safe_psql('copy', q{DROP FOREIGN TABLE gamestate_partitions.archive_payload_ludo_10});
ok($node->poll_query_until('copy', q{SELECT count(*) = 1 FROM gamestate.cold_file}), 'dropped there');
is(sql("SELECT (gamestate.get_game('$bad')).status"), 'finished', 'the file is still the original\'s');

# (a dump has no columns that were added to tables of the extension)
sql('ALTER TABLE gamestate.archive_payload DROP COLUMN note, DROP COLUMN twice');
is(sql("SELECT (gamestate.get_game('$bad')).status"), 'finished', 'a column of the file that was dropped');
command_ok([ 'pg_dump', '-Fc', '-f', $node->basedir . '/dump', $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('template1', 'CREATE DATABASE restored');
command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), $node->basedir . '/dump' ], 'pg_restore');
is($node->safe_psql('restored', "SELECT (gamestate.get_game('$bad')).status"), 'finished', 'where the files are, they can be read');
$node->safe_psql('restored', q{SELECT gamestate.thaw_partition('gamestate_partitions.archive_payload_ludo_10')});
is($node->safe_psql('restored', "SELECT (gamestate.get_game('$bad')).status"), 'finished', 'and thawed');
is(scalar(files()), 2, 'without taking them from the original');

my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|leaked|terminated by signal/, 'the log has nothing bad');
like(error('DROP EXTENSION gamestate'), qr/ERROR:  2BP01/, 'the extension is kept while there are games');
sql('BEGIN; SELECT gamestate.allow_drop_extension(); DROP EXTENSION gamestate; ROLLBACK');
is(sql("SELECT (gamestate.get_game('$bad')).status"), 'finished', 'dropping it would work');
$node->stop;
done_testing();
