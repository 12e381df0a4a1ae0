-- Statements: opening and movements add up to closing, and closing is the
-- balance, whatever happened in which order, with nobody having run any job.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'Pacific/Auckland') \gset
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset
SELECT loyalty.set_redemption('tab', 1, restore_grace_days => 14, clerk_limit => 1000) \gset
SELECT shop.attach('inv', 'tab', on_error => 'raise') \gset
SELECT count(loyalty.enrol('tab', c)) FROM unnest(ARRAY['ann', 'bob', 'cat', 'dan', 'eve']) c \gset

-- a statement in one line: what is not zero
CREATE FUNCTION shop.told(c text, since timestamptz, until timestamptz) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(key || ' ' || trim_scale(value::numeric), ', ' ORDER BY n)
	FROM loyalty.period_statement('tab', c, since, until) s, json_each_text(row_to_json(s)) WITH ORDINALITY x (key, value, n)
	WHERE value::numeric <> 0
$$;
CREATE FUNCTION shop.lots(c text, since timestamptz, until timestamptz) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s %s>%s', to_char(earned_on, 'YYMMDD'), coalesce(to_char(expires_on, 'YYMMDD'), 'never'), trim_scale(opening), trim_scale(closing)), ', ')
	FROM loyalty.statement_lots('tab', c, since, until)
$$;

-- by hand: January and February 2040, New Zealand's
INSERT INTO shop.invoice (id, customer, at, total) VALUES (1, 'ann', '2040-01-05 12:00 Pacific/Auckland', 100), (2, 'ann', '2040-02-03 12:00 Pacific/Auckland', 40);
SELECT loyalty.settle() \gset
SELECT points FROM loyalty.adjust('tab', 'ann', 30, 'gift', 'a1', expires_on => '2040-01-31', at => '2040-01-10 12:00 Pacific/Auckland') \gset
SELECT points FROM loyalty.redeem('tab', 'ann', 10, 'r1', at => '2040-01-20 12:00 Pacific/Auckland') \gset
SELECT points FROM loyalty.redeem('tab', 'ann', 15, 'r2', at => '2040-02-05 12:00 Pacific/Auckland') \gset
SELECT points FROM loyalty.cancel_redemption('tab', 'ann', 'r1', at => '2040-02-10 12:00 Pacific/Auckland') \gset
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (3, 'ann', '2040-02-11 12:00 Pacific/Auckland', -20, 1);
SELECT loyalty.settle() \gset
SELECT is(shop.told('ann', '2040-01-01 Pacific/Auckland', '2040-02-01 Pacific/Auckland'), 'earned 100, adjusted 30, spent -10, closing 120', 'January');
SELECT is(shop.told('ann', '2040-02-01 Pacific/Auckland', '2040-03-01 Pacific/Auckland'),
	'opening 120, earned 40, spent -15, given_back 10, expired -30, reversed -20, closing 105', 'February: 20 expire with its first instant, 10 given back for 14 days with their last');
SELECT is(shop.told('ann', '2040-01-31 12:00 Pacific/Auckland', '2040-02-01 Pacific/Auckland'), 'opening 120, closing 120', 'valid through the last day');
SELECT is(shop.told('ann', '2040-01-31 12:00 Pacific/Auckland', '2040-02-01 00:00:00.000001 Pacific/Auckland'), 'opening 120, expired -20, closing 100', 'and no longer');
SELECT is(shop.lots('ann', '2040-02-01 Pacific/Auckland', '2040-02-15 Pacific/Auckland'),
	'400110 400131 20>0, 400210 400224 0>10, 400105 never 100>65, 400203 never 0>40', 'by lot');
SELECT is(loyalty.statement_text('tab', 'ann', '2040-02-01 Pacific/Auckland', '2040-03-01 Pacific/Auckland'),
E'Your points in tab from 2040-02-01 through 2040-02-29:\nOpening balance: 120\nEarned by purchases: +40\nSpent: -15\nGiven back: +10\nExpired: -30\nReturns and corrections: -20\nClosing balance: 105\n105 points do not expire.', 'as text');
SELECT is(split_part(loyalty.statement_text('tab', 'ann', s, 'infinity'), E'\n', 1), t, 'a period without an end')
	FROM (VALUES ('2040-02-01 Pacific/Auckland'::timestamptz, 'Your points in tab from 2040-02-01:'), (NULL, 'Your points in tab:')) v (s, t);
