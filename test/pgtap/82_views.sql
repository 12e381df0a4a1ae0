-- Views for BI: types, and figures by hand.
\ir common.psql
SELECT no_plan();

-- what a BI tool can read: all that loyalty_bi may; the other views are for the shop itself and show their tables' columns as they are
SELECT loyalty.create_roles() \g /dev/null
CREATE TEMP VIEW bi_column AS
	SELECT c.relname AS view, a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type, a.attnum AS position
	FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
	WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind = 'v' AND has_table_privilege('loyalty_bi', c.oid, 'SELECT');
SELECT cmp_ok((SELECT count(DISTINCT view) FROM bi_column), '>=', 30::bigint, 'there are views to look at');
SELECT is_empty($$SELECT view, "column", type FROM bi_column
	WHERE type NOT IN ('text', 'bigint', 'integer', 'smallint', 'boolean', 'date', 'timestamp with time zone') AND type !~ '^numeric\([0-9]+,[0-9]+\)$'$$,
	'columns are text, integers, booleans, dates, or numerics with precision and scale');
SELECT is_empty($$SELECT view, "column", type FROM bi_column WHERE "column" ~ '(^|_)(members|sales|returns|baskets|lines|n|lots)$' AND "column" !~ '^expected_' AND type <> 'bigint'$$,
	'counts are bigint');
SELECT is_empty($$SELECT view, "column" FROM bi_column WHERE "column" !~ '^[a-z][a-z0-9_]*$'$$, 'names are snake_case');
SELECT is_empty($$SELECT view, "column" FROM bi_column WHERE "column" IN ('customer', 'customer_name', 'doc_key')$$, 'no view says who a member is');
SELECT is_empty($$SELECT m.view_name FROM loyalty.metric_catalog c, regexp_split_to_table(c.view_name, ', ') m (view_name), regexp_split_to_table(c.metric, ', ') k (metric)
	WHERE NOT EXISTS (SELECT FROM bi_column b WHERE b.view = m.view_name AND b.column = k.metric)$$, 'every metric of the catalogue is a column of its view');
SELECT is_empty($$SELECT view, "column" FROM bi_column b WHERE "column" ~ '(share|confidence|lift|leverage|support|retention)$'
	AND NOT EXISTS (SELECT FROM loyalty.metric_catalog c, regexp_split_to_table(c.view_name, ', ') m (view_name) WHERE m.view_name = b.view AND c.metric = b.column)
	AND view <> 'customer_360'$$, 'every ratio is in the catalogue');

-- dashboards are built on names, order and types
\ir view_columns.psql
SELECT is_empty($$SELECT p.view FROM shop.previous p WHERE NOT EXISTS (SELECT FROM bi_column b WHERE b.view = p.view)$$,
	'no view of the version before is gone');
SELECT is_empty($$SELECT p.view, p.columns, n.columns FROM shop.previous p
		JOIN (SELECT b.view, string_agg(b.column || ' ' || b.type, ', ' ORDER BY b.position) AS columns FROM bi_column b GROUP BY b.view) n USING (view)
	WHERE left(n.columns || ', ', length(p.columns) + 2) <> p.columns || ', '$$,
	'columns are appended only: those of the version before come first, as they were');

SELECT loyalty.create_program('club', 'UTC', 'EUR') \gset
SELECT loyalty.set_rule('club', 'base', 1, 1) \gset
SELECT loyalty.set_tier('club', 'Silver', 100, 2) \gset
SELECT loyalty.set_tier('club', 'Gold', 1000, 3) \gset
SELECT loyalty.attach('club', 'club', 'shop.invoice', 'r.id', 'r.customer', 'r.at', channel => 'r.channel', company => 'r.company',
	return_of => 'r.return_of', lines => 'shop.line', line_parent => 'l.invoice', line_key => 'l.id', line_product => 'l.product',
	line_category => 'string_to_array(l.category, '','')', line_qty => 'l.qty', line_amount => 'l.amount', line_cost => 'l.amount / 2', line_list_price => 'l.note::numeric',
	line_return_of => 'l.return_of', evaluate => 'statement') \gset
