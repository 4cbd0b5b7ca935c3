# Dead letters elsewhere: on a standby and after its promotion, in a dump and a restored
# database, beside games that were saved; and a retry whose partition is missing.
#
# A layer of its own because it needs a standby, pg_dump and what the archiver does.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
max_worker_processes = 20
});
$node->start;

sub sql { my ($sql, $db, $at) = @_; return ($at // $node)->safe_psql($db // 'postgres', $sql); }
sub error { my ($sql, $db, $at) = @_; my ($rc, $out, $err) = ($at // $node)->psql($db // 'postgres', "\\set VERBOSITY verbose\n$sql"); return $err; }
sub becomes { my ($query, $name) = @_; ok($node->poll_query_until('postgres', $query), $name) or diag sql('TABLE gamestate.stat_archiver'); return; }

my $request = 'b0000000-0000-4000-8000-000000000001';
sql(q{CREATE EXTENSION gamestate;
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql AS $$SELECT ('13130000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.metadata::text LIKE '%poison%' THEN RAISE EXCEPTION 'this game is poison'; END IF;
	RETURN NEW;
END $$;
CREATE FUNCTION others() RETURNS boolean LANGUAGE sql AS $$
SELECT count(gamestate.finish_game(gamestate.create_game('go'))) > 0 FROM generate_series(1, 5)
$$;
-- all that is known of a game
CREATE FUNCTION whole(game uuid) RETURNS text LANGUAGE sql AS $$
SELECT concat_ws(' ', g.tier, g.status, g.state, g.state_bytes, g.players, g.metadata, g.result, g.version, g.ended_at,
	(SELECT string_agg(c::text, ' ' ORDER BY version) FROM gamestate.get_changes(game) c),
	(SELECT string_agg(v.tier || v.state::text, ' ') FROM gamestate.games v WHERE v.game_id = game)) FROM gamestate.get_game(game) g
$$;
INSERT INTO gamestate.policy (game_type, archive_attempts) VALUES ('', 1);
CREATE TRIGGER poison BEFORE INSERT ON gamestate.archive FOR EACH ROW EXECUTE FUNCTION poison()});
sql(qq{SELECT others();
SELECT gamestate.create_game('go', '{"n": 0}', '{ann,"b ü"}', metadata => '{"poison": "ü"}', game_id => id(n)) FROM generate_series(1, 3) n;
SELECT gamestate.apply_move(id(n), 1, '{"take": 1}', '{"n": 1}', 'ann', request_id => '$request') FROM generate_series(1, 3) n;
SELECT gamestate.create_game_bytes('go', '\\x00ff', metadata => '{"poison": 2}', game_id => id(4))});
is(sql('SELECT gamestate.save_live_games() >= 4'), 't', 'games are saved while they are live');
sql('SELECT gamestate.finish_game(id(n)) FROM generate_series(1, 4) n');
becomes(q{SELECT others() AND (SELECT count(*) = 4 FROM gamestate.dead_letter) FROM pg_sleep(0.2)}, 'there are dead letters');
my $whole = sql('SELECT whole(id(n)) FROM generate_series(1, 4) n');
like($whole, qr/^dead_letter .*dead_letter\{"n": 1\}$/m, 'they can be read');
my $letters = sql('SELECT d::text FROM gamestate.dead_letter d ORDER BY game_id');

note 'A standby';
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is(sql('SELECT whole(id(n)) FROM generate_series(1, 4) n', 'postgres', $standby), $whole, 'they can be read there');
is(sql('SELECT d::text FROM gamestate.dead_letter d ORDER BY game_id', 'postgres', $standby), $letters, 'and listed');
foreach my $call ('gamestate.retry_dead_letter(id(1))', 'gamestate.discard_dead_letter(id(1))', q{gamestate.create_game('go', game_id => id(1))}, q{gamestate.resume_archiving()})
{
	like(error("SELECT $call", 'postgres', $standby), qr/ERROR:  25006: cannot execute \w+\(\) (during recovery|in a read-only transaction)/, "$call is refused");
}
$standby->promote;
is(sql('SELECT whole(id(n)) FROM generate_series(1, 4) n', 'postgres', $standby), $whole, 'after the promotion too');
is(sql('SELECT gamestate.retry_dead_letter(id(1))', 'postgres', $standby), 'f', 'then it can be tried again');
is(sql('SELECT gamestate.discard_dead_letter(id(2)); SELECT gamestate.get_version(id(2)) IS NULL', 'postgres', $standby), "t\nt", 'or discarded');
$standby->stop;

note 'A dump';
my $dump = $node->basedir . '/dump';
command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'pg_dump');
sql('CREATE DATABASE restored');
command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), $dump ], 'pg_restore');
is(sql('SELECT whole(id(n)) FROM generate_series(1, 4) n', 'restored'), $whole, 'they can be read in a restored database');
is(sql('SELECT d::text FROM gamestate.dead_letter d ORDER BY game_id', 'restored'), $letters, 'with what is known of the failures');
like(error(q{SELECT gamestate.create_game('go', game_id => id(1))}, 'restored'), qr/ERROR:  GS005/, 'their ids are taken');
is(sql(qq{SELECT gamestate.apply_move(id(1), 1, '{"take": 1}', '{"n": 1}', 'ann', request_id => '$request')}, 'restored'), '2', 'a request is recognised');
my ($rc, $out, $err) = $node->psql('restored', 'SELECT gamestate.load_saved_games()');
like($err, qr/saved games were left out, for they exist already/, 'what was saved of them before is left out');
is(sql('SELECT whole(id(n)) FROM generate_series(1, 4) n', 'restored'), $whole, 'they are where they were, once');
is(sql('SELECT gamestate.retry_dead_letter(id(n)) FROM generate_series(1, 4) n', 'restored'), "t\nt\nt\nt", 'they can be archived there');
is(sql('SELECT whole(id(n)) FROM generate_series(1, 4) n', 'restored'), $whole =~ s/dead_letter/archived/gr, 'and are what they were');
is(sql('SELECT count(*) FROM gamestate.dead_letter', 'restored'), '0', 'and no dead letters');

note 'A partition that is missing';
sql(q{DROP TRIGGER poison ON gamestate.archive; UPDATE gamestate.dead_letter SET ended_at = '2020-02-02' WHERE game_id IN (id(1), id(2))});
my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN; SELECT count(*) FROM gamestate.archive_payload');
my $attempts = sql('SELECT attempts FROM gamestate.dead_letter WHERE game_id = id(1)');
like(error('SELECT gamestate.retry_dead_letter(id(1))'), qr/ERROR:  55P03: could not lock the archive to make a partition.*HINT:  Try again/s, 'it is not made while somebody reads the archive');
is(sql('SELECT attempts FROM gamestate.dead_letter WHERE game_id = id(1)'), $attempts, 'which is not the fault of the game');
is(sql('SELECT gamestate.retry_dead_letter(id(3))'), 't', 'one with a partition does not wait');
# cancelled, it fails, and the session goes on
($rc, $out, $err) = $node->psql('postgres', q{SET statement_timeout = '300ms'; SELECT gamestate.retry_dead_letter(id(1)); SELECT 'alive'}, on_error_stop => 0);
like($err, qr/canceling statement due to statement timeout/, 'it can be cancelled');
like($out, qr/alive/, 'which does no harm to the session');
$reader->query_safe('COMMIT');
sql('BEGIN; SELECT gamestate.retry_dead_letter(id(1)); ROLLBACK');
# somebody who reads while it is made has the game in one place, whatever he has planned
$reader->query_safe(q{PREPARE q AS SELECT string_agg(tier, ' ') FROM gamestate.games WHERE game_id = id(1)});
is($reader->query_safe('EXECUTE q') =~ s/\n//r, 'dead_letter', 'a prepared query');
my $retry = $node->background_psql('postgres');
$retry->query_safe('BEGIN; SELECT gamestate.retry_dead_letter(id(1))');
$reader->query_until(qr/sent/, "\\echo sent\nEXECUTE q;\n");
becomes(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'EXECUTE q%' AND wait_event_type = 'Lock'}, 'waits');
$retry->query_safe('COMMIT');
like($reader->query_safe('SELECT 1'), qr/^(dead_letter|archived)\n1$/, 'and finds the game, as of its snapshot');
is(sql('SELECT tier, ended_at FROM gamestate.games WHERE game_id = id(1)'), 'archived|2020-02-02 00:00:00+00', 'in a partition that was made');
is(sql('SELECT gamestate.retry_dead_letter(id(2))'), 't', 'another one finds it there');
$_->quit foreach $reader, $retry;

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|leaked|terminated by signal/, 'the log has nothing bad');
$node->stop;
done_testing();
