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

-- points as money, reserved for a basket
SELECT loyalty.set_redemption('club', point_value => 0.5, hold_minutes => 15);
SELECT points, value, limited_by FROM loyalty.quote_redemption('club', '7', amount => 4);
SELECT * FROM loyalty.reserve('club', '7', 8, key => 'basket 4711', amount => 4);
SELECT * FROM loyalty.capture_hold('club', '7', 'basket 4711', points => 6, source => 'invoices', doc_key => '4');
SELECT * FROM loyalty.cancel_redemption('club', '7', 'basket 4711');

-- rules with conditions
SELECT loyalty.set_rule('club', 'double weekend', kind => 'multiplier', factor => 2,
	condition => 'document.weekday IN (6, 7)') > 0 AS set;
SELECT loyalty.set_rule('club', 'welcome', 100, kind => 'bonus', condition => 'member.purchase_count = 0') > 0 AS set;
SELECT loyalty.set_rule('club', 'big one', 50, kind => 'bonus', condition => 'document.amount >= 1000', cap_month => 100) > 0 AS set;
INSERT INTO invoice VALUES (4, 8, '2026-01-17 10:00+01', 1200, true);
SELECT step, rule, calculation, points FROM loyalty.explain('invoices', '4');
SELECT loyalty.check_condition('club', c) FROM (VALUES
	($$document.weekday IN (6, 7) AND document.hour BETWEEN 9 AND 12$$),
	($$'food' = ANY (line.categories) AND member.attributes ->> 'club' = 'gourmet'$$),
	($$member.days_since_last_purchase >= 30 OR (member.purchase_count + 1) % 10 = 0$$)) v (c);
SELECT * FROM loyalty.check();