-- before anything: no rows or NULLs, no errors
SELECT is((SELECT count(*) FROM loyalty.customer_360 WHERE program = 'club'), 0::bigint, 'an empty programme has no members');
SELECT loyalty.refresh_analytics('club', '2024-07-31') \gset
SELECT loyalty.refresh_details('club', '2024-07-31') \gset
SELECT loyalty.refresh_products('club', '2024-07-31') \gset
SELECT is_empty($$SELECT FROM loyalty.churn_risk WHERE program = 'club' UNION ALL SELECT FROM loyalty.segment_summary WHERE program = 'club'
	UNION ALL SELECT FROM loyalty.program_kpi_monthly WHERE program = 'club' UNION ALL SELECT FROM loyalty.cohort_retention WHERE program = 'club'$$,
	'and nothing to report');
SELECT results_eq($$SELECT members, median_days FROM loyalty.purchase_cycle_population WHERE program = 'club'$$,
	$$VALUES (0::bigint, NULL::numeric(10,2))$$, 'a cycle of nobody is NULL');

-- a buys every 10 days in June and stops; b every 30 days and is on time; c bought once; d once, and all of it came back
INSERT INTO shop.invoice (id, customer, at, channel, company) VALUES
	(1, 'a', '2024-06-01 12:00+00', 'web', 'north'), (2, 'a', '2024-06-11 12:00+00', 'web', 'north'), (3, 'a', '2024-06-21 12:00+00', 'till', 'south'),
	(4, 'a', '2024-07-01 12:00+00', 'web', 'north'),
	(5, 'b', '2024-04-20 12:00+00', 'till', 'south'), (6, 'b', '2024-05-20 12:00+00', 'till', 'south'), (7, 'b', '2024-06-19 12:00+00', 'till', 'south'),
	(8, 'b', '2024-07-19 12:00+00', 'till', 'south'), (9, 'c', '2024-06-15 12:00+00', NULL, NULL), (10, 'd', '2024-07-02 12:00+00', 'web', 'north');
INSERT INTO shop.line (id, invoice, product, category, qty, amount) VALUES
	(1, 1, 'tea', 'drink', 1, 10), (2, 2, 'tea', 'drink', 2, 16), (3, 3, 'bun', 'food', 1, 4), (4, 4, 'tea', 'drink', 1, 8),
	(5, 5, 'tea', 'drink,hot', 10, 110), (6, 6, 'bun', 'food', 1, 4), (7, 7, 'bun', 'food', 1, 4), (8, 8, 'tea', 'drink', 1, 12),
	(9, 9, 'cup', NULL, 1, 50), (10, 10, 'cup', 'ware', 1, 50), (11, 4, NULL, NULL, NULL, -1);
INSERT INTO shop.invoice (id, customer, at, return_of) VALUES (11, 'd', '2024-07-05 12:00+00', 10), (12, 'b', '2024-07-25 12:00+00', 8);
INSERT INTO shop.line (id, invoice, product, category, qty, amount) VALUES (20, 11, 'cup', 'ware', -1, -50), (21, 12, 'tea', 'drink', -1, -2);
-- list prices; those of the discount and of the return are none
UPDATE shop.line l SET note = v.price FROM (VALUES (1, '12'), (2, '10'), (9, '50'), (11, '1'), (21, '12')) v (id, price) WHERE l.id = v.id;
SELECT loyalty.refresh_products('club', '2024-07-31', min_baskets => 1) \gset
SELECT loyalty.refresh_details('club', '2024-07-31') \gset
SELECT loyalty.refresh_analytics('club', '2024-07-31') \gset

CREATE FUNCTION shop.who(bigint) RETURNS text LANGUAGE sql STABLE AS 'SELECT customer FROM loyalty.member WHERE member_id = $1';
-- cycles: a 30 / 3 = 10, b 90 / 3 = 30; median 20
SELECT results_eq($$SELECT members, mean_days, p25_days, median_days, p75_days, p90_days FROM loyalty.purchase_cycle_population WHERE program = 'club'$$,
	$$VALUES (2::bigint, 20::numeric(10,2), 15::numeric(10,2), 20::numeric(10,2), 25::numeric(10,2), 28::numeric(10,2))$$, 'cycles of the population');
