-- Returns whose lines say which line they return; and returns that another
-- table holds.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('rl', 'UTC') \gset
SELECT loyalty.set_rule('rl', 'base', 1, 1, applies_to => 'line') \gset
SELECT shop.attach_lines('inv', 'rl', evaluate => 'commit', line_filter => 'l.category IS DISTINCT FROM ''deposit''') \gset

-- two goods that earn and a deposit that does not
INSERT INTO shop.invoice (id, customer) VALUES (1, 'ann');
INSERT INTO shop.line (id, invoice, product, category, amount) VALUES (1, 1, 'tea', 'drinks', 50), (2, 1, 'cup', 'ware', 30), (3, 1, 'crate', 'deposit', 20);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rl', 'ann'), 80.00, 'the lines that earn');
INSERT INTO shop.invoice (id, customer, at) VALUES (2, 'ann', '2024-03-11');
INSERT INTO shop.line (id, invoice, product, category, amount, return_of) VALUES (4, 2, 'crate', 'deposit', -20, 3);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rl', 'ann'), 80.00, 'a returned deposit takes nothing: it gave nothing');
SELECT is((SELECT kind || ' ' || root_key FROM shop.doc('inv', '2')), 'return 1', 'it is a return of its sale, by its line');
INSERT INTO shop.invoice (id, customer, at) VALUES (3, 'ann', '2024-03-12');
INSERT INTO shop.line (id, invoice, product, category, amount, return_of) VALUES (5, 3, 'cup', 'ware', -30, 2);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rl', 'ann'), 50.00, 'a returned cup takes what the cup gave');
INSERT INTO shop.invoice (id, customer, at) VALUES (4, 'ann', '2024-03-13');
INSERT INTO shop.line (id, invoice, product, category, amount, return_of) VALUES (6, 4, 'tea', 'drinks', -15, 1);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rl', 'ann'), 35.00, 'a part of a line takes its part');
INSERT INTO shop.line (id, invoice, product, category, amount, return_of) VALUES (7, 4, 'tea', 'drinks', -100, 1);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rl', 'ann'), 0.00, 'more than the line had: clamped at the line');
SELECT is((SELECT overcredited FROM shop.doc('inv', '4')), 65::numeric, 'and reported');
DELETE FROM shop.line WHERE id = 7;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rl', 'ann'), 35.00, 'and undone');
-- over-crediting one line does not eat the other
INSERT INTO shop.invoice (id, customer) VALUES (5, 'bob');
INSERT INTO shop.line (id, invoice, amount) VALUES (10, 5, 50), (11, 5, 50);
INSERT INTO shop.invoice (id, customer, at) VALUES (6, 'bob', '2024-03-11');
INSERT INTO shop.line (id, invoice, amount, return_of) VALUES (12, 6, -90, 10);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rl', 'bob'), 50.00, 'too much of one line leaves the other alone');
-- several lines of one return, and the same line in several returns
INSERT INTO shop.invoice (id, customer) VALUES (7, 'cid');
INSERT INTO shop.line (id, invoice, amount) VALUES (20, 7, 10), (21, 7, 20), (22, 7, 30);
INSERT INTO shop.invoice (id, customer, at) VALUES (8, 'cid', '2024-03-11'), (9, 'cid', '2024-03-12');
INSERT INTO shop.line (id, invoice, amount, return_of) VALUES (23, 8, -10, 20), (24, 8, -5, 22), (25, 9, -20, 22), (26, 9, -20, 21);
SELECT loyalty.settle() \gset
SELECT is(shop.booked('inv', '7') || ' ' || shop.booked('inv', '8') || ' ' || shop.booked('inv', '9'), '60 -15 -40', 'two returns of several lines');
UPDATE shop.invoice SET cancelled = true WHERE id = 8;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rl', 'cid'), 20.00, 'one of them cancelled');
-- a line of the sale that is changed under its return
UPDATE shop.line SET amount = 15 WHERE id = 22;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rl', 'cid'), 10.00, 'the sale''s line shrinks below what came back');

