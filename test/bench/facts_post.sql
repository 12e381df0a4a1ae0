-- hand_post.sql with a row of facts for each invoice instead of a lot.
WITH fresh AS MATERIALIZED (
	SELECT i.invoice_id, i.customer_id, i.invoice_date, i.amount, i.paid_by_points, i.amount - i.paid_by_points AS basis,
		row_number() OVER w AS nth,
		m.last_seq, m.qualifying + sum(i.amount) OVER w AS qualifying
	FROM invoice i JOIN member m USING (customer_id)
	WHERE i.invoice_id > :above AND i.state = 'posted'
	WINDOW w AS (PARTITION BY i.customer_id ORDER BY i.invoice_date, i.invoice_id ROWS UNBOUNDED PRECEDING)
), priced AS MATERIALIZED (
	SELECT f.*, t.rate, floor(f.basis * t.rate / 300) AS points
	FROM fresh f, LATERAL (SELECT rate FROM tier WHERE threshold <= f.qualifying ORDER BY threshold DESC LIMIT 1) t
), entries AS (
	INSERT INTO entry (customer_id, seq, kind, points, rate, occurred_at, invoice_id)
		SELECT customer_id, last_seq + nth, 'earn', points, rate, invoice_date, invoice_id FROM priced WHERE points > 0
), documents AS (
	INSERT INTO document (invoice_id, customer_id, state, kind, occurred_at, doc_date, gross, paid, tier_before, rate, rules, priced_at,
			qualifying, points, last_seq)
		SELECT invoice_id, customer_id, 'booked', 'sale', invoice_date, invoice_date::date, amount, paid_by_points, qualifying - amount, rate,
			'{1}', now(), amount, points, last_seq + nth FROM priced
)
UPDATE member m SET balance = m.balance + s.points, qualifying = m.qualifying + s.amount, last_seq = m.last_seq + s.n
FROM (SELECT customer_id, sum(points) AS points, sum(amount) AS amount, count(*) AS n
	FROM priced GROUP BY customer_id) s
WHERE m.customer_id = s.customer_id;
