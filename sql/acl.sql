-- An ERP's own role attaches its own table; a cashier writes invoices and sees
-- nothing of the books.
CREATE ROLE regress_loyalty_erp;
CREATE ROLE regress_loyalty_cashier;
CREATE SCHEMA ac_erp AUTHORIZATION regress_loyalty_erp;
GRANT USAGE ON SCHEMA ac_erp TO regress_loyalty_cashier;
SELECT loyalty.create_program('ac club', 'UTC') > 0 AS created;
SELECT loyalty.set_rule('ac club', 'base', 1, 1) > 0 AS created;
SET ROLE regress_loyalty_erp;
CREATE TABLE ac_erp.invoice (id integer PRIMARY KEY, customer text, total numeric);
CREATE TABLE ac_erp.rebate (customer text, percent numeric);
INSERT INTO ac_erp.rebate VALUES ('ann', 50);
GRANT INSERT, UPDATE, DELETE, SELECT ON ac_erp.invoice TO regress_loyalty_cashier;
-- not without the right to
SELECT loyalty.attach('ac invoice', 'ac club', 'ac_erp.invoice', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total');
RESET ROLE;
GRANT USAGE ON SCHEMA loyalty TO regress_loyalty_erp;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA loyalty TO regress_loyalty_erp;
CREATE TABLE ac_other (id integer PRIMARY KEY, customer text, total numeric);
SET ROLE regress_loyalty_erp;
-- not somebody else's
SELECT loyalty.attach('ac other', 'ac club', 'ac_other', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total');
SELECT loyalty.attach('ac invoice', 'ac club', 'ac_erp.invoice', 'r.id', 'r.customer', '''2024-03-10''::date',
	amount => 'r.total * (100 - coalesce((SELECT b.percent FROM ac_erp.rebate b WHERE b.customer = r.customer), 0)) / 100') > 0 AS attached;
SET ROLE regress_loyalty_cashier;
INSERT INTO ac_erp.invoice VALUES (1, 'ann', 100), (2, 'bob', 100);
SELECT loyalty.balance('ac club', 'ann');
SELECT * FROM loyalty.member;
SELECT * FROM ac_erp.rebate;
SET ROLE regress_loyalty_erp;
SELECT loyalty.balance('ac club', 'ann'), loyalty.balance('ac club', 'bob');
UPDATE loyalty.member SET balance = 1000;
DELETE FROM loyalty.entry;
RESET ROLE;
-- the table changes hands
ALTER TABLE ac_erp.invoice OWNER TO regress_loyalty_cashier;
SET ROLE regress_loyalty_cashier;
INSERT INTO ac_erp.invoice VALUES (3, 'bob', 10);
RESET ROLE;
SELECT source, doc_key, sqlstate, message FROM loyalty.parked WHERE source = 'ac invoice';
GRANT SELECT ON ac_erp.rebate TO regress_loyalty_cashier;
SELECT loyalty.retry_parked('ac invoice');
SELECT loyalty.balance('ac club', 'bob');
SELECT * FROM loyalty.check();
-- roles are cluster-wide and go with their objects
SELECT loyalty.detach('ac invoice');
DROP TABLE ac_other;
SET client_min_messages = warning;
DROP SCHEMA ac_erp CASCADE;
DROP OWNED BY regress_loyalty_erp, regress_loyalty_cashier;
DROP ROLE regress_loyalty_erp, regress_loyalty_cashier;
