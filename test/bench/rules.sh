#!/bin/bash
#
# Benchmark: what 100 active rules cost a document of 5 lines.  Three databases
# with the same documents, in one throw-away cluster, taking turns:
#   base      one rule, points per amount
#   rules     100 more, on lines and documents, of which a few hold
#   history   the same, ten of them on what was bought before
# Figures are CPU time of the backend per document, and the difference to base.
#
#   test/bench/rules.sh          about a minute
#
# Settings, from the environment:
#   N        documents of one run, in one transaction (10000)
#   ROUNDS   rounds (3)
#   PG_CONFIG, TMPDIR as usual
#
# The extension must be installed (make install).  As root the script runs
# itself as user postgres, because a server refuses to run as root.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/cluster.sh"

N=${N:-10000}
ROUNDS=${ROUNDS:-3}
variants="base rules history"

start_cluster <<END
shared_buffers = 256MB
jit = off
synchronous_commit = off
END

for v in $variants; do
	createdb "$v"
	psql -X -q -v ON_ERROR_STOP=1 -v kind="$v" -d "$v" >/dev/null <<'END'
CREATE EXTENSION loyalty;
CREATE TABLE invoice (id integer PRIMARY KEY, customer integer, at timestamptz, channel text, coupon text);
CREATE TABLE line (id integer PRIMARY KEY, invoice integer, product text, category text, brand text, qty numeric, amount numeric);
CREATE INDEX ON line (invoice);
SELECT loyalty.create_program('club', 'Europe/Berlin');
SELECT loyalty.set_rule('club', 'base', 1, 10);
SELECT loyalty.attach('shop', 'club', 'invoice', key => 'r.id', customer => 'r.customer', doc_date => 'r.at', channel => 'r.channel',
	lines => 'line', line_parent => 'l.invoice', line_key => 'l.id', line_product => 'l.product', line_category => 'l.category',
	line_qty => 'l.qty', line_amount => 'l.amount');
SELECT :'kind' <> 'base' AS with_rules, :'kind' = 'history' AS with_history \gset
\if :with_rules
-- each tenth of them of a kind
SELECT CASE i % 10
	WHEN 0 THEN loyalty.set_rule('club', 'category ' || i, kind => 'multiplier', factor => 1.5, condition => format('line.category = ''c%s''', i))
	WHEN 1 THEN loyalty.set_rule('club', 'brand ' || i, kind => 'multiplier', factor => 2, condition => format('line.brand = ''b%s'' AND line.amount > 20', i))
	WHEN 2 THEN loyalty.set_rule('club', 'products ' || i, 5, kind => 'bonus', applies_to => 'line', condition => format('line.product IN (''p%s'', ''p%s'', ''p%s'')', i, i + 1, i + 2))
	WHEN 3 THEN loyalty.set_rule('club', 'units ' || i, 2, kind => 'unit', condition => format('line.category = ''c%s'' AND line.qty >= 2', i))
	WHEN 4 THEN loyalty.set_rule('club', 'hour ' || i, kind => 'multiplier', factor => 1.1, condition => format('document.hour = %s AND document.weekday IN (6, 7)', i % 24))
	WHEN 5 THEN loyalty.set_rule('club', 'channel ' || i, 3, kind => 'bonus', condition => format('document.channel = ''channel %s''', i))
	WHEN 6 THEN loyalty.set_rule('club', 'threshold ' || i, 10, kind => 'bonus', condition => format('document.amount >= %s', i * 50))
	WHEN 7 THEN loyalty.set_rule('club', 'coupon ' || i, 20, kind => 'bonus', condition => format('invoice.coupon = ''k%s''', i))
	WHEN 8 THEN loyalty.set_rule('club', 'season ' || i, kind => 'multiplier', factor => 1.2, condition => format('document.month = 12 AND document.day = %s AND line.category <> ''c1''', 1 + i % 28))
	ELSE loyalty.set_rule('club', CASE WHEN h.yes THEN 'visit ' ELSE 'lines ' END || i, 30, kind => 'bonus',
		condition => format(CASE WHEN h.yes THEN 'member.purchase_count = %s' ELSE 'document.lines = 10 + %s' END, i)) END
FROM generate_series(1, 100) i, (SELECT :'with_history'::boolean AS yes) h;
\endif
END
done

echo "$(postgres --version), $(nproc) CPUs, load $(cut -d ' ' -f 1-3 /proc/loadavg); $N documents of 5 lines"
for ((round = 1; round <= ROUNDS; round++)); do
	for v in $variants; do
		# the clock starts when the backend has compiled what it needs
		psql -X -q -A -t -v ON_ERROR_STOP=1 -v first=$((round * (N + 1))) -v n="$N" -d "$v" <<'END' | awk -v v="$v" '{ print v, $1 }' >>"$dir/results"
CREATE PROCEDURE pg_temp.sell(first integer, last integer) LANGUAGE sql AS $$
	INSERT INTO invoice SELECT i, i % 2000, '2024-01-01'::timestamptz + i % 500000 * interval '7 minutes', 'channel ' || i % 4, 'k' || i % 1000 FROM generate_series(first, last) i;
	INSERT INTO line SELECT i * 5 + l, i, 'p' || (i * 7 + l * 13) % 500, 'c' || (i + l) % 50, 'b' || (i * 3 + l) % 80, 1 + (i + l) % 3, 5 + (i * 31 + l * 17) % 100
		FROM generate_series(first, last) i, generate_series(0, 4) l;
$$;
CALL pg_temp.sell(:first, :first);
SELECT pg_backend_pid() AS pid \gset
\setenv BACKEND :pid
\set before `awk '{ print $14 + $15 }' /proc/$BACKEND/stat`
CALL pg_temp.sell(:first + 1, :first + :n);
\set after `awk '{ print $14 + $15 }' /proc/$BACKEND/stat`
SELECT round((:after - :before) * 1e6 / 100 / :n, 1);
END
	done
done
for v in $variants; do
	psql -X -q -A -t -d "$v" -c "SELECT 'check(): ' || problem || ' ' || detail FROM loyalty.check()"
	echo "# $v: $(psql -X -q -A -t -d "$v" -c 'SELECT round(avg(cardinality(rules)), 1) FROM loyalty.document') rules hold for a document"
done
sort -k 1,1 -k 2,2n "$dir/results" | awk -v rounds="$ROUNDS" '
	{ n[$1]++; if (n[$1] == int((rounds + 1) / 2)) median[$1] = $2 }
	END {
		printf "%-10s%20s%20s\n", "", "us per document", "more than base"
		split("base rules history", v)
		for (i = 1; i <= 3; i++)
			printf "%-10s%20.1f%20.1f\n", v[i], median[v[i]], median[v[i]] - median["base"]
	}'
