#!/usr/bin/perl
#
# Plays random histories of ERP documents in several groupings into
# transactions and compares what the engine booked with the oracle.
#
#	histories.pl [sql]
#
# SEED and HISTORIES in the environment; with "sql" the histories are printed
# instead of being played (ONLY=n one of them).  WITHOUT=mixed,gone,giveback
# leaves out families that are returned both by line and by value, sales that
# are deleted while their returns stay, and returns of returns.  A history is a list of steps that leaves the ERP's
# tables in a state that does not depend on how the steps are grouped, so the
# points must not depend on it either.  These variants are played:
#
#	a	every step is a transaction
#	b	all steps in one transaction
#	c	random groups, with savepoints, steps rolled back and done again, and
#		settle() in between
#	d	the final rows of a, copied in bulk, in random order
#	e	the final rows of a, copied behind the engine's back, then backfilled
#
# A mismatch is played again with fewer and fewer steps; the shortest history
# that still shows it is printed.

use strict;
use warnings;
use File::Temp qw(tempdir);
use List::Util qw(shuffle sum0 min max);
use Storable qw(dclone);

$| = 1;
my $seed = $ENV{SEED} || 20240229;
my $histories = $ENV{HISTORIES} || 416;
my $chunk = 40;
my $dir = tempdir(CLEANUP => 1);
my %world = ();			# what schema.sql says
my @worlds = ();
my %without = map { $_ => 1 } split(/,/, $ENV{WITHOUT} || '');
my ($passed, $failed) = (0, 0);
my %searched = ();
my $shrunk = 0;			# minimal histories that were searched for
my $fresh = 500000;		# numbers of the runs of those searches

# ---------------------------------------------------------------------------
# psql

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
	my $stderr = $read->($err);
	$stderr =~ s/^psql:\S+?:(\d+): /line $1: /mg;
	return ($rc, $read->($out), $stderr);
}

sub rows
{
	my ($script) = @_;
	my ($rc, $out, $err) = psql("\\set ON_ERROR_STOP 1\nSET client_min_messages = warning;\n$script");
	die "query failed:\n$err\n$script\n" if $rc;
	print STDERR $err if $err ne '';
	return map { [ split(/\|/, $_, -1) ] } split(/\n/, $out);
}

sub result
{
	my ($ok, $text, @why) = @_;
	if ($ok) { $passed++; return 1; }
	$failed++;
	print "not ok: $text\n";
	print "#   $_\n" for @why;
	return 0;
}

# ---------------------------------------------------------------------------
# state of one history: what the ERP's tables hold at this point.  In SQL {P}
# stands for the run's prefix of keys and {W} for the world's schema.

my ($S, $W);

sub pick { return $_[ int(rand(@_)) ]; }
sub chance { return rand() < $_[0]; }
sub money { my $c = shift; return sprintf('%s%d.%02d', $c < 0 ? '-' : '', abs($c) / 100, abs($c) % 100); }
sub str { my $s = shift; return defined $s ? "'{P}$s'" : 'NULL'; }
sub cust { my $c = shift; return $c ? "'{P}C$c'" : 'NULL'; }

# amounts that make remainders, and some that make ties
sub cents
{
	my $r = rand();
	return 0 if $r < 0.02;
	return 100 * (1 + int(rand(200))) if $r < 0.35;
	return 500 * (1 + int(rand(60))) if $r < 0.5;
	return 3000 * (1 + int(rand(4))) if $r < 0.6;
	return 1 + int(rand(300)) if $r < 0.7;
	return 1 + int(rand(30000));
}

# a part of an amount: some, a third, all of it, or more than there is
sub part
{
	my ($c) = @_;
	my $r = rand();
	return max(1, $c) if $r < 0.3;
	return max(1, int($c / 3)) if $r < 0.55;
	return max(1, int($c / 2)) if $r < 0.65;
	return $c + 1 + int(rand(5000)) if $r < 0.75;
	return 1 + int(rand(max(1, $c)));
}

sub instant
{
	# days around which rules begin and end, seen from several time zones
	return sprintf('2024-%s %02d:%02d:00', pick('06-30', '07-01'), int(rand(24)), int(rand(60))) if chance(0.3);
	return sprintf('2024-%02d-%02d %02d:%02d:00', 1 + int(rand(12)), 1 + int(rand(28)), int(rand(24)), int(rand(60)));
}

sub newkey
{
	my ($letter) = @_;
	return sprintf('%s%02d', $letter, ++$S->{count}{$letter});
}

sub docs
{
	my ($src) = @_;
	return grep { $S->{doc}{$_}{src} eq $src } sort keys %{ $S->{doc} };
}

sub item { return { s => [@_] }; }

# statements that insert what the state says
sub ins_head
{
	my @rows;
	my $src;
	foreach my $k (@_)
	{
		my $d = $S->{doc}{$k};
		$src = $d->{src};
		if ($src eq 'inv')
		{
			push @rows, sprintf("(%s, %s, '%s+00', %s, %s, '%s', %s, %s)", str($k), cust($d->{cust}), $d->{at},
				$d->{on} ? 'true' : 'false', $d->{void} ? 'true' : 'false', $d->{kind}, money(gross($k)),
				$d->{paid} ? money($d->{paid}) : 'NULL');
		}
		elsif ($src eq 'crn')
		{
			push @rows, sprintf("(%s, %s, '%s', '%s', %s, %s)", str($k), cust($d->{cust}), $d->{at}, $d->{state},
				str($d->{link}), money(gross($k)));
		}
		else
		{
			push @rows, sprintf("(%s, %s, '%s', %s, %s, %s, '%s', %s, %s)", str($k), cust($d->{cust}), substr($d->{at}, 0, 10),
				money($d->{total}), $d->{paid} ? money($d->{paid}) : 'NULL', $d->{fx}, $d->{company},
				$d->{void} ? 'true' : 'false', str($d->{link}));
		}
	}
	my %cols = (
		inv => 'key, customer, at, posted, void, kind, amount, paid',
		crn => 'key, customer, at, state, of_inv, total',
		pos => 'no, customer, day, total, paid, fx, company, void, of_no');
	return "INSERT INTO {W}.$src ($cols{$src}) VALUES " . join(', ', @rows) . ';';
}

sub ins_lines
{
	my ($orphan, @keys) = @_;
	my (@rows, $src);
	foreach my $k (@keys)
	{
		my $d = $S->{doc}{$k};
		$src = $d->{src};
		foreach my $l (sort keys %{ $d->{lines} })
		{
			my $line = $d->{lines}{$l};
			my $parent = $orphan ? 'NULL' : str($k);
			push @rows, $src eq 'inv'
				? sprintf('(%s, %s, %s, %s)', str($l), $parent, money($line->{amt}), $line->{earns} ? 'true' : 'false')
				: sprintf('(%s, %s, %s, %s)', str($l), $parent, money($line->{amt}), str($line->{of}));
		}
	}
	return () unless @rows;
	return "INSERT INTO {W}.${src}_line (" . ($src eq 'inv' ? 'key, parent, amount, earns' : 'key, parent, amount, of_line')
		. ') VALUES ' . join(', ', @rows) . ';';
}

