# anonymise_player() in frozen partitions and in games that were saved for pg_dump:
# through crashes, readers in its way, damaged files, dumps and restores.
#
# A layer of its own because it crashes the server, damages files, waits for the
# maintenance worker, and runs pg_dump and pg_restore.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
my $cold = $node->basedir . '/cold';
mkdir $cold or die;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'gamestate'
gamestate.maintenance_interval = 300ms
gamestate.cold_directory = '$cold'
gamestate.dictionary_min_games = 200
max_worker_processes = 20
autovacuum = off
});
$node->start;

sub sql { my ($sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }
sub error { my ($sql, $db) = @_; my ($rc, $out, $err) = $node->psql($db // 'postgres', "\\set VERBOSITY verbose\n$sql"); return $err; }
sub files { opendir(my $d, $cold) or die; my @f = sort grep { !/^\./ } readdir $d; return @f; }
sub file_of { my ($leaf) = @_; return sql(qq{SELECT file FROM gamestate.cold_file WHERE partition LIKE '%$leaf'}); }

sub becomes
{
	my ($query, $name, $db) = @_;
	ok($node->poll_query_until($db // 'postgres', $query), $name)
	  or diag sql('TABLE gamestate.cold_file; SELECT kind, state, last_error FROM gamestate.stat_workers');
	return;
}

sub files_become
{
	my ($n, $name) = @_;
	for (1 .. 600) { last if files() == $n; select undef, undef, undef, 0.1; }
	is(scalar(files()), $n, $name) or diag join ' ', files();
	return;
}

my $who = 'zoe-the-very-unique';
sql(qq{CREATE EXTENSION gamestate;
CREATE FUNCTION play(type text, n int, who text, ends boolean) RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE id uuid;
BEGIN
	FOR i IN 1 .. n LOOP
		id := gamestate.create_game(type, json_build_object('turn', who, 'n', i), ARRAY[who, 'bob'], metadata => json_build_object('host', who));
		FOR m IN 1 .. 4 LOOP
			PERFORM gamestate.apply_move(id, NULL, json_build_object('by', who, 'm', m, 'x', md5(i::text)), json_build_object('turn', who, 'm', m, 'x', md5(m::text)), who,
				request_id => gen_random_uuid());
		END LOOP;
		IF ends THEN PERFORM gamestate.finish_game(id, json_build_object('winner', who)); END IF;
	END LOOP;
END \$\$;
CREATE PROCEDURE make_old(type text, days int, n int, who text) LANGUAGE plpgsql AS \$\$
DECLARE
	root text;
	day timestamptz := date_trunc('day', now(), 'UTC') - make_interval(days => days);
BEGIN
	PERFORM play(type, n, who, true);
	COMMIT;
	WHILE (SELECT archive_queue FROM gamestate.stat_memory) > 0 LOOP PERFORM pg_sleep(0.02); COMMIT; END LOOP;
	FOREACH root IN ARRAY '{archive,archive_payload}'::text[] LOOP
		EXECUTE format('CREATE TABLE gamestate_partitions.%1\$s_%2\$s_%3\$s (LIKE gamestate.%1\$s INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING STORAGE, PRIMARY KEY (game_id))', root, type, days);
		EXECUTE format('ALTER TABLE gamestate_partitions.%1\$s_%2\$s_%3\$s OWNER TO gamestate_owner', root, type, days);
		EXECUTE format('ALTER TABLE gamestate_partitions.%1\$s_%2\$s ATTACH PARTITION gamestate_partitions.%1\$s_%2\$s_%3\$s FOR VALUES FROM (%4\$L) TO (%5\$L)', root, type, days, day, day + interval '1 day');
		EXECUTE format('UPDATE gamestate.%1\$s SET ended_at = %3\$L::timestamptz + (ended_at - date_trunc(''day'', ended_at, ''UTC'')) WHERE game_type = %2\$L AND ended_at >= %4\$L', root, type, day, date_trunc('day', now(), 'UTC'));
	END LOOP;
END \$\$;
CREATE FUNCTION leaf(text) RETURNS regclass LANGUAGE sql AS \$\$SELECT ('gamestate_partitions.archive_payload_' || \$1)::regclass\$\$;
CREATE FUNCTION states(name text) RETURNS text LANGUAGE sql AS \$\$
SELECT md5(string_agg(replace(concat_ws(' ', gamestate.state_at(a.game_id, v), (SELECT string_agg(c::text, ' ' ORDER BY version) FROM gamestate.get_changes(a.game_id) c)), name, 'z'), '' ORDER BY a.game_id, v))
  FROM gamestate.archive a, generate_series(1, a.version) v
\$\$;
CALL make_old('go', 15, 50, 'max');
CALL make_old('go', 10, 100, '$who');
CALL make_old('go', 20, 150, '$who')});
becomes(q{SELECT count(*) = 1 FROM gamestate.dictionary WHERE content IS NOT NULL}, 'a dictionary is trained');
sql("CALL make_old('go', 30, 50, '$who'); CALL make_old('go', 40, 20, 'max'); SELECT play('go', 5, 'max', false)");
is(sql("SELECT position('$who'::bytea IN content) > 0 FROM gamestate.dictionary"), 't', 'the player is in it');
is(sql(q{SELECT count(*) FROM gamestate.archive_payload WHERE dictionary IS NOT NULL}), '70', 'games are archived with it');
sql("SELECT gamestate.freeze_partition(leaf('go_' || d)) FROM unnest('{15,20,30,40}'::int[]) d");
sql("SELECT play('go', 150, '$who', false); SELECT gamestate.save_live_games()");
sql("CREATE TABLE images AS SELECT game_id, version, saved_at FROM gamestate.saved_games");
my $before = sql("SELECT states('$who')");
my %old = map { $_ => file_of("go_$_") } 15, 20, 30, 40;

# ---------------------------------------------------------------------------
note 'A restored database, whose saved games have not been loaded';

my $dump = $node->basedir . '/dump';
command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'pg_dump');
sql('CREATE DATABASE restored');
command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), $dump ], 'pg_restore');
my $report = sql("CALL gamestate.anonymise_player('$who')", 'restored');
like($report, qr/"saved_games" : 150,/, 'saved games are changed');
like(error('SELECT gamestate.save_live_games()', 'restored'), qr/ERROR:  55000.*not been loaded/s, 'they are still to be loaded');
is(sql('SELECT gamestate.load_saved_games()', 'restored'), '155', 'and can be');
is(sql("SELECT count(*) FILTER (WHERE g::text ~ '$who'), count(*) FILTER (WHERE g::text ~ 'anonymous') FROM gamestate.list_live_games() g", 'restored'), '0|150', 'without the player');
is(sql("SELECT count(*) FROM gamestate.list_live_games() g, gamestate.get_changes(g.game_id) c WHERE c::text ~ '$who'", 'restored'), '0', 'their logs too');
is(sql(q{SELECT count(DISTINCT g.game_id), count(*) FROM gamestate.list_live_games() g, gamestate.get_changes(g.game_id) c WHERE c.kind = 'move'}, 'restored'), '155|620', 'which are whole');
is(sql(q{SELECT count(*) FROM gamestate.verify_archive()}, 'restored'), '0', 'its archive is whole');
is(sql("SELECT count(*) FROM gamestate.archived_moves WHERE m_::text ~ '$who'" =~ s/WHERE m_/m WHERE m/r, 'restored'), '0', 'and without the player');
is(join(' ', map { -e "$cold/$_" ? 1 : 0 } values %old), '1 1 1 1', q{the original's files are there});
is(sql("SELECT states('$who')"), $before, 'and what it has of them is as before');
is(scalar(files()), 7, 'it has files of its own');
sql('DROP DATABASE restored');
my %is_old = map { $_ => 1 } values %old;
$is_old{$_} or unlink "$cold/$_" or die foreach files();

# ---------------------------------------------------------------------------
note 'Readers in its way, a kill, a crash';

my $round = 0;
foreach my $obstacle ("SELECT count(*) FROM gamestate_partitions.archive_payload_go_20", "COMMENT ON FOREIGN TABLE gamestate_partitions.archive_payload_go_30 IS NULL", 'LOCK TABLE gamestate.saved_games')
{
	my $blocker = $node->background_psql('postgres');
	$blocker->query_safe("BEGIN; $obstacle");
	my ($out, $err) = ('', '');
	my $call = IPC::Run::start([ 'psql', '-X', '-d', $node->connstr('postgres'), '-c', "CALL gamestate.anonymise_player('$who')" ], '<', \undef, '>', \$out, '2>', \$err);
	if ($round == 0)
	{
		# it has written the file, and waits for the reader
		files_become(scalar(files()) + 1, "it waits for: $obstacle");
		is(sql('SELECT count(*) FROM gamestate_partitions.archive_payload_go_20'), '150', 'others can read meanwhile');
	}
	else { becomes(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'CALL%' AND wait_event_type = 'Lock'}, "it waits for: $obstacle"); }
	if ($round++ % 2)
	{
		sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL%'});
		$blocker->quit;
	}
	else
	{
		$node->stop('immediate');
		$node->start;
		eval { $blocker->quit };
	}
	eval { $call->finish };
	is(sql('SELECT count(*) FROM gamestate.erasure WHERE done_at IS NULL'), '1', 'and is not done');
	files_become(4, 'no file is left over');
}
$report = sql("CALL gamestate.anonymise_player('$who')");
note $report;
my $pseudonym = sql(q{SELECT pseudonym FROM gamestate.erasure});
like($report, qr/"saved_games" : 150,/, 'saved games');
like($report, qr/"dictionaries" : 1,/, 'the dictionary');
unlike($report, qr/go_|saved_games"?:? call/, 'all was reached');
is(sql("SELECT states('$pseudonym')"), $before, 'every state and every change is as it was, but for the name');
is(sql("SELECT count(*) FROM gamestate.archived_games g WHERE g::text ~ '$who'"), '0', 'not in games');
is(sql("SELECT count(*) FROM gamestate.archived_moves m WHERE m::text ~ '$who'"), '0', 'not in moves');
is(sql("SELECT count(*) FROM gamestate.dictionary WHERE position('$who'::bytea IN content) > 0"), '0', 'not in a dictionary');
is(sql(q{SELECT count(*) FROM gamestate.verify_archive()}), '0', 'the archive is whole');
is(sql(q{SELECT string_agg(relkind::text, '' ORDER BY oid::regclass::text) FROM pg_class WHERE oid IN (leaf('go_15'), leaf('go_20'), leaf('go_30'), leaf('go_40'))}), 'ffff', 'frozen partitions are frozen');
isnt(file_of('go_20'), $old{20}, 'another file');
isnt(file_of('go_40'), $old{40}, 'even of games without the player, if the dictionary has him');
is(file_of('go_15'), $old{15}, 'else a file without the player is not written');
files_become(4, 'the old files are removed');
is(join(' ', files()), join(' ', sort map { file_of("go_$_") } 15, 20, 30, 40), 'and no others');
is(sql(q{SELECT bool_and(bytes = (pg_stat_file(current_setting('gamestate.cold_directory') || '/' || file)).size) FROM gamestate.cold_file}), 't', 'the manifest is right');
is(sql("SELECT count(*) FROM gamestate.saved_games WHERE position('$who'::bytea IN image) > 0"), '0', 'not in saved games');
is(sql("SELECT count(*) FROM images JOIN gamestate.saved_games USING (game_id, version, saved_at)"), '155', 'which are of the same moment');
sql("SELECT gamestate.thaw_partition(leaf('go_20'))");
is(sql("SELECT states('$pseudonym')"), $before, 'thawed, the same');
is(sql('SELECT gamestate.save_live_games()'), '155', 'games can be saved again');

# ---------------------------------------------------------------------------
note 'Files out of reach';

sql("CALL make_old('go', 50, 30, 'eve-1'); CALL make_old('go', 60, 30, 'eve-1'); SELECT gamestate.freeze_partition(leaf('go_50')), gamestate.freeze_partition(leaf('go_60'))");
my $file = "$cold/" . file_of('go_50');
rename $file, "$file.away" or die;
$report = sql(q{CALL gamestate.anonymise_player('eve-1')});
like($report, qr/frozen partition gamestate_partitions.archive_payload_go_50: cold file .* is damaged or missing: it does not exist/, 'a missing file is said');
unlike($report, qr/go_60/, 'others are reached');
rename "$file.away", $file or die;
is(sql(q{SELECT count(*) > 0 FROM gamestate.archived_moves WHERE player = 'eve-1' AND game_type = 'go'}), 't', 'what is in it is as it was');
my $bytes = slurp_file($file);
open(my $f, '>:raw', $file) or die; print $f substr($bytes, 0, 100) . chr(ord(substr($bytes, 100, 1)) ^ 1) . substr($bytes, 101); close $f;
like(sql(q{CALL gamestate.anonymise_player('eve-1')}), qr/go_50: cold file .*block 0 has another checksum/, 'so is a damaged one');
open($f, '>:raw', $file) or die; print $f $bytes; close $f;
unlike(sql(q{CALL gamestate.anonymise_player('eve-1')}), qr/go_50/, 'mended, it is reached');
is(sql(q{SELECT count(*) FROM gamestate.archived_moves WHERE player = 'eve-1'}), '0', 'no move of hers');
$node->append_conf('postgresql.conf', q{gamestate.cold_directory = ''});
$node->reload;
becomes(q{SELECT current_setting('gamestate.cold_directory') = ''}, 'no directory');
like(sql(q{CALL gamestate.anonymise_player('bob')}), qr/go_60: gamestate.cold_directory is not set/, 'without the directory too');

# a saved game that cannot be read
sql(q{UPDATE gamestate.saved_games SET checksum = 0 WHERE game_id = (SELECT min(game_id::text)::uuid FROM gamestate.saved_games)});
like(sql(q{CALL gamestate.anonymise_player('max')}), qr/"saved_games" : [45],.*1 damaged payloads or saved games/, 'and one that is damaged');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|leaked|terminated by signal/, 'the log has nothing bad');
$node->stop;
done_testing();
