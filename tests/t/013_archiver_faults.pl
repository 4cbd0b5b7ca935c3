# What the archiver does about failures: bad games go to gamestate.dead_letter and
# stay readable, systemic causes make it pause, and it says so.  Play goes on, nothing
# is lost or there twice, the queue drains when the cause is gone.
#
# A layer of its own because it waits for what a background worker does after
# commit, kills it, and reads the server log.

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
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
gamestate.archive_batch = 100
max_prepared_transactions = 2
restart_after_crash = on
log_statement = none
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
CREATE FUNCTION play(game_type text, n int DEFAULT 1, metadata json DEFAULT '{}') RETURNS void LANGUAGE plpgsql AS $$
DECLARE id uuid;
BEGIN
	FOR i IN 1 .. n LOOP
		id := gamestate.create_game(game_type, '{"n": 0}', '{ann,bob}', metadata => metadata);
		PERFORM gamestate.apply_move(id, 1, '{"take": 1}', '{"n": 1}', 'ann');
		PERFORM gamestate.finish_game(id, '"ann"');
	END LOOP;
END $$;
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.metadata::text LIKE '%poison%' THEN RAISE EXCEPTION 'this game is poison' USING ERRCODE = 'P0077', DETAIL = 'It says so.'; END IF;
	RETURN NEW;
