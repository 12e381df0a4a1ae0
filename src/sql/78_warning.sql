-- Warnings: messages whose cause is that time passes.

-- Most members are concerned by nothing, and their rows say so.  What is asked
-- here is part of what due_warnings() asks.  Rows are read in the order of
-- members, so that batches together read each of them once.
CREATE FUNCTION loyalty.concerned_members(as_of timestamptz, after bigint, batch integer) RETURNS SETOF bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_sort = off SET jit = off
AS $$
	WITH asked AS MATERIALIZED (
		SELECT s.program_id, s.kind, s.cycles, d.day, d.day + (SELECT max(l) FROM unnest(s.lead_days) l) AS through, x.points_until
		FROM loyalty.message_setting s
		JOIN loyalty.program p ON p.program_id = s.program_id
		LEFT JOIN loyalty.expiry_policy x ON x.program_id = s.program_id
		CROSS JOIN LATERAL (SELECT ($1 AT TIME ZONE p.time_zone)::date AS day) d
		WHERE s.is_enabled)
	SELECT DISTINCT u.member_id FROM (
		(SELECT m.member_id FROM loyalty.member m
			JOIN asked a ON a.program_id = m.program_id AND a.kind = 'expiring'
			WHERE m.member_id > $2 AND m.balance + m.debt > 0
				AND least(m.next_expiry, m.lapses_on, a.points_until) <= a.through
				-- all his points are gone already
				AND coalesce(least(m.lapses_on, a.points_until) >= a.day, true)
			ORDER BY m.member_id LIMIT $3)
		UNION ALL
		(SELECT v.member_id FROM loyalty.voucher v
			JOIN loyalty.member m ON m.member_id = v.member_id
			JOIN asked a ON a.program_id = m.program_id AND a.kind = 'voucher_ending'
			WHERE v.member_id > $2 AND NOT v.is_void AND v.valid_to BETWEEN a.day AND a.through
			GROUP BY v.member_id ORDER BY v.member_id LIMIT $3)
		UNION ALL
		(SELECT m.member_id FROM loyalty.member m
			JOIN asked a ON a.program_id = m.program_id AND a.kind = 'tier_at_risk'
			WHERE m.member_id > $2 AND m.tier_at IS NOT NULL
				AND (m.tier_at > $1 OR coalesce(least(m.tier_until, m.tier_review), a.day) <= a.through + 1)
			ORDER BY m.member_id LIMIT $3)
		UNION ALL
		(SELECT y.member_id FROM loyalty.member_summary y
			JOIN asked a ON a.program_id = y.program_id AND a.kind = 'inactive'
			WHERE y.member_id > $2 AND y.purchase_days >= 3
				AND a.day - y.last_sale_on > a.cycles * ((y.last_sale_on - y.first_sale_on)::numeric / nullif(y.purchase_days - 1, 0))
				AND a.day - y.last_sale_on <= 2 * a.cycles * ((y.last_sale_on - y.first_sale_on)::numeric / nullif(y.purchase_days - 1, 0))
			ORDER BY y.member_id LIMIT $3)) u (member_id)
	ORDER BY u.member_id LIMIT $3
$$;
COMMENT ON FUNCTION loyalty.concerned_members(timestamptz, bigint, integer) IS
'internal: the next members, with a number above after, whom a warning may concern at an instant';

