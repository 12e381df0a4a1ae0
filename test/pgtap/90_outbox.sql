-- Messages from the posting path: one per cause, with it or not at all.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('club', 'Asia/Tokyo') AS club \gset
SELECT loyalty.create_program('other', 'UTC') \gset
SELECT loyalty.set_rule('club', 'base', 1, 1) \gset
SELECT loyalty.set_tier('club', 'Base', 0), loyalty.set_tier('club', 'Silver', 100), loyalty.set_tier('club', 'Gold', 1000) \gset
SELECT shop.attach('inv', 'club', evaluate => 'statement') \gset
CREATE VIEW shop.message AS SELECT c.customer, m.* FROM loyalty.message m JOIN shop.member c USING (member_id, program_id);
-- a customer's messages in the order of their causes
CREATE FUNCTION shop.told(customer text, VARIADIC kinds text[] DEFAULT NULL) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT coalesce(string_agg(concat_ws(' ', m.kind, m.payload ->> 'points', m.payload ->> 'milestone', m.payload ->> 'tier'), ', '
		ORDER BY m.occurred_at, substr(m.cause, 7)::numeric, m.kind), '')
	FROM shop.message m WHERE m.customer = $1 AND ($2 IS NULL OR m.kind = ANY ($2))
$$;

-- off by default
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'ann', 10);
SELECT is(shop.told('ann'), '', 'nothing is told unless it is switched on');

-- settings
SELECT throws_ok($$SELECT loyalty.set_message('club', 'birthday')$$, '22023', NULL, 'no such kind');
SELECT throws_ok($$SELECT loyalty.set_message('nowhere', 'earned')$$, 'LY001', NULL, 'no such programme');
SELECT throws_ok($$SELECT loyalty.set_message('club', 'earned', lead_days => '{7}')$$, '22023', NULL, 'no lead days');
SELECT throws_ok($$SELECT loyalty.set_message('club', 'earned', cycles => 2)$$, '22023', NULL, 'no cycles');
SELECT throws_ok($$SELECT loyalty.set_message('club', 'expiring', lead_days => '{}')$$, '22023', NULL, 'lead days are needed');
SELECT throws_ok($$SELECT loyalty.set_message('club', 'expiring', lead_days => '{7,-1}')$$, '22023', NULL, 'and not below 0');
SELECT throws_ok($$SELECT loyalty.set_message('club', 'expiring', lead_days => '{7,NULL}')$$, '22023', NULL, 'nor NULL');
SELECT throws_ok($$SELECT loyalty.set_message('club', 'inactive', cycles => 'NaN')$$, '22023', NULL, 'cycles are a number');
SELECT throws_ok($$SELECT loyalty.set_message('club', 'earned', max_attempts => 0)$$, '22023', NULL, 'attempts are at least one');
SELECT throws_ok($$SELECT loyalty.set_message('club', 'earned', keep_days => -1)$$, '22023', NULL, 'keep_days is not below 0');
SELECT throws_ok($$SELECT loyalty.set_message('club', 'earned', NULL)$$, '22004', NULL, 'on or off');
SELECT throws_ok($$SELECT loyalty.set_message('club', 'milestone')$$, 'LY003', NULL, 'milestones are needed');
SELECT throws_ok($$SELECT loyalty.set_milestones('club', '{50,0}')$$, '22023', NULL, 'a milestone is above 0');
SELECT throws_ok($$SELECT loyalty.set_milestones('club', '{50,NULL}')$$, '22023', NULL, 'and no NULL');
SELECT throws_ok($$SELECT loyalty.set_milestones('club', '{50.001}')$$, '22023', NULL, 'and points');
SELECT throws_ok($$SELECT loyalty.set_milestones('club', '{NaN}')$$, '22023', NULL, 'which NaN is not');
SELECT is_empty($$SELECT FROM loyalty.message_setting s JOIN loyalty.program p USING (program_id) WHERE p.name = 'club'$$, 'nothing was half set');
SELECT lives_ok($$SELECT loyalty.set_message('club', 'expiring', lead_days => '{1,30,7,30}')$$, 'lead days');
SELECT is((SELECT lead_days FROM loyalty.message_setting s WHERE s.program_id = :club), '{30,7,1}', 'each once, the longest first');

