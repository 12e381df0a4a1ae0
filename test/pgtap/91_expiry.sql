-- How long points last: settings, dates, and that every figure is right at
-- every instant, whether or not upkeep has written anything down.
\ir common.psql
SELECT no_plan();

-- what the settings mean
SELECT is(loyalty.expires_on(s, d), e, s || ' from ' || d) FROM (VALUES
	('never', '2024-01-31'::date, 'infinity'::date),
	('90 days', '2024-01-31', '2024-04-30'),
	('1 month', '2024-01-31', '2024-02-29'), ('1 month', '2023-01-31', '2023-02-28'), ('13 months', '2023-01-31', '2024-02-29'),
	('12 months', '2024-02-29', '2025-02-28'), ('4 years', '2024-02-29', '2028-02-29'), (' 2  Years ', '2024-05-05', '2026-05-05'),
	('end of month', '2024-02-01', '2024-02-29'), ('end of month + 1', '2024-01-31', '2024-02-29'), ('end of month + 12', '2023-02-03', '2024-02-29'),
	('end of quarter', '2024-05-31', '2024-06-30'), ('end of quarter + 3', '2024-12-31', '2025-09-30'),
	('end of year', '2024-01-01', '2024-12-31'), ('end of year + 1 year', '2024-12-31', '2025-12-31'),
	('every 03-31', '2024-03-31', '2024-03-31'), ('every 03-31', '2024-04-01', '2025-03-31'), ('every 02-29', '2024-03-01', '2025-02-28'),
	('every 02-29', '2023-03-01', '2024-02-29'), ('every 3-31 + 1', '2024-01-01', '2025-03-31'), ('0 days', '2024-01-01', '2024-01-01')) v (s, d, e);
SELECT throws_ok(format('SELECT loyalty.expires_on(%L, %L)', s, '2024-01-01'), '22023', NULL, 'no expiry: ' || s)
	FROM unnest('{"",soon,12,"12 moons","-1 days","end of week","every 13-01","every 02-30","end of year +","never ever","99999999 days","every 0-1"}'::text[]) s;

SELECT loyalty.create_program('tab', 'Pacific/Auckland', point_unit => 0.01) \gset
SELECT loyalty.set_tier('tab', 'plain', 0) \gset
SELECT loyalty.set_tier('tab', 'gold', 1000) \gset
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset
SELECT loyalty.set_redemption('tab', 0.1) \gset
SELECT throws_ok($$SELECT loyalty.set_expiry('tab', 'sometime')$$, '22023', NULL, 'a setting that says nothing');
SELECT throws_ok($$SELECT loyalty.set_expiry('tab', NULL)$$, '22004', NULL, 'or NULL');
SELECT throws_ok($$SELECT loyalty.set_expiry('tab', '1 year', lapse_after => 'end of year')$$, '22023', NULL, 'a lapse is a length of time');
SELECT throws_ok($$SELECT loyalty.set_expiry('tab', '1 year', lapse_activities => '{sleep}')$$, '22023', NULL, 'of known activities');
SELECT throws_ok($$SELECT loyalty.set_expiry('tab', '1 year', usable_after => -1)$$, '22023', NULL, 'not before the sale');
SELECT throws_ok($$SELECT loyalty.set_expiry('tab', '1 year', points_until => '-infinity')$$, '22023', NULL, 'with a last day that there was');
SELECT throws_ok($$SELECT loyalty.set_expiry('none', '1 year')$$, 'LY001', NULL, 'of a programme');
SELECT throws_ok($$SELECT loyalty.set_tier_expiry('tab', 'none', '1 year')$$, 'LY001', NULL, 'or a tier that exists');
SELECT throws_ok($$SELECT loyalty.set_rule('tab', 'x', kind => 'multiplier', factor => 2, expires => '1 year')$$, '22023', NULL, 'only what gives points says when they expire');
SELECT throws_ok($$UPDATE loyalty.expiry_policy SET expires = 'x'$$, '22023', NULL, 'even by hand') FROM loyalty.set_expiry('tab', '1 month');

SELECT shop.attach('inv', 'tab') \gset
CREATE FUNCTION shop.lots(c text, p text DEFAULT 'tab') RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s:%s%s', CASE WHEN l.expires_on = 'infinity' THEN 'infinity' ELSE to_char(l.expires_on, 'YYMMDD') END, trim_scale(l.remaining),
		CASE WHEN l.expired > 0 THEN '-' || trim_scale(l.expired) END), ' ' ORDER BY l.seq)
	FROM loyalty.lot l WHERE l.member_id = loyalty.member_id(p, c) $$;
