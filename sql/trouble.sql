-- A mapping that stops working costs the ERP one warning and nothing else.
CREATE SCHEMA tr_erp;
SET search_path = tr_erp;
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, total numeric, qty numeric DEFAULT 1);
CREATE TABLE factor (f numeric);
INSERT INTO factor VALUES (1);
SELECT loyalty.create_program('tr club', 'UTC') > 0 AS created;
SELECT loyalty.set_rule('tr club', 'base', 1, 1) > 0 AS created;
SELECT loyalty.attach('tr invoice', 'tr club', 'invoice', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total / r.qty * (SELECT f FROM tr_erp.factor)') > 0 AS attached;
INSERT INTO invoice VALUES (1, 'ann', 10);
SELECT loyalty.balance('tr club', 'ann');
-- division by zero: one document of three
INSERT INTO invoice VALUES (2, 'ann', 10, 0), (3, 'bob', 10, 2), (4, 'ann', 10, 5);
SELECT loyalty.balance('tr club', 'ann'), loyalty.balance('tr club', 'bob');
SELECT source, doc_key, sqlstate, message, attempts FROM loyalty.parked WHERE source = 'tr invoice' ORDER BY doc_key;
-- a column that is renamed: all of them, one warning
ALTER TABLE invoice RENAME total TO amount_total;
INSERT INTO invoice VALUES (5, 'ann', 10), (6, 'bob', 10), (7, 'cid', 10);
UPDATE invoice SET amount_total = 11 WHERE id = 1;
SELECT source, doc_key, sqlstate, message, attempts FROM loyalty.parked WHERE source = 'tr invoice' ORDER BY doc_key;
SELECT mapping_ok, parked, problem FROM loyalty.status() WHERE source = 'tr invoice';
SELECT loyalty.balance('tr club', 'ann'), loyalty.balance('tr club', 'bob');
ALTER TABLE invoice RENAME amount_total TO total;
SELECT loyalty.retry_parked('tr invoice');
SELECT source, doc_key, sqlstate, message FROM loyalty.parked WHERE source = 'tr invoice' ORDER BY doc_key;
SELECT loyalty.balance('tr club', 'ann'), loyalty.balance('tr club', 'bob'), loyalty.balance('tr club', 'cid');
UPDATE invoice SET qty = 1 WHERE id = 2;
SELECT loyalty.balance('tr club', 'ann');
-- a table that is dropped
DROP TABLE factor;
INSERT INTO invoice VALUES (8, 'ann', 10);
SELECT source, doc_key, sqlstate, message FROM loyalty.parked WHERE source = 'tr invoice' ORDER BY doc_key;
CREATE TABLE factor (f numeric);
INSERT INTO factor VALUES (2);
CALL loyalty.upkeep();
SELECT loyalty.balance('tr club', 'ann');
SELECT source, doc_key, sqlstate, message FROM loyalty.parked WHERE source = 'tr invoice' ORDER BY doc_key;
-- upgrades of the ERP
BEGIN;
INSERT INTO invoice VALUES (9, 'dan', 10);
ALTER TABLE invoice ALTER total TYPE numeric(20,3);
ALTER TABLE invoice ADD COLUMN version integer DEFAULT 2;
COMMIT;
SELECT loyalty.balance('tr club', 'dan');
BEGIN;
INSERT INTO invoice VALUES (10, 'dan', 10);
DROP TABLE invoice;
COMMIT;
SELECT attached, capturing, mapping_ok, problem FROM loyalty.status() WHERE source = 'tr invoice';
SELECT loyalty.balance('tr club', 'dan');
SELECT loyalty.detach('tr invoice');
-- for those who would rather have the error
CREATE TABLE strict (id integer PRIMARY KEY, customer text, total numeric, qty numeric);
SELECT loyalty.attach('tr strict', 'tr club', 'strict', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total / r.qty', on_error => 'raise') > 0 AS attached;
BEGIN;
INSERT INTO strict VALUES (1, 'eve', 10, 0);
COMMIT;
SELECT count(*) FROM strict;
INSERT INTO strict VALUES (1, 'eve', 10, 0);
SELECT count(*) FROM strict;
INSERT INTO strict VALUES (1, 'eve', 10, 1);
SELECT loyalty.balance('tr club', 'eve');
SELECT count(*) FROM loyalty.parked WHERE source = 'tr strict';
SELECT * FROM loyalty.check();
