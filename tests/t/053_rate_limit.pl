# Rate limits: one account for all sessions, a changed limit holds in all of them at
# once, what happens when there are more keys than places, under load, and after
# a restart.
#
# A layer of its own because several sessions and servers with little memory are
# needed, and a server is restarted.

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
gamestate.rate_limit_keys = 160
max_worker_processes = 12
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql AS
$$SELECT ('53000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
INSERT INTO gamestate.rate_limit (name, amount, period, burst) VALUES ('ten', 1, '1 hour', 10), ('once', 1, '1 hour', 1);
SELECT gamestate.create_game('arena', '{}', '{ann}', game_id => id(n)) FROM generate_series(1, 3) n;
-- how many of n moves are let
CREATE FUNCTION moves(game int, n int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	let int := 0;
BEGIN
	FOR i IN 1 .. n LOOP
		BEGIN
			PERFORM gamestate.apply_move(id(game), NULL, '1', NULL, 'ann');
			let := let + 1;
		EXCEPTION WHEN SQLSTATE 'GS012' THEN
			NULL;
		END;
	END LOOP;
	RETURN let;
END $$;
});

sub sql { return $node->safe_psql('postgres', $_[0]); }

# ---------------------------------------------------------------------------
note 'Sessions';

my @sessions = map { $node->background_psql('postgres') } 1 .. 4;
is($_->query_safe('SELECT moves(1, 1)'), '1', 'without a limit') foreach @sessions;
sql(q{INSERT INTO gamestate.policy (game_type, player_rate_limit) VALUES ('arena', 'ten')});
my $let = 0;
$let += $_->query_safe('SELECT moves(1, 4)') foreach @sessions;
is($let, 10, 'a limit holds at once for sessions that have played before, and is one for all');
sql(q{UPDATE gamestate.rate_limit SET amount = 1000000, period = '1 s' WHERE name = 'ten'});
is($_->query_safe('SELECT pg_sleep(0.01), moves(2, 1)'), '|1', 'a changed one, too') foreach @sessions;
sql(q{UPDATE gamestate.rate_limit SET amount = 1, period = '1 hour' WHERE name = 'ten'});

# at the same time
$node->pgbench('-n -c 4 -t 50', 0, [qr/processed/], [qr/^$/], 'four sessions at the same time',
	{ '053_allow' => q{SELECT count(*) FROM gamestate.allow('shared', 1, 'ten') WHERE allowed;} });
is(sql(q{SELECT allowed FROM gamestate.allow('shared', 1, 'ten')}), 'f', 'use up one account');
$_->quit foreach @sessions;

# ---------------------------------------------------------------------------
note 'Load';

sql(q{INSERT INTO gamestate.rate_limit (name, amount, period, burst, busy_sessions, min_share) VALUES ('adaptive', 100, '1 hour', 1, 1, 0.5)});
my @busy = map { $node->background_psql('postgres') } 1 .. 6;
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; SELECT pg_advisory_lock(53)');
$_->query_until(qr/go/, "\\echo go\nSELECT pg_advisory_lock_shared(53);\n") foreach @busy;
ok($node->poll_query_until('postgres', 'SELECT busy_sessions > 4 FROM gamestate.stat_rate_limit'), 'sessions that wait for a lock are busy');
sql(q{SELECT gamestate.allow('load', 1, 'adaptive')});
is(sql(q{SELECT wait_ms BETWEEN 60000 AND 72000 FROM gamestate.allow('load', 1, 'adaptive')}), 't', 'then the amount shrinks, not below its smallest share');
$locker->query_safe('COMMIT; SELECT pg_advisory_unlock(53)');
$_->quit foreach @busy, $locker;
ok($node->poll_query_until('postgres', 'SELECT busy_sessions < 1.2 FROM gamestate.stat_rate_limit'), 'sessions that wait for their clients are not');
is(sql(q{SELECT wait_ms BETWEEN 30000 AND 45000 FROM gamestate.allow('load', 1, 'adaptive')}), 't', 'and the amount is whole again');

# ---------------------------------------------------------------------------
note 'Memory';

is(sql('SELECT max_keys FROM gamestate.stat_rate_limit'), '160', 'there are so many accounts');
sql(q{SELECT gamestate.allow('first', 1, 'once')});
is(sql(q{SELECT allowed FROM gamestate.allow('first', 1, 'once')}), 'f', 'used up');
is(sql(q{SELECT count(*) FILTER (WHERE NOT (gamestate.allow('key' || n, 1, 'once')).allowed) FROM generate_series(1, 5000) n}), '0', 'many keys');
is(sql('SELECT keys, evicted > 4500 FROM gamestate.stat_rate_limit'), '160|t', 'displace others');
is(sql(q{SELECT allowed FROM gamestate.allow('first', 1, 'once')}), 't', 'whose keys begin anew');
is(sql(q{SELECT count(*) FILTER (WHERE (gamestate.allow('key5000', 1, 'once')).allowed) FROM generate_series(1, 3) n}), '0', 'the newest are remembered');

# ---------------------------------------------------------------------------
note 'Restart';

$node->restart;
is(sql(q{SELECT keys FROM gamestate.stat_rate_limit}), '0', 'a restart forgets all accounts');
is(sql('SELECT moves(3, 12)'), '10', 'and no limit');
$node->stop;

done_testing();
