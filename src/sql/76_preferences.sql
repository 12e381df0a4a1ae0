-- What members like: categories, channels and stores, prices they pay, new
-- products they try; and what is known of products.  Read from the frozen
-- lines of documents.

CREATE TABLE loyalty.product_summary (
	program_id      integer NOT NULL,
	product         text NOT NULL,
	lines           bigint NOT NULL,
	qty             numeric NOT NULL,
	amount          numeric NOT NULL,
	first_sold_on   date NOT NULL,
	last_sold_on    date NOT NULL,
	PRIMARY KEY (program_id, product)
);
COMMENT ON TABLE loyalty.product_summary IS 'products that members bought, as of the last refresh_products()';
COMMENT ON COLUMN loyalty.product_summary.program_id IS 'programme';
COMMENT ON COLUMN loyalty.product_summary.product IS 'product';
COMMENT ON COLUMN loyalty.product_summary.lines IS 'lines of sales with the product';
COMMENT ON COLUMN loyalty.product_summary.qty IS 'quantity sold, lines with a quantity and an amount above 0 only';
COMMENT ON COLUMN loyalty.product_summary.amount IS 'amount of these lines; amount / qty is the product''s usual price';
COMMENT ON COLUMN loyalty.product_summary.first_sold_on IS 'day of the first sale';
COMMENT ON COLUMN loyalty.product_summary.last_sold_on IS 'day of the last sale';

CREATE TABLE loyalty.member_preference (
	member_id       bigint NOT NULL,
	dimension       text NOT NULL CHECK (dimension IN ('category', 'channel', 'store')),
	value           text NOT NULL,
	program_id      integer NOT NULL,
	n               bigint NOT NULL,
	amount          numeric NOT NULL,
	PRIMARY KEY (member_id, dimension, value)
);
COMMENT ON TABLE loyalty.member_preference IS 'what members bought per category, channel and store';
COMMENT ON COLUMN loyalty.member_preference.member_id IS 'member';
COMMENT ON COLUMN loyalty.member_preference.dimension IS 'category (of lines), channel or store (company of documents)';
COMMENT ON COLUMN loyalty.member_preference.value IS 'the category, channel or store';
COMMENT ON COLUMN loyalty.member_preference.program_id IS 'programme of the member';
COMMENT ON COLUMN loyalty.member_preference.n IS 'lines of sales (category) or sales (channel, store)';
COMMENT ON COLUMN loyalty.member_preference.amount IS 'their amount';

CREATE TABLE loyalty.member_line (
	member_id       bigint PRIMARY KEY,
	program_id      integer NOT NULL,
	lines           bigint NOT NULL,
	amount          numeric NOT NULL,
	discount_lines  bigint NOT NULL,
	discount        numeric NOT NULL,
	priced_lines    bigint NOT NULL,
	low_price_lines bigint NOT NULL,
	paid            numeric NOT NULL,
	reference       numeric NOT NULL,
	new_product_lines bigint NOT NULL,
	cost_lines      bigint NOT NULL,
	cost            numeric NOT NULL,
	cost_amount     numeric NOT NULL,
	listed_lines    bigint NOT NULL DEFAULT 0,
	listed          numeric NOT NULL DEFAULT 0,
	list            numeric NOT NULL DEFAULT 0
) WITH (fillfactor = 80);
COMMENT ON TABLE loyalty.member_line IS 'sums over the lines of a member''s sales';
COMMENT ON COLUMN loyalty.member_line.member_id IS 'member';
COMMENT ON COLUMN loyalty.member_line.program_id IS 'programme of the member';
COMMENT ON COLUMN loyalty.member_line.lines IS 'lines with a product and an amount of 0 or more';
COMMENT ON COLUMN loyalty.member_line.amount IS 'amount of all lines above 0';
COMMENT ON COLUMN loyalty.member_line.discount_lines IS 'lines below 0: discounts that the ERP writes as lines';
COMMENT ON COLUMN loyalty.member_line.discount IS 'their amount, positive';
COMMENT ON COLUMN loyalty.member_line.priced_lines IS 'lines whose product has a usual price';
COMMENT ON COLUMN loyalty.member_line.low_price_lines IS 'those bought at less than 95 % of it';
COMMENT ON COLUMN loyalty.member_line.paid IS 'what was paid on the priced lines';
COMMENT ON COLUMN loyalty.member_line.reference IS 'what they would have cost at the products'' usual prices';
COMMENT ON COLUMN loyalty.member_line.new_product_lines IS 'lines of products that were first sold at most 30 days before';
COMMENT ON COLUMN loyalty.member_line.cost_lines IS 'lines whose cost is known';
COMMENT ON COLUMN loyalty.member_line.cost IS 'their cost';
COMMENT ON COLUMN loyalty.member_line.cost_amount IS 'their amount';
COMMENT ON COLUMN loyalty.member_line.listed_lines IS 'lines with a list price, a quantity above 0 and an amount of 0 or more';
COMMENT ON COLUMN loyalty.member_line.listed IS 'their amount';
COMMENT ON COLUMN loyalty.member_line.list IS 'what they would have cost at list prices';

