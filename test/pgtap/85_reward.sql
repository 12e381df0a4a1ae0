-- Rewards: what a member can have, what keeps him, stock and budget, draws.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'UTC') \gset
SELECT loyalty.set_tier('tab', 'Basic', 0) \gset
SELECT loyalty.set_tier('tab', 'Gold', 1000) \gset
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset
SELECT shop.attach('inv', 'tab') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'ann', 100), (2, 'bob', 5000), (3, 'cat', 300);
SELECT loyalty.settle() \gset

SELECT throws_ok($$SELECT loyalty.set_reward('tab', ' ', 'product', 5)$$, '22023', NULL, 'a name');
SELECT throws_ok($$SELECT loyalty.set_reward('tab', 'x', 'gift', 5)$$, '22023', NULL, 'a kind');
SELECT throws_ok($$SELECT loyalty.set_reward('tab', 'x', 'money', 5)$$, '22023', NULL, 'money off how much');
SELECT throws_ok($$SELECT loyalty.set_reward('tab', 'x', 'percent', 5, 101)$$, '22023', NULL, 'no more than all');
SELECT throws_ok($$SELECT loyalty.set_reward('tab', 'x', 'product', -5)$$, '22023', NULL, 'not for less than nothing');
SELECT throws_ok($$SELECT loyalty.set_reward('tab', 'x', 'product', 'NaN')$$, '22023', NULL, 'not for NaN');
SELECT throws_ok($$SELECT loyalty.set_reward('tab', 'x', 'product', 5, tier => 'Tin')$$, 'LY001', NULL, 'a tier there is');
SELECT throws_ok($$SELECT loyalty.set_reward('tab', 'x', 'product', 5, times => 1)$$, '22023', NULL, 'times per what');
SELECT loyalty.set_reward('tab', 'mug', 'product', 60, stock => 3, max_units => 2) > 0 AS ok \gset
SELECT loyalty.set_reward('tab', 'lounge', 'privilege', 0, tier => 'Gold', times => 1, times_period => 'month') > 0 AS ok \gset
SELECT loyalty.set_reward('tab', 'five off', 'money', 50, 5, budget => 120, max_units => 10) > 0 AS ok \gset
SELECT loyalty.set_reward('tab', 'summer', 'service', 10, valid_from => '2030-06-01', valid_to => '2030-08-31') > 0 AS ok \gset
SELECT loyalty.set_reward('tab', 'raffle', 'draw', 1, max_units => 1000) > 0 AS ok \gset
SELECT loyalty.set_reward('tab', 'car', 'product', 100000) > 0 AS ok \gset

SELECT results_eq($$SELECT reward, units, is_available, reason, missing FROM loyalty.rewards_available('tab', 'ann', '2030-01-01')$$,
	$$VALUES ('raffle', 100, true, NULL, NULL::numeric), ('five off', 2, true, NULL, NULL), ('mug', 1, true, NULL, NULL),
		('lounge', 0, false, 'tier', 900), ('summer', 0, false, 'dates', NULL), ('car', 0, false, 'points', 99900)$$, 'what can I redeem, and what is missing');

SELECT throws_ok($$SELECT loyalty.redeem_reward('tab', 'ann', 'no such', 'k')$$, 'LY001', NULL, 'a reward there is');
SELECT throws_ok($$SELECT loyalty.redeem_reward('tab', 'zoe', 'mug', 'k')$$, 'LY001', NULL, 'a member');
SELECT throws_ok($$SELECT loyalty.redeem_reward('tab', 'ann', 'car', 'k')$$, 'LY010', NULL, 'too dear');
SELECT throws_ok($$SELECT loyalty.redeem_reward('tab', 'ann', 'lounge', 'k')$$, 'LY011', NULL, 'not for this tier');
SELECT throws_ok($$SELECT loyalty.redeem_reward('tab', 'ann', 'mug', 'k', 0)$$, '22023', NULL, 'none of it');
SELECT throws_ok($$SELECT loyalty.redeem_reward('tab', 'bob', 'mug', 'k', 3)$$, 'LY011', NULL, 'too many at once');
SELECT throws_ok($$SELECT loyalty.redeem_reward('tab', 'bob', 'summer', 'k', at => '2030-09-01')$$, 'LY011', NULL, 'too late');
SELECT is(points, 10.00::numeric(18,2), 'on the last day') FROM loyalty.redeem_reward('tab', 'bob', 'summer', 's', at => '2030-08-31 23:59+00');
SELECT is(points || ' ' || balance, '60.00 40.00', 'a mug') FROM loyalty.redeem_reward('tab', 'ann', 'mug', 'k1');
SELECT is(points || ' ' || balance, '60.00 40.00', 'the same mug') FROM loyalty.redeem_reward('tab', 'ann', 'mug', 'k1');
SELECT throws_ok($$SELECT loyalty.redeem_reward('tab', 'ann', 'raffle', 'k1')$$, 'LY012', NULL, 'another reward needs another key');
SELECT is(balance, 4870.00::numeric(18,2), 'two more') FROM loyalty.redeem_reward('tab', 'bob', 'mug', 'k1', 2);
SELECT throws_ok($$SELECT loyalty.redeem_reward('tab', 'bob', 'mug', 'k2')$$, 'LY011', NULL, 'out of stock');
SELECT is(reason, 'stock', 'as one can see') FROM loyalty.rewards_available('tab', 'bob') WHERE reward = 'mug';
SELECT throws_ok($$SELECT loyalty.cancel_redemption('tab', 'ann', 'k1')$$, 'LY003', NULL, 'a reward is not cancelled as points');
SELECT is(points || ' ' || balance, '60.00 100.00', 'but as a reward') FROM loyalty.cancel_reward('tab', 'ann', 'k1');
SELECT is(points || ' ' || balance, '60.00 100.00', 'once') FROM loyalty.cancel_reward('tab', 'ann', 'k1');
SELECT is(used, 2, 'and it is in stock again') FROM loyalty.reward WHERE name = 'mug' AND program_id = loyalty.program_id('tab');
SELECT throws_ok($$SELECT loyalty.cancel_reward('tab', 'ann', 'no such')$$, 'LY001', NULL, 'what is not there');