SELECT is(loyalty.statement_text('tab', 'ann', until => '2040-01-20 Pacific/Auckland'),
E'Your points in tab through 2040-01-19:\nOpening balance: 0\nEarned by purchases: +100\nAdjusted: +30\nClosing balance: 130\n30 points are valid through 2040-01-31.\n100 points do not expire.', 'from the beginning');
SELECT is(shop.told('ann', NULL, 'infinity'), 'earned 140, adjusted 30, spent -25, given_back 10, expired -30, reversed -20, closing 105', 'for ever');
SELECT is(shop.told('ann', '2040-02-03 Pacific/Auckland', '2040-02-03 Pacific/Auckland'), 'opening 100, closing 100', 'an empty period');
SELECT is(shop.told('bob', NULL, NULL), NULL, 'nothing for who has nothing');
SELECT is(loyalty.statement_text('tab', 'nobody', NULL, '2040-01-01 Pacific/Auckland'), E'Your points in tab through 2039-12-31:\nOpening balance: 0\nClosing balance: 0', 'nor for who is no member');
SELECT throws_ok($$SELECT loyalty.period_statement('tab', 'ann', '2040-02-01', '2040-01-01')$$, '22023', NULL, 'a period must not end before it begins');
SELECT throws_ok($$SELECT loyalty.period_statement('no', 'ann')$$, 'LY001', NULL, 'an unknown programme');

-- booked late, for an earlier day
INSERT INTO shop.invoice (id, customer, at, total) VALUES (4, 'ann', '2040-01-25 12:00 Pacific/Auckland', 7);
SELECT loyalty.settle() \gset
SELECT is(shop.told('ann', '2040-01-01 Pacific/Auckland', '2040-02-01 Pacific/Auckland'), 'earned 107, adjusted 30, spent -10, closing 127', 'business time counts');

-- a debt, and its repayment
INSERT INTO shop.invoice (id, customer, at, total) VALUES (10, 'cat', '2040-01-05 12:00 Pacific/Auckland', 100);
SELECT loyalty.settle() \gset
SELECT points FROM loyalty.redeem('tab', 'cat', 100, 'c1', at => '2040-01-06 12:00 Pacific/Auckland') \gset
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (11, 'cat', '2040-01-07 12:00 Pacific/Auckland', -60, 10);
INSERT INTO shop.invoice (id, customer, at, total) VALUES (12, 'cat', '2040-02-05 12:00 Pacific/Auckland', 80);
SELECT loyalty.settle() \gset
SELECT is(shop.told('cat', '2040-01-01 Pacific/Auckland', '2040-02-01 Pacific/Auckland'), 'earned 100, spent -100, reversed -60, closing -60', 'owed');
SELECT is(shop.told('cat', '2040-02-01 Pacific/Auckland', '2040-03-01 Pacific/Auckland'), 'opening -60, earned 80, closing 20', 'and repaid');
SELECT matches(loyalty.statement_text('tab', 'cat', NULL, '2040-02-01 Pacific/Auckland'), '60 points are owed\.$', 'the text says so');

-- merged: the other one's statement has it all from that instant on
SELECT points FROM loyalty.adjust('tab', 'dan', 50, 'gift', 'd1', expires_on => '2040-06-30', at => '2040-01-10 12:00 Pacific/Auckland') \gset
SELECT points FROM loyalty.adjust('tab', 'eve', 5, 'gift', 'e1', at => '2040-01-10 12:00 Pacific/Auckland') \gset
SELECT balance FROM loyalty.merge_customers('tab', 'dan', 'eve', at => '2040-02-10 12:00 Pacific/Auckland') \gset
SELECT is(shop.told(c, '2040-02-01 Pacific/Auckland', '2040-03-01 Pacific/Auckland'), 'opening 5, transferred 50, closing 55', 'merged: ' || c) FROM unnest(ARRAY['dan', 'eve']) c;
SELECT is(shop.told('dan', '2040-02-01 Pacific/Auckland', '2040-07-02 Pacific/Auckland'), 'opening 5, transferred 50, expired -50, closing 5', 'points keep their expiry');

-- what is not there is written off: told with what should have been taken
SELECT loyalty.create_program('lax', 'UTC', negative => 'write_off') \gset
SELECT loyalty.set_rule('lax', 'base', 1, 1) \gset
SELECT loyalty.set_redemption('lax', 1) \gset
SELECT loyalty.attach('lax', 'lax', 'shop.invoice', 'r.id', 'r.customer', 'r.at', filter => 'r.note = ''lax''', amount => 'r.total', return_of => 'r.return_of') \gset
INSERT INTO shop.invoice (id, customer, at, total, note) VALUES (20, 'fay', '2040-01-05 12:00+00', 100, 'lax');
SELECT loyalty.settle() \gset
SELECT points FROM loyalty.redeem('lax', 'fay', 80, 'f1', at => '2040-01-06 12:00+00') \gset
INSERT INTO shop.invoice (id, customer, at, total, return_of, note) VALUES (21, 'fay', '2040-01-07 12:00+00', -50, 20, 'lax');
SELECT loyalty.settle() \gset
SELECT results_eq($$SELECT earned, spent, reversed, written_off, closing FROM loyalty.period_statement('lax', 'fay', '2040-01-01 00:00+00', '2040-02-01 00:00+00')$$,
	$$VALUES (100.00, -80.00, -50.00, 30.00, 0.00)$$, 'written off');

