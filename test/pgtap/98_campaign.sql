-- Campaigns: groups, results by hand, and against plain SQL.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('club', 'UTC', 'EUR') \gset
SELECT loyalty.set_rule('club', 'base', 1, 10) \gset
SELECT loyalty.set_rule('club', 'promo', kind => 'multiplier', factor => 2, valid_from => '2024-06-10', valid_to => '2024-06-19') \gset
SELECT loyalty.set_redemption('club', 0.1) \gset
SELECT loyalty.set_tier('club', 'Silver', 120) \gset
SELECT loyalty.attach('club', 'club', 'shop.invoice', 'r.id', 'r.customer', 'r.at', return_of => 'r.return_of', void => 'r.cancelled',
	lines => 'shop.line', line_parent => 'l.invoice', line_key => 'l.id', line_product => 'l.product', line_amount => 'l.amount',
	line_cost => 'l.amount * 0.6', line_return_of => 'l.return_of', evaluate => 'statement') \gset
SELECT loyalty.enrol('club', c, '2024-01-01') FROM unnest('{a,b,c,d,e,f,g}'::text[]) c \g /dev/null
-- a document with one line
CREATE FUNCTION shop.doc(id integer, customer text, at timestamptz, amount numeric, return_of integer DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
	INSERT INTO shop.invoice (id, customer, at, return_of) VALUES ($1, $2, $3, $5);
	INSERT INTO shop.line (id, invoice, product, amount) VALUES ($1, $1, 'tea', $4);
$$;

-- what is refused, and leaves nothing behind
SELECT throws_ok(format('SELECT loyalty.create_campaign(%s)', a), s, NULL, 'refused: ' || a) FROM (VALUES
	($$'nope', 'x', '2024-06-10', '2024-06-19'$$, 'LY001'), ($$'club', ' ', '2024-06-10', '2024-06-19'$$, '22023'),
	($$'club', 'x', '2024-06-10', '2024-06-09'$$, '22023'), ($$'club', 'x', '-infinity', '2024-06-09'$$, '22023'), ($$'club', 'x', NULL, '2024-06-09'$$, '22023'),
	($$'club', 'x', '2024-06-10', '2024-06-19', 100$$, '22023'), ($$'club', 'x', '2024-06-10', '2024-06-19', -1$$, '22023'),
	($$'club', 'x', '2024-06-10', '2024-06-19', 'NaN'$$, '22023'), ($$'club', 'x', '2024-06-10', '2024-06-19', 0.001$$, '22023'),
	($$'club', 'x', '2024-06-10', '2024-06-19', rules => '{base,nope}'$$, 'LY001'), ($$'club', 'x', '2024-06-10', '2024-06-19', cost => -1$$, '22023'),
	($$'club', 'x', '2024-06-10', '2024-06-19', contact_cost => 'NaN'$$, '22023'), ($$'club', 'x', '2024-06-10', '2024-06-19', margin => 1.01$$, '22023'),
	($$'club', 'x', '2024-06-10', '2024-06-19', cost => 9999999999999999.995$$, '22023'), ($$'club', 'x', '2024-06-10', '2024-06-19', contact_cost => 1e14$$, '22023'),
	($$'club', 'x', '2024-06-10', '2024-06-19', seed => ''$$, '22023')) x (a, s);
SELECT is((SELECT count(*) FROM loyalty.campaign WHERE name = 'x'), 0::bigint, 'nothing half done');

-- a seed that puts a to d into the target group and e, f into the other
SELECT s::text AS seed FROM generate_series(1, 100000) s
	WHERE NOT EXISTS (SELECT FROM unnest('{a,b,c,d,e,f}'::text[]) c
		WHERE (loyalty.campaign_group(s::text, loyalty.member_id('club', c), 50) = 'control') <> (c IN ('e', 'f'))) LIMIT 1 \gset
SELECT loyalty.create_campaign('club', 'june', '2024-06-10', '2024-06-19', 50, '{promo}', 20, 0.5, goal => 'sell tea', seed => :'seed') \gset
SELECT throws_ok($$SELECT loyalty.create_campaign('club', 'june', '2024-06-10', '2024-06-19')$$, 'LY002', NULL, 'a name is taken');
SELECT results_eq($$SELECT as_of, design, target_members, conversion_rate, control_members, uplift, incremental_net_amount, roi FROM loyalty.campaign_result WHERE program = 'club'$$,
	$$VALUES (NULL::date, 'observational', 0::bigint, NULL::numeric(7,4), 0::bigint, NULL::numeric(7,4), NULL::numeric(18,2), NULL::numeric(18,4))$$,
	'a campaign for nobody: no rate, no result, no error');
SELECT throws_ok($$SELECT loyalty.target_campaign('club', 'nope', everybody => true)$$, 'LY001', NULL, 'no such campaign');
SELECT throws_ok($$SELECT loyalty.target_campaign('club', 'june', at => '2024-06-01')$$, '22023', NULL, 'for whom?');
SELECT throws_ok($$SELECT loyalty.target_campaign('club', 'june', '{a,zoe}', at => '2024-06-01')$$, 'LY001', 'customer "zoe" is no member of programme "club"', 'all of them must be members');
SELECT throws_ok($$SELECT loyalty.target_campaign('club', 'june', '{a,NULL}', at => '2024-06-01')$$, 'LY001', NULL, 'NULL is none');
SELECT throws_ok($$SELECT loyalty.target_campaign('club', 'june', segment => 'nope', at => '2024-06-01')$$, 'LY001', NULL, 'conditions are checked');
SELECT throws_ok($$SELECT loyalty.target_campaign('club', 'june', everybody => true, at => '2024-06-20')$$, 'LY003', NULL, 'it is over');
SELECT is((SELECT count(*) FROM loyalty.campaign_member), 0::bigint, 'nobody was added by any of these');
SELECT results_eq($$SELECT * FROM loyalty.target_campaign('club', 'june', '{a,b,e}', at => '2024-06-01')$$, $$VALUES (2::bigint, 1::bigint, 0::bigint)$$, 'three are chosen');
SELECT results_eq($$SELECT * FROM loyalty.target_campaign('club', 'june', '{a,b,c,d,e,f}', at => '2024-06-05')$$, $$VALUES (2::bigint, 1::bigint, 3::bigint)$$, 'three more');
SELECT results_eq($$SELECT * FROM loyalty.target_campaign('club', 'june', '{a,b,c,d,e,f}', at => '2024-06-12')$$, $$VALUES (0::bigint, 0::bigint, 6::bigint)$$, 'again: nothing');
SELECT is((SELECT string_agg(customer, ' ') FROM loyalty.export_campaign('club', 'june')), 'a b c d', 'whom to address');
SELECT is((SELECT string_agg(customer, ' ') FROM loyalty.export_campaign('club', 'june', 'control')), 'e f', 'whom not to');
SELECT throws_ok($$SELECT * FROM loyalty.export_campaign('club', 'june', 'nope')$$, '22023', NULL, 'there are two groups');
SELECT results_eq($$SELECT customer, counts_from, targeted_at FROM loyalty.campaign_member JOIN shop.member USING (member_id) WHERE customer IN ('a', 'c') ORDER BY 1$$,
	$$VALUES ('a', '2024-06-10'::date, '2024-06-01'::timestamptz), ('c', '2024-06-10', '2024-06-05')$$, 'days count from the start on');
SELECT throws_ok($$UPDATE loyalty.campaign_member SET assigned = 'target'$$, 'LY004', NULL, 'nobody moves to another group');
SELECT throws_ok($$DELETE FROM loyalty.campaign_member$$, 'LY004', NULL, 'or out');

-- a buys on the first day, before and after; b on the last, and half a quarter comes back in July;
-- all of c's comes back; d returns something unknown; e buys, f does not; g is in no group
SELECT shop.doc(1, 'a', '2024-06-10 00:00+00', 100), shop.doc(2, 'a', '2024-06-20 00:00+00', 999), shop.doc(3, 'a', '2024-06-09 23:59+00', 50),
	shop.doc(4, 'a', '2024-05-30 23:59+00', 7), shop.doc(5, 'b', '2024-06-19 23:59+00', 200), shop.doc(6, 'c', '2024-06-12 12:00+00', 80),
	shop.doc(7, 'd', '2024-06-15 12:00+00', -10), shop.doc(8, 'e', '2024-06-15 12:00+00', 40), shop.doc(9, 'g', '2024-06-15 12:00+00', 500) \g /dev/null
SELECT loyalty.refresh_analytics('club', '2024-06-14') \gset
SELECT results_eq($$SELECT as_of, is_final, target_buyers, control_buyers, target_net_amount, rule_points FROM loyalty.campaign_result WHERE program = 'club'$$,
	$$VALUES ('2024-06-14'::date, false, 2::bigint, 0::bigint, 180::numeric(18,2), 18::numeric(18,2))$$, 'as of a day: nothing later is seen');
SELECT loyalty.refresh_analytics('club', '2024-06-19') \gset
SELECT results_eq($$SELECT is_final, target_buyers, control_buyers, target_sales, target_net_amount FROM loyalty.campaign_result WHERE program = 'club'$$,
	$$VALUES (true, 3::bigint, 1::bigint, 3::bigint, 370::numeric(18,2))$$, 'on the last day');
SELECT shop.doc(10, 'c', '2024-06-25 12:00+00', -80, 6), shop.doc(11, 'b', '2024-07-05 12:00+00', -50, 5) \g /dev/null
SELECT loyalty.refresh_analytics('club', '2024-07-31') \gset
-- target 100, 150, 0, -10: mean 60, s^2 = 18200 / 3; control 40, 0: mean 20, s^2 = 800; se sqrt(18200 / 12 + 400)
-- p 2/4 and 1/2: se sqrt(.25 / 4 + .25 / 2)
SELECT results_eq($$SELECT design, holdout_percent, target_members, target_buyers, conversion_rate, control_members, control_buyers, control_conversion_rate,
		uplift, uplift_se, uplift_low, uplift_high, target_sales, control_sales, target_net_amount, control_net_amount FROM loyalty.campaign_result WHERE program = 'club'$$,
	$$VALUES ('experiment', 50::numeric(5,2), 4::bigint, 2::bigint, 0.5::numeric(7,4), 2::bigint, 1::bigint, 0.5::numeric(7,4), 0::numeric(7,4), 0.433013::numeric(9,6),
		-0.8487::numeric(7,4), 0.8487::numeric(7,4), 2::bigint, 1::bigint, 240::numeric(18,2), 40::numeric(18,2))$$, 'buyers; what came back altogether is no conversion');
SELECT results_eq($$SELECT net_amount_per_member, control_net_amount_per_member, net_amount_uplift, net_amount_uplift_se, net_amount_uplift_low, net_amount_uplift_high,
		is_small, incremental_buyers, incremental_net_amount, target_net_amount_before FROM loyalty.campaign_result WHERE program = 'club'$$,
	$$VALUES (60::numeric(18,2), 20::numeric(18,2), 40::numeric(18,2), 43.7798::numeric(18,4), -45.81::numeric(18,2), 125.81::numeric(18,2), true, 0::numeric(18,2),
		160::numeric(18,2), 50::numeric(18,2))$$, 'sales per member, net of returns whenever they came');
-- promo doubles: a 10 of 20, b 15 of 30, e 4 of 8.  25 points of 0.1, 20 + 4 * 0.5; lines: 300 + 80 cost 60 %
SELECT results_eq($$SELECT rule_points, control_rule_points, points_cost, campaign_cost, total_cost, costed_amount, cost_amount, margin_share, incremental_margin, roi
		FROM loyalty.campaign_result WHERE program = 'club'$$,
	$$VALUES (25::numeric(18,2), 4::numeric(18,2), 2.5::numeric(18,2), 22::numeric(18,2), 24.5::numeric(18,2), 380::numeric(18,2), 228::numeric(18,2), 0.4::numeric(12,4),
		64::numeric(18,2), 1.6122::numeric(18,4))$$, 'cost and return');
SELECT is(loyalty.rule_points(source_id, '5', ARRAY(SELECT rule_id FROM loyalty.rule r WHERE r.program_id = s.program_id AND r.name = ANY (n)), d), p, 'points of ' || n::text)
	FROM loyalty.source s CROSS JOIN (VALUES ('{promo}'::text[], '2024-07-05'::date, 15::numeric(18,2)), ('{promo}', '2024-07-04', 20), ('{base}', '2024-07-05', 30), ('{base,promo}', '2024-07-05', 30),
		('{}', '2024-07-05', 0)) x (n, d, p) WHERE s.name = 'club';
SELECT is(loyalty.rule_points(999999, 'x', ARRAY[1], '2024-03-01'), 0.00, 'no points of a source that is not there');
SELECT is(loyalty.rule_points(source_id, 'nope', '{1}', '2024-07-05'), 0::numeric(18,2), 'an unknown document has none') FROM loyalty.source WHERE name = 'club';
SELECT shop.clean();

SELECT loyalty.set_campaign('club', 'june', margin => 0.5, cost => 40) \gset
SELECT results_eq($$SELECT margin_share, incremental_margin, total_cost, roi FROM loyalty.campaign_result WHERE program = 'club'$$,
	$$VALUES (0.5::numeric(12,4), 80::numeric(18,2), 44.5::numeric(18,2), 0.7978::numeric(18,4))$$, 'another margin and cost');
SELECT loyalty.set_campaign('club', 'june', rules => '{}') \gset
SELECT results_eq($$SELECT rule_points, points_cost, total_cost FROM loyalty.campaign_result WHERE program = 'club'$$,
	$$VALUES (0::numeric(18,2), 0::numeric(18,2), 42::numeric(18,2))$$, 'without its rules, it cost no points');
SELECT throws_ok($$SELECT loyalty.set_campaign('club', 'june', rules => '{nope}')$$, 'LY001', NULL, 'rules must be there');
SELECT throws_ok($$SELECT loyalty.set_campaign('club', 'june', cost => -1)$$, '22023', NULL, 'costs are not negative');

-- without a control group: the days before stand for it, and it says so
SELECT loyalty.create_campaign('club', 'all', '2024-06-10', '2024-06-19', margin => 0.5, cost => 100) \gset
SELECT loyalty.target_campaign('club', 'all', everybody => true, at => '2024-06-01') \gset
SELECT results_eq($$SELECT design, target_members, control_members, control_conversion_rate, uplift, uplift_se, net_amount_uplift_se, target_net_amount, target_net_amount_before,
		incremental_net_amount, roi FROM loyalty.campaign_result WHERE campaign = 'all'$$,
	$$VALUES ('observational', 7::bigint, 0::bigint, NULL::numeric(7,4), NULL::numeric(7,4), NULL::numeric(9,6), NULL::numeric(18,4), 780::numeric(18,2), 50::numeric(18,2),
		730::numeric(18,2), 2.65::numeric(18,4))$$, 'an observation; members who were added count at once');
-- who is chosen later counts from that day on; an empty group is no error
SELECT loyalty.create_campaign('club', 'late', '2024-06-10', '2024-06-19') \gset
SELECT loyalty.target_campaign('club', 'late', '{a,b}', at => '2024-06-11 12:00+00') \gset
SELECT results_eq($$SELECT target_buyers, target_net_amount, roi FROM loyalty.campaign_result WHERE campaign = 'late'$$,
	$$VALUES (1::bigint, 150::numeric(18,2), NULL::numeric(18,4))$$, 'not what he bought before; no cost, no ratio');
-- all of it comes back
SELECT shop.doc(12, 'b', '2024-07-20 12:00+00', -150, 5) \g /dev/null
SELECT loyalty.refresh_analytics('club', '2024-07-31') \gset
SELECT results_eq($$SELECT target_buyers, target_net_amount FROM loyalty.campaign_result WHERE campaign = 'late'$$, $$VALUES (0::bigint, 0::numeric(18,2))$$, 'all returned: nothing is left');
SELECT shop.clean();

-- conditions
SELECT loyalty.create_campaign('club', 'silver', current_date - 1, current_date + 30, 20) \gset
SELECT is((SELECT targeted + control FROM loyalty.target_campaign('club', 'silver', tier => 'Silver')), (SELECT count(*) FROM loyalty.export_segment('club', tier => 'Silver')), 'by tier');
SELECT is((SELECT targeted + control FROM loyalty.target_campaign('club', 'silver', '{a,f}', min_balance => 1)), 0::bigint, 'by name and points: a was there, f has none');
SELECT is((SELECT count(*) FROM loyalty.campaign_member m JOIN loyalty.campaign c USING (campaign_id) WHERE c.name = 'silver' AND m.counts_from = loyalty.today(c.program_id)), 2::bigint, 'from today');
SELECT is(length(seed), 64, 'a seed of its own') FROM loyalty.campaign WHERE name = 'silver';
SELECT is(loyalty.end_campaign('club', 'silver'), loyalty.today(program_id), 'cut short') FROM loyalty.program WHERE name = 'club';
SELECT is(loyalty.end_campaign('club', 'silver'), loyalty.end_campaign('club', 'silver', current_date + 5), 'again changes nothing');
SELECT throws_ok($$SELECT loyalty.end_campaign('club', 'june', '2024-06-09')$$, '22023', NULL, 'not before it began');
SELECT throws_ok($$SELECT loyalty.end_campaign('club', 'june', '2024-06-21')$$, '22023', NULL, 'not later');
SELECT is(loyalty.end_campaign('club', 'june'), '2024-06-19'::date, 'it has ended by itself');
SELECT is(loyalty.end_campaign('club', 'june', '2024-06-12'), '2024-06-12'::date, 'two days are enough');
SELECT is(target_net_amount, 100::numeric(18,2), 'what was bought later does not count') FROM loyalty.campaign_result WHERE campaign = 'june';
SELECT shop.clean();

-- the split follows from seed and number, and is near the share
SELECT is((SELECT count(*) FILTER (WHERE loyalty.campaign_group('s', i, 20) = 'control') FROM generate_series(1, 10000) i), 2041::bigint, 'a fifth of ten thousand, always the same ones');
SELECT is((SELECT count(*) FILTER (WHERE loyalty.campaign_group('s', i, 0) = 'control') FROM generate_series(1, 1000) i), 0::bigint, 'no holdout, no control group');
SELECT is_empty($$SELECT FROM generate_series(1, 1000) i WHERE loyalty.campaign_group('s', i, 10) = 'control' AND loyalty.campaign_group('s', i, 20) = 'target'$$,
	'a larger share takes some along, and moves none');
SELECT is(loyalty.campaign_group('s', 7, p), g, 'the hash by hand')
	FROM (SELECT get_byte(h, 0)::numeric / 256 + get_byte(h, 1)::numeric / 65536 + get_byte(h, 2)::numeric / 16777216 + get_byte(h, 3)::numeric / 4294967296 AS u
		FROM sha256('s:7') h) x CROSS JOIN LATERAL (VALUES (100 * u - 0.01, 'target'), (100 * u + 0.01, 'control')) v (p, g);

-- at random, against plain SQL over the shop's tables
SELECT loyalty.create_program('rand', 'Europe/Berlin') \gset
SELECT loyalty.set_rule('rand', 'base', 1, 1) \gset
SELECT loyalty.set_rule('rand', 'extra', 1, 5, condition => 'document.amount > 50') \gset
CREATE TABLE shop.sale (id integer PRIMARY KEY, customer text, day date, total numeric, return_of integer);
SELECT loyalty.attach('rand', 'rand', 'shop.sale', 'r.id', 'r.customer', 'r.day', amount => 'r.total', return_of => 'r.return_of', evaluate => 'statement') \gset
SELECT setseed(0.3) \g /dev/null
SELECT loyalty.enrol('rand', 'c' || i, '2024-01-01') FROM generate_series(1, 60) i \g /dev/null
SELECT loyalty.create_campaign('rand', 'one', '2024-03-01', '2024-03-31', 40, '{extra}', seed => 'one'), loyalty.create_campaign('rand', 'two', '2024-03-20', '2024-04-20', 10, seed => 'two') \gset
SELECT loyalty.target_campaign('rand', 'one', ARRAY(SELECT 'c' || i FROM generate_series(1, 50) i), at => '2024-02-01') \gset
CREATE FUNCTION shop.trade(a integer, b integer) RETURNS void LANGUAGE sql AS $$
	INSERT INTO shop.sale SELECT i, 'c' || (1 + 60 * random())::integer, date '2024-02-15' + (80 * random())::integer, (1 + 99 * random())::integer FROM generate_series(a, b) i;
	INSERT INTO shop.sale SELECT i + 1000, s.customer, s.day + (20 * random())::integer, -CASE WHEN i % 2 = 0 THEN s.total ELSE ceil(s.total / 3) END, s.id
		FROM generate_series(a, b, 3) i JOIN shop.sale s ON s.id = i;
$$;
CREATE FUNCTION shop.differences() RETURNS SETOF text LANGUAGE sql AS $$
	WITH expected AS (
		SELECT c.name, m.assigned, count(*) AS members, count(*) FILTER (WHERE s.n > 0) AS buyers, coalesce(sum(s.n), 0) AS sales,
			coalesce(sum(s.net), 0) AS net, coalesce(sum(s.net ^ 2), 0) AS squares, coalesce(sum(s.points), 0) AS points
		FROM loyalty.campaign c JOIN loyalty.program p USING (program_id) JOIN loyalty.campaign_member m USING (campaign_id) JOIN loyalty.member k USING (member_id)
		JOIN loyalty.analytics_state a ON a.program_id = c.program_id
		LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE x.total + coalesce(x.back, 0) > 0) AS n, sum(x.total + coalesce(x.back, 0)) AS net,
				sum(CASE WHEN x.total > 50 AND 'extra' = ANY (c.rules) AND x.total + coalesce(x.back, 0) > 50 THEN floor((x.total + coalesce(x.back, 0)) * 1.2) - x.total - coalesce(x.back, 0) ELSE 0 END) AS points
			FROM (SELECT o.total, (SELECT sum(r.total) FROM shop.sale r WHERE r.return_of = o.id AND r.day <= a.as_of) AS back FROM shop.sale o
				WHERE o.customer = k.customer AND o.return_of IS NULL AND o.day BETWEEN m.counts_from AND least(c.ends_on, a.as_of)) x) s ON true
		WHERE p.name = 'rand' GROUP BY c.name, m.assigned)
	SELECT format('%s', (e, f)) FROM expected e JOIN loyalty.campaign c USING (name) LEFT JOIN loyalty.campaign_figure f ON f.campaign_id = c.campaign_id AND f.assigned = e.assigned
	WHERE (e.members, e.buyers, e.sales, e.net, e.squares, e.points) IS DISTINCT FROM (f.members, f.buyers, f.sales, f.net, f.net_squares, f.points)
