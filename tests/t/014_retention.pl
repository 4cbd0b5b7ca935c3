# Retention: partitions of the archive go when the policy of their type says
# so, whoever is reading and whatever is killed meanwhile.
#
# A layer of its own because the maintenance worker does it, waits for other
# sessions, and is killed.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.maintenance_interval = 1s
max_worker_processes = 12
autovacuum = off
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
CREATE VIEW partitions AS
SELECT c.relname::text AS name, t.name AS root
  FROM (VALUES ('gamestate.archive'), ('gamestate.archive_payload')) t(name),
	   pg_partition_tree(t.name::regclass) p JOIN pg_class c ON c.oid = p.relid
 WHERE p.isleaf;
});

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub becomes
{
	my ($query, $name) = @_;
	ok($node->poll_query_until('postgres', $query), $name) or diag sql('TABLE gamestate.retention_log') . sql('SELECT * FROM partitions');
	return;
}

# Archived games of a type, with partitions as old as we like: made as a DBA
# would, in the extension's schema and as its role.
sub make_old
{
	my ($type, @days) = @_;
	my $n = sql("SELECT count(gamestate.finish_game(gamestate.create_game('$type'))) FROM generate_series(1, 3)");
	is($n, '3', "games of type $type");
	becomes("SELECT count(*) = 3 FROM gamestate.archive WHERE game_type = '$type' AND NOT metadata::text ~ 'old'", 'archived');
	foreach my $ago (@days)
	{
		foreach my $root (qw(archive archive_payload))
		{
			my $columns = $root eq 'archive'
				? q{(game_id, game_type, status, encoding, players, metadata, created_at, ended_at, version, moves) SELECT gen_random_uuid(), '%s', 'finished', 'json', '{}', '{"old": 1}', d, d, 2, 0}
				: q{(game_id, game_type, ended_at, format, raw_size, checksum, payload) SELECT gen_random_uuid(), '%s', d, 1, 1, 1, ''};
			$columns = sprintf $columns, $type;
			sql(qq{
SET ROLE gamestate_owner;
CREATE TABLE gamestate_partitions.${root}_${type}_old_$ago (LIKE gamestate.$root INCLUDING DEFAULTS INCLUDING STORAGE, PRIMARY KEY (game_id));
DO \$\$BEGIN EXECUTE format('ALTER TABLE gamestate_partitions.${root}_$type ATTACH PARTITION gamestate_partitions.${root}_${type}_old_$ago FOR VALUES FROM (%L) TO (%L)',
	date_trunc('day', now(), 'UTC') - interval '$ago days', date_trunc('day', now(), 'UTC') - interval '$ago days' + interval '1 day'); END\$\$;
INSERT INTO gamestate.$root $columns FROM (SELECT date_trunc('day', now(), 'UTC') - interval '$ago days' + interval '1 hour') t(d);
});
		}
	}
	return;
}

sub leaves
{
	my ($root, $type) = @_;
	return sql("SELECT string_agg(substring(name from 'old_.*'), ' ' ORDER BY name) FROM partitions WHERE root = 'gamestate.$root' AND name LIKE '$root\\_$type\\_old%'");
}

# ---------------------------------------------------------------------------
note 'The worker';

becomes(q{SELECT state = 'running' FROM gamestate.stat_workers WHERE kind = 'maintenance'}, 'runs beside the archiver');
my $pid = sql(q{SELECT pid FROM gamestate.stat_workers WHERE kind = 'maintenance'});
sql("SELECT pg_terminate_backend($pid)");
becomes("SELECT pid <> $pid FROM gamestate.stat_workers WHERE kind = 'maintenance' AND state = 'running'", 'comes back');
$node->append_conf('postgresql.conf', 'gamestate.maintenance = off');
$node->reload;
becomes(q{SELECT pid IS NULL FROM gamestate.stat_workers WHERE kind = 'maintenance'}, 'leaves when it is switched off');
$node->adjust_conf('postgresql.conf', 'gamestate.maintenance', 'on');
$node->reload;
becomes(q{SELECT state = 'running' FROM gamestate.stat_workers WHERE kind = 'maintenance'}, 'and comes again');

# ---------------------------------------------------------------------------
note 'Payloads go earlier than rows';

make_old('chess', 2, 40, 100, 400);
is(leaves('archive', 'chess'), 'old_100 old_2 old_40 old_400', 'no policy, nothing goes');
# more years than there are keep a type for ever, and do not keep others
sql(q{INSERT INTO gamestate.policy (game_type, retention, payload_retention, freeze_after, old_tablespace, old_tablespace_after)
	VALUES ('', '290000 years', '170000000 years', '100000 years', 'pg_default', '9000 years')});
sql(q{INSERT INTO gamestate.policy (game_type, retention, payload_retention) VALUES ('chess', '1 year', '90 days')});
becomes(q{SELECT count(*) = 3 FROM gamestate.retention_log WHERE done_at IS NOT NULL}, 'three partitions are removed');
is(sql(q{SELECT failures, last_error IS NULL FROM gamestate.stat_workers WHERE kind = 'maintenance'}), '0|t', 'by a worker without failures');
sql(q{DELETE FROM gamestate.policy WHERE game_type = ''});
is(leaves('archive', 'chess'), 'old_100 old_2 old_40', 'a year of rows');
is(leaves('archive_payload', 'chess'), 'old_2 old_40', '90 days of payloads');
is(sql(q{SELECT count(*) FROM pg_class WHERE relname ~ 'old_400'}), '0', 'dropped, not just detached');
is(sql(q{SELECT string_agg(concat_ws(' ', partition, game_type, action), ', ' ORDER BY partition) FROM gamestate.retention_log}),
	'gamestate_partitions.archive_chess_old_400 chess drop, gamestate_partitions.archive_payload_chess_old_100 chess drop, gamestate_partitions.archive_payload_chess_old_400 chess drop',
	'the log says so');
