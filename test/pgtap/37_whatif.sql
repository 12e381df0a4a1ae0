-- What if: quotes and replays with rules that are only proposed.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('wi', 'UTC') \gset
SELECT loyalty.set_rule('wi', 'base', 1, 10) \gset
SELECT loyalty.set_rule('wi', 'welcome', 100, kind => 'bonus', condition => 'member.purchase_count = 0') \gset
SELECT loyalty.set_rule('wi', 'monthly', 30, kind => 'bonus', condition => 'document.amount >= 100', cap_month => 50) \gset
SELECT shop.attach('inv', 'wi', evaluate => 'statement') \gset
INSERT INTO shop.invoice (id, customer, total, at) VALUES
	(1, 'ann', 100, '2024-01-10 12:00+00'), (2, 'ann', 200, '2024-01-20 12:00+00'), (3, 'bob', 50, '2024-02-10 12:00+00');
SELECT results_eq($$SELECT doc_key COLLATE "default", points::numeric FROM loyalty.document ORDER BY doc_key$$,
	$$VALUES ('1', 140::numeric), ('2', 40), ('3', 105)$$, 'what is booked');
CREATE FUNCTION shop.would(customer text, amount numeric, at timestamptz DEFAULT '2024-01-25 12:00+00', rules jsonb DEFAULT NULL)
RETURNS numeric LANGUAGE sql AS $$
	SELECT q.points::numeric FROM loyalty.quote_earn('wi', $1, $2, at => $3, rules => $4) q ORDER BY q.step DESC LIMIT 1 $$;

-- quotes see earlier purchases and caps as booking does
SELECT is(shop.would('ann', 100), 10::numeric, 'no welcome for the third purchase, nothing left of the month''s cap');
SELECT is(shop.would('ann', 100, '2024-02-01 12:00+00'), 40::numeric, 'a new month, a new cap');
SELECT is(shop.would('ann', 100, '2024-01-05 12:00+00'), 140::numeric, 'before all others it would be the first');
SELECT is(shop.would('new', 100), 140::numeric, 'somebody new is welcome');
SELECT is(shop.would(NULL, 100), 140::numeric, 'as is somebody unknown');

-- with proposed rules
SELECT is(shop.would('ann', 100, rules => '[{"name": "double", "kind": "multiplier", "factor": 2}]'), 20::numeric, 'a rule more');
SELECT is(shop.would('ann', 100, rules => '[{"name": "base", "points": 3, "per_amount": 10}]'), 30::numeric, 'another version of one');
SELECT is(shop.would('new', 100, rules => '[{"name": "welcome", "end": true}]'), 40::numeric, 'one less');
SELECT is(shop.would('new', 100, rules => '{"instead": [{"name": "x", "points": 1, "per_amount": 50}]}'), 2::numeric, 'others instead');
SELECT is(shop.would('new', 100, rules => '{"instead": []}'), 0::numeric, 'or none');
SELECT is(shop.would('ann', 1000, rules => '[{"name": "b", "kind": "bonus", "points": 7, "budget": 5}]'), 105::numeric, 'a budget limits a quote');
SELECT results_eq($$SELECT name COLLATE "default", version, is_current FROM loyalty.rule ORDER BY rule_id$$,
	$$VALUES ('base', 1, true), ('welcome', 1, true), ('monthly', 1, true)$$, 'nothing of it stays');
SELECT throws_ok($$SELECT shop.would('ann', 1, rules => '"x"')$$, '22023', NULL, 'rules are an array');
SELECT throws_ok($$SELECT shop.would('ann', 1, rules => '[1]')$$, '22023', NULL, 'of objects');
SELECT throws_ok($$SELECT shop.would('ann', 1, rules => '[{"nme": "x"}]')$$, '22023', NULL, 'with known fields');
SELECT throws_ok($$SELECT shop.would('ann', 1, rules => '[{"name": "x", "points": -1, "per_amount": 1}]')$$, '22023', NULL, 'that set_rule() takes');
SELECT throws_ok($$SELECT shop.would('ann', 1, rules => '[{"name": "x", "end": true}]')$$, 'LY001', NULL, 'one that is not there cannot be ended');
SELECT throws_ok($$SELECT shop.would('ann', 1, rules => '[{"name": "x", "kind": "bonus", "points": 1, "condition": "nope"}]')$$, NULL, NULL, 'a condition must compile');

