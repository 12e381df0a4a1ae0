-- Setting how long points last.

CREATE FUNCTION loyalty.check_expiry(setting text, value text, lapse boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM loyalty.expires_on(value, '2000-01-01');
	IF lapse AND value !~* '^\s*\d+\s*(day|month|year)s?\s*$' THEN
		RAISE EXCEPTION 'invalid value for %: "%"', setting, value
			USING ERRCODE = '22023', HINT = 'It is a number of days, months or years.';
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.check_expiry(text, text, boolean) IS 'raises an error unless value says when points expire, or (lapse) after how long; NULL is fine';

CREATE FUNCTION loyalty.set_expiry(program text, expires text DEFAULT 'never', lapse_after text DEFAULT NULL,
	lapse_activities text[] DEFAULT '{earn,event,redeem}', usable_after integer DEFAULT 0,
	points_until date DEFAULT 'infinity')
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_kind text;
	v_after bigint := 0;
BEGIN
	IF expires IS NULL OR points_until IS NULL THEN
		RAISE EXCEPTION '% cannot be NULL', CASE WHEN expires IS NULL THEN 'expires' ELSE 'points_until' END
			USING ERRCODE = '22004', HINT = 'Leave it out for points that do not expire.';
	END IF;
	IF points_until = '-infinity' THEN
		RAISE EXCEPTION 'invalid value for points_until: %', points_until
			USING ERRCODE = '22023', HINT = 'It is the last day on which points are valid.';
	END IF;
	PERFORM loyalty.check_expiry('expires', expires);
	PERFORM loyalty.check_expiry('lapse_after', lapse_after, true);
	PERFORM loyalty.check_range('usable_after', usable_after, 0, 3660);
	IF lapse_activities IS NULL THEN
		RAISE EXCEPTION 'lapse_activities cannot be NULL'
			USING ERRCODE = '22004', HINT = 'Leave it out for earn, event and redeem.';
	END IF;
	FOREACH v_kind IN ARRAY lapse_activities LOOP
		PERFORM loyalty.check_choice('lapse_activities', v_kind, ARRAY['earn', 'event', 'redeem', 'adjust', 'transfer']);
	END LOOP;
	-- what has lapsed under the settings of so far is gone, whether or not upkeep
	-- has been there
	IF EXISTS (SELECT FROM loyalty.expiry_policy p WHERE p.program_id = v_program
			AND (p.lapse_after IS NOT NULL OR p.points_until < 'infinity')) THEN
		WHILE v_after IS NOT NULL LOOP
			SELECT e.last INTO v_after FROM loyalty.expire_points(NULL, v_after, 1000, program) e;
		END LOOP;
	END IF;
	INSERT INTO loyalty.expiry_policy AS p (program_id, expires, lapse_after, lapse_activities, usable_after, points_until)
		VALUES (v_program, expires, lapse_after, lapse_activities, usable_after, points_until)
		ON CONFLICT ON CONSTRAINT expiry_policy_pkey DO UPDATE SET expires = excluded.expires, lapse_after = excluded.lapse_after,
			lapse_activities = excluded.lapse_activities, usable_after = excluded.usable_after, points_until = excluded.points_until;
	PERFORM loyalty.apply_lapse(program);
END
$$;
COMMENT ON FUNCTION loyalty.set_expiry(text, text, text, text[], integer, date) IS
'sets how long points of a programme last; points that are there keep their day of expiry, a new lapse_after counts from the last activity; points that have lapsed by now, or ended with the programme, stay gone';

CREATE FUNCTION loyalty.apply_lapse(program text) RETURNS bigint
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_apply_lapse';
COMMENT ON FUNCTION loyalty.apply_lapse(text) IS
'works out anew when the points of a programme''s members lapse; returns the number of members it changed';

CREATE FUNCTION loyalty.set_tier_expiry(program text, tier text, expires text, extends boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM loyalty.check_expiry('expires', expires);
	IF extends IS NULL OR (extends AND expires IS NULL) THEN
		RAISE EXCEPTION 'invalid value for extends: %', coalesce(extends::text, 'NULL')
			USING ERRCODE = '22023', HINT = 'A tier that extends points says itself when they expire.';
	END IF;
	UPDATE loyalty.tier t SET expires = set_tier_expiry.expires, extends = set_tier_expiry.extends
		WHERE t.tier_id = loyalty.tier_id(program, tier);
END
$$;
COMMENT ON FUNCTION loyalty.set_tier_expiry(text, text, text, boolean) IS
'sets when points expire that are earned in a tier; NULL: as the programme says.  With extends points that a member has when he reaches the tier last as long, too';
