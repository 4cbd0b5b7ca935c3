# anonymise_player() replaces an id while games go on, through kills, a crash and a
# standby, out of dictionaries and detached partitions, and goes on where it was cut off.
#
# A layer of its own because dictionaries are trained by the maintenance worker, the
# server is killed meanwhile, and bytes of files are looked at afterwards.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.maintenance_interval = 500ms
gamestate.dictionary_min_games = 60
max_worker_processes = 12
autovacuum = off
});
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub becomes
{
	my ($query, $name) = @_;
	ok($node->poll_query_until('postgres', $query), $name)
	  or diag sql('SELECT kind, state, last_error FROM gamestate.stat_workers') . sql('SELECT * FROM gamestate.erasure');
	return;
}

my $who = 'zoe-the-very-unique';

sql(q{
CREATE EXTENSION gamestate;
INSERT INTO gamestate.policy (game_type, history, leaderboards) VALUES ('t', 'full', '{games}');
-- games whose states differ, in which the player is named again and again
CREATE FUNCTION play(n int, ends boolean) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	g	uuid;
BEGIN
	FOR i IN 1..n LOOP
		g := gamestate.create_game('t', json_build_object('turn', 'zoe-the-very-unique', 'n', i, 'r', md5(random()::text)), '{zoe-the-very-unique,max}');
		FOR m IN 1..6 LOOP
			PERFORM gamestate.apply_move(g, NULL, json_build_object('by', 'zoe-the-very-unique', 'm', m, 'x', md5(random()::text)),
				json_build_object('turn', (ARRAY['max', 'zoe-the-very-unique'])[1 + m % 2], 'seats', json_build_object('zoe-the-very-unique', m, 'max', i), 'r', md5(random()::text)),
				'zoe-the-very-unique');
		END LOOP;
		IF ends THEN
			PERFORM gamestate.finish_game(g, json_build_object('winner', 'zoe-the-very-unique'));
		END IF;
	END LOOP;
	RETURN n;
END $$;
});
sql('SELECT play(1, true)') foreach 1 .. 5;
sql('SELECT play(195, true)');
becomes('SELECT count(*) = 200 FROM gamestate.archive', 'games are archived');
becomes(q{SELECT count(*) = 1 FROM gamestate.dictionary WHERE content IS NOT NULL}, 'a dictionary is trained');
is(sql("SELECT position('$who'::bytea IN content) > 0 FROM gamestate.dictionary"), 't', 'the player is in it');
sql('SELECT play(200, true)');
becomes('SELECT count(*) = 200 FROM gamestate.archive_payload WHERE dictionary IS NOT NULL', 'games are archived with it');
sql('SELECT play(120, false)');
sql(q{SELECT count(gamestate.suspend_game(g)) FROM (SELECT game_id FROM gamestate.list_live_games() LIMIT 10) s(g)});
becomes('SELECT count(*) = 1 FROM gamestate.ranking', 'a ranking is made');

# dead letters, as the archiver makes them of games that cannot be archived
sql(q{INSERT INTO gamestate.dead_letter SELECT gen_random_uuid(), a.game_type, a.status, a.encoding, a.players, a.max_players, a.room_code, a.metadata, a.result,
	a.created_at, a.started_at, a.ended_at, a.version, a.moves, p.format, p.dictionary, p.raw_size, p.checksum, p.payload, 3, now(), now(), 'XX000', 'no zoe-the-very-unique', NULL
	FROM gamestate.archive a JOIN gamestate.archive_payload p USING (game_type, ended_at, game_id) WHERE a.game_type = 't' LIMIT 5});

my $states = q{SELECT md5(string_agg(replace(coalesce(gamestate.state_at(a.game_id, v), '""')::text, NAME, 'z'), '' ORDER BY a.game_id, v))
	FROM gamestate.archive a, generate_series(1, a.version) v};
my $before = sql($states =~ s/NAME/'$who'/r);

# a standby follows, and a partition is detached
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
my $partition = sql(q{SELECT relid::regclass FROM pg_partition_tree('gamestate.archive_payload') WHERE isleaf ORDER BY (SELECT count(*) FROM gamestate.archive_payload a WHERE a.tableoid = relid) DESC LIMIT 1});
sql(q{CREATE TABLE gamestate_partitions.detached AS TABLE gamestate.archive LIMIT 20;
	ALTER TABLE gamestate_partitions.detached OWNER TO gamestate_owner});
sql('CREATE TABLE gamestate_partitions.foreign_owner AS TABLE gamestate.archive LIMIT 1');

