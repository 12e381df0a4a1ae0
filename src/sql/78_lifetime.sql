-- Customer lifetime value: BG/NBD for how often, gamma-gamma for how much.
-- Time is counted in weeks from a member's first purchase day.

CREATE FUNCTION loyalty.bgnbd_log_likelihood(r double precision, alpha double precision, a double precision, b double precision,
	x double precision[], t_x double precision[], t double precision[], weight double precision[]) RETURNS double precision
LANGUAGE c IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'loyalty_bgnbd_log_likelihood';
COMMENT ON FUNCTION loyalty.bgnbd_log_likelihood(double precision, double precision, double precision, double precision, double precision[], double precision[], double precision[], double precision[]) IS
'log-likelihood of a sample under BG/NBD: x repeat purchases, the last at t_x, observed until t, weight customers alike';

CREATE FUNCTION loyalty.bgnbd_fit(x double precision[], t_x double precision[], t double precision[], weight double precision[],
	OUT r double precision, OUT alpha double precision, OUT a double precision, OUT b double precision,
	OUT log_likelihood double precision, OUT converged boolean)
RETURNS record
LANGUAGE c IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'loyalty_bgnbd_fit';
COMMENT ON FUNCTION loyalty.bgnbd_fit(double precision[], double precision[], double precision[], double precision[]) IS
'parameters of BG/NBD under which a sample is likeliest; faster if sorted by x';

CREATE FUNCTION loyalty.bgnbd_alive(r double precision, alpha double precision, a double precision, b double precision,
	x double precision, t_x double precision, t double precision) RETURNS double precision
LANGUAGE c IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'loyalty_bgnbd_alive';
COMMENT ON FUNCTION loyalty.bgnbd_alive(double precision, double precision, double precision, double precision, double precision, double precision, double precision) IS
'probability that a customer with this history is still one';

CREATE FUNCTION loyalty.bgnbd_expected(r double precision, alpha double precision, a double precision, b double precision,
	x double precision, t_x double precision, t double precision, "time" double precision) RETURNS double precision
LANGUAGE c IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'loyalty_bgnbd_expected';
COMMENT ON FUNCTION loyalty.bgnbd_expected(double precision, double precision, double precision, double precision, double precision, double precision, double precision, double precision) IS
'purchases to be expected of a customer with this history in the time ahead; NULL if that cannot be computed';

CREATE FUNCTION loyalty.gamma_gamma_log_likelihood(p double precision, q double precision, gamma double precision,
	x double precision[], mean double precision[], weight double precision[]) RETURNS double precision
LANGUAGE c IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'loyalty_gamma_gamma_log_likelihood';
COMMENT ON FUNCTION loyalty.gamma_gamma_log_likelihood(double precision, double precision, double precision, double precision[], double precision[], double precision[]) IS
'log-likelihood of a sample under gamma-gamma: x purchases of this mean value, weight customers alike';

CREATE FUNCTION loyalty.gamma_gamma_fit(x double precision[], mean double precision[], weight double precision[],
	OUT p double precision, OUT q double precision, OUT gamma double precision,
	OUT log_likelihood double precision, OUT converged boolean)
RETURNS record
LANGUAGE c IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'loyalty_gamma_gamma_fit';
COMMENT ON FUNCTION loyalty.gamma_gamma_fit(double precision[], double precision[], double precision[]) IS
'parameters of gamma-gamma under which a sample is likeliest';

CREATE FUNCTION loyalty.gamma_gamma_expected(p double precision, q double precision, gamma double precision,
	x double precision, mean double precision) RETURNS double precision
LANGUAGE c IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'loyalty_gamma_gamma_expected';
COMMENT ON FUNCTION loyalty.gamma_gamma_expected(double precision, double precision, double precision, double precision, double precision) IS
'mean value to be expected of the purchases of a customer with x of this mean value; NULL if there is none';

