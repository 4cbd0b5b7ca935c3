# The README's questions to the archive, as they are printed, asked about real
# games and compared with what the records say.
#
# A layer of its own because it needs the records, which are not part of the
# project.  Environment: GAMESTATE_DATA is the directory that has them.

use strict;
use warnings;

use FindBin;
use JSON::PP;
use List::Util qw(max);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($data) = grep { defined && -r "$_/chess.jsonl" }
	($ENV{GAMESTATE_DATA}, "$FindBin::RealBin/../../../shared/data");
plan skip_all => 'no recorded games: set GAMESTATE_DATA to the directory of chess.jsonl' unless $data;
my ($readme) = grep { -r } "$FindBin::RealBin/../../README.md", "$FindBin::RealBin/../../../README.md";
plan skip_all => 'no README.md beside the tests' unless $readme;

my %question;
my $text = slurp_file($readme);
$question{$1} = $2 while $text =~ /```sql\n-- (\d+)\. [^\n]*\n(.*?)```/gs;
is(join(' ', sort { $a <=> $b } keys %question), join(' ', 1 .. 10), 'there are ten');

open my $file, '<', "$data/chess.jsonl" or die "chess.jsonl: $!";
my @records;
while (@records < 120 && defined(my $line = <$file>))
{
	chomp $line;
	push @records, $line;
}
close $file;
my @games = map { decode_json($_) } @records;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'gamestate'\nsynchronous_commit = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION gamestate; CREATE TABLE record (n serial PRIMARY KEY, doc json, id uuid)');
foreach my $record (@records)
{
	$record =~ s/'/''/g;
	$node->safe_psql('postgres', "INSERT INTO record (doc) VALUES ('$record')");
}
$node->safe_psql('postgres', q{
DO $$
DECLARE
	r record;
	m json;
	g uuid;
BEGIN
	FOR r IN SELECT * FROM record ORDER BY n LOOP
		g := gamestate.create_game('chess', '{}', ARRAY(SELECT json_array_elements_text(r.doc -> 'players')), metadata => r.doc -> 'meta');
		FOR m IN SELECT json_array_elements(r.doc -> 'moves') LOOP
			PERFORM gamestate.apply_move(g, NULL, m, NULL);
		END LOOP;
		PERFORM gamestate.finish_game(g, r.doc -> 'result');
		UPDATE record SET id = g WHERE n = r.n;
		COMMIT;
	END LOOP;
END $$});
ok($node->poll_query_until('postgres', 'SELECT count(*) = 120 FROM gamestate.archive'), 'all games are archived');
my $game = $node->safe_psql('postgres', 'SELECT id FROM record WHERE n = 7');

sub ask
{
	my ($n) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', $question{$n}, extra_params => [ '-v', "game=$game" ]);
	is($rc . $err, '0', "question $n is answered");
	return map { [ split /\|/, $_, -1 ] } split /\n/, $out;
}

sub score { return $_[0]{result}{score}; }

my %openings;
$openings{join ' ', map { $_->{san} } grep { defined } @{ $_->{moves} }[0 .. 2]}++ foreach @games;
my @rows = ask(1);
is(scalar @rows, 10, 'ten openings');
is($rows[0][1], max(values %openings), 'the most frequent one');
is($openings{ $_->[0] }, $_->[1], $_->[0]) foreach @rows;

@rows = ask(2);
my $sum = 0;
$sum += $_->[1] foreach @rows;
is($sum, 120, 'each game has a length');
is((grep { $_->[0] == 80 } @rows)[0][1], scalar(grep { @{ $_->{moves} } >= 80 && @{ $_->{moves} } < 100 } @games), '80 to 99 moves');

@rows = ask(3);
is($rows[0][1], '100.0', 'all games begin');
is($rows[3][1], sprintf('%.1f', 100 * (grep { @{ $_->{moves} } >= 60 } @games) / 120), 'some last for 60 moves');

@rows = ask(4);
my @same = grep { $_->{players}[0] eq $rows[0][0] && $_->{players}[1] eq $rows[0][1] } @games;
is("$rows[0][2] $rows[0][3] $rows[0][4]", join(' ', scalar @same, scalar(grep { score($_) eq '1-0' } @same), scalar(grep { score($_) eq '0-1' } @same)), 'head to head');

my %players = map { $_ => 1 } map { @{ $_->{players} } } @games;
is_deeply([ ask(5) ], [ [ 'active', scalar keys %players ] ], 'everybody has played today');

@rows = ask(6);
$sum = 0;
$sum += $_->[2] foreach @rows;
is($sum, 120, 'all games were played in these hours');

@rows = ask(7);
is($rows[0][2], max(map { scalar @{ $_->{moves} } } @games), 'the longest game');

@rows = ask(8);
is(scalar @rows, 120, 'a row a game');
is_deeply([ map { $_->[3] } @rows ], [ map { score($_) eq '1-0' ? 1 : score($_) eq '0-1' ? 0 : '0.5' } @games ], 'in the order in which they ended');
is_deeply([ map { $_->[4] } @rows ], [ map { $_->{meta}{WhiteElo} // '' } @games ], 'with ratings');

@rows = ask(9);
is(scalar @rows, 10, 'ten suspects');
ok(!(grep { !$players{ $_->[0] } || $_->[1] < 20 || $_->[3] <= 0 } @rows), 'who are players with enough moves');
is_deeply([ map { $_->[3] } @rows ], [ sort { $a <=> $b } map { $_->[3] } @rows ], 'the steadiest first');

@rows = ask(10);
is_deeply([ map { decode_json($_->[3])->{san} } @rows ], [ map { $_->{san} } @{ $games[6]{moves} } ], 'one game, move by move');

done_testing();
