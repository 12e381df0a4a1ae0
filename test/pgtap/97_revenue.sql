-- Deferred revenue: what is allocated to points, released as they are redeemed,
-- and posted.
\ir common.psql
SELECT no_plan();

-- the formula
SELECT results_eq('SELECT round(goods), round(points) FROM loyalty.revenue_allocation(100000, 9500)', 'VALUES (91324::numeric, 8676::numeric)', '100,000 and 9,500: 91,324 and 8,676');
SELECT results_eq('SELECT goods, points FROM loyalty.revenue_allocation(0, 10)', 'VALUES (0.00, 0::numeric)', 'no sales, nothing to divide');
SELECT results_eq('SELECT goods, points FROM loyalty.revenue_allocation(-5, 10)', 'VALUES (-5.00, 0::numeric)', 'nor of returns');
SELECT results_eq('SELECT goods, points FROM loyalty.revenue_allocation(10, 0)', 'VALUES (10.00, 0::numeric)', 'no points, all is for the goods');
SELECT is_empty($$SELECT s, v FROM generate_series(0.01, 20, 0.97) s, generate_series(0, 40, 0.83) v, loyalty.revenue_allocation(s, v) a WHERE a.goods + a.points <> s OR a.points < 0 OR a.goods < 0$$, 'nothing is lost');

-- a year as the standard's example has it, in months
SELECT loyalty.create_program('tab', 'UTC', 'EUR') \gset
SELECT loyalty.set_rule('tab', 'base', 1, 10) \gset
SELECT loyalty.set_redemption('tab', 1, clerk_limit => 1000) \gset
SELECT shop.attach('inv', 'tab', on_error => 'raise') \gset
SELECT throws_ok($$SELECT * FROM loyalty.journal('tab', '2040-01-01', '2040-01-31')$$, 'LY003', NULL, 'no journal without a policy');
SELECT throws_ok($$SELECT loyalty.close_period('tab', '2020-01-01')$$, 'LY003', NULL, 'nor does it close');
SELECT loyalty.set_revenue_policy('tab', 1, 0.95, revenue_account => '4000', contract_liability_account => '3250', expense_account => '6600', cost_centre => 'MKT', provision_account => '3070') \gset
SELECT loyalty.set_revenue_policy('tab', 1, 0.97, revenue_account => '4000', contract_liability_account => '3250', expense_account => '6600', cost_centre => 'MKT', provision_account => '3070', valid_from => '2040-02-01') \gset
SELECT is_empty($$SELECT * FROM loyalty.deferred_revenue('tab', NULL, '2040-12-31')$$, 'nothing yet');
INSERT INTO shop.invoice (id, customer, at, total) VALUES (1, 'ann', '2040-01-05 12:00+00', 60000), (2, 'bob', '2040-01-31 23:59+00', 40000);
SELECT loyalty.settle() \gset
SELECT points FROM loyalty.redeem('tab', 'ann', 4500, 'r1', at => '2040-01-20 12:00+00') \gset
SELECT points FROM loyalty.redeem('tab', 'bob', 4000, 'r1', at => '2040-02-20 12:00+00') \gset
SELECT results_eq($$SELECT period, sales, points_issued, redeemed_total, expected_total, allocated, released, deferred FROM loyalty.deferred_revenue('tab', NULL, '2040-02-10')$$,
	$$VALUES (date '2040-01-01', 100000.00, 10000.00, 4500.00, 9500.00, 8675.80, 4109.59, 4566.21), ('2040-02-01', 0, 0, 8500, 9700, 0, 3492.92, 1073.29)$$,
	'4,500 of 9,500: 4,110 are released; 8,500 of 9,700: 3,493 more');
