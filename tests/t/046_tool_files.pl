# gamestate export and import: a round trip to the letter, files that are
# broken, imports that break off, games that are refused.
#
# A layer of its own because it runs a program that reads and writes files, on
# two databases, and kills it in the middle.

use strict;
use warnings;

use File::Temp qw(tempdir);
use IPC::Run;
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
autovacuum = off
});
$node->start;
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(one two);
$node->safe_psql($_, 'CREATE EXTENSION gamestate') for qw(one two);

# run(DATABASE, ARGUMENT...): exit status, stdout, stderr of the tool
sub run
{
	my ($database, @arguments) = @_;
	my ($out, $err) = ('', '');
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => $database);
	my $h = IPC::Run::start([ 'gamestate', @arguments ], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(2 * $limit));
	$h->finish;
	return ($h->full_result >> 8, $out, $err);
}

sub is_status
{
	my ($status, $pattern, $name, @arguments) = @_;
	my ($rc, $out, $err) = run(@arguments);
	is($rc, $status, "$name: exit status") or diag($err);
	like($err, $pattern, "$name: what it says") if $pattern;
	return $out;
}

# everything in the archive of a database, to the byte
sub archive_of
{
	my ($database) = @_;
	return $node->safe_psql($database, q{
SELECT string_agg(a::text, E'\n' ORDER BY game_id) FROM gamestate.archive a;
SELECT string_agg(concat_ws(' ', game_id, game_type, ended_at, format, raw_size, checksum), E'\n' ORDER BY game_id)
  FROM gamestate.archive_payload;
SELECT string_agg(concat_ws(' ', game_id, initial_state::text, final_state::text, initial_state_bytes, final_state_bytes), E'\n' ORDER BY game_id)
  FROM gamestate.archived_games;
SELECT string_agg(c::text, E'\n' ORDER BY c.game_id, c.version) FROM gamestate.archive a, gamestate.get_changes(a.game_id) c});
}

# ---- games of all kinds

$node->safe_psql('one', q{
DO $$
DECLARE g uuid;
BEGIN
	FOR i IN 1 .. 500 LOOP
		g := gamestate.create_game('chess', json_build_object('n', i), ARRAY['ann', 'b"o\b', 'é' || i], metadata => '{"k":  [1,2]}');
		FOR j IN 1 .. i % 7 LOOP
			PERFORM gamestate.apply_move(g, j, json_build_object('san', j, 'pad', repeat('x', i)), json_build_object('n', j), 'ann', request_id => gen_random_uuid());
		END LOOP;
		PERFORM gamestate.finish_game(g, '"ann"');
	END LOOP;
	-- documents that cannot simply stand in a line
	g := gamestate.create_game('odd', E' {"a":\n 1} ', metadata => 'null', players => '{"a,\"b",NULL_}', room_code => 'ROOM', max_players => 4, status => 'waiting');
	PERFORM gamestate.join_game(g, 'NULL');
	PERFORM gamestate.leave_game(g, 'NULL_');
	PERFORM gamestate.start_game(g);
	PERFORM gamestate.apply_move(g, NULL, '"\u0000"', '"\ud800"');
	PERFORM gamestate.apply_move(g, NULL, E'[1,\r\n2]', 'null');
	PERFORM gamestate.set_metadata(g, '{"a": 1e400, "a": 2}');
	PERFORM gamestate.finish_game(g, E'\t7', status => 'abandoned');
	-- bytes
	g := gamestate.create_game_bytes('bin', '\x000102ff', request_id => gen_random_uuid());
	PERFORM gamestate.apply_move_bytes(g, 1, '\x', '\x0a0d00');
	PERFORM gamestate.apply_move_bytes(g, 2, decode(repeat('ab', 100), 'hex'), NULL);
	PERFORM gamestate.finish_game(g);
END $$});
is_status(0, undef, 'archive wait', 'one', 'archive', 'wait', '-q', '--timeout', $limit);

# ---- there and back again

is_status(0, qr/^exporting: 502 of 502 games$/m, 'export', 'one', 'export', '-f', "$dir/one.zst", '-m', "$dir/manifest");
ok(!-e "$dir/one.zst.partial", 'no partial file is left');
my $manifest = decode_json(slurp_file("$dir/manifest"))->{manifest};
is($manifest->{games}, 502, 'the manifest counts the games');
is_deeply($manifest->{game_types}, { chess => { games => 500, moves => 1497 }, odd => { games => 1, moves => 2 }, bin => { games => 1, moves => 2 } },
	'of each type');
