# Earlier states after crashes, rotations of the journal, saving and loading, and
# on a standby.
#
# A layer of its own because it needs servers that crash and a standby.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 64MB
gamestate.journal_size = 16MB
wal_keep_size = 1GB
autovacuum = off
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
INSERT INTO gamestate.policy (game_type, history) VALUES ('events', 'events'), ('last', 'last 7');
CREATE FUNCTION id(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$SELECT ('50280000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
-- every state of every game of history full; first and last state of the others
CREATE FUNCTION all_states() RETURNS SETOF text LANGUAGE sql AS $$
SELECT concat_ws(' ', game_id, version, v, md5(gamestate.state_at(game_id, v)::text))
  FROM gamestate.list_live_games('full', with_state => false), generate_series(1, version) v
 UNION ALL
SELECT concat_ws(' ', game_id, version, v, gamestate.state_at(game_id, v)::text)
  FROM gamestate.list_live_games('events', with_state => false), unnest(ARRAY[1, version]) v
 UNION ALL
SELECT concat_ws(' ', game_id, version, v, md5(gamestate.state_at(game_id, v)::text))
  FROM gamestate.list_live_games('last', with_state => false), generate_series(greatest(version - 7, 1), version) v
 UNION ALL
SELECT md5(string_agg(c::text, ' ' ORDER BY c.version))
  FROM gamestate.list_live_games('last', with_state => false) g, gamestate.get_changes(g.game_id) c
 GROUP BY g.game_id
 ORDER BY 1
$$;
-- what a request did that the log no longer has
CREATE FUNCTION again(g integer) RETURNS bigint LANGUAGE sql AS $$
SELECT gamestate.set_metadata(id(g), to_json(g), NULL, id(1000 + g))
$$;
-- what every state should be
CREATE TABLE expected (game integer, version bigint, state text);
CREATE PROCEDURE play(g integer, moves integer) LANGUAGE plpgsql AS $$
DECLARE
	i   integer;
	v   bigint := gamestate.get_version(id(g));
	s   text := gamestate.get_state(id(g)) #>> '{}';
BEGIN
	FOR i IN 1 .. moves LOOP
		-- little, much, nothing; alone, several at once, rolled back in part, with a table
		s := CASE i % 5 WHEN 0 THEN repeat(md5(random()::text), 20 + i % 60) WHEN 1 THEN s
			ELSE overlay(s placing md5(random()::text) from 1 + i * 13 % length(s)) END;
		v := gamestate.apply_move(id(g), v, to_json(i), CASE WHEN i % 5 <> 1 THEN to_json(s) END);
		INSERT INTO expected SELECT g, v, s WHERE i % 3 = 0;
		IF i % 7 = 0 THEN
			BEGIN
				PERFORM gamestate.apply_move(id(g), v, '"back"', to_json('rolled back'::text));
				RAISE EXCEPTION 'back';
			EXCEPTION WHEN raise_exception THEN
				NULL;
			END;
		END IF;
		IF i % 11 = 0 THEN
			v := gamestate.restore_game(id(g), CASE WHEN g <= 4 THEN 1 + i % v WHEN g > 6 THEN v - i % 7 ELSE 1 END);
			s := gamestate.get_state(id(g)) #>> '{}';
		END IF;
		IF i % 4 = 0 THEN
			COMMIT;
		END IF;
	END LOOP;
END $$;
SELECT gamestate.create_game('full', to_json(md5(i::text)), game_id => id(i)) FROM generate_series(1, 4) i;
SELECT gamestate.create_game('events', to_json(md5(i::text)), game_id => id(i)) FROM generate_series(5, 6) i;
SELECT gamestate.create_game('last', to_json(md5(i::text)), game_id => id(i)) FROM generate_series(7, 8) i;
SELECT again(7), again(8);
});

