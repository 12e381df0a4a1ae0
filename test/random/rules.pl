#!/usr/bin/perl
#
# Plays random histories of sales and returns under rules, and compares what
# the engine booked with the oracle: see rules.sql and rules_oracle.sql.
#
#	rules.pl [sql]
#
# SEED and RULE_HISTORIES in the environment; ONLY=n plays one of them, and with
# "sql" it is printed instead.  Each history is a list of steps that leaves the
# same rows whatever transactions they are grouped into:
#
#	a	every step is a transaction
#	b	all steps in one transaction
#	c	random groups, with savepoints, steps undone, and settle() in between
#	d	the final rows of a in bulk, in random order
#	e	the final rows of a behind the engine's back, then backfilled

use strict;
use warnings;
use File::Temp qw(tempdir);
use List::Util qw(shuffle sum0 min);
use Storable qw(dclone);

$| = 1;
my $seed = $ENV{SEED} || 20240229;
my $histories = $ENV{RULE_HISTORIES} || 210;
my @numbers = $ENV{ONLY} ? ($ENV{ONLY}) : (1 .. $histories);
my @worlds = qw(m x p h c h c r m k b);
my $dir = tempdir(CLEANUP => 1);
my ($passed, $failed) = (0, 0);
my $S;					# what the tables hold: documents by key, counters

sub psql
{
	my ($script) = @_;
	my ($in, $out, $err) = map { "$dir/$_" } qw(in out err);
	open(my $fh, '>', $in) or die "$in: $!";
	print $fh $script;
	close($fh);
	system("psql -X -q -At -F '|' -f '$in' >'$out' 2>'$err'");
	my $rc = $? >> 8;
	my $read = sub { local $/; open(my $f, '<', $_[0]) or die "$_[0]: $!"; my $t = <$f>; return defined $t ? $t : ''; };
	return ($rc, $read->($out), $read->($err));
}

sub rows
{
	my ($rc, $out, $err) = psql("\\set ON_ERROR_STOP 1\nSET client_min_messages = warning;\n$_[0]");
	die "query failed:\n$err\n$_[0]\n" if $rc;
	print STDERR $err if $err ne '';
	return map { [ split(/\|/, $_, -1) ] } split(/\n/, $out);
}

sub result
{
	my ($ok, $text, @why) = @_;
	if ($ok) { $passed++; return; }
	$failed++;
	print "not ok: $text\n";
	print "#   $_\n" for @why;
}

# ---------------------------------------------------------------------------
# steps; {P} stands for the run's prefix of keys, {W} for the world's schema

sub pick { return $_[ int(rand(@_)) ]; }
sub chance { return rand() < $_[0]; }
sub str { my $s = shift; return defined $s ? "'{P}$s'" : 'NULL'; }
sub money { return sprintf('%.2f', $_[0]); }
sub step { return { s => [@_] }; }

# few days, so that weeks, months and years are shared, and some instants, too
sub instant
{
	return '2024-03-04 10:00:00+00' if chance(0.1);
	return sprintf('%s %02d:%02d:00+00', pick('2023-12-30', '2023-12-31', '2024-01-01', '2024-01-02', '2024-01-31', '2024-02-28',
		'2024-02-29', '2024-03-01', '2024-03-03', '2024-03-04', '2024-03-05', '2024-03-08', '2024-03-10', '2024-03-11', '2024-04-20', '2024-07-01'),
		int(rand(24)), pick(0, 30));
}

sub amount { return pick(0, 3, 10, 19.99, 33.33, 50, 50, 99.99, 100, 120, 250, 300, 500); }

sub key { return sprintf('%s%03d', $_[0], ++$S->{count}); }

sub sales { return grep { !defined $S->{doc}{$_}{of} } sort keys %{ $S->{doc} }; }
sub returns_of { my $k = shift; return grep { defined $S->{doc}{$_}{of} && $S->{doc}{$_}{of} eq $k } sort keys %{ $S->{doc} }; }

sub ins_doc
{
	my ($k) = @_;
	my $d = $S->{doc}{$k};
	return sprintf("INSERT INTO {W}.doc (key, customer, at, posted, void, channel, of) VALUES (%s, %s, '%s', %s, %s, '%s', %s);",
		str($k), $d->{cust} ? "'{P}C$d->{cust}'" : 'NULL', $d->{at}, $d->{posted} ? 'true' : 'false', $d->{void} ? 'true' : 'false',
		$d->{channel}, str($d->{of}));
}

