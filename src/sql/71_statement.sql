-- What lots hold at an instant, and statements over a period.
--
-- Business time counts (entry.occurred_at), whenever something was booked.
-- Points are valid through a day of the programme's time zone and gone with the
-- first instant of the next, whether or not anybody has written that down: so
-- entries of kind expire, which only write it down, are left out, and a lot
-- that has expired counts for no more than what it owes.

CREATE VIEW loyalty.lot_draw WITH (security_invoker = true) AS
	SELECT v.member_id, v.lot_seq, v.entry_seq, v.kind, v.occurred_at, v.points::numeric(18,2) AS points
	FROM (SELECT a.member_id, x.lot_seq, a.entry_seq, e.kind, e.occurred_at, x.points
			FROM loyalty.allocation a
			JOIN loyalty.entry e ON e.member_id = a.member_id AND e.seq = a.entry_seq
			-- what an entry did to other lots is not in the one it made
			CROSS JOIN LATERAL (VALUES (a.lot_seq, a.points, true), (a.entry_seq, -a.points, e.expires_on IS NOT NULL))
				x (lot_seq, points, is_lot)
			WHERE x.is_lot AND e.kind <> 'expire') v;
COMMENT ON VIEW loyalty.lot_draw IS 'what entries did to lots by way of allocations; a lot holds the points of its entry and all of this';
COMMENT ON COLUMN loyalty.lot_draw.member_id IS 'member';
COMMENT ON COLUMN loyalty.lot_draw.lot_seq IS 'lot: the entry that made it';
COMMENT ON COLUMN loyalty.lot_draw.entry_seq IS 'entry that changed it';
COMMENT ON COLUMN loyalty.lot_draw.kind IS 'kind of that entry; what expiry wrote down is left out';
COMMENT ON COLUMN loyalty.lot_draw.occurred_at IS 'business time of that entry';
COMMENT ON COLUMN loyalty.lot_draw.points IS 'change of the lot';

CREATE VIEW loyalty.lot_movement WITH (security_invoker = true) AS
	SELECT e.member_id, e.seq AS lot_seq, e.seq AS entry_seq, e.kind, e.occurred_at, e.points
	FROM loyalty.entry e
	WHERE e.expires_on IS NOT NULL AND e.kind <> 'expire'
	UNION ALL
	SELECT d.member_id, d.lot_seq, d.entry_seq, d.kind, d.occurred_at, d.points FROM loyalty.lot_draw d;
COMMENT ON VIEW loyalty.lot_movement IS 'everything that entries did to lots, but expiry; per member its sum is that of his entries';
COMMENT ON COLUMN loyalty.lot_movement.member_id IS 'member';
COMMENT ON COLUMN loyalty.lot_movement.lot_seq IS 'lot: the entry that made it';
COMMENT ON COLUMN loyalty.lot_movement.entry_seq IS 'entry that changed it';
COMMENT ON COLUMN loyalty.lot_movement.kind IS 'kind of that entry; what expiry wrote down is left out';
COMMENT ON COLUMN loyalty.lot_movement.occurred_at IS 'business time of that entry';
COMMENT ON COLUMN loyalty.lot_movement.points IS 'change of the lot';

-- What an entry that makes a lot gives it for: purchases, or as a gift.
CREATE FUNCTION loyalty.lot_class(kind text, points numeric, header regclass) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN $2 < 0 THEN 'debt'
		WHEN $1 IN ('event', 'adjust') OR ($1 = 'correction' AND $3 = 'loyalty.event'::pg_catalog.regclass) THEN 'grant'
		ELSE 'sale' END;
END;
COMMENT ON FUNCTION loyalty.lot_class(text, numeric, regclass) IS
'what a lot is for finance, by the entry that made it and the table of its source: sale (earned by purchases), grant (given for an event or by hand) or debt';

-- These two are not pinned to a search_path, so that they are inlined and a
-- caller's condition on member_id reaches the indexes; their bodies are parsed
-- here and now.
CREATE FUNCTION loyalty.lot_made()
RETURNS TABLE (member_id bigint, lot_seq bigint, program_id integer, kind text, class text, earned_at timestamptz, points numeric, expires_on date)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT e.member_id, e.seq, m.program_id, e.kind, loyalty.lot_class(e.kind, e.points, s.header), e.occurred_at, e.points,
		-- the day through which it is valid, as things are now
		CASE WHEN e.points < 0 THEN 'infinity'
			ELSE least(coalesce(c.expires_on, e.expires_on), m.lapses_on, p.points_until) END
	FROM loyalty.entry e
	JOIN loyalty.member m ON m.member_id = e.member_id
	LEFT JOIN loyalty.source s ON s.source_id = e.source_id
	LEFT JOIN loyalty.expiry_policy p ON p.program_id = m.program_id
	LEFT JOIN (SELECT DISTINCT ON (c.member_id, c.lot_seq) c.member_id, c.lot_seq, c.expires_on
			FROM loyalty.lot_change c ORDER BY c.member_id, c.lot_seq, c.n DESC) c
		ON c.member_id = e.member_id AND c.lot_seq = e.seq
	WHERE e.expires_on IS NOT NULL AND e.kind <> 'expire';
