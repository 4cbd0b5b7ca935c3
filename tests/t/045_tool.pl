# The command line tool: every command against a server, with wrong arguments,
# without a server, and its JSON read by a parser.
#
# A layer of its own because it runs a program, looks at its exit status and
# messages, and stops the server under it.

use strict;
use warnings;

use File::Temp qw(tempdir);
use FindBin;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $limit = $PostgreSQL::Test::Utils::timeout_default;
my $dir = tempdir(CLEANUP => 1);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 64MB
max_worker_processes = 16
});
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE empty');
$node->safe_psql('postgres', 'CREATE EXTENSION gamestate');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# run(ARGUMENT...): exit status, stdout, stderr of the tool
sub run
{
	my @command = ('gamestate', @_);
	my ($out, $err) = ('', '');
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres');
	my $h = IPC::Run::start(\@command, '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(2 * $limit));
	$h->finish;
	return ($h->full_result >> 8, $out, $err);
}

# is_status(STATUS, PATTERN, NAME, ARGUMENT...): exit status, and what stderr says
sub is_status
{
	my ($status, $pattern, $name, @arguments) = @_;
	my ($rc, $out, $err) = run(@arguments);
	is($rc, $status, "$name: exit status");
	like($err, $pattern, "$name: what it says") if $pattern;
	return $out;
}

# json(ARGUMENT...): its JSON, decoded
sub json
{
	my ($rc, $out, $err) = run(@_);
	my $value = eval { decode_json($out) };
	ok(defined $value, "@_: is JSON") or diag("exit status $rc, $err, $out");
	return $value;
}

# ---- help, version, wrong arguments

my @commands = qw(archive bench check export import play replay show top);

like(is_status(0, undef, '--help', '--help'), qr/^gamestate works with.*Commands:/s, 'help');
like(is_status(0, undef, '-?', '-?'), qr/Commands:/, '-? is help');
like(is_status(0, undef, '--version', '--version'), qr/^gamestate \(gamestate\) \d/, 'version');
is_status(2, qr/^gamestate: error: no command was given\ngamestate: hint: Try "gamestate --help"/, 'nothing');
is_status(2, qr/^gamestate: error: unrecognized command "shew"/, 'no such command', 'shew');
for my $command (@commands)
{
	my $help = is_status(0, undef, "$command --help", $command, '--help');
	like($help, qr/^gamestate $command .*Usage:\n  gamestate $command .*Options.*Connection options:.*--no-password/s,
		"$command --help");
	is((grep { length > 90 } split /\n/, $help), 0, "$command --help has no long lines");
	like(is_status(0, undef, "$command -V", $command, '-V'), qr/^gamestate \(gamestate\)/, "$command -V");
	my $wrong = $command eq 'check' ? 3 : 2;
	is_status($wrong, qr/unrecognized option '--nonsense'\ngamestate: hint: Try "gamestate $command --help"/,
		"$command --nonsense", $command, '--nonsense');
	is_status($wrong, qr/requires an argument/, "$command --dbname", $command, '--dbname');
}
is_status(2, qr/invalid value "0" for option --clients\n.*from 1 to 1000/, 'play -c 0', 'play', '-c', 0, 'hokm');
is_status(2, qr/invalid value "-1" for option --games/, 'play -g -1', 'play', '-g', -1, 'hokm');
is_status(2, qr/invalid value "9x" for option --seed/, 'play -s 9x', 'play', '-s', '9x', 'hokm');
is_status(2, qr/no game was named/, 'play without a game', 'play');
is_status(2, qr/there are no bots for "chess"/, 'play chess', 'play', 'chess');
is_status(2, qr/too many command-line arguments \(first is "b"\)/, 'play too much', 'play', 'hokm', 'b');
is_status(2, qr/no file was named/, 'replay without a file', 'replay');
is_status(2, qr/no game was named/, 'show without a game', 'show');
is_status(2, qr/too many/, 'show too much', 'show', 'a', 'b');
is_status(2, qr/unrecognized action "wayt"/, 'archive wayt', 'archive', 'wayt');
is_status(2, qr/invalid value "hour" for option --by/, 'archive --by=hour', 'archive', '--by=hour');
is_status(2, qr/invalid value "x" for option --timeout/, 'archive --timeout=x', 'archive', 'wait', '--timeout=x');
is_status(3, qr/invalid value "5,1" for option --lag/, 'check --lag=5,1', 'check', '--lag=5,1');

# ---- no server, no database, no extension

for my $command (['show', 'x'], ['archive'], ['play', '-g1', 'hokm'], ['top', '-n1'], ['export', '-Z0'], ['bench', 'gets'])
{
	is_status(2, qr/^gamestate: error: connection to server on socket/, "$command->[0] without a server",
		@$command, '-h', $dir, '-d', 'postgres');
	is_status(2, qr/database "nowhere" does not exist/, "$command->[0] without a database", @$command, '-d', 'nowhere');
}
is_status(1, qr/database "empty" does not have extension gamestate\n.*CREATE EXTENSION/, 'show without the extension',
	'show', '-d', 'empty', 'x');
is_status(2, qr/missing "=" after/, 'a broken connection string', 'show', '-d', 'dbname=postgres nonsense', 'x');
like(is_status(2, undef, 'check without a server', 'check', '-h', $dir), qr/^CRITICAL connection: /, 'check without a server');
like(is_status(2, undef, 'check without the extension', 'check', '-d', 'empty'), qr/^CRITICAL extension: .*does not have it/,
	'check without the extension');

# ---- show

my $id = sql(q{SELECT gamestate.create_game('duel', '{"hp": [1, 2]}', '{ann,"b,\"o\\\\b"}', room_code := 'K7PX')});
sql(qq{SELECT gamestate.apply_move('$id', 1, '{"hit": 1}', '{"hp": [0, 2]}', 'ann')});
my $shown = json('show', '--json', 'K7PX');
is($shown->{game}{game_id}, $id, 'show by room code');
is_deeply($shown->{game}{players}, [ 'ann', 'b,"o\\b' ], 'its players');
is_deeply($shown->{game}{state}, { hp => [ 0, 2 ] }, 'its state');
is_deeply([ map { [ $_->{version}, $_->{kind} ] } @{ $shown->{log} } ], [ [ 1, 'create' ], [ 2, 'move' ] ], 'its log');
is_deeply($shown->{log}[1]{event}, { hit => 1 }, 'its event');
is(scalar @{ json('show', '--json', '-a', 1, $id)->{log} }, 1, 'show --after');
ok(!exists json('show', '--json', '--no-log', $id)->{log}, 'show --no-log');
like(is_status(0, undef, 'show as text', 'show', $id), qr/^game_id +\Q$id\E\n.*\n +2  .*move +ann +\{"hit": 1\}\n/s, 'show as text');
is_status(1, qr/no game has the room code "nothing"/, 'show of no room', 'show', 'nothing');
is_status(1, qr/no game has the room code "\Q$id\E"/, 'an id is no room code', 'show', '-r', $id);
is_status(1, qr/there is no game 00000000-0000-0000-0000-000000000001/, 'show of no game', 'show',
	'00000000000000000000000000000001');

# ---- archive

sql(qq{SELECT gamestate.finish_game('$id', '"ann"')});
my $waited = json('archive', 'wait', '--json', '--timeout', $limit);
ok($waited && $waited->{seconds} >= 0, 'archive wait');
is(json('show', '--json', $id)->{game}{tier}, 'archived', 'show of an archived game');
is_status(1, qr/no game has the room code "K7PX"\n.*by its id/, 'its room code is free', 'show', 'K7PX');
my $games = json('archive', '--json', '--by=all');
is_deeply([ map { [ @$_{qw(game_type period games moves)} ] } @$games ], [ [ 'duel', 'all', 1, 1 ] ], 'archive games');
like(json('archive', '--json', '--by=day')->[0]{period}, qr/^\d{4}-\d\d-\d\d$/, 'by day');
is_deeply(json('archive', '--json', '-t', 'chess'), [], 'of another type');
my $partitions = json('archive', 'partitions', '--json');
is(scalar(grep { $_->{game_type} eq "'duel'" && $_->{bytes} > 0 && $_->{from_time} && $_->{to_time} } @$partitions),
	scalar @$partitions, 'archive partitions');
ok(@$partitions >= 2, 'of both tables');
like(is_status(0, undef, 'as text', 'archive', 'partitions'), qr/^table +partition/, 'as a table');
sql(q{ALTER SYSTEM SET gamestate.archiver = off});
$node->reload;
$node->poll_query_until('postgres', q{SELECT bool_and(pid IS NULL) FROM gamestate.stat_workers WHERE kind = 'archiver' AND database = 'postgres'})
  or die 'the archiver does not leave';
sql(q{SELECT gamestate.finish_game(gamestate.create_game('duel'))});
is_status(1, qr/games are not archived yet/, 'archive wait that takes too long', 'archive', 'wait', '--timeout=1');

# ---- check

my $all = json('check', '--json', '--queue-age=0,1000000');
my %found = map { $_->{check} => $_ } @$all;
is($found{queue}{level}, 'WARNING', 'an old queue is a warning');
like(is_status(2, undef, 'check', 'check', '--queue=0,1'), qr/^CRITICAL queue: 1 games wait[^\n]*\nWARNING archiver: switched off .*\nOK/s, 'a long one critical, and first');
like(is_status(2, undef, 'memory', 'check', '--memory=0,0'), qr/^CRITICAL memory: .*\nWARNING archiver: switched off/, 'memory');
sql(q{ALTER SYSTEM RESET gamestate.archiver});
$node->reload;
is_status(0, qr/^$/, 'archive wait', 'archive', 'wait', '-q', '--timeout', $limit);
like(is_status(0, undef, 'check of a healthy server', 'check'), qr/^(OK [^\n]+\n)+$/, 'all is well');
{
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	kill 'STOP', $postmaster;
	my $frozen = eval { is_status(2, qr/timeout expired/, 'check of a frozen server', 'check') };
	kill 'CONT', $postmaster;
	like($frozen, qr/^CRITICAL connection: the server cannot be reached$/, 'a frozen server');
}
sql(q{CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher});
like(is_status(0, undef, 'check by pg_monitor', 'check', '-U', 'watcher'), qr/^(OK [^\n]+\n)+$/, 'pg_monitor may ask');
sql(q{CREATE ROLE nobody LOGIN});
like(is_status(3, undef, 'check by nobody', 'check', '-U', 'nobody'), qr/^UNKNOWN launcher: permission denied/, 'nobody may not');

# ---- top

sql(q{ALTER SYSTEM SET track_functions = 'all'});
$node->reload;
like(is_status(0, undef, 'top -b -n 2', 'top', '-b', '-n', 2, '-s', '0.1'), qr/^(gamestate top - .*?\nGames: .*?\nMemory: .*?\nWORKER .*?launcher .*?){2}$/s,
	'two samples');
my $sample = json('top', '--json', '-n', 1);
is($sample->{journal_state}, 'loaded', 'top --json');
is($sample->{feed_waiters}, 0, 'with the feed');
is(scalar(split /\n/, is_status(0, undef, 'top --json -n 3', 'top', '--json', '-n', 3, '-s', '0.1')), 3, 'a line a sample');
is_status(2, qr/invalid value "0" for option --samples/, 'top -n 0', 'top', '-n', 0);
is_status(2, qr/invalid value "often" for option --delay/, 'top -s often', 'top', '-s', 'often');

# ---- bench

my $measured = json('bench', '--json', '-q', '-T', '0.5', '--rounds', 1, '-c', 3, '-P', 2, '-g', 30, '--against', 'table');
is_deeply([ map { "$_->{workload} $_->{on}" } @{ $measured->{results} } ],
	[ map { ("$_ gamestate", "$_ table") } qw(moves gets mixed games contention) ], 'bench measures all workloads on both');
is(scalar(grep { $_->{calls_per_second} > 0 && $_->{p50_us} > 0 && $_->{p99_us} >= $_->{p50_us} } @{ $measured->{results} }), 10,
	'and has figures of all');
like(is_status(0, undef, 'open loop', 'bench', '-q', '-T', '0.2', '--rounds', 1, '-g', 30, '-R', 100, 'gets', '--plot', "$dir/plot"),
	qr/^workload .*\ngets +gamestate /m, 'an open loop');
like(slurp_file("$dir/plot"), qr/^# gnuplot\n\$data << EOD\nworkload gamestate\ngets [\d.]+\nEOD\n.*^plot /ms, 'the plot');
is(sql(q{SELECT count(*) FROM gamestate.list_live_games('gamestate_bench', 'active')}), 0, 'its games have been deleted');
is(sql(q{SELECT count(*) FROM pg_namespace WHERE nspname = 'gamestate_bench'}), 0, 'and its tables');
SKIP:
{
	# Debian's redis-tools has the server, under another name
	my ($program) = grep { -x } map { ("$_/redis-server", "$_/redis-check-rdb") } split(/:/, $ENV{PATH});
	skip 'there is no Redis', 10 if !defined $program;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	symlink($program, "$dir/redis-server") or die "symlink: $!";
	my $said = '';
	my $redis = IPC::Run::start([ "$dir/redis-server", '--port', 0, '--unixsocket', "$dir/redis.sock", '--dir', $dir, '--save', '', '--appendonly', 'yes' ],
		'<', \undef, '>', \$said, '2>', \$said);
	for (1 .. 10 * $limit)
	{
		last if -S "$dir/redis.sock";
		select(undef, undef, undef, 0.1);
	}
	my $both = json('bench', '--json', '-q', '-T', '0.5', '--rounds', 1, '-c', 3, '-P', 2, '-g', 30, '--against=table,redis', "--redis=$dir/redis.sock");
	is_deeply([ map { "$_->{workload} $_->{on}" } @{ $both->{results} } ],
		[ map { ("$_ gamestate", "$_ table", "$_ redis") } qw(moves gets mixed games contention) ], 'bench against tables and Redis');
	is(scalar(grep { $_->{calls_per_second} > 0 && $_->{p99_us} >= $_->{p50_us} } @{ $both->{results} }), 15, 'has figures of all');
	like($both->{on}{redis}, qr/^Redis [\d.]+, appendonly = yes, appendfsync = everysec$/, 'and says which Redis');
	like(is_status(0, undef, 'as text', 'bench', '-q', '-T', '0.1', '--rounds', 1, '-g', 30, '--against=redis', "--redis=$dir/redis.sock", 'moves'),
		qr/^redis: Redis .*^moves +redis .* [\d.]+$/ms, 'as text');
	is(do { open(my $keys, '-|', 'redis-cli', '-s', "$dir/redis.sock", 'DBSIZE') or die "redis-cli: $!"; <$keys> }, "0\n", 'its keys have been removed');
	# the README's way to bring games from a Redis, and from tables
	my $readme = slurp_file("$FindBin::Bin/../../README.md");
	my ($from_tables) = $readme =~ /^(psql -XAtc .*?gamestate import -)$/ms or die 'no import from tables in the README';
	my ($from_redis) = $readme =~ /^(redis-cli --scan .*?gamestate import -)$/ms or die 'no import from Redis in the README';
	my ($cli) = grep { -x } map { "$_/redis-cli" } split(/:/, $ENV{PATH});
	mkdir "$dir/bin";
	append_to_file("$dir/bin/redis-cli", qq{#!/bin/sh\nexec $cli -s $dir/redis.sock "\$@"\n});
	chmod 0755, "$dir/bin/redis-cli";
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres', PATH => "$dir/bin:$ENV{PATH}");
	system("$dir/bin/redis-cli", qw(hset game:7 ended_at 2026-01-02T03:04:05Z state), '{"hp": [3, 0]}') == 0 or die 'redis-cli';
	system("$dir/bin/redis-cli", qw(rpush log:7), '{"hit": 1}', '{"hit": 2}') == 0 or die 'redis-cli';
	SKIP:
	{
		skip 'there is no jq', 2 if !grep { -x } map { "$_/jq" } split(/:/, $ENV{PATH});
		like(`$from_redis 2>&1`, qr/^imported 1, skipped 0, refused 0$/m, 'the import from Redis in the README');
		is(sql(q{SELECT status, version, moves, ended_at AT TIME ZONE 'UTC', final_state, (SELECT string_agg(event::text, ' ' ORDER BY version) FROM gamestate.archived_moves m WHERE m.game_id = g.game_id)
				FROM gamestate.archived_games g WHERE game_type = 'duel' AND ended_at < '2026-06-01'}), 'finished|4|2|2026-01-02 03:04:05|{"hp":[3,0]}|{"hit":1} {"hit":2}', 'brings the game');
	}
	sql(q{CREATE TABLE games (id integer PRIMARY KEY, kind text, players text[], result json, ended_at timestamptz);
		CREATE TABLE moves (game integer, n integer, player text, move json, at timestamptz);
		INSERT INTO games VALUES (1, 'old', '{ann,bob}', '"ann"', '2026-01-02 03:04:05Z'), (2, 'old', '{cid}', NULL, '2026-01-03Z');
		INSERT INTO moves SELECT 1, n, 'ann', to_json(n), '2026-01-02 03:00:00Z' FROM generate_series(1, 3) n});
	like(`$from_tables 2>&1`, qr/^imported 2, skipped 0, refused 0$/m, 'the import from tables in the README');
	is(sql(q{SELECT string_agg(concat_ws(' ', players, result, moves), ', ' ORDER BY moves DESC) FROM gamestate.archived_games WHERE game_type = 'old'}),
		'{ann,bob} "ann" 3, {cid} 0', 'brings the games');
	sql('DROP TABLE games, moves');
	$redis->signal('TERM');
	$redis->finish;
	is_status(1, qr/could not connect to Redis at "$dir\/redis.sock"/, 'bench without a Redis', 'bench', '-q', '--against=redis', "--redis=$dir/redis.sock", 'gets');
}
is_status(2, qr/unrecognized workload "nonsense"/, 'bench nonsense', 'bench', 'nonsense');
is_status(2, qr/invalid value "oracle" for option --against/, 'bench --against oracle', 'bench', '--against=oracle');
is_status(2, qr/a game for each call/, 'bench with too few games', 'bench', '-g', 1);
sql('CREATE SCHEMA gamestate_bench');
is_status(1, qr/making the tables failed: .*\n(.*\n)?.*schema of their own/, 'bench in the way of something', 'bench', '-q', '--against=table', 'gets');
is(sql(q{SELECT count(*) FROM pg_namespace WHERE nspname = 'gamestate_bench'}), 1, 'which stays');
sql('DROP SCHEMA gamestate_bench');

# ---- play and replay

my $played = json('play', '--json', '-q', '-g', 5, '-c', 2, 'hokm');
is($played->{games}, 5, 'play');
is($played->{checked_games}, 5, 'and all of them were checked');
append_to_file("$dir/games.jsonl", join('', map {
	qq[{"game_type":"go","players":["a","b"],"result":{"n": $_},"moves":[{"at":"d4"},{"at":"q16"}]}\n] } 1 .. 20));
my $replayed = json('replay', '--json', '-q', '-r', 2, "$dir/games.jsonl");
is($replayed->{checked_games}, 40, 'replay');
is($replayed->{moves}, 80, 'and its moves');
append_to_file("$dir/bad.jsonl", qq[{"game_type":"go"}\n]);
is_status(1, qr/bad\.jsonl/, 'replay of a broken file', 'replay', "$dir/bad.jsonl");
is_status(1, qr/missing\.jsonl/, 'replay of no file', 'replay', "$dir/missing.jsonl");
append_to_file("$dir/nothing.jsonl", '');
is_status(1, qr/there is no game record/, 'replay of an empty file', 'replay', "$dir/nothing.jsonl");

SKIP:
{
	skip 'no /dev/full', 2 unless -c '/dev/full';
	my $host = $node->host;
	my $port = $node->port;
	for my $command ("show $id", 'archive')
	{
		my $err = `PGHOST=$host PGPORT=$port PGDATABASE=postgres gamestate $command 2>&1 >/dev/full`;
		like($err, qr/could not write to standard output: No space left/, "$command on a full disk");
	}
}

# ---- the server dies

my ($out, $err) = ('', '');
{
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres');
	my $h = IPC::Run::start([ 'gamestate', 'play', '-q', '-g', 1000000, 'hokm' ], '<', \undef, '>', \$out, '2>', \$err,
		IPC::Run::timeout(2 * $limit));
	$node->poll_query_until('postgres', q{SELECT count(*) > 100 FROM gamestate.list_live_games('hokm')})
	  or die 'no games are played';
	$node->stop('immediate');
	$h->finish;
	is($h->full_result >> 8, 2, 'play whose server dies: exit status');
	like($err, qr/^gamestate: error: (lost the connection|could not send to the server): /m, 'and it says so');
}
$node->start;
{
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres');
	($out, $err) = ('', '');
	$node->poll_query_until('postgres', q{SELECT state = 'loaded' FROM gamestate.stat_journal})
	  or die 'the games are not loaded';
	my $before = sql(q{SELECT count(*) FROM gamestate.list_live_games('hokm')});
	my $h = IPC::Run::start([ 'gamestate', 'play', '-q', '-g', 1000000, 'hokm' ], '<', \undef, '>', \$out, '2>', \$err,
		IPC::Run::timeout(2 * $limit));
	$node->poll_query_until('postgres', qq{SELECT count(*) > $before + 100 FROM gamestate.list_live_games('hokm')})
	  or die 'no games are played';
	$h->signal('INT');
	$h->finish;
	is($h->full_result >> 8, 1, 'play that is interrupted: exit status');
	like($err, qr/^gamestate: error: interrupted$/m, 'and it says so');
	run('archive', 'wait');
	is(sql(q{SELECT count(*) FROM gamestate.list_live_games('hokm')}), $before, 'and its games have been deleted');
}

$node->stop;
done_testing();
