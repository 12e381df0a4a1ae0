-- How points are valued and posted, and the months that are closed; points by
-- the month in which they were earned (their vintage): what became of them, and
-- how many of them are redeemed in the end.

CREATE TABLE loyalty.revenue_policy (
	program_id      integer NOT NULL,
	valid_from      date NOT NULL,
	standalone_price numeric NOT NULL CHECK (standalone_price > 0 AND standalone_price < 'Infinity'),
	expected_redemption numeric CHECK (expected_redemption BETWEEN 0 AND 1),
	revenue_account text NOT NULL,
	contract_liability_account text NOT NULL,
	provision_account text NOT NULL,
	expense_account text NOT NULL,
	cost_centre     text,
	PRIMARY KEY (program_id, valid_from)
);
COMMENT ON TABLE loyalty.revenue_policy IS 'how points are valued and posted to the general ledger; the row in force at the end of a month is the month''s';
COMMENT ON COLUMN loyalty.revenue_policy.program_id IS 'programme';
COMMENT ON COLUMN loyalty.revenue_policy.valid_from IS 'first day of the first month it is for; -infinity: from the beginning';
COMMENT ON COLUMN loyalty.revenue_policy.standalone_price IS 'money that a point is worth which is redeemed, in the programme''s currency';
COMMENT ON COLUMN loyalty.revenue_policy.expected_redemption IS 'part of the points that is redeemed in the end, 0 to 1; NULL: estimated, see expected_redemption()';
COMMENT ON COLUMN loyalty.revenue_policy.revenue_account IS 'account that the ERP posts members'' sales to';
COMMENT ON COLUMN loyalty.revenue_policy.contract_liability_account IS 'account of deferred revenue: points earned by purchases';
COMMENT ON COLUMN loyalty.revenue_policy.provision_account IS 'account of what points given otherwise will cost';
COMMENT ON COLUMN loyalty.revenue_policy.expense_account IS 'account of the expense for points given otherwise';
COMMENT ON COLUMN loyalty.revenue_policy.cost_centre IS 'cost centre of that expense';

CREATE TABLE loyalty.revenue_period (
	program_id      integer NOT NULL,
	period          date NOT NULL,
	closed_at       timestamptz NOT NULL,
	closed_by       text NOT NULL,
	sales           numeric(18,2) NOT NULL,
	points_issued   numeric(18,2) NOT NULL,
	points_redeemed numeric(18,2) NOT NULL,
	points_expired  numeric(18,2) NOT NULL,
	points_owed     numeric(18,2) NOT NULL,
	points_expected numeric(18,2) NOT NULL,
	expected_share  numeric(9,8) NOT NULL,
	allocated       numeric(18,2) NOT NULL,
	returned        numeric(18,2) NOT NULL,
	released        numeric(18,2) NOT NULL,
	granted         numeric(18,2) NOT NULL,
	used            numeric(18,2) NOT NULL,
	PRIMARY KEY (program_id, period)
);
COMMENT ON TABLE loyalty.revenue_period IS 'months that close_period() has closed: what revenue_state() said then, from the beginning through the month';
COMMENT ON COLUMN loyalty.revenue_period.program_id IS 'programme';
COMMENT ON COLUMN loyalty.revenue_period.period IS 'first day of the month';
COMMENT ON COLUMN loyalty.revenue_period.closed_at IS 'when it was closed';
COMMENT ON COLUMN loyalty.revenue_period.closed_by IS 'role that closed it';
COMMENT ON COLUMN loyalty.revenue_period.sales IS 'sales less returns, in money';
COMMENT ON COLUMN loyalty.revenue_period.points_issued IS 'points earned and given, less what was taken back';
COMMENT ON COLUMN loyalty.revenue_period.points_redeemed IS 'points redeemed, less what was given back';
COMMENT ON COLUMN loyalty.revenue_period.points_expired IS 'points that expired';
COMMENT ON COLUMN loyalty.revenue_period.points_owed IS 'points that lots owe at the end of the month';
COMMENT ON COLUMN loyalty.revenue_period.points_expected IS 'points that are redeemed in the end, those redeemed already among them';
COMMENT ON COLUMN loyalty.revenue_period.expected_share IS 'expected redemption at the end of the month, 0 to 1';
COMMENT ON COLUMN loyalty.revenue_period.allocated IS 'part of the sales that was deferred';
COMMENT ON COLUMN loyalty.revenue_period.returned IS 'part of it that went back because points were taken back';
COMMENT ON COLUMN loyalty.revenue_period.released IS 'part of it that became revenue';
COMMENT ON COLUMN loyalty.revenue_period.granted IS 'expense for points given otherwise';
COMMENT ON COLUMN loyalty.revenue_period.used IS 'part of that expense whose points were redeemed';

CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.revenue_period
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard('append-only');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.revenue_period
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard('append-only');
ALTER TABLE loyalty.revenue_period ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.revenue_period ENABLE ALWAYS TRIGGER guard_truncate;

CREATE FUNCTION loyalty.set_revenue_policy(
	program text, standalone_price numeric, expected_redemption numeric DEFAULT NULL,
	revenue_account text DEFAULT 'revenue', contract_liability_account text DEFAULT 'contract liability',
	expense_account text DEFAULT 'loyalty expense', cost_centre text DEFAULT NULL,
	provision_account text DEFAULT NULL, valid_from date DEFAULT '-infinity')
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_closed date := (SELECT max(r.period) FROM loyalty.revenue_period r WHERE r.program_id = v_program);
	v_account text;
BEGIN
	PERFORM loyalty.check_number('standalone_price', standalone_price, true);
	IF standalone_price >= 1000000000 OR standalone_price <> round(standalone_price, 6) THEN
		RAISE EXCEPTION 'invalid value for standalone_price: %', standalone_price
			USING ERRCODE = '22023', HINT = 'It must be below 1000000000, with at most six decimals.';
	END IF;
	PERFORM loyalty.check_share('expected_redemption', expected_redemption);
	FOREACH v_account IN ARRAY ARRAY[revenue_account, contract_liability_account, expense_account] LOOP
		IF v_account IS NULL OR btrim(v_account) = '' THEN
			RAISE EXCEPTION 'revenue, contract liability and expense need an account each'
				USING ERRCODE = '22023', HINT = 'Leave one out for its default.';
		END IF;
	END LOOP;
	IF valid_from IS NULL OR valid_from = 'infinity' OR extract(day FROM valid_from) <> 1 AND valid_from > '-infinity' THEN
		RAISE EXCEPTION 'invalid value for valid_from: %', coalesce(valid_from::text, 'NULL')
			USING ERRCODE = '22023', HINT = 'It can be -infinity or the first day of a month.';
	END IF;
	IF valid_from <= v_closed THEN
		RAISE EXCEPTION 'period % of programme "%" is closed', to_char(v_closed, 'YYYY-MM'), program
			USING ERRCODE = 'LY003', HINT = format('Use valid_from => %L or later.', to_char(v_closed + interval '1 month', 'YYYY-MM-DD'));
	END IF;
	INSERT INTO loyalty.revenue_policy AS p (program_id, valid_from, standalone_price, expected_redemption, revenue_account,
			contract_liability_account, provision_account, expense_account, cost_centre)
		VALUES (v_program, valid_from, standalone_price, expected_redemption, revenue_account,
			contract_liability_account, coalesce(provision_account, contract_liability_account), expense_account, cost_centre)
		ON CONFLICT ON CONSTRAINT revenue_policy_pkey DO UPDATE SET standalone_price = excluded.standalone_price,
			expected_redemption = excluded.expected_redemption, revenue_account = excluded.revenue_account,
			contract_liability_account = excluded.contract_liability_account, provision_account = excluded.provision_account,
			expense_account = excluded.expense_account, cost_centre = excluded.cost_centre;
