-- What is there already: book(), verify(), reevaluate().  The procedure that
-- commits on the way has a file of its own.
\ir common.psql
SELECT no_plan();

INSERT INTO shop.invoice (id, customer, total, at, return_of, state) VALUES
	(1, 'ann', 100, '2024-01-01', NULL, 'posted'), (2, 'ann', -30, '2024-01-05', 1, 'posted'), (3, 'bob', 50, '2024-01-03', NULL, 'posted'),
	(4, 'bob', 999, '2024-01-02', NULL, 'draft'), (5, NULL, 70, '2024-01-02', NULL, 'posted'), (6, 'ann', 20, '2024-01-02', NULL, 'posted'),
	(7, 'cid', -10, '2023-12-31', 8, 'posted'), (8, 'cid', 10, '2024-01-31', NULL, 'posted');
SELECT loyalty.create_program('rep', 'UTC') \gset
SELECT loyalty.set_rule('rep', 'base', 1, 1) \gset
SELECT shop.attach('inv', 'rep') \gset
SELECT loyalty.settle() \gset
SELECT is_empty($$SELECT FROM shop.entry$$, 'attach() books nothing that was there before');

SELECT results_eq($$SELECT doc_key, is_return FROM loyalty.documents_of('inv')$$,
	$$VALUES ('1', false), ('5', false), ('6', false), ('3', false), ('8', false), ('7', true), ('2', true)$$, 'documents_of(): originals before returns, by date');
SELECT results_eq($$SELECT doc_key, customer, trim_scale(booked), trim_scale(due) FROM loyalty.verify('inv') ORDER BY doc_key$$,
	$$VALUES ('1', 'ann', 0::numeric, 100::numeric), ('2', 'ann', 0, -30), ('3', 'bob', 0, 50), ('6', 'ann', 0, 20), ('7', 'cid', 0, -10), ('8', 'cid', 0, 10)$$,
	'verify finds every document that counts and is not booked');
SELECT is_empty($$SELECT FROM shop.entry$$, 'and writes nothing');

