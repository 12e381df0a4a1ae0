#!/bin/bash
#
# Benchmark: writing down that points have expired.  N lots, a tenth of which
# is due, in one throw-away cluster; in turn and from the same copy
#   upkeep    CALL loyalty.upkeep(steps => '{expiry}'), in batches with commits
#   plain     the best plain SQL that makes the same bookings (lots closed,
#             entries and allocations written, members updated): one statement,
#             no triggers, no locks taken beforehand, nobody else to be heeded
# Figures are lots that expire per second (wall clock, checkpoint before), with
# their spread, and the ratio of the two.  At the end the books are compared.
#
#   test/bench/expiry.sh                       a minute
#   N=10000000 test/bench/expiry.sh            1,000,000 of 10,000,000: half an hour
#
# Settings, from the environment:
#   N        lots (500000), a multiple of 10
#   PER      lots of a member (10)
#   BATCH    members of a batch (1000)
#   ROUNDS   rounds (3)
#   PG_CONFIG, TMPDIR as usual
#
# The extension must be installed (make install).  As root the script runs
# itself as user postgres, because a server refuses to run as root.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/cluster.sh"

N=${N:-500000}
PER=${PER:-10}
BATCH=${BATCH:-1000}
ROUNDS=${ROUNDS:-3}

run()
{
	psql -X -q -v ON_ERROR_STOP=1 "$@"
}

start_cluster <<END
shared_buffers = 1GB
work_mem = 256MB
jit = off
fsync = off
END

createdb base
run -d base -v n="$N" -v per="$PER" >/dev/null <<'END'
CREATE EXTENSION loyalty;
SELECT loyalty.create_program('club', 'UTC');
-- members with numbers spread as hashes are; lots of every member expire on
-- days of different months, one in ten of them before 2025
CREATE TEMP TABLE m AS SELECT (i * 9007199254740991::numeric / (:n / :per + 1))::bigint AS member_id, i
	FROM generate_series(1, :n / :per) i;
CREATE TEMP TABLE l AS SELECT m.member_id, k AS seq, 10 + k AS points,
		CASE WHEN (m.i * :per + k) % 10 = 0 THEN date '2024-01-01' + (k % 12) * 28 ELSE date '2025-01-01' + k * 17 END AS day
	FROM m, generate_series(1, :per) k;
INSERT INTO loyalty.entry (member_id, seq, kind, points, occurred_at, recorded_at, expires_on)
	SELECT member_id, seq, 'adjust', points, timestamptz '2023-01-01' + seq * interval '1 day', now(), day FROM l ORDER BY member_id, seq;
INSERT INTO loyalty.stored_lot (member_id, is_open, expires_on, seq, points, remaining)
	SELECT member_id, true, day, seq, points, points FROM l ORDER BY member_id, day, seq;
INSERT INTO loyalty.member (member_id, program_id, customer, joined_on, balance, last_seq, lots_through, next_expiry)
	SELECT m.member_id, 1, m.i, '2023-01-01', s.points, :per, :per, s.day
	FROM m JOIN (SELECT member_id, sum(points) AS points, min(day) AS day FROM l GROUP BY member_id) s USING (member_id) ORDER BY 1;
END
run -d base -c 'VACUUM ANALYZE'
# nobody has called for these points; else the books are as they should be
problems="SELECT * FROM loyalty.check() WHERE problem <> 'entry of no call' LIMIT 5"
[ -z "$(run -At -d base -c "$problems")" ] || { run -d base -c "$problems"; exit 1; }
due=$(run -At -d base -c "SELECT count(*) FROM loyalty.stored_lot WHERE expires_on < '2025-01-01'")

