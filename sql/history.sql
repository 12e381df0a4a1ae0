-- Rules on what a member bought before: who is first, tenth or late follows
-- from the purchases that are there, also when one of them goes.
CREATE SCHEMA hi_erp;
SET search_path = hi_erp;
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, day date, born date, of integer, void boolean DEFAULT false);
CREATE TABLE line (id integer PRIMARY KEY, invoice integer, amount numeric, launched date, stock integer);
SELECT loyalty.create_program('hi club', 'UTC') > 0 AS created;
SELECT loyalty.attach('hi shop', 'hi club', 'invoice', 'r.id', 'r.customer', 'r.day', return_of => 'r.of', void => 'r.void', birthday => 'r.born',
	lines => 'line', line_parent => 'l.invoice', line_key => 'l.id', line_amount => 'l.amount',
	line_launched_on => 'l.launched', line_stock => 'l.stock') > 0 AS attached;
CREATE FUNCTION sell(id integer, customer text, day date, VARIADIC amounts numeric[]) RETURNS void
LANGUAGE sql AS $$
	INSERT INTO invoice (id, customer, day) VALUES ($1, $2, $3);
	INSERT INTO line (id, invoice, amount) SELECT $1 * 10 + o, $1, amount FROM unnest($4) WITH ORDINALITY u (amount, o)
$$;
CREATE FUNCTION give_back(id integer, sale integer, day date, amount numeric) RETURNS void
LANGUAGE sql AS $$
	INSERT INTO invoice (id, customer, day, of) SELECT $1, i.customer, $3, $2 FROM invoice i WHERE i.id = $2;
	INSERT INTO line (id, invoice, amount) VALUES ($1 * 10, $1, -$4)
$$;
-- purchases in their order, with the points of what is left and the bonuses that were found
CREATE FUNCTION purchases(customer text) RETURNS TABLE (invoice text, day date, points numeric, bonuses text)
LANGUAGE sql AS $$
	SELECT d.doc_key, d.doc_date, d.points + coalesce((SELECT sum(r.points) FROM loyalty.document r
			WHERE r.root_source_id = d.source_id AND r.root_key = d.doc_key AND r.member_id = d.member_id), 0),
		(SELECT string_agg(r.name, ', ' ORDER BY r.name) FROM loyalty.rule r WHERE r.rule_id = ANY (d.rules) AND r.kind <> 'amount')
	FROM loyalty.document d
	WHERE d.member_id = loyalty.member_id('hi club', $1) AND d.root_source_id = 0 AND d.state = 'booked'
	ORDER BY d.occurred_at, d.doc_key::integer
$$;
SELECT loyalty.set_rule('hi club', 'base', 1, 10) > 0 AS written;

-- the first purchase gives 100
SELECT loyalty.set_rule('hi club', 'first', 100, kind => 'bonus', condition => 'member.purchase_count = 0') > 0 AS written;
SELECT sell(1, 'ann', '2024-01-10', 50);
SELECT sell(2, 'ann', '2024-01-20', 60);
SELECT * FROM purchases('ann');
-- half of it returned is a purchase still
SELECT give_back(3, 1, '2024-01-21', 25);
SELECT * FROM purchases('ann');
-- all of it is none: now the second is the first
SELECT give_back(4, 1, '2024-01-22', 25);
SELECT * FROM purchases('ann');
-- and not any more once the return is cancelled
UPDATE invoice SET void = true WHERE id = 4;
SELECT * FROM purchases('ann');
-- an earlier one that is written late is the first
SELECT sell(5, 'ann', '2024-01-01', 10);
SELECT * FROM purchases('ann');
-- its day is corrected
UPDATE invoice SET day = '2024-02-01' WHERE id = 5;
SELECT * FROM purchases('ann');
-- it was somebody else's
UPDATE invoice SET customer = 'bob' WHERE id = 1;
SELECT * FROM purchases('ann');
SELECT * FROM purchases('bob');
UPDATE invoice SET void = true WHERE id = 2;
SELECT * FROM purchases('ann');
DELETE FROM invoice WHERE id = 5;
DELETE FROM line WHERE invoice = 5;
SELECT * FROM purchases('ann');
SELECT kind, doc_key, points, balance FROM loyalty.statement('hi club', 'ann');
-- two of the same day come in the order of their keys
SELECT sell(7, 'cid', '2024-03-01', 10);
SELECT sell(6, 'cid', '2024-03-01', 10);
SELECT * FROM purchases('cid');
SELECT loyalty.end_rule('hi club', 'first');

-- every third visit
SELECT loyalty.set_rule('hi club', 'third', 30, kind => 'bonus', condition => '(member.purchase_count + 1) % 3 = 0') > 0 AS written;
SELECT sell(10 + i, 'dee', '2024-01-01'::date + i, 10) FROM generate_series(1, 7) i;
SELECT * FROM purchases('dee');
UPDATE invoice SET void = true WHERE id = 12;
SELECT * FROM purchases('dee');
UPDATE invoice SET void = false WHERE id = 12;
SELECT * FROM purchases('dee');
SELECT loyalty.end_rule('hi club', 'third');
-- every tenth purchase
SELECT loyalty.set_rule('hi club', 'tenth', 500, kind => 'bonus', condition => '(member.purchase_count + 1) % 10 = 0') > 0 AS written;
SELECT sell(100 + i, 'eli', '2024-01-01'::date + i, 10) FROM generate_series(1, 21) i;
SELECT * FROM purchases('eli') WHERE bonuses IS NOT NULL;
SELECT give_back(130, 105, '2024-03-01', 10);
SELECT * FROM purchases('eli') WHERE bonuses IS NOT NULL;
SELECT loyalty.end_rule('hi club', 'tenth');

