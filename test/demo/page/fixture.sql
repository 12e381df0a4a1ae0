-- A small shop, so that every chart of the page has something to show.

CREATE SCHEMA page;
CREATE TABLE page.invoice (id integer PRIMARY KEY, customer text, at timestamptz);
CREATE TABLE page.line (id integer PRIMARY KEY, invoice integer, product text, qty integer, amount numeric);
CREATE INDEX ON page.line (invoice);
SELECT loyalty.create_program('</script><b>"Ä & Ö"', 'UTC', 'EUR'), loyalty.set_rule('</script><b>"Ä & Ö"', 'base', 1, 10),
	loyalty.set_tier('</script><b>"Ä & Ö"', 'Silver', 500), loyalty.set_tier('</script><b>"Ä & Ö"', 'Gold', 1000, 2) \g /dev/null
SELECT loyalty.attach('page', '</script><b>"Ä & Ö"', 'page.invoice', 'r.id', 'r.customer', 'r.at', lines => 'page.line',
	line_parent => 'l.invoice', line_key => 'l.id', line_product => 'l.product', line_qty => 'l.qty', line_amount => 'l.amount') \g /dev/null
INSERT INTO page.invoice SELECT i, 'c' || i % 60 % (1 + i % 47), '2024-01-01'::timestamptz + i * interval '8 hours' FROM generate_series(1, 900) i;
INSERT INTO page.line SELECT 10 * i + k, i, 'p' || (i + k * k) % 13, CASE WHEN i % 25 = 0 THEN -1 ELSE 1 END,
		(5 + i * k % 60) * CASE WHEN i % 25 = 0 THEN -1 ELSE 1 END
	FROM generate_series(1, 900) i, generate_series(1, 3) k;
