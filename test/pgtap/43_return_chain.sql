-- Returns whose link leads through another document: they follow when that
-- one changes its place, though nobody touched them.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('p', time_zone => 'UTC');
SELECT loyalty.set_rule('p', 'base', points => 1, per_amount => 1);
SELECT shop.attach('inv', 'p', evaluate => 'statement');

CREATE FUNCTION shop.sums(text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT string_agg(coalesce(trim_scale(d.points)::text, '-'), ' ' ORDER BY k.key)
	FROM unnest(string_to_array($1, ' ')) AS k (key)
		LEFT JOIN LATERAL (SELECT sum(d.points) AS points FROM shop.document d WHERE d.doc_key = k.key) d ON true
$$;

-- 1 sale, 2 its return, 3 gives part of that back, 4 takes some of it again; 11 is another sale
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES
	(1, 'A', 100, NULL), (2, 'A', -60, 1), (3, 'A', 30, 2), (4, 'A', -10, 3), (11, 'B', 50, NULL);
SELECT is(shop.sums('1 2 3 4 11'), '100 50 -60 30 -10', 'a chain of returns (listed by key as text)');
SELECT is(loyalty.balance('p', 'A'), 60.00, 'what is left');

UPDATE shop.invoice SET cancelled = true WHERE id = 2;
SELECT is(loyalty.balance('p', 'A'), 100.00, 'the middle is cancelled: nothing of the chain counts');
SELECT is(shop.sums('2 3 4'), '0 0 0', 'by document');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'verify() agrees');
UPDATE shop.invoice SET cancelled = false WHERE id = 2;
SELECT is(loyalty.balance('p', 'A'), 60.00, 'and counts again');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'verify() agrees');

UPDATE shop.invoice SET return_of = 11 WHERE id = 2;
SELECT is(loyalty.balance('p', 'A'), 100.00, 'the middle returns another sale: the first one is whole');
SELECT is(loyalty.balance('p', 'B'), 10.00, '... and the chain hangs on the other: 50 - 60 + 30 - 10');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'verify() agrees');

UPDATE shop.invoice SET return_of = NULL WHERE id = 2;
SELECT is(loyalty.balance('p', 'A'), 60.00, 'the middle is linked to nothing');
SELECT is(loyalty.balance('p', 'B'), 50.00, '... and the other sale whole');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'verify() agrees');

UPDATE shop.invoice SET return_of = 1 WHERE id = 2;
SELECT is(loyalty.balance('p', 'A'), 60.00, 'linked again');
UPDATE shop.invoice SET total = 60 WHERE id = 2;
SELECT is(shop.sums('1 2 3 4'), '100 60 30 -10', 'the middle becomes a charge of its own, and what hangs on it a charge beyond it');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'verify() agrees');
UPDATE shop.invoice SET total = -60 WHERE id = 2;
SELECT is(loyalty.balance('p', 'A'), 60.00, 'it is a return again, and so is all that hangs on it');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'verify() agrees');
DELETE FROM shop.invoice WHERE id = 2;
SELECT is(loyalty.balance('p', 'A'), 100.00, 'the middle is deleted');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'verify() agrees');
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (2, 'A', -60, 1);
SELECT is(loyalty.balance('p', 'A'), 60.00, 'and there again');

-- a charge beyond a sale, known before it and after it is gone
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (22, 'C', 30, 21);
SELECT is(loyalty.balance('p', 'C'), 0.00, 'linked to what is not there');
INSERT INTO shop.invoice (id, customer, total) VALUES (21, 'C', 100);
SELECT is(loyalty.balance('p', 'C'), 130.00, 'the charge is a sale once its sale is known');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'verify() agrees');
UPDATE shop.invoice SET cancelled = true WHERE id = 21;
SELECT is(loyalty.balance('p', 'C'), 0.00, 'and moves nothing when that is cancelled, like any link to what does not count');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'verify() agrees');
SELECT shop.clean();

-- by line
SELECT loyalty.detach('inv');
TRUNCATE shop.invoice;
SELECT loyalty.create_program('l', time_zone => 'UTC');
SELECT loyalty.set_rule('l', 'base', points => 1, per_amount => 1);
SELECT shop.attach_lines('linv', 'l', evaluate => 'statement');

-- the return comes before its sale
INSERT INTO shop.line (id, invoice, amount, return_of) VALUES (91, 9, -20, 12);
INSERT INTO shop.invoice (id, customer) VALUES (9, 'D');
SELECT is(loyalty.balance('l', 'D'), 0.00, 'a return of a line that is not there moves nothing');
SELECT is(shop.sums('9'), '0', 'it is known, though');
SELECT is((SELECT calculation FROM loyalty.explain('linv', '9') WHERE calculation LIKE 'returns%'),
	'returns goods of line 12, which is not there', 'and explained');
INSERT INTO shop.line (id, invoice, amount) VALUES (11, 1, 100), (12, 1, 50);
INSERT INTO shop.invoice (id, customer) VALUES (1, 'D');
SELECT is(loyalty.balance('l', 'D'), 130.00, 'the sale arrives, and its return counts');
SELECT is_empty($$SELECT * FROM loyalty.verify('linv')$$, 'verify() agrees');

-- a line that is returned moves to another sale
INSERT INTO shop.invoice (id, customer) VALUES (2, 'E');
INSERT INTO shop.line (id, invoice, amount) VALUES (21, 2, 10);
UPDATE shop.line SET invoice = 2 WHERE id = 12;
SELECT is(loyalty.balance('l', 'D'), 100.00, 'the first sale keeps its other line');
SELECT is(loyalty.balance('l', 'E'), 40.00, 'the return follows the line: 10 + 50 - 20');
SELECT is_empty($$SELECT * FROM loyalty.verify('linv')$$, 'verify() agrees');

-- it is taken out of the sale, and put in again
DELETE FROM shop.line WHERE id = 12;
SELECT is(loyalty.balance('l', 'E'), 10.00, 'a return of a line that is gone moves nothing');
SELECT is_empty($$SELECT * FROM loyalty.verify('linv')$$, 'verify() agrees');
INSERT INTO shop.line (id, invoice, amount) VALUES (12, 1, 50);
SELECT is(loyalty.balance('l', 'E'), 10.00, 'back with the first sale');
SELECT is(loyalty.balance('l', 'D'), 130.00, '... where the return takes from it');
SELECT is_empty($$SELECT * FROM loyalty.verify('linv')$$, 'verify() agrees');

-- the sale goes with its lines, the return stays
DELETE FROM shop.invoice WHERE id = 1;
SELECT is(loyalty.balance('l', 'D'), 0.00, 'nothing is returned of a sale that is gone');
DELETE FROM shop.line WHERE invoice = 1;
SELECT is(loyalty.balance('l', 'D'), 0.00, '... nor of its lines');
SELECT is_empty($$SELECT * FROM loyalty.verify('linv')$$, 'verify() agrees');
SELECT is_empty($$SELECT * FROM shop.pending$$, 'nothing waits');
SELECT shop.clean();

SELECT * FROM finish();
ROLLBACK;
