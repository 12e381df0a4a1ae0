#!/bin/bash
#
# Benchmark: what a redemption costs a member with 1, 1,000 and 100,000 lots.
# A redemption touches only the lots it needs, so the times must be alike.
#
# Printed per member: the time of the call of loyalty.redeem(), median and 95th
# percentile in milliseconds, each in a transaction of its own; and the most
# lots that one of them drew from.  At the end check() proves the books.
#
#   test/bench/redeem.sh             half a minute
#
# Settings, from the environment:
#   LOTS     lots of the members ("1 1000 100000")
#   CALLS    redemptions of each (500)
#   PG_CONFIG, TMPDIR as usual
#
# The extension must be installed (make install).  As root the script runs
# itself as user postgres, because a server refuses to run as root.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/cluster.sh"

LOTS=${LOTS:-1 1000 100000}
CALLS=${CALLS:-500}

start_cluster <<END
shared_buffers = 256MB
jit = off
fsync = off
END

createdb redeem
export PGDATABASE=redeem
psql -X -q -v ON_ERROR_STOP=1 >/dev/null <<'SQL'
CREATE EXTENSION loyalty;
CREATE TABLE invoice (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer text, at timestamptz, total numeric);
SELECT loyalty.create_program('club', 'UTC');
SELECT loyalty.set_expiry('club', '5 years');
SELECT loyalty.set_rule('club', 'base', 1, 1);
SELECT loyalty.set_redemption('club', 0.01);
SELECT loyalty.attach('shop', 'club', 'invoice', key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total');
CREATE TABLE took (lots integer, ms numeric);
CREATE PROCEDURE redeem_often(lots integer, prefix text, calls integer) LANGUAGE plpgsql AS $$
DECLARE
	v_start timestamptz;
BEGIN
	FOR i IN 1..calls LOOP
		v_start := clock_timestamp();
		PERFORM loyalty.redeem('club', 'lots ' || lots, 1, prefix || i);
		INSERT INTO took VALUES (lots, extract(epoch FROM clock_timestamp() - v_start) * 1000);
		COMMIT;
	END LOOP;
END
$$;
SQL

for n in $LOTS; do
	# lots of a few points, or one of many; the first calls are for the caches
	psql -X -q -v ON_ERROR_STOP=1 -v n="$n" -v calls="$CALLS" >/dev/null <<'SQL'
INSERT INTO invoice (customer, at, total)
	SELECT 'lots ' || :n, now() - i * interval '5 minutes', 5 + 2 * :calls / :n
	FROM generate_series(1, :n) i;
VACUUM ANALYZE;
CALL redeem_often(:n, 'warm ', 20);
DELETE FROM took WHERE lots = :n;
CALL redeem_often(:n, 'k', :calls);
SQL
done

psql -X -q -P footer=off -v ON_ERROR_STOP=1 <<'SQL'
SELECT t.lots, count(*) AS calls,
	round(percentile_cont(0.5) WITHIN GROUP (ORDER BY t.ms)::numeric, 3) AS median_ms,
	round(percentile_cont(0.95) WITHIN GROUP (ORDER BY t.ms)::numeric, 3) AS p95_ms,
	(SELECT max(x.n) FROM (SELECT count(*) AS n FROM loyalty.allocation a JOIN loyalty.entry e ON e.member_id = a.member_id AND e.seq = a.entry_seq
		WHERE e.member_id = loyalty.member_id('club', 'lots ' || t.lots) AND e.kind = 'redeem' GROUP BY e.seq) x) AS lots_touched
FROM took t GROUP BY t.lots ORDER BY t.lots;
SQL
problems=$(psql -X -At -c 'SELECT count(*) FROM loyalty.check()')
[ "$problems" = 0 ] || { echo "check() finds $problems problems"; exit 1; }