SELECT results_eq($$SELECT shop.who(member_id), days_since, cycle_days, is_own_cycle, cycles_since, risk FROM loyalty.churn_risk WHERE program = 'club' ORDER BY 1$$,
	$$VALUES ('a', 30, 10::numeric(10,2), true, 3::numeric(12,2), 'churning'), ('b', 12, 30, true, 0.4, 'active'), ('c', 46, 20, false, 2.3, 'churning')$$,
	'risk by the member''s own cycle, else by the median; 3 cycles are not yet lost; who returned all has none');
SELECT loyalty.refresh_analytics('club', '2024-07-31'::date + i) FROM generate_series(0, 1) i \g /dev/null
SELECT results_eq($$SELECT shop.who(member_id), risk FROM loyalty.churn_risk WHERE program = 'club' ORDER BY 1$$,
	$$VALUES ('a', 'lost'), ('b', 'active'), ('c', 'churning')$$, 'the day after, they are');
SELECT loyalty.refresh_analytics('club', '2024-07-12') \gset
SELECT is((SELECT risk FROM loyalty.churn_risk WHERE program = 'club' AND shop.who(member_id) = 'a'), 'due', '11 days after a cycle of 10');
SELECT loyalty.refresh_analytics('club', '2024-07-11') \gset
SELECT is((SELECT risk FROM loyalty.churn_risk WHERE program = 'club' AND shop.who(member_id) = 'a'), 'active', '10 days are within it');
SELECT loyalty.refresh_analytics('club', '2024-07-17') \gset
SELECT is((SELECT risk FROM loyalty.churn_risk WHERE program = 'club' AND shop.who(member_id) = 'a'), 'at_risk', '16 days are more than 1.5');
SELECT loyalty.refresh_analytics('club', '2024-07-31') \gset

SELECT results_eq($$SELECT dimension, value, n, total_n, share, amount, rank FROM loyalty.preferences WHERE program = 'club' AND shop.who(member_id) = 'a' ORDER BY 1, 2$$,
	$$VALUES ('category', 'drink', 3::bigint, 4::bigint, 0.75::numeric(7,4), 34::numeric(18,2), 1::bigint), ('category', 'food', 1, 4, 0.25, 4, 2),
		('channel', 'till', 1, 4, 0.25, 4, 2), ('channel', 'web', 3, 4, 0.75, 33, 1), ('store', 'north', 3, 4, 0.75, 33, 1), ('store', 'south', 1, 4, 0.25, 4, 2)$$,
	'what a likes');
SELECT results_eq($$SELECT value, n FROM loyalty.preferences WHERE program = 'club' AND shop.who(member_id) = 'b' AND dimension = 'category' ORDER BY 1$$,
	$$VALUES ('drink', 2::bigint), ('food', 2), ('hot', 1)$$, 'a line of two categories counts in both; the return does not count');
-- tea: 15 for 156, usually 10.40; below 9.88 it is cheap: a paid 10, 8, 8
SELECT results_eq($$SELECT lines, priced_lines, low_price_lines, low_price_share, paid_amount, reference_amount, discount_lines, discount_amount, line_amount, margin_share
		FROM loyalty.price_sensitivity WHERE program = 'club' AND shop.who(member_id) = 'a'$$,
	$$VALUES (4::bigint, 4::bigint, 2::bigint, 0.5::numeric(7,4), 38::numeric(18,2), 45.60::numeric(18,2), 1::bigint, 1::numeric(18,2), 38::numeric(18,2), 0.5::numeric(12,4))$$,
	'a buys tea at low prices, and had a discount');
SELECT results_eq($$SELECT shop.who(member_id), listed_lines, list_discount_amount, list_amount, list_discount_share
		FROM loyalty.price_sensitivity WHERE program = 'club' ORDER BY 1$$,
	$$VALUES ('a', 2::bigint, 6::numeric(18,2), 32::numeric(18,2), 0.1875::numeric(12,4)), ('b', 0, 0, 0, NULL), ('c', 1, 0, 50, 0), ('d', 0, 0, 0, NULL)$$,
	'and what he saved against list prices; without one, the share is NULL');