-- replays
SELECT is_empty($$SELECT * FROM loyalty.replay('wi', '2024-01-01', '2024-12-31')$$, 'the rules in force give what is booked');
SELECT results_eq($$SELECT source COLLATE "default", doc_key COLLATE "default", customer COLLATE "default", booked::numeric, due::numeric, difference::numeric FROM loyalty.replay('wi', '2024-01-01', '2024-12-31',
		'[{"name": "double", "kind": "multiplier", "factor": 2}]') ORDER BY doc_key$$,
	$$VALUES ('inv', '1', 'ann', 140::numeric, 150::numeric, 10::numeric), ('inv', '2', 'ann', 40, 60, 20), ('inv', '3', 'bob', 105, 110, 5)$$, 'a campaign that was not');
SELECT results_eq($$SELECT doc_key COLLATE "default" FROM loyalty.replay('wi', '2024-01-15', '2024-02-09', '[{"name": "base", "end": true}]')$$, $$VALUES ('2')$$, 'of some days only');
SELECT results_eq($$SELECT doc_key COLLATE "default", due::numeric FROM loyalty.replay('wi', '2024-01-01', '2024-12-31', '[{"name": "monthly", "kind": "bonus", "points": 30, "cap_month": 10}]') ORDER BY 1$$,
	$$VALUES ('1', 120::numeric), ('2', 20), ('3', 115)$$, 'caps count from one document to the next');
SELECT is((SELECT sum(difference) FROM loyalty.replay('wi', '2024-01-01', '2024-12-31', '[{"name": "b", "kind": "bonus", "points": 7, "budget": 10}]')), 10.00, 'a budget is one for all');
SELECT results_eq($$SELECT documents, members, changed_documents, changed_members, points_booked::numeric, points_due::numeric, points_difference::numeric
		FROM loyalty.replay_summary('wi', '2024-01-01', '2024-01-31', '{"instead": [{"name": "flat", "points": 1, "per_amount": 1}]}')$$,
	$$VALUES (2::bigint, 1::bigint, 2::bigint, 1::bigint, 180::numeric, 300::numeric, 120::numeric)$$, 'what it would have cost');
-- events are replayed as documents are
SELECT loyalty.set_rule('wi', 'review', 20, kind => 'bonus', event => 'review', limit_count => 1, limit_period => 'month') \gset
SELECT loyalty.record_event('wi', 'ann', 'review', n::text, ('2024-03-0' || n || ' 12:00+00')::timestamptz) FROM generate_series(1, 3) n \g /dev/null
SELECT is((SELECT string_agg(split_part(doc_key, ':', 3) || ' ' || trim_scale(due), ', ' ORDER BY doc_key) FROM loyalty.replay('wi', '2024-03-01', '2024-03-31',
		'[{"name": "review", "kind": "bonus", "points": 30, "event": "review", "limit_count": 2, "limit_period": "month", "expires": "never"}]')), '1 30, 2 30', 'another limit, and other points');
SELECT is((SELECT points_difference FROM loyalty.replay_summary('wi', '2024-03-01', '2024-03-31', '[{"name": "review", "end": true}]')), -20.00, 'without the rule');
SELECT is_empty($$SELECT * FROM loyalty.replay('wi', '2024-03-01', '2024-03-31')$$, 'and nothing was changed');
SELECT throws_ok($$SELECT * FROM loyalty.replay('wi', '2024-01-01', '2024-01-31', '[{"name": "x", "points": 1, "per_amount": 1, "event": "visit"}]')$$, '22023', NULL, 'an event has no amount there either');

SELECT throws_ok($$SELECT * FROM loyalty.replay('wi', NULL, '2024-01-31')$$, '22004', NULL, 'days cannot be NULL');
SELECT throws_ok($$SELECT * FROM loyalty.replay('nowhere', '2024-01-01', '2024-01-31')$$, 'LY001', NULL, 'a programme must exist');
SELECT is(loyalty.balance('wi', 'ann') + loyalty.balance('wi', 'bob'), 285.00 + 20, 'nothing was booked');
SELECT shop.clean();

SELECT * FROM finish();
ROLLBACK;