SELECT loyalty.set_message('club', k) FROM unnest('{earned,reversed,tier_up,tier_down,expired}'::text[]) k \g /dev/null

-- earned and reversed: one per document and evaluation
INSERT INTO shop.invoice (id, customer, total, at) VALUES (2, 'ann', 20, '2024-03-10 20:00+00');
SELECT is(shop.told('ann'), 'earned 20', 'a sale');
SELECT is((SELECT payload - 'source' FROM shop.message), '{"points": 20, "balance": 30, "date": "2024-03-11", "reason": "earn", "document": "2"}',
	'says what, in the days of the programme');
SELECT is((SELECT payload ->> 'source' FROM shop.message), 'inv', 'and where from');
SELECT is((SELECT cause || ' ' || state || ' ' || attempts FROM shop.message), 'entry:2 new 0', 'its cause is the entry');
SELECT is((SELECT occurred_at FROM shop.message), '2024-03-10 20:00+00'::timestamptz, 'its time the document''s');
UPDATE shop.invoice SET note = 'x', total = total WHERE id = 2;
SELECT loyalty.reevaluate('inv', '2') \g /dev/null
SELECT is(shop.told('ann'), 'earned 20', 'the same again says nothing');
UPDATE shop.invoice SET total = 25 WHERE id = 2;
UPDATE shop.invoice SET total = 15 WHERE id = 2;
SELECT is(shop.told('ann'), 'earned 20, earned 5, reversed 10', 'a change says the difference');
UPDATE shop.invoice SET state = 'draft' WHERE id = 2;
UPDATE shop.invoice SET state = 'posted' WHERE id = 2;
SELECT is(shop.told('ann'), 'earned 20, earned 5, reversed 10, reversed 15, earned 15', 'draft and posted again');
INSERT INTO shop.invoice (id, customer, total, return_of, at) VALUES (3, 'ann', -5, 2, '2024-03-11 20:00+00');
SELECT is(shop.told('ann', 'reversed'), 'reversed 10, reversed 15, reversed 5', 'a return');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'verify() finds nothing');
SELECT is((SELECT count(*) FROM shop.message), 6::bigint, 'and tells nothing');

-- a transaction with several statements, one evaluation
SELECT loyalty.detach('inv') \g /dev/null
SELECT shop.attach('inv2', 'club') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (10, 'bob', 10);
UPDATE shop.invoice SET total = 30 WHERE id = 10;
UPDATE shop.invoice SET total = 40 WHERE id = 10;
SELECT is(shop.told('bob'), '', 'nothing before the evaluation');
SELECT loyalty.settle() \g /dev/null
SELECT is(shop.told('bob'), 'earned 40', 'and then once');
-- savepoints
SAVEPOINT a;
INSERT INTO shop.invoice (id, customer, total) VALUES (11, 'bob', 500);
SELECT loyalty.settle() \g /dev/null
SELECT is((SELECT count(*) FROM shop.message WHERE customer = 'bob'), 3::bigint, 'inside a savepoint');
ROLLBACK TO a;
SELECT is(shop.told('bob'), 'earned 40', 'undone with it');
INSERT INTO shop.invoice (id, customer, total) VALUES (11, 'bob', 20);
SELECT loyalty.settle() \g /dev/null
SELECT is(shop.told('bob'), 'earned 40, earned 20', 'and told as it came in the end');
-- a block that fails after its evaluation
DO $$
BEGIN
	INSERT INTO shop.invoice (id, customer, total) VALUES (12, 'bob', 7);
	PERFORM loyalty.settle();
	RAISE EXCEPTION 'no';
EXCEPTION WHEN raise_exception THEN
	NULL;
