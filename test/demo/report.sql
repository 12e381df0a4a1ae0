-- What became of the year: what a clerk, a customer and an auditor would ask.

\pset null '-'

\echo '== What was booked'
SELECT e.kind, count(*) AS entries, sum(e.points) AS points
FROM loyalty.entry e
GROUP BY ROLLUP (e.kind)
ORDER BY e.kind NULLS LAST;

\echo '== Top balances'
SELECT c.name, c.city, b.tier, b.balance, b.debt, b.qualifying
FROM loyalty.member_balance b JOIN erp.customer c ON c.customer_id::text = b.customer
ORDER BY b.balance DESC, b.customer
LIMIT 10;

\echo '== What the rules gave'
SELECT r.name AS rule, r.kind, count(*) FILTER (WHERE d.state = 'booked') AS sales,
	count(DISTINCT d.member_id) FILTER (WHERE d.state = 'booked') AS members
FROM loyalty.document d JOIN loyalty.rule r ON r.rule_id = ANY (d.rules)
WHERE d.kind = 'sale'
GROUP BY r.rule_id
ORDER BY r.rule_id;

\echo '== The tier ladder'
SELECT * FROM loyalty.tier_ladder ORDER BY threshold;

-- a member with something of everything, but not too much of it
SELECT m.customer, c.name AS customer_name
FROM loyalty.entry e JOIN loyalty.member m USING (member_id) JOIN erp.customer c ON c.customer_id::text = m.customer
GROUP BY m.member_id, c.customer_id
HAVING count(DISTINCT e.kind) >= 3 AND count(*) BETWEEN 10 AND 20
ORDER BY max(m.qualifying) DESC, m.member_id
LIMIT 1 \gset

\echo '== Statement of' :customer_name
SELECT seq, occurred_at, kind, doc_key AS document, points, balance FROM loyalty.statement('Club', :'customer');

-- the sale that made somebody Gold
SELECT d.doc_key AS crossing
FROM loyalty.document d JOIN loyalty.tier t USING (tier_id)
WHERE t.name = 'Gold' AND d.kind = 'sale' AND d.state = 'booked' AND d.tier_before < t.threshold AND d.points > 0
ORDER BY d.points DESC, d.doc_key
LIMIT 1 \gset

\echo '== Invoice' :crossing 'made its customer Gold; its points, rule by rule'
SELECT * FROM loyalty.explain('invoices', :'crossing');

-- the sale with the most returns, some of them linked by line
SELECT r.root_key AS returned
FROM loyalty.document r
WHERE r.root_key <> '' AND r.state = 'booked' AND r.points < 0
GROUP BY r.root_source_id, r.root_key
ORDER BY count(*) DESC, min(r.points) DESC, r.root_key
LIMIT 1 \gset

\echo '== Invoice' :returned 'and what came back of it'
SELECT d.doc_key AS document, d.kind, d.state, to_char(d.occurred_at, 'YYYY-MM-DD HH24:MI') AS at,
	d.gross, d.rate, d.points, d.overcredited,
	sum(d.points) OVER (ORDER BY d.kind DESC, d.occurred_at, d.doc_key) AS "points left"
FROM loyalty.document d
WHERE (d.doc_key = :'returned' AND d.root_key = '' OR d.root_key = :'returned') AND d.state = 'booked'
ORDER BY d.kind DESC, d.occurred_at, d.doc_key;

\echo '== What' :customer_name 'can spend, and until when'
SELECT p.* FROM loyalty.points('Club', :'customer', '2025-01-02') p;
SELECT sentence FROM loyalty.answer_expiry('Club', :'customer', '2025-01-02');

\echo '== His statement of the year, as he would read it'
SELECT loyalty.statement_text('Club', :'customer', '2024-01-01 00:00 Europe/Berlin', '2025-01-01 00:00 Europe/Berlin') AS statement;

\echo '== Messages that wait for somebody to send them'
SELECT m.occurred_at::date AS day, r.subject, r.body
FROM loyalty.message m CROSS JOIN LATERAL loyalty.render_message(m.member_id, m.kind, m.cause) r
ORDER BY m.member_id, m.cause
LIMIT 3;

\echo '== What a basket of 250 would earn the same customer now'
SELECT * FROM loyalty.quote_earn('Club', :'customer', 250);

CREATE TEMPORARY TABLE comparison (what text, wanted text, booked text);

-- upkeep writes down what has expired since; that changes nobody's balance
INSERT INTO comparison SELECT 'sum of valid points before and after upkeep', sum(b.balance)::text FROM loyalty.member_balance b;
CALL loyalty.upkeep();
UPDATE comparison SET booked = (SELECT sum(b.balance)::text FROM loyalty.member_balance b);

\echo '== What upkeep wrote down'
SELECT e.kind, count(*) AS entries, sum(e.points) AS points FROM loyalty.entry e WHERE e.kind = 'expire' GROUP BY e.kind;

-- each posted sale of a known customer is booked, at its amount, and nothing else is
INSERT INTO comparison
SELECT 'posted sales of customers', (
		SELECT count(*)::text FROM erp.invoice i
		WHERE i.kind = 'invoice' AND i.status = 'posted' AND i.customer_id IS NOT NULL),
	(SELECT count(*)::text FROM loyalty.document d WHERE d.kind = 'sale' AND d.state = 'booked')
UNION ALL
SELECT 'their amount', (
		SELECT trim_scale(sum(round(l.quantity * l.unit_price * (1 - l.discount / 100), 2)))::text
		FROM erp.invoice i JOIN erp.invoice_line l USING (invoice_id)
		WHERE i.kind = 'invoice' AND i.status = 'posted' AND i.customer_id IS NOT NULL),
	(SELECT trim_scale(sum(d.gross))::text FROM loyalty.document d WHERE d.kind = 'sale' AND d.state = 'booked')
UNION ALL
SELECT 'families with points outside 0 and what the sale earned', '0', (
	SELECT count(*)::text
	FROM (
		SELECT sum(d.points) FILTER (WHERE d.root_key = '') AS earned, sum(d.points) AS net
		FROM loyalty.document d
		WHERE d.state = 'booked'
		GROUP BY CASE d.root_key WHEN '' THEN d.doc_key ELSE d.root_key END) f
	WHERE NOT (f.net BETWEEN 0 AND f.earned))
UNION ALL
SELECT 'sum of all balances', (SELECT sum(e.points)::text FROM loyalty.entry e),
	(SELECT sum(m.balance)::text FROM loyalty.member m);

\ir analytics.sql

\ir verdict.sql
