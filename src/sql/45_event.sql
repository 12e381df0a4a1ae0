-- Recording events and deciding on them; stamp cards.

CREATE FUNCTION loyalty.record_event(program text, customer text, kind text, reference text DEFAULT NULL,
	at timestamptz DEFAULT NULL, attributes jsonb DEFAULT NULL, key text DEFAULT NULL,
	OUT event_key text, OUT state text, OUT points numeric(18,2), OUT pending numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_record_event';
COMMENT ON FUNCTION loyalty.record_event(text, text, text, text, timestamptz, jsonb, text) IS
'records what a customer did and books what rules give for it; the same key and arguments again change nothing. For kind referral, reference is the customer who referred';

CREATE FUNCTION loyalty.approve_event(program text, customer text, key text,
	OUT event_key text, OUT state text, OUT points numeric(18,2), OUT pending numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_approve_event';
COMMENT ON FUNCTION loyalty.approve_event(text, text, text) IS
'gives the points of an event that waits for approval';

CREATE FUNCTION loyalty.reject_event(program text, customer text, key text,
	OUT event_key text, OUT state text, OUT points numeric(18,2), OUT pending numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_reject_event';
COMMENT ON FUNCTION loyalty.reject_event(text, text, text) IS
'refuses an event that waits for approval';

CREATE FUNCTION loyalty.revoke_event(program text, customer text, key text,
	OUT event_key text, OUT state text, OUT points numeric(18,2), OUT pending numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_revoke_event';
COMMENT ON FUNCTION loyalty.revoke_event(text, text, text) IS
'takes an event back, and with it what it gave';

CREATE FUNCTION loyalty.events(program text, customer text,
	OUT event_key text, OUT kind text, OUT reference text, OUT occurred_at timestamptz, OUT state text,
	OUT points numeric(18,2), OUT pending numeric(18,2), OUT source text, OUT doc_key text)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT e.event_key, e.kind, e.reference, e.occurred_at, e.state, coalesce(d.points, 0), e.pending, s.name,
		e.member_id || ':' || e.event_key
	FROM loyalty.event e
	JOIN loyalty.source s ON s.program_id = e.program_id AND s.header = 'loyalty.event'::regclass
	LEFT JOIN LATERAL (SELECT sum(d.points) AS points FROM loyalty.document d
		WHERE d.source_id = s.source_id AND d.doc_key = e.member_id || ':' || e.event_key) d ON true
	-- and those of customers who were merged into this one
	WHERE e.member_id IN (SELECT m.id FROM loyalty.member_id($1, $2) m (id)
		UNION SELECT o.other_member_id FROM loyalty.member_id($1, $2) m (id)
			JOIN loyalty.operation o ON o.member_id = m.id AND o.kind = 'merge_customers' AND o.key = 'merge:' || o.other_member_id)
	ORDER BY e.occurred_at, e.event_key
$$;
COMMENT ON FUNCTION loyalty.events(text, text) IS
'the events of a customer, what each gave and what still waits; explain(source, doc_key) tells how';

CREATE FUNCTION loyalty.explain_event(program text, customer text, key text,
	OUT step integer, OUT rule text, OUT line text, OUT calculation text, OUT points numeric)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT x.step, x.rule, x.line, x.calculation, x.points
	FROM loyalty.events($1, $2) e, loyalty.explain(e.source, e.doc_key) x
	WHERE e.event_key = $3
	ORDER BY x.step
$$;
COMMENT ON FUNCTION loyalty.explain_event(text, text, text) IS
'how the points of an event come about, rule by rule; no rows if there is no such event';

CREATE FUNCTION loyalty.set_stamp_card(program text, stamps integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
BEGIN
	IF stamps IS NOT NULL THEN
		PERFORM loyalty.check_number('stamps', stamps, true);
	END IF;
	UPDATE loyalty.program p SET stamps_per_card = stamps WHERE p.program_id = v_program;
END
$$;
COMMENT ON FUNCTION loyalty.set_stamp_card(text, integer) IS
'makes the points of a programme stamps: so many fill a card; NULL: they are no stamps';

CREATE FUNCTION loyalty.stamp_card(program text, customer text,
	OUT stamps numeric(18,2), OUT needed integer, OUT missing numeric(18,2), OUT full_cards bigint)
RETURNS record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_balance numeric(18,2) := greatest(loyalty.balance(program, customer), 0);
BEGIN
	SELECT p.stamps_per_card INTO needed FROM loyalty.program p WHERE p.program_id = loyalty.program_id(program);
	IF needed IS NULL THEN
		RAISE EXCEPTION 'programme "%" has no stamp card', program
			USING ERRCODE = 'LY003', HINT = 'loyalty.set_stamp_card() says how many stamps fill one.';
	END IF;
	full_cards := div(v_balance, needed);
	stamps := v_balance - full_cards * needed;
	missing := needed - stamps;
END
$$;
COMMENT ON FUNCTION loyalty.stamp_card(text, text) IS
'the stamp card of a customer: stamps on the card in hand, how many a card needs, how many are missing, and full cards that were not used yet';
