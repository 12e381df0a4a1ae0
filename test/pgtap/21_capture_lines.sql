-- Documents whose amounts are in their lines: whichever comes first, whatever
-- moves.  Each settle() stands for a COMMIT.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('ln', 'UTC') \gset
SELECT loyalty.set_rule('ln', 'base', 1, 1) \gset
SELECT shop.attach_lines('inv', 'ln') \gset

-- header first, lines later
INSERT INTO shop.invoice (id, customer) VALUES (1, 'hdr');
SELECT loyalty.settle() \gset
SELECT is(shop.entries('ln', 'hdr'), '', 'a header without lines earns nothing');
INSERT INTO shop.line (id, invoice, amount) VALUES (1, 1, 30), (2, 1, 12);
SELECT is(loyalty.settle(), 1::bigint, 'its lines come later: one document');
SELECT is(loyalty.balance('ln', 'hdr'), 42.00, 'and earn');
INSERT INTO shop.invoice (id, customer) VALUES (2, 'hdr1');
INSERT INTO shop.line (id, invoice, amount) VALUES (3, 2, 30);
INSERT INTO shop.line (id, invoice, amount) VALUES (4, 2, 12);
SELECT is(loyalty.settle(), 1::bigint, 'in one transaction it is one document');
SELECT is(shop.entries('ln', 'hdr1'), 'earn 42', 'and one entry');

-- lines before their header
INSERT INTO shop.line (id, invoice, amount) VALUES (5, 3, 30), (6, 3, 12);
SELECT lives_ok($$SELECT loyalty.settle()$$, 'lines whose header is not there are no error');
SELECT is_empty($$SELECT FROM shop.pending$$, 'and park nothing');
INSERT INTO shop.invoice (id, customer) VALUES (3, 'lin');
SELECT loyalty.settle() \gset
SELECT is(shop.entries('ln', 'lin'), 'earn 42', 'they earn when the header comes');

-- a line without a parent
INSERT INTO shop.line (id, invoice, amount) VALUES (7, NULL, 8);
SELECT lives_ok($$SELECT loyalty.settle()$$, 'a line without a parent is no error');
UPDATE shop.line SET invoice = 3 WHERE id = 7;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('ln', 'lin'), 50.00, 'it earns when an UPDATE gives it one');
UPDATE shop.line SET invoice = NULL WHERE id = 7;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('ln', 'lin'), 42.00, 'and no longer when it is taken off again');

-- a line that moves
INSERT INTO shop.invoice (id, customer) VALUES (4, 'mov1'), (5, 'mov2');
INSERT INTO shop.line (id, invoice, amount) VALUES (8, 4, 10), (9, 4, 5), (10, 5, 1);
SELECT loyalty.settle() \gset
UPDATE shop.line SET invoice = 5 WHERE id = 9;
SELECT is(loyalty.settle(), 2::bigint, 'a line that moves concerns two documents');
SELECT is(loyalty.balance('ln', 'mov1'), 10.00, 'the one it leaves');
SELECT is(loyalty.balance('ln', 'mov2'), 6.00, 'and the one it comes to');
UPDATE shop.line SET invoice = 4 WHERE invoice = 5;
UPDATE shop.line SET invoice = 5 WHERE id = 8;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('ln', 'mov1'), 6.00, 'all lines moved: the first');
SELECT is(loyalty.balance('ln', 'mov2'), 10.00, 'and the second');

-- lines changed
UPDATE shop.line SET amount = 15 WHERE id = 8;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('ln', 'mov2'), 15.00, 'a line''s amount counts');
UPDATE shop.line SET note = 'gift wrapped' WHERE id = 8;
SELECT is(loyalty.settle(), 0::bigint, 'a line''s column that is not mapped does not');
DELETE FROM shop.line WHERE id = 8;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('ln', 'mov2'), 0.00, 'a document without any line earns nothing');
DELETE FROM shop.invoice WHERE id = 4;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('ln', 'mov1'), 0.00, 'nor do lines whose header is deleted');
-- header and lines go together, in either order
DELETE FROM shop.line WHERE invoice = 1;
DELETE FROM shop.invoice WHERE id = 1;
DELETE FROM shop.invoice WHERE id = 2;
DELETE FROM shop.line WHERE invoice = 2;
SELECT loyalty.settle() \gset
SELECT is(shop.entries('ln', 'hdr'), 'earn 42, correction -42', 'lines deleted before their header');
SELECT is(shop.entries('ln', 'hdr1'), 'earn 42, correction -42', 'and after it');

-- an ERP that rewrites all lines at every save
INSERT INTO shop.invoice (id, customer) VALUES (6, 'rew');
INSERT INTO shop.line (id, invoice, amount) VALUES (20, 6, 10), (21, 6, 20);
SELECT loyalty.settle() \gset
DELETE FROM shop.line WHERE invoice = 6;
INSERT INTO shop.line (id, invoice, amount) VALUES (22, 6, 10), (23, 6, 20);
SELECT loyalty.settle() \gset
SELECT is(shop.entries('ln', 'rew'), 'earn 30', 'lines written anew move nothing');

-- the lines' documents are found when the header's mapped key is the one that changes
UPDATE shop.invoice SET id = 60 WHERE id = 6;
UPDATE shop.line SET invoice = 60 WHERE invoice = 6;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('ln', 'rew'), 30.00, 'a key renamed with its lines');
SELECT is(shop.booked('inv', '60'), 30::numeric, 'is the new document');
UPDATE shop.invoice SET id = 61 WHERE id = 60;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('ln', 'rew'), 0.00, 'without them it has none');
UPDATE shop.line SET invoice = 61 WHERE invoice = 60;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('ln', 'rew'), 30.00, 'until they follow');

-- what a line was is kept
INSERT INTO shop.invoice (id, customer) VALUES (7, 'frz');
INSERT INTO shop.line (id, invoice, product, category, qty, amount) VALUES (30, 7, 'tea', 'drinks', 2, 9.5);
SELECT loyalty.settle() \gset
SELECT results_eq($$SELECT line_key, product, qty, amount FROM loyalty.document_line dl
		WHERE doc_key = '7'$$,
	$$VALUES ('30', 'tea', 2::numeric, 9.5::numeric)$$, 'document_line shows what was read');
UPDATE shop.line SET category = 'food' WHERE id = 30;
SELECT loyalty.settle() \gset
SELECT is(shop.entries('ln', 'frz'), 'earn 9', 'another category: no entry');

SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'after all this verify finds nothing');
SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
