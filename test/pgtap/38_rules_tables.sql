-- Rules and the tables they look at: partitions, types, changes of columns,
-- several sources; ways of writing; ways of rounding.
\ir common.psql
SELECT no_plan();
SET LOCAL client_min_messages = error;

CREATE DOMAIN shop.price AS numeric(12,2) CHECK (VALUE >= 0);
CREATE TYPE shop.state AS ENUM ('open', 'paid', 'late');
CREATE TABLE shop.bill (id integer, day date NOT NULL, customer text, sort shop.state, paid shop.price, tags text[], extra jsonb, since timestamptz, gone text)
	PARTITION BY RANGE (day);
-- partitions whose columns lie in another order
CREATE TABLE shop.bill_2023 (extra jsonb, dropped integer, id integer, tags text[], day date NOT NULL, paid shop.price, gone text, customer text, since timestamptz, sort shop.state);
ALTER TABLE shop.bill_2023 DROP COLUMN dropped;
ALTER TABLE shop.bill ATTACH PARTITION shop.bill_2023 FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE shop.bill_2024 PARTITION OF shop.bill FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE shop.bill_line (id integer, bill integer, of integer, qty numeric, amount numeric, size integer, grade "char");
CREATE INDEX ON shop.bill_line (bill);
SELECT loyalty.create_program('rs', 'UTC', point_unit => 0.01) \gset
SELECT loyalty.set_rule('rs', 'base', 1, 10) \gset
SELECT loyalty.attach('bills', 'rs', 'shop.bill', 'r.id', 'r.customer', 'r.day', lines => 'shop.bill_line', line_parent => 'l.bill', line_key => 'l.id',
	line_qty => 'l.qty', line_amount => 'l.amount', line_return_of => 'l.of', evaluate => 'statement') \gset
CREATE FUNCTION shop.bill(id integer, day date, customer text, sort shop.state DEFAULT 'open', paid numeric DEFAULT 0, tags text[] DEFAULT '{}', extra jsonb DEFAULT '{}') RETURNS numeric
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO shop.bill_line VALUES (bill.id * 10 + 1, bill.id, NULL, 1, 100, 40, 'a'), (bill.id * 10 + 2, bill.id, NULL, 2, 50, 50, 'b');
	INSERT INTO shop.bill (id, day, customer, sort, paid, tags, extra, since) VALUES (bill.id, bill.day, bill.customer, bill.sort, bill.paid, bill.tags, bill.extra, '2024-01-01 12:00+00');
	RETURN shop.booked('bills', bill.id::text);
END $$;

-- columns of every kind, in every partition
SELECT loyalty.set_rule('rs', r, p, kind => 'bonus', condition => c) FROM (VALUES
	('domain', 1000, 'invoice.paid >= 50'), ('enum', 2000, 'invoice.sort > ''open'''), ('array', 4000, 'invoice.tags @> ''{gold}'''),
	('json', 8000, 'invoice.extra ->> ''club'' = ''x'''), ('column', 16000, 'line.size > 45 AND line.amount < 60')) v (r, p, c) \g /dev/null
SELECT is(shop.bill(1, '2023-05-01', 'a'), 16015::numeric, 'one partition');
SELECT is(shop.bill(2, '2024-05-01', 'a'), 16015::numeric, 'the other');
SELECT is(shop.bill(3, '2023-05-02', 'a', 'paid', 50, '{x,gold}', '{"club": "x"}'), 31015::numeric, 'everything holds in one');
SELECT is(shop.bill(4, '2024-05-02', 'a', 'paid', 50, '{x,gold}', '{"club": "x"}'), 31015::numeric, 'and in the other');
UPDATE shop.bill_2023 SET sort = 'open', tags = NULL WHERE id = 3;
SELECT loyalty.settle() \g /dev/null
SELECT is(shop.booked('bills', '3'), 25015::numeric, 'an update of the partition itself');
UPDATE shop.bill SET day = '2024-06-01' WHERE id = 3;
SELECT is(shop.booked('bills', '3'), 25015::numeric, 'a row that changes its partition');
UPDATE shop.bill SET extra = NULL, paid = NULL, day = '2023-07-01' WHERE id = 3;
SELECT is(shop.booked('bills', '3'), 16015::numeric, 'and back, with another content');
UPDATE shop.bill_line SET size = 45 WHERE id = 32;
SELECT is(shop.booked('bills', '3'), 15::numeric, 'a line''s column');
ALTER TYPE shop.state ADD VALUE 'never' AFTER 'late';
SELECT loyalty.end_rule('rs', r) FROM unnest('{domain,array,json,column}'::text[]) r \g /dev/null
SELECT is(shop.bill(5, '2024-05-03', 'a', 'late'), 2015::numeric, 'an enum that grew');

