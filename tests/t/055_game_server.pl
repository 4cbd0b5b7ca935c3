# The example game server (client/examples/game_server.c): two of them share games,
# one is killed, and play goes on.
#
# A layer of its own because it needs a compiler, a server, and processes that are
# killed meanwhile.

use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

use lib $FindBin::Bin;
use Followers;

my $installed = "$ENV{GS_CLIENT}/installed";
my $cc = (grep { system("command -v $_ >/dev/null 2>&1") == 0 } qw(cc gcc clang))[0];
plan skip_all => 'no C compiler or no pkg-config'
	if !$cc || system('command -v pkg-config >/dev/null 2>&1') != 0;

$ENV{PKG_CONFIG_PATH} = "$installed/lib/pkgconfig";
$ENV{LD_LIBRARY_PATH} = "$installed/lib";
my $dir = PostgreSQL::Test::Utils::tempdir;
my $source = "$ENV{GS_CLIENT}/examples/game_server.c";
my $said = qx(cd '$dir' && $cc -Wall -Wextra -Werror -D_GNU_SOURCE '$source' -o game_server \$(pkg-config --cflags --libs gamestate) 2>&1);
is($? . $said, '0', 'it compiles');
my $lines = () = slurp_file($source) =~ /\n/g;
cmp_ok($lines, '<', 200, 'and has less than 200 lines');

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
max_worker_processes = 16
log_statement = none
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION gamestate');
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGDATABASE} = 'postgres';

my $games = 8;
$node->safe_psql('postgres', "SELECT gamestate.create_game('clock', players => '{ann}') FROM generate_series(1, $games)");

my %servers;
sub start_server
{
	my ($name, $wanted) = @_;
	my $server = { out => '', err => '' };
	$server->{run} = IPC::Run::start([ "$dir/game_server", $name, $wanted ], '<', \'', '>', \$server->{out}, '2>', \$server->{err});
	$servers{$name} = $server;
	return;
}
END { $_->{run}->kill_kill foreach grep { $_->{run}->pumpable } values %servers; }

# Whether each game has had `more` ticks by one of these since `version` of each
sub wait_for_ticks
{
	my ($more, $by) = @_;
	return $node->poll_query_until('postgres', qq{
		SELECT count(*) = $games FROM gamestate.list_live_games('clock') g
		 WHERE $more <= (SELECT count(*) FROM gamestate.get_changes(g.game_id) c
			WHERE c.event->>'what' = 'tick' AND c.event->>'by' = ANY ('$by')
			  AND c.at > (SELECT at FROM mark))});
}
$node->safe_psql('postgres', 'CREATE TABLE mark AS SELECT clock_timestamp() AS at');
sub mark { $node->safe_psql('postgres', 'UPDATE mark SET at = clock_timestamp()'); return; }

# One that takes half of the games, and one that would take all of them
start_server('left', $games / 2);
$node->poll_query_until('postgres', "SELECT count(*) = $games / 2 FROM gamestate.list_live_games('clock') WHERE version > 2") or die 'nobody plays';
start_server('right', $games);
ok(wait_for_ticks(5, '{left,right}'), 'all games are played');
is($node->safe_psql('postgres', q{
	SELECT DISTINCT count(*) FROM (SELECT DISTINCT g.game_id, c.event->>'by' AS by FROM gamestate.list_live_games('clock') g, gamestate.get_changes(g.game_id) c
	 WHERE c.kind = 'move') p GROUP BY by}), $games / 2, 'each server has half of them');

$_->{run}->pump_nb foreach values %servers;
note "$_: $servers{$_}{err}" foreach sort keys %servers;

# A player whose connection was lost
mark();
my $one = $node->safe_psql('postgres', q{SELECT game_id FROM gamestate.list_live_games('clock') LIMIT 1});
$node->safe_psql('postgres', "SELECT gamestate.connect_player('$one', 'ann', '1 s')");
ok($node->poll_query_until('postgres', qq{
	SELECT array_agg(c.event->>'what' ORDER BY version) = '{connected,disconnected}' FROM gamestate.get_changes('$one') c
	 WHERE c.event->>'player' = 'ann'}), 'the server learns that a player came and went');

mark();
$servers{left}{run}->signal('KILL');
$servers{left}{run}->finish;
ok(wait_for_ticks(5, '{right}'), 'one is killed: the other one plays all games');

# How long each game has stood still, at most, in seconds: those that changed hands,
# and those that did not, which say what the machine is good for.
my %still = map { split /\|/ } split /\n/, $node->safe_psql('postgres', q{
	SELECT CASE WHEN by_others THEN 'moved' ELSE 'stayed' END, round(max(extract(epoch FROM still))::numeric, 3)
	  FROM (SELECT game_id, bool_or(by = 'left') AS by_others, max(still) AS still
			  FROM (SELECT g.game_id, c.event->>'by' AS by, c.at - lag(c.at) OVER (PARTITION BY g.game_id ORDER BY c.version) AS still
					  FROM gamestate.list_live_games('clock') g, gamestate.get_changes(g.game_id) c
					 WHERE c.event->>'what' = 'tick') t GROUP BY game_id) s GROUP BY 1});
note join(', ', map { "$_: $still{$_} s" } sort keys %still);
ok(exists $still{moved} && exists $still{stayed}, 'some games changed hands');
cmp_ok($still{moved}, '<', 2 + 2 * $still{stayed}, 'within two seconds');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (SELECT g.game_id, string_agg(c.event->>'by', ',' ORDER BY c.version) AS played
		FROM gamestate.list_live_games('clock') g, gamestate.get_changes(g.game_id) c WHERE c.kind = 'move' GROUP BY 1) p
	 WHERE played !~ '^(left,)*right(,right)*$'}), '0', 'each game had one server at a time');
# two ticks, and between them one deadline: nobody ticks twice, but at the hand-over
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (SELECT c.kind, c.event->>'by' AS by, c.event->>'what' AS what, lag(c.kind) OVER w AS last_kind, lag(c.event->>'by') OVER w AS last_by
		FROM gamestate.list_live_games('clock') g, gamestate.get_changes(g.game_id) c WHERE c.version > 2
		WINDOW w AS (PARTITION BY g.game_id ORDER BY c.version)) p
	 WHERE what = 'tick' AND last_kind = 'move' AND by = last_by}), '0', 'and no tick without a deadline');
$servers{right}{run}->signal('KILL');
$servers{right}{run}->finish;
$node->stop;
done_testing();
