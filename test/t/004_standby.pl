# A physical standby: everything can be read, upkeep refuses politely, and after
# a promotion earning goes on.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use LoyaltyShop;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION loyalty');
create_shop($primary, 'postgres');
attach_shop($primary, 'postgres');

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# a session of the standby that has looked before anything was there
my $session = $standby->background_psql('postgres');
is($session->query_safe(q{SELECT loyalty.balance('club', 'C1')}), '0.00', 'nobody has points yet');

$primary->safe_psql('postgres', q{
	BEGIN;
	INSERT INTO invoice (id, customer, day) VALUES (1, 'C1', '2024-03-01'), (2, 'C1', '2024-03-02'), (3, 'C2', '2024-03-03');
	INSERT INTO invoice_line (invoice, product, amount) VALUES (1, 'P1', 1500), (2, 'P1', 600), (3, 'P2', 60);
	INSERT INTO invoice (id, customer, day, refund_of) VALUES (4, 'C1', '2024-03-05', 1);
	INSERT INTO invoice_line (invoice, product, amount) VALUES (4, 'P1', -300);
	COMMIT;
	SELECT setval(pg_get_serial_sequence('invoice', 'id'), 10);
});
$primary->wait_for_catchup($standby);

is($session->query_safe(q{SELECT loyalty.balance('club', 'C1')}), '70.00', 'balance() on the standby follows the primary');
$session->quit;

# the same answers on both
foreach my $sql (
	q{SELECT loyalty.balance('club', 'C1', '2024-03-01 12:00:00+00')},
	q{SELECT loyalty.balance('club', 'nobody')},
	q{SELECT loyalty.member_id('club', 'C1')},
	q{SELECT * FROM loyalty.explain('invoice', '2')},
	q{SELECT * FROM loyalty.explain('invoice', '4')},
	q{SELECT * FROM loyalty.quote_earn('club', 'C1', 300)},
	q{SELECT * FROM loyalty.member_balance ORDER BY customer},
	q{SELECT * FROM loyalty.document_line ORDER BY 1, 2, 3},
	q{SELECT * FROM loyalty.tier_ladder ORDER BY 1, 2},
	q{SELECT * FROM loyalty.parked},
	q{SELECT * FROM loyalty.statement('club', 'C1', '2024-01-01', '2024-12-31')},
	q{SELECT * FROM loyalty.status() ORDER BY source},
	q{SELECT * FROM loyalty.check()})
{
	my $expected = $primary->safe_psql('postgres', $sql);
	my ($rc, $out, $err) = $standby->psql('postgres', $sql);
	is($rc, 0, "$sql: can be read") or diag($err);
	is($out, $expected, "$sql: same answer");
}
is($primary->safe_psql('postgres', q{SELECT count(*) > 0 FROM loyalty.member_balance}), 't', 'and there was something to answer');

# what writes is refused with a message that a person understands
foreach my $sql (
	'CALL loyalty.upkeep()', 'SELECT loyalty.retry_parked()', q{CALL loyalty.backfill('invoice')},
	q{SELECT loyalty.enrol('club', 'new')}, q{SELECT loyalty.reevaluate('invoice', '1')},
	q{SELECT * FROM loyalty.verify('invoice')}, q{SELECT loyalty.detach('invoice')}, q{SELECT loyalty.create_program('p', time_zone => 'UTC')})
{
	my ($rc, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\n$sql");
	isnt($rc, 0, "$sql: refused");
	like($err, qr/ERROR:  25006: .*(standby|recovery|read-only)/, "$sql: politely");
}
is($standby->safe_psql('postgres', 'SELECT 1'), '1', 'the standby is still there');

# promoted, it goes on where the primary was
$primary->stop;
$standby->promote;
$standby->safe_psql('postgres', q{
	BEGIN;
	INSERT INTO invoice (customer, day) VALUES ('C1', '2024-04-01');
	INSERT INTO invoice_line (invoice, product, amount) VALUES (11, 'P1', 300);
	COMMIT;
	CALL loyalty.upkeep();
});
# the return has cost silver, this sale crosses into it again: 1 per 30, times 1.5
is($standby->safe_psql('postgres', q{SELECT loyalty.balance('club', 'C1')}), '85.00', 'earning goes on after a promotion');
books_ok($standby, 'postgres', 'promoted');

$standby->stop;
done_testing();
