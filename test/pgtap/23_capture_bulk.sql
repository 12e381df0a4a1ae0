-- COPY, TRUNCATE, replica mode, and many documents at once.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('bulk', 'UTC') \gset
SELECT loyalty.set_rule('bulk', 'base', 1, 1) \gset
SELECT loyalty.set_tier('bulk', 'Silver', 100, 2) \gset
SELECT loyalty.set_tier('bulk', 'Gold', 300, 3) \gset
SELECT shop.attach('inv', 'bulk') \gset

COPY shop.invoice (id, customer, total) FROM stdin WITH (FORMAT csv);
1,copy,10
2,copy,20
3,other,5
\.
SELECT is(loyalty.settle(), 3::bigint, 'COPY: three documents');
SELECT is(loyalty.balance('bulk', 'copy'), 30.00, 'earn');

-- a bulk insert in any order gives the entries of single inserts
CREATE TABLE shop.stream (n integer, at timestamptz, total numeric);
INSERT INTO shop.stream SELECT i, '2024-01-01 00:00+00'::timestamptz + i * interval '1 day', 7 * i % 83 + 0.5 FROM generate_series(1, 40) i;
INSERT INTO shop.invoice (id, customer, at, total) SELECT 1000 + n, 'in bulk', at, total FROM shop.stream ORDER BY hashint4(n);
SELECT loyalty.settle() \gset
DO $$
DECLARE s record;
BEGIN
	FOR s IN SELECT * FROM shop.stream ORDER BY at LOOP
		INSERT INTO shop.invoice (id, customer, at, total) VALUES (2000 + s.n, 'one by one', s.at, s.total);
		PERFORM loyalty.settle();
	END LOOP;
	-- and in two halves, each shuffled
	INSERT INTO shop.invoice (id, customer, at, total) SELECT 3000 + n, 'halves', at, total FROM shop.stream WHERE n <= 20 ORDER BY hashint4(n);
	PERFORM loyalty.settle();
	INSERT INTO shop.invoice (id, customer, at, total) SELECT 3000 + n, 'halves', at, total FROM shop.stream WHERE n > 20 ORDER BY -hashint4(n);
	PERFORM loyalty.settle();
END
$$;
SELECT is((SELECT count(*) FROM shop.entry WHERE member_id = loyalty.member_id('bulk', 'one by one')), 40::bigint, 'forty entries one by one');
SELECT results_eq(
	$$SELECT seq, kind, points, occurred_at FROM shop.entry WHERE member_id = loyalty.member_id('bulk', 'in bulk') ORDER BY seq$$,
	$$SELECT seq, kind, points, occurred_at FROM shop.entry WHERE member_id = loyalty.member_id('bulk', 'one by one') ORDER BY seq$$,
	'forty documents in one statement give the same entries as one by one');
SELECT results_eq(
	$$SELECT seq, kind, points, occurred_at FROM shop.entry WHERE member_id = loyalty.member_id('bulk', 'halves') ORDER BY seq$$,
	$$SELECT seq, kind, points, occurred_at FROM shop.entry WHERE member_id = loyalty.member_id('bulk', 'one by one') ORDER BY seq$$,
	'so do two halves');
-- the same day: the key decides
INSERT INTO shop.invoice (id, customer, total) VALUES (12, 'tie', 60), (11, 'tie', 90), (10, 'tie', 30);
SELECT loyalty.settle() \gset
SELECT is(shop.entries('bulk', 'tie'), 'earn 30, earn 180, earn 120', 'at one instant documents count in the order of their keys');

