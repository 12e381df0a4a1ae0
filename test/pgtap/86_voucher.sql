-- Vouchers: codes, values, percentages, uses, validity, reservations.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'Asia/Tokyo') \gset
SELECT loyalty.create_program('other', 'UTC') \gset
SELECT loyalty.enrol('tab', 'ann') AS ann, loyalty.enrol('tab', 'bob') AS bob \gset

-- codes
SELECT is((SELECT count(DISTINCT loyalty.new_code()) FROM generate_series(1, 1000)), 1000::bigint, 'codes differ');
SELECT is((SELECT count(*) FROM generate_series(1, 200), LATERAL loyalty.new_code() c WHERE loyalty.voucher_code(c) IS DISTINCT FROM c), 0::bigint, 'a code is one');
SELECT is((SELECT count(*) FROM generate_series(1, 200) n, LATERAL loyalty.new_code() c WHERE loyalty.voucher_code(lower(loyalty.show_code(c))) IS DISTINCT FROM c), 0::bigint, 'in any case and with hyphens');
CREATE TEMP TABLE code AS SELECT loyalty.new_code() AS c FROM generate_series(1, 30);
SELECT is((SELECT count(*) FROM code, generate_series(1, 16) i, regexp_split_to_table('23456789ABCDEFGHJKLMNPQRSTVWXYZ', '') x
	WHERE x <> substr(c, i, 1) AND loyalty.voucher_code(overlay(c PLACING x FROM i FOR 1)) IS NOT NULL), 0::bigint, 'one wrong character is found');
SELECT is((SELECT count(*) FROM code, generate_series(1, 15) i, generate_series(i + 1, 15) j WHERE substr(c, i, 1) <> substr(c, j, 1)
	AND loyalty.voucher_code(overlay(overlay(c PLACING substr(c, j, 1) FROM i FOR 1) PLACING substr(c, i, 1) FROM j FOR 1)) IS NOT NULL), 0::bigint, 'so are two that were swapped');
SELECT ok(loyalty.voucher_code(x) IS NULL, 'no code: ' || x) FROM unnest(ARRAY['', 'ABC', repeat('2', 17), 'IIII-OOOO-0000-1111', 'ÄÄÄÄ-2222-2222-2222']) x;

-- issuing
SELECT throws_ok($$SELECT loyalty.issue_voucher('tab', 'ann', 'gift', 5, 'k')$$, '22023', NULL, 'a kind');
SELECT throws_ok($$SELECT loyalty.issue_voucher('tab', 'ann', 'value', 0, 'k')$$, '22023', NULL, 'a value');
SELECT throws_ok($$SELECT loyalty.issue_voucher('tab', 'ann', 'percent', 101, 'k')$$, '22023', NULL, 'up to 100 percent');
SELECT throws_ok($$SELECT loyalty.issue_voucher('tab', NULL, 'value', 5, 'k', transferable => false)$$, '22023', NULL, 'nobody''s own');
SELECT throws_ok($$SELECT loyalty.issue_voucher('tab', 'zoe', 'value', 5, 'k')$$, 'LY001', NULL, 'to a member');
SELECT loyalty.issue_voucher('tab', 'ann', 'value', 50, 'v1', 30, at => '2030-01-01 12:00+09') AS v1 \gset
SELECT is(loyalty.issue_voucher('tab', 'ann', 'value', 50, 'v1', 30, at => '2030-01-01 12:00+09'), :'v1', 'the same key gives the same voucher');
SELECT throws_ok($$SELECT loyalty.issue_voucher('tab', 'ann', 'value', 51, 'v1')$$, 'LY012', NULL, 'but not for another value');

-- using: partial value, the last day in the programme's zone
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, 10, ''k'')', translate(:'v1', '23456789', '34567892')), 'LY001', NULL, 'a wrong code')
WHERE :'v1' ~ '[2-9]';
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''other'', %L, 10, ''k'')', :'v1'), 'LY001', NULL, 'another programme''s');
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, 10, ''k'', at => ''2030-01-01 11:59+09'')', :'v1'), 'LY003', NULL, 'too early');
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, 10, ''k'', at => ''2030-02-01 00:00+09'')', :'v1'), 'LY003', NULL, 'too late');
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, ''NaN'', ''k'')', :'v1'), '22023', NULL, 'NaN');
SELECT results_eq(format('SELECT value, remaining FROM loyalty.redeem_voucher(''tab'', %L, 20, ''u1'', at => ''2030-01-31 23:59+09'')', :'v1'), $$VALUES (20::numeric, 30::numeric)$$, 'a part of its value');
SELECT results_eq(format('SELECT value, remaining FROM loyalty.redeem_voucher(''tab'', %L, 20, ''u1'', at => ''2030-01-31 23:59+09'')', :'v1'), $$VALUES (20::numeric, 30::numeric)$$, 'twice is once');
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, 21, ''u1'', at => ''2030-01-31 23:59+09'')', :'v1'), 'LY012', NULL, 'not for another order');
SELECT is(remaining, 30::numeric, 'ten days left to spend it') FROM loyalty.vouchers('tab', within_days => 10, at => '2030-01-22 12:00+09');
SELECT is_empty($$SELECT * FROM loyalty.vouchers('tab', within_days => 8, at => '2030-01-22 12:00+09')$$, 'not yet eight');
SELECT is(days_left, 9, 'nine of them') FROM loyalty.vouchers('tab', 'ann', at => '2030-01-22 12:00+09');
SELECT is_empty($$SELECT * FROM loyalty.vouchers('tab', 'bob')$$, 'bob has none');