END;
COMMENT ON FUNCTION loyalty.lot_made() IS
'all lots as the entries made them (kind, points), what each is for finance, and the day through which it is valid as things are now';

-- The formula.  today is the programme's day of as_of.
CREATE FUNCTION loyalty.lot_at(as_of timestamptz, today date)
RETURNS TABLE (member_id bigint, lot_seq bigint, class text, earned_at timestamptz, expires_on date,
	redeemed numeric, points numeric, is_expired boolean, valid numeric)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT l.member_id, l.lot_seq, l.class, l.earned_at, l.expires_on,
		-coalesce(d.redeemed, 0) - CASE WHEN l.kind IN ('redeem', 'redeem_cancel') AND l.earned_at <= $1 THEN l.points ELSE 0 END,
		x.points, l.expires_on < $2,
		CASE WHEN l.expires_on < $2 THEN least(x.points, 0) ELSE x.points END
	FROM loyalty.lot_made() l
	LEFT JOIN (SELECT v.member_id, v.lot_seq, pg_catalog.sum(v.points) AS points,
				pg_catalog.sum(v.points) FILTER (WHERE v.kind IN ('redeem', 'redeem_cancel')) AS redeemed
			FROM loyalty.lot_draw v WHERE v.occurred_at <= $1 GROUP BY v.member_id, v.lot_seq) d
		ON d.member_id = l.member_id AND d.lot_seq = l.lot_seq
	CROSS JOIN LATERAL (SELECT CASE WHEN l.earned_at <= $1 THEN l.points ELSE 0 END + coalesce(d.points, 0) AS points) x;
END;
COMMENT ON FUNCTION loyalty.lot_at(timestamptz, date) IS
'lots of all members at an instant (today: the programme''s day of it): points, what has expired left in, and valid: what counts; the sum of valid is the balance';

-- All of a member's lots are read, by the index: no plan that looks up one at a
-- time, whatever statistics say.
CREATE FUNCTION loyalty.statement_lots(program text, customer text,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	OUT lot bigint, OUT earned_on date, OUT expires_on date, OUT opening numeric(18,2),
	OUT earned numeric(18,2), OUT event numeric(18,2), OUT adjusted numeric(18,2), OUT transferred numeric(18,2),
	OUT spent numeric(18,2), OUT given_back numeric(18,2), OUT expired numeric(18,2), OUT reversed numeric(18,2),
	OUT closing numeric(18,2))
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	v_zone text := (SELECT p.time_zone FROM loyalty.program p WHERE p.program_id = loyalty.program_id(program));
	v_member bigint := loyalty.member_id(program, customer);
	-- a period ends just before the next one begins
	v_since timestamptz := coalesce(since, '-infinity');
	v_until timestamptz := coalesce(until, now() + interval '1 microsecond');
	v_before timestamptz := v_since - interval '1 microsecond';
	v_last timestamptz := v_until - interval '1 microsecond';
