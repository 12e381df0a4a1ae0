-- Lifetime value: formulas against figures worked out otherwise, fits of
-- samples drawn with known parameters, and what happens without a fit.
\ir common.psql
SELECT no_plan();

-- likelihoods by gamma functions as the papers write them, worked out with 15 digits
CREATE FUNCTION shop.near(have double precision, want double precision, what text) RETURNS text
LANGUAGE sql AS $$ SELECT ok(abs($1 - $2) <= 1e-9 * (1 + abs($2)), format('%s: %s', $3, $1)) $$;
SELECT shop.near(loyalty.bgnbd_log_likelihood(.243, 4.414, .793, 2.426, ARRAY[x], ARRAY[t_x], ARRAY[t], '{1}'), want, format('likelihood of x %s', x))
FROM (VALUES (0::double precision, 0::double precision, 38.86::double precision, -0.5547132764381585::double precision),
	(2, 30.43, 38.86, -9.45860630706627), (1, 1.71, 38.86, -4.469093275032589), (7, 29.43, 38.86, -21.86327627146352), (26, 30.86, 31, -37.72657947339444)) v (x, t_x, t, want);
SELECT shop.near(loyalty.bgnbd_log_likelihood(.243, 4.414, .793, 2.426, '{0,2,7}', '{0,30.43,29.43}', '{38.86,38.86,38.86}', '{2,1,3}'),
	2 * -0.5547132764381585 - 9.45860630706627 + 3 * -21.86327627146352, 'equal customers are weights');
SELECT shop.near(loyalty.gamma_gamma_log_likelihood(6.25, 3.74, 15.44, '{2,7,1}', '{22.35,73.74,11.77}', '{1,1,2}'),
	-3.551316759731707 - 6.054867310722237 + 2 * -3.7377096787408397, 'likelihood of values');
-- of the paper on BG/NBD: x 2, t_x 30.43, T 38.86 lets expect 1.226 purchases in 39 weeks
SELECT is(round(loyalty.bgnbd_expected(.243, 4.414, .793, 2.426, 2, 30.43, 38.86, 39)::numeric, 3), 1.226, 'the example of the paper');
SELECT shop.near(loyalty.bgnbd_expected(.243, 4.414, .793, 2.426, 26, 30.86, 31, 52), 25.75819593648294, 'many purchases');
SELECT shop.near(loyalty.bgnbd_expected(.243, 4.414, .793, 2.426, 0, 0, 38.86, 39), 0.19509805201125396, 'no repeat purchase');
SELECT shop.near(loyalty.bgnbd_alive(.243, 4.414, .793, 2.426, 7, 29.43, 38.86), 0.6417563459461072, 'alive');
SELECT is(loyalty.bgnbd_alive(.243, 4.414, .793, 2.426, 0, 0, 38.86), 1::double precision, 'nobody leaves before he has come again');
SELECT shop.near(loyalty.gamma_gamma_expected(6.25, 3.74, 15.44, 1, 20), 6.25 * 35.44 / 8.99, 'expected value');
SELECT is(loyalty.gamma_gamma_expected(0.1, 0.5, 15, 1, 20), NULL, 'a value without a mean is NULL');

-- no NaN, whatever is asked
SELECT is_empty($$SELECT r, alpha, a, b, x, y FROM unnest('{1e-3,0.2,1,30,1000}'::float8[]) r, unnest('{1e-3,4,1e4}'::float8[]) alpha,
		unnest('{1e-3,0.5,1,2,1000}'::float8[]) a, unnest('{1e-3,0.5,1,1000}'::float8[]) b, unnest('{0,1,2,100,5000}'::float8[]) x,
		unnest('{0,1e-9,500}'::float8[]) t_x, unnest('{0.01,1,52,5000}'::float8[]) y
	WHERE (t_x = 0) = (x = 0) AND (NOT coalesce(loyalty.bgnbd_expected(r, alpha, a, b, x, t_x, t_x + 3, y) BETWEEN 0 AND (r + x) / (alpha + t_x + 3) * y * 1.00001, true)
		OR NOT loyalty.bgnbd_alive(r, alpha, a, b, x, t_x, t_x + 3) BETWEEN 0 AND 1)$$, 'expected purchases are numbers of 0 or more, or NULL');
