-- Points moved by hand: adjustments, transfers, merged customers; lots and
-- their expiry.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'Pacific/Auckland') \gset
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset
SELECT loyalty.set_redemption('tab', 1, restore_grace_days => 14) \gset
SELECT shop.attach('inv', 'tab') \gset
CREATE FUNCTION shop.lots(c text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(coalesce(to_char(expires_on, 'YYMMDD'), 'infinity') || ':' || trim_scale(remaining), ' ' ORDER BY expires_on, seq), '')
	FROM loyalty.lot WHERE member_id = loyalty.member_id('tab', c) AND is_open
$$;
SELECT isnt(loyalty.enrol('tab', c), NULL, c || ' is a member') FROM unnest(ARRAY['ann', 'bob', 'cat', 'dan', 'eve', 'fay']) c;

-- adjustments
SELECT throws_ok($$SELECT loyalty.adjust('tab', 'ann', 0, 'why', 'k')$$, '22023', NULL, 'by nothing');
SELECT throws_ok($$SELECT loyalty.adjust('tab', 'ann', 'NaN', 'why', 'k')$$, '22023', NULL, 'by NaN');
SELECT throws_ok($$SELECT loyalty.adjust('tab', 'ann', 5, ' ', 'k')$$, '22023', NULL, 'without a reason');
SELECT throws_ok($$SELECT loyalty.adjust('tab', 'ann', 5, NULL, 'k')$$, '22004', NULL, 'with none');
SELECT throws_ok($$SELECT loyalty.adjust('tab', 'ann', 5, 'why', 'merge:7')$$, '22023', NULL, 'under a key of the engine''s own');
SELECT throws_ok($$SELECT loyalty.adjust('tab', 'zoe', 5, 'why', 'k')$$, 'LY001', NULL, 'nobody');
SELECT throws_ok($$SELECT loyalty.adjust('tab', 'ann', 5, 'why', 'k', expires_on => '2020-01-01')$$, '22023', NULL, 'to a day that has gone');
SELECT throws_ok($$SELECT loyalty.adjust('tab', 'ann', -5, 'why', 'k')$$, 'LY010', NULL, 'below what is there');
SELECT is(balance, 10.00::numeric(18,2), 'an adjustment gives points') FROM loyalty.adjust('tab', 'ann', 10, 'sorry', 'a1', expires_on => '2040-06-30', at => '2040-01-01');
SELECT is(balance, 10.00::numeric(18,2), 'again it is the same one') FROM loyalty.adjust('tab', 'ann', 10, 'sorry', 'a1', expires_on => '2040-06-30', at => '2040-01-01');
SELECT throws_ok($$SELECT loyalty.adjust('tab', 'ann', 11, 'sorry', 'a1', expires_on => '2040-06-30', at => '2040-01-01')$$, 'LY012', NULL, 'with other points it is none');
SELECT throws_ok($$SELECT loyalty.adjust('tab', 'ann', 10, 'other', 'a1', expires_on => '2040-06-30', at => '2040-01-01')$$, 'LY012', NULL, 'nor with another reason');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'ann', 10, 'a1')$$, 'LY012', NULL, 'nor is a redemption');
SELECT is(arguments ->> 'reason', 'sorry', 'the reason is kept') FROM loyalty.operation WHERE key = 'a1' AND member_id = loyalty.member_id('tab', 'ann');
SELECT balance FROM loyalty.adjust('tab', 'ann', 10, 'x', 'a2', at => '2040-01-01') \gset
SELECT balance FROM loyalty.adjust('tab', 'ann', 10, 'x', 'a3', expires_on => '2040-03-31', at => '2040-01-01') \gset
SELECT balance FROM loyalty.adjust('tab', 'ann', 10, 'x', 'a4', expires_on => '2040-06-30', at => '2040-01-01') \gset
SELECT is(shop.lots('ann'), '400331:10 400630:10 400630:10 infinity:10', 'lots of one member');

