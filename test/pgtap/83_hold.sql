-- Points reserved for an open basket.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'UTC') \gset
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset
SELECT loyalty.set_redemption('tab', 0.1, redeem_multiple => 10, hold_minutes => 30) \gset
SELECT shop.attach('inv', 'tab') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'ann', 100), (2, 'bob', 100), (9, 'cat', 100);
SELECT loyalty.settle() \gset

SELECT results_eq($$SELECT * FROM loyalty.reserve('tab', 'ann', 60, 'h1', at => '2030-01-01 12:00+00')$$,
	$$VALUES (60.00::numeric(18,2), 6::numeric, 100.00::numeric(18,2), 40.00::numeric(18,2))$$, 'a hold leaves the balance, not what is available');
SELECT is(loyalty.balance('tab', 'ann'), 100.00, 'the balance stays the balance');
SELECT is(held, 60.00::numeric(18,2), 'points() shows both') FROM loyalty.points('tab', 'ann', '2030-01-01 12:29+00');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'ann', 50, 'r1', at => '2030-01-01 12:10+00')$$, 'LY010', NULL, 'reserved points cannot be redeemed');
SELECT throws_ok($$SELECT loyalty.reserve('tab', 'ann', 50, 'h2', at => '2030-01-01 12:10+00')$$, 'LY010', NULL, 'nor reserved again');
SELECT throws_ok($$SELECT loyalty.reserve('tab', 'ann', 35, 'h2', at => '2030-01-01 12:10+00')$$, 'LY011', NULL, 'limits hold for reservations');
SELECT is(available, 0.00::numeric(18,2), 'what is left can be redeemed') FROM loyalty.redeem('tab', 'ann', 40, 'r1', at => '2030-01-01 12:10+00');

-- it expires by itself
SELECT is(loyalty.available('tab', 'ann', '2030-01-01 12:29:59.999+00'), 0.00, 'a hold counts for its minutes');
SELECT is(loyalty.available('tab', 'ann', '2030-01-01 12:30+00'), 60.00, 'and then no more');
SELECT throws_ok($$SELECT loyalty.capture_hold('tab', 'ann', 'h1', at => '2030-01-01 12:30+00')$$, 'LY003', NULL, 'nor can it be captured');
SELECT is(points, 60.00::numeric(18,2), 'its points can be reserved') FROM loyalty.reserve('tab', 'ann', 60, 'h3', 5, at => '2030-01-01 12:40+00');
SELECT throws_ok($$SELECT loyalty.reserve('tab', 'ann', 60, 'h4', 0)$$, '22023', NULL, 'no hold for no time');

-- capture
SELECT throws_ok($$SELECT loyalty.capture_hold('tab', 'ann', 'no such')$$, 'LY001', NULL, 'a hold that is not there');
SELECT throws_ok($$SELECT loyalty.capture_hold('tab', 'ann', 'h3', 61, at => '2030-01-01 12:41+00')$$, 'LY011', NULL, 'more than it holds');
SELECT throws_ok($$SELECT loyalty.capture_hold('tab', 'ann', 'h3', 0, at => '2030-01-01 12:41+00')$$, '22023', NULL, 'nothing');
SELECT results_eq($$SELECT * FROM loyalty.capture_hold('tab', 'ann', 'h3', 25, at => '2030-01-01 12:41+00')$$,
	$$VALUES (25.00::numeric(18,2), 2.5::numeric, 35.00::numeric(18,2), 35.00::numeric(18,2))$$, 'a part is captured, the rest is free');
SELECT results_eq($$SELECT * FROM loyalty.capture_hold('tab', 'ann', 'h3', 25, at => '2030-01-01 12:41+00')$$,
	$$VALUES (25.00::numeric(18,2), 2.5::numeric, 35.00::numeric(18,2), 35.00::numeric(18,2))$$, 'twice is once');