-- write down all that is due, in small bites
CREATE FUNCTION shop.upkeep(as_of timestamptz, OUT lots bigint) LANGUAGE plpgsql AS $$
DECLARE
	v_after bigint := 0;
	v_done bigint;
BEGIN
	lots := 0;
	LOOP
		SELECT e.last, e.done INTO v_after, v_done FROM loyalty.expire_points(as_of, v_after, 2) e;
		EXIT WHEN v_after IS NULL;
		lots := lots + v_done;
	END LOOP;
END $$;

-- days are the programme's: 2024-03-10 12:00 UTC is the 11th in Auckland
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'ann', 100);
SELECT loyalty.settle() \gset
SELECT is(shop.lots('ann'), '240411:100', 'a lot has its day');
SELECT is(loyalty.available('tab', 'ann', '2024-04-11 23:59:59.999999 Pacific/Auckland'), 100.00, 'points are valid through it');
SELECT is(loyalty.available('tab', 'ann', '2024-04-12 00:00 Pacific/Auckland'), 0.00, 'and not a moment longer');
SELECT is(loyalty.balance('tab', 'ann', '2024-04-11 23:59:59 Pacific/Auckland'), 100.00, 'so says the balance');
SELECT is(loyalty.balance('tab', 'ann', '2024-04-12 00:00 Pacific/Auckland'), 0.00, 'no job needed');
SELECT is(loyalty.balance('tab', 'ann'), 0.00, 'today they are gone');
SELECT is(balance, 0.00::numeric(18,2), 'in views, too') FROM loyalty.member_points WHERE program = 'tab' AND customer = 'ann';
SELECT is(balance, 0.00::numeric(18,2), 'in all of them') FROM loyalty.member_balance WHERE program = 'tab' AND customer = 'ann';
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'ann', 1, 'late')$$, 'LY010', NULL, 'what expired cannot be spent');
SELECT is_empty('SELECT * FROM loyalty.check()', 'nothing is written down, all is well');

-- upkeep writes it down, once
SELECT is(shop.upkeep('2024-04-11 11:59 UTC'), 0::bigint, 'not before its time');
SELECT is(shop.upkeep('2024-04-11 12:00 UTC'), 1::bigint, 'then one lot expires');
SELECT is(shop.upkeep('2024-04-11 12:00 UTC'), 0::bigint, 'once');
SELECT is(shop.lots('ann'), '240411:0-100', 'the lot says what it lost');
SELECT results_eq($$SELECT kind, points::numeric, occurred_at FROM shop.entry ORDER BY seq DESC LIMIT 1$$,
	$$VALUES ('expire', -100.00, '2024-04-12 00:00 Pacific/Auckland'::timestamptz)$$, 'by an entry of the first instant after it');
SELECT is(loyalty.balance('tab', 'ann', '2024-04-11 23:59:59 Pacific/Auckland'), 100.00, 'the past stays what it was');
SELECT is(loyalty.balance('tab', 'ann', '2024-04-12 00:00 Pacific/Auckland'), 0.00, 'to the instant');
SELECT is(loyalty.available('tab', 'ann', '2024-04-11 23:59:59 Pacific/Auckland'), 100.00, 'what could be spent then');
SELECT is_empty('SELECT * FROM loyalty.check()', 'and all is well');

-- a spend that happened before and is booked after it
SELECT results_eq($$SELECT points, balance, available FROM loyalty.redeem('tab', 'ann', 30, 'offline', at => '2024-04-10 12:00 UTC')$$,
	$$VALUES (30.00::numeric(18,2), 70.00::numeric(18,2), 70.00::numeric(18,2))$$, 'a till that was offline');
SELECT is(shop.lots('ann'), '240411:0-70', 'took from what was there');
SELECT is(loyalty.balance('tab', 'ann', '2024-04-12 00:00 Pacific/Auckland'), 0.00, 'nobody owes anything');
SELECT is(loyalty.balance('tab', 'ann', '2024-04-11 12:00 Pacific/Auckland'), 70.00, 'and so it was');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');
-- goods that come back take what they earned, though it expired: nothing is owed
UPDATE shop.invoice SET cancelled = true WHERE id = 1;
SELECT loyalty.settle() \gset
SELECT is(shop.lots('ann'), '240411:0 infinity:-30', 'only what was spent is owed');
UPDATE shop.invoice SET cancelled = false WHERE id = 1;
SELECT loyalty.settle() \gset
SELECT is(shop.lots('ann'), '240411:70 infinity:0', 'and back');
SELECT is(loyalty.balance('tab', 'ann'), 0.00, 'without new life');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');