-- reserve, capture, release
SELECT results_eq(format('SELECT value, remaining FROM loyalty.reserve_voucher(''tab'', %L, 100, ''b1'', minutes => 10, at => ''2030-01-02 12:00+09'')', :'v1'), $$VALUES (30::numeric, 0::numeric)$$, 'reserved');
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, 5, ''u2'', at => ''2030-01-02 12:09+09'')', :'v1'), 'LY011', NULL, 'nothing is left');
SELECT results_eq(format('SELECT value, remaining FROM loyalty.redeem_voucher(''tab'', %L, 5, ''u2'', at => ''2030-01-02 12:10+09'')', :'v1'), $$VALUES (5::numeric, 25::numeric)$$, 'until the reservation expires');
SELECT throws_ok(format('SELECT loyalty.capture_voucher(''tab'', %L, ''b1'', at => ''2030-01-02 12:11+09'')', :'v1'), 'LY003', NULL, 'then it cannot be captured');
SELECT value FROM loyalty.reserve_voucher('tab', :'v1', 10, 'b2', at => '2030-01-02 13:00+09') \gset
SELECT is(loyalty.capture_voucher('tab', :'v1', 'b2', at => '2030-01-02 13:01+09'), 10::numeric, 'captured');
SELECT is(loyalty.capture_voucher('tab', :'v1', 'b2', at => '2030-01-02 15:01+09'), 10::numeric, 'twice is once');
SELECT is(loyalty.release_voucher('tab', :'v1', 'b2'), 10::numeric, 'a use can be given back');
SELECT is(loyalty.release_voucher('tab', :'v1', 'b2'), 10::numeric, 'once');
SELECT is(remaining, 25::numeric, 'and is there again') FROM loyalty.vouchers('tab', 'ann', at => '2030-01-02');
SELECT throws_ok(format('SELECT loyalty.release_voucher(''tab'', %L, ''no such'')', :'v1'), 'LY001', NULL, 'what was never used');

-- percent, several uses, minimum order, not transferable
SELECT loyalty.issue_voucher('tab', 'ann', 'percent', 15, 'p1', max_uses => 2, min_order => 10, transferable => false) AS p1 \gset
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, 20, ''k'', ''bob'')', :'p1'), 'LY011', NULL, 'not for bob');
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, 20, ''k'')', :'p1'), 'LY011', NULL, 'nor for nobody');
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, 9.99, ''k'', ''ann'')', :'p1'), 'LY011', NULL, 'a small order');
SELECT is(value, 3.33::numeric, '15 % of 22.22, cut') FROM loyalty.redeem_voucher('tab', :'p1', 22.22, 'q1', 'ann');
SELECT is(value, 3.00::numeric, 'again') FROM loyalty.redeem_voucher('tab', :'p1', 20, 'q2', 'ann');
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, 20, ''q3'', ''ann'')', :'p1'), 'LY011', NULL, 'used up');
-- whoever has it
SELECT loyalty.issue_voucher('tab', NULL, 'percent', 10, 'camp', origin => 'campaign') AS c1 \gset
SELECT is(value, 1.00::numeric, 'for a guest') FROM loyalty.redeem_voucher('tab', :'c1', 10, 'g1');
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, 10, ''g2'')', :'c1'), 'LY011', NULL, 'once');

-- by redemption
SELECT balance FROM loyalty.adjust('tab', 'bob', 100, 'x', 'start') \gset
SELECT loyalty.set_reward('tab', 'ten off', 'money', 60, 10, voucher_days => 10) > 0 AS ok \gset
SELECT voucher AS r1, balance FROM loyalty.redeem_reward('tab', 'bob', 'ten off', 'w1') \gset
SELECT is(:'balance'::text, '40.00', 'points became a voucher');
SELECT is(voucher, :'r1'::text, 'the same one when asked again') FROM loyalty.redeem_reward('tab', 'bob', 'ten off', 'w1');
SELECT is(kind || ' ' || remaining, 'value 10', 'worth ten') FROM loyalty.vouchers('tab', 'bob');
SELECT value FROM loyalty.redeem_voucher('tab', :'r1', 4, 'x1') \gset
SELECT throws_ok($$SELECT loyalty.cancel_reward('tab', 'bob', 'w1')$$, 'LY003', NULL, 'what was used is not given back');
SELECT loyalty.release_voucher('tab', :'r1', 'x1') \gset
SELECT is(balance, 100.00::numeric(18,2), 'what was not is') FROM loyalty.cancel_reward('tab', 'bob', 'w1');
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, 4, ''x2'')', :'r1'), 'LY003', NULL, 'and the voucher is void');

