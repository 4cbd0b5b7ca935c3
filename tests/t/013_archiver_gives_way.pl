# The archiver leaves processors to those who wait for one: it says so when it has,
# archives every game all the same, and does not when that is switched off or memory
# is short.
#
# A layer of its own because it keeps all processors busy and reads the server log.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'the kernel does not say how long a process has waited for a processor'
  unless -r '/proc/self/schedstat';

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'gamestate'
gamestate.memory = 32MB
log_min_messages = debug1
log_statement = none
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION gamestate;
SELECT gamestate.finish_game(gamestate.create_game('made'))});

# Twice as many as there are processors, so that everybody has to wait.
my $processors = () = slurp_file('/proc/cpuinfo') =~ /^processor\s*:/mg;
my @busy;

sub start_busy
{
	for (1 .. 2 * ($processors || 1))
	{
		my $pid = fork() // die "no fork: $!";
		if ($pid == 0)
		{
			alarm(2 * $PostgreSQL::Test::Utils::timeout_default);
			while (1) { }
		}
		push @busy, $pid;
	}
}

sub stop_busy
{
	kill 'KILL', @busy;
	waitpid($_, 0) for @busy;
	@busy = ();
}

END
{
	my $exit = $?;
	stop_busy();
	$? = $exit;
}

# settings(NAME => VALUE, ...)
sub settings
{
	my %settings = @_;
	$node->safe_psql('postgres', join(';', map { "ALTER SYSTEM SET $_ = '$settings{$_}'" } sort keys %settings) =~ s/;/;\n/gr);
	$node->reload;
}

# ways_given(TYPE, N): archive so many games of the type at once; returns how often the log says that
# somebody was given way to
sub ways_given
{
	my ($type, $n) = @_;
	my $from = -s $node->logfile;
	my $held = $node->background_psql('postgres', on_error_stop => 1);

	$held->query_safe('BEGIN');
	$held->query_safe('LOCK TABLE gamestate.archive IN SHARE MODE');
	$node->safe_psql('postgres', qq{
		SELECT count(gamestate.finish_game(gamestate.create_game('$type', (SELECT json_agg(md5(random()::text)) FROM generate_series(1, 100)))))
		  FROM generate_series(1, $n)});
	$held->query_safe('COMMIT');
	$held->quit;
	$node->safe_psql('postgres', 'SELECT gamestate.resume_archiving()');
	ok($node->poll_query_until('postgres', "SELECT count(*) = $n FROM gamestate.archive_payload WHERE game_type = '$type'"),
		"$type: all games come to the archive");
	ok($node->poll_query_until('postgres', 'SELECT archive_queue = 0 AND archived_in_memory = 0 FROM gamestate.stat_memory'),
		"$type: and leave memory");
	is($node->safe_psql('postgres', "SELECT count(*), count(DISTINCT game_id), count(payload) FROM gamestate.archive
			JOIN gamestate.archive_payload p USING (game_id, game_type, ended_at) WHERE game_type = '$type'"),
		"$n|$n|$n", "$type: each of them once");
	return scalar(() = slurp_file($node->logfile, $from) =~ /others were given way to/g);
}

start_busy();

settings('gamestate.archiver_share' => 10);
cmp_ok(ways_given('gives way', 2000), '>', 0, 'a busy archiver gives way to who waits for a processor');

settings('gamestate.archiver_share' => 100);
is(ways_given('takes all', 2000), 0, 'but not when it may take a whole one');

settings('gamestate.archiver_share' => 10, 'gamestate.memory_pressure' => 10);
$node->safe_psql('postgres', "SELECT count(gamestate.create_game('large', to_json(repeat(md5(i::text), 4000)))) FROM generate_series(1, 40) i");
is(ways_given('urgent', 1000), 0, 'and not while memory is short');

stop_busy();
$node->stop;
done_testing();