-- tiers and rules have their own word
SELECT loyalty.set_expiry('tab', '12 months') \gset
SELECT loyalty.set_tier_expiry('tab', 'gold', 'never') \gset
SELECT loyalty.set_rule('tab', 'bonus', kind => 'bonus', points => 20, condition => $$invoice.channel = 'app'$$, expires => '10 days') \gset
INSERT INTO shop.invoice (id, customer, total, channel, at) VALUES (10, 'bob', 100, 'app', '2025-01-01 00:00 Pacific/Auckland'), (11, 'cat', 1000, NULL, '2025-01-01 00:00 Pacific/Auckland'),
	(12, 'dan', 2000, 'app', '2025-01-01 00:00 Pacific/Auckland');
SELECT loyalty.settle() \gset
SELECT is(shop.lots('bob'), '250111:20 260101:100', 'a rule''s points have their own day');
SELECT is(shop.lots('cat'), 'infinity:1000', 'and a tier''s');
SELECT is(shop.lots('dan'), '250111:20 infinity:2000', 'the rule before the tier');
SELECT results_eq($$SELECT kind, points::numeric, prev_seq FROM loyalty.entry WHERE member_id = loyalty.member_id('tab', 'bob') ORDER BY seq$$,
	$$VALUES ('earn', 20.00, NULL::bigint), ('earn', 100.00, 1)$$, 'an entry for each day');
UPDATE shop.invoice SET total = 110 WHERE id = 10;
SELECT loyalty.settle() \gset
SELECT is(shop.lots('bob'), '250111:20 260101:100 260101:10', 'what an edit adds is of the kind that grew');
UPDATE shop.invoice SET channel = NULL WHERE id = 10;
SELECT loyalty.settle() \gset
SELECT is(shop.lots('bob'), '250111:0 260101:100 260101:10', 'what it takes, too');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');
SELECT is(loyalty.adjust('tab', 'bob', 5, 'sorry', 'adj', at => '2025-02-01 00:00 Pacific/Auckland') IS NOT NULL, true, 'staff gives points');
SELECT is(shop.lots('bob'), '250111:0 260101:100 260101:10 260201:5', 'for as long as the programme says');

-- opening balances come with their own day
SELECT loyalty.enrol('tab', 'eve') \gset
SELECT balance FROM loyalty.adjust('tab', 'eve', 7, 'old card', 'o1', '2025-01-31', '2025-01-01') \gset
SELECT balance FROM loyalty.adjust('tab', 'eve', 8, 'old card', 'o2', 'infinity', '2025-01-01') \gset
SELECT is(shop.lots('eve'), '250131:7 infinity:8', 'what is imported keeps it');

-- the end of the programme ends all points
SELECT loyalty.set_expiry('tab', '12 months', points_until => '2025-06-30') \gset
SELECT is(loyalty.available('tab', 'cat', '2025-06-30 23:59 Pacific/Auckland'), 1000.00, 'until the last day');
SELECT is(loyalty.available('tab', 'cat', '2025-07-01 00:00 Pacific/Auckland'), 0.00, 'then no more');
SELECT is(loyalty.balance('tab', 'dan', '2025-07-01 00:00 Pacific/Auckland'), 0.00, 'for anybody');
SELECT is(balance, 0.00::numeric(18,2), 'whoever asks') FROM loyalty.member_points WHERE program = 'tab' AND customer = 'cat';
SELECT is(open_points, 0.00::numeric(18,2), 'finance, too') FROM loyalty.points_liability WHERE program = 'tab';
SELECT is(shop.upkeep('2025-07-01 12:00 UTC') > 0, true, 'it is written down');
SELECT is(loyalty.available('tab', 'cat', '2025-06-30 23:59 Pacific/Auckland'), 1000.00, 'the past is the past');
SELECT is(shop.lots('cat'), '250630:0-1000', 'lots end that day');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');

-- no activity, no points
SELECT loyalty.create_program('lapse', 'Europe/Berlin', point_unit => 0.01) \gset
SELECT loyalty.set_rule('lapse', 'base', 1, 1) \gset
SELECT loyalty.set_redemption('lapse', 0.1) \gset
SELECT loyalty.set_expiry('lapse', lapse_after => '6 months', lapse_activities => '{earn,redeem}') \gset
CREATE TABLE shop.slip (LIKE shop.invoice INCLUDING ALL);
SELECT loyalty.attach('slip', 'lapse', 'shop.slip', key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total', void => 'r.cancelled',
	return_of => 'r.return_of') \gset