-- the stored answer, and the same arguments or an error
SELECT loyalty.issue_voucher('tab', 'ann', 'value', 50, 's1') AS s1 \gset
SELECT value FROM loyalty.redeem_voucher('tab', :'s1', 20, 'a') \gset
SELECT value FROM loyalty.redeem_voucher('tab', :'s1', 10, 'b') \gset
SELECT is(remaining, 30::numeric, 'the same key gets the answer that it got') FROM loyalty.redeem_voucher('tab', :'s1', 20, 'a');
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, 20, ''a'', doc_key => ''7'')', :'s1'), 'LY012', NULL, 'not for another document');
SELECT throws_ok(format('SELECT loyalty.reserve_voucher(''tab'', %L, 20, ''a'')', :'s1'), 'LY012', NULL, 'nor as a reservation');
SELECT value FROM loyalty.reserve_voucher('tab', :'s1', 5, 'c', minutes => 10) \gset
SELECT throws_ok(format('SELECT loyalty.reserve_voucher(''tab'', %L, 5, ''c'', minutes => 20)', :'s1'), 'LY012', NULL, 'nor for other minutes');
SELECT loyalty.capture_voucher('tab', :'s1', 'c', '8') \gset
SELECT is(loyalty.capture_voucher('tab', :'s1', 'c', '8'), 5::numeric, 'captured once');
SELECT throws_ok(format('SELECT loyalty.capture_voucher(''tab'', %L, ''c'', ''9'')', :'s1'), 'LY012', NULL, 'for one document');
SELECT loyalty.issue_voucher('tab', 'ann', 'percent', 5, 's2') AS s2 \gset
SELECT is(loyalty.issue_voucher('tab', 'ann', 'percent', 5, 's2'), :'s2', 'a percentage is issued once, too');
SELECT throws_ok($$SELECT loyalty.issue_voucher('tab', 'ann', 'percent', 5, 's2', 31)$$, 'LY012', NULL, 'not for other days');
SELECT throws_ok($$SELECT loyalty.redeem_voucher('tab', NULL, 20, 'a')$$, '22004', NULL, 'a code');

-- for certain goods: their lines only
SELECT loyalty.set_category('tab', 'boots', 'shoes') \gset
SELECT loyalty.set_reward('tab', 'shoes', 'percent', 0, 10, categories => '{shoes}', voucher_days => 10) > 0 AS ok \gset
SELECT voucher AS g1 FROM loyalty.redeem_reward('tab', 'ann', 'shoes', 'g1') \gset
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, 100, ''k'')', :'g1'), '22023', NULL, 'which of them are shoes?');
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, 100, ''k'', lines => ''[{"category": "hats", "amount": 100}]'')', :'g1'), 'LY011', NULL, 'none');
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, NULL, ''k'', lines => ''[{"category": "shoes", "amount": "x"}]'')', :'g1'), '22023', NULL, 'numbers');
SELECT throws_ok(format('SELECT loyalty.redeem_voucher(''tab'', %L, NULL, ''k'', lines => ''{}'')', :'g1'), '22023', NULL, 'lines');
SELECT is(value, 4.00::numeric, '10 % of the shoes, boots among them') FROM loyalty.redeem_voucher('tab', :'g1', NULL, 'k',
	lines => '[{"category": "hats", "amount": 100}, {"category": ["sale", "boots"], "amount": 30}, {"category": "shoes", "amount": 10}]');

-- a customer's own voucher is his after a merge
SELECT loyalty.enrol('tab', 'old') \gset
SELECT loyalty.issue_voucher('tab', 'old', 'value', 5, 'm1', transferable => false) AS m1 \gset
SELECT loyalty.set_reward('tab', 'once', 'service', 0, times => 1, times_period => 'ever') > 0 AS ok \gset
SELECT points FROM loyalty.redeem_reward('tab', 'old', 'once', 'o1') \gset
SELECT points FROM loyalty.merge_customers('tab', 'old', 'bob') \gset
SELECT is((SELECT count(*) FROM loyalty.vouchers('tab', 'bob') WHERE code = :'m1'), 1::bigint, 'both names list it');
SELECT throws_ok($$SELECT loyalty.redeem_reward('tab', 'bob', 'once', 'o2')$$, 'LY011', NULL, 'and what he had counts');
SELECT is(value, 5::numeric, 'and use it') FROM loyalty.redeem_voucher('tab', :'m1', 10, 'x', 'old');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