SELECT results_eq($$SELECT * FROM loyalty.journal('tab', '2040-01-01', '2040-02-29')$$, $$VALUES
	(date '2040-01-31', 1, '4000', NULL::text, 8675.80, 0.00, 'tab: part of the sales that is for points'),
	('2040-01-31', 2, '3250', NULL, 0, 8675.80, 'tab: part of the sales that is for points'),
	('2040-01-31', 3, '3250', NULL, 4109.59, 0, 'tab: points redeemed, expired, or no longer expected'),
	('2040-01-31', 4, '4000', NULL, 0, 4109.59, 'tab: points redeemed, expired, or no longer expected'),
	('2040-02-29', 1, '3250', NULL, 3492.92, 0, 'tab: points redeemed, expired, or no longer expected'),
	('2040-02-29', 2, '4000', NULL, 0, 3492.92, 'tab: points redeemed, expired, or no longer expected')$$, 'as postings');
SELECT throws_ok($$SELECT * FROM loyalty.journal('tab', '2040-01-02', '2040-01-31')$$, '22023', NULL, 'a journal begins with a month');
SELECT throws_ok($$SELECT * FROM loyalty.journal('tab', '2040-01-01', '2040-01-30')$$, '22023', NULL, 'and ends with one');
SELECT throws_ok($$SELECT * FROM loyalty.journal('tab', '2040-03-01', '2040-01-31')$$, '22023', NULL, 'in this order');
SELECT throws_ok($$SELECT * FROM loyalty.journal('no', '2040-01-01', '2040-01-31')$$, 'LY001', NULL, 'of a programme that there is');
-- a redemption that is cancelled comes back, and the last one takes the rest
SELECT points FROM loyalty.cancel_redemption('tab', 'bob', 'r1', at => '2040-03-02 12:00+00') \gset
SELECT is((SELECT deferred FROM loyalty.deferred_revenue('tab', '2040-03-01', '2040-03-31')), 8675.80 - round(8675.80 * 4500 / 9700, 2), 'given back: what is released goes back');
SELECT is((SELECT debit FROM loyalty.journal('tab', '2040-03-01', '2040-03-31') WHERE account = '4000'), 3492.92 + 4109.59 - round(8675.80 * 4500 / 9700, 2), 'a posting the other way round');
SELECT points FROM loyalty.redeem('tab', 'bob', 4000, 'r2', at => '2040-04-20 12:00+00') \gset
SELECT points FROM loyalty.redeem('tab', 'ann', 1500, 'r2', at => '2040-04-20 12:00+00') \gset
SELECT is((SELECT deferred FROM loyalty.deferred_revenue('tab', '2040-04-01', '2040-04-30')), 0.00, 'no points left, nothing deferred');

-- returns: goods come back, and points with them
INSERT INTO shop.invoice (id, customer, at, total) VALUES (3, 'cat', '2040-05-05 12:00+00', 1000);
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (4, 'cat', '2040-06-05 12:00+00', -250, 3);
SELECT loyalty.settle() \gset
SELECT results_eq($$SELECT sales, points_issued, allocated, returned, released, deferred FROM loyalty.deferred_revenue('tab', '2040-05-01', '2040-06-30')$$,
	$$VALUES (1000.00, 100.00, 88.42, 0.00, 0.00, 88.42), (-250.00, -25.00, 0.00, 22.11, 0.00, 66.31)$$, 'a quarter of the points takes back a quarter of what was deferred');

-- points given: an expense when given, used when redeemed, back when they expire
SELECT loyalty.enrol('tab', 'dan') \gset
SELECT points FROM loyalty.adjust('tab', 'dan', 100, 'gift', 'd1', expires_on => '2040-07-31', at => '2040-06-10 12:00+00') \gset
SELECT points FROM loyalty.redeem('tab', 'dan', 60, 'd2', at => '2040-07-05 12:00+00') \gset
SELECT results_eq($$SELECT granted, used, provision FROM loyalty.deferred_revenue('tab', '2040-06-01', '2040-08-31')$$,
	$$VALUES (97.00, 0.00, 97.00), (0.00, 60.00, 37.00), (-37.00, 0.00, 0.00)$$, '97 of 100 expected, 60 used, the rest has expired');