INSERT INTO shop.slip (id, customer, total, at) VALUES (1, 'ann', 100, '2024-01-31 10:00+01'), (2, 'ann', 50, '2024-07-31 10:00+02'), (3, 'bob', 10, '2024-01-31 10:00+01');
SELECT loyalty.settle() \gset
SELECT is(shop.lots('ann', 'lapse'), 'infinity:100 infinity:50', 'who is active keeps his points');
SELECT is(lapses_on, '2025-01-31'::date, 'for another six months') FROM shop.member WHERE customer = 'ann' AND lapses_on IS NOT NULL;
SELECT is(loyalty.available('lapse', 'bob', '2024-07-31 23:59 Europe/Berlin'), 10.00, 'who is not has them through the last day');
SELECT is(loyalty.available('lapse', 'bob', '2024-08-01 00:00 Europe/Berlin'), 0.00, 'and then no more');
SELECT is(loyalty.balance('lapse', 'bob', '2024-08-01 00:00 Europe/Berlin'), 0.00, 'his balance says so');
SELECT is(loyalty.available('lapse', 'ann', '2025-01-31 12:00 Europe/Berlin'), 150.00, 'ann has all');
SELECT points FROM loyalty.redeem('lapse', 'ann', 20, 'r', at => '2025-01-31 12:00 Europe/Berlin') \gset
SELECT is(loyalty.available('lapse', 'ann', '2025-07-31 12:00 Europe/Berlin'), 130.00, 'to spend is an activity');
SELECT is_empty('SELECT * FROM loyalty.check()', 'nothing is written down');
-- he comes back: the old points stay dead
INSERT INTO shop.slip (id, customer, total, at) VALUES (4, 'bob', 5, '2024-09-01 10:00+02');
SELECT loyalty.settle() \gset
SELECT is(shop.lots('bob', 'lapse'), '240731:10 infinity:5', 'who comes back begins anew');
SELECT is(loyalty.balance('lapse', 'bob', '2024-09-02'), 5.00, 'with what he earned since');
SELECT is(loyalty.balance('lapse', 'bob', '2024-07-31 23:59 Europe/Berlin'), 10.00, 'the past is the past');
SELECT is(shop.upkeep('2024-12-31'), 1::bigint, 'it is written down');
SELECT is(loyalty.balance('lapse', 'bob', '2024-09-02'), 5.00, 'the same');
SELECT is(loyalty.balance('lapse', 'bob', '2024-07-31 23:59 Europe/Berlin'), 10.00, 'the same');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');
SELECT loyalty.set_expiry('lapse', lapse_after => '1 year', lapse_activities => '{earn}') \gset
SELECT is(lapses_on, '2025-09-01'::date, 'a longer time counts from the last activity') FROM loyalty.member WHERE member_id = loyalty.member_id('lapse', 'bob');
SELECT is(lapses_on, '2025-07-31'::date, 'of those that count') FROM loyalty.member WHERE member_id = loyalty.member_id('lapse', 'ann');

-- pending: n days after the sale, or after its payment
SELECT loyalty.create_program('wait', 'UTC') \gset
SELECT loyalty.set_rule('wait', 'base', 1, 1) \gset
SELECT loyalty.set_redemption('wait', 0.1, draw_paid => true) \gset
SELECT loyalty.set_expiry('wait', '12 months', usable_after => 14) \gset
CREATE TABLE shop.bill (LIKE shop.invoice INCLUDING ALL);
ALTER TABLE shop.bill ADD paid_on date;
SELECT loyalty.attach('bill', 'wait', 'shop.bill', key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total', void => 'r.cancelled',
	return_of => 'r.return_of', usable_from => 'r.paid_on') \gset