CREATE FUNCTION loyalty.due_warnings(members bigint[], as_of timestamptz,
	OUT member_id bigint, OUT program_id integer, OUT kind text, OUT cause text, OUT payload jsonb)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	WITH asked AS (
		SELECT m.member_id, m.program_id, s.kind, s.lead_days, s.cycles,
			($2 AT TIME ZONE p.time_zone)::date AS day, (SELECT max(d) FROM unnest(s.lead_days) d) AS longest,
			-- no lot ends before
			least(m.next_expiry, m.lapses_on, x.points_until) AS expires_on,
			-- no tier is lost before, as it is written down
			CASE WHEN m.tier_at <= $2 THEN least(m.tier_until, m.tier_review) END AS tier_until
		FROM unnest($1) u (member_id)
		JOIN loyalty.member m ON m.member_id = u.member_id AND m.merged_into IS NULL
		JOIN loyalty.program p ON p.program_id = m.program_id
		JOIN loyalty.message_setting s ON s.program_id = m.program_id AND s.is_enabled
		LEFT JOIN loyalty.expiry_policy x ON x.program_id = m.program_id),
	due AS (
		-- only for the shortest time that is left to tell: a late run sends one warning
		SELECT a.member_id, a.program_id, a.kind, format('lot:%s:%s', to_char(l.expires_on, 'YYYY-MM-DD'), t.lead) AS cause,
			jsonb_build_object('points', trim_scale(l.points), 'expires_on', to_char(l.expires_on, 'YYYY-MM-DD'),
				'days_left', l.expires_on - a.day) AS payload
		FROM asked a
		CROSS JOIN LATERAL (SELECT l.expires_on, sum(l.remaining) AS points FROM loyalty.open_lot l
			WHERE l.member_id = a.member_id AND l.remaining > 0 AND l.expires_on BETWEEN a.day AND a.day + a.longest
			GROUP BY l.expires_on) l
		CROSS JOIN LATERAL (SELECT min(d) AS lead FROM unnest(a.lead_days) d WHERE d >= l.expires_on - a.day) t
		WHERE a.kind = 'expiring' AND a.expires_on <= a.day + a.longest
		UNION ALL
		SELECT a.member_id, a.program_id, a.kind, format('voucher:%s:%s', v.issue_key, t.lead),
			jsonb_build_object('code', loyalty.show_code(v.code), 'voucher_kind', v.kind,
				'value', trim_scale(CASE WHEN v.kind = 'value' THEN v.remaining + l.amount ELSE v.value END),
				'valid_to', to_char(v.valid_to, 'YYYY-MM-DD'), 'days_left', v.valid_to - a.day)
			|| coalesce((SELECT jsonb_build_object('reward', r.name) FROM loyalty.reward r WHERE r.reward_id = v.reward_id), '{}')
		FROM asked a
		JOIN loyalty.voucher v ON v.member_id = a.member_id AND NOT v.is_void AND v.valid_to BETWEEN a.day AND a.day + a.longest
			AND v.valid_from <= $2
		-- reservations that have expired count no more
		CROSS JOIN LATERAL (SELECT count(*) AS n, coalesce(sum(u.amount) FILTER (WHERE v.kind = 'value'), 0) AS amount
			FROM loyalty.voucher_use u WHERE u.member_id = v.member_id AND u.code = v.code
				AND u.state = 'reserved' AND u.expires_at <= $2) l
		CROSS JOIN LATERAL (SELECT min(d) AS lead FROM unnest(a.lead_days) d WHERE d >= v.valid_to - a.day) t
		WHERE a.kind = 'voucher_ending'
			AND (v.max_uses IS NULL OR v.uses - l.n < v.max_uses) AND (v.kind <> 'value' OR v.remaining + l.amount > 0)
		UNION ALL
		-- unless what he has bought will keep it: then nothing is at risk
		SELECT a.member_id, a.program_id, a.kind, format('tier:%s:%s', to_char(u.day, 'YYYY-MM-DD'), t.lead),
			jsonb_build_object('tier', n.name, 'tier_until', to_char(u.day, 'YYYY-MM-DD'), 'days_left', u.day - a.day,
				'missing', trim_scale(k.missing))
		FROM asked a
		JOIN loyalty.member m ON m.member_id = a.member_id
		JOIN loyalty.program p ON p.program_id = a.program_id
		CROSS JOIN LATERAL loyalty.standing(a.member_id, $2, false) s
		-- the last day on which it is sure: of its period, or before something leaves a window
		CROSS JOIN LATERAL (SELECT coalesce(s.until, s.review - 1) AS day) u
		CROSS JOIN LATERAL (SELECT min(d) AS lead FROM unnest(a.lead_days) d WHERE d >= u.day - a.day) t
		JOIN loyalty.tier n ON n.tier_id = s.tier_id
		CROSS JOIN LATERAL (SELECT coalesce(max(y.grace_days), 0) AS days FROM loyalty.tier_policy y WHERE y.program_id = a.program_id) g
		CROSS JOIN LATERAL loyalty.standing(a.member_id, (u.day + 1 + g.days)::timestamp AT TIME ZONE p.time_zone, false) f
		LEFT JOIN loyalty.tier h ON h.tier_id = f.tier_id
		LEFT JOIN LATERAL (SELECT min(y.missing) AS missing FROM loyalty.tier_progress(p.name, m.customer, $2) y WHERE y.purpose = 'keep') k ON true
		WHERE a.kind = 'tier_at_risk' AND m.tier_at IS NOT NULL AND coalesce(a.tier_until, a.day) <= a.day + a.longest + 1
			AND u.day BETWEEN a.day AND a.day + a.longest
			AND n.threshold > coalesce(h.threshold, -1)
		UNION ALL
		-- once for each time he stays away, and not for those who have been away for ages
		SELECT a.member_id, a.program_id, a.kind, format('inactive:%s', to_char(y.last_sale_on, 'YYYY-MM-DD')),
			jsonb_build_object('last_purchase', to_char(y.last_sale_on, 'YYYY-MM-DD'), 'days_since', a.day - y.last_sale_on,
				'cycle_days', trim_scale(round(y.cycle_days, 1)))
		FROM asked a
		JOIN (SELECT s.member_id, s.last_sale_on, (s.last_sale_on - s.first_sale_on)::numeric / (s.purchase_days - 1) AS cycle_days
			FROM loyalty.member_summary s WHERE s.purchase_days >= 3) y ON y.member_id = a.member_id
		WHERE a.kind = 'inactive' AND a.day - y.last_sale_on > a.cycles * y.cycle_days
			AND a.day - y.last_sale_on <= 2 * a.cycles * y.cycle_days
			-- the figures are as old as their last refresh
			AND NOT EXISTS (SELECT FROM loyalty.document d WHERE d.member_id = a.member_id
				AND d.occurred_at >= (y.last_sale_on::timestamp AT TIME ZONE 'UTC') - interval '1 day'
				AND d.doc_date > y.last_sale_on AND d.kind = 'sale' AND d.state <> 'withdrawn'))
	SELECT d.member_id, d.program_id, d.kind, d.cause, d.payload FROM due d
	WHERE NOT EXISTS (SELECT FROM loyalty.message x
		WHERE x.member_id = d.member_id AND x.kind = d.kind AND x.cause = d.cause)
