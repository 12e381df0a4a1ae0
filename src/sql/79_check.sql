-- The proof: every stored figure equals what can be derived from the entries.

CREATE FUNCTION loyalty.check(OUT problem text, OUT member_id bigint, OUT detail text)
RETURNS SETOF record
-- it reads all there is, often before anybody has counted it: no loops, and no compiling of so much text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB'
AS $$
	-- members against entries
	SELECT 'balance is not the sum of the entries', m.member_id,
			format('balance %s, entries %s', m.balance, coalesce(e.points, 0))
		FROM loyalty.member m
		LEFT JOIN (SELECT e.member_id, sum(e.points) AS points, count(*) AS n, max(e.seq) AS seq
				FROM loyalty.entry e GROUP BY e.member_id) e ON e.member_id = m.member_id
		WHERE m.balance <> coalesce(e.points, 0)
	UNION ALL
	SELECT 'entries are not numbered without gaps', m.member_id,
			format('last_seq %s, %s entries up to %s', m.last_seq, e.n, e.seq)
		FROM loyalty.member m
		LEFT JOIN (SELECT e.member_id, count(*) AS n, max(e.seq) AS seq
				FROM loyalty.entry e GROUP BY e.member_id) e ON e.member_id = m.member_id
		WHERE m.last_seq <> coalesce(e.n, 0) OR m.last_seq <> coalesce(e.seq, 0)
	UNION ALL
	SELECT 'entry of no member', e.member_id, format('%s entries', count(*))
		FROM loyalty.entry e
		WHERE NOT EXISTS (SELECT FROM loyalty.member m WHERE m.member_id = e.member_id)
		GROUP BY e.member_id
	-- members against lots
	UNION ALL
	SELECT 'balance is not what is left in the lots', m.member_id,
			format('balance %s, lots %s', m.balance, coalesce(l.remaining, 0))
		FROM loyalty.member m
		LEFT JOIN (SELECT l.member_id, sum(l.remaining) AS remaining
				FROM loyalty.lot l GROUP BY l.member_id) l ON l.member_id = m.member_id
		WHERE m.balance <> coalesce(l.remaining, 0)
	UNION ALL
	SELECT 'debt is not what the lots owe', m.member_id, format('debt %s, lots %s', m.debt, coalesce(l.owed, 0))
		FROM loyalty.member m
		LEFT JOIN (SELECT l.member_id, -sum(l.remaining) AS owed
				FROM loyalty.lot l WHERE l.remaining < 0 GROUP BY l.member_id) l ON l.member_id = m.member_id
		WHERE m.debt <> coalesce(l.owed, 0)
	UNION ALL
	SELECT 'debt beside points that could repay it', m.member_id, format('debt %s', m.debt)
		FROM loyalty.member m
		JOIN loyalty.program p ON p.program_id = m.program_id
		WHERE m.debt > 0
			AND EXISTS (SELECT FROM loyalty.open_lot l WHERE l.member_id = m.member_id AND l.remaining > 0
				AND l.expires_on >= (now() AT TIME ZONE p.time_zone)::date)
	UNION ALL
	SELECT 'member does not know what his lots say of days', m.member_id,
			format('next_expiry %s, expired_through %s, usable_from %s; lots %s, %s, %s', m.next_expiry, m.expired_through,
				m.usable_from, l.next_expiry, l.expired_through, l.usable_from)
		FROM loyalty.member m
		JOIN (SELECT l.member_id, min(l.expires_on) FILTER (WHERE l.remaining > 0) AS next_expiry,
					max(l.expires_on) FILTER (WHERE l.expired > 0) AS expired_through,
					max(l.usable_from) FILTER (WHERE l.remaining > 0) AS usable_from
				FROM loyalty.lot l GROUP BY l.member_id) l ON l.member_id = m.member_id
		WHERE coalesce(m.next_expiry, 'infinity') > l.next_expiry OR coalesce(m.expired_through, '-infinity') < l.expired_through
			OR coalesce(m.usable_from, '-infinity') < l.usable_from
	-- lots against entries and allocations
	UNION ALL
	SELECT 'lot is not its points plus its allocations', l.member_id,
			format('lot %s: %s + %s is not %s', l.seq, l.points, coalesce(a.points, 0), l.remaining)
		FROM loyalty.lot l
		LEFT JOIN (SELECT a.member_id, a.lot_seq, sum(a.points) AS points
				FROM loyalty.allocation a GROUP BY a.member_id, a.lot_seq) a
			ON a.member_id = l.member_id AND a.lot_seq = l.seq
		WHERE l.remaining <> l.points + coalesce(a.points, 0)
	UNION ALL
	SELECT 'lot is out of its bounds', l.member_id, format('lot %s: %s of %s', l.seq, l.remaining, l.points)
		FROM loyalty.lot l
		WHERE l.remaining NOT BETWEEN least(l.points, 0) AND greatest(l.points, 0)
			OR l.remaining + l.expired > greatest(l.points, 0)
			OR l.is_open <> (l.remaining <> 0) OR l.points = 0
	UNION ALL
	SELECT CASE WHEN l.expired <> coalesce(a.points, 0) - coalesce(c.points, 0) OR l.expired < 0
				THEN 'expired points of a lot are not what was written down' ELSE 'points expired while they were valid' END, l.member_id,
			format('lot %s: %s, written down %s as of %s, given anew %s', l.seq, l.expired, coalesce(a.points, 0), a.since, coalesce(c.points, 0))
		FROM loyalty.lot l
		JOIN loyalty.member m ON m.member_id = l.member_id
		JOIN loyalty.program p ON p.program_id = m.program_id
		LEFT JOIN (SELECT a.member_id, a.lot_seq, -sum(a.points) AS points, min(e.occurred_at) FILTER (WHERE e.points < 0) AS since FROM loyalty.entry e
				JOIN loyalty.allocation a ON a.member_id = e.member_id AND a.entry_seq = e.seq
				WHERE e.kind = 'expire' GROUP BY a.member_id, a.lot_seq) a ON a.member_id = l.member_id AND a.lot_seq = l.seq
		LEFT JOIN (SELECT c.member_id, c.lot_seq, sum(c.points) AS points FROM loyalty.lot_change c
				GROUP BY c.member_id, c.lot_seq) c ON c.member_id = l.member_id AND c.lot_seq = l.seq
		WHERE l.expired <> coalesce(a.points, 0) - coalesce(c.points, 0) OR l.expired < 0
			OR (c.member_id IS NULL AND l.expired > 0 AND a.since < ((l.expires_on + 1)::timestamp AT TIME ZONE p.time_zone))
	UNION ALL
	SELECT 'lot is there twice', l.member_id, format('lot %s', l.seq)
		FROM loyalty.lot l GROUP BY l.member_id, l.seq HAVING count(*) > 1
	UNION ALL
	SELECT 'allocation of no lot', a.member_id, format('entry %s, lot %s', a.entry_seq, a.lot_seq)
		FROM loyalty.allocation a
		WHERE NOT EXISTS (SELECT FROM loyalty.lot l WHERE l.member_id = a.member_id AND l.seq = a.lot_seq)
	UNION ALL
	SELECT 'entry is not its lot plus its allocations', e.member_id,
			format('entry %s: %s is not %s + %s', e.seq, e.points, coalesce(l.points, 0), coalesce(a.points, 0))
		FROM loyalty.entry e
		LEFT JOIN loyalty.lot l ON l.member_id = e.member_id AND l.seq = e.seq
		LEFT JOIN (SELECT a.member_id, a.entry_seq, sum(a.points) AS points
				FROM loyalty.allocation a GROUP BY a.member_id, a.entry_seq) a
			ON a.member_id = e.member_id AND a.entry_seq = e.seq
		WHERE e.points <> coalesce(l.points, 0) + coalesce(a.points, 0) OR e.points = 0
	-- documents against entries and members
	UNION ALL
	SELECT 'document is not the sum of its entries', coalesce(d.member_id, e.member_id),
			format('document %s of source %s: %s, entries %s', coalesce(d.doc_key, e.doc_key),
				coalesce(d.source_id, e.source_id), coalesce(d.points, 0), coalesce(e.points, 0))
		FROM (SELECT d.source_id, d.doc_key, d.member_id, sum(d.points) AS points
				FROM loyalty.document d GROUP BY d.source_id, d.doc_key, d.member_id) d
		FULL JOIN (SELECT e.source_id, e.doc_key, e.member_id, sum(e.points) AS points
				FROM loyalty.entry e WHERE e.source_id IS NOT NULL AND e.key IS NULL
				GROUP BY e.source_id, e.doc_key, e.member_id) e
			ON e.source_id = d.source_id AND e.doc_key = d.doc_key AND e.member_id = d.member_id
		WHERE coalesce(d.points, 0) <> coalesce(e.points, 0)
	UNION ALL
	SELECT 'document leads to no entry of its own', d.member_id,
			format('document %s of source %s: last_seq %s', d.doc_key, d.source_id, d.last_seq)
		FROM loyalty.document d
		WHERE d.last_seq IS NOT NULL AND NOT EXISTS (SELECT FROM loyalty.entry e
			WHERE e.member_id = d.member_id AND e.seq = d.last_seq AND e.key IS NULL
				AND e.source_id = d.source_id AND e.doc_key = d.doc_key)
	UNION ALL
	SELECT 'entry follows no earlier entry of its document or redemption', e.member_id,
			format('entry %s: prev_seq %s', e.seq, e.prev_seq)
		FROM loyalty.entry e
		WHERE e.prev_seq IS NOT NULL AND NOT EXISTS (SELECT FROM loyalty.entry b
			WHERE b.member_id = e.member_id AND b.seq = e.prev_seq AND b.seq < e.seq
				AND b.key IS NOT DISTINCT FROM e.key
				AND (e.key IS NOT NULL OR (b.source_id = e.source_id AND b.doc_key = e.doc_key)))
	UNION ALL
	SELECT 'lot does not expire when its entry says', l.member_id,
			format('lot %s: %s, entry %s', l.seq, l.expires_on, coalesce(c.expires_on, e.expires_on))
		FROM loyalty.lot l
		JOIN loyalty.entry e ON e.member_id = l.member_id AND e.seq = l.seq
		LEFT JOIN (SELECT DISTINCT ON (c.member_id, c.lot_seq) c.* FROM loyalty.lot_change c
				ORDER BY c.member_id, c.lot_seq, c.n DESC) c ON c.member_id = l.member_id AND c.lot_seq = l.seq
		WHERE coalesce(c.expires_on, e.expires_on) IS DISTINCT FROM l.expires_on
	UNION ALL
	SELECT 'points cannot be spent from the day their document says', d.member_id,
			format('document %s of source %s: %s, lot %s: %s', d.doc_key, d.source_id, d.usable_from, l.seq, l.usable_from)
		FROM (SELECT e.member_id, e.seq, d.source_id, d.doc_key, d.usable_from
				FROM loyalty.document d
				JOIN loyalty.entry e ON e.member_id = d.member_id AND e.source_id = d.source_id AND e.doc_key = d.doc_key AND e.key IS NULL
				WHERE d.kind = 'sale' AND d.root_source_id = 0 AND d.state <> 'withdrawn' OFFSET 0) d
		JOIN loyalty.lot l ON l.member_id = d.member_id AND l.seq = d.seq AND l.points > 0
		WHERE d.usable_from IS DISTINCT FROM l.usable_from
	UNION ALL
	SELECT 'qualifying amount is not the sum of the documents', m.member_id,
			format('qualifying %s, documents %s', m.qualifying, coalesce(d.qualifying, 0))
		FROM loyalty.member m
		LEFT JOIN (SELECT coalesce(a.account_id, d.member_id) AS member_id, sum(d.qualifying) AS qualifying
				FROM loyalty.document d
				LEFT JOIN (WITH RECURSIVE account AS (
						SELECT x.member_id, x.merged_into AS account_id FROM loyalty.member x WHERE x.merged_into IS NOT NULL
						UNION ALL
						SELECT c.member_id, x.merged_into FROM account c
							JOIN loyalty.member x ON x.member_id = c.account_id WHERE x.merged_into IS NOT NULL)
					SELECT c.member_id, c.account_id FROM account c
						JOIN loyalty.member x ON x.member_id = c.account_id WHERE x.merged_into IS NULL) a
					ON a.member_id = d.member_id
				GROUP BY 1) d ON d.member_id = m.member_id
		WHERE m.qualifying <> coalesce(d.qualifying, 0)
	UNION ALL
	SELECT 'tier is not the one that is reached', m.member_id,
			format('tier %s, qualifying %s', m.tier_id, m.qualifying)
		FROM loyalty.member m
		WHERE m.tier_at IS NULL AND m.tier_id IS DISTINCT FROM (SELECT t.tier_id FROM loyalty.tier t
			WHERE t.program_id = m.program_id AND t.threshold <= m.qualifying
			ORDER BY t.threshold DESC LIMIT 1)
			AND NOT EXISTS (SELECT FROM loyalty.tier_policy p WHERE p.program_id = m.program_id)
	UNION ALL
	SELECT 'tier is not what the member''s documents and reviews give', m.member_id,
			format('tier %s since %s until %s review %s, replayed as of %s: %s since %s until %s review %s', m.tier_id,
				m.tier_since, m.tier_until, m.tier_review, m.tier_at, s.tier_id, s.since, s.until, s.review)
		FROM loyalty.member m
		CROSS JOIN LATERAL loyalty.standing(m.member_id, m.tier_at, true) s
		WHERE m.tier_at IS NOT NULL
			AND (m.tier_id, m.tier_since, m.tier_until, m.tier_review) IS DISTINCT FROM (s.tier_id, s.since, s.until, s.review)
	UNION ALL
	SELECT 'history of tiers does not lead to the tier', m.member_id,
			format('tier %s, history %s', m.tier_id, c.to_tier)
		FROM loyalty.member m
		JOIN LATERAL (SELECT c.to_tier FROM loyalty.tier_change c WHERE c.member_id = m.member_id AND c.superseded_at IS NULL
			ORDER BY c.n DESC LIMIT 1) c ON true
		WHERE c.to_tier IS DISTINCT FROM m.tier_id
	UNION ALL
	SELECT 'history of tiers has a gap', c.member_id, format('change %s: from %s, but the tier was %s', c.n, c.from_tier, c.was)
		FROM (SELECT c.*, lag(c.to_tier) OVER w AS was, lag(c.n) OVER w AS last
				FROM loyalty.tier_change c WHERE c.superseded_at IS NULL
				WINDOW w AS (PARTITION BY c.member_id ORDER BY c.n)) c
		WHERE c.last IS NOT NULL AND c.was IS DISTINCT FROM c.from_tier
	UNION ALL
	SELECT 'changes of the tier are not numbered without gaps', c.member_id, format('%s changes up to %s', count(*), max(c.n))
		FROM loyalty.tier_change c GROUP BY c.member_id HAVING count(*) <> max(c.n)
	UNION ALL
	SELECT 'withdrawn document has points', d.member_id,
			format('document %s of source %s: %s', d.doc_key, d.source_id, d.points)
		FROM loyalty.document d
		WHERE d.state = 'withdrawn' AND (d.points <> d.written_off OR d.qualifying <> 0)
			AND NOT EXISTS (SELECT FROM loyalty.member m JOIN loyalty.program p ON p.program_id = m.program_id
				WHERE m.member_id = d.member_id AND p.rounding_scope = 'carry')
	UNION ALL
	SELECT 'document counts with two members', min(d.member_id),
			format('document %s of source %s', d.doc_key, d.source_id)
		FROM loyalty.document d
		WHERE d.state <> 'withdrawn' AND d.root_source_id = 0
		GROUP BY d.source_id, d.doc_key HAVING count(*) > 1
	-- families: never more taken back than was earned, never more earned than the sale gave
	UNION ALL
	SELECT 'family has less than nothing or more than its sale earned', s.member_id,
			format('sale %s of source %s: earned %s, net %s', s.doc_key, s.source_id, s.points - s.written_off,
				s.points - s.written_off + r.points)
		FROM loyalty.document s
		JOIN (SELECT d.root_source_id, d.root_key, d.member_id, sum(d.points - d.written_off) AS points
				FROM loyalty.document d WHERE d.root_source_id <> 0
				GROUP BY d.root_source_id, d.root_key, d.member_id) r
			ON r.root_source_id = s.source_id AND r.root_key = s.doc_key AND r.member_id = s.member_id
		JOIN loyalty.member m ON m.member_id = s.member_id
		JOIN loyalty.program p ON p.program_id = m.program_id
		WHERE s.root_source_id = 0 AND p.rounding_scope <> 'carry' AND s.kind = 'sale'
			AND s.points - s.written_off + r.points NOT BETWEEN 0 AND s.points - s.written_off
	-- budgets: what rules gave to documents that count
	UNION ALL
	SELECT 'budget is not what its rule gave', NULL, format('rule %s of programme %s: used %s, given %s',
				coalesce(b.rule, g.rule), coalesce(b.program_id, g.program_id), coalesce(b.used, 0), coalesce(g.given, 0))
		FROM loyalty.budget b
		FULL JOIN (SELECT r.program_id, r.name AS rule, sum((m ->> 'given')::numeric) AS given
				FROM loyalty.document d
				CROSS JOIN LATERAL jsonb_array_elements(d.matches) AS m
				JOIN loyalty.rule r ON r.rule_id = (m ->> 'rule')::integer AND r.budget IS NOT NULL
				WHERE d.state <> 'withdrawn' AND m ? 'given'
				GROUP BY r.program_id, r.name) g
			ON g.program_id = b.program_id AND g.rule = b.rule
		WHERE coalesce(b.used, 0) <> coalesce(g.given, 0)
	-- growth: of documents that count, by rules on it, and never points
	UNION ALL
	SELECT 'document that does not count gives growth', d.member_id,
			format('document %s of source %s: %s', d.doc_key, d.source_id, d.growth)
		FROM loyalty.document d WHERE d.growth <> 0 AND (d.state <> 'booked' OR d.member_id = 0)
	UNION ALL
	SELECT 'growth that no rule gave', d.member_id, format('document %s of source %s: %s', d.doc_key, d.source_id, d.growth)
		FROM loyalty.document d
		WHERE d.growth <> 0 AND d.root_source_id = 0 AND d.state = 'booked' AND NOT EXISTS (SELECT FROM loyalty.rule r
			WHERE r.rule_id = ANY (d.rules) AND r.growth)
	UNION ALL
	SELECT 'points where only growth was given', d.member_id,
			format('document %s of source %s: %s', d.doc_key, d.source_id, d.points - d.written_off)
		FROM loyalty.document d
		JOIN loyalty.member m ON m.member_id = d.member_id
		JOIN loyalty.program p ON p.program_id = m.program_id
		WHERE d.points - d.written_off <> 0 AND d.root_source_id = 0 AND d.state = 'booked' AND p.rounding_scope <> 'carry'
			AND EXISTS (SELECT FROM loyalty.rule r WHERE r.program_id = p.program_id AND r.growth)
			AND NOT EXISTS (SELECT FROM loyalty.rule r WHERE r.rule_id = ANY (d.rules) AND NOT r.growth)
	-- scope carry: what is booked plus what is carried is what was earned exactly
	UNION ALL
	SELECT 'carried remainder does not add up', m.member_id,
			format('booked %s, carried %s', m.balance, m.carry)
		FROM loyalty.member m
		JOIN loyalty.program p ON p.program_id = m.program_id AND p.rounding_scope = 'carry'
		JOIN (SELECT d.member_id, sum(d.raw[1] / d.raw[2]) AS raw, sum(d.points - d.written_off) AS points
				FROM loyalty.document d WHERE d.raw IS NOT NULL GROUP BY d.member_id) d
			ON d.member_id = m.member_id
		WHERE abs(d.points + coalesce(m.carry[1] / m.carry[2], 0) - d.raw) > 0.000001
	-- events: what is booked for them, and for nothing else in their source
	UNION ALL
	SELECT 'document is no event, or an event is no document of its programme''s events', d.member_id,
			format('document %s of source %s', d.doc_key, d.source_id)
		FROM loyalty.document d
		LEFT JOIN loyalty.source s ON s.source_id = d.source_id
		LEFT JOIN loyalty.event e ON d.doc_key = e.member_id || ':' || e.event_key AND e.program_id = s.program_id
		WHERE (d.kind = 'event') <> coalesce(s.header = 'loyalty.event'::regclass, false)
			OR (d.kind = 'event' AND (e.member_id IS NULL OR d.qualifying <> 0 OR d.gross <> 0 OR d.root_source_id <> 0))
	UNION ALL
	SELECT 'event that does not count has points or growth', e.member_id,
			format('event %s, %s: %s, growth %s', e.event_key, e.state, d.points, d.growth)
		FROM loyalty.event e
		JOIN loyalty.document d ON d.doc_key = e.member_id || ':' || e.event_key AND d.kind = 'event'
		JOIN loyalty.program p ON p.program_id = e.program_id
		WHERE e.state <> 'counted' AND (d.growth <> 0 OR (d.points - d.written_off <> 0 AND p.rounding_scope <> 'carry'))
	UNION ALL
	SELECT 'state of an event is not that of its document', e.member_id,
			format('event %s is %s, its document is %s', e.event_key, e.state,
				CASE WHEN d.live THEN 'booked' WHEN NOT d.live THEN 'withdrawn' ELSE 'not there' END)
		FROM loyalty.event e
		LEFT JOIN loyalty.source s ON s.program_id = e.program_id AND s.header = 'loyalty.event'::regclass
		LEFT JOIN LATERAL (SELECT bool_or(d.state <> 'withdrawn') AS live FROM loyalty.document d
			WHERE d.source_id = s.source_id AND d.doc_key = e.member_id || ':' || e.event_key) d ON true
		WHERE CASE e.state WHEN 'new' THEN d.live IS NOT NULL
				WHEN 'rejected' THEN d.live IS TRUE
				WHEN 'revoked' THEN d.live IS TRUE
				ELSE d.live IS NOT TRUE END
			AND NOT EXISTS (SELECT FROM loyalty.pending w WHERE w.source_id = s.source_id
				AND w.doc_key = e.member_id || ':' || e.event_key)
	UNION ALL
	SELECT 'event was recorded but never evaluated', e.member_id, format('event %s', e.event_key)
		FROM loyalty.event e
		JOIN loyalty.source s ON s.program_id = e.program_id AND s.header = 'loyalty.event'::regclass
		WHERE e.state = 'new' AND NOT EXISTS (SELECT FROM loyalty.pending w WHERE w.source_id = s.source_id
			AND w.doc_key = e.member_id || ':' || e.event_key)
	UNION ALL
	SELECT 'points wait for an event that does not', e.member_id, format('event %s, %s: %s', e.event_key, e.state, e.pending)
		FROM loyalty.event e
		WHERE e.pending <> 0 AND e.state NOT IN ('waiting', 'pending')
	-- a rule rewards the first events of a period, no more and no fewer
	UNION ALL
	SELECT 'limit of a rule is not kept', r.member_id,
			format('document %s, rule %s: %s of %s came before', r.doc_key, r.name, x.n, r.limit_count)
		FROM (SELECT d.member_id, d.doc_key, d.occurred_at, d.doc_date, r.program_id, r.name, r.limit_count, r.limit_period,
					coalesce(d.matches @> jsonb_build_array(jsonb_build_object('rule', r.rule_id, 'cut', true)), false) AS cut
				FROM loyalty.document d
				JOIN loyalty.rule r ON r.rule_id = ANY (d.rules) AND r.limit_count IS NOT NULL
				WHERE d.kind = 'event' AND d.state = 'booked') r
		CROSS JOIN LATERAL (SELECT count(*) AS n
				FROM loyalty.document d
				JOIN loyalty.rule v ON v.rule_id = ANY (d.rules) AND v.program_id = r.program_id AND v.name = r.name
				JOIN loyalty.event e ON e.member_id = split_part(d.doc_key, ':', 1)::bigint
					AND e.event_key = substr(d.doc_key, 1 + strpos(d.doc_key, ':'))
				WHERE d.member_id = r.member_id AND d.kind = 'event' AND d.state = 'booked' AND e.state <> 'waiting'
					AND (d.occurred_at, d.doc_key) < (r.occurred_at, r.doc_key)
					AND (r.limit_period = 'lifetime' OR date_trunc(r.limit_period, d.doc_date) = date_trunc(r.limit_period, r.doc_date))
					AND NOT coalesce(d.matches @> jsonb_build_array(jsonb_build_object('rule', v.rule_id, 'cut', true)), false)) x
		WHERE r.cut <> (x.n >= r.limit_count)
			AND NOT EXISTS (SELECT FROM loyalty.pending w WHERE w.doc_key = r.doc_key)
	-- referrals: both sides, or none
	UNION ALL
	SELECT 'sides of a referral do not agree', e.member_id,
			format('event %s is %s, the friend''s %s', e.event_key, e.state, coalesce(f.state, 'is not there'))
		FROM loyalty.event e
		JOIN loyalty.source s ON s.program_id = e.program_id AND s.header = 'loyalty.event'::regclass
		LEFT JOIN loyalty.event f ON f.member_id = e.other_member_id AND f.kind = 'referral'
			AND e.event_key = 'referrer:' || f.member_id || ':' || f.event_key AND f.other_member_id = e.member_id
		WHERE e.kind = 'referrer' AND e.state NOT IN ('new', 'rejected', 'revoked')
			AND (f.member_id IS NULL OR (e.state = 'waiting') = (f.state = 'counted'))
			AND NOT EXISTS (SELECT FROM loyalty.pending w WHERE w.source_id = s.source_id
				AND w.doc_key = e.member_id || ':' || e.event_key)
	UNION ALL
	SELECT 'member left no household', m.member_id, format('left at %s', m.left_at)
		FROM loyalty.member m WHERE m.left_at IS NOT NULL AND m.merged_into IS NULL
	-- merges and transfers: what one gives the other gets
	UNION ALL
	SELECT 'merged member has points', m.member_id, format('balance %s, debt %s, held %s', m.balance, m.debt, m.held)
		FROM loyalty.member m WHERE m.merged_into IS NOT NULL AND (m.balance <> 0 OR m.debt <> 0 OR m.held <> 0)
	UNION ALL
	SELECT 'transfer gives other points than it takes', min(e.member_id), format('transfer %s: %s', e.key, sum(e.points))
		FROM loyalty.entry e
		LEFT JOIN loyalty.operation o ON o.member_id = e.member_id AND o.key = e.key
		WHERE e.kind = 'transfer'
		GROUP BY e.key, CASE WHEN e.key LIKE 'merge:%' THEN 0 ELSE least(e.member_id, o.other_member_id) END,
			CASE WHEN e.key LIKE 'merge:%' THEN 0 ELSE greatest(e.member_id, o.other_member_id) END
		HAVING sum(e.points) <> 0
	-- redemptions against entries, lots and holds
	UNION ALL
	SELECT 'redemption is not the sum of its entries', coalesce(r.member_id, e.member_id),
			format('redemption %s: %s - %s - %s, entries %s', coalesce(r.key, e.key), r.points, r.restored,
				r.written_off, coalesce(e.points, 0))
		FROM loyalty.redemption r
		FULL JOIN (SELECT e.member_id, e.key, sum(e.points) AS points, max(e.seq) AS last_seq
				FROM loyalty.entry e WHERE e.kind IN ('redeem', 'redeem_cancel')
				GROUP BY e.member_id, e.key) e ON e.member_id = r.member_id AND e.key = r.key
		WHERE r.key IS NULL OR coalesce(e.points, 0) <> r.restored + r.written_off - r.points
			OR e.last_seq IS DISTINCT FROM r.last_seq
	UNION ALL
	SELECT 'redemption is out of its bounds', r.member_id,
			format('redemption %s: %s restored and %s written off of %s', r.key, r.restored, r.written_off, r.points)
		FROM loyalty.redemption r
		WHERE r.restored < 0 OR r.written_off < 0 OR r.restored + r.written_off > r.points
			OR (r.is_cancelled AND r.restored <> r.points) OR (r.source_id IS NULL) <> (r.doc_key IS NULL)
	UNION ALL
	SELECT 'redemption gave more back to a lot than it drew', g.member_id,
			format('redemption %s, lot %s: %s', g.key, g.lot_seq, g.points)
		FROM (SELECT e.member_id, e.key, a.lot_seq, sum(a.points) AS points
				FROM loyalty.entry e
				JOIN loyalty.allocation a ON a.member_id = e.member_id AND a.entry_seq = e.seq
				WHERE e.kind IN ('redeem', 'redeem_cancel')
				GROUP BY e.member_id, e.key, a.lot_seq HAVING sum(a.points) > 0) g
		JOIN loyalty.lot l ON l.member_id = g.member_id AND l.seq = g.lot_seq AND l.points > 0
		-- what repaid a debt that a redemption made may get it back
		WHERE NOT EXISTS (SELECT FROM loyalty.entry d JOIN loyalty.lot x ON x.member_id = d.member_id AND x.seq = d.seq
			WHERE d.member_id = g.member_id AND d.key = g.key AND x.points < 0)
	UNION ALL
	SELECT 'held points are not the sum of the open holds', m.member_id,
			format('held %s, holds %s', m.held, coalesce(h.points, 0))
		FROM loyalty.member m
		LEFT JOIN (SELECT h.member_id, sum(h.points) AS points FROM loyalty.hold h
				WHERE h.state = 'open' GROUP BY h.member_id) h ON h.member_id = m.member_id
		WHERE m.held <> coalesce(h.points, 0)
	UNION ALL
	SELECT 'captured hold and redemption disagree', h.member_id,
			format('hold %s: %s captured of %s, redeemed %s', h.key, h.captured, h.points, r.points)
		FROM loyalty.hold h
		LEFT JOIN loyalty.redemption r ON r.member_id = h.member_id AND r.key = h.key
		WHERE h.captured > h.points OR (h.state = 'captured') <> (h.captured > 0)
			OR (h.state = 'captured' AND h.captured IS DISTINCT FROM r.points)
	-- rewards and vouchers
	UNION ALL
	SELECT 'reward counts other units than were redeemed', 0::bigint,
			format('reward %s: used %s, spent %s, uses %s, %s', r.name, r.used, r.spent, coalesce(u.units, 0), coalesce(u.points, 0))
		FROM loyalty.reward r
		LEFT JOIN (SELECT u.reward_id, sum(u.units) AS units, sum(u.points) AS points FROM loyalty.reward_use u
				WHERE NOT u.is_cancelled GROUP BY u.reward_id) u ON u.reward_id = r.reward_id
		WHERE (r.stock IS NOT NULL OR r.budget IS NOT NULL)
			AND (r.used <> coalesce(u.units, 0) OR r.spent <> coalesce(u.points, 0))
	UNION ALL
	SELECT 'reward and its redemption disagree', coalesce(u.member_id, r.member_id), format('key %s', coalesce(u.key, r.key))
		FROM loyalty.reward_use u
		FULL JOIN (SELECT * FROM loyalty.redemption r WHERE r.kind = 'reward') r
			ON r.member_id = u.member_id AND r.key = u.key
		WHERE u.points IS DISTINCT FROM r.points OR u.is_cancelled IS DISTINCT FROM r.is_cancelled
	UNION ALL
	SELECT 'voucher is not what its uses leave', v.member_id,
			format('voucher %s: %s of %s remain after %s uses', left(v.code, 4), v.remaining, v.value, v.uses)
		FROM loyalty.voucher v
		LEFT JOIN (SELECT u.member_id, u.code, count(*) AS n, sum(u.amount) AS amount FROM loyalty.voucher_use u
				WHERE u.state <> 'released' GROUP BY u.member_id, u.code) u ON u.member_id = v.member_id AND u.code = v.code
		WHERE v.uses <> coalesce(u.n, 0) OR v.uses > v.max_uses OR v.remaining < 0
			OR v.remaining <> CASE WHEN v.kind = 'value' THEN v.value - coalesce(u.amount, 0) ELSE 0 END
	UNION ALL
	SELECT 'entry of no call', e.member_id, format('entry %s, key %s', e.seq, e.key)
		FROM loyalty.entry e
		WHERE (e.key IS NULL) <> (e.kind IN ('earn', 'return', 'event', 'correction', 'expire'))
			OR (e.kind IN ('redeem', 'adjust', 'transfer') AND e.key NOT LIKE ALL (ARRAY['paid\_by\_points:%', 'merge:%'])
				AND NOT EXISTS (SELECT FROM loyalty.operation o
					WHERE o.member_id = e.member_id AND o.key IN (e.key, 'capture:' || e.key)))
	-- figures of analytics
	UNION ALL
	SELECT * FROM loyalty.check_analytics()
	-- messages
	UNION ALL
	SELECT * FROM loyalty.check_messages()
$$;
COMMENT ON FUNCTION loyalty.check() IS
'proves that balances, lots, allocations, documents, tiers and families agree with the entries; no rows: all is well';
