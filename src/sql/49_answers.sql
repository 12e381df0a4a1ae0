-- Answers for chat and portal: rows, each with a sentence, and all of it as
-- one text.

CREATE FUNCTION loyalty.points_text(points numeric) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format(CASE WHEN points = 1 THEN '%s point' ELSE '%s points' END, trim_scale(points))
$$;
COMMENT ON FUNCTION loyalty.points_text(numeric) IS 'internal: a number of points in words';

CREATE FUNCTION loyalty.answer_points(program text, customer text, at timestamptz DEFAULT NULL,
	OUT item text, OUT points numeric(18,2), OUT sentence text)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT v.item, v.points, v.sentence
	FROM loyalty.points($1, $2, $3) p
	CROSS JOIN LATERAL (VALUES
		(1, 'available', p.available, format('You can spend %s.', loyalty.points_text(p.available))),
		(2, 'balance', p.balance, format('Your balance is %s.', loyalty.points_text(p.balance))),
		(3, 'pending', p.pending, format('%s points are yours soon: they cannot be spent yet.', trim_scale(p.pending))),
		(4, 'held', p.held, format('%s points are reserved for an open order.', trim_scale(p.held))),
		(5, 'debt', p.debt, format('%s points are owed for goods that were returned.', trim_scale(p.debt)))
	) v (n, item, points, sentence)
	WHERE v.n <= 2 OR v.points <> 0
	ORDER BY v.n
$$;
COMMENT ON FUNCTION loyalty.answer_points(text, text, timestamptz) IS 'how many points do I have?';

CREATE FUNCTION loyalty.answer_rewards(program text, customer text, at timestamptz DEFAULT NULL,
	OUT item text, OUT points numeric(18,2), OUT sentence text)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'money', q.points, format('%s points are worth %s at the till.', trim_scale(q.points), q.value)
	FROM loyalty.redemption_policy p
	CROSS JOIN LATERAL loyalty.quote_redemption($1, $2, at => $3) q
	WHERE p.program_id = loyalty.program_id($1) AND q.points > 0
	UNION ALL
	(SELECT r.reward, r.cost, format('%s: %s.', r.reward, CASE
			WHEN r.is_available THEN loyalty.points_text(r.cost)
			WHEN r.reason = 'points' THEN format('%s, %s are missing', loyalty.points_text(r.cost), trim_scale(r.missing))
			WHEN r.reason = 'tier' THEN format('for a higher tier, %s away', trim_scale(r.missing))
			WHEN r.reason = 'times' THEN format('no more than %s', format(CASE WHEN x.times_period = 'ever' THEN '%s times'
				ELSE '%s times per %s' END, x.times, x.times_period))
			WHEN r.reason IN ('stock', 'budget') THEN 'sold out'
			WHEN r.reason = 'dates' THEN format('not on that day (%s)', concat_ws(', ',
				'from ' || to_char(nullif(x.valid_from, '-infinity'), 'YYYY-MM-DD'),
				'through ' || to_char(nullif(x.valid_to, 'infinity'), 'YYYY-MM-DD')))
			ELSE format('for members for whom this holds: %s', r.condition) END)
	FROM loyalty.rewards_available($1, $2, $3) r
	JOIN loyalty.reward x ON x.program_id = loyalty.program_id($1) AND x.name = r.reward)
$$;
COMMENT ON FUNCTION loyalty.answer_rewards(text, text, timestamptz) IS 'what can I redeem?';

CREATE FUNCTION loyalty.answer_expiry(program text, customer text, at timestamptz DEFAULT NULL,
	OUT expires_on date, OUT points numeric(18,2), OUT sentence text)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT l.expires_on, sum(l.remaining)::numeric(18,2),
		CASE WHEN l.expires_on = 'infinity' THEN format('%s points do not expire.', trim_scale(sum(l.remaining)))
			ELSE format('%s points are valid through %s.', trim_scale(sum(l.remaining)), to_char(l.expires_on, 'YYYY-MM-DD')) END
	FROM loyalty.program p
	JOIN loyalty.open_lot l ON l.member_id = loyalty.member_id($1, $2) AND l.remaining > 0
		AND l.expires_on >= (coalesce($3, now()) AT TIME ZONE p.time_zone)::date
	WHERE p.program_id = loyalty.program_id($1)
	GROUP BY l.expires_on
	ORDER BY l.expires_on
$$;
COMMENT ON FUNCTION loyalty.answer_expiry(text, text, timestamptz) IS 'when do my points expire?';

