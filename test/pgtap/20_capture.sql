-- What may happen to a document, one case after the other.  Each settle()
-- stands for the COMMIT of a transaction.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('cap', 'UTC') \gset
SELECT loyalty.set_rule('cap', 'base', 1, 1) \gset
SELECT shop.attach('inv', 'cap') \gset

-- insert already posted
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'ins', 100);
SELECT is(loyalty.balance('cap', 'ins'), 0.00, 'nothing is booked before the transaction ends');
SELECT is(loyalty.settle(), 1::bigint, 'settle() takes one document');
SELECT is(loyalty.balance('cap', 'ins'), 100.00, 'inserted already posted: earns');
SELECT is(loyalty.settle(), 0::bigint, 'and is done');

-- draft, then posted
INSERT INTO shop.invoice (id, customer, total, state) VALUES (2, 'draft', 50, 'draft');
SELECT loyalty.settle() \gset
SELECT is(shop.entries('cap', 'draft'), '', 'a draft earns nothing');
SELECT is(loyalty.member_id('cap', 'draft'), NULL::bigint, 'and makes nobody a member');
UPDATE shop.invoice SET state = 'posted' WHERE id = 2;
SELECT loyalty.settle() \gset
SELECT is(shop.entries('cap', 'draft'), 'earn 50', 'it earns when it is posted');

-- posted, then what does not matter
UPDATE shop.invoice SET state = 'paid' WHERE id = 2;
SELECT loyalty.settle() \gset
SELECT is(shop.entries('cap', 'draft'), 'earn 50', 'posted to paid: no entry');
UPDATE shop.invoice SET note = 'seen' WHERE id = 2;
SELECT is(loyalty.settle(), 0::bigint, 'a column that is not mapped is not even looked at');
UPDATE shop.invoice SET total = total, customer = customer, state = state WHERE id = 2;
SELECT is(loyalty.settle(), 0::bigint, 'nor is an update that changes nothing');
UPDATE shop.invoice SET total = 50.000 WHERE id = 2;
SELECT loyalty.settle() \gset
SELECT is(shop.entries('cap', 'draft'), 'earn 50', 'the same amount with more zeros: no entry');
UPDATE shop.invoice SET channel = 'web' WHERE id = 2;
SELECT loyalty.settle() \gset
SELECT is(shop.entries('cap', 'draft'), 'earn 50', 'another channel: no entry');
SELECT is((SELECT channel FROM shop.document WHERE doc_key = '2'), 'web', 'but it is known');

-- posted, draft, edited, posted
INSERT INTO shop.invoice (id, customer, total) VALUES (3, 'edit', 100);
SELECT loyalty.settle() \gset
UPDATE shop.invoice SET state = 'draft' WHERE id = 3;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'edit'), 0.00, 'back to draft: the points go back');
SELECT is((SELECT state FROM shop.document WHERE doc_key = '3'), 'withdrawn', 'the document is withdrawn');
UPDATE shop.invoice SET total = 120 WHERE id = 3;
SELECT loyalty.settle() \gset
UPDATE shop.invoice SET state = 'posted' WHERE id = 3;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'edit'), 120.00, 'posted again: earns what it says now');
SELECT is(shop.entries('cap', 'edit'), 'earn 100, correction -100, correction 120', 'each step is in the ledger');
UPDATE shop.invoice SET state = 'draft' WHERE id = 3;
UPDATE shop.invoice SET total = 125 WHERE id = 3;
UPDATE shop.invoice SET state = 'posted' WHERE id = 3;
SELECT is(loyalty.settle(), 1::bigint, 'in one transaction it is one document');
SELECT is(shop.entries('cap', 'edit'), 'earn 100, correction -100, correction 120, correction 5', 'and one entry');
UPDATE shop.invoice SET total = 1 WHERE id = 3;
UPDATE shop.invoice SET total = 125 WHERE id = 3;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'edit'), 125.00, 'there and back: nothing');
SELECT is((SELECT last_seq FROM shop.member WHERE customer = 'edit'), 4::bigint, 'not even an entry');

-- amount and customer edited after posting
UPDATE shop.invoice SET total = 80 WHERE id = 3;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'edit'), 80.00, 'a lower amount takes the difference back');
UPDATE shop.invoice SET customer = 'edit2' WHERE id = 3;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'edit'), 0.00, 'another customer: the old one loses the points');
SELECT is(loyalty.balance('cap', 'edit2'), 80.00, 'the new one gets them');
SELECT is((SELECT string_agg(m.customer || ' ' || d.state, ', ' ORDER BY m.customer) FROM shop.document d JOIN shop.member m USING (member_id)
	WHERE d.doc_key = '3'), 'edit withdrawn, edit2 booked', 'the old booking is withdrawn');
