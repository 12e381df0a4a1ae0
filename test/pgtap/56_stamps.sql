-- set_stamp_card() and stamp_card().
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('cups', 'UTC') \gset
SELECT loyalty.set_rule('cups', 'cup', 1, kind => 'unit', mode => 'step', condition => 'line.product = ''cup''') \gset
SELECT shop.attach_lines('bar', 'cups', evaluate => 'statement', line_filter => 'l.note IS DISTINCT FROM ''free''') \gset
SELECT throws_ok($$SELECT loyalty.stamp_card('cups', 'ann')$$, 'LY003', NULL, 'no stamp card yet');
SELECT loyalty.set_stamp_card('cups', 10) \gset
SELECT results_eq($$SELECT * FROM loyalty.stamp_card('cups', 'ann')$$, $$VALUES (0::numeric, 10, 10::numeric, 0::bigint)$$, 'an empty card');

CREATE FUNCTION shop.buy(id integer, cups numeric, amount numeric, note text DEFAULT NULL) RETURNS void
LANGUAGE sql AS $$
	INSERT INTO shop.line (id, invoice, product, qty, amount, note) VALUES (id, id, 'cup', cups, amount, note);
	INSERT INTO shop.invoice (id, customer) VALUES (id, 'ann')
$$;
SELECT shop.buy(1, 9, 27) \g /dev/null
SELECT results_eq($$SELECT * FROM loyalty.stamp_card('cups', 'ann')$$, $$VALUES (9::numeric, 10, 1::numeric, 0::bigint)$$, 'one is missing');
SELECT shop.buy(2, 1, 0), shop.buy(3, 1, 3, 'free'), shop.buy(4, 0.5, 1) \g /dev/null
SELECT results_eq($$SELECT * FROM loyalty.stamp_card('cups', 'ann')$$, $$VALUES (9::numeric, 10, 1::numeric, 0::bigint)$$, 'a free cup never earns, nor does half a cup');
SELECT shop.buy(5, 12, 36) \g /dev/null
SELECT results_eq($$SELECT * FROM loyalty.stamp_card('cups', 'ann')$$, $$VALUES (1::numeric, 10, 9::numeric, 2::bigint)$$, 'two full cards');
INSERT INTO shop.line (id, invoice, product, qty, amount, return_of) VALUES (6, 6, 'cup', -2, -6, 5);
INSERT INTO shop.invoice (id, customer, return_of) VALUES (6, 'ann', 5);
SELECT results_eq($$SELECT * FROM loyalty.stamp_card('cups', 'ann')$$, $$VALUES (9::numeric, 10, 1::numeric, 1::bigint)$$, 'cups that come back take their stamps along');

SELECT throws_ok($$SELECT loyalty.set_stamp_card('cups', 0)$$, '22023', NULL, 'a card of no stamps');
SELECT throws_ok($$SELECT loyalty.set_stamp_card('nowhere', 10)$$, 'LY001', NULL, 'an unknown programme');
SELECT throws_ok($$SELECT loyalty.stamp_card('nowhere', 'ann')$$, 'LY001', NULL, 'of which there is no card');
SELECT throws_ok($$SELECT loyalty.stamp_card('cups', NULL)$$, '22004', NULL, 'nor of nobody');
SELECT loyalty.set_stamp_card('cups', NULL) \gset
SELECT throws_ok($$SELECT loyalty.stamp_card('cups', 'ann')$$, 'LY003', NULL, 'stamps no more');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
