-- What a programme owes its members in points, and what that is worth.

CREATE FUNCTION loyalty.liability(program text, as_of timestamptz DEFAULT NULL,
	OUT class text, OUT vintage date, OUT expires_month date, OUT lots bigint, OUT points numeric(18,2),
	OUT expected_points numeric(18,2), OUT price numeric(18,6), OUT value numeric(18,2))
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := loyalty.program_id(program);
	v_zone text := (SELECT p.time_zone FROM loyalty.program p WHERE p.program_id = v_program);
	v_as_of timestamptz := coalesce(as_of, now());
	v_today date := (v_as_of AT TIME ZONE v_zone)::date;
	v_policy loyalty.revenue_policy;
	v_price numeric;
	v_share numeric := 1;
BEGIN
	SELECT * INTO v_policy FROM loyalty.revenue_policy r
		WHERE r.program_id = v_program AND r.valid_from <= v_today ORDER BY r.valid_from DESC LIMIT 1;
	IF FOUND THEN
		v_price := v_policy.standalone_price;
		v_share := v_policy.expected_redemption;
	ELSE
		v_price := (SELECT r.point_value FROM loyalty.redemption_policy r WHERE r.program_id = v_program);
	END IF;
	RETURN QUERY
	WITH cell AS MATERIALIZED (
		SELECT c.* FROM loyalty.point_cell(v_program, v_as_of) c
	), share AS MATERIALIZED (
		-- estimated if it is not set, from the same rows as expected_redemption() would see
		SELECT coalesce(v_share, (SELECT loyalty.redemption_share(array_agg(a.held ORDER BY a.age), array_agg(a.redeemed ORDER BY a.age),
				array_agg(a.expired ORDER BY a.age))
			FROM (SELECT array_agg(c.vintage) AS vintages, array_agg(c.month) AS months, array_agg(c.issued) AS issued,
						array_agg(c.redeemed) AS redeemed, array_agg(c.expired) AS expired
					FROM cell c WHERE c.month IS NOT NULL AND c.class <> 'debt') f
			CROSS JOIN LATERAL loyalty.flow_curve(f.vintages, f.months, f.issued, f.redeemed, f.expired,
				loyalty.open_month(v_program, v_as_of)) a)) AS share
	), vintage AS (
		SELECT c.class, c.vintage, sum(c.issued) AS issued, sum(c.redeemed) AS redeemed, sum(c.points) AS held
		FROM cell c WHERE c.class <> 'debt' GROUP BY c.class, c.vintage
	), line AS (
		SELECT c.class, c.vintage, c.expires_month, sum(c.lots)::bigint AS lots, sum(c.points) AS points
		FROM cell c WHERE c.month IS NULL GROUP BY c.class, c.vintage, c.expires_month
	)
	SELECT l.class, l.vintage, l.expires_month, l.lots, l.points::numeric(18,2), x.expected::numeric(18,2),
		v_price::numeric(18,6), round(x.expected * v_price, 2)::numeric(18,2)
	FROM line l
	JOIN vintage v ON v.class = l.class AND v.vintage = l.vintage
	CROSS JOIN share s
	-- what a vintage will still redeem, spread over what is left of it
	CROSS JOIN LATERAL (SELECT CASE WHEN v.held > 0
		THEN greatest(least(v.issued * s.share - v.redeemed, v.held), 0) / v.held * l.points ELSE 0 END AS expected) x
	WHERE l.points <> 0
	UNION ALL
	SELECT l.class, NULL, NULL, l.lots, l.points::numeric(18,2), NULL, NULL, NULL
	FROM line l WHERE l.class = 'debt'
	ORDER BY 1 DESC, 2, 3;
END
$$;
COMMENT ON FUNCTION loyalty.liability(text, timestamptz) IS
'outstanding points at an instant by class (sale, grant: given for events and by hand, debt: what members owe, below 0, its lots being members), month in which they were earned and month in which they expire (NULL: never); how many of them will be redeemed, and what those are worth; points add up to the balances';

CREATE FUNCTION loyalty.check_liability(program text, as_of timestamptz DEFAULT NULL, OUT problem text, OUT detail text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET enable_nestloop = off SET jit = off
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_as_of timestamptz := coalesce(as_of, now());
	v_today date := (SELECT (v_as_of AT TIME ZONE p.time_zone)::date FROM loyalty.program p WHERE p.program_id = v_program);
	v_balances numeric;
	v_liability numeric;
	v_outside text[];
BEGIN
	-- from the books as posting keeps them: entries, and lots with a row of their own
	SELECT coalesce(sum(e.points), 0) - coalesce((SELECT sum(greatest(l.points, 0))
			FROM (SELECT max(CASE WHEN b.occurred_at <= v_as_of THEN l.points ELSE 0 END)
						+ coalesce(sum(a.points) FILTER (WHERE d.kind <> 'expire' AND d.occurred_at <= v_as_of), 0) AS points
					FROM loyalty.lot l
					JOIN loyalty.member m ON m.member_id = l.member_id AND m.program_id = v_program
					JOIN loyalty.entry b ON b.member_id = l.member_id AND b.seq = l.seq
					LEFT JOIN loyalty.allocation a ON a.member_id = l.member_id AND a.lot_seq = l.seq
					LEFT JOIN loyalty.entry d ON d.member_id = a.member_id AND d.seq = a.entry_seq
					LEFT JOIN loyalty.expiry_policy x ON x.program_id = v_program
					WHERE l.points > 0 AND least(l.expires_on, m.lapses_on, x.points_until) < v_today
					GROUP BY l.member_id, l.seq) l), 0)
		INTO v_balances
		FROM loyalty.member m
		JOIN loyalty.entry e ON e.member_id = m.member_id AND e.kind <> 'expire' AND e.occurred_at <= v_as_of
		WHERE m.program_id = v_program;
	SELECT coalesce(sum(l.points), 0), array_agg(format('%s %s, expires %s: %s points, %s expected', l.class, l.vintage,
			l.expires_month, l.points, l.expected_points)) FILTER (WHERE (l.class = 'debt') <> (l.points < 0)
				OR l.expected_points NOT BETWEEN 0 AND l.points)
		INTO v_liability, v_outside
		FROM loyalty.liability(program, v_as_of) l;
	IF v_liability <> v_balances THEN
		RETURN QUERY SELECT 'liability is not the sum of the balances', format('liability %s, balances %s', v_liability, v_balances);
	END IF;
	RETURN QUERY SELECT 'liability is out of its bounds', x.line FROM unnest(v_outside) x (line);
END
$$;
COMMENT ON FUNCTION loyalty.check_liability(text, timestamptz) IS
'proves that liability() agrees with the entries and lots it is made from; no rows: all is well';
