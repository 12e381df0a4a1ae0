-- When documents are evaluated, and what a failure does.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('md', 'UTC') \gset
SELECT loyalty.set_rule('md', 'base', 1, 1) \gset
CREATE TABLE shop.now (id integer PRIMARY KEY, customer text, total numeric, qty numeric DEFAULT 1);
CREATE TABLE shop.later (LIKE shop.now INCLUDING ALL);
CREATE TABLE shop.strict (LIKE shop.now INCLUDING ALL);
CREATE TABLE shop.strict_now (LIKE shop.now INCLUDING ALL);

SELECT loyalty.attach('now', 'md', 'shop.now', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total / r.qty', evaluate => 'statement') \gset
INSERT INTO shop.now VALUES (1, 'ann', 10);
SELECT is(loyalty.balance('md', 'ann'), 10.00, 'statement: booked when the statement ends');
SELECT is(loyalty.settle(), 0::bigint, 'nothing is left for the end');
UPDATE shop.now SET total = 12;
SELECT is(shop.entries('md', 'ann'), 'earn 10, correction 2', 'every statement by itself');
-- a write by a function counts as a statement as well
CREATE FUNCTION shop.till(id integer) RETURNS numeric LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO shop.now VALUES (id, 'till', 7);
	RETURN loyalty.balance('md', 'till');
END
$$;
SELECT is(shop.till(2), 7.00, 'a function sees what its own statement earned');

SELECT loyalty.attach('later', 'md', 'shop.later', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total / r.qty', evaluate => 'commit') \gset
INSERT INTO shop.later VALUES (1, 'bob', 10);
SELECT is(loyalty.balance('md', 'bob'), 0.00, 'commit: not yet');
INSERT INTO shop.now VALUES (3, 'cid', 10);
SELECT is(loyalty.balance('md', 'cid'), 10.00, 'another source''s statement');
SELECT is(loyalty.balance('md', 'bob'), 0.00, 'does not hurry it');
SELECT is(loyalty.settle(), 1::bigint, 'settle() does');
SELECT is(loyalty.balance('md', 'bob'), 10.00, 'and it is booked');

-- failing documents
SET LOCAL client_min_messages = error;
INSERT INTO shop.now VALUES (10, 'zero', 10, 0), (11, 'zero', 10, 2);
SELECT is(loyalty.balance('md', 'zero'), 5.00, 'park: the document beside the failing one is booked');
SELECT results_eq($$SELECT s.name, p.doc_key COLLATE "default", p.reason, p.sqlstate, p.message FROM shop.pending p JOIN loyalty.source s USING (source_id)$$,
	$$VALUES ('now', '10', 'parked', '22012', 'division by zero')$$, 'the failing one is parked with its error');
SELECT isnt_empty($$SELECT FROM loyalty.parked$$, 'and is to be seen in loyalty.parked');
SELECT is(loyalty.retry_parked(), 1::bigint, 'retry_parked() takes it');
SELECT results_eq($$SELECT doc_key COLLATE "default", sqlstate FROM shop.pending$$, $$VALUES ('10', '22012')$$, 'it fails again and stays, once');
SELECT cmp_ok((SELECT attempts FROM shop.pending), '>=', 2, 'its attempts are counted');
UPDATE shop.now SET qty = 5 WHERE id = 10;
SELECT is(loyalty.balance('md', 'zero'), 7.00, 'a correction books it');
SELECT is_empty($$SELECT FROM shop.pending$$, 'and clears the parking place');
-- cured by what is not seen by any trigger
INSERT INTO shop.now VALUES (12, 'cure', 10, 0);
ALTER TABLE shop.now DISABLE TRIGGER USER;
UPDATE shop.now SET qty = 1 WHERE id = 12;
ALTER TABLE shop.now ENABLE TRIGGER USER;
SELECT is(loyalty.balance('md', 'cure'), 0.00, 'cured behind our back');
SELECT is(loyalty.retry_parked('now'), 1::bigint, 'retry_parked(source)');
SELECT is(loyalty.balance('md', 'cure'), 10.00, 'books it');
SELECT is_empty($$SELECT FROM shop.pending$$, 'and clears it');
INSERT INTO shop.now VALUES (13, 'cure', 10, 0);
DELETE FROM shop.now WHERE id = 13;
SELECT is_empty($$SELECT FROM shop.pending$$, 'a parked document that is deleted waits no longer');
-- a booked document that begins to fail keeps its booking
UPDATE shop.now SET qty = 0 WHERE id = 1;
SELECT is(loyalty.balance('md', 'ann'), 12.00, 'a booked document that begins to fail keeps its points');
UPDATE shop.now SET qty = 2 WHERE id = 1;
SELECT is(loyalty.balance('md', 'ann'), 6.00, 'until it can be read again');
SELECT throws_ok($$SELECT loyalty.retry_parked('nowhere')$$, 'LY001', NULL, 'retry_parked() of an unknown source is an error');
INSERT INTO shop.now SELECT 20 + i, 'some', 10, 0 FROM generate_series(1, 5) i;
SELECT is(loyalty.retry_parked('now', 2), 2::bigint, 'retry_parked(source, n) takes n');
SELECT is((SELECT count(DISTINCT doc_key) FROM shop.pending), 5::bigint, 'none is lost on the way');
SELECT is((SELECT count(*) FROM shop.pending), 5::bigint, 'nor doubled');
DELETE FROM shop.now WHERE id > 20;

-- on_error raise
SELECT loyalty.attach('strict', 'md', 'shop.strict', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total / r.qty', on_error => 'raise') \gset
SELECT loyalty.attach('strict now', 'md', 'shop.strict_now', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total / r.qty', on_error => 'raise', evaluate => 'statement') \gset
SELECT throws_ok($$INSERT INTO shop.strict_now VALUES (1, 'str', 10, 0)$$, '22012', NULL, 'raise: the statement fails');
SELECT lives_ok($$INSERT INTO shop.strict_now VALUES (2, 'str', 10, 1)$$, 'another one does not');
SELECT is(loyalty.balance('md', 'str'), 10.00, 'and earns');
SAVEPOINT a;
INSERT INTO shop.strict VALUES (1, 'str', 10, 0);
SELECT throws_ok($$SELECT loyalty.settle()$$, '22012', NULL, 'raise: settle() fails');
ROLLBACK TO a;
SELECT is(loyalty.settle(), 0::bigint, 'rolled back, nothing waits');
SELECT is_empty($$SELECT FROM shop.pending$$, 'and nothing is parked');

-- nothing to do
SELECT is(loyalty.retry_parked(), 0::bigint, 'no parked document, no work');

-- written again and again while it cannot be read, a document waits once
INSERT INTO shop.now VALUES (40, 'once', 10, 0);
UPDATE shop.now SET total = 20 WHERE id = 40;
UPDATE shop.now SET total = 30 WHERE id = 40;
SELECT results_eq($$SELECT doc_key COLLATE "default", attempts FROM loyalty.parked WHERE source = 'now'$$, $$VALUES ('40', 3)$$, 'a parked document that is written again waits once');
SELECT is((SELECT problem FROM loyalty.verify('now') WHERE doc_key = '40'), 'cannot be evaluated: division by zero', 'verify() names it');
SELECT results_eq($$SELECT documents, parked FROM loyalty.book('now', '{40}', 'dry_run')$$, $$VALUES (0::bigint, 1::bigint)$$, 'a dry run counts it');
SELECT is((SELECT attempts FROM shop.pending), 3, 'and tries nothing');
UPDATE shop.now SET qty = 3 WHERE id = 40;
SELECT is_empty($$SELECT FROM shop.pending$$, 'and leaves when it can be read');
SELECT is(loyalty.balance('md', 'once'), 10.00, 'booked as it is then');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
