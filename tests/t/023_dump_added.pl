# pg_dump and pg_restore when a DBA has added columns, constraints, indexes and triggers to
# the archive's tables, the way the README says.
#
# A layer of its own because it runs pg_dump and pg_restore.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
max_worker_processes = 20
});
$node->start;

sub sql { my ($sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }
sub becomes { my ($query, $name, $db) = @_; ok($node->poll_query_until($db // 'postgres', $query), $name); return; }

my $columns = q{
ALTER TABLE gamestate.archive ADD COLUMN season int NOT NULL DEFAULT 3, ADD CONSTRAINT season_ok CHECK (season > 0);
ALTER TABLE gamestate.archive_payload ADD COLUMN note text, ADD COLUMN twice bigint GENERATED ALWAYS AS (raw_size::bigint * 2) STORED;
};
my $index = q{CREATE INDEX archive_players_idx ON %s gamestate.archive USING gin (players)};
my $triggers = q{CREATE TRIGGER mine BEFORE INSERT ON gamestate.archive FOR EACH ROW EXECUTE FUNCTION mine()};
my $play = q{SELECT count(gamestate.finish_game(gamestate.create_game('go', '{"a": 1}', '{ann,bob}', metadata => '{"at": 2}'))) FROM generate_series(1, 10)};

sql(qq{CREATE EXTENSION gamestate; $play});
becomes('SELECT count(*) = 10 FROM gamestate.archive', 'games are archived');
sql($columns . sprintf($index, '') . qq{;
CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.season := 4; RETURN NEW; END';
$triggers; $play});
becomes('SELECT count(*) = 20 FROM gamestate.archive', 'and more, with what was added');
my $leaf = sql(q{SELECT DISTINCT tableoid::regclass FROM gamestate.archive});
sql(qq{CREATE INDEX own ON $leaf (moves); CREATE TRIGGER own AFTER DELETE ON $leaf FOR EACH ROW EXECUTE FUNCTION mine(); COMMENT ON TABLE $leaf IS 'mine'});

my $all = q{SELECT (SELECT string_agg(a::text, E'\n' ORDER BY game_id) FROM gamestate.archive a), (SELECT string_agg(p::text, E'\n' ORDER BY game_id) FROM gamestate.archive_payload p),
	(SELECT string_agg(concat_ws(' ', relid::regclass, pg_get_indexdef(indexrelid), indisvalid), E'\n' ORDER BY indexrelid::regclass::text)
	   FROM pg_partition_tree('gamestate.archive') JOIN pg_index ON indrelid = relid),
	(SELECT string_agg(concat_ws(' ', t.relid::regclass, tgname), E'\n' ORDER BY t.relid::regclass::text, tgname) FROM pg_partition_tree('gamestate.archive') t JOIN pg_trigger ON tgrelid = t.relid),
	(SELECT string_agg(concat_ws(' ', t.relid::regclass, conname, pg_get_constraintdef(c.oid), conislocal AND t.level = 0), E'\n' ORDER BY t.relid::regclass::text, conname)
	   FROM pg_partition_tree('gamestate.archive') t JOIN pg_constraint c ON conrelid = t.relid AND contype = 'c')};
my $before = sql($all);
like($before, qr/season_ok.*/, 'all of it is there');

my $dump = $node->basedir . '/dump';
my @restore = ('pg_restore', '-e', '-d', $node->connstr('restored'));
command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'pg_dump');
sql('CREATE DATABASE restored');
command_fails_like([ @restore, $dump ], qr/archive_(payload_)?go" contains column "\w+" not found in parent/, 'it cannot be restored without the columns');
sql('DROP DATABASE restored');
sql('CREATE DATABASE restored');
sql("CREATE EXTENSION gamestate; $columns", 'restored');
command_ok([ @restore, '--section=pre-data', '--section=data', $dump ], 'tables and rows');
sql(sprintf($index, 'ONLY'), 'restored');
command_ok([ @restore, '--section=post-data', $dump ], 'indexes and triggers');
sql($triggers, 'restored');
is(sql($all, 'restored'), $before, 'the same rows, indexes, triggers and constraints');
sql($play, 'restored');
becomes('SELECT count(*) = 30 FROM gamestate.archive', 'and games are archived', 'restored');
is(sql(q{SELECT season, count(*) FROM gamestate.archive GROUP BY 1 ORDER BY 1}, 'restored'), "3|10\n4|20", 'as before');
is(sql(q{SELECT count(*) FROM gamestate.verify_archive()}, 'restored'), '0', 'nothing is damaged');
$node->stop;
done_testing();
