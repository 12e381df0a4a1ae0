# A bulk statement may take 300 bytes per document and what work_mem allows.
#
# The peak of a backend's memory counts the shared buffers it has touched, so
# there are few of them here, and what the same statement takes on a table that
# is not attached is subtracted.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'needs /proc/self/status' unless -r '/proc/self/status';

my $rows = 60_000;
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_buffers = 2MB
work_mem = 4MB
autovacuum = off
max_prepared_transactions = 1
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION loyalty;
	SELECT loyalty.create_program('club', time_zone => 'UTC');
	SELECT loyalty.set_rule('club', 'base', points => 1, per_amount => 300);
	CREATE TABLE plain (id integer PRIMARY KEY, customer text, day date, amount numeric);
	CREATE TABLE invoice (LIKE plain INCLUDING ALL);
	CREATE TABLE ticket (LIKE plain INCLUDING ALL);
	SELECT loyalty.attach('invoice', 'club', 'invoice', key => 'r.id', customer => 'r.customer', doc_date => 'r.day', amount => 'r.amount');
	SELECT loyalty.attach('ticket', 'club', 'ticket', key => 'r.id', customer => 'r.customer', doc_date => 'r.day', amount => 'r.amount', evaluate => 'statement');
	CREATE FUNCTION peak() RETURNS bigint LANGUAGE sql VOLATILE AS
		$$ SELECT (regexp_match(pg_read_file('/proc/self/status'), 'VmHWM:\s+(\d+) kB'))[1]::bigint * 1024 $$;
});

# growth of the peak by a statement, in a session of its own; a small statement
# first brings in code and caches
sub growth
{
	my ($small, $big) = @_;

	return $node->safe_psql('postgres', qq{
		$small;
		SELECT peak() AS before \\gset
		$big;
		SELECT peak() - :before;
	});
}

# what a statement takes on an attached table and not on another; it has places
# for the table, and the first and last row
sub compare
{
	my ($name, $table, $statement) = @_;
	my $plain = growth(sprintf($statement, 'plain', 1, 100), sprintf($statement, 'plain', 101, $rows));
	my $ours = growth(sprintf($statement, $table, 1, 100), sprintf($statement, $table, 101, $rows));
	my $bytes = ($ours - $plain - 4 * 1024 * 1024) / $rows;

	note(sprintf('%s: plain %.1f MB, attached %.1f MB, %.0f bytes per row, %.0f beyond work_mem',
		$name, $plain / 1048576, $ours / 1048576, ($ours - $plain) / $rows, $bytes));
	cmp_ok($bytes, '<=', 300, "$name: memory of a bulk statement");
	return;
}

sub per_row
{
	my ($name, $table, $customer) = @_;

	compare($name, $table,
		"INSERT INTO %s SELECT n, $customer, date '2024-01-01' + n %% 300, 10 + n %% 5000 FROM generate_series(%d, %d) n");
	$node->safe_psql('postgres', "TRUNCATE plain");
	return;
}

per_row('many members, at commit', 'invoice', q{'C' || n % 20000});
per_row('many members, at the end of the statement', 'ticket', q{'T' || n % 20000});
$node->safe_psql('postgres', 'CREATE TABLE again (LIKE plain INCLUDING ALL)');
$node->safe_psql('postgres', q{SELECT loyalty.attach('again', 'club', 'again', key => 'r.id', customer => 'r.customer', doc_date => 'r.day', amount => 'r.amount')});
per_row('one member', 'again', q{'HOT'});

is($node->safe_psql('postgres', 'SELECT count(*) FROM loyalty.check()'), '0', 'check() finds nothing');
is($node->safe_psql('postgres', 'SELECT count(*) FROM loyalty.pending'), '0', 'nothing waits');
is($node->safe_psql('postgres', 'SELECT count(*) FROM loyalty.document'), 3 * $rows, 'all documents are booked');

# of documents that are booked already
$node->safe_psql('postgres', 'INSERT INTO plain SELECT * FROM invoice');
compare('amounts changed', 'invoice', 'UPDATE %s SET amount = amount + 300 WHERE id BETWEEN %d AND %d');
compare('customers changed', 'invoice', q{UPDATE %s SET customer = customer || 'x' WHERE id BETWEEN %d AND %d});
compare('deleted', 'invoice', 'DELETE FROM %s WHERE id BETWEEN %d AND %d');
is($node->safe_psql('postgres', 'SELECT count(*) FROM loyalty.check()'), '0', 'check() finds nothing then either');

