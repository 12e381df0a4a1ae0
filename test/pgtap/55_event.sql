-- record_event(), approve_event(), reject_event(), revoke_event(), events(), explain_event().
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('ev', 'Asia/Kolkata') \gset
SELECT shop.attach('inv', 'ev', evaluate => 'statement') \gset
SELECT loyalty.set_rule('ev', 'base', 1, 100) \gset
CREATE FUNCTION shop.rule(name text, event text, points numeric, condition text DEFAULT NULL, n integer DEFAULT NULL,
	period text DEFAULT NULL, approval boolean DEFAULT false) RETURNS integer
LANGUAGE sql AS $$
	SELECT loyalty.set_rule('ev', rule.name, rule.points, kind => 'bonus', event => rule.event, condition => rule.condition,
		limit_count => n, limit_period => period, needs_approval => approval)
$$;
-- an event at a moment of the programme's own time
CREATE FUNCTION shop.event(customer text, kind text, reference text, at text, attributes jsonb DEFAULT NULL, key text DEFAULT NULL,
	OUT state text, OUT points numeric, OUT pending numeric)
LANGUAGE sql AS $$
	SELECT r.state, trim_scale(r.points), trim_scale(r.pending)
	FROM loyalty.record_event('ev', customer, kind, reference, at::timestamp AT TIME ZONE 'Asia/Kolkata', attributes, key) r
$$;
CREATE FUNCTION shop.points(customer text, kind text) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT string_agg(trim_scale(e.points)::text, ' ' ORDER BY e.occurred_at, e.event_key) FROM loyalty.events('ev', points.customer) e
	WHERE e.kind = points.kind
$$;

-- without a rule an event is known and gives nothing
SELECT results_eq($$SELECT * FROM shop.event('ann', 'survey', '1', '2024-03-10 10:00')$$, $$VALUES ('counted', 0::numeric, 0::numeric)$$, 'an event without a rule');
SELECT is(shop.entries('ev', 'ann'), '', 'gives nothing');
SELECT ok(loyalty.member_id('ev', 'ann') IS NOT NULL, 'and makes a member');
SELECT is((SELECT joined_on FROM shop.member WHERE customer = 'ann'), '2024-03-10'::date, 'as of its day in programme time');

-- what a condition can see
SELECT shop.rule('all', 'probe', 1, $$event.kind = 'probe' AND event.reference = 'r' AND event.date = '2024-03-11' AND event.hour = 0
	AND event.weekday = 1 AND event.month = 3 AND event.year = 2024 AND event.count = 0 AND event.attributes ->> 'a' = 'b'
	AND event.occurred_at = '2024-03-11 00:30' AND member.customer = 'bob' AND member.days_since_joined = 0$$) \gset
SELECT results_eq($$SELECT * FROM shop.event('bob', 'probe', 'r', '2024-03-11 00:30', '{"a": "b"}')$$, $$VALUES ('counted', 1::numeric, 0::numeric)$$, 'a condition sees all of an event');
SELECT results_eq($$SELECT * FROM shop.event('bob', 'probe', 'r', '2024-03-11 00:30', '{"a": "b"}', 'z2')$$, $$VALUES ('counted', 0::numeric, 0::numeric)$$, 'and that it is the second');
SELECT is(shop.entries('ev', 'bob'), 'event 1', 'its entry is one of kind event');
SELECT is((SELECT kind || ' ' || gross || ' ' || qualifying FROM shop.document WHERE points > 0), 'event 0 0', 'its document has no amount and qualifies for nothing');

-- birthdays come from where set_birthday() says they are; what an event brings no row for is refused
SELECT throws_ok($$SELECT shop.rule('cake', 'cake', 5, 'member.days_to_birthday = 0')$$, '0A000', 'rules on events do not know the birthdays of members of programme "ev"', 'nobody has said where birthdays are');
SELECT throws_ok($$SELECT shop.rule('cake', 'cake', 5, 'member.attributes IS NULL')$$, '0A000', 'column member.attributes is known only while a document is read', 'attributes come with documents');
CREATE TABLE shop.person (id text PRIMARY KEY, born date);
INSERT INTO shop.person VALUES ('bo', '1990-03-11'), ('bobby', '1990-03-12'), ('unborn', NULL);
SELECT loyalty.set_birthday('ev', 'shop.person', 'r.id', 'r.born') \gset
SELECT shop.rule('cake', 'cake', 5, 'member.days_to_birthday = 0'), shop.rule('spring', 'cake', 100, 'date_part(''month'', member.birthday) = 3') \g /dev/null
SELECT is((SELECT string_agg(c || ' ' || (SELECT e.points FROM shop.event(c, 'cake', 'x', '2024-03-11 00:30') e), ', ' ORDER BY n) FROM unnest('{bo,bobby,unborn,nemo}'::text[]) WITH ORDINALITY u (c, n)),
	'bo 105, bobby 100, unborn 0, nemo 0', 'rules on events see birthdays');
