# A BI tool's way in: psqlODBC, also through isql, and JDBC, as a role that may
# read the views only.  Every column of every view has an ordinary type, and the
# rows come back.  The ready-made queries of doc/queries.md run.
use strict;
use warnings;

use IPC::Run qw(run);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# not another one that PATH may have first
my $python = '/usr/bin/python3';
plan skip_all => 'pyodbc is not installed (python3-pyodbc)' unless system("$python -c 'import pyodbc' >/dev/null 2>&1") == 0;
plan skip_all => 'psqlODBC is not installed (odbc-postgresql)'
  unless grep { $_ eq 'PostgreSQL Unicode' } map { /^\[(.*)\]/ } split /\n/, -e '/etc/odbcinst.ini' ? slurp_file('/etc/odbcinst.ini') : '';

my $jdbc = '/usr/share/java/postgresql.jar';
plan skip_all => 'JDBC is not installed (libpostgresql-jdbc-java, default-jdk-headless)'
  unless -e $jdbc && system('java -version >/dev/null 2>&1') == 0;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
# JDBC speaks TCP only
$node->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION loyalty;
	SELECT loyalty.create_roles();
	CREATE ROLE dashboard LOGIN IN ROLE loyalty_bi;
	CREATE TABLE ticket (id integer PRIMARY KEY, customer text, day date, channel text, return_of integer);
	CREATE TABLE item (id integer PRIMARY KEY, ticket integer, product text, category text, qty numeric, amount numeric, price numeric);
	CREATE INDEX ON item (ticket);
	INSERT INTO ticket SELECT n, 'C' || n % 40, current_date - n % 97, 'web', NULL FROM generate_series(1, 800) n;
	INSERT INTO ticket VALUES (900, 'C1', current_date, 'till', 1);
	INSERT INTO item SELECT n * 10 + k, n, 'p' || (n + k * 3) % 7, 'g' || n % 3, 1 + k, 10 * (1 + k), 12 FROM generate_series(1, 800) n, generate_series(0, 2) k;
	INSERT INTO item VALUES (9000, 900, 'p1', 'g1', -1, -10, 12);
	SELECT loyalty.create_program('club', 'UTC');
	SELECT loyalty.set_tier('club', 'Silver', 100, 1.5);
	SELECT loyalty.set_rule('club', 'base', 1, 1, expires => '12 months');
	SELECT loyalty.attach('ticket', 'club', 'ticket', 'r.id', 'r.customer', 'r.day', channel => 'r.channel', return_of => 'r.return_of',
		enrol => 'substr(r.customer, 2)::integer < 35', lines => 'item', line_parent => 'l.ticket', line_key => 'l.id', line_product => 'l.product',
		line_category => 'l.category', line_qty => 'l.qty', line_amount => 'l.amount', line_list_price => 'l.price');
	SELECT loyalty.set_non_members('ticket');
	CALL loyalty.backfill('ticket');
	SELECT loyalty.create_campaign('club', 'spring', current_date - 20, current_date + 5, 20, '{base}', seed => 'x');
	SELECT loyalty.target_campaign('club', 'spring', everybody => true, at => now() - interval '21 days');
	SELECT loyalty.take_rfm_snapshot('club', current_date - i * 30) FROM generate_series(0, 1) i;
	SELECT loyalty.refresh_products('club', min_baskets => 1);
	SELECT loyalty.refresh_analytics('club');
	SELECT loyalty.refresh_details('club');
	SELECT loyalty.refresh_lifetime('club');
	CALL loyalty.upkeep();
});

my $views = [ split /\n/, $node->safe_psql('postgres', q{SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname = 'loyalty' AND c.relkind = 'v' AND has_table_privilege('dashboard', c.oid, 'SELECT') ORDER BY relname COLLATE "C"}) ];
cmp_ok(scalar @$views, '>=', 24, 'the views are there');

