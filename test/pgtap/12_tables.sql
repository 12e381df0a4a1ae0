-- Tables as ERPs have them: quoted names, partitions, odd columns.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'UTC') \gset
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset

-- quoted names, with a child table keyed by text
CREATE SCHEMA "ERP Next";
CREATE TABLE "ERP Next"."tabSales Invoice" (name text PRIMARY KEY, "Customer" text, "posting date" date DEFAULT '2024-03-10', docstatus integer DEFAULT 1);
CREATE TABLE "ERP Next"."tabSales Invoice Item" (name text PRIMARY KEY, parent text, "base amount" numeric);
CREATE INDEX ON "ERP Next"."tabSales Invoice Item" (parent);
SELECT lives_ok($$SELECT loyalty.attach('erpnext', 'tab', '"ERP Next"."tabSales Invoice"', 'r.name', 'r."Customer"', 'r."posting date"',
	posted => 'r.docstatus = 1', void => 'r.docstatus = 2', lines => '"ERP Next"."tabSales Invoice Item"', line_parent => 'l.parent', line_key => 'l.name',
	line_amount => 'l."base amount"', evaluate => 'statement')$$, 'names with spaces and capitals are taken');
INSERT INTO "ERP Next"."tabSales Invoice" (name, "Customer") VALUES ('SINV-1', 'ann');
INSERT INTO "ERP Next"."tabSales Invoice Item" VALUES ('a', 'SINV-1', 30), ('b', 'SINV-1', 12);
SELECT is(loyalty.balance('tab', 'ann'), 42.00, 'and earn');
UPDATE "ERP Next"."tabSales Invoice" SET docstatus = 2;
SELECT is(loyalty.balance('tab', 'ann'), 0.00, 'and give back');

-- a reserved word for a name
CREATE TABLE shop."order" ("select" integer PRIMARY KEY, "user" text, "from" numeric);
SELECT lives_ok($$SELECT loyalty.attach('order', 'tab', 'shop."order"', 'r."select"', 'r."user"', '''2024-03-10''::date', amount => 'r."from"', evaluate => 'statement')$$,
	'a table named like a keyword is taken');
INSERT INTO shop."order" VALUES (1, 'bob', 10);
SELECT is(loyalty.balance('tab', 'bob'), 10.00, 'and earns');
CREATE TABLE shop."we""ird'.t" (id integer PRIMARY KEY, c text, v numeric);
SELECT lives_ok($$SELECT loyalty.attach('we"ird''', 'tab', 'shop."we""ird''.t"', 'r.id', 'r.c', '''2024-03-10''::date', amount => 'r.v', evaluate => 'statement')$$,
	'quotes in names are taken');
INSERT INTO shop."we""ird'.t" VALUES (1, 'weird', 10);
SELECT is(loyalty.balance('tab', 'weird'), 10.00, 'and earn');
CREATE TABLE shop.r (id integer PRIMARY KEY, r text, l numeric, customer text);
SELECT lives_ok($$SELECT loyalty.attach('r', 'tab', 'shop.r', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.l', channel => 'r.r', evaluate => 'statement')$$,
	'columns named like the aliases are taken');
INSERT INTO shop.r VALUES (1, 'till', 10, 'rita');
SELECT is(loyalty.balance('tab', 'rita'), 10.00, 'and earn');
-- names at the limit, and one source name that is longer
SELECT lives_ok(format('CREATE TABLE shop.%I (id integer PRIMARY KEY, c text, v numeric)', repeat('n', 63)), 'a name of 63 bytes');
SELECT lives_ok(format($$SELECT loyalty.attach(%L, 'tab', %L, 'r.id', 'r.c', '''2024-03-10''::date', amount => 'r.v', evaluate => 'statement')$$,
	repeat('source ', 20), 'shop.' || repeat('n', 63)), 'long names are taken');
SELECT lives_ok(format('INSERT INTO shop.%I VALUES (1, ''lon'', 10)', repeat('n', 63)), 'a row in it');
SELECT is(loyalty.balance('tab', 'lon'), 10.00, 'earns');

-- a rename of the table is nobody's business
ALTER TABLE shop."order" RENAME TO orders;
INSERT INTO shop.orders VALUES (2, 'bob', 5);
SELECT is(loyalty.balance('tab', 'bob'), 15.00, 'a renamed table goes on earning');
ALTER SCHEMA "ERP Next" RENAME TO erpnext;
UPDATE erpnext."tabSales Invoice" SET docstatus = 1;
SELECT is(loyalty.balance('tab', 'ann'), 42.00, 'in a renamed schema as well');

