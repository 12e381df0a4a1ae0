-- Histories that no ERP should write, and some that every ERP does: after each
-- the books are what the final rows say.
\ir common.psql
SELECT no_plan();

CREATE TABLE shop.odd (id text PRIMARY KEY, customer text, day date DEFAULT '2024-03-01', total numeric,
	posted boolean DEFAULT true, of text);
CREATE INDEX ON shop.odd (of);
SELECT loyalty.create_program('odd', time_zone => 'UTC') \gset
SELECT loyalty.set_rule('odd', 'base', 1, 1) \gset
SELECT loyalty.attach('odd', 'odd', 'shop.odd', 'r.id', 'r.customer', 'r.day', amount => 'r.total',
	posted => 'r.posted', return_of => 'r.of') \gset

-- evaluates what the statements before have done, and says who has what
CREATE FUNCTION shop.now() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM loyalty.settle();
	RETURN coalesce((SELECT string_agg(m.customer || ' ' || trim_scale(m.balance), ', ' ORDER BY m.customer)
			FROM shop.member m WHERE m.balance <> 0), '')
		|| coalesce((SELECT '; check: ' || string_agg(c.problem, ', ') FROM loyalty.check() c), '')
		|| coalesce((SELECT '; verify: ' || string_agg(v.doc_key || ' ' || v.problem, ', ') FROM loyalty.verify('odd') v), '')
		|| coalesce((SELECT '; waits: ' || string_agg(p.doc_key, ', ') FROM shop.pending p), '');
END
$$;

INSERT INTO shop.odd VALUES ('1', 'A', DEFAULT, 10), ('2', 'B', DEFAULT, 20);
SELECT is(shop.now(), 'A 10, B 20', 'two sales');
UPDATE shop.odd SET id = 'x' WHERE id = '1';
UPDATE shop.odd SET id = '1' WHERE id = '2';
UPDATE shop.odd SET id = '2' WHERE id = 'x';
SELECT is(shop.now(), 'A 10, B 20', 'their keys are swapped');
DELETE FROM shop.odd WHERE id = '1';
UPDATE shop.odd SET id = '1' WHERE id = '2';
SELECT is(shop.now(), 'A 10', 'one is renamed onto the key of one that is deleted');
DELETE FROM shop.odd WHERE id = '1';
INSERT INTO shop.odd VALUES ('1', 'C', DEFAULT, 7);
SELECT is(shop.now(), 'C 7', 'deleted and there again with the same key, for another customer');
INSERT INTO shop.odd VALUES ('r', 'C', DEFAULT, -2, true, '1');
UPDATE shop.odd SET customer = 'A' WHERE id = '1';
SELECT is(shop.now(), 'A 5', 'a return, and the sale changes hands');
UPDATE shop.odd SET posted = false WHERE id = 'r';
SELECT is(shop.now(), 'A 7', 'the credit note is cancelled after the sale has moved');
UPDATE shop.odd SET posted = true WHERE id = 'r';
SELECT is(shop.now(), 'A 5', 'and posted again');
INSERT INTO shop.odd VALUES ('r2', 'D', DEFAULT, -3, true, 's2');
INSERT INTO shop.odd VALUES ('s2', 'D', DEFAULT, 10);
SELECT is(shop.now(), 'A 5, D 7', 'a return before its sale');

CREATE TABLE shop.kept AS SELECT * FROM shop.odd;
TRUNCATE shop.odd;
INSERT INTO shop.odd SELECT * FROM shop.kept;
SELECT is(shop.now(), 'A 5, D 7', 'emptied and loaded again');
SAVEPOINT a;
TRUNCATE shop.odd;
SELECT is(shop.now(), '', 'emptied');
ROLLBACK TO a;
SELECT is(shop.now(), 'A 5, D 7', 'that was undone, evaluation and all');
SAVEPOINT b;
UPDATE shop.odd SET total = 100 WHERE id = '1';
SELECT is(shop.now(), 'A 98, D 7', 'settled in a savepoint');
SAVEPOINT c;
UPDATE shop.odd SET total = 200 WHERE id = '1';
SELECT is(shop.now(), 'A 198, D 7', 'and in another');
ROLLBACK TO c;
SELECT is(shop.now(), 'A 98, D 7', 'the inner one is undone');
RELEASE b;
SELECT is(shop.now(), 'A 98, D 7', 'the outer one stays');
UPDATE shop.odd SET total = 7 WHERE id = '1';

