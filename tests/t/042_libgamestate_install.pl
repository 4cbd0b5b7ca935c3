# libgamestate as it is installed: what it exports, that C and C++ programs can be
# compiled with what pkg-config says, that the README's program does what it
# should, exactly as printed, and that the examples run.
#
# A layer of its own because it needs a compiler, the installed files and a server.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $client = $ENV{GS_CLIENT};
my $installed = "$client/installed";
my $cc = (grep { system("command -v $_ >/dev/null 2>&1") == 0 } qw(cc gcc clang))[0];

plan skip_all => 'no C compiler or no pkg-config'
	if !$cc || system('command -v pkg-config >/dev/null 2>&1') != 0;

$ENV{PKG_CONFIG_PATH} = "$installed/lib/pkgconfig";
$ENV{LD_LIBRARY_PATH} = "$installed/lib";
my $dir = PostgreSQL::Test::Utils::tempdir;

# ---- what is exported is what the headers declare ----
my %declared;
foreach my $header (glob "$installed/include/gamestate*.h")
{
	my $text = slurp_file($header);
	$text =~ s{/\*.*?\*/}{}sg;
	$declared{$1} = 1 while $text =~ /^extern\s[^;{]*?\b(gamestate_\w+)\s*\(/mg;
}
cmp_ok(scalar(keys %declared), '>', 100, 'functions are declared');
my %exported = map { $_ => 1 } qx(nm -D --defined-only $installed/lib/libgamestate.so) =~ /\bT (\w+)/g;
is(join(' ', grep { !$exported{$_} } sort keys %declared), '', 'all of them are exported');
is(join(' ', grep { !$declared{$_} } sort keys %exported), '', 'and nothing else');
like(qx(objdump -p $installed/lib/libgamestate.so), qr/SONAME\s+libgamestate\.so\.0$/m, 'the soname');
ok(-e "$installed/share/man/man3/libgamestate.3", 'the manual page');

# ---- compile with what pkg-config says ----
my $server = PostgreSQL::Test::Cluster->new('main');
$server->init;
$server->append_conf('postgresql.conf', "shared_preload_libraries = 'gamestate'\nlog_statement = none");
$server->start;
$server->safe_psql('postgres', 'CREATE EXTENSION gamestate');
$ENV{PGHOST} = $server->host;
$ENV{PGPORT} = $server->port;
$ENV{PGDATABASE} = 'postgres';

# compile: source, program, command line, in the directory of both
sub compiles
{
	my ($command, $name) = @_;
	my $said = qx(cd '$dir' && $command 2>&1);
	return is($? . $said, '0', $name);
}

# $text =~ code between the fences of this language that comes first after $title
my ($section) = slurp_file("$client/README.md") =~ /^## From C: libgamestate\n(.*?)^## /ms;
my ($program) = $section =~ /^```c\n(.*?)^```/ms;
my ($command) = $section =~ /^```sh\n(cc .*?)\n```/ms;
cmp_ok($program =~ tr/\n//, '<', 60, 'the README\'s program has less than 60 lines');
append_to_file("$dir/fools_mate.c", $program);
$command =~ s/^cc /$cc /;
compiles($command, 'it compiles as the README says');
is(qx($dir/fools_mate 2>&1), qq(version 5: {"last": {"san":"Qh4#"}}\n), 'it plays');
$server->poll_query_until('postgres', 'SELECT count(*) = 1 FROM gamestate.archive')
  or die 'the game is not archived';
is($server->safe_psql('postgres', q{SELECT game_type, status, version, result->>'winner' FROM gamestate.games}),
	'chess|finished|6|bob', 'and finishes the game');
$program =~ s/"", NULL/"port=1", NULL/;
append_to_file("$dir/nobody.c", $program);
compiles("$cc -Wall -Wextra -Werror -std=c99 nobody.c -o nobody \$(pkg-config --cflags --libs gamestate)",
	'without a warning');
like(qx($dir/nobody 2>&1), qr/connection to server .* failed/, 'without a server it says so');

foreach my $example (qw(loop_poll loop_epoll loop_uv))
{
	my $packages = 'gamestate' . ($example =~ /uv/ ? ' libuv' : '');
	SKIP:
	{
		skip "$packages: not installed", 2 if system("pkg-config --exists $packages") != 0;
		compiles("$cc -Wall -Wextra -Werror -D_GNU_SOURCE $client/examples/$example.c -o $example \$(pkg-config --cflags --libs $packages)",
			"$example compiles");
		like(qx($dir/$example 2>&1), qr/^[12]000 moves$/, 'and plays');
	}
}

# ---- C++, and the static library ----
append_to_file("$dir/plus.cc", q{
#include <gamestate_pool.h>
#include <gamestate_subscription.h>
int main()
{
	gamestate_options options = GAMESTATE_OPTIONS_INIT;
	gamestate_conn *conn = gamestate_connect("", &options);
	gamestate_new_game game = gamestate_new_game();
	game.game_type = "plus";
	gamestate_status status = gamestate_create_game(conn, &game, nullptr);
	gamestate_conn_close(conn);
	return status;
}
});
SKIP:
{
	my $cxx = (grep { system("command -v $_ >/dev/null 2>&1") == 0 } qw(c++ g++ clang++))[0];
	skip 'no C++ compiler', 2 unless $cxx;
	compiles("$cxx -Wall -Wextra -Werror -std=c++11 plus.cc -o plus \$(pkg-config --cflags --libs gamestate)", 'C++');
	is(system("$dir/plus"), 0, 'runs');
}
compiles("$cc $client/examples/loop_poll.c -o static \$(pkg-config --cflags gamestate) $installed/lib/libgamestate.a -lpq -lpthread",
	'a program with the static library');
delete $ENV{LD_LIBRARY_PATH};
is(qx($dir/static 2>&1), "1000 moves\n", 'plays');

$server->stop;
done_testing();
