#!/bin/bash
#
# Benchmark: what messages cost.  Two databases with the same documents take
# turns in one throw-away cluster, one of which tells its members what they
# earn; then a consumer fetches and acknowledges all of it, 100 at a time, without
# and with an old snapshot that somebody keeps.
#
#   test/bench/outbox.sh         about a minute
#
# Settings, from the environment:
#   N        documents of one run, in one transaction (100000)
#   ROUNDS   rounds (3)
#   PG_CONFIG, TMPDIR as usual
#
# The extension must be installed (make install).  As root the script runs
# itself as user postgres, because a server refuses to run as root.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/cluster.sh"

N=${N:-100000}
ROUNDS=${ROUNDS:-3}

start_cluster <<END
shared_buffers = 256MB
jit = off
synchronous_commit = off
END

for v in silent tells; do
	createdb "$v"
	psql -X -q -v ON_ERROR_STOP=1 -v kind="$v" -d "$v" >/dev/null <<'END'
CREATE EXTENSION loyalty;
CREATE TABLE invoice (id integer PRIMARY KEY, customer integer, day date, total numeric);
SELECT loyalty.create_program('club', 'UTC');
SELECT loyalty.set_rule('club', 'base', 1, 1);
SELECT loyalty.attach('shop', 'club', 'invoice', key => 'r.id', customer => 'r.customer', doc_date => 'r.day', amount => 'r.total');
INSERT INTO invoice SELECT -n, n, '2026-01-01', 10 FROM generate_series(1, 20000) n;
SELECT loyalty.set_message('club', 'earned') WHERE :'kind' = 'tells';
VACUUM ANALYZE;
END
done

printf '%-10s %-8s %14s %12s\n' round program documents/s us/document
for ((round = 1; round <= ROUNDS; round++)); do
	for v in silent tells; do
		ms=$(psql -X -q -A -t -d "$v" -v ON_ERROR_STOP=1 -c '\timing on' -c "INSERT INTO invoice
			SELECT $round * $N + n, 1 + (n * 7919::bigint) % 20000, '2026-01-02', 10 + n % 50 FROM generate_series(1, $N) n" |
			sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p')
		awk -v r="$round" -v v="$v" -v n="$N" -v ms="$ms" \
			'BEGIN { printf "%-10s %-8s %14d %12.1f\n", r, v, n / ms * 1000, ms * 1000 / n }'
	done
done

echo
printf '%-10s %14s\n' snapshot messages/s
for snapshot in none old; do
	if [ $snapshot = old ]; then
		psql -X -q -d tells -c 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; SELECT pg_sleep(600)' >/dev/null 2>&1 &
		sleep 1
	fi
	psql -X -q -A -t -d tells -v ON_ERROR_STOP=1 -v snapshot=$snapshot -v most=$((N * ROUNDS / 2)) <<'SQL'
CREATE TEMP TABLE drained (n bigint, seconds numeric);
SELECT set_config('bench.most', :'most', false) \g /dev/null
DO $$
DECLARE
	v_from timestamptz := clock_timestamp();
	v_done bigint := 0;
	v_n bigint;
BEGIN
	LOOP
		SELECT loyalty.acknowledge_all('bench', array_agg(f.member_id), array_agg(f.kind), array_agg(f.cause)) INTO v_n
			FROM loyalty.fetch_messages('bench', 100) f HAVING count(*) > 0;
		EXIT WHEN v_n IS NULL OR v_done >= current_setting('bench.most')::bigint;
		v_done := v_done + v_n;
		COMMIT;
	END LOOP;
	INSERT INTO drained VALUES (v_done, extract(epoch FROM clock_timestamp() - v_from));
END
$$;
SELECT format('%-10s %14s', :'snapshot', round(n / seconds)) FROM drained;
SQL
done
