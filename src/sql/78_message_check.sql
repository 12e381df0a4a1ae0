-- What can be proved about messages: each has its cause, and says what the
-- books say.  That every cause has its message cannot be read from the books:
-- kinds are switched on and off while other transactions run, and messages that
-- were delivered are deleted after a while.

CREATE FUNCTION loyalty.check_messages(OUT problem text, OUT member_id bigint, OUT detail text)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'message of no member, or of another programme', x.member_id, format('%s, %s', x.kind, x.cause)
		FROM loyalty.message x
		WHERE NOT EXISTS (SELECT FROM loyalty.member m WHERE m.member_id = x.member_id AND m.program_id = x.program_id)
	UNION ALL
	SELECT 'message of no entry, or it says otherwise', x.member_id, format('%s, %s: %s', x.kind, x.cause, x.payload)
		FROM loyalty.message x
		LEFT JOIN LATERAL (SELECT sum(e.points) AS points, bool_or(e.seq = k.first) AS is_there, bool_or(e.kind = 'expire') AS expires
			FROM (SELECT substr(x.cause, 7)::bigint AS first) k
			JOIN loyalty.entry e ON e.member_id = x.member_id AND e.seq BETWEEN k.first AND coalesce((x.payload ->> 'last_entry')::bigint, k.first)
				AND (e.kind <> 'expire' OR x.kind = 'expired')
			WHERE x.cause ~ '^entry:[0-9]{1,18}$') e ON true
		WHERE x.kind IN ('earned', 'reversed', 'expired', 'milestone')
			AND (e.is_there IS NOT TRUE OR e.expires <> (x.kind = 'expired')
				OR (x.kind = 'earned' AND e.points IS DISTINCT FROM (x.payload ->> 'points')::numeric)
				OR (x.kind = 'reversed' AND e.points IS DISTINCT FROM -(x.payload ->> 'points')::numeric)
				-- without what an earlier message told of that day
				OR (x.kind = 'expired' AND ((x.payload ->> 'points')::numeric BETWEEN 0.01 AND -e.points) IS NOT TRUE)
				OR (x.kind = 'milestone' AND e.points <= 0))
	UNION ALL
	-- where nothing ever expires, the balance is the sum of the entries
	SELECT 'message says another balance than there was', x.member_id, format('%s, %s: %s, balance %s', x.kind, x.cause, x.payload, b.balance)
		FROM loyalty.message x
		JOIN loyalty.member m ON m.member_id = x.member_id AND m.lapses_on IS NULL
		JOIN (SELECT e.member_id, e.seq, sum(e.points) OVER w AS balance, bool_or(e.expires_on < 'infinity') OVER w AS expires,
					sum(e.points) OVER w - e.points AS before
				FROM loyalty.entry e
				WHERE e.member_id IN (SELECT w.member_id FROM loyalty.message w WHERE w.kind IN ('earned', 'reversed', 'milestone'))
				WINDOW w AS (PARTITION BY e.member_id ORDER BY e.seq)) b
			ON b.member_id = x.member_id AND b.seq = coalesce((x.payload ->> 'last_entry')::bigint, substr(x.cause, 7)::bigint)
		WHERE x.kind IN ('earned', 'reversed', 'milestone') AND x.cause ~ '^entry:[0-9]{1,18}$' AND b.expires IS NOT TRUE
			AND NOT EXISTS (SELECT FROM loyalty.expiry_policy p WHERE p.program_id = x.program_id)
			AND ((x.payload ->> 'balance')::numeric IS DISTINCT FROM b.balance OR (x.kind = 'milestone'
				AND (x.payload ->> 'milestone')::numeric NOT BETWEEN CASE WHEN x.payload ? 'last_entry' THEN 0 ELSE b.before + 0.01 END AND b.balance))
	UNION ALL
	SELECT 'message of no voucher', x.member_id, format('%s, %s', x.kind, x.cause)
		FROM loyalty.message x
		WHERE x.kind IN ('voucher_issued', 'voucher_ending')
			AND NOT EXISTS (SELECT FROM loyalty.voucher v WHERE v.member_id = x.member_id
				AND v.issue_key = substr(CASE x.kind WHEN 'voucher_issued' THEN x.cause ELSE regexp_replace(x.cause, ':[0-9]+$', '') END, 9))
	UNION ALL
	SELECT 'message of no hold that was given free', x.member_id, x.cause
		FROM loyalty.message x
		WHERE x.kind = 'hold_released' AND NOT EXISTS (SELECT FROM loyalty.hold h
			WHERE h.member_id = x.member_id AND h.key = substr(x.cause, 6) AND h.state IN ('released', 'expired'))
	UNION ALL
	SELECT 'warning of something that was over already', x.member_id, format('%s, %s', x.kind, x.cause)
		FROM loyalty.message x
		WHERE x.kind IN ('expiring', 'voucher_ending', 'tier_at_risk') AND (x.payload ->> 'days_left')::integer < 0
	UNION ALL
	SELECT 'state of a message is not what was done with it', x.member_id, format('%s, %s: %s', x.kind, x.cause, x.state)
		FROM loyalty.message x
		WHERE (x.state IN ('done', 'dead')) <> (x.closed_at IS NOT NULL)
			OR (x.attempts > 0 AND x.consumer IS NULL) OR (x.state = 'fetched' AND x.attempts = 0)
			OR (x.consumer IS NULL) <> (x.fetched_at IS NULL)
$$;
COMMENT ON FUNCTION loyalty.check_messages() IS
'proves that messages have their causes and agree with them; check() includes it';
