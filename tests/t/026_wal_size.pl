# How much WAL a move writes: its entry and what is new in the state, not the
# state.
#
# A layer of its own because nobody else may write WAL meanwhile.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
max_worker_processes = 12
autovacuum = off
synchronous_commit = off
checkpoint_timeout = 1h
});
$node->start;

# i random characters; a move of 120 bytes; n moves that change the state as
# edit says, the statement's $1 being the state, $2 the number of the move
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
CREATE FUNCTION noise(i int) RETURNS text VOLATILE LANGUAGE sql AS
$$SELECT substr(string_agg(md5(random()::text), ''), 1, i) FROM generate_series(0, i / 32)$$;
CREATE PROCEDURE play(game uuid, edit text, n int) LANGUAGE plpgsql AS $$
DECLARE
	v bigint := gamestate.get_version(game);
	s text := gamestate.get_state(game)::text;
BEGIN
	FOR i IN 1 .. n LOOP
		EXECUTE 'SELECT ' || edit INTO s USING s, i;
		v := gamestate.apply_move(game, v, to_json(noise(118)), s::json);
		COMMIT;
	END LOOP;
END$$;
SELECT gamestate.create_game('w', to_json(noise(2046)), game_id => '30000000-0000-4000-8000-000000000001');
});

sub bytes_a_move
{
	my ($edit, $n) = @_;
	my ($from, $to) = split /\n/, $node->safe_psql('postgres', qq{
SELECT pg_current_wal_insert_lsn() - '0/0';
CALL play('30000000-0000-4000-8000-000000000001', \$e\$$edit\$e\$, $n);
SELECT pg_current_wal_insert_lsn() - '0/0'});
	return ($to - $from) / $n;
}

sub at_most
{
	my ($limit, $name, $edit) = @_;
	my $bytes = bytes_a_move($edit, 500);
	ok($bytes <= $limit, sprintf('%s: %.0f bytes of WAL a move, at most %d', $name, $bytes, $limit));
	return;
}

# Pages of the journal, and what else is touched first after a checkpoint.
bytes_a_move('$1', 50);

at_most(300, 'the same state', '$1');
at_most(400, '100 bytes of 2 KB in one place', 'overlay($1 placing noise(100) from 1000)');
at_most(700, '25 bytes in each of four places',
	'overlay(overlay(overlay(overlay($1 placing noise(25) from 3) placing noise(25) from 700) placing noise(25) from 1400) placing noise(25) from 2020)');
at_most(400, 'a place longer, another one shorter',
	q{overlay(overlay($1 placing '' from 1500 for 10) placing noise(10) from 600 for 0)});

my $before = $node->safe_psql('postgres', 'SELECT md5(g::text) FROM gamestate.list_live_games() g');
$node->stop('fast');
$node->start;
is($node->safe_psql('postgres', 'SELECT md5(g::text) FROM gamestate.list_live_games() g'),
	$before, 'all of it is there after a restart');
$node->stop;

done_testing();