SELECT cmp_ok((SELECT count(loyalty.bgnbd_expected(r, alpha, a, b, x, x / 2, x / 2 + 3, y)) / count(*)::numeric FROM unnest('{0.1,0.2,1,10,100}'::float8[]) r, unnest('{0.5,4,100}'::float8[]) alpha,
	unnest('{0.01,0.5,1,2,20}'::float8[]) a, unnest('{0.1,1,20}'::float8[]) b, unnest('{0,1,2,20,200}'::float8[]) x, unnest('{1,13,52,520}'::float8[]) y), '>', 0.97, 'and seldom NULL');
SELECT is_empty($$SELECT a, y FROM unnest('{0.999999,1,1.000001}'::float8[]) a, unnest('{1,39,520}'::float8[]) y
	WHERE abs(loyalty.bgnbd_expected(.243, 4.414, a, 2.426, 2, 30.43, 38.86, y) / loyalty.bgnbd_expected(.243, 4.414, 1.0001, 2.426, 2, 30.43, 38.86, y) - 1) > 1e-3$$,
	'the formula is smooth where it would divide by 0');
SELECT throws_ok(format('SELECT loyalty.bgnbd_alive(%s)', a), '22023', NULL, 'refused: ' || a)
FROM unnest('{"0,1,1,1,1,1,1","1,-1,1,1,1,1,1","1,1,''NaN'',1,1,1,1","1,1,1,''Infinity'',1,1,1","1,1,1,1,-1,1,1","1,1,1,1,1,2,1","1,1,1,1,1,''NaN'',1"}'::text[]) a;
SELECT throws_ok($$SELECT loyalty.bgnbd_fit('{1,2}', '{1}', '{2,2}', '{1,1}')$$, '22023', NULL, 'arrays of different length are refused');
SELECT throws_ok($$SELECT loyalty.bgnbd_fit('{NULL}', '{1}', '{2}', '{1}')$$, '22023', NULL, 'NULL in a sample is refused');
SELECT throws_ok($$SELECT loyalty.gamma_gamma_fit('{1}', '{0}', '{1}')$$, '22023', NULL, 'a value of 0 is refused');
SELECT is((SELECT r IS NULL AND NOT converged FROM loyalty.bgnbd_fit('{}', '{}', '{}', '{}')), true, 'nothing to fit fits nothing');

-- (the published check on the CDNOW sample, which is not ours to copy, is test/bench/cdnow.sh)

-- samples drawn with known parameters: numbers of our own, the same everywhere
SELECT set_config('shop.seed', '20240601', true) \gset
CREATE FUNCTION shop.rand() RETURNS double precision LANGUAGE sql VOLATILE AS $$
	SELECT (set_config('shop.seed', ((current_setting('shop.seed')::bigint * 48271) % 2147483647)::text, true)::bigint - 0.5) / 2147483647 $$;
-- gamma variates: Marsaglia and Tsang's squeeze
CREATE FUNCTION shop.gamma(k double precision) RETURNS double precision LANGUAGE plpgsql AS $$
DECLARE d double precision; c double precision; n double precision; v double precision;
BEGIN
	IF k < 1 THEN RETURN shop.gamma(k + 1) * power(shop.rand(), 1 / k); END IF;
	d := k - 1.0 / 3; c := 1 / sqrt(9 * d);
	LOOP
		n := sqrt(-2 * ln(shop.rand())) * cos(2 * pi() * shop.rand());
		v := power(1 + c * n, 3);
		CONTINUE WHEN 1 + c * n <= 0;
		IF ln(shop.rand()) < 0.5 * n * n + d - d * v + d * ln(v) THEN RETURN d * v; END IF;
	END LOOP;
END $$;
CREATE TABLE shop.sample (x double precision, t_x double precision, t double precision, mean double precision);
DO $$
DECLARE rate double precision; leaves double precision; t double precision; last double precision; x integer; g double precision;
BEGIN
	FOR i IN 1 .. 1500 LOOP
		rate := shop.gamma(0.8) / 6;
		g := shop.gamma(1.2); leaves := g / (g + shop.gamma(3));
		t := 0; last := 0; x := 0;
		LOOP
			t := t - ln(shop.rand()) / rate;
			EXIT WHEN t > 52;
			x := x + 1; last := t;
			EXIT WHEN shop.rand() < leaves;
		END LOOP;
		-- values: p 4, q 3, gamma 50
		INSERT INTO shop.sample VALUES (x, last, 52, shop.gamma(4 * (x + 1)) / (x + 1) / (shop.gamma(3) / 50));
	END LOOP;
