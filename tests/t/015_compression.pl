# Compression of the archive: dictionaries are trained from a type's own games and
# found by whoever reads, real games come back to the letter in every format, damage is
# an error of one game, and verify_archive() finds it.
#
# A layer of its own because the maintenance worker trains, a standby and
# parallel workers read, and rows are damaged under them.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RealGames;
use Test::More;

my $data = RealGames::directory();
plan skip_all => 'no recorded games: set GAMESTATE_DATA to the directory of chess.jsonl, 18xx.jsonl and battlesnake.jsonl'
  unless $data;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.maintenance_interval = 500ms
gamestate.dictionary_min_games = 60
gamestate.max_games_per_transaction = 10000
max_locks_per_transaction = 1000
max_worker_processes = 12
synchronous_commit = off
autovacuum = off
});
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub becomes
{
	my ($query, $name) = @_;
	ok($node->poll_query_until('postgres', $query), $name)
	  or diag sql('SELECT number, game_type, samples, ratio_without, ratio_with, content IS NOT NULL FROM gamestate.dictionary')
	  . sql('SELECT kind, state, last_error FROM gamestate.stat_workers');
	return;
}

sql('CREATE EXTENSION gamestate');
RealGames::load($node, $data);

sub archived
{
	my ($type, $n) = @_;
	becomes("SELECT count(*) = $n FROM gamestate.archive_payload WHERE game_type = '$type'", "$n games of $type are archived");
	return;
}

sub formats
{
	return sql("SELECT string_agg(DISTINCT concat_ws('/', format, dictionary IS NOT NULL), ' ') FROM gamestate.archive_payload WHERE game_type = '$_[0]' AND game_id NOT IN (SELECT game_id FROM seen)");
}

# ---------------------------------------------------------------------------
note 'Without a dictionary';

sql(q{INSERT INTO gamestate.policy (game_type, dictionary) VALUES ('battlesnake', false); CREATE TABLE seen (game_id uuid)});
sql(q{CALL play('18xx', 1, 4)});
sql(q{CALL play('battlesnake', 1, 71)});
archived('18xx', 4);
archived('battlesnake', 71);
is(formats('18xx'), '2/f', 'logs are stored in columns');
is(sql('SELECT count(*) FROM wrong'), '0', 'all games are as they were');

# ---------------------------------------------------------------------------
note 'Training';

sql(q{CALL play('chess', 1, 100)});
archived('chess', 100);
is(sql('SELECT count(*) FROM wrong'), '0', 'all games are as they were');
becomes(q{SELECT count(*) = 1 FROM gamestate.dictionary WHERE game_type = 'chess'}, 'a dictionary is trained');
is(sql(q{SELECT samples >= 60, content IS NOT NULL, ratio_with < ratio_without FROM gamestate.dictionary}), 't|t|t', 'it helps, and is kept');
sql(q{INSERT INTO seen SELECT game_id FROM gamestate.archive_payload});
sql(q{CALL play('chess', 101, 160)});
archived('chess', 160);
is(formats('chess'), '2/t', 'the next games are compressed with it');
is(sql('SELECT count(*) FROM wrong'), '0', 'and are as they were');
is(sql(q{SELECT avg(octet_length(payload)) FILTER (WHERE dictionary IS NULL) > 1.2 * avg(octet_length(payload)) FILTER (WHERE dictionary IS NOT NULL) FROM gamestate.archive_payload WHERE game_type = 'chess'}), 't', 'smaller than without');
is(sql(q{SELECT count(*) FROM gamestate.dictionary WHERE game_type <> 'chess'}), '0', 'a policy without, a type with few games: none');

sql(q{UPDATE gamestate.policy SET dictionary = true, compression_level = 9});
becomes(q{SELECT count(*) = 1 FROM gamestate.dictionary WHERE game_type = 'battlesnake'}, 'a policy that wants them');
my ($code, $out, $err) = $node->psql('postgres', q{INSERT INTO gamestate.policy (game_type, compression_level) VALUES ('x', 20)});
isnt($code, 0, 'a level that is none is refused');

# noise does not get better by a dictionary
sql(q{SELECT count(gamestate.finish_game(gamestate.create_game_bytes('noise', (SELECT string_agg(uuid_send(gen_random_uuid()), '') FROM generate_series(1, 60) WHERE i > 0)))) FROM generate_series(1, 80) i});
becomes(q{SELECT content IS NULL FROM gamestate.dictionary WHERE game_type = 'noise'}, 'a dictionary that does not help is not kept');

# ---------------------------------------------------------------------------
note 'Readers';

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($standby->safe_psql('postgres', 'SELECT count(*) FROM wrong'), '0', 'a hot standby reads them');
is(sql(q{
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
SELECT count(*) = (SELECT count(*) FROM played WHERE game_type = 'chess') FROM gamestate.archived_games WHERE game_type = 'chess' AND final_state::text LIKE '_"moves"%'}), 't', 'parallel workers read them');
is(sql(q{SELECT (gamestate.get_game(game_id)).state::text = final FROM played WHERE game_type = 'chess' ORDER BY game_id LIMIT 1}), 't', 'get_game() reads them');

