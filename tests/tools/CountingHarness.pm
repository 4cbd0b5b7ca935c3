# A TAP::Harness that also appends "passed failed" of its run to the file
# $ENV{GS_COUNTS}, for the closing line of `make test`.  Used with prove and
# pg_prove by their option --harness.
#
# A file that fails as a whole (it died, ran too few tests, exited non-zero)
# counts as one failure if none of its tests did.

package CountingHarness;

use strict;
use warnings;
use parent 'TAP::Harness';

sub summary
{
	my ($self, $aggregate) = @_;

	my $passed = $aggregate->passed;
	my $failed = $aggregate->failed;
	foreach my $parser ($aggregate->parsers)
	{
		$failed++ if $parser->has_problems && !$parser->failed;
	}

	if (my $file = $ENV{GS_COUNTS})
	{
		open my $fh, '>>', $file or die "cannot write $file: $!\n";
		print $fh "$passed $failed\n";
		close $fh or die "cannot write $file: $!\n";
	}
	return $self->SUPER::summary($aggregate);
}

1;