cat >"$dir/plain.sql" <<'END'
WITH due AS MATERIALIZED (
	SELECT l.member_id, l.expires_on, l.seq, l.remaining,
		m.last_seq + dense_rank() OVER (PARTITION BY l.member_id ORDER BY l.expires_on) AS entry_seq
	FROM loyalty.stored_lot l JOIN loyalty.member m USING (member_id)
	WHERE l.is_open AND l.expires_on < '2025-01-01' AND l.remaining > 0
), lots AS (
	UPDATE loyalty.stored_lot l SET remaining = 0, is_open = false, expired = l.expired + l.remaining
	FROM due d WHERE l.member_id = d.member_id AND l.is_open AND l.expires_on = d.expires_on AND l.seq = d.seq
), entries AS (
	INSERT INTO loyalty.entry (member_id, seq, kind, points, occurred_at, recorded_at)
		SELECT member_id, entry_seq, 'expire', - sum(remaining), (expires_on + 1)::timestamp AT TIME ZONE 'UTC', now()
		FROM due GROUP BY member_id, entry_seq, expires_on
), allocations AS (
	INSERT INTO loyalty.allocation (member_id, entry_seq, lot_seq, points)
		SELECT member_id, entry_seq, seq, - remaining FROM due
)
UPDATE loyalty.member m SET balance = m.balance - s.points, last_seq = s.last_seq, lots_through = s.last_seq,
	expired_through = s.through, next_expiry = s.next
FROM (SELECT d.member_id, sum(d.remaining) AS points, max(d.entry_seq) AS last_seq, max(d.expires_on) AS through,
		(SELECT min(l.expires_on) FROM loyalty.stored_lot l WHERE l.member_id = d.member_id AND l.is_open
			AND l.expires_on >= '2025-01-01') AS next
	FROM due d GROUP BY d.member_id) s
WHERE m.member_id = s.member_id;
END
echo "CALL loyalty.upkeep('2025-01-01', batch => $BATCH, steps => '{expiry}');" >"$dir/upkeep.sql"

books="SELECT md5(string_agg(x::text, '' ORDER BY x::text)) FROM (
	SELECT member_id, seq, kind, points, occurred_at FROM loyalty.entry WHERE kind = 'expire') x
	UNION ALL SELECT md5(string_agg(x::text, '' ORDER BY x::text)) FROM (SELECT * FROM loyalty.stored_lot WHERE expired > 0) x
	UNION ALL SELECT md5(string_agg(x::text, '' ORDER BY x::text)) FROM (SELECT * FROM loyalty.allocation) x
	UNION ALL SELECT md5(string_agg(x::text, '' ORDER BY x::text)) FROM (SELECT * FROM loyalty.member) x"

for ((round = 1; round <= ROUNDS; round++)); do
	for v in upkeep plain; do
		createdb -T base now
		[ "$v" = upkeep ] || for table in stored_lot entry allocation member; do
			run -d now -c "ALTER TABLE loyalty.$table DISABLE TRIGGER ALL"
		done
		run -d now -c CHECKPOINT
		from=$EPOCHREALTIME
		run -d now -f "$dir/$v.sql"
		to=$EPOCHREALTIME
		echo "$v $round $due $(((${to/./} - ${from/./}) / 1000))" | tee -a "$dir/results" >&2
		[ "$round" -gt 1 ] || run -At -d now -c "$books" >"$dir/$v.books"
		dropdb now
	done
done

echo
echo "$(postgres --version), $(nproc) CPUs, load $(cut -d ' ' -f 1-3 /proc/loadavg); $due of $N lots, $PER of a member, batches of $BATCH members"
awk '
	{ rate[$1, $2] = $3 * 1000 / $4 }
	function median(a, n,   i, j, t) {
		for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++) if (a[j] < a[i]) { t = a[i]; a[i] = a[j]; a[j] = t }
		low = a[1]; high = a[n]
		return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
	}
	$2 > rounds { rounds = $2 }
	END {
		for (i = 1; i <= rounds; i++) { u[i] = rate["upkeep", i]; p[i] = rate["plain", i]; r[i] = p[i] / u[i] }
		m = median(u, rounds); printf "upkeep  %9.0f lots/s  (%.0f - %.0f)\n", m, low, high
		m = median(p, rounds); printf "plain   %9.0f lots/s  (%.0f - %.0f)\n", m, low, high
		m = median(r, rounds); printf "upkeep takes %.2f times as long  (%.2f - %.2f)\n", m, low, high
	}' "$dir/results"
if cmp -s "$dir/upkeep.books" "$dir/plain.books"; then
	echo "both made the same bookings"
else
	echo "the bookings differ"
	exit 1
fi