SELECT loyalty.create_program('two', 'UTC') \gset
CREATE TABLE shop.people (country text, no integer, born date);
INSERT INTO shop.people VALUES ('de', 7, '1990-03-11'), ('at', 7, '1990-03-12');
SELECT loyalty.set_birthday('two', 'shop.people', '(r.country, r.no)', 'r.born') \gset
SELECT loyalty.set_rule('two', 'cake', 5, kind => 'bonus', event => 'cake', condition => 'member.days_to_birthday = 0') \gset
SELECT is((SELECT string_agg(c || ' ' || (SELECT trim_scale(e.points) FROM loyalty.record_event('two', c, 'cake', 'x', '2024-03-11 12:00+00') e), ' ' ORDER BY c) FROM unnest('{"(at,7)","(de,7)"}'::text[]) c),
	'(at,7) 0 (de,7) 5', 'of customers whose key has two columns, too');

-- idempotency
SELECT throws_ok(format('SELECT shop.event(%s)', args), 'LY012', NULL, 'the key again, with ' || what) FROM (VALUES
	('another kind', $$'bob', 'survey', 'r', '2024-03-11 00:30', '{"a": "b"}', 'z2'$$),
	('another reference', $$'bob', 'probe', 's', '2024-03-11 00:30', '{"a": "b"}', 'z2'$$),
	('no reference', $$'bob', 'probe', NULL, '2024-03-11 00:30', '{"a": "b"}', 'z2'$$),
	('another moment', $$'bob', 'probe', 'r', '2024-03-11 00:31', '{"a": "b"}', 'z2'$$),
	('other attributes', $$'bob', 'probe', 'r', '2024-03-11 00:30', '{"a": "c"}', 'z2'$$)) v (what, args);
SELECT lives_ok($$SELECT shop.event('bob', 'probe', 'r', NULL, '{"a": "b"}', 'z2')$$, 'what is not said again cannot differ');
SELECT lives_ok($$SELECT shop.event('cat', 'probe', 's', '2024-03-11 00:30', NULL, 'z2')$$, 'a key is a member''s');
SELECT is((SELECT count(*) FROM loyalty.events('ev', 'bob')), 2::bigint, 'nothing was recorded twice');

-- limits: the first ones of each period, in programme time
SELECT shop.rule('lim ' || p, 'e ' || p, 10, NULL, 2, p) FROM unnest('{day,week,month,year,lifetime}'::text[]) p \g /dev/null
SELECT shop.event('lim', 'e ' || p, n::text, d) FROM unnest('{day,week,month,year,lifetime}'::text[]) p,
	unnest('{2024-02-29 00:00,2024-02-29 12:00,2024-02-29 23:59:59,2024-03-01 00:00,2024-03-03 23:59,2024-03-04 00:00,2024-12-31 23:59,2025-01-01 00:00}'::text[])
	WITH ORDINALITY u (d, n) \g /dev/null
SELECT is(shop.points('lim', 'e day'), '10 10 0 10 10 10 10 10', 'a day');
SELECT is(shop.points('lim', 'e week'), '10 10 0 0 0 10 10 10', 'a week begins on Monday');
SELECT is(shop.points('lim', 'e month'), '10 10 0 10 10 0 10 10', 'a month');
SELECT is(shop.points('lim', 'e year'), '10 10 0 0 0 0 0 10', 'a year');
SELECT is(shop.points('lim', 'e lifetime'), '10 10 0 0 0 0 0 0', 'lifetime');
-- the order of recording does not matter
SELECT shop.event('mil', 'e ' || p, n::text, d) FROM unnest('{day,week,month,year,lifetime}'::text[]) p,
	unnest('{2025-01-01 00:00,2024-03-04 00:00,2024-02-29 23:59:59,2024-12-31 23:59,2024-02-29 00:00,2024-03-03 23:59,2024-03-01 00:00,2024-02-29 12:00}'::text[])
	WITH ORDINALITY u (d, n) \g /dev/null