CREATE FUNCTION loyalty.line_facts(lines jsonb)
RETURNS TABLE (product text, category jsonb, qty numeric, amount numeric, cost numeric, list_price numeric)
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 5 AS 'MODULE_PATHNAME', 'loyalty_line_facts';
COMMENT ON FUNCTION loyalty.line_facts(jsonb) IS 'internal: frozen lines of a document as rows';

-- Sales only: what was returned was liked enough to be bought.
CREATE FUNCTION loyalty.sale_lines(program_id integer, as_of date, members bigint[])
RETURNS TABLE (member_id bigint, day date, product text, category jsonb, qty numeric, amount numeric, cost numeric, list_price numeric)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT d.member_id, d.doc_date, l.product, l.category, l.qty, l.amount, l.cost, l.list_price
	FROM loyalty.document d
	CROSS JOIN LATERAL loyalty.line_facts(d.lines) l
	WHERE d.source_id = ANY (ARRAY(SELECT s.source_id FROM loyalty.source s WHERE s.program_id = $1))
		AND d.state <> 'withdrawn' AND d.kind = 'sale' AND d.doc_date <= $2
		AND ($3 IS NULL OR d.member_id = ANY ($3));
END;
COMMENT ON FUNCTION loyalty.sale_lines(integer, date, bigint[]) IS
'lines of the sales of members (NULL for all) of a programme, from the documents dated up to as_of';

CREATE FUNCTION loyalty.refresh_preferences(program_id integer, as_of date, members bigint[]) RETURNS void
-- lines are joined to their document by a nested loop in any plan: switched off,
-- its price would hide the difference between all others
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = on
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := program_id;
	v_as_of date := as_of;
	v_members bigint[] := members;
	v_lines boolean := EXISTS (SELECT FROM loyalty.source s WHERE s.program_id = v_program AND s.lines IS NOT NULL);
	v_categories boolean := EXISTS (SELECT FROM loyalty.source s WHERE s.program_id = v_program AND s.line_category IS NOT NULL);
