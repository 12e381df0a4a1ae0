-- Spending points.  Every call takes a key: the same key with the same
-- arguments again gives the same answer and moves nothing.

CREATE FUNCTION loyalty.set_redemption(
	program text, point_value numeric,
	redeem_min numeric DEFAULT 0, redeem_multiple numeric DEFAULT NULL, redeem_max numeric DEFAULT NULL,
	min_order numeric DEFAULT 0, max_percent numeric DEFAULT 100, excluded_categories text[] DEFAULT NULL,
	limit_points numeric DEFAULT NULL, limit_period text DEFAULT NULL,
	pay_exact_rest boolean DEFAULT false, draw_paid boolean DEFAULT false,
	restore_grace_days integer DEFAULT 14, hold_minutes integer DEFAULT 30,
	clerk_limit numeric DEFAULT 0, value_scale integer DEFAULT 2)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
BEGIN
	PERFORM loyalty.check_number('point_value', point_value, true);
	PERFORM loyalty.check_points('redeem_min', redeem_min, false);
	PERFORM loyalty.check_number('min_order', min_order, false);
	PERFORM loyalty.check_number('max_percent', max_percent, true);
	PERFORM loyalty.check_number('clerk_limit', clerk_limit, false);
	IF redeem_multiple IS NOT NULL THEN
		PERFORM loyalty.check_points('redeem_multiple', redeem_multiple, true);
	END IF;
	IF redeem_max IS NOT NULL THEN
		PERFORM loyalty.check_points('redeem_max', redeem_max, true);
	END IF;
	IF limit_points IS NOT NULL OR limit_period IS NOT NULL THEN
		PERFORM loyalty.check_points('limit_points', limit_points, true);
		PERFORM loyalty.check_choice('limit_period', limit_period, ARRAY['day', 'week', 'month', 'quarter', 'year']);
	END IF;
	IF max_percent > 100 THEN
		RAISE EXCEPTION 'invalid value for max_percent: %', max_percent
			USING ERRCODE = '22023', HINT = 'It can be at most 100.';
	END IF;
	PERFORM loyalty.check_range('restore_grace_days', restore_grace_days, 0, 3660);
	PERFORM loyalty.check_range('hold_minutes', hold_minutes, 1, 527040);
	PERFORM loyalty.check_range('value_scale', value_scale, 0, 6);
	INSERT INTO loyalty.redemption_policy AS p (program_id, point_value, value_scale, redeem_min, redeem_max,
			redeem_multiple, min_order, max_percent, excluded_categories, limit_points, limit_period,
			pay_exact_rest, draw_paid, restore_grace_days, hold_minutes, clerk_limit)
		VALUES (v_program, point_value, value_scale, redeem_min, redeem_max,
			redeem_multiple, min_order, max_percent, excluded_categories, limit_points, limit_period,
			coalesce(pay_exact_rest, false), coalesce(draw_paid, false), restore_grace_days, hold_minutes, clerk_limit)
		ON CONFLICT ON CONSTRAINT redemption_policy_pkey DO UPDATE SET point_value = excluded.point_value,
			value_scale = excluded.value_scale, redeem_min = excluded.redeem_min, redeem_max = excluded.redeem_max,
			redeem_multiple = excluded.redeem_multiple, min_order = excluded.min_order,
			max_percent = excluded.max_percent, excluded_categories = excluded.excluded_categories,
			limit_points = excluded.limit_points, limit_period = excluded.limit_period,
			pay_exact_rest = excluded.pay_exact_rest, draw_paid = excluded.draw_paid,
			restore_grace_days = excluded.restore_grace_days, hold_minutes = excluded.hold_minutes,
			clerk_limit = excluded.clerk_limit;
END
$$;
COMMENT ON FUNCTION loyalty.set_redemption(text, numeric, numeric, numeric, numeric, numeric, numeric, text[], numeric, text, boolean, boolean, integer, integer, numeric, integer) IS
'sets how points of a programme can be spent; see the columns of loyalty.redemption_policy for the settings';