is(is_status(0, undef, 'import', 'two', 'import', '-q', "$dir/one.zst"), "imported 502, skipped 0, refused 0\n", 'import');
is(archive_of('two'), archive_of('one'), 'both archives are the same, to the byte');
is_status(0, undef, 'export of the import', 'two', 'export', '-q', '-f', "$dir/two.zst");
ok(slurp_file("$dir/two.zst") eq slurp_file("$dir/one.zst"), 'and so are the files');
is(is_status(0, undef, 'import again', 'two', 'import', '-q', "$dir/one.zst"), "imported 0, skipped 502, refused 0\n", 'skips all');

# what is no regular file is written to, not replaced; and a link stays one
{
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'one');
	system('mkfifo', "$dir/pipe") == 0 or die $!;
	my $reader = IPC::Run::start([ 'cat', "$dir/pipe" ], '>', "$dir/through", IPC::Run::timeout(2 * $limit));
	is_status(0, undef, 'export to a pipe', 'one', 'export', '-q', '-f', "$dir/pipe");
	ok(-p "$dir/pipe" && !-e "$dir/pipe.partial", 'the pipe is still one');
	$reader->signal('KILL') unless -p "$dir/pipe";
	eval { $reader->finish };
	ok(slurp_file("$dir/through") eq slurp_file("$dir/one.zst"), 'and has had the file');
	symlink("$dir/target", "$dir/link") or die $!;
	append_to_file("$dir/target", 'x');
	is_status(0, undef, 'export to a link', 'one', 'export', '-q', '-f', "$dir/link");
	ok(-l "$dir/link" && slurp_file("$dir/target") eq slurp_file("$dir/one.zst"), 'which stays a link, to the new file');
}
is_status(2, qr/-f and -m name the same file/, 'one file for both', 'one', 'export', '-f', "$dir/x", '-m', "$dir/x");

# plain, to standard output and from standard input, and the order
my $plain = is_status(0, qr/^$/, 'export to stdout', 'one', 'export', '-q', '-Z0');
my @lines = split /\n/, $plain;
is(scalar @lines, 503, 'a line a game, and the manifest');
my @games = map { decode_json($_) } @lines[ 0 .. 501 ];
is_deeply([ map { "$_->{game_type} $_->{ended_at}" } @games ], [ sort map { "$_->{game_type} $_->{ended_at}" } @games ], 'in order');
is_deeply(decode_json($lines[502])->{manifest}, $manifest, 'with the same manifest');
$node->safe_psql('postgres', 'CREATE DATABASE three');
$node->safe_psql('three', 'CREATE EXTENSION gamestate');
my $host = $node->host;
my $port = $node->port;
append_to_file("$dir/plain", $plain);
like(`PGHOST=$host PGPORT=$port gamestate import -d three -q - < $dir/plain 2>&1`, qr/^imported 502, /, 'import of stdin');
is(archive_of('three'), archive_of('one'), 'the same games');
my $some = is_status(0, undef, 'export of a type', 'one', 'export', '-q', '-Z0', '-t', 'odd');
is(scalar(split /\n/, $some), 2, 'export --game-type');
my $split = $games[10]{ended_at};
my ($before, $after) = map { scalar(split /\n/, is_status(0, undef, "export $_", 'one', 'export', '-q', '-Z0', $_)) - 1 } "--from=$split", "--to=$split";
is($before + $after, 502, '--from and --to part the games');
is_status(1, qr/invalid input syntax for type timestamp/, 'export --from=noonish', 'one', 'export', '-Z0', '--from=noonish');

# ---- files that are broken: nothing of them is imported

$node->safe_psql('postgres', 'CREATE DATABASE four');
$node->safe_psql('four', 'CREATE EXTENSION gamestate');
my $whole = slurp_file("$dir/one.zst");
my $n = 0;

sub broken
{
	my ($bytes, $pattern, $name, @options) = @_;
	my $file = "$dir/broken" . ++$n;
	append_to_file($file, $bytes);
	is_status(1, $pattern, $name, 'four', 'import', '-q', @options, $file);
	is($node->safe_psql('four', 'SELECT count(*) FROM gamestate.archive'), 0, "$name: nothing was imported");
}