SELECT results_eq($$SELECT cohort, month, month_number, cohort_members, active_members, retention, sales, net_amount FROM loyalty.cohort_retention WHERE program = 'club' ORDER BY 1, 2$$,
	$$VALUES ('2024-04-01'::date, '2024-04-01'::date, 0, 1::bigint, 1::bigint, 1::numeric(7,4), 1::bigint, 110::numeric(18,2)), ('2024-04-01', '2024-05-01', 1, 1, 1, 1, 1, 4),
		('2024-04-01', '2024-06-01', 2, 1, 1, 1, 1, 4), ('2024-04-01', '2024-07-01', 3, 1, 1, 1, 1, 10),
		('2024-06-01', '2024-06-01', 0, 2, 2, 1, 4, 80), ('2024-06-01', '2024-07-01', 1, 2, 1, 0.5, 1, 7)$$, 'cohorts');
SELECT results_eq($$SELECT month, sales, returns, gross_amount, returned_amount, active_members, returning_members, new_buyers, new_members, members, active_share
		FROM loyalty.program_kpi_monthly WHERE program = 'club' AND month >= '2024-06-01' ORDER BY 1$$,
	$$VALUES ('2024-06-01'::date, 5::bigint, 0::bigint, 84::numeric(18,2), 0::numeric(18,2), 3::bigint, 1::bigint, 2::bigint, 2::bigint, 3::bigint, 1::numeric(18,4)),
		('2024-07-01', 3, 2, 69, 52, 2, 2, 0, 1, 4, 0.5)$$, 'months');
SELECT is((SELECT sum(points_net) FROM loyalty.program_kpi_daily WHERE program = 'club'), (SELECT sum(balance) FROM shop.member), 'the days'' points are the balances');
SELECT results_eq($$SELECT day, sales, gross_amount, points_earned, points_returned FROM loyalty.program_kpi_daily WHERE program = 'club' AND day IN ('2024-07-02', '2024-07-05') ORDER BY 1$$,
	$$VALUES ('2024-07-02'::date, 1::bigint, 50::numeric(18,2), 50::numeric(18,2), 0::numeric(18,2)), ('2024-07-05', 0, 0, 0, -50)$$, 'two days');
SELECT is((SELECT avg_sale_amount FROM loyalty.program_kpi_daily WHERE program = 'club' AND day = '2024-07-05'), NULL, 'the average of no sales is NULL');
SELECT results_eq($$SELECT open_points, expiring_points, debt_points, members_with_points FROM loyalty.points_liability WHERE program = 'club'$$,
	$$SELECT sum(balance)::numeric(18,2), 0::numeric(18,2), 0::numeric(18,2), count(*) FROM shop.member WHERE balance > 0$$, 'what members can spend');
SELECT is_empty($$SELECT * FROM loyalty.points_expiring WHERE program = 'club'$$, 'points that never expire are in no month');
SELECT results_eq($$SELECT rule, version, sales, members, gross_amount FROM loyalty.rule_performance WHERE program = 'club'$$,
	$$VALUES ('base', 1, 10::bigint, 4::bigint, 267::numeric(18,2))$$, 'rule_performance');

SELECT results_eq($$SELECT shop.who(member_id), tier, next_tier, amount_to_next_tier, balance, sales, reversed_sales, returns, net_amount, sales_365d, top_category, top_channel, top_store, risk
		FROM loyalty.customer_360 WHERE program = 'club' ORDER BY 1$$,
	$$SELECT w, t, n, a::numeric(18,2), b::numeric(18,2), s::bigint, v::bigint, r::bigint, g::numeric(18,2), y::bigint, c, h, o, k FROM (VALUES
		('a', NULL, 'Silver', 63, 37, 4, 0, 0, 37, 4, 'drink', 'web', 'north', 'churning'),
		('b', 'Silver', 'Gold', 872, 256, 4, 0, 1, 128, 4, 'drink', 'till', 'south', 'active'),
		('c', NULL, 'Silver', 50, 50, 1, 0, 0, 50, 1, NULL, NULL, NULL, 'churning'),
		('d', NULL, 'Silver', 100, 0, 0, 1, 1, 0, 0, 'ware', 'web', 'north', NULL)) v (w, t, n, a, b, s, v, r, g, y, c, h, o, k)$$, 'customer_360');

