# Partitions of the archive: how long they are, made ahead, moved when they are old,
# detached in whatever state somebody has left them.
#
# A layer of its own because the maintenance worker does it, after commits, in the way
# of other sessions, with tablespaces, and anew after a restart.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.maintenance_interval = 300ms
max_worker_processes = 12
autovacuum = off
TimeZone = 'Asia/Kolkata'
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
CREATE FUNCTION bound(relid regclass, n int) RETURNS timestamptz LANGUAGE sql AS
$$ SELECT (regexp_match(pg_get_expr(relpartbound, oid), $r$FROM \('(.*)'\) TO \('(.*)'\)$r$))[n]::timestamptz FROM pg_class WHERE oid = relid $$;
CREATE VIEW leaves AS
SELECT r.root, substring(p.parentrelid::text FROM '.*' || r.root || '_(.*)') AS type, p.relid, bound(p.relid, 1) AS from, bound(p.relid, 2) AS to
  FROM (VALUES ('archive'), ('archive_payload')) r(root), pg_partition_tree(('gamestate.' || r.root)::regclass) p
 WHERE p.isleaf AND p.level = 2;
CREATE FUNCTION play(game_type text, n int DEFAULT 1) RETURNS void LANGUAGE sql AS
$$ SELECT gamestate.finish_game(gamestate.create_game(game_type)) FROM generate_series(1, n) $$;
});

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub becomes
{
	my ($query, $name) = @_;
	ok($node->poll_query_until('postgres', "SELECT coalesce(bool_and(x), false) FROM ($query) AS q(x)"), $name)
	  or diag sql('SELECT * FROM leaves ORDER BY 1, 2, 4') . sql('SELECT kind, state, last_error FROM gamestate.stat_workers');
	return;
}