sub gross
{
	my ($k) = @_;
	my $d = $S->{doc}{$k};
	return $d->{total} if $d->{src} eq 'pos' || !%{ $d->{lines} };
	return sum0(map { $_->{amt} } values %{ $d->{lines} });
}

# the header's amount follows the lines
sub sync_head
{
	my ($k) = @_;
	my $d = $S->{doc}{$k};
	my $col = $d->{src} eq 'inv' ? 'amount' : 'total';
	return "UPDATE {W}.$d->{src} SET $col = " . money(gross($k)) . ' WHERE key = ' . str($k) . ';';
}

# who returns (a line of) this document
sub returns_of
{
	my ($k) = @_;
	my %mine = map { $_ => 1 } keys %{ $S->{doc}{$k}{lines} || {} };
	return grep {
		my $d = $S->{doc}{$_};
		(defined $d->{link} && $d->{link} eq $k)
			|| grep { defined $_->{of} && $mine{ $_->{of} } } values %{ $d->{lines} || {} };
	} sort keys %{ $S->{doc} };
}

sub line_is_returned
{
	my ($l) = @_;
	return grep { defined $_->{of} && $_->{of} eq $l } map { values %{ $_->{lines} || {} } } values %{ $S->{doc} };
}

# all documents that hang together by returns, directly or not
sub family
{
	my %in = ($_[0] => 1);
	my $n = 0;
	while ($n != keys %in)
	{
		$n = keys %in;
		foreach my $k (sort keys %in)
		{
			$in{$_} = 1 for returns_of($k);
		}
		foreach my $k (sort keys %{ $S->{doc} })
		{
			next if $in{$k};
			$in{$k} = 1 if grep { $in{$_} } returns_of($k);
			$in{$k} = 1 if defined $S->{doc}{$k}{link} && grep {
				defined $S->{doc}{$_}{link} && $S->{doc}{$_}{link} eq $S->{doc}{$k}{link} } keys %in;
		}
	}
	return sort keys %in;
}

# ---------------------------------------------------------------------------
# operations: each changes the state and returns the steps that do the same
# to the tables

sub make_inv
{
	my ($k, $cust) = @_;
	my $d = { src => 'inv', cust => $cust, at => instant(), on => chance(0.85), void => 0, kind => 'out', lines => {}, paid => 0 };
	for my $i (1 .. pick(1, 1, 2, 2, 3))
	{
		$d->{lines}{"$k.$i"} = { amt => cents(), earns => !($W->{earns} && chance(0.3)) };
	}
	$d->{lines}{"$k.9"} = { amt => -100, earns => 1, disc => 1 }
		if $W->{disc} && chance(0.25) && sum0(map { $_->{amt} } grep { $_->{earns} } values %{ $d->{lines} }) > 200;
	$S->{doc}{$k} = $d;
	$d->{paid} = int(gross($k) * pick(0.1, 0.3, 1)) if $W->{paid} && chance(0.3);
	return $d;
}

sub customer { return chance(0.12) ? 0 : pick(1, 1, 2); }

sub op_inv
{
	my ($k, $cust) = @_;
	$k = newkey('I') unless defined $k;
	make_inv($k, defined $cust ? $cust : customer());
	my $r = rand();
	return item(ins_head($k), ins_lines(0, $k)) if $r < 0.4;
	return item(ins_lines(0, $k), ins_head($k)) if $r < 0.6;
	return (item(ins_head($k)), item(ins_lines(0, $k))) if $r < 0.75;
	return (item(ins_lines(0, $k)), item(ins_head($k))) if $r < 0.85;
	return (item(ins_lines(1, $k)), item(ins_head($k)),
		item('UPDATE {W}.inv_line SET parent = ' . str($k) . ' WHERE key IN (' . join(', ', map { str($_) } sort keys %{ $S->{doc}{$k}{lines} }) . ');'));
}

# a draft with nothing in it, filled and posted step by step
sub op_draft
{
	my $k = newkey('I');
	my $d = make_inv($k, customer());
	my ($at, $cust) = ($d->{at}, $d->{cust});
	($d->{on}, $d->{cust}) = (0, 0);
	my @it = item(ins_head($k));
	($d->{on}, $d->{cust}) = (1, $cust);
	push @it, item(ins_lines(0, $k));
	push @it, item('UPDATE {W}.inv SET customer = ' . cust($cust) . ' WHERE key = ' . str($k) . ';');
	push @it, item("UPDATE {W}.inv SET memo = 'numbered' WHERE key = " . str($k) . ';',
		'UPDATE {W}.inv SET posted = true WHERE key = ' . str($k) . ';',
		"UPDATE {W}.inv SET memo = 'paid' WHERE key = " . str($k) . ';');
	return @it;
}

sub op_several
{
	my @k = map { newkey('I') } 1 .. pick(2, 3);
	make_inv($_, customer()) for @k;
	return item(ins_head(@k), ins_lines(0, @k)) if chance(0.5);
	return item(ins_lines(0, @k), ins_head(@k));
}

sub make_pos
{
	my ($k, $cust, $total, $link) = @_;
	my $d = $S->{doc}{$k} = { src => 'pos', cust => $cust, at => instant(), void => 0, total => $total, link => $link,
		fx => $W->{fx} ? pick(1, 1, 0.5, 1.25) : 1, company => 'north', paid => 0 };
	# what is returned is counted in the sale's currency
	$d->{fx} = $S->{doc}{$link}{fx} if defined $link && $S->{doc}{$link};
	$d->{company} = pick('north', 'south', 'east') if $W->{w} eq 'i' && !defined $link;
	$d->{paid} = int($total * pick(0.1, 0.3, 1)) if $W->{paid} && $total > 0 && !defined $link && chance(0.3);
	return $d;
}

sub op_pos
{
	my $k = newkey('P');
	make_pos($k, customer(), cents());
	return item(ins_head($k));
}

sub op_pos_several
{
	my @k = map { newkey('P') } 1 .. pick(2, 3);
	make_pos($_, customer(), cents()) for @k;
	return item(ins_head(@k));
}

sub op_pos_unlinked
{
	my $k = newkey('P');
	make_pos($k, customer(), -cents());
	return item(ins_head($k));
}

sub pos_sales { return grep { my $d = $S->{doc}{$_}; !defined $d->{link} && $d->{total} >= 0 } docs('pos'); }
sub pos_returns { return grep { my $d = $S->{doc}{$_}; defined $d->{link} && $d->{total} < 0 } docs('pos'); }

sub op_pos_return
{
	my $s = pick(pos_sales());
	return () unless defined $s;
	my $k = newkey('P');
	make_pos($k, $S->{doc}{$s}{cust}, -part($S->{doc}{$s}{total}), $s);
	return item(ins_head($k));
}

