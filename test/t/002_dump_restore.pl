# A database with attached tables is dumped and restored: the books are equal,
# earning goes on without counting anything twice, whoever owns what.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use LoyaltyShop;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 1');
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir();

# erp owns its database and everything in it, and is nobody special
$node->safe_psql('postgres', q{
	CREATE ROLE erp LOGIN;
	CREATE ROLE cashier LOGIN;
});

# what happens before the dump: sales over two tiers, a return, an edit, points
# that are gone and owed, a customer who changed, a document that is parked
my $life = q{
	INSERT INTO invoice (id, customer, day) SELECT n, 'C' || 1 + n % 5, date '2024-01-01' + n FROM generate_series(1, 50) n;
	INSERT INTO invoice_line (id, invoice, product, amount) SELECT n, 1 + n % 50, 'P' || n % 7, 17 * n FROM generate_series(1, 150) n;
	INSERT INTO invoice (id, customer, day, refund_of) VALUES (51, 'C3', '2024-04-01', 12);
	INSERT INTO invoice_line (id, invoice, product, amount) VALUES (151, 51, 'P1', -100);
	UPDATE invoice_line SET amount = amount + 90 WHERE id IN (3, 4);
	UPDATE invoice SET customer = 'C6' WHERE id = 20;
	UPDATE invoice SET state = 'cancelled' WHERE id = 21;
	INSERT INTO "tabPOS Ticket" VALUES ('ACME, Inc.', 1, 'C1', '2024-05-01 10:00:00+00', 3000), ('ACME', 2, 'C7', '2024-05-01 11:00:00+00', -450);
	SELECT setval(pg_get_serial_sequence('invoice', 'id'), 1000), setval(pg_get_serial_sequence('invoice_line', 'id'), 1000);
};

# events in every state, one beyond its limit, and both sides of a referral
my $events = q{
	SELECT loyalty.set_rule('club', 'review', points => 20, kind => 'bonus', event => 'review', limit_count => 1, limit_period => 'month');
	SELECT loyalty.set_rule('club', 'share', points => 10, kind => 'bonus', event => 'share', needs_approval => true);
	SELECT loyalty.set_rule('club', 'friend', points => 30, kind => 'bonus', event => 'referral');
	SELECT loyalty.set_rule('club', 'referrer', points => 40, kind => 'bonus', event => 'referrer');
	SELECT loyalty.record_event('club', 'C' || 1 + n % 3, 'review', 'P' || n, '2024-03-01 10:00+01'::timestamptz + n * interval '9 days') FROM generate_series(1, 12) n;
	SELECT loyalty.record_event('club', 'C1', 'share', 'post ' || n, '2024-04-01 10:00+02') FROM generate_series(1, 3) n;
	SELECT loyalty.approve_event('club', 'C1', 'share:post 1'), loyalty.reject_event('club', 'C1', 'share:post 2');
	SELECT loyalty.revoke_event('club', 'C2', 'review:P1');
	SELECT loyalty.record_event('club', 'C1', 'referral', 'C2', '2024-01-01 10:00+01'), loyalty.record_event('club', 'C15', 'referral', 'C2', '2024-04-01 10:00+02');
};
my $more_events = q{
	SELECT loyalty.record_event('club', 'C1', 'review', 'P3', '2024-03-28 10:00+01');
	SELECT loyalty.record_event('club', 'C1', 'review', 'P99', '2024-04-01 10:00+02', '{"stars": 5}');
	SELECT loyalty.approve_event('club', 'C1', 'share:post 3');
	SELECT loyalty.revoke_event('club', 'C1', 'referral:C2');
};

# a document whose mapping fails: it waits, in the dump as well
my $parked = q{
	ALTER TABLE "tabPOS Ticket" RENAME "Total" TO "Sum";
	SET client_min_messages = error;
	INSERT INTO "tabPOS Ticket" VALUES ('ACME', 3, 'C8', '2024-05-02 11:00:00+00', 900);
	RESET client_min_messages;
	ALTER TABLE "tabPOS Ticket" RENAME "Sum" TO "Total";
};

