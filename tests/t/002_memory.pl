# The memory for games is full: GS006 and nothing changed; what frees memory
# always works; memory of games that are gone is used again, whatever their
# size was; a database's quota.
#
# A layer of its own because it needs a server with little memory and with the
# archiver switched on and off.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 16MB
gamestate.archiver = off
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
CREATE FUNCTION doc(bytes integer) RETURNS json LANGUAGE sql AS
$$SELECT ('"' || repeat('x', bytes - 2) || '"')::json$$;
-- ids by number
CREATE FUNCTION id(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$SELECT ('20020000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
-- creates games from number "first" on, 100 a transaction while that is possible,
-- then one a transaction, until memory is full
CREATE PROCEDURE fill(first integer, bytes integer, INOUT made integer DEFAULT 0) LANGUAGE plpgsql AS $$
DECLARE
    step    integer := 100;
    state   json := doc(bytes);
BEGIN
    LOOP
        BEGIN
            PERFORM gamestate.create_game('fill', state, ARRAY['p' || i, 'q'], game_id => id(i))
               FROM generate_series(first + made, first + made + step - 1) i;
            made := made + step;
        EXCEPTION WHEN SQLSTATE 'GS006' THEN
            EXIT WHEN step = 1;
            step := 1;
        END;
        COMMIT;
    END LOOP;
END $$;
CREATE PROCEDURE remove_all() LANGUAGE plpgsql AS $$
DECLARE
    n   integer;
BEGIN
    LOOP
        SELECT count(*) FILTER (WHERE gamestate.delete_game(game_id)) INTO n
          FROM gamestate.list_live_games(with_state => false, max_rows => 500);
        COMMIT;
        EXIT WHEN n = 0;
    END LOOP;
END $$;
-- everything about all games
CREATE FUNCTION fingerprint() RETURNS text LANGUAGE sql AS $$
SELECT count(*) || ' games, ' || sum(version) || ' changes, ' || (SELECT used_bytes FROM gamestate.stat_memory) || ' bytes, '
       || md5(string_agg(md5(g::text), '' ORDER BY game_id)) FROM gamestate.list_live_games() g
$$;
});

sub sql { return $node->safe_psql('postgres', $_[0]); }