CREATE FUNCTION loyalty.check_range(setting text, value integer, lowest integer, highest integer) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF value IS NULL OR value NOT BETWEEN lowest AND highest THEN
		RAISE EXCEPTION 'invalid value for %: %', setting, coalesce(value::text, 'NULL')
			USING ERRCODE = '22023', HINT = format('It can be %s to %s.', lowest, highest);
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.check_range(text, integer, integer, integer) IS 'raises an error unless value is in range';

CREATE FUNCTION loyalty.available(program text, customer text, at timestamptz DEFAULT NULL) RETURNS numeric(18,2)
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'loyalty_available_points';
COMMENT ON FUNCTION loyalty.available(text, text, timestamptz) IS
'points that a customer can spend now, or at an instant: the balance without what cannot be spent yet and what is reserved; never below 0';

CREATE FUNCTION loyalty.points(program text, customer text, at timestamptz DEFAULT NULL,
	OUT balance numeric(18,2), OUT debt numeric(18,2), OUT pending numeric(18,2), OUT held numeric(18,2),
	OUT available numeric(18,2))
RETURNS record
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'loyalty_points_of';
COMMENT ON FUNCTION loyalty.points(text, text, timestamptz) IS
'the figures behind available(): balance, debt, what cannot be spent yet, what holds reserve';

CREATE FUNCTION loyalty.quote_redemption(program text, customer text, amount numeric DEFAULT NULL,
	lines jsonb DEFAULT NULL, at timestamptz DEFAULT NULL,
	OUT points numeric(18,2), OUT value numeric, OUT limited_by text, OUT available numeric(18,2), OUT payable numeric)
RETURNS record
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'loyalty_quote_redemption';
COMMENT ON FUNCTION loyalty.quote_redemption(text, text, numeric, jsonb, timestamptz) IS
'the most points that may pay an order, what they are worth, and which limit keeps it from being more (available, redeem_max, limit_points, min_order, order, redeem_multiple, redeem_min); payable is the part of the amount that points can pay';

