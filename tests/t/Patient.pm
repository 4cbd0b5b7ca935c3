# Polls of PostgreSQL::Test::Cluster that last through a crash of the server.
#
# While a server begins anew, psql ends before it has read the query from its standard
# input, and the poll, which should just try again, dies of the broken pipe.
package Patient;

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep);

my $poll = \&PostgreSQL::Test::Cluster::poll_query_until;

sub patient_poll
{
	my @args = @_;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $result;
		return $result if eval { $result = $poll->(@args); 1 };
		die $@ if $@ !~ /Broken pipe/;
		sleep(0.1);
	}
	die $@;
}

{
	no warnings 'redefine';
	*PostgreSQL::Test::Cluster::poll_query_until = \&patient_poll;
}

1;