sub ins_lines
{
	my ($k) = @_;
	my $lines = $S->{doc}{$k}{lines};
	return () unless %$lines;
	return 'INSERT INTO {W}.line (key, parent, category, qty, amount, of_line) VALUES ' . join(', ', map {
		sprintf("(%s, %s, '%s', %s, %s, %s)", str($_), str($k), $lines->{$_}{cat}, $lines->{$_}{qty}, money($lines->{$_}{amt}), str($lines->{$_}{of}))
	} shuffle(sort keys %$lines)) . ';';
}

sub insert
{
	my ($k) = @_;
	my @st = (ins_doc($k), ins_lines($k));
	@st = reverse @st if chance(0.3);
	return chance(0.8) ? step(@st) : map { step($_) } @st;
}

sub op_sale
{
	my $k = key('D');
	my %lines = map { ("$k.$_" => { cat => pick(qw(A B C X)), qty => pick(1, 1, 2, 3, 5), amt => amount() }) } 1 .. pick(1, 1, 2, 3);
	$S->{doc}{$k} = { cust => pick(1, 1, 1, 2, 2, 0), at => instant(), posted => chance(0.9), void => 0, channel => pick('web', 'shop'), lines => \%lines };
	return insert($k);
}

sub op_return
{
	my $s = pick(grep { sum0(map { $_->{amt} } values %{ $S->{doc}{$_}{lines} }) > 0 } sales());
	return () unless defined $s;
	my $sale = $S->{doc}{$s};
	my $k = key('D');
	my %lines;
	my $all = chance(0.4);
	if (chance(0.5))
	{
		foreach my $l (sort keys %{ $sale->{lines} })
		{
			next unless $sale->{lines}{$l}{amt} > 0 && ($all || chance(0.6));
			$lines{"$k." . (1 + keys %lines)} = { cat => 'R', qty => -1, of => $l, amt => -($all ? $sale->{lines}{$l}{amt} : $sale->{lines}{$l}{amt} * pick(0.5, 1, 0.25)) };
		}
	}
	my $gross = sum0(map { $_->{amt} } values %{ $sale->{lines} });
	$lines{"$k.1"} = { cat => 'R', qty => -1, amt => -($all ? $gross : sprintf('%.2f', $gross * pick(0.1, 0.5, 0.7, 1.2))) } unless %lines;
	$_->{amt} = sprintf('%.2f', $_->{amt}) for values %lines;
	return () if grep { $_->{amt} >= 0 } values %lines;
	$S->{doc}{$k} = { cust => $sale->{cust}, at => instant(), posted => 1, void => 0, channel => 'shop', of => $s, lines => \%lines };
	return insert($k);
}

sub column
{
	my ($k, $column, $value) = @_;
	return step("UPDATE {W}.doc SET $column = $value WHERE key = " . str($k) . ';');
}

sub op_toggle
{
	my $k = pick(sort keys %{ $S->{doc} });
	return () unless defined $k;
	my $c = pick('posted', 'void', 'void');
	$S->{doc}{$k}{$c} = !$S->{doc}{$k}{$c};
	return column($k, $c, $S->{doc}{$k}{$c} ? 'true' : 'false');
}

sub op_date
{
	my $k = pick(sort keys %{ $S->{doc} });
	return () unless defined $k;
	return column($k, 'at', "'" . ($S->{doc}{$k}{at} = instant()) . "'");
}

sub op_customer
{
	my $k = pick(sales());
	return () unless defined $k;
	my $c = $S->{doc}{$k}{cust} = pick(1, 2, 2, 0);
	return column($k, 'customer', $c ? "'{P}C$c'" : 'NULL');
}

sub op_channel
{
	my $k = pick(sales());
	return () unless defined $k;
	return column($k, 'channel', "'" . ($S->{doc}{$k}{channel} = pick('web', 'shop')) . "'");
}

