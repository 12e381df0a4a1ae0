-- Figures, scores, details, products and lifetime values as of the day after
-- the last document, and a snapshot of scores per quarter.

SELECT max(d.doc_date) + 1 AS as_of, p.name AS program
FROM loyalty.document d, loyalty.program p
GROUP BY p.name \gset

SELECT loyalty.refresh_analytics(:'program', :'as_of'), loyalty.refresh_products(:'program', :'as_of'),
	loyalty.refresh_details(:'program', :'as_of'), loyalty.refresh_lifetime(:'program'),
	(SELECT count(loyalty.take_rfm_snapshot(:'program', (:'as_of'::date - k * interval '3 months')::date)) FROM generate_series(0, 3) k) \g /dev/null

\echo '== Segments as of' :as_of
SELECT segment_label AS segment, members, member_share, net_amount, net_share, avg_recency_days, avg_frequency, avg_monetary
FROM loyalty.segment_summary
ORDER BY position, segment;

\echo '== From the snapshot before to this one'
SELECT from_segment, to_segment, members, from_share
FROM loyalty.rfm_migration
WHERE to_as_of = :'as_of'
ORDER BY members DESC, from_segment, to_segment
LIMIT 10;

\echo '== Cohorts: who came back how many months later'
SELECT to_char(cohort, 'YYYY-MM') AS cohort, cohort_members AS members,
	max(retention) FILTER (WHERE month_number = 1) AS "1", max(retention) FILTER (WHERE month_number = 2) AS "2",
	max(retention) FILTER (WHERE month_number = 3) AS "3", max(retention) FILTER (WHERE month_number = 6) AS "6",
	max(retention) FILTER (WHERE month_number = 9) AS "9"
FROM loyalty.cohort_retention
GROUP BY cohort, cohort_members
ORDER BY cohort;

\echo '== Bought together'
SELECT product, other, both_baskets, confidence, confidence_low, lift
FROM loyalty.product_affinity
ORDER BY confidence_low DESC, product, other
LIMIT 5;

\echo '== What is to be expected of whom'
SELECT m.customer, l.alive_probability, l.expected_sales, l.expected_sale_amount, l.lifetime_value
FROM loyalty.customer_lifetime l JOIN loyalty.member m USING (member_id)
ORDER BY l.lifetime_value DESC, m.customer
LIMIT 5;