-- the purchase that reaches 5,000 within a year
SELECT loyalty.set_rule('hi club', 'year', 1000, kind => 'bonus',
	condition => 'member.year_amount < 5000 AND member.year_amount + document.amount >= 5000') > 0 AS written;
SELECT sell(200, 'fay', '2023-12-30', 4000);
SELECT sell(201, 'fay', '2024-01-10', 3000);
SELECT sell(202, 'fay', '2024-05-10', 2000);
SELECT sell(203, 'fay', '2024-09-10', 1500);
SELECT * FROM purchases('fay');
-- what is returned of an earlier one is missing in the sum: a later one reaches it
SELECT give_back(204, 201, '2024-09-11', 500);
SELECT * FROM purchases('fay');
-- what is returned of that one itself: it no longer reaches it
UPDATE invoice SET void = true WHERE id = 204;
SELECT give_back(205, 202, '2024-09-12', 0.01);
SELECT * FROM purchases('fay');
-- an edit counts as if it had always been so
UPDATE line SET amount = 5000 WHERE invoice = 201;
SELECT * FROM purchases('fay');
SELECT loyalty.end_rule('hi club', 'year');

-- at once for one big purchase; again within the usual time; back after a month away
SELECT loyalty.set_rule('hi club', 'big', 77, kind => 'bonus', condition => 'document.amount >= 1000') > 0 AS written;
SELECT loyalty.set_rule('hi club', 'in time', 5, kind => 'bonus', condition => 'member.days_since_last_purchase <= member.cycle_days') > 0 AS written;
SELECT loyalty.set_rule('hi club', 'welcome back', 40, kind => 'bonus', condition => 'member.days_since_last_purchase >= 30') > 0 AS written;
SELECT sell(300, 'gus', '2024-01-01', 10);
SELECT sell(301, 'gus', '2024-01-11', 10);
SELECT sell(302, 'gus', '2024-01-21', 600, 400);
SELECT sell(303, 'gus', '2024-01-30', 10);
SELECT sell(304, 'gus', '2024-03-01', 10);
SELECT * FROM purchases('gus');
-- without the one of the 30th, the next one is later still; and less than 1,000 is left of the big one
UPDATE invoice SET void = true WHERE id = 303;
SELECT give_back(305, 302, '2024-03-02', 1);
SELECT * FROM purchases('gus');
-- one in between, and it was never away
SELECT sell(306, 'gus', '2024-02-10', 10);
SELECT * FROM purchases('gus');
SELECT loyalty.end_rule('hi club', r) FROM unnest('{big,in time,welcome back}'::text[]) r;

-- three days around the birthday, over the turn of the year, and on the 28th for who is born on the 29th
SELECT loyalty.set_rule('hi club', 'birthday', 25, kind => 'bonus', condition => 'member.days_to_birthday BETWEEN -3 AND 3') > 0 AS written;
INSERT INTO invoice (id, customer, day, born) VALUES
	(400, 'hal', '2023-12-28', '1980-01-01'), (401, 'hal', '2023-12-29', '1980-01-01'), (402, 'hal', '2024-01-04', '1980-01-01'), (403, 'hal', '2024-01-05', '1980-01-01'),
	(404, 'ida', '2023-02-24', '1996-02-29'), (405, 'ida', '2023-02-25', '1996-02-29'), (406, 'ida', '2023-03-03', '1996-02-29'), (407, 'ida', '2023-03-04', '1996-02-29'),
	(408, 'ida', '2024-02-25', '1996-02-29'), (409, 'ida', '2024-02-26', '1996-02-29'), (410, 'ida', '2024-03-03', '1996-02-29'), (411, 'ida', '2024-03-04', '1996-02-29'),
	(412, 'jim', '2024-01-01', NULL);
INSERT INTO line SELECT id * 10, id, 10 FROM invoice WHERE id BETWEEN 400 AND 412;
SELECT * FROM purchases('hal');
SELECT * FROM purchases('ida');
SELECT * FROM purchases('jim');
SELECT loyalty.end_rule('hi club', 'birthday');

-- new on the market: 9 for each such product in its first two weeks; double for what lies too long
SELECT loyalty.set_rule('hi club', 'new', 9, kind => 'bonus', applies_to => 'line', condition => 'document.date - line.launched_on BETWEEN 0 AND 14') > 0 AS written;
SELECT loyalty.set_rule('hi club', 'slow', kind => 'multiplier', factor => 2, condition => 'line.stock > 100') > 0 AS written;
INSERT INTO invoice (id, customer, day) VALUES (500, 'kim', '2024-06-15'), (501, 'kim', '2024-06-16');
INSERT INTO line VALUES (5001, 500, 100, '2024-06-01', 50), (5002, 500, 100, '2024-06-15', 101), (5003, 500, 100, '2024-06-16', 100), (5004, 500, 100, NULL, NULL),
	(5011, 501, 100, '2024-06-01', 50), (5012, 501, 100, '2024-06-02', 500);
SELECT e.rule, e.line, e.calculation, e.points FROM loyalty.explain('hi shop', '500') e;
SELECT * FROM purchases('kim');
-- what the product is later changes nothing
UPDATE line SET stock = 5, launched = '2024-06-10' WHERE invoice IN (500, 501);
SELECT * FROM purchases('kim');

SELECT * FROM loyalty.check();
SET client_min_messages = warning;
SELECT loyalty.detach('hi shop');
DROP SCHEMA hi_erp CASCADE;