# what happens after it: new and old members, documents from before the dump
# edited, returned and deleted, a new rule and a new programme
my $more = q{
	INSERT INTO invoice (customer, day) VALUES ('C1', '2024-06-01'), ('C9', '2024-06-01');
	INSERT INTO invoice_line (invoice, product, amount) VALUES (1001, 'P1', 777), (1002, 'P1', 333);
	UPDATE invoice_line SET amount = amount * 2 WHERE id = 10;
	INSERT INTO invoice (customer, day, refund_of) VALUES ('C3', '2024-06-02', 12);
	INSERT INTO invoice_line (invoice, product, amount) VALUES (1003, 'P1', -200);
	DELETE FROM invoice WHERE id = 30;
	INSERT INTO "tabPOS Ticket" VALUES ('ACME', 10, 'C7', '2024-06-01 11:00:00+00', 6000), ('ACME', 11, 'C15', '2024-06-02 11:00:00+00', 60);
};
my $configure = q{
	SELECT loyalty.set_rule('club', 'base', points => 2, per_amount => 30);
	SELECT loyalty.set_rule('club', 'second', points => 1, per_amount => 100);
	SELECT loyalty.set_tier('club', 'Platinum', 20000, 3);
	SELECT loyalty.create_program('other', time_zone => 'UTC');
};
my $last = q{
	INSERT INTO invoice (customer, day) VALUES ('C1', '2024-07-01');
	INSERT INTO invoice_line (invoice, product, amount) VALUES (1004, 'P1', 500);
};

