-- Hand-written SQL for a bulk load: posts the invoices above an id in one
-- statement, each member touched once, the tier found by a running sum.
WITH fresh AS MATERIALIZED (
	SELECT i.invoice_id, i.customer_id, i.invoice_date, i.amount, i.amount - i.paid_by_points AS basis,
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
), lots AS (
	INSERT INTO lot (customer_id, expires_on, seq, points, remaining)
		SELECT customer_id, 'infinity', last_seq + nth, points, points FROM priced WHERE points > 0
)
UPDATE member m SET balance = m.balance + s.points, qualifying = m.qualifying + s.amount, last_seq = m.last_seq + s.n
FROM (SELECT customer_id, sum(points) AS points, sum(amount) AS amount, count(*) AS n
	FROM priced GROUP BY customer_id) s
WHERE m.customer_id = s.customer_id;
