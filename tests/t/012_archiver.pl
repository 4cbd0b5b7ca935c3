# What the archiver does when something is in its way: triggers that raise or
# drop rows, single games that cannot be archived, partitions that are dropped,
# locked or made by a DBA, unusual game types.  Play goes on, nothing is lost,
# everything is archived when the cause is gone.
#
# A layer of its own because it waits for what a background worker does after
# commit, reads the server log, and locks tables against the worker.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
gamestate.archive_batch = 100
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
END $$});

sub sql { return $node->safe_psql('postgres', $_[0]); }

# becomes(QUERY, NAME): a test that the query becomes true
sub becomes
{
	my ($query, $name) = @_;
	is($node->poll_query_until('postgres', "SELECT coalesce(bool_or(x), false) FROM ($query) AS q(x)"), 1, $name);
}

# archived(TYPE, N): so many games of the type come to be in both tables
sub archived
{
	my ($type, $n, $name) = @_;
	$type =~ s/'/''/g;
	becomes("SELECT count(*) = $n FROM gamestate.archive JOIN gamestate.archive_payload p USING (game_id, game_type, ended_at) WHERE game_type = E'$type'", $name);
}

sub warnings_of
{
	my ($pattern) = @_;
	return scalar(() = slurp_file($node->logfile) =~ /WARNING:  [^\n]*$pattern/g);
}

sub session
{
	my $s = { in => '', out => '', n => 0 };
	$s->{h} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$s->{in}, '>', \$s->{out}, '2>&1',
		IPC::Run::timeout(2 * $PostgreSQL::Test::Utils::timeout_default));
	return $s;
}

sub say_to
{
	my ($s, $sql) = @_;
	my $mark = 'done ' . ++$s->{n};
	$s->{out} = '';
	$s->{in} .= "$sql\n\\echo $mark\n";
	$s->{h}->pump until $s->{out} =~ /$mark\n/;
	(my $out = $s->{out}) =~ s/$mark\n//;
	return $out;
}

# Partitions: a branch for the type, a leaf for today, leaves made ahead
sql(q{SELECT play('chess', 250)});
archived('chess', 250, 'games are archived in batches');
is(sql(q{SELECT count(DISTINCT (game_id, tableoid)) FROM gamestate.archive}), '250', 'each once');
is(sql(q{SELECT string_agg(relid::text, ',') FROM pg_partition_tree('gamestate.archive_payload') WHERE level = 1 AND relid::text NOT LIKE '%default'}),
	'gamestate_partitions.archive_payload_chess', 'one branch');
my $leaves = q{SELECT count(*) FROM pg_partition_tree('gamestate.archive') WHERE isleaf AND parentrelid = 'gamestate_partitions.archive_chess'::regclass};
becomes("SELECT ($leaves) = 3", 'leaves for today and two more days');
is(sql(q{SELECT count(*) FROM pg_class c WHERE relnamespace = 'gamestate_partitions'::regnamespace AND pg_get_userbyid(relowner) <> 'gamestate_owner'}), '0',
	'all belong to gamestate_owner');