# config rows are compared but for when they were written
sub same_books
{
	my ($one, $other, $name) = @_;

	foreach ($one, $other)
	{
		s/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d/<when>/g;
	}
	# tell the difference and not two whole ledgers
	my %left = map { $_ => 1 } split(/\n/, $one);
	my %right = map { $_ => 1 } split(/\n/, $other);
	my @diff = ((map { "- $_" } grep { !$right{$_} } sort keys %left), (map { "+ $_" } grep { !$left{$_} } sort keys %right));
	ok($one eq $other && $one ne '', $name) or diag(join("\n", @diff[ 0 .. ($#diff < 10 ? $#diff : 10) ]));
	return;
}

sub dump_and_restore
{
	my ($name, $source, $target, $owner, $dump_user, $restore_user, @format) = @_;
	my $file = "$dir/$target";
	my @dump_as = $dump_user ? ('-U', $dump_user) : ();
	my @restore_as = $restore_user ? ('-U', $restore_user) : ();
	my $plain = grep { $_ eq '-Fp' } @format;

	command_ok([ 'pg_dump', @format, '-f', $file, @dump_as, '-d', $node->connstr($source) ], "$name: pg_dump");
	$node->safe_psql('postgres', "CREATE DATABASE $target" . ($owner ? " OWNER $owner" : ''));
	if ($plain)
	{
		command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', @restore_as, '-d', $node->connstr($target), '-f', $file ],
			"$name: psql");
	}
	else
	{
		my @jobs = (grep { $_ eq '-Fd' } @format) ? ('-j', '4') : ();
		# who is no superuser can only own what he restores
		my @owner = grep { $_ eq '--no-owner' } @format;
		command_ok([ 'pg_restore', '--exit-on-error', @owner, @jobs, @restore_as, '-d', $node->connstr($target), $file ],
			"$name: pg_restore");
	}
	same_books(ledger($node, $source), ledger($node, $target), "$name: the books are equal");
	is( $node->safe_psql($target, q{SELECT source FROM loyalty.status() WHERE NOT (attached AND capturing AND mapping_ok)}),
		'', "$name: every source captures");
	is( $node->safe_psql($target, q{SELECT count(*) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
			WHERE p.pronamespace = 'loyalty'::regnamespace AND NOT t.tgisinternal}),
		$node->safe_psql($source, q{SELECT count(*) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
			WHERE p.pronamespace = 'loyalty'::regnamespace AND NOT t.tgisinternal}),
		"$name: all triggers are there");
	is( $node->safe_psql($target, q{SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
			WHERE c.relnamespace = 'loyalty'::regnamespace AND NOT t.tgisinternal AND t.tgenabled <> 'A'}),
		'0', "$name: the guards hold in replica mode too");
	# once rules have changed, verify() has something to say
	my $changed = $node->safe_psql($source, 'SELECT count(*) FROM loyalty.rule WHERE version > 1');
	books_ok($node, $target, $name, pending => 1, sources => $changed ? [] : ['invoice'], foreign => 1);
	return;
}

# earning goes on alike in the original and in the copy
sub goes_on
{
	my ($name, $source, $target, $sales_user, $admin) = @_;

	foreach my $db ($source, $target)
	{
		sql_as($node, $db, $admin, 'SELECT loyalty.retry_parked()');
		sql_as($node, $db, $sales_user, $more);
		sql_as($node, $db, $admin, $more_events);
	}
	same_books(ledger($node, $source), ledger($node, $target), "$name: earning goes on alike");
	books_ok($node, $target, "$name, later");

	# verify() would now tell of the new rule, so only check() is asked
	foreach my $db ($source, $target)
	{
		sql_as($node, $db, $admin, $configure);
		sql_as($node, $db, $sales_user, $last);
	}
	same_books(ledger($node, $source), ledger($node, $target), "$name: new rules go on alike");
	books_ok($node, $target, "$name, new rules", sources => []);
	return;
}

# A superuser owns everything.
$node->safe_psql('postgres', 'CREATE DATABASE super_src');
$node->safe_psql('super_src', 'CREATE EXTENSION loyalty; SELECT loyalty.create_roles()');
create_shop($node, 'super_src');
attach_shop($node, 'super_src');
$node->safe_psql('super_src', $life);
$node->safe_psql('super_src', $events);
$node->safe_psql('super_src', $parked);
books_ok($node, 'super_src', 'before', pending => 1, sources => ['invoice'], foreign => 1);
is($node->safe_psql('super_src', 'SELECT doc_key, reason FROM loyalty.pending'),
	'(ACME,3)|parked', 'before: one document is parked');
dump_and_restore('superuser, custom format', 'super_src', 'super_custom', undef, undef, undef, '-Fc');
dump_and_restore('superuser, plain', 'super_src', 'super_plain', undef, undef, undef, '-Fp');
dump_and_restore('superuser, parallel', 'super_src', 'super_dir', undef, undef, undef, '-Fd');
is( $node->safe_psql('super_custom', q{SELECT count(*) FROM information_schema.routine_privileges
		WHERE routine_schema = 'loyalty' AND grantee = 'PUBLIC'}),
	'0', 'superuser: nothing is opened to PUBLIC by a restore');
is( $node->safe_psql('super_custom', q{SELECT grantee, routine_name FROM information_schema.routine_privileges
		WHERE routine_schema = 'loyalty' ORDER BY 1, 2}),
	$node->safe_psql('super_src', q{SELECT grantee, routine_name FROM information_schema.routine_privileges
		WHERE routine_schema = 'loyalty' ORDER BY 1, 2}),
	'superuser: the roles may do what they could');
goes_on('superuser', 'super_src', 'super_custom');
# a copy of the copy, after all that
dump_and_restore('superuser, again', 'super_custom', 'super_again', undef, undef, undef, '-Fc');

# The ERP's own role owns the database and has created the extension.
$node->safe_psql('postgres', 'CREATE DATABASE erp_src OWNER erp');
sql_as($node, 'erp_src', 'erp', 'CREATE EXTENSION loyalty');
create_shop($node, 'erp_src', 'erp');
attach_shop($node, 'erp_src', 'erp');
sql_as($node, 'erp_src', 'erp', $life);
sql_as($node, 'erp_src', 'erp', $events);
sql_as($node, 'erp_src', 'erp', $parked);
dump_and_restore('erp', 'erp_src', 'erp_dst', 'erp', 'erp', 'erp', '-Fc');
dump_and_restore('erp, plain', 'erp_src', 'erp_plain', 'erp', 'erp', 'erp', '-Fp');
goes_on('erp', 'erp_src', 'erp_dst', 'erp', 'erp');
dump_and_restore('erp, by a superuser', 'erp_src', 'erp_super', 'erp', undef, undef, '-Fc');

# The extension belongs to a superuser, the tables to the ERP.
$node->safe_psql('postgres', 'CREATE DATABASE mixed_src');
$node->safe_psql('mixed_src', 'GRANT CREATE ON SCHEMA public TO erp; CREATE EXTENSION loyalty');
create_shop($node, 'mixed_src', 'erp');
attach_shop($node, 'mixed_src');
sql_as($node, 'mixed_src', 'erp', $life);
$node->safe_psql('mixed_src', $events);
sql_as($node, 'mixed_src', 'erp', $parked);
dump_and_restore('tables of erp', 'mixed_src', 'mixed_dst', undef, 'erp', undef, '-Fc');
goes_on('tables of erp', 'mixed_src', 'mixed_dst', 'erp');

# ... and the ERP's role moves into a database of its own, without any superuser
dump_and_restore('erp, from a superuser\'s', 'mixed_dst', 'mixed_own', 'erp', 'erp', 'erp', '-Fc', '--no-owner');
is( $node->safe_psql('mixed_own', q{SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace IN ('loyalty'::regnamespace, 'public'::regnamespace)}),
	'erp', 'erp, from a superuser\'s: all of it is his');
sql_as($node, 'mixed_own', 'erp', q{INSERT INTO invoice (customer, day) VALUES ('C1', '2024-08-01');
	INSERT INTO invoice_line (invoice, product, amount) SELECT max(id), 'P1', 500 FROM invoice});
books_ok($node, 'mixed_own', 'erp, from a superuser\'s, later', sources => []);

# DROP EXTENSION takes the books and leaves the ERP alone, in new sessions, in
# a session that has just earned, and even in a transaction that has.
{
	my $session = $node->background_psql('super_plain');
	$session->query_safe(q{INSERT INTO "tabPOS Ticket" VALUES ('DROP', 1, 'C1', now(), 100)});
	# the triggers belong to the extension, after a restore as well: no CASCADE
	$node->safe_psql('super_plain', 'DROP EXTENSION loyalty');
	$session->query_safe(q{INSERT INTO "tabPOS Ticket" VALUES ('DROP', 2, 'C1', now(), 100)});
	$session->query_safe(q{UPDATE invoice SET customer = 'C2' WHERE id = 1});
	$session->query_safe(q{DELETE FROM invoice WHERE id = 2});
	is($session->query_safe(q{SELECT count(*) FROM "tabPOS Ticket" WHERE "Company" = 'DROP'}), '2',
		'DROP EXTENSION: a session that was there goes on');
	$session->quit;
	is( $node->safe_psql('super_plain', q{SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
			WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal}),
		'0', 'DROP EXTENSION: no trigger is left');
	is( $node->safe_psql('super_plain', q{SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = n.oid)
			+ (SELECT count(*) FROM pg_proc WHERE pronamespace = n.oid) FROM pg_namespace n WHERE nspname = 'loyalty'}),
		'0', 'DROP EXTENSION: nothing is left in its schema');

	$node->safe_psql('super_dir', q{
		BEGIN;
		INSERT INTO "tabPOS Ticket" VALUES ('DROP', 1, 'C1', now(), 100);
		DROP EXTENSION loyalty;
		INSERT INTO "tabPOS Ticket" VALUES ('DROP', 2, 'C1', now(), 100);
		COMMIT;
		INSERT INTO "tabPOS Ticket" VALUES ('DROP', 3, 'C1', now(), 100);
	});
	is($node->safe_psql('super_dir', q{SELECT count(*) FROM "tabPOS Ticket" WHERE "Company" = 'DROP'}),
		'3', 'DROP EXTENSION in a transaction that has earned');
	$node->safe_psql('super_dir', q{CREATE EXTENSION loyalty});
	attach_shop($node, 'super_dir');
	$node->safe_psql('super_dir', q{
		BEGIN;
		INSERT INTO "tabPOS Ticket" VALUES ('DROP', 4, 'C1', now(), 100);
		DROP EXTENSION loyalty;
		PREPARE TRANSACTION 'drop';
		COMMIT PREPARED 'drop';
	});
	is($node->safe_psql('super_dir', q{SELECT count(*) FROM "tabPOS Ticket" WHERE "Company" = 'DROP'}),
		'4', 'DROP EXTENSION in a transaction that has earned and is prepared');

	# it can come back and starts from nothing; backfill books what is there
	$session = $node->background_psql('super_plain');
	$session->query_safe('CREATE EXTENSION loyalty');
	attach_shop($node, 'super_plain');
	$session->query_safe(q{INSERT INTO "tabPOS Ticket" VALUES ('DROP', 3, 'C1', now(), 100)});
	$session->query_safe(q{SET client_min_messages = warning});
	$session->query_safe(q{CALL loyalty.backfill('invoice')});
	$session->query_safe(q{CALL loyalty.backfill('pos')});
	$session->quit;
	books_ok($node, 'super_plain', 'extension created again');

	# the owner of the ERP's database can drop what it has created
	sql_as($node, 'erp_plain', 'erp', 'DROP EXTENSION loyalty');
	sql_as($node, 'erp_plain', 'erp', q{INSERT INTO "tabPOS Ticket" VALUES ('DROP', 1, 'C1', now(), 100)});
	pass('DROP EXTENSION by the ERP itself');
}

$node->stop;
done_testing();