-- renamed, retyped, dropped
ALTER TABLE shop.bill RENAME sort TO status;
CREATE FUNCTION shop.bill2(id integer) RETURNS numeric LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO shop.bill_line VALUES (bill2.id * 10 + 1, bill2.id, NULL, 1, 100, 40, 'a');
	INSERT INTO shop.bill (id, day, customer) VALUES (bill2.id, '2024-05-04', 'b');
	RETURN shop.booked('bills', bill2.id::text);
END $$;
SELECT is(shop.bill2(6), 10::numeric, 'a rule whose column was renamed is skipped');
SELECT matches((SELECT problem FROM loyalty.status() WHERE source = 'bills'), 'rule "enum" is skipped: column invoice.sort does not exist', 'and named');
SELECT is((SELECT problem FROM loyalty.status() WHERE source <> 'bills' AND problem IS NOT NULL LIMIT 1), NULL, 'by the source that it is about');
ALTER TABLE shop.bill RENAME status TO sort;
SELECT is(shop.bill2(7), 10::numeric, 'it is back');
SELECT is((SELECT problem FROM loyalty.status() WHERE source = 'bills'), NULL, 'and no problem any more');
UPDATE loyalty.program SET broken_rule = 'park' WHERE name = 'rs';
SELECT loyalty.set_rule('rs', 'gone', 7, kind => 'bonus', condition => 'invoice.gone = ''x''') \gset
ALTER TABLE shop.bill DROP COLUMN gone;
SELECT is(shop.bill2(8), 0::numeric, 'with broken_rule park, the document waits');
SELECT is((SELECT sqlstate || ' ' || message FROM shop.pending WHERE doc_key = '8'), '42703 rule "gone" does not compile: column invoice.gone does not exist', 'and says what for');
SELECT is((SELECT count(*) FROM shop.bill WHERE id = 8), 1::bigint, 'the ERP has it');
ALTER TABLE shop.bill ADD gone text;
SELECT loyalty.retry_parked('bills') \g /dev/null
SELECT is(shop.booked('bills', '8') >= 10, true, 'a column of that name again, and it is booked');
SELECT loyalty.end_rule('rs', r) FROM unnest('{gone,enum}'::text[]) r \g /dev/null