BEGIN
	WITH fresh AS MATERIALIZED (
		SELECT d.member_id, v.dimension, v.value AS value, sum(d.n)::bigint AS n, sum(d.amount) AS amount
		FROM (SELECT x.member_id, x.channel, x.company, count(*) AS n, sum(x.gross) AS amount
				FROM loyalty.document x
				WHERE x.source_id = ANY (ARRAY(SELECT s.source_id FROM loyalty.source s
						WHERE s.program_id = v_program AND (s.channel IS NOT NULL OR s.company IS NOT NULL)))
					AND x.state <> 'withdrawn' AND x.kind = 'sale' AND x.doc_date <= v_as_of
					AND (v_members IS NULL OR x.member_id = ANY (v_members))
				GROUP BY 1, 2, 3) d
		CROSS JOIN LATERAL (VALUES ('channel', d.channel), ('store', d.company)) v (dimension, value)
		WHERE v.value IS NOT NULL
		GROUP BY 1, 2, 3
		UNION ALL
		-- by the category as it is first: few lines have an array of them
		SELECT l.member_id, 'category', c.value, sum(l.n)::bigint, sum(l.amount)
		FROM (SELECT x.member_id, x.category, count(*) AS n, sum(x.amount) AS amount
				FROM loyalty.sale_lines(v_program, v_as_of, v_members) x
				WHERE v_categories AND x.category IS NOT NULL AND x.amount >= 0
				GROUP BY 1, 2) l
		CROSS JOIN LATERAL (SELECT l.category #>> '{}' WHERE jsonb_typeof(l.category) <> 'array'
			UNION ALL
			SELECT e.value FROM jsonb_array_elements_text(CASE jsonb_typeof(l.category) WHEN 'array' THEN l.category END) e) c (value)
		WHERE c.value IS NOT NULL
		GROUP BY 1, 2, 3
	), gone AS (
		DELETE FROM loyalty.member_preference t
		WHERE t.program_id = v_program AND (v_members IS NULL OR t.member_id = ANY (v_members))
			AND NOT EXISTS (SELECT FROM fresh f
				WHERE f.member_id = t.member_id AND f.dimension = t.dimension AND f.value = t.value)
	)
	INSERT INTO loyalty.member_preference AS t (member_id, dimension, value, program_id, n, amount)
	SELECT f.member_id, f.dimension, f.value, v_program, f.n, f.amount
	FROM fresh f
	ORDER BY f.member_id, f.dimension, f.value
	ON CONFLICT (member_id, dimension, value) DO UPDATE SET n = excluded.n, amount = excluded.amount
		WHERE t.* IS DISTINCT FROM excluded.*;

	WITH fresh AS MATERIALIZED (
		SELECT l.member_id,
			count(*) FILTER (WHERE l.product IS NOT NULL AND l.amount >= 0) AS lines,
			coalesce(sum(l.amount) FILTER (WHERE l.amount > 0), 0) AS amount,
			count(*) FILTER (WHERE l.amount < 0) AS discount_lines,
			coalesce(-sum(l.amount) FILTER (WHERE l.amount < 0), 0) AS discount,
			count(*) FILTER (WHERE x.priced) AS priced_lines,
			count(*) FILTER (WHERE x.priced AND l.amount * p.qty < 0.95 * p.amount * l.qty) AS low_price_lines,
			coalesce(sum(l.amount) FILTER (WHERE x.priced), 0) AS paid,
			coalesce(sum(round(l.qty * p.amount / nullif(p.qty, 0), 6)) FILTER (WHERE x.priced), 0) AS reference,
			count(*) FILTER (WHERE l.amount >= 0 AND l.day <= p.first_sold_on + 30) AS new_product_lines,
			count(*) FILTER (WHERE l.cost IS NOT NULL) AS cost_lines,
			coalesce(sum(l.cost) FILTER (WHERE l.cost IS NOT NULL), 0) AS cost,
			coalesce(sum(l.amount) FILTER (WHERE l.cost IS NOT NULL), 0) AS cost_amount,
			count(*) FILTER (WHERE x.listed) AS listed_lines,
			coalesce(sum(l.amount) FILTER (WHERE x.listed), 0) AS listed,
			coalesce(sum(l.list_price * l.qty) FILTER (WHERE x.listed), 0) AS list
		FROM loyalty.sale_lines(v_program, v_as_of, v_members) l
		LEFT JOIN loyalty.product_summary p ON p.program_id = v_program AND p.product = l.product
		CROSS JOIN LATERAL (SELECT l.amount > 0 AND l.qty > 0 AND p.qty > 0, l.amount >= 0 AND l.qty > 0 AND l.list_price > 0) x (priced, listed)
		WHERE v_lines
		GROUP BY l.member_id
	), gone AS (
		DELETE FROM loyalty.member_line t
		WHERE t.program_id = v_program AND (v_members IS NULL OR t.member_id = ANY (v_members))
			AND NOT EXISTS (SELECT FROM fresh f WHERE f.member_id = t.member_id)
	)
	INSERT INTO loyalty.member_line AS t
	SELECT f.member_id, v_program, f.lines, f.amount, f.discount_lines, f.discount, f.priced_lines, f.low_price_lines,
		f.paid, f.reference, f.new_product_lines, f.cost_lines, f.cost, f.cost_amount, f.listed_lines, f.listed, f.list
	FROM fresh f
	ON CONFLICT (member_id) DO UPDATE
		SET lines = excluded.lines, amount = excluded.amount, discount_lines = excluded.discount_lines,
			discount = excluded.discount, priced_lines = excluded.priced_lines, low_price_lines = excluded.low_price_lines,
			paid = excluded.paid, reference = excluded.reference, new_product_lines = excluded.new_product_lines,
			cost_lines = excluded.cost_lines, cost = excluded.cost, cost_amount = excluded.cost_amount,
			listed_lines = excluded.listed_lines, listed = excluded.listed, list = excluded.list
		WHERE t.* IS DISTINCT FROM excluded.*;