END
$$;
SELECT is(shop.told('bob'), 'earned 40, earned 20', 'nothing is left of it');
-- dry runs
INSERT INTO shop.invoice (id, customer, total) VALUES (13, 'bob', 5);
SELECT loyalty.settle() \g /dev/null
SELECT count(*) FROM loyalty.verify('inv2') \g /dev/null
SELECT * FROM loyalty.book('inv2', '{13}', 'dry_run') \g /dev/null
SELECT count(*) FROM loyalty.quote_earn('club', 'bob', 100) \g /dev/null
SELECT is(shop.told('bob'), 'earned 40, earned 20, earned 5', 'what is only tried is not told');

-- tiers: up, down, and what happens in between
INSERT INTO shop.invoice (id, customer, total) VALUES (20, 'cas', 50);
SELECT loyalty.settle() \g /dev/null
SELECT is(shop.told('cas'), 'earned 50', 'joining in the lowest tier is no ascent');
INSERT INTO shop.invoice (id, customer, total) VALUES (21, 'cas', 60);
SELECT loyalty.settle() \g /dev/null
SELECT is((SELECT payload - 'date' FROM shop.message WHERE customer = 'cas' AND kind = 'tier_up'),
	'{"tier": "Silver", "from_tier": "Base", "qualifying": 110}', 'up');
INSERT INTO shop.invoice (id, customer, total) VALUES (22, 'cas', 5000);
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (23, 'cas', -5000, 22);
SELECT loyalty.settle() \g /dev/null
SELECT is((SELECT count(*) FROM shop.message WHERE customer = 'cas' AND kind LIKE 'tier%'), 1::bigint, 'up and down in one evaluation is neither');
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (24, 'cas', -20, 21);
SELECT loyalty.settle() \g /dev/null
SELECT is((SELECT string_agg(kind || ' ' || coalesce(payload ->> 'tier', ''), ', ' ORDER BY occurred_at) FROM shop.message
	WHERE customer = 'cas' AND kind LIKE 'tier%'), 'tier_up Silver, tier_down Base', 'down');

-- milestones
SELECT loyalty.set_milestones('club', '{100,50}') \g /dev/null
SELECT loyalty.set_message('club', k, false) FROM unnest('{earned,reversed,tier_up,tier_down}'::text[]) k \g /dev/null
CREATE FUNCTION shop.step(points numeric) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM loyalty.adjust('club', 'dan', points, 'x', 'k' || (SELECT count(*) FROM loyalty.operation));
END
$$;
SELECT loyalty.enrol('club', 'dan') \gset
SELECT shop.step(49) \g /dev/null
SELECT is(shop.told('dan'), '', 'below');
SELECT shop.step(1) \g /dev/null
SELECT is(shop.told('dan'), 'milestone 50', 'reached');
SELECT shop.step(49) \g /dev/null
SELECT is(shop.told('dan'), 'milestone 50', 'on the way to the next');
SELECT shop.step(5) \g /dev/null
SELECT is(shop.told('dan'), 'milestone 50, milestone 100', 'passed');
SELECT shop.step(-60) \g /dev/null
SELECT is(shop.told('dan'), 'milestone 50, milestone 100', 'downwards nothing');
SELECT shop.step(100) \g /dev/null
SELECT is(shop.told('dan'), 'milestone 50, milestone 100, milestone 100', 'two in one step: the higher, again');
SELECT shop.step(-144) \g /dev/null
SELECT shop.step(60) \g /dev/null
SELECT is(shop.told('dan'), 'milestone 50, milestone 100, milestone 100, milestone 50', 'and the lower again');
SELECT loyalty.set_milestones('club', NULL) \g /dev/null
SELECT shop.step(60) \g /dev/null
SELECT is((SELECT count(*) FROM shop.message WHERE customer = 'dan'), 4::bigint, 'without milestones nothing');

