-- Whatever becomes of the ERP's tables, the ERP's own work goes on.
\ir common.psql
SELECT no_plan();
SET LOCAL client_min_messages = error;

SELECT loyalty.create_program('hurt', 'UTC') \gset
SELECT loyalty.set_rule('hurt', 'base', 1, 1) \gset
SELECT shop.attach('inv', 'hurt') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'ann', 100);
SELECT loyalty.settle() \gset

-- a mapped column renamed
SAVEPOINT a;
SELECT lives_ok($$ALTER TABLE shop.invoice RENAME total TO amount_total$$, 'a mapped column can be renamed');
SELECT lives_ok($$INSERT INTO shop.invoice (id, customer, amount_total) VALUES (2, 'ann', 10), (3, 'bob', 10)$$, 'rows can be inserted');
SELECT lives_ok($$UPDATE shop.invoice SET amount_total = 90 WHERE id = 1$$, 'updated');
SELECT lives_ok($$SELECT loyalty.settle()$$, 'and committed');
SELECT set_eq($$SELECT doc_key, reason, sqlstate FROM shop.pending$$, $$VALUES ('1', 'parked', '42703'), ('2', 'parked', '42703'), ('3', 'parked', '42703')$$, 'what was touched is parked');
SELECT is(loyalty.balance('hurt', 'ann'), 100.00, 'what was booked stays');
SELECT lives_ok($$DELETE FROM shop.invoice WHERE id = 2$$, 'rows can be deleted');
SELECT lives_ok($$SELECT loyalty.settle()$$, 'and that is committed');
ALTER TABLE shop.invoice RENAME amount_total TO total;
SELECT cmp_ok(loyalty.retry_parked(), '>=', 2::bigint, 'renamed back, the parked ones are taken');
SELECT is(loyalty.balance('hurt', 'ann'), 90.00, 'and booked');
SELECT is(loyalty.balance('hurt', 'bob'), 10.00, 'each');
SELECT is_empty($$SELECT * FROM shop.pending$$, 'and nothing waits');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'verify agrees');
ROLLBACK TO a;
-- renamed, and the mapping renewed
ALTER TABLE shop.invoice RENAME total TO amount_total;
INSERT INTO shop.invoice (id, customer, amount_total) VALUES (2, 'ann', 10);
SELECT loyalty.settle() \gset
SELECT lives_ok($$SELECT loyalty.detach('inv')$$, 'a broken source can be detached');
SELECT lives_ok($$SELECT loyalty.attach('inv', 'hurt', 'shop.invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.amount_total')$$, 'and attached anew');
SELECT loyalty.retry_parked() \gset
SELECT is(loyalty.balance('hurt', 'ann'), 110.00, 'the parked document is booked by the new mapping');
ROLLBACK TO a;

-- columns that are in the way of an upgrade
SELECT lives_ok($$ALTER TABLE shop.invoice ALTER total TYPE numeric(20,4), ALTER customer TYPE varchar(80), ALTER id TYPE bigint$$, 'mapped columns can change their type');
INSERT INTO shop.invoice (id, customer, total) VALUES (5000000000, 'big', 10);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('hurt', 'big'), 10.00, 'and earning goes on');
UPDATE shop.invoice SET total = 120 WHERE id = 1;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('hurt', 'ann'), 120.00, 'for older documents as well');
ROLLBACK TO a;
SELECT lives_ok($$ALTER TABLE shop.invoice DROP COLUMN return_of$$, 'a mapped column can be dropped');
SELECT lives_ok($$INSERT INTO shop.invoice (id, customer, total) VALUES (2, 'ann', 10)$$, 'rows can be inserted then');
SELECT lives_ok($$SELECT loyalty.settle()$$, 'and committed');
SELECT is((SELECT count(*) FROM shop.pending), 1::bigint, 'they are parked');
ROLLBACK TO a;
-- with work under way in the same transaction
INSERT INTO shop.invoice (id, customer, total) VALUES (2, 'ann', 10);
SELECT lives_ok($$ALTER TABLE shop.invoice ALTER total TYPE numeric(30,5)$$, 'a table can be altered in the transaction that wrote it');
SELECT lives_ok($$ALTER TABLE shop.invoice ADD COLUMN more integer DEFAULT 5$$, 'given a column');
SELECT lives_ok($$ALTER TABLE shop.invoice DROP COLUMN note$$, 'or lose one');
SELECT lives_ok($$CREATE INDEX ON shop.invoice (customer)$$, 'and be indexed');
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('hurt', 'ann'), 110.00, 'and what was written earns');
SELECT lives_ok($$ALTER TABLE shop.invoice RENAME TO bill$$, 'the table can be renamed');
UPDATE shop.bill SET total = 11 WHERE id = 2;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('hurt', 'ann'), 111.00, 'and is found under its new name');
ROLLBACK TO a;
INSERT INTO shop.invoice (id, customer, total) VALUES (2, 'ann', 10);
SELECT lives_ok($$DROP TABLE shop.invoice$$, 'a table can be dropped in the transaction that wrote it');
SELECT lives_ok($$SELECT loyalty.settle()$$, 'and that committed');
SELECT is(loyalty.balance('hurt', 'ann'), 100.00, 'what was booked stays');
SELECT lives_ok($$SELECT * FROM loyalty.status()$$, 'status() answers');
SELECT lives_ok($$SELECT loyalty.retry_parked()$$, 'retry_parked() as well');
SELECT lives_ok($$SELECT loyalty.detach('inv')$$, 'and detach()');
SELECT is_empty('SELECT * FROM loyalty.check()', 'check() finds nothing');
ROLLBACK TO a;
SELECT lives_ok($$DROP SCHEMA shop CASCADE$$, 'a schema can be dropped as a whole');
SELECT lives_ok($$SELECT loyalty.settle()$$, 'and that committed');
ROLLBACK TO a;