UPDATE shop.invoice SET customer = 'edit', total = 90 WHERE id = 3;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'edit'), 90.00, 'back again, with another amount');
SELECT is(loyalty.balance('cap', 'edit2'), 0.00, 'nothing is left behind');
UPDATE shop.invoice SET at = '2024-02-01 12:00+00' WHERE id = 3;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'edit'), 90.00, 'another date moves no points');
SELECT is((SELECT occurred_at FROM shop.document d JOIN shop.member m USING (member_id) WHERE doc_key = '3' AND m.customer = 'edit'),
	'2024-02-01 12:00+00'::timestamptz, 'but is known');

-- cancelled, deleted
INSERT INTO shop.invoice (id, customer, total) VALUES (4, 'gone', 100), (5, 'gone', 40);
SELECT loyalty.settle() \gset
UPDATE shop.invoice SET cancelled = true WHERE id = 4;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'gone'), 40.00, 'a cancelled document gives its points back');
UPDATE shop.invoice SET cancelled = NULL WHERE id = 4;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'gone'), 140.00, 'NULL does not cancel');
DELETE FROM shop.invoice WHERE id = 4;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'gone'), 40.00, 'a deleted one gives them back');
UPDATE shop.invoice SET cancelled = true WHERE id = 5;
DELETE FROM shop.invoice WHERE id = 5;
SELECT loyalty.settle() \gset
SELECT is(shop.entries('cap', 'gone'), 'earn 100, earn 40, correction -100, correction 100, correction -100, correction -40', 'once');
INSERT INTO shop.invoice (id, customer, total) VALUES (5, 'gone', 41);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'gone'), 41.00, 'a key may come back');
INSERT INTO shop.invoice (id, customer, total) VALUES (6, 'never', 100);
DELETE FROM shop.invoice WHERE id = 6;
SELECT loyalty.settle() \gset
SELECT is(loyalty.member_id('cap', 'never'), NULL::bigint, 'inserted and deleted in one transaction: never was');

-- key renamed
INSERT INTO shop.invoice (id, customer, total) VALUES (7, 'ren', 100);
SELECT loyalty.settle() \gset
UPDATE shop.invoice SET id = 1007 WHERE id = 7;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'ren'), 100.00, 'a renamed document keeps its points');
SELECT is(shop.booked('inv', '7'), 0::numeric, 'nothing is booked under the old key');
SELECT is(shop.booked('inv', '1007'), 100::numeric, 'all under the new one');
-- two documents that swap their keys
INSERT INTO shop.invoice (id, customer, total) VALUES (8, 'swap1', 10), (9, 'swap2', 20);
SELECT loyalty.settle() \gset
UPDATE shop.invoice SET id = 10 WHERE id = 8;
UPDATE shop.invoice SET id = 8 WHERE id = 9;
UPDATE shop.invoice SET id = 9 WHERE id = 10;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'swap1'), 10.00, 'swapped keys: the first keeps its points');
SELECT is(loyalty.balance('cap', 'swap2'), 20.00, 'and the second');

-- guest
INSERT INTO shop.invoice (id, customer, total) VALUES (11, NULL, 100);
SELECT lives_ok($$SELECT loyalty.settle()$$, 'a guest''s document is no error');
SELECT is_empty($$SELECT FROM shop.pending$$, 'and is not parked');
UPDATE shop.invoice SET customer = 'guest' WHERE id = 11;
SELECT loyalty.settle() \gset
SELECT is(shop.entries('cap', 'guest'), 'earn 100', 'a guest''s document that is claimed later earns');
UPDATE shop.invoice SET customer = NULL WHERE id = 11;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'guest'), 0.00, 'and may become a guest''s again');

-- NULLs that ERPs write before they know better
INSERT INTO shop.invoice (id, customer, total, state) VALUES (12, 'nul', NULL, 'posted'), (13, 'nul', 10, NULL);
SELECT lives_ok($$SELECT loyalty.settle()$$, 'NULL for amount or state is no error');
SELECT is_empty($$SELECT * FROM shop.pending$$, 'and parks nothing');
SELECT is(loyalty.balance('cap', 'nul'), 0.00, 'and earns nothing');
UPDATE shop.invoice SET total = 30 WHERE id = 12;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'nul'), 30.00, 'until the amount is there');

