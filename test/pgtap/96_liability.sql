-- Liability: outstanding points by month of earning and of expiry, at any
-- instant, and how many of them will be redeemed.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'Europe/Berlin', 'EUR') \gset
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset
SELECT loyalty.set_rule('tab', 'survey', 5, kind => 'bonus', event => 'survey') \gset
SELECT shop.attach('inv', 'tab', on_error => 'raise') \gset
SELECT count(loyalty.enrol('tab', c)) FROM unnest(ARRAY['ann', 'bob', 'cat', 'dan']) c \gset
CREATE FUNCTION shop.told(at timestamptz) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(concat_ws(' ', class, to_char(vintage, 'YYMM'), coalesce(to_char(expires_month, 'YYMM'), 'never'), trim_scale(points), trim_scale(expected_points),
		trim_scale(value)), ', ' ORDER BY class DESC, vintage, expires_month), '') FROM loyalty.liability('tab', at)
$$;
SELECT is(shop.told('2040-01-01'), '', 'nothing is owed by a new programme');

INSERT INTO shop.invoice (id, customer, at, total) VALUES (1, 'ann', '2040-01-31 23:30 Europe/Berlin', 100), (2, 'ann', '2040-02-01 00:00 Europe/Berlin', 40),
	(3, 'bob', '2040-01-10 12:00+00', 60);
SELECT loyalty.settle() \gset
SELECT is(shop.told('2040-02-15'), 'sale 4001 never 160 160, sale 4002 never 40 40', 'without a price there is no value, and all are expected; months are the programme''s');
SELECT loyalty.set_redemption('tab', 0.05, clerk_limit => 1000) \gset
SELECT is(shop.told('2040-02-15'), 'sale 4001 never 160 160 8, sale 4002 never 40 40 2', 'at what a point pays');
SELECT loyalty.set_revenue_policy('tab', 0.04, 0.9) \gset
SELECT is(shop.told('2040-02-15'), 'sale 4001 never 160 144 5.76, sale 4002 never 40 36 1.44', 'at the stand-alone price, less breakage');
SELECT points FROM loyalty.adjust('tab', 'ann', 30, 'gift', 'a1', expires_on => '2040-03-31', at => '2040-01-05 12:00+00') \gset
SELECT loyalty.record_event('tab', 'bob', 'survey', 'b1', at => '2040-02-03 12:00+00') \gset
SELECT points FROM loyalty.redeem('tab', 'ann', 60, 'a2', at => '2040-02-10 12:00+00') \gset
SELECT is(shop.told('2040-02-02 00:00+00'), 'sale 4001 never 160 144 5.76, sale 4002 never 40 36 1.44, grant 4001 4003 30 27 1.08', 'gifts are another class; later things are not seen');
SELECT is(shop.told('2040-02-15'), 'sale 4001 never 130 114 4.56, sale 4002 never 40 36 1.44, grant 4002 never 5 4.5 0.18', 'redeemed: what a vintage will still redeem is 0.9 of it less that');

-- expiry, with nobody noting it
SELECT points FROM loyalty.adjust('tab', 'cat', 50, 'gift', 'c1', expires_on => '2040-03-31', at => '2040-02-05 12:00+00') \gset
SELECT is((SELECT sum(points) FROM loyalty.liability('tab', '2040-03-31 23:59:59.999999 Europe/Berlin')), 225.00, 'valid through the last day');
SELECT is((SELECT sum(points) FROM loyalty.liability('tab', '2040-04-01 00:00 Europe/Berlin')), 175.00, 'gone with the next');

-- debts apart, and a member's debt takes from what he has
SELECT points FROM loyalty.redeem('tab', 'bob', 65, 'b2', at => '2040-02-20 12:00+00') \gset
UPDATE shop.invoice SET state = 'draft' WHERE id = 3;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'bob'), -60.00, 'bob owes');
SELECT results_eq($$SELECT lots, points, expected_points, value FROM loyalty.liability('tab', '2040-03-01') WHERE class = 'debt'$$, $$VALUES (1::bigint, -60.00, NULL::numeric, NULL::numeric)$$, 'what is owed is told apart, and worth nothing');
SELECT is((SELECT sum(points) FROM loyalty.liability('tab', '2040-03-01')), (SELECT sum(loyalty.balance('tab', c, '2040-03-01')) FROM unnest(ARRAY['ann', 'bob', 'cat', 'dan']) c), 'the sum of the balances');

