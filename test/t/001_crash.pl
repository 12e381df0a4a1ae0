# The server dies in the middle of traffic.  After the restart every committed
# document is booked, no other one is, and the books are whole.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run;
use LoyaltyShop;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 5');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION loyalty');
create_shop($node, 'postgres');
attach_shop($node, 'postgres');

# tills: sales, edits, returns, cancellations, customers that change
my $traffic = $PostgreSQL::Test::Utils::tmp_check . '/traffic.sql';
append_to_file($traffic, q{
\set c random(1, 20)
\set d random(1, 20)
\set amount random(100, 100000)
\set days random(0, 300)
\set what random(1, 10)
BEGIN;
INSERT INTO invoice (customer, day) VALUES ('C' || :c, date '2024-01-01' + :days) RETURNING id AS new \gset
INSERT INTO invoice_line (invoice, product, amount) VALUES (:new, 'P1', :amount / 100.0), (:new, 'P2', 10);
COMMIT;
\if :what <= 2
UPDATE invoice_line SET amount = amount + 50 WHERE invoice = :new AND product = 'P1';
\elif :what <= 4
BEGIN;
INSERT INTO invoice (customer, day, refund_of) VALUES ('C' || :c, date '2024-01-02' + :days, :new) RETURNING id AS back \gset
INSERT INTO invoice_line (invoice, product, amount) VALUES (:back, 'P2', -10);
COMMIT;
\elif :what = 5
UPDATE invoice SET state = 'cancelled' WHERE id = :new;
\elif :what = 6
UPDATE invoice SET customer = 'C' || :d WHERE id = :new;
\elif :what = 7
INSERT INTO "tabPOS Ticket" VALUES ('ACME', :new, 'C' || :d, timestamptz '2024-06-01 12:00:00+00' + :days * interval '1 hour', :amount / 50.0);
\endif
});

# every invoice's customer in a bulk load gets several documents
my $bulk = q{
	WITH i AS (
		INSERT INTO invoice (customer, day)
			SELECT 'C' || 1 + n % 20, date '2024-01-01' + n % 300 FROM generate_series(1, 2000) n RETURNING id
	)
	INSERT INTO invoice_line (invoice, product, amount) SELECT id, 'P3', 10 + id % 90 FROM i;
};

foreach my $sync ('on', 'off')
{
	foreach my $round (1 .. 2)
	{
		my $name = "synchronous_commit $sync, round $round";
		my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM invoice');
		my $sold = $node->safe_psql('postgres', q{SELECT count(*) FROM invoice_line WHERE product = 'P1'});
		local $ENV{PGOPTIONS} = "-c synchronous_commit=$sync";
		my ($out, $err) = ('', '');
		my $tills = IPC::Run::start(
			[
				'pgbench', '-n', '-c', '4', '-T', '60', '-f', $traffic,
				'-h', $node->host, '-p', $node->port, 'postgres'
			],
			'>', \$out, '2>', \$err);
		my ($bulk_out, $bulk_err) = ('', '');
		my $loader = IPC::Run::start(
			[ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), map { ('-c', $bulk) } 1 .. 50 ],
			'>', \$bulk_out, '2>', \$bulk_err);

		$node->poll_query_until('postgres',
			"SELECT count(*) > $before + 4000 FROM invoice WHERE (SELECT count(*) FROM invoice_line WHERE product = 'P1') > $sold + 100 * $round")
		  or BAIL_OUT("no traffic: $err $bulk_err");
		$node->stop('immediate');
		$tills->finish;
		$loader->finish;

		# they were stopped by the crash and by nothing else
		unlike($err, qr/ERROR/, "$name: no till has seen an error");
		unlike($bulk_err, qr/ERROR/, "$name: the loader has seen no error");

		$node->start;
		cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM invoice'),
			'>', $before, "$name: documents have survived");
		books_ok($node, 'postgres', $name);
	}
}

# The crash comes while a commit is booking: a member is busy, so that the load
# waits inside its COMMIT.
{
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM invoice');
	my $ledger = ledger($node, 'postgres');
	my $busy = $node->background_psql('postgres');
	$busy->query_safe(q{
		BEGIN;
		INSERT INTO "tabPOS Ticket" VALUES ('BUSY', 1, 'C7', '2024-07-01', 500);
		SELECT loyalty.settle();
	});
	my ($out, $err) = ('', '');
	my $loader = IPC::Run::start(
		[ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c', $bulk ],
		'>', \$out, '2>', \$err);
	ok( $node->poll_query_until(
			'postgres', q{SELECT count(*) = 1 FROM pg_stat_activity
				WHERE wait_event_type = 'Lock' AND query LIKE '%P3%' AND pid <> pg_backend_pid()}),
		'the load waits for a member in its commit');
	$node->stop('immediate');
	$loader->finish;
	eval { $busy->quit; };
	$node->start;
	is($node->safe_psql('postgres', 'SELECT count(*) FROM invoice'),
		$before, 'crash while booking: the load has gone');
	is(ledger($node, 'postgres'), $ledger, 'crash while booking: so has all that was booked for it');
	books_ok($node, 'postgres', 'crash while booking');

	# and it can be done again
	$node->safe_psql('postgres', $bulk);
	is($node->safe_psql('postgres', 'SELECT count(*) FROM invoice'),
		$before + 2000, 'the load is done again');
	books_ok($node, 'postgres', 'load after the crash');
}

# Two-phase commit: what a prepared transaction has booked survives with it.
{
	$node->safe_psql('postgres', q{
		BEGIN;
		INSERT INTO "tabPOS Ticket" VALUES ('2PC', 1, 'C1', '2024-07-01', 3000);
		PREPARE TRANSACTION 'keep';
		BEGIN;
		INSERT INTO "tabPOS Ticket" VALUES ('2PC', 2, 'C2', '2024-07-01', 3000);
		PREPARE TRANSACTION 'lose';
	});
	$node->stop('immediate');
	$node->start;
	$node->safe_psql('postgres', q{COMMIT PREPARED 'keep'});
	$node->safe_psql('postgres', q{ROLLBACK PREPARED 'lose'});
	is( $node->safe_psql('postgres', q{SELECT doc_key FROM loyalty.document WHERE doc_key LIKE '(2PC,%'}),
		'(2PC,1)',
		'a prepared transaction books when it is committed');
	books_ok($node, 'postgres', 'prepared transactions');
}

# A queue survives like any other table.
{
	$node->safe_psql('postgres', q{
		CREATE TABLE slow (id integer PRIMARY KEY, customer text, day date, amount numeric);
		SELECT loyalty.attach('slow', 'club', 'slow', key => 'r.id', customer => 'r.customer',
			doc_date => 'r.day', amount => 'r.amount', evaluate => 'queue');
	});
	$node->safe_psql('postgres', q{
		INSERT INTO slow SELECT n, 'C' || 1 + n % 20, '2024-08-01', 100 FROM generate_series(1, 100) n;
	});
	$node->stop('immediate');
	$node->start;
	is($node->safe_psql('postgres', 'SELECT count(*) FROM loyalty.pending'), '100', 'the queue is still there');
	$node->safe_psql('postgres', 'CALL loyalty.upkeep()');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM loyalty.verify('slow')}), '0', 'and is worked off');
	books_ok($node, 'postgres', 'queue', sources => [ 'invoice', 'pos', 'slow' ], foreign => 1);
}

$node->stop;
done_testing();
