-- Warnings: points and vouchers that end soon, members who stay away.  Each
-- once per cause and lead time, whenever and however often upkeep runs.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('club', 'Asia/Tokyo') AS club \gset
SELECT loyalty.create_program('silent', 'UTC') \gset
SELECT loyalty.set_rule('club', 'base', 1, 1) \gset
SELECT shop.attach('inv', 'club', evaluate => 'statement') \gset
CREATE FUNCTION shop.told(kind text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT coalesce(string_agg(concat_ws(' ', c.customer, m.cause, trim_scale((m.payload ->> 'points')::numeric), m.payload ->> 'days_left'), ', '
		ORDER BY m.occurred_at, c.customer, m.cause), '')
	FROM loyalty.message m JOIN shop.member c USING (member_id) WHERE m.kind = $1
$$;
-- all members, three at a time; how many messages
CREATE FUNCTION shop.warn(as_of timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	r record;
	v_after bigint := 0;
	v_done bigint := 0;
BEGIN
	LOOP
		r := loyalty.warn_members(as_of, v_after, 3);
		v_done := v_done + r.done;
		EXIT WHEN r.last IS NULL;
		ASSERT r.last > v_after;
		v_after := r.last;
	END LOOP;
	RETURN v_done;
END
$$;
SELECT loyalty.enrol('club', c), loyalty.enrol('silent', c) FROM unnest('{ann,bob,cas,dan,eve,fay,gus}'::text[]) c \g /dev/null
SELECT points FROM loyalty.adjust('club', 'ann', 10, 'x', 'k1', '2024-06-30', '2024-01-01 12:00+00'),
	loyalty.adjust('club', 'ann', 5, 'x', 'k2', '2024-06-30', '2024-01-01 12:00+00') b (p),
	loyalty.adjust('club', 'ann', 3, 'x', 'k3', '2024-12-31', '2024-01-01 12:00+00') c (p),
	loyalty.adjust('club', 'bob', 4, 'x', 'k1', '2024-06-30', '2024-01-01 12:00+00') d (p),
	loyalty.adjust('club', 'cas', 9, 'x', 'k1', NULL, '2024-01-01 12:00+00') e (p),
	loyalty.adjust('silent', 'ann', 9, 'x', 'k1', '2024-06-30', '2024-01-01 12:00+00') f (p) \g /dev/null
SELECT is(shop.warn('2024-06-20 12:00+00'), 0::bigint, 'nothing is switched on');
SELECT loyalty.set_message('club', 'expiring', lead_days => '{30,7,1}') \g /dev/null

-- in the days of the programme: 31 May begins at 15:00 UTC
SELECT is(shop.warn('2024-05-30 14:59:59.999999+00'), 0::bigint, '31 days before');
SELECT is(shop.warn('2024-05-30 15:00+00'), 2::bigint, '30 days before');
SELECT is(shop.told('expiring'), 'ann lot:2024-06-30:30 15 30, bob lot:2024-06-30:30 4 30', 'one message for all that expires on a day');
SELECT is(shop.warn('2024-05-30 15:00+00'), 0::bigint, 'not twice');
SELECT is(shop.warn('2024-06-22 14:00+00'), 0::bigint, 'nor in between');
SELECT loyalty.set_redemption('club', 0.01) \g /dev/null
SELECT points FROM loyalty.redeem('club', 'ann', 12, 'r', at => '2024-06-20 12:00+00') \g /dev/null
SELECT points FROM loyalty.redeem('club', 'bob', 4, 'r', at => '2024-06-20 12:00+00') \g /dev/null
SELECT is(shop.warn('2024-06-25 12:00+00'), 1::bigint, 'at the next lead time, also late');
SELECT is(shop.told('expiring'), 'ann lot:2024-06-30:30 15 30, bob lot:2024-06-30:30 4 30, ann lot:2024-06-30:7 3 5', 'what is left by then, and nothing for whom nothing is');
SELECT is(shop.warn('2024-06-30 14:59:59+00'), 1::bigint, 'on the last day');
SELECT matches(shop.told('expiring'), 'ann lot:2024-06-30:1 3 0$', 'which is day 0');
SELECT is(shop.warn('2024-06-30 15:00+00'), 0::bigint, 'and nothing when it is over');
-- a late first run: only the nearest
SELECT points FROM loyalty.adjust('club', 'dan', 8, 'x', 'k1', '2024-08-31', '2024-01-01 12:00+00') \g /dev/null
SELECT is(shop.warn('2024-08-30 20:00+00'), 1::bigint, 'a run that comes late sends one');
SELECT matches(shop.told('expiring'), 'dan lot:2024-08-31:1 8 0$', 'the nearest');
SELECT is(shop.warn('2024-08-24 20:00+00'), 1::bigint, 'a run as of an earlier day has its own');
SELECT loyalty.set_message('club', 'expiring', false, '{30,7,1}') \g /dev/null
SELECT points FROM loyalty.adjust('club', 'dan', 8, 'x', 'k2', '2024-09-30', '2024-01-01 12:00+00') \g /dev/null
SELECT is(shop.warn('2024-09-29 12:00+00'), 0::bigint, 'switched off');

-- vouchers
SELECT loyalty.set_message('club', 'voucher_ending', lead_days => '{10,3}') \g /dev/null
SELECT loyalty.issue_voucher('club', 'eve', 'value', 5, 'v1', days => 20, at => '2024-03-01 12:00+00') AS v1,
	loyalty.issue_voucher('club', 'eve', 'percent', 15, 'v2:x', days => 20, max_uses => 2, at => '2024-03-01 12:00+00') AS v2,
	loyalty.issue_voucher('club', 'eve', 'value', 7, 'v3', days => 200, at => '2024-03-01 12:00+00') AS v3,
	loyalty.issue_voucher('club', 'eve', 'percent', 10, 'v4', days => 20, at => '2024-03-01 12:00+00') AS v4,
	loyalty.issue_voucher('club', 'fay', 'value', 6, 'v1', days => 20, at => '2024-03-01 12:00+00') AS f1,
	loyalty.issue_voucher('club', NULL, 'value', 5, 'all', days => 20, at => '2024-03-01 12:00+00') AS v5 \gset
SELECT value FROM loyalty.redeem_voucher('club', :'v1', 3, 'u', at => '2024-03-02 12:00+00'),
	loyalty.redeem_voucher('club', :'v4', 3, 'u', at => '2024-03-02 12:00+00') b (v) \g /dev/null
SELECT value FROM loyalty.reserve_voucher('club', :'f1', 6, 'u', at => '2024-03-02 12:00+00') \g /dev/null
SELECT is(shop.warn('2024-03-10 12:00+00'), 0::bigint, '11 days before');
SELECT is(shop.warn('2024-03-12 12:00+00'), 3::bigint, '9 days before');
SELECT is(shop.told('voucher_ending'), 'eve voucher:v1:10 9, eve voucher:v2:x:10 9, fay voucher:v1:10 9', 'those that can be used, also if they were reserved once');
SELECT is((SELECT string_agg(m.payload ->> 'value', ' ' ORDER BY m.cause, c.customer) FROM loyalty.message m JOIN shop.member c USING (member_id)
	WHERE m.kind = 'voucher_ending'), '2 6 15', 'with what is left of them');
SELECT is((SELECT m.payload ->> 'code' FROM loyalty.message m WHERE m.cause = 'voucher:v2:x:10' AND m.program_id = :club), :'v2', 'and their code');
SELECT is(shop.warn('2024-03-20 12:00+00'), 3::bigint, 'and again');
SELECT is(shop.warn('2024-03-22 12:00+00'), 0::bigint, 'not when they have ended');

-- members who stay away longer than they are used to
SELECT loyalty.set_message('club', 'voucher_ending', false), loyalty.set_message('club', 'inactive') \g /dev/null
INSERT INTO shop.invoice (id, customer, total, at)
	SELECT 10 + n, 'gus', 10, '2024-01-01 12:00+00'::timestamptz + n * interval '10 days' FROM generate_series(0, 3) n;
INSERT INTO shop.invoice (id, customer, total, at) VALUES (30, 'fay', 10, '2024-01-01 12:00+00'), (31, 'fay', 10, '2024-01-31 12:00+00');
SELECT is(shop.warn('2024-02-20 12:00+00'), 0::bigint, 'nothing is known before the figures were refreshed');
SELECT loyalty.refresh_analytics('club', '2024-02-10') \g /dev/null
SELECT is(shop.warn('2024-02-15 12:00+00'), 0::bigint, '15 days, at a cycle of 10');
SELECT is(shop.warn('2024-02-16 12:00+00'), 1::bigint, '16 days: more than one and a half cycles');
SELECT is((SELECT m.payload FROM loyalty.message m WHERE m.kind = 'inactive' AND m.program_id = :club),
	'{"last_purchase": "2024-01-31", "days_since": 16, "cycle_days": 10}', 'in his own measure; two purchases are none');
SELECT is(shop.warn('2024-02-20 12:00+00'), 0::bigint, 'once');
INSERT INTO shop.invoice (id, customer, total, at) VALUES (20, 'gus', 10, '2024-02-21 12:00+00');
SELECT is(shop.warn('2024-03-01 12:00+00'), 0::bigint, 'back again');
SELECT loyalty.refresh_analytics('club', '2024-03-20') \g /dev/null
SELECT is(shop.warn('2024-04-30 12:00+00'), 0::bigint, 'who has been away for ages is not told');
SELECT is(shop.warn('2024-03-20 12:00+00'), 1::bigint, 'away again: told again');
-- figures that are older than a purchase do not lie
SELECT loyalty.set_message('club', 'inactive', cycles => 2.5) \g /dev/null
DELETE FROM shop.invoice WHERE id = 20;
SELECT loyalty.refresh_analytics('club', '2024-02-20') \g /dev/null
INSERT INTO shop.invoice (id, customer, total, at) VALUES (21, 'gus', 10, '2024-02-29 12:00+00');
SELECT is(shop.warn('2024-03-01 12:00+00'), 0::bigint, 'a purchase since the refresh counts');

-- points that expired: told when it is written down, one message for each day
SELECT loyalty.set_message('club', k, k IN ('expired', 'earned')) FROM unnest('{expired,inactive,earned}'::text[]) k \g /dev/null
SELECT count(*) FROM loyalty.expire_points('2024-06-30 14:59:59+00') \g /dev/null
SELECT is(shop.told('expired'), '', 'not before it is over');
SELECT count(*) FROM loyalty.expire_points('2024-10-01 12:00+00') \g /dev/null
SELECT is((SELECT string_agg(concat_ws(' ', c.customer, m.payload ->> 'points', m.payload ->> 'date', m.payload ->> 'balance'), ', ' ORDER BY c.customer, m.cause)
	FROM loyalty.message m JOIN shop.member c USING (member_id) WHERE m.kind = 'expired'),
	'ann 3 2024-07-01 3, dan 8 2024-09-01 0, dan 8 2024-10-01 0', 'then with the day');
SELECT count(*) FROM loyalty.expire_points('2024-10-01 12:00+00') \g /dev/null
SELECT is((SELECT count(*) FROM loyalty.message m WHERE m.kind = 'expired' AND m.program_id = :club), 3::bigint, 'once');

-- balances and milestones are those of points that are valid, whether or not upkeep has run
SELECT loyalty.set_milestones('club', '{50}') \g /dev/null
CREATE FUNCTION shop.figures(customer text, upkeep boolean) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM loyalty.enrol('club', customer);
	PERFORM loyalty.adjust('club', customer, 30, 'x', 'a');
	PERFORM loyalty.adjust('club', customer, 20, 'x', 'b', '2024-01-31', '2024-01-01 12:00+00');
	IF upkeep THEN
		PERFORM loyalty.expire_points(now());
	END IF;
	PERFORM loyalty.adjust('club', customer, 15, 'x', 'c');
	PERFORM loyalty.adjust('club', customer, 15, 'x', 'd');
	RETURN (SELECT string_agg(concat_ws(' ', m.kind, m.payload ->> 'points', m.payload ->> 'balance'), ', ' ORDER BY m.recorded_at, m.kind)
		FROM loyalty.message m JOIN shop.member c USING (member_id) WHERE c.customer = figures.customer AND m.kind <> 'expired');
END
$$;
SELECT is(shop.figures('hal', false), 'earned 30 30, earned 20 30, earned 15 45, earned 15 60, milestone 60', 'without upkeep');
SELECT is(shop.figures('ian', true), 'earned 30 30, earned 20 30, earned 15 45, earned 15 60, milestone 60', 'with it');

-- points of a document that expire on different days need several entries, but are one message
SELECT loyalty.set_rule('club', 'promotion', 5, 10, expires => '30 days') \g /dev/null
SELECT loyalty.set_milestones('club', '{41,42}') \g /dev/null
INSERT INTO shop.invoice (id, customer, total, at) VALUES (40, 'joe', 28, now()) ;
SELECT is((SELECT count(*) FROM shop.entry e WHERE e.member_id = loyalty.member_id('club', 'joe')), 2::bigint, 'two entries');
SELECT is((SELECT string_agg(m.cause || ' ' || (m.payload - ARRAY['date', 'expires_on', 'source', 'document', 'reason'])::text, ', ' ORDER BY m.kind)
	FROM loyalty.message m WHERE m.member_id = loyalty.member_id('club', 'joe')),
	'entry:1 {"points": 42, "balance": 42, "last_entry": 2}, entry:1 {"balance": 42, "milestone": 42, "last_entry": 2}', 'one message, one milestone');
SELECT is((SELECT (m.payload ->> 'expires_on')::date FROM loyalty.message m WHERE m.member_id = loyalty.member_id('club', 'joe') AND m.kind = 'earned'),
	(now() AT TIME ZONE 'Asia/Tokyo')::date + 30, 'with the first day on which some of them end');
UPDATE shop.invoice SET total = 8 WHERE id = 40;
UPDATE shop.invoice SET total = 29 WHERE id = 40;
SELECT is((SELECT string_agg(m.payload ->> 'balance', ' ' ORDER BY m.recorded_at) FROM loyalty.message m
	WHERE m.member_id = loyalty.member_id('club', 'joe') AND m.kind = 'earned'), '42 43', 'and again');

-- points that lapse without activity are warned of like others
SELECT loyalty.set_message('club', 'earned', false), loyalty.set_milestones('club', NULL), loyalty.set_message('club', 'expiring', lead_days => '{7}') \g /dev/null
SELECT loyalty.set_expiry('club', lapse_after => '3 months') \g /dev/null
INSERT INTO shop.invoice (id, customer, total, at) VALUES (50, 'kim', 10, '2024-03-01 12:00+00');
DO $$BEGIN PERFORM loyalty.set_message('club', 'expired', false); END$$;
SELECT is((SELECT count(*) FROM loyalty.message m WHERE m.member_id = loyalty.member_id('club', 'kim') AND m.kind = 'expiring'), 0::bigint, 'no warning yet');
SELECT shop.warn('2024-05-26 12:00+00') \g /dev/null
SELECT is((SELECT m.payload ->> 'expires_on' FROM loyalty.message m WHERE m.member_id = loyalty.member_id('club', 'kim') AND m.kind = 'expiring'), '2024-06-01', 'a warning');
INSERT INTO shop.invoice (id, customer, total, at) VALUES (51, 'kim', 10, '2024-05-27 12:00+00');
SELECT shop.warn('2024-08-22 12:00+00') \g /dev/null
SELECT is((SELECT count(*) FROM loyalty.message m WHERE m.member_id = loyalty.member_id('club', 'kim') AND m.kind = 'expiring'), 2::bigint, 'another one for another day');

SELECT throws_ok($$SELECT loyalty.warn_members(now(), 0, 0)$$, '22023', NULL, 'a batch has members');
SELECT throws_ok($$SELECT loyalty.warn_members('infinity')$$, '22023', NULL, 'an instant is finite');
SELECT is((SELECT last FROM loyalty.warn_members(now(), NULL, NULL)), (SELECT last FROM loyalty.warn_members(now())), 'NULL is the default');
SELECT is((SELECT last FROM loyalty.warn_members(now(), 9007199254740992)), NULL, 'nobody is left');

-- who is due something is concerned, and most are not
SELECT loyalty.set_message('club', 'expiring', lead_days => '{30,7,1}'), loyalty.set_message('club', 'voucher_ending', lead_days => '{10,3}'),
	loyalty.set_message('club', 'inactive', cycles => 1.5) \g /dev/null
SELECT is_empty($$SELECT t, w.* FROM generate_series(timestamptz '2024-01-01 00:00+00', '2025-01-01', '25 hours') t,
	loyalty.due_warnings(ARRAY(SELECT m.member_id FROM loyalty.member m), t) w
	WHERE w.member_id NOT IN (SELECT c FROM loyalty.concerned_members(t, 0, 1000) c)$$, 'who is due a warning is found');
SELECT cmp_ok((SELECT count(*) * 2 FROM loyalty.concerned_members('2024-03-12 12:00+00', 0, 1000)), '<', (SELECT count(*) FROM shop.member), 'and few others');
SELECT is((SELECT last FROM loyalty.warn_members('2020-01-01')), NULL, 'nobody at all, years before');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