# Did a driver read every view?  Names, types, precision and scale; each value
# is what its type says.
sub compare
{
	my ($driver, $out, %types) = @_;
	my (%read, %counted);

	foreach (split /\n/, $out)
	{
		my ($view, $column, @rest) = split /\|/, $_, -1;

		if ($column eq '')
		{
			$counted{$view} = $rest[0];
		}
		else
		{
			push @{ $read{$view} }, join '|', $column, @rest;
		}
	}
	is_deeply([ sort keys %counted ], $views, "$driver lists the views");
	foreach my $view (@$views)
	{
		my @columns = map { [ split /\|/ ] } split /\n/, $node->safe_psql('postgres',
			"SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'loyalty.$view'::regclass AND attnum > 0 ORDER BY attnum");
		my @values = split /\|/, $node->safe_psql('postgres', 'SELECT ' . join(', ', map { "count($_->[0])" } @columns) . " FROM loyalty.$view");
		my @expected = map {
			my ($name, $type) = @$_;
			my ($base, $precision, $scale) = $type =~ /^([a-z ]+)(?:\((\d+),(\d+)\))?$/;

			[ $name, $types{$base}, $precision, $scale, shift @values ]
		} @columns;
		my @seen = map { [ split /\|/ ] } @{ $read{$view} // [] };

		foreach my $i (0 .. $#seen)
		{
			next if defined $expected[$i][2];
			# only a numeric has these
			@{ $seen[$i] }[2, 3] = (undef, undef);
		}
		is_deeply(\@seen, \@expected, "$driver: $view");
		is($counted{$view}, $node->safe_psql('postgres', "SELECT count(*) FROM loyalty.$view"), "$driver: rows of $view");
		cmp_ok($counted{$view}, '>', 0, "$driver: there are some in $view");
	}
}

# ODBC; psqlODBC tells text as a long one
my $odbc = 'Driver=PostgreSQL Unicode;BoolsAsChar=0;Database=postgres;UID=dashboard;Servername=' . $node->host . ';Port=' . $node->port;
my ($out, $err);
ok(run([ $python, 'test/perl/views.py', $odbc ], '>', \$out, '2>', \$err), 'ODBC reads every view')
  or diag($err);
compare('ODBC', $out, 'smallint' => 5, 'integer' => 4, 'bigint' => -5, 'numeric' => 2, 'text' => -10, 'boolean' => -7,
	'date' => 91, 'timestamp with time zone' => 93);

# values as they are, not only as many
my $query = q{SELECT c.balance, p.list_discount_share, c.is_own_cycle, c.last_sale_on
	FROM loyalty.customer_360 c JOIN loyalty.price_sensitivity p USING (member_id) ORDER BY member_id LIMIT 1};
run([ $python, 'test/perl/views.py', $odbc, $query ], '>', \$out, '2>', \$err);
is($out, $node->safe_psql('postgres', $query) . "\n", 'values');
ok(!run([ $python, 'test/perl/views.py', $odbc, 'SELECT customer FROM loyalty.member' ], '>', \$out, '2>', \$err),
	'who a member is remains hidden');
like($err, qr/permission denied/, 'because he may not read that');

# the same data source by hand
my $isql = PostgreSQL::Test::Utils::tempdir() . '/rows';
foreach my $view (@$views)
{
	my $count = $node->safe_psql('postgres', "SELECT count(*) FROM loyalty.$view");

	run([ 'isql', '-b', '-v', '-k', $odbc ],
		'<', \"SELECT * FROM loyalty.$view", '>', $isql, '2>', \$err);
	my $rows = grep { /^\|/ } split /\n/, slurp_file($isql);
	# one of them is the heading
	is($rows - 1, $count, "isql: $view");
}

# JDBC
ok(run([ 'java', '-cp', $jdbc, 'test/perl/Views.java', 'jdbc:postgresql://127.0.0.1:' . $node->port . '/postgres', 'dashboard' ],
	'>', \$out, '2>', \$err), 'JDBC reads every view')
  or diag($err);
compare('JDBC', $out, 'smallint' => 5, 'integer' => 4, 'bigint' => -5, 'numeric' => 2, 'text' => 12, 'boolean' => -7,
	'date' => 91, 'timestamp with time zone' => 93);

# ready-made queries: those of views as the dashboard's role, the others as staff
$node->safe_psql('postgres', q{
	CREATE ROLE staff LOGIN IN ROLE loyalty_manager;
	CREATE SCHEMA erp;
	CREATE TABLE erp.customer (customer_id text, email text);
	INSERT INTO erp.customer SELECT 'C' || n, 'c' || n || '@example.com' FROM generate_series(0, 39) n;
	GRANT USAGE ON SCHEMA erp TO staff;
	GRANT SELECT ON erp.customer TO staff;
	SELECT loyalty.create_campaign('club', 'silent group', '2024-01-01', '2030-12-31', 50, seed => 'x');
	SELECT loyalty.set_revenue_policy('club', 0.01);
	SELECT loyalty.target_campaign('club', 'silent group', everybody => true, at => '2024-01-01');
});
my $text = slurp_file('doc/queries.md');
my ($queries, $bi) = (0, 0);
while ($text =~ /^## ([^\n]+)\n|^```sql\n(.*?)^```/msg)
{
	our $heading;
	if (defined $1)
	{
		$heading = $1;
		next;
	}
	foreach my $query (grep { /\S/ } split /;[^\n]*\n/, $2)
	{
		my $user = $query =~ /program_roi\(|member_id\('|refresh_|take_|next_best|statement_text|export_|liability\(|revenue\(|journal\(/ ? 'staff' : 'dashboard';

		$query =~ s/'Club'/'club'/g;
		$query =~ s/'4711'/'C1'/g;
		$query =~ s/\$__timeFilter\((\w+)\)/$1 > current_date - 30/g;
		my ($code, $stdout, $stderr) = $node->psql('postgres', $query, extra_params => [ '-U', $user ]);
		is("$code $stderr", '0 ', 'doc/queries.md, ' . ($heading // 'refresh') . " as $user: " . (split /\n/, $query)[0]);
		$queries++;
		$bi++ if $user eq 'dashboard' && $stdout ne '';
	}
}
cmp_ok($queries, '>=', 25, 'there were queries');
cmp_ok($bi, '>=', 12, 'most of those for dashboards have rows');
$node->stop;
done_testing();