-- a dropped column before the mapped ones, a generated and a default one
CREATE TABLE shop.odd (gone integer, id integer PRIMARY KEY, net numeric, vat numeric, gross numeric GENERATED ALWAYS AS (net + vat) STORED, customer text DEFAULT 'gen');
ALTER TABLE shop.odd DROP COLUMN gone;
SELECT loyalty.attach('odd', 'tab', 'shop.odd', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.gross', evaluate => 'statement') \gset
INSERT INTO shop.odd (id, net, vat) VALUES (1, 10, 2);
SELECT is(loyalty.balance('tab', 'gen'), 12.00, 'a generated column counts');
UPDATE shop.odd SET vat = 5;
SELECT is(loyalty.balance('tab', 'gen'), 15.00, 'also when what it is generated from changes');
ALTER TABLE shop.odd ADD COLUMN extra text DEFAULT 'x';
INSERT INTO shop.odd (id, net, vat) VALUES (2, 1, 0);
SELECT is(loyalty.balance('tab', 'gen'), 16.00, 'a column added later does no harm');

-- columns that no stored row has, because they are generated when they are read: from PostgreSQL 18 on, where it is the default
SELECT CASE WHEN current_setting('server_version_num')::integer >= 180000 THEN 'VIRTUAL' ELSE 'STORED' END AS generated \gset
CREATE TABLE shop.made (id integer PRIMARY KEY, kind text, net numeric, vat numeric, who text,
	gross numeric GENERATED ALWAYS AS (net + vat) :generated, is_sale boolean GENERATED ALWAYS AS (kind = 'out') :generated,
	customer text GENERATED ALWAYS AS ('made ' || who) :generated);
SELECT lives_ok($$SELECT loyalty.attach('made', 'tab', 'shop.made', 'r.id', 'r.customer', '''2024-03-10''::date', filter => 'r.is_sale', amount => 'r.gross',
	evaluate => 'statement')$$, 'a table is attached whose columns are generated when they are read');
SELECT lives_ok($$INSERT INTO shop.made (id, kind, net, vat, who) VALUES (1, 'out', 10, 2, 'ann'), (2, 'in', 100, 20, 'ann')$$,
	'a filter on such a column does not fail the ERP''s statement');
SELECT is(loyalty.balance('tab', 'made ann'), 12.00, 'and is applied; amount and customer are read');
UPDATE shop.made SET vat = 5;
SELECT is(loyalty.balance('tab', 'made ann'), 15.00, 'what the amount is made of changes');
UPDATE shop.made SET kind = 'out' WHERE id = 2;
SELECT is(loyalty.balance('tab', 'made ann'), 120.00, 'what the filter is made of changes');
UPDATE shop.made SET who = 'bob' WHERE id = 2;
SELECT results_eq($$SELECT loyalty.balance('tab', 'made ann'), loyalty.balance('tab', 'made bob')$$, $$VALUES (15.00, 105.00)$$,
	'what the customer is made of changes');
DELETE FROM shop.made WHERE id = 2;
SELECT is(loyalty.balance('tab', 'made bob'), 0.00, 'the row is deleted');
CREATE TABLE shop.made_head (id integer PRIMARY KEY, customer text);
CREATE TABLE shop.made_line (id integer PRIMARY KEY, bill integer, qty integer, price numeric,
	parent integer GENERATED ALWAYS AS (bill) :generated, total numeric GENERATED ALWAYS AS (qty * price) :generated);
SELECT lives_ok($$SELECT loyalty.attach('made lines', 'tab', 'shop.made_head', 'r.id', 'r.customer', '''2024-03-10''::date',
	lines => 'shop.made_line', line_parent => 'l.parent', line_key => 'l.id', line_amount => 'l.total', evaluate => 'statement')$$,
	'and lines that find their header by such a column');
INSERT INTO shop.made_head VALUES (1, 'cat');
INSERT INTO shop.made_line (id, bill, qty, price) VALUES (1, 1, 2, 5);
SELECT is(loyalty.balance('tab', 'cat'), 10.00, 'a line counts');
UPDATE shop.made_line SET qty = 3;
SELECT is(loyalty.balance('tab', 'cat'), 15.00, 'also when what its amount is made of changes');
CREATE TABLE shop.coded (id integer PRIMARY KEY, who text, total numeric, code text GENERATED ALWAYS AS ('c' || id::text) :generated);
SELECT lives_ok($$SELECT loyalty.attach('coded', 'tab', 'shop.coded', 'r.code', 'r.who', '''2024-03-10''::date', amount => '(to_jsonb(r) ->> ''total'')::numeric',
	evaluate => 'statement')$$, 'the key may be such a column');
SELECT lives_ok($$INSERT INTO shop.coded (id, who, total) VALUES (1, 'coded', 7)$$, 'a row with such a key is written');
UPDATE shop.coded SET total = 8;
SELECT is(loyalty.balance('tab', 'coded'), 8.00, 'and counts');
SELECT isnt_empty($$SELECT * FROM loyalty.explain('coded', 'c1')$$, 'under that key');
-- from PostgreSQL 16 on a partition may make them of something else; what a query of the table itself reads is what counts
SELECT current_setting('server_version_num')::integer >= 160000 AS otherwise \gset
\if :otherwise
\set leaf_total 'net + vat'
\set leaf_is_sale 'vat > 0'
\else
\set leaf_total net
\set leaf_is_sale 'net > 0'
\endif
CREATE TABLE shop.split (id integer PRIMARY KEY, who text, net numeric, vat numeric, total numeric GENERATED ALWAYS AS (net) :generated,
	is_sale boolean GENERATED ALWAYS AS (net > 0) :generated) PARTITION BY RANGE (id);
CREATE TABLE shop.split_0 PARTITION OF shop.split FOR VALUES FROM (0) TO (100);
CREATE TABLE shop.split_1 (id integer NOT NULL PRIMARY KEY, who text, net numeric, vat numeric, total numeric GENERATED ALWAYS AS (:leaf_total) :generated,
	is_sale boolean GENERATED ALWAYS AS (:leaf_is_sale) :generated);
ALTER TABLE shop.split ATTACH PARTITION shop.split_1 FOR VALUES FROM (100) TO (200);
SELECT loyalty.attach('split', 'tab', 'shop.split', 'r.id', 'r.who', '''2024-03-10''::date', filter => 'r.is_sale', amount => 'r.total', evaluate => 'statement') \gset
INSERT INTO shop.split (id, who, net, vat) VALUES (1, 'split', 10, 0), (101, 'split', 20, 0);
SELECT is(loyalty.balance('tab', 'split'), (SELECT sum(total) FILTER (WHERE is_sale) FROM shop.split), 'partitions that generate the columns in their own way');
UPDATE shop.split SET vat = 3;
SELECT is(loyalty.balance('tab', 'split'), (SELECT sum(total) FILTER (WHERE is_sale) FROM shop.split), 'what only one of them makes it of changes');
UPDATE shop.split SET net = 0;
SELECT is(loyalty.balance('tab', 'split'), (SELECT coalesce(sum(total) FILTER (WHERE is_sale), 0) FROM shop.split), 'what only the table makes it of changes');

-- a trigger of the ERP's own that changes the row, and one that writes lines
CREATE FUNCTION shop.double() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.net := NEW.net * 2; RETURN NEW; END$$;
CREATE TRIGGER a_double BEFORE INSERT ON shop.odd FOR EACH ROW EXECUTE FUNCTION shop.double();
INSERT INTO shop.odd (id, net, vat, customer) VALUES (3, 10, 0, 'trg');
SELECT is(loyalty.balance('tab', 'trg'), 20.00, 'what the ERP''s BEFORE trigger made of the row counts');
CREATE FUNCTION shop.after() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
	IF NEW.vat = 0 THEN UPDATE shop.odd SET vat = 1 WHERE id = NEW.id; END IF; RETURN NULL; END$$;
CREATE TRIGGER zz_after AFTER INSERT ON shop.odd FOR EACH ROW EXECUTE FUNCTION shop.after();
INSERT INTO shop.odd (id, net, vat, customer) VALUES (4, 10, 0, 'trg');
SELECT is(loyalty.balance('tab', 'trg'), 41.00, 'and what its AFTER trigger changed once more');

-- partitions; a statement on a leaf has no statement trigger: it counts at commit, or when it is settled
CREATE TABLE shop.sale (id integer, at timestamptz, customer text, total numeric, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE shop.sale_1 PARTITION OF shop.sale FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2024-02-01 00:00+00');
-- as it comes from an attached archive: other order, a dropped column
CREATE TABLE shop.sale_2 (note text, total numeric, bygone integer, customer text, at timestamptz NOT NULL, id integer NOT NULL, PRIMARY KEY (id, at));
ALTER TABLE shop.sale_2 DROP COLUMN bygone;
ALTER TABLE shop.sale ATTACH PARTITION shop.sale_2 FOR VALUES FROM ('2024-02-01 00:00+00') TO ('2024-03-01 00:00+00');
CREATE TABLE shop.sale_line (sale integer, id integer, amount numeric, PRIMARY KEY (sale, id)) PARTITION BY HASH (sale);
CREATE TABLE shop.sale_line_0 PARTITION OF shop.sale_line FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE shop.sale_line_1 PARTITION OF shop.sale_line FOR VALUES WITH (MODULUS 2, REMAINDER 1);

SELECT lives_ok($$SELECT loyalty.attach('parted', 'tab', 'shop.sale', 'r.id', 'r.customer', 'r.at', amount => 'r.total', evaluate => 'statement')$$,
	'a partitioned table is attached');
INSERT INTO shop.sale (id, at, customer, total) VALUES (1, '2024-01-15', 'pam', 100), (2, '2024-02-15', 'pam', 50);
SELECT is(loyalty.balance('tab', 'pam'), 150.00, 'rows through the root earn, in a leaf of other column order too');
INSERT INTO shop.sale_1 (id, at, customer, total) VALUES (3, '2024-01-16', 'pam', 7);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'pam'), 157.00, 'a row put into a leaf earns');
INSERT INTO shop.sale_2 (id, at, customer, total) VALUES (4, '2024-02-16', 'pam', 8);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'pam'), 165.00, 'in the other leaf as well');
UPDATE shop.sale_2 SET total = 9 WHERE id = 4;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'pam'), 166.00, 'a change in a leaf counts');
UPDATE shop.sale_2 SET note = 'x' WHERE id = 4;
SELECT is(loyalty.settle(), 0::bigint, 'a change that does not matter matters in no leaf');
UPDATE shop.sale SET at = '2024-02-20' WHERE id = 1;
SELECT is(loyalty.balance('tab', 'pam'), 166.00, 'a row that moves to another leaf keeps its points');
SELECT is(shop.booked('parted', '1'), 100::numeric, 'under its key');
COPY shop.sale (id, at, customer, total) FROM stdin WITH (FORMAT csv);
5,2024-01-17 00:00+00,pam,1
6,2024-02-17 00:00+00,pam,2
\.
SELECT is(loyalty.balance('tab', 'pam'), 169.00, 'COPY into the root earns');
CREATE TABLE shop.sale_3 PARTITION OF shop.sale FOR VALUES FROM ('2024-03-01 00:00+00') TO ('2024-04-01 00:00+00');
INSERT INTO shop.sale (id, at, customer, total) VALUES (7, '2024-03-15', 'pam', 1);
INSERT INTO shop.sale_3 (id, at, customer, total) VALUES (8, '2024-03-16', 'pam', 1);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'pam'), 171.00, 'a partition that comes later is captured');
CREATE TABLE shop.sale_4 (LIKE shop.sale INCLUDING ALL);
INSERT INTO shop.sale_4 (id, at, customer, total) VALUES (9, '2024-04-16', 'pam', 4);
SELECT loyalty.settle() \gset
ALTER TABLE shop.sale ATTACH PARTITION shop.sale_4 FOR VALUES FROM ('2024-04-01 00:00+00') TO ('2024-05-01 00:00+00');
SELECT results_eq($$SELECT doc_key, due::numeric FROM loyalty.verify('parted')$$, $$VALUES ('9', 4::numeric)$$, 'what it brings along is found by verify');
INSERT INTO shop.sale (id, at, customer, total) VALUES (10, '2024-04-17', 'pam', 1);
SELECT is(loyalty.balance('tab', 'pam'), 172.00, 'and it is captured from then on');
DELETE FROM shop.sale_1;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'pam'), 164.00, 'rows deleted from a leaf give back');
SELECT ok(capturing, 'status() sees that a partitioned table is captured') FROM loyalty.status() WHERE source = 'parted';

