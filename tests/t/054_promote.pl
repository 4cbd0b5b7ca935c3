# promote_type(): a game type leaves the default branch of the archive with its games, and
# each snapshot sees each game once, whenever it was taken.
#
# A layer of its own because the maintenance worker does it while other sessions archive, read
# and hold snapshots and locks, and is killed in the middle.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FindBin;
use lib $FindBin::Bin;
use Patient;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.maintenance_interval = 300ms
gamestate.archive_max_types = 1
gamestate.repack_rate = 0
restart_after_crash = on
max_worker_processes = 12
autovacuum = off
});
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub error
{
	my ($sql) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $sql, on_error_stop => 1);
	return $err;
}

sub becomes
{
	my ($query, $name) = @_;
	ok($node->poll_query_until('postgres', "SELECT coalesce(bool_and(x), false) FROM ($query) AS q(x)"), $name)
	  or diag sql('SELECT * FROM gamestate.stat_promotion') . sql('SELECT kind, state, last_error FROM gamestate.stat_workers');
	return;
}

sub state_is { my ($type, $state, $name) = @_; becomes("SELECT state = '$state' FROM gamestate.stat_promotion WHERE game_type = '$type'", $name // "$type: $state"); return; }

# All games of a type are where they should be: in both tables, in partitions of that branch
# alone, found by index, unpacked, and each as it was played.
sub whole
{
	my ($type, $branch, $n, $name, $made_up) = @_;
	my $state = $made_up ? '' : "OR (gamestate.get_state(g.game_id) ->> 't') IS DISTINCT FROM '$type'";
	becomes("SELECT count(*) = $n FROM gamestate.archive WHERE game_type = '$type'", "$name: $n games");
	is(sql(qq{SELECT count(*), count(DISTINCT a.game_id), count(*) FILTER (WHERE a.tableoid::regclass::text LIKE 'gamestate_partitions.archive_${branch}_p%'),
		count(p.game_id), count(*) FILTER (WHERE p.tableoid::regclass::text LIKE 'gamestate_partitions.archive_payload_${branch}_p%')
		FROM gamestate.archive a LEFT JOIN gamestate.archive_payload p USING (game_type, ended_at, game_id) WHERE game_type = '$type'}),
		join('|', ($n) x 5), "$name: in $branch");
	is(sql(qq{SET enable_seqscan = off; SET jit = off; SELECT count(*) FROM (SELECT game_id FROM gamestate.archive WHERE game_type = '$type' OFFSET 0) g
		WHERE (SELECT count(*) FROM gamestate.archive a WHERE a.game_id = g.game_id) <> 1 $state}),
		'0', "$name: found by their ids");
	return;
}

sub nothing_left
{
	my ($name) = @_;
	is(sql(q{SELECT count(*) FROM pg_class WHERE relnamespace = 'gamestate_partitions'::regnamespace AND relname LIKE 'promote%'})
		. sql(q{SELECT count(*) FROM gamestate.promotion_leaf})
		. sql(q{SELECT count(*) FROM pg_depend d JOIN pg_class c ON c.oid = d.objid WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND c.relnamespace = 'gamestate_partitions'::regnamespace}),
		'000', $name);
	is(sql('SELECT count(*) FROM gamestate.verify_archive()'), '0', "$name: nothing is damaged");
	return unless sql(q{SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'});
	# pages as PostgreSQL wants them, no row older than its table's relfrozenxid, every row in every index
	is(sql(q{CREATE EXTENSION IF NOT EXISTS amcheck;
		SELECT count(*) FROM pg_class c, verify_heapam(c.oid) WHERE c.relkind = 'r' AND c.relnamespace = 'gamestate_partitions'::regnamespace}), '0', "$name: heaps");
	is(sql(q{SELECT count(bt_index_check(c.oid, true)) > 0 FROM pg_class c JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree'
		WHERE c.relkind = 'i' AND c.relnamespace = 'gamestate_partitions'::regnamespace}), 't', "$name: indexes");
	return;
}

sql(q{
CREATE EXTENSION gamestate;
CREATE FUNCTION play(game_type text, n int DEFAULT 1) RETURNS void LANGUAGE sql AS
$$ SELECT gamestate.finish_game(gamestate.create_game(game_type, json_build_object('t', game_type, 'n', i, 'pad', repeat(md5(i::text), i % 80)), '{a,b}')) FROM generate_series(1, n) i $$;
});

# ---------------------------------------------------------------------------
note 'What is refused';

like(error(q{SELECT gamestate.promote_type('tic')}), qr/game type "tic" does not share the default branch\nDETAIL:  gamestate.archive has no default branch yet/, 'without a default branch');
sql(q{SELECT play('own')});
becomes(q{SELECT count(*) = 1 FROM gamestate.archive}, 'a type of its own');
sql(q{SELECT play('tic', 500); SELECT play('tac', 300); SELECT play('toe', 50)});
becomes(q{SELECT count(*) = 851 FROM gamestate.archive}, 'three that share');
like(error(q{SELECT gamestate.promote_type('own')}), qr/does not share the default branch\nDETAIL:  Its games go to gamestate_partitions.archive_own/, 'one that has partitions');
like(error(q{SELECT gamestate.promote_type(NULL)}), qr/a game type of 1 to 63 bytes is required/, 'none');
like(error(q{CREATE ROLE somebody; SET ROLE somebody; SELECT gamestate.promote_type('tic')}), qr/permission denied/, 'by somebody');
is(sql(q{SELECT gamestate.cancel_promotion('tic')}), 'f', 'nothing to cancel');

# ---------------------------------------------------------------------------
note 'Snapshots before, between and after';

my $leaf = sql(q{SELECT DISTINCT tableoid::regclass FROM gamestate.archive WHERE game_type = 'tac'});
my $payload = sql(q{SELECT DISTINCT tableoid::regclass FROM gamestate.archive_payload WHERE game_type = 'tac'});
sql(qq{CREATE INDEX mine ON $leaf (ended_at); GRANT SELECT ON $leaf TO pg_monitor; COMMENT ON TABLE $leaf IS 'mine'; CREATE INDEX everywhere ON gamestate.archive (status)});
my $before = sql(qq{SELECT '$leaf'::regclass::oid, '$payload'::regclass::oid});
sql(q{CREATE TABLE before AS SELECT a.*, p.payload, p.checksum FROM gamestate.archive a JOIN gamestate.archive_payload p USING (game_type, ended_at, game_id)});

# with an old snapshot, and a plan that it has made before
my $counts = q{SELECT (SELECT count(*) FROM gamestate.archive), (SELECT count(*) FROM gamestate.archive WHERE game_type = 'tic'), (SELECT count(*) FROM gamestate.archive_payload), (SELECT count(*) FROM gamestate.archive_payload WHERE game_type = 'tic'), (SELECT count(*) FROM gamestate.games WHERE game_type = 'tic')};
sub session
{
	my ($isolation) = @_;
	my $s = $node->background_psql('postgres');
	$s->query_safe("SET plan_cache_mode = force_generic_plan; PREPARE counts AS $counts; PREPARE one(text) AS SELECT count(*) FROM gamestate.archive WHERE game_type = \$1");
	$s->query_safe('EXECUTE counts') foreach 1 .. 2;
	$s->query_safe(q{EXECUTE one('tic')});
	$s->query_safe("BEGIN ISOLATION LEVEL $isolation; SELECT count(*) FROM pg_class");
	return $s;
}
my $old = session('REPEATABLE READ');
sql(q{SELECT gamestate.promote_type('tic')});
like(error(q{SELECT gamestate.promote_type('tic')}), qr/is being promoted already\nDETAIL:  Its state is: /, 'not twice');
state_is('tic', 'settling', 'it waits for an older snapshot');
becomes(q{SELECT (command, phase, unit) = ('promote', 'settling', 'rows') AND done = 1700 AND total >= 1700 AND pid IS NOT NULL FROM gamestate.progress_maintenance WHERE command = 'promote'}, 'which can be seen');
sql(q{SELECT play('tic', 5); SELECT play('tac', 5)});
becomes(q{SELECT count(*) = 861 FROM gamestate.archive}, 'games are archived meanwhile');
is(sql(q{SELECT state FROM gamestate.stat_promotion}), 'settling', 'still');
is($old->query_safe('EXECUTE counts'), '851|500|851|500|505', 'the old snapshot sees each game once, new ones in memory');

# a transaction that has read the archive, and has no snapshot now
my $reader = $node->background_psql('postgres');
$reader->query_safe(q{BEGIN; SELECT count(*) FROM gamestate.archive WHERE game_type = 'own'});
$old->query_safe('COMMIT');
becomes(q{SELECT last_error LIKE 'could not obtain locks on the archive%' FROM gamestate.stat_workers WHERE kind = 'maintenance'}, 'settled, it waits for who reads the archive');
# snapshots that are younger than the copies, and games that they do not see as archived
my $between = session('REPEATABLE READ');
my $serializable = session('SERIALIZABLE');
my $committed = session('READ COMMITTED');
sql(q{SELECT play('tic', 40); SELECT play('tac', 30)});
becomes(q{SELECT count(*) = 931 FROM gamestate.archive}, 'more games are archived');
$reader->query_safe('COMMIT');
state_is('tic', 'done');
is($between->query_safe('EXECUTE counts'), '861|505|861|505|545', 'a snapshot from before sees each game once, new ones in memory');
is($between->query_safe(q{EXECUTE one('tic')}), '505', 'by a plan that it had');
is($between->query_safe(q{SELECT count(*) FROM gamestate.archived_games WHERE final_state ->> 't' = 'tic'}), '505', 'and their payloads');
is($serializable->query_safe('EXECUTE counts'), '861|505|861|505|545', 'serializable too');
is($committed->query_safe('EXECUTE counts'), '931|545|931|545|545', 'a later snapshot sees all');
$_->query_safe('COMMIT') foreach $between, $serializable, $committed;
is($_->query_safe('EXECUTE counts'), '931|545|931|545|545', 'and so do all others now') foreach $old, $between, $serializable, $committed;
$_->quit foreach $old, $between, $serializable, $committed, $reader;

whole('tic', 'tic', 545, 'promoted');
whole('tac', 'default', 335, 'another type');
whole('toe', 'default', 50, 'a third one');
nothing_left('no copies are left');
is(sql(q{SELECT count(*) FROM before b JOIN gamestate.archive a USING (game_id) JOIN gamestate.archive_payload p USING (game_id)
	WHERE (b.game_type, b.status, b.players, b.created_at, b.ended_at, b.version, b.payload, b.checksum) = (a.game_type, a.status, a.players, a.created_at, a.ended_at, a.version, p.payload, p.checksum)}), '851', 'all rows are what they were');
is(sql(qq{SELECT '$leaf'::regclass::oid, '$payload'::regclass::oid}), $before, 'the shared partitions are the tables they were');
is(sql(qq{SELECT obj_description('$leaf'::regclass), has_table_privilege('pg_monitor', '$leaf', 'SELECT'), (SELECT indisvalid FROM pg_index WHERE indexrelid = 'gamestate_partitions.mine'::regclass)}), 'mine|t|t', 'with what a DBA had put on them');
is(sql(q{SELECT count(*) FROM pg_partition_tree('gamestate.everywhere') t WHERE t.isleaf AND t.relid::regclass::text LIKE '%tic%'}) > 0 ? 1 : 0, 1, 'an index on the archive is on the new partitions');
is(sql(q{SELECT games, copied >= 1730, partitions, reason IS NULL FROM gamestate.stat_promotion WHERE game_type = 'tic'}), '545|t|0|t', 'what was done');
like(sql(q{EXPLAIN SELECT * FROM gamestate.archive WHERE game_type = 'tic'}), qr/archive_tic_p/, 'a query for the type reads its partitions');
unlike(sql(q{EXPLAIN SELECT * FROM gamestate.archive WHERE game_type = 'tic'}), qr/default/, 'and no other');
is(sql(q{SELECT count(*) FROM pg_constraint WHERE conname LIKE 'gamestate_promotion%'}), '0', 'without a trace');

# ---------------------------------------------------------------------------
note 'Afterwards it is a type like any other';

like(error(q{SELECT gamestate.promote_type('tic')}), qr/Its games go to gamestate_partitions.archive_tic/, 'it need not be promoted again');
sql(q{ALTER SYSTEM SET gamestate.archive_max_types = 0; SELECT pg_reload_conf(); SELECT pg_sleep(0.2); SELECT play('tic', 5)});
whole('tic', 'tic', 550, 'whatever the limit of types');
becomes(q{SELECT count(*) = 3 FROM pg_inherits WHERE inhparent = 'gamestate_partitions.archive_payload_tic'::regclass}, 'partitions are made ahead');
sql(q{SELECT gamestate.repack_partition(relid) FROM pg_partition_tree('gamestate_partitions.archive_payload_tic') WHERE isleaf});
becomes(q{SELECT bool_and(state = 'done') FROM gamestate.stat_repack}, 'it can be repacked');
whole('tic', 'tic', 550, 'repacked');
sql(q{CALL gamestate.anonymise_player('a')});
is(sql(q{SELECT count(*) FROM gamestate.archive WHERE 'a' = ANY (players)}), '0', 'players can be anonymised');
is(sql(q{SELECT count(*) FROM gamestate.verify_archive()}), '0', 'nothing is damaged');
sql(q{INSERT INTO gamestate.policy (game_type, retention) VALUES ('tic', '1 day')});
sql(q{CREATE TABLE gamestate_partitions.ancient (LIKE gamestate.archive INCLUDING DEFAULTS, PRIMARY KEY (game_id)); ALTER TABLE gamestate_partitions.ancient OWNER TO gamestate_owner;
ALTER TABLE gamestate_partitions.archive_tic ATTACH PARTITION gamestate_partitions.ancient FOR VALUES FROM ('2001-01-01 00:00+00') TO ('2001-01-02 00:00+00')});
becomes(q{SELECT to_regclass('gamestate_partitions.ancient') IS NULL}, 'retention is its own');
sql(q{DELETE FROM gamestate.policy});

# ---------------------------------------------------------------------------
note 'Cancelled';

my $pin = $node->background_psql('postgres');
$pin->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
sql(q{SELECT gamestate.promote_type('toe')});
state_is('toe', 'settling');
like(error(qq{SELECT gamestate.freeze_partition('$payload')}), qr/./, 'its partitions are not frozen');
is(sql(q{SELECT gamestate.cancel_promotion('toe')}), 't', 'is cancelled');
state_is('toe', 'canceled', 'even while it waits');
nothing_left('a cancelled one leaves nothing');
whole('toe', 'default', 50, 'cancelled');
$pin->query_safe('COMMIT');
$pin->quit;

# ---------------------------------------------------------------------------
note 'Killed, and an error at the worst moment';

# A DBA's event trigger comes when new rows are behind the copies already
sql(q{CREATE TABLE worst (what text); GRANT SELECT ON worst TO PUBLIC;
CREATE FUNCTION worst() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN
	IF EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'gamestate.archive'::regclass AND mode = 'AccessExclusiveLock') THEN
		IF EXISTS (SELECT FROM public.worst WHERE what = 'fail') THEN RAISE EXCEPTION 'the worst moment'; END IF;
		IF EXISTS (SELECT FROM public.worst WHERE what = 'hang') THEN PERFORM pg_sleep(60); END IF;
	END IF; END$$;
CREATE EVENT TRIGGER worst ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION worst()});

# New rows that are not in the copies: archived while the locks cannot be had
sub at_the_worst
{
	my ($type, $what) = @_;
	my $r = $node->background_psql('postgres');
	$r->query_safe(q{BEGIN; SELECT count(*) FROM gamestate.archive WHERE game_type = 'own'});
	sql(qq{TRUNCATE worst; INSERT INTO worst VALUES ('$what'); SELECT gamestate.promote_type('$type')});
	becomes(qq{SELECT undo_tables IS NOT NULL FROM gamestate.promotion WHERE game_type = '$type'}, "$type: about to be swapped");
	my $n = sql('SELECT count(*) FROM gamestate.archive');
	sql(qq{SELECT play('$type', 20); SELECT play('rest', 10)});
	becomes("SELECT count(*) = $n + 30 FROM gamestate.archive", 'new games');
	$r->query_safe('COMMIT');
	$r->quit;
	return;
}
at_the_worst('toe', 'fail');
becomes(q{SELECT last_error LIKE 'the worst moment%' FROM gamestate.stat_workers WHERE kind = 'maintenance'}, 'the swap fails after rows were appended');
whole('toe', 'default', 70, 'nothing has changed');
whole('tac', 'default', 335, 'nothing has changed for another');
becomes(q{SELECT state <> 'done' FROM gamestate.stat_promotion WHERE game_type = 'toe'}, 'it goes on');
sql(q{TRUNCATE worst});
state_is('toe', 'done', 'once nothing is in the way');
whole('toe', 'toe', 70, 'after a failure');
whole('rest', 'default', 10, 'after a failure another');
nothing_left('after a failure');

at_the_worst('tac', 'hang');
becomes(q{SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND backend_type LIKE 'gamestate maintenance%'}, 'it hangs with rows appended');
$node->stop('immediate');
$node->append_conf('postgresql.conf', 'gamestate.maintenance = off');
$node->start;
sql(q{TRUNCATE worst});
whole('tac', 'default', 355, 'after a crash all is as it was');
$node->append_conf('postgresql.conf', 'gamestate.maintenance = on');
$node->reload;
state_is('tac', 'done', 'and it goes on');
whole('tac', 'tac', 355, 'after a crash');
whole('rest', 'default', 20, 'after a crash another');
nothing_left('after a crash');
sql('DROP EVENT TRIGGER worst');

# In the middle of copying, however often
sql(q{SELECT play('slow', 1500); SELECT play('other', 700)});
becomes(q{SELECT count(*) = 2200 FROM gamestate.archive WHERE game_type IN ('slow', 'other')}, 'more games');
sql(q{ALTER SYSTEM SET gamestate.repack_rate = '64kB'; SELECT pg_reload_conf(); SELECT gamestate.promote_type('slow')});
for my $i (1 .. 3)
{
	becomes(qq{SELECT state = 'copying' AND copied >= 400 * $i FROM gamestate.stat_promotion WHERE game_type = 'slow'}, 'it is copying');
	if ($i == 2)
	{
		$node->stop('immediate');
		$node->start;
	}
	else
	{
		my $start = sql(q{SELECT backend_start FROM pg_stat_activity WHERE backend_type = 'checkpointer'});
		my $pid = sql(q{SELECT pid FROM gamestate.stat_workers WHERE kind = 'maintenance'});
		kill 'KILL', $pid if $pid;
		ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'checkpointer' AND backend_start > '$start'"), 'the server is back');
	}
}
# what has changed since it was copied
sql(q{UPDATE gamestate.archive SET room_code = 'changed' WHERE game_type IN ('slow', 'other') AND get_byte(uuid_send(game_id), 15) % 2 = 0;
DELETE FROM gamestate.archive WHERE game_id = (SELECT max(game_id::text)::uuid FROM gamestate.archive WHERE game_type = 'slow');
DELETE FROM gamestate.archive_payload p WHERE game_type = 'slow' AND NOT EXISTS (SELECT FROM gamestate.archive a WHERE a.game_id = p.game_id);
CREATE TABLE changed AS SELECT game_id FROM gamestate.archive WHERE room_code = 'changed';
ALTER SYSTEM RESET gamestate.repack_rate; SELECT pg_reload_conf()});
state_is('slow', 'done', 'it goes on after each crash');
whole('slow', 'slow', 1499, 'after crashes');
whole('other', 'default', 700, 'after crashes another');
is(sql(q{SELECT count(*) FROM changed c FULL JOIN (SELECT game_id FROM gamestate.archive WHERE room_code = 'changed') a USING (game_id) WHERE c.game_id IS NULL OR a.game_id IS NULL}), '0', 'changes meanwhile are not lost');
nothing_left('after crashes');

# ---------------------------------------------------------------------------
note 'While the archive is read and written';

sql(q{SELECT play('busy', 800); SELECT play('fixed', 400)});
becomes(q{SELECT count(*) = 1200 FROM gamestate.archive WHERE game_type IN ('busy', 'fixed')}, 'games of before');
sql(q{CREATE TABLE old_games AS SELECT game_id FROM gamestate.archive WHERE game_type IN ('busy', 'fixed'); GRANT SELECT ON old_games TO PUBLIC});
my $checks = $node->basedir . '/check.sql';
append_to_file($checks, q{
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT 1 / (count(*) = 1200)::int FROM gamestate.archive a JOIN old_games USING (game_id);
SELECT 1 / (count(*) = 1200 AND count(DISTINCT game_id) = 1200)::int FROM gamestate.archive_payload JOIN old_games USING (game_id) WHERE game_type IN ('busy', 'fixed');
COMMIT;
SELECT 1 / (count(*) = 800)::int FROM gamestate.archive JOIN old_games USING (game_id) WHERE game_type = 'busy';
SELECT 1 / (count(*) = count(DISTINCT game_id) AND count(*) >= 800)::int FROM gamestate.archive WHERE game_type = 'busy';
SELECT 1 / (gamestate.get_state(game_id) IS NOT NULL)::int FROM (SELECT game_id FROM old_games ORDER BY random() LIMIT 1) g;
});
my $plays = $node->basedir . '/play.sql';
append_to_file($plays, "SELECT play('busy', 2);\nSELECT play('fixed', 1);\n\\sleep 10 ms\n");
my @bench = ([ '-M', 'simple', '-c', '2', '-f', $checks ], [ '-M', 'prepared', '-c', '2', '-f', $checks ], [ '-M', 'simple', '-c', '1', '-f', $plays ]);
my @running;
foreach my $b (@bench)
{
	my ($out, $err) = ('', '');
	my $h = IPC::Run::start([ 'pgbench', '-n', '-T', '12', @$b, $node->connstr('postgres') ], '>', \$out, '2>', \$err);
	push @running, [ $h, \$out, \$err ];
}
sleep 2;
sql(q{SELECT gamestate.promote_type('busy')});
state_is('busy', 'done', 'promoted under load');
foreach my $r (@running)
{
	$r->[0]->finish;
	unlike(${ $r->[2] }, qr/ERROR|aborted/, 'nobody was told anything wrong') or diag ${ $r->[2] };
	like(${ $r->[1] }, qr/number of failed transactions: 0|number of transactions actually processed: [1-9]/, 'and they have run');
}
becomes(q{SELECT archive_queue = 0 FROM gamestate.stat_memory}, 'all games are archived');
my $n = sql(q{SELECT count(*) FROM gamestate.archive WHERE game_type = 'busy'});
whole('busy', 'busy', $n, 'under load');
is(sql(q{SELECT max(n) * 2 + 800 - 800 FROM (SELECT count(*) - 400 AS n FROM gamestate.archive WHERE game_type = 'fixed') t}), $n - 800, 'no game is missing');
nothing_left('under load');

# ---------------------------------------------------------------------------
note 'A partition that goes meanwhile, one that comes, one in a file';

my $cold = $node->basedir . '/cold';
mkdir $cold;
sql("ALTER SYSTEM SET gamestate.cold_directory = '$cold'; SELECT pg_reload_conf()");
foreach my $table (qw(archive archive_payload))
{
	sql(qq{CREATE TABLE gamestate_partitions.${table}_june (LIKE gamestate.$table INCLUDING DEFAULTS INCLUDING STORAGE, PRIMARY KEY (game_id)); ALTER TABLE gamestate_partitions.${table}_june OWNER TO gamestate_owner;
ALTER TABLE gamestate_partitions.${table}_default ATTACH PARTITION gamestate_partitions.${table}_june FOR VALUES FROM ('2001-06-01 00:00+00') TO ('2001-07-01 00:00+00')});
}
sub play_in_june
{
	my ($type, $n) = @_;
	sql(qq{WITH g AS (INSERT INTO gamestate.archive (game_id, game_type, status, encoding, players, created_at, ended_at, version, moves)
		SELECT gen_random_uuid(), '$type', 'finished', 'json', '{}', t, t, 1, 0 FROM (SELECT '2001-06-05 00:00+00'::timestamptz + i * interval '1 hour' FROM generate_series(1, $n) i) x(t) RETURNING game_id, game_type, ended_at)
		INSERT INTO gamestate.archive_payload (game_id, game_type, ended_at, format, raw_size, checksum, payload)
		SELECT g.*, p.format, p.raw_size, p.checksum, p.payload FROM g, (SELECT * FROM gamestate.archive_payload WHERE game_type = 'rest' AND dictionary IS NULL ORDER BY game_id LIMIT 1) p});
	return;
}
sql(q{SELECT play('past', 60)});
becomes(q{SELECT count(*) = 60 FROM gamestate.archive WHERE game_type = 'past'}, 'games of today');
play_in_june('past', 100);
play_in_june('rest', 30);
sql(q{SELECT play('rest', 30)});
$pin = $node->background_psql('postgres');
$pin->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
sql(q{SELECT gamestate.promote_type('past')});
becomes(q{SELECT state = 'settling' AND partitions = 4 FROM gamestate.stat_promotion WHERE game_type = 'past'}, 'two periods');
sql(q{DROP TABLE gamestate_partitions.archive_june; DROP TABLE gamestate_partitions.archive_payload_june});
$pin->query_safe('COMMIT');
state_is('past', 'done', 'done without a partition that was dropped');
whole('past', 'past', 60, 'whose games are gone');
nothing_left('after a partition was dropped');

foreach my $table (qw(archive archive_payload))
{
	sql(qq{CREATE TABLE gamestate_partitions.${table}_june (LIKE gamestate.$table INCLUDING DEFAULTS INCLUDING STORAGE, PRIMARY KEY (game_id)); ALTER TABLE gamestate_partitions.${table}_june OWNER TO gamestate_owner;
ALTER TABLE gamestate_partitions.${table}_default ATTACH PARTITION gamestate_partitions.${table}_june FOR VALUES FROM ('2001-06-01 00:00+00') TO ('2001-07-01 00:00+00')});
}
sql(q{SELECT play('later', 60)});
becomes(q{SELECT count(*) = 60 FROM gamestate.archive WHERE game_type = 'later'}, 'games of today');
$pin->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
sql(q{SELECT gamestate.promote_type('later')});
becomes(q{SELECT state = 'settling' AND partitions = 2 FROM gamestate.stat_promotion WHERE game_type = 'later'}, 'one period');
play_in_june('later', 40);
$pin->query_safe('COMMIT');
state_is('later', 'done', 'done with games that came to another partition');
whole('later', 'later', 100, 'with a late period', 1);
nothing_left('with a late period');

play_in_june('rest', 30);
play_in_june('stuck', 30);
becomes(q{SELECT count(*) = 0 FROM gamestate.stat_promotion WHERE state IN ('waiting', 'copying', 'settling')}, 'nothing is under way');
sql(q{SELECT gamestate.freeze_partition('gamestate_partitions.archive_payload_june')});
sql(q{SELECT gamestate.promote_type('stuck')});
state_is('stuck', 'failed', 'a file with games of the type prevents it');
like(sql(q{SELECT reason FROM gamestate.stat_promotion WHERE game_type = 'stuck'}), qr/archive_payload_june has games of it, and it is frozen; gamestate.thaw_partition/, 'and says so');
sql(q{SELECT play('free', 20)});
becomes(q{SELECT count(*) = 20 FROM gamestate.archive WHERE game_type = 'free'}, 'a type that has none there');
sql(q{SELECT gamestate.promote_type('free')});
state_is('free', 'done', 'can be promoted');
whole('free', 'free', 20, 'beside a file');
sql(q{SELECT gamestate.thaw_partition('gamestate_partitions.archive_payload_june'); SELECT gamestate.promote_type('stuck')});
state_is('stuck', 'done', 'and the other after it was thawed');
whole('stuck', 'stuck', 30, 'thawed', 1);
nothing_left('with a file');
$pin->quit;

# ---------------------------------------------------------------------------
note 'On a standby';

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', "hot_standby_feedback = on\nmax_standby_streaming_delay = 30s");
$standby->start;
sql(q{SELECT play('far', 200)});
becomes(q{SELECT count(*) = 200 FROM gamestate.archive WHERE game_type = 'far'}, 'games');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
my $there = $standby->background_psql('postgres');
$there->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
sql(q{SELECT gamestate.promote_type('far')});
state_is('far', 'settling', 'it waits for a snapshot of a standby');
is($there->query_safe(q{SELECT count(*), (SELECT count(*) FROM gamestate.archive_payload WHERE game_type = 'far') FROM gamestate.archive WHERE game_type = 'far'}), '200|200', 'which sees all games');
$there->query_safe('COMMIT');
$reader = $node->background_psql('postgres');
$reader->query_safe(q{BEGIN; SELECT count(*) FROM gamestate.archive WHERE game_type = 'own'});
sleep 2;
$there->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
sql(q{SELECT play('far', 20)});
becomes(q{SELECT count(*) = 220 FROM gamestate.archive WHERE game_type = 'far'}, 'more games');
$reader->query_safe('COMMIT');
$reader->quit;
state_is('far', 'done');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($there->query_safe(q{SELECT count(*), (SELECT count(*) FROM gamestate.archive_payload WHERE game_type = 'far') FROM gamestate.archive WHERE game_type = 'far'}), '200|200', 'a snapshot there from before the last games');
$there->query_safe('COMMIT');
is($standby->safe_psql('postgres', q{SET enable_seqscan = off; SET jit = off; SELECT count(*), count(*) FILTER (WHERE (SELECT final_state ->> 't' FROM gamestate.archived_games g WHERE g.game_id = a.game_id) = 'far') FROM gamestate.archive a WHERE game_type = 'far'}), '220|220', 'and later all');
whole('far', 'far', 220, 'with a standby');
$there->quit;
$standby->stop;

# ---------------------------------------------------------------------------
note 'What cannot be promoted says why';

sql('DROP TABLE IF EXISTS gamestate_partitions.archive_june; DROP TABLE IF EXISTS gamestate_partitions.archive_payload_june');
sub fails
{
	my ($type, $reason, $name) = @_;
	sql("SELECT gamestate.promote_type('$type')");
	state_is($type, 'failed', $name);
	like(sql("SELECT reason FROM gamestate.stat_promotion WHERE game_type = '$type'"), $reason, "$name: why");
	nothing_left($name);
	return;
}
sql('CREATE PUBLICATION everything FOR ALL TABLES');
fails('fixed', qr/a publication of all tables/, 'published');
sql('DROP PUBLICATION everything');
sql(q{CREATE TABLE theirs PARTITION OF gamestate_partitions.archive_default FOR VALUES FROM ('2001-01-01') TO ('2002-01-01');
INSERT INTO gamestate.archive (game_id, game_type, status, encoding, players, created_at, ended_at, version, moves) VALUES (gen_random_uuid(), 'fixed', 'finished', 'json', '{}', '2001-06-01', '2001-06-01', 1, 0)});
fails('fixed', qr/partition public.theirs has games of it, and it is not an ordinary table of gamestate_owner/, 'a table of the DBA\'s');
sql('DROP TABLE theirs');
sql(q{ALTER TABLE gamestate.archive ADD COLUMN note text; ALTER TABLE gamestate.archive DROP COLUMN note});
fails('fixed', qr/columns of it have been dropped/, 'dropped columns');

# A promotion under way is not dumped, and goes with the extension
$pin = $node->background_psql('postgres');
$node->safe_psql('postgres', q{CREATE DATABASE other});
my $in_other = sub { return $node->safe_psql('other', $_[0]) };
$in_other->(q{CREATE EXTENSION gamestate; ALTER DATABASE other SET gamestate.enabled = on});
$in_other->(q{SELECT gamestate.finish_game(gamestate.create_game('one')) FROM generate_series(1, 10)});
ok($node->poll_query_until('other', q{SELECT count(*) = 10 FROM gamestate.archive}), 'another database, where all types share');
$pin->quit;
$pin = $node->background_psql('other');
$pin->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
$in_other->(q{SELECT gamestate.promote_type('one')});
ok($node->poll_query_until('other', q{SELECT state = 'settling' FROM gamestate.stat_promotion}), 'is promoted there');
my ($dump, $dump_err) = run_command([ 'pg_dump', '--schema-only', '-d', $node->connstr('other') ]);
unlike($dump, qr/promote_|archive_one/, 'a dump has no copies');
like($dump, qr/archive_default/, 'but the archive');
my ($code, $out, $err) = $node->psql('other', q{DROP TABLE gamestate_partitions.archive_one});
like($err, qr/because extension gamestate requires it/, 'nobody drops them');
$pin->query_safe('COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
$in_other->(q{SELECT gamestate.allow_drop_extension(); DROP EXTENSION gamestate CASCADE});
is($in_other->(q{SELECT count(*) FROM pg_class WHERE relname ~ '^(archive|promote)'}), '0', 'DROP EXTENSION takes them along');
$pin->quit;

$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/TRAP|PANIC|leaked|missing chunk|could not read block/, 'the log has nothing bad');
done_testing();