broken(substr($whole, 0, length($whole) - 1), qr/ends in the middle of a zstd frame\n.*Nothing was imported/s, 'a frame without its end');
broken(substr($whole, 0, length($whole) / 2), qr/ends in the middle/, 'half a file');
broken(substr($whole, 0, 3), qr/./, 'the first bytes', '--need-manifest');
{
	my $flipped = $whole;
	substr($flipped, length($flipped) / 2, 1) ^= "\x10";
	broken($flipped, qr/could not read|checksum|manifest/, 'a flipped bit');
}
(my $changed = $plain) =~ s/"n" ?: ?7\b/"n":8/;
isnt($changed, $plain, 'something is changed');
broken($changed, qr/line 503: the (checksum of the games is not that|manifest speaks)/, 'a changed byte');
broken(join("\n", @lines[ 1 .. 502 ], ''), qr/the manifest speaks of 502 games, and there are 501/, 'a line less');
broken(join("\n", @lines[ 1, 0, 2 .. 502 ], ''), qr/the checksum/, 'two lines exchanged');
broken(join("\n", @lines[ 0 .. 501 ], ''), qr/does not end with a manifest/, 'no manifest, though it must be', '--need-manifest');
broken($plain . $lines[0] . "\n", qr/does not end with a manifest/, 'something behind it', '--need-manifest');
broken(($plain =~ s/"format":1/"format":9/r), qr/its format is 9/, 'a format of the future');
broken('{"manifest":{', qr/the manifest is not JSON/, 'half a manifest');
is_status(1, qr/could not open file/, 'no file', 'four', 'import', "$dir/missing");
is_status(1, qr/could not read .*: Is a directory/, 'a directory', 'four', 'import', $dir);
is_status(2, qr/no file was named/, 'no operand', 'four', 'import');
is_status(2, qr/connection to server/, 'no server', 'four', 'import', '-h', $dir, "$dir/one.zst");
is_status(2, qr/connection to server/, 'no server', 'four', 'export', '-h', $dir, '-f', "$dir/x");
ok(!-e "$dir/x" && !-e "$dir/x.partial", 'and no file');
is_status(1, qr/could not create file/, 'a file that cannot be made', 'one', 'export', '-f', "$dir/missing/x");

SKIP:
{
	skip 'no /dev/full', 1 unless -c '/dev/full';
	like(`PGHOST=$host PGPORT=$port gamestate export -q -d one 2>&1 >/dev/full`, qr/could not write to standard output: No space left/, 'a full disk');
}
like(`PGHOST=$host PGPORT=$port bash -c 'gamestate export -q -Z0 -d one | head -n 1 >/dev/null; echo \${PIPESTATUS[0]}' 2>&1`,
	qr/^(gamestate: error: could not write to standard output: Broken pipe\n1|0)$/, 'a reader that goes');

# joined files are all right
is_status(0, undef, 'export of a type, compressed', 'one', 'export', '-q', '-f', "$dir/some.zst", '-t', 'odd');
append_to_file("$dir/joined", $whole . slurp_file("$dir/some.zst"));
is(is_status(0, undef, 'joined files', 'four', 'import', '-q', '--need-manifest', "$dir/joined"), "imported 502, skipped 1, refused 0\n", 'joined files');

# ---- refused games

append_to_file("$dir/bad.jsonl", join("\n",
	'{"game_type":"old","source_id":"1","ended_at":"2021-05-05T10:00:00Z","log":[{"event":{"x":1}}]}',
	'{"game_type":"old","source_id":"2"',
	'',
	'nonsense',
	'{"game_type":"old","source_id":"3"}',
	"{\"game_type\":\"old\",\"source_id\":\"\xff\",\"ended_at\":\"2021-05-05\"}",
	"{\"game_type\":\"old\0\"}",
	'{"game_type":"old","source_id":"4","ended_at":"2021-05-05T10:00:00Z"}',
	($lines[0] =~ s/"status":"finished"/"status":"abandoned"/r)));
my ($rc, $out, $err) = run('four', 'import', '-q', '--json', '-r', "$dir/refused", "$dir/bad.jsonl");
is($rc, 1, 'refused games: exit status');
is_deeply(decode_json($out), { imported => 2, skipped => 0, refused => 6 }, 'refused games: counts');
like($err, qr/^gamestate: warning: line 2 was refused: .*^gamestate: error: 6 games were refused$/sm, 'refused games: what it says');
my @refused = map { decode_json($_) } grep { !/\xff/ } split /\n/, slurp_file("$dir/refused");
is_deeply([ map { [ $_->{line}, $_->{sqlstate} ] } @refused ],
	[ [ 7, '22P05' ], [ 2, '22P02' ], [ 4, '22P02' ], [ 5, '22004' ], [ 9, 'GS005' ] ], 'refused games: where and why')
  or diag(explain(\@refused));
