-- Points as money: what may be redeemed, what it is worth, what keeps it.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'Asia/Tokyo', point_unit => 1) \gset
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset
SELECT shop.attach('inv', 'tab') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'ann', 10), (2, 'bob', 1000), (3, 'cat', 100);
SELECT loyalty.settle() \gset

-- a programme without a policy only collects
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'ann', 1, 'k')$$, 'LY003', NULL, 'without a policy nothing is redeemed');
SELECT throws_ok($$SELECT loyalty.quote_redemption('tab', 'ann', 10)$$, 'LY003', NULL, 'and nothing is quoted');
SELECT is(loyalty.available('tab', 'ann'), 10.00, 'but what is there can be asked');

-- bad settings
SELECT throws_ok($$SELECT loyalty.set_redemption('tab', 0)$$, '22023', NULL, 'a point is worth something');
SELECT throws_ok($$SELECT loyalty.set_redemption('tab', 'NaN')$$, '22023', NULL, 'and that is a number');
SELECT throws_ok($$SELECT loyalty.set_redemption('tab', 'Infinity')$$, '22023', NULL, 'a finite one');
SELECT throws_ok($$SELECT loyalty.set_redemption('tab', 1, max_percent => 101)$$, '22023', NULL, 'no more than the whole order');
SELECT throws_ok($$SELECT loyalty.set_redemption('tab', 1, limit_points => 5)$$, '22023', NULL, 'a limit needs a period');
SELECT throws_ok($$SELECT loyalty.set_redemption('tab', 1, limit_period => 'day')$$, '22023', NULL, 'and a period a limit');
SELECT throws_ok($$SELECT loyalty.set_redemption('tab', 1, redeem_multiple => 0.001)$$, '22023', NULL, 'points have two decimals');
SELECT throws_ok($$SELECT loyalty.set_redemption('tab', 1, hold_minutes => 0)$$, '22023', NULL, 'a hold lasts a minute');
SELECT throws_ok($$SELECT loyalty.set_redemption('no such', 1)$$, 'LY001', NULL, 'the programme must be there');

-- card 10, multiples of 3: exactly 9
SELECT loyalty.set_redemption('tab', 1, redeem_multiple => 3);
SELECT results_eq($$SELECT points, value, limited_by, available FROM loyalty.quote_redemption('tab', 'ann', 100)$$,
	$$VALUES (9.00::numeric(18,2), 9::numeric, 'available', 10.00::numeric(18,2))$$, 'whole multiples: 9 of 10');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'ann', 10, 'm1')$$, 'LY011', NULL, '10 is no multiple of 3');
SELECT results_eq($$SELECT * FROM loyalty.redeem('tab', 'ann', NULL, 'm2', amount => 100)$$,
	$$VALUES (9.00::numeric(18,2), 9::numeric, 1.00::numeric(18,2), 1.00::numeric(18,2))$$, 'as many as possible is 9');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'ann', NULL, 'm3', amount => 100)$$, 'LY011', NULL, 'then none is possible');
SELECT is(shop.entries('tab', 'ann'), 'earn 10, redeem -9', 'one entry each');