END
$$;
COMMENT ON FUNCTION loyalty.refresh_preferences(integer, date, bigint[]) IS
'reads preferences and line sums of members (NULL for all) of a programme again; writes only what differs';

CREATE FUNCTION loyalty.refresh_rules(program_id integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := program_id;
BEGIN
	-- by member and set of rules first: that leaves few rows to tell apart
	WITH fresh AS MATERIALIZED (
		SELECT r.rule_id, sum(x.sales) AS sales, count(DISTINCT x.member_id) AS members, sum(x.gross) AS gross, sum(x.points) AS points
		FROM (SELECT d.rules, d.member_id, count(*) AS sales, sum(d.gross) AS gross, sum(d.points) AS points
				FROM loyalty.document d
				WHERE d.kind = 'sale' AND d.state = 'booked'
					AND d.source_id IN (SELECT s.source_id FROM loyalty.source s WHERE s.program_id = v_program)
				GROUP BY 1, 2) x
		CROSS JOIN LATERAL unnest(x.rules) r (rule_id)
		GROUP BY r.rule_id
	), gone AS (
		DELETE FROM loyalty.program_rule t
		WHERE t.program_id = v_program AND NOT EXISTS (SELECT FROM fresh f WHERE f.rule_id = t.rule_id)
	)
	INSERT INTO loyalty.program_rule AS t (program_id, rule_id, sales, members, gross, points)
	SELECT v_program, f.rule_id, f.sales, f.members, f.gross, f.points FROM fresh f
	ON CONFLICT (program_id, rule_id) DO UPDATE
		SET sales = excluded.sales, members = excluded.members, gross = excluded.gross, points = excluded.points
		WHERE t.* IS DISTINCT FROM excluded.*;
END
$$;
COMMENT ON FUNCTION loyalty.refresh_rules(integer) IS
'counts the sales of each version of a programme''s rules again; writes only what differs';

CREATE FUNCTION loyalty.refresh_details(program text DEFAULT NULL, as_of date DEFAULT NULL,
	rebuild boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	v_name text := program;
	v_as_of date := as_of;
	v_program record;
	v_state loyalty.analytics_detail_state;
	v_horizon bigint;
	v_members bigint[];
	v_total bigint := 0;
BEGIN
	IF v_name IS NOT NULL THEN
		PERFORM loyalty.program_id(v_name);
	END IF;
	IF NOT isfinite(v_as_of) THEN
		RAISE EXCEPTION 'as_of must be finite' USING ERRCODE = '22023', HINT = 'It is a day; leave it out for today.';
	END IF;
	PERFORM set_config('work_mem', current_setting('maintenance_work_mem'), true);
	FOR v_program IN
		SELECT p.program_id, coalesce(v_as_of, loyalty.today(p.program_id)) AS as_of
		FROM loyalty.program p WHERE v_name IS NULL OR p.name = v_name ORDER BY p.program_id
	LOOP
		INSERT INTO loyalty.analytics_detail_state VALUES (v_program.program_id, '-infinity', 0, clock_timestamp())
			ON CONFLICT DO NOTHING;
		SELECT * INTO v_state FROM loyalty.analytics_detail_state s WHERE s.program_id = v_program.program_id FOR UPDATE;
		v_horizon := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
		v_members := CASE WHEN NOT rebuild
			THEN loyalty.changed_members(v_program.program_id, v_program.as_of, v_state.as_of, v_state.horizon) END;
		IF v_members IS NULL OR v_members <> '{}' THEN
			PERFORM loyalty.refresh_preferences(v_program.program_id, v_program.as_of, v_members);
			PERFORM loyalty.refresh_rules(v_program.program_id);
		END IF;
		IF v_members IS NULL THEN
			ANALYZE loyalty.member_preference, loyalty.member_line;
		END IF;
		v_total := v_total + coalesce(cardinality(v_members),
			(SELECT count(*) FROM loyalty.member m WHERE m.program_id = v_program.program_id));
		PERFORM loyalty.refresh_non_members(s.name, CASE WHEN rebuild THEN '-infinity'::date END, v_program.as_of)
			FROM loyalty.non_member_source t JOIN loyalty.source s USING (source_id)
			WHERE s.program_id = v_program.program_id AND s.attached;
		PERFORM loyalty.refresh_roi(v_program.program_id, v_program.as_of);
		UPDATE loyalty.analytics_detail_state s
			SET as_of = v_program.as_of, horizon = v_horizon, refreshed_at = clock_timestamp()
			WHERE s.program_id = v_program.program_id;
	END LOOP;
	RETURN v_total;
END
$$;
COMMENT ON FUNCTION loyalty.refresh_details(text, date, boolean) IS
'brings preferences, sums over lines, figures of rules and of customers who are no members up to date as of a day, like refresh_analytics(), which needs less time and can run more often; usual prices are those of the last refresh_products(); returns how many members were read';

-- One programme at a time: its number takes the place of a member's.
CREATE FUNCTION loyalty.refresh_due(as_of timestamptz DEFAULT NULL, after bigint DEFAULT 0, batch integer DEFAULT 1000,
	OUT last bigint, OUT done bigint)
RETURNS record
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	v_as_of timestamptz := coalesce(as_of, clock_timestamp());
	v_after bigint := coalesce(after, 0);
	v_program record;
BEGIN
	PERFORM loyalty.check_step(v_as_of, coalesce(batch, 1000));
	done := 0;
	SELECT p.program_id, p.name, d.day, a.as_of < d.day AS is_old, t.as_of < d.day AS is_detail_old INTO v_program
		FROM loyalty.program p
		CROSS JOIN LATERAL (SELECT (v_as_of AT TIME ZONE p.time_zone)::date AS day) d
		LEFT JOIN loyalty.analytics_state a ON a.program_id = p.program_id AND a.horizon > 0
		LEFT JOIN loyalty.analytics_detail_state t ON t.program_id = p.program_id AND t.horizon > 0
		WHERE p.program_id > v_after AND (a.as_of < d.day OR t.as_of < d.day)
		ORDER BY p.program_id LIMIT 1;
	IF FOUND THEN
		-- should it fail, the others are refreshed
		PERFORM loyalty.upkeep_at(v_program.program_id);
		IF v_program.is_old THEN
			PERFORM loyalty.refresh_analytics(v_program.name, v_program.day);
		END IF;
		IF v_program.is_detail_old THEN
			PERFORM loyalty.refresh_details(v_program.name, v_program.day);
		END IF;
		last := v_program.program_id;
		done := 1;
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.refresh_due(timestamptz, bigint, integer) IS
'step of upkeep(): refreshes the figures of the next programme after that number, once a day of its time, if refresh_analytics() (or refresh_details()) has ever been called for it; returns the programme (NULL: none left) and how many it was';