is($refused[3]{game}, '{"game_type":"old","source_id":"3"}', 'and the line itself');
$node->safe_psql('four', q{CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN IF NEW.room_code = 'BAD' THEN RAISE 'not this one'; END IF; RETURN NEW; END$$;
	CREATE TRIGGER no BEFORE INSERT ON gamestate.archive FOR EACH ROW EXECUTE FUNCTION no()});
append_to_file("$dir/trigger.jsonl", join('', map {
	sprintf qq[{"game_type":"old","source_id":"t%d","ended_at":"2021-05-05","room_code":"%s"}\n], $_, $_ == 17 ? 'BAD' : 'GOOD' } 1 .. 40));
is(is_status(1, qr/line 17 was refused: not this one/, 'a batch that fails', 'four', 'import', '-q', "$dir/trigger.jsonl"),
	"imported 39, skipped 0, refused 1\n", 'a batch that fails is halved');

# ---- imports that break off

$node->safe_psql('postgres', 'CREATE DATABASE five');
$node->safe_psql('five', 'CREATE EXTENSION gamestate');
{
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'five');
	for my $signal (qw(KILL INT))
	{
		# something makes it wait in the middle
		my $done = $node->safe_psql('five', 'SELECT count(*) FROM gamestate.archive');
		my ($say, $said) = ('', '');
		my $blocker = IPC::Run::start([ 'psql', '-XAtq' ], '<', \$say, '>', \$said, '2>&1', IPC::Run::timeout(2 * $limit));
		$say = "BEGIN; SELECT gamestate.create_game('chess', game_id := '" . $games[ $signal eq 'KILL' ? 200 : 400 ]{game_id} . "');\n";
		$blocker->pump until $said =~ /\n/;
		my ($o, $e) = ('', '');
		my $h = IPC::Run::start([ 'gamestate', 'import', '-q', '-b', 20, '-s', "$dir/state", "$dir/one.zst" ], '<', \undef, '>', \$o, '2>', \$e,
			IPC::Run::timeout(2 * $limit));
		ok($node->poll_query_until('five', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%import_games(%' AND wait_event_type = 'Lock'}),
			"$signal: it waits");
		$h->signal($signal);
		$h->finish;
		$say .= "ROLLBACK;\n\\q\n";
		$blocker->finish;
		ok($node->poll_query_until('five', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE '%import_games($%' AND pid <> pg_backend_pid()}), "$signal: it has gone");
		cmp_ok($node->safe_psql('five', 'SELECT count(*) FROM gamestate.archive'), '>', $done, "$signal: part of it is done");
		like($e, qr/interrupted/, 'INT: it says so') if $signal eq 'INT';
	}
}
like(slurp_file("$dir/state"), qr/"lines":(\d+)/, 'the state is a number of lines');
is_status(1, qr/is the state of the import of another file/, 'the state of another file', 'five', 'import', '-q', '-s', "$dir/state", "$dir/plain");
like(is_status(0, undef, 'going on', 'five', 'import', '-q', '-s', "$dir/state", "$dir/one.zst"), qr/^imported \d+, skipped [1-9]\d+, refused 0$/, 'it goes on');
is(archive_of('five'), archive_of('one'), 'and nothing is missing, nothing double');
append_to_file("$dir/nostate", 'x');
is_status(1, qr/is not the state of an import/, 'nonsense as state', 'five', 'import', '-q', '-s', "$dir/nostate", "$dir/one.zst");

