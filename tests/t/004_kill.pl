# Backends and workers are killed with SIGKILL in the middle of heavy
# concurrent writing, again and again: the server comes back each time,
# nothing hangs, and games can be played and archived.  Backends that are only
# terminated, and immediate shutdowns, leave nothing behind either.
#
# A layer of its own because a crash ends every session of its server.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FindBin;
use lib $FindBin::Bin;
use Patient;
use Test::More;
use Time::HiRes qw(sleep);

my $clients = 6;
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
restart_after_crash = on
max_connections = 30
deadlock_timeout = 20ms
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
CREATE TABLE coin (id serial, n int);
-- One step of something with one or several of 100 games in 30 rooms.
CREATE FUNCTION step() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    g   uuid := ('40040000-0000-4000-8000-' || lpad((random() * 100)::int::text, 12, '0'))::uuid;
    r   text := 'room ' || (random() * 30)::int;
    p   text := 'player ' || (random() * 10)::int;
BEGIN
    FOR i IN 0 .. (random() * 3)::int LOOP
        BEGIN
            CASE (random() * 15)::int
                WHEN 0 THEN PERFORM gamestate.create_game('kill', '{}', ARRAY[p], r, game_id => g);
                WHEN 1 THEN PERFORM gamestate.create_game('kill', to_json(repeat('x', (random() * 10000)::int)), ARRAY[p]);
                WHEN 2 THEN PERFORM gamestate.join_game(g, p);
                WHEN 3 THEN PERFORM gamestate.leave_game(g, p);
                WHEN 4 THEN PERFORM gamestate.set_room_code(g, r);
                WHEN 5 THEN PERFORM gamestate.finish_game(gamestate.find_room(r), to_json(repeat('y', (random() * 1000)::int)));
                WHEN 6 THEN PERFORM gamestate.delete_game(g);
                WHEN 7 THEN PERFORM gamestate.set_metadata(g, to_json(repeat('z', (random() * 1000)::int)));
                WHEN 8 THEN INSERT INTO coin (n) VALUES (1);
                WHEN 9 THEN PERFORM gamestate.finish_game(x) FROM gamestate.player_games(p) x;
                WHEN 10 THEN PERFORM gamestate.finish_game(gamestate.create_game('kill', '{"n": 1}', ARRAY[p]), '"at once"');
                WHEN 11 THEN RAISE EXCEPTION USING ERRCODE = 'GS999';
                ELSE PERFORM gamestate.apply_move(g, NULL, to_json(i), to_json(repeat('s', (random() * 5000)::int)));
            END CASE;
        EXCEPTION
            WHEN SQLSTATE 'GS002' OR SQLSTATE 'GS003' OR SQLSTATE 'GS004' OR SQLSTATE 'GS005' OR SQLSTATE 'GS006'
              OR SQLSTATE 'GS009' OR SQLSTATE 'GS999' OR SQLSTATE '22004' OR deadlock_detected THEN
                NULL;
        END;
    END LOOP;
    IF random() < 0.1 THEN
        RAISE EXCEPTION USING ERRCODE = 'GS999';
    END IF;
EXCEPTION WHEN SQLSTATE 'GS999' THEN
    NULL;
END $$;
-- Everything that must hold whenever nobody writes; says what does not.
CREATE FUNCTION check_games() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT 'log of ' || game_id FROM gamestate.list_live_games() l
        WHERE (SELECT array_agg(version) FROM gamestate.get_changes(l.game_id))
              IS DISTINCT FROM (SELECT array_agg(v) FROM generate_series(1, l.version) v);
    RETURN QUERY SELECT 'room of ' || game_id FROM gamestate.list_live_games() l
        WHERE room_code IS NOT NULL AND status IN ('waiting', 'active') AND gamestate.find_room(room_code) IS DISTINCT FROM game_id;
    RETURN QUERY SELECT 'player of ' || game_id FROM gamestate.list_live_games() l, unnest(players) p
        WHERE status IN ('waiting', 'active') AND game_id NOT IN (SELECT gamestate.player_games(p));
    RETURN QUERY SELECT 'leftover game of ' || p FROM (SELECT 'player ' || generate_series(0, 10) AS p) s, gamestate.player_games(p) g
        WHERE NOT coalesce((SELECT p = ANY (players) AND status IN ('waiting', 'active') FROM gamestate.get_game(g)), false);
    RETURN QUERY SELECT 'leftover room ' || r FROM (SELECT 'room ' || generate_series(0, 30) AS r) s
        WHERE gamestate.find_room(r) IS NOT NULL AND (gamestate.get_game(gamestate.find_room(r))).room_code IS DISTINCT FROM r;
    RETURN QUERY SELECT 'live and archived ' || game_id FROM gamestate.list_live_games() JOIN gamestate.archive USING (game_id);
    RETURN QUERY SELECT 'archived twice ' || game_id FROM gamestate.archive GROUP BY game_id HAVING count(*) > 1;
    RETURN QUERY SELECT 'payload of ' || game_id FROM gamestate.archive FULL JOIN gamestate.archive_payload p USING (game_id)
        WHERE p.ended_at IS DISTINCT FROM archive.ended_at;
    RETURN QUERY SELECT 'archived log of ' || game_id FROM (SELECT * FROM gamestate.archive ORDER BY ended_at DESC LIMIT 100) a
        WHERE (SELECT array_agg(version) FROM gamestate.get_changes(a.game_id))
              IS DISTINCT FROM (SELECT array_agg(v) FROM generate_series(1, a.version) v);
    RETURN QUERY SELECT 'lock ' || objsubid FROM pg_locks l WHERE objsubid IN (18177, 18178)
        AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.pid AND a.backend_type LIKE 'gamestate%');