-- transferred points keep the month in which they were earned
INSERT INTO shop.invoice (id, customer, at, total) VALUES (5, 'dan', '2040-03-05 12:00+00', 10), (6, 'dan', '2040-04-05 12:00+00', 20);
SELECT loyalty.settle() \gset
SELECT points FROM loyalty.transfer('tab', 'dan', 'cat', 15, 'd1', at => '2040-05-05 12:00+00') \gset
SELECT is(shop.told('2040-05-04 12:00+00'), shop.told('2040-05-05 12:00+00'), 'a transfer changes nothing');
SELECT points FROM loyalty.redeem('tab', 'cat', 4, 'c2', at => '2040-05-06 12:00+00') \gset
SELECT points FROM loyalty.transfer('tab', 'cat', 'ann', 11, 'c3', at => '2040-05-07 12:00+00') \gset
SELECT is((SELECT sum(points) FROM loyalty.liability('tab', '2040-05-08') WHERE vintage >= '2040-03-01'), 26.00, 'nor does the next one');
SELECT is((SELECT string_agg(to_char(vintage, 'YYMM') || ' ' || points, ', ' ORDER BY vintage) FROM loyalty.liability('tab', '2040-05-08') WHERE vintage >= '2040-03-01'), '4003 7.33, 4004 18.67', 'what was drawn of it came from both, in whole cents');
SELECT balance FROM loyalty.merge_customers('tab', 'dan', 'ann', at => '2040-05-09 12:00+00') \gset
SELECT is((SELECT string_agg(to_char(vintage, 'YYMM') || ' ' || points, ', ' ORDER BY vintage) FROM loyalty.liability('tab', '2040-05-10') WHERE vintage >= '2040-03-01'), '4003 7.33, 4004 18.67', 'nor a merge');
-- what a cancelled redemption gives back for days of grace is as old as it was
SELECT points FROM loyalty.adjust('tab', 'cat', 8, 'gift', 'c4', expires_on => '2040-06-30', at => '2040-06-01 12:00+00') \gset
SELECT points FROM loyalty.redeem('tab', 'cat', 8, 'c5', at => '2040-06-02 12:00+00') \gset
SELECT points FROM loyalty.cancel_redemption('tab', 'cat', 'c5', at => '2040-07-10 12:00+00') \gset
SELECT is((SELECT string_agg(concat_ws(' ', class, to_char(vintage, 'YYMM'), to_char(expires_month, 'YYMM'), points, expected_points), ', ') FROM loyalty.liability('tab', '2040-07-11') WHERE expires_month >= '2040-07-01'),
	'grant 4006 4007 8.00 7.20', 'given back');

SELECT is_empty($$SELECT * FROM generate_series(timestamptz '2040-01-01 00:00+00', '2040-08-01', '17 hours') t, loyalty.check_liability('tab', t)$$, 'check_liability() agrees all the time');

-- a debt of March that is repaid by what was booked later, for February
SELECT loyalty.enrol('tab', 'eve') \gset
INSERT INTO shop.invoice (id, customer, at, total) VALUES (20, 'eve', '2041-01-05 12:00+00', 100);
SELECT loyalty.settle() \gset
SELECT points FROM loyalty.redeem('tab', 'eve', 100, 'e1', at => '2041-01-06 12:00+00') \gset
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (21, 'eve', '2041-03-05 12:00+00', -60, 20);
SELECT loyalty.settle() \gset
SELECT points FROM loyalty.adjust('tab', 'eve', 80, 'gift', 'e2', at => '2041-02-05 12:00+00') \gset
SELECT is((SELECT sum(points) FROM loyalty.liability('tab', '2041-02-20') WHERE vintage >= '2041-01-01'), 80.00, 'is no debt yet in February');
SELECT is((SELECT sum(points) FROM loyalty.liability('tab', '2041-03-20') WHERE vintage >= '2041-01-01'), 20.00, 'and none in March');
SELECT is_empty($$SELECT * FROM generate_series(timestamptz '2041-01-01 00:00+00', '2041-04-01', '3 days') t, loyalty.check_liability('tab', t)$$, 'check_liability() agrees');

