-- Views and reports over the books, one grain each.

CREATE VIEW loyalty.open_lot WITH (security_invoker = true) AS
	SELECT m.program_id, l.member_id, l.seq, l.points, l.remaining,
		CASE WHEN l.remaining < 0 THEN l.expires_on ELSE least(l.expires_on, m.lapses_on, x.points_until) END AS expires_on,
		l.usable_from
	FROM loyalty.member m
	JOIN loyalty.lot l ON l.member_id = m.member_id AND l.is_open
	LEFT JOIN loyalty.expiry_policy x ON x.program_id = m.program_id;
COMMENT ON VIEW loyalty.open_lot IS 'lots of which something remains, with the day through which it is valid as things are now; one whose day has passed counts no more';
COMMENT ON COLUMN loyalty.open_lot.program_id IS 'programme';
COMMENT ON COLUMN loyalty.open_lot.member_id IS 'member';
COMMENT ON COLUMN loyalty.open_lot.seq IS 'entry that made the lot';
COMMENT ON COLUMN loyalty.open_lot.points IS 'points the lot was made with';
COMMENT ON COLUMN loyalty.open_lot.remaining IS 'points that are left; negative for a debt';
COMMENT ON COLUMN loyalty.open_lot.expires_on IS 'last day (programme time) on which they are valid: the lot''s own, or that on which all points of the member lapse or the programme ends';
COMMENT ON COLUMN loyalty.open_lot.usable_from IS 'day from which they can be spent; infinity: not known yet; NULL: at once';

CREATE VIEW loyalty.member_now WITH (security_invoker = true) AS
	SELECT m.member_id, m.program_id, (m.balance - x.points)::numeric(18,2) AS balance, m.debt,
		w.points::numeric(18,2) AS pending, h.points::numeric(18,2) AS held,
		greatest(m.balance - x.points - w.points - h.points, 0)::numeric(18,2) AS available
	FROM loyalty.member m
	JOIN loyalty.program p ON p.program_id = m.program_id
	LEFT JOIN loyalty.expiry_policy e ON e.program_id = m.program_id
	CROSS JOIN LATERAL (SELECT (now() AT TIME ZONE p.time_zone)::date AS today) d
	-- the member's row says whether there can be any: most members need no look at their lots
	CROSS JOIN LATERAL (SELECT CASE WHEN least(m.lapses_on, e.points_until) < d.today THEN m.balance + m.debt
		WHEN m.next_expiry < d.today THEN (SELECT coalesce(sum(l.remaining), 0) FROM loyalty.lot l
			WHERE l.member_id = m.member_id AND l.is_open AND l.expires_on < d.today)
		ELSE 0 END AS points) x
	CROSS JOIN LATERAL (SELECT CASE WHEN m.usable_from > d.today THEN (SELECT coalesce(sum(l.remaining), 0) FROM loyalty.open_lot l
			WHERE l.member_id = m.member_id AND l.usable_from > d.today AND l.expires_on >= d.today)
		ELSE 0 END AS points) w
	CROSS JOIN LATERAL (SELECT CASE WHEN m.held > 0 THEN (SELECT coalesce(sum(o.points), 0) FROM loyalty.hold o
			WHERE o.member_id = m.member_id AND o.state = 'open' AND o.expires_at > now())
		ELSE 0 END AS points) h
	WHERE m.merged_into IS NULL;
COMMENT ON VIEW loyalty.member_now IS 'one row per member: what is there and what can be spent now, without saying who he is';
COMMENT ON COLUMN loyalty.member_now.member_id IS 'number of the member';
COMMENT ON COLUMN loyalty.member_now.program_id IS 'programme';
COMMENT ON COLUMN loyalty.member_now.balance IS 'points that are valid now; negative if the member owes some';
COMMENT ON COLUMN loyalty.member_now.debt IS 'points owed';
COMMENT ON COLUMN loyalty.member_now.pending IS 'points in the balance that cannot be spent yet';
COMMENT ON COLUMN loyalty.member_now.held IS 'points that holds reserve now';
COMMENT ON COLUMN loyalty.member_now.available IS 'points that can be spent now';

CREATE VIEW loyalty.member_points WITH (security_invoker = true) AS
	SELECT p.name AS program, m.customer, m.member_id, n.balance, n.debt, n.pending, n.held, n.available
	FROM loyalty.member_now n
	JOIN loyalty.member m ON m.member_id = n.member_id
	JOIN loyalty.program p ON p.program_id = n.program_id;
COMMENT ON VIEW loyalty.member_points IS 'one row per member: what is there and what can be spent now';
COMMENT ON COLUMN loyalty.member_points.program IS 'programme';
COMMENT ON COLUMN loyalty.member_points.customer IS 'the ERP''s customer key';
COMMENT ON COLUMN loyalty.member_points.member_id IS 'number of the member';
COMMENT ON COLUMN loyalty.member_points.balance IS 'points that are valid now; negative if the member owes some';
COMMENT ON COLUMN loyalty.member_points.debt IS 'points owed';
COMMENT ON COLUMN loyalty.member_points.pending IS 'points in the balance that cannot be spent yet';
COMMENT ON COLUMN loyalty.member_points.held IS 'points that holds reserve now';
COMMENT ON COLUMN loyalty.member_points.available IS 'points that can be spent now';

