-- Rows for mail and text message tools.  Who a member is comes from the ERP by
-- the customer's key; only roles that may read loyalty.member get that.

CREATE FUNCTION loyalty.export_segment(program text, segment text DEFAULT NULL, tier text DEFAULT NULL,
	group_name text DEFAULT NULL, risk text DEFAULT NULL, min_balance numeric DEFAULT NULL, expiring_within_days integer DEFAULT NULL,
	has_voucher boolean DEFAULT NULL, voucher_within_days integer DEFAULT NULL,
	OUT customer text, OUT member_id bigint, OUT tier_name text, OUT segment_name text, OUT rfm_code integer, OUT risk_name text,
	OUT balance numeric(18,2), OUT expiring_points numeric(18,2), OUT next_expiry_on date, OUT last_sale_on date,
	OUT vouchers bigint, OUT voucher_value numeric(18,2), OUT next_voucher_expiry_on date)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_today date := loyalty.today(v_program);
BEGIN
	IF segment IS NOT NULL AND segment NOT IN ('lapsed', 'returns_only', 'prospect') AND NOT EXISTS (
			SELECT FROM loyalty.segment s WHERE s.segment = $2 AND s.model = coalesce(
				(SELECT t.model FROM loyalty.rfm_setting t WHERE t.program_id = v_program), 'grid')) THEN
		RAISE EXCEPTION 'programme "%" has no segment "%"', program, segment
			USING ERRCODE = 'LY001', HINT = 'loyalty.segment_summary lists the segments.';
	END IF;
	IF tier IS NOT NULL THEN
		PERFORM loyalty.tier_id(program, tier);
	END IF;
	IF group_name IS NOT NULL THEN
		PERFORM loyalty.check_choice('group_name', group_name, ARRAY['loyal_core', 'high_potential', 'to_reactivate',
			'high_value_silent', 'price_sensitive', 'category_enthusiast', 'new_product_tryer']);
	END IF;
	IF risk IS NOT NULL THEN
		PERFORM loyalty.check_choice('risk', risk, ARRAY['active', 'due', 'at_risk', 'churning', 'lost', 'unknown']);
	END IF;
	RETURN QUERY
		SELECT m.customer, m.member_id, t.name, coalesce(s.segment, s.population), (s.r * 100 + s.f * 10 + s.m)::integer, k.risk,
			coalesce(b.balance, m.balance), coalesce(e.points, 0)::numeric(18,2), e.expires_on, s.last_sale_on,
			coalesce(w.n, 0), coalesce(w.remaining, 0)::numeric(18,2), w.valid_to
		FROM loyalty.member m
		LEFT JOIN loyalty.tier t ON t.tier_id = loyalty.tier_id_now(m.member_id, m.tier_id, m.tier_review, m.tier_at)
		LEFT JOIN loyalty.member_now b ON b.member_id = m.member_id
		LEFT JOIN loyalty.member_score s ON s.member_id = m.member_id
		LEFT JOIN loyalty.churn_risk k ON k.member_id = m.member_id
		LEFT JOIN LATERAL (SELECT sum(l.remaining) AS points, min(l.expires_on) AS expires_on FROM loyalty.open_lot l
			WHERE l.member_id = m.member_id AND l.remaining > 0 AND l.expires_on >= v_today
				AND l.expires_on < 'infinity' AND ($7 IS NULL OR l.expires_on <= v_today + $7)) e ON true
		-- what he can still use, as vouchers() tells it
		LEFT JOIN (SELECT v.customer, count(*) AS n, sum(v.remaining) AS remaining, min(v.valid_to) AS valid_to
			FROM loyalty.vouchers($1, within_days => $9) v WHERE v.customer IS NOT NULL GROUP BY v.customer) w ON w.customer = m.customer
		WHERE m.program_id = v_program AND m.merged_into IS NULL
			AND ($2 IS NULL OR coalesce(s.segment, s.population) = $2)
			AND ($3 IS NULL OR t.name = $3)
			AND ($4 IS NULL OR EXISTS (SELECT FROM loyalty.member_group g WHERE g.member_id = m.member_id AND g.group_name = $4))
			AND ($5 IS NULL OR k.risk = $5)
			AND ($6 IS NULL OR coalesce(b.balance, m.balance) >= $6)
			AND ($7 IS NULL OR e.points > 0)
			AND ($8 IS NULL OR (w.n IS NOT NULL) = $8)
			AND ($9 IS NULL OR $8 IS NOT NULL OR w.n > 0)
		ORDER BY m.customer, m.member_id;
END
$$;
COMMENT ON FUNCTION loyalty.export_segment(text, text, text, text, text, numeric, integer, boolean, integer) IS
'members for a mailing, by segment (or lapsed, returns_only, prospect), tier, named group, risk, points, points that expire within so many days, and vouchers that are left (has_voucher, and voucher_within_days: that end within so many days); NULL: any.  Runs with the caller''s rights: who may not read loyalty.member gets an error; join the ERP''s customers by the key to address them';