-- expected redemption
SELECT is(loyalty.redemption_share(NULL, NULL, NULL), 1.0, 'no history: all will be redeemed');
SELECT is(loyalty.redemption_share(array_fill(100.0, ARRAY[11]), array_fill(0.0, ARRAY[11]), array_fill(1.0, ARRAY[11])), 1.0, 'with less than a year, too');
SELECT is(loyalty.redemption_share(array_fill(0.0, ARRAY[20]), array_fill(0.0, ARRAY[20]), array_fill(0.0, ARRAY[20])), 1.0, 'nothing held');
SELECT is(trim_scale(loyalty.redemption_share('{100,70,50,50,50,50,50,50,50,50,50,50}', '{30,20,0,0,0,0,0,0,0,0,0,10}', '{0,0,0,0,0,0,0,0,0,0,0,40}')), 0.6, '30, 20 and 10 of 100');
SELECT is(trim_scale(loyalty.redemption_share('{100,70,50,50,50,50,50,50,50,50,50,50,0,0,0}', '{30,20,0,0,0,0,0,0,0,0,0,10,0,0,0}', '{0,0,0,0,0,0,0,0,0,0,0,40,0,0,0}')), 0.6, 'older ages that nothing reaches tell nothing');
SELECT is(trim_scale(loyalty.redemption_share('{100,70,50,50,50,50,50,50,50,50,50,50,50,50}', '{30,20,0,0,0,0,0,0,0,0,0,0,0,0}', array_fill(0, ARRAY[14]))), 0.5, 'nobody has redeemed anything that old for a year');
SELECT is(trim_scale(loyalty.redemption_share(array_fill(100.0, ARRAY[12]), array_fill(1.0, ARRAY[12]), array_fill(1.0, ARRAY[12]))), 0.5, 'on as before: half of it');
SELECT is(trim_scale(loyalty.redemption_share(array_fill(100.0, ARRAY[12]), array_fill(-5.0, ARRAY[12]), array_fill(200.0, ARRAY[12]))), 0.0, 'within bounds whatever the books say');
-- ten members, one more each month for two years; each gets 100 for 6 months, spends 30 in the next month and 20 in the fourth
SELECT loyalty.create_program('old', 'UTC') \gset
SELECT loyalty.set_redemption('old', 1, clerk_limit => 1000) \gset
SELECT loyalty.set_revenue_policy('old', 1) \gset
SELECT count(loyalty.enrol('old', 'c' || n)) FROM generate_series(0, 23) n \gset
SELECT count(x.points) FROM generate_series(0, 23) n CROSS JOIN LATERAL (SELECT date '2040-01-01' + make_interval(months => n) AS at) m
	CROSS JOIN LATERAL loyalty.adjust('old', 'c' || n, 100, 'gift', 'g', expires_on => (m.at + interval '6 months')::date - 1, at => m.at + interval '12 hours') x \gset
SELECT count(x.points) FROM generate_series(0, 23) n CROSS JOIN LATERAL loyalty.redeem('old', 'c' || n, 30, 'r', at => date '2040-02-03' + make_interval(months => n)) x \gset
SELECT count(x.points) FROM generate_series(0, 23) n CROSS JOIN LATERAL loyalty.redeem('old', 'c' || n, 20, 's', at => date '2040-05-03' + make_interval(months => n)) x \gset
SELECT is(loyalty.expected_redemption('old', '2040-12-31 23:59:59+00'), 1.0, 'eleven months are too few');
SELECT is(trim_scale(loyalty.expected_redemption('old', '2041-06-15 00:00+00')), 0.5, 'half of the points is redeemed');
SELECT results_eq($$SELECT age, vintages, held, redeemed, expired FROM loyalty.redemption_curve('old', '2041-06-15 00:00+00') WHERE age <= 6$$,
	$$VALUES (0, 17::bigint, 1700.00, 0.00, 0.00), (1, 16::bigint, 1600.00, 480.00, 0.00), (2, 15::bigint, 1050.00, 0.00, 0.00), (3, 14::bigint, 980.00, 0.00, 0.00),
		(4, 13::bigint, 910.00, 260.00, 0.00), (5, 12::bigint, 600.00, 0.00, 0.00), (6, 11::bigint, 550.00, 0.00, 550.00)$$, 'the curve behind it, of months that are over');
SELECT results_eq($$SELECT vintage, points, expected_points FROM loyalty.liability('old', '2041-06-15 00:00+00') ORDER BY 1$$,
	$$VALUES (date '2041-01-01', 50.00, 0.00), ('2041-02-01', 50.00, 0.00), ('2041-03-01', 70.00, 20.00), ('2041-04-01', 70.00, 20.00), ('2041-05-01', 70.00, 20.00), ('2041-06-01', 100.00, 50.00)$$,
	'what each vintage will still redeem');
SELECT is_empty($$SELECT * FROM loyalty.check_liability('old', '2041-06-15 00:00+00')$$, 'check_liability() agrees');

SELECT throws_ok($$SELECT loyalty.set_revenue_policy('tab', 0)$$, '22023', NULL, 'a price of nothing');
SELECT throws_ok($$SELECT loyalty.set_revenue_policy('tab', 'NaN')$$, '22023', NULL, 'or NaN');
SELECT throws_ok($$SELECT loyalty.set_revenue_policy('tab', 1, 1.01)$$, '22023', NULL, 'more than all is redeemed');
SELECT throws_ok($$SELECT loyalty.set_revenue_policy('tab', 1, 'NaN')$$, '22023', NULL, 'NaN is');
SELECT throws_ok($$SELECT loyalty.set_revenue_policy('tab', 1, valid_from => '2040-01-02')$$, '22023', NULL, 'from the middle of a month');
SELECT throws_ok($$SELECT loyalty.set_revenue_policy('tab', 1, expense_account => ' ')$$, '22023', NULL, 'without an account');
SELECT throws_ok($$SELECT loyalty.set_revenue_policy('no', 1)$$, 'LY001', NULL, 'for no programme');
SELECT throws_ok($$SELECT loyalty.liability('no')$$, 'LY001', NULL, 'whose liability?');
SELECT * FROM shop.clean();
SELECT * FROM finish();
ROLLBACK;
