# Games that are being played while a test does something to the server's files.
#
# Two sessions play ten games each; a transaction takes one from a game and gives
# it to another, so that a torn one changes their sum.  Events are the times
# at which they were made.  wrong() says what is wrong with the games afterwards.

package Players;

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep);

# Run once in the database that is played in, after CREATE EXTENSION.
sub setup_sql
{
	return q{
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql AS
$$SELECT ('30300000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;

CREATE PROCEDURE give(game uuid, amount int) LANGUAGE sql AS $$
SELECT gamestate.apply_move(game, NULL, to_json(clock_timestamp()), json_build_object(
	'n', (gamestate.get_state(game)->>'n')::int + amount, 'fill', repeat(md5(random()::text), 90)))
$$;

-- until there is a row in "halt", or for some seconds
CREATE TABLE halt (now int);
CREATE PROCEDURE play(first_game int, seconds float = 600) LANGUAGE plpgsql AS $$
DECLARE
	until timestamptz := clock_timestamp() + seconds * interval '1 s';
	i int := 0;
BEGIN
	WHILE clock_timestamp() < until LOOP
		CALL give(id(first_game + i % 10), -1);
		CALL give(id(first_game + (i + 3) % 10), 1);
		COMMIT;
		i := i + 1;
		EXIT WHEN i % 32 = 0 AND EXISTS (SELECT FROM halt);
	END LOOP;
END$$;

CREATE FUNCTION wrong() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	games int;
	total int;
	gaps int;
BEGIN
	SELECT count(*), sum((state->>'n')::int), count(*) FILTER (WHERE c.n <> g.version OR c.last <> g.version)
	  INTO games, total, gaps
	  FROM gamestate.list_live_games('files') g,
	       LATERAL (SELECT count(*) AS n, max(version) AS last FROM gamestate.get_changes(g.game_id)) c;
	IF games <> 20 OR total <> 0 OR gaps > 0 THEN
		RETURN format('%s games, their sum is %s, %s of them have gaps', games, total, gaps);
	END IF;
	RETURN 'nothing';
END$$;

-- everything about all games, so that two servers can be compared
CREATE FUNCTION all_games() RETURNS text LANGUAGE sql AS $$
SELECT md5(string_agg(g::text || (SELECT string_agg(c::text, '' ORDER BY version) FROM gamestate.get_changes(game_id) c), ' ' ORDER BY game_id))
  FROM gamestate.list_live_games() g
$$;

-- each state is new, so their history would be all of the memory
INSERT INTO gamestate.policy (game_type, history) VALUES ('files', 'events');
SELECT gamestate.create_game('files', '{"n": 0}', game_id => id(i)) FROM generate_series(1, 20) i;
};
}

# start(NODE, DATABASE): two sessions that play until finish()
sub start
{
	my ($class, $node, $db) = @_;
	my $self = bless { runs => [], node => $node, db => $db // 'postgres' }, $class;
	foreach my $first (1, 11)
	{
		my $err = '';
		push @{ $self->{runs} },
		  {
			err => \$err,
			h => IPC::Run::start(
				[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($self->{db}), '-c', "CALL play($first)" ],
				'>', '/dev/null', '2>', \$err,
				IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default))
		  };
	}
	return $self;
}

# finish(): end them; what went wrong, or ''
sub finish
{
	my ($self) = @_;
	$self->{node}->safe_psql($self->{db}, 'INSERT INTO halt VALUES (1)');
	my $said = $self->ended;
	$self->{node}->safe_psql($self->{db}, 'TRUNCATE halt');
	return $said;
}

# ended(): wait for the end of sessions that something else ends
sub ended
{
	my ($self) = @_;
	my $said = '';
	foreach my $run (@{ $self->{runs} })
	{
		$run->{h}->finish;
		$said .= ${ $run->{err} };
	}
	return $said;
}

# The file of a journal table changes when it is emptied: that many rotations
# have been finished since a call before, whose answer is handed in.
sub files
{
	my ($class, $node, $db) = @_;
	return $node->safe_psql($db // 'postgres',
		q{SELECT pg_relation_filenode('gamestate.journal_0') || ' ' || pg_relation_filenode('gamestate.journal_1')});
}

# wait_for_rotation(NODE, FILES): until both tables have been emptied since files()
sub wait_for_rotations
{
	my ($class, $node, $files, $db) = @_;
	my ($old0, $old1) = split / /, $files;
	for (1 .. 300)
	{
		my ($new0, $new1) = split / /, $class->files($node, $db);
		return 1 if $new0 != $old0 && $new1 != $old1;
		sleep(0.2);
	}
	return 0;
}

1;