$$;
SELECT shop.trade(1, 300) \g /dev/null
SELECT loyalty.refresh_analytics('rand', d) FROM unnest('{2024-03-10,2024-03-31}'::date[]) d \g /dev/null
SELECT is_empty('SELECT shop.differences()', 'as plain SQL says');
SELECT loyalty.target_campaign('rand', 'two', ARRAY(SELECT 'c' || i FROM generate_series(20, 60) i), at => '2024-03-25') \gset
SELECT is_empty('SELECT shop.differences()', 'the same after more were added');
SELECT shop.trade(301, 400) \g /dev/null
UPDATE shop.sale SET day = day + 3 WHERE id % 7 = 0 AND return_of IS NULL;
DELETE FROM shop.sale WHERE id % 11 = 0 AND return_of IS NULL AND NOT EXISTS (SELECT FROM shop.sale r WHERE r.return_of = sale.id);
SELECT loyalty.refresh_analytics('rand', '2024-06-30') \gset
SELECT is_empty('SELECT shop.differences()', 'and after documents have changed');
SELECT is_empty('SELECT * FROM loyalty.check_analytics()', 'check_analytics() agrees');
SELECT loyalty.refresh_analytics('rand', '2024-03-20') \gset
SELECT is_empty('SELECT shop.differences()', 'back in time');
-- rules can ask who is addressed
SELECT loyalty.create_program('asked', 'UTC') \gset
SELECT loyalty.create_campaign('asked', 'spring', '2024-04-01', '2024-04-10', 50, seed => 'x'), loyalty.create_campaign('asked', 'all', '2024-04-05', '2024-04-20') \gset
SELECT loyalty.set_rule('asked', 'spring', 10, kind => 'bonus', condition => $c$'spring' = ANY (member.campaigns)$c$),
	loyalty.set_rule('asked', 'all', 100, kind => 'bonus', condition => $c$member.campaigns @> '{all}'$c$),
	loyalty.set_rule('asked', 'visit', 1, kind => 'bonus', event => 'visit', condition => $c$'spring' = ANY (member.campaigns)$c$) \g /dev/null
