-- What became of the file, and whether it agrees with a plain SQL reading of it.

\pset null '-'

\echo
\echo '== Totals'
SELECT d.kind, count(*) AS documents, sum(d.gross) AS amount, sum(d.points) AS points
FROM loyalty.document d
GROUP BY ROLLUP (d.kind)
ORDER BY d.kind DESC NULLS LAST;

\echo '== Top balances'
SELECT b.customer, b.tier, b.balance, b.debt, b.qualifying
FROM loyalty.member_balance b
ORDER BY b.balance DESC, b.customer
LIMIT 10;

\echo '== The tier ladder'
SELECT * FROM loyalty.tier_ladder ORDER BY threshold;

\echo '== Statement of customer 12346, who bought for 77,183.60 and brought it all back'
SELECT seq, occurred_at, kind, doc_key AS document, points, balance
FROM loyalty.statement('Retail', '12346');

\echo '== Statement of customer 12748, December 2010'
SELECT seq, occurred_at, kind, doc_key AS document, points, balance
FROM loyalty.statement('Retail', '12748', '2010-12-01', '2011-01-01');

\echo '== Invoice 541431, rule by rule'
SELECT * FROM loyalty.explain('online', '541431');

\echo '== What a basket of 250 would earn customer 12748 now'
SELECT * FROM loyalty.quote_earn('Retail', '12748', 250);

-- The same figures from the file alone: tiers by running totals, one rounding
-- per document.
CREATE TEMPORARY TABLE by_hand AS
WITH document AS (
	SELECT invoice_no, customer_id, min(invoice_date) AS at, sum(quantity * unit_price) AS amount
	FROM retail.staging
	WHERE customer_id IS NOT NULL AND left(invoice_no, 1) <> 'A'
	GROUP BY invoice_no, customer_id
), reached AS (
	SELECT *, coalesce(sum(amount) OVER (PARTITION BY customer_id ORDER BY at, invoice_no COLLATE "C"
			ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
		-- the document that crosses a threshold earns at the new tier
		+ greatest(amount, 0) AS reach
	FROM document
)
SELECT invoice_no, customer_id, amount,
	sign(amount) * floor(abs(amount) * CASE WHEN reach >= 5000 THEN 1.5 WHEN reach >= 1000 THEN 1.25 ELSE 1 END) AS points
FROM reached;

CREATE TEMPORARY TABLE comparison (what text, wanted text, booked text);

INSERT INTO comparison
SELECT 'documents with a customer', (SELECT count(*)::text FROM by_hand),
	(SELECT count(*)::text FROM loyalty.document WHERE state = 'booked')
UNION ALL
SELECT 'members', (SELECT count(DISTINCT customer_id)::text FROM by_hand), (SELECT count(*)::text FROM loyalty.member)
UNION ALL
SELECT 'net amount', (SELECT trim_scale(sum(amount))::text FROM by_hand), (SELECT trim_scale(sum(gross))::text FROM loyalty.document)
UNION ALL
SELECT 'points', (SELECT sum(points)::numeric(18,2)::text FROM by_hand), (SELECT sum(balance)::text FROM loyalty.member)
UNION ALL
SELECT 'documents with other points', '0', (
	SELECT count(*)::text
	FROM by_hand h FULL JOIN loyalty.document d ON d.doc_key = h.invoice_no
	WHERE d.points IS DISTINCT FROM h.points)
UNION ALL
SELECT 'members with another balance', '0', (
	SELECT count(*)::text
	FROM (SELECT customer_id::text AS customer, sum(points) AS points FROM by_hand GROUP BY customer_id) h
		FULL JOIN loyalty.member m USING (customer)
	WHERE m.balance IS DISTINCT FROM h.points);

-- the file as it is published
INSERT INTO comparison
SELECT * FROM (VALUES
	('Online Retail: documents with a customer', '22190', (SELECT count(*)::text FROM loyalty.document WHERE state = 'booked')),
	('Online Retail: returns among them', '3654', (SELECT count(*)::text FROM loyalty.document WHERE kind = 'return')),
	('Online Retail: members', '4372', (SELECT count(*)::text FROM loyalty.member)),
	('Online Retail: sales', '8911407.904', (SELECT trim_scale(sum(gross))::text FROM loyalty.document WHERE kind = 'sale')),
	('Online Retail: returns', '-611342.09', (SELECT trim_scale(sum(gross))::text FROM loyalty.document WHERE kind = 'return')),
	('Online Retail: net amount', '8300065.814', (SELECT trim_scale(sum(gross))::text FROM loyalty.document)),
	('Online Retail: balance of customer 12346', '0.00', loyalty.balance('Retail', '12346')::text),
	('Online Retail: his balance between the two', '115775.00', loyalty.balance('Retail', '12346', '2011-01-18 10:05+00')::text)
) v
WHERE (SELECT count(*) FROM retail.staging) = 541909;

\ir analytics.sql

-- the definitions of recency, frequency and monetary value, as others have worked them out
INSERT INTO comparison
SELECT v.* FROM (VALUES
	('Online Retail: members with a sale', '4339', (SELECT count(*)::text FROM loyalty.rfm_current WHERE population = 'scored')),
	('Online Retail: members with returns only', '33', (SELECT count(*)::text FROM loyalty.rfm_current WHERE population = 'returns_only')),
	('Online Retail: champions, hibernating, at risk', '577 1349 372', (SELECT string_agg(n::text, ' ' ORDER BY i) FROM (
		SELECT i, count(*) AS n FROM unnest('{champions,hibernating,at_risk}'::text[]) WITH ORDINALITY s (segment, i)
			JOIN loyalty.rfm_current USING (segment) GROUP BY i) x)),
	('Online Retail: at risk, by fifths of equal size', '596', (SELECT count(*)::text
		FROM loyalty.rfm(:'as_of', method => 'ntile') WHERE segment = 'at_risk')),
	('Online Retail: scores of customer 12346', '1 1 1 0.00', (SELECT format('%s %s %s %s', r, f, m, monetary)
		FROM loyalty.rfm_current WHERE member_id = loyalty.member_id('Retail', '12346')))) v
WHERE (SELECT count(*) FROM retail.staging) = 541909;
INSERT INTO comparison
SELECT 'members scored otherwise from what is kept than from the documents', '0', count(*)::text
FROM loyalty.rfm_current c FULL JOIN loyalty.rfm(:'as_of') x USING (member_id)
WHERE (c.population, c.frequency, c.monetary, c.r, c.f, c.m) IS DISTINCT FROM (x.population, x.frequency, x.monetary, x.r, x.f, x.m);

\ir verdict.sql