INSERT INTO shop.odd VALUES ('', 'E', DEFAULT, 4), (E'a"b\\c(d),\n''e''', 'F', DEFAULT, 5), ('n', '', DEFAULT, 6);
SELECT is(shop.now(), ' 6, A 5, D 7, E 4, F 5', 'an empty key, one with every sort of mark, an empty customer');
INSERT INTO shop.odd VALUES ('e', 'E', DEFAULT, -4, true, ''), ('f', 'F', DEFAULT, -2, true, E'a"b\\c(d),\n''e''');
SELECT is(shop.now(), ' 6, A 5, D 7, F 3', 'they are returned');
DELETE FROM shop.odd WHERE customer IN ('', 'E', 'F');
SELECT is(shop.now(), 'A 5, D 7', 'and gone');

INSERT INTO shop.odd VALUES ('x1', 'A', DEFAULT, 99) ON CONFLICT (id) DO UPDATE SET total = excluded.total;
INSERT INTO shop.odd VALUES ('x1', 'A', DEFAULT, 1) ON CONFLICT (id) DO UPDATE SET total = excluded.total;
SELECT is(shop.now(), 'A 6, D 7', 'inserted or updated');
WITH gone AS (DELETE FROM shop.odd WHERE id = 'x1' RETURNING *)
	INSERT INTO shop.odd SELECT id || '1', 'D', day, total FROM gone;
SELECT is(shop.now(), 'A 5, D 8', 'deleted and written elsewhere by one statement');
DELETE FROM shop.odd WHERE id = 'x11';

-- a thousand nested savepoints, half of which are undone
SELECT string_agg(format('SAVEPOINT n%s; INSERT INTO shop.odd VALUES (''n%s'', ''N'', DEFAULT, 1);', i, i), ' ')
	FROM generate_series(1, 1000) i \gexec
ROLLBACK TO n501;
SELECT is(shop.now(), 'A 5, D 7, N 500', 'a thousand nested savepoints');
ROLLBACK TO n1;
SELECT is(shop.now(), 'A 5, D 7', 'all of them undone');

-- a row wanders through partitions whose columns are in another order
CREATE TABLE shop.part (id integer, customer text, day date, total numeric, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE shop.part1 PARTITION OF shop.part FOR VALUES FROM ('2024-01-01') TO ('2024-07-01');
CREATE TABLE shop.part2 (total numeric, day date NOT NULL, gone integer, customer text, id integer NOT NULL);
ALTER TABLE shop.part2 DROP COLUMN gone;
ALTER TABLE shop.part ATTACH PARTITION shop.part2 FOR VALUES FROM ('2024-07-01') TO ('2025-01-01');
SELECT loyalty.attach('part', 'odd', 'shop.part', 'r.id', 'r.customer', 'r.day', amount => 'r.total') \gset
INSERT INTO shop.part VALUES (1, 'P', '2024-03-01', 10);
UPDATE shop.part SET day = '2024-08-01';
SELECT is(shop.now(), 'A 5, D 7, P 10', 'to another partition');
UPDATE shop.part SET day = '2024-03-03', customer = 'Q', total = 11;
SELECT is(shop.now(), 'A 5, D 7, Q 11', 'and back, with another customer');
DELETE FROM shop.part;
SELECT is(shop.now(), 'A 5, D 7', 'deleted there');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
