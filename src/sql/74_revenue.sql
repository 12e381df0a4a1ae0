-- Deferred revenue (IFRS 15, ASC 606): part of what members pay is for points,
-- and becomes revenue as those are redeemed.  By month and programme time.
--
-- The sales of a month less its returns are divided between goods and points in
-- proportion of their stand-alone prices; that of the points is what was issued
-- for purchases x price x expected redemption at the end of that month.  What is
-- deferred of a month is released as its points are redeemed, in proportion of
-- redeemed to expected; a change of what is expected is caught up at once.
-- Points taken back with returned goods take back their part.  When no points
-- of a month are left, the rest is released.  All is computed from the
-- beginning to the end of each month and rounded there, so what is released in
-- a month is a difference, and nothing is lost.
--
-- Points given for events and by hand are no part of a sale.  What is expected
-- to be redeemed of them is an expense when they are given.

CREATE FUNCTION loyalty.revenue_allocation(sales numeric, points_value numeric,
	OUT goods numeric(18,2), OUT points numeric(18,2))
RETURNS record
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF sales IN ('NaN', 'Infinity', '-Infinity') OR points_value IN ('NaN', 'Infinity', '-Infinity') THEN
		RAISE EXCEPTION 'cannot divide % between goods and points worth %', sales, points_value
			USING ERRCODE = '22023', HINT = 'Both are amounts of money.';
	END IF;
	points := CASE WHEN sales > 0 AND points_value > 0 THEN round(sales * points_value / (sales + points_value), 2) ELSE 0 END;
	goods := round(sales, 2) - points;
END
$$;
COMMENT ON FUNCTION loyalty.revenue_allocation(numeric, numeric) IS
'divides sales between goods and points in proportion of their stand-alone prices, sales and points_value: 100,000 and 9,500 give 91,324 and 8,676';

CREATE FUNCTION loyalty.check_month(day date) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF day IS NULL OR NOT isfinite(day) OR day > '9999-12-31' THEN
		RAISE EXCEPTION 'invalid value for a month: %', coalesce(day::text, 'NULL')
			USING ERRCODE = '22023', HINT = 'It is any day of the month, up to 9999-12-31.';
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.check_month(date) IS 'raises an error unless the day is in a month for which there can be figures';