-- adjustments are told, redemptions and transfers are not
SELECT loyalty.set_message('club', 'earned'), loyalty.set_message('club', 'reversed') \g /dev/null
SELECT loyalty.set_redemption('club', 0.01) \g /dev/null
SELECT loyalty.enrol('club', 'eve') \gset
SELECT points FROM loyalty.adjust('club', 'eve', 40, 'gift', 'g', expires_on => '9999-12-31') \g /dev/null
SELECT points FROM loyalty.adjust('club', 'eve', 40, 'gift', 'g', expires_on => '9999-12-31') \g /dev/null
SELECT points FROM loyalty.adjust('club', 'eve', -5, 'mistake', 'm') \g /dev/null
SELECT points FROM loyalty.redeem('club', 'eve', 10, 'r') \g /dev/null
SELECT points FROM loyalty.cancel_redemption('club', 'eve', 'r') \g /dev/null
SELECT points FROM loyalty.transfer('club', 'eve', 'dan', 10, 't') \g /dev/null
SELECT is(shop.told('eve'), 'earned 40, reversed 5', 'by hand');
SELECT is((SELECT payload ->> 'expires_on' FROM shop.message WHERE customer = 'eve' AND kind = 'earned'), '9999-12-31', 'with the last day');
SELECT is((SELECT count(*) FROM shop.message WHERE customer = 'dan' AND kind IN ('earned', 'reversed')), 0::bigint, 'not for who receives');

-- holds
SELECT loyalty.set_message('club', 'hold_released') \g /dev/null
SELECT points FROM loyalty.reserve('club', 'eve', 5, 'h1') \g /dev/null
SELECT points FROM loyalty.release_hold('club', 'eve', 'h1') \g /dev/null
SELECT points FROM loyalty.release_hold('club', 'eve', 'h1') \g /dev/null
SELECT points FROM loyalty.reserve('club', 'eve', 5, 'h2') \g /dev/null
SELECT points FROM loyalty.capture_hold('club', 'eve', 'h2') \g /dev/null
SELECT points FROM loyalty.reserve('club', 'eve', 4, 'h3', at => now() - interval '2 hours') \g /dev/null
SELECT points FROM loyalty.reserve('club', 'eve', 3, 'h4', at => now() - interval '2 hours') \g /dev/null
SELECT is(done, 1::bigint, 'holds that have expired are closed') FROM loyalty.close_holds();
SELECT is(done, 0::bigint, 'once') FROM loyalty.close_holds();
SELECT is((SELECT string_agg(cause || ' ' || (payload ->> 'points') || ' ' || (payload ->> 'reason'), ', ' ORDER BY cause)
	FROM shop.message WHERE kind = 'hold_released'), 'hold:h1 5 released, hold:h3 4 expired, hold:h4 3 expired', 'released and expired, not captured');

-- vouchers
SELECT loyalty.set_message('club', 'voucher_issued') \g /dev/null
SELECT loyalty.issue_voucher('club', 'eve', 'value', 5, 'gift') AS code \gset
SELECT loyalty.issue_voucher('club', 'eve', 'value', 5, 'gift') \g /dev/null
SELECT loyalty.issue_voucher('club', NULL, 'value', 5, 'for all') \g /dev/null
SELECT loyalty.set_reward('club', 'mug', 'product', 10, voucher_days => 30) \g /dev/null
SELECT voucher FROM loyalty.redeem_reward('club', 'eve', 'mug', 'w') \g /dev/null
SELECT is((SELECT string_agg(concat_ws(' ', cause, payload ->> 'value', payload ->> 'voucher_kind', payload ->> 'reward'), ', ' ORDER BY cause)
	FROM shop.message WHERE kind = 'voucher_issued'), 'voucher:gift 5 value, voucher:reward:w 0 reward mug', 'once each, not for whoever has the code');
SELECT is((SELECT payload ->> 'code' FROM shop.message WHERE cause = 'voucher:gift'), :'code', 'with the code');

