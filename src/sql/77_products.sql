-- Products: what is sold, what is bought together, what to offer next.

CREATE TABLE loyalty.product_pair (
	program_id      integer NOT NULL,
	product         text NOT NULL,
	other           text NOT NULL,
	product_baskets bigint NOT NULL,
	other_baskets   bigint NOT NULL,
	both_baskets    bigint NOT NULL,
	baskets         bigint NOT NULL,
	PRIMARY KEY (program_id, product, other)
);
COMMENT ON TABLE loyalty.product_pair IS 'products that are bought together, both ways, as of the last refresh_products()';
COMMENT ON COLUMN loyalty.product_pair.program_id IS 'programme';
COMMENT ON COLUMN loyalty.product_pair.product IS 'product in the basket';
COMMENT ON COLUMN loyalty.product_pair.other IS 'product bought with it';
COMMENT ON COLUMN loyalty.product_pair.product_baskets IS 'sales with product';
COMMENT ON COLUMN loyalty.product_pair.other_baskets IS 'sales with other';
COMMENT ON COLUMN loyalty.product_pair.both_baskets IS 'sales with both';
COMMENT ON COLUMN loyalty.product_pair.baskets IS 'sales that were looked at';

CREATE FUNCTION loyalty.product_pairs(program_id integer, since date, until date, min_baskets integer, max_products integer,
	OUT product text, OUT other text, OUT product_baskets bigint, OUT other_baskets bigint, OUT both_baskets bigint, OUT baskets bigint)
RETURNS SETOF record
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_product_pairs';
COMMENT ON FUNCTION loyalty.product_pairs(integer, date, date, integer, integer) IS
'products bought together in at least min_baskets sales of a programme, both ways of each pair; sales with more than max_products products are left out';

CREATE FUNCTION loyalty.refresh_products(program text DEFAULT NULL, as_of date DEFAULT NULL, days integer DEFAULT NULL,
	min_baskets integer DEFAULT 10, max_products integer DEFAULT 100) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET jit = off SET enable_nestloop = off
AS $$
#variable_conflict use_column
DECLARE
	v_name text := program;
	v_as_of date := as_of;
	v_days integer := days;
	v_min integer := min_baskets;
	v_max integer := max_products;
	v_program record;
	v_count bigint;
	v_total bigint := 0;
BEGIN
	IF v_name IS NOT NULL THEN
		PERFORM loyalty.program_id(v_name);
	END IF;
	IF NOT isfinite(v_as_of) OR v_days < 1 OR v_min IS NULL OR v_max IS NULL THEN
		RAISE EXCEPTION 'invalid argument: as_of %, days %, min_baskets %, max_products %', v_as_of, v_days, v_min, v_max
			USING ERRCODE = '22023', HINT = 'as_of is a finite day, days at least 1; min_baskets and max_products cannot be NULL.';
	END IF;
	PERFORM set_config('work_mem', current_setting('maintenance_work_mem'), true);
	FOR v_program IN
		SELECT p.program_id, coalesce(v_as_of, loyalty.today(p.program_id)) AS as_of
		FROM loyalty.program p WHERE v_name IS NULL OR p.name = v_name ORDER BY p.program_id
	LOOP
		WITH fresh AS MATERIALIZED (
			SELECT l.product AS product, count(*) AS lines,
				coalesce(sum(l.qty) FILTER (WHERE l.qty > 0 AND l.amount > 0), 0) AS qty,
				coalesce(sum(l.amount) FILTER (WHERE l.qty > 0 AND l.amount > 0), 0) AS amount,
				min(l.day) AS first_sold_on, max(l.day) AS last_sold_on
			FROM loyalty.sale_lines(v_program.program_id, v_program.as_of, NULL) l
			WHERE l.product IS NOT NULL AND l.amount >= 0
			GROUP BY 1
		), gone AS (
			DELETE FROM loyalty.product_summary t
			WHERE t.program_id = v_program.program_id AND NOT EXISTS (SELECT FROM fresh f WHERE f.product = t.product)
		)
		INSERT INTO loyalty.product_summary AS t (program_id, product, lines, qty, amount, first_sold_on, last_sold_on)
		SELECT v_program.program_id, f.product, f.lines, f.qty, f.amount, f.first_sold_on, f.last_sold_on FROM fresh f
		ON CONFLICT (program_id, product) DO UPDATE
			SET lines = excluded.lines, qty = excluded.qty, amount = excluded.amount,
				first_sold_on = excluded.first_sold_on, last_sold_on = excluded.last_sold_on
			WHERE t.* IS DISTINCT FROM excluded.*;

		WITH fresh AS MATERIALIZED (
			SELECT x.* FROM loyalty.product_pairs(v_program.program_id,
				coalesce(v_program.as_of - v_days + 1, '-infinity'), v_program.as_of, v_min, v_max) x
		), gone AS (
			DELETE FROM loyalty.product_pair t
			WHERE t.program_id = v_program.program_id
				AND NOT EXISTS (SELECT FROM fresh f WHERE f.product = t.product AND f.other = t.other)
		)
		INSERT INTO loyalty.product_pair AS t
		SELECT v_program.program_id, f.product, f.other, f.product_baskets, f.other_baskets, f.both_baskets, f.baskets
		FROM fresh f
		ORDER BY f.product, f.other
		ON CONFLICT (program_id, product, other) DO UPDATE
			SET product_baskets = excluded.product_baskets, other_baskets = excluded.other_baskets,
				both_baskets = excluded.both_baskets, baskets = excluded.baskets
			WHERE t.* IS DISTINCT FROM excluded.*;
		ANALYZE loyalty.product_summary, loyalty.product_pair;
		SELECT count(*) INTO v_count FROM loyalty.product_pair t WHERE t.program_id = v_program.program_id;
		v_total := v_total + v_count;
	END LOOP;
	RETURN v_total;
