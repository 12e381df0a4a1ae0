-- Stamp cards: buy ten cups, the eleventh is free.  A programme of its own, in
-- which a point is a stamp.
\set SHOW_CONTEXT never
CREATE SCHEMA st_erp;
SET search_path = st_erp;
CREATE TABLE ticket (id integer PRIMARY KEY, customer text, day date, void boolean DEFAULT false, return_of integer);
CREATE TABLE item (id integer PRIMARY KEY, ticket integer REFERENCES ticket, product text, qty numeric, amount numeric,
	promo boolean DEFAULT false, return_of integer);
SELECT loyalty.create_program('st cups', 'UTC') > 0 AS created;
SELECT loyalty.set_stamp_card('st cups', 10);
SELECT loyalty.attach('st till', 'st cups', 'ticket', 'r.id', 'r.customer', 'r.day', void => 'r.void', return_of => 'r.return_of',
	lines => 'item', line_parent => 'l.ticket', line_key => 'l.id', line_product => 'l.product', line_qty => 'l.qty',
	line_amount => 'l.amount', line_filter => 'NOT l.promo', line_return_of => 'l.return_of') > 0 AS attached;
SELECT loyalty.set_rule('st cups', 'a stamp a cup', kind => 'unit', points => 1, mode => 'step', condition => 'line.product = ''cup''') > 0 AS rule;

-- seven cups and a cake: seven stamps
INSERT INTO ticket VALUES (1, 'Ana', '2026-03-01');
INSERT INTO item VALUES (1, 1, 'cup', 7, 21), (2, 1, 'cake', 2, 9);
SELECT * FROM loyalty.stamp_card('st cups', 'Ana');
-- a free cup never earns: neither one for nothing nor one that is marked
INSERT INTO ticket VALUES (2, 'Ana', '2026-03-02');
INSERT INTO item VALUES (3, 2, 'cup', 1, 0, false), (4, 2, 'cup', 1, 3, true), (5, 2, 'cup', 2, 6, false);
INSERT INTO ticket VALUES (5, 'Ana', '2026-03-02');
INSERT INTO item VALUES (8, 5, 'cup', 1, 0);
SELECT * FROM loyalty.stamp_card('st cups', 'Ana');
SELECT rule, line, calculation, trim_scale(points) AS points FROM loyalty.explain('st till', '2');
-- one is brought back
INSERT INTO ticket VALUES (3, 'Ana', '2026-03-03', false, 1);
INSERT INTO item VALUES (6, 3, 'cup', -1, -3, false, 1);
SELECT * FROM loyalty.stamp_card('st cups', 'Ana');
-- a full card, and three stamps on the next
INSERT INTO ticket VALUES (4, 'Ana', '2026-03-04');
INSERT INTO item VALUES (7, 4, 'cup', 5, 15);
SELECT * FROM loyalty.stamp_card('st cups', 'Ana');
-- which is good for a cup, once
SELECT loyalty.set_reward('st cups', 'free cup', kind => 'service', cost => 10) > 0 AS reward;
SELECT points, balance FROM loyalty.redeem_reward('st cups', 'Ana', 'free cup', key => 'ticket 6');
SELECT points, balance FROM loyalty.redeem_reward('st cups', 'Ana', 'free cup', key => 'ticket 6');
SELECT * FROM loyalty.redeem_reward('st cups', 'Ana', 'free cup', key => 'ticket 7');
INSERT INTO ticket VALUES (6, 'Ana', '2026-03-05');
INSERT INTO item VALUES (9, 6, 'cup', 1, 0);
SELECT * FROM loyalty.stamp_card('st cups', 'Ana');
-- stamps that were used already are owed
UPDATE ticket SET void = true WHERE id = 4;
SELECT * FROM loyalty.stamp_card('st cups', 'Ana');
-- nobody yet, nothing to stamp, no such card
SELECT * FROM loyalty.stamp_card('st cups', 'Bob');
SELECT loyalty.create_program('st plain', 'UTC') > 0 AS created;
SELECT * FROM loyalty.stamp_card('st plain', 'Ana');
SELECT * FROM loyalty.stamp_card('nowhere', 'Ana');
SELECT loyalty.set_stamp_card('st cups', 0);
SELECT loyalty.set_stamp_card('st cups', NULL);
SELECT * FROM loyalty.stamp_card('st cups', 'Ana');
SELECT * FROM loyalty.check();
RESET search_path;
DROP SCHEMA st_erp CASCADE;
