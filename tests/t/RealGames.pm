# Recorded games for the tests that archive some: where they are, a procedure
# that plays them, and a view of those that the archive does not give back to the letter.

package RealGames;

use strict;
use warnings;

use FindBin;

# GAMESTATE_DATA is the directory that has them.
sub directory
{
	my ($data) = grep { defined && -r "$_/chess.jsonl" }
		($ENV{GAMESTATE_DATA}, "$FindBin::RealBin/../../../shared/data");
	return $data;
}

sub load
{
	my ($node, $data) = @_;
	$node->safe_psql('postgres', q{
CREATE TABLE source (n int GENERATED ALWAYS AS IDENTITY, line json);
-- what was played, to compare with
CREATE TABLE played (game_id uuid PRIMARY KEY, game_type text, initial text, final text, events text[]);
CREATE PROCEDURE play(type text, first int, last int) LANGUAGE plpgsql AS $$
DECLARE r record; id uuid; m record; s text; events text[]; initial text; players text[];
BEGIN
	FOR r IN SELECT line, row_number() OVER (ORDER BY n) AS i FROM source WHERE line->>'game_type' = type LOOP
		CONTINUE WHEN r.i NOT BETWEEN first AND last;
		SELECT array_agg(DISTINCT p) INTO players FROM json_array_elements_text(r.line->'players') p;
		initial := coalesce(r.line->>'initial_state', '{"moves" : 0}');
		id := gamestate.create_game(type, initial::json, players);
		events := '{}'; s := initial;
		FOR m IN SELECT value::text AS event, ordinality AS i FROM json_array_elements(r.line->'moves') WITH ORDINALITY LIMIT 400 LOOP
			s := coalesce(r.line->'states'->>(m.i - 1)::int, format('{"moves" : %s, "last":%s}', m.i, m.event));
			PERFORM gamestate.apply_move(id, NULL, m.event::json, s::json, player => players[1 + m.i % cardinality(players)]);
			events := events || m.event;
		END LOOP;
		PERFORM gamestate.finish_game(id, coalesce(r.line->'result', 'null'));
		INSERT INTO played VALUES (id, type, initial, s, events);
		COMMIT;
	END LOOP;
END $$;
-- games that are not as they were, 0 if all is well
CREATE VIEW wrong AS
SELECT p.game_id, p.game_type FROM played p LEFT JOIN gamestate.archived_games a USING (game_id)
 WHERE a.game_id IS NULL OR a.initial_state::text IS DISTINCT FROM p.initial
	OR a.final_state::text IS DISTINCT FROM p.final
	OR (SELECT array_agg(m.event::text ORDER BY m.ord) FROM gamestate.archived_log(a.game_type, a.ended_at, a.game_id, true) m) IS DISTINCT FROM p.events;
});
	# a delimiter and a quote that JSON cannot contain
	$node->safe_psql('postgres', qq{COPY source (line) FROM '$data/$_.jsonl' WITH (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')})
	  foreach qw(chess 18xx battlesnake);
	return;
}

1;