SELECT throws_ok($$SELECT loyalty.capture_hold('tab', 'ann', 'h3', 10, at => '2030-01-01 12:41+00')$$, 'LY012', NULL, 'and with other points an error');
SELECT throws_ok($$SELECT loyalty.release_hold('tab', 'ann', 'h3')$$, 'LY003', NULL, 'what is captured is not released');
SELECT is(state || ' ' || captured, 'captured 25.00', 'the hold says so') FROM loyalty.hold WHERE key = 'h3' AND member_id = loyalty.member_id('tab', 'ann');
SELECT is(points, 25.00::numeric(18,2), 'it is cancelled like any redemption') FROM loyalty.cancel_redemption('tab', 'ann', 'h3');
SELECT is(loyalty.balance('tab', 'ann'), 60.00, 'and comes back');
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'ann', 10, 'h3')$$, 'LY012', NULL, 'the key is used');

-- release
SELECT is(available, 40.00::numeric(18,2), 'a hold') FROM loyalty.reserve('tab', 'bob', 60, 'h1');
SELECT is(points || ' ' || available, '60.00 100.00', 'is released') FROM loyalty.release_hold('tab', 'bob', 'h1');
SELECT is(points || ' ' || available, '60.00 100.00', 'again it is the same') FROM loyalty.release_hold('tab', 'bob', 'h1');
SELECT throws_ok($$SELECT loyalty.capture_hold('tab', 'bob', 'h1')$$, 'LY003', NULL, 'what is released is not captured');

-- whole, for a document
SELECT points FROM loyalty.reserve('tab', 'bob', 100, 'h2') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (3, 'bob', 50);
SELECT is(points || ' ' || value, '100.00 10', 'captured with its document') FROM loyalty.capture_hold('tab', 'bob', 'h2', source => 'inv', doc_key => '3');
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'bob'), 40.00, 'which earns for the rest');

-- earning goes on, losing too: a hold is no guarantee against a return
SELECT points FROM loyalty.reserve('tab', 'bob', 40, 'h3') \gset
UPDATE shop.invoice SET total = 40 WHERE id = 3;
SELECT loyalty.settle() \gset
SELECT is(balance || ' ' || held || ' ' || available, '30.00 40.00 0.00', 'what is taken back may be reserved') FROM loyalty.points('tab', 'bob');
SELECT throws_ok($$SELECT loyalty.capture_hold('tab', 'bob', 'h3')$$, 'LY010', NULL, 'then it cannot be captured whole');
SELECT is(points, 30.00::numeric(18,2), 'but for what is there') FROM loyalty.capture_hold('tab', 'bob', 'h3', 30);

-- what has expired is written down in passing, or by close_holds()
SELECT points FROM loyalty.reserve('tab', 'cat', 10, 'old', 1, at => '2020-01-01') \gset
SELECT is((SELECT held FROM loyalty.member WHERE member_id = loyalty.member_id('tab', 'cat')), 10.00, 'noted');
SELECT is(done, 1::bigint, 'close_holds() notes that it is over') FROM loyalty.close_holds();
SELECT is((SELECT held FROM loyalty.member WHERE member_id = loyalty.member_id('tab', 'cat')), 0.00, 'so');
SELECT is(done, 0::bigint, 'once') FROM loyalty.close_holds();

-- a reward for a basket: its cost is reserved, then released and spent in one transaction
SELECT loyalty.enrol('tab', 'basket') \gset
SELECT points FROM loyalty.adjust('tab', 'basket', 60, 'x', 'start') \gset
SELECT loyalty.set_reward('tab', 'mug', 'product', 60) \gset
SELECT points FROM loyalty.reserve('tab', 'basket', 60, 'for the mug') \gset
SELECT throws_ok($$SELECT loyalty.redeem_reward('tab', 'basket', 'mug', 'mug')$$, 'LY010', NULL, 'nobody else can have it');
SELECT points FROM loyalty.release_hold('tab', 'basket', 'for the mug') \gset
SELECT is(balance, 0.00::numeric(18,2), 'it is had') FROM loyalty.redeem_reward('tab', 'basket', 'mug', 'mug');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