-- lives at random, asked at random
\ir life.psql
SELECT setseed(0.4242);
SELECT shop.live(500) \gset
SELECT cmp_ok((SELECT count(DISTINCT e.kind) FROM shop.entry e), '>=', 7::bigint, 'all kinds of entries came about');

CREATE TABLE shop.asked AS
SELECT c, since, since + random() * interval '200 days' AS until
FROM (SELECT 'm' || 1 + floor(random() * 6) AS c,
		CASE WHEN n % 3 = 0 THEN date_trunc('day', x.at AT TIME ZONE 'Pacific/Auckland') AT TIME ZONE 'Pacific/Auckland' ELSE x.at END AS since
	FROM generate_series(1, 250) n
	CROSS JOIN LATERAL (SELECT timestamptz '2041-01-01 00:00+00' + random() * n / n * interval '1100 days' AS at) x) q;
-- and just before, at and after each day on which lots end
INSERT INTO shop.asked
SELECT m.customer, ((l.expires_on + 1)::timestamp AT TIME ZONE 'Pacific/Auckland') + k * interval '1 microsecond', '2045-01-01 00:00+00'
FROM loyalty.lot l JOIN shop.member m USING (member_id) CROSS JOIN generate_series(-1, 1) k
WHERE l.expires_on < 'infinity' AND m.customer ~ '^m[1-5]$' AND l.seq % 3 = 0;
CREATE TABLE shop.answered AS
SELECT a.*, s.*, loyalty.balance('tab', a.c, a.since - interval '1 microsecond') AS due_opening,
	loyalty.balance('tab', a.c, a.until - interval '1 microsecond') AS due_closing
FROM shop.asked a CROSS JOIN LATERAL loyalty.period_statement('tab', a.c, a.since, a.until) s;
SELECT cmp_ok((SELECT count(*) FROM shop.answered WHERE expired <> 0 AND due_closing <> 0), '>', 50::bigint, 'statements to look at');
SELECT is_empty('SELECT * FROM shop.answered WHERE opening <> due_opening OR closing <> due_closing', 'opening and closing are the balances');
SELECT is_empty('SELECT * FROM shop.answered WHERE opening + earned + event + adjusted + transferred + spent + given_back + expired + reversed + written_off <> closing',
	'opening and movements are closing');
SELECT is_empty($$SELECT a.c, a.since, l.* FROM shop.asked a CROSS JOIN LATERAL loyalty.statement_lots('tab', a.c, a.since, a.until) l
	WHERE l.opening + l.earned + l.event + l.adjusted + l.transferred + l.spent + l.given_back + l.expired + l.reversed <> l.closing$$, 'for every lot, too');
SELECT is_empty($$SELECT a.c, a.until, b.opening FROM shop.answered a
	CROSS JOIN LATERAL loyalty.period_statement('tab', a.c, a.until, a.until + interval '30 days') b WHERE b.opening <> a.closing$$, 'a period opens as the one before it closed');
SELECT is_empty($$SELECT a.* FROM shop.answered a
	CROSS JOIN LATERAL (SELECT sum(l.closing) AS closing, sum(l.expired) AS expired FROM loyalty.statement_lots('tab', a.c, a.since, a.until) l) l
	WHERE coalesce(l.closing, 0) <> a.closing OR coalesce(l.expired, 0) <> a.expired$$, 'lots add up to the statement');
-- written down or not
SELECT cmp_ok((SELECT done FROM loyalty.expire_points('2046-01-01')), '>', 20::bigint, 'upkeep');
SELECT is_empty($$SELECT a.c, a.since, a.until FROM shop.answered a CROSS JOIN LATERAL loyalty.period_statement('tab', a.c, a.since, a.until) s
	WHERE (s.opening, s.earned, s.adjusted, s.spent, s.given_back, s.expired, s.reversed, s.closing)
		IS DISTINCT FROM (a.opening, a.earned, a.adjusted, a.spent, a.given_back, a.expired, a.reversed, a.closing)$$, 'changes no statement');
SELECT * FROM shop.clean();
SELECT * FROM finish();
ROLLBACK;