sub op_edit
{
	my $k = pick(sales());
	return () unless defined $k;
	my $l = pick(sort keys %{ $S->{doc}{$k}{lines} });
	my $line = $S->{doc}{$k}{lines}{$l};
	my $set;
	my $what = pick('amount', 'amount', 'qty', 'category');
	$set = 'amount = ' . money($line->{amt} = amount()) if $what eq 'amount';
	$set = 'qty = ' . ($line->{qty} = pick(1, 2, 4)) if $what eq 'qty';
	$set = "category = '" . ($line->{cat} = pick(qw(A B C X))) . "'" if $what eq 'category';
	return step("UPDATE {W}.line SET $set WHERE key = " . str($l) . ';');
}

sub op_add_line
{
	my $k = pick(sales());
	return () unless defined $k;
	my $l = key("$k.");
	my $line = $S->{doc}{$k}{lines}{$l} = { cat => pick(qw(A B C)), qty => 1, amt => amount() };
	return step(sprintf("INSERT INTO {W}.line (key, parent, category, qty, amount) VALUES (%s, %s, '%s', 1, %s);", str($l), str($k), $line->{cat}, money($line->{amt})));
}

# with all that returns it
sub op_delete
{
	my $k = pick(sort keys %{ $S->{doc} });
	return () unless defined $k;
	my @gone = ($k, returns_of($k));
	delete $S->{doc}{$_} for @gone;
	my $list = join(', ', map { str($_) } @gone);
	my @st = ("DELETE FROM {W}.doc WHERE key IN ($list);", "DELETE FROM {W}.line WHERE parent IN ($list);");
	return step(chance(0.5) ? @st : reverse @st);
}

sub op_again
{
	my $k = pick(sort keys %{ $S->{doc} });
	return () unless defined $k;
	return step('DELETE FROM {W}.doc WHERE key = ' . str($k) . ';', 'DELETE FROM {W}.line WHERE parent = ' . str($k) . ';', ins_doc($k), ins_lines($k));
}

sub op_touch { return step("UPDATE {W}.doc SET memo = 'x', posted = posted, at = at WHERE key LIKE '{P}%';", "UPDATE {W}.line SET amount = amount WHERE key LIKE '{P}%';"); }

sub op_undone
{
	my $before = dclone($S);
	my @it = grep { $_->{s} } map { op() } 1 .. 2;
	my $count = $S->{count};
	$S = $before;
	$S->{count} = $count;
	return @it ? { undone => [ map { @{ $_->{s} } } @it ] } : ();
}

my @ops = ([ 30, \&op_sale ], [ 18, \&op_return ], [ 12, \&op_toggle ], [ 6, \&op_date ], [ 7, \&op_customer ], [ 3, \&op_channel ],
	[ 10, \&op_edit ], [ 3, \&op_add_line ], [ 4, \&op_delete ], [ 2, \&op_again ], [ 2, \&op_touch ], [ 5, \&op_undone ]);

sub op
{
	my $r = rand(sum0(map { $_->[0] } @ops));
	foreach my $o (@ops)
	{
		$r -= $o->[0];
		return $o->[1]->() if $r < 0;
	}
	return ();
}

sub history
{
	my ($n) = @_;
	srand($seed * 100003 + $n);
	$S = { doc => {}, count => 0 };
	my @it = map { op_sale() } 1 .. 2 + int(rand(4));
	push @it, op() for 1 .. 3 + int(rand(10));
	return { n => $n, w => $worlds[ $n % @worlds ], steps => \@it };
}

sub render
{
	my ($h, $variant) = @_;
	my (@out, @now);
	my $close = sub {
		push @out, 'BEGIN;', @now, 'COMMIT;' if @now;
		@now = ();
	};
	srand($seed * 100003 + $h->{n} + 7919 * ord($variant));
	foreach my $it (@{ $h->{steps} })
	{
		if ($it->{undone})
		{
			push @now, 'SAVEPOINT u;', @{ $it->{undone} }, (chance(0.3) ? 'SELECT loyalty.settle();' : ()), 'ROLLBACK TO u;';
		}
		elsif ($variant eq 'c' && chance(0.3))
		{
			push @now, 'SAVEPOINT s;', @{ $it->{s} }, 'ROLLBACK TO s;', @{ $it->{s} };
		}
		else
		{
			push @now, @{ $it->{s} };
		}
		push @now, 'SELECT loyalty.settle();' if $variant eq 'c' && chance(0.15);
		$close->() if $variant eq 'a' || ($variant eq 'c' && chance(0.4));
	}
	$close->();
	my $sql = join("\n", @out) . "\n";
	$sql =~ s/\{P\}/$h->{n}$variant-/g;
	$sql =~ s/\{W\}/u_$h->{w}/g;
	return $sql;
}