END $$;
CREATE TABLE shop.fit AS SELECT f.* FROM (SELECT array_agg(x ORDER BY x, t_x) AS x, array_agg(t_x ORDER BY x, t_x) AS t_x, array_agg(t) AS t,
	array_agg(1::double precision) AS w FROM shop.sample) s, loyalty.bgnbd_fit(s.x, s.t_x, s.t, s.w) f;
SELECT ok(converged, format('the fit converges: r %s, alpha %s, a %s, b %s', r, alpha, a, b)) FROM shop.fit;
SELECT ok(abs(r / 0.8 - 1) < 0.2 AND abs(alpha / 6 - 1) < 0.25 AND abs(a / (a + b) / (1.2 / 4.2) - 1) < 0.2, 'near the parameters the sample was drawn with') FROM shop.fit;
SELECT ok(f.log_likelihood >= loyalty.bgnbd_log_likelihood(0.8, 6, 1.2, 3, s.x, s.t_x, s.t, s.w), 'likelier than these')
	FROM shop.fit f, (SELECT array_agg(x) AS x, array_agg(t_x) AS t_x, array_agg(t) AS t, array_agg(1::double precision) AS w FROM shop.sample) s;
SELECT is_empty($$SELECT d FROM shop.fit f, (SELECT array_agg(x ORDER BY x) AS x, array_agg(t_x ORDER BY x) AS t_x, array_agg(t) AS t, array_agg(1::double precision) AS w FROM shop.sample) s,
		(VALUES (1.02, 1, 1, 1), (0.98, 1, 1, 1), (1, 1.02, 1, 1), (1, 0.98, 1, 1), (1, 1, 1.02, 1), (1, 1, 0.98, 1), (1, 1, 1, 1.02), (1, 1, 1, 0.98)) d (r, alpha, a, b)
	WHERE loyalty.bgnbd_log_likelihood(f.r * d.r, f.alpha * d.alpha, f.a * d.a, f.b * d.b, s.x, s.t_x, s.t, s.w) > f.log_likelihood$$, 'and than any parameters 2 % away');
SELECT ok(abs(g.log_likelihood - f.log_likelihood) < 1e-4 AND abs(g.r / f.r - 1) < 1e-2, 'weights fit the same as repetition')
	FROM shop.fit f, (SELECT array_agg(x ORDER BY x, t_x) AS x, array_agg(t_x ORDER BY x, t_x) AS t_x, array_agg(t ORDER BY x, t_x) AS t, array_agg(w ORDER BY x, t_x) AS w
		FROM (SELECT x, t_x, t, count(*)::double precision AS w FROM shop.sample GROUP BY 1, 2, 3) q) s, loyalty.bgnbd_fit(s.x, s.t_x, s.t, s.w) g;
SELECT ok(g.converged AND abs(g.p / 4 - 1) < 0.25 AND abs(g.q / 3 - 1) < 0.25 AND abs(g.p * g.gamma / (g.q - 1) / 100 - 1) < 0.15,
		format('values: p %s, q %s, gamma %s', g.p, g.q, g.gamma))
	FROM (SELECT array_agg(x + 1) AS x, array_agg(mean) AS mean, array_agg(1::double precision) AS w FROM shop.sample WHERE x > 0) s, loyalty.gamma_gamma_fit(s.x, s.mean, s.w) g;
-- everybody comes again for ever: nobody to learn leaving from
SELECT ok(NOT (f.converged AND f.a BETWEEN 0.001 AND 1000 AND f.b BETWEEN 0.001 AND 1000 AND f.r BETWEEN 0.001 AND 1000), 'a sample without spread does not pass for a fit')
	FROM loyalty.bgnbd_fit(array_fill(10::float8, '{50}'), array_fill(50::float8, '{50}'), array_fill(51::float8, '{50}'), array_fill(1::float8, '{50}')) f;

-- a programme: too few to fit
SELECT loyalty.create_program('few', 'UTC') \gset
SELECT shop.attach('few', 'few', evaluate => 'statement') \gset
SELECT throws_ok($$SELECT loyalty.refresh_lifetime('few')$$, 'LY003', NULL, 'figures first');
INSERT INTO shop.invoice (id, customer, at, total) VALUES (1, 'a', '2024-01-01', 10), (2, 'a', '2024-01-11', 20), (3, 'a', '2024-01-21', 30),
	(4, 'b', '2024-01-01', 40), (5, 'b', '2024-01-03', 40), (6, 'b', '2024-01-05', 40), (7, 'c', '2024-01-20', 7);
