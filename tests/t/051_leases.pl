# Leases across the ends of sessions, crashes, restarts and promotions: games are
# orphaned at once, nobody has them afterwards, and numbers only ever grow.
#
# A layer of its own because sessions are ended and killed, and servers too.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FindBin;
use lib $FindBin::Bin;
use Patient;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 64MB
max_worker_processes = 12
restart_after_crash = on
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION gamestate');
$node->safe_psql('postgres', q{SELECT count(gamestate.create_game('leased')) FROM generate_series(1, 20)});

sub wait_for
{
	my ($server, $query, $name) = @_;
	is($server->poll_query_until('postgres', "SELECT coalesce(bool_or(x), false) FROM ($query) AS q(x)"), 1, $name);
}

sub leases
{
	my ($server, $owner) = @_;
	return $server->safe_psql('postgres', "SELECT count(*) FROM gamestate.list_leases('$owner')");
}

# highest(SERVER): the highest number, of leases that end with the call
my $last = 0;
sub is_higher
{
	my ($server, $name) = @_;
	my ($low, $high) = split(/\|/, $server->safe_psql('postgres',
		q{SELECT min(lease), max(lease) FROM gamestate.claim_games('numbers', 'leased')}));
	cmp_ok($low, '>', $last, $name);
	$last = $high;
}

# The session ends
my $position = $node->safe_psql('postgres', 'SELECT gamestate.feed_position()');
my $session = $node->background_psql('postgres');
is($session->query_safe(q{SELECT count(*) FROM gamestate.claim_games('a', 'leased', 10, NULL)}), '10', 'claimed');
is(leases($node, 'a'), '10', 'others see it');
my $lease = $node->safe_psql('postgres', q{SELECT game_id, lease FROM gamestate.list_leases('a') LIMIT 1});
my ($game, $number) = split(/\|/, $lease);
is($node->safe_psql('postgres', "SELECT gamestate.apply_move('$game', 1, '1', NULL, lease => $number)"), '2', 'any session may move under it');
is($node->safe_psql('postgres', q{SELECT count(*) FROM gamestate.claim_games('b', 'leased', with_session => false, ttl => '1 h')}), '10', 'the others are free');
my $start = time();
$session->quit;
wait_for($node, q{SELECT count(*) = 0 FROM gamestate.list_leases('a')}, 'free when the session has ended');
is($node->safe_psql('postgres', "SELECT kind, count(*) FROM gamestate.wait_changes($position, timeout => '0') WHERE event->>'owner' = 'a' GROUP BY kind ORDER BY kind"),
	"claimed|10\norphaned|10", 'the feed tells of it');
is(leases($node, 'b'), '10', 'leases that are not bound to a session stay');
my ($code, $out, $err) = $node->psql('postgres', "SELECT gamestate.apply_move('$game', 2, '1', NULL, lease => $number)");
like($err, qr/lease $number of game $game is not held/, 'no more moves under the old lease');
is($node->safe_psql('postgres', qq{SELECT lease > $number FROM gamestate.claim_games('c', game_ids => '{$game}')}), 't', 'the next owner has a higher number');

# The session is terminated, or its client is gone
$session = $node->background_psql('postgres');
$session->query_safe(q{SELECT count(*) FROM gamestate.claim_games('a', 'leased', ttl => NULL)});
is(leases($node, 'a'), '10', 'claimed by the next one');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM (SELECT DISTINCT pid FROM gamestate.list_leases('a')) p});
wait_for($node, q{SELECT count(*) = 0 FROM gamestate.list_leases('a')}, 'free when it is terminated');
$session = $node->background_psql('postgres');
$session->query_safe(q{SELECT count(*) FROM gamestate.claim_games('a', 'leased', ttl => NULL)});
$session->{run}->kill_kill;
wait_for($node, q{SELECT count(*) = 0 FROM gamestate.list_leases('a')}, 'free when the client is killed');
# in the middle of a transaction
$session = $node->background_psql('postgres');
$session->query_safe(q{BEGIN});
$session->query_safe(q{SELECT count(*) FROM gamestate.claim_games('a', 'leased', ttl => NULL)});
$session->{run}->kill_kill;
wait_for($node, q{SELECT count(*) = 0 FROM gamestate.list_leases('a')}, 'also in a transaction');

