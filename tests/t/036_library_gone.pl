# A server whose library is gone, from shared_preload_libraries or from the disk:
# it starts after a crash and recovers, what is not ours works, and when the
# library comes back the games are there.
#
# A layer of its own because it takes a file away from an installation, which is
# a copy that nobody else uses.

use strict;
use warnings;

use File::Basename;
use File::Path qw(mkpath);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# An installation as tests/tools/private-pg.sh makes it: programs are real files,
# for they find all others from where they lie; of the libraries only ours is.
my %from = map { chomp(my $dir = `pg_config --$_`); ($_ => $dir) } qw(bindir pkglibdir sharedir);
my $common = dirname($from{bindir});
$common = dirname($common) while grep { index($_, "$common/") != 0 } values %from;
my $root = PostgreSQL::Test::Utils::tempdir();
my %to = map { ($_ => $root . substr($from{$_}, length $common)) } keys %from;
mkpath([ $to{bindir}, $to{pkglibdir}, dirname($to{sharedir}) ]);
symlink($from{sharedir}, $to{sharedir}) or die "symlink: $!";
system_or_bail('cp', '-pL', map({ "$from{bindir}/$_" } qw(initdb pg_config pg_ctl pg_dump postgres psql)), $to{bindir});
foreach my $file (glob("$from{pkglibdir}/*"))
{
	next if basename($file) eq 'gamestate.so';
	symlink($file, "$to{pkglibdir}/" . basename($file)) or die "symlink: $!";
}
my $library = "$to{pkglibdir}/gamestate.so";
system_or_bail('cp', '-pL', "$from{pkglibdir}/gamestate.so", $library);

my $node = PostgreSQL::Test::Cluster->new('main', install_path => dirname($to{bindir}));
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
});
$node->start;
my $setup = q{
CREATE EXTENSION gamestate;
CREATE TABLE t (n int);
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql AS
$$SELECT ('33000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid$$;
CREATE FUNCTION all_games() RETURNS text LANGUAGE sql AS $$
SELECT coalesce(string_agg(md5(g::text) || (SELECT md5(string_agg(c::text, '' ORDER BY version)) FROM gamestate.get_changes(game_id) c), ' ' ORDER BY game_id), 'none')
  FROM gamestate.list_live_games() g
$$;
SELECT gamestate.create_game('gone', '1', '{ann}', 'room ' || n, game_id => id(n)) FROM generate_series(1, 50) n;
SELECT gamestate.finish_game(id(50));};
foreach my $db (qw(postgres other third))
{
	$node->safe_psql('postgres', "CREATE DATABASE $db") unless $db eq 'postgres';
	$node->safe_psql($db, $setup);
	$node->poll_query_until($db, 'SELECT count(*) = 1 FROM gamestate.archive') or die 'timed out waiting for the archiver';
}

# a move, and one with a row
sub play
{
	my ($v) = @_;
	$node->safe_psql('postgres', "SELECT gamestate.apply_move(id(n), $v, '$v', '$v') FROM generate_series(1, 49) n");
	$node->safe_psql('postgres', 'BEGIN; SELECT gamestate.apply_move(id(1), ' . ($v + 1) . ", '$v', '$v'); INSERT INTO t VALUES ($v); COMMIT");
	# so that all others are at the same version
	$node->safe_psql('postgres', 'SELECT gamestate.apply_move(id(n), ' . ($v + 1) . ", '$v', '$v') FROM generate_series(2, 49) n");
	return;
}

# What a server without us can do with a database of ours.
sub check_rest
{
	my ($case, $rows, $error, $database) = @_;
	is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), $rows, "$case: ordinary tables have their rows");
	foreach my $call ('gamestate.get_state(id(1))', q{gamestate.apply_move(id(1), NULL, '1', '1')}, q{gamestate.create_game('gone')})
	{
		my ($rc, $out, $err) = $node->psql('postgres', "SELECT $call", extra_params => [ '-v', 'VERBOSITY=verbose' ]);
		like($err, $error, "$case: $call says what is missing");
	}
	is($node->safe_psql('postgres', 'SELECT count(*) FROM gamestate.archive'), 1, "$case: the archive can be queried");
	is($node->safe_psql('postgres', 'VACUUM gamestate.journal_0, gamestate.journal_1, t'), '', "$case: the tables can be vacuumed");
	$node->command_ok([ 'pg_dump', '-f', $node->basedir . "/$database.dump", $node->connstr('postgres') ], "$case: pg_dump works");
	is($node->safe_psql('postgres', "DROP DATABASE $database"), '', "$case: DROP DATABASE works");
	return;
}

my $games = $node->safe_psql('postgres', 'SELECT all_games()');
play(1);
isnt($node->safe_psql('postgres', 'SELECT all_games()'), $games, 'games were played');
$games = $node->safe_psql('postgres', 'SELECT all_games()');

# Removed from shared_preload_libraries
$node->stop('immediate');
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
check_rest('not preloaded', 1, qr/ERROR:  55000:.*HINT: .*shared_preload_libraries = 'gamestate'/s, 'other');
$node->stop('immediate');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'gamestate'");
$node->start;
is($node->safe_psql('postgres', 'SELECT all_games()'), $games, 'preloaded again: the games are there');
play(3);
$games = $node->safe_psql('postgres', 'SELECT all_games()');

# Not installed
$node->stop('immediate');
rename($library, "$library.gone") or die "rename: $!";
is($node->start(fail_ok => 1), 0, 'a server that is to preload a library which is not there does not start');
like(slurp_file($node->logfile), qr/FATAL:  could not access file "gamestate"/, 'and says so: PostgreSQL\'s own error');
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
check_rest('not installed', 2, qr/ERROR:  58P01: could not access file "\$libdir\/gamestate"/, 'third');
$node->stop('immediate');
rename("$library.gone", $library) or die "rename: $!";
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'gamestate'");
$node->start;
is($node->safe_psql('postgres', 'SELECT all_games()'), $games, 'installed again: the games are there');
play(5);
is($node->safe_psql('postgres', 'SELECT count(*), min(version), max(version) FROM gamestate.list_live_games()'), '49|7|7', 'and play goes on');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal|damaged row|cannot be loaded/, 'nobody crashed and nothing was damaged');
done_testing();
