#!/bin/bash
#
# Benchmark of analytics: refresh, dashboards and one customer's figures over a
# large history, beside plain SQL over an invoice table with the same documents.
# The books are filled directly, so nothing here says anything about posting.
#
#   test/bench/analytics.sh      ten minutes, 6 GB of disk
#
# Settings, from the environment:
#   DOCS     documents (5000000)
#   MEMBERS  members they are spread over (400000)
#   LINES    lines of a document (2)
#   KEEP     set: the cluster keeps running and its directory is not removed
#   PG_CONFIG, TMPDIR as usual
#
# The extension must be installed (make install).  As root the script runs
# itself as user postgres, because a server refuses to run as root.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/cluster.sh"

DOCS=${DOCS:-5000000}
MEMBERS=${MEMBERS:-400000}
LINES=${LINES:-2}
export PGDATABASE=bench

start_cluster <<END
shared_buffers = 2GB
maintenance_work_mem = 512MB
fsync = off
full_page_writes = off
END
psql -Xq -d postgres -c 'CREATE DATABASE bench'

run()
{
	psql -Xqv ON_ERROR_STOP=1 "$@"
}

# One line of the report: what, and the milliseconds psql measured.
#   measure "what" SQL [SQL to be run before]
measure()
{
	local ms
	ms=$(run -At -c "${3:-SELECT}" -c '\timing on' -c "$2" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -n 1)
	printf '%-64s %12.1f ms\n' "$1" "$ms"
}

echo "$(postgres --version), $(nproc) CPUs, load $(cut -d ' ' -f 1-3 /proc/loadavg); DOCS=$DOCS MEMBERS=$MEMBERS LINES=$LINES"
started=$SECONDS
run -v docs="$DOCS" -v members="$MEMBERS" -v lines="$LINES" <<-'SQL'
	CREATE EXTENSION loyalty;
	CREATE TABLE invoice (id integer, customer integer, at date, total numeric(12,2));
	CREATE TABLE line (id integer, invoice integer, product text, category text, qty numeric, amount numeric);
	CREATE INDEX ON line (invoice);
	SELECT loyalty.create_program('bench', 'UTC') \gset
	SELECT loyalty.set_rule('bench', 'base', 1, 10) \gset
	SELECT loyalty.attach('bench', 'bench', 'invoice', 'r.id', 'r.customer', 'r.at', lines => 'line', line_parent => 'l.invoice',
		line_key => 'l.id', line_product => 'l.product', line_category => 'l.category', line_qty => 'l.qty', line_amount => 'l.amount') \gset
	SELECT setseed(0.5) \g /dev/null
	SET session_replication_role = replica;
	-- some buy much more often than others; three years; 5 % of sales come back, half of them altogether
	INSERT INTO invoice SELECT i, 1 + (:members * random() ^ 2)::integer % :members, date '2023-01-01' + (1095 * random())::integer, 1 + 200 * random() ^ 3
		FROM generate_series(1, :docs) i;
	INSERT INTO loyalty.member (member_id, program_id, customer, joined_on)
		SELECT i * 7919::bigint, 1, i, '2023-01-01' FROM generate_series(1, :members) i;
	INSERT INTO loyalty.document (source_id, doc_key, member_id, root_source_id, root_key, state, kind, occurred_at, doc_date, channel,
			gross, lines, rules, points, qualifying, booked_at)
		SELECT 1, i.id, i.customer * 7919::bigint, 0, '', 'booked', 'sale', i.at, i.at, 'c' || i.id % 3, i.total,
			(SELECT jsonb_agg(jsonb_build_object('key', i.id::text || '.' || k, 'product', 'p' || ((i.id::bigint * 7 + k * 31) % 5000)::text,
				'category', 'g' || ((i.id + k) % 20)::text, 'qty', 1, 'amount', round(i.total / :lines, 2))) FROM generate_series(1, :lines) k),
			'{1}', trunc(i.total / 10), i.total, now()
		FROM invoice i WHERE i.id % 20 <> 0;
	INSERT INTO loyalty.document (source_id, doc_key, member_id, root_source_id, root_key, state, kind, occurred_at, doc_date,
			gross, points, qualifying, booked_at)
		SELECT 1, i.id, s.customer * 7919::bigint, 1, s.id, 'booked', 'return', s.at + 3, s.at + 3,
			-round(CASE WHEN i.id % 40 = 0 THEN s.total ELSE s.total / 2 END, 2), 0, 0, now()
		FROM invoice i JOIN invoice s ON s.id = i.id - 1 WHERE i.id % 20 = 0;
	INSERT INTO loyalty.entry (member_id, seq, kind, points, occurred_at, recorded_at, source_id, doc_key)
		SELECT d.member_id, row_number() OVER (PARTITION BY d.member_id ORDER BY d.occurred_at, d.doc_key), 'earn', d.points, d.occurred_at, now(), 1, d.doc_key
		FROM loyalty.document d WHERE d.points > 0;
	INSERT INTO loyalty.stored_lot (member_id, is_open, expires_on, seq, points, remaining)
		SELECT e.member_id, true, '2026-01-01'::date + (e.seq % 700)::integer, e.seq, e.points, e.points FROM loyalty.entry e;
	ALTER TABLE loyalty.member DISABLE TRIGGER guard;
	UPDATE loyalty.member m SET last_seq = e.seq, lots_through = e.seq, balance = e.points
		FROM (SELECT member_id, max(seq) AS seq, sum(points) AS points FROM loyalty.entry GROUP BY member_id) e WHERE e.member_id = m.member_id;
	ALTER TABLE loyalty.member ENABLE ALWAYS TRIGGER guard;
	RESET session_replication_role;
	VACUUM ANALYZE;