# error($statement): SQLSTATE of a statement in a transaction of its own
sub error
{
	my ($rc, $out, $err) = $node->psql('postgres', $_[0], extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return $rc == 0 ? 'none' : $err =~ /ERROR:  (\w+)/ ? $1 : $err;
}

my $empty = sql('SELECT used_bytes FROM gamestate.stat_memory');
is(sql('SELECT total_bytes = 16 * 1024 * 1024, database_bytes, games, archive_queue, reserve_bytes = reserve_free_bytes,
		reserve_bytes >= 0.04 * total_bytes FROM gamestate.stat_memory'), 't|0|0|0|t|t', 'an empty memory');

# Full.
my $made = sql('CALL fill(1, 10000)');
cmp_ok($made, '>', 1000, "$made games of 10 kB go into 16 MB");
cmp_ok(sql('SELECT used_bytes FROM gamestate.stat_memory'), '<=', 16 * 1024 * 1024, 'and not more than 16 MB are used');
is(sql('SELECT games FROM gamestate.stat_memory'), $made, 'statistics count them');
is(sql('SELECT sum(1) FROM gamestate.list_live_games(with_state => false)'), $made, 'all are listed');

my $before = sql('SELECT fingerprint()');
is(error(q{SELECT gamestate.create_game('more', doc(10000), game_id => id(0))}), 'GS006', 'create_game: GS006');
is(error(q{SELECT gamestate.create_game('more', doc(10000)) FROM generate_series(1, 10)}), 'GS006', 'many at once: GS006');
is(error(q{SELECT gamestate.create_game('more', doc(1000000), ARRAY['zoe'], 'ROOM')}), 'GS006', 'a large one: GS006');
is(error(q{SELECT gamestate.apply_move(id(1), 1, '1', doc(500000))}), 'GS006', 'a move that needs much more: GS006');
is(error(q{SELECT gamestate.set_metadata(id(1), doc(60000)), gamestate.set_metadata(id(2), doc(60000)),
				  gamestate.set_metadata(id(3), doc(60000)), gamestate.set_metadata(id(4), doc(60000)),
				  gamestate.set_metadata(id(5), doc(60000)), gamestate.set_metadata(id(6), doc(60000)),
				  gamestate.set_metadata(id(7), doc(60000)), gamestate.set_metadata(id(8), doc(60000)),
				  gamestate.set_metadata(id(9), doc(60000)), gamestate.set_metadata(id(10), doc(60000)),
				  gamestate.set_metadata(id(11), doc(60000)), gamestate.set_metadata(id(12), doc(60000)),
				  gamestate.set_metadata(id(13), doc(60000)), gamestate.set_metadata(id(14), doc(60000)),
				  gamestate.set_metadata(id(15), doc(60000)), gamestate.set_metadata(id(16), doc(60000)),
				  gamestate.set_metadata(id(17), doc(60000)), gamestate.set_metadata(id(18), doc(60000))}), 'GS006',
	'many changes in one transaction: GS006');
is(error(q{BEGIN; SELECT gamestate.apply_move(id(1), 1, '1', '"smaller"');
	SELECT gamestate.create_game('more', doc(1000000)); COMMIT;}), 'GS006', 'part of a transaction: GS006');
is(sql('SELECT fingerprint()'), $before, 'nothing has changed');
is(sql(q{SELECT gamestate.find_room('ROOM') IS NULL, count(*) FROM gamestate.player_games('zoe')}), 't|0', 'nor has the index');

# What frees memory works: finish (with results), delete, also many times in a row.
is(sql(q{SELECT count(gamestate.finish_game(id(i), doc(200))) FROM generate_series(1, 300) i}), '300', 'finish works when memory is full');
is(sql(q{SELECT count(*) FROM gamestate.list_live_games('fill', 'finished') WHERE result::text = doc(200)::text}), '300', 'with results');
is(sql(q{SELECT count(*) FILTER (WHERE gamestate.delete_game(id(i))) FROM generate_series(1, 100) i}), '100', 'delete works');
is(sql(q{SELECT count(*) FILTER (WHERE gamestate.delete_game(id(i))) FROM generate_series(301, 400) i}), '100', 'of running games, too');
# freed memory is there for others at once
is(sql(q{SELECT count(gamestate.create_game('fill', doc(10000), game_id => id(i))) FROM generate_series(1, 100) i}), '100',
	'room for new games');
# the archiver empties the rest
$node->append_conf('postgresql.conf', 'gamestate.archiver = on');
$node->reload;
is($node->poll_query_until('postgres', q{SELECT count(*) = 200 FROM gamestate.archive}), 1, 'finished games are archived');
is($node->poll_query_until('postgres', q{SELECT archive_queue = 0 AND archived_in_memory = 0 FROM gamestate.stat_memory}), 1,
	'and leave memory');
is(sql(q{SELECT reserve_bytes = reserve_free_bytes FROM gamestate.stat_memory}), 't', 'the reserve is whole again');
# all of the others end: more than the reserve could hold if it were never refilled
my $left = sql(q{SELECT count(*) FROM gamestate.list_live_games('fill', 'active', false)});
sql(q{DO $$
DECLARE
    g   uuid;
BEGIN
    FOR g IN SELECT game_id FROM gamestate.list_live_games('fill', 'active', false) LOOP
        PERFORM gamestate.finish_game(g, doc(2000));
        COMMIT;
    END LOOP;
END $$});
is($node->poll_query_until('postgres', sprintf('SELECT count(*) = %d FROM gamestate.archive', 200 + $left)), 1,
	'all are archived');
is($node->poll_query_until('postgres', 'SELECT games + archived_in_memory = 0 FROM gamestate.stat_memory'), 1, 'memory has no game left');
is(sql('SELECT database_bytes FROM gamestate.stat_memory'), '0', 'and this database has nothing in it');
cmp_ok(sql('SELECT used_bytes FROM gamestate.stat_memory'), '<=', $empty, 'used memory is what it was at the start');
$node->append_conf('postgresql.conf', 'gamestate.archiver = off');
$node->reload;

# As many games fit as before, also after games of other sizes.
my %first;
foreach my $bytes (10000, 200, 20000, 1000, 200, 20000, 1000, 10000)
{
	my $n = sql("CALL fill(100001, $bytes)");
	$first{$bytes} //= $n;
	cmp_ok($n, '>=', 0.98 * ($bytes == 10000 ? $made : $first{$bytes}), "$n games of $bytes bytes");
	sql('CALL remove_all()');
	is(sql('SELECT database_bytes, games FROM gamestate.stat_memory'), '0|0', 'all gone');
}
cmp_ok(sql('SELECT used_bytes FROM gamestate.stat_memory'), '<=', $empty, 'flat');

# A game whose state grows and shrinks, and a transaction that is rolled back, keep nothing.
sql(q{SELECT gamestate.create_game('size', '{}', game_id => id(1))});
sql(q{DO $$
BEGIN
    FOR i IN 1 .. 300 LOOP
        PERFORM gamestate.apply_move(id(1), NULL, '1', doc((ARRAY[200, 20000, 1000, 300000])[1 + i % 4]));
        COMMIT;
    END LOOP;
    PERFORM gamestate.apply_move(id(1), NULL, '1', doc(200));
END $$});
cmp_ok(sql('SELECT database_bytes FROM gamestate.stat_memory'), '<', 40000, 'a state that changed its size 300 times');
$before = sql('SELECT fingerprint()');
sql(q{DO $$
BEGIN
    FOR i IN 1 .. 200 LOOP
        PERFORM gamestate.apply_move(id(1), NULL, '1', doc(500000));
        PERFORM gamestate.create_game('size', doc(500000), ARRAY['p' || i], 'R' || i);
        ROLLBACK;
    END LOOP;
END $$});
is(sql('SELECT fingerprint()'), $before, '200 rollbacks');
# errors after memory was reserved for the commit: a deferred constraint is checked before, so
# here it is a statement's worth of memory that does not fit
is(error(q{SELECT gamestate.create_game('size', doc(1000000)) FROM generate_series(1, 40)}), 'GS006', 'too much for one transaction')
	for 1 .. 20;
is(sql('SELECT fingerprint()'), $before, '20 failed transactions');
sql('CALL remove_all()');
is(sql('SELECT database_bytes FROM gamestate.stat_memory'), '0', 'nothing is left');

# The quota of a database.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION gamestate');
sql('ALTER DATABASE postgres SET gamestate.quota = 2');
my $quota = sql('CALL fill(1, 10000)');
cmp_ok($quota, '>', 100, "$quota games of 10 kB fit into a quota of 2 MB");
cmp_ok(sql('SELECT database_bytes FROM gamestate.stat_memory'), '<=', 2 * 1024 * 1024, 'not more than 2 MB');
is(sql('SELECT quota_bytes FROM gamestate.stat_memory'), 2 * 1024 * 1024, 'which the statistics show');
is(error(q{SELECT gamestate.create_game('more', doc(10000))}), 'GS006', 'GS006 beyond it');
is($node->safe_psql('other', q{SELECT count(gamestate.create_game('more', to_json(repeat('x', 10000)))) FROM generate_series(1, 500)}), '500',
	'another database has its own');
is($node->safe_psql('other', q{SELECT quota_bytes IS NULL, database_bytes > 5000000 FROM gamestate.stat_memory}), 't|t', 'none');
is(sql(q{SELECT count(gamestate.finish_game(id(i), doc(5000))) FROM generate_series(1, 100) i}), '100', 'finish works beyond the quota');
is(sql(q{SELECT count(*) FILTER (WHERE gamestate.delete_game(id(i))) FROM generate_series(1, 100) i}), '100', 'so does delete');
is(sql(q{SELECT count(gamestate.create_game('more', doc(8000))) FROM generate_series(1, 50)}), '50', 'and then there is room');
sql('ALTER DATABASE postgres RESET gamestate.quota');
is(error(q{SELECT gamestate.create_game('more', doc(8000)) FROM generate_series(1, 200)}), 'none', 'without the quota there is more');

$node->stop;
done_testing();
