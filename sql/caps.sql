-- Caps and budgets: how much a rule gives at most, to a document, to a member
-- in some time, to all members together; and what was cut off.
CREATE SCHEMA cp_erp;
SET search_path = cp_erp;
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, at timestamptz, total numeric, of integer, void boolean DEFAULT false);
SELECT loyalty.create_program('cp club', 'Europe/Berlin') > 0 AS created;
SELECT loyalty.attach('cp shop', 'cp club', 'invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total', return_of => 'r.of', void => 'r.void') > 0 AS attached;
CREATE VIEW booked AS
	SELECT i.customer, d.doc_key AS invoice, d.doc_date, i.total, d.points
	FROM loyalty.document d JOIN loyalty.source s USING (source_id) JOIN invoice i ON i.id = d.doc_key::integer
	WHERE s.name = 'cp shop' AND d.state = 'booked' ORDER BY d.occurred_at, i.id;
CREATE FUNCTION why(key integer) RETURNS TABLE (rule text, calculation text, points numeric)
LANGUAGE sql AS $$SELECT e.rule, e.calculation, e.points FROM loyalty.explain('cp shop', key::text) e ORDER BY e.step$$;

-- no more than 50 for one document
SELECT loyalty.set_rule('cp club', 'base', 1, 1, cap_document => 50) > 0 AS written;
INSERT INTO invoice VALUES (1, 'ann', '2024-01-10', 49), (2, 'ann', '2024-01-11', 50), (3, 'ann', '2024-01-12', 120.70);
SELECT * FROM booked;
SELECT * FROM why(3);
-- of a capped sale, a return takes nothing as long as what is left reaches the cap
INSERT INTO invoice VALUES (4, 'ann', '2024-01-13', -60.70, 3), (5, 'ann', '2024-01-14', -20, 3);
SELECT * FROM booked WHERE invoice IN ('3', '4', '5');

-- no more than 100 a day, in programme time
SELECT loyalty.set_rule('cp club', 'base', 1, 1, cap_day => 100) > 0 AS written;
INSERT INTO invoice VALUES (10, 'bob', '2024-01-10 00:10+01', 60), (11, 'bob', '2024-01-10 12:00+01', 60),
	(12, 'bob', '2024-01-10 23:50+01', 60), (13, 'bob', '2024-01-11 00:10+01', 60), (14, 'cid', '2024-01-10 12:00+01', 60);
SELECT * FROM booked WHERE customer IN ('bob', 'cid');
SELECT * FROM why(11);
-- what is given back leaves room for later ones
UPDATE invoice SET void = true WHERE id = 10;
SELECT * FROM booked WHERE customer = 'bob';
UPDATE invoice SET void = false WHERE id = 10;
SELECT * FROM booked WHERE customer = 'bob';
-- one that is written late takes its place before them
INSERT INTO invoice VALUES (15, 'bob', '2024-01-10 00:05+01', 75);
SELECT * FROM booked WHERE customer = 'bob';
-- another's is not his any more
UPDATE invoice SET customer = 'cid' WHERE id = 15;
SELECT * FROM booked WHERE customer IN ('bob', 'cid');

-- a week from Monday to Sunday, a month, a year, and ever: the least of them counts
SELECT loyalty.set_rule('cp club', 'base', 1, 1, cap_week => 100, cap_month => 150, cap_year => 220, cap_lifetime => 280) > 0 AS written;
INSERT INTO invoice VALUES (20, 'dee', '2024-01-08', 60), (21, 'dee', '2024-01-14', 60), (22, 'dee', '2024-01-15', 60),
	(23, 'dee', '2024-01-31', 10), (24, 'dee', '2024-02-01', 60), (25, 'dee', '2024-02-29', 60), (26, 'dee', '2025-01-01', 50), (27, 'dee', '2025-01-09', 50);
SELECT * FROM booked WHERE customer = 'dee';
SELECT * FROM why(22);

-- a cap on what all rules together give
SELECT loyalty.set_rule('cp club', 'base', 1, 1) > 0 AS written;
SELECT loyalty.set_rule('cp club', 'thousand', 500, kind => 'bonus', condition => 'document.amount >= 1000') > 0 AS written;
SELECT loyalty.set_rule('cp club', 'enough', kind => 'cap', cap_document => 1200, cap_month => 2000) > 0 AS written;
INSERT INTO invoice VALUES (30, 'eve', '2024-03-01', 1000), (31, 'eve', '2024-03-02', 700), (32, 'eve', '2024-03-03', 200), (33, 'eve', '2024-04-01', 10);
SELECT * FROM booked WHERE customer = 'eve';
SELECT * FROM why(30);
SELECT * FROM why(31);
SELECT loyalty.end_rule('cp club', r) FROM unnest('{enough,thousand}'::text[]) r;

-- a budget for all members: first come, first served
SELECT loyalty.set_rule('cp club', 'launch', 40, kind => 'bonus', budget => 100) > 0 AS written;
INSERT INTO invoice VALUES (40, 'fay', '2024-05-03', 1);
INSERT INTO invoice VALUES (41, 'gus', '2024-05-02', 1);
INSERT INTO invoice VALUES (42, 'hal', '2024-05-01', 1);
INSERT INTO invoice VALUES (43, 'ida', '2024-05-01', 1);
SELECT * FROM booked WHERE invoice::integer >= 40;
SELECT * FROM why(42);
SELECT rule, used FROM loyalty.budget WHERE program_id = loyalty.program_id('cp club');
-- what comes back is for the next
UPDATE invoice SET void = true WHERE id = 40;
INSERT INTO invoice VALUES (44, 'ida', '2024-05-05', 1);
SELECT * FROM booked WHERE invoice::integer >= 40;
SELECT rule, used FROM loyalty.budget WHERE program_id = loyalty.program_id('cp club');
-- and who comes back finds what is left
UPDATE invoice SET void = false WHERE id = 40;
SELECT * FROM booked WHERE invoice = '40';
-- a larger budget is for those to come
SELECT loyalty.set_rule('cp club', 'launch', 40, kind => 'bonus', budget => 130) > 0 AS written;
INSERT INTO invoice VALUES (45, 'jim', '2024-05-06', 1);
INSERT INTO invoice VALUES (46, 'kim', '2024-05-06', 1);
SELECT * FROM booked WHERE invoice::integer >= 40;
SELECT rule, used FROM loyalty.budget WHERE program_id = loyalty.program_id('cp club');

SELECT * FROM loyalty.check();
SET client_min_messages = warning;
SELECT loyalty.detach('cp shop');
DROP SCHEMA cp_erp CASCADE;
