-- Tiers that end soon, and upkeep that reviews them.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('club', 'Asia/Tokyo') \gset
SELECT loyalty.set_rule('club', 'base', 1, 1) \gset
SELECT loyalty.set_tier('club', 'plain', 0) \gset
SELECT loyalty.set_tier('club', 'silver', 100) \gset
SELECT loyalty.set_tier('club', 'gold', 500) \gset
SELECT loyalty.set_tier_policy('club', 'amount', 'rolling', 12, retention => 12, grace_days => 5, demotion => 'one_level') \gset
SELECT loyalty.set_message('club', 'tier_at_risk', lead_days => '{30,7}') \gset
SELECT loyalty.set_message('club', 'tier_down') \gset
SELECT shop.attach('inv', 'club', evaluate => 'statement') \gset
-- ann and bob are silver through 2025-03-10; bob buys enough to stay, cas never was anything
INSERT INTO shop.invoice (id, customer, total, at) VALUES (1, 'ann', 120, '2024-03-10 12:00+09'), (2, 'bob', 120, '2024-03-10 12:00+09'), (3, 'cas', 20, '2024-03-10 12:00+09'),
	(4, 'bob', 100, '2025-01-10 12:00+09'), (5, 'ann', 70, '2025-01-10 12:00+09');
SELECT is(until, '2025-03-10'::date, 'a tier has a last day') FROM loyalty.standing(loyalty.member_id('club', 'ann'), '2025-01-20', false);
CREATE FUNCTION shop.told() RETURNS text LANGUAGE sql STABLE AS $$
	SELECT coalesce(string_agg(concat_ws(' ', c.customer, m.kind, m.payload ->> 'tier_until', m.payload ->> 'days_left', m.payload ->> 'missing'), ', '
		ORDER BY m.occurred_at, c.customer), '')
	FROM loyalty.message m JOIN shop.member c USING (member_id)
$$;
SELECT done FROM loyalty.warn_members('2025-02-07 12:00+09') \gset
SELECT is(:done, 0, 'not before the longest lead time');
SELECT done FROM loyalty.warn_members('2025-02-08 12:00+09') \gset
SELECT is(shop.told(), 'ann tier_at_risk 2025-03-10 30 30', 'who will lose it is told what is missing, who will not is left in peace');
SELECT done FROM loyalty.warn_members('2025-02-09 12:00+09') \gset
SELECT is(:done, 0, 'once');
SELECT done FROM loyalty.warn_members('2025-03-05 12:00+09') \gset
SELECT is(shop.told(), 'ann tier_at_risk 2025-03-10 30 30, ann tier_at_risk 2025-03-10 5 30', 'and once more when it is near');
SELECT is(r.subject, 'Your tier silver ends soon', 'it can be read') FROM loyalty.message m CROSS JOIN LATERAL loyalty.render_message(m.member_id, m.kind, m.cause) r LIMIT 1;
-- a purchase takes the risk away
INSERT INTO shop.invoice (id, customer, total, at) VALUES (6, 'ann', 30, '2025-03-06 12:00+09');
SELECT is(loyalty.tier('club', 'ann', '2025-04-01'), 'silver', 'what was missing keeps it');
INSERT INTO shop.invoice (id, customer, total, at, return_of) VALUES (7, 'ann', -30, '2025-03-07 12:00+09', 6);

-- the step of upkeep writes the loss down, on the day after grace
SELECT isnt_empty($$SELECT FROM loyalty.upkeep_steps() WHERE step = 'tiers'$$, 'upkeep has the step');
SELECT is(loyalty.tier('club', 'ann', '2025-03-15 23:59+09'), 'silver', 'within grace it is kept');
SELECT is(loyalty.tier('club', 'ann', '2025-03-16 00:00+09'), 'plain', 'and then it is lost');
SELECT is((SELECT count(*) FROM loyalty.upkeep_steps() s JOIN pg_proc p ON p.proname = s.routine AND p.pronamespace = 'loyalty'::regnamespace),
	(SELECT count(*) FROM loyalty.upkeep_steps()), 'every step is there');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');

-- without a period: something leaves the window
SELECT loyalty.create_program('roll', 'UTC') \gset
SELECT loyalty.set_rule('roll', 'base', 1, 1) \gset
SELECT loyalty.set_tier('roll', 'plain', 0) \gset
SELECT loyalty.set_tier('roll', 'silver', 100) \gset
SELECT loyalty.set_tier_policy('roll', 'amount', 'rolling', 3) \gset
SELECT loyalty.set_message('roll', 'tier_at_risk', lead_days => '{10}') \gset
CREATE TABLE shop.slip (LIKE shop.invoice INCLUDING ALL);
SELECT loyalty.attach('slip', 'roll', 'shop.slip', 'r.id', 'r.customer', 'r.at', amount => 'r.total', evaluate => 'statement') \gset
INSERT INTO shop.slip (id, customer, total, at) VALUES (1, 'dan', 80, '2024-01-10 12:00+00'), (2, 'dan', 50, '2024-02-20 12:00+00');
SELECT done FROM loyalty.warn_members('2024-04-05 12:00+00') \gset
SELECT ok(shop.told() LIKE '%dan tier_at_risk 2024-04-09 4%', 'the day before it leaves');
SELECT is(loyalty.tier('roll', 'dan', '2024-04-09 23:59+00') || ' ' || loyalty.tier('roll', 'dan', '2024-04-10 00:00+00'), 'silver plain', 'that day is the last');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');

-- at this very moment, that is, for members whose tier is written down as of now; and seen from long before
SELECT loyalty.create_program('live', 'UTC') \gset
SELECT loyalty.set_rule('live', 'base', 1, 1) \gset
SELECT loyalty.set_tier('live', 'plain', 0) \gset
SELECT loyalty.set_tier('live', 'silver', 100) \gset
SELECT loyalty.set_tier_policy('live', 'amount', 'rolling', 3) \gset
SELECT loyalty.set_message('live', 'tier_at_risk', lead_days => '{30}') \gset
CREATE TABLE shop.note (LIKE shop.invoice INCLUDING ALL);
SELECT loyalty.attach('note', 'live', 'shop.note', 'r.id', 'r.customer', 'r.at', amount => 'r.total', evaluate => 'statement') \gset
INSERT INTO shop.note (id, customer, total, at) VALUES (1, 'fay', 120, now() - interval '3 months' + interval '20 days'),
	(2, 'gil', 120, now() - interval '5 days'), (3, 'eve', 120, '2024-01-10 12:00+00'), (4, 'eve', 120, now() - interval '5 days');
SELECT results_eq($$SELECT m.customer FROM loyalty.concerned_members(clock_timestamp(), 0, 1000) c JOIN shop.member m ON m.member_id = c
		WHERE m.program_id = loyalty.program_id('live') ORDER BY 1$$, $$VALUES ('fay'::text)$$, 'who loses his tier within the lead time is looked at, not who keeps it');
SELECT ok('fay' IN (SELECT m.customer FROM loyalty.concerned_members('2024-04-05 12:00+00', 0, 1000) c JOIN shop.member m ON m.member_id = c), 'whose tier is written down as of later is looked at, too');
SELECT done FROM loyalty.warn_members('2024-04-05 12:00+00') \gset
SELECT ok(shop.told() LIKE '%eve tier_at_risk 2024-04-09 %', 'and told what was to come then');
SELECT done FROM loyalty.warn_members(clock_timestamp()) \gset
SELECT ok(shop.told() LIKE '%fay tier_at_risk %' AND shop.told() NOT LIKE '%gil%', 'as who loses it now');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');

SELECT * FROM finish();
ROLLBACK;