END
$$;
COMMENT ON FUNCTION loyalty.set_revenue_policy(text, numeric, numeric, text, text, text, text, text, date) IS
'sets how points of a programme are valued and posted, for months from valid_from on (-infinity: all that no later row is for); a month that is closed keeps its figures; see the columns of loyalty.revenue_policy';

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
			e.expires_on IS NOT NULL OR l.points <= 0 OR l.earned_at > as_of
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

CREATE FUNCTION loyalty.months_between(month date, later date) RETURNS integer
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT ((pg_catalog.date_part('year', $2) - pg_catalog.date_part('year', $1)) * 12
		+ pg_catalog.date_part('month', $2) - pg_catalog.date_part('month', $1))::integer;
END;
COMMENT ON FUNCTION loyalty.months_between(date, date) IS 'months from the month of one day to that of another';

-- Of the points that are there at an age, a part is redeemed, a part expires
-- and the rest grows a month older: what all vintages did at that age, summed,
-- says how large the parts are.  Points older than any vintage has been yet go
-- on as in the last twelve months of age.  So the estimate needs a year of
-- history, it never counts on breakage that has not been seen, and it is 1
-- until then.
CREATE FUNCTION loyalty.redemption_share(held numeric[], redeemed numeric[], expired numeric[]) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_left numeric := 1;		-- part that has neither been redeemed nor expired
	v_share numeric := 0;
	v_redeemed numeric;
	v_expired numeric;
	v_last_held numeric := 0;
	v_last_redeemed numeric := 0;
	v_last_expired numeric := 0;
	v_ages integer := coalesce(cardinality(held), 0);
BEGIN
	IF v_ages < 12 OR held[1] <= 0 THEN
		RETURN 1;
	END IF;
	-- nothing is ever that old: that tells nothing
	WHILE held[v_ages] <= 0 LOOP
		v_ages := v_ages - 1;
	END LOOP;
	FOR i IN 1 .. v_ages LOOP
		v_redeemed := CASE WHEN held[i] > 0 THEN least(greatest(redeemed[i] / held[i], 0), 1) ELSE 0 END;
		v_expired := CASE WHEN held[i] > 0 THEN least(greatest(expired[i] / held[i], 0), 1 - v_redeemed) ELSE 0 END;
		v_share := v_share + v_left * v_redeemed;
		v_left := v_left * (1 - v_redeemed - v_expired);
		IF i > v_ages - 12 THEN
			v_last_held := v_last_held + greatest(held[i], 0);
			v_last_redeemed := v_last_redeemed + greatest(redeemed[i], 0);
			v_last_expired := v_last_expired + greatest(expired[i], 0);
		END IF;
	END LOOP;
	IF v_last_redeemed > 0 THEN
		v_share := v_share + v_left * v_last_redeemed / (v_last_redeemed + v_last_expired);
	END IF;
	RETURN round(least(v_share, 1), 8);
END
$$;
COMMENT ON FUNCTION loyalty.redemption_share(numeric[], numeric[], numeric[]) IS
'part of points that is redeemed in the end, given for every age in months what was held, redeemed and expired at it; 1 with less than 12 ages';

CREATE FUNCTION loyalty.open_month(program_id integer, as_of timestamptz) RETURNS date
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT date_trunc('month', ($2 + interval '1 microsecond') AT TIME ZONE p.time_zone)::date FROM loyalty.program p WHERE p.program_id = $1
$$;
COMMENT ON FUNCTION loyalty.open_month(integer, timestamptz) IS 'internal: the first month of a programme that is not over at an instant';