sub op_pos_giveback
{
	return () if $without{giveback};
	my $r = pick(grep { $S->{doc}{ $S->{doc}{$_}{link} } && !returns_of($_) } pos_returns());
	return () unless defined $r;
	my $k = newkey('P');
	make_pos($k, $S->{doc}{$r}{cust}, min(-$S->{doc}{$r}{total}, part(-$S->{doc}{$r}{total})), $r);
	return item(ins_head($k));
}

# a return turns out to be of another sale, or of none; what hangs on it follows
sub op_pos_relink
{
	my $r = pick(grep { $S->{doc}{$_}{total} < 0 } docs('pos'));
	return () unless defined $r;
	my $d = $S->{doc}{$r};
	my @to = grep { $_ ne $r && $_ ne ($d->{link} // '') } pos_sales();
	push @to, undef if defined $d->{link} && $W->{unl} && !returns_of($r);
	return () unless @to;
	$d->{link} = pick(@to);
	return item('UPDATE {W}.pos SET of_no = ' . str($d->{link}) . ' WHERE no = ' . str($r) . ';');
}

# what was given back was given back on another return
sub op_pos_giveback_relink
{
	return () if $without{giveback};
	my $g = pick(grep { defined $S->{doc}{$_}{link} && $S->{doc}{$_}{total} > 0 } docs('pos'));
	return () unless defined $g;
	my $d = $S->{doc}{$g};
	my $r = pick(grep { $_ ne $d->{link} && -$S->{doc}{$_}{total} >= $d->{total} } pos_returns());
	return () unless defined $r;
	$d->{link} = $r;
	return item('UPDATE {W}.pos SET of_no = ' . str($r) . ' WHERE no = ' . str($g) . ';');
}

# a sale, its return and what is given back of that; then the return in the
# middle changes its place
sub op_pos_chain
{
	return () if $without{giveback};
	my ($s, $other, $r, $g) = map { newkey('P') } 1 .. 4;
	my $cust = pick(1, 2);
	# large enough for every part of it to be worth points
	make_pos($s, $cust, 60000 + cents())->{paid} = 0;
	make_pos($other, pick(1, 2), 60000 + cents())->{paid} = 0;
	my @it = (item(ins_head($s)), item(ins_head($other)));
	make_pos($r, $cust, -int($S->{doc}{$s}{total} * pick(0.3, 0.6, 1)), $s);
	make_pos($g, $cust, int(-$S->{doc}{$r}{total} * pick(0.3, 0.5, 1)), $r);
	push @it, chance(0.7) ? (item(ins_head($r)), item(ins_head($g))) : (item(ins_head($g)), item(ins_head($r)));
	for (1 .. pick(1, 1, 2))
	{
		my $how = pick('relink', 'relink', 'toggle', 'delete');
		next if !$S->{doc}{$r} || ($how eq 'delete' && $without{gone});
		if ($how eq 'relink')
		{
			$S->{doc}{$r}{link} = $S->{doc}{$r}{link} eq $s ? $other : $s;
			push @it, item('UPDATE {W}.pos SET of_no = ' . str($S->{doc}{$r}{link}) . ' WHERE no = ' . str($r) . ';');
		}
		else
		{
			push @it, $how eq 'toggle' ? toggle($r) : item(del($r));
		}
	}
	return @it;
}

sub make_crn
{
	my ($k, $cust, $link, @lines) = @_;
	my $d = $S->{doc}{$k} = { src => 'crn', cust => $cust, at => instant(), state => chance(0.88) ? 'posted' : 'draft',
		link => $link, lines => {}, total => 0 };
	my $i = 0;
	foreach my $l (@lines)
	{
		$d->{lines}{ "$k." . ++$i } = { of => $l->[0], amt => $l->[1] };
	}
	return $d;
}

sub ins_crn
{
	my ($k) = @_;
	my $r = rand();
	return item(ins_head($k), ins_lines(0, $k)) if $r < 0.5;
	return item(ins_lines(0, $k), ins_head($k)) if $r < 0.8;
	return (item(ins_head($k)), item(ins_lines(0, $k))) if $r < 0.9;
	return (item(ins_lines(0, $k)), item(ins_head($k)));
}

# lines of a sale, each returned in part or whole
sub linked_lines
{
	my ($s) = @_;
	my $lines = $S->{doc}{$s}{lines};
	my @l = grep { !$lines->{$_}{disc} } sort keys %$lines;
	@l = (pick(@l)) if @l && chance(0.5);
	return map { [ $_, part($lines->{$_}{amt}) ] } @l;
}

# an invoice that may be returned by line, or by value
sub returnable
{
	my ($by) = @_;
	my $s = pick(grep { !$without{mixed} || ($S->{doc}{$_}{by} || $by) eq $by } docs('inv'));
	$S->{doc}{$s}{by} = $by if defined $s;
	return $s;
}

sub op_crn_value
{
	my $s = returnable('value');
	return () unless defined $s;
	my $k = newkey('R');
	my $v = part(max(1, gross($s)));
	if ($W->{crn_amount} && chance(0.4))
	{
		make_crn($k, $S->{doc}{$s}{cust}, $s)->{total} = $v;
		return item(ins_head($k));
	}
	my @lines = $v > 1 && chance(0.3) ? ([ undef, int($v / 2) ], [ undef, $v - int($v / 2) ]) : ([ undef, $v ]);
	make_crn($k, $S->{doc}{$s}{cust}, $s, @lines);
	return ins_crn($k);
}

sub op_crn_lines
{
	my $s = returnable('line');
	return () unless defined $s;
	my $k = newkey('R');
	my @lines = linked_lines($s);
	return () unless @lines;
	push @lines, [ undef, part(max(1, int(gross($s) / 4))) ] if chance(0.15) && !$without{mixed};
	make_crn($k, $S->{doc}{$s}{cust}, $s, @lines);
	return ins_crn($k);
}

# everything back, in three parts
sub op_crn_thirds
{
	my $s = returnable('value');
	return () unless defined $s && gross($s) > 3;
	my $g = gross($s);
	my @it;
	foreach my $v (int($g / 3), int($g / 3), $g - 2 * int($g / 3))
	{
		my $k = newkey('R');
		make_crn($k, $S->{doc}{$s}{cust}, $s, [ undef, $v ])->{state} = 'posted';
		push @it, item(ins_head($k), ins_lines(0, $k));
	}
	return @it;
}

# one credit note for goods of two invoices
sub op_crn_two
{
	my $s = returnable('line');
	return () unless defined $s && $S->{doc}{$s}{cust};
	my $t = pick(grep { $_ ne $s && $S->{doc}{$_}{cust} == $S->{doc}{$s}{cust}
			&& (!$without{mixed} || ($S->{doc}{$_}{by} || 'line') eq 'line') } docs('inv'));
	return () unless defined $t;
	$S->{doc}{$t}{by} = 'line';
	my @lines = (linked_lines($s), linked_lines($t));
	push @lines, [ undef, max(1, cents()) ] if $W->{unl} && chance(0.2);
	return () unless @lines;
	my $k = newkey('R');
	make_crn($k, $S->{doc}{$s}{cust}, undef, @lines);
	return ins_crn($k);
}

sub op_crn_unlinked
{
	my $k = newkey('R');
	make_crn($k, customer(), undef, map { [ undef, max(1, cents()) ] } 1 .. pick(1, 1, 2));
	return ins_crn($k);
}

# the return is there before its sale
sub op_return_first
{
	my $s = newkey('I');
	my $d = make_inv($s, pick(1, 2));
	my @sale = chance(0.5) ? item(ins_head($s), ins_lines(0, $s)) : (item(ins_lines(0, $s)), item(ins_head($s)));
	my $k = newkey('R');
	my @lines = chance(0.5) ? linked_lines($s) : ();
	$d->{by} = @lines ? 'line' : 'value';
	@lines = ([ undef, part(max(1, gross($s))) ]) unless @lines;
	make_crn($k, $d->{cust}, $s, @lines);
	return (ins_crn($k), @sale);
}

sub op_pos_return_first
{
	my ($k, $s) = (newkey('P'), newkey('P'));
	my $d = make_pos($s, pick(1, 2), cents());
	make_pos($k, $d->{cust}, -part($d->{total}), $s);
	return item(ins_head($k), ins_head($s)) if chance(0.3);
	return (item(ins_head($k)), item(ins_head($s)));
}

# cancelled and refunded at once
sub op_refund_and_void
{
	my $s = returnable('value');
	return () unless defined $s && gross($s) > 0;
	my $k = newkey('R');
	make_crn($k, $S->{doc}{$s}{cust}, $s, [ undef, gross($s) ])->{state} = 'posted';
	$S->{doc}{$s}{void} = 1;
	my $void = 'UPDATE {W}.inv SET void = true WHERE key = ' . str($s) . ';';
	my @st = ($void, ins_head($k), ins_lines(0, $k));
	@st = (ins_head($k), ins_lines(0, $k), $void) if chance(0.5);
	return item(@st) if chance(0.7);
	return (item($st[0]), item(@st[1 .. $#st]));
}

sub op_edit_line
{
	my $k = pick(grep { %{ $S->{doc}{$_}{lines} } } docs('inv'), docs('crn'));
	return () unless defined $k;
	my $d = $S->{doc}{$k};
	my $l = pick(grep { !$d->{lines}{$_}{disc} } sort keys %{ $d->{lines} });
	return () unless defined $l;
	my $has_disc = grep { $_->{disc} } values %{ $d->{lines} };
	$d->{lines}{$l}{amt} = max($has_disc || $d->{src} eq 'crn' ? 300 : 0, cents());
	my @st = ("UPDATE {W}.$d->{src}_line SET amount = " . money($d->{lines}{$l}{amt}) . ' WHERE key = ' . str($l) . ';', sync_head($k));
	return item(chance(0.5) ? @st : reverse @st);
}

sub op_edit_total
{
	my $k = pick(grep { !returns_of($_) || $S->{doc}{$_}{total} > 0 } docs('pos'));
	return () unless defined $k;
	my $d = $S->{doc}{$k};
	if (defined $d->{link})
	{
		my $up = $S->{doc}{ $d->{link} };
		return () if $d->{total} > 0;
		$d->{total} = -part($up ? abs($up->{total}) : 1000);
	}
	else
	{
		my $c = cents();
		$d->{total} = $d->{total} < 0 ? -$c : $c;
		# a sale turns into a return, or the other way round
		$d->{total} = -$d->{total} if $W->{unl} && chance(0.2) && !returns_of($k) && !$d->{paid};
	}
	return item('UPDATE {W}.pos SET total = ' . money($d->{total}) . ' WHERE no = ' . str($k) . ';');
}

sub op_edit_paid
{
	my $k = pick(docs('inv'));
	return () unless defined $k && $W->{paid};
	my $d = $S->{doc}{$k};
	$d->{paid} = $d->{paid} ? 0 : int(gross($k) / 5);
	return item('UPDATE {W}.inv SET paid = ' . ($d->{paid} ? money($d->{paid}) : 'NULL') . ' WHERE key = ' . str($k) . ';');
}

# all lines of all documents of the history in one statement
sub op_edit_all
{
	my @k = docs('inv');
	return () unless @k;
	foreach my $k (@k)
	{
		$_->{amt} += 150 for grep { !$_->{disc} } values %{ $S->{doc}{$k}{lines} };
	}
	return item("UPDATE {W}.inv_line SET amount = amount + 1.5 WHERE key LIKE '{P}%' AND amount >= 0 AND parent IN (" . join(', ', map { str($_) } @k) . ');',
		map { sync_head($_) } @k);
}

sub op_date
{
	my $k = pick(sort keys %{ $S->{doc} });
	return () unless defined $k;
	my $d = $S->{doc}{$k};
	$d->{at} = instant();
	$S->{redated} = 1;
	return item("UPDATE {W}.$d->{src} SET " . ($d->{src} eq 'pos' ? "day = '" . substr($d->{at}, 0, 10) . "' WHERE no"
		: "at = '$d->{at}" . ($d->{src} eq 'inv' ? '+00' : '') . "' WHERE key") . ' = ' . str($k) . ';');
}

# posted <-> draft, cancelled <-> not, in and out of the filter
sub op_toggle
{
	my $k = pick(sort keys %{ $S->{doc} });
	return () unless defined $k;
	return toggle($k);
}

sub toggle
{
	my ($k) = @_;
	my $d = $S->{doc}{$k};
	if ($d->{src} eq 'crn')
	{
		$d->{state} = $d->{state} eq 'posted' ? pick('draft', 'cancelled') : 'posted';
		return item("UPDATE {W}.crn SET state = '$d->{state}' WHERE key = " . str($k) . ';');
	}
	if ($d->{src} eq 'pos')
	{
		$d->{void} = !$d->{void};
		return item('UPDATE {W}.pos SET void = NOT void WHERE no = ' . str($k) . ';');
	}
	my $what = pick('on', 'on', 'void', 'void', 'kind');
	if ($what eq 'kind')
	{
		$d->{kind} = $d->{kind} eq 'out' ? 'in' : 'out';
		return item("UPDATE {W}.inv SET kind = '$d->{kind}' WHERE key = " . str($k) . ';');
	}
	$d->{$what} = !$d->{$what};
	my $col = $what eq 'on' ? 'posted' : 'void';
	return item("UPDATE {W}.inv SET $col = " . ($d->{$what} ? 'true' : 'false') . ' WHERE key = ' . str($k) . ';');
}

# to draft, edited, posted again
sub op_reopen
{
	my $k = pick(grep { $S->{doc}{$_}{on} } docs('inv'));
	return () unless defined $k;
	my $d = $S->{doc}{$k};
	my $l = pick(grep { !$d->{lines}{$_}{disc} } sort keys %{ $d->{lines} });
	my @it = item('UPDATE {W}.inv SET posted = false WHERE key = ' . str($k) . ';');
	if (defined $l)
	{
		$d->{lines}{$l}{amt} += 777;
		push @it, item('UPDATE {W}.inv_line SET amount = ' . money($d->{lines}{$l}{amt}) . ' WHERE key = ' . str($l) . ';', sync_head($k));
	}
	push @it, item('UPDATE {W}.inv SET posted = true WHERE key = ' . str($k) . ';');
	return @it;
}

sub op_company
{
	my $k = pick(grep { !returns_of($_) && !defined $S->{doc}{$_}{link} } docs('pos'));
	return () unless defined $k && $W->{w} eq 'i';
	$S->{doc}{$k}{company} = pick('north', 'south', 'east');
	return item("UPDATE {W}.pos SET company = '$S->{doc}{$k}{company}' WHERE no = " . str($k) . ';');
}

sub op_add_line
{
	my $k = pick(docs('inv'));
	return () unless defined $k;
	my $d = $S->{doc}{$k};
	my $l = sprintf('%s.%d', newkey('L'), 1);
	$d->{lines}{$l} = { amt => cents(), earns => 1 };
	return item(sprintf('INSERT INTO {W}.inv_line (key, parent, amount) VALUES (%s, %s, %s);', str($l), str($k), money($d->{lines}{$l}{amt})), sync_head($k));
}

sub free_line
{
	foreach my $k (shuffle(docs('inv')))
	{
		my $d = $S->{doc}{$k};
		next if grep { $_->{disc} } values %{ $d->{lines} };
		next if keys %{ $d->{lines} } < 2;
		foreach my $l (sort keys %{ $d->{lines} })
		{
			return ($k, $l) unless line_is_returned($l);
		}
	}
	return ();
}

sub op_delete_line
{
	my ($k, $l) = free_line();
	return () unless defined $l;
	delete $S->{doc}{$k}{lines}{$l};
	return item('DELETE FROM {W}.inv_line WHERE key = ' . str($l) . ';', sync_head($k));
}

sub op_move_line
{
	my ($k, $l) = free_line();
	return () unless defined $l;
	my $to = pick(grep { $_ ne $k } docs('inv'));
	return () unless defined $to;
	$S->{doc}{$to}{lines}{$l} = delete $S->{doc}{$k}{lines}{$l};
	return item('UPDATE {W}.inv_line SET parent = ' . str($to) . ' WHERE key = ' . str($l) . ';', sync_head($k), sync_head($to));
}

sub op_line_earns
{
	my $k = pick(docs('inv'));
	return () unless defined $k && $W->{earns};
	my $l = pick(grep { !$S->{doc}{$k}{lines}{$_}{disc} } sort keys %{ $S->{doc}{$k}{lines} });
	return () unless defined $l && !grep { $_->{disc} } values %{ $S->{doc}{$k}{lines} };
	$S->{doc}{$k}{lines}{$l}{earns} = !$S->{doc}{$k}{lines}{$l}{earns};
	return item('UPDATE {W}.inv_line SET earns = NOT earns WHERE key = ' . str($l) . ';');
}

sub del
{
	my @st;
	foreach my $k (@_)
	{
		my $d = $S->{doc}{$k};
		my @x = ("DELETE FROM {W}.$d->{src} WHERE " . ($d->{src} eq 'pos' ? 'no' : 'key') . ' = ' . str($k) . ';');
		push @x, "DELETE FROM {W}.$d->{src}_line WHERE parent = " . str($k) . ';' if $d->{src} ne 'pos';
		push @st, chance(0.5) ? @x : reverse @x;
		delete $S->{doc}{$k};
	}
	return @st;
}

sub op_delete
{
	my $k = pick(sort keys %{ $S->{doc} });
	return () unless defined $k;
	my @r = returns_of($k);
	return item(del($k)) unless @r;
	# with all that hangs on it, or alone, so that its returns hang in the air
	return item(del(shuffle(family($k)))) if chance(0.5) || $without{gone};
	return () if !$W->{unl} || grep { !defined $S->{doc}{$_}{link} || returns_of($_)
		|| ($S->{doc}{$_}{total} > 0 && !defined $S->{doc}{$k}{link}) } @r;
	return item(del($k));
}

sub op_delete_and_again
{
	my $k = pick(grep { !returns_of($_) } sort keys %{ $S->{doc} });
	return () unless defined $k;
	my $d = dclone($S->{doc}{$k});
	my @st = del($k);
	$S->{doc}{$k} = $d;
	my @again = (ins_head($k), $d->{src} ne 'pos' ? ins_lines(0, $k) : ());
	return chance(0.5) ? item(@st, @again) : (item(@st), item(@again));
}

# another customer, a guest who becomes known, or the other way round; mostly
# with everything that hangs together
sub op_customer
{
	my $k = pick(sort keys %{ $S->{doc} });
	return () unless defined $k;
	my $c = pick(grep { $_ != $S->{doc}{$k}{cust} } (0, 1, 1, 2, 2));
	my @f = chance(0.7) ? family($k) : ($k);
	$S->{doc}{$_}{cust} = $c for @f;
	my @st;
	foreach my $src (shuffle(qw(inv crn pos)))
	{
		my @k = grep { $S->{doc}{$_}{src} eq $src } @f;
		push @st, "UPDATE {W}.$src SET customer = " . cust($c) . ' WHERE ' . ($src eq 'pos' ? 'no' : 'key')
			. ' IN (' . join(', ', map { str($_) } @k) . ');' if @k;
	}
	return item(@st);
}

sub op_rename
{
	my $k = pick(docs('inv'));
	return () unless defined $k;
	my $to = newkey('I');
	my $d = $S->{doc}{$to} = delete $S->{doc}{$k};
	foreach my $r (values %{ $S->{doc} })
	{
		$r->{link} = $to if defined $r->{link} && $r->{link} eq $k;
	}
	return item(shuffle(
		'UPDATE {W}.inv SET key = ' . str($to) . ' WHERE key = ' . str($k) . ';',
		'UPDATE {W}.inv_line SET parent = ' . str($to) . ' WHERE parent = ' . str($k) . ';',
		'UPDATE {W}.crn SET of_inv = ' . str($to) . ' WHERE of_inv = ' . str($k) . ';'));
}

# nothing that concerns loyalty
sub op_touch
{
	return item(pick(
		"UPDATE {W}.inv SET memo = 'x' WHERE key LIKE '{P}%';",
		"UPDATE {W}.inv SET amount = amount, posted = posted, at = at WHERE key LIKE '{P}%';",
		"UPDATE {W}.inv_line SET memo = 'x', amount = amount WHERE key LIKE '{P}%';",
		"UPDATE {W}.pos SET memo = 'x', total = total WHERE no LIKE '{P}%';",
		"DELETE FROM {W}.inv WHERE key = '{P}none';"));
}

sub op_settle { return item('SELECT loyalty.settle();'); }

# done, undone; and sometimes done again all the same
sub op_rollback
{
	my $before = dclone($S);
	my @it = map { op() } 1 .. pick(1, 1, 2, 3);
	@it = grep { !$_->{rb} } @it;
	return () unless @it;
	my $rb = { rb => [ map { @{ $_->{s} } } @it ], how => pick('savepoint', 'savepoint', 'transaction') };
	return ($rb, @it) if chance(0.3);
	my $count = $S->{count};
	$S = $before;
	$S->{count} = $count if chance(0.5);
	return ($rb);
}

my @ops = (
	[ 14, \&op_inv ], [ 5, \&op_several ], [ 4, \&op_draft ],
	[ 9, \&op_crn_lines ], [ 8, \&op_crn_value ], [ 2, \&op_crn_thirds ], [ 4, \&op_crn_two ],
	[ 4, \&op_crn_unlinked, 'unl' ], [ 4, \&op_return_first, 'unl' ], [ 3, \&op_refund_and_void ],
	[ 8, \&op_pos, 'pos' ], [ 2, \&op_pos_several, 'pos' ], [ 6, \&op_pos_return, 'pos' ], [ 3, \&op_pos_giveback, 'pos' ],
	[ 2, \&op_pos_relink, 'pos' ], [ 8, \&op_pos_chain, 'pos' ], [ 2, \&op_pos_giveback_relink, 'pos' ],
	[ 3, \&op_pos_unlinked, 'pos', 'unl' ], [ 2, \&op_pos_return_first, 'pos', 'unl' ],
	[ 7, \&op_edit_line ], [ 4, \&op_edit_total, 'pos' ], [ 2, \&op_edit_paid, 'paid' ], [ 2, \&op_edit_all ],
	[ 3, \&op_date ], [ 10, \&op_toggle ], [ 3, \&op_reopen ], [ 2, \&op_company, 'pos' ],
	[ 3, \&op_add_line ], [ 2, \&op_delete_line ], [ 2, \&op_move_line ], [ 2, \&op_line_earns, 'earns' ],
	[ 5, \&op_delete ], [ 3, \&op_delete_and_again ], [ 7, \&op_customer ], [ 3, \&op_rename ],
	[ 3, \&op_touch ], [ 3, \&op_settle ], [ 6, \&op_rollback ]);

sub op
{
	my @can = grep { my @need = @$_[ 2 .. $#$_ ]; !grep { !$W->{$_} } @need } @ops;
	my $r = rand(sum0(map { $_->[0] } @can));
	foreach my $o (@can)
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
	$W = $worlds[ $n % @worlds ];
	$S = { doc => {}, count => {} };
	my @it = chance(0.6) || !$W->{pos} ? op_inv() : op_pos();
	my $len = 3 + int(rand(9));
	push @it, op() for 1 .. $len;
	return { n => $n, w => $W->{w}, items => \@it, redated => $S->{redated} };
}

# ---------------------------------------------------------------------------
# groupings: a list of steps and marks; everything is between BEGIN and COMMIT

sub tokens
{
	my ($h, $variant) = @_;
	my @items = @{ $h->{items} };
	my @t;
	srand($seed * 100003 + $h->{n} + 7919 * ord($variant));
	foreach my $i (0 .. $#items)
	{
		my $it = $items[$i];
		if ($variant eq 'a' || $variant eq 'd' || $variant eq 'e')
		{
			push @t, 'commit' if $i;
			push @t, $it;
		}
		elsif ($variant eq 'b')
		{
			push @t, $it;
		}
		else
		{
			push @t, 'commit' if $i && chance(0.4);
			push @t, 'settle' if chance(0.1);
			my $r = rand();
			push @t, 'savepoint' if $r < 0.2;
			# a step that is undone at first
			push @t, { rb => $it->{s}, how => 'savepoint' } if $r > 0.9 && $it->{s};
			push @t, $it;
			push @t, 'release' if $r < 0.1;
		}
	}
	return @t;
}

sub render
{
	my ($w, $run, @t) = @_;
	my (@out, @now);
	my $depth = 0;
	my $close = sub {
		return unless @now;
		push @out, @now == 1 && $now[0] !~ /^(SAVEPOINT|RELEASE)/ ? @now : ('BEGIN;', @now, 'COMMIT;');
		@now = ();
		$depth = 0;
	};
	foreach my $t (@t)
	{
		if (!ref $t)
		{
			if ($t eq 'commit') { $close->(); }
			elsif ($t eq 'settle') { push @now, 'SELECT loyalty.settle();'; }
			elsif ($t eq 'savepoint') { push @now, 'SAVEPOINT s' . ++$depth . ';'; }
			elsif ($depth > 0) { push @now, 'RELEASE s' . $depth-- . ';'; }
		}
		elsif ($t->{rb})
		{
			next unless @{ $t->{rb} };
			if ($t->{how} eq 'transaction' && !@now)
			{
				push @out, 'BEGIN;', @{ $t->{rb} }, 'ROLLBACK;';
			}
			else
			{
				push @now, 'SAVEPOINT r;', @{ $t->{rb} }, 'ROLLBACK TO r;';
			}
		}
		else
		{
			push @now, @{ $t->{s} };
		}
	}
	$close->();
	my $sql = join("\n", @out) . "\n";
	$sql =~ s/\{P\}/$run-/g;
	$sql =~ s/\{W\}/w_$w/g;
	return $sql;
}

# the final rows of variant a as another variant, for a world or one run of it
my %columns = (
	inv => [ 'key', 'customer' ], inv_line => [ 'key', 'parent' ], crn => [ 'key', 'customer', 'of_inv' ],
	crn_line => [ 'key', 'parent', 'of_line' ], pos => [ 'no', 'customer', 'of_no' ]);
my %others = (
	inv => 'at, posted, void, kind, amount, paid', inv_line => 'amount, earns', crn => 'at, state, total',
	crn_line => 'amount', pos => 'day, total, paid, fx, company, void');

sub copy_rows
{
	my ($w, $variant, $run) = @_;
	my @st;
	foreach my $t (shuffle(sort keys %columns))
	{
		my @c = @{ $columns{$t} };
		push @st, "INSERT INTO w_$w.$t (" . join(', ', @c) . ", $others{$t}) SELECT "
			. join(', ', map { "regexp_replace($_, '^(\\d+)a-', '\\1$variant-')" } @c) . ", $others{$t} FROM w_$w.$t WHERE "
			. ($run ? "rnd.run($c[0]) = '${run}a'" : "rnd.run($c[0]) ~ '^\\d+a\$' AND length(rnd.run($c[0])) < 7")
			. " ORDER BY md5($c[0]);";
	}
	if ($variant eq 'e')
	{
		my @call = map { "CALL loyalty.backfill('${w}_$_', batch => 37);" } shuffle('inv', 'crn', $world{$w}{pos} ? 'pos' : ());
		return join("\n", 'SET session_replication_role = replica;', @st, 'SET session_replication_role = origin;', @call) . "\n";
	}
	# a world copies in one transaction, or table by table
	return join("\n", ord($w) % 2 && !$run ? ('BEGIN;', @st, 'COMMIT;') : @st) . "\n";
}

# ---------------------------------------------------------------------------
# the search for a minimal history

# what it is about and whose it is, whatever the figures and the run
sub kind_of
{
	my @c = split(/\|/, $_[0], -1);
	my $who = $c[2] // '';
	$who =~ s/\b\d+[a-e]-//g;
	$who =~ s/:.*//;
	return "$c[1] $who";
}

my $gone;
# does this history still show the mismatch?
sub shows
{
	my ($h, $variant, $check, $same, @t) = @_;
	my $n = $fresh++;
	my $run = $n . $variant;
	my $copy = $variant =~ /[de]/;
	my $sql = "\\set ON_ERROR_STOP 1\nSET client_min_messages = error;\n\\o /dev/null\n";
	$sql .= render($h->{w}, $copy ? "${n}a" : $run, @t);
	$sql .= copy_rows($h->{w}, $variant, $n) if $copy;
	$sql .= "CALL loyalty.upkeep();\nINSERT INTO rnd.redated VALUES ('$run');\n" ;
	$sql .= "SELECT rnd.load('$run'), rnd.compute();\n\\o\n";
	$sql .= "SELECT 'unclear', why FROM rnd.unclear() WHERE run = '$run' LIMIT 1;\n";
	$sql .= "SELECT 'gone' FROM rnd.gone WHERE run = '$run';\n";
	if ($check eq 'oracle')
	{
		$sql .= "SELECT 'bad', what, who, due, booked FROM rnd.mismatches('$run');\n";
	}
	elsif ($check eq 'pending')
	{
		$sql .= "SELECT 'bad', doc_key, reason, sqlstate, message FROM loyalty.pending WHERE rnd.run(doc_key) = '$run';\n";
	}
	elsif ($check eq 'check')
	{
		$sql .= "SELECT 'bad', c.problem, c.detail FROM loyalty.check() c LEFT JOIN loyalty.member m USING (member_id) WHERE rnd.run(m.customer) = '$run';\n";
	}
	else
	{
		$sql .= "SELECT 'bad', '${_}', doc_key, booked, due, problem FROM loyalty.verify('$h->{w}_$_') WHERE rnd.run(doc_key) = '$run';\n"
			for 'inv', 'crn', $world{ $h->{w} }{pos} ? 'pos' : ();
	}
	my ($rc, $out, $err) = psql($sql);
	return () if $rc || $out =~ /^unclear/m;
	# a link into nothing is a matter of its own
	$gone = $out =~ /^gone/m if $same eq '';
	return () if !$gone && $out =~ /^gone/m;
	my @bad = grep { /^bad/ } split(/\n/, $out);
	return (grep { $_ eq $same } map { kind_of($_) } @bad) || $same eq '' ? @bad : ();
}

sub minimal
{
	my ($h, $variant, $check) = @_;
	my @t = tokens($h, $variant);
	my @bad = shows($h, $variant, $check, '', @t);
	my $same = @bad ? kind_of($bad[0]) : '';
	if (!@bad)
	{
		print "#   played alone the history does not show it\n";
	}
	else
	{
		my $again = 1;
		while ($again)
		{
			$again = 0;
			# halves first, then single steps
			for (my $size = int(@t / 2) || 1; $size >= 1; $size = int($size / 2))
			{
				for (my $i = 0; $i + $size <= @t; )
				{
					my @less = @t;
					splice(@less, $i, $size);
					if (@less && (my @b = shows($h, $variant, $check, $same, @less)))
					{
						@t = @less;
						@bad = @b;
						$again = 1;
					}
					else
					{
						$i++;
					}
				}
			}
			# and single statements of a step
			foreach my $i (0 .. $#t)
			{
				next unless ref $t[$i];
				my $part = $t[$i]{rb} ? 'rb' : 's';
				for (my $j = $#{ $t[$i]{$part} }; $j >= 0; $j--)
				{
					next if @{ $t[$i]{$part} } < 2;
					my @st = @{ $t[$i]{$part} };
					splice(@st, $j, 1);
					my @less = @t;
					$less[$i] = { %{ $t[$i] }, $part => \@st };
					if (my @b = shows($h, $variant, $check, $same, @less))
					{
						@t = @less;
						@bad = @b;
						$again = 1;
					}
				}
			}
		}
	}
	print "#   SEED=$seed, history $h->{n}, world $h->{w} (see schema.sql), variant $variant\n";
	my $sql = render($h->{w}, "1$variant", @t);
	print "#     $_\n" for split(/\n/, $sql);
	print "#     and its final rows copied as variant $variant\n" if $variant =~ /[de]/;
	print "#   what | whose | due | booked:\n" if @bad && $check eq 'oracle';
	print "#     " . substr($_, 4) . "\n" for @bad;
}

# a mismatch of one run; "12b" is history 12, variant b
sub report
{
	my ($run, $check, $text, @why) = @_;
	result(0, $text, @why);
	my ($n, $variant) = $run =~ /^(\d+)([a-e])$/ or return;
	return if $searched{"$n $check"}++;
	if (++$shrunk > ($ENV{SHRINK} // 3))
	{
		print "#   SEED=$seed, history $n, variant $variant; not searched for the minimal one any more\n";
		return;
	}
	minimal(history($n), $variant, $check);
}

# ---------------------------------------------------------------------------

foreach my $r (rows('SELECT w, pos::int, unl::int, disc::int, earns::int, paid::int, fx::int, inv_amount::int, crn_amount::int, oracle FROM rnd.world ORDER BY w;'))
{
	my %w;
	@w{qw(w pos unl disc earns paid fx inv_amount crn_amount oracle)} = @$r;
	$world{ $w{w} } = \%w;
	push @worlds, \%w;
}

if (@ARGV && $ARGV[0] eq 'sql')
{
	foreach my $n ($ENV{ONLY} || (1 .. $histories))
	{
		my $h = history($n);
		print "-- history $n, world $h->{w}, variant $_\n" . render($h->{w}, "$n$_", tokens($h, $_)) for split(//, $ENV{VARIANT} || 'abc');
	}
	exit 0;
}

print "# seed $seed, $histories histories\n";
my %of;
for (my $from = 1; $from <= $histories; $from += $chunk)
{
	my $sql = "SET client_min_messages = warning;\n\\o /dev/null\n";
	foreach my $n ($from .. min($from + $chunk - 1, $histories))
	{
		my $h = $of{$n} = history($n);
		foreach my $variant (qw(a b c))
		{
			$sql .= "\\echo run $n$variant\n" . render($h->{w}, "$n$variant", tokens($h, $variant));
		}
		$sql .= "INSERT INTO rnd.redated SELECT '$n' || v FROM unnest('{a,b,c}'::text[]) v;\n" if $h->{redated};
	}
	my ($rc, $out, $err) = psql($sql);
	# nothing may fail the ERP, or park
	result(0, 'a statement failed or warned', (split(/\n/, $err))[ 0 .. min(20, ($err =~ tr/\n//) - 1) ]) if $err ne '';
	printf "# played %d of %d histories\n", min($from + $chunk - 1, $histories), $histories;
}

# before a backfill of the same sources could mend anything
my %wrong;
rows("CALL loyalty.upkeep();\nDO 'BEGIN PERFORM rnd.load(); PERFORM rnd.compute(); END';");
push @{ $wrong{ $_->[1] } }, $_ foreach rows('SELECT * FROM rnd.mismatches() ORDER BY 1, 2, 3, 4;');
my %early = map { $_ => 1 } keys %wrong;

foreach my $w (@worlds)
{
	srand($seed + ord($w->{w}));
	my ($rc, $out, $err) = psql("SET client_min_messages = warning;\n\\o /dev/null\n" . copy_rows($w->{w}, 'd') . copy_rows($w->{w}, 'e'));
	result($err eq '', "world $w->{w}: copying the final rows", split(/\n/, $err));
}
print "# copied the final rows\n";

rows('CALL loyalty.upkeep();');
my %bad;
foreach my $r (rows('SELECT s.name, p.doc_key, rnd.run(p.doc_key), p.reason, p.sqlstate, p.message FROM loyalty.pending p LEFT JOIN loyalty.source s USING (source_id) ORDER BY 2;'))
{
	report($r->[2], 'pending', "document $r->[1] of $r->[0] is still $r->[3]: $r->[4] $r->[5]") unless $bad{ $r->[2] }++;
}
result(1) unless %bad;

# the generator stays where the papers are clear, and the oracle has work
my ($load) = rows("DO 'BEGIN PERFORM rnd.load(); PERFORM rnd.compute(); END';\n"
	. "SELECT count(*), count(*) FILTER (WHERE points <> 0), count(*) FILTER (WHERE root_key <> ''), count(DISTINCT rnd.run(key)) FROM rnd.due;");
printf "# the oracle: %d documents in %d runs, %d with points, %d returns in families\n", @$load[0, 3, 1, 2];
my @unclear = rows('SELECT DISTINCT run, why FROM rnd.unclear();');
result(!@unclear, 'the generator made histories for which the papers do not say what is right', map { "$_->[0]: $_->[1]" } @unclear[ 0 .. min(9, $#unclear) ]);

# every run against the oracle
push @{ $wrong{ $_->[1] } }, $_ foreach grep { !$early{ $_->[1] } } rows('SELECT * FROM rnd.mismatches() ORDER BY 1, 2, 3, 4;');
foreach my $n (1 .. $histories)
{
	foreach my $variant (qw(a b c d e))
	{
		my $m = delete $wrong{"$n$variant"};
		if (!$m) { result(1); next; }
		report("$n$variant", 'oracle', "history $n, variant $variant: the points are not what the oracle says",
			map { "$_->[2] of $_->[3]: due $_->[4], booked $_->[5]" } @$m);
	}
}
result(0, "run $_ is no history's") for sort keys %wrong;
print "# compared with the oracle\n";

# the same final rows give the same balances, whatever the way; but whether a
# sale that is gone was ever seen is a matter of the way
foreach my $r (rows(q{
	SELECT w, substr(run, 1, length(run) - 1), regexp_replace(customer, '^\d+[a-e]-', ''),
		string_agg(right(run, 1) || '=' || balance, ' ' ORDER BY run),
		(count(DISTINCT balance) = 1 AND (count(*) = 5 OR max(balance) = 0))::int
	FROM (SELECT v.w, rnd.run(m.customer) AS run, m.customer, sum(e.points) AS balance
			FROM loyalty.entry e JOIN loyalty.member m USING (member_id) JOIN loyalty.program p USING (program_id)
				JOIN rnd.world v ON v.w = p.name AND v.oracle = 'exact'
			GROUP BY 1, 2, 3) b
	WHERE length(run) < 7 AND NOT EXISTS (SELECT FROM rnd.gone g WHERE substr(g.run, 1, length(g.run) - 1) = substr(b.run, 1, length(b.run) - 1))
	GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;}))
{
	result($r->[4], "history $r->[1] (world $r->[0]) in different groupings: customer $r->[2] has $r->[3]");
}

# nothing changes when everything is looked at once more
my ($before) = rows('SELECT clock_timestamp();');
foreach my $w (@worlds)
{
	foreach my $src ('inv', 'crn', $w->{pos} ? 'pos' : ())
	{
		my @v = rows("SELECT doc_key, rnd.run(doc_key), customer, booked, due, problem FROM loyalty.verify('$w->{w}_$src') WHERE length(rnd.run(doc_key)) < 7 ORDER BY 1;");
		if (@v)
		{
			report($v[0][1], 'verify', "verify('$w->{w}_$src') finds " . @v . ' documents',
				map { join(' | ', map { defined $_ ? $_ : '' } @$_) } @v[ 0 .. min(4, $#v) ]);
		}
		else { result(1); }
		rows("CALL loyalty.backfill('$w->{w}_$src');") if $w->{oracle} ne 'path';
		my ($p) = $w->{oracle} eq 'path' ? ([0]) : rows("SELECT coalesce(loyalty.reevaluate('$w->{w}_$src', VARIADIC array_agg("
			. ($src eq 'pos' ? 'no' : 'key') . ")), 0) FROM w_$w->{w}.$src;");
		result($p->[0] == 0, "reevaluate('$w->{w}_$src') books $p->[0] points");
	}
	rows("UPDATE w_$w->{w}.inv SET memo = 'again', kind = kind, amount = amount; UPDATE w_$w->{w}.pos SET total = total;"
		. " UPDATE w_$w->{w}.crn_line SET amount = amount; CALL loyalty.upkeep();");
}
my @new = rows("SELECT p.name, m.customer, e.seq, e.kind, e.points, e.doc_key FROM loyalty.entry e JOIN loyalty.member m USING (member_id)"
	. " JOIN loyalty.program p USING (program_id) JOIN rnd.world v ON v.w = p.name AND v.oracle <> 'path' WHERE e.recorded_at > '$before->[0]' AND length(rnd.run(e.doc_key)) < 7 ORDER BY 1, 2, 3;");
result(!@new, 'looking again made ' . @new . ' entries', map { join(' | ', @$_) } @new[ 0 .. min(9, $#new) ]);
print "# verified, backfilled, evaluated again\n";

my @check = rows('SELECT c.problem, c.member_id, m.customer, c.detail, coalesce(rnd.run(m.customer), \'\') FROM loyalty.check() c LEFT JOIN loyalty.member m USING (member_id)'
	. ' WHERE length(rnd.run(m.customer)) < 7 IS NOT FALSE ORDER BY 2;');
if (@check)
{
	report($check[0][4], 'check', 'check() finds ' . @check . ' problems', map { join(' | ', @$_[ 0 .. 3 ]) } @check[ 0 .. min(9, $#check) ]);
}
else { result(1); }

print "$passed passed, $failed failed\n";
exit($failed ? 1 : 0);