-- valid through the last day, in the programme's zone, without any job
SELECT is(loyalty.available('tab', 'ann', '2040-03-31 23:59:59 Pacific/Auckland'), 40.00, 'valid through the last day');
SELECT is(loyalty.available('tab', 'ann', '2040-04-01 00:00 Pacific/Auckland'), 30.00, 'and no longer');
SELECT is(loyalty.available('tab', 'ann', '2040-03-31 12:00 UTC'), 30.00, 'days are the programme''s');
SELECT is(balance, 30.00::numeric(18,2), 'points() agrees') FROM loyalty.points('tab', 'ann', '2040-04-01 00:00 Pacific/Auckland');
SELECT is(loyalty.available('tab', 'ann', '2041-01-01'), 10.00, 'never means never');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'ann', 31, 'e', at => '2040-04-01 00:00 Pacific/Auckland')$$, 'LY010', NULL, 'expired points cannot be spent');

-- soonest expiring first, then oldest, never last
SELECT points FROM loyalty.redeem('tab', 'ann', 25, 'r1', at => '2040-01-02') \gset
SELECT is(shop.lots('ann'), '400630:5 infinity:10', 'soonest first, never last');
SELECT is((SELECT string_agg(lot_seq || ':' || trim_scale(points), ' ' ORDER BY lot_seq) FROM loyalty.allocation WHERE member_id = loyalty.member_id('tab', 'ann')), '1:-10 3:-10 4:-5', 'of two that expire together the older one');
SELECT points FROM loyalty.cancel_redemption('tab', 'ann', 'r1', at => '2040-01-03') \gset
SELECT is(shop.lots('ann'), '400331:10 400630:10 400630:10 infinity:10', 'cancelling is exact');
-- what expired meanwhile gets days of grace
SELECT points FROM loyalty.redeem('tab', 'ann', 35, 'r2', at => '2040-03-31') \gset
SELECT points FROM loyalty.cancel_redemption('tab', 'ann', 'r2', at => '2040-04-10 12:00 Pacific/Auckland') \gset
SELECT is(shop.lots('ann'), '400424:10 400630:10 400630:10 infinity:10', 'an expired lot comes back for 14 days');
SELECT is(loyalty.available('tab', 'ann', '2040-04-10'), 40.00, 'and can be spent');
SELECT is(loyalty.available('tab', 'ann', '2040-04-25 00:00 Pacific/Auckland'), 30.00, 'for so long');
SELECT loyalty.set_redemption('tab', 1, restore_grace_days => 3);
SELECT points FROM loyalty.redeem('tab', 'ann', 12, 'r3', at => '2040-04-20 12:00 Pacific/Auckland') \gset
SELECT points FROM loyalty.cancel_redemption('tab', 'ann', 'r3', at => '2040-08-01 12:00 Pacific/Auckland') \gset
SELECT is(shop.lots('ann'), '400630:8 400630:10 400804:12 infinity:10', 'grace upon grace, of two lots in one');

-- transfers
SELECT throws_ok($$SELECT loyalty.transfer('tab', 'ann', 'ann', 5, 't')$$, 'LY003', NULL, 'to himself');
SELECT throws_ok($$SELECT loyalty.transfer('tab', 'ann', 'zoe', 5, 't')$$, 'LY001', NULL, 'to nobody');
SELECT throws_ok($$SELECT loyalty.transfer('tab', 'ann', 'bob', 50, 't')$$, 'LY010', NULL, 'more than there is');
SELECT throws_ok($$SELECT loyalty.transfer('tab', 'ann', 'bob', -5, 't')$$, '22023', NULL, 'the other way round');
SELECT is(balance, 18.00::numeric(18,2), 'the giver''s figures') FROM loyalty.transfer('tab', 'ann', 'bob', 22, 't1', at => '2040-05-01');
SELECT is(balance, 18.00::numeric(18,2), 'twice is once') FROM loyalty.transfer('tab', 'ann', 'bob', 22, 't1', at => '2040-05-01');
SELECT is(shop.lots('ann') || ' / ' || shop.lots('bob'), '400804:8 infinity:10 / 400630:18 400804:4', 'lots keep their expiry');
SELECT throws_ok($$SELECT loyalty.transfer('tab', 'bob', 'cat', 22, 't1', at => '2040-05-01')$$, 'LY012', NULL, 'the receiver knows the key as well');
SELECT is(shop.entries('tab', 'bob'), 'transfer 18, transfer 4', 'one entry for each expiry');
SELECT is((SELECT count(*) FROM loyalty.operation WHERE key = 't1'), 2::bigint, 'recorded on both sides');