SELECT results_eq($$SELECT entry_date, account, cost_centre, debit, credit FROM loyalty.journal('tab', '2040-06-01', '2040-08-31') WHERE text ~ 'otherwise'$$, $$VALUES
	(date '2040-06-30', '6600', 'MKT', 97.00, 0.00), ('2040-06-30', '3070', NULL, 0, 97), ('2040-07-31', '3070', NULL, 60, 0), ('2040-07-31', '4000', NULL, 0, 60),
	('2040-08-31', '3070', NULL, 37, 0), ('2040-08-31', '6600', 'MKT', 0, 37)$$, 'posted with the programme''s cost centre');
SELECT is_empty($$SELECT * FROM loyalty.check_revenue('tab', '2040-09-30')$$, 'check_revenue() agrees');

-- a closed month stays as it is
SELECT throws_ok($$SELECT loyalty.close_period('tab', '2040-07-01')$$, 'LY003', NULL, 'a month that is not over cannot be closed');
SELECT throws_ok($$SELECT loyalty.close_period('tab', '2040-07-01', '2040-07-31 23:59:59+00')$$, 'LY003', NULL, 'not even a second before');
SELECT throws_ok($$SELECT loyalty.close_period('tab', NULL)$$, '22023', NULL, 'nor can no month');
CREATE TABLE shop.before AS SELECT * FROM loyalty.deferred_revenue('tab', NULL, '2040-07-31');
SELECT is(loyalty.close_period('tab', '2040-07-15', '2040-08-01 00:00+00'), 7::bigint, 'closing July closes what is before it');
SELECT is(loyalty.close_period('tab', '2040-07-15', '2040-08-01 00:00+00'), 0::bigint, 'again it does nothing');
SELECT throws_ok($$UPDATE loyalty.revenue_period SET sales = 0$$, 'LY004', NULL, 'a closed month cannot be changed');
SELECT throws_ok($$DELETE FROM loyalty.revenue_period$$, 'LY004', NULL, 'nor taken away');
SELECT throws_ok($$SELECT loyalty.set_revenue_policy('tab', 2)$$, 'LY003', NULL, 'nor valued anew');
SELECT throws_ok($$SELECT loyalty.set_revenue_policy('tab', 2, valid_from => '2040-07-01')$$, 'LY003', NULL, 'its policy is closed as well');
INSERT INTO shop.invoice (id, customer, at, total) VALUES (5, 'cat', '2040-05-06 12:00+00', 500);
SELECT loyalty.settle() \gset
SELECT set_eq($$SELECT period, sales, points_issued, points_redeemed, points_expired, allocated, returned, released, deferred, granted, used FROM loyalty.deferred_revenue('tab', NULL, '2040-07-31')$$,
	$$SELECT period, sales, points_issued, points_redeemed, points_expired, allocated, returned, released, deferred, granted, used FROM shop.before$$, 'booked late: closed months are as they were');
SELECT results_eq($$SELECT is_closed, sales, points_issued, allocated FROM loyalty.deferred_revenue('tab', '2040-08-01', '2040-08-31')$$,
	$$SELECT false, 500.00, 50.00, (loyalty.revenue_allocation(1500, 150 * 0.97)).points - 88.42$$, 'and the next one catches up');
SELECT is((SELECT deferred FROM loyalty.deferred_revenue('tab', '2040-08-01', '2040-08-31')), (SELECT a.points - round(a.points * 25 / 150, 2) FROM loyalty.revenue_allocation(1500, 150 * 0.97) a), 'in the end all is as if it had been booked in time');
SELECT is_empty($$SELECT * FROM loyalty.check_revenue('tab', '2040-09-30')$$, 'check_revenue() agrees');