is(sql(q{SELECT count(*) FROM gamestate.archive WHERE game_type = 'chess'}), '6', 'today and the rest stay');

# ---------------------------------------------------------------------------
note 'Detach, the default policy, a reader in the way';

make_old('go', 40, 50);
my $reader = $node->background_psql('postgres');
$reader->query_safe(q{BEGIN; SELECT count(*) FROM gamestate.archive});
sql(q{INSERT INTO gamestate.policy (game_type, retention, retention_action) VALUES ('', '30 days', 'detach')});
becomes(q{SELECT count(*) = 4 FROM gamestate.retention_log WHERE game_type = 'go'}, 'decided');
sql(q{SELECT gamestate.finish_game(gamestate.create_game('go'))});
becomes(q{SELECT count(*) = 4 FROM gamestate.archive WHERE game_type = 'go' AND metadata::text !~ 'old'}, 'archiving goes on while a reader keeps a partition');
is($reader->query_safe(q{SELECT count(*) > 0 FROM gamestate.archive}), 't', 'so does that reader');
$reader->query_safe('COMMIT');
$reader->quit;
becomes(q{SELECT count(*) = 4 FROM gamestate.retention_log WHERE game_type = 'go' AND done_at IS NOT NULL}, 'then all are removed');
is(leaves('archive', 'go'), '', 'detached');
is(sql(q{SELECT count(*) FROM gamestate_partitions.archive_go_old_40}), '1', 'and kept as tables');
is(leaves('archive', 'chess'), 'old_100 old_2 old_40', 'a type with its own row keeps what that says');

# ---------------------------------------------------------------------------
note 'Crashes';

make_old('ludo', 10, 20);
$node->safe_psql('postgres', q{ALTER SYSTEM SET gamestate.maintenance = off; SELECT pg_reload_conf()});
becomes(q{SELECT pid IS NULL FROM gamestate.stat_workers WHERE kind = 'maintenance'}, 'the worker is off');
$reader = $node->background_psql('postgres');
$reader->query_safe(q{BEGIN; SELECT count(*) FROM gamestate.archive});
sql(q{INSERT INTO gamestate.policy (game_type, retention, retention_action) VALUES ('ludo', '5 days', 'drop')});
$node->safe_psql('postgres', q{ALTER SYSTEM RESET gamestate.maintenance; SELECT pg_reload_conf()});
becomes(q{SELECT count(*) > 0 FROM pg_inherits WHERE inhdetachpending}, 'a detach waits for a reader');
$node->stop('immediate');
eval { $reader->quit };
$node->start;
becomes(q{SELECT count(*) = 4 FROM gamestate.retention_log WHERE game_type = 'ludo' AND done_at IS NOT NULL}, 'after a crash it is finished');
is(sql(q{SELECT count(*) FROM pg_class WHERE relname ~ 'ludo_old'}), '0', 'nothing is left of it');
is(sql(q{SELECT count(*) FROM pg_inherits WHERE inhdetachpending}), '0', 'no detach is pending');

# ---------------------------------------------------------------------------
note 'What is not ours';

make_old('dba', 10);
sql(q{CREATE TABLE public.mine (LIKE gamestate.archive INCLUDING DEFAULTS, PRIMARY KEY (game_id));
	SET ROLE gamestate_owner; SELECT 1});
sql(q{DO $$BEGIN EXECUTE format('ALTER TABLE gamestate_partitions.archive_dba ATTACH PARTITION public.mine FOR VALUES FROM (%L) TO (%L)', now() - interval '100 days', now() - interval '50 days'); END$$});
sql(q{INSERT INTO gamestate.policy (game_type, retention) VALUES ('dba', '5 days')});
becomes(q{SELECT count(*) = 2 FROM gamestate.retention_log WHERE game_type = 'dba' AND done_at IS NOT NULL}, 'ours go');
is(sql(q{SELECT count(*) FROM partitions WHERE name = 'mine'}), '1', 'a partition of the DBA stays');

# ---------------------------------------------------------------------------
note 'The worker is woken by the commit of a policy, which may go on for a while';

make_old('woken', 10, 20);
$node->append_conf('postgresql.conf', 'gamestate.maintenance_interval = 1h');
$node->reload;
sleep(3); # until all tasks have had their turn
sql(q{BEGIN;
	INSERT INTO gamestate.policy (game_type, retention, retention_action) VALUES ('woken', '5 days', 'drop');
	SELECT count(gamestate.create_game('many', '"state"', ARRAY['p' || i])) FROM generate_series(1, 2000) i;
	COMMIT});
becomes(q{SELECT count(*) = 4 FROM gamestate.retention_log WHERE game_type = 'woken' AND done_at IS NOT NULL}, 'and follows it at once');

# what a policy may say
foreach my $bad (q{('x', '-1 day', NULL)}, q{('x', NULL, 'keep')})
{
	isnt($node->psql('postgres', "INSERT INTO gamestate.policy (game_type, retention, retention_action) VALUES $bad"), 0, "refused: $bad");
}

done_testing();