END $$;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no archive today'; END $$;
-- where each game is; an error if one is nowhere or twice
CREATE TABLE played (game_id uuid PRIMARY KEY);
CREATE FUNCTION misplaced() RETURNS bigint LANGUAGE sql AS $$
SELECT count(*) FROM (SELECT p.game_id, count(g.game_id) AS places FROM played p LEFT JOIN gamestate.games g USING (game_id) GROUP BY 1) t WHERE places <> 1
$$;
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql AS
$$SELECT ('13000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
INSERT INTO gamestate.policy (game_type, archive_attempts) VALUES ('', 2);
});

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub sqlstate
{
	my ($rc, $out, $err) = $node->psql('postgres', $_[0], extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return $err =~ /ERROR:  (\w+)/ ? $1 : "none: $out";
}

# becomes(QUERY, NAME): a test that the query becomes true
sub becomes
{
	my ($query, $name) = @_;
	is($node->poll_query_until('postgres', "SELECT coalesce(bool_or(x), false) FROM ($query) AS q(x)"), 1, $name)
	  or diag(sql('SELECT * FROM gamestate.stat_archiver'), "\n", sql('SELECT * FROM gamestate.stat_workers'));
}

sub archived
{
	my ($type, $n, $name) = @_;
	becomes("SELECT count(*) = $n FROM gamestate.archive JOIN gamestate.archive_payload p USING (game_id, game_type, ended_at) WHERE game_type = '$type'", $name);
}

sub warnings_of
{
	my ($pattern) = @_;
	return scalar(() = slurp_file($node->logfile) =~ /WARNING:  [^\n]*$pattern/g);
}

sub archiver
{
	my ($on) = @_;
	sql('ALTER SYSTEM SET gamestate.archiver = ' . ($on ? 'on' : 'off'));
	$node->reload;
	becomes(q{SELECT state } . ($on ? '=' : '<>') . q{ 'running' FROM gamestate.stat_workers WHERE kind = 'archiver'}, 'archiver ' . ($on ? 'on' : 'off'));
}

sub column { return sql("SELECT $_[1] FROM gamestate.stat_archiver WHERE database = current_database() AND game_type IS NOT DISTINCT FROM $_[0]"); }

note 'One bad game';
my $request = 'a0000000-0000-4000-8000-000000000001';
my $create = 'a0000000-0000-4000-8000-000000000002';
sql(q{CREATE TRIGGER poison BEFORE INSERT ON gamestate.archive FOR EACH ROW EXECUTE FUNCTION poison()});
sql(q{SELECT play('go', 5)});
archived('go', 5, 'games are archived');
archiver(0);
sql(qq{SELECT play('go', 5);
SELECT gamestate.create_game('go', '{"n": 0}', '{ann,bob}', 'room 1', '{"poison": 1}', id(1), request_id => '$create');
SELECT gamestate.apply_move(id(1), 1, '{"take": 1}', '{"n": 1}', 'ann');
SELECT gamestate.finish_game(id(1), '"ann"', request_id => '$request')});
my $live = sql('SELECT (gamestate.get_game(id(1))).*');
my $changes = sql('SELECT * FROM gamestate.get_changes(id(1))');
# Somebody who will not see that the game moves. He has not read the archive yet, or
# new partitions would have to wait for him.
my $reader = $node->background_psql('postgres', on_error_stop => 0);
$reader->query_until(qr/begun/, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;\n\\echo begun\n");
archiver(1);
becomes(q{SELECT true FROM gamestate.dead_letter WHERE pg_sleep(0.2) IS NOT NULL UNION ALL SELECT false FROM (SELECT play('go')) p}, 'a game that keeps failing while others do not becomes a dead letter');
is(sql('SELECT game_id = id(1), attempts >= 3, first_failed_at < last_failed_at, error_sqlstate, error_message, error_context LIKE $$%poison()%$$, dictionary IS NULL FROM gamestate.dead_letter'),
	't|t|t|P0077|this game is poison: It says so.|t|t', 'with what is known of the failure');
becomes('SELECT archive_queue = 0 FROM gamestate.stat_memory', 'it has left the queue');
my $dead = sql('SELECT (gamestate.get_game(id(1))).*');
is($dead =~ s/\|dead_letter\|/|live|/r, $live, 'the game reads as before, but for its tier');
is(sql('SELECT * FROM gamestate.get_changes(id(1))'), $changes, 'so do its changes');
is(sql('SELECT gamestate.get_state(id(1)), gamestate.get_version(id(1)), (SELECT state FROM gamestate.get_states(ARRAY[id(1)]))'), '{"n": 1}|3|{"n": 1}', 'state and version');
is(sql('SELECT tier, state, version FROM gamestate.games WHERE game_id = id(1)'), 'dead_letter|{"n": 1}|3', 'and the view');
like($reader->query_until(qr/seen/, "SELECT 'tier ' || tier FROM gamestate.games WHERE game_id = id(1);\n\\echo seen\n"), qr/tier live/, 'an older snapshot shows it live');
$reader->query_until(qr/done/, "COMMIT;\n\\echo done\n");
$reader->quit;
is(sqlstate(q{SELECT gamestate.create_game('go', game_id => id(1))}), 'GS005', 'its id is taken');
is(sqlstate(q{SELECT gamestate.apply_move(id(1), 3, '1', '1')}), 'GS003', 'it is over');
is(sql(qq{SELECT gamestate.finish_game(id(1), '"ann"', request_id => '$request')}), '3', 'a retry gets its answer');
is(sql(qq{SELECT gamestate.create_game('go', '{"n": 0}', '{ann,bob}', 'room 1', '{"poison": 1}', id(1), request_id => '$create') = id(1)}), 't', 'so does one of its creation');
is(warnings_of('this game is poison'), 2, 'a WARNING when it was set aside, one when it was moved');
is(column(q{'go'}, q{dead_letters || ' ' || (failures > 2) || ' ' || last_sqlstate || ' ' || (last_error_at IS NOT NULL) || ' ' || pauses}), '1 true P0077 true 0', 'all of it is counted');
is(sqlstate('DELETE FROM gamestate.archive; DELETE FROM gamestate.archive_payload; DROP EXTENSION gamestate'), '2BP01', 'a dead letter is a game');

is(sql('SELECT gamestate.retry_dead_letter(id(1)), gamestate.retry_dead_letter(id(2)); SELECT attempts >= 4 FROM gamestate.dead_letter'), "f|\nt", 'a retry fails as long as the cause is there');
sql(q{BEGIN; SELECT gamestate.discard_dead_letter(id(1)); ROLLBACK});
my $before = sql('SELECT attempts FROM gamestate.dead_letter');
sql('DROP TRIGGER poison ON gamestate.archive');
is(sql('SELECT gamestate.retry_dead_letter(id(1)), gamestate.retry_dead_letter(id(1)); SELECT count(*) FROM gamestate.dead_letter'), "t|\n0", 'then it is archived');
is(sql('SELECT (gamestate.get_game(id(1))).*') =~ s/\|archived\|/|live|/r, $live, 'and is what it was');
is(sql('SELECT * FROM gamestate.get_changes(id(1))'), $changes, 'with its changes');

note 'A game that is given up';
sql(qq{CREATE TRIGGER poison BEFORE INSERT ON gamestate.archive FOR EACH ROW EXECUTE FUNCTION poison();
SELECT gamestate.finish_game(gamestate.create_game_bytes('go', '\\x00ff', metadata => '{"poison": 2}', game_id => id(3), request_id => '$create'));
SELECT play('go', 5)});
becomes(q{SELECT true FROM gamestate.dead_letter WHERE pg_sleep(0.2) IS NOT NULL UNION ALL SELECT false FROM (SELECT play('go')) p}, 'one of bytes');
is(sql('SELECT state_bytes, state IS NULL FROM gamestate.games WHERE game_id = id(3)'), '\x00ff|t', 'readable, too');
is(sql('SELECT gamestate.discard_dead_letter(id(3)), gamestate.discard_dead_letter(id(3)); SELECT gamestate.get_version(id(3)) IS NULL'), "t|f\nt", 'discarded');
is(sql(qq{SELECT gamestate.create_game_bytes('go', '\\x00ff', metadata => '{"poison": 2}', game_id => id(3), request_id => '$create') = id(3), gamestate.get_version(id(3)) IS NULL}), 't|t', 'a retry of its creation does not create it again');
is(sql(q{SELECT gamestate.create_game('go', game_id => id(3)) = id(3)}), 't', 'its id is free');
sql('SELECT gamestate.delete_game(id(3)); DROP TRIGGER poison ON gamestate.archive');

note 'Systemic causes';
sql(q{SELECT gamestate.create_game('long', '{"n": 0}', game_id => id(100))});
sub move { return sql(q{SELECT gamestate.apply_move(id(100), NULL, '1', '{"n": 1}') IS NOT NULL}); }
sub systemic
{
	my ($what, $begin, $end, $sqlstate) = @_;
	my $type = "sys $what";
	note $what;
	sql("SELECT play('$type', 20)");
	archived($type, 20, 'before');
	my $letters = sql('SELECT count(*) FROM gamestate.dead_letter');
	sql($begin);
	sql("SELECT play('$type', 20)");
	becomes(qq{SELECT pauses > 0 AND paused_until > now() AND last_sqlstate = '$sqlstate' FROM gamestate.stat_archiver WHERE game_type = '$type'}, 'the type pauses');
	is(sql(qq{SELECT play('$type', 10); SELECT queued, (SELECT games_set_aside FROM gamestate.stat_workers WHERE kind = 'archiver') FROM gamestate.stat_archiver WHERE game_type = '$type'}), "\n30|0", 'play goes on, the queue stays');
	is(move(), 't', 'moves succeed');
	becomes(qq{SELECT pauses > 1 FROM gamestate.stat_archiver WHERE game_type = '$type'}, 'longer each time');
	sql($end);
	sql("SELECT gamestate.resume_archiving('$type')");
	archived($type, 50, 'archived when the cause is gone');
	is(column("'$type'", q{queued || ' ' || pauses || ' ' || (paused_until IS NULL)}), '0 0 true', 'and it no longer pauses');
	is(warnings_of(qq{archive games of type "$type"}), 1, 'one WARNING');
	is(sql('SELECT count(*) FROM gamestate.dead_letter'), $letters, 'no dead letter');
	return;
}
systemic('a trigger', q{CREATE TRIGGER fail BEFORE INSERT ON gamestate.archive_payload FOR EACH ROW EXECUTE FUNCTION fail()}, 'DROP TRIGGER fail ON gamestate.archive_payload', 'P0001');
systemic('a permission', 'REVOKE INSERT ON gamestate.archive FROM gamestate_owner', 'GRANT INSERT ON gamestate.archive TO gamestate_owner', '42501');
systemic('a constraint', q{ALTER TABLE gamestate.archive ADD CONSTRAINT small CHECK (version < 2) NOT VALID}, 'ALTER TABLE gamestate.archive DROP CONSTRAINT small', '23514');

note 'A locked parent';
my $locker = $node->background_psql('postgres', on_error_stop => 0);
$locker->query_until(qr/locked/, "BEGIN; LOCK TABLE gamestate.archive IN ACCESS EXCLUSIVE MODE;\n\\echo locked\n");
sql(q{SELECT play('go', 10)});
becomes(q{SELECT pauses > 0 AND last_sqlstate = '55P03' FROM gamestate.stat_archiver WHERE game_type = 'go'}, 'the type pauses');
is(sql(q{SELECT play('go', 10); SELECT queued FROM gamestate.stat_archiver WHERE game_type = 'go'}), "\n20", 'play goes on');
is(move(), 't', 'moves succeed');
$locker->query_until(qr/done/, "COMMIT;\n\\echo done\n");
$locker->quit;
sql('SELECT gamestate.resume_archiving()');
becomes('SELECT archive_queue = 0 FROM gamestate.stat_memory', 'archived when the lock is gone');

note 'A partition that is dropped, one whose type changes hands';
sql(q{SELECT play('dropped', 5)});
archived('dropped', 5, 'before');
sql(q{DROP TABLE gamestate_partitions.archive_dropped, gamestate_partitions.archive_payload_dropped; SELECT play('dropped', 5)});
archived('dropped', 5, 'made again');
is(column(q{'dropped'}, 'queued'), 0, 'the queue drains');

note 'A dictionary that is gone';
sql(q{ALTER SYSTEM SET gamestate.dictionary_min_games = 20; ALTER SYSTEM SET gamestate.maintenance_interval = '200ms'});
$node->reload;
sql(q{SELECT gamestate.finish_game(gamestate.create_game('taught', json_build_object('board', md5(n::text), 'turn', n, 'words', 'a rather long text that comes again in every game')), to_json(n)) FROM generate_series(1, 60) n});
becomes(q{SELECT count(*) > 0 FROM gamestate.dictionary WHERE game_type = 'taught'}, 'a dictionary is trained');
sql(q{SELECT play('taught', 5)});
becomes('SELECT archive_queue = 0 FROM gamestate.stat_memory', 'and used');
sql(q{SET gamestate.allow_dictionary_changes = on; DELETE FROM gamestate.dictionary; SELECT play('taught', 5)});
becomes('SELECT archive_queue = 0 FROM gamestate.stat_memory', 'games are archived without it');
is(sql(q{SELECT count(*) FROM gamestate.archived_games WHERE game_type = 'taught' AND ended_at > (SELECT max(ended_at) - interval '1 minute' FROM gamestate.archive)}), 70, 'all rows are there');
sql(q{ALTER SYSTEM RESET gamestate.dictionary_min_games; ALTER SYSTEM RESET gamestate.maintenance_interval});
$node->reload;

note 'Error codes of the server itself, raised for one game';
sql(q{
CREATE FUNCTION disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.metadata::text LIKE '%disk%' THEN RAISE EXCEPTION 'as if' USING ERRCODE = 'disk_full'; END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER disk BEFORE INSERT ON gamestate.archive FOR EACH ROW EXECUTE FUNCTION disk()});
archiver(0);
sql(q{SELECT play('disk', 10), play('disk', 1, '{"disk": 1}'), play('disk', 10)});
archiver(1);
becomes(q{SELECT pauses > 0 AND last_sqlstate = '53100' FROM gamestate.stat_archiver WHERE game_type IS NULL}, 'the archiver pauses');
for (1 .. 20)
{
	sql('SELECT gamestate.resume_archiving(); SELECT pg_sleep(0.3)');
	last if sql(q{SELECT count(*) FROM gamestate.archive WHERE game_type = 'disk'}) == 20;
}
archived('disk', 20, 'not for ever');
sql('DROP TRIGGER disk ON gamestate.archive; SELECT gamestate.resume_archiving()');
archived('disk', 21, 'nor for that one');

note 'Priority and batch size';
sql(q{INSERT INTO gamestate.policy (game_type, archive_priority, archive_batch) VALUES ('first', 9, 7), ('last', -9, NULL), ('small', NULL, 1)});
sql(q{SELECT play('last'), play('small'), play('first')});
archived($_, 1, "a partition for $_") foreach ('last', 'small', 'first');
archiver(0);
sql(q{SELECT play('last', 30), play('go', 30), play('small', 5), play('first', 30)});
archiver(1);
becomes('SELECT archive_queue = 0 FROM gamestate.stat_memory', 'all are archived');
is(sql(q{SELECT string_agg(game_type, ' ' ORDER BY x) FROM (SELECT game_type, max(xmin::text::bigint) AS x FROM gamestate.archive WHERE game_type IN ('first', 'last', 'small') GROUP BY 1) t}), 'first small last', 'in the order of their priorities');
is(sql(q{SELECT string_agg(game_type || ' ' || largest, ' ' ORDER BY game_type) FROM (SELECT game_type, max(n) AS largest FROM (SELECT game_type, xmin, count(*) AS n FROM gamestate.archive WHERE game_type IN ('first', 'last', 'small') GROUP BY 1, 2) b GROUP BY 1) t}), 'first 7 last 30 small 1', 'in batches of the size that their policies say');
archiver(0);
sql(q{SELECT play('last', 3), play('first', 3)});
sql(q{UPDATE gamestate.policy SET archive_priority = -archive_priority WHERE archive_priority <> 0});
archiver(1);
becomes('SELECT archive_queue = 0 FROM gamestate.stat_memory', 'all are archived');
is(sql(q{SELECT (SELECT max(xmin::text::bigint) FROM gamestate.archive WHERE game_type = 'last') < (SELECT max(xmin::text::bigint) FROM gamestate.archive WHERE game_type = 'first')}), 't', 'a changed priority holds at once');

note 'Killed';
my $killed = 0;
my $moves = 0;
for my $round (1 .. 6)
{
	archiver(0) if $round % 2;
	sql(q{WITH p AS MATERIALIZED (SELECT gamestate.create_game('kill', '{"n": 0}', metadata => '{}') AS id FROM generate_series(1, 300)),
	f AS MATERIALIZED (SELECT id, gamestate.finish_game(id) FROM p) INSERT INTO played SELECT id FROM f});
	archiver(1) if $round % 2;
	# somewhere within it: not before the first batch, not after the last
	$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM gamestate.archive WHERE game_id IN (SELECT game_id FROM played)}) if $round % 3 == 0;
	sleep rand 0.02;
	my $pid = sql(q{SELECT pid FROM gamestate.stat_workers WHERE kind = 'archiver'});
	$killed += kill 'KILL', $pid;
	$node->poll_query_until('postgres', "SELECT pid <> $pid FROM gamestate.stat_workers WHERE kind = 'archiver' AND pid IS NOT NULL") or die;
	is(sql('SELECT misplaced()'), 0, "round $round: each game is in one place");
	$moves += move() eq 't';
}
cmp_ok($killed, '>', 0, 'it was killed');
is($moves, 6, 'play goes on');
becomes('SELECT archive_queue = 0 FROM gamestate.stat_memory', 'the queue drains');
is(sql('SELECT misplaced()'), 0, 'nothing is lost');
is(sql('SELECT count(*) - count(DISTINCT game_id) FROM gamestate.archive'), 0, 'nothing is there twice');

$node->stop;
unlike(slurp_file($node->logfile), qr/TRAP|PANIC|leaked/, 'the log has nothing bad');
done_testing();