-- one ticket that returns goods of two sales
INSERT INTO shop.invoice (id, customer) VALUES (30, 'dan'), (31, 'dan');
INSERT INTO shop.line (id, invoice, amount) VALUES (30, 30, 100), (31, 31, 10);
INSERT INTO shop.invoice (id, customer, at) VALUES (32, 'dan', '2024-03-11');
INSERT INTO shop.line (id, invoice, amount, return_of) VALUES (32, 32, -40, 30), (33, 32, -4, 31);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rl', 'dan'), 66.00, 'a ticket that returns goods of two sales');
SELECT set_eq($$SELECT root_key, points::numeric FROM shop.doc('inv', '32') WHERE root_key <> ''$$, $$VALUES ('30', -40::numeric), ('31', -4)$$, 'has a row in either family');
UPDATE shop.invoice SET cancelled = true WHERE id = 30;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rl', 'dan'), 6.00, 'one of the sales cancelled');
UPDATE shop.invoice SET cancelled = false WHERE id = 30;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rl', 'dan'), 66.00, 'and back');

-- an exchange: goods back and goods bought on one ticket
INSERT INTO shop.invoice (id, customer) VALUES (40, 'eva');
INSERT INTO shop.line (id, invoice, amount) VALUES (40, 40, 100);
INSERT INTO shop.invoice (id, customer, at) VALUES (41, 'eva', '2024-03-11');
INSERT INTO shop.line (id, invoice, amount, return_of) VALUES (41, 41, -100, 40), (42, 41, 130, NULL);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rl', 'eva'), 130.00, 'an exchange takes the old and gives the new');
SELECT is(shop.qualifying('rl', 'eva'), 130::numeric, 'and qualifies so');
INSERT INTO shop.invoice (id, customer, at) VALUES (42, 'eva', '2024-03-12');
INSERT INTO shop.line (id, invoice, amount, return_of) VALUES (43, 42, -130, 42);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rl', 'eva'), 0.00, 'what was bought in it can be returned as well');
-- linked by document and by line
INSERT INTO shop.invoice (id, customer) VALUES (50, 'fay');
INSERT INTO shop.line (id, invoice, category, amount) VALUES (50, 50, NULL, 60), (51, 50, 'deposit', 40);
INSERT INTO shop.invoice (id, customer, at, return_of) VALUES (51, 'fay', '2024-03-11', 50);
INSERT INTO shop.line (id, invoice, category, amount, return_of) VALUES (52, 51, 'deposit', -40, 51);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rl', 'fay'), 60.00, 'where both links are there the line''s is the better one');
-- step rules count what is left of the line
SELECT loyalty.create_program('stp', 'UTC') \gset
SELECT loyalty.set_rule('stp', 'base', 100, 1000, 'step', 'line') \gset
SELECT loyalty.detach('inv') \gset
SELECT shop.attach_lines('stp', 'stp') \gset
INSERT INTO shop.invoice (id, customer) VALUES (60, 'gil');
INSERT INTO shop.line (id, invoice, amount) VALUES (60, 60, 2500), (61, 60, 700);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('stp', 'gil'), 200.00, 'two whole steps');
INSERT INTO shop.invoice (id, customer, at) VALUES (61, 'gil', '2024-03-11');
INSERT INTO shop.line (id, invoice, amount, return_of) VALUES (62, 61, -400, 60), (63, 61, -700, 61);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('stp', 'gil'), 200.00, 'what is left still makes two');
INSERT INTO shop.invoice (id, customer, at) VALUES (62, 'gil', '2024-03-12');
INSERT INTO shop.line (id, invoice, amount, return_of) VALUES (64, 62, -101, 60);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('stp', 'gil'), 100.00, '1,999 make one');
SELECT loyalty.detach('stp') \gset