-- several documents in one statement, and of several members
INSERT INTO shop.invoice (id, customer, total) SELECT 100 + i, 'many' || i % 3, i FROM generate_series(1, 9) i;
SELECT is(loyalty.settle(), 9::bigint, 'nine documents in one statement');
SELECT is((SELECT array_agg(loyalty.balance('cap', 'many' || c) ORDER BY c) FROM generate_series(0, 2) c), '{18,12,15}'::numeric[], 'each of three members gets what is theirs');
UPDATE shop.invoice SET total = total + 1 WHERE id BETWEEN 101 AND 109;
SELECT loyalty.settle() \gset
SELECT is((SELECT array_agg(loyalty.balance('cap', 'many' || c) ORDER BY c) FROM generate_series(0, 2) c), '{21,15,18}'::numeric[], 'an update of nine');
DELETE FROM shop.invoice WHERE id BETWEEN 101 AND 109;
SELECT loyalty.settle() \gset
SELECT is((SELECT array_agg(loyalty.balance('cap', 'many' || c) ORDER BY c) FROM generate_series(0, 2) c), '{0,0,0}'::numeric[], 'a delete of nine');
INSERT INTO shop.invoice (id, customer, total) VALUES (110, 'upsert', 10) ON CONFLICT (id) DO UPDATE SET total = excluded.total;
INSERT INTO shop.invoice (id, customer, total) VALUES (110, 'upsert', 12) ON CONFLICT (id) DO UPDATE SET total = excluded.total;
INSERT INTO shop.invoice (id, customer, total) VALUES (110, 'upsert', 99) ON CONFLICT (id) DO NOTHING;
SELECT loyalty.settle() \gset
SELECT is(shop.entries('cap', 'upsert'), 'earn 12', 'INSERT .. ON CONFLICT counts what is there in the end');
MERGE INTO shop.invoice i USING (VALUES (110, 15), (111, 5)) AS v (id, total) ON i.id = v.id
	WHEN MATCHED THEN UPDATE SET total = v.total
	WHEN NOT MATCHED THEN INSERT (id, customer, total) VALUES (v.id, 'upsert', v.total);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'upsert'), 20.00, 'so does MERGE');
WITH i AS (INSERT INTO shop.invoice (id, customer, total) VALUES (112, 'cte', 1) RETURNING 1),
	u AS (UPDATE shop.invoice SET total = 2, customer = 'cte' WHERE id = 110 RETURNING 1)
	SELECT count(*) AS changed FROM i, u \gset
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'cte'), 3.00, 'and writes in a WITH query');

-- back-dated
INSERT INTO shop.invoice (id, customer, at, total) VALUES (120, 'back', '2024-03-10 12:00+00', 10);
SELECT loyalty.settle() \gset
INSERT INTO shop.invoice (id, customer, at, total) VALUES (121, 'back', '2024-01-10 12:00+00', 5);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('cap', 'back'), 15.00, 'a back-dated document earns');
SELECT is(loyalty.balance('cap', 'back', '2024-02-01 00:00+00'), 5.00, 'at its own date');

-- figures that are none
SET LOCAL client_min_messages = error;
INSERT INTO shop.invoice (id, customer, total) VALUES (130, 'nan', 'NaN'), (131, 'inf', 'Infinity'), (132, 'inf', '-Infinity'), (133, 'huge', 1e200), (134, 'fine', 7);
SELECT lives_ok($$SELECT loyalty.settle()$$, 'NaN, infinite and absurd amounts do not fail the transaction');
SELECT is(loyalty.balance('cap', 'fine'), 7.00, 'nor the document beside them');
SELECT set_eq($$SELECT doc_key FROM shop.pending WHERE reason = 'parked'$$, '{130,131,132,133}'::text[], 'they are parked');
SELECT is_empty($$SELECT FROM shop.member WHERE customer IN ('nan', 'inf', 'huge') AND (balance <> 0 OR qualifying <> 0)$$, 'and count nowhere');
UPDATE shop.invoice SET total = 1 WHERE id BETWEEN 130 AND 133;
SELECT loyalty.settle() \gset
SELECT is_empty($$SELECT FROM shop.pending$$, 'a correction takes them out again');
SELECT is(loyalty.balance('cap', 'inf'), 2.00, 'and they earn');

SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'after all this verify finds nothing');
SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