# the final rows of a as another variant
sub copy_rows
{
	my ($w, $variant) = @_;
	my $as = sub { join(', ', map { "regexp_replace($_, '^(\\d+)a-', '\\1$variant-')" } @_) };
	my @st = (
		"INSERT INTO u_$w.doc (key, customer, of, at, posted, void, channel) SELECT " . $as->(qw(key customer of))
			. ", at, posted, void, channel FROM u_$w.doc WHERE rul.run(key) ~ 'a\$' ORDER BY md5(key);",
		"INSERT INTO u_$w.line (key, parent, of_line, category, qty, amount) SELECT " . $as->(qw(key parent of_line))
			. ", category, qty, amount FROM u_$w.line WHERE rul.run(key) ~ 'a\$' ORDER BY md5(key);");
	return join("\n", 'BEGIN;', (ord($w) % 2 ? @st : reverse @st), 'COMMIT;') . "\n" if $variant eq 'd';
	return join("\n", 'SET session_replication_role = replica;', @st, 'SET session_replication_role = origin;', "CALL loyalty.backfill('u_$w', batch => 29);") . "\n";
}

# ---------------------------------------------------------------------------

my %of = map { $_ => history($_) } @numbers;
if (@ARGV && $ARGV[0] eq 'sql')
{
	print "-- history $_, world $of{$_}{w}\n" . render($of{$_}, $ENV{VARIANT} || 'a') for @numbers;
	exit 0;
}