CREATE FUNCTION loyalty.answer_program(program text,
	OUT item text, OUT sentence text)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	WITH p AS (SELECT * FROM loyalty.program p WHERE p.name = $1),
	policy AS (SELECT r.*, p.currency FROM p JOIN loyalty.redemption_policy r ON r.program_id = p.program_id),
	expiry AS (SELECT e.* FROM p JOIN loyalty.expiry_policy e ON e.program_id = p.program_id)
	SELECT x.item, x.sentence FROM (
		SELECT 1 AS part, r.rule_id::numeric AS n, 'rule' AS item, format('%s: %s.', r.name, CASE r.kind
				WHEN 'amount' THEN format('%s per %s%s', loyalty.points_text(r.points),
					concat_ws(' ', trim_scale(r.per_amount), p.currency), CASE WHEN r.mode = 'step' THEN ' in full' ELSE '' END)
				WHEN 'unit' THEN format('%s per %s', loyalty.points_text(r.points), CASE WHEN r.per_amount = 1 THEN 'piece'
					ELSE format('%s pieces', trim_scale(r.per_amount)) END)
				WHEN 'bonus' THEN format('%s extra', loyalty.points_text(r.points))
				WHEN 'multiplier' THEN format('points times %s', trim_scale(r.factor))
				ELSE 'no points' END) AS sentence
			FROM p JOIN loyalty.rule r ON r.program_id = p.program_id AND r.is_current AND NOT r.growth AND r.kind <> 'cap'
			WHERE (now() AT TIME ZONE p.time_zone)::date BETWEEN r.valid_from AND r.valid_to
				AND NOT EXISTS (SELECT FROM loyalty.rule n WHERE n.program_id = r.program_id AND n.name = r.name AND n.is_current
					AND n.version > r.version AND n.valid_from <= (now() AT TIME ZONE p.time_zone)::date)
		UNION ALL
		SELECT 2, t.threshold, 'tier',
			format('%s from %s: points times %s.', t.name, concat_ws(' ', trim_scale(t.threshold), p.currency), trim_scale(t.rate))
			FROM p JOIN loyalty.tier t ON t.program_id = p.program_id
		UNION ALL
		SELECT 3, 0, 'value', format('One point pays %s.', concat_ws(' ', trim_scale(r.point_value), r.currency)) FROM policy r
		UNION ALL
		SELECT 4, 0, 'least', format('At least %s can be redeemed.', loyalty.points_text(r.redeem_min))
			FROM policy r WHERE r.redeem_min > 0
		UNION ALL
		SELECT 5, 0, 'multiple', format('Points are redeemed in multiples of %s.', trim_scale(r.redeem_multiple))
			FROM policy r WHERE r.redeem_multiple IS NOT NULL
		UNION ALL
		SELECT 6, 0, 'order', format('Orders from %s can be paid with points.', concat_ws(' ', trim_scale(r.min_order), r.currency))
			FROM policy r WHERE r.min_order > 0
		UNION ALL
		SELECT 7, 0, 'part', format('At most %s %% of an order can be paid with points.', trim_scale(r.max_percent))
			FROM policy r WHERE r.max_percent < 100
		UNION ALL
		SELECT 8, 0, 'limit', format('At most %s can be redeemed per %s.', loyalty.points_text(r.limit_points), r.limit_period)
			FROM policy r WHERE r.limit_points IS NOT NULL
		UNION ALL
		SELECT 9, 0, 'usable', format('Points can be spent %s days after they were earned.', e.usable_after)
			FROM expiry e WHERE e.usable_after > 0
		UNION ALL
		SELECT 10, 0, 'expiry', CASE WHEN e.expires = 'never' THEN 'Points do not expire.'
				WHEN e.expires ~ '^every' THEN format('Points expire %s.', e.expires)
				WHEN e.expires ~ '^end' THEN format('Points are valid through the %s.', e.expires)
				ELSE format('Points are valid for %s.', e.expires) END
			FROM expiry e
		UNION ALL
		SELECT 11, 0, 'lapse', format('All points lapse %s after the last activity.', e.lapse_after)
			FROM expiry e WHERE e.lapse_after IS NOT NULL
		UNION ALL
		SELECT 12, 0, 'until', format('All points end on %s.', to_char(e.points_until, 'YYYY-MM-DD'))
			FROM expiry e WHERE e.points_until < 'infinity') x
	ORDER BY x.part, x.n
$$;
COMMENT ON FUNCTION loyalty.answer_program(text) IS 'how does the programme work?';

CREATE FUNCTION loyalty.answer(program text, customer text, question text, at timestamptz DEFAULT NULL) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_text text;
BEGIN
	PERFORM loyalty.program_id(program);
	PERFORM loyalty.check_choice('question', question, ARRAY['points', 'rewards', 'expiry', 'program']);
	CASE question
		WHEN 'points' THEN
			SELECT string_agg(a.sentence, E'\n') INTO v_text FROM loyalty.answer_points(program, customer, at) a;
		WHEN 'rewards' THEN
			SELECT string_agg(a.sentence, E'\n') INTO v_text FROM loyalty.answer_rewards(program, customer, at) a;
			v_text := coalesce(v_text, 'There is nothing to redeem.');
		WHEN 'expiry' THEN
			SELECT string_agg(a.sentence, E'\n') INTO v_text FROM loyalty.answer_expiry(program, customer, at) a;
			v_text := coalesce(v_text, 'You have no points.');
		ELSE
			SELECT string_agg(a.sentence, E'\n') INTO v_text FROM loyalty.answer_program(program) a;
			v_text := coalesce(v_text, 'The programme has no rules yet.');
	END CASE;
	RETURN v_text;
END
$$;
COMMENT ON FUNCTION loyalty.answer(text, text, text, timestamptz) IS
'one readable text for the question points, rewards, expiry or program';