# ---------------------------------------------------------------------------
note 'Keeping dictionaries';

foreach my $command ('DELETE FROM gamestate.dictionary', 'UPDATE gamestate.dictionary SET number = DEFAULT', 'TRUNCATE gamestate.dictionary')
{
	($code, $out, $err) = $node->psql('postgres', $command);
	like($err, qr/must not be changed or removed.*HINT.*allow_dictionary_changes/s, "refused: $command");
}
my $dump = $node->basedir . '/dump';
command_ok(['pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres')], 'pg_dump');
sql('CREATE DATABASE copy');
command_ok(['pg_restore', '--no-owner', '-d', $node->connstr('copy'), $dump], 'pg_restore');
is($node->safe_psql('copy', 'SELECT count(*) FROM wrong'), '0', 'pg_dump carries what the games need');
is($node->safe_psql('copy', q{SELECT nextval('gamestate.dictionary_number_seq') > max(number) FROM gamestate.dictionary}), 't', 'and the next number');

# ---------------------------------------------------------------------------
note 'Damage';

is(sql('SELECT count(*) FROM gamestate.verify_archive()'), '0', 'nothing is wrong');
my @ids = split /\n/, sql(q{SELECT game_id FROM gamestate.archive_payload WHERE game_type = 'chess' AND dictionary IS NOT NULL ORDER BY game_id LIMIT 4});
sql(qq{
UPDATE gamestate.archive_payload SET checksum = checksum # 1 WHERE game_id = '$ids[0]';
UPDATE gamestate.archive_payload SET payload = set_byte(payload, octet_length(payload) - 3, get_byte(payload, octet_length(payload) - 3) # 255) WHERE game_id = '$ids[1]';
UPDATE gamestate.archive_payload SET dictionary = 1000 WHERE game_id = '$ids[2]';
UPDATE gamestate.archive_payload SET format = 77 WHERE game_id = '$ids[3]';
});
is(sql(q{SELECT count(*) FROM gamestate.verify_archive()}), '4', 'four games are found');
is(sql(qq{SELECT problem FROM gamestate.verify_archive() WHERE game_id = '$ids[2]'}), 'its compression dictionary is missing', 'it says what is wrong');
is(sql(q{SELECT count(*) FROM gamestate.verify_archive((SELECT tableoid FROM gamestate.archive_payload WHERE game_type = 'battlesnake' LIMIT 1))}), '0', 'none in another partition');
foreach my $id (@ids)
{
	($code, $out, $err) = $node->psql('postgres', "SELECT (gamestate.get_game('$id')).state", on_error_stop => 0, extra_params => ['-v', 'VERBOSITY=verbose']);
	like($err, qr/XX001/, 'reading one is an error of its own');
}

my $number = sql(q{SELECT number FROM gamestate.dictionary WHERE game_type = 'chess'});
sql(qq{SET gamestate.allow_dictionary_changes = on; UPDATE gamestate.dictionary SET content = set_byte(content, 5000, get_byte(content, 5000) # 1) WHERE number = $number});
is(sql(qq{SELECT count(DISTINCT problem) FROM gamestate.verify_archive() WHERE problem = 'its compression dictionary is damaged'}), '1', 'a damaged dictionary');
sql(qq{SET gamestate.allow_dictionary_changes = on; DELETE FROM gamestate.dictionary WHERE number = $number});
is(sql(q{SELECT count(*) FROM gamestate.verify_archive() WHERE problem = 'its compression dictionary is missing'}), sql(q{SELECT count(*) FROM gamestate.archive_payload WHERE game_type = 'chess' AND dictionary IS NOT NULL AND format = 2}), 'a deleted one');
becomes(q{SELECT count(*) = 1 FROM gamestate.dictionary WHERE game_type = 'chess'}, 'a new one is trained');

# ---------------------------------------------------------------------------
note 'More games than a dictionary has seen';

# a worker looks at all types when it has started, then every ten minutes
sql(q{SET gamestate.allow_dictionary_changes = on; UPDATE gamestate.dictionary SET samples = samples / 5 WHERE game_type = 'chess'});
sql(q{SELECT pg_terminate_backend(pid) FROM gamestate.stat_workers WHERE kind = 'maintenance'});
becomes(q{SELECT count(*) = 2 FROM gamestate.dictionary WHERE game_type = 'chess'}, 'one of a fifth of the games is replaced');
is(sql(q{SELECT count(*) FROM gamestate.dictionary WHERE game_type = 'battlesnake'}), '1', 'one of all games is not');
is(sql(q{SELECT count(*) FROM gamestate.stat_workers WHERE failures > 0}), '0', 'no worker has failed');

$standby->stop;
$node->stop;
done_testing();