SELECT loyalty.attach('parted lines', 'tab', 'shop.sale', 'r.id', 'r.customer || '' lined''', 'r.at', lines => 'shop.sale_line',
	line_parent => 'l.sale', line_key => 'l.id', line_amount => 'l.amount', evaluate => 'statement') \gset
INSERT INTO shop.sale_line VALUES (1, 1, 10), (2, 1, 20);
SELECT is(loyalty.balance('tab', 'pam lined'), 30.00, 'lines may be partitioned too');
INSERT INTO shop.sale_line_0 SELECT s, 2, 5 FROM generate_series(1, 2) s WHERE satisfies_hash_partition('shop.sale_line'::regclass, 2, 0, s);
SELECT loyalty.settle() \gset
INSERT INTO shop.sale_line_1 SELECT s, 2, 5 FROM generate_series(1, 2) s WHERE satisfies_hash_partition('shop.sale_line'::regclass, 2, 1, s);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'pam lined'), 40.00, 'and be written leaf by leaf');
-- a leaf that leaves is an ordinary table that nobody attached
ALTER TABLE shop.sale DETACH PARTITION shop.sale_3;
SELECT lives_ok($$INSERT INTO shop.sale_3 (id, at, customer, total) VALUES (11, '2024-03-17', 'pam', 1000)$$, 'a detached leaf can be written');
SELECT is(loyalty.balance('tab', 'pam'), 164.00, 'and does not earn');
SELECT is((SELECT string_agg(doc_key, ' ' ORDER BY doc_key) FROM loyalty.verify('parted')), '7 8 9', 'verify tells what left with it');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
