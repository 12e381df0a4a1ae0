-- the two minutes of the README, as they stand there
CREATE SCHEMA readme;
SET search_path = readme;
CREATE TABLE invoice (id int PRIMARY KEY, customer_id int, issued_at timestamptz,
	total numeric, posted boolean, refund_of int);
SELECT loyalty.create_program('club', time_zone => 'Europe/Berlin') > 0 AS created;
SELECT loyalty.set_tier('club', 'Silver', 2000) > 0 AS created;
SELECT loyalty.set_tier('club', 'Gold', 6000, rate => 1.5) > 0 AS created;
SELECT loyalty.set_rule('club', 'base', points => 1, per_amount => 300) > 0 AS created;
SELECT loyalty.attach('invoices', 'club', 'invoice',
	key => 'r.id', customer => 'r.customer_id', doc_date => 'r.issued_at',
	posted => 'r.posted', amount => 'r.total', return_of => 'r.refund_of') > 0 AS attached;
INSERT INTO invoice VALUES (1, 7, '2026-01-05 10:00+01', 3000, true);
INSERT INTO invoice VALUES (2, 7, '2026-01-09 11:00+01', 3000, true);
INSERT INTO invoice VALUES (3, 7, '2026-01-12 09:00+01', -1500, true, 2);
SELECT seq, kind, doc_key, points, balance FROM loyalty.statement('club', '7');
SELECT step, rule, calculation, points FROM loyalty.explain('invoices', '2');
SELECT * FROM loyalty.check();