-- exports
SELECT results_eq($$SELECT customer, tier_name, segment_name, risk_name, balance, expiring_points, last_sale_on FROM loyalty.export_segment('club') ORDER BY customer$$,
	$$SELECT m.customer, t.name, coalesce(r.segment, r.population), k.risk, m.balance, 0::numeric(18,2), r.last_sale_on FROM shop.member m LEFT JOIN loyalty.tier t USING (tier_id)
		JOIN loyalty.rfm_current r USING (member_id) LEFT JOIN loyalty.churn_risk k USING (member_id) WHERE r.program = 'club' ORDER BY 1$$, 'without conditions, everybody');
CREATE FUNCTION shop.export(VARIADIC what text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE v text;
BEGIN
	EXECUTE format('SELECT string_agg(customer, '' '') FROM loyalty.export_segment(''club'', %s)', array_to_string(what, ', ')) INTO v;
	RETURN coalesce(v, '');
END $$;
SELECT is(shop.export($$tier => 'Silver'$$), 'b', 'by tier');
SELECT is(shop.export($$risk => 'churning'$$), 'a c', 'by risk');
SELECT is(shop.export('min_balance => 50'), 'b c', 'by points');
SELECT is(shop.export($$segment => 'returns_only'$$), 'd', 'by population');
SELECT is(shop.export($$risk => 'churning'$$, 'min_balance => 50'), 'c', 'by two conditions');
SELECT is(shop.export('expiring_within_days => 30'), '', 'nothing expires');
-- vouchers that are left
SELECT is(shop.export('has_voucher => true'), '', 'nobody has a voucher');
SELECT loyalty.issue_voucher('club', 'a', 'value', 10, 'v1', days => 5) \g /dev/null
SELECT loyalty.issue_voucher('club', 'a', 'value', 7, 'v2', days => 50) \g /dev/null
SELECT loyalty.issue_voucher('club', 'b', 'percent', 10, 'v3', days => 50) \g /dev/null
SELECT code AS code FROM loyalty.vouchers('club', 'a', 5) \gset
SELECT loyalty.redeem_voucher('club', :'code', 4, 'u1') \g /dev/null
SELECT is(shop.export('has_voucher => true'), 'a b', 'by voucher left');
SELECT is(shop.export('has_voucher => false'), 'c d', 'without one');
SELECT is(shop.export('voucher_within_days => 5'), 'a', 'by a voucher that ends');
SELECT is(shop.export('voucher_within_days => 5', 'has_voucher => false'), 'b c d', 'without one that ends');
SELECT results_eq($$SELECT customer, vouchers, voucher_value, next_voucher_expiry_on - (now() AT TIME ZONE 'UTC')::date FROM loyalty.export_segment('club') ORDER BY customer$$,
	$$VALUES ('a', 2::bigint, 13::numeric(18,2), 5), ('b', 1, 0, 50), ('c', 0, 0, NULL), ('d', 0, 0, NULL)$$, 'what is left of them');
SELECT loyalty.redeem_voucher('club', :'code', 6, 'u2') \g /dev/null
SELECT is(shop.export('voucher_within_days => 5'), '', 'one that is used up is not left');

SELECT throws_ok($$SELECT * FROM loyalty.export_segment('club', 'nope')$$, 'LY001', NULL, 'an unknown segment is refused');
SELECT throws_ok($$SELECT * FROM loyalty.export_segment('club', tier => 'Tin')$$, 'LY001', NULL, 'an unknown tier is refused');
SELECT throws_ok($$SELECT * FROM loyalty.export_segment('club', group_name => 'nope')$$, '22023', NULL, 'an unknown group is refused');
SELECT throws_ok($$SELECT * FROM loyalty.export_segment('club', risk => 'nope')$$, '22023', NULL, 'an unknown risk is refused');

-- groups
SELECT loyalty.create_program('groups', 'UTC') \gset
INSERT INTO loyalty.member (member_id, program_id, customer, joined_on) SELECT -i, loyalty.program_id('groups'), 'g' || i, '2024-01-01' FROM generate_series(1, 8) i;
INSERT INTO loyalty.member_score (member_id, program_id, population, last_sale_on, frequency, monetary, r, f, m) SELECT -i, loyalty.program_id('groups'), 'scored', '2024-01-01', 1, 1,
	substr(code, 1, 1)::smallint, substr(code, 2, 1)::smallint, substr(code, 3, 1)::smallint
	FROM unnest('{555,444,433,233,215,315,431,135}'::text[]) WITH ORDINALITY c (code, i);
SELECT results_eq($$SELECT member_id, string_agg(group_name, ' ' ORDER BY group_name) FROM loyalty.member_group WHERE program = 'groups' GROUP BY 1 ORDER BY 1 DESC$$,
	$$VALUES (-1::bigint, 'loyal_core'), (-2, 'loyal_core'), (-3, 'high_potential'), (-4, 'to_reactivate'), (-5, 'high_value_silent'), (-8, 'high_value_silent to_reactivate')$$,
	'groups by scores');
INSERT INTO loyalty.member_line SELECT -i, loyalty.program_id('groups'), 10, 100, 0, 0, p, l, 100, 100, t, 0, 0, 0
	FROM (VALUES (1, 5, 3, 0), (2, 4, 4, 0), (3, 10, 4, 3), (6, 10, 5, 2)) x (i, p, l, t);
INSERT INTO loyalty.member_preference SELECT -i, 'category', c, loyalty.program_id('groups'), n, 1 FROM (VALUES (4, 'x', 3), (4, 'y', 2), (5, 'x', 4), (6, 'x', 5), (6, 'y', 5)) x (i, c, n);
SELECT results_eq($$SELECT member_id, group_name FROM loyalty.member_group WHERE program = 'groups'
		AND group_name IN ('price_sensitive', 'category_enthusiast', 'new_product_tryer') ORDER BY 1 DESC, 2$$,
	$$VALUES (-1::bigint, 'price_sensitive'), (-3, 'new_product_tryer'), (-4, 'category_enthusiast'), (-6, 'price_sensitive')$$, 'groups by lines');
DELETE FROM loyalty.member_score WHERE member_id < 0;
DELETE FROM loyalty.member_line WHERE member_id < 0;
DELETE FROM loyalty.member_preference WHERE member_id < 0;

SELECT is((SELECT count(*) FROM loyalty.date_dim WHERE is_month_end), 600::bigint, 'fifty years have 600 month ends');
SELECT results_eq($$SELECT year, iso_year, iso_week, iso_weekday, quarter, year_month, is_weekend, week_start FROM loyalty.date_dim WHERE day IN ('2021-01-03', '2024-12-30') ORDER BY day$$,
	$$VALUES (2021, 2020, 53, 7, 1, 202101, true, '2020-12-28'::date), (2024, 2025, 1, 1, 4, 202412, false, '2024-12-30')$$, 'weeks by ISO 8601');

-- rights: BI reads every view, and no customer
CREATE FUNCTION shop.readable() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE v text;
BEGIN
	FOR v IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind = 'v'
			AND c.relname NOT IN ('member_balance', 'member_points', 'member_tier', 'redemption_list', 'document_line', 'parked', 'dead_message') ORDER BY 1 LOOP
		BEGIN
			SET LOCAL ROLE loyalty_bi;
			EXECUTE format('SELECT * FROM loyalty.%I', v);
			RESET ROLE;
		EXCEPTION WHEN insufficient_privilege THEN
			RESET ROLE;
			RETURN NEXT v || ': ' || SQLERRM;
		END;
	END LOOP;
END $$;
SELECT is_empty('SELECT shop.readable()', 'loyalty_bi reads every view');
CREATE FUNCTION shop.as_bi(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL ROLE loyalty_bi;
	EXECUTE command;
	RESET ROLE;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RESET ROLE;
	RETURN SQLSTATE;
END $$;
SELECT is(shop.as_bi('SELECT * FROM loyalty.rfm()'), NULL, 'and calls rfm()');
SELECT is(shop.as_bi(c), '42501', 'not ' || c) FROM unnest(ARRAY['SELECT customer FROM loyalty.member', 'SELECT * FROM loyalty.member_balance',
	'SELECT * FROM loyalty.export_segment(''club'')', 'SELECT loyalty.refresh_analytics()', 'SELECT loyalty.take_rfm_snapshot()',
	'SELECT loyalty.set_rfm(''club'')', 'UPDATE loyalty.member_score SET r = 5', 'SELECT * FROM loyalty.next_best_product(''club'', ''a'')']) c;

SELECT * FROM finish();
ROLLBACK;