is(sql(q{SELECT attstorage FROM pg_attribute WHERE attrelid = to_regclass('gamestate_partitions.archive_payload_chess_p' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')) AND attname = 'payload'}),
	'e', 'payloads are STORAGE EXTERNAL in the leaves');
like(sql(q{SET TimeZone = 'UTC'; SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = to_regclass('gamestate_partitions.archive_chess_p' || to_char(now(), 'YYYYMMDD'))}),
	qr/^FOR VALUES FROM \('\S+ 00:00:00\+00'\) TO \('\S+ 00:00:00\+00'\)$/, 'a day in UTC');
my ($rc, $out, $err) = $node->psql('postgres', 'INSERT INTO gamestate.archive SELECT * FROM gamestate.archiver_rows()');
like($err, qr/for the archiver of gamestate only/, 'its functions are for the archiver only');

# Game types with unusual names, some alike
my @types = ('Chess', 'CHESS', "it's", '"quoted"', 'two words', "back\\slash", 'chess_p20261121', 'payload_chess', 'default', '18xx',
	'%I %s', "x'); DROP TABLE gamestate.archive; --", "\xe6\xa3\x8b", "\xe6\xa3\x8c", 'x' x 63, ('x' x 62) . 'y', "tab\tnew\nline");
foreach my $type (@types)
{
	(my $literal = $type) =~ s/(['\\])/$1$1/g;
	sql("SELECT play(E'$literal')");
	archived($literal =~ s/''/'/gr, 1, "type $type");
}
is(sql(q{SELECT count(*) FROM gamestate.archive a JOIN pg_class c ON c.oid = a.tableoid WHERE c.relname LIKE 'archive\_default%'}), '1', 'a type called default');
is(sql(q{SELECT count(*) = count(DISTINCT tableoid) FROM gamestate.archive WHERE game_type <> 'chess'}), 't', 'each has a partition of its own');

# Nothing is written but what games need: no notices, no failures so far
is(sql(q{SELECT failures, games_set_aside, last_error FROM gamestate.stat_workers WHERE kind = 'archiver'}), '0|0|', 'no failure so far');

# A trigger that raises: systemic, so nothing is set aside, and play goes on.  The
# archiver finds the games together: of one or two that it sees first it could not
# say yet that it is not the games, and would say so in a WARNING of its own.
sql(q{
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no archive today'; END $$;
CREATE TRIGGER fail BEFORE INSERT ON gamestate.archive FOR EACH ROW EXECUTE FUNCTION fail();
ALTER SYSTEM SET gamestate.archiver = off});
$node->reload;
becomes(q{SELECT state = 'stopped' FROM gamestate.stat_workers WHERE kind = 'archiver'}, 'archiver off');
sql(q{SELECT play('chess', 120)});
sql('ALTER SYSTEM RESET gamestate.archiver');
$node->reload;
becomes(q{SELECT last_error = 'no archive today' AND state = 'paused' FROM gamestate.stat_workers WHERE kind = 'archiver'}, 'the failure is in the view');
is(sql(q{SELECT play('chess', 10); SELECT archive_queue, (SELECT games_set_aside FROM gamestate.stat_workers WHERE kind = 'archiver') FROM gamestate.stat_memory}),
	"\n130|0", 'play goes on, the queue stays, no game is blamed');
sql('SELECT pg_sleep(2.5)');
is(warnings_of('no archive today'), 1, 'one WARNING');
cmp_ok(sql(q{SELECT failures FROM gamestate.stat_workers WHERE kind = 'archiver'}), '<', 40, 'no storm of attempts');
sql('DROP TRIGGER fail ON gamestate.archive');
archived('chess', 380, 'archived when the trigger is gone');
becomes(q{SELECT state = 'running' FROM gamestate.stat_workers WHERE kind = 'archiver'}, 'and running again');

# A trigger that drops rows: games must not vanish
sql(q{
CREATE FUNCTION drop_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER drop_row BEFORE INSERT ON gamestate.archive_payload FOR EACH ROW EXECUTE FUNCTION drop_row();
SELECT play('go', 5)});
becomes(q{SELECT last_error = 'table "gamestate.archive_payload" did not take all games' FROM gamestate.stat_workers WHERE kind = 'archiver'}, 'dropped rows are an error');
is(sql(q{SELECT (SELECT count(*) FROM gamestate.archive WHERE game_type = 'go'), archive_queue FROM gamestate.stat_memory}), '0|5', 'the games are still there');
sql('DROP TRIGGER drop_row ON gamestate.archive_payload');
archived('go', 5, 'archived when the trigger is gone');

# A type that fails does not hold up others
sql(q{
CREATE TRIGGER fail BEFORE INSERT ON gamestate.archive FOR EACH ROW WHEN (NEW.game_type = 'go') EXECUTE FUNCTION fail();
SELECT play('go', 50), play('chess', 50)});
archived('chess', 430, 'another type is archived');
is(sql(q{SELECT archive_queue FROM gamestate.stat_memory}), '50', 'the type that fails waits');
sql(q{SELECT play('chess', 5)});
archived('chess', 435, 'new games of another type too');
sql('DROP TRIGGER fail ON gamestate.archive');
archived('go', 55, 'archived when the cause is gone');

# Single games that fail are set aside, the others go on
sql(q{
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.metadata::text LIKE '%poison%' THEN RAISE EXCEPTION 'this game is poison' USING ERRCODE = 'P0077'; END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER poison BEFORE INSERT ON gamestate.archive FOR EACH ROW EXECUTE FUNCTION poison();
ALTER SYSTEM SET gamestate.archiver = off});
$node->reload;
becomes(q{SELECT state = 'stopped' FROM gamestate.stat_workers WHERE kind = 'archiver'}, 'archiver off');
sql(q{SELECT play('shogi', 3, '{"poison": 1}'), play('shogi', 40), play('shogi', 1, '{"poison": 2}'), play('shogi', 56),
	play('shogi', 150, '{"poison": 3}'), play('shogi', 20), play('chess', 30)});
sql('ALTER SYSTEM RESET gamestate.archiver');
$node->reload;
archived('shogi', 116, 'games between those that fail are archived, a whole batch of failing ones apart');
archived('chess', 465, 'and those of other types');
becomes(q{SELECT games_set_aside = 154 FROM gamestate.stat_workers WHERE kind = 'archiver'}, 'those that fail are set aside');
sql(q{SELECT play('shogi', 5)});
archived('shogi', 121, 'new games are archived');
is(sql(q{SELECT archive_queue FROM gamestate.stat_memory}), '154', 'the failing ones are still in the queue');
cmp_ok(warnings_of('this game is poison'), '<=', 3, 'one WARNING of each kind: set aside, paused, given up');
sql('DROP TRIGGER poison ON gamestate.archive');
archived('shogi', 275, 'archived when the cause is gone');
becomes(q{SELECT games_set_aside = 0 FROM gamestate.stat_workers WHERE kind = 'archiver'}, 'nothing is set aside any more');

# Partitions that are dropped or detached
sql(q{DO $$ BEGIN EXECUTE format('DROP TABLE gamestate_partitions.archive_go_p%1$s, gamestate_partitions.archive_payload_go_p%1$s', to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')); END $$});
sql(q{SELECT play('go', 3)});
archived('go', 3, 'a leaf that was dropped is made again');
sql(q{DO $$ BEGIN EXECUTE format('ALTER TABLE gamestate_partitions.archive_go DETACH PARTITION gamestate_partitions.archive_go_p%1$s', to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')); END $$});
sql(q{SELECT play('go', 3)});
archived('go', 3, 'one that was detached too, under another name');
sql('DROP TABLE gamestate_partitions.archive_shogi, gamestate_partitions.archive_payload_shogi');
sql(q{SELECT play('shogi', 2)});
archived('shogi', 2, 'a whole branch that was dropped');

# Partitions of a DBA's own: with half a day, one table for a whole type
sql(q{
CREATE TABLE mine (LIKE gamestate.archive);
ALTER TABLE mine OWNER TO gamestate_owner;
ALTER TABLE gamestate.archive ATTACH PARTITION mine FOR VALUES IN ('mine');
CREATE TABLE gamestate_partitions.half PARTITION OF gamestate.archive FOR VALUES IN ('half') PARTITION BY RANGE (ended_at);
ALTER TABLE gamestate_partitions.half OWNER TO gamestate_owner;
DO $$
BEGIN
	EXECUTE format('CREATE TABLE late PARTITION OF gamestate_partitions.half FOR VALUES FROM (%L) TO (%L)', now() + interval '1 second', now() + interval '1 day');
	EXECUTE format('CREATE TABLE early PARTITION OF gamestate_partitions.half FOR VALUES FROM (MINVALUE) TO (%L)', now() - interval '1 second');
END $$;
SELECT play('mine', 2), play('half', 1)});
archived('mine', 2, 'a DBA\'s partition without days');
archived('half', 1, 'a leaf in the gap between two partitions of a DBA');
is(sql(q{SELECT tableoid::regclass NOT IN ('late', 'early') FROM gamestate.archive WHERE game_type = 'half'}), 't', 'in the gap it is');
sql(q{SELECT pg_sleep(1.1); SELECT play('half', 1)});
archived('half', 2, 'then the partition of the DBA');
is(sql(q{SELECT count(*) FROM late}), '1', 'in that one it is');

# What a DBA adds to the tables
sql(q{
ALTER TABLE gamestate.archive ADD COLUMN season text DEFAULT 'autumn', ADD COLUMN won boolean GENERATED ALWAYS AS (result::text = '"ann"') STORED;
CREATE INDEX ON gamestate.archive (season);
ALTER TABLE gamestate.archive ADD CHECK (version > 0);
SELECT play('new type', 2)});
archived('new type', 2, 'a new branch after columns, an index and a check were added');
is(sql(q{SELECT DISTINCT season, won FROM gamestate.archive WHERE game_type = 'new type'}), 'autumn|t', 'they work');

# A table that is locked: its type waits, for a short time only
my $s = session();
say_to($s, q{BEGIN; LOCK TABLE gamestate_partitions.archive_go IN ACCESS EXCLUSIVE MODE;});
sql(q{SELECT play('go', 2), play('chess', 2)});
my $chess = 467;
archived('chess', $chess, 'another type is archived while one is locked');
say_to($s, 'COMMIT;');
archived('go', 5, 'archived when the lock is gone');

# A game that somebody has locked is skipped, the others are not
sql(q{ALTER SYSTEM SET gamestate.archiver = off});
$node->reload;
becomes(q{SELECT state = 'stopped' FROM gamestate.stat_workers WHERE kind = 'archiver'}, 'archiver off');
sql(q{SELECT gamestate.finish_game(gamestate.create_game('busy', game_id => '01200000-0000-4000-8000-000000000001')); SELECT play('busy', 3)});
say_to($s, q{BEGIN; SELECT gamestate.delete_game('01200000-0000-4000-8000-000000000001');});
sql('ALTER SYSTEM RESET gamestate.archiver');
$node->reload;
archived('busy', 3, 'games around a locked one');
say_to($s, 'ROLLBACK;');
archived('busy', 4, 'and that one when it is free');

# An old snapshot keeps archived games in memory, not the archiver from work
say_to($s, 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM gamestate.archive;');
sql(q{SELECT play('chess', 3), play('made while the archive is read', 1)});
archived('chess', $chess + 3, 'archived while an old snapshot is held');
is(sql(q{SELECT archived_in_memory >= 3 FROM gamestate.stat_memory}), 't', 'kept in memory for it');

# A new partition is not used while somebody may have planned without it: the
# games stay in memory, where he finds them, until he has gone.
is(sql(q{SELECT count(*) FROM gamestate.games WHERE game_type = 'made while the archive is read'}), '1', 'a game of a new type is in one place');
say_to($s, 'COMMIT;');
archived('made while the archive is read', 1, 'a new type is archived when the reader has gone');
becomes(q{SELECT archived_in_memory = 0 FROM gamestate.stat_memory}, 'freed when the snapshot is gone');
$s->{in} .= "\\q\n";
$s->{h}->finish;

# More types than gamestate.archive_max_types share the default branch
my $default_is_new = sql(q{SELECT CASE WHEN to_regclass('gamestate_partitions.archive_default') IS NULL THEN 1 ELSE 0 END});
my $branches = sql(q{SELECT count(*) FROM pg_partition_tree('gamestate.archive') WHERE level = 1});
sql('ALTER SYSTEM SET gamestate.archive_max_types = ' . ($branches + $default_is_new));
$node->reload;
sql('SELECT pg_sleep(0.2)');
foreach my $type ('last', 'beyond 1', 'beyond 2')
{
	sql("SELECT play('$type')");
	archived($type, 1, "archived: $type");
}
is(sql(q{SELECT count(DISTINCT tableoid) FROM gamestate.archive WHERE game_type LIKE 'beyond%'}), '1', 'two types share a leaf');
is(sql(q{SELECT count(*) FROM pg_partition_tree('gamestate.archive') WHERE level = 1}), $branches + 1 + $default_is_new, 'branches stay bounded');
sql('ALTER SYSTEM RESET gamestate.archive_max_types');
$node->reload;
sql(q{SELECT pg_sleep(0.2); SELECT play('beyond 3')});
archived('beyond 3', 1, 'a default branch in use stays in use');

# Everything is there, once, readable; workers were never restarted in between
becomes(q{SELECT archive_queue = 0 AND games = 0 FROM gamestate.stat_memory}, 'the queue is empty');
is(sql(q{SELECT count(*) - count(DISTINCT game_id) FROM gamestate.archive}), '0', 'no game twice');
is(sql(q{SELECT count(*) FROM gamestate.archived_games WHERE final_state::text <> '{"n": 1}' AND game_type <> 'busy'}), '0', 'payloads can be read');
$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/TRAP|PANIC|leaked|exited with exit code [^0]\D*gamestate archiver/, 'the log has nothing bad');
is(scalar(() = $log =~ /background worker "gamestate archiver[^\n]*exited with exit code/g), 0, 'no archiver failed');

done_testing();