SELECT is(shop.points('mil', 'e ' || p), shop.points('lim', 'e ' || p), 'recorded in another order: ' || p)
	FROM unnest('{day,week,month,year,lifetime}'::text[]) p;
SELECT loyalty.revoke_event('ev', 'lim', 'e lifetime:1') \g /dev/null
SELECT is(shop.points('lim', 'e lifetime'), '0 10 10 0 0 0 0 0', 'a place that becomes free is taken by the next');
-- a limit is the rule's: another one's condition does not use it up
SELECT shop.rule('first', 'two rules', 5, NULL, 1, 'lifetime'), shop.rule('second', 'two rules', 7, $$event.reference = 'b'$$, 1, 'lifetime') \g /dev/null
SELECT shop.event('two', 'two rules', r, '2024-03-01') FROM unnest('{a,b,c}'::text[]) r \g /dev/null
SELECT is(shop.points('two', 'two rules'), '5 7 0', 'each rule has its own limit');

-- spent meanwhile: owed
SELECT shop.rule('gift', 'gift', 50) \gset
SELECT shop.event('dan', 'gift', NULL, '2024-03-01') \g /dev/null
SELECT is((SELECT x.points FROM loyalty.revoke_event('ev', 'dan', 'gift') x), 0.00, 'revoked: nothing is left');
SELECT is(shop.entries('ev', 'dan'), 'event 50, correction -50', 'what was given is taken back');
SELECT lives_ok($$SELECT shop.event('dan', 'gift', NULL, '2024-03-01')$$, 'the same again finds it revoked');
SELECT is(shop.entries('ev', 'dan'), 'event 50, correction -50', 'and gives nothing');

-- approval
SELECT shop.rule('share', 'share', 30, NULL, NULL, NULL, true) \gset
SELECT results_eq($$SELECT * FROM shop.event('eve', 'share', 'a', '2024-03-01')$$, $$VALUES ('pending', 0::numeric, 30::numeric)$$, 'it waits');
SELECT is(loyalty.balance('ev', 'eve'), 0.00, 'and is not in the balance');
SELECT isnt_empty($$SELECT FROM loyalty.explain_event('ev', 'eve', 'share:a') WHERE calculation = 'waits for approval'$$, 'explain_event() says so');
SELECT shop.rule('share', 'share', 99, NULL, NULL, NULL, true) \gset
SELECT is((SELECT x.points FROM loyalty.approve_event('ev', 'eve', 'share:a') x), 30.00, 'approved it gives what it was recorded for');
SELECT isnt((SELECT decided_by FROM loyalty.event WHERE event_key = 'share:a'), NULL, 'who decided is kept');
SELECT is(loyalty.reevaluate('ev events', (SELECT doc_key FROM loyalty.events('ev', 'eve'))), 69.00, 'evaluated again it is approved still, at the rules of now');
SELECT throws_ok($$SELECT loyalty.reject_event('ev', 'eve', 'share:a')$$, 'LY003', NULL, 'it cannot be rejected any more');
SELECT throws_ok($$SELECT loyalty.approve_event('ev', 'ann', 'survey:1')$$, 'LY003', NULL, 'one that did not wait cannot be approved');
SELECT throws_ok($$SELECT loyalty.revoke_event('ev', 'ann', 'nothing')$$, 'LY001', NULL, 'an unknown event');
SELECT throws_ok($$SELECT loyalty.revoke_event('ev', 'nobody', 'nothing')$$, 'LY001', NULL, 'an unknown customer');
SELECT shop.event('eve', 'share', 'b', '2024-03-02') \g /dev/null
SELECT is((SELECT x.state FROM loyalty.revoke_event('ev', 'eve', 'share:b') x), 'revoked', 'one that waits can be revoked');