-- a member many times, members many
INSERT INTO shop.invoice (id, customer, total) SELECT 10000 + i, 'crowd ' || i % 700, 1 FROM generate_series(1, 7000) i;
SELECT is(loyalty.settle(), 7000::bigint, 'seven thousand documents in one statement');
SELECT is((SELECT count(*) FROM shop.member WHERE customer LIKE 'crowd%' AND balance = 10), 700::bigint, 'seven hundred members with ten points each');
INSERT INTO shop.invoice (id, customer, total) SELECT 20000 + i, 'heavy', 1 FROM generate_series(1, 5000) i;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('bulk', 'heavy'), 99.00 + 200 * 2 + 4701 * 3, 'five thousand documents of one member climb the tiers one by one');
DELETE FROM shop.invoice WHERE id > 10000;
SELECT loyalty.settle() \gset
SELECT is((SELECT count(*) FROM shop.member WHERE customer = 'heavy' OR customer LIKE 'crowd%' AND balance <> 0), 1::bigint, 'deleted in one statement');
SELECT is(loyalty.balance('bulk', 'heavy'), 0.00, 'all is given back');

-- a statement that touches no row
UPDATE shop.invoice SET total = total + 1 WHERE false;
SELECT is(loyalty.settle(), 0::bigint, 'a statement without rows is no work');

-- replica mode skips the triggers: verify finds it, reevaluate repairs it
SET LOCAL session_replication_role = replica;
INSERT INTO shop.invoice (id, customer, total) VALUES (50, 'rep', 40), (51, 'rep', 2);
UPDATE shop.invoice SET total = 8 WHERE id = 3;
DELETE FROM shop.invoice WHERE id = 2;
SET LOCAL session_replication_role = origin;
SELECT is(loyalty.settle(), 0::bigint, 'replica mode: nothing is captured');
SELECT results_eq($$SELECT doc_key, customer, booked::numeric, due::numeric FROM loyalty.verify('inv') ORDER BY doc_key::integer$$,
	$$VALUES ('2', 'copy', 20::numeric, 0::numeric), ('3', 'other', 5, 8), ('50', 'rep', 0, 40), ('51', 'rep', 0, 2)$$,
	'verify finds what was inserted, changed and deleted');
SELECT is_empty($$SELECT FROM loyalty.verify('inv') WHERE problem IS NULL$$, 'and names each problem');
SELECT is(loyalty.reevaluate('inv', VARIADIC (SELECT array_agg(doc_key) FROM loyalty.verify('inv'))), 25.00, 'reevaluate books the difference');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'verify is content then');
SELECT is(loyalty.balance('bulk', 'rep'), 42.00, 'and the balance right');
SELECT is(loyalty.balance('bulk', 'copy'), 10.00, 'of each');

-- so for disabled triggers
ALTER TABLE shop.invoice DISABLE TRIGGER USER;
INSERT INTO shop.invoice (id, customer, total) VALUES (60, 'dis', 40);
ALTER TABLE shop.invoice ENABLE TRIGGER USER;
SELECT loyalty.settle() \gset
SELECT results_eq($$SELECT doc_key, due::numeric FROM loyalty.verify('inv')$$, $$VALUES ('60', 40::numeric)$$, 'verify finds what disabled triggers missed');
SELECT is(loyalty.reevaluate('inv', '60'), 40.00, 'reevaluate repairs it');

-- TRUNCATE
SAVEPOINT a;
TRUNCATE shop.invoice;
SELECT lives_ok($$SELECT loyalty.settle()$$, 'TRUNCATE is no error');
SELECT cmp_ok((SELECT count(*) FROM shop.document d WHERE d.state = 'booked') , '=',
	(SELECT count(*) FROM loyalty.verify('inv')), 'what TRUNCATE took is either given back or found by verify');
SELECT lives_ok($$SELECT loyalty.reevaluate('inv', VARIADIC (SELECT coalesce(array_agg(doc_key), '{}') FROM loyalty.verify('inv')))$$, 'and can be repaired');
SELECT is((SELECT sum(balance) FROM shop.member), 0.00, 'no points remain of documents that are gone');
SELECT is_empty($$SELECT * FROM loyalty.verify('inv')$$, 'verify is content then');
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'copy', 15);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('bulk', 'copy'), 15.00, 'and earning goes on');
SELECT shop.clean();
ROLLBACK TO a;
SELECT is(loyalty.balance('bulk', 'copy'), 10.00, 'a rolled back TRUNCATE is one');
-- written and truncated away within one transaction
INSERT INTO shop.invoice (id, customer, total) VALUES (70, 'tru', 15);
TRUNCATE shop.invoice;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('bulk', 'tru'), 0.00, 'inserted and truncated: never was');