-- returns in a table of their own, with positive amounts
SELECT loyalty.create_program('two', 'UTC') \gset
SELECT loyalty.set_rule('two', 'base', 1, 1) \gset
CREATE TABLE shop.sale (no text PRIMARY KEY, customer text, at timestamptz DEFAULT '2024-03-10 12:00+00', total numeric);
CREATE TABLE shop.refund (id integer PRIMARY KEY, customer text, at timestamptz DEFAULT '2024-03-11 12:00+00', total numeric, sale text, void boolean DEFAULT false);
SELECT loyalty.attach('sale', 'two', 'shop.sale', 'r.no', 'r.customer', 'r.at', amount => 'r.total') \gset
SELECT loyalty.attach('refund', 'two', 'shop.refund', 'r.id', 'r.customer', 'r.at', amount => 'r.total', sign => '-1', return_of => 'r.sale', return_source => 'sale', void => 'r.void') \gset
INSERT INTO shop.sale VALUES ('S1', 'hal', DEFAULT, 100);
INSERT INTO shop.refund VALUES (1, 'hal', DEFAULT, 33, 'S1');
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('two', 'hal'), 67.00, 'a return in another source finds its sale');
SELECT is((SELECT s.name || ' ' || d.root_key FROM shop.doc('refund', '1') d JOIN loyalty.source s ON s.source_id = d.root_source_id), 'sale S1', 'there');
SELECT is((SELECT gross FROM shop.doc('refund', '1')), -33::numeric, 'its amount is negative by the mapped sign');
UPDATE shop.sale SET total = 40;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('two', 'hal'), 7.00, 'a change of the sale reaches it');
UPDATE shop.sale SET total = 30;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('two', 'hal'), 0.00, 'also below what came back');
UPDATE shop.refund SET void = true;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('two', 'hal'), 30.00, 'a cancelled refund gives back');
-- the refund comes first
INSERT INTO shop.refund VALUES (2, 'ida', DEFAULT, 10, 'S2');
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('two', 'ida'), 0.00, 'a refund waits for its sale');
INSERT INTO shop.sale VALUES ('S2', 'ida', DEFAULT, 8);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('two', 'ida'), 0.00, 'finds it when it comes');
-- numbers that both tables have are no confusion
INSERT INTO shop.sale VALUES ('2', 'jon', DEFAULT, 100);
SELECT loyalty.settle() \gset
UPDATE shop.refund SET void = true WHERE id = 2;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('two', 'jon'), 100.00, 'a sale of the same number is another document');
SELECT is(loyalty.balance('two', 'ida'), 8.00, 'than the refund');

-- one table for both, told apart by a column, amounts positive (as Odoo does it)
SELECT loyalty.create_program('odoo', 'UTC') \gset
SELECT loyalty.set_rule('odoo', 'base', 1, 1) \gset
CREATE TABLE shop.move (id integer PRIMARY KEY, move_type text, partner integer, date date DEFAULT '2024-03-10', state text DEFAULT 'posted', amount numeric, reversed_entry integer);
SELECT loyalty.attach('move', 'odoo', 'shop.move', 'r.id', 'r.partner', 'r.date', posted => 'r.state = ''posted''', void => 'r.state = ''cancel''', amount => 'r.amount',
	filter => 'r.move_type IN (''out_invoice'', ''out_refund'')', sign => 'CASE r.move_type WHEN ''out_refund'' THEN -1 ELSE 1 END', return_of => 'r.reversed_entry') \gset
INSERT INTO shop.move (id, move_type, partner, amount, reversed_entry) VALUES (1, 'out_invoice', 5, 100, NULL), (2, 'out_refund', 5, 25, 1), (3, 'in_invoice', 5, 999, NULL);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('odoo', '5'), 75.00, 'a positive credit note in the same table returns');
INSERT INTO shop.move (id, move_type, partner, amount) VALUES (4, 'out_refund', 5, 5);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('odoo', '5'), 70.00, 'one without a link as well');
UPDATE shop.move SET state = 'draft' WHERE id = 2;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('odoo', '5'), 95.00, 'and in draft it does not');

SELECT is_empty($$SELECT 1 FROM loyalty.verify('sale') UNION ALL SELECT 1 FROM loyalty.verify('refund') UNION ALL SELECT 1 FROM loyalty.verify('move')$$, 'verify agrees');
SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
