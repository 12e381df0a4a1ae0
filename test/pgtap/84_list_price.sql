-- List prices: mapped, frozen with the line, seen by conditions.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('club', 'UTC', 'EUR') \gset
SELECT loyalty.set_rule('club', 'base', 1, 1, applies_to => 'line') \gset
SELECT loyalty.set_rule('club', 'full price only', kind => 'exclusion', condition => 'line.amount < line.list_price * line.qty') \gset
CREATE TABLE shop.item (product text PRIMARY KEY, price numeric);
INSERT INTO shop.item VALUES ('tea', 5), ('cup', 8);
SELECT throws_ok($$SELECT loyalty.attach('club', 'club', 'shop.invoice', 'r.id', 'r.customer', 'r.at', lines => 'shop.line', line_parent => 'l.invoice',
	line_key => 'l.id', line_amount => 'l.amount', line_list_price => 'l.note')$$, '42804', NULL, 'a list price that is no number is refused');
SELECT loyalty.attach('club', 'club', 'shop.invoice', 'r.id', 'r.customer', 'r.at', sign => 'CASE WHEN r.note = ''credit'' THEN -1 ELSE 1 END',
	currency => 'r.currency', rate => 'r.rate', lines => 'shop.line', line_parent => 'l.invoice', line_key => 'l.id', line_product => 'l.product',
	line_qty => 'l.qty', line_amount => 'l.amount', line_list_price => '(SELECT i.price FROM shop.item i WHERE i.product = l.product)',
	evaluate => 'statement') \gset

INSERT INTO shop.invoice (id, customer) VALUES (1, 'a');
INSERT INTO shop.line (id, invoice, product, qty, amount) VALUES (1, 1, 'tea', 2, 10), (2, 1, 'cup', 1, 6), (3, 1, 'pen', 1, 3);
SELECT results_eq($$SELECT line_key, list_price FROM loyalty.document_line WHERE source = 'club' ORDER BY 1$$,
	$$VALUES ('1', 5::numeric), ('2', 8), ('3', NULL)$$, 'the price of a unit is kept with the line');
SELECT is(loyalty.balance('club', 'a'), 13::numeric(18,2), 'a rule can leave out what was sold below it');
-- the document's currency and a credit note's sign
INSERT INTO shop.invoice (id, customer, currency, rate, note) VALUES (2, 'b', 'USD', 0.5, NULL), (3, 'b', 'USD', 0.5, 'credit');
INSERT INTO shop.line (id, invoice, product, qty, amount) VALUES (4, 2, 'tea', 2, 10), (5, 3, 'tea', 1, 5);
SELECT results_eq($$SELECT line_key, amount, list_price FROM loyalty.document_line WHERE source = 'club' AND doc_key <> '1' ORDER BY 1$$,
	$$VALUES ('4', 5::numeric, 2.5::numeric), ('5', -2.5, 2.5)$$, 'a price is converted, and has no sign');
-- frozen: the list changes, the document does not
UPDATE shop.item SET price = 100;
SELECT is(loyalty.retry_parked('club') + loyalty.settle(), 0::bigint, 'nothing waits');
SELECT is((SELECT list_price FROM loyalty.document_line WHERE source = 'club' AND line_key = '1'), 5::numeric, 'a later list is not that of old documents');
SELECT is_empty($$SELECT * FROM loyalty.verify('club') WHERE doc_key = '3'$$, 'a document whose points stay the same is right');
SELECT is((SELECT q.points FROM loyalty.quote_earn('club', 'a', 20, '[{"key": "1", "qty": 1, "amount": 10, "list_price": 12}, {"key": "2", "qty": 1, "amount": 10}]') q
	ORDER BY q.step DESC LIMIT 1),
	10::numeric, 'a quote takes list prices');

-- figures
SELECT loyalty.refresh_products('club', min_baskets => 1) \gset
SELECT loyalty.refresh_details('club') \gset
SELECT results_eq($$SELECT m.customer, p.listed_lines, p.list_discount_amount, p.list_amount, p.list_discount_share
		FROM loyalty.price_sensitivity p JOIN loyalty.member m USING (member_id) WHERE p.program = 'club' ORDER BY 1$$,
	$$VALUES ('a', 2::bigint, 2::numeric(18,2), 18::numeric(18,2), 0.1111::numeric(12,4)), ('b', 1, 0, 5, 0)$$,
	'discount share: what was saved over what it would have cost');
-- categories as text and as arrays, read from frozen lines
SELECT results_eq($$SELECT * FROM loyalty.line_facts('[{"key": "1", "product": "x", "category": ["a", "b"], "qty": 1.5, "amount": -2, "cost": 0.1}, {"category": "c", "list_price": 7}, {}]')$$,
	$$VALUES ('x', '["a", "b"]'::jsonb, 1.5::numeric, -2::numeric, 0.1::numeric, NULL::numeric), (NULL, '"c"', NULL, NULL, NULL, 7), (NULL, NULL, NULL, NULL, NULL, NULL)$$, 'line_facts');
SELECT is_empty($$SELECT * FROM loyalty.line_facts('[]') UNION ALL SELECT * FROM loyalty.line_facts(NULL)$$, 'no lines, no rows');
SELECT throws_ok(format('SELECT * FROM loyalty.line_facts(%L)', j), 'XX001', NULL, 'broken lines: ' || j)
	FROM unnest(ARRAY['{}', '[1]', '[[1]]', '1', '[{"qty": "1"}]', '[{"product": 1}]']) j;

SELECT is_empty('SELECT * FROM loyalty.check()', 'check()');
SELECT * FROM finish();
ROLLBACK;