-- documents of a day count in the order of their keys, whatever these are like and however they come
SELECT loyalty.create_program('order', 'UTC') \gset
SELECT loyalty.set_rule('order', 'base', 1, 300) \gset
SELECT loyalty.set_tier('order', 'Gold', 6000, 2) \gset
CREATE TABLE shop.pair (company integer, no integer, customer text, total numeric DEFAULT 600);
CREATE TABLE shop.mixed (no text, customer text, total numeric DEFAULT 1200);
SELECT loyalty.attach('pair', 'order', 'shop.pair', '(r.company, r.no)', 'r.customer', '''2024-03-10''::date', amount => 'r.total') \gset
SELECT loyalty.attach('mixed', 'order', 'shop.mixed', 'r.no', 'r.customer', '''2024-03-10''::date', amount => 'r.total') \gset
CREATE FUNCTION shop.in_order(customer text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(doc_key || ' ' || trim_scale(points), ' ' ORDER BY seq) FROM shop.entry WHERE member_id = loyalty.member_id('order', $1)
$$;
INSERT INTO shop.pair SELECT 1 + n / 6, 5 + n % 6, 'pair' FROM unnest('{7,2,11,0,9,4,1,10,3,8,5,6}'::integer[]) n;
SELECT loyalty.settle() \gset
SELECT is(shop.in_order('pair'), '(1,5) 2 (1,6) 2 (1,7) 2 (1,8) 2 (1,9) 2 (1,10) 2 (2,5) 2 (2,6) 2 (2,7) 2 (2,8) 4 (2,9) 4 (2,10) 4',
	'composite keys: column by column');
SAVEPOINT m;
INSERT INTO shop.mixed SELECT k, 'mixed' FROM unnest('{10,9,5a,100,B,-2}'::text[]) k;
SELECT loyalty.settle() \gset
SELECT is(shop.in_order('mixed'), '-2 4 9 4 10 4 100 4 5a 8 B 8', 'numbers by value, then the others');
ROLLBACK TO m;
INSERT INTO shop.mixed SELECT k, 'mixed' FROM unnest('{5a,10,100,9,-2,B}'::text[]) k;
SELECT loyalty.settle() \gset
SELECT is(shop.in_order('mixed'), '-2 4 9 4 10 4 100 4 5a 8 B 8', 'the same in another order');
ROLLBACK TO m;
INSERT INTO shop.mixed SELECT k, 'mixed' FROM unnest('{9,B,-2,100,5a,10}'::text[]) k;
SELECT loyalty.settle() \gset
SELECT is(shop.in_order('mixed'), '-2 4 9 4 10 4 100 4 5a 8 B 8', 'and in a third');
-- two rows with one key are nobody's guess
SET LOCAL client_min_messages = error;
INSERT INTO shop.mixed VALUES ('twice', 'first', 600), ('twice', 'second', 300);
SELECT loyalty.settle() \gset
SELECT results_eq($$SELECT doc_key COLLATE "default", sqlstate FROM shop.pending$$, $$VALUES ('twice', '21000')$$, 'a key that is not unique is parked');
SELECT results_eq($$SELECT doc_key COLLATE "default", booked, due, problem FROM loyalty.verify('mixed') WHERE doc_key = 'twice'$$,
	$$VALUES ('twice', NULL::numeric, NULL::numeric, 'cannot be evaluated: key "twice" of source "mixed" is not unique')$$, 'verify() says so');
DELETE FROM shop.mixed WHERE customer = 'second';
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('order', 'first'), 2.00, 'until it is unique');
SELECT is_empty($$SELECT FROM shop.pending$$, 'then nothing waits');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