sub archived { becomes("SELECT count(*) = $_[1] FROM gamestate.archive JOIN gamestate.archive_payload USING (game_type, ended_at, game_id) WHERE game_type = '$_[0]'", $_[2] // "$_[1] games of $_[0]"); return; }

# Both tables have the leaves of a type from its first one to a time, without holes.
sub covered
{
	my ($type, $until, $name) = @_;
	becomes(qq{SELECT count(*) = 2 FROM (SELECT root FROM leaves WHERE type = '$type' GROUP BY root
		HAVING max("to") >= $until AND sum("to" - "from") = max("to") - min("from")) t}, $name);
	return;
}

# ---------------------------------------------------------------------------
note 'Intervals';

sql(q{INSERT INTO gamestate.policy (game_type, partition_interval, make_ahead) VALUES ('hours', 'hour', 3), ('weeks', 'week', 1), ('months', 'month', NULL), ('none', 'day', 0)});
sql("SELECT play('$_')") foreach qw(hours days weeks months none);
archived($_, 1) foreach qw(hours days weeks months none);
covered('hours', q{date_trunc('hour', now(), 'UTC') + interval '4 hours'}, 'three hours ahead');
covered('days', q{date_trunc('day', now(), 'UTC') + interval '3 days'}, 'two days, as the setting says');
covered('weeks', q{date_trunc('week', now(), 'UTC') + interval '2 weeks'}, 'a week');
covered('months', q{(date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months') AT TIME ZONE 'UTC'}, 'two months');
is(sql(q{SELECT DISTINCT type, "from" = date_trunc('hour', "from", 'UTC'), "to" - "from" FROM leaves WHERE type = 'hours'}), 'hours|t|01:00:00', 'hours');
is(sql(q{SELECT DISTINCT type, "from" = date_trunc('week', "from", 'UTC'), "to" - "from" FROM leaves WHERE type = 'weeks'}), 'weeks|t|7 days', 'weeks from Monday in UTC');
is(sql(q{SELECT DISTINCT type, "from" = date_trunc('month', "from", 'UTC'), "to" = date_trunc('month', "to", 'UTC') FROM leaves WHERE type = 'months'}), 'months|t|t', 'months in UTC');
is(sql(q{SELECT count(*) FROM leaves WHERE type = 'none'}), '2', 'with make_ahead 0 only what was needed');
is(sql(q{SELECT count(*) FROM leaves WHERE type = 'hours' AND relid::text !~ '_p\d{8}(t\d\d)?$'}), '0', 'names say when');

note 'Another interval later';
sql(q{UPDATE gamestate.policy SET partition_interval = 'month', make_ahead = 1 WHERE game_type = 'hours';
UPDATE gamestate.policy SET partition_interval = 'day', make_ahead = 40 WHERE game_type = 'months';
INSERT INTO gamestate.policy (game_type, partition_interval, make_ahead) VALUES ('days', 'week', 2)});
covered('hours', q{(date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months') AT TIME ZONE 'UTC'}, 'months behind hours');
is(sql(q{SELECT count(*) FROM leaves WHERE type = 'hours' AND "to" - "from" > '1 hour' AND "to" <> date_trunc('month', "to", 'UTC')}), '0', 'up to the end of a month');
covered('days', q{date_trunc('week', now(), 'UTC') + interval '3 weeks'}, 'weeks behind days');
# three months are there already; days begin where they end, when they are due
covered('months', q{date_trunc('day', now(), 'UTC') + interval '41 days'}, 'days behind months');
is(sql(q{SELECT count(DISTINCT "to") FROM leaves WHERE type = 'months'}), '3', 'none within the months that are there');
sql(q{SELECT play('hours', 2), play('days', 2), play('months', 2)});
archived($_, 3, 'found their places') foreach qw(hours days months);

note 'Who is in the way, and a restart';
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE gamestate_partitions.archive_weeks IN SHARE UPDATE EXCLUSIVE MODE');
sql(q{UPDATE gamestate.policy SET make_ahead = 4 WHERE game_type IN ('weeks', 'none')});
covered('none', q{date_trunc('day', now(), 'UTC') + interval '5 days'}, 'one that is locked does not hold up another');
$locker->query_safe('COMMIT');
$locker->quit;
covered('weeks', q{date_trunc('week', now(), 'UTC') + interval '5 weeks'}, 'and is served later');
$node->restart;
sql(q{DO $$DECLARE r record; BEGIN
	FOR r IN SELECT relid FROM leaves WHERE type = 'none' AND "from" > now() LOOP EXECUTE 'DROP TABLE ' || r.relid; END LOOP; END$$});
covered('none', q{date_trunc('day', now(), 'UTC') + interval '5 days'}, 'which types are in use is not forgotten');

note 'The default branch follows the default policy';
sql(q{ALTER SYSTEM SET gamestate.archive_max_types = 5; SELECT pg_reload_conf();
INSERT INTO gamestate.policy (game_type, partition_interval) VALUES ('', 'week'), ('shared', 'hour')});
sql(q{SELECT play('shared')});
archived('shared', 1);
covered('default', q{date_trunc('week', now(), 'UTC') + interval '3 weeks'}, 'weeks ahead');
sql(q{DELETE FROM gamestate.policy WHERE game_type = ''});

note 'Partitions of somebody else';
sql(q{CREATE TABLE mine PARTITION OF gamestate.archive FOR VALUES IN ('theirs') PARTITION BY RANGE (ended_at);
CREATE TABLE mine_payload PARTITION OF gamestate.archive_payload FOR VALUES IN ('theirs') PARTITION BY RANGE (ended_at);
ALTER TABLE mine OWNER TO gamestate_owner; ALTER TABLE mine_payload OWNER TO gamestate_owner;
DO $$BEGIN
	EXECUTE format('CREATE TABLE mine_now PARTITION OF mine FOR VALUES FROM (%L) TO (%L)', now() - interval '10 days', now() + interval '20 minutes');
	EXECUTE format('CREATE TABLE mine_payload_now PARTITION OF mine_payload FOR VALUES FROM (%L) TO (%L)', now() - interval '3 hours', now() + interval '30 minutes');
END$$;
ALTER TABLE mine_now OWNER TO gamestate_owner; ALTER TABLE mine_payload_now OWNER TO gamestate_owner;
SELECT play('theirs', 3)});
archived('theirs', 3, 'are used whatever their bounds');
sql(q{UPDATE gamestate.policy SET make_ahead = 5 WHERE game_type = 'none'});
covered('none', q{date_trunc('day', now(), 'UTC') + interval '6 days'}, 'the worker had its turn');
is(sql(q{SELECT count(*) FROM pg_partition_tree('mine') WHERE isleaf}), '1', 'and none is made for them');

# ---------------------------------------------------------------------------
note 'Tablespaces';

sql("SET allow_in_place_tablespaces = on; CREATE TABLESPACE old_games LOCATION ''");
sql("SET allow_in_place_tablespaces = on; CREATE TABLESPACE elsewhere LOCATION ''");
sub old_leaf
{
	my ($type, $days, $name) = @_;
	foreach my $root (qw(archive archive_payload))
	{
		sql(qq{CREATE TABLE gamestate_partitions.${root}_$name (LIKE gamestate.$root INCLUDING DEFAULTS INCLUDING STORAGE, PRIMARY KEY (game_id));
ALTER TABLE gamestate_partitions.${root}_$name OWNER TO gamestate_owner;
DO \$\$BEGIN EXECUTE format('ALTER TABLE gamestate_partitions.${root}_$type ATTACH PARTITION gamestate_partitions.${root}_$name FOR VALUES FROM (%L) TO (%L)', now() - interval '$days days' - interval '1 day', now() - interval '$days days'); END\$\$});
	}
	return;
}
my $where = q{SELECT string_agg(DISTINCT coalesce(t.spcname, 'default'), ',') FROM pg_class c LEFT JOIN pg_tablespace t ON t.oid = c.reltablespace
	WHERE c.oid = '%1$s'::regclass OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = '%1$s'::regclass)
	   OR c.oid = (SELECT reltoastrelid FROM pg_class WHERE oid = '%1$s'::regclass)};
sub where { return sprintf $where, "gamestate_partitions.$_[0]"; }
old_leaf('days', 40, 'forty');
old_leaf('days', 20, 'twenty');
old_leaf('days', 60, 'moved');
sql(q{CREATE INDEX own ON gamestate_partitions.archive_forty (ended_at);
CREATE INDEX own_place ON gamestate_partitions.archive_forty (version) TABLESPACE elsewhere;
ALTER TABLE gamestate_partitions.archive_moved SET TABLESPACE elsewhere});
# a tablespace that is missing is the matter of its type alone
old_leaf('months', 400, 'astray');
sql(q{UPDATE gamestate.policy SET old_tablespace = 'no_such_place', old_tablespace_after = '300 days' WHERE game_type = 'months'});
becomes(q{SELECT last_error = 'tablespace "no_such_place" does not exist' FROM gamestate.stat_workers WHERE kind = 'maintenance'}, 'whose tablespace is missing');
sql(q{UPDATE gamestate.policy SET old_tablespace = 'old_games', old_tablespace_after = '30 days' WHERE game_type = 'days'});
my $reader = $node->background_psql('postgres');
$reader->query_safe(q{BEGIN; SELECT count(*) FROM gamestate_partitions.archive_forty});
sql(q{GRANT CREATE ON TABLESPACE old_games TO gamestate_owner});
becomes('SELECT (' . where('archive_payload_forty') . q{) = 'old_games'}, 'moved, with its indexes and TOAST, while another is in use');
is(sql(where('archive_forty')) =~ /default/ ? 1 : 0, 1, 'which waits');
$reader->query_safe('COMMIT');
$reader->quit;
becomes('SELECT (' . where('archive_forty') . q{) = 'elsewhere,old_games'}, 'then it is moved too, but for an index that a DBA has put elsewhere');
is(sql(where('archive_twenty')), 'default', 'a younger one stays');
is(sql(q{SELECT spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = reltablespace WHERE c.oid = 'gamestate_partitions.archive_moved'::regclass}), 'elsewhere', 'one that a DBA has moved stays');
sql(q{UPDATE gamestate.policy SET old_tablespace = NULL WHERE game_type = 'months'; REVOKE CREATE ON TABLESPACE old_games FROM gamestate_owner});
old_leaf('days', 50, 'fifty');
becomes(q{SELECT last_error LIKE 'permission denied for tablespace%' FROM gamestate.stat_workers WHERE kind = 'maintenance'}, 'a failure is told');
sql(q{GRANT CREATE ON TABLESPACE old_games TO gamestate_owner});
sql(q{ALTER TABLE gamestate_partitions.archive_payload_forty SET TABLESPACE pg_default});
becomes('SELECT (' . where('archive_payload_moved') . q{) = 'old_games'}, 'the worker goes on');
sql(q{UPDATE gamestate.policy SET make_ahead = 3 WHERE game_type = 'days'});
becomes(q{SELECT max("to") >= date_trunc('week', now(), 'UTC') + interval '4 weeks' FROM leaves WHERE type = 'days'}, 'and has another turn');
is(sql(q{SELECT reltablespace FROM pg_class WHERE oid = 'gamestate_partitions.archive_payload_forty'::regclass}), '0', 'what a DBA has moved back stays');
becomes(q{SELECT count(*) > 0 FROM gamestate.tablespace_log WHERE relation = 'gamestate_partitions.archive_forty' AND tablespace = 'old_games'}, 'the log says so');

# ---------------------------------------------------------------------------
note 'Detaching';

# with a default partition DETACH CONCURRENTLY is refused
old_leaf('weeks', 50, 'expired');
sql(q{SET ROLE gamestate_owner; CREATE TABLE gamestate_partitions.rest PARTITION OF gamestate_partitions.archive_weeks DEFAULT;
INSERT INTO gamestate_partitions.archive_expired (game_id, game_type, status, encoding, players, created_at, ended_at, version, moves)
	SELECT gen_random_uuid(), 'weeks', 'finished', 'json', '{}', t, t, 1, 0 FROM (SELECT now() - interval '50 days 1 hour') x(t)});
sql(q{UPDATE gamestate.policy SET retention = '45 days' WHERE game_type = 'weeks'});
becomes(q{SELECT count(*) = 2 FROM gamestate.retention_log WHERE game_type = 'weeks' AND done_at IS NOT NULL}, 'a branch with a default partition loses its old ones');
is(sql(q{SELECT count(*) FROM pg_class WHERE relname LIKE 'archive%_expired'}), '0', 'they are dropped');

# a detach of a DBA's that was interrupted is finalized when the worker starts
old_leaf('none', 50, 'pending');
$reader = $node->background_psql('postgres');
$reader->query_safe(q{BEGIN; SELECT count(*) FROM gamestate.archive});
my ($rc, $out, $err) = $node->psql('postgres', q{SET statement_timeout = '1s'; ALTER TABLE gamestate_partitions.archive_none DETACH PARTITION gamestate_partitions.archive_pending CONCURRENTLY});
is(sql(q{SELECT count(*) FROM pg_inherits WHERE inhdetachpending}), '1', 'a detach is pending');
$reader->query_safe('COMMIT');
$reader->quit;
$node->restart;
becomes(q{SELECT count(*) = 0 FROM pg_inherits WHERE inhdetachpending}, 'finalized after a start');
is(sql(q{SELECT count(*) FROM gamestate_partitions.archive_pending}), '0', 'the table is there still');

# ---------------------------------------------------------------------------
note 'Settling';

# who holds a lock on the archive may have planned a query before a partition was there
sub restart_archiver
{
	my $pid = sql(q{SELECT pid FROM gamestate.stat_workers WHERE kind = 'archiver'});
	sql("SELECT pg_terminate_backend($pid)");
	becomes("SELECT pid <> $pid AND state = 'running' FROM gamestate.stat_workers WHERE kind = 'archiver'", 'another archiver');
	return;
}
my $none = sql(q{SELECT count(*) FROM gamestate.archive WHERE game_type = 'none'});
sql(q{SELECT play('none')});
archived('none', $none + 1, 'a partition that everybody knows');
sleep(2); # until the archiver has noticed that
$reader = $node->background_psql('postgres');
# (not the partitions, so that new ones can be attached)
$reader->query_safe('BEGIN; LOCK TABLE ONLY gamestate.archive IN ACCESS SHARE MODE');
restart_archiver();
sql(q{SELECT play('none')});
archived('none', $none + 2, 'it is used at once, although somebody has locked the archive');
sql(q{DO $$DECLARE r record; BEGIN
	FOR r IN SELECT relid FROM leaves WHERE type = 'months' AND now() BETWEEN "from" AND "to" LOOP EXECUTE format('DROP TABLE %s', r.relid); END LOOP; END$$});
sql(q{SELECT play('months')});
becomes(q{SELECT count(*) = 2 FROM leaves WHERE type = 'months' AND now() BETWEEN "from" AND "to"}, 'a new partition');
restart_archiver();
sql(q{SELECT play('none')});
archived('none', $none + 3, 'the other one is used still');
is(sql(q{SELECT archive_queue FROM gamestate.stat_memory}), '1', 'the new one is not');
is($reader->query_safe(q{SELECT count(*) FROM gamestate.games WHERE game_type = 'months'}), '1', 'so that every game is found');
$reader->query_safe('COMMIT');
$reader->quit;
archived('months', 1, 'until nobody has it locked');

$node->stop;
done_testing();
