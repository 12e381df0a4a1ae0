-- 1 point per 300: what an invoice earns, and why.
CREATE SCHEMA ea_erp;
SET search_path = ea_erp;
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, at timestamptz, total numeric, points_paid numeric, currency text DEFAULT 'INR', rate numeric);
SELECT loyalty.create_program('ea club', 'Asia/Kolkata', 'INR') > 0 AS created;
SELECT loyalty.set_rule('ea club', 'base', 1, 300) > 0 AS created;
SELECT loyalty.attach('ea invoice', 'ea club', 'invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total',
	paid_by_points => 'r.points_paid', currency => 'r.currency', rate => 'r.rate') > 0 AS attached;
INSERT INTO invoice (id, customer, at, total) VALUES (1, 'asha', '2024-03-01 10:00+05:30', 3000);
SELECT loyalty.balance('ea club', 'asha');
SELECT step, rule, line, calculation, points FROM loyalty.explain('ea invoice', '1');
-- before it is bought
SELECT step, rule, line, calculation, points FROM loyalty.quote_earn('ea club', 'asha', 1234.50, at => '2024-03-02 10:00+05:30');
INSERT INTO invoice (id, customer, at, total) VALUES (2, 'asha', '2024-03-02 10:00+05:30', 1234.50);
SELECT loyalty.balance('ea club', 'asha');
-- the part that was paid with points earns nothing
INSERT INTO invoice (id, customer, at, total, points_paid) VALUES (3, 'asha', '2024-03-03 10:00+05:30', 900, 300);
SELECT step, rule, line, calculation, points FROM loyalty.explain('ea invoice', '3');
-- another currency, with and without its rate
INSERT INTO invoice (id, customer, at, total, currency, rate) VALUES (4, 'asha', '2024-03-04 10:00+05:30', 10, 'USD', 83);
SELECT step, rule, line, calculation, points FROM loyalty.explain('ea invoice', '4');
INSERT INTO invoice (id, customer, at, total, currency) VALUES (5, 'asha', '2024-03-05 10:00+05:30', 10, 'USD');
SELECT source, doc_key, sqlstate, message, attempts FROM loyalty.parked WHERE source = 'ea invoice';
UPDATE invoice SET rate = 84 WHERE id = 5;
SELECT source, doc_key, sqlstate, message, attempts FROM loyalty.parked WHERE source = 'ea invoice';
SELECT loyalty.balance('ea club', 'asha');

-- 1,999 at 100 per 1,000
SELECT loyalty.create_program('ea prop', 'UTC') > 0, loyalty.set_rule('ea prop', 'base', 100, 1000) > 0;
SELECT loyalty.create_program('ea step', 'UTC') > 0, loyalty.set_rule('ea step', 'base', 100, 1000, 'step') > 0;
SELECT q.points AS proportional FROM loyalty.quote_earn('ea prop', 'x', 1999) q ORDER BY step DESC LIMIT 1;
SELECT q.points AS step FROM loyalty.quote_earn('ea step', 'x', 1999) q ORDER BY step DESC LIMIT 1;

-- a rule that changes takes effect with the next invoice
SELECT loyalty.set_rule('ea club', 'base', 2, 300) > 0 AS changed;
INSERT INTO invoice (id, customer, at, total) VALUES (6, 'bala', '2024-03-06 10:00+05:30', 3000);
SELECT loyalty.balance('ea club', 'asha'), loyalty.balance('ea club', 'bala');
SELECT name, version, points, per_amount, is_current FROM loyalty.rule WHERE name = 'base' AND program_id = loyalty.program_id('ea club') ORDER BY version;
SELECT * FROM loyalty.check();
