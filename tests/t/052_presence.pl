# Presence: who is gone is told so by his ttl, what a policy makes of absence,
# what is left after a restart, when all places are taken, on a standby.
#
# A layer of its own because the timer worker acts while nobody calls anything,
# memory is small, and servers are stopped, killed and copied.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FindBin;
use lib $FindBin::Bin;
use Patient;
use Test::More;
use Time::HiRes qw(sleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
gamestate.max_connected_players = 16
max_worker_processes = 16
autovacuum = off
restart_after_crash = on
log_statement = none
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql AS
$$SELECT ('52000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
-- what was told of a game since a position
CREATE FUNCTION told(p bigint, g int) RETURNS text LANGUAGE sql AS
$$SELECT string_agg(concat_ws(' ', kind, player, version), ', ') FROM gamestate.wait_changes(p, ARRAY[id(g)], timeout => '0') WHERE kind <> 'position'$$;
CREATE FUNCTION presence(g int) RETURNS text LANGUAGE sql AS
$$SELECT string_agg(player || ' ' || presence, ', ') FROM gamestate.player_presence(id(g))$$;
INSERT INTO gamestate.policy (game_type, absence_action, absence_after) VALUES
	('notify', 'notify', '0.3 s'), ('abandon', 'abandon', '0.3 s'), ('empty', 'abandon_empty', '0.3 s'),
	('patient', 'abandon', '1 day'), ('later', 'abandon', '3 s');
SELECT gamestate.create_game('plain', '{}', '{ann,bob,cyd}', game_id => id(n)) FROM generate_series(1, 9) n;
SELECT gamestate.create_game('notify', '{}', '{ann,bob}', game_id => id(11));
SELECT gamestate.create_game('abandon', '{}', '{ann,bob}', 'ROOM', game_id => id(12));
SELECT gamestate.create_game('empty', '{}', '{ann,bob}', game_id => id(13));
SELECT gamestate.create_game('abandon', '{}', '{ann,bob}', game_id => id(14));
SELECT gamestate.create_game('abandon', '{}', '{ann,bob}', game_id => id(15));
SELECT gamestate.create_game('later', '{}', '{ann,bob}', game_id => id(16));
});

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub now { return sql('SELECT gamestate.feed_position()'); }
sub told { return sql("SELECT told($_[0], $_[1])"); }

sub is_finally
{
	my ($query, $expected, $name) = @_;
	$node->poll_query_until('postgres', $query, $expected);
	return is(sql($query), $expected, $name);
}