-- once a month
SELECT is(points, 0.00::numeric(18,2), 'a privilege costs nothing') FROM loyalty.redeem_reward('tab', 'bob', 'lounge', 'l1', at => '2030-01-31 23:00+00');
SELECT throws_ok($$SELECT loyalty.redeem_reward('tab', 'bob', 'lounge', 'l2', at => '2030-01-01 00:00+00')$$, 'LY011', NULL, 'once a month');
SELECT is(points, 0.00::numeric(18,2), 'the next month') FROM loyalty.redeem_reward('tab', 'bob', 'lounge', 'l3', at => '2030-02-01 00:00+00');

-- budget
SELECT is(value, 10::numeric, 'two times five off') FROM loyalty.redeem_reward('tab', 'bob', 'five off', 'f1', 2, 'inv', '20');
SELECT throws_ok($$SELECT loyalty.redeem_reward('tab', 'bob', 'five off', 'f2')$$, 'LY011', NULL, 'the budget is used up');
-- money off a document is paid with points
INSERT INTO shop.invoice (id, customer, total) VALUES (20, 'bob', 100);
SELECT loyalty.settle() \gset
SELECT is(shop.booked('inv', '20'), 90::numeric, 'it earns for the rest');
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (21, 'bob', -100, 20);
SELECT loyalty.settle() \gset
SELECT is(restored, 100.00, 'and gives back') FROM loyalty.redemption WHERE key = 'f1' AND member_id = loyalty.member_id('tab', 'bob');

-- a draw can be done again by anybody
SELECT points FROM loyalty.redeem_reward('tab', 'ann', 'raffle', 'r1', 5) \gset
SELECT points FROM loyalty.redeem_reward('tab', 'bob', 'raffle', 'r1', 50) \gset
SELECT points FROM loyalty.redeem_reward('tab', 'cat', 'raffle', 'r1', 5) \gset
SELECT points FROM loyalty.redeem_reward('tab', 'cat', 'raffle', 'r2', 100) \gset
SELECT points FROM loyalty.cancel_reward('tab', 'cat', 'r2') \gset
SELECT is((SELECT count(*) FROM loyalty.draw_winners('tab', 'raffle', 'seed', 10)), 3::bigint, 'one prize each');
SELECT results_eq($$SELECT * FROM loyalty.draw_winners('tab', 'raffle', 'seed', 2)$$, $$SELECT * FROM loyalty.draw_winners('tab', 'raffle', 'seed', 3) LIMIT 2$$, 'the same seed draws the same');
SELECT is((SELECT draw FROM loyalty.draw_winners('tab', 'raffle', 'seed', 1)),
	(SELECT min(encode(sha256(convert_to('seed:' || u.member_id || ':' || u.key || ':' || n, 'UTF8')), 'hex'))
	FROM loyalty.reward_use u JOIN loyalty.reward r USING (reward_id), generate_series(1, u.units) n WHERE r.name = 'raffle' AND NOT u.is_cancelled),
	'as documented');
SELECT cmp_ok((SELECT count(DISTINCT customer) FROM generate_series(1, 30) s, loyalty.draw_winners('tab', 'raffle', s::text, 1)), '>', 1::bigint, 'another seed another winner');

-- what it takes off an order
SELECT loyalty.set_reward('tab', 'goods', 'percent', 5, 20, categories => '{shoes}', products => '{p1,p2}') > 0 AS ok \gset
SELECT loyalty.set_reward('tab', 'free', 'product', 7, products => '{p1}', max_units => 9) > 0 AS ok \gset
SELECT is(points || ' ' || value, '15.00 12.00', 'a percentage of these products in these categories, once') FROM loyalty.quote_reward('tab', 'goods', units => 3,
	lines => '[{"category": "shoes", "product": "p1", "amount": 60}, {"category": "shoes", "product": "p3", "amount": 60}, {"category": "hats", "product": "p2", "amount": 60}]');
SELECT throws_ok($$SELECT loyalty.quote_reward('tab', 'goods', 100)$$, '22023', NULL, 'a percentage of which goods?');
SELECT is(value, 10::numeric, 'money off, several times') FROM loyalty.quote_reward('tab', 'five off', units => 2);
SELECT is(value, 8::numeric, 'but no more than there is to pay') FROM loyalty.quote_reward('tab', 'five off', 8, units => 2);
SELECT is(points || ' ' || value, '14.00 7.00', 'the cheapest are free') FROM loyalty.quote_reward('tab', 'free', units => 2,
	lines => '[{"product": "p1", "qty": 2, "amount": 10}, {"product": "p1", "amount": 2}, {"product": "p2", "amount": 1}]');
SELECT throws_ok($$SELECT loyalty.quote_reward('tab', 'no such')$$, 'LY001', NULL, 'a reward there is');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