-- a debt is paid from what comes
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'cat', 50);
SELECT loyalty.settle() \gset
SELECT points FROM loyalty.redeem('tab', 'cat', 50, 'c1') \gset
UPDATE shop.invoice SET total = 20 WHERE id = 1;
SELECT loyalty.settle() \gset
SELECT is(debt, 30.00::numeric(18,2), 'a debt') FROM loyalty.points('tab', 'cat');
SELECT throws_ok($$SELECT loyalty.transfer('tab', 'cat', 'bob', 1, 't2')$$, 'LY010', NULL, 'who owes has nothing to give');
SELECT balance FROM loyalty.transfer('tab', 'bob', 'cat', 10, 't3', at => '2040-05-01') \gset
SELECT is(balance || ' ' || debt || ' ' || available, '-20.00 20.00 0.00', 'a transfer repays it') FROM loyalty.points('tab', 'cat');
SELECT is(balance, 5.00::numeric(18,2), 'so does an adjustment') FROM loyalty.adjust('tab', 'cat', 25, 'x', 'c2');

-- merged customers: 10, 20, 30 become 60
SELECT balance FROM loyalty.adjust('tab', 'eve', 20, 'x', 'm') \gset
SELECT balance FROM loyalty.adjust('tab', 'fay', 30, 'x', 'm') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (10, 'dan', 100);
SELECT loyalty.settle() \gset
SELECT points FROM loyalty.redeem('tab', 'dan', 100, 'before') \gset
SELECT balance FROM loyalty.adjust('tab', 'dan', 10, 'x', 'm', expires_on => '2040-12-31') \gset
SELECT points FROM loyalty.reserve('tab', 'dan', 5, 'basket') \gset
SELECT is(balance || ' ' || available, '30.00 25.00', 'merged into a balance of 20, with a hold of 5') FROM loyalty.merge_customers('tab', 'dan', 'eve');
SELECT is(balance || ' ' || available, '30.00 25.00', 'again it does nothing') FROM loyalty.merge_customers('tab', 'dan', 'eve');
SELECT is(balance, 60.00::numeric(18,2), 'and a third') FROM loyalty.merge_customers('tab', 'eve', 'fay');
SELECT is((SELECT string_agg(loyalty.balance('tab', c)::text, ' ') FROM unnest(ARRAY['dan', 'eve', 'fay']) c), '60.00 60.00 60.00', 'one balance by all names');
SELECT is(shop.lots('fay'), '401231:10 infinity:30 infinity:20', 'lots keep their expiry');
SELECT is(shop.qualifying('tab', 'fay'), 100::numeric, 'what counts for the tier goes along');
SELECT is_empty('SELECT * FROM loyalty.check()', 'check() agrees');
SELECT is(points, 5.00::numeric(18,2), 'the hold went along') FROM loyalty.capture_hold('tab', 'dan', 'basket');
-- what is known stays with its member, but the points move on
UPDATE shop.invoice SET total = 90 WHERE id = 10;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'dan'), 45.00, 'a change of an old document');
SELECT is(shop.qualifying('tab', 'fay'), 90::numeric, 'counts for who has them now');
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (11, 'dan', -90, 10);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'fay'), -45.00, 'so does its return');
SELECT is(points, 100.00::numeric(18,2), 'a redemption from before') FROM loyalty.cancel_redemption('tab', 'dan', 'before');
SELECT is(loyalty.balance('tab', 'fay'), 55.00, 'can be cancelled');
INSERT INTO shop.invoice (id, customer, total) VALUES (12, 'dan', 7);
SELECT loyalty.settle() \gset
SELECT is((SELECT member_id FROM shop.doc('inv', '12')), loyalty.member_id('tab', 'fay'), 'a new document is the other one''s');
SELECT is(loyalty.balance('tab', 'eve'), 62.00, 'for all names');
SELECT is(points, 62.00::numeric(18,2), 'whoever of them redeems') FROM loyalty.redeem('tab', 'eve', 62, 'last');
SELECT throws_ok($$SELECT loyalty.transfer('tab', 'dan', 'eve', 1, 'self')$$, 'LY003', NULL, 'among them nothing is transferred');
SELECT is_empty('SELECT * FROM loyalty.verify(''inv'')', 'verify() agrees');
-- a key from before the merge is still known
SELECT is(points, 100.00::numeric(18,2), 'a retry from before the merge') FROM loyalty.redeem('tab', 'dan', 100, 'before');
SELECT is(loyalty.balance('tab', 'dan'), 0.00, 'moves nothing');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
