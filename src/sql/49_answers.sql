-- Answers for chat and portal: rows, each with a sentence, and all of it as
-- one text.

CREATE FUNCTION loyalty.answer_points(program text, customer text, at timestamptz DEFAULT NULL,
	OUT item text, OUT points numeric(18,2), OUT sentence text)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT v.item, v.points, v.sentence
	FROM loyalty.points($1, $2, $3) p
	CROSS JOIN LATERAL (VALUES
		(1, 'available', p.available, format('You can spend %s points.', trim_scale(p.available))),
		(2, 'balance', p.balance, format('Your balance is %s points.', trim_scale(p.balance))),
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
	(SELECT r.reward, r.cost, CASE
			WHEN r.is_available THEN format('%s: %s points.', r.reward, trim_scale(r.cost))
			WHEN r.reason = 'points' THEN format('%s: %s points, %s are missing.', r.reward, trim_scale(r.cost), trim_scale(r.missing))
			WHEN r.reason = 'tier' THEN format('%s: for a higher tier, %s away.', r.reward, trim_scale(r.missing))
			ELSE format('%s: not available now.', r.reward) END
	FROM loyalty.rewards_available($1, $2, $3) r)
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
	SELECT x.item, x.sentence FROM (
		SELECT 1 AS part, r.rule_id::numeric AS n, 'rule' AS item,
			format('%s: %s points per %s%s.', r.name, trim_scale(r.points), concat_ws(' ', trim_scale(r.per_amount), p.currency),
				CASE WHEN r.mode = 'step' THEN ' in full' ELSE '' END) AS sentence
			FROM loyalty.program p JOIN loyalty.rule r ON r.program_id = p.program_id AND r.is_current
			WHERE p.name = $1 AND (now() AT TIME ZONE p.time_zone)::date BETWEEN r.valid_from AND r.valid_to
				AND NOT EXISTS (SELECT FROM loyalty.rule n WHERE n.program_id = r.program_id AND n.name = r.name AND n.is_current
					AND n.version > r.version AND n.valid_from <= (now() AT TIME ZONE p.time_zone)::date)
		UNION ALL
		SELECT 2, t.threshold, 'tier',
			format('%s from %s: points times %s.', t.name, concat_ws(' ', trim_scale(t.threshold), p.currency), trim_scale(t.rate))
			FROM loyalty.program p JOIN loyalty.tier t ON t.program_id = p.program_id WHERE p.name = $1
		UNION ALL
		SELECT 3, 0, 'value', format('One point pays %s.', concat_ws(' ', trim_scale(r.point_value), p.currency))
			FROM loyalty.program p JOIN loyalty.redemption_policy r ON r.program_id = p.program_id WHERE p.name = $1
		UNION ALL
		SELECT 4, 0, 'least', format('At least %s points can be redeemed.', trim_scale(r.redeem_min))
			FROM loyalty.program p JOIN loyalty.redemption_policy r ON r.program_id = p.program_id
			WHERE p.name = $1 AND r.redeem_min > 0
		UNION ALL
		SELECT 5, 0, 'part', format('At most %s %% of an order can be paid with points.', trim_scale(r.max_percent))
			FROM loyalty.program p JOIN loyalty.redemption_policy r ON r.program_id = p.program_id
			WHERE p.name = $1 AND r.max_percent < 100) x
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