print "# rules: seed $seed, " . @numbers . " histories\n";
my $sql = "SET client_min_messages = warning;\n\\o /dev/null\n";
foreach my $n (@numbers)
{
	$sql .= render($of{$n}, $_) for qw(a b c);
}
my ($rc, $out, $err) = psql($sql);
# nothing may fail the ERP, or park
result($err eq '', 'a statement failed or warned', (split(/\n/, $err))[ 0 .. min(20, ($err =~ tr/\n//) - 1) ]);
my @played = grep { my $w = $_; grep { $of{$_}{w} eq $w } @numbers } qw(m x p h c r k b);
foreach my $w (@played)
{
	($rc, $out, $err) = psql("SET client_min_messages = warning;\n\\o /dev/null\nCALL loyalty.upkeep();\n" . copy_rows($w, 'd') . copy_rows($w, 'e'));
	result($err eq '', "world $w: copying the final rows", split(/\n/, $err));
}
rows('CALL loyalty.upkeep();');
my @pending = rows("SELECT s.name, p.doc_key, p.reason, p.sqlstate, p.message FROM loyalty.pending p JOIN loyalty.source s USING (source_id) WHERE s.name LIKE 'u\\_%' ORDER BY 1, 2;");
result(!@pending, 'documents wait', map { join(' | ', @$_) } @pending[ 0 .. min(9, $#pending) ]);

# all variants end with the same rows
my @differ = rows(q{
	WITH r AS (SELECT w, run, md5(string_agg(concat_ws('|', split_part(key, '-', 2), split_part(customer, '-', 2), at, channel, split_part(of, '-', 2), live), ';' ORDER BY key)
		|| (SELECT coalesce(string_agg(concat_ws('|', split_part(l.key, '-', 2), category, qty, amount, split_part(of_line, '-', 2)), ';' ORDER BY l.key), '')
			FROM rul.rowline l WHERE l.w = r.w AND rul.run(l.key) = r.run)) AS rows
		FROM rul.row r GROUP BY w, run)
	SELECT w, left(run, -1) FROM r GROUP BY 1, 2 HAVING count(DISTINCT rows) <> 1 OR count(*) <> 5;})
	if rows('SELECT 1 FROM (SELECT rul.load()) l;');
result(!@differ, 'variants end with other rows', map { join(' | ', @$_) } @differ);
rows("DO 'BEGIN PERFORM rul.prepare(); PERFORM rul.compute(); END';");
my ($load) = rows('SELECT (SELECT count(*) FROM rul.due), (SELECT count(*) FROM rul.due WHERE points <> 0), (SELECT count(*) FROM rul.sale WHERE returned), (SELECT count(*) FROM rul.given);');
printf "# the oracle: %d sales, %d with points, %d with returns, %d capped awards\n", @$load;

my %wrong;
push @{ $wrong{ $_->[1] } }, $_ foreach rows('SELECT * FROM rul.mismatches();');
foreach my $n (@numbers)
{
	next if $of{$n}{w} eq 'b';
	foreach my $variant (qw(a b c d e))
	{
		my $m = delete $wrong{"$n$variant"};
		result(!$m, "history $n (world $of{$n}{w}), variant $variant: the points are not what the oracle says; SEED=$seed ONLY=$n VARIANT=$variant rules.pl sql",
			map { "$_->[2]: due $_->[3], booked $_->[4]" } @{ $m || [] });
	}
}
result(0, "run $_ is no history's") for sort keys %wrong;

# budgets are held, and used up; everything else is the engine's own proof
foreach my $b (rows("SELECT b.rule, b.used, r.budget FROM loyalty.budget b JOIN loyalty.rule r ON r.program_id = b.program_id AND r.name = b.rule AND r.is_current
	WHERE b.program_id = loyalty.program_id('u_b');"))
{
	result($b->[1] <= $b->[2] && $b->[1] > 0, "budget of $b->[0]: $b->[1] of $b->[2] used");
}
foreach my $w (@played)
{
	my @v = $w eq 'b' ? () : rows("SELECT doc_key, customer, booked, due, problem FROM loyalty.verify('u_$w') ORDER BY 1;");
	result(!@v, "verify('u_$w') finds " . @v . ' documents', map { join(' | ', @$_) } @v[ 0 .. min(9, $#v) ]);
}
# a basket is told what it earns when it is bought next, after all that went before
foreach my $w (grep { $_ ne 'b' } @played)
{
	my @told = rows("CREATE TABLE u_$w.basket AS SELECT 'Q-' || m.customer AS key, m.customer, n AS line, (ARRAY['A','B','C','X'])[1 + h % 4] AS category, 1 + h % 5 AS qty,
			(ARRAY[0, 10, 33.33, 99.99, 120, 300, 500])[1 + h % 7] AS amount
		FROM (SELECT * FROM loyalty.member WHERE program_id = loyalty.program_id('u_$w') AND customer ~ '^[0-9]+a-' ORDER BY md5(customer) LIMIT 25) m,
			generate_series(1, 3) n, LATERAL (SELECT abs(hashtext(customer || n::text) / 8) AS h) r;
		CREATE TABLE u_$w.told AS SELECT key, (SELECT points FROM loyalty.quote_earn('u_$w', customer, NULL,
				jsonb_agg(jsonb_build_object('key', key || line, 'category', category, 'qty', qty, 'amount', amount)), at => '2024-07-20 10:00+00') ORDER BY step DESC LIMIT 1) AS points
			FROM u_$w.basket GROUP BY key, customer;
		INSERT INTO u_$w.line (key, parent, category, qty, amount) SELECT key || line, key, category, qty, amount FROM u_$w.basket;
		INSERT INTO u_$w.doc (key, customer, at, posted, channel) SELECT DISTINCT key, customer, '2024-07-20 10:00+00'::timestamptz, true, 'shop' FROM u_$w.basket;
		CALL loyalty.upkeep();
		SELECT t.key, t.points, d.points, (t.points IS NOT DISTINCT FROM d.points)::int FROM u_$w.told t
			LEFT JOIN loyalty.document d ON d.source_id = (SELECT source_id FROM loyalty.source WHERE name = 'u_$w') AND d.doc_key = t.key ORDER BY 1;");
	result($_->[3], "world $w: quote_earn() tells $_->[1] for $_->[0], booked are " . ($_->[2] // 'none')) foreach @told;
}

my @check = rows('SELECT problem, member_id, detail FROM loyalty.check() ORDER BY 1, 2;');
result(!@check, 'check() finds ' . @check . ' problems', map { join(' | ', @$_) } @check[ 0 .. min(9, $#check) ]);

print "$passed passed, $failed failed\n";
exit($failed ? 1 : 0);