BEGIN
	IF v_since > v_until THEN
		RAISE EXCEPTION 'since % is after until %', v_since, v_until
			USING ERRCODE = '22023', HINT = 'A period begins before it ends; leave either out for all of it.';
	END IF;
	RETURN QUERY
	SELECT c.lot_seq, (c.earned_at AT TIME ZONE v_zone)::date, c.expires_on, o.valid::numeric(18,2),
		coalesce(m.earned, 0)::numeric(18,2), coalesce(m.event, 0)::numeric(18,2), coalesce(m.adjusted, 0)::numeric(18,2),
		coalesce(m.transferred, 0)::numeric(18,2), coalesce(m.spent, 0)::numeric(18,2), coalesce(m.given_back, 0)::numeric(18,2),
		(c.valid - o.valid - coalesce(m.points, 0))::numeric(18,2), coalesce(m.reversed, 0)::numeric(18,2), c.valid::numeric(18,2)
	FROM loyalty.lot_at(v_last, (v_last AT TIME ZONE v_zone)::date) c
	JOIN loyalty.lot_at(v_before, (v_before AT TIME ZONE v_zone)::date) o ON o.member_id = c.member_id AND o.lot_seq = c.lot_seq
	LEFT JOIN (SELECT v.lot_seq, sum(v.points) AS points,
				sum(v.points) FILTER (WHERE v.kind = 'earn') AS earned,
				sum(v.points) FILTER (WHERE v.kind = 'event') AS event,
				sum(v.points) FILTER (WHERE v.kind = 'adjust') AS adjusted,
				sum(v.points) FILTER (WHERE v.kind = 'transfer') AS transferred,
				sum(v.points) FILTER (WHERE v.kind = 'redeem') AS spent,
				sum(v.points) FILTER (WHERE v.kind = 'redeem_cancel') AS given_back,
				sum(v.points) FILTER (WHERE v.kind IN ('return', 'correction')) AS reversed
			FROM loyalty.lot_movement v
			WHERE v.member_id = v_member AND v.occurred_at >= v_since AND v.occurred_at < v_until
			GROUP BY v.lot_seq) m ON m.lot_seq = c.lot_seq
	WHERE c.member_id = v_member AND o.member_id = v_member
		AND (o.valid <> 0 OR c.valid <> 0 OR m.lot_seq IS NOT NULL)
	ORDER BY c.expires_on, c.lot_seq;
END
$$;
COMMENT ON FUNCTION loyalty.statement_lots(text, text, timestamptz, timestamptz) IS
'a customer''s lots over a period by business time: opening, what moved by kind of entry, what expired, closing; since is inclusive, until exclusive (NULL: from the beginning, and through now)';

CREATE FUNCTION loyalty.period_statement(program text, customer text,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	OUT opening numeric(18,2),
	OUT earned numeric(18,2), OUT event numeric(18,2), OUT adjusted numeric(18,2), OUT transferred numeric(18,2),
	OUT spent numeric(18,2), OUT given_back numeric(18,2), OUT expired numeric(18,2), OUT reversed numeric(18,2),
	OUT written_off numeric(18,2), OUT closing numeric(18,2))
RETURNS record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	-- what was written off was not taken: it is shown with what should have been
	SELECT coalesce(sum(l.opening), 0), coalesce(sum(l.earned), 0), coalesce(sum(l.event), 0), coalesce(sum(l.adjusted), 0),
		coalesce(sum(l.transferred), 0), coalesce(sum(l.spent), 0) - min(w.redeemed), coalesce(sum(l.given_back), 0),
		coalesce(sum(l.expired), 0), coalesce(sum(l.reversed), 0) - min(w.reversed), min(w.redeemed + w.reversed),
		coalesce(sum(l.closing), 0)
	FROM (SELECT (SELECT coalesce(sum(d.written_off), 0) FROM loyalty.document d
				WHERE d.member_id = m.id AND d.occurred_at >= m.since AND d.occurred_at < m.until) AS reversed,
			(SELECT coalesce(sum(r.written_off), 0) FROM loyalty.redemption r
				WHERE r.member_id = m.id AND r.occurred_at >= m.since AND r.occurred_at < m.until) AS redeemed
		FROM (SELECT loyalty.member_id($1, $2) AS id, coalesce($3, '-infinity') AS since,
				coalesce($4, now() + interval '1 microsecond') AS until) m) w
	LEFT JOIN loyalty.statement_lots($1, $2, $3, $4) l ON true
$$;
COMMENT ON FUNCTION loyalty.period_statement(text, text, timestamptz, timestamptz) IS
'a customer''s points over a period by business time, in one row: opening and all movements add up to closing, which is balance() just before until; reversed are returns and corrections, with what of them was written off in written_off; since is inclusive, until exclusive (NULL: from the beginning, and through now)';

