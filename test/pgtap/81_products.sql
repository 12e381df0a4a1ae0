-- Products: pairs against a plain self join, ratios by hand, offers.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('club', 'UTC') \gset
SELECT loyalty.set_rule('club', 'base', 1, 1) \gset
SELECT shop.attach_lines('club', 'club', evaluate => 'statement') \gset

-- 20 sales: tea in 10, milk in 8, both in 6; sugar in 2, both with tea
INSERT INTO shop.invoice (id, customer, at) SELECT i, 'c' || i % 5, '2024-01-01 12:00+00'::timestamptz + i * interval '1 day' FROM generate_series(1, 20) i;
INSERT INTO shop.line (id, invoice, product, amount)
	SELECT row_number() OVER (), i, p, 10
	FROM generate_series(1, 20) i, unnest('{tea,milk,sugar,bread}'::text[]) p
	WHERE CASE p WHEN 'tea' THEN i <= 10 WHEN 'milk' THEN i BETWEEN 5 AND 12 WHEN 'sugar' THEN i <= 2 ELSE i > 12 END;
-- the same product twice, a discount that names one, a line without a product: none of them counts
INSERT INTO shop.line (id, invoice, product, amount) VALUES (100, 1, 'tea', 10), (101, 13, 'tea', -1), (102, 14, NULL, 5);
SELECT is(loyalty.refresh_products('club', '2024-12-31', min_baskets => 1), 4::bigint, 'two pairs, both ways');
SELECT results_eq($$SELECT product, other, baskets, product_baskets, other_baskets, both_baskets, support, confidence, lift, leverage
	FROM loyalty.product_affinity WHERE program = 'club' ORDER BY product, other$$,
	$$VALUES ('milk', 'tea', 20::bigint, 8::bigint, 10::bigint, 6::bigint, 0.3::numeric(9,6), 0.75::numeric(9,6), 1.5::numeric(18,4), 0.1::numeric(9,6)),
		('sugar', 'tea', 20, 2, 10, 2, 0.1, 1, 2, 0.05), ('tea', 'milk', 20, 10, 8, 6, 0.3, 0.6, 1.5, 0.1), ('tea', 'sugar', 20, 10, 2, 2, 0.1, 0.2, 2, 0.05)$$,
	'counts and ratios');
-- (x + 1.9208 - 1.96 * sqrt(x (n - x) / n + 0.9604)) / (n + 3.8416): 6 of 10, and 2 of 2
SELECT results_eq($$SELECT product, confidence_low FROM loyalty.product_affinity WHERE program = 'club' AND (product, other) IN (('tea', 'milk'), ('sugar', 'tea')) ORDER BY 1$$,
	$$VALUES ('sugar', 0.342372::numeric(9,6)), ('tea', 0.312670)$$, 'two of two are trusted little more than six of ten');
SELECT is(loyalty.refresh_products('club', '2024-12-31', min_baskets => 3), 2::bigint, 'rare pairs are left out');
SELECT is(loyalty.refresh_products('club', '2024-12-31', min_baskets => 1, max_products => 2), 4::bigint, 'no basket has more than two');
INSERT INTO shop.line (id, invoice, product, amount) SELECT 200 + i, 20, 'p' || i, 1 FROM generate_series(1, 9) i;
SELECT is(loyalty.refresh_products('club', '2024-12-31', min_baskets => 1, max_products => 9), 4::bigint, 'a basket of ten is beyond a cap of nine');
SELECT is((SELECT max(baskets) FROM loyalty.product_affinity WHERE program = 'club'), 19::bigint, 'and counts nowhere');
SELECT is(loyalty.refresh_products('club', '2024-12-31', min_baskets => 1), 94::bigint, 'with it there are 45 pairs more');
SELECT is(loyalty.refresh_products('club', '2024-01-11', 3, 1), 2::bigint, 'the last three days have one pair');
SELECT is((SELECT max(baskets) FROM loyalty.product_affinity WHERE program = 'club'), 3::bigint, 'in three sales');
SELECT throws_ok($$SELECT loyalty.refresh_products('club', min_baskets => 0)$$, '22023', NULL, 'no baskets at all are refused');
SELECT throws_ok($$SELECT loyalty.refresh_products('club', max_products => 1)$$, '22023', NULL, 'a cap of one product as well');
SELECT throws_ok($$SELECT loyalty.refresh_products('club', days => 0)$$, '22023', NULL, 'no days as well');
SELECT throws_ok($$SELECT loyalty.refresh_products('nope')$$, 'LY001', NULL, 'an unknown programme as well');

