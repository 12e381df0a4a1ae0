-- Points by the month in which they were earned (their vintage): what became of
-- them.  Most members' lots are plain, and sums over entries and draws say it
-- all; the others are looked at lot by lot.

-- A lot that a transfer, a merge or a cancelled redemption made has the points
-- of other lots.  The shares of a lot are 1 together.
CREATE FUNCTION loyalty.lot_origin(program_id integer)
RETURNS TABLE (member_id bigint, lot_seq bigint, class text, earned_at timestamptz, share numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET enable_nestloop = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := program_id;
	-- what each lot was made of: lot, where it came from, share
	p_member bigint[];
	p_lot bigint[];
	p_from_member bigint[];
	p_from_lot bigint[];
	p_share numeric[];
	-- the same, as far back as it is known
	o_member bigint[];
	o_lot bigint[];
	o_from_member bigint[];
	o_from_lot bigint[];
	o_share numeric[];
	v_made boolean;
BEGIN
	WITH made AS MATERIALIZED (
		SELECT e.member_id, e.seq, e.kind, e.key, e.occurred_at, e.recorded_at, e.expires_on
		FROM loyalty.entry e
		JOIN loyalty.member m ON m.member_id = e.member_id
		WHERE m.program_id = v_program AND e.kind IN ('transfer', 'redeem_cancel') AND e.expires_on IS NOT NULL AND e.points > 0
	), giver AS (
		-- the other side books its part in the same call; a merge's key names it
		SELECT l.member_id, l.seq, g.member_id AS from_member, g.seq AS from_entry, l.expires_on
		FROM made l
		LEFT JOIN loyalty.operation o ON o.member_id = l.member_id AND o.key = l.key AND l.key NOT LIKE 'merge:%'
		JOIN loyalty.entry g ON g.member_id = CASE WHEN l.key LIKE 'merge:%' THEN substr(l.key, 7)::bigint ELSE o.other_member_id END
			AND g.key = l.key AND g.kind = 'transfer' AND g.points < 0
			AND g.occurred_at = l.occurred_at AND g.recorded_at = l.recorded_at
		WHERE l.kind = 'transfer'
	), part AS (
		-- points that expire together have become one lot
		SELECT g.member_id, g.seq, g.from_member, a.lot_seq AS from_lot, -a.points AS points,
			f.expires_on = g.expires_on OR EXISTS (SELECT FROM loyalty.lot_change c
				WHERE c.member_id = f.member_id AND c.lot_seq = f.seq AND c.expires_on = g.expires_on) AS fits
		FROM giver g
		JOIN loyalty.allocation a ON a.member_id = g.from_member AND a.entry_seq = g.from_entry AND a.points < 0
		JOIN loyalty.entry f ON f.member_id = a.member_id AND f.seq = a.lot_seq
		UNION ALL
		-- what the redemption had drawn and could not give back to where it came from
		SELECT l.member_id, l.seq, l.member_id, a.lot_seq, -sum(a.points), true
		FROM made l
		JOIN loyalty.entry r ON r.member_id = l.member_id AND r.key = l.key AND r.seq <= l.seq AND r.kind IN ('redeem', 'redeem_cancel')
		JOIN loyalty.allocation a ON a.member_id = r.member_id AND a.entry_seq = r.seq AND a.lot_seq < l.seq
		WHERE l.kind = 'redeem_cancel'
		GROUP BY l.member_id, l.seq, a.lot_seq
		HAVING sum(a.points) < 0
	)
	SELECT array_agg(x.member_id), array_agg(x.seq), array_agg(x.from_member), array_agg(x.from_lot), array_agg(x.points / x.total)
		INTO p_member, p_lot, p_from_member, p_from_lot, p_share
		FROM (SELECT p.*, sum(p.points) OVER (PARTITION BY p.member_id, p.seq) AS total
			FROM (SELECT p.member_id, p.seq, p.from_member, p.from_lot, p.fits, sum(p.points) AS points,
						bool_or(p.fits) OVER (PARTITION BY p.member_id, p.seq) AS any_fits
					FROM part p GROUP BY p.member_id, p.seq, p.from_member, p.from_lot, p.fits) p
			WHERE p.fits OR NOT p.any_fits) x;
	o_member := p_member;
	o_lot := p_lot;
	o_from_member := p_from_member;
	o_from_lot := p_from_lot;
	o_share := p_share;
	-- one step back at a time, with what came by several ways put together
	WHILE o_member IS NOT NULL LOOP
		SELECT array_agg(x.member_id), array_agg(x.lot), array_agg(x.from_member), array_agg(x.from_lot), array_agg(x.share), bool_or(x.made)
			INTO o_member, o_lot, o_from_member, o_from_lot, o_share, v_made
			FROM (SELECT o.member_id, o.lot, coalesce(p.from_member, o.from_member) AS from_member, coalesce(p.from_lot, o.from_lot) AS from_lot,
						sum(o.share * coalesce(p.share, 1)) AS share, bool_or(p.member_id IS NOT NULL) AS made
					FROM unnest(o_member, o_lot, o_from_member, o_from_lot, o_share) o (member_id, lot, from_member, from_lot, share)
					LEFT JOIN unnest(p_member, p_lot, p_from_member, p_from_lot, p_share) p (member_id, lot, from_member, from_lot, share)
						ON p.member_id = o.from_member AND p.lot = o.from_lot
					GROUP BY 1, 2, 3, 4) x;
		EXIT WHEN NOT v_made;
	END LOOP;
	RETURN QUERY
	SELECT o.member_id, o.lot, loyalty.lot_class(f.kind, f.points, s.header), f.occurred_at, sum(o.share)
	FROM unnest(o_member, o_lot, o_from_member, o_from_lot, o_share) o (member_id, lot, from_member, from_lot, share)
	JOIN loyalty.entry f ON f.member_id = o.from_member AND f.seq = o.from_lot
	LEFT JOIN loyalty.source s ON s.source_id = f.source_id
	GROUP BY o.member_id, o.lot, 3, 4;
END
$$;
COMMENT ON FUNCTION loyalty.lot_origin(integer) IS
'lots of a programme that have the points of earlier lots: what those were (class, when they were earned), and which share each has';

-- A whole programme is read here and below: no plan that looks up one lot at a
-- time, whatever statistics say; the costs of what cannot do without would wake
-- the compiler.

-- Lot by lot, by the formula of lot_at(), for the members named.
CREATE FUNCTION loyalty.lot_cell(program_id integer, members bigint[], as_of timestamptz)
RETURNS TABLE (class text, vintage date, month date, expires_month date, issued numeric, redeemed numeric, expired numeric,
	lots bigint, points numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET enable_nestloop = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := program_id;
	v_zone text := (SELECT p.time_zone FROM loyalty.program p WHERE p.program_id = v_program);
	v_today date := (as_of AT TIME ZONE v_zone)::date;
BEGIN
	RETURN QUERY
	WITH lot AS MATERIALIZED (
		-- member by member, by the indexes
		SELECT l.*, date_trunc('month', l.earned_at AT TIME ZONE v_zone)::date AS vintage
		FROM unnest(members) k (member_id)
		CROSS JOIN LATERAL (SELECT * FROM loyalty.lot_at(as_of, v_today) x WHERE x.member_id = k.member_id OFFSET 0) l
	), move AS MATERIALIZED (
		SELECT l.member_id, l.lot_seq, l.class, l.vintage, date_trunc('month', v.occurred_at AT TIME ZONE v_zone)::date AS month,
			CASE WHEN l.is_expired THEN date_trunc('month', (l.expires_on + 1)::timestamp)::date END AS gone,
			v.kind IN ('redeem', 'redeem_cancel') AS redeems, v.points
		FROM unnest(members) k (member_id)
		CROSS JOIN LATERAL (SELECT * FROM loyalty.lot_movement x WHERE x.member_id = k.member_id AND x.occurred_at <= as_of OFFSET 0) v
		JOIN lot l ON l.member_id = v.member_id AND l.lot_seq = v.lot_seq
	), flow AS (
		SELECT m.class, m.vintage, m.month, NOT m.redeems AS issues, m.redeems, false AS expires, m.member_id, m.lot_seq, m.points
		FROM move m
		UNION ALL
		-- what is there when the lot expires; what changes it later changes that
		SELECT x.class, x.vintage, x.month, false, false, true, x.member_id, x.lot_seq,
			greatest(x.points, 0) - greatest(lag(x.points, 1, 0::numeric) OVER (PARTITION BY x.member_id, x.lot_seq ORDER BY x.month), 0)
		FROM (SELECT m.member_id, m.lot_seq, m.class, m.vintage, greatest(m.month, m.gone) AS month,
					sum(sum(m.points)) OVER (PARTITION BY m.member_id, m.lot_seq ORDER BY greatest(m.month, m.gone)) AS points
				FROM move m WHERE m.gone IS NOT NULL
				GROUP BY m.member_id, m.lot_seq, m.class, m.vintage, greatest(m.month, m.gone)) x
	), origin AS MATERIALIZED (
		SELECT o.member_id, o.lot_seq, o.class, date_trunc('month', o.earned_at AT TIME ZONE v_zone)::date AS vintage, o.share,
			round(sum(o.share) OVER (PARTITION BY o.member_id, o.lot_seq ORDER BY o.earned_at, o.class), 15) AS through
		FROM loyalty.lot_origin(v_program) o
	), owing AS MATERIALIZED (
		SELECT l.member_id, -sum(l.valid) AS points FROM lot l WHERE l.valid < 0 GROUP BY l.member_id
	), netted AS MATERIALIZED (
		-- a member's debt takes from what he has, in the order of spending
		SELECT l.member_id, l.lot_seq, greatest(least(l.valid, sum(l.valid) OVER w - o.points), 0) AS points,
			greatest(o.points - sum(l.valid) OVER (PARTITION BY l.member_id), 0) AS owed
		FROM owing o
		JOIN lot l ON l.member_id = o.member_id AND l.valid > 0
		WINDOW w AS (PARTITION BY l.member_id ORDER BY l.expires_on, l.lot_seq)
	), open AS (
		-- a debt that is repaid before it is made, by business time, is points until then
		SELECT l.member_id, l.lot_seq, CASE l.class WHEN 'debt' THEN 'sale' ELSE l.class END AS class, l.vintage, l.expires_on,
			CASE l.class WHEN 'debt' THEN l.points + l.redeemed END AS issued, CASE l.class WHEN 'debt' THEN l.redeemed END AS redeemed,
			CASE WHEN l.valid <= 0 THEN 0 WHEN n.member_id IS NULL THEN l.valid ELSE n.points END AS points
		FROM lot l
		LEFT JOIN netted n ON n.member_id = l.member_id AND n.lot_seq = l.lot_seq
		WHERE l.valid > 0
	), part AS (
		SELECT coalesce(o.class, l.class) AS class, coalesce(o.vintage, l.vintage) AS vintage,
			date_trunc('month', nullif(l.expires_on, 'infinity')::timestamp)::date AS expires_month,
			l.issued * coalesce(o.share, 1) AS issued, l.redeemed * coalesce(o.share, 1) AS redeemed,
			-- in whole cents that are the lot's together
			CASE WHEN o.share IS NULL THEN l.points
				ELSE round(l.points * o.through, 2) - round(l.points * (o.through - o.share), 2) END AS points
		FROM open l
		LEFT JOIN origin o ON o.member_id = l.member_id AND o.lot_seq = l.lot_seq
	)
	SELECT coalesce(o.class, f.class), coalesce(o.vintage, f.vintage), f.month, NULL::date,
		coalesce(sum(f.points * coalesce(o.share, 1)) FILTER (WHERE f.issues), 0),
		coalesce(-sum(f.points * coalesce(o.share, 1)) FILTER (WHERE f.redeems), 0),
		coalesce(sum(f.points * coalesce(o.share, 1)) FILTER (WHERE f.expires), 0), 0::bigint, 0::numeric
	FROM flow f
	LEFT JOIN origin o ON o.member_id = f.member_id AND o.lot_seq = f.lot_seq
	GROUP BY 1, 2, 3
	UNION ALL
	SELECT p.class, p.vintage, NULL, p.expires_month, coalesce(sum(p.issued), 0), coalesce(sum(p.redeemed), 0), 0,
		count(*) FILTER (WHERE p.points <> 0), sum(p.points)
	FROM part p GROUP BY p.class, p.vintage, p.expires_month
	UNION ALL
	SELECT 'debt', NULL, NULL, NULL, 0, 0, 0, count(*), -sum(d.points)
	FROM (SELECT o.member_id, coalesce((SELECT min(n.owed) FROM netted n WHERE n.member_id = o.member_id), o.points) AS points FROM owing o) d
	WHERE d.points > 0
	HAVING count(*) > 0;
END
$$;
COMMENT ON FUNCTION loyalty.lot_cell(integer, bigint[], timestamptz) IS
'point_cell() of some members, whatever happened to their lots';

-- Most lots are plain: earned, drawn from before they expire, of a member who has
-- never owed anything and has nobody else's points.  What became of plain lots
-- are sums over entries and over draws, so no lot is put together for it.
-- Members with other lots are left to lot_cell().
CREATE FUNCTION loyalty.plain_cell(program_id integer, as_of timestamptz)
RETURNS TABLE (class text, vintage date, month date, expires_month date, issued numeric, redeemed numeric, expired numeric,
	lots bigint, points numeric, others bigint[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET enable_nestloop = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := program_id;
	v_zone text := (SELECT p.time_zone FROM loyalty.program p WHERE p.program_id = v_program);
	v_today date := (as_of AT TIME ZONE v_zone)::date;
BEGIN
	RETURN QUERY
	WITH draw AS MATERIALIZED (
		SELECT a.member_id, a.lot_seq, l.class, date_trunc('month', l.earned_at AT TIME ZONE v_zone)::date AS vintage, l.expires_on,
			date_trunc('month', e.occurred_at AT TIME ZONE v_zone)::date AS month, e.kind IN ('redeem', 'redeem_cancel') AS redeems,
			l.points AS made, a.points,
			l.earned_at > as_of
				OR (l.expires_on < v_today AND greatest(l.earned_at, e.occurred_at) >= (l.expires_on + 1)::timestamp AT TIME ZONE v_zone)
				-- given back later: only such a lot can be below nothing in between
				OR e.occurred_at > as_of AS is_other
		FROM loyalty.allocation a
		JOIN loyalty.entry e ON e.member_id = a.member_id AND e.seq = a.entry_seq
		JOIN loyalty.lot_made() l ON l.member_id = a.member_id AND l.lot_seq = a.lot_seq
		WHERE l.program_id = v_program AND e.kind <> 'expire' AND (e.occurred_at <= as_of OR a.points > 0)
	), owing AS MATERIALIZED (
		SELECT DISTINCT e.member_id
		FROM loyalty.member m
		JOIN loyalty.entry e ON e.member_id = m.member_id
		WHERE m.program_id = v_program AND e.expires_on IS NOT NULL AND (e.points < 0 OR e.kind IN ('transfer', 'redeem', 'redeem_cancel'))
	), other AS MATERIALIZED (
		SELECT o.member_id FROM owing o UNION SELECT d.member_id FROM draw d WHERE d.is_other
	), made AS MATERIALIZED (
		-- grouped by what the planner expects few values of: the sums are hashed, and each worker has its own
		SELECT l.is_grant, l.vintage, l.expires_on, count(*) AS n, count(*) FILTER (WHERE l.points <> 0) AS lots, sum(l.points) AS points
		FROM (SELECT x.class = 'grant' AS is_grant, date_trunc('month', x.earned_at AT TIME ZONE v_zone)::date AS vintage, x.expires_on, x.points
				FROM loyalty.lot_made() x WHERE x.program_id = v_program AND x.earned_at <= as_of OFFSET 0) l
		GROUP BY l.is_grant, l.vintage, l.expires_on
	), cell AS (
		-- what was issued, and would be there if nobody had drawn from it: of all members less the others
		SELECT CASE WHEN m.is_grant THEN 'grant' ELSE 'sale' END AS class, m.vintage, NULL::date AS month, m.expires_on,
			false AS redeems, sum(m.lots) AS lots, sum(m.points) AS points
		FROM (SELECT m.is_grant, m.vintage, m.expires_on, m.n, m.lots, m.points FROM made m
				UNION ALL
				SELECT l.class = 'grant', date_trunc('month', l.earned_at AT TIME ZONE v_zone)::date, l.expires_on,
					-1, -(l.points <> 0)::integer, -l.points
				FROM other o
				CROSS JOIN LATERAL (SELECT * FROM loyalty.lot_made() x
					WHERE x.member_id = o.member_id AND x.earned_at <= as_of OFFSET 0) l) m
		GROUP BY m.is_grant, m.vintage, m.expires_on
		HAVING sum(m.n) > 0
		UNION ALL
		SELECT d.class, d.vintage, d.month, d.expires_on, d.redeems, 0, sum(d.points)
		FROM draw d
		WHERE NOT EXISTS (SELECT FROM other o WHERE o.member_id = d.member_id)
		GROUP BY 1, 2, 3, 4, 5
		UNION ALL
		-- lots that are used up
		SELECT l.class, l.vintage, NULL, l.expires_on, NULL, -count(*), NULL
		FROM (SELECT min(d.class) AS class, min(d.vintage) AS vintage, min(d.expires_on) AS expires_on
				FROM draw d
				WHERE d.expires_on >= v_today AND NOT EXISTS (SELECT FROM other o WHERE o.member_id = d.member_id)
				GROUP BY d.member_id, d.lot_seq
				HAVING sum(d.points) = -min(d.made)) l
		GROUP BY 1, 2, 4
	)
	SELECT c.class, c.vintage, coalesce(c.month, c.vintage), NULL::date, coalesce(sum(c.points) FILTER (WHERE NOT c.redeems), 0),
		coalesce(-sum(c.points) FILTER (WHERE c.redeems), 0), 0::numeric, 0::bigint, 0::numeric, NULL::bigint[]
	FROM cell c WHERE c.redeems IS NOT NULL GROUP BY 1, 2, 3
	UNION ALL
	SELECT c.class, c.vintage, greatest(date_trunc('month', (c.expires_on + 1)::timestamp)::date, c.vintage), NULL, 0, 0, sum(c.points), 0, 0, NULL
	FROM cell c WHERE c.expires_on < v_today GROUP BY 1, 2, 3
	UNION ALL
	SELECT c.class, c.vintage, NULL, date_trunc('month', nullif(c.expires_on, 'infinity')::timestamp)::date, 0, 0, 0,
		sum(c.lots)::bigint, coalesce(sum(c.points), 0), NULL
	FROM cell c WHERE c.expires_on >= v_today GROUP BY 1, 2, 4
	UNION ALL
	SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, array_agg(o.member_id ORDER BY o.member_id) FROM other o;
END
$$;
COMMENT ON FUNCTION loyalty.plain_cell(integer, timestamptz) IS
'internal: point_cell() of members all of whose lots are plain, and a row that names the others';

CREATE FUNCTION loyalty.point_cell(program_id integer, as_of timestamptz)
RETURNS TABLE (class text, vintage date, month date, expires_month date, issued numeric, redeemed numeric, expired numeric,
	lots bigint, points numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	WITH cell AS MATERIALIZED (SELECT c.* FROM loyalty.plain_cell($1, $2) c)
	SELECT c.class, c.vintage, c.month, c.expires_month, c.issued, c.redeemed, c.expired, c.lots, c.points
	FROM cell c WHERE c.class IS NOT NULL
	UNION ALL
	SELECT x.* FROM cell c CROSS JOIN LATERAL loyalty.lot_cell($1, c.others, $2) x WHERE c.others IS NOT NULL
$$;
COMMENT ON FUNCTION loyalty.point_cell(integer, timestamptz) IS
'points of a programme by class and month in which they were earned, in rows of two kinds.  With a month: what was issued, redeemed and expired in it, see point_flow().  Without one: what is left at as_of by the month in which it expires (lots, points; a member''s debt takes from what he has), what members owe (class debt, lots being members), and what was issued and redeemed of lots that are points here and debt in the other rows';

-- issued: all that is not redeeming or expiry, so also what returns take back.
-- Months, because all later figures are for months; those of the beginning of
-- a programme do not depend on how far one looks.
CREATE FUNCTION loyalty.point_flow(program_id integer, as_of timestamptz)
RETURNS TABLE (class text, vintage date, month date, issued numeric, redeemed numeric, expired numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT c.class, c.vintage, c.month, sum(c.issued), sum(c.redeemed), sum(c.expired)
	FROM loyalty.point_cell($1, $2) c
	WHERE c.month IS NOT NULL
	GROUP BY c.class, c.vintage, c.month
$$;
COMMENT ON FUNCTION loyalty.point_flow(integer, timestamptz) IS
'points of a programme by class (see lot_class()), month in which they were earned, and month in which they were issued (less what was taken back), redeemed (less what was given back) or expired; issued - redeemed - expired is what is left';
