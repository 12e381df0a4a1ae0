-- Chat and portal: rows with a sentence each, and all of them as one text.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'UTC', currency => 'EUR') \gset
SELECT is(loyalty.answer('tab', 'ann', 'program'), 'The programme has no rules yet.', 'an empty programme');
SELECT is(loyalty.answer('tab', 'ann', 'rewards'), 'There is nothing to redeem.', 'nothing');
SELECT is(loyalty.answer('tab', 'ann', 'expiry'), 'You have no points.', 'no points');
SELECT loyalty.set_tier('tab', 'Gold', 1000, 1.5) \gset
SELECT loyalty.set_rule('tab', 'base', 1, 10) \gset
SELECT loyalty.set_redemption('tab', 0.05, redeem_min => 20, max_percent => 50) \gset
SELECT loyalty.enrol('tab', 'ann') \gset
SELECT balance FROM loyalty.adjust('tab', 'ann', 30, 'x', 'a', expires_on => '2040-03-31') \gset
SELECT balance FROM loyalty.adjust('tab', 'ann', 12, 'x', 'b', expires_on => '2040-03-31') \gset
SELECT balance FROM loyalty.adjust('tab', 'ann', 8, 'x', 'c') \gset
SELECT points FROM loyalty.reserve('tab', 'ann', 20, 'h') \gset
SELECT loyalty.set_reward('tab', 'mug', 'product', 25) > 0 AS ok \gset
SELECT loyalty.set_reward('tab', 'car', 'product', 1000) > 0 AS ok \gset

SELECT is(loyalty.answer('tab', 'ann', 'points'), E'You can spend 30 points.\nYour balance is 50 points.\n20 points are reserved for an open order.', 'how many points do I have?');
SELECT is(loyalty.answer('tab', 'ann', 'rewards'), E'30 points are worth 1.5 at the till.\nmug: 25 points.\ncar: 1000 points, 970 are missing.', 'what can I redeem?');
SELECT is(loyalty.answer('tab', 'ann', 'expiry'), E'42 points are valid through 2040-03-31.\n8 points do not expire.', 'when do my points expire?');
SELECT is(loyalty.answer('tab', 'ann', 'expiry', '2040-04-01'), '8 points do not expire.', 'at any time');
SELECT is(loyalty.answer('tab', 'ann', 'program'), E'base: 1 point per 10 EUR.\nGold from 1000 EUR: points times 1.5.\nOne point pays 0.05 EUR.\nAt least 20 points can be redeemed.\nAt most 50 % of an order can be paid with points.', 'how does it work?');
SELECT results_eq($$SELECT expires_on, points FROM loyalty.answer_expiry('tab', 'ann')$$, $$VALUES ('2040-03-31'::date, 42.00::numeric(18,2)), ('infinity', 8.00)$$, 'as rows');
SELECT is(points, 50.00::numeric(18,2), 'points as rows') FROM loyalty.answer_points('tab', 'ann') WHERE item = 'balance';
SELECT is((SELECT count(*) FROM loyalty.answer_rewards('tab', 'ann')), 3::bigint, 'rewards as rows');
SELECT is((SELECT count(*) FROM loyalty.answer_program('tab')), 5::bigint, 'the programme as rows');
SELECT throws_ok($$SELECT loyalty.answer('tab', 'ann', 'weather')$$, '22023', NULL, 'another question');
SELECT throws_ok($$SELECT loyalty.answer('no such', 'ann', 'points')$$, 'LY001', NULL, 'another programme');
SELECT is(loyalty.answer('tab', 'nobody', 'points'), E'You can spend 0 points.\nYour balance is 0 points.', 'nobody');

-- every kind of rule, and what is to be known of spending and expiry
SELECT loyalty.set_rule('tab', 'double', kind => 'multiplier', factor => 2, condition => 'document.weekday = 1') \gset
SELECT loyalty.set_rule('tab', 'welcome', 5, kind => 'bonus', condition => 'member.purchase_count = 0') \gset
SELECT loyalty.set_rule('tab', 'pieces', 1, 1, kind => 'unit', condition => 'line.product = ''p''') \gset
SELECT loyalty.set_rule('tab', 'no tobacco', kind => 'exclusion', condition => 'line.category = ''tobacco''') \gset
SELECT loyalty.set_expiry('tab', '12 months', lapse_after => '6 months', usable_after => 14) \gset
SELECT loyalty.set_redemption('tab', 0.05, redeem_multiple => 3, min_order => 10, limit_points => 90, limit_period => 'month') \gset
SELECT is(loyalty.answer('tab', 'ann', 'program'), E'base: 1 point per 10 EUR.\ndouble: points times 2.\nwelcome: 5 points extra.\npieces: 1 point per piece.\nno tobacco: no points.'
	|| E'\nGold from 1000 EUR: points times 1.5.\nOne point pays 0.05 EUR.\nPoints are redeemed in multiples of 3.\nOrders from 10 EUR can be paid with points.'
	|| E'\nAt most 90 points can be redeemed per month.\nPoints can be spent 14 days after they were earned.\nPoints are valid for 12 months.\nAll points lapse 6 months after the last activity.', 'all of it');
-- and of rewards what keeps him
SELECT loyalty.set_reward('tab', 'a tier', 'service', 0, tier => 'Gold'), loyalty.set_reward('tab', 'b once', 'service', 0, times => 1, times_period => 'month'),
	loyalty.set_reward('tab', 'c none', 'service', 0, stock => 0), loyalty.set_reward('tab', 'd later', 'service', 0, valid_from => '2099-01-01'),
	loyalty.set_reward('tab', 'e buyers', 'service', 0, condition => 'member.purchase_count > 0'), loyalty.set_reward('tab', 'f', 'service', 1) \gset
SELECT points FROM loyalty.redeem_reward('tab', 'ann', 'b once', 'once') \gset
SELECT is((SELECT string_agg(sentence, E'\n' ORDER BY sentence) FROM loyalty.answer_rewards('tab', 'ann') WHERE points < 2),
	E'a tier: for a higher tier, 1000 away.\nb once: no more than 1 times per month.\nc none: sold out.\nd later: not on that day (from 2099-01-01).'
	|| E'\ne buyers: for members for whom this holds: member.purchase_count > 0.\nf: 1 point.', 'why not');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
