-- Whom a reward is for: a condition over the member, as rules have them.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'UTC') \gset
SELECT loyalty.create_program('other', 'UTC') \gset
SELECT loyalty.set_tier('tab', 'Basic', 0) \gset
SELECT loyalty.set_tier('tab', 'Gold', 1000) \gset
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset
SELECT shop.attach('inv', 'tab') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'ann', 100), (2, 'bob', 2000), (3, 'bob', 300), (4, 'bob', 10);
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (5, 'bob', -10, 4);
SELECT loyalty.settle() \gset

SELECT throws_ok($$SELECT loyalty.set_reward('tab', 'x', 'product', 5, condition => 'member.teir = ''Gold''')$$, '42703', NULL, 'a column there is');
SELECT throws_ok($$SELECT loyalty.set_reward('tab', 'x', 'product', 5, condition => 'tier = ''Gold''')$$, '42703', NULL, 'with the member before it');
SELECT throws_ok($$SELECT loyalty.set_reward('tab', 'x', 'product', 5, condition => 'document.amount > 5')$$, '42P01', NULL, 'there is no document');
SELECT throws_ok($$SELECT loyalty.set_reward('tab', 'x', 'product', 5, condition => 'event.kind = ''x''')$$, '42P01', NULL, 'nor an event');
SELECT throws_ok($$SELECT loyalty.set_reward('tab', 'x', 'product', 5, condition => 'member.days_to_birthday = 0')$$, '0A000', NULL, 'what only documents tell');
SELECT throws_ok($$SELECT loyalty.set_reward('tab', 'x', 'product', 5, condition => '')$$, '42601', NULL, 'an expression');
SELECT throws_ok($$SELECT loyalty.set_reward('tab', 'x', 'product', 5, condition => 'member.purchase_count')$$, '42804', NULL, 'that is true or false');
SELECT throws_ok($$SELECT loyalty.set_reward('tab', 'x', 'product', 5, condition => 'pg_sleep(1) IS NULL')$$, '0A000', NULL, 'and only that');
SELECT is((SELECT count(*) FROM loyalty.reward WHERE name = 'x'), 0::bigint, 'nothing half done');

