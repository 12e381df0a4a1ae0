-- Tiers: how they are reached and kept, what staff may override, and answers.
-- The tier of a member follows from what he bought and from the settings; it
-- is right at every instant, and reviews only write it down.

CREATE FUNCTION loyalty.apply_tiers(program text) RETURNS bigint
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_apply_tiers';
COMMENT ON FUNCTION loyalty.apply_tiers(text) IS
'puts every member into the tier that the settings of now give him; the functions that change settings call it; returns how many changed';

CREATE FUNCTION loyalty.review_tiers(as_of timestamptz DEFAULT NULL, after bigint DEFAULT 0, batch integer DEFAULT 1000,
	OUT last bigint, OUT done bigint)
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_review_tiers';
COMMENT ON FUNCTION loyalty.review_tiers(timestamptz, bigint, integer) IS
'writes down tiers that time alone has changed, of up to batch members after a number; last: the last of them, NULL if none is left; done: rows that the history got';

CREATE FUNCTION loyalty.write_tier(member_id bigint) RETURNS void
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_write_tier';
COMMENT ON FUNCTION loyalty.write_tier(bigint) IS
'internal: writes down the tier of a member after what staff recorded';

CREATE FUNCTION loyalty.end_tier_override(member_id bigint, key text, at timestamptz) RETURNS integer
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_end_tier_override';
COMMENT ON FUNCTION loyalty.end_tier_override(bigint, text, timestamptz) IS
'internal: ends an override, or (key NULL) all; returns how many';

CREATE FUNCTION loyalty.tier(program text, customer text, at timestamptz DEFAULT NULL) RETURNS text
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'loyalty_tier';
COMMENT ON FUNCTION loyalty.tier(text, text, timestamptz) IS
'tier of a customer now, or at any instant (of the future: if nothing is bought any more); NULL below the first, or if he is no member';

CREATE FUNCTION loyalty.standing(member_id bigint, at timestamptz, replay boolean,
	OUT tier_id integer, OUT since date, OUT until date, OUT review date)
RETURNS record
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'loyalty_standing_of';
COMMENT ON FUNCTION loyalty.standing(bigint, timestamptz, boolean) IS
'internal: tier of a member at an instant (NULL: now), and when it has to be looked at again; replay: from what he bought, whatever is stored';

CREATE FUNCTION loyalty.tier_progress(program text, customer text, at timestamptz DEFAULT NULL,
	OUT tier text, OUT since date, OUT until date, OUT next_tier text, OUT projected_tier text, OUT purpose text,
	OUT metric text, OUT time_window text, OUT months integer, OUT figure numeric, OUT threshold numeric,
	OUT missing numeric, OUT due date)
RETURNS SETOF record
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'loyalty_tier_progress';
COMMENT ON FUNCTION loyalty.tier_progress(text, text, timestamptz) IS
'what is missing on each way to the next tier (purpose next), and to keep the earned one beyond due (purpose keep); projected_tier is what he has after until if nothing more is bought; of a time before settings changed: the tier of then, and the ways of now to the next one';