-- random baskets against a self join
SELECT loyalty.create_program('rand', 'UTC') \gset
CREATE TABLE shop.pos (id integer PRIMARY KEY, customer text, at timestamptz);
CREATE TABLE shop.pos_line (id integer PRIMARY KEY, pos integer, product text, amount numeric);
SELECT loyalty.attach('rand', 'rand', 'shop.pos', 'r.id', 'r.customer', 'r.at', lines => 'shop.pos_line', line_parent => 'l.pos',
	line_key => 'l.id', line_product => 'l.product', line_amount => 'l.amount') \gset
SELECT setseed(0.5) \gset
INSERT INTO shop.pos SELECT i, 'c' || i % 40, '2024-01-01'::timestamptz + i * interval '1 hour' FROM generate_series(1, 400) i;
INSERT INTO shop.pos_line SELECT row_number() OVER (), i, 'p' || floor(30 * random() ^ 2), 1 FROM generate_series(1, 400) i, generate_series(1, 1 + i % 9) j;
SELECT loyalty.settle() \gset
SELECT cmp_ok(loyalty.refresh_products('rand', '2024-12-31', min_baskets => 3, max_products => 7), '>', 100::bigint, 'pairs of random baskets');
CREATE TEMP VIEW basket AS
	SELECT pos, product FROM (SELECT DISTINCT pos, product, count(*) OVER (PARTITION BY pos) FROM shop.pos_line) x
	WHERE (SELECT count(DISTINCT l.product) FROM shop.pos_line l WHERE l.pos = x.pos) <= 7;
SELECT set_eq($$SELECT product, other, baskets, product_baskets, other_baskets, both_baskets FROM loyalty.product_affinity WHERE program = 'rand'$$,
	$$SELECT a.product, b.product AS other, (SELECT count(DISTINCT pos) FROM basket) AS n,
		(SELECT count(*) FROM basket x WHERE x.product = a.product) AS n1, (SELECT count(*) FROM basket x WHERE x.product = b.product) AS n2, count(*) AS n12
		FROM basket a JOIN basket b ON b.pos = a.pos AND b.product <> a.product GROUP BY a.product, b.product HAVING count(*) >= 3$$,
	'are those of a self join');

-- what to offer
SELECT loyalty.refresh_products('club', '2024-12-31', min_baskets => 1, max_products => 9) \gset
SELECT results_eq($$SELECT product, because_of FROM loyalty.next_best_product('club', basket => '{tea}')$$,
	$$VALUES ('milk', 'tea'), ('sugar', 'tea')$$, 'what goes with a basket, the surest first');
SELECT results_eq($$SELECT product, because_of FROM loyalty.next_best_product('club', basket => '{tea}', n => 1)$$,
	$$VALUES ('milk', 'tea')$$, 'only as many as are asked for');
SELECT is_empty($$SELECT * FROM loyalty.next_best_product('club', basket => '{tea,milk,sugar}')$$, 'nothing that is there already');
-- c1 bought tea, sugar (1), tea, milk (6), milk (11), bread
SELECT is_empty($$SELECT * FROM loyalty.next_best_product('club', 'c1')$$, 'c1 has everything');
SELECT results_eq($$SELECT product, because_of FROM loyalty.next_best_product('club', 'c3')$$,
	$$VALUES ('sugar', 'tea')$$, 'c3 has never bought sugar');
SELECT is_empty($$SELECT * FROM loyalty.next_best_product('club', 'c3', '{bread}')$$, 'a basket of his is what counts then');
SELECT is_empty($$SELECT * FROM loyalty.next_best_product('club', 'nobody')$$, 'nobody bought nothing');
SELECT is_empty($$SELECT * FROM loyalty.next_best_product('club')$$, 'and nothing leads to nothing');

SELECT is((SELECT string_agg(format('%s %s %s', product, lines, amount / qty), ', ' ORDER BY product) FROM loyalty.product_summary
	WHERE program_id = loyalty.program_id('club') AND product IN ('tea', 'bread')), 'bread 8 10.0000000000000000, tea 11 10.0000000000000000', 'product_summary');
SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