INSERT INTO shop.bill (id, customer, total, at, paid_on) VALUES (1, 'ann', 100, '2024-01-01', '2024-01-01'), (2, 'ann', 50, '2024-01-02', NULL);
SELECT loyalty.settle() \gset
SELECT is(balance || ' ' || pending || ' ' || available, '150.00 150.00 0.00', 'points that must wait are his already') FROM loyalty.points('wait', 'ann', '2024-01-14 23:59Z');
SELECT is(balance || ' ' || pending || ' ' || available, '150.00 50.00 100.00', 'after the days of return') FROM loyalty.points('wait', 'ann', '2024-01-15');
SELECT is(balance || ' ' || pending || ' ' || available, '150.00 50.00 100.00', 'and those not paid for wait on') FROM loyalty.points('wait', 'ann', '2024-06-15');
SELECT throws_ok($$SELECT loyalty.redeem('wait', 'ann', 101, 'r', at => '2024-02-01')$$, 'LY010', NULL, 'they cannot be spent');
SELECT is(quote.points, 100.00::numeric(18,2), 'nor are they offered') FROM loyalty.quote_redemption('wait', 'ann', 1000, at => '2024-02-01') quote;
UPDATE shop.bill SET paid_on = '2024-03-01' WHERE id = 2;
SELECT loyalty.settle() \gset
SELECT is(pending || ' ' || available, '50.00 100.00', 'until they are paid') FROM loyalty.points('wait', 'ann', '2024-02-29');
SELECT is(pending || ' ' || available, '0.00 150.00', 'from that day on') FROM loyalty.points('wait', 'ann', '2024-03-01');
SELECT is((SELECT count(*) FROM loyalty.entry WHERE member_id = loyalty.member_id('wait', 'ann')), 2::bigint, 'no points move for that');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');
UPDATE shop.bill SET paid_on = NULL WHERE id = 2;
SELECT loyalty.settle() \gset
SELECT is(pending || ' ' || available, '50.00 100.00', 'a payment that bounced') FROM loyalty.points('wait', 'ann', '2024-03-01');
-- a return takes what waits first
INSERT INTO shop.bill (id, customer, total, at, paid_on) VALUES (3, 'ann', -60, '2024-03-02', '2024-03-02');
SELECT loyalty.settle() \gset
SELECT is(balance || ' ' || pending || ' ' || available, '90.00 0.00 90.00', 'a return takes pending points first') FROM loyalty.points('wait', 'ann', '2024-03-02');
INSERT INTO shop.bill (id, customer, total, at, paid_on) VALUES (4, 'bob', 10, now(), '2024-03-02');
SELECT loyalty.settle() \gset
SELECT results_eq($$SELECT balance, pending, available FROM loyalty.member_points WHERE program = 'wait' AND customer = 'bob'$$,
	'VALUES (10.00, 10.00, 0.00)', 'the view knows what waits now');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');
SELECT ok(sentence LIKE '%cannot be spent yet%', 'the portal says why') FROM (
	SELECT loyalty.settle(), a.sentence FROM loyalty.answer_points('wait', 'ann', '2024-01-14') a WHERE item = 'pending') x;

-- staff extends what is valid, and gives back what is not
SELECT loyalty.create_program('ext', 'UTC') \gset
SELECT loyalty.set_redemption('ext', 0.1) \gset
SELECT loyalty.set_expiry('ext', '1 month') \gset
SELECT loyalty.enrol('ext', 'ann') \gset
SELECT balance FROM loyalty.adjust('ext', 'ann', 10, 'x', 'a1', at => '2024-01-15') \gset
SELECT balance FROM loyalty.adjust('ext', 'ann', 20, 'x', 'a2', at => '2024-02-20') \gset
SELECT balance FROM loyalty.adjust('ext', 'ann', 30, 'x', 'a3', at => '2024-02-25') \gset
SELECT is(shop.lots('ann', 'ext'), '240215:10 240320:20 240325:30', 'three lots');
SELECT throws_ok($$SELECT loyalty.extend_points('ext', 'ann', '2024-02-28', 'x', 'e0', at => '2024-03-01')$$, '22023', NULL, 'not into the past');
SELECT throws_ok($$SELECT loyalty.extend_points('ext', 'ann', '2024-03-10', 'x', 'e0', at => '2024-03-01')$$, 'LY010', NULL, 'not shorter than it is');
SELECT throws_ok($$SELECT loyalty.extend_points('ext', 'ann', '2024-04-10', ' ', 'e0', at => '2024-03-01')$$, '22023', NULL, 'not without a reason');
SELECT results_eq($$SELECT points, balance FROM loyalty.extend_points('ext', 'ann', '2024-04-10', 'ill', 'e1', '2024-03-20', '2024-03-01')$$,
	$$VALUES (20.00::numeric(18,2), 50.00::numeric(18,2))$$, 'some are extended');