-- minimum, maximum, minimum order, part of the order
SELECT loyalty.set_redemption('tab', 0.5, redeem_min => 20, redeem_max => 300, min_order => 50, max_percent => 40);
SELECT is(points, 80.00::numeric(18,2), 'at most 40 % of the order: 40 of 100 takes 80 points') FROM loyalty.quote_redemption('tab', 'bob', 100);
SELECT is(limited_by, 'order', 'and it says so') FROM loyalty.quote_redemption('tab', 'bob', 100);
SELECT is(points, 300.00::numeric(18,2), 'at most redeem_max') FROM loyalty.quote_redemption('tab', 'bob', 100000);
SELECT is(limited_by, 'redeem_max', 'and it says so') FROM loyalty.quote_redemption('tab', 'bob', 100000);
SELECT is(limited_by, 'min_order', 'small orders are not paid with points') FROM loyalty.quote_redemption('tab', 'bob', 49.99);
SELECT is(limited_by, 'redeem_min', 'few points are not redeemed') FROM loyalty.quote_redemption('tab', 'ann', 100);
SELECT is(points, 0.00::numeric(18,2), 'so none') FROM loyalty.quote_redemption('tab', 'ann', 100);
SELECT is(points, 0.00::numeric(18,2), 'a customer who is no member has none') FROM loyalty.quote_redemption('tab', 'nobody', 100);
SELECT is(points, 0.00::numeric(18,2), 'nor has a guest') FROM loyalty.quote_redemption('tab', NULL, 100);
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 81, 'o1', amount => 100)$$, 'LY011', NULL, 'more than the order takes');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 20, 'o1', amount => 49)$$, 'LY011', NULL, 'an order that is too small');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 19, 'o1')$$, 'LY011', NULL, 'fewer than redeem_min');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 301, 'o1')$$, 'LY011', NULL, 'more than redeem_max');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'cat', 101, 'o1')$$, 'LY010', NULL, 'more than there are');
SELECT is(value, 40::numeric, '80 points pay 40') FROM loyalty.redeem('tab', 'bob', 80, 'o1', amount => 100);

-- arguments
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 0, 'a1')$$, '22023', NULL, 'no points');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', -20, 'a1')$$, '22023', NULL, 'points below 0');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 'NaN', 'a1')$$, '22023', NULL, 'NaN points');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 'Infinity', 'a1')$$, '22023', NULL, 'infinite points');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 1e30, 'a1')$$, '22003', NULL, 'too many points');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 20.001, 'a1')$$, '22023', NULL, 'thousandths of a point');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 20, 'a1', amount => 'NaN')$$, '22023', NULL, 'a NaN order');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 20, 'a1', amount => -100)$$, '22023', NULL, 'a negative order');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 20, NULL)$$, '22004', NULL, 'a key is needed');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 20, '')$$, '22023', NULL, 'that says something');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 20, repeat('x', 201))$$, '22023', NULL, 'but not too much');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 20, 'paid_by_points:1:2')$$, '22023', NULL, 'and is not the engine''s own');
SELECT throws_ok($$SELECT loyalty.redeem('tab', NULL, 20, 'a1')$$, '22004', NULL, 'a customer is needed');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'nobody', 20, 'a1')$$, 'LY001', NULL, 'who is a member');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 20, 'a1', source => 'inv')$$, '22023', NULL, 'source and key go together');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 20, 'a1', source => 'no such', doc_key => '1')$$, 'LY001', NULL, 'the source must be there');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 20, 'a1', at => 'infinity')$$, '22023', NULL, 'at some time');
SELECT is(loyalty.balance('tab', 'bob'), 920.00, 'nothing of that moved a point');

-- excluded categories
SELECT loyalty.set_redemption('tab', 1, excluded_categories => ARRAY['gift card', 'tobacco']);
SELECT is(payable, 70::numeric, 'excluded categories cannot be paid with points')
FROM loyalty.quote_redemption('tab', 'bob', lines => '[{"category": "food", "amount": 70}, {"category": ["new", "tobacco"], "amount": 30}]');
SELECT is(points, 70.00::numeric(18,2), 'so few points')
FROM loyalty.quote_redemption('tab', 'bob', lines => '[{"category": "food", "amount": 70}, {"category": "tobacco", "amount": 30}]');
SELECT is(points, 0.00::numeric(18,2), 'or none')
FROM loyalty.quote_redemption('tab', 'bob', 30, '[{"category": "tobacco", "amount": 30}]');
SELECT loyalty.set_category('tab', 'cigars', 'tobacco') \gset
SELECT is(payable, 70::numeric, 'what is below an excluded category is excluded')
FROM loyalty.quote_redemption('tab', 'bob', lines => '[{"category": "food", "amount": 70}, {"category": "cigars", "amount": 30}]');

