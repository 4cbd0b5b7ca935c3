# What policies do with games that nobody plays: they are reported, suspended or
# abandoned, those that are over stay for a while, and when memory is short games
# are put away.
#
# A layer of its own because it is the workers who do it, with settings of their
# own, and over a crash.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('idle');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 8MB
gamestate.maintenance_interval = 1s
max_prepared_transactions = 2
log_statement = none
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
CREATE FUNCTION id(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$SELECT ('19190000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
CREATE FUNCTION tier(n integer) RETURNS text LANGUAGE sql AS $$SELECT (gamestate.get_game(id(n))).tier$$;
INSERT INTO gamestate.policy (game_type, inactivity_limit, inactivity_action) VALUES
	('report', '1 s', 'report'), ('suspend', '1 s', 'suspend'), ('abandon', '1 s', 'abandon'), ('patient', '1 hour', 'suspend');
});

sub sql { return $node->safe_psql('postgres', $_[0]); }

# limits: each game gets what its type's policy says, once
my $position = sql('SELECT gamestate.feed_position()');
sql(q{SELECT gamestate.create_game(t, '"s"', '{ann}', 'room ' || t, game_id => id(n::int)) FROM unnest('{report,suspend,abandon,patient,none}'::text[]) WITH ORDINALITY u(t, n)});
ok($node->poll_query_until('postgres', q{SELECT tier(2) = 'suspended' AND tier(3) = 'archived' AND EXISTS (SELECT FROM gamestate.inactive_games WHERE game_id = id(1))}), 'limits are kept');
is(sql(q{SELECT version, reason, room_code FROM gamestate.suspended}), '2|inactivity|room suspend', 'suspended');
is(sql(q{SELECT status, version, result FROM gamestate.archive}), 'abandoned|2|', 'abandoned');
is(sql(q{SELECT gamestate.get_version(id(n)) FROM unnest('{1,4,5}'::int[]) n}), "1\n1\n1", 'the others are as they were');
is(sql(q{SELECT game_type, inactivity_action FROM gamestate.inactive_games}), 'report|report', 'inactive_games');
sub notices
{
	return sql("SELECT count(*) FROM gamestate.wait_changes($position, game_ids => ARRAY[id(1)], timeout => '0 s') WHERE kind = 'inactive'");
}
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM gamestate.wait_changes($position, game_ids => ARRAY[id(1)], timeout => '0 s') WHERE kind = 'inactive'"), 'reported');
sleep 3;
is(notices(), '1', 'once');
is(sql(q{SELECT (event ->> 'version')::int, (event ->> 'seconds')::int >= 1 FROM gamestate.wait_changes(} . $position . q{, game_ids => ARRAY[id(1)], timeout => '0 s') WHERE kind = 'inactive'}), '1|t', 'with what is known');
sql(q{SELECT gamestate.apply_move(id(1), 1, '1', '2')});
ok($node->poll_query_until('postgres', "SELECT count(*) = 2 FROM gamestate.wait_changes($position, game_ids => ARRAY[id(1)], timeout => '0 s') WHERE kind = 'inactive'"), 'and again after a change');

# a policy holds at once; a game that somebody has locked is left alone
my $session = $node->background_psql('postgres', on_error_die => 1);
$session->query_safe('BEGIN');
$session->query_safe(q{SELECT gamestate.set_metadata(id(4), '{"mine": true}')});
sql(q{UPDATE gamestate.policy SET inactivity_limit = '1 s' WHERE game_type = 'patient'});
sql(q{INSERT INTO gamestate.policy (game_type, inactivity_limit, inactivity_action) VALUES ('', '1 s', 'suspend')});
ok($node->poll_query_until('postgres', q{SELECT tier(5) = 'suspended'}), 'the default policy holds for types without one');
is(sql('SELECT tier(4)'), 'live', 'a busy game is left alone');
$session->query_safe('COMMIT');
$session->quit;
ok($node->poll_query_until('postgres', q{SELECT tier(4) = 'suspended'}), 'until it is free');
is(sql(q{SELECT version, metadata ->> 'mine' FROM gamestate.suspended WHERE game_id = id(4)}), '3|true', 'with its last change');
sql(q{DELETE FROM gamestate.policy WHERE game_type IN ('', 'patient')});

# a game that does not go in is left alone, the others go
sql(q{INSERT INTO gamestate.policy (game_type, inactivity_limit, inactivity_action) VALUES ('some', '1 s', 'suspend');
ALTER TABLE gamestate.suspended ADD CONSTRAINT not_this CHECK (game_id <> id(6));
SELECT gamestate.create_game('some', game_id => id(n)) FROM generate_series(6, 9) n});
ok($node->poll_query_until('postgres', q{SELECT tier(7) = 'suspended' AND tier(8) = 'suspended' AND tier(9) = 'suspended'}), 'one that fails does not hold up the others');
is(sql('SELECT tier(6)'), 'live', 'and stays where it was');
like(sql(q{SELECT last_error FROM gamestate.stat_workers WHERE kind = 'archiver'}), qr/not_this/, 'it is heard of');
sql(q{ALTER TABLE gamestate.suspended DROP CONSTRAINT not_this; SELECT gamestate.delete_game(id(6))});

# gamestate.enabled = off stops it
sql(q{ALTER DATABASE postgres SET gamestate.enabled = off});

# suspended for too long: abandoned, and archived like any other
sql(q{ALTER DATABASE postgres RESET gamestate.enabled; UPDATE gamestate.policy SET suspended_after = '1 s' WHERE game_type = 'suspend'});
ok($node->poll_query_until('postgres', q{SELECT tier(2) = 'archived'}), 'suspended_after');
is(sql(q{SELECT string_agg(kind, ',' ORDER BY version) FROM gamestate.get_changes(id(2))}), 'create,suspended,resumed,abandon', 'its log says so');
is(sql(q{SELECT tier(5)}), 'suspended', 'others stay');

