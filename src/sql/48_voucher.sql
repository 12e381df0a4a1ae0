-- Vouchers: issued by rewards, tiers, campaigns or staff, used at the till.

CREATE FUNCTION loyalty.new_code() RETURNS text
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'loyalty_new_code';
COMMENT ON FUNCTION loyalty.new_code() IS
'internal: a code of 15 random characters and one that checks them';

CREATE FUNCTION loyalty.voucher_code(code text) RETURNS text
LANGUAGE c IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'loyalty_voucher_code';
COMMENT ON FUNCTION loyalty.voucher_code(text) IS
'a voucher''s code as it is stored, from what somebody typed; NULL if its check character does not fit';

CREATE FUNCTION loyalty.show_code(code text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT substr(code, 1, 4) || '-' || substr(code, 5, 4) || '-' || substr(code, 9, 4) || '-' || substr(code, 13)
$$;
COMMENT ON FUNCTION loyalty.show_code(text) IS 'a voucher''s code as people read it, in groups of four';

CREATE FUNCTION loyalty.write_voucher(member_id bigint, program_id integer, issue_key text, kind text, value numeric,
	max_uses integer, min_order numeric, reward_id integer, is_transferable boolean, origin text,
	at timestamptz, days integer)
RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_code text := loyalty.new_code();
BEGIN
	INSERT INTO loyalty.voucher (member_id, code, program_id, issue_key, kind, value, remaining, max_uses, min_order,
			reward_id, is_transferable, origin, valid_from, valid_to, issued_at)
		SELECT write_voucher.member_id, v_code, p.program_id, write_voucher.issue_key, write_voucher.kind,
			write_voucher.value, CASE WHEN write_voucher.kind = 'value' THEN write_voucher.value ELSE 0 END,
			write_voucher.max_uses, write_voucher.min_order, write_voucher.reward_id, write_voucher.is_transferable,
			write_voucher.origin, at, (at AT TIME ZONE p.time_zone)::date + days, at
		FROM loyalty.program p WHERE p.program_id = write_voucher.program_id;
	IF write_voucher.member_id <> 0 AND loyalty.tells(write_voucher.program_id, 'voucher_issued') THEN
		PERFORM loyalty.tell(v.member_id, 'voucher_issued', 'voucher:' || v.issue_key,
				jsonb_build_object('code', loyalty.show_code(v.code), 'voucher_kind', v.kind, 'value', trim_scale(v.value),
					'valid_to', to_char(v.valid_to, 'YYYY-MM-DD'))
				|| coalesce((SELECT jsonb_build_object('reward', r.name) FROM loyalty.reward r WHERE r.reward_id = v.reward_id), '{}'),
				at)
			FROM loyalty.voucher v WHERE v.member_id = write_voucher.member_id AND v.code = v_code;
	END IF;
	RETURN v_code;
END
$$;
COMMENT ON FUNCTION loyalty.write_voucher(bigint, integer, text, text, numeric, integer, numeric, integer, boolean, text, timestamptz, integer) IS
'internal: writes a voucher, and returns its code';

CREATE FUNCTION loyalty.issue_voucher(program text, customer text, kind text, value numeric, key text,
	days integer DEFAULT 30, max_uses integer DEFAULT NULL, min_order numeric DEFAULT 0,
	transferable boolean DEFAULT true, origin text DEFAULT 'staff', at timestamptz DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_member bigint := 0;
	v_uses integer := coalesce(max_uses, CASE WHEN kind = 'percent' THEN 1 END);
	v loyalty.voucher;
BEGIN
	PERFORM loyalty.check_choice('kind', kind, ARRAY['value', 'percent']);
	PERFORM loyalty.check_choice('origin', origin, ARRAY['tier', 'campaign', 'staff']);
	PERFORM loyalty.check_number('value', value, true);
	PERFORM loyalty.check_number('min_order', min_order, false);
	PERFORM loyalty.check_range('days', days, 0, 36600);
	IF kind = 'percent' AND value > 100 THEN
		RAISE EXCEPTION 'invalid value for value: %', value USING ERRCODE = '22023', HINT = 'It can be at most 100 percent.';
	END IF;
	IF max_uses IS NOT NULL THEN
		PERFORM loyalty.check_range('max_uses', max_uses, 1, 1000000);
	END IF;
	IF key IS NULL OR key = '' OR key LIKE 'reward:%' OR key LIKE 'gift:%' OR transferable IS NULL THEN
		RAISE EXCEPTION 'invalid key: "%"', coalesce(key, 'NULL') USING ERRCODE = '22023',
			HINT = 'A key is a text of your own that tells this call from others.';
	END IF;
	IF customer IS NULL AND NOT transferable THEN
		RAISE EXCEPTION 'a voucher that is not transferable needs a customer' USING ERRCODE = '22023',
			HINT = 'Name the customer, or let it be transferable.';
	END IF;
	IF customer IS NOT NULL THEN
		v_member := loyalty.lock_account(program, customer, at);
	END IF;
	FOR i IN 1..2 LOOP
		SELECT x.* INTO v FROM loyalty.voucher x WHERE x.member_id = v_member AND x.issue_key = issue_voucher.key;
		IF FOUND THEN
			IF (v.program_id, v.kind, v.value, v.max_uses, v.min_order, v.is_transferable, v.origin,
					v.valid_to - (v.valid_from AT TIME ZONE (SELECT p.time_zone FROM loyalty.program p
						WHERE p.program_id = v_program))::date)
				IS DISTINCT FROM (v_program, issue_voucher.kind, issue_voucher.value, v_uses,
					issue_voucher.min_order, transferable, issue_voucher.origin, days) OR v.valid_from <> at THEN
				RAISE EXCEPTION 'key "%" was used for another voucher', key USING ERRCODE = 'LY012',
					HINT = 'Repeat the call with the same arguments, or take a new key.';
			END IF;
			RETURN loyalty.show_code(v.code);
		END IF;
		BEGIN
			RETURN loyalty.show_code(loyalty.write_voucher(v_member, v_program, key, kind, value,
				v_uses, min_order, NULL, transferable, origin,
				coalesce(at, clock_timestamp()), days));
		EXCEPTION WHEN unique_violation THEN
			NULL;				-- somebody issued it just now
		END;
	END LOOP;
	RAISE EXCEPTION 'voucher "%" is being issued by another transaction', key USING ERRCODE = '40001', HINT = 'Try again.';
END
$$;
COMMENT ON FUNCTION loyalty.issue_voucher(text, text, text, numeric, text, integer, integer, numeric, boolean, text, timestamptz) IS
'issues a voucher to a customer, or (customer NULL) to whoever has the code, and returns the code; the same key gives the same one';

CREATE FUNCTION loyalty.use_voucher(program text, code text, amount numeric, key text, customer text, doc_key text,
	minutes integer, at timestamptz, lines jsonb,
	OUT value numeric, OUT remaining numeric, OUT kind text, OUT reward text)
RETURNS record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_code text := loyalty.voucher_code(code);
	v_at timestamptz := coalesce(at, clock_timestamp());
	v_arguments jsonb := jsonb_strip_nulls(jsonb_build_object('amount', trim_scale(amount), 'customer', customer,
		'doc_key', doc_key, 'minutes', minutes, 'lines', lines,
		'at', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')));
	v_late loyalty.voucher_use;
	v_order record;
	v loyalty.voucher;
	u loyalty.voucher_use;
	r loyalty.reward;
BEGIN
	IF code IS NULL THEN
		RAISE EXCEPTION 'code cannot be NULL' USING ERRCODE = '22004', HINT = 'vouchers() lists codes.';
	END IF;
	IF v_code IS NULL THEN
		RAISE EXCEPTION '"%" is no voucher code', code USING ERRCODE = 'LY001', DETAIL = 'Its check character does not fit.',
			HINT = 'Look for a character that was misread.';
	END IF;
	IF lines IS NULL THEN
		PERFORM loyalty.check_number('amount', amount, false);
	END IF;
	IF key IS NULL OR key = '' THEN
		RAISE EXCEPTION 'invalid key: "%"', coalesce(key, 'NULL') USING ERRCODE = '22023',
			HINT = 'A key is a text of your own that tells this call from others.';
	END IF;
	SELECT x.* INTO v FROM loyalty.voucher x WHERE x.code = v_code AND x.program_id = v_program FOR NO KEY UPDATE;
	IF v.code IS NULL THEN
		RAISE EXCEPTION 'voucher "%" does not exist', code USING ERRCODE = 'LY001', HINT = 'It may be of another programme.';
	END IF;
	SELECT x.* INTO r FROM loyalty.reward x WHERE x.reward_id = v.reward_id;
	reward := r.name;
	use_voucher.kind := v.kind;
	SELECT x.* INTO u FROM loyalty.voucher_use x
		WHERE x.member_id = v.member_id AND x.code = v_code AND x.key = use_voucher.key;
	IF u.key IS NOT NULL THEN
		IF u.arguments <> v_arguments THEN
			RAISE EXCEPTION 'key "%" was used for another use of voucher "%"', key, code USING ERRCODE = 'LY012',
				DETAIL = format('It was used with %s.', u.arguments),
				HINT = 'Repeat the call with the same arguments, or take a new key.';
		END IF;
		use_voucher.value := u.amount;
		use_voucher.remaining := u.remaining;
		RETURN;
	END IF;
	-- reservations that have expired count no more
	FOR v_late IN UPDATE loyalty.voucher_use x SET state = 'released'
			WHERE x.member_id = v.member_id AND x.code = v_code AND x.state = 'reserved' AND x.expires_at <= v_at
			RETURNING x.* LOOP
		v.remaining := v.remaining + CASE WHEN v.kind = 'value' THEN v_late.amount ELSE 0 END;
		v.uses := v.uses - 1;
	END LOOP;
	IF v.is_void OR v_at < v.valid_from
		OR (v_at AT TIME ZONE (SELECT p.time_zone FROM loyalty.program p WHERE p.program_id = v_program))::date > v.valid_to THEN
		RAISE EXCEPTION 'voucher "%" is not valid', code USING ERRCODE = 'LY003',
			DETAIL = CASE WHEN v.is_void THEN 'It was taken back.' WHEN v_at < v.valid_from THEN 'It is not valid yet.'
				ELSE format('It was valid through %s.', v.valid_to) END,
			HINT = 'vouchers() lists those that are.';
	END IF;
	IF NOT v.is_transferable AND (customer IS NULL
			OR v.member_id NOT IN (SELECT loyalty.members_of(loyalty.member_id(program, customer)))) THEN
		RAISE EXCEPTION 'voucher "%" belongs to another customer', code USING ERRCODE = 'LY011',
			HINT = 'Give the customer it was issued to; it is not transferable.';
	END IF;
	IF v.uses >= v.max_uses OR (v.kind = 'value' AND v.remaining = 0) THEN
		RAISE EXCEPTION 'voucher "%" is used up', code USING ERRCODE = 'LY011', HINT = 'vouchers() lists what is left.';
	END IF;
	SELECT g.* INTO v_order FROM loyalty.order_goods(v_program, amount, lines, r.categories, r.products) g;
	IF v_order.goods IS NULL AND v.kind IN ('value', 'percent') THEN
		RAISE EXCEPTION 'voucher "%" is for certain goods', code USING ERRCODE = '22023',
			DETAIL = format('Categories: %s, products: %s.', coalesce(array_to_string(r.categories, ', '), 'all'),
				coalesce(array_to_string(r.products, ', '), 'all')),
			HINT = 'Give the lines of the order, with category and product.';
	END IF;
	IF v_order.total < v.min_order THEN
		RAISE EXCEPTION 'the order is too small for voucher "%"', code USING ERRCODE = 'LY011',
			DETAIL = format('Its amount is %s, the least is %s.', v_order.total, v.min_order),
			HINT = 'The voucher is for larger orders.';
	END IF;
	IF v_order.goods = 0 AND v_order.total > 0 THEN
		RAISE EXCEPTION 'the order has no goods that voucher "%" is for', code USING ERRCODE = 'LY011',
			DETAIL = format('Categories: %s, products: %s.', coalesce(array_to_string(r.categories, ', '), 'all'),
				coalesce(array_to_string(r.products, ', '), 'all')),
			HINT = 'quote_reward() says what it takes off an order.';
	END IF;
	use_voucher.value := CASE v.kind WHEN 'value' THEN least(v.remaining, v_order.goods)
		WHEN 'percent' THEN trunc(v_order.goods * v.value / 100, coalesce((SELECT p.value_scale
			FROM loyalty.redemption_policy p WHERE p.program_id = v_program), 2))
		ELSE coalesce(loyalty.money_off(r, 1, amount, lines), 0) END;
	use_voucher.remaining := v.remaining - CASE WHEN v.kind = 'value' THEN use_voucher.value ELSE 0 END;
	UPDATE loyalty.voucher x SET uses = v.uses + 1, remaining = use_voucher.remaining
		WHERE x.member_id = v.member_id AND x.code = v_code;
	INSERT INTO loyalty.voucher_use (member_id, code, key, state, amount, order_amount, customer, doc_key, expires_at,
			occurred_at, arguments, remaining)
		VALUES (v.member_id, v_code, key, CASE WHEN minutes IS NULL THEN 'captured' ELSE 'reserved' END,
			use_voucher.value, v_order.total, customer, doc_key, v_at + minutes * interval '1 minute',
			v_at, v_arguments, use_voucher.remaining);
END
$$;
COMMENT ON FUNCTION loyalty.use_voucher(text, text, numeric, text, text, text, integer, timestamptz, jsonb) IS
'internal: uses a voucher, or (minutes) reserves its use';

CREATE FUNCTION loyalty.redeem_voucher(program text, code text, amount numeric, key text, customer text DEFAULT NULL,
	doc_key text DEFAULT NULL, at timestamptz DEFAULT NULL, lines jsonb DEFAULT NULL,
	OUT value numeric, OUT remaining numeric, OUT kind text, OUT reward text)
RETURNS record
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT u.* FROM loyalty.use_voucher($1, $2, $3, $4, $5, $6, NULL, $7, $8) u
$$;
COMMENT ON FUNCTION loyalty.redeem_voucher(text, text, numeric, text, text, text, timestamptz, jsonb) IS
'uses a voucher for an order of that amount (NULL: of its lines): value is the money it takes off, remaining what is left of it; a voucher for certain categories or products needs the lines, as for redeem()';

CREATE FUNCTION loyalty.reserve_voucher(program text, code text, amount numeric, key text, customer text DEFAULT NULL,
	minutes integer DEFAULT 30, at timestamptz DEFAULT NULL, lines jsonb DEFAULT NULL,
	OUT value numeric, OUT remaining numeric, OUT kind text, OUT reward text)
RETURNS record
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT u.* FROM loyalty.check_range('minutes', $6, 1, 527040),
		loyalty.use_voucher($1, $2, $3, $4, $5, NULL, $6, $7, $8) u
$$;
COMMENT ON FUNCTION loyalty.reserve_voucher(text, text, numeric, text, text, integer, timestamptz, jsonb) IS
'reserves the use of a voucher for an open basket; the reservation expires by itself';

CREATE FUNCTION loyalty.close_voucher(program text, code text, key text, captured boolean, doc_key text, at timestamptz)
RETURNS numeric
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_code text := loyalty.voucher_code(code);
	v loyalty.voucher;
	u loyalty.voucher_use;
BEGIN
	SELECT x.* INTO v FROM loyalty.voucher x
		WHERE x.code = v_code AND x.program_id = loyalty.program_id(close_voucher.program) FOR NO KEY UPDATE;
	SELECT x.* INTO u FROM loyalty.voucher_use x
		WHERE x.member_id = v.member_id AND x.code = v_code AND x.key = close_voucher.key;
	IF u.key IS NULL THEN
		RAISE EXCEPTION 'voucher "%" has no use "%"', code, key USING ERRCODE = 'LY001',
			HINT = 'Give the key with which it was reserved or redeemed.';
	END IF;
	IF captured AND u.state = 'captured' AND u.doc_key <> close_voucher.doc_key THEN
		RAISE EXCEPTION 'use "%" of voucher "%" was captured for another document', key, code USING ERRCODE = 'LY012',
			DETAIL = format('It was document "%s".', u.doc_key),
			HINT = 'Repeat the call with the same arguments.';
	END IF;
	IF (captured AND u.state = 'captured') OR (NOT captured AND u.state = 'released') THEN
		RETURN u.amount;
	END IF;
	-- a use that was captured can be given back; what was released, or has expired, is gone
	IF captured AND (u.state = 'released' OR u.expires_at <= coalesce(at, clock_timestamp())) THEN
		RAISE EXCEPTION 'use "%" of voucher "%" is not reserved', key, code USING ERRCODE = 'LY003',
			DETAIL = CASE WHEN u.state = 'released' THEN 'It was released.' ELSE 'It has expired.' END,
			HINT = 'Use the voucher anew, with another key.';
	END IF;
	UPDATE loyalty.voucher_use x SET state = CASE WHEN captured THEN 'captured' ELSE 'released' END,
			doc_key = coalesce(close_voucher.doc_key, x.doc_key)
		WHERE x.member_id = v.member_id AND x.code = v_code AND x.key = close_voucher.key;
	IF NOT captured THEN
		UPDATE loyalty.voucher x SET uses = x.uses - 1,
				remaining = x.remaining + CASE WHEN x.kind = 'value' THEN u.amount ELSE 0 END
			WHERE x.member_id = v.member_id AND x.code = v_code;
	END IF;
	RETURN u.amount;
END
$$;
COMMENT ON FUNCTION loyalty.close_voucher(text, text, text, boolean, text, timestamptz) IS
'internal: captures or releases a use of a voucher';

CREATE FUNCTION loyalty.capture_voucher(program text, code text, key text, doc_key text DEFAULT NULL, at timestamptz DEFAULT NULL)
RETURNS numeric
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT loyalty.close_voucher($1, $2, $3, true, $4, $5)
$$;
COMMENT ON FUNCTION loyalty.capture_voucher(text, text, text, text, timestamptz) IS
'turns a reserved use of a voucher (by its key) into a use; returns its value';

CREATE FUNCTION loyalty.release_voucher(program text, code text, key text, at timestamptz DEFAULT NULL)
RETURNS numeric
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT loyalty.close_voucher($1, $2, $3, false, NULL, $4)
$$;
COMMENT ON FUNCTION loyalty.release_voucher(text, text, text, timestamptz) IS
'gives back a use of a voucher (by its key), reserved or captured; returns its value';

CREATE FUNCTION loyalty.vouchers(program text, customer text DEFAULT NULL, within_days integer DEFAULT NULL,
	at timestamptz DEFAULT NULL,
	OUT customer text, OUT code text, OUT kind text, OUT value numeric, OUT remaining numeric, OUT uses_left integer,
	OUT reward text, OUT valid_to date, OUT days_left integer)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT m.customer, loyalty.show_code(v.code), v.kind, v.value, v.remaining + l.amount,
		(v.max_uses - v.uses + l.n)::integer, r.name, v.valid_to, v.valid_to - d.day
	FROM loyalty.program p
	CROSS JOIN LATERAL (SELECT (coalesce($4, now()) AT TIME ZONE p.time_zone)::date AS day) d
	JOIN loyalty.voucher v ON v.program_id = p.program_id AND NOT v.is_void
	CROSS JOIN LATERAL (SELECT count(*) AS n, coalesce(sum(u.amount) FILTER (WHERE v.kind = 'value'), 0) AS amount
		FROM loyalty.voucher_use u WHERE u.member_id = v.member_id AND u.code = v.code
			AND u.state = 'reserved' AND u.expires_at <= coalesce($4, now())) l
	LEFT JOIN loyalty.member m ON m.member_id = v.member_id
	LEFT JOIN loyalty.reward r ON r.reward_id = v.reward_id
	WHERE p.program_id = loyalty.program_id($1) AND v.valid_to >= d.day
		AND ($2 IS NULL OR v.member_id IN (SELECT loyalty.members_of(loyalty.member_id($1, $2))))
		AND ($3 IS NULL OR v.valid_to - d.day <= $3)
		AND (v.max_uses IS NULL OR v.uses - l.n < v.max_uses) AND (v.kind <> 'value' OR v.remaining + l.amount > 0)
	ORDER BY v.valid_to, v.issued_at, v.code
$$;
COMMENT ON FUNCTION loyalty.vouchers(text, text, integer, timestamptz) IS
'vouchers that can be used, of a customer or of all, the first to expire first; within_days 10: those with 10 days left or fewer';
