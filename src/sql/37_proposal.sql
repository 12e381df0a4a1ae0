-- Rules that are only proposed: tried out in a subtransaction that is undone.

CREATE FUNCTION loyalty.propose_rules(program text, rules jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_known text[] := ARRAY['name', 'points', 'per_amount', 'mode', 'applies_to', 'valid_from', 'valid_to', 'kind', 'factor',
		'condition', 'source', 'multiplied', 'exclusive_group', 'priority', 'cap_document', 'cap_day', 'cap_week', 'cap_month',
		'cap_year', 'cap_lifetime', 'budget', 'event', 'limit_count', 'limit_period', 'needs_approval', 'expires', 'growth', 'end'];
	v_rules jsonb := CASE WHEN jsonb_typeof(rules) = 'object' THEN rules -> 'instead' ELSE rules END;
	v_item jsonb;
	v_key text;
	r record;
BEGIN
	IF v_rules IS NULL OR jsonb_typeof(v_rules) <> 'array' THEN
		RAISE EXCEPTION 'rules must be an array of rules, or an object with the array "instead"'
			USING ERRCODE = '22023', DETAIL = 'An array is added to the rules in force; "instead" takes their place.',
				HINT = 'A rule is an object with the parameters of loyalty.set_rule(): {"name": "double", "kind": "multiplier", "factor": 2}.';
	END IF;
	IF jsonb_typeof(rules) = 'object' THEN
		PERFORM loyalty.end_rule(program, x.name) FROM (SELECT DISTINCT u.name FROM loyalty.rule u
			WHERE u.program_id = loyalty.program_id(program) AND u.is_current) x;
	END IF;
	FOR v_item IN SELECT * FROM jsonb_array_elements(v_rules) LOOP
		IF jsonb_typeof(v_item) <> 'object' THEN
			RAISE EXCEPTION 'a proposed rule must be an object, not %', jsonb_typeof(v_item)
				USING ERRCODE = '22023', HINT = 'Its fields are the parameters of loyalty.set_rule().';
		END IF;
		SELECT k INTO v_key FROM jsonb_object_keys(v_item) AS k WHERE k <> ALL (v_known) LIMIT 1;
		IF FOUND THEN
			RAISE EXCEPTION 'a rule has no field "%"', v_key
				USING ERRCODE = '22023', HINT = 'It can have ' || array_to_string(v_known, ', ') || '.';
		END IF;
		SELECT * INTO r FROM jsonb_to_record(v_item) AS x (name text, points numeric, per_amount numeric, mode text,
			applies_to text, valid_from date, valid_to date, kind text, factor numeric, condition text, source text,
			multiplied boolean, exclusive_group text, priority integer, cap_document numeric, cap_day numeric,
			cap_week numeric, cap_month numeric, cap_year numeric, cap_lifetime numeric, budget numeric, event text, limit_count integer,
			limit_period text, needs_approval boolean, expires text, growth boolean,
			"end" boolean);
		IF r."end" THEN
			PERFORM loyalty.end_rule(program, r.name);
		ELSE
			PERFORM loyalty.set_rule(program, r.name, r.points, r.per_amount, coalesce(r.mode, 'proportional'),
				coalesce(r.applies_to, 'document'), coalesce(r.valid_from, '-infinity'), coalesce(r.valid_to, 'infinity'),
				kind => coalesce(r.kind, 'amount'), factor => r.factor, condition => r.condition, source => r.source,
				multiplied => r.multiplied, exclusive_group => r.exclusive_group, priority => coalesce(r.priority, 0),
				cap_document => r.cap_document, cap_day => r.cap_day, cap_week => r.cap_week, cap_month => r.cap_month,
				cap_year => r.cap_year, cap_lifetime => r.cap_lifetime, budget => r.budget,
				event => r.event, limit_count => r.limit_count, limit_period => r.limit_period, needs_approval => r.needs_approval,
				expires => r.expires, growth => r.growth);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION loyalty.propose_rules(text, jsonb) IS
'puts proposed rules into force: an array of objects with the parameters of set_rule() ({"name": ..., "end": true} ends one), or {"instead": [...]}; quote_earn() and replay() call it and undo it';

CREATE FUNCTION loyalty.replay(program text, since date, until date, rules jsonb DEFAULT '[]',
	OUT source text, OUT doc_key text, OUT customer text, OUT booked numeric(18,2), OUT due numeric(18,2),
	OUT difference numeric(18,2))
RETURNS SETOF record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_replay';
COMMENT ON FUNCTION loyalty.replay(text, date, date, jsonb) IS
'documents of these days (inclusive, programme time) that would get other points by the rules of now with the proposed ones; writes nothing';

CREATE FUNCTION loyalty.replay_summary(program text, since date, until date, rules jsonb DEFAULT '[]',
	OUT documents bigint, OUT members bigint, OUT changed_documents bigint, OUT changed_members bigint,
	OUT points_booked numeric(18,2), OUT points_due numeric(18,2), OUT points_difference numeric(18,2),
	OUT cost_difference numeric(18,2))
RETURNS record
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT d.documents, d.members, c.documents, c.members, d.points, d.points + c.difference, c.difference,
		round(c.difference * (SELECT y.point_value FROM loyalty.redemption_policy y JOIN loyalty.program p
			ON p.program_id = y.program_id WHERE p.name = program), 2)
	FROM (SELECT count(*) AS documents, count(DISTINCT d.member_id) AS members, coalesce(sum(d.points), 0) AS points
			FROM loyalty.document d JOIN loyalty.source s ON s.source_id = d.source_id
			WHERE s.program_id = loyalty.program_id(program) AND d.doc_date BETWEEN since AND until
				AND d.state <> 'withdrawn' AND d.member_id <> 0) d
	CROSS JOIN (SELECT count(*) AS documents, count(DISTINCT r.customer) AS members, coalesce(sum(r.difference), 0) AS difference
			FROM loyalty.replay(program, since, until, rules) r) c
$$;
COMMENT ON FUNCTION loyalty.replay_summary(text, date, date, jsonb) IS
'what proposed rules would have cost in these days: documents and members affected, points, and their value by the programme''s redemption policy (NULL without one)';