$$;
COMMENT ON FUNCTION loyalty.due_warnings(bigint[], timestamptz) IS
'internal: warnings that are due to members at an instant and were not given yet';

CREATE FUNCTION loyalty.announce(program_id integer, kind text) RETURNS void
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_announce_sql';
COMMENT ON FUNCTION loyalty.announce(integer, text) IS
'internal: lets the commit send NOTIFY loyalty_message for a programme, unless that kind is switched off or does not notify';

CREATE FUNCTION loyalty.warn_members(as_of timestamptz DEFAULT NULL, after bigint DEFAULT 0, batch integer DEFAULT 1000,
	OUT last bigint, OUT done bigint)
RETURNS record
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_now timestamptz := coalesce(as_of, clock_timestamp());
	v_after bigint := coalesce(after, 0);
	v_batch integer := coalesce(batch, 1000);
	v_members bigint[];
BEGIN
	PERFORM loyalty.check_step(v_now, v_batch);
	done := 0;
	SELECT array_agg(x.member_id ORDER BY x.member_id), max(x.member_id) INTO v_members, last
		FROM loyalty.concerned_members(v_now, v_after, v_batch) x (member_id);
	v_members := ARRAY(SELECT DISTINCT w.member_id FROM loyalty.due_warnings(v_members, v_now) w);
	IF cardinality(v_members) = 0 THEN
		RETURN;
	END IF;
	-- what is told is what holds under the lock
	PERFORM FROM loyalty.member m WHERE m.member_id = ANY (v_members) ORDER BY m.member_id FOR NO KEY UPDATE;
	WITH written AS (
		INSERT INTO loyalty.message (member_id, kind, cause, program_id, payload, occurred_at, recorded_at, state, visible_at, attempts)
			SELECT w.member_id, w.kind, w.cause, w.program_id, w.payload, v_now, t.now, 'new', t.now, 0
			FROM loyalty.due_warnings(v_members, v_now) w
			CROSS JOIN (SELECT clock_timestamp() AS now) t
			ORDER BY w.member_id
			ON CONFLICT ON CONSTRAINT message_pkey DO NOTHING
			RETURNING program_id, kind),
	announced AS (
		SELECT count(*) AS n, loyalty.announce(w.program_id, w.kind) FROM written w GROUP BY w.program_id, w.kind)
	SELECT coalesce(sum(a.n), 0) INTO done FROM announced a;
END
$$;
COMMENT ON FUNCTION loyalty.warn_members(timestamptz, bigint, integer) IS
'upkeep: writes the warnings that are due (expiring, voucher_ending, tier_at_risk, inactive) to the next batch members whom one may concern, with a number above after; last is the last of these, NULL if there are no more, done the number of messages';