SQL
echo "filled in $((SECONDS - started)) s: $(run -At -c "SELECT pg_size_pretty(sum(pg_total_relation_size(r))) FROM unnest('{loyalty.document,loyalty.entry,loyalty.stored_lot}'::regclass[]) r")"
echo
day=2026-01-05
measure "refresh_analytics, the first time" "SELECT loyalty.refresh_analytics('bench', '$day')"
run -c 'VACUUM ANALYZE loyalty.member_day, loyalty.member_summary, loyalty.member_score'
measure "refresh_analytics, nothing has changed" "SELECT loyalty.refresh_analytics('bench', '$day')"
# a day's trade: the documents of 2,000 members are written again
run -c "SET session_replication_role = replica" \
	-c "ALTER TABLE loyalty.document DISABLE TRIGGER guard" \
	-c "UPDATE loyalty.document SET gross = gross + 1 WHERE doc_key IN (SELECT (1 + 20 * i)::text FROM generate_series(1, least(2000, $DOCS / 40)) i)" \
	-c "ALTER TABLE loyalty.document ENABLE ALWAYS TRIGGER guard"
measure "refresh_analytics, 2,000 documents have changed" "SELECT loyalty.refresh_analytics('bench', '$day')"
measure "refresh_details, the first time" "SELECT loyalty.refresh_details('bench', '$day')"
measure "refresh_details, nothing has changed" "SELECT loyalty.refresh_details('bench', '$day')"
run -c "SELECT loyalty.create_campaign('bench', 'big', '2025-03-01', '2025-05-31', 20, '{base}', seed => 'bench')"  >/dev/null
measure "target_campaign, all members, three months" "SELECT loyalty.target_campaign('bench', 'big', everybody => true, at => '2025-02-01')"
measure "refresh_analytics, nothing has changed, with the campaign" "SELECT loyalty.refresh_analytics('bench', '$day')"
measure "program_roi() over a quarter" "SELECT count(*) FROM loyalty.program_roi('bench', '2025-03-01', '2025-05-31', 'big')"
measure "refresh_products" "SELECT loyalty.refresh_products('bench', '$day')"
measure "refresh_lifetime" "SELECT loyalty.refresh_lifetime('bench')"
measure "take_rfm_snapshot, from the documents" "SELECT loyalty.take_rfm_snapshot('bench', '2025-06-30')"
measure "rfm() of a past day" "SELECT count(*) FROM loyalty.rfm('2025-06-30')"
run -c 'VACUUM ANALYZE loyalty.member_score, loyalty.member_lifetime, loyalty.product_pair, loyalty.member_preference, loyalty.member_line'
echo
member=$(run -At -c "SELECT member_id FROM loyalty.member WHERE customer = '4242'")
measure "rfm_current: all members by segment" "SELECT segment, count(*), sum(monetary) FROM loyalty.rfm_current GROUP BY segment"
measure "rfm_current: the best 100" "SELECT * FROM loyalty.rfm_current WHERE rfm_code = 555 ORDER BY monetary DESC LIMIT 100"
measure "segment_summary" "SELECT * FROM loyalty.segment_summary"
measure "campaign_result" "SELECT * FROM loyalty.campaign_result"
measure "program_kpi_monthly" "SELECT * FROM loyalty.program_kpi_monthly"
measure "program_kpi_daily" "SELECT * FROM loyalty.program_kpi_daily"
measure "cohort_retention" "SELECT * FROM loyalty.cohort_retention"
measure "churn_risk by risk" "SELECT risk, count(*) FROM loyalty.churn_risk GROUP BY risk"
measure "member_group by group" "SELECT group_name, count(*) FROM loyalty.member_group GROUP BY group_name"
measure "points_liability" "SELECT * FROM loyalty.points_liability"
measure "points_expiring" "SELECT * FROM loyalty.points_expiring"
measure "customer_360 of one customer, by number" "SELECT * FROM loyalty.customer_360 WHERE member_id = $member" "SELECT * FROM loyalty.customer_360 WHERE member_id = 7919"
measure "customer_360 of one customer, by key" "SELECT * FROM loyalty.customer_360 WHERE member_id = loyalty.member_id('bench', '4242')" "SELECT * FROM loyalty.customer_360 WHERE member_id = 7919"
echo
measure "plain SQL over the invoice table: scores by rank" "
	WITH c AS (SELECT customer, date '$day' - max(at) FILTER (WHERE total > 0) AS r, count(*) FILTER (WHERE total > 0) AS f, sum(total) AS m
		FROM invoice GROUP BY customer),
	s AS (SELECT *, 1 + 5 * (rank() OVER (ORDER BY r DESC) - 1) / count(*) OVER () AS rs, 1 + 5 * (rank() OVER (ORDER BY f) - 1) / count(*) OVER () AS fs,
		1 + 5 * (rank() OVER (ORDER BY m) - 1) / count(*) OVER () AS ms FROM c)
	SELECT rs, fs, count(*), sum(m) FROM s GROUP BY rs, fs"
measure "plain SQL over the invoice table: cohorts" "
	WITH f AS (SELECT customer, date_trunc('month', min(at)) AS cohort FROM invoice GROUP BY customer)
	SELECT f.cohort, date_trunc('month', i.at), count(DISTINCT i.customer) FROM invoice i JOIN f USING (customer) GROUP BY 1, 2"
measure "plain SQL over the invoice table: one customer, no index" "
	SELECT count(*), sum(total), max(at) FROM invoice WHERE customer = 4242"
