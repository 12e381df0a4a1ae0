-- A household: customers on one balance, and one who leaves it.  The points
-- stay, and so does whatever concerns documents of the time together.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'UTC') \gset
SELECT loyalty.set_tier('tab', 'Basic', 0) \gset
SELECT loyalty.set_tier('tab', 'Gold', 500) \gset
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset
SELECT loyalty.set_redemption('tab', 1) \gset
SELECT shop.attach('inv', 'tab', on_error => 'raise') \gset
INSERT INTO shop.invoice (id, customer, at, total) VALUES (1, 'ann', '2024-01-10', 300), (2, 'bob', '2024-01-10', 200);
SELECT loyalty.settle() \gset

SELECT throws_ok($$SELECT loyalty.leave_household('tab', 'ann', 'k')$$, 'LY003', NULL, 'who is in none leaves none');
SELECT throws_ok($$SELECT loyalty.leave_household('tab', 'zoe', 'k')$$, 'LY001', NULL, 'nor does who is no member');
SELECT results_eq($$SELECT points, balance FROM loyalty.merge_customers('tab', 'bob', 'ann', '2024-02-01')$$,
	$$VALUES (200.00::numeric(18,2), 500.00::numeric(18,2))$$, 'together');
INSERT INTO shop.invoice (id, customer, at, total) VALUES (3, 'bob', '2024-02-10', 100), (4, 'ann', '2024-02-11', 50);
SELECT loyalty.settle() \gset
SELECT results_eq($$SELECT points, balance FROM loyalty.merge_customers('tab', 'bob', 'ann', '2024-02-01')$$,
	$$VALUES (200.00::numeric(18,2), 500.00::numeric(18,2))$$, 'merged again, the same answer');
SELECT is(loyalty.balance('tab', 'bob'), 650.00::numeric(18,2), 'one balance');
SELECT is(shop.tier('tab', 'bob'), 'Gold', 'one tier');
SELECT points FROM loyalty.redeem('tab', 'bob', 30, 'paid', 'inv', '3', at => '2024-02-10 12:00+00') \gset
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'ann'), 590.00::numeric(18,2), 'spent by either');

-- he leaves
SELECT throws_ok($$SELECT loyalty.leave_household('tab', 'bob', 'merge:1')$$, '22023', NULL, 'with a key of his own');
SELECT throws_ok($$SELECT loyalty.leave_household('tab', 'bob', 'l0', '2024-02-05')$$, 'LY003', NULL, 'not before what was bought together');
SELECT results_eq($$SELECT points, balance, available FROM loyalty.leave_household('tab', 'bob', 'l1', '2024-03-01')$$,
	$$VALUES (0.00::numeric(18,2), 0.00::numeric(18,2), 0.00::numeric(18,2))$$, 'he begins with nothing');
SELECT is(loyalty.balance('tab', 'ann'), 590.00::numeric(18,2), 'the points stay');
SELECT is(shop.tier('tab', 'ann') || ', ' || shop.tier('tab', 'bob'), 'Gold, Basic', 'so does the tier');
INSERT INTO shop.invoice (id, customer, at, total) VALUES (5, 'bob', '2024-03-02', 70), (6, 'ann', '2024-03-02', 10);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'ann') || ', ' || loyalty.balance('tab', 'bob'), '600.00, 70.00', 'each for himself');
SELECT results_eq($$SELECT points, balance FROM loyalty.leave_household('tab', 'bob', 'l1', '2024-03-01')$$,
	$$VALUES (0.00::numeric(18,2), 0.00::numeric(18,2))$$, 'a double submit has one effect');
SELECT throws_ok($$SELECT loyalty.leave_household('tab', 'bob', 'l2')$$, 'LY003', NULL, 'nobody leaves twice');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 71, 'k')$$, 'LY010', NULL, 'he spends his own only');

-- what concerns the time together finds the household
UPDATE shop.invoice SET total = 150 WHERE id = 3;
INSERT INTO shop.invoice (id, customer, at, total) VALUES (7, 'bob', '2024-02-20', 5);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'ann') || ', ' || loyalty.balance('tab', 'bob'), '655.00, 70.00', 'a late document, and a change');
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (8, 'bob', '2024-03-10', -150, 3), (9, 'bob', '2024-03-10', -200, 2);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'ann') || ', ' || loyalty.balance('tab', 'bob'), '365.00, 70.00', 'goods that come back take the household''s points, and give back what paid them');
UPDATE shop.invoice SET at = '2024-03-05' WHERE id = 7;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'ann') || ', ' || loyalty.balance('tab', 'bob'), '360.00, 75.00', 'a document that turns out to be later is his');
SELECT is_empty('SELECT * FROM loyalty.verify(''inv'')', 'verify() agrees');
SELECT is_empty('SELECT * FROM loyalty.check()', 'so does check()');

-- and he comes again, to leave once more
SELECT points FROM loyalty.merge_customers('tab', 'bob', 'ann', '2024-04-01') \gset
SELECT is(loyalty.balance('tab', 'bob'), 435.00::numeric(18,2), 'together again');
SELECT balance FROM loyalty.leave_household('tab', 'bob', 'l3', '2024-05-01') \gset
INSERT INTO shop.invoice (id, customer, at, total) VALUES (10, 'bob', '2024-04-15', 1), (11, 'bob', '2024-05-01', 2), (12, 'bob', '2024-02-15', 4);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'ann') || ', ' || loyalty.balance('tab', 'bob'), '440.00, 2.00', 'each to its time');
SELECT is_empty('SELECT * FROM loyalty.verify(''inv'')', 'verify() agrees');
SELECT is(loyalty.enrol('tab', 'bob'), loyalty.member_id('tab', 'bob'), 'he is who he is now');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