CREATE VIEW loyalty.member_balance WITH (security_invoker = true) AS
	SELECT p.name AS program, m.customer, m.member_id, m.joined_on, t.name AS tier,
		coalesce(b.balance, m.balance) AS balance, m.debt, m.qualifying
	FROM loyalty.member m
	JOIN loyalty.program p ON p.program_id = m.program_id
	LEFT JOIN loyalty.tier t ON t.tier_id = loyalty.tier_id_now(m.member_id, m.tier_id, m.tier_review, m.tier_at)
	LEFT JOIN loyalty.member_now b ON b.member_id = m.member_id;
COMMENT ON VIEW loyalty.member_balance IS 'one row per member: tier and points';
COMMENT ON COLUMN loyalty.member_balance.program IS 'programme';
COMMENT ON COLUMN loyalty.member_balance.customer IS 'the ERP''s customer key';
COMMENT ON COLUMN loyalty.member_balance.member_id IS 'number of the member';
COMMENT ON COLUMN loyalty.member_balance.joined_on IS 'day of enrolment';
COMMENT ON COLUMN loyalty.member_balance.tier IS 'tier the member is in; NULL below the first one';
COMMENT ON COLUMN loyalty.member_balance.balance IS 'points that are valid now; negative if the member owes some';
COMMENT ON COLUMN loyalty.member_balance.debt IS 'points owed';
COMMENT ON COLUMN loyalty.member_balance.qualifying IS 'billed amount that counts for the tier';

CREATE VIEW loyalty.redemption_list WITH (security_invoker = true) AS
	SELECT p.name AS program, m.customer, r.member_id, r.key, r.kind, w.name AS reward, r.points, r.value::numeric(20,6) AS value, r.restored,
		r.is_cancelled, s.name AS source, r.doc_key, r.occurred_at
	FROM loyalty.redemption r
	JOIN loyalty.member m ON m.member_id = r.member_id
	JOIN loyalty.program p ON p.program_id = m.program_id
	LEFT JOIN loyalty.source s ON s.source_id = r.source_id
	LEFT JOIN loyalty.reward_use u ON u.member_id = r.member_id AND u.key = r.key AND r.kind = 'reward'
	LEFT JOIN loyalty.reward w ON w.reward_id = u.reward_id;
COMMENT ON VIEW loyalty.redemption_list IS 'one row per redemption';
COMMENT ON COLUMN loyalty.redemption_list.program IS 'programme';
COMMENT ON COLUMN loyalty.redemption_list.customer IS 'the ERP''s customer key';
COMMENT ON COLUMN loyalty.redemption_list.member_id IS 'number of the member';
COMMENT ON COLUMN loyalty.redemption_list.key IS 'key of the redemption';
COMMENT ON COLUMN loyalty.redemption_list.kind IS 'points (as money), reward, or paid (drawn for a document''s paid_by_points)';
COMMENT ON COLUMN loyalty.redemption_list.reward IS 'reward that was redeemed';
COMMENT ON COLUMN loyalty.redemption_list.points IS 'points spent';
COMMENT ON COLUMN loyalty.redemption_list.value IS 'money they paid';
COMMENT ON COLUMN loyalty.redemption_list.restored IS 'points of them that came back';
COMMENT ON COLUMN loyalty.redemption_list.is_cancelled IS 'whether it was cancelled';
COMMENT ON COLUMN loyalty.redemption_list.source IS 'source of the document that was paid';
COMMENT ON COLUMN loyalty.redemption_list.doc_key IS 'document that was paid';
COMMENT ON COLUMN loyalty.redemption_list.occurred_at IS 'business time';

CREATE VIEW loyalty.document_line WITH (security_invoker = true) AS
	SELECT s.name AS source, d.doc_key, d.member_id, d.occurred_at, d.kind, d.state,
		l.key AS line_key, l.product, l.category, l.qty::numeric AS qty, l.amount::numeric AS amount,
		l.cost::numeric AS cost, coalesce(l.earns, true) AS earns, l.of AS line_return_of,
		l.list_price::numeric AS list_price
	FROM loyalty.document d
	JOIN loyalty.source s ON s.source_id = d.source_id
	CROSS JOIN LATERAL jsonb_to_recordset(d.lines)
		AS l(key text, product text, category jsonb, qty numeric, amount numeric, cost numeric, earns boolean, of text,
			list_price numeric);