SELECT loyalty.enrol('asked', 'm' || i, '2024-01-01') FROM generate_series(1, 8) i \g /dev/null
SELECT targeted > 0 AND control > 0 AS both FROM loyalty.target_campaign('asked', 'spring', everybody => true, at => '2024-04-03 12:00+00') \gset
SELECT is(:'both'::text, 't', 'some are addressed, some are held out');
SELECT loyalty.target_campaign('asked', 'all', '{m1}', at => '2024-04-01') \g /dev/null
SELECT shop.attach('asked', 'asked', evaluate => 'statement') \gset
CREATE TABLE shop.before_asked AS SELECT * FROM shop.invoice;
DELETE FROM shop.invoice;
INSERT INTO shop.invoice (id, customer, at, total) SELECT 9000 + n * 10 + i, 'm' || i, day, 1
	FROM generate_series(1, 8) i, unnest('{2024-04-02 12:00+00,2024-04-03 00:00+00,2024-04-10 23:59+00,2024-04-11 00:00+00}'::timestamptz[]) WITH ORDINALITY u (day, n);
SELECT is_empty($$SELECT d.doc_key, d.points FROM loyalty.document d JOIN loyalty.source s USING (source_id) JOIN loyalty.member m USING (member_id)
	WHERE s.name = 'asked' AND d.points <> (SELECT count(*) * 10 FROM loyalty.campaign_member c JOIN loyalty.campaign g USING (campaign_id)
			WHERE c.member_id = d.member_id AND g.name = 'spring' AND c.assigned = 'target' AND d.doc_date BETWEEN '2024-04-03' AND '2024-04-10')
		+ CASE WHEN m.customer = 'm1' AND d.doc_date BETWEEN '2024-04-05' AND '2024-04-20' THEN 100 ELSE 0 END$$, 'a rule is for those who are addressed, on the days that count for them');