-- a helper table that a mapping reads
CREATE TABLE shop.helper (customer text, factor numeric);
INSERT INTO shop.helper VALUES ('hel', 2), ('two', 1), ('two', 3);
CREATE TABLE shop.sale (id integer PRIMARY KEY, customer text, total numeric, qty numeric DEFAULT 1);
SELECT loyalty.attach('sale', 'hurt', 'shop.sale', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total / r.qty * (SELECT h.factor FROM shop.helper h WHERE h.customer = r.customer)') \gset
INSERT INTO shop.sale VALUES (1, 'hel', 10);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('hurt', 'hel'), 20.00, 'a mapping reads another table');
SAVEPOINT b;
SELECT lives_ok($$DROP TABLE shop.helper$$, 'which can be dropped');
INSERT INTO shop.sale VALUES (2, 'hel', 10);
SELECT lives_ok($$SELECT loyalty.settle()$$, 'rows are committed without it');
SELECT results_eq($$SELECT doc_key COLLATE "default", sqlstate FROM shop.pending$$, $$VALUES ('2', '42P01')$$, 'and parked');
CREATE TABLE shop.helper (customer text, factor numeric);
INSERT INTO shop.helper VALUES ('hel', 3);
SELECT loyalty.retry_parked() \gset
SELECT is(loyalty.balance('hurt', 'hel'), 50.00, 'until it is there again');
ROLLBACK TO b;
-- failures of single documents
INSERT INTO shop.sale VALUES (3, 'hel', 10, 0), (4, 'two', 10, 1), (5, 'hel', 5, 1);
SELECT lives_ok($$SELECT loyalty.settle()$$, 'a division by zero and a sub-select with two rows do not fail the transaction');
SELECT set_eq($$SELECT doc_key, sqlstate FROM shop.pending$$, $$VALUES ('3', '22012'), ('4', '21000')$$, 'those two are parked');
SELECT is(loyalty.balance('hurt', 'hel'), 30.00, 'the good one is booked');
DELETE FROM shop.sale WHERE id IN (3, 4);
SELECT loyalty.settle() \gset
SELECT is_empty($$SELECT * FROM shop.pending$$, 'deleted they wait no longer');

-- an error in what the mapping calls: by a function that raises, and by rights that are taken
CREATE FUNCTION shop.moody(v numeric) RETURNS numeric LANGUAGE plpgsql AS $$BEGIN IF v = 13 THEN RAISE EXCEPTION 'not thirteen' USING ERRCODE = 'P0013'; END IF; RETURN v; END$$;
CREATE TABLE shop.mood (id integer PRIMARY KEY, customer text, total numeric);
SELECT loyalty.attach('mood', 'hurt', 'shop.mood', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'shop.moody(r.total)', evaluate => 'statement') \gset
SELECT lives_ok($$INSERT INTO shop.mood VALUES (1, 'moo', 13), (2, 'moo', 12)$$, 'statement mode: a failing document does not fail the statement');
SELECT is(loyalty.balance('hurt', 'moo'), 12.00, 'the other one is booked');
SELECT results_eq($$SELECT doc_key COLLATE "default", sqlstate, message FROM shop.pending$$, $$VALUES ('1', 'P0013', 'not thirteen')$$, 'with the error of the function');
SELECT lives_ok($$DROP FUNCTION shop.moody(numeric)$$, 'the function can be dropped');
SELECT lives_ok($$INSERT INTO shop.mood VALUES (3, 'moo', 1)$$, 'and rows go on');
SELECT set_eq($$SELECT doc_key, sqlstate FROM shop.pending$$, $$VALUES ('1', 'P0013'), ('3', '42883')$$, 'into the parking place');
CREATE FUNCTION shop.moody(v numeric) RETURNS numeric LANGUAGE sql AS 'SELECT v * 10';
SELECT loyalty.retry_parked() \gset
SELECT is(loyalty.balance('hurt', 'moo'), 152.00, 'another function of the name is found');

-- a mapping that does not compile must not stop rows that do not concern it
ALTER TABLE shop.mood RENAME customer TO buyer;
SELECT lives_ok($$UPDATE shop.mood SET total = total$$, 'an update that changes nothing is one');
-- the programme's own settings in the way: points beyond what a numeric(18,2) holds
SELECT loyalty.set_rule('hurt', 'absurd', 1e14, 1) \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (50, 'abs', 1e6);
SELECT lives_ok($$SELECT loyalty.settle()$$, 'points beyond all bounds do not fail the transaction');
SELECT isnt_empty($$SELECT FROM shop.pending WHERE doc_key = '50' AND sqlstate = '22003'$$, 'and park the document');
SELECT loyalty.end_rule('hurt', 'absurd') \gset

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
