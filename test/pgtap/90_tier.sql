-- Tiers: windows at their boundaries, reviews, overrides, gifts, progress.
\ir common.psql
SELECT no_plan();

CREATE FUNCTION shop.sell(program text, id integer, customer text, at timestamptz, total numeric, of integer DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
	INSERT INTO shop.invoice (id, customer, at, total, company, return_of) VALUES ($2, $3, $4, $5, $1, $6)
$$;
CREATE FUNCTION shop.club(name text, zone text DEFAULT 'UTC', crossing text DEFAULT 'new') RETURNS void LANGUAGE sql AS $$
	SELECT loyalty.create_program($1, $2, crossing => $3);
	SELECT loyalty.set_rule($1, 'base', 1, 1);
	SELECT loyalty.set_tier($1, 'Basic', 0);
	SELECT loyalty.set_tier($1, 'Silver', 100, 2);
	SELECT loyalty.set_tier($1, 'Gold', 200, 3);
	SELECT loyalty.attach($1, $1, 'shop.invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total', return_of => 'r.return_of',
		void => 'r.cancelled', filter => format('r.company = %L', $1), evaluate => 'statement');
$$;
CREATE FUNCTION shop.tiers(program text, customer text, instants text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(coalesce(loyalty.tier($1, $2, i::timestamptz), '-'), ' ' ORDER BY n)
	FROM unnest(string_to_array($3, ', ')) WITH ORDINALITY u (i, n)
$$;
CREATE FUNCTION shop.history(program text, customer text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s>%s %s', to_char(c.at AT TIME ZONE p.time_zone, 'YYYY-MM-DD'), coalesce(f.name, '-'), coalesce(t.name, '-'), c.reason), ', ' ORDER BY c.n)
	FROM loyalty.tier_change c JOIN loyalty.member m USING (member_id) JOIN loyalty.program p USING (program_id)
	LEFT JOIN loyalty.tier f ON f.tier_id = c.from_tier LEFT JOIN loyalty.tier t ON t.tier_id = c.to_tier
	WHERE c.superseded_at IS NULL AND c.member_id = loyalty.member_id($1, $2)
$$;

-- the worked figures, and a bill that is partly paid with points
SELECT loyalty.create_program('w', 'UTC') \gset
SELECT loyalty.set_rule('w', 'base', 1, 100) \gset
SELECT loyalty.set_tier('w', 'first', 0), loyalty.set_tier('w', 'second', 10000), loyalty.set_tier('w', 'third', 20000) \gset
SELECT shop.attach('w', 'w', paid_by_points => 'r.points_paid', evaluate => 'statement') \gset
INSERT INTO shop.invoice (id, customer, total, points_paid) VALUES (1, 'a', 8000, 0), (2, 'a', 3000, 0), (3, 'b', 18000, 0), (4, 'b', 3000, 0), (5, 'c', 300, 0), (6, 'c', 200, 100);
SELECT is(loyalty.tier('w', 'a'), 'second', '8,000 + 3,000 is the second tier');
SELECT is(loyalty.tier('w', 'b'), 'third', '18,000 + 3,000 is the third');
SELECT is(shop.qualifying('w', 'c'), 500::numeric, '300 and 200 partly paid with points are 500');
SELECT is(shop.history('w', 'b'), '2024-03-10 first>third reached', 'the plain ladder has a history');
DELETE FROM shop.invoice;

-- rolling: through the day before the same day n months later, in the programme's zone; of 29 February through the 28th
SELECT shop.club('ro', 'Asia/Kolkata') \gset
SELECT loyalty.set_tier_policy('ro', time_window => 'rolling', months => 12) \gset
SELECT shop.sell('ro', 10, 'a', '2024-02-28 18:30+00', 60) \gset
SELECT shop.sell('ro', 11, 'a', '2024-08-15 12:00+00', 40) \gset
SELECT is(shop.tiers('ro', 'a', '2024-08-15 11:59:59+00, 2024-08-15 12:00+00, 2025-02-27 18:29:59+00, 2025-02-27 18:30+00, 2025-02-28 18:30+00'),
	'Basic Silver Silver Silver Basic', 'rolling: leap day, midnight in Kolkata');
SELECT shop.sell('ro', 12, 'b', '2023-01-31 12:00+00', 100) \gset
SELECT is(shop.tiers('ro', 'b', '2024-01-30 18:29:59+00, 2024-01-30 18:30+00'), 'Silver Basic', 'a year later to the day');
SELECT is(shop.history('ro', 'b'), '2023-01-31 Basic>Silver reached, 2024-01-31 Silver>Basic review', 'as the history says');
-- calendar year and membership year
SELECT shop.club('cy') \gset
SELECT loyalty.set_tier_policy('cy', time_window => 'calendar_year') \gset
SELECT shop.sell('cy', 20, 'a', '2023-12-31 23:59:59+00', 60), shop.sell('cy', 21, 'a', '2024-01-01 00:00+00', 60), shop.sell('cy', 22, 'a', '2024-12-31 23:59:59+00', 40) \gset
SELECT is(shop.tiers('cy', 'a', '2024-01-01 12:00+00, 2024-12-31 23:59:58+00, 2024-12-31 23:59:59+00, 2024-12-31 23:59:59.999999+00, 2025-01-01 00:00+00'),
	'Basic Basic Silver Silver Basic', 'calendar year');
SELECT shop.club('my') \gset
SELECT loyalty.set_tier_policy('my', time_window => 'membership_year') \gset
SELECT loyalty.enrol('my', 'a', '2020-02-29') \gset
SELECT shop.sell('my', 30, 'a', '2021-02-27 12:00+00', 60), shop.sell('my', 31, 'a', '2021-02-28 12:00+00', 60), shop.sell('my', 32, 'a', '2022-02-27 12:00+00', 40) \gset
SELECT is(shop.tiers('my', 'a', '2021-02-28 12:00+00, 2022-02-27 11:59+00, 2022-02-27 12:00+00, 2022-02-28 00:00+00'),
	'Basic Basic Silver Basic', 'membership year of somebody who enrolled on a leap day');
-- alternatives: 500 a month or 1,000 a year or 20 orders a year
SELECT shop.club('al') \gset
SELECT loyalty.set_tier_policy('al', time_window => 'calendar_year') \gset
SELECT loyalty.set_tier('al', 'VIP', 1000) \gset
SELECT loyalty.set_tier_path('al', 'VIP', 'amount', 'rolling', 1, 500) \gset
SELECT loyalty.set_tier_path('al', 'VIP', 'documents', 'calendar_year', NULL, 20) \gset
SELECT shop.sell('al', 40, 'month', '2024-05-31 12:00+00', 300), shop.sell('al', 41, 'month', '2024-06-29 12:00+00', 200) \gset
SELECT is(loyalty.tier('al', 'month', '2024-06-29 12:00+00'), 'VIP', '500 within a month');
SELECT is(loyalty.tier('al', 'month', '2024-07-01 00:00+00'), 'Gold', 'and no longer');
SELECT shop.sell('al', 42, 'year', '2024-01-01 12:00+00', 499), shop.sell('al', 43, 'year', '2024-04-01 12:00+00', 499), shop.sell('al', 44, 'year', '2024-07-01 12:00+00', 2) \gset
SELECT is(shop.tiers('al', 'year', '2024-06-30 12:00+00, 2024-07-01 12:00+00'), 'Gold VIP', '1,000 a year');
SELECT shop.sell('al', 400 + i, 'orders', '2024-01-01 12:00+00'::timestamptz + i * interval '10 days', 1) FROM generate_series(1, 20) i \g /dev/null
SELECT is(shop.tiers('al', 'orders', '2024-07-09 12:00+00, 2024-07-19 12:00+00'), 'Basic VIP', '20 orders a year');
SELECT loyalty.set_tier_path('al', 'VIP', 'documents', 'calendar_year', NULL, NULL) \gset
SELECT is((SELECT count(*) FROM loyalty.tier_path p JOIN loyalty.tier t USING (tier_id) WHERE t.name = 'VIP'), 1::bigint, 'a path is taken away');

-- crossing; what a sale is later changed to; a return
SELECT shop.club('new'), shop.club('old', crossing => 'old') \gset
SELECT loyalty.set_tier_policy(p, time_window => 'rolling', months => 12, retention => 12) FROM unnest('{new,old}'::text[]) p \g /dev/null
SELECT shop.sell('new', 50, 'a', '2024-01-01', 60), shop.sell('new', 51, 'a', '2024-01-02', 60), shop.sell('new', 52, 'a', '2024-01-03', 10) \gset
SELECT shop.sell('old', 60, 'a', '2024-01-01', 60), shop.sell('old', 61, 'a', '2024-01-02', 60), shop.sell('old', 62, 'a', '2024-01-03', 10) \gset
SELECT is(shop.booked('new', '51'), 120::numeric, 'crossing new: the document that crosses earns at the new tier');
SELECT is(shop.booked('old', '61'), 60::numeric, 'crossing old: at the old one');
SELECT is(shop.booked('old', '62'), 20::numeric, 'and the next at the new one');
UPDATE shop.invoice SET total = 30 WHERE id = 51;
SELECT is(shop.booked('new', '51'), 30::numeric, 'a sale that is changed is priced from the figures before it');
SELECT is(loyalty.tier('new', 'a', '2024-02-01'), 'Silver', '60 + 30 + 10: the last one crosses now');
SELECT is(shop.booked('new', '52'), 20::numeric, 'which has what it had');
SELECT shop.sell('new', 53, 'a', '2024-03-01', -5, 50) \gset
SELECT is(shop.tiers('new', 'a', '2024-02-29 23:00+00, 2024-03-01 12:00+00'), 'Silver Basic', 'a return takes the tier at once, not before');
SELECT is(shop.history('new', 'a'), '2024-01-03 Basic>Silver reached, 2024-03-01 Silver>Basic return', 'and says so');
SELECT shop.sell('new', 54, 'a', '2024-03-02', 5) \gset
SELECT is(loyalty.tier('new', 'a', '2024-03-03'), 'Silver', 'reached again');
-- points earned are the figure: what is spent, or expires, is no matter
SELECT shop.club('pts') \gset
SELECT loyalty.set_redemption('pts', 0.1), loyalty.set_expiry('pts', '10 days') \gset
SELECT loyalty.set_tier_policy('pts', metric => 'points', time_window => 'rolling', months => 12, retention => 12) \gset
SELECT shop.sell('pts', 65, 'a', '2024-01-01 12:00+00', 40), shop.sell('pts', 66, 'a', '2024-01-02 12:00+00', 61) \gset
SELECT points FROM loyalty.redeem('pts', 'a', 80, 'k1', at => '2024-01-05 12:00+00') \gset
SELECT done FROM loyalty.expire_points('2024-01-20') \gset
SELECT is(shop.tiers('pts', 'a', '2024-01-05 13:00+00, 2024-01-20'), 'Silver Silver', 'neither takes a tier');
SELECT is(loyalty.balance('pts', 'a', '2024-01-20'), 0.00, 'nothing is left');

-- retention, grace and the three demotions
SELECT shop.club(p) FROM unnest('{none,one,earned}'::text[]) p \g /dev/null
SELECT loyalty.set_tier_policy(p, time_window => 'rolling', months => 12, retention => 12, grace_days => 10,
	demotion => CASE p WHEN 'none' THEN 'none' WHEN 'one' THEN 'one_level' ELSE 'to_earned' END) FROM unnest('{none,one,earned}'::text[]) p \g /dev/null
SELECT shop.sell(p, 100 * n::integer + 1001, 'a', '2023-03-10 12:00+00', 250) FROM unnest('{none,one,earned}'::text[]) WITH ORDINALITY u (p, n) \g /dev/null
SELECT is(shop.tiers('earned', 'a', '2024-03-10 23:59+00, 2024-03-20 23:59:59+00, 2024-03-21 00:00+00'), 'Gold Gold Basic', 'to_earned, after the grace');
SELECT is(shop.tiers('one', 'a', '2024-03-20 23:59:59+00, 2024-03-21 00:00+00, 2025-03-30 23:59:59+00, 2025-03-31 00:00+00'), 'Gold Silver Silver Basic', 'one_level, a year each');
SELECT is(shop.tiers('none', 'a', '2034-03-21 00:00+00'), 'Gold', 'none: never');
SELECT shop.sell('earned', 310, 'g', '2023-03-10 12:00+00', 250), shop.sell('earned', 311, 'g', '2023-12-01 12:00+00', 120), shop.sell('earned', 312, 'g', '2024-03-20 12:00+00', 80) \gset
SELECT is(shop.tiers('earned', 'g', '2024-03-20 11:00+00, 2024-03-21 00:00+00, 2025-03-20 00:00+00'), 'Gold Gold Gold', 'kept within the grace');
SELECT is((SELECT t.until FROM loyalty.tier_progress('earned', 'g', '2024-04-01') t LIMIT 1), '2025-03-10'::date, 'and renewed from the requalification date');
SELECT is(shop.history('earned', 'g'), '2023-03-10 Basic>Gold reached, 2024-03-20 Gold>Gold review, 2025-03-21 Gold>Basic review', 'renewals are in the history');
-- spend 50 within the year or drop one level
SELECT shop.club('keep') \gset
SELECT loyalty.set_tier('keep', 'Silver', 100, keep_threshold => 50), loyalty.set_tier('keep', 'Gold', 200, keep_threshold => 50) \gset
SELECT loyalty.set_tier_policy('keep', retention => 12, demotion => 'one_level') \gset
SELECT shop.sell('keep', 70, 'a', '2020-01-10', 300), shop.sell('keep', 71, 'a', '2021-01-10', 50), shop.sell('keep', 72, 'a', '2022-01-10', 49), shop.sell('keep', 73, 'a', '2022-05-01', 49), shop.sell('keep', 74, 'a', '2022-06-01', 1) \gset
SELECT is(shop.tiers('keep', 'a', '2021-01-11 12:00+00, 2022-01-10 23:00+00, 2022-01-11 12:00+00, 2022-05-02 00:00+00, 2022-06-02 00:00+00, 2023-06-02 12:00+00'),
	'Gold Gold Silver Silver Gold Silver', 'spend 50 within the year or drop one level; 50 since then regain it');
-- returns keep: only the next review counts them
SELECT shop.club('rk') \gset
SELECT loyalty.set_tier_policy('rk', time_window => 'calendar_year', retention => 12, returns => 'keep') \gset
SELECT shop.sell('rk', 80, 'a', '2024-05-01', 120), shop.sell('rk', 81, 'a', '2024-06-01', -100, 80) \gset
SELECT is(shop.tiers('rk', 'a', '2024-06-02, 2025-12-31 23:00+00, 2026-01-01 00:00+00'), 'Silver Silver Basic', 'returns keep, to the end of the year');

-- other metrics: points earned, growth
SELECT shop.club('pt'), shop.club('gr') \gset
SELECT loyalty.set_tier_policy('pt', 'points') \gset
SELECT loyalty.set_rule('pt', 'base', 2, 1) \gset
SELECT shop.sell('pt', 90, 'a', '2024-01-01', 40), shop.sell('pt', 91, 'a', '2024-01-02', 10), shop.sell('pt', 92, 'b', '2024-01-01', 49) \gset
SELECT is(shop.booked('pt', '91'), 40::numeric, 'points: the document whose points cross earns at the new tier');
SELECT loyalty.adjust('pt', 'b', 1000, 'a present', 'p1') \gset
SELECT is(loyalty.tier('pt', 'b'), 'Basic', 'points given by hand do not qualify');
SELECT loyalty.set_redemption('pt', 0.1) \gset
SELECT loyalty.redeem('pt', 'a', 120, 'r1') \gset
SELECT is(loyalty.tier('pt', 'a'), 'Silver', 'points that were spent do');
SELECT loyalty.set_tier_policy('gr', 'growth') \gset
SELECT loyalty.enrol('gr', 'a', '2024-01-01') \gset
SELECT loyalty.record_growth('gr', 'a', 99, 'g1', 'a course', '2024-01-02'), loyalty.record_growth('gr', 'a', 1, 'g2', NULL, '2024-02-02'), loyalty.record_growth('gr', 'a', 1, 'g2', NULL, '2024-02-02') \gset
SELECT is(shop.tiers('gr', 'a', '2024-01-03, 2024-02-03'), 'Basic Silver', 'growth values count once');
SELECT throws_ok($$SELECT loyalty.record_growth('gr', 'a', 2, 'g2')$$, 'LY012', NULL, 'a key has one value');
SELECT throws_ok($$SELECT loyalty.record_growth('gr', 'a', 'NaN', 'g3')$$, '22023', NULL, 'NaN is none');

-- overrides
SELECT is(loyalty.override_tier('one', 'a', 'Gold', '2024-06-30', 'a complaint', 'o1', '2024-05-01 12:00+00'), 'o1', 'an override');
SELECT is(loyalty.override_tier('one', 'a', 'Gold', '2024-06-30', 'a complaint', 'o1', '2024-05-01 12:00+00'), 'o1', 'is recorded once');
SELECT is(shop.tiers('one', 'a', '2024-05-01 11:59+00, 2024-05-01 12:00+00, 2024-06-30 23:59:59+00, 2024-07-01 00:00+00'), 'Silver Gold Gold Silver', 'at least this tier until then');
SELECT is(loyalty.end_override('one', 'a', 'o1', '2024-06-01 00:00+00'), 1, 'ended early');
SELECT is(shop.tiers('one', 'a', '2024-05-31 23:59:59+00, 2024-06-01 00:00+00'), 'Gold Silver', 'it is over');
SELECT throws_ok($$SELECT loyalty.override_tier('one', 'a', 'Gold', '2999-07-31', 'a complaint', 'o1')$$, 'LY012', NULL, 'another override under the same key');
SELECT throws_ok($$SELECT loyalty.override_tier('one', 'a', 'Gold', '2020-07-31', 'late', 'o2')$$, '22023', NULL, 'an override that is over');
SELECT throws_ok($$SELECT loyalty.override_tier('one', 'a', 'Tin', '2999-07-31', 'late', 'o2')$$, 'LY001', NULL, 'no such tier');
SELECT throws_ok($$SELECT loyalty.override_tier('one', 'nobody', 'Gold', '2999-07-31', 'late', 'o2')$$, 'LY001', NULL, 'no such member');
-- on a plain ladder, in force now
SELECT shop.club('pl') \gset
SELECT shop.sell('pl', 500, 'a', '2024-01-01', 10) \gset
SELECT loyalty.override_tier('pl', 'a', 'Gold', (now() + interval '5 days')::date, 'a test', at => now() - interval '1 day') \gset
SELECT is(loyalty.tier('pl', 'a'), 'Gold', 'override of a plain ladder');
SELECT is((SELECT tier FROM loyalty.member_tier WHERE program = 'pl'), 'Gold', 'as the view has it');
SELECT shop.sell('pl', 501, 'a', now(), 10) \gset
SELECT is(shop.booked('pl', '501'), 30::numeric, 'a sale earns at it');
SELECT is(loyalty.tier('pl', 'a', now() + interval '7 days'), 'Basic', 'then what is earned');
SELECT is(loyalty.end_override('pl', 'a'), 1, 'ended');
SELECT is(shop.tier('pl', 'a'), 'Basic', 'at once');

-- gifts: once per period, not taken back, and not for an override
SELECT shop.club('gi') \gset
SELECT loyalty.set_tier('gi', 'Silver', 100, 2, benefits => '{"lounge": true}', discount => 5, gift_points => 500, gift_voucher => 10) \gset
SELECT shop.sell('gi', 600, 'a', '2024-01-01', 100), shop.sell('gi', 601, 'a', '2024-01-02', -50, 600), shop.sell('gi', 602, 'a', '2024-01-03', 60) \gset
SELECT is((SELECT count(*) || ': ' || sum(e.points) FROM shop.entry e JOIN shop.member m USING (member_id) WHERE m.program_id = loyalty.program_id('gi') AND e.kind = 'adjust'),
	'1: 500.00', 'reached, lost and reached again: one gift');
SELECT is((SELECT count(*) FROM loyalty.voucher v WHERE v.program_id = loyalty.program_id('gi') AND v.origin = 'tier' AND v.value = 10), 1::bigint, 'and one voucher');
SELECT is((SELECT discount || ' ' || benefits FROM loyalty.member_tier WHERE program = 'gi'), '5.00 {"lounge": true}', 'benefits can be read');
SELECT shop.sell('gi', 603, 'b', '2024-01-01', 10) \gset
SELECT loyalty.override_tier('gi', 'b', 'Silver', '2999-01-01', 'a friend') \gset
SELECT is((SELECT string_agg(concat_ws(' ', o.points, o.balance, o.available), '; ') FROM loyalty.operation o WHERE o.key LIKE 'gift:%' AND o.member_id = loyalty.member_id('gi', 'a')),
	'500.00 700.00 700.00', 'a gift''s record tells the balance with it');
SELECT is((SELECT balance FROM shop.member WHERE member_id = loyalty.member_id('gi', 'b')), 10.00, 'an override brings no gift');
SELECT loyalty.set_tier_policy('gi', time_window => 'calendar_year') \gset
SELECT shop.sell('gi', 604, 'c', date_trunc('year', now()) - interval '1 month', 100), shop.sell('gi', 605, 'c', date_trunc('year', now()) + interval '1 hour', 100) \gset
SELECT is((SELECT count(*) FROM shop.entry WHERE member_id = loyalty.member_id('gi', 'c') AND kind = 'adjust'), 1::bigint, 'a gift of this year, none for one that is over');

-- progress
SELECT is((SELECT string_agg(concat_ws(' ', purpose, metric, time_window, months, figure, threshold, missing, due), '; ' ORDER BY purpose, metric) FROM loyalty.tier_progress('earned', 'g', '2024-02-01 00:00+00')),
	'keep amount rolling 12 120 200 80 20/03/2024', 'what is missing to keep it, through the grace');
SELECT is((SELECT DISTINCT concat_ws(' ', tier, since, until, next_tier, projected_tier) FROM loyalty.tier_progress('earned', 'g', '2024-02-01 00:00+00')),
	'Gold 10/03/2023 10/03/2024 Silver', 'where he is, and where he will be');
SELECT is((SELECT string_agg(concat_ws(' ', metric, time_window, months, figure, missing), '; ' ORDER BY time_window) FROM loyalty.tier_progress('al', 'month', '2024-06-30 12:00+00') WHERE purpose = 'keep'),
	'amount calendar_year 500 500; amount rolling 1 200 300', 'every way is told of');
SELECT is((SELECT string_agg(concat_ws(' ', next_tier, metric, figure, threshold, missing), '; ') FROM loyalty.tier_progress('ro', 'a', '2024-09-01') WHERE purpose = 'next'),
	'Gold amount 100 200 100', 'to the next tier');
SELECT is((SELECT count(*) FROM loyalty.tier_progress('ro', 'nobody')), 0::bigint, 'nobody has no progress');
-- below the lowest tier of a programme whose lowest tier has a threshold
SELECT loyalty.create_program('steep', 'UTC') \gset
SELECT loyalty.set_rule('steep', 'base', 1, 1) \gset
SELECT loyalty.set_tier('steep', 'silver', 100) \gset
SELECT loyalty.set_tier_policy('steep', 'amount', 'rolling', 12) \gset
CREATE TABLE shop.steep (LIKE shop.invoice INCLUDING ALL);
SELECT loyalty.attach('steep', 'steep', 'shop.steep', 'r.id', 'r.customer', 'r.at', amount => 'r.total', evaluate => 'statement') \gset
INSERT INTO shop.steep (id, customer, total, at) VALUES (1, 's', -100, '2024-01-10 12:00+00'), (2, 's', 150, '2024-12-01 12:00+00');
SELECT is((SELECT string_agg(concat_ws(' ', tier, next_tier, purpose, trim_scale(figure), trim_scale(missing)), '; ') FROM loyalty.tier_progress('steep', 's', '2024-12-05')),
	'silver next 50 50', 'who is below the lowest tier is told what it takes');
-- a quote earns at the tier of its day
SELECT is((SELECT points FROM loyalty.quote_earn('earned', 'g', 10, at => '2024-02-01') ORDER BY step DESC LIMIT 1), 30::numeric, 'a quote at the tier of its day');
SELECT is((SELECT points FROM loyalty.quote_earn('earned', 'g', 10, at => '2025-06-01') ORDER BY step DESC LIMIT 1), 10::numeric, 'and of another');

-- settings: what was written down stays, what follows is by the new ones
SELECT is(shop.history('cy', 'a'), '2024-12-31 Basic>Silver reached, 2025-01-01 Silver>Basic review', 'before');
SELECT loyalty.set_tier_policy('cy') \gset
SELECT matches(shop.history('cy', 'a'), '^2024-12-31 Basic>Silver reached, 2025-01-01 Silver>Basic review, [0-9-]+ Basic>Silver settings$', 'a change of settings is one of the history');
SELECT is(shop.tiers('cy', 'a', '2024-12-31 23:59:59+00, 2025-06-01'), 'Silver Basic', 'the past stays');
SELECT is(loyalty.tier('cy', 'a'), 'Silver', 'lifetime: 160');
SELECT throws_ok($$SELECT loyalty.set_tier_policy('cy', demotion => 'one_level')$$, '22023', 'without retention there are no reviews', 'one_level needs retention');
SELECT throws_ok($$SELECT loyalty.set_tier_policy('cy', time_window => 'rolling')$$, '22023', NULL, 'rolling needs months');
SELECT throws_ok($$SELECT loyalty.set_tier_policy('cy', 'miles')$$, '22023', NULL, 'no such metric');
SELECT throws_ok($$SELECT loyalty.set_tier_path('cy', 'Gold', 'amount', 'lifetime', 3, 1)$$, '22023', NULL, 'months of a lifetime');
SELECT throws_ok($$SELECT loyalty.set_tier('cy', 'Basic', 0, keep_threshold => 5)$$, '22023', NULL, 'a tier that everybody has is kept');
SELECT throws_ok(format('SELECT loyalty.set_tier(''w'', ''Big'', 12345, %s)', a), '22023', NULL, 'no tier: ' || a)
	FROM unnest('{gift_voucher => 1e16,gift_points => 1e16,gift_points => 0.001}'::text[]) a;
SELECT throws_ok($$SELECT loyalty.review_tiers('infinity')$$, '22023', NULL, 'a review at no instant');
SELECT throws_ok($$UPDATE loyalty.tier_change SET reason = 'return'$$, 'LY004', NULL, 'the history is the engine''s');

-- a merge moves what qualifies
SELECT shop.club('me') \gset
SELECT loyalty.set_tier_policy('me', time_window => 'rolling', months => 12, retention => 12) \gset
SELECT shop.sell('me', 700, 'a', '2024-01-01', 60), shop.sell('me', 701, 'b', '2024-01-02', 60) \gset
SELECT loyalty.merge_customers('me', 'a', 'b') \gset
SELECT is(shop.tiers('me', 'b', '2024-01-01 12:00+00, 2024-01-03'), 'Basic Silver', 'what a merged customer bought is the other one''s');
SELECT shop.sell('me', 702, 'a', '2024-02-01', 100) \gset
SELECT is(loyalty.tier('me', 'a', '2024-02-02'), 'Gold', 'and what he buys later');
SELECT * FROM shop.clean();
-- check() sees a wrong tier, a wrong day and a wrong history
CREATE FUNCTION shop.finds(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v text;
BEGIN
	ALTER TABLE loyalty.member DISABLE TRIGGER guard;
	ALTER TABLE loyalty.tier_change DISABLE TRIGGER guard;
	EXECUTE change;
	SELECT string_agg(DISTINCT problem, '; ') INTO v FROM loyalty.check();
	RAISE EXCEPTION USING ERRCODE = 'P0001', MESSAGE = coalesce(v, 'nothing');
EXCEPTION WHEN raise_exception THEN
	RETURN SQLERRM;
END $$;
SELECT is(shop.finds('SELECT 1'), 'nothing', 'check(): nothing is changed yet');
SELECT is(shop.finds($$UPDATE loyalty.member SET tier_until = tier_until + 1 WHERE member_id = (SELECT min(member_id) FROM loyalty.member WHERE tier_until IS NOT NULL)$$), 'tier is not what the member''s documents and reviews give', 'check(): a wrong last day');
SELECT is(shop.finds($$UPDATE loyalty.member SET tier_since = tier_since + 1 WHERE member_id = loyalty.member_id('one', 'a')$$), 'tier is not what the member''s documents and reviews give', 'check(): a wrong day');
SELECT is(shop.finds($$UPDATE loyalty.tier_change SET from_tier = to_tier WHERE member_id = loyalty.member_id('one', 'a') AND n = 2$$), 'history of tiers has a gap', 'check(): a gap in the history');
SELECT is(shop.finds($$UPDATE loyalty.member SET tier_id = NULL WHERE member_id = loyalty.member_id('w', 'a')$$), 'history of tiers does not lead to the tier; tier is not the one that is reached', 'check(): a wrong tier');
SELECT * FROM finish();
ROLLBACK;