COMMENT ON VIEW loyalty.document_line IS 'one row per line of a booked document, as it was read';
COMMENT ON COLUMN loyalty.document_line.source IS 'source of the document';
COMMENT ON COLUMN loyalty.document_line.doc_key IS 'key of the document';
COMMENT ON COLUMN loyalty.document_line.member_id IS 'member';
COMMENT ON COLUMN loyalty.document_line.occurred_at IS 'instant of the document';
COMMENT ON COLUMN loyalty.document_line.kind IS 'sale or return';
COMMENT ON COLUMN loyalty.document_line.state IS 'booked, withdrawn or opening';
COMMENT ON COLUMN loyalty.document_line.line_key IS 'key of the line';
COMMENT ON COLUMN loyalty.document_line.product IS 'product';
COMMENT ON COLUMN loyalty.document_line.category IS 'category or categories';
COMMENT ON COLUMN loyalty.document_line.qty IS 'quantity';
COMMENT ON COLUMN loyalty.document_line.amount IS 'amount in the programme''s currency, negative for returns';
COMMENT ON COLUMN loyalty.document_line.cost IS 'cost in the programme''s currency';
COMMENT ON COLUMN loyalty.document_line.earns IS 'whether the line earns';
COMMENT ON COLUMN loyalty.document_line.line_return_of IS 'line that is returned';
COMMENT ON COLUMN loyalty.document_line.list_price IS 'price of one unit without discounts, in the programme''s currency';

CREATE VIEW loyalty.tier_ladder WITH (security_invoker = true) AS
	SELECT p.name AS program, t.name AS tier, t.threshold::numeric(18,2) AS threshold, t.rate::numeric(12,4) AS rate,
		count(m.member_id) AS members, coalesce(sum(coalesce(b.balance, m.balance)), 0)::numeric(18,2) AS points
	FROM loyalty.tier t
	JOIN loyalty.program p ON p.program_id = t.program_id
	LEFT JOIN (SELECT x.member_id, x.balance,
			loyalty.tier_id_now(x.member_id, x.tier_id, x.tier_review, x.tier_at) AS tier_id
		FROM loyalty.member x) m ON m.tier_id = t.tier_id
	LEFT JOIN loyalty.member_now b ON b.member_id = m.member_id
	GROUP BY p.name, t.tier_id, t.name, t.threshold, t.rate
	ORDER BY p.name, t.threshold;
COMMENT ON VIEW loyalty.tier_ladder IS 'one row per tier: who is in it';
COMMENT ON COLUMN loyalty.tier_ladder.program IS 'programme';
COMMENT ON COLUMN loyalty.tier_ladder.tier IS 'tier';
COMMENT ON COLUMN loyalty.tier_ladder.threshold IS 'qualifying amount from which a member is in the tier';
COMMENT ON COLUMN loyalty.tier_ladder.rate IS 'factor on points earned';
COMMENT ON COLUMN loyalty.tier_ladder.members IS 'members in the tier';
COMMENT ON COLUMN loyalty.tier_ladder.points IS 'their points';

CREATE VIEW loyalty.parked WITH (security_invoker = true) AS
	SELECT s.name AS source, w.doc_key, w.sqlstate, w.message, w.attempts, w.recorded_at
	FROM loyalty.pending w
	JOIN loyalty.source s ON s.source_id = w.source_id
	WHERE w.reason = 'parked';
COMMENT ON VIEW loyalty.parked IS 'documents that an error keeps from being booked';
COMMENT ON COLUMN loyalty.parked.source IS 'source of the document';
COMMENT ON COLUMN loyalty.parked.doc_key IS 'key of the document; empty: the source as a whole';
COMMENT ON COLUMN loyalty.parked.sqlstate IS 'SQLSTATE of the error';
COMMENT ON COLUMN loyalty.parked.message IS 'message of the error';
COMMENT ON COLUMN loyalty.parked.attempts IS 'how many evaluations have failed';
COMMENT ON COLUMN loyalty.parked.recorded_at IS 'when the document was parked';

CREATE FUNCTION loyalty.statement(program text, customer text,
	since timestamptz DEFAULT '-infinity', until timestamptz DEFAULT 'infinity',
	OUT seq bigint, OUT occurred_at timestamptz, OUT recorded_at timestamptz, OUT kind text,
	OUT source text, OUT doc_key text, OUT points numeric, OUT balance numeric)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT x.* FROM (
		SELECT e.seq, e.occurred_at, e.recorded_at, e.kind, s.name, e.doc_key, e.points,
			sum(e.points) OVER (ORDER BY e.seq) AS balance
		FROM loyalty.entry e
		LEFT JOIN loyalty.source s ON s.source_id = e.source_id
		WHERE e.member_id = loyalty.member_id($1, $2)) x
	WHERE x.occurred_at >= since AND x.occurred_at < until
	ORDER BY x.seq
$$;
COMMENT ON FUNCTION loyalty.statement(text, text, timestamptz, timestamptz) IS
'the entries of a member in the order they were booked, with the balance after each; since is inclusive, until exclusive';
