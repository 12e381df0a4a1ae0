-- An ERP's tables are attached, earn, and are detached again.
CREATE SCHEMA at_erp;
SET search_path = at_erp;
CREATE TABLE invoice (id integer PRIMARY KEY, customer integer, posting date, state text, total numeric(14,2));
SELECT loyalty.create_program('at club', 'Europe/Brussels', 'EUR') > 0 AS created;
SELECT loyalty.set_rule('at club', 'base', 1, 10) > 0 AS created;
SELECT loyalty.attach('at invoice', 'at club', 'invoice', 'r.id', 'r.customer', 'r.posting',
	posted => 'r.state = ''posted''', amount => 'r.total') > 0 AS attached;
SELECT source, header, lines, attached, capturing, mapping_ok, queued, parked, problem FROM loyalty.status() WHERE source LIKE 'at %';

INSERT INTO invoice VALUES (1, 501, '2024-03-01', 'posted', 129.50);
SELECT loyalty.balance('at club', '501');
INSERT INTO invoice VALUES (2, 501, '2024-03-02', 'draft', 70);
SELECT loyalty.balance('at club', '501');
UPDATE invoice SET state = 'posted' WHERE id = 2;
SELECT loyalty.balance('at club', '501');

-- a second source of the name is refused, and a table that is not there
SELECT loyalty.attach('at invoice', 'at club', 'invoice', 'r.id', 'r.customer', 'r.posting', amount => 'r.total');
SELECT loyalty.attach('at bill', 'at club', 'bill', 'r.id', 'r.customer', 'r.posting', amount => 'r.total');

-- a dry run says what the mapping makes of the rows that are there
SELECT check_name, ok FROM loyalty.check_source('at invoice') WHERE NOT ok;

-- detached, the table is the ERP's alone
SELECT loyalty.detach('at invoice');
INSERT INTO invoice VALUES (3, 501, '2024-03-03', 'posted', 1000);
SELECT loyalty.balance('at club', '501');
SELECT attached, capturing FROM loyalty.status() WHERE source = 'at invoice';
SELECT tgname FROM pg_trigger WHERE tgrelid = 'invoice'::regclass;

-- attached again, it catches up when it is asked to
SELECT loyalty.attach('at invoice', 'at club', 'invoice', 'r.id', 'r.customer', 'r.posting',
	posted => 'r.state = ''posted''', amount => 'r.total') > 0 AS attached;
SELECT loyalty.balance('at club', '501');
SELECT doc_key, customer, booked, due FROM loyalty.verify('at invoice');
CALL loyalty.backfill('at invoice');
SELECT loyalty.balance('at club', '501');
SELECT doc_key, customer, booked, due FROM loyalty.verify('at invoice');

-- quoted names, and lines
CREATE TABLE "tabSales Invoice" (name text PRIMARY KEY, customer text, posting_date date, docstatus integer);
CREATE TABLE "tabSales Invoice Item" (name text PRIMARY KEY, parent text, amount numeric);
CREATE INDEX ON "tabSales Invoice Item" (parent);
SELECT loyalty.attach('at erpnext', 'at club', '"tabSales Invoice"', 'r.name', 'r.customer', 'r.posting_date',
	posted => 'r.docstatus = 1', void => 'r.docstatus = 2', lines => '"tabSales Invoice Item"',
	line_parent => 'l.parent', line_key => 'l.name', line_amount => 'l.amount') > 0 AS attached;
BEGIN;
INSERT INTO "tabSales Invoice" VALUES ('SINV-00001', 'Grant Plastics', '2024-03-05', 0);
INSERT INTO "tabSales Invoice Item" VALUES ('a', 'SINV-00001', 100), ('b', 'SINV-00001', 55);
UPDATE "tabSales Invoice" SET docstatus = 1;
COMMIT;
SELECT loyalty.balance('at club', 'Grant Plastics');
UPDATE "tabSales Invoice" SET docstatus = 2;
SELECT loyalty.balance('at club', 'Grant Plastics');
CREATE TABLE "order" ("group" integer PRIMARY KEY, "user" text, "limit" numeric);
SELECT loyalty.attach('at order', 'at club', '"order"', 'r."group"', 'r."user"', '''2024-03-05''::date', amount => 'r."limit"') > 0 AS attached;
INSERT INTO "order" VALUES (1, 'quoted', 42);
SELECT loyalty.balance('at club', 'quoted');
SELECT source, header, lines FROM loyalty.status() WHERE source LIKE 'at %' ORDER BY source;
SELECT * FROM loyalty.check();