sub connect_player
{
	my ($game, $player, $ttl) = @_;
	return sql("SELECT gamestate.connect_player(id($game), '$player', '" . ($ttl // '1 h') . q{')});
}

# ---------------------------------------------------------------------------
note 'A missed heartbeat';

my @tokens;
my $position = now();
my $ann = connect_player(1, 'ann', '1 s');
my $bob = connect_player(1, 'bob');
push @tokens, $ann, $bob;
is_finally("SELECT told($position, 1)", 'connected ann, connected bob, disconnected ann', 'who does not come back is told to be gone');
is(sql('SELECT presence(1)'), 'ann disconnected, bob connected, cyd unknown', 'and known to be');
is(sql("SELECT (SELECT since FROM gamestate.player_presence(id(1)) WHERE player = 'ann') - max(at) FILTER (WHERE kind = 'connected' AND player = 'ann') BETWEEN '0.9 s' AND '1.1 s' FROM gamestate.wait_changes($position, timeout => '0')"), 't', 'since his ttl had passed');
my $late = sql("SELECT extract(epoch FROM max(at) - (SELECT since FROM gamestate.player_presence(id(1)) WHERE player = 'ann')) FROM gamestate.wait_changes($position, ARRAY[id(1)], timeout => '0') WHERE kind = 'disconnected'");
note "told $late s after that";
cmp_ok($late, '<', 10, 'told soon after');
is(sql("SELECT gamestate.heartbeat('$ann')"), 'f', 'his heartbeat comes too late');
sql(q{SELECT gamestate.apply_move(id(1), 1, '"missed"', NULL, 'bob')});
is(sql("SELECT count(*), count(new_token), max((change).event::text) FROM gamestate.reconnect('$ann', 1)"), '2|1|"missed"', 'but he can reconnect, and hears what he has missed');
is(sql('SELECT presence(1)'), 'ann connected, bob connected, cyd unknown', 'and is there');

$position = now();
my $cyd = connect_player(2, 'cyd', '3 s');
push @tokens, $cyd;
sql("DO \$\$ BEGIN FOR i IN 1 .. 25 LOOP IF NOT gamestate.heartbeat('$cyd') THEN RAISE 'too late'; END IF; PERFORM pg_sleep(0.2); COMMIT; END LOOP; END \$\$");
is(told($position, 2), 'connected cyd', 'heartbeats keep a player connected, and are not told');
is(sql("SELECT gamestate.disconnect_player('$cyd')"), 't', 'he says goodbye');
is(told($position, 2), 'connected cyd, disconnected cyd', 'which is told at once');

# ---------------------------------------------------------------------------
note 'Absence';

$position = now();
sql("SELECT gamestate.disconnect_player('" . connect_player(11, 'ann') . q{')});
is_finally("SELECT told($position, 11)", 'connected ann, disconnected ann, absent ann', 'notify: a notice');

$position = now();
connect_player(12, 'ann');
sql("SELECT gamestate.disconnect_player('" . connect_player(12, 'bob') . q{')});
is_finally("SELECT told($position, 12)", 'connected ann, connected bob, disconnected bob, abandon bob 2', 'abandon: the game is, because of him');
is_finally('SELECT status, players, version FROM gamestate.archive WHERE game_id = id(12)', 'abandoned|{ann,bob}|2', 'and goes to the archive');
is(sql(q{SELECT gamestate.find_room('ROOM') IS NULL}), 't', 'its room code is free');
is(sql(q{SELECT string_agg(kind || ' ' || coalesce(player, ''), ', ') FROM gamestate.get_changes(id(12))}), 'create , abandon bob', 'its log says so, once');

$position = now();
connect_player(13, 'ann', '1 s');
sql("SELECT gamestate.disconnect_player('" . connect_player(13, 'bob') . q{')});
is_finally("SELECT told($position, 13)", 'connected ann, connected bob, disconnected bob, disconnected ann, abandon ann 2', 'abandon_empty: when the last one has gone');

# somebody is making a move: it is not waited for, and then it is too late
$position = now();
my $mover = $node->background_psql('postgres', on_error_stop => 1);
$mover->query_safe('BEGIN; SELECT gamestate.finish_game(id(14))');
sql("SELECT gamestate.disconnect_player('" . connect_player(14, 'ann') . q{')});
sql("SELECT gamestate.disconnect_player('" . connect_player(11, 'bob') . q{')});
is_finally("SELECT told($position, 11)", 'connected bob, disconnected bob, absent bob', 'meanwhile others are looked after');
is(told($position, 14), 'connected ann, disconnected ann', 'a game that is locked waits');
$mover->query_safe('COMMIT');
is(told($position, 14), 'connected ann, disconnected ann, finish 2', 'a game that is over is not abandoned');

# the same, but rolled back: then it is
$position = now();
$mover->query_safe('BEGIN; SELECT gamestate.finish_game(id(15))');
sql("SELECT gamestate.disconnect_player('" . connect_player(15, 'ann') . q{')});
sleep 1;
is(told($position, 15), 'connected ann, disconnected ann', 'a game that is locked waits');
$mover->query_safe('ROLLBACK');
is_finally("SELECT told($position, 15)", 'connected ann, disconnected ann, abandon ann 2', 'and is abandoned when it is free');
$mover->quit;

$position = now();
$ann = connect_player(16, 'ann');
sql("SELECT gamestate.disconnect_player('$ann')");
is(sql("SELECT (game).status FROM gamestate.reconnect('$ann') WHERE new_token IS NOT NULL"), 'active', 'who comes back in time');
sleep 3.5;
is(told($position, 16), 'connected ann, disconnected ann, connected ann', 'has nothing abandoned');

# ---------------------------------------------------------------------------
note 'Places';

sql('SELECT gamestate.delete_game(game_id) FROM gamestate.list_live_games()');
sql(q{SELECT gamestate.create_game('plain', '{}', array_agg('p' || n), game_id => id(21)) FROM generate_series(1, 20) n});
sql(q{SELECT gamestate.create_game('patient', '{}', '{ann}', game_id => id(22))});
is(sql('SELECT connected, disconnected, places, max_places FROM gamestate.stat_presence'), '0|0|0|16', 'nobody is here');
push @tokens, map { connect_player(21, "p$_") } 1 .. 15;
my $patient = connect_player(22, 'ann');
sql("SELECT gamestate.disconnect_player('$patient')");
is(sql('SELECT connected, disconnected, places FROM gamestate.stat_presence'), '15|1|16', 'all places are taken');
my ($code, $out, $err) = $node->psql('postgres', q{SELECT gamestate.connect_player(id(21), 'p16')}, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
is($err, 'psql:<stdin>:1: ERROR:  53400', 'there is none for one more, nor that of a player whose absence counts');
sql("SELECT gamestate.disconnect_player('$_')") foreach @tokens[-15, -14];
is(sql(q{SELECT count(*) FROM gamestate.player_presence(id(21)) WHERE presence = 'disconnected'}), '2', 'who goes is remembered');
connect_player(21, 'p16');
is(sql(q{SELECT string_agg(player, ',') FILTER (WHERE presence = 'disconnected'), count(*) FILTER (WHERE presence = 'connected') FROM gamestate.player_presence(id(21))}), 'p2|14', 'and makes room, the one who went first');
is(sql("SELECT count(*) FROM gamestate.reconnect('$tokens[-15]')"), '0', 'then his token is void');
is(sql("SELECT count(*) FROM gamestate.reconnect('$tokens[-14]') WHERE new_token IS NOT NULL"), '1', 'and not the other one');
is(sql("SELECT count(*) FROM gamestate.reconnect('$patient') WHERE new_token IS NOT NULL"), '1', 'nor that of the player whose absence counts');

# ---------------------------------------------------------------------------
note 'Databases';

sql('SELECT gamestate.delete_game(id(n)) FROM generate_series(21, 22) n');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', q{CREATE EXTENSION gamestate; SELECT gamestate.create_game('plain', '{}', '{ann}', game_id => '52000000-0000-4000-8000-000000000001')});
my $theirs = $node->safe_psql('other', q{SELECT gamestate.connect_player('52000000-0000-4000-8000-000000000001', 'ann')});
is(sql("SELECT gamestate.heartbeat('$theirs'), gamestate.disconnect_player('$theirs'), (SELECT count(*) FROM gamestate.reconnect('$theirs'))"), 'f|f|0', q{another database's token is void here});
is(sql('SELECT connected, places FROM gamestate.stat_presence'), '0|1', 'its players take places');
$node->safe_psql('other', 'SELECT gamestate.allow_drop_extension(); DROP EXTENSION gamestate');
is(sql('SELECT places FROM gamestate.stat_presence'), '0', 'until its games are gone');

# ---------------------------------------------------------------------------
note 'Restart, crash, standby';

sql(q{SELECT gamestate.create_game('patient', '{}', '{ann,bob}', game_id => id(31))});
$ann = connect_player(31, 'ann');
sql("SELECT gamestate.disconnect_player('" . connect_player(31, 'bob') . q{')});
push @tokens, $ann;
$node->restart;
is(sql('SELECT presence(31)'), 'ann unknown, bob unknown', 'after a restart nobody is taken for connected');
is(sql("SELECT gamestate.heartbeat('$ann'), (SELECT count(*) FROM gamestate.reconnect('$ann'))"), 'f|0', 'and tokens are void');
$ann = connect_player(31, 'ann');
$node->stop('immediate');
$node->start;
is(sql('SELECT presence(31)'), 'ann unknown, bob unknown', 'the same after a crash');
is(sql("SELECT gamestate.heartbeat('$ann')"), 'f', 'again');

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$ann = connect_player(31, 'ann');
$node->wait_for_catchup('standby', 'replay', $node->lsn('insert'));
is($standby->safe_psql('postgres', 'SELECT presence(31)'), 'ann unknown, bob unknown', 'a standby knows nothing of presence');
($code, $out, $err) = $standby->psql('postgres', "SELECT gamestate.heartbeat('$ann')", extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
is($err, 'psql:<stdin>:1: ERROR:  25006', 'and takes no heartbeats');
$node->stop;
$standby->promote;
is($standby->safe_psql('postgres', "SELECT gamestate.heartbeat('$ann')"), 'f', 'after a failover tokens are void');
is($standby->safe_psql('postgres', q{SELECT gamestate.heartbeat(gamestate.connect_player(id(31), 'ann'))}), 't', 'and players connect anew');
$standby->stop;

my $log = slurp_file($node->logfile);
is(scalar(grep { index($log, $_) >= 0 } @tokens), 0, 'no token is in the log');

done_testing();
