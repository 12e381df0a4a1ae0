-- Rewards: what a member can have for his points, and having it.

CREATE FUNCTION loyalty.lock_account(program text, customer text, at timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_lock_account';
COMMENT ON FUNCTION loyalty.lock_account(text, text, timestamptz) IS
'internal: locks the member who has the customer''s points, and returns his number';

CREATE FUNCTION loyalty.may_wait() RETURNS boolean
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_may_wait';
COMMENT ON FUNCTION loyalty.may_wait() IS
'internal: something is about to be locked that others wait for while they hold a member: may this transaction wait for it?  From now on it locks only members that are free, so that nobody waits in a circle';

CREATE FUNCTION loyalty.draw_reward(program text, customer text, points numeric, key text, reward text, units integer,
	value numeric, source text, doc_key text, at timestamptz,
	OUT points numeric(18,2), OUT value numeric, OUT balance numeric(18,2), OUT available numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_draw_reward';
COMMENT ON FUNCTION loyalty.draw_reward(text, text, numeric, text, text, integer, numeric, text, text, timestamptz) IS
'internal: redeems the points that a reward costs';

CREATE FUNCTION loyalty.cancel_reward_points(program text, customer text, key text, at timestamptz,
	OUT points numeric(18,2), OUT value numeric, OUT balance numeric(18,2), OUT available numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_cancel_reward_points';
COMMENT ON FUNCTION loyalty.cancel_reward_points(text, text, text, timestamptz) IS
'internal: gives back the points that a reward cost';

CREATE FUNCTION loyalty.check_reward_condition(program text, condition text) RETURNS text
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_check_reward_condition';
COMMENT ON FUNCTION loyalty.check_reward_condition(text, text) IS
'checks the condition of a reward, an SQL expression over member (without birthday and attributes, which come with documents); returns it as PostgreSQL writes it';

CREATE FUNCTION loyalty.unmet_rewards(program text, customer text, at timestamptz, reward_id integer) RETURNS integer[]
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'loyalty_unmet_rewards';
COMMENT ON FUNCTION loyalty.unmet_rewards(text, text, timestamptz, integer) IS
'internal: the rewards (or the one of that number) whose condition does not hold for a customer';

CREATE FUNCTION loyalty.set_reward(
	program text, name text, kind text, cost numeric, value numeric DEFAULT NULL,
	categories text[] DEFAULT NULL, products text[] DEFAULT NULL, description text DEFAULT NULL,
	stock integer DEFAULT NULL, budget numeric DEFAULT NULL,
	valid_from date DEFAULT '-infinity', valid_to date DEFAULT 'infinity', tier text DEFAULT NULL,
	times integer DEFAULT NULL, times_period text DEFAULT NULL,
	max_units integer DEFAULT 1, voucher_days integer DEFAULT NULL, condition text DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_tier integer;
	v_id integer;
BEGIN
	IF name IS NULL OR btrim(name) = '' THEN
		RAISE EXCEPTION 'a reward needs a name' USING ERRCODE = '22023', HINT = 'It is what redeem_reward() and rewards_available() call it.';
	END IF;
	PERFORM loyalty.check_choice('kind', kind, ARRAY['money', 'percent', 'product', 'service', 'privilege', 'ticket', 'draw']);
	PERFORM loyalty.check_points('cost', cost, false);
	IF kind IN ('money', 'percent') OR value IS NOT NULL THEN
		PERFORM loyalty.check_number('value', value, true);
	END IF;
	IF kind = 'percent' AND value > 100 THEN
		RAISE EXCEPTION 'invalid value for value: %', value USING ERRCODE = '22023', HINT = 'It can be at most 100 percent.';
	END IF;
	IF budget IS NOT NULL THEN
		PERFORM loyalty.check_points('budget', budget, false);
	END IF;
	IF stock IS NOT NULL THEN
		PERFORM loyalty.check_range('stock', stock, 0, 2147483647);
	END IF;
	PERFORM loyalty.check_period(valid_from, valid_to);
	PERFORM loyalty.check_range('max_units', max_units, 1, 1000000);
	IF voucher_days IS NOT NULL THEN
		PERFORM loyalty.check_range('voucher_days', voucher_days, 1, 36600);
	END IF;
	IF times IS NOT NULL OR times_period IS NOT NULL THEN
		PERFORM loyalty.check_range('times', times, 1, 1000000);
		PERFORM loyalty.check_choice('times_period', times_period, ARRAY['day', 'week', 'month', 'quarter', 'year', 'ever']);
	END IF;
	IF tier IS NOT NULL THEN
		v_tier := loyalty.tier_id(program, tier);
	END IF;
	PERFORM loyalty.check_reward_condition(program, condition);
	INSERT INTO loyalty.reward AS r (program_id, name, kind, cost, value, categories, products, description, stock, budget,
			valid_from, valid_to, tier_id, condition, times, times_period, max_units, voucher_days)
		VALUES (v_program, name, kind, cost, value, categories, products, description, stock, budget,
			valid_from, valid_to, v_tier, condition, times, times_period, max_units, voucher_days)
		ON CONFLICT ON CONSTRAINT reward_program_id_name_key DO UPDATE SET kind = excluded.kind, cost = excluded.cost,
			value = excluded.value, categories = excluded.categories, products = excluded.products,
			description = excluded.description, stock = excluded.stock, budget = excluded.budget,
			valid_from = excluded.valid_from, valid_to = excluded.valid_to, tier_id = excluded.tier_id,
			condition = excluded.condition, times = excluded.times, times_period = excluded.times_period, max_units = excluded.max_units,
			voucher_days = excluded.voucher_days,
			-- what was not counted so far is counted now
			used = (SELECT coalesce(sum(u.units), 0) FROM loyalty.reward_use u
				WHERE u.reward_id = r.reward_id AND NOT u.is_cancelled),
			spent = (SELECT coalesce(sum(u.points), 0) FROM loyalty.reward_use u
				WHERE u.reward_id = r.reward_id AND NOT u.is_cancelled)
		RETURNING r.reward_id INTO v_id;
	RETURN v_id;
END
$$;
COMMENT ON FUNCTION loyalty.set_reward(text, text, text, numeric, numeric, text[], text[], text, integer, numeric, date, date, text, integer, text, integer, integer, text) IS
'creates or changes a reward; see the columns of loyalty.reward for the settings';

CREATE FUNCTION loyalty.order_goods(program_id integer, amount numeric, lines jsonb, categories text[], products text[],
	OUT total numeric, OUT goods numeric, OUT prices numeric[])
RETURNS record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_sum numeric;
BEGIN
	IF amount IS NOT NULL THEN
		PERFORM loyalty.check_number('amount', amount, false);
	END IF;
	total := amount;
	goods := amount;
	IF lines IS NULL THEN
		IF categories IS NOT NULL OR products IS NOT NULL THEN
			goods := NULL;		-- which of them it is for is not known
		END IF;
		RETURN;
	END IF;
	IF jsonb_typeof(lines) <> 'array' OR EXISTS (SELECT FROM jsonb_array_elements(lines) l
			WHERE jsonb_typeof(l) <> 'object') THEN
		RAISE EXCEPTION 'lines must be an array of objects' USING ERRCODE = '22023',
			HINT = 'They look like [{"product": "p1", "category": "shoes", "qty": 2, "amount": 39.90}].';
	END IF;
	IF EXISTS (SELECT FROM jsonb_array_elements(lines) l
			WHERE coalesce(jsonb_typeof(l -> 'amount'), 'null') NOT IN ('number', 'null')
				OR coalesce(jsonb_typeof(l -> 'qty'), 'null') NOT IN ('number', 'null')) THEN
		RAISE EXCEPTION '"amount" and "qty" of a line must be numbers' USING ERRCODE = '22023',
			HINT = 'They look like [{"product": "p1", "category": "shoes", "qty": 2, "amount": 39.90}].';
	END IF;
	-- a line is in its categories and in all above them
	WITH RECURSIVE line AS (
		SELECT n, l ->> 'product' AS product, coalesce((l ->> 'amount')::numeric, 0) AS amount,
			coalesce((l ->> 'qty')::numeric, 1) AS qty, l -> 'category' AS category
		FROM jsonb_array_elements(lines) WITH ORDINALITY x (l, n)
	), place AS (
		SELECT l.n, c.category FROM line l
		CROSS JOIN LATERAL jsonb_array_elements_text(CASE jsonb_typeof(l.category) WHEN 'array' THEN l.category
			WHEN 'string' THEN jsonb_build_array(l.category) ELSE '[]' END) c (category)
		UNION
		SELECT p.n, a.parent FROM place p
		JOIN loyalty.category a ON a.program_id = order_goods.program_id AND a.category = p.category
	), hit AS (
		SELECT l.*, (categories IS NULL OR EXISTS (SELECT FROM place p WHERE p.n = l.n AND p.category = ANY (categories)))
			AND (products IS NULL OR coalesce(l.product = ANY (products), false)) AS is_for
		FROM line l
	)
	SELECT sum(h.amount), coalesce(sum(h.amount) FILTER (WHERE h.is_for), 0),
			(SELECT array_agg(x.amount / x.qty ORDER BY x.amount / x.qty)
			FROM hit x CROSS JOIN LATERAL generate_series(1, least(x.qty, 1000)) WHERE x.is_for AND x.amount > 0 AND x.qty >= 1)
		INTO v_sum, goods, prices FROM hit h;
	total := coalesce(amount, v_sum, 0);
	goods := greatest(least(goods, total), 0);
END
$$;
COMMENT ON FUNCTION loyalty.order_goods(integer, numeric, jsonb, text[], text[]) IS
'internal: amount of an order, what of it is goods of these categories and products (NULL: not known), and the prices of their single units, lowest first';

CREATE FUNCTION loyalty.money_off(r loyalty.reward, units integer, amount numeric, lines jsonb) RETURNS numeric
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE ($1).kind
		WHEN 'money' THEN least(($1).value * $2, g.goods)
		WHEN 'percent' THEN trunc(g.goods * ($1).value / 100, s.value_scale)
		WHEN 'product' THEN (SELECT trunc(coalesce(sum(x), 0), s.value_scale) FROM unnest(g.prices[1:$2]) x)
		ELSE 0 END
	FROM loyalty.order_goods(($1).program_id, $3, $4, ($1).categories, ($1).products) g
	CROSS JOIN LATERAL (SELECT coalesce((SELECT p.value_scale FROM loyalty.redemption_policy p
		WHERE p.program_id = ($1).program_id), 2) AS value_scale) s
$$;
COMMENT ON FUNCTION loyalty.money_off(loyalty.reward, integer, numeric, jsonb) IS
'internal: what units of a reward take off an order; NULL if that is not known';

CREATE FUNCTION loyalty.quote_reward(program text, reward text, amount numeric DEFAULT NULL, lines jsonb DEFAULT NULL,
	units integer DEFAULT 1, OUT points numeric(18,2), OUT value numeric)
RETURNS record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r loyalty.reward;
BEGIN
	SELECT x.* INTO r FROM loyalty.reward x
		WHERE x.program_id = loyalty.program_id(quote_reward.program) AND x.name = quote_reward.reward;
	IF r.reward_id IS NULL THEN
		RAISE EXCEPTION 'programme "%" has no reward "%"', program, reward
			USING ERRCODE = 'LY001', HINT = 'loyalty.reward lists the rewards.';
	END IF;
	PERFORM loyalty.check_range('units', units, 1, 1000000);
	points := r.cost * units;
	value := loyalty.money_off(r, units, amount, lines);
	IF value IS NULL AND r.kind = 'percent' THEN
		RAISE EXCEPTION 'what reward "%" takes off an order depends on the order', reward
			USING ERRCODE = '22023', HINT = CASE WHEN r.categories IS NULL AND r.products IS NULL
				THEN 'Give its amount.' ELSE 'Give its lines, with category and product.' END;
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.quote_reward(text, text, numeric, jsonb, integer) IS
'what units of a reward cost and take off an order (amount, lines as for redeem()): money, a percentage of the goods of its categories and products, or the cheapest of these products';

CREATE FUNCTION loyalty.reward_limits(reward_id integer, member_id bigint, at timestamptz, available numeric,
	unmet integer[], OUT units integer, OUT reason text, OUT missing numeric)
RETURNS record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r loyalty.reward;
	p loyalty.program;
	v_day date;
	v_used bigint;
BEGIN
	SELECT x.* INTO STRICT r FROM loyalty.reward x WHERE x.reward_id = reward_limits.reward_id;
	SELECT x.* INTO STRICT p FROM loyalty.program x WHERE x.program_id = r.program_id;
	v_day := (at AT TIME ZONE p.time_zone)::date;
	units := r.max_units;
	IF v_day < r.valid_from OR v_day > r.valid_to THEN
		units := 0;
		reason := 'dates';
		RETURN;
	END IF;
	IF r.tier_id IS NOT NULL AND coalesce((SELECT t.threshold FROM loyalty.member m
			JOIN loyalty.tier t ON t.tier_id = CASE WHEN m.tier_at IS NULL THEN m.tier_id
				ELSE (SELECT s.tier_id FROM loyalty.standing(m.member_id, reward_limits.at, false) s) END
			WHERE m.member_id = reward_limits.member_id), -1)
			< (SELECT t.threshold FROM loyalty.tier t WHERE t.tier_id = r.tier_id) THEN
		units := 0;
		reason := 'tier';
		missing := (SELECT t.threshold FROM loyalty.tier t WHERE t.tier_id = r.tier_id)
			- coalesce((SELECT m.qualifying FROM loyalty.member m WHERE m.member_id = reward_limits.member_id), 0);
		RETURN;
	END IF;
	IF r.reward_id = ANY (unmet) THEN
		units := 0;
		reason := 'condition';
		RETURN;
	END IF;
	IF r.times IS NOT NULL THEN
		SELECT count(*) INTO v_used FROM loyalty.reward_use u
			WHERE u.member_id IN (SELECT loyalty.members_of(reward_limits.member_id)) AND u.reward_id = r.reward_id AND NOT u.is_cancelled
				AND (r.times_period = 'ever' OR date_trunc(r.times_period, u.occurred_at, p.time_zone)
					= date_trunc(r.times_period, at, p.time_zone));
		IF v_used >= r.times THEN
			units := 0;
			reason := 'times';
			RETURN;
		END IF;
	END IF;
	IF r.stock - r.used < units THEN
		units := greatest(r.stock - r.used, 0);
		reason := 'stock';
	END IF;
	IF r.cost > 0 AND r.budget - r.spent < r.cost * units THEN
		units := greatest(floor((r.budget - r.spent) / r.cost), 0);
		reason := 'budget';
	END IF;
	IF units > 0 AND r.cost * units > available THEN
		units := floor(available / r.cost);
		reason := 'points';
	END IF;
	IF units > 0 THEN
		reason := NULL;
	ELSIF reason = 'points' THEN
		missing := r.cost - available;
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.reward_limits(integer, bigint, timestamptz, numeric, integer[]) IS
'internal: how many units of a reward a member can have, and if none, why';

CREATE FUNCTION loyalty.rewards_available(program text, customer text, at timestamptz DEFAULT NULL,
	OUT reward text, OUT kind text, OUT cost numeric(18,2), OUT value numeric, OUT description text,
	OUT units integer, OUT is_available boolean, OUT reason text, OUT missing numeric, OUT condition text)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT r.name, r.kind, r.cost, r.value, r.description, l.units, l.units > 0, l.reason, l.missing,
		CASE WHEN l.reason = 'condition' THEN r.condition END
	FROM loyalty.reward r
	CROSS JOIN LATERAL loyalty.reward_limits(r.reward_id, loyalty.member_id($1, $2), coalesce($3, clock_timestamp()),
		loyalty.available($1, $2, $3), (SELECT loyalty.unmet_rewards($1, $2, $3, NULL))) l
	WHERE r.program_id = loyalty.program_id($1)
	ORDER BY l.units > 0 DESC, r.cost, r.name
$$;
COMMENT ON FUNCTION loyalty.rewards_available(text, text, timestamptz) IS
'the rewards of a programme: how many units a customer can have now, and for the others what keeps him (points, tier, condition, times, stock, budget, dates), how much is missing, or which condition does not hold';

CREATE FUNCTION loyalty.redeem_reward(program text, customer text, reward text, key text, units integer DEFAULT 1,
	source text DEFAULT NULL, doc_key text DEFAULT NULL, at timestamptz DEFAULT NULL,
	OUT points numeric(18,2), OUT value numeric, OUT balance numeric(18,2), OUT available numeric(18,2), OUT voucher text)
RETURNS record
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r loyalty.reward;
	v_member bigint;
	v_limit record;
	v_at timestamptz := coalesce(at, clock_timestamp());
	v_known boolean;
BEGIN
	SELECT x.* INTO r FROM loyalty.reward x
		WHERE x.program_id = loyalty.program_id(redeem_reward.program) AND x.name = redeem_reward.reward;
	IF r.reward_id IS NULL THEN
		RAISE EXCEPTION 'programme "%" has no reward "%"', program, reward
			USING ERRCODE = 'LY001', HINT = 'loyalty.reward lists the rewards.';
	END IF;
	IF units IS NULL OR units < 1 THEN
		RAISE EXCEPTION 'units must be at least 1' USING ERRCODE = '22023', HINT = 'Leave it out for one.';
	END IF;
	v_member := loyalty.lock_account(program, customer, at);
	v_known := EXISTS (SELECT FROM loyalty.operation o
		WHERE o.key = redeem_reward.key AND o.member_id IN (v_member, loyalty.customer_number(program, customer)));
	IF NOT v_known THEN
		-- what is limited is limited for all: one at a time
		IF r.stock IS NOT NULL OR r.budget IS NOT NULL THEN
			IF loyalty.may_wait() THEN
				SELECT x.* INTO r FROM loyalty.reward x WHERE x.reward_id = r.reward_id FOR NO KEY UPDATE;
			ELSE
				SELECT x.* INTO r FROM loyalty.reward x WHERE x.reward_id = r.reward_id FOR NO KEY UPDATE SKIP LOCKED;
				IF NOT FOUND THEN
					RAISE EXCEPTION 'reward "%" is being redeemed by another transaction', reward
						USING ERRCODE = '55P03', DETAIL = 'This transaction holds a reward already, so it does not wait.',
							HINT = 'Try again; redeem one limited reward per transaction.';
				END IF;
			END IF;
		END IF;
		SELECT l.* INTO v_limit FROM loyalty.reward_limits(r.reward_id, v_member, v_at, 1e15,
			loyalty.unmet_rewards(program, customer, v_at, r.reward_id)) l;
		IF v_limit.units < units THEN
			RAISE EXCEPTION 'reward "%" cannot be redeemed', reward
				USING ERRCODE = 'LY011', DETAIL = CASE coalesce(v_limit.reason, 'max_units')
					WHEN 'dates' THEN format('It can be redeemed from %s to %s.', r.valid_from, r.valid_to)
					WHEN 'tier' THEN 'The member''s tier is too low.'
					WHEN 'condition' THEN format('It is for members for whom this holds: %s', r.condition)
					WHEN 'times' THEN format(CASE r.times_period WHEN 'ever' THEN 'It can be redeemed %s times.'
						ELSE 'It can be redeemed %s times per %s.' END, r.times, r.times_period)
					WHEN 'stock' THEN format('%s units are left.', v_limit.units)
					WHEN 'budget' THEN 'Its budget is used up.'
					ELSE format('%s units at once are the most.', v_limit.units) END,
				HINT = 'loyalty.rewards_available() says what is possible.';
		END IF;
	END IF;
	SELECT d.points, d.value, d.balance, d.available
		INTO redeem_reward.points, redeem_reward.value, redeem_reward.balance, redeem_reward.available
		FROM loyalty.draw_reward(program, customer, r.cost * units, key, reward, units,
			CASE WHEN r.kind = 'money' THEN r.value * units ELSE 0 END, source, doc_key, at) d;
	IF v_known THEN
		SELECT u.voucher INTO redeem_reward.voucher FROM loyalty.reward_use u
			WHERE u.key = redeem_reward.key AND u.member_id IN (v_member, loyalty.customer_number(program, customer));
		voucher := loyalty.show_code(voucher);
		RETURN;
	END IF;
	IF r.voucher_days IS NOT NULL THEN
		voucher := loyalty.write_voucher(v_member, r.program_id, 'reward:' || key,
			CASE r.kind WHEN 'money' THEN 'value' WHEN 'percent' THEN 'percent' ELSE 'reward' END,
			CASE r.kind WHEN 'money' THEN r.value * units WHEN 'percent' THEN r.value ELSE 0 END,
			CASE WHEN r.kind = 'money' THEN NULL ELSE units END, 0, r.reward_id, true, 'reward', v_at, r.voucher_days);
	END IF;
	INSERT INTO loyalty.reward_use (member_id, key, reward_id, units, points, voucher, occurred_at)
		VALUES (v_member, key, r.reward_id, units, r.cost * units, voucher, v_at);
	IF r.stock IS NOT NULL OR r.budget IS NOT NULL THEN
		UPDATE loyalty.reward x SET used = x.used + units, spent = x.spent + r.cost * units WHERE x.reward_id = r.reward_id;
	END IF;
	voucher := loyalty.show_code(voucher);
END
$$;
COMMENT ON FUNCTION loyalty.redeem_reward(text, text, text, text, integer, text, text, timestamptz) IS
'exchanges points for units of a reward; a reward with voucher_days answers with the code of a voucher.  Money off that is linked to a document by source and doc_key leaves what the document earns';

CREATE FUNCTION loyalty.customer_number(program text, customer text) RETURNS bigint
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'loyalty_customer_number';
COMMENT ON FUNCTION loyalty.customer_number(text, text) IS
'internal: number of the member that a customer is himself, whoever has his points; NULL if none';

CREATE FUNCTION loyalty.cancel_reward(program text, customer text, key text, at timestamptz DEFAULT NULL,
	OUT points numeric(18,2), OUT value numeric, OUT balance numeric(18,2), OUT available numeric(18,2))
RETURNS record
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_member bigint := loyalty.lock_account(program, customer, at);
	u loyalty.reward_use;
BEGIN
	SELECT x.* INTO u FROM loyalty.reward_use x
		WHERE x.key = cancel_reward.key AND x.member_id IN (v_member, loyalty.customer_number(program, customer));
	IF u.reward_id IS NOT NULL AND NOT u.is_cancelled AND u.voucher IS NOT NULL THEN
		-- whoever is at the till with it comes first
		PERFORM FROM loyalty.voucher v WHERE v.member_id = u.member_id AND v.code = u.voucher FOR NO KEY UPDATE SKIP LOCKED;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'the voucher of reward "%" is being used by another transaction', key
				USING ERRCODE = '55P03', DETAIL = 'That one may have to wait for this member, so it is not waited for.',
					HINT = 'Try again.';
		END IF;
		IF EXISTS (SELECT FROM loyalty.voucher v WHERE v.member_id = u.member_id AND v.code = u.voucher AND v.uses > 0) THEN
			RAISE EXCEPTION 'the voucher of reward "%" was used', key USING ERRCODE = 'LY003', HINT = 'release_voucher() takes its use back.';
		END IF;
		UPDATE loyalty.voucher v SET is_void = true WHERE v.member_id = u.member_id AND v.code = u.voucher;
	END IF;
	SELECT c.points, c.value, c.balance, c.available
		INTO cancel_reward.points, cancel_reward.value, cancel_reward.balance, cancel_reward.available
		FROM loyalty.cancel_reward_points(program, customer, key, at) c;
	IF u.reward_id IS NOT NULL AND NOT u.is_cancelled THEN
		UPDATE loyalty.reward_use x SET is_cancelled = true WHERE x.member_id = u.member_id AND x.key = u.key;
		UPDATE loyalty.reward r SET used = r.used - u.units, spent = r.spent - u.points
			WHERE r.reward_id = u.reward_id AND (r.stock IS NOT NULL OR r.budget IS NOT NULL);
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.cancel_reward(text, text, text, timestamptz) IS
'gives back the points of a reward (by its key), its stock and its voucher, unless that was used; again it gives the same answer';

CREATE FUNCTION loyalty.draw_winners(program text, reward text, seed text, winners integer,
	since timestamptz DEFAULT '-infinity', until timestamptz DEFAULT 'infinity',
	OUT place bigint, OUT customer text, OUT member_id bigint, OUT ticket text, OUT draw text)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	-- a ticket's number depends on nothing but the ticket and the seed
	WITH tickets AS (
		SELECT u.member_id, u.member_id || ':' || u.key || ':' || n AS ticket,
			encode(sha256(convert_to($3 || ':' || u.member_id || ':' || u.key || ':' || n, 'UTF8')), 'hex') AS draw
		FROM loyalty.reward_use u
		JOIN loyalty.reward r ON r.reward_id = u.reward_id
		CROSS JOIN LATERAL generate_series(1, u.units) n
		WHERE r.program_id = loyalty.program_id($1) AND r.name = $2 AND r.kind = 'draw' AND NOT u.is_cancelled
			AND u.occurred_at >= $5 AND u.occurred_at < $6
	), best AS (
		SELECT DISTINCT ON (t.member_id) t.member_id, t.ticket, t.draw FROM tickets t ORDER BY t.member_id, t.draw
	)
	SELECT row_number() OVER (ORDER BY b.draw), m.customer, b.member_id, b.ticket, b.draw
	FROM best b JOIN loyalty.member m ON m.member_id = b.member_id
	ORDER BY b.draw LIMIT $4
$$;
COMMENT ON FUNCTION loyalty.draw_winners(text, text, text, integer, timestamptz, timestamptz) IS
'winners of a prize draw: the tickets with the lowest SHA-256 of seed and ticket, one per member; whoever knows the seed and the tickets gets the same ones.  Publish the seed''s hash before and the seed after';