# cut off in each phase, by a kill or a crash, it goes on
my $round = 0;
foreach my $obstacle ('LOCK TABLE gamestate.dictionary', q{SELECT gamestate.apply_move(game_id, NULL, '{}', NULL) FROM gamestate.list_live_games() LIMIT 1},
	"LOCK TABLE $partition", 'LOCK TABLE gamestate.suspended', 'LOCK TABLE gamestate.player_stats')
{
	my $blocker = $node->background_psql('postgres');
	$blocker->query_safe("BEGIN; $obstacle");
	my ($out, $err) = ('', '');
	my $call = IPC::Run::start([ 'psql', '-X', '-d', $node->connstr('postgres'), '-c', "CALL gamestate.anonymise_player('$who')" ],
		'<', \undef, '>', \$out, '2>', \$err);
	becomes(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'CALL%' AND wait_event_type = 'Lock'}, "it waits for: $obstacle");
	if (++$round % 2)
	{
		sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL%'});
		$blocker->quit;
	}
	else
	{
		$node->stop('immediate');
		$node->start;
	}
	eval { $call->finish };
	is(sql('SELECT count(*) FROM gamestate.erasure WHERE done_at IS NULL'), '1', 'and is not done');
}
my $report = sql("CALL gamestate.anonymise_player('$who')");
note $report;
my $pseudonym = sql(q{SELECT pseudonym FROM gamestate.erasure});

like($report, qr/foreign_owner: it cannot be changed/, 'what is out of reach is said');
unlike($report, qr/detached/, 'a detached partition is not');
is(sql($states =~ s/NAME/'$pseudonym'/r), $before, 'every state is as it was, but for the name');
is(sql(q{SELECT count(*) FROM gamestate.verify_archive()}), '0', 'the archive is whole');
is(sql("SELECT count(*) FROM gamestate.archive WHERE '$who' = ANY (players) OR result::text ~ '$who'"), '0', 'not in the archive');
is(sql("SELECT count(*) FROM gamestate_partitions.detached WHERE '$who' = ANY (players)"), '0', 'not in a detached partition');
is(sql("SELECT count(*) FROM gamestate.archived_moves WHERE player = '$who' OR event::text ~ '$who'"), '0', 'not in moves');
is(sql("SELECT count(*) FROM gamestate.archived_games WHERE initial_state::text ~ '$who' OR final_state::text ~ '$who'"), '0', 'not in states');
is(sql("SELECT count(*) FROM gamestate.suspended WHERE '$who' = ANY (players) OR metadata::text ~ '$who'"), '0', 'not in suspended games');
is(sql("SELECT count(*), bool_and('$pseudonym' = ANY (players) AND error_message = 'no $pseudonym' AND (gamestate.get_game(game_id)).state::text !~ '$who') FROM gamestate.dead_letter"),
	'5|t', 'not in dead letters');
is(sql("SELECT count(*), count(*) FILTER (WHERE state::text ~ '$who' OR '$who' = ANY (players)) FROM gamestate.list_live_games()"), '110|0', 'not in live games');
is(sql("SELECT count(*) FROM gamestate.player_stats WHERE player = '$who'"), '0', 'not in statistics');
is(sql("SELECT games FROM gamestate.player_stats WHERE player = '$pseudonym'"), '400', 'the pseudonym has them');
is(sql("SELECT rank || ' ' || player FROM gamestate.leaderboard('t', 'games', 1, '$pseudonym')"), "1 $pseudonym", 'and the rank');
is(sql("SELECT count(*) FROM gamestate.dictionary WHERE position('$who'::bytea IN content) > 0"), '0', 'not in a dictionary');
cmp_ok(sql('SELECT count(*) FROM gamestate.archive_payload WHERE dictionary IS NOT NULL'), '>=', 200, 'there is another one');

# suspended games come back
is(sql("SELECT count(gamestate.resume_game(game_id)) FROM gamestate.suspended"), '10', 'suspended games are resumed');
is(sql("SELECT count(*) FROM gamestate.player_games('$pseudonym')"), '120', 'with the pseudonym');
my $changes = qq{SELECT count(DISTINCT g), count(*) FILTER (WHERE (c).player = '$who' OR (c).event::text ~ '$who' OR (c).state::text ~ '$who')
	FROM gamestate.player_games('$pseudonym') g, gamestate.get_changes(g) c};
is(sql($changes), '120|0', 'their logs too');

# after a crash, and on the standby
$node->stop('immediate');
$node->start;
is(sql($changes), '120|0', 'after a crash');
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', "SELECT count(*) FROM gamestate.player_games('$pseudonym')"), '120', 'on a standby');
is($standby->safe_psql('postgres', "SELECT count(*) FROM gamestate.list_live_games() WHERE state::text ~ '$who'"), '0', 'nothing is left there');

# what the report says of files: after VACUUM and rotation the bytes are gone from the tables
sql('VACUUM FULL gamestate_partitions.detached; DROP TABLE gamestate_partitions.foreign_owner');
my $path = $node->data_dir . '/' . sql("SELECT pg_relation_filepath('gamestate_partitions.detached')");
sql('CHECKPOINT');
unlike(slurp_file($path), qr/\Q$who\E/, 'no byte of it in a file after VACUUM FULL');

$standby->stop;
$node->stop;
done_testing();