END $$;
});
my $script = $node->basedir . '/step.sql';
append_to_file($script, "SELECT step();\n");

# start_load(): pgbench in the background
sub start_load
{
	my ($out, $err) = ('', '');
	local $ENV{PGAPPNAME} = 'load';
	return IPC::Run::start(
		[ 'pgbench', '-n', '-c', $clients, '-j', 1, '-T', 60, '-f', $script, $node->connstr('postgres') ],
		'>', \$out, '2>', \$err);
}

# play(): a game from beginning to archive
my $played = 0;
sub play
{
	my ($name) = @_;
	$played++;
	my $id = sprintf('40040000-0000-4000-8000-1%011d', $played);
	my $got = $node->safe_psql('postgres', qq{
		SET statement_timeout = '30s';
		SELECT gamestate.create_game('after', '0', '{ann}', 'AFTER', game_id => '$id');
		SELECT gamestate.apply_move(gamestate.find_room('AFTER'), 1, '"m"', '1', 'ann');
		SELECT gamestate.finish_game(gamestate.find_room('AFTER'), '"r"');});
	like($got, qr/\n2\n3$/, "$name: a game can be played");
	is($node->poll_query_until('postgres', "SELECT count(*) = $played FROM gamestate.archive WHERE game_type = 'after'"), 1,
		"$name: and is archived");
}

play('before');

# SIGKILL
foreach my $round (1 .. 6)
{
	my $load = start_load();
	# Backends in the middle of something, in every third round a worker of ours
	my $who = $round % 3 == 0 ? "backend_type LIKE 'gamestate%'" : "application_name = 'load' AND state <> 'idle'";
	sleep(0.4 + rand(0.4));
	my $pid = '';
	for (1 .. 100)
	{
		$pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE $who ORDER BY random() LIMIT 1");
		last if $pid ne '';
	}
	isnt($pid, '', "round $round: somebody to kill");
	if ($pid eq '')
	{
		$load->kill_kill;
		next;
	}
	kill('KILL', $pid);
	$load->finish;
	is($node->poll_query_until('postgres', 'SELECT 1', '1'), 1, "round $round: the server is back");
	is($node->safe_psql('postgres', q{SET statement_timeout = '60s'; SELECT check_games()}), '', "round $round: games are whole");
	play("round $round");
}

# SIGTERM: no crash, so the games stay, and only what was not committed goes
foreach my $round (1 .. 3)
{
	my $load = start_load();
	for (1 .. 5)
	{
		sleep(0.1 + rand(0.1));
		$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE application_name = 'load' ORDER BY random() LIMIT 1});
	}
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'load'});
	$load->finish;
	$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'load'})
	  or die 'timed out waiting for sessions to end';
	cmp_ok($node->safe_psql('postgres', 'SELECT games FROM gamestate.stat_memory'), '>', 0, 'games are there');
	is($node->safe_psql('postgres', q{SET statement_timeout = '60s'; SELECT check_games()}), '', "terminated $round: games are whole");
}
play('terminated');
$node->safe_psql('postgres', q{SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games(NULL, 'active', false)});
is($node->poll_query_until('postgres', 'SELECT games + archived_in_memory = 0 FROM gamestate.stat_memory'), 1, 'all games gone');
is($node->safe_psql('postgres', q{SELECT database_bytes, reserve_free_bytes = reserve_bytes FROM gamestate.stat_memory}), '0|t',
	'and all their memory');

# Immediate shutdown
my $load = start_load();
sleep(0.5);
$node->stop('immediate');
$load->finish;
$node->start;
is($node->safe_psql('postgres', q{SET statement_timeout = '60s'; SELECT check_games()}), '', 'immediate shutdown: games are whole');
play('immediate shutdown');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?!9)/, 'nobody crashed but those who were killed');
done_testing();
