-- What a programme owes its members in points, and what that is worth.

-- A whole programme is read: no plan that looks up one lot at a time, whatever
-- statistics say; the costs of what cannot do without would wake the compiler.
CREATE FUNCTION loyalty.liability(program text, as_of timestamptz DEFAULT NULL,
	OUT class text, OUT vintage date, OUT expires_month date, OUT lots bigint, OUT points numeric(18,2),
	OUT expected_points numeric(18,2), OUT price numeric(18,6), OUT value numeric(18,2))
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET enable_nestloop = off SET jit = off
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
		v_share := coalesce(v_policy.expected_redemption, loyalty.expected_redemption(program, v_as_of));
	ELSE
		v_price := (SELECT r.point_value FROM loyalty.redemption_policy r WHERE r.program_id = v_program);
	END IF;
	RETURN QUERY
	WITH lot AS MATERIALIZED (
		SELECT l.*
		FROM loyalty.member m
		JOIN loyalty.lot_at(v_as_of, v_today) l ON l.member_id = m.member_id
		WHERE m.program_id = v_program
	), owing AS MATERIALIZED (
		SELECT l.member_id, -sum(l.valid) AS points FROM lot l WHERE l.valid < 0 GROUP BY l.member_id
	), netted AS (
		-- a member's debt takes from what he has, in the order of spending
		SELECT l.member_id, l.lot_seq, greatest(least(l.valid, sum(l.valid) OVER w - o.points), 0) AS points,
			greatest(o.points - sum(l.valid) OVER (PARTITION BY l.member_id), 0) AS owed
		FROM owing o
		JOIN lot l ON l.member_id = o.member_id AND l.valid > 0
		WINDOW w AS (PARTITION BY l.member_id ORDER BY l.expires_on, l.lot_seq)
	), open AS (
		-- a debt that is repaid before it is made, by business time, is points until then
		SELECT l.member_id, l.lot_seq, CASE l.class WHEN 'debt' THEN 'sale' ELSE l.class END AS class, l.earned_at, l.expires_on,
			l.points + l.redeemed AS issued, l.redeemed,
			CASE WHEN l.valid <= 0 THEN 0 WHEN n.member_id IS NULL THEN l.valid ELSE n.points END AS points
		FROM lot l
		LEFT JOIN netted n ON n.member_id = l.member_id AND n.lot_seq = l.lot_seq
		WHERE l.class <> 'debt' OR l.valid > 0
	), part AS (
		SELECT coalesce(o.class, l.class) AS class, coalesce(o.earned_at, l.earned_at) AS earned_at, l.expires_on,
			l.issued * coalesce(o.share, 1) AS issued, l.redeemed * coalesce(o.share, 1) AS redeemed,
			-- in whole cents that are the lot's together
			CASE WHEN o.share IS NULL THEN l.points
				ELSE round(l.points * o.through, 2) - round(l.points * (o.through - o.share), 2) END AS points
		FROM open l
		LEFT JOIN (SELECT g.*, round(sum(g.share) OVER (PARTITION BY g.member_id, g.lot_seq ORDER BY g.earned_at, g.class), 15) AS through
				FROM loyalty.lot_origin(v_program) g) o ON o.member_id = l.member_id AND o.lot_seq = l.lot_seq
	), line AS (
		SELECT p.class, p.vintage, p.expires_month, p.lots, p.points,
			-- what a vintage will still redeem, spread over what is left of it
			CASE WHEN p.held > 0 THEN greatest(least(p.issued * v_share - p.redeemed, p.held), 0) / p.held * p.points ELSE 0 END AS expected
		FROM (SELECT x.class, x.vintage, x.expires_month, x.lots, x.points,
					sum(x.issued) OVER v AS issued, sum(x.redeemed) OVER v AS redeemed, sum(x.points) OVER v AS held
				FROM (SELECT p.class, date_trunc('month', p.earned_at AT TIME ZONE v_zone)::date AS vintage,
							date_trunc('month', nullif(p.expires_on, 'infinity'))::date AS expires_month,
							count(*) FILTER (WHERE p.points <> 0) AS lots, sum(p.points) AS points,
							sum(p.issued) AS issued, sum(p.redeemed) AS redeemed
						FROM part p GROUP BY 1, 2, 3) x
				WINDOW v AS (PARTITION BY x.class, x.vintage)) p
	)
	SELECT l.class, l.vintage, l.expires_month, l.lots, l.points::numeric(18,2), l.expected::numeric(18,2),
		v_price::numeric(18,6), round(l.expected * v_price, 2)::numeric(18,2)
	FROM line l WHERE l.points <> 0
	UNION ALL
	SELECT 'debt', NULL, NULL, count(*), -sum(d.points)::numeric(18,2), NULL, NULL, NULL
	FROM (SELECT o.member_id, coalesce((SELECT min(n.owed) FROM netted n WHERE n.member_id = o.member_id), o.points) AS points FROM owing o) d
	WHERE d.points > 0
	HAVING count(*) > 0
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
	v_liability := (SELECT coalesce(sum(l.points), 0) FROM loyalty.liability(program, v_as_of) l);
	IF v_liability <> v_balances THEN
		RETURN QUERY SELECT 'liability is not the sum of the balances', format('liability %s, balances %s', v_liability, v_balances);
	END IF;
	RETURN QUERY
		SELECT 'liability is out of its bounds', format('%s %s, expires %s: %s points, %s expected', l.class, l.vintage,
			l.expires_month, l.points, l.expected_points)
		FROM loyalty.liability(program, v_as_of) l
		WHERE (l.class = 'debt') <> (l.points < 0) OR l.expected_points NOT BETWEEN 0 AND l.points;
END
$$;
COMMENT ON FUNCTION loyalty.check_liability(text, timestamptz) IS
'proves that liability() agrees with the entries and lots it is made from; no rows: all is well';
