-- The ERP only says how much was paid with points: the engine draws them.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'UTC') \gset
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset
SELECT loyalty.set_redemption('tab', 0.2) \gset
SELECT shop.attach('inv', 'tab', paid_by_points => 'r.points_paid') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'ann', 200), (2, 'bob', 200), (3, 'cat', 200), (4, 'dan', 10);
INSERT INTO shop.invoice (id, customer, total, points_paid) VALUES (5, 'eve', 100, 30);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'eve'), 70.00, 'without the option nothing is drawn');
SELECT loyalty.set_redemption('tab', 0.2, draw_paid => true) \gset
UPDATE shop.invoice SET channel = 'web' WHERE id = 5;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'eve'), 70.00, 'nor for what was booked before');

-- the example: balance 200, two items at 50, 30 of it with 150 points
INSERT INTO shop.invoice (id, customer, total, points_paid) VALUES (10, 'ann', 100, 30);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'ann'), 120.00, 'drawn with the invoice');
SELECT is(kind || ' ' || points || ' ' || value, 'paid 150.00 30', 'as a redemption') FROM loyalty.redemption WHERE member_id = loyalty.member_id('tab', 'ann');
UPDATE shop.invoice SET note = 'again' WHERE id = 10;
SELECT loyalty.settle() \gset
SELECT is(loyalty.reevaluate('inv', '10'), 0.00, 'once');
INSERT INTO shop.invoice (id, customer, total, return_of, points_paid) VALUES (11, 'ann', -50, 10, -15);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'ann'), 160.00, 'half comes back');
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (12, 'ann', -50, 10);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'ann'), 200.00, 'all comes back');
UPDATE shop.invoice SET cancelled = true WHERE id IN (11, 12);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'ann'), 120.00, 'and is drawn again');
UPDATE shop.invoice SET points_paid = 20 WHERE id = 10;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'ann'), 180.00, 'less was paid: 100 points, and 80 earned');
UPDATE shop.invoice SET points_paid = 0 WHERE id = 10;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'ann'), 300.00, 'nothing was');
UPDATE shop.invoice SET points_paid = 30 WHERE id = 10;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'ann'), 120.00, 'or was it');
UPDATE shop.invoice SET state = 'draft' WHERE id = 10;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'ann'), 200.00, 'a draft pays nothing');
DELETE FROM shop.invoice WHERE id = 10;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'ann'), 200.00, 'nor does what was deleted');

-- a point's value changes: what was drawn stays drawn
INSERT INTO shop.invoice (id, customer, total, points_paid) VALUES (20, 'bob', 100, 30);
SELECT loyalty.settle() \gset
SELECT loyalty.set_redemption('tab', 0.1, draw_paid => true) \gset
UPDATE shop.invoice SET total = 110 WHERE id = 20;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'bob'), 130.00, 'at the value of then');
UPDATE shop.invoice SET points_paid = 10 WHERE id = 20;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'bob'), 200.00, 'another amount at the value of now: 100 points, and 100 earned');
SELECT loyalty.set_redemption('tab', 0.2, draw_paid => true) \gset

-- a redemption was booked: only what it does not cover is drawn
SELECT points FROM loyalty.redeem('tab', 'cat', 100, 'k', 'inv', '30') \gset
INSERT INTO shop.invoice (id, customer, total, points_paid) VALUES (30, 'cat', 100, 20);
SELECT loyalty.settle() \gset
SELECT is(shop.entries('tab', 'cat'), 'earn 200, redeem -100, earn 80', 'it covers all');
UPDATE shop.invoice SET points_paid = 30 WHERE id = 30;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'cat'), 120.00, 'it covers 20 of 30: 50 more points');
SELECT points FROM loyalty.cancel_redemption('tab', 'cat', 'k') \gset
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'cat'), 120.00, 'it is cancelled: the engine draws all of it');

-- points that are not there are owed
INSERT INTO shop.invoice (id, customer, total, points_paid) VALUES (40, 'dan', 100, 30);
SELECT loyalty.settle() \gset
SELECT is(balance || ' ' || debt, '-70.00 70.00', 'what the till took is owed') FROM loyalty.points('tab', 'dan');
INSERT INTO shop.invoice (id, customer, total) VALUES (41, 'dan', 100);
SELECT loyalty.settle() \gset
SELECT is(balance || ' ' || debt, '30.00 0.00', 'and repaid') FROM loyalty.points('tab', 'dan');
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (42, 'dan', -100, 40);
SELECT loyalty.settle() \gset
SELECT is(balance || ' ' || debt, '110.00 0.00', 'and comes back') FROM loyalty.points('tab', 'dan');

-- the customer changes: who has the sale pays
INSERT INTO shop.invoice (id, customer, total, points_paid) VALUES (50, 'bob', 100, 20);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'bob'), 180.00, 'bob pays 100');
UPDATE shop.invoice SET customer = 'cat' WHERE id = 50;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'bob') || ' ' || loyalty.balance('tab', 'cat'), '200.00 100.00', 'no, cat does');
UPDATE shop.invoice SET customer = 'bob' WHERE id = 50;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'bob') || ' ' || loyalty.balance('tab', 'cat'), '180.00 120.00', 'no, bob');
SELECT results_eq('SELECT doc_key, customer, booked, due, problem FROM loyalty.verify(''inv'')',
	$$VALUES ('5', 'eve', 0.00, -150.00, 'redeemed otherwise')$$, 'verify() tells what was booked before the engine drew points');
SELECT loyalty.reevaluate('inv', '5') \gset
SELECT is_empty('SELECT * FROM loyalty.verify(''inv'')', 'verify() agrees');

-- what no trigger saw: verify() tells, reevaluate() books
SET LOCAL session_replication_role = replica;
UPDATE shop.invoice SET points_paid = 30 WHERE id = 50;
SET LOCAL session_replication_role = origin;
SELECT results_eq('SELECT doc_key, customer, booked, due, problem FROM loyalty.verify(''inv'') ORDER BY problem',
	$$VALUES ('50', 'bob', 80.00, 70.00, 'booked otherwise'), ('50', 'bob', -100.00, -150.00, 'redeemed otherwise')$$, 'points that would be drawn');
SELECT loyalty.reevaluate('inv', '50') \gset
SELECT is(loyalty.balance('tab', 'bob'), 120.00, '50 more were drawn, 10 fewer earned');
SELECT is_empty('SELECT * FROM loyalty.verify(''inv'')', 'verify() agrees again');

-- a programme that writes off
SELECT loyalty.create_program('off', 'UTC', negative => 'write_off') \gset
SELECT loyalty.set_rule('off', 'base', 1, 1) \gset
SELECT loyalty.set_redemption('off', 1, draw_paid => true) \gset
SELECT shop.attach('offinv', 'off', paid_by_points => 'r.points_paid') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (60, 'gus', 30);
INSERT INTO shop.invoice (id, customer, total, points_paid) VALUES (61, 'gus', 100, 80);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('off', 'gus'), 0.00, 'earned 50 in all, 80 were used');
SELECT is(written_off, 30.00, '30 are written off') FROM loyalty.redemption WHERE member_id = loyalty.member_id('off', 'gus');
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (62, 'gus', -50, 61);
SELECT loyalty.settle() \gset
SELECT is(written_off || ' ' || restored, '0.00 40.00', 'what was never taken is not given back') FROM loyalty.redemption WHERE member_id = loyalty.member_id('off', 'gus');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
