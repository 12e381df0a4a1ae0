-- Customers who are no members, and what a programme brings: figures by hand.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('club', 'Europe/Berlin', 'EUR', enrolment => 'explicit') \gset
SELECT loyalty.set_rule('club', 'base', 1, 1) \gset
SELECT loyalty.set_redemption('club', 0.1) \gset
SELECT shop.attach_lines('club', 'club', evaluate => 'statement') \gset
CREATE FUNCTION shop.doc(id integer, customer text, day date, amount numeric, return_of integer DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
	INSERT INTO shop.invoice (id, customer, at, return_of) VALUES ($1, $2, $3::timestamp AT TIME ZONE 'Europe/Berlin', $5);
	INSERT INTO shop.line (id, invoice, amount) VALUES ($1, $1, $4);
$$;
SELECT throws_ok($$SELECT loyalty.set_non_members('nope')$$, 'LY001', NULL, 'no such source');
SELECT throws_ok($$SELECT loyalty.set_non_members('club', 0)$$, '22023', NULL, 'no days');
SELECT throws_ok($$SELECT loyalty.refresh_non_members('club')$$, 'LY003', NULL, 'not asked for');

-- m is a member since 1 January, j joins on 11 June; n and o never do, a guest has no name
SELECT loyalty.enrol('club', 'm', '2024-01-01') \gset
SELECT shop.doc(1, 'm', '2024-06-15', 100), shop.doc(2, 'n', '2024-06-15', 40), shop.doc(3, 'n', '2024-06-15', 30), shop.doc(4, 'n', '2024-06-20', -30, 3),
	shop.doc(5, 'o', '2024-06-30', 20), shop.doc(6, 'o', '2024-07-01', 5), shop.doc(7, NULL, '2024-06-10', 9), shop.doc(8, 'j', '2024-06-05', 50),
	shop.doc(9, 'm', '2024-06-05', 60), shop.doc(10, 'o', '2024-06-02', 12) \g /dev/null
SELECT loyalty.enrol('club', 'j', '2024-06-11') \gset
SELECT shop.doc(11, 'j', '2024-06-16', 80), shop.doc(12, 'j', '2024-06-25', -20, 11) \g /dev/null
UPDATE shop.invoice SET state = 'draft' WHERE id = 6;
SELECT loyalty.refresh_analytics('club', '2024-06-30') \gset
SELECT loyalty.refresh_details('club', '2024-06-30') \gset
SELECT is((SELECT count(*) FROM loyalty.non_member_day WHERE program_id = loyalty.program_id('club')), 0::bigint, 'nothing is kept unless asked for');
SELECT is((SELECT sum(returns) FROM loyalty.program_day WHERE program_id = loyalty.program_id('club')), 1::numeric, 'a return of no member''s sale is no member''s return');
SELECT loyalty.set_non_members('club', 10) \gset
-- the number under which a customer is kept is the one he would have
SELECT loyalty.create_program('numbers', 'UTC') \gset
SELECT loyalty.refresh_details('club', '2024-06-30') \gset
CREATE TABLE shop.number AS SELECT DISTINCT d.member_id AS n, i.customer
	FROM loyalty.non_member_documents('club', '-infinity', '2024-12-31') d JOIN shop.invoice i ON i.id = d.doc_key::integer WHERE i.customer IS NOT NULL;
CREATE FUNCTION shop.day(c text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s/%s/%s %s-%s', to_char(d.day, 'MM-DD'), d.sales, d.reversed, d.returns, d.gross, d.returned), ', ' ORDER BY d.day) FROM loyalty.non_member_day d
	WHERE d.member_id = CASE WHEN c IS NULL THEN 0 ELSE (SELECT n FROM shop.number WHERE customer = c) END AND d.program_id = loyalty.program_id('club')
$$;
SELECT is((SELECT n FROM shop.number WHERE customer = 'j'), loyalty.member_id('club', 'j'), 'which is that of the member later');
SELECT is(shop.day('n'), '06-15 1/1/0 70-0, 06-20 0/0/1 0-30', 'n: a sale, one that came back, and its return');
SELECT is(shop.day('o'), '06-02 1/0/0 12-0, 06-30 1/0/0 20-0', 'o: drafts do not count');
SELECT is(shop.day('j'), '06-05 1/0/0 50-0', 'j: before joining');
SELECT is(shop.day(NULL), '06-10 1/0/0 9-0', 'a guest');
SELECT is_empty($$SELECT FROM loyalty.non_member_day WHERE member_id = loyalty.member_id('club', 'm')$$, 'm: all is in the books');
SELECT results_eq($$SELECT is_member, is_guest, customers, sales, returns, gross_amount, net_amount, avg_sale_amount, net_amount_per_customer, net_share FROM loyalty.sales_by_membership
		WHERE program = 'club' AND month = '2024-06-01' ORDER BY 1 DESC, 2$$,
	$$VALUES (true, false, 2::bigint, 3::bigint, 1::bigint, 240::numeric(18,2), 220::numeric(18,2), 80::numeric(18,2), 110::numeric(18,2), 0.6268::numeric(18,4)),
		(false, false, 3, 5, 1, 152, 122, 30.40, 40.67, 0.3476), (false, true, 0, 1, 0, 9, 9, 9, NULL, 0.0256)$$, 'June, by kind of customer: 220 + 122 + 9');

-- customers who are no members are scored among members, and told apart
CREATE FUNCTION shop.scored(as_of date, others boolean) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s%s %s %s/%s/%s', n.customer, CASE WHEN x.is_member THEN '' ELSE '?' END, concat(x.r, x.f, x.m), x.recency_days, x.frequency, x.monetary), ', ' ORDER BY n.customer)
	FROM loyalty.rfm(as_of, program => 'club', non_members => others) x
	LEFT JOIN (SELECT * FROM shop.number UNION SELECT m.member_id, m.customer FROM shop.member m) n ON n.n = x.member_id
$$;
SELECT is(shop.scored('2024-06-30', true), 'j 313 14/1/60.00, m 134 15/2/160.00, n? 112 15/1/40.00, o? 431 0/2/32.00', 'members and others: recency, frequency and net amount');
SELECT is((SELECT count(*) FROM loyalty.rfm('2024-06-30', program => 'club')), 2::bigint, 'others only where they are asked for');
SELECT is(shop.scored('2024-06-08', true), 'j? 212 3/1/50.00, m 214 3/1/60.00, o? 111 6/1/12.00', 'j was none yet');
SELECT results_eq($$SELECT n.customer, s.is_member, s.sales, s.reversed_sales, s.returns, s.net_amount, s.last_sale_on FROM loyalty.customer_sales s
		JOIN (SELECT * FROM shop.number UNION SELECT m.member_id, m.customer FROM shop.member m) n ON n.n = s.member_id WHERE s.program = 'club' ORDER BY 1, 2$$,
	$$VALUES ('j', false, 1::bigint, 0::bigint, 0::bigint, 50::numeric(18,2), '2024-06-05'::date), ('j', true, 1, 0, 1, 60, '2024-06-16'), ('m', true, 2, 0, 0, 160, '2024-06-15'),
		('n', false, 2, 1, 1, 40, '2024-06-15'), ('o', false, 2, 0, 0, 32, '2024-06-30')$$, 'what each customer bought, as a member or not');

-- what changes later is read again if it is not too old
UPDATE shop.invoice SET state = 'posted' WHERE id = 6;
UPDATE shop.line SET amount = 21 WHERE id = 5;
UPDATE shop.line SET amount = 13 WHERE id = 10;
SELECT loyalty.refresh_details('club', '2024-07-05') \gset
SELECT is(shop.day('o'), '06-02 1/0/0 12-0, 06-30 1/0/0 21-0, 07-01 1/0/0 5-0', 'ten days are read again');
SELECT loyalty.refresh_non_members('club', '2024-06-01', '2024-07-05') \gset
SELECT is(shop.day('o'), '06-02 1/0/0 13-0, 06-30 1/0/0 21-0, 07-01 1/0/0 5-0', 'or as many as one says');
SELECT loyalty.refresh_non_members('club', as_of => '2024-06-30') \gset
SELECT is(shop.day('o'), '06-02 1/0/0 13-0, 06-30 1/0/0 21-0', 'back in time');
-- o turns out to be a member since 30 June
SAVEPOINT s;
SELECT loyalty.enrol('club', 'o', '2024-06-03') \gset
SELECT loyalty.refresh_non_members('club', '2024-07-01', '2024-07-05') \gset
SELECT is(shop.day('o'), '06-02 1/0/0 13-0', 'what is the books'' is not kept twice');
ROLLBACK TO s;
-- a document that cannot be read costs itself only
SAVEPOINT s;
SELECT loyalty.attach('odd', 'club', 'shop.invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.note::numeric', posted => 'r.note IS NOT NULL') \gset
UPDATE shop.invoice SET note = CASE id WHEN 10 THEN 'x' ELSE '1' END WHERE customer = 'o';
SELECT loyalty.set_non_members('odd') \gset
SET LOCAL client_min_messages = error;
SELECT is(loyalty.refresh_non_members('odd', as_of => '2024-07-05'), 2::bigint, 'two of three days');
SET LOCAL client_min_messages = warning;
ROLLBACK TO s;
SELECT loyalty.refresh_details('club', '2024-07-05', rebuild => true) \gset

-- 10 days: 11 to 20 June, 1 to 10 June before.  A crowd of others makes the figures
SELECT throws_ok(format('SELECT * FROM loyalty.program_roi(%s)', a), s, NULL, 'refused: ' || a) FROM (VALUES
	($$'nope', '2024-06-11', '2024-06-20'$$, 'LY001'), ($$'club', '2024-06-11', '2024-06-10'$$, '22023'), ($$'club', NULL, '2024-06-10'$$, '22023'),
	($$'club', '2024-06-11', 'infinity'$$, '22023'), ($$'club', '2024-06-11', '2024-06-20', 'nope'$$, 'LY001'),
	($$'club', '2024-06-11', '2024-06-20', margin => 2$$, '22023'), ($$'club', '2024-06-11', '2024-06-20', cost => 'NaN'$$, '22023'),
	($$'club', '2024-06-11', '2024-06-20', cost => 1e16$$, '22023')) x (a, s);
SELECT results_eq($$SELECT comparison, members, others, member_mean, difference, difference_se, is_small, roi FROM loyalty.program_roi('numbers', '2024-06-11', '2024-06-20')$$,
	$$VALUES ('members_against_others', 0::bigint, 0::bigint, NULL::numeric(18,2), NULL::numeric(18,2), NULL::numeric(18,4), true, NULL::numeric(18,4)),
		('before_against_after', 0, 0, NULL, NULL, NULL, true, NULL), ('difference_in_differences', 0, 0, NULL, NULL, NULL, true, NULL)$$, 'an empty programme has no result');
-- two more members of old, one more joiner, one more other
SELECT loyalty.enrol('club', c, '2024-01-01') FROM unnest('{p,q}'::text[]) c \g /dev/null
SELECT shop.doc(20, 'p', '2024-06-12', 40), shop.doc(21, 'q', '2024-06-01', 500), shop.doc(22, 'k', '2024-06-03', 20), shop.doc(23, 'r', '2024-06-04', 30),
	shop.doc(24, 'r', '2024-06-19', 10), shop.doc(25, 'z', '2024-05-01', 1) \g /dev/null
SELECT loyalty.enrol('club', 'k', '2024-06-12') \gset
SELECT shop.doc(26, 'k', '2024-06-20', 50) \g /dev/null
SELECT is((SELECT points FROM loyalty.redeem('club', 'm', 20, 'r1', at => '2024-06-18 12:00+02')), 20::numeric(18,2), 'm redeems 20');
SELECT loyalty.refresh_analytics('club', '2024-07-05') \gset
SELECT loyalty.refresh_details('club', '2024-07-05', rebuild => true) \gset
-- members of old who bought: m 100, p 40; others: n 70 - 30 (20 June) = 40, r 10.  j and k joined meanwhile and are in neither group
-- mean 70, 25; s^2 1800, 450; se sqrt(900 + 225)
-- issued: m 100, p 40
SELECT results_eq($$SELECT design, members, others, member_mean, other_mean, member_median, other_median, difference, difference_se, difference_low, difference_high, is_small,
		incremental_net_amount, incremental_margin, points_issued, points_redeemed, issued_value, redeemed_value, total_cost, roi
		FROM loyalty.program_roi('club', '2024-06-11', '2024-06-20', margin => 0.5, cost => 6) WHERE comparison = 'members_against_others'$$,
	$$VALUES ('observational', 2::bigint, 2::bigint, 70::numeric(18,2), 25::numeric(18,2), 70::numeric(18,2), 25::numeric(18,2), 45::numeric(18,2), 33.541::numeric(18,4),
		-20.74::numeric(18,2), 110.74::numeric(18,2), true, 90::numeric(18,2), 45::numeric(18,2), 140::numeric(18,2), 20::numeric(18,2), 14::numeric(18,2), 2::numeric(18,2), 20::numeric(18,2), 1.25::numeric(18,4))$$,
	'members against others');
-- j: 1 to 10 June 50, 11 to 20 June 80; k: 2 to 11 June 20, 12 to 21 June 50: both 30 more, without any spread
SELECT results_eq($$SELECT members, others, member_mean, other_mean, difference, difference_se, incremental_net_amount, points_issued
		FROM loyalty.program_roi('club', '2024-06-11', '2024-06-20') WHERE comparison = 'before_against_after'$$,
	$$VALUES (2::bigint, 2::bigint, 65::numeric(18,2), 35::numeric(18,2), 30::numeric(18,2), 0::numeric(18,4), 60::numeric(18,2), 130::numeric(18,2))$$, 'before against after joining');
-- j 80 - 50, k 50 - 20; others who bought before: o 0 - 13, r 10 - 30: mean -16.5, s^2 24.5; 30 + 16.5, se sqrt(12.25)
SELECT results_eq($$SELECT members, others, member_mean, other_mean, other_median, difference, difference_se, incremental_net_amount, margin_share, roi
		FROM loyalty.program_roi('club', '2024-06-11', '2024-06-20') WHERE comparison = 'difference_in_differences'$$,
	$$VALUES (2::bigint, 2::bigint, 30::numeric(18,2), -16.5::numeric(18,2), -16.5::numeric(18,2), 46.5::numeric(18,2), 3.5::numeric(18,4), 93::numeric(18,2), NULL::numeric(12,4), NULL::numeric(18,4))$$,
	'difference in differences; without any cost of lines there is no return');
SELECT results_eq($$SELECT members FROM loyalty.program_roi('club', '2024-06-11', '2024-07-05') WHERE comparison = 'before_against_after'$$, '{1}'::bigint[],
	'25 days after k joined are not over, so he is left out');
-- against a group that is held out: q in the target group, m and p in the other
SELECT s::text AS seed FROM generate_series(1, 100000) s WHERE NOT EXISTS (SELECT FROM unnest('{m,p,q}'::text[]) c
	WHERE (loyalty.campaign_group(s::text, loyalty.member_id('club', c), 50) = 'control') <> (c <> 'q')) LIMIT 1 \gset
SELECT loyalty.create_campaign('club', 'held out', '2024-06-01', '2024-12-31', 50, seed => :'seed') \gset
SELECT loyalty.target_campaign('club', 'held out', '{m,p,q}', at => '2024-05-01') \gset
SELECT results_eq($$SELECT comparison, design, members, others, member_mean, other_mean, difference, difference_se, points_issued
		FROM loyalty.program_roi('club', '2024-06-11', '2024-06-20', 'held out') ORDER BY comparison DESC OFFSET 1 LIMIT 1$$,
	$$VALUES ('holdout', 'experiment', 1::bigint, 2::bigint, 0::numeric(18,2), 70::numeric(18,2), -70::numeric(18,2), NULL::numeric(18,4), 0::numeric(18,2))$$,
	'buyers or not; one member has no variance');
SELECT results_eq($$SELECT comparison, since, until, members, others, difference FROM loyalty.program_roi WHERE program = 'club' ORDER BY 1$$,
	$$SELECT comparison, '2024-04-07'::date, '2024-07-05'::date, members, others, difference FROM loyalty.program_roi('club', '2024-04-07', '2024-07-05') ORDER BY 1$$,
	'the view has the last 90 days');
SELECT loyalty.set_non_members('club', NULL) \gset
SELECT is((SELECT count(*) FROM loyalty.non_member_day WHERE program_id = loyalty.program_id('club')), 0::bigint, 'asked for no more: removed');
SELECT results_eq($$SELECT members, others, difference, roi FROM loyalty.program_roi('club', '2024-06-11', '2024-06-20', margin => 1) WHERE comparison = 'members_against_others'$$,
	$$VALUES (2::bigint, 0::bigint, NULL::numeric(18,2), NULL::numeric(18,4))$$, 'against nobody there is no difference');
SELECT shop.clean();

SELECT loyalty.create_roles() \g /dev/null
SET LOCAL ROLE loyalty_bi;
SELECT lives_ok($$SELECT * FROM loyalty.program_roi('club', '2024-06-11', '2024-06-20')$$, 'BI asks for sums');
SELECT throws_ok($$SELECT loyalty.refresh_non_members()$$, '42501', NULL, 'and refreshes nothing');
SELECT throws_ok($$SELECT * FROM loyalty.non_member_documents('club', '2024-06-11', '2024-06-20')$$, '42501', NULL, 'nor reads documents');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