CREATE FUNCTION loyalty.revenue_state(program_id integer, through date)
RETURNS TABLE (period date, is_closed boolean, sales numeric, points_issued numeric, points_redeemed numeric, points_expired numeric,
	points_owed numeric, points_expected numeric, expected_share numeric, allocated numeric, returned numeric, released numeric,
	granted numeric, used numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET enable_nestloop = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := program_id;
	v_month date;
	v_last date;
	v_end timestamptz;
BEGIN
	PERFORM loyalty.check_month(through);
	v_month := date_trunc('month', through)::date;
	v_last := (v_month + interval '1 month')::date - 1;
	v_end := (SELECT (v_last + 1)::timestamp AT TIME ZONE p.time_zone - interval '1 microsecond'
		FROM loyalty.program p WHERE p.program_id = v_program);
	RETURN QUERY
	WITH flow AS MATERIALIZED (
		SELECT f.* FROM loyalty.point_flow(v_program, v_end) f
	), sold AS MATERIALIZED (
		SELECT date_trunc('month', s.day)::date AS month, sum(s.gross - s.returned) AS sales
		FROM loyalty.sale_days(v_program, v_last, NULL) s GROUP BY 1
	), busy AS MATERIALIZED (
		SELECT f.month FROM flow f UNION ALL SELECT s.month FROM sold s
	), planned AS MATERIALIZED (
		SELECT g.month::date AS month, r.standalone_price AS price, r.expected_redemption AS expected
		FROM generate_series((SELECT min(x.month) FROM busy x)::timestamp, v_month::timestamp, interval '1 month') g (month)
		LEFT JOIN LATERAL (SELECT * FROM loyalty.revenue_policy r
			WHERE r.program_id = v_program AND r.valid_from <= g.month::date
			ORDER BY r.valid_from DESC LIMIT 1) r ON true
	), month AS MATERIALIZED (
		-- some time after the last month in which something happened nothing changes any more: then
		-- one month is as good as any later one.  For the estimate that is when all vintages have been
		-- as old as any was when something happened, and another year (see redemption_share()).
		SELECT p.*, least(p.month, h.month) AS state
		FROM planned p
		CROSS JOIN (SELECT CASE WHEN (SELECT bool_and(x.expected IS NOT NULL) FROM planned x) THEN max(b.month)
				ELSE (max(b.month) + make_interval(months => loyalty.months_between(min(b.month), max(b.month)) + 14))::date END AS month
			FROM busy b) h
	), cell AS MATERIALIZED (
		-- every vintage at the end of every month
		SELECT c.class, v.month AS vintage, m.month, loyalty.months_between(v.month, m.month) AS age,
			coalesce(f.redeemed, 0) AS redeemed, coalesce(f.expired, 0) AS expired,
			sum(coalesce(f.issued, 0)) OVER w AS issued_total, sum(coalesce(f.redeemed, 0)) OVER w AS redeemed_total,
			sum(coalesce(f.issued, 0) - coalesce(f.redeemed, 0) - coalesce(f.expired, 0)) OVER w AS held
		FROM (VALUES ('sale'), ('grant')) c (class)
		JOIN month v ON v.month = v.state
		JOIN month m ON m.month >= v.month AND m.month = m.state
		LEFT JOIN (SELECT f.class, f.vintage, greatest(f.month, f.vintage) AS month, sum(f.issued) AS issued,
					sum(f.redeemed) AS redeemed, sum(f.expired) AS expired
				FROM flow f GROUP BY 1, 2, 3) f ON f.class = c.class AND f.vintage = v.month AND f.month = m.month
		WINDOW w AS (PARTITION BY c.class, v.month ORDER BY m.month)
	), seen AS (
		-- for each month what all vintages had done by then at every age
		SELECT a.month, array_agg(a.held ORDER BY a.age) AS held, array_agg(a.redeemed ORDER BY a.age) AS redeemed,
			array_agg(a.expired ORDER BY a.age) AS expired
		FROM (SELECT c.month, c.age, sum(sum(c.held + c.redeemed + c.expired)) OVER w AS held,
					sum(sum(c.redeemed)) OVER w AS redeemed, sum(sum(c.expired)) OVER w AS expired
				FROM cell c
				WHERE c.vintage >= (SELECT min(f.vintage) FROM flow f WHERE f.class <> 'debt')
				GROUP BY c.vintage, c.age, c.month
				WINDOW w AS (PARTITION BY c.age ORDER BY c.vintage)) a
		GROUP BY a.month
	), guess AS MATERIALIZED (
		SELECT s.month, loyalty.redemption_share(s.held, s.redeemed, s.expired) AS share
		FROM seen s
		WHERE s.month IN (SELECT m.state FROM month m WHERE m.expected IS NULL)
	), share AS MATERIALIZED (
		SELECT m.month, m.state, coalesce(m.expected, g.share, 1) AS share
		FROM month m
		LEFT JOIN guess g ON g.month = m.state
	), vintage AS MATERIALIZED (
		SELECT c.class, c.vintage, c.issued_total AS issued, coalesce(m.price, 0) AS price, CASE c.class WHEN 'sale' THEN
				(loyalty.revenue_allocation(coalesce(s.sales, 0), c.issued_total * m.price * h.share)).points ELSE 0 END AS allocated
		FROM cell c
		JOIN month m ON m.month = c.vintage
		JOIN share h ON h.month = c.vintage
		LEFT JOIN sold s ON s.month = c.vintage
		WHERE c.month = c.vintage
	), amount AS (
		SELECT h.state, h.share, v.class, v.price, v.allocated, c.redeemed_total, x.expected,
			round(v.allocated * (1 - x.kept), 2) AS returned,
			round(v.allocated * (1 - x.kept * (1 - x.done)), 2) AS gone
		FROM cell c
		JOIN vintage v ON v.class = c.class AND v.vintage = c.vintage
		JOIN (SELECT DISTINCT m.state, m.share FROM share m) h ON h.state = c.month
		CROSS JOIN LATERAL (SELECT greatest(c.redeemed_total, least(c.issued_total * h.share, c.redeemed_total + c.held)) AS expected) e
		CROSS JOIN LATERAL (SELECT e.expected,
			CASE WHEN v.issued > 0 THEN least(greatest(c.issued_total / v.issued, 0), 1) ELSE 0 END AS kept,
			CASE WHEN e.expected <= 0 OR round(c.held, 2) <= 0 THEN 1
				ELSE least(greatest(c.redeemed_total / e.expected, 0), 1) END AS done) x
	), money AS (
		SELECT a.state, a.share, sum(a.allocated) AS allocated, sum(a.returned) AS returned, sum(a.gone - a.returned) AS released,
			sum(round(a.price * a.expected, 2)) FILTER (WHERE a.class = 'grant') AS granted,
			sum(round(a.price * a.redeemed_total, 2)) FILTER (WHERE a.class = 'grant') AS used,
			sum(a.expected) AS expected
		FROM amount a GROUP BY a.state, a.share
	), point AS (
		SELECT f.month, sum(f.issued) FILTER (WHERE f.class <> 'debt') AS issued, sum(f.redeemed) FILTER (WHERE f.class <> 'debt') AS redeemed,
			sum(f.expired) FILTER (WHERE f.class <> 'debt') AS expired,
			sum(f.redeemed - f.issued) FILTER (WHERE f.class = 'debt') AS owed
		FROM flow f GROUP BY f.month
	)
	SELECT m.month, r.period IS NOT NULL,
		coalesce(r.sales, round(sum(coalesce(s.sales, 0)) OVER w, 2)),
		coalesce(r.points_issued, round(sum(coalesce(p.issued, 0)) OVER w, 2)),
		coalesce(r.points_redeemed, round(sum(coalesce(p.redeemed, 0)) OVER w, 2)),
		coalesce(r.points_expired, round(sum(coalesce(p.expired, 0)) OVER w, 2)),
		coalesce(r.points_owed, round(sum(coalesce(p.owed, 0)) OVER w, 2)),
		coalesce(r.points_expected, round(a.expected, 2)), coalesce(r.expected_share, h.share),
		coalesce(r.allocated, a.allocated), coalesce(r.returned, a.returned), coalesce(r.released, a.released),
		coalesce(r.granted, a.granted), coalesce(r.used, a.used)
	FROM month m
	JOIN share h ON h.month = m.month
	JOIN money a ON a.state = h.state AND a.share = h.share
	LEFT JOIN sold s ON s.month = m.month
	LEFT JOIN point p ON p.month = m.month
	LEFT JOIN loyalty.revenue_period r ON r.program_id = v_program AND r.period = m.month
	WINDOW w AS (ORDER BY m.month)
	ORDER BY m.month;
END
$$;
COMMENT ON FUNCTION loyalty.revenue_state(integer, date) IS
'figures of deferred_revenue() from the beginning through each month up to one; of closed months as they were closed';

CREATE FUNCTION loyalty.deferred_revenue(program text, from_period date DEFAULT NULL, to_period date DEFAULT NULL,
	OUT period date, OUT is_closed boolean, OUT sales numeric(18,2),
	OUT points_issued numeric(18,2), OUT points_redeemed numeric(18,2), OUT points_expired numeric(18,2),
	OUT points_open numeric(18,2), OUT points_owed numeric(18,2), OUT redeemed_total numeric(18,2), OUT expected_total numeric(18,2),
	OUT expected_share numeric(9,8), OUT allocated numeric(18,2), OUT returned numeric(18,2), OUT released numeric(18,2),
	OUT deferred numeric(18,2), OUT granted numeric(18,2), OUT used numeric(18,2), OUT provision numeric(18,2))
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT x.* FROM (
		SELECT s.period, s.is_closed, s.sales - lag(s.sales, 1, 0::numeric) OVER w,
			s.points_issued - lag(s.points_issued, 1, 0::numeric) OVER w,
			s.points_redeemed - lag(s.points_redeemed, 1, 0::numeric) OVER w,
			s.points_expired - lag(s.points_expired, 1, 0::numeric) OVER w,
			s.points_issued - s.points_redeemed - s.points_expired, s.points_owed, s.points_redeemed, s.points_expected,
			s.expected_share, s.allocated - lag(s.allocated, 1, 0::numeric) OVER w,
			s.returned - lag(s.returned, 1, 0::numeric) OVER w, s.released - lag(s.released, 1, 0::numeric) OVER w,
			s.allocated - s.returned - s.released, s.granted - lag(s.granted, 1, 0::numeric) OVER w,
			s.used - lag(s.used, 1, 0::numeric) OVER w, s.granted - s.used
		FROM loyalty.program p
		CROSS JOIN LATERAL loyalty.revenue_state(p.program_id, coalesce($3, (now() AT TIME ZONE p.time_zone)::date)) s
		WHERE p.program_id = loyalty.program_id($1)
		WINDOW w AS (ORDER BY s.period)) x
	WHERE x.period >= coalesce(date_trunc('month', $2)::date, '-infinity')
	ORDER BY x.period
$$;
COMMENT ON FUNCTION loyalty.deferred_revenue(text, date, date) IS
'per month (from the first to the current one, or from and to the months of two days): sales less returns; points issued, redeemed, expired, and at its end open (the balances are points_open - points_owed) and owed; points redeemed from the beginning, and expected to be in the end; what was allocated to points, taken back with returns, released, and is deferred at its end; the expense for points granted, what of it was used, and the provision at its end';

CREATE FUNCTION loyalty.journal(program text, period_start date, period_end date,
	OUT entry_date date, OUT line integer, OUT account text, OUT cost_centre text,
	OUT debit numeric(18,2), OUT credit numeric(18,2), OUT text text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := loyalty.program_id(program);
BEGIN
	IF period_start IS NULL OR period_end IS NULL OR NOT isfinite(period_start) OR NOT isfinite(period_end)
		OR period_start > period_end OR extract(day FROM period_start) <> 1 OR extract(day FROM period_end + 1) <> 1 THEN
		RAISE EXCEPTION 'a journal is for whole months, not % to %', coalesce(period_start::text, 'NULL'), coalesce(period_end::text, 'NULL')
			USING ERRCODE = '22023', HINT = 'Give the first day of a month, and the last day of the same or a later one.';
	END IF;
	IF NOT EXISTS (SELECT FROM loyalty.revenue_policy r WHERE r.program_id = v_program) THEN
		RAISE EXCEPTION 'programme "%" has no revenue policy', program USING ERRCODE = 'LY003', HINT = 'Use loyalty.set_revenue_policy().';
	END IF;
	RETURN QUERY
	SELECT j.entry_date, (row_number() OVER (PARTITION BY j.entry_date ORDER BY j.step, j.side))::integer, j.account, j.cost_centre,
		j.debit, j.credit, format('%s: %s', program, j.what)
	FROM (SELECT (d.period + interval '1 month')::date - 1 AS entry_date, l.step, s.side, s.account, s.cost_centre, l.what,
				CASE WHEN s.side = 1 THEN abs(l.amount) ELSE 0 END::numeric(18,2) AS debit,
				CASE WHEN s.side = 2 THEN abs(l.amount) ELSE 0 END::numeric(18,2) AS credit
			FROM loyalty.deferred_revenue(program, period_start, period_end) d
			CROSS JOIN LATERAL (SELECT * FROM loyalty.revenue_policy r WHERE r.program_id = v_program
				ORDER BY r.valid_from <= d.period DESC, CASE WHEN r.valid_from <= d.period THEN r.valid_from END DESC, r.valid_from LIMIT 1) r
			CROSS JOIN LATERAL (VALUES
				(1, d.allocated, r.revenue_account, NULL, r.contract_liability_account, NULL, 'part of the sales that is for points'),
				(2, d.returned, r.contract_liability_account, NULL, r.revenue_account, NULL, 'points taken back with returns'),
				(3, d.released, r.contract_liability_account, NULL, r.revenue_account, NULL, 'points redeemed, expired, or no longer expected'),
				(4, d.granted, r.expense_account, r.cost_centre, r.provision_account, NULL, 'points given otherwise'),
				(5, d.used, r.provision_account, NULL, r.revenue_account, NULL, 'points given otherwise, redeemed'))
				l (step, amount, debit_account, debit_centre, credit_account, credit_centre, what)
			-- what is below zero changes sides
			CROSS JOIN LATERAL (VALUES
				(CASE WHEN l.amount > 0 THEN 1 ELSE 2 END, l.debit_account, l.debit_centre),
				(CASE WHEN l.amount > 0 THEN 2 ELSE 1 END, l.credit_account, l.credit_centre)) s (side, account, cost_centre)
			WHERE l.amount <> 0) j
	ORDER BY 1, 2;
END
$$;
COMMENT ON FUNCTION loyalty.journal(text, date, date) IS
'postings to the general ledger of whole months, dated the last day of each: deferred revenue and its release, points taken back, the expense for points given otherwise and its use; debits equal credits';

CREATE FUNCTION loyalty.close_period(program text, period date, at timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := loyalty.program_id(program);
	v_period date;
	v_at timestamptz := coalesce(at, now());
	v_count bigint;
BEGIN
	PERFORM loyalty.check_month(period);
	v_period := date_trunc('month', period)::date;
	IF v_at < (SELECT (v_period + interval '1 month') AT TIME ZONE p.time_zone FROM loyalty.program p WHERE p.program_id = v_program) THEN
		RAISE EXCEPTION 'period % is not over', to_char(v_period, 'YYYY-MM')
			USING ERRCODE = 'LY003', HINT = 'Close it when its last day (programme time) has passed.';
	END IF;
	IF NOT EXISTS (SELECT FROM loyalty.revenue_policy r WHERE r.program_id = v_program) THEN
		RAISE EXCEPTION 'programme "%" has no revenue policy', program USING ERRCODE = 'LY003', HINT = 'Use loyalty.set_revenue_policy().';
	END IF;
	-- whoever closes at the same time waits, and finds it done
	LOCK TABLE loyalty.revenue_period IN SHARE ROW EXCLUSIVE MODE;
	INSERT INTO loyalty.revenue_period (program_id, period, closed_at, closed_by, sales, points_issued, points_redeemed, points_expired,
			points_owed, points_expected, expected_share, allocated, returned, released, granted, used)
		SELECT v_program, s.period, v_at, session_user, s.sales, s.points_issued, s.points_redeemed, s.points_expired,
			s.points_owed, s.points_expected, s.expected_share, s.allocated, s.returned, s.released, s.granted, s.used
		FROM loyalty.revenue_state(v_program, v_period) s
		WHERE NOT s.is_closed AND s.period <= v_period
		ON CONFLICT ON CONSTRAINT revenue_period_pkey DO NOTHING;
	GET DIAGNOSTICS v_count = ROW_COUNT;
	RETURN v_count;
END
$$;
COMMENT ON FUNCTION loyalty.close_period(text, date, timestamptz) IS
'closes a month that is over, and all open ones before it: their figures stay, and what is booked into them later shows in the next open month; returns how many it closed';

CREATE FUNCTION loyalty.month_balances(program_id integer, through date, OUT month date, OUT points numeric)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET enable_nestloop = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := program_id;
	v_zone text := (SELECT p.time_zone FROM loyalty.program p WHERE p.program_id = v_program);
	v_last date := (date_trunc('month', through::timestamp) + interval '1 month')::date - 1;
	v_end timestamptz := (v_last + 1)::timestamp AT TIME ZONE v_zone - interval '1 microsecond';
BEGIN
	RETURN QUERY
	WITH gone AS MATERIALIZED (
		SELECT l.member_id, l.seq, l.points, date_trunc('month', (x.expires_on + 1)::timestamp)::date AS month
		FROM loyalty.member m
		JOIN loyalty.lot l ON l.member_id = m.member_id
		LEFT JOIN loyalty.expiry_policy p ON p.program_id = v_program
		CROSS JOIN LATERAL (SELECT least(l.expires_on, m.lapses_on, p.points_until) AS expires_on) x
		WHERE m.program_id = v_program AND l.points > 0 AND x.expires_on < v_last
	), move AS (
		SELECT g.member_id, g.seq, greatest(g.month, date_trunc('month', e.occurred_at AT TIME ZONE v_zone)::date) AS month, g.points
		FROM gone g
		JOIN loyalty.entry e ON e.member_id = g.member_id AND e.seq = g.seq
		WHERE e.occurred_at <= v_end
		UNION ALL
		SELECT g.member_id, g.seq, greatest(g.month, date_trunc('month', e.occurred_at AT TIME ZONE v_zone)::date), a.points
		FROM gone g
		JOIN loyalty.allocation a ON a.member_id = g.member_id AND a.lot_seq = g.seq
		JOIN loyalty.entry e ON e.member_id = a.member_id AND e.seq = a.entry_seq
		WHERE e.kind <> 'expire' AND e.occurred_at <= v_end
	)
	SELECT y.month, sum(sum(y.points)) OVER (ORDER BY y.month)
	FROM (SELECT date_trunc('month', e.occurred_at AT TIME ZONE v_zone)::date AS month, e.points
			FROM loyalty.member m
			JOIN loyalty.entry e ON e.member_id = m.member_id
			WHERE m.program_id = v_program AND e.kind <> 'expire' AND e.occurred_at <= v_end
			UNION ALL
			-- less what lots hold that have expired
			SELECT x.month, greatest(lag(x.points, 1, 0::numeric) OVER (PARTITION BY x.member_id, x.seq ORDER BY x.month), 0) - greatest(x.points, 0)
			FROM (SELECT m.member_id, m.seq, m.month, sum(sum(m.points)) OVER (PARTITION BY m.member_id, m.seq ORDER BY m.month) AS points
					FROM move m GROUP BY m.member_id, m.seq, m.month) x) y
	GROUP BY y.month;
END
$$;
COMMENT ON FUNCTION loyalty.month_balances(integer, date) IS
'internal: the sum of all balances at the end of each month up to one, for months in which it changed; from the books as posting keeps them, that is, entries and lots with a row of their own';

CREATE FUNCTION loyalty.check_revenue(program text, through date DEFAULT NULL, OUT problem text, OUT period date, OUT detail text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := loyalty.program_id(program);
	v_zone text := (SELECT p.time_zone FROM loyalty.program p WHERE p.program_id = v_program);
	v_through date := coalesce(through, (now() AT TIME ZONE v_zone)::date);
	r record;
	v_at timestamptz;
	v_points numeric;
BEGIN
	FOR r IN
		WITH book AS MATERIALIZED (SELECT b.* FROM loyalty.month_balances(v_program, v_through) b)
		SELECT s.*, s.period = max(s.period) OVER () AS is_last,
			coalesce((SELECT b.points FROM book b WHERE b.month <= s.period ORDER BY b.month DESC LIMIT 1), 0) AS points
		FROM loyalty.revenue_state(v_program, v_through) s
	LOOP
		IF NOT r.is_closed THEN
			v_points := r.points_issued - r.points_redeemed - r.points_expired - r.points_owed;
			IF v_points <> r.points THEN
				RETURN QUERY SELECT 'points are not the sum of the balances', r.period,
					format('%s - %s - %s - %s, balances %s', r.points_issued, r.points_redeemed, r.points_expired, r.points_owed, r.points);
			END IF;
			-- for other months there is check_liability()
			IF r.is_last THEN
				v_at := (r.period + interval '1 month') AT TIME ZONE v_zone - interval '1 microsecond';
				IF v_points <> (SELECT coalesce(sum(l.points), 0) FROM loyalty.liability(program, v_at) l) THEN
					RETURN QUERY SELECT 'points are not the liability', r.period, v_points::text;
				END IF;
			END IF;
		END IF;
		IF r.allocated - r.returned - r.released < 0 OR r.granted - r.used < 0 THEN
			RETURN QUERY SELECT 'more is released than was deferred', r.period,
				format('%s - %s - %s, %s - %s', r.allocated, r.returned, r.released, r.granted, r.used);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION loyalty.check_revenue(text, date) IS
'proves that deferred_revenue() agrees with the balances at the end of every open month, and with liability() at the end of the last, and that no more is released than was deferred; no rows: all is well';