# what is expected, of the versions whose states are kept
my $wrong = q{SELECT count(*) FROM expected WHERE CASE WHEN game <= 4 OR game > 6 AND version >= gamestate.get_version(id(game)) - 7
	THEN gamestate.state_at(id(game), version) #>> '{}' IS DISTINCT FROM state END};
my $again = 'SELECT again(7), again(8)';

sub play
{
	my ($moves) = @_;
	$node->safe_psql('postgres', "CALL play($_, $moves)") foreach 1 .. 8;
	is($node->safe_psql('postgres', $wrong), '0', 'states as they were');
	return $node->safe_psql('postgres', 'SELECT all_states()');
}

my $before = play(60);
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', 'SELECT all_states()'), $before, 'after a crash');
is($node->safe_psql('postgres', $again), '2|2', 'requests are remembered longer than the log');
my ($code, $out, $err) = $node->psql('postgres', 'SELECT gamestate.state_at(id(7), 2)', extra_params => ['-v', 'VERBOSITY=verbose']);
like($err, qr/GS011/, 'what is older than the history');

# Images, and what comes after them, each game in both tables.
$node->backup('base');
foreach my $light ('on', 'off')
{
	$node->safe_psql('postgres', "ALTER DATABASE postgres SET gamestate.light_commit = $light");
	my $rotations = $node->safe_psql('postgres', 'SELECT rotations FROM gamestate.stat_journal');
	my $tries = 0;
	do
	{
		$node->safe_psql('postgres', q{SET synchronous_commit = off;
			SELECT gamestate.create_game('filler', to_json(repeat(md5('x'), 20000)), game_id => id(100));
			SELECT count(gamestate.restore_game(id(100), 1)) FROM generate_series(1, 30);
			SELECT gamestate.delete_game(id(100))});
	} while ($node->safe_psql('postgres', "SELECT rotations = $rotations FROM gamestate.stat_journal") eq 't' && ++$tries < 60);
	cmp_ok($tries, '<', 60, 'the journal was rotated');
	$before = play(20);
	$node->stop('immediate');
	$node->start;
	is($node->safe_psql('postgres', 'SELECT all_states()'), $before, "after a rotation and a crash, light commits $light");
	is($node->safe_psql('postgres', $again), '2|2', 'requests, too');
}

# A standby follows.
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay');
is($standby->safe_psql('postgres', 'SELECT all_states()'), $before, 'on a standby');
$before = play(20);
$node->wait_for_catchup($standby, 'replay');
is($standby->safe_psql('postgres', 'SELECT all_states()'), $before, 'and what it has followed since');
$standby->stop;

# Saved and loaded.
$node->safe_psql('postgres', q{SELECT gamestate.save_live_games(); SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games();
	SELECT gamestate.load_saved_games()});
is($node->safe_psql('postgres', 'SELECT all_states()'), $before, 'saved and loaded');
is($node->safe_psql('postgres', $again), '2|2', 'with the requests');
$before = play(10);
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', 'SELECT all_states()'), $before, 'and after the next crash');
is($node->safe_psql('postgres', $again), '2|2', 'which the requests survive');

# Archived.
$node->safe_psql('postgres', 'CREATE TABLE states AS SELECT game_id, v, gamestate.state_at(game_id, v)::text AS state
	FROM gamestate.list_live_games(\'full\'), generate_series(1, version) v UNION ALL SELECT game_id, v, gamestate.state_at(game_id, v)::text
	FROM gamestate.list_live_games(\'last\'), generate_series(version - 6, version) v;
	SELECT count(gamestate.finish_game(game_id)) FROM gamestate.list_live_games()');
is($node->poll_query_until('postgres', 'SELECT count(*) = 8 FROM gamestate.archive'), 1, 'archived');
is($node->safe_psql('postgres', 'SELECT count(*) FROM states WHERE gamestate.state_at(game_id, v)::text IS DISTINCT FROM state'), '0',
	'every state of archived games');
is($node->safe_psql('postgres', $again), '2|2', 'and their requests');
is($node->safe_psql('postgres', 'SELECT count(*) FROM gamestate.verify_archive()'), '0', 'the archive is whole');
$node->stop;

done_testing();