# nothing may pile up from transaction to transaction either
my $leak = $node->safe_psql('postgres', q{
	CREATE PROCEDURE sell(first int, last int, members int DEFAULT 100) LANGUAGE plpgsql AS $$
	BEGIN
		FOR n IN first .. last LOOP
			INSERT INTO invoice VALUES (n, 'C' || n % members, '2024-12-01', 600);
			COMMIT;
		END LOOP;
	END $$;
	CALL sell(1000001, 1001000);
	SELECT peak() AS before, pg_relation_size('loyalty.member') AS pages \gset
	CALL sell(1001001, 1011000);
	SELECT peak() - :before, pg_relation_size('loyalty.member') - :pages;
});
my ($memory, $growth) = split /\|/, $leak;
cmp_ok($memory, '<=', 2 * 1024 * 1024, '10,000 transactions of one session leave no memory behind');

# members are found without an index scan, which would make room on their pages
cmp_ok($growth, '<=', 2 * 8192, 'nor dead versions of their members');

# nor do ways to dead versions, once nobody needs them: an old transaction keeps
# those of one member, and after its end he is found by a few pages again
my $visits = $node->safe_psql('postgres', q{
	CREATE FUNCTION pages() RETURNS bigint LANGUAGE sql VOLATILE AS $$
		SELECT heap_blks_hit + heap_blks_read FROM pg_statio_all_tables WHERE relid = 'loyalty.member'::regclass $$;
	BEGIN;
	CREATE TABLE held ();
	PREPARE TRANSACTION 'old';
	CALL sell(1011001, 1012000, 1);
	COMMIT PREPARED 'old';
	CALL sell(1012001, 1012100, 1);
	SELECT FROM pg_stat_force_next_flush();
	SELECT pages() AS before \gset
	CALL sell(1012101, 1012200, 1);
	SELECT FROM pg_stat_force_next_flush();
	SELECT pages() - :before;
});
$visits =~ s/\s+//g;				# a row without columns is an empty line
cmp_ok($visits, '<=', 500, '100 sales to a member do not visit his dead versions');

# nor from one change of the configuration, or ANALYZE of an attached table, to the next
my $changes = $node->safe_psql('postgres', q{
	SET client_min_messages = warning;
	CREATE TABLE sale (id integer PRIMARY KEY, customer text, day date);
	CREATE TABLE sale_line (id integer PRIMARY KEY, sale integer, product text, amount numeric);
	SELECT loyalty.attach('sale', 'club', 'sale', key => 'r.id', customer => 'r.customer', doc_date => 'r.day', lines => 'sale_line',
		line_parent => 'l.sale', line_key => 'l.id', line_product => 'l.product', line_amount => 'l.amount') \g /dev/null
	CREATE PROCEDURE change(first int, last int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR n IN first .. last LOOP
			INSERT INTO sale VALUES (n, 'C1', '2024-12-01');
			INSERT INTO sale_line VALUES (n, n, 'p', 600);
			COMMIT;
			PERFORM loyalty.set_redemption('club', 0.01 * (1 + n % 5));
			COMMIT;
		END LOOP;
	END $$;
	CALL change(1, 50);
	SELECT sum(used_bytes) AS before FROM pg_backend_memory_contexts \gset
	CALL change(51, 150);
	SELECT sum(used_bytes) - :before FROM pg_backend_memory_contexts;
});
cmp_ok($changes, '<=', 500_000, 'nor do 100 changes of the configuration');

# nor from one document to the next that cannot be read
my $failures = $node->safe_psql('postgres', q{
	SET client_min_messages = error;
	ALTER TABLE sale DROP COLUMN customer;
	CREATE PROCEDURE fail(first int, last int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR n IN first .. last LOOP
			INSERT INTO sale VALUES (n, '2024-12-01');
			COMMIT;
		END LOOP;
	END $$;
	CALL fail(1001, 1050);
	SELECT sum(used_bytes) AS before FROM pg_backend_memory_contexts \gset
	CALL fail(1051, 1350);
	SELECT sum(used_bytes) - :before FROM pg_backend_memory_contexts;
});
cmp_ok($failures, '<=', 500_000, 'nor do 300 documents that are parked');

$node->stop;
done_testing();