-- From rows of point_flow(), column by column; month is the first that is not over.
CREATE FUNCTION loyalty.flow_curve(vintages date[], months date[], issued numeric[], redeemed numeric[], expired numeric[], month date)
RETURNS TABLE (age integer, vintages bigint, held numeric, redeemed numeric, expired numeric)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
AS $$
	WITH flow AS MATERIALIZED (
		SELECT f.vintage, greatest(loyalty.months_between(f.vintage, f.month), 0) AS age,
			sum(f.issued) AS issued, sum(f.redeemed) AS redeemed, sum(f.expired) AS expired
		FROM unnest($1, $2, $3, $4, $5) f (vintage, month, issued, redeemed, expired)
		WHERE f.vintage < $6
		GROUP BY 1, 2
	), cell AS (
		SELECT v.vintage, k.age, coalesce(f.issued, 0) AS issued, coalesce(f.redeemed, 0) AS redeemed,
			coalesce(f.expired, 0) AS expired
		FROM (SELECT DISTINCT f.vintage FROM flow f) v
		CROSS JOIN LATERAL generate_series(0, loyalty.months_between(v.vintage, $6) - 1) k (age)
		LEFT JOIN flow f ON f.vintage = v.vintage AND f.age = k.age
	)
	SELECT c.age, count(*), round(sum(c.held), 2), round(sum(c.redeemed), 2), round(sum(c.expired), 2)
	FROM (SELECT g.age, g.redeemed, g.expired, g.redeemed + g.expired
				+ sum(g.issued - g.redeemed - g.expired) OVER (PARTITION BY g.vintage ORDER BY g.age) AS held
			FROM cell g) c
	GROUP BY c.age
$$;
COMMENT ON FUNCTION loyalty.flow_curve(date[], date[], numeric[], numeric[], numeric[], date) IS
'internal: the redemption curve of vintages before a month, from what was issued, redeemed and expired of them month by month';

CREATE FUNCTION loyalty.redemption_curve(program text, as_of timestamptz DEFAULT NULL,
	OUT age integer, OUT vintages bigint, OUT held numeric(18,2), OUT redeemed numeric(18,2), OUT expired numeric(18,2),
	OUT redeemed_share numeric(9,8), OUT expired_share numeric(9,8))
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := loyalty.program_id(program);
	v_as_of timestamptz := coalesce(as_of, now());
BEGIN
	RETURN QUERY
	SELECT a.age, a.vintages, a.held::numeric(18,2), a.redeemed::numeric(18,2), a.expired::numeric(18,2),
		round(least(greatest(a.redeemed / nullif(greatest(a.held, 0), 0), 0), 1), 8)::numeric(9,8),
		round(least(greatest(a.expired / nullif(greatest(a.held, 0), 0), 0), 1), 8)::numeric(9,8)
	FROM (SELECT array_agg(f.vintage) AS vintages, array_agg(f.month) AS months, array_agg(f.issued) AS issued,
				array_agg(f.redeemed) AS redeemed, array_agg(f.expired) AS expired
			FROM loyalty.point_flow(v_program, v_as_of) f WHERE f.class <> 'debt') f
	CROSS JOIN LATERAL loyalty.flow_curve(f.vintages, f.months, f.issued, f.redeemed, f.expired,
		loyalty.open_month(v_program, v_as_of)) a
	ORDER BY a.age;
END
$$;
COMMENT ON FUNCTION loyalty.redemption_curve(text, timestamptz) IS
'what members did with points by their age in whole months that were over at as_of: held (at the beginning, or issued then), redeemed and expired, of all vintages that have been that old';

CREATE FUNCTION loyalty.expected_redemption(program text, as_of timestamptz DEFAULT NULL) RETURNS numeric
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT loyalty.redemption_share(array_agg(c.held ORDER BY c.age), array_agg(c.redeemed ORDER BY c.age), array_agg(c.expired ORDER BY c.age))
	FROM loyalty.redemption_curve($1, $2) c
$$;
COMMENT ON FUNCTION loyalty.expected_redemption(text, timestamptz) IS
'estimated part of points that is redeemed in the end, 0 to 1: the redemption curve, carried on beyond its end as in its last twelve months; 1 with less than 12 months of history';
