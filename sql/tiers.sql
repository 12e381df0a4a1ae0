-- Silver from 2,000, Gold from 6,000: the second invoice of 3,000 makes the
-- member Gold and earns at Gold's rate.
CREATE SCHEMA ti_erp;
SET search_path = ti_erp;
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, day date, total numeric, of integer, void boolean DEFAULT false);
SELECT loyalty.create_program('ti club', 'UTC') > 0 AS created;
SELECT loyalty.set_rule('ti club', 'base', 1, 300) > 0 AS created;
SELECT loyalty.set_tier('ti club', 'Silver', 2000) > 0 AS created;
SELECT loyalty.set_tier('ti club', 'Gold', 6000, 2) > 0 AS created;
SELECT loyalty.attach('ti invoice', 'ti club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total', return_of => 'r.of', void => 'r.void') > 0 AS attached;
CREATE VIEW standing AS
	SELECT m.customer, t.name AS tier, m.qualifying, m.balance FROM loyalty.member m LEFT JOIN loyalty.tier t USING (tier_id)
	WHERE m.program_id = loyalty.program_id('ti club') ORDER BY m.customer;
INSERT INTO invoice VALUES (1, 'ann', '2024-03-01', 3000);
SELECT * FROM standing;
INSERT INTO invoice VALUES (2, 'ann', '2024-03-02', 3000);
SELECT * FROM standing;
SELECT step, rule, line, calculation, points FROM loyalty.explain('ti invoice', '2');
-- a return recomputes the tier at once, and takes what its sale gave
INSERT INTO invoice VALUES (3, 'ann', '2024-03-03', -1500, 1);
SELECT * FROM standing;
INSERT INTO invoice VALUES (4, 'ann', '2024-03-04', -3000, 2);
SELECT * FROM standing;
UPDATE invoice SET void = true WHERE id IN (3, 4);
SELECT * FROM standing;
-- many at once are counted one by one
INSERT INTO invoice SELECT 100 + i, 'bob', '2024-03-20'::date - i, 600 FROM generate_series(1, 12) i;
SELECT d.doc_key, d.tier_before, t.name AS tier, d.points FROM loyalty.document d LEFT JOIN loyalty.tier t USING (tier_id)
WHERE d.source_id = (SELECT source_id FROM loyalty.source WHERE name = 'ti invoice') AND d.doc_key::integer > 100 ORDER BY d.occurred_at;
SELECT * FROM standing;
-- the ladder
SELECT * FROM loyalty.tier_ladder WHERE program = 'ti club';
SELECT * FROM loyalty.check();
