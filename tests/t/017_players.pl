# Players' statistics, hooks and rankings are changed with the archive's rows or
# not at all, whatever fails and whatever is killed.
#
# A layer of its own because the archiver does it, fails, waits and is killed, and
# because roles of hooks go through a dump.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FindBin;
use lib $FindBin::Bin;
use Patient;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.maintenance_interval = 1s
gamestate.archive_batch = 20
gamestate.hook_timeout = 500ms
max_worker_processes = 12
autovacuum = off
restart_after_crash = on
});
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub becomes
{
	my ($query, $name) = @_;
	ok($node->poll_query_until('postgres', $query), $name)
	  or diag sql('SELECT kind, state, last_error FROM gamestate.stat_workers') . sql('SELECT * FROM gamestate.hook_error');
	return;
}

sql(q{
CREATE EXTENSION gamestate;
CREATE ROLE hook_role;
GRANT CREATE, USAGE ON SCHEMA public TO hook_role;
SELECT gamestate.grant_admin('hook_role');
SET ROLE hook_role;
CREATE TABLE public.hooked (game_id uuid, who text DEFAULT current_user);
CREATE TABLE public.mood (calm boolean);
INSERT INTO public.mood VALUES (true);
CREATE FUNCTION public.hook(games gamestate.archive[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.hooked (game_id) SELECT game_id FROM unnest(games);
	IF NOT (SELECT calm FROM public.mood) THEN
		RAISE 'the hook is angry';
	END IF;
	IF EXISTS (SELECT FROM unnest(games) WHERE game_type = 'slow') THEN
		PERFORM pg_sleep(1000);
	END IF;
END $$;
INSERT INTO gamestate.policy (game_type, archive_hook, leaderboards) VALUES ('played', 'public.hook', '{wins,score}');
INSERT INTO gamestate.policy (game_type, archive_hook, hook_failure) VALUES ('slow', 'public.hook', 'skip');
});

# Games that end, each with a winner and scores; some types have no hook.
sub play
{
	my ($n, $type) = @_;
	sql(qq{
SELECT count(gamestate.finish_game(gamestate.create_game('$type', '{}', ARRAY['p' || i % 13, 'q' || i % 7]),
	json_build_object('winner', 'p' || i % 13, 'scores', json_build_object('q' || i % 7, i))))
  FROM generate_series(1, $n) i});
	return;
}

# What the archive says, beside what was counted, hooked and ranked.
sub agree
{
	my ($name) = @_;
	is(sql(q{
WITH a AS (SELECT game_type, p AS player, count(*) AS games, count(*) FILTER (WHERE result ->> 'winner' = p) AS wins,
				  sum((result -> 'scores' ->> p)::bigint) AS score
			 FROM gamestate.archive, unnest(players) p GROUP BY 1, 2),
	 s AS (SELECT game_type, player, games, wins, (counters ->> 'score')::bigint AS score FROM gamestate.player_stats)
SELECT (SELECT count(*) FROM (TABLE a EXCEPT TABLE s) x), (SELECT count(*) FROM (TABLE s EXCEPT TABLE a) x)}), '0|0',
		"$name: statistics");
	is(sql(q{SELECT (SELECT count(*) FROM gamestate.archive WHERE game_type = 'played'), (SELECT count(DISTINCT game_id) FROM hooked),
		(SELECT count(*) FROM hooked) = (SELECT count(DISTINCT game_id) FROM hooked), (SELECT string_agg(DISTINCT who, ' ') FROM hooked)})
		=~ s/^(\d+)\|\1\|t\|hook_role$/same/r, 'same', "$name: hooks");
	is(sql(q{SELECT count(*) FROM (SELECT rank, player, value FROM gamestate.leaderboard('played', 'wins', 1000)
		EXCEPT SELECT rank() OVER (ORDER BY wins DESC), player, wins FROM gamestate.player_stats WHERE game_type = 'played') x}), '0',
		"$name: ranking");
	return;
}

my $empty = 'SELECT archive_queue = 0 FROM gamestate.stat_memory';

play(100, 'played');
play(100, 'unhooked');
becomes($empty, 'games are archived');
becomes(q{SELECT count(*) = 2 FROM gamestate.ranking}, 'rankings are made');
agree('at first');

# a hook that fails keeps its games in memory, and only those
sql('UPDATE mood SET calm = false');
play(50, 'played');
play(50, 'unhooked');
becomes(q{SELECT count(*) = 150 FROM gamestate.archive WHERE game_type = 'unhooked'}, 'others are archived');
becomes(q{SELECT bool_or(last_error ~ 'the hook is angry') FROM gamestate.stat_workers}, 'the error is told');
is(sql('SELECT archive_queue FROM gamestate.stat_memory'), '50', 'the games wait');
agree('while a hook fails');
sql('UPDATE mood SET calm = true');
becomes($empty, 'they are archived when it works');
agree('after that');

# one that is too slow is cancelled, and skipped
play(5, 'slow');
becomes(q{SELECT count(*) = 5 FROM gamestate.archive WHERE game_type = 'slow'}, 'a slow hook is skipped');
is(sql(q{SELECT bool_and(message ~ 'has taken longer than 500 ms' AND sqlstate = '38000'), sum(cardinality(games)) FROM gamestate.hook_error}),
	't|5', 'and logged');
agree('after a slow hook');

# what is not about the hook fails the batch in either case, but neither the archiver nor a session
sql(q{CREATE TABLE cut_by (code text);
CREATE FUNCTION cut(games gamestate.archive[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE c text := (SELECT code FROM public.cut_by);
BEGIN IF c IS NOT NULL THEN RAISE 'cut off' USING ERRCODE = c; END IF; END $$;
INSERT INTO gamestate.policy (game_type, archive_hook, hook_failure) VALUES ('cut', 'public.cut', 'skip')});
my $cut = 0;
foreach my $code ('57014', '40P01', '53100')
{
	my $archiver = q{SELECT pid FROM gamestate.stat_workers WHERE kind = 'archiver'};
	my $pid = sql($archiver);
	sql("INSERT INTO cut_by VALUES ('$code')");
	play(5, 'cut');
	becomes(qq{SELECT bool_or(last_sqlstate = '$code') FROM gamestate.stat_archiver WHERE game_type = 'cut'}, "a hook fails with $code");
	my ($rc, $out, $err) = $node->psql('postgres', qq{SELECT count(*) FROM gamestate.import_games('{"{\\"game_type\\": \\"cut\\", \\"source_id\\": \\"$code\\", \\"ended_at\\": \\"2020-01-01\\"}"}');
SELECT 'alive'}, on_error_stop => 0);
	like($err, qr/cut off/, 'a call fails too');
	is($out, 'alive', 'and the session goes on');
	sql('SELECT pg_sleep(2)');
	is(sql($archiver), $pid, 'the archiver has not ended');
	is(sql(q{SELECT count(*) FROM gamestate.archive WHERE game_type = 'cut'}), $cut, 'nothing is archived');
	sql('TRUNCATE cut_by; SELECT gamestate.resume_archiving()');
	$cut += 5;
	becomes(qq{SELECT count(*) = $cut FROM gamestate.archive WHERE game_type = 'cut'}, 'until it works');
}
agree('after that');
sql(q{DELETE FROM gamestate.policy WHERE game_type = 'cut'});

# killed at any point
foreach my $round (1 .. 4)
{
	play(200, 'played');
	my $pid = sql(q{SELECT pid FROM gamestate.stat_workers WHERE kind = 'archiver' AND database = 'postgres'});
	if ($round % 2 && $pid)
	{
		kill 'KILL', $pid;
		$node->poll_query_until('postgres', 'SELECT true')
		  or die 'the server does not come back';
	}
	else
	{
		$node->stop('immediate');
		$node->start;
	}
}
becomes($empty, 'all are archived after crashes');
is(sql(q{SELECT count(*) FROM gamestate.archive WHERE game_type = 'played'}), '950', 'each');
agree('after crashes');

# a dead letter counts when it is archived after all, once
sql(q{INSERT INTO gamestate.dead_letter SELECT gen_random_uuid(), a.game_type, a.status, a.encoding, a.players, a.max_players, a.room_code, a.metadata, a.result,
	a.created_at, a.started_at, a.ended_at, a.version, a.moves, p.format, p.dictionary, p.raw_size, p.checksum, p.payload, 3, now(), now(), 'XX000', 'no', NULL
	FROM gamestate.archive a JOIN gamestate.archive_payload p USING (game_type, ended_at, game_id) WHERE a.game_type = 'played' LIMIT 3});
agree('with dead letters');
is(sql(q{SELECT count(*) FILTER (WHERE gamestate.retry_dead_letter(game_id)) FROM gamestate.dead_letter}), '3', 'dead letters are archived');
agree('after dead letters');

# imports and the archiver at once
my $import = q{SELECT count(*) FROM gamestate.import_games(ARRAY(SELECT format(
	'{"game_type": "played", "source_id": "%s", "ended_at": "2020-01-01", "players": ["q%s", "p%s"], "result": {"winner": "p%s"}}',
	gen_random_uuid(), i % 7, i % 13, i % 13) FROM generate_series(1, 100) i)) WHERE outcome = 'imported'};
my @sessions = map { $node->background_psql('postgres') } 1 .. 3;
play(200, 'played');
foreach (1 .. 3)
{
	is($_->query($import), '100', 'imported') foreach @sessions;
}
$_->quit foreach @sessions;
becomes($empty, 'all are archived beside imports');
agree('after imports');

# a dump has statistics and policies; hooks still run as whoever has set them
my $dump = $node->basedir . '/dump';
sql('SELECT gamestate.save_live_games()');
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ], 'restore');
is($node->safe_psql('restored', 'SELECT game_type, function, role FROM gamestate.policy_function ORDER BY 1'),
	"played|public.hook|hook_role\nslow|public.hook|hook_role", 'roles of hooks are restored');
is($node->safe_psql('restored', 'SELECT * FROM gamestate.player_stats ORDER BY 1, 2'),
	sql('SELECT * FROM gamestate.player_stats ORDER BY 1, 2'), 'and statistics');
ok($node->poll_query_until('restored', q{SELECT count(*) = 2 FROM gamestate.ranking}), 'rankings are made again');
is($node->safe_psql('restored', q{SELECT * FROM gamestate.leaderboard('played', 'wins', 1000)}),
	sql(q{SELECT * FROM gamestate.leaderboard('played', 'wins', 1000)}), 'and are the same');

$node->stop;
done_testing();