SELECT is((SELECT sum(points) FROM loyalty.document d JOIN loyalty.source s USING (source_id) WHERE s.name = 'asked') > 200, true, 'and they have it');
SELECT is((SELECT (q.points - 100 * (c.customer = 'm1')::integer)::numeric FROM loyalty.quote_earn('asked', c.customer, 1, at => '2024-04-06') q ORDER BY q.step DESC LIMIT 1), c.due, 'a quote, ' || c.customer)
	FROM (SELECT m.customer, CASE WHEN t.assigned = 'target' THEN 10 ELSE 0 END::numeric AS due FROM loyalty.campaign_member t JOIN loyalty.campaign g USING (campaign_id)
		JOIN loyalty.member m USING (member_id) WHERE g.name = 'spring' AND m.program_id = loyalty.program_id('asked')) c;
SELECT is((SELECT points FROM loyalty.quote_earn('asked', 'stranger', 1, at => '2024-04-06') ORDER BY step DESC LIMIT 1), 0.00, 'who is no member is in none');
SELECT is((SELECT sum((SELECT e.points FROM loyalty.record_event('asked', 'm' || i, 'visit', 'x', '2024-04-06 12:00+00') e)) FROM generate_series(1, 8) i),
	(SELECT count(*)::numeric FROM loyalty.campaign_member t JOIN loyalty.campaign g USING (campaign_id) WHERE g.name = 'spring' AND t.assigned = 'target'), 'rules on events, too');