CREATE FUNCTION loyalty.begin_tier_change(program_id integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_after bigint := 0;
BEGIN
	-- what was due under the settings of so far is written down by them
	IF EXISTS (SELECT FROM loyalty.tier_policy p WHERE p.program_id = begin_tier_change.program_id) THEN
		WHILE v_after IS NOT NULL LOOP
			SELECT r.last INTO v_after FROM loyalty.review_tiers(NULL, v_after, 1000) r;
		END LOOP;
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.begin_tier_change(integer) IS
'internal: settings of tiers are about to change';

CREATE FUNCTION loyalty.end_tier_change(program_id integer, is_special boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF is_special THEN
		INSERT INTO loyalty.tier_policy AS p (program_id, changed_at) VALUES (end_tier_change.program_id, clock_timestamp())
			ON CONFLICT ON CONSTRAINT tier_policy_pkey DO NOTHING;
	END IF;
	UPDATE loyalty.tier_policy AS p SET changed_at = clock_timestamp() WHERE p.program_id = end_tier_change.program_id;
	PERFORM loyalty.apply_tiers((SELECT p.name FROM loyalty.program p WHERE p.program_id = end_tier_change.program_id));
END
$$;
COMMENT ON FUNCTION loyalty.end_tier_change(integer, boolean) IS
'internal: settings of tiers have changed; every member gets the tier they give him';

CREATE FUNCTION loyalty.set_tier(program text, name text, threshold numeric, rate numeric DEFAULT 1,
	benefits jsonb DEFAULT NULL, discount numeric DEFAULT NULL, gift_points numeric DEFAULT NULL,
	gift_voucher numeric DEFAULT NULL, keep_threshold numeric DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_id integer;
BEGIN
	IF name IS NULL OR btrim(name) = '' THEN
		RAISE EXCEPTION 'a tier needs a name' USING ERRCODE = '22023', HINT = 'It is what statements and messages call it.';
	END IF;
	PERFORM loyalty.check_number('threshold', threshold, false);
	PERFORM loyalty.check_number('rate', rate, false);
	IF discount IS NOT NULL THEN
		PERFORM loyalty.check_number('discount', discount, true);
		IF discount > 100 OR discount <> round(discount, 2) THEN
			RAISE EXCEPTION 'invalid value for discount: %', discount
				USING ERRCODE = '22023', HINT = 'It is a percentage with at most two decimals, at most 100.';
		END IF;
	END IF;
	IF gift_points IS NOT NULL THEN
		PERFORM loyalty.check_points('gift_points', gift_points, true);
	END IF;
	IF gift_voucher IS NOT NULL THEN
		PERFORM loyalty.check_money('gift_voucher', gift_voucher, true);
	END IF;
	IF keep_threshold IS NOT NULL THEN
		PERFORM loyalty.check_number('keep_threshold', keep_threshold, false);
		IF threshold = 0 AND keep_threshold > 0 THEN
			RAISE EXCEPTION 'a tier that everybody reaches cannot be lost'
				USING ERRCODE = '22023', HINT = 'Leave keep_threshold out, or give the tier a threshold above 0.';
		END IF;
	END IF;
	IF EXISTS (SELECT FROM loyalty.tier t WHERE t.program_id = v_program
			AND t.threshold = set_tier.threshold AND t.name <> set_tier.name) THEN
		RAISE EXCEPTION 'another tier of programme "%" has the threshold %', program, threshold
			USING ERRCODE = 'LY002', HINT = 'loyalty.tier lists the tiers; each has a threshold of its own.';
	END IF;
	PERFORM loyalty.begin_tier_change(v_program);
	INSERT INTO loyalty.tier AS t (program_id, name, threshold, rate, benefits, discount, gift_points, gift_voucher, keep_threshold)
		VALUES (v_program, name, threshold, rate, benefits, discount, gift_points, gift_voucher, keep_threshold)
		ON CONFLICT ON CONSTRAINT tier_program_id_name_key
		DO UPDATE SET threshold = excluded.threshold, rate = excluded.rate, benefits = excluded.benefits,
			discount = excluded.discount, gift_points = excluded.gift_points, gift_voucher = excluded.gift_voucher,
			keep_threshold = excluded.keep_threshold
		RETURNING t.tier_id INTO v_id;
	PERFORM loyalty.end_tier_change(v_program, gift_points IS NOT NULL OR gift_voucher IS NOT NULL OR keep_threshold IS NOT NULL);
	RETURN v_id;
END
$$;
COMMENT ON FUNCTION loyalty.set_tier(text, text, numeric, numeric, jsonb, numeric, numeric, numeric, numeric) IS
'creates or changes a tier: threshold (qualifying figure, reached with >=), rate (factor on points earned), benefits, and what keeps it; see the columns of loyalty.tier';

CREATE FUNCTION loyalty.check_measure(metric text, time_window text, months integer) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM loyalty.check_choice('metric', metric, ARRAY['amount', 'points', 'documents', 'growth']);
	PERFORM loyalty.check_choice('time_window', time_window, ARRAY['lifetime', 'rolling', 'calendar_year', 'membership_year']);
	IF time_window = 'rolling' THEN
		PERFORM loyalty.check_range('months', months, 1, 1200);
	ELSIF months IS NOT NULL THEN
		RAISE EXCEPTION 'invalid value for months: %', months
			USING ERRCODE = '22023', HINT = 'Only the time_window rolling has a number of months.';
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.check_measure(text, text, integer) IS 'raises an error unless metric and window are such';

CREATE FUNCTION loyalty.set_tier_policy(program text, metric text DEFAULT 'amount', time_window text DEFAULT 'lifetime',
	months integer DEFAULT NULL, retention integer DEFAULT NULL, grace_days integer DEFAULT 0,
	demotion text DEFAULT 'to_earned', returns text DEFAULT 'recompute')
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
BEGIN
	PERFORM loyalty.check_measure(metric, time_window, months);
	PERFORM loyalty.check_choice('demotion', demotion, ARRAY['none', 'one_level', 'to_earned']);
	PERFORM loyalty.check_choice('returns', returns, ARRAY['recompute', 'keep']);
	PERFORM loyalty.check_range('grace_days', grace_days, 0, 3660);
	IF retention IS NOT NULL THEN
		PERFORM loyalty.check_range('retention', retention, 1, 1200);
	ELSIF demotion = 'one_level' OR grace_days > 0 OR returns = 'keep' THEN
		RAISE EXCEPTION 'without retention there are no reviews'
			USING ERRCODE = '22023', HINT = 'Demotion one_level, grace_days and returns keep need retention.';
	END IF;
	PERFORM loyalty.begin_tier_change(v_program);
	INSERT INTO loyalty.tier_policy AS p (program_id, metric, time_window, months, retention, grace_days, demotion, returns,
			changed_at)
		VALUES (v_program, metric, time_window, months, retention, grace_days, demotion, returns, clock_timestamp())
		ON CONFLICT ON CONSTRAINT tier_policy_pkey DO UPDATE SET metric = excluded.metric,
			time_window = excluded.time_window, months = excluded.months, retention = excluded.retention,
			grace_days = excluded.grace_days, demotion = excluded.demotion, returns = excluded.returns;
	PERFORM loyalty.end_tier_change(v_program, true);
END
$$;
COMMENT ON FUNCTION loyalty.set_tier_policy(text, text, text, integer, integer, integer, text, text) IS
'what qualifies for the tiers of a programme and how they are kept; see the columns of loyalty.tier_policy';

CREATE FUNCTION loyalty.set_tier_path(program text, tier text, metric text, time_window text, months integer, threshold numeric)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_tier integer := loyalty.tier_id(program, tier);
BEGIN
	PERFORM loyalty.check_measure(metric, time_window, months);
	IF threshold IS NOT NULL THEN
		PERFORM loyalty.check_number('threshold', threshold, true);
	END IF;
	PERFORM loyalty.begin_tier_change(v_program);
	IF threshold IS NULL THEN
		DELETE FROM loyalty.tier_path p WHERE p.tier_id = v_tier AND p.metric = set_tier_path.metric
			AND p.time_window = set_tier_path.time_window AND p.months = coalesce(set_tier_path.months, 0);
	ELSE
		INSERT INTO loyalty.tier_path AS p (tier_id, metric, time_window, months, threshold)
			VALUES (v_tier, metric, time_window, coalesce(months, 0), threshold)
			ON CONFLICT ON CONSTRAINT tier_path_pkey DO UPDATE SET threshold = excluded.threshold;
	END IF;
	PERFORM loyalty.end_tier_change(v_program, true);
END
$$;
COMMENT ON FUNCTION loyalty.set_tier_path(text, text, text, text, integer, numeric) IS
'another way to reach a tier, such as 20 documents in a calendar_year; threshold NULL takes it away';

CREATE FUNCTION loyalty.tier_id(program text, tier text) RETURNS integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_id integer;
BEGIN
	SELECT t.tier_id INTO v_id FROM loyalty.tier t WHERE t.program_id = v_program AND t.name = tier_id.tier;
	IF v_id IS NULL THEN
		RAISE EXCEPTION 'programme "%" has no tier "%"', program, tier
			USING ERRCODE = 'LY001', HINT = 'loyalty.tier lists the tiers.';
	END IF;
	RETURN v_id;
END
$$;
COMMENT ON FUNCTION loyalty.tier_id(text, text) IS 'number of a tier; an error if the programme has none of that name';

CREATE FUNCTION loyalty.override_tier(program text, customer text, tier text, until date, reason text,
	key text DEFAULT NULL, at timestamptz DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_tier integer := loyalty.tier_id(program, tier);
	v_at timestamptz := coalesce(at, clock_timestamp());
	v_key text;
	v_member bigint;
	o loyalty.tier_override;
BEGIN
	IF reason IS NULL OR btrim(reason) = '' THEN
		RAISE EXCEPTION 'an override needs a reason'
			USING ERRCODE = '22023', HINT = 'It is kept with the override, for whoever asks later.';
	END IF;
	IF NOT isfinite(v_at) THEN
		RAISE EXCEPTION 'at must be a finite instant' USING ERRCODE = '22023', HINT = 'Leave it out for now.';
	END IF;
	IF until IS NULL OR until > '9999-12-31'
		OR until < (SELECT (v_at AT TIME ZONE p.time_zone)::date FROM loyalty.program p WHERE p.name = program) THEN
		RAISE EXCEPTION 'invalid value for until: %', coalesce(until::text, 'NULL')
			USING ERRCODE = '22023', HINT = 'It is the last day of the override, not before its first.';
	END IF;
	IF key = '' THEN
		RAISE EXCEPTION 'invalid key: ""' USING ERRCODE = '22023',
			HINT = 'A key is a text of your own that tells this call from others.';
	END IF;
	v_member := loyalty.lock_account(program, customer, at);
	v_key := coalesce(key, (SELECT 'override ' || count(*) + 1 FROM loyalty.tier_override x WHERE x.member_id = v_member));
	SELECT x.* INTO o FROM loyalty.tier_override x WHERE x.member_id = v_member AND x.key = v_key;
	IF o.key IS NOT NULL THEN
		IF (o.tier_id, o.until, o.reason) IS DISTINCT FROM (v_tier, override_tier.until, override_tier.reason)
			OR o.starts_at <> coalesce(at, o.starts_at) THEN
			RAISE EXCEPTION 'key "%" was used for another override', v_key USING ERRCODE = 'LY012',
				HINT = 'Repeat the call with the same arguments, or take a new key.';
		END IF;
		RETURN v_key;
	END IF;
	INSERT INTO loyalty.tier_override (member_id, key, tier_id, starts_at, until, reason, recorded_at, recorded_by)
		VALUES (v_member, v_key, v_tier, v_at, until, reason, clock_timestamp(), session_user);
	PERFORM loyalty.write_tier(v_member);
	RETURN v_key;
END
$$;
COMMENT ON FUNCTION loyalty.override_tier(text, text, text, date, text, text, timestamptz) IS
'gives a customer at least this tier through a day, then what is earned; returns the key (made up if none is given), under which it is recorded once';

CREATE FUNCTION loyalty.end_override(program text, customer text, key text DEFAULT NULL, at timestamptz DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_member bigint := loyalty.lock_account(program, customer, at);
BEGIN
	IF key IS NOT NULL AND NOT EXISTS (SELECT FROM loyalty.tier_override o
			WHERE o.member_id = v_member AND o.key = end_override.key) THEN
		RAISE EXCEPTION 'customer "%" has no override "%"', customer, key
			USING ERRCODE = 'LY001', HINT = 'loyalty.tier_override lists the overrides.';
	END IF;
	RETURN loyalty.end_tier_override(v_member, key, coalesce(at, clock_timestamp()));
END
$$;
COMMENT ON FUNCTION loyalty.end_override(text, text, text, timestamptz) IS
'ends an override of a customer''s tier before its day, or (key NULL) all that were not ended; returns how many';

CREATE FUNCTION loyalty.record_growth(program text, customer text, value numeric, key text, reason text DEFAULT NULL,
	at timestamptz DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_member bigint;
	g loyalty.growth;
BEGIN
	IF value IS NULL OR value IN ('NaN', 'Infinity', '-Infinity') OR value = 0 THEN
		RAISE EXCEPTION 'invalid value for value: %', coalesce(value::text, 'NULL')
			USING ERRCODE = '22023', HINT = 'It is a number other than 0.';
	END IF;
	IF key IS NULL OR key = '' THEN
		RAISE EXCEPTION 'invalid key: "%"', coalesce(key, 'NULL') USING ERRCODE = '22023',
			HINT = 'A key is a text of your own that tells this call from others.';
	END IF;
	v_member := loyalty.lock_account(program, customer, at);
	SELECT x.* INTO g FROM loyalty.growth x WHERE x.member_id = v_member AND x.key = record_growth.key;
	IF g.key IS NOT NULL THEN
		IF g.value <> record_growth.value OR g.reason IS DISTINCT FROM record_growth.reason
			OR g.occurred_at <> coalesce(at, g.occurred_at) THEN
			RAISE EXCEPTION 'key "%" was used for another growth value', key USING ERRCODE = 'LY012',
				HINT = 'Repeat the call with the same arguments, or take a new key.';
		END IF;
		RETURN;
	END IF;
	INSERT INTO loyalty.growth (member_id, key, value, occurred_at, reason, recorded_at, recorded_by)
		VALUES (v_member, key, value, coalesce(at, clock_timestamp()), reason, clock_timestamp(), session_user);
	PERFORM loyalty.write_tier(v_member);
END
$$;
COMMENT ON FUNCTION loyalty.record_growth(text, text, numeric, text, text, timestamptz) IS
'records a growth value of a customer, for tiers whose metric is growth; the same key counts once';

-- plain SQL, so that a query over all members asks nobody whose row is good
CREATE FUNCTION loyalty.tier_is_known(review date, at timestamptz) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
	-- wherever the programme is, today is not later than tomorrow in UTC
	SELECT $2 IS NULL OR ($2 <= pg_catalog.now() AND COALESCE($1 > (pg_catalog.now() AT TIME ZONE 'UTC')::date + 1, true));
END;
COMMENT ON FUNCTION loyalty.tier_is_known(date, timestamptz) IS
'whether the tier that is stored with a member (tier_review, tier_at) is that of now for sure';

CREATE FUNCTION loyalty.tier_id_now(member_id bigint, tier_id integer, review date, at timestamptz) RETURNS integer
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT CASE WHEN loyalty.tier_is_known($3, $4) THEN $2 ELSE (SELECT s.tier_id FROM loyalty.standing($1, NULL, false) s) END;
END;
COMMENT ON FUNCTION loyalty.tier_id_now(bigint, integer, date, timestamptz) IS
'tier of a member now, from what is stored with him: tier_id, tier_review and tier_at; he is asked for only if that may be out of date';

CREATE VIEW loyalty.member_tier WITH (security_invoker = true) AS
	SELECT p.name AS program, m.customer, m.member_id, t.name AS tier, s.since, s.until, t.rate, t.discount, t.benefits
	FROM loyalty.member m
	JOIN loyalty.program p ON p.program_id = m.program_id
	CROSS JOIN LATERAL (SELECT m.tier_id, m.tier_since AS since, m.tier_until AS until
		WHERE loyalty.tier_is_known(m.tier_review, m.tier_at)
		UNION ALL
		SELECT x.tier_id, x.since, x.until FROM loyalty.standing(m.member_id, NULL, false) x
		WHERE NOT loyalty.tier_is_known(m.tier_review, m.tier_at)) s
	LEFT JOIN loyalty.tier t ON t.tier_id = s.tier_id
	WHERE m.merged_into IS NULL;
COMMENT ON VIEW loyalty.member_tier IS 'one row per member: the tier of now, since when and until when, and its benefits';
COMMENT ON COLUMN loyalty.member_tier.program IS 'programme';
COMMENT ON COLUMN loyalty.member_tier.customer IS 'the ERP''s customer key';
COMMENT ON COLUMN loyalty.member_tier.member_id IS 'number of the member';
COMMENT ON COLUMN loyalty.member_tier.tier IS 'tier; NULL below the first one';
COMMENT ON COLUMN loyalty.member_tier.since IS 'day from which he is in it; NULL where tiers simply follow the qualifying amount';
COMMENT ON COLUMN loyalty.member_tier.until IS 'last day for which it is kept; NULL for no end';
COMMENT ON COLUMN loyalty.member_tier.rate IS 'factor on points earned';
COMMENT ON COLUMN loyalty.member_tier.discount IS 'discount in percent; NULL for none';
COMMENT ON COLUMN loyalty.member_tier.benefits IS 'benefits of the tier (json)';