CREATE TEMP VIEW keys AS SELECT array_agg(doc_key ORDER BY is_return, occurred_at, doc_key) AS keys FROM loyalty.documents_of('inv');
-- dry run
SELECT results_eq($$SELECT documents, trim_scale(points), parked FROM loyalty.book('inv', (SELECT keys FROM keys), 'dry_run')$$, $$VALUES (7::bigint, 140::numeric, 0::bigint)$$, 'dry_run says what would be booked');
SELECT is_empty($$SELECT FROM shop.entry$$, 'and books nothing');
SELECT is_empty($$SELECT FROM shop.member$$, 'makes nobody a member');
SELECT is_empty($$SELECT FROM shop.document$$, 'and knows no document');
-- opening
SAVEPOINT a;
SELECT results_eq($$SELECT documents, trim_scale(points), parked FROM loyalty.book('inv', (SELECT keys FROM keys), 'opening')$$, $$VALUES (7::bigint, 0::numeric, 0::bigint)$$, 'opening books no points');
SELECT is_empty($$SELECT FROM shop.entry$$, 'and writes no entry');
SELECT is((SELECT count(*) FROM shop.document WHERE state = 'opening'), 6::bigint, 'but knows the documents');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'which verify accepts');
UPDATE shop.invoice SET note = 'x', channel = 'web';
SELECT loyalty.settle() \gset
SELECT is_empty($$SELECT FROM shop.entry$$, 'touching them later earns nothing');
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (20, 'bob', -50, 3);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rep', 'bob'), 0.00, 'returning them takes nothing: they gave nothing');
INSERT INTO shop.invoice (id, customer, total) VALUES (21, 'bob', 7);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rep', 'bob'), 7.00, 'new documents earn');
SELECT is((SELECT trim_scale(points) FROM loyalty.book('inv', (SELECT keys FROM keys), 'earn')), 0::numeric, 'earn afterwards does not book them either');
-- whatever becomes of them
UPDATE shop.invoice SET total = 500 WHERE id = 3;
SELECT loyalty.settle() \gset
UPDATE shop.invoice SET state = 'draft' WHERE id = 3;
SELECT loyalty.settle() \gset
SELECT is((SELECT state FROM shop.document WHERE doc_key = '3'), 'withdrawn', 'an opening document may become a draft');
UPDATE shop.invoice SET state = 'posted', total = 900 WHERE id = 3;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rep', 'bob'), 7.00, 'posted again it earns nothing either');
UPDATE shop.invoice SET customer = 'eve' WHERE id = 3;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rep', 'eve'), 0.00, 'nor for another customer');
SELECT is(shop.qualifying('rep', 'eve'), 850::numeric, 'but it counts for the tier, less its return');
DELETE FROM shop.invoice WHERE id = 20;
SELECT loyalty.settle() \gset
SELECT is(loyalty.reevaluate('inv', '3'), 0.00, 'reevaluate() leaves it an opening');
UPDATE shop.invoice SET id = 31 WHERE id = 3;
UPDATE shop.invoice SET id = 32 WHERE id = 31;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rep', 'eve') || ' ' || shop.qualifying('rep', 'eve'), '0.00 900', 'nor under another key, which it got in two steps');
SAVEPOINT renamed;
UPDATE shop.invoice SET id = 33 WHERE id = 32;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rep', 'eve'), 0.00, 'nor under a third');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'verify() agrees');
ROLLBACK TO renamed;
INSERT INTO shop.invoice (id, customer, total) VALUES (33, 'eve', 5);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rep', 'eve'), 5.00, 'a sale that gets a key which an opening would have had earns');
DELETE FROM shop.invoice WHERE id = 33;
UPDATE shop.invoice SET id = 3 WHERE id = 32;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rep', 'eve'), 0.00, 'back under its first key it is an opening still');
-- where documents are queued, one that is renamed is evaluated at once
UPDATE loyalty.source SET evaluate = 'queue' WHERE name = 'inv';
UPDATE shop.invoice SET id = 34 WHERE id = 3;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('rep', 'eve') || ' ' || (SELECT count(*) FROM shop.document WHERE doc_key = '34' AND is_opening), '0.00 1', 'in mode queue as well');
UPDATE loyalty.source SET evaluate = 'commit' WHERE name = 'inv';
UPDATE shop.invoice SET id = 3 WHERE id = 34;
SELECT loyalty.settle() \gset
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'and verify() agrees');
-- what live traffic has booked is none
SELECT trim_scale(points) AS taken FROM loyalty.book('inv', '{21,3}', 'opening') \gset
SELECT is(:taken, 0, 'opening takes nothing from documents that are booked');
SELECT is(loyalty.balance('rep', 'bob'), 7.00, 'they keep their points');
SELECT shop.clean();
ROLLBACK TO a;
-- earn
SELECT results_eq($$SELECT documents, trim_scale(points), parked FROM loyalty.book('inv', (SELECT keys FROM keys))$$, $$VALUES (7::bigint, 140::numeric, 0::bigint)$$, 'earn books them');
SELECT is((SELECT string_agg(c || ' ' || trim_scale(loyalty.balance('rep', c)), ', ') FROM unnest('{ann,bob,cid}'::text[]) c), 'ann 90, bob 50, cid 0', 'to their members');
SELECT is((SELECT occurred_at FROM shop.entry WHERE member_id = loyalty.member_id('rep', 'bob')), '2024-01-03'::timestamptz, 'at their own dates');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'verify finds nothing then');
SELECT results_eq($$SELECT trim_scale(points) FROM loyalty.book('inv', (SELECT keys FROM keys))$$, $$VALUES (0::numeric)$$, 'again: nothing');
SELECT is((SELECT count(*) FROM shop.entry), 6::bigint, 'not even an entry');
-- the same key twice, keys that are not there, none at all
SELECT results_eq($$SELECT trim_scale(points) FROM loyalty.book('inv', '{1,1,2,2,4711}')$$, $$VALUES (0::numeric)$$, 'keys twice and keys of nothing are harmless');
SELECT results_eq($$SELECT documents, parked FROM loyalty.book('inv', '{}')$$, $$VALUES (0::bigint, 0::bigint)$$, 'so are none');
SELECT throws_ok($$SELECT * FROM loyalty.book('inv', '{1}', 'guess')$$, '22023', NULL, 'an unknown mode is refused');
SELECT throws_ok($$SELECT * FROM loyalty.book('nowhere', '{1}')$$, 'LY001', NULL, 'an unknown source as well');
SET LOCAL client_min_messages = error;
SELECT throws_ok($$SELECT * FROM loyalty.book('inv', '{not a number}')$$, '22P02', NULL, 'a key that is none of the table''s type is refused');
SELECT is_empty($$SELECT * FROM shop.pending$$, 'and nothing waits for it');
SET LOCAL client_min_messages = warning;
-- keys in an order that is not theirs
SAVEPOINT b;
SELECT loyalty.create_program('rep2', 'UTC') \gset
SELECT loyalty.set_rule('rep2', 'base', 1, 1) \gset
SELECT shop.attach('inv2', 'rep2') \gset
SELECT results_eq($$SELECT trim_scale(points) FROM loyalty.book('inv2', '{7,2,8,1}')$$, $$VALUES (70::numeric)$$, 'in one call the order does not matter');
SELECT is(shop.entries('rep2', 'ann'), 'earn 100, return -30', 'originals come first');
ROLLBACK TO b;

-- verify, item by item
SELECT loyalty.set_rule('rep', 'base', 2, 1) \gset
SELECT is((SELECT sum(due) - sum(booked) FROM loyalty.verify('inv')), 140.00, 'verify shows what a changed rule would give');
SELECT is(loyalty.reevaluate('inv', '3'), 50.00, 'reevaluate() one');
SELECT is(loyalty.balance('rep', 'bob'), 100.00, 'books the difference');
SELECT is(loyalty.reevaluate('inv', '3'), 0.00, 'once');
SELECT is(loyalty.reevaluate('inv', '1', '2', '6', '7', '8'), 90.00, 'reevaluate() the others');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'verify is content');
SELECT is(loyalty.reevaluate('inv', '4711'), 0.00, 'a document that never was is 0');
SELECT throws_ok($$SELECT loyalty.reevaluate('nowhere', '1')$$, 'LY001', NULL, 'an unknown source is an error');
SELECT throws_ok($$SELECT * FROM loyalty.verify('nowhere')$$, 'LY001', NULL, 'for verify too');

-- verify() works in batches; what differs is said once, though the ERP and the books both have it
CREATE TABLE shop.many (id integer PRIMARY KEY, customer text, total numeric);
SELECT loyalty.attach('many', 'rep', 'shop.many', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total', evaluate => 'statement') \gset
INSERT INTO shop.many SELECT n, 'many' || n % 10, 10 FROM generate_series(1, 1200) n;
SET LOCAL session_replication_role = replica;
UPDATE shop.many SET total = 11 WHERE id IN (1, 1200);
SET LOCAL session_replication_role = origin;
SELECT results_eq($$SELECT doc_key, trim_scale(booked), trim_scale(due) FROM loyalty.verify('many') ORDER BY doc_key$$,
	$$VALUES ('1', 20::numeric, 22::numeric), ('1200', 20, 22)$$, 'verify() of many documents says once what differs');

SELECT shop.clean();

SELECT * FROM finish();
ROLLBACK;