END
$$;
COMMENT ON FUNCTION loyalty.refresh_products(text, date, integer, integer, integer) IS
'counts the products of a programme (NULL: all) and the pairs of them that at least min_baskets sales of the last days (NULL: all history up to as_of) contain; sales with more than max_products products say nothing about pairs and are left out; returns how many pairs there are, both ways counted';

CREATE VIEW loyalty.product_affinity WITH (security_invoker = true) AS
	SELECT p.name AS program, a.product, a.other, a.baskets, a.product_baskets, a.other_baskets, a.both_baskets,
		round(a.both_baskets::numeric / a.baskets, 6)::numeric(9,6) AS support,
		round(a.both_baskets::numeric / a.product_baskets, 6)::numeric(9,6) AS confidence,
		-- Wilson's interval at 95 %: z = 1.96, z^2 = 3.8416
		round((a.both_baskets + 1.9208
			- 1.96 * sqrt(a.both_baskets::numeric * (a.product_baskets - a.both_baskets) / a.product_baskets + 0.9604))
			/ (a.product_baskets + 3.8416), 6)::numeric(9,6) AS confidence_low,
		round(a.both_baskets::numeric * a.baskets / (a.product_baskets::numeric * a.other_baskets), 4)::numeric(18,4) AS lift,
		round(a.both_baskets::numeric / a.baskets
			- a.product_baskets::numeric * a.other_baskets / (a.baskets::numeric * a.baskets), 6)::numeric(9,6) AS leverage
	FROM loyalty.product_pair a
	JOIN loyalty.program p ON p.program_id = a.program_id;
COMMENT ON VIEW loyalty.product_affinity IS 'one row per ordered pair of products that are bought together, as of the last refresh_products()';
COMMENT ON COLUMN loyalty.product_affinity.program IS 'programme';
COMMENT ON COLUMN loyalty.product_affinity.product IS 'product in the basket';
COMMENT ON COLUMN loyalty.product_affinity.other IS 'product bought with it';
COMMENT ON COLUMN loyalty.product_affinity.baskets IS 'sales that were looked at: the denominator of support';
COMMENT ON COLUMN loyalty.product_affinity.product_baskets IS 'sales with product: the denominator of confidence';
COMMENT ON COLUMN loyalty.product_affinity.other_baskets IS 'sales with other';
COMMENT ON COLUMN loyalty.product_affinity.both_baskets IS 'sales with both';
COMMENT ON COLUMN loyalty.product_affinity.support IS 'both_baskets / baskets';
COMMENT ON COLUMN loyalty.product_affinity.confidence IS 'both_baskets / product_baskets: of the sales with product, the share that also has other';
COMMENT ON COLUMN loyalty.product_affinity.confidence_low IS 'lower bound of Wilson''s 95 % interval of confidence: rank by this, it does not trust small counts';
COMMENT ON COLUMN loyalty.product_affinity.lift IS 'confidence / (other_baskets / baskets): above 1, together more often than by chance';
COMMENT ON COLUMN loyalty.product_affinity.leverage IS 'support less what it would be by chance';

CREATE FUNCTION loyalty.next_best_product(program text, customer text DEFAULT NULL, basket text[] DEFAULT NULL, n integer DEFAULT 10,
	OUT rank bigint, OUT product text, OUT because_of text, OUT confidence_low numeric(9,6), OUT lift numeric(18,4), OUT both_baskets bigint)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	-- what the customer has bought: the documents of the newest entries
	WITH bought AS (
		SELECT DISTINCT l.product AS product
		FROM (SELECT DISTINCT e.source_id, e.doc_key, e.member_id
				FROM (SELECT x.source_id, x.doc_key, x.member_id FROM loyalty.entry x
					WHERE x.member_id = loyalty.member_id($1, $2) ORDER BY x.seq DESC LIMIT 500) e) e
		JOIN loyalty.document d ON d.source_id = e.source_id AND d.doc_key = e.doc_key AND d.member_id = e.member_id
			AND d.kind = 'sale' AND d.state <> 'withdrawn'
		CROSS JOIN LATERAL jsonb_to_recordset(d.lines) l (product text)
		WHERE l.product IS NOT NULL
	), given AS (
		SELECT DISTINCT b.product AS product FROM unnest($3) b (product) WHERE b.product IS NOT NULL
	), mine AS (
		SELECT g.product, true AS offers FROM given g
		UNION
		SELECT b.product, $3 IS NULL FROM bought b
	), best AS (
		-- fenced: a few products are looked up by key, whatever the estimates
		SELECT DISTINCT ON (a.other) a.other, a.product, a.confidence_low, a.lift, a.both_baskets
		FROM mine m
		CROSS JOIN LATERAL (SELECT * FROM loyalty.product_affinity x
			WHERE x.program = $1 AND x.product = m.product OFFSET 0) a
		WHERE m.offers AND a.lift > 1 AND NOT EXISTS (SELECT FROM mine h WHERE h.product = a.other)
		ORDER BY a.other, a.confidence_low DESC, a.lift DESC, a.product
	)
	SELECT row_number() OVER (ORDER BY b.confidence_low DESC, b.lift DESC, b.other), b.other, b.product, b.confidence_low, b.lift, b.both_baskets
	FROM best b
	ORDER BY 1
	LIMIT $4
$$;
COMMENT ON FUNCTION loyalty.next_best_product(text, text, text[], integer) IS
'products to offer with a basket (or, without one, to a customer by what he has bought): those he does not have, by the surest confidence (confidence_low) of any pair with a lift above 1';