# archive_delay: over, and live for a while
sql(q{INSERT INTO gamestate.policy (game_type, archive_delay) VALUES ('stay', '1 hour'), ('stay a little', '2 s');
SELECT gamestate.finish_game(gamestate.create_game(t, game_id => id(n::int))) FROM unnest('{stay,stay a little,none}'::text[]) WITH ORDINALITY u(t, n), LATERAL (SELECT 1) x WHERE false});
sql(q{SELECT gamestate.create_game(t, game_id => id(10 + n::int)) FROM unnest('{stay,stay a little,none}'::text[]) WITH ORDINALITY u(t, n)});
sql(q{SELECT gamestate.finish_game(id(10 + n)) FROM generate_series(1, 3) n});
ok($node->poll_query_until('postgres', q{SELECT tier(13) = 'archived' AND (SELECT archive_delayed >= 1 FROM gamestate.stat_memory)}), 'one without a delay is archived');
is(sql('SELECT tier(11)'), 'live', 'one with a delay is not');
is(sql('SELECT status FROM gamestate.get_game(id(11))'), 'finished', 'although it is over');
ok($node->poll_query_until('postgres', q{SELECT tier(12) = 'archived'}), 'after its delay it is');
cmp_ok(sql('SELECT extract(epoch FROM min(clock_timestamp() - ended_at)) FROM gamestate.archive WHERE game_id = id(12)'), '>', 2, 'not before');
is(sql('SELECT tier(11)'), 'live', 'the other one is still there');
$node->stop('immediate');
$node->start;
ok($node->poll_query_until('postgres', q{SELECT archive_delayed = 1 FROM gamestate.stat_memory}), 'also after a crash');
sql(q{UPDATE gamestate.policy SET archive_delay = '0' WHERE game_type = 'stay'});
ok($node->poll_query_until('postgres', q{SELECT tier(11) = 'archived' AND (SELECT archive_delayed = 0 FROM gamestate.stat_memory)}), 'until the policy changes');

# a prepared change holds from COMMIT PREPARED on
sql(q{BEGIN; UPDATE gamestate.policy SET archive_delay = '1 hour' WHERE game_type = 'stay'; PREPARE TRANSACTION 'policy'});
sql(q{COMMIT PREPARED 'policy'});
sql(q{SELECT gamestate.create_game(t, game_id => id(20 + n::int)) FROM unnest('{stay,none}'::text[]) WITH ORDINALITY u(t, n)});
sql(q{SELECT gamestate.finish_game(id(20 + n)) FROM generate_series(1, 2) n});
ok($node->poll_query_until('postgres', q{SELECT tier(22) = 'archived'}), 'one of a type without a delay is archived');
is(sql('SELECT tier(21)'), 'live', 'one of a type with a prepared delay is not');
sql(q{UPDATE gamestate.policy SET archive_delay = '0' WHERE game_type = 'stay'});
ok($node->poll_query_until('postgres', q{SELECT tier(21) = 'archived'}), 'until that is changed');

# memory is short: first what is over, then what has not been changed for longest
sql(q{UPDATE gamestate.policy SET archive_delay = '1 hour' WHERE game_type = 'stay';
INSERT INTO gamestate.policy (game_type, suspend_on_pressure) VALUES ('put away', true);
ALTER SYSTEM SET gamestate.memory_pressure = 60});
sql('SELECT pg_reload_conf()');
sql(q{SELECT gamestate.create_game('put away', to_json(repeat('x', 40000)), game_id => id(1000 + n)) FROM generate_series(1, 60) n});
sql(q{SELECT gamestate.create_game('none', to_json(repeat('x', 40000)), game_id => id(2000 + n)) FROM generate_series(1, 20) n});
is(sql(q{SELECT count(*) FROM gamestate.suspended WHERE game_type = 'put away'}), '0', 'there is enough memory');
sql(q{SELECT gamestate.create_game('stay', to_json(repeat('x', 40000)), game_id => id(3000 + n)) FROM generate_series(1, 20) n});
sql(q{SELECT gamestate.finish_game(id(3000 + n)) FROM generate_series(1, 20) n});
sql(q{SELECT gamestate.create_game('put away', to_json(repeat('x', 40000)), game_id => id(4000 + n)) FROM generate_series(1, 60) n});
ok($node->poll_query_until('postgres', q{SELECT (SELECT bool_and(tier(3000 + n) = 'archived') FROM generate_series(1, 20) n)}), 'what is over goes first');
ok($node->poll_query_until('postgres', q{SELECT used_bytes < 0.6 * total_bytes FROM gamestate.stat_memory}), 'then memory is not short any more');
cmp_ok(sql(q{SELECT count(*) FROM gamestate.suspended WHERE reason = 'memory'}), '>', 0, 'because games were suspended');
is(sql(q{SELECT count(*) FROM gamestate.suspended WHERE reason = 'memory' AND game_type <> 'put away'}), '0', 'of that type only');
is(sql(q{SELECT count(*) FROM gamestate.suspended s WHERE reason = 'memory' AND EXISTS (SELECT FROM gamestate.list_live_games('put away', with_state => false) l
	WHERE l.updated_at < (SELECT at FROM gamestate.get_changes(s.game_id) WHERE version = 1))}), '0', 'those that were not changed for longest');
is(sql(q{SELECT count(*) FROM gamestate.games WHERE game_id >= id(1001) AND game_id <= id(4060)}), '160', 'and nothing is lost');
$node->stop;
done_testing();