-- events, customer changes, merges
SELECT loyalty.set_rule('club', 'review', 3, kind => 'bonus', event => 'review') \g /dev/null
SELECT loyalty.enrol('club', 'fay') \gset
SELECT loyalty.record_event('club', 'fay', 'review', 'r1') \g /dev/null
SELECT loyalty.record_event('club', 'fay', 'review', 'r1') \g /dev/null
SELECT loyalty.settle() \g /dev/null
SELECT is(shop.told('fay'), 'earned 3', 'an event');
INSERT INTO shop.invoice (id, customer, total) VALUES (30, 'fay', 9);
SELECT loyalty.settle() \g /dev/null
UPDATE shop.invoice SET customer = 'gus' WHERE id = 30;
SELECT loyalty.settle() \g /dev/null
SELECT is(shop.told('fay', 'reversed') || ' / ' || shop.told('gus'), 'reversed 9 / earned 9', 'a document of another customer now');
SELECT points FROM loyalty.merge_customers('club', 'gus', 'fay') \g /dev/null
SELECT is(shop.told('gus'), 'earned 9', 'a merge says nothing');
UPDATE shop.invoice SET total = 10 WHERE id = 30;
SELECT loyalty.settle() \g /dev/null
SELECT is(shop.booked('inv2', '30'), 10::numeric, 'and what is booked later') ;

-- the other programme, and who may write
SELECT is((SELECT count(*) FROM loyalty.message m JOIN loyalty.program p USING (program_id) WHERE p.name = 'other'), 0::bigint, 'programmes are apart');
SELECT throws_ok($$UPDATE loyalty.message SET state = 'done'$$, 'LY004', NULL, 'only the engine changes messages');
SELECT throws_ok($$DELETE FROM loyalty.message$$, 'LY004', NULL, 'or deletes them');
SELECT throws_ok($$TRUNCATE loyalty.message$$, 'LY004', NULL, 'or empties the table');

-- tell(): once per cause, and only what is switched on
SELECT loyalty.member_id('club', 'eve') AS eve \gset
SELECT is(loyalty.tell(:eve, 'expired', 'entry:x', '{}'), true, 'told');
SELECT is(loyalty.tell(:eve, 'expired', 'entry:x', '{}'), false, 'not twice');
SELECT is(loyalty.tell(:eve, 'inactive', 'x', '{}'), false, 'not what is off');
SELECT is(loyalty.tell(-5, 'expired', 'x', '{}'), false, 'nor to nobody');
SELECT throws_ok($$SELECT loyalty.tell(1, 'birthday', 'x', '{}')$$, '22023', NULL, 'nor of a kind that there is not');
-- check() finds what has no cause
SELECT set_eq($$SELECT problem FROM loyalty.check_messages()$$, $$VALUES ('message of no entry, or it says otherwise')$$, 'check() sees it');
INSERT INTO loyalty.message SELECT x.member_id, v.kind, v.cause, x.program_id, v.payload::jsonb, now(), now(), 'new', now(), 0
	FROM shop.member x, (VALUES ('earned', 'entry:1', '{"points": 1, "balance": 40}'), ('hold_released', 'hold:h2', '{}'), ('voucher_ending', 'voucher:none:5', '{"days_left": 1}'), ('expiring', 'lot:x', '{"days_left": -1}')) v (kind, cause, payload)
	WHERE x.customer = 'eve' ON CONFLICT DO NOTHING;
INSERT INTO loyalty.message SELECT x.member_id, 'milestone', 'entry:1', x.program_id, '{"milestone": 41, "balance": 40}', now(), now(), 'new', now(), 0
	FROM shop.member x WHERE x.customer = 'bob';
INSERT INTO loyalty.message SELECT -1, 'inactive', 'x', 1, '{}', now(), now(), 'done', now(), 0;
SELECT set_eq($$SELECT problem || ': ' || coalesce(detail, '') FROM loyalty.check_messages()$$, ARRAY[
	'message of no entry, or it says otherwise: expired, entry:x: {}',
	'message says another balance than there was: milestone, entry:1: {"balance": 40, "milestone": 41}, balance 40.00',
	'message of no hold that was given free: hold:h2', 'message of no voucher: voucher_ending, voucher:none:5',
	'warning of something that was over already: expiring, lot:x',
	'message of no member, or of another programme: inactive, x', 'state of a message is not what was done with it: inactive, x: done'], 'and all else');

SELECT is_empty('SELECT * FROM loyalty.check() c WHERE c.problem NOT LIKE ''%message%'' AND c.problem NOT LIKE ''warning%''', 'the books are well');
SELECT * FROM finish();
ROLLBACK;