# Its time is over, without anybody asking
$node->safe_psql('postgres', q{SELECT gamestate.renew_lease('b', '1 s')});
$position = $node->safe_psql('postgres', 'SELECT gamestate.feed_position()');
is($node->safe_psql('postgres', "SELECT count(*) > 0 FROM gamestate.wait_changes($position, timeout => '30 s') WHERE kind = 'orphaned'"), 't', 'the feed tells when the time is over');
is(leases($node, 'b'), '0', 'they are gone');

# Many claim at the same time: each game has one owner
$node->safe_psql('postgres', q{SELECT count(gamestate.create_game('contended')) FROM generate_series(1, 1000)});
my @players;
push @players, $node->background_psql('postgres') for 1 .. 5;
my $i = 0;
for my $player (@players)
{
	my $name = 'p' . $i++;
	$player->{stdin} .= qq{
DO \$\$ BEGIN FOR i IN 1 .. 400 LOOP
	PERFORM count(*) FROM gamestate.claim_games('$name', 'contended', 1);
	COMMIT;
END LOOP; END \$\$;
\\echo done
};
	$player->{run}->pump_nb;
}
for my $player (@players)
{
	pump_until($player->{run}, $player->{timeout}, \$player->{stdout}, qr/done/);
}
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT game_id), count(DISTINCT lease) FROM gamestate.list_leases() l JOIN gamestate.list_live_games('contended') g USING (game_id)}),
	'1000|1000|1000', 'all games have an owner, and only one');
is($node->safe_psql('postgres', q{SELECT count(*) FROM gamestate.claim_games('late', 'contended')}), '0', 'nothing is left');
# four go, the fifth takes what they had
(shift @players)->quit for 1 .. 4;
wait_for($node, q{SELECT count(DISTINCT owner_name) <= 1 FROM gamestate.list_leases() WHERE owner_name ~ '^p'}, 'four are gone');
$players[0]->query_safe(q{SELECT count(*) FROM gamestate.claim_games('p4', 'contended', NULL)});
is(leases($node, 'p4'), '1000', 'the last one has all of them');
$players[0]->quit;
wait_for($node, q{SELECT count(*) = 0 FROM gamestate.list_leases()}, 'and then nobody');
$node->safe_psql('postgres', q{SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games('contended')});