-- referrals
SELECT shop.rule('friend', 'referral', 11), shop.rule('referrer', 'referrer', 13) \g /dev/null
SELECT results_eq($$SELECT * FROM shop.event('fay', 'referral', 'ann', '2024-03-01')$$, $$VALUES ('waiting', 0::numeric, 11::numeric)$$, 'a referral waits for a purchase');
CREATE FUNCTION shop.sides() RETURNS text LANGUAGE sql AS $$SELECT shop.points('fay', 'referral') || ' ' || shop.points('ann', 'referrer')$$;
CREATE FUNCTION shop.settled(sql text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE sql;
	PERFORM loyalty.settle();
	RETURN shop.sides();
END
$$;
SELECT is(shop.settled($$INSERT INTO shop.invoice (id, customer, total, state) VALUES (1, 'fay', 500, 'draft')$$), '0 0', 'a draft is none');
SELECT is(shop.settled($$INSERT INTO shop.invoice (id, customer, total) VALUES (2, 'fay', -10)$$), '0 0', 'a return is none');
SELECT is(shop.settled($$INSERT INTO shop.invoice (id, customer, total) VALUES (3, 'fay', 0)$$), '0 0', 'nor is one for nothing');
SELECT is(shop.settled($$UPDATE shop.invoice SET state = 'posted' WHERE id = 1$$), '11 13', 'posted it is');
SELECT is(shop.settled($$INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (4, 'fay', -499, 1)$$), '11 13', 'while something is left');
SELECT is(shop.settled($$UPDATE shop.invoice SET total = -500 WHERE id = 4$$), '0 0', 'until nothing is');
SELECT is(shop.settled($$UPDATE shop.invoice SET cancelled = true WHERE id = 4$$), '11 13', 'the return is cancelled');
SELECT is(shop.settled($$INSERT INTO shop.invoice (id, customer, total) VALUES (5, 'fay', 1)$$), '11 13', 'a second purchase changes nothing');
SELECT is(shop.settled($$DELETE FROM shop.invoice WHERE id = 1$$), '11 13', 'and holds it when the first is gone');
SELECT is(shop.settled($$UPDATE shop.invoice SET customer = 'gus' WHERE id = 5$$), '0 0', 'moved to somebody else');
SELECT is(shop.settled($$UPDATE shop.invoice SET customer = 'fay' WHERE id = 5$$), '11 13', 'and back');
SELECT is((SELECT count(*) FROM loyalty.event e WHERE e.kind = 'referrer'), 1::bigint, 'one event on the other side');
SELECT throws_ok($$SELECT shop.event('fay', 'referral', 'bob', '2024-03-01')$$, 'LY003', NULL, 'one referrer per friend');
SELECT throws_ok($$SELECT shop.event('ann', 'referral', 'ann', '2024-03-01')$$, 'LY003', NULL, 'nobody refers himself');
SELECT throws_ok($$SELECT shop.event('ann', 'referral', 'fay', '2024-03-01')$$, 'LY003', NULL, 'nobody is referred by one he has referred');
SELECT throws_ok($$SELECT shop.event('ann', 'referral', 'stranger', '2024-03-01')$$, 'LY001', NULL, 'nor by one who is no member');
SELECT throws_ok($$SELECT shop.event('ann', 'referral', NULL, '2024-03-01')$$, '22004', NULL, 'nor by nobody');
SELECT loyalty.revoke_event('ev', 'ann', (SELECT event_key FROM loyalty.events('ev', 'ann') WHERE kind = 'referrer')) \g /dev/null
SELECT is(shop.sides(), '11 0', 'one side can be revoked');
SELECT is(shop.settled($$UPDATE shop.invoice SET total = 2 WHERE id = 5$$), '11 0', 'and stays so');

-- what is refused
SELECT throws_ok(format('SELECT loyalty.record_event(%s)', args), state, NULL, what) FROM (VALUES
	('no programme', '22004', $$NULL, 'ann', 'x'$$), ('an unknown programme', 'LY001', $$'nowhere', 'ann', 'x'$$),
	('no customer', '22004', $$'ev', NULL, 'x'$$), ('an empty customer', '22023', $$'ev', ' ', 'x'$$),
	('no kind', '22004', $$'ev', 'ann', NULL$$), ('an empty kind', '22023', $$'ev', 'ann', ''$$),
	('a colon in the kind', '22023', $$'ev', 'ann', 'a:b'$$), ('the other side of a referral', '22023', $$'ev', 'ann', 'referrer', 'bob'$$),
	('an empty reference', '22023', $$'ev', 'ann', 'x', ''$$), ('an empty key', '22023', $$'ev', 'ann', 'x', key => ''$$),
	('a key of a referral''s', '22023', $$'ev', 'ann', 'x', key => 'referrer:1:2'$$),
	('a long key', '22023', $$'ev', 'ann', 'x', key => repeat('x', 501)$$), ('never', '22023', $$'ev', 'ann', 'x', at => 'infinity'$$)) v (what, state, args);
SELECT loyalty.create_program('past', 'UTC', valid_to => '2023-12-31', companies => '{north}') \gset
SELECT throws_ok($$SELECT loyalty.record_event('past', 'ann', 'x', at => '2024-01-01')$$, 'LY003', NULL, 'a day on which the programme does not run');
SELECT is((SELECT x.state FROM loyalty.record_event('past', 'ann', 'x', at => '2023-01-01') x), 'counted', 'an event has no company');

-- events do not make purchases of their own
SELECT shop.rule('buyers', 'thanks', 3, 'member.purchase_count = 1 AND member.lifetime_amount = 700') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (20, 'hal', 700);
SELECT shop.event('hal', 'survey', 's', '2024-03-20') \g /dev/null
SELECT results_eq($$SELECT * FROM shop.event('hal', 'thanks', 't', '2024-03-21')$$, $$VALUES ('counted', 3::numeric, 0::numeric)$$, 'an event is no purchase');
SELECT shop.settled($$UPDATE shop.invoice SET total = 800 WHERE id = 20$$) \g /dev/null
SELECT is(shop.points('hal', 'thanks'), '0', 'but follows from purchases');
-- rules on documents are not for events, nor the other way round
SELECT loyalty.set_rule('ev', 'visit too', 1000, kind => 'bonus', condition => 'member.customer = ''ida''') \gset
SELECT results_eq($$SELECT points FROM shop.event('ida', 'gift', NULL, '2024-03-21')$$, $$VALUES (50::numeric)$$, 'a document''s rule gives an event nothing');
INSERT INTO shop.invoice (id, customer, total) VALUES (21, 'ida', 100);
SELECT is(shop.booked('inv', '21'), 1001::numeric, 'and an event''s gives a document nothing');

-- rounding scopes
SELECT loyalty.create_program('carried', 'UTC', rounding_scope => 'carry') \gset
SELECT loyalty.set_rule('carried', 'half', 0.5, kind => 'bonus', event => 'half') \gset
SELECT loyalty.record_event('carried', 'ann', 'half', n::text) FROM generate_series(1, 3) n \g /dev/null
SELECT is(loyalty.balance('carried', 'ann'), 1.00, 'scope carry: halves add up');
SELECT loyalty.revoke_event('carried', 'ann', 'half:1') \g /dev/null
SELECT is(loyalty.balance('carried', 'ann'), 1.00, 'and are taken back exactly');
SELECT loyalty.revoke_event('carried', 'ann', 'half:2') \g /dev/null
SELECT is(loyalty.balance('carried', 'ann'), 0.00, 'to the last');

-- customers who are merged: what was recorded stays where it was, what is new is the other's
SELECT shop.rule('merged', 'merged', 4, NULL, 2, 'lifetime') \gset
SELECT shop.event('jim', 'merged', '1', '2024-03-21'), shop.event('kim', 'merged', '1', '2024-03-22') \g /dev/null
SELECT loyalty.merge_customers('ev', 'jim', 'kim') \g /dev/null
SELECT is(loyalty.balance('ev', 'jim'), 8.00, 'merged: one balance');
SELECT results_eq($$SELECT * FROM shop.event('jim', 'merged', '1', '2024-03-21')$$, $$VALUES ('counted', 4::numeric, 0::numeric)$$, 'the same again finds it');
SELECT results_eq($$SELECT * FROM shop.event('jim', 'merged', '2', '2024-03-23')$$, $$VALUES ('counted', 4::numeric, 0::numeric)$$, 'what is new');
SELECT is(shop.points('kim', 'merged'), '4 4 4', 'is the other''s');
SELECT is(shop.points('jim', 'merged'), '4 4 4', 'by either name');
SELECT is((SELECT x.state FROM loyalty.revoke_event('ev', 'jim', 'merged:1') x), 'revoked', 'what was recorded before is taken back');
SELECT is((SELECT x.state FROM loyalty.revoke_event('ev', 'jim', 'merged:2') x), 'revoked', 'and after');
SELECT is(loyalty.balance('ev', 'kim'), 4.00, 'from the one balance');
SELECT throws_ok($$SELECT shop.event('kim', 'referral', 'jim', '2024-03-23')$$, 'LY003', NULL, 'nobody refers who he is');

SELECT is_empty(format('SELECT * FROM loyalty.verify(%L)', s), 'verify() finds nothing in ' || s) FROM unnest('{carried events,past events}'::text[]) s;
SELECT is_empty($$SELECT FROM loyalty.status() WHERE source LIKE '% events' AND NOT (capturing AND mapping_ok AND problem IS NULL)$$, 'sources of events are well');
SELECT is_empty('SELECT * FROM shop.pending', 'nothing waits');
SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
