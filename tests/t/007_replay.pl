# Recorded games of real people and programs are played through apply_move:
# get_state gives back every state to the byte, and what is archived is the
# record: moves to the letter, players, result, final state.
#
# A layer of its own because it needs the records, which are not part of the
# project.  Environment: GAMESTATE_DATA is the directory that has them.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# file, number of games
my @sample = ([ 'chess', 60 ], [ '18xx', 2 ], [ 'battlesnake', 12 ]);

my ($data) = grep { defined && -r "$_/chess.jsonl" }
	($ENV{GAMESTATE_DATA}, "$FindBin::RealBin/../../../shared/data");
plan skip_all => 'no recorded games: set GAMESTATE_DATA to the directory of chess.jsonl, 18xx.jsonl and battlesnake.jsonl'
	unless $data;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
CREATE TABLE record (n serial PRIMARY KEY, doc json, id uuid, final json);
CREATE TABLE wrong (n integer, version bigint, what text);
-- The state after move i: the recorded one, else one that we build.
CREATE FUNCTION state_after(doc json, states json[], i integer, move json) RETURNS json LANGUAGE sql AS $$
SELECT coalesce(states[i], json_build_object('moves', i, 'last', move))
$$;
CREATE PROCEDURE replay(r integer) LANGUAGE plpgsql AS $$
DECLARE
    d       json := (SELECT doc FROM record WHERE n = r);
    states  json[] := ARRAY(SELECT json_array_elements(d -> 'states') WHERE d -> 'states' IS NOT NULL);
    moves   json[] := ARRAY(SELECT json_array_elements(d -> 'moves'));
    g       uuid := gamestate.create_game(d ->> 'game_type', coalesce(d -> 'initial_state', '{}'),
                                          ARRAY(SELECT json_array_elements_text(d -> 'players')), metadata => d -> 'meta');
    v       bigint := 1;
    s       json := coalesce(d -> 'initial_state', '{}');
BEGIN
    IF gamestate.get_state(g)::text IS DISTINCT FROM s::text THEN
        INSERT INTO wrong VALUES (r, 1, 'state');
    END IF;
    COMMIT;
    FOR i IN 1 .. cardinality(moves) LOOP
        s := state_after(d, states, i, moves[i]);
        v := gamestate.apply_move(g, v, moves[i], s);
        COMMIT;
        IF v <> i + 1 OR gamestate.get_state(g)::text IS DISTINCT FROM s::text THEN
            INSERT INTO wrong VALUES (r, v, 'state');
        END IF;
    END LOOP;
    UPDATE record SET id = g, final = s WHERE n = r;
    PERFORM gamestate.finish_game(g, d -> 'result', v);
    COMMIT;
END $$;
});

foreach (@sample)
{
	my ($name, $games) = @$_;

	# A line is loaded as it stands: no character of JSON is the delimiter or the quote.
	my $file = $node->basedir . "/$name.jsonl";
	my $lines = 0;
	open my $in, '<', "$data/$name.jsonl" or die "$data/$name.jsonl: $!";
	open my $out, '>', $file or die "$file: $!";
	while (defined(my $line = <$in>) && $lines++ < $games)
	{
		print $out $line;
	}
	close $out or die "$file: $!";
	close $in;

	$node->safe_psql('postgres', "TRUNCATE record, wrong RESTART IDENTITY;
		\\copy record (doc) FROM '$file' WITH (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM record'), $games, "$name: $games records");
	my $moves = $node->safe_psql('postgres', q{SELECT sum(json_array_length(doc -> 'moves')) FROM record});
	$node->safe_psql('postgres', join('', map { "CALL replay($_);\n" } 1 .. $games));
	is($node->safe_psql('postgres', 'TABLE wrong'), '', "$name: after each of $moves moves get_state is what was written");
	is($node->poll_query_until('postgres', q{SELECT bool_and((gamestate.get_game(id)).tier = 'archived') FROM record}), 1,
		"$name: all are archived");

	# What the archive answers is the record.
	is($node->safe_psql('postgres', q{
		SELECT n FROM record r, gamestate.get_game(r.id) g
		 WHERE NOT coalesce(g.game_type = doc ->> 'game_type' AND g.status = 'finished'
		   AND g.players = ARRAY(SELECT json_array_elements_text(doc -> 'players'))
		   AND g.metadata::text = (doc -> 'meta')::text AND g.result::text IS NOT DISTINCT FROM (doc -> 'result')::text
		   AND g.state::text = final::text AND g.moves = json_array_length(doc -> 'moves')
		   AND g.version = g.moves + 2, false)}), '', "$name: get_game");
	is($node->safe_psql('postgres', q{
		SELECT n FROM record r WHERE gamestate.get_state(r.id)::text IS DISTINCT FROM final::text}), '', "$name: get_state");
	is($node->safe_psql('postgres', q{
		SELECT n FROM record r
		 WHERE ARRAY(SELECT event::text FROM gamestate.get_changes(r.id) WHERE kind = 'move' ORDER BY version)
			   IS DISTINCT FROM ARRAY(SELECT json_array_elements(doc -> 'moves')::text)
			OR ARRAY(SELECT version FROM gamestate.get_changes(r.id)) IS DISTINCT FROM
			   ARRAY(SELECT generate_series(1, json_array_length(doc -> 'moves') + 2)::bigint)}), '', "$name: get_changes");
	# So does plain SQL, which also has the state at the beginning.
	is($node->safe_psql('postgres', q{
		SELECT n FROM record r LEFT JOIN gamestate.archived_games a ON a.game_id = r.id
		 WHERE a.initial_state::text IS DISTINCT FROM coalesce((doc -> 'initial_state')::text, '{}')}), '', "$name: initial state");
	is($node->safe_psql('postgres', q{
		SELECT n FROM record r LEFT JOIN gamestate.archive a ON a.game_id = r.id
		 WHERE a.game_id IS NULL OR a.players <> ARRAY(SELECT json_array_elements_text(doc -> 'players'))
			OR a.result::text IS DISTINCT FROM (doc -> 'result')::text OR a.moves <> json_array_length(doc -> 'moves')
			OR a.metadata::text <> (doc -> 'meta')::text}), '', "$name: rows of the archive");
}

$node->stop;
done_testing();