SELECT loyalty.refresh_analytics('few', '2024-01-31') \gset
SELECT is(loyalty.refresh_lifetime('few', 100, 0.5, 0), 3::bigint, 'three members');
-- a is at 1 cycle of 10 days, b at 13 of 2, c at 11 / 6 of the median
SELECT results_eq($$SELECT m.customer, alive_probability, expected_sales, expected_sale_amount, lifetime_value, is_orders_fallback, is_value_fallback
		FROM loyalty.customer_lifetime JOIN loyalty.member m USING (member_id) WHERE program = 'few' ORDER BY 1$$,
	$$VALUES ('a', 1::numeric(7,6), 10::numeric(14,4), 20::numeric(18,2), 100::numeric(18,2), true, true), ('b', 0, 0, 40, 0, true, true), ('c', 1, 16.6667, 7, 58.33, true, true)$$,
	'who is not late goes on at his cycle for his mean amount');
SELECT ok(orders_problem IS NOT NULL AND value_problem IS NOT NULL AND r IS NULL AND p IS NULL, 'and it is said why') FROM loyalty.lifetime_fit WHERE program = 'few';
SELECT throws_ok(format('SELECT loyalty.refresh_lifetime(''few'', %s)', a), '22023', NULL, 'refused: ' || a)
FROM unnest('{0,"365, 1.1","365, -0.1","365, ''NaN''","365, 1, -1","365, 1, ''NaN''","NULL"}'::text[]) a;

-- a programme with a sample: days of purchases as drawn
SELECT loyalty.create_program('many', 'UTC') \gset
SELECT shop.attach('many', 'many') \gset
TRUNCATE shop.invoice;
INSERT INTO shop.invoice (id, customer, at, total)
	SELECT row_number() OVER (), 'm' || i, '2023-01-01 12:00+00'::timestamptz + k * 7 * interval '1 day' * s.t_x / greatest(s.x, 1), round(s.mean::numeric, 2)
	FROM (SELECT row_number() OVER () AS i, * FROM shop.sample LIMIT 400) s, generate_series(0, s.x::integer) k;
SELECT loyalty.settle() \gset
SELECT loyalty.refresh_analytics('many', '2023-12-31') \gset
SELECT is(loyalty.refresh_lifetime('many', 364, 0.25, 0), 400::bigint, 'four hundred members');
SELECT is((SELECT concat_ws(', ', orders_problem, value_problem) FROM loyalty.lifetime_fit WHERE program = 'many'), '', 'both models fit');
SELECT is_empty($$SELECT member_id, alive_probability, l.expected_sales, f.alive, f.y FROM loyalty.customer_lifetime l JOIN loyalty.member_summary s USING (member_id), loyalty.lifetime_fit o
	CROSS JOIN LATERAL (SELECT loyalty.bgnbd_alive(o.r, o.alpha, o.a, o.b, s.purchase_days - 1, (s.last_sale_on - s.first_sale_on) / 7.0, ('2023-12-31' - s.first_sale_on) / 7.0) AS alive,
		loyalty.bgnbd_expected(o.r, o.alpha, o.a, o.b, s.purchase_days - 1, (s.last_sale_on - s.first_sale_on) / 7.0, ('2023-12-31' - s.first_sale_on) / 7.0, 52) AS y) f
	WHERE l.program = 'many' AND o.program = 'many' AND (abs(alive_probability - f.alive) > 1e-4 OR abs(expected_sales - f.y) > 1e-3 * (1 + f.y))$$, 'each member is as the formulas say');
SELECT is_empty($$SELECT member_id FROM loyalty.customer_lifetime WHERE program = 'many' AND abs(lifetime_value - 0.25 * expected_sales * expected_sale_amount) > 0.01 + 1e-3 * lifetime_value$$,
	'without discount, value is margin times sales times amount');
SELECT sum(lifetime_value) AS undiscounted FROM loyalty.customer_lifetime WHERE program = 'many' \gset
SELECT loyalty.refresh_lifetime('many', 364, 0.25, 0.2) \gset
SELECT ok((SELECT sum(lifetime_value) FROM loyalty.customer_lifetime WHERE program = 'many') BETWEEN :undiscounted / 1.2 AND :undiscounted * 0.97, 'a discount makes it less');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