SELECT is_empty($$SELECT * FROM loyalty.verify('asked')$$, 'it is the same whenever it is asked');
SELECT loyalty.detach('asked') \gset
DELETE FROM shop.invoice;
INSERT INTO shop.invoice SELECT * FROM shop.before_asked;
SELECT shop.clean();
UPDATE loyalty.campaign_outcome SET gross = gross + 1 WHERE member_id = (SELECT max(member_id) FROM loyalty.campaign_outcome);
SELECT isnt_empty($$SELECT FROM loyalty.check_analytics() WHERE problem = 'campaign_figure is not the sum of campaign_outcome'$$, 'check_analytics() finds what was tampered with');

-- rights
SELECT loyalty.create_roles() \g /dev/null
SET LOCAL ROLE loyalty_bi;
SELECT lives_ok('SELECT * FROM loyalty.campaign_result', 'BI reads results');
SELECT throws_ok($$SELECT * FROM loyalty.export_campaign('club', 'june')$$, '42501', NULL, 'but not who it is');
SELECT throws_ok($$SELECT loyalty.target_campaign('club', 'june', everybody => true)$$, '42501', NULL, 'and chooses nobody');
SET LOCAL ROLE loyalty_manager;
SELECT lives_ok($$SELECT loyalty.create_campaign('club', 'mine', current_date, current_date + 9, 10)$$, 'a manager makes campaigns');
SELECT lives_ok($$SELECT loyalty.target_campaign('club', 'mine', everybody => true), loyalty.set_campaign('club', 'mine', cost => 1), loyalty.end_campaign('club', 'mine')$$, 'and runs them');
SELECT lives_ok($$SELECT * FROM loyalty.export_campaign('club', 'june')$$, 'and addresses their members');
SELECT lives_ok($$SELECT * FROM loyalty.export_segment('club', tier => 'Silver')$$, 'or those of a tier');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