# What a session remembers of free games: whatever makes one free is found by a session
# that has found nothing before.
{
	my $look = $node->background_psql('postgres');
	my $claims = sub {
		my ($type, $max) = @_;
		return $look->query_safe("SELECT count(*) FROM gamestate.claim_games('looker', $type, $max, with_session => false)");
	};
	my $nothing = sub { is($claims->("'free'", 10), '0', "nothing is free: $_[0]"); return; };
	my $free = sub { is($claims->("'free'", 10), $_[1] // '1', "free: $_[0]"); $nothing->("after $_[0]"); return; };
	my $sql = sub { return $node->safe_psql('postgres', $_[0]); };

	$nothing->('at first');
	my $game = $sql->(q{SELECT gamestate.create_game('free')});
	$sql->(q{SELECT gamestate.create_game('other')});
	$free->('created');
	$sql->(q{SELECT gamestate.release_games('looker')});
	$free->('given up');
	$sql->(q{SELECT gamestate.renew_lease('looker', '1 ms'); SELECT pg_sleep(0.01)});
	$free->('its time is over');
	$look->query_safe(q{SELECT gamestate.release_games('looker')});
	my $session = $node->background_psql('postgres');
	is($session->query_safe(q{SELECT count(*) FROM gamestate.claim_games('other', 'free')}), '1', 'somebody else was first');
	$nothing->('somebody else has it');
	$session->quit;
	wait_for($node, q{SELECT count(*) = 0 FROM gamestate.list_leases('other')}, 'he goes');
	$free->('its session has ended');
	$look->query_safe(q{SELECT gamestate.release_games('looker')});
	$look->query_safe(q{BEGIN});
	is($claims->("'free'", 10), '1', 'claimed in a transaction');
	$look->query_safe(q{ROLLBACK});
	$free->('rolled back');
	$sql->("SELECT gamestate.suspend_game('$game')");
	$nothing->('suspended');
	$sql->("SELECT gamestate.resume_game('$game')");
	$free->('resumed');

	# on its way into a table, and back
	$look->query_safe(q{SELECT gamestate.release_games('looker')});
	$session = $node->background_psql('postgres');
	$session->query_safe("BEGIN; SELECT gamestate.suspend_game('$game')");
	$claims->("'free'", 10);
	$look->query_safe(q{SELECT gamestate.release_games('looker')});
	$session->query_safe('ROLLBACK');
	$session->quit;
	$free->('it has stayed');

	# more than were asked for, and more than are remembered
	$sql->(q{SELECT count(gamestate.create_game('free')) FROM generate_series(1, 2500)});
	is($claims->("'free'", $_), $_, "$_ of many") for (1, 10, 700, 1, 1500);
	is($claims->("'free'", 'NULL'), 2500 - 2212, 'and the rest');
	$nothing->('of many');
	$sql->(q{SELECT gamestate.release_games('looker', (SELECT array_agg(game_id) FROM (SELECT game_id FROM gamestate.list_leases('looker') LIMIT 1200) l))});
	is($claims->("'free'", 'NULL'), 1200, 'many given up');

	# of more types than are remembered; of any type
	$sql->(qq{SELECT gamestate.create_game('type ' || n) FROM generate_series(1, 6) n});
	for my $round (1, 2)
	{
		is($claims->("'type $_'", 10), 2 - $round, "type $_") for 1 .. 6;
	}
	is($sql->(q{SELECT gamestate.release_games('looker')}) > 2500, 1, 'all are given up');
	is($claims->("'free'", 'NULL'), '2501', 'all of a type');
	is($claims->('NULL', 'NULL') > 6, 1, 'all of any');
	is($claims->('NULL', 'NULL'), '0', 'there are no others');
	$sql->(q{SELECT gamestate.create_game('type 7')});
	is($claims->('NULL', 'NULL'), '1', 'one that is new');

	# the feed has gone round meanwhile
	$game = $sql->(q{SELECT gamestate.create_game('free', '{}', game_id => '51000000-0000-4000-8000-000000000001')});
	$sql->(q{DO $$ BEGIN FOR i IN 1 .. 4000 LOOP
		PERFORM gamestate.apply_move('51000000-0000-4000-8000-000000000001', NULL, to_json(repeat('x', 6000)), NULL); COMMIT; END LOOP; END $$});
	$free->('when the feed has gone round');
	$look->quit;
	$sql->(q{SELECT gamestate.release_games('looker')});
	$sql->(q{SELECT count(gamestate.delete_game(game_id)) FROM (SELECT game_id FROM gamestate.list_live_games() WHERE game_type <> 'leased' LIMIT 1500) g}) for 1, 2;
}

# kill -9 of the session that has claimed: the server starts anew, nothing is claimed
is_higher($node, 'a number');
is_higher($node, 'the next is higher');
$session = $node->background_psql('postgres');
$session->query_safe(q{SELECT count(*) FROM gamestate.claim_games('a', 'leased', ttl => NULL)});
my $pid = $node->safe_psql('postgres', q{SELECT min(pid) FROM gamestate.list_leases('a')});
kill('KILL', $pid);
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM gamestate.list_leases()'), 'after kill -9 nobody has a game');
is_higher($node, 'numbers go on after a crash of a session');
$node->restart;
is_higher($node, 'after a restart');
$node->stop('immediate');
$node->start;
is_higher($node, 'after a crash');

# An asynchronous standby that lacks what the primary handed out last
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is(($standby->psql('postgres', q{SELECT gamestate.claim_games('a')}))[0], 3, 'nothing is claimed on a standby');
is(leases($standby, 'a'), '0', 'nor listed');
$standby->stop;
$node->restart;
is_higher($node, 'more on the primary');
$node->restart;
is_higher($node, 'and more');
$node->stop('immediate');
$standby->start;
$standby->promote;
is_higher($standby, 'numbers go on after a failover that has lost some');
$standby->restart;
is_higher($standby, 'and after its restart');

# DROP EXTENSION with leases
$session = $standby->background_psql('postgres');
$session->query_safe(q{SELECT count(*) FROM gamestate.claim_games('a', 'leased', ttl => '1 h')});
$standby->safe_psql('postgres', q{SELECT gamestate.allow_drop_extension(); DROP EXTENSION gamestate; CREATE EXTENSION gamestate});
is(leases($standby, 'a'), '0', 'dropped with the extension');
$standby->safe_psql('postgres', q{SELECT gamestate.create_game('leased')});
is($session->query_safe(q{SELECT count(*) FROM gamestate.claim_games('a', 'leased')}), '1', 'the session goes on');
$session->quit;

for my $server ($node, $standby)
{
	unlike(slurp_file($server->logfile), qr/TRAP|PANIC|stuck spinlock/, 'no assertion, no panic');
}
$standby->stop;
done_testing();