CREATE FUNCTION pg_temp.hint(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v_hint text;
BEGIN
	PERFORM loyalty.set_reward('tab', 'x', 'product', 5, condition => condition);
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS v_hint = PG_EXCEPTION_HINT;
	RETURN v_hint;
END
$$;
SELECT is(pg_temp.hint('member.teir = ''Gold'''), 'Perhaps you meant member.tier.', 'a hint');
SELECT is(pg_temp.hint('line.qty > 1'), 'The condition of a reward sees member.', 'another');

SELECT loyalty.set_reward('tab', 'regulars', 'product', 5, condition => 'member.purchase_count >= 2 AND member.lifetime_amount > 2000') > 0 AS ok \gset
SELECT loyalty.set_reward('tab', 'gold', 'product', 6, condition => 'member.tier = ''Gold''') > 0 AS ok \gset
SELECT loyalty.set_reward('tab', 'new ones', 'product', 7, condition => 'member.purchase_count <= 1') > 0 AS ok \gset
SELECT loyalty.set_reward('tab', 'nobody', 'product', 8, condition => 'member.cycle_days > 1') > 0 AS ok \gset
SELECT loyalty.set_reward('tab', 'all', 'product', 9) > 0 AS ok \gset
SELECT loyalty.set_reward('other', 'gold', 'product', 6, condition => 'false') > 0 AS ok \gset

SELECT results_eq($$SELECT reward, is_available, reason, condition FROM loyalty.rewards_available('tab', 'ann') ORDER BY cost$$,
	$$VALUES ('regulars', false, 'condition', 'member.purchase_count >= 2 AND member.lifetime_amount > 2000'),
		('gold', false, 'condition', 'member.tier = ''Gold'''), ('new ones', true, NULL, NULL),
		('nobody', false, 'condition', 'member.cycle_days > 1'), ('all', true, NULL, NULL)$$, 'ann is new');
SELECT results_eq($$SELECT reward, is_available, reason FROM loyalty.rewards_available('tab', 'bob') ORDER BY cost$$,
	$$VALUES ('regulars', true, NULL), ('gold', true, NULL), ('new ones', false, 'condition'),
		('nobody', false, 'condition'), ('all', true, NULL)$$, 'bob is a regular');
SELECT throws_ok($$SELECT loyalty.redeem_reward('tab', 'ann', 'regulars', 'k')$$, 'LY011', NULL, 'refused');
SELECT is(points, 5.00::numeric(18,2), 'given') FROM loyalty.redeem_reward('tab', 'bob', 'regulars', 'k');
SELECT is(points, 9.00::numeric(18,2), 'no condition, no question') FROM loyalty.redeem_reward('tab', 'ann', 'all', 'k');

-- the segment of the last refresh; whoever has none, or is no member, has NULL
SELECT loyalty.set_reward('tab', 'segment', 'product', 1, condition => 'member.segment = ''hibernating''') > 0 AS ok \gset
SELECT loyalty.set_reward('tab', 'no segment', 'product', 1, condition => 'member.segment IS NULL') > 0 AS ok \gset
CREATE FUNCTION pg_temp.segments(customer text) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(reward, ', ' ORDER BY reward) FROM loyalty.rewards_available('tab', $1) WHERE is_available AND reward ~ 'segment'$$;
SELECT is(pg_temp.segments(c), 'no segment', 'before the first refresh nobody has one') FROM unnest('{ann,bob}'::text[]) c;
SELECT loyalty.refresh_analytics('tab') \gset
-- both bought on one day: R 1; ann bought once, bob twice: F 1 and 3 of n = 2
SELECT is(pg_temp.segments('ann'), 'segment', 'ann hibernates');
SELECT is(pg_temp.segments('bob'), NULL, 'bob is at risk');
SELECT results_eq($$SELECT reward, is_available, reason FROM loyalty.rewards_available('tab', 'eve') WHERE reward ~ 'segment' ORDER BY 1$$,
	$$VALUES ('no segment', false, 'points'), ('segment', false, 'condition')$$, 'who is no member has no segment, and no points either');
SELECT throws_ok($$SELECT loyalty.redeem_reward('tab', 'bob', 'segment', 'k1')$$, 'LY011', NULL, 'it is not for bob');
SELECT is(points, 1.00::numeric(18,2), 'it is for ann') FROM loyalty.redeem_reward('tab', 'ann', 'segment', 'k1');
SELECT throws_ok($$SELECT loyalty.set_rule('tab', 'x', 1, 1, condition => 'member.segment = ''loyal''')$$, '0A000', NULL, 'rules cannot ask for it');

-- what was bought later than the instant in question does not count
UPDATE shop.invoice SET at = '2029-05-05 12:00+00' WHERE id = 2;
UPDATE shop.invoice SET at = '2029-06-06 12:00+00' WHERE id = 3;
SELECT loyalty.settle() \gset
SELECT results_eq($$SELECT d, (SELECT is_available FROM loyalty.rewards_available('tab', 'bob', d) WHERE reward = 'regulars')
	FROM (VALUES ('2029-06-05 23:59+00'::timestamptz), ('2029-06-06 23:59+00')) v (d)$$,
	$$VALUES ('2029-06-05 23:59+00'::timestamptz, false), ('2029-06-06 23:59+00', true)$$, 'as of an instant');

-- a purchase, and another condition, count at once
INSERT INTO shop.invoice (id, customer, total) VALUES (6, 'ann', 2000);
SELECT loyalty.settle() \gset
SELECT is(is_available, true, 'a second purchase') FROM loyalty.rewards_available('tab', 'ann') WHERE reward = 'regulars';
SELECT loyalty.set_reward('tab', 'regulars', 'product', 5, condition => 'member.purchase_count >= 3') > 0 AS ok \gset
SELECT is(reason, 'condition', 'another condition') FROM loyalty.rewards_available('tab', 'ann') WHERE reward = 'regulars';
SAVEPOINT s;
SELECT loyalty.set_reward('tab', 'regulars', 'product', 5) > 0 AS ok \gset
SELECT is(is_available, true, 'none') FROM loyalty.rewards_available('tab', 'ann') WHERE reward = 'regulars';
ROLLBACK TO s;
SELECT is(reason, 'condition', 'undone') FROM loyalty.rewards_available('tab', 'ann') WHERE reward = 'regulars';

-- the same call again gives its answer, whatever holds by now
SELECT loyalty.set_reward('tab', 'regulars', 'product', 5, condition => 'false') > 0 AS ok \gset
SELECT is(points, 5.00::numeric(18,2), 'answered before') FROM loyalty.redeem_reward('tab', 'bob', 'regulars', 'k');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