CREATE FUNCTION loyalty.redeem(program text, customer text, points numeric, key text,
	source text DEFAULT NULL, doc_key text DEFAULT NULL,
	amount numeric DEFAULT NULL, lines jsonb DEFAULT NULL, at timestamptz DEFAULT NULL,
	OUT points numeric(18,2), OUT value numeric, OUT balance numeric(18,2), OUT available numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_redeem';
COMMENT ON FUNCTION loyalty.redeem(text, text, numeric, text, text, text, numeric, jsonb, timestamptz) IS
'redeems points as money; points NULL: as many as the order (amount, lines) allows.  With source and doc_key the document earns nothing for what points paid, and its returns give them back';

CREATE FUNCTION loyalty.cancel_redemption(program text, customer text, key text, at timestamptz DEFAULT NULL,
	OUT points numeric(18,2), OUT value numeric, OUT balance numeric(18,2), OUT available numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_cancel_redemption';
COMMENT ON FUNCTION loyalty.cancel_redemption(text, text, text, timestamptz) IS
'gives back what a redemption (by its key) drew, to the lots it came from; cancelling again gives the same answer';

CREATE FUNCTION loyalty.reserve(program text, customer text, points numeric, key text,
	minutes integer DEFAULT NULL, amount numeric DEFAULT NULL, lines jsonb DEFAULT NULL, at timestamptz DEFAULT NULL,
	OUT points numeric(18,2), OUT value numeric, OUT balance numeric(18,2), OUT available numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_reserve';
COMMENT ON FUNCTION loyalty.reserve(text, text, numeric, text, integer, numeric, jsonb, timestamptz) IS
'reserves points for an open basket; the hold expires by itself after so many minutes';

CREATE FUNCTION loyalty.capture_hold(program text, customer text, key text, points numeric DEFAULT NULL,
	source text DEFAULT NULL, doc_key text DEFAULT NULL, at timestamptz DEFAULT NULL,
	OUT points numeric(18,2), OUT value numeric, OUT balance numeric(18,2), OUT available numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_capture_hold';
COMMENT ON FUNCTION loyalty.capture_hold(text, text, text, numeric, text, text, timestamptz) IS
'redeems what a hold (by its key) reserved, all of it or less; the rest is free again';

CREATE FUNCTION loyalty.release_hold(program text, customer text, key text, at timestamptz DEFAULT NULL,
	OUT points numeric(18,2), OUT value numeric, OUT balance numeric(18,2), OUT available numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_release_hold';
COMMENT ON FUNCTION loyalty.release_hold(text, text, text, timestamptz) IS
'sets free what a hold (by its key) reserved';

CREATE FUNCTION loyalty.adjust(program text, customer text, points numeric, reason text, key text,
	expires_on date DEFAULT NULL, at timestamptz DEFAULT NULL,
	OUT points numeric(18,2), OUT value numeric, OUT balance numeric(18,2), OUT available numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_adjust';
COMMENT ON FUNCTION loyalty.adjust(text, text, numeric, text, text, date, timestamptz) IS
'gives or takes points by hand, for a reason; beyond redemption_policy.clerk_limit only members of loyalty_manager may';

CREATE FUNCTION loyalty.transfer(program text, from_customer text, to_customer text, points numeric, key text,
	at timestamptz DEFAULT NULL,
	OUT points numeric(18,2), OUT value numeric, OUT balance numeric(18,2), OUT available numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_transfer_points';
COMMENT ON FUNCTION loyalty.transfer(text, text, text, numeric, text, timestamptz) IS
'lets one customer have points of another; they keep their expiry; answers with the giver''s figures';

CREATE FUNCTION loyalty.merge_customers(program text, customer text, into_customer text, at timestamptz DEFAULT NULL,
	OUT points numeric(18,2), OUT value numeric, OUT balance numeric(18,2), OUT available numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_merge_customers';
COMMENT ON FUNCTION loyalty.merge_customers(text, text, text, timestamptz) IS
'gives a customer''s points, debt, holds and qualifying amount, and all that is booked for him later, to another customer; both names then answer with the one balance.  For good, or as a household that the customer leaves with leave_household(); to merge again gives the same answer';

CREATE FUNCTION loyalty.leave_household(program text, customer text, key text, at timestamptz DEFAULT NULL,
	OUT points numeric(18,2), OUT value numeric, OUT balance numeric(18,2), OUT available numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_leave_household';
COMMENT ON FUNCTION loyalty.leave_household(text, text, text, timestamptz) IS
'lets a customer who shares the balance of another (merge_customers()) begin an account of his own: his documents dated from then on are his; points, history and qualifying amount of the time before stay with the household, and so do later changes of documents of that time.  Answers with his own figures';

CREATE FUNCTION loyalty.close_holds(as_of timestamptz DEFAULT NULL, after bigint DEFAULT 0, batch integer DEFAULT 1000,
	OUT last bigint, OUT done bigint)
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_close_holds';
COMMENT ON FUNCTION loyalty.close_holds(timestamptz, bigint, integer) IS
'step of upkeep(): notes for members after that number that holds have expired, which counts already; returns the last member (NULL: none left) and the number of holds';

CREATE FUNCTION loyalty.members_of(account bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE a (id) AS (
		SELECT account WHERE account IS NOT NULL
		UNION
		SELECT o.other_member_id FROM a CROSS JOIN LATERAL
			(SELECT x.other_member_id FROM loyalty.operation x
			WHERE x.member_id = a.id AND x.key >= 'merge:' AND x.key < 'merge;'
				AND x.key = 'merge:' || x.other_member_id::text OFFSET 0) o)
	SELECT a.id FROM a
$$;
COMMENT ON FUNCTION loyalty.members_of(bigint) IS
'internal: a member and all who were merged into him';