-- names are looked up where the condition was checked, whatever a session has in its path
CREATE SCHEMA trick;
CREATE FUNCTION trick.lower(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'gotcha'$$;
CREATE FUNCTION trick.eq(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$SELECT true$$;
CREATE OPERATOR trick.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trick.eq);
SELECT loyalty.set_rule('rs', 'trick', 500, kind => 'bonus', condition => 'lower(member.customer) = ''someone else''') \gset
SET LOCAL search_path = trick, pg_catalog, shop, public;
INSERT INTO shop.bill_line VALUES (91, 9, NULL, 1, 100, 40, 'a');
INSERT INTO shop.bill (id, day, customer) VALUES (9, '2024-05-04', 'b');
RESET search_path;
SELECT is(shop.booked('bills', '9'), 10.00, 'operators and functions of a session are not the rule''s');
SET LOCAL search_path = trick, pg_catalog, shop, public;
SELECT loyalty.set_rule('rs', 'trick', 500, kind => 'bonus', condition => 'lower(member.customer) = ''someone else'' AND document.amount > 1') \gset
INSERT INTO shop.bill_line VALUES (101, 10, NULL, 1, 100, 40, 'a');
INSERT INTO shop.bill (id, day, customer) VALUES (10, '2024-05-04', 'b');
RESET search_path;
SELECT is(shop.booked('bills', '10'), 10.00, 'nor of the one who writes it');
SELECT loyalty.end_rule('rs', 'trick') \gset
-- text that looks like SQL
SELECT loyalty.set_rule('rs', 'quoted', 500, kind => 'bonus', condition => 'member.customer = ''o''''neil"; DROP TABLE shop.bill; --''') \gset
INSERT INTO shop.bill (id, day, customer) VALUES (11, '2024-05-05', 'o''neil"; DROP TABLE shop.bill; --');
INSERT INTO shop.bill_line VALUES (111, 11, NULL, 1, 10, 1, 'a');
SELECT is(shop.booked('bills', '11'), 501::numeric, 'is text');
SELECT loyalty.end_rule('rs', 'quoted') \gset

-- a rule for all sources that have its columns
SELECT shop.attach('inv', 'rs', evaluate => 'statement') \gset
SELECT loyalty.set_rule('rs', 'noted', 70, kind => 'bonus', condition => 'invoice.note = ''x''') \gset
SELECT is((SELECT problem FROM loyalty.status() WHERE source = 'bills'), NULL, 'a rule on another source''s columns is no problem of this one');
SELECT is(shop.bill2(12), 10.00, 'and nothing to it');
INSERT INTO shop.invoice (id, customer, total, note) VALUES (1, 'n', 10, 'x'), (2, 'n', 10, 'y');
SELECT is(shop.booked('inv', '1') || ' ' || shop.booked('inv', '2'), '71 1', 'it is that other one''s');
SELECT loyalty.set_rule('rs', 'noted', 70, kind => 'bonus', condition => 'document.amount = 100') \gset
SELECT is(shop.bill2(13), 80.00, 'one without an invoice is for all');
SELECT loyalty.set_rule('rs', 'noted', 70, kind => 'bonus', source => 'inv', condition => 'document.amount = 100') \gset
SELECT is(shop.bill2(14), 10.00, 'but for one only, if it says so');
-- first purchase over all sources
SELECT loyalty.set_rule('rs', 'first', 200, kind => 'bonus', condition => 'member.purchase_count = 0') \gset
INSERT INTO shop.invoice (id, customer, at, total) VALUES (3, 'both', '2024-05-05', 10);
SELECT is(shop.booked('inv', '3'), 201::numeric, 'first purchase');
INSERT INTO shop.bill_line VALUES (151, 15, NULL, 1, 10, 1, 'a');
INSERT INTO shop.bill (id, day, customer) VALUES (15, '2024-05-04', 'both');
SELECT loyalty.settle() \g /dev/null
SELECT is(shop.booked('bills', '15') || ' ' || shop.booked('inv', '3'), '201 1', 'an earlier one of another source');
SELECT loyalty.end_rule('rs', r) FROM unnest('{first,noted}'::text[]) r \g /dev/null

-- COPY, and several documents of one member in one statement
SELECT loyalty.set_rule('rs', 'first', 200, kind => 'bonus', condition => 'member.purchase_count = 0') \gset
SELECT loyalty.set_rule('rs', 'month', kind => 'cap', cap_month => 215) \gset
COPY shop.invoice (id, customer, at, total) FROM stdin;
103	copy	2024-06-03 00:00+00	100
101	copy	2024-06-01 00:00+00	100
102	copy	2024-06-02 00:00+00	100
104	copy	2024-07-01 00:00+00	100
\.
SELECT is((SELECT string_agg(trim_scale(points)::text, ' ' ORDER BY doc_key) FROM shop.document WHERE doc_key BETWEEN '101' AND '104'), '210 5 0 10', 'COPY in any order');
INSERT INTO shop.invoice (id, customer, at, total) SELECT 104 + i, 'multi', '2024-06-05'::timestamptz - i * interval '1 day', 100 FROM generate_series(1, 3) i;
SELECT is((SELECT string_agg(trim_scale(points)::text, ' ' ORDER BY doc_key) FROM shop.document WHERE doc_key BETWEEN '105' AND '107'), '0 5 210', 'one statement, latest first');
UPDATE shop.invoice SET at = at - interval '1 month' WHERE customer = 'multi' AND id = 105;
SELECT is((SELECT string_agg(trim_scale(points)::text, ' ' ORDER BY doc_key) FROM shop.document WHERE doc_key BETWEEN '105' AND '107'), '210 10 10', 'the latest becomes the earliest');
DELETE FROM shop.invoice WHERE customer = 'multi';
SELECT is(loyalty.balance('rs', 'multi'), 0.00, 'all are deleted');
SELECT loyalty.end_rule('rs', r) FROM unnest('{first,month}'::text[]) r \g /dev/null

-- returns that are linked to nothing take what goods of that kind earn: factors, but no bonus and no cap
SELECT loyalty.set_rule('rs', 'double', kind => 'multiplier', factor => 2, condition => 'document.channel = ''web''') \gset
SELECT loyalty.set_rule('rs', 'bonus', 33, kind => 'bonus') \gset
SELECT loyalty.set_rule('rs', 'cap', kind => 'cap', cap_document => 1) \gset
INSERT INTO shop.invoice (id, customer, total, channel) VALUES (200, 'un', -100, 'web'), (201, 'un', -100, 'shop');
SELECT is(shop.booked('inv', '200') || ' ' || shop.booked('inv', '201'), '-20 -10', 'by its factor');
SELECT loyalty.end_rule('rs', r) FROM unnest('{double,bonus,cap}'::text[]) r \g /dev/null

-- rounded by line and carried, with factors on some lines
SELECT loyalty.create_program('li', 'UTC', rounding_scope => 'line') \gset
SELECT loyalty.create_program('cy', 'UTC', rounding_scope => 'carry') \gset
SELECT loyalty.detach(s) FROM unnest('{bills,inv}'::text[]) s \g /dev/null
SELECT shop.attach_lines('li', 'li', evaluate => 'statement'), shop.attach_lines('cy', 'cy', evaluate => 'statement') \gset
SELECT loyalty.set_rule(p, 'base', 1, 10), loyalty.set_rule(p, 'new', kind => 'multiplier', factor => 1.5, condition => 'line.category = ''new'''),
	loyalty.set_rule(p, 'big', 2.5, kind => 'bonus', condition => 'document.amount >= 50') FROM unnest('{li,cy}'::text[]) p \g /dev/null
INSERT INTO shop.line (id, invoice, category, amount) VALUES (3001, 300, 'new', 19), (3002, 300, 'old', 19), (3003, 300, 'new', 13);
INSERT INTO shop.invoice (id, customer, at) VALUES (300, 's', '2024-01-01');
SELECT is(shop.booked('li', '300'), 6::numeric, 'by line: 2.85, 1.9, 1.95 and 2.5 once are 2, 1, 1 and 2');
SELECT is(shop.booked('cy', '300'), 9::numeric, 'carried: 9.2');
INSERT INTO shop.line (id, invoice, amount, return_of) VALUES (3011, 301, -13, 3003);
INSERT INTO shop.invoice (id, customer, at, return_of) VALUES (301, 's', '2024-01-02', 300);
SELECT is(shop.booked('li', '301'), -3::numeric, 'a line of them back, and the bonus');
SELECT is(shop.booked('cy', '301'), -5::numeric, 'carried: 4.75 are left, 4 of them booked');
INSERT INTO shop.line (id, invoice, category, amount) VALUES (3021, 302, 'old', 4);
INSERT INTO shop.invoice (id, customer, at) VALUES (302, 's', '2024-01-03');
SELECT is(loyalty.balance('li', 's') || ' ' || loyalty.balance('cy', 's'), '3.00 5.00', 'a little more makes one of what is carried');

SELECT * FROM shop.clean();
SELECT * FROM finish();
ROLLBACK;