SELECT is(shop.lots('ann', 'ext'), '240215:10 240410:20 240325:30', 'and keep their lot');
SELECT points FROM loyalty.extend_points('ext', 'ann', '2024-04-10', 'ill', 'e1', '2024-03-20', '2024-03-01') \gset
SELECT is(:points, 20.00, 'twice is once');
SELECT is(shop.upkeep('2024-03-28'), 2::bigint, 'upkeep writes down what expired');
SELECT is(loyalty.balance('ext', 'ann', '2024-03-28'), 20.00, 'and not what was extended');
-- as it was before, though it is written down
SELECT is(points, 30.00::numeric(18,2), 'an extension that was forgotten') FROM loyalty.extend_points('ext', 'ann', '2024-04-12', 'ill', 'e2', '2024-03-25', at => '2024-03-24');
SELECT is(shop.lots('ann', 'ext'), '240215:0-10 240410:20 240412:30', 'undoes the expiry');
SELECT is(loyalty.balance('ext', 'ann', '2024-03-28'), 50.00, 'they never expired');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');
SELECT results_eq($$SELECT points, balance FROM loyalty.reinstate_points('ext', 'ann', '2024-04-01', '2024-05-31', 'sorry', 'i1', '2024-04-11')$$,
	$$VALUES (20.00::numeric(18,2), 50.00::numeric(18,2))$$, 'what expired is given anew, though nobody has written it down');
SELECT is(shop.lots('ann', 'ext'), '240215:0-10 240410:0 240412:30 240531:20', 'in a lot of its own');
SELECT throws_ok($$SELECT loyalty.reinstate_points('ext', 'ann', '2024-04-01', '2024-05-31', 'sorry', 'i2', '2024-04-11')$$, 'LY010', NULL, 'once');
SELECT is(points, 10.00::numeric(18,2), 'and what expired earlier') FROM loyalty.reinstate_points('ext', 'ann', '-infinity', 'infinity', 'sorry', 'i3', '2024-04-11');
SELECT is(loyalty.balance('ext', 'ann', '2024-04-11'), 60.00, 'that is all');
SELECT is(loyalty.balance('ext', 'ann', '2024-04-10 23:00+00'), 50.00, 'and the day before is what it was');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');
-- what lapses is extended as a whole
SELECT points FROM loyalty.extend_points('lapse', 'bob', '2026-09-01', 'ill', 'e1', at => '2025-08-01') \gset
SELECT is(loyalty.available('lapse', 'bob', '2026-08-31'), 5.00, 'a lapse can be put off');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');

-- a tier that lets what is there last longer
SELECT loyalty.create_program('loyal', 'UTC') \gset
SELECT loyalty.set_rule('loyal', 'base', 1, 1) \gset
SELECT loyalty.set_tier('loyal', 'plain', 0), loyalty.set_tier('loyal', 'gold', 100) \g /dev/null
SELECT loyalty.set_expiry('loyal', '24 months') \gset
SELECT throws_ok($$SELECT loyalty.set_tier_expiry('loyal', 'gold', NULL, true)$$, '22023', NULL, 'nothing to extend to');
SELECT loyalty.set_tier_expiry('loyal', 'gold', '36 months', extends => true) \gset
CREATE TABLE shop.buy (LIKE shop.invoice INCLUDING ALL);
SELECT loyalty.attach('buy', 'loyal', 'shop.buy', 'r.id', 'r.customer', 'r.at', amount => 'r.total', evaluate => 'statement', return_of => 'r.return_of') \gset
INSERT INTO shop.buy (id, customer, total, at) VALUES (1, 'ann', 60, '2026-03-01'), (2, 'old', 60, '2020-03-01');
SELECT is(shop.lots('ann', 'loyal'), '280301:60', 'as the programme says');
INSERT INTO shop.buy (id, customer, total, at) VALUES (3, 'ann', 60, '2026-05-01'), (4, 'old', 60, '2026-05-01');
SELECT is(shop.lots('ann', 'loyal'), '290301:60 290501:60', 'the tier lets all of it last longer');
SELECT is(shop.lots('old', 'loyal'), '220301:60 290501:60', 'but nothing that has expired');
SELECT is(c.key, 'tier:gold', 'it is noted why') FROM loyalty.lot_change c WHERE c.member_id = loyalty.member_id('loyal', 'ann');
INSERT INTO shop.buy (id, customer, total, at, return_of) VALUES (5, 'ann', -60, '2026-06-01', 3);
SELECT is(shop.lots('ann', 'loyal'), '290301:60 290501:0', 'a return finds its lot');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');

SELECT * FROM finish();
ROLLBACK;