-- per member and period, in the programme's days
SELECT loyalty.set_redemption('tab', 1, limit_points => 100, limit_period => 'day');
SELECT points FROM loyalty.redeem('tab', 'bob', 60, 'd1', at => '2030-01-01 10:00+09') \gset
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 41, 'd2', at => '2030-01-01 23:59+09')$$, 'LY011', NULL, '100 a day, 40 are left');
SELECT is(points, 40.00::numeric(18,2), 'the quote knows') FROM loyalty.quote_redemption('tab', 'bob', at => '2030-01-01 23:59+09');
SELECT is(points, 100.00::numeric(18,2), 'another day in Tokyo') FROM loyalty.quote_redemption('tab', 'bob', at => '2030-01-02 00:00+09');
SELECT is(points, 100.00::numeric(18,2), 'and the day before') FROM loyalty.quote_redemption('tab', 'bob', at => '2029-12-31 23:59+09');
SELECT points FROM loyalty.cancel_redemption('tab', 'bob', 'd1', at => '2030-01-01 12:00+09') \gset
SELECT is(points, 100.00::numeric(18,2), 'what came back does not count') FROM loyalty.quote_redemption('tab', 'bob', at => '2030-01-01 23:59+09');

-- the exact rest of a bill
SELECT loyalty.set_redemption('tab', 0.03, redeem_multiple => 10);
SELECT is(points, 30.00::numeric(18,2), 'whole multiples pay a part of 1.00') FROM loyalty.quote_redemption('tab', 'bob', 1.00);
SELECT is(value, 0.90::numeric, 'that is 0.90') FROM loyalty.quote_redemption('tab', 'bob', 1.00);
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 33.34, 'e1', amount => 1.00)$$, 'LY011', NULL, 'the exact rest is refused');
SELECT loyalty.set_redemption('tab', 0.03, redeem_multiple => 10, pay_exact_rest => true);
SELECT results_eq($$SELECT points, value FROM loyalty.quote_redemption('tab', 'bob', 1.00)$$, $$VALUES (33.34::numeric(18,2), 1.00::numeric)$$, 'fractions pay all of it');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'bob', 33.33, 'e1', amount => 1.00)$$, 'LY011', NULL, 'but no other fraction');
SELECT results_eq($$SELECT points, value FROM loyalty.redeem('tab', 'bob', 33.34, 'e1', amount => 1.00)$$, $$VALUES (33.34::numeric(18,2), 1.00::numeric)$$, 'and are redeemed');
SELECT is(points, 880.00::numeric(18,2), 'where points do not reach, multiples do') FROM loyalty.quote_redemption('tab', 'bob', 10000);
-- money is cut, never rounded up
SELECT loyalty.set_redemption('tab', 0.005);
SELECT is(value, 0.03::numeric, '7 points at 0.005 pay 0.03') FROM loyalty.redeem('tab', 'bob', 7, 'c1');

-- soonest expiring first, then oldest, never last
SELECT is(loyalty.available('tab', 'cat'), 100.00, 'a fresh member');
SELECT points FROM loyalty.redeem('tab', 'cat', 100, 'all') \gset
SELECT is(loyalty.available('tab', 'cat'), 0.00, 'down to nothing');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'cat', 0.01, 'more')$$, 'LY010', NULL, 'and not below');

-- the books say who, when and why
SELECT is(kind || ' ' || recorded_by || ' ' || (arguments ->> 'points'), 'redeem ' || current_user || ' 100', 'calls are recorded')
FROM loyalty.operation WHERE key = 'all' AND member_id = loyalty.member_id('tab', 'cat');
SELECT throws_ok($$UPDATE loyalty.redemption SET points = 1$$, 'LY004', NULL, 'redemptions are the engine''s');
SELECT throws_ok($$DELETE FROM loyalty.operation$$, 'LY004', NULL, 'so are calls');
SELECT throws_ok($$UPDATE loyalty.hold SET points = 1$$, 'LY004', NULL, 'so are holds') WHERE EXISTS (SELECT FROM loyalty.hold);
SELECT throws_ok($$TRUNCATE loyalty.redemption$$, 'LY004', NULL, 'all of them');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