CREATE TABLE loyalty.lifetime_model (
	program_id      integer PRIMARY KEY,
	as_of           date NOT NULL,
	fitted_at       timestamptz NOT NULL,
	horizon_days    integer NOT NULL,
	margin          numeric NOT NULL,
	annual_discount numeric NOT NULL,
	customers       bigint NOT NULL,
	repeaters       bigint NOT NULL,
	r               numeric,
	alpha           numeric,
	a               numeric,
	b               numeric,
	log_likelihood  numeric,
	p               numeric,
	q               numeric,
	gamma           numeric,
	value_log_likelihood numeric,
	correlation     numeric,
	orders_problem  text,
	value_problem   text
);
COMMENT ON TABLE loyalty.lifetime_model IS 'the models of a programme, as of the last refresh_lifetime()';
COMMENT ON COLUMN loyalty.lifetime_model.program_id IS 'programme';
COMMENT ON COLUMN loyalty.lifetime_model.as_of IS 'last day that counts';
COMMENT ON COLUMN loyalty.lifetime_model.fitted_at IS 'when it was fitted';
COMMENT ON COLUMN loyalty.lifetime_model.horizon_days IS 'days ahead';
COMMENT ON COLUMN loyalty.lifetime_model.margin IS 'part of an amount that is earned by it';
COMMENT ON COLUMN loyalty.lifetime_model.annual_discount IS 'rate by which money a year ahead is worth less';
COMMENT ON COLUMN loyalty.lifetime_model.customers IS 'members in the sample';
COMMENT ON COLUMN loyalty.lifetime_model.repeaters IS 'those of them with two purchase days or more';
COMMENT ON COLUMN loyalty.lifetime_model.r IS 'BG/NBD: shape of the purchase rates';
COMMENT ON COLUMN loyalty.lifetime_model.alpha IS 'BG/NBD: scale of the purchase rates, in weeks';
COMMENT ON COLUMN loyalty.lifetime_model.a IS 'BG/NBD: first shape of the chance to leave';
COMMENT ON COLUMN loyalty.lifetime_model.b IS 'BG/NBD: second shape of the chance to leave';
COMMENT ON COLUMN loyalty.lifetime_model.log_likelihood IS 'BG/NBD: log-likelihood of the sample';
COMMENT ON COLUMN loyalty.lifetime_model.p IS 'gamma-gamma: shape of values';
COMMENT ON COLUMN loyalty.lifetime_model.q IS 'gamma-gamma: shape of their spread between customers';
COMMENT ON COLUMN loyalty.lifetime_model.gamma IS 'gamma-gamma: scale of that spread, in money';
COMMENT ON COLUMN loyalty.lifetime_model.value_log_likelihood IS 'gamma-gamma: log-likelihood of the sample';
COMMENT ON COLUMN loyalty.lifetime_model.correlation IS 'of number and mean value of purchases; the models take it for 0';
COMMENT ON COLUMN loyalty.lifetime_model.orders_problem IS 'why BG/NBD is not used; NULL if it is';
COMMENT ON COLUMN loyalty.lifetime_model.value_problem IS 'why gamma-gamma is not used; NULL if it is';