# what was refused before it broke off is neither forgotten nor told twice; another file of that name is not taken for done
sub write_new
{
	my ($path, @text) = @_;
	unlink $path;
	append_to_file($path, join('', @text));
	return;
}
my @day = map { sprintf qq[{"game_type":"day","source_id":"%d","ended_at":"%s"}\n], $_, $_ =~ /[38]/ ? 'never' : '2021-05-05' } 1 .. 10;
my @on = ('five', 'import', '-q', '-b', 1, '-s', "$dir/day.state", '-r', "$dir/day.refused", "$dir/day");
sub refused_lines
{
	return join(' ', map { decode_json($_)->{line} } split /\n/, slurp_file("$dir/day.refused"));
}
write_new("$dir/day", @day[ 0 .. 4 ]);
is(is_status(1, undef, 'five games', @on), "imported 4, skipped 0, refused 1\n", 'a part of a file');
# as a process leaves it that is killed before it has written the state for what it has just refused
rename("$dir/day.refused", "$dir/day.refused.partial") or die $!;
append_to_file("$dir/day.refused.partial", '{"line":6,"game_id":nu');
write_new("$dir/day", @day);
is(is_status(1, qr/line 8 was refused.*2 games were refused/s, 'the rest', @on), "imported 4, skipped 4, refused 2\n", 'all of them count');
is(refused_lines(), '3 8', 'and are in the file');
is(is_status(1, qr/^gamestate: error: 2 games were refused$/, 'nothing new', @on), "imported 0, skipped 8, refused 2\n", 'nothing new');
is(refused_lines(), '3 8', 'the file stays');
write_new("$dir/day", map { s/"day"/"night"/r } @day);
is_status(1, qr/is not the file of which .*Its first 10 lines were others/s, 'other games under the same name', @on);
write_new("$dir/day", @day[ 0 .. 8 ]);
is_status(1, qr/is not the file of which/, 'a file that has got shorter', @on);
is(refused_lines(), '3 8', 'the file of refused games is left alone');
is($node->safe_psql('five', q{SELECT game_type, count(*) FROM gamestate.archive WHERE game_type IN ('day', 'night') GROUP BY 1}), 'day|8', 'nothing was imported of them');

# ---- old tables, as the README has it

$node->safe_psql('postgres', 'CREATE DATABASE seven');
$node->safe_psql('seven', q{CREATE EXTENSION gamestate;
	CREATE TABLE games (id int, kind text, players text[], result jsonb, ended_at timestamptz);
	CREATE TABLE moves (game int, n int, player text, move jsonb, at timestamptz);
	INSERT INTO games SELECT i, 'go', '{a,b}', '{"w": 1}', '2021-01-01'::timestamptz + i * interval '1 min' FROM generate_series(1, 50) i;
	INSERT INTO moves SELECT i, n, 'a', jsonb_build_object('at', n), '2021-01-01'::timestamptz + n * interval '1 s' FROM generate_series(1, 50) i, generate_series(1, 5) n});
append_to_file("$dir/old.jsonl", $node->safe_psql('seven', q{SELECT json_build_object('game_type', kind, 'source_id', id::text, 'players', players,
                   'result', result, 'ended_at', ended_at, 'log',
                   (SELECT json_agg(json_build_object('event', move, 'player', player, 'at', at) ORDER BY n)
                      FROM moves WHERE game = games.id)) FROM games}));
is(is_status(0, undef, 'old tables', 'seven', 'import', '-q', "$dir/old.jsonl"), "imported 50, skipped 0, refused 0\n", 'old tables');
is(is_status(0, undef, 'again', 'seven', 'import', '-q', "$dir/old.jsonl"), "imported 0, skipped 50, refused 0\n", 'again');
is($node->safe_psql('seven', q{SELECT count(*), sum(moves), min(event->>'at') FROM gamestate.archive JOIN gamestate.archived_moves USING (game_id)}),
	'250|1250|1', 'their moves');

# ---- the payload has gone, and the server while it is read

$node->safe_psql('two', q{DO $$DECLARE t regclass; BEGIN
	FOR t IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'gamestate_partitions.archive_payload_chess'::regclass LOOP
		EXECUTE 'DROP TABLE ' || t; END LOOP; END$$});
$plain = is_status(0, undef, 'export without payloads', 'two', 'export', '-q', '-Z0', '-t', 'chess');
like($plain, qr/"payload":false/, 'says so');
append_to_file("$dir/bare", $plain);
$node->safe_psql('postgres', 'CREATE DATABASE six');
$node->safe_psql('six', 'CREATE EXTENSION gamestate');
is(is_status(0, undef, 'import without payloads', 'six', 'import', '-q', "$dir/bare"), "imported 500, skipped 0, refused 0\n", 'import without payloads');
is($node->safe_psql('six', 'SELECT count(*), sum(version), (SELECT count(*) FROM gamestate.archive_payload) FROM gamestate.archive'),
	$node->safe_psql('two', q{SELECT count(*), sum(version), 0 FROM gamestate.archive WHERE game_type = 'chess'}), 'as rows without payload');
$node->stop;
done_testing();