CREATE FUNCTION loyalty.statement_text(program text, customer text,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_zone text := (SELECT p.time_zone FROM loyalty.program p WHERE p.program_id = loyalty.program_id(program));
	v_last timestamptz := coalesce(until - interval '1 microsecond', now());
	v_text text;
BEGIN
	SELECT format('Your points in %s%s%s:', program,
			CASE WHEN isfinite(since) THEN ' from ' || to_char(since AT TIME ZONE v_zone, 'YYYY-MM-DD') ELSE '' END,
			CASE WHEN isfinite(v_last) THEN ' through ' || to_char(v_last AT TIME ZONE v_zone, 'YYYY-MM-DD') ELSE '' END)
		|| E'\n' || string_agg(format('%s: %s', v.label, CASE WHEN v.n BETWEEN 2 AND 10 AND v.points > 0 THEN '+' ELSE '' END || trim_scale(v.points)),
			E'\n' ORDER BY v.n)
	INTO v_text
	FROM loyalty.period_statement(program, customer, since, until) s
	CROSS JOIN LATERAL (VALUES (1, 'Opening balance', s.opening), (2, 'Earned by purchases', s.earned), (3, 'Earned otherwise', s.event),
		(4, 'Adjusted', s.adjusted), (5, 'Transferred', s.transferred), (6, 'Spent', s.spent), (7, 'Given back', s.given_back),
		(8, 'Expired', s.expired), (9, 'Returns and corrections', s.reversed), (10, 'Waived', s.written_off),
		(11, 'Closing balance', s.closing)) v (n, label, points)
	WHERE v.n IN (1, 11) OR v.points <> 0;
	RETURN concat_ws(E'\n', v_text,
		(SELECT string_agg(CASE WHEN x.points < 0 THEN format('%s points are owed.', trim_scale(-x.points))
				WHEN x.expires_on = 'infinity' THEN format('%s points do not expire.', trim_scale(x.points))
				ELSE format('%s points are valid through %s.', trim_scale(x.points), to_char(x.expires_on, 'YYYY-MM-DD')) END,
				E'\n' ORDER BY x.points < 0, x.expires_on)
			FROM (SELECT CASE WHEN l.closing > 0 THEN l.expires_on END AS expires_on, sum(l.closing) AS points
				FROM loyalty.statement_lots(program, customer, since, until) l
				WHERE l.closing <> 0 GROUP BY 1) x));
END
$$;
COMMENT ON FUNCTION loyalty.statement_text(text, text, timestamptz, timestamptz) IS
'period_statement() as one readable text, with what is left by the day it expires';

-- What will expire, seen from any instant: not from the lots that are open now,
-- because what has expired since was open then.  Seen from now it is of all that
-- is booked, as the balance is.
CREATE FUNCTION loyalty.answer_expiry(program text, customer text, at timestamptz DEFAULT NULL,
	OUT expires_on date, OUT points numeric(18,2), OUT sentence text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	v_member bigint := loyalty.member_id(program, customer);
	v_zone text := (SELECT p.time_zone FROM loyalty.program p WHERE p.program_id = loyalty.program_id(program));
BEGIN
	RETURN QUERY
	SELECT l.expires_on, sum(l.valid)::numeric(18,2),
		CASE WHEN l.expires_on = 'infinity' THEN format('%s points do not expire.', trim_scale(sum(l.valid)))
			ELSE format('%s points are valid through %s.', trim_scale(sum(l.valid)), to_char(l.expires_on, 'YYYY-MM-DD')) END
	FROM loyalty.lot_at(coalesce(at, 'infinity'), (coalesce(at, clock_timestamp()) AT TIME ZONE v_zone)::date) l
	WHERE l.member_id = v_member AND l.valid > 0
	GROUP BY l.expires_on
	ORDER BY l.expires_on;
END
$$;
COMMENT ON FUNCTION loyalty.answer_expiry(text, text, timestamptz) IS
'when do my points expire? Seen from now, or from any instant, whether or not anybody has written down since that they expired';

CREATE FUNCTION loyalty.expiring_points(program text, days integer DEFAULT NULL, as_of timestamptz DEFAULT NULL,
	OUT expires_on date, OUT lots bigint, OUT members bigint, OUT points numeric(18,2))
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET enable_nestloop = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := loyalty.program_id(program);
	v_today date := (SELECT (coalesce(as_of, clock_timestamp()) AT TIME ZONE p.time_zone)::date
		FROM loyalty.program p WHERE p.program_id = v_program);
BEGIN
	IF days IS NOT NULL THEN
		PERFORM loyalty.check_range('days', days, 0, 36525);
	END IF;
	RETURN QUERY
	SELECT l.expires_on, count(*), count(DISTINCT l.member_id), sum(l.valid)::numeric(18,2)
	FROM loyalty.member m
	JOIN loyalty.lot_at(coalesce(as_of, 'infinity'), v_today) l ON l.member_id = m.member_id
	WHERE m.program_id = v_program AND l.valid > 0 AND l.expires_on < 'infinity'
		AND (days IS NULL OR l.expires_on <= v_today + days)
	GROUP BY l.expires_on
	ORDER BY l.expires_on;
END
$$;
COMMENT ON FUNCTION loyalty.expiring_points(text, integer, timestamptz) IS
'points of all members that expire, by the last day on which they are valid: those of the next so many days (0: today''s, NULL: all), seen from now or from any instant; what members owe is not taken off';