CREATE TABLE loyalty.member_lifetime (
	member_id       bigint PRIMARY KEY,
	program_id      integer NOT NULL,
	alive           numeric(7,6) NOT NULL,
	expected_sales  numeric(14,4) NOT NULL,
	expected_amount numeric(18,2) NOT NULL,
	lifetime_value  numeric(18,2) NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE loyalty.member_lifetime IS 'what is to be expected of a member, as of the last refresh_lifetime()';
COMMENT ON COLUMN loyalty.member_lifetime.member_id IS 'member';
COMMENT ON COLUMN loyalty.member_lifetime.program_id IS 'programme of the member';
COMMENT ON COLUMN loyalty.member_lifetime.alive IS 'probability that he is still a customer';
COMMENT ON COLUMN loyalty.member_lifetime.expected_sales IS 'purchase days to be expected within the horizon';
COMMENT ON COLUMN loyalty.member_lifetime.expected_amount IS 'amount to be expected on each';
COMMENT ON COLUMN loyalty.member_lifetime.lifetime_value IS 'margin on all of them, at its worth of today';

CREATE FUNCTION loyalty.refresh_lifetime(program text DEFAULT NULL, horizon_days integer DEFAULT 365,
	margin numeric DEFAULT 1, annual_discount numeric DEFAULT 0.1) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET jit = off SET enable_nestloop = off
AS $$
#variable_conflict use_column
DECLARE
	v_name text := program;
	v_horizon integer := horizon_days;
	v_margin numeric := margin;
	v_discount numeric := annual_discount;
	v_program record;
	v_orders record;
	v_value record;
	v_sample record;
	v_values record;
	v_problem text;
	v_value_problem text;
	v_count bigint;
	v_total bigint := 0;
BEGIN
	IF v_name IS NOT NULL AND NOT EXISTS (SELECT FROM loyalty.analytics_state s
			WHERE s.program_id = loyalty.program_id(v_name) AND s.horizon > 0) THEN
		RAISE EXCEPTION 'the figures of programme "%" have never been refreshed', v_name
			USING ERRCODE = 'LY003', HINT = 'loyalty.refresh_analytics() does that.';
	END IF;
	IF v_horizon IS NULL OR v_horizon NOT BETWEEN 1 AND 36500 OR v_margin IS NULL OR NOT v_margin BETWEEN 0 AND 1
		OR v_discount IS NULL OR NOT v_discount BETWEEN 0 AND 10 THEN
		RAISE EXCEPTION 'invalid argument: horizon_days %, margin %, annual_discount %', v_horizon, v_margin, v_discount
			USING ERRCODE = '22023', HINT = 'horizon_days is between 1 and 36500, margin between 0 and 1, annual_discount between 0 and 10.';
	END IF;
	PERFORM set_config('work_mem', current_setting('maintenance_work_mem'), true);
	FOR v_program IN
		SELECT s.program_id, s.as_of, c.median_days
		FROM loyalty.analytics_state s JOIN loyalty.program p ON p.program_id = s.program_id
		LEFT JOIN loyalty.program_cycle c ON c.program_id = s.program_id
		WHERE s.horizon > 0 AND (v_name IS NULL OR p.name = v_name) ORDER BY s.program_id
	LOOP
		SELECT coalesce(array_agg(g.x), '{}') AS x, coalesce(array_agg(g.t_x), '{}') AS t_x, coalesce(array_agg(g.t), '{}') AS t,
				coalesce(array_agg(g.weight), '{}') AS weight, coalesce(sum(g.n), 0) AS customers,
				coalesce(sum(g.n) FILTER (WHERE g.x > 0), 0) AS repeaters
			INTO v_sample
			FROM (SELECT (s.purchase_days - 1)::double precision AS x, (s.last_sale_on - s.first_sale_on) / 7.0::double precision AS t_x,
					(v_program.as_of - s.first_sale_on) / 7.0::double precision AS t, count(*)::double precision AS weight, count(*) AS n
				FROM loyalty.member_summary s WHERE s.program_id = v_program.program_id AND s.purchase_days > 0
				GROUP BY 1, 2, 3 ORDER BY 1, 2, 3) g;
		SELECT coalesce(array_agg(g.x), '{}') AS x, coalesce(array_agg(g.mean), '{}') AS mean, coalesce(array_agg(g.weight), '{}') AS weight,
				corr(g.x, g.mean) AS correlation
			INTO v_values
			FROM (SELECT s.purchase_days::double precision AS x, ((s.gross - s.returned) / s.purchase_days)::double precision AS mean,
					1::double precision AS weight
				FROM loyalty.member_summary s
				WHERE s.program_id = v_program.program_id AND s.purchase_days > 1 AND s.gross - s.returned > 0
				ORDER BY 1, 2) g;
		v_problem := CASE WHEN v_sample.repeaters < 20 THEN 'fewer than 20 members with two purchase days' END;
		IF v_problem IS NULL THEN
			SELECT * INTO v_orders FROM loyalty.bgnbd_fit(v_sample.x, v_sample.t_x, v_sample.t, v_sample.weight);
			v_problem := CASE WHEN NOT v_orders.converged OR v_orders.r IS NULL THEN 'the fit did not converge'
				WHEN NOT (v_orders.r BETWEEN 0.001 AND 1000 AND v_orders.alpha BETWEEN 0.001 AND 10000
					AND v_orders.a BETWEEN 0.001 AND 1000 AND v_orders.b BETWEEN 0.001 AND 1000) THEN 'the fit is degenerate' END;
		ELSE
			SELECT NULL::double precision AS r, NULL::double precision AS alpha, NULL::double precision AS a,
				NULL::double precision AS b, NULL::double precision AS log_likelihood INTO v_orders;
		END IF;
		v_value_problem := CASE WHEN cardinality(v_values.x) < 20 THEN 'fewer than 20 members with two purchase days and a positive amount' END;
		IF v_value_problem IS NULL THEN
			SELECT * INTO v_value FROM loyalty.gamma_gamma_fit(v_values.x, v_values.mean, v_values.weight);
			v_value_problem := CASE WHEN NOT v_value.converged OR v_value.p IS NULL THEN 'the fit did not converge'
				WHEN v_value.q <= 1 THEN 'the fit has no mean (q <= 1)'
				WHEN NOT (v_value.p BETWEEN 0.001 AND 1000 AND v_value.q <= 1000) THEN 'the fit is degenerate' END;
		ELSE
			SELECT NULL::double precision AS p, NULL::double precision AS q, NULL::double precision AS gamma,
				NULL::double precision AS log_likelihood INTO v_value;
		END IF;

		INSERT INTO loyalty.lifetime_model AS t
			VALUES (v_program.program_id, v_program.as_of, clock_timestamp(), v_horizon, v_margin, v_discount,
				v_sample.customers, v_sample.repeaters, v_orders.r, v_orders.alpha, v_orders.a, v_orders.b,
				v_orders.log_likelihood, v_value.p, v_value.q, v_value.gamma, v_value.log_likelihood,
				v_values.correlation, v_problem, v_value_problem)
			ON CONFLICT ON CONSTRAINT lifetime_model_pkey DO UPDATE
				SET (as_of, fitted_at, horizon_days, margin, annual_discount, customers, repeaters, r, alpha, a, b, log_likelihood,
					p, q, gamma, value_log_likelihood, correlation, orders_problem, value_problem)
				= (excluded.as_of, excluded.fitted_at, excluded.horizon_days, excluded.margin, excluded.annual_discount,
					excluded.customers, excluded.repeaters, excluded.r, excluded.alpha, excluded.a, excluded.b, excluded.log_likelihood,
					excluded.p, excluded.q, excluded.gamma, excluded.value_log_likelihood, excluded.correlation,
					excluded.orders_problem, excluded.value_problem);

		-- histories that are equal are computed once
		WITH history AS (
			SELECT s.purchase_days, s.first_sale_on, s.last_sale_on,
				(s.purchase_days - 1)::double precision AS x, (s.last_sale_on - s.first_sale_on) / 7.0::double precision AS t_x,
				(v_program.as_of - s.first_sale_on) / 7.0::double precision AS t,
				CASE WHEN s.purchase_days >= 3 THEN (s.last_sale_on - s.first_sale_on)::numeric / (s.purchase_days - 1)
					ELSE v_program.median_days END AS cycle
			FROM loyalty.member_summary s WHERE s.program_id = v_program.program_id AND s.purchase_days > 0
			GROUP BY s.purchase_days, s.first_sale_on, s.last_sale_on
		), step AS (
			-- twelve steps to the horizon, each discounted from its end
			SELECT k, k * v_horizon / 84.0::double precision AS ahead,
				power(1 + v_discount::double precision, -k * v_horizon / (12 * 365.0::double precision)) AS worth
			FROM generate_series(1, 12) k
		), model AS MATERIALIZED (
			SELECT h.purchase_days, h.first_sale_on, h.last_sale_on,
				CASE WHEN v_problem IS NULL THEN loyalty.bgnbd_alive(v_orders.r, v_orders.alpha, v_orders.a, v_orders.b, h.x, h.t_x, h.t)
					END AS alive,
				e.expected, e.discounted,
				-- without a model: he goes on at his cycle if he is not two of them late
				h.cycle, coalesce(v_program.as_of - h.last_sale_on <= 2 * h.cycle, false) AS goes_on
			FROM history h
			LEFT JOIN LATERAL (SELECT max(y.y) AS expected, sum((y.y - y.before) * y.worth) AS discounted, count(y.y) AS n
				FROM (SELECT z.y, z.worth, lag(z.y, 1, 0::double precision) OVER (ORDER BY z.k) AS before
					FROM (SELECT w.k, w.worth, loyalty.bgnbd_expected(v_orders.r, v_orders.alpha, v_orders.a, v_orders.b,
							h.x, h.t_x, h.t, w.ahead) AS y FROM step w) z) y) e ON v_problem IS NULL AND e.n = 12
		), fresh AS MATERIALIZED (
			SELECT s.member_id,
				coalesce(m.alive, CASE WHEN m.goes_on THEN 1 ELSE 0 END)::numeric(7,6) AS alive,
				x.sales::numeric(14,4) AS expected_sales, x.amount::numeric(18,2) AS expected_amount,
				(x.discounted * x.amount * v_margin::double precision)::numeric(18,2) AS lifetime_value
			FROM loyalty.member_summary s
			JOIN model m ON m.purchase_days = s.purchase_days AND m.first_sale_on = s.first_sale_on AND m.last_sale_on = s.last_sale_on
			CROSS JOIN LATERAL (SELECT CASE WHEN m.goes_on THEN v_horizon / m.cycle::double precision ELSE 0 END AS sales) o
			CROSS JOIN LATERAL (SELECT
				CASE WHEN m.expected IS NULL THEN o.sales ELSE m.expected END AS sales,
				CASE WHEN m.expected IS NULL THEN o.sales * power(1 + v_discount::double precision, -v_horizon / 730.0::double precision)
					ELSE m.discounted END AS discounted,
				coalesce(CASE WHEN v_value_problem IS NULL THEN loyalty.gamma_gamma_expected(v_value.p, v_value.q, v_value.gamma,
						s.purchase_days, greatest(s.gross - s.returned, 0)::double precision / s.purchase_days) END,
					greatest(s.gross - s.returned, 0)::double precision / s.purchase_days) AS amount) x
			WHERE s.program_id = v_program.program_id
		), gone AS (
			DELETE FROM loyalty.member_lifetime t
			WHERE t.program_id = v_program.program_id AND NOT EXISTS (SELECT FROM fresh f WHERE f.member_id = t.member_id)
		)
		INSERT INTO loyalty.member_lifetime AS t
		SELECT f.member_id, v_program.program_id, f.alive, f.expected_sales, f.expected_amount, f.lifetime_value
		FROM fresh f
		ON CONFLICT (member_id) DO UPDATE
			SET alive = excluded.alive, expected_sales = excluded.expected_sales,
				expected_amount = excluded.expected_amount, lifetime_value = excluded.lifetime_value
			WHERE t.* IS DISTINCT FROM excluded.*;
		SELECT count(*) INTO v_count FROM loyalty.member_lifetime t WHERE t.program_id = v_program.program_id;
		v_total := v_total + v_count;
	END LOOP;
	RETURN v_total;
END
$$;
COMMENT ON FUNCTION loyalty.refresh_lifetime(text, integer, numeric, numeric) IS
'fits BG/NBD and gamma-gamma to the kept figures of a programme (NULL: all) and computes what is to be expected of each member; where a model cannot be fitted, a member who is at most two purchase cycles late goes on buying at his cycle for his mean amount, and any other buys no more; returns how many members were computed';

CREATE VIEW loyalty.customer_lifetime WITH (security_invoker = true) AS
	SELECT p.name AS program, l.member_id, o.as_of, o.horizon_days, l.alive AS alive_probability, l.expected_sales,
		l.expected_amount AS expected_sale_amount, l.lifetime_value,
		o.orders_problem IS NOT NULL AS is_orders_fallback, o.value_problem IS NOT NULL AS is_value_fallback
	FROM loyalty.member_lifetime l
	JOIN loyalty.lifetime_model o ON o.program_id = l.program_id
	JOIN loyalty.program p ON p.program_id = l.program_id;
COMMENT ON VIEW loyalty.customer_lifetime IS 'one row per member with a sale: what is to be expected of him, as of the last refresh_lifetime()';
COMMENT ON COLUMN loyalty.customer_lifetime.program IS 'programme';
COMMENT ON COLUMN loyalty.customer_lifetime.member_id IS 'number of the member';
COMMENT ON COLUMN loyalty.customer_lifetime.as_of IS 'last day that counts';
COMMENT ON COLUMN loyalty.customer_lifetime.horizon_days IS 'days ahead that are looked at';
COMMENT ON COLUMN loyalty.customer_lifetime.alive_probability IS 'probability that he is still a customer';
COMMENT ON COLUMN loyalty.customer_lifetime.expected_sales IS 'purchase days to be expected within the horizon';
COMMENT ON COLUMN loyalty.customer_lifetime.expected_sale_amount IS 'amount to be expected on each of them';
COMMENT ON COLUMN loyalty.customer_lifetime.lifetime_value IS 'margin on these sales at its worth of today';
COMMENT ON COLUMN loyalty.customer_lifetime.is_orders_fallback IS 'true: sales are not from the model but carried on from his purchase cycle';
COMMENT ON COLUMN loyalty.customer_lifetime.is_value_fallback IS 'true: the amount is not from the model but his mean so far';

CREATE VIEW loyalty.lifetime_fit WITH (security_invoker = true) AS
	SELECT p.name AS program, o.as_of, o.fitted_at, o.horizon_days, o.margin::numeric(7,4) AS margin,
		o.annual_discount::numeric(7,4) AS annual_discount, o.customers, o.repeaters, o.r::numeric(18,6) AS r,
		o.alpha::numeric(18,6) AS alpha, o.a::numeric(18,6) AS a, o.b::numeric(18,6) AS b, o.log_likelihood::numeric(18,4) AS log_likelihood,
		o.p::numeric(18,6) AS p, o.q::numeric(18,6) AS q, o.gamma::numeric(18,6) AS gamma,
		o.value_log_likelihood::numeric(18,4) AS value_log_likelihood, o.correlation::numeric(7,4) AS correlation,
		o.orders_problem, o.value_problem
	FROM loyalty.lifetime_model o
	JOIN loyalty.program p ON p.program_id = o.program_id;
COMMENT ON VIEW loyalty.lifetime_fit IS 'one row per programme: the models behind customer_lifetime';
COMMENT ON COLUMN loyalty.lifetime_fit.program IS 'programme';
COMMENT ON COLUMN loyalty.lifetime_fit.as_of IS 'last day that counts';
COMMENT ON COLUMN loyalty.lifetime_fit.fitted_at IS 'when they were fitted';
COMMENT ON COLUMN loyalty.lifetime_fit.horizon_days IS 'days ahead that are looked at';
COMMENT ON COLUMN loyalty.lifetime_fit.margin IS 'part of an amount that is earned by it';
COMMENT ON COLUMN loyalty.lifetime_fit.annual_discount IS 'rate by which money a year ahead is worth less';
COMMENT ON COLUMN loyalty.lifetime_fit.customers IS 'members in the sample';
COMMENT ON COLUMN loyalty.lifetime_fit.repeaters IS 'those of them with two purchase days or more';
COMMENT ON COLUMN loyalty.lifetime_fit.r IS 'BG/NBD: shape of the purchase rates';
COMMENT ON COLUMN loyalty.lifetime_fit.alpha IS 'BG/NBD: scale of the purchase rates, in weeks';
COMMENT ON COLUMN loyalty.lifetime_fit.a IS 'BG/NBD: first shape of the chance to leave';
COMMENT ON COLUMN loyalty.lifetime_fit.b IS 'BG/NBD: second shape of the chance to leave';
COMMENT ON COLUMN loyalty.lifetime_fit.log_likelihood IS 'BG/NBD: log-likelihood of the sample';
COMMENT ON COLUMN loyalty.lifetime_fit.p IS 'gamma-gamma: shape of values';
COMMENT ON COLUMN loyalty.lifetime_fit.q IS 'gamma-gamma: shape of their spread between customers';
COMMENT ON COLUMN loyalty.lifetime_fit.gamma IS 'gamma-gamma: scale of that spread, in money';
COMMENT ON COLUMN loyalty.lifetime_fit.value_log_likelihood IS 'gamma-gamma: log-likelihood of the sample';
COMMENT ON COLUMN loyalty.lifetime_fit.correlation IS 'of number and mean value of purchases; the models take it for 0';
COMMENT ON COLUMN loyalty.lifetime_fit.orders_problem IS 'why BG/NBD is not used; NULL if it is';
COMMENT ON COLUMN loyalty.lifetime_fit.value_problem IS 'why gamma-gamma is not used; NULL if it is';