-- at random
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset
SELECT loyalty.set_revenue_policy('tab', 0.5, NULL, valid_from => '2041-01-01') \gset
SELECT loyalty.set_expiry('tab', '90 days', lapse_after => '6 months') \gset
\ir life.psql
SELECT setseed(0.1717);
SELECT shop.live(400) \gset
SELECT is_empty($$SELECT * FROM generate_series(timestamptz '2041-01-01 00:00+00', '2043-12-01', '11 days 7 hours') t, loyalty.check_liability('tab', t)$$, 'liability is the sum of the balances all the time');
SELECT is_empty($$SELECT * FROM loyalty.check_revenue('tab', '2043-12-01')$$, 'so are the points of every month');
CREATE TABLE shop.month AS SELECT * FROM loyalty.deferred_revenue('tab', NULL, '2043-12-01');
SELECT is((SELECT count(*) FROM shop.month WHERE deferred < 0 OR provision < 0 OR expected_share NOT BETWEEN 0 AND 1), 0::bigint, 'nothing is below zero');
SELECT cmp_ok((SELECT count(*) FROM loyalty.liability('tab', '2042-06-01') WHERE class = 'sale' AND expires_month IS NOT NULL), '>', 0::bigint, 'points of purchases expire');
SELECT cmp_ok((SELECT min(expected_share) FROM shop.month), '<', 0.95, 'some breakage is expected');
SELECT is((SELECT sum(allocated - returned - released) FROM shop.month), (SELECT deferred FROM shop.month WHERE period = '2043-12-01'), 'what was allocated is deferred, taken back or released');
SELECT is((SELECT sum(granted - used) FROM shop.month), (SELECT provision FROM shop.month WHERE period = '2043-12-01'), 'what was granted is used or provided for');
SELECT is((SELECT sum(debit) FROM loyalty.journal('tab', '2040-01-01', '2043-12-31')), (SELECT sum(credit) FROM loyalty.journal('tab', '2040-01-01', '2043-12-31')), 'debits are credits');
SELECT is_empty($$SELECT entry_date FROM loyalty.journal('tab', '2040-01-01', '2043-12-31') GROUP BY entry_date HAVING sum(debit) <> sum(credit)$$, 'in every month');
SELECT is((SELECT sum(credit - debit) FROM loyalty.journal('tab', '2040-01-01', '2043-12-31') WHERE account IN ('3250', 'contract liability', '3070')),
	(SELECT deferred + provision FROM shop.month WHERE period = '2043-12-01'), 'the accounts hold what is deferred and provided for');
SELECT is((SELECT sum(points_issued - points_redeemed - points_expired) - (SELECT points_owed FROM shop.month WHERE period = '2043-12-01') FROM shop.month),
	(SELECT coalesce(sum(l.points), 0) FROM loyalty.liability('tab', '2043-12-31 23:59:59.999999+00') l), 'months add up to the balances');
-- no look-ahead: a month as it is told from later is as it was told then
SELECT is_empty($$SELECT m.period, d.* FROM shop.month m CROSS JOIN LATERAL (SELECT * FROM loyalty.deferred_revenue('tab', m.period, m.period)) d
	WHERE m.period >= '2041-06-01' AND extract(month FROM m.period)::integer % 3 = 0
		AND (d.allocated, d.released, d.deferred, d.provision, d.expected_share) IS DISTINCT FROM (m.allocated, m.released, m.deferred, m.provision, m.expected_share)$$, 'what comes later changes nothing');
-- whether or not anybody writes down what has expired
CREATE TABLE shop.owed AS SELECT t, l.* FROM generate_series(timestamptz '2041-01-01 00:00+00', '2043-12-01', '33 days 7 hours') t, loyalty.liability('tab', t) l;
SELECT cmp_ok((SELECT done FROM loyalty.expire_points('2044-01-01')), '>', 20::bigint, 'upkeep');
SELECT set_eq($$SELECT t, l.* FROM generate_series(timestamptz '2041-01-01 00:00+00', '2043-12-01', '33 days 7 hours') t, loyalty.liability('tab', t) l$$,
	'SELECT * FROM shop.owed', 'changes no liability');
SELECT set_eq('SELECT * FROM loyalty.deferred_revenue(''tab'', NULL, ''2043-12-01'')', 'SELECT * FROM shop.month', 'and no month');
SELECT * FROM shop.clean();
SELECT * FROM finish();
ROLLBACK;
